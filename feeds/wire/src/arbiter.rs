//! Arbitration of up to four lines that carry the same stream, MoldUDP64 or another ([`Framing`]): every message once, in
//! order, by number and never by packet.
//!
//! The rules (MoldUDP64 1.00 and practice):
//! - A message is delivered from whichever line brings it first; a packet that is partly new skips its first blocks.
//! - A packet beyond the next message proves that messages are missing. That is announced at once
//!   ([`Notice::GapDetected`]); the packet waits, copied, and nothing is ever delivered out of order.
//! - When a line brings the missing messages, they are delivered, then everything that waited, then
//!   [`Notice::GapRecovered`].
//! - The missing messages are given up ([`Notice::GapLost`] with their exact numbers) when the packet that proved them
//!   missing has waited for `reorder_window_ns` and no retransmission brought the next of them for as long, when no slot is left for another packet, or when the next session
//!   begins. What waited follows. Recovery is not announced any more in that session: something is missing for good.
//! - Heartbeats and ends of session name the next number, so that a loss before a silence shows.
//! - A packet of a session that is over is ignored and counted. A new session begins when the current one has ended,
//!   when the packet is its first one, or after [`FOREIGN_PACKET_COUNT_MAX`] packets with none of the current session
//!   between; until then it is ignored and counted, so that a stray packet cannot end a session.
//!
//! - A packet whose number lies further ahead than any line can have carried since the last packet
//!   ([`JUMP_MESSAGE_COUNT`] and one message for each [`JUMP_NANOS_PER_MESSAGE`]) is ignored and counted, until
//!   [`FAR_PACKET_COUNT_MAX`] such packets that fit together came with none of the expected ones between: a corrupt
//!   number must not make every later message a late one.
//!
//! - Copies of a message that differ, whether it was delivered or waits, are announced at once
//!   ([`Notice::CopiesDiffer`]): nobody knows which is true. With [`LossPolicy::Keep`] nothing more is delivered until that
//!   is settled: by a packet of the retransmission line that brings the same as was taken, or by a snapshot. Then comes
//!   [`Notice::CopiesSettled`]. More than [`DISPUTE_COUNT_MAX`] times in a session nothing settles it.
//!
//! **A sink that is full**: every step delivers first and changes state afterwards, so `on_packet` can simply be called
//! again with the same packet; what was delivered is not delivered again, and statistics count the packet once.

mod dispute;
mod flow;

pub use dispute::DISPUTE_COUNT_MAX;
use dispute::Disputes;
use flow::Arrival;
use peregrine_types::{EpochNanos, Full, Nanos};

use crate::gap::{Gap, LostRanges, Notice};
use crate::history::History;
use crate::mdp3;
use crate::moldudp64::{Packet, PacketError, Session};
use crate::window::Window;

/// Most lines that one arbiter joins.
pub const LINE_COUNT_MAX: usize = 4;
/// Packets of one unexpected session, with none of the current between, that make it the current one.
pub const FOREIGN_PACKET_COUNT_MAX: u32 = 16;
/// How far ahead of the next message a number may lie at any time and be believed at once.
pub const JUMP_MESSAGE_COUNT: u64 = 1 << 20;
/// A line of 10 Gbit/s carries a message of 14 bytes, the shortest there is with its length, in this time.
pub const JUMP_NANOS_PER_MESSAGE: u64 = 11;
/// Packets too far ahead that fit together, with none of the expected between, after which they are believed.
pub const FAR_PACKET_COUNT_MAX: u32 = 16;
/// How many sessions that are over are remembered, so that their late packets are told from a new session's.
const OLD_SESSION_COUNT: usize = 8;

/// A line, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u8);

impl LineId {
    /// The first line.
    pub const A: Self = Self(0);
    /// The second line.
    pub const B: Self = Self(1);
}

/// How packets carry messages and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// MoldUDP64: every message has a number.
    MoldUdp64,
    /// MDP 3.0: every packet has a number, and is one message to the arbiter; a session is a week
    /// ([`mdp3::session_at`]).
    Mdp3,
}

