//! Where packets come from: length-prefixed files, gzip, pcap and pcapng, several lines merged by time, and sockets,
//! behind one trait.
//!
//! [`open`] recognises a file by its first bytes and gives a [`Source`]; [`Merge`] orders several of them by receive
//! time; [`TimeRange`] cuts a span out; [`market::Input`] turns what they give into market events. Memory stays flat however long a file is: bytes pass through one buffer of
//! fixed size and a packet borrows from it. Everything read here comes from outside and is believed only after a
//! check: damage is a [`SourceError`] with path and byte offset, whatever lies before it is delivered.
//!
//! Offsets count bytes of the file, or of its decompressed content where the file is gzip.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic))]

pub mod binaryfile;
mod bytes;
mod capture;
mod detect;
mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
mod input;
pub mod live;
pub mod market;
mod merge;
mod packet;
pub mod pcap;
pub mod pcapng;
mod recorded;
pub mod session;
mod time_range;

pub use bytes::ByteOrder;
pub use capture::{Capture, CaptureOptions, LineFilter};
pub use detect::{OpenOptions, open, open_all, open_input};
pub use error::{Damage, Hint, SourceError};
pub use frame::{Checks, HeaderCheck, UdpCheck};
pub use input::Input;
pub use merge::Merge;
pub use packet::{
    Carrier, DESTINATION_COUNT_MAX, End, Packet, Progress, Session, SkipCounts, SkipReason, Source, StampKind,
    Statistics,
};
pub use peregrine_wire::LineId;
pub use recorded::{RecordedFeed, RecordedRecovery};
pub use session::session_midnight;
pub use time_range::TimeRange;
