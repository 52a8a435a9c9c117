//! Proper scores of probabilities, and skill against a reference.

use super::{as_number, check_probabilities};
use crate::bootstrap::{Interval, Resampling, bootstrap_interval};
use crate::error::{StatsError, check_count, check_range};

/// [`log_loss`] clips probabilities to this and 1 less this, as scikit-learn does for f64.
pub const LOG_LOSS_CLIP: f64 = f64::EPSILON;

/// Brier score `mean (p − y)²` (Brier 1950), 0..=1, less is better; NaN without a sample.
///
/// # Errors
/// [`StatsError::Length`], [`StatsError::OutOfRange`] for a probability that is NaN or outside of 0..=1.
pub fn brier(p: &[f64], outcomes: &[bool]) -> Result<f64, StatsError> {
    check_probabilities(p, outcomes)?;
    let losses = p.iter().zip(outcomes).map(|(p, outcome)| (p - as_number(*outcome)).powi(2));
    Ok(losses.sum::<f64>() / p.len() as f64)
}

/// Log loss `−mean(y ln p + (1 − y) ln(1 − p))` in nats, ≥ 0, with p clipped by [`LOG_LOSS_CLIP`]; NaN without a sample.
///
/// # Errors
/// As [`brier`].
pub fn log_loss(p: &[f64], outcomes: &[bool]) -> Result<f64, StatsError> {
    check_probabilities(p, outcomes)?;
    let loss = |(p, outcome): (&f64, &bool)| {
        let p = p.clamp(LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP);
        if *outcome { -p.ln() } else { -(1.0 - p).ln() }
    };
    Ok(p.iter().zip(outcomes).map(loss).sum::<f64>() / p.len() as f64)
}

/// Brier skill and its bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BrierSkill {
    /// `1 − Brier(p)/Brier(reference)`, at most 1; above 0: sharper than the reference while calibrated.
    pub skill: f64,
    /// Percentile interval of the stationary bootstrap.
    pub interval: Interval,
    /// Number of samples.
    pub n: usize,
}

/// Skill against the constant forecast `reference` (the base rate of the training data; that of the sample itself would be
/// hindsight), in time order when blocks are resampled.
///
/// # Errors
/// As [`brier`]; [`StatsError::TooFew`] without a sample; [`StatsError::OutOfRange`] for the reference or the resampling;
/// [`StatsError::Degenerate`] when the reference is exact.
pub fn brier_skill(
    p: &[f64],
    outcomes: &[bool],
    reference: f64,
    resampling: &Resampling,
) -> Result<BrierSkill, StatsError> {
    check_probabilities(p, outcomes)?;
    check_count("p", p.len(), 1)?;
    check_range("reference", reference, |p| (0.0..=1.0).contains(&p), "0 to 1")?;
    let of = |p: f64, outcome: &bool| (p - as_number(*outcome)).powi(2);
    let own: Vec<f64> = p.iter().zip(outcomes).map(|(p, outcome)| of(*p, outcome)).collect();
    let base: Vec<f64> = outcomes.iter().map(|outcome| of(reference, outcome)).collect();
    let base_sum: f64 = base.iter().sum();
    if base_sum == 0.0 {
        return Err(StatsError::Degenerate { what: "reference", why: "it is exact, nothing is left to gain" });
    }
    let skill = 1.0 - own.iter().sum::<f64>() / base_sum;
    let resampled = |row: &[usize]| {
        let (own, base) = row.iter().fold((0.0, 0.0), |sums, i| (sums.0 + own[*i], sums.1 + base[*i]));
        1.0 - own / base
    };
    let interval = bootstrap_interval(p.len(), resampling, resampled)?;
    Ok(BrierSkill { skill, interval, n: p.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    #[test]
    fn skill_is_seen_where_it_is_and_not_where_it_is_not() {
        let mut generator = Generator::new(5, "skill");
        let p: Vec<f64> = (0..4_000).map(|_| 0.3 + 0.4 * generator.uniform()).collect();
        let outcomes: Vec<bool> = p.iter().map(|p| generator.uniform() < *p).collect();
        let found = brier_skill(&p, &outcomes, 0.5, &Resampling::default()).unwrap();
        // Var p / Var y = (0.16/12)/0.25.
        assert!((found.skill - 0.16 / 3.0).abs() < 0.02 && found.interval.lower > 0.0, "{found:?}");
        let other: Vec<bool> = p.iter().map(|_| generator.uniform() < 0.5).collect();
        let none = brier_skill(&p, &other, 0.5, &Resampling::default()).unwrap();
        assert!(none.interval.lower < 0.0 && none.skill < 0.0, "{none:?}");
        let flat = brier_skill(&vec![0.5; 4_000], &outcomes, 0.5, &Resampling::default()).unwrap();
        assert_eq!(flat.skill, 0.0, "calibrated but not sharp");
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(brier(&[-0.1], &[true]), Err(StatsError::OutOfRange { .. })));
        assert!(matches!(log_loss(&[0.1], &[]), Err(StatsError::Length { .. })));
        let exact = brier_skill(&[0.9], &[true], 1.0, &Resampling::default());
        assert!(matches!(exact, Err(StatsError::Degenerate { .. })));
    }
}
