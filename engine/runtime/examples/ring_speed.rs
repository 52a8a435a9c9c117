//! Ring hop and streaming rate of both rings beside a bare cache line going from core to core, all in one run:
//! `cargo run --release -p peregrine-runtime --example ring_speed [ROUNDS]`.
//!
//! A hop is half a round trip of one 56-byte message there and back over two rings. Each round measures every kind
//! one after the other, with the bare line first and last: virtual cores move between physical ones, so a round counts
//! only if its two bare lines agree within a tenth, and rounds are grouped by how far apart the cores were. Quoted are
//! medians over a group's rounds, of the quantiles and of the ratios. Needs two cores that nobody else uses;
//! `chrt -f 20` before the command keeps others off them, where permitted.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use core_affinity::CoreId;
use crossbeam_utils::CachePadded;
use peregrine_runtime::{RingConsumer, RingError, RingProducer, TscClock, available_cores, index_ring, slot_ring};
use peregrine_types::Full;

/// 56 bytes, as a market event.
type Message = [u64; 7];

const HOP_SPAN_COUNT: usize = 10_000;
const HOP_COUNT: u64 = HOP_SPAN_COUNT as u64;
const BLOCK_LEN: usize = 20;
const WARM_UP_COUNT: u64 = 2_000;
const STREAM_COUNT: u64 = 500_000;
const CAPACITY: usize = 1024;

/// One kind's figures in one round: nanoseconds, and million messages per second (0 for the bare line).
#[derive(Clone, Copy)]
struct Figures {
    /// Median of means over blocks of consecutive hops: finer than one reading of the ticks, for the ratios.
    typical: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    rate: f64,
}

impl Figures {
    fn of(mut spans: Vec<u64>, rate: f64, clock: &TscClock) -> Self {
        let mean = |block: &[u64]| clock.ticks_to_nanos(block.iter().sum()).0 as f64 / (2 * BLOCK_LEN) as f64;
        let typical = median(spans.chunks_exact(BLOCK_LEN).map(mean).collect());
        spans.sort_unstable();
        let at = |per_mille: usize| {
            let index = spans.len().saturating_sub(1) * per_mille / 1_000;
            clock.ticks_to_nanos(spans.get(index).copied().unwrap_or(0) * 1000).0 as f64 / 2000.0
        };
        Self { typical, p50: at(500), p90: at(900), p99: at(990), p999: at(999), max: at(1_000), rate }
    }
}

/// One round.
struct Round {
    bare: Figures,
    slot: Figures,
    index: Figures,
}

/// Picks one kind's figures out of a round.
type FiguresOf = fn(&Round) -> Figures;

/// How far apart the cores were, by what the bare line took.
const GROUPS: [(&str, f64, f64); 3] = [
    ("below 50 ns: two threads of one core, no line moves", 0.0, 50.0),
    ("50 to 150 ns: two cores", 50.0, 150.0),
    ("above 150 ns: two cores without a common cache", 150.0, f64::INFINITY),
];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print_group(out: &mut impl Write, name: &str, rounds: &[&Round]) -> io::Result<()> {
    writeln!(out, "\n{name} ({} rounds)", rounds.len())?;
    writeln!(
        out,
        "{:<12}{:>8}{:>8}{:>8}{:>8}{:>8}{:>10}{:>8}",
        "hop, ns", "typical", "p50", "p90", "p99", "p99.9", "max", "M/s"
    )?;
    let kinds: [(&str, FiguresOf); 3] =
        [("bare line", |round| round.bare), ("slot ring", |round| round.slot), ("index ring", |round| round.index)];
    for (kind, figures) in kinds {
        let over = |field: fn(Figures) -> f64| median(rounds.iter().map(|round| field(figures(round))).collect());
        let (typical, p50, p90, p99) = (over(|f| f.typical), over(|f| f.p50), over(|f| f.p90), over(|f| f.p99));
        let (p999, max, rate) = (over(|f| f.p999), over(|f| f.max), over(|f| f.rate));
        writeln!(out, "{kind:<12}{typical:>8.1}{p50:>8.1}{p90:>8.1}{p99:>8.1}{p999:>8.1}{max:>10.1}{rate:>8.1}")?;
    }
    let over = |ratio: fn(&Round) -> f64| median(rounds.iter().map(|round| ratio(round)).collect());
    writeln!(
        out,
        "slot ring hop / bare line: {:.3} (goal 1.05)",
        over(|round| round.slot.typical / round.bare.typical)
    )?;
    writeln!(out, "index ring hop / bare line: {:.3}", over(|round| round.index.typical / round.bare.typical))?;
    let streaming = over(|round| round.slot.rate / round.index.rate);
    writeln!(out, "slot ring streaming / index ring: {streaming:.2} (goal 1.40)")
}

fn pin(core: usize) {
    if !core_affinity::set_for_current(CoreId { id: core }) {
        writeln!(io::stderr(), "could not pin to core {core}: figures are worth little").ok();
    }
}

