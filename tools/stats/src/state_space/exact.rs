//! The exact filter, by brute force.

use super::filter::{Filtered, step, summarise};
use super::process::RegimeProcess;
use crate::error::{StatsError, check_range};
use crate::matrix::MatrixView;

/// Most regime paths that [`exact_filter`] keeps.
pub const EXACT_PATHS_MAX: usize = 1 << 20;

/// Filters a short sequence exactly: one Kalman filter per regime path, K^T of them after T steps.
///
/// # Errors
/// [`StatsError::Length`], and [`StatsError::OutOfRange`] when K^T is above [`EXACT_PATHS_MAX`].
pub fn exact_filter(process: &RegimeProcess, x: MatrixView<'_>) -> Result<Vec<Filtered>, StatsError> {
    let paths = (process.regime_count() as f64).powf(x.rows() as f64);
    check_range("number of regime paths", paths, |paths| paths <= EXACT_PATHS_MAX as f64, "at most 2^20")?;
    let (mut paths, mut out) = (Vec::new(), Vec::with_capacity(x.rows()));
    for row in x.iter_rows() {
        let log_likelihood;
        (paths, log_likelihood) = step(process, &paths, row)?;
        out.push(summarise(process, &paths, log_likelihood));
    }
    Ok(out)
}
