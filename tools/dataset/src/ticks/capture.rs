//! Captures: bytes → messages → books → features, by the same code, and with the same rule of decision, as in trading.

use std::path::Path;

use peregrine_book::{BookAction, BookUpdate, Books, MarketBooks};
use peregrine_decide::{FeatureConfig, FeatureEngine, FeatureSink, Trigger, Watch};
use peregrine_source::market::{Input, InputPlan, Mdp3Plan};
use peregrine_types::{BookState, EventKind, EventSeq, Full, MarketEvent, Nanos, Sink, Symbol, SymbolId, TopOfBook};

use super::config::Hours;
use super::sequences::{Assembler, Row};
use super::{TickInputs, TicksConfig};
use crate::DatasetError;
use crate::integrity::{GateReport, Place, TickGate, TickRow, TickVerdict};
use crate::scale::narrow;
use crate::sink::SequenceSink;

/// Prices count 10⁻⁹ of the currency.
const PRICE_UNIT: f64 = 1e-9;

/// What is known of a watched symbol beside its features.
struct Watched {
    symbol: SymbolId,
    gate: TickGate,
    rows: Assembler,
}

/// Reads captures into `sink`; `observer` sees the vector of every row with the event that it belongs to.
pub(super) fn build(
    inputs: &TickInputs,
    config: &TicksConfig,
    sink: &mut dyn SequenceSink,
    observer: &mut dyn FeatureSink,
) -> Result<GateReport, DatasetError> {
    let watch = config.watch().unwrap_or(Watch::All);
    let plan = InputPlan {
        files: inputs.files.clone(),
        date: inputs.date,
        zone: config.ticks.zone.clone(),
        symbol_count_max: config.capture.symbol_count_max,
        reorder_window: Nanos(i64::from(config.capture.reorder_window_ns)),
        is_sequence_checked: config.capture.is_sequence_checked,
        mdp3: Mdp3Plan::default(),
    };
    let named: &[Symbol] = match &watch {
        Watch::All => &[],
        Watch::Named(names) => names,
    };
    let mut input = Input::open(&plan, named)?;
    let (_, hours) =
        config.hours(input.session().date).ok_or_else(|| DatasetError::shape("the date is out of range"))?;
    let mut builder = Builder::new(inputs, config, watch, hours)?;
    let mut target = Target { sink, observer };
    let mut events: Vec<MarketEvent> = Vec::new();
    loop {
        let mut collect = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        let is_more = input.step(&mut collect)?;
        if !is_more {
            input.finish(&mut Collect(&mut events));
        }
        for event in events.drain(..) {
            builder.on_event(&event, &input, &mut target)?;
        }
        if !is_more {
            break;
        }
    }
    builder.finish(&mut target)
}

struct Collect<'a>(&'a mut Vec<MarketEvent>);

impl Sink<MarketEvent> for Collect<'_> {
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.0.push(event);
        Ok(())
    }
}

/// Where rows and vectors go.
struct Target<'a> {
    sink: &'a mut dyn SequenceSink,
    observer: &'a mut dyn FeatureSink,
}

struct Builder<'a> {
    config: &'a TicksConfig,
    horizons: Vec<usize>,
    watch: Watch,
    hours: Hours,
    books: Books,
    features: FeatureEngine,
    watched: Vec<Watched>,
    report: GateReport,
    next_seq: u64,
    place: Place,
}

impl<'a> Builder<'a> {
    fn new(inputs: &TickInputs, config: &'a TicksConfig, watch: Watch, hours: Hours) -> Result<Self, DatasetError> {
        let capture = &config.capture;
        let (symbols, watched) = (capture.symbol_count_max, capture.watched_count_max);
        let feature_config =
            FeatureConfig { tick: config.tick(), session_open: hours.open, session_close: hours.close };
        let file = inputs.files.first().map_or(Path::new(""), |file| file.as_path()).into();
        Ok(Self {
            config,
            horizons: super::horizons(config),
            watch,
            hours,
            books: Books::new(config.book_config()).map_err(DatasetError::shape)?,
            features: FeatureEngine::new(feature_config, symbols, watched),
            watched: Vec::new(),
            report: GateReport::default(),
            next_seq: 0,
            place: Place { file, line: 0 },
        })
    }

    /// The order of steps is that of the decide stage: book, watching, features, the rule of decision.
    fn on_event(&mut self, event: &MarketEvent, input: &Input, target: &mut Target<'_>) -> Result<(), DatasetError> {
        let seq = EventSeq(self.next_seq);
        self.next_seq = self.next_seq.saturating_add(1);
        self.place.line = self.next_seq;
        let update = self.books.apply(event);
        let symbol = update.symbol;
        let is_watched = self.features.slot(symbol).is_some();
        if self.watch.is_news(event, symbol, is_watched) && self.watch.wants(event.symbol_name()) {
            self.start_watching(symbol, input);
        }
        let Some(slot) = self.features.on_event(event, &update, &self.books) else {
            return self.on_market_change(event, &update, target);
        };
        let state = self.books.state(symbol);
        match Trigger::of(&update, state) {
            Trigger::None if state.is_good() => Ok(()),
            Trigger::None if self.watched.get(slot).is_some_and(|watched| !watched.rows.is_open()) => Ok(()),
            Trigger::None | Trigger::BookNotGood => self.on_bad_book(slot, (event, state), target),
            Trigger::Decide => self.on_row(slot, (seq, event, &update), target),
        }
    }

