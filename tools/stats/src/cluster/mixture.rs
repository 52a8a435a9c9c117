//! Gaussian mixtures by expectation–maximisation (Dempster, Laird & Rubin 1977).

use super::{KMeans, KMeansConfig};
use crate::correlation::covariance_matrix;
use crate::error::{StatsError, check_count, check_len, check_range};
use crate::linalg::Cholesky;
use crate::matrix::{Matrix, MatrixView};

const LN_TAU: f64 = 1.837_877_066_409_345_5;

/// Shape of the components' covariances.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Covariance {
    /// Any; K d (d+1)/2 numbers.
    Full,
    /// No correlation within a component; K d numbers. The choice when rows are few.
    Diagonal,
}

/// How to fit a [`GaussianMixture`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixtureConfig {
    /// Shape of the covariances.
    pub covariance: Covariance,
    /// k-means starts, ≥ 1; EM runs from each, and the greatest likelihood wins.
    pub restarts: usize,
    /// Most iterations of EM, ≥ 1. scikit-learn: 100.
    pub iterations_max: usize,
    /// EM ends when the mean log-likelihood of a row gains less than this, in nats, > 0. scikit-learn: 1e-3.
    pub tolerance: f64,
    /// Added to the covariances' diagonal, as a share of each column's variance, > 0: no component collapses on one row.
    pub regularization: f64,
    /// Seed of the starts.
    pub seed: u64,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            covariance: Covariance::Full,
            restarts: 3,
            iterations_max: 200,
            tolerance: 1e-5,
            regularization: 1e-6,
            seed: 1,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    log_weight: f64,
    pub(super) mean: Vec<f64>,
    covariance: Vec<f64>,
    factor: Cholesky,
    /// −½ (ln det covariance + d ln 2π).
    log_norm: f64,
}

/// A mixture of Gaussians fitted to rows.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianMixture {
    components: Vec<Component>,
    dimension: usize,
    covariance: Covariance,
    log_likelihood: f64,
    iterations: usize,
    is_converged: bool,
}

