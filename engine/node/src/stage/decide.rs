//! The decide role's stage: strategy, risk gate, latency guard and log, around one event.
//!
//! What is decided is in the log before the order leaves, and everything decided goes into one running hash. Durations
//! are measured beside the decision and never enter it; the one exception, a halt by the latency guard, is written to the
//! log as an input, and a verification replays it from there.

mod heard;
mod held;
mod record;
#[cfg(test)]
mod tests;
mod warm;
mod withdraw;

use std::marker::PhantomData;

use peregrine_book::{BookUpdate, MarketBooks};
use peregrine_decide::{Input, IntentBatch, Strategy};
use peregrine_eventlog::Decide;
use peregrine_eventlog::records::{DecideCheckpoint, DecisionRecord, GuardAction, GuardHalt};
use peregrine_risk::{ApprovedOrder, Refused, RiskGate, TradingMode};
use peregrine_runtime::{LatencyGuard, LatencyRecorder, Stopwatch};
use peregrine_types::{EpochNanos, EventSeq, Execution, MarketEvent, Nanos, OrderId, OrderIntent, ReasonCode};

use heard::Hearing;
pub use heard::{execution_of, permit_of};
pub use held::held_change;
use record::{fill_intent, guard_action, heads_of, record_of};

use super::hash::RunningHash;
use super::laps::{Laps, StageEnds};
use super::log::LosslessLog;
use super::path::OrderSink;
use super::pnl::Pnl;
use super::schedule::Schedule;

/// Decisions between two checkpoints of the decide stream.
const DECISIONS_PER_CHECKPOINT: u64 = 16_384;

/// Where the latency guard's verdicts come from.
#[derive(Debug)]
pub enum Guard {
    /// Inference is measured.
    Measured(LatencyGuard),
    /// A verification repeats what the log of the earlier run says, in order of events.
    Scripted {
        /// What the guard did then.
        script: Vec<GuardHalt>,
        /// The next one to repeat.
        next: usize,
    },
}

/// Histograms of the decide role.
#[derive(Debug)]
pub struct DecideTimes {
    /// From the event being taken (or due) to its features being up to date, book included.
    pub features: LatencyRecorder,
    /// The kernel's `observe`: the inference that the guard watches.
    pub observe: LatencyRecorder,
    /// Controller.
    pub controller: LatencyRecorder,
    /// The kernel's `advance`, off the critical path.
    pub advance: LatencyRecorder,
    /// From the event being taken (or due) to its approved order being recorded and handed over.
    pub event_to_order: LatencyRecorder,
    /// From the event being taken (or due) to the decision, whether or not an order came of it.
    pub event_to_decision: LatencyRecorder,
    /// How long after its due time an event was taken; timed replays only.
    pub queue_wait: LatencyRecorder,
}

/// What the stage counted.
#[derive(Clone, Debug, Default)]
pub struct DecideCounters {
    /// Intents by the risk gate's verdict, by [`ReasonCode`] number.
    pub denied: Vec<(ReasonCode, u64)>,
    /// New orders approved.
    pub orders_approved: u64,
    /// Cancels approved.
    pub cancels_approved: u64,
    /// Replacements approved.
    pub replaces_approved: u64,
    /// Cancels denied; those in [`Self::denied`] that are no new orders.
    pub cancels_denied: u64,
    /// Times that the latency guard warned.
    pub guard_warnings: u64,
    /// Times that it halted.
    pub guard_halts: u64,
    /// Approved orders that could not be handed over, or that their way refused.
    pub undelivered: u64,
    /// Times that an engine-held order began to wait because no order within the risk limits could bring it about.
    pub held_beyond_limits: u64,
    /// Most live orders that the books held at once.
    pub live_orders_max: usize,
}

