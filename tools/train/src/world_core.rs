//! The recurrent core of the world model over a whole chunk of time steps, forwards and backwards by hand.
//!
//! One step at t: the posterior `q = a_t + W_q·h_t` (`a_t` is the encoding's half, made for the whole chunk at once), the
//! sample `z_t = μ + e^{λ/2}·ε_t` and `h_{t+1} = GRU(z_t, h_t)`. Everything else (encoder, prior, heads, decoder, losses) has no
//! recurrence and is left to burn over the whole chunk. Why by hand: as burn operations a step takes about 35 of them on
//! matrices of a few hundred elements, and their bookkeeping costs several times the arithmetic. The twin made of burn
//! operations alone is `layers::world_twin`; a test holds values and gradients against it.
//!
//! Layout: arrays are [steps, lanes, width], so that one step is one contiguous block.

use pulp::{Arch, NullaryFnOnce};

use crate::gemm::{Left, add_rows, gemm, transpose};
use crate::real::Real;

/// The posterior's log-variance is clipped to this, as in the kernel.
pub(crate) const LATENT_LOG_VAR: (f64, f64) = (-10.0, 4.0);

/// Lengths of a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) steps: usize,
    pub(crate) lanes: usize,
    pub(crate) h: usize,
    pub(crate) z: usize,
}

impl Lengths {
    fn rows(&self) -> usize {
        self.steps * self.lanes
    }
}

/// The core's weights as PyTorch has them; `posterior` are the columns of `posterior.weight` that meet `h`, [2Z, H].
#[derive(Clone, Debug, Default)]
pub(crate) struct CoreWeights<T> {
    pub(crate) ih: Vec<T>,
    pub(crate) hh: Vec<T>,
    pub(crate) bias_ih: Vec<T>,
    pub(crate) bias_hh: Vec<T>,
    pub(crate) posterior: Vec<T>,
}

/// What the forward pass leaves behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape<T> {
    /// `h_0 … h_T`: [steps + 1, lanes, H].
    pub(crate) h: Vec<T>,
    /// Samples of the stochastic state, or its means: [steps, lanes, Z].
    pub(crate) z: Vec<T>,
    /// Posterior means, then log-variances before clipping: [steps, lanes, 2Z].
    pub(crate) q: Vec<T>,
    /// Reset, update and new gates: [steps, lanes, 3H].
    gates: Vec<T>,
    /// `W_hn·h + b_hn`: [steps, lanes, H].
    hidden_new: Vec<T>,
}

impl<T: Real> Tape<T> {
    /// `h_0 … h_{T−1}`, what the heads see.
    pub(crate) fn h_seen(&self, lengths: &Lengths) -> &[T] {
        &self.h[..lengths.rows() * lengths.h]
    }

    /// `h_T`, where the next chunk begins.
    pub(crate) fn h_last(&self, lengths: &Lengths) -> &[T] {
        &self.h[lengths.rows() * lengths.h..]
    }
}

/// Gradients that reach the core from the losses, shaped as the tape's `h_seen`, `z` and `q`.
pub(crate) struct Incoming<'a, T> {
    pub(crate) h: &'a [T],
    pub(crate) z: &'a [T],
    pub(crate) q: &'a [T],
}

/// Gradients that leave the core; `a` is that of the encoding's half of the posterior, [steps, lanes, 2Z].
#[derive(Clone, Debug, Default)]
pub(crate) struct CoreGradients<T> {
    pub(crate) weights: CoreWeights<T>,
    pub(crate) a: Vec<T>,
}

