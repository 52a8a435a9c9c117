//! The venue's clock: what time of its day it is, a day that may run faster than the wall's.

use peregrine_types::{EpochNanos, Nanos};

use crate::orders::TimeOfDay;

/// Maps moments to times of the venue's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenueClock {
    /// The moment at which the venue's day stands at `day_start`.
    pub wall_start: EpochNanos,
    /// The time of day at that moment.
    pub day_start: TimeOfDay,
    /// How many nanoseconds of the day pass in one of the wall, at least 1.
    pub speed: u32,
}

impl VenueClock {
    /// A clock that counts from `midnight`, as fast as the wall's.
    #[must_use]
    pub const fn from_midnight(midnight: EpochNanos) -> Self {
        Self { wall_start: midnight, day_start: TimeOfDay(0), speed: 1 }
    }

    /// The time of day at `now`; before its start the clock stands.
    #[must_use]
    pub fn time_of_day(&self, now: EpochNanos) -> TimeOfDay {
        let passed = u64::try_from(now.since(self.wall_start).0).unwrap_or(0);
        TimeOfDay(self.day_start.0.saturating_add(passed.saturating_mul(u64::from(self.speed.max(1)))))
    }

    /// The first moment at which `time` is reached.
    #[must_use]
    pub fn moment(&self, time: TimeOfDay) -> EpochNanos {
        let ahead = time.0.saturating_sub(self.day_start.0).div_ceil(u64::from(self.speed.max(1)));
        self.wall_start.plus(Nanos(i64::try_from(ahead).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_first_at_which_its_time_is_reached() {
        let clock = VenueClock { wall_start: EpochNanos(1_000), day_start: TimeOfDay(500), speed: 7 };
        assert_eq!(clock.time_of_day(EpochNanos(0)), TimeOfDay(500), "before the start the clock stands");
        assert_eq!(clock.time_of_day(EpochNanos(1_003)), TimeOfDay(521));
        for time in 500..600 {
            let moment = clock.moment(TimeOfDay(time));
            assert!(clock.time_of_day(moment).0 >= time);
            let is_first = time == 500 || clock.time_of_day(EpochNanos(moment.0 - 1)).0 < time;
            assert!(is_first, "{time}");
        }
        let midnight = VenueClock::from_midnight(EpochNanos(10));
        assert_eq!(midnight.time_of_day(EpochNanos(25)), TimeOfDay(15));
    }
}
