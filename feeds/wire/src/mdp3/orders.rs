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
}

impl Orders {
    pub(super) fn new(count_max: u32) -> Self {
        let count_max = usize::try_from(count_max).unwrap_or(usize::MAX).clamp(1, 1 << 24);
        let len = count_max.saturating_mul(2).next_power_of_two();
        Self {
            slots: vec![EMPTY; len].into_boxed_slice(),
            mask: len.wrapping_sub(1),
            count: 0,
            count_max,
            own_ref_next: OWN_REF_FIRST,
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

    /// Any order of the instrument. Looks through the whole table: for what happens once a day.
    #[cold]
    pub(super) fn any_of(&self, instrument: Index) -> Option<Order> {
        self.slots.iter().find(|slot| slot.qty != 0 && slot.instrument == instrument).copied()
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
            *slot = order;
            return true;
        }
        false
    }

    /// Takes an order out.
    #[inline]
    pub(super) fn remove(&mut self, order_id: u64) {
        let Some(mut hole) = self.position(order_id) else { return };
        self.count = self.count.saturating_sub(1);
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
        fn the_table_equals_a_map(steps in prop::collection::vec((0_u64..24, 0_u32..4), 0..200)) {
            let (mut table, mut map) = (Orders::new(8), BTreeMap::new());
            for (number, qty) in steps {
                // Numbers that meet in few slots.
                let order_id = number.wrapping_mul(1 << 33);
                if qty == 0 {
                    table.remove(order_id);
                    map.remove(&order_id);
                } else {
                    let has_room = map.contains_key(&order_id) || map.len() < 8;
                    prop_assert_eq!(table.put(Order { order_id, qty, ..EMPTY }), has_room);
                    if has_room {
                        map.insert(order_id, qty);
                    }
                }
                prop_assert_eq!(table.count(), map.len());
                for number in 0_u64..24 {
                    let order_id = number.wrapping_mul(1 << 33);
                    prop_assert_eq!(table.get(order_id).map(|order| order.qty), map.get(&order_id).copied());
                }
            }
            table.clear();
            prop_assert!(table.count() == 0 && table.any_of(Index(0)).is_none());
        }
    }
}
