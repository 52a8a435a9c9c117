//! Mean, variance, median.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{StatsError, check_count, check_finite, check_range};
use crate::quantile::quantile;

/// Arithmetic mean, summed in order.
///
/// # Errors
/// [`StatsError::TooFew`] without a value, [`StatsError::NonFinite`].
pub fn mean(x: &[f64]) -> Result<f64, StatsError> {
    check_count("x", x.len(), 1)?;
    check_finite("x", x)?;
    Ok(x.iter().sum::<f64>() / x.len() as f64)
}

/// Variance with divisor `n − ddof` (0: of a population, 1: of a sample), by two passes. Never negative, exactly 0 for a
/// constant: of equal values the mean, and so each difference, may round, which a running sum would turn into a residue.
///
/// # Errors
/// [`StatsError::TooFew`] with `ddof` values or fewer, [`StatsError::NonFinite`].
pub fn variance(x: &[f64], ddof: usize) -> Result<f64, StatsError> {
    check_count("x", x.len(), ddof + 1)?;
    let mean = mean(x)?;
    if x.iter().all(|value| *value == x[0]) {
        return Ok(0.0);
    }
    Ok(x.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (x.len() - ddof) as f64)
}

/// Square root of [`variance`].
///
/// # Errors
/// As [`variance`].
pub fn standard_deviation(x: &[f64], ddof: usize) -> Result<f64, StatsError> {
    variance(x, ddof).map(f64::sqrt)
}

/// The 50 % [`quantile`]: the mean of the two middle values when their number is even.
///
/// # Errors
/// As [`quantile`].
pub fn median(x: &[f64]) -> Result<f64, StatsError> {
    quantile(x, 0.5)
}

/// Quantile of the standard normal law, `p` between 0 and 1: 1.96 for 0.975.
///
/// # Errors
/// [`StatsError::OutOfRange`] for `p` outside of that, ends included.
pub fn standard_normal_quantile(p: f64) -> Result<f64, StatsError> {
    check_range("p", p, |p| p > 0.0 && p < 1.0, "between 0 and 1")?;
    Ok(Normal::standard().inverse_cdf(p))
}

/// Share of the standard normal law at or below `x`; NaN for NaN.
#[must_use]
pub fn standard_normal_cdf(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let x = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&x), Ok(5.0));
        assert_eq!(variance(&x, 0), Ok(4.0));
        assert_eq!(standard_deviation(&x, 0), Ok(2.0));
        assert_eq!(median(&x), Ok(4.5));
        assert_eq!(variance(&[0.1; 7], 1), Ok(0.0), "no residue for a constant");
    }

    #[test]
    fn the_normal_law() {
        assert!((standard_normal_quantile(0.975).unwrap() - 1.959_963_984_540_054).abs() < 1e-9);
        assert!((standard_normal_cdf(-1.0) - 0.158_655_253_931_457_05).abs() < 1e-9);
        assert!(standard_normal_cdf(f64::NAN).is_nan());
        assert!(matches!(standard_normal_quantile(1.0), Err(StatsError::OutOfRange { .. })));
    }

    #[test]
    fn bad_input_is_named() {
        assert_eq!(mean(&[]), Err(StatsError::TooFew { what: "x", got: 0, needed: 1 }));
        assert_eq!(variance(&[1.0], 1), Err(StatsError::TooFew { what: "x", got: 1, needed: 2 }));
        assert!(matches!(mean(&[1.0, f64::NAN]), Err(StatsError::NonFinite { index: 1, .. })));
        assert!(matches!(median(&[f64::INFINITY]), Err(StatsError::NonFinite { index: 0, .. })));
    }
}
