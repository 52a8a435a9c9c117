//! Whether the system's clock goes on as it did: a step of it is noticed beside the hot path, by a thread that holds it
//! against the clock of the time-outs, which nobody sets.
//!
//! Packets are stamped by the system's clock. After a step back every stamp is raised to the last one, after a step
//! forward every age is wrong: while the clocks disagree nothing new is to be ordered.

use std::thread::JoinHandle;
use std::time::Duration;

use peregrine_runtime::{StopFlag, TscClock};
use peregrine_types::{EpochNanos, Nanos};

use super::silence::FeedSilence;
use crate::exit::Failure;

/// Time between two looks: a step is heeded this long after it, at most, if the thread is let run.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// One part in this many is no step: clocks that tick at a slightly different rate, or one that is slewed.
const DRIFT_PART: i64 = 1_000;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockNotice {
    /// The system's clock is by so much ahead of where it would be without steps (below zero: behind): too much.
    Stepped(Nanos),
    /// It is back within the limit.
    Back,
}

/// How the clocks agreed over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockFigures {
    /// How often they began to disagree by more than the limit.
    pub alarm_count: u64,
    /// The largest disagreement, either way.
    pub off_max: Nanos,
    /// Whether they disagree still.
    pub is_off: bool,
}

/// Adds up the steps of the system's clock: no clock of its own, so that every case can be tried.
#[derive(Clone, Debug)]
pub struct ClockCheck {
    step_max: Nanos,
    last: Option<(EpochNanos, Nanos)>,
    off: Nanos,
    figures: ClockFigures,
}

impl ClockCheck {
    /// Steps that add up to more than `step_max` are a disagreement.
    #[must_use]
    pub const fn new(step_max: Nanos) -> Self {
        let figures = ClockFigures { alarm_count: 0, off_max: Nanos::ZERO, is_off: false };
        Self { step_max, last: None, off: Nanos::ZERO, figures }
    }

    /// At `now`, by the clock that is never set, that clock is `ahead` of the system's. The first look is the measure of
    /// all others.
    pub fn look(&mut self, now: EpochNanos, ahead: Nanos) -> Option<ClockNotice> {
        let (then, before) = self.last.replace((now, ahead))?;
        let change = before.0.saturating_sub(ahead.0);
        let drift = now.since(then).0.max(0).checked_div(DRIFT_PART).unwrap_or(0);
        if change.saturating_abs() > drift {
            self.off = Nanos(self.off.0.saturating_add(change));
        }
        let off = Nanos(self.off.0.saturating_abs());
        self.figures.off_max = self.figures.off_max.max(off);
        let is_off = off > self.step_max;
        if is_off == self.figures.is_off {
            return None;
        }
        self.figures.is_off = is_off;
        self.figures.alarm_count = self.figures.alarm_count.saturating_add(u64::from(is_off));
        Some(if is_off { ClockNotice::Stepped(self.off) } else { ClockNotice::Back })
    }

    /// How far the system's clock would be ahead of the one that is never set, without its steps, at the last look.
    #[must_use]
    pub fn lead(&self) -> Nanos {
        self.last.map_or(Nanos::ZERO, |(_, ahead)| Nanos(0_i64.saturating_sub(ahead.0).saturating_sub(self.off.0)))
    }

    /// What was found so far.
    #[must_use]
    pub const fn figures(&self) -> ClockFigures {
        self.figures
    }
}

/// The thread that looks.
#[derive(Debug)]
pub struct ClockWatch {
    stop: StopFlag,
    thread: Option<JoinHandle<ClockFigures>>,
}

