//! Mutations of bytes, from one seeded stream of chance.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The longest input that a mutation makes, in bytes.
pub const INPUT_LEN_MAX: usize = 1 << 17;
/// The most mutations of one input.
const STACK_MAX: usize = 8;
/// Where headers are: every third change happens in this many first bytes.
const HEAD_LEN: usize = 160;
/// The most bytes that a chunk mutation moves.
const CHUNK_LEN_MAX: usize = 256;
/// Values at which counts, signs and widths turn over.
const INTERESTING: [u64; 18] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// What is done to an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// One bit is turned.
    BitFlip,
    /// One byte becomes a value at which something turns over, or any.
    ByteSet,
    /// An integer of 2, 4 or 8 bytes, in either byte order, becomes such a value.
    IntegerSet,
    /// An integer of 2, 4 or 8 bytes, in either byte order, moves by at most 16.
    IntegerNudge,
    /// A field that reads as a length of what follows it now claims one more, one less, all the rest, or nothing.
    LengthLie,
    /// A run of bytes goes.
    ChunkDelete,
    /// A run of bytes comes twice.
    ChunkDuplicate,
    /// A run of random bytes comes in.
    ChunkInsert,
    /// The rest comes from another input.
    Splice,
    /// A run of bytes is overwritten by one of another input.
    Transplant,
    /// The end goes.
    Truncate,
}

impl Mutation {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::BitFlip,
        Self::ByteSet,
        Self::IntegerSet,
        Self::IntegerNudge,
        Self::LengthLie,
        Self::ChunkDelete,
        Self::ChunkDuplicate,
        Self::ChunkInsert,
        Self::Splice,
        Self::Transplant,
        Self::Truncate,
    ];
}

/// Makes inputs out of a corpus: the same ones in the same order for the same seed, name and corpus.
#[derive(Clone, Debug)]
pub struct Mutator {
    random: ChaCha8Rng,
    counts: [u64; Mutation::ALL.len()],
}

impl Mutator {
    /// The stream of `seed` for the target `name`.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        let mut key = *b"\0\0\0\0\0\0\0\0peregrine fuzz mutations";
        for (place, byte) in key.iter_mut().zip(seed.to_le_bytes()) {
            *place = byte;
        }
        let mut random = ChaCha8Rng::from_seed(key);
        // FNV-1a, 64 bits.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        random.set_stream(name.bytes().fold(0xcbf2_9ce4_8422_2325, step));
        Self { random, counts: [0; Mutation::ALL.len()] }
    }

    /// How often each kind of [`Mutation::ALL`] was tried.
    #[must_use]
    pub const fn counts(&self) -> &[u64; Mutation::ALL.len()] {
        &self.counts
    }

    /// Replaces `out` by the next input: one of `corpus` with one to eight mutations, or now and then random bytes.
    pub fn next_input(&mut self, corpus: &[Vec<u8>], out: &mut Vec<u8>) {
        out.clear();
        let base = self.pick(corpus).filter(|_| self.below(64) != 0);
        match base {
            Some(base) => out.extend_from_slice(base),
            None => {
                let len = self.below(CHUNK_LEN_MAX);
                self.extend_random(out, len);
            }
        }
        for _ in 0..=self.below(STACK_MAX).min(self.below(STACK_MAX)) {
            let kind = self.below(Mutation::ALL.len());
            if let Some((mutation, count)) = Mutation::ALL.get(kind).zip(self.counts.get_mut(kind)) {
                *count += 1;
                self.apply(*mutation, corpus, out);
            }
        }
        out.truncate(INPUT_LEN_MAX);
    }

    /// A number below `count`, 0 for a count of 0.
    fn below(&mut self, count: usize) -> usize {
        let wide = u128::from(self.random.next_u64()) * count as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// A place in `len` bytes.
    fn place(&mut self, len: usize) -> usize {
        let within = if self.below(3) == 0 { len.min(HEAD_LEN) } else { len };
        self.below(within)
    }

    fn pick<'c>(&mut self, corpus: &'c [Vec<u8>]) -> Option<&'c Vec<u8>> {
        let index = self.below(corpus.len());
        corpus.get(index)
    }

    fn extend_random(&mut self, out: &mut Vec<u8>, len: usize) {
        let start = out.len();
        out.resize(start + len, 0);
        self.random.fill_bytes(out.get_mut(start..).unwrap_or_default());
    }

    /// A run of at most [`CHUNK_LEN_MAX`] bytes within `len`, seldom a longer one.
    fn range(&mut self, len: usize) -> core::ops::Range<usize> {
        let start = self.place(len);
        let longest = if self.below(16) == 0 { len } else { CHUNK_LEN_MAX };
        start..start + self.below((len - start).min(longest) + 1)
    }

    fn apply(&mut self, mutation: Mutation, corpus: &[Vec<u8>], out: &mut Vec<u8>) {
        if out.is_empty() && mutation != Mutation::Splice {
            let len = 1 + self.below(64);
            self.extend_random(out, len);
        }
        match mutation {
            Mutation::BitFlip => {
                let (at, bit) = (self.place(out.len()), self.below(8));
                change(out, at, |byte| byte ^ (1 << bit));
            }
            Mutation::ByteSet => {
                let (at, value) = (self.place(out.len()), self.interesting().to_le_bytes()[0]);
                change(out, at, |_| value);
            }
            Mutation::IntegerSet => {
                let value = self.interesting();
                self.integer(out, |_| value);
            }
            Mutation::IntegerNudge => {
                let step = (self.below(33) as u64).wrapping_sub(16);
                self.integer(out, |value| value.wrapping_add(step));
            }
            Mutation::LengthLie => self.lie(out),
            Mutation::ChunkDelete => drop(out.drain(self.range(out.len()))),
            Mutation::ChunkDuplicate => {
                let chunk = self.range(out.len());
                let (end, chunk) = (chunk.end, out.get(chunk).unwrap_or_default().to_vec());
                drop(out.splice(end..end, chunk));
            }
            Mutation::ChunkInsert => {
                let (at, len) = (self.place(out.len()), self.below(32));
                let mut chunk = Vec::new();
                self.extend_random(&mut chunk, len);
                drop(out.splice(at..at, chunk));
            }
            Mutation::Splice => {
                let Some(other) = self.pick(corpus) else { return };
                out.truncate(self.below(out.len() + 1));
                out.extend_from_slice(other.get(self.below(other.len() + 1)..).unwrap_or_default());
            }
            Mutation::Transplant => {
                let Some(other) = self.pick(corpus) else { return };
                let (from, at) = (self.range(other.len()), self.place(out.len()));
                let places = out.iter_mut().skip(at);
                places.zip(other.get(from).unwrap_or_default()).for_each(|(place, byte)| *place = *byte);
            }
            Mutation::Truncate => out.truncate(self.below(out.len())),
        }
    }

    /// A value at which something turns over, or any.
    fn interesting(&mut self) -> u64 {
        let index = self.below(INTERESTING.len() + 4);
        INTERESTING.get(index).copied().unwrap_or_else(|| self.random.next_u64())
    }

    /// Changes an integer of some width and byte order somewhere.
    fn integer(&mut self, out: &mut [u8], new: impl FnOnce(u64) -> u64) {
        let width = 2_usize << self.below(3);
        let (at, is_big) = (self.place(out.len()), self.below(2) == 0);
        if let Some(field) = out.get_mut(at..at + width) {
            let value = new(read(field, is_big));
            write(field, is_big, value);
        }
    }

    /// Looks from a random place on for a field that could be a length: not 0, and no longer than what follows.
    fn lie(&mut self, out: &mut [u8]) {
        let width = 1_usize << self.below(4);
        let (start, is_big, claim) = (self.place(out.len()), self.below(2) == 0, self.below(6));
        let len = out.len();
        for at in start..len {
            let Some(field) = out.get_mut(at..at + width) else { return };
            let (value, rest) = (read(field, is_big), (len - at - width) as u64);
            if value == 0 || value > rest {
                continue;
            }
            let lies = [value + 1, value - 1, rest, rest + 1, 0, u64::MAX];
            write(field, is_big, lies.get(claim).copied().unwrap_or(0));
            return;
        }
    }
}