    fn start_watching(&mut self, symbol: SymbolId, input: &Input) {
        let known = self.features.watched_count();
        if self.features.watch(symbol) == Ok(known) {
            let name = input.feed().symbols().name(symbol);
            let name = name.map_or_else(|| format!("symbol-{symbol}"), |name| name.to_string());
            self.watched.push(Watched { symbol, gate: TickGate::default(), rows: Assembler::new(&name) });
        }
    }

    /// A gap, a step of the session, a new session or a snapshot: sequences of books that are no longer good end.
    fn on_market_change(
        &mut self,
        event: &MarketEvent,
        update: &BookUpdate,
        target: &mut Target<'_>,
    ) -> Result<(), DatasetError> {
        let is_new_session = matches!(event.kind, EventKind::SessionStart | EventKind::SnapshotStart);
        let is_of_market = update.symbol == SymbolId::MARKET || is_new_session;
        if !is_of_market || (update.action != BookAction::StateChanged && !is_new_session) {
            return Ok(());
        }
        for watched in &mut self.watched {
            if is_new_session || !self.books.state(watched.symbol).is_good() {
                watched.gate.reset();
                watched.rows.cut(&self.horizons, target.sink)?;
            }
        }
        Ok(())
    }

    /// An event that leaves a bad book behind: judged where it would have been decided on, or where it ends a sequence.
    fn on_bad_book(
        &mut self,
        slot: usize,
        (event, state): (&MarketEvent, BookState),
        target: &mut Target<'_>,
    ) -> Result<(), DatasetError> {
        let Some(watched) = self.watched.get_mut(slot) else { return Ok(()) };
        let row = row_of(event, &self.books.top(watched.symbol), state, &self.hours);
        let verdict = watched.gate.judge(&row, &self.config.integrity, &mut self.report, &self.place)?;
        match verdict {
            TickVerdict::Keep | TickVerdict::Drop => Ok(()),
            TickVerdict::CutBefore | TickVerdict::CutAndDrop => watched.rows.cut(&self.horizons, target.sink),
        }
    }

    fn on_row(
        &mut self,
        slot: usize,
        (seq, event, update): (EventSeq, &MarketEvent, &BookUpdate),
        target: &mut Target<'_>,
    ) -> Result<(), DatasetError> {
        let (Some(watched), Some(vector)) = (self.watched.get_mut(slot), self.features.vector(slot)) else {
            return Ok(());
        };
        let top = self.books.top(watched.symbol);
        let gated = row_of(event, &top, BookState::GOOD, &self.hours);
        match watched.gate.judge(&gated, &self.config.integrity, &mut self.report, &self.place)? {
            TickVerdict::Drop => return Ok(()),
            TickVerdict::CutAndDrop => return watched.rows.cut(&self.horizons, target.sink),
            TickVerdict::CutBefore => watched.rows.cut(&self.horizons, target.sink)?,
            TickVerdict::Keep => {}
        }
        let qty = |level: Option<peregrine_types::Level>| narrow(level.map_or(0.0, |level| level.qty.0 as f64));
        let sum = gated.bid + gated.ask;
        let is_trade = if update.trade.is_some() { 1.0 } else { 0.0 };
        let row = Row {
            time_ns: event.recv_time.0,
            features: &vector,
            mid_x2: sum,
            half_spread: narrow((gated.ask - gated.bid) / sum),
            context: &[narrow(0.5 * sum), qty(top.bid), qty(top.ask), is_trade],
        };
        target.observer.on_vector(seq, event.recv_time, watched.symbol, &vector);
        watched.rows.push(&row, &self.horizons, target.sink)
    }

    fn finish(mut self, target: &mut Target<'_>) -> Result<GateReport, DatasetError> {
        for watched in &mut self.watched {
            watched.rows.cut(&self.horizons, target.sink)?;
        }
        Ok(self.report)
    }
}

fn row_of(event: &MarketEvent, top: &TopOfBook, state: BookState, hours: &Hours) -> TickRow {
    let price = |level: Option<peregrine_types::Level>| level.map_or(0.0, |level| level.price.0 as f64 * PRICE_UNIT);
    let market = BookState::STALE.with(BookState::HALTED).with(BookState::QUARANTINED);
    TickRow {
        time_ns: event.recv_time.0,
        bid: price(top.bid),
        ask: price(top.ask),
        is_in_session: hours.contains(event.recv_time.0),
        is_book_good: state.bits() & market.bits() == 0,
    }
}
