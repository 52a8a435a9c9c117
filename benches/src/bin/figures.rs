//! Percentiles of every part, in one table: `scripts/bench.sh`, or
//! `cargo run --release -p peregrine-benches --bin figures -- [--core N] [--rounds N] [--quick] [--kernel] [--ordinary-pages] [--only TEXT]`.
//!
//! All measurements make a round in turn, at least three times; quoted are the percentiles of the round with the least
//! median. Spans are read with serialised ticks, whose own cost is inside every span and stated. Calls too short for
//! that are timed many at a time: then a percentile is one of means, and the column says over how many calls.
#![expect(clippy::print_stdout, reason = "a table is what the program is for")]

use std::hint::black_box;
use std::time::Duration;

use peregrine_benches::BenchError;
use peregrine_benches::hops::{self, CAPACITY, bare_line, pin, ring_hops, two_cores};
use peregrine_benches::host::{Machine, load_average};
use peregrine_benches::kernel_rows::kernel_rows;
use peregrine_benches::machine::{self, Load, MachineFigures};
use peregrine_benches::order_path::{OrderPath, open_loop};
use peregrine_benches::parts;
use peregrine_benches::percentiles::{Measurement, Percentiles, Timer, table};
use peregrine_benches::replay::{
    Network, Packet, Slots, decode_and_book, decode_and_book_by_packet, features, is_decision, whole_pass,
};
use peregrine_benches::session::LoadedSession;
use peregrine_book::MarketBooks;
use peregrine_model::{Backend, Kernel, Size};
use peregrine_runtime::{
    HugePageAllocator, HugePageScope, HugePages, LatencyFigures, SettingReport, index_ring, slot_ring,
};
use peregrine_types::{EpochNanos, EventSeq, Nanos};

/// Tables of many megabytes go where the node puts them when `runtime.huge_pages` is set.
#[global_allocator]
static ALLOCATOR: HugePageAllocator = HugePageAllocator;

/// Messages of one span: the ticks' cost is spread over them.
const BLOCK: usize = 64;
/// Pause before each measurement.
const REST: Duration = Duration::from_millis(200);
/// Messages of an open-loop run: 0.7 s of them, so that a real-time thread is not throttled.
const OPEN_LOOP_COUNT: u64 = 70_000;
/// Decisions are made on this many symbols where a market is replayed.
const WATCHED_COUNT: u32 = 64;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    core: usize,
    rounds: usize,
    /// Divides every count.
    divisor: u64,
    /// The kernel alone.
    is_kernel_only: bool,
    /// Where the tables lie.
    huge_pages: HugePages,
    /// Only rows whose names contain this are measured.
    only: &'static str,
}

impl Plan {
    fn from_args() -> Result<Self, BenchError> {
        let cores = peregrine_runtime::available_cores();
        let mut plan = Self {
            core: cores.last().copied().unwrap_or(0),
            rounds: 3,
            divisor: 1,
            is_kernel_only: false,
            huge_pages: HugePages::Transparent,
            only: "",
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number = || -> Result<usize, BenchError> {
                let text = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
                Ok(text.parse().map_err(|error| format!("{arg} {text}: {error}"))?)
            };
            match arg.as_str() {
                "--core" => plan.core = number()?,
                "--rounds" => plan.rounds = number()?.max(3),
                "--quick" => plan.divisor = 20,
                "--kernel" => plan.is_kernel_only = true,
                "--only" => plan.only = args.next().ok_or("--only needs a text")?.leak(),
                "--ordinary-pages" => plan.huge_pages = HugePages::Off,
                _ => {
                    return Err(format!(
                        "{arg}: known are --core N, --rounds N, --quick, --kernel, --ordinary-pages, --only TEXT"
                    )
                    .into());
                }
            }
        }
        Ok(plan)
    }

    fn count(&self, full: u64) -> u64 {
        full.checked_div(self.divisor).unwrap_or(full)
    }

    fn calls(&self, full: u64) -> usize {
        usize::try_from(self.count(full)).unwrap_or(usize::MAX)
    }
}

