//! When orders end that live until a time of the day.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use peregrine_types::OrderRef;

use crate::orders::TimeOfDay;

/// The ends of orders, the earliest first. An order that is gone before its end leaves its entry behind, until the end or
/// until there is no room.
#[derive(Debug)]
pub(crate) struct Expiries {
    heap: BinaryHeap<Reverse<(TimeOfDay, OrderRef)>>,
    count_max: usize,
}

impl Expiries {
    /// Room for so many live orders, and for as many that are gone: nothing grows later.
    pub(crate) fn new(order_count_max: u32) -> Self {
        let count_max = (order_count_max as usize).saturating_mul(2);
        Self { heap: BinaryHeap::with_capacity(count_max), count_max }
    }

    /// The earliest end; of an order that is gone, perhaps.
    pub(crate) fn next_time(&self) -> Option<TimeOfDay> {
        self.heap.peek().map(|Reverse((time, _))| *time)
    }

    /// Notes the end of a live order, once for each reference. `is_alive` says of the others which still are.
    pub(crate) fn push(&mut self, time: TimeOfDay, order_ref: OrderRef, is_alive: impl Fn(OrderRef) -> bool) {
        if self.heap.len() >= self.count_max {
            self.heap.retain(|Reverse((_, order_ref))| is_alive(*order_ref));
        }
        self.heap.push(Reverse((time, order_ref)));
    }

    /// The next order whose end is at `time`, or was before.
    pub(crate) fn take(&mut self, time: TimeOfDay) -> Option<OrderRef> {
        let is_due = self.next_time().is_some_and(|next| next <= time);
        if is_due { self.heap.pop().map(|Reverse((_, order_ref))| order_ref) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_in_their_order_and_those_of_orders_that_are_gone_make_room() {
        let mut expiries = Expiries::new(2);
        let room = expiries.heap.capacity();
        for number in 1..=1_000 {
            // Of all of them only the latest two live.
            expiries.push(TimeOfDay(5_000 - number), OrderRef(number), |other| other.0 + 2 >= number);
        }
        assert!(expiries.heap.len() <= 4 && expiries.heap.capacity() == room, "{expiries:?}");
        assert_eq!((expiries.next_time(), expiries.take(TimeOfDay(3_999))), (Some(TimeOfDay(4_000)), None));
        assert_eq!(expiries.take(TimeOfDay(4_000)), Some(OrderRef(1_000)));
        assert_eq!(expiries.take(TimeOfDay(9_999)), Some(OrderRef(999)));
    }
}
