//! The reorder window: packets beyond the next message wait here, copied, in a fixed number of slots.

use peregrine_types::EpochNanos;

use crate::arbiter::LineId;

/// A waiting packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Number of its first message.
    pub(crate) sequence: u64,
    /// Number after its last message.
    pub(crate) end: u64,
    /// When it arrived.
    pub(crate) arrival: EpochNanos,
    /// On which line.
    pub(crate) line: LineId,
    pub(crate) slot: u16,
    pub(crate) len: u16,
}

/// Packets in ascending order of their first message.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    held: Box<[Held]>,
    held_count: usize,
    free_slots: Box<[u16]>,
    free_count: usize,
    bytes: Box<[u8]>,
    slot_len: usize,
}

impl Window {
    /// A window of `packet_count` packets of at most `packet_len` bytes each.
    pub(crate) fn new(packet_count: u16, packet_len: u16) -> Self {
        let (count, slot_len) = (usize::from(packet_count), usize::from(packet_len));
        Self {
            held: vec![Held::default(); count].into_boxed_slice(),
            held_count: 0,
            free_slots: (0..packet_count).collect(),
            free_count: count,
            bytes: vec![0; count.saturating_mul(slot_len)].into_boxed_slice(),
            slot_len,
        }
    }

    /// The packet with the lowest message.
    #[inline]
    pub(crate) fn first(&self) -> Option<&Held> {
        self.held().first()
    }

    /// The payload of a waiting packet.
    pub(crate) fn payload(&self, held: &Held) -> &[u8] {
        let start = usize::from(held.slot).saturating_mul(self.slot_len);
        self.bytes.get(start..start.saturating_add(usize::from(held.len))).unwrap_or_default()
    }

    /// When the packet arrived that waits longest.
    pub(crate) fn earliest_arrival(&self) -> Option<EpochNanos> {
        self.held().iter().map(|held| held.arrival).min()
    }

    /// How many messages of `from..to` wait here.
    pub(crate) fn covered(&self, from: u64, to: u64) -> u64 {
        let (mut at, mut covered) = (from, 0_u64);
        for held in self.held().iter().take_while(|held| held.sequence < to) {
            let (start, end) = (held.sequence.max(at), held.end.min(to));
            covered = covered.saturating_add(end.saturating_sub(start));
            at = at.max(end);
        }
        covered
    }

    /// Keeps a copy of `payload`; `false` when there is no slot for it.
    pub(crate) fn hold(&mut self, payload: &[u8], packet: Held) -> bool {
        let Ok(len) = u16::try_from(payload.len()) else { return false };
        if payload.len() > self.slot_len {
            return false;
        }
        let Some(slot) = self.free_count.checked_sub(1).and_then(|at| self.free_slots.get(at)).copied() else {
            return false;
        };
        let start = usize::from(slot).saturating_mul(self.slot_len);
        let Some(room) = self.bytes.get_mut(start..start.saturating_add(payload.len())) else { return false };
        // Both are as long; `copy_from_slice` would carry a panic for when they are not.
        room.iter_mut().zip(payload).for_each(|(place, byte)| *place = *byte);
        self.free_count = self.free_count.saturating_sub(1);
        let at = self.held().partition_point(|held| held.sequence <= packet.sequence);
        if let Some(place) = self.held.get_mut(self.held_count) {
            *place = Held { slot, len, ..packet };
            self.held_count = self.held_count.saturating_add(1);
        }
        if let Some(moved) = self.held.get_mut(at..self.held_count).filter(|moved| !moved.is_empty()) {
            moved.rotate_right(1);
        }
        true
    }

    /// Frees the slot of the packet with the lowest message.
    pub(crate) fn release_first(&mut self) {
        let Some(slot) = self.first().map(|held| held.slot) else { return };
        if let Some(place) = self.free_slots.get_mut(self.free_count) {
            *place = slot;
            self.free_count = self.free_count.saturating_add(1);
        }
        if let Some(all) = self.held.get_mut(..self.held_count).filter(|all| !all.is_empty()) {
            all.rotate_left(1);
        }
        self.held_count = self.held_count.saturating_sub(1);
    }

    fn held(&self) -> &[Held] {
        self.held.get(..self.held_count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u64, end: u64) -> Held {
        Held { sequence, end, ..Held::default() }
    }

    #[test]
    fn packets_come_out_in_order_and_slots_are_reused() {
        let mut window = Window::new(3, 4);
        for base in [0_u64, 100, 200] {
            assert!(window.hold(&[3], packet(base.wrapping_add(30), base.wrapping_add(33))));
            assert!(window.hold(&[1, 1], packet(base.wrapping_add(10), base.wrapping_add(12))));
            assert!(window.hold(&[2], packet(base.wrapping_add(20), base.wrapping_add(21))));
            assert!(!window.hold(&[4], packet(base.wrapping_add(40), base.wrapping_add(41))), "no slot is left");
            for payload in [&[1, 1][..], &[2], &[3]] {
                let first = *window.first().unwrap();
                assert_eq!(window.payload(&first), payload);
                window.release_first();
            }
            assert!(window.first().is_none());
        }
        assert!(!window.hold(&[0; 5], packet(1, 2)), "longer than a slot");
    }

    #[test]
    fn coverage_counts_every_message_once() {
        let mut window = Window::new(4, 4);
        assert!(window.hold(&[], packet(10, 20)));
        assert!(window.hold(&[], packet(15, 25)));
        assert!(window.hold(&[], packet(12, 13)));
        assert!(window.hold(&[], packet(30, 31)));
        assert_eq!(window.covered(10, 25), 15);
        assert_eq!(window.covered(0, 40), 16);
        assert_eq!(window.covered(18, 22), 4);
        assert_eq!(window.covered(25, 30), 0);
    }
}
