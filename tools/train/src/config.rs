//! The training configuration: TOML, every key mandatory, unknown keys refused.

use std::collections::BTreeMap;

use peregrine_dataset::hex;
use peregrine_model::Size;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::TrainError;

/// A training run. Exactly one of `world` and `lstm` is there.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of every draw: initialisation, order of the data, posterior samples, dropout, imagination.
    pub seed: u64,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// When to stop.
    pub schedule: ScheduleConfig,
    /// The world model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<WorldConfig>,
    /// The LSTM baseline of source 004.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lstm: Option<LstmConfig>,
}

/// AdamW with clipping by the norm of all gradients.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Learning rate of the first epoch, above 0 to 0.1.
    pub learning_rate: f64,
    /// Learning rate of epoch `epochs_max`, which a half cosine leads to; 0 to `learning_rate`.
    pub learning_rate_last: f64,
    /// Decoupled weight decay on every parameter, 0 to 1 (source 004: 1e-4).
    pub weight_decay: f64,
    /// Largest Euclidean norm of all gradients together, above 0 (source 004: 1).
    pub gradient_norm_max: f64,
}

/// Epochs and early stopping.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Most epochs, 1 to 10,000.
    pub epochs_max: u32,
    /// Epochs without a better validation loss after which training stops, 1 to 10,000 (source 004: 12).
    pub patience: u32,
    /// Training steps between checkpoints, ≥ 1.
    pub checkpoint_steps: u64,
    /// Threads that share the lanes of a training step (world model), 1 to 64. Another number sums in another order and so
    /// gives another file; the same number gives the same file on however many cores.
    pub threads: usize,
}

/// The world model: its size, how sequences are cut, its losses, and what comes after.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WorldConfig {
    /// The named size; the dataset must have its D features.
    pub size: Size,
    /// Sequences that advance side by side, 1 to 4,096.
    pub lanes: usize,
    /// Steps through which gradients flow back, 2 to 4,096; the state is carried on.
    pub chunk_rows: usize,
    /// Rows at the start of a piece in the middle of a sequence that count in no loss (the state starts at 0 there), 0 to 4,096.
    pub burn_in_rows: usize,
    /// Standardised returns are clipped to ± this in the loss, above 0 to 1,000.
    pub return_clip: f64,
    /// Weights of the losses.
    pub loss: LossConfig,
    /// The regimes.
    pub regimes: RegimeConfig,
    /// The controller.
    pub controller: ControllerConfig,
}

/// Weights of the parts of the loss.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// Of the mean squared error over the scaled, clipped features, ≥ 0.
    pub reconstruction: f64,
    /// Of KL(q‖p), nats summed over Z, ≥ 0.
    pub kl: f64,
    /// Nats of KL per row that cost nothing (Kingma et al. 2016), ≥ 0.
    pub free_nats: f64,
    /// Share of the KL's gradient that moves the prior, above 0 to 1 (Hafner et al. 2021: 0.8).
    pub kl_balance: f64,
    /// Of the Gaussian negative log-likelihood of the standardised returns, mean over horizons, ≥ 0.
    pub return_nll: f64,
    /// Of the cross-entropy of an up-move over the first horizon, ≥ 0.
    pub direction: f64,
}

/// A Gaussian mixture with persistence on what the training latents decode to, its number chosen by silhouette, distilled into
/// the softmax head.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegimeConfig {
    /// Least number of regimes, 2 to 7.
    pub count_min: usize,
    /// Greatest number of regimes, `count_min` to 7.
    pub count_max: usize,
    /// Rows of latents that the mixture is fitted on, in stretches of 256, 100 to 1,000,000.
    pub sample_rows: usize,
    /// Steps of the distillation, 1 to 100,000.
    pub distill_steps: u32,
}