impl ClockWatch {
    /// Begins to look every [`LOOK_INTERVAL`]; a disagreement of more than `step_max` is said to `say`, and in `word`.
    ///
    /// # Errors
    /// [`Failure`] when the system gives no thread.
    pub fn start(
        step_max: Nanos,
        clock: TscClock,
        word: FeedSilence,
        say: impl Fn(ClockNotice) + Send + 'static,
    ) -> Result<Self, Failure> {
        let stop = StopFlag::new();
        let (flag, mut check) = (stop.clone(), ClockCheck::new(step_max));
        let run = move || {
            while !flag.is_requested() {
                let notice = check.look(clock.now(), clock.ahead_of_system());
                word.set_clock(check.figures().is_off, check.lead());
                if let Some(notice) = notice {
                    say(notice);
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
            check.figures()
        };
        let thread = std::thread::Builder::new().name("clock_watch".to_owned()).spawn(run).map_err(Failure::io)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// The run is over: what was found; `None` when the thread died.
    #[must_use]
    pub fn end(mut self) -> Option<ClockFigures> {
        self.stop.request();
        self.thread.take()?.join().ok()
    }
}

impl Drop for ClockWatch {
    fn drop(&mut self) {
        self.stop.request();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Nanos = Nanos::from_secs(3_600);
    const MS: i64 = 1_000_000;

    /// Looks every 20 ms at a system clock that drifts by `ppm` and is stepped as told: (look, by how much).
    fn walk(step_max: Nanos, ppm: i64, steps: &[(i64, Nanos)], looks: i64) -> (Vec<(i64, ClockNotice)>, ClockFigures) {
        let mut check = ClockCheck::new(step_max);
        let mut notices = Vec::new();
        for look in 0..looks {
            let now = look * 20 * MS;
            let stepped: i64 = steps.iter().filter(|(at, _)| *at <= look).map(|(_, by)| by.0).sum();
            let ahead = Nanos(-(stepped + now / 1_000_000 * ppm));
            notices.extend(check.look(EpochNanos(now), ahead).map(|notice| (look, notice)));
        }
        (notices, check.figures())
    }

    #[test]
    fn a_step_either_way_is_noticed_at_the_next_look_and_is_over_when_it_is_put_right() {
        for by in [HOUR, Nanos(-HOUR.0), Nanos(11 * MS), Nanos(-11 * MS)] {
            let (notices, figures) = walk(Nanos(10 * MS), 0, &[(5, by), (50, Nanos(-by.0))], 100);
            assert_eq!(notices, [(5, ClockNotice::Stepped(by)), (50, ClockNotice::Back)]);
            let off_max = Nanos(by.0.abs());
            assert_eq!(figures, ClockFigures { alarm_count: 1, off_max, is_off: false });
        }
    }

    #[test]
    fn a_step_that_stays_stays_and_the_limit_is_exact() {
        let (notices, figures) = walk(Nanos(10 * MS), 0, &[(1, Nanos(10 * MS))], 500_000);
        assert_eq!((notices, figures.alarm_count), (vec![], 0), "a step of the limit itself is none");
        let (notices, figures) = walk(Nanos(10 * MS), 0, &[(1, Nanos(10 * MS + 1))], 500_000);
        assert_eq!((notices.len(), figures.is_off), (1, true), "hours later it is off still");
    }

    #[test]
    fn a_clock_that_drifts_or_is_slewed_is_no_step_and_hides_none() {
        for ppm in [-500, -50, 50, 500] {
            let (notices, figures) = walk(Nanos(10 * MS), ppm, &[], 1_170_000);
            assert_eq!((notices, figures.off_max), (vec![], Nanos::ZERO), "a day's session, {ppm} ppm");
            let (notices, figures) = walk(Nanos(10 * MS), ppm, &[(1_000, HOUR), (180_000, Nanos(-HOUR.0))], 200_000);
            assert_eq!((notices.len(), figures.alarm_count, figures.is_off), (2, 1, false), "an hour off, {ppm} ppm");
        }
    }

    #[test]
    fn the_lead_follows_the_drift_and_no_step() {
        let mut check = ClockCheck::new(Nanos(10 * MS));
        for (look, ahead) in [(0, 0), (1, -1_000), (2, -2_000 - HOUR.0), (3, -3_000 - HOUR.0), (4, -4_000)] {
            check.look(EpochNanos(look * 20 * MS), Nanos(ahead));
            assert!((check.lead().0 - look * 1_000).abs() <= 2_000, "{look}: {}", check.lead());
        }
    }

    #[test]
    fn small_steps_add_up() {
        let steps: Vec<(i64, Nanos)> = (1..=6).map(|look| (look * 10, Nanos(-2 * MS))).collect();
        let (notices, _) = walk(Nanos(10 * MS), 0, &steps, 100);
        assert_eq!(notices, [(60, ClockNotice::Stepped(Nanos(-12 * MS)))]);
    }

    #[test]
    fn the_thread_looks_and_finds_nothing_where_nobody_sets_the_clock() {
        let watch =
            ClockWatch::start(Nanos::from_secs(1), TscClock::calibrated(), FeedSilence::default(), |_| {}).unwrap();
        std::thread::sleep(3 * LOOK_INTERVAL);
        assert_eq!(watch.end().unwrap().alarm_count, 0);
    }
}
