//! Figures for people: spans, counts, sizes, shares, moments. Integers in, text out; nothing is rounded to zero.

use std::fmt::Write;

use jiff::{Timestamp, tz::TimeZone};
use peregrine_types::{EpochNanos, Notional};

use crate::latency::precise;

/// A span with three significant digits and its unit, such as `1.24 µs`; whole nanoseconds below 1 µs.
#[must_use]
pub fn nanos(span_ns: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    // A value that rounds up to 1,000 of a unit belongs to the next one.
    let unit = UNITS.into_iter().find(|(unit, _)| span_ns >= unit.saturating_sub(unit / 2_000));
    match unit {
        Some((unit, name)) => format!("{} {name}", three_digits(span_ns, unit)),
        None => format!("{span_ns} ns"),
    }
}

/// [`nanos`] of a span that may be below zero.
#[must_use]
pub fn signed_nanos(span_ns: i64) -> String {
    let sign = if span_ns < 0 { "-" } else { "" };
    format!("{sign}{}", nanos(span_ns.unsigned_abs()))
}

/// `value / unit` with three significant digits, rounded half up; all digits before the point.
fn three_digits(value: u64, unit: u64) -> String {
    let (value, unit) = (u128::from(value), u128::from(unit));
    let rounded = |digits: u32| {
        let scale = 10_u128.pow(digits);
        (value * scale + unit / 2) / unit
    };
    for digits in [2_u32, 1] {
        let scaled = rounded(digits);
        if scaled < 1_000 {
            let scale = 10_u128.pow(digits);
            return format!("{}.{:0width$}", scaled / scale, scaled % scale, width = digits as usize);
        }
    }
    grouped(&rounded(0).to_string())
}

/// A count with thousands separated, such as `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A signed count with thousands separated.
#[must_use]
pub fn signed(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", count(value.unsigned_abs()))
}

/// A count in short, such as `1.24 M`; whole below 10,000.
#[must_use]
pub fn short_count(value: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if value < 10_000 {
        return count(value);
    }
    match UNITS.into_iter().find(|(unit, _)| value >= unit.saturating_sub(unit / 2_000)) {
        Some((unit, name)) => format!("{} {name}", three_digits(value, unit)),
        None => count(value),
    }
}

/// A size in binary units, such as `1.50 MiB`; whole bytes below 1 KiB.
#[must_use]
pub fn bytes(len: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| len >= *unit) {
        Some((unit, name)) => format!("{} {name}", three_digits(len, unit)),
        None => format!("{len} B"),
    }
}

/// `part` of `whole` as a percentage, such as `12.3 %`; `<0.1 %` for a part too small to show, `–` of nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = ratio(part, whole) * 100.0;
    if part > 0 && share < 0.05 { "<0.1 %".to_owned() } else { format!("{share:.1} %") }
}

/// `part / whole`, 0 of nothing; always finite.
#[must_use]
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { precise(part) / precise(whole) }
}

/// Money rounded to cents, half away from zero, with thousands separated, such as `-1,234.50`.
#[must_use]
pub fn money(value: Notional) -> String {
    const CENT: u128 = 10_000_000;
    let cents = value.0.unsigned_abs().saturating_add(CENT / 2) / CENT;
    let sign = if value.0 < 0 && cents > 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", grouped(&(cents / 100).to_string()), cents % 100)
}

/// A moment as RFC 3339 in UTC with as many decimals as it needs, such as `2026-01-30T14:30:00.25Z`.
#[must_use]
pub fn utc(moment: EpochNanos) -> String {
    timestamp(moment).to_string()
}

/// The time of day of a moment in UTC with milliseconds, such as `14:30:00.250`.
#[must_use]
pub fn time_of_day(moment: EpochNanos) -> String {
    timestamp(moment).to_zoned(TimeZone::UTC).strftime("%H:%M:%S.%3f").to_string()
}

/// Two moments in UTC with milliseconds, `2026-01-30 14:30:00.250 to 16:00:00.000 UTC`: the second with its date where
/// that is another one.
#[must_use]
pub fn moments(first: EpochNanos, last: EpochNanos) -> String {
    let date = |moment| timestamp(moment).to_zoned(TimeZone::UTC).date();
    let day = if date(first) == date(last) { String::new() } else { format!("{} ", date(last)) };
    format!("{} {} to {day}{} UTC", date(first), time_of_day(first), time_of_day(last))
}

/// Every i64 of nanoseconds lies in the range of a timestamp.
fn timestamp(moment: EpochNanos) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(moment.0)).unwrap_or_default()
}

/// Bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Digits with a comma between every three.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len().saturating_mul(2));
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_three_digits_and_the_right_unit() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (1_236, "1.24 µs"),
            (12_345, "12.3 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (59_999_000_000, "60.0 s"),
            (123_456_000_000_000, "123,456 s"),
            (u64::MAX, "18,446,744,074 s"),
        ];
        for (span, text) in cases {
            assert_eq!(nanos(span), text);
        }
    }

    #[test]
    fn counts_sizes_and_shares() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(signed(i64::MIN), "-9,223,372,036,854,775,808");
        assert_eq!([-1_240, 0].map(signed_nanos), ["-1.24 µs", "0 ns"]);
        assert_eq!(short_count(9_999), "9,999");
        assert_eq!(short_count(12_345), "12.3 k");
        assert_eq!(short_count(999_999), "1.00 M");
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_572_864), "1.50 MiB");
        assert_eq!(bytes(u64::MAX), "16,777,216 TiB");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(1, 100_000), "<0.1 %");
        assert_eq!(percent(0, 5), "0.0 %");
        assert_eq!(percent(0, 0), "–");
    }

    #[test]
    fn money_is_rounded_to_cents_and_keeps_its_sign() {
        assert_eq!(money(Notional(1_234_567_890_000_000)), "1,234,567.89");
        assert_eq!(money(Notional(-5_000_000)), "-0.01");
        assert_eq!(money(Notional(-4_999_999)), "0.00");
        assert_eq!(money(Notional(i128::MIN)), "-170,141,183,460,469,231,731,687,303,715.88");
    }

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(utc(EpochNanos(1_769_783_400_250_000_000)), "2026-01-30T14:30:00.25Z");
        assert_eq!(time_of_day(EpochNanos(1_769_783_400_250_000_000)), "14:30:00.250");
        let (day, late) =
            (EpochNanos(1_769_783_400_250_000_000), EpochNanos(1_769_783_400_250_000_000 + 36_000_000_000_000));
        assert_eq!(moments(day, day), "2026-01-30 14:30:00.250 to 14:30:00.250 UTC");
        assert_eq!(moments(day, late), "2026-01-30 14:30:00.250 to 2026-01-31 00:30:00.250 UTC");
        assert_eq!(utc(EpochNanos::MIN), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(utc(EpochNanos::MAX), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn bytes_are_written_as_hexadecimal() {
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
    }
}