/// The controller: trained by imagination with the world model frozen.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerConfig {
    /// Training steps, 1 to 1,000,000.
    pub steps: u32,
    /// Imagined trajectories per step, 1 to 65,536.
    pub batch: usize,
    /// Steps that each trajectory is rolled forward, 1 to 1,000.
    pub imagined_rows: usize,
    /// Learning rate, above 0 to 0.1.
    pub learning_rate: f64,
    /// A cost between 0 and this is drawn for each trajectory, small ones more often (the cube of a uniform draw), and is a
    /// fee or a wider half-spread at even chance; basis points of notional, 0 to 100. Beyond it the controller extrapolates.
    pub fee_bps_max: f64,
    /// Half-spread of data without one (bars), basis points of the mid price, 0 to 1,000.
    pub half_spread_bps: f64,
    /// Share of the half-spread that a trade pays, 0 (every order rests and is filled at the touch) to 1 (every order takes).
    pub spread_paid: f64,
    /// Weight of the variance of the position's return in the utility, per unit of that return's standard deviation, 0 to 100.
    pub risk_aversion: f64,
}

/// The LSTM classifier of source 004.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LstmConfig {
    /// Hidden units, 1 to 1,024 (source 004: 64).
    pub hidden: usize,
    /// Layers, 1 to 8 (source 004: 2).
    pub layers: usize,
    /// Share of the units between layers that is dropped in training, 0 to below 1 (source 004: 0.3).
    pub dropout: f64,
    /// Rows of a window; the target is that of its last row, 1 to 4,096.
    pub window_rows: usize,
    /// Windows per training step, 1 to 65,536.
    pub batch: usize,
    /// Rows from one window's start to the next one's in training, 1 to 4,096.
    pub stride_rows: usize,
}

struct Bound<'a> {
    key: &'a str,
    value: f64,
    least: f64,
    most: f64,
    least_is_allowed: bool,
}

fn whole(value: usize) -> f64 {
    u32::try_from(value).map_or(f64::INFINITY, f64::from)
}

fn bound(key: &str, value: f64, least: f64, most: f64) -> Bound<'_> {
    Bound { key, value, least, most, least_is_allowed: true }
}

fn above(key: &str, value: f64, least: f64, most: f64) -> Bound<'_> {
    Bound { key, value, least, most, least_is_allowed: false }
}

impl Bound<'_> {
    fn check(&self) -> Result<(), TrainError> {
        let is_over = if self.least_is_allowed { self.value >= self.least } else { self.value > self.least };
        if is_over && self.value <= self.most {
            return Ok(());
        }
        let from = if self.least_is_allowed { "" } else { "above " };
        let bound = format!("{from}{} to {}", self.least, self.most);
        Err(TrainError::Bound { key: self.key.to_owned(), value: self.value.to_string(), bound })
    }
}

impl TrainConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`TrainError::Config`] for text that is no such configuration, with line and key; [`TrainError::Bound`] for a value
    /// outside its bounds.
    pub fn from_toml(text: &str) -> Result<Self, TrainError> {
        let config: Self = toml::from_str(text).map_err(|error| TrainError::Config { what: error.to_string() })?;
        config.check()?;
        Ok(config)
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`TrainError::Bound`], naming the first key outside its bounds; [`TrainError::Config`] when not exactly one of the
    /// sections `world` and `lstm` is there.
    pub fn check(&self) -> Result<(), TrainError> {
        let optimizer = &self.optimizer;
        let rate = optimizer.learning_rate;
        above("optimizer.learning_rate", rate, 0.0, 0.1).check()?;
        bound("optimizer.learning_rate_last", optimizer.learning_rate_last, 0.0, rate).check()?;
        bound("optimizer.weight_decay", optimizer.weight_decay, 0.0, 1.0).check()?;
        above("optimizer.gradient_norm_max", optimizer.gradient_norm_max, 0.0, 1e9).check()?;
        bound("schedule.epochs_max", f64::from(self.schedule.epochs_max), 1.0, 1e4).check()?;
        bound("schedule.patience", f64::from(self.schedule.patience), 1.0, 1e4).check()?;
        bound("schedule.threads", whole(self.schedule.threads), 1.0, 64.0).check()?;
        if self.schedule.checkpoint_steps == 0 {
            bound("schedule.checkpoint_steps", 0.0, 1.0, f64::INFINITY).check()?;
        }
        match (&self.world, &self.lstm) {
            (Some(world), None) => world.check(),
            (None, Some(_)) if self.schedule.threads != 1 => Err(TrainError::Config {
                what: "schedule.threads must be 1 with [lstm]: its training step runs on one thread".to_owned(),
            }),
            (None, Some(lstm)) => lstm.check(),
            (Some(_), Some(_)) | (None, None) => Err(TrainError::Config {
                what: "exactly one of the sections [world] and [lstm] must be there".to_owned(),
            }),
        }
    }

    /// SHA-256 of the configuration's canonical JSON, 64 lower-case hex digits.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(serde_json::to_vec(self).unwrap_or_default()))
    }

    /// Every key with its value as text, sections joined by dots: the hyper-parameters that the model file carries.
    #[must_use]
    pub fn hyper_parameters(&self) -> BTreeMap<String, String> {
        let mut to = BTreeMap::new();
        if let Ok(value) = serde_json::to_value(self) {
            flatten("", &value, &mut to);
        }
        to
    }
}

