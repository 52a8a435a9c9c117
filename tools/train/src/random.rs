//! Seeded draws: one seed, split by purpose and step, so that no generator's state has to be carried or saved.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The generator of one purpose at one step: the key is SHA-256 of seed and name, the stream is the step.
pub(crate) fn stream(seed: u64, name: &str, step: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
    rng.set_stream(step);
    rng
}

/// Uniform in [0, 1), from 24 random bits.
pub(crate) fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32() >> 8) / f64::from(1_u32 << 24)
}

/// Fills `to` with standard normal draws (Box & Muller 1958).
pub(crate) fn normals(rng: &mut ChaCha8Rng, to: &mut [f32]) {
    for pair in to.chunks_mut(2) {
        let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * uniform(rng)).sin_cos();
        for (to, x) in pair.iter_mut().zip([radius * cosine, radius * sine]) {
            *to = crate::real::Real::of(x);
        }
    }
}

/// A seeded order of `0..count` (Fisher & Yates 1938).
pub(crate) fn shuffled(rng: &mut ChaCha8Rng, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let bound = u64::try_from(last).unwrap_or(u64::MAX).wrapping_add(1);
        let pick = usize::try_from(rng.next_u64() % bound).unwrap_or(0);
        order.swap(last, pick);
    }
    order
}

/// Uniform in ±1/√fan_in, PyTorch's default for linear and recurrent layers.
pub(crate) fn fan_in(rng: &mut ChaCha8Rng, count: usize, fan_in: usize) -> Vec<f32> {
    let bound = 1.0 / f64::from(u32::try_from(fan_in.max(1)).unwrap_or(u32::MAX)).sqrt();
    (0..count).map(|_| crate::real::Real::of((2.0 * uniform(rng) - 1.0) * bound)).collect()
}
