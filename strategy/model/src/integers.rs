//! Weights as integers with a scale per row: 16-bit words and bytes (see [`crate::format`]).
#![deny(clippy::arithmetic_side_effects)]

use crate::format::{Format, Int8, Int16};
use crate::simd::{Block, LANE_COUNT, Simd};

/// A vector as 16-bit integers: `x ≈ scale·word`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    words: &'a [[u16; LANE_COUNT]],
    /// Largest magnitude over the largest word; NaN where an element is not finite, which makes every product NaN.
    scale: f32,
}

/// The largest 16-bit weight.
const WORD_MAX: f32 = 4_095.0;
/// 1.5·2²³: adding it rounds to the nearest integer (ties to even), which then stands in the last 16 bits.
const WORD_ROUNDER: f32 = 12_582_912.0;

/// The largest 16-bit input of a vector of this many blocks: 4,095 times it times the number of inputs is below 2³¹.
const fn input_word_max(blocks: usize) -> f32 {
    match blocks {
        0..=16 => 2_047.0,
        17..=32 => 1_023.0,
        _ => 511.0,
    }
}

impl Format for Int16 {
    type Input<'a> = Words<'a>;
    type Room = [u16; LANE_COUNT];
    const INPUTS_PER_LINE: usize = 2;
    const HEAD_LINES: usize = 1;

    #[inline(always)]
    fn prepare<'a, S: Simd>(s: S, x: &'a [Block], scratch: &'a mut [Self::Room]) -> Words<'a> {
        let (scale, inverse) = scale_of(s, x, input_word_max(x.len()));
        let rounder = s.splat(WORD_ROUNDER);
        debug_assert!(scratch.len() >= x.len(), "room for every block");
        for (block, words) in x.iter().zip(&mut *scratch) {
            s.store_low_words(s.fma(s.load(&block.0), inverse, rounder), words);
        }
        Words { words: scratch.get(..x.len()).unwrap_or_default(), scale }
    }

    #[inline(always)]
    fn input_blocks(x: Words<'_>) -> usize {
        x.words.len()
    }

    /// The number of phases is the backend's affair.
    #[inline(always)]
    fn tile<S: Simd, const W: usize, const T: usize, const P: usize>(
        s: S,
        panel: &[Block],
        first: usize,
        x: Words<'_>,
        init: [S::V; T],
    ) -> [S::V; T] {
        if S::IS_NARROW {
            tile_of_words::<S, W, T, 1>(s, panel, first, x, init)
        } else if T == 4 {
            tile_of_words::<S, W, T, 2>(s, panel, first, x, init)
        } else {
            tile_of_words::<S, W, T, 4>(s, panel, first, x, init)
        }
    }

