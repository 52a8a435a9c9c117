//! Times of the sources: which unit they are in, whether they are plausible, and which one stamps a message.

use peregrine_types::{EpochNanos, Nanos};
use serde::Serialize;

use crate::{ConvertError, Finding, Place, findings::Findings};

/// Which of a row's clocks becomes the message's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StampClock {
    /// The receiver's: when somebody could know it. Rows without one take the exchange's.
    #[default]
    Receive,
    /// The exchange's. Rows without one take the receiver's.
    Exchange,
}

/// The unit of a count since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// Least count of seconds that is taken for a time: 2001-09-09, from which on the four units cannot be mistaken for each
/// other until 2262.
const SECONDS_MIN: u64 = 1_000_000_000;

impl TimeUnit {
    const ALL: [Self; 4] = [Self::Seconds, Self::Millis, Self::Micros, Self::Nanos];

    /// Nanoseconds in one.
    const fn nanos(self) -> u64 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Millis => 1_000_000,
            Self::Micros => 1_000,
            Self::Nanos => 1,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Micros => "us",
            Self::Nanos => "ns",
        }
    }
}

/// The moment that `count` since 1970 means, and the unit that it must be in; `None` where no unit gives a moment from
/// 2001-09-09 to 2262-04-11.
pub(crate) fn moment(count: u64) -> Option<(TimeUnit, EpochNanos)> {
    TimeUnit::ALL.into_iter().find_map(|unit| {
        let per_second = 1_000_000_000 / unit.nanos();
        let nanos = i64::try_from(count.checked_mul(unit.nanos())?).ok()?;
        (count / per_second >= SECONDS_MIN && count / per_second < 10 * SECONDS_MIN)
            .then_some((unit, EpochNanos(nanos)))
    })
}

/// A moment given in nanoseconds, where it is plausible.
pub(crate) fn moment_ns(count: u64) -> Option<EpochNanos> {
    moment(count).filter(|(unit, _)| *unit == TimeUnit::Nanos).map(|(_, time)| time)
}

/// A column of times, whose unit is that of its first row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeColumn {
    name: &'static str,
    /// What it means that a row has no plausible time here.
    finding: Finding,
    unit: Option<TimeUnit>,
}

impl TimeColumn {
    /// A column without which a row is dropped.
    pub(crate) const fn needed(name: &'static str) -> Self {
        Self { name, finding: Finding::TimeImplausible, unit: None }
    }

    /// A column that a row can do without.
    pub(crate) const fn other(name: &'static str) -> Self {
        Self { name, finding: Finding::ClockImplausible, unit: None }
    }

    /// The moment of the next row, `None` (and a finding) where it is none, or is in another unit.
    pub(crate) fn read(
        &mut self,
        count: u64,
        place: Place,
        findings: &mut Findings,
    ) -> Result<Option<EpochNanos>, ConvertError> {
        let found = moment(count);
        match (found, self.unit) {
            (Some((unit, time)), None) => {
                self.unit = Some(unit);
                Ok(Some(time))
            }
            (Some((unit, time)), Some(known)) if unit == known => Ok(Some(time)),
            (found, known) => {
                let unit = |unit: Option<TimeUnit>| unit.map_or("no unit", TimeUnit::name);
                let (is, before) = (unit(found.map(|(unit, _)| unit)), unit(known));
                let name = self.name;
                let detail = || format!("{name} {count} is a time in {is}, rows before are in {before}");
                findings.add(self.finding, place, detail)?;
                Ok(None)
            }
        }
    }
}

/// A row's times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// By the receiver's clock, where it has one.
    pub(crate) recv: Option<EpochNanos>,
    /// By the exchange's clock.
    pub(crate) exch: Option<EpochNanos>,
}

/// Checks the times of one row after the other, and chooses the stamps.
#[derive(Debug)]
pub(crate) struct Clock {
    stamp: StampClock,
    bound: Nanos,
    recv_last: EpochNanos,
    stamp_last: EpochNanos,
    delay: Option<(Nanos, Nanos)>,
}

impl Clock {
    pub(crate) const fn new(stamp: StampClock, bound: Nanos) -> Self {
        Self { stamp, bound, recv_last: EpochNanos::MIN, stamp_last: EpochNanos::MIN, delay: None }
    }

    /// Least and largest receive time less exchange time.
    pub(crate) const fn delay(&self) -> Option<(Nanos, Nanos)> {
        self.delay
    }

