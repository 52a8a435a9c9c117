//! One run of the machine: everything is built, launched, watched and taken down here.

mod build;
mod facts;
mod latency;
mod live;
mod parts;
mod sources;
mod start;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peregrine_book::{Books, MarketBooks};
use peregrine_decide::HeldMemory;
use peregrine_eventlog::records::{GuardHalt, HeardRecord};
use peregrine_eventlog::{LogReport, Measure, Recorder, StreamWriter};
use peregrine_gateway::{FifoQueue, LatencyModel, VenueLatency};
use peregrine_report::ThroughputPoint;
use peregrine_runtime::{
    FinishedRole, IntervalReader, Role, RunningRole, SettingReport, SlotConsumer, StopFlag, ThreadPlans, TscClock,
    TscStopwatch, TurnFigures, available_cores, index_ring, slot_ring,
};
use peregrine_types::{EpochNanos, MarketEvent, Nanos, Symbol};

use crate::config::{Loaded, Wiring};
use crate::exit::Failure;
use crate::input::{EventInput, Input, InputPlan};
use crate::stage::batch::{Batch, EventSink};
use crate::stage::decide::{DecideEnd, DecideStage};
use crate::stage::feed::FeedLog;
use crate::stage::machine::Machine;
use crate::stage::path::SendPath;
use crate::stage::repeat::RepeatedSend;
use crate::stage::schedule::{Pace, Schedule};
use crate::stage::send::SendStage;
use crate::wiring::{
    DecideRole, FeedProgress, FeedRings, FeedRole, InputEnd, Lockstep, MachineRole, RecordRole, SendRole,
};

pub(crate) use build::thread_plans;
pub use build::{BUNDLED_NAME, MachineParts, bundled_model, huge_pages, latency_guard, log_config, machine};
pub use facts::{CONFIG_NAME, InputFile, MANIFEST_NAME, Manifest, sha256_of_file};
pub(crate) use facts::{hex, write_file};
pub use latency::LatencyFile;
pub use live::LiveSettings;
pub(crate) use live::{RECORDING_NAME, lines as live_plan};
pub use parts::{RunInput, RunVenue};
pub(crate) use sources::try_lines;
pub(crate) use start::write_whole;
pub use start::{RunStart, START_NAME};

use watch::Watch;

/// Twice the reports that one read of an order session can bring, and more: 16 KiB of messages of 23 bytes or more.
const READ_REPORT_COUNT_MAX: usize = 4_096;

/// The stages as a replay runs them.
pub type ReplayDecide = DecideStage<Books, TscStopwatch>;
/// The send stage of a replay.
pub type ReplaySend = SendStage<FifoQueue, VenueLatency>;

/// Books, decide stage and send stage of a replay.
pub type ReplayMachine<W = TscStopwatch> = Machine<Books, W, ReplaySend>;

/// The machine with a send stage of either kind.
pub type LiveMachine<S> = Machine<Books, TscStopwatch, S>;

/// What is to be run.
#[derive(Debug)]
pub struct RunPlan {
    /// The profile.
    pub loaded: Loaded,
    /// The command, for the manifest.
    pub command: String,
    /// The files.
    pub input: InputPlan,
    /// How fast.
    pub pace: Pace,
    /// First moment, if the input is cut.
    pub from: Option<EpochNanos>,
    /// Last moment, excluded, if the input is cut.
    pub to: Option<EpochNanos>,
    /// Packets, or messages of a raw file, after which the input ends.
    pub packet_count_max: Option<u64>,
    /// What the latency guard did in the run that this one verifies.
    pub guard_script: Option<Vec<GuardHalt>>,
    /// What the live run that this one verifies heard beside the market's events.
    pub heard: Option<HeardScript>,
    /// Whether the input breaks off, as the run did that this one verifies: nothing is concluded from its end.
    pub is_cut: bool,
    /// What makes it a live run; `input` has no files then.
    pub live: Option<LiveSettings>,
    /// Folder of the run; must not hold a log.
    pub dir: PathBuf,
}

