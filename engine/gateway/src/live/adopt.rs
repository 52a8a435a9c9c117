//! Orders that the venue speaks of, held against what we know of them: ours, those of earlier runs, and strangers.

use peregrine_types::{Execution, NewOrder, OrderId, Qty, Sink, Symbol, SymbolId, TimeInForce};

use super::desk::{Desk, Said};
use super::reconcile::Difference;
use super::{Journal, Outlet, wire};
use crate::order_table::Cause;
use crate::ouch50::OrderAccepted;

impl Desk {
    /// Takes in an order of an earlier run, or of a stranger, by the venue's word on what it is.
    pub(super) fn adopt_accepted(&mut self, m: &OrderAccepted, order_id: OrderId) {
        let order = NewOrder {
            symbol: self.symbol_of(m.symbol),
            side: wire::side(m.side),
            price: m.price.price().unwrap_or_default(),
            qty: Qty(u64::from(m.quantity.get())),
            time_in_force: if m.time_in_force == b'3' { TimeInForce::ImmediateOrCancel } else { TimeInForce::Day },
            is_post_only: false,
        };
        match &self.beginning {
            None => self.differ(Difference::OrderNotInLog(order_id)),
            Some(beginning) => {
                let logged = beginning.account.orders.get(&order_id).map(|logged| logged.order);
                let is_other = |logged: NewOrder| {
                    let name = self.config.symbols.get(logged.symbol.index());
                    !is_what_was_asked(m, order_id, &logged, name)
                };
                if logged.is_some_and(is_other) {
                    self.differ(Difference::OrderDiffers(order_id));
                }
            }
        }
        self.adopt(order_id, order);
    }

    /// Sees to it that the ledger has an order; false, and named, where there is no place for its number.
    pub(super) fn open_in_ledger(&mut self, order_id: OrderId, order: &NewOrder) -> bool {
        let is_there =
            self.ledger.open(order_id, order.symbol, order.side, order.qty) || self.ledger.order(order_id).is_some();
        if !is_there {
            self.differ(Difference::NumberTooHigh(order_id));
        }
        is_there
    }

    pub(super) fn symbol_of(&self, name: Symbol) -> SymbolId {
        let known = self.config.symbols.iter().zip(0..).find(|(symbol, _)| **symbol == name);
        known.map_or(SymbolId::MARKET, |(_, id)| SymbolId(id))
    }

    /// Takes in an order that this run did not send.
    pub(super) fn adopt(&mut self, order_id: OrderId, order: NewOrder) {
        if self.table.submit(order_id, order, Cause::default()).is_err() {
            self.differ(Difference::OrderNotInLog(order_id));
        }
    }

    /// Sees to it that the ledger has an order of which the venue speaks: where its acceptance is missing, by what we
    /// know of it ourselves. False when nobody knows it.
    pub(super) fn is_known<J: Journal, S: Sink<Execution>>(&mut self, said: Said, io: &mut Outlet<'_, J, S>) -> bool {
        let order_id = said.order_id;
        if self.ledger.order(order_id).is_some() {
            return true;
        }
        if self.table.get(order_id).is_none()
            && let Some(beginning) = &self.beginning
            && let Some(logged) = beginning.account.orders.get(&order_id)
        {
            let (order, replaces) = (logged.order, logged.replaces);
            if replaces.0 == 0 {
                self.adopt(order_id, order);
            } else if self.is_known(Said { order_id: replaces, ..said }, io) {
                self.adopt_replacement((order_id, replaces), order);
            }
        }
        match self.table.get(order_id).map(|entry| (entry.order, entry.replaces)) {
            Some((order, OrderId(0))) => self.open_in_ledger(order_id, &order),
            Some((_, replaces)) => self.infer_replaced(replaces, said, io),
            None => {
                self.differ(Difference::OrderNotInLog(order_id));
                false
            }
        }
    }
}

/// Whether an acceptance is about the order that was sent under its number.
pub(super) fn is_what_was_asked(m: &OrderAccepted, order_id: OrderId, order: &NewOrder, name: Option<&Symbol>) -> bool {
    name == Some(&m.symbol)
        && wire::side(m.side) == order.side
        && Qty(u64::from(m.quantity.get())) <= order.qty
        && m.clordid == wire::clordid(order_id)
}
