//! Arithmetic whose results are the same bits on every platform: logarithm, exponential and inverse distributions
//! from the four basic operations alone. The standard library's `ln` and `exp` call the platform's libm, which may
//! differ in the last bit; IEEE 754 fixes `+ − × ÷ √`, and the compiler does not fuse them.

const LN_2: f64 = core::f64::consts::LN_2;

/// Natural logarithm of a positive normal number, within 1e-14 relative: atanh series on a mantissa near one.
#[must_use]
pub fn ln(x: f64) -> f64 {
    const SQRT_2: f64 = core::f64::consts::SQRT_2;
    let bits = x.to_bits();
    let exponent_bits = u32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let mut exponent = f64::from(exponent_bits) - 1023.0;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1.0;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / odd;
    }
    2.0 * s * sum + exponent * LN_2
}

/// e to the power of `x`, for |x| ≤ 700 (clamped), within 1e-14 relative: Taylor series on a reduced argument.
#[must_use]
pub fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let whole = (x / LN_2 + 0.5).floor();
    let rest = x - whole * LN_2;
    let mut sum = 1.0;
    for step in (1..=16_u32).rev() {
        sum = sum * rest / f64::from(step) + 1.0;
    }
    let biased = u64::try_from(to_i64(whole) + 1023).unwrap_or(0);
    sum * f64::from_bits(biased << 52)
}

/// `base` to the power of `power`, for a positive base.
pub(crate) fn pow(base: f64, power: f64) -> f64 {
    exp(ln(base) * power)
}

/// The integer part of `x`, saturating.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which is what callers want")]
#[must_use]
pub const fn to_i64(x: f64) -> i64 {
    x as i64
}

/// The integer part of a number that is not negative, saturating; negative numbers become 0.
pub(crate) fn to_u64(x: f64) -> u64 {
    u64::try_from(to_i64(x)).unwrap_or(0)
}

/// The integer part of `x` within 0..=`u32::MAX`.
pub(crate) fn to_u32(x: f64) -> u32 {
    u32::try_from(to_u64(x)).unwrap_or(u32::MAX)
}

/// An integer as a float; exact below 2⁵³, which no count or time here exceeds.
pub(crate) const fn float(x: u64) -> f64 {
    x as f64
}

/// An inverse distribution function as a table of equally likely steps: a draw is one lookup and one interpolation.
#[derive(Clone, Debug)]
pub(crate) struct QuantileTable {
    points: Vec<f64>,
}

impl QuantileTable {
    const STEPS: u32 = 1024;

    /// The distribution through `knots` of (probability, value), the probabilities ascending from 0 to 1 and the
    /// values positive: values are interpolated on a logarithmic scale.
    pub(crate) fn log_scale(knots: &[(f64, f64)]) -> Self {
        let logs: Vec<_> = knots.iter().map(|&(p, value)| (p, ln(value))).collect();
        let points = (0..=Self::STEPS).map(|step| exp(interpolate(&logs, Self::probability(step)))).collect();
        Self { points }
    }

    /// The distribution through `knots` of (probability, value), interpolated on a linear scale.
    pub(crate) fn linear_scale(knots: &[(f64, f64)]) -> Self {
        let points = (0..=Self::STEPS).map(|step| interpolate(knots, Self::probability(step))).collect();
        Self { points }
    }

    fn probability(step: u32) -> f64 {
        f64::from(step) / f64::from(Self::STEPS)
    }

    /// The value at the probability `bits` / 2³².
    pub(crate) fn at(&self, bits: u32) -> f64 {
        let step = (bits >> 22) as usize;
        let part = f64::from(bits & 0x003f_ffff) / 4_194_304.0;
        let (low, high) = (self.points[step], self.points[step + 1]);
        low + (high - low) * part
    }
}

fn interpolate(knots: &[(f64, f64)], p: f64) -> f64 {
    let after = knots.iter().position(|&(knot, _)| knot >= p).unwrap_or(knots.len() - 1).max(1);
    let ((p0, v0), (p1, v1)) = (knots[after - 1], knots[after]);
    v0 + (v1 - v0) * ((p - p0) / (p1 - p0)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ln_and_exp_agree_with_the_platform(x in 1e-12_f64..1e12, y in -600.0_f64..600.0) {
            prop_assert!((ln(x) - x.ln()).abs() <= 1e-13 * x.ln().abs().max(1.0));
            prop_assert!((exp(y) / y.exp() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn ln_and_exp_have_the_bits_that_the_golden_sessions_rest_on() {
        assert_eq!(ln(1.0).to_bits(), 0);
        assert_eq!(exp(0.0).to_bits(), 1.0_f64.to_bits());
        assert_eq!(ln(10.0).to_bits(), 4_612_367_379_483_415_829);
        assert!((pow(2.0, 10.0) - 1024.0).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_table_passes_through_its_knots() {
        let table = QuantileTable::log_scale(&[(0.0, 1.0), (0.5, 100.0), (1.0, 10_000.0)]);
        assert!((table.at(0) - 1.0).abs() < 1e-9);
        assert!((table.at(1 << 31) - 100.0).abs() < 1e-6);
        assert!((table.at(1 << 30) - 10.0).abs() < 0.1);
        assert!(table.at(u32::MAX) <= 10_000.0);
    }
}
