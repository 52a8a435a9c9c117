//! Gaussian mixtures whose components persist: hidden Markov models with Gaussian emissions, by Baum & Welch.

use super::mixture::{Component, argmax, maximise, ridge, whiten};
use super::{GaussianMixture, MixtureConfig, silhouette};
use crate::error::{StatsError, check_len};
use crate::matrix::{Matrix, MatrixView};
use crate::random::Generator;

/// A move that was never seen keeps this many counts, so that no probability is 0.
const PSEUDO_COUNT: f64 = 0.5;
/// Probability of staying that expectation–maximisation starts from.
const STAY: f64 = 0.9;

/// A hidden Markov model with Gaussian emissions (Baum, Petrie, Soules & Weiss 1970; Rabiner 1989), fitted by
/// expectation–maximisation from a [`GaussianMixture`]. Rows that follow each other in time tell its components apart where
/// each row alone does not.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkovMixture {
    components: Vec<Component>,
    /// Share of each component over the rows; what a sequence starts with.
    shares: Vec<f64>,
    /// Row-major K × K.
    transition: Vec<f64>,
    log_likelihood: f64,
    iterations: usize,
    is_converged: bool,
}

/// The model with the best silhouette, its partition of the fitted rows, and what the other numbers had.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkovSelection {
    /// The chosen model.
    pub model: MarkovMixture,
    /// Probability of each component (columns) for each fitted row, given the whole of its sequence.
    pub smoothed: Matrix,
    /// Number of components and silhouette score of each candidate; NaN when it left fewer than two clusters.
    pub scores: Vec<(usize, f64)>,
}

/// What an expectation step finds.
struct Expected {
    smoothed: Matrix,
    /// Expected number of moves, K × K.
    moves: Vec<f64>,
    log_likelihood: f64,
}

impl MarkovMixture {
    /// Fits `components` Gaussians and their transitions to sequences: `lengths` are the rows of each, in the order of `x`.
    ///
    /// # Errors
    /// [`StatsError::Length`] unless the lengths sum to the rows, and as [`GaussianMixture::fit`].
    pub fn fit(
        x: MatrixView<'_>,
        lengths: &[usize],
        components: usize,
        config: &MixtureConfig,
    ) -> Result<Self, StatsError> {
        check_len("sum of the lengths", lengths.iter().sum(), x.rows())?;
        let (start, floor) = (GaussianMixture::fit(x, components, config)?, ridge(x, config.regularization)?);
        let mut fitted = Self::from_mixture(start);
        while fitted.iterations < config.iterations_max && !fitted.is_converged {
            let expected = fitted.expect(x, lengths);
            let gain = expected.log_likelihood - fitted.log_likelihood;
            (fitted.log_likelihood, fitted.iterations) = (expected.log_likelihood, fitted.iterations + 1);
            fitted.is_converged = gain.abs() < config.tolerance;
            if !fitted.is_converged {
                fitted.components = maximise(x, &expected.smoothed, &floor, config.covariance)?;
                fitted.transition = rows_to_one(&expected.moves, components);
                fitted.shares = means(&expected.smoothed);
            }
        }
        Ok(fitted)
    }

    /// Fits every number of components of `candidates` (each ≥ 2) and takes the one whose smoothed partition has the greatest
    /// silhouette, computed on a seeded sample of at most `sample_max` rows; the smaller number of equals.
    ///
    /// Distances are those of the whitened rows (covariance the identity; of [`Covariance::Diagonal`](super::Covariance): each
    /// column's variance 1), as are those of the k-means starts: like the mixture itself, the choice does not depend on the
    /// columns' units, nor on one direction that is long in all groups alike.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`StatsError::Degenerate`] when no candidate leaves two clusters.
    pub fn select(
        x: MatrixView<'_>,
        lengths: &[usize],
        candidates: std::ops::RangeInclusive<usize>,
        sample_max: usize,
        config: &MixtureConfig,
    ) -> Result<MarkovSelection, StatsError> {
        let chosen = Generator::new(config.seed, "silhouette sample").sample(x.rows(), sample_max);
        let data: Vec<f64> = chosen.iter().flat_map(|row| x.row(*row)).copied().collect();
        let sample = MatrixView::new("sample of x", &data, chosen.len(), x.cols())?;
        let whitened = whiten(sample, config)?;
        let whitened = whitened.view("whitened sample of x")?;
        let mut best: Option<(f64, Self, Matrix)> = None;
        let mut scores = Vec::new();
        for components in candidates {
            let model = Self::fit(x, lengths, components, config)?;
            let smoothed = model.smooth(x, lengths)?;
            let labels: Vec<usize> = chosen.iter().map(|row| argmax(smoothed.row(*row))).collect();
            let score = match silhouette(whitened, &labels) {
                Ok(found) => found.score,
                Err(StatsError::Degenerate { .. }) => f64::NAN,
                Err(other) => return Err(other),
            };
            scores.push((components, score));
            if !score.is_nan() && best.as_ref().is_none_or(|(best, ..)| score > *best) {
                best = Some((score, model, smoothed));
            }
        }
        let none = StatsError::Degenerate { what: "candidates", why: "none leaves two clusters or more" };
        best.map(|(_, model, smoothed)| MarkovSelection { model, smoothed, scores }).ok_or(none)
    }

