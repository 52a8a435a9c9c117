//! Copies of a message that differ. Nobody knows which of them is true, so that what was delivered is disputed: every book
//! is stale until a retransmission server brings the same bytes as were delivered, or a snapshot takes their place.

use peregrine_types::Full;

use super::{Arbiter, Deliver, LineId, LossPolicy};
use crate::gap::{Gap, Notice};
use crate::moldudp64::Packet;

/// Disputes of one session after which nothing settles the next one: a line that differs again and again is not to be read.
pub const DISPUTE_COUNT_MAX: u32 = 16;

/// Messages whose copies differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dispute {
    /// From the first such message to the one behind the last.
    gap: Gap,
    /// Number of the first message that is not settled; at the end of `gap` once all are.
    next: u64,
    is_announced: bool,
}

/// The disputes of a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Disputes {
    now: Option<Dispute>,
    count: u32,
    /// What a server proved last: the wrong copy may come once more.
    proven: Gap,
    /// Messages before this one are part of a snapshot.
    superseded_end: u64,
}

impl Disputes {
    const fn is_given_up(&self) -> bool {
        self.count > DISPUTE_COUNT_MAX
    }

    /// The messages that are not settled, where something can settle them.
    fn open(&self) -> Option<Gap> {
        let now = self.now.filter(|now| now.next < now.gap.next_received && !self.is_given_up())?;
        Some(Gap { first_missing: now.next, next_received: now.gap.next_received })
    }

    /// A copy of the message with this number differs.
    fn contest(&mut self, sequence: u64) {
        let is_proven = (self.proven.first_missing..self.proven.next_received).contains(&sequence);
        if is_proven || sequence < self.superseded_end {
            return;
        }
        let behind = sequence.saturating_add(1);
        let gap = Gap { first_missing: sequence, next_received: behind };
        let now = self.now.get_or_insert(Dispute { gap, next: sequence, is_announced: false });
        now.gap.first_missing = now.gap.first_missing.min(sequence);
        now.gap.next_received = now.gap.next_received.max(behind);
        now.next = now.next.min(sequence);
    }

    /// A snapshot holds every message before `sequence`.
    pub(super) fn supersede(&mut self, sequence: u64) {
        self.superseded_end = sequence;
        if let Some(now) = &mut self.now {
            now.next = now.next.max(sequence.min(now.gap.next_received));
        }
    }
}

impl Arbiter {
    /// The messages whose copies differ, as far as neither a server nor a snapshot has settled it and still can.
    #[must_use]
    pub fn disputed(&self) -> Option<Gap> {
        self.disputes.open()
    }

    /// Whether nothing is missing and nothing is disputed that recovery could bring or settle.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing().is_none() && self.disputed().is_none()
    }

    /// Whether nothing is to be delivered now: a snapshot is being taken in, or one may have to be.
    #[inline]
    pub(super) fn is_held_back(&self) -> bool {
        self.is_suspended || (self.disputes.now.is_some() && self.waits_for_snapshot())
    }

    /// What is delivered past a disputed message would be newer than any snapshot asked for now.
    fn waits_for_snapshot(&self) -> bool {
        match self.config.loss {
            LossPolicy::Keep => self.disputed().is_some(),
            LossPolicy::GiveUp => false,
        }
    }

    /// How many messages of the packet differ from the copies known under their numbers, of which `held_count` wait.
    pub(super) fn compare(&mut self, line: LineId, packet: &Packet<'_>, held_count: u64) -> u64 {
        let (sequence, end) = (packet.sequence_number(), packet.next_sequence_number());
        if !self.history.is_kept() || (sequence >= self.next && held_count == 0) {
            return 0;
        }
        let end = if held_count == 0 { end.min(self.next) } else { end };
        let mut count = 0_u64;
        for (sequence, message) in (sequence..end).zip(packet.blocks()) {
            let differs = if sequence < self.next {
                self.history.differs(sequence, message)
            } else {
                self.window.message(sequence).is_some_and(|known| known != message)
            };
            if differs {
                self.counters.mismatch_first.get_or_insert(sequence);
                // What an ended session said is believed no more, and no less, than before.
                if !self.is_ended {
                    self.disputes.contest(sequence);
                }
                count = count.saturating_add(1);
            }
        }
        if count == 0 && self.disputes.now.is_some() && self.recovery_line == Some(line) {
            self.prove(sequence, end);
        }
        count
    }

    /// A server brought the messages `from..to` as they are known here.
    fn prove(&mut self, from: u64, to: u64) {
        let Some(open) = self.disputes.open() else { return };
        let to = to.min(open.next_received);
        if from > open.first_missing || !(open.first_missing..to).all(|sequence| self.knows(sequence)) {
            return;
        }
        if let Some(now) = &mut self.disputes.now {
            now.next = now.next.max(to);
            self.disputes.proven = Gap { first_missing: now.gap.first_missing, next_received: now.next };
        }
    }

    /// Says that copies differ, once for each dispute.
    pub(super) fn announce_dispute(&mut self, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let Some(now) = &mut self.disputes.now else { return Ok(()) };
        if !now.is_announced {
            out.notice(Notice::CopiesDiffer(now.gap))?;
            now.is_announced = true;
            self.disputes.count = self.disputes.count.saturating_add(1);
            self.counters.dispute_count = self.counters.dispute_count.saturating_add(1);
        }
        Ok(())
    }

    /// Says that every copy is settled; when nothing is missing, so that the books are whole then.
    pub(super) fn end_dispute(&mut self, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let Some(now) = self.disputes.now else { return Ok(()) };
        if self.disputes.is_given_up() || now.next < now.gap.next_received || self.next < self.known_end {
            return Ok(());
        }
        if self.lost.range_count() == 0 {
            out.notice(Notice::CopiesSettled(now.gap))?;
        }
        self.counters.settled_dispute_count = self.counters.settled_dispute_count.saturating_add(1);
        self.disputes.now = None;
        Ok(())
    }

    /// The session ends: what is disputed stays so.
    pub(super) const fn give_up_dispute(&mut self) {
        if self.disputes.now.is_some() {
            self.disputes.count = u32::MAX;
        }
    }
}
