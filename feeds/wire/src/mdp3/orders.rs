//! The orders that stand in the books of a channel, by the exchange's numbers: what an update changes is known from here
//! alone, because MDP 3.0 says what is left, not what went.
//!
//! One table of full size from construction: linear probing, at most half full, deletion by shifting back.

use peregrine_types::Side;

use super::instruments::Index;

/// References of the engine for orders that lost their place: exchanges number orders far below.
const OWN_REF_FIRST: u64 = 1 << 63;

/// An order as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The exchange's number.
    pub(super) order_id: u64,
    /// The engine's reference: the number, and another one once the order lost its place.
    pub(super) order_ref: u64,
    /// As sent, before the display factor.
    pub(super) mantissa: i64,
    /// Lower is earlier in the queue.
    pub(super) priority: u64,
    /// What is left; zero in an empty slot.
    pub(super) qty: u32,
    pub(super) instrument: Index,
    pub(super) side: Side,
}

const EMPTY: Order =
    Order { order_id: 0, order_ref: 0, mantissa: 0, priority: 0, qty: 0, instrument: Index(0), side: Side::Buy };

/// The orders of all instruments.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    slots: Box<[Order]>,
    mask: usize,
    count: usize,
    count_max: usize,
    own_ref_next: u64,
    /// Orders of each instrument.
    instrument_counts: Box<[u32]>,
    /// Where the search for an instrument's orders goes on.
    sweep: usize,
}

