//! Training of the LSTM baseline of source 004, and its file.

use std::collections::{BTreeMap, HashMap};

use peregrine_model::layers::LstmClassifier;
use peregrine_model::{FeatureSet, Horizon, INPUT_CLIP, Kernel, Observations, Tensor, Tensors};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::classifier::{ClassifierShape, cross_entropy, run};
use crate::config::LstmConfig;
use crate::engine::{Run, Task};
use crate::error::TrainError;
use crate::fold::{Fold, Scales, whole};
use crate::objective::LossSums;
use crate::observe::{Losses, Observer, Stage};
use crate::params::Params;
use crate::random::{fan_in, shuffled, stream, uniform};
use crate::real::Real;
use crate::state::RunState;
use crate::train::{Folds, provenance};

/// The one metadata key of the file; its value is the JSON of [`LstmMeta`].
pub const LSTM_METADATA_KEY: &str = "peregrine_lstm";

/// What an LSTM baseline is: canonical JSON without time, so that one seed gives one file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LstmMeta {
    /// 1.
    pub format_version: u32,
    /// Ticks or bars.
    pub observations: Observations,
    /// Features, their definition hash and the scaler of the training fold.
    pub features: FeatureSet,
    /// The horizon over which an up-move is predicted.
    pub horizon: Horizon,
    /// Rows of a window.
    pub window_rows: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// SHA-256 of the training data; [`UNKNOWN_SHA256`](crate::UNKNOWN_SHA256) for weights that were imported.
    pub training_data_sha256: String,
    /// Hyper-parameters by name, as text.
    pub hyper_parameters: BTreeMap<String, String>,
    /// Seed of the run.
    pub seed: u64,
}

/// A trained LSTM baseline, run by the kernel.
#[derive(Clone, Debug)]
pub struct LstmBaseline {
    meta: LstmMeta,
    start: LstmClassifier,
}

impl LstmBaseline {
    /// Reads a file that [`train`](crate::train) wrote for a configuration with `[lstm]`.
    ///
    /// # Errors
    /// [`TrainError::Model`], naming what is wrong and where.
    pub fn load(bytes: &[u8]) -> Result<Self, TrainError> {
        let (meta, tensors) = parse(bytes)?;
        let start = LstmClassifier::new(&tensors)?;
        Ok(Self { meta, start })
    }

    /// What it is.
    #[must_use]
    pub fn meta(&self) -> &LstmMeta {
        &self.meta
    }

    /// Probability of an up-move over the horizon after the last of `window_rows` rows of raw features (row-major,
    /// rows × D), 0..1. `None` when the window has not that length.
    #[must_use]
    pub fn probability(&self, kernel: &Kernel, window: &[f32]) -> Option<f32> {
        let features = &self.meta.features;
        let d = features.names.len();
        if window.len() != self.meta.window_rows * d {
            return None;
        }
        let mut classifier = self.start.clone();
        for row in window.chunks_exact(d) {
            let scaled = row.iter().zip(&features.median).zip(&features.iqr);
            let x: Vec<f32> =
                scaled.map(|((x, m), iqr)| ((x - m) * iqr.recip()).clamp(-INPUT_CLIP, INPUT_CLIP)).collect();
            classifier.step(kernel, &x).ok()?;
        }
        classifier.probability(kernel).ok()
    }
}

fn container(what: impl std::fmt::Display) -> TrainError {
    TrainError::Model(peregrine_model::ModelError::Container { what: what.to_string() })
}

fn metadata(what: impl std::fmt::Display) -> TrainError {
    TrainError::Model(peregrine_model::ModelError::Metadata { what: what.to_string() })
}

pub(crate) fn parse(bytes: &[u8]) -> Result<(LstmMeta, Tensors), TrainError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(container)?;
    let json = header.metadata().as_ref().and_then(|map| map.get(LSTM_METADATA_KEY));
    let json = json.ok_or_else(|| metadata(format!("`{LSTM_METADATA_KEY}` is missing")))?;
    let meta: LstmMeta = serde_json::from_str(json).map_err(metadata)?;
    let tensors = crate::interchange::read_tensors(bytes)?;
    let shape = ClassifierShape { inputs: meta.features.names.len(), hidden: meta.hidden, layers: meta.layers };
    crate::interchange::check_layout(&tensors, &layout(shape))?;
    Ok((meta, tensors))
}

