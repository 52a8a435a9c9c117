//! The steps of the arbiter, in the order in which a packet meets them.

use peregrine_types::{EpochNanos, Full, Nanos};

use super::dispute::Disputes;
use super::{
    Arbiter, Deliver, FAR_PACKET_COUNT_MAX, FOREIGN_PACKET_COUNT_MAX, JUMP_MESSAGE_COUNT, JUMP_NANOS_PER_MESSAGE,
    JoinPolicy, LineId, LineStats, LossPolicy, OpenGap, Progress,
};
use crate::gap::{Gap, LostRanges, Notice};
use crate::moldudp64::{Packet, PacketKind, Session};
use crate::window::Held;

/// A packet and the circumstances of its arrival.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'p> {
    pub(super) line: LineId,
    pub(super) packet: Packet<'p>,
    pub(super) payload: &'p [u8],
    pub(super) now: EpochNanos,
}

impl Arbiter {
    /// Delivers a packet whose numbers mean nothing.
    pub(super) fn pass(&mut self, arrival: &Arrival<'_>, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let Arrival { line, ref packet, .. } = *arrival;
        for message in packet.blocks().skip(self.passed_count) {
            out.message(message, line)?;
            self.passed_count = self.passed_count.saturating_add(1);
            self.counters.delivered_count = self.counters.delivered_count.saturating_add(1);
        }
        self.passed_count = 0;
        Ok(())
    }

    /// Takes a packet by session and number.
    pub(super) fn on_checked(&mut self, arrival: &Arrival<'_>, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let Arrival { line, ref packet, now, .. } = *arrival;
        if packet.sequence_number() == 0 {
            self.line(line, |stats| stats.ignored_count = stats.ignored_count.saturating_add(1));
            return Ok(());
        }
        if !self.admit(line, packet, out)? {
            return Ok(());
        }
        if self.is_beyond_end(packet) {
            self.line(line, |stats| stats.ignored_count = stats.ignored_count.saturating_add(1));
            return Ok(());
        }
        if self.progress == Progress::Received && self.is_too_far(line, packet.sequence_number(), now) {
            return Ok(());
        }
        if self.progress == Progress::Received {
            self.classify(line, packet, now);
            self.progress = Progress::Classified;
        }
        self.announce_dispute(out)?;
        match packet.kind() {
            PacketKind::Data => self.take_once(arrival, out)?,
            PacketKind::Heartbeat | PacketKind::EndOfSession => self.take_empty(packet, now, out)?,
        }
        self.drain(out)?;
        self.expire(now, out)?;
        self.end_session_if_complete(out)
    }

    /// Whether a number lies further ahead than any line can have carried since the last packet, and not enough packets
    /// have said so. A session of which nothing came yet may begin anywhere.
    fn is_too_far(&mut self, line: LineId, sequence: u64, now: EpochNanos) -> bool {
        if sequence <= self.limit(now) || !self.is_under_way {
            (self.far, self.believed_time, self.is_under_way) = (None, now, true);
            return false;
        }
        let fits = |first: u64| sequence.checked_sub(first).is_some_and(|ahead| ahead <= JUMP_MESSAGE_COUNT);
        let (first, before) = self.far.filter(|(first, _)| fits(*first)).unwrap_or((sequence, 0));
        let count = before.saturating_add(1);
        if count >= FAR_PACKET_COUNT_MAX {
            (self.far, self.believed_time) = (None, now);
            return false;
        }
        self.far = Some((first, count));
        self.line(line, |stats| {
            stats.far_count = stats.far_count.saturating_add(1);
            stats.far_last = sequence;
        });
        true
    }

    /// The highest number that any line can have carried since the last packet.
    pub(super) fn limit(&self, now: EpochNanos) -> u64 {
        let elapsed = u64::try_from(now.since(self.believed_time).0).unwrap_or(0);
        let carried = elapsed.checked_div(JUMP_NANOS_PER_MESSAGE).unwrap_or(0);
        self.known_end.saturating_add(JUMP_MESSAGE_COUNT).saturating_add(carried)
    }