/// Nanoseconds per message of each block of `messages`, as `step` takes them.
fn blocks(timer: &Timer, messages: &[&[u8]], mut step: impl FnMut(&[&[u8]])) -> Vec<f64> {
    let mut spans = Vec::with_capacity(messages.len() / BLOCK);
    for block in messages.chunks_exact(BLOCK) {
        let start = timer.ticks();
        step(block);
        spans.push(timer.nanos_since(start) / BLOCK as f64);
    }
    step(messages.chunks_exact(BLOCK).remainder());
    spans
}

fn per_call(timer: &Timer, count: usize, mut call: impl FnMut(usize)) -> Vec<f64> {
    for index in 0..count / 10 {
        call(index);
    }
    let mut spans = Vec::with_capacity(count);
    for index in 0..count {
        let start = timer.ticks();
        call(index);
        spans.push(timer.nanos_since(start));
    }
    spans
}

fn feed_rows<'a>(session: &'a LoadedSession, label: &str) -> Result<Vec<Measurement<'a>>, BenchError> {
    let messages: Vec<&[u8]> = session.messages().collect();
    let (mut feed, mut slots) = (session.feed(), Slots::default());
    let list = messages.clone();
    let decode = Measurement::new(&format!("decode, {label}"), BLOCK, move |timer| {
        blocks(timer, &list, |block| {
            for message in block {
                black_box(feed.on_message(message, None, &mut slots).is_ok());
            }
        })
    });
    let (mut feed, list) = (session.feed(), messages.clone());
    let mut books = session.books()?;
    let one_by_one = Measurement::new(&format!("decode and book, {label}"), BLOCK, move |timer| {
        let spans = blocks(timer, &list, |block| {
            black_box(decode_and_book(&mut feed, block, &mut books));
        });
        assert!(books.order_count() == 0 && books.anomalies().total() == 0, "the session ends with empty books");
        spans
    });
    let (mut feed, mut books, mut packet) = (session.feed(), session.books()?, Packet::default());
    let name = format!("decode and book, a packet's messages at a time, {label}");
    let by_packet = Measurement::new(&name, BLOCK, move |timer| {
        let spans = blocks(timer, &messages, |block| {
            black_box(decode_and_book_by_packet(&mut feed, block, &mut books, &mut packet));
        });
        assert!(books.order_count() == 0 && books.anomalies().total() == 0, "the session ends with empty books");
        spans
    });
    Ok(vec![decode, one_by_one, by_packet])
}

/// Features alone: the update on every event (timed with its reading of the ticks, one event at a time), and the vector.
fn feature_rows(session: &LoadedSession) -> Result<Vec<Measurement<'static>>, BenchError> {
    let events = session.events();
    let (mut books, mut engine) = (session.books()?, features(session, 1)?);
    let list = events.clone();
    let update = Measurement::new("features, update on one event", 1, move |timer| {
        let mut spans = Vec::with_capacity(list.len());
        for event in &list {
            let update = books.apply(event);
            let start = timer.ticks();
            black_box(engine.on_event(event, &update, &books));
            spans.push(timer.nanos_since(start));
        }
        spans
    });
    let (mut books, mut engine) = (session.books()?, features(session, 1)?);
    let vector = Measurement::new("features, vector of one decision", 1, move |timer| {
        let mut spans = Vec::new();
        for event in &events {
            let update = books.apply(event);
            let Some(slot) = engine.on_event(event, &update, &books).filter(|_| is_decision(&update)) else { continue };
            let start = timer.ticks();
            let vector = black_box(engine.vector(slot));
            spans.push(timer.nanos_since(start));
            assert!(vector.is_some());
        }
        spans
    });
    Ok(vec![update, vector])
}

