//! Tables of numbers: a checked view, and the owned form that estimators return.

use crate::error::{StatsError, check_finite, check_len, check_range};

/// A row-major table of finite numbers: one row per observation, one column per variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatrixView<'a> {
    data: &'a [f64],
    rows: usize,
    cols: usize,
}

impl<'a> MatrixView<'a> {
    /// A view of `rows * cols` numbers (`cols` ≥ 1; no row at all is allowed). `what` names the table in errors.
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] when `cols` is 0, [`StatsError::Length`] when the data are not `rows * cols` numbers,
    /// [`StatsError::NonFinite`] (with the index into `data`) when one is NaN or infinite.
    pub fn new(what: &'static str, data: &'a [f64], rows: usize, cols: usize) -> Result<Self, StatsError> {
        check_range(what, cols as f64, |cols| cols >= 1.0, "at least one column")?;
        check_len(what, data.len(), rows.saturating_mul(cols))?;
        check_finite(what, data)?;
        Ok(Self { data, rows, cols })
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, ≥ 1.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All numbers, row by row.
    #[must_use]
    pub fn data(&self) -> &'a [f64] {
        self.data
    }

    /// One row. Panics beyond the last one, as a slice does.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [f64] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// The rows in order.
    pub fn iter_rows(&self) -> impl ExactSizeIterator<Item = &'a [f64]> + use<'a> {
        self.data.chunks_exact(self.cols)
    }

    /// A copy of one column. Panics beyond the last one, as a slice does.
    #[must_use]
    pub fn column(&self, col: usize) -> Vec<f64> {
        assert!(col < self.cols, "column {col} of {}", self.cols);
        self.data.iter().skip(col).step_by(self.cols).copied().collect()
    }

    /// Mean of each column; NaN when there is no row.
    #[must_use]
    pub fn column_means(&self) -> Vec<f64> {
        let mut means = vec![0.0; self.cols];
        for row in self.iter_rows() {
            means.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
        }
        means.iter_mut().for_each(|mean| *mean /= self.rows as f64);
        means
    }
}

/// An owned row-major table. Estimators return it; its numbers may be NaN where their definition says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// All numbers, row by row.
    pub data: Vec<f64>,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
}

impl Matrix {
    /// A table of zeros.
    #[must_use]
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { data: vec![0.0; rows * cols], rows, cols }
    }

    /// One row. Panics beyond the last one, as a slice does.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// One row, to be written. Panics beyond the last one, as a slice does.
    #[must_use]
    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// A checked view; `what` names the table in errors.
    ///
    /// # Errors
    /// As [`MatrixView::new`].
    pub fn view(&self, what: &'static str) -> Result<MatrixView<'_>, StatsError> {
        MatrixView::new(what, &self.data, self.rows, self.cols)
    }
}
