//! Exponentially decayed sums that share one time constant: one exponential per moment, however many sums.

use crate::math::exp_neg_pair;

/// `N` sums Σ wᵢ exp(−(t − tᵢ)/τ).
#[derive(Clone, Debug)]
pub(super) struct DecayedSums<const N: usize> {
    sums: [f64; N],
}

/// exp(−`elapsed_ns`/τ) for both time constants, in nanoseconds; worked side by side.
#[inline]
pub(super) fn decay_factors(elapsed_ns: i64, taus_ns: [i64; 2]) -> [f64; 2] {
    exp_neg_pair(taus_ns.map(|tau_ns| elapsed_ns as f64 / tau_ns as f64))
}

impl<const N: usize> DecayedSums<N> {
    pub(super) const fn new() -> Self {
        Self { sums: [0.0; N] }
    }

    /// Lets time pass that decays everything by `factor`.
    #[inline]
    pub(super) fn decay(&mut self, factor: f64) {
        for sum in &mut self.sums {
            *sum *= factor;
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
