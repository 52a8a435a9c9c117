//! Continuous trading: what an arriving order meets, self-trade prevention, pegs and stop orders.

use peregrine_gateway::ouch50::CancelReason;
use peregrine_types::{OrderRef, Price, Side, SymbolId};

use crate::orders::{Auction, Display, Lifetime, OrderEvent, SelfTrade, Terms, VenueSink};
use crate::pool::{NONE, Order, Place};
use crate::publish::Shown;
use crate::rules::{self, SymbolState, reaches};
use crate::venue::Venue;

/// What an arriving order looks for.
#[derive(Clone, Copy)]
struct Search {
    /// The worst price, `None` for any.
    limit: Option<Price>,
    /// The middle when it arrived: pegs stand there until it is done.
    mid: Option<Price>,
}

/// Liquidity flags of OUCH 5.0.
pub(crate) mod liquidity {
    pub(crate) const ADDED: u8 = b'A';
    pub(crate) const ADDED_HIDDEN: u8 = b'J';
    pub(crate) const ADDED_MIDPOINT: u8 = b'k';
    pub(crate) const REMOVED: u8 = b'R';
    pub(crate) const REMOVED_MIDPOINT: u8 = b'm';
}

impl Venue {
    /// The price of midpoint pegs now.
    pub(crate) fn midpoint(&self, symbol: SymbolId) -> Option<Price> {
        let book = &self.books[symbol.index()];
        if book.state != SymbolState::Trading {
            return None;
        }
        let best = |side| self.levels.best_displayed(symbol, side);
        rules::midpoint(best(Side::Buy), best(Side::Sell), book.bands)
    }

    /// Lets an arriving order meet the book, and rests or cancels what is left.
    pub(crate) fn work(&mut self, index: u32, sink: &mut impl VenueSink) {
        let order = *self.pool.get(index);
        let book = &self.books[order.symbol.index()];
        let is_asleep = order.terms.stop_price.is_some() || order.terms.auction != Auction::None;
        if is_asleep || book.state != SymbolState::Trading {
            return self.rest(index, sink);
        }
        let mid = self.midpoint(order.symbol);
        if let Some(limit) = self.limit_of(&order, mid) {
            let search = Search { limit, mid };
            let contra = self.candidate(order.symbol, order.side.opposite(), mid);
            let is_marketable = contra.is_some_and(|(_, price)| reaches(order.side, limit, price));
            if order.terms.is_post_only && is_marketable {
                return self.cancel_rest(index, CancelReason::POST_ONLY_CONTRA, sink);
            }
            if order.terms.lifetime == Lifetime::FillOrKill && !self.is_fillable(&order, search) {
                return self.cancel_rest(index, CancelReason::IMMEDIATE, sink);
            }
            if is_marketable && !self.take(index, search, sink) {
                return;
            }
        }
        if order.terms.is_immediate() {
            let reason = self.remainder_reason(&order, mid);
            if reason == CancelReason::MARKET_COLLARS {
                self.struck = Some((order.symbol, order.side));
            }
            return self.cancel_rest(index, reason, sink);
        }
        self.rest(index, sink);
    }

    /// The worst price that an arriving order takes; `None` for a peg without a middle, which takes none.
    fn limit_of(&self, order: &Order, mid: Option<Price>) -> Option<Option<Price>> {
        if order.terms.is_midpoint_peg {
            return mid.map(|mid| Some(rules::pegged(order.side, order.terms.price, mid)));
        }
        let bands = self.books[order.symbol.index()].bands;
        Some(order.terms.price.or_else(|| {
            bands.map(|bands| match order.side {
                Side::Buy => bands.upper,
                Side::Sell => bands.lower,
            })
        }))
    }

    /// Why the rest of an immediate order is cancelled: the bands, when a market order met prices beyond them.
    fn remainder_reason(&self, order: &Order, mid: Option<Price>) -> CancelReason {
        let is_banded = order.terms.price.is_none()
            && !order.terms.is_midpoint_peg
            && self.books[order.symbol.index()].bands.is_some()
            && self.candidate(order.symbol, order.side.opposite(), mid).is_some();
        if is_banded { CancelReason::MARKET_COLLARS } else { CancelReason::IMMEDIATE }
    }