    /// Probability of each component (columns) for each row, given the whole of its sequence; a row sums to 1.
    ///
    /// # Errors
    /// [`StatsError::Length`] when columns or lengths do not fit.
    pub fn smooth(&self, x: MatrixView<'_>, lengths: &[usize]) -> Result<Matrix, StatsError> {
        check_len("columns of x", x.cols(), self.components.first().map_or(0, |component| component.mean.len()))?;
        check_len("sum of the lengths", lengths.iter().sum(), x.rows())?;
        Ok(self.expect(x, lengths).smoothed)
    }

    /// Number of components.
    #[must_use]
    pub fn component_count(&self) -> usize {
        self.components.len()
    }

    /// Probabilities of the next component, row-major K × K, the row's first.
    #[must_use]
    pub fn transition(&self) -> &[f64] {
        &self.transition
    }

    /// Mean log-likelihood of a row given the rows before it, in nats.
    #[must_use]
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Whether expectation–maximisation reached its tolerance, and after how many iterations it ended.
    #[must_use]
    pub fn convergence(&self) -> (bool, usize) {
        (self.is_converged, self.iterations)
    }

    fn from_mixture(start: GaussianMixture) -> Self {
        let count = start.component_count();
        let elsewhere = (1.0 - STAY) / (count.max(2) - 1) as f64;
        let stay = if count == 1 { 1.0 } else { STAY };
        let cell = |cell: usize| if cell / count == cell % count { stay } else { elsewhere };
        Self {
            shares: start.weights(),
            transition: (0..count * count).map(cell).collect(),
            components: start.into_components(),
            log_likelihood: f64::NEG_INFINITY,
            iterations: 0,
            is_converged: false,
        }
    }

    /// Forwards and backwards through each sequence, scaled step by step.
    fn expect(&self, x: MatrixView<'_>, lengths: &[usize]) -> Expected {
        let count = self.components.len();
        let mut out = Expected {
            smoothed: Matrix::zeros(x.rows(), count),
            moves: vec![PSEUDO_COUNT; count * count],
            log_likelihood: 0.0,
        };
        let mut scratch = vec![0.0; x.cols()];
        let mut first = 0;
        for length in lengths {
            let mut density = Matrix::zeros(*length, count);
            for row in 0..*length {
                let cells = density.row_mut(row);
                for (cell, component) in cells.iter_mut().zip(&self.components) {
                    *cell = component.log_density(x.row(first + row), &mut scratch);
                }
                // The greatest density of a row becomes 1: only ratios count.
                let most = cells.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                cells.iter_mut().for_each(|log| *log = (*log - most).exp());
                out.log_likelihood += most;
            }
            out.log_likelihood += self.forward(&density, &mut out.smoothed, first);
            self.backward(&density, &mut out, first);
            first += length;
        }
        out.log_likelihood /= x.rows() as f64;
        out
    }

