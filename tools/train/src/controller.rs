//! The controller, trained by imagination with the world model frozen (Hafner et al. 2020, *Dream to Control*).
//!
//! From states of the training fold the prior is rolled forward; the market's dynamics do not see our position, so that the
//! imagined states are constants and gradients flow through the position alone. With `a_k` the position after step k, `c`
//! fee and the share of the half-spread that is paid, `μ, σ²` the heads' mean and variance of the return per step, the utility of a trajectory is
//! `Σ_k [a_k·μ_k − c·|a_k − a_{k−1}| − ½·γ·a_k²·σ_k²/σ]` and, as nothing is imagined after the last step, its position held over
//! the longest horizon and then closed: `a_K·μ_K^N − ½·γ·a_K²·(σ_K^N)²/σ − c·|a_K|`. All of it is divided by σ, the deviation
//! of a step's return in the training fold, and by 1 + c/σ, so that trajectories with great costs do not outvote the others.

use burn::tensor::{Tensor, activation};
use peregrine_model::{COST_SCALE_BPS, INPUT_CLIP};

use crate::config::ControllerConfig;
use crate::error::TrainError;
use crate::fold::whole;
use crate::graph::{Leaves, Matrix, columns, device, elements, matrix};
use crate::objective::RETURN_LOG_VAR;
use crate::observe::Go;
use crate::params::{AdamW, Params, clip_norm};
use crate::random::{fan_in, normals, stream, uniform};
use crate::real::Real;
use crate::world_core::{CoreWeights, Lengths, forward};

/// Units of the hidden layer, as in the kernel.
pub(crate) const WIDTH: usize = 16;
const DECAY: f64 = 1e-4;

/// States that imagination starts from: `h` after a training row, [rows, H], and the row's half-spread in basis points.
#[derive(Clone, Debug, Default)]
pub(crate) struct Starts {
    pub(crate) h: Vec<f32>,
    pub(crate) half_spread_bps: Vec<f32>,
}

/// The frozen world model, in the unit of the exported weights.
pub(crate) struct Frozen<'a> {
    pub(crate) params: &'a Params<f32>,
    pub(crate) h: usize,
    pub(crate) z: usize,
    /// Rows that each horizon counts; 1 for every horizon that counts time instead of rows.
    pub(crate) horizon_rows: Vec<f64>,
    /// Standard deviation of the returns over the first horizon in the training fold.
    pub(crate) deviation: f64,
}

/// What came out.
#[derive(Clone, Debug)]
pub(crate) struct Trained {
    pub(crate) params: Params<f32>,
    /// Mean utility per imagined step over the last tenth of the training steps; never trading has 0.
    pub(crate) utility: f64,
}

/// A batch of imagined trajectories; rows are [steps, batch].
struct Imagined {
    steps: usize,
    batch: usize,
    s: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    last_mean: Vec<f32>,
    last_variance: Vec<f32>,
    /// Position before the first step, half-spread and fee as the controller sees them, [batch, 1] each.
    position: Vec<f32>,
    half_spread: Vec<f32>,
    fee: Vec<f32>,
    /// Half-spread and fee in units of σ.
    cost: Vec<f32>,
}

fn initial(seed: u64, width: usize) -> Params<f32> {
    let mut rng = stream(seed, "controller initial", 0);
    let mut params = Params::default();
    params.insert("controller.0.weight", vec![WIDTH, width + 3], fan_in(&mut rng, WIDTH * (width + 3), width + 3));
    params.insert("controller.0.bias", vec![WIDTH], vec![0.0; WIDTH]);
    let mut last = fan_in(&mut rng, WIDTH, WIDTH);
    last.iter_mut().for_each(|x| *x *= 0.1);
    params.insert("controller.2.weight", vec![1, WIDTH], last);
    params.insert("controller.2.bias", vec![1], vec![0.0]);
    params
}

