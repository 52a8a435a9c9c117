//! Live sources: sockets behind the trait of the files.
//!
//! [`UdpSource`] receives several lines with one socket each; [`LiveInput`] turns what it gives into market events.
//! A live source never waits: [`Source::advance`](crate::Source::advance) gives `false` when nothing is there now, and
//! [`Source::has_ended`](crate::Source::has_ended) tells that from the end. All memory is taken when a source is opened;
//! the receive calls are the only system calls afterwards.
//!
//! Interfaces of the system used here: `recvmmsg(2)`, `socket(7)` (`SO_RCVBUF`, `SO_BUSY_POLL`, `SO_RXQ_OVFL`,
//! `SO_TIMESTAMPNS`), `ip(7)` (groups), and the kernel's `Documentation/networking/timestamping.rst`. IPv4 only.

mod batch;
mod control;
mod input;
mod socket;
mod udp;

pub use batch::{BATCH_LEN_MAX, PAYLOAD_LEN_LIMIT};
pub use input::{LiveCounters, LiveInput, LiveInputError, LivePlan, LiveStep};
pub use socket::{BusyPoll, LineAddress, SocketFacts, SocketOptions, StampWish};
pub use udp::{LineCounters, UdpSource};
