//! Principal axes of a table, for pictures of a space with many dimensions.

use crate::correlation::covariance_matrix;
use crate::error::{StatsError, check_range};
use crate::linalg::symmetric_eigenvectors;
use crate::matrix::{Matrix, MatrixView};

/// The directions of greatest variance.
#[derive(Clone, Debug, PartialEq)]
pub struct PrincipalAxes {
    /// Mean of each column.
    pub mean: Vec<f64>,
    /// One axis per row, of length 1, greatest variance first; the element of the greatest size is positive, so that the
    /// sign does not depend on the decomposition.
    pub axes: Matrix,
    /// Variance along each axis, divisor n − 1.
    pub variance: Vec<f64>,
    /// Sum of the variances of all columns.
    pub total_variance: f64,
}

impl PrincipalAxes {
    /// Coordinates of a row along the axes. Columns beyond those of the table are left out.
    #[must_use]
    pub fn project(&self, row: &[f64]) -> Vec<f64> {
        let along = |axis: usize| {
            let parts = self.axes.row(axis).iter().zip(row.iter().zip(&self.mean));
            parts.map(|(axis, (x, mean))| axis * (x - mean)).sum()
        };
        (0..self.axes.rows).map(along).collect()
    }
}

/// The first `count` principal axes (Pearson 1901) of the rows.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 rows, [`StatsError::OutOfRange`] unless 1 ≤ count ≤ columns, [`StatsError::Degenerate`] when
/// the decomposition fails (numbers near overflow).
pub fn principal_axes(x: MatrixView<'_>, count: usize) -> Result<PrincipalAxes, StatsError> {
    let cols = x.cols();
    check_range("count", count as f64, |_| (1..=cols).contains(&count), "1 to the number of columns")?;
    let covariance = covariance_matrix(x)?;
    let total_variance = (0..cols).map(|i| covariance.data[i * cols + i]).sum();
    let (variance, vectors) = symmetric_eigenvectors("x", &covariance.data, cols)?;
    let mut axes = Matrix::zeros(count, cols);
    for axis in 0..count {
        let vector = vectors.row(axis);
        let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
        axes.row_mut(axis).iter_mut().zip(vector).for_each(|(to, x)| *to = x * largest.signum());
    }
    let variance = variance.into_iter().take(count).map(|value| value.max(0.0)).collect();
    Ok(PrincipalAxes { mean: x.column_means(), axes, variance, total_variance })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    #[test]
    fn the_axes_of_a_stretched_cloud() {
        let mut generator = Generator::new(1, "axes");
        let data: Vec<f64> = (0..4_000)
            .flat_map(|_| {
                let (long, short) = (3.0 * generator.normal(), generator.normal());
                // Turned by 30 degrees, and moved.
                [5.0 + 0.75_f64.sqrt() * long - 0.5 * short, -2.0 + 0.5 * long + 0.75_f64.sqrt() * short]
            })
            .collect();
        let found = principal_axes(MatrixView::new("x", &data, 4_000, 2).unwrap(), 2).unwrap();
        let first = found.axes.row(0);
        assert!((first[0] - 0.75_f64.sqrt()).abs() < 0.02 && (first[1] - 0.5).abs() < 0.02, "{first:?}");
        assert!((found.variance[0] - 9.0).abs() < 0.6 && (found.variance[1] - 1.0).abs() < 0.1, "{:?}", found.variance);
        assert!((found.variance.iter().sum::<f64>() - found.total_variance).abs() < 1e-9);
        let ends = found.project(&[found.mean[0] + 2.0 * first[0], found.mean[1] + 2.0 * first[1]]);
        assert!((ends[0] - 2.0).abs() < 1e-9 && ends[1].abs() < 1e-9, "{ends:?}");
    }

    #[test]
    fn bad_counts_are_refused() {
        let view = MatrixView::new("x", &[1.0, 2.0, 3.0, 4.0], 2, 2).unwrap();
        assert!(matches!(principal_axes(view, 0), Err(StatsError::OutOfRange { .. })));
        assert!(matches!(principal_axes(view, 3), Err(StatsError::OutOfRange { .. })));
    }
}
