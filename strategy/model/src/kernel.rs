//! The door to the kernel: checks the CPU once, then sends each step to the backend.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::format::{F32, Int8, Int16, Plan, Precision};
use crate::heads::{COST_SCALE_BPS, Heads, INPUT_CLIP, NonFinite, PositionInput};
use crate::latent::{Latent, LatentStore};
use crate::many::{AdvanceMany, TOGETHER, TOGETHER_BLOCKS_MIN};
use crate::model::Model;
use crate::simd::{Block, Task, scalar::Scalar};
#[cfg(target_arch = "x86_64")]
use crate::simd::{
    avx2::Avx2,
    avx512::{Avx512, Vnni},
};
use crate::size::{Medium, Micro, Nano, Shape, Size, Small};
use crate::step::{Advance, Derive, Observe, ReadHeads, Readout, Reconstruct};

/// Runs a task in the model's size and precision.
macro_rules! by_shape {
    ($kernel:expr, $model:expr, $task:ident($($arg:expr),+)) => {
        match ($model.precision(), $model.size()) {
            (Precision::F32, Size::Nano) => $kernel.dispatch($task::<Nano, F32>($($arg),+)),
            (Precision::F32, Size::Micro) => $kernel.dispatch($task::<Micro, F32>($($arg),+)),
            (Precision::F32, Size::Small) => $kernel.dispatch($task::<Small, F32>($($arg),+)),
            (Precision::F32, Size::Medium) => $kernel.dispatch($task::<Medium, F32>($($arg),+)),
            (Precision::Int16, Size::Nano) => $kernel.dispatch_integers($task::<Nano, Int16>($($arg),+)),
            (Precision::Int16, Size::Micro) => $kernel.dispatch_integers($task::<Micro, Int16>($($arg),+)),
            (Precision::Int16, Size::Small) => $kernel.dispatch_integers($task::<Small, Int16>($($arg),+)),
            (Precision::Int16, Size::Medium) => $kernel.dispatch_integers($task::<Medium, Int16>($($arg),+)),
            (Precision::Int8, Size::Nano) => $kernel.dispatch_integers($task::<Nano, Int8>($($arg),+)),
            (Precision::Int8, Size::Micro) => $kernel.dispatch_integers($task::<Micro, Int8>($($arg),+)),
            (Precision::Int8, Size::Small) => $kernel.dispatch_integers($task::<Small, Int8>($($arg),+)),
            (Precision::Int8, Size::Medium) => $kernel.dispatch_integers($task::<Medium, Int8>($($arg),+)),
        }
    };
}

/// A set of instructions. All give bit-identical results.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Plain Rust, the definition of the results; every machine has it.
    Scalar,
    /// 256-bit vectors with fused multiply-add (AVX2, FMA).
    Avx2,
    /// 512-bit vectors (AVX-512F and BW; integers are multiplied by VNNI where it is there).
    Avx512,
}

impl Backend {
    /// All backends, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The fastest backend that this machine has.
    #[must_use]
    pub fn best() -> Self {
        let has = |backend: &Self| Kernel::new(*backend).is_some();
        Self::ALL.into_iter().rev().find(has).unwrap_or(Self::Scalar)
    }
}

#[derive(Clone, Copy, Debug)]
enum Proof {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Vnni(Vnni),
}

/// A backend that this machine is known to have.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    proof: Proof,
}

impl Kernel {
    /// Checks the CPU; `None` when it has not the backend's instructions.
    #[must_use]
    pub fn new(backend: Backend) -> Option<Self> {
        let proof = match backend {
            Backend::Scalar => Proof::Scalar(Scalar),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => Proof::Avx2(Avx2::detect()?),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 => match Vnni::detect() {
                Some(vnni) => Proof::Vnni(vnni),
                None => Proof::Avx512(Avx512::detect()?),
            },
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 | Backend::Avx512 => return None,
        };
        Some(Self { proof })
    }

    /// The definition, which needs no check.
    pub(crate) const SCALAR: Self = Self { proof: Proof::Scalar(Scalar) };

