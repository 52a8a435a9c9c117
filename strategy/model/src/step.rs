//! The two halves of one step, written once over [`Simd`] and compiled for each backend and size.
#![deny(clippy::arithmetic_side_effects)]

use std::marker::PhantomData;

use crate::format::{F32, Format, Plan, in_memory};
use crate::heads::{HORIZON_COUNT_MAX, Heads, INPUT_CLIP, NonFinite, Regime};
use crate::latent::Parts;
use crate::math::{exp, sigmoid, silu, tanh};
use crate::matvec::{dense, load_all, store_all};
use crate::simd::{Block, LANE_COUNT, Simd, Task};
use crate::size::{
    DB_MAX, EB_MAX, HB_MAX, POSITION_WIDTH, Shape, ZB_MAX, advance_blocks, gru_blocks, head_blocks, matrix_blocks,
    observe_blocks,
};

/// Log-variances of prior and posterior are clipped to this range, nats.
pub(crate) const LATENT_LOG_VAR: (f32, f32) = (-10.0, 4.0);
/// Log-variances of returns are clipped to this range, nats.
pub(crate) const RETURN_LOG_VAR: (f32, f32) = (-40.0, 10.0);
/// Lane of the heads' block that holds the up-move's logit; return means and log-variances come before it.
pub(crate) const UP_LANE: usize = 2 * HORIZON_COUNT_MAX;
/// Lane of the first regime's logit.
pub(crate) const REGIME_LANE: usize = UP_LANE + 1;
/// Hidden units of the controller.
pub(crate) const CONTROLLER_WIDTH: usize = LANE_COUNT;

/// From an event's features to the heads.
pub(crate) struct Observe<'a, D, P> {
    pub(crate) weights: &'a [Block],
    pub(crate) latent: &'a mut [Block],
    pub(crate) x: &'a [f32],
    pub(crate) readout: Readout,
    pub(crate) shape: PhantomData<(D, P)>,
}

impl<D: Shape, P: Plan> Task for Observe<'_, D, P> {
    type Output = Result<Heads, NonFinite>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        observe::<S, D, P>(s, self).unwrap_or(Err(NonFinite::Size))
    }
}

/// `None` when model or latent are not of shape `D`.
#[inline(always)]
fn observe<S: Simd, D: Shape, P: Plan>(s: S, task: Observe<'_, D, P>) -> Option<Result<Heads, NonFinite>> {
    if task.weights.len() != const { observe_blocks::<P>(D::DB, D::EB, D::ZB) } {
        return None;
    }
    let latent = Parts::split::<D>(task.latent)?;
    let (scaler, rest) = task.weights.split_at_checked(const { 2 * D::DB })?;
    let (bias_0, rest) = rest.split_at_checked(D::EB)?;
    let (panels_0, rest) = rest.split_at_checked(const { matrix_blocks::<P::Fine>(D::EB, D::DB) })?;
    let (bias_2, rest) = rest.split_at_checked(D::EB)?;
    let (panels_2, rest) = rest.split_at_checked(const { matrix_blocks::<P::Fine>(D::EB, D::EB) })?;
    let (posterior, rest) = rest.split_at_checked(const { matrix_blocks::<P::Fine>(2 * D::ZB, D::EB) })?;

    let (mut scaled, mut first, mut second) = ([Block::ZERO; DB_MAX], [Block::ZERO; EB_MAX], [Block::ZERO; EB_MAX]);
    let scaled = scaled.get_mut(..D::DB)?;
    if !scale_features(s, scaler, task.x, scaled) {
        return Some(Err(first_bad_feature(task.x, D::D)));
    }
    let (first, second) = (first.get_mut(..D::EB)?, second.get_mut(..D::EB)?);
    let mut room = [FineRoom::<P>::default(); if DB_MAX > EB_MAX { DB_MAX } else { EB_MAX }];
    dense::<S, P::Fine>(s, panels_0, P::Fine::prepare(s, scaled, &mut room), bias_0, first);
    silu_all(s, first);
    dense::<S, P::Fine>(s, panels_2, P::Fine::prepare(s, first, &mut room), bias_2, second);
    silu_all(s, second);

    let mut q = [Block::ZERO; 2 * ZB_MAX];
    let q = q.get_mut(..const { 2 * D::ZB })?;
    dense::<S, P::Fine>(s, posterior, P::Fine::prepare(s, second, &mut room), latent.posterior_h, q);
    let (mean, log_var) = q.split_at_checked(D::ZB)?;
    latent.z.iter_mut().zip(mean).for_each(|(to, from)| *to = *from);
    for (raw, clipped) in log_var.iter().zip(&mut *latent.z_log_var) {
        s.store(clip(s, s.load(&raw.0), LATENT_LOG_VAR), &mut clipped.0);
    }
    Some(all_heads(s, rest, &latent, &task.readout))
}

