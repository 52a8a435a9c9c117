//! The filter with the true parameters.
//!
//! Kim's filter (Kim 1994, *Dynamic linear models with Markov-switching*; GPB2 in the tracking literature): one Gaussian of
//! the factor per regime. A step runs the K² Kalman updates from each regime into each, weighs them by
//! transition and likelihood (Hamilton 1989), and collapses the K Gaussians that end in a regime into one with their mean and
//! variance. The collapse is the only approximation; its size against [`exact_filter`](super::exact_filter) is asserted in the
//! tests. With one regime it is the Kalman filter, and exact; so it is when no regime differs in φ, q, offset and noise.

use statrs::function::erf::erfc;

use super::process::RegimeProcess;
use crate::cluster::{argmax, log_sum_exp};
use crate::error::{StatsError, check_finite, check_len};
use crate::matrix::MatrixView;

const LN_TAU: f64 = 1.837_877_066_409_345_5;

/// A Gaussian of the factor in one regime, with its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Component {
    pub(crate) regime: usize,
    /// Natural logarithm of the probability.
    pub(crate) log_weight: f64,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
}

/// What is known after an observation: regime, factor, and the return that comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct Filtered {
    /// Probability of each regime; they sum to 1.
    pub regime_probabilities: Vec<f64>,
    /// Mean of the factor.
    pub factor_mean: f64,
    /// Variance of the factor.
    pub factor_variance: f64,
    /// Mean of the return over the next step.
    pub return_mean: f64,
    /// Variance of the return over the next step, its noise included.
    pub return_variance: f64,
    /// Probability that the return over the next step is above 0.
    pub up_probability: f64,
    /// Natural logarithm of the observation's density given the ones before.
    pub log_likelihood: f64,
}

impl Filtered {
    /// The most probable regime, the first of equals.
    #[must_use]
    pub fn regime(&self) -> usize {
        argmax(&self.regime_probabilities)
    }
}

/// The filter of a process with known parameters, and its state.
#[derive(Clone, Debug)]
pub struct RegimeFilter<'a> {
    process: &'a RegimeProcess,
    /// One per regime; none before the first observation.
    state: Vec<Component>,
}

impl<'a> RegimeFilter<'a> {
    /// A filter that has seen nothing.
    #[must_use]
    pub fn new(process: &'a RegimeProcess) -> Self {
        Self { process, state: Vec::new() }
    }

    /// Takes the features of the next step.
    ///
    /// # Errors
    /// [`StatsError::Length`], [`StatsError::NonFinite`]; the state is unchanged.
    pub fn observe(&mut self, x: &[f64]) -> Result<Filtered, StatsError> {
        let (components, log_likelihood) = step(self.process, &self.state, x)?;
        self.state = (0..self.process.regime_count()).map(|regime| collapse(&components, regime)).collect();
        Ok(summarise(self.process, &self.state, log_likelihood))
    }

    /// Filters a whole sequence from the start.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub fn run(process: &'a RegimeProcess, x: MatrixView<'_>) -> Result<Vec<Filtered>, StatsError> {
        let mut filter = Self::new(process);
        x.iter_rows().map(|row| filter.observe(row)).collect()
    }

    /// Mean of the return over the next `horizon` steps, `Σ_i E[β(s_{t+i}) f_{t+i}]`; 0 before the first observation.
    #[must_use]
    pub fn return_mean(&self, horizon: usize) -> f64 {
        let regimes = self.process.regimes();
        let mut weighted: Vec<f64> = self.state.iter().map(|part| part.log_weight.exp() * part.mean).collect();
        let mut sum = 0.0;
        for _ in 0..horizon {
            sum += weighted.iter().zip(regimes).map(|(weighted, regime)| regime.beta * weighted).sum::<f64>();
            let next = |j: usize| regimes[j].persistence * self.process.arriving_in(&weighted, j);
            weighted = (0..weighted.len()).map(next).collect();
        }
        sum
    }
}

/// What an observation says about the factor, if a regime holds.
struct Evidence {
    /// `Σ loading²/noise²`.
    precision: f64,
    /// `Σ loading (x − offset)/noise²`.
    information: f64,
    /// `Σ (x − offset)²/noise² + Σ ln noise² + D ln 2π`.
    constant: f64,
}

