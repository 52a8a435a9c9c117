//! Sixteen virtual lanes of f32, the same in every backend.
//!
//! A [`Simd`] value is the proof that the CPU has the instructions: it can be made by `detect` alone. Every operation is
//! defined by [`scalar`]; the vector backends give the same bits. An algorithm is written once over the trait and
//! compiled for a backend inside that backend's `run`, a safe function under `#[target_feature]`.
#![deny(clippy::arithmetic_side_effects)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod scalar;

/// Virtual lanes of every backend.
pub(crate) const LANE_COUNT: usize = 16;

/// Sixteen floats in one cache line: the unit in which weights, inputs and states are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [f32; LANE_COUNT]);

const _: () = assert!(size_of::<Block>() == 64);

impl Block {
    pub(crate) const ZERO: Self = Self([0.0; LANE_COUNT]);
}

/// The operations of one backend. Where an operand is NaN, `min` and `max` give `b` (the x86 rule).
pub(crate) trait Simd: Copy {
    /// Sixteen floats.
    type V: Copy;
    /// Sixteen 32-bit integers.
    type I: Copy;
    /// Four bytes for every lane, as [`dot4`](Self::dot4) takes them.
    type Quad: Copy;
    /// True where sixteen lanes take two registers of a file of sixteen: tiles are then worked in halves.
    const IS_NARROW: bool;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &[f32; LANE_COUNT]) -> Self::V;
    fn store(self, v: Self::V, to: &mut [f32; LANE_COUNT]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a·b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `if a < b { a } else { b }`.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a > b { a } else { b }`.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// The sign bit of `sign` put on `a`, whose own sign bit must be clear.
    fn or_sign(self, a: Self::V, sign: Self::V) -> Self::V;
    /// `if a < b { x } else { y }`.
    fn select_less(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Adds the low bits of `n` to the exponent of `y`: `y·2ⁿ`, where `n` is a float whose last bits hold an integer.
    fn scale_exponent(self, y: Self::V, n: Self::V) -> Self::V;
    /// The sum, pairing lanes 8, then 4, then 2, then 1 apart.
    fn sum(self, a: Self::V) -> f32;
    /// True when no lane is infinite or NaN.
    fn is_finite(self, a: Self::V) -> bool;
    /// The largest lane, compared as `sum` adds, by the rule of `max`.
    fn max_lane(self, a: Self::V) -> f32;

    fn zero_i32(self) -> Self::I;
    /// The bits of a line as integers.
    fn load_i32(self, from: &[f32; LANE_COUNT]) -> Self::I;
    /// Adds, wrapping.
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// The nearest float.
    fn to_f32(self, a: Self::I) -> Self::V;
    /// The last two bytes of each lane's bits.
    fn store_low_words(self, v: Self::V, to: &mut [u16; LANE_COUNT]);
    /// Two 16-bit words for every lane.
    fn splat_pair(self, words: [u16; 2]) -> Self::I;
    /// `sum + Σ wᵢ·xᵢ` over the two signed 16-bit halves of each word of `weights`, exact and wrapping at 32 bits.
    fn dot2(self, sum: Self::I, weights: &[f32; LANE_COUNT], inputs: Self::I) -> Self::I;
    /// The last byte of each lane's bits.
    fn store_low_bytes(self, v: Self::V, to: &mut [u8; LANE_COUNT]);
    /// Four unsigned bytes for every lane.
    fn splat_quad(self, bytes: [u8; 4]) -> Self::Quad;
    /// `sum + Σ wᵢ·xᵢ` over the four signed bytes of each word of `weights`, exact and wrapping at 32 bits.
    fn dot4(self, sum: Self::I, weights: &[f32; LANE_COUNT], inputs: Self::Quad) -> Self::I;
}

/// Work written once over [`Simd`]; `run` must be `#[inline(always)]`, so that it is compiled with the backend's features.
pub(crate) trait Task {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