fn flatten(key: &str, value: &serde_json::Value, to: &mut BTreeMap<String, String>) {
    match value.as_object() {
        Some(section) => {
            for (name, value) in section {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&key, value, to);
            }
        }
        None => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            to.insert(key.to_owned(), text);
        }
    }
}

impl WorldConfig {
    fn check(&self) -> Result<(), TrainError> {
        let loss = &self.loss;
        let (regimes, controller) = (&self.regimes, &self.controller);
        let count_min = whole(regimes.count_min);
        let bounds = [
            bound("world.lanes", whole(self.lanes), 1.0, 4_096.0),
            bound("world.chunk_rows", whole(self.chunk_rows), 2.0, 4_096.0),
            bound("world.burn_in_rows", whole(self.burn_in_rows), 0.0, 4_096.0),
            above("world.return_clip", self.return_clip, 0.0, 1_000.0),
            bound("world.loss.reconstruction", loss.reconstruction, 0.0, 1e6),
            bound("world.loss.kl", loss.kl, 0.0, 1e6),
            bound("world.loss.free_nats", loss.free_nats, 0.0, 1e6),
            above("world.loss.kl_balance", loss.kl_balance, 0.0, 1.0),
            bound("world.loss.return_nll", loss.return_nll, 0.0, 1e6),
            bound("world.loss.direction", loss.direction, 0.0, 1e6),
            bound("world.regimes.count_min", count_min, 2.0, 7.0),
            bound("world.regimes.count_max", whole(regimes.count_max), count_min, 7.0),
            bound("world.regimes.sample_rows", whole(regimes.sample_rows), 100.0, 1e6),
            bound("world.regimes.distill_steps", f64::from(regimes.distill_steps), 1.0, 1e5),
            bound("world.controller.steps", f64::from(controller.steps), 1.0, 1e6),
            bound("world.controller.batch", whole(controller.batch), 1.0, 65_536.0),
            bound("world.controller.imagined_rows", whole(controller.imagined_rows), 1.0, 1_000.0),
            above("world.controller.learning_rate", controller.learning_rate, 0.0, 0.1),
            bound("world.controller.fee_bps_max", controller.fee_bps_max, 0.0, 100.0),
            bound("world.controller.half_spread_bps", controller.half_spread_bps, 0.0, 1_000.0),
            bound("world.controller.spread_paid", controller.spread_paid, 0.0, 1.0),
            bound("world.controller.risk_aversion", controller.risk_aversion, 0.0, 100.0),
        ];
        bounds.iter().try_for_each(Bound::check)
    }
}

impl LstmConfig {
    fn check(&self) -> Result<(), TrainError> {
        let bounds = [
            bound("lstm.hidden", whole(self.hidden), 1.0, 1_024.0),
            bound("lstm.layers", whole(self.layers), 1.0, 8.0),
            bound("lstm.dropout", self.dropout, 0.0, 0.999),
            bound("lstm.window_rows", whole(self.window_rows), 1.0, 4_096.0),
            bound("lstm.batch", whole(self.batch), 1.0, 65_536.0),
            bound("lstm.stride_rows", whole(self.stride_rows), 1.0, 4_096.0),
        ];
        bounds.iter().try_for_each(Bound::check)
    }
}
