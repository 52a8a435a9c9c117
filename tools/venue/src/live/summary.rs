//! What a run came to.

use std::fmt;

use super::{ControlSummary, EndpointCounters, LineReport, Server};
use crate::agents::{AgentCounters, AgentFlow, KindCounters};
use crate::drop_copy::DropCopyCounters;
use crate::faults::{LineCounters, PortFaultCounters};
use crate::port::PortCounters;
use crate::stream::{FeedStream, StreamCounters};
use crate::tape::TapeCounters;

/// What happened at an order port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSummary {
    /// At its socket.
    pub endpoint: EndpointCounters,
    /// To its messages.
    pub port: PortCounters,
    /// By its faults.
    pub faults: PortFaultCounters,
    /// Its sessions, one unless faults or somebody's hand rolled it.
    pub session_count: u64,
    /// Numbered messages of all of them.
    pub message_count: u64,
}

/// The feed's sessions that are over.
#[derive(Clone, Debug, Default)]
pub(super) struct Digest {
    hasher: blake3::Hasher,
    message_count: u64,
    session_count: u64,
}

impl Digest {
    /// Takes the messages of a session that ends.
    pub(super) fn take(&mut self, stream: &FeedStream) {
        let message_count = stream.next_sequence_number() - 1;
        for number in 1..=message_count {
            let message = stream.message(number).unwrap_or_default();
            self.hasher.update(&u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
            self.hasher.update(message);
        }
        self.message_count += message_count;
        self.session_count += 1;
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Messages of the feed, over all its sessions.
    pub message_count: u64,
    /// Sessions of the feed, one unless faults rolled it.
    pub session_count: u64,
    /// BLAKE3 over the feed's messages, each behind its length: two runs with the same hash published the same.
    pub feed_hash: [u8; 32],
    /// Executions.
    pub match_count: u64,
    /// Orders alive at the end.
    pub order_count: u32,
    /// Packets and requests.
    pub stream: StreamCounters,
    /// Lines A and B.
    pub lines: [LineReport; 2],
    /// Answers to requests: sent, and what their faults did.
    pub retransmission: (LineReport, LineCounters),
    /// Answers that began behind what was asked for.
    pub lie_count: u64,
    /// Snapshots that were handed out.
    pub snapshot_count: u64,
    /// The background flow.
    pub tape: TapeCounters,
    /// The background flow, where it is agents.
    pub agents: Option<AgentCounters>,
    /// The order ports.
    pub ports: Vec<PortSummary>,
    /// The drop copy: its reports, and its session.
    pub drop_copy: Option<(DropCopyCounters, peregrine_fix::Counters)>,
    /// What was told by hand, or by another run's journal.
    pub control: ControlSummary,
}

impl Server {
    /// What the run came to so far.
    #[must_use]
    pub fn summary(&mut self) -> Summary {
        let mut digest = self.digest.clone();
        digest.take(&self.stream);
        let mut ports = Vec::new();
        for (index, endpoint) in self.ports.iter().enumerate() {
            let Some(port) = self.exchange.port(index) else { continue };
            let (session_count, message_count) = port.session_and_message_count();
            ports.push(PortSummary {
                endpoint: endpoint.counters,
                port: port.counters(),
                faults: port.fault_counters(),
                session_count,
                message_count,
            });
        }
        Summary {
            message_count: digest.message_count,
            session_count: digest.session_count,
            feed_hash: *digest.hasher.finalize().as_bytes(),
            match_count: self.exchange.venue().match_count(),
            order_count: self.exchange.venue().order_count(),
            stream: self.stream.counters(),
            lines: [self.lines[0].report(), self.lines[1].report()],
            retransmission: (self.requests.report(), self.requests.faults()),
            lie_count: self.requests.lie_count,
            snapshot_count: self.snapshots.served_count(),
            tape: self.flow.counters(),
            agents: self.agents.as_ref().map(AgentFlow::counters),
            ports,
            drop_copy: self.exchange.drop_copy().map(|copy| copy.counters()),
            control: self.control.summary(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, tape, .. } = self;
        write!(f, "feed: {} messages in {} packets", self.message_count, stream.packet_count)?;
        writeln!(f, ", {} heartbeats, {} executions", stream.idle_count, self.match_count)?;
        if self.session_count > 1 {
            writeln!(f, "sessions of the feed: {}", self.session_count)?;
        }
        write!(f, "feed hash: ")?;
        self.feed_hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        writeln!(f)?;
        for (name, line) in ["A", "B"].iter().zip(&self.lines) {
            let LineCounters { lost_count, outage_count, duplicated_count, reordered_count, .. } = line.faults;
            write!(f, "line {name}: {} packets sent, {lost_count} lost, {outage_count} in outages", line.sent_count)?;
            writeln!(f, ", {duplicated_count} twice, {reordered_count} late, {} refused", line.refused_count)?;
        }
        write!(f, "retransmission: {} requests answered with", stream.answered_count)?;
        write!(f, " {} messages, {} refused", stream.retransmitted_count, stream.refused_count)?;
        writeln!(f, ", {} answers lost, {} lies", self.retransmission.1.lost_count, self.lie_count)?;
        writeln!(f, "snapshots: {}", self.snapshot_count)?;
        if let Some(agents) = &self.agents {
            write!(f, "agents: {} looks", agents.look_count)?;
            for (name, kind) in ["makers", "momentum", "informed", "noise"].iter().zip(&agents.kinds) {
                let KindCounters { entered_count, refused_count, fill_count, filled_shares, triggered_count } = kind;
                write!(f, "; {name} {entered_count} orders, {refused_count} refused, {fill_count} fills")?;
                write!(f, " of {filled_shares} shares")?;
                if *triggered_count > 0 {
                    write!(f, ", {triggered_count} stops woke up")?;
                }
            }
            writeln!(f)?;
        } else {
            write!(f, "flow: {} messages, {} orders", tape.message_count, tape.entered_count)?;
            writeln!(f, ", {} refused, {} about unknown orders", tape.refused_count, tape.unknown_count)?;
        }
        for (index, port) in self.ports.iter().enumerate() {
            let EndpointCounters { connection_count, cut_count, sent_len, received_len, .. } = port.endpoint;
            write!(f, "port {index}: {connection_count} connections, {cut_count} cut, {received_len} bytes in")?;
            write!(f, ", {sent_len} out, {} messages", port.message_count)?;
            if port.session_count > 1 {
                write!(f, " in {} sessions", port.session_count)?;
            }
            let PortCounters { malformed_count, ignored_count, lost_count } = port.port;
            write!(f, "; {malformed_count} malformed, {ignored_count} ignored, {lost_count} without room")?;
            let PortFaultCounters { stormed_count, lost_order_count, lost_answer_count, .. } = port.faults;
            let PortFaultCounters { duplicate_fill_count, late_fill_count, bust_count, .. } = port.faults;
            write!(f, "; faults: {stormed_count} refused in storms, {lost_order_count} orders lost")?;
            write!(f, ", {lost_answer_count} answers lost, {duplicate_fill_count} fills twice")?;
            writeln!(f, ", {late_fill_count} fills late, {bust_count} broken")?;
        }
        if let Some((counters, session)) = &self.drop_copy {
            let DropCopyCounters { report_count, replay_count, lost_count, fault_count } = counters;
            write!(f, "drop copy: {report_count} reports, the day told again {replay_count} times")?;
            write!(f, ", {} logons, {} messages sent again", session.logon_count, session.resent_count)?;
            writeln!(f, "; {lost_count} without room, {fault_count} faults")?;
        }
        let ControlSummary { done_count, refused_count, entries } = &self.control;
        if done_count + refused_count > 0 {
            writeln!(f, "told by hand: {done_count} commands, {refused_count} refused")?;
            entries.iter().try_for_each(|entry| writeln!(f, "  {entry}"))?;
        }
        write!(f, "orders alive at the end: {}", self.order_count)
    }
}
