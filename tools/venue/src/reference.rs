//! The definition, written for the eye: one list of orders, every question answered by looking at all of them. The
//! tests hold [`crate::Venue`] against it; nothing else uses it. It shares with the venue what is no matching: which
//! orders are taken ([`crate::rules`]) and how a message of the feed is built.

mod cross;
mod day;

use peregrine_gateway::ouch50::{CancelReason, ORDER_QTY_MAX, RejectReason};
use peregrine_types::{OrderRef, Price, Side, SymbolId};

use crate::config::VenueConfig;
use crate::orders::{
    AccountId, Auction, Bands, Command, Display, Lifetime, NewOrder, OrderEvent, SelfTrade, Terms, TimeOfDay, VenueSink,
};
use crate::publish::{Publisher, Shown};
use crate::rules::{self, Circumstances, SymbolState, reaches};
use crate::schedule::{Phase, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    account: AccountId,
    order_ref: OrderRef,
    display_ref: OrderRef,
    symbol: SymbolId,
    side: Side,
    terms: Terms,
    open: u32,
    displayed: u32,
    spent: u32,
    is_cancel_pending: bool,
    is_cancel_rejected: bool,
}

#[derive(Clone, Debug, Default)]
struct Market {
    state: SymbolState,
    bands: Option<Bands>,
    last_trade: Option<Price>,
    trades: Vec<Price>,
}

/// The slow, obvious exchange.
#[derive(Debug)]
pub struct ReferenceVenue {
    config: VenueConfig,
    resting: Vec<Order>,
    markets: Vec<Market>,
    publisher: Publisher,
    now: TimeOfDay,
    phase: Phase,
    steps_done: usize,
    ref_last: u64,
    match_last: u64,
}

impl Order {
    const fn is_asleep(&self) -> bool {
        self.terms.stop_price.is_some() || !matches!(self.terms.auction, Auction::None)
    }

    /// The price at which a resting order would trade; `None` while it cannot.
    fn price_at(&self, mid: Option<Price>) -> Option<Price> {
        if self.is_asleep() {
            None
        } else if self.terms.is_midpoint_peg {
            mid.map(|mid| rules::pegged(self.side, self.terms.price, mid))
        } else {
            self.terms.price
        }
    }

    const fn available(&self) -> u32 {
        if self.displayed > 0 { self.displayed } else { self.open }
    }
}

impl ReferenceVenue {
    /// An exchange before its day. Its capacities have no bounds.
    #[must_use]
    pub fn new(config: VenueConfig) -> Self {
        Self {
            resting: Vec::new(),
            markets: vec![Market::default(); config.symbols.len()],
            publisher: Publisher::new(config.symbols.iter().map(|symbol| symbol.name).collect()),
            now: TimeOfDay(0),
            phase: Phase::Closed,
            steps_done: 0,
            ref_last: 0,
            match_last: 0,
            config,
        }
    }

    /// As [`crate::Venue::apply`].
    pub fn apply(&mut self, time: TimeOfDay, command: &Command, sink: &mut impl VenueSink) {
        self.pass_time(time, sink);
        let known = |symbol: SymbolId| symbol.index() < self.markets.len();
        match *command {
            Command::Enter(order) => self.enter(&order, sink),
            Command::Replace { order_ref, token, qty, terms } => self.replace(order_ref, token, (qty, terms), sink),
            Command::Cancel { order_ref, qty } => self.cancel(order_ref, qty, sink),
            Command::SetBands { symbol, bands } if known(symbol) => {
                self.markets[symbol.index()].bands = bands;
                let is_beyond = |order: &Order| {
                    order.symbol == symbol
                        && order.terms.price.is_some_and(|price| rules::is_beyond(order.side, price, bands))
                };
                self.cancel_all(is_beyond, CancelReason::REGULATORY, sink);
                self.settle(symbol, sink);
            }
            Command::Halt { symbol, reason } if known(symbol) => {
                self.markets[symbol.index()].state = SymbolState::Halted;
                self.publisher.trading_action(sink, symbol, b'H', reason);
            }
            Command::Pause { symbol, reason } if known(symbol) => {
                self.markets[symbol.index()].state = SymbolState::QuotationOnly;
                self.publisher.trading_action(sink, symbol, b'P', reason);
            }
            Command::Quote { symbol } if known(symbol) => {
                self.markets[symbol.index()].state = SymbolState::QuotationOnly;
                self.publisher.trading_action(sink, symbol, b'Q', *b"    ");
            }
            Command::Resume { symbol }
                if known(symbol) && self.markets[symbol.index()].state != SymbolState::Trading =>
            {
                self.cross(symbol, Auction::None, sink);
                self.markets[symbol.index()].state = SymbolState::Trading;
                self.publisher.trading_action(sink, symbol, b'T', *b"    ");
                self.settle(symbol, sink);
            }
            Command::Break { symbol, match_number } if known(symbol) => {
                self.publisher.broken(sink, symbol, match_number);
            }
            Command::Collars { symbol, reference, collars } if known(symbol) => {
                self.publisher.collars(sink, symbol, reference, collars);
            }
            // The imbalance has its own test.
            Command::Clock
            | Command::SetBands { .. }
            | Command::Halt { .. }
            | Command::Pause { .. }
            | Command::Quote { .. }
            | Command::Resume { .. }
            | Command::Imbalance { .. }
            | Command::Collars { .. }
            | Command::Break { .. } => {}
        }
        self.publisher.flush(sink);
    }

