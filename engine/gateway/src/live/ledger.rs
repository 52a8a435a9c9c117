//! The venue's account of the day: what its numbered stream says of every order number, fill and position of the port, and
//! nothing else. Kept beside the order table so that the two can be held against each other after every message.

use peregrine_risk::NumberMap;
use peregrine_types::{MatchNumber, Notional, OrderId, Position, Price, Qty, Side, SymbolId};

/// What the venue said of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VenueOrder {
    /// Whether it spoke of the order at all.
    pub is_known: bool,
    /// Whether its acceptance was among that.
    pub is_accepted: bool,
    /// The instrument.
    pub symbol: SymbolId,
    /// Side.
    pub side: Side,
    /// Shares that may still be executed.
    pub open_qty: Qty,
    /// Shares that were executed, of the orders that it replaced too, broken trades included.
    pub filled_qty: Qty,
}

/// What the venue said of one fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VenueFill {
    /// The order.
    pub order_id: OrderId,
    /// The venue's number of it.
    pub match_number: MatchNumber,
    /// Shares.
    pub qty: Qty,
    /// Price.
    pub price: Price,
    /// Cost, by the fees of the configuration.
    pub fee: Notional,
    /// Whether it was broken later.
    pub is_busted: bool,
}

/// The account: see the module. All memory is taken at construction.
#[derive(Debug)]
pub struct Ledger {
    /// By order number, from 0.
    orders: Box<[VenueOrder]>,
    fills: Vec<VenueFill>,
    /// From match number to the last fill with it; a trade with ourselves has two under one number.
    by_match: NumberMap,
    positions: Box<[Position]>,
    known_count: usize,
    open_count: usize,
}

/// The number of an order as an index.
fn index_of(order_id: OrderId) -> usize {
    usize::try_from(order_id.0).unwrap_or(usize::MAX)
}

impl Ledger {
    /// An empty account for order numbers below `order_number_end`, `fill_count_max` fills and `symbol_count` symbols.
    #[must_use]
    pub fn new(order_number_end: u32, fill_count_max: usize, symbol_count: usize) -> Self {
        let len = usize::try_from(order_number_end).unwrap_or(usize::MAX);
        Self {
            orders: vec![VenueOrder::default(); len].into_boxed_slice(),
            fills: Vec::with_capacity(fill_count_max),
            by_match: NumberMap::new(fill_count_max),
            positions: vec![Position::FLAT; symbol_count].into_boxed_slice(),
            known_count: 0,
            open_count: 0,
        }
    }

    /// Whether there is room for an order of this number, and for fills.
    #[must_use]
    pub fn has_room(&self, order_id: OrderId) -> bool {
        index_of(order_id) < self.orders.len() && self.fills.len() < self.fills.capacity()
    }

    /// What the venue said of an order; `None` when it never spoke of it.
    #[must_use]
    pub fn order(&self, order_id: OrderId) -> Option<VenueOrder> {
        self.orders.get(index_of(order_id)).copied().filter(|order| order.is_known)
    }

    /// Every order that the venue spoke of, by number.
    pub fn orders(&self) -> impl Iterator<Item = (OrderId, VenueOrder)> {
        let numbered = (0_u64..).zip(self.orders.iter());
        numbered.filter(|(_, order)| order.is_known).map(|(number, order)| (OrderId(number), *order))
    }

    /// Every fill, in the order of the stream.
    #[must_use]
    pub fn fills(&self) -> &[VenueFill] {
        &self.fills
    }

    /// Orders of which something is open.
    #[must_use]
    pub const fn open_count(&self) -> usize {
        self.open_count
    }

    /// What is held of a symbol by the stream alone.
    #[must_use]
    pub fn position(&self, symbol: SymbolId) -> Position {
        self.positions.get(symbol.index()).copied().unwrap_or_default()
    }

