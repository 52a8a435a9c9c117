//! The matching engine: commands with time in, events out.

use peregrine_gateway::ouch50::{CancelReason, ORDER_QTY_MAX, RejectReason};
use peregrine_types::{OrderRef, Price, Side, Symbol, SymbolId};

use crate::config::{SymbolConfig, VenueConfig, VenueConfigError};
use crate::expiries::Expiries;
use crate::levels::Levels;
use crate::orders::{
    Auction, Bands, Command, Display, FirmId, Lifetime, NewOrder, OrderEvent, Terms, TimeOfDay, VenueSink,
};
use crate::pool::{List, NONE, Order, Place, Pool};
use crate::publish::{Publisher, Shown};
use crate::rules::{self, Circumstances, SymbolState};
use crate::schedule::{DaySchedule, Phase, Step};

/// One symbol apart from its price levels.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) pegs: [List; 2],
    pub(crate) stops: List,
    /// Orders of the opening and of the closing cross, by side.
    pub(crate) auctions: [[List; 2]; 2],
    pub(crate) state: SymbolState,
    pub(crate) bands: Option<Bands>,
    pub(crate) last_trade: Option<Price>,
    /// Trades of the day.
    pub(crate) trades: TradeSum,
    /// Price of the latest cross, `None` where nothing paired in it.
    pub(crate) last_cross: Option<Price>,
    /// Lowest and highest trade since the stop orders were looked at.
    pub(crate) range: Option<(Price, Price)>,
}

/// Prices of trades and how many there were, every trade alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TradeSum {
    /// Sum of the prices.
    pub(crate) price: i128,
    pub(crate) count: u64,
}

/// A displayed order, as followers of the feed know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplayedOrder {
    /// Its reference on the feed.
    pub display_ref: OrderRef,
    /// Its price.
    pub price: Price,
    /// Its displayed shares.
    pub shares: u32,
}

/// The exchange's matching engine. Every capacity is fixed by [`VenueConfig`]; the same commands at the same times give
/// the same events.
#[derive(Debug)]
pub struct Venue {
    pub(crate) symbols: Box<[SymbolConfig]>,
    /// Symbols by name.
    by_name: Box<[(Symbol, SymbolId)]>,
    pub(crate) firms: Box<[FirmId]>,
    pub(crate) schedule: DaySchedule,
    pub(crate) pool: Pool,
    pub(crate) levels: Levels,
    expiries: Expiries,
    pub(crate) books: Box<[Book]>,
    pub(crate) publisher: Publisher,
    pub(crate) now: TimeOfDay,
    phase: Phase,
    step_next: usize,
    pub(crate) match_last: u64,
    /// Where the latest order that the bands alone kept from a trade stood, and its side.
    pub(crate) struck: Option<(SymbolId, Side)>,
    /// Symbols whose books may have changed since somebody looked, where somebody does.
    pub(crate) touched: Option<Vec<SymbolId>>,
    /// Orders gathered for a sweep over all of them, or for the two sides of a cross.
    pub(crate) gathered: [Vec<u32>; 2],
    /// Prices at which a cross could be.
    pub(crate) prices: Vec<Price>,
}

