//! The paper venue: own orders against the market that the feed shows.
//!
//! A stage that sees the same market events as the decide role. For every event the wiring calls, in this order,
//! [`PaperVenue::next_arrived`] and [`PaperVenue::process`] (own orders and cancels that have arrived by the event's time
//! meet the book as it was), then applies the event to the book, then [`PaperVenue::on_market`] with what it did to the book (resting orders
//! of ours move up in their queues or are filled).
//!
//! What it honours: latency both ways, queue position order by order, own orders in one queue, liquidity taken once
//! (shares that an own order took stay taken until the real market takes or withdraws them), post-only and
//! immediate-or-cancel, price steps, halts (new orders are rejected, resting ones are not filled, cancels work), the end
//! of market hours. What it leaves out: the
//! market does not react to our orders, and own orders take no part in auctions.
//!
//! Time is `recv_time`, the clock of the input; the way to the venue, constant, modeled or recorded, therefore includes the
//! way of the feed.

mod arrivals;
mod fill;
mod latency;
mod modeled;
mod orders;
mod recorded;
mod replace;
mod taken;

use peregrine_book::{BookAction, BookUpdate, MarketBooks};
use peregrine_risk::ApprovedOrder;
use peregrine_types::{
    BookState, EpochNanos, EventKind, Execution, ExecutionKind, Full, Level, Liquidity, MarketEvent, MatchNumber,
    Nanos, NewOrder, Notional, OrderCommand, OrderId, Price, Qty, ReasonCode, ReportKind, Side, Sink, SymbolId,
    TickTables, TimeInForce,
};

pub use arrivals::Arrival;
use arrivals::Arrivals;
pub use fill::{FifoQueue, FillModel, Market, OwnOrder, TradeThrough};
pub use latency::{ConstantLatency, LatencyModel, RequestKind, VenueLatency};
pub use modeled::{Burst, KindWays, ModeledLatency, Quantiles, Spread};
use orders::{Orders, Resting, SlotIndex};
pub use recorded::{RecordedLatency, Recording, RecordingError};
use taken::Taken;

/// Levels that one marketable order may walk through.
const TAKE_LEVELS_MAX: usize = 32;

/// Reports that one message of ours can cause at once: the acceptance, a fill on every level, the end of the rest.
pub const REPORTS_PER_ORDER_MAX: usize = TAKE_LEVELS_MAX + 2;

/// Fees per share, in price units (10⁻⁹ of the currency); negative is a rebate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// For a fill that adds liquidity.
    pub added: Price,
    /// For a fill that removes liquidity.
    pub removed: Price,
}

/// Capacities, fees and price steps; every capacity at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaperConfig {
    /// Symbols of the session.
    pub symbol_count_max: usize,
    /// Own orders alive at once, and messages on their way at once.
    pub order_count_max: usize,
    /// Fees.
    pub fees: Fees,
    /// The price steps of every instrument.
    pub ticks: TickTables,
}

/// Why a paper venue cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaperConfigError {
    /// A capacity is zero or does not fit in 32 bits.
    #[error("{key} = {value} is outside 1..=4294967294")]
    Capacity {
        /// Which one.
        key: &'static str,
        /// Its value.
        value: usize,
    },
    /// A latency below 1 ns: a report would come before its cause.
    #[error("the latency {key} is {}, at least 1 ns is needed", value)]
    Latency {
        /// Which one.
        key: &'static str,
        /// Its value.
        value: Nanos,
    },
}

/// What the venue did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaperCounters {
    /// New orders that arrived.
    pub orders: u64,
    /// Orders, and replacements, that were rejected.
    pub rejected: u64,
    /// Orders that were replaced.
    pub replaced: u64,
    /// Fills that added liquidity.
    pub fills_added: u64,
    /// Fills that removed liquidity.
    pub fills_removed: u64,
    /// Orders whose rest was cancelled.
    pub canceled: u64,
    /// Cancels that found no open order.
    pub cancels_rejected: u64,
    /// Executions that the sink refused. The wiring must take every one: above zero the run is void.
    pub undelivered: u64,
}

