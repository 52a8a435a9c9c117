//! Our own orders and their states, as one total table: every event in every state has a written effect.
//!
//! | state | Submit | CancelSent | Accepted | Filled | Canceled | Rejected | CancelRejected | Reduced | Busted |
//! |---|---|---|---|---|---|---|---|---|---|
//! | `Unknown` (no such order) | → `PendingNew` | impossible | impossible | unexpected | impossible | impossible | impossible | impossible | unexpected |
//! | `PendingNew` | impossible | → `PendingCancel` | → `Live` | → `Live` or `Filled` | → `Canceled` | → `Rejected` | stays | → `Live` or `Canceled` | stays |
//! | `Live` | impossible | → `PendingCancel` | duplicate | stays or → `Filled` | → `Canceled` | impossible | stays | stays or → `Canceled` | stays |
//! | `PendingCancel` | impossible | duplicate | stays | stays or → `Filled` | → `Canceled` | → `Rejected` | → `Live` | stays or → `Canceled` | stays |
//! | `Filled` | impossible | too late | duplicate | unexpected | duplicate | impossible | stays | impossible | stays |
//! | `Canceled` | impossible | too late | duplicate | counted: it crossed the cancel | duplicate | duplicate | stays | duplicate | stays |
//! | `Rejected` | impossible | too late | duplicate | unexpected | duplicate | duplicate | stays | duplicate | impossible |
//! | `PendingReplace` | impossible | → `PendingCancel` | stays | stays or → `Filled` | → `Canceled` | → `Rejected` if nothing was heard of it, else impossible | stays | stays or → `Canceled` | stays |
//! | `Replaced` | impossible | too late | duplicate | counted: it crossed the replace | duplicate | duplicate | stays | duplicate | stays |
//!
//! What a replacement does to the order that it replaces, and what becomes of itself, is in [`replace`].
//!
//! *Impossible* and *duplicate* change nothing but their counters; the caller names them in the log. A fill is known by
//! its match number: the same number again for the same order is a duplicate, whatever the state (0 is no number and
//! never a duplicate). Any other fill is real money and is counted in every state, here as in the risk gate and the
//! strategy; one that the state does not allow, or of more than was ordered, is *unexpected*: counted, and an order that
//! was open is filled. A reduction takes shares off what is left; when nothing is left the order is cancelled. A broken
//! trade moves the position and no state; whoever calls tells each once. Nothing is ever guessed: an order stays in flight until the venue speaks.

mod replace;

use peregrine_risk::NumberMap;
use peregrine_types::{EpochNanos, EventSeq, Execution, ExecutionKind, MatchNumber, NewOrder, OrderId, Qty};

pub(crate) use replace::may_end;

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
    /// The venue has it, and a replacement for it is on its way.
    PendingReplace = 7,
    /// Its replacement took its place.
    Replaced = 8,
}

impl OrderState {
    /// Whether anything of the order may still be executed.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::PendingNew | Self::Live | Self::PendingCancel | Self::PendingReplace)
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
    /// A fill that cannot be true in this state, or of more than was ordered. It was counted all the same, because it is
    /// money: somebody must look at it.
    Unexpected {
        /// The state that it met.
        state: OrderState,
    },
}

/// What an order answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The market event.
    pub event_seq: EventSeq,
    /// `recv_time` of that event.
    pub decision_time: EpochNanos,
}

/// One order.
#[derive(Clone, Copy, Debug)]
pub struct OrderEntry {
    /// Our id.
    pub order_id: OrderId,
    /// What was sent.
    pub order: NewOrder,
    /// What it answers.
    pub cause: Cause,
    /// Where it stands.
    pub state: OrderState,
    /// What is left of it.
    pub leaves_qty: Qty,
    /// What was executed of it; of a replacement, from when it took its place, what was executed of the whole chain.
    pub filled_qty: Qty,
    /// The order that it is to replace or has replaced; 0 if none.
    pub replaces: OrderId,
    /// The replacement that is on its way, or took its place; 0 if none.
    pub replaced_by: OrderId,
    /// Whether the venue spoke of it as of an order that lives, or has lived.
    pub is_heard_of: bool,
}

