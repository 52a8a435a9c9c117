//! Exponentially decayed sums that share one time constant: one exponential per moment, however many sums.

use crate::math::exp_neg;

/// `N` sums Σ wᵢ exp(−(t − tᵢ)/τ) with τ = `TAU_NS`.
#[derive(Clone, Debug)]
pub(super) struct DecayedSums<const N: usize, const TAU_NS: i64> {
    sums: [f64; N],
}

impl<const N: usize, const TAU_NS: i64> DecayedSums<N, TAU_NS> {
    pub(super) const fn new() -> Self {
        Self { sums: [0.0; N] }
    }

    /// Lets `elapsed_ns` pass.
    #[inline]
    pub(super) fn decay(&mut self, elapsed_ns: i64) {
        if elapsed_ns > 0 {
            let factor = exp_neg(elapsed_ns as f64 / TAU_NS as f64);
            for sum in &mut self.sums {
                *sum *= factor;
            }
        }
    }

    /// Adds `weights` now.
    #[inline]
    pub(super) fn add(&mut self, index: usize, weight: f64) {
        if let Some(sum) = self.sums.get_mut(index) {
            *sum += weight;
        }
    }

    pub(super) const fn sums(&self) -> &[f64; N] {
        &self.sums
    }
}
