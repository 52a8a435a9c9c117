//! The gate that a model with narrower weights must pass: its decisions against those of the 32-bit model.

use crate::format::Precision;
use crate::heads::{HORIZON_COUNT_MAX, Heads, NonFinite, PositionInput};
use crate::kernel::Kernel;
use crate::latent::LatentStore;
use crate::model::Model;

/// The largest share of decisions that may flip (the project's law for quantised weights, `docs/model-file.md`).
pub const FLIP_SHARE_MAX: f64 = 0.005;

/// How heads become a decision: a target of −1, 0 or +1, as the house's controller takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionRule {
    /// The action beyond which the target is ±1; above 0, to 1.
    pub action_threshold: f32,
    /// How far the action must fall back before a target is given up; 0 to the threshold.
    pub action_hysteresis: f32,
    /// Half the spread that the controller is shown, basis points of the mid price.
    pub half_spread_bps: f32,
    /// The fee that it is shown, basis points of notional.
    pub fee_bps: f32,
}

impl DecisionRule {
    /// The target for an action, when `held` is the target so far.
    #[must_use]
    pub fn target(&self, action: f32, held: i8) -> i8 {
        let keep = self.action_threshold - self.action_hysteresis;
        if action >= self.action_threshold || (held == 1 && action >= keep) {
            1
        } else if action <= -self.action_threshold || (held == -1 && action <= -keep) {
            -1
        } else {
            0
        }
    }
}

/// How far a model's heads are from those of the 32-bit model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccuracyReport {
    /// How the model's weights are kept.
    pub precision: Precision,
    /// Decisions compared.
    pub decision_count: u64,
    /// Decisions with another target.
    pub flip_count: u64,
    /// Observations on whose direction (up-probability above or below one half) the models disagree; not part of the gate.
    pub direction_flip_count: u64,
    /// Observations for which another regime is the most probable; not part of the gate.
    pub regime_flip_count: u64,
    /// Largest difference of the action, 0..2.
    pub action_difference_max: f32,
    /// Largest difference of the probability of an up-move, 0..1.
    pub up_probability_difference_max: f32,
    /// Largest difference of an expected return, a fraction.
    pub return_mean_difference_max: f32,
    /// Largest difference of a return's log-variance, nats.
    pub return_log_var_difference_max: f32,
    /// Largest difference of the regime's confidence, 0..1.
    pub confidence_difference_max: f32,
    /// Largest difference of the surprise, nats.
    pub surprise_difference_max: f32,
}

impl AccuracyReport {
    const fn new(precision: Precision) -> Self {
        Self {
            precision,
            decision_count: 0,
            flip_count: 0,
            direction_flip_count: 0,
            regime_flip_count: 0,
            action_difference_max: 0.0,
            up_probability_difference_max: 0.0,
            return_mean_difference_max: 0.0,
            return_log_var_difference_max: 0.0,
            confidence_difference_max: 0.0,
            surprise_difference_max: 0.0,
        }
    }

    /// Share of decisions that flipped, 0..1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of counts")]
    pub fn flip_share(&self) -> f64 {
        if self.decision_count == 0 { 0.0 } else { self.flip_count as f64 / self.decision_count as f64 }
    }

    /// The gate's verdict.
    ///
    /// # Errors
    /// [`AccuracyError::NoDecisions`], [`AccuracyError::Flips`].
    pub fn verdict(&self) -> Result<(), AccuracyError> {
        if self.decision_count == 0 {
            return Err(AccuracyError::NoDecisions);
        }
        if self.flip_share() <= FLIP_SHARE_MAX {
            return Ok(());
        }
        let Self { precision, flip_count, decision_count, .. } = *self;
        Err(AccuracyError::Flips { precision: precision.name(), flip_count, decision_count })
    }

    fn compare(&mut self, exact: &Heads, other: &Heads) {
        let widen = |max: &mut f32, a: f32, b: f32| *max = max.max((a - b).abs());
        widen(&mut self.action_difference_max, exact.action, other.action);
        widen(&mut self.up_probability_difference_max, exact.up_probability, other.up_probability);
        widen(&mut self.confidence_difference_max, exact.regime.confidence, other.regime.confidence);
        widen(&mut self.surprise_difference_max, exact.surprise, other.surprise);
        let means: [(f32, f32); HORIZON_COUNT_MAX] = pairs(exact.return_mean, other.return_mean);
        means.iter().for_each(|(a, b)| widen(&mut self.return_mean_difference_max, *a, *b));
        let log_vars: [(f32, f32); HORIZON_COUNT_MAX] = pairs(exact.return_log_var, other.return_log_var);
        log_vars.iter().for_each(|(a, b)| widen(&mut self.return_log_var_difference_max, *a, *b));
        self.direction_flip_count += u64::from((exact.up_probability > 0.5) != (other.up_probability > 0.5));
        self.regime_flip_count += u64::from(exact.regime.index != other.regime.index);
    }
}

