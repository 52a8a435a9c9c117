//! Every live order of the market, found by its reference in one or two cache lines.
//!
//! Two regions of one allocation:
//! - **home**: sets of four slots (two cache lines). An order lives in the set that the low bits of its reference name,
//!   at best in the very slot. Venues hand out references nearly in sequence, so new orders fill neighbouring slots,
//!   and short lives (most of them) begin and end in lines and pages that are still warm.
//! - **spill**: where an order goes when its set is full: linear probing from a mixed hash, at most half full, deletion
//!   by shifting back, no tombstones. One byte per set counts its spilled orders, so that the spill is never looked at
//!   for nothing.
//!
//! A slot is empty when its quantity is zero: no live order has none.

use peregrine_types::{OrderRef, Price, Qty, Side, SymbolId};

use crate::hash::mix;
use crate::{BookConfig, Priority, RestingOrder};

const SET_LEN: usize = 4;
const LINE_LEN: usize = 64;
/// Slots per cache line: the most that alignment can cost.
const LINE_SLOT_COUNT: usize = 2;
/// A set's count of spilled orders that no longer counts down: the set has spilled too often to keep book.
const SPILLED_STICKY: u8 = u8::MAX;

/// One order in 32 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct OrderSlot {
    pub(crate) order_ref: u64,
    pub(crate) price: i64,
    pub(crate) priority: u64,
    /// What is left; zero in an empty slot.
    pub(crate) qty: u32,
    /// Level hint in the high 11 bits, then the symbol in 20, then the side in one.
    place: u32,
}

/// Largest level hint; a level further up is looked for from there.
const HINT_MAX: usize = (1 << 11) - 1;
const HINT_SHIFT: u32 = 21;
const SYMBOL_MASK: u32 = (1 << 20) - 1;

const _: () = assert!(BookConfig::SYMBOL_COUNT_LIMIT == SYMBOL_MASK + 1);

const _: () = assert!(size_of::<OrderSlot>() == 32, "two orders per cache line");

/// Not all zero on purpose: memory filled with it has been written to, page by page.
const EMPTY: OrderSlot = OrderSlot { order_ref: u64::MAX, price: 0, priority: 0, qty: 0, place: 0 };

impl OrderSlot {
    #[inline]
    pub(crate) fn new(order_ref: OrderRef, order: &RestingOrder, level_index: usize) -> Self {
        let hint = u32::try_from(level_index.min(HINT_MAX)).unwrap_or(0);
        Self {
            order_ref: order_ref.0,
            price: order.price.0,
            priority: order.priority.0,
            qty: u32::try_from(order.qty.0).unwrap_or(u32::MAX),
            place: (hint << HINT_SHIFT) | ((order.symbol.0 & SYMBOL_MASK) << 1) | u32::from(order.side as u8),
        }
    }

    #[inline]
    pub(crate) const fn symbol(&self) -> SymbolId {
        SymbolId((self.place >> 1) & SYMBOL_MASK)
    }

    /// Where the order's level was when it joined, counted from the worst one.
    #[inline]
    pub(crate) const fn level_hint(&self) -> usize {
        (self.place >> HINT_SHIFT) as usize
    }

    #[inline]
    pub(crate) const fn side(&self) -> Side {
        if self.place & 1 == 0 { Side::Buy } else { Side::Sell }
    }

    pub(crate) fn order(&self) -> RestingOrder {
        RestingOrder {
            symbol: self.symbol(),
            side: self.side(),
            price: Price(self.price),
            qty: Qty(u64::from(self.qty)),
            priority: Priority(self.priority),
        }
    }

    #[inline]
    const fn is(&self, order_ref: OrderRef) -> bool {
        self.order_ref == order_ref.0 && self.qty != 0
    }

    #[inline]
    const fn is_empty(&self) -> bool {
        self.qty == 0
    }
}

/// Where a reference is, or where it would go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    /// It is live.
    Live,
    /// It is not; this slot is free for it.
    Free(usize),
    /// It is not, and there is no room (more orders than the table was made for).
    NoRoom,
}

/// The table of live orders.
#[derive(Debug)]
pub(crate) struct OrderTable {
    slots: Box<[OrderSlot]>,
    /// Spilled orders per home set, sticky at [`SPILLED_STICKY`].
    spilled: Box<[u8]>,
    /// Index of the first home slot, so placed that sets begin on cache lines.
    home: usize,
    home_mask: usize,
    /// Index of the first spill slot.
    spill: usize,
    spill_mask: usize,
    live_count: usize,
}