/// The stage; see the module's text.
#[derive(Debug)]
pub struct DecideStage<B, W> {
    strategy: Strategy,
    risk: RiskGate,
    guard: Guard,
    log: LosslessLog<Decide>,
    intents: IntentBatch,
    stopwatch: W,
    schedule: Schedule,
    times: DecideTimes,
    counters: DecideCounters,
    pnl: Pnl,
    hash: RunningHash,
    /// Horizons of the model.
    horizon_count: u8,
    next_seq: u64,
    last_time: EpochNanos,
    next_checkpoint: u64,
    keep_warm: Option<Nanos>,
    /// Ticks since which nothing happened, or at which the way was rehearsed last; `None` right after an event.
    idle_since: Option<u64>,
    warm_step_count: u64,
    /// Ticks at which all of the way was rehearsed last since the last event.
    whole_since: Option<u64>,
    /// The count of rehearsals from which on every watched symbol was rehearsed since the last event.
    all_warm_at: u64,
    /// Why the way to the venue takes nothing new, as it was said last.
    block: Option<ReasonCode>,
    /// The event that orders were withdrawn on last.
    withdrawn_on: Option<(EventSeq, MarketEvent)>,
    /// Set where the log keeps what is heard: in a live run, and where one is repeated.
    hearing: Option<Hearing>,
    books: PhantomData<fn(&B)>,
}

/// What is left of a stage when its run is over: its log is handed back and its histograms are with their readers.
#[derive(Debug)]
pub struct DecideEnd {
    /// Features, model and controller.
    pub strategy: Strategy,
    /// The risk gate.
    pub risk: RiskGate,
    /// What was counted.
    pub counters: DecideCounters,
    /// Money.
    pub pnl: Pnl,
    /// Running hash of everything decided.
    pub decision_hash: [u64; 2],
    /// How often the way to an order was rehearsed.
    pub warm_step_count: u64,
}

/// What a stage is made of.
#[derive(Debug)]
pub struct DecideParts<W> {
    /// Features, model and controller.
    pub strategy: Strategy,
    /// The risk gate.
    pub risk: RiskGate,
    /// Where the guard's verdicts come from.
    pub guard: Guard,
    /// The decide stream.
    pub log: LosslessLog<Decide>,
    /// The clock of measurements.
    pub stopwatch: W,
    /// When events are due.
    pub schedule: Schedule,
    /// Histograms.
    pub times: DecideTimes,
    /// Money.
    pub pnl: Pnl,
    /// After so much idleness the way to an order is rehearsed on copies, again and again; `None`: never.
    pub keep_warm: Option<Nanos>,
}

/// An event that was just applied to the books.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// When it was taken up.
    pub started: Started,
    /// The event.
    pub event: &'a MarketEvent,
    /// What it did to the book.
    pub update: &'a BookUpdate,
}

/// When what an event asked for was done with, in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct HandedOver {
    /// The first intent, whatever became of it.
    first: Option<u64>,
    /// The first new order that was approved.
    order: Option<u64>,
}

/// When an event was taken; nothing for an event that nobody measures.
#[derive(Clone, Copy, Debug)]
pub struct Started(Option<Beginning>);

/// Two moments in ticks.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    /// From when on its time counts: when it was due, or else when it was taken.
    from: u64,
    /// When it was taken, if it was due at a certain time.
    taken: Option<u64>,
}

impl Started {
    /// Whether the event is of a symbol that is watched.
    #[must_use]
    #[inline]
    pub const fn is_watched(&self) -> bool {
        self.0.is_some()
    }
}

impl<B: MarketBooks, W: Stopwatch> DecideStage<B, W> {
    /// A stage that has seen nothing.
    #[must_use]
    pub fn new(parts: DecideParts<W>) -> Self {
        let horizon_count = u8::try_from(parts.strategy.model().meta().horizons.len()).unwrap_or(u8::MAX);
        Self {
            intents: parts.strategy.intent_batch(),
            strategy: parts.strategy,
            risk: parts.risk,
            guard: parts.guard,
            log: parts.log,
            stopwatch: parts.stopwatch,
            schedule: parts.schedule,
            times: parts.times,
            counters: DecideCounters {
                denied: ReasonCode::ALL.iter().map(|code| (*code, 0)).collect(),
                ..DecideCounters::default()
            },
            pnl: parts.pnl,
            hash: RunningHash::default(),
            horizon_count,
            next_seq: 0,
            last_time: EpochNanos(0),
            next_checkpoint: DECISIONS_PER_CHECKPOINT,
            keep_warm: parts.keep_warm,
            idle_since: None,
            warm_step_count: 0,
            whole_since: None,
            all_warm_at: u64::MAX,
            block: None,
            withdrawn_on: None,
            hearing: None,
            books: PhantomData,
        }
    }

