//! What was sent lately: the sliding window of the message rate, and the orders that may not be repeated yet.

use peregrine_types::{EpochNanos, NewOrder, Side};

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
    /// The number of the order sent before it with the same home, 0 if none.
    previous: u64,
}

/// The orders sent lately, chained by what they say: looking for one costs a step or two, however many were sent. It
/// remembers as many as the message rate allows within the longest possible duplicate window, so it forgets none that
/// matters.
#[derive(Debug)]
pub(crate) struct SentOrders {
    ring: Box<[Option<Sent>]>,
    /// For each home the number of the last order that has it, 0 if none.
    last: Box<[u64]>,
    /// How many were sent; the number of an order is its count, from 1.
    count: u64,
    window: i64,
}

impl SentOrders {
    pub(crate) fn new(limit: u32, window: i64) -> Self {
        let len = (limit as usize).max(1).next_power_of_two();
        let last = vec![0; len.saturating_mul(2)].into_boxed_slice();
        Self { ring: vec![None; len].into_boxed_slice(), last, count: 0, window }
    }

    fn slot(&self, number: u64) -> usize {
        // The length is a power of two.
        usize::try_from(number).unwrap_or(0) & self.ring.len().wrapping_sub(1)
    }

    /// Where orders that say the same begin. Multiplication by 2⁶⁴/φ (Knuth, The Art of Computer Programming 3, 6.4).
    fn home(&self, order: &NewOrder) -> usize {
        let what = u64::from(order.symbol.0) << 32 ^ order.qty.0.rotate_left(16) ^ order.price.0.cast_unsigned() << 1;
        let mixed = (what ^ u64::from(order.side == Side::Sell)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(mixed).unwrap_or(0) & self.last.len().wrapping_sub(1)
    }

    /// Whether the same order was sent less than the window before `now`.
    #[inline]
    pub(crate) fn contains(&self, order: &NewOrder, now: EpochNanos) -> bool {
        let oldest = self.count.saturating_sub(u64::try_from(self.ring.len()).unwrap_or(u64::MAX));
        let mut number = self.last.get(self.home(order)).copied().unwrap_or(0);
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

    /// Reads what [`Self::push`] will write over.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        let sent = self.ring.get(self.slot(self.count.wrapping_add(1))).copied().flatten();
        sent.map_or(0, |sent| sent.previous ^ sent.time.0.cast_unsigned())
    }

    /// Remembers an order.
    #[inline]
    pub(crate) fn push(&mut self, order: NewOrder, time: EpochNanos) {
        self.count = self.count.saturating_add(1);
        let (slot, home) = (self.slot(self.count), self.home(&order));
        let Some(last) = self.last.get_mut(home) else { return };
        let previous = core::mem::replace(last, self.count);
        if let Some(sent) = self.ring.get_mut(slot) {
            *sent = Some(Sent { order, time, previous });
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow here is a failed test")]
mod tests {
    use peregrine_types::{Price, Qty, SymbolId, TimeInForce};
    use proptest::prelude::*;

    use super::*;

    fn an_order((symbol, side, price, qty): (u32, bool, i64, u64), is_post_only: bool) -> NewOrder {
        let side = if side { Side::Buy } else { Side::Sell };
        let (symbol, time_in_force) = (SymbolId(symbol), TimeInForce::Day);
        NewOrder { symbol, side, price: Price(price), qty: Qty(qty), time_in_force, is_post_only }
    }

    proptest! {
        /// Few homes and few different orders: chains are shared, and numbers go round the ring many times.
        #[test]
        fn an_order_sent_within_the_window_is_found_and_no_other_one(
            limit in 1_u32..9,
            window in 1_i64..30,
            steps in prop::collection::vec(((0_u32..2, any::<bool>(), 100_i64..103, 1_u64..3), any::<bool>(), 0_i64..6), 1..120),
        ) {
            let mut fast = SentOrders::new(limit, window);
            let (mut sent, mut now) = (Vec::new(), 0);
            for (order, is_post_only, gap) in steps {
                now += gap;
                let order = an_order(order, is_post_only);
                let remembered = sent.iter().rev().take(limit.next_power_of_two() as usize);
                let is_there = remembered.clone().any(|(other, time)| *other == order && now - time < window);
                prop_assert_eq!(fast.contains(&order, EpochNanos(now)), is_there);
                if !is_there {
                    fast.push(order, EpochNanos(now));
                    sent.push((order, now));
                }
            }
        }

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
