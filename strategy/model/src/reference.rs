//! The slow obvious twin: every layer and the whole step in plain f64, one element after the other, from the tensors as
//! PyTorch has them. Tests hold the kernel against it, and it against PyTorch.

use crate::file::{ModelError, Tensor, Tensors};
use crate::meta::ModelMeta;
use crate::step::{LATENT_LOG_VAR, RETURN_LOG_VAR};

/// `1/(1 + e^−x)`.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `x·sigmoid(x)`.
#[must_use]
pub fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// `W·x + b`, `weight` row-major with rows of `x.len()`.
#[must_use]
pub fn linear(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    weight.chunks_exact(x.len().max(1)).zip(bias).map(|(row, bias)| dot(row, x) + bias).collect()
}

fn dot(row: &[f64], x: &[f64]) -> f64 {
    row.iter().zip(x).map(|(weight, x)| weight * x).sum()
}

/// The tensors of a recurrent cell in f64: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// `[gates · hidden, inputs]`.
    pub weight_ih: Vec<f64>,
    /// `[gates · hidden, hidden]`.
    pub weight_hh: Vec<f64>,
    /// `[gates · hidden]`.
    pub bias_ih: Vec<f64>,
    /// `[gates · hidden]`.
    pub bias_hh: Vec<f64>,
}

impl Cell {
    /// The inputs' and the hidden state's term of every gate, one vector per gate.
    fn gates(&self, x: &[f64], h: &[f64]) -> impl Iterator<Item = (Vec<f64>, Vec<f64>)> {
        let from_x = linear(&self.weight_ih, &self.bias_ih, x);
        let from_h = linear(&self.weight_hh, &self.bias_hh, h);
        let width = h.len();
        let cut = move |from: &[f64], gate: usize| from.iter().skip(gate * width).take(width).copied().collect();
        (0..4).map(move |gate| (cut(&from_x, gate), cut(&from_h, gate)))
    }

    /// PyTorch's GRU cell: the next `h`.
    #[must_use]
    pub fn gru(&self, x: &[f64], h: &[f64]) -> Vec<f64> {
        let mut gates = self.gates(x, h);
        let mut gate = || gates.next().unwrap_or_default();
        let (reset, update, new) = (gate(), gate(), gate());
        let mut next = Vec::with_capacity(h.len());
        let gates = reset.0.iter().zip(&reset.1).zip(update.0.iter().zip(&update.1)).zip(new.0.iter().zip(&new.1));
        for ((((rx, rh), (zx, zh)), (nx, nh)), h) in gates.zip(h) {
            let (r, z) = (sigmoid(rx + rh), sigmoid(zx + zh));
            let n = (nx + r * nh).tanh();
            next.push((1.0 - z) * n + z * h);
        }
        next
    }

    /// PyTorch's LSTM cell: the next `h` and `c`.
    #[must_use]
    pub fn lstm(&self, x: &[f64], h: &[f64], c: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let gates: Vec<Vec<f64>> =
            self.gates(x, h).map(|(x, h)| x.iter().zip(&h).map(|(x, h)| x + h).collect()).collect();
        let [input, forget, candidate, output] = gates.as_slice() else { return (Vec::new(), Vec::new()) };
        let (mut next_h, mut next_c) = (Vec::with_capacity(h.len()), Vec::with_capacity(h.len()));
        for ((((i, f), g), o), c) in input.iter().zip(forget).zip(candidate).zip(output).zip(c) {
            let memory = sigmoid(*f) * c + sigmoid(*i) * g.tanh();
            next_h.push(sigmoid(*o) * memory.tanh());
            next_c.push(memory);
        }
        (next_h, next_c)
    }
}