    /// Which backend this is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self.proof {
            Proof::Scalar(_) => Backend::Scalar,
            #[cfg(target_arch = "x86_64")]
            Proof::Avx2(_) => Backend::Avx2,
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512(_) | Proof::Vnni(_) => Backend::Avx512,
        }
    }

    /// Runs work on floats.
    #[inline]
    pub(crate) fn dispatch<T: Task>(&self, task: T) -> T::Output {
        match self.proof {
            Proof::Scalar(scalar) => scalar.run(task),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx2(avx2) => on_avx2(avx2, task),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512(avx512) => on_avx512(avx512, task),
            #[cfg(target_arch = "x86_64")]
            Proof::Vnni(vnni) => on_avx512(vnni.avx512(), task),
        }
    }

    /// Runs work on integers.
    #[inline]
    pub(crate) fn dispatch_integers<T: Task>(&self, task: T) -> T::Output {
        match self.proof {
            Proof::Scalar(scalar) => scalar.run(task),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx2(avx2) => on_avx2(avx2, task),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512(avx512) => on_avx512(avx512, task),
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "a safe function under target_feature, called from outside it")]
            // SAFETY: a `Vnni` is made by its `detect` alone, which saw every feature that `run` enables.
            Proof::Vnni(vnni) => unsafe { vnni.run(task) },
        }
    }

    /// The same backend without VNNI: how a processor that has AVX-512 alone works.
    #[cfg(test)]
    pub(crate) fn without_vnni(self) -> Self {
        match self.proof {
            #[cfg(target_arch = "x86_64")]
            Proof::Vnni(vnni) => Self { proof: Proof::Avx512(vnni.avx512()) },
            #[cfg(target_arch = "x86_64")]
            Proof::Avx2(_) | Proof::Avx512(_) => self,
            Proof::Scalar(_) => self,
        }
    }

    /// The step off the critical path: the state moves on, and everything that depends on it alone is made for the next
    /// [`observe`](Self::observe). Does nothing to a latent of another size (whose `observe` is refused).
    pub fn advance(&self, model: &Model, latent: &mut Latent<'_>) {
        // A latent of another size is left alone here and refused by `observe`.
        let _is_of_size = by_shape!(self, model, advance(model, latent));
    }

    /// [`advance`](Self::advance) of many instruments, the same bits as one after the other in the order given, faster:
    /// weights are fetched once for four of them. That takes the registers of AVX-512, and gains nothing for a network that
    /// the first cache holds: elsewhere they are worked one by one. Indices beyond the store's count are passed over, as is
    /// a store of another size.
    pub fn advance_many(&self, model: &Model, store: &mut LatentStore, instruments: &[usize]) {
        let is_small = model.advance_weights().len() < TOGETHER_BLOCKS_MIN;
        let (groups, rest) = if is_small { (&[][..], instruments) } else { instruments.as_chunks::<TOGETHER>() };
        for group in groups {
            let latents = store.blocks_mut(*group);
            if latents.and_then(|latents| by_shape!(self, model, advance_many(model, latents))).is_none() {
                self.advance_each(model, store, group);
            }
        }
        self.advance_each(model, store, rest);
    }

    fn advance_each(&self, model: &Model, store: &mut LatentStore, instruments: &[usize]) {
        for instrument in instruments {
            if let Some(mut latent) = store.latent_mut(*instrument) {
                self.advance(model, &mut latent);
            }
        }
    }

    /// The step on the critical path: from the raw features of one event (unscaled, in the model's order) to the heads.
    /// Sets the latent's `z`.
    ///
    /// # Errors
    /// [`NonFinite::Feature`], [`NonFinite::Position`]: an input is NaN, infinite or missing; the latent is unchanged.
    /// [`NonFinite::Output`]: the model overflowed; the latent is back at its start.
    /// [`NonFinite::Size`]: the latent is not this model's; nothing was done.
    pub fn observe(
        &self,
        model: &Model,
        latent: &mut Latent<'_>,
        x: &[f32],
        position: PositionInput,
    ) -> Result<Heads, NonFinite> {
        let position = controller_inputs(position).ok_or(NonFinite::Position)?;
        let result = by_shape!(self, model, observe(model, latent, x, position));
        if result == Err(NonFinite::Output) {
            // As long as each other, or the result were another; `copy_from_slice` would carry a panic all the same.
            latent.blocks.iter_mut().zip(model.start()).for_each(|(block, start)| *block = *start);
        }
        result
    }

    /// One step of the dynamics without an observation: the state moves on as by [`advance`](Self::advance), then `z` is
    /// the prior's mean. Call it where an `advance` is due, that is after `observe` or another `imagine`: after k of them the
    /// latent stands k steps ahead of the last observation, and [`heads`](Self::heads), [`reconstruct`](Self::reconstruct)
    /// and `observe` (the observations in between were missing) may follow. Does nothing to a latent of another size.
    pub fn imagine(&self, model: &Model, latent: &mut Latent<'_>) {
        if by_shape!(self, model, advance(model, latent)).is_some() {
            latent.take_prior();
        }
    }

    /// The heads of a latent as [`observe`](Self::observe) or [`imagine`](Self::imagine) left it, bit for bit what
    /// `observe` gave; the surprise of an imagined step is 0. Between `advance` and the next of the two, `h` and `z` belong
    /// to different steps and the heads mean nothing.
    ///
    /// # Errors
    /// [`NonFinite::Position`], [`NonFinite::Output`], [`NonFinite::Size`] as for `observe`; the latent stays as it is.
    pub fn heads(&self, model: &Model, latent: &mut Latent<'_>, position: PositionInput) -> Result<Heads, NonFinite> {
        let position = controller_inputs(position).ok_or(NonFinite::Position)?;
        match model.size() {
            Size::Nano => self.dispatch(read_heads::<Nano>(model, latent, position)),
            Size::Micro => self.dispatch(read_heads::<Micro>(model, latent, position)),
            Size::Small => self.dispatch(read_heads::<Small>(model, latent, position)),
            Size::Medium => self.dispatch(read_heads::<Medium>(model, latent, position)),
        }
    }

    /// A no-effect step on scratch state, which keeps weights and branch predictors warm while nothing happens.
    pub fn warm(&self, model: &Model, scratch: &mut LatentStore) {
        if let Some(mut latent) = scratch.latent_mut(0) {
            let result = self.observe(model, &mut latent, model.warm_features(), PositionInput::default());
            std::hint::black_box(result.is_ok());
            self.advance(model, &mut latent);
        }
    }

    /// Writes the observation that the latent state implies into `out`, as scaled features; for diagnostics, off the
    /// critical path. Returns false and writes nothing when the latent is of another size or `out` has not D floats.
    #[must_use]
    pub fn reconstruct(&self, model: &Model, latent: &mut Latent<'_>, out: &mut [f32]) -> bool {
        if out.len() != model.size().d() {
            return false;
        }
        let is_done = match model.size() {
            Size::Nano => self.dispatch(reconstruct::<Nano>(model, latent, out)),
            Size::Micro => self.dispatch(reconstruct::<Micro>(model, latent, out)),
            Size::Small => self.dispatch(reconstruct::<Small>(model, latent, out)),
            Size::Medium => self.dispatch(reconstruct::<Medium>(model, latent, out)),
        };
        is_done.is_some()
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn on_avx2<T: Task>(avx2: Avx2, task: T) -> T::Output {
    #[expect(unsafe_code, reason = "a safe function under target_feature, called from outside it")]
    // SAFETY: an `Avx2` is made by its `detect` alone, which saw every feature that `run` enables.
    unsafe {
        avx2.run(task)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn on_avx512<T: Task>(avx512: Avx512, task: T) -> T::Output {
    #[expect(unsafe_code, reason = "a safe function under target_feature, called from outside it")]
    // SAFETY: an `Avx512` is made by its `detect` alone, which saw every feature that `run` enables.
    unsafe {
        avx512.run(task)
    }
}

fn advance<'a, D: Shape, P: Plan>(model: &'a Model, latent: &'a mut Latent<'_>) -> Advance<'a, D, P> {
    Advance { weights: model.advance_weights(), latent: latent.blocks, shape: PhantomData }
}

fn advance_many<'a, D: Shape, P: Plan>(
    model: &'a Model,
    latents: [&'a mut [Block]; TOGETHER],
) -> AdvanceMany<'a, D, P> {
    AdvanceMany { weights: model.advance_weights(), latents, shape: PhantomData }
}

