//! Maps that make scores into calibrated probabilities, fitted on data that the model has not seen.

use super::{as_number, check_probabilities};
use crate::error::{StatsError, check_count, check_finite, check_len};

/// Platt's scaling `p = σ(slope · logit + offset)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Platt {
    /// Factor of the logit; 1/temperature.
    pub slope: f64,
    /// Added to it.
    pub offset: f64,
}

const NEWTON_STEPS_MAX: usize = 100;

impl Platt {
    /// Maximum likelihood with Platt's smoothed targets `(n₊+1)/(n₊+2)` and `1/(n₋+2)` (Platt 1999), by Newton's method with
    /// backtracking (Lin, Lin & Weng 2007). The smoothing keeps it finite for separable data.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below 2 samples, [`StatsError::Length`], [`StatsError::NonFinite`], [`StatsError::Degenerate`]
    /// when there is one class only, [`StatsError::NotConverged`].
    pub fn fit(logits: &[f64], outcomes: &[bool]) -> Result<Self, StatsError> {
        check_count("logits", logits.len(), 2)?;
        check_len("outcomes", outcomes.len(), logits.len())?;
        check_finite("logits", logits)?;
        let positives = outcomes.iter().filter(|outcome| **outcome).count() as f64;
        let negatives = logits.len() as f64 - positives;
        if positives == 0.0 || negatives == 0.0 {
            return Err(StatsError::Degenerate { what: "outcomes", why: "both classes are needed" });
        }
        let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
        let targets: Vec<f64> = outcomes.iter().map(|outcome| if *outcome { high } else { low }).collect();
        let mut fitted = Self { slope: 0.0, offset: ((positives + 1.0) / (negatives + 1.0)).ln() };
        let mut loss = fitted.cross_entropy(logits, &targets);
        for _ in 0..NEWTON_STEPS_MAX {
            let (step, slope_of_loss, is_flat) = fitted.newton_step(logits, &targets);
            if is_flat {
                return Ok(fitted);
            }
            let mut length = 1.0;
            loop {
                let next = Self { slope: fitted.slope + length * step.0, offset: fitted.offset + length * step.1 };
                let next_loss = next.cross_entropy(logits, &targets);
                if next_loss < loss + 1e-4 * length * slope_of_loss {
                    (fitted, loss) = (next, next_loss);
                    break;
                }
                length /= 2.0;
                if length < 1e-10 {
                    return Ok(fitted); // No further gain in f64.
                }
            }
        }
        Err(StatsError::NotConverged { what: "Platt's scaling", iterations: NEWTON_STEPS_MAX })
    }

    /// The calibrated probability of a logit, 0..=1.
    #[must_use]
    pub fn apply(&self, logit: f64) -> f64 {
        sigmoid(self.slope * logit + self.offset)
    }

    fn cross_entropy(&self, logits: &[f64], targets: &[f64]) -> f64 {
        let terms = logits.iter().zip(targets).map(|(logit, target)| {
            let score = self.slope * logit + self.offset;
            // −t ln σ(s) − (1−t) ln σ(−s), without overflow.
            score.max(0.0) - score * target + (-score.abs()).exp().ln_1p()
        });
        terms.sum()
    }

    /// The Newton step, the loss's slope along it, and whether the gradient is gone.
    fn newton_step(&self, logits: &[f64], targets: &[f64]) -> ((f64, f64), f64, bool) {
        // A ridge keeps the Hessian invertible (Lin, Lin & Weng: 1e-12).
        let (mut aa, mut bb, mut ab, mut ga, mut gb) = (1e-12, 1e-12, 0.0, 0.0, 0.0);
        for (logit, target) in logits.iter().zip(targets) {
            let p = self.apply(*logit);
            let (weight, error) = (p * (1.0 - p), p - target);
            aa += logit * logit * weight;
            ab += logit * weight;
            bb += weight;
            ga += logit * error;
            gb += error;
        }
        let scale = logits.len() as f64;
        let determinant = aa * bb - ab * ab;
        let step = (-(bb * ga - ab * gb) / determinant, -(aa * gb - ab * ga) / determinant);
        (step, ga * step.0 + gb * step.1, ga.abs() < 1e-10 * scale && gb.abs() < 1e-10 * scale)
    }
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// Temperature scaling (Guo et al. 2017): the T > 0 for which `σ(logit/T)` has the least log loss, by golden-section search
/// on ln T in ±`ln 100` (the loss is convex in 1/T). At a bound the logits carry no information or are all right.
///
/// # Errors
/// [`StatsError::TooFew`] without a sample, [`StatsError::Length`], [`StatsError::NonFinite`].
pub fn fit_temperature(logits: &[f64], outcomes: &[bool]) -> Result<f64, StatsError> {
    check_count("logits", logits.len(), 1)?;
    check_len("outcomes", outcomes.len(), logits.len())?;
    check_finite("logits", logits)?;
    let targets: Vec<f64> = outcomes.iter().map(|outcome| as_number(*outcome)).collect();
    let loss = |log_t: f64| Platt { slope: (-log_t).exp(), offset: 0.0 }.cross_entropy(logits, &targets);
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-100f64.ln(), 100f64.ln());
    while high - low > 1e-9 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if loss(a) <= loss(b) { high = b } else { low = a }
    }
    Ok(((low + high) / 2.0).exp())
}

/// Isotonic calibration: a step function that never falls.
#[derive(Clone, Debug, PartialEq)]
pub struct Isotonic {
    /// Scores at which the function is known, ascending.
    pub scores: Vec<f64>,
    /// Calibrated probability at each, ascending, 0..=1.
    pub probabilities: Vec<f64>,
}