    fn set_time(&mut self, time: TimeOfDay) {
        self.now = self.now.max(time);
        self.publisher.set_time(self.now);
    }

    fn symbols(&self) -> Vec<SymbolId> {
        (0..u32::try_from(self.markets.len()).unwrap_or(u32::MAX)).map(SymbolId).collect()
    }

    const fn next_ref(&mut self) -> OrderRef {
        self.ref_last += 1;
        OrderRef(self.ref_last)
    }

    fn tell(&self, sink: &mut impl VenueSink, order: &Order, event: OrderEvent) {
        sink.on_order(self.now, order.account, event);
    }

    fn enter(&mut self, new: &NewOrder, sink: &mut impl VenueSink) {
        let NewOrder { account, token, symbol, side, qty, terms } = *new;
        let verdict = if account.0 as usize >= self.config.firms.len() {
            Err(RejectReason::FIRM_NOT_AUTHORIZED)
        } else if symbol.index() >= self.markets.len() {
            Err(RejectReason::SYMBOL)
        } else {
            self.check(symbol, qty, side, &terms)
        };
        if let Err(reason) = verdict {
            return sink.on_order(self.now, account, OrderEvent::Rejected { token, reason });
        }
        let order_ref = self.next_ref();
        let order = Order {
            account,
            order_ref,
            display_ref: order_ref,
            symbol,
            side,
            terms,
            open: qty,
            displayed: 0,
            spent: 0,
            is_cancel_pending: false,
            is_cancel_rejected: false,
        };
        self.tell(sink, &order, OrderEvent::Accepted { token, order_ref });
        self.arrive(order, sink);
        self.settle(symbol, sink);
    }

    fn check(&self, symbol: SymbolId, qty: u32, side: Side, terms: &Terms) -> Result<(), RejectReason> {
        let market = &self.markets[symbol.index()];
        let ticks = &self.config.symbols[symbol.index()].ticks;
        let at = Circumstances { ticks, bands: market.bands, state: market.state, phase: self.phase, now: self.now };
        rules::check(qty, side, terms, &at)
    }

    fn take_out(&mut self, order_ref: OrderRef) -> Option<Order> {
        let at = self.resting.iter().position(|order| order.order_ref == order_ref)?;
        Some(self.resting.remove(at))
    }

    fn replace(&mut self, order_ref: OrderRef, token: u64, (qty, terms): (u32, Terms), sink: &mut impl VenueSink) {
        let Some(old) = self.resting.iter().find(|order| order.order_ref == order_ref).copied() else { return };
        let symbol = old.symbol;
        let refusal = if self.is_late(&old) {
            Some(RejectReason::REPLACE_NOT_ALLOWED)
        } else if self.markets[symbol.index()].state == SymbolState::Halted {
            Some(RejectReason::HALTED)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.tell(sink, &old, OrderEvent::Rejected { token, reason });
        }
        let open = qty.saturating_sub(old.spent);
        if open == 0 || qty > ORDER_QTY_MAX || self.check(symbol, open, old.side, &terms).is_err() {
            self.cancel_rest(&old, CancelReason::USER, sink);
            return self.settle(symbol, sink);
        }
        self.take_out(order_ref);
        if old.displayed > 0 {
            self.publisher.hold_delete(symbol, old.display_ref);
        }
        let new_ref = self.next_ref();
        let (is_cancel_pending, is_cancel_rejected) = (false, false);
        let flags = Order { is_cancel_pending, is_cancel_rejected, ..old };
        let order = Order { order_ref: new_ref, display_ref: new_ref, terms, open, displayed: 0, ..flags };
        self.tell(sink, &order, OrderEvent::Replaced { old_ref: order_ref, token, order_ref: new_ref, open });
        self.arrive(order, sink);
        self.settle(symbol, sink);
    }

