//! The feed: ITCH 5.0 messages, built with the structs that read them.

use peregrine_types::{OrderRef, Price, Side, Symbol, SymbolId};
use peregrine_wire::itch50::{
    AddOrder, BrokenTrade, CrossTrade, LuldAuctionCollar, NetOrderImbalance, OrderCancel, OrderDelete, OrderExecuted,
    OrderExecutedWithPrice, OrderReplace, Price4, StockDirectory, StockTradingAction, SystemEvent, TradeNonCross,
};
use zerocopy::{Immutable, IntoBytes};

use crate::orders::{Bands, TimeOfDay, VenueSink};

/// An order as the feed shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) symbol: SymbolId,
    pub(crate) side: Side,
    pub(crate) display_ref: OrderRef,
    pub(crate) price: Price,
    pub(crate) shares: u32,
}

/// What an imbalance message says (ITCH 5.0, Net Order Imbalance Indicator).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imbalance {
    /// Shares paired at the reference price.
    pub(crate) paired: u64,
    /// Shares not paired.
    pub(crate) imbalance: u64,
    /// Side of the imbalance, `None` when everything pairs.
    pub(crate) side: Option<Side>,
    /// Clearing price of cross orders alone.
    pub(crate) far_price: Option<Price>,
    /// Clearing price of cross and continuous orders.
    pub(crate) near_price: Option<Price>,
    /// Price at which the imbalance is computed.
    pub(crate) reference_price: Price,
}

/// Writes the feed. The removal of a replaced order is held back until it is known whether the replacement shows: then
/// both are one message.
#[derive(Debug)]
pub(crate) struct Publisher {
    names: Box<[Symbol]>,
    now: TimeOfDay,
    held_delete: Option<(SymbolId, OrderRef)>,
}

fn price4(price: Price) -> Price4 {
    // Prices of the venue are multiples of 0.0001 up to 200,000, so that they always fit.
    Price4::from_price(price).unwrap_or_default()
}

const fn letter(side: Side) -> u8 {
    match side {
        Side::Buy => b'B',
        Side::Sell => b'S',
    }
}

/// The locate of a symbol: its identifier and 1.
fn locate(symbol: SymbolId) -> u16 {
    u16::try_from(symbol.0.saturating_add(1)).unwrap_or(u16::MAX)
}

impl Publisher {
    pub(crate) fn new(names: Box<[Symbol]>) -> Self {
        Self { names, now: TimeOfDay(0), held_delete: None }
    }

    /// The symbols' names.
    pub(crate) const fn names(&self) -> &[Symbol] {
        &self.names
    }

    pub(crate) const fn set_time(&mut self, now: TimeOfDay) {
        self.now = now;
    }

    fn name(&self, symbol: SymbolId) -> Symbol {
        self.names.get(symbol.index()).copied().unwrap_or(Symbol([b' '; 8]))
    }

    /// Sends a message behind what was held back.
    fn send(&mut self, sink: &mut impl VenueSink, message: &(impl IntoBytes + Immutable)) {
        self.flush(sink);
        sink.on_market(self.now, message.as_bytes());
    }

    /// Sends what was held back.
    pub(crate) fn flush(&mut self, sink: &mut impl VenueSink) {
        if let Some((symbol, order_ref)) = self.held_delete.take() {
            let message = OrderDelete { order_ref: order_ref.0.into(), ..OrderDelete::new(locate(symbol), self.now.0) };
            sink.on_market(self.now, message.as_bytes());
        }
    }

    /// The order left the feed, and its replacement may show.
    pub(crate) const fn hold_delete(&mut self, symbol: SymbolId, display_ref: OrderRef) {
        self.held_delete = Some((symbol, display_ref));
    }

    /// An order shows at the back of its level: as a replacement, when a removal is held back.
    pub(crate) fn add(&mut self, sink: &mut impl VenueSink, shown: Shown) {
        let (locate, now) = (locate(shown.symbol), self.now.0);
        match self.held_delete.take() {
            Some((_, old)) => {
                let message = OrderReplace {
                    original_order_ref: old.0.into(),
                    new_order_ref: shown.display_ref.0.into(),
                    shares: shown.shares.into(),
                    price: price4(shown.price),
                    ..OrderReplace::new(locate, now)
                };
                sink.on_market(self.now, message.as_bytes());
            }
            None => {
                let message = AddOrder {
                    order_ref: shown.display_ref.0.into(),
                    side: letter(shown.side),
                    shares: shown.shares.into(),
                    stock: self.name(shown.symbol),
                    price: price4(shown.price),
                    ..AddOrder::new(locate, now)
                };
                self.send(sink, &message);
            }
        }
    }

    pub(crate) fn delete(&mut self, sink: &mut impl VenueSink, symbol: SymbolId, display_ref: OrderRef) {
        let message = OrderDelete { order_ref: display_ref.0.into(), ..OrderDelete::new(locate(symbol), self.now.0) };
        self.send(sink, &message);
    }

    /// `shares` left a displayed order of `left` shares.
    pub(crate) fn reduce(&mut self, sink: &mut impl VenueSink, shown: Shown, left: u32) {
        if shown.shares >= left {
            return self.delete(sink, shown.symbol, shown.display_ref);
        }
        let message = OrderCancel {
            order_ref: shown.display_ref.0.into(),
            cancelled_shares: shown.shares.into(),
            ..OrderCancel::new(locate(shown.symbol), self.now.0)
        };
        self.send(sink, &message);
    }

