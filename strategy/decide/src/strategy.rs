//! The decide role's strategy as one stage: which symbols are watched, when it is decided, and how features, kernel and
//! controller follow each other. The wiring applies each event to the book, hands it in, has the intents checked and
//! sent, and then calls [`Strategy::after_decision`], which makes the network's next step off the critical path.

mod held;
mod warm;

use core::fmt;

use peregrine_book::{BookAction, MarketBooks};
use peregrine_model::{Heads, Kernel, LatentStore, Model, ModelError, NonFinite, PositionInput};
use peregrine_types::{
    BookState, EpochNanos, EventKind, Execution, MarketEvent, OrderId, OrderIntent, Position, ReasonCode, Symbol,
    SymbolId, TickTables, TopOfBook,
};
use sha2::{Digest, Sha256};

use warm::Rehearsal;

use crate::features::narrow;
use crate::{
    ConfigViolation, Controller, DEFINITIONS, DecideConfig, Decision, DecisionView, FEATURE_COUNT, FeatureConfig,
    FeatureEngine, FeatureVector, HeldConfig, HeldOrders, Input, IntentBatch, Outcome, Stage, Stopwatch,
    ThresholdController, Trigger, definition_hash_hex,
};

/// Which symbols are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The first `watched_count_max` symbols that events name.
    All,
    /// Those announced under one of these names.
    Named(Vec<Symbol>),
}

/// Everything that a strategy is told at start.
#[derive(Clone, Debug)]
pub struct StrategyConfig {
    /// Thresholds, sizes and policies.
    pub decide: DecideConfig,
    /// Start of the continuous session.
    pub session_open: EpochNanos,
    /// End of the continuous session, after its start.
    pub session_close: EpochNanos,
    /// Ids of symbols are below this.
    pub symbol_count_max: u32,
    /// How many symbols are watched at most, from 1.
    pub watched_count_max: u32,
    /// Which ones.
    pub watch: Watch,
    /// The price steps of every instrument.
    pub ticks: TickTables,
    /// Orders that the engine holds.
    pub held: HeldConfig,
}

/// Why a strategy could not be made.
#[derive(Debug)]
pub enum StrategyError {
    /// Values that cannot be.
    Config(Vec<ConfigViolation>),
    /// The session ends before it begins.
    Session,
    /// No symbol may be watched.
    NothingWatched,
    /// The model was made for other features.
    Features(ModelError),
    /// The horizon that takes are decided by is not one of the model's.
    Horizon {
        /// What was asked for.
        index: usize,
        /// How many the model has.
        count: usize,
    },
}

impl fmt::Display for StrategyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(violations) => violations.iter().enumerate().try_for_each(|(index, violation)| {
                let separator = if index == 0 { "" } else { "; " };
                write!(f, "{separator}{violation}")
            }),
            Self::Session => f.write_str("session_close is not after session_open: set both for the session's date"),
            Self::NothingWatched => f.write_str("watched_count_max = 0: must be 1 or more"),
            Self::Features(error) => write!(f, "{error}: train or export the model for these features"),
            Self::Horizon { index, count } => {
                write!(f, "take_horizon_index = {index}: must be below {count}, the model's number of horizons")
            }
        }
    }
}

impl core::error::Error for StrategyError {}

/// What a strategy has seen since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StrategyCounters {
    /// Events of watched symbols.
    pub watched_event_count: u64,
    /// Decisions.
    pub decision_count: u64,
    /// Decision events passed over because the last decision was too recent.
    pub throttled_count: u64,
    /// Decision events passed over because of the state of the book.
    pub book_not_good_count: u64,
    /// Observations refused because something was not finite.
    pub non_finite_count: u64,
    /// Reports on symbols that are not watched.
    pub stray_execution_count: u64,
}

/// What is known of a watched symbol beside features, latent and orders.
#[derive(Clone, Copy, Debug)]
struct Watched {
    symbol: SymbolId,
    decided_time: EpochNanos,
    is_blocked: bool,
}

/// Features, model and controller of every watched symbol.
#[derive(Debug)]
pub struct Strategy<C = ThresholdController> {
    config: StrategyConfig,
    features: FeatureEngine,
    watched: Vec<Watched>,
    model: Model,
    kernel: Kernel,
    latents: LatentStore,
    rehearsal: Rehearsal,
    controller: C,
    held: HeldOrders,
    decision: Decision,
    /// Slot whose latent has observed and not yet advanced.
    advance_due: Option<usize>,
    is_halted: bool,
    /// Whether the risk gate takes anything new.
    may_send: bool,
    /// Whether orders are left in a book that they are to leave.
    is_withdrawal_due: bool,
    /// Nothing is decided before.
    decide_from: EpochNanos,
    counters: StrategyCounters,
}