    #[inline(always)]
    fn tile_shared<S: Simd, const W: usize, const T: usize, const P: usize, const N: usize>(
        s: S,
        panel: &[Block],
        first: usize,
        x: [Words<'_>; N],
        init: [[S::V; T]; N],
    ) -> [[S::V; T]; N] {
        let (lines, _) = panel.as_chunks::<W>();
        let Some((scales, lines)) = lines.split_first() else { return init };
        let mut sums = [[s.zero_i32(); T]; N];
        let (squares, _) = lines.as_chunks::<{ LANE_COUNT / 2 }>();
        for (index, square) in squares.iter().enumerate() {
            let words = x.map(|x| x.words.get(index).unwrap_or(&[0; LANE_COUNT]));
            for (group, line) in square.iter().enumerate() {
                for (words, sums) in words.iter().zip(&mut sums) {
                    let inputs = s.splat_pair(words.as_chunks::<2>().0.get(group).copied().unwrap_or_default());
                    for (block, sum) in line.get(first..).unwrap_or_default().iter().zip(sums) {
                        *sum = s.dot2(*sum, &block.0, inputs);
                    }
                }
            }
        }
        let mut out = init;
        for ((out, sums), x) in out.iter_mut().zip(sums).zip(x) {
            *out = scaled(s, sums, (scales.get(first..).unwrap_or_default(), x.scale), *out);
        }
        out
    }

    fn pack_tile(rows: &[Option<&[f32]>], input_blocks: usize, width: usize, to: &mut Vec<Block>) {
        let rows = integer_rows(rows, width, WORD_MAX);
        let (blocks, _) = rows.as_chunks::<LANE_COUNT>();
        pack_scales(blocks, to);
        for k in (0..input_blocks.saturating_mul(LANE_COUNT)).step_by(2) {
            for block in blocks {
                let word = |row: &IntegerRow| row.bits(k, 0xffff) | (row.bits(k.saturating_add(1), 0xffff) << 16);
                to.push(Block(std::array::from_fn(|lane| f32::from_bits(block.get(lane).map_or(0, word)))));
            }
        }
    }
}

#[inline(always)]
fn tile_of_words<S: Simd, const W: usize, const T: usize, const Q: usize>(
    s: S,
    panel: &[Block],
    first: usize,
    x: Words<'_>,
    init: [S::V; T],
) -> [S::V; T] {
    let (lines, _) = panel.as_chunks::<W>();
    let Some((scales, lines)) = lines.split_first() else { return init };
    let mut sums = [[s.zero_i32(); T]; Q];
    let (squares, _) = lines.as_chunks::<{ LANE_COUNT / 2 }>();
    for (square, words) in squares.iter().zip(x.words) {
        let (groups, _) = square.as_chunks::<Q>();
        let (pairs, _) = words.as_chunks::<2>();
        let (pair_groups, _) = pairs.as_chunks::<Q>();
        for (group, pair_group) in groups.iter().zip(pair_groups) {
            for ((line, pair), sum) in group.iter().zip(pair_group).zip(sums.iter_mut()) {
                let inputs = s.splat_pair(*pair);
                for (block, sum) in line.get(first..).unwrap_or_default().iter().zip(sum.iter_mut()) {
                    *sum = s.dot2(*sum, &block.0, inputs);
                }
            }
        }
    }
    scaled(s, add_integers(s, sums), (scales.get(first..).unwrap_or_default(), x.scale), init)
}

/// The scale of a vector whose largest magnitude is to become `largest`, and its inverse in every lane. The scale is NaN
/// where an element is not finite.
#[inline(always)]
fn scale_of<S: Simd>(s: S, x: &[Block], largest: f32) -> (f32, S::V) {
    let (mut sizes, mut poison) = (s.splat(0.0), s.splat(0.0));
    for block in x {
        let x = s.load(&block.0);
        sizes = s.max(s.abs(x), sizes);
        poison = s.fma(x, s.splat(0.0), poison);
    }
    let magnitude = s.max_lane(sizes);
    let scale = magnitude / largest + s.sum(poison);
    (scale, s.splat(largest / if magnitude > MAGNITUDE_MIN { magnitude } else { MAGNITUDE_MIN }))
}

/// Adds the phases of integer sums.
#[inline(always)]
fn add_integers<S: Simd, const T: usize, const Q: usize>(s: S, sums: [[S::I; T]; Q]) -> [S::I; T] {
    let mut totals = [s.zero_i32(); T];
    for phase in sums {
        for (total, sum) in totals.iter_mut().zip(phase) {
            *total = s.add_i32(*total, sum);
        }
    }
    totals
}

/// `init + sum·(row's scale·vector's scale)`.
#[inline(always)]
fn scaled<S: Simd, const T: usize>(
    s: S,
    sums: [S::I; T],
    (row_scales, scale): (&[Block], f32),
    init: [S::V; T],
) -> [S::V; T] {
    let mut out = init;
    for ((out, sum), row_scales) in out.iter_mut().zip(sums).zip(row_scales) {
        let scale = s.mul(s.load(&row_scales.0), s.splat(scale));
        *out = s.fma(s.to_f32(sum), scale, *out);
    }
    out
}

/// A vector as bytes: `x ≈ scale·(byte − 128)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantised<'a> {
    bytes: &'a [[u8; LANE_COUNT]],
    /// Largest magnitude over 127; NaN where an element is not finite, which makes every product NaN.
    scale: f32,
}

