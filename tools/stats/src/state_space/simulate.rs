//! Draws from the process.

use super::process::RegimeProcess;
use crate::matrix::Matrix;
use crate::random::Generator;

/// One drawn path, T steps.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedPath {
    /// Regime at each step.
    pub regimes: Vec<usize>,
    /// Factor at each step.
    pub factor: Vec<f64>,
    /// Features, T × D.
    pub observations: Matrix,
    /// Return from each step to the next.
    pub returns: Vec<f64>,
}

impl SimulatedPath {
    /// Sum of the returns of `horizon` steps from each step on; T − horizon + 1 values.
    #[must_use]
    pub fn horizon_returns(&self, horizon: usize) -> Vec<f64> {
        self.returns.windows(horizon.max(1)).map(|window| window.iter().sum()).collect()
    }
}

impl RegimeProcess {
    /// Draws `steps` steps from the stationary law. One seed gives one path.
    #[must_use]
    pub fn simulate(&self, steps: usize, seed: u64) -> SimulatedPath {
        let mut generator = Generator::new(seed, "regime process");
        let mut path = SimulatedPath {
            regimes: Vec::with_capacity(steps),
            factor: Vec::with_capacity(steps),
            observations: Matrix::zeros(steps, self.feature_count()),
            returns: Vec::with_capacity(steps),
        };
        for step in 0..steps {
            let (regime, factor) = match (path.regimes.last(), path.factor.last()) {
                (Some(regime), Some(factor)) => {
                    let regime = generator.categorical(self.transition_row(*regime));
                    let of = &self.regimes()[regime];
                    (regime, of.persistence * factor + of.innovation * generator.normal())
                }
                (Some(_), None) | (None, Some(_)) | (None, None) => {
                    let regime = generator.categorical(self.stationary());
                    (regime, self.factor_variance()[regime].sqrt() * generator.normal())
                }
            };
            let of = &self.regimes()[regime];
            let parts = of.offset.iter().zip(&of.noise).zip(self.loadings());
            for (x, ((offset, noise), loading)) in path.observations.row_mut(step).iter_mut().zip(parts) {
                *x = offset + loading * factor + noise * generator.normal();
            }
            path.returns.push(of.beta * factor + of.return_noise * generator.normal());
            path.regimes.push(regime);
            path.factor.push(factor);
        }
        path
    }
}
