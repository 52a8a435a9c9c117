//! The definition: plain Rust, one lane after the other.

use super::{LANE_COUNT, Simd, Task};

/// The backend that every machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

type V = [f32; LANE_COUNT];

impl Scalar {
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }
}

fn map(a: V, f: impl Fn(f32) -> f32) -> V {
    a.map(f)
}

fn zip(mut a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    for (x, y) in a.iter_mut().zip(b) {
        *x = f(*x, y);
    }
    a
}

impl Simd for Scalar {
    type V = V;
    const IS_NARROW: bool = true;

    #[inline]
    fn splat(self, x: f32) -> V {
        [x; LANE_COUNT]
    }
    #[inline]
    fn load(self, from: &V) -> V {
        *from
    }
    #[inline]
    fn store(self, v: V, to: &mut V) {
        *to = v;
    }
    #[inline]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |x, y| x + y)
    }
    #[inline]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |x, y| x - y)
    }
    #[inline]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |x, y| x * y)
    }
    #[inline]
    fn div(self, a: V, b: V) -> V {
        zip(a, b, |x, y| x / y)
    }
    #[inline]
    fn fma(self, a: V, b: V, mut c: V) -> V {
        for ((z, x), y) in c.iter_mut().zip(a).zip(b) {
            *z = x.mul_add(y, *z);
        }
        c
    }
    #[inline]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |x, y| if x < y { x } else { y })
    }
    #[inline]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |x, y| if x > y { x } else { y })
    }
    #[inline]
    fn abs(self, a: V) -> V {
        map(a, f32::abs)
    }
    #[inline]
    fn or_sign(self, a: V, sign: V) -> V {
        zip(a, sign, |x, y| f32::from_bits(x.to_bits() | (y.to_bits() & (1 << 31))))
    }
    #[inline]
    fn select_less(self, a: V, b: V, x: V, mut y: V) -> V {
        for (((p, q), s), r) in a.into_iter().zip(b).zip(x).zip(y.iter_mut()) {
            if p < q {
                *r = s;
            }
        }
        y
    }
    #[inline]
    fn scale_exponent(self, y: V, n: V) -> V {
        zip(y, n, |y, n| f32::from_bits(y.to_bits().wrapping_add(n.to_bits() << 23)))
    }
    #[inline]
    fn sum(self, a: V) -> f32 {
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = a;
        let c = [a0 + b0, a1 + b1, a2 + b2, a3 + b3, a4 + b4, a5 + b5, a6 + b6, a7 + b7];
        let [c0, c1, c2, c3, c4, c5, c6, c7] = c;
        let [d0, d1, d2, d3] = [c0 + c4, c1 + c5, c2 + c6, c3 + c7];
        (d0 + d2) + (d1 + d3)
    }
    #[inline]
    fn is_finite(self, a: V) -> bool {
        a.iter().all(|x| x.is_finite())
    }
}
