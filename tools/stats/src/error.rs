//! What can be wrong with the input of an estimator.

/// Why an estimator gave no result. Every variant names the argument (`what`) as the function's signature does.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// Fewer values than the estimator is defined for.
    #[error("{what} has {got} values, at least {needed} are needed")]
    TooFew {
        /// The argument.
        what: &'static str,
        /// How many it has.
        got: usize,
        /// How many it must have.
        needed: usize,
    },
    /// Two arguments do not belong together.
    #[error("{what} has {got} values where {expected} are expected")]
    Length {
        /// The argument.
        what: &'static str,
        /// How many it has.
        got: usize,
        /// How many it must have.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what}[{index}] is {value}, every value must be finite: drop or impute it before")]
    NonFinite {
        /// The argument.
        what: &'static str,
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A value is finite but outside of its range.
    #[error("{what}[{index}] is {value}, allowed is {range}")]
    OutOfRange {
        /// The argument.
        what: &'static str,
        /// Index of the first such value, 0 for a single number.
        index: usize,
        /// The value.
        value: f64,
        /// The range in words.
        range: &'static str,
    },
    /// The input is sound but the estimator has no value for it.
    #[error("{what}: {why}")]
    Degenerate {
        /// The argument.
        what: &'static str,
        /// Why there is no value.
        why: &'static str,
    },
    /// An iteration did not reach its end.
    #[error("{what} did not converge after {iterations} iterations")]
    NotConverged {
        /// The procedure.
        what: &'static str,
        /// How many iterations it made.
        iterations: usize,
    },
}

/// Every value is finite.
pub(crate) fn check_finite(what: &'static str, values: &[f64]) -> Result<(), StatsError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(StatsError::NonFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}

/// At least `needed` values.
pub(crate) fn check_count(what: &'static str, got: usize, needed: usize) -> Result<(), StatsError> {
    if got < needed { Err(StatsError::TooFew { what, got, needed }) } else { Ok(()) }
}

/// Exactly `expected` values.
pub(crate) fn check_len(what: &'static str, got: usize, expected: usize) -> Result<(), StatsError> {
    if got == expected { Ok(()) } else { Err(StatsError::Length { what, got, expected }) }
}

/// One number within a range, given as a test and in words. NaN is outside of every range.
pub(crate) fn check_range(
    what: &'static str,
    value: f64,
    is_inside: impl Fn(f64) -> bool,
    range: &'static str,
) -> Result<(), StatsError> {
    if is_inside(value) { Ok(()) } else { Err(StatsError::OutOfRange { what, index: 0, value, range }) }
}
