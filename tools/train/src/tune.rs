//! Fine-tuning and retraining of a model that is there: both give a candidate with the parent's hash.

use std::path::Path;

use peregrine_model::{Model, ModelMeta};

use crate::candidate::Candidate;
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::fold::Scales;
use crate::interchange::{read_tensors, world_meta};
use crate::ledger::Ledger;
use crate::observe::Observer;
use crate::params::Params;
use crate::real::Real;
use crate::train::{Folds, Options, Parent, run};

/// Learning rate of fine-tuning (source 000).
pub const FINETUNE_LEARNING_RATE: f64 = 1e-5;

/// Where a tuning run is kept.
#[derive(Debug, Default)]
pub struct Keep<'a> {
    /// Checkpoint to resume from and to write.
    pub checkpoint: Option<&'a Path>,
    /// Ledger that gets the run's line.
    pub ledger: Option<&'a mut Ledger>,
}

/// Goes on training `parent` at a learning rate of 1e-5 on `folds`, a rolling window of recent data. Scaler, standardisation
/// of the returns and number of regimes stay the parent's, so that its inputs and outputs keep their meaning; the direction
/// head goes on and is calibrated anew, regimes and controller are made anew on the window. When no epoch is better on the
/// validation fold than the parent was, the parent's network is kept.
///
/// # Errors
/// [`TrainError::Model`] when `parent` is no world model; [`TrainError::Config`] when the configuration is not of its size;
/// [`TrainError::Dataset`] when the data have other features; and those of [`train`](crate::train()).
pub fn finetune(
    parent: &[u8],
    config: &TrainConfig,
    folds: Folds<'_>,
    keep: Keep<'_>,
    observer: &mut dyn Observer,
) -> Result<Candidate, TrainError> {
    let model = Model::load(parent)?;
    let meta = model.meta();
    let mut config = config.clone();
    config.optimizer.learning_rate = FINETUNE_LEARNING_RATE;
    config.optimizer.learning_rate_last = FINETUNE_LEARNING_RATE;
    let Some(world) = &mut config.world else {
        return Err(TrainError::Config { what: "fine-tuning needs the section [world]".to_owned() });
    };
    if world.size != meta.size {
        let what = format!("world.size is {}, the parent's is {}", world.size.name(), meta.size.name());
        return Err(TrainError::Config { what });
    }
    let regimes = meta.regimes.len();
    if regimes >= 2 {
        (world.regimes.count_min, world.regimes.count_max) = (regimes, regimes);
    }
    check_features(meta, folds)?;
    let scales = match scales_of(meta) {
        Some(scales) => scales,
        // An imported model does not say; its heads are then standardised by the window.
        None => {
            Scales { median: meta.features.median.clone(), iqr: meta.features.iqr.clone(), ..Scales::fit(folds.train)? }
        }
    };
    let params = standardised(&Params::from_tensors(&read_tensors(parent)?), &scales, meta);
    let parent = Parent { sha256: model.sha256_hex(), start: Some((params, scales)) };
    kept_run(&config, folds, parent, keep, observer)
}

/// Trains a model from scratch on `folds`, a rolling window of recent data, as the successor of `parent`.
///
/// # Errors
/// [`TrainError::Model`] when `parent` is no world model, and those of [`train`](crate::train()).
pub fn retrain(
    parent: &[u8],
    config: &TrainConfig,
    folds: Folds<'_>,
    keep: Keep<'_>,
    observer: &mut dyn Observer,
) -> Result<Candidate, TrainError> {
    world_meta(parent)?;
    let parent = Parent { sha256: Model::load(parent)?.sha256_hex(), start: None };
    kept_run(config, folds, parent, keep, observer)
}

fn kept_run(
    config: &TrainConfig,
    folds: Folds<'_>,
    parent: Parent,
    keep: Keep<'_>,
    observer: &mut dyn Observer,
) -> Result<Candidate, TrainError> {
    let options = Options { checkpoint: keep.checkpoint, parent: Some(parent) };
    match keep.ledger {
        Some(ledger) => ledger.record(config, folds, &options, observer),
        None => run(config, folds, &options, observer),
    }
}

fn check_features(meta: &ModelMeta, folds: Folds<'_>) -> Result<(), TrainError> {
    let data = &folds.train.meta;
    let parts = [
        ("features", data.features == meta.features.names),
        ("feature definition", data.feature_hash == meta.features.hash),
        ("horizons", data.horizons == meta.horizons),
        ("observations", data.observations == meta.observations),
    ];
    match parts.iter().find(|(_, is_same)| !is_same) {
        Some((part, _)) => {
            Err(TrainError::Dataset { which: "train", what: format!("has other {part} than the parent") })
        }
        None => Ok(()),
    }
}

/// The scales that the parent was trained on, as its hyper-parameters tell them.
fn scales_of(meta: &ModelMeta) -> Option<Scales> {
    let value = |name: String| meta.hyper_parameters.get(&name)?.parse::<f64>().ok();
    let moments =
        |index| Some((value(format!("data.return_mean.{index}"))?, value(format!("data.return_deviation.{index}"))?));
    let returns = (0..meta.horizons.len()).map(moments).collect::<Option<Vec<_>>>()?;
    let is_sound = returns.iter().all(|(mean, deviation)| mean.is_finite() && *deviation > 0.0);
    let (median, iqr) = (meta.features.median.clone(), meta.features.iqr.clone());
    is_sound.then_some(Scales { median, iqr, returns })
}

/// The parent's weights in the units of training: what the export folded in is taken out; heads that are made anew are left
/// out.
fn standardised(parent: &Params<f32>, scales: &Scales, meta: &ModelMeta) -> Params<f32> {
    let width = meta.h + meta.z;
    let mut params = parent.clone();
    params.0.retain(|name, _| !name.starts_with("regime.") && !name.starts_with("controller."));
    for (index, (mean, deviation)) in scales.returns.iter().enumerate() {
        let part = |params: &mut Params<f32>, name: &str, take: (usize, usize), change: &dyn Fn(f64) -> f64| {
            let data = params.0.get_mut(name).into_iter().flat_map(|array| &mut array.data);
            data.skip(take.0).take(take.1).for_each(|x| *x = f32::of(change(x.wide())));
        };
        part(&mut params, "return_mean.weight", (index * width, width), &|x| x / deviation);
        part(&mut params, "return_mean.bias", (index, 1), &|x| (x - mean) / deviation);
        part(&mut params, "return_log_var.bias", (index, 1), &|x| x - 2.0 * deviation.ln());
    }
    params
}
