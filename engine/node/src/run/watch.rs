//! The main thread while the roles work: it waits, tells the progress, and passes a wish to stop on.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peregrine_report::ThroughputPoint;
use peregrine_runtime::StopFlag;

use super::{Flags, Progress, nanos};
use crate::wiring::FeedProgress;

/// Shorter intervals say nothing about the speed: the last one of a run may be any.
const SERIES_INTERVAL_MIN: Duration = Duration::from_millis(5);

/// What the main thread does while the roles work.
pub(super) struct Watch<'a> {
    pub(super) started: Instant,
    pub(super) interrupted: &'a StopFlag,
    pub(super) flags: &'a Flags,
    pub(super) progress: &'a FeedProgress,
    pub(super) on_progress: &'a mut dyn FnMut(Progress),
    pub(super) series: &'a mut Vec<ThroughputPoint>,
}

impl Watch<'_> {
    /// Waits until `is_done`, telling the progress and passing a request to stop on to the feed role.
    pub(super) fn until(mut self, is_done: impl Fn() -> bool) {
        let (mut turn, mut last) = (0_u32, (Duration::ZERO, 0));
        while !is_done() {
            if self.interrupted.is_requested() {
                self.flags.stop_input.request();
            }
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(20) {
                last = self.note(last);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.note(last);
    }

    /// Adds the interval since `last` (when, and events until then) to the series and tells the progress.
    fn note(&mut self, last: (Duration, u64)) -> (Duration, u64) {
        let (now, event_count) = (self.started.elapsed(), self.progress.event_count.load(Ordering::Relaxed));
        let interval = now.saturating_sub(last.0);
        if interval >= SERIES_INTERVAL_MIN {
            self.series.push(ThroughputPoint {
                at_ns: nanos(now).0.unsigned_abs(),
                interval_ns: nanos(interval).0.unsigned_abs(),
                event_count: event_count.saturating_sub(last.1),
            });
        }
        (self.on_progress)(Progress {
            event_count,
            read_len: self.progress.read_len.load(Ordering::Relaxed),
            total_len: self.progress.total_len.load(Ordering::Relaxed),
        });
        if interval >= SERIES_INTERVAL_MIN { (now, event_count) } else { last }
    }
}
