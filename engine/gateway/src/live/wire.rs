//! Between the engine's words and OUCH 5.0's: orders as messages, reasons and flags as the engine knows them.

use peregrine_types::{Liquidity, NewOrder, OrderId, ReasonCode, Side, Symbol, TimeInForce};

use crate::ouch50::{
    self, AccountQuery, CancelOrder, CancelReason, EnterOrder, MESSAGE_LEN_MAX, MassCancel, MessageBuilder,
    OptionValue, OuchPrice, RejectReason, ReplaceOrder, Text,
};

/// Why an order cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodeError {
    /// Its number does not fit the protocol's 32 bits.
    #[error("the order's number is above 4294967295")]
    Number,
    /// More shares than an order may have, or none.
    #[error("an order has 1 to {} shares", ouch50::ORDER_QTY_MAX)]
    Quantity,
    /// The price is negative, finer than 10⁻⁴ or above the highest.
    #[error("the price is none of the protocol's")]
    Price,
}

/// A message in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded {
    bytes: [u8; MESSAGE_LEN_MAX],
    len: usize,
}

impl Encoded {
    fn of(write: impl FnOnce(&mut [u8]) -> usize) -> Self {
        let mut bytes = [0; MESSAGE_LEN_MAX];
        let len = write(&mut bytes);
        Self { bytes, len }
    }

