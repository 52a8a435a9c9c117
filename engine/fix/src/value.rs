//! Values of fields: whole numbers, decimals without floats, booleans, moments.

use core::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::DateTime;
use peregrine_types::{EpochNanos, Price, Qty, parse_decimal};

/// Units of a whole share in what [`parse_decimal`] returns.
const WHOLE: i64 = 1_000_000_000;

/// A whole number without sign (FIX `SeqNum`, `Length`, `NumInGroup`): digits only, leading zeros allowed.
#[must_use]
pub fn parse_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A whole number with an optional minus sign (FIX `int`).
#[must_use]
pub fn parse_int(value: &[u8]) -> Option<i64> {
    match value.strip_prefix(b"-") {
        Some(digits) => i64::try_from(parse_number(digits)?).ok()?.checked_neg(),
        None => i64::try_from(parse_number(value)?).ok(),
    }
}

/// A decimal (FIX `float`: digits, a minus sign, a point; no exponent, no plus sign) in 10⁻⁹; `None` for what is none, is
/// finer than 10⁻⁹ or larger than 9.2 × 10⁹.
#[must_use]
pub fn parse_nanos(value: &[u8]) -> Option<i64> {
    if value.starts_with(b"+") {
        return None;
    }
    parse_decimal(core::str::from_utf8(value).ok()?).ok()
}

/// A price, exact.
#[must_use]
pub fn parse_price(value: &[u8]) -> Option<Price> {
    parse_nanos(value).map(Price)
}

/// A quantity of whole shares: `100`, `100.0` and `100.00` are the same; `0.5` and `-1` are none.
#[must_use]
pub fn parse_qty(value: &[u8]) -> Option<Qty> {
    let nanos = parse_nanos(value)?;
    let whole = nanos.checked_div(WHOLE)?;
    (nanos.checked_rem(WHOLE)? == 0).then_some(())?;
    u64::try_from(whole).ok().map(Qty)
}

/// `Y` or `N`.
#[must_use]
pub const fn parse_bool(value: &[u8]) -> Option<bool> {
    match value {
        b"Y" => Some(true),
        b"N" => Some(false),
        _ => None,
    }
}

/// A moment (FIX `UTCTimestamp`: `YYYYMMDD-HH:MM:SS` with 0, 3, 6 or 9 decimals). A leap second (`:60`) is none.
#[must_use]
pub fn parse_time(value: &[u8]) -> Option<EpochNanos> {
    let (whole, fraction) = value.split_at_checked(17)?;
    let [y0, y1, y2, y3, m0, m1, d0, d1, b'-', h0, h1, b':', n0, n1, b':', s0, s1] = *whole else { return None };
    let two = |a: u8, b: u8| parse_number(&[a, b]).and_then(|number| i8::try_from(number).ok());
    let year = i16::try_from(parse_number(&[y0, y1, y2, y3])?).ok()?;
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] if matches!(digits.len(), 3 | 6 | 9) => {
            let missing = u32::try_from(9_usize.saturating_sub(digits.len())).ok()?;
            i32::try_from(parse_number(digits)?.checked_mul(10_u64.checked_pow(missing)?)?).ok()?
        }
        _ => return None,
    };
    let time = DateTime::new(year, two(m0, m1)?, two(d0, d1)?, two(h0, h1)?, two(n0, n1)?, two(s0, s1)?, nanos).ok()?;
    let stamp = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    i64::try_from(stamp.as_nanosecond()).ok().map(EpochNanos)
}

/// A moment as `YYYYMMDD-HH:MM:SS.sss`, or with nine decimals where milliseconds would lose something.
#[must_use]
pub fn format_time(time: EpochNanos) -> String {
    let mut text = String::with_capacity(27);
    let stamp = Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
    let civil = jiff::tz::TimeZone::UTC.to_datetime(stamp);
    let (date, clock) = (civil.date(), civil.time());
    let nanos = clock.subsec_nanosecond();
    let written = write!(
        text,
        "{:04}{:02}{:02}-{:02}:{:02}:{:02}.",
        date.year(),
        date.month(),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
    let decimals = match nanos.checked_rem(1_000_000) {
        Some(0) => write!(text, "{:03}", nanos.checked_div(1_000_000).unwrap_or(0)),
        Some(_) | None => write!(text, "{nanos:09}"),
    };
    debug_assert!(written.is_ok() && decimals.is_ok(), "a string takes every text");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_exact_and_plus_signs_and_exponents_are_none() {
        assert_eq!(parse_price(b"250.01"), Some(Price(250_010_000_000)));
        assert_eq!(parse_price(b"-0.0001"), Some(Price(-100_000)));
        for text in [&b"+200.00"[..], b"1e3", b"", b".", b"1.0000000001", b"1,5", b" 1", b"\xff"] {
            assert_eq!(parse_price(text), None, "{text:?}");
        }
        assert_eq!(
            (parse_qty(b"100"), parse_qty(b"100.00"), parse_qty(b"00100.")),
            (Some(Qty(100)), Some(Qty(100)), Some(Qty(100)))
        );
        assert_eq!((parse_qty(b"0.5"), parse_qty(b"-1"), parse_qty(b"x")), (None, None, None));
        assert_eq!(
            (parse_number(b"18446744073709551615"), parse_number(b"18446744073709551616")),
            (Some(u64::MAX), None)
        );
        assert_eq!((parse_int(b"-5"), parse_int(b"--5"), parse_int(b"-")), (Some(-5), None, None));
    }

    #[test]
    fn moments_have_zero_three_six_or_nine_decimals() {
        let second = parse_time(b"20260105-14:30:00").unwrap();
        assert_eq!(second, EpochNanos(1_767_623_400_000_000_000));
        assert_eq!(parse_time(b"20260105-14:30:00.250"), Some(EpochNanos(second.0 + 250_000_000)));
        assert_eq!(parse_time(b"20260105-14:30:00.000250"), Some(EpochNanos(second.0 + 250_000)));
        assert_eq!(parse_time(b"20260105-14:30:00.000000250"), Some(EpochNanos(second.0 + 250)));
        for text in [
            &b"20260105-14:30"[..],
            b"20261305-14:30:00",
            b"20260229-14:30:00",
            b"20260105-24:30:00",
            b"20260105-14:30:60",
            b"20260105 14:30:00",
            b"20260105-14:30:00.",
            b"20260105-14:30:00.25",
            b"20260105-14:30:00.25x",
            b"+2026105-14:30:00",
        ] {
            assert_eq!(parse_time(text), None, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(format_time(EpochNanos(second.0 + 1_000_000)), "20260105-14:30:00.001");
    }

    proptest! {
        #[test]
        fn every_moment_round_trips(nanos in 0_i64..4_000_000_000_000_000_000) {
            prop_assert_eq!(parse_time(format_time(EpochNanos(nanos)).as_bytes()), Some(EpochNanos(nanos)));
        }
    }
}