impl Isotonic {
    /// Least squares under monotony by pooling adjacent violators (Ayer et al. 1955), samples of equal score pooled first.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without a sample, [`StatsError::Length`], [`StatsError::OutOfRange`] for a probability outside
    /// of 0..=1.
    pub fn fit(p: &[f64], outcomes: &[bool]) -> Result<Self, StatsError> {
        check_count("p", p.len(), 1)?;
        check_probabilities(p, outcomes)?;
        let mut samples: Vec<(f64, f64)> = p.iter().zip(outcomes).map(|(p, y)| (*p, as_number(*y))).collect();
        samples.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Blocks: first score, last score, sum of outcomes, count.
        let mut blocks: Vec<(f64, f64, f64, f64)> = Vec::new();
        for (score, outcome) in samples {
            match blocks.last_mut() {
                Some(last) if last.0 == score => {
                    last.2 += outcome;
                    last.3 += 1.0;
                }
                Some(_) | None => blocks.push((score, score, outcome, 1.0)),
            }
        }
        let mut pooled: Vec<(f64, f64, f64, f64)> = Vec::new();
        for block in blocks {
            let mut block = block;
            while let Some(last) = pooled.last().copied() {
                if last.2 / last.3 < block.2 / block.3 {
                    break;
                }
                block = (last.0, block.1, last.2 + block.2, last.3 + block.3);
                pooled.pop();
            }
            pooled.push(block);
        }
        let mut fitted = Self { scores: Vec::new(), probabilities: Vec::new() };
        for (first, last, sum, count) in pooled {
            let ends = if first == last { 1 } else { 2 };
            for score in [first, last].into_iter().take(ends) {
                fitted.scores.push(score);
                fitted.probabilities.push(sum / count);
            }
        }
        Ok(fitted)
    }

    /// The calibrated probability: linear between known scores, constant beyond them.
    #[must_use]
    pub fn apply(&self, p: f64) -> f64 {
        let above = self.scores.partition_point(|score| *score <= p);
        if above == 0 || above == self.scores.len() {
            return self.probabilities[above.min(self.scores.len() - 1)];
        }
        let (x, y) = (&self.scores[above - 1..=above], &self.probabilities[above - 1..=above]);
        y[0] + (y[1] - y[0]) * (p - x[0]) / (x[1] - x[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{BinEdges, log_loss, reliability};
    use crate::random::Generator;

    /// Logits that are twice too large and shifted.
    fn overconfident(n: usize) -> (Vec<f64>, Vec<bool>) {
        let mut generator = Generator::new(3, "fit");
        let truth: Vec<f64> = (0..n).map(|_| generator.normal()).collect();
        let outcomes = truth.iter().map(|logit| generator.uniform() < sigmoid(*logit)).collect();
        (truth.iter().map(|logit| 2.0 * logit + 0.7).collect(), outcomes)
    }

    fn ece(p: &[f64], outcomes: &[bool]) -> f64 {
        reliability(p, outcomes, 10, BinEdges::RightClosed).unwrap().ece
    }

    #[test]
    fn platt_undoes_slope_and_shift() {
        let (logits, outcomes) = overconfident(20_000);
        let fitted = Platt::fit(&logits, &outcomes).unwrap();
        assert!((fitted.slope - 0.5).abs() < 0.02 && (fitted.offset + 0.35).abs() < 0.04, "{fitted:?}");
        let raw: Vec<f64> = logits.iter().map(|logit| sigmoid(*logit)).collect();
        let calibrated: Vec<f64> = logits.iter().map(|logit| fitted.apply(*logit)).collect();
        assert!(ece(&raw, &outcomes) > 0.08 && ece(&calibrated, &outcomes) < 0.015);
        assert!(log_loss(&calibrated, &outcomes).unwrap() < log_loss(&raw, &outcomes).unwrap());
    }

    #[test]
    fn temperature_undoes_scale() {
        let (logits, outcomes) = overconfident(20_000);
        let logits: Vec<f64> = logits.iter().map(|logit| logit - 0.7).collect();
        assert!((fit_temperature(&logits, &outcomes).unwrap() - 2.0).abs() < 0.08);
    }

    #[test]
    fn platt_is_finite_for_separable_data() {
        let fitted = Platt::fit(&[-2.0, -1.0, 1.0, 2.0], &[false, false, true, true]).unwrap();
        assert!(fitted.slope.is_finite() && fitted.slope > 0.0 && fitted.apply(2.0) < 1.0);
        assert!(matches!(Platt::fit(&[1.0, 2.0], &[true, true]), Err(StatsError::Degenerate { .. })));
        assert!(matches!(Platt::fit(&[1.0, f64::NAN], &[true, false]), Err(StatsError::NonFinite { .. })));
    }

    #[test]
    fn isotonic_never_falls_and_calibrates() {
        let (logits, outcomes) = overconfident(20_000);
        let raw: Vec<f64> = logits.iter().map(|logit| sigmoid(*logit)).collect();
        let fitted = Isotonic::fit(&raw, &outcomes).unwrap();
        assert!(fitted.probabilities.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(fitted.scores.windows(2).all(|pair| pair[0] < pair[1]));
        let calibrated: Vec<f64> = raw.iter().map(|p| fitted.apply(*p)).collect();
        assert!(ece(&calibrated, &outcomes) < 0.01);
        // Known by hand: 0, then one pool of 1, 0, 1, 0 at one half with its two ends, then 1.
        let by_hand = Isotonic::fit(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], &[false, true, false, true, false, true]).unwrap();
        assert_eq!(by_hand.probabilities, [0.0, 0.5, 0.5, 1.0]);
        assert_eq!((by_hand.apply(0.0), by_hand.apply(0.25), by_hand.apply(0.9)), (0.0, 0.5, 1.0));
    }
}