    /// An event is taken up: notes when, if anybody will ask.
    #[inline]
    pub fn begin(&mut self, event: &MarketEvent) -> Started {
        if !self.strategy.is_watched(event.symbol) {
            return Started(None);
        }
        let taken = self.stopwatch.start();
        Started(Some(match self.schedule.due(self.next_seq, event.recv_time) {
            Some(due) => Beginning { from: due, taken: Some(taken) },
            None => Beginning { from: taken, taken: None },
        }))
    }

    /// Asks for the memory that the features need for `events`, which come next.
    #[inline]
    pub fn prefetch_hint(&self, events: &[MarketEvent]) {
        self.strategy.features().prefetch_hint(events);
    }

    /// How often [`idle`](Self::idle) kept the network warm.
    #[must_use]
    pub const fn warm_step_count(&self) -> u64 {
        self.warm_step_count
    }

    /// A report of the venue became visible.
    pub fn on_execution(&mut self, execution: &Execution) {
        self.hear_report(execution);
        self.risk.on_execution(execution);
        self.strategy.on_execution(execution);
        self.pnl.on_execution(execution);
        self.write_held(EventSeq(self.next_seq));
    }

    /// An event was applied to the books: decides, checks, records and hands over. Whatever can wait (hashes, histograms,
    /// counters, the network's next step) comes after the orders have left.
    pub fn on_event(&mut self, applied: &Applied<'_>, books: &B, out: &mut impl OrderSink) {
        let Applied { started, event, update } = *applied;
        let seq = EventSeq(self.next_seq);
        self.next_seq = self.next_seq.saturating_add(1);
        self.last_time = event.recv_time;
        let is_warm = self.is_warm();
        self.idle_since = None;
        self.whole_since = None;
        self.all_warm_at = self.warm_step_count.saturating_add(self.strategy.watched_count());
        if !is_warm && (update.is_top_changed || update.trade.is_some()) && self.strategy.is_watched(update.symbol) {
            // A decision is likely: what it needs after the features is asked for before they are worked out.
            self.risk.prefetch_hint(update.symbol);
            self.strategy.prefetch_hint(update.symbol);
        }
        let mut laps = Laps::new(&self.stopwatch);
        let input = Input { seq, event, update };
        let is_decision = self.strategy.on_event(&input, books, &mut laps, &mut self.intents);
        let (ends, mut inference) = (laps.ends, None);
        self.write_held(seq);
        if !self.intents.is_empty() || is_decision {
            let handed_over = self.act(&input, is_decision, books, out);
            if is_decision {
                inference = self.record_times(started, ends, handed_over);
                self.advance();
                self.checkpoint_if_due();
            }
        }
        if let (false, Started(Some(beginning)), Some(end)) = (is_decision, started, ends.features) {
            self.times.features.record(self.stopwatch.between(beginning.from, end));
        }
        if let Started(Some(Beginning { from, taken: Some(taken) })) = started {
            self.times.queue_wait.record(self.stopwatch.between(from, taken));
        }
        self.counters.live_orders_max = self.counters.live_orders_max.max(books.order_count());
        self.watch_latency(&input, inference, books, out);
        if self.risk.mode() == TradingMode::Halted || self.strategy.is_withdrawal_due() {
            self.keep_withdrawing(&input, books, out);
        }
        self.pnl.on_time(event.recv_time, books);
    }

    /// The network's next step, off the critical path.
    fn advance(&mut self) {
        let start = self.stopwatch.start();
        let mut laps = Laps::new(&self.stopwatch);
        self.strategy.after_decision(&mut laps);
        if let Some(end) = laps.ends.advance {
            self.times.advance.record(self.stopwatch.between(start, end));
        }
    }

    /// Decides nothing on events before `from`; books and features follow them all the same.
    pub const fn decide_from(&mut self, from: EpochNanos) {
        self.strategy.decide_from(from);
        self.pnl.begin(from);
    }

