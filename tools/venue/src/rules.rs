//! Which orders are taken: one function over the order and the state of its symbol.

use peregrine_gateway::ouch50::{ORDER_QTY_MAX, RejectReason};
use peregrine_types::{Price, Side, TickTable};

use crate::orders::{Auction, Bands, Display, Lifetime, Terms, TimeOfDay};
use crate::schedule::Phase;

/// Whether a symbol trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SymbolState {
    /// Continuous trading.
    #[default]
    Trading,
    /// No new orders.
    Halted,
    /// Orders are taken for the reopening and not matched.
    QuotationOnly,
}

/// What an order is held against.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The symbol's price steps.
    pub ticks: &'a TickTable,
    /// Its price bands.
    pub bands: Option<Bands>,
    /// Whether it trades.
    pub state: SymbolState,
    /// Part of the day.
    pub phase: Phase,
    /// Time of the day.
    pub now: TimeOfDay,
}

/// Whether an order is taken.
///
/// # Errors
/// The first reason against it, in the order: session, halt, quantity, cross, display, peg, combination, lifetime, price.
pub fn check(qty: u32, side: Side, terms: &Terms, at: &Circumstances<'_>) -> Result<(), RejectReason> {
    let is_asleep = terms.stop_price.is_some() || terms.auction != Auction::None;
    match at.phase {
        Phase::Closed => return Err(RejectReason::DESTINATION_CLOSED),
        Phase::PostMarket if terms.lifetime == Lifetime::Day => return Err(RejectReason::DESTINATION_CLOSED),
        Phase::PreMarket | Phase::Market | Phase::PostMarket => {}
    }
    match at.state {
        SymbolState::Halted => return Err(RejectReason::HALTED),
        SymbolState::QuotationOnly if terms.is_immediate() && !is_asleep => return Err(RejectReason::HALTED),
        SymbolState::Trading | SymbolState::QuotationOnly => {}
    }
    if qty == 0 || qty > ORDER_QTY_MAX {
        return Err(RejectReason::QUANTITY);
    }
    check_auction(terms, at.phase)?;
    check_display(terms)?;
    check_combination(terms)?;
    if matches!(terms.lifetime, Lifetime::Until(end) if end <= at.now) {
        return Err(RejectReason::OTHER);
    }
    check_prices(side, terms, at)
}

fn check_auction(terms: &Terms, phase: Phase) -> Result<(), RejectReason> {
    let is_open = match terms.auction {
        Auction::None => return Ok(()),
        Auction::Opening => phase == Phase::PreMarket,
        Auction::Closing => phase <= Phase::Market,
    };
    let is_plain = !terms.is_post_only
        && !terms.is_midpoint_peg
        && terms.stop_price.is_none()
        && matches!(terms.lifetime, Lifetime::Day | Lifetime::Extended)
        && !matches!(terms.display, Display::Iceberg { .. });
    if is_open && is_plain { Ok(()) } else { Err(RejectReason::CROSS_ORDER) }
}

fn check_display(terms: &Terms) -> Result<(), RejectReason> {
    match terms.display {
        Display::Displayed if terms.is_midpoint_peg => Err(RejectReason::DISPLAY),
        Display::Displayed | Display::Hidden => Ok(()),
        Display::Iceberg { floor } => {
            let is_possible = floor > 0 && !terms.is_midpoint_peg && !terms.is_immediate();
            if is_possible { Ok(()) } else { Err(RejectReason::MAX_FLOOR) }
        }
    }
}

fn check_combination(terms: &Terms) -> Result<(), RejectReason> {
    if terms.is_midpoint_peg && terms.stop_price.is_some() {
        return Err(RejectReason::PEG_TYPE);
    }
    let never_rests = terms.is_immediate() || terms.stop_price.is_some();
    let is_whole_stop = terms.stop_price.is_some() && terms.lifetime == Lifetime::FillOrKill;
    if (terms.is_post_only && never_rests) || is_whole_stop { Err(RejectReason::OTHER) } else { Ok(()) }
}

fn check_prices(side: Side, terms: &Terms, at: &Circumstances<'_>) -> Result<(), RejectReason> {
    let is_on_tick = |price: Option<Price>| price.is_none_or(|price| crate::ticks::is_allowed(at.ticks, price));
    let is_within = terms.price.is_none_or(|price| !is_beyond(side, price, at.bands));
    if is_on_tick(terms.price) && is_on_tick(terms.stop_price) && is_within { Ok(()) } else { Err(RejectReason::PRICE) }
}

/// Whether a limit would let the order trade beyond the bands: a buy above the upper, a sell below the lower.
#[must_use]
pub fn is_beyond(side: Side, price: Price, bands: Option<Bands>) -> bool {
    match (side, bands) {
        (_, None) => false,
        (Side::Buy, Some(bands)) => price > bands.upper,
        (Side::Sell, Some(bands)) => price < bands.lower,
    }
}

/// The price of midpoint pegs: the middle of the displayed best prices, rounded down to 0.0001, where it lies strictly
/// between the two and within the bands.
#[must_use]
pub fn midpoint(bid: Option<Price>, ask: Option<Price>, bands: Option<Bands>) -> Option<Price> {
    let (bid, ask) = (bid?, ask?);
    let middle = bid.0 + (ask.0 - bid.0).div_euclid(2);
    let mid = Price(middle - middle.rem_euclid(crate::ticks::STEP_MIN));
    let is_within = bands.is_none_or(|bands| bands.lower <= mid && mid <= bands.upper);
    (bid < mid && mid < ask && is_within).then_some(mid)
}