impl GaussianMixture {
    /// Fits `components` Gaussians by EM from k-means starts.
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] for a setting, [`StatsError::TooFew`] with fewer than 2 rows or fewer than components,
    /// [`StatsError::Degenerate`] when a covariance is not positive definite in spite of the regularization.
    pub fn fit(x: MatrixView<'_>, components: usize, config: &MixtureConfig) -> Result<Self, StatsError> {
        check_count("rows of x", x.rows(), components.max(2))?;
        check_range("restarts", config.restarts as f64, |count| count >= 1.0, "1 or more")?;
        check_range("tolerance", config.tolerance, |value| value > 0.0, "above 0")?;
        check_range("regularization", config.regularization, |value| value > 0.0, "above 0")?;
        let floor = ridge(x, config.regularization)?;
        let whitened = whiten(x, config)?;
        let whitened = whitened.view("whitened x")?;
        let mut best: Option<Self> = None;
        for restart in 0..config.restarts {
            let seed = config.seed.wrapping_add(restart as u64);
            let start = KMeansConfig { clusters: components, restarts: 1, iterations_max: 50, seed };
            let labels = KMeans::fit(whitened, &start)?.labels;
            let fitted = Self::expectation_maximisation(x, config, &floor, hard(&labels, components))?;
            if best.as_ref().is_none_or(|best| fitted.log_likelihood > best.log_likelihood) {
                best = Some(fitted);
            }
        }
        best.ok_or(StatsError::Degenerate { what: "x", why: "no start gave a mixture" })
    }

    pub(super) fn into_components(self) -> Vec<Component> {
        self.components
    }

    fn expectation_maximisation(
        x: MatrixView<'_>,
        config: &MixtureConfig,
        floor: &[f64],
        mut shares: Matrix,
    ) -> Result<Self, StatsError> {
        let mut fitted = Self {
            components: Vec::new(),
            dimension: x.cols(),
            covariance: config.covariance,
            log_likelihood: f64::NEG_INFINITY,
            iterations: 0,
            is_converged: false,
        };
        while fitted.iterations < config.iterations_max.max(1) && !fitted.is_converged {
            fitted.components = maximise(x, &shares, floor, config.covariance)?;
            fitted.iterations += 1;
            let before = fitted.log_likelihood;
            (shares, fitted.log_likelihood) = fitted.expect(x);
            fitted.is_converged = (fitted.log_likelihood - before).abs() < config.tolerance;
        }
        Ok(fitted)
    }

    /// Responsibilities and mean log-likelihood.
    fn expect(&self, x: MatrixView<'_>) -> (Matrix, f64) {
        let mut shares = Matrix::zeros(x.rows(), self.components.len());
        let mut total = 0.0;
        let mut scratch = vec![0.0; self.dimension];
        for (row, out) in x.iter_rows().zip(shares.data.chunks_exact_mut(self.components.len())) {
            for (component, out) in self.components.iter().zip(out.iter_mut()) {
                *out = component.log_weight + component.log_density(row, &mut scratch);
            }
            let norm = log_sum_exp(out);
            total += norm;
            out.iter_mut().for_each(|log| *log = (*log - norm).exp());
        }
        (shares, total / x.rows() as f64)
    }

    /// Posterior probability of each component (columns) for each row; a row sums to 1.
    ///
    /// # Errors
    /// [`StatsError::Length`] when the columns are not those fitted.
    pub fn responsibilities(&self, x: MatrixView<'_>) -> Result<Matrix, StatsError> {
        check_len("columns of x", x.cols(), self.dimension)?;
        Ok(self.expect(x).0)
    }

    /// The most probable component of each row, the first of equals.
    ///
    /// # Errors
    /// As [`responsibilities`](Self::responsibilities).
    pub fn predict(&self, x: MatrixView<'_>) -> Result<Vec<usize>, StatsError> {
        let shares = self.responsibilities(x)?;
        Ok(shares.data.chunks_exact(shares.cols).map(argmax).collect())
    }

    /// Mean log-likelihood of a row of `x` in nats.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without a row, [`StatsError::Length`].
    pub fn score(&self, x: MatrixView<'_>) -> Result<f64, StatsError> {
        check_count("rows of x", x.rows(), 1)?;
        check_len("columns of x", x.cols(), self.dimension)?;
        Ok(self.expect(x).1)
    }

    /// Number of components.
    #[must_use]
    pub fn component_count(&self) -> usize {
        self.components.len()
    }

    /// Weight of each component; they sum to 1.
    #[must_use]
    pub fn weights(&self) -> Vec<f64> {
        self.components.iter().map(|component| component.log_weight.exp()).collect()
    }

    /// Mean of a component; `None` beyond the last one.
    #[must_use]
    pub fn mean(&self, component: usize) -> Option<&[f64]> {
        self.components.get(component).map(|component| component.mean.as_slice())
    }

    /// Covariance of a component (d × d, row-major); `None` beyond the last one.
    #[must_use]
    pub fn covariance(&self, component: usize) -> Option<&[f64]> {
        self.components.get(component).map(|component| component.covariance.as_slice())
    }

    /// Mean log-likelihood of a row of the fitted data, in nats.
    #[must_use]
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Whether EM reached its tolerance, and after how many iterations it ended.
    #[must_use]
    pub fn convergence(&self) -> (bool, usize) {
        (self.is_converged, self.iterations)
    }

    /// Bayesian information criterion over the `n` rows fitted (Schwarz 1978): `p ln n − 2 n · log-likelihood`, less is better.
    #[must_use]
    pub fn bic(&self, n: usize) -> f64 {
        let (k, d) = (self.components.len() as f64, self.dimension as f64);
        let shape = match self.covariance {
            Covariance::Full => d * (d + 1.0) / 2.0,
            Covariance::Diagonal => d,
        };
        (k * (shape + d + 1.0) - 1.0) * (n as f64).ln() - 2.0 * n as f64 * self.log_likelihood
    }
}

impl Component {
    pub(super) fn log_density(&self, row: &[f64], scratch: &mut [f64]) -> f64 {
        scratch.iter_mut().zip(row).zip(&self.mean).for_each(|((out, x), mean)| *out = x - mean);
        self.factor.solve_lower(scratch);
        let distance: f64 = scratch.iter().map(|y| y * y).sum();
        self.log_norm - 0.5 * distance
    }
}