/// A 64-bit number as an index; on the 64-bit machines that this runs on nothing is lost.
#[inline]
fn low_bits(value: u64, mask: usize) -> usize {
    usize::try_from(value & u64::try_from(mask).unwrap_or(u64::MAX)).unwrap_or(0)
}

impl OrderTable {
    /// A table for `order_count_max` live orders (at most 2²⁴): 128 to 256 bytes per order, written once in full.
    pub(crate) fn new(order_count_max: usize) -> Self {
        let region_len = order_count_max.saturating_mul(2).next_power_of_two().max(SET_LEN);
        let total = region_len.saturating_mul(2).saturating_add(LINE_SLOT_COUNT);
        let slots = vec![EMPTY; total].into_boxed_slice();
        let home = slots.as_ptr().align_offset(LINE_LEN).min(LINE_SLOT_COUNT);
        let mut spilled = vec![1_u8; region_len / SET_LEN].into_boxed_slice();
        core::hint::black_box(&mut spilled).fill(0);
        let mask = region_len.wrapping_sub(1);
        let spill = home.wrapping_add(region_len);
        Self { slots, spilled, home, home_mask: mask, spill, spill_mask: mask, live_count: 0 }
    }

    pub(crate) const fn live_count(&self) -> usize {
        self.live_count
    }