impl OrderEntry {
    const fn new(order_id: OrderId, order: NewOrder, cause: Cause, replaces: OrderId) -> Self {
        let (leaves_qty, filled_qty, replaced_by) = (order.qty, Qty::ZERO, OrderId(0));
        let state = OrderState::PendingNew;
        let is_heard_of = false;
        Self { order_id, order, cause, state, leaves_qty, filled_qty, replaces, replaced_by, is_heard_of }
    }
}

/// Why an order was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderTableFull {
    /// As many orders are open as the table has room for.
    Orders,
    /// Every fill that can be remembered was remembered: a duplicate could no longer be told.
    Fills,
}

/// Our orders by id: every open one, and those that ended last, as long as nobody needs their room. All memory is taken at
/// construction.
#[derive(Debug)]
pub struct OrderTable {
    slots: Box<[Option<OrderEntry>]>,
    by_id: NumberMap,
    free: FreeSlots,
    fills: FillSet,
    open_count: usize,
    impossible_count: u64,
    duplicate_count: u64,
}

impl OrderTable {
    /// A table for `order_count_max` open orders (at most 2³² − 1) and `fill_count_max` fills of one session.
    #[must_use]
    pub fn new(order_count_max: usize, fill_count_max: usize) -> Self {
        let count = u32::try_from(order_count_max.max(1)).unwrap_or(u32::MAX);
        Self {
            slots: (0..count).map(|_| None).collect(),
            by_id: NumberMap::new(order_count_max),
            free: FreeSlots::all(count),
            fills: FillSet::new(fill_count_max),
            open_count: 0,
            impossible_count: 0,
            duplicate_count: 0,
        }
    }

    /// The order of this id, if the table still holds it.
    #[must_use]
    pub fn get(&self, order_id: OrderId) -> Option<&OrderEntry> {
        self.slots.get(index_of(self.by_id.get(order_id.0)?))?.as_ref()
    }

    /// Reads what [`OrderTable::submit`] of an order under `order_id` will need. Changes nothing.
    #[inline]
    pub(crate) fn touch(&self, order_id: OrderId) -> u64 {
        // All of the slot: it was written when its turn came last, and stores that wait for a line keep everything behind
        // them waiting.
        let free = self.free.first().and_then(|index| self.slots.get(index_of(index)).copied());
        let ended = core::hint::black_box(free).flatten().map_or(0, |entry| entry.order_id.0);
        self.by_id.touch(order_id.0) ^ self.by_id.touch(ended) ^ u64::from(self.fills.is_full())
    }

    /// How many orders are open.
    #[must_use]
    pub const fn open_count(&self) -> usize {
        self.open_count
    }

    /// Events that could not be true, unexpected fills among them.
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

    /// How many slots [`OrderTable::open_at`] can be asked for.
    pub(crate) const fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// The open order of a slot: all of them can be walked through while the table is changed.
    pub(crate) fn open_at(&self, index: usize) -> Option<OrderId> {
        let entry = self.slots.get(index)?.as_ref().filter(|entry| entry.state.is_open())?;
        Some(entry.order_id)
    }

    /// Takes in an order that is about to be sent; the order that ended first makes room for it.
    ///
    /// # Errors
    /// [`OrderTableFull`] when as many orders are open as the table can hold, or when fills can no longer be told apart.
    /// The order must not be sent then.
    pub fn submit(&mut self, order_id: OrderId, order: NewOrder, cause: Cause) -> Result<Outcome, OrderTableFull> {
        self.insert(order_id, order, cause, OrderId(0))
    }

