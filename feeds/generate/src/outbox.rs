//! Messages on their way out: what one step of the session wrote, until it is read.

use peregrine_wire::itch50::{MESSAGE_LEN_MAX, MessageType};
use zerocopy::{Immutable, IntoBytes};

#[derive(Clone, Copy, Debug)]
struct Written {
    time: u64,
    len: u8,
    bytes: [u8; MESSAGE_LEN_MAX],
}

/// A queue of messages, with their count by type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    written: Vec<Written>,
    read: usize,
    /// Messages written so far, by [`MessageType::index`].
    pub(crate) counts: [u64; MessageType::COUNT],
}

impl Outbox {
    /// Appends `message`, stamped `time`.
    #[inline]
    pub(crate) fn write(&mut self, time: u64, kind: MessageType, message: &(impl IntoBytes + Immutable)) {
        let source = message.as_bytes();
        let mut bytes = [0; MESSAGE_LEN_MAX];
        bytes[..source.len()].copy_from_slice(source);
        self.counts[kind.index()] += 1;
        self.written.push(Written { time, len: u8::try_from(source.len()).unwrap_or(0), bytes });
    }

    /// Whether everything was read.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.read == self.written.len()
    }

    /// The next message and its time of day; forgets the ones before it when it was the last.
    #[inline]
    pub(crate) fn read(&mut self) -> Option<(u64, &[u8])> {
        let written = self.written.get(self.read)?;
        self.read += 1;
        Some((written.time, &written.bytes[..usize::from(written.len)]))
    }

    /// Forgets what was read.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.written.clear();
        self.read = 0;
    }
}