impl Framing {
    /// Views the payload of one UDP datagram.
    ///
    /// # Errors
    /// [`PacketError`] with the offset; the packet is to be refused as a whole.
    #[inline]
    pub fn parse(self, payload: &[u8]) -> Result<Packet<'_>, PacketError> {
        match self {
            Self::MoldUdp64 => Packet::parse(payload),
            Self::Mdp3 => mdp3::parse(payload),
        }
    }
}

/// Where a session begins for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinPolicy {
    /// At message 1: whatever lies before the first packet received is a gap.
    FromStart,
    /// The first session at the first packet received (a capture cut out of a day): books built from it are not whole,
    /// and the `SessionStart` event says so by a number above 1. Every later session from its start.
    AtFirstPacket,
}

/// What becomes of messages that do not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossPolicy {
    /// They are given up after the window, or when no slot is left; what waited follows.
    GiveUp,
    /// Nothing behind them is delivered until they are there, or until a snapshot took their place
    /// ([`Arbiter::resume`]). When no slot is left, the packet with the lowest message makes room.
    Keep,
}

/// How a packet agrees with messages that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouch {
    /// Some of its messages are known, and all of those are the same.
    Agrees,
    /// A message differs from the one known under its number.
    Differs,
    /// None of its messages is known.
    Unknown,
}

/// Why a snapshot cannot take the place of what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// Nothing is suspended.
    #[error("no snapshot was begun")]
    NotSuspended,
    /// It is older than what was delivered.
    #[error("the snapshot is older than what was delivered")]
    Stale,
    /// Its number lies further ahead than any line can have carried.
    #[error("the snapshot's number lies too far ahead")]
    TooFar,
}

/// What an arbiter is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArbiterConfig {
    /// How many lines there are, 1 to [`LINE_COUNT_MAX`].
    pub line_count: u8,
    /// How long a packet may wait for missing messages.
    pub reorder_window_ns: Nanos,
    /// How many packets may wait, at least 1. Memory: this times `packet_len_max`.
    pub held_packet_count_max: u16,
    /// Longest payload in bytes that can wait; a longer one that lies beyond the next message ends the waiting.
    pub packet_len_max: u16,
    /// How many delivered messages are remembered to compare other lines' copies with: a power of two, or 0 for no
    /// comparison.
    pub history_message_count: usize,
    /// Whether numbers and sessions mean anything. `false` delivers every packet as it comes (samples whose headers
    /// were zeroed).
    pub is_sequence_checked: bool,
    /// Where a session begins for us.
    pub join: JoinPolicy,
    /// What becomes of messages that do not come.
    pub loss: LossPolicy,
    /// How packets carry messages and numbers.
    pub framing: Framing,
}

/// Why an arbiter cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArbiterConfigError {
    /// `line_count` is 0 or above [`LINE_COUNT_MAX`].
    #[error("line_count is {0}: must be 1 to 4")]
    LineCount(u8),
    /// `held_packet_count_max` is 0.
    #[error("held_packet_count_max is 0: must be at least 1")]
    HeldPacketCount,
    /// `reorder_window_ns` is negative.
    #[error("reorder_window_ns is {}: must not be negative", .0.0)]
    ReorderWindow(Nanos),
    /// `history_message_count` is neither 0 nor a power of two.
    #[error("history_message_count is {0}: must be 0 or a power of two")]
    HistoryMessageCount(usize),
}

impl Default for ArbiterConfig {
    /// Two lines of MoldUDP64, 2 ms and 256 packets of 1,500 bytes to wait, 1,024 messages to compare, sessions from their
    /// start.
    fn default() -> Self {
        Self {
            line_count: 2,
            reorder_window_ns: Nanos::from_millis(2),
            held_packet_count_max: 256,
            packet_len_max: 1500,
            history_message_count: 1024,
            is_sequence_checked: true,
            join: JoinPolicy::FromStart,
            loss: LossPolicy::GiveUp,
            framing: Framing::MoldUdp64,
        }
    }
}

impl ArbiterConfig {
    /// # Errors
    /// The first value that is impossible.
    fn validate(&self) -> Result<(), ArbiterConfigError> {
        if self.line_count == 0 || usize::from(self.line_count) > LINE_COUNT_MAX {
            return Err(ArbiterConfigError::LineCount(self.line_count));
        }
        if self.held_packet_count_max == 0 {
            return Err(ArbiterConfigError::HeldPacketCount);
        }
        if self.reorder_window_ns < Nanos::ZERO {
            return Err(ArbiterConfigError::ReorderWindow(self.reorder_window_ns));
        }
        let history = self.history_message_count;
        if history != 0 && !history.is_power_of_two() {
            return Err(ArbiterConfigError::HistoryMessageCount(history));
        }
        Ok(())
    }
}