    /// The venue has an order: from its acceptance, or from whatever it says first where the acceptance is missing.
    /// False when it is known already, or has no place.
    pub fn open(&mut self, order_id: OrderId, symbol: SymbolId, side: Side, qty: Qty) -> bool {
        let Some(order) = self.orders.get_mut(index_of(order_id)).filter(|order| !order.is_known) else { return false };
        *order = VenueOrder { is_known: true, is_accepted: false, symbol, side, open_qty: qty, filled_qty: Qty::ZERO };
        self.known_count = self.known_count.saturating_add(1);
        self.open_count = self.open_count.saturating_add(usize::from(qty > Qty::ZERO));
        true
    }

    /// An order took the place of another, with `qty` open: what was executed of the chain goes with it. False when it is
    /// known already, or has no place.
    pub fn replace(&mut self, replaces: OrderId, order_id: OrderId, qty: Qty) -> bool {
        let old = self.order(replaces).unwrap_or_default();
        if !self.open(order_id, old.symbol, old.side, qty) {
            return false;
        }
        self.reduce(replaces, old.open_qty);
        if let Some(order) = self.orders.get_mut(index_of(order_id)) {
            order.filled_qty = old.filled_qty;
        }
        true
    }

    /// The acceptance of an order was said; false when it was before, or there is no such order.
    pub fn accept(&mut self, order_id: OrderId) -> bool {
        let order = self.orders.get_mut(index_of(order_id)).filter(|order| order.is_known);
        order.is_some_and(|order| !core::mem::replace(&mut order.is_accepted, true))
    }

    /// Shares left an order without a trade: what is open now.
    pub fn reduce(&mut self, order_id: OrderId, qty: Qty) -> Qty {
        let Some(order) = self.orders.get_mut(index_of(order_id)) else { return Qty::ZERO };
        let was_open = order.open_qty > Qty::ZERO;
        order.open_qty = order.open_qty.saturating_sub(qty);
        if was_open && order.open_qty == Qty::ZERO {
            self.open_count = self.open_count.saturating_sub(1);
        }
        order.open_qty
    }

    /// Books a fill; false when this order had a fill of this number before.
    pub fn fill(&mut self, fill: &VenueFill) -> bool {
        if self.find(fill.order_id, fill.match_number).is_some() {
            return false;
        }
        let Some(order) = self.orders.get_mut(index_of(fill.order_id)) else { return true };
        order.filled_qty = order.filled_qty.saturating_add(fill.qty);
        let (symbol, side) = (order.symbol, order.side);
        self.reduce(fill.order_id, fill.qty);
        if let Some(position) = self.positions.get_mut(symbol.index()) {
            *position = position.after(side, fill.qty).unwrap_or(*position);
        }
        if self.fills.len() < self.fills.capacity() {
            self.by_match.insert(fill.match_number.0, u32::try_from(self.fills.len()).unwrap_or(u32::MAX));
            self.fills.push(*fill);
        }
        true
    }

    /// Breaks a fill: what it was, or why it cannot be.
    ///
    /// # Errors
    /// [`BustError`]; nothing changed then.
    pub fn bust(&mut self, order_id: OrderId, match_number: MatchNumber) -> Result<VenueFill, BustError> {
        let index = self.find(order_id, match_number).ok_or(BustError::Unknown)?;
        let fill = self.fills.get_mut(index).ok_or(BustError::Unknown)?;
        if fill.is_busted {
            return Err(BustError::Repeated);
        }
        fill.is_busted = true;
        let fill = *fill;
        let order = self.orders.get(index_of(order_id)).copied().unwrap_or_default();
        if let Some(position) = self.positions.get_mut(order.symbol.index()) {
            *position = position.after(order.side.opposite(), fill.qty).unwrap_or(*position);
        }
        Ok(fill)
    }

