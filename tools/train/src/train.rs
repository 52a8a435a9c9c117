//! A whole run: from two folds and a configuration to a candidate.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use peregrine_dataset::{Dataset, DatasetMeta};
use peregrine_model::{FORMAT_VERSION, FeatureSet, Horizon, HorizonUnit, ModelMeta, Training, encode_safetensors};
use peregrine_stats::baselines::clark_west;

use crate::calibrate;
use crate::candidate::{Candidate, Kind, Origin};
use crate::checkpoint::Identity;
use crate::config::{TrainConfig, WorldConfig};
use crate::controller::{self, Frozen, Starts};
use crate::engine::Run;
use crate::error::TrainError;
use crate::fold::{Fold, Scales, whole};
use crate::objective::{World, WorldShape};
use crate::observe::{Control, Observer, Stage};
use crate::params::Params;
use crate::real::Real;
use crate::regimes::{self, Latents, STRETCH};
use crate::state::RunState;
use crate::world::{WorldTask, initial, visit_latents};

/// The two folds of a run. The scaler and the moments of the returns come from `train` alone; `validation` decides when to
/// stop and calibrates the direction head.
#[derive(Clone, Copy, Debug)]
pub struct Folds<'a> {
    /// Training fold.
    pub train: &'a Dataset,
    /// Validation fold, later than the training fold.
    pub validation: &'a Dataset,
}

/// Trains without a checkpoint: the world model when the configuration has `[world]`, the LSTM baseline when it has `[lstm]`.
///
/// One configuration (its seed included) and the same folds give the same bytes on the same machine.
///
/// # Errors
/// [`TrainError`]; [`TrainError::Interrupted`] when the observer asked to stop.
pub fn train(
    config: &TrainConfig,
    train: &Dataset,
    validation: &Dataset,
    observer: &mut dyn Observer,
) -> Result<Candidate, TrainError> {
    run(config, Folds { train, validation }, &Options::default(), observer)
}

/// Trains with a checkpoint at `checkpoint`: when the file exists and belongs to the same configuration and folds, the run
/// goes on from it, otherwise it begins. It is written every `schedule.checkpoint_steps`, after every epoch and when the
/// observer stops the run, and is left in place at the end.
///
/// # Errors
/// [`TrainError`]; [`TrainError::Checkpoint`] when the file belongs to another run.
pub fn train_or_resume(
    config: &TrainConfig,
    folds: Folds<'_>,
    checkpoint: &Path,
    observer: &mut dyn Observer,
) -> Result<Candidate, TrainError> {
    run(config, folds, &Options { checkpoint: Some(checkpoint), parent: None }, observer)
}

/// Hyper-parameter of a trained artefact: SHA-256 of the validation rows, which stopped the training.
pub const VALIDATION_SHA256_KEY: &str = "data.validation_sha256";
/// Hyper-parameter of a trained artefact: time of the last row of training and validation, nanoseconds UTC. Only rows later
/// than that were not seen.
pub const LAST_TIME_NS_KEY: &str = "data.last_time_ns";

/// What a diagnosis needs to know of the folds, as hyper-parameters.
pub(crate) fn provenance(folds: Folds<'_>) -> [(String, String); 2] {
    let sequences = folds.train.sequences.iter().chain(&folds.validation.sequences);
    let last = sequences.filter_map(|sequence| sequence.time_ns.last().copied()).max().unwrap_or(i64::MIN);
    [
        (VALIDATION_SHA256_KEY.to_owned(), folds.validation.meta.sha256.clone()),
        (LAST_TIME_NS_KEY.to_owned(), last.to_string()),
    ]
}

/// Where a run starts from beside its configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options<'a> {
    pub(crate) checkpoint: Option<&'a Path>,
    pub(crate) parent: Option<Parent>,
}

/// A model that a run starts from.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) sha256: String,
    /// Weights to start from, with the scales that they were trained on; `None` for a retraining from scratch.
    pub(crate) start: Option<(Params<f32>, Scales)>,
}

