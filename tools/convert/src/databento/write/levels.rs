//! Sessions as schemas `mbp-1`, `mbp-10`, `tbbo` and `trades`: what the engine's own books show of each event.
//!
//! | ITCH 5.0 | DBN |
//! |---|---|
//! | `A`, `F` | A, with the levels behind it |
//! | `E` | T of the aggressor's side with the levels before it, then C with those behind it |
//! | `C` | the same, T at the price of the execution; without T where it is not printable |
//! | `X`, `D` | C, with the levels behind it |
//! | `U` | C of the old order, then A of the new one, in one event |
//! | `P`, `Q` | T without a side |
//! | a snapshot or another session | R of each instrument that has levels |
//!
//! A change is written where it changes one of the schema's levels: its price, its quantity or its number of orders. Trades
//! are always written; `tbbo` and `trades` have nothing else. `LAST` is on the last record that an event has in the file.

use std::io::Write;

use dbn::{Action, BidAskPair, Mbp1Msg, Mbp10Msg, TradeMsg, UNDEF_PRICE, rtype};
use peregrine_book::{BookAction, BookUpdate, Books, MarketBooks, TradePrint};
use peregrine_types::{EventKind, Level, MarketEvent, Price, Qty, Side, SymbolId};

use super::scan::Scan;
use super::{Out, letter, nanos, side_letter, size_of};
use crate::ConvertError;

/// The most levels of a side that a record has.
const DEPTH: usize = 10;

/// Which records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Mbp1,
    Mbp10,
    Tbbo,
    Trades,
}

impl Shape {
    /// How many levels a change must be within to be written; none where trades alone are.
    const fn depth(self) -> usize {
        match self {
            Self::Mbp1 => 1,
            Self::Mbp10 => DEPTH,
            Self::Tbbo | Self::Trades => 0,
        }
    }
}

/// The best levels of an instrument, best first; what is not there has no quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    bids: [Level; DEPTH],
    asks: [Level; DEPTH],
}

impl Shown {
    fn of(books: &Books, symbol: SymbolId) -> Self {
        let mut shown = Self::default();
        books.depth(symbol, Side::Buy, &mut shown.bids);
        books.depth(symbol, Side::Sell, &mut shown.asks);
        shown
    }

    /// Whether the first `depth` levels of both sides are the same.
    fn is_same(&self, other: &Self, depth: usize) -> bool {
        self.bids.get(..depth) == other.bids.get(..depth) && self.asks.get(..depth) == other.asks.get(..depth)
    }

    /// Where the level of `price` stands, 0 for the best.
    fn place_of(&self, side: Side, price: Price) -> Option<u8> {
        let levels = match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        };
        let at = levels.iter().position(|level| level.qty.0 > 0 && level.price == price)?;
        u8::try_from(at).ok()
    }

    /// The first `N` levels as a record has them, `None` where a quantity is more than it can say.
    fn pairs<const N: usize>(&self) -> Option<[BidAskPair; N]> {
        let mut pairs: [BidAskPair; N] = core::array::from_fn(|_| BidAskPair::default());
        for ((pair, bid), ask) in pairs.iter_mut().zip(&self.bids).zip(&self.asks) {
            if bid.qty.0 > 0 {
                (pair.bid_px, pair.bid_sz, pair.bid_ct) = (bid.price.0, size_of(bid.qty.0)?, bid.order_count);
            }
            if ask.qty.0 > 0 {
                (pair.ask_px, pair.ask_sz, pair.ask_ct) = (ask.price.0, size_of(ask.qty.0)?, ask.order_count);
            }
        }
        Some(pairs)
    }
}

/// One record of an event.
#[derive(Clone, Copy, Debug)]
struct Part {
    action: Action,
    side: Option<Side>,
    price: Price,
    size: u32,
    depth: u8,
    shown: Shown,
}

/// See the file's head.
pub(super) struct Levels {
    shape: Shape,
    books: Books,
    /// What each instrument showed behind the last event.
    shown: Vec<Shown>,
    /// The records of the event at hand.
    parts: Vec<Part>,
}

impl Levels {
    pub(super) fn new(shape: Shape, scan: &Scan) -> Result<Self, ConvertError> {
        let count = SymbolId(scan.symbol_count()).index();
        Ok(Self { shape, books: scan.books()?, shown: vec![Shown::default(); count], parts: Vec::new() })
    }

