//! The robust scaler: median and interquartile range, as scikit-learn's `RobustScaler`.

use serde::{Deserialize, Serialize};

use crate::error::{StatsError, check_count, check_finite, check_len};
use crate::matrix::{Matrix, MatrixView};
use crate::quantile::quantiles_in_place;

/// Per column `z = (x − center) / scale`, fitted on the training fold alone and then applied unchanged.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RobustScaler {
    /// Median of each column, in the column's unit.
    pub center: Vec<f64>,
    /// 75 % less 25 % [`quantile`](crate::quantile) of each column, > 0: a range of 0 becomes 1.
    pub scale: Vec<f64>,
}

impl RobustScaler {
    /// Fits every column.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without a row.
    pub fn fit(x: MatrixView<'_>) -> Result<Self, StatsError> {
        check_count("x", x.rows(), 1)?;
        let fitted: Result<Vec<_>, _> = (0..x.cols()).map(|col| Self::fit_in_place(&mut x.column(col))).collect();
        let (center, scale) = fitted?.into_iter().unzip();
        Ok(Self { center, scale })
    }

    /// Center and scale of one column, for callers that hold columns apart. Reorders the values.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without a value, [`StatsError::NonFinite`].
    pub fn fit_in_place(column: &mut [f64]) -> Result<(f64, f64), StatsError> {
        check_finite("column", column)?;
        let found = quantiles_in_place(column, &[0.25, 0.5, 0.75])?;
        let range = found[2] - found[0];
        Ok((found[1], if range == 0.0 { 1.0 } else { range }))
    }

    /// The scaled table.
    ///
    /// # Errors
    /// [`StatsError::Length`] when the columns are not those fitted.
    pub fn transform(&self, x: MatrixView<'_>) -> Result<Matrix, StatsError> {
        check_len("columns of x", x.cols(), self.center.len())?;
        let mut out = Matrix { data: x.data().to_vec(), rows: x.rows(), cols: x.cols() };
        out.data.chunks_exact_mut(x.cols()).for_each(|row| self.transform_row(row));
        Ok(out)
    }

    /// Scales one row in place; what is beyond the fitted columns stays as it is.
    pub fn transform_row(&self, row: &mut [f64]) {
        let fitted = self.center.iter().zip(&self.scale);
        row.iter_mut().zip(fitted).for_each(|(x, (center, scale))| *x = (*x - center) / scale);
    }

    /// Undoes [`transform_row`](Self::transform_row).
    pub fn inverse_row(&self, row: &mut [f64]) {
        let fitted = self.center.iter().zip(&self.scale);
        row.iter_mut().zip(fitted).for_each(|(x, (center, scale))| *x = *x * scale + center);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_constant_column_is_centred_and_not_scaled() {
        let x = [5.0, 1.0, 5.0, 2.0, 5.0, 4.0];
        let x = MatrixView::new("x", &x, 3, 2).unwrap();
        let scaler = RobustScaler::fit(x).unwrap();
        assert_eq!((scaler.center[0], scaler.scale[0]), (5.0, 1.0));
        assert_eq!(scaler.transform(x).unwrap().row(0)[0], 0.0);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(RobustScaler::fit(MatrixView::new("x", &[], 0, 2).unwrap()), Err(StatsError::TooFew { .. })));
        assert!(matches!(RobustScaler::fit_in_place(&mut [1.0, f64::NAN]), Err(StatsError::NonFinite { .. })));
        let scaler = RobustScaler { center: vec![0.0], scale: vec![1.0] };
        let x = MatrixView::new("x", &[1.0, 2.0], 1, 2).unwrap();
        assert!(matches!(scaler.transform(x), Err(StatsError::Length { got: 2, expected: 1, .. })));
    }

    proptest! {
        #[test]
        fn scaled_columns_have_median_0_and_range_1(x in prop::collection::vec(-1e3..1e3_f64, 8..40)) {
            let view = MatrixView::new("x", &x, x.len(), 1).unwrap();
            let scaler = RobustScaler::fit(view).unwrap();
            let scaled = scaler.transform(view).unwrap();
            let again = RobustScaler::fit(scaled.view("scaled").unwrap()).unwrap();
            prop_assert!(again.center[0].abs() < 1e-9);
            prop_assert!((again.scale[0] - 1.0).abs() < 1e-9);
            let mut back = scaled.data.clone();
            back.chunks_exact_mut(1).for_each(|row| scaler.inverse_row(row));
            prop_assert!(back.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }
}
