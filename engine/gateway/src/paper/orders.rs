//! Own orders that rest at the venue, in one list per symbol and side, in the order in which they joined.

use peregrine_types::{OrderId, Qty, Side, SymbolId};

use super::fill::OwnOrder;

/// One resting order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resting {
    pub(super) order_id: OrderId,
    pub(super) symbol: SymbolId,
    pub(super) own: OwnOrder,
    /// What was executed of it and of the orders that it replaced.
    pub(super) executed_qty: Qty,
}

/// A slot of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotIndex(u32);

#[derive(Clone, Copy, Debug)]
struct Slot {
    resting: Option<Resting>,
    next: Option<SlotIndex>,
}

/// A slab with intrusive lists; all memory is taken at construction.
#[derive(Debug)]
pub(super) struct Orders {
    slots: Box<[Slot]>,
    /// First order of each symbol's buys and sells.
    heads: Box<[[Option<SlotIndex>; 2]]>,
    free: Option<SlotIndex>,
    len: usize,
}

impl SlotIndex {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Orders {
    pub(super) fn new(symbol_count_max: usize, order_count_max: usize) -> Self {
        let link = |index: usize| u32::try_from(index).ok().filter(|_| index < order_count_max).map(SlotIndex);
        let slots = (0..order_count_max).map(|index| Slot { resting: None, next: link(index.saturating_add(1)) });
        Self {
            slots: slots.collect(),
            heads: vec![[None; 2]; symbol_count_max].into_boxed_slice(),
            free: link(0),
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_full(&self) -> bool {
        self.free.is_none()
    }

    pub(super) const fn symbol_count(&self) -> usize {
        self.heads.len()
    }

    pub(super) fn is_empty_of(&self, symbol: SymbolId) -> bool {
        self.heads.get(symbol.index()).is_none_or(|heads| heads.iter().all(Option::is_none))
    }

    pub(super) fn first(&self, symbol: SymbolId, side: Side) -> Option<SlotIndex> {
        *self.heads.get(symbol.index())?.get(side.index())?
    }

    pub(super) fn next(&self, slot: SlotIndex) -> Option<SlotIndex> {
        self.slots.get(slot.index())?.next
    }

    pub(super) fn get_mut(&mut self, slot: SlotIndex) -> Option<&mut Resting> {
        self.slots.get_mut(slot.index())?.resting.as_mut()
    }

    pub(super) fn get(&self, slot: SlotIndex) -> Option<&Resting> {
        self.slots.get(slot.index())?.resting.as_ref()
    }

    /// The order of this id among the symbol's own orders.
    pub(super) fn find(&self, symbol: SymbolId, order_id: OrderId) -> Option<SlotIndex> {
        for side in Side::BOTH {
            let mut next = self.first(symbol, side);
            while let Some(slot) = next {
                if self.get(slot)?.order_id == order_id {
                    return Some(slot);
                }
                next = self.next(slot);
            }
        }
        None
    }

    /// Appends an order to its list, behind the ones with a price as good or better: better prices are met first, and
    /// among equal prices the one that joined first. Returns whether there was room.
    pub(super) fn insert(&mut self, resting: Resting) -> bool {
        let Some(slot) = self.free else { return false };
        let (symbol, side) = (resting.symbol, resting.own.side);
        let mut before = None;
        let mut next = self.first(symbol, side);
        while let Some(candidate) = next {
            let Some(other) = self.get(candidate) else { break };
            if resting.own.price.is_better_than(other.own.price, side) {
                break;
            }
            before = Some(candidate);
            next = self.next(candidate);
        }
        let Some(entry) = self.slots.get_mut(slot.index()) else { return false };
        self.free = entry.next;
        *entry = Slot { resting: Some(resting), next };
        self.link(symbol, side, before, Some(slot));
        self.len = self.len.saturating_add(1);
        true
    }

    /// Takes an order out.
    pub(super) fn remove(&mut self, slot: SlotIndex) -> Option<Resting> {
        let resting = *self.get(slot)?;
        let (symbol, side) = (resting.symbol, resting.own.side);
        let mut before = None;
        let mut next = self.first(symbol, side);
        while let Some(candidate) = next {
            if candidate == slot {
                break;
            }
            before = Some(candidate);
            next = self.next(candidate);
        }
        let after = self.next(slot);
        self.link(symbol, side, before, after);
        let free = self.free;
        *self.slots.get_mut(slot.index())? = Slot { resting: None, next: free };
        self.free = Some(slot);
        self.len = self.len.saturating_sub(1);
        Some(resting)
    }

    /// Takes any order out, lowest slot first.
    pub(super) fn remove_any(&mut self) -> Option<Resting> {
        if self.len == 0 {
            return None;
        }
        let index = self.slots.iter().position(|slot| slot.resting.is_some())?;
        self.remove(SlotIndex(u32::try_from(index).ok()?))
    }

    /// Makes `slot` follow `before`, or lead the list.
    fn link(&mut self, symbol: SymbolId, side: Side, before: Option<SlotIndex>, slot: Option<SlotIndex>) {
        let place = match before {
            Some(before) => self.slots.get_mut(before.index()).map(|entry| &mut entry.next),
            None => self.heads.get_mut(symbol.index()).and_then(|heads| heads.get_mut(side.index())),
        };
        if let Some(place) = place {
            *place = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_book::Priority;
    use peregrine_types::Price;

    fn resting(id: u64, price: i64) -> Resting {
        let own = OwnOrder {
            side: Side::Buy,
            price: Price(price),
            leaves_qty: Qty(1),
            ahead_qty: Qty(0),
            joined_at: Priority(id),
        };
        Resting { order_id: OrderId(id), symbol: SymbolId(1), own, executed_qty: Qty(0) }
    }

    fn ids(orders: &Orders) -> Vec<u64> {
        let mut ids = Vec::new();
        let mut next = orders.first(SymbolId(1), Side::Buy);
        while let Some(slot) = next {
            ids.push(orders.get(slot).unwrap().order_id.0);
            next = orders.next(slot);
        }
        ids
    }

    #[test]
    fn orders_stand_by_price_then_by_time_and_slots_are_reused() {
        let mut orders = Orders::new(2, 4);
        for (id, price) in [(1, 100), (2, 101), (3, 100), (4, 102)] {
            assert!(orders.insert(resting(id, price)));
        }
        assert_eq!(ids(&orders), [4, 2, 1, 3]);
        assert!(orders.is_full() && !orders.insert(resting(5, 100)));
        let slot = orders.find(SymbolId(1), OrderId(2)).unwrap();
        assert_eq!(orders.remove(slot).unwrap().order_id, OrderId(2));
        assert!(orders.insert(resting(6, 99)));
        assert_eq!(ids(&orders), [4, 1, 3, 6]);
        while orders.remove_any().is_some() {}
        assert!(orders.is_empty_of(SymbolId(1)) && orders.len() == 0);
    }
}
