//! Chance: ChaCha8, one seed split into independent streams by name.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::math;

/// One named stream of a seed.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The stream `name` of `seed`. The key is the seed in little-endian followed by a fixed text, the stream number
    /// is the 64-bit FNV-1a hash of the name.
    pub fn named(seed: u64, name: &str) -> Self {
        let mut key = *b"\0\0\0\0\0\0\0\0peregrine session stream";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        let stream = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        generator.set_stream(stream);
        Self(generator)
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 32 random bits.
    #[inline]
    pub fn word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number below `count` (0 for a count of 0), by multiplication; its bias is below `count` / 2³².
    pub fn below(&mut self, count: u32) -> u32 {
        u32::try_from((u64::from(self.word()) * u64::from(count)) >> 32).unwrap_or(0)
    }

    /// A number in 0..1, in steps of 2⁻³².
    #[inline]
    pub fn unit(&mut self) -> f64 {
        f64::from(self.word()) / 4_294_967_296.0
    }

    /// Whether something of probability `p` happens.
    #[inline]
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A draw from the exponential distribution with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -math::ln((f64::from(self.word()) + 0.5) / 4_294_967_296.0)
    }

    /// A draw close to the standard normal distribution: the sum of four 16-bit uniforms (Irwin–Hall), within ±3.46.
    pub fn normal(&mut self) -> f64 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|part| (bits >> (part * 16)) & 0xffff).sum();
        (math::float(sum) / 65_535.0 - 2.0) * 1.732_050_807_568_877_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_differ_by_name_and_seed() {
        let draw = |seed, name| Random::named(seed, name).bits();
        assert_eq!(draw(1, "flow"), draw(1, "flow"));
        assert_ne!(draw(1, "flow"), draw(1, "line A"));
        assert_ne!(draw(1, "flow"), draw(2, "flow"));
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut random = Random::named(7, "moments");
        let count = 100_000;
        let (mut exponential, mut normal, mut square) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            exponential += random.exponential();
            let z = random.normal();
            normal += z;
            square += z * z;
            assert!(random.below(10) < 10);
        }
        assert!((exponential / f64::from(count) - 1.0).abs() < 0.02);
        assert!((normal / f64::from(count)).abs() < 0.02);
        assert!((square / f64::from(count) - 1.0).abs() < 0.02);
    }
}