    /// Filters a sequence into the rows of `filtered` from `first`; the logarithm of what the densities were divided by.
    fn forward(&self, density: &Matrix, filtered: &mut Matrix, first: usize) -> f64 {
        let count = self.components.len();
        let mut prior = self.shares.clone();
        let mut log_scale = 0.0;
        for row in 0..density.rows {
            let cells = filtered.row_mut(first + row);
            let products = cells.iter_mut().zip(&prior).zip(density.row(row));
            products.for_each(|((cell, prior), density)| *cell = prior * density);
            let sum = cells.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            cells.iter_mut().for_each(|cell| *cell /= sum);
            log_scale += sum.ln();
            prior = (0..count).map(|to| (0..count).map(|from| cells[from] * self.move_to(from, to)).sum()).collect();
        }
        log_scale
    }

    /// Turns the filtered rows of a sequence into smoothed ones and counts the moves.
    fn backward(&self, density: &Matrix, out: &mut Expected, first: usize) {
        let count = self.components.len();
        // How probable the rest of the sequence is after each component, up to a factor.
        let mut rest = vec![1.0; count];
        for row in (0..density.rows.saturating_sub(1)).rev() {
            let seen: Vec<f64> = rest.iter().zip(density.row(row + 1)).map(|(rest, density)| rest * density).collect();
            let cells = out.smoothed.row_mut(first + row);
            let joint: Vec<f64> = (0..count * count)
                .map(|c| cells[c / count] * self.move_to(c / count, c % count) * seen[c % count])
                .collect();
            let sum = joint.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            out.moves.iter_mut().zip(&joint).for_each(|(moves, joint)| *moves += joint / sum);
            for (from, cell) in cells.iter_mut().enumerate() {
                *cell = joint[from * count..(from + 1) * count].iter().sum::<f64>() / sum;
            }
            rest = (0..count).map(|from| (0..count).map(|to| self.move_to(from, to) * seen[to]).sum()).collect();
            let most = rest.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            rest.iter_mut().for_each(|rest| *rest /= most);
        }
    }

    fn move_to(&self, from: usize, to: usize) -> f64 {
        self.transition[from * self.components.len() + to]
    }
}

fn rows_to_one(moves: &[f64], count: usize) -> Vec<f64> {
    let rows = moves.chunks_exact(count);
    rows.flat_map(|row| {
        let sum: f64 = row.iter().sum();
        row.iter().map(move |moves| moves / sum)
    })
    .collect()
}