impl Orders {
    pub(super) fn new(count_max: u32, instrument_count: usize) -> Self {
        let count_max = usize::try_from(count_max).unwrap_or(usize::MAX).clamp(1, 1 << 24);
        let len = count_max.saturating_mul(2).next_power_of_two();
        Self {
            slots: vec![EMPTY; len].into_boxed_slice(),
            mask: len.wrapping_sub(1),
            count: 0,
            count_max,
            own_ref_next: OWN_REF_FIRST,
            instrument_counts: vec![0; instrument_count].into_boxed_slice(),
            sweep: 0,
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// A reference that no order of the exchange has.
    pub(super) const fn own_ref(&mut self) -> u64 {
        let own = self.own_ref_next;
        // The lower half belongs to the exchange.
        self.own_ref_next = own.wrapping_add(1) | OWN_REF_FIRST;
        own
    }

    /// Whether an exchange's number can be a reference.
    pub(super) const fn is_possible(order_id: u64) -> bool {
        order_id < OWN_REF_FIRST
    }

    #[inline]
    fn home(&self, order_id: u64) -> usize {
        // The high half of the product is mixed best.
        let mixed = order_id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        usize::try_from(mixed >> 32).unwrap_or(0) & self.mask
    }

    #[inline]
    fn position(&self, order_id: u64) -> Option<usize> {
        let start = self.home(order_id);
        for step in 0..=self.mask {
            let position = start.wrapping_add(step) & self.mask;
            let slot = self.slots.get(position)?;
            if slot.qty == 0 {
                return None;
            }
            if slot.order_id == order_id {
                return Some(position);
            }
        }
        None
    }

    /// The order with this number.
    #[inline]
    pub(super) fn get(&self, order_id: u64) -> Option<Order> {
        self.slots.get(self.position(order_id)?).copied()
    }

    /// Whether any order of the instrument stands.
    pub(super) fn has_any(&self, instrument: Index) -> bool {
        let count = usize::try_from(instrument.0).ok().and_then(|index| self.instrument_counts.get(index));
        count.is_some_and(|count| *count > 0)
    }

    /// Takes any order of the instrument out. Until none is left the search goes on where it was, so that all of them cost
    /// one walk through the table.
    #[cold]
    pub(super) fn pop_any(&mut self, instrument: Index) -> Option<Order> {
        if !self.has_any(instrument) {
            self.sweep = 0;
            return None;
        }
        for _ in 0..=self.mask {
            let slot = self.slots.get(self.sweep & self.mask).copied();
            if let Some(order) = slot.filter(|slot| slot.qty != 0 && slot.instrument == instrument) {
                // What shifts back into the slot is looked at next.
                self.remove(order.order_id);
                return Some(order);
            }
            self.sweep = self.sweep.wrapping_add(1);
        }
        None
    }

    fn count_of(&mut self, instrument: Index) -> Option<&mut u32> {
        self.instrument_counts.get_mut(usize::try_from(instrument.0).ok()?)
    }

    /// Puts an order in, or in the place of the one with its number; `false` when there is no room. Its quantity must not
    /// be zero.
    #[inline]
    pub(super) fn put(&mut self, order: Order) -> bool {
        let start = self.home(order.order_id);
        for step in 0..=self.mask {
            let position = start.wrapping_add(step) & self.mask;
            let Some(slot) = self.slots.get_mut(position) else { return false };
            if slot.qty != 0 && slot.order_id != order.order_id {
                continue;
            }
            if slot.qty == 0 {
                if self.count >= self.count_max {
                    return false;
                }
                self.count = self.count.saturating_add(1);
            }
            let before = core::mem::replace(slot, order);
            if before.qty != 0
                && let Some(count) = self.count_of(before.instrument)
            {
                *count = count.saturating_sub(1);
            }
            if let Some(count) = self.count_of(order.instrument) {
                *count = count.saturating_add(1);
            }
            return true;
        }
        false
    }

    /// Takes an order out.
    #[inline]
    pub(super) fn remove(&mut self, order_id: u64) {
        let Some(mut hole) = self.position(order_id) else { return };
        self.count = self.count.saturating_sub(1);
        let instrument = self.slots.get(hole).map(|slot| slot.instrument);
        if let Some(count) = instrument.and_then(|instrument| self.count_of(instrument)) {
            *count = count.saturating_sub(1);
        }
        let first = hole;
        for step in 1..=self.mask {
            let position = first.wrapping_add(step) & self.mask;
            let Some(slot) = self.slots.get(position).copied().filter(|slot| slot.qty != 0) else { break };
            let from_home = position.wrapping_sub(self.home(slot.order_id)) & self.mask;
            let from_hole = position.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                if let Some(free) = self.slots.get_mut(hole) {
                    *free = slot;
                }
                hole = position;
            }
        }
        if let Some(slot) = self.slots.get_mut(hole) {
            *slot = EMPTY;
        }
    }

    /// No order stands any more.
    pub(super) fn clear(&mut self) {
        if self.count > 0 {
            self.slots.fill(EMPTY);
            self.instrument_counts.fill(0);
        }
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_table_equals_a_map(
            steps in prop::collection::vec((0_u64..24, 0_u32..4, 0_u32..3), 0..200),
            emptied in 0_u32..3,
        ) {
            let (mut table, mut map) = (Orders::new(8, 3), BTreeMap::new());
            for (number, qty, instrument) in steps {
                let instrument = Index(instrument);
                // Numbers that meet in few slots.
                let order_id = number.wrapping_mul(1 << 33);
                if qty == 0 {
                    table.remove(order_id);
                    map.remove(&order_id);
                } else {
                    let has_room = map.contains_key(&order_id) || map.len() < 8;
                    prop_assert_eq!(table.put(Order { order_id, qty, instrument, ..EMPTY }), has_room);
                    if has_room {
                        map.insert(order_id, (qty, instrument));
                    }
                }
                prop_assert_eq!(table.count(), map.len());
                for number in 0_u64..24 {
                    let order_id = number.wrapping_mul(1 << 33);
                    let found = table.get(order_id).map(|order| (order.qty, order.instrument));
                    prop_assert_eq!(found, map.get(&order_id).copied());
                }
                for index in (0..3).map(Index) {
                    prop_assert_eq!(table.has_any(index), map.values().any(|order| order.1 == index));
                }
            }
            while let Some(order) = table.pop_any(Index(emptied)) {
                prop_assert_eq!(map.remove(&order.order_id), Some((order.qty, Index(emptied))));
            }
            prop_assert!(map.values().all(|order| order.1 != Index(emptied)));
            prop_assert_eq!(table.count(), map.len());
            table.clear();
            prop_assert!(table.count() == 0 && (0..3).all(|index| table.pop_any(Index(index)).is_none()));
        }
    }
}
