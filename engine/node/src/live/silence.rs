//! Whether the feed is silent, or its stamps are not to be trusted: said by the feed role and by the watch of the clocks,
//! heeded by the send role of a live session. Books stay as they are (an event would depend on a clock, and a recording
//! would not give it again); what rests at the venue is withdrawn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use peregrine_types::{EpochNanos, Nanos};

/// The word that they share.
#[derive(Clone, Debug, Default)]
pub struct FeedSilence(Arc<Word>);

#[derive(Debug, Default)]
struct Word {
    is_silent: AtomicBool,
    is_clock_off: AtomicBool,
    is_stamp_ahead: AtomicBool,
    /// How far the system's clock would be ahead of the one of the time-outs, had nobody set it.
    lead_ns: AtomicI64,
    dispute_count: AtomicU64,
    settled_count: AtomicU64,
}

impl FeedSilence {
    /// Whether every line has been silent for too long, or the system's clock, which stamps what the lines say, was
    /// stepped, or stamps lie ahead of it still: in each case nobody knows how old the books are.
    #[must_use]
    #[inline]
    pub fn is_silent(&self) -> bool {
        let Word { is_silent, is_clock_off, is_stamp_ahead, .. } = &*self.0;
        [is_silent, is_clock_off, is_stamp_ahead].iter().any(|flag| flag.load(Ordering::Acquire))
    }

    /// Says whether the clocks disagree, and how far the system's would be ahead had nobody set it.
    pub(super) fn set_clock(&self, is_off: bool, lead: Nanos) {
        self.0.lead_ns.store(lead.0, Ordering::Release);
        self.0.is_clock_off.store(is_off, Ordering::Release);
    }

    /// Whether the last receive time lies ahead of the time that it is.
    #[must_use]
    pub fn is_stamp_ahead(&self) -> bool {
        self.0.is_stamp_ahead.load(Ordering::Acquire)
    }

    /// How often copies of a message differed, and how often that was settled, so far.
    #[must_use]
    pub fn disputes(&self) -> (u64, u64) {
        (self.0.dispute_count.load(Ordering::Acquire), self.0.settled_count.load(Ordering::Acquire))
    }
}

/// The feed role's side.
#[derive(Clone, Debug)]
pub struct SilenceWatch {
    silence_max: Nanos,
    said: FeedSilence,
    is_silent: bool,
    stamp_lead_max: Nanos,
    is_stamp_ahead: bool,
    disputes: (u64, u64),
}

impl SilenceWatch {
    /// Says in `said` when every line has been silent for `silence_max`.
    #[must_use]
    pub const fn new(silence_max: Nanos, said: FeedSilence) -> Self {
        let stamp_lead_max = Nanos(i64::MAX);
        Self { silence_max, said, is_silent: false, stamp_lead_max, is_stamp_ahead: false, disputes: (0, 0) }
    }

    /// Says too when receive times lie ahead of the time that it is by more than `stamp_lead_max`.
    #[must_use]
    pub fn with_stamp_lead_max(self, stamp_lead_max: Nanos) -> Self {
        Self { stamp_lead_max, ..self }
    }

    /// The last receive time is `stamp`, at `now` by the clock of the time-outs.
    #[inline]
    pub fn on_stamp(&mut self, stamp: EpochNanos, now: EpochNanos) {
        let lead = stamp.since(now).0.saturating_sub(self.said.0.lead_ns.load(Ordering::Relaxed));
        let is_ahead = lead > self.stamp_lead_max.0;
        if is_ahead != self.is_stamp_ahead {
            self.is_stamp_ahead = is_ahead;
            self.said.0.is_stamp_ahead.store(is_ahead, Ordering::Release);
        }
    }

    /// The lines have been silent for so long now.
    #[inline]
    pub fn on_silence(&mut self, span: Nanos) {
        let is_silent = span >= self.silence_max;
        if is_silent != self.is_silent {
            self.is_silent = is_silent;
            self.said.0.is_silent.store(is_silent, Ordering::Release);
        }
    }

    /// Copies of a message differed so often, and that was settled so often.
    #[inline]
    pub fn on_disputes(&mut self, disputes: (u64, u64)) {
        if disputes != self.disputes {
            self.disputes = disputes;
            self.said.0.dispute_count.store(disputes.0, Ordering::Release);
            self.said.0.settled_count.store(disputes.1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_a_clock_that_is_off_block_each_for_itself() {
        let word = FeedSilence::default();
        let mut watch = SilenceWatch::new(Nanos::from_secs(3), word.clone());
        watch.on_silence(Nanos::from_secs(3));
        word.set_clock(true, Nanos::ZERO);
        watch.on_silence(Nanos::ZERO);
        assert!(word.is_silent(), "the lines speak, by a clock that is off");
        watch.on_silence(Nanos::from_secs(3));
        word.set_clock(false, Nanos::ZERO);
        assert!(word.is_silent(), "the clock is right, the lines are silent");
        watch.on_silence(Nanos::ZERO);
        assert!(!word.is_silent());
        watch.on_disputes((2, 1));
        assert_eq!(word.disputes(), (2, 1));
    }

    /// An hour forward, and back ten seconds later: the clock is right then, what is received carries wrong stamps for
    /// fifty-nine minutes and fifty seconds more.
    #[test]
    fn stamps_that_lie_ahead_block_until_the_time_has_come_to_them() {
        const SECOND: i64 = 1_000_000_000;
        let word = FeedSilence::default();
        let mut watch =
            SilenceWatch::new(Nanos::from_secs(3), word.clone()).with_stamp_lead_max(Nanos::from_millis(10));
        let stamp = EpochNanos(3_610 * SECOND);
        let blocked = |watch: &mut SilenceWatch, stamp: EpochNanos, now: i64| {
            watch.on_stamp(stamp, EpochNanos(now));
            assert_eq!(word.is_silent(), word.is_stamp_ahead());
            word.is_silent()
        };
        assert!(!blocked(&mut watch, EpochNanos::MIN, 0), "nothing came yet");
        assert!(!blocked(&mut watch, EpochNanos(10_000_000), 0));
        assert!(blocked(&mut watch, EpochNanos(10_000_001), 0));
        assert!(!blocked(&mut watch, EpochNanos(SECOND), 2 * SECOND));
        assert!(blocked(&mut watch, stamp, 10 * SECOND) && blocked(&mut watch, stamp, 3_609 * SECOND));
        assert!(!blocked(&mut watch, stamp, 3_610 * SECOND));
        word.set_clock(false, Nanos::from_secs(1));
        assert!(!blocked(&mut watch, stamp, 3_609 * SECOND), "the ticks run slow by a second by now");
    }
}