fn ring_rows(plan: Plan) -> Vec<Measurement<'static>> {
    let Some((first, second)) = two_cores() else { return Vec::new() };
    let other = if plan.core == second { first } else { second };
    let count = plan.count(100_000);
    let bare = Measurement::new("hop, bare cache line", 1, move |timer| bare_line(other, count, timer));
    let slot = Measurement::new("hop, slot ring", 1, move |timer| match (slot_ring(CAPACITY), slot_ring(CAPACITY)) {
        (Ok(there), Ok(back)) => ring_hops(there, back, other, count, timer),
        (Err(_), _) | (_, Err(_)) => Vec::new(),
    });
    let index = Measurement::new("hop, rtrb", 1, move |timer| match (index_ring(CAPACITY), index_ring(CAPACITY)) {
        (Ok(there), Ok(back)) => ring_hops(there, back, other, count, timer),
        (Err(_), _) | (_, Err(_)) => Vec::new(),
    });
    let rate = plan.count(2_000_000);
    let stream_slot = Measurement::new("stream, slot ring", plan.calls(2_000_000), move |timer| {
        slot_ring(CAPACITY).map_or_else(|_| Vec::new(), |ring| vec![hops::stream(ring, other, rate, timer)])
    });
    let stream_index = Measurement::new("stream, rtrb", plan.calls(2_000_000), move |timer| {
        index_ring(CAPACITY).map_or_else(|_| Vec::new(), |ring| vec![hops::stream(ring, other, rate, timer)])
    });
    vec![bare, slot, index, stream_slot, stream_index]
}

fn order_rows(plan: Plan, folder: &std::path::Path) -> Result<Vec<Measurement<'static>>, BenchError> {
    let count = plan.calls(200_000);
    let mut gate = parts::gate()?;
    let mut now = EpochNanos(1_000_000_000_000);
    let risk = Measurement::new("risk check, approved", 1, move |timer| {
        let mut spans = Vec::with_capacity(count);
        for number in 0..count as u64 {
            now = now.plus(parts::ORDER_INTERVAL);
            let (intent, context) = (parts::intent(number), parts::context(now));
            let start = timer.ticks();
            let approved = black_box(gate.check(&intent, &context, EventSeq(number), now));
            spans.push(timer.nanos_since(start));
            assert!(approved.is_ok());
            if let Ok(order) = approved {
                gate.revoke(order);
            }
        }
        spans
    });
    let mut log = parts::event_log(folder)?;
    let append = Measurement::new("log append, decision of 320 bytes", 1, move |timer| {
        let mut spans = Vec::with_capacity(count);
        let half = usize::try_from(parts::LOG_RECORD_COUNT / 2).unwrap_or(1);
        let numbers: Vec<u64> = (0..count as u64).collect();
        for stretch in numbers.chunks(half) {
            spans.extend(per_call(timer, stretch.len(), |index| {
                assert!(log.decide.append(&parts::decision_record(index as u64)).is_ok());
            }));
            while log.recorder.backlog() > 0 {
                assert!(log.recorder.poll(EpochNanos(0)).is_ok());
            }
        }
        spans
    });
    Ok(vec![risk, append])
}

/// From an event's bytes being due to its order being recorded, at arrival times fixed in advance.
fn order_path_row<'a>(plan: Plan, session: &'a LoadedSession, backend: Backend) -> Measurement<'a> {
    let count = plan.calls(OPEN_LOOP_COUNT);
    Measurement::new("event to approved order in the log, micro, open loop at 100,000 events/s", 1, move |timer| {
        let attempt = || -> Result<Vec<f64>, BenchError> {
            let folder = tempfile::tempdir()?;
            let kernel = Kernel::new(backend).ok_or("this processor lacks its own best backend")?;
            open_loop(timer, session, OrderPath::new(session, kernel, folder.path())?, 100_000.0, count)
        };
        attempt().unwrap_or_else(|error| {
            eprintln!("no figure for the order path: {error}");
            Vec::new()
        })
    })
}

