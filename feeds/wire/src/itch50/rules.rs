//! What the messages off the fast path mean as events, and which codes a message may carry.
//!
//! Codes that the engine acts on come from closed lists, and another value makes the message malformed. Lists that the
//! venue extends (cross types, imbalance directions, price variation, market categories, reasons) pass as they are.

use peregrine_types::{EventFlags, EventKind, MarketEvent, Price, Qty, Symbol};

use super::decoder::DAY_NS;
use super::messages::*;

/// Whether timestamp and codes of `message` are legal.
///
/// # Errors
/// [`ParseErrorKind::TimestampTooLarge`], [`ParseErrorKind::LocateMissing`], [`ParseErrorKind::IllegalCode`] or [`ParseErrorKind::PriceTooLarge`] for the
/// first field that is not.
pub fn check(message: &Message<'_>) -> Result<(), ParseError> {
    let Some((header, message_type)) = message.header().zip(message.message_type()) else { return Ok(()) };
    let error = |offset, kind| Err(ParseError { message_type: message_type.code(), offset, kind });
    let timestamp = header.timestamp.get();
    if timestamp >= DAY_NS {
        return error(5, ParseErrorKind::TimestampTooLarge(timestamp));
    }
    if header.stock_locate.get() == 0 && needs_locate(message_type) {
        return error(1, ParseErrorKind::LocateMissing);
    }
    if let Message::MwcbDeclineLevels(m) = message {
        let levels = [(11, m.level1), (19, m.level2), (27, m.level3)];
        return match levels.iter().find(|(_, level)| level.price().is_none()) {
            Some((offset, _)) => error(*offset, ParseErrorKind::PriceTooLarge),
            None => Ok(()),
        };
    }
    match codes(message).into_iter().flatten().find(|(_, code, legal)| !legal.contains(code)) {
        Some((offset, code, _)) => error(offset, ParseErrorKind::IllegalCode(code)),
        None => Ok(()),
    }
}

/// Whether messages of this type can only be understood by their locate: they define one, or later messages of the same
/// order name nothing else.
const fn needs_locate(message_type: MessageType) -> bool {
    matches!(
        message_type.code(),
        StockDirectory::TYPE
            | AddOrder::TYPE
            | AddOrderMpid::TYPE
            | OrderExecuted::TYPE
            | OrderExecutedWithPrice::TYPE
            | OrderCancel::TYPE
            | OrderDelete::TYPE
            | OrderReplace::TYPE
    )
}

