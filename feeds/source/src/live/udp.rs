//! Lines of a feed by UDP, one socket each.

use std::net::SocketAddrV4;
use std::time::{SystemTime, UNIX_EPOCH};

use peregrine_types::EpochNanos;

use super::batch::{Batch, Datagram};
use super::socket::{LineAddress, ReceiveSocket, SocketFacts, SocketOptions};
use crate::packet::MonotoneTime;
use crate::{Carrier, End, LineId, Packet, Progress, Session, Source, SourceError, StampKind, Statistics};

/// What one line's socket did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Datagrams received.
    pub packet_count: u64,
    /// Receive calls that brought at least one.
    pub call_count: u64,
    /// Datagrams that the kernel dropped because the socket's buffer was full (`SO_RXQ_OVFL`).
    pub kernel_drop_count: u64,
    /// Datagrams dropped here because they are longer than the slots.
    pub oversize_count: u64,
    /// Datagrams without a stamp of the kernel's, stamped when they were read.
    pub unstamped_count: u64,
}

struct Line {
    line: LineId,
    socket: ReceiveSocket,
    batch: Batch,
    /// When the next packet of the batch came, once it was looked at.
    head: Option<(EpochNanos, StampKind)>,
    counters: LineCounters,
    drop_count_last: u32,
}

/// The packet that is shown.
#[derive(Clone, Copy)]
struct Shown {
    line: usize,
    recv_time: EpochNanos,
    stamp: StampKind,
    offset: u64,
}

/// The lines of a feed, each with a socket of its own. Packets that wait on several lines come in the order of their time
/// stamps; a stamp that lies before one given out earlier is raised to it, and counted.
pub struct UdpSource {
    lines: Vec<Line>,
    session: Option<Session>,
    time: MonotoneTime,
    shown: Option<Shown>,
    statistics: Statistics,
}

impl UdpSource {
    /// Opens one socket for each of `lines`, which become lines A, B, …
    ///
    /// # Errors
    /// [`SourceError::Socket`] naming the line, its address and what the system said.
    pub fn open(lines: &[LineAddress], options: &SocketOptions, session: Option<Session>) -> Result<Self, SourceError> {
        let open = |(index, address): (u8, &LineAddress)| {
            let name = format!("line {}", char::from(b'A'.saturating_add(index)));
            Ok(Line {
                line: LineId(index),
                socket: ReceiveSocket::open(&name, *address, options)?,
                batch: Batch::new(options.batch_len, options.payload_len_max),
                head: None,
                counters: LineCounters::default(),
                drop_count_last: 0,
            })
        };
        let opened: Result<Vec<Line>, SourceError> = (0..).zip(lines).map(open).collect();
        Ok(Self { lines: opened?, session, time: MonotoneTime::new(), shown: None, statistics: Statistics::default() })
    }

    /// What the system granted to each line.
    pub fn facts(&self) -> impl Iterator<Item = &SocketFacts> {
        self.lines.iter().map(|line| line.socket.facts())
    }

    /// What each line's socket did.
    pub fn line_counters(&self) -> impl Iterator<Item = &LineCounters> {
        self.lines.iter().map(|line| &line.counters)
    }

    /// Who sent the packet that is shown.
    #[must_use]
    pub fn sender(&self) -> Option<SocketAddrV4> {
        self.lines.get(self.shown?.line)?.batch.first().map(|datagram| datagram.from)
    }

    /// Sends a datagram from the socket of `line`, so that answers come back to it; whether the system took it.
    pub fn send(&self, line: LineId, payload: &[u8], to: SocketAddrV4) -> bool {
        self.lines.get(usize::from(line.0)).is_some_and(|line| line.socket.send(payload, to))
    }

    /// Ends the source: what waits is not read any more.
    pub const fn close(&mut self) {
        self.shown = None;
        self.statistics.end = End::Complete;
    }

    /// Receives on every line, when nothing is left of what was received before.
    fn refill(&mut self) -> Result<(), SourceError> {
        for line in &mut self.lines {
            line.receive()?;
        }
        Ok(())
    }

    /// The line whose next packet is the oldest, with its stamp.
    fn oldest(&mut self) -> Option<(usize, EpochNanos, StampKind)> {
        let heads = self.lines.iter_mut().enumerate();
        heads
            .filter_map(|(index, line)| line.head().map(|(time, stamp)| (index, time, stamp)))
            .min_by_key(|head| head.1)
    }
}

/// The wall's clock, for a packet that came without a stamp.
pub(super) fn wall() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

impl Line {
    fn receive(&mut self) -> Result<(), SourceError> {
        let received = self
            .batch
            .receive(self.socket.descriptor())
            .map_err(|source| SourceError::Receive { address: self.socket.facts().local, source })?;
        let count = u64::try_from(received).unwrap_or(0);
        self.counters.packet_count = self.counters.packet_count.saturating_add(count);
        self.counters.call_count = self.counters.call_count.saturating_add(u64::from(count > 0));
        Ok(())
    }

    /// When the next packet came, after passing over those that cannot be used.
    #[inline]
    fn head(&mut self) -> Option<(EpochNanos, StampKind)> {
        while self.head.is_none() {
            let Datagram { beside, is_cut, .. } = self.batch.first()?;
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
        self.head
    }

    fn pass(&mut self) {
        self.head = None;
        self.batch.pass();
    }
}

impl Source for UdpSource {
    fn advance(&mut self) -> Result<bool, SourceError> {
        if let Some(line) = self.shown.take().and_then(|shown| self.lines.get_mut(shown.line)) {
            line.pass();
        }
        if self.has_ended() {
            return Ok(false);
        }
        let oldest = match self.oldest() {
            Some(oldest) => Some(oldest),
            None => {
                self.refill()?;
                self.oldest()
            }
        };
        let Some((line, time, stamp)) = oldest else { return Ok(false) };
        let len = self.lines.get(line).and_then(|line| line.batch.first()).map_or(0, |head| head.payload.len());
        let offset = self.statistics.payload_len;
        self.statistics.record_count = self.statistics.record_count.saturating_add(1);
        self.statistics.packet_count = self.statistics.packet_count.saturating_add(1);
        self.statistics.payload_len = offset.saturating_add(u64::try_from(len).unwrap_or(0));
        let recv_time = self.time.clamp(time, &mut self.statistics);
        self.shown = Some(Shown { line, recv_time, stamp, offset });
        Ok(true)
    }

    fn current(&self) -> Option<Packet<'_>> {
        let shown = self.shown?;
        let line = self.lines.get(shown.line)?;
        let datagram = line.batch.first()?;
        Some(Packet {
            line: line.line,
            recv_time: shown.recv_time,
            stamp: shown.stamp,
            bytes: datagram.payload,
            offset: shown.offset,
        })
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
