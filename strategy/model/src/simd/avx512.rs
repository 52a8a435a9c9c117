//! Sixteen lanes in one 512-bit register; with VNNI, or without it, where integers are multiplied.

use core::arch::x86_64::*;

use super::{LANE_COUNT, Simd, Task};

/// Proof that this CPU has AVX-512F, AVX-512BW, AVX2 and FMA, and that the operating system saves their registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512 {
    _made_by_detect: (),
}

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        let has_avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        (has_avx512 && has_avx2).then_some(Self { _made_by_detect: () })
    }

    /// Compiles and runs `task` with the backend's features.
    #[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }
}

/// Proof that this CPU has AVX-512 VNNI beside what [`Avx512`] proves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vnni {
    avx512: Avx512,
}

impl Vnni {
    pub(crate) fn detect() -> Option<Self> {
        let avx512 = Avx512::detect()?;
        is_x86_feature_detected!("avx512vnni").then_some(Self { avx512 })
    }

    /// The backend for work on floats.
    #[inline]
    pub(crate) fn avx512(self) -> Avx512 {
        self.avx512
    }

    /// Compiles and runs `task` with the backend's features.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn load(from: &[f32; LANE_COUNT]) -> __m512 {
    #[expect(unsafe_code, reason = "the load takes a pointer")]
    // SAFETY: `from` is a reference to the sixteen floats that are read.
    unsafe {
        _mm512_loadu_ps(from.as_ptr())
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn store(v: __m512, to: &mut [f32; LANE_COUNT]) {
    #[expect(unsafe_code, reason = "the store takes a pointer")]
    // SAFETY: `to` is a unique reference to the sixteen floats that are written.
    unsafe {
        _mm512_storeu_ps(to.as_mut_ptr(), v);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn or_sign(a: __m512, sign: __m512) -> __m512 {
    let bit = _mm512_and_si512(_mm512_castps_si512(sign), _mm512_set1_epi32(i32::MIN));
    _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(a), bit))
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn select_less(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x)
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn scale_exponent(y: __m512, n: __m512) -> __m512 {
    let shift = _mm512_slli_epi32::<23>(_mm512_castps_si512(n));
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), shift))
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn sum(a: __m512) -> f32 {
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
    super::avx2::sum_of_eight(_mm256_add_ps(_mm512_castps512_ps256(a), high))
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn is_finite(a: __m512) -> bool {
    _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(a), _mm512_set1_ps(f32::INFINITY)) == u16::MAX
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn max_lane(a: __m512) -> f32 {
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
    super::avx2::max_of_eight(_mm256_max_ps(_mm512_castps512_ps256(a), high))
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn load_i32(from: &[f32; LANE_COUNT]) -> __m512i {
    _mm512_castps_si512(load(from))
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn store_low_words(v: __m512, to: &mut [u16; LANE_COUNT]) {
    let words = _mm512_cvtepi32_epi16(_mm512_castps_si512(v));
    #[expect(unsafe_code, reason = "the store takes a pointer")]
    // SAFETY: `to` is a unique reference to the 32 bytes that are written.
    unsafe {
        _mm256_storeu_si256(to.as_mut_ptr().cast(), words);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn splat_pair(words: [u16; 2]) -> __m512i {
    let [low, high] = words.map(u32::from);
    _mm512_set1_epi32((low | (high << 16)).cast_signed())
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn dot2(sum: __m512i, weights: &[f32; LANE_COUNT], inputs: __m512i) -> __m512i {
    _mm512_add_epi32(sum, _mm512_madd_epi16(load_i32(weights), inputs))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
#[inline]
fn dot2_vnni(sum: __m512i, weights: &[f32; LANE_COUNT], inputs: __m512i) -> __m512i {
    _mm512_dpwssd_epi32(sum, load_i32(weights), inputs)
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn store_low_bytes(v: __m512, to: &mut [u8; LANE_COUNT]) {
    let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(v));
    #[expect(unsafe_code, reason = "the store takes a pointer")]
    // SAFETY: `to` is a unique reference to the sixteen bytes that are written.
    unsafe {
        _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn splat_quad(bytes: [u8; 4]) -> __m512i {
    _mm512_set1_epi32(i32::from_le_bytes(bytes))
}

/// Widened to 16 bits: the 8-bit multiply-add saturates.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline]
fn dot4(sum: __m512i, weights: &[f32; LANE_COUNT], inputs: __m512i) -> __m512i {
    let weights = load_i32(weights);
    let even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(weights));
    let odd = _mm512_srai_epi16::<8>(weights);
    let even_inputs = _mm512_and_si512(inputs, _mm512_set1_epi32(0x00ff_00ff));
    let products = _mm512_madd_epi16(even, even_inputs);
    let both = _mm512_add_epi32(products, _mm512_madd_epi16(odd, _mm512_srli_epi16::<8>(inputs)));
    _mm512_add_epi32(sum, both)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
#[inline]
fn dot4_vnni(sum: __m512i, weights: &[f32; LANE_COUNT], inputs: __m512i) -> __m512i {
    _mm512_dpbusd_epi32(sum, inputs, load_i32(weights))
}

macro_rules! operations {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? = $leaf:path;)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) $(-> $out)? {
            #[expect(unsafe_code, reason = "the leaf is safe only where the CPU has its features")]
            // SAFETY: `self` can be made by `detect` alone, which saw the features that the leaf needs.
            unsafe { $leaf($($arg),*) }
        }
    )+};
}

macro_rules! backend {
    ($proof:ty, $dot2:path, $dot4:path) => {
        impl Simd for $proof {
            type V = __m512;
            type I = __m512i;
            type Quad = __m512i;
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
                    fn max_lane(a: __m512) -> f32 = max_lane;
                    fn store_low_words(v: __m512, to: &mut [u16; LANE_COUNT]) = store_low_words;
            fn splat_pair(words: [u16; 2]) -> __m512i = splat_pair;
            fn dot2(sum: __m512i, weights: &[f32; LANE_COUNT], inputs: __m512i) -> __m512i = $dot2;
                    fn zero_i32() -> __m512i = _mm512_setzero_si512;
                    fn load_i32(from: &[f32; LANE_COUNT]) -> __m512i = load_i32;
                    fn add_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32;
                    fn to_f32(a: __m512i) -> __m512 = _mm512_cvtepi32_ps;
                    fn store_low_bytes(v: __m512, to: &mut [u8; LANE_COUNT]) = store_low_bytes;
                    fn splat_quad(bytes: [u8; 4]) -> __m512i = splat_quad;
                    fn dot4(sum: __m512i, weights: &[f32; LANE_COUNT], inputs: __m512i) -> __m512i = $dot4;
                }
        }
    };
}

backend!(Avx512, dot2, dot4);
backend!(Vnni, dot2_vnni, dot4_vnni);
