//! When each event is due. Waiting for a due time is the wiring's work; how late an event was taken, the figures' work.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peregrine_runtime::{Stopwatch, TickRate};
use peregrine_types::{EpochNanos, Nanos};

/// How fast a replay goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it goes.
    Max,
    /// A multiple of the recorded speed, in thousandths: 1,000 is as recorded.
    Recorded {
        /// Thousandths of the recorded speed, above zero.
        speed_milli: u64,
    },
    /// Open loop: this many events per second, their times fixed in advance.
    Rate {
        /// Events per second, above zero.
        events_per_second: u64,
    },
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => return Ok(Self::Max),
            "recorded" => return Ok(Self::Recorded { speed_milli: 1_000 }),
            _ => {}
        }
        let speed = text.strip_prefix('x').and_then(|speed| peregrine_types::parse_decimal(speed).ok());
        let speed_milli = speed.and_then(|nanos| u64::try_from(nanos / 1_000_000).ok()).filter(|milli| *milli > 0);
        speed_milli.map(|speed_milli| Self::Recorded { speed_milli }).ok_or_else(|| {
            format!("pace \"{text}\" is not known; give max, recorded, or xN with N from 0.001, such as x10")
        })
    }
}

/// The due times of a run, shared by the role that waits for them and the role that measures against them.
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    /// Ticks from one event to the next, or of a nanosecond of the recording; fixed point, × 2³². Worked out once: a
    /// division for each event would be among the longest parts of its way.
    step_x2_32: u128,
    /// Events before this moment are due at once, and the schedule begins with the first one that is not.
    from: EpochNanos,
    /// Ticks of the first event (0 until then), its `recv_time` and its index.
    start: Arc<[AtomicU64; 3]>,
}

impl Schedule {
    /// A schedule that begins with its first event.
    #[must_use]
    pub fn new(pace: Pace, rate: TickRate) -> Self {
        // From the ticks of 2³² nanoseconds, so that nothing is lost by rounding.
        let second_x2_32 = u128::from(rate.ticks(Nanos(1 << 32))).saturating_mul(1_000_000_000);
        let step_x2_32 = match pace {
            Pace::Max => 0,
            Pace::Rate { events_per_second } => second_x2_32.div_ceil(u128::from(events_per_second.max(1))),
            Pace::Recorded { speed_milli } => second_x2_32.div_ceil(u128::from(speed_milli.max(1)) * 1_000_000),
        };
        Self { pace, step_x2_32, from: EpochNanos::MIN, start: Arc::default() }
    }

    /// Whether events are due at fixed times at all.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        !matches!(self.pace, Pace::Max)
    }

    /// The same schedule, beginning with the first event of `from` or later.
    #[must_use]
    pub fn starting(self, from: Option<EpochNanos>) -> Self {
        Self { from: from.unwrap_or(EpochNanos::MIN), ..self }
    }

    /// Whether the schedule has not begun and an event of `recv_time` begins it.
    #[inline]
    #[must_use]
    pub fn is_to_begin(&self, recv_time: EpochNanos) -> bool {
        self.start[0].load(Ordering::Relaxed) == 0 && recv_time >= self.from
    }

    /// Notes that the first event, `index`, came: `now` in ticks.
    pub fn begin(&self, now: u64, index: u64, first_time: EpochNanos) {
        let [ticks, time, first_index] = &*self.start;
        time.store(first_time.0.cast_unsigned(), Ordering::Relaxed);
        first_index.store(index, Ordering::Relaxed);
        ticks.store(now.max(1), Ordering::Release);
    }

    /// When the event `index` with `recv_time` is due, in ticks; `None` when it is due as soon as it can be had, or
    /// before the schedule began.
    #[inline]
    #[must_use]
    pub fn due(&self, index: u64, recv_time: EpochNanos) -> Option<u64> {
        if !self.is_timed() {
            return None;
        }
        let [ticks, time, first_index] = &*self.start;
        let start = ticks.load(Ordering::Acquire);
        let index = index.checked_sub(first_index.load(Ordering::Relaxed)).filter(|_| start != 0)?;
        let steps = match self.pace {
            Pace::Max => return None,
            Pace::Rate { .. } => index,
            Pace::Recorded { .. } => {
                let first = EpochNanos(time.load(Ordering::Relaxed).cast_signed());
                recv_time.since(first).0.max(0).cast_unsigned()
            }
        };
        let after = u64::try_from(u128::from(steps).saturating_mul(self.step_x2_32) >> 32).unwrap_or(u64::MAX);
        Some(start.saturating_add(after))
    }
}

/// Waits, spinning, until `due`; `idle` is called in every turn.
#[inline]
pub fn wait_until(due: u64, stopwatch: &impl Stopwatch, mut idle: impl FnMut()) {
    while stopwatch.start() < due {
        idle();
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_read_as_people_write_them() {
        assert_eq!("max".parse(), Ok(Pace::Max));
        assert_eq!("x10".parse(), Ok(Pace::Recorded { speed_milli: 10_000 }));
        assert_eq!("x0.5".parse(), Ok(Pace::Recorded { speed_milli: 500 }));
        assert!("x0".parse::<Pace>().is_err() && "fast".parse::<Pace>().is_err());
    }

    #[test]
    fn due_times_are_fixed_by_the_first_event() {
        let rate = TickRate::measured(2_000_000_000, Nanos(1_000_000_000)).unwrap();
        let schedule = Schedule::new(Pace::Rate { events_per_second: 1_000 }, rate);
        assert_eq!(schedule.due(0, EpochNanos(5)), None);
        schedule.begin(100, 0, EpochNanos(5));
        assert_eq!(schedule.due(3, EpochNanos(5)), Some(100 + 6_000_000));
        let recorded = Schedule::new(Pace::Recorded { speed_milli: 2_000 }, rate);
        recorded.begin(100, 0, EpochNanos(5));
        assert_eq!(recorded.due(9, EpochNanos(1_005)), Some(100 + 1_000));
        assert_eq!(Schedule::new(Pace::Max, rate).due(9, EpochNanos(0)), None);
    }

    #[test]
    fn a_schedule_that_begins_later_lets_what_is_earlier_pass() {
        let rate = TickRate::measured(2_000_000_000, Nanos(1_000_000_000)).unwrap();
        for (pace, second) in [
            (Pace::Rate { events_per_second: 1_000 }, 100 + 2_000_000),
            (Pace::Recorded { speed_milli: 1_000 }, 100 + 2 * 40),
        ] {
            let schedule = Schedule::new(pace, rate).starting(Some(EpochNanos(50)));
            assert!(!schedule.is_to_begin(EpochNanos(49)) && schedule.is_to_begin(EpochNanos(60)));
            schedule.begin(100, 7, EpochNanos(60));
            assert!(!schedule.is_to_begin(EpochNanos(70)));
            let due = [(6, 49), (7, 60), (8, 100)].map(|(index, time)| schedule.due(index, EpochNanos(time)));
            assert_eq!(due, [None, Some(100), Some(second)], "{pace:?}");
        }
    }
}
