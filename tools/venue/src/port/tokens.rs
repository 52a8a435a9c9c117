//! OUCH 4.2 on a port: its messages become those of OUCH 5.0, for which the port knows the rules, and the answers become
//! those of 4.2 again. Tokens take the place of numbers: the first one is number 1, and so on.
//!
//! A time to live of a day or more, which 5.0 cannot say, becomes the longest that it can: no order outlives the day.
//! Differences that stay: display I (imbalance only) is an order of its cross, and refused in continuous trading; m, n,
//! O, T and Q are refused (display); Trade Now is ignored, because midpoint orders of this venue trade whenever they can.
//! Priority Update is never sent.

use std::collections::BTreeMap;

use peregrine_gateway::ouch42::{self, Accepted, Inbound, MESSAGE_LEN_MAX as LEN_MAX, Replaced, TimeInForce, Token};
use peregrine_gateway::ouch50::{
    BuildError, CancelOrder, EXPIRE_SECONDS_END, EnterOrder, MESSAGE_LEN_MAX, MessageBuilder, ModifyOrder, OptionValue,
    OrderAccepted, OrderReplaced, OuchPrice, Outbound, RejectReason, ReplaceOrder, Text,
};
use peregrine_types::Price;
use zerocopy::IntoBytes;

use super::terms::{IMMEDIATE, MARKET_TIME, UNTIL};

/// What a 4.2 order said that 5.0 has no place for.
#[derive(Clone, Copy, Debug)]
struct Named {
    token: Token,
    tif: u32,
    firm: Text<4>,
    display: u8,
    iso: u8,
    min_quantity: u32,
}

/// The tokens of a port.
#[derive(Debug)]
pub(super) struct Tokens {
    by_token: BTreeMap<Token, u32>,
    /// By number, from 1.
    named: Vec<Named>,
    count_max: usize,
}

/// What became of a message of 4.2.
#[derive(Debug)]
pub(super) enum Read {
    /// It is one of 5.0 now, of that length.
    Made(usize),
    /// It has no effect: a token that was used before, an order that is not known, or Trade Now.
    Ignored,
    /// It is no OUCH 4.2.
    Malformed,
}

/// A message of 5.0 with the options that say what `display` says.
struct Shown {
    display: u8,
    post_only: u8,
    price_type: u8,
}

impl Shown {
    /// What a display code of 4.2 says; one that this venue does not have stays one that 5.0 does not have.
    const fn of(display: u8) -> Self {
        let (display, post_only, price_type) = match display {
            b'P' => (b'Y', b'P', b'L'),
            b'L' => (b'A', b'P', b'L'),
            b'I' => (b'Y', b'N', b'L'),
            b'M' => (b'N', b'N', b'M'),
            b'W' => (b'N', b'P', b'M'),
            b'Y' | b'A' | b'N' => (display, b'N', b'L'),
            _ => (b'?', b'N', b'L'),
        };
        Self { display, post_only, price_type }
    }

    fn options(&self, min_quantity: u32, tif: u32) -> [Option<OptionValue>; 4] {
        [
            Some(OptionValue::PostOnly(self.post_only)),
            Some(OptionValue::PriceType(self.price_type)),
            (min_quantity > 0).then_some(OptionValue::MinQty(min_quantity)),
            seconds_to_live(tif).map(OptionValue::ExpireTime),
        ]
    }
}

fn time_in_force(tif: u32) -> u8 {
    match TimeInForce::from_raw(tif) {
        TimeInForce::Immediate => IMMEDIATE,
        TimeInForce::MarketHours => MARKET_TIME,
        TimeInForce::SystemHours => b'5',
        TimeInForce::Seconds(_) => UNTIL,
    }
}

fn seconds_to_live(tif: u32) -> Option<u32> {
    match TimeInForce::from_raw(tif) {
        TimeInForce::Seconds(seconds) => Some(seconds.min(EXPIRE_SECONDS_END - 1)),
        TimeInForce::Immediate | TimeInForce::MarketHours | TimeInForce::SystemHours => None,
    }
}

fn price50(price: ouch42::OuchPrice) -> OuchPrice {
    OuchPrice::new(u64::from(price.get()))
}

