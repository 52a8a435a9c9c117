//! Our own orders and their states, as one total table: every event in every state has a written effect.
//!
//! | state | Submit | CancelSent | Accepted | Filled | Canceled | Rejected | CancelRejected |
//! |---|---|---|---|---|---|---|---|
//! | `Unknown` (no such order) | → `PendingNew` | impossible | impossible | impossible | impossible | impossible | impossible |
//! | `PendingNew` | impossible | → `PendingCancel` | → `Live` | → `Live` or `Filled` | → `Canceled` | → `Rejected` | stays |
//! | `Live` | impossible | → `PendingCancel` | duplicate | stays or → `Filled` | → `Canceled` | impossible | stays |
//! | `PendingCancel` | impossible | duplicate | stays | stays or → `Filled` | → `Canceled` | → `Rejected` | → `Live` |
//! | `Filled` | impossible | too late | duplicate | impossible | duplicate | impossible | stays |
//! | `Canceled`, `Rejected` | impossible | too late | duplicate | counted: a fill that crossed the cancel | duplicate | duplicate | stays |
//!
//! *Impossible* and *duplicate* change nothing but their counters; the caller names them in the log. A fill is known by
//! its match number: the same number again for the same order is a duplicate, whatever the state. A fill after a cancel
//! is real money and is counted. Nothing is ever guessed: an order stays in flight until the venue speaks.

use peregrine_types::{Execution, ExecutionKind, MatchNumber, NewOrder, OrderId, Qty};

/// Where an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OrderState {
    /// No such order.
    #[default]
    Unknown = 0,
    /// Sent, nothing heard.
    PendingNew = 1,
    /// The venue has it.
    Live = 2,
    /// A cancel is on its way.
    PendingCancel = 3,
    /// All of it was executed.
    Filled = 4,
    /// The rest of it is gone.
    Canceled = 5,
    /// It never lived.
    Rejected = 6,
}

impl OrderState {
    /// Whether anything of the order may still be executed.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::PendingNew | Self::Live | Self::PendingCancel)
    }
}

/// What can happen to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEvent {
    /// We sent it.
    Submit,
    /// We sent a cancel for it.
    CancelSent,
    /// The venue spoke.
    Venue(ExecutionKind),
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order went from one state to another, or stayed with a smaller rest.
    Applied {
        /// State before.
        from: OrderState,
        /// State after.
        to: OrderState,
        /// What is left of the order.
        leaves_qty: Qty,
    },
    /// Said before; nothing changed.
    Duplicate,
    /// Cannot be true in this state; nothing changed.
    Impossible {
        /// The state that it met.
        state: OrderState,
    },
}

/// One order.
#[derive(Clone, Copy, Debug)]
pub struct OrderEntry {
    /// Our id.
    pub order_id: OrderId,
    /// What was sent.
    pub order: NewOrder,
    /// Where it stands.
    pub state: OrderState,
    /// What is left of it.
    pub leaves_qty: Qty,
    /// What was executed of it.
    pub filled_qty: Qty,
}

/// Why an order was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderTableFull {
    /// Every slot holds an open order.
    Orders,
    /// Every fill that can be remembered was remembered: a duplicate could no longer be told.
    Fills,
}

/// Every order of a session by id. All memory is taken at construction.
#[derive(Debug)]
pub struct OrderTable {
    slots: Box<[Option<OrderEntry>]>,
    fills: FillSet,
    open_count: usize,
    impossible_count: u64,
    duplicate_count: u64,
}

impl OrderTable {
    /// A table for `order_count_max` orders and `fill_count_max` fills of one session.
    #[must_use]
    pub fn new(order_count_max: usize, fill_count_max: usize) -> Self {
        Self {
            slots: vec![None; order_count_max.max(1)].into_boxed_slice(),
            fills: FillSet::new(fill_count_max),
            open_count: 0,
            impossible_count: 0,
            duplicate_count: 0,
        }
    }

    /// The slot of an id: ids are dense, so that `order_count_max` consecutive ones never collide.
    fn slot_of(&self, order_id: OrderId) -> usize {
        usize::try_from(order_id.0).unwrap_or(usize::MAX).checked_rem(self.slots.len()).unwrap_or(0)
    }

