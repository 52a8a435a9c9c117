//! Quantiles by linear interpolation (Hyndman & Fan 1996, type 7; numpy's default).

use crate::error::{StatsError, check_count, check_finite, check_range};

/// The `q` quantile, `q` in 0..=1: linear between the order statistics around `q (n − 1)`, rounded as numpy does.
///
/// # Errors
/// [`StatsError::TooFew`] without a value, [`StatsError::NonFinite`], [`StatsError::OutOfRange`] for `q`.
pub fn quantile(x: &[f64], q: f64) -> Result<f64, StatsError> {
    quantiles(x, &[q]).map(|found| found[0])
}

/// Several [`quantile`]s of the same values, in the order asked.
///
/// # Errors
/// As [`quantile`].
pub fn quantiles(x: &[f64], qs: &[f64]) -> Result<Vec<f64>, StatsError> {
    check_finite("x", x)?;
    quantiles_in_place(&mut x.to_vec(), qs)
}

/// [`quantiles`] of finite values that may be reordered: linear time for a few of them.
pub(crate) fn quantiles_in_place(x: &mut [f64], qs: &[f64]) -> Result<Vec<f64>, StatsError> {
    check_count("x", x.len(), 1)?;
    for q in qs {
        check_range("q", *q, |q| (0.0..=1.0).contains(&q), "0 to 1")?;
    }
    Ok(qs.iter().map(|q| select(x, *q)).collect())
}

fn select(x: &mut [f64], q: f64) -> f64 {
    let position = q * (x.len() - 1) as f64;
    let lower = floor_index(position).min(x.len() - 1);
    let share = position - lower as f64;
    let (_, low, above) = x.select_nth_unstable_by(lower, f64::total_cmp);
    let low = *low;
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    interpolate(low, high, share)
}

/// numpy's `_lerp`: from the nearer end, so that both ends are exact.
fn interpolate(low: f64, high: f64, share: f64) -> f64 {
    if share >= 0.5 { high - (high - low) * (1.0 - share) } else { low + (high - low) * share }
}

/// The largest integer not above a number that is ≥ 0 (a saturating cast).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floor of a number that is not negative")]
pub(crate) fn floor_index(position: f64) -> usize {
    position as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numpy_values() {
        let x = [15.0, 20.0, 35.0, 40.0, 50.0];
        assert_eq!(quantiles(&x, &[0.0, 0.05, 0.3, 0.4, 1.0]), Ok(vec![15.0, 16.0, 23.0, 29.0, 50.0]));
        assert_eq!(quantile(&[7.0], 0.3), Ok(7.0));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(quantile(&[], 0.5), Err(StatsError::TooFew { .. })));
        assert!(matches!(quantile(&[1.0], f64::NAN), Err(StatsError::OutOfRange { what: "q", .. })));
        assert!(matches!(quantile(&[1.0, f64::NAN], 0.5), Err(StatsError::NonFinite { index: 1, .. })));
    }

    proptest! {
        #[test]
        fn selection_equals_sorting(x in prop::collection::vec(-1e3..1e3_f64, 1..60), q in 0.0..=1.0_f64) {
            let mut sorted = x.clone();
            sorted.sort_by(f64::total_cmp);
            let position = q * (x.len() - 1) as f64;
            let lower = floor_index(position);
            let high = sorted[(lower + 1).min(x.len() - 1)];
            prop_assert_eq!(quantile(&x, q).unwrap(), interpolate(sorted[lower], high, position - lower as f64));
        }
    }
}
