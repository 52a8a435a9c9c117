//! The world model's losses over a whole chunk, as one graph of burn operations, and one training step around the core.

use std::ops::Range;

use burn::tensor::activation::log_sigmoid;

use crate::graph::{Leaves, Matrix, columns, elements, matrix, silu};
use crate::params::{Array, Params};
use crate::real::Real;
use crate::world_core::{self, CoreWeights, Incoming, LATENT_LOG_VAR, Lengths, Tape};

/// The return's log-variance is clipped to this, as in the kernel.
pub(crate) const RETURN_LOG_VAR: (f64, f64) = (-40.0, 10.0);

/// Weights of the parts of the loss, from the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossWeights {
    /// Of the mean squared error over features.
    pub(crate) reconstruction: f64,
    /// Of KL(q‖p), nats summed over Z.
    pub(crate) kl: f64,
    /// Nats below which the KL of a row is free.
    pub(crate) free_nats: f64,
    /// Share of the KL's gradient that moves the prior; the rest moves the posterior. 0 < balance ≤ 1.
    pub(crate) kl_balance: f64,
    /// Of the Gaussian negative log-likelihood, mean over horizons.
    pub(crate) return_nll: f64,
    /// Of the cross-entropy of the up-move.
    pub(crate) direction: f64,
}

/// A chunk of `steps` × `lanes` rows, step-major. Weights are 0 for rows that do not count.
#[derive(Clone, Debug)]
pub(crate) struct Chunk<T> {
    pub(crate) steps: usize,
    pub(crate) lanes: usize,
    /// Scaled, clipped features [rows, D].
    pub(crate) x: Vec<T>,
    /// 1 for a row whose reconstruction and KL count.
    pub(crate) row_weight: Vec<T>,
    /// Standardised returns [rows, N], 0 where unknown.
    pub(crate) returns: Vec<T>,
    /// 1 where the return is known and counts.
    pub(crate) return_weight: Vec<T>,
    /// 1 for an up-move over the first horizon.
    pub(crate) up: Vec<T>,
}

/// Sums over the rows that count, and their numbers, so that means over chunks are exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LossSums {
    /// Squared errors, mean over features.
    pub(crate) reconstruction: f64,
    pub(crate) kl: f64,
    /// KL after free nats.
    pub(crate) kl_charged: f64,
    pub(crate) rows: f64,
    /// Per horizon: negative log-likelihood of the standardised return, and how many.
    pub(crate) return_nll: Vec<(f64, f64)>,
    /// Cross-entropy of the up-move and how many.
    pub(crate) direction: (f64, f64),
}

impl LossSums {
    pub(crate) fn add(&mut self, other: &Self) {
        self.reconstruction += other.reconstruction;
        self.kl += other.kl;
        self.kl_charged += other.kl_charged;
        self.rows += other.rows;
        self.return_nll.resize(other.return_nll.len().max(self.return_nll.len()), (0.0, 0.0));
        for (to, from) in self.return_nll.iter_mut().zip(&other.return_nll) {
            *to = (to.0 + from.0, to.1 + from.1);
        }
        self.direction = (self.direction.0 + other.direction.0, self.direction.1 + other.direction.1);
    }
}

/// Widths of a world model and the horizons' logarithm of the squared standard deviation, `2·ln σ`.
#[derive(Clone, Debug)]
pub(crate) struct WorldShape {
    pub(crate) e: usize,
    pub(crate) h: usize,
    pub(crate) z: usize,
    pub(crate) return_log_scale: Vec<f64>,
}

impl WorldShape {
    fn lengths<T>(&self, chunk: &Chunk<T>) -> Lengths {
        Lengths { steps: chunk.steps, lanes: chunk.lanes, h: self.h, z: self.z }
    }
}

/// What a step gives.
pub(crate) struct Step<T> {
    pub(crate) sums: LossSums,
    /// Of the chunk's loss; empty when none was asked for.
    pub(crate) gradients: Params<T>,
    /// The deterministic state at the start of the next chunk, [lanes, H].
    pub(crate) h_last: Vec<T>,
}