/// What is added to each variance: a share of the column's own, or of 1 for a constant column.
pub(super) fn ridge(x: MatrixView<'_>, share: f64) -> Result<Vec<f64>, StatsError> {
    let (covariance, d) = (covariance_matrix(x)?, x.cols());
    let variances = (0..d).map(|i| covariance.data[i * d + i]);
    Ok(variances.map(|variance| share * if variance > 0.0 { variance } else { 1.0 }).collect())
}

/// The rows in coordinates in which their covariance, or its diagonal, is the identity.
pub(super) fn whiten(x: MatrixView<'_>, config: &MixtureConfig) -> Result<Matrix, StatsError> {
    let (mut covariance, d) = (covariance_matrix(x)?.data, x.cols());
    for (i, floor) in ridge(x, config.regularization)?.iter().enumerate() {
        covariance[i * d + i] += floor;
    }
    match config.covariance {
        Covariance::Full => {}
        Covariance::Diagonal => (0..d * d).filter(|cell| cell / d != cell % d).for_each(|cell| covariance[cell] = 0.0),
    }
    let factor = Cholesky::new(&covariance, d);
    let factor = factor.ok_or(StatsError::Degenerate { what: "x", why: "its covariance is not positive definite" })?;
    let mut out = Matrix { data: x.data().to_vec(), rows: x.rows(), cols: d };
    out.data.chunks_exact_mut(d).for_each(|row| factor.solve_lower(row));
    Ok(out)
}

fn hard(labels: &[usize], components: usize) -> Matrix {
    let mut shares = Matrix::zeros(labels.len(), components);
    labels.iter().enumerate().for_each(|(row, label)| shares.row_mut(row)[*label] = 1.0);
    shares
}

pub(super) fn maximise(
    x: MatrixView<'_>,
    shares: &Matrix,
    floor: &[f64],
    covariance: Covariance,
) -> Result<Vec<Component>, StatsError> {
    // As scikit-learn: no component is ever quite without rows.
    let weights: Vec<f64> = (0..shares.cols)
        .map(|k| shares.data.iter().skip(k).step_by(shares.cols).sum::<f64>() + 10.0 * f64::EPSILON)
        .collect();
    let all: f64 = weights.iter().sum();
    let component = |(k, weight): (usize, &f64)| {
        let shares: Vec<f64> = shares.data.iter().skip(k).step_by(shares.cols).map(|share| share / weight).collect();
        let mean = weighted_mean(x, &shares);
        let covariance = weighted_covariance(x, &shares, &mean, floor, covariance);
        let factor = Cholesky::new(&covariance, x.cols());
        let factor =
            factor.ok_or(StatsError::Degenerate { what: "x", why: "a covariance is not positive definite" })?;
        let log_norm = -0.5 * (factor.log_determinant() + x.cols() as f64 * LN_TAU);
        Ok(Component { log_weight: (weight / all).ln(), mean, covariance, factor, log_norm })
    };
    weights.iter().enumerate().map(component).collect()
}

fn weighted_mean(x: MatrixView<'_>, shares: &[f64]) -> Vec<f64> {
    let mut mean = vec![0.0; x.cols()];
    for (row, share) in x.iter_rows().zip(shares) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += share * x);
    }
    mean
}

fn weighted_covariance(
    x: MatrixView<'_>,
    shares: &[f64],
    mean: &[f64],
    floor: &[f64],
    covariance: Covariance,
) -> Vec<f64> {
    let d = x.cols();
    let mut out = vec![0.0; d * d];
    let mut centred = vec![0.0; d];
    for (row, share) in x.iter_rows().zip(shares) {
        if *share < f64::MIN_POSITIVE {
            continue;
        }
        centred.iter_mut().zip(row).zip(mean).for_each(|((out, x), mean)| *out = x - mean);
        for i in 0..d {
            let first = match covariance {
                Covariance::Full => 0,
                Covariance::Diagonal => i,
            };
            let scaled = share * centred[i];
            (first..=i).for_each(|j| out[i * d + j] += scaled * centred[j]);
        }
    }
    for i in 0..d {
        out[i * d + i] += floor[i];
        (0..i).for_each(|j| out[j * d + i] = out[i * d + j]);
    }
    out
}