    /// Notes that an order with a limit beyond the bands would trade beyond them if it were taken: so many shares reach
    /// behind what stands within. Pegs, which stand within, do not count.
    pub(crate) fn note_strike(&mut self, symbol: SymbolId, side: Side, (qty, terms): (u32, &Terms)) {
        let book = &self.books[symbol.index()];
        let (Some(limit), bands @ Some(_)) = (terms.price, book.bands) else { return };
        let is_asleep = terms.stop_price.is_some() || terms.auction != Auction::None;
        let takes = book.state == SymbolState::Trading && !is_asleep && !terms.is_post_only && !terms.is_midpoint_peg;
        let is_on_tick = crate::ticks::is_allowed(&self.symbols[symbol.index()].ticks, limit);
        if !takes || !is_on_tick || !rules::is_beyond(side, limit, bands) {
            return;
        }
        let mut left = u64::from(qty);
        for level in self.levels.best_first(symbol, side.opposite()) {
            if left == 0 || !reaches(side, Some(limit), level.price) {
                return;
            }
            if rules::is_beyond(side, level.price, bands) {
                self.struck = Some((symbol, side));
                return;
            }
            let orders = self.pool.iter(level.displayed).chain(self.pool.iter(level.hidden));
            left = left.saturating_sub(orders.map(|(_, order)| u64::from(order.open)).sum());
        }
    }

    /// The order of `side` that is next to trade, and its price: best price first; at one price displayed before
    /// hidden and pegged ones, and by time within each.
    pub(crate) fn candidate(&self, symbol: SymbolId, side: Side, mid: Option<Price>) -> Option<(u32, Price)> {
        let level = self.levels.row(symbol, side).last().map(|level| self.levels.get(*level));
        let on_level = level.map(|level| {
            let head = if level.displayed.is_empty() { level.hidden.head } else { level.displayed.head };
            (head, level.price, !level.displayed.is_empty())
        });
        let pegged = mid.and_then(|mid| self.best_peg(symbol, side, mid));
        match (on_level, pegged) {
            (None, None) => None,
            (Some((index, price, _)), None) => Some((index, price)),
            (None, Some(peg)) => Some(peg),
            (Some((index, price, is_displayed)), Some((peg, peg_price))) => {
                let is_peg_first = peg_price.is_better_than(price, side)
                    || (peg_price == price && !is_displayed && self.priority(peg) < self.priority(index));
                Some(if is_peg_first { (peg, peg_price) } else { (index, price) })
            }
        }
    }

    fn priority(&self, index: u32) -> OrderRef {
        self.pool.get(index).display_ref
    }

    fn best_peg(&self, symbol: SymbolId, side: Side, mid: Price) -> Option<(u32, Price)> {
        let pegs = self.books[symbol.index()].pegs[side.index()];
        let mut best: Option<(u32, Price)> = None;
        for (index, order) in self.pool.iter(pegs) {
            let price = rules::pegged(side, order.terms.price, mid);
            if best.is_none_or(|(_, best)| price.is_better_than(best, side)) {
                best = Some((index, price));
            }
        }
        best
    }

    /// Whether two orders are of one firm and the arriving one does not want to trade with the resting one.
    fn is_prevented(&self, arriving: &Order, resting: &Order) -> bool {
        arriving.terms.self_trade != SelfTrade::Allow && self.firm(arriving) == self.firm(resting)
    }

    fn firm(&self, order: &Order) -> crate::FirmId {
        self.firms[order.account.0 as usize]
    }

    /// Whether an order can fill whole at once. Orders of its own firm within its limit do not count, and forbid it
    /// unless it would cancel them.
    fn is_fillable(&self, order: &Order, search: Search) -> bool {
        let side = order.side.opposite();
        let mut sum = 0_u64;
        let mut is_barred = false;
        let mut count = |other: &Order| {
            if self.is_prevented(order, other) {
                is_barred |= order.terms.self_trade != SelfTrade::CancelOldest;
            } else {
                sum += u64::from(other.open);
            }
        };
        for level in self.levels.best_first(order.symbol, side) {
            if !reaches(order.side, search.limit, level.price) {
                break;
            }
            self.pool.iter(level.displayed).chain(self.pool.iter(level.hidden)).for_each(|(_, other)| count(other));
        }
        if let Some(mid) = search.mid {
            let pegs = self.books[order.symbol.index()].pegs[side.index()];
            let is_reached =
                |other: &&Order| reaches(order.side, search.limit, rules::pegged(side, other.terms.price, mid));
            self.pool.iter(pegs).map(|(_, other)| other).filter(is_reached).for_each(&mut count);
        }
        !is_barred && sum >= u64::from(order.open)
    }

    /// Trades an arriving order as far as its limit goes. Returns whether anything is left of it; when not, it is gone.
    fn take(&mut self, index: u32, search: Search, sink: &mut impl VenueSink) -> bool {
        let Order { symbol, side, .. } = *self.pool.get(index);
        while let Some((resting, price)) = self.candidate(symbol, side.opposite(), search.mid) {
            if !reaches(side, search.limit, price) {
                return true;
            }
            if self.is_prevented(self.pool.get(index), self.pool.get(resting)) {
                if !self.prevent(index, resting, price, sink) {
                    return false;
                }
            } else {
                self.trade(index, resting, price, sink);
            }
            if self.pool.get(index).open == 0 {
                self.drop_order(index, sink);
                return false;
            }
        }
        true
    }

