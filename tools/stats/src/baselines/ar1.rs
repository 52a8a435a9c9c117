//! Random walk and AR(1).

use crate::correlation::is_constant;
use crate::descriptive::mean;
use crate::error::{StatsError, check_count, check_finite, check_range};

/// `x_{t+1} = intercept + coefficient · x_t + noise`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ar1 {
    /// In the series' unit.
    pub intercept: f64,
    /// Without unit; |coefficient| < 1 for a stationary series.
    pub coefficient: f64,
    /// Variance of the noise, divisor n − 2 of the n pairs.
    pub noise_variance: f64,
}

impl Ar1 {
    /// Ordinary least squares of each value on the one before it. A constant series has coefficient 0.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below 4 values, [`StatsError::NonFinite`].
    pub fn fit(x: &[f64]) -> Result<Self, StatsError> {
        check_count("x", x.len(), 4)?;
        check_finite("x", x)?;
        let pairs: Vec<(f64, f64)> = x.windows(2).map(|pair| (pair[0], pair[1])).collect();
        Self::fit_pairs(&pairs)
    }

    /// The same from (value, next value) pairs of several series: pairs must not reach from one series into another.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below 3 pairs, [`StatsError::NonFinite`].
    pub fn fit_pairs(pairs: &[(f64, f64)]) -> Result<Self, StatsError> {
        check_count("pairs", pairs.len(), 3)?;
        let (before, after): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        check_finite("pairs", &after)?;
        let (mean_before, mean_after) = (mean(&before)?, mean(&after)?);
        let spread: f64 = before.iter().map(|x| (x - mean_before).powi(2)).sum();
        let product: f64 = pairs.iter().map(|(x, y)| (x - mean_before) * (y - mean_after)).sum();
        let coefficient = if is_constant(&before) || spread == 0.0 { 0.0 } else { product / spread };
        let intercept = mean_after - coefficient * mean_before;
        let error: f64 = pairs.iter().map(|(x, y)| (y - intercept - coefficient * x).powi(2)).sum();
        Ok(Self { intercept, coefficient, noise_variance: error / (pairs.len() - 2) as f64 })
    }

    /// Mean forecast `steps` ahead of `last`; `last` itself for 0 steps.
    #[must_use]
    pub fn forecast(&self, last: f64, steps: usize) -> f64 {
        (0..steps).fold(last, |x, _| self.intercept + self.coefficient * x)
    }

    /// Variance of the forecast's error: `σ² Σ_{i<steps} φ^{2i}`.
    #[must_use]
    pub fn forecast_variance(&self, steps: usize) -> f64 {
        (0..steps).fold(0.0, |sum, _| sum * self.coefficient * self.coefficient + self.noise_variance)
    }
}

/// Squared errors of the forecast "no change" over `steps`, one per start.
///
/// # Errors
/// [`StatsError::OutOfRange`] for 0 steps, [`StatsError::TooFew`] unless the series is longer than `steps`, [`StatsError::NonFinite`].
pub fn horizon_errors_random_walk(x: &[f64], steps: usize) -> Result<Vec<f64>, StatsError> {
    check_horizon(x, steps)?;
    Ok(x.iter().zip(&x[steps..]).map(|(now, then)| (then - now).powi(2)).collect())
}

/// Squared errors of an AR(1)'s forecast over `steps`, one per start.
///
/// # Errors
/// As [`horizon_errors_random_walk`].
pub fn horizon_errors_ar1(model: &Ar1, x: &[f64], steps: usize) -> Result<Vec<f64>, StatsError> {
    check_horizon(x, steps)?;
    Ok(x.iter().zip(&x[steps..]).map(|(now, then)| (then - model.forecast(*now, steps)).powi(2)).collect())
}

fn check_horizon(x: &[f64], steps: usize) -> Result<(), StatsError> {
    check_range("steps", steps as f64, |steps| steps >= 1.0, "1 or more")?;
    check_count("x", x.len(), steps + 1)?;
    check_finite("x", x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    #[test]
    fn the_coefficients_are_found_and_the_forecast_has_the_variance_it_says() {
        let mut generator = Generator::new(1, "ar1");
        let mut x = vec![2.0];
        for t in 0..50_000 {
            x.push(0.5 + 0.8 * x[t] + 0.3 * generator.normal());
        }
        let model = Ar1::fit(&x).unwrap();
        assert!((model.coefficient - 0.8).abs() < 0.01 && (model.intercept - 0.5).abs() < 0.03, "{model:?}");
        let (ar, walk) = (horizon_errors_ar1(&model, &x, 5).unwrap(), horizon_errors_random_walk(&x, 5).unwrap());
        assert!((mean(&ar).unwrap() / model.forecast_variance(5) - 1.0).abs() < 0.05);
        assert!(mean(&walk).unwrap() > 1.2 * mean(&ar).unwrap());
        assert_eq!(model.forecast(3.0, 0), 3.0);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(Ar1::fit(&[1.0, 2.0]), Err(StatsError::TooFew { .. })));
        assert!(matches!(Ar1::fit(&[1.0, 2.0, f64::NAN, 1.0]), Err(StatsError::NonFinite { index: 2, .. })));
        assert_eq!(Ar1::fit(&[3.0; 5]).unwrap().forecast(3.0, 4), 3.0);
        assert!(matches!(horizon_errors_random_walk(&[1.0, 2.0], 2), Err(StatsError::TooFew { .. })));
        assert!(matches!(horizon_errors_random_walk(&[1.0, 2.0], 0), Err(StatsError::OutOfRange { .. })));
    }
}
