//! How weights are kept: 32-bit floats, 16-bit integers, or bytes; integers with a scale per row.
//!
//! A panel is a tile of outputs `W` blocks wide. Line after line it holds, for each input (two inputs for 16-bit integers,
//! four for bytes), the tile's blocks. A panel of integers starts with its rows' scales, one of bytes then has its offset
//! corrections.
//!
//! - **16-bit integers**: `w ≈ scale·q`, q in −4095..4095 and a scale per row; inputs likewise with one scale per vector, q in
//!   −2047..2047 (fewer for more than 256 inputs), so that a sum of all products fits 32 bits and is exact. Chosen over the
//!   16-bit floats: half as many instructions as with f32 (VPDPWSSD, or PMADDWD) where binary16 needs twice as many,
//!   its widening included (`observe` of a `small` network took 390 ns, with f32 out of the first cache 196), and bfloat16, eight
//!   times coarser, flipped 0.2 to 0.4 % of the decisions of seeded networks.
//! - **bytes**: q in −127..127; inputs are kept with an offset of 128 because VNNI multiplies unsigned by signed.
//!
//! Integer sums have no order: every backend may add them up in its own.
#![deny(clippy::arithmetic_side_effects)]

use serde::{Deserialize, Serialize};

use crate::matvec::Rows;
use crate::simd::{Block, LANE_COUNT, Simd};

/// How a model's weights are kept in memory. Files hold 32-bit floats.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats, the reference.
    #[default]
    F32,
    /// 16-bit weights and inputs with exact integer sums; heads and biases stay 32-bit floats.
    Int16,
    /// The GRU's recurrent matrix and its inputs in 8 bits; the other weights as for [`Int16`](Self::Int16), because that is
    /// where bytes cost decisions.
    Int8,
}

impl Precision {
    /// All precisions, most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Int16, Self::Int8];

    /// The name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
        }
    }
}

/// One way of keeping weights.
pub(crate) trait Format {
    /// A vector of inputs in the form in which it meets the weights.
    type Input<'a>: Copy;
    /// Room for one block of such a vector.
    type Room: Copy + Default;
    /// Inputs whose weights share a line.
    const INPUTS_PER_LINE: usize;
    /// Lines before a panel's weights, per block of outputs.
    const HEAD_LINES: usize;

    /// Brings `x` into form; `scratch` must be as long as `x`.
    fn prepare<'a, S: Simd>(s: S, x: &'a [Block], scratch: &'a mut [Self::Room]) -> Self::Input<'a>;

