//! Sixteen lanes in one 512-bit register.

use core::arch::x86_64::*;

use super::{LANE_COUNT, Simd, Task};

/// Proof that this CPU has AVX-512F, AVX2 and FMA, and that the operating system saves their registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512 {
    _made_by_detect: (),
}

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        let is_there =
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        is_there.then_some(Self { _made_by_detect: () })
    }

    /// Compiles and runs `task` with the backend's features.
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }
}

#[target_feature(enable = "avx512f,avx2,fma")]
#[inline]
fn load(from: &[f32; LANE_COUNT]) -> __m512 {
    #[expect(unsafe_code, reason = "the load takes a pointer")]
    // SAFETY: `from` is a reference to the sixteen floats that are read.
    unsafe {
        _mm512_loadu_ps(from.as_ptr())
    }
}

#[target_feature(enable = "avx512f,avx2,fma")]
#[inline]
fn store(v: __m512, to: &mut [f32; LANE_COUNT]) {
    #[expect(unsafe_code, reason = "the store takes a pointer")]
    // SAFETY: `to` is a unique reference to the sixteen floats that are written.
    unsafe {
        _mm512_storeu_ps(to.as_mut_ptr(), v);
    }
}

#[target_feature(enable = "avx512f,avx2,fma")]
#[inline]
fn or_sign(a: __m512, sign: __m512) -> __m512 {
    let bit = _mm512_and_si512(_mm512_castps_si512(sign), _mm512_set1_epi32(i32::MIN));
    _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(a), bit))
}

#[target_feature(enable = "avx512f,avx2,fma")]
#[inline]
fn select_less(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x)
}

#[target_feature(enable = "avx512f,avx2,fma")]
#[inline]
fn scale_exponent(y: __m512, n: __m512) -> __m512 {
    let shift = _mm512_slli_epi32::<23>(_mm512_castps_si512(n));
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), shift))
}

#[target_feature(enable = "avx512f,avx2,fma")]
#[inline]
fn sum(a: __m512) -> f32 {
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
    super::avx2::sum_of_eight(_mm256_add_ps(_mm512_castps512_ps256(a), high))
}

#[target_feature(enable = "avx512f,avx2,fma")]
#[inline]
fn is_finite(a: __m512) -> bool {
    _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(a), _mm512_set1_ps(f32::INFINITY)) == u16::MAX
}

macro_rules! operations {
    ($(fn $name:ident($($arg:ident: $type:ty),+) $(-> $out:ty)? = $leaf:path;)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),+) $(-> $out)? {
            #[expect(unsafe_code, reason = "the leaf is safe only where the CPU has its features")]
            // SAFETY: `self` can be made by `detect` alone, which saw the features that the leaf needs.
            unsafe { $leaf($($arg),+) }
        }
    )+};
}

impl Simd for Avx512 {
    type V = __m512;
    const IS_NARROW: bool = false;

    operations! {
        fn splat(x: f32) -> __m512 = _mm512_set1_ps;
        fn load(from: &[f32; LANE_COUNT]) -> __m512 = load;
        fn store(v: __m512, to: &mut [f32; LANE_COUNT]) = store;
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps;
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps;
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps;
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps;
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps;
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps;
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps;
        fn abs(a: __m512) -> __m512 = _mm512_abs_ps;
        fn or_sign(a: __m512, sign: __m512) -> __m512 = or_sign;
        fn select_less(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 = select_less;
        fn scale_exponent(y: __m512, n: __m512) -> __m512 = scale_exponent;
        fn sum(a: __m512) -> f32 = sum;
        fn is_finite(a: __m512) -> bool = is_finite;
    }
}
