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

/// Clark & West 2007: does a forecast of `y` over `horizon` steps, in time order, add anything to a simpler one that it
/// contains (a constant, say)? Under "nothing" the larger forecast's squared error is the greater one for what it fitted to
/// noise; `(y − simple)² − (y − larger)² + (simple − larger)²` takes that off. The result is that of [`diebold_mariano`] on
/// these terms: its statistic is above 0 when the larger forecast adds something, and the test is one-sided (1.645: 5 %).
///
/// # Errors
/// As [`diebold_mariano`]; [`StatsError::Degenerate`] when both forecasts are the same.
pub fn clark_west(y: &[f64], simple: &[f64], larger: &[f64], horizon: usize) -> Result<ForecastComparison, StatsError> {
    check_len("simple", simple.len(), y.len())?;
    check_len("larger", larger.len(), y.len())?;
    let forecasts = simple.iter().zip(larger);
    let terms: Vec<f64> = y
        .iter()
        .zip(forecasts)
        .map(|(y, (simple, larger))| (y - simple).powi(2) - (y - larger).powi(2) + (simple - larger).powi(2))
        .collect();
    diebold_mariano(&terms, &vec![0.0; terms.len()], horizon)
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

    /// A forecast fitted to noise on rows of its own: the squared error says that it is worse, the test that it adds
    /// nothing, as often as it should; and a small signal is seen.
    #[test]
    fn noise_that_was_fitted_adds_nothing_and_a_signal_does() {
        let mut generator = Generator::new(3, "cw");
        let (runs, n, mut found) = (600, 300, [0, 0]);
        for _ in 0..runs {
            for (signal, found) in [0.0, 0.25].into_iter().zip(&mut found) {
                let x: Vec<f64> = (0..2 * n).map(|_| generator.normal()).collect();
                let y: Vec<f64> = x.iter().map(|x| signal * x + generator.normal()).collect();
                let (fit_x, fit_y) = (&x[..n], &y[..n]);
                let slope =
                    fit_x.iter().zip(fit_y).map(|(x, y)| x * y).sum::<f64>() / fit_x.iter().map(|x| x * x).sum::<f64>();
                let larger: Vec<f64> = x[n..].iter().map(|x| slope * x).collect();
                let tested = clark_west(&y[n..], &vec![0.0; n], &larger, 1).unwrap();
                *found += usize::from(tested.statistic > 1.645);
            }
        }
        assert!((12..60).contains(&found[0]) && found[1] > 550, "{found:?} of {runs}");
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(diebold_mariano(&[1.0; 9], &[1.0; 9], 1), Err(StatsError::Degenerate { .. })));
        assert!(matches!(diebold_mariano(&[1.0; 9], &[1.0; 9], 5), Err(StatsError::TooFew { .. })));
        assert!(matches!(diebold_mariano(&[1.0; 9], &[1.0; 8], 1), Err(StatsError::Length { .. })));
        assert!(matches!(clark_west(&[1.0; 9], &[1.0; 9], &[1.0; 8], 1), Err(StatsError::Length { .. })));
    }
}
