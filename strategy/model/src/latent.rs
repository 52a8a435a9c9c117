//! The state of each instrument: one contiguous, cache-line aligned run of blocks.
//!
//! In order, in blocks of sixteen floats: `h`, `z` (a mean) and its log-variance, the prior's mean, log-variance and
//! inverse variance, the posterior's product with `h` (mean, log-variance), the heads' and the controller's product with `h`.

use crate::model::Model;
use crate::simd::Block;
use crate::size::{Shape, Size, blocks, latent_blocks};

/// The parts of one latent, for the kernel.
pub(crate) struct Parts<'a> {
    pub(crate) h: &'a mut [Block],
    pub(crate) z: &'a mut [Block],
    pub(crate) z_log_var: &'a mut [Block],
    pub(crate) prior_mean: &'a mut [Block],
    pub(crate) prior_log_var: &'a mut [Block],
    pub(crate) prior_inv_var: &'a mut [Block],
    pub(crate) posterior_h: &'a mut [Block],
    pub(crate) heads_h: &'a mut [Block; 2],
}

impl<'a> Parts<'a> {
    /// Splits a latent; `None` if it is not of this shape.
    #[inline(always)]
    pub(crate) fn split<D: Shape>(blocks: &'a mut [Block]) -> Option<Self> {
        if blocks.len() != const { latent_blocks(D::HB, D::ZB) } {
            return None;
        }
        let (h, rest) = blocks.split_at_mut_checked(D::HB)?;
        let (z, rest) = rest.split_at_mut_checked(D::ZB)?;
        let (z_log_var, rest) = rest.split_at_mut_checked(D::ZB)?;
        let (prior_mean, rest) = rest.split_at_mut_checked(D::ZB)?;
        let (prior_log_var, rest) = rest.split_at_mut_checked(D::ZB)?;
        let (prior_inv_var, rest) = rest.split_at_mut_checked(D::ZB)?;
        let (posterior_h, rest) = rest.split_at_mut_checked(const { 2 * D::ZB })?;
        let heads_h = rest.try_into().ok()?;
        Some(Self { h, z, z_log_var, prior_mean, prior_log_var, prior_inv_var, posterior_h, heads_h })
    }
}

/// The latent states of all instruments, allocated once.
#[derive(Clone, Debug)]
pub struct LatentStore {
    size: Size,
    stride: usize,
    blocks: Vec<Block>,
}

impl LatentStore {
    /// One latent per instrument, each at the model's start (`h` and `z` zero).
    #[must_use]
    pub fn new(model: &Model, instrument_count: usize) -> Self {
        let start = model.start();
        Self { size: model.size(), stride: start.len(), blocks: start.repeat(instrument_count) }
    }

    /// How many instruments there are.
    #[must_use]
    pub fn instrument_count(&self) -> usize {
        self.blocks.len().checked_div(self.stride).unwrap_or(0)
    }

    /// The latent of an instrument, `None` beyond the count.
    #[inline]
    pub fn latent_mut(&mut self, instrument: usize) -> Option<Latent<'_>> {
        let start = instrument.checked_mul(self.stride)?;
        let blocks = self.blocks.get_mut(start..start.checked_add(self.stride)?)?;
        Some(Latent { size: self.size, blocks })
    }

    /// Reads every line of an instrument's latent, so that it is on its way when it is needed. Changes nothing.
    #[inline]
    pub fn prefetch_hint(&self, instrument: usize) {
        let start = instrument.saturating_mul(self.stride);
        let latent = self.blocks.get(start..start.saturating_add(self.stride)).unwrap_or_default();
        let sum = latent.iter().fold(0, |sum, Block([first, ..])| sum ^ first.to_bits());
        std::hint::black_box(sum);
    }

    /// The blocks of several instruments; `None` when one is beyond the count or named twice.
    #[inline]
    pub(crate) fn blocks_mut<const N: usize>(&mut self, instruments: [usize; N]) -> Option<[&mut [Block]; N]> {
        let start = |instrument: usize| instrument.saturating_mul(self.stride);
        let ranges = instruments.map(|instrument| start(instrument)..start(instrument).saturating_add(self.stride));
        self.blocks.get_disjoint_mut(ranges).ok()
    }

    /// Sets an instrument back to the model's start; false if there is no such instrument or the model is of another size.
    pub fn reset(&mut self, model: &Model, instrument: usize) -> bool {
        match self.latent_mut(instrument) {
            Some(latent) if latent.blocks.len() == model.start().len() => {
                latent.blocks.copy_from_slice(model.start());
                true
            }
            Some(_) | None => false,
        }
    }

    /// Every float of every instrument, little-endian, for the state hash: bit-identical on every backend and machine.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.blocks.iter().flat_map(|block| block.0).flat_map(f32::to_le_bytes)
    }
}

/// One instrument's latent state.
#[derive(Debug)]
pub struct Latent<'a> {
    pub(crate) size: Size,
    pub(crate) blocks: &'a mut [Block],
}

impl Latent<'_> {
    /// The deterministic state, H floats.
    pub fn h(&self) -> impl Iterator<Item = f32> + '_ {
        self.floats(0, self.size.h())
    }

    /// The mean of the stochastic state, Z floats: of the posterior after an observation, of the prior after an imagined
    /// step.
    pub fn z(&self) -> impl Iterator<Item = f32> + '_ {
        self.z_floats(0)
    }

    /// The natural logarithm of the variance that belongs to [`z`](Self::z), Z floats, −10..4; zeros at the start.
    pub fn z_log_var(&self) -> impl Iterator<Item = f32> + '_ {
        self.z_floats(1)
    }

    /// The prior mean of the stochastic state: what the model expects of the next observation, Z floats.
    pub fn prior_mean(&self) -> impl Iterator<Item = f32> + '_ {
        self.z_floats(2)
    }

    /// The natural logarithm of the prior's variance, Z floats, −10..4.
    pub fn prior_log_var(&self) -> impl Iterator<Item = f32> + '_ {
        self.z_floats(3)
    }

    /// Makes this latent what `other` is: a copy to imagine from. False, and nothing done, when the sizes differ.
    pub fn copy_from(&mut self, other: &Latent<'_>) -> bool {
        let is_of_size = self.blocks.len() == other.blocks.len();
        if is_of_size {
            self.blocks.copy_from_slice(other.blocks);
        }
        is_of_size
    }

    /// `z` and its log-variance become the prior's.
    pub(crate) fn take_prior(&mut self) {
        let (h, z) = (blocks(self.size.h()), blocks(self.size.z()));
        if let Some((_, rest)) = self.blocks.split_at_mut_checked(h) {
            let (to, from) = rest.split_at_mut(rest.len().min(z.saturating_mul(2)));
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }

    /// Z floats: those of the `index`th run of blocks after `h`.
    fn z_floats(&self, index: usize) -> impl Iterator<Item = f32> + '_ {
        let z = self.size.z();
        self.floats(blocks(self.size.h()).saturating_add(index.saturating_mul(blocks(z))), z)
    }

    fn floats(&self, first_block: usize, len: usize) -> impl Iterator<Item = f32> + '_ {
        self.blocks.iter().skip(first_block).flat_map(|block| block.0).take(len)
    }
}
