//! The whole path on one core, from a message's bytes to an approved order in the log: decoding, book, features, the
//! network's `observe`, controller, risk gate, log record; the network's `advance` follows off the critical path.
//!
//! There is no venue here, so that one order can answer every decision: the gate checks an order of fixed size at the
//! touch whatever the controller wants, and takes it back once its latency is noted. What the controller itself asks for
//! is made, counted and then denied, so that it asks again.

use peregrine_book::{Books, MarketBooks};
use peregrine_decide::{
    DecideConfig, Input, IntentBatch, NoStopwatch, Stage, Stopwatch, Strategy, StrategyConfig, Watch,
};
use peregrine_eventlog::EventLog;
use peregrine_model::{Kernel, Model};
use peregrine_risk::{RiskContext, RiskGate};
use peregrine_types::{
    BookState, EpochNanos, EventKind, EventSeq, Full, MarketEvent, Nanos, NewOrder, OrderIntent, Price, Qty,
    ReasonCode, Side, SymbolId, TickTable, TickTables, TimeInForce,
};
use peregrine_wire::FileFeed;

use crate::percentiles::Timer;
use crate::session::LoadedSession;
use crate::{BenchError, parts};

/// The bundled model: micro, untrained.
pub(crate) const MODEL: &[u8] = include_bytes!("../../strategy/model/models/untrained-micro-seed1.safetensors");

/// A place on the way from an event to its order, in the order in which they are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The message is decoded.
    Decoded,
    /// The book has taken it in.
    Booked,
    /// The features are up to date and their vector is made.
    Features,
    /// The network has observed the vector.
    Observed,
    /// The controller has decided.
    Controlled,
    /// The strategy is done.
    Decided,
    /// The risk gate has approved the order.
    Checked,
    /// The decision is in the log.
    Logged,
    /// The order is in the log: the end.
    Recorded,
}

impl Mark {
    /// All marks.
    pub const ALL: [Self; 9] = [
        Self::Decoded,
        Self::Booked,
        Self::Features,
        Self::Observed,
        Self::Controlled,
        Self::Decided,
        Self::Checked,
        Self::Logged,
        Self::Recorded,
    ];
}

/// Is told of every mark that is passed.
pub trait Marks {
    /// `mark` is passed.
    fn pass(&mut self, mark: Mark);
}

/// Notes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMarks;

impl Marks for NoMarks {
    #[inline(always)]
    fn pass(&mut self, _: Mark) {}
}

/// Reads the ticks when one mark is passed.
#[derive(Debug)]
pub struct OneMark<'a> {
    timer: &'a Timer,
    mark: Mark,
    /// The ticks at the mark, if it was passed.
    pub ticks: Option<u64>,
}

impl Marks for OneMark<'_> {
    #[inline(always)]
    fn pass(&mut self, mark: Mark) {
        if mark == self.mark {
            self.ticks = Some(self.timer.ticks());
        }
    }
}

/// The strategy's laps as marks.
struct Laps<'a, M>(&'a mut M);

impl<M: Marks> Stopwatch for Laps<'_, M> {
    #[inline(always)]
    fn lap(&mut self, stage: Stage) {
        match stage {
            Stage::Features => self.0.pass(Mark::Features),
            Stage::Observe => self.0.pass(Mark::Observed),
            Stage::Controller => self.0.pass(Mark::Controlled),
            Stage::Advance => {}
        }
    }
}

/// What one message came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Decisions made.
    pub decisions: u32,
    /// Orders approved and recorded.
    pub orders: u32,
}

/// Every stage, and what they share.
pub struct OrderPath {
    feed: FileFeed,
    books: Books,
    strategy: Strategy,
    risk: RiskGate,
    log: EventLog,
    intents: IntentBatch,
    seq: u64,
    /// Time of the gate: it runs ahead of the session's, so that rate and duplicate limits let every order pass.
    gate_time: EpochNanos,
    approved: Option<peregrine_risk::ApprovedOrder>,
    is_open: bool,
    /// Orders that the gate denied.
    pub denied_count: u64,
}