/// The heads and the surprise of a latent whose `z` is given.
#[inline(always)]
fn all_heads<S: Simd>(s: S, weights: &[Block], latent: &Parts<'_>, readout: &Readout) -> Result<Heads, NonFinite> {
    let surprise = surprise(s, latent);
    let (heads, is_finite) = heads(s, weights, latent, readout).ok_or(NonFinite::Size)?;
    let is_finite = is_finite && surprise.is_finite() && latent.z.iter().all(|block| s.is_finite(s.load(&block.0)));
    if is_finite { Ok(Heads { surprise, ..heads }) } else { Err(NonFinite::Output) }
}

/// What the heads need beside weights and latent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readout {
    /// Position, half-spread and fee as the controller takes them.
    pub(crate) position: [f32; POSITION_WIDTH],
    pub(crate) regime_count: usize,
    pub(crate) horizon_count: u32,
}

/// The heads of the latent as it stands.
pub(crate) struct ReadHeads<'a, D> {
    pub(crate) weights: &'a [Block],
    pub(crate) latent: &'a mut [Block],
    pub(crate) readout: Readout,
    pub(crate) shape: PhantomData<D>,
}

impl<D: Shape> Task for ReadHeads<'_, D> {
    type Output = Result<Heads, NonFinite>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let before = self.weights.len().wrapping_sub(const { head_blocks(D::ZB) });
        let Some((_, weights)) = self.weights.split_at_checked(before) else { return Err(NonFinite::Size) };
        let Some(latent) = Parts::split::<D>(self.latent) else { return Err(NonFinite::Size) };
        all_heads(s, weights, &latent, &self.readout)
    }
}

/// Scales and clips the features; false when one is not finite or their number is wrong.
#[inline(always)]
fn scale_features<S: Simd>(s: S, scaler: &[Block], x: &[f32], to: &mut [Block]) -> bool {
    let (x, rest) = x.as_chunks::<LANE_COUNT>();
    if x.len() != to.len() || !rest.is_empty() {
        return false;
    }
    let mut is_finite = true;
    let (median, inv_iqr) = scaler.split_at(to.len());
    for (((x, to), median), inv_iqr) in x.iter().zip(to).zip(median).zip(inv_iqr) {
        let raw = s.load(x);
        is_finite &= s.is_finite(raw);
        let scaled = s.mul(s.sub(raw, s.load(&median.0)), s.load(&inv_iqr.0));
        let clipped = s.min(s.splat(INPUT_CLIP), s.max(s.splat(-INPUT_CLIP), scaled));
        s.store(clipped, &mut to.0);
    }
    is_finite
}

#[cold]
fn first_bad_feature(x: &[f32], count: usize) -> NonFinite {
    let bad = x.iter().take(count).position(|x| !x.is_finite()).unwrap_or(x.len().min(count));
    NonFinite::Feature { index: u32::try_from(bad).unwrap_or(u32::MAX) }
}

#[inline(always)]
fn silu_all<S: Simd>(s: S, blocks: &mut [Block]) {
    for block in blocks {
        s.store(silu(s, s.load(&block.0)), &mut block.0);
    }
}

#[inline(always)]
fn clip<S: Simd>(s: S, x: S::V, (low, high): (f32, f32)) -> S::V {
    s.min(s.splat(high), s.max(s.splat(low), x))
}

