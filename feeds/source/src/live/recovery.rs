//! The sockets of recovery: requests and their answers by UDP, snapshots by TCP.

use std::net::{Ipv4Addr, SocketAddrV4};

use peregrine_types::{EpochNanos, MarketEvent, Sink};
use peregrine_wire::{LineId, MoldFeed, Recovery, RecoveryConfig};
use zerocopy::IntoBytes;

use super::input::Gate;
use super::lanes::wall;
use super::recorder::Recorded;
use super::snapshot::{ClientStep, SnapshotClient, SnapshotPlan};
use super::socket::{LineAddress, SocketOptions};
use super::udp::UdpSource;
use super::{LineCounters, LiveSource, NOWHERE};
use crate::{RecordedFeed, Source, SourceError};

/// Datagrams from somebody who is no server that one step passes over, at most.
const STRANGERS_PER_STEP_MAX: usize = 64;

/// Who helps when every line has lost something.
#[derive(Clone, Debug)]
pub struct RecoveryPlan {
    /// Retransmission servers, asked in turn; may be empty.
    pub servers: Vec<SocketAddrV4>,
    /// The address of ours from which they are asked; 0.0.0.0 for the system's choice.
    pub interface: Ipv4Addr,
    /// The snapshot service, if there is one.
    pub snapshot: Option<SnapshotPlan>,
    /// Times and counts. `server_count` and `has_snapshot` follow from the above.
    pub config: RecoveryConfig,
}

/// The sockets, and the stage that says what to do with them.
pub(super) struct Helpers {
    stage: Recovery,
    servers: Vec<SocketAddrV4>,
    requests: Option<UdpSource>,
    client: Option<SnapshotClient>,
    snapshot_address: SocketAddrV4,
    interfaces: (u8, u8),
    local: SocketAddrV4,
    stranger_count: u64,
}

impl Helpers {
    pub(super) fn open(plan: &RecoveryPlan, recorded: &RecordedFeed) -> Result<Self, SourceError> {
        let config = RecoveryConfig {
            server_count: u8::try_from(plan.servers.len()).unwrap_or(u8::MAX),
            has_snapshot: plan.snapshot.is_some(),
            ..plan.config
        };
        let address = LineAddress { destination: SocketAddrV4::new(plan.interface, 0), interface: plan.interface };
        let open = || UdpSource::one("the retransmission server's answers", address, &SocketOptions::default());
        let requests = if plan.servers.is_empty() { None } else { Some(open()?) };
        let local = requests.as_ref().and_then(|source| source.facts().first().map(|facts| facts.local));
        Ok(Self {
            stage: Recovery::new(config, recorded.line_count),
            servers: plan.servers.clone(),
            requests,
            client: plan.snapshot.map(SnapshotClient::new),
            snapshot_address: plan.snapshot.map_or(NOWHERE, |plan| plan.address),
            interfaces: (recorded.retransmission_line().0, recorded.snapshot_line().0),
            local: local.unwrap_or(NOWHERE),
            stranger_count: 0,
        })
    }

    pub(super) const fn stage(&self) -> &Recovery {
        &self.stage
    }

    pub(super) const fn stranger_count(&self) -> u64 {
        self.stranger_count
    }

    /// What the socket of the servers' answers did. Allocates: for reports.
    pub(super) fn line_counters(&self) -> Vec<LineCounters> {
        self.requests.as_ref().map(LiveSource::line_counters).unwrap_or_default()
    }

    /// Takes one packet of what came, and asks for what is missing. Returns whether anything came.
    pub(super) fn step(
        &mut self,
        feed: &mut MoldFeed,
        gate: &mut Gate,
        now: EpochNanos,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<bool, SourceError> {
        let mut has_worked = self.stage.is_asking() && self.take_reply(feed, gate, out)?;
        if !has_worked && self.client.as_ref().is_some_and(SnapshotClient::is_active) {
            has_worked = self.take_snapshot(feed, gate, now, out);
        }
        self.leave(feed);
        let (requests, servers) = (&self.requests, &self.servers);
        self.stage.poll(feed, now, &mut |server, request| {
            if let Some((source, to)) = requests.as_ref().zip(servers.get(usize::from(server))) {
                // What the system does not take counts as a request without an answer.
                let _: bool = source.send(LineId::A, request.as_bytes(), *to);
            }
        });
        self.connect(feed, now);
        Ok(has_worked)
    }

    fn take_reply(
        &mut self,
        feed: &mut MoldFeed,
        gate: &mut Gate,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<bool, SourceError> {
        let Some(source) = &mut self.requests else { return Ok(false) };
        for _ in 0..STRANGERS_PER_STEP_MAX {
            if !source.advance()? {
                return Ok(false);
            }
            let from = source.sender().unwrap_or(NOWHERE);
            let Some(packet) = source.current() else { return Ok(false) };
            if !self.servers.contains(&from) {
                self.stranger_count = self.stranger_count.saturating_add(1);
                continue;
            }
            let (recv_time, payload) = (packet.recv_time, packet.bytes);
            let recorded = Recorded { interface: self.interfaces.0, recv_time, from, to: self.local, payload };
            let recv_time = gate.pass(&recorded);
            while self.stage.on_reply(feed, payload, recv_time, out).is_err() {}
            return Ok(true);
        }
        Ok(false)
    }

    fn take_snapshot(
        &mut self,
        feed: &mut MoldFeed,
        gate: &mut Gate,
        now: EpochNanos,
        out: &mut impl Sink<MarketEvent>,
    ) -> bool {
        let Some(client) = &mut self.client else { return false };
        let (stage, interface, from, to) = (&mut self.stage, self.interfaces.1, self.snapshot_address, self.local);
        let step = client.step(now, &mut |payload: &[u8]| {
            let recv_time = gate.pass(&Recorded { interface, recv_time: wall(), from, to, payload });
            loop {
                if let Ok(step) = stage.on_snapshot(feed, payload, recv_time, out) {
                    break step;
                }
            }
        });
        match step {
            ClientStep::Failed => self.stage.snapshot_failed(now),
            ClientStep::Done => self.stage.snapshot_over(now),
            ClientStep::Idle | ClientStep::Worked => {}
        }
        step != ClientStep::Idle
    }

    /// Closes the connection to the snapshot service when the lines brought what was missing before the snapshot began.
    fn leave(&mut self, feed: &MoldFeed) {
        let Some(client) = self.client.as_mut().filter(|client| client.is_active()) else { return };
        if self.stage.is_snapshot_needless(feed) {
            client.close();
            self.stage.snapshot_left();
        }
    }

    /// Connects to the snapshot service when that is due.
    fn connect(&mut self, feed: &MoldFeed, now: EpochNanos) {
        let Some(client) = &mut self.client else { return };
        if client.is_active() || !self.stage.wants_snapshot(feed, now) {
            return;
        }
        let Some(session) = feed.arbiter().session() else { return };
        self.stage.snapshot_begun(now);
        if !client.begin(session, now) {
            self.stage.snapshot_failed(now);
        }
    }
}