fn price42(price: OuchPrice) -> ouch42::OuchPrice {
    let raw = u32::try_from(price.get());
    raw.map_or_else(|_| ouch42::OuchPrice::from_price(Price(0)).unwrap_or_default(), ouch42::OuchPrice::new)
}

/// The letter of 4.2 for a reason of 5.0; O where it has none.
const fn letter(reason: RejectReason) -> u8 {
    match reason {
        RejectReason::TEST => b'T',
        RejectReason::HALTED => b'H',
        RejectReason::QUANTITY | RejectReason::SHARES_OVER_THRESHOLD => b'Z',
        RejectReason::SYMBOL => b'S',
        RejectReason::DISPLAY => b'D',
        RejectReason::DESTINATION_CLOSED => b'C',
        RejectReason::FIRM_NOT_AUTHORIZED => b'L',
        RejectReason::CROSS_ORDER => b'R',
        RejectReason::PRICE => b'X',
        RejectReason::MIN_QUANTITY => b'N',
        RejectReason::MIDPOINT_POST_ONLY_PRICE => b'W',
        RejectReason::CROSSED_MARKET => b'q',
        _ => b'O',
    }
}

impl Tokens {
    /// For a port of so many orders; refused ones use tokens up too.
    pub(super) fn new(order_count_max: u32) -> Self {
        let count_max = (order_count_max as usize).saturating_mul(4);
        Self { by_token: BTreeMap::new(), named: Vec::new(), count_max }
    }

    fn number(&self, token: &Token) -> Option<u32> {
        self.by_token.get(token).copied()
    }

    fn named(&self, number: u32) -> Option<&Named> {
        self.named.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Takes a new token: its number. `None` for one that was used before, or when there is no room for more.
    fn take(&mut self, named: Named) -> Option<u32> {
        if self.by_token.contains_key(&named.token) || self.named.len() >= self.count_max {
            return None;
        }
        let number = u32::try_from(self.named.len()).ok()?.checked_add(1)?;
        self.named.push(named);
        self.by_token.insert(named.token, number);
        Some(number)
    }

    /// Turns a message of 4.2 into one of 5.0. `is_live` says whether the order of a number is alive.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        is_live: impl Fn(u32) -> bool,
        buffer: &mut [u8; MESSAGE_LEN_MAX],
    ) -> Read {
        let made = match Inbound::parse(bytes) {
            Err(_) | Ok(Inbound::Unknown(_)) => return Read::Malformed,
            Ok(Inbound::EnterOrder(order)) => self.enter(order, buffer),
            Ok(Inbound::ReplaceOrder(replace)) => {
                let old = self.number(&replace.existing_token).filter(|number| is_live(*number));
                old.and_then(|old| self.replace(replace, old, buffer))
            }
            Ok(Inbound::CancelOrder(cancel)) => self.number(&cancel.token).and_then(|number| {
                let message =
                    CancelOrder { user_ref_num: number.into(), quantity: cancel.shares, ..CancelOrder::blank() };
                build(MessageBuilder::new(buffer, &message), &[])
            }),
            Ok(Inbound::ModifyOrder(modify)) => self.number(&modify.token).and_then(|number| {
                let (user_ref_num, side, quantity) = (number.into(), modify.side, modify.shares);
                let message = ModifyOrder { user_ref_num, side, quantity, ..ModifyOrder::blank() };
                build(MessageBuilder::new(buffer, &message), &[])
            }),
            Ok(Inbound::TradeNow(_)) => None,
        };
        made.map_or(Read::Ignored, Read::Made)
    }

    fn enter(&mut self, order: &ouch42::EnterOrder, buffer: &mut [u8; MESSAGE_LEN_MAX]) -> Option<usize> {
        let (token, tif, firm, display, iso) = (order.token, order.tif.get(), order.firm, order.display, order.iso);
        let min_quantity = order.min_quantity.get();
        let number = self.take(Named { token, tif, firm, display, iso, min_quantity })?;
        let shown = Shown::of(display);
        let is_lost = display == b'I' && order.cross_type == b'N';
        let message = EnterOrder {
            user_ref_num: number.into(),
            side: order.side,
            quantity: order.shares,
            symbol: order.stock,
            price: price50(order.price),
            time_in_force: time_in_force(tif),
            display: if is_lost { b'?' } else { shown.display },
            capacity: if b"APR".contains(&order.capacity) { order.capacity } else { b'O' },
            iso_eligibility: order.iso.to_ascii_uppercase(),
            cross_type: order.cross_type,
            ..EnterOrder::blank()
        };
        build(MessageBuilder::new(buffer, &message), &shown.options(min_quantity, tif))
    }