/// The node's machine with its paper venue, open loop: to the decision, and to the order handed over.
fn machine_rows<'a>(plan: Plan, session: &'a LoadedSession, backend: Backend) -> Vec<Measurement<'a>> {
    let Some((first, second)) = two_cores() else { return Vec::new() };
    let other = if plan.core == second { first } else { second };
    let count = plan.calls(OPEN_LOOP_COUNT);
    let row = move |name: &str, load: Load, pick: fn(&MachineFigures) -> LatencyFigures| {
        Measurement::summarised(name, 1, move |_| {
            let figures = match Kernel::new(backend) {
                Some(kernel) => machine::open_loop(session, kernel, load, other),
                None => Err("this processor lacks its own best backend".into()),
            };
            match figures {
                Ok(figures) => percentiles_of(&pick(&figures)),
                Err(error) => {
                    eprintln!("no figure for the node's machine: {error}");
                    (Percentiles::default(), 0)
                }
            }
        })
    };
    let busy = Load { rate: 100_000, count, keep_warm: None };
    let sparse = Load { rate: 1_000, count: count.min(700), keep_warm: None };
    let warm = Load { keep_warm: Some(Nanos::from_micros(50)), ..sparse };
    vec![
        row("node, event to decision, open loop at 100,000 events/s", busy, |figures| figures.event_to_decision),
        row("node, event to order handed over, open loop at 100,000 events/s", busy, |figures| figures.event_to_order),
        row("node, event to decision, an event every 1 ms", sparse, |figures| figures.event_to_decision),
        row("node, event to decision, an event every 1 ms, kept warm", warm, |figures| figures.event_to_decision),
    ]
}

fn percentiles_of(figures: &LatencyFigures) -> (Percentiles, usize) {
    let nanos = |span: Nanos| span.0 as f64;
    let LatencyFigures { p50, p90, p99, p999, max, .. } = *figures;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(nanos);
    (Percentiles { p50, p90, p99, p999, max }, usize::try_from(figures.count).unwrap_or(usize::MAX))
}

/// Whole passes on one core: nanoseconds per message, one span per pass.
fn replay_rows<'a>(
    session: &'a LoadedSession,
    label: &str,
    backend: Backend,
) -> Result<Vec<Measurement<'a>>, BenchError> {
    let mut rows = Vec::new();
    for (kind, watched) in [("features of all", u32::MAX), ("features and micro network", WATCHED_COUNT)] {
        let messages: Vec<&[u8]> = session.messages().collect();
        let (mut feed, mut books, mut engine) = (session.feed(), session.books()?, features(session, watched)?);
        let mut network = match watched {
            WATCHED_COUNT => Network::seeded(Size::Micro, backend, usize::try_from(WATCHED_COUNT)?)?,
            _ => None,
        };
        let watched = watched.min(session.symbol_count());
        let name = format!("whole replay of {label}, {kind} ({watched} watched)");
        rows.push(Measurement::new(&name, messages.len(), move |timer| {
            let start = timer.ticks();
            let counts = whole_pass(&mut feed, &messages, &mut books, &mut engine, network.as_mut());
            let nanos = timer.nanos_since(start) / messages.len() as f64;
            assert!(counts.events >= messages.len() as u64 && counts.decisions > 0);
            assert_eq!(books.anomalies().total(), 0);
            vec![nanos]
        }));
    }
    Ok(rows)
}

fn main() -> Result<(), BenchError> {
    let plan = Plan::from_args()?;
    let heading = Machine::here().describe(plan.core);
    let backend = Backend::best();
    if plan.is_kernel_only {
        let mut rows = kernel_rows(backend, plan.calls(200_000))?;
        return measure(plan, &heading, &[], &mut rows);
    }
    eprintln!("generating sessions");
    let one = LoadedSession::generated(1, plan.count(1_000_000))?;
    let market = LoadedSession::generated(8_000, plan.count(10_000_000).max(300_000))?;
    let real = LoadedSession::real()?;
    let folder = tempfile::tempdir()?;
    let scope = HugePageScope::new(plan.huge_pages);
    let mut rows = feed_rows(&one, "1 symbol")?;
    rows.extend(feed_rows(&market, "8,000 symbols")?);
    if let Some(real) = &real {
        rows.extend(feed_rows(real, "AAPL hour, re-encoded, looped")?.into_iter().take(1));
    }
    rows.extend(feature_rows(&one)?);
    rows.extend(kernel_rows(backend, plan.calls(200_000))?);
    rows.extend(ring_rows(plan));
    rows.extend(order_rows(plan, folder.path())?);
    rows.push(order_path_row(plan, &one, backend));
    rows.extend(machine_rows(plan, &one, backend));
    rows.extend(replay_rows(&one, "1 symbol", backend)?);
    rows.extend(replay_rows(&market, "8,000 symbols", backend)?);
    let granted = |report: &SettingReport| if report.is_applied() { "granted" } else { "refused" };
    rows.retain(|row| row.name.contains(plan.only));
    let pages: String =
        scope.finish().iter().map(|report| format!("- {}: {}\n", report.setting, granted(report))).collect();
    measure(plan, &format!("{heading}{pages}"), &[&one, &market], &mut rows)
}

