//! What every source gives: packets with their line and receive time, and the counts of what it read and skipped.

use core::fmt;

use jiff::civil::Date;
use peregrine_types::EpochNanos;
use peregrine_wire::LineId;

use crate::{Input, RecordedFeed, SourceError};

/// Where a receive time comes from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StampKind {
    /// The network card stamped the packet.
    Hardware = 0,
    /// The kernel stamped the packet.
    Kernel = 1,
    /// The receiving role read the processor's time-stamp counter.
    Tsc = 2,
    /// The time that a capture file gives.
    Capture = 3,
    /// The file has none: the exchange's time stands in (raw files), or the time of the packet before.
    Synthetic = 4,
}

/// What the bytes of a source's packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// One UDP payload each, a MoldUDP64 packet.
    MoldUdp64,
    /// One UDP payload each, an MDP 3.0 packet.
    Mdp3,
    /// One ITCH message each, without any session layer.
    Itch,
}

/// One packet, or one message of a raw file, borrowed until the source moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The line it came in on.
    pub line: LineId,
    /// When it was received; never before the packet that the same source gave last.
    pub recv_time: EpochNanos,
    /// Where `recv_time` comes from.
    pub stamp: StampKind,
    /// The UDP payload, or the ITCH message ([`Source::format`] says which).
    pub bytes: &'a [u8],
    /// Where `bytes` starts in the file, or in its decompressed content.
    pub offset: u64,
}

/// The trading day that a source belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The day in the exchange's zone.
    pub date: Date,
    /// The moment at which that day begins there; ITCH stamps count from it.
    pub midnight: EpochNanos,
}

/// How a source ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Not yet.
    #[default]
    Open,
    /// As the format says it should.
    Complete,
    /// On a record boundary, but without the record that ends a session: an extract, or a recording that stopped early.
    Incomplete {
        /// Where the file ends.
        offset: u64,
    },
    /// Inside a record: the rest is missing. Everything before was delivered.
    Truncated {
        /// Where the incomplete record starts.
        offset: u64,
        /// At least so many bytes are missing (0: a compressed stream that stops between two records).
        missing_len: u64,
    },
    /// With the record that ends a session, but more bytes follow it; they were not read.
    FollowedByData {
        /// Where those bytes start.
        offset: u64,
    },
}

impl End {
    /// The end of a capture at `offset`, where `needed` bytes should be and `available` are.
    pub(crate) fn short(input: &Input, offset: u64, available: usize, needed: usize) -> Self {
        match (available, input.is_cut()) {
            (0, false) => Self::Complete,
            (0, true) => Self::Truncated { offset, missing_len: 0 },
            (some, _) => {
                let missing = needed.saturating_sub(some);
                Self::Truncated { offset, missing_len: u64::try_from(missing).unwrap_or(u64::MAX) }
            }
        }
    }

    /// Whether nothing is to be said about the end.
    #[must_use]
    pub const fn is_clean(self) -> bool {
        match self {
            Self::Open | Self::Complete => true,
            Self::Incomplete { .. } | Self::Truncated { .. } | Self::FollowedByData { .. } => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("not read to its end"),
            Self::Complete => f.write_str("complete"),
            Self::Incomplete { offset } => {
                write!(f, "incomplete: no end-of-session record before the end at byte {offset}")
            }
            Self::Truncated { offset, missing_len: 0 } => {
                write!(f, "truncated: the compressed stream stops after byte {offset} of its content")
            }
            Self::Truncated { offset, missing_len } => {
                write!(f, "truncated: at least {missing_len} bytes of the record at byte {offset} are missing")
            }
            Self::FollowedByData { offset } => write!(f, "the session ends, but more bytes follow at byte {offset}"),
        }
    }
}

macro_rules! skip_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// Why a captured frame was not delivered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum SkipReason { $($(#[$doc])* $name),+ }

        impl SkipReason {
            /// All of them, in the order in which tables list them.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// The reason in words.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

skip_reasons! {
    /// The link type is none that is understood here.
    UnsupportedLink = "unsupported link type",
    /// Neither IPv4 nor IPv6 (ARP, LLC, spanning tree and so on).
    NotIp = "not IP",
    /// More VLAN tags than [`frame::VLAN_TAG_COUNT_MAX`](crate::frame::VLAN_TAG_COUNT_MAX).
    TooManyVlanTags = "too many VLAN tags",
    /// The capture cut the frame short of its payload's end.
    CutBySnaplen = "cut by the capture's snap length",
    /// A header is shorter than its format's minimum, or names a length that the frame does not have.
    BadLength = "impossible length in a header",
    /// The IPv4 header checksum is wrong.
    BadIpChecksum = "wrong IPv4 header checksum",
    /// The UDP checksum is wrong (only where it is asked to be checked).
    BadUdpChecksum = "wrong UDP checksum",
    /// A piece of a fragmented datagram.
    Fragment = "IP fragment",
    /// IP, but not UDP.
    NotUdp = "not UDP",
    /// UDP to an address or port that no filter names.
    OtherDestination = "other destination or port",
    /// UDP that is no MoldUDP64 packet, where no filter says that it should be one.
    NotMoldUdp64 = "not MoldUDP64",
    /// UDP that is no MDP 3.0 packet, where no filter says that it should be one.
    NotMdp3 = "not MDP 3.0",
}

/// How many frames were skipped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkipCounts([u64; SkipReason::ALL.len()]);

impl SkipCounts {
    /// How many were skipped for `reason`.
    #[must_use]
    pub fn get(&self, reason: SkipReason) -> u64 {
        self.0.get(usize::from(reason as u8)).copied().unwrap_or(0)
    }

    /// How many were skipped at all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Every reason with its count, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (SkipReason, u64)> + '_ {
        SkipReason::ALL.into_iter().zip(self.0)
    }

    pub(crate) fn count(&mut self, reason: SkipReason) {
        self.add(reason, 1);
    }

    pub(crate) fn add(&mut self, reason: SkipReason, count: u64) {
        if let Some(sum) = self.0.get_mut(usize::from(reason as u8)) {
            *sum = sum.saturating_add(count);
        }
    }
}

