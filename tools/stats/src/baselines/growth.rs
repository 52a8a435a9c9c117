//! How fast an error grows with the horizon.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::bootstrap::Interval;
use crate::error::{StatsError, check_count, check_finite};

/// The exponent g of `error ~ horizon^g`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrowthExponent {
    /// Slope of ln error on ln horizon. Of squared errors a random walk has 1, what returns to its mean less.
    pub exponent: f64,
    /// Interval of the exponent.
    pub interval: Interval,
}

/// Least-squares slope of `ln errors[k−1]` on `ln k`, k = 1, 2, …, with Student's interval of `level` from its residuals. The
/// residuals of overlapping horizons depend on each other: exponents of bootstrapped errors give the honest interval.
///
/// # Errors
/// [`StatsError::TooFew`] below 3 horizons, [`StatsError::NonFinite`], [`StatsError::OutOfRange`] for an error that is not
/// above 0 or a level outside of 0..1.
pub fn growth_exponent(errors: &[f64], level: f64) -> Result<GrowthExponent, StatsError> {
    check_count("errors", errors.len(), 3)?;
    check_finite("errors", errors)?;
    if let Some(index) = errors.iter().position(|error| *error <= 0.0) {
        return Err(StatsError::OutOfRange { what: "errors", index, value: errors[index], range: "above 0" });
    }
    crate::error::check_range("level", level, |level| level > 0.0 && level < 1.0, "between 0 and 1")?;
    let (exponent, standard_error) = slope(errors);
    let failed = |_| StatsError::Degenerate { what: "errors", why: "Student's t is not defined" };
    let student = StudentsT::new(0.0, 1.0, (errors.len() - 2) as f64).map_err(failed)?;
    let half = student.inverse_cdf(0.5 + level / 2.0) * standard_error;
    Ok(GrowthExponent { exponent, interval: Interval { lower: exponent - half, upper: exponent + half, level } })
}

/// Slope of ln errors on ln horizon and its standard error.
fn slope(errors: &[f64]) -> (f64, f64) {
    let n = errors.len() as f64;
    let x: Vec<f64> = (1..=errors.len()).map(|k| (k as f64).ln()).collect();
    let y: Vec<f64> = errors.iter().map(|error| error.ln()).collect();
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let spread: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    let slope = x.iter().zip(&y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let residual: f64 = x.iter().zip(&y).map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
    (slope, (residual / (n - 2.0) / spread).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    #[test]
    fn a_power_is_found_exactly() {
        let errors: Vec<f64> = (1..=21).map(|k| 0.3 * f64::from(k).powf(0.7)).collect();
        let found = growth_exponent(&errors, 0.95).unwrap();
        assert!((found.exponent - 0.7).abs() < 1e-12 && found.interval.upper - found.interval.lower < 1e-6);
    }

    #[test]
    fn a_random_walk_grows_linearly() {
        let mut generator = Generator::new(12, "growth");
        let mut path = vec![0.0];
        (0..3_000).for_each(|t| path.push(path[t] + generator.normal()));
        let horizons = 10;
        let starts = path.len() - horizons;
        let error = |k: usize| (0..starts).map(|t| (path[t + k] - path[t]).powi(2)).sum::<f64>() / starts as f64;
        let found = growth_exponent(&(1..=horizons).map(error).collect::<Vec<f64>>(), 0.95).unwrap();
        assert!((found.exponent - 1.0).abs() < 0.2, "{found:?}");
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(growth_exponent(&[1.0, 0.0, 2.0], 0.95), Err(StatsError::OutOfRange { index: 1, .. })));
        assert!(matches!(growth_exponent(&[1.0, 2.0], 0.95), Err(StatsError::TooFew { .. })));
        assert!(matches!(growth_exponent(&[1.0, 2.0, f64::NAN], 0.95), Err(StatsError::NonFinite { .. })));
    }
}