    /// The order of this id, if the table still holds it.
    #[must_use]
    pub fn get(&self, order_id: OrderId) -> Option<&OrderEntry> {
        self.slots.get(self.slot_of(order_id))?.as_ref().filter(|entry| entry.order_id == order_id)
    }

    /// How many orders are open.
    #[must_use]
    pub const fn open_count(&self) -> usize {
        self.open_count
    }

    /// Events that could not be true.
    #[must_use]
    pub const fn impossible_count(&self) -> u64 {
        self.impossible_count
    }

    /// Events that were said before.
    #[must_use]
    pub const fn duplicate_count(&self) -> u64 {
        self.duplicate_count
    }

    /// Every open order, by slot.
    pub fn open_orders(&self) -> impl Iterator<Item = &OrderEntry> {
        self.slots.iter().flatten().filter(|entry| entry.state.is_open())
    }

    /// Takes in an order that is about to be sent.
    ///
    /// # Errors
    /// [`OrderTableFull`] when the slot is held by an order that is still open, or when fills can no longer be told
    /// apart. The order must not be sent then.
    pub fn submit(&mut self, order_id: OrderId, order: NewOrder) -> Result<Outcome, OrderTableFull> {
        if self.fills.is_full() {
            return Err(OrderTableFull::Fills);
        }
        let index = self.slot_of(order_id);
        let Some(slot) = self.slots.get_mut(index) else { return Err(OrderTableFull::Orders) };
        match slot {
            Some(entry) if entry.order_id == order_id => {
                self.impossible_count = self.impossible_count.saturating_add(1);
                return Ok(Outcome::Impossible { state: entry.state });
            }
            Some(entry) if entry.state.is_open() => return Err(OrderTableFull::Orders),
            Some(_) | None => {}
        }
        let state = OrderState::PendingNew;
        *slot = Some(OrderEntry { order_id, order, state, leaves_qty: order.qty, filled_qty: Qty::ZERO });
        self.open_count = self.open_count.saturating_add(1);
        Ok(Outcome::Applied { from: OrderState::Unknown, to: state, leaves_qty: order.qty })
    }

    /// Notes that a cancel is about to be sent.
    pub fn cancel_sent(&mut self, order_id: OrderId) -> Outcome {
        self.apply(order_id, OrderEvent::CancelSent, Qty::ZERO)
    }

    /// Applies what the venue said.
    pub fn on_execution(&mut self, execution: &Execution) -> Outcome {
        let is_fill = matches!(execution.kind, ExecutionKind::Filled);
        if is_fill && self.fills.contains(execution.order_id, execution.match_number) {
            self.duplicate_count = self.duplicate_count.saturating_add(1);
            return Outcome::Duplicate;
        }
        let qty = if is_fill { execution.qty } else { Qty::ZERO };
        let outcome = self.apply(execution.order_id, OrderEvent::Venue(execution.kind), qty);
        if is_fill && matches!(outcome, Outcome::Applied { .. }) {
            self.fills.insert(execution.order_id, execution.match_number);
        }
        outcome
    }

    fn apply(&mut self, order_id: OrderId, event: OrderEvent, filled: Qty) -> Outcome {
        let index = self.slot_of(order_id);
        let entry = self.slots.get_mut(index).and_then(Option::as_mut).filter(|entry| entry.order_id == order_id);
        let Some(entry) = entry else {
            self.impossible_count = self.impossible_count.saturating_add(1);
            return Outcome::Impossible { state: OrderState::Unknown };
        };
        let from = entry.state;
        let step = if filled > entry.leaves_qty && from.is_open() {
            Step::Impossible
        } else {
            step(from, event, filled == entry.leaves_qty)
        };
        match step {
            Step::To(to) => {
                entry.state = to;
                entry.filled_qty = entry.filled_qty.saturating_add(filled);
                entry.leaves_qty = if to.is_open() { entry.leaves_qty.saturating_sub(filled) } else { Qty::ZERO };
                if from.is_open() && !to.is_open() {
                    self.open_count = self.open_count.saturating_sub(1);
                }
                Outcome::Applied { from, to, leaves_qty: entry.leaves_qty }
            }
            Step::Duplicate => {
                self.duplicate_count = self.duplicate_count.saturating_add(1);
                Outcome::Duplicate
            }
            Step::Impossible => {
                self.impossible_count = self.impossible_count.saturating_add(1);
                Outcome::Impossible { state: from }
            }
        }
    }
}