    fn replace(
        &mut self,
        replace: &ouch42::ReplaceOrder,
        old: u32,
        buffer: &mut [u8; MESSAGE_LEN_MAX],
    ) -> Option<usize> {
        let (token, tif, display) = (replace.replacement_token, replace.tif.get(), replace.display);
        let (iso, min_quantity, firm) = (replace.iso, replace.min_quantity.get(), self.named(old)?.firm);
        let number = self.take(Named { token, tif, firm, display, iso, min_quantity })?;
        let shown = Shown::of(display);
        let message = ReplaceOrder {
            orig_user_ref_num: old.into(),
            user_ref_num: number.into(),
            quantity: replace.shares,
            price: price50(replace.price),
            time_in_force: time_in_force(tif),
            display: shown.display,
            iso_eligibility: replace.iso.to_ascii_uppercase(),
            ..ReplaceOrder::blank()
        };
        build(MessageBuilder::new(buffer, &message), &shown.options(min_quantity, tif))
    }

    fn token(&self, number: u32) -> Token {
        self.named(number).map_or(Text::BLANK, |named| named.token)
    }

    /// Turns an answer of 5.0 into one of 4.2: its length, `None` for what 4.2 does not tell.
    pub(super) fn write(&self, bytes: &[u8], buffer: &mut [u8; LEN_MAX]) -> Option<usize> {
        let mut put = |bytes: &[u8]| {
            buffer.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(bytes.len())
        };
        match Outbound::parse(bytes).ok()? {
            Outbound::SystemEvent(m, _) => {
                let (timestamp, event_code) = (m.timestamp, m.event_code);
                put(ouch42::SystemEvent { timestamp, event_code, ..ouch42::SystemEvent::blank() }.as_bytes())
            }
            Outbound::OrderAccepted(m, _) => put(self.accepted(m)?.as_bytes()),
            Outbound::OrderReplaced(m, _) => put(self.replaced(m)?.as_bytes()),
            other @ (Outbound::OrderCanceled(..)
            | Outbound::AiqCanceled(..)
            | Outbound::OrderExecuted(..)
            | Outbound::BrokenTrade(..)
            | Outbound::Rejected(..)
            | Outbound::CancelPending(..)
            | Outbound::CancelReject(..)
            | Outbound::OrderPriorityUpdate(..)
            | Outbound::OrderModified(..)
            | Outbound::OrderRestated(..)
            | Outbound::MassCancelResponse(..)
            | Outbound::DisableResponse(..)
            | Outbound::EnableResponse(..)
            | Outbound::AccountQueryResponse(..)
            | Outbound::Unknown(_)) => self.write_short(&other, &mut put),
        }
    }

    fn accepted(&self, m: &OrderAccepted) -> Option<Accepted> {
        let named = self.named(m.user_ref_num.get())?;
        Some(Accepted {
            timestamp: m.timestamp,
            token: named.token,
            side: m.side,
            shares: m.quantity,
            stock: m.symbol,
            price: price42(m.price),
            tif: named.tif.into(),
            firm: named.firm,
            display: named.display,
            order_ref: m.order_ref,
            capacity: m.capacity,
            iso: named.iso,
            min_quantity: named.min_quantity.into(),
            cross_type: m.cross_type,
            order_state: m.order_state,
            ..Accepted::blank()
        })
    }