    /// The bytes.
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The number of an order on the wire.
///
/// # Errors
/// [`EncodeError::Number`].
pub(super) fn user_ref_num(order_id: OrderId) -> Result<u32, EncodeError> {
    u32::try_from(order_id.0).map_err(|_| EncodeError::Number)
}

/// Enter Order, with our number as identifier too, so that whoever reads the venue's records finds it. Like [`replace`] never
/// a part of its caller: what is rehearsed is to be the very code that an order runs.
///
/// # Errors
/// [`EncodeError`] for an order that the protocol has no words for.
#[inline(never)]
pub(super) fn enter(order_id: OrderId, order: &NewOrder, symbol: Symbol, capacity: u8) -> Result<Encoded, EncodeError> {
    let (quantity, price) = values(order)?;
    let body = EnterOrder {
        user_ref_num: user_ref_num(order_id)?.into(),
        side: match order.side {
            Side::Buy => b'B',
            Side::Sell => b'S',
        },
        quantity: quantity.into(),
        symbol,
        price,
        time_in_force: time_in_force(order),
        display: b'Y',
        capacity,
        iso_eligibility: b'N',
        cross_type: b'N',
        clordid: clordid(order_id),
        ..EnterOrder::blank()
    };
    let post_only = order.is_post_only.then_some(OptionValue::PostOnly(b'P'));
    Ok(Encoded::of(|buffer| {
        // A buffer of `MESSAGE_LEN_MAX` holds every message.
        MessageBuilder::new(buffer, &body)
            .and_then(|message| message.maybe(post_only))
            .map_or(0, |message| message.finish().len())
    }))
}

/// Quantity and price as the protocol has them.
fn values(order: &NewOrder) -> Result<(u32, OuchPrice), EncodeError> {
    let quantity = u32::try_from(order.qty.0).ok().filter(|qty| (1..=ouch50::ORDER_QTY_MAX).contains(qty));
    let price = OuchPrice::from_price(order.price).filter(|price| price.get() <= ouch50::PRICE_RAW_MAX);
    Ok((quantity.ok_or(EncodeError::Quantity)?, price.ok_or(EncodeError::Price)?))
}

const fn time_in_force(order: &NewOrder) -> u8 {
    match order.time_in_force {
        TimeInForce::Day => b'0',
        TimeInForce::ImmediateOrCancel => b'3',
    }
}

/// Replace Order: `order`, whose quantity is the total of the chain, in the place of the order `replaces`. Post-only is
/// said again; what else is not said is kept (OUCH 5.0).
///
/// # Errors
/// [`EncodeError`] for an order that the protocol has no words for.
#[inline(never)]
pub(super) fn replace(order_id: OrderId, replaces: OrderId, order: &NewOrder) -> Result<Encoded, EncodeError> {
    let (quantity, price) = values(order)?;
    let body = ReplaceOrder {
        orig_user_ref_num: user_ref_num(replaces)?.into(),
        user_ref_num: user_ref_num(order_id)?.into(),
        quantity: quantity.into(),
        price,
        time_in_force: time_in_force(order),
        display: b'Y',
        iso_eligibility: b'N',
        clordid: clordid(order_id),
        ..ReplaceOrder::blank()
    };
    let post_only = order.is_post_only.then_some(OptionValue::PostOnly(b'P'));
    Ok(Encoded::of(|buffer| {
        MessageBuilder::new(buffer, &body)
            .and_then(|message| message.maybe(post_only))
            .map_or(0, |message| message.finish().len())
    }))
}

/// Cancel Order: everything that is left.
///
/// # Errors
/// [`EncodeError::Number`].
pub(super) fn cancel(order_id: OrderId) -> Result<Encoded, EncodeError> {
    let body = CancelOrder { user_ref_num: user_ref_num(order_id)?.into(), ..CancelOrder::blank() };
    Ok(Encoded::of(|buffer| MessageBuilder::new(buffer, &body).map_or(0, |message| message.finish().len())))
}

/// Mass Cancel: every order of the firm on this port.
///
/// # Errors
/// [`EncodeError::Number`].
pub(super) fn mass_cancel(number: OrderId, firm: Text<4>) -> Result<Encoded, EncodeError> {
    let body = MassCancel { user_ref_num: user_ref_num(number)?.into(), firm, ..MassCancel::blank() };
    Ok(Encoded::of(|buffer| MessageBuilder::new(buffer, &body).map_or(0, |message| message.finish().len())))
}

/// Mass Cancel of the group that no order of ours is in: the marker of the module's text.
///
/// # Errors
/// [`EncodeError::Number`].
pub(super) fn marker(number: OrderId, firm: Text<4>) -> Result<Encoded, EncodeError> {
    let body = MassCancel { user_ref_num: user_ref_num(number)?.into(), firm, ..MassCancel::blank() };
    let nobody = OptionValue::GroupId(u16::MAX);
    Ok(Encoded::of(|buffer| {
        MessageBuilder::new(buffer, &body)
            .and_then(|message| message.option(nobody))
            .map_or(0, |message| message.finish().len())
    }))
}

/// Account Query: which number is free next.
#[must_use]
pub(super) fn query() -> Encoded {
    Encoded::of(|buffer| {
        MessageBuilder::new(buffer, &AccountQuery::blank()).map_or(0, |message| message.finish().len())
    })
}

/// The number in decimal digits, on the left; numbers of 32 bits have at most ten.
pub(super) fn clordid(order_id: OrderId) -> Text<14> {
    let mut digits = [b' '; 14];
    let mut rest = order_id.0;
    let count = order_id.0.checked_ilog10().unwrap_or(0).saturating_add(1);
    for place in digits.iter_mut().take(usize::try_from(count).unwrap_or(0)).rev() {
        *place = b'0'.wrapping_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
    }
    Text(digits)
}

/// Why the venue refused an order.
#[must_use]
pub(super) const fn reject_reason(reason: RejectReason) -> ReasonCode {
    match reason {
        RejectReason::HALTED => ReasonCode::VenueHalted,
        RejectReason::SYMBOL => ReasonCode::VenueSymbolUnknown,
        RejectReason::PRICE => ReasonCode::VenuePriceInvalid,
        RejectReason::DESTINATION_CLOSED => ReasonCode::VenueClosed,
        _ => ReasonCode::VenueRejected,
    }
}

/// Why shares left an order.
#[must_use]
pub(super) const fn cancel_reason(reason: CancelReason) -> ReasonCode {
    match reason {
        CancelReason::USER => ReasonCode::VenueUserCancel,
        CancelReason::IMMEDIATE => ReasonCode::VenueIocRemainder,
        CancelReason::CLOSED => ReasonCode::VenueClosed,
        CancelReason::POST_ONLY_NMS | CancelReason::POST_ONLY_CONTRA => ReasonCode::VenuePostOnly,
        CancelReason::HALTED => ReasonCode::VenueHalted,
        CancelReason::SELF_MATCH => ReasonCode::VenueSelfTrade,
        _ => ReasonCode::VenueCanceled,
    }
}

/// Whether a fill gave or took liquidity, by its flag (OUCH 5.0, Liquidity Flags); `None` for a flag that the sheet does not
/// list. Crosses are counted as taking, which is the dearer of the two.
#[must_use]
pub(super) const fn liquidity(flag: u8) -> Option<Liquidity> {
    match flag {
        b'A' | b'J' | b'k' | b'N' | b'n' | b'u' | b'7' | b'8' | b'e' | b'2' | b'5' | b'9' => Some(Liquidity::Added),
        b'R' | b'm' | b'3' | b'O' | b'M' | b'C' | b'L' | b'H' | b'K' | b'i' | b'0' => Some(Liquidity::Removed),
        b'p' | b'q' | b'r' | b't' | b'j' | b'1' => Some(Liquidity::Removed),
        _ => None,
    }
}

/// Buy, or any kind of sale.
#[must_use]
pub(super) const fn side(code: u8) -> Side {
    match code {
        b'B' => Side::Buy,
        _ => Side::Sell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ouch50::{Body, Inbound};
    use peregrine_types::{Price, Qty, SymbolId};

    fn order(qty: u64, price: i64) -> NewOrder {
        let (symbol, side, time_in_force) = (SymbolId(0), Side::Sell, TimeInForce::ImmediateOrCancel);
        NewOrder { symbol, side, price: Price(price), qty: Qty(qty), time_in_force, is_post_only: true }
    }

    #[test]
    fn what_is_written_is_legal_and_says_what_was_ordered() {
        let symbol = Symbol::new("ALFA").unwrap();
        let message = enter(OrderId(1_234_567), &order(300, 12_340_000_000), symbol, b'P').unwrap();
        let Ok(Inbound::EnterOrder(body, options)) = Inbound::parse(message.bytes()) else { panic!("no order") };
        assert_eq!((body.user_ref_num.get(), body.side, body.quantity.get()), (1_234_567, b'S', 300));
        assert_eq!((body.price.get(), body.time_in_force, options.post_only()), (123_400, b'3', Some(b'P')));
        assert_eq!(&body.clordid.0, b"1234567       ");
        let replacement = replace(OrderId(9), OrderId(7), &order(300, 12_340_000_000)).unwrap();
        let Ok(Inbound::ReplaceOrder(body, options)) = Inbound::parse(replacement.bytes()) else {
            panic!("no replace")
        };
        assert_eq!((body.orig_user_ref_num.get(), body.user_ref_num.get(), body.quantity.get()), (7, 9, 300));
        assert_eq!((body.price.get(), body.time_in_force, options.post_only()), (123_400, b'3', Some(b'P')));
        let firm = Text(*b"FIRM");
        let masses = [mass_cancel(OrderId(8), firm).unwrap(), marker(OrderId(9), firm).unwrap()];
        for message in [message, replacement, cancel(OrderId(7)).unwrap(), masses[0], masses[1], query()] {
            Inbound::parse(message.bytes()).unwrap().check().unwrap();
        }
        assert_eq!(message.bytes().len(), EnterOrder::LEN + 3);
    }

    #[test]
    fn what_the_protocol_has_no_words_for_is_refused() {
        let symbol = Symbol::new("ALFA").unwrap();
        let of = |id, qty, price| enter(OrderId(id), &order(qty, price), symbol, b'P').map(|_| ());
        assert_eq!(of(1 << 32, 1, 100_000), Err(EncodeError::Number));
        assert_eq!(
            (of(1, 0, 100_000), of(1, 1_000_000, 100_000)),
            (Err(EncodeError::Quantity), Err(EncodeError::Quantity))
        );
        assert_eq!((of(1, 1, 1), of(1, 1, -100_000)), (Err(EncodeError::Price), Err(EncodeError::Price)));
        assert_eq!(of(1, 999_999, 199_999_990_000_000), Ok(()));
        assert_eq!(&clordid(OrderId(0)).0, b"0             ");
    }
}
