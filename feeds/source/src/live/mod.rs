//! Live sources: sockets behind the trait of the files.
//!
//! [`UdpSource`] receives several lines with one socket each, [`PacketRingSource`] and [`XdpSource`] without the kernel's
//! IP stack; [`LiveInput`] turns what it gives into market events,
//! recovers what every line lost, and records what arrives ([`Recorder`]).
//! A live source never waits: [`Source::advance`] gives `false` when nothing is there now, and
//! [`Source::has_ended`] tells that from the end. All memory is taken when a source is opened;
//! the receive calls are the only system calls afterwards.
//!
//! Interfaces of the system used here: `recvmmsg(2)`, `socket(7)` (`SO_RCVBUF`, `SO_BUSY_POLL`, `SO_RXQ_OVFL`,
//! `SO_TIMESTAMPNS`), `ip(7)` (groups), and the kernel's `Documentation/networking/timestamping.rst`. IPv4 only.

mod batch;
mod bpf;
mod control;
mod input;
mod interface;
mod lanes;
mod mapping;
mod packet_ring;
mod probe;
mod recorder;
mod recovery;
mod snapshot;
mod socket;
mod tap;
mod udp;
mod xdp;

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::Source;

pub use batch::{BATCH_LEN_MAX, PAYLOAD_LEN_LIMIT};
pub use input::{LiveCounters, LiveInput, LiveInputError, LivePlan, LiveStep, SourceKind};
pub use lanes::{Head, Lane, LaneSource};
pub use packet_ring::{PacketRingSource, RingKind, RingLane, RingOptions};
pub use peregrine_soup::{Password, Username};
pub use probe::{SourceProbe, probe_sources};
pub use recorder::{Recorded, Recorder, RecorderPlan, RecorderReport};
pub use recovery::RecoveryPlan;
pub use snapshot::SnapshotPlan;
pub use socket::{BusyPoll, LineAddress, SocketFacts, SocketOptions, StampWish, Way};
pub use tap::{Tap, TapFrame};
pub use udp::{UdpLane, UdpSource};
pub use xdp::{XdpLane, XdpMode, XdpOptions, XdpSource};

/// Stands for an address that is not known.
const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// What one line did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Packets received.
    pub packet_count: u64,
    /// Receive calls that brought at least one; rings need none.
    pub call_count: u64,
    /// Packets that the kernel dropped because nobody read them in time.
    pub kernel_drop_count: u64,
    /// Packets dropped here because they are longer than the slots.
    pub oversize_count: u64,
    /// Frames dropped here because a length or a checksum in their headers is wrong; rings only, where no IP stack does it.
    pub damaged_count: u64,
    /// Packets without a stamp of the kernel's, stamped when they were read.
    pub unstamped_count: u64,
    /// Frames whose kernel stamp was made when their copy was ready, not when the kernel took them over; packet rings only,
    /// and only the first ones after a ring was opened.
    pub late_stamp_count: u64,
}

/// What a live source has beyond one of files.
pub trait LiveSource: Source {
    /// Who sent the packet that is shown.
    fn sender(&self) -> Option<SocketAddrV4>;

    /// What the system granted to each line. Allocates: for reports.
    fn facts(&self) -> Vec<SocketFacts>;

    /// What each line did. Allocates: for reports.
    fn line_counters(&self) -> Vec<LineCounters>;

    /// Ends the source: what waits is not read any more.
    fn close(&mut self);
}
