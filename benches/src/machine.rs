//! The node's own machine in process: feed, books, decide stage with its log, risk gate, paper venue and its log, fused
//! on one core, and the record role on another. Open loop; the node's own histograms say what it took.

use std::path::Path;

use peregrine_book::Books;
use peregrine_decide::Strategy;
use peregrine_eventlog::Recorder;
use peregrine_gateway::{ConstantLatency, Fees, FifoQueue, PaperConfig, PaperVenue};
use peregrine_model::{Kernel, Model};
use peregrine_node::stage::decide::{DecideParts, DecideStage, DecideTimes, Guard};
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::machine::{Inbox, Machine};
use peregrine_node::stage::pnl::Pnl;
use peregrine_node::stage::schedule::{Pace, Schedule, wait_until};
use peregrine_node::stage::send::SendStage;
use peregrine_runtime::{
    IntervalReader, LatencyBounds, LatencyFigures, LatencyGuard, LatencyGuardConfig, LatencyRecorder, StopFlag,
    Stopwatch, TscClock, TscStopwatch, latency_recorder,
};
use peregrine_types::{EpochNanos, Full, MarketEvent, Nanos, Price, TickTable, TickTables};

use crate::hops::spawn_on;
use crate::session::LoadedSession;
use crate::{BenchError, order_path, parts};

/// Orders alive at once.
const ORDER_COUNT_MAX: usize = 8_192;

type PaperMachine = Machine<Books, TscStopwatch, SendStage<FifoQueue, ConstantLatency>>;

/// What one open-loop run took.
#[derive(Clone, Copy, Debug)]
pub struct MachineFigures {
    /// From an event being due to its decision.
    pub event_to_decision: LatencyFigures,
    /// From an event being due to its approved order being recorded and handed over.
    pub event_to_order: LatencyFigures,
}

struct Built {
    machine: PaperMachine,
    stopwatch: TscStopwatch,
    schedule: Schedule,
    decision: IntervalReader,
    order: IntervalReader,
    /// Kept so that recorders always find their readers.
    others: Vec<IntervalReader>,
    recorder: Recorder,
    stop: StopFlag,
}

fn times(readers: &mut Vec<IntervalReader>) -> Result<DecideTimes, BenchError> {
    let mut recorder = |name: &str| -> Result<LatencyRecorder, BenchError> {
        let (recorder, reader) = latency_recorder(name, LatencyBounds::STANDARD)?;
        readers.push(reader);
        Ok(recorder)
    };
    Ok(DecideTimes {
        event_to_decision: recorder("event_to_decision")?,
        event_to_order: recorder("event_to_order")?,
        features: recorder("features")?,
        observe: recorder("observe")?,
        controller: recorder("controller")?,
        advance: recorder("advance")?,
        queue_wait: recorder("queue_wait")?,
    })
}

fn guard() -> Result<Guard, BenchError> {
    let guard = LatencyGuard::new(LatencyGuardConfig {
        window_sample_count: 1_024,
        window_time: None,
        sample_count_min: 256,
        warn_above: Nanos::from_millis(5),
        halt_above: Nanos::from_millis(20),
    })?;
    Ok(Guard::Measured(guard))
}

fn build(session: &LoadedSession, kernel: Kernel, folder: &Path, load: Load) -> Result<Built, BenchError> {
    let clock = TscClock::calibrated();
    let schedule = Schedule::new(Pace::Rate { events_per_second: load.rate }, clock.rate());
    let log = parts::event_log(folder)?;
    let (stop, mut readers) = (StopFlag::new(), Vec::new());
    let symbol_count = usize::try_from(session.symbol_count().saturating_add(1))?;
    let decide = DecideStage::new(DecideParts {
        strategy: Strategy::new(order_path::strategy_config(session), Model::load(order_path::MODEL)?, kernel)?,
        risk: parts::gate()?,
        guard: guard()?,
        log: LosslessLog::new(log.decide, stop.clone()),
        stopwatch: TscStopwatch::new(&clock),
        schedule: schedule.clone(),
        times: times(&mut readers)?,
        pnl: Pnl::new(symbol_count, symbol_count, Nanos::from_secs(1)),
        keep_warm: load.keep_warm,
    });
    let config = PaperConfig {
        symbol_count_max: symbol_count,
        order_count_max: ORDER_COUNT_MAX,
        fees: Fees { added: Price(-2_000_000), removed: Price(3_000_000) },
        ticks: TickTables::new(TickTable::US_EQUITY),
    };
    let latency = ConstantLatency { to_venue: Nanos(20_000), from_venue: Nanos(20_000) };
    let venue = PaperVenue::new(config, FifoQueue, latency)?;
    let send = SendStage::new(venue, LosslessLog::new(log.send, stop.clone()), symbol_count, ORDER_COUNT_MAX, 1 << 18);
    let mut readers = readers.into_iter();
    let (Some(decision), Some(order)) = (readers.next(), readers.next()) else { return Err("no histograms".into()) };
    Ok(Built {
        machine: Machine { books: session.books()?, decide, send, inbox: Inbox::new(2 * ORDER_COUNT_MAX) },
        stopwatch: TscStopwatch::new(&clock),
        schedule,
        decision,
        order,
        others: readers.collect(),
        recorder: log.recorder,
        stop,
    })
}

/// The figures of a recorder that is gone.
fn total(mut reader: IntervalReader) -> LatencyFigures {
    while reader.take_interval().is_some() {}
    reader.total()
}

/// How events come.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Events per second.
    pub rate: u64,
    /// Messages of the session.
    pub count: usize,
    /// Idleness after which the network makes a step on scratch state.
    pub keep_warm: Option<Nanos>,
}

/// Replays the first messages of `session` at a fixed rate, due at times fixed in advance, with the
/// record role on `record_core`.
///
/// # Errors
/// When a stage refuses its settings, or nothing was decided.
pub fn open_loop(
    session: &LoadedSession,
    kernel: Kernel,
    load: Load,
    record_core: usize,
) -> Result<MachineFigures, BenchError> {
    let folder = tempfile::tempdir()?;
    let Built { mut machine, stopwatch, schedule, decision, order, others, mut recorder, stop } =
        build(session, kernel, folder.path(), load)?;
    let is_over = stop.clone();
    let recording = spawn_on(record_core, move || {
        while !is_over.is_requested() {
            if recorder.poll(EpochNanos(0)).is_err() {
                is_over.request();
            }
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
    });
    let (mut feed, mut index) = (session.feed(), 0_u64);
    for message in session.messages().take(load.count) {
        let mut take = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            if index == 0 {
                schedule.begin(stopwatch.start(), index, event.recv_time);
            }
            index = index.wrapping_add(1);
            machine.on_event(&event);
            if let Some(due) = schedule.due(index, event.recv_time) {
                wait_until(due, &stopwatch, || {
                    machine.decide.idle(&machine.books);
                });
            }
            Ok(())
        };
        let is_taken = feed.on_message(message, None, &mut take).is_ok();
        debug_assert!(is_taken, "the sink above always has room");
    }
    let has_failed = stop.is_requested();
    stop.request();
    drop(machine);
    drop(others);
    if recording.join().is_err() || has_failed {
        return Err("the record role failed".into());
    }
    let figures = MachineFigures { event_to_decision: total(decision), event_to_order: total(order) };
    if figures.event_to_order.count == 0 { Err("nothing was ordered".into()) } else { Ok(figures) }
}
