//! A packet capture as a source: its frames taken apart, filtered to one line, their times kept from running back.

use core::ops::Range;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use peregrine_types::EpochNanos;
use peregrine_wire::{mdp3, moldudp64};

use crate::{
    Carrier, DESTINATION_COUNT_MAX, End, Input, LineId, Packet, Progress, Session, SkipReason, Source, SourceError,
    StampKind, Statistics,
    frame::{self, Checks, Datagram, LinkType},
    packet::MonotoneTime,
    pcap, pcapng,
    recorded::RecordedFeed,
};

/// How many frames are looked at to learn what a capture carries.
pub(crate) const CARRIER_RECORD_COUNT: u32 = 4_096;

/// A frame as the capture file stores it.
pub(crate) struct Record {
    pub(crate) time: Option<EpochNanos>,
    /// `None`: of a type that is not understood.
    pub(crate) link: Option<LinkType>,
    /// The number of its interface in its section; 0 where a file has only one.
    pub(crate) interface: u32,
    /// Whether less was stored than was on the wire.
    pub(crate) is_cut: bool,
    /// Where the frame starts in the file.
    pub(crate) offset: u64,
    /// Where it lies in the buffer.
    pub(crate) data: Range<usize>,
}

/// Which packets belong to which line. What is not given matches everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineFilter {
    /// The line of the packets that match.
    pub line: LineId,
    /// Destination address: the multicast group, or the unicast receiver.
    pub address: Option<IpAddr>,
    /// Destination port.
    pub port: Option<u16>,
}

impl LineFilter {
    fn matches(&self, destination: SocketAddr) -> bool {
        self.address.is_none_or(|address| address == destination.ip())
            && self.port.is_none_or(|port| port == destination.port())
    }
}

enum Reader {
    Pcap(pcap::Reader),
    Pcapng(pcapng::Reader),
}

impl Reader {
    fn next(&mut self) -> Result<Option<Record>, SourceError> {
        match self {
            Self::Pcap(reader) => reader.next(),
            Self::Pcapng(reader) => reader.next(),
        }
    }

    const fn input(&self) -> &Input {
        match self {
            Self::Pcap(reader) => &reader.input,
            Self::Pcapng(reader) => &reader.input,
        }
    }

    const fn recorded(&self) -> Option<RecordedFeed> {
        match self {
            Self::Pcap(_) => None,
            Self::Pcapng(reader) => reader.recorded,
        }
    }

    const fn end(&self) -> End {
        match self {
            Self::Pcap(reader) => reader.end,
            Self::Pcapng(reader) => reader.end,
        }
    }
}

/// What is common to every packet of a capture.
#[derive(Clone, Debug, Default)]
pub struct CaptureOptions {
    /// The line of packets that no filter assigns.
    pub line: LineId,
    /// Without any, every UDP packet that is a well-formed packet of the carrier is delivered, and from then on every packet
    /// to the same destination, so that the damaged ones among them are seen too.
    pub filters: Vec<LineFilter>,
    /// What the packets are; MoldUDP64 where it is not given. [`crate::open`] takes it from the first frame that holds a
    /// packet of any carrier.
    pub carrier: Option<Carrier>,
    /// What is checked in the headers.
    pub checks: Checks,
}

/// Reads the UDP payloads of a pcap or pcapng capture.
pub struct Capture {
    reader: Reader,
    options: CaptureOptions,
    carrier: Carrier,
    session: Option<Session>,
    /// Read ahead to learn when the capture starts.
    first: Option<Record>,
    destinations: Vec<SocketAddr>,
    time: MonotoneTime,
    current: Option<Delivered>,
    is_done: bool,
    statistics: Statistics,
}

struct Delivered {
    line: LineId,
    recv_time: EpochNanos,
    stamp: StampKind,
    offset: u64,
    payload: Range<usize>,
}

impl Capture {
    /// A reader of the capture in `input`, pcap or pcapng by its magic number.
    ///
    /// # Errors
    /// [`SourceError::Unrecognised`] for anything else, [`SourceError::Damaged`] for a header that cannot be,
    /// [`SourceError::Io`] and [`SourceError::Gzip`] when its first bytes cannot be read.
    pub fn new(mut input: Input, options: CaptureOptions) -> Result<Self, SourceError> {
        input.require(4)?;
        let is_pcapng = input.ready().starts_with(&pcapng::SECTION_HEADER.to_be_bytes());
        let mut reader = if is_pcapng {
            Reader::Pcapng(pcapng::Reader::new(input)?)
        } else {
            Reader::Pcap(pcap::Reader::new(input)?)
        };
        let first = reader.next()?;
        let is_done = first.is_none();
        let statistics = Statistics { end: reader.end(), ..Statistics::default() };
        let (destinations, time) = (Vec::new(), MonotoneTime::new());
        let carrier = options.carrier.unwrap_or(Carrier::MoldUdp64);
        let session = None;
        Ok(Self { reader, options, carrier, session, first, destinations, time, current: None, is_done, statistics })
    }

    /// What the first frames hold that hold a packet of any carrier; `None` where none of them does.
    fn carrier(&mut self) -> Option<Carrier> {
        for _ in 0..CARRIER_RECORD_COUNT {
            let record = self.next_record().ok()??;
            let bytes = self.reader.input().slice(record.data.clone());
            let datagram =
                record.link.and_then(|link| frame::dissect(link, bytes, record.is_cut, self.options.checks).ok());
            let is = |carrier: &Carrier| datagram.as_ref().is_some_and(|datagram| is_of(*carrier, datagram.payload));
            if let Some(carrier) = [Carrier::MoldUdp64, Carrier::Mdp3].into_iter().find(is) {
                return Some(carrier);
            }
        }
        None
    }