/// 1.5·2²³ + 128: adding it rounds to the nearest integer (ties to even), whose offset form is then the last byte.
const BYTE_ROUNDER: f32 = 12_583_040.0;
/// Vectors below this are zeros.
const MAGNITUDE_MIN: f32 = 1e-30;
/// The largest byte, its offset taken off.
const BYTE_MAX: f32 = 127.0;
const BYTE_OFFSET: i32 = 128;

impl Format for Int8 {
    type Input<'a> = Quantised<'a>;
    type Room = [u8; LANE_COUNT];
    const INPUTS_PER_LINE: usize = 4;
    const HEAD_LINES: usize = 2;

    #[inline(always)]
    fn prepare<'a, S: Simd>(s: S, x: &'a [Block], scratch: &'a mut [Self::Room]) -> Quantised<'a> {
        let (scale, inverse) = scale_of(s, x, BYTE_MAX);
        let rounder = s.splat(BYTE_ROUNDER);
        debug_assert!(scratch.len() >= x.len(), "room for every block");
        for (block, bytes) in x.iter().zip(&mut *scratch) {
            s.store_low_bytes(s.fma(s.load(&block.0), inverse, rounder), bytes);
        }
        Quantised { bytes: scratch.get(..x.len()).unwrap_or_default(), scale }
    }

    #[inline(always)]
    fn input_blocks(x: Quantised<'_>) -> usize {
        x.bytes.len()
    }

    /// The number of phases is the backend's affair: integer sums have no order.
    #[inline(always)]
    fn tile<S: Simd, const W: usize, const T: usize, const P: usize>(
        s: S,
        panel: &[Block],
        first: usize,
        x: Quantised<'_>,
        init: [S::V; T],
    ) -> [S::V; T] {
        if S::IS_NARROW {
            tile_of_bytes::<S, W, T, 1>(s, panel, first, x, init)
        } else if T == 4 {
            tile_of_bytes::<S, W, T, 2>(s, panel, first, x, init)
        } else {
            tile_of_bytes::<S, W, T, 4>(s, panel, first, x, init)
        }
    }

