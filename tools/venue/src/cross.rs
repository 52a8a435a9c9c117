//! Crosses: one price for everybody, at the open, at the close and after a halt.

use peregrine_gateway::ouch50::CancelReason;
use peregrine_types::{Price, Side, SymbolId};

use crate::orders::{Auction, Bands, OrderEvent, VenueSink};
use crate::pool::{Order, Place};
use crate::publish::{CrossPrint, Imbalance, Shown};
use crate::rules::{SymbolState, reaches};
use crate::schedule::Phase;
use crate::venue::{Venue, auction_index};

/// What a cross executes, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clearing {
    pub(crate) price: Price,
    pub(crate) volume: u64,
}

/// The rank of a price: more volume, then less imbalance, then nearer to the reference, then lower.
pub(crate) fn rank(
    demand: u64,
    supply: u64,
    price: Price,
    reference: Price,
) -> (core::cmp::Reverse<u64>, u64, u64, Price) {
    (core::cmp::Reverse(demand.min(supply)), demand.abs_diff(supply), price.0.abs_diff(reference.0), price)
}

/// Whether a cross may be at this price.
pub(crate) fn is_possible(price: Price, bands: Option<Bands>) -> bool {
    price.0 > 0 && bands.is_none_or(|bands| bands.lower <= price && price <= bands.upper)
}

/// Code of ITCH 5.0 for the cross of these orders.
const fn cross_type(auction: Auction) -> u8 {
    match auction {
        Auction::None => b'H',
        Auction::Opening => b'O',
        Auction::Closing => b'C',
    }
}

/// Liquidity flag of OUCH 5.0 for executions in the cross of these orders.
pub(crate) const fn cross_liquidity(auction: Auction) -> u8 {
    match auction {
        Auction::None => b'K',
        Auction::Opening => b'O',
        Auction::Closing => b'C',
    }
}

impl Venue {
    /// The opening or closing cross of every symbol. A symbol that does not trade has none: its orders are cancelled.
    pub(crate) fn auction(&mut self, auction: Auction, sink: &mut impl VenueSink) {
        for symbol in self.symbol_ids() {
            if self.books[symbol.index()].state == SymbolState::Trading {
                self.cross(symbol, auction, sink);
                self.cancel_auction(symbol, auction, CancelReason::TIMEOUT, sink);
            } else {
                self.cancel_auction(symbol, auction, CancelReason::HALTED, sink);
            }
            self.settle(symbol, sink);
        }
    }

    /// Reopens a symbol: a cross of what rests, then continuous trading. One that trades already stays as it is.
    pub(crate) fn resume(&mut self, symbol: SymbolId, sink: &mut impl VenueSink) {
        if self.books[symbol.index()].state == SymbolState::Trading {
            return;
        }
        self.cross(symbol, Auction::None, sink);
        self.books[symbol.index()].state = SymbolState::Trading;
        self.publisher.trading_action(sink, symbol, b'T', *b"    ");
        self.settle(symbol, sink);
    }

    /// Cancels what a cross left of its own orders.
    fn cancel_auction(&mut self, symbol: SymbolId, auction: Auction, reason: CancelReason, sink: &mut impl VenueSink) {
        for side in Side::BOTH {
            loop {
                let head = self.books[symbol.index()].auctions[auction_index(auction)][side.index()];
                if head.is_empty() {
                    break;
                }
                let is_pending = self.pool.get(head.head).is_cancel_pending;
                self.cancel_rest(head.head, if is_pending { CancelReason::USER } else { reason }, sink);
            }
        }
    }

    /// Gathers both sides of a cross, each in the order of execution: no limit first, then best price, then time.
    fn gather(&mut self, symbol: SymbolId, auction: Auction, has_book: bool) {
        for side in Side::BOTH {
            let mut gathered = core::mem::take(&mut self.gathered[side.index()]);
            gathered.clear();
            if auction != Auction::None {
                let list = self.books[symbol.index()].auctions[auction_index(auction)][side.index()];
                gathered.extend(self.pool.iter(list).map(|(index, _)| index));
            }
            if has_book {
                for level in self.levels.best_first(symbol, side) {
                    let orders = self.pool.iter(level.displayed).chain(self.pool.iter(level.hidden));
                    gathered.extend(orders.map(|(index, _)| index));
                }
            }
            gathered.sort_unstable_by_key(|index| {
                let order = self.pool.get(*index);
                let distance = match (order.terms.price, side) {
                    (None, _) => i64::MIN,
                    (Some(price), Side::Buy) => -price.0,
                    (Some(price), Side::Sell) => price.0,
                };
                (distance, order.display_ref)
            });
            self.gathered[side.index()] = gathered;
        }
    }