    fn is_late(&self, order: &Order) -> bool {
        let step = match order.terms.auction {
            Auction::None => return false,
            Auction::Opening => Step::OpenMarket,
            Auction::Closing => Step::CloseMarket,
        };
        self.config.schedule.is_late_for(step, self.now)
    }

    fn cancel(&mut self, order_ref: OrderRef, qty: u32, sink: &mut impl VenueSink) {
        let Some(at) = self.resting.iter().position(|order| order.order_ref == order_ref) else { return };
        let order = self.resting[at];
        let open = qty.saturating_sub(order.spent);
        if open >= order.open {
            return;
        }
        if self.is_late(&order) {
            let order = &mut self.resting[at];
            let (flag, event) = if open == 0 {
                (&mut order.is_cancel_pending, OrderEvent::CancelPending { order_ref })
            } else {
                (&mut order.is_cancel_rejected, OrderEvent::CancelRejected { order_ref })
            };
            if !*flag {
                *flag = true;
                sink.on_order(self.now, order.account, event);
            }
            return;
        }
        if open == 0 {
            self.cancel_rest(&order, CancelReason::USER, sink);
        } else {
            let qty = order.open - open;
            self.tell(sink, &order, OrderEvent::Canceled { order_ref, qty, reason: CancelReason::USER });
            let displayed = order.displayed.min(open);
            if displayed < order.displayed {
                self.publisher.reduce(sink, shown(&order, order.displayed - displayed), order.displayed);
            }
            self.resting[at] = Order { open, displayed, ..order };
        }
        self.settle(order.symbol, sink);
    }

    fn cancel_rest(&mut self, order: &Order, reason: CancelReason, sink: &mut impl VenueSink) {
        let Order { order_ref, open: qty, .. } = *order;
        self.tell(sink, order, OrderEvent::Canceled { order_ref, qty, reason });
        self.drop_resting(order, sink);
    }

    fn drop_resting(&mut self, order: &Order, sink: &mut impl VenueSink) {
        if order.displayed > 0 {
            self.publisher.delete(sink, order.symbol, order.display_ref);
        }
        self.take_out(order.order_ref);
    }

    fn cancel_all(&mut self, is_meant: impl Fn(&Order) -> bool, reason: CancelReason, sink: &mut impl VenueSink) {
        let mut meant: Vec<Order> = self.resting.iter().filter(|order| is_meant(order)).copied().collect();
        meant.sort_by_key(|order| (order.symbol, order.order_ref));
        for order in meant {
            self.cancel_rest(&order, reason, sink);
        }
    }

    fn best_displayed(&self, symbol: SymbolId, side: Side) -> Option<Price> {
        let shown =
            self.resting.iter().filter(|order| order.symbol == symbol && order.side == side && order.displayed > 0);
        let prices = shown.filter_map(|order| order.terms.price);
        match side {
            Side::Buy => prices.max(),
            Side::Sell => prices.min(),
        }
    }

    fn midpoint(&self, symbol: SymbolId) -> Option<Price> {
        let market = &self.markets[symbol.index()];
        let (bid, ask) = (self.best_displayed(symbol, Side::Buy), self.best_displayed(symbol, Side::Sell));
        if market.state == SymbolState::Trading { rules::midpoint(bid, ask, market.bands) } else { None }
    }

    /// Best price first; at one price displayed ones first; then the oldest.
    fn candidate(&self, symbol: SymbolId, side: Side, mid: Option<Price>) -> Option<(Order, Price)> {
        let on_side = self.resting.iter().filter(|order| order.symbol == symbol && order.side == side);
        let priced = on_side.filter_map(|order| order.price_at(mid).map(|price| (*order, price)));
        priced.min_by_key(|(order, price)| {
            let distance = if side == Side::Buy { -price.0 } else { price.0 };
            (distance, order.displayed == 0, order.display_ref)
        })
    }

    fn is_prevented(&self, arriving: &Order, resting: &Order) -> bool {
        let firm = |order: &Order| self.config.firms[order.account.0 as usize];
        arriving.terms.self_trade != SelfTrade::Allow && firm(arriving) == firm(resting)
    }