    /// One execution of an arriving order against a resting one.
    fn trade(&mut self, index: u32, resting: u32, price: Price, sink: &mut impl VenueSink) {
        let (taker, maker) = (*self.pool.get(index), *self.pool.get(resting));
        let qty = taker.open.min(maker.available());
        self.match_last += 1;
        let match_number = self.match_last;
        let shown = Shown { price, ..self.shown(resting, qty) };
        let (added, removed) = match maker.place {
            Place::Displayed => (liquidity::ADDED, liquidity::REMOVED),
            Place::Peg => (liquidity::ADDED_MIDPOINT, liquidity::REMOVED_MIDPOINT),
            Place::Hidden | Place::Free | Place::Arriving | Place::Stop | Place::Auction => {
                (liquidity::ADDED_HIDDEN, liquidity::REMOVED)
            }
        };
        if maker.place == Place::Displayed {
            self.publisher.executed(sink, shown, match_number);
        } else {
            self.publisher.hidden_trade(sink, shown, match_number);
        }
        for (who, order_ref, liquidity) in [(resting, maker.order_ref, added), (index, taker.order_ref, removed)] {
            self.tell(sink, who, OrderEvent::Executed { order_ref, qty, price, liquidity, match_number });
        }
        self.note_trade(maker.symbol, price);
        let taker = self.pool.get_mut(index);
        taker.open -= qty;
        taker.spent += qty;
        self.consume(resting, qty, sink);
    }

    pub(crate) fn note_trade(&mut self, symbol: SymbolId, price: Price) {
        let book = &mut self.books[symbol.index()];
        book.last_trade = Some(price);
        book.trades.price += i128::from(price.0);
        book.trades.count += 1;
        book.range = Some(book.range.map_or((price, price), |(low, high)| (low.min(price), high.max(price))));
    }

    /// Takes shares off a resting order whose change the feed was told: it goes, stays, or shows its next part.
    pub(crate) fn consume(&mut self, index: u32, qty: u32, sink: &mut impl VenueSink) {
        let order = self.pool.get_mut(index);
        order.open -= qty;
        order.spent += qty;
        if order.place == Place::Displayed {
            order.displayed -= qty;
        }
        if order.open == 0 {
            self.unlink(index);
            self.pool.remove(index);
        } else if order.place == Place::Displayed && order.displayed == 0 {
            self.refresh(index, sink);
        }
    }

    /// Shows the next part of a reserve order, at the back of its level. Without a reference left it is cancelled.
    fn refresh(&mut self, index: u32, sink: &mut impl VenueSink) {
        let Order { order_ref, level, open, terms, .. } = *self.pool.get(index);
        let Some(display_ref) = self.pool.next_ref() else {
            self.tell(sink, index, OrderEvent::Canceled { order_ref, qty: open, reason: CancelReason::SYSTEM });
            self.unlink(index);
            return self.pool.remove(index);
        };
        let displayed = match terms.display {
            Display::Iceberg { floor } => floor.min(open),
            Display::Displayed | Display::Hidden => open,
        };
        let queue = &mut self.levels.get_mut(level).displayed;
        self.pool.unlink(queue, index);
        self.pool.push_back(queue, index);
        let order = self.pool.get_mut(index);
        (order.displayed, order.display_ref) = (displayed, display_ref);
        self.publisher.add(sink, self.shown(index, displayed));
        self.tell(sink, index, OrderEvent::Restated { order_ref, display_ref, displayed });
    }

    /// Self-trade prevention instead of an execution. Returns whether the arriving order goes on.
    fn prevent(&mut self, index: u32, resting: u32, price: Price, sink: &mut impl VenueSink) -> bool {
        let (taker, maker) = (*self.pool.get(index), *self.pool.get(resting));
        let prevented_qty = taker.open.min(maker.available());
        let event =
            |order_ref, qty, is_remover| OrderEvent::Prevented { order_ref, qty, prevented_qty, price, is_remover };
        match taker.terms.self_trade {
            SelfTrade::Allow => true,
            SelfTrade::CancelNewest => {
                self.tell(sink, index, event(taker.order_ref, taker.open, true));
                self.drop_order(index, sink);
                false
            }
            SelfTrade::CancelOldest => {
                self.tell(sink, resting, event(maker.order_ref, maker.open, false));
                self.drop_order(resting, sink);
                true
            }
            SelfTrade::DecrementBoth => {
                self.tell(sink, resting, event(maker.order_ref, prevented_qty, false));
                self.tell(sink, index, event(taker.order_ref, prevented_qty, true));
                if maker.place == Place::Displayed {
                    self.publisher.reduce(sink, self.shown(resting, prevented_qty), maker.displayed);
                }
                let taker = self.pool.get_mut(index);
                taker.open -= prevented_qty;
                taker.spent += prevented_qty;
                self.consume(resting, prevented_qty, sink);
                true
            }
        }
    }