    /// Statistics that need no session.
    pub(super) fn count_received(&mut self, arrival: &Arrival<'_>) {
        let Arrival { line, ref packet, now, .. } = *arrival;
        let is_heartbeat = packet.kind() == PacketKind::Heartbeat;
        self.counters.heartbeat_count = self.counters.heartbeat_count.saturating_add(u64::from(is_heartbeat));
        self.line(line, |stats| {
            stats.packet_count = stats.packet_count.saturating_add(1);
            stats.message_count = stats.message_count.saturating_add(u64::from(packet.message_count()));
            stats.recv_time_last = now;
        });
    }

    /// Whether the packet belongs to the session to be read, which may begin with it.
    fn admit(&mut self, line: LineId, packet: &Packet<'_>, out: &mut impl Deliver) -> Result<bool, Full<()>> {
        let session = packet.session();
        match self.session {
            Some(current) if current == session => {
                self.foreign = None;
                return Ok(true);
            }
            Some(_) if self.old_sessions.contains(&Some(session)) => {
                self.line(line, |stats| stats.old_session_count = stats.old_session_count.saturating_add(1));
                return Ok(false);
            }
            Some(current) => {
                if !self.is_ended && packet.sequence_number() != 1 && !self.is_foreign_insistent(session) {
                    self.line(line, |stats| stats.ignored_count = stats.ignored_count.saturating_add(1));
                    return Ok(false);
                }
                self.close_session(current, out)?;
            }
            None => {}
        }
        let first = match self.config.join {
            JoinPolicy::AtFirstPacket if self.counters.session_count == 0 => packet.sequence_number(),
            // We listen when a later session begins: what lies before its first packet is missing.
            JoinPolicy::FromStart | JoinPolicy::AtFirstPacket => 1,
        };
        out.notice(Notice::SessionStarted { session, next_sequence_number: first })?;
        self.begin_session(session, first);
        Ok(true)
    }

    /// Counts another packet of `session`, which is not the current one, and tells whether there were enough.
    fn is_foreign_insistent(&mut self, session: Session) -> bool {
        let before = self.foreign.filter(|(foreign, _)| *foreign == session).map_or(0, |(_, count)| count);
        let count = before.saturating_add(1);
        self.foreign = Some((session, count));
        count >= FOREIGN_PACKET_COUNT_MAX
    }

    /// Gives up what is missing, delivers what waits and ends the session.
    fn close_session(&mut self, current: Session, out: &mut impl Deliver) -> Result<(), Full<()>> {
        if self.is_suspended {
            // Half a snapshot is no ground to build on: what waits behind it is lost with what was missing.
            self.announce_lost(self.known_end, out)?;
            while self.window.first().is_some() {
                self.window.release_first();
            }
            self.is_suspended = false;
        }
        self.give_up_dispute();
        while self.next < self.known_end {
            self.give_up(self.known_end, out)?;
            self.drain(out)?;
        }
        if !self.is_ended {
            out.notice(Notice::SessionEnded { session: current, next_sequence_number: self.next })?;
            self.is_ended = true;
        }
        self.old_sessions.rotate_right(1);
        if let Some(place) = self.old_sessions.first_mut() {
            *place = Some(current);
        }
        self.session = None;
        Ok(())
    }

    fn begin_session(&mut self, session: Session, first: u64) {
        self.session = Some(session);
        (self.session_end, self.is_ended, self.foreign) = (None, false, None);
        (self.next, self.known_end) = (first, first);
        (self.far, self.is_under_way, self.is_suspended) = (None, false, false);
        (self.open_gap, self.tail_time, self.lost) = (None, None, LostRanges::NONE);
        self.disputes = Disputes::default();
        self.history.clear();
        self.lines.iter_mut().for_each(|stats| stats.next = first);
        self.counters.session_count = self.counters.session_count.saturating_add(1);
    }