enum Step {
    To(OrderState),
    Duplicate,
    Impossible,
}

/// The table at the top of this file; `is_last` says that a fill takes all that is left.
fn step(state: OrderState, event: OrderEvent, is_last: bool) -> Step {
    use ExecutionKind as Venue;
    use OrderState as S;
    let filled = |rest: S| Step::To(if is_last { S::Filled } else { rest });
    match (state, event) {
        (S::Unknown, _) | (_, OrderEvent::Submit) => Step::Impossible,
        (S::PendingNew | S::Live, OrderEvent::CancelSent) => Step::To(S::PendingCancel),
        (S::PendingCancel, OrderEvent::CancelSent) => Step::Duplicate,
        (S::Filled | S::Canceled | S::Rejected, OrderEvent::CancelSent) => Step::To(state),
        (S::PendingNew, OrderEvent::Venue(Venue::Accepted)) => Step::To(S::Live),
        (S::PendingCancel, OrderEvent::Venue(Venue::Accepted)) => Step::To(S::PendingCancel),
        (S::Live | S::Filled | S::Canceled | S::Rejected, OrderEvent::Venue(Venue::Accepted)) => Step::Duplicate,
        (S::PendingNew | S::Live, OrderEvent::Venue(Venue::Filled)) => filled(S::Live),
        (S::PendingCancel, OrderEvent::Venue(Venue::Filled)) => filled(S::PendingCancel),
        (S::Filled | S::Rejected, OrderEvent::Venue(Venue::Filled)) => Step::Impossible,
        (S::Canceled, OrderEvent::Venue(Venue::Filled)) => Step::To(S::Canceled),
        (S::PendingNew | S::Live | S::PendingCancel, OrderEvent::Venue(Venue::Canceled)) => Step::To(S::Canceled),
        (S::Filled | S::Canceled | S::Rejected, OrderEvent::Venue(Venue::Canceled)) => Step::Duplicate,
        (S::PendingNew | S::PendingCancel, OrderEvent::Venue(Venue::Rejected)) => Step::To(S::Rejected),
        (S::Live | S::Filled, OrderEvent::Venue(Venue::Rejected)) => Step::Impossible,
        (S::Canceled | S::Rejected, OrderEvent::Venue(Venue::Rejected)) => Step::Duplicate,
        (S::PendingCancel, OrderEvent::Venue(Venue::CancelRejected)) => Step::To(S::Live),
        (_, OrderEvent::Venue(Venue::CancelRejected)) => Step::To(state),
    }
}

/// The fills that were seen: a set with open addressing, its memory fixed at construction.
#[derive(Debug)]
struct FillSet {
    slots: Box<[(u64, u64)]>,
    count: usize,
    count_max: usize,
}

impl FillSet {
    fn new(count_max: usize) -> Self {
        let len = count_max.max(1).saturating_mul(2).next_power_of_two();
        Self { slots: vec![(0, 0); len].into_boxed_slice(), count: 0, count_max }
    }

    fn is_full(&self) -> bool {
        self.count >= self.count_max
    }