    /// The price of the cross of what is gathered, `None` when nothing pairs.
    fn clearing(&mut self, symbol: SymbolId, reference: Price) -> Option<Clearing> {
        let bands = self.books[symbol.index()].bands;
        let mut prices = core::mem::take(&mut self.prices);
        prices.clear();
        prices.extend(self.symbols[symbol.index()].ticks.down(reference, 0));
        for side in &self.gathered {
            let fits = prices.capacity() - prices.len();
            prices.extend(side.iter().filter_map(|index| self.pool.get(*index).terms.price).take(fits));
        }
        prices.retain(|price| is_possible(*price, bands));
        prices.sort_unstable_by(|a, b| b.cmp(a));
        prices.dedup();
        let [buys, sells] = &self.gathered;
        let order = |index: &u32| self.pool.get(*index);
        let open = |index: &u32| u64::from(order(index).open);
        let (mut demand, mut supply) = (0, sells.iter().map(open).sum::<u64>());
        let mut buys = buys.iter().peekable();
        let mut sells = sells.iter().rev().peekable();
        let mut best = None;
        for price in &prices {
            while let Some(index) = buys.next_if(|index| reaches(Side::Buy, order(index).terms.price, *price)) {
                demand += open(index);
            }
            while let Some(index) = sells.next_if(|index| !reaches(Side::Sell, order(index).terms.price, *price)) {
                supply -= open(index);
            }
            let rank = rank(demand, supply, *price, reference);
            if best.is_none_or(|(best, _)| rank < best) {
                best = Some((rank, Clearing { price: *price, volume: demand.min(supply) }));
            }
        }
        self.prices = prices;
        best.map(|(_, clearing)| clearing).filter(|clearing| clearing.volume > 0)
    }

    /// The price to start from: the last trade, or the previous close.
    fn reference_price(&self, symbol: SymbolId) -> Price {
        let configured = self.symbols[symbol.index()].reference_price;
        self.books[symbol.index()].last_trade.unwrap_or(configured)
    }

    /// Executes a cross and prints it.
    fn cross(&mut self, symbol: SymbolId, auction: Auction, sink: &mut impl VenueSink) {
        let reference = self.reference_price(symbol);
        self.gather(symbol, auction, true);
        let clearing = self.clearing(symbol, reference);
        self.books[symbol.index()].last_cross = clearing.map(|clearing| clearing.price);
        if let Some(Clearing { price, .. }) = clearing {
            self.execute_cross(symbol, auction, price, sink);
        }
        self.match_last += 1;
        let (price, shares) = clearing.map_or((Price(0), 0), |clearing| (clearing.price, clearing.volume));
        let print = CrossPrint { shares, price, match_number: self.match_last, cross_type: cross_type(auction) };
        self.publisher.cross(sink, symbol, print);
    }

    fn execute_cross(&mut self, symbol: SymbolId, auction: Auction, price: Price, sink: &mut impl VenueSink) {
        let [buys, sells] = core::mem::take(&mut self.gathered);
        let (mut buy_at, mut sell_at) = (0, 0);
        while let (Some(buy), Some(sell)) = (buys.get(buy_at).copied(), sells.get(sell_at).copied()) {
            let (buyer, seller) = (*self.pool.get(buy), *self.pool.get(sell));
            let meets = reaches(Side::Buy, buyer.terms.price, price) && reaches(Side::Sell, seller.terms.price, price);
            if !meets {
                break;
            }
            let qty = buyer.available().min(seller.available());
            self.match_last += 1;
            for (index, order) in [(buy, &buyer), (sell, &seller)] {
                if order.place == Place::Displayed {
                    let shown = Shown { price, ..self.shown(index, qty) };
                    self.publisher.executed_in_cross(sink, shown, self.match_last);
                }
            }
            let (liquidity, match_number) = (cross_liquidity(auction), self.match_last);
            for (index, Order { order_ref, .. }) in [(buy, buyer), (sell, seller)] {
                self.tell(sink, index, OrderEvent::Executed { order_ref, qty, price, liquidity, match_number });
            }
            self.note_trade(symbol, price);
            buy_at += usize::from(buyer.open == qty);
            sell_at += usize::from(seller.open == qty);
            self.consume(buy, qty, sink);
            self.consume(sell, qty, sink);
        }
        self.gathered = [buys, sells];
    }

    /// The cross that comes next, and what would happen in it now.
    fn imbalance(&mut self, symbol: SymbolId) -> (Auction, Imbalance) {
        let auction = match (self.books[symbol.index()].state, self.phase()) {
            (SymbolState::Trading, Phase::Closed | Phase::PreMarket) => Auction::Opening,
            (SymbolState::Trading, Phase::Market | Phase::PostMarket) => Auction::Closing,
            (SymbolState::Halted | SymbolState::QuotationOnly, _) => Auction::None,
        };
        let before = self.reference_price(symbol);
        self.gather(symbol, auction, false);
        let far = self.clearing(symbol, before);
        self.gather(symbol, auction, true);
        let near = self.clearing(symbol, before);
        let reference_price = near.map_or(before, |near| near.price);
        let total = |side: Side| -> u64 {
            let orders = self.gathered[side.index()].iter().map(|index| self.pool.get(*index));
            orders
                .filter(|order| reaches(side, order.terms.price, reference_price))
                .map(|order| u64::from(order.open))
                .sum()
        };
        let (demand, supply) = (total(Side::Buy), total(Side::Sell));
        let side = match demand.cmp(&supply) {
            core::cmp::Ordering::Less => Some(Side::Sell),
            core::cmp::Ordering::Equal => None,
            core::cmp::Ordering::Greater => Some(Side::Buy),
        };
        let of = Imbalance {
            paired: demand.min(supply),
            imbalance: demand.abs_diff(supply),
            side,
            far_price: far.map(|far| far.price),
            near_price: near.map(|near| near.price),
            reference_price,
        };
        (auction, of)
    }

    pub(crate) fn publish_imbalance(&mut self, symbol: SymbolId, sink: &mut impl VenueSink) {
        let (auction, of) = self.imbalance(symbol);
        self.publisher.imbalance(sink, symbol, cross_type(auction), &of);
    }
}