    /// Whether the packet claims messages behind the announced end of the session. Until that end was reached the
    /// messages are believed and the announcement is dropped.
    fn is_beyond_end(&mut self, packet: &Packet<'_>) -> bool {
        let is_beyond = self.session_end.is_some_and(|end| packet.next_sequence_number() > end);
        if is_beyond && !self.is_ended {
            self.session_end = None;
        }
        is_beyond && self.is_ended
    }

    /// Statistics of a packet of the session: what is new, what came before, what differs.
    fn classify(&mut self, line: LineId, packet: &Packet<'_>, now: EpochNanos) {
        let (sequence, end, next) = (packet.sequence_number(), packet.next_sequence_number(), self.next);
        let beyond = sequence.max(next);
        let held_count = self.window.covered(beyond, end);
        let new_count = end.saturating_sub(beyond).saturating_sub(held_count);
        let late_count = self.lost.overlap(sequence, end.min(next));
        let old_count = end.saturating_sub(sequence).saturating_sub(new_count).saturating_sub(late_count);
        let behind = self.history.behind(sequence, line, now);
        let mismatch_count = self.compare(line, packet, held_count);
        self.line(line, |stats| {
            stats.first_count = stats.first_count.saturating_add(new_count);
            stats.duplicate_count = stats.duplicate_count.saturating_add(old_count);
            stats.late_count = stats.late_count.saturating_add(late_count);
            stats.mismatch_count = stats.mismatch_count.saturating_add(mismatch_count);
            if let Some(behind) = behind {
                stats.behind_sum = Nanos(stats.behind_sum.0.saturating_add(behind.0));
                stats.behind_count = stats.behind_count.saturating_add(1);
            }
            if sequence > stats.next {
                stats.gap_count = stats.gap_count.saturating_add(1);
                stats.gap_message_count = stats.gap_message_count.saturating_add(sequence.saturating_sub(stats.next));
            }
            stats.next = stats.next.max(end);
        });
    }

    /// Takes a packet of messages; after a refusal goes on where the refusal was, so that a sink that refuses gets the
    /// same copy of each message as one that does not.
    fn take_once(&mut self, arrival: &Arrival<'_>, out: &mut impl Deliver) -> Result<(), Full<()>> {
        match self.progress {
            Progress::Taken => {}
            Progress::Delivering => self.deliver(arrival, out)?,
            Progress::New | Progress::Received | Progress::Classified => {
                // Has something to do after a refusal only: what waited and was next goes before this packet.
                self.drain(out)?;
                self.take(arrival, out)?;
            }
        }
        self.progress = Progress::Taken;
        Ok(())
    }

