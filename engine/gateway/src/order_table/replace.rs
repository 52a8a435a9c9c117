//! Two orders at once: a replacement on its way, and the order that it is to replace (OUCH 5.0, Replace Order).
//!
//! | what happens | the order | its replacement |
//! |---|---|---|
//! | a replacement is sent for a `PendingNew` or `Live` order | → `PendingReplace` | → `PendingNew` |
//! | … for one that is `PendingCancel` or `PendingReplace`, or has ended | stays: nothing is sent | – |
//! | the venue says: replaced | open in any way → `Replaced`; ended: impossible | `PendingNew` → `Live`, `PendingCancel` stays; said before: duplicate; ended: impossible |
//! | … and nothing of the replacement is open | → `Replaced` | → `Canceled` |
//! | the replacement is rejected, or it is certain that it never lived | `PendingReplace` → `Live`, or `PendingNew` if nothing was heard of it; else stays | → `Rejected` |
//! | the order is rejected before anything was heard of it | `PendingReplace` → `Rejected` | stays, as below |
//! | the order is filled or cancelled first | as in the table of states | stays until it is rejected: a venue ignores the replacement of what has ended, and whoever reads its stream says so |
//! | a cancel is sent while nobody knows which of them lives | → `PendingCancel` | → `PendingCancel`: a message each |
//!
//! An order may be replaced before its answer is there: the venue takes messages in their order, so that it knows the order
//! when the replacement comes, or has refused it and says nothing of the replacement (OUCH 5.0, Replace Order: the order is
//! not live, the message is ignored).
//!
//! Quantities are totals of the chain: what the replacement can still execute is its quantity less all that was executed
//! of the orders before it, and less what a prevented trade with ourselves took off.

use peregrine_types::{ExecutionKind, NewOrder, OrderId, Qty};

use super::{Cause, OrderEntry, OrderState, OrderTable, OrderTableFull, Outcome, index_of};

impl OrderTable {
    /// Takes in a replacement, `order_id`, that is about to be sent for the order `replaces`.
    ///
    /// # Errors
    /// As [`OrderTable::submit`]. The replacement must not be sent then, and neither after [`Outcome::Impossible`], which
    /// names the state of the order that cannot be replaced.
    pub fn replace_sent(
        &mut self,
        (order_id, replaces): (OrderId, OrderId),
        order: NewOrder,
        cause: Cause,
    ) -> Result<Outcome, OrderTableFull> {
        let state = self.get(replaces).map_or(OrderState::Unknown, |entry| entry.state);
        let has_one = self.replacement_of(replaces).is_some();
        if has_one || !matches!(state, OrderState::PendingNew | OrderState::Live) {
            self.impossible_count = self.impossible_count.saturating_add(1);
            return Ok(Outcome::Impossible { state });
        }
        let outcome = self.insert(order_id, order, cause, replaces)?;
        if matches!(outcome, Outcome::Applied { .. })
            && let Some(old) = self.get_mut(replaces)
        {
            (old.state, old.replaced_by) = (OrderState::PendingReplace, order_id);
        }
        Ok(outcome)
    }

    /// The replacement of an order that is on its way: neither said to live nor to be refused.
    #[must_use]
    pub fn replacement_of(&self, order_id: OrderId) -> Option<OrderId> {
        let old = self.get(order_id).filter(|old| old.replaced_by.0 != 0 && old.state != OrderState::Replaced)?;
        let replacement = self.get(old.replaced_by).filter(|replacement| replacement.replaces == order_id)?;
        replacement.state.is_open().then_some(replacement.order_id)
    }

    /// What a replacement has open if it takes its place now: its total less what the order before it executed, and less
    /// what was taken off that one without a trade.
    #[must_use]
    pub fn open_after_replace(&self, order_id: OrderId) -> Qty {
        let Some(entry) = self.get(order_id) else { return Qty::ZERO };
        let Some(old) = self.get(entry.replaces) else { return entry.order.qty };
        entry.order.qty.saturating_sub(old.order.qty.saturating_sub(old.leaves_qty))
    }

    fn get_mut(&mut self, order_id: OrderId) -> Option<&mut OrderEntry> {
        self.slots.get_mut(index_of(self.by_id.get(order_id.0)?))?.as_mut()
    }

    /// The venue says that `order_id` took the place of the order that it replaces, with `leaves_qty` open.
    pub(super) fn replaced(&mut self, order_id: OrderId, leaves_qty: Qty) -> Outcome {
        let Some(entry) = self.get(order_id).copied() else { return self.impossible(OrderState::Unknown) };
        let (from, old) = (entry.state, self.get(entry.replaces).copied());
        let is_waiting = self.replacement_of(entry.replaces) == Some(order_id);
        let executed = old.map_or(Qty::ZERO, |old| old.filled_qty);
        // With more open than was asked for nobody can say what lives.
        let is_within = executed.saturating_add(leaves_qty) <= entry.order.qty;
        if !is_waiting || !is_within || !old.is_some_and(|old| old.state.is_open()) {
            let was_told = old.is_some_and(|old| old.state == OrderState::Replaced && old.replaced_by == order_id);
            if was_told {
                self.duplicate_count = self.duplicate_count.saturating_add(1);
                return Outcome::Duplicate;
            }
            return self.impossible(from);
        }
        self.end(entry.replaces, OrderState::Replaced);
        if let Some(entry) = self.get_mut(order_id) {
            (entry.leaves_qty, entry.filled_qty, entry.is_heard_of) = (leaves_qty, executed, true);
        }
        let to = match (from, leaves_qty) {
            (_, Qty::ZERO) => OrderState::Canceled,
            (OrderState::PendingNew, _) => OrderState::Live,
            (_, _) => from,
        };
        if to == OrderState::Canceled {
            self.end(order_id, to);
        } else if let Some(entry) = self.get_mut(order_id) {
            entry.state = to;
        }
        Outcome::Applied { from, to, leaves_qty }
    }

    fn impossible(&mut self, state: OrderState) -> Outcome {
        self.impossible_count = self.impossible_count.saturating_add(1);
        Outcome::Impossible { state }
    }

    /// A replacement never lived: the order that it was to replace goes on as it was.
    pub(super) fn keep(&mut self, order_id: OrderId, replacement: OrderId) {
        if let Some(old) = self.get_mut(order_id)
            && old.replaced_by == replacement
        {
            old.replaced_by = OrderId(0);
            if old.state == OrderState::PendingReplace {
                old.state = if old.is_heard_of { OrderState::Live } else { OrderState::PendingNew };
            }
        }
    }

    /// Ends an open order.
    fn end(&mut self, order_id: OrderId, state: OrderState) {
        let Some(slot) = self.by_id.get(order_id.0) else { return };
        let Some(entry) = self.get_mut(order_id).filter(|entry| entry.state.is_open()) else { return };
        (entry.state, entry.leaves_qty) = (state, Qty::ZERO);
        self.open_count = self.open_count.saturating_sub(1);
        self.free.put(slot);
    }
}

/// Whether an execution can end an order that a replacement is on its way for.
#[must_use]
pub(crate) const fn may_end(kind: ExecutionKind) -> bool {
    match kind {
        ExecutionKind::Filled | ExecutionKind::Canceled | ExecutionKind::Reduced | ExecutionKind::Rejected => true,
        ExecutionKind::Accepted | ExecutionKind::CancelRejected | ExecutionKind::Busted | ExecutionKind::Replaced => {
            false
        }
    }
}
