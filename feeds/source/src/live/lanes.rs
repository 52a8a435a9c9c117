//! What all live sources share: several lanes, each a socket or a ring, whose packets come in the order of their stamps.

use std::net::SocketAddrV4;
use std::time::{SystemTime, UNIX_EPOCH};

use peregrine_types::EpochNanos;

use super::socket::SocketFacts;
use super::{LineCounters, LiveSource};
use crate::packet::MonotoneTime;
use crate::{Carrier, End, LineId, Packet, Progress, Session, Source, SourceError, StampKind, Statistics};

/// The packet that a lane shows.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its line.
    pub(crate) line: LineId,
    /// When it came.
    pub(crate) time: EpochNanos,
    /// Whose clock says so.
    pub(crate) stamp: StampKind,
}

/// One socket or ring. Sealed: the lanes of this crate are all there are.
pub trait Lane: Send {
    /// Receives what waits, when everything before was passed.
    ///
    /// # Errors
    /// [`SourceError::Receive`].
    fn receive(&mut self) -> Result<(), SourceError>;

    /// The packet to be read now.
    fn head(&mut self) -> Option<Head>;

    /// Its payload, and who sent it.
    fn packet(&self) -> Option<(&[u8], SocketAddrV4)>;

    /// Goes on behind it.
    fn pass(&mut self);

    /// What each of its lines did. Allocates.
    fn counters(&self) -> Vec<(LineId, LineCounters)>;

    /// What the system granted to each of its lines. Allocates.
    fn facts(&self) -> Vec<(LineId, SocketFacts)>;
}

/// The packet that is shown.
#[derive(Clone, Copy)]
struct Shown {
    lane: usize,
    line: LineId,
    recv_time: EpochNanos,
    stamp: StampKind,
    offset: u64,
}

/// Lanes as one source. Packets that wait on several lanes come in the order of their time stamps; a stamp that lies before
/// one given out earlier is raised to it, and counted.
pub struct LaneSource<L> {
    pub(super) lanes: Vec<L>,
    session: Option<Session>,
    time: MonotoneTime,
    shown: Option<Shown>,
    statistics: Statistics,
}

/// The wall's clock, for a packet that came without a stamp.
pub(super) fn wall() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

impl<L: Lane> LaneSource<L> {
    pub(super) fn new(lanes: Vec<L>, session: Option<Session>) -> Self {
        Self { lanes, session, time: MonotoneTime::new(), shown: None, statistics: Statistics::default() }
    }

    /// The lane whose next packet is the oldest.
    fn oldest(&mut self) -> Option<(usize, Head)> {
        let heads = self.lanes.iter_mut().enumerate();
        heads.filter_map(|(index, lane)| lane.head().map(|head| (index, head))).min_by_key(|(_, head)| head.time)
    }
}

impl<L: Lane> LiveSource for LaneSource<L> {
    fn sender(&self) -> Option<SocketAddrV4> {
        self.lanes.get(self.shown?.lane)?.packet().map(|(_, from)| from)
    }

    fn facts(&self) -> Vec<SocketFacts> {
        let mut facts: Vec<_> = self.lanes.iter().flat_map(Lane::facts).collect();
        facts.sort_by_key(|(line, _)| *line);
        facts.into_iter().map(|(_, facts)| facts).collect()
    }

    fn line_counters(&self) -> Vec<LineCounters> {
        let mut counters: Vec<_> = self.lanes.iter().flat_map(Lane::counters).collect();
        counters.sort_by_key(|(line, _)| *line);
        counters.into_iter().map(|(_, counters)| counters).collect()
    }

    fn close(&mut self) {
        self.shown = None;
        self.statistics.end = End::Complete;
    }
}

impl<L: Lane> Source for LaneSource<L> {
    fn advance(&mut self) -> Result<bool, SourceError> {
        if let Some(lane) = self.shown.take().and_then(|shown| self.lanes.get_mut(shown.lane)) {
            lane.pass();
        }
        if self.has_ended() {
            return Ok(false);
        }
        let oldest = match self.oldest() {
            Some(oldest) => Some(oldest),
            None => {
                for lane in &mut self.lanes {
                    lane.receive()?;
                }
                self.oldest()
            }
        };
        let Some((index, Head { line, time, stamp })) = oldest else { return Ok(false) };
        let len = self.lanes.get(index).and_then(Lane::packet).map_or(0, |(payload, _)| payload.len());
        let offset = self.statistics.payload_len;
        self.statistics.record_count = self.statistics.record_count.saturating_add(1);
        self.statistics.packet_count = self.statistics.packet_count.saturating_add(1);
        self.statistics.payload_len = offset.saturating_add(u64::try_from(len).unwrap_or(0));
        let recv_time = self.time.clamp(time, &mut self.statistics);
        self.shown = Some(Shown { lane: index, line, recv_time, stamp, offset });
        Ok(true)
    }

    fn current(&self) -> Option<Packet<'_>> {
        let Shown { lane, line, recv_time, stamp, offset } = self.shown?;
        let (bytes, _) = self.lanes.get(lane)?.packet()?;
        Some(Packet { line, recv_time, stamp, bytes, offset })
    }

    fn format(&self) -> Carrier {
        Carrier::MoldUdp64
    }

    fn session(&self) -> Option<Session> {
        self.session
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Bytes received; a live source has no length.
    fn progress(&self) -> Progress {
        Progress { read_len: self.statistics.payload_len, total_len: 0 }
    }
}
