//! Parity of the training code's forward pass with the kernel that trades: the same file, the same rows.

use burn::tensor::activation::{relu, sigmoid, softmax};
use peregrine_model::{Backend, INPUT_CLIP, Kernel, LatentStore, Model, ModelError, PositionInput};
use serde::Serialize;

use crate::error::TrainError;
use crate::graph::{Leaves, Matrix, columns, elements, matrix};
use crate::interchange::read_tensors;
use crate::objective::{RETURN_LOG_VAR, World, WorldShape};
use crate::params::Params;
use crate::world_core::LATENT_LOG_VAR;

/// Largest differences between training code and kernel over a sequence. Quantities that may be large (surprise, z,
/// log-variance) are compared as `|a − b| / max(1, |b|)`; expected returns in units of their largest absolute value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Differences {
    /// Deterministic state of the next row.
    pub h: f64,
    /// Posterior mean.
    pub z: f64,
    /// Expected returns.
    pub return_mean: f64,
    /// Log-variances of the returns.
    pub return_log_var: f64,
    /// Probability of an up-move.
    pub up_probability: f64,
    /// Probability of the most probable regime.
    pub regime_confidence: f64,
    /// Position target at no position and no cost.
    pub action: f64,
    /// KL(q‖p).
    pub surprise: f64,
}

impl Differences {
    /// The largest of all.
    #[must_use]
    pub fn max(&self) -> f64 {
        let all = [
            self.h,
            self.z,
            self.return_mean,
            self.return_log_var,
            self.up_probability,
            self.regime_confidence,
            self.action,
            self.surprise,
        ];
        all.into_iter().fold(0.0, f64::max)
    }
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ParityReport {
    /// Rows compared.
    pub rows: usize,
    /// Each step from the kernel's state before it: what one step's rounding does.
    pub per_step: Differences,
    /// States carried on both sides from the start: what rounding adds up to over the sequence.
    pub carried: Differences,
}

/// Holds the training code's forward pass against the scalar kernel over `rows` of raw features (row-major, rows × D).
///
/// # Errors
/// [`TrainError::Model`] when `model` is no world model; [`TrainError::Dataset`] when a row is not finite or of another width.
pub fn parity(model: &[u8], rows: &[f32]) -> Result<ParityReport, TrainError> {
    let loaded = Model::load(model)?;
    let d = loaded.size().d();
    let fault = |what: String| TrainError::Dataset { which: "parity", what };
    if rows.is_empty() || !rows.len().is_multiple_of(d) {
        return Err(fault(format!("{} values are no whole rows of {d} features", rows.len())));
    }
    let kernel = Kernel::new(Backend::Scalar).ok_or(ModelError::Packing)?;
    let seen = Seen::of_kernel(&kernel, &loaded, rows).map_err(|error| fault(error.to_string()))?;
    let params = Params::from_tensors(&read_tensors(model)?);
    let forward = Forward::new(&loaded, &params);
    let x = scaled(&loaded, rows);
    let (per_step, last) = forward.run(&x, rows.len() / d, &seen.h_before);
    let (carried, last_carried) = forward.run(&x, 1, &vec![0.0; loaded.size().h()]);
    Ok(ParityReport {
        rows: rows.len() / d,
        per_step: seen.differences(&per_step, &last),
        carried: seen.differences(&carried, &last_carried),
    })
}

fn scaled(model: &Model, rows: &[f32]) -> Vec<f32> {
    let features = &model.meta().features;
    let scale = |row: &[f32]| -> Vec<f32> {
        let scaled = row.iter().zip(&features.median).zip(&features.iqr);
        scaled.map(|((x, m), iqr)| ((x - m) * iqr.recip()).clamp(-INPUT_CLIP, INPUT_CLIP)).collect()
    };
    rows.chunks_exact(features.names.len()).flat_map(scale).collect()
}

/// Everything that one side says, row by row.
#[derive(Default)]
struct Seen {
    h_before: Vec<f32>,
    h_after: Vec<f32>,
    z: Vec<f32>,
    return_mean: Vec<f32>,
    return_log_var: Vec<f32>,
    up: Vec<f32>,
    regime: Vec<f32>,
    action: Vec<f32>,
    surprise: Vec<f32>,
}

impl Seen {
    fn of_kernel(kernel: &Kernel, model: &Model, rows: &[f32]) -> Result<Self, peregrine_model::NonFinite> {
        let mut store = LatentStore::new(model, 1);
        let mut seen = Self::default();
        let Some(mut latent) = store.latent_mut(0) else { return Ok(seen) };
        let horizons = model.meta().horizons.len();
        for row in rows.chunks_exact(model.size().d()) {
            seen.h_before.extend(latent.h());
            let heads = kernel.observe(model, &mut latent, row, PositionInput::default())?;
            seen.z.extend(latent.z());
            seen.return_mean.extend(heads.return_mean.iter().take(horizons));
            seen.return_log_var.extend(heads.return_log_var.iter().take(horizons));
            seen.up.push(heads.up_probability);
            seen.regime.push(heads.regime.confidence);
            seen.action.push(heads.action);
            seen.surprise.push(heads.surprise);
            kernel.advance(model, &mut latent);
            seen.h_after.extend(latent.h());
        }
        Ok(seen)
    }

