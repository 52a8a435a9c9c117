//! Seeded chance: ChaCha8, one stream per name, so that procedures of one seed do not share their draws.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A generator of uniform, normal and categorical draws. One seed and stream name give the same draws everywhere.
#[derive(Clone, Debug)]
pub struct Generator {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Generator {
    /// The stream `name` of a seed.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(name_hash(name));
        Self { rng, spare: None }
    }

    /// Uniform in `0..1`.
    pub fn uniform(&mut self) -> f64 {
        self.rng.random()
    }

    /// Uniform in `0..bound`; 0 when the bound is 0.
    pub fn index(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.rng.random_range(0..bound) }
    }

    /// Standard normal (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }

    /// An index with probability in proportion to its weight (≥ 0); the last one when every weight is 0.
    pub fn categorical(&mut self, weights: &[f64]) -> usize {
        let mut left = self.uniform() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len().saturating_sub(1)
    }

    /// `count` different indices below `bound` in ascending order; all of them when there are no more.
    pub fn sample(&mut self, bound: usize, count: usize) -> Vec<usize> {
        if count >= bound {
            return (0..bound).collect();
        }
        let mut chosen = rand::seq::index::sample(&mut self.rng, bound, count).into_vec();
        chosen.sort_unstable();
        chosen
    }
}

/// FNV-1a, 64 bits: a stable number for a name.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_streams() {
        let mut generator = Generator::new(1, "a");
        let draws: Vec<f64> = (0..100_000).map(|_| generator.normal()).collect();
        assert!(crate::mean(&draws).unwrap().abs() < 0.01);
        assert!((crate::variance(&draws, 1).unwrap() - 1.0).abs() < 0.02);
        let first = |seed, name| Generator::new(seed, name).uniform();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
        assert_ne!(first(1, "a"), first(2, "a"));
        let ones = (0..10_000).filter(|_| generator.categorical(&[3.0, 1.0]) == 1).count();
        assert!((2_300..2_700).contains(&ones));
        assert_eq!(generator.sample(5, 9), [0, 1, 2, 3, 4]);
        assert_eq!(generator.sample(50, 9).len(), 9);
    }
}