    /// When the first frame was captured; `None` for an empty capture or one without time stamps.
    #[must_use]
    pub fn first_time(&self) -> Option<EpochNanos> {
        self.first.as_ref()?.time
    }

    /// Says which trading day this is.
    pub const fn set_session(&mut self, session: Option<Session>) {
        self.session = session;
    }

    fn next_record(&mut self) -> Result<Option<Record>, SourceError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.reader.next(),
        }
    }

    fn deliver(&mut self, record: &Record) -> Result<Delivered, SkipReason> {
        let link = record.link.ok_or(SkipReason::UnsupportedLink)?;
        let bytes = self.reader.input().slice(record.data.clone());
        let datagram = frame::dissect(link, bytes, record.is_cut, self.options.checks)?;
        let line = match (self.reader.recorded(), self.options.filters.is_empty()) {
            // A recording of a live session: its interfaces are the lines.
            (Some(_), true) => LineId(u8::try_from(record.interface).unwrap_or(u8::MAX)),
            (_, _) => assign(&datagram, &self.options, self.carrier, &self.destinations)?,
        };
        if !self.destinations.contains(&datagram.destination)
            && self.statistics.destination_count < DESTINATION_COUNT_MAX
        {
            self.destinations.push(datagram.destination);
            self.statistics.destination_count = self.statistics.destination_count.saturating_add(1);
        }
        let count = |counter: &mut u64, is_one: bool| *counter = counter.saturating_add(u64::from(is_one));
        let len = u64::try_from(datagram.payload.len()).unwrap_or(u64::MAX);
        self.statistics.payload_len = self.statistics.payload_len.saturating_add(len);
        count(&mut self.statistics.packet_count, true);
        count(&mut self.statistics.zeroed_checksum_count, datagram.is_checksum_zeroed);
        count(&mut self.statistics.unstamped_count, record.time.is_none());
        let start = record.data.start.saturating_add(datagram.payload_start);
        let payload = start..start.saturating_add(datagram.payload.len());
        let offset = record.offset.saturating_add(u64::try_from(datagram.payload_start).unwrap_or(u64::MAX));
        let (recv_time, stamp) = match record.time {
            Some(time) => (self.time.clamp(time, &mut self.statistics), StampKind::Capture),
            None => {
                (self.time.last(self.session.map_or(EpochNanos(0), |session| session.midnight)), StampKind::Synthetic)
            }
        };
        Ok(Delivered { line, recv_time, stamp, offset, payload })
    }
}

/// The line of a datagram, or why it has none.
fn assign(
    datagram: &Datagram<'_>,
    options: &CaptureOptions,
    carrier: Carrier,
    known: &[SocketAddr],
) -> Result<LineId, SkipReason> {
    if options.filters.is_empty() {
        let is_ours = known.contains(&datagram.destination) || is_of(carrier, datagram.payload);
        let reason = if carrier == Carrier::Mdp3 { SkipReason::NotMdp3 } else { SkipReason::NotMoldUdp64 };
        return if is_ours { Ok(options.line) } else { Err(reason) };
    }
    let filter = options.filters.iter().find(|filter| filter.matches(datagram.destination));
    filter.map(|filter| filter.line).ok_or(SkipReason::OtherDestination)
}

/// Whether `payload` is a whole packet of the carrier.
fn is_of(carrier: Carrier, payload: &[u8]) -> bool {
    match carrier {
        Carrier::MoldUdp64 => is_moldudp64(payload),
        Carrier::Mdp3 => mdp3::parse(payload).is_ok(),
        Carrier::Itch => false,
    }
}

/// What the capture at `path` carries, by the first of its frames that hold a packet of any carrier; `None` where none of the
/// first [`CARRIER_RECORD_COUNT`] does, or it cannot be read.
pub(crate) fn carrier_of(path: &Path) -> Option<Carrier> {
    Capture::new(Input::open(path).ok()?, CaptureOptions::default()).ok()?.carrier()
}

/// Whether `payload` is a whole MoldUDP64 packet of a session whose name is text, or wiped to zeros.
fn is_moldudp64(payload: &[u8]) -> bool {
    moldudp64::Packet::parse(payload).is_ok_and(|packet| {
        let name = packet.session().0;
        name == [0; 10] || name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
    })
}

impl Source for Capture {
    fn advance(&mut self) -> Result<bool, SourceError> {
        self.current = None;
        while !self.is_done {
            // Stays set when the next line fails: an error is told once.
            self.is_done = true;
            let Some(record) = self.next_record()? else {
                self.statistics.end = self.reader.end();
                return Ok(false);
            };
            self.is_done = false;
            self.statistics.record_count = self.statistics.record_count.saturating_add(1);
            match self.deliver(&record) {
                Ok(delivered) => {
                    self.current = Some(delivered);
                    return Ok(true);
                }
                Err(reason) => self.statistics.skipped.count(reason),
            }
        }
        Ok(false)
    }

    fn current(&self) -> Option<Packet<'_>> {
        let current = self.current.as_ref()?;
        Some(Packet {
            line: current.line,
            recv_time: current.recv_time,
            stamp: current.stamp,
            bytes: self.reader.input().slice(current.payload.clone()),
            offset: current.offset,
        })
    }

    fn format(&self) -> Carrier {
        self.carrier
    }

    fn session(&self) -> Option<Session> {
        self.session
    }

    fn recorded(&self) -> Option<RecordedFeed> {
        self.reader.recorded().filter(|_| self.options.filters.is_empty())
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }

    fn progress(&self) -> Progress {
        self.reader.input().progress()
    }
}