    /// Blocks of a vector.
    fn input_blocks(x: Self::Input<'_>) -> usize;

    /// `T` of the `W` blocks of a panel, from block `first`, times `x`, plus `init`, over `P` phases.
    fn tile<S: Simd, const W: usize, const T: usize, const P: usize>(
        s: S,
        panel: &[Block],
        first: usize,
        x: Self::Input<'_>,
        init: [S::V; T],
    ) -> [S::V; T];

    /// [`tile`](Self::tile) of `N` instruments with every sum in a register: each weight is fetched once for all.
    fn tile_shared<S: Simd, const W: usize, const T: usize, const P: usize, const N: usize>(
        s: S,
        panel: &[Block],
        first: usize,
        x: [Self::Input<'_>; N],
        init: [[S::V; T]; N],
    ) -> [[S::V; T]; N];

    /// Packs the panel of a tile of at most `width` blocks of rows; missing rows and columns are zeros.
    fn pack_tile(rows: &[Option<&[f32]>], input_blocks: usize, width: usize, to: &mut Vec<Block>);
}

/// 32-bit floats.
pub(crate) struct F32;
/// 16-bit integers with a scale per row.
pub(crate) struct Int16;
/// Bytes with a scale per row.
pub(crate) struct Int8;

/// Bytes throughout, as the layers of [`crate::layers`] have them.
pub(crate) struct Bytewise;

impl Plan for Bytewise {
    type Fine = Int8;
    type Recurrent = Int8;
}

/// The formats of a whole model. Heads and decoder are [`F32`] in all.
pub(crate) trait Plan {
    /// Of everything between features and heads but the recurrent matrix.
    type Fine: Format;
    /// Of the GRU's recurrent matrix, by far the largest.
    type Recurrent: Format;
}

impl Plan for F32 {
    type Fine = Self;
    type Recurrent = Self;
}

impl Plan for Int16 {
    type Fine = Self;
    type Recurrent = Self;
}

impl Plan for Int8 {
    type Fine = Int16;
    type Recurrent = Self;
}

/// `x`, whose values the compiler must take to lie in memory: each is then broadcast by a load. Seen to stand in registers they
/// would be broadcast by shuffles, two each, on the port that half of the multiplications need.
#[inline(always)]
pub(crate) fn in_memory(x: &[Block]) -> &[Block] {
    std::hint::black_box(x.as_ptr());
    x
}

impl Format for F32 {
    type Input<'a> = &'a [Block];
    type Room = ();
    const INPUTS_PER_LINE: usize = 1;
    const HEAD_LINES: usize = 0;

    #[inline(always)]
    fn prepare<'a, S: Simd>(_: S, x: &'a [Block], _: &'a mut [()]) -> &'a [Block] {
        in_memory(x)
    }

    #[inline(always)]
    fn input_blocks(x: &[Block]) -> usize {
        x.len()
    }

    #[inline(always)]
    fn tile<S: Simd, const W: usize, const T: usize, const P: usize>(
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

    #[inline(always)]
    fn tile_shared<S: Simd, const W: usize, const T: usize, const P: usize, const N: usize>(
        s: S,
        panel: &[Block],
        first: usize,
        x: [&[Block]; N],
        init: [[S::V; T]; N],
    ) -> [[S::V; T]; N] {
        let mut sums = [[[s.splat(0.0); T]; N]; P];
        if let Some(start) = sums.first_mut() {
            *start = init;
        }
        let (rows, _) = panel.as_chunks::<W>();
        let (squares, _) = rows.as_chunks::<LANE_COUNT>();
        for (index, square) in squares.iter().enumerate() {
            let lanes = x.map(|x| x.get(index).unwrap_or(&Block::ZERO));
            let (groups, _) = square.as_chunks::<P>();
            for (group, rows) in groups.iter().enumerate() {
                let inputs = lanes.map(|lanes| lanes.0.as_chunks::<P>().0.get(group).unwrap_or(&[0.0; P]));
                for (phase, (row, sums)) in rows.iter().zip(sums.iter_mut()).enumerate() {
                    for (inputs, sums) in inputs.iter().zip(sums) {
                        let input = s.splat(inputs.get(phase).copied().unwrap_or(0.0));
                        for (block, sum) in row.get(first..).unwrap_or_default().iter().zip(sums) {
                            *sum = s.fma(input, s.load(&block.0), *sum);
                        }
                    }
                }
            }
        }
        add_phases_of_many(s, sums)
    }

    fn pack_tile(rows: &[Option<&[f32]>], input_blocks: usize, width: usize, to: &mut Vec<Block>) {
        for k in 0..input_blocks.saturating_mul(LANE_COUNT) {
            for block in 0..width {
                let lanes = std::array::from_fn(|lane| weight(rows, block, lane, k));
                to.push(Block(lanes));
            }
        }
    }
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

/// [`add_phases`] of each of several instruments.
#[inline(always)]
fn add_phases_of_many<S: Simd, const T: usize, const P: usize, const N: usize>(
    s: S,
    sums: [[[S::V; T]; N]; P],
) -> [[S::V; T]; N] {
    let mut out = [[s.splat(0.0); T]; N];
    for (index, out) in out.iter_mut().enumerate() {
        *out = add_phases(s, sums.map(|phase| phase.get(index).copied().unwrap_or([s.splat(0.0); T])));
    }
    out
}

/// The weight of a lane of a block of rows for input `k`; zero where there is none.
fn weight(rows: &[Option<&[f32]>], block: usize, lane: usize, k: usize) -> f32 {
    let row = rows.get(block.saturating_mul(LANE_COUNT).saturating_add(lane)).copied().flatten();
    row.and_then(|row| row.get(k)).copied().unwrap_or(0.0)
}

/// Packs `rows` in tiles of `width` blocks.
pub(crate) fn pack_tiles<F: Format>(rows: &Rows<'_>, input_blocks: usize, width: usize, to: &mut Vec<Block>) {
    for tile in rows.chunks(width.saturating_mul(LANE_COUNT)) {
        F::pack_tile(tile, input_blocks, width, to);
    }
}
