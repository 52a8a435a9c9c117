//! k-means: seeded k-means++ starts, Lloyd's iterations.

use super::squared_distance;
use crate::error::{StatsError, check_count, check_range};
use crate::matrix::{Matrix, MatrixView};
use crate::random::Generator;

/// How to fit [`KMeans`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMeansConfig {
    /// Number of clusters, 1 to the number of rows.
    pub clusters: usize,
    /// Starts, ≥ 1; the one with the least inertia wins.
    pub restarts: usize,
    /// Most iterations of a start, ≥ 1.
    pub iterations_max: usize,
    /// Seed of the starts.
    pub seed: u64,
}

/// A partition into the cells of the nearest centre.
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// Centres, one row each.
    pub centers: Matrix,
    /// Cluster of each row.
    pub labels: Vec<usize>,
    /// Sum of squared distances to the own centre.
    pub inertia: f64,
}

impl KMeans {
    /// Fits by Lloyd's iterations from k-means++ starts (Arthur & Vassilvitskii 2007).
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] for a count of 0, [`StatsError::TooFew`] with fewer rows than clusters.
    pub fn fit(x: MatrixView<'_>, config: &KMeansConfig) -> Result<Self, StatsError> {
        let least_one = |value: f64| value >= 1.0;
        check_range("clusters", config.clusters as f64, least_one, "1 or more")?;
        check_range("restarts", config.restarts as f64, least_one, "1 or more")?;
        check_count("rows of x", x.rows(), config.clusters)?;
        let mut generator = Generator::new(config.seed, "k-means");
        let mut best = Self::fit_once(x, config, &mut generator);
        for _ in 1..config.restarts {
            let other = Self::fit_once(x, config, &mut generator);
            if other.inertia < best.inertia {
                best = other;
            }
        }
        Ok(best)
    }

    fn fit_once(x: MatrixView<'_>, config: &KMeansConfig, generator: &mut Generator) -> Self {
        let centers = spread_centers(x, config.clusters, generator);
        let mut fitted = Self { centers, labels: Vec::new(), inertia: f64::INFINITY };
        for _ in 0..config.iterations_max.max(1) {
            let (labels, distances) = fitted.assign(x);
            fitted.inertia = distances.iter().sum();
            let is_settled = labels == fitted.labels;
            fitted.labels = labels;
            if is_settled {
                break;
            }
            fitted.move_centers(x, distances);
        }
        let (labels, distances) = fitted.assign(x);
        Self { labels, inertia: distances.iter().sum(), ..fitted }
    }

    fn assign(&self, x: MatrixView<'_>) -> (Vec<usize>, Vec<f64>) {
        x.iter_rows().map(|row| nearest(&self.centers, self.centers.rows, row)).unzip()
    }

    /// Each centre to the mean of its rows; one without rows to the row that is farthest from its own.
    fn move_centers(&mut self, x: MatrixView<'_>, mut distances: Vec<f64>) {
        let mut counts = vec![0_usize; self.centers.rows];
        self.centers.data.fill(0.0);
        for (row, label) in x.iter_rows().zip(&self.labels) {
            counts[*label] += 1;
            self.centers.row_mut(*label).iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        for (cluster, count) in counts.iter().enumerate() {
            if *count > 0 {
                self.centers.row_mut(cluster).iter_mut().for_each(|sum| *sum /= *count as f64);
            } else {
                let farthest = (0..x.rows()).max_by(|a, b| distances[*a].total_cmp(&distances[*b])).unwrap_or(0);
                distances[farthest] = 0.0;
                self.centers.row_mut(cluster).copy_from_slice(x.row(farthest));
            }
        }
    }
}

/// Index of the nearest of the first `count` centres and the squared distance to it; the first of equals.
fn nearest(centers: &Matrix, count: usize, row: &[f64]) -> (usize, f64) {
    let distances = (0..count).map(|cluster| (cluster, squared_distance(centers.row(cluster), row)));
    distances.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::INFINITY))
}

/// k-means++: each next centre is a row, drawn with probability in proportion to its squared distance to the nearest.
fn spread_centers(x: MatrixView<'_>, count: usize, generator: &mut Generator) -> Matrix {
    let mut centers = Matrix::zeros(count, x.cols());
    centers.row_mut(0).copy_from_slice(x.row(generator.index(x.rows())));
    let mut distances: Vec<f64> = x.iter_rows().map(|row| squared_distance(centers.row(0), row)).collect();
    for cluster in 1..count {
        let drawn = generator.categorical(&distances);
        centers.row_mut(cluster).copy_from_slice(x.row(drawn));
        for (distance, row) in distances.iter_mut().zip(x.iter_rows()) {
            *distance = distance.min(squared_distance(centers.row(cluster), row));
        }
    }
    centers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::adjusted_rand_index;

    #[test]
    fn three_far_groups_are_found() {
        let mut generator = Generator::new(5, "test");
        let truth: Vec<usize> = (0..150).map(|row| row % 3).collect();
        let data: Vec<f64> =
            truth.iter().flat_map(|label| [10.0 * *label as f64 + generator.normal(), generator.normal()]).collect();
        let x = MatrixView::new("x", &data, 150, 2).unwrap();
        let config = KMeansConfig { clusters: 3, restarts: 3, iterations_max: 100, seed: 1 };
        let found = KMeans::fit(x, &config).unwrap();
        assert_eq!(adjusted_rand_index(&found.labels, &truth), Ok(1.0));
        assert_eq!(KMeans::fit(x, &config).unwrap(), found, "one seed, one result");
        assert!(matches!(
            KMeans::fit(x, &KMeansConfig { clusters: 151, ..config }),
            Err(StatsError::TooFew { needed: 151, .. })
        ));
    }

    #[test]
    fn equal_rows_leave_no_cluster_without_a_centre() {
        let x = MatrixView::new("x", &[1.0; 6], 6, 1).unwrap();
        let config = KMeansConfig { clusters: 3, restarts: 1, iterations_max: 10, seed: 1 };
        let found = KMeans::fit(x, &config).unwrap();
        assert_eq!(found.inertia, 0.0);
        assert!(found.centers.data.iter().all(|center| *center == 1.0));
    }
}
