//! Our open orders, by id and by symbol and side, and the executions that were counted already. Fixed capacity.

use peregrine_types::{MatchNumber, OrderId, Price, Side, SymbolId, TimeInForce};

use crate::NumberMap;

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// One order that can still be executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenOrder {
    pub(crate) id: OrderId,
    pub(crate) symbol: SymbolId,
    pub(crate) side: Side,
    pub(crate) price: Price,
    /// The price that its exposure is counted at.
    pub(crate) worst_price: Price,
    pub(crate) leaves: u64,
    /// What was executed of it and of the orders that it replaced.
    pub(crate) executed: u64,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) is_post_only: bool,
    /// The other one of two orders of which one is to replace the other, until the venue has said which lives; 0 if none.
    pub(crate) partner: OrderId,
    /// Whether it is a replacement that waits for its answer: then not `leaves` counts in the sums, but `extra`.
    pub(crate) is_waiting: bool,
    /// What a waiting replacement adds to the quantity and the value that its partner counts with.
    pub(crate) extra: (u64, i128),
    pub(crate) is_filled: bool,
    pub(crate) is_cancel_pending: bool,
    pub(crate) is_canceled: bool,
    next: u32,
    previous: u32,
}

impl OpenOrder {
    pub(crate) const fn new(id: OrderId, symbol: SymbolId, side: Side, price: Price) -> Self {
        Self {
            id,
            symbol,
            side,
            price,
            worst_price: price,
            leaves: 0,
            executed: 0,
            time_in_force: TimeInForce::Day,
            is_post_only: false,
            partner: OrderId(0),
            is_waiting: false,
            extra: (0, 0),
            is_filled: false,
            is_cancel_pending: false,
            is_canceled: false,
            next: NONE,
            previous: NONE,
        }
    }
}

/// All open orders.
#[derive(Debug)]
pub(crate) struct OpenOrders {
    slots: Box<[OpenOrder]>,
    /// The first free slot; free slots are chained by `next`.
    free: u32,
    count: u32,
    by_id: NumberMap,
    /// First order of each symbol and side.
    heads: Box<[[u32; 2]]>,
}

impl OpenOrders {
    pub(crate) fn new(symbol_count: u32, capacity: u32) -> Self {
        let blank = OpenOrder::new(OrderId(0), SymbolId(0), Side::Buy, Price(0));
        let chain = |slot: u32| {
            let next = slot.saturating_add(1);
            OpenOrder { next: if next < capacity { next } else { NONE }, ..blank }
        };
        Self {
            slots: (0..capacity).map(chain).collect(),
            free: if capacity > 0 { 0 } else { NONE },
            count: 0,
            by_id: NumberMap::new(capacity as usize),
            heads: vec![[NONE; 2]; symbol_count as usize].into_boxed_slice(),
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn get(&self, id: OrderId) -> Option<&OpenOrder> {
        self.slots.get(self.by_id.get(id.0)? as usize)
    }

    pub(crate) fn get_mut(&mut self, id: OrderId) -> Option<&mut OpenOrder> {
        self.slots.get_mut(self.by_id.get(id.0)? as usize)
    }

    fn head(&self, symbol: SymbolId, side: Side) -> u32 {
        self.heads.get(symbol.index()).and_then(|heads| heads.get(side.index())).copied().unwrap_or(NONE)
    }

    /// The orders of `symbol` on `side`, the youngest first.
    pub(crate) fn of(&self, symbol: SymbolId, side: Side) -> impl Iterator<Item = &OpenOrder> {
        let mut slot = self.head(symbol, side);
        let mut left = self.count;
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let order = self.slots.get(slot as usize)?;
            slot = order.next;
            Some(order)
        })
    }

    /// Reads what [`Self::insert`] of an order under `id` will need.
    #[inline]
    pub(crate) fn touch(&self, id: OrderId, symbol: SymbolId) -> u64 {
        let free = self.slots.get(self.free as usize).map_or(0, |slot| slot.id.0 ^ u64::from(slot.next));
        let youngest = self.heads.get(symbol.index()).map_or(0, |[buys, sells]| u64::from(buys ^ sells));
        self.by_id.touch(id.0) ^ free ^ youngest
    }

