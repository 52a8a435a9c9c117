//! Calibration of the direction head on the validation fold (Platt 1999): slope and intercept of a logistic regression of
//! the outcome on the logit, folded into the head's weights.

/// Least number of each outcome that a calibration needs.
const OUTCOMES_MIN: usize = 50;
const NEWTON_STEPS: usize = 50;

/// `calibrated logit = slope · logit + intercept`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Platt {
    pub(crate) slope: f64,
    pub(crate) intercept: f64,
}

/// Fits by Newton's method with Platt's smoothed targets. `None` when an outcome is too rare. A slope below 0 would turn the
/// head around on the strength of one fold; then the slope is 0 and the probability that of the fold.
pub(crate) fn fit(logits: &[f64], is_up: &[bool]) -> Option<Platt> {
    let ups = is_up.iter().filter(|is_up| **is_up).count();
    let downs = is_up.len() - ups;
    if ups < OUTCOMES_MIN || downs < OUTCOMES_MIN {
        return None;
    }
    let (ups, downs) = (crate::fold::whole(ups), crate::fold::whole(downs));
    let (high, low) = ((ups + 1.0) / (ups + 2.0), 1.0 / (downs + 2.0));
    let prior = (ups / downs).ln();
    let targets: Vec<f64> = is_up.iter().map(|is_up| if *is_up { high } else { low }).collect();
    let fitted = newton(logits, &targets, Platt { slope: 1.0, intercept: 0.0 });
    let is_sound = fitted.slope.is_finite() && fitted.intercept.is_finite() && fitted.slope > 0.0;
    Some(if is_sound { fitted } else { Platt { slope: 0.0, intercept: prior } })
}

fn cross_entropy(logits: &[f64], targets: &[f64], at: Platt) -> f64 {
    let terms = logits.iter().zip(targets).map(|(logit, target)| {
        let logit = at.slope * logit + at.intercept;
        logit.max(0.0) - logit * target + (-logit.abs()).exp().ln_1p()
    });
    terms.sum()
}

fn newton(logits: &[f64], targets: &[f64], mut at: Platt) -> Platt {
    let mut loss = cross_entropy(logits, targets, at);
    for _ in 0..NEWTON_STEPS {
        let (mut gradient, mut curvature) = ([0.0; 2], [1e-9, 0.0, 1e-9]);
        for (logit, target) in logits.iter().zip(targets) {
            let probability = 1.0 / (1.0 + (-(at.slope * logit + at.intercept)).exp());
            let (error, weight) = (probability - target, probability * (1.0 - probability));
            gradient = [gradient[0] + error * logit, gradient[1] + error];
            curvature = [curvature[0] + weight * logit * logit, curvature[1] + weight * logit, curvature[2] + weight];
        }
        let determinant = curvature[0] * curvature[2] - curvature[1] * curvature[1];
        if determinant.abs() < 1e-30 {
            return at;
        }
        let slope = (curvature[2] * gradient[0] - curvature[1] * gradient[1]) / determinant;
        let intercept = (curvature[0] * gradient[1] - curvature[1] * gradient[0]) / determinant;
        // Halved until the loss falls, as the full step may overshoot.
        let mut share = 1.0;
        let next = loop {
            let next = Platt { slope: at.slope - share * slope, intercept: at.intercept - share * intercept };
            let next_loss = cross_entropy(logits, targets, next);
            if next_loss <= loss {
                let gain = loss - next_loss;
                loss = next_loss;
                break (next, gain);
            }
            share *= 0.5;
            if share < 1e-6 {
                return at;
            }
        };
        at = next.0;
        if next.1 < 1e-10 {
            return at;
        }
    }
    at
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
        assert!((platt.slope - 0.5).abs() < 0.03 && (platt.intercept - 0.3).abs() < 0.05, "{platt:?}");
        let turned: Vec<f64> = logits.iter().map(|x| -x).collect();
        assert_eq!(fit(&turned, &outcomes).unwrap().slope, 0.0);
        assert_eq!(fit(&logits[..60], &outcomes[..60]), None);
    }
}
