//! Calibration of the direction head on the validation fold (Platt 1999): slope and intercept of a logistic regression of
//! the outcome on the logit, folded into the head's weights.

use peregrine_stats::calibration::Platt;

/// Least number of each outcome that a calibration needs.
const OUTCOMES_MIN: usize = 50;

/// Fits it (Platt 1999). `None` when an outcome is too rare. A slope below 0 would turn the head around on the strength of one
/// fold; then the slope is 0 and the probability that of the fold.
pub(crate) fn fit(logits: &[f64], is_up: &[bool]) -> Option<Platt> {
    let ups = is_up.iter().filter(|is_up| **is_up).count();
    let downs = is_up.len() - ups;
    if ups < OUTCOMES_MIN || downs < OUTCOMES_MIN {
        return None;
    }
    let fitted = Platt::fit(logits, is_up).ok().filter(|fitted| fitted.slope > 0.0);
    let prior = (crate::fold::whole(ups) / crate::fold::whole(downs)).ln();
    Some(fitted.unwrap_or(Platt { slope: 0.0, offset: prior }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{stream, uniform};

    #[test]
    fn a_logit_that_is_twice_too_steep_and_shifted_is_set_right() {
        let mut rng = stream(3, "platt", 0);
        let logits: Vec<f64> = (0..20_000).map(|_| 6.0 * uniform(&mut rng) - 3.0).collect();
        let outcomes: Vec<bool> =
            logits.iter().map(|x| uniform(&mut rng) < 1.0 / (1.0 + (-(0.5 * x + 0.3)).exp())).collect();
        let platt = fit(&logits, &outcomes).unwrap();
        assert!((platt.slope - 0.5).abs() < 0.03 && (platt.offset - 0.3).abs() < 0.05, "{platt:?}");
        let turned: Vec<f64> = logits.iter().map(|x| -x).collect();
        assert_eq!(fit(&turned, &outcomes).unwrap().slope, 0.0);
        assert_eq!(fit(&logits[..60], &outcomes[..60]), None);
    }
}
