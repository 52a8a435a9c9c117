//! Ring hop and streaming rate of both rings beside a bare cache line going from core to core, all in one run:
//! `cargo run --release -p peregrine-runtime --example ring_speed [ROUNDS]`.
//!
//! A hop is half a round trip of one 56-byte message there and back over two rings. Every kind is measured in each
//! round, so that the ratios compare like with like; quoted are the minimum over the rounds of each quantile. Needs
//! two cores that nobody else uses.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use core_affinity::CoreId;
use crossbeam_utils::CachePadded;
use peregrine_runtime::{RingConsumer, RingProducer, TscClock, available_cores, index_ring, slot_ring};
use peregrine_types::Full;

/// 56 bytes, as a market event.
type Message = [u64; 7];

const HOP_SPAN_COUNT: usize = 200_000;
const HOP_COUNT: u64 = HOP_SPAN_COUNT as u64;
const WARM_UP_COUNT: u64 = 20_000;
const STREAM_COUNT: u64 = 20_000_000;
const CAPACITY: usize = 1024;

/// One kind's figures, best of the rounds.
#[derive(Clone, Copy)]
struct Best {
    name: &'static str,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    /// Million messages per second; `None` for the bare line.
    rate: Option<f64>,
}

impl Best {
    const fn new(name: &'static str) -> Self {
        let worst = f64::INFINITY;
        Self { name, p50: worst, p90: worst, p99: worst, p999: worst, max: worst, rate: None }
    }

    fn improve(&mut self, mut spans: Vec<u64>, clock: &TscClock) {
        spans.sort_unstable();
        let at = |per_mille: usize| {
            let index = spans.len().saturating_sub(1) * per_mille / 1_000;
            clock.ticks_to_nanos(spans.get(index).copied().unwrap_or(0) * 1000).0 as f64 / 2000.0
        };
        self.p50 = self.p50.min(at(500));
        self.p90 = self.p90.min(at(900));
        self.p99 = self.p99.min(at(990));
        self.p999 = self.p999.min(at(999));
        self.max = self.max.min(at(1_000));
    }
}

fn pin(core: usize) {
    if !core_affinity::set_for_current(CoreId { id: core }) {
        writeln!(io::stderr(), "could not pin to core {core}: figures are worth little").ok();
    }
}

/// One line there, one line back: what the memory system itself takes.
fn bare_line(cores: (usize, usize), clock: &TscClock) -> Vec<u64> {
    let lines: Arc<[CachePadded<AtomicU64>; 2]> = Arc::default();
    let total = HOP_COUNT + WARM_UP_COUNT;
    let echo = {
        let lines = Arc::clone(&lines);
        thread::spawn(move || {
            pin(cores.1);
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
    let echo = thread::spawn(move || {
        pin(core);
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
    let pushing = thread::spawn(move || {
        pin(core);
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

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    let cores = available_cores();
    let [first, second, ..] = cores.as_slice() else { return Err("needs two cores".into()) };
    let (first, second) = (*first, *second);
    pin(first);
    let clock = TscClock::calibrated();
    let (mut bare, mut slot, mut index) = (Best::new("bare line"), Best::new("slot ring"), Best::new("index ring"));
    for _ in 0..rounds {
        bare.improve(bare_line((first, second), &clock), &clock);
        slot.improve(hops(slot_ring(CAPACITY)?, slot_ring(CAPACITY)?, second, &clock), &clock);
        index.improve(hops(index_ring(CAPACITY)?, index_ring(CAPACITY)?, second, &clock), &clock);
        let (slots, indices) = (
            stream(slot_ring::<Message>(CAPACITY)?, second, &clock),
            stream(index_ring::<Message>(CAPACITY)?, second, &clock),
        );
        slot.rate = Some(slot.rate.unwrap_or(0.0).max(slots));
        index.rate = Some(index.rate.unwrap_or(0.0).max(indices));
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{:<12}{:>8}{:>8}{:>8}{:>8}{:>10}{:>12}", "hop, ns", "p50", "p90", "p99", "p99.9", "max", "M/s")?;
    for best in [bare, slot, index] {
        let Best { name, p50, p90, p99, p999, max, rate } = best;
        let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        writeln!(out, "{name:<12}{p50:>8.1}{p90:>8.1}{p99:>8.1}{p999:>8.1}{max:>10.1}{rate:>12}")?;
    }
    writeln!(out, "slot ring hop / bare line: {:.3} (goal 1.05)", slot.p50 / bare.p50)?;
    writeln!(out, "index ring hop / bare line: {:.3}", index.p50 / bare.p50)?;
    let ratio = slot.rate.unwrap_or(0.0) / index.rate.unwrap_or(f64::INFINITY);
    writeln!(out, "slot ring streaming / index ring: {ratio:.2} (goal 1.40)")?;
    Ok(())
}