pub(crate) fn run(
    config: &TrainConfig,
    folds: Folds<'_>,
    options: &Options<'_>,
    observer: &mut dyn Observer,
) -> Result<Candidate, TrainError> {
    config.check()?;
    check_fold("train", folds.train, folds.train)?;
    check_fold("validation", folds.validation, folds.train)?;
    let began = Instant::now();
    let run = Run {
        config,
        identity: Identity {
            config: config.sha256(),
            train: folds.train.meta.sha256.clone(),
            validation: folds.validation.meta.sha256.clone(),
            parent: options.parent.as_ref().map(|parent| parent.sha256.clone()),
        },
        checkpoint: options.checkpoint,
    };
    if observer.stage(Stage::Preparing) == Control::Stop {
        return Err(TrainError::Interrupted { epoch: 0, step: 0, checkpoint: None });
    }
    let (bytes, metrics, state, kind) = match (&config.world, &config.lstm) {
        (Some(world), _) => {
            let (bytes, metrics, state) = train_world(&run, world, folds, options.parent.as_ref(), observer)?;
            (bytes, metrics, state, Kind::WorldModel)
        }
        (None, Some(lstm)) => {
            let (bytes, metrics, state) = crate::lstm::train_lstm(&run, lstm, folds, observer)?;
            (bytes, metrics, state, Kind::Lstm)
        }
        (None, None) => return Err(TrainError::Config { what: "neither [world] nor [lstm] is there".to_owned() }),
    };
    let origin = Origin {
        kind,
        config,
        train_sha256: &folds.train.meta.sha256,
        validation_sha256: &folds.validation.meta.sha256,
        parent: options.parent.as_ref().map(|parent| parent.sha256.clone()),
        seconds: began.elapsed().as_secs_f64(),
    };
    Ok(Candidate::new(bytes, origin, metrics, state.history))
}

fn check_fold(which: &'static str, fold: &Dataset, train: &Dataset) -> Result<(), TrainError> {
    let fault = |what: String| Err(TrainError::Dataset { which, what });
    let rows: usize = fold.sequences.iter().map(peregrine_dataset::Sequence::rows).sum();
    if rows < 2 {
        return fault(format!("has {rows} rows, at least 2 are needed"));
    }
    let same = [
        ("features", fold.meta.features == train.meta.features),
        ("feature definition", fold.meta.feature_hash == train.meta.feature_hash),
        ("horizons", fold.meta.horizons == train.meta.horizons),
        ("observations", fold.meta.observations == train.meta.observations),
    ];
    if let Some((part, _)) = same.iter().find(|(_, is_same)| !is_same) {
        return fault(format!("has other {part} than the training fold"));
    }
    let (d, n) = (fold.meta.features.len(), fold.meta.horizons.len());
    for sequence in &fold.sequences {
        let rows = sequence.rows();
        let lengths = [
            ("features", sequence.features.len(), rows * d),
            ("returns", sequence.returns.len(), rows * n),
            ("half-spreads", sequence.half_spread.len(), rows),
        ];
        let wrong = lengths.iter().find(|(_, found, expected)| found != expected);
        if let Some((part, found, expected)) = wrong {
            return fault(format!("{}: {found} {part}, {expected} are needed", sequence.instrument));
        }
        if let Some(index) = sequence.features.iter().position(|x| !x.is_finite()) {
            let (row, name) = (index / d.max(1), &fold.meta.features[index % d.max(1)]);
            return fault(format!("{}, row {row}: feature {name} is not finite", sequence.instrument));
        }
        if sequence.half_spread.iter().any(|x| !x.is_finite()) {
            return fault(format!("{}: a half-spread is not finite", sequence.instrument));
        }
    }
    Ok(())
}

type Trained = (Vec<u8>, BTreeMap<String, f64>, RunState);

