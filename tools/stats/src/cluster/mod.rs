//! Clusters and regimes: k-means, Gaussian mixtures alone and with persistence, and how good a partition is.

mod agreement;
mod kmeans;
mod markov;
mod mixture;
mod silhouette;

pub use agreement::adjusted_rand_index;
pub use kmeans::{KMeans, KMeansConfig};
pub use markov::{MarkovMixture, MarkovSelection};
pub use mixture::{Covariance, GaussianMixture, MixtureConfig};
pub(crate) use mixture::{argmax, log_sum_exp};
pub use silhouette::{Silhouette, silhouette};

/// Squared Euclidean distance.
pub(crate) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Labels as indices 0.. in the order of their values, and how many different ones there are.
pub(crate) fn dense_labels(labels: &[usize]) -> (Vec<usize>, usize) {
    let mut known: Vec<usize> = labels.to_vec();
    known.sort_unstable();
    known.dedup();
    // Every label was put into `known`.
    let dense = labels.iter().map(|label| known.binary_search(label).unwrap_or(0)).collect();
    (dense, known.len())
}
