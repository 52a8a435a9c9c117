//! Sixteen lanes in two 256-bit registers.

use core::arch::x86_64::*;

use super::{LANE_COUNT, Simd, Task};

/// Proof that this CPU has AVX2 and FMA, and that the operating system saves their registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2 {
    _made_by_detect: (),
}

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair(__m256, __m256);

/// Integers of lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntPair(__m256i, __m256i);

/// Bytes 0 and 2, and bytes 1 and 3, of four inputs, as 16-bit integers in every lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quad {
    even: __m256i,
    odd: __m256i,
}

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self { _made_by_detect: () })
    }

    /// Compiles and runs `task` with the backend's features.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }
}

macro_rules! lanewise {
    ($($name:ident($($arg:ident),+) = $leaf:expr;)+) => {$(
        #[target_feature(enable = "avx2,fma")]
        #[inline]
        fn $name($($arg: Pair),+) -> Pair {
            Pair($leaf($($arg.0),+), $leaf($($arg.1),+))
        }
    )+};
}

lanewise! {
    add(a, b) = _mm256_add_ps;
    sub(a, b) = _mm256_sub_ps;
    mul(a, b) = _mm256_mul_ps;
    div(a, b) = _mm256_div_ps;
    fma(a, b, c) = _mm256_fmadd_ps;
    min(a, b) = _mm256_min_ps;
    max(a, b) = _mm256_max_ps;
    abs(a) = abs_of_eight;
    or_sign(a, sign) = or_sign_of_eight;
    select_less(a, b, x, y) = select_less_of_eight;
    scale_exponent(y, n) = scale_exponent_of_eight;
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn abs_of_eight(a: __m256) -> __m256 {
    _mm256_andnot_ps(_mm256_set1_ps(-0.0), a)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn or_sign_of_eight(a: __m256, sign: __m256) -> __m256 {
    _mm256_or_ps(a, _mm256_and_ps(sign, _mm256_set1_ps(-0.0)))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn select_less_of_eight(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
    _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn scale_exponent_of_eight(y: __m256, n: __m256) -> __m256 {
    let shift = _mm256_slli_epi32::<23>(_mm256_castps_si256(n));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), shift))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn splat(x: f32) -> Pair {
    Pair(_mm256_set1_ps(x), _mm256_set1_ps(x))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load(from: &[f32; LANE_COUNT]) -> Pair {
    let (halves, _) = from.as_chunks::<8>();
    match halves {
        [low, high] => Pair(load_eight(low), load_eight(high)),
        _ => splat(0.0), // Sixteen floats are two halves: never taken, and compiled away.
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_eight(from: &[f32; 8]) -> __m256 {
    #[expect(unsafe_code, reason = "the load takes a pointer")]
    // SAFETY: `from` is a reference to the eight floats that are read.
    unsafe {
        _mm256_loadu_ps(from.as_ptr())
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store(v: Pair, to: &mut [f32; LANE_COUNT]) {
    let (halves, _) = to.as_chunks_mut::<8>();
    if let [low, high] = halves {
        store_eight(v.0, low);
        store_eight(v.1, high);
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store_eight(v: __m256, to: &mut [f32; 8]) {
    #[expect(unsafe_code, reason = "the store takes a pointer")]
    // SAFETY: `to` is a unique reference to the eight floats that are written.
    unsafe {
        _mm256_storeu_ps(to.as_mut_ptr(), v);
    }
}

/// The sum of eight lanes, pairing those 4, then 2, then 1 apart.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn sum_of_eight(a: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn sum(a: Pair) -> f32 {
    sum_of_eight(_mm256_add_ps(a.0, a.1))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn is_finite(a: Pair) -> bool {
    let infinity = _mm256_set1_ps(f32::INFINITY);
    let low = _mm256_cmp_ps::<_CMP_LT_OQ>(abs_of_eight(a.0), infinity);
    let high = _mm256_cmp_ps::<_CMP_LT_OQ>(abs_of_eight(a.1), infinity);
    _mm256_movemask_ps(_mm256_and_ps(low, high)) == 0xff
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn max_lane(a: Pair) -> f32 {
    max_of_eight(_mm256_max_ps(a.0, a.1))
}

/// The largest of eight lanes, comparing those 4, then 2, then 1 apart.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn max_of_eight(a: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn zero_i32() -> IntPair {
    IntPair(_mm256_setzero_si256(), _mm256_setzero_si256())
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_i32(from: &[f32; LANE_COUNT]) -> IntPair {
    let Pair(low, high) = load(from);
    IntPair(_mm256_castps_si256(low), _mm256_castps_si256(high))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_i32(a: IntPair, b: IntPair) -> IntPair {
    IntPair(_mm256_add_epi32(a.0, b.0), _mm256_add_epi32(a.1, b.1))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn to_f32(a: IntPair) -> Pair {
    Pair(_mm256_cvtepi32_ps(a.0), _mm256_cvtepi32_ps(a.1))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store_low_words(v: Pair, to: &mut [u16; LANE_COUNT]) {
    let mask = _mm256_set1_epi32(0xffff);
    let low = _mm256_and_si256(_mm256_castps_si256(v.0), mask);
    let high = _mm256_and_si256(_mm256_castps_si256(v.1), mask);
    // Packing works within halves of a register: the quarters come out in the order 0 2 1 3.
    let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
    #[expect(unsafe_code, reason = "the store takes a pointer")]
    // SAFETY: `to` is a unique reference to the 32 bytes that are written.
    unsafe {
        _mm256_storeu_si256(to.as_mut_ptr().cast(), ordered);
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn splat_pair(words: [u16; 2]) -> IntPair {
    let [low, high] = words.map(u32::from);
    let pair = _mm256_set1_epi32((low | (high << 16)).cast_signed());
    IntPair(pair, pair)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn dot2(sum: IntPair, weights: &[f32; LANE_COUNT], inputs: IntPair) -> IntPair {
    let IntPair(low, high) = load_i32(weights);
    let (low, high) = (_mm256_madd_epi16(low, inputs.0), _mm256_madd_epi16(high, inputs.1));
    IntPair(_mm256_add_epi32(sum.0, low), _mm256_add_epi32(sum.1, high))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store_low_bytes(v: Pair, to: &mut [u8; LANE_COUNT]) {
    let mask = _mm256_set1_epi32(0xff);
    let low = _mm256_and_si256(_mm256_castps_si256(v.0), mask);
    let high = _mm256_and_si256(_mm256_castps_si256(v.1), mask);
    let words = _mm256_packus_epi32(low, high);
    // Packing works within halves of a register: the bytes come out in groups of four, 0 2 · · 1 3 · ·.
    let bytes = _mm256_packus_epi16(words, words);
    let ordered = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
    let ordered = _mm256_castsi256_si128(ordered);
    #[expect(unsafe_code, reason = "the store takes a pointer")]
    // SAFETY: `to` is a unique reference to the sixteen bytes that are written.
    unsafe {
        _mm_storeu_si128(to.as_mut_ptr().cast(), ordered);
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn splat_quad(bytes: [u8; 4]) -> Quad {
    let quad = _mm256_set1_epi32(i32::from_le_bytes(bytes));
    Quad { even: _mm256_and_si256(quad, _mm256_set1_epi32(0x00ff_00ff)), odd: _mm256_srli_epi16::<8>(quad) }
}

/// Widened to 16 bits: the 8-bit multiply-add of AVX2 saturates.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn dot4(sum: IntPair, weights: &[f32; LANE_COUNT], inputs: Quad) -> IntPair {
    let IntPair(low, high) = load_i32(weights);
    IntPair(dot4_of_eight(sum.0, low, inputs), dot4_of_eight(sum.1, high, inputs))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn dot4_of_eight(sum: __m256i, weights: __m256i, inputs: Quad) -> __m256i {
    let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(weights));
    let odd = _mm256_srai_epi16::<8>(weights);
    let both = _mm256_add_epi32(_mm256_madd_epi16(even, inputs.even), _mm256_madd_epi16(odd, inputs.odd));
    _mm256_add_epi32(sum, both)
}

macro_rules! operations {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) $(-> $out)? {
            #[expect(unsafe_code, reason = "the leaf is safe only where the CPU has its features")]
            // SAFETY: `self` can be made by `detect` alone, which saw the features that the leaf needs.
            unsafe { $name($($arg),*) }
        }
    )+};
}

impl Simd for Avx2 {
    type V = Pair;
    type I = IntPair;
    type Quad = Quad;
    const IS_NARROW: bool = true;

    operations! {
        fn splat(x: f32) -> Pair;
        fn load(from: &[f32; LANE_COUNT]) -> Pair;
        fn store(v: Pair, to: &mut [f32; LANE_COUNT]);
        fn add(a: Pair, b: Pair) -> Pair;
        fn sub(a: Pair, b: Pair) -> Pair;
        fn mul(a: Pair, b: Pair) -> Pair;
        fn div(a: Pair, b: Pair) -> Pair;
        fn fma(a: Pair, b: Pair, c: Pair) -> Pair;
        fn min(a: Pair, b: Pair) -> Pair;
        fn max(a: Pair, b: Pair) -> Pair;
        fn abs(a: Pair) -> Pair;
        fn or_sign(a: Pair, sign: Pair) -> Pair;
        fn select_less(a: Pair, b: Pair, x: Pair, y: Pair) -> Pair;
        fn scale_exponent(y: Pair, n: Pair) -> Pair;
        fn sum(a: Pair) -> f32;
        fn is_finite(a: Pair) -> bool;
        fn max_lane(a: Pair) -> f32;
        fn store_low_words(v: Pair, to: &mut [u16; LANE_COUNT]);
        fn splat_pair(words: [u16; 2]) -> IntPair;
        fn dot2(sum: IntPair, weights: &[f32; LANE_COUNT], inputs: IntPair) -> IntPair;
        fn zero_i32() -> IntPair;
        fn load_i32(from: &[f32; LANE_COUNT]) -> IntPair;
        fn add_i32(a: IntPair, b: IntPair) -> IntPair;
        fn to_f32(a: IntPair) -> Pair;
        fn store_low_bytes(v: Pair, to: &mut [u8; LANE_COUNT]);
        fn splat_quad(bytes: [u8; 4]) -> Quad;
        fn dot4(sum: IntPair, weights: &[f32; LANE_COUNT], inputs: Quad) -> IntPair;
    }
}