    pub(crate) fn executed(&mut self, sink: &mut impl VenueSink, shown: Shown, match_number: u64) {
        let message = OrderExecuted {
            order_ref: shown.display_ref.0.into(),
            executed_shares: shown.shares.into(),
            match_number: match_number.into(),
            ..OrderExecuted::new(locate(shown.symbol), self.now.0)
        };
        self.send(sink, &message);
    }

    /// A displayed order was executed in a cross: its volume is in the cross's own message.
    pub(crate) fn executed_in_cross(&mut self, sink: &mut impl VenueSink, shown: Shown, match_number: u64) {
        let message = OrderExecutedWithPrice {
            order_ref: shown.display_ref.0.into(),
            executed_shares: shown.shares.into(),
            match_number: match_number.into(),
            printable: b'N',
            execution_price: price4(shown.price),
            ..OrderExecutedWithPrice::new(locate(shown.symbol), self.now.0)
        };
        self.send(sink, &message);
    }

    /// An execution against a hidden order: without reference and always "buy" (ITCH 5.0, Trade).
    pub(crate) fn hidden_trade(&mut self, sink: &mut impl VenueSink, trade: Shown, match_number: u64) {
        let message = TradeNonCross {
            side: b'B',
            shares: trade.shares.into(),
            stock: self.name(trade.symbol),
            price: price4(trade.price),
            match_number: match_number.into(),
            ..TradeNonCross::new(locate(trade.symbol), self.now.0)
        };
        self.send(sink, &message);
    }

    pub(crate) fn cross(&mut self, sink: &mut impl VenueSink, symbol: SymbolId, cross: CrossPrint) {
        let message = CrossTrade {
            shares: cross.shares.into(),
            stock: self.name(symbol),
            cross_price: price4(cross.price),
            match_number: cross.match_number.into(),
            cross_type: cross.cross_type,
            ..CrossTrade::new(locate(symbol), self.now.0)
        };
        self.send(sink, &message);
    }

    pub(crate) fn imbalance(&mut self, sink: &mut impl VenueSink, symbol: SymbolId, cross_type: u8, of: &Imbalance) {
        let is_empty = of.near_price.is_none() && of.far_price.is_none();
        let message = NetOrderImbalance {
            paired_shares: of.paired.into(),
            imbalance_shares: of.imbalance.into(),
            imbalance_direction: if is_empty { b'O' } else { of.side.map_or(b'N', letter) },
            stock: self.name(symbol),
            far_price: of.far_price.map(price4).unwrap_or_default(),
            near_price: of.near_price.map(price4).unwrap_or_default(),
            current_reference_price: price4(of.reference_price),
            cross_type,
            price_variation: price_variation(of.near_price, of.reference_price),
            ..NetOrderImbalance::new(locate(symbol), self.now.0)
        };
        self.send(sink, &message);
    }

    /// Where a reopening may be. It is not extended: what lies beyond is refused, so that its cross lies within.
    pub(crate) fn collars(&mut self, sink: &mut impl VenueSink, symbol: SymbolId, reference: Price, collars: Bands) {
        let message = LuldAuctionCollar {
            stock: self.name(symbol),
            reference_price: price4(reference),
            upper_collar: price4(collars.upper),
            lower_collar: price4(collars.lower),
            ..LuldAuctionCollar::new(locate(symbol), self.now.0)
        };
        self.send(sink, &message);
    }

    pub(crate) fn broken(&mut self, sink: &mut impl VenueSink, symbol: SymbolId, match_number: u64) {
        let message = BrokenTrade { match_number: match_number.into(), ..BrokenTrade::new(locate(symbol), self.now.0) };
        self.send(sink, &message);
    }

    pub(crate) fn system(&mut self, sink: &mut impl VenueSink, event_code: u8) {
        self.send(sink, &SystemEvent { event_code, ..SystemEvent::new(0, self.now.0) });
    }

    pub(crate) fn directory(&mut self, sink: &mut impl VenueSink, symbol: SymbolId, round_lot: u32) {
        let message = StockDirectory {
            stock: self.name(symbol),
            market_category: b'Q',
            financial_status: b'N',
            round_lot_size: round_lot.into(),
            round_lots_only: b'N',
            issue_classification: b'C',
            issue_subtype: *b"Z ",
            authenticity: b'P',
            short_sale_threshold: b'N',
            ipo_flag: b'N',
            luld_tier: b'1',
            etp_flag: b'N',
            inverse_indicator: b'N',
            ..StockDirectory::new(locate(symbol), self.now.0)
        };
        self.send(sink, &message);
    }

    pub(crate) fn trading_action(&mut self, sink: &mut impl VenueSink, symbol: SymbolId, state: u8, reason: [u8; 4]) {
        let message = StockTradingAction {
            stock: self.name(symbol),
            trading_state: state,
            reserved: b' ',
            reason,
            ..StockTradingAction::new(locate(symbol), self.now.0)
        };
        self.send(sink, &message);
    }
}

/// The bulk print of a cross.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrossPrint {
    pub(crate) shares: u64,
    pub(crate) price: Price,
    pub(crate) match_number: u64,
    pub(crate) cross_type: u8,
}

/// The code of the distance between near and reference price (ITCH 5.0, Price Variation Indicator).
fn price_variation(near: Option<Price>, reference: Price) -> u8 {
    let Some(near) = near.filter(|_| reference.0 > 0) else { return b' ' };
    let percent = i128::from((near.0 - reference.0).abs()) * 100 / i128::from(reference.0);
    match u8::try_from(percent) {
        Ok(0) => b'L',
        Ok(percent @ 1..=9) => b'0' + percent,
        Ok(10..=19) => b'A',
        Ok(20..=29) => b'B',
        Ok(_) | Err(_) => b'C',
    }
}
