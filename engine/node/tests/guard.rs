//! The latency guard, proven by really slowing the inference: a p99 above the first threshold warns and changes nothing,
//! one above the second halts, cancels every open order, and nothing is sent after. The halt is in the log as an input,
//! and the verification of a halted run repeats it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{generator, itch_file, json, replay, shipped, verify};
use peregrine_eventlog::records::{DecisionRecord, GuardAction, GuardHalt, OrderRecord, OrderTransition};
use peregrine_eventlog::{EventLog, LogConfig, LogReader, RunFacts, Stream};
use peregrine_generate::Session;
use peregrine_node::config::Loaded;
use peregrine_node::run::{MachineParts, latency_guard, machine};
use peregrine_node::stage::decide::Guard;
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::schedule::{Pace, Schedule};
use peregrine_runtime::{StopFlag, Stopwatch, TscClock, TscStopwatch};
use peregrine_types::{EpochNanos, Full, MarketEvent, Nanos, ReasonCode, Sink};
use peregrine_wire::FileFeed;
use peregrine_wire::itch50::Decoder;

/// A real stopwatch at whose every reading the thread is held up first: time truly passes within each measured span.
struct Slow {
    real: TscStopwatch,
    delay_ns: Arc<AtomicU64>,
}

impl Stopwatch for Slow {
    const IS_REAL: bool = true;

    fn start(&self) -> u64 {
        let (start, delay) = (Instant::now(), Duration::from_nanos(self.delay_ns.load(Ordering::Relaxed)));
        while start.elapsed() < delay {
            std::hint::spin_loop();
        }
        self.real.start()
    }

    fn elapsed(&self, start: u64) -> Nanos {
        self.real.elapsed(start)
    }

    fn between(&self, start: u64, end: u64) -> Nanos {
        self.real.between(start, end)
    }
}

struct Events(Vec<MarketEvent>);

impl Sink<MarketEvent> for Events {
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.0.push(event);
        Ok(())
    }
}

fn events() -> Vec<MarketEvent> {
    let config = generator(3, 80_000);
    let mut feed = FileFeed::new(Decoder::new(config.midnight, 64));
    let mut events = Events(Vec::new());
    Session::new(config).unwrap().for_each_message(|_, message| {
        assert!(feed.on_message(message, None, &mut events).is_ok());
    });
    events.0
}

/// Replays at full speed, then with inferences between the thresholds until the guard warns, then at full speed, then
/// with inferences above the second threshold until it halts, then the rest at full speed.
fn slow_down(dir: &Path, loaded: &Loaded) {
    let events = events();
    let clock = TscClock::calibrated();
    let delay_ns = Arc::new(AtomicU64::new(0));
    let log = LogConfig {
        dir: dir.join("log"),
        staging_dir: Some(dir.to_owned()),
        staging_record_counts: [1 << 15; 4],
        segment_len_max: 1 << 26,
        stream_len_max: 1 << 32,
        sync_interval: Nanos::from_millis(100),
        is_memory_locked: false,
    };
    let EventLog { decide, send, feed, measure, mut recorder, .. } =
        EventLog::create(&log, &RunFacts::default()).unwrap();
    let parts = MachineParts {
        decide_log: LosslessLog::new(decide, StopFlag::new()),
        send_log: LosslessLog::new(send, StopFlag::new()),
        guard: Guard::Measured(latency_guard(&loaded.config).unwrap()),
        schedule: Schedule::new(Pace::Max, clock.rate()),
        stopwatch: Slow { real: TscStopwatch::new(&clock), delay_ns: Arc::clone(&delay_ns) },
    };
    let (mut machine, _readers) = machine(loaded, generator(3, 80_000).midnight, parts).unwrap();
    let guard = &loaded.config.guard;
    let mut rest = events.iter();
    rest.by_ref().take(40_000).for_each(|event| machine.on_event(event));
    assert_eq!((machine.decide.counters().guard_warnings, machine.decide.counters().guard_halts), (0, 0));
    let sent = machine.decide.counters().orders_approved;
    assert!(sent > 100, "{sent} orders at full speed");

    delay_ns.store(guard.inference_p99_warn_ns.unsigned_abs() * 5 / 4, Ordering::Relaxed);
    rest.by_ref()
        .take(2_000)
        .take_while(|event| {
            machine.on_event(event);
            machine.decide.counters().guard_warnings == 0
        })
        .for_each(drop);
    assert_eq!((machine.decide.counters().guard_warnings, machine.decide.counters().guard_halts), (1, 0));
    delay_ns.store(0, Ordering::Relaxed);
    rest.by_ref().take(10_000).for_each(|event| machine.on_event(event));
    assert!(machine.decide.counters().orders_approved > sent, "a warning does not stop trading");
    assert_eq!(machine.decide.counters().guard_halts, 0);

    delay_ns.store(guard.inference_p99_halt_ns.unsigned_abs() * 5 / 4, Ordering::Relaxed);
    rest.by_ref()
        .take(2_000)
        .take_while(|event| {
            machine.on_event(event);
            machine.decide.counters().guard_halts == 0
        })
        .for_each(drop);
    delay_ns.store(0, Ordering::Relaxed);
    let sent = machine.decide.counters().orders_approved;
    assert!(rest.len() > 10_000, "{} events are left", rest.len());
    rest.for_each(|event| machine.on_event(event));
    machine.finish();
    assert_eq!(machine.decide.counters().guard_halts, 1);
    assert_eq!(machine.decide.counters().orders_approved, sent, "nothing is sent after a halt");
    drop((machine, feed, measure));
    while recorder.poll(EpochNanos(0)).unwrap() > 0 {}
    recorder.close().unwrap();
    assert_halt_in_log(&log.dir, guard.inference_p99_halt_ns);
}

