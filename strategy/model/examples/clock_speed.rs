//! How fast the core's clock runs beside each backend, as a table:
//! `taskset -c 1 cargo run --release -p peregrine-model --example clock_speed -- [ROUNDS]`.
//!
//! Some processors lower a core's clock while it multiplies in 512-bit registers: then everything else on that core slows
//! down too, and a backend that is quicker by itself need not be quicker in the whole. The clock is read off a chain of
//! multiplications, each of which needs the one before and takes three cycles on every x86-64 processor of these years.
//! Between two chains of a few microseconds the network makes a step, or nothing does. Backends take turns in slices of 50
//! ms, so that what other programs and other tenants do to the clock meets all of them; each is compared with the slice
//! without a step of its own round.
#![expect(clippy::print_stdout, reason = "a table is what the command is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use peregrine_model::{Backend, FeatureSet, Kernel, LatentStore, Model, ModelMeta, PositionInput, Size};

type Failure = Box<dyn std::error::Error>;

/// Multiplications of one chain.
const CHAIN_LEN: u32 = 8_000;
/// Cycles of one multiplication behind another.
const CYCLES: f64 = 3.0;
const SLICE: Duration = Duration::from_millis(50);
/// The part of a slice in which the clock settles, which is not counted.
const SETTLING: Duration = Duration::from_millis(10);

struct Bench {
    model: Model,
    store: LatentStore,
    x: Vec<f32>,
}

impl Bench {
    fn new() -> Result<Self, Failure> {
        let names = (0..Size::Micro.d()).map(|index| format!("feature_{index}")).collect();
        let model = Model::seeded(&ModelMeta::untrained(Size::Micro, 1, FeatureSet::unscaled(names, "bench")))?;
        let store = LatentStore::new(&model, 1);
        Ok(Self { model, store, x: vec![0.5; Size::Micro.d()] })
    }

    /// One step of the network.
    fn step(&mut self, kernel: &Kernel) {
        if let Some(mut latent) = self.store.latent_mut(0) {
            let heads = kernel.observe(&self.model, &mut latent, &self.x, PositionInput::default());
            assert!(heads.is_ok(), "the step gave no heads");
            kernel.advance(&self.model, &mut latent);
        }
    }

    /// The median clock of a slice in GHz, with steps on `kernel` or without.
    fn slice(&mut self, kernel: Option<&Kernel>) -> f64 {
        let (begin, mut clocks) = (Instant::now(), Vec::new());
        while begin.elapsed() < SLICE {
            if let Some(kernel) = kernel {
                self.step(kernel);
            }
            let start = Instant::now();
            let mut value = black_box(3_u64);
            for _ in 0..CHAIN_LEN {
                value = value.wrapping_mul(value);
            }
            black_box(value);
            let nanos = 1e9 * start.elapsed().as_secs_f64();
            if begin.elapsed() > SETTLING {
                clocks.push(CYCLES * f64::from(CHAIN_LEN) / nanos);
            }
        }
        quantile(&mut clocks, 500)
    }
}

fn quantile(values: &mut [f64], per_mille: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len().saturating_sub(1) * per_mille) / 1_000;
    values.get(index).copied().unwrap_or(0.0)
}

fn main() -> Result<(), Failure> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(40), |rounds| rounds.parse())?;
    let mut bench = Bench::new()?;
    let kernels: Vec<Kernel> = Backend::ALL.into_iter().filter_map(Kernel::new).collect();
    let mut clocks = vec![Vec::new(); kernels.len() + 1];
    let mut shares = vec![Vec::new(); kernels.len()];
    for _ in 0..rounds {
        let alone = bench.slice(None);
        for ((kernel, clocks), shares) in kernels.iter().zip(clocks.iter_mut().skip(1)).zip(&mut shares) {
            let clock = bench.slice(Some(kernel));
            clocks.push(clock);
            shares.push(clock / alone);
        }
        if let Some(clocks) = clocks.first_mut() {
            clocks.push(alone);
        }
    }
    println!("| steps of `micro` on | clock, GHz, p50 | to none: p25 | p50 | p75 |\n|---|--:|--:|--:|--:|");
    let mut clocks = clocks.iter_mut().map(|clocks| quantile(clocks, 500));
    println!("| none | {:.2} | | | |", clocks.next().unwrap_or(0.0));
    for ((kernel, clock), shares) in kernels.iter().zip(clocks).zip(&mut shares) {
        let [p25, p50, p75] = [250, 500, 750].map(|per_mille| quantile(shares, per_mille));
        println!("| {:?} | {clock:.2} | {p25:.3} | **{p50:.3}** | {p75:.3} |", kernel.backend());
    }
    Ok(())
}