impl OrderPath {
    /// Stages that have seen nothing, their log under `folder`; every symbol is watched.
    ///
    /// # Errors
    /// What a stage says of its settings.
    pub fn new(session: &LoadedSession, kernel: Kernel, folder: &std::path::Path) -> Result<Self, BenchError> {
        let strategy = Strategy::new(strategy_config(session), Model::load(MODEL)?, kernel)?;
        Ok(Self {
            feed: session.feed(),
            books: session.books()?,
            intents: strategy.intent_batch(),
            strategy,
            risk: parts::gate()?,
            log: parts::event_log(folder)?,
            seq: 0,
            gate_time: session.midnight(),
            approved: None,
            is_open: false,
            denied_count: 0,
        })
    }

    /// Whether the continuous session has begun.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes one message up to the record of its order; [`Self::after`] does the rest.
    #[inline]
    pub fn on_message(&mut self, message: &[u8]) -> Outcome {
        self.on_message_marked(message, &mut NoMarks)
    }

    /// [`Self::on_message`] that tells `marks` how far it is.
    #[inline]
    pub fn on_message_marked(&mut self, message: &[u8], marks: &mut impl Marks) -> Outcome {
        let mut outcome = Outcome::default();
        let Self { feed, books, strategy, risk, log, intents, seq, gate_time, approved, is_open, denied_count } = self;
        let mut on_event = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            marks.pass(Mark::Decoded);
            *seq = seq.wrapping_add(1);
            let update = books.apply(&event);
            *is_open |= event.kind == EventKind::SystemEvent && event.detail == b'Q';
            if update.is_top_changed || update.trade.is_some() {
                risk.prefetch_hint(update.symbol);
                strategy.prefetch_hint(update.symbol);
            }
            marks.pass(Mark::Booked);
            let input = Input { seq: EventSeq(*seq), event: &event, update: &update };
            if !strategy.on_event(&input, books, &mut Laps(marks), intents) {
                return Ok(());
            }
            marks.pass(Mark::Decided);
            outcome.decisions = outcome.decisions.wrapping_add(1);
            let top = books.top(update.symbol);
            let (Some(bid), Some(ask)) = (top.bid, top.ask) else { return Ok(()) };
            *gate_time = gate_time.plus(parts::ORDER_INTERVAL);
            let context = RiskContext {
                book_state: books.state(update.symbol),
                reference_price: Some(Price(bid.price.0.midpoint(ask.price.0))),
                top,
                data_time: *gate_time,
                is_input_finite: strategy.decision().non_finite.is_none(),
            };
            let intent = order(update.symbol, bid.price);
            match risk.check(&intent, &context, EventSeq(*seq), *gate_time) {
                Ok(order) => {
                    marks.pass(Mark::Checked);
                    let record = parts::order_record(*seq);
                    let is_logged = log.decide.append(&parts::decision_record(*seq)).is_ok();
                    marks.pass(Mark::Logged);
                    outcome.orders =
                        outcome.orders.wrapping_add(u32::from(log.send.append(&record).is_ok() && is_logged));
                    marks.pass(Mark::Recorded);
                    *approved = Some(order);
                }
                Err(_) => *denied_count = denied_count.wrapping_add(1),
            }
            Ok(())
        };
        let is_taken = feed.on_message(message, None, &mut on_event).is_ok();
        debug_assert!(is_taken, "the sink above always has room");
        outcome
    }

    /// What follows once the order is recorded: the order is taken back, the controller freed, the network advanced.
    #[inline]
    pub fn after(&mut self) {
        if let Some(order) = self.approved.take() {
            self.risk.revoke(order);
        }
        for index in 0..self.intents.len() {
            if let Some(intent) = self.intents.get(index) {
                self.strategy.on_denied(&intent, ReasonCode::OrderRateLimit, self.gate_time);
            }
        }
        self.strategy.after_decision(&mut NoStopwatch);
    }

    /// The record role catches up, outside any timing.
    pub fn record(&mut self) {
        while self.log.recorder.backlog() > 0 {
            assert!(self.log.recorder.poll(EpochNanos(0)).is_ok(), "the log can be written");
        }
    }
}