/// Names and shapes of a classifier's tensors.
pub(crate) fn layout(shape: ClassifierShape) -> BTreeMap<String, Vec<usize>> {
    let mut to = BTreeMap::from([("fc.weight".to_owned(), vec![1, shape.hidden]), ("fc.bias".to_owned(), vec![1])]);
    for layer in 0..shape.layers {
        let inputs = if layer == 0 { shape.inputs } else { shape.hidden };
        to.insert(format!("lstm.weight_ih_l{layer}"), vec![4 * shape.hidden, inputs]);
        to.insert(format!("lstm.weight_hh_l{layer}"), vec![4 * shape.hidden, shape.hidden]);
        to.insert(format!("lstm.bias_ih_l{layer}"), vec![4 * shape.hidden]);
        to.insert(format!("lstm.bias_hh_l{layer}"), vec![4 * shape.hidden]);
    }
    to
}

pub(crate) fn encode(meta: &LstmMeta, tensors: &Tensors) -> Result<Vec<u8>, TrainError> {
    let json = serde_json::to_string(meta).map_err(metadata)?;
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> = tensors
        .0
        .iter()
        .map(|(name, tensor)| (name, tensor, tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, tensor, data) in &bytes {
        views.push((name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), data).map_err(container)?));
    }
    safetensors::serialize(views, Some(HashMap::from([(LSTM_METADATA_KEY.to_owned(), json)]))).map_err(container)
}

struct LstmTask<'a> {
    seed: u64,
    config: &'a LstmConfig,
    shape: ClassifierShape,
    train: &'a Fold,
    validation: &'a Fold,
    /// Last rows of the windows of each fold.
    windows: [Vec<usize>; 2],
    order: Vec<usize>,
    next: usize,
}

/// Last rows of all windows whose target is known, `stride` rows apart.
fn windows(fold: &Fold, rows: usize, stride: usize) -> Vec<usize> {
    let of_span = |(start, count): &(usize, usize)| {
        let ends = (start + rows - 1..start + count).step_by(stride);
        ends.filter(|end| fold.returns[end * fold.n].is_finite()).collect::<Vec<_>>()
    };
    fold.spans.iter().filter(|(_, count)| *count >= rows).flat_map(of_span).collect()
}

impl LstmTask<'_> {
    /// Windows [steps, lanes, D] and their targets.
    fn batch(&self, fold: &Fold, ends: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let (rows, d) = (self.config.window_rows, fold.d);
        let mut x = Vec::with_capacity(rows * ends.len() * d);
        for step in 0..rows {
            for end in ends {
                let row = end + 1 + step - rows;
                x.extend_from_slice(&fold.x[row * d..(row + 1) * d]);
            }
        }
        (x, ends.iter().map(|end| fold.up[*end]).collect())
    }

    /// Inverted dropout: kept units are scaled up, so that inference needs none.
    fn masks(&self, lanes: usize, step: u64) -> Vec<Vec<f32>> {
        let (mut rng, keep) = (stream(self.seed, "dropout", step), 1.0 - self.config.dropout);
        let len = self.config.window_rows * lanes * self.shape.hidden;
        let mut draw = || if uniform(&mut rng) < keep { f32::of(1.0 / keep) } else { 0.0 };
        (1..self.shape.layers).map(|_| (0..len).map(|_| draw()).collect()).collect()
    }
}

impl Task for LstmTask<'_> {
    fn steps(&self, _: u32) -> u64 {
        u64::try_from(self.windows[0].len().div_ceil(self.config.batch)).unwrap_or(u64::MAX)
    }

    fn begin(&mut self, epoch: u32, done: u64) {
        self.order = shuffled(&mut stream(self.seed, "order", u64::from(epoch)), self.windows[0].len());
        self.next = usize::try_from(done).unwrap_or(usize::MAX).saturating_mul(self.config.batch);
    }

    fn step(&mut self, params: &Params<f32>, step: u64, _: &mut [f32]) -> Option<(LossSums, Params<f32>)> {
        let chosen: Vec<usize> = self.order.iter().skip(self.next).take(self.config.batch).copied().collect();
        self.next = self.next.saturating_add(self.config.batch);
        if chosen.is_empty() {
            return None;
        }
        let ends: Vec<usize> = chosen.iter().map(|index| self.windows[0][*index]).collect();
        let (x, y) = self.batch(self.train, &ends);
        let masks = self.masks(ends.len(), step);
        let (loss, gradients) =
            run(self.shape, params, (&x, ends.len()), &masks, &[]).back(self.shape, params, &masks, &y);
        let count = whole(ends.len());
        Some((LossSums { direction: (loss * count, count), ..LossSums::default() }, gradients))
    }

    fn validate(&self, params: &Params<f32>) -> LossSums {
        let (mut total, mut count) = (0.0, 0.0);
        for ends in self.windows[1].chunks(self.config.batch.max(64)) {
            let (x, y) = self.batch(self.validation, ends);
            let pass = run(self.shape, params, (&x, ends.len()), &[], &[]);
            total += pass.values.iter().zip(&y).map(|(p, y)| cross_entropy(*p, *y).0.wide()).sum::<f64>();
            count += whole(ends.len());
        }
        LossSums { direction: (total, count), ..LossSums::default() }
    }

    fn losses(&self, sums: &LossSums) -> Losses {
        let direction = if sums.direction.1 > 0.0 { sums.direction.0 / sums.direction.1 } else { 0.0 };
        Losses { total: direction, direction, ..Losses::default() }
    }
}

