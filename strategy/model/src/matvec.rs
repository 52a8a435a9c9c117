//! Matrix times vector, by columns: broadcast one input, multiply it into a row of outputs.
//!
//! A panel holds the weights of a tile of outputs (1, 2, 3 or 4 blocks wide) in the order in which they are read, in one of
//! the [formats](crate::format). No sum crosses lanes, so that the order of additions of one output is the same in
//! every backend: inputs k ≡ p modulo the number of phases are added up in order in phase p, phase 0 starting
//! from the initial value and the others from zero; then phases are added in pairs, neighbours first.
#![deny(clippy::arithmetic_side_effects)]

use crate::format::{Format, pack_tiles};
use crate::simd::{Block, LANE_COUNT, Simd};
use crate::size::matrix_blocks;

/// How many blocks a tile of a dense layer of `output_blocks` is wide.
pub(crate) const fn tile_width(output_blocks: usize) -> usize {
    if output_blocks.is_multiple_of(4) {
        4
    } else if output_blocks.is_multiple_of(2) {
        2
    } else {
        1
    }
}

/// `out = init + W·x` for a layer packed by [`pack_dense`]: 8, 4 or 2 phases for tiles of 1, 2 or 4 blocks.
#[inline(always)]
pub(crate) fn dense<S: Simd, F: Format>(s: S, panels: &[Block], x: F::Input<'_>, init: &[Block], out: &mut [Block]) {
    match tile_width(out.len()) {
        4 => dense_by_four::<S, F>(s, panels, x, init, out),
        2 => dense_by::<S, F, 2, 4>(s, panels, x, init, out),
        _ => dense_by::<S, F, 1, 8>(s, panels, x, init, out),
    }
}

#[inline(always)]
fn dense_by<S: Simd, F: Format, const T: usize, const P: usize>(
    s: S,
    panels: &[Block],
    x: F::Input<'_>,
    init: &[Block],
    out: &mut [Block],
) {
    let panel_len = matrix_blocks::<F>(T, F::input_blocks(x));
    let (init, _) = init.as_chunks::<T>();
    let (out, _) = out.as_chunks_mut::<T>();
    for ((panel, init), out) in panels.chunks_exact(panel_len.max(1)).zip(init).zip(out) {
        let sums = F::tile::<S, T, T, P>(s, panel, 0, x, load_all(s, init));
        store_all(s, sums, out);
    }
}

/// A tile of four blocks over two phases; a narrow backend works it in halves, which changes no output's order of additions.
#[inline(always)]
pub(crate) fn tile_of_four<S: Simd, F: Format>(s: S, panel: &[Block], x: F::Input<'_>, init: [S::V; 4]) -> [S::V; 4] {
    if !S::IS_NARROW {
        return F::tile::<S, 4, 4, 2>(s, panel, 0, x, init);
    }
    let [i0, i1, i2, i3] = init;
    let [o0, o1] = F::tile::<S, 4, 2, 2>(s, panel, 0, x, [i0, i1]);
    let [o2, o3] = F::tile::<S, 4, 2, 2>(s, panel, 2, x, [i2, i3]);
    [o0, o1, o2, o3]
}

#[inline(always)]
fn dense_by_four<S: Simd, F: Format>(s: S, panels: &[Block], x: F::Input<'_>, init: &[Block], out: &mut [Block]) {
    let panel_len = matrix_blocks::<F>(4, F::input_blocks(x));
    let (init, _) = init.as_chunks::<4>();
    let (out, _) = out.as_chunks_mut::<4>();
    for ((panel, init), out) in panels.chunks_exact(panel_len.max(1)).zip(init).zip(out) {
        let sums = tile_of_four::<S, F>(s, panel, x, load_all(s, init));
        store_all(s, sums, out);
    }
}

#[inline(always)]
pub(crate) fn load_all<S: Simd, const T: usize>(s: S, from: &[Block; T]) -> [S::V; T] {
    let mut to = [s.splat(0.0); T];
    for (v, block) in to.iter_mut().zip(from) {
        *v = s.load(&block.0);
    }
    to
}

#[inline(always)]
pub(crate) fn store_all<S: Simd, const T: usize>(s: S, from: [S::V; T], to: &mut [Block; T]) {
    for (v, block) in from.into_iter().zip(to) {
        s.store(v, &mut block.0);
    }
}

/// A matrix as rows of outputs, whatever their order in the file: `None` is a row of zeros (padding).
pub(crate) type Rows<'a> = Vec<Option<&'a [f32]>>;

/// Packs a layer for [`dense`]. Rows are padded to whole blocks, columns to `input_blocks`.
pub(crate) fn pack_dense<F: Format>(rows: &Rows<'_>, input_blocks: usize, to: &mut Vec<Block>) {
    pack_tiles::<F>(rows, input_blocks, tile_width(crate::size::blocks(rows.len())), to);
}

/// Packs a vector, padded with zeros to `block_count` blocks.
pub(crate) fn pack_vector(values: &[f32], block_count: usize, to: &mut Vec<Block>) {
    let (whole, rest) = values.as_chunks::<LANE_COUNT>();
    let mut last = Block::ZERO;
    for (lane, value) in last.0.iter_mut().zip(rest) {
        *lane = *value;
    }
    let blocks = whole.iter().map(|lanes| Block(*lanes)).chain((!rest.is_empty()).then_some(last));
    to.extend(blocks.chain(std::iter::repeat(Block::ZERO)).take(block_count));
}
