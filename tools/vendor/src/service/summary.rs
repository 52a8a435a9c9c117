//! What a run came to.

use std::fmt;

use peregrine_venue::{LineReport, StreamCounters};

use super::Service;
use crate::desk::DeskCounters;
use crate::update::SessionCounters;

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Messages of the feed, over all its sessions.
    pub message_count: u64,
    /// Sessions of the feed, one unless it was so long that another had to begin.
    pub session_count: u64,
    /// How often the vendor's session came under way.
    pub connection_count: u64,
    /// How often the connection was lost, or could not be made.
    pub lost_count: u64,
    /// What the vendor's session counted.
    pub session: SessionCounters,
    /// What the desk had to decide.
    pub desk: DeskCounters,
    /// Packets and requests.
    pub stream: StreamCounters,
    /// Lines A and B.
    pub lines: [LineReport; 2],
    /// Snapshots that were handed out.
    pub snapshot_count: u64,
    /// The latencies of the whole run, for people.
    pub latency: String,
}

impl Service {
    /// What the run came to so far.
    pub(super) fn summary(&mut self) -> Summary {
        let stream = &self.desk.out().0;
        let (counters, messages) = (stream.counters(), stream.next_sequence_number().saturating_sub(1));
        Summary {
            message_count: self.message_count.saturating_add(messages),
            session_count: self.session_count,
            connection_count: self.connection_count,
            lost_count: self.lost_count,
            session: self.counters,
            desk: self.desk.counters(),
            stream: counters,
            lines: [self.lines[0].report(), self.lines[1].report()],
            snapshot_count: self.snapshots.served_count(),
            latency: self.latencies_in_all.to_string(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, desk, stream, .. } = self;
        write!(f, "feed: {} messages in {} packets", self.message_count, stream.packet_count)?;
        writeln!(f, ", {} heartbeats, {} sessions", stream.idle_count, self.session_count)?;
        for (name, line) in ["A", "B"].iter().zip(&self.lines) {
            writeln!(f, "line {name}: {} packets sent, {} refused", line.sent_count, line.refused_count)?;
        }
        write!(f, "retransmission: {} requests answered with", stream.answered_count)?;
        write!(f, " {} messages, {} refused", stream.retransmitted_count, stream.refused_count)?;
        writeln!(f, "; snapshots: {}", self.snapshot_count)?;
        writeln!(f, "vendor: {} connections, {} lost or not made", self.connection_count, self.lost_count)?;
        let SessionCounters { update_count, unused_count, unknown_count, stranger_count, malformed_count } = session;
        write!(
            f,
            "messages: {update_count} used, {unused_count} of kinds that are not, {unknown_count} of unknown kinds"
        )?;
        writeln!(f, ", {stranger_count} about other symbols, {malformed_count} not understood")?;
        write!(f, "quotes: {} crossed, {} locked", desk.crossed_count, desk.locked_count)?;
        writeln!(f, ", {} empty sides; gone for silence {}", desk.empty_side_count, desk.stale_count)?;
        write!(f, "trades: {} told, {} without price or share", desk.trade_count, desk.dropped_trade_count)?;
        write!(f, ", {} taken back, {} could not be", desk.broken_count, desk.unknown_broken_count)?;
        writeln!(f, "; states: {}, {} without a word", desk.state_count, desk.unmapped_state_count)?;
        write!(f, "prices: {} finer than 0.0001, {} unwritable", desk.fine_price_count, desk.unwritable_price_count)?;
        writeln!(f, "; sizes: {} with a part, {} too large", desk.fractional_count, desk.large_size_count)?;
        write!(f, "times: {} ahead of this clock, {} late", desk.ahead_count, desk.late_count)?;
        writeln!(f, "; outages with quotes: {}", desk.outage_count)?;
        write!(f, "{}", self.latency)
    }
}