    fn arrive(&mut self, mut order: Order, sink: &mut impl VenueSink) {
        let (symbol, side, contra) = (order.symbol, order.side, order.side.opposite());
        if order.is_asleep() || self.markets[symbol.index()].state != SymbolState::Trading {
            return self.rest(order, sink);
        }
        let mid = self.midpoint(symbol);
        let bands = self.markets[symbol.index()].bands;
        let limit = if order.terms.is_midpoint_peg {
            mid.map(|mid| rules::pegged(order.side, order.terms.price, mid))
        } else if order.terms.price.is_some() {
            order.terms.price
        } else {
            bands.map(|bands| if order.side == Side::Buy { bands.upper } else { bands.lower })
        };
        let can_trade = !order.terms.is_midpoint_peg || mid.is_some();
        let meets = |venue: &Self| {
            venue.candidate(symbol, contra, mid).filter(|(_, price)| can_trade && reaches(side, limit, *price))
        };
        if order.terms.is_post_only && meets(self).is_some() {
            return self.cancel_rest(&order, CancelReason::POST_ONLY_CONTRA, sink);
        }
        if order.terms.lifetime == Lifetime::FillOrKill && can_trade && !self.is_fillable(&order, limit, mid) {
            return self.cancel_rest(&order, CancelReason::IMMEDIATE, sink);
        }
        while let Some((resting, price)) = meets(self) {
            if !self.meet(&mut order, resting, price, sink) {
                return;
            }
        }
        if order.terms.is_immediate() {
            let is_banded = !order.terms.is_midpoint_peg
                && order.terms.price.is_none()
                && bands.is_some()
                && self.candidate(symbol, contra, mid).is_some();
            let reason = if is_banded { CancelReason::MARKET_COLLARS } else { CancelReason::IMMEDIATE };
            return self.cancel_rest(&order, reason, sink);
        }
        self.rest(order, sink);
    }

    fn is_fillable(&self, order: &Order, limit: Option<Price>, mid: Option<Price>) -> bool {
        let within: Vec<&Order> = self
            .resting
            .iter()
            .filter(|other| other.symbol == order.symbol && other.side != order.side)
            .filter(|other| other.price_at(mid).is_some_and(|price| reaches(order.side, limit, price)))
            .collect();
        let (own, others): (Vec<&Order>, Vec<&Order>) =
            within.into_iter().partition(|other| self.is_prevented(order, other));
        let sum: u64 = others.iter().map(|other| u64::from(other.open)).sum();
        (own.is_empty() || order.terms.self_trade == SelfTrade::CancelOldest) && sum >= u64::from(order.open)
    }

    /// One step of an arriving order against the order that is next. Returns whether anything is left of it.
    fn meet(&mut self, order: &mut Order, resting: Order, price: Price, sink: &mut impl VenueSink) -> bool {
        let qty = order.open.min(resting.available());
        if !self.is_prevented(order, &resting) {
            self.trade(order, resting, price, sink);
            return order.open > 0;
        }
        let event = |of: &Order, taken, is_remover| OrderEvent::Prevented {
            order_ref: of.order_ref,
            qty: taken,
            prevented_qty: qty,
            price,
            is_remover,
        };
        match order.terms.self_trade {
            SelfTrade::Allow => true,
            SelfTrade::CancelNewest => {
                self.tell(sink, order, event(order, order.open, true));
                false
            }
            SelfTrade::CancelOldest => {
                self.tell(sink, &resting, event(&resting, resting.open, false));
                self.drop_resting(&resting, sink);
                true
            }
            SelfTrade::DecrementBoth => {
                self.tell(sink, &resting, event(&resting, qty, false));
                self.tell(sink, order, event(order, qty, true));
                if resting.displayed > 0 {
                    self.publisher.reduce(sink, shown(&resting, qty), resting.displayed);
                }
                order.open -= qty;
                order.spent += qty;
                self.consume(&resting, qty, sink);
                order.open > 0
            }
        }
    }

    fn trade(&mut self, order: &mut Order, resting: Order, price: Price, sink: &mut impl VenueSink) {
        let qty = order.open.min(resting.available());
        self.match_last += 1;
        let match_number = self.match_last;
        let print = Shown { price, ..shown(&resting, qty) };
        if resting.displayed > 0 {
            self.publisher.executed(sink, print, match_number);
        } else {
            self.publisher.hidden_trade(sink, print, match_number);
        }
        let (added, removed) = if resting.displayed > 0 {
            (b'A', b'R')
        } else if resting.terms.is_midpoint_peg {
            (b'k', b'm')
        } else {
            (b'J', b'R')
        };
        for (of, liquidity) in [(&resting, added), (&*order, removed)] {
            let order_ref = of.order_ref;
            self.tell(sink, of, OrderEvent::Executed { order_ref, qty, price, liquidity, match_number });
        }
        self.note_trade(order.symbol, price);
        order.open -= qty;
        order.spent += qty;
        self.consume(&resting, qty, sink);
    }

