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
    type I = [i32; LANE_COUNT];
    type Quad = [u8; 4];
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
    #[inline]
    fn max_lane(self, a: V) -> f32 {
        let max = |x: f32, y: f32| if x > y { x } else { y };
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = a;
        let [c0, c1, c2, c3] = [max(a0, b0), max(a1, b1), max(a2, b2), max(a3, b3)];
        let [c4, c5, c6, c7] = [max(a4, b4), max(a5, b5), max(a6, b6), max(a7, b7)];
        let [d0, d1, d2, d3] = [max(c0, c4), max(c1, c5), max(c2, c6), max(c3, c7)];
        max(max(d0, d2), max(d1, d3))
    }
    #[inline]
    fn zero_i32(self) -> Self::I {
        [0; LANE_COUNT]
    }
    #[inline]
    fn load_i32(self, from: &V) -> Self::I {
        from.map(|word| word.to_bits().cast_signed())
    }
    #[inline]
    fn add_i32(self, mut a: Self::I, b: Self::I) -> Self::I {
        for (x, y) in a.iter_mut().zip(b) {
            *x = x.wrapping_add(y);
        }
        a
    }
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is wanted")]
    fn to_f32(self, a: Self::I) -> V {
        a.map(|x| x as f32)
    }
    #[inline]
    fn store_low_words(self, v: V, to: &mut [u16; LANE_COUNT]) {
        for (word, x) in to.iter_mut().zip(v) {
            let [low, high, ..] = x.to_bits().to_le_bytes();
            *word = u16::from_le_bytes([low, high]);
        }
    }
    #[inline]
    fn splat_pair(self, words: [u16; 2]) -> Self::I {
        let [low, high] = words.map(u32::from);
        [(low | (high << 16)).cast_signed(); LANE_COUNT]
    }
    #[inline]
    fn dot2(self, mut sum: Self::I, weights: &V, inputs: Self::I) -> Self::I {
        let halves = |bits: u32| {
            let [b0, b1, b2, b3] = bits.to_le_bytes();
            [i16::from_le_bytes([b0, b1]), i16::from_le_bytes([b2, b3])].map(i32::from)
        };
        for ((sum, word), input) in sum.iter_mut().zip(weights).zip(inputs) {
            let ([w0, w1], [x0, x1]) = (halves(word.to_bits()), halves(input.cast_unsigned()));
            *sum = sum.wrapping_add(w0.wrapping_mul(x0)).wrapping_add(w1.wrapping_mul(x1));
        }
        sum
    }
    #[inline]
    fn store_low_bytes(self, v: V, to: &mut [u8; LANE_COUNT]) {
        for (byte, x) in to.iter_mut().zip(v) {
            [*byte, ..] = x.to_bits().to_le_bytes();
        }
    }
    #[inline]
    fn splat_quad(self, bytes: [u8; 4]) -> [u8; 4] {
        bytes
    }
    #[inline]
    fn dot4(self, mut sum: Self::I, weights: &V, inputs: [u8; 4]) -> Self::I {
        let [x0, x1, x2, x3] = inputs.map(i32::from);
        for (sum, word) in sum.iter_mut().zip(weights) {
            let [w0, w1, w2, w3] = word.to_bits().to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
            let dot = w0.wrapping_mul(x0).wrapping_add(w1.wrapping_mul(x1));
            *sum = sum.wrapping_add(dot).wrapping_add(w2.wrapping_mul(x2).wrapping_add(w3.wrapping_mul(x3)));
        }
        sum
    }
}