/// The paper venue; see the module's text.
#[derive(Debug)]
pub struct PaperVenue<F, L> {
    fill_model: F,
    latency: L,
    fees: Fees,
    ticks: TickTables,
    arrivals: Arrivals,
    orders: Orders,
    taken: Taken,
    next_match: u64,
    last_visible: EpochNanos,
    is_open: bool,
    counters: PaperCounters,
}

impl<F: FillModel, L: LatencyModel> PaperVenue<F, L> {
    /// A venue without orders; the only allocation.
    ///
    /// # Errors
    /// [`PaperConfigError`] naming the capacity or latency that is impossible.
    pub fn new(config: PaperConfig, fill_model: F, latency: L) -> Result<Self, PaperConfigError> {
        for (key, value) in [("symbol_count_max", config.symbol_count_max), ("order_count_max", config.order_count_max)]
        {
            if value == 0 || value >= u32::MAX as usize {
                return Err(PaperConfigError::Capacity { key, value });
            }
        }
        for (key, value) in [("to_venue", latency.way_there_min()), ("from_venue", latency.way_back_min())] {
            if value < Nanos(1) {
                return Err(PaperConfigError::Latency { key, value });
            }
        }
        Ok(Self {
            fill_model,
            latency,
            fees: config.fees,
            ticks: config.ticks,
            arrivals: Arrivals::new(config.order_count_max),
            orders: Orders::new(config.symbol_count_max, config.order_count_max),
            taken: Taken::new(config.order_count_max),
            next_match: 1,
            last_visible: EpochNanos::MIN,
            is_open: true,
            counters: PaperCounters::default(),
        })
    }

    /// What the venue did so far.
    #[must_use]
    pub const fn counters(&self) -> PaperCounters {
        self.counters
    }

    /// Own orders that rest now.
    #[must_use]
    pub const fn resting_count(&self) -> usize {
        self.orders.len()
    }

    /// The latency model.
    #[must_use]
    pub const fn latency(&self) -> &L {
        &self.latency
    }

    /// Takes an approved order or cancel on its way to the venue; it arrives after the way there.
    ///
    /// # Errors
    /// [`Full`] with the order when as many messages are on their way as the venue can hold.
    pub fn accept(&mut self, approved: ApprovedOrder) -> Result<(), Full<ApprovedOrder>> {
        let command = *approved.command();
        self.send(command).map_err(|_| Full(approved))
    }

    fn send(&mut self, command: OrderCommand) -> Result<(), Full<OrderCommand>> {
        self.arrivals.push(command)
    }

    /// Takes the next own message that has reached the matching engine by `now`, in order of arrival. The caller writes
    /// it to the log and then hands it to [`PaperVenue::process`]. Call it until it gives nothing, with every event's
    /// time before the event is applied to the books.
    pub fn next_arrived(&mut self, now: EpochNanos) -> Option<Arrival> {
        let latency = &mut self.latency;
        self.arrivals.set_out(now, |command| latency.way_there(request_kind(command), command.decision_time()));
        self.arrivals.pop_up_to(now)
    }

    /// Lets an own message meet `books` as they stand.
    pub fn process(&mut self, arrival: &Arrival, books: &impl MarketBooks, out: &mut impl Sink<Execution>) {
        match arrival.command {
            OrderCommand::New { order_id, order, .. } => {
                let (symbol, side, limit) = (order.symbol, order.side, order.price);
                self.enter(Place { order_id, symbol, side, limit, now: arrival.at }, &order, books, out);
            }
            OrderCommand::Cancel { order_id, replacement, symbol, .. } => {
                // Messages arrive in order: of an order and its replacement at most one is here.
                let is_replaced = replacement.0 != 0 && self.orders.find(symbol, replacement).is_some();
                let order_id = if is_replaced { replacement } else { order_id };
                self.cancel(order_id, symbol, arrival.at, out);
            }
            OrderCommand::Replace { order_id, replaces, order, .. } => {
                let (symbol, side, limit) = (order.symbol, order.side, order.price);
                let place = Place { order_id, symbol, side, limit, now: arrival.at };
                self.replace((replaces, place), &order, books, out);
            }
        }
    }

