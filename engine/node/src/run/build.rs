//! Building the stages of a run out of its configuration.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_decide::{Strategy, StrategyConfig, Watch};
use peregrine_eventlog::{Decide, EventLog, LogConfig, Measure, Recorder, RunFacts, Send, StreamWriter};
use peregrine_gateway::{Fees, FifoQueue, PaperConfig, PaperVenue, VenueLatency};
use peregrine_model::{AccuracyError, Backend, DecisionRule, Kernel, Model, Precision, accuracy_gate, seeded_walk};
use peregrine_risk::{InstrumentRules, RiskGate};
use peregrine_runtime::{
    HugePageScope, HugePages, IntervalReader, LatencyBounds, LatencyGuard, LatencyGuardConfig, LatencyRecorder,
    SettingReport, Stopwatch, ThreadPlan, TscClock, TscStopwatch, WaitStrategy, latency_recorder, lock_memory,
    system_now,
};
use peregrine_types::{EpochNanos, Nanos, Symbol, SymbolId};

use super::latency::{self, LatencyFile};
use super::start::RunStart;
use super::{Flags, ReplayDecide, ReplayMachine, ReplaySend, RunPlan};
use crate::config::{
    BackendChoice, Config, HugePagesChoice, Loaded, ModeChoice, PrecisionChoice, RuntimeSection, Wait, Wiring,
};
use crate::exit::Failure;
use crate::stage::decide::{DecideParts, DecideStage, DecideTimes, Guard};
use crate::stage::feed::FeedLog;
use crate::stage::log::LosslessLog;
use crate::stage::machine::{Inbox, Machine};
use crate::stage::pnl::Pnl;
use crate::stage::schedule::Schedule;
use crate::stage::send::SendStage;

/// Turns without work before a spinning role yields.
const SPINS_BEFORE_YIELD: u32 = 256;
/// Fills that one run can tell apart.
pub(super) const FILL_COUNT_MAX: usize = 1 << 20;
/// Bytes of one stream at most: 256 GiB.
const STREAM_LEN_MAX: u64 = 1 << 38;
/// Time between two points of the equity curve, until there are too many.
const EQUITY_STEP: Nanos = Nanos::from_secs(1);

/// The stages of a run, ready to be launched.
pub(super) struct Built {
    pub(super) books: Books,
    pub(super) decide: ReplayDecide,
    pub(super) send: ReplaySend,
    pub(super) inbox: Inbox,
    pub(super) feed_log: FeedLog,
    pub(super) recorder: Recorder,
    pub(super) measure: StreamWriter<Measure>,
    pub(super) readers: Vec<IntervalReader>,
    pub(super) settings: Vec<SettingReport>,
    pub(super) flags: Flags,
    /// What was written of it before the first event.
    pub(super) start: RunStart,
}

/// Builds every stage of `plan`.
pub(super) fn build(
    plan: &RunPlan,
    midnight: EpochNanos,
    clock: &TscClock,
    schedule: &Schedule,
) -> Result<Built, Failure> {
    let config = &plan.loaded.config;
    let model = load_model(&plan.loaded)?;
    // Orders that go to a real venue take as long as they take.
    let is_live = plan.live.is_some_and(|live| live.mode == ModeChoice::Live) || plan.heard.is_some();
    let latency = if is_live { None } else { latency::of_run(&plan.loaded)? };
    let facts = RunFacts {
        start_time: system_now(),
        host_flags: 0,
        config_hash: config.sha256(),
        model_hash: *model.sha256(),
        binary_hash: super::facts::binary_sha256(),
    };
    let log = EventLog::create(&log_config(config, &plan.dir), &facts).map_err(Failure::io)?;
    let start = RunStart::of(plan, &facts, latency.as_ref().map(LatencyFile::input_file))?;
    start.write(plan)?;
    let flags = Flags::default();
    let parts = MachineParts {
        decide_log: LosslessLog::new(log.decide, flags.failed.clone()),
        send_log: LosslessLog::new(log.send, flags.failed.clone()),
        guard: guard(plan)?,
        schedule: schedule.clone(),
        stopwatch: TscStopwatch::new(clock),
    };
    let scope = huge_pages(&config.runtime);
    let way = latency::venue_latency(config, latency.as_ref(), midnight);
    let (machine, readers) = machine_of(config, midnight, (model, way), parts)?;
    let mut settings = scope.finish();
    if config.runtime.lock_memory {
        settings.push(lock_memory());
    }
    let Machine { books, mut decide, send, inbox } = machine;
    if let Some(from) = plan.from {
        decide.decide_from(from);
    }
    let feed_log = FeedLog::new(LosslessLog::new(log.feed, flags.failed.clone()), midnight);
    let (recorder, measure) = (log.recorder, log.measure);
    Ok(Built { books, decide, send, inbox, feed_log, recorder, measure, readers, settings, flags, start })
}

