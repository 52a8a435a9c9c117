//! The process's parameters and its stationary moments.

use crate::error::{StatsError, check_count, check_finite, check_len, check_range};

/// What holds while a regime lasts.
#[derive(Clone, Debug, PartialEq)]
pub struct RegimeParameters {
    /// φ: the factor's coefficient on its last value, −1 < φ < 1.
    pub persistence: f64,
    /// q: standard deviation of the factor's innovation, > 0.
    pub innovation: f64,
    /// Mean of each feature when the factor is 0, D values.
    pub offset: Vec<f64>,
    /// Standard deviation of each feature's noise, D values > 0.
    pub noise: Vec<f64>,
    /// β: return per unit of the factor.
    pub beta: f64,
    /// v: standard deviation of the return's noise, > 0.
    pub return_noise: f64,
}

/// The parameters of the whole process, checked, with its stationary law.
#[derive(Clone, Debug, PartialEq)]
pub struct RegimeProcess {
    regimes: Vec<RegimeParameters>,
    loadings: Vec<f64>,
    /// Row-major K × K.
    transition: Vec<f64>,
    stationary: Vec<f64>,
    /// E\[f² | regime\].
    factor_variance: Vec<f64>,
}

/// Iterations of the stationary equations; they converge geometrically.
const ITERATIONS_MAX: usize = 1_000_000;

impl RegimeProcess {
    /// A process of K = `regimes.len()` regimes and D = `loadings.len()` features. `transition` is row-major K × K:
    /// the probability of the column's regime after the row's; rows sum to 1 (within 1e-9) and every entry is > 0, so that
    /// one stationary law exists.
    ///
    /// # Errors
    /// [`StatsError`] naming the parameter that is missing, not finite or out of its range.
    pub fn new(regimes: Vec<RegimeParameters>, loadings: Vec<f64>, transition: Vec<f64>) -> Result<Self, StatsError> {
        check_count("regimes", regimes.len(), 1)?;
        check_count("loadings", loadings.len(), 1)?;
        check_finite("loadings", &loadings)?;
        for regime in &regimes {
            regime.check(loadings.len())?;
        }
        check_len("transition", transition.len(), regimes.len() * regimes.len())?;
        for row in transition.chunks_exact(regimes.len()) {
            let is_row = row.iter().all(|p| *p > 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-9;
            check_range("transition", row[0], |_| is_row, "probabilities above 0 that sum to 1 per row")?;
        }
        let mut process = Self { regimes, loadings, transition, stationary: Vec::new(), factor_variance: Vec::new() };
        process.stationary = process.stationary_law()?;
        process.factor_variance = process.stationary_variance()?;
        Ok(process)
    }

    /// Number of regimes K.
    #[must_use]
    pub fn regime_count(&self) -> usize {
        self.regimes.len()
    }

    /// Number of features D.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.loadings.len()
    }

    /// Parameters of each regime.
    #[must_use]
    pub fn regimes(&self) -> &[RegimeParameters] {
        &self.regimes
    }

    /// Loading of each feature on the factor.
    #[must_use]
    pub fn loadings(&self) -> &[f64] {
        &self.loadings
    }

    /// Probabilities of the next regime after `regime`. Panics beyond the last one, as a slice does.
    #[must_use]
    pub fn transition_row(&self, regime: usize) -> &[f64] {
        &self.transition[regime * self.regimes.len()..(regime + 1) * self.regimes.len()]
    }

    /// Share of time spent in each regime.
    #[must_use]
    pub fn stationary(&self) -> &[f64] {
        &self.stationary
    }

    /// Variance of the factor (its mean is 0) while each regime lasts, in the stationary law.
    #[must_use]
    pub fn factor_variance(&self) -> &[f64] {
        &self.factor_variance
    }

    /// Variance of the return over one step: explained by regime and factor, and all of it.
    #[must_use]
    pub fn return_variance(&self) -> (f64, f64) {
        let per_regime = self.regimes.iter().zip(&self.factor_variance).zip(&self.stationary);
        let explained = per_regime.clone().map(|((regime, f2), share)| share * regime.beta * regime.beta * f2);
        let noise = per_regime.map(|((regime, _), share)| share * regime.return_noise * regime.return_noise);
        let explained: f64 = explained.sum();
        (explained, explained + noise.sum::<f64>())
    }

    /// π = π P, by iteration.
    fn stationary_law(&self) -> Result<Vec<f64>, StatsError> {
        let start = vec![1.0 / self.regimes.len() as f64; self.regimes.len()];
        self.fixed_point("the stationary law", start, |_, sum| sum)
    }

    /// `w_j = φ_j² Σ_i w_i P_ij + π_j q_j²` for `w_j = π_j E[f² | j]`, by iteration.
    fn stationary_variance(&self) -> Result<Vec<f64>, StatsError> {
        let next = |j: usize, sum: f64| {
            let regime = &self.regimes[j];
            regime.persistence.powi(2) * sum + self.stationary[j] * regime.innovation.powi(2)
        };
        let weighted = self.fixed_point("the factor's variance", vec![0.0; self.regimes.len()], next)?;
        Ok(weighted.iter().zip(&self.stationary).map(|(weighted, share)| weighted / share).collect())
    }

    fn fixed_point(
        &self,
        what: &'static str,
        mut values: Vec<f64>,
        next: impl Fn(usize, f64) -> f64,
    ) -> Result<Vec<f64>, StatsError> {
        for _ in 0..ITERATIONS_MAX {
            let moved: Vec<f64> = (0..values.len()).map(|j| next(j, self.arriving_in(&values, j))).collect();
            let change = moved.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let size = moved.iter().copied().fold(0.0, f64::max);
            values = moved;
            if change <= 1e-15 * size {
                return Ok(values);
            }
        }
        Err(StatsError::NotConverged { what, iterations: ITERATIONS_MAX })
    }

    /// `Σ_i values_i P_ij`.
    pub(crate) fn arriving_in(&self, values: &[f64], j: usize) -> f64 {
        values.iter().enumerate().map(|(i, value)| value * self.transition_row(i)[j]).sum()
    }
}

impl RegimeParameters {
    fn check(&self, features: usize) -> Result<(), StatsError> {
        let above_0 = |value: f64| value > 0.0 && value.is_finite();
        check_range("persistence", self.persistence, |phi| phi.abs() < 1.0, "between −1 and 1")?;
        check_range("innovation", self.innovation, above_0, "above 0")?;
        check_range("return_noise", self.return_noise, above_0, "above 0")?;
        check_range("beta", self.beta, f64::is_finite, "finite")?;
        check_len("offset", self.offset.len(), features)?;
        check_len("noise", self.noise.len(), features)?;
        check_finite("offset", &self.offset)?;
        match self.noise.iter().position(|value| !above_0(*value)) {
            Some(index) => {
                Err(StatsError::OutOfRange { what: "noise", index, value: self.noise[index], range: "above 0" })
            }
            None => Ok(()),
        }
    }
}