/// Runs `body` on a thread pinned to `core`, and returns once it is there: a spinning caller could keep it from ever
/// leaving the caller's core under `SCHED_FIFO`.
fn spawn_on(core: usize, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let (ready_in, ready_out) = mpsc::sync_channel(1);
    let thread = thread::spawn(move || {
        pin(core);
        ready_in.send(()).ok();
        body();
    });
    ready_out.recv().ok();
    thread
}

/// One line there, one line back: what the memory system itself takes.
fn bare_line(core: usize, clock: &TscClock) -> Vec<u64> {
    let lines: Arc<[CachePadded<AtomicU64>; 2]> = Arc::default();
    let total = HOP_COUNT + WARM_UP_COUNT;
    let echo = {
        let lines = Arc::clone(&lines);
        spawn_on(core, move || {
            let [there, back] = &*lines;
            for number in 1..=total {
                while there.load(Ordering::Acquire) != number {}
                back.store(number, Ordering::Release);
            }
        })
    };
    let [there, back] = &*lines;
    let spans = round_trips(clock, |number| {
        there.store(number, Ordering::Release);
        while back.load(Ordering::Acquire) != number {}
    });
    echo.join().ok();
    spans
}

fn round_trips(clock: &TscClock, mut trip: impl FnMut(u64)) -> Vec<u64> {
    let mut spans = Vec::with_capacity(HOP_SPAN_COUNT);
    for number in 1..=WARM_UP_COUNT {
        trip(number);
    }
    for number in WARM_UP_COUNT + 1..=WARM_UP_COUNT + HOP_COUNT {
        let start = clock.ticks();
        trip(number);
        spans.push(clock.ticks() - start);
    }
    spans
}

fn push_spinning(producer: &mut impl RingProducer<Message>, mut message: Message) {
    while let Err(Full(back)) = producer.push(message) {
        message = back;
    }
}

fn pop_spinning(consumer: &mut impl RingConsumer<Message>) -> Message {
    loop {
        if let Some(message) = consumer.pop() {
            return message;
        }
    }
}

fn hops<P: RingProducer<Message> + 'static, C: RingConsumer<Message> + 'static>(
    (mut there_in, mut there_out): (P, C),
    (mut back_in, mut back_out): (P, C),
    core: usize,
    clock: &TscClock,
) -> Vec<u64> {
    let echo = spawn_on(core, move || {
        for _ in 0..HOP_COUNT + WARM_UP_COUNT {
            let message = pop_spinning(&mut there_out);
            push_spinning(&mut back_in, message);
        }
    });
    let spans = round_trips(clock, |number| {
        push_spinning(&mut there_in, [number; 7]);
        assert_eq!(pop_spinning(&mut back_out), [number; 7]);
    });
    echo.join().ok();
    spans
}

/// Million messages per second, all of them checked.
fn stream<P: RingProducer<Message> + 'static, C: RingConsumer<Message>>(
    (mut producer, mut consumer): (P, C),
    core: usize,
    clock: &TscClock,
) -> f64 {
    let pushing = spawn_on(core, move || {
        for number in 0..STREAM_COUNT {
            push_spinning(&mut producer, [number; 7]);
        }
    });
    let first = pop_spinning(&mut consumer);
    assert_eq!(first, [0; 7]);
    let start = clock.ticks();
    for number in 1..STREAM_COUNT {
        let [head, .., tail] = pop_spinning(&mut consumer);
        assert_eq!((head, tail), (number, number));
    }
    let nanos = clock.ticks_to_nanos(clock.ticks() - start).0;
    pushing.join().ok();
    (STREAM_COUNT - 1) as f64 * 1_000.0 / nanos as f64
}

fn measure(core: usize, clock: &TscClock) -> Result<Option<Round>, RingError> {
    let bare = Figures::of(bare_line(core, clock), 0.0, clock);
    let slot_rate = stream(slot_ring::<Message>(CAPACITY)?, core, clock);
    let index_rate = stream(index_ring::<Message>(CAPACITY)?, core, clock);
    let slot_hops = hops(slot_ring(CAPACITY)?, slot_ring(CAPACITY)?, core, clock);
    let index_hops = hops(index_ring(CAPACITY)?, index_ring(CAPACITY)?, core, clock);
    let slot = Figures::of(slot_hops, slot_rate, clock);
    let index = Figures::of(index_hops, index_rate, clock);
    let again = Figures::of(bare_line(core, clock), 0.0, clock);
    let is_steady = (again.typical - bare.typical).abs() <= 0.1 * bare.typical;
    Ok(is_steady.then_some(Round { bare, slot, index }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let round_count: u32 = std::env::args().nth(1).map_or(Ok(30), |text| text.parse())?;
    let cores = available_cores();
    let [first, second, ..] = cores.as_slice() else { return Err("needs two cores".into()) };
    pin(*first);
    let clock = TscClock::calibrated();
    let mut rounds = Vec::new();
    for _ in 0..round_count {
        rounds.extend(measure(*second, &clock)?);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{} of {round_count} rounds were steady", rounds.len())?;
    for (name, from, below) in GROUPS {
        let is_in = |round: &&Round| (from..below).contains(&round.bare.typical);
        let group: Vec<_> = rounds.iter().filter(is_in).collect();
        if !group.is_empty() {
            print_group(&mut out, name, &group)?;
        }
    }
    Ok(())
}
