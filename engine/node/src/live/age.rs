//! How old a decision is when its order is to leave. A process that was stopped, or that does not keep up, decides on what
//! waited meanwhile: by the time of the input nothing is old then.
//!
//! Receive stamps are the system clock's, and the clock at hand on the hot path is one that no step of the system's moves.
//! How far they are apart is therefore looked at every [`LOOK_INTERVAL`], and before an order when that is long ago. After a
//! step of the system clock stamps of both sides are on their way: for [`STEP_MEMORY`] the age is counted by whichever of
//! the two makes it greater, so that a step can refuse an order that was young and never pass one that was old.

use peregrine_runtime::{TscClock, system_now};
use peregrine_types::{EpochNanos, Nanos, OrderCommand};

/// Time between two looks at the system clock, while nothing is sent.
const LOOK_INTERVAL: Nanos = Nanos::from_millis(10);
/// The last look may be so long ago when an order leaves.
const LOOK_AGE_MAX: Nanos = Nanos::from_millis(50);
/// A look that took longer was interrupted, and is repeated.
const LOOK_TIME_MAX: Nanos = Nanos::from_micros(10);
/// So often at most; the last one counts, and makes a decision older than it is by no more than it took.
const LOOK_TRIES: u32 = 4;
/// The clocks' distance changes by more only when the system clock is stepped.
const STEP_MIN: Nanos = Nanos::from_millis(1);
/// How long the distance from before a step counts too: longer than anything waits that was stamped by then.
const STEP_MEMORY: Nanos = Nanos::from_secs(60);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecisionAge {
    max: Nanos,
    looked_at: EpochNanos,
    /// How far the clock was ahead of the system clock at the last look.
    ahead: Nanos,
    /// The least of the distances that count.
    least: Nanos,
    /// The least before the last step.
    before: Nanos,
    stepped_at: Option<EpochNanos>,
}

impl DecisionAge {
    /// Nothing may leave before it is said how old it may be.
    pub(super) fn new(clock: &TscClock) -> Self {
        Self::begin(clock.now(), clock.ahead_of_system())
    }

    const fn begin(now: EpochNanos, ahead: Nanos) -> Self {
        Self { max: Nanos(-1), looked_at: now, ahead, least: ahead, before: ahead, stepped_at: None }
    }

    pub(super) const fn limit(&mut self, max: Nanos) {
        self.max = max;
    }

    /// Whether this would be a new order, or a replacement, on data that is too old. A stamp that lies ahead of the clock by as
    /// much is no better: nobody knows how old it is.
    #[inline]
    pub(super) fn is_too_old(&mut self, command: &OrderCommand, now: EpochNanos, clock: &TscClock) -> bool {
        let (OrderCommand::New { decision_time, .. } | OrderCommand::Replace { decision_time, .. }) = command else {
            return false;
        };
        if now.since(self.looked_at) > LOOK_AGE_MAX {
            self.look_again(clock);
        }
        self.is_old(*decision_time, now)
    }

    #[inline]
    const fn is_old(&self, decision_time: EpochNanos, now: EpochNanos) -> bool {
        let age = now.since(decision_time).0.saturating_sub(self.least.0);
        age.saturating_abs() > self.max.0
    }

    /// Looks at the system clock when it is time; `now` was read just before.
    #[inline]
    pub(super) fn look_if_due(&mut self, now: EpochNanos, clock: &TscClock) {
        if now.since(self.looked_at) >= LOOK_INTERVAL {
            self.look(now, clock);
        }
    }

    /// Whether the look was not interrupted. The system clock was read later than `now`: at worst the distance is too small, and
    /// decisions seem older than they are.
    fn look(&mut self, now: EpochNanos, clock: &TscClock) -> bool {
        let ahead = now.since(system_now());
        let is_brief = clock.now().since(now) <= LOOK_TIME_MAX;
        if is_brief {
            self.heed(now, ahead);
        }
        is_brief
    }

    #[cold]
    fn look_again(&mut self, clock: &TscClock) {
        if (0..LOOK_TRIES).any(|_| self.look(clock.now(), clock)) {
            return;
        }
        let now = clock.now();
        self.heed(now, now.since(system_now()));
    }