    fn replaced(&self, m: &OrderReplaced) -> Option<Replaced> {
        let named = self.named(m.user_ref_num.get())?;
        Some(Replaced {
            timestamp: m.timestamp,
            token: named.token,
            side: m.side,
            shares: m.quantity,
            stock: m.symbol,
            price: price42(m.price),
            tif: named.tif.into(),
            firm: named.firm,
            display: named.display,
            order_ref: m.order_ref,
            capacity: m.capacity,
            iso: named.iso,
            min_quantity: named.min_quantity.into(),
            cross_type: m.cross_type,
            order_state: m.order_state,
            previous_token: self.token(m.orig_user_ref_num.get()),
            ..Replaced::blank()
        })
    }

    /// The answers that say little more than which order.
    fn write_short(&self, message: &Outbound<'_>, put: &mut impl FnMut(&[u8]) -> Option<usize>) -> Option<usize> {
        match message {
            Outbound::OrderCanceled(m, _) => {
                let (timestamp, token, reason) = (m.timestamp, self.token(m.user_ref_num.get()), m.reason);
                let decrement_shares = m.quantity;
                put(ouch42::Canceled { timestamp, token, decrement_shares, reason, ..ouch42::Canceled::blank() }
                    .as_bytes())
            }
            Outbound::AiqCanceled(m, _) => put(ouch42::AiqCanceled {
                timestamp: m.timestamp,
                token: self.token(m.user_ref_num.get()),
                decrement_shares: m.decrement_shares,
                reason: m.reason,
                prevented_quantity: m.prevented_quantity,
                execution_price: price42(m.execution_price),
                liquidity_flag: m.liquidity_flag,
                ..ouch42::AiqCanceled::blank()
            }
            .as_bytes()),
            Outbound::OrderExecuted(m, _) => put(ouch42::Executed {
                timestamp: m.timestamp,
                token: self.token(m.user_ref_num.get()),
                executed_shares: m.quantity,
                execution_price: price42(m.price),
                liquidity_flag: m.liquidity_flag,
                match_number: m.match_number,
                ..ouch42::Executed::blank()
            }
            .as_bytes()),
            Outbound::BrokenTrade(m, _) => {
                let (timestamp, token) = (m.timestamp, self.token(m.user_ref_num.get()));
                let (match_number, reason) = (m.match_number, m.reason);
                put(ouch42::BrokenTrade { timestamp, token, match_number, reason, ..ouch42::BrokenTrade::blank() }
                    .as_bytes())
            }
            Outbound::Rejected(m, _) => {
                let (timestamp, token) = (m.timestamp, self.token(m.user_ref_num.get()));
                let reason = letter(RejectReason(m.reason.get()));
                put(ouch42::Rejected { timestamp, token, reason, ..ouch42::Rejected::blank() }.as_bytes())
            }
            Outbound::CancelPending(m, _) => {
                let (timestamp, token) = (m.timestamp, self.token(m.user_ref_num.get()));
                put(ouch42::CancelPending { timestamp, token, ..ouch42::CancelPending::blank() }.as_bytes())
            }
            Outbound::CancelReject(m, _) => {
                let (timestamp, token) = (m.timestamp, self.token(m.user_ref_num.get()));
                put(ouch42::CancelReject { timestamp, token, ..ouch42::CancelReject::blank() }.as_bytes())
            }
            Outbound::OrderModified(m, _) => {
                let (timestamp, token) = (m.timestamp, self.token(m.user_ref_num.get()));
                let (side, shares) = (m.side, m.quantity);
                put(ouch42::Modified { timestamp, token, side, shares, ..ouch42::Modified::blank() }.as_bytes())
            }
            Outbound::SystemEvent(..)
            | Outbound::OrderAccepted(..)
            | Outbound::OrderReplaced(..)
            | Outbound::OrderPriorityUpdate(..)
            | Outbound::OrderRestated(..)
            | Outbound::MassCancelResponse(..)
            | Outbound::DisableResponse(..)
            | Outbound::EnableResponse(..)
            | Outbound::AccountQueryResponse(..)
            | Outbound::Unknown(_) => None,
        }
    }
}

/// Builds a message with options: its length.
fn build(builder: Result<MessageBuilder<'_>, BuildError>, options: &[Option<OptionValue>]) -> Option<usize> {
    let built = options.iter().try_fold(builder.ok()?, |builder, option| builder.maybe(*option));
    built.ok().map(|builder| builder.finish().len())
}