fn change(out: &mut [u8], at: usize, new: impl FnOnce(u8) -> u8) {
    if let Some(byte) = out.get_mut(at) {
        *byte = new(*byte);
    }
}

fn read(field: &[u8], is_big: bool) -> u64 {
    let join = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    if is_big { field.iter().fold(0, join) } else { field.iter().rev().fold(0, join) }
}

fn write(field: &mut [u8], is_big: bool, value: u64) {
    let bytes = value.to_le_bytes();
    if is_big {
        field.iter_mut().rev().zip(bytes).for_each(|(place, byte)| *place = byte);
    } else {
        field.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Vec<Vec<u8>> {
        vec![(0..200).collect(), b"\0\x05hello\0\x05world".to_vec(), Vec::new()]
    }

    fn inputs(seed: u64, name: &str, count: usize) -> Vec<Vec<u8>> {
        let (corpus, mut mutator) = (corpus(), Mutator::new(seed, name));
        let mut one = Vec::new();
        (0..count)
            .map(|_| {
                mutator.next_input(&corpus, &mut one);
                one.clone()
            })
            .collect()
    }

    #[test]
    fn one_seed_gives_one_sequence_and_every_name_its_own() {
        assert_eq!(inputs(7, "a", 500), inputs(7, "a", 500));
        assert_ne!(inputs(7, "a", 20), inputs(8, "a", 20));
        assert_ne!(inputs(7, "a", 20), inputs(7, "b", 20));
    }

    #[test]
    fn every_kind_comes_and_every_kind_changes_something() {
        let corpus = corpus();
        let mut mutator = Mutator::new(1, "kinds");
        let mut out = Vec::new();
        for _ in 0..1_000 {
            mutator.next_input(&corpus, &mut out);
            assert!(out.len() <= INPUT_LEN_MAX);
        }
        assert!(mutator.counts().iter().all(|count| *count > 50), "{:?}", mutator.counts());
        for kind in Mutation::ALL {
            let is_changed = (0..100).any(|_| {
                let mut input = corpus[0].clone();
                mutator.apply(kind, &corpus, &mut input);
                input != corpus[0]
            });
            assert!(is_changed, "{kind:?} never changes anything");
        }
    }

    #[test]
    fn a_lie_is_about_a_length() {
        let mut mutator = Mutator::new(3, "lies");
        let honest = b"\0\x05hello\0\x05world".to_vec();
        let lied = (0..2_000).any(|_| {
            let mut input = honest.clone();
            mutator.lie(&mut input);
            input[..2] == [0, 6] && input[2..] == honest[2..]
        });
        assert!(lied, "the big-endian length of the first block was never raised by one");
    }

    #[test]
    fn integers_are_read_as_written() {
        for (is_big, bytes) in [(true, [1, 2, 3, 4]), (false, [4, 3, 2, 1])] {
            assert_eq!(read(&bytes, is_big), 0x0102_0304);
            let mut field = [0; 4];
            write(&mut field, is_big, 0x0102_0304);
            assert_eq!(field, bytes);
        }
    }
}