/// The price at which a pegged order stands while the middle is `mid`: never worse than its limit.
#[must_use]
pub fn pegged(side: Side, limit: Option<Price>, mid: Price) -> Price {
    match side {
        Side::Buy => limit.map_or(mid, |limit| limit.min(mid)),
        Side::Sell => limit.map_or(mid, |limit| limit.max(mid)),
    }
}

/// Whether an order of `side` with limit `limit` trades at `price`; no limit trades at any.
#[must_use]
pub fn reaches(side: Side, limit: Option<Price>, price: Price) -> bool {
    match (side, limit) {
        (_, None) => true,
        (Side::Buy, Some(limit)) => price <= limit,
        (Side::Sell, Some(limit)) => price >= limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn dollars(cents: i64) -> Price {
        Price(cents * 10_000_000)
    }

    #[test]
    fn every_reason_is_given_for_what_it_says() {
        let ticks = TickTable::US_EQUITY;
        let bands = Some(Bands { lower: dollars(900), upper: dollars(1_100) });
        let now = TimeOfDay(7);
        let at = Circumstances { ticks: &ticks, bands, state: SymbolState::Trading, phase: Phase::Market, now };
        let limit = Terms::limit(dollars(1_000));
        let verdict = |qty, side, terms: Terms, at: &Circumstances<'_>| check(qty, side, &terms, at).err();
        let at_buy = |terms: Terms| verdict(100, Side::Buy, terms, &at);
        assert_eq!(at_buy(limit), None);
        for (phase, lifetime, reason) in [
            (Phase::Closed, Lifetime::Extended, Some(RejectReason::DESTINATION_CLOSED)),
            (Phase::PostMarket, Lifetime::Day, Some(RejectReason::DESTINATION_CLOSED)),
            (Phase::PostMarket, Lifetime::Extended, None),
            (Phase::PreMarket, Lifetime::Day, None),
        ] {
            assert_eq!(verdict(1, Side::Buy, Terms { lifetime, ..limit }, &Circumstances { phase, ..at }), reason);
        }
        let halted = Circumstances { state: SymbolState::Halted, ..at };
        let quoting = Circumstances { state: SymbolState::QuotationOnly, ..at };
        let immediate = Terms { lifetime: Lifetime::ImmediateOrCancel, ..limit };
        assert_eq!(verdict(1, Side::Buy, limit, &halted), Some(RejectReason::HALTED));
        assert_eq!(verdict(1, Side::Buy, limit, &quoting), None);
        assert_eq!(verdict(1, Side::Buy, immediate, &quoting), Some(RejectReason::HALTED));
        for qty in [0, ORDER_QTY_MAX + 1] {
            assert_eq!(verdict(qty, Side::Buy, limit, &at), Some(RejectReason::QUANTITY));
        }
        assert_eq!(at_buy(Terms { auction: Auction::Opening, ..limit }), Some(RejectReason::CROSS_ORDER));
        assert_eq!(at_buy(Terms { auction: Auction::Closing, ..limit }), None);
        assert_eq!(at_buy(Terms { display: Display::Iceberg { floor: 0 }, ..limit }), Some(RejectReason::MAX_FLOOR));
        assert_eq!(at_buy(Terms { display: Display::Iceberg { floor: 99 }, ..limit }), None);
        let peg = Terms { is_midpoint_peg: true, display: Display::Hidden, ..limit };
        assert_eq!(at_buy(peg), None);
        assert_eq!(at_buy(Terms { display: Display::Displayed, ..peg }), Some(RejectReason::DISPLAY));
        assert_eq!(at_buy(Terms { stop_price: Some(dollars(1_000)), ..peg }), Some(RejectReason::PEG_TYPE));
        assert_eq!(at_buy(Terms { is_post_only: true, ..immediate }), Some(RejectReason::OTHER));
        for (end, reason) in [(6, Some(RejectReason::OTHER)), (7, Some(RejectReason::OTHER)), (8, None)] {
            assert_eq!(at_buy(Terms { lifetime: Lifetime::Until(TimeOfDay(end)), ..limit }), reason, "{end}");
        }
        let closing = Terms { auction: Auction::Closing, lifetime: Lifetime::Until(TimeOfDay(8)), ..limit };
        assert_eq!(at_buy(closing), Some(RejectReason::CROSS_ORDER));
        assert_eq!(at_buy(Terms::limit(Price(dollars(1_000).0 + 1))), Some(RejectReason::PRICE));
        assert_eq!(at_buy(Terms::limit(dollars(1_101))), Some(RejectReason::PRICE));
        assert_eq!(verdict(1, Side::Sell, Terms::limit(dollars(1_101)), &at), None);
        assert_eq!(verdict(1, Side::Sell, Terms::limit(dollars(899)), &at), Some(RejectReason::PRICE));
    }

    #[test]
    fn the_midpoint_lies_strictly_between() {
        let at = |bid: i64, ask: i64| midpoint(Some(Price(bid * 100_000)), Some(Price(ask * 100_000)), None);
        assert_eq!(at(100, 110), Some(Price(105 * 100_000)));
        assert_eq!(at(100, 103), Some(Price(101 * 100_000)), "rounded down");
        assert_eq!((at(100, 101), at(100, 100), at(101, 100)), (None, None, None));
        assert_eq!(midpoint(None, Some(Price(1)), None), None);
        let bands = Some(Bands { lower: Price(110 * 100_000), upper: Price(200 * 100_000) });
        assert_eq!(midpoint(Some(Price(100 * 100_000)), Some(Price(110 * 100_000)), bands), None);
    }
}