    /// Rejects an own message that has arrived without letting it meet the books: the order table has no room for it.
    /// The report takes the way back like any other.
    pub fn refuse(&mut self, arrival: &Arrival, reason: ReasonCode, out: &mut impl Sink<Execution>) {
        if let OrderCommand::New { order_id, order, .. } | OrderCommand::Replace { order_id, order, .. } =
            arrival.command
        {
            self.counters.orders = self.counters.orders.saturating_add(1);
            self.counters.rejected = self.counters.rejected.saturating_add(1);
            let (symbol, side, limit) = (order.symbol, order.side, order.price);
            let place = Place { order_id, symbol, side, limit, now: arrival.at };
            let rejected = Report::new(ExecutionKind::Rejected, reason, order.qty, Qty::ZERO);
            let answers = match request_kind(&arrival.command) {
                RequestKind::Replace => ReportKind::Replace,
                RequestKind::Submit | RequestKind::Cancel => rejected.answers,
            };
            self.report(place, Report { answers, ..rejected }, out);
        }
    }

    /// Lets an event that was just applied to the books act on own orders.
    pub fn on_market(
        &mut self,
        event: &MarketEvent,
        update: &BookUpdate,
        books: &impl MarketBooks,
        out: &mut impl Sink<Execution>,
    ) {
        let (now, kind) = (event.recv_time, event.kind);
        self.latency.on_event(now);
        let is_system = |code: u8| kind == EventKind::SystemEvent && event.detail == code;
        if is_system(b'M') || kind == EventKind::SessionEnd {
            self.close(now, out);
        } else if is_system(b'S') || kind == EventKind::SessionStart {
            self.is_open = true;
        } else if kind != EventKind::CrossTrade {
            // A cross is an auction print; own orders take no part in auctions.
            self.match_resting(update, now, books, out);
        }
    }

    fn match_resting(
        &mut self,
        update: &BookUpdate,
        now: EpochNanos,
        books: &impl MarketBooks,
        out: &mut impl Sink<Execution>,
    ) {
        let (symbol, side, price, qty, priority) =
            (update.symbol, update.side, update.price, update.qty, update.priority);
        if self.orders.is_empty_of(symbol) && self.taken.is_empty() {
            return;
        }
        // In a halt orders come and go, but nobody meets anybody.
        let is_trading = !books.state(symbol).contains(BookState::HALTED);
        match update.action {
            BookAction::Executed if is_trading && update.trade.is_some_and(|trade| trade.is_printable) => {
                self.offer(symbol, Market::Executed { side, price, priority, qty }, now, out);
            }
            // What an auction executes (not printable one by one) leaves the queue, but no aggressor met us.
            BookAction::Executed | BookAction::Canceled | BookAction::Deleted | BookAction::Replaced => {
                self.offer(symbol, Market::Withdrawn { side, price, priority, qty }, now, out);
            }
            BookAction::Added if is_trading => self.offer(symbol, Market::Joined { side, price, qty }, now, out),
            BookAction::Traded => {
                if let Some(trade) = update.trade.filter(|_| is_trading) {
                    self.offer(symbol, Market::HiddenTrade { price: trade.price, qty: trade.qty }, now, out);
                }
            }
            BookAction::Added | BookAction::NoChange | BookAction::StateChanged => {}
        }
        if let Some(placed) = update.replacement.filter(|_| is_trading) {
            let joined = Market::Joined { side, price: placed.price, qty: placed.qty };
            self.offer(symbol, joined, now, out);
        }
        let left = books.level(symbol, side, price).map_or(Qty::ZERO, |level| level.qty);
        self.taken.on_level(symbol, side, price, left);
    }