/// `KL(q‖p) = ½ Σ (σq²/σp² + (μq − μp)²/σp² − ln(σq²/σp²) − 1)`, diagonal Gaussians (Kingma & Welling 2014, appendix B).
#[inline(always)]
fn surprise<S: Simd>(s: S, latent: &Parts<'_>) -> f32 {
    let mut total = s.splat(0.0);
    let prior = latent.prior_mean.iter().zip(&*latent.prior_log_var).zip(&*latent.prior_inv_var);
    for ((mean, log_var), ((prior_mean, prior_log_var), inv_var)) in latent.z.iter().zip(&*latent.z_log_var).zip(prior)
    {
        let distance = s.sub(s.load(&mean.0), s.load(&prior_mean.0));
        let log_ratio = s.sub(s.load(&log_var.0), s.load(&prior_log_var.0));
        let ratios = s.fma(s.mul(distance, distance), s.load(&inv_var.0), exp(s, log_ratio));
        total = s.add(total, s.sub(s.sub(ratios, log_ratio), s.splat(1.0)));
    }
    let kl = 0.5 * s.sum(total);
    if kl < 0.0 { 0.0 } else { kl }
}

/// The z half of the heads and of the controller, what they say but for the surprise, and whether all of it is finite. Rows of
/// horizons that the model does not have are zeros, and so are their outputs.
#[inline(always)]
fn heads<S: Simd>(
    s: S,
    weights: &[Block],
    latent: &Parts<'_>,
    &Readout { position, regime_count, horizon_count }: &Readout,
) -> Option<(Heads, bool)> {
    let panel_len = weights.len().wrapping_sub(POSITION_WIDTH + 2);
    let (panel, rest) = weights.split_at_checked(panel_len)?;
    let [position_rows @ .., out_weights, out_bias] = rest else { return None };
    let [raw, mut hidden] = F32::tile::<S, 2, 2, 4>(s, panel, 0, in_memory(latent.z), load_all(s, latent.heads_h));
    for (row, input) in position_rows.iter().zip(&position) {
        hidden = s.fma(s.splat(*input), s.load(&row.0), hidden);
    }
    let [bias, ..] = out_bias.0;
    let active = s.max(s.splat(0.0), hidden);
    let drive = s.sum(s.mul(active, s.load(&out_weights.0))) + bias;
    let [action, ..] = unpack(s, tanh(s, s.splat(drive)));

    let outputs = unpack(s, raw);
    let [mean_0, mean_1, mean_2, mean_3, ..] = outputs;
    let [_, _, _, _, log_var_0, log_var_1, log_var_2, log_var_3, ..] = unpack(s, clip(s, raw, RETURN_LOG_VAR));
    let [_, _, _, _, _, _, _, _, up_probability, ..] = unpack(s, sigmoid(s, raw));
    let (_, regimes) = outputs.split_at(REGIME_LANE);
    let heads = Heads {
        return_mean: [mean_0, mean_1, mean_2, mean_3],
        return_log_var: [log_var_0, log_var_1, log_var_2, log_var_3],
        horizon_count,
        up_probability,
        regime: best_regime(s, raw, regimes, regime_count),
        action,
        surprise: 0.0,
    };
    Some((heads, s.is_finite(raw) && drive.is_finite()))
}

/// The largest logit (the first of equals) and its softmax probability.
#[inline(always)]
fn best_regime<S: Simd>(s: S, raw: S::V, logits: &[f32], count: usize) -> Regime {
    let (mut index, mut largest) = (0_u32, f32::NEG_INFINITY);
    for (candidate, logit) in (0_u32..).zip(logits).take(count) {
        if *logit > largest {
            (index, largest) = (candidate, *logit);
        }
    }
    let odds = unpack(s, exp(s, s.sub(raw, s.splat(largest))));
    let mut total = 0.0;
    for odds in odds.iter().skip(REGIME_LANE).take(count) {
        total += *odds;
    }
    Regime { index, confidence: total.recip() }
}

#[inline(always)]
fn unpack<S: Simd>(s: S, v: S::V) -> [f32; LANE_COUNT] {
    let mut lanes = [0.0; LANE_COUNT];
    s.store(v, &mut lanes);
    lanes
}

/// From `h_t, z_t` to `h_{t+1}`, its prior, and its products with the weights that the next observation needs.
pub(crate) struct Advance<'a, D, P> {
    pub(crate) weights: &'a [Block],
    pub(crate) latent: &'a mut [Block],
    pub(crate) shape: PhantomData<(D, P)>,
}

