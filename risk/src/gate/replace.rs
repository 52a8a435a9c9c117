//! Replacements: two orders of which one lives, and nobody knows yet which.

use peregrine_types::{EpochNanos, Execution, NewOrder, OrderId, Price, Qty, ReasonCode, Side, SymbolId};

use super::alone::{check_market, check_order};
use super::{ExecutionEffect, Opened, RiskContext, RiskGate, TradingMode, value};
use crate::exposure::SymbolRisk;
use crate::orders::OpenOrder;

/// What a waiting replacement adds to what the order before it counts with: together they count as one order of the
/// larger rest at the worse price. `None` on overflow.
fn extra(old: Option<&OpenOrder>, replacement: &OpenOrder) -> Option<(u64, i128)> {
    let Some(old) = old else {
        return Some((replacement.leaves, value(replacement.worst_price, replacement.leaves)?));
    };
    let leaves = old.leaves.max(replacement.leaves);
    let together = value(old.worst_price.max(replacement.worst_price), leaves)?;
    let alone = value(old.worst_price, old.leaves)?;
    Some((leaves.saturating_sub(old.leaves), together.checked_sub(alone)?))
}

impl RiskGate {
    /// The order to cancel, and its replacement if one is on its way.
    pub(super) fn check_cancel(
        &mut self,
        order_id: OrderId,
        symbol: SymbolId,
    ) -> Result<(OrderId, OrderId), ReasonCode> {
        let (partner, is_waiting) = match self.orders.get_mut(order_id) {
            Some(order) if order.symbol == symbol && order.is_cancel_pending => return Err(ReasonCode::DuplicateOrder),
            Some(order) if order.symbol == symbol => {
                order.is_cancel_pending = true;
                (order.partner, order.is_waiting)
            }
            Some(_) | None => return Err(ReasonCode::UnknownOrder),
        };
        if let Some(other) = self.orders.get_mut(partner) {
            other.is_cancel_pending = true;
        }
        Ok(if is_waiting { (partner, order_id) } else { (order_id, partner) })
    }

    /// Holds a replacement against every limit; what is to be sent in the place of the order.
    pub(super) fn check_replace(
        &mut self,
        (order_id, symbol, price, qty): (OrderId, SymbolId, Price, Qty),
        context: &RiskContext,
        now: EpochNanos,
    ) -> Result<(OrderId, NewOrder), ReasonCode> {
        if self.mode == TradingMode::Halted {
            return Err(ReasonCode::TradingHalted);
        }
        let old = self.orders.get(order_id).filter(|order| order.symbol == symbol && !order.is_canceled);
        let old = *old.ok_or(ReasonCode::UnknownOrder)?;
        if old.is_cancel_pending || old.partner.0 != 0 || old.is_waiting {
            return Err(ReasonCode::DuplicateOrder);
        }
        let state = self.symbols.get(symbol.index()).copied().ok_or(ReasonCode::SymbolNotPermitted)?;
        let rules = self.rules.get(symbol.index()).and_then(Option::as_ref).ok_or(ReasonCode::SymbolNotPermitted)?;
        let (side, time_in_force, is_post_only) = (old.side, old.time_in_force, old.is_post_only);
        let order = NewOrder { symbol, side, price, qty, time_in_force, is_post_only };
        check_market(&self.limits, context, now)?;
        let reference = check_order(&self.limits, rules, &order, context)?;
        let worst_price = match side {
            Side::Buy => price,
            Side::Sell => price.max(reference),
        };
        if value(worst_price, qty.0).ok_or(ReasonCode::Overflow)? > self.limits.order_notional_max {
            return Err(ReasonCode::OrderNotionalLimit);
        }
        let mut replacement = OpenOrder::new(OrderId(self.last_id.saturating_add(1)), symbol, side, price);
        replacement.leaves = qty.0.saturating_sub(old.executed);
        if replacement.leaves == 0 {
            return Err(ReasonCode::QtyZero);
        }
        self.check_others(&order, &state, now)?;
        (replacement.worst_price, replacement.executed) = (worst_price, old.executed);
        (replacement.time_in_force, replacement.is_post_only) = (time_in_force, is_post_only);
        (replacement.partner, replacement.is_waiting) = (order_id, true);
        replacement.extra = extra(Some(&old), &replacement).ok_or(ReasonCode::Overflow)?;
        self.check_pair(&replacement, &state)?;
        let opened = self.check_gross(&state, reference, (side, replacement.extra.0, replacement.extra.1))?;
        if !self.rate.has_room(now) {
            return Err(ReasonCode::OrderRateLimit);
        }
        self.sent.push(order, now);
        Ok((self.open_replacement(replacement, &opened), order))
    }

    /// The position's worst case with the larger of both open.
    fn check_pair(&self, replacement: &OpenOrder, symbol: &SymbolRisk) -> Result<(), ReasonCode> {
        let worst = symbol.worst_position(replacement.side, replacement.extra.0);
        if self.mode == TradingMode::Reducing && worst > 0 {
            return Err(ReasonCode::TradingHalted);
        }
        if replacement.extra.0 > 0 && worst > i128::from(self.limits.position_qty_max) {
            return Err(ReasonCode::PositionLimit);
        }
        Ok(())
    }