fn initial(seed: u64, shape: ClassifierShape) -> Params<f32> {
    let mut rng = stream(seed, "initial", 0);
    let mut params = Params::default();
    for (name, shape_of) in layout(shape) {
        let data = fan_in(&mut rng, shape_of.iter().product(), shape.hidden);
        params.insert(&name, shape_of, data);
    }
    params
}

type Trained = (Vec<u8>, BTreeMap<String, f64>, RunState);

pub(crate) fn train_lstm(
    run: &Run<'_>,
    config: &LstmConfig,
    folds: Folds<'_>,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    let scales = Scales::fit(folds.train)?;
    let train = Fold::new(folds.train, &scales, f64::from(f32::MAX));
    let validation = Fold::new(folds.validation, &scales, f64::from(f32::MAX));
    let shape = ClassifierShape { inputs: train.d, hidden: config.hidden, layers: config.layers };
    let all = [windows(&train, config.window_rows, config.stride_rows), windows(&validation, config.window_rows, 1)];
    for (which, windows) in ["train", "validation"].into_iter().zip(&all) {
        if windows.is_empty() {
            let what = format!("holds no window of {} rows with a known return", config.window_rows);
            return Err(TrainError::Dataset { which, what });
        }
    }
    let mut task = LstmTask {
        seed: run.config.seed,
        config,
        shape,
        train: &train,
        validation: &validation,
        windows: all,
        order: Vec::new(),
        next: 0,
    };
    let mut state = run.start(|| RunState::new(initial(run.config.seed, shape), 0))?;
    run.heed(observer.stage(Stage::Training), &state)?;
    run.train(&mut task, &mut state, observer)?;
    let meta = meta(run, config, folds, &scales)?;
    let bytes = encode(&meta, &state.best_params().to_tensors())?;
    let metrics = metrics(&task, &state);
    Ok((bytes, metrics, state))
}

fn metrics(task: &LstmTask<'_>, state: &RunState) -> BTreeMap<String, f64> {
    let mut to = BTreeMap::from([("epochs".to_owned(), f64::from(state.epoch))]);
    if let Some(best) = state.history.iter().rev().find(|report| report.is_best) {
        to.insert("best_epoch".to_owned(), f64::from(best.epoch));
        to.insert("train.direction".to_owned(), best.training.direction);
        to.insert("validation.direction".to_owned(), best.validation.direction);
    }
    for (fold, (data, windows)) in
        [("train", (task.train, &task.windows[0])), ("validation", (task.validation, &task.windows[1]))]
    {
        let ups = windows.iter().map(|end| f64::from(data.up[*end])).sum::<f64>();
        to.insert(format!("{fold}.up_share"), ups / whole(windows.len()));
        to.insert(format!("{fold}.windows"), whole(windows.len()));
    }
    to
}

fn meta(run: &Run<'_>, config: &LstmConfig, folds: Folds<'_>, scales: &Scales) -> Result<LstmMeta, TrainError> {
    let train = folds.train;
    let horizon = train.meta.horizons.first().copied();
    let none = || TrainError::Dataset { which: "train", what: "has no horizon".to_owned() };
    Ok(LstmMeta {
        format_version: 1,
        observations: train.meta.observations,
        features: FeatureSet {
            names: train.meta.features.clone(),
            hash: train.meta.feature_hash.clone(),
            median: scales.median.clone(),
            iqr: scales.iqr.clone(),
        },
        horizon: horizon.ok_or_else(none)?,
        window_rows: config.window_rows,
        hidden: config.hidden,
        layers: config.layers,
        training_data_sha256: train.meta.sha256.clone(),
        hyper_parameters: run.config.hyper_parameters().into_iter().chain(provenance(folds)).collect(),
        seed: run.config.seed,
    })
}
