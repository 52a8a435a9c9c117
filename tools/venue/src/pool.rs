//! Orders in slots of fixed number, in lists that run through the slots, found by reference in one step.

use peregrine_types::{OrderRef, Side, SymbolId};

use crate::orders::{AccountId, Terms};

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// Where an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: the slot is free.
    Free,
    /// On its way in: it matches, and is in no list.
    Arriving,
    /// In the displayed queue of its level.
    Displayed,
    /// In the hidden queue of its level.
    Hidden,
    /// Among the pegs of its side.
    Peg,
    /// Among the sleeping stop orders.
    Stop,
    /// Among the orders of a cross.
    Auction,
}

/// One order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) account: AccountId,
    pub(crate) order_ref: OrderRef,
    /// Its reference on the feed, which is also its time priority: references are given out in order.
    pub(crate) display_ref: OrderRef,
    pub(crate) symbol: SymbolId,
    pub(crate) side: Side,
    pub(crate) terms: Terms,
    /// Shares left.
    pub(crate) open: u32,
    /// Of these, shares that the feed shows.
    pub(crate) displayed: u32,
    /// Shares of the chain that were executed or prevented.
    pub(crate) spent: u32,
    pub(crate) place: Place,
    pub(crate) level: u32,
    pub(crate) is_cancel_pending: bool,
    pub(crate) is_cancel_rejected: bool,
    prev: u32,
    next: u32,
}

impl Order {
    pub(crate) const fn arriving(account: AccountId, symbol: SymbolId, side: Side, qty: u32, terms: Terms) -> Self {
        Self {
            account,
            order_ref: OrderRef(0),
            display_ref: OrderRef(0),
            symbol,
            side,
            terms,
            open: qty,
            displayed: 0,
            spent: 0,
            place: Place::Arriving,
            level: NONE,
            is_cancel_pending: false,
            is_cancel_rejected: false,
            prev: NONE,
            next: NONE,
        }
    }

    /// What can trade in one step: of a displayed order the displayed part.
    pub(crate) const fn available(&self) -> u32 {
        match self.place {
            Place::Displayed => self.displayed,
            Place::Free | Place::Arriving | Place::Hidden | Place::Peg | Place::Stop | Place::Auction => self.open,
        }
    }
}

/// A queue of orders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) head: u32,
    pub(crate) tail: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE };

    pub(crate) const fn is_empty(self) -> bool {
        self.head == NONE
    }
}

/// All orders.
#[derive(Debug)]
pub(crate) struct Pool {
    orders: Box<[Order]>,
    free: u32,
    /// Slots that were ever used lie below it.
    high_water: u32,
    live_count: u32,
    by_ref: Box<[u32]>,
    ref_last: u64,
}

impl Pool {
    pub(crate) fn new(order_count_max: u32, reference_count_max: u32) -> Self {
        let terms = Terms::default();
        let empty = Order { place: Place::Free, ..Order::arriving(AccountId(0), SymbolId(0), Side::Buy, 0, terms) };
        Self {
            orders: vec![empty; order_count_max as usize].into_boxed_slice(),
            free: NONE,
            high_water: 0,
            live_count: 0,
            by_ref: vec![NONE; reference_count_max as usize + 1].into_boxed_slice(),
            ref_last: 0,
        }
    }

    pub(crate) const fn live_count(&self) -> u32 {
        self.live_count
    }

    pub(crate) const fn high_water(&self) -> u32 {
        self.high_water
    }

    /// The next reference of the day, `None` when all are used up.
    pub(crate) fn next_ref(&mut self) -> Option<OrderRef> {
        let next = self.ref_last + 1;
        if next >= self.by_ref.len() as u64 {
            return None;
        }
        self.ref_last = next;
        Some(OrderRef(next))
    }

    /// The slot of a live order.
    pub(crate) fn find(&self, order_ref: OrderRef) -> Option<u32> {
        let entry = usize::try_from(order_ref.0).ok().and_then(|at| self.by_ref.get(at));
        entry.copied().filter(|index| *index != NONE)
    }

    pub(crate) fn get(&self, index: u32) -> &Order {
        &self.orders[index as usize]
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Order {
        &mut self.orders[index as usize]
    }

    /// Puts an order into a free slot; `None` when there is none or no reference is left.
    pub(crate) fn insert(&mut self, order: Order) -> Option<u32> {
        let index = if self.free == NONE { self.high_water } else { self.free };
        if index as usize >= self.orders.len() {
            return None;
        }
        let order_ref = self.next_ref()?;
        if self.free == NONE {
            self.high_water += 1;
        } else {
            self.free = self.orders[index as usize].next;
        }
        self.orders[index as usize] = Order { order_ref, display_ref: order_ref, ..order };
        self.by_ref[Self::ref_index(order_ref)] = index;
        self.live_count += 1;
        Some(index)
    }

    /// Gives a live order another reference: what it was called before finds nothing any more. `None` when no
    /// reference is left.
    pub(crate) fn rename(&mut self, index: u32) -> Option<OrderRef> {
        let order_ref = self.next_ref()?;
        let old = self.orders[index as usize].order_ref;
        self.by_ref[Self::ref_index(old)] = NONE;
        self.by_ref[Self::ref_index(order_ref)] = index;
        let order = self.get_mut(index);
        order.order_ref = order_ref;
        order.display_ref = order_ref;
        Some(order_ref)
    }

    /// Frees the slot of an order that is in no list.
    pub(crate) fn remove(&mut self, index: u32) {
        let old = self.orders[index as usize].order_ref;
        self.by_ref[Self::ref_index(old)] = NONE;
        let free = self.free;
        let order = self.get_mut(index);
        order.place = Place::Free;
        order.next = free;
        self.free = index;
        self.live_count -= 1;
    }

    /// The order behind `index` in its list.
    pub(crate) fn next(&self, index: u32) -> u32 {
        self.orders[index as usize].next
    }

    /// The orders of a list, in order.
    pub(crate) fn iter(&self, list: List) -> impl Iterator<Item = (u32, &Order)> {
        let mut at = list.head;
        core::iter::from_fn(move || {
            if at == NONE {
                return None;
            }
            let index = at;
            let order = self.get(index);
            at = order.next;
            Some((index, order))
        })
    }

    pub(crate) fn push_back(&mut self, list: &mut List, index: u32) {
        let tail = list.tail;
        let order = self.get_mut(index);
        order.prev = tail;
        order.next = NONE;
        if tail == NONE {
            list.head = index;
        } else {
            self.get_mut(tail).next = index;
        }
        list.tail = index;
    }

    pub(crate) fn unlink(&mut self, list: &mut List, index: u32) {
        let Order { prev, next, .. } = *self.get(index);
        if prev == NONE {
            list.head = next;
        } else {
            self.get_mut(prev).next = next;
        }
        if next == NONE {
            list.tail = prev;
        } else {
            self.get_mut(next).prev = prev;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "references lie below the length of a table in memory")]
    const fn ref_index(order_ref: OrderRef) -> usize {
        order_ref.0 as usize
    }
}