fn train_world(
    run: &Run<'_>,
    config: &WorldConfig,
    folds: Folds<'_>,
    parent: Option<&Parent>,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    let meta = &folds.train.meta;
    let size = config.size;
    if meta.features.len() != size.d() {
        let what = format!("has {} features, size {} takes {}", meta.features.len(), size.name(), size.d());
        return Err(TrainError::Dataset { which: "train", what });
    }
    let start = parent.and_then(|parent| parent.start.as_ref());
    let scales = start.map_or_else(|| Scales::fit(folds.train), |(_, scales)| Ok(scales.clone()))?;
    let shape = WorldShape { e: size.e(), h: size.h(), z: size.z(), return_log_scale: scales.return_log_scale() };
    let train = Fold::new(folds.train, &scales, config.return_clip);
    let validation = Fold::new(folds.validation, &scales, config.return_clip);
    let pieces = train.pieces(config.lanes, config.chunk_rows, config.burn_in_rows);
    let mut task = WorldTask::new(run.config, config, &shape, (&train, &validation), &pieces);
    let first = || start.map_or_else(|| initial(run.config.seed, size.d(), &shape), |(params, _)| params.clone());
    let mut state = run.start(|| RunState::new(first(), config.lanes * shape.h))?;
    run.heed(observer.stage(Stage::Training), &state)?;
    if start.is_some() {
        Run::keep_start(&task, &mut state);
    }
    run.train(&mut task, &mut state, observer)?;
    let finish = Finish { run, config, scales: &scales, shape: &shape, train: &train, validation: &validation };
    let (bytes, metrics) = finish.run(&state, (folds, parent), observer)?;
    Ok((bytes, metrics, state))
}

/// What a return head expected and what came on validation rows, both from the training mean.
#[derive(Clone, Debug, Default)]
struct Expectations {
    /// Row, expectation, outcome.
    rows: Vec<(usize, f64, f64)>,
}

/// A head that adds something to the training mean by chance gets through this often: one-sided 1 %, see [`clark_west`].
const STATISTIC_MIN: f64 = 2.326;

impl Expectations {
    /// The least-squares slope of what came on what was expected (Mincer & Zarnowitz 1969), 0 to 1: an expectation that did
    /// not come true on rows that the network was not trained on is shrunk, none is stretched. 0 where the validation fold
    /// does not show that the expectation over `horizon` rows adds anything to the training mean: what is left of fitted
    /// noise would do harm and nothing else.
    fn slope(&mut self, horizon: usize) -> f64 {
        self.rows.sort_by_key(|(row, ..)| *row);
        let (expected, came): (Vec<f64>, Vec<f64>) = self.rows.iter().map(|(_, x, y)| (*x, *y)).unzip();
        let tested = clark_west(&came, &vec![0.0; came.len()], &expected, horizon);
        if tested.is_ok_and(|tested| tested.statistic > STATISTIC_MIN) {
            (self.sum(|x, y| x * y) / self.sum(|x, _| x * x)).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// R² of the expectation times `slope` against the training mean; `None` where no return is known.
    fn r2(&self, slope: f64) -> Option<f64> {
        let total = self.sum(|_, y| y * y);
        (total > 0.0).then(|| slope * (2.0 * self.sum(|x, y| x * y) - slope * self.sum(|x, _| x * x)) / total)
    }

    fn sum(&self, term: impl Fn(f64, f64) -> f64) -> f64 {
        self.rows.iter().map(|(_, x, y)| term(*x, *y)).sum()
    }
}

/// Rows that each horizon counts; 1 for every horizon that counts time.
fn horizon_rows(meta: &DatasetMeta) -> Vec<u32> {
    let rows = |horizon: &Horizon| match horizon.unit {
        HorizonUnit::Events | HorizonUnit::Bars => horizon.count,
        HorizonUnit::Milliseconds => 1,
    };
    meta.horizons.iter().map(rows).collect()
}

/// What follows the training of the network: calibration, regimes, controller, export.
struct Finish<'a> {
    run: &'a Run<'a>,
    config: &'a WorldConfig,
    scales: &'a Scales,
    shape: &'a WorldShape,
    train: &'a Fold,
    validation: &'a Fold,
}

impl Finish<'_> {
    fn run(
        &self,
        state: &RunState,
        (folds, parent): (Folds<'_>, Option<&Parent>),
        observer: &mut dyn Observer,
    ) -> Result<(Vec<u8>, BTreeMap<String, f64>), TrainError> {
        let trained = state.best_params();
        let mut metrics = self.loss_metrics(state);
        self.run.heed(observer.stage(Stage::Calibrating), state)?;
        let mut params = self.exported(trained);
        let horizons = horizon_rows(&folds.train.meta);
        self.calibrate(trained, &horizons, &mut params, &mut metrics);
        self.run.heed(observer.stage(Stage::Regimes), state)?;
        let (latents, starts) = self.training_latents(trained);
        let seed = self.run.config.seed;
        let mut go = |done, parts| self.run.heed(observer.part(done, parts), state);
        let regimes = regimes::find(&latents, trained, (&self.config.regimes, seed), &mut go)?;
        metrics.insert("regimes.silhouette".to_owned(), regimes.silhouette);
        metrics.insert("regimes.distillation_agreement".to_owned(), regimes.agreement);
        self.run.heed(observer.stage(Stage::Controller), state)?;
        let frozen = self.frozen(&params, folds.train);
        let mut go = |done, parts| self.run.heed(observer.part(done, parts), state);
        let controller = controller::train(&frozen, &starts, (&self.config.controller, seed), &mut go)?;
        metrics.insert("controller.utility".to_owned(), controller.utility);
        let s = self.shape.h + self.shape.z;
        params.insert("regime.weight", vec![regimes.count, s], regimes.weight);
        params.insert("regime.bias", vec![regimes.count], regimes.bias);
        params.0.extend(controller.params.0);
        let meta = self.meta(folds, regimes.count, parent);
        Ok((encode_safetensors(&meta, &params.to_tensors())?, metrics))
    }

    fn loss_metrics(&self, state: &RunState) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::new();
        let best = state.history.iter().rev().find(|report| report.is_best);
        if let Some(report) = best {
            for (fold, losses) in [("train", &report.training), ("validation", &report.validation)] {
                let parts = [
                    ("total", losses.total),
                    ("reconstruction", losses.reconstruction),
                    ("kl", losses.kl),
                    ("return_nll", losses.return_nll),
                    ("direction", losses.direction),
                ];
                metrics.extend(parts.map(|(part, value)| (format!("{fold}.{part}"), value)));
            }
            metrics.insert("best_epoch".to_owned(), f64::from(report.epoch));
        } else if let Some(best) = &state.best {
            // No epoch was better than the parent, whose network is kept.
            metrics.insert("validation.total".to_owned(), best.loss);
        }
        metrics.insert("epochs".to_owned(), f64::from(state.epoch));
        metrics
    }