/// What the decide stage of a live run heard beside the market's events: an input of the run, as the events are.
#[derive(Clone, Debug, Default)]
pub struct HeardScript {
    /// The records of its log, in their order.
    pub records: Vec<HeardRecord>,
    /// What earlier runs of the venue's session had left held by the engine.
    pub memories: Vec<HeldMemory>,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    /// Folder of the run.
    pub dir: PathBuf,
    /// The log, sealed.
    pub log: LogReport,
    /// The input after its end.
    pub input: RunInput,
    /// Market events handed over.
    pub event_count: u64,
    /// Running hash of the events.
    pub event_hash: [u64; 2],
    /// The decide stage after the last event.
    pub decide: DecideEnd,
    /// The latency model of the paper venue, for people; says nothing where orders went to a real one.
    pub latency_model: String,
    /// The venue after the last event, as this side knows it, and our orders.
    pub venue: RunVenue,
    /// The books after the last event.
    pub books: Books,
    /// Histograms.
    pub latencies: Vec<IntervalReader>,
    /// Turns of every thread.
    pub turns: Vec<(String, TurnFigures)>,
    /// What was asked of the system, and what it answered.
    pub settings: Vec<SettingReport>,
    /// Wall time from the first packet to the last record.
    pub elapsed: Duration,
    /// Whether somebody stopped it.
    pub is_interrupted: bool,
    /// What another run must repeat.
    pub manifest: Manifest,
    /// Hash over the state after the last event.
    pub state_hash: [u8; 32],
    /// When the run started, by the system clock.
    pub started: EpochNanos,
    /// How fast it was to go.
    pub pace: Pace,
    /// Who shared a thread.
    pub wiring: Wiring,
    /// The symbols that the profile watches, `*` for whatever comes first.
    pub watch: Vec<String>,
    /// Name of the model.
    pub model_name: String,
    /// Venue's time of the first event.
    pub first_time: Option<EpochNanos>,
    /// Venue's time of the last event.
    pub last_time: Option<EpochNanos>,
    /// Events over time.
    pub throughput: Vec<ThroughputPoint>,
}

/// What a run tells while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Market events so far.
    pub event_count: u64,
    /// Bytes read so far.
    pub read_len: u64,
    /// Bytes that the files have.
    pub total_len: u64,
}

/// The roles after the last event, whatever the wiring was.
struct Ended<I, S> {
    input: I,
    feed_log: FeedLog,
    feed_error: Option<peregrine_source::SourceError>,
    packet_count: u64,
    decide: ReplayDecide,
    send: S,
    books: Books,
    turns: Vec<(String, TurnFigures)>,
    settings: Vec<SettingReport>,
}

/// Flags that end a run.
#[derive(Clone, Debug, Default)]
struct Flags {
    /// Somebody asked for a clean stop.
    stop_input: StopFlag,
    /// The log, or a ring, failed: everybody stops.
    failed: StopFlag,
    /// Every role but `record` has ended.
    others_done: StopFlag,
}

impl RunPlan {
    /// Runs the plan to its end, or until `interrupted` is raised. `on_progress` is called about ten times a second.
    ///
    /// # Errors
    /// [`Failure`] when the input, the log or the host refuse.
    pub fn run(self, interrupted: &StopFlag, on_progress: &mut dyn FnMut(Progress)) -> Result<Run, Failure> {
        start::must_be_new(&self.dir)?;
        if self.live.is_some() {
            return self.run_live(interrupted, on_progress);
        }
        let clock = TscClock::calibrated();
        let schedule = Schedule::new(self.pace, clock.rate()).starting(self.from);
        let symbols = self.named_symbols()?;
        let input = Input::open(&self.input, &symbols)?.within(None, self.to);
        let mut built = build::build(&self, input.session().midnight, &clock, &schedule)?;
        if let Some(HeardScript { records, memories }) = &self.heard {
            built.decide.begin_hearing(memories.clone());
            let again = RepeatedSend::new(records);
            let send = |_: ReplaySend| Ok(again);
            let four = |_: &Self, _: &_, _, _, _: Watch<'_>| Err(Failure::usage("four_threads is not for live runs"));
            let launching = Launching { input, built, clock, schedule, send, four };
            return self.launch(launching, interrupted, on_progress);
        }
        let four = Self::run_four::<Input>;
        self.launch(Launching { input, built, clock, schedule, send: Ok, four }, interrupted, on_progress)
    }

