//! A market from a few numbers: what the synthetic data of the validation are made of.

use super::process::{RegimeParameters, RegimeProcess};
use crate::error::{StatsError, check_range};
use crate::random::Generator;

/// A market in a few numbers. Loadings and offsets are drawn from the seed; everything else follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarketSpec {
    /// Number of regimes K, 1 to 4.
    pub regimes: usize,
    /// Number of features D, 1 or more.
    pub features: usize,
    /// Probability that a regime lasts one more step, 0..1; the others are equally likely after it.
    pub stickiness: f64,
    /// Distance between the regimes' feature means, in standard deviations of a feature's noise, ≥ 0: of D features together
    /// (Euclidean), whatever D is.
    pub separation: f64,
    /// Distance by which one standard deviation of the factor moves the features, in the same unit, > 0.
    pub factor_strength: f64,
    /// Share of the variance of a step's return that regime and factor explain, 0..1; 0 is the market without signal.
    pub explained_share: f64,
    /// Standard deviation of a step's return, > 0 (0.01: one per cent).
    pub return_volatility: f64,
    /// Seed of loadings and offsets.
    pub seed: u64,
}

/// By regime: the factor's persistence and innovation (calm, trending, stressed, quiet), the scale of the
/// feature noise, the sign and size of beta, the scale of the return noise.
const PERSISTENCE: [f64; 4] = [0.90, 0.95, 0.80, 0.93];
const INNOVATION: [f64; 4] = [0.30, 0.30, 0.60, 0.25];
const NOISE: [f64; 4] = [0.9, 1.0, 1.2, 0.8];
const BETA: [f64; 4] = [1.0, 0.6, -0.8, 0.8];
const RETURN_NOISE: [f64; 4] = [0.8, 0.9, 1.3, 0.7];

impl Default for MarketSpec {
    /// Three regimes that last 20 steps on average and that one observation leaves in doubt, 16 features, a fifth of the return's
    /// variance explained by regime and factor, of which the filter with the true parameters finds four fifths.
    fn default() -> Self {
        Self {
            regimes: 3,
            features: 16,
            stickiness: 0.95,
            separation: 4.0,
            factor_strength: 2.0,
            explained_share: 0.2,
            return_volatility: 0.01,
            seed: 1,
        }
    }
}

impl MarketSpec {
    /// The same market with returns that nothing explains (β = 0) and of the same variance.
    #[must_use]
    pub fn without_signal(self) -> Self {
        Self { explained_share: 0.0, ..self }
    }

    /// The process.
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] naming the number.
    pub fn process(&self) -> Result<RegimeProcess, StatsError> {
        check_range("regimes", self.regimes as f64, |k| (1.0..=4.0).contains(&k), "1 to 4")?;
        check_range("features", self.features as f64, |d| d >= 1.0, "1 or more")?;
        check_range("stickiness", self.stickiness, |p| p > 0.0 && p < 1.0, "between 0 and 1")?;
        check_range("separation", self.separation, |x| x >= 0.0 && x.is_finite(), "0 or more")?;
        check_range("factor_strength", self.factor_strength, |x| x > 0.0 && x.is_finite(), "above 0")?;
        check_range("explained_share", self.explained_share, |p| (0.0..1.0).contains(&p), "0 to below 1")?;
        check_range("return_volatility", self.return_volatility, |x| x > 0.0 && x.is_finite(), "above 0")?;
        let mut generator = Generator::new(self.seed, "market");
        let loadings = direction(&mut generator, self.features, self.factor_strength);
        let mut regime = |k: usize| RegimeParameters {
            persistence: PERSISTENCE[k],
            innovation: INNOVATION[k],
            // Two directions at random are nearly at a right angle: √2 times their length apart.
            offset: direction(&mut generator, self.features, self.separation / std::f64::consts::SQRT_2),
            noise: vec![NOISE[k]; self.features],
            beta: BETA[k],
            return_noise: RETURN_NOISE[k],
        };
        let regimes: Vec<RegimeParameters> = (0..self.regimes).map(&mut regime).collect();
        let process = RegimeProcess::new(regimes, loadings, self.transition())?;
        self.scaled(&process)
    }

    fn transition(&self) -> Vec<f64> {
        let k = self.regimes;
        let other = (1.0 - self.stickiness) / (k.max(2) - 1) as f64;
        let cell = |cell: usize| {
            if k == 1 {
                1.0
            } else if cell / k == cell % k {
                self.stickiness
            } else {
                other
            }
        };
        (0..k * k).map(cell).collect()
    }

    /// Scales the factor's loadings, β and the return noise to what the spec says of the stationary law.
    fn scaled(&self, process: &RegimeProcess) -> Result<RegimeProcess, StatsError> {
        let shares = process.stationary().iter().zip(process.factor_variance());
        let factor_deviation = shares.map(|(share, variance)| share * variance).sum::<f64>().sqrt();
        let (explained, all) = process.return_variance();
        let variance = self.return_volatility.powi(2);
        let beta = (self.explained_share * variance / explained).sqrt();
        let noise = ((1.0 - self.explained_share) * variance / (all - explained)).sqrt();
        let scale = |regime: &RegimeParameters| RegimeParameters {
            beta: regime.beta * beta,
            return_noise: regime.return_noise * noise,
            ..regime.clone()
        };
        let loadings = process.loadings().iter().map(|loading| loading / factor_deviation).collect();
        RegimeProcess::new(process.regimes().iter().map(scale).collect(), loadings, self.transition())
    }
}

/// A random direction in `count` dimensions, of the given length.
fn direction(generator: &mut Generator, count: usize, length: f64) -> Vec<f64> {
    let raw: Vec<f64> = (0..count).map(|_| generator.normal()).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f64>().sqrt();
    raw.iter().map(|x| x * length / norm).collect()
}
