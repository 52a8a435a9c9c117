//! What was sent lately: the sliding window of the message rate, and the orders that may not be repeated yet.

use peregrine_types::{EpochNanos, NewOrder};

/// The times of the last `limit` messages: exact, however they fall.
#[derive(Debug)]
pub(crate) struct RateWindow {
    times: Box<[EpochNanos]>,
    next: usize,
    window: i64,
}

impl RateWindow {
    pub(crate) fn new(limit: u32, window: i64) -> Self {
        let times = vec![EpochNanos::MIN; limit as usize].into_boxed_slice();
        Self { times, next: 0, window }
    }

    /// Whether one more message at `now` stays within the limit: fewer than `limit` messages in `(now − window, now]`.
    #[inline]
    pub(crate) fn has_room(&self, now: EpochNanos) -> bool {
        self.times.get(self.next).is_some_and(|oldest| now.since(*oldest).0 >= self.window)
    }

    /// Reads what [`Self::has_room`] will read.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        self.times.get(self.next).map_or(0, |oldest| oldest.0.cast_unsigned())
    }

    /// Counts a message.
    #[inline]
    pub(crate) fn count(&mut self, now: EpochNanos) {
        if let Some(oldest) = self.times.get_mut(self.next) {
            *oldest = now;
        }
        self.next = self.next.saturating_add(1);
        if self.next >= self.times.len() {
            self.next = 0;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    order: NewOrder,
    time: EpochNanos,
    /// The number of the order sent before it in the same symbol, 0 if none.
    previous: u64,
}

/// The orders sent lately, chained by symbol. It remembers as many as the message rate allows within the longest
/// possible duplicate window, so it forgets none that matters.
#[derive(Debug)]
pub(crate) struct SentOrders {
    ring: Box<[Option<Sent>]>,
    /// How many were sent; the number of an order is its count, from 1.
    count: u64,
    window: i64,
}

impl SentOrders {
    pub(crate) fn new(limit: u32, window: i64) -> Self {
        Self { ring: vec![None; limit as usize].into_boxed_slice(), count: 0, window }
    }

    fn slot(&self, number: u64) -> usize {
        let len = u64::try_from(self.ring.len()).unwrap_or(u64::MAX);
        usize::try_from(number.checked_rem(len).unwrap_or(0)).unwrap_or(0)
    }

    /// Whether the same order was sent less than the window before `now`. `last` is the number of the symbol's last
    /// order, 0 if none.
    #[inline]
    pub(crate) fn contains(&self, order: &NewOrder, now: EpochNanos, last: u64) -> bool {
        let oldest = self.count.saturating_sub(u64::try_from(self.ring.len()).unwrap_or(u64::MAX));
        let mut number = last;
        while number > oldest {
            let Some(Some(sent)) = self.ring.get(self.slot(number)) else {
                return false;
            };
            if now.since(sent.time).0 >= self.window {
                return false;
            }
            if sent.order == *order {
                return true;
            }
            number = sent.previous;
        }
        false
    }

    /// Reads what [`Self::contains`] will read first.
    #[inline]
    pub(crate) fn touch(&self, last: u64) -> u64 {
        let sent = self.ring.get(self.slot(last)).copied().flatten();
        sent.map_or(0, |sent| sent.previous ^ sent.time.0.cast_unsigned())
    }

    /// Remembers an order; returns its number.
    #[inline]
    pub(crate) fn push(&mut self, order: NewOrder, time: EpochNanos, previous: u64) -> u64 {
        self.count = self.count.saturating_add(1);
        let slot = self.slot(self.count);
        if let Some(sent) = self.ring.get_mut(slot) {
            *sent = Some(Sent { order, time, previous });
        }
        self.count
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow here is a failed test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_rate_is_counted_exactly(limit in 1_u32..6, window in 1_i64..20, gaps in prop::collection::vec(0_i64..8, 1..60)) {
            let mut fast = RateWindow::new(limit, window);
            let (mut sent, mut now) = (Vec::new(), 0);
            for gap in gaps {
                now += gap;
                let in_window = sent.iter().filter(|time| now - **time < window).count();
                prop_assert_eq!(fast.has_room(EpochNanos(now)), in_window < limit as usize);
                if in_window < limit as usize || gap == 3 {
                    fast.count(EpochNanos(now));
                    sent.push(now);
                }
            }
        }
    }
}
