//! How much two partitions agree.

use super::dense_labels;
use crate::error::{StatsError, check_count, check_len};

/// Adjusted Rand index (Hubert & Arabie 1985) of two partitions of the same points: 1 for the same partition under any
/// names, 0 in the mean for independent ones, negative below that. 1 when both are trivial in the same way (one cluster
/// each, or one point per cluster), as in scikit-learn.
///
/// # Errors
/// [`StatsError::TooFew`] without a point, [`StatsError::Length`].
pub fn adjusted_rand_index(a: &[usize], b: &[usize]) -> Result<f64, StatsError> {
    check_count("a", a.len(), 1)?;
    check_len("b", b.len(), a.len())?;
    let ((a, a_count), (b, b_count)) = (dense_labels(a), dense_labels(b));
    let mut table = vec![0_usize; a_count * b_count];
    a.iter().zip(&b).for_each(|(a, b)| table[a * b_count + b] += 1);
    let row_sums = table.chunks_exact(b_count).map(|row| row.iter().sum::<usize>());
    let column_sums = (0..b_count).map(|col| table.iter().skip(col).step_by(b_count).sum::<usize>());
    let together: f64 = table.iter().copied().map(pairs).sum();
    let (in_a, in_b): (f64, f64) = (row_sums.map(pairs).sum(), column_sums.map(pairs).sum());
    let all = pairs(a.len());
    let expected = if all > 0.0 { in_a * in_b / all } else { 0.0 };
    let most = (in_a + in_b) / 2.0;
    Ok(if most == expected { 1.0 } else { (together - expected) / (most - expected) })
}

fn pairs(count: usize) -> f64 {
    count as f64 * (count as f64 - 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_scikit_learn() {
        assert_eq!(adjusted_rand_index(&[0, 0, 1, 1], &[1, 1, 0, 0]), Ok(1.0));
        assert!((adjusted_rand_index(&[0, 0, 1, 2], &[0, 0, 1, 1]).unwrap() - 0.571_428_571_428_571_4).abs() < 1e-15);
        assert_eq!(adjusted_rand_index(&[0, 0, 0, 0], &[0, 1, 2, 3]), Ok(0.0));
        assert!((adjusted_rand_index(&[0, 0, 1, 1], &[0, 1, 0, 1]).unwrap() + 0.5).abs() < 1e-15);
        assert_eq!(adjusted_rand_index(&[3, 3], &[5, 5]), Ok(1.0));
        assert!(matches!(adjusted_rand_index(&[], &[]), Err(StatsError::TooFew { .. })));
        assert!(matches!(adjusted_rand_index(&[1], &[1, 2]), Err(StatsError::Length { .. })));
    }

    proptest! {
        #[test]
        fn symmetric_and_blind_to_names(a in prop::collection::vec((0..4_usize, 0..3_usize), 2..40)) {
            let (a, b): (Vec<usize>, Vec<usize>) = a.into_iter().unzip();
            let renamed: Vec<usize> = a.iter().map(|label| 17 - 3 * label).collect();
            let found = adjusted_rand_index(&a, &b).unwrap();
            prop_assert!((found - adjusted_rand_index(&b, &renamed).unwrap()).abs() < 1e-12);
            prop_assert!(found <= 1.0 + 1e-12);
            prop_assert!((adjusted_rand_index(&a, &renamed).unwrap() - 1.0).abs() < 1e-12);
        }
    }
}