/// How many destinations a source tells apart; more are not counted.
pub const DESTINATION_COUNT_MAX: u32 = 64;

/// What a source did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Records of the file that were read: frames of a capture, messages of a raw file.
    pub record_count: u64,
    /// Packets (or messages) delivered.
    pub packet_count: u64,
    /// Payload bytes delivered.
    pub payload_len: u64,
    /// Frames that were not delivered.
    pub skipped: SkipCounts,
    /// Delivered packets whose own time lay before that of a packet delivered earlier; it was raised to that one's.
    pub backward_step_count: u64,
    /// The largest such step in nanoseconds.
    pub backward_step_ns_max: u64,
    /// Delivered packets whose IPv4 header checksum is zero though it should not be: headers wiped by an anonymiser, or
    /// filled in by the network card after the capture.
    pub zeroed_checksum_count: u64,
    /// Delivered packets without a time stamp of their own (pcapng simple packets).
    pub unstamped_count: u64,
    /// Different destinations (address and port) among the packets delivered, counted up to
    /// [`DESTINATION_COUNT_MAX`](crate::DESTINATION_COUNT_MAX). More than one on a line means that feeds are mixed.
    pub destination_count: u32,
    /// How the source ended.
    pub end: End,
}

/// How far a source is, in bytes of its file as it lies on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes taken from the file.
    pub read_len: u64,
    /// Bytes that the file has; 0 when unknown.
    pub total_len: u64,
}

/// A stream of packets. Files end; a live source may have nothing now and more later ([`Source::has_ended`]).
///
/// Moving on and looking are two calls, so that several sources can be merged without a copy: [`Source::advance`]
/// steps to the next packet, [`Source::current`] shows it until the next step. [`Source::poll`] does both.
pub trait Source: Send {
    /// Steps to the next packet. `false` means that there is none: for a file, that its end was reached; for a live
    /// source, that nothing waits now. After an error or the end every further call to a file gives `false`.
    ///
    /// # Errors
    /// [`SourceError::Io`] when the file cannot be read, [`SourceError::Gzip`] and [`SourceError::Damaged`] when its
    /// content is not what it claims to be, [`SourceError::Receive`] when a socket broke. A file that merely stops early is no error: see [`Statistics::end`].
    fn advance(&mut self) -> Result<bool, SourceError>;

    /// The packet that the last [`Source::advance`] stepped to; `None` before the first and after the last.
    fn current(&self) -> Option<Packet<'_>>;

    /// The next packet, or `None` when there is none.
    ///
    /// # Errors
    /// As [`Source::advance`].
    fn poll(&mut self) -> Result<Option<Packet<'_>>, SourceError> {
        Ok(if self.advance()? { self.current() } else { None })
    }

    /// Whether nothing will come any more: a file was read to its end, a live source was closed.
    fn has_ended(&self) -> bool {
        self.statistics().end != End::Open
    }

    /// What the packets of this source are.
    fn format(&self) -> Carrier;

    /// The trading day, as far as it is known.
    fn session(&self) -> Option<Session>;

    /// How the feed was arbitrated whose packets these are, where they are a recording of a live session: then lines
    /// are those of that session, the retransmission's and the snapshot's included.
    fn recorded(&self) -> Option<RecordedFeed> {
        None
    }

    /// Counts so far.
    fn statistics(&self) -> Statistics;

    /// Counts of one file, by its place among those that were opened; of everything where there is but one.
    fn file_statistics(&self, _file: usize) -> Statistics {
        self.statistics()
    }

    /// How far the source is in its file.
    fn progress(&self) -> Progress;
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn advance(&mut self) -> Result<bool, SourceError> {
        (**self).advance()
    }
    fn current(&self) -> Option<Packet<'_>> {
        (**self).current()
    }
    fn has_ended(&self) -> bool {
        (**self).has_ended()
    }
    fn format(&self) -> Carrier {
        (**self).format()
    }
    fn session(&self) -> Option<Session> {
        (**self).session()
    }
    fn recorded(&self) -> Option<RecordedFeed> {
        (**self).recorded()
    }
    fn statistics(&self) -> Statistics {
        (**self).statistics()
    }
    fn file_statistics(&self, file: usize) -> Statistics {
        (**self).file_statistics(file)
    }
    fn progress(&self) -> Progress {
        (**self).progress()
    }
}

/// Keeps time from going backwards within a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonotoneTime {
    last: EpochNanos,
}

impl MonotoneTime {
    pub(crate) const fn new() -> Self {
        Self { last: EpochNanos::MIN }
    }

    /// `time`, or the latest time seen so far when that is later; the step is counted.
    pub(crate) fn clamp(&mut self, time: EpochNanos, statistics: &mut Statistics) -> EpochNanos {
        if time < self.last {
            let step = self.last.since(time).0.unsigned_abs();
            statistics.backward_step_count = statistics.backward_step_count.saturating_add(1);
            statistics.backward_step_ns_max = statistics.backward_step_ns_max.max(step);
        }
        self.last = self.last.max(time);
        self.last
    }

    /// The latest time seen so far, or `first` when none was.
    pub(crate) fn last(&self, first: EpochNanos) -> EpochNanos {
        if self.last == EpochNanos::MIN { first } else { self.last }
    }
}