    fn differences(&self, other: &Self, h_after: &[f32]) -> Differences {
        let largest = self.return_mean.iter().fold(0.0_f64, |largest, x| largest.max(f64::from(x.abs())));
        let relative = |ours: &[f32], theirs: &[f32]| difference(ours, theirs, |x| x.max(1.0));
        Differences {
            h: relative(&self.h_after, h_after),
            z: relative(&self.z, &other.z),
            return_mean: difference(&self.return_mean, &other.return_mean, |_| largest.max(1e-12)),
            return_log_var: relative(&self.return_log_var, &other.return_log_var),
            up_probability: relative(&self.up, &other.up),
            regime_confidence: relative(&self.regime, &other.regime),
            action: relative(&self.action, &other.action),
            surprise: relative(&self.surprise, &other.surprise),
        }
    }
}

/// The largest difference over its scale; infinite when the lengths differ.
fn difference(ours: &[f32], theirs: &[f32], scale: impl Fn(f64) -> f64) -> f64 {
    if ours.len() != theirs.len() {
        return f64::INFINITY;
    }
    let pairs = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    // A maximum would lose what is not a number.
    let known = |x: f64| if x.is_nan() { f64::INFINITY } else { x };
    pairs.map(|(a, b)| known((a - b).abs() / scale(a.abs()))).fold(0.0, f64::max)
}

/// The training code's forward pass with every head.
struct Forward<'a> {
    shape: WorldShape,
    params: &'a Params<f32>,
}

impl<'a> Forward<'a> {
    fn new(model: &Model, params: &'a Params<f32>) -> Self {
        let size = model.size();
        let horizons = model.meta().horizons.len();
        let shape = WorldShape { e: size.e(), h: size.h(), z: size.z(), return_log_scale: vec![0.0; horizons] };
        Self { shape, params }
    }

    /// Runs `x` in `lanes` side by side (the rows of a lane in a run) from `start`; gives the heads and the next states.
    fn run(&self, x: &[f32], lanes: usize, start: &[f32]) -> (Seen, Vec<f32>) {
        let (h, z) = (self.shape.h, self.shape.z);
        let world = World { shape: &self.shape, params: self.params };
        let d = self.params.0.get("encoder.0.weight").map_or(1, crate::params::Array::columns);
        let rows = x.len() / d;
        let tape = world.latents((x, lanes), rows / lanes, start);
        let leaves = Leaves::of(self.params, false, |_| true);
        let make = |data: &[f32]| matrix(data.to_vec(), rows, &leaves.device);
        let (state, sample) = (make(&tape.h[..rows * h]), make(&tape.z));
        let s = Matrix::cat(vec![state.clone(), sample], 1);
        let regimes = softmax(leaves.linear("regime", s.clone()), 1).max_dim(1);
        let none = Matrix::zeros([rows, 3], &leaves.device);
        let hidden = relu(leaves.linear("controller.0", Matrix::cat(vec![s.clone(), none], 1)));
        let log_var = leaves.linear("return_log_var", s.clone()).clamp(RETURN_LOG_VAR.0, RETURN_LOG_VAR.1);
        let (p, q) = (leaves.linear("prior", state), make(&tape.q));
        let clip = |x: &Matrix| columns(x.clone(), z, z).clamp(LATENT_LOG_VAR.0, LATENT_LOG_VAR.1);
        let (ratio, log_p) = (clip(&q) - clip(&p), clip(&p));
        let distance = columns(q, 0, z) - columns(p, 0, z);
        let kl = ratio.clone().exp() + distance.square() * log_p.neg().exp() - ratio - 1.0;
        let seen = Seen {
            h_before: Vec::new(),
            h_after: Vec::new(),
            z: tape.z.clone(),
            return_mean: elements(leaves.linear("return_mean", s.clone())),
            return_log_var: elements(log_var),
            up: elements(sigmoid(leaves.linear("up", s))),
            regime: elements(regimes),
            action: elements(leaves.linear("controller.2", hidden).tanh()),
            surprise: elements(kl.sum_dim(1) * 0.5),
        };
        (seen, tape.h[lanes * h..].to_vec())
    }
}
