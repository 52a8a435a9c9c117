//! Scaled integers as text and back: at most nine decimals, exact both ways.

use core::fmt;

use crate::PRICE_SCALE;

/// A value in 10⁻⁹ shown as a decimal: trailing zeros are dropped unless a precision is asked for (`{:.2}`), and a
/// precision never rounds a non-zero digit away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal(i128);

/// Why a text is no decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseDecimalError {
    /// Nothing was given, or no digit was.
    Empty,
    /// A character that is neither a digit, a leading sign nor the first point.
    InvalidCharacter {
        /// Where it stands, counted in bytes from 0.
        offset: usize,
    },
    /// More than nine digits behind the point that are not zero.
    TooFine,
    /// Outside the range of an i64 in 10⁻⁹ (about ±9.2 × 10⁹).
    TooLarge,
}

impl Decimal {
    /// A decimal of `nanos` × 10⁻⁹.
    #[must_use]
    pub const fn new(nanos: i128) -> Self {
        Self(nanos)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SCALE: u128 = PRICE_SCALE as u128;
        let magnitude = self.0.unsigned_abs();
        let (whole, mut fraction) = (magnitude / SCALE, magnitude % SCALE);
        let mut digits = 9;
        let wanted = f.precision().unwrap_or(0).min(9);
        while digits > wanted && fraction.is_multiple_of(10) {
            fraction /= 10;
            digits = digits.saturating_sub(1);
        }
        let sign = if self.0 < 0 { "-" } else { "" };
        if digits == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction:0digits$}") }
    }
}

impl fmt::Display for ParseDecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no digit was given"),
            Self::InvalidCharacter { offset } => write!(f, "character {offset} is not part of a decimal number"),
            Self::TooFine => f.write_str("more than nine decimals"),
            Self::TooLarge => f.write_str("outside ±9223372036.854775807"),
        }
    }
}

impl core::error::Error for ParseDecimalError {}

/// Reads a decimal such as `-12.5` into 10⁻⁹ units, exactly.
///
/// # Errors
/// [`ParseDecimalError`], each variant naming what is wrong with the text.
pub fn parse_decimal(text: &str) -> Result<i64, ParseDecimalError> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let sign_len = text.len().saturating_sub(digits.len());
    let (mut value, mut decimals, mut seen_digit) = (0_i128, None::<u32>, false);
    for (index, byte) in digits.bytes().enumerate() {
        let offset = index.saturating_add(sign_len);
        match (byte, decimals) {
            (b'.', None) => decimals = Some(0),
            (b'0', Some(9)) => {}
            (b'1'..=b'9', Some(9)) => return Err(ParseDecimalError::TooFine),
            (b'0'..=b'9', _) => {
                seen_digit = true;
                decimals = decimals.map(|count| count.saturating_add(1));
                value = value.saturating_mul(10).saturating_add(i128::from(byte.saturating_sub(b'0')));
            }
            _ => return Err(ParseDecimalError::InvalidCharacter { offset }),
        }
    }
    if !seen_digit {
        return Err(ParseDecimalError::Empty);
    }
    let missing = 9_u32.saturating_sub(decimals.unwrap_or(0));
    let nanos = value.saturating_mul(10_i128.saturating_pow(missing));
    let nanos = if is_negative { nanos.saturating_neg() } else { nanos };
    i64::try_from(nanos).map_err(|_| ParseDecimalError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_read_as_people_write_them() {
        assert_eq!(parse_decimal("585.33"), Ok(585_330_000_000));
        assert_eq!(parse_decimal("-.5"), Ok(-500_000_000));
        assert_eq!(parse_decimal("+1."), Ok(1_000_000_000));
        assert_eq!(parse_decimal("1.0000000000"), Ok(1_000_000_000));
        assert_eq!(parse_decimal("1.0000000001"), Err(ParseDecimalError::TooFine));
        assert_eq!(parse_decimal("."), Err(ParseDecimalError::Empty));
        assert_eq!(parse_decimal("-1.2.3"), Err(ParseDecimalError::InvalidCharacter { offset: 4 }));
        assert_eq!(parse_decimal("99999999999"), Err(ParseDecimalError::TooLarge));
    }

    #[test]
    fn precision_pads_but_never_rounds() {
        assert_eq!(format!("{:.2}", Decimal::new(1_500_000_000)), "1.50");
        assert_eq!(format!("{:.2}", Decimal::new(1_234_500_000)), "1.2345");
        assert_eq!(Decimal::new(-1).to_string(), "-0.000000001");
        assert_eq!(Decimal::new(0).to_string(), "0");
    }

    proptest! {
        #[test]
        fn every_value_round_trips(nanos: i64) {
            prop_assert_eq!(parse_decimal(&Decimal::new(i128::from(nanos)).to_string()), Ok(nanos));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            prop_assert!(parse_decimal(&text).is_ok() || parse_decimal(&text).is_err());
        }
    }
}
