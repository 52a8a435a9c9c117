//! exp, sigmoid, tanh and SiLU over sixteen lanes: one polynomial for every backend.
//!
//! The range reduction and the coefficients are those of Cephes (`expf.c`, `tanhf.c`, S. Moshier), evaluated in pairs
//! (Estrin) with fused multiply-adds. NaN gives NaN. Measured against f64 in the tests: exp within 1 ulp, sigmoid and
//! tanh within 2, SiLU within 3.
#![deny(clippy::arithmetic_side_effects)]

use crate::simd::Simd;

/// The range of `exp`'s argument: beyond it the argument is clipped, so that `1/(1 + exp(x))` is never subnormal.
pub(crate) const EXP_LIMIT: f32 = 87.0;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// 1.5·2²³: adding it rounds to the nearest integer and leaves that integer in the last bits.
const ROUNDER: f32 = 12_582_912.0;
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
const EXP: [f32; 6] = [0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_2e-3, 1.987_569_1e-4];
/// Below this |x|, tanh is a polynomial; above, it comes from exp.
const TANH_SPLIT: f32 = 0.625;
const TANH: [f32; 5] = [-3.333_328e-1, 1.333_144_2e-1, -5.373_971_6e-2, 2.063_908_8e-2, -5.704_988_7e-3];

/// `e^x`, for x clipped to ±[`EXP_LIMIT`].
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let x = clipped(s, x);
    exp_by_steps(s, x, s.fma(x, s.splat(LOG2_E), s.splat(ROUNDER)))
}

/// `e^−x`, to the bit [`exp`] of −x: the sign goes along instead of being waited for.
#[inline(always)]
fn exp_neg<S: Simd>(s: S, x: S::V) -> S::V {
    let x = clipped(s, x);
    exp_by_steps(s, s.sub(s.splat(0.0), x), s.fma(x, s.splat(-LOG2_E), s.splat(ROUNDER)))
}

#[inline(always)]
fn clipped<S: Simd>(s: S, x: S::V) -> S::V {
    s.min(s.splat(EXP_LIMIT), s.max(s.splat(-EXP_LIMIT), x))
}

/// `e^x` for an x in range, with x/ln 2 rounded in the last bits of `shifted`.
#[inline(always)]
fn exp_by_steps<S: Simd>(s: S, x: S::V, shifted: S::V) -> S::V {
    let n = s.sub(shifted, s.splat(ROUNDER));
    let r = s.fma(n, s.splat(-LN2_LOW), s.fma(n, s.splat(-LN2_HIGH), x));
    let r2 = s.mul(r, r);
    let [c0, c1, c2, c3, c4, c5] = EXP;
    let low = s.fma(s.splat(c1), r, s.splat(c0));
    let middle = s.fma(s.splat(c3), r, s.splat(c2));
    let high = s.fma(s.splat(c5), r, s.splat(c4));
    let p = s.fma(s.fma(high, r2, middle), r2, low);
    let y = s.add(s.fma(p, r2, r), s.splat(1.0));
    s.scale_exponent(y, shifted)
}

/// `1/(1 + e^−x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp_neg(s, x)))
}