    /// Every live order, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OrderSlot> {
        self.slots.iter().filter(|slot| !slot.is_empty())
    }

    pub(crate) fn clear(&mut self) {
        if self.live_count > 0 {
            self.slots.fill(EMPTY);
        }
        self.spilled.fill(0);
        self.live_count = 0;
    }

    #[inline]
    fn set_base(&self, order_ref: OrderRef) -> usize {
        self.home.wrapping_add(low_bits(order_ref.0, self.home_mask) & !(SET_LEN.wrapping_sub(1)))
    }

    #[inline]
    fn set_index(&self, order_ref: OrderRef) -> usize {
        low_bits(order_ref.0, self.home_mask) / SET_LEN
    }

    #[inline]
    fn has_spilled(&self, order_ref: OrderRef) -> bool {
        self.spilled.get(self.set_index(order_ref)).is_some_and(|count| *count > 0)
    }

    /// The slot that the reference has when its neighbourhood is not crowded.
    #[inline]
    fn own_index(&self, order_ref: OrderRef) -> usize {
        self.home.wrapping_add(low_bits(order_ref.0, self.home_mask))
    }

    /// Where a live order is.
    #[inline]
    pub(crate) fn find(&self, order_ref: OrderRef) -> Option<usize> {
        let own = self.own_index(order_ref);
        if self.slots.get(own)?.is(order_ref) {
            return Some(own);
        }
        self.find_in_set(order_ref)
    }

    #[inline]
    fn find_in_set(&self, order_ref: OrderRef) -> Option<usize> {
        let base = self.set_base(order_ref);
        let set: &[OrderSlot; SET_LEN] = self.slots.get(base..)?.first_chunk()?;
        if let Some(position) = set.iter().position(|slot| slot.is(order_ref)) {
            return Some(base.wrapping_add(position));
        }
        if self.has_spilled(order_ref) { self.find_spilled(order_ref) } else { None }
    }

    /// Where a new order goes, if its reference is not live.
    #[inline]
    pub(crate) fn entry(&self, order_ref: OrderRef) -> Entry {
        let base = self.set_base(order_ref);
        let set: Option<&[OrderSlot; SET_LEN]> = self.slots.get(base..).and_then(<[OrderSlot]>::first_chunk);
        let Some(set) = set else { return Entry::NoRoom };
        if set.iter().any(|slot| slot.is(order_ref)) {
            return Entry::Live;
        }
        if self.has_spilled(order_ref) && self.find_spilled(order_ref).is_some() {
            return Entry::Live;
        }
        let own = self.own_index(order_ref);
        if self.slots.get(own).is_some_and(OrderSlot::is_empty) {
            return Entry::Free(own);
        }
        match set.iter().position(OrderSlot::is_empty) {
            Some(position) => Entry::Free(base.wrapping_add(position)),
            None => self.spill_entry(order_ref),
        }
    }

    #[inline]
    pub(crate) fn slot(&self, index: usize) -> Option<&OrderSlot> {
        self.slots.get(index)
    }

    /// Puts an order into the free slot that [`Self::entry`] gave for its reference.
    #[inline]
    pub(crate) fn insert(&mut self, index: usize, slot: OrderSlot) {
        if let Some(free) = self.slots.get_mut(index) {
            *free = slot;
            self.live_count = self.live_count.wrapping_add(1);
        }
        if index >= self.spill {
            self.count_spilled(OrderRef(slot.order_ref));
        }
    }

    /// Leaves `qty` of a live order; `qty` is not zero.
    #[inline]
    pub(crate) fn set_qty(&mut self, index: usize, qty: u32) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.qty = qty;
        }
    }

    /// Removes a live order.
    #[inline]
    pub(crate) fn remove(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.qty = 0;
        self.live_count = self.live_count.wrapping_sub(1);
        if index >= self.spill {
            let order_ref = OrderRef(slot.order_ref);
            self.close_hole(index);
            self.uncount_spilled(order_ref);
        }
    }

    /// Reads every line that finding the reference reads, so that they are on their way.
    #[inline]
    pub(crate) fn touch(&self, order_ref: OrderRef) -> u64 {
        let own = self.own_index(order_ref);
        // The set's other line; a set begins on a line.
        let other = self.home.wrapping_add(low_bits(order_ref.0, self.home_mask) ^ LINE_SLOT_COUNT);
        let spilled = self.spilled.get(self.set_index(order_ref)).copied().unwrap_or(0);
        let lines = [own, other].map(|index| self.slots.get(index).map_or(0, |slot| slot.order_ref));
        lines.iter().fold(u64::from(spilled), |sum, line| sum ^ line)
    }

    /// The order of this reference, unless it spilled.
    #[inline]
    pub(crate) fn at_home(&self, order_ref: OrderRef) -> Option<&OrderSlot> {
        let own = self.slots.get(self.own_index(order_ref))?;
        if own.is(order_ref) {
            return Some(own);
        }
        let set: &[OrderSlot; SET_LEN] = self.slots.get(self.set_base(order_ref)..)?.first_chunk()?;
        set.iter().find(|slot| slot.is(order_ref))
    }

    #[cold]
    fn count_spilled(&mut self, order_ref: OrderRef) {
        let set = self.set_index(order_ref);
        if let Some(count) = self.spilled.get_mut(set) {
            *count = count.saturating_add(1);
        }
    }

    #[cold]
    fn uncount_spilled(&mut self, order_ref: OrderRef) {
        let set = self.set_index(order_ref);
        if let Some(count) = self.spilled.get_mut(set)
            && *count != SPILLED_STICKY
        {
            *count = count.saturating_sub(1);
        }
    }

    fn spill_home(&self, order_ref: OrderRef) -> usize {
        low_bits(mix(order_ref.0), self.spill_mask)
    }

    fn spill_slot(&self, position: usize) -> Option<&OrderSlot> {
        self.slots.get(self.spill.wrapping_add(position & self.spill_mask))
    }

    #[cold]
    #[inline(never)]
    fn find_spilled(&self, order_ref: OrderRef) -> Option<usize> {
        let start = self.spill_home(order_ref);
        for step in 0..=self.spill_mask {
            let position = start.wrapping_add(step) & self.spill_mask;
            let slot = self.spill_slot(position)?;
            if slot.is_empty() {
                return None;
            }
            if slot.is(order_ref) {
                return Some(self.spill.wrapping_add(position));
            }
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn spill_entry(&self, order_ref: OrderRef) -> Entry {
        let start = self.spill_home(order_ref);
        for step in 0..=self.spill_mask {
            let position = start.wrapping_add(step) & self.spill_mask;
            if self.spill_slot(position).is_some_and(OrderSlot::is_empty) {
                return Entry::Free(self.spill.wrapping_add(position));
            }
        }
        Entry::NoRoom
    }

    /// Moves orders back into the hole at `index` until none behind it would be lost to its probe sequence.
    #[inline(never)]
    fn close_hole(&mut self, index: usize) {
        let mut hole = index.wrapping_sub(self.spill);
        for step in 1..=self.spill_mask {
            let position = index.wrapping_sub(self.spill).wrapping_add(step) & self.spill_mask;
            let Some(slot) = self.spill_slot(position).copied() else { return };
            if slot.is_empty() {
                return;
            }
            let home = self.spill_home(OrderRef(slot.order_ref));
            let distance_home = position.wrapping_sub(home) & self.spill_mask;
            let distance_hole = position.wrapping_sub(hole) & self.spill_mask;
            if distance_home >= distance_hole {
                if let Some(free) = self.slots.get_mut(self.spill.wrapping_add(hole)) {
                    *free = slot;
                }
                if let Some(moved) = self.slots.get_mut(self.spill.wrapping_add(position)) {
                    moved.qty = 0;
                }
                hole = position;
            }
        }
    }
}

#[cfg(test)]
#[path = "order_table_tests.rs"]
mod tests;