/// Runs a chunk. `noise` [steps, lanes, Z] are standard normal draws; without them `z` is the posterior mean.
pub(crate) fn forward<T: Real>(
    lengths: Lengths,
    weights: &CoreWeights<T>,
    a: &[T],
    noise: Option<&[T]>,
    start: &[T],
) -> Tape<T> {
    let mut tape = Tape {
        h: vec![T::ZERO; (lengths.rows() + lengths.lanes) * lengths.h],
        z: vec![T::ZERO; lengths.rows() * lengths.z],
        q: a.to_vec(),
        gates: vec![T::ZERO; lengths.rows() * 3 * lengths.h],
        hidden_new: vec![T::ZERO; lengths.rows() * lengths.h],
    };
    tape.h[..start.len()].copy_from_slice(start);
    // One product with h serves the gates and the posterior: [H, 3H + 2Z].
    let stacked: Vec<T> = weights.hh.iter().chain(&weights.posterior).copied().collect();
    let (from_h, from_z) = (transpose(&stacked, lengths.h), transpose(&weights.ih, lengths.z));
    Arch::new().dispatch(Forward { lengths, weights, from_h: &from_h, from_z: &from_z, noise, tape: &mut tape });
    tape
}

struct Forward<'a, T> {
    lengths: Lengths,
    weights: &'a CoreWeights<T>,
    from_h: &'a [T],
    from_z: &'a [T],
    noise: Option<&'a [T]>,
    tape: &'a mut Tape<T>,
}

impl<T: Real> NullaryFnOnce for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Lengths { steps, lanes, h, z } = self.lengths;
        let wide = 3 * h + 2 * z;
        let (mut joined, mut input) = (vec![T::ZERO; lanes * wide], vec![T::ZERO; lanes * 3 * h]);
        let tape = self.tape;
        for step in 0..steps {
            let (seen, rest) = tape.h[step * lanes * h..].split_at_mut(lanes * h);
            gemm((lanes, h, wide), Left::rows(seen, h), self.from_h, &mut joined, false);
            let noise = self.noise.map(|noise| &noise[step * lanes * z..(step + 1) * lanes * z]);
            let q = &mut tape.q[step * lanes * 2 * z..(step + 1) * lanes * 2 * z];
            let sample = &mut tape.z[step * lanes * z..(step + 1) * lanes * z];
            for lane in 0..lanes {
                let products = &joined[lane * wide + 3 * h..(lane + 1) * wide];
                let noise = noise.map(|noise| &noise[lane * z..(lane + 1) * z]);
                let q = &mut q[lane * 2 * z..(lane + 1) * 2 * z];
                draw(products, noise, q, &mut sample[lane * z..(lane + 1) * z]);
            }
            gemm((lanes, z, 3 * h), Left::rows(sample, z), self.from_z, &mut input, false);
            for lane in 0..lanes {
                let row = step * lanes + lane;
                let gates = &mut tape.gates[row * 3 * h..(row + 1) * 3 * h];
                let new = &mut tape.hidden_new[row * h..(row + 1) * h];
                let from = (&input[lane * 3 * h..(lane + 1) * 3 * h], &joined[lane * wide..lane * wide + 3 * h]);
                gate(self.weights, from, gates, new);
                move_on(gates, &seen[lane * h..(lane + 1) * h], &mut rest[lane * h..(lane + 1) * h]);
            }
        }
    }
}

/// Adds the product with `h` to the posterior and samples it.
#[inline(always)]
fn draw<T: Real>(products: &[T], noise: Option<&[T]>, q: &mut [T], sample: &mut [T]) {
    for (q, product) in q.iter_mut().zip(products) {
        *q += *product;
    }
    let (mean, log_var) = q.split_at(sample.len());
    match noise {
        None => sample.copy_from_slice(mean),
        Some(noise) => {
            let (low, high) = (T::of(LATENT_LOG_VAR.0), T::of(LATENT_LOG_VAR.1));
            for (((sample, mean), log_var), noise) in sample.iter_mut().zip(mean).zip(log_var).zip(noise) {
                let deviation = (log_var.larger(low).smaller(high) * T::HALF).exponential();
                *sample = deviation.fused(*noise, *mean);
            }
        }
    }
}