    /// The trained weights in the kernel's units: the standardisation of the returns folded into their heads.
    fn exported(&self, trained: &Params<f32>) -> Params<f32> {
        let mut params = trained.clone();
        let width = self.shape.h + self.shape.z;
        for (index, (mean, deviation)) in self.scales.returns.iter().enumerate() {
            if let Some(weight) = params.0.get_mut("return_mean.weight") {
                let row = weight.data.iter_mut().skip(index * width).take(width);
                row.for_each(|x| *x = f32::of(x.wide() * deviation));
            }
            if let Some(x) = params.0.get_mut("return_mean.bias").and_then(|bias| bias.data.get_mut(index)) {
                *x = f32::of(x.wide() * deviation + mean);
            }
            if let Some(x) = params.0.get_mut("return_log_var.bias").and_then(|bias| bias.data.get_mut(index)) {
                *x = f32::of(x.wide() + 2.0 * deviation.ln());
            }
        }
        params
    }

    /// Calibrates `params`' direction head and shrinks its return heads, both on the validation fold.
    fn calibrate(
        &self,
        trained: &Params<f32>,
        horizons: &[u32],
        params: &mut Params<f32>,
        metrics: &mut BTreeMap<String, f64>,
    ) {
        let (n, width) = (self.validation.n, self.shape.h + self.shape.z);
        let (mut logits, mut is_up) = (Vec::new(), Vec::new());
        let mut heads = vec![Expectations::default(); n];
        let world = World { shape: self.shape, params: trained };
        let (weight, bias) = (trained.data("up.weight"), trained.data("up.bias"));
        let (mean_weight, mean_bias) = (trained.data("return_mean.weight"), trained.data("return_mean.bias"));
        visit_latents(&world, self.validation, self.config, |seen| {
            let targets = &self.validation.returns[seen.row * n..(seen.row + 1) * n];
            for (index, (head, target)) in heads.iter_mut().zip(targets).enumerate() {
                if target.is_finite() {
                    let weight = &mean_weight[index * width..(index + 1) * width];
                    head.rows.push((seen.row, seen.head(weight, mean_bias[index]), target.wide()));
                }
            }
            if targets.first().is_some_and(|target| target.is_finite()) {
                logits.push(seen.head(weight, bias[0]));
                is_up.push(self.validation.up[seen.row] > 0.0);
            }
        });
        for (index, (head, horizon)) in heads.iter_mut().zip(horizons).enumerate() {
            let slope = head.slope(*horizon as usize);
            if let Some(r2) = head.r2(slope) {
                metrics.insert(format!("validation.r2.horizon_{index}"), r2);
            }
            metrics.insert(format!("calibration.return_slope.horizon_{index}"), slope);
            self.shrink(params, index, slope);
        }
        metrics.insert("calibration.outcomes".to_owned(), whole(is_up.len()));
        let Some(platt) = calibrate::fit(&logits, &is_up) else { return };
        metrics.insert("calibration.slope".to_owned(), platt.slope);
        metrics.insert("calibration.intercept".to_owned(), platt.offset);
        for (name, moved) in [("up.weight", 0.0), ("up.bias", platt.offset)] {
            let array = params.0.get_mut(name).into_iter().flat_map(|array| &mut array.data);
            array.for_each(|x| *x = f32::of(x.wide() * platt.slope + moved));
        }
    }