/// A code from a closed list: offset, value, legal values.
type Code = (usize, u8, &'static [u8]);

const fn one(offset: usize, value: u8, legal: &'static [u8]) -> [Option<Code>; 2] {
    [Some((offset, value, legal)), None]
}

/// The codes of `message` that come from closed lists.
fn codes(message: &Message<'_>) -> [Option<Code>; 2] {
    const SIDES: &[u8] = b"BS";
    match message {
        // A, R and B were emergency conditions of earlier versions (ITCH 4.1) and are accepted.
        Message::SystemEvent(m) => one(11, m.event_code, b"OSQMECARB"),
        Message::StockTradingAction(m) => one(19, m.trading_state, b"HPQT"),
        Message::RegShoRestriction(m) => one(19, m.reg_sho_action, b"012"),
        Message::MarketParticipantPosition(m) => one(23, m.primary_market_maker, b"YN"),
        Message::MwcbStatus(m) => one(11, m.breached_level, b"123"),
        Message::IpoQuotingPeriodUpdate(m) => one(23, m.ipo_qualifier, b"AC"),
        Message::OperationalHalt(m) => [Some((19, m.market_code, b"QBX".as_slice())), Some((20, m.action, b"HT"))],
        Message::AddOrder(m) => one(19, m.side, SIDES),
        Message::AddOrderMpid(m) => one(19, m.side, SIDES),
        Message::OrderExecutedWithPrice(m) => one(31, m.printable, b"YN"),
        Message::TradeNonCross(m) => one(19, m.side, SIDES),
        Message::RetailPriceImprovement(m) => one(19, m.interest_flag, b"BSAN"),
        Message::DirectListingWithCapitalRaise(m) => one(19, m.open_eligibility, b"YN"),
        Message::StockDirectory(_)
        | Message::MwcbDeclineLevels(_)
        | Message::LuldAuctionCollar(_)
        | Message::OrderExecuted(_)
        | Message::OrderCancel(_)
        | Message::OrderDelete(_)
        | Message::OrderReplace(_)
        | Message::CrossTrade(_)
        | Message::BrokenTrade(_)
        | Message::NetOrderImbalance(_)
        | Message::Unknown(_) => [None, None],
    }
}

/// The symbol that `message` names, `None` for messages that name none.
#[must_use]
pub fn stock(message: &Message<'_>) -> Option<Symbol> {
    match message {
        Message::StockDirectory(m) => Some(m.stock),
        Message::StockTradingAction(m) => Some(m.stock),
        Message::RegShoRestriction(m) => Some(m.stock),
        Message::MarketParticipantPosition(m) => Some(m.stock),
        Message::IpoQuotingPeriodUpdate(m) => Some(m.stock),
        Message::LuldAuctionCollar(m) => Some(m.stock),
        Message::OperationalHalt(m) => Some(m.stock),
        Message::AddOrder(m) => Some(m.stock),
        Message::AddOrderMpid(m) => Some(m.stock),
        Message::TradeNonCross(m) => Some(m.stock),
        Message::CrossTrade(m) => Some(m.stock),
        Message::NetOrderImbalance(m) => Some(m.stock),
        Message::RetailPriceImprovement(m) => Some(m.stock),
        Message::DirectListingWithCapitalRaise(m) => Some(m.stock),
        Message::SystemEvent(_)
        | Message::MwcbDeclineLevels(_)
        | Message::MwcbStatus(_)
        | Message::OrderExecuted(_)
        | Message::OrderExecutedWithPrice(_)
        | Message::OrderCancel(_)
        | Message::OrderDelete(_)
        | Message::OrderReplace(_)
        | Message::BrokenTrade(_)
        | Message::Unknown(_) => None,
    }
}

/// The events of a checked message off the fast path, made from `base`, which holds symbol and time.
pub(super) fn other_events(message: &Message<'_>, base: MarketEvent) -> (MarketEvent, Option<MarketEvent>) {
    let of = |kind, detail| MarketEvent { kind, detail, ..base };
    let event = match message {
        Message::SystemEvent(m) => of(EventKind::SystemEvent, m.event_code),
        Message::StockDirectory(m) => MarketEvent {
            id_a: m.stock.key(),
            id_b: u64::from(m.stock_locate.get()),
            qty: Qty(u64::from(m.round_lot_size.get())),
            ..of(EventKind::StockDirectory, m.market_category)
        },
        Message::StockTradingAction(m) => {
            MarketEvent { id_a: ascii(m.reason), ..of(EventKind::TradingAction, m.trading_state) }
        }
        Message::RegShoRestriction(m) => of(EventKind::RegSho, m.reg_sho_action),
        Message::MarketParticipantPosition(m) => MarketEvent {
            id_a: ascii(m.mpid),
            id_b: u64::from(m.primary_market_maker == b'Y') | (u64::from(m.market_maker_mode) << 8),
            ..of(EventKind::ParticipantPosition, m.participant_state)
        },
        Message::MwcbDeclineLevels(m) => MarketEvent {
            price: m.level1.price().unwrap_or_default(),
            id_a: bits(m.level2.price().unwrap_or_default()),
            id_b: bits(m.level3.price().unwrap_or_default()),
            ..of(EventKind::MwcbLevels, 0)
        },
        Message::MwcbStatus(m) => of(EventKind::MwcbStatus, m.breached_level),
        Message::IpoQuotingPeriodUpdate(m) => MarketEvent {
            id_a: u64::from(m.ipo_release_time.get()),
            price: m.ipo_price.price(),
            ..of(EventKind::IpoQuotingPeriod, m.ipo_qualifier)
        },
        Message::LuldAuctionCollar(m) => MarketEvent {
            id_a: bits(m.upper_collar.price()),
            id_b: bits(m.lower_collar.price()),
            price: m.reference_price.price(),
            qty: Qty(u64::from(m.extension.get())),
            ..of(EventKind::LuldCollar, 0)
        },
        Message::OperationalHalt(m) => {
            MarketEvent { id_b: u64::from(m.market_code), ..of(EventKind::OperationalHalt, m.action) }
        }
        Message::CrossTrade(m) => MarketEvent {
            id_b: m.match_number.get(),
            price: m.cross_price.price(),
            qty: Qty(m.shares.get()),
            flags: EventFlags::PRINTABLE,
            ..of(EventKind::CrossTrade, m.cross_type)
        },
        Message::BrokenTrade(m) => MarketEvent { id_b: m.match_number.get(), ..of(EventKind::BrokenTrade, 0) },
        Message::RetailPriceImprovement(m) => of(EventKind::RetailInterest, m.interest_flag),
        Message::NetOrderImbalance(m) => return imbalance(m, base),
        Message::DirectListingWithCapitalRaise(m) => return direct_listing(m, base),
        // The fast path's types never come here: the decoder reads them before.
        Message::AddOrder(_)
        | Message::AddOrderMpid(_)
        | Message::OrderExecuted(_)
        | Message::OrderExecutedWithPrice(_)
        | Message::OrderCancel(_)
        | Message::OrderDelete(_)
        | Message::OrderReplace(_)
        | Message::TradeNonCross(_)
        | Message::Unknown(_) => base,
    };
    (event, None)
}

fn imbalance(m: &NetOrderImbalance, base: MarketEvent) -> (MarketEvent, Option<MarketEvent>) {
    let shares = MarketEvent {
        kind: EventKind::ImbalanceShares,
        detail: m.imbalance_direction,
        id_a: m.paired_shares.get(),
        qty: Qty(m.imbalance_shares.get()),
        ..base
    };
    let prices = MarketEvent {
        kind: EventKind::ImbalancePrices,
        detail: m.cross_type,
        id_a: bits(m.far_price.price()),
        id_b: bits(m.near_price.price()),
        price: m.current_reference_price.price(),
        qty: Qty(u64::from(m.price_variation)),
        ..base
    };
    (shares, Some(prices))
}

fn direct_listing(m: &DirectListingWithCapitalRaise, base: MarketEvent) -> (MarketEvent, Option<MarketEvent>) {
    let prices = MarketEvent {
        kind: EventKind::DirectListingPrices,
        detail: m.open_eligibility,
        id_a: bits(m.max_allowable_price.price()),
        id_b: m.near_execution_time.get(),
        price: m.min_allowable_price.price(),
        ..base
    };
    let collars = MarketEvent {
        kind: EventKind::DirectListingCollars,
        id_a: bits(m.upper_collar.price()),
        id_b: bits(m.lower_collar.price()),
        price: m.near_execution_price.price(),
        ..base
    };
    (prices, Some(collars))
}

/// Four characters as an integer, first character most significant.
fn ascii(text: [u8; 4]) -> u64 {
    u64::from(u32::from_be_bytes(text))
}

/// A price in a field for identifiers.
const fn bits(price: Price) -> u64 {
    price.0.cast_unsigned()
}