    fn insert(
        &mut self,
        order_id: OrderId,
        order: NewOrder,
        cause: Cause,
        replaces: OrderId,
    ) -> Result<Outcome, OrderTableFull> {
        if self.fills.is_full() {
            return Err(OrderTableFull::Fills);
        }
        let known = self.get(order_id).map(|entry| entry.state);
        if known.is_some() || order_id.0 == 0 {
            self.impossible_count = self.impossible_count.saturating_add(1);
            return Ok(Outcome::Impossible { state: known.unwrap_or_default() });
        }
        let index = self.free.take().ok_or(OrderTableFull::Orders)?;
        let slot = self.slots.get_mut(index_of(index)).ok_or(OrderTableFull::Orders)?;
        let entry = OrderEntry::new(order_id, order, cause, replaces);
        let state = entry.state;
        if let Some(ended) = slot.replace(entry) {
            self.by_id.remove(ended.order_id.0);
        }
        self.by_id.insert(order_id.0, index);
        self.open_count = self.open_count.saturating_add(1);
        Ok(Outcome::Applied { from: OrderState::Unknown, to: state, leaves_qty: order.qty })
    }

    /// Notes that a cancel is about to be sent.
    pub fn cancel_sent(&mut self, order_id: OrderId) -> Outcome {
        self.apply(order_id, OrderEvent::CancelSent, Qty::ZERO)
    }

    /// Applies what the venue said.
    pub fn on_execution(&mut self, execution: &Execution) -> Outcome {
        if execution.kind == ExecutionKind::Replaced {
            return self.replaced(execution.order_id, execution.leaves_qty);
        }
        let is_fill = matches!(execution.kind, ExecutionKind::Filled);
        if is_fill && !self.fills.insert(execution.order_id, execution.match_number) {
            self.duplicate_count = self.duplicate_count.saturating_add(1);
            return Outcome::Duplicate;
        }
        let takes = is_fill || matches!(execution.kind, ExecutionKind::Reduced);
        let qty = if takes { execution.qty } else { Qty::ZERO };
        self.apply(execution.order_id, OrderEvent::Venue(execution.kind), qty)
    }

    /// Applies an event that takes `taken` off the order: executed shares for a fill, others for a reduction.
    fn apply(&mut self, order_id: OrderId, event: OrderEvent, taken: Qty) -> Outcome {
        let slot = self.by_id.get(order_id.0);
        let entry = slot.and_then(|slot| self.slots.get_mut(index_of(slot))).and_then(Option::as_mut);
        let (Some(slot), Some(entry)) = (slot, entry) else {
            self.impossible_count = self.impossible_count.saturating_add(1);
            let state = OrderState::Unknown;
            let is_money = matches!(event, OrderEvent::Venue(ExecutionKind::Filled | ExecutionKind::Busted));
            return if is_money { Outcome::Unexpected { state } } else { Outcome::Impossible { state } };
        };
        let from = entry.state;
        let is_fill = matches!(event, OrderEvent::Venue(ExecutionKind::Filled));
        let filled_qty = entry.filled_qty.saturating_add(if is_fill { taken } else { Qty::ZERO });
        // A fill that comes after the order ended is held against what was ordered, one before against what is left.
        let left =
            if from.is_open() { Left::of(taken, entry.leaves_qty) } else { Left::of(filled_qty, entry.order.qty) };
        let step = match (from, event) {
            // It was replaced before anything was heard of it, and was never taken.
            (OrderState::PendingReplace, OrderEvent::Venue(ExecutionKind::Rejected)) if !entry.is_heard_of => {
                Step::To(OrderState::Rejected)
            }
            (_, _) => step(from, event, left),
        };
        let (Step::To(to) | Step::Unexpected(to)) = step else {
            return self.leave_as_it_is(from, &step);
        };
        (entry.state, entry.filled_qty) = (to, filled_qty);
        entry.is_heard_of |= matches!(event, OrderEvent::Venue(kind) if is_of_life(kind));
        entry.leaves_qty = if to.is_open() { entry.leaves_qty.saturating_sub(taken) } else { Qty::ZERO };
        let leaves_qty = entry.leaves_qty;
        let replaces = entry.replaces;
        if from.is_open() && !to.is_open() {
            self.open_count = self.open_count.saturating_sub(1);
            self.free.put(slot);
            if to == OrderState::Rejected {
                self.keep(replaces, order_id);
            }
        }
        if matches!(step, Step::Unexpected(_)) {
            self.impossible_count = self.impossible_count.saturating_add(1);
            return Outcome::Unexpected { state: from };
        }
        Outcome::Applied { from, to, leaves_qty }
    }

