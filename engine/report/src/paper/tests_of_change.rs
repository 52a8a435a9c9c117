//! Two tests for change: of a distribution between two samples, and of a mean along a series.

use crate::latency::precise;

/// The share of the Kolmogorov distribution above `x`: 2 Σ (−1)^(k−1) exp(−2k²x²), from k = 1 on (Kolmogorov 1933).
pub(super) fn kolmogorov_tail(x: f64) -> f64 {
    // Below 0.3 the sum converges slowly, and is 1 to five digits.
    if x < 0.3 {
        return 1.0;
    }
    let term = |k: i32| {
        let k = f64::from(k);
        (-2.0 * k * k * x * x).exp()
    };
    let sum: f64 = (1..=20).map(|k| if k % 2 == 1 { term(k) } else { -term(k) }).sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

/// How far apart two samples are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TwoSamples {
    /// The greatest distance of the two empirical distributions, 0 to 1.
    pub distance: f64,
    /// How likely such a distance, or a greater one, is if both come from one distribution.
    pub p_value: f64,
}

/// The two-sample test of Kolmogorov and Smirnov, with the approximation of its distribution by M. A. Stephens (1970), as
/// in Numerical Recipes, 3rd edition, 14.3.3. `None` when a sample is empty. Sorts both.
pub(super) fn two_samples(a: &mut [f64], b: &mut [f64]) -> Option<TwoSamples> {
    // A negative zero is no other value than zero.
    a.iter_mut().chain(b.iter_mut()).for_each(|value| *value += 0.0);
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let share = |sorted: &[f64], value: f64| {
        let below = sorted.partition_point(|known| known.total_cmp(&value).is_le());
        crate::format::ratio(len(below), len(sorted.len()))
    };
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let distance =
        a.iter().chain(b.iter()).map(|value| (share(a, *value) - share(b, *value)).abs()).fold(0.0, f64::max);
    let (n, m) = (precise(len(a.len())), precise(len(b.len())));
    let root = (n * m / (n + m)).sqrt();
    Some(TwoSamples { distance, p_value: kolmogorov_tail((root + 0.12 + 0.11 / root) * distance) })
}

/// Relative differences up to this are rounding.
const ROUNDING: f64 = 1e-12;

/// Where a series changes its mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct MeanChange {
    /// Values before the change.
    pub at: usize,
    /// Mean before and after.
    pub means: (f64, f64),
    /// How likely such a change is in a series whose mean stays.
    pub p_value: f64,
}

/// The cumulated-sum test for one change of a mean: the greatest |S(k) − k/n S(n)| over the square root of n times the
/// long-run variance, whose limit is the Kolmogorov distribution (Inclán and Tiao 1994 for variances; the long-run variance,
/// with Bartlett weights, as Sansó, Aragó and Carrion 2004 and Newey and West 1987). `None` for a series that does not vary.
pub(super) fn mean_change(series: &[f64]) -> Option<MeanChange> {
    let n = precise(len(series.len()));
    let largest = series.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let [low, high] = [f64::min, f64::max].map(|of| series.iter().copied().reduce(of).unwrap_or(0.0));
    // Rounding of the mean would make a change of a series that is the same throughout.
    if high - low <= ROUNDING * largest {
        return None;
    }
    let mean = series.iter().sum::<f64>() / n;
    let centred: Vec<f64> = series.iter().map(|value| value - mean).collect();
    let (mut sum, mut greatest, mut at) = (0.0_f64, 0.0_f64, 0);
    for (value, count) in centred.iter().zip(1_usize..) {
        sum += value;
        if sum.abs() > greatest && count < series.len() {
            (greatest, at) = (sum.abs(), count);
        }
    }
    let variance = long_run_variance(&centred);
    if at == 0 || variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let mean_of = |part: &[f64]| part.iter().sum::<f64>() / precise(len(part.len()));
    let (before, after) = series.split_at(at);
    let p_value = kolmogorov_tail(greatest / (n * variance).sqrt());
    Some(MeanChange { at, means: (mean_of(before), mean_of(after)), p_value })
}

