//! Matrix times vector, by columns: broadcast one input, multiply it into a row of outputs.
//!
//! A panel holds the weights of a tile of outputs (1, 2, 3, 4 or 6 blocks wide) in the order in which they are read:
//! for each input k, the tile's blocks. No sum crosses lanes, so that the order of additions of one output is the same in
//! every backend: inputs k ≡ p modulo the number of phases are added up in order in phase p, phase 0 starting
//! from the initial value and the others from zero; then phases are added in pairs, neighbours first.
#![deny(clippy::arithmetic_side_effects)]

use crate::simd::{Block, LANE_COUNT, Simd};

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

/// One tile: `T` of the `W` blocks of each row, from block `first`, over `P` phases.
#[inline(always)]
pub(crate) fn tile<S: Simd, const W: usize, const T: usize, const P: usize>(
    s: S,
    panel: &[Block],
    first: usize,
    x: &[Block],
    init: [S::V; T],
) -> [S::V; T] {
    let mut sums = [[s.splat(0.0); T]; P];
    if let Some(start) = sums.first_mut() {
        *start = init;
    }
    let (rows, _) = panel.as_chunks::<W>();
    let (squares, _) = rows.as_chunks::<LANE_COUNT>();
    for (square, inputs) in squares.iter().zip(x) {
        let (groups, _) = square.as_chunks::<P>();
        let (input_groups, _) = inputs.0.as_chunks::<P>();
        for (group, input_group) in groups.iter().zip(input_groups) {
            for ((row, input), sum) in group.iter().zip(input_group).zip(sums.iter_mut()) {
                let input = s.splat(*input);
                for (block, sum) in row.get(first..).unwrap_or_default().iter().zip(sum.iter_mut()) {
                    *sum = s.fma(input, s.load(&block.0), *sum);
                }
            }
        }
    }
    add_phases(s, sums)
}

/// Adds the phases in pairs, neighbours first.
#[inline(always)]
fn add_phases<S: Simd, const T: usize, const P: usize>(s: S, mut sums: [[S::V; T]; P]) -> [S::V; T] {
    let mut distance = 1;
    while distance < P {
        let (pairs, step) = (sums.as_mut_slice(), distance.wrapping_mul(2));
        for pair in pairs.chunks_exact_mut(step) {
            let (left, right) = pair.split_at_mut(distance);
            if let (Some(left), Some(right)) = (left.first_mut(), right.first()) {
                for (a, b) in left.iter_mut().zip(right) {
                    *a = s.add(*a, *b);
                }
            }
        }
        distance = step;
    }
    match sums.first() {
        Some(total) => *total,
        None => [s.splat(0.0); T],
    }
}

/// `out = init + W·x` for a layer packed by [`pack_dense`]: 8, 4 or 2 phases for tiles of 1, 2 or 4 blocks.
#[inline(always)]
pub(crate) fn dense<S: Simd>(s: S, panels: &[Block], x: &[Block], init: &[Block], out: &mut [Block]) {
    match tile_width(out.len()) {
        4 => dense_by_four(s, panels, x, init, out),
        2 => dense_by::<S, 2, 4>(s, panels, x, init, out),
        _ => dense_by::<S, 1, 8>(s, panels, x, init, out),
    }
}

#[inline(always)]
fn dense_by<S: Simd, const T: usize, const P: usize>(
    s: S,
    panels: &[Block],
    x: &[Block],
    init: &[Block],
    out: &mut [Block],
) {
    let panel_len = x.len().wrapping_mul(LANE_COUNT).wrapping_mul(T);
    let (init, _) = init.as_chunks::<T>();
    let (out, _) = out.as_chunks_mut::<T>();
    for ((panel, init), out) in panels.chunks_exact(panel_len).zip(init).zip(out) {
        let sums = tile::<S, T, T, P>(s, panel, 0, x, load_all(s, init));
        store_all(s, sums, out);
    }
}

/// A tile of four blocks over two phases; a narrow backend works it in halves, which changes no output's order of additions.
#[inline(always)]
pub(crate) fn tile_of_four<S: Simd>(s: S, panel: &[Block], x: &[Block], init: [S::V; 4]) -> [S::V; 4] {
    if !S::IS_NARROW {
        return tile::<S, 4, 4, 2>(s, panel, 0, x, init);
    }
    let [i0, i1, i2, i3] = init;
    let [o0, o1] = tile::<S, 4, 2, 2>(s, panel, 0, x, [i0, i1]);
    let [o2, o3] = tile::<S, 4, 2, 2>(s, panel, 2, x, [i2, i3]);
    [o0, o1, o2, o3]
}

#[inline(always)]
fn dense_by_four<S: Simd>(s: S, panels: &[Block], x: &[Block], init: &[Block], out: &mut [Block]) {
    let panel_len = x.len().wrapping_mul(LANE_COUNT).wrapping_mul(4);
    let (init, _) = init.as_chunks::<4>();
    let (out, _) = out.as_chunks_mut::<4>();
    for ((panel, init), out) in panels.chunks_exact(panel_len).zip(init).zip(out) {
        let sums = tile_of_four(s, panel, x, load_all(s, init));
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
pub(crate) fn pack_dense(rows: &Rows<'_>, input_blocks: usize, to: &mut Vec<Block>) {
    pack_tiles(rows, input_blocks, tile_width(crate::size::blocks(rows.len())), to);
}

/// Packs `rows` in tiles of `width` blocks.
pub(crate) fn pack_tiles(rows: &Rows<'_>, input_blocks: usize, width: usize, to: &mut Vec<Block>) {
    for tile in rows.chunks(width.saturating_mul(LANE_COUNT)) {
        for k in 0..input_blocks.saturating_mul(LANE_COUNT) {
            for block in 0..width {
                let mut lanes = Block::ZERO;
                let block_rows = tile.iter().skip(block.saturating_mul(LANE_COUNT));
                for (lane, row) in lanes.0.iter_mut().zip(block_rows) {
                    *lane = row.and_then(|row| row.get(k)).copied().unwrap_or(0.0);
                }
                to.push(lanes);
            }
        }
    }
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