    #[inline(always)]
    fn tile_shared<S: Simd, const W: usize, const T: usize, const P: usize, const N: usize>(
        s: S,
        panel: &[Block],
        first: usize,
        x: [Quantised<'_>; N],
        init: [[S::V; T]; N],
    ) -> [[S::V; T]; N] {
        let (lines, _) = panel.as_chunks::<W>();
        let Some(([scales, corrections], lines)) = lines.split_first_chunk::<2>() else { return init };
        let mut sums = [[s.zero_i32(); T]; N];
        for sums in &mut sums {
            for (sum, correction) in sums.iter_mut().zip(corrections.get(first..).unwrap_or_default()) {
                *sum = s.load_i32(&correction.0);
            }
        }
        let (squares, _) = lines.as_chunks::<{ LANE_COUNT / 4 }>();
        for (index, square) in squares.iter().enumerate() {
            let bytes = x.map(|x| x.bytes.get(index).unwrap_or(&[0; LANE_COUNT]));
            for (group, line) in square.iter().enumerate() {
                for (bytes, sums) in bytes.iter().zip(&mut sums) {
                    let inputs = s.splat_quad(bytes.as_chunks::<4>().0.get(group).copied().unwrap_or_default());
                    for (block, sum) in line.get(first..).unwrap_or_default().iter().zip(sums) {
                        *sum = s.dot4(*sum, &block.0, inputs);
                    }
                }
            }
        }
        let mut out = init;
        for ((out, sums), x) in out.iter_mut().zip(sums).zip(x) {
            *out = scaled(s, sums, (scales.get(first..).unwrap_or_default(), x.scale), *out);
        }
        out
    }

    fn pack_tile(rows: &[Option<&[f32]>], input_blocks: usize, width: usize, to: &mut Vec<Block>) {
        let rows = integer_rows(rows, width, BYTE_MAX);
        let (blocks, _) = rows.as_chunks::<LANE_COUNT>();
        pack_scales(blocks, to);
        for block in blocks {
            let correction = |lane: usize| block.get(lane).map_or(0, IntegerRow::correction);
            to.push(Block(std::array::from_fn(|lane| f32::from_bits(correction(lane).cast_unsigned()))));
        }
        for k in (0..input_blocks.saturating_mul(LANE_COUNT)).step_by(4) {
            for block in blocks {
                let byte = |row: &IntegerRow, index: u8| {
                    row.bits(k.saturating_add(usize::from(index)), 0xff) << u32::from(index).saturating_mul(8)
                };
                let word = |row: &IntegerRow| byte(row, 0) | byte(row, 1) | byte(row, 2) | byte(row, 3);
                to.push(Block(std::array::from_fn(|lane| f32::from_bits(block.get(lane).map_or(0, word)))));
            }
        }
    }
}

#[inline(always)]
fn tile_of_bytes<S: Simd, const W: usize, const T: usize, const Q: usize>(
    s: S,
    panel: &[Block],
    first: usize,
    x: Quantised<'_>,
    init: [S::V; T],
) -> [S::V; T] {
    let (lines, _) = panel.as_chunks::<W>();
    let Some(([scales, corrections], lines)) = lines.split_first_chunk::<2>() else { return init };
    let mut sums = [[s.zero_i32(); T]; Q];
    if let Some(start) = sums.first_mut() {
        for (sum, correction) in start.iter_mut().zip(corrections.get(first..).unwrap_or_default()) {
            *sum = s.load_i32(&correction.0);
        }
    }
    let (squares, _) = lines.as_chunks::<{ LANE_COUNT / 4 }>();
    for (square, bytes) in squares.iter().zip(x.bytes) {
        let (groups, _) = square.as_chunks::<Q>();
        let (quads, _) = bytes.as_chunks::<4>();
        let (quad_groups, _) = quads.as_chunks::<Q>();
        for (group, quad_group) in groups.iter().zip(quad_groups) {
            for ((line, quad), sum) in group.iter().zip(quad_group).zip(sums.iter_mut()) {
                let inputs = s.splat_quad(*quad);
                for (block, sum) in line.get(first..).unwrap_or_default().iter().zip(sum.iter_mut()) {
                    *sum = s.dot4(*sum, &block.0, inputs);
                }
            }
        }
    }
    scaled(s, add_integers(s, sums), (scales.get(first..).unwrap_or_default(), x.scale), init)
}

/// A row of weights as integers.
struct IntegerRow {
    scale: f32,
    integers: Vec<i32>,
}

impl IntegerRow {
    fn of(row: &[f32], most: f32) -> Self {
        let largest = row.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
        let scale = largest / most;
        let integer = |w: &f32| if scale > 0.0 { round_to_integer(w / scale, most) } else { 0 };
        Self { scale, integers: row.iter().map(integer).collect() }
    }

    /// What takes the inputs' offset off the sum of bytes: −128·Σ q.
    fn correction(&self) -> i32 {
        self.integers.iter().fold(0_i32, |sum, q| sum.wrapping_sub(q.wrapping_mul(BYTE_OFFSET)))
    }