    /// Offers what the market did to every own order of the symbol, first in the queue first.
    fn offer(&mut self, symbol: SymbolId, market: Market, now: EpochNanos, out: &mut impl Sink<Execution>) {
        let (mut available, market) = match market {
            Market::Executed { side, price, priority, qty } => {
                // Shares that we took before are executed against us in the real market: nobody gets them twice, and
                // they stand ahead of nobody.
                let qty = qty.saturating_sub(self.taken.reduce(symbol, side, price, qty));
                (qty, Market::Executed { side, price, priority, qty })
            }
            Market::Withdrawn { qty, .. } | Market::Joined { qty, .. } | Market::HiddenTrade { qty, .. } => {
                (qty, market)
            }
        };
        for side in Side::BOTH {
            let mut next = self.orders.first(symbol, side);
            while let Some(slot) = next {
                next = self.orders.next(slot);
                let Some(resting) = self.orders.get_mut(slot) else { break };
                let qty = self.fill_model.on_market(&mut resting.own, &market, available).min(available);
                if qty == Qty::ZERO {
                    continue;
                }
                available = available.saturating_sub(qty);
                if let Market::Joined { side, price, .. } = market {
                    self.taken.add(symbol, side, price, qty);
                }
                self.fill_resting(slot, qty, now, out);
            }
        }
    }

    fn fill_resting(&mut self, slot: SlotIndex, qty: Qty, now: EpochNanos, out: &mut impl Sink<Execution>) {
        let Some(resting) = self.orders.get_mut(slot) else { return };
        resting.own.leaves_qty = resting.own.leaves_qty.saturating_sub(qty);
        resting.executed_qty = resting.executed_qty.saturating_add(qty);
        let resting = *resting;
        if resting.own.leaves_qty == Qty::ZERO {
            self.orders.remove(slot);
        }
        let (price, leaves_qty) = (resting.own.price, resting.own.leaves_qty);
        let fill = Fill { liquidity: Liquidity::Added, price, qty, leaves_qty };
        self.report_fill(Place::of(&resting, now), fill, out);
    }

    fn enter(&mut self, place: Place, order: &NewOrder, books: &impl MarketBooks, out: &mut impl Sink<Execution>) {
        self.counters.orders = self.counters.orders.saturating_add(1);
        let is_crossing = self.is_crossing(order, books);
        if let Some(reason) = self.refusal(order, is_crossing, books) {
            self.counters.rejected = self.counters.rejected.saturating_add(1);
            self.report(place, Report::new(ExecutionKind::Rejected, reason, order.qty, Qty::ZERO), out);
            return;
        }
        self.report(place, Report::new(ExecutionKind::Accepted, ReasonCode::None, order.qty, order.qty), out);
        let leaves_qty = if is_crossing { self.take(place, order, books, out) } else { order.qty };
        if leaves_qty == Qty::ZERO {
            return;
        }
        if order.time_in_force == TimeInForce::ImmediateOrCancel {
            self.counters.canceled = self.counters.canceled.saturating_add(1);
            let reason = ReasonCode::VenueIocRemainder;
            self.report(place, Report::new(ExecutionKind::Canceled, reason, leaves_qty, Qty::ZERO), out);
        } else {
            self.rest(place, order, (leaves_qty, order.qty.saturating_sub(leaves_qty)), books);
        }
    }

    /// Whether the other side shows a price at the order's limit or better.
    fn is_crossing(&self, order: &NewOrder, books: &impl MarketBooks) -> bool {
        let best = books.top(order.symbol).side(order.side.opposite());
        best.is_some_and(|best| !best.price.is_better_than(order.price, order.side))
    }