/// The network with its weights.
pub(crate) struct World<'a, T> {
    pub(crate) shape: &'a WorldShape,
    pub(crate) params: &'a Params<T>,
}

/// Layers that the losses reach without the core.
fn is_head(name: &str) -> bool {
    ["prior.", "return_mean.", "return_log_var.", "up.", "decoder."].iter().any(|prefix| name.starts_with(prefix))
}

fn is_encoder(name: &str) -> bool {
    name.starts_with("encoder.") || name.starts_with("posterior.")
}

impl<T: Real> World<'_, T> {
    fn core_weights(&self) -> CoreWeights<T> {
        let get = |name: &str| self.params.data(&format!("gru.{name}")).to_vec();
        let posterior = self.params.0.get("posterior.weight").map(|array| array.column_range(0, self.shape.h));
        CoreWeights {
            ih: get("weight_ih"),
            hh: get("weight_hh"),
            bias_ih: get("bias_ih"),
            bias_hh: get("bias_hh"),
            posterior: posterior.unwrap_or_default(),
        }
    }

    /// The encoding's half of the posterior, [rows, 2Z], over the whole chunk at once.
    fn encode(&self, leaves: &Leaves, x: &[T], rows: usize) -> Matrix {
        let x = matrix(x.to_vec(), rows, &leaves.device);
        let e = silu(leaves.linear("encoder.0", x));
        let e = silu(leaves.linear("encoder.2", e));
        let weight = columns(leaves.get("posterior.weight"), self.shape.h, self.shape.e);
        e.matmul(weight.transpose()) + leaves.get("posterior.bias")
    }

    /// The forward pass of a chunk without losses: what the heads and the diagnostics see.
    pub(crate) fn latents(&self, (x, lanes): (&[T], usize), steps: usize, start: &[T]) -> Tape<T> {
        let leaves = Leaves::of(self.params, false, is_encoder);
        let a = elements(self.encode(&leaves, x, steps * lanes));
        let lengths = Lengths { steps, lanes, h: self.shape.h, z: self.shape.z };
        world_core::forward(lengths, &self.core_weights(), &a, None, start)
    }

    /// Losses of a chunk at posterior means, without gradients.
    pub(crate) fn evaluate(&self, chunk: &Chunk<T>, start: &[T], weights: &LossWeights) -> Step<T> {
        let lengths = self.shape.lengths(chunk);
        let tape = self.latents((&chunk.x, chunk.lanes), chunk.steps, start);
        let leaves = Leaves::of(self.params, false, is_head);
        let state = self.state(&leaves, &tape, &lengths);
        let losses = self.losses(&leaves, &state, (chunk, &chunk.counts()), weights);
        let h_last = tape.h_last(&lengths).to_vec();
        Step { sums: losses.sums(chunk, weights), gradients: Params::default(), h_last }
    }

    /// Losses of a chunk at posterior samples, and the gradients of the weighted loss.
    pub(crate) fn step(&self, chunk: &Chunk<T>, noise: &[T], start: &[T], weights: &LossWeights) -> Step<T> {
        self.step_of(chunk, &chunk.counts(), (noise, start), weights)
    }

    /// The same with the lanes shared out to threads. The result depends on their number (sums are made per share, then in
    /// the order of the shares), not on how they run.
    pub(crate) fn step_shared(
        &self,
        chunk: &Chunk<T>,
        (noise, start): (&[T], &[T]),
        weights: &LossWeights,
        threads: usize,
    ) -> Step<T> {
        let threads = threads.clamp(1, chunk.lanes.max(1));
        if threads == 1 {
            return self.step(chunk, noise, start, weights);
        }
        let (counts, lanes) = (chunk.counts(), chunk.lanes);
        let bound = |share: usize| share * lanes / threads;
        let shares: Vec<_> = (0..threads)
            .map(|share| {
                let range = bound(share)..bound(share + 1);
                let noise = lanes_of(noise, lanes, self.shape.z, &range);
                (chunk.share(&range), noise, start[range.start * self.shape.h..range.end * self.shape.h].to_vec())
            })
            .collect();
        let steps: Vec<Step<T>> = std::thread::scope(|scope| {
            let spawn = |(chunk, noise, start): &'_ (Chunk<T>, Vec<T>, Vec<T>)| {
                self.step_of(chunk, &counts, (noise, start), weights)
            };
            let running: Vec<_> = shares.iter().skip(1).map(|share| scope.spawn(move || spawn(share))).collect();
            let first = shares.first().map(spawn);
            let rest = running.into_iter().map(|thread| match thread.join() {
                Ok(step) => step,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            first.into_iter().chain(rest).collect()
        });
        steps.into_iter().reduce(Step::join).unwrap_or_else(|| self.step(chunk, noise, start, weights))
    }

    fn step_of(
        &self,
        chunk: &Chunk<T>,
        counts: &Counts,
        (noise, start): (&[T], &[T]),
        weights: &LossWeights,
    ) -> Step<T> {
        let lengths = self.shape.lengths(chunk);
        let encoder = Leaves::of(self.params, true, is_encoder);
        let a = self.encode(&encoder, &chunk.x, chunk.steps * chunk.lanes);
        let core_weights = self.core_weights();
        let a_values = elements(a.clone().inner());
        let tape = world_core::forward(lengths, &core_weights, &a_values, Some(noise), start);

        let mut leaves = Leaves::of(self.params, true, is_head);
        let state = self.tracked_state(&mut leaves, &tape, &lengths);
        let losses = self.losses(&leaves, &state, (chunk, counts), weights);
        let sums = losses.sums(chunk, weights);
        let mut gradients: Params<T> = leaves.gradients(losses.total.backward());

        let [h, z, mut q] = ["h", "z", "q"].map(|name| gradients.0.remove(name).unwrap_or_default().data);
        // The posterior's own share of the KL; the graph carries the prior's.
        let share = T::of((1.0 - weights.kl_balance) / weights.kl_balance);
        q.iter_mut().for_each(|x| *x = *x * share);
        let incoming = Incoming { h: &h, z: &z, q: &q };
        let core = world_core::backward(lengths, &core_weights, &tape, Some(noise), &incoming);
        let rows = chunk.steps * chunk.lanes;
        let through = matrix(core.a, rows, &encoder.device);
        gradients.0.append(&mut encoder.gradients((a * through).sum().backward()).0);
        self.add_core(&mut gradients, &core.weights);
        Step { sums, gradients, h_last: tape.h_last(&lengths).to_vec() }
    }

    fn state(&self, leaves: &Leaves, tape: &Tape<T>, lengths: &Lengths) -> [Matrix; 3] {
        let rows = lengths.steps * lengths.lanes;
        [tape.h_seen(lengths), &tape.z, &tape.q].map(|from| matrix(from.to_vec(), rows, &leaves.device))
    }

    /// The core's outputs as leaves, whose gradients go back into it.
    fn tracked_state(&self, leaves: &mut Leaves, tape: &Tape<T>, lengths: &Lengths) -> [Matrix; 3] {
        let rows = lengths.steps * lengths.lanes;
        let mut insert = |name: &str, data: &[T]| {
            leaves.insert(name, &Array::new(vec![rows, data.len() / rows.max(1)], data.to_vec()))
        };
        [insert("h", tape.h_seen(lengths)), insert("z", &tape.z), insert("q", &tape.q)]
    }

    fn add_core(&self, gradients: &mut Params<T>, core: &CoreWeights<T>) {
        let (h, z) = (self.shape.h, self.shape.z);
        gradients.insert("gru.weight_ih", vec![3 * h, z], core.ih.clone());
        gradients.insert("gru.weight_hh", vec![3 * h, h], core.hh.clone());
        gradients.insert("gru.bias_ih", vec![3 * h], core.bias_ih.clone());
        gradients.insert("gru.bias_hh", vec![3 * h], core.bias_hh.clone());
        if let Some(posterior) = gradients.0.get_mut("posterior.weight") {
            let width = posterior.columns();
            for (row, from) in posterior.data.chunks_exact_mut(width).zip(core.posterior.chunks_exact(h)) {
                row.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
            }
        }
    }

    /// The graph of all losses.
    fn losses(
        &self,
        leaves: &Leaves,
        [h, z, q]: &[Matrix; 3],
        (chunk, counts): (&Chunk<T>, &Counts),
        weights: &LossWeights,
    ) -> Losses {
        let rows = chunk.steps * chunk.lanes;
        let make = |data: &[T]| matrix(data.to_vec(), rows, &leaves.device);
        let s = Matrix::cat(vec![h.clone(), z.clone()], 1);
        let x = make(&chunk.x);
        let decoded = leaves.linear("decoder.2", silu(leaves.linear("decoder.0", s.clone())));
        let squared = (decoded - x).square().mean_dim(1);
        let kl = self.kl(leaves, h, q);
        let charged = kl.clone().clamp_min(weights.free_nats);
        let (return_nll, up) = self.heads(leaves, s, &make(&chunk.returns));
        // −y·ln σ(l) − (1 − y)·ln σ(−l), with ln σ(−l) = ln σ(l) − l.
        let direction = (make(&chunk.up) * -1.0 + 1.0) * up.clone() - log_sigmoid(up);

        let per = |count: f64, weight: f64| if count > 0.0 { weight / count } else { 0.0 };
        let of_rows = squared.clone() * weights.reconstruction + charged * (weights.kl * weights.kl_balance);
        let horizons = f64::from(u32::try_from(counts.returns.len()).unwrap_or(1).max(1));
        let scales = counts.returns.iter().map(|count| T::of(per(*count, weights.return_nll / horizons))).collect();
        let return_scale = matrix::<T>(scales, 1, &leaves.device);
        let first_weight = chunk.first_return_weight();
        let total = (of_rows * make(&chunk.row_weight)).sum() * per(counts.rows, 1.0)
            + (return_nll.clone() * make(&chunk.return_weight) * return_scale).sum()
            + (direction.clone() * make(&first_weight)).sum() * per(counts.direction(), weights.direction);
        Losses { total, squared, kl, return_nll, direction }
    }

    /// KL(q‖p) per row in nats, [rows, 1].
    fn kl(&self, leaves: &Leaves, h: &Matrix, q: &Matrix) -> Matrix {
        let z = self.shape.z;
        let p = leaves.linear("prior", h.clone());
        let clip = |x: Matrix| columns(x, z, z).clamp(LATENT_LOG_VAR.0, LATENT_LOG_VAR.1);
        let (log_q, log_p) = (clip(q.clone()), clip(p.clone()));
        let distance = columns(q.clone(), 0, z) - columns(p, 0, z);
        let ratio = log_q - log_p.clone();
        (ratio.clone().exp() + distance.square() * log_p.neg().exp() - ratio - 1.0).sum_dim(1) * 0.5
    }

    /// Negative log-likelihood per row and horizon (of the standardised return, without ½·ln 2π), and the up-move's logit.
    fn heads(&self, leaves: &Leaves, s: Matrix, returns: &Matrix) -> (Matrix, Matrix) {
        let count = self.shape.return_log_scale.len();
        let both = |part: &str| {
            let name = |head: &str| leaves.get(&format!("{head}.{part}"));
            [name("return_mean"), name("return_log_var"), name("up")]
        };
        let weight = Matrix::cat(both("weight").to_vec(), 0);
        let bias = Matrix::cat(both("bias").to_vec(), 1);
        let out = s.matmul(weight.transpose()) + bias;
        let scale = self.shape.return_log_scale.iter().map(|scale| T::of(*scale)).collect();
        let scale = matrix::<T>(scale, 1, &leaves.device);
        // Clipped where the kernel clips: in the unit of the exported weights.
        let log_var = columns(out.clone(), count, count) + scale.clone();
        let log_var = log_var.clamp(RETURN_LOG_VAR.0, RETURN_LOG_VAR.1) - scale;
        let error = returns.clone() - columns(out.clone(), 0, count);
        let nll = (error.square() * log_var.clone().neg().exp() + log_var) * 0.5;
        (nll, columns(out, 2 * count, 1))
    }
}