impl Strategy<ThresholdController> {
    /// A strategy with the house's controller; allocates everything that it will ever need.
    ///
    /// # Errors
    /// [`StrategyError`], each variant naming what does not fit.
    pub fn new(config: StrategyConfig, model: Model, kernel: Kernel) -> Result<Self, StrategyError> {
        let controller =
            ThresholdController::new(config.decide, config.watched_count_max).map_err(StrategyError::Config)?;
        Self::with_controller(config, model, kernel, controller)
    }
}

impl<C: Controller> Strategy<C> {
    /// A strategy with a controller of the firm's own, made for `config.watched_count_max` slots.
    ///
    /// # Errors
    /// [`StrategyError`], each variant naming what does not fit.
    pub fn with_controller(
        config: StrategyConfig,
        model: Model,
        kernel: Kernel,
        controller: C,
    ) -> Result<Self, StrategyError> {
        config.decide.validate().map_err(StrategyError::Config)?;
        if config.session_close <= config.session_open {
            return Err(StrategyError::Session);
        }
        if config.watched_count_max == 0 {
            return Err(StrategyError::NothingWatched);
        }
        let names = DEFINITIONS.iter().map(|definition| definition.name);
        model.check_features(names, &definition_hash_hex()).map_err(StrategyError::Features)?;
        let (index, count) = (config.decide.take_horizon_index, model.meta().horizons.len());
        if index >= count {
            return Err(StrategyError::Horizon { index, count });
        }
        let watched_count = SymbolId(config.watched_count_max).index();
        let feature_config = FeatureConfig {
            tick: config.decide.feature_tick,
            session_open: config.session_open,
            session_close: config.session_close,
        };
        Ok(Self {
            features: FeatureEngine::new(feature_config, config.symbol_count_max, config.watched_count_max),
            watched: Vec::with_capacity(watched_count),
            latents: LatentStore::new(&model, watched_count),
            rehearsal: Rehearsal::new(&model, config.watched_count_max),
            model,
            kernel,
            controller,
            held: HeldOrders::new(config.held, config.watched_count_max),
            decision: Decision::NONE,
            advance_due: None,
            is_halted: false,
            may_send: true,
            is_withdrawal_due: false,
            decide_from: EpochNanos::MIN,
            counters: StrategyCounters::default(),
            config,
        })
    }

    /// Decides nothing on events before `from`. Books, features and positions are brought up to date by them all the same.
    pub const fn decide_from(&mut self, from: EpochNanos) {
        self.decide_from = from;
    }

    /// A batch with room for whatever one event can bring about.
    #[must_use]
    pub fn intent_batch(&self) -> IntentBatch {
        if self.held.is_on() {
            IntentBatch::with_held(self.config.watched_count_max)
        } else {
            IntentBatch::for_symbols(self.config.watched_count_max)
        }
    }

    /// Takes in one event, after the book did, and writes what it wants into `out` (cleared first). Returns whether it
    /// was decided; [`Self::decision`] then says on what. Intents may come without a decision: withdrawals.
    #[inline]
    pub fn on_event<B: MarketBooks>(
        &mut self,
        input: &Input<'_>,
        books: &B,
        stopwatch: &mut impl Stopwatch,
        out: &mut IntentBatch,
    ) -> bool {
        out.clear();
        if self.advance_due.is_some() {
            self.after_decision(stopwatch);
        }
        if self.is_news_to_watch(input) {
            self.consider(input.update.symbol, input.event);
        }
        let Some(slot) = self.features.on_event(input.event, input.update, books) else {
            let is_of_market = input.update.symbol == SymbolId::MARKET || input.event.kind == EventKind::SessionStart;
            if is_of_market && input.update.action == BookAction::StateChanged {
                self.on_market_change(input.event, books, out);
            }
            return false;
        };
        self.counters.watched_event_count = self.counters.watched_event_count.saturating_add(1);
        let state = books.state(input.update.symbol);
        let is_aside = self.held.is_on() && self.hold((slot, input, state), books, out);
        if is_aside || !self.is_to_decide(slot, input, state) {
            stopwatch.lap(Stage::Features);
            self.withdraw_if_bad(slot, state, input.event.recv_time, out);
            return false;
        }
        self.decide((slot, input, state), books, stopwatch, out);
        if self.held.is_on() {
            self.hear_controller(slot, input.update.symbol, out);
        }
        true
    }