fn pairs<const N: usize>(a: [f32; N], b: [f32; N]) -> [(f32, f32); N] {
    let mut both = b.into_iter();
    a.map(|a| (a, both.next().unwrap_or(f32::NAN)))
}

/// Why a model did not pass the gate.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum AccuracyError {
    /// Too many decisions flipped.
    #[error(
        "with {precision} weights {flip_count} of {decision_count} decisions differ from those with f32, more than 0.5 %: \
         keep the model in a wider precision"
    )]
    Flips {
        /// How the weights are kept.
        precision: &'static str,
        /// Decisions with another target.
        flip_count: u64,
        /// Decisions compared.
        decision_count: u64,
    },
    /// Nothing was compared.
    #[error("the sequences hold no observation: give held-out data")]
    NoDecisions,
    /// The two models are not the same file.
    #[error("the two models come from different files or sizes")]
    Mismatch,
    /// A sequence is not a whole number of observations.
    #[error("sequence {sequence} has {len} values, not a multiple of the model's {width} features")]
    Width {
        /// Index of the sequence, from 0.
        sequence: usize,
        /// Its length.
        len: usize,
        /// The model's number of features.
        width: usize,
    },
    /// An observation was refused.
    #[error("sequence {sequence}, observation {step}: {error}")]
    Observation {
        /// Index of the sequence, from 0.
        sequence: usize,
        /// Index of the observation in it, from 0.
        step: usize,
        /// What the kernel said.
        error: NonFinite,
    },
}

/// Seeded raw features, observation after observation, in about the scale that the model's scaler expects: an
/// autoregression driven by a multiplicative congruence (Knuth, *Seminumerical Algorithms*, 3.2.1). For the gate where no
/// held-out data are at hand.
#[must_use]
pub fn seeded_walk(model: &Model, observation_count: usize) -> Vec<f32> {
    let features = &model.meta().features;
    let mut seed = 20_261_121_u32;
    let mut uniform = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(seed >> 16).unwrap_or(0)) / 32_768.0 - 1.0
    };
    let mut scaled = vec![0.0_f32; model.size().d()];
    let mut all = Vec::with_capacity(observation_count * scaled.len());
    for _ in 0..observation_count {
        for ((x, median), iqr) in scaled.iter_mut().zip(&features.median).zip(&features.iqr) {
            *x = 0.9 * *x + 0.56 * uniform();
            all.push(*x * iqr + median);
        }
    }
    all
}

/// Runs both models over `sequences` (raw features, observation after observation), each with its own states carried from
/// the start to the end of a sequence, and compares heads and decisions. The situation is the same for both: the position
/// shown, and the target held so far, are those of the 32-bit model, so that each observation is one decision to flip. Then
/// [`AccuracyReport::verdict`] is the gate.
///
/// # Errors
/// [`AccuracyError::Mismatch`], [`AccuracyError::Width`], [`AccuracyError::Observation`].
pub fn accuracy_gate(
    kernel: &Kernel,
    (exact, other): (&Model, &Model),
    sequences: &[&[f32]],
    rule: &DecisionRule,
) -> Result<AccuracyReport, AccuracyError> {
    if exact.sha256() != other.sha256() || exact.size() != other.size() {
        return Err(AccuracyError::Mismatch);
    }
    let width = exact.size().d();
    let mut report = AccuracyReport::new(other.precision());
    for (sequence, values) in sequences.iter().enumerate() {
        if values.len() % width != 0 {
            return Err(AccuracyError::Width { sequence, len: values.len(), width });
        }
        let (mut exact_store, mut other_store) = (LatentStore::new(exact, 1), LatentStore::new(other, 1));
        let mut held = 0;
        for (step, x) in values.chunks_exact(width).enumerate() {
            let refused = |error| AccuracyError::Observation { sequence, step, error };
            let position = PositionInput {
                position: f32::from(held),
                half_spread_bps: rule.half_spread_bps,
                fee_bps: rule.fee_bps,
            };
            let exact_heads = observe(kernel, exact, &mut exact_store, x, position).map_err(refused)?;
            let other_heads = observe(kernel, other, &mut other_store, x, position).map_err(refused)?;
            report.compare(&exact_heads, &other_heads);
            let targets = [exact_heads, other_heads].map(|heads| rule.target(heads.action, held));
            let [target, other_target] = targets;
            report.decision_count += 1;
            report.flip_count += u64::from(target != other_target);
            held = target;
        }
    }
    Ok(report)
}

fn observe(
    kernel: &Kernel,
    model: &Model,
    store: &mut LatentStore,
    x: &[f32],
    position: PositionInput,
) -> Result<Heads, NonFinite> {
    let mut latent = store.latent_mut(0).ok_or(NonFinite::Size)?;
    let heads = kernel.observe(model, &mut latent, x, position)?;
    kernel.advance(model, &mut latent);
    Ok(heads)
}
