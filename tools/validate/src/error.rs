//! Why a diagnosis could not be made.

use peregrine_model::{AccuracyError, Horizon, ModelError, NonFinite};
use peregrine_stats::StatsError;

/// Why a diagnosis could not be made: the input does not belong together. What is merely bad is a failed check instead.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// The model file was refused.
    #[error("the model file was refused: {0}")]
    Model(#[from] ModelError),
    /// A dataset does not have the features that the model was made for.
    #[error("the {dataset} data do not fit the model: {what}; build the dataset with the model's feature definition")]
    Features {
        /// `training` or `held-out`.
        dataset: &'static str,
        /// The first difference.
        what: String,
    },
    /// The model predicts over a horizon that a dataset has no returns for.
    #[error("the {dataset} data have no returns over {} {:?}, which the model predicts; rebuild them with that horizon", horizon.count, horizon.unit)]
    Horizon {
        /// `training` or `held-out`.
        dataset: &'static str,
        /// The horizon.
        horizon: Horizon,
    },
    /// A sequence's columns do not have the lengths that its rows need.
    #[error("the {dataset} data, sequence {sequence}: column `{column}` has {found} values, {expected} are needed")]
    Shape {
        /// `training` or `held-out`.
        dataset: &'static str,
        /// Index of the sequence, from 0.
        sequence: usize,
        /// Which column.
        column: &'static str,
        /// How many values it has.
        found: usize,
        /// How many the rows need.
        expected: usize,
    },
    /// Too little is left after warming up to judge anything.
    #[error(
        "the {dataset} data leave {found} rows after {warm_up} rows of warming up per sequence, at least {needed} are needed; give more data"
    )]
    TooFewRows {
        /// `training` or `held-out`.
        dataset: &'static str,
        /// How many rows there are.
        found: usize,
        /// Rows of each sequence that are not judged.
        warm_up: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The LSTM baseline does not fit.
    #[error("the LSTM baseline was refused: {what}")]
    Lstm {
        /// What is wrong.
        what: String,
    },
    /// No backend runs on this machine: the plain one always does.
    #[error("internal: no backend of the kernel runs on this machine")]
    NoBackend,
    /// The kernel refused a step that it must take.
    #[error("the kernel refused a step of the diagnosis: {0}")]
    Kernel(#[from] NonFinite),
    /// The accuracy gate could not compare the precisions.
    #[error("the accuracy gate could not be run: {0}")]
    Accuracy(#[from] AccuracyError),
    /// An estimator refused its input.
    #[error("an estimator refused its input: {0}")]
    Stats(#[from] StatsError),
    /// A page could not be rendered: a fault of this crate.
    #[error("the page could not be made: {what}")]
    Page {
        /// What the template engine said.
        what: String,
    },
}
