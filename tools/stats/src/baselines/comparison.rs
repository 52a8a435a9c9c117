//! The test of Diebold and Mariano: is one forecast better than another?

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::descriptive::mean;
use crate::error::{StatsError, check_count, check_finite, check_len, check_range};
use crate::regression::long_run_variance;

/// Result of [`diebold_mariano`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastComparison {
    /// Mean loss of the first forecast less that of the second: below 0 when the first is better.
    pub difference: f64,
    /// Its standard error, with the long-run variance.
    pub standard_error: f64,
    /// The statistic with the small-sample factor, Student's t with n − 1 degrees of freedom under equal accuracy.
    pub statistic: f64,
    /// Two-sided p-value, 0..=1.
    pub p_value: f64,
    /// Number of forecasts.
    pub n: usize,
}

/// Diebold & Mariano 1995 on the losses of two forecasts of the same targets over `horizon` steps, in time order: Bartlett's
/// kernel with `horizon − 1` lags or the automatic number (Newey & West 1994), whichever is more, so that the variance is never negative; the
/// statistic has the factor of Harvey, Leybourne & Newbold 1997, `√((n + 1 − 2h + h(h−1)/n)/n)`.
///
/// # Errors
/// [`StatsError::TooFew`] below 8 losses, or at most twice the horizon; [`StatsError::Length`], [`StatsError::NonFinite`], [`StatsError::OutOfRange`] for
/// a horizon of 0, [`StatsError::Degenerate`] when the losses differ by a constant (0, say: the same forecast).
pub fn diebold_mariano(first: &[f64], second: &[f64], horizon: usize) -> Result<ForecastComparison, StatsError> {
    check_range("horizon", horizon as f64, |horizon| horizon >= 1.0, "1 or more")?;
    check_count("first", first.len(), (2 * horizon + 1).max(8))?;
    check_len("second", second.len(), first.len())?;
    check_finite("first", first)?;
    check_finite("second", second)?;
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let (difference, n) = (mean(&differences)?, first.len() as f64);
    let lags = (horizon - 1).max(crate::regression::newey_west_lags(first.len()));
    let variance = long_run_variance(&differences, lags)?;
    if variance == 0.0 {
        return Err(StatsError::Degenerate { what: "losses", why: "they differ by a constant" });
    }
    let standard_error = (variance / n).sqrt();
    let h = horizon as f64;
    let statistic = difference / standard_error * ((n + 1.0 - 2.0 * h + h * (h - 1.0) / n) / n).sqrt();
    let failed = |_| StatsError::Degenerate { what: "first", why: "Student's t is not defined" };
    let student = StudentsT::new(0.0, 1.0, n - 1.0).map_err(failed)?;
    let p_value = 2.0 * student.cdf(-statistic.abs());
    Ok(ForecastComparison { difference, standard_error, statistic, p_value, n: first.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    fn losses(generator: &mut Generator, scale: f64, n: usize) -> Vec<f64> {
        (0..n).map(|_| (scale * generator.normal()).powi(2)).collect()
    }

    #[test]
    fn it_rejects_as_often_as_it_says_and_sees_a_better_forecast() {
        let mut generator = Generator::new(2, "dm");
        let (runs, mut rejected) = (600, 0);
        for _ in 0..runs {
            let (a, b) = (losses(&mut generator, 1.0, 150), losses(&mut generator, 1.0, 150));
            rejected += usize::from(diebold_mariano(&a, &b, 1).unwrap().p_value < 0.05);
        }
        assert!((12..60).contains(&rejected), "{rejected} of {runs}");
        let (a, b) = (losses(&mut generator, 1.0, 400), losses(&mut generator, 1.4, 400));
        let found = diebold_mariano(&a, &b, 1).unwrap();
        assert!(found.difference < 0.0 && found.p_value < 0.01, "{found:?}");
        let turned = diebold_mariano(&b, &a, 1).unwrap();
        assert!((turned.statistic + found.statistic).abs() < 1e-12);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(diebold_mariano(&[1.0; 9], &[1.0; 9], 1), Err(StatsError::Degenerate { .. })));
        assert!(matches!(diebold_mariano(&[1.0; 9], &[1.0; 9], 5), Err(StatsError::TooFew { .. })));
        assert!(matches!(diebold_mariano(&[1.0; 9], &[1.0; 8], 1), Err(StatsError::Length { .. })));
    }
}