/// Trains the controller; `go` ends it early.
pub(crate) fn train(
    frozen: &Frozen<'_>,
    starts: &Starts,
    (config, seed): (&ControllerConfig, u64),
    go: &mut Go<'_>,
) -> Result<Trained, TrainError> {
    let mut params = initial(seed, frozen.h + frozen.z);
    let mut optimizer = AdamW::new(&params);
    let (mut total, mut counted) = (0.0, 0.0);
    for step in 0..config.steps {
        go(step, config.steps)?;
        let imagined = frozen.imagine(starts, config, (seed, u64::from(step)));
        let leaves = Leaves::of(&params, true, |_| true);
        let utility = utility(&leaves, &imagined, config.risk_aversion, frozen.h + frozen.z);
        let value = utility.clone().inner().into_scalar::<f32>().wide();
        let mut gradients = leaves.gradients((utility * -1.0).backward());
        clip_norm(&mut gradients, 1.0);
        let left = 1.0 - f64::from(step) / f64::from(config.steps);
        optimizer.step(&mut params, &gradients, config.learning_rate * left, DECAY);
        if u64::from(step) * 10 >= u64::from(config.steps) * 9 {
            (total, counted) = (total + value, counted + 1.0);
        }
    }
    Ok(Trained { params, utility: total / f64::max(counted, 1.0) })
}

impl Frozen<'_> {
    /// Rolls the prior forward. The posterior's place in the core is taken by the prior: `q` is then the prior, `z` its sample.
    fn imagine(&self, starts: &Starts, config: &ControllerConfig, (seed, step): (u64, u64)) -> Imagined {
        let (steps, batch) = (config.imagined_rows, config.batch);
        let mut rng = stream(seed, "imagination", step);
        let rows = starts.half_spread_bps.len().max(1);
        let (mut h, mut spreads) = (Vec::with_capacity(batch * self.h), Vec::with_capacity(batch));
        let (mut position, mut fees) = (Vec::with_capacity(batch), Vec::with_capacity(batch));
        for _ in 0..batch {
            let row = pick(uniform(&mut rng), rows);
            h.extend_from_slice(starts.h.get(row * self.h..(row + 1) * self.h).unwrap_or(&[]));
            position.push(f32::of(2.0 * uniform(&mut rng) - 1.0));
            // Cubed: most draws are small, where the decision to trade is made, and some reach the greatest cost.
            let extra = f32::of(uniform(&mut rng).powi(3) * config.fee_bps_max);
            let (fee, wider) = if uniform(&mut rng) < 0.5 { (extra, 0.0) } else { (0.0, extra) };
            spreads.push(starts.half_spread_bps.get(row).copied().unwrap_or(0.0) + wider);
            fees.push(fee);
        }
        let mut noise = vec![0.0; steps * batch * self.z];
        normals(&mut rng, &mut noise);
        let get = |name: &str| self.params.data(name).to_vec();
        let weights = CoreWeights {
            ih: get("gru.weight_ih"),
            hh: get("gru.weight_hh"),
            bias_ih: get("gru.bias_ih"),
            bias_hh: get("gru.bias_hh"),
            posterior: get("prior.weight"),
        };
        let lengths = Lengths { steps, lanes: batch, h: self.h, z: self.z };
        let tape = forward(lengths, &weights, &self.params.data("prior.bias").repeat(steps * batch), Some(&noise), &h);
        let pairs = tape.h_seen(&lengths).chunks_exact(self.h).zip(tape.z.chunks_exact(self.z));
        let s: Vec<f32> = pairs.flat_map(|(h, z)| h.iter().chain(z).copied()).collect();
        let unit = self.step_deviation();
        let cost = spreads
            .iter()
            .zip(&fees)
            .map(|(spread, fee)| f32::of((config.spread_paid * spread.wide() + fee.wide()) * 1e-4 / unit))
            .collect();
        let seen = |bps: &[f32]| bps.iter().map(|x| (x / COST_SCALE_BPS).clamp(-INPUT_CLIP, INPUT_CLIP)).collect();
        let (half_spread, fee) = (seen(&spreads), seen(&fees));
        self.value(Imagined {
            steps,
            batch,
            s,
            mean: Vec::new(),
            variance: Vec::new(),
            last_mean: Vec::new(),
            last_variance: Vec::new(),
            position,
            half_spread,
            fee,
            cost,
        })
    }

    /// Deviation of the return of one row in the training fold.
    fn step_deviation(&self) -> f64 {
        self.deviation / self.horizon_rows.first().copied().unwrap_or(1.0).max(1.0).sqrt()
    }

    /// Adds what the return heads say of each state, in units of σ.
    fn value(&self, mut imagined: Imagined) -> Imagined {
        let unit = self.step_deviation();
        let leaves = Leaves::of(self.params, false, |name| name.starts_with("return_"));
        let s = matrix(imagined.s.clone(), imagined.steps * imagined.batch, &device(false));
        let mean: Vec<f32> = elements(leaves.linear("return_mean", s.clone()));
        let log_var: Vec<f32> = elements(leaves.linear("return_log_var", s));
        let n = self.horizon_rows.len();
        let first = self.horizon_rows.first().copied().unwrap_or(1.0).max(1.0);
        let variance = |x: f32| x.wide().clamp(RETURN_LOG_VAR.0, RETURN_LOG_VAR.1).exp() / (unit * unit);
        let of_mean = |x: &f32| f32::of(x.wide() / unit / first);
        imagined.mean = mean.iter().step_by(n).map(of_mean).collect();
        imagined.variance = log_var.iter().step_by(n).map(|x| f32::of(variance(*x) / first)).collect();
        let last = (imagined.steps - 1) * imagined.batch * n + n - 1;
        imagined.last_mean = mean.iter().skip(last).step_by(n).map(|x| f32::of(x.wide() / unit)).collect();
        imagined.last_variance = log_var.iter().skip(last).step_by(n).map(|x| f32::of(variance(*x))).collect();
        imagined
    }
}

