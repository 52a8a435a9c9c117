//! The definition of a cross.

use peregrine_gateway::ouch50::CancelReason;
use peregrine_types::{OrderRef, Price, Side, SymbolId};

use super::{Order, ReferenceVenue, shown};
use crate::cross::{cross_liquidity, is_possible, rank};
use crate::orders::{Auction, OrderEvent, VenueSink};
use crate::publish::{CrossPrint, Shown};
use crate::rules::{SymbolState, reaches};

impl ReferenceVenue {
    pub(super) fn auction(&mut self, auction: Auction, sink: &mut impl VenueSink) {
        for symbol in self.symbols() {
            let is_trading = self.markets[symbol.index()].state == SymbolState::Trading;
            if is_trading {
                self.cross(symbol, auction, sink);
            }
            let mut left: Vec<Order> = self.resting.clone();
            left.retain(|order| order.symbol == symbol && order.terms.auction == auction);
            left.sort_by_key(|order| (order.side, order.order_ref));
            for order in left {
                let reason = if is_trading { CancelReason::TIMEOUT } else { CancelReason::HALTED };
                let reason = if order.is_cancel_pending { CancelReason::USER } else { reason };
                self.cancel_rest(&order, reason, sink);
            }
            self.settle(symbol, sink);
        }
    }

    /// Orders that take part in a cross, in the order of execution.
    fn participants(&self, symbol: SymbolId, side: Side, auction: Auction) -> Vec<Order> {
        let is_in = |order: &&Order| {
            let is_of_cross = auction != Auction::None && order.terms.auction == auction;
            let is_on_book = !order.is_asleep() && !order.terms.is_midpoint_peg;
            order.symbol == symbol && order.side == side && (is_of_cross || is_on_book)
        };
        let mut all: Vec<Order> = self.resting.iter().filter(is_in).copied().collect();
        all.sort_by_key(|order| {
            let distance = order.terms.price.map(|price| if side == Side::Buy { -price.0 } else { price.0 });
            (distance, order.display_ref)
        });
        all
    }

    fn clearing_price(&self, symbol: SymbolId, sides: [&[Order]; 2]) -> Option<(Price, u64)> {
        let (market, config) = (&self.markets[symbol.index()], &self.config.symbols[symbol.index()]);
        let reference = market.last_trade.unwrap_or(config.reference_price);
        let limits = sides.into_iter().flatten().filter_map(|order| order.terms.price);
        let total = |side: Side, price| -> u64 {
            let orders = sides[side.index()].iter().filter(|order| reaches(side, order.terms.price, price));
            orders.map(|order| u64::from(order.open)).sum()
        };
        limits
            .chain(config.ticks.down(reference, 0))
            .filter(|price| is_possible(*price, market.bands))
            .map(|price| (price, total(Side::Buy, price), total(Side::Sell, price)))
            .min_by_key(|(price, demand, supply)| rank(*demand, *supply, *price, reference))
            .map(|(price, demand, supply)| (price, demand.min(supply)))
            .filter(|(_, volume)| *volume > 0)
    }

    pub(super) fn cross(&mut self, symbol: SymbolId, auction: Auction, sink: &mut impl VenueSink) {
        let [buys, sells] = Side::BOTH.map(|side| self.participants(symbol, side, auction));
        let clearing = self.clearing_price(symbol, [&buys, &sells]);
        let mut refs = [buys, sells].map(|side| side.iter().map(|order| order.order_ref).collect::<Vec<_>>());
        while let Some((price, _)) = clearing {
            let first = |refs: &[OrderRef]| {
                refs.first().and_then(|first| self.resting.iter().find(|order| order.order_ref == *first)).copied()
            };
            let (Some(buyer), Some(seller)) = (first(&refs[0]), first(&refs[1])) else { break };
            if !reaches(Side::Buy, buyer.terms.price, price) || !reaches(Side::Sell, seller.terms.price, price) {
                break;
            }
            self.pair(&buyer, &seller, (price, cross_liquidity(auction)), sink);
            for side in &mut refs {
                side.retain(|order_ref| self.resting.iter().any(|order| order.order_ref == *order_ref));
            }
        }
        self.match_last += 1;
        let (price, shares) = clearing.unwrap_or((Price(0), 0));
        let cross_type = match auction {
            Auction::None => b'H',
            Auction::Opening => b'O',
            Auction::Closing => b'C',
        };
        self.publisher.cross(sink, symbol, CrossPrint { shares, price, match_number: self.match_last, cross_type });
    }

    fn pair(&mut self, buyer: &Order, seller: &Order, (price, liquidity): (Price, u8), sink: &mut impl VenueSink) {
        let qty = buyer.available().min(seller.available());
        self.match_last += 1;
        let match_number = self.match_last;
        for order in [buyer, seller] {
            if order.displayed > 0 {
                self.publisher.executed_in_cross(sink, Shown { price, ..shown(order, qty) }, match_number);
            }
        }
        for order in [buyer, seller] {
            let order_ref = order.order_ref;
            self.tell(sink, order, OrderEvent::Executed { order_ref, qty, price, liquidity, match_number });
        }
        self.note_trade(buyer.symbol, price);
        self.consume(buyer, qty, sink);
        self.consume(seller, qty, sink);
    }
}