    /// Delivers what is next in a packet of messages, or lets it wait.
    fn take(&mut self, arrival: &Arrival<'_>, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let Arrival { line, ref packet, payload, now } = *arrival;
        let (sequence, end) = (packet.sequence_number(), packet.next_sequence_number());
        // Each turn that does not return gives up at least one message before the packet and frees a slot or reaches
        // it, so there are at most as many turns as slots, and one.
        while end > self.next {
            if sequence <= self.next && !self.is_held_back() {
                self.progress = Progress::Delivering;
                if self.recovery_line == Some(line) {
                    self.recovered_time = now;
                }
                return self.deliver(arrival, out);
            }
            self.detect(sequence, end, out)?;
            let new = sequence.max(self.next);
            if self.window.covered(new, end) == end.saturating_sub(new) {
                return Ok(());
            }
            if self.window.hold(payload, Held { sequence, end, arrival: now, line, ..Held::default() }) {
                self.counters.held_packet_count = self.counters.held_packet_count.saturating_add(1);
                return Ok(());
            }
            match self.config.loss {
                LossPolicy::GiveUp => {
                    self.give_up(sequence, out)?;
                    self.drain(out)?;
                }
                LossPolicy::Keep => {
                    if !self.make_room(sequence, payload.len()) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Frees the slot with the lowest message, unless that is the packet to come, which then finds none.
    fn make_room(&mut self, sequence: u64, len: usize) -> bool {
        self.counters.evicted_packet_count = self.counters.evicted_packet_count.saturating_add(1);
        let is_possible = self.window.fits(len) && self.window.first().is_some_and(|held| held.sequence < sequence);
        if is_possible {
            self.window.release_first();
        }
        is_possible
    }

    /// Takes the next number out of a heartbeat or an end of session.
    fn take_empty(&mut self, packet: &Packet<'_>, now: EpochNanos, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let sequence = packet.sequence_number();
        if sequence > self.known_end {
            self.detect(sequence, sequence, out)?;
            self.tail_time = self.tail_time.or(Some(now));
        }
        if packet.kind() == PacketKind::EndOfSession && sequence >= self.known_end {
            self.session_end = Some(sequence);
        }
        Ok(())
    }

    /// Delivers the messages of `packet` from the next one on; the packet must reach it.
    fn deliver(&mut self, arrival: &Arrival<'_>, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let Arrival { line, ref packet, now, .. } = *arrival;
        let cursor = Cursor { next: &mut self.next, delivered_count: &mut self.counters.delivered_count };
        let result = cursor.deliver(packet, line, out, |sequence, message| {
            self.history.record(sequence, message, line, now);
        });
        self.known_end = self.known_end.max(self.next);
        result
    }

    /// Notes that the messages `sequence..end` exist, and announces a gap when some before them are unknown.
    fn detect(&mut self, sequence: u64, end: u64, out: &mut impl Deliver) -> Result<(), Full<()>> {
        if sequence > self.known_end {
            self.note_gap(Gap { first_missing: self.known_end, next_received: sequence }, out)?;
        }
        self.known_end = self.known_end.max(end);
        Ok(())
    }

    /// Announces the gap, unless one is open: then it belongs to that one.
    fn note_gap(&mut self, gap: Gap, out: &mut impl Deliver) -> Result<(), Full<()>> {
        if self.open_gap.is_none() {
            out.notice(Notice::GapDetected(gap))?;
        }
        let open = self.open_gap.get_or_insert(OpenGap {
            first_missing: gap.first_missing,
            next_received: gap.next_received,
            missing_count: 0,
            gap_count: 0,
            is_lossy: false,
        });
        open.next_received = gap.next_received;
        open.missing_count = open.missing_count.saturating_add(gap.message_count());
        open.gap_count = open.gap_count.saturating_add(1);
        self.counters.gap_count = self.counters.gap_count.saturating_add(1);
        self.counters.gap_message_count = self.counters.gap_message_count.saturating_add(gap.message_count());
        Ok(())
    }

    /// Delivers what waits and is next, and closes the gap when nothing is missing any more.
    pub(super) fn drain(&mut self, out: &mut impl Deliver) -> Result<(), Full<()>> {
        if self.is_held_back() {
            return Ok(());
        }
        while let Some(held) = self.window.first().copied() {
            if held.sequence > self.next {
                return self.note_evicted(held.sequence, out);
            }
            if let Ok(packet) = self.config.framing.parse(self.window.payload(&held)) {
                let cursor = Cursor { next: &mut self.next, delivered_count: &mut self.counters.delivered_count };
                cursor.deliver(&packet, held.line, out, |sequence, message| {
                    self.history.record(sequence, message, held.line, held.arrival);
                })?;
            }
            self.window.release_first();
        }
        self.note_evicted(self.known_end, out)?;
        self.close_gap(out)?;
        self.end_dispute(out)
    }

    /// What came while a dispute held everything back, and found no slot, is missing once that is settled.
    fn note_evicted(&mut self, next_received: u64, out: &mut impl Deliver) -> Result<(), Full<()>> {
        if self.open_gap.is_some() || next_received <= self.next {
            return Ok(());
        }
        self.note_gap(Gap { first_missing: self.next, next_received }, out)
    }

    /// Says that everything came, once nothing is missing any more.
    fn close_gap(&mut self, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let Some(open) = self.open_gap else { return Ok(()) };
        if self.next >= self.known_end {
            if self.lost.range_count() == 0 {
                let gap = Gap { first_missing: open.first_missing, next_received: open.next_received };
                out.notice(Notice::GapRecovered { gap, recovered_count: open.missing_count })?;
            }
            if !open.is_lossy {
                let counters = &mut self.counters;
                counters.recovered_gap_count = counters.recovered_gap_count.saturating_add(open.gap_count);
            }
            (self.open_gap, self.tail_time) = (None, None);
        }
        Ok(())
    }

    /// Gives up the missing messages before the first that waits, or before `limit` when that comes earlier.
    fn give_up(&mut self, limit: u64, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let next_received = self.window.first().map_or(limit, |held| held.sequence.min(limit));
        self.announce_lost(next_received, out)
    }

    /// Gives up every message before `next_received`.
    fn announce_lost(&mut self, next_received: u64, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let gap = Gap { first_missing: self.next, next_received };
        if gap.message_count() == 0 {
            return Ok(());
        }
        out.notice(Notice::GapLost(gap))?;
        self.lost.add(gap);
        if let Some(open) = &mut self.open_gap {
            open.is_lossy = true;
        }
        self.counters.lost_range_count = self.counters.lost_range_count.saturating_add(1);
        self.counters.lost_message_count = self.counters.lost_message_count.saturating_add(gap.message_count());
        self.next = next_received;
        Ok(())
    }

    /// Gives up what has been missing for longer than the window.
    pub(super) fn expire(&mut self, now: EpochNanos, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let gives_up = match self.config.loss {
            LossPolicy::GiveUp => true,
            LossPolicy::Keep => false,
        };
        while gives_up && self.open_gap.is_some() && self.next < self.known_end {
            let proof_time = self.window.earliest_arrival().or(self.tail_time).unwrap_or(now);
            // A retransmission that goes on is not given up.
            if now.since(proof_time.max(self.recovered_time)) < self.config.reorder_window_ns {
                return Ok(());
            }
            self.give_up(self.known_end, out)?;
            self.drain(out)?;
        }
        Ok(())
    }

    /// Says that the session has ended once its last message was delivered or lost.
    pub(super) fn end_session_if_complete(&mut self, out: &mut impl Deliver) -> Result<(), Full<()>> {
        let Some((session, end)) = self.session.zip(self.session_end) else { return Ok(()) };
        if !self.is_ended && self.next >= end {
            out.notice(Notice::SessionEnded { session, next_sequence_number: self.next })?;
            self.is_ended = true;
            self.give_up_dispute();
        }
        Ok(())
    }

    pub(super) fn line(&mut self, line: LineId, change: impl FnOnce(&mut LineStats)) {
        if let Some(stats) = self.lines.get_mut(usize::from(line.0)) {
            change(stats);
        }
    }
}

/// The place in the stream, apart from the rest of the arbiter, so that packets can be read out of its window.
struct Cursor<'a> {
    next: &'a mut u64,
    delivered_count: &'a mut u64,
}

impl Cursor<'_> {
    fn deliver(
        self,
        packet: &Packet<'_>,
        line: LineId,
        out: &mut impl Deliver,
        mut record: impl FnMut(u64, &[u8]),
    ) -> Result<(), Full<()>> {
        let known = self.next.saturating_sub(packet.sequence_number());
        for message in packet.blocks().skip(usize::try_from(known).unwrap_or(usize::MAX)) {
            out.message(message, line)?;
            record(*self.next, message);
            *self.next = self.next.saturating_add(1);
            *self.delivered_count = self.delivered_count.saturating_add(1);
        }
        Ok(())
    }
}
