//! What a running training tells the one who started it, and how it is asked to stop.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Told how many of how many parts of a stage are done; an error ends it.
pub(crate) type Go<'a> = dyn FnMut(u32, u32) -> Result<(), TrainError> + 'a;

/// What the observer wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Keep a checkpoint and stop: the run ends with [`TrainError::Interrupted`](crate::TrainError::Interrupted).
    Stop,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Scaling features and cutting sequences.
    Preparing,
    /// Training the network.
    Training,
    /// Calibrating the direction head on the validation fold.
    Calibrating,
    /// Finding the regimes in the training latents.
    Regimes,
    /// Training the controller in imagination.
    Controller,
}

/// Mean losses over rows that count; parts that a model does not have are 0.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Losses {
    /// The weighted sum that early stopping looks at.
    pub total: f64,
    /// Mean squared error over scaled features.
    pub reconstruction: f64,
    /// KL(q‖p) in nats, free nats not taken off.
    pub kl: f64,
    /// Negative log-likelihood of the standardised returns, mean over horizons, without ½·ln 2π.
    pub return_nll: f64,
    /// Cross-entropy of the up-move in nats.
    pub direction: f64,
}

/// Where training stands after a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Epoch from 0.
    pub epoch: u32,
    /// Most epochs.
    pub epochs_max: u32,
    /// Steps of this epoch that are done.
    pub step: u64,
    /// Steps of an epoch.
    pub steps: u64,
    /// Losses of this epoch so far.
    pub losses: Losses,
    /// Best validation loss so far.
    pub best_validation: Option<f64>,
    /// Training steps per second of this process.
    pub steps_per_second: f64,
    /// Seconds left if every epoch is run; early stopping can only shorten it.
    pub seconds_left: f64,
}

/// An epoch that has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EpochReport {
    /// Epoch from 0.
    pub epoch: u32,
    /// Training losses, at posterior samples.
    pub training: Losses,
    /// Validation losses, at posterior means.
    pub validation: Losses,
    /// Whether this epoch has the best validation loss so far.
    pub is_best: bool,
}

/// Receives what a run tells. Every method may be left as it is.
pub trait Observer {
    /// A stage begins.
    fn stage(&mut self, stage: Stage) -> Control {
        let _: Stage = stage;
        Control::Continue
    }

    /// `done` of `parts` steps of a stage that follows the training of the network are done. A run that is stopped here has
    /// its checkpoint from the last epoch, and goes on from the begin of [`Stage::Calibrating`].
    fn part(&mut self, done: u32, parts: u32) -> Control {
        let _: (u32, u32) = (done, parts);
        Control::Continue
    }

    /// A training step is done.
    fn step(&mut self, progress: &Progress) -> Control {
        let _: &Progress = progress;
        Control::Continue
    }

    /// An epoch is done.
    fn epoch(&mut self, report: &EpochReport) -> Control {
        let _: &EpochReport = report;
        Control::Continue
    }
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