fn evidence(process: &RegimeProcess, regime: usize, x: &[f64]) -> Evidence {
    let of = &process.regimes()[regime];
    let mut out = Evidence { precision: 0.0, information: 0.0, constant: x.len() as f64 * LN_TAU };
    let parts = of.offset.iter().zip(&of.noise).zip(process.loadings());
    for (x, ((offset, noise), loading)) in x.iter().zip(parts) {
        let (rest, weight) = (x - offset, 1.0 / (noise * noise));
        out.precision += loading * loading * weight;
        out.information += loading * rest * weight;
        out.constant += rest * rest * weight - weight.ln();
    }
    out
}

/// Kalman's update of N(mean, variance) by the evidence of all D features at once (matrix inversion and determinant lemmas).
fn update(prior: Component, evidence: &Evidence) -> Component {
    let gain = 1.0 + prior.variance * evidence.precision;
    let pull = evidence.information - prior.mean * evidence.precision;
    let fit = evidence.constant - 2.0 * prior.mean * evidence.information + prior.mean.powi(2) * evidence.precision;
    let log_density = -0.5 * (fit + gain.ln() - prior.variance * pull * pull / gain);
    Component {
        regime: prior.regime,
        log_weight: prior.log_weight + log_density,
        mean: prior.mean + prior.variance * pull / gain,
        variance: prior.variance / gain,
    }
}

/// Every way from a component into a regime, updated and normalised; the start when there is none. And the observation's log-likelihood.
pub(crate) fn step(
    process: &RegimeProcess,
    from: &[Component],
    x: &[f64],
) -> Result<(Vec<Component>, f64), StatsError> {
    check_len("x", x.len(), process.feature_count())?;
    check_finite("x", x)?;
    let mut out = Vec::with_capacity(from.len().max(1) * process.regime_count());
    for (regime, of) in process.regimes().iter().enumerate() {
        let evidence = evidence(process, regime, x);
        if from.is_empty() {
            let (share, variance) = (process.stationary()[regime], process.factor_variance()[regime]);
            out.push(update(Component { regime, log_weight: share.ln(), mean: 0.0, variance }, &evidence));
        }
        for part in from {
            let prior = Component {
                regime,
                log_weight: part.log_weight + process.transition_row(part.regime)[regime].ln(),
                mean: of.persistence * part.mean,
                variance: of.persistence.powi(2) * part.variance + of.innovation.powi(2),
            };
            out.push(update(prior, &evidence));
        }
    }
    let logs: Vec<f64> = out.iter().map(|part| part.log_weight).collect();
    let log_likelihood = log_sum_exp(&logs);
    out.iter_mut().for_each(|part| part.log_weight -= log_likelihood);
    Ok((out, log_likelihood))
}

/// The Gaussian with the moments of all components in a regime.
fn collapse(components: &[Component], regime: usize) -> Component {
    let parts = || components.iter().filter(|part| part.regime == regime);
    let log_weight = log_sum_exp(&parts().map(|part| part.log_weight).collect::<Vec<f64>>());
    // A regime that is quite impossible keeps shares of its own, so that it stays finite.
    let most = parts().map(|part| part.log_weight).fold(f64::NEG_INFINITY, f64::max);
    let share = |part: &Component| (part.log_weight - most).exp();
    let sum: f64 = parts().map(share).sum();
    let mean = parts().map(|part| share(part) * part.mean).sum::<f64>() / sum;
    let spread = |part: &Component| part.variance + (part.mean - mean).powi(2);
    let variance = parts().map(|part| share(part) * spread(part)).sum::<f64>() / sum;
    Component { regime, log_weight, mean, variance }
}

/// The moments of a mixture of components.
pub(crate) fn summarise(process: &RegimeProcess, components: &[Component], log_likelihood: f64) -> Filtered {
    let mut out = Filtered {
        regime_probabilities: vec![0.0; process.regime_count()],
        factor_mean: 0.0,
        factor_variance: 0.0,
        return_mean: 0.0,
        return_variance: 0.0,
        up_probability: 0.0,
        log_likelihood,
    };
    for part in components {
        let (weight, of) = (part.log_weight.exp(), &process.regimes()[part.regime]);
        let (mean, variance) = (of.beta * part.mean, of.beta.powi(2) * part.variance + of.return_noise.powi(2));
        out.regime_probabilities[part.regime] += weight;
        out.factor_mean += weight * part.mean;
        out.factor_variance += weight * (part.variance + part.mean * part.mean);
        out.return_mean += weight * mean;
        out.return_variance += weight * (variance + mean * mean);
        out.up_probability += weight * 0.5 * erfc(-mean / (2.0 * variance).sqrt());
    }
    out.factor_variance -= out.factor_mean * out.factor_mean;
    out.return_variance -= out.return_mean * out.return_mean;
    out
}