/// `(x − mean)/√(variance + ε)·γ + β`, population variance.
#[must_use]
pub fn layer_norm(x: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> Vec<f64> {
    let count = u32::try_from(x.len()).map_or(f64::INFINITY, f64::from);
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let scale = (variance + epsilon).sqrt();
    x.iter().zip(gamma).zip(beta).map(|((x, gamma), beta)| (x - mean) / scale * gamma + beta).collect()
}

/// The world model in f64, with its state.
#[derive(Clone, Debug)]
pub struct Reference {
    meta: ModelMeta,
    tensors: Tensors,
    /// Deterministic state.
    pub h: Vec<f64>,
    /// Stochastic state: a mean.
    pub z: Vec<f64>,
    /// The log-variance that belongs to `z`, −10..4; zeros at the start.
    pub z_log_var: Vec<f64>,
}

/// What the reference says of one observation, unpacked: horizons and regimes as vectors.
#[derive(Clone, Debug)]
pub struct ReferenceHeads {
    /// Expected return per horizon.
    pub return_mean: Vec<f64>,
    /// Log-variance per horizon.
    pub return_log_var: Vec<f64>,
    /// Probability of an up-move.
    pub up_probability: f64,
    /// Probability of each regime.
    pub regimes: Vec<f64>,
    /// Position target.
    pub action: f64,
    /// KL(q‖p).
    pub surprise: f64,
}

impl Reference {
    /// Reads a model file.
    ///
    /// # Errors
    /// As [`Model::load`](crate::Model::load).
    pub fn load(bytes: &[u8]) -> Result<Self, ModelError> {
        let (meta, tensors) = crate::file::parse(bytes)?;
        let (h, z) = (vec![0.0; meta.size.h()], vec![0.0; meta.size.z()]);
        let z_log_var = z.clone();
        Ok(Self { meta, tensors, h, z, z_log_var })
    }

    fn layer(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let empty = Tensor::default();
        let get = |part: &str| self.tensors.get(&format!("{name}.{part}")).unwrap_or(&empty);
        linear(&widen(&get("weight").data), &widen(&get("bias").data), x)
    }

    /// The encoding `e` of raw features, E numbers.
    #[must_use]
    pub fn encode(&self, raw: &[f32]) -> Vec<f64> {
        let features = &self.meta.features;
        let clip = f64::from(crate::INPUT_CLIP);
        let scaled = raw.iter().zip(&features.median).zip(&features.iqr);
        let x: Vec<f64> = scaled
            .map(|((raw, median), iqr)| ((f64::from(*raw) - f64::from(*median)) / f64::from(*iqr)).clamp(-clip, clip))
            .collect();
        let first: Vec<f64> = self.layer("encoder.0", &x).into_iter().map(silu).collect();
        self.layer("encoder.2", &first).into_iter().map(silu).collect()
    }

    /// The whole of `observe`, h products included. `position` as [`PositionInput`](crate::PositionInput), in its order.
    pub fn observe(&mut self, raw: &[f32], position: [f32; 3]) -> ReferenceHeads {
        let e = self.encode(raw);
        let joined: Vec<f64> = self.h.iter().chain(&e).copied().collect();
        let posterior = self.layer("posterior", &joined);
        (self.z, self.z_log_var) = self.gaussian(&posterior);
        self.heads(position)
    }

    /// Mean and log-variance of the prior, given the deterministic state.
    #[must_use]
    pub fn prior(&self) -> (Vec<f64>, Vec<f64>) {
        self.gaussian(&self.layer("prior", &self.h))
    }

    /// A layer's outputs as means and clipped log-variances.
    fn gaussian(&self, outputs: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mean, log_var) = outputs.split_at(self.z.len());
        (mean.to_vec(), log_var.iter().map(|x| clip_to(*x, LATENT_LOG_VAR)).collect())
    }

    /// KL(q‖p) of `z` from the prior.
    fn surprise(&self) -> f64 {
        let (prior_mean, prior_log_var) = self.prior();
        let mut total = 0.0;
        for (((mq, lq), mp), lp) in self.z.iter().zip(&self.z_log_var).zip(prior_mean).zip(prior_log_var) {
            total += 0.5 * ((lq - lp).exp() + (mq - mp) * (mq - mp) * (-lp).exp() - (lq - lp) - 1.0);
        }
        total
    }

    /// The heads of the state as it stands. `position` as [`PositionInput`](crate::PositionInput), in its order.
    #[must_use]
    pub fn heads(&self, position: [f32; 3]) -> ReferenceHeads {
        let s: Vec<f64> = self.h.iter().chain(&self.z).copied().collect();
        let clip = f64::from(crate::INPUT_CLIP);
        let [held, half_spread, fee] = position.map(f64::from);
        let cost = f64::from(crate::COST_SCALE_BPS);
        let inputs = [held, half_spread / cost, fee / cost].map(|x| x.clamp(-clip, clip));
        let joined: Vec<f64> = s.iter().copied().chain(inputs).collect();
        let hidden: Vec<f64> = self.layer("controller.0", &joined).into_iter().map(|x| x.max(0.0)).collect();
        let odds: Vec<f64> = self.layer("regime", &s).into_iter().map(f64::exp).collect();
        let total: f64 = odds.iter().sum();
        let one = |values: Vec<f64>| values.first().copied().unwrap_or(f64::NAN);
        ReferenceHeads {
            return_mean: self.layer("return_mean", &s),
            return_log_var: self.layer("return_log_var", &s).into_iter().map(|x| clip_to(x, RETURN_LOG_VAR)).collect(),
            up_probability: sigmoid(one(self.layer("up", &s))),
            regimes: odds.into_iter().map(|odds| odds / total).collect(),
            action: one(self.layer("controller.2", &hidden)).tanh(),
            surprise: self.surprise(),
        }
    }

    /// One step without an observation: the GRU step, then `z` is the prior's mean.
    pub fn imagine(&mut self) {
        self.advance();
        (self.z, self.z_log_var) = self.prior();
    }

    /// The GRU step.
    pub fn advance(&mut self) {
        let get = |name: &str| self.tensors.data(&format!("gru.{name}")).map(widen).unwrap_or_default();
        let cell = Cell {
            weight_ih: get("weight_ih"),
            weight_hh: get("weight_hh"),
            bias_ih: get("bias_ih"),
            bias_hh: get("bias_hh"),
        };
        self.h = cell.gru(&self.z, &self.h);
    }

    /// The observation that the state implies, scaled.
    #[must_use]
    pub fn reconstruct(&self) -> Vec<f64> {
        let s: Vec<f64> = self.h.iter().chain(&self.z).copied().collect();
        let hidden: Vec<f64> = self.layer("decoder.0", &s).into_iter().map(silu).collect();
        self.layer("decoder.2", &hidden)
    }
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn clip_to(x: f64, (low, high): (f32, f32)) -> f64 {
    x.clamp(f64::from(low), f64::from(high))
}
