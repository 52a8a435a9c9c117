//! Which trading day a file belongs to, and when that day begins.

use std::path::Path;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use peregrine_types::EpochNanos;

use crate::{Session, SourceError};

/// The zone in which Nasdaq's clocks count from midnight.
pub const NASDAQ_ZONE: &str = "America/New_York";

/// The moment at which `date` begins in the time zone `zone` (a name of the IANA table).
///
/// # Errors
/// [`SourceError::Zone`] when the zone is unknown or the day is outside the range of [`EpochNanos`].
pub fn session_midnight(date: Date, zone: &str) -> Result<EpochNanos, SourceError> {
    let refuse = |reason: String| SourceError::Zone { zone: zone.to_owned(), date, reason };
    let table = TimeZone::get(zone).map_err(|error| refuse(error.to_string()))?;
    let start = date.to_zoned(table).map_err(|error| refuse(error.to_string()))?;
    let nanos = i64::try_from(start.timestamp().as_nanosecond());
    nanos.map(EpochNanos).map_err(|_| refuse("outside the years 1677 to 2262".to_owned()))
}

/// The session of `date` in `zone`.
///
/// # Errors
/// As [`session_midnight`].
pub fn session_of(date: Date, zone: &str) -> Result<Session, SourceError> {
    Ok(Session { date, midnight: session_midnight(date, zone)? })
}

/// The day on which `time` falls in `zone`; `None` when the zone is unknown.
#[must_use]
pub fn date_of(time: EpochNanos, zone: &str) -> Option<Date> {
    let timestamp = Timestamp::from_nanosecond(i128::from(time.0)).ok()?;
    Some(timestamp.to_zoned(TimeZone::get(zone).ok()?).date())
}

/// The day that the file name of `path` tells: `20120621`, `2012-06-21`, `01302020` (month first) or `S081321` (month
/// first, years 2000 to 2099). The first that is a date counts.
#[must_use]
pub fn date_in_name(path: &Path) -> Option<Date> {
    let name = path.file_name()?.to_str()?.as_bytes();
    (0..name.len()).find_map(|at| {
        let before = at.checked_sub(1).and_then(|before| name.get(before)).copied();
        let rest = name.get(at..)?;
        date_at(before, rest)
    })
}

/// The date that `rest` begins with, where `before` is the character in front of it.
fn date_at(before: Option<u8>, rest: &[u8]) -> Option<Date> {
    if before.is_some_and(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digit_count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = |start: usize, len: usize| digits(rest.get(start..start.saturating_add(len))?);
    match digit_count {
        8 => day(number(0, 4), number(4, 2), number(6, 2)).or_else(|| day(number(4, 4), number(0, 2), number(2, 2))),
        6 if matches!(before, Some(b'S' | b's')) => {
            day(number(4, 2).map(|year| year.saturating_add(2000)), number(0, 2), number(2, 2))
        }
        4 if rest.get(4) == Some(&b'-') && rest.get(7) == Some(&b'-') => day(number(0, 4), number(5, 2), number(8, 2)),
        _ => None,
    }
}

fn day(year: Option<i16>, month: Option<i16>, day: Option<i16>) -> Option<Date> {
    let year = year.filter(|year| (1970..2262).contains(year))?;
    Date::new(year, i8::try_from(month?).ok()?, i8::try_from(day?).ok()?).ok()
}

fn digits(text: &[u8]) -> Option<i16> {
    core::str::from_utf8(text).ok()?.parse().ok()
}
