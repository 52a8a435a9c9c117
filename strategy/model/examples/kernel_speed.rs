//! Times `observe`, `advance` and both back to back for every size and backend, weights warm, one thread:
//! `taskset -c 1 cargo run --release -p peregrine-model --example kernel_speed [CALLS]`.
//!
//! `observe` is timed with an `advance` before each call, so that its weights come from where `advance` left them.
//! Every step's output is the next one's input. Of nine rounds the one with the least median is shown; the timer's own
//! cost is inside every figure and stated.
#![expect(clippy::print_stdout, reason = "a table is what the command is for")]

use std::hint::black_box;
use std::time::Instant;

use peregrine_model::{Backend, FeatureSet, Heads, Kernel, LatentStore, Model, ModelMeta, PositionInput, Size};

const ROUNDS: usize = 9;
const INPUTS: usize = 1_024;

/// Nanoseconds of each call of one round, sorted.
struct Sample(Vec<u64>);

impl Sample {
    fn quantile(&self, per_mille: usize) -> u64 {
        let index = (self.0.len().saturating_sub(1) * per_mille) / 1_000;
        self.0.get(index).copied().unwrap_or(0)
    }

    fn row(&self) -> String {
        let [p50, p90, p99, p999] = [500, 900, 990, 999].map(|q| self.quantile(q));
        format!("{p50:>7} {p90:>7} {p99:>7} {p999:>8} {:>9}", self.quantile(1_000))
    }
}

fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

/// Runs `call` in rounds and keeps the round with the least median. `call` gives the times that it wants counted.
fn best_of_rounds(calls: usize, mut call: impl FnMut(usize) -> u64) -> Sample {
    let mut best: Option<Sample> = None;
    for _ in 0..ROUNDS {
        for index in 0..calls / 10 {
            black_box(call(index));
        }
        let mut times: Vec<u64> = (0..calls).map(&mut call).collect();
        times.sort_unstable();
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
    inputs: Vec<Vec<f32>>,
    heads: Heads,
}

impl Bench {
    fn observe(&mut self, index: usize) {
        let position = PositionInput { position: self.heads.action, half_spread_bps: 0.5, fee_bps: 0.3 };
        let (latent, x) = (self.store.latent_mut(0), self.inputs.get(index % INPUTS));
        if let (Some(mut latent), Some(x)) = (latent, x) {
            self.heads = self.kernel.observe(&self.model, &mut latent, x, position).unwrap_or_default();
        }
    }

    fn advance(&mut self) {
        if let Some(mut latent) = self.store.latent_mut(0) {
            self.kernel.advance(&self.model, &mut latent);
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let calls: usize = std::env::args().nth(1).map_or(Ok(200_000), |calls| calls.parse())?;
    let timer = best_of_rounds(calls, |_| nanos(Instant::now(), Instant::now()));
    println!(
        "best backend {:?}, {calls} calls, timer {} ns (inside every figure)\n",
        Backend::best(),
        timer.quantile(500)
    );
    println!(
        "{:<7} {:<7} {:<15}{:>7} {:>7} {:>7} {:>8} {:>9}",
        "size", "backend", "call", "p50", "p90", "p99", "p99.9", "max"
    );
    for size in Size::ALL {
        let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
        let model = Model::seeded(&ModelMeta::untrained(size, 1, FeatureSet::unscaled(names, "bench")))?;
        for backend in Backend::ALL {
            let Some(kernel) = Kernel::new(backend) else {
                println!("{:<7} {backend:<7?} skipped: not on this machine", size.name());
                continue;
            };
            let calls = if backend == Backend::Scalar { calls / 50 } else { calls };
            let store = LatentStore::new(&model, 1);
            let mut bench =
                Bench { kernel, model: model.clone(), store, inputs: inputs(size.d()), heads: Heads::default() };
            let observe = best_of_rounds(calls, |index| {
                bench.advance();
                let start = Instant::now();
                bench.observe(index);
                nanos(start, Instant::now())
            });
            let advance = best_of_rounds(calls, |index| {
                bench.observe(index);
                let start = Instant::now();
                bench.advance();
                nanos(start, Instant::now())
            });
            let both = best_of_rounds(calls, |index| {
                let start = Instant::now();
                bench.advance();
                bench.observe(index);
                nanos(start, Instant::now())
            });
            assert!(bench.heads.action.abs() <= 1.0 && bench.heads.horizon_count > 0, "the steps gave no heads");
            for (call, sample) in [("observe", observe), ("advance", advance), ("advance+observe", both)] {
                println!("{:<7} {:<7} {call:<15}{}", size.name(), format!("{backend:?}"), sample.row());
            }
        }
    }
    Ok(())
}
