//! What the instruments cost per use: `cargo run --release -p peregrine-runtime --example instrument_cost`.
//!
//! Each figure is the least of ten rounds of a million uses, the loop included.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};

use peregrine_runtime::{
    CounterRegistry, CounterUnit, LatencyBounds, LatencyGuard, LatencyGuardConfig, Stopwatch, TscClock, TscStopwatch,
    latency_recorder, serialised_ticks, timer_overhead_ns,
};
use peregrine_types::{EpochNanos, Nanos};

const USE_COUNT: u32 = 1_000_000;

fn cost(clock: &TscClock, mut body: impl FnMut(i64)) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..10 {
        let start = clock.ticks();
        for number in 0..USE_COUNT {
            body(i64::from(black_box(number)));
        }
        let nanos = clock.ticks_to_nanos(clock.ticks().saturating_sub(start)).0;
        least = least.min(nanos as f64 / f64::from(USE_COUNT));
    }
    least
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock = TscClock::calibrated();
    let stopwatch = TscStopwatch::new(&clock);
    let mut registry = CounterRegistry::new("x");
    let id = registry.register("y", CounterUnit::Count);
    let (mut counters, _reader) = registry.build();
    let (mut recorder, _intervals) = latency_recorder("x", LatencyBounds::STANDARD)?;
    let config = LatencyGuardConfig {
        window_sample_count: 10_000,
        window_time: Some(Nanos::from_secs(1)),
        sample_count_min: 100,
        warn_above: Nanos::from_millis(5),
        halt_above: Nanos::from_millis(20),
    };
    let mut guard = LatencyGuard::new(config)?;
    let rows = [
        ("counter add", cost(&clock, |number| counters.add(id, number.unsigned_abs()))),
        ("latency record", cost(&clock, |number| recorder.record(Nanos(number & 0xffff)))),
        (
            "guard observe, window of 10,000",
            cost(&clock, |number| {
                black_box(guard.observe(EpochNanos(0), Nanos(number & 0xffff)));
            }),
        ),
        (
            "clock now",
            cost(&clock, |_| {
                black_box(clock.now());
            }),
        ),
        (
            "stopwatch start and elapsed",
            cost(&clock, |_| {
                black_box(stopwatch.elapsed(stopwatch.start()));
            }),
        ),
        (
            "serialised ticks",
            cost(&clock, |_| {
                black_box(serialised_ticks());
            }),
        ),
    ];
    let mut out = io::stdout().lock();
    for (name, nanos) in rows {
        writeln!(out, "{name:<36}{nanos:>8.2} ns")?;
    }
    writeln!(out, "{:<36}{:>8.2} ns", "an empty span reads as", timer_overhead_ns(&stopwatch).0 as f64)?;
    Ok(())
}
