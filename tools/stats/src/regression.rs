//! How well a prediction does: mean squared error, R², and R² out of sample with its standard error.

use crate::descriptive::mean;
use crate::error::{StatsError, check_count, check_finite, check_len};
use crate::matrix::MatrixView;
use crate::quantile::floor_index;

fn check_pair(y: &[f64], y_hat: &[f64]) -> Result<(), StatsError> {
    check_count("y", y.len(), 1)?;
    check_len("y_hat", y_hat.len(), y.len())?;
    check_finite("y", y)?;
    check_finite("y_hat", y_hat)
}

fn squared_error(y: &[f64], y_hat: &[f64]) -> f64 {
    y.iter().zip(y_hat).map(|(y, y_hat)| (y - y_hat).powi(2)).sum()
}

/// Mean squared error, in the square of `y`'s unit.
///
/// # Errors
/// [`StatsError::TooFew`] without a value, [`StatsError::Length`], [`StatsError::NonFinite`].
pub fn mse(y: &[f64], y_hat: &[f64]) -> Result<f64, StatsError> {
    check_pair(y, y_hat)?;
    Ok(squared_error(y, y_hat) / y.len() as f64)
}

/// Coefficient of determination `1 − SSE/SST`, at most 1. Of a constant `y`: 1 when it is met exactly, else 0 (as
/// scikit-learn does with `force_finite`; the textbook's value is NaN or −∞).
///
/// # Errors
/// As [`mse`].
pub fn r_squared(y: &[f64], y_hat: &[f64]) -> Result<f64, StatsError> {
    check_pair(y, y_hat)?;
    Ok(determination(squared_error(y, y_hat), total_squares(y)?))
}

fn total_squares(y: &[f64]) -> Result<f64, StatsError> {
    if crate::correlation::is_constant(y) {
        return Ok(0.0);
    }
    let mean = mean(y)?;
    Ok(y.iter().map(|y| (y - mean).powi(2)).sum())
}

fn determination(error: f64, total: f64) -> f64 {
    if total > 0.0 {
        1.0 - error / total
    } else if error == 0.0 {
        1.0
    } else {
        0.0
    }
}

/// How well each column of a table is reconstructed.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconstruction {
    /// [`mse`] of each column, in the square of its unit.
    pub mse: Vec<f64>,
    /// [`r_squared`] of each column.
    pub r2: Vec<f64>,
    /// Plain mean of `r2`.
    pub r2_uniform: f64,
    /// Mean of `r2` weighted by each column's sum of squares; `r2_uniform` when every column is constant.
    pub r2_variance_weighted: f64,
}

/// Error and R² per column.
///
/// # Errors
/// [`StatsError::TooFew`] without a row, [`StatsError::Length`] when the shapes differ.
pub fn reconstruction(y: MatrixView<'_>, y_hat: MatrixView<'_>) -> Result<Reconstruction, StatsError> {
    check_count("rows of y", y.rows(), 1)?;
    check_len("rows of y_hat", y_hat.rows(), y.rows())?;
    check_len("columns of y_hat", y_hat.cols(), y.cols())?;
    let (mut errors, mut r2, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    for col in 0..y.cols() {
        let (y, y_hat) = (y.column(col), y_hat.column(col));
        let (error, total) = (squared_error(&y, &y_hat), total_squares(&y)?);
        errors.push(error / y.len() as f64);
        r2.push(determination(error, total));
        totals.push(total);
    }
    let r2_uniform = mean(&r2)?;
    let weight: f64 = totals.iter().sum();
    let weighted = r2.iter().zip(&totals).map(|(r2, total)| r2 * total).sum::<f64>() / weight;
    Ok(Reconstruction {
        mse: errors,
        r2,
        r2_uniform,
        r2_variance_weighted: if weight > 0.0 { weighted } else { r2_uniform },
    })
}

/// R² against a benchmark forecast, with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutOfSampleR2 {
    /// `1 − Σ(y − ŷ)²/Σ(y − benchmark)²`, at most 1; above 0: better than the benchmark.
    pub r2: f64,
    /// Standard error by the delta method, with the long-run variance of the losses.
    pub standard_error: f64,
    /// Number of forecasts.
    pub n: usize,
}