    /// Adds an order; false when there is no slot.
    pub(crate) fn insert(&mut self, order: OpenOrder) -> bool {
        let (at, head) = (self.free, self.head(order.symbol, order.side));
        let Some(slot) = self.slots.get_mut(at as usize) else {
            return false;
        };
        self.free = slot.next;
        *slot = OpenOrder { next: head, previous: NONE, ..order };
        if let Some(next) = self.slots.get_mut(head as usize) {
            next.previous = at;
        }
        self.set_head(order.symbol, order.side, at);
        self.by_id.insert(order.id.0, at);
        self.count = self.count.saturating_add(1);
        true
    }

    fn set_head(&mut self, symbol: SymbolId, side: Side, slot: u32) {
        if let Some(head) = self.heads.get_mut(symbol.index()).and_then(|heads| heads.get_mut(side.index())) {
            *head = slot;
        }
    }

    /// Removes an order.
    pub(crate) fn remove(&mut self, id: OrderId) {
        let Some(at) = self.by_id.get(id.0) else {
            return;
        };
        let Some(order) = self.slots.get_mut(at as usize) else {
            return;
        };
        let gone = *order;
        order.next = self.free;
        self.free = at;
        match self.slots.get_mut(gone.previous as usize) {
            Some(previous) => previous.next = gone.next,
            None => self.set_head(gone.symbol, gone.side, gone.next),
        }
        if let Some(next) = self.slots.get_mut(gone.next as usize) {
            next.previous = gone.previous;
        }
        self.by_id.remove(id.0);
        self.count = self.count.saturating_sub(1);
    }
}

/// The match numbers of the last executions, so that a repeated report is not counted twice.
#[derive(Debug)]
pub(crate) struct SeenMatches {
    ring: Box<[u64]>,
    next: usize,
    map: NumberMap,
}

impl SeenMatches {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { ring: vec![0; capacity].into_boxed_slice(), next: 0, map: NumberMap::new(capacity) }
    }

    /// Remembers `number`; false when it is remembered already. Number 0 is never remembered.
    pub(crate) fn insert(&mut self, number: MatchNumber) -> bool {
        if number.0 == 0 {
            return true;
        }
        if self.map.get(number.0).is_some() {
            return false;
        }
        if let Some(oldest) = self.ring.get_mut(self.next) {
            if *oldest != 0 {
                self.map.remove(*oldest);
            }
            *oldest = number.0;
        }
        self.next = self.next.saturating_add(1);
        if self.next >= self.ring.len() {
            self.next = 0;
        }
        self.map.insert(number.0, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn the_lists_hold_the_open_orders(steps in prop::collection::vec((1_u64..12, 0_u32..3, any::<bool>()), 1..80)) {
            let mut orders = OpenOrders::new(3, 6);
            let mut naive: BTreeMap<u64, (u32, Side)> = BTreeMap::new();
            for (id, symbol, is_sell) in steps {
                let side = if is_sell { Side::Sell } else { Side::Buy };
                if naive.remove(&id).is_some() {
                    orders.remove(OrderId(id));
                } else {
                    let is_in = orders.insert(OpenOrder::new(OrderId(id), SymbolId(symbol), side, Price(1)));
                    prop_assert_eq!(is_in, naive.len() < 6);
                    if is_in {
                        naive.insert(id, (symbol, side));
                    }
                }
                prop_assert_eq!(orders.count() as usize, naive.len());
                for symbol in 0..3 {
                    for side in Side::BOTH {
                        let fast: BTreeSet<_> = orders.of(SymbolId(symbol), side).map(|order| order.id.0).collect();
                        let slow: BTreeSet<_> =
                            naive.iter().filter(|(_, at)| **at == (symbol, side)).map(|(id, _)| *id).collect();
                        prop_assert_eq!(fast, slow);
                    }
                }
            }
        }
    }

    #[test]
    fn matches_are_remembered_up_to_the_capacity() {
        let mut seen = SeenMatches::new(3);
        for number in 1..=3 {
            assert!(seen.insert(MatchNumber(number)));
        }
        assert!(!seen.insert(MatchNumber(1)));
        assert!(seen.insert(MatchNumber(4)));
        assert!(seen.insert(MatchNumber(1)), "forgotten: the fourth took its place");
        assert!(!seen.insert(MatchNumber(3)));
    }
}
