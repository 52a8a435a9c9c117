//! Decimals as JSON and CSV have them.

use peregrine_types::parse_decimal;

/// Exponents beyond this are of no price or quantity.
const EXPONENT_MAX: u32 = 40;

/// A decimal of zero or above in 10⁻⁹, exactly; an exponent (`4.7e-7`) moves its point.
///
/// # Errors
/// The text with what is wrong with it.
pub fn decimal(text: &str) -> Result<i64, String> {
    let parsed = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            parse_decimal(&moved(mantissa, exponent).ok_or_else(|| format!("{text:?} is no decimal"))?)
        }
        None => parse_decimal(text),
    };
    let value = parsed.map_err(|error| format!("{text:?}: {error}"))?;
    if value < 0 { Err(format!("{text:?} is below zero")) } else { Ok(value) }
}

/// `mantissa` with its point moved by `exponent` places; `None` where one of them is no number, or the exponent beyond
/// [`EXPONENT_MAX`]. What else is wrong with the mantissa is still wrong behind it.
fn moved(mantissa: &str, exponent: &str) -> Option<String> {
    let by = exponent.parse::<i32>().ok().filter(|by| by.unsigned_abs() <= EXPONENT_MAX)?;
    if !mantissa.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = "0".repeat(usize::try_from(by.unsigned_abs()).ok()?);
    if by >= 0 {
        let digits = format!("{fraction}{zeros}");
        let (up, down) = digits.split_at_checked(zeros.len())?;
        return Some(format!("{whole}{up}.{down}"));
    }
    let digits = format!("{zeros}{whole}");
    let (up, down) = digits.split_at_checked(digits.len().checked_sub(zeros.len())?)?;
    Some(format!("{up}.{down}{fraction}"))
}
