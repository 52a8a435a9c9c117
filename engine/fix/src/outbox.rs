//! Bytes on their way to a socket.

/// Outgoing bytes, first in first out, at most so many. What is pushed goes in whole or not at all.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    start: usize,
    len_max: usize,
}

impl Outbox {
    pub(crate) fn new(len_max: usize) -> Self {
        Self { bytes: Vec::with_capacity(len_max), start: 0, len_max }
    }

    pub(crate) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.bytes.len());
        if self.is_empty() {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// Whether the bytes went in.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        if self.pending().len().saturating_add(bytes.len()) > self.len_max {
            return false;
        }
        if self.bytes.len().saturating_add(bytes.len()) > self.len_max {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
        true
    }
}