/// R² out of sample (Campbell & Thompson 2008) of a forecast against a benchmark known in advance: the training mean, or
/// zeros for returns.
///
/// The standard error is that of a ratio of means: with `g_t = (y−b)² − (y−ŷ)² − R²·(y−b)²`, `√(LRV(g)/n)/mean (y−b)²`,
/// where LRV is [`long_run_variance`] with `lags` lags (horizon − 1 at least for overlapping returns).
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values, [`StatsError::Length`], [`StatsError::NonFinite`], [`StatsError::Degenerate`] when
/// the benchmark is exact.
pub fn out_of_sample_r2(y: &[f64], y_hat: &[f64], benchmark: &[f64], lags: usize) -> Result<OutOfSampleR2, StatsError> {
    check_pair(y, y_hat)?;
    check_count("y", y.len(), 2)?;
    check_len("benchmark", benchmark.len(), y.len())?;
    check_finite("benchmark", benchmark)?;
    let n = y.len();
    let base: Vec<f64> = y.iter().zip(benchmark).map(|(y, b)| (y - b).powi(2)).collect();
    let base_mean = mean(&base)?;
    if base_mean == 0.0 {
        return Err(StatsError::Degenerate { what: "benchmark", why: "it is exact, nothing is left to explain" });
    }
    let r2 = 1.0 - squared_error(y, y_hat) / n as f64 / base_mean;
    let terms = y.iter().zip(y_hat).zip(&base);
    let influence: Vec<f64> = terms.map(|((y, y_hat), base)| base * (1.0 - r2) - (y - y_hat).powi(2)).collect();
    let variance = long_run_variance(&influence, lags)?;
    Ok(OutOfSampleR2 { r2, standard_error: (variance / n as f64).sqrt() / base_mean, n })
}

/// Long-run variance `γ₀ + 2 Σ_{k=1..lags} (1 − k/(lags+1)) γ_k` of a series (Newey & West 1987; Bartlett's kernel, so it is
/// never negative), with autocovariances divided by n. `lags` beyond n − 1 count as n − 1.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values, [`StatsError::NonFinite`].
pub fn long_run_variance(x: &[f64], lags: usize) -> Result<f64, StatsError> {
    check_count("x", x.len(), 2)?;
    let (mean, n) = (mean(x)?, x.len());
    let lags = lags.min(n - 1);
    let centred: Vec<f64> = x.iter().map(|x| x - mean).collect();
    let covariance = |k: usize| centred.iter().zip(&centred[k..]).map(|(a, b)| a * b).sum::<f64>() / n as f64;
    let tail: f64 = (1..=lags).map(|k| (1.0 - k as f64 / (lags + 1) as f64) * covariance(k)).sum();
    Ok((covariance(0) + 2.0 * tail).max(0.0))
}

/// The usual number of lags `⌊4 (n/100)^{2/9}⌋` (Newey & West 1994).
#[must_use]
pub fn newey_west_lags(n: usize) -> usize {
    floor_index(4.0 * (n as f64 / 100.0).powf(2.0 / 9.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    #[test]
    fn known_values() {
        let (y, y_hat) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        assert_eq!(mse(&y, &y_hat), Ok(0.375));
        assert!((r_squared(&y, &y_hat).unwrap() - 0.948_608_137_044_967_9).abs() < 1e-15);
        assert_eq!(r_squared(&[2.0; 3], &[2.0; 3]), Ok(1.0));
        assert_eq!(r_squared(&[2.0; 3], &[2.0, 2.0, 3.0]), Ok(0.0));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(mse(&[], &[]), Err(StatsError::TooFew { .. })));
        assert!(matches!(mse(&[1.0], &[1.0, 2.0]), Err(StatsError::Length { what: "y_hat", .. })));
        assert!(matches!(mse(&[1.0], &[f64::NAN]), Err(StatsError::NonFinite { what: "y_hat", .. })));
        let exact = out_of_sample_r2(&[1.0, 2.0], &[1.0, 2.0], &[1.0, 2.0], 0);
        assert!(matches!(exact, Err(StatsError::Degenerate { .. })));
    }

    /// A forecast with a true R² of 0.2 and one of pure noise: the error bar covers the truth as often as it says.
    #[test]
    fn the_error_bar_of_r2_covers_the_truth() {
        let mut generator = Generator::new(7, "r2");
        let (n, runs) = (400, 400);
        let mut covered = 0;
        for _ in 0..runs {
            let signal: Vec<f64> = (0..n).map(|_| 0.5 * generator.normal()).collect();
            let y: Vec<f64> = signal.iter().map(|signal| signal + generator.normal()).collect();
            let found = out_of_sample_r2(&y, &signal, &vec![0.0; n], 0).unwrap();
            covered += usize::from((found.r2 - 0.2).abs() < 1.96 * found.standard_error);
        }
        assert!((370..=393).contains(&covered), "{covered} of {runs}");
    }

    #[test]
    fn long_run_variance_of_a_moving_average() {
        // x_t = e_t + e_{t−1}: long-run variance 4, variance 2.
        let mut generator = Generator::new(3, "hac");
        let e: Vec<f64> = (0..200_001).map(|_| generator.normal()).collect();
        let x: Vec<f64> = e.windows(2).map(|pair| pair[0] + pair[1]).collect();
        assert!((long_run_variance(&x, 0).unwrap() - 2.0).abs() < 0.05);
        assert!((long_run_variance(&x, 50).unwrap() - 4.0).abs() < 0.2);
        assert_eq!(newey_west_lags(100), 4);
    }
}