    fn leave_as_it_is(&mut self, state: OrderState, step: &Step) -> Outcome {
        if matches!(step, Step::Duplicate) {
            self.duplicate_count = self.duplicate_count.saturating_add(1);
            return Outcome::Duplicate;
        }
        self.impossible_count = self.impossible_count.saturating_add(1);
        Outcome::Impossible { state }
    }
}

/// Whether a report says that its order lives, or has lived.
const fn is_of_life(kind: ExecutionKind) -> bool {
    match kind {
        ExecutionKind::Accepted
        | ExecutionKind::Filled
        | ExecutionKind::Canceled
        | ExecutionKind::Reduced
        | ExecutionKind::CancelRejected
        | ExecutionKind::Replaced => true,
        ExecutionKind::Rejected | ExecutionKind::Busted => false,
    }
}

/// A slot as an index; every slot was given an index of the table.
fn index_of(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

enum Step {
    To(OrderState),
    /// A fill that is counted although it does not fit.
    Unexpected(OrderState),
    Duplicate,
    Impossible,
}

/// What an event leaves of an order.
#[derive(Clone, Copy)]
enum Left {
    Something,
    Nothing,
    /// More was taken than there was.
    LessThanNothing,
}

impl Left {
    fn of(taken: Qty, qty: Qty) -> Self {
        match taken.cmp(&qty) {
            core::cmp::Ordering::Less => Self::Something,
            core::cmp::Ordering::Equal => Self::Nothing,
            core::cmp::Ordering::Greater => Self::LessThanNothing,
        }
    }
}

/// The table at the top of this file; `left` is what remains after the event, if it takes something.
fn step(state: OrderState, event: OrderEvent, left: Left) -> Step {
    use ExecutionKind as Venue;
    use OrderState as S;
    let filled = |rest: S| match left {
        Left::Something => Step::To(rest),
        Left::Nothing => Step::To(S::Filled),
        Left::LessThanNothing => Step::Unexpected(S::Filled),
    };
    let reduced = |rest: S| match left {
        Left::Something => Step::To(rest),
        Left::Nothing | Left::LessThanNothing => Step::To(S::Canceled),
    };
    match (state, event) {
        (S::Unknown, _) | (_, OrderEvent::Submit) => Step::Impossible,
        (S::PendingNew | S::Live | S::PendingReplace, OrderEvent::CancelSent) => Step::To(S::PendingCancel),
        (S::PendingCancel, OrderEvent::CancelSent) => Step::Duplicate,
        (S::Filled | S::Canceled | S::Rejected | S::Replaced, OrderEvent::CancelSent) => Step::To(state),
        (S::PendingNew, OrderEvent::Venue(Venue::Accepted)) => Step::To(S::Live),
        (S::PendingCancel | S::PendingReplace, OrderEvent::Venue(Venue::Accepted)) => Step::To(state),
        (S::Live | S::Filled | S::Canceled | S::Rejected | S::Replaced, OrderEvent::Venue(Venue::Accepted)) => {
            Step::Duplicate
        }
        (S::PendingNew | S::Live, OrderEvent::Venue(Venue::Filled)) => filled(S::Live),
        (S::PendingCancel | S::PendingReplace, OrderEvent::Venue(Venue::Filled)) => filled(state),
        (S::Filled | S::Rejected, OrderEvent::Venue(Venue::Filled)) => Step::Unexpected(state),
        (S::Canceled | S::Replaced, OrderEvent::Venue(Venue::Filled)) => match left {
            Left::Something | Left::Nothing => Step::To(state),
            Left::LessThanNothing => Step::Unexpected(state),
        },
        (S::PendingNew | S::Live | S::PendingCancel | S::PendingReplace, OrderEvent::Venue(Venue::Canceled)) => {
            Step::To(S::Canceled)
        }
        (S::Filled | S::Canceled | S::Rejected | S::Replaced, OrderEvent::Venue(Venue::Canceled)) => Step::Duplicate,
        (S::PendingNew | S::PendingCancel, OrderEvent::Venue(Venue::Rejected)) => Step::To(S::Rejected),
        (S::Live | S::PendingReplace | S::Filled, OrderEvent::Venue(Venue::Rejected)) => Step::Impossible,
        (S::Canceled | S::Rejected | S::Replaced, OrderEvent::Venue(Venue::Rejected)) => Step::Duplicate,
        (S::PendingCancel, OrderEvent::Venue(Venue::CancelRejected)) => Step::To(S::Live),
        (_, OrderEvent::Venue(Venue::CancelRejected)) => Step::To(state),
        (S::PendingNew | S::Live, OrderEvent::Venue(Venue::Reduced)) => reduced(S::Live),
        (S::PendingCancel | S::PendingReplace, OrderEvent::Venue(Venue::Reduced)) => reduced(state),
        (S::Filled, OrderEvent::Venue(Venue::Reduced)) => Step::Impossible,
        (S::Canceled | S::Rejected | S::Replaced, OrderEvent::Venue(Venue::Reduced)) => Step::Duplicate,
        (S::Rejected, OrderEvent::Venue(Venue::Busted)) => Step::Impossible,
        (_, OrderEvent::Venue(Venue::Busted)) => Step::To(state),
        // Two orders change: see `replace`.
        (_, OrderEvent::Venue(Venue::Replaced)) => Step::Impossible,
    }
}

/// Slots without an open order, in the order in which they came free: a ring that can hold every slot.
#[derive(Debug)]
struct FreeSlots {
    slots: Box<[u32]>,
    first: usize,
    count: usize,
}

impl FreeSlots {
    fn all(count: u32) -> Self {
        Self { slots: (0..count).collect(), first: 0, count: index_of(count) }
    }

    /// The slot that is taken next, if any is free.
    fn first(&self) -> Option<u32> {
        self.slots.get(self.first).copied().filter(|_| self.count > 0)
    }

    fn take(&mut self) -> Option<u32> {
        self.count = self.count.checked_sub(1)?;
        let slot = self.slots.get(self.first).copied();
        self.first = self.wrap(self.first.saturating_add(1));
        slot
    }

    /// Each slot is put back once after it was taken, so that there is room.
    fn put(&mut self, slot: u32) {
        let last = self.wrap(self.first.saturating_add(self.count));
        if let Some(place) = self.slots.get_mut(last) {
            *place = slot;
            self.count = self.count.saturating_add(1);
        }
    }

    fn wrap(&self, index: usize) -> usize {
        if index >= self.slots.len() { index.saturating_sub(self.slots.len()) } else { index }
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

    /// Remembers a fill; false when it is remembered already. A fill without a number is never remembered.
    fn insert(&mut self, order_id: OrderId, number: MatchNumber) -> bool {
        let key = (order_id.0, number.0);
        let (index, is_known) = self.find(key);
        if number.0 == 0 || is_known || self.count >= self.slots.len().saturating_sub(1) {
            return number.0 == 0 || !is_known;
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = key;
            self.count = self.count.saturating_add(1);
        }
        true
    }
}

#[cfg(test)]
mod tests;