impl<D: Shape, P: Plan> Task for Advance<'_, D, P> {
    type Output = Option<()>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        if self.weights.len() != const { advance_blocks::<P>(D::HB, D::ZB) } {
            return None;
        }
        let mut latent = Parts::split::<D>(self.latent)?;
        let (gru, products) = self.weights.split_at_checked(const { D::HB * gru_blocks::<P>(D::HB, D::ZB) })?;
        gru_step::<S, D, P>(s, gru, &mut latent)?;
        derive::<S, D, P::Fine>(s, products, &mut latent)
    }
}

/// A length that the compiler does not see, so that loops over it stay loops: unrolled over a whole network the code
/// would be several times the first instruction cache.
#[inline(always)]
pub(crate) fn rolled(len: usize) -> usize {
    std::hint::black_box(len)
}

/// PyTorch's GRU cell: `h' = (1 − z)·n + z·h`, the reset gate multiplying the hidden term after its bias is added.
#[inline(always)]
fn gru_step<S: Simd, D: Shape, P: Plan>(s: S, weights: &[Block], latent: &mut Parts<'_>) -> Option<()> {
    let mut next = [Block::ZERO; HB_MAX];
    let next = next.get_mut(..D::HB)?;
    let mut z_room = [FineRoom::<P>::default(); ZB_MAX];
    let mut h_room = [<P::Recurrent as Format>::Room::default(); HB_MAX];
    let h = latent.h.get(..rolled(D::HB))?;
    let inputs = (P::Fine::prepare(s, latent.z, &mut z_room), P::Recurrent::prepare(s, h, &mut h_room));
    let units = weights.chunks_exact(rolled(const { gru_blocks::<P>(D::HB, D::ZB) }).max(1));
    for ((unit, next), old) in units.zip(next.iter_mut()).zip(&*latent.h) {
        gru_unit::<S, P>(s, unit, inputs, old, next)?;
    }
    latent.h.iter_mut().zip(next).for_each(|(to, from)| *to = *from);
    Some(())
}

/// Room for one block of a vector that meets the fine weights.
type FineRoom<P> = <<P as Plan>::Fine as Format>::Room;

/// Input and hidden state of a GRU, in form.
pub(crate) type GruInputs<'a, P> =
    (<<P as Plan>::Fine as Format>::Input<'a>, <<P as Plan>::Recurrent as Format>::Input<'a>);

/// One block of a GRU: `unit` holds the biases of r, z, n's input and n's hidden term, then the rows of `x`, then of `h`.
#[inline(always)]
pub(crate) fn gru_unit<S: Simd, P: Plan>(
    s: S,
    unit: &[Block],
    (x, h): GruInputs<'_, P>,
    old: &Block,
    next: &mut Block,
) -> Option<()> {
    let (biases, rows) = unit.split_first_chunk::<4>()?;
    let [reset, update, input, hidden] = load_all(s, biases);
    let (x_rows, h_rows) = rows.split_at_checked(matrix_blocks::<P::Fine>(3, P::Fine::input_blocks(x)))?;
    let [reset, update, input] = P::Fine::tile::<S, 3, 3, 2>(s, x_rows, 0, x, [reset, update, input]);
    let [reset, update, hidden] = P::Recurrent::tile::<S, 3, 3, 2>(s, h_rows, 0, h, [reset, update, hidden]);
    gru_gates(s, [reset, update, input, hidden], old, next);
    Some(())
}

/// The next block of `h` from the sums of r, z, n's input and n's hidden term.
#[inline(always)]
pub(crate) fn gru_gates<S: Simd>(s: S, [reset, update, input, hidden]: [S::V; 4], old: &Block, next: &mut Block) {
    let (reset, update) = (sigmoid(s, reset), sigmoid(s, update));
    let candidate = tanh(s, s.fma(reset, hidden, input));
    let kept = s.sub(s.load(&old.0), candidate);
    s.store(s.fma(update, kept, candidate), &mut next.0);
}