/// Every symbol of `session` watched, on its session's hours.
pub(crate) fn strategy_config(session: &LoadedSession) -> StrategyConfig {
    let midnight = session.midnight();
    StrategyConfig {
        decide: decide_config(),
        session_open: midnight.plus(Nanos::from_secs(34_200)),
        session_close: midnight.plus(Nanos::from_secs(57_600)),
        symbol_count_max: session.symbol_count().saturating_add(1),
        watched_count_max: session.symbol_count(),
        watch: Watch::All,
        ticks: TickTables::new(TickTable::US_EQUITY),
        held: peregrine_decide::HeldConfig::OFF,
    }
}

/// A passive order at the best bid.
fn order(symbol: SymbolId, price: Price) -> OrderIntent {
    OrderIntent::New(NewOrder {
        symbol,
        side: Side::Buy,
        price,
        qty: Qty(100),
        time_in_force: TimeInForce::Day,
        is_post_only: true,
    })
}

fn decide_config() -> DecideConfig {
    DecideConfig {
        order_qty: Qty(100),
        target_position_qty: Qty(100),
        action_threshold: 0.3,
        action_hysteresis: 0.1,
        quote_offset_ticks: 0,
        quote_edge_ticks: None,
        requote_tolerance_ticks: 0,
        take_horizon_index: 0,
        take_margin_ticks: 0.0,
        fee_removed: Price(3_000_000),
        surprise_max: 1_000.0,
        regime_confidence_min: 0.0,
        withdraw_on: BookState::STALE,
        min_decision_interval: Nanos::ZERO,
        use_replace: false,
        denied_backoff: Nanos::ZERO,
        feature_tick: Price(10_000_000),
    }
}

/// How an open-loop run is paced and measured.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    /// Events per second.
    pub rate: f64,
    /// Messages after the opening, at most.
    pub count: usize,
    /// Spans end here.
    pub until: Mark,
    /// Whether spans begin when the event is taken up: then waiting does not count and a span is that of the work alone.
    pub is_from_start: bool,
}

/// Nanoseconds from each decided event being due to its order being recorded: `rate` events per second arrive at times
/// fixed in advance, and an event that has to wait for the one before counts its waiting. At most `count` messages from
/// the opening on; those before it are taken as fast as they come.
///
/// # Errors
/// When the path cannot be built, or no order came of it.
pub fn open_loop(
    timer: &Timer,
    session: &LoadedSession,
    path: OrderPath,
    rate: f64,
    count: usize,
) -> Result<Vec<f64>, BenchError> {
    open_loop_until(timer, session, path, OpenLoop { rate, count, until: Mark::Recorded, is_from_start: false })
}

/// [`open_loop`] up to any mark; spans of events that came to an order alone.
///
/// # Errors
/// As [`open_loop`].
pub fn open_loop_until(
    timer: &Timer,
    session: &LoadedSession,
    mut path: OrderPath,
    plan: OpenLoop,
) -> Result<Vec<f64>, BenchError> {
    let mut messages = session.messages();
    while !path.is_open() {
        let Some(message) = messages.next() else { return Err("the session has no opening".into()) };
        path.on_message(message);
        path.after();
        path.record();
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (mut spans, interval) = (Vec::with_capacity(plan.count), timer.ticks_of(1e9 / plan.rate));
    let (mut start, mut number) = (timer.ticks(), 0.0_f64);
    for message in messages.take(plan.count) {
        let mut offset = interval * number;
        number += 1.0;
        let mut now = timer.ticks();
        while (now.saturating_sub(start) as f64) < offset {
            now = timer.ticks();
        }
        if plan.is_from_start {
            offset = timer.ticks().saturating_sub(start) as f64;
        }
        let mut mark = OneMark { timer, mark: plan.until, ticks: None };
        let outcome = path.on_message_marked(message, &mut mark);
        if let Some(end) = mark.ticks
            && outcome.orders > 0
        {
            spans.push((end.saturating_sub(start) as f64 - offset) / timer.ticks_of(1.0));
        }
        path.after();
        if spans.len() % 16_384 == 16_383 {
            // The record role has a core of its own in production; here the clock stops while it works.
            path.record();
            (start, number) = (timer.ticks(), 0.0);
        }
    }
    if spans.is_empty() { Err("no order was approved".into()) } else { Ok(spans) }
}