    /// Makes the network's step for the symbol decided on last, if that is due: call it once the order is on its way.
    /// [`Self::on_event`] makes up for a call left out.
    #[inline]
    pub fn after_decision(&mut self, stopwatch: &mut impl Stopwatch) {
        if let Some(slot) = self.advance_due.take()
            && let Some(mut latent) = self.latents.latent_mut(slot)
        {
            self.kernel.advance(&self.model, &mut latent);
            stopwatch.lap(Stage::Advance);
        }
    }

    /// The last decision.
    #[must_use]
    #[inline]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The risk gate approved an intent under `order_id` (for a cancel: the id that it names).
    #[inline]
    pub fn on_approved(&mut self, intent: &OrderIntent, order_id: OrderId) {
        let Some(slot) = self.features.slot(intent.symbol()) else { return };
        if self.held.is_on() && self.held.owns(slot, intent) {
            return self.held.on_approved(slot, intent, order_id);
        }
        self.controller.on_approved(slot, intent, order_id);
    }

    /// The risk gate denied an intent.
    #[inline]
    pub fn on_denied(&mut self, intent: &OrderIntent, reason: ReasonCode, now: EpochNanos) {
        let Some(slot) = self.features.slot(intent.symbol()) else { return };
        if self.held.is_on() && self.held.owns(slot, intent) {
            return self.held.on_denied(slot, intent, reason, now);
        }
        self.controller.on_denied(slot, intent, reason, now);
    }

    /// The venue reported on one of our orders.
    #[inline]
    pub fn on_execution(&mut self, execution: &Execution) {
        match self.features.slot(execution.symbol) {
            Some(slot) if self.held.is_on() => self.hear_held(slot, execution),
            Some(slot) => self.controller.on_execution(slot, execution),
            None => self.counters.stray_execution_count = self.counters.stray_execution_count.saturating_add(1),
        }
    }

    /// Decides nothing more until [`Self::resume`], and asks for the cancellation of every live quote (orders whose
    /// acceptance is awaited follow by [`Self::withdraw_all`] once it came). Clears `out` first.
    pub fn halt(&mut self, now: EpochNanos, out: &mut IntentBatch) {
        self.is_halted = true;
        self.is_withdrawal_due = true;
        out.clear();
        self.withdraw_all(now, out);
    }

    /// Asks for the cancellation of every live quote of every symbol that is not being cancelled yet.
    pub fn withdraw_all(&mut self, now: EpochNanos, out: &mut IntentBatch) {
        for slot in 0..self.watched.len() {
            self.controller.withdraw(slot, now, out);
            self.held.withdraw(slot, now, out);
        }
    }

    /// Whether orders are left in a book that they are to leave: they were on their way when it went bad, or their cancel
    /// was refused. [`Self::keep_withdrawing`] is then to be called after every event, whatever its symbol.
    #[must_use]
    #[inline]
    pub const fn is_withdrawal_due(&self) -> bool {
        self.is_withdrawal_due
    }

    /// Asks for the cancellation of what is left in books that orders are to leave, as soon as it can be cancelled and
    /// however silent its symbol is. Clears `out` first.
    #[cold]
    pub fn keep_withdrawing<B: MarketBooks>(&mut self, now: EpochNanos, books: &B, out: &mut IntentBatch) {
        out.clear();
        self.is_withdrawal_due = false;
        for slot in 0..self.watched.len() {
            let symbol = self.watched.get(slot).map_or(SymbolId::MARKET, |watched| watched.symbol);
            self.withdraw_if_bad(slot, books.state(symbol), now, out);
        }
    }

    /// Ends a halt and releases every symbol that a non-finite number blocked.
    pub fn resume(&mut self) {
        self.is_halted = false;
        self.watched.iter_mut().for_each(|watched| watched.is_blocked = false);
    }

    /// Whether any order of a watched symbol rests or is on its way.
    #[must_use]
    pub fn has_orders(&self) -> bool {
        (0..self.watched.len()).any(|slot| self.controller.has_orders(slot) || self.held.has_orders(slot))
    }

