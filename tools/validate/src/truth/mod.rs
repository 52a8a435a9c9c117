//! The trial by a market whose truth is known: data from a regime-switching process ([`peregrine_stats::state_space`]), and
//! what a model trained on them must find, against the filter that knows the true parameters.
//!
//! The bars ([`TruthBars`]) are those of the project's issue on training: the regimes' adjusted Rand index at least 0.8 times the
//! filter's, at least 90 % of the filter's explained variance at horizon 1, an ECE of at most 0.05 with a Brier skill above zero at 95 %, and in a
//! market without signal an R² of zero within its error bar and no skill.

mod data;
mod judge;

use peregrine_model::{ModelError, NonFinite};
use peregrine_stats::StatsError;

pub use data::{FEATURE_HASH, TruthData, TruthSpec, TruthTable, truth_dataset};
pub use judge::{
    Finding, ProbabilityVerdict, RegimeVerdict, ReturnVerdict, TruthBars, TruthPredictions, TruthVerdict,
    judge_predictions, judge_truth, predict,
};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The specification or the predictions are not sound.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// The file is no model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model is for other data.
    #[error("the model does not fit the data: {what}")]
    Mismatch {
        /// What does not fit.
        what: String,
    },
    /// The kernel refused a row.
    #[error("row {row}: {source}")]
    Row {
        /// Index of the row.
        row: usize,
        /// Why.
        source: NonFinite,
    },
}