/// Makes everything in `latent` that depends on its `h` alone: how a model gets its start. By the definition, since all
/// backends give the same.
pub(crate) fn derive(model: &Model, latent: &mut Latent<'_>) -> Option<()> {
    by_shape!(ByDefinition, model, derive_task(model, latent))
}

/// A dispatch to the definition alone.
struct ByDefinition;

impl ByDefinition {
    fn dispatch<T: Task>(&self, task: T) -> T::Output {
        Scalar.run(task)
    }

    fn dispatch_integers<T: Task>(&self, task: T) -> T::Output {
        Scalar.run(task)
    }
}

fn derive_task<'a, D: Shape, P: Plan>(model: &'a Model, latent: &'a mut Latent<'_>) -> Derive<'a, D, P> {
    Derive(advance(model, latent))
}

#[inline]
fn observe<'a, D: Shape, P: Plan>(
    model: &'a Model,
    latent: &'a mut Latent<'_>,
    x: &'a [f32],
    position: [f32; 3],
) -> Observe<'a, D, P> {
    Observe {
        weights: model.observe_weights(),
        latent: latent.blocks,
        x,
        readout: readout(model, position),
        shape: PhantomData,
    }
}

#[inline]
fn readout(model: &Model, position: [f32; 3]) -> Readout {
    Readout { position, regime_count: model.regime_count(), horizon_count: model.horizon_count() }
}

fn read_heads<'a, D: Shape>(model: &'a Model, latent: &'a mut Latent<'_>, position: [f32; 3]) -> ReadHeads<'a, D> {
    ReadHeads {
        weights: model.observe_weights(),
        latent: latent.blocks,
        readout: readout(model, position),
        shape: PhantomData,
    }
}

fn reconstruct<'a, D: Shape>(model: &'a Model, latent: &'a mut Latent<'_>, out: &'a mut [f32]) -> Reconstruct<'a, D> {
    Reconstruct { weights: model.decoder_weights(), latent: latent.blocks, out, shape: PhantomData }
}

/// What the controller sees: position, half-spread and fee in tens of basis points, each clipped to ±[`INPUT_CLIP`].
#[inline]
fn controller_inputs(input: PositionInput) -> Option<[f32; 3]> {
    let raw = [input.position, input.half_spread_bps / COST_SCALE_BPS, input.fee_bps / COST_SCALE_BPS];
    raw.iter().all(|x| x.is_finite()).then(|| raw.map(|x| x.clamp(-INPUT_CLIP, INPUT_CLIP)))
}