impl<T: Real> Step<T> {
    /// Two shares of one chunk, the first lanes first.
    fn join(mut self, other: Self) -> Self {
        self.sums.add(&other.sums);
        for (name, array) in &other.gradients.0 {
            self.gradients.accumulate(name, &array.shape, &array.data);
        }
        self.h_last.extend(other.h_last);
        self
    }
}

/// Of [steps, lanes, width], the lanes of a range.
fn lanes_of<T: Real>(data: &[T], lanes: usize, width: usize, range: &Range<usize>) -> Vec<T> {
    let steps = data.chunks_exact((lanes * width).max(1));
    steps.flat_map(|step| step[range.start * width..range.end * width].iter().copied()).collect()
}

struct Losses {
    total: burn::tensor::Tensor<1>,
    squared: Matrix,
    kl: Matrix,
    return_nll: Matrix,
    direction: Matrix,
}

impl Losses {
    fn sums<T: Real>(&self, chunk: &Chunk<T>, weights: &LossWeights) -> LossSums {
        let read = |from: &Matrix| elements::<T>(from.clone().inner());
        let counts = chunk.counts();
        let dot = |values: &[T], weights: &[T]| {
            let products = values.iter().zip(weights).filter(|(_, weight)| **weight != T::ZERO);
            products.map(|(value, weight)| value.wide() * weight.wide()).sum::<f64>()
        };
        let kl = read(&self.kl);
        let charged: Vec<T> = kl.iter().map(|kl| T::of(kl.wide().max(weights.free_nats))).collect();
        let nll = read(&self.return_nll);
        let horizons = counts.returns.len();
        let column = |values: &[T], index: usize| values.iter().skip(index).step_by(horizons.max(1)).copied().collect();
        let return_nll = counts.returns.iter().enumerate().map(|(index, count)| {
            let (values, weights): (Vec<T>, Vec<T>) = (column(&nll, index), column(&chunk.return_weight, index));
            (dot(&values, &weights), *count)
        });
        LossSums {
            reconstruction: dot(&read(&self.squared), &chunk.row_weight),
            kl: dot(&kl, &chunk.row_weight),
            kl_charged: dot(&charged, &chunk.row_weight),
            rows: counts.rows,
            return_nll: return_nll.collect(),
            direction: (dot(&read(&self.direction), &chunk.first_return_weight()), counts.direction()),
        }
    }
}

