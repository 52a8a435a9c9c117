//! Small matrix products for the recurrent cores: tiles of four rows by sixteen columns that the compiler keeps in vector
//! registers. Everything here is inlined into the caller, so that it is compiled for the instructions that the caller's
//! dispatch has found; a library call per time step would cost more than the product itself.

use crate::real::Real;

/// The left factor: element (i, p) is `data[i · row_stride + p · column_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a, T> Left<'a, T> {
    /// A row-major matrix of `columns` columns.
    #[inline(always)]
    pub(crate) fn rows(data: &'a [T], columns: usize) -> Self {
        Self { data, row_stride: columns, column_stride: 1 }
    }

    /// The transpose of a row-major matrix of `columns` columns.
    #[inline(always)]
    pub(crate) fn transposed(data: &'a [T], columns: usize) -> Self {
        Self { data, row_stride: 1, column_stride: columns }
    }
}

/// `c = a·b`, or `c += a·b` when `accumulate`. Shape (m, k, n); `b` [k, n] and `c` [m, n] row-major.
#[inline(always)]
pub(crate) fn gemm<T: Real>((m, k, n): (usize, usize, usize), a: Left<'_, T>, b: &[T], c: &mut [T], accumulate: bool) {
    let mut column = 0;
    while column + 16 <= n {
        rows_of_tiles::<T, 16>((m, k, n), a, b, c, (column, accumulate));
        column += 16;
    }
    while column + 4 <= n {
        rows_of_tiles::<T, 4>((m, k, n), a, b, c, (column, accumulate));
        column += 4;
    }
    while column < n {
        rows_of_tiles::<T, 1>((m, k, n), a, b, c, (column, accumulate));
        column += 1;
    }
}

#[inline(always)]
fn rows_of_tiles<T: Real, const N: usize>(
    (m, k, n): (usize, usize, usize),
    a: Left<'_, T>,
    b: &[T],
    c: &mut [T],
    (column, accumulate): (usize, bool),
) {
    let mut row = 0;
    while row + 4 <= m {
        tile::<T, 4, N>((k, n), a, b, c, (row, column, accumulate));
        row += 4;
    }
    while row < m {
        tile::<T, 1, N>((k, n), a, b, c, (row, column, accumulate));
        row += 1;
    }
}

#[inline(always)]
fn tile<T: Real, const M: usize, const N: usize>(
    (k, n): (usize, usize),
    a: Left<'_, T>,
    b: &[T],
    c: &mut [T],
    (row, column, accumulate): (usize, usize, bool),
) {
    let mut sums = [[T::ZERO; N]; M];
    if accumulate {
        for (i, sums) in sums.iter_mut().enumerate() {
            let start = (row + i) * n + column;
            sums.copy_from_slice(&c[start..start + N]);
        }
    }
    for p in 0..k {
        let start = p * n + column;
        let Some(right) = b[start..].first_chunk::<N>() else { return };
        let left = row * a.row_stride + p * a.column_stride;
        for (i, sums) in sums.iter_mut().enumerate() {
            let left = a.data[left + i * a.row_stride];
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = left.fused(*right, *sum);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let start = (row + i) * n + column;
        c[start..start + N].copy_from_slice(sums);
    }
}

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
    fn every_shape_of_tile_gives_the_naive_product() {
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
