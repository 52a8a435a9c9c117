//! The session calendar: which days have a session, and when its steps are.

use crate::TimeOfDay;

const HOUR_NS: u64 = 3_600_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

/// A part of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No orders: before and after the system's hours.
    Closed,
    /// Extended trading before the market opens.
    PreMarket,
    /// The market's hours.
    Market,
    /// Extended trading after the market closed.
    PostMarket,
}

/// A step of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The feed begins: directory and trading states.
    StartMessages,
    /// Orders are taken.
    StartSystem,
    /// The market opens with the opening cross.
    OpenMarket,
    /// The market closes with the closing cross.
    CloseMarket,
    /// No more orders; what rests is cancelled.
    EndSystem,
    /// The feed ends.
    EndMessages,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 6] = [
        Self::StartMessages,
        Self::StartSystem,
        Self::OpenMarket,
        Self::CloseMarket,
        Self::EndSystem,
        Self::EndMessages,
    ];

    /// The event code of ITCH 5.0, System Event.
    #[must_use]
    pub const fn event_code(self) -> u8 {
        match self {
            Self::StartMessages => b'O',
            Self::StartSystem => b'S',
            Self::OpenMarket => b'Q',
            Self::CloseMarket => b'M',
            Self::EndSystem => b'E',
            Self::EndMessages => b'C',
        }
    }

    /// The part of the day that begins with it.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self {
            Self::StartMessages | Self::EndSystem | Self::EndMessages => Phase::Closed,
            Self::StartSystem => Phase::PreMarket,
            Self::OpenMarket => Phase::Market,
            Self::CloseMarket => Phase::PostMarket,
        }
    }
}

/// The times of one session, in nanoseconds since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySchedule {
    /// When each of [`Step::ALL`] is due; never falling.
    pub times: [TimeOfDay; 6],
    /// How long before a cross its orders can no longer be cancelled (Nasdaq: two minutes before the open).
    pub late_ns: u64,
}

impl DaySchedule {
    /// A full day of Nasdaq: 03:00 feed, 04:00 system, 09:30 to 16:00 market, 20:00 end.
    #[must_use]
    pub const fn full() -> Self {
        Self::closing_at(16 * HOUR_NS, 20 * HOUR_NS)
    }

    /// A half day of Nasdaq: the market closes at 13:00, the system at 17:00.
    #[must_use]
    pub const fn half() -> Self {
        Self::closing_at(13 * HOUR_NS, 17 * HOUR_NS)
    }

    const fn closing_at(close: u64, end: u64) -> Self {
        let open = 9 * HOUR_NS + 30 * MINUTE_NS;
        let times = [
            TimeOfDay(3 * HOUR_NS),
            TimeOfDay(4 * HOUR_NS),
            TimeOfDay(open),
            TimeOfDay(close),
            TimeOfDay(end),
            TimeOfDay(end + 5 * MINUTE_NS),
        ];
        Self { times, late_ns: 2 * MINUTE_NS }
    }

    /// When a step is due.
    #[must_use]
    pub const fn time_of(&self, step: Step) -> TimeOfDay {
        self.times[step as usize]
    }

    /// Whether `time` lies so shortly before `step` that its cross is being prepared.
    #[must_use]
    pub const fn is_late_for(&self, step: Step, time: TimeOfDay) -> bool {
        let due = self.time_of(step).0;
        time.0 < due && time.0 >= due.saturating_sub(self.late_ns)
    }
}

/// A day of the civil calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Year, from 1.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day, 1 to 31.
    pub day: u8,
}

impl Date {
    /// Saturday or Sunday, by Zeller's congruence for the Gregorian calendar (0 is Saturday, 1 Sunday).
    #[must_use]
    pub fn is_weekend(self) -> bool {
        let shift = u32::from(self.month < 3);
        let (month, year) = (u32::from(self.month) + 12 * shift, u32::from(self.year) - shift);
        let (in_century, century) = (year % 100, year / 100);
        let weekday =
            u32::from(self.day) + 13 * (month + 1) / 5 + in_century + in_century / 4 + century / 4 + 5 * century;
        weekday % 7 < 2
    }
}

/// Which days have a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Days without one, weekends apart.
    pub holidays: Vec<Date>,
    /// Days that close early.
    pub half_days: Vec<Date>,
}

impl Calendar {
    /// The session of a day, `None` for a weekend or holiday.
    #[must_use]
    pub fn session(&self, date: Date) -> Option<DaySchedule> {
        self.hours(date, (DaySchedule::full(), DaySchedule::half()))
    }

    /// The hours of a day, full or half ones, `None` for a weekend or holiday.
    #[must_use]
    pub fn hours(&self, date: Date, (full, half): (DaySchedule, DaySchedule)) -> Option<DaySchedule> {
        if date.is_weekend() || self.holidays.contains(&date) {
            return None;
        }
        Some(if self.half_days.contains(&date) { half } else { full })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn date(year: u16, month: u8, day: u8) -> Date {
        Date { year, month, day }
    }

    #[test]
    fn weekends_holidays_and_half_days_are_told_apart() {
        let calendar = Calendar { holidays: vec![date(2026, 11, 26)], half_days: vec![date(2026, 11, 27)] };
        assert_eq!(calendar.session(date(2026, 11, 20)), Some(DaySchedule::full()), "a Friday");
        for day in [date(2026, 11, 21), date(2026, 11, 22), date(2026, 11, 26), date(2000, 1, 1), date(2024, 2, 25)] {
            assert_eq!(calendar.session(day), None, "{day:?}");
        }
        assert_eq!(calendar.session(date(2026, 11, 27)), Some(DaySchedule::half()));
        assert_eq!(calendar.session(date(2024, 2, 29)), Some(DaySchedule::full()), "a Thursday");
    }

    #[test]
    fn the_late_period_ends_with_the_cross() {
        let day = DaySchedule::full();
        let open = day.time_of(Step::OpenMarket).0;
        let is_late = |time| day.is_late_for(Step::OpenMarket, TimeOfDay(time));
        assert_eq!(
            [open - 120_000_000_001, open - 120_000_000_000, open - 1, open].map(is_late),
            [false, true, true, false]
        );
        assert!(day.times.is_sorted() && DaySchedule::half().times.is_sorted());
    }
}