/// Huge pages for what this thread builds until the scope ends, as the profile wants them.
#[must_use]
pub fn huge_pages(section: &RuntimeSection) -> HugePageScope {
    HugePageScope::new(match section.huge_pages {
        HugePagesChoice::Off => HugePages::Off,
        HugePagesChoice::Transparent => HugePages::Transparent,
        HugePagesChoice::Reserved => HugePages::Reserved,
    })
}

/// What a machine is made of besides its profile.
#[derive(Debug)]
pub struct MachineParts<W> {
    /// The decide stream.
    pub decide_log: LosslessLog<Decide>,
    /// The send stream.
    pub send_log: LosslessLog<Send>,
    /// Where the latency guard's verdicts come from.
    pub guard: Guard,
    /// When events are due.
    pub schedule: Schedule,
    /// The clock of measurements.
    pub stopwatch: W,
}

/// Books, decide stage and send stage of a replay as the profile wants them, and the readers of their histograms.
///
/// # Errors
/// [`Failure`] when the model or the file of latencies is refused or values do not hold together.
pub fn machine<W: Stopwatch>(
    loaded: &Loaded,
    midnight: EpochNanos,
    parts: MachineParts<W>,
) -> Result<(ReplayMachine<W>, Vec<IntervalReader>), Failure> {
    let way = latency::venue_latency(&loaded.config, LatencyFile::of(loaded)?.as_ref(), midnight);
    machine_of(&loaded.config, midnight, (load_model(loaded)?, way), parts)
}

fn machine_of<W: Stopwatch>(
    config: &Config,
    midnight: EpochNanos,
    (model, latency): (Model, VenueLatency),
    parts: MachineParts<W>,
) -> Result<(ReplayMachine<W>, Vec<IntervalReader>), Failure> {
    let mut readers = Vec::new();
    let decide = DecideStage::new(DecideParts {
        strategy: strategy(config, midnight, model)?,
        risk: risk(config)?,
        guard: parts.guard,
        log: parts.decide_log,
        stopwatch: parts.stopwatch,
        schedule: parts.schedule,
        times: decide_times(&mut readers)?,
        pnl: Pnl::new(symbol_count(config), watched_count(config), EQUITY_STEP),
        keep_warm: Some(config.model.keep_warm_us).filter(|us| *us > 0).map(|us| Nanos::from_micros(i64::from(us))),
    });
    let symbols = symbol_count(config);
    let send = SendStage::new(venue(config, latency)?, parts.send_log, symbols, order_count(config), FILL_COUNT_MAX);
    let books = Books::new(book_config(config)).map_err(Failure::usage)?;
    let inbox = Inbox::new(config.runtime.order_slots.saturating_mul(2));
    Ok((Machine { books, decide, send, inbox }, readers))
}

pub(super) fn symbol_count(config: &Config) -> usize {
    SymbolId(config.feed.symbol_count_max).index()
}

fn watched_count(config: &Config) -> usize {
    SymbolId(config.decide.watched_count_max).index()
}

pub(super) fn order_count(config: &Config) -> usize {
    config.runtime.order_slots
}

/// The books' capacities.
pub(super) const fn book_config(config: &Config) -> BookConfig {
    BookConfig {
        symbol_count_max: config.feed.symbol_count_max,
        order_count_max: config.book.order_count_max,
        level_count_max: config.book.level_count_max,
        is_unknown_state_tradable: config.book.is_unknown_state_tradable,
    }
}

/// Where the log of a run lies and how large it may become.
#[must_use]
pub fn log_config(config: &Config, dir: &Path) -> LogConfig {
    let staging_dir = Some(PathBuf::from(&config.log.staging_dir)).filter(|dir| !dir.as_os_str().is_empty());
    LogConfig {
        dir: dir.to_owned(),
        staging_dir,
        staging_record_counts: [u64::from(config.log.staging_records); 4],
        segment_len_max: u64::from(config.log.segment_mib) << 20,
        stream_len_max: STREAM_LEN_MAX,
        sync_interval: Nanos::from_millis(100),
        is_memory_locked: config.runtime.lock_memory,
    }
}

/// What runs call the bundled model.
pub const BUNDLED_NAME: &str = "demo-micro (bundled)";

/// The bundled model's file: trained on a generated session (`peregrine-lab demo-model`).
#[must_use]
pub const fn bundled_model() -> &'static [u8] {
    include_bytes!("../../../../strategy/model/models/demo-micro.safetensors")
}