/// `ln Σ exp`, without overflow.
pub(crate) fn log_sum_exp(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY { most } else { most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln() }
}

/// Index of the greatest value, the first of equals; 0 without a value.
pub(crate) fn argmax(values: &[f64]) -> usize {
    let better = |best: usize, (index, value): (usize, &f64)| if *value > values[best] { index } else { best };
    values.iter().enumerate().fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::adjusted_rand_index;
    use crate::random::Generator;

    /// Two crossed ellipses and a far group: k-means cannot tell the first two apart, a full mixture can.
    fn crossed(n: usize) -> (Vec<f64>, Vec<usize>) {
        let mut generator = Generator::new(11, "test");
        let truth: Vec<usize> = (0..n).map(|row| row % 3).collect();
        let point = |label: &usize| {
            let (a, b) = (3.0 * generator.normal(), 0.3 * generator.normal());
            match label {
                0 => [a + b, a - b],
                1 => [a + b, b - a],
                _ => [a / 3.0 + 20.0, b / 0.3],
            }
        };
        (truth.iter().flat_map(point).collect(), truth)
    }

    #[test]
    fn a_full_mixture_tells_crossed_ellipses_apart() {
        let (data, truth) = crossed(1_500);
        let x = MatrixView::new("x", &data, 1_500, 2).unwrap();
        let full = GaussianMixture::fit(x, 3, &MixtureConfig { restarts: 8, ..MixtureConfig::default() }).unwrap();
        assert!(adjusted_rand_index(&full.predict(x).unwrap(), &truth).unwrap() > 0.75);
        let diagonal = MixtureConfig { covariance: Covariance::Diagonal, restarts: 8, ..MixtureConfig::default() };
        let diagonal = GaussianMixture::fit(x, 3, &diagonal).unwrap();
        assert!(adjusted_rand_index(&diagonal.predict(x).unwrap(), &truth).unwrap() < 0.75, "the control fails");
        assert!(full.log_likelihood() > diagonal.log_likelihood());
        assert!(full.bic(1_500) < diagonal.bic(1_500));
        assert!((full.weights().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let shares = full.responsibilities(x).unwrap();
        assert!(shares.data.chunks_exact(3).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        assert!((full.score(x).unwrap() - full.log_likelihood()).abs() < 1e-12);
    }

    #[test]
    fn one_component_is_the_sample_moments() {
        let (data, _) = crossed(300);
        let x = MatrixView::new("x", &data, 300, 2).unwrap();
        let one = GaussianMixture::fit(x, 1, &MixtureConfig::default()).unwrap();
        let covariance = covariance_matrix(x).unwrap();
        let scale = 299.0 / 300.0;
        let found = one.covariance(0).unwrap();
        assert!(found.iter().zip(&covariance.data).all(|(a, b)| (a - b * scale).abs() < 1e-3));
        assert!(one.mean(0).unwrap().iter().zip(x.column_means()).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(one.mean(1), None);
    }

    #[test]
    fn the_likelihood_never_falls() {
        let (data, _) = crossed(300);
        let x = MatrixView::new("x", &data, 300, 2).unwrap();
        let after = |iterations_max| {
            let config = MixtureConfig { iterations_max, restarts: 1, tolerance: 1e-300, ..MixtureConfig::default() };
            GaussianMixture::fit(x, 3, &config).unwrap().log_likelihood()
        };
        let path: Vec<f64> = (1..30).map(after).collect();
        assert!(path.windows(2).all(|pair| pair[1] >= pair[0] - 1e-9), "{path:?}");
    }

    #[test]
    fn duplicates_and_constants_do_not_break_it() {
        let x = MatrixView::new("x", &[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 9.0], 4, 2).unwrap();
        let found = GaussianMixture::fit(x, 2, &MixtureConfig::default()).unwrap();
        assert!(found.log_likelihood().is_finite());
        assert!(matches!(GaussianMixture::fit(x, 5, &MixtureConfig::default()), Err(StatsError::TooFew { .. })));
        let wide = MatrixView::new("x", &[1.0, 2.0, 3.0], 1, 3).unwrap();
        assert!(matches!(found.predict(wide), Err(StatsError::Length { .. })));
    }
}
