//! Exponential and logarithm made of exactly rounded operations only, so that features are bit-identical in debug and
//! release and on every host. The standard library's `exp` and `ln` call the platform's libm, whose last bits differ.

/// ln 2 split in two (fdlibm, `e_exp.c`): the high part has enough trailing zeros that its product with a small integer
/// is exact.
const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
/// What is missing of ln 2 in [`LN2_HIGH`].
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
/// Adding and subtracting 1.5 × 2⁵² rounds a number below 2⁵¹ to the nearest integer, ties to even.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// How many steps of the table make one halving.
const STEPS: usize = 64;
/// From here on e⁻ˣ counts as 0 (it is below 10⁻³⁰⁴).
const EXP_ARGUMENT_MAX: f64 = 700.0;
/// The bits behind the point of a binary64's mantissa.
const FRACTION: u64 = 0x000f_ffff_ffff_ffff;
/// 2^(−i/64) for i = 0 … 63.
const HALVINGS: [f64; STEPS] = halvings();

/// e⁻ˣ for x ≥ 0, relative error below 10⁻¹⁵; 1 for a negative or undefined x.
#[must_use]
#[inline]
pub fn exp_neg(x: f64) -> f64 {
    if x > EXP_ARGUMENT_MAX {
        return 0.0;
    }
    if x.is_nan() || x <= 0.0 {
        return 1.0;
    }
    let [y] = exp_neg_in_range([x]);
    y
}

/// [`exp_neg`] of both, to the bit; worked side by side, which takes little longer than one.
#[must_use]
#[inline]
pub(crate) fn exp_neg_pair(x: [f64; 2]) -> [f64; 2] {
    if x.iter().all(|x| *x > 0.0 && *x <= EXP_ARGUMENT_MAX) { exp_neg_in_range(x) } else { x.map(exp_neg) }
}

/// e⁻ˣ for 0 < x ≤ [`EXP_ARGUMENT_MAX`], step by step for all of them, so that the compiler can pair their operations.
#[inline(always)]
fn exp_neg_in_range<const N: usize>(x: [f64; N]) -> [f64; N] {
    let shifted = x.map(|x| x * (STEPS as f64 / core::f64::consts::LN_2) + ROUND);
    let mut tails = [0.0; N];
    for ((tail, shifted), x) in tails.iter_mut().zip(shifted).zip(x) {
        let rounded = shifted - ROUND;
        let r = rounded * (LN2_HIGH / STEPS as f64) - x + rounded * (LN2_LOW / STEPS as f64);
        *tail = 1.0 + r * (1.0 + r * (1.0 / 2.0 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0)))));
    }
    let mut powers = [0.0; N];
    for (power, shifted) in powers.iter_mut().zip(shifted) {
        let steps = shifted.to_bits().wrapping_sub(ROUND.to_bits());
        let index = (steps & 63) as usize;
        *power = HALVINGS.get(index).copied().unwrap_or(1.0) * f64::from_bits(1_023_u64.wrapping_sub(steps >> 6) << 52);
    }
    for (power, tail) in powers.iter_mut().zip(tails) {
        *power *= tail;
    }
    powers
}

/// log₂ x for a positive normal x, absolute error below 10⁻¹²; 0 for anything below 1.
#[must_use]
#[inline]
pub fn log2(x: f64) -> f64 {
    if x.is_nan() || x <= 1.0 {
        return 0.0;
    }
    let bits = x.to_bits();
    // Above √2 the mantissa is halved. By its bits, because a branch would be mispredicted every other time.
    let fraction = bits & FRACTION;
    let is_upper = u64::from(fraction > core::f64::consts::SQRT_2.to_bits() & FRACTION);
    let exponent = (bits >> 52).wrapping_add(is_upper) as f64 - 1_023.0;
    let mantissa = f64::from_bits(fraction | 1_023_u64.wrapping_sub(is_upper) << 52);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let q = s * s;
    let series = 1.0
        + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0))))));
    exponent + 2.0 * core::f64::consts::LOG2_E * s * series
}

/// The table, by the exponential series at compile time: constant evaluation rounds as IEEE 754 says, everywhere alike.
const fn halvings() -> [f64; STEPS] {
    let mut table = [1.0; STEPS];
    let mut index = 0;
    while index < STEPS {
        let x = -(index as f64) * core::f64::consts::LN_2 / STEPS as f64;
        let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
        while n < 30.0 {
            term = term * x / n;
            sum += term;
            n += 1.0;
        }
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index out of range")]
        {
            table[index] = sum;
        }
        index = index.wrapping_add(1);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_neg_agrees_with_the_library_over_its_whole_range() {
        let mut x = 1e-12;
        while x < 699.0 {
            let (got, want) = (exp_neg(x), (-x).exp());
            assert!((got - want).abs() <= 2e-15 * want, "x = {x}: {got} against {want}");
            x *= 1.003;
        }
        assert_eq!((exp_neg(0.0), exp_neg(-3.0), exp_neg(701.0)), (1.0, 1.0, 0.0));
        assert_eq!((exp_neg(f64::NAN), exp_neg(f64::INFINITY)), (1.0, 0.0));
    }

    #[test]
    fn a_pair_is_two_single_ones_to_the_bit() {
        let mut x = 1e-12;
        while x < 900.0 {
            let pair = [x, x / 10.0];
            assert_eq!(exp_neg_pair(pair).map(f64::to_bits), pair.map(exp_neg).map(f64::to_bits), "x = {x}");
            x *= 1.0003;
        }
        for pair in [[0.0, 1.0], [1.0, f64::NAN], [701.0, 70.1], [-1.0, f64::INFINITY]] {
            assert_eq!(exp_neg_pair(pair), pair.map(exp_neg));
        }
    }

    #[test]
    fn log2_agrees_with_the_library_and_is_exact_at_powers_of_two() {
        let mut x = 1.0;
        while x < 1e19 {
            assert!((log2(x) - f64::log2(x)).abs() <= 1e-12, "x = {x}");
            x *= 1.0007;
        }
        assert_eq!((log2(1.0), log2(1024.0), log2(0.5), log2(f64::NAN)), (0.0, 10.0, 0.0, 0.0));
    }

    #[test]
    fn the_bits_are_fixed() {
        assert_eq!(exp_neg(1.0).to_bits(), 0x3fd7_8b56_362c_ef38);
        assert_eq!(log2(10.0).to_bits(), 0x400a_934f_0979_a36f);
    }
}