/// What reports call the run's model.
pub(super) fn model_name(loaded: &Loaded) -> String {
    let file = &loaded.config.model.file;
    if file == "bundled" { BUNDLED_NAME.to_owned() } else { file.clone() }
}

fn load_model(loaded: &Loaded) -> Result<Model, Failure> {
    let section = &loaded.config.model;
    let read;
    let (name, bytes) = if section.file == "bundled" {
        ("bundled".to_owned(), bundled_model())
    } else {
        let path = loaded.resolve(&section.file);
        read = std::fs::read(&path)
            .map_err(|error| Failure::file("read the model", &path, &error, "set model.file to a model file"))?;
        (path.display().to_string(), read.as_slice())
    };
    let model = if section.sha256.is_empty() {
        Model::load(bytes)
    } else {
        Model::load_expecting(bytes, &parse_sha256(&section.sha256))
    };
    let precision = match section.precision {
        PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::Int16 => Precision::Int16,
        PrecisionChoice::Int8 => Precision::Int8,
    };
    let refused = |error: &dyn Display| Failure::usage(format_args!("the model is refused ({name}): {error}"));
    let model = model.map_err(|error| refused(&error))?;
    if precision == Precision::F32 {
        return Ok(model);
    }
    let narrow = model.quantise(precision).map_err(|error| refused(&error))?;
    check_decisions(&loaded.config, &model, &narrow).map_err(|error| refused(&error))?;
    Ok(narrow)
}

/// Observations of the walk on which narrower weights must decide alike.
const ACCURACY_WALK_LEN: usize = 20_000;

/// The accuracy gate of narrower weights with this profile's rule, on a seeded walk: some tens of milliseconds at the start.
fn check_decisions(config: &Config, exact: &Model, narrow: &Model) -> Result<(), AccuracyError> {
    #[expect(clippy::cast_possible_truncation, reason = "0 to 1, rounded to the kernel's floats")]
    let (action_threshold, action_hysteresis) =
        (config.decide.action_threshold as f32, config.decide.action_hysteresis as f32);
    let rule = DecisionRule { action_threshold, action_hysteresis, half_spread_bps: 0.5, fee_bps: 0.3 };
    let Some(kernel) = Kernel::new(Backend::best()) else { return Ok(()) };
    let walk = seeded_walk(exact, ACCURACY_WALK_LEN);
    accuracy_gate(&kernel, (exact, narrow), &[&walk], &rule)?.verdict()
}

/// The bytes of 64 hex digits; the configuration checked that they are.
fn parse_sha256(hex: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let text = std::str::from_utf8(pair).unwrap_or("0");
        *byte = u8::from_str_radix(text, 16).unwrap_or(0);
    }
    bytes
}

fn strategy(config: &Config, midnight: EpochNanos, model: Model) -> Result<Strategy, Failure> {
    let backend = match config.model.backend {
        BackendChoice::Auto => Backend::best(),
        BackendChoice::Scalar => Backend::Scalar,
        BackendChoice::Avx2 => Backend::Avx2,
        BackendChoice::Avx512 => Backend::Avx512,
    };
    let kernel = Kernel::new(backend).ok_or_else(|| {
        Failure::usage(format_args!("model.backend: this processor has no {backend:?}; set \"auto\" or \"scalar\""))
    })?;
    let names: Vec<Symbol> = config.decide.symbols.iter().filter_map(|name| Symbol::new(name)).collect();
    let is_all = config.decide.symbols.iter().any(|name| name == "*");
    let strategy = StrategyConfig {
        decide: config.decide_config(),
        session_open: midnight.plus(Nanos::from_secs(config.feed.session_open_s)),
        session_close: midnight.plus(Nanos::from_secs(config.feed.session_close_s)),
        symbol_count_max: config.feed.symbol_count_max,
        watched_count_max: config.decide.watched_count_max,
        watch: if is_all { Watch::All } else { Watch::Named(names) },
        ticks: config.tick_tables().map_err(Failure::usage)?,
        held: config.held_config(),
    };
    let strategy = Strategy::new(strategy, model, kernel);
    let mut strategy = strategy.map_err(|error| Failure::usage(format_args!("[decide]: {error}")))?;
    // By name from the first event on: an input that begins within the session may never announce them.
    for (name, id) in config.named_symbols().into_iter().zip(0..) {
        if config.decide.symbols.iter().any(|watched| watched == name) && !strategy.watch(SymbolId(id)) {
            return Err(Failure::usage(format_args!("decide.watched_count_max leaves no room for {name}: raise it")));
        }
    }
    Ok(strategy)
}

