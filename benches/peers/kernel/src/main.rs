//! Rust inference runtimes beside the kernel: `scripts/bench.sh --kernel-peers`.
//!
//! The same network, M1 of the design's performance page, with the same weights on every side, batch 1, one thread.
//! Contenders take one pass of many steps in turn within every round; the state of one step is the input of the next; outputs are compared.
//! Each rival gets its weights transposed and contiguous in advance, and tract its optimised plan.
#![allow(missing_docs, reason = "a program")]

mod burn_net;
mod candle_net;
#[path = "../../../src/networks.rs"]
#[allow(dead_code, reason = "shared with the benches, which use all of it")]
mod networks;
mod plan;
mod tract_net;

use std::time::Instant;

use peregrine_model::{Backend, Kernel, Precision};

use networks::{M1, M1_HIDDEN, M1_INPUTS, M1_OUTPUTS, M1Tensors, Numbers};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 7;
const STEPS: usize = 2_000;

/// A network under test: takes an input, keeps its state, gives its output.
pub trait Contender {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure>;
    fn reset(&mut self);
}

struct Ours {
    network: M1,
    fresh: M1,
}

impl Contender for Ours {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure> {
        self.network.step(x)?;
        Ok(self.network.output().collect())
    }

    fn reset(&mut self) {
        self.network.clone_from(&self.fresh);
    }
}

fn ours(tensors: &M1Tensors, precision: Precision) -> Result<Box<dyn Contender>, Failure> {
    let kernel = Kernel::new(Backend::best()).ok_or("the best backend is there")?;
    let network = M1::new(tensors, kernel, precision)?;
    Ok(Box::new(Ours { fresh: network.clone(), network }))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The largest difference from the first contender's outputs over fifty steps.
fn difference(first: &[Vec<f32>], contender: &mut dyn Contender, inputs: &[Vec<f32>]) -> Result<f32, Failure> {
    contender.reset();
    let mut worst = 0.0_f32;
    for (expected, x) in first.iter().zip(inputs) {
        let output = contender.step(x)?;
        assert_eq!(output.len(), M1_OUTPUTS);
        worst = output.iter().zip(expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
    }
    Ok(worst)
}

/// Median nanoseconds of a step, each step timed.
fn pass(contender: &mut dyn Contender, inputs: &[Vec<f32>], steps: usize) -> Result<f64, Failure> {
    let mut spans = Vec::with_capacity(steps);
    for x in inputs.iter().cycle().take(steps) {
        let start = Instant::now();
        std::hint::black_box(contender.step(x)?);
        spans.push(start.elapsed().as_nanos() as f64);
    }
    Ok(median(spans))
}

fn main() -> Result<(), Failure> {
    let tensors = M1Tensors::seeded();
    let mut numbers = Numbers::seeded(7);
    let inputs: Vec<Vec<f32>> = (0..256).map(|_| numbers.take(M1_INPUTS, 2.0)).collect();
    let mut contenders: Vec<(&str, Box<dyn Contender>, Vec<f64>)> = vec![
        ("Peregrine f32", ours(&tensors, Precision::F32)?, Vec::new()),
        ("Peregrine int16", ours(&tensors, Precision::Int16)?, Vec::new()),
        ("Peregrine int8", ours(&tensors, Precision::Int8)?, Vec::new()),
        ("tract 0.22", Box::new(tract_net::TractNet::new(&tensors)?), Vec::new()),
        ("candle 0.9", Box::new(candle_net::CandleNet::new(&tensors)?), Vec::new()),
        ("burn 0.22, flex", Box::new(burn_net::BurnNet::new(&tensors)), Vec::new()),
    ];
    let mut first = Vec::new();
    for x in inputs.iter().take(50) {
        first.push(contenders[0].1.step(x)?);
    }
    let differences: Vec<f32> = contenders
        .iter_mut()
        .map(|(_, contender, _)| difference(&first, contender.as_mut(), &inputs))
        .collect::<Result<_, _>>()?;
    let load_before = load();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (_, contender, nanos) in &mut contenders {
            nanos.push(pass(contender.as_mut(), &inputs, STEPS)?);
        }
    }
    println!("- {ROUNDS} rounds of {STEPS} steps, state of {M1_HIDDEN}; load average {load_before} before, {} after\n", load());
    println!("| M1, whole step | ns, least median | ns, median of rounds | slower than Peregrine f32 by (goal 5) | largest difference from f32 |");
    println!("|---|--:|--:|--:|--:|");
    let ours = contenders[0].2.clone();
    for ((name, _, nanos), difference) in contenders.iter().zip(differences) {
        let ratio = median(nanos.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect());
        let least = nanos.iter().copied().fold(f64::INFINITY, f64::min);
        println!("| {name} | {least:.0} | {:.0} | **{ratio:.2}** | {difference:.1e} |", median(nanos.clone()));
    }
    Ok(())
}