    /// The low bits of the integer for input `k`.
    fn bits(&self, k: usize, mask: u32) -> u32 {
        self.integers.get(k).map_or(0, |q| q.cast_unsigned() & mask)
    }
}

/// The rows of a tile, those that are missing as zeros.
fn integer_rows(rows: &[Option<&[f32]>], width: usize, most: f32) -> Vec<IntegerRow> {
    let row = |index: usize| rows.get(index).copied().flatten().unwrap_or_default();
    (0..width.saturating_mul(LANE_COUNT)).map(|index| IntegerRow::of(row(index), most)).collect()
}

fn pack_scales(blocks: &[[IntegerRow; LANE_COUNT]], to: &mut Vec<Block>) {
    for block in blocks {
        to.push(Block(std::array::from_fn(|lane| block.get(lane).map_or(0.0, |row| row.scale))));
    }
}

/// The nearest integer within ±`most`, ties to even.
fn round_to_integer(x: f32, most: f32) -> i32 {
    let bits = (x.clamp(-most, most) + WORD_ROUNDER).to_bits();
    bits.wrapping_sub(WORD_ROUNDER.to_bits()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Backend, Kernel};
    use crate::simd::Task;

    /// `dot4` alone, with the extremes of bytes: where a 16-bit sum saturates this differs.
    struct Dot([u8; 4], i8);

    impl Task for Dot {
        type Output = [f32; LANE_COUNT];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let word = f32::from_bits(u32::from_le_bytes([self.1.cast_unsigned(); 4]));
            let sum = s.dot4(s.zero_i32(), &[word; LANE_COUNT], s.splat_quad(self.0));
            let mut out = [0.0; LANE_COUNT];
            s.store(s.to_f32(sum), &mut out);
            out
        }
    }

    /// `dot2` alone.
    struct DotOfWords([i16; 2], [i16; 2]);

    impl Task for DotOfWords {
        type Output = [f32; LANE_COUNT];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let [w0, w1] = self.1.map(|w| u32::from(w.cast_unsigned()));
            let line = [f32::from_bits(w0 | (w1 << 16)); LANE_COUNT];
            let sum = s.dot2(s.zero_i32(), &line, s.splat_pair(self.0.map(i16::cast_unsigned)));
            let mut out = [0.0; LANE_COUNT];
            s.store(s.to_f32(sum), &mut out);
            out
        }
    }

    #[test]
    fn products_of_extreme_words_are_exact() {
        for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
            for kernel in [kernel, kernel.without_vnni()] {
                for weights in [[4_095, -4_095], [-4_095, -4_095], [1, 0], [0, -1]] {
                    for inputs in [[2_047, -2_047], [-2_047, -2_047], [3, 5], [-7, 11]] {
                        let exact: i32 = weights.iter().zip(inputs).map(|(w, x)| i32::from(*w) * i32::from(x)).sum();
                        let got = kernel.dispatch_integers(DotOfWords(inputs, weights));
                        assert_eq!(got, [exact as f32; LANE_COUNT], "{weights:?} {inputs:?} {:?}", kernel.backend());
                    }
                }
            }
        }
    }

    /// A sum of as many extreme products as any layer may have stays within 32 bits.
    #[test]
    fn the_largest_sums_fit() {
        for blocks in [1_u16, 16, 17, 32, 33, 64] {
            let most = f64::from(WORD_MAX) * f64::from(input_word_max(usize::from(blocks))) * 16.0 * f64::from(blocks);
            assert!(most < f64::from(i32::MAX), "{blocks}");
        }
    }

    #[test]
    fn products_of_extreme_bytes_do_not_saturate() {
        for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
            for kernel in [kernel, kernel.without_vnni()] {
                for weight in [-127_i8, -1, 0, 1, 127] {
                    for bytes in [[255; 4], [0; 4], [1, 255, 128, 0], [255, 0, 0, 255]] {
                        let exact: i32 = bytes.iter().map(|byte| i32::from(*byte) * i32::from(weight)).sum();
                        let got = kernel.dispatch_integers(Dot(bytes, weight));
                        assert_eq!(got, [exact as f32; LANE_COUNT], "{weight} {bytes:?} {:?}", kernel.backend());
                    }
                }
            }
        }
    }
}
