//! Where packets come from: length-prefixed files, gzip, pcap and pcapng, several lines merged by time, behind one trait.
//!
//! Memory stays flat however long a file is: bytes pass through one buffer of
//! fixed size and a packet borrows from it. Everything read here comes from outside and is believed only after a
//! check: damage is a [`SourceError`] with path and byte offset, whatever lies before it is delivered.
//!
//! Offsets count bytes of the file, or of its decompressed content where the file is gzip.
#![expect(dead_code, reason = "the capture readers, next to come, use the rest")]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic)]

pub mod binaryfile;
mod bytes;
mod error;
pub mod frame;
mod input;
mod packet;
pub mod pcap;

pub use bytes::ByteOrder;
pub use error::{Damage, Hint, SourceError};
pub use input::Input;
pub use packet::{
    Carrier, DESTINATION_COUNT_MAX, End, LineId, Packet, Progress, Session, SkipCounts, SkipReason, Source, StampKind,
    Statistics,
};
