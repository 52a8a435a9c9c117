//! What a message asks for, in the venue's terms, and what is refused.

use peregrine_gateway::ouch50::{self, Body, EnterOrder, ParseErrorKind, RejectReason};
use peregrine_types::{OrderRef, Symbol, SymbolId};

use super::{OuchPort, PortOrder};
use crate::orders::{Auction, Display, Lifetime, SelfTrade, Terms, TimeOfDay};

const SECOND_NS: u64 = 1_000_000_000;

pub(super) const MARKET_TIME: u8 = b'0';
pub(super) const IMMEDIATE: u8 = b'3';
pub(super) const UNTIL: u8 = b'6';

impl OuchPort {
    /// The order that a message describes.
    pub(super) fn order_of(
        &self,
        order: &EnterOrder,
        options: &ouch50::Appendage<'_>,
        symbol_of: impl Fn(Symbol) -> Option<SymbolId>,
    ) -> Result<(PortOrder, Terms), RejectReason> {
        let symbol_id = symbol_of(order.symbol).ok_or(RejectReason::SYMBOL)?;
        check_options(options)?;
        let made = PortOrder {
            user_ref_num: order.user_ref_num.get(),
            order_ref: OrderRef(0),
            symbol_id,
            symbol: order.symbol,
            side: order.side,
            price: order.price,
            time_in_force: order.time_in_force,
            display: order.display,
            capacity: order.capacity,
            iso_eligibility: order.iso_eligibility,
            cross_type: order.cross_type,
            clordid: order.clordid,
            max_floor: options.max_floor(),
            post_only: options.post_only(),
            price_type: options.price_type(),
            aiq_strategy: options.aiq_strategy(),
            expire_time: options.expire_time(),
            group_id: options.group_id().unwrap_or(0),
            open: order.quantity.get(),
            spent: 0,
        };
        Ok((made, self.terms_of(&made)?))
    }

    /// The terms of an order as the venue knows them.
    pub(super) fn terms_of(&self, order: &PortOrder) -> Result<Terms, RejectReason> {
        let is_midpoint_peg = match order.price_type {
            None | Some(b'L') => false,
            Some(b'M' | b'm') => true,
            Some(_) => return Err(RejectReason::PEGGING_NOT_ALLOWED),
        };
        let auction = match order.cross_type {
            b'N' => Auction::None,
            b'O' => Auction::Opening,
            b'C' => Auction::Closing,
            _ => return Err(RejectReason::CROSS_ORDER),
        };
        let lifetime = match order.time_in_force {
            MARKET_TIME => Lifetime::Day,
            IMMEDIATE => Lifetime::ImmediateOrCancel,
            UNTIL => Lifetime::Until(self.end_of(order.expire_time.unwrap_or(0))),
            _ => Lifetime::Extended,
        };
        let price = if order.price.is_market() { None } else { Some(order.price.price().ok_or(RejectReason::PRICE)?) };
        let display = match (order.display, order.max_floor) {
            (b'N', _) => Display::Hidden,
            (_, None | Some(0)) => Display::Displayed,
            (_, Some(floor)) => Display::Iceberg { floor },
        };
        Ok(Terms {
            price,
            // A cross order lives as long as its cross, whatever it says.
            lifetime: if auction == Auction::None { lifetime } else { Lifetime::Day },
            display,
            is_post_only: order.post_only == Some(b'P'),
            is_midpoint_peg,
            stop_price: None,
            auction,
            self_trade: self.self_trade_of(order.aiq_strategy),
        })
    }

    /// When an order ends that arrives now and has so many seconds to live: none, and the venue refuses it.
    fn end_of(&self, seconds: u32) -> TimeOfDay {
        TimeOfDay(self.time.0.saturating_add(u64::from(seconds) * SECOND_NS))
    }

    /// Self-match strategies of every level: this venue knows the firm's level only.
    fn self_trade_of(&self, strategy: Option<u8>) -> SelfTrade {
        match strategy {
            Some(b'N') => SelfTrade::Allow,
            Some(b'Y' | b'D' | b'y' | b'd' | b'Z' | b'E' | b'0' | b'1') => SelfTrade::DecrementBoth,
            Some(b'O' | b'o' | b'P' | b'2') => SelfTrade::CancelOldest,
            Some(b'W' | b'w' | b'X' | b'4') => SelfTrade::CancelNewest,
            None | Some(_) => self.config.self_trade,
        }
    }
}

/// Options that this venue does not offer.
pub(super) fn check_options(options: &ouch50::Appendage<'_>) -> Result<(), RejectReason> {
    if options.min_qty().is_some_and(|qty| qty > 0) {
        return Err(RejectReason::MIN_QUANTITY);
    }
    if options.peg_offset().is_some_and(|offset| offset != 0) {
        return Err(RejectReason::PEGGING_NOT_ALLOWED);
    }
    let has_discretion = options.discretion_price().is_some_and(|price| price.get() != 0);
    let has_channel = options.user_ref_idx().is_some_and(|channel| channel != 0);
    if has_discretion || has_channel || options.random_reserves().is_some_and(|range| range != 0) {
        return Err(RejectReason::OTHER);
    }
    Ok(())
}

/// The reason for a field that is not legal.
pub(super) fn reason_of(message_type: u8, offset: usize, kind: ParseErrorKind) -> RejectReason {
    match kind {
        ParseErrorKind::Quantity(_) => RejectReason::QUANTITY,
        ParseErrorKind::Price(_) => RejectReason::PRICE,
        ParseErrorKind::IllegalCode(_) => match (message_type, offset) {
            (EnterOrder::TYPE, 5) => RejectReason::SIDE,
            (EnterOrder::TYPE, 27) => RejectReason::DISPLAY,
            (EnterOrder::TYPE, 29) => RejectReason::ISO_NOT_ALLOWED,
            (EnterOrder::TYPE, 30) => RejectReason::CROSS_ORDER,
            _ => RejectReason::OTHER,
        },
        ParseErrorKind::Empty
        | ParseErrorKind::Truncated { .. }
        | ParseErrorKind::TrailingBytes(_)
        | ParseErrorKind::AppendageLength { .. }
        | ParseErrorKind::OptionEmpty
        | ParseErrorKind::OptionTruncated(_)
        | ParseErrorKind::OptionLength { .. }
        | ParseErrorKind::OptionNotAllowed(_)
        | ParseErrorKind::OptionDuplicate(_)
        | ParseErrorKind::OptionMissing(_)
        | ParseErrorKind::Value(_)
        | ParseErrorKind::IllegalCharacter(_) => RejectReason::OTHER,
    }
}