    pub(super) fn on_event<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        match event.kind {
            EventKind::AddOrder
            | EventKind::ExecuteOrder
            | EventKind::ExecuteOrderAtPrice
            | EventKind::CancelOrder
            | EventKind::DeleteOrder => self.on_change(out, event),
            EventKind::ReplaceOrder => self.on_replacement(out, event),
            EventKind::Trade | EventKind::CrossTrade => self.on_trade(out, event),
            EventKind::SessionStart | EventKind::SnapshotStart => return self.on_empty_start(out, event),
            EventKind::BrokenTrade
            | EventKind::SystemEvent
            | EventKind::StockDirectory
            | EventKind::TradingAction
            | EventKind::RegSho
            | EventKind::ParticipantPosition
            | EventKind::MwcbLevels
            | EventKind::MwcbStatus
            | EventKind::IpoQuotingPeriod
            | EventKind::LuldCollar
            | EventKind::OperationalHalt
            | EventKind::ImbalanceShares
            | EventKind::ImbalancePrices
            | EventKind::RetailInterest
            | EventKind::DirectListingPrices
            | EventKind::DirectListingCollars
            | EventKind::GapStart
            | EventKind::GapEnd
            | EventKind::SessionEnd => out.leave_out(event),
        }
        self.write_event(out, event)
    }

    /// Applies an event to the books. What they refuse or cut short is counted.
    fn apply<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> BookUpdate {
        let update = self.books.apply(event);
        if update.anomaly.is_some() {
            out.impossible();
        }
        update
    }

    fn on_change<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) {
        let before = self.shown_of(event.symbol);
        let update = self.apply(out, event);
        if let Some(trade) = update.trade.filter(|trade| trade.is_printable) {
            self.push_trade(out, trade, before);
        }
        let action = match update.action {
            BookAction::NoChange | BookAction::Traded | BookAction::StateChanged => return,
            BookAction::Added => Action::Add,
            BookAction::Canceled | BookAction::Deleted | BookAction::Executed | BookAction::Replaced => Action::Cancel,
        };
        let shown = Shown::of(&self.books, event.symbol);
        if let Some(last) = self.shown.get_mut(event.symbol.index()) {
            *last = shown;
        }
        if shown.is_same(&before, self.shape.depth()) {
            return;
        }
        let (side, price) = (update.side, update.price);
        let depth = shown.place_of(side, price).or_else(|| before.place_of(side, price)).unwrap_or(0);
        match size_of(update.qty.0) {
            Some(size) => self.parts.push(Part { action, side: Some(side), price, size, depth, shown }),
            None => out.impossible(),
        }
    }

    /// A cancel and an add in one event: the book between them is what the cancel's record shows.
    fn on_replacement<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) {
        let Some(old) = self.books.order(event.order_ref()).filter(|old| old.symbol == event.symbol) else {
            return out.impossible();
        };
        self.on_change(out, &MarketEvent { kind: EventKind::DeleteOrder, ..*event });
        let (kind, id_a, side) = (EventKind::AddOrder, event.id_b, old.side);
        self.on_change(out, &MarketEvent { kind, id_a, side, ..*event });
    }

    fn on_trade<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) {
        let shown = self.shown_of(event.symbol);
        match self.apply(out, event).trade {
            Some(trade) => self.push_trade(out, trade, shown),
            None => out.leave_out_as("CrossTrade of nothing"),
        }
    }

    fn push_trade<W: Write>(&mut self, out: &mut Out<W>, trade: TradePrint, shown: Shown) {
        let TradePrint { price, qty: Qty(qty), aggressor: side, .. } = trade;
        match size_of(qty) {
            Some(size) => self.parts.push(Part { action: Action::Trade, side, price, size, depth: 0, shown }),
            None => out.impossible(),
        }
    }

    fn on_empty_start<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        self.apply(out, event);
        let before = core::mem::take(&mut self.shown);
        self.shown = vec![Shown::default(); before.len()];
        if self.shape.depth() == 0 {
            return Ok(());
        }
        for (symbol, _) in (0..).map(SymbolId).zip(before).filter(|(_, shown)| *shown != Shown::default()) {
            let (price, shown) = (Price(UNDEF_PRICE), Shown::default());
            self.parts.push(Part { action: Action::Clear, side: None, price, size: 0, depth: 0, shown });
            self.write_event(out, &MarketEvent { symbol, ..*event })?;
        }
        Ok(())
    }

    fn shown_of(&self, symbol: SymbolId) -> Shown {
        self.shown.get(symbol.index()).copied().unwrap_or_default()
    }

    /// Writes the records of an event, the last one as such. One whose levels cannot be said is left out.
    fn write_event<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        let mut parts = core::mem::take(&mut self.parts);
        let count = parts.len();
        parts.retain(|part| self.is_sayable(part));
        (parts.len()..count).for_each(|_| out.impossible());
        for (at, part) in parts.iter().enumerate() {
            let is_last = at.saturating_add(1) == parts.len();
            self.write(out, event, (part, is_last))?;
        }
        parts.clear();
        self.parts = parts;
        Ok(())
    }

    fn is_sayable(&self, part: &Part) -> bool {
        match self.shape {
            Shape::Mbp1 | Shape::Tbbo => part.shown.pairs::<1>().is_some(),
            Shape::Mbp10 => part.shown.pairs::<DEPTH>().is_some(),
            Shape::Trades => true,
        }
    }

    fn write<W: Write>(
        &self,
        out: &mut Out<W>,
        event: &MarketEvent,
        (part, is_last): (&Part, bool),
    ) -> Result<(), ConvertError> {
        let Part { action, side, price: Price(price), size, depth, shown } = *part;
        let (ts_recv, flags, sequence) = (nanos(event.recv_time), out.flags(is_last), out.sequence());
        let (code, side, ts_in_delta) = (letter(action.into()), side_letter(side), 0);
        match self.shape {
            Shape::Trades => {
                let hd = out.header::<TradeMsg>(rtype::MBP_0, event);
                let record =
                    TradeMsg { hd, price, size, action: code, side, flags, depth, ts_recv, ts_in_delta, sequence };
                out.write_action(action, &record)
            }
            Shape::Mbp1 | Shape::Tbbo => {
                let Some(levels) = shown.pairs() else { return Ok(()) };
                let hd = out.header::<Mbp1Msg>(rtype::MBP_1, event);
                let record = Mbp1Msg {
                    hd,
                    price,
                    size,
                    action: code,
                    side,
                    flags,
                    depth,
                    ts_recv,
                    ts_in_delta,
                    sequence,
                    levels,
                };
                out.write_action(action, &record)
            }
            Shape::Mbp10 => {
                let Some(levels) = shown.pairs() else { return Ok(()) };
                let hd = out.header::<Mbp10Msg>(rtype::MBP_10, event);
                let record = Mbp10Msg {
                    hd,
                    price,
                    size,
                    action: code,
                    side,
                    flags,
                    depth,
                    ts_recv,
                    ts_in_delta,
                    sequence,
                    levels,
                };
                out.write_action(action, &record)
            }
        }
    }
}