    /// After every change of a symbol: pegs that meet the other side trade, and stop orders that a trade reached wake
    /// up, until nothing moves.
    pub(crate) fn settle(&mut self, symbol: SymbolId, sink: &mut impl VenueSink) {
        if let Some(touched) = &mut self.touched {
            touched.push(symbol);
        }
        if self.books[symbol.index()].state != SymbolState::Trading {
            return;
        }
        self.settle_pegs(symbol, sink);
        while let Some(index) = self.first_triggered(symbol) {
            self.publisher.flush(sink);
            self.trigger(index, sink);
            self.settle_pegs(symbol, sink);
        }
        self.books[symbol.index()].range = None;
    }

    /// Each peg in the order of time meets the other side once.
    fn settle_pegs(&mut self, symbol: SymbolId, sink: &mut impl VenueSink) {
        let Some(mid) = self.midpoint(symbol) else { return };
        let best = |side| self.candidate(symbol, side, Some(mid)).map(|(_, price)| price);
        if best(Side::Buy).zip(best(Side::Sell)).is_none_or(|(bid, ask)| bid < ask) {
            return;
        }
        let mut after = OrderRef(0);
        while let Some(index) = self.peg_after(symbol, after) {
            let Order { side, terms, display_ref, .. } = *self.pool.get(index);
            after = display_ref;
            let limit = rules::pegged(side, terms.price, mid);
            let contra = self.candidate(symbol, side.opposite(), Some(mid));
            if contra.is_some_and(|(_, price)| reaches(side, Some(limit), price)) {
                self.unlink(index);
                if self.take(index, Search { limit: Some(limit), mid: Some(mid) }, sink) {
                    self.rest_peg_in_time(index, sink);
                }
            }
        }
    }

    /// The first peg of either side behind `after` in time.
    fn peg_after(&self, symbol: SymbolId, after: OrderRef) -> Option<u32> {
        let pegs = self.books[symbol.index()].pegs;
        let both = pegs.iter().flat_map(|list| self.pool.iter(*list));
        both.filter(|(_, order)| order.display_ref > after)
            .min_by_key(|(_, order)| order.display_ref)
            .map(|(index, _)| index)
    }

    /// Puts a peg back to its place in time: behind it are the ones with higher references.
    fn rest_peg_in_time(&mut self, index: u32, sink: &mut impl VenueSink) {
        let Order { symbol, side, display_ref, .. } = *self.pool.get(index);
        self.rest(index, sink);
        let list = &mut self.books[symbol.index()].pegs[side.index()];
        // Later ones move behind it, in their order.
        let mut at = list.head;
        let last = list.tail;
        while at != NONE && at != last {
            let next = self.pool.next(at);
            if self.pool.get(at).display_ref > display_ref {
                self.pool.unlink(list, at);
                self.pool.push_back(list, at);
            }
            at = next;
        }
    }

    /// The oldest stop order that a trade reached.
    fn first_triggered(&self, symbol: SymbolId) -> Option<u32> {
        let book = &self.books[symbol.index()];
        if book.stops.is_empty() {
            return None;
        }
        let last = book.last_trade?;
        let (low, high) = book.range.unwrap_or((last, last));
        let is_reached = |order: &Order| {
            order.terms.stop_price.is_some_and(|stop| match order.side {
                Side::Buy => high >= stop,
                Side::Sell => low <= stop,
            })
        };
        let reached = self.pool.iter(book.stops).filter(|(_, order)| is_reached(order));
        reached.min_by_key(|(_, order)| order.order_ref).map(|(index, _)| index)
    }

    /// Wakes a stop order up: it arrives now, as what it is without its stop price.
    fn trigger(&mut self, index: u32, sink: &mut impl VenueSink) {
        let order_ref = self.pool.get(index).order_ref;
        self.unlink(index);
        self.tell(sink, index, OrderEvent::Triggered { order_ref });
        let renewed = self.pool.next_ref();
        let order = self.pool.get_mut(index);
        order.terms.stop_price = None;
        order.display_ref = renewed.unwrap_or(order.display_ref);
        let Order { symbol, side, terms, open, .. } = *order;
        let bands = self.books[symbol.index()].bands;
        self.note_strike(symbol, side, (open, &terms));
        if terms.price.is_some_and(|price| rules::is_beyond(side, price, bands)) {
            return self.cancel_rest(index, CancelReason::MARKET_COLLARS, sink);
        }
        self.work(index, sink);
    }
}