/// What one line brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    /// Packets received, malformed ones included.
    pub packet_count: u64,
    /// Messages in them.
    pub message_count: u64,
    /// Messages that this line brought first.
    pub first_count: u64,
    /// Messages that had come already.
    pub duplicate_count: u64,
    /// Messages that came after they were given up.
    pub late_count: u64,
    /// How often the line itself jumped forward.
    pub gap_count: u64,
    /// Messages that it jumped over.
    pub gap_message_count: u64,
    /// Packets refused because their bytes are no packet.
    pub malformed_count: u64,
    /// Packets of sessions that are over.
    pub old_session_count: u64,
    /// Packets of an unexpected session, or numbered 0, or beyond the end of the session: ignored.
    pub ignored_count: u64,
    /// Packets ignored because their number lies further ahead than any line can have carried.
    pub far_count: u64,
    /// The number of the last of them; 0 while there is none.
    pub far_last: u64,
    /// Messages that differ from the copy taken under their number.
    pub mismatch_count: u64,
    /// When its last packet came.
    pub recv_time_last: EpochNanos,
    /// Sum over packets of how much later than another line's copy they came.
    pub behind_sum: Nanos,
    /// Packets in that sum.
    pub behind_count: u64,
    next: u64,
}

/// What the arbiter saw on all lines together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArbiterCounters {
    /// Messages delivered.
    pub delivered_count: u64,
    /// Gaps detected.
    pub gap_count: u64,
    /// Messages in them.
    pub gap_message_count: u64,
    /// Gaps of which every message came in the end, counted when the last of them did.
    pub recovered_gap_count: u64,
    /// Ranges of messages given up; one gap may lose several.
    pub lost_range_count: u64,
    /// Messages given up.
    pub lost_message_count: u64,
    /// Packets that waited.
    pub held_packet_count: u64,
    /// Messages whose place a snapshot took.
    pub superseded_message_count: u64,
    /// Packets that could not wait, or not any longer, because no slot was left ([`LossPolicy::Keep`]).
    pub evicted_packet_count: u64,
    /// Heartbeats received.
    pub heartbeat_count: u64,
    /// Sessions begun.
    pub session_count: u64,
    /// Packets of lines that are not configured.
    pub unknown_line_count: u64,
    /// Number of the first message whose copies differ.
    pub mismatch_first: Option<u64>,
    /// How often copies were announced to differ; more messages may differ in each.
    pub dispute_count: u64,
    /// How often that was settled: the copy that was taken proved right, or a snapshot took its place.
    pub settled_dispute_count: u64,
}

/// Where messages and notices go, in order.
pub trait Deliver {
    /// Takes the next message.
    ///
    /// # Errors
    /// [`Full`] when there is no room: the same message is delivered again later.
    fn message(&mut self, message: &[u8], line: LineId) -> Result<(), Full<()>>;

    /// Takes a notice.
    ///
    /// # Errors
    /// [`Full`] when there is no room: the same notice is delivered again later.
    fn notice(&mut self, notice: Notice) -> Result<(), Full<()>>;
}

#[derive(Clone, Copy, Debug)]
struct OpenGap {
    first_missing: u64,
    next_received: u64,
    missing_count: u64,
    /// Detections that it is made of.
    gap_count: u64,
    /// Whether a part of it was given up.
    is_lossy: bool,
}

/// How far a packet has come whose delivery met a full sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// No packet is being taken.
    New,
    /// Counted.
    Received,
    /// Held against what was delivered.
    Classified,
    /// Being delivered directly.
    Delivering,
    /// Delivered, or waiting; what follows from it may still be refused.
    Taken,
}