/// How many rows count for each part.
struct Counts {
    rows: f64,
    returns: Vec<f64>,
}

impl Counts {
    fn direction(&self) -> f64 {
        self.returns.first().copied().unwrap_or(0.0)
    }
}

impl<T: Real> Chunk<T> {
    /// The lanes of a range.
    fn share(&self, range: &Range<usize>) -> Self {
        let rows = (self.steps * self.lanes).max(1);
        let part = |data: &[T]| lanes_of(data, self.lanes, data.len() / rows, range);
        Self {
            steps: self.steps,
            lanes: range.len(),
            x: part(&self.x),
            row_weight: part(&self.row_weight),
            returns: part(&self.returns),
            return_weight: part(&self.return_weight),
            up: part(&self.up),
        }
    }

    fn counts(&self) -> Counts {
        let horizons = self.horizons();
        let mut returns = vec![0.0; horizons];
        for row in self.return_weight.chunks_exact(horizons.max(1)) {
            returns.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight.wide());
        }
        Counts { rows: self.row_weight.iter().map(|weight| weight.wide()).sum(), returns }
    }

    fn horizons(&self) -> usize {
        self.return_weight.len() / (self.steps * self.lanes).max(1)
    }

    /// Weights of the first horizon, which the direction head shares.
    fn first_return_weight(&self) -> Vec<T> {
        self.return_weight.iter().step_by(self.horizons().max(1)).copied().collect()
    }
}
