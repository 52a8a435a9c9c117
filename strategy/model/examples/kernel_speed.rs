//! Times the kernel alone, weights warm, one thread, as a table:
//! `taskset -c 1 cargo run --release -p peregrine-model --example kernel_speed -- [CALLS] [BACKEND]`.
//!
//! `observe` is timed with an `advance` before each call, so that its weights come from where `advance` left them.
//! Every step's output is the next one's input. Of five rounds the one with the least median is shown; the timer's own
//! cost is inside every figure and stated. `figures` in `benches` measures the same beside everything else.
#![expect(clippy::print_stdout, reason = "a table is what the command is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use peregrine_model::{
    Backend, FeatureSet, Heads, Kernel, LatentStore, Model, ModelMeta, PositionInput, Precision, Size,
};

#[path = "../../../benches/src/networks.rs"]
#[expect(unreachable_pub, reason = "shared with the benches, which use all of it")]
mod networks;

use networks::{LSTM_004, LSTM_A, LSTM_A_WINDOW, M1, M1_INPUTS, M1Tensors, lstm};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 5;
const INPUTS: usize = 1_024;
/// Instruments of the rows about many.
const INSTRUMENTS: usize = 64;

/// Nanoseconds of each call of one round, sorted.
struct Sample(Vec<f64>);

impl Sample {
    fn quantile(&self, per_mille: usize) -> f64 {
        let index = (self.0.len().saturating_sub(1) * per_mille) / 1_000;
        self.0.get(index).copied().unwrap_or(0.0)
    }

    fn print(&self, what: &str) {
        let [p50, p90, p99, p999, max] = [500, 900, 990, 999, 1_000].map(|q| self.quantile(q));
        println!("| {what} | **{p50:.0}** | {p90:.0} | {p99:.0} | {p999:.0} | {max:.0} |");
    }
}

fn nanos_since(start: Instant) -> f64 {
    1e9 * start.elapsed().as_secs_f64()
}

/// Runs `call` in rounds and keeps the round with the least median. `call` gives the times that it wants counted.
fn best_of_rounds(calls: usize, mut call: impl FnMut(usize) -> f64) -> Sample {
    let mut best: Option<Sample> = None;
    for _ in 0..ROUNDS {
        for index in 0..calls / 10 {
            black_box(call(index));
        }
        let mut times: Vec<f64> = (0..calls).map(&mut call).collect();
        times.sort_by(f64::total_cmp);
        let sample = Sample(times);
        if best.as_ref().is_none_or(|best| sample.quantile(500) < best.quantile(500)) {
            best = Some(sample);
        }
    }
    best.unwrap_or(Sample(Vec::new()))
}

struct Bench {
    kernel: Kernel,
    model: Model,
    store: LatentStore,
    scratch: LatentStore,
    inputs: Vec<Vec<f32>>,
    heads: Heads,
}

impl Bench {
    fn new(kernel: Kernel, size: Size, precision: Precision) -> Result<Self, Failure> {
        let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
        let meta = ModelMeta::untrained(size, 1, FeatureSet::unscaled(names, "bench"));
        let model = Model::seeded(&meta)?.quantise(precision)?;
        let (store, scratch) = (LatentStore::new(&model, INSTRUMENTS), LatentStore::new(&model, 1));
        Ok(Self { kernel, model, store, scratch, inputs: inputs(size.d()), heads: Heads::default() })
    }

    fn observe(&mut self, index: usize) {
        let position = PositionInput { position: self.heads.action, half_spread_bps: 0.5, fee_bps: 0.3 };
        let (latent, x) = (self.store.latent_mut(0), self.inputs.get(index % INPUTS));
        if let (Some(mut latent), Some(x)) = (latent, x) {
            self.heads = self.kernel.observe(&self.model, &mut latent, x, position).unwrap_or_default();
        }
    }

    fn advance(&mut self, instrument: usize) {
        if let Some(mut latent) = self.store.latent_mut(instrument) {
            self.kernel.advance(&self.model, &mut latent);
        }
    }

    /// 1 ms of spinning, as a polling role spins, with or without a step on scratch state every 50 µs.
    fn idle(&mut self, is_warm: bool) {
        let begin = Instant::now();
        let mut last = begin;
        while begin.elapsed() < Duration::from_millis(1) {
            if is_warm && last.elapsed() >= Duration::from_micros(50) {
                self.kernel.warm(&self.model, &mut self.scratch);
                last = Instant::now();
            }
            std::hint::spin_loop();
        }
    }
}

/// Features that wander, by a multiplicative congruence: no generator is needed for a benchmark.
fn inputs(d: usize) -> Vec<Vec<f32>> {
    let mut seed = 12_345_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(seed >> 16).unwrap_or(0)) / 16_384.0 - 2.0
    };
    (0..INPUTS).map(|_| (0..d).map(|_| next()).collect()).collect()
}

fn split_rows(bench: &mut Bench, label: &str, calls: usize) {
    let observe = best_of_rounds(calls, |index| {
        bench.advance(0);
        let start = Instant::now();
        bench.observe(index);
        nanos_since(start)
    });
    observe.print(&format!("observe, {label}"));
    let again = best_of_rounds(calls, |index| {
        bench.advance(0);
        bench.observe(index);
        let start = Instant::now();
        bench.observe(index);
        nanos_since(start)
    });
    again.print(&format!("observe directly after another, {label}"));
    let advance = best_of_rounds(calls, |index| {
        bench.observe(index);
        let start = Instant::now();
        bench.advance(0);
        nanos_since(start)
    });
    advance.print(&format!("advance, {label}"));
    let both = best_of_rounds(calls, |index| {
        let start = Instant::now();
        bench.advance(0);
        bench.observe(index);
        nanos_since(start)
    });
    both.print(&format!("advance and observe, {label}"));
    assert!(bench.heads.action.abs() <= 1.0 && bench.heads.horizon_count > 0, "the steps gave no heads");
}