/// Everything that depends on `h` alone; `latent.h` is new.
#[inline(always)]
fn derive<S: Simd, D: Shape, F: Format>(s: S, weights: &[Block], latent: &mut Parts<'_>) -> Option<()> {
    let (biases, rest) = weights.split_at_checked(const { 4 * D::ZB })?;
    let (panels, rest) = rest.split_at_checked(const { matrix_blocks::<F>(4 * D::ZB, D::HB) })?;
    let (head_biases, head_panel) = rest.split_first_chunk::<2>()?;
    let mut products = [Block::ZERO; 4 * ZB_MAX];
    let products = products.get_mut(..const { 4 * D::ZB })?;
    let mut room = [F::Room::default(); HB_MAX];
    let h = latent.h.get(..rolled(D::HB))?;
    dense::<S, F>(s, panels, F::prepare(s, h, &mut room), biases, products);
    keep_products::<S, D>(s, products, latent)?;
    let h = latent.h.get(..rolled(D::HB))?;
    let heads = F32::tile::<S, 2, 2, 4>(s, head_panel, 0, h, load_all(s, head_biases));
    store_all(s, heads, latent.heads_h);
    Some(())
}

/// Puts the products of prior and posterior with `h` where `observe` finds them.
#[inline(always)]
pub(crate) fn keep_products<S: Simd, D: Shape>(s: S, products: &[Block], latent: &mut Parts<'_>) -> Option<()> {
    let (prior, posterior) = products.split_at_checked(const { 2 * D::ZB })?;
    let (mean, log_var) = prior.split_at_checked(D::ZB)?;
    latent.prior_mean.iter_mut().zip(mean).for_each(|(to, from)| *to = *from);
    latent.posterior_h.iter_mut().zip(posterior).for_each(|(to, from)| *to = *from);
    for ((raw, log_var), inv_var) in log_var.iter().zip(&mut *latent.prior_log_var).zip(&mut *latent.prior_inv_var) {
        let clipped = clip(s, s.load(&raw.0), LATENT_LOG_VAR);
        s.store(clipped, &mut log_var.0);
        s.store(exp(s, s.sub(s.splat(0.0), clipped)), &mut inv_var.0);
    }
    Some(())
}

/// The products of a latent whose `h` is given: how a fresh latent gets its start.
pub(crate) struct Derive<'a, D, P>(pub(crate) Advance<'a, D, P>);

impl<D: Shape, P: Plan> Task for Derive<'_, D, P> {
    type Output = Option<()>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let (_, products) = self.0.weights.split_at_checked(const { D::HB * gru_blocks::<P>(D::HB, D::ZB) })?;
        derive::<S, D, P::Fine>(s, products, &mut Parts::split::<D>(self.0.latent)?)
    }
}

/// The features that the state implies, scaled: Linear → SiLU → Linear. Off the critical path.
pub(crate) struct Reconstruct<'a, D> {
    pub(crate) weights: &'a [Block],
    pub(crate) latent: &'a mut [Block],
    pub(crate) out: &'a mut [f32],
    pub(crate) shape: PhantomData<D>,
}

impl<D: Shape> Task for Reconstruct<'_, D> {
    type Output = Option<()>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let latent = Parts::split::<D>(self.latent)?;
        let (bias_0, rest) = self.weights.split_at_checked(D::EB)?;
        let (h_panels, rest) = rest.split_at_checked(const { LANE_COUNT * D::EB * D::HB })?;
        let (z_panels, rest) = rest.split_at_checked(const { LANE_COUNT * D::EB * D::ZB })?;
        let (bias_2, panels_2) = rest.split_at_checked(D::DB)?;
        let (mut first, mut second) = ([Block::ZERO; EB_MAX], [Block::ZERO; EB_MAX]);
        let (first, second) = (first.get_mut(..D::EB)?, second.get_mut(..D::EB)?);
        dense::<S, F32>(s, h_panels, latent.h, bias_0, first);
        dense::<S, F32>(s, z_panels, latent.z, first, second);
        silu_all(s, second);
        let mut scaled = [Block::ZERO; DB_MAX];
        let scaled = scaled.get_mut(..D::DB)?;
        dense::<S, F32>(s, panels_2, second, bias_2, scaled);
        for (to, from) in self.out.iter_mut().zip(scaled.iter().flat_map(|block| block.0).take(D::D)) {
            *to = from;
        }
        Some(())
    }
}