    fn open_replacement(&mut self, replacement: OpenOrder, opened: &Opened) -> OrderId {
        self.last_id = self.last_id.saturating_add(1);
        let is_in = self.orders.insert(replacement);
        debug_assert!(is_in, "the count of open orders was checked");
        if let Some(old) = self.orders.get_mut(replacement.partner) {
            old.partner = replacement.id;
        }
        self.count_opened((replacement.symbol, replacement.side), opened);
        replacement.id
    }

    /// The replacement took the place of the order before it: what the venue says is open of it counts, and nothing of
    /// the other one.
    pub(super) fn on_replaced(&mut self, execution: &Execution) -> ExecutionEffect {
        let Some(replacement) = self.orders.get(execution.order_id).copied().filter(|order| order.is_waiting) else {
            return ExecutionEffect::Repeated;
        };
        let old = self.orders.get(replacement.partner).map_or(0, |old| old.leaves);
        if let Some(old) = self.orders.get_mut(replacement.partner) {
            old.partner = OrderId(0);
        }
        self.count_extra(replacement.id, (0, 0));
        if let Some(order) = self.orders.get_mut(replacement.id) {
            (order.partner, order.is_waiting, order.leaves) = (OrderId(0), false, execution.leaves_qty.0);
            let notional = value(order.worst_price, order.leaves).unwrap_or(i128::MAX);
            let (side, leaves) = (order.side, order.leaves);
            self.count_more(replacement.symbol, side, (leaves, notional));
        }
        if old > 0 {
            self.release(replacement.partner, u64::MAX);
        }
        if execution.leaves_qty == Qty::ZERO {
            self.release(replacement.id, 0);
        }
        self.recount(replacement.symbol);
        ExecutionEffect::Applied
    }

    /// An order was executed while its replacement is on its way: that has as much less, by the chain's arithmetic.
    pub(super) fn on_fill_of_replaced(&mut self, partner: OrderId, qty: u64) {
        if let Some(replacement) = self.orders.get_mut(partner).filter(|order| order.is_waiting) {
            replacement.leaves = replacement.leaves.saturating_sub(qty);
            replacement.executed = replacement.executed.saturating_add(qty);
            let symbol = replacement.symbol;
            self.refit(partner);
            self.recount(symbol);
        }
    }

    /// Takes at most `qty` off one of two orders of which one is to replace the other.
    #[cold]
    pub(super) fn release_of_pair(&mut self, id: OrderId, qty: u64) -> ExecutionEffect {
        let Some(order) = self.orders.get_mut(id) else { return ExecutionEffect::Repeated };
        let qty = qty.min(order.leaves);
        order.leaves = order.leaves.saturating_sub(qty);
        let order = *order;
        if order.is_waiting {
            if order.leaves == 0 {
                self.count_extra(id, (0, 0));
                self.orders.remove(id);
                if let Some(old) = self.orders.get_mut(order.partner) {
                    old.partner = OrderId(0);
                }
            } else {
                self.refit(id);
            }
        } else {
            if let Some(symbol) = self.symbols.get_mut(order.symbol.index()) {
                symbol.release(order.side, qty, value(order.worst_price, qty).unwrap_or(0));
            }
            if order.leaves == 0 {
                self.orders.remove(id);
            }
            self.refit(order.partner);
        }
        self.recount(order.symbol);
        ExecutionEffect::Applied
    }

    /// Counts a waiting replacement anew, after a change of either order.
    fn refit(&mut self, id: OrderId) {
        let Some(replacement) = self.orders.get(id).copied().filter(|order| order.is_waiting) else { return };
        let old = self.orders.get(replacement.partner).copied();
        match extra(old.as_ref(), &replacement) {
            Some(extra) => self.count_extra(id, extra),
            // A value that no i128 holds cannot be limited: nothing more may be sent.
            None => self.mode = TradingMode::Halted,
        }
    }

    /// Puts what a waiting replacement adds to the sums in the place of what it added before.
    fn count_extra(&mut self, id: OrderId, extra: (u64, i128)) {
        let Some(order) = self.orders.get_mut(id) else { return };
        let (before, symbol, side) = (order.extra, order.symbol, order.side);
        order.extra = extra;
        if let Some(state) = self.symbols.get_mut(symbol.index()) {
            state.release(side, before.0, before.1);
        }
        self.count_more(symbol, side, extra);
    }

    fn count_more(&mut self, symbol: SymbolId, side: Side, (qty, notional): (u64, i128)) {
        let Some(state) = self.symbols.get_mut(symbol.index()) else { return };
        match state.with_more(side, qty, notional) {
            Some(open) => state.set_open(side, open),
            None => self.mode = TradingMode::Halted,
        }
    }
}