    /// Watches a symbol whatever its name; false when there is no room.
    pub fn watch(&mut self, symbol: SymbolId) -> bool {
        let known = self.features.watched_count();
        match self.features.watch(symbol) {
            Ok(slot) if slot == known => {
                // Never grows: the feature engine has as much room as was made here. Said as a condition, so that the
                // code for growing is not even there.
                if self.watched.len() < self.watched.capacity() {
                    self.watched.push(Watched { symbol, decided_time: EpochNanos::MIN, is_blocked: false });
                }
                true
            }
            Ok(_) => true,
            Err(_) => false,
        }
    }

    /// Reads what a decision on `symbol` will need beside its features, so that it is on its way while they are brought
    /// up to date. Changes nothing.
    #[inline]
    pub fn prefetch_hint(&self, symbol: SymbolId) {
        if let Some(slot) = self.features.slot(symbol) {
            self.latents.prefetch_hint(slot);
        }
    }

    /// How many symbols are watched.
    #[must_use]
    #[inline]
    pub fn watched_count(&self) -> u64 {
        u64::try_from(self.watched.len()).unwrap_or(u64::MAX)
    }

    /// Whether a symbol is watched.
    #[must_use]
    #[inline]
    pub fn is_watched(&self, symbol: SymbolId) -> bool {
        self.features.slot(symbol).is_some()
    }

    /// `recv_time` of the newest event of a watched symbol, `None` before its first.
    #[must_use]
    #[inline]
    pub fn data_time(&self, symbol: SymbolId) -> Option<EpochNanos> {
        self.features.symbol(self.features.slot(symbol)?)?.last_time()
    }

    /// What is held of a symbol, by the fills reported; flat for symbols not watched.
    #[must_use]
    pub fn position(&self, symbol: SymbolId) -> Position {
        self.features.slot(symbol).map_or(Position::FLAT, |slot| self.controller.position(slot))
    }