    /// Where the key is, or where it would go. Order ids start at 1, so that 0 marks an empty slot.
    fn find(&self, key: (u64, u64)) -> (usize, bool) {
        let mask = self.slots.len().saturating_sub(1);
        let mixed = (key.0 ^ key.1.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = usize::try_from(mixed >> 16).unwrap_or(0) & mask;
        for _ in 0..self.slots.len() {
            match self.slots.get(index) {
                Some(slot) if *slot == key => return (index, true),
                Some(slot) if slot.0 == 0 => return (index, false),
                Some(_) | None => index = index.wrapping_add(1) & mask,
            }
        }
        (index, false)
    }

    fn contains(&self, order_id: OrderId, number: MatchNumber) -> bool {
        self.find((order_id.0, number.0)).1
    }

    fn insert(&mut self, order_id: OrderId, number: MatchNumber) {
        let key = (order_id.0, number.0);
        let (index, is_known) = self.find(key);
        if is_known || self.count >= self.slots.len().saturating_sub(1) {
            return;
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = key;
            self.count = self.count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_types::{EpochNanos, Liquidity, Notional, Price, ReasonCode, Side, SymbolId, TimeInForce};
    use proptest::prelude::*;

    fn order(qty: u64) -> NewOrder {
        NewOrder {
            symbol: SymbolId(0),
            side: Side::Buy,
            price: Price(1),
            qty: Qty(qty),
            time_in_force: TimeInForce::Day,
            is_post_only: false,
        }
    }

    fn execution(id: u64, kind: ExecutionKind, qty: u64, number: u64) -> Execution {
        Execution {
            order_id: OrderId(id),
            symbol: SymbolId(0),
            side: Side::Buy,
            kind,
            liquidity: Liquidity::Added,
            reason: ReasonCode::None,
            price: Price(1),
            qty: Qty(qty),
            leaves_qty: Qty(0),
            match_number: MatchNumber(number),
            venue_time: EpochNanos(0),
            visible_time: EpochNanos(0),
            fee: Notional(0),
        }
    }

    #[test]
    fn a_fill_counts_once_and_a_fill_past_a_cancel_counts_too() {
        let mut table = OrderTable::new(4, 16);
        table.submit(OrderId(1), order(10)).unwrap();
        table.on_execution(&execution(1, ExecutionKind::Accepted, 10, 0));
        table.on_execution(&execution(1, ExecutionKind::Filled, 4, 7));
        assert_eq!(table.on_execution(&execution(1, ExecutionKind::Filled, 4, 7)), Outcome::Duplicate);
        table.cancel_sent(OrderId(1));
        table.on_execution(&execution(1, ExecutionKind::Canceled, 6, 0));
        let late = table.on_execution(&execution(1, ExecutionKind::Filled, 6, 8));
        assert!(matches!(late, Outcome::Applied { to: OrderState::Canceled, .. }));
        let entry = table.get(OrderId(1)).unwrap();
        assert_eq!((entry.filled_qty, entry.leaves_qty), (Qty(10), Qty(0)));
        assert_eq!(table.open_count(), 0);
    }

    #[test]
    fn an_overfill_is_impossible_and_changes_nothing() {
        let mut table = OrderTable::new(4, 16);
        table.submit(OrderId(1), order(10)).unwrap();
        let over = table.on_execution(&execution(1, ExecutionKind::Filled, 11, 1));
        assert_eq!(over, Outcome::Impossible { state: OrderState::PendingNew });
        assert_eq!(table.get(OrderId(1)).unwrap().filled_qty, Qty(0));
        assert_eq!(table.impossible_count(), 1);
    }

    #[test]
    fn open_orders_are_never_overwritten_and_fills_never_forgotten() {
        let mut table = OrderTable::new(2, 1);
        table.submit(OrderId(1), order(1)).unwrap();
        table.submit(OrderId(2), order(1)).unwrap();
        assert_eq!(table.submit(OrderId(3), order(1)), Err(OrderTableFull::Orders));
        assert!(matches!(table.submit(OrderId(1), order(1)), Ok(Outcome::Impossible { .. })));
        table.on_execution(&execution(1, ExecutionKind::Filled, 1, 1));
        assert_eq!(table.submit(OrderId(3), order(1)), Err(OrderTableFull::Fills));
    }

    fn kind(index: u8) -> ExecutionKind {
        match index % 5 {
            0 => ExecutionKind::Accepted,
            1 => ExecutionKind::Filled,
            2 => ExecutionKind::Canceled,
            3 => ExecutionKind::Rejected,
            _ => ExecutionKind::CancelRejected,
        }
    }

    proptest! {
        /// Whatever is said in whatever order: no panic, no more filled than was ordered while open, open count exact.
        #[test]
        fn the_table_is_total(steps in proptest::collection::vec((0_u8..8, 1_u64..4, 0_u64..12, 0_u64..6), 0..200)) {
            let mut table = OrderTable::new(3, 64);
            let mut next = 1;
            for (what, id, qty, number) in steps {
                match what {
                    0 => if table.submit(OrderId(next), order(10)).is_ok() { next += 1 },
                    1 => { table.cancel_sent(OrderId(id)); }
                    _ => { table.on_execution(&execution(id, kind(what), qty, number)); }
                }
                prop_assert_eq!(table.open_orders().count(), table.open_count());
                for entry in table.open_orders() {
                    prop_assert_eq!(entry.filled_qty.saturating_add(entry.leaves_qty), Qty(10));
                }
            }
        }
    }
}