impl Venue {
    /// A venue before its day.
    ///
    /// # Errors
    /// [`VenueConfigError`] for the first value that no venue can have.
    pub fn new(config: VenueConfig) -> Result<Self, VenueConfigError> {
        config.validate()?;
        let symbol_count = config.symbols.len();
        let book = Book {
            pegs: [List::EMPTY; 2],
            stops: List::EMPTY,
            auctions: [[List::EMPTY; 2]; 2],
            state: SymbolState::Trading,
            bands: None,
            last_trade: None,
            trades: TradeSum::default(),
            last_cross: None,
            range: None,
        };
        let names: Box<[Symbol]> = config.symbols.iter().map(|symbol| symbol.name).collect();
        let mut by_name: Vec<(Symbol, SymbolId)> = names.iter().copied().zip((0..).map(SymbolId)).collect();
        by_name.sort_unstable();
        let gathered = || Vec::with_capacity(config.order_count_max as usize);
        Ok(Self {
            pool: Pool::new(config.order_count_max, config.reference_count_max),
            levels: Levels::new(symbol_count, config.level_count_max, config.side_level_count_max),
            expiries: Expiries::new(config.order_count_max),
            books: vec![book; symbol_count].into_boxed_slice(),
            publisher: Publisher::new(names),
            now: TimeOfDay(0),
            phase: Phase::Closed,
            step_next: 0,
            match_last: 0,
            struck: None,
            touched: None,
            gathered: [gathered(), gathered()],
            prices: Vec::with_capacity(config.order_count_max as usize + 1),
            symbols: config.symbols.into_boxed_slice(),
            by_name: by_name.into_boxed_slice(),
            firms: config.firms.into_boxed_slice(),
            schedule: config.schedule,
        })
    }

    /// The part of the day.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a symbol trades, `None` for one that the venue does not have.
    #[must_use]
    pub fn symbol_state(&self, symbol: SymbolId) -> Option<SymbolState> {
        self.books.get(symbol.index()).map(|book| book.state)
    }

    /// The symbol of a name.
    #[must_use]
    pub fn symbol(&self, name: Symbol) -> Option<SymbolId> {
        let at = self.by_name.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        self.by_name.get(at).map(|(_, symbol)| *symbol)
    }

    /// When the next step of the day is due, `None` after the last.
    pub(crate) fn next_step(&self) -> Option<TimeOfDay> {
        Step::ALL.get(self.step_next).map(|step| self.schedule.time_of(*step))
    }

    /// The latest step of the day, `None` before the first.
    pub(crate) fn last_step(&self) -> Option<Step> {
        self.step_next.checked_sub(1).and_then(|at| Step::ALL.get(at)).copied()
    }

    /// How many executions there were, crosses included.
    #[must_use]
    pub const fn match_count(&self) -> u64 {
        self.match_last
    }

    /// How many orders are alive.
    #[must_use]
    pub const fn order_count(&self) -> u32 {
        self.pool.live_count()
    }

    /// Shares left of a live order, and shares of its chain that were executed or prevented.
    #[must_use]
    pub fn open_and_spent(&self, order_ref: OrderRef) -> Option<(u32, u32)> {
        self.pool.find(order_ref).map(|index| self.pool.get(index)).map(|order| (order.open, order.spent))
    }

    /// The displayed orders of one side, best price first, first in the queue first.
    pub fn displayed(&self, symbol: SymbolId, side: Side) -> impl Iterator<Item = DisplayedOrder> {
        let levels = (symbol.index() < self.books.len()).then(|| self.levels.best_first(symbol, side));
        levels.into_iter().flatten().flat_map(|level| {
            self.pool.iter(level.displayed).map(|(_, order)| DisplayedOrder {
                display_ref: order.display_ref,
                price: level.price,
                shares: order.displayed,
            })
        })
    }