    /// Where the fill of an order with this number is. Two orders of ours can share a number when they met each other:
    /// then the other one's lies close behind.
    fn find(&self, order_id: OrderId, match_number: MatchNumber) -> Option<usize> {
        let last = usize::try_from(self.by_match.get(match_number.0)?).ok()?;
        let is_it = |index: &usize| {
            let fill = self.fills.get(*index);
            fill.is_some_and(|fill| fill.order_id == order_id && fill.match_number == match_number)
        };
        let earliest = last.saturating_sub(SELF_TRADE_DISTANCE_MAX);
        (earliest..=last).rev().find(is_it)
    }
}

/// How far apart in the stream the two fills of a trade with ourselves can be.
const SELF_TRADE_DISTANCE_MAX: usize = 64;

/// Why a trade cannot be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BustError {
    /// The stream never had such a fill.
    Unknown,
    /// It is broken already.
    Repeated,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(order: u64, number: u64, qty: u64) -> VenueFill {
        VenueFill {
            order_id: OrderId(order),
            match_number: MatchNumber(number),
            qty: Qty(qty),
            price: Price(5),
            ..VenueFill::default()
        }
    }

    #[test]
    fn the_account_is_what_the_stream_said_and_each_number_counts_once() {
        let mut ledger = Ledger::new(8, 4, 2);
        assert!(ledger.open(OrderId(3), SymbolId(1), Side::Sell, Qty(10)));
        assert!(!ledger.open(OrderId(3), SymbolId(1), Side::Sell, Qty(10)));
        assert!(!ledger.open(OrderId(8), SymbolId(1), Side::Sell, Qty(10)), "no place");
        assert!(ledger.fill(&fill(3, 70, 4)) && !ledger.fill(&fill(3, 70, 4)));
        assert_eq!((ledger.position(SymbolId(1)), ledger.open_count()), (Position(-4), 1));
        assert_eq!(ledger.reduce(OrderId(3), Qty(6)), Qty::ZERO);
        assert_eq!((ledger.open_count(), ledger.order(OrderId(3)).unwrap().filled_qty), (0, Qty(4)));
        assert_eq!(ledger.bust(OrderId(3), MatchNumber(71)), Err(BustError::Unknown));
        assert_eq!(ledger.bust(OrderId(3), MatchNumber(70)).unwrap().qty, Qty(4));
        assert_eq!(ledger.bust(OrderId(3), MatchNumber(70)), Err(BustError::Repeated));
        assert_eq!(ledger.position(SymbolId(1)), Position(0));
    }

    #[test]
    fn a_replacement_goes_on_with_what_was_executed() {
        let mut ledger = Ledger::new(8, 8, 1);
        ledger.open(OrderId(1), SymbolId(0), Side::Sell, Qty(10));
        ledger.fill(&fill(1, 9, 4));
        assert!(ledger.replace(OrderId(1), OrderId(2), Qty(8)) && !ledger.replace(OrderId(1), OrderId(2), Qty(8)));
        let [old, new] = [1, 2].map(|id| ledger.order(OrderId(id)).unwrap());
        assert_eq!((old.open_qty, new.open_qty, new.filled_qty, new.side), (Qty(0), Qty(8), Qty(4), Side::Sell));
        assert_eq!((ledger.open_count(), ledger.position(SymbolId(0))), (1, Position(-4)));
    }

    #[test]
    fn a_trade_with_ourselves_has_two_fills_of_one_number() {
        let mut ledger = Ledger::new(8, 8, 1);
        ledger.open(OrderId(1), SymbolId(0), Side::Buy, Qty(5));
        ledger.open(OrderId(2), SymbolId(0), Side::Sell, Qty(5));
        assert!(ledger.fill(&fill(1, 9, 5)) && ledger.fill(&fill(2, 9, 5)));
        assert!(!ledger.fill(&fill(1, 9, 5)) && !ledger.fill(&fill(2, 9, 5)));
        assert_eq!((ledger.position(SymbolId(0)), ledger.open_count()), (Position(0), 0));
    }
}
