//! Reliability bins and the calibration errors made from them.

use super::{as_number, check_probabilities};
use crate::error::{StatsError, check_range};
use crate::quantile::floor_index;

/// Which bin a probability on an edge belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BinEdges {
    /// The lower one; 0 is in the first bin (Guo et al. 2017, scikit-learn). The project's convention.
    RightClosed,
    /// The upper one; 1 is in the last bin (`⌊pM⌋`).
    LeftClosed,
}

/// Reliability over M equal-width bins with edges k/M.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// Number of samples per bin.
    pub count: Vec<usize>,
    /// Mean probability per bin; NaN for an empty one.
    pub mean_predicted: Vec<f64>,
    /// Share of positive outcomes per bin; NaN for an empty one.
    pub share_positive: Vec<f64>,
    /// Expected calibration error, 0..=1: `Σ_b n_b/n |mean_predicted − share_positive|`; NaN without a sample.
    pub ece: f64,
    /// Maximum calibration error, 0..=1: the greatest of the differences; NaN without a sample.
    pub mce: f64,
    /// Number of samples. An ECE says nothing without it: of a calibrated forecast it is about √(M/n) above 0.
    pub n: usize,
}

/// Reliability of the positive class (binary ECE).
///
/// # Errors
/// [`StatsError::Length`], [`StatsError::OutOfRange`] for a probability that is NaN or outside of 0..=1, or for no bin.
pub fn reliability(p: &[f64], outcomes: &[bool], bins: usize, edges: BinEdges) -> Result<Reliability, StatsError> {
    check_probabilities(p, outcomes)?;
    check_range("bins", bins as f64, |bins| bins >= 1.0, "1 or more")?;
    let (mut count, mut sum_p, mut positive) = (vec![0_usize; bins], vec![0.0; bins], vec![0.0; bins]);
    for (p, outcome) in p.iter().zip(outcomes) {
        let bin = bin_of(*p, bins, edges);
        count[bin] += 1;
        sum_p[bin] += p;
        positive[bin] += as_number(*outcome);
    }
    let means = |sums: &[f64]| sums.iter().zip(&count).map(|(sum, count)| sum / *count as f64).collect::<Vec<f64>>();
    let (mean_predicted, share_positive) = (means(&sum_p), means(&positive));
    let n = p.len();
    let (mut ece, mut mce) = (0.0, 0.0_f64);
    for ((count, mean), share) in count.iter().zip(&mean_predicted).zip(&share_positive) {
        if *count > 0 {
            let gap = (mean - share).abs();
            ece += *count as f64 / n as f64 * gap;
            mce = mce.max(gap);
        }
    }
    if n == 0 {
        (ece, mce) = (f64::NAN, f64::NAN);
    }
    Ok(Reliability { count, mean_predicted, share_positive, ece, mce, n })
}

/// The bin whose edges k/M, made by division (3/10 is the number 0.3, 3·0.1 is not), hold p.
fn bin_of(p: f64, bins: usize, edges: BinEdges) -> usize {
    let edge = |k: usize| k as f64 / bins as f64;
    let mut bin = floor_index(p * bins as f64).min(bins - 1);
    match edges {
        BinEdges::RightClosed => {
            while bin > 0 && p <= edge(bin) {
                bin -= 1;
            }
            while bin + 1 < bins && p > edge(bin + 1) {
                bin += 1;
            }
        }
        BinEdges::LeftClosed => {
            while bin > 0 && p < edge(bin) {
                bin -= 1;
            }
            while bin + 1 < bins && p >= edge(bin + 1) {
                bin += 1;
            }
        }
    }
    bin
}

/// Top-label ECE (Guo et al. 2017) of two classes: confidence max(p, 1 − p) against whether the decision at 0.5 (positive
/// from 0.5 on) was right, right-closed bins over 0..=1; NaN without a sample. Another number than the binary ECE.
///
/// # Errors
/// As [`reliability`].
pub fn top_label_calibration_error(p: &[f64], outcomes: &[bool], bins: usize) -> Result<f64, StatsError> {
    check_probabilities(p, outcomes)?;
    let confidence: Vec<f64> = p.iter().map(|p| p.max(1.0 - p)).collect();
    let right: Vec<bool> = p.iter().zip(outcomes).map(|(p, outcome)| (*p >= 0.5) == *outcome).collect();
    Ok(reliability(&confidence, &right, bins, BinEdges::RightClosed)?.ece)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Generator;

    #[test]
    fn a_calibrated_forecast_has_a_small_error_and_a_shifted_one_the_shift() {
        let mut generator = Generator::new(1, "ece");
        let p: Vec<f64> = (0..40_000).map(|_| 0.1 + 0.6 * generator.uniform()).collect();
        let outcomes: Vec<bool> = p.iter().map(|p| generator.uniform() < *p).collect();
        let ece = |p: &[f64]| reliability(p, &outcomes, 10, BinEdges::RightClosed).unwrap().ece;
        assert!(ece(&p) < 0.015);
        let shifted: Vec<f64> = p.iter().map(|p| p + 0.2).collect();
        assert!((ece(&shifted) - 0.2).abs() < 0.015);
    }

    #[test]
    fn bad_input_is_named() {
        let of = |p: f64| reliability(&[0.5, p], &[true, false], 10, BinEdges::RightClosed);
        assert!(matches!(of(1.1), Err(StatsError::OutOfRange { what: "p", index: 1, .. })));
        assert!(matches!(of(f64::NAN), Err(StatsError::OutOfRange { what: "p", index: 1, .. })));
        assert!(matches!(reliability(&[0.5], &[], 10, BinEdges::RightClosed), Err(StatsError::Length { .. })));
        assert!(matches!(
            top_label_calibration_error(&[0.5], &[true], 0),
            Err(StatsError::OutOfRange { what: "bins", .. })
        ));
    }

    proptest! {
        #[test]
        fn bins_are_those_of_the_definition(p in 0.0..=1.0_f64, k in 0..=20_usize, bins in 1..=20_usize) {
            for p in [p, (k.min(bins)) as f64 / bins as f64] {
                let right = (1..=bins).find(|k| p <= *k as f64 / bins as f64).unwrap() - 1;
                prop_assert_eq!(bin_of(p, bins, BinEdges::RightClosed), right);
                let left = (0..bins).rev().find(|k| *k as f64 / bins as f64 <= p).unwrap();
                prop_assert_eq!(bin_of(p, bins, BinEdges::LeftClosed), left);
            }
        }
    }
}
