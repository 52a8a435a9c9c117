//! One recurrent step of M1 (the design's performance page) on the kernel and on other inference runtimes: the same seeded
//! weights on every side, batch 1, one thread; the state of one step is the input of the next. Each peer gets its weights
//! transposed and contiguous in advance, tract its optimised plan, ONNX Runtime bound inputs and outputs. Every step
//! allocates in the Rust runtimes, whose calls return new tensors: that is what their users pay too. Libraries in C and C++
//! take part where a variable names their path (`README.md`), PyTorch in `scripts/kernel_speed.py`.

mod burn;
mod candle;
mod library;
mod lstm;
mod onnx;
mod tract;

use peregrine_benches::BenchError as Failure;
use peregrine_benches::networks::{Dense, M1, M1_INPUTS, M1_OUTPUTS, M1Tensors, Numbers};
use peregrine_benches::percentiles::Timer;
use peregrine_model::{Backend, Kernel, Precision};

use self::library::{Kind, LibraryNet};
use crate::{Contender, compare, median};

/// Steps of one pass.
const STEPS: usize = 2_000;
/// Steps over which the outputs are held against ours.
const COMPARED: usize = 50;

/// A network that keeps its state: takes an input, gives the outputs.
trait Network {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure>;
    fn reset(&mut self);
}

struct Ours {
    network: M1,
    fresh: M1,
}

impl Network for Ours {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure> {
        self.network.step(x)?;
        Ok(self.network.output().collect())
    }

    fn reset(&mut self) {
        self.network.clone_from(&self.fresh);
    }
}

fn ours(tensors: &M1Tensors, precision: Precision) -> Result<Box<dyn Network>, Failure> {
    let kernel = Kernel::new(Backend::best()).ok_or("the best backend is there")?;
    let network = M1::new(tensors, kernel, precision)?;
    Ok(Box::new(Ours { fresh: network.clone(), network }))
}

/// `[rows, columns]` row-major to `[columns, rows]`.
fn transposed(weight: &[f32], columns: usize) -> Vec<f32> {
    let rows = weight.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| weight[row * columns + column])).collect()
}

/// A dense layer: transposed weights, bias, inputs.
fn dense(layer: &Dense) -> (Vec<f32>, Vec<f32>, usize) {
    (transposed(&layer.weight, layer.inputs), layer.bias.clone(), layer.inputs)
}

/// The largest difference from the expected outputs, from an empty state on.
fn difference(expected: &[Vec<f32>], network: &mut dyn Network, inputs: &[Vec<f32>]) -> Result<f32, Failure> {
    network.reset();
    let mut worst = 0.0_f32;
    for (expected, x) in expected.iter().zip(inputs) {
        let outputs = network.step(x)?;
        assert_eq!(outputs.len(), M1_OUTPUTS);
        worst = outputs.iter().zip(expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
    }
    Ok(worst)
}

/// Median nanoseconds of a step, each step timed.
fn pass(network: &mut dyn Network, inputs: &[Vec<f32>], timer: &Timer) -> f64 {
    let mut spans = Vec::with_capacity(STEPS);
    for x in inputs.iter().cycle().take(STEPS) {
        let start = timer.ticks();
        let outputs = network.step(x);
        spans.push(timer.nanos_since(start));
        assert!(outputs.is_ok_and(|outputs| outputs.iter().all(|value| value.is_finite())));
    }
    median(spans)
}

type Named = (&'static str, Box<dyn Network>);

fn networks() -> Result<Vec<Named>, Failure> {
    let tensors = M1Tensors::seeded();
    let mut networks: Vec<Named> = vec![
        ("Peregrine, f32", ours(&tensors, Precision::F32)?),
        ("Peregrine, 16-bit weights", ours(&tensors, Precision::Int16)?),
        ("Peregrine, 8-bit weights", ours(&tensors, Precision::Int8)?),
        ("tract", Box::new(tract::TractNet::new(&tensors)?)),
        ("candle", Box::new(candle::CandleNet::new(&tensors)?)),
        ("burn, flex", Box::new(burn::BurnNet::new(&tensors))),
    ];
    if let Some(network) = onnx::OnnxNet::new(&tensors)? {
        networks.push(("ONNX Runtime, C API", Box::new(network)));
    }
    for (name, kind) in [("OpenBLAS", Kind::OpenBlas), ("oneDNN", Kind::OneDnn), ("libxsmm", Kind::Xsmm)] {
        if let Some(network) = LibraryNet::new(kind, &tensors)? {
            networks.push((name, Box::new(network)));
        }
    }
    Ok(networks)
}

fn inputs() -> Vec<Vec<f32>> {
    let mut numbers = Numbers::seeded(7);
    (0..256).map(|_| numbers.take(M1_INPUTS, 2.0)).collect()
}

/// One pass of ours in f32, for a program that compares others with it: a line with the median of a step in nanoseconds,
/// then a line for each of the first outputs.
///
/// # Errors
/// What the kernel says.
pub fn run_ours(timer: &Timer) -> Result<(), Failure> {
    let mut network = ours(&M1Tensors::seeded(), Precision::F32)?;
    let inputs = inputs();
    let outputs: Vec<Vec<f32>> = inputs.iter().take(COMPARED).map(|x| network.step(x)).collect::<Result<_, _>>()?;
    pass(network.as_mut(), &inputs, timer);
    println!("{}", pass(network.as_mut(), &inputs, timer));
    for output in outputs {
        println!("{}", output.iter().map(f32::to_string).collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

/// Compares the runtimes and prints the table, and how far the outputs lie apart.
///
/// # Errors
/// What a runtime says while it builds or runs the network.
pub fn run(timer: &Timer) -> Result<(), Failure> {
    let mut networks = networks()?;
    let inputs = inputs();
    let mut expected = Vec::new();
    let mut differences = Vec::new();
    for (name, network) in &mut networks {
        if expected.is_empty() {
            expected = inputs.iter().take(COMPARED).map(|x| network.step(x)).collect::<Result<_, _>>()?;
        }
        differences.push(format!("{name} {:.1e}", difference(&expected, network.as_mut(), &inputs)?));
    }
    let inputs = &inputs;
    let mut contenders: Vec<Contender<'_>> = networks
        .into_iter()
        .map(|(name, mut network)| Contender::new(name, move |timer| pass(network.as_mut(), inputs, timer)))
        .collect();
    compare("one recurrent step, M1 whole, per step", "goal 5", timer, &mut contenders);
    println!("\nLargest difference of an output from ours in f32 over {COMPARED} steps: {}.", differences.join(", "));
    lstm::run(timer)
}
