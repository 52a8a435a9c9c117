//! Datasets drawn from the process, and what the filter with the true parameters says of the held-out one.

use peregrine_dataset::{Dataset, DatasetMeta, Sequence};
use peregrine_model::{Horizon, HorizonUnit, Observations};
use peregrine_stats::random::Generator;
use peregrine_stats::state_space::{Filtered, MarketSpec, RegimeFilter, RegimeProcess, SimulatedPath};
use peregrine_stats::{Matrix, StatsError};
use sha2::{Digest, Sha256};

use super::TruthError;

/// Hash of the features' definition that datasets and models of the synthetic market carry.
pub const FEATURE_HASH: &str = "regime-switching-linear-gaussian-v1";

const INSTRUMENT: &str = "TRUTH";
/// A bar per minute.
const BAR_NS: i64 = 60_000_000_000;

/// The market and how much of it there is. Training, validation and held-out rows are three paths of one process, each from its
/// stationary law, so that nothing leaks from one into another.
#[derive(Clone, Debug, PartialEq)]
pub struct TruthSpec {
    /// The market; its number of features must be that of the model's size (16 for `nano`).
    pub market: MarketSpec,
    /// Rows to train on.
    pub train_rows: usize,
    /// Rows that decide when training stops.
    pub validation_rows: usize,
    /// Rows that the model is judged on.
    pub held_out_rows: usize,
    /// Horizons of the return targets in bars, ascending; the first is 1.
    pub horizons: Vec<u32>,
}

impl Default for TruthSpec {
    /// The default market, 24,000 rows to train on, 6,000 to validate, 12,000 to judge; horizons 1, 2, 5 and 10.
    fn default() -> Self {
        Self {
            market: MarketSpec::default(),
            train_rows: 24_000,
            validation_rows: 6_000,
            held_out_rows: 12_000,
            horizons: vec![1, 2, 5, 10],
        }
    }
}

/// What is known of the held-out rows.
#[derive(Clone, Debug, PartialEq)]
pub struct TruthTable {
    /// The process that drew them.
    pub process: RegimeProcess,
    /// True regime of each row.
    pub regimes: Vec<usize>,
    /// Realised return over one bar.
    pub returns: Vec<f64>,
    /// What the filter with the true parameters knows after each row.
    pub filtered: Vec<Filtered>,
    /// The filter's forecast of the return over each horizon, rows × horizons.
    pub forecasts: Matrix,
    /// Share of the training rows' returns over one bar that are above 0.
    pub base_rate: f64,
    /// Mean of the training rows' returns over one bar.
    pub mean_return: f64,
}

/// Datasets with their truth.
#[derive(Clone, Debug, PartialEq)]
pub struct TruthData {
    /// To train on.
    pub train: Dataset,
    /// Decides when training stops, and calibrates.
    pub validation: Dataset,
    /// To judge on.
    pub held_out: Dataset,
    /// What is known of the held-out rows.
    pub truth: TruthTable,
}

impl TruthData {
    /// The same data with the return targets of training and validation rows dealt out at random: nothing can be learnt of them.
    /// A control of the trial: a model trained on it must fail.
    #[must_use]
    pub fn with_shuffled_targets(mut self, seed: u64) -> Self {
        for (fold, name) in [(&mut self.train, "shuffled train"), (&mut self.validation, "shuffled validation")] {
            let width = fold.meta.horizons.len();
            for sequence in &mut fold.sequences {
                let order = shuffled(seed, name, sequence.rows());
                let rows = order.iter().flat_map(|row| &sequence.returns[row * width..(row + 1) * width]);
                sequence.returns = rows.copied().collect();
            }
        }
        self
    }
}

/// 0 to `count` − 1 in an order of chance (Fisher & Yates).
fn shuffled(seed: u64, name: &str, count: usize) -> Vec<usize> {
    let mut generator = Generator::new(seed, name);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, generator.index(last + 1));
    }
    order
}

