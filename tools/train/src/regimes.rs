//! Regimes: a Gaussian mixture with persistence on what the training latents decode to, its number chosen by silhouette score,
//! distilled into the softmax head that the kernel runs.
//!
//! Not on the latents themselves: in their coordinates, which no loss ties to a unit, directions that predict returns outvote
//! those in which regimes differ. Decoded they are the observation without its noise, in the unit of the reconstruction. And
//! with persistence (a hidden Markov model): regimes last, so that the rows before and after tell apart what one row does not;
//! the head learns the smoothed probabilities from the state, which remembers the rows before.

use burn::tensor::activation::log_softmax;
use peregrine_stats::cluster::{MarkovMixture, MarkovSelection, MixtureConfig};
use peregrine_stats::latent::principal_axes;
use peregrine_stats::{Matrix, MatrixView, StatsError};

use crate::config::RegimeConfig;
use crate::error::TrainError;
use crate::fold::whole;
use crate::graph::{Leaves, device, elements, matrix, silu};
use crate::observe::Go;
use crate::params::{AdamW, Params};
use crate::random::{shuffled, stream};
use crate::real::Real;

/// Rows of a stretch that are taken together, so that persistence shows.
pub(crate) const STRETCH: usize = 256;
/// Share of the decoded latents' variance on the principal axes that the mixture sees, and the most of them: more would let
/// the many directions of noise outvote, once whitened, the few in which regimes differ.
const SHARE: f64 = 0.9;
const AXES_MAX: usize = 6;
const SILHOUETTE_ROWS: usize = 2_000;
const BATCH: usize = 2_048;
const RATE: f64 = 0.01;

/// Latents of stretches of training rows in the order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latents {
    pub(crate) width: usize,
    /// `s = [h, z]`, row-major.
    pub(crate) s: Vec<f32>,
    /// The predicted log-variance of the first horizon.
    pub(crate) log_var: Vec<f32>,
    /// Rows of each stretch; they sum to the rows.
    pub(crate) lengths: Vec<usize>,
}

/// The softmax head and what it was made from.
#[derive(Clone, Debug)]
pub(crate) struct Regimes {
    pub(crate) count: usize,
    /// [count, H+Z].
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    /// Silhouette score of the chosen number.
    pub(crate) silhouette: f64,
    /// Share of the rows whose most probable regime is the mixture's, given the rows before and after.
    pub(crate) agreement: f64,
}

/// Finds the regimes; `decoder` holds the decoder's layers. Their order is that of the mean predicted log-variance: regime 0 is
/// the calmest.
pub(crate) fn find(
    latents: &Latents,
    decoder: &Params<f32>,
    (config, seed): (&RegimeConfig, u64),
    go: &mut Go<'_>,
) -> Result<Regimes, TrainError> {
    let fault = |source| TrainError::Statistics { what: "the training latents".to_owned(), source };
    let decoded = decode(latents, decoder);
    let projected = principal_components(decoded.view("decoded latents").map_err(fault)?).map_err(fault)?;
    let projected = projected.view("principal components").map_err(fault)?;
    let mixture = MixtureConfig { seed, restarts: 4, regularization: 1e-4, ..MixtureConfig::default() };
    let candidates = config.count_min..=config.count_max;
    let chosen = MarkovMixture::select(projected, &latents.lengths, candidates, SILHOUETTE_ROWS, &mixture);
    let MarkovSelection { model, smoothed, scores } = chosen.map_err(fault)?;
    let count = model.component_count();
    let order = calmest_first(&smoothed, &latents.log_var);
    let targets: Vec<f32> =
        smoothed.data.chunks_exact(count).flat_map(|row| order.iter().map(|k| f32::of(row[*k]))).collect();
    let silhouette = scores.iter().find(|(candidate, _)| *candidate == count).map_or(f64::NAN, |(_, score)| *score);
    let scaled = standardise(latents);
    let head = distill(&scaled, (&targets, count), (config.distill_steps, seed), go)?;
    Ok(unscale(&scaled, head, (count, silhouette)))
}

/// The observation that each state stands for, in scaled features.
fn decode(latents: &Latents, decoder: &Params<f32>) -> Matrix {
    let rows = latents.s.len() / latents.width.max(1);
    let leaves = Leaves::of(decoder, false, |name| name.starts_with("decoder."));
    let hidden = silu(leaves.linear("decoder.0", matrix(latents.s.clone(), rows, &leaves.device)));
    let decoded: Vec<f32> = elements(leaves.linear("decoder.2", hidden));
    let cols = decoded.len() / rows.max(1);
    Matrix { data: decoded.into_iter().map(f64::from).collect(), rows, cols }
}