    fn note_trade(&mut self, symbol: SymbolId, price: Price) {
        let market = &mut self.markets[symbol.index()];
        market.last_trade = Some(price);
        market.trades.push(price);
    }

    fn consume(&mut self, resting: &Order, qty: u32, sink: &mut impl VenueSink) {
        let Some(at) = self.resting.iter().position(|order| order.order_ref == resting.order_ref) else { return };
        let was_displayed = self.resting[at].displayed > 0;
        let order = &mut self.resting[at];
        order.open -= qty;
        order.spent += qty;
        order.displayed -= if was_displayed { qty } else { 0 };
        if order.open == 0 {
            self.resting.remove(at);
        } else if was_displayed && order.displayed == 0 {
            self.ref_last += 1;
            let order = &mut self.resting[at];
            order.display_ref = OrderRef(self.ref_last);
            order.displayed = displayed(order);
            let order = *order;
            self.publisher.add(sink, shown(&order, order.displayed));
            let (order_ref, display_ref, displayed) = (order.order_ref, order.display_ref, order.displayed);
            self.tell(sink, &order, OrderEvent::Restated { order_ref, display_ref, displayed });
        }
    }

    fn rest(&mut self, mut order: Order, sink: &mut impl VenueSink) {
        if !order.is_asleep() && !order.terms.is_midpoint_peg {
            order.displayed = displayed(&order);
        }
        self.resting.push(order);
        if order.displayed > 0 {
            self.publisher.add(sink, shown(&order, order.displayed));
        }
    }

    fn settle(&mut self, symbol: SymbolId, sink: &mut impl VenueSink) {
        if self.markets[symbol.index()].state != SymbolState::Trading {
            return;
        }
        self.settle_pegs(symbol, sink);
        while let Some(mut order) = self.first_triggered(symbol) {
            self.publisher.flush(sink);
            self.take_out(order.order_ref);
            self.tell(sink, &order, OrderEvent::Triggered { order_ref: order.order_ref });
            order.terms.stop_price = None;
            order.display_ref = self.next_ref();
            let bands = self.markets[symbol.index()].bands;
            if order.terms.price.is_some_and(|price| rules::is_beyond(order.side, price, bands)) {
                self.cancel_rest(&order, CancelReason::MARKET_COLLARS, sink);
            } else {
                self.arrive(order, sink);
            }
            self.settle_pegs(symbol, sink);
        }
        self.markets[symbol.index()].trades.clear();
    }

    fn settle_pegs(&mut self, symbol: SymbolId, sink: &mut impl VenueSink) {
        let Some(mid) = self.midpoint(symbol) else { return };
        let pegs = self.resting.iter().filter(|order| order.symbol == symbol && order.terms.is_midpoint_peg);
        let mut refs: Vec<OrderRef> = pegs.map(|order| order.order_ref).collect();
        refs.sort_unstable();
        for order_ref in refs {
            let Some(mut order) = self.resting.iter().find(|order| order.order_ref == order_ref).copied() else {
                continue;
            };
            let side = order.side;
            let limit = rules::pegged(side, order.terms.price, mid);
            let meets = |venue: &Self| {
                let contra = venue.candidate(symbol, side.opposite(), Some(mid));
                contra.filter(|(_, price)| reaches(side, Some(limit), *price))
            };
            let mut is_left = true;
            while let Some((resting, price)) = meets(self).filter(|_| is_left) {
                self.take_out(order_ref);
                is_left = self.meet(&mut order, resting, price, sink);
                if is_left {
                    self.resting.push(order);
                }
            }
        }
    }

    fn first_triggered(&self, symbol: SymbolId) -> Option<Order> {
        let market = &self.markets[symbol.index()];
        let is_reached = |order: &&Order| {
            let stop = order.terms.stop_price;
            let trades = market.trades.iter().chain(&market.last_trade);
            order.symbol == symbol
                && stop.is_some_and(|stop| {
                    trades.into_iter().any(|trade| reaches(order.side.opposite(), Some(stop), *trade))
                })
        };
        self.resting.iter().filter(is_reached).min_by_key(|order| order.order_ref).copied()
    }
}

fn shown(order: &Order, shares: u32) -> Shown {
    let Order { symbol, side, display_ref, terms, .. } = *order;
    Shown { symbol, side, display_ref, price: terms.price.unwrap_or_default(), shares }
}

fn displayed(order: &Order) -> u32 {
    match order.terms.display {
        Display::Displayed => order.open,
        Display::Hidden => 0,
        Display::Iceberg { floor } => floor.min(order.open),
    }
}