    /// Moves the expected return over a horizon towards the training mean.
    fn shrink(&self, params: &mut Params<f32>, index: usize, slope: f64) {
        let width = self.shape.h + self.shape.z;
        let mean = self.scales.returns.get(index).map_or(0.0, |(mean, _)| *mean);
        let row = params.0.get_mut("return_mean.weight").into_iter().flat_map(|weight| &mut weight.data);
        row.skip(index * width).take(width).for_each(|x| *x = f32::of(x.wide() * slope));
        if let Some(x) = params.0.get_mut("return_mean.bias").and_then(|bias| bias.data.get_mut(index)) {
            *x = f32::of(mean + slope * (x.wide() - mean));
        }
    }

    /// Stretches of the training latents for the regimes, and where imagination starts from.
    fn training_latents(&self, trained: &Params<f32>) -> (Latents, Starts) {
        let world = World { shape: self.shape, params: trained };
        let every = self.train.rows().div_ceil(self.config.regimes.sample_rows).max(1);
        let width = self.shape.h + self.shape.z;
        let mut starts = Starts::default();
        let assumed = f32::of(self.config.controller.half_spread_bps);
        let (weight, bias) = (trained.data("return_log_var.weight"), trained.data("return_log_var.bias"));
        // Lanes are visited side by side: the rows of a stretch have to be put in order.
        let mut seen_rows: Vec<(usize, f32, Vec<f32>)> = Vec::new();
        visit_latents(&world, self.train, self.config, |seen| {
            if (seen.row / STRETCH).is_multiple_of(every) {
                let log_var = f32::of(seen.head(&weight[..width], bias[0]));
                seen_rows.push((seen.row, log_var, seen.h.iter().chain(seen.z).copied().collect()));
            }
            if seen.row.is_multiple_of(every) {
                starts.h.extend(seen.h_next);
                let quoted = self.train.half_spread_bps[seen.row];
                starts.half_spread_bps.push(if quoted > 0.0 { quoted } else { assumed });
            }
        });
        seen_rows.sort_by_key(|(row, ..)| *row);
        let mut latents = Latents { width, ..Latents::default() };
        let mut before = None;
        for (row, log_var, s) in seen_rows {
            let is_next = before == row.checked_sub(1) && !self.train.starts_sequence(row);
            match latents.lengths.last_mut() {
                Some(length) if is_next => *length += 1,
                Some(_) | None => latents.lengths.push(1),
            }
            before = Some(row);
            latents.log_var.push(log_var);
            latents.s.extend(s);
        }
        (latents, starts)
    }