/// Joins lines into one stream.
#[derive(Clone, Debug)]
pub struct Arbiter {
    config: ArbiterConfig,
    session: Option<Session>,
    session_end: Option<u64>,
    is_ended: bool,
    old_sessions: [Option<Session>; OLD_SESSION_COUNT],
    foreign: Option<(Session, u32)>,
    /// The number of the first packet too far ahead, and how many of them fit together.
    far: Option<(u64, u32)>,
    /// When the last packet came that was believed.
    believed_time: EpochNanos,
    /// Whether a packet of this session was believed.
    is_under_way: bool,
    /// Number of the message to deliver next.
    next: u64,
    /// Number after the last message known to exist; above `next` exactly while a gap is open.
    known_end: u64,
    open_gap: Option<OpenGap>,
    /// Whether a snapshot is being taken in: nothing is delivered meanwhile.
    is_suspended: bool,
    /// When a heartbeat first proved messages missing.
    tail_time: Option<EpochNanos>,
    /// The line of retransmitted packets, and when it last brought the message that was next.
    recovery_line: Option<LineId>,
    recovered_time: EpochNanos,
    lost: LostRanges,
    disputes: Disputes,
    window: Window,
    history: History,
    lines: [LineStats; LINE_COUNT_MAX],
    counters: ArbiterCounters,
    progress: Progress,
    passed_count: usize,
}