    /// The features of every watched symbol.
    #[must_use]
    pub const fn features(&self) -> &FeatureEngine {
        &self.features
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The kernel that runs it.
    #[must_use]
    pub const fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What was seen so far.
    #[must_use]
    pub const fn counters(&self) -> StrategyCounters {
        self.counters
    }

    /// SHA-256 over features, latent states and the controller's memory of every watched symbol. Slow path.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for (slot, watched) in self.watched.iter().enumerate() {
            hasher.update(watched.symbol.0.to_le_bytes());
            hasher.update(watched.decided_time.0.to_le_bytes());
            hasher.update([u8::from(watched.is_blocked)]);
            for value in self.features.vector(slot).unwrap_or([0.0; FEATURE_COUNT]) {
                hasher.update(value.to_le_bytes());
            }
        }
        self.latents.bytes().for_each(|byte| hasher.update([byte]));
        self.controller.write_state(&mut |bytes| hasher.update(bytes));
        self.held.write_state(&mut |bytes| hasher.update(bytes));
        hasher.finalize().into()
    }

    /// Whether the event may make a symbol watched: none does once there is no room.
    #[inline]
    fn is_news_to_watch(&self, input: &Input<'_>) -> bool {
        let symbol = input.update.symbol;
        self.watched.len() < self.watched.capacity()
            && self.config.watch.is_news(input.event, symbol, self.is_watched(symbol))
    }

    #[cold]
    fn consider(&mut self, symbol: SymbolId, event: &MarketEvent) {
        if self.config.watch.wants(event.symbol_name()) {
            self.watch(symbol);
        }
    }

    #[inline]
    fn is_to_decide(&mut self, slot: usize, input: &Input<'_>, state: BookState) -> bool {
        let trigger = Trigger::of(input.update, state);
        let Some(watched) = self.watched.get(slot) else {
            return false;
        };
        let is_early = input.event.recv_time < self.decide_from;
        if trigger == Trigger::None || self.is_halted || watched.is_blocked || is_early {
            return false;
        }
        if trigger == Trigger::BookNotGood {
            self.counters.book_not_good_count = self.counters.book_not_good_count.saturating_add(1);
            return false;
        }
        let is_too_soon = input.event.recv_time.since(watched.decided_time) < self.config.decide.min_decision_interval;
        self.counters.throttled_count = self.counters.throttled_count.saturating_add(u64::from(is_too_soon));
        !is_too_soon
    }

    /// Resting orders leave a book that cannot be believed or traded on; while halted or blocked they leave any book.
    #[inline]
    fn withdraw_if_bad(&mut self, slot: usize, state: BookState, now: EpochNanos, out: &mut IntentBatch) {
        let is_blocked = self.is_halted || self.watched.get(slot).is_some_and(|watched| watched.is_blocked);
        let is_bad = state.bits() & self.config.decide.withdraw_on.bits() != 0;
        if (is_bad || is_blocked) && self.controller.has_orders(slot) {
            self.is_withdrawal_due = true;
            self.controller.withdraw(slot, now, out);
        }
        if (is_bad || is_blocked) && self.held.is_on() && self.held.has_rest(slot) {
            self.is_withdrawal_due = true;
            self.held.withdraw(slot, now, out);
        }
    }

    /// A change about the whole market: a gap, a step of the session, a new session, a snapshot.
    #[cold]
    fn on_market_change<B: MarketBooks>(&mut self, event: &MarketEvent, books: &B, out: &mut IntentBatch) {
        for slot in 0..self.watched.len() {
            let Some(watched) = self.watched.get_mut(slot) else {
                continue;
            };
            if matches!(event.kind, EventKind::SessionStart | EventKind::SnapshotStart) {
                watched.decided_time = EpochNanos::MIN;
                self.latents.reset(&self.model, slot);
            }
            let state = books.state(watched.symbol);
            self.withdraw_if_bad(slot, state, event.recv_time, out);
        }
    }

    #[inline]
    fn decide<B: MarketBooks>(
        &mut self,
        (slot, input, state): (usize, &Input<'_>, BookState),
        books: &B,
        stopwatch: &mut impl Stopwatch,
        out: &mut IntentBatch,
    ) {
        let (symbol, now) = (input.update.symbol, input.event.recv_time);
        let top = books.top(symbol);
        let features = self.features.vector(slot).unwrap_or([0.0; FEATURE_COUNT]);
        stopwatch.lap(Stage::Features);
        let position = self.controller.position(slot);
        let observed = self.observe(slot, &features, position, &top);
        stopwatch.lap(Stage::Observe);
        let (heads, outcome) = match observed {
            Ok(heads) => {
                self.advance_due = Some(slot);
                let ticks = self.config.ticks.of(symbol);
                let view = DecisionView { symbol, slot, now, top, state, ticks, heads: &heads };
                (heads, self.controller.decide(&view, out))
            }
            Err(_) => (Heads::default(), self.block(slot, now, out)),
        };
        stopwatch.lap(Stage::Controller);
        self.counters.decision_count = self.counters.decision_count.saturating_add(1);
        if let Some(watched) = self.watched.get_mut(slot) {
            watched.decided_time = now;
        }
        let target = self.controller.target(slot);
        let non_finite = observed.err();
        self.decision =
            Decision { seq: input.seq, time: now, symbol, outcome, position, target, features, heads, non_finite };
    }

    #[inline]
    fn observe(
        &mut self,
        slot: usize,
        features: &FeatureVector,
        position: Position,
        top: &TopOfBook,
    ) -> Result<Heads, NonFinite> {
        let input = self.config.decide.position_input(position, top);
        let mut latent = self.latents.latent_mut(slot).ok_or(NonFinite::Size)?;
        self.kernel.observe(&self.model, &mut latent, features, input)
    }

    /// After a number that is none: the symbol's orders leave and nothing more is decided on it.
    #[cold]
    fn block(&mut self, slot: usize, now: EpochNanos, out: &mut IntentBatch) -> Outcome {
        self.counters.non_finite_count = self.counters.non_finite_count.saturating_add(1);
        if let Some(watched) = self.watched.get_mut(slot) {
            watched.is_blocked = true;
        }
        self.is_withdrawal_due = true;
        self.controller.withdraw(slot, now, out);
        Outcome::NonFinite
    }
}

impl DecideConfig {
    /// Our situation as the model's controller head sees it.
    fn position_input(&self, position: Position, top: &TopOfBook) -> PositionInput {
        let (bid, ask) = (top.bid.map_or(0, |level| level.price.0), top.ask.map_or(0, |level| level.price.0));
        let mid_x2 = bid.saturating_add(ask) as f64;
        let bps = |twice: f64| if mid_x2 > 0.0 { narrow(1e4 * twice / mid_x2) } else { 0.0 };
        PositionInput {
            position: narrow(position.0 as f64 / self.target_position_qty.0.max(1) as f64),
            half_spread_bps: bps(ask.saturating_sub(bid) as f64),
            fee_bps: bps(2.0 * self.fee_removed.0 as f64),
        }
    }
}
