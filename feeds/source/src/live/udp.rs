//! Lines of a feed by UDP, one socket each.

use std::net::SocketAddrV4;

use peregrine_types::EpochNanos;

use super::LineCounters;
use super::batch::{Batch, Datagram};
use super::control::Beside;
use super::lanes::{Head, Lane, LaneSource, wall};
use super::socket::{LineAddress, ReceiveSocket, SocketFacts, SocketOptions};
use crate::{LineId, Session, SourceError, StampKind};

/// A socket and the datagrams of its last receive call.
pub struct UdpLane {
    line: LineId,
    socket: ReceiveSocket,
    batch: Batch,
    /// When the next packet of the batch came, once it was looked at.
    head: Option<(EpochNanos, StampKind)>,
    /// Whether the last call took as many as it can.
    is_full: bool,
    counters: LineCounters,
    drop_count_last: u32,
}

/// The lines of a feed, each with a socket of its own.
pub type UdpSource = LaneSource<UdpLane>;

impl UdpSource {
    /// Opens one socket for each of `lines`, which become lines A, B, …
    ///
    /// # Errors
    /// [`SourceError::Socket`] naming the line, its address and what the system said.
    pub fn open(lines: &[LineAddress], options: &SocketOptions, session: Option<Session>) -> Result<Self, SourceError> {
        let open = |(index, address): (u8, &LineAddress)| {
            let name = format!("line {}", char::from(b'A'.saturating_add(index)));
            UdpLane::open(&name, LineId(index), *address, options)
        };
        let lanes: Result<Vec<UdpLane>, SourceError> = (0..).zip(lines).map(open).collect();
        Ok(Self::new(lanes?, session))
    }

    /// A source of one socket, called `what` in messages.
    pub(super) fn one(what: &str, address: LineAddress, options: &SocketOptions) -> Result<Self, SourceError> {
        Ok(Self::new(vec![UdpLane::open(what, LineId::A, address, options)?], None))
    }

    /// Sends a datagram from the socket of `line`, so that answers come back to it; whether the system took it.
    pub fn send(&self, line: LineId, payload: &[u8], to: SocketAddrV4) -> bool {
        self.lanes.get(usize::from(line.0)).is_some_and(|lane| lane.socket.send(payload, to))
    }
}

impl UdpLane {
    fn open(what: &str, line: LineId, address: LineAddress, options: &SocketOptions) -> Result<Self, SourceError> {
        Ok(Self {
            line,
            socket: ReceiveSocket::open(what, address, options)?,
            batch: Batch::new(options.batch_len, options.payload_len_max),
            head: None,
            is_full: false,
            counters: LineCounters::default(),
            drop_count_last: 0,
        })
    }
}

impl Lane for UdpLane {
    const LOOK_COUNT: u32 = 1;

    fn receive(&mut self) -> Result<(), SourceError> {
        if self.batch.first().is_some() {
            return Ok(());
        }
        let received = self
            .batch
            .receive(self.socket.descriptor())
            .map_err(|source| SourceError::Receive { address: self.socket.facts().local, source })?;
        self.is_full = received >= self.batch.len();
        let count = u64::try_from(received).unwrap_or(0);
        self.counters.packet_count = self.counters.packet_count.saturating_add(count);
        self.counters.call_count = self.counters.call_count.saturating_add(u64::from(count > 0));
        Ok(())
    }

    #[inline]
    fn is_behind(&self) -> bool {
        self.is_full && self.batch.first().is_none()
    }

    /// Passes over the datagrams that cannot be used.
    #[inline]
    fn head(&mut self) -> Option<Head> {
        while self.head.is_none() {
            let Datagram { control, is_cut, .. } = self.batch.first()?;
            let beside = Beside::parse(control);
            if let Some(drop_count) = beside.drop_count {
                // The kernel's counter has 32 bits and runs over.
                let new = drop_count.wrapping_sub(self.drop_count_last);
                self.counters.kernel_drop_count = self.counters.kernel_drop_count.saturating_add(u64::from(new));
                self.drop_count_last = drop_count;
            }
            if is_cut {
                self.counters.oversize_count = self.counters.oversize_count.saturating_add(1);
                self.batch.pass();
                continue;
            }
            let is_unstamped = beside.stamp.is_none();
            self.counters.unstamped_count = self.counters.unstamped_count.saturating_add(u64::from(is_unstamped));
            self.head = Some(beside.stamp.unwrap_or_else(|| (wall(), StampKind::Tsc)));
        }
        self.head.map(|(time, stamp)| Head { line: self.line, time, stamp })
    }

    #[inline]
    fn packet(&self) -> Option<(&[u8], SocketAddrV4)> {
        self.batch.first().map(|datagram| (datagram.payload, datagram.from))
    }

    #[inline]
    fn pass(&mut self) {
        self.head = None;
        self.batch.pass();
    }

    /// With what the kernel dropped behind the last packet that was read.
    fn counters(&self) -> Vec<(LineId, LineCounters)> {
        let now = self.socket.drop_count().unwrap_or(self.drop_count_last);
        let since = u64::from(now.wrapping_sub(self.drop_count_last));
        let kernel_drop_count = self.counters.kernel_drop_count.saturating_add(since);
        vec![(self.line, LineCounters { kernel_drop_count, ..self.counters })]
    }

    fn facts(&self) -> Vec<(LineId, SocketFacts)> {
        vec![(self.line, *self.socket.facts())]
    }
}