    fn refusal(&self, order: &NewOrder, is_crossing: bool, books: &impl MarketBooks) -> Option<ReasonCode> {
        if !self.is_open {
            Some(ReasonCode::VenueClosed)
        } else if order.symbol.index() >= self.orders.symbol_count() {
            Some(ReasonCode::VenueSymbolUnknown)
        } else if !self.ticks.of(order.symbol).is_valid(order.price) {
            Some(ReasonCode::VenuePriceInvalid)
        } else if books.state(order.symbol).contains(BookState::HALTED) {
            Some(ReasonCode::VenueHalted)
        } else if order.is_post_only && is_crossing {
            Some(ReasonCode::VenuePostOnly)
        } else if self.orders.is_full() {
            Some(ReasonCode::VenueCapacity)
        } else {
            None
        }
    }

    fn rest(
        &mut self,
        place: Place,
        order: &NewOrder,
        (leaves_qty, executed_qty): (Qty, Qty),
        books: &impl MarketBooks,
    ) {
        let level = books.level(order.symbol, order.side, order.price);
        let ahead_qty = level.map_or(Qty::ZERO, |level| self.left_of(order.symbol, order.side, &level));
        let (side, price, joined_at) = (order.side, order.price, books.next_priority());
        let own = OwnOrder { side, price, leaves_qty, ahead_qty, joined_at };
        self.orders.insert(Resting { order_id: place.order_id, symbol: order.symbol, own, executed_qty });
    }

    /// What is left of a level once the shares that own orders took before are gone.
    fn left_of(&self, symbol: SymbolId, side: Side, level: &Level) -> Qty {
        level.qty.saturating_sub(self.taken.at(symbol, side, level.price))
    }

    /// Walks the other side up to the limit with the order's quantity and returns what could not be filled.
    fn take(
        &mut self,
        place: Place,
        order: &NewOrder,
        books: &impl MarketBooks,
        out: &mut impl Sink<Execution>,
    ) -> Qty {
        let mut levels = [Level::default(); TAKE_LEVELS_MAX];
        let other = order.side.opposite();
        let count = books.depth(order.symbol, other, &mut levels);
        let mut leaves_qty = order.qty;
        for level in levels.iter().take(count) {
            if leaves_qty == Qty::ZERO || level.price.is_better_than(order.price, order.side) {
                break;
            }
            let qty = leaves_qty.min(self.left_of(order.symbol, other, level));
            if qty == Qty::ZERO {
                continue;
            }
            leaves_qty = leaves_qty.saturating_sub(qty);
            self.taken.add(order.symbol, other, level.price, qty);
            let fill = Fill { liquidity: Liquidity::Removed, price: level.price, qty, leaves_qty };
            self.report_fill(place, fill, out);
        }
        leaves_qty
    }

    fn cancel(&mut self, order_id: OrderId, symbol: SymbolId, now: EpochNanos, out: &mut impl Sink<Execution>) {
        match self.orders.find(symbol, order_id).and_then(|slot| self.orders.remove(slot)) {
            Some(resting) => self.report_cancel(&resting, ReasonCode::VenueUserCancel, now, out),
            None => {
                self.counters.cancels_rejected = self.counters.cancels_rejected.saturating_add(1);
                let place = Place { order_id, symbol, side: Side::Buy, limit: Price(0), now };
                let (kind, reason) = (ExecutionKind::CancelRejected, ReasonCode::VenueUnknownOrder);
                self.report(place, Report::new(kind, reason, Qty::ZERO, Qty::ZERO), out);
            }
        }
    }

    /// The end of market hours: every resting order is cancelled, every new one rejected. What was taken is over too: the
    /// next session's books are others.
    fn close(&mut self, now: EpochNanos, out: &mut impl Sink<Execution>) {
        self.is_open = false;
        self.taken.clear();
        while let Some(resting) = self.orders.remove_any() {
            self.report_cancel(&resting, ReasonCode::VenueClosed, now, out);
        }
    }