/// Mean of each column.
fn means(shares: &Matrix) -> Vec<f64> {
    let column = |k: usize| shares.data.iter().skip(k).step_by(shares.cols).sum::<f64>() / shares.rows as f64;
    (0..shares.cols).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::adjusted_rand_index;

    /// Three groups that overlap, `apart` deviations from the first to the others, each of which lasts 25 rows on average.
    fn persistent(seed: u64, lengths: &[usize], apart: f64) -> (Vec<f64>, Vec<usize>) {
        let mut generator = Generator::new(seed, "markov");
        let centres = [[0.0, 0.0], [apart, 0.0], [0.0, apart]];
        let (mut data, mut truth) = (Vec::new(), Vec::new());
        for length in lengths {
            let mut state = generator.index(3);
            for _ in 0..*length {
                if generator.uniform() < 0.04 {
                    state = (state + 1 + generator.index(2)) % 3;
                }
                truth.push(state);
                data.extend(centres[state].map(|c| c + generator.normal()));
            }
        }
        (data, truth)
    }

    #[test]
    fn persistence_tells_apart_what_single_rows_do_not() {
        let lengths = [2_000, 500, 1_500];
        let (data, truth) = persistent(3, &lengths, 2.2);
        let x = MatrixView::new("x", &data, 4_000, 2).unwrap();
        let config = MixtureConfig { restarts: 6, ..MixtureConfig::default() };
        let alone = GaussianMixture::fit(x, 3, &config).unwrap();
        let model = MarkovMixture::fit(x, &lengths, 3, &config).unwrap();
        let smoothed = model.smooth(x, &lengths).unwrap();
        let labels: Vec<usize> = (0..4_000).map(|row| argmax(smoothed.row(row))).collect();
        let of = |labels: &[usize]| adjusted_rand_index(labels, &truth).unwrap();
        let (alone, found) = (of(&alone.predict(x).unwrap()), of(&labels));
        assert!(found > 0.85 && alone < found - 0.2, "{found} against {alone}");
        assert!((0..3).all(|k| (model.transition()[4 * k] - 0.96).abs() < 0.02), "{:?}", model.transition());
        assert!(smoothed.data.chunks_exact(3).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-9));
        assert!(model.convergence().0 && model.log_likelihood().is_finite());
    }

    #[test]
    fn the_silhouette_of_the_smoothed_partition_chooses_the_number() {
        let lengths = [3_000];
        let (data, _) = persistent(4, &lengths, 3.5);
        let x = MatrixView::new("x", &data, 3_000, 2).unwrap();
        let found = MarkovMixture::select(x, &lengths, 2..=5, 1_000, &MixtureConfig::default()).unwrap();
        assert_eq!(found.model.component_count(), 3, "{:?}", found.scores);
        assert_eq!(found.smoothed, found.model.smooth(x, &lengths).unwrap());
    }

    /// Against the sum over all paths of a short sequence.
    #[test]
    fn smoothing_is_bayes_rule() {
        let (data, _) = persistent(5, &[400], 2.2);
        let x = MatrixView::new("x", &data, 400, 2).unwrap();
        let model = MarkovMixture::fit(x, &[400], 3, &MixtureConfig::default()).unwrap();
        let short = MatrixView::new("x", &data[..10], 5, 2).unwrap();
        let mut sums = [0.0; 15];
        let mut scratch = [0.0; 2];
        for path in 0..243_usize {
            let state = |row: usize| path / 3_usize.pow(u32::try_from(row).unwrap()) % 3;
            let mut weight = model.shares[state(0)];
            for row in 0..5 {
                weight *= model.components[state(row)].log_density(short.row(row), &mut scratch).exp();
                weight *= if row > 0 { model.move_to(state(row - 1), state(row)) } else { 1.0 };
            }
            (0..5).for_each(|row| sums[3 * row + state(row)] += weight);
        }
        let smoothed = model.smooth(short, &[5]).unwrap();
        for (found, sums) in smoothed.data.chunks_exact(3).zip(sums.chunks_exact(3)) {
            let all: f64 = sums.iter().sum();
            assert!(found.iter().zip(sums).all(|(found, sum)| (found - sum / all).abs() < 1e-10));
        }
        // The end of one sequence does not reach into the next.
        let apart = model.smooth(short, &[2, 3]).unwrap();
        let alone = model.smooth(MatrixView::new("x", &data[..4], 2, 2).unwrap(), &[2]).unwrap();
        assert_eq!(apart.data[..6], alone.data[..]);
    }

    #[test]
    fn the_silhouette_chooses_the_number_of_groups() {
        let mut generator = Generator::new(2, "test");
        let centres = [[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]];
        let data: Vec<f64> = (0..600).flat_map(|row| centres[row % 4].map(|c| c + generator.normal())).collect();
        let x = MatrixView::new("x", &data, 600, 2).unwrap();
        let found = MarkovMixture::select(x, &[600], 2..=7, 400, &MixtureConfig::default()).unwrap();
        assert_eq!(found.model.component_count(), 4);
        assert_eq!(found.scores.len(), 6);
        assert_eq!(MarkovMixture::select(x, &[600], 2..=7, 400, &MixtureConfig::default()).unwrap(), found);
    }

    /// Three groups that a long direction, shared by all, hides from Euclid: the plain silhouette takes two.
    #[test]
    fn a_long_direction_shared_by_all_does_not_hide_the_groups() {
        let mut generator = Generator::new(2, "long");
        let centres = [[0.0, 0.0], [5.0, 0.0], [2.5, 5.0]];
        let row = |row: usize| {
            let [a, b] = centres[row % 3];
            [a + generator.normal(), b + generator.normal(), 15.0 * generator.normal()]
        };
        let data: Vec<f64> = (0..900).flat_map(row).collect();
        let x = MatrixView::new("x", &data, 900, 3).unwrap();
        let config = MixtureConfig { restarts: 12, ..MixtureConfig::default() };
        let found = MarkovMixture::select(x, &[900], 2..=6, 600, &config).unwrap();
        assert_eq!(found.model.component_count(), 3, "{:?}", found.scores);
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let x = MatrixView::new("x", &[1.0, 2.0, 3.0, 4.0], 4, 1).unwrap();
        let refused = MarkovMixture::fit(x, &[3], 2, &MixtureConfig::default());
        assert!(matches!(refused, Err(StatsError::Length { .. })));
    }
}
