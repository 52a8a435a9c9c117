//! The running hash of a flow: fast enough for every event, good enough to tell two runs apart.
//!
//! Not cryptographic: the event log's hash chain (BLAKE3) guards against forgery, this one only finds differences. Each
//! word is folded in by a 64×64→128-bit multiplication, whose halves feed two lanes (the construction of wyhash).

use zerocopy::{Immutable, IntoBytes};

const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// Two lanes of 64 bits over everything that was folded in, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningHash([u64; 2]);

impl Default for RunningHash {
    fn default() -> Self {
        Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344])
    }
}

impl RunningHash {
    /// Folds one word in.
    #[inline]
    pub fn word(&mut self, word: u64) {
        let [first, second] = self.0;
        let wide = u128::from(first ^ word).wrapping_mul(u128::from(MULTIPLIERS[0]));
        // Both halves fit; the compiler knows it and makes no branch.
        let low = u64::try_from(wide & u128::from(u64::MAX)).unwrap_or(0);
        let high = u64::try_from(wide >> 64).unwrap_or(0);
        self.0 = [low ^ high, (second.rotate_left(23) ^ low).wrapping_mul(MULTIPLIERS[1]).wrapping_add(high)];
    }

    /// Folds the bytes of a value in, eight at a time; a shorter rest is filled up with zeros.
    #[inline]
    pub fn value<T: IntoBytes + Immutable + ?Sized>(&mut self, value: &T) {
        let mut words = value.as_bytes().chunks_exact(8);
        for word in &mut words {
            self.word(word.try_into().map_or(0, u64::from_le_bytes));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.word(u64::from_le_bytes(last));
        }
    }

    /// The hash of everything so far.
    #[must_use]
    pub const fn lanes(&self) -> [u64; 2] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_and_every_position_counts() {
        let hash = |words: &[u64]| {
            let mut hash = RunningHash::default();
            words.iter().for_each(|word| hash.word(*word));
            hash.lanes()
        };
        let base = hash(&[1, 2, 3]);
        for (index, bit) in (0..3).flat_map(|index| (0..64).map(move |bit| (index, bit))) {
            let mut words = [1, 2, 3];
            words[index] ^= 1 << bit;
            assert_ne!(hash(&words), base, "word {index} bit {bit}");
        }
        assert_ne!(hash(&[2, 1, 3]), base);
        assert_ne!(hash(&[1, 2, 3, 0]), base);
    }

    #[test]
    fn a_short_rest_is_folded_in() {
        let of = |bytes: &[u8]| {
            let mut hash = RunningHash::default();
            hash.value(bytes);
            hash.lanes()
        };
        assert_ne!(of(b"12345678a"), of(b"12345678b"));
        assert_ne!(of(b"12345678"), of(b"1234567"));
    }
}