    /// Runs what was built, with the send stage that `launching` makes of the paper one.
    fn launch<I, S>(
        self,
        launching: Launching<I, S, impl FnOnce(ReplaySend) -> Result<S, Failure>>,
        interrupted: &StopFlag,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Run, Failure>
    where
        I: EventInput + Into<RunInput> + 'static,
        S: SendPath<Books> + Into<RunVenue> + 'static,
    {
        let Launching { input, built, clock, schedule, send, four } = launching;
        let flags = built.flags.clone();
        let (mut settings, mut measure, start) = (built.settings, built.measure, built.start);
        facts::write_start(&mut measure, &settings)?;
        let (started, started_utc) = (Instant::now(), peregrine_runtime::system_now());
        let mut throughput = Vec::new();
        let stopwatch = TscStopwatch::new(&clock);
        let (failed, others_done) = (flags.failed.clone(), flags.others_done.clone());
        let record = RecordRole::new(built.recorder, built.readers, clock, failed, others_done);
        let progress = Arc::new(FeedProgress::default());
        let feed = FeedSetup {
            input,
            log: built.feed_log,
            schedule,
            stopwatch,
            packet_count_max: self.packet_count_max.unwrap_or(u64::MAX),
            is_cut: self.is_cut,
            flags: flags.clone(),
            progress: Arc::clone(&progress),
        };
        let plans = self.thread_plans()?;
        let record = plans.launch(record, &StopFlag::new()).map_err(Failure::io)?;
        // Live, half of the room holds what one read of the socket can bring, and the end of every order.
        let inbox = if S::IS_LIVE { built.inbox.with_more_room(READ_REPORT_COUNT_MAX) } else { built.inbox };
        let mut way = send(built.send)?;
        way.limit_decision_age(Nanos(self.loaded.config.risk.data_age_ns_max));
        let machine = Machine { books: built.books, decide: built.decide, send: way, inbox };
        let series = &mut throughput;
        let watch = Watch { started, interrupted, flags: &flags, progress: &progress, on_progress, series };
        let ended = match self.loaded.config.runtime.wiring {
            Wiring::Fused => run_fused(&plans, feed, machine, watch),
            Wiring::FeedApart => self.run_feed_apart(&plans, feed, machine, watch),
            Wiring::FourThreads => four(&self, &plans, feed, machine, watch),
        };
        flags.others_done.request();
        let record = record.join().map_err(Failure::io)?;
        let elapsed = started.elapsed();
        let ended = ended?;
        settings.extend(ended.settings);
        let is_interrupted = interrupted.is_requested();
        self.conclude(Concluding {
            ended: Ended { settings, ..ended },
            record,
            elapsed,
            is_interrupted,
            has_failed: flags.failed.is_requested(),
            started: started_utc,
            throughput,
            measure,
            start,
        })
    }

    fn conclude<I: Into<RunInput>, S: Into<RunVenue>>(self, with: Concluding<I, S>) -> Result<Run, Failure> {
        let Concluding { ended, record, elapsed, is_interrupted, has_failed, started, throughput, measure, start } =
            with;
        let RecordRole { recorder, readers, error, .. } = record.role;
        if let Some(error) = error {
            return Err(Failure::io(error));
        }
        if let Some(error) = ended.feed_error {
            return Err(Failure::io(error));
        }
        let (event_count, event_hash) = (ended.feed_log.event_count(), ended.feed_log.event_hash());
        let (first_time, last_time) = (ended.feed_log.first_exch_time(), ended.feed_log.last_exch_time());
        drop(ended.feed_log);
        let decide = ended.decide.end();
        let venue: RunVenue = ended.send.into();
        let undelivered = venue.undelivered_count(&decide);
        if undelivered > 0 || has_failed {
            return Err(Failure::io(
                "orders or reports found no room between decide and send: raise runtime.order_slots",
            ));
        }
        let mut latencies = readers;
        latencies.iter_mut().for_each(|reader| while reader.take_interval().is_some() {});
        let wiring = self.loaded.config.runtime.wiring;
        let input: RunInput = ended.input.into();
        facts::write_measurements(measure, wiring, &decide, &latencies, &input.log_facts())?;
        let log = close_log(recorder)?;
        let latency_model = latency::model_text(&self.loaded.config, start.latency.as_ref());
        let manifest = Manifest::of(start, &log, (event_count, ended.packet_count), &decide, is_interrupted)?;
        manifest.write(&self.dir)?;
        let state_hash = facts::state_hash(&decide);
        let mut turns = ended.turns;
        turns.push(("record".to_owned(), record.turns));
        Ok(Run {
            dir: self.dir,
            log,
            input,
            event_count,
            event_hash,
            decide,
            venue,
            books: ended.books,
            latencies,
            turns,
            settings: ended.settings.into_iter().chain(record.settings).collect(),
            elapsed,
            is_interrupted,
            manifest,
            state_hash,
            started,
            pace: self.pace,
            wiring,
            watch: self.loaded.config.decide.symbols.clone(),
            model_name: build::model_name(&self.loaded),
            latency_model,
            first_time,
            last_time,
            throughput,
        })
    }

    /// The symbols that the profile names: they get the first identifiers.
    fn named_symbols(&self) -> Result<Vec<Symbol>, Failure> {
        let names = self.loaded.config.named_symbols().into_iter();
        let symbol = |name| {
            Symbol::new(name).ok_or_else(|| Failure::usage(format_args!("the configuration: \"{name}\" is no symbol")))
        };
        names.map(symbol).collect()
    }

    fn thread_plans(&self) -> Result<ThreadPlans, Failure> {
        let plans = build::thread_plans(&self.loaded.config.runtime);
        ThreadPlans::check(plans, &available_cores()).map_err(Failure::usage)
    }

    fn run_feed_apart<I: EventInput + 'static, S: SendPath<Books> + 'static>(
        &self,
        plans: &ThreadPlans,
        feed: FeedSetup<I>,
        machine: LiveMachine<S>,
        watch: Watch<'_>,
    ) -> Result<Ended<I, S>, Failure> {
        let (events_in, events_out) = self.event_ring()?;
        let end = InputEnd::default();
        let sink = FeedRings::new(vec![events_in], end.clone(), feed.flags.failed.clone());
        let role = MachineRole::new(events_out, machine, end, feed.flags.failed.clone());
        let never = StopFlag::new();
        let decide = plans.launch(role, &never).map_err(Failure::io)?;
        let feed = plans.launch(feed.into_role(sink), &never).map_err(Failure::io)?;
        watch.until(|| decide.is_finished() && feed.is_finished());
        let (feed, decide) = (join(feed)?, join(decide)?);
        let turns = vec![("feed".to_owned(), feed.turns), ("decide".to_owned(), decide.turns)];
        let settings = feed.settings.into_iter().chain(decide.settings).collect();
        Ok(ended(feed.role, decide.role.machine, turns, settings))
    }

    fn run_four<I: EventInput + 'static>(
        &self,
        plans: &ThreadPlans,
        feed: FeedSetup<I>,
        machine: ReplayMachine,
        watch: Watch<'_>,
    ) -> Result<Ended<I, ReplaySend>, Failure> {
        let Machine { books, decide, send, inbox } = machine;
        let ((decide_in, decide_out), (send_in, send_out)) = (self.event_ring()?, self.event_ring()?);
        let slots = self.loaded.config.runtime.order_slots;
        let (orders_in, orders_out) = index_ring(slots).map_err(Failure::usage)?;
        let (executions_in, executions_out) = index_ring(slots).map_err(Failure::usage)?;
        let end = InputEnd::default();
        let lockstep = Lockstep::new(end.clone(), feed.flags.failed.clone());
        let latency = send.venue().latency();
        let (way_there_min, way_back_min) = (latency.way_there_min(), latency.way_back_min());
        let scope = build::huge_pages(&self.loaded.config.runtime);
        let venue_books = Books::new(build::book_config(&self.loaded.config)).map_err(Failure::usage)?;
        let granted = scope.finish();
        let decide = DecideRole {
            events: decide_out,
            executions: executions_out,
            orders: orders_in,
            books,
            decide,
            inbox,
            way_back_min,
            lockstep: lockstep.clone(),
            is_done: false,
        };
        let send = SendRole {
            events: send_out,
            orders: orders_out,
            executions: executions_in,
            books: venue_books,
            send,
            way_there_min,
            lockstep,
            is_done: false,
        };
        let sink = FeedRings::new(vec![decide_in, send_in], end, feed.flags.failed.clone());
        let never = StopFlag::new();
        let send = plans.launch(send, &never).map_err(Failure::io)?;
        let decide = plans.launch(decide, &never).map_err(Failure::io)?;
        let feed = plans.launch(feed.into_role(sink), &never).map_err(Failure::io)?;
        watch.until(|| decide.is_finished() && feed.is_finished() && send.is_finished());
        let (feed, decide, send) = (join(feed)?, join(decide)?, join(send)?);
        let turns = [("feed", feed.turns), ("decide", decide.turns), ("send", send.turns)];
        let roles = feed.settings.into_iter().chain(decide.settings).chain(send.settings);
        let settings = granted.into_iter().chain(roles).collect();
        let machine = Machine {
            books: decide.role.books,
            decide: decide.role.decide,
            send: send.role.send,
            inbox: decide.role.inbox,
        };
        Ok(ended(feed.role, machine, turns.map(|(name, turns)| (name.to_owned(), turns)).to_vec(), settings))
    }