    fn report_cancel(
        &mut self,
        resting: &Resting,
        reason: ReasonCode,
        now: EpochNanos,
        out: &mut impl Sink<Execution>,
    ) {
        self.counters.canceled = self.counters.canceled.saturating_add(1);
        let place = Place::of(resting, now);
        let report = Report::new(ExecutionKind::Canceled, reason, resting.own.leaves_qty, Qty::ZERO);
        self.report(place, report, out);
    }

    fn report_fill(&mut self, place: Place, fill: Fill, out: &mut impl Sink<Execution>) {
        let (count, fee) = match fill.liquidity {
            Liquidity::Added => (&mut self.counters.fills_added, self.fees.added),
            Liquidity::Removed => (&mut self.counters.fills_removed, self.fees.removed),
        };
        *count = count.saturating_add(1);
        let match_number = MatchNumber(self.next_match);
        self.next_match = self.next_match.saturating_add(1);
        let report = Report::new(ExecutionKind::Filled, ReasonCode::None, fill.qty, fill.leaves_qty);
        let execution = self.made(place, report);
        let (liquidity, price, fee) = (fill.liquidity, fill.price, fee.times(fill.qty));
        self.emit(Execution { liquidity, price, match_number, fee, ..execution }, out);
    }

    fn report(&mut self, place: Place, report: Report, out: &mut impl Sink<Execution>) {
        let execution = self.made(place, report);
        self.emit(execution, out);
    }

    /// A report; reports become visible in the order in which they are made, as on one session.
    fn made(&mut self, place: Place, report: Report) -> Execution {
        let way_back = self.latency.way_back(report.answers, place.now);
        let visible_time = place.now.plus(way_back).max(self.last_visible);
        self.last_visible = visible_time;
        Execution {
            order_id: place.order_id,
            symbol: place.symbol,
            side: place.side,
            kind: report.kind,
            liquidity: Liquidity::Added,
            reason: report.reason,
            price: place.limit,
            qty: report.qty,
            leaves_qty: report.leaves_qty,
            match_number: MatchNumber(0),
            venue_time: place.now,
            visible_time,
            fee: Notional::ZERO,
        }
    }

    /// A sink that refuses an execution breaks the wiring's promise to have room: counted, and fatal to the run.
    fn emit(&mut self, execution: Execution, out: &mut impl Sink<Execution>) {
        if out.push(execution).is_err() {
            self.counters.undelivered = self.counters.undelivered.saturating_add(1);
        }
    }
}

/// What a report says.
#[derive(Clone, Copy, Debug)]
struct Report {
    kind: ExecutionKind,
    /// By whose way back it comes.
    answers: ReportKind,
    reason: ReasonCode,
    qty: Qty,
    leaves_qty: Qty,
}

impl Report {
    const fn new(kind: ExecutionKind, reason: ReasonCode, qty: Qty, leaves_qty: Qty) -> Self {
        Self { kind, answers: ReportKind::of(kind), reason, qty, leaves_qty }
    }
}

/// What a message of ours asks for.
const fn request_kind(command: &OrderCommand) -> RequestKind {
    match command {
        OrderCommand::New { .. } => RequestKind::Submit,
        OrderCommand::Replace { .. } => RequestKind::Replace,
        OrderCommand::Cancel { .. } => RequestKind::Cancel,
    }
}

/// What a fill says.
#[derive(Clone, Copy, Debug)]
struct Fill {
    liquidity: Liquidity,
    price: Price,
    qty: Qty,
    leaves_qty: Qty,
}

/// Which order a report is about, and when.
#[derive(Clone, Copy, Debug)]
struct Place {
    order_id: OrderId,
    symbol: SymbolId,
    side: Side,
    limit: Price,
    now: EpochNanos,
}

impl Place {
    const fn of(resting: &Resting, now: EpochNanos) -> Self {
        let (order_id, symbol) = (resting.order_id, resting.symbol);
        Self { order_id, symbol, side: resting.own.side, limit: resting.own.price, now }
    }
}

#[cfg(test)]
mod tests;
