//! Covariance and Pearson's correlation.

use crate::descriptive::mean;
use crate::error::{StatsError, check_count, check_finite, check_len};
use crate::matrix::{Matrix, MatrixView};

/// Pearson's correlation `Σ dx dy / √(Σ dx² Σ dy²)`, −1..=1; NaN when a side is constant.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values, [`StatsError::Length`], [`StatsError::NonFinite`].
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64, StatsError> {
    check_count("x", x.len(), 2)?;
    check_len("y", y.len(), x.len())?;
    check_finite("x", x)?;
    check_finite("y", y)?;
    let (mean_x, mean_y) = (mean(x)?, mean(y)?);
    if is_constant(x) || is_constant(y) {
        return Ok(f64::NAN);
    }
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    // √xx·√yy and not √(xx·yy), which under- or overflows for extreme units.
    Ok((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Pearson's correlation of each column of `x` (rows of the result) with each column of `y`; NaN where one is constant.
///
/// # Errors
/// As [`pearson`].
pub fn cross_correlation(x: MatrixView<'_>, y: MatrixView<'_>) -> Result<Matrix, StatsError> {
    check_len("rows of y", y.rows(), x.rows())?;
    let columns: Vec<Vec<f64>> = (0..y.cols()).map(|col| y.column(col)).collect();
    let mut out = Matrix::zeros(x.cols(), y.cols());
    for row in 0..x.cols() {
        let column = x.column(row);
        for (cell, other) in out.row_mut(row).iter_mut().zip(&columns) {
            *cell = pearson(&column, other)?;
        }
    }
    Ok(out)
}

/// [`cross_correlation`] of a table with itself: symmetric, with a diagonal of ones (NaN for a constant column).
///
/// # Errors
/// As [`pearson`].
pub fn correlation_matrix(x: MatrixView<'_>) -> Result<Matrix, StatsError> {
    cross_correlation(x, x)
}

/// Covariance of the columns, with divisor n − 1.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 rows.
pub fn covariance_matrix(x: MatrixView<'_>) -> Result<Matrix, StatsError> {
    check_count("rows of x", x.rows(), 2)?;
    let (means, cols) = (x.column_means(), x.cols());
    let mut out = Matrix::zeros(cols, cols);
    let mut centred = vec![0.0; cols];
    for row in x.iter_rows() {
        centred.iter_mut().zip(row).zip(&means).for_each(|((out, x), mean)| *out = x - mean);
        for (i, a) in centred.iter().enumerate() {
            let cells = out.data[i * cols..=i * cols + i].iter_mut();
            cells.zip(&centred).for_each(|(cell, b)| *cell += a * b);
        }
    }
    for i in 0..cols {
        for j in 0..=i {
            let value = out.data[i * cols + j] / (x.rows() - 1) as f64;
            out.data[i * cols + j] = value;
            out.data[j * cols + i] = value;
        }
    }
    Ok(out)
}

pub(crate) fn is_constant(x: &[f64]) -> bool {
    x.windows(2).all(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        assert!((pearson(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]).unwrap() - 1.0).abs() < 1e-15);
        assert!((pearson(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]).unwrap() + 1.0).abs() < 1e-15);
        assert!(pearson(&[1.0, 2.0], &[0.1, 0.1]).unwrap().is_nan());
        assert!(matches!(pearson(&[1.0, f64::NAN], &[1.0, 2.0]), Err(StatsError::NonFinite { what: "x", .. })));
        assert!(matches!(pearson(&[1.0, 2.0], &[1.0]), Err(StatsError::Length { .. })));
    }

    proptest! {
        #[test]
        fn invariant_to_shift_and_scale(x in prop::collection::vec((-1.0..1.0_f64, -1.0..1.0_f64), 3..30), a in 0.1..9.0_f64) {
            let (x, y): (Vec<f64>, Vec<f64>) = x.into_iter().unzip();
            let moved: Vec<f64> = y.iter().map(|y| 3.0 - a * y).collect();
            let (plain, negated) = (pearson(&x, &y).unwrap(), pearson(&x, &moved).unwrap());
            prop_assert!((plain + negated).abs() < 1e-9);
        }
    }
}
