//! The venue's events as OUCH 5.0 messages.

use peregrine_gateway::ouch50::{
    AiqCanceled, CancelPending, CancelReject, OptionValue, OrderAccepted, OrderCanceled, OrderExecuted, OrderReplaced,
    OrderRestated, OuchPrice, Text,
};
use peregrine_types::{OrderRef, Price};

use super::terms::UNTIL;
use super::{OuchPort, PortOrder};
use crate::faults::PortChaos;
use crate::orders::OrderEvent;

impl OuchPort {
    /// What became of an order of the port's account.
    pub(crate) fn on_event(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::Accepted { order_ref, .. } => self.on_accepted(order_ref),
            OrderEvent::Replaced { old_ref, order_ref, open, .. } => self.on_replaced(old_ref, order_ref, open),
            OrderEvent::Rejected { token, reason } => {
                let user_ref_num = u32::try_from(token).unwrap_or(u32::MAX);
                let clordid = self.pending.take().map_or(Text::BLANK, |order| order.clordid);
                self.consume(user_ref_num);
                self.reject(user_ref_num, reason, clordid);
            }
            OrderEvent::Executed { order_ref, qty, price, liquidity, match_number } => {
                let Some(user_ref_num) = self.reduce(order_ref, qty, true) else { return };
                if self.executions.len() < self.executions.capacity() {
                    self.executions.push((match_number, order_ref));
                }
                if let Some(symbol_id) = self.by_ref(order_ref).map(|order| order.symbol_id) {
                    self.strike(symbol_id, match_number);
                }
                let answer = OrderExecuted {
                    timestamp: self.time.0.into(),
                    user_ref_num: user_ref_num.into(),
                    quantity: qty.into(),
                    price: wire(price),
                    liquidity_flag: liquidity,
                    match_number: match_number.into(),
                    ..OrderExecuted::blank()
                };
                self.send(&answer, &[]);
                if self.has_fault(PortChaos::doubles_fill) {
                    self.send(&answer, &[]);
                }
            }
            OrderEvent::Canceled { order_ref, qty, reason } => {
                let Some(user_ref_num) = self.reduce(order_ref, qty, false) else { return };
                if !self.is_modifying {
                    let (timestamp, user_ref_num) = (self.time.0.into(), user_ref_num.into());
                    let (quantity, reason) = (qty.into(), reason.0);
                    self.send(
                        &OrderCanceled { timestamp, user_ref_num, quantity, reason, ..OrderCanceled::blank() },
                        &[],
                    );
                }
            }
            OrderEvent::Prevented { order_ref, qty, prevented_qty, price, is_remover } => {
                self.on_prevented(order_ref, (qty, prevented_qty), price, is_remover);
            }
            OrderEvent::Restated { order_ref, display_ref, displayed } => {
                let Some(order) = self.by_ref(order_ref).copied() else { return };
                let (timestamp, user_ref_num) = (self.time.0.into(), order.user_ref_num.into());
                let answer = OrderRestated { timestamp, user_ref_num, reason: b'R', ..OrderRestated::blank() };
                let options = [OptionValue::SecondaryOrderRef(display_ref.0), OptionValue::DisplayQuantity(displayed)];
                self.send(&answer, &options);
            }
            // Ports have no stop orders.
            OrderEvent::Triggered { .. } => {}
            OrderEvent::CancelPending { order_ref } => {
                let Some(order) = self.by_ref(order_ref).copied() else { return };
                let (timestamp, user_ref_num) = (self.time.0.into(), order.user_ref_num.into());
                self.send(&CancelPending { timestamp, user_ref_num, ..CancelPending::blank() }, &[]);
            }
            OrderEvent::CancelRejected { order_ref } => {
                let Some(order) = self.by_ref(order_ref).copied() else { return };
                let (timestamp, user_ref_num) = (self.time.0.into(), order.user_ref_num.into());
                self.send(&CancelReject { timestamp, user_ref_num, ..CancelReject::blank() }, &[]);
            }
        }
    }

    fn on_prevented(&mut self, order_ref: OrderRef, (qty, prevented): (u32, u32), price: Price, is_remover: bool) {
        let Some(user_ref_num) = self.reduce(order_ref, qty, true) else { return };
        let strategy = self.by_ref(order_ref).and_then(|order| order.aiq_strategy);
        let answer = AiqCanceled {
            timestamp: self.time.0.into(),
            user_ref_num: user_ref_num.into(),
            decrement_shares: qty.into(),
            reason: b'Q',
            prevented_quantity: prevented.into(),
            execution_price: wire(price),
            liquidity_flag: if is_remover { b'R' } else { b'A' },
            aiq_strategy: strategy.unwrap_or(b'*'),
            ..AiqCanceled::blank()
        };
        self.send(&answer, &[]);
    }

    /// Takes shares off an order: its user reference number.
    fn reduce(&mut self, order_ref: OrderRef, qty: u32, is_spent: bool) -> Option<u32> {
        let order = self.by_ref_mut(order_ref)?;
        order.open = order.open.saturating_sub(qty);
        order.spent = order.spent.saturating_add(if is_spent { qty } else { 0 });
        Some(order.user_ref_num)
    }

    fn on_accepted(&mut self, order_ref: OrderRef) {
        let Some(order) = self.pending.take() else { return };
        let order = PortOrder { order_ref, ..order };
        self.orders.push(order);
        if self.has_fault(PortChaos::loses_answer) {
            return;
        }
        let answer = OrderAccepted {
            timestamp: self.time.0.into(),
            user_ref_num: order.user_ref_num.into(),
            side: order.side,
            quantity: order.open.into(),
            symbol: order.symbol,
            price: order.price,
            time_in_force: order.time_in_force,
            display: order.display,
            order_ref: order_ref.0.into(),
            capacity: order.capacity,
            iso_eligibility: order.iso_eligibility,
            cross_type: order.cross_type,
            order_state: b'L',
            clordid: order.clordid,
            ..OrderAccepted::blank()
        };
        self.send(&answer, &options_of(&order, true));
    }

    fn on_replaced(&mut self, old_ref: OrderRef, order_ref: OrderRef, open: u32) {
        let Some(order) = self.pending.take() else { return };
        let old = self.by_ref_mut(old_ref).map(|old| {
            old.open = 0;
            (old.user_ref_num, old.spent)
        });
        let (orig_user_ref_num, spent) = old.unwrap_or((0, 0));
        let order = PortOrder { order_ref, open, spent, ..order };
        self.consume(order.user_ref_num);
        self.orders.push(order);
        if self.has_fault(PortChaos::loses_answer) {
            return;
        }
        let answer = OrderReplaced {
            timestamp: self.time.0.into(),
            orig_user_ref_num: orig_user_ref_num.into(),
            user_ref_num: order.user_ref_num.into(),
            side: order.side,
            quantity: open.into(),
            symbol: order.symbol,
            price: order.price,
            time_in_force: order.time_in_force,
            display: order.display,
            order_ref: order_ref.0.into(),
            capacity: order.capacity,
            iso_eligibility: order.iso_eligibility,
            cross_type: order.cross_type,
            order_state: b'L',
            clordid: order.clordid,
            ..OrderReplaced::blank()
        };
        self.send(&answer, &options_of(&order, false));
    }
}

/// The options that an answer carries: those that the order has. A replacement's answer has fewer.
fn options_of(order: &PortOrder, is_entered: bool) -> Vec<OptionValue> {
    let entered = |option: Option<OptionValue>| option.filter(|_| is_entered);
    let options = [
        order.max_floor.map(OptionValue::MaxFloor),
        order.price_type.map(OptionValue::PriceType),
        order.post_only.map(OptionValue::PostOnly),
        order.expire_time.filter(|_| order.time_in_force == UNTIL).map(OptionValue::ExpireTime),
        entered((order.group_id > 0).then_some(OptionValue::GroupId(order.group_id))),
        order.aiq_strategy.map(OptionValue::AiqStrategy),
    ];
    options.into_iter().flatten().collect()
}

fn wire(price: Price) -> OuchPrice {
    OuchPrice::from_price(price).unwrap_or_default()
}
