//! Dates and times of bar files.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// A date written `YYYYMMDD`, `YYYY-MM-DD`, `YYYY/MM/DD` or `MM/DD/YYYY`.
pub(crate) fn parse_date(text: &str) -> Option<Date> {
    let text = text.trim();
    let formats = ["%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y"];
    formats.iter().find_map(|format| Date::strptime(format, text).ok())
}

/// What a bar's time column says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stamp {
    /// A day, without time or at midnight.
    Day(Date),
    /// A local time of the venue.
    Local(DateTime),
    /// A moment.
    Moment(Timestamp),
}

/// A date, a date with time (`YYYYMMDD HH:MM`, `YYYY-MM-DD HH:MM[:SS[.fraction]]`, with `T` or a blank), a moment with
/// offset or `Z`, or seconds, milliseconds, microseconds or nanoseconds since 1970 (by their magnitude).
pub(crate) fn parse_stamp(text: &str) -> Option<Stamp> {
    let text = text.trim();
    if let Some(date) = parse_date(text) {
        return Some(Stamp::Day(date));
    }
    if let Ok(number) = text.parse::<i64>() {
        return of_epoch(number).map(Stamp::Moment);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(Stamp::Moment(moment));
    }
    let compact = || DateTime::strptime("%Y%m%d %H:%M", text).ok();
    let time = text.parse::<DateTime>().ok().or_else(compact);
    time.map(|time| if time.time() == Time::midnight() { Stamp::Day(time.date()) } else { Stamp::Local(time) })
}

/// Numbers below 10¹¹ are seconds, below 10¹⁴ milliseconds, below 10¹⁷ microseconds, else nanoseconds; 10⁸ and below
/// would be dates of 1970 to 1973 and are not taken for moments.
fn of_epoch(number: i64) -> Option<Timestamp> {
    match number {
        ..=100_000_000 => None,
        100_000_001..100_000_000_000 => Timestamp::from_second(number).ok(),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number).ok(),
        100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_microsecond(number).ok(),
        100_000_000_000_000_000.. => Timestamp::from_nanosecond(i128::from(number)).ok(),
    }
}

/// Nanoseconds UTC of a local date and time.
pub(crate) fn local_nanos(date: Date, time: Time, zone: &TimeZone) -> Option<i64> {
    let zoned = date.to_datetime(time).to_zoned(zone.clone()).ok()?;
    i64::try_from(zoned.timestamp().as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};

    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        let day = Stamp::Day(date(2004, 2, 29));
        for text in ["20040229", "2004-02-29", "2004/02/29", "02/29/2004", "20040229 00:00", "2004-02-29 00:00:00"] {
            assert_eq!(parse_stamp(text), Some(day), "{text}");
        }
        let local = Stamp::Local(date(2004, 2, 29).at(9, 31, 0, 0));
        for text in ["20040229 09:31", "2004-02-29 09:31:00", "2004-02-29T09:31:00", "2004-02-29 09:31"] {
            assert_eq!(parse_stamp(text), Some(local), "{text}");
        }
        let moment = Stamp::Moment(Timestamp::from_second(1_078_065_060).unwrap());
        for text in ["2004-02-29T14:31:00Z", "2004-02-29 09:31:00-05:00", "1078065060", "1078065060000"] {
            assert_eq!(parse_stamp(text), Some(moment), "{text}");
        }
        for text in ["", "2004-02-30", "close", "20041301", "12"] {
            assert_eq!(parse_stamp(text), None, "{text}");
        }
    }

    #[test]
    fn local_times_follow_daylight_saving() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let close = |day| local_nanos(day, time(16, 0, 0, 0), &zone).unwrap() / 3_600_000_000_000 % 24;
        assert_eq!((close(date(2020, 1, 15)), close(date(2020, 7, 15))), (21, 20));
    }
}
