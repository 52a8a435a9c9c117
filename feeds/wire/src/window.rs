//! The reorder window: packets beyond the next message wait here, copied, in a fixed number of slots. What is done with
//! every packet costs the same however many wait: they are looked for by halving, and taken off without moving the rest.

use peregrine_types::EpochNanos;

use crate::arbiter::{Framing, LineId};

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
    /// When the first of this packet and those behind it arrived.
    pub(crate) waiting_since: EpochNanos,
}

/// Packets in ascending order of their first message.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Twice as long as needed, so that packets move to its begin once in as many calls as there are slots.
    held: Box<[Held]>,
    start: usize,
    end: usize,
    /// Most messages in a packet that waits, or waited since nothing did.
    span_max: u64,
    free_slots: Box<[u16]>,
    free_count: usize,
    bytes: Box<[u8]>,
    slot_len: usize,
    framing: Framing,
}

impl Window {
    /// A window of `packet_count` packets of at most `packet_len` bytes each.
    pub(crate) fn new(packet_count: u16, packet_len: u16, framing: Framing) -> Self {
        let (count, slot_len) = (usize::from(packet_count), usize::from(packet_len));
        Self {
            held: vec![Held::default(); count.saturating_mul(2)].into_boxed_slice(),
            start: 0,
            end: 0,
            span_max: 0,
            free_slots: (0..packet_count).collect(),
            free_count: count,
            bytes: vec![0; count.saturating_mul(slot_len)].into_boxed_slice(),
            slot_len,
            framing,
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
        self.first().map(|held| held.waiting_since)
    }

    /// The packets that wait, by their first messages.
    pub(crate) fn packets(&self) -> &[Held] {
        self.held()
    }

    /// The packets that wait, without those that surely end at or before `from`.
    fn packets_from(&self, from: u64) -> &[Held] {
        let held = self.held();
        let skipped = held.partition_point(|held| held.sequence.saturating_add(self.span_max) <= from);
        held.get(skipped..).unwrap_or_default()
    }

    /// How many messages of `from..to` wait here.
    pub(crate) fn covered(&self, from: u64, to: u64) -> u64 {
        let (mut at, mut covered) = (from, 0_u64);
        for held in self.packets_from(from).iter().take_while(|held| held.sequence < to) {
            let (start, end) = (held.sequence.max(at), held.end.min(to));
            covered = covered.saturating_add(end.saturating_sub(start));
            at = at.max(end);
        }
        covered
    }

    /// The message with this number, if it waits here.
    pub(crate) fn message(&self, sequence: u64) -> Option<&[u8]> {
        let mut around = self.packets_from(sequence).iter().take_while(|held| held.sequence <= sequence);
        let held = around.find(|held| sequence < held.end)?;
        let packet = self.framing.parse(self.payload(held)).ok()?;
        packet.blocks().nth(usize::try_from(sequence.checked_sub(held.sequence)?).ok()?)
    }

    /// Keeps a copy of `payload`; `false` when there is no slot for it.
    pub(crate) fn hold(&mut self, payload: &[u8], packet: Held) -> bool {
        let Ok(len) = u16::try_from(payload.len()) else { return false };
        if !self.fits(payload.len()) {
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
        self.insert(Held { slot, len, ..packet });
        true
    }

    /// Whether a payload of this length can wait at all.
    pub(crate) const fn fits(&self, len: usize) -> bool {
        len <= self.slot_len
    }

    fn insert(&mut self, packet: Held) {
        if self.end == self.held.len() {
            // As many slots lie before those that wait, at least; `copy_within` would carry a panic for when they do not.
            if let Some((front, waiting)) = self.held.split_at_mut_checked(self.start) {
                front.iter_mut().zip(waiting).for_each(|(place, held)| *place = *held);
            }
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        self.span_max = self.span_max.max(packet.end.saturating_sub(packet.sequence));
        let at = self.start.saturating_add(self.held().partition_point(|held| held.sequence <= packet.sequence));
        let behind = self.held.get(at).filter(|_| at < self.end).map_or(packet.arrival, |held| held.waiting_since);
        if let Some(place) = self.held.get_mut(self.end) {
            *place = Held { waiting_since: behind.min(packet.arrival), ..packet };
            self.end = self.end.saturating_add(1);
        }
        if let Some(moved) = self.held.get_mut(at..self.end).filter(|moved| !moved.is_empty()) {
            moved.rotate_right(1);
        }
    }

    /// Frees the slot of the packet with the lowest message.
    pub(crate) fn release_first(&mut self) {
        let Some(slot) = self.first().map(|held| held.slot) else { return };
        if let Some(place) = self.free_slots.get_mut(self.free_count) {
            *place = slot;
            self.free_count = self.free_count.saturating_add(1);
        }
        self.start = self.start.saturating_add(1);
        if self.start == self.end {
            (self.start, self.end, self.span_max) = (0, 0, 0);
        }
    }

    fn held(&self) -> &[Held] {
        self.held.get(self.start..self.end).unwrap_or_default()
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow in a test is a finding")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(sequence: u64, end: u64) -> Held {
        Held { sequence, end, ..Held::default() }
    }

    #[test]
    fn packets_come_out_in_order_and_slots_are_reused() {
        let mut window = Window::new(3, 4, Framing::MoldUdp64);
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
        let mut window = Window::new(4, 4, Framing::MoldUdp64);
        assert!(window.hold(&[], packet(10, 20)));
        assert!(window.hold(&[], packet(15, 25)));
        assert!(window.hold(&[], packet(12, 13)));
        assert!(window.hold(&[], packet(30, 31)));
        assert_eq!(window.covered(10, 25), 15);
        assert_eq!(window.covered(0, 40), 16);
        assert_eq!(window.covered(18, 22), 4);
        assert_eq!(window.covered(25, 30), 0);
    }

    proptest! {
        /// Against a list that is searched from its begin.
        #[test]
        fn it_equals_a_list(steps in prop::collection::vec((0_u64..40, 0_u64..9, 0_u8..4), 0..120)) {
            let (mut window, mut list) = (Window::new(6, 4, Framing::MoldUdp64), Vec::<(u64, u64, EpochNanos)>::new());
            for ((first, count, action), now) in steps.into_iter().zip(1_i64..) {
                if action == 0 {
                    window.release_first();
                    if !list.is_empty() { list.remove(0); }
                } else if window.hold(&[], Held { arrival: EpochNanos(now), ..packet(first, first + count) }) {
                    let at = list.iter().filter(|held| held.0 <= first).count();
                    list.insert(at, (first, first + count, EpochNanos(now)));
                }
                let held: Vec<_> = window.packets().iter().map(|held| (held.sequence, held.end, held.arrival)).collect();
                prop_assert_eq!(&held, &list);
                prop_assert_eq!(window.earliest_arrival(), list.iter().map(|held| held.2).min());
                let is_covered = |number: &u64| list.iter().any(|held| (held.0..held.1).contains(number));
                let covered = (first..first + 12).filter(is_covered).count();
                prop_assert_eq!(window.covered(first, first + 12), u64::try_from(covered).unwrap());
            }
        }
    }
}