fn many_rows(bench: &mut Bench, label: &str, calls: usize) {
    let all: Vec<usize> = (0..INSTRUMENTS).collect();
    let alone = best_of_rounds(calls, |_| {
        let start = Instant::now();
        all.iter().for_each(|instrument| bench.advance(*instrument));
        nanos_since(start) / 64.0
    });
    alone.print(&format!("advance of 64 instruments one by one, each, {label}"));
    let together = best_of_rounds(calls, |_| {
        let start = Instant::now();
        bench.kernel.advance_many(&bench.model, &mut bench.store, &all);
        nanos_since(start) / 64.0
    });
    together.print(&format!("advance_many of 64 instruments, each, {label}"));
}

fn idle_rows(bench: &mut Bench, label: &str) {
    for (is_warm, what) in [(false, "observe after 1 ms idle"), (true, "observe after 1 ms idle, kept warm")] {
        let sample = best_of_rounds(300, |index| {
            bench.advance(0);
            bench.idle(is_warm);
            let start = Instant::now();
            bench.observe(index);
            nanos_since(start)
        });
        sample.print(&format!("{what}, {label}"));
    }
}

fn m1_row(kernel: Kernel, precision: Precision, calls: usize) -> Result<(), Failure> {
    let mut network = M1::new(&M1Tensors::seeded(), kernel, precision)?;
    let inputs = inputs(M1_INPUTS);
    let sample = best_of_rounds(calls, |index| {
        let start = Instant::now();
        let is_done = inputs.get(index % INPUTS).is_some_and(|x| network.step(x).is_ok());
        assert!(is_done);
        nanos_since(start)
    });
    assert!(network.output().all(f32::is_finite));
    sample.print(&format!("M1, whole step, {}", precision.name()));
    Ok(())
}

fn lstm_rows(kernel: &Kernel, name: &str, widths: (usize, usize), precision: Precision) -> Result<(), Failure> {
    let (mut network, inputs, calls) = (lstm(widths, precision)?, inputs(widths.0), 50_000);
    let x = |index: usize| inputs.get(index % INPUTS).map(Vec::as_slice).unwrap_or_default();
    let (mut sum, label) = (0.0, format!("{name}, {}", precision.name()));
    for call in ["after the new input", "before the next input", "whole streaming step"] {
        let sample = best_of_rounds(calls, |index| {
            let start = Instant::now();
            sum += network.observe(kernel, x(index)).unwrap_or(f32::NAN);
            let after = nanos_since(start);
            network.advance(kernel);
            let whole = nanos_since(start);
            match call {
                "after the new input" => after,
                "before the next input" => whole - after,
                _ => whole,
            }
        });
        sample.print(&format!("{label}, {call}"));
    }
    if widths == LSTM_A {
        let sample = best_of_rounds(1_000, |index| {
            let start = Instant::now();
            network.reset();
            (0..LSTM_A_WINDOW).for_each(|step| sum += network.observe(kernel, x(index + step)).unwrap_or(f32::NAN));
            nanos_since(start)
        });
        sample.print(&format!("{label}, whole window of {LSTM_A_WINDOW} steps"));
    }
    assert!(sum.is_finite());
    Ok(())
}

fn main() -> Result<(), Failure> {
    let calls: usize = std::env::args().nth(1).map_or(Ok(100_000), |calls| calls.parse())?;
    let wanted = std::env::args().nth(2);
    let timer = best_of_rounds(calls, |_| nanos_since(Instant::now()));
    println!(
        "- {calls} calls a round, the best of {ROUNDS} rounds; an empty span reads {:.0} ns\n",
        timer.quantile(500)
    );
    for backend in Backend::ALL {
        let Some(kernel) = Kernel::new(backend) else {
            println!("{backend:?} skipped: not on this machine");
            continue;
        };
        if wanted.as_ref().is_some_and(|wanted| *wanted != format!("{backend:?}")) {
            continue;
        }
        let calls = if backend == Backend::Scalar { calls / 50 } else { calls };
        println!("\n## {backend:?}\n\n| nanoseconds | p50 | p90 | p99 | p99.9 | max |\n|---|--:|--:|--:|--:|--:|");
        for size in [Size::Micro, Size::Small] {
            for precision in Precision::ALL {
                let mut bench = Bench::new(kernel, size, precision)?;
                let label = format!("{}, {}", size.name(), precision.name());
                split_rows(&mut bench, &label, calls);
                many_rows(&mut bench, &label, calls / 100);
                if precision == Precision::F32 && backend == Backend::best() {
                    idle_rows(&mut bench, &label);
                }
            }
        }
        for precision in Precision::ALL {
            m1_row(kernel, precision, calls)?;
        }
        for (name, widths) in [("LSTM_A", LSTM_A), ("LSTM of source 004", LSTM_004)] {
            for precision in Precision::ALL {
                lstm_rows(&kernel, name, widths, precision)?;
            }
        }
    }
    Ok(())
}