    /// The stamp of a row with these times, never before the one of the row before; `None` for a row without a time. A
    /// time at or past `end` is given back as it is and holds up nothing: it may be a mistake of one row.
    pub(crate) fn stamp(
        &mut self,
        (times, end): (Times, EpochNanos),
        place: Place,
        findings: &mut Findings,
    ) -> Result<Option<EpochNanos>, ConvertError> {
        let chosen = match self.stamp {
            StampClock::Receive => times.recv.or(times.exch),
            StampClock::Exchange => times.exch.or(times.recv),
        };
        let Some(time) = chosen.filter(|time| *time < end) else { return Ok(chosen) };
        if let Some(recv) = times.recv {
            if recv < self.recv_last {
                let span = self.recv_last.since(recv).0;
                findings.add(Finding::ReceiveBackward, place, || format!("{span} ns back"))?;
            }
            self.recv_last = self.recv_last.max(recv);
        }
        if let (Some(recv), Some(exch)) = (times.recv, times.exch) {
            let delay = recv.since(exch);
            let (least, most) = self.delay.unwrap_or((delay, delay));
            self.delay = Some((least.min(delay), most.max(delay)));
            if exch.since(recv) > self.bound {
                findings.add(Finding::ExchangeAhead, place, || format!("{} ns ahead", exch.since(recv).0))?;
            }
        }
        if time < self.stamp_last && (self.stamp == StampClock::Exchange || times.recv.is_none()) {
            let span = self.stamp_last.since(time).0;
            findings.add(Finding::ExchangeBackward, place, || format!("{span} ns back"))?;
        }
        self.stamp_last = self.stamp_last.max(time);
        Ok(Some(self.stamp_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(recv: i64, exch: i64) -> Times {
        Times { recv: Some(EpochNanos(recv)), exch: Some(EpochNanos(exch)) }
    }

    #[test]
    fn units_are_told_by_magnitude() {
        let same = EpochNanos(1_723_161_256_000_000_000);
        for (count, unit) in [
            (1_723_161_256, TimeUnit::Seconds),
            (1_723_161_256_000, TimeUnit::Millis),
            (1_723_161_256_000_000, TimeUnit::Micros),
            (1_723_161_256_000_000_000, TimeUnit::Nanos),
        ] {
            assert_eq!(moment(count), Some((unit, same)));
        }
        for count in [0, 1, 999_999_999, 20_240_808, 17_231_612_560, 172_316_125_600_000, u64::MAX] {
            assert_eq!(moment(count), None, "{count}");
        }
    }

    #[test]
    fn a_column_keeps_its_unit() {
        let mut findings = Findings::new(false);
        let mut column = TimeColumn::needed("local time");
        let mut read = |count| column.read(count, Place::Line(1), &mut findings).unwrap();
        assert!(read(1_723_161_256_000_000_000).is_some());
        assert!(read(1_723_161_256_000).is_none());
        assert!(read(5).is_none());
        assert!(read(1_723_161_257_000_000_000).is_some());
        assert_eq!(findings.into_entries()["time_implausible"].count, 2);
    }

    const END: EpochNanos = EpochNanos(1_000);

    #[test]
    fn clocks_are_held_against_each_other() {
        let mut findings = Findings::new(false);
        let mut clock = Clock::new(StampClock::Receive, Nanos(10));
        let here = Place::Line(1);
        assert_eq!(clock.stamp((at(100, 90), END), here, &mut findings).unwrap(), Some(EpochNanos(100)));
        assert_eq!(clock.stamp((at(99, 109), END), here, &mut findings).unwrap(), Some(EpochNanos(100)));
        assert_eq!(clock.stamp((at(101, 112), END), here, &mut findings).unwrap(), Some(EpochNanos(101)));
        assert_eq!(clock.stamp((at(1_000, 1_000), END), here, &mut findings).unwrap(), Some(END));
        assert_eq!(clock.stamp((at(102, 100), END), here, &mut findings).unwrap(), Some(EpochNanos(102)));
        assert_eq!(clock.delay(), Some((Nanos(-11), Nanos(10))));
        assert_eq!(clock.stamp((Times::default(), END), here, &mut findings).unwrap(), None);
        let entries = findings.into_entries();
        assert_eq!(entries["receive_time_backward"].count, 1);
        assert_eq!(entries["exchange_time_ahead"].count, 1, "a nanosecond less is within the bound");
    }

    proptest! {
        #[test]
        fn stamps_never_go_back(rows: Vec<(i32, i32)>, by_exchange: bool) {
            let stamp = if by_exchange { StampClock::Exchange } else { StampClock::Receive };
            let (mut clock, mut findings) = (Clock::new(stamp, Nanos(0)), Findings::new(false));
            let mut last = EpochNanos::MIN;
            for (recv, exch) in rows {
                let times = at(i64::from(recv), i64::from(exch));
                let next = clock.stamp((times, EpochNanos(i64::MAX)), Place::Line(1), &mut findings).unwrap().unwrap();
                prop_assert!(next >= last);
                last = next;
            }
        }
    }
}
