//! The two float types that training runs in: f32 for training itself, f64 to hold it against the oracles.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use burn::tensor::{DType, Element};

use crate::gemm::{Left, multiply_f32, multiply_f64};

/// A float of the training code.
pub(crate) trait Real:
    Element
    + PartialOrd
    + Debug
    + Add<Output = Self>
    + AddAssign
    + Div<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + Sub<Output = Self>
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// One half.
    const HALF: Self;
    /// The tensor type of burn.
    const DTYPE: DType;
    /// Rounds to the nearest.
    fn of(value: f64) -> Self;
    /// Widens.
    fn wide(self) -> f64;
    /// `self · a + b` with one rounding.
    #[must_use]
    fn fused(self, a: Self, b: Self) -> Self;
    /// `e^self`; f32 by a polynomial that the compiler can vectorise (relative error below 2e-7), clamped to ±87.
    #[must_use]
    fn exponential(self) -> Self;
    /// Square root.
    #[must_use]
    fn root(self) -> Self;
    /// The greater of the two.
    #[must_use]
    fn larger(self, other: Self) -> Self;
    /// The lesser of the two.
    #[must_use]
    fn smaller(self, other: Self) -> Self;
    /// True for neither NaN nor infinite.
    fn is_number(self) -> bool;
    /// [`gemm`](crate::gemm::gemm) of this type.
    fn multiply(shape: (usize, usize, usize), a: Left<'_, Self>, b: &[Self], c: &mut [Self], accumulate: bool);

    /// `1/(1 + e^−x)`.
    #[inline(always)]
    #[must_use]
    fn logistic(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exponential())
    }

    /// Hyperbolic tangent.
    #[inline(always)]
    #[must_use]
    fn hyperbolic(self) -> Self {
        let half = Self::ONE / (Self::ONE + (-(self + self)).exponential());
        half + half - Self::ONE
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HALF: Self = 0.5;
    const DTYPE: DType = DType::F64;
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
    #[inline(always)]
    fn exponential(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn hyperbolic(self) -> Self {
        self.tanh()
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.max(other)
    }
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        self.min(other)
    }
    fn is_number(self) -> bool {
        self.is_finite()
    }
    fn multiply(shape: (usize, usize, usize), a: Left<'_, Self>, b: &[Self], c: &mut [Self], accumulate: bool) {
        multiply_f64(shape, a, b, c, accumulate);
    }
}

/// Adding this to a float of less than 2²² leaves its nearest integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// The upper and the lower part of ln 2 (Cody & Waite 1980).
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
/// Minimax coefficients of `(e^r − 1 − r)/r²` for |r| ≤ ln 2 / 2 (Moshier's Cephes library, `expf`), highest first.
const EXP: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HALF: Self = 0.5;
    const DTYPE: DType = DType::F32;
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
    fn of(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
    #[inline(always)]
    fn exponential(self) -> Self {
        // Written so that NaN stays NaN: a comparison with NaN is false.
        let x = if self > 87.0 { 87.0 } else { self };
        let x = if x < -87.0 { -87.0 } else { x };
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = n.mul_add(-LN_2.0, x);
        let r = n.mul_add(-LN_2.1, r);
        let [a, b, c, d, e, f] = EXP;
        let p = a.mul_add(r, b).mul_add(r, c).mul_add(r, d).mul_add(r, e).mul_add(r, f);
        let p = p.mul_add(r * r, r) + 1.0;
        p * Self::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.max(other)
    }
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        self.min(other)
    }
    fn is_number(self) -> bool {
        self.is_finite()
    }
    fn multiply(shape: (usize, usize, usize), a: Left<'_, Self>, b: &[Self], c: &mut [Self], accumulate: bool) {
        multiply_f32(shape, a, b, c, accumulate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomials_are_those_of_the_library_to_float_precision() {
        for step in -8_700..=8_700 {
            let x = f64::from(step) / 100.0;
            let narrow = f32::of(x);
            let (found, expected) = (narrow.exponential().wide(), narrow.wide().exp());
            assert!((found - expected).abs() <= 3e-7 * expected, "exp({x}) = {found}, not {expected}");
            let (found, expected) = (narrow.hyperbolic().wide(), narrow.wide().tanh());
            assert!((found - expected).abs() <= 2e-7, "tanh({x}) = {found}, not {expected}");
            let (found, expected) = (narrow.logistic().wide(), 1.0 / (1.0 + (-narrow.wide()).exp()));
            assert!((found - expected).abs() <= 2e-7, "logistic({x}) = {found}, not {expected}");
        }
        assert!(f32::NAN.exponential().is_nan() && f32::NAN.hyperbolic().is_nan());
    }
}