fn risk(config: &Config) -> Result<RiskGate, Failure> {
    let section = &config.risk;
    let limits = config.limits().validate().map_err(|violations| {
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        Failure::usage(format_args!("[risk]: {}", list.join("; ")))
    })?;
    let mut gate = RiskGate::new(&limits, config.feed.symbol_count_max);
    let permitted = &section.permitted_symbols;
    let is_all = permitted.iter().any(|name| name == "*");
    let ticks = config.tick_tables().map_err(Failure::usage)?;
    let named = config.named_symbols();
    for id in 0..config.feed.symbol_count_max {
        let name = named.get(SymbolId(id).index());
        if is_all || name.is_some_and(|name| permitted.iter().any(|known| known == name)) {
            gate.permit(SymbolId(id), Some(InstrumentRules { ticks: *ticks.of(SymbolId(id)) }));
        }
    }
    Ok(gate)
}

fn venue(config: &Config, latency: VenueLatency) -> Result<PaperVenue<FifoQueue, VenueLatency>, Failure> {
    let section = &config.gateway;
    let paper = PaperConfig {
        symbol_count_max: symbol_count(config),
        order_count_max: order_count(config),
        fees: Fees { added: section.fee_added, removed: section.fee_removed },
        ticks: config.tick_tables().map_err(Failure::usage)?,
    };
    PaperVenue::new(paper, FifoQueue, latency).map_err(|error| Failure::usage(format_args!("[gateway]: {error}")))
}

fn guard(plan: &RunPlan) -> Result<Guard, Failure> {
    match &plan.guard_script {
        Some(script) => Ok(Guard::Scripted { script: script.clone(), next: 0 }),
        None => latency_guard(&plan.loaded.config).map(Guard::Measured),
    }
}

/// The latency guard as the profile wants it.
///
/// # Errors
/// [`Failure`] when its values do not hold together.
pub fn latency_guard(config: &Config) -> Result<LatencyGuard, Failure> {
    let section = &config.guard;
    let guard = LatencyGuard::new(LatencyGuardConfig {
        window_sample_count: section.window_samples as usize,
        window_time: None,
        sample_count_min: section.samples_min as usize,
        warn_above: Nanos(section.inference_p99_warn_ns),
        halt_above: Nanos(section.inference_p99_halt_ns),
    });
    guard.map_err(|error| Failure::usage(format_args!("[guard]: {error}")))
}

fn decide_times(readers: &mut Vec<IntervalReader>) -> Result<DecideTimes, Failure> {
    let mut recorder = |name: &str| -> Result<LatencyRecorder, Failure> {
        let (recorder, reader) = latency_recorder(name, LatencyBounds::STANDARD).map_err(Failure::usage)?;
        readers.push(reader);
        Ok(recorder)
    };
    Ok(DecideTimes {
        event_to_order: recorder("event_to_order")?,
        event_to_decision: recorder("event_to_decision")?,
        features: recorder("features")?,
        observe: recorder("observe")?,
        controller: recorder("controller")?,
        advance: recorder("advance")?,
        queue_wait: recorder("queue_wait")?,
    })
}

/// Who runs where.
pub(crate) fn thread_plans(section: &RuntimeSection) -> Vec<ThreadPlan> {
    let wait = match section.wait {
        Wait::Spin => WaitStrategy::Spin,
        Wait::SpinThenYield => WaitStrategy::SpinThenYield { spin_count: SPINS_BEFORE_YIELD },
        Wait::Park => WaitStrategy::Park { spin_count: SPINS_BEFORE_YIELD, park_time: Duration::from_micros(100) },
    };
    let fifo_priority = u8::try_from(section.fifo_priority).ok().filter(|priority| *priority > 0);
    let plan = |name: &str, core: usize| ThreadPlan {
        core: section.pin_threads.then_some(core),
        wait,
        fifo_priority,
        slow_turn: Some(Nanos::from_millis(1)),
        ..ThreadPlan::parked(name)
    };
    // The record role waits for disks: it parks, and never at a real-time priority.
    let record =
        ThreadPlan { core: section.pin_threads.then_some(section.record_core), ..ThreadPlan::parked("record") };
    match section.wiring {
        Wiring::Fused => vec![plan("feed", section.feed_core), record],
        Wiring::FeedApart => {
            vec![plan("feed", section.feed_core), plan("decide", section.decide_core), record]
        }
        Wiring::FourThreads => vec![
            plan("feed", section.feed_core),
            plan("decide", section.decide_core),
            plan("send", section.send_core),
            record,
        ],
    }
}