/// The three gates of one lane from their products with the input and with `h`.
#[inline(always)]
fn gate<T: Real>(weights: &CoreWeights<T>, from: (&[T], &[T]), gates: &mut [T], hidden_new: &mut [T]) {
    let h = hidden_new.len();
    let (bias_ih, bias_hh) = (&weights.bias_ih[..3 * h], &weights.bias_hh[..3 * h]);
    let (from_z, from_h) = (&from.0[..3 * h], &from.1[..3 * h]);
    let gates = &mut gates[..3 * h];
    for unit in 0..2 * h {
        gates[unit] = (from_z[unit] + bias_ih[unit] + from_h[unit] + bias_hh[unit]).logistic();
    }
    for unit in 0..h {
        let new = 2 * h + unit;
        hidden_new[unit] = from_h[new] + bias_hh[new];
        gates[new] = gates[unit].fused(hidden_new[unit], from_z[new] + bias_ih[new]).hyperbolic();
    }
}

/// `h' = n + u·(h − n)`.
#[inline(always)]
fn move_on<T: Real>(gates: &[T], seen: &[T], next: &mut [T]) {
    let h = seen.len();
    let (update, new) = (&gates[h..2 * h], &gates[2 * h..3 * h]);
    for (((next, seen), update), new) in next.iter_mut().zip(seen).zip(update).zip(new) {
        *next = update.fused(*seen - *new, *new);
    }
}

/// Back through a chunk. `noise` as it was given to [`forward`].
pub(crate) fn backward<T: Real>(
    lengths: Lengths,
    weights: &CoreWeights<T>,
    tape: &Tape<T>,
    noise: Option<&[T]>,
    incoming: &Incoming<'_, T>,
) -> CoreGradients<T> {
    let (h, z) = (lengths.h, lengths.z);
    let stacked: Vec<T> = weights.hh.iter().chain(&weights.posterior).copied().collect();
    let mut out = CoreGradients {
        weights: CoreWeights {
            ih: vec![T::ZERO; 3 * h * z],
            hh: vec![T::ZERO; (3 * h + 2 * z) * h],
            bias_ih: vec![T::ZERO; 3 * h],
            bias_hh: vec![T::ZERO; 3 * h],
            posterior: Vec::new(),
        },
        a: vec![T::ZERO; lengths.rows() * 2 * z],
    };
    let back = Backward { lengths, weights, stacked: &stacked, tape, noise, incoming };
    Arch::new().dispatch(BackwardInto(back, &mut out));
    out.weights.posterior = out.weights.hh.split_off(3 * h * h);
    out
}

struct Backward<'a, T> {
    lengths: Lengths,
    weights: &'a CoreWeights<T>,
    stacked: &'a [T],
    tape: &'a Tape<T>,
    noise: Option<&'a [T]>,
    incoming: &'a Incoming<'a, T>,
}

struct BackwardInto<'a, T>(Backward<'a, T>, &'a mut CoreGradients<T>);

impl<T: Real> NullaryFnOnce for BackwardInto<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(from, to) = self;
        let Lengths { steps, lanes, h, z } = from.lengths;
        let wide = 3 * h + 2 * z;
        // Gradients of the gates before their nonlinearity: with respect to the input's and to the hidden products.
        let mut d_input = vec![T::ZERO; steps * lanes * 3 * h];
        let mut d_hidden = vec![T::ZERO; steps * lanes * wide];
        let (mut d_next, mut d_seen) = (vec![T::ZERO; lanes * h], vec![T::ZERO; lanes * h]);
        let mut d_sample = vec![T::ZERO; lanes * z];
        for step in (0..steps).rev() {
            let row = step * lanes;
            let d_input = &mut d_input[row * 3 * h..(row + lanes) * 3 * h];
            let d_hidden = &mut d_hidden[row * wide..(row + lanes) * wide];
            d_seen.copy_from_slice(&from.incoming.h[row * h..(row + lanes) * h]);
            for lane in 0..lanes {
                let range = lane * h..(lane + 1) * h;
                let d_input = &mut d_input[lane * 3 * h..(lane + 1) * 3 * h];
                let d_hidden = &mut d_hidden[lane * wide..(lane + 1) * wide];
                from.back_gates(row + lane, &d_next[range.clone()], (d_input, d_hidden), &mut d_seen[range]);
            }
            d_sample.copy_from_slice(&from.incoming.z[row * z..(row + lanes) * z]);
            gemm((lanes, 3 * h, z), Left::rows(d_input, 3 * h), &from.weights.ih, &mut d_sample, true);
            for lane in 0..lanes {
                let d_q = &mut d_hidden[lane * wide + 3 * h..(lane + 1) * wide];
                from.back_sample(row + lane, &d_sample[lane * z..(lane + 1) * z], d_q);
                to.a[(row + lane) * 2 * z..(row + lane + 1) * 2 * z].copy_from_slice(d_q);
            }
            gemm((lanes, wide, h), Left::rows(d_hidden, wide), from.stacked, &mut d_seen, true);
            std::mem::swap(&mut d_next, &mut d_seen);
        }
        let rows = from.lengths.rows();
        let seen = from.tape.h_seen(&from.lengths);
        gemm((3 * h, rows, z), Left::transposed(&d_input, 3 * h), &from.tape.z, &mut to.weights.ih, false);
        gemm((wide, rows, h), Left::transposed(&d_hidden, wide), seen, &mut to.weights.hh, false);
        add_rows(&d_input, &mut to.weights.bias_ih);
        let mut d_bias = vec![T::ZERO; wide];
        add_rows(&d_hidden, &mut d_bias);
        to.weights.bias_hh.copy_from_slice(&d_bias[..3 * h]);
    }
}

