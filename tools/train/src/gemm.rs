//! Matrix products for the recurrent cores, by faer (on one thread: the order of the sums, and so every bit, is fixed).

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::real::Real;

/// The left factor: a row-major matrix, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a, T> {
    data: &'a [T],
    columns: usize,
    is_transposed: bool,
}

impl<'a, T> Left<'a, T> {
    /// A row-major matrix of `columns` columns.
    pub(crate) fn rows(data: &'a [T], columns: usize) -> Self {
        Self { data, columns, is_transposed: false }
    }

    /// The transpose of a row-major matrix of `columns` columns.
    pub(crate) fn transposed(data: &'a [T], columns: usize) -> Self {
        Self { data, columns, is_transposed: true }
    }
}

/// `c = a·b`, or `c += a·b` when `accumulate`. Shape (m, k, n); `b` [k, n] and `c` [m, n] row-major.
pub(crate) fn gemm<T: Real>(shape: (usize, usize, usize), a: Left<'_, T>, b: &[T], c: &mut [T], accumulate: bool) {
    T::multiply(shape, a, b, c, accumulate);
}

macro_rules! multiply {
    ($name:ident, $float:ty) => {
        pub(crate) fn $name(
            (m, k, n): (usize, usize, usize),
            a: Left<'_, $float>,
            b: &[$float],
            c: &mut [$float],
            accumulate: bool,
        ) {
            let stored = MatRef::from_row_major_slice(a.data, a.data.len() / a.columns.max(1), a.columns);
            let left = if a.is_transposed { stored.transpose() } else { stored };
            debug_assert_eq!((left.nrows(), left.ncols()), (m, k));
            let accumulate = if accumulate { Accum::Add } else { Accum::Replace };
            let right = MatRef::from_row_major_slice(b, k, n);
            matmul(MatMut::from_row_major_slice_mut(c, m, n), accumulate, left, right, 1.0, Par::Seq);
        }
    };
}

multiply!(multiply_f32, f32);
multiply!(multiply_f64, f64);

/// The transpose of a row-major matrix of `columns` columns.
pub(crate) fn transpose<T: Real>(data: &[T], columns: usize) -> Vec<T> {
    let rows = data.len() / columns.max(1);
    let mut to = Vec::with_capacity(data.len());
    for column in 0..columns {
        to.extend((0..rows).map(|row| data[row * columns + column]));
    }
    to
}

/// Adds each of `rows` (of `sums.len()` columns) to `sums`, first to last.
#[inline(always)]
pub(crate) fn add_rows<T: Real>(rows: &[T], sums: &mut [T]) {
    for row in rows.chunks_exact(sums.len().max(1)) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += *x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(index: usize) -> f64 {
        f64::from(u32::try_from(index * 7_919 % 1_009).unwrap()) / 500.0 - 1.0
    }

    #[test]
    fn every_shape_gives_the_naive_product_plain_transposed_and_added() {
        for (m, k, n) in [(1, 1, 1), (4, 3, 16), (5, 7, 21), (9, 2, 38), (3, 5, 6)] {
            let a: Vec<f64> = (0..m * k).map(value).collect();
            let b: Vec<f64> = (0..k * n).map(|index| value(index + 13)).collect();
            for accumulate in [false, true] {
                let mut c = vec![0.5; m * n];
                gemm((m, k, n), Left::rows(&a, k), &b, &mut c, accumulate);
                let mut d = vec![0.5; m * n];
                let flipped = transpose(&a, k);
                gemm((m, k, n), Left::transposed(&flipped, m), &b, &mut d, accumulate);
                for row in 0..m {
                    for column in 0..n {
                        let start = if accumulate { 0.5 } else { 0.0 };
                        let naive: f64 = (0..k).map(|p| a[row * k + p] * b[p * n + column]).sum::<f64>() + start;
                        assert!((c[row * n + column] - naive).abs() < 1e-12);
                        assert!((d[row * n + column] - naive).abs() < 1e-12);
                    }
                }
            }
        }
    }
}