/// The log of a halted run: the halt with its threshold, every order ended, and no order sent after it.
fn assert_halt_in_log(dir: &Path, threshold: i64) {
    let decide = LogReader::open(dir, Stream::Decide).unwrap();
    let acts: Vec<GuardHalt> = decide.payloads::<GuardHalt>().map(|record| *record.unwrap().1).collect();
    let halts: Vec<_> = acts.iter().filter(|act| act.action == GuardAction::Halt).collect();
    assert_eq!(halts.len(), 1, "{acts:?}");
    let halt = halts[0];
    assert!(acts.iter().any(|act| act.action == GuardAction::Warn && act.event_seq < halt.event_seq), "{acts:?}");
    assert_eq!(halt.threshold, Nanos(threshold));
    assert!(halt.tipping_latency > halt.threshold && halt.canceled_count > 0, "{halt:?}");
    let (mut cancels, mut denied) = (0, 0);
    for record in decide.payloads::<DecisionRecord>() {
        let record = record.unwrap().1;
        let is_new = record.intent_kind == peregrine_eventlog::records::IntentKind::New;
        if record.event_seq >= halt.event_seq && !is_new {
            assert_eq!(record.verdict, ReasonCode::None, "a cancel always passes: {record:?}");
            cancels += u32::from(record.event_seq == halt.event_seq);
        }
        if record.event_seq > halt.event_seq && is_new {
            assert_ne!(record.verdict, ReasonCode::None, "{record:?}");
            denied += 1;
        }
    }
    assert!(cancels >= halt.canceled_count, "{cancels} cancels, {halt:?}; {denied} denied");
    let mut ends = BTreeMap::new();
    for record in LogReader::open(dir, Stream::Send).unwrap().payloads::<OrderRecord>() {
        let record = record.unwrap().1;
        if record.transition == OrderTransition::Submitted {
            assert!(record.event_seq <= halt.event_seq, "sent after the halt: {record:?}");
        }
        let is_end = matches!(
            record.transition,
            OrderTransition::Filled | OrderTransition::Canceled | OrderTransition::Rejected
        );
        *ends.entry(record.order_id).or_insert(false) |= is_end;
    }
    let open: Vec<_> = ends.iter().filter(|(_, has_ended)| !**has_ended).collect();
    assert!(open.is_empty() && ends.len() > 100, "still open after the halt: {open:?}");
}

fn profile(set: &[&str]) -> Loaded {
    let small = [
        "runtime.pin_threads=false",
        "runtime.lock_memory=false",
        "book.order_count_max=65536",
        "book.level_count_max=65536",
        "feed.symbol_count_max=64",
    ];
    let words: Vec<String> = small.iter().chain(set).map(|word| (*word).to_owned()).collect();
    Loaded::read(&shipped("demo.toml"), &words).unwrap()
}

#[test]
fn scaled_thresholds_warn_then_halt_and_cancel() {
    let dir = tempfile::tempdir().unwrap();
    let set = ["guard.inference_p99_warn_ns=400000", "guard.inference_p99_halt_ns=2000000"];
    slow_down(dir.path(), &profile(&set));
}

#[test]
fn the_shipped_thresholds_of_5_and_20_ms_warn_then_halt_and_cancel() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = profile(&["guard.window_samples=128", "guard.samples_min=100"]);
    assert_eq!(
        (loaded.config.guard.inference_p99_warn_ns, loaded.config.guard.inference_p99_halt_ns),
        (5_000_000, 20_000_000)
    );
    slow_down(dir.path(), &loaded);
}

#[test]
fn a_halted_run_is_verified_by_repeating_the_halt_from_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let file = itch_file(dir.path(), 3, 80_000);
    // Thresholds that every inference passes: the run halts as soon as the window holds enough samples.
    let set = ["--set", "guard.inference_p99_warn_ns=1", "--set", "guard.inference_p99_halt_ns=2"];
    let (run, ended) = replay(dir.path(), "halted", &[&file], &set);
    assert_eq!(ended.code, Some(1), "a verdict failed: {ended:?}");
    let halts: Vec<GuardHalt> = LogReader::open(&run, Stream::Decide)
        .unwrap()
        .payloads::<GuardHalt>()
        .map(|record| *record.unwrap().1)
        .collect();
    assert_eq!(halts.len(), 1, "{halts:?}");
    assert_eq!((halts[0].action, halts[0].threshold), (GuardAction::Halt, Nanos(2)));
    assert!(ended.out.contains("halt"), "{}", ended.out);
    let again = verify(dir.path(), &run);
    assert_eq!(again.code, Some(0), "{again:?}");
    // Without the halt the same input trades on: the log's script is what stops the repetition.
    let (free, ended) = replay(dir.path(), "free", &[&file], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let hash = |run: &Path| json(&run.join("run.json"))["log_hash"].clone();
    assert_ne!(hash(&run), hash(&free));
}
