//! What was delivered lately: a checksum of each message, when it came and on which line. Copies from other lines are
//! compared with it.

use peregrine_types::{EpochNanos, Nanos};

use crate::arbiter::LineId;

/// One delivered message.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    sequence: u64,
    arrival: EpochNanos,
    checksum: u32,
    line: LineId,
}

/// The last messages delivered, in a table indexed by the low bits of their numbers.
#[derive(Clone, Debug)]
pub(crate) struct History {
    seen: Box<[Seen]>,
}

impl History {
    /// Remembers the last `message_count` messages, a power of two; with 0, nothing.
    pub(crate) fn new(message_count: usize) -> Self {
        Self { seen: vec![Seen::default(); message_count].into_boxed_slice() }
    }

    pub(crate) fn is_kept(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Forgets everything: numbers begin again.
    pub(crate) fn clear(&mut self) {
        self.seen.fill(Seen::default());
    }

    #[inline]
    pub(crate) fn record(&mut self, sequence: u64, message: &[u8], line: LineId, arrival: EpochNanos) {
        let index = self.index(sequence);
        if let Some(seen) = self.seen.get_mut(index) {
            *seen = Seen { sequence, arrival, checksum: checksum(message), line };
        }
    }

    /// Whether `message` differs from what was delivered under its number; `false` when that is not remembered.
    #[inline]
    pub(crate) fn differs(&self, sequence: u64, message: &[u8]) -> bool {
        self.find(sequence).is_some_and(|seen| seen.checksum != checksum(message))
    }

    /// Whether the message with this number is remembered.
    pub(crate) fn knows(&self, sequence: u64) -> bool {
        self.find(sequence).is_some()
    }

    /// How long after its delivery on another line the message arrived at `now` on `line`.
    pub(crate) fn behind(&self, sequence: u64, line: LineId, now: EpochNanos) -> Option<Nanos> {
        self.find(sequence).filter(|seen| seen.line != line).map(|seen| now.since(seen.arrival))
    }

    fn find(&self, sequence: u64) -> Option<&Seen> {
        self.seen.get(self.index(sequence)).filter(|seen| seen.sequence == sequence)
    }

    #[inline]
    fn index(&self, sequence: u64) -> usize {
        let mask = self.seen.len().wrapping_sub(1) as u64;
        usize::try_from(sequence & mask).unwrap_or(0)
    }
}

/// A checksum that tells accidental differences apart (not forged ones): multiply and fold over eight bytes at a time,
/// the last eight overlapping.
#[inline]
fn checksum(message: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let fold = |state: u64, word: u64| {
        let product = (state ^ word).wrapping_mul(FACTOR);
        product ^ (product >> 32)
    };
    let (words, rest) = message.as_chunks::<8>();
    let mut state = words.iter().fold(message.len() as u64, |state, word| fold(state, u64::from_le_bytes(*word)));
    state = match message.last_chunk::<8>() {
        Some(last) => fold(state, u64::from_le_bytes(*last)),
        None => rest.iter().fold(state, |state, byte| fold(state, u64::from(*byte))),
    };
    u32::try_from(state & 0xFFFF_FFFF).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_changed_byte_changes_the_checksum(message in prop::collection::vec(any::<u8>(), 1..60), at: prop::sample::Index, change in 1_u8..) {
            let mut other = message.clone();
            other[at.index(message.len())] ^= change;
            prop_assert_ne!(checksum(&message), checksum(&other));
            prop_assert_ne!(checksum(&message), checksum(&message[1..]));
        }
    }

    #[test]
    fn old_messages_are_forgotten_not_confused() {
        let mut history = History::new(4);
        history.record(1, b"one", LineId(0), EpochNanos(10));
        assert!(history.differs(1, b"two") && !history.differs(1, b"one"));
        assert_eq!(history.behind(1, LineId(1), EpochNanos(15)), Some(Nanos(5)));
        assert_eq!(history.behind(1, LineId(0), EpochNanos(15)), None);
        history.record(5, b"five", LineId(0), EpochNanos(20));
        assert!(!history.differs(1, b"two"), "message 1 is forgotten");
        let none = History::new(0);
        assert!(!none.is_kept() && !none.differs(0, b""));
    }
}
