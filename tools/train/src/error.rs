//! Why a training run gave no candidate.

use std::path::PathBuf;

/// What went wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The configuration is not TOML, a key is missing or unknown, or has the wrong type. The message names line and key.
    #[error("configuration: {what}")]
    Config {
        /// What the reader said.
        what: String,
    },
    /// A value outside its bounds.
    #[error("configuration: {key} is {value}, allowed is {bound}")]
    Bound {
        /// The key with its section.
        key: String,
        /// What it is.
        value: String,
        /// What it may be.
        bound: String,
    },
    /// A dataset that cannot train this model.
    #[error("dataset ({which}): {what}")]
    Dataset {
        /// Which fold: `train` or `validation`.
        which: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A loss or a gradient that is not a number: the learning rate is too high, or the data hold outliers.
    #[error(
        "training diverged in epoch {epoch}, step {step}: {what} is not finite; lower optimizer.learning_rate or clean the data"
    )]
    Diverged {
        /// Epoch from 0.
        epoch: u32,
        /// Step of the epoch from 0.
        step: u64,
        /// The loss, or the array.
        what: String,
    },
    /// The observer asked to stop. The best weights are in the checkpoint, when one was asked for.
    #[error("interrupted in epoch {epoch}, step {step}{}", .checkpoint.as_ref().map_or_else(String::new, |path| format!("; resume from {}", path.display())))]
    Interrupted {
        /// Epoch from 0.
        epoch: u32,
        /// Step of the epoch from 0.
        step: u64,
        /// Where the run goes on from.
        checkpoint: Option<PathBuf>,
    },
    /// A checkpoint of another run, or one that is cut short.
    #[error("checkpoint {path}: {what}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The model file.
    #[error("model: {0}")]
    Model(#[from] peregrine_model::ModelError),
    /// A statistic could not be made of the data.
    #[error("statistics of {what}: {source}")]
    Statistics {
        /// Of what.
        what: String,
        /// The estimator's reason.
        source: peregrine_stats::StatsError,
    },
    /// The trial ledger.
    #[error("trial ledger {path}: {what}")]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What the database said.
        what: String,
    },
}

impl TrainError {
    /// Names the file that an input or output error is about.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