    fn event_ring(&self) -> Result<(peregrine_runtime::SlotProducer<MarketEvent>, SlotConsumer<MarketEvent>), Failure> {
        slot_ring(self.loaded.config.runtime.market_events_slots).map_err(Failure::usage)
    }
}

/// Runs a machine in the four-thread wiring.
type RunFour<I, S> =
    fn(&RunPlan, &ThreadPlans, FeedSetup<I>, LiveMachine<S>, Watch<'_>) -> Result<Ended<I, S>, Failure>;

/// What is launched.
struct Launching<I, S, F> {
    input: I,
    built: build::Built,
    clock: TscClock,
    schedule: Schedule,
    /// Makes the send stage out of the paper one.
    send: F,
    four: RunFour<I, S>,
}

struct Concluding<I, S> {
    ended: Ended<I, S>,
    record: FinishedRole<RecordRole>,
    elapsed: Duration,
    is_interrupted: bool,
    /// Whether a role gave up, and with it the run.
    has_failed: bool,
    started: EpochNanos,
    throughput: Vec<ThroughputPoint>,
    measure: StreamWriter<Measure>,
    /// What was written of the run before its first event.
    start: RunStart,
}

/// What the feed role is made of, before it is known where its events go.
struct FeedSetup<I> {
    input: I,
    log: FeedLog,
    schedule: Schedule,
    stopwatch: TscStopwatch,
    packet_count_max: u64,
    is_cut: bool,
    flags: Flags,
    progress: Arc<FeedProgress>,
}

impl<I: EventInput> FeedSetup<I> {
    fn into_role<S: EventSink>(self, sink: S) -> FeedRole<I, S, TscStopwatch> {
        FeedRole {
            input: self.input,
            log: self.log,
            sink,
            schedule: self.schedule,
            stopwatch: self.stopwatch,
            packet_count_max: self.packet_count_max,
            is_cut: self.is_cut,
            packet_count: 0,
            stop_input: self.flags.stop_input,
            progress: self.progress,
            error: None,
            is_done: false,
            batch: Batch::default(),
        }
    }
}

fn run_fused<I: EventInput + 'static, S: SendPath<Books> + 'static>(
    plans: &ThreadPlans,
    feed: FeedSetup<I>,
    machine: LiveMachine<S>,
    watch: Watch<'_>,
) -> Result<Ended<I, S>, Failure> {
    let feed = plans.launch(feed.into_role(machine), &StopFlag::new()).map_err(Failure::io)?;
    watch.until(|| feed.is_finished());
    let feed = join(feed)?;
    let turns = vec![("feed".to_owned(), feed.turns)];
    let FeedRole { input, log, sink, error, packet_count, .. } = feed.role;
    let Machine { books, decide, send, .. } = sink;
    let (feed_log, feed_error, settings) = (log, error, feed.settings);
    Ok(Ended { input, feed_log, feed_error, packet_count, decide, send, books, turns, settings })
}

fn ended<I, E, S>(
    feed: FeedRole<I, E, TscStopwatch>,
    machine: LiveMachine<S>,
    turns: Vec<(String, TurnFigures)>,
    settings: Vec<SettingReport>,
) -> Ended<I, S> {
    let FeedRole { input, log: feed_log, error: feed_error, packet_count, .. } = feed;
    let Machine { books, decide, send, inbox: _ } = machine;
    Ended { input, feed_log, feed_error, packet_count, decide, send, books, turns, settings }
}

fn join<R: Role>(role: RunningRole<R>) -> Result<FinishedRole<R>, Failure> {
    role.join().map_err(Failure::io)
}

fn close_log(recorder: Recorder) -> Result<LogReport, Failure> {
    recorder.close().map_err(Failure::io)
}

/// A folder for a run that does not exist yet: `COMMAND-YYYYMMDDTHHMMSS[-N]` under `out_dir`.
#[must_use]
pub fn new_run_dir(out_dir: &std::path::Path, command: &str) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S").to_string();
    let first = out_dir.join(format!("{command}-{now}"));
    let more = (2..).map(|number| out_dir.join(format!("{command}-{now}-{number}")));
    std::iter::once(first).chain(more).find(|dir| !dir.exists()).unwrap_or_else(|| out_dir.join(command))
}

/// Nanoseconds of a wall-clock span, saturated.
#[must_use]
pub fn nanos(span: Duration) -> Nanos {
    Nanos(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}