/// Makes the rounds and prints what came of them.
fn measure(
    plan: Plan,
    heading: &str,
    sessions: &[&LoadedSession],
    rows: &mut [Measurement<'_>],
) -> Result<(), BenchError> {
    pin(plan.core);
    let timer = Timer::calibrated();
    for round in 1..=plan.rounds {
        for row in &mut *rows {
            eprintln!("round {round} of {}: {}", plan.rounds, row.name);
            // The kernel throttles real-time threads that never rest.
            std::thread::sleep(REST);
            row.run(&timer);
        }
    }
    print_heading(heading, plan, &timer, sessions);
    println!("\n{}", table(rows));
    println!("{}", ratios(rows));
    Ok(())
}

/// What is quoted as a ratio, of pairs of one round, or as a rate, of the least medians.
fn ratios(rows: &[Measurement<'_>]) -> String {
    let row = |name: &str| rows.iter().find(|row| row.name.starts_with(name));
    let mut lines = Vec::new();
    let mut quote = |what: &str, above: &str, below: &str| {
        if let (Some(above), Some(below)) = (row(above), row(below)) {
            lines.push(format!("- {what}: {:.2} (median over the rounds)", above.ratio_to(below)));
        }
    };
    quote("slot ring hop / bare cache line", "hop, slot ring", "hop, bare cache line");
    quote("rtrb hop / bare cache line", "hop, rtrb", "hop, bare cache line");
    quote("slot ring streaming rate / rtrb's", "stream, rtrb", "stream, slot ring");
    quote(
        "decode and book, 8,000 symbols / 1 symbol",
        "decode and book, a packet's messages at a time, 8,000 symbols",
        "decode and book, 1 symbol",
    );
    for (size, precision) in [("micro", "f32"), ("small", "f32"), ("small", "int16"), ("small", "int8")] {
        let name = |way: &str| format!("advance of 64 instruments {way}, {size}, {precision}");
        quote(&name("together / one by one"), &name("together"), &name("one by one"));
    }
    for size in ["micro", "small"] {
        let name = |label: &str| format!("observe after 1 ms idle{label}, {size}, f32");
        quote(&name(" as it is / kept warm"), &name(""), &name(", kept warm"));
    }
    for row in rows.iter().filter(|row| row.name.starts_with("whole replay")) {
        lines.push(format!("- {}: {:.2} million messages per second", row.name, 1_000.0 / row.best().p50));
    }
    lines.join("\n")
}

/// What a figure needs beside it.
fn print_heading(heading: &str, plan: Plan, timer: &Timer, sessions: &[&LoadedSession]) {
    println!("{heading}- load average when it ended: {}", load_average());
    println!(
        "- {} rounds; an empty span reads {:.1} ns, which is inside every span; the ticks usually move in steps of {:.1} ns",
        plan.rounds,
        timer.overhead(),
        timer.step()
    );
    for session in sessions {
        println!(
            "- {}: {} messages, at most {} live orders, seed {}",
            session.name,
            session.message_count(),
            session.live_orders_max(),
            peregrine_benches::session::SEED
        );
    }
    if sessions.is_empty() {
        return;
    }
    println!("- the goals speak of millions of live orders; the generated market holds no more than the count above");
    println!(
        "- virtual cores move between physical ones (a bare line takes 50 to 300 ns here): where a hop is far from 1 to 2 \
         times the bare line they moved in between, and `ring_speed` of `engine/runtime` sorts such rounds out"
    );
}
