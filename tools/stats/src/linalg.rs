//! The few decompositions that the estimators need, over `faer`, on row-major slices.

use faer::{MatRef, Side};

use crate::error::StatsError;
use crate::matrix::Matrix;

/// Eigenvalues of a symmetric `n × n` matrix, descending.
pub(crate) fn symmetric_eigenvalues(what: &'static str, a: &[f64], n: usize) -> Result<Vec<f64>, StatsError> {
    let matrix = MatRef::from_row_major_slice(a, n, n);
    let failed = |_| StatsError::Degenerate { what, why: "its eigenvalues could not be computed" };
    let mut values = matrix.self_adjoint_eigenvalues(Side::Lower).map_err(failed)?;
    values.reverse();
    Ok(values)
}

/// Eigenvalues of a symmetric `n × n` matrix, descending, and the eigenvectors, one per row in the same order.
pub(crate) fn symmetric_eigenvectors(
    what: &'static str,
    a: &[f64],
    n: usize,
) -> Result<(Vec<f64>, Matrix), StatsError> {
    let matrix = MatRef::from_row_major_slice(a, n, n);
    let failed = |_| StatsError::Degenerate { what, why: "its eigenvectors could not be computed" };
    let found = matrix.self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let (values, columns) = (found.S(), found.U());
    let mut vectors = Matrix::zeros(n, n);
    for row in 0..n {
        vectors.row_mut(row).iter_mut().enumerate().for_each(|(i, to)| *to = columns[(i, n - 1 - row)]);
    }
    Ok(((0..n).map(|row| values[n - 1 - row]).collect(), vectors))
}

/// Singular values of a `rows × cols` matrix, descending.
pub(crate) fn singular_values(what: &'static str, a: &[f64], rows: usize, cols: usize) -> Result<Vec<f64>, StatsError> {
    let failed = |_| StatsError::Degenerate { what, why: "its singular values could not be computed" };
    MatRef::from_row_major_slice(a, rows, cols).singular_values().map_err(failed)
}

/// A Cholesky factor `L` (lower, row-major) of a symmetric positive definite matrix `L Lᵀ`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cholesky {
    lower: Vec<f64>,
    n: usize,
}

impl Cholesky {
    /// `None` when the matrix is not positive definite.
    pub(crate) fn new(a: &[f64], n: usize) -> Option<Self> {
        let factor = MatRef::from_row_major_slice(a, n, n).llt(Side::Lower).ok()?;
        let factor = factor.L();
        let lower: Vec<f64> = (0..n * n).map(|cell| factor[(cell / n, cell % n)]).collect();
        lower.iter().all(|value| value.is_finite()).then_some(Self { lower, n })
    }

    /// Natural logarithm of the matrix's determinant.
    pub(crate) fn log_determinant(&self) -> f64 {
        (0..self.n).map(|i| 2.0 * self.lower[i * self.n + i].ln()).sum()
    }

    /// Solves `L y = x` in place.
    pub(crate) fn solve_lower(&self, x: &mut [f64]) {
        for i in 0..self.n {
            let row = &self.lower[i * self.n..i * self.n + i + 1];
            let known: f64 = row[..i].iter().zip(&x[..i]).map(|(l, y)| l * y).sum();
            x[i] = (x[i] - known) / row[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_matrix() {
        let a = [4.0, 2.0, 2.0, 3.0];
        let factor = Cholesky::new(&a, 2).unwrap();
        assert!((factor.log_determinant() - 8f64.ln()).abs() < 1e-15);
        let mut x = [8.0, 7.0];
        factor.solve_lower(&mut x);
        assert!((x[0] - 4.0).abs() < 1e-15 && (x[1] - 3.0 / 2f64.sqrt()).abs() < 1e-15);
        assert_eq!(Cholesky::new(&[1.0, 2.0, 2.0, 1.0], 2), None);
        let values = symmetric_eigenvalues("a", &a, 2).unwrap();
        assert!((values[0] - (7.0 + 17f64.sqrt()) / 2.0).abs() < 1e-14);
        let wide = singular_values("a", &[3.0, 0.0, 0.0, 0.0, 2.0, 0.0], 2, 3).unwrap();
        assert!((wide[0] - 3.0).abs() < 1e-15 && (wide[1] - 2.0).abs() < 1e-15);
    }
}