/// Newey and West's (1987), with 4 (n/100)^(2/9) lags, of values whose mean is zero.
fn long_run_variance(centred: &[f64]) -> f64 {
    let n = precise(len(centred.len()));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let lags = (4.0 * (n / 100.0).powf(2.0 / 9.0)).floor() as usize;
    let covariance = |lag: usize| centred.iter().zip(centred.iter().skip(lag)).map(|(a, b)| a * b).sum::<f64>() / n;
    let weight = |lag: usize| 1.0 - precise(len(lag)) / precise(len(lags.saturating_add(1)));
    covariance(0) + (1..=lags).map(|lag| 2.0 * weight(lag) * covariance(lag)).sum::<f64>()
}

/// A count of values.
pub(super) fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed row of numbers between 0 and 1 that looks random.
    fn numbers(count: u64, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            precise(state >> 33) / precise(1 << 31)
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn the_kolmogorov_distribution_has_its_known_quantiles() {
        for (x, share) in [(1.224, 0.10), (1.358, 0.05), (1.628, 0.01), (1.949, 0.001)] {
            assert!((kolmogorov_tail(x) - share).abs() < share * 0.02, "{x}: {}", kolmogorov_tail(x));
        }
        assert_eq!(kolmogorov_tail(0.0), 1.0);
    }

    /// By hand: {1, 2, 3, 4} against {3, 4, 5, 6}: up to 2 half of the first and none of the second.
    #[test]
    fn the_distance_is_the_greatest_gap_and_equal_values_count_together() {
        let found = two_samples(&mut [4.0, 1.0, 3.0, 2.0], &mut [5.0, 3.0, 6.0, 4.0]).unwrap();
        assert_eq!(found.distance, 0.5);
        assert_eq!(two_samples(&mut [1.0; 9], &mut [1.0; 5]).unwrap().distance, 0.0);
        assert_eq!(two_samples(&mut [], &mut [1.0]), None);
    }

    /// The mean of such a series is no float: what is left of each value is rounding, all on one side.
    #[test]
    fn a_series_that_stays_the_same_has_no_change() {
        for count in 24..=60 {
            for value in [(256.0_f64 / 390.0).ln(), 0.1, 1e9 / 3.0, 0.0] {
                assert_eq!(mean_change(&vec![value; count]), None, "{count} times {value}");
            }
        }
        assert_eq!(two_samples(&mut [0.0; 4], &mut [-0.0; 4]).unwrap().distance, 0.0);
    }

    #[test]
    fn equal_distributions_are_told_from_moved_ones() {
        let calm = two_samples(&mut numbers(500, 1), &mut numbers(500, 2)).unwrap();
        let mut moved: Vec<f64> = numbers(500, 2).iter().map(|value| value + 0.3).collect();
        let shifted = two_samples(&mut numbers(500, 1), &mut moved).unwrap();
        assert!(calm.p_value > 0.05 && shifted.p_value < 1e-6 && shifted.distance > 0.25, "{calm:?} {shifted:?}");
        // In a hundred pairs of one distribution about five lie below 0.05.
        let below = (0..100)
            .filter(|seed| {
                two_samples(&mut numbers(200, 2 * seed + 10), &mut numbers(200, 2 * seed + 11)).unwrap().p_value < 0.05
            })
            .count();
        assert!(below <= 12, "{below}");
    }

    #[test]
    fn a_change_is_found_where_it_is_and_none_is_found_where_there_is_none() {
        let noise = numbers(60, 5);
        assert!(mean_change(&noise).is_none_or(|change| change.p_value > 0.05));
        let stepped: Vec<f64> =
            noise.iter().enumerate().map(|(index, value)| value + if index < 20 { 0.0 } else { 1.5 }).collect();
        let change = mean_change(&stepped).unwrap();
        assert!(change.p_value < 0.01 && change.at.abs_diff(20) <= 1, "{change:?}");
        assert!(change.means.1 - change.means.0 > 1.2, "{change:?}");
        assert_eq!(mean_change(&[2.0; 40]), None);
        let below = (0..100).filter(|seed| mean_change(&numbers(60, 7 * seed + 1)).unwrap().p_value < 0.05).count();
        assert!(below <= 10, "{below}");
    }
}