/// Columns with mean 0 and deviation 1, and what undoes it.
struct Scaled {
    width: usize,
    s: Vec<f64>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

fn standardise(latents: &Latents) -> Scaled {
    let width = latents.width;
    let rows = whole(latents.s.len() / width.max(1)).max(1.0);
    let (mut mean, mut deviation) = (vec![0.0; width], vec![0.0; width]);
    for row in latents.s.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) / rows);
    }
    for row in latents.s.chunks_exact(width) {
        let distances = row.iter().zip(&mean).map(|(x, mean)| f64::from(*x) - mean);
        deviation.iter_mut().zip(distances).for_each(|(sum, d)| *sum += d * d / rows);
    }
    // A unit that never moves tells nothing: it stays 0.
    deviation.iter_mut().for_each(|x| *x = if x.sqrt() > 1e-6 { x.sqrt() } else { 1.0 });
    let scale = |row: &[f32]| -> Vec<f64> {
        row.iter().zip(mean.iter().zip(&deviation)).map(|(x, (mean, d))| (f64::from(*x) - mean) / d).collect()
    };
    let s = latents.s.chunks_exact(width).flat_map(scale).collect();
    Scaled { width, s, mean, deviation }
}

/// The projections on the principal axes that hold [`SHARE`] of the variance, at least two, at most [`AXES_MAX`].
fn principal_components(x: MatrixView<'_>) -> Result<Matrix, StatsError> {
    let most = AXES_MAX.min(x.cols());
    let found = principal_axes(x, most)?;
    let mut held = 0.0;
    let below = found.variance.iter().take_while(|variance| {
        held += **variance;
        held < SHARE * found.total_variance
    });
    let axes = (below.count() + 1).clamp(2.min(most), most);
    let mut projected = Matrix::zeros(x.rows(), axes);
    for (row, from) in x.iter_rows().enumerate() {
        projected.row_mut(row).iter_mut().zip(found.project(from)).for_each(|(to, along)| *to = along);
    }
    Ok(projected)
}

fn calmest_first(shares: &Matrix, log_var: &[f32]) -> Vec<usize> {
    let count = shares.cols;
    let (mut sums, mut weights) = (vec![0.0; count], vec![1e-12; count]);
    for (row, log_var) in shares.data.chunks_exact(count).zip(log_var) {
        for (k, share) in row.iter().enumerate() {
            sums[k] += share * f64::from(*log_var);
            weights[k] += share;
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| (sums[*a] / weights[*a]).total_cmp(&(sums[*b] / weights[*b])));
    order
}

struct Head {
    weight: Vec<f32>,
    bias: Vec<f32>,
    agreement: f64,
}

/// Minimises the cross-entropy of the softmax head against the mixture's responsibilities.
fn distill(
    scaled: &Scaled,
    (targets, count): (&[f32], usize),
    (steps, seed): (u32, u64),
    go: &mut Go<'_>,
) -> Result<Head, TrainError> {
    let width = scaled.width;
    let s: Vec<f32> = scaled.s.iter().map(|x| f32::of(*x)).collect();
    let rows = s.len() / width.max(1);
    let mut params = Params::default();
    params.insert("regime.weight", vec![count, width], vec![0.0; count * width]);
    params.insert("regime.bias", vec![count], vec![0.0; count]);
    let mut optimizer = AdamW::new(&params);
    for step in 0..steps {
        go(step, steps)?;
        let order = shuffled(&mut stream(seed, "distill", u64::from(step)), rows);
        let batch = order.get(..BATCH.min(rows)).unwrap_or(&order);
        let pick = |from: &[f32], width: usize| -> Vec<f32> {
            batch.iter().flat_map(|row| from[row * width..(row + 1) * width].iter().copied()).collect()
        };
        let leaves = Leaves::of(&params, true, |_| true);
        let logits = leaves.linear("regime", matrix(pick(&s, width), batch.len(), &leaves.device));
        let targets = matrix(pick(targets, count), batch.len(), &leaves.device);
        let loss = (log_softmax(logits, 1) * targets).sum() * (-1.0 / whole(batch.len()));
        let gradients = leaves.gradients(loss.backward());
        let done = f64::from(step) / f64::from(steps);
        optimizer.step(&mut params, &gradients, RATE * (1.0 - done), 1e-4);
    }
    let leaves = Leaves::of(&params, false, |_| true);
    let logits: Vec<f32> = elements(leaves.linear("regime", matrix(s, rows, &device(false))));
    let pairs = logits.chunks_exact(count).zip(targets.chunks_exact(count));
    let equal = pairs.filter(|(a, b)| argmax(a) == argmax(b)).count();
    Ok(Head {
        weight: params.data("regime.weight").to_vec(),
        bias: params.data("regime.bias").to_vec(),
        agreement: whole(equal) / whole(rows).max(1.0),
    })
}

fn argmax(values: &[f32]) -> usize {
    let best = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.map_or(0, |(index, _)| index)
}

/// The head on unscaled latents.
fn unscale(scaled: &Scaled, head: Head, (count, silhouette): (usize, f64)) -> Regimes {
    let (mut weight, mut bias) = (Vec::with_capacity(head.weight.len()), Vec::with_capacity(count));
    for (row, constant) in head.weight.chunks_exact(scaled.width).zip(&head.bias) {
        let mut moved = f64::from(*constant);
        for (w, (mean, deviation)) in row.iter().zip(scaled.mean.iter().zip(&scaled.deviation)) {
            let w = f64::from(*w) / deviation;
            moved -= w * mean;
            weight.push(f32::of(w));
        }
        bias.push(f32::of(moved));
    }
    Regimes { count, weight, bias, silhouette, agreement: head.agreement }
}
