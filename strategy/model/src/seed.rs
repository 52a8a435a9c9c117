//! The seeded initialisation: Xavier-uniform layers, then heads scaled by what they give on a seeded walk, so that the
//! action spans most of −1..1 and return means are of the order of a basis point.
//!
//! Only operations that IEEE 754 defines exactly are used (and this crate's own exp), so that a seed gives the same bytes
//! on every machine.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::file::{ModelError, Tensor, Tensors, layout};
use crate::format::Precision;
use crate::heads::PositionInput;
use crate::kernel::Kernel;
use crate::latent::LatentStore;
use crate::meta::ModelMeta;
use crate::model::Model;
use crate::size::POSITION_WIDTH;

/// Steps of the walk that the heads are scaled on, after `WALK_SETTLE` steps that are thrown away.
const WALK_LEN: usize = 400;
const WALK_SETTLE: usize = 50;

/// Target standard deviation and mean of a head's output on the walk.
struct Target {
    name: &'static str,
    deviation: f64,
    mean: f64,
}

const TARGETS: [Target; 5] = [
    Target { name: "return_mean", deviation: 1e-4, mean: 0.0 },
    // A standard deviation of about a basis point: ln (1e-4)².
    Target { name: "return_log_var", deviation: 0.5, mean: -18.4 },
    Target { name: "up", deviation: 1.0, mean: 0.0 },
    Target { name: "regime", deviation: 1.0, mean: 0.0 },
    Target { name: "controller.0", deviation: 1.0, mean: 0.0 },
];
/// The controller's output before tanh.
const ACTION_DEVIATION: f64 = 1.0;

/// Every tensor of a seeded initialisation.
pub(crate) fn tensors(meta: &ModelMeta) -> Result<Tensors, ModelError> {
    if let Some(what) = meta.fault() {
        return Err(ModelError::Metadata { what });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(meta.seed);
    let mut tensors = Tensors::default();
    for (name, shape) in layout(meta) {
        let tensor = xavier(&mut rng, name, shape);
        tensors.0.insert(name.to_owned(), tensor);
    }
    let states = walk(meta, &tensors, &mut rng)?;
    for target in &TARGETS {
        scale_head(&mut tensors, target, &states)?;
    }
    scale_action(&mut tensors, &states)?;
    Ok(tensors)
}

/// Xavier-uniform weights (Glorot & Bengio 2010), zero biases, and the log-variances' gains small, so that they stay near 0.
fn xavier(rng: &mut ChaCha8Rng, name: &str, shape: Vec<usize>) -> Tensor {
    let count = shape.iter().product();
    let (rows, columns) = match *shape.as_slice() {
        [rows, columns] => (rows, columns),
        _ => return Tensor { shape, data: vec![0.0; count] },
    };
    let is_latent = matches!(name, "prior.weight" | "posterior.weight");
    let bound = f64::sqrt(6.0 / index_to_f64(rows + columns)) * 1.5;
    let mut data = Vec::with_capacity(count);
    for row in 0..rows {
        let gain = if is_latent && row >= rows / 2 { 0.2 } else { 1.0 };
        data.extend((0..columns).map(|_| narrow(uniform(rng) * bound * gain)));
    }
    Tensor { shape, data }
}

/// Uniform in −1..1, from 24 random bits.
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32() >> 8) / f64::from(1_u32 << 23) - 1.0
}

/// What each head sees along a walk: `h`, `z` and the position inputs, one row per step.
fn walk(meta: &ModelMeta, tensors: &Tensors, rng: &mut ChaCha8Rng) -> Result<Vec<Vec<f64>>, ModelError> {
    let model = Model::pack(meta.clone(), Arc::new(tensors.clone()), [0; 32], Precision::F32)?;
    let mut store = LatentStore::new(&model, 1);
    let mut latent = store.latent_mut(0).ok_or(ModelError::Packing)?;
    let features = &meta.features;
    let mut scaled = vec![0.0; meta.d];
    let mut states = Vec::with_capacity(WALK_LEN);
    for step in 0..WALK_SETTLE + WALK_LEN {
        let mut raw = Vec::with_capacity(meta.d);
        for ((x, median), iqr) in scaled.iter_mut().zip(&features.median).zip(&features.iqr) {
            // An autoregression with a standard deviation of about 0.74, which is that of a normal with unit IQR.
            *x = 0.9 * *x + 0.56 * uniform(rng);
            raw.push(narrow(*x * f64::from(*iqr) + f64::from(*median)));
        }
        let inputs = [uniform(rng), 0.05 + 0.05 * uniform(rng), 0.05 * uniform(rng)];
        Kernel::SCALAR
            .observe(&model, &mut latent, &raw, PositionInput::default())
            .map_err(|error| ModelError::Metadata { what: format!("the seeded model fails on its walk: {error}") })?;
        if step >= WALK_SETTLE {
            states.push(latent.h().chain(latent.z()).map(f64::from).chain(inputs).collect());
        }
        Kernel::SCALAR.advance(&model, &mut latent);
    }
    Ok(states)
}

/// Scales each row and sets its bias, so that its output has the target's mean and deviation on the walk.
fn scale_head(tensors: &mut Tensors, target: &Target, states: &[Vec<f64>]) -> Result<(), ModelError> {
    let (weight_name, bias_name) = (format!("{}.weight", target.name), format!("{}.bias", target.name));
    let columns = tensors.get(&weight_name)?.shape.last().copied().unwrap_or(1);
    let mut biases = Vec::new();
    if let Some(weight) = tensors.0.get_mut(&weight_name) {
        for row in weight.data.chunks_exact_mut(columns) {
            let outputs: Vec<f64> = states.iter().map(|state| dot(row, state)).collect();
            let (mean, deviation) = moments(&outputs);
            let gain = target.deviation / deviation.max(1e-12);
            for weight in row {
                *weight = narrow(f64::from(*weight) * gain);
            }
            biases.push(narrow(target.mean - mean * gain));
        }
    }
    if let Some(bias) = tensors.0.get_mut(&bias_name) {
        bias.data = biases;
    }
    Ok(())
}

/// Scales the controller's last layer: zero mean and the wanted deviation before tanh.
fn scale_action(tensors: &mut Tensors, states: &[Vec<f64>]) -> Result<(), ModelError> {
    let biases = tensors.data("controller.0.bias")?.to_vec();
    let rows: Vec<&[f32]> = tensors.rows("controller.0.weight")?.collect();
    debug_assert!(states.iter().all(|state| rows.iter().all(|row| row.len() == state.len())));
    debug_assert!(rows.first().is_some_and(|row| row.len() > POSITION_WIDTH));
    let hidden: Vec<Vec<f64>> = states
        .iter()
        .map(|state| {
            rows.iter().zip(&biases).map(|(row, bias)| (dot(row, state) + f64::from(*bias)).max(0.0)).collect()
        })
        .collect();
    let target = Target { name: "controller.2", deviation: ACTION_DEVIATION, mean: 0.0 };
    scale_head(tensors, &target, &hidden)
}

fn dot(row: &[f32], state: &[f64]) -> f64 {
    row.iter().zip(state).map(|(weight, x)| f64::from(*weight) * x).sum()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = index_to_f64(values.len());
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

fn index_to_f64(index: usize) -> f64 {
    u32::try_from(index).map_or(f64::INFINITY, f64::from)
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
fn narrow(x: f64) -> f32 {
    x as f32
}