    /// The clock is `ahead` of the system clock now.
    fn heed(&mut self, now: EpochNanos, ahead: Nanos) {
        let change = ahead.0.saturating_sub(self.ahead.0).saturating_abs();
        if change > STEP_MIN.0 {
            (self.before, self.stepped_at) = (self.least, Some(now));
        }
        let is_recent = self.stepped_at.is_some_and(|stepped_at| now.since(stepped_at) < STEP_MEMORY);
        self.least = if is_recent { ahead.min(self.before) } else { ahead };
        (self.ahead, self.looked_at) = (ahead, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const LIMIT: Nanos = Nanos::from_secs(1);

    fn at(second: i64) -> EpochNanos {
        EpochNanos(second * SECOND)
    }

    fn limited(ahead: Nanos) -> DecisionAge {
        let mut age = DecisionAge::begin(at(100), ahead);
        age.limit(LIMIT);
        age
    }

    #[test]
    fn a_decision_may_be_as_old_as_the_limit_and_no_older() {
        let age = limited(Nanos::ZERO);
        let is_old = |behind: i64| age.is_old(at(100).minus(Nanos(behind)), at(100));
        assert_eq!([0, SECOND, SECOND + 1, 10 * SECOND].map(is_old), [false, false, true, true]);
        assert_eq!([-1, -SECOND, -SECOND - 1].map(is_old), [false, false, true], "ahead of the clock");
        assert!(DecisionAge::begin(at(100), Nanos::ZERO).is_old(at(100), at(100)), "no limit was said");
    }

    /// The clock's distance from the system's is no age, however far it drifts.
    #[test]
    fn the_age_is_by_the_clock_that_stamps() {
        let mut age = limited(Nanos::from_secs(7));
        assert!(!age.is_old(at(93), at(100)) && age.is_old(at(91), at(100)));
        for turn in 1..10_000_i64 {
            let drift = Nanos(7 * SECOND + turn * 1_000_000);
            age.heed(at(100 + turn), drift);
            assert!(!age.is_old(at(100 + turn).minus(drift), at(100 + turn)));
            assert!(age.is_old(at(100 + turn - 2).minus(drift), at(100 + turn)));
        }
    }

    /// A step to and fro, while stamps of before are on their way: nothing old passes, and after a while all is as before.
    #[test]
    fn a_step_of_the_system_clock_passes_nothing_old() {
        for step in [-3_600, -10, -2, 2, 10, 3_600_i64] {
            let mut age = limited(Nanos::ZERO);
            // The system clock goes forward by the step: the other one is ahead by so much less.
            age.heed(at(110), Nanos(-step * SECOND));
            for (stamped_at, by) in (100..=110).map(|second| (at(second), 0)).chain([(at(110), step)]) {
                let stamp = stamped_at.plus(Nanos(by * SECOND));
                for later in 0..59 {
                    let now = at(110 + later);
                    let is_old = now.since(stamped_at) > LIMIT;
                    assert!(!is_old || age.is_old(stamp, now), "step {step} s, {stamp:?} at {now:?}");
                }
            }
            let stamp = |second: i64| at(second + step);
            assert_eq!(age.is_old(stamp(110), at(110)), step < 0, "after a step back the new stamps seem old");
            age.heed(at(171), Nanos(-step * SECOND));
            assert!(!age.is_old(stamp(171), at(171)) && age.is_old(stamp(169), at(171)));
        }
    }

    #[test]
    fn cancels_are_never_too_old_and_the_clock_is_looked_at_again() {
        use peregrine_types::{EventSeq, NewOrder, OrderId, Price, Qty, Side, SymbolId, TimeInForce};
        let clock = TscClock::calibrated();
        let mut age = DecisionAge::new(&clock);
        age.limit(LIMIT);
        // As if nobody had looked for a minute, in which the system clock was stepped by an hour.
        age.looked_at = age.looked_at.minus(Nanos::from_secs(60));
        (age.ahead, age.least) = (Nanos::from_secs(3_600), Nanos::from_secs(3_600));
        let (order_id, cause, symbol) = (OrderId(1), EventSeq(1), SymbolId(0));
        let (price, qty, time_in_force) = (Price(1), Qty(1), TimeInForce::Day);
        let order = NewOrder { symbol, side: Side::Buy, price, qty, time_in_force, is_post_only: false };
        for (second, expected) in [(0, false), (2, true)] {
            let decision_time = system_now().minus(Nanos::from_secs(second));
            let new = OrderCommand::New { order_id, order, cause, decision_time };
            let replace = OrderCommand::Replace { order_id, replaces: order_id, order, cause, decision_time };
            let replacement = OrderId(0);
            let cancel = OrderCommand::Cancel { order_id, replacement, symbol, cause, decision_time };
            let found = [new, replace, cancel].map(|command| age.is_too_old(&command, clock.now(), &clock));
            assert_eq!(found, [expected, expected, false]);
        }
    }
}
