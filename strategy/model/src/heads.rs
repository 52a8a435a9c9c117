//! What `observe` takes beside the features, and what it gives.

/// Most horizons that a model may have.
pub const HORIZON_COUNT_MAX: usize = 4;
/// Most regimes that a model may have.
pub const REGIME_COUNT_MAX: usize = 7;
/// Scaled features, and the controller's scaled inputs, are clipped to ± this.
pub const INPUT_CLIP: f32 = 8.0;
/// Half-spread and fee enter the controller divided by this many basis points.
pub const COST_SCALE_BPS: f32 = 10.0;

/// Our own situation, which the controller sees and the market's dynamics do not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PositionInput {
    /// Position in units of the largest target, −1..1 (beyond it after a limit was lowered: clipped to ±8).
    pub position: f32,
    /// Half the spread, in basis points of the mid price.
    pub half_spread_bps: f32,
    /// Fee of taking, in basis points of notional; negative for a rebate.
    pub fee_bps: f32,
}

/// The most probable regime.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Regime {
    /// Index into the model's regime names.
    pub index: u32,
    /// Its probability, 1/(number of regimes)..1.
    pub confidence: f32,
}

/// Everything a decision takes from one observation. Horizons beyond `horizon_count` hold zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Heads {
    /// Expected log return per horizon, a fraction (1e-4 is one basis point).
    pub return_mean: [f32; HORIZON_COUNT_MAX],
    /// Natural logarithm of that return's variance, −40..10.
    pub return_log_var: [f32; HORIZON_COUNT_MAX],
    /// How many horizons the model has.
    pub horizon_count: u32,
    /// Calibrated probability of an up-move over the first horizon, 0..1.
    pub up_probability: f32,
    /// The most probable regime.
    pub regime: Regime,
    /// The controller's position target, −1..1.
    pub action: f32,
    /// KL(q‖p) in nats, ≥ 0: how unlike its expectation this event is.
    pub surprise: f32,
}

const _: () = assert!(size_of::<Heads>() == 56);

/// Why `observe` gave no heads. None of these may become an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NonFinite {
    /// Feature `index` is NaN, infinite or missing (an index equal to the feature count: too many). The latent is as before.
    #[error("feature {index} is NaN, infinite or missing; the latent state is unchanged")]
    Feature {
        /// Index from 0, in the model's order.
        index: u32,
    },
    /// Position, half-spread or fee is NaN or infinite. The latent is as before.
    #[error("position, half-spread or fee is NaN or infinite; the latent state is unchanged")]
    Position,
    /// The model itself overflowed. The latent went back to its start.
    #[error("the model's output is NaN or infinite; the latent state was set back to its start")]
    Output,
    /// The latent was made for a model of another size. Nothing was done.
    #[error("the latent state belongs to a model of another size")]
    Size,
}
