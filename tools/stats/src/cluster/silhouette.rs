//! The silhouette of a partition.

use super::{dense_labels, squared_distance};
use crate::error::{StatsError, check_len};
use crate::matrix::MatrixView;

/// Silhouettes of all points and their mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Silhouette {
    /// Mean over the points, −1..=1.
    pub score: f64,
    /// One per point, −1..=1.
    pub samples: Vec<f64>,
}

/// Silhouette (Rousseeuw 1987) with Euclidean distances: `(b − a)/max(a, b)`, where a is the mean distance to the other
/// points of the own cluster and b the least mean distance to another cluster; 0 for a cluster of one point and for 0/0.
/// Labels are any numbers. Time grows with the square of the points: sample before, above some ten thousand.
///
/// # Errors
/// [`StatsError::Length`], [`StatsError::Degenerate`] unless there are 2 to n − 1 different labels.
pub fn silhouette(x: MatrixView<'_>, labels: &[usize]) -> Result<Silhouette, StatsError> {
    check_len("labels", labels.len(), x.rows())?;
    let (labels, clusters) = dense_labels(labels);
    if clusters < 2 || clusters >= x.rows() {
        return Err(StatsError::Degenerate { what: "labels", why: "2 to n − 1 different ones are needed" });
    }
    let mut counts = vec![0_usize; clusters];
    labels.iter().for_each(|label| counts[*label] += 1);
    // Distances of point i to cluster c, summed.
    let mut sums = vec![0.0; x.rows() * clusters];
    for i in 0..x.rows() {
        for j in 0..i {
            let distance = squared_distance(x.row(i), x.row(j)).sqrt();
            sums[i * clusters + labels[j]] += distance;
            sums[j * clusters + labels[i]] += distance;
        }
    }
    let of_point = |(label, sums): (&usize, &[f64])| one(*label, sums, &counts);
    let samples: Vec<f64> = labels.iter().zip(sums.chunks_exact(clusters)).map(of_point).collect();
    Ok(Silhouette { score: samples.iter().sum::<f64>() / samples.len() as f64, samples })
}

fn one(label: usize, sums: &[f64], counts: &[usize]) -> f64 {
    if counts[label] == 1 {
        return 0.0;
    }
    let own = sums[label] / (counts[label] - 1) as f64;
    let others = sums.iter().zip(counts).enumerate().filter(|(cluster, _)| *cluster != label);
    let nearest = others.map(|(_, (sum, count))| sum / *count as f64).fold(f64::INFINITY, f64::min);
    let most = own.max(nearest);
    if most > 0.0 { (nearest - own) / most } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_labels_are_refused() {
        let x = MatrixView::new("x", &[0.0, 1.0, 2.0], 3, 1).unwrap();
        assert!(matches!(silhouette(x, &[0, 0, 0]), Err(StatsError::Degenerate { .. })));
        assert!(matches!(silhouette(x, &[0, 1, 2]), Err(StatsError::Degenerate { .. })));
        assert!(matches!(silhouette(x, &[0, 1]), Err(StatsError::Length { .. })));
        assert!(matches!(MatrixView::new("x", &[f64::NAN], 1, 1), Err(StatsError::NonFinite { .. })));
    }
}