/// Draws the data. One spec and seed give the same data.
///
/// # Errors
/// [`TruthError::Stats`] when the spec is out of its range or a fold has no row.
pub fn truth_dataset(spec: &TruthSpec, seed: u64) -> Result<TruthData, TruthError> {
    let process = spec.market.process()?;
    let counts = [spec.train_rows, spec.validation_rows, spec.held_out_rows];
    if spec.horizons.first() != Some(&1) || counts.contains(&0) {
        let why = "the first horizon must be 1, and every fold must have rows";
        return Err(StatsError::Degenerate { what: "truth spec", why }.into());
    }
    // Every fold a stream of its own.
    let path = |fold: u64, rows: usize| process.simulate(rows, seed.wrapping_mul(3).wrapping_add(fold));
    let paths = [path(0, counts[0]), path(1, counts[1]), path(2, counts[2])];
    let mut first_row = 0_i64;
    let mut fold = |path: &SimulatedPath| {
        let dataset = dataset(spec, path, first_row);
        first_row = first_row.saturating_add(i64::try_from(path.returns.len()).unwrap_or(i64::MAX));
        dataset
    };
    let (train, validation, held_out) = (fold(&paths[0]), fold(&paths[1]), fold(&paths[2]));
    let ups = paths[0].returns.iter().filter(|value| **value > 0.0).count();
    let known = [ups as f64, paths[0].returns.iter().sum()].map(|sum: f64| sum / counts[0] as f64);
    let [_, _, path] = paths;
    let truth = table(spec, &process, path, known)?;
    Ok(TruthData { train, validation, held_out, truth })
}

fn table(
    spec: &TruthSpec,
    process: &RegimeProcess,
    path: SimulatedPath,
    [base_rate, mean_return]: [f64; 2],
) -> Result<TruthTable, TruthError> {
    let mut filter = RegimeFilter::new(process);
    let mut filtered = Vec::with_capacity(path.returns.len());
    let mut forecasts = Matrix::zeros(path.returns.len(), spec.horizons.len());
    for (row, x) in path.observations.view("observations")?.iter_rows().enumerate() {
        filtered.push(filter.observe(x)?);
        for (cell, horizon) in forecasts.row_mut(row).iter_mut().zip(&spec.horizons) {
            *cell = filter.return_mean(steps(*horizon));
        }
    }
    let (regimes, returns) = (path.regimes, path.returns);
    Ok(TruthTable { process: process.clone(), regimes, returns, filtered, forecasts, base_rate, mean_return })
}

fn steps(horizon: u32) -> usize {
    usize::try_from(horizon).unwrap_or(usize::MAX)
}

fn dataset(spec: &TruthSpec, path: &SimulatedPath, first_row: i64) -> Dataset {
    let (rows, count) = (path.returns.len(), spec.horizons.len());
    let mut returns = vec![f32::NAN; rows * count];
    for (column, horizon) in spec.horizons.iter().enumerate() {
        let sums = path.horizon_returns(steps(*horizon));
        returns.iter_mut().skip(column).step_by(count).zip(sums).for_each(|(cell, sum)| *cell = narrow(sum));
    }
    let time = (first_row..).take(rows).map(|row| row.saturating_mul(BAR_NS));
    let sequence = Sequence {
        instrument: INSTRUMENT.to_owned(),
        time_ns: time.collect(),
        features: path.observations.data.iter().map(|x| narrow(*x)).collect(),
        returns,
        half_spread: vec![0.0; rows],
        context: Vec::new(),
    };
    let meta = DatasetMeta {
        observations: Observations::Bars,
        features: (0..spec.market.features).map(|index| format!("feature_{index}")).collect(),
        feature_hash: FEATURE_HASH.to_owned(),
        context: Vec::new(),
        horizons: spec.horizons.iter().map(|count| Horizon { count: *count, unit: HorizonUnit::Bars }).collect(),
        sources: Vec::new(),
        sha256: digest(&sequence),
    };
    Dataset { meta, sequences: vec![sequence] }
}

/// SHA-256 of times, features and returns, little-endian.
fn digest(sequence: &Sequence) -> String {
    let mut hasher = Sha256::new();
    sequence.time_ns.iter().for_each(|time| hasher.update(time.to_le_bytes()));
    let floats = sequence.features.iter().chain(&sequence.returns);
    floats.for_each(|x| hasher.update(x.to_le_bytes()));
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// To the width of the model's inputs.
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is meant")]
fn narrow(x: f64) -> f32 {
    x as f32
}