impl Arbiter {
    /// An arbiter that has heard nothing yet. Allocates everything that it will ever use.
    ///
    /// # Errors
    /// [`ArbiterConfigError`] naming the impossible value.
    pub fn new(config: ArbiterConfig) -> Result<Self, ArbiterConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            session: None,
            session_end: None,
            is_ended: false,
            old_sessions: [None; OLD_SESSION_COUNT],
            foreign: None,
            far: None,
            believed_time: EpochNanos::MIN,
            is_under_way: false,
            next: 1,
            known_end: 1,
            open_gap: None,
            is_suspended: false,
            tail_time: None,
            recovery_line: None,
            recovered_time: EpochNanos::MIN,
            lost: LostRanges::NONE,
            disputes: Disputes::default(),
            window: Window::new(config.held_packet_count_max, config.packet_len_max, config.framing),
            history: History::new(if config.line_count > 1 { config.history_message_count } else { 0 }),
            lines: [LineStats::default(); LINE_COUNT_MAX],
            counters: ArbiterCounters::default(),
            progress: Progress::New,
            passed_count: 0,
        })
    }

    /// Says on which line retransmitted packets come.
    pub(crate) const fn set_recovery_line(&mut self, line: LineId) {
        self.recovery_line = Some(line);
    }

    /// The statistics of each configured line.
    #[must_use]
    pub fn lines(&self) -> &[LineStats] {
        self.lines.get(..usize::from(self.config.line_count)).unwrap_or_default()
    }

    /// The counters of all lines together.
    #[must_use]
    pub const fn counters(&self) -> &ArbiterCounters {
        &self.counters
    }

    /// The messages of this session that were given up.
    #[must_use]
    pub const fn lost(&self) -> &LostRanges {
        &self.lost
    }

    /// The current session, `None` before the first packet.
    #[must_use]
    pub const fn session(&self) -> Option<Session> {
        self.session
    }

    /// Number of the message to deliver next.
    #[must_use]
    pub const fn next_sequence_number(&self) -> u64 {
        self.next
    }

    /// The first run of messages missing now: what a retransmission request would ask for.
    #[must_use]
    pub fn missing(&self) -> Option<Gap> {
        let next_received = self.window.first().map_or(self.known_end, |held| held.sequence.min(self.known_end));
        self.open_gap.map(|_| Gap { first_missing: self.next, next_received })
    }

    /// Number after the last message known to exist.
    #[must_use]
    pub const fn known_end(&self) -> u64 {
        self.known_end
    }

    /// Every run of messages missing now, in order.
    pub fn missing_ranges(&self) -> impl Iterator<Item = Gap> + '_ {
        let held = self.window.packets().iter().map(|held| (held.sequence, held.end));
        let (mut at, known_end) = (self.next, self.known_end);
        held.chain([(known_end, known_end)]).filter_map(move |(from, to)| {
            let gap = Gap { first_missing: at, next_received: from.min(known_end) };
            at = at.max(to);
            (gap.message_count() > 0).then_some(gap)
        })
    }

    /// Whether the message with this number was delivered lately, or waits. There is no message 0.
    #[must_use]
    pub fn knows(&self, sequence: u64) -> bool {
        if sequence == 0 {
            return false;
        }
        if sequence < self.next { self.history.knows(sequence) } else { self.window.message(sequence).is_some() }
    }

    /// Holds a packet of this session against the messages that are known.
    #[must_use]
    pub fn vouch(&self, packet: &Packet<'_>) -> Vouch {
        let mut vouch = Vouch::Unknown;
        for (sequence, message) in (packet.sequence_number()..packet.next_sequence_number()).zip(packet.blocks()) {
            let is_same = if sequence < self.next {
                self.history.knows(sequence).then(|| !self.history.differs(sequence, message))
            } else {
                self.window.message(sequence).map(|known| known == message)
            };
            match is_same {
                Some(true) => vouch = Vouch::Agrees,
                Some(false) => return Vouch::Differs,
                None => {}
            }
        }
        vouch
    }

    /// A snapshot begins: nothing is delivered until [`Arbiter::resume`], what comes waits.
    pub const fn suspend(&mut self) {
        self.is_suspended = self.session.is_some();
    }

    /// Whether a snapshot is being taken in.
    #[must_use]
    pub const fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// A snapshot holds every message before `sequence`: what waits from there on is delivered by the next
    /// [`Arbiter::settle`], or by the next packet.
    ///
    /// # Errors
    /// [`ResumeError`]; the arbiter stays suspended then.
    pub fn resume(&mut self, sequence: u64, now: EpochNanos) -> Result<(), ResumeError> {
        if !self.is_suspended {
            return Err(ResumeError::NotSuspended);
        }
        if sequence < self.next {
            return Err(ResumeError::Stale);
        }
        if sequence > self.limit(now) {
            return Err(ResumeError::TooFar);
        }
        while self.window.first().is_some_and(|held| held.end <= sequence) {
            self.window.release_first();
        }
        self.counters.superseded_message_count =
            self.counters.superseded_message_count.saturating_add(sequence.saturating_sub(self.next));
        (self.next, self.known_end) = (sequence, self.known_end.max(sequence));
        self.lost = LostRanges::NONE;
        self.disputes.supersede(sequence);
        self.is_suspended = false;
        Ok(())
    }

    /// Delivers what waits and is next, after [`Arbiter::resume`].
    ///
    /// # Errors
    /// [`Full`] when `out` had no room: call again.
    pub fn settle(&mut self, out: &mut impl Deliver) -> Result<(), Full<()>> {
        self.drain(out)?;
        self.end_session_if_complete(out)
    }

    /// Whether the last call met a full sink, so that the same packet must be given again.
    #[must_use]
    pub fn is_retry_due(&self) -> bool {
        self.progress != Progress::New
    }

    /// Takes the UDP payload of one packet received on `line` at `now` (which must not decrease).
    ///
    /// # Errors
    /// [`Full`] when `out` had no room: call again with the same packet before any other.
    pub fn on_packet(
        &mut self,
        line: LineId,
        payload: &[u8],
        now: EpochNanos,
        out: &mut impl Deliver,
    ) -> Result<(), Full<()>> {
        if line.0 >= self.config.line_count {
            self.counters.unknown_line_count = self.counters.unknown_line_count.saturating_add(1);
            return Ok(());
        }
        let packet = match self.config.framing.parse(payload) {
            Ok(packet) => packet,
            Err(_) => {
                self.line(line, |stats| {
                    stats.packet_count = stats.packet_count.saturating_add(1);
                    stats.malformed_count = stats.malformed_count.saturating_add(1);
                });
                return Ok(());
            }
        };
        let arrival = Arrival { line, packet, payload, now };
        if self.progress == Progress::New {
            self.count_received(&arrival);
            self.progress = Progress::Received;
        }
        if self.config.is_sequence_checked {
            self.on_checked(&arrival, out)?;
        } else {
            self.pass(&arrival, out)?;
        }
        self.progress = Progress::New;
        Ok(())
    }

    /// Lets time pass without a packet: gives up what has been missing for longer than the window.
    ///
    /// # Errors
    /// [`Full`] when `out` had no room: call again.
    pub fn on_time(&mut self, now: EpochNanos, out: &mut impl Deliver) -> Result<(), Full<()>> {
        self.expire(now, out)?;
        self.end_session_if_complete(out)
    }
}
