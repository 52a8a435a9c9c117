//! Bytes on their way to a socket, in a buffer of fixed size.

use super::packet::{PacketType, header};

/// Outgoing bytes, first in first out. A packet goes in whole or not at all; the socket takes as much as it can.
#[derive(Debug)]
pub struct Outbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// There is no room for the packet: the other side does not read fast enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outgoing buffer has no room for the packet")]
pub struct OutboxFull;

impl Outbox {
    /// An empty outbox for `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    /// The bytes that wait, oldest first.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes off the first `count` bytes, which were sent; at most what waits.
    pub fn advance(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets what waits.
    pub const fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Appends bytes as they are.
    ///
    /// # Errors
    /// [`OutboxFull`] when they do not fit whole; nothing is appended then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OutboxFull> {
        self.make_room(bytes.len())?;
        self.append(bytes);
        Ok(())
    }

    /// Appends a packet.
    ///
    /// # Errors
    /// [`OutboxFull`] when it does not fit whole, or is longer than a packet can be; nothing is appended then.
    pub fn push_packet(&mut self, packet_type: PacketType, payload: &[u8]) -> Result<(), OutboxFull> {
        let header = header(packet_type, payload.len()).ok_or(OutboxFull)?;
        self.make_room(header.len().saturating_add(payload.len()))?;
        self.append(&header);
        self.append(payload);
        Ok(())
    }

    /// Sees to it that `len` bytes fit behind the end.
    fn make_room(&mut self, len: usize) -> Result<(), OutboxFull> {
        if self.bytes.len().saturating_sub(self.end) >= len {
            return Ok(());
        }
        let waiting = self.end.saturating_sub(self.start);
        if self.bytes.len().saturating_sub(waiting) < len {
            return Err(OutboxFull);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.start = 0;
        self.end = waiting;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.end.saturating_add(bytes.len());
        if let Some(room) = self.bytes.get_mut(self.end..end) {
            room.copy_from_slice(bytes);
            self.end = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_packet_goes_in_whole_or_not_at_all() {
        let mut outbox = Outbox::new(8);
        assert_eq!(outbox.push_packet(PacketType::UnsequencedData, b"abcd"), Ok(()));
        assert_eq!(outbox.push_packet(PacketType::ClientHeartbeat, b""), Err(OutboxFull));
        assert_eq!(outbox.pending(), b"\0\x05Uabcd");
        outbox.advance(2);
        assert_eq!(outbox.push_packet(PacketType::ClientHeartbeat, b""), Ok(()));
        assert_eq!(outbox.pending(), b"Uabcd\0\x01R");
        outbox.advance(100);
        assert!(outbox.is_empty());
        assert_eq!(Outbox::new(100_000).push_packet(PacketType::Debug, &[0; 65_535]), Err(OutboxFull));
    }

    proptest! {
        #[test]
        fn it_is_a_queue_of_bytes(steps in prop::collection::vec((0_usize..20, 0_usize..20), 0..60)) {
            let (mut outbox, mut list, mut next) = (Outbox::new(32), Vec::new(), 0_u8);
            for (push, advance) in steps {
                let bytes: Vec<u8> = (0..push).map(|_| { next = next.wrapping_add(1); next }).collect();
                let fits = list.len() + push <= 32;
                prop_assert_eq!(outbox.push(&bytes).is_ok(), fits);
                if fits { list.extend(bytes); }
                outbox.advance(advance);
                list.drain(..advance.min(list.len()));
                prop_assert_eq!(outbox.pending(), &list[..]);
            }
        }
    }
}
