//! Whether near observations map to near latents.

use crate::cluster::squared_distance;
use crate::error::{StatsError, check_len, check_range};
use crate::matrix::MatrixView;
use crate::quantile::quantile;

/// How well neighbourhoods of `x` survive in `z`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smoothness {
    /// Mean share of a point's k nearest neighbours in `x` that are among its k nearest in `z`, 0..=1.
    pub preserved: f64,
    /// What `preserved` is for a map without order: k/(n − 1).
    pub by_chance: f64,
    /// Trustworthiness (Venna & Kaski 2001), 0..=1: how little the neighbours in `z` are strangers in `x`.
    pub trustworthiness: f64,
    /// Median over the points of (distance in `z` to the nearest neighbour in `x`) / (median distance in `z`): far below 1 for
    /// a smooth map, near 1 for one that tears neighbours apart. NaN when `z` is constant.
    pub nearest_ratio: f64,
}

/// Compares the k nearest neighbours (Euclidean, ties by index) of each row in `x` and in `z`. Scale both before. Time grows
/// with n² log n: sample to some thousand rows.
///
/// # Errors
/// [`StatsError::Length`] when the rows differ, [`StatsError::OutOfRange`] unless 1 ≤ k and 2k < n − 1 (what trustworthiness is defined for).
pub fn smoothness(x: MatrixView<'_>, z: MatrixView<'_>, k: usize) -> Result<Smoothness, StatsError> {
    let n = x.rows();
    check_len("rows of z", z.rows(), n)?;
    check_range("k", k as f64, |_| k >= 1 && 2 * k + 1 < n, "at least 1, and 2k + 1 below the number of rows")?;
    let (mut kept, mut penalty) = (0_usize, 0_usize);
    let (mut nearest, mut all) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut ranks = vec![0_usize; n];
    for point in 0..n {
        let (in_x, in_z) = (by_distance(x, point), by_distance(z, point));
        in_x.iter().enumerate().for_each(|(rank, other)| ranks[*other] = rank);
        let near = in_z[..k].iter().map(|other| ranks[*other]);
        kept += near.clone().filter(|rank| *rank < k).count();
        penalty += near.map(|rank| (rank + 1).saturating_sub(k)).sum::<usize>();
        let distance = |other: usize| squared_distance(z.row(point), z.row(other)).sqrt();
        nearest.push(distance(in_x[0]));
        all.push(distance(in_z[in_z.len() / 2]));
    }
    let (n, k) = (n as f64, k as f64);
    let typical = quantile(&all, 0.5)?;
    Ok(Smoothness {
        preserved: kept as f64 / (n * k),
        by_chance: k / (n - 1.0),
        trustworthiness: 1.0 - 2.0 * penalty as f64 / (n * k * (2.0 * n - 3.0 * k - 1.0)),
        nearest_ratio: if typical > 0.0 { quantile(&nearest, 0.5)? / typical } else { f64::NAN },
    })
}

/// The other rows, nearest first.
fn by_distance(x: MatrixView<'_>, point: usize) -> Vec<usize> {
    let distances: Vec<f64> = x.iter_rows().map(|row| squared_distance(row, x.row(point))).collect();
    let mut order: Vec<usize> = (0..x.rows()).filter(|other| *other != point).collect();
    order.sort_unstable_by(|a, b| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    #[test]
    fn a_linear_map_is_smooth_and_a_shuffle_is_not() {
        let mut generator = Generator::new(9, "test");
        let x: Vec<f64> = (0..600).map(|_| generator.normal()).collect();
        let turned: Vec<f64> =
            x.chunks_exact(2).flat_map(|p| [0.6 * p[0] - 0.8 * p[1], 0.8 * p[0] + 0.6 * p[1]]).collect();
        let noise: Vec<f64> = (0..600).map(|_| generator.normal()).collect();
        let view = |data| MatrixView::new("x", data, 300, 2).unwrap();
        let smooth = smoothness(view(&x), view(&turned), 8).unwrap();
        assert!(
            smooth.preserved > 0.999 && smooth.trustworthiness > 0.999 && smooth.nearest_ratio < 0.15,
            "{smooth:?}"
        );
        let torn = smoothness(view(&x), view(&noise), 8).unwrap();
        assert!((torn.preserved - torn.by_chance).abs() < 0.02, "{torn:?}");
        assert!(torn.trustworthiness < 0.6 && torn.nearest_ratio > 0.6, "{torn:?}");
    }

    /// Five points, one neighbour.
    #[test]
    fn trustworthiness_by_hand() {
        let x = MatrixView::new("x", &[0.0, 1.0, 2.0, 4.0, 7.0], 5, 1).unwrap();
        let z = MatrixView::new("z", &[0.0, 2.0, 1.0, 7.0, 4.0], 5, 1).unwrap();
        // Nearest in z: 0→2 (rank 2 in x), 1→2 (rank 2: ties by index put 0 first), 2→0 (rank 2: after 1, tie with 3),
        // 3→4 (rank 3: after 2, tie with 1), 4→1 (z 4−2 = 2; rank 3). Penalties 1 + 1 + r + r′ + r″.
        let found = smoothness(x, z, 1).unwrap();
        let ranks = [2, 2, 2, 3, 3];
        let penalty: i32 = ranks.iter().map(|rank| rank - 1).sum();
        assert!((found.trustworthiness - (1.0 - 2.0 * f64::from(penalty) / (5.0 * 6.0))).abs() < 1e-12, "{found:?}");
        assert!(matches!(smoothness(x, z, 2), Err(StatsError::OutOfRange { what: "k", .. })));
    }
}