    fn frozen<'b>(&self, params: &'b Params<f32>, train: &Dataset) -> Frozen<'b> {
        Frozen {
            params,
            h: self.shape.h,
            z: self.shape.z,
            horizon_rows: horizon_rows(&train.meta).into_iter().map(f64::from).collect(),
            deviation: self.scales.returns.first().map_or(1.0, |(_, deviation)| *deviation),
        }
    }

    fn meta(&self, folds: Folds<'_>, regimes: usize, parent: Option<&Parent>) -> ModelMeta {
        let (size, train) = (self.config.size, folds.train);
        let mut hyper_parameters = self.run.config.hyper_parameters();
        hyper_parameters.extend(provenance(folds));
        // Tuning goes on in the same units.
        for (index, (mean, deviation)) in self.scales.returns.iter().enumerate() {
            hyper_parameters.insert(format!("data.return_mean.{index}"), mean.to_string());
            hyper_parameters.insert(format!("data.return_deviation.{index}"), deviation.to_string());
        }
        ModelMeta {
            format_version: FORMAT_VERSION,
            size,
            d: size.d(),
            e: size.e(),
            h: size.h(),
            z: size.z(),
            observations: train.meta.observations,
            horizons: train.meta.horizons.clone(),
            features: FeatureSet {
                names: train.meta.features.clone(),
                hash: train.meta.feature_hash.clone(),
                median: self.scales.median.clone(),
                iqr: self.scales.iqr.clone(),
            },
            regimes: (0..regimes).map(|index| format!("regime_{index}")).collect(),
            training: Training::Trained,
            training_data_sha256: Some(train.meta.sha256.clone()),
            hyper_parameters,
            seed: self.run.config.seed,
            parent: parent.map(|parent| parent.sha256.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{normals, stream};

    /// `count` rows: an expectation that moves by `keep` of itself, and an outcome of `signal` times it plus what the next
    /// `horizon` steps of noise add up to.
    fn expectations(seed: u64, (signal, keep): (f64, f64), horizon: usize, count: usize) -> Expectations {
        let mut rng = stream(seed, "expectations", 0);
        let (mut steps, mut noise) = (vec![0.0; count], vec![0.0; count + horizon]);
        normals(&mut rng, &mut steps);
        normals(&mut rng, &mut noise);
        let mut x = 0.0;
        let rows = (0..count).map(|row| {
            x = keep * x + f64::from(steps[row]);
            let came: f32 = noise[row..row + horizon].iter().sum();
            (row, x, signal * x + f64::from(came))
        });
        // The lanes of a fold are visited side by side.
        let (even, odd): (Vec<_>, Vec<_>) = rows.partition(|(row, ..)| row % 2 == 0);
        Expectations { rows: odd.into_iter().chain(even).collect() }
    }

    #[test]
    fn a_head_keeps_what_it_shows_and_says_the_mean_where_it_shows_nothing() {
        let mut head = expectations(1, (0.5, 0.0), 1, 4_000);
        let slope = head.slope(1);
        assert!((slope - 0.5).abs() < 0.06, "{slope}");
        assert!(head.r2(slope).is_some_and(|r2| (r2 - 0.2).abs() < 0.05));
        assert_eq!(expectations(1, (-0.5, 0.0), 1, 4_000).slope(1), 0.0, "the opposite came");
        let noise = |seed| expectations(seed, (0.0, 0.0), 1, 1_000).slope(1);
        assert!((0..40).filter(|seed| noise(*seed) > 0.0).count() <= 2, "1 in 100 is due");
        assert_eq!(expectations(1, (0.5, 0.0), 1, 5).slope(1), 0.0, "five rows show nothing");
        assert_eq!(Expectations::default().r2(0.0), None);
    }

    /// Outcomes over many rows share most of their noise: taken for independent they would show what is not there.
    #[test]
    fn overlapping_outcomes_do_not_count_as_many() {
        let found =
            |horizon| (0..60).filter(|seed| expectations(*seed, (0.0, 0.99), 100, 3_000).slope(horizon) > 0.0).count();
        let (alone, overlapping) = (found(1), found(100));
        assert!(overlapping <= 6 && alone >= 2 * overlapping.max(3), "{alone} and {overlapping} of 60");
    }
}