    /// Checks every intent, writes it, and hands over what was approved. The hash takes decision and records in the order of
    /// the log, each as soon as nothing more urgent is left.
    fn act(&mut self, input: &Input<'_>, is_decision: bool, books: &B, out: &mut impl OrderSink) -> HandedOver {
        let mut handed_over = HandedOver::default();
        for number in 0..self.intents.len() {
            let Some(intent) = self.intents.get(number) else { break };
            let record = self.submit((input, is_decision), (number, intent), books, out);
            let is_order = record.verdict == ReasonCode::None && !matches!(intent, OrderIntent::Cancel { .. });
            if number == 0 || (is_order && handed_over.order.is_none()) {
                let now = self.stopwatch.start();
                handed_over.first.get_or_insert(now);
                handed_over.order = handed_over.order.or(is_order.then_some(now));
            }
            if number == 0 {
                self.hash_decision(is_decision);
            }
            self.hash.value(&record);
        }
        if self.intents.is_empty() {
            self.hash_decision(is_decision);
        }
        handed_over
    }

    fn submit(
        &mut self,
        (input, is_decision): (&Input<'_>, bool),
        (number, intent): (usize, OrderIntent),
        books: &B,
        out: &mut impl OrderSink,
    ) -> DecisionRecord {
        let now = input.event.recv_time;
        let symbol = intent.symbol();
        let decision = is_decision.then(|| self.strategy.decision());
        let context = self.context(symbol, decision, books);
        let top = context.top;
        let checked = self.risk.check(&intent, &context, input.seq, now);
        let (order_id, verdict) = match &checked {
            Ok(order) => (order.command().order_id(), ReasonCode::None),
            Err(reason) => (OrderId(0), *reason),
        };
        let mut record = record_of(input, decision, &top);
        record.position = self.risk.position(symbol);
        record.symbol = symbol;
        record.book_state = context.book_state.bits();
        record.verdict = verdict;
        record.order_id = order_id;
        fill_intent(&mut record, (&intent, self.strategy.holds(&intent)), (number, self.horizon_count));
        self.log.append(&record);
        match checked {
            Ok(order) => match self.give(order, out) {
                Ok(()) => {
                    self.strategy.on_approved(&intent, order_id);
                    match intent {
                        OrderIntent::New(_) => self.counters.orders_approved += 1,
                        OrderIntent::Cancel { .. } => self.counters.cancels_approved += 1,
                        OrderIntent::Replace { .. } => self.counters.replaces_approved += 1,
                    }
                }
                Err(refused) => self.take_back(refused, &intent, now),
            },
            Err(reason) => {
                self.strategy.on_denied(&intent, reason, now);
                self.counters.cancels_denied += u64::from(matches!(intent, OrderIntent::Cancel { .. }));
                if let Some((_, count)) = self.counters.denied.iter_mut().find(|(code, _)| *code == reason) {
                    *count += 1;
                }
            }
        }
        record
    }

    #[inline]
    fn give(&mut self, order: ApprovedOrder, out: &mut impl OrderSink) -> Result<(), Refused> {
        self.count_given();
        out(order)
    }

    /// An approved order was not taken on its way: it is not open, and what follows is as after a denial.
    #[cold]
    fn take_back(&mut self, refused: Refused, intent: &OrderIntent, now: EpochNanos) {
        self.hear_refusal(&refused);
        let Refused { order, reason } = refused;
        self.risk.revoke(order);
        self.strategy.on_denied(intent, reason, now);
        self.counters.undelivered += 1;
    }

    /// Puts the spans of a decision into the histograms; returns how long the network observed.
    fn record_times(&mut self, started: Started, ends: StageEnds, handed_over: HandedOver) -> Option<Nanos> {
        let between = |start: Option<u64>, end: Option<u64>| Some(self.stopwatch.between(start?, end?));
        let from = started.0.map(|beginning| beginning.from);
        let inference = between(ends.features, ends.observe);
        // A decision that asks for nothing is done with once the controller has spoken.
        let decided = between(from, handed_over.first.or(ends.controller));
        let order = between(from, handed_over.order);
        let times = &mut self.times;
        let spans = [
            (&mut times.features, between(from, ends.features)),
            (&mut times.observe, inference),
            (&mut times.controller, between(ends.observe, ends.controller)),
            (&mut times.event_to_decision, decided),
            (&mut times.event_to_order, order),
        ];
        for (histogram, span) in spans {
            if let Some(span) = span {
                histogram.record(span);
            }
        }
        inference
    }

    /// Folds the last decision into the hash, if this event was decided.
    fn hash_decision(&mut self, is_decision: bool) {
        if !is_decision {
            return;
        }
        let decision = self.strategy.decision();
        self.hash.word(decision.seq.0);
        self.hash.value(&decision.position.0);
        self.hash.value(&decision.target.0);
        self.hash.value(&decision.features);
        let heads = heads_of(decision);
        self.hash.value(&heads.words);
    }

    fn checkpoint_if_due(&mut self) {
        let count = self.strategy.counters().decision_count;
        if count >= self.next_checkpoint {
            self.next_checkpoint = count.saturating_add(DECISIONS_PER_CHECKPOINT);
            let record = self.checkpoint();
            self.log.append(&record);
        }
    }

    fn checkpoint(&self) -> DecideCheckpoint {
        DecideCheckpoint {
            decision_count: self.strategy.counters().decision_count,
            event_count: self.next_seq,
            recv_time: self.last_time,
            order_count: self.counters.orders_approved,
            decision_hash: self.hash.lanes(),
            ..DecideCheckpoint::default()
        }
    }

    /// The input has ended: values everything once more and writes the last checkpoint, state hashes included.
    pub fn finish(&mut self, books: &B) {
        self.pnl.note(self.last_time, books);
        let state = self.strategy.state_hash();
        let mut latent = RunningHash::default();
        latent.value(&state);
        let mut positions = RunningHash::default();
        positions.word(self.risk.state_hash());
        for row in self.pnl.rows() {
            positions.word(u64::from(row.symbol.0));
            positions.word(row.position.0.cast_unsigned());
            positions.value(&row.cash.0.to_le_bytes());
            positions.value(&row.fees.0.to_le_bytes());
        }
        let record = DecideCheckpoint {
            books_hash: [books.state_hash(), 0],
            latent_hash: latent.lanes(),
            position_hash: positions.lanes(),
            ..self.checkpoint()
        };
        self.log.append(&record);
    }

    /// Lets the guard see an inference, or repeats what it did in the run that is verified.
    fn watch_latency(&mut self, input: &Input<'_>, inference: Option<Nanos>, books: &B, out: &mut impl OrderSink) {
        let now = input.event.recv_time;
        let action = match &mut self.guard {
            Guard::Measured(guard) => {
                let Some(latency) = inference else { return };
                let Some(transition) = guard.observe(now, latency) else { return };
                guard_action(&transition).map(|action| GuardHalt {
                    event_seq: input.seq,
                    recv_time: now,
                    tipping_latency: transition.latency,
                    threshold: match action {
                        GuardAction::Halt => guard.config().halt_above,
                        GuardAction::Warn | GuardAction::Resume => guard.config().warn_above,
                    },
                    window_count: u64::try_from(transition.sample_count).unwrap_or(u64::MAX),
                    action,
                    ..GuardHalt::default()
                })
            }
            Guard::Scripted { script, next } => match script.get(*next) {
                Some(record) if record.event_seq == input.seq => {
                    *next += 1;
                    Some(*record)
                }
                Some(_) | None => None,
            },
        };
        let Some(mut record) = action else { return };
        let mut canceled = 0_u32;
        match record.action {
            GuardAction::Warn => self.counters.guard_warnings += 1,
            GuardAction::Halt => {
                self.counters.guard_halts += 1;
                self.risk.set_mode(TradingMode::Halted);
                self.strategy.halt(now, &mut self.intents);
                canceled = u32::try_from(self.intents.len()).unwrap_or(u32::MAX);
            }
            GuardAction::Resume => {}
        }
        record.canceled_count = canceled;
        self.hash.value(&record);
        self.log.append(&record);
        if record.action == GuardAction::Halt {
            self.act(input, false, books, out);
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &DecideCounters {
        &self.counters
    }

    /// The run is over: gives the log back and keeps what was learnt.
    #[must_use]
    pub fn end(self) -> DecideEnd {
        let Self { strategy, risk, counters, pnl, hash, warm_step_count, .. } = self;
        DecideEnd { strategy, risk, counters, pnl, decision_hash: hash.lanes(), warm_step_count }
    }
}
