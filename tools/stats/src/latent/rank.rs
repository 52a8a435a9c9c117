//! How many dimensions a latent space uses.

use crate::correlation::covariance_matrix;
use crate::error::StatsError;
use crate::linalg::{singular_values, symmetric_eigenvalues};
use crate::matrix::MatrixView;

/// The spectrum of a table's covariance, and the ranks made from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// Eigenvalues of the covariance (divisor n − 1), descending; those below 0 by rounding are as computed.
    pub eigenvalues: Vec<f64>,
    /// Effective rank of the covariance, 1 to d: the exponential of the entropy of `λ/Σλ` (Roy & Vetterli 2007).
    pub effective_rank: f64,
    /// Participation ratio `(Σλ)²/Σλ²`, 1 to d.
    pub participation_ratio: f64,
    /// Number of eigenvalues above 1e-10 times the greatest.
    pub numerical_rank: usize,
}

/// The [`Spectrum`] of the rows. Of a table whose columns are all constant the ranks are NaN and the numerical rank is 0: a
/// collapsed space.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 rows, [`StatsError::Degenerate`] when the decomposition fails (numbers near overflow).
pub fn spectrum(x: MatrixView<'_>) -> Result<Spectrum, StatsError> {
    let covariance = covariance_matrix(x)?;
    let eigenvalues = symmetric_eigenvalues("x", &covariance.data, x.cols())?;
    let positive: Vec<f64> = eigenvalues.iter().map(|value| value.max(0.0)).collect();
    let (sum, squares) = (positive.iter().sum::<f64>(), positive.iter().map(|value| value * value).sum::<f64>());
    let greatest = positive.first().copied().unwrap_or(0.0);
    Ok(Spectrum {
        effective_rank: entropy_rank(&positive),
        participation_ratio: sum * sum / squares,
        numerical_rank: positive.iter().filter(|value| **value > 1e-10 * greatest).count(),
        eigenvalues,
    })
}

/// Effective rank of the column-centred table itself, 1 to d: of its singular values, the paper's definition for a matrix.
/// Larger than that of the covariance, since eigenvalues are squares of singular values.
///
/// # Errors
/// [`StatsError::Degenerate`] when the decomposition fails (numbers near overflow).
pub fn effective_rank_of_data(x: MatrixView<'_>) -> Result<f64, StatsError> {
    let means = x.column_means();
    let centred: Vec<f64> = x.iter_rows().flat_map(|row| row.iter().zip(&means).map(|(x, mean)| x - mean)).collect();
    Ok(entropy_rank(&singular_values("x", &centred, x.rows(), x.cols())?))
}

fn entropy_rank(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let shares = values.iter().map(|value| value / sum);
    (-shares.map(|q| if q > 0.0 || q.is_nan() { q * q.ln() } else { 0.0 }).sum::<f64>()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    /// d columns of which the last ones are mixtures of the first `rank`.
    fn of_rank(rank: usize, d: usize) -> Vec<f64> {
        let mut generator = Generator::new(4, "test");
        let row = |_| {
            let free: Vec<f64> = (0..rank).map(|_| generator.normal()).collect();
            (0..d).map(move |col| free[col % rank]).collect::<Vec<f64>>()
        };
        (0..400).flat_map(row).collect()
    }

    #[test]
    fn a_collapsed_space_is_seen() {
        let rank = |rank| spectrum(MatrixView::new("x", &of_rank(rank, 8), 400, 8).unwrap()).unwrap();
        assert_eq!(rank(8).numerical_rank, 8);
        assert_eq!(rank(2).numerical_rank, 2);
        assert!(rank(8).effective_rank > 7.5 && rank(2).effective_rank < 2.01);
        assert!(rank(8).participation_ratio > 7.0 && rank(2).participation_ratio < 2.01);
        assert!(effective_rank_of_data(MatrixView::new("x", &of_rank(2, 8), 400, 8).unwrap()).unwrap() < 2.01);
    }

    #[test]
    fn a_constant_space_has_no_rank() {
        let found = spectrum(MatrixView::new("x", &[1.5; 12], 4, 3).unwrap()).unwrap();
        assert!(found.effective_rank.is_nan() && found.participation_ratio.is_nan());
        assert_eq!(found.numerical_rank, 0);
        assert!(matches!(spectrum(MatrixView::new("x", &[1.0], 1, 1).unwrap()), Err(StatsError::TooFew { .. })));
    }
}