impl<T: Real> Backward<'_, T> {
    /// From the gradient of `h'` to those of the gates, and the part that reaches `h` through the update gate.
    #[inline(always)]
    fn back_gates(&self, row: usize, d_next: &[T], (d_input, d_hidden): (&mut [T], &mut [T]), d_seen: &mut [T]) {
        let h = d_next.len();
        let gates = &self.tape.gates[row * 3 * h..(row + 1) * 3 * h];
        let (reset, rest) = gates.split_at(h);
        let (update, new) = rest.split_at(h);
        let hidden_new = &self.tape.hidden_new[row * h..(row + 1) * h];
        let seen = &self.tape.h[row * h..(row + 1) * h];
        let (d_seen, d_input, d_hidden) = (&mut d_seen[..h], &mut d_input[..3 * h], &mut d_hidden[..3 * h]);
        for unit in 0..h {
            let (r, u, n, d) = (reset[unit], update[unit], new[unit], d_next[unit]);
            let d_new = d * (T::ONE - u) * (T::ONE - n * n);
            let d_update = d * (seen[unit] - n) * u * (T::ONE - u);
            let d_reset = d_new * hidden_new[unit] * r * (T::ONE - r);
            d_input[unit] = d_reset;
            d_input[h + unit] = d_update;
            d_input[2 * h + unit] = d_new;
            d_hidden[unit] = d_reset;
            d_hidden[h + unit] = d_update;
            d_hidden[2 * h + unit] = d_new * r;
            d_seen[unit] += d * u;
        }
    }

    /// From the gradient of the sample to that of the posterior, whose own losses are added.
    #[inline(always)]
    fn back_sample(&self, row: usize, d_sample: &[T], d_q: &mut [T]) {
        let z = d_sample.len();
        d_q.copy_from_slice(&self.incoming.q[row * 2 * z..(row + 1) * 2 * z]);
        let (d_mean, d_log_var) = d_q.split_at_mut(z);
        for (d_mean, d) in d_mean.iter_mut().zip(d_sample) {
            *d_mean += *d;
        }
        if self.noise.is_none() {
            return;
        }
        let (low, high) = (T::of(LATENT_LOG_VAR.0), T::of(LATENT_LOG_VAR.1));
        let (mean, log_var) = self.tape.q[row * 2 * z..(row + 1) * 2 * z].split_at(z);
        let sample = &self.tape.z[row * z..(row + 1) * z];
        for (unit, d) in d_log_var.iter_mut().enumerate() {
            let is_free = log_var[unit] >= low && log_var[unit] <= high;
            let slope = (sample[unit] - mean[unit]) * T::HALF;
            *d += if is_free { d_sample[unit] * slope } else { T::ZERO };
        }
    }
}