fn pick(share: f64, count: usize) -> usize {
    let scaled = share * whole(count);
    // A whole number below `count`, which fits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ scaled < count")]
    let index = scaled as usize;
    index.min(count.saturating_sub(1))
}

/// Mean utility per step of a batch in units of σ, [1].
fn utility(leaves: &Leaves, imagined: &Imagined, risk_aversion: f64, width: usize) -> Tensor<1> {
    let (steps, batch) = (imagined.steps, imagined.batch);
    let make = |data: &[f32], rows: usize| matrix(data.to_vec(), rows, &leaves.device);
    let weight = leaves.get("controller.0.weight");
    let column = |index: usize| columns(weight.clone(), width + index, 1).transpose();
    // Everything but the position's term, for all steps at once.
    let from_state = make(&imagined.s, steps * batch).matmul(columns(weight.clone(), 0, width).transpose());
    let from_costs = make(&imagined.half_spread, batch) * column(1)
        + make(&imagined.fee, batch) * column(2)
        + leaves.get("controller.0.bias");
    let of_position = column(0);
    let cost = make(&imagined.cost, batch);
    let (mean, variance) = (make(&imagined.mean, steps * batch), make(&imagined.variance, steps * batch));
    let mut position = make(&imagined.position, batch);
    let mut total: Option<Matrix> = None;
    for step in 0..steps {
        let at = |from: &Matrix| from.clone().narrow(0, step * batch, batch);
        let hidden = activation::relu(at(&from_state) + from_costs.clone() + position.clone() * of_position.clone());
        let next = leaves.linear("controller.2", hidden).tanh();
        let traded = (next.clone() - position).abs() * cost.clone();
        let held = next.clone() * at(&mean) - next.clone().square() * at(&variance) * (0.5 * risk_aversion);
        let gain = held - traded;
        total = Some(total.map_or_else(|| gain.clone(), |total| total + gain.clone()));
        position = next;
    }
    let last = position.clone() * make(&imagined.last_mean, batch)
        - position.clone().square() * make(&imagined.last_variance, batch) * (0.5 * risk_aversion)
        - position.abs() * cost.clone();
    let total = total.map_or_else(|| last.clone(), |total| total + last.clone());
    // The costs are known to the controller, so that weighing trajectories by them moves no optimum.
    (total / (cost + 1.0)).mean() * (1.0 / whole(steps))
}