    /// Lets time pass to `time` and carries out one command. A time before an earlier one counts as that one.
    pub fn apply(&mut self, time: TimeOfDay, command: &Command, sink: &mut impl VenueSink) {
        self.pass_time(time, sink);
        match *command {
            Command::Clock => {}
            Command::Enter(order) => self.enter(&order, sink),
            Command::Replace { order_ref, token, qty, terms } => self.replace(order_ref, token, (qty, terms), sink),
            Command::Cancel { order_ref, qty } => self.cancel(order_ref, qty, sink),
            Command::SetBands { symbol, bands } if self.has(symbol) => self.set_bands(symbol, bands, sink),
            Command::Halt { symbol, reason } if self.has(symbol) => {
                self.books[symbol.index()].state = SymbolState::Halted;
                self.publisher.trading_action(sink, symbol, b'H', reason);
            }
            Command::Pause { symbol, reason } if self.has(symbol) => {
                self.books[symbol.index()].state = SymbolState::QuotationOnly;
                self.publisher.trading_action(sink, symbol, b'P', reason);
            }
            Command::Quote { symbol } if self.has(symbol) => {
                self.books[symbol.index()].state = SymbolState::QuotationOnly;
                self.publisher.trading_action(sink, symbol, b'Q', *b"    ");
            }
            Command::Resume { symbol } if self.has(symbol) => self.resume(symbol, sink),
            Command::Imbalance { symbol } if self.has(symbol) => self.publish_imbalance(symbol, sink),
            Command::Collars { symbol, reference, collars } if self.has(symbol) => {
                self.publisher.collars(sink, symbol, reference, collars);
            }
            Command::Break { symbol, match_number } if self.has(symbol) => {
                self.publisher.broken(sink, symbol, match_number);
            }
            Command::SetBands { .. }
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

    const fn has(&self, symbol: SymbolId) -> bool {
        symbol.index() < self.books.len()
    }

    /// Tells the account of an order.
    pub(crate) fn tell(&self, sink: &mut impl VenueSink, index: u32, event: OrderEvent) {
        sink.on_order(self.now, self.pool.get(index).account, event);
    }

    /// Carries out what is due, each at its own time: ends of orders, then the step of the day.
    fn pass_time(&mut self, time: TimeOfDay, sink: &mut impl VenueSink) {
        loop {
            let step = Step::ALL.get(self.step_next).map(|step| (self.schedule.time_of(*step), *step));
            let step = step.filter(|(due, _)| *due <= time);
            let until = step.map_or(time, |(due, _)| due);
            if let Some(end) = self.next_expiry().filter(|end| *end <= until) {
                self.end_orders(end, sink);
            } else if let Some((due, step)) = step {
                self.take_step(due, step, sink);
            } else {
                break;
            }
        }
        self.set_time(time);
    }

    fn take_step(&mut self, due: TimeOfDay, step: Step, sink: &mut impl VenueSink) {
        self.step_next += 1;
        self.set_time(due);
        self.phase = step.phase();
        self.publisher.system(sink, step.event_code());
        match step {
            Step::StartMessages => self.announce(sink),
            Step::OpenMarket => self.auction(Auction::Opening, sink),
            Step::CloseMarket => {
                self.auction(Auction::Closing, sink);
                self.cancel_all(|order| order.terms.lifetime == Lifetime::Day, CancelReason::CLOSED, sink);
                self.symbol_ids().for_each(|symbol| self.settle(symbol, sink));
            }
            Step::EndSystem => self.cancel_all(|_| true, CancelReason::TIMEOUT, sink),
            Step::StartSystem | Step::EndMessages => {}
        }
    }

    /// When an order may end that lives until a time: none does before.
    pub(crate) fn next_expiry(&self) -> Option<TimeOfDay> {
        self.expiries.next_time()
    }

    /// Notes when an order ends that lives until a time.
    fn await_end(&mut self, index: u32) {
        let Order { order_ref, terms, .. } = *self.pool.get(index);
        if let Lifetime::Until(end) = terms.lifetime {
            let pool = &self.pool;
            self.expiries.push(end, order_ref, |order_ref| pool.find(order_ref).is_some());
        }
    }

    /// Cancels what is left of the orders that live until `end`, by symbol and reference.
    fn end_orders(&mut self, end: TimeOfDay, sink: &mut impl VenueSink) {
        self.set_time(end);
        let mut ended = core::mem::take(&mut self.gathered[0]);
        ended.clear();
        while let Some(order_ref) = self.expiries.take(end) {
            ended.extend(self.pool.find(order_ref));
        }
        ended.sort_unstable_by_key(|index| {
            let order = self.pool.get(*index);
            (order.symbol, order.order_ref)
        });
        for (at, index) in ended.iter().enumerate() {
            let symbol = self.pool.get(*index).symbol;
            self.cancel_rest(*index, CancelReason::TIMEOUT, sink);
            // Behind the last one of its symbol: what one symbol settles leaves the others' orders as they are.
            let next = ended.get(at + 1).map(|next| self.pool.get(*next).symbol);
            if next != Some(symbol) {
                self.settle(symbol, sink);
            }
        }
        self.gathered[0] = ended;
    }

    fn set_time(&mut self, time: TimeOfDay) {
        self.now = self.now.max(time);
        self.publisher.set_time(self.now);
    }

    /// The symbols of the feed: ids of the table, which is never longer than what they can number.
    pub(crate) fn symbol_ids(&self) -> impl Iterator<Item = SymbolId> + use<> {
        (0..u32::try_from(self.books.len()).unwrap_or(u32::MAX)).map(SymbolId)
    }

    fn announce(&mut self, sink: &mut impl VenueSink) {
        for symbol in self.symbol_ids() {
            let round_lot = self.symbols[symbol.index()].round_lot;
            self.publisher.directory(sink, symbol, round_lot);
            self.publisher.trading_action(sink, symbol, b'T', *b"    ");
        }
    }

    /// Cancels every order that `is_meant`, by symbol and reference.
    fn cancel_all(&mut self, is_meant: impl Fn(&Order) -> bool, reason: CancelReason, sink: &mut impl VenueSink) {
        let mut meant = core::mem::take(&mut self.gathered[0]);
        meant.clear();
        let slots = 0..self.pool.high_water();
        meant.extend(slots.filter(|index| {
            let order = self.pool.get(*index);
            order.place != Place::Free && is_meant(order)
        }));
        meant.sort_unstable_by_key(|index| {
            let order = self.pool.get(*index);
            (order.symbol, order.order_ref)
        });
        for index in &meant {
            self.cancel_rest(*index, reason, sink);
        }
        self.gathered[0] = meant;
    }

    fn circumstances(&self, symbol: SymbolId) -> Circumstances<'_> {
        let book = &self.books[symbol.index()];
        let ticks = &self.symbols[symbol.index()].ticks;
        Circumstances { ticks, bands: book.bands, state: book.state, phase: self.phase, now: self.now }
    }

    fn enter(&mut self, new: &NewOrder, sink: &mut impl VenueSink) {
        let NewOrder { account, token, symbol, side, qty, terms } = *new;
        if account.0 as usize >= self.firms.len() {
            return sink.on_order(self.now, account, rejected(token, RejectReason::FIRM_NOT_AUTHORIZED));
        }
        if !self.has(symbol) {
            return sink.on_order(self.now, account, rejected(token, RejectReason::SYMBOL));
        }
        if let Err(reason) = rules::check(qty, side, &terms, &self.circumstances(symbol)) {
            if reason == RejectReason::PRICE {
                self.note_strike(symbol, side, (qty, &terms));
            }
            return sink.on_order(self.now, account, rejected(token, reason));
        }
        let Some(index) = self.pool.insert(Order::arriving(account, symbol, side, qty, terms)) else {
            return sink.on_order(self.now, account, rejected(token, RejectReason::PROCESSING_ERROR));
        };
        let order_ref = self.pool.get(index).order_ref;
        self.tell(sink, index, OrderEvent::Accepted { token, order_ref });
        self.await_end(index);
        self.work(index, sink);
        self.settle(symbol, sink);
    }

    fn replace(&mut self, order_ref: OrderRef, token: u64, (qty, terms): (u32, Terms), sink: &mut impl VenueSink) {
        let Some(index) = self.pool.find(order_ref) else { return };
        let old = *self.pool.get(index);
        let symbol = old.symbol;
        if self.is_late(&old) {
            return self.tell(sink, index, rejected(token, RejectReason::REPLACE_NOT_ALLOWED));
        }
        if self.books[symbol.index()].state == SymbolState::Halted {
            return self.tell(sink, index, rejected(token, RejectReason::HALTED));
        }
        let open = qty.saturating_sub(old.spent);
        let is_possible = open > 0
            && qty <= ORDER_QTY_MAX
            && rules::check(open, old.side, &terms, &self.circumstances(symbol)).is_ok();
        if !is_possible {
            self.note_strike(symbol, old.side, (open, &terms));
            self.cancel_rest(index, CancelReason::USER, sink);
            return self.settle(symbol, sink);
        }
        let Some(order_ref) = self.pool.rename(index) else {
            return self.tell(sink, index, rejected(token, RejectReason::PROCESSING_ERROR));
        };
        if old.place == Place::Displayed {
            self.publisher.hold_delete(symbol, old.display_ref);
        }
        self.unlink(index);
        let order = self.pool.get_mut(index);
        (order.terms, order.open, order.displayed) = (terms, open, 0);
        (order.is_cancel_pending, order.is_cancel_rejected) = (false, false);
        self.tell(sink, index, OrderEvent::Replaced { old_ref: old.order_ref, token, order_ref, open });
        self.await_end(index);
        self.work(index, sink);
        self.settle(symbol, sink);
    }

    /// Whether the order belongs to a cross that is being prepared.
    fn is_late(&self, order: &Order) -> bool {
        match order.terms.auction {
            Auction::None => false,
            Auction::Opening => self.schedule.is_late_for(Step::OpenMarket, self.now),
            Auction::Closing => self.schedule.is_late_for(Step::CloseMarket, self.now),
        }
    }

    fn cancel(&mut self, order_ref: OrderRef, qty: u32, sink: &mut impl VenueSink) {
        let Some(index) = self.pool.find(order_ref) else { return };
        let order = *self.pool.get(index);
        let open = qty.saturating_sub(order.spent);
        if open >= order.open {
            return;
        }
        if self.is_late(&order) {
            return self.cancel_late(index, open == 0, sink);
        }
        if open == 0 {
            self.cancel_rest(index, CancelReason::USER, sink);
        } else {
            let qty = order.open - open;
            self.tell(sink, index, OrderEvent::Canceled { order_ref, qty, reason: CancelReason::USER });
            let displayed = order.displayed.min(open);
            if displayed < order.displayed {
                let taken = order.displayed - displayed;
                self.publisher.reduce(sink, self.shown(index, taken), order.displayed);
            }
            let order = self.pool.get_mut(index);
            (order.open, order.displayed) = (open, displayed);
        }
        self.settle(order.symbol, sink);
    }

    /// Each answer is given once for an order; what is asked again is ignored (OUCH 5.0, Cancel Pending and Reject).
    fn cancel_late(&mut self, index: u32, is_full: bool, sink: &mut impl VenueSink) {
        let order = self.pool.get_mut(index);
        let order_ref = order.order_ref;
        let flag = if is_full { &mut order.is_cancel_pending } else { &mut order.is_cancel_rejected };
        if core::mem::replace(flag, true) {
            return;
        }
        let event =
            if is_full { OrderEvent::CancelPending { order_ref } } else { OrderEvent::CancelRejected { order_ref } };
        self.tell(sink, index, event);
    }

    fn set_bands(&mut self, symbol: SymbolId, bands: Option<Bands>, sink: &mut impl VenueSink) {
        self.books[symbol.index()].bands = bands;
        let is_beyond = |order: &Order| {
            order.symbol == symbol && order.terms.price.is_some_and(|price| rules::is_beyond(order.side, price, bands))
        };
        self.cancel_all(is_beyond, CancelReason::REGULATORY, sink);
        self.settle(symbol, sink);
    }

    /// The order as the feed shows it, with these shares.
    pub(crate) fn shown(&self, index: u32, shares: u32) -> Shown {
        let order = self.pool.get(index);
        let price = if order.level == NONE { Price(0) } else { self.levels.get(order.level).price };
        Shown { symbol: order.symbol, side: order.side, display_ref: order.display_ref, price, shares }
    }

    /// Cancels what is left of an order.
    pub(crate) fn cancel_rest(&mut self, index: u32, reason: CancelReason, sink: &mut impl VenueSink) {
        let Order { order_ref, open: qty, .. } = *self.pool.get(index);
        self.tell(sink, index, OrderEvent::Canceled { order_ref, qty, reason });
        self.drop_order(index, sink);
    }

    /// Takes an order out of the venue, and off the feed.
    pub(crate) fn drop_order(&mut self, index: u32, sink: &mut impl VenueSink) {
        let order = self.pool.get(index);
        if order.place == Place::Displayed {
            self.publisher.delete(sink, order.symbol, order.display_ref);
        }
        self.unlink(index);
        self.pool.remove(index);
    }

    /// Takes an order out of its list; it is arriving then.
    pub(crate) fn unlink(&mut self, index: u32) {
        let Order { place, symbol, side, level, terms, .. } = *self.pool.get(index);
        let book = &mut self.books[symbol.index()];
        match place {
            Place::Free | Place::Arriving => {}
            Place::Displayed => self.pool.unlink(&mut self.levels.get_mut(level).displayed, index),
            Place::Hidden => self.pool.unlink(&mut self.levels.get_mut(level).hidden, index),
            Place::Peg => self.pool.unlink(&mut book.pegs[side.index()], index),
            Place::Stop => self.pool.unlink(&mut book.stops, index),
            Place::Auction => {
                self.pool.unlink(&mut book.auctions[auction_index(terms.auction)][side.index()], index);
            }
        }
        if level != NONE {
            self.levels.remove_if_empty(symbol, side, level);
        }
        let order = self.pool.get_mut(index);
        (order.place, order.level) = (Place::Arriving, NONE);
    }

    /// Puts an arriving order where it waits. One whose level has no room is cancelled.
    pub(crate) fn rest(&mut self, index: u32, sink: &mut impl VenueSink) {
        let Order { symbol, side, terms, .. } = *self.pool.get(index);
        let book = &mut self.books[symbol.index()];
        let place = if terms.stop_price.is_some() {
            self.pool.push_back(&mut book.stops, index);
            Place::Stop
        } else if terms.auction != Auction::None {
            self.pool.push_back(&mut book.auctions[auction_index(terms.auction)][side.index()], index);
            Place::Auction
        } else if terms.is_midpoint_peg {
            self.pool.push_back(&mut book.pegs[side.index()], index);
            Place::Peg
        } else {
            return self.join_level(index, sink);
        };
        self.pool.get_mut(index).place = place;
    }

    fn join_level(&mut self, index: u32, sink: &mut impl VenueSink) {
        let Order { symbol, side, terms, open, .. } = *self.pool.get(index);
        let level = terms.price.and_then(|price| self.levels.insert(symbol, side, price));
        let Some(level) = level else { return self.cancel_rest(index, CancelReason::SYSTEM, sink) };
        let displayed = match terms.display {
            Display::Hidden => {
                self.pool.push_back(&mut self.levels.get_mut(level).hidden, index);
                let order = self.pool.get_mut(index);
                (order.place, order.level) = (Place::Hidden, level);
                return;
            }
            Display::Displayed => open,
            Display::Iceberg { floor } => floor.min(open),
        };
        self.pool.push_back(&mut self.levels.get_mut(level).displayed, index);
        let order = self.pool.get_mut(index);
        (order.place, order.level, order.displayed) = (Place::Displayed, level, displayed);
        self.publisher.add(sink, self.shown(index, displayed));
    }
}

pub(crate) const fn auction_index(auction: Auction) -> usize {
    match auction {
        Auction::None | Auction::Opening => 0,
        Auction::Closing => 1,
    }
}

const fn rejected(token: u64, reason: RejectReason) -> OrderEvent {
    OrderEvent::Rejected { token, reason }
}
