//! What the venue says of replacements: the order table's rules, the ledger, and what goes without saying.

use peregrine_types::{Execution, ExecutionKind, NewOrder, OrderId, Qty, ReasonCode, Sink, TimeInForce};

use super::desk::{Desk, Said};
use super::reconcile::Difference;
use super::{Journal, Outlet, wire};
use crate::order_table::{Cause, Outcome};
use crate::ouch50::OrderReplaced;

impl Desk {
    /// A replacement took its place, with as much open as the venue says.
    pub(super) fn on_replaced<J: Journal, S: Sink<Execution>>(
        &mut self,
        m: &OrderReplaced,
        said: Said,
        io: &mut Outlet<'_, J, S>,
    ) {
        let (replaces, qty) = (OrderId(u64::from(m.orig_user_ref_num.get())), Qty(u64::from(m.quantity.get())));
        if !self.is_known(Said { order_id: replaces, ..said }, io) {
            return;
        }
        let is_sent = self.table.get(said.order_id).is_some();
        if !is_sent && self.ledger.order(said.order_id).is_none() {
            self.adopt_unseen(replaces, m, said);
        }
        let is_ours = self.table.get(said.order_id).is_some_and(|entry| entry.replaces == replaces);
        if !is_ours {
            return self.differ(Difference::Impossible(said.order_id));
        }
        if is_sent && m.clordid != wire::clordid(said.order_id) {
            return self.differ(Difference::OrderDiffers(said.order_id));
        }
        self.reject_run = 0;
        let is_new = self.ledger.replace(replaces, said.order_id, qty);
        if self.ledger.order(said.order_id).is_none() {
            return self.differ(Difference::NumberTooHigh(said.order_id));
        }
        self.take_place((replaces, qty), (said, ReasonCode::None), io);
        if is_new && m.order_state == b'D' && qty > Qty::ZERO {
            self.take_off(said, (qty, ReasonCode::VenueCanceled), io);
        }
    }

    /// A replacement of an earlier run, or a stranger: by the logs, or else by the venue's word on what it is.
    fn adopt_unseen(&mut self, replaces: OrderId, m: &OrderReplaced, said: Said) {
        let logged = self.beginning.as_ref().and_then(|beginning| beginning.account.orders.get(&said.order_id));
        let executed = self.table.get(replaces).map_or(Qty::ZERO, |old| old.filled_qty);
        let order = logged.map_or_else(
            || NewOrder {
                symbol: self.symbol_of(m.symbol),
                side: wire::side(m.side),
                price: m.price.price().unwrap_or_default(),
                qty: executed.saturating_add(Qty(u64::from(m.quantity.get()))),
                time_in_force: if m.time_in_force == b'3' { TimeInForce::ImmediateOrCancel } else { TimeInForce::Day },
                is_post_only: false,
            },
            |logged| logged.order,
        );
        if self.beginning.is_none() {
            self.differ(Difference::OrderNotInLog(said.order_id));
        }
        self.adopt_replacement((said.order_id, replaces), order);
    }

    /// Takes in a replacement that this run did not send.
    pub(super) fn adopt_replacement(&mut self, ids: (OrderId, OrderId), order: NewOrder) {
        let taken = self.table.replace_sent(ids, order, Cause::default());
        if !matches!(taken, Ok(Outcome::Applied { .. })) {
            self.differ(Difference::OrderNotInLog(ids.0));
        }
    }

    /// The venue speaks of a replacement that it never said to live: it took its place before, with what the chain's
    /// arithmetic leaves it. The report says that it is not the venue's: `Unanswered`.
    pub(super) fn infer_replaced<J: Journal, S: Sink<Execution>>(
        &mut self,
        replaces: OrderId,
        said: Said,
        io: &mut Outlet<'_, J, S>,
    ) -> bool {
        if !self.is_known(Said { order_id: replaces, ..said }, io) {
            return false;
        }
        let open = self.table.open_after_replace(said.order_id);
        if !self.ledger.replace(replaces, said.order_id, open) {
            self.differ(Difference::NumberTooHigh(said.order_id));
            return false;
        }
        self.take_place((replaces, open), (said, ReasonCode::Unanswered), io);
        true
    }

    fn take_place<J: Journal, S: Sink<Execution>>(
        &mut self,
        (replaces, qty): (OrderId, Qty),
        (said, reason): (Said, ReasonCode),
        io: &mut Outlet<'_, J, S>,
    ) {
        self.counters.replaced_count = self.counters.replaced_count.saturating_add(1);
        let replaced = self.execution(said, ExecutionKind::Replaced, reason);
        let symbol = replaced.symbol;
        self.apply(Execution { qty, leaves_qty: qty, ..replaced }, io);
        self.hold_equal(replaces, symbol);
    }
}