/// `x·sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp_neg(s, x)))
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let size = s.abs(x);
    let one = s.splat(1.0);
    let large = s.sub(one, s.div(s.splat(2.0), s.add(one, exp(s, s.add(size, size)))));
    let square = s.mul(x, x);
    let [c0, c1, c2, c3, c4] = TANH;
    let fourth = s.mul(square, square);
    let low = s.fma(s.splat(c1), square, s.splat(c0));
    let high = s.fma(s.fma(s.splat(c4), square, s.splat(c3)), square, s.splat(c2));
    let p = s.mul(s.fma(high, fourth, low), square);
    let small = s.fma(p, x, x);
    s.select_less(size, s.splat(TANH_SPLIT), small, s.or_sign(large, x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Backend, Kernel};
    use crate::simd::{LANE_COUNT, Task};

    #[derive(Clone, Copy, Debug)]
    enum Function {
        Exp,
        Sigmoid,
        Silu,
        Tanh,
    }

    struct Evaluate(Function, [f32; LANE_COUNT]);

    impl Task for Evaluate {
        type Output = [f32; LANE_COUNT];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let x = s.load(&self.1);
            let y = match self.0 {
                Function::Exp => exp(s, x),
                Function::Sigmoid => sigmoid(s, x),
                Function::Silu => silu(s, x),
                Function::Tanh => tanh(s, x),
            };
            let mut out = [0.0; LANE_COUNT];
            s.store(y, &mut out);
            out
        }
    }

    impl Function {
        fn exact(self, x: f64) -> f64 {
            match self {
                Self::Exp => x.exp(),
                Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Self::Silu => x / (1.0 + (-x).exp()),
                Self::Tanh => x.tanh(),
            }
        }
    }

    /// Distance in units of the last place of the exact value's f32.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is wanted")]
    fn ulps(got: f32, exact: f64) -> f64 {
        let near = exact as f32;
        let unit = f64::from(near.abs().next_up()) - f64::from(near.abs());
        (f64::from(got) - exact).abs() / unit
    }

    /// Every 2,003rd float of −`EXP_LIMIT`..`EXP_LIMIT`, both signs, subnormals included.
    fn sweep() -> Vec<[f32; LANE_COUNT]> {
        let floats: Vec<f32> =
            (0..EXP_LIMIT.to_bits()).step_by(2_003).map(f32::from_bits).flat_map(|x| [x, -x]).collect();
        floats.as_chunks::<LANE_COUNT>().0.to_vec()
    }

    fn check(function: Function, bound: f64) {
        let kernels: Vec<Kernel> = Backend::ALL.into_iter().filter_map(Kernel::new).collect();
        let mut worst = (0.0, 0.0_f32);
        for x in sweep() {
            let y = Kernel::SCALAR.dispatch(Evaluate(function, x));
            for kernel in &kernels {
                let other = kernel.dispatch(Evaluate(function, x));
                assert_eq!(other.map(f32::to_bits), y.map(f32::to_bits), "{:?}({x:?})", kernel.backend());
            }
            for (x, y) in x.into_iter().zip(y) {
                let error = ulps(y, function.exact(f64::from(x)));
                if error > worst.0 {
                    worst = (error, x);
                }
            }
        }
        eprintln!("{function:?}: worst error {:.3} ulp at {}", worst.0, worst.1);
        assert!(worst.0 <= bound, "{function:?}: {} ulp at {}", worst.0, worst.1);
    }

    #[test]
    fn exp_is_within_its_bound() {
        check(Function::Exp, 1.0);
    }

    #[test]
    fn sigmoid_is_within_its_bound() {
        check(Function::Sigmoid, 2.0);
    }

    #[test]
    fn silu_is_within_its_bound() {
        check(Function::Silu, 3.0);
    }

    #[test]
    fn tanh_is_within_its_bound() {
        check(Function::Tanh, 2.0);
    }

    #[test]
    fn extremes_are_finite_and_nan_stays_nan() {
        for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
            for function in [Function::Exp, Function::Sigmoid, Function::Silu, Function::Tanh] {
                let mut x = [0.0; LANE_COUNT];
                let given = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 88.0, -104.0];
                x[..8].copy_from_slice(&given);
                let y = kernel.dispatch(Evaluate(function, x));
                let what = format!("{:?} {function:?} {y:?}", kernel.backend());
                assert!(y[0].is_nan() && y[1].is_nan(), "{what}");
                assert!(y[4..].iter().all(|y| y.is_finite()), "{what}");
                match function {
                    Function::Exp => assert!(y[2] > 1e37 && y[3] < 1e-37, "{what}"),
                    Function::Sigmoid => assert!(y[2] == 1.0 && y[3] < 1e-37, "{what}"),
                    Function::Silu => assert!(y[2] == f32::INFINITY && y[5].abs() < 1e-7, "{what}"),
                    Function::Tanh => assert!(y[2] == 1.0 && y[3] == -1.0, "{what}"),
                }
            }
        }
    }
}
