//! The classic capture file (libpcap): micro- and nanoseconds, both byte orders.
//!
//! | offset | length | file header field |
//! |---|---|---|
//! | 0 | 4 | magic: byte order and unit of the fraction |
//! | 4 | 2 + 2 | version 2.4 |
//! | 8 | 4 + 4 | reserved |
//! | 16 | 4 | snap length |
//! | 20 | 4 | link type in the low 16 bits, frame check sequence length above |
//!
//! | offset | length | record header field, followed by the stored bytes without padding |
//! |---|---|---|
//! | 0 | 4 | seconds since 1970 UTC, unsigned |
//! | 4 | 4 | fraction of a second |
//! | 8 | 4 | bytes stored |
//! | 12 | 4 | bytes on the wire |

mod reader;
mod writer;

pub(crate) use reader::{Reader, magic};
pub use writer::{Layout, Writer};

/// Bytes of the file header.
pub const FILE_HEADER_LEN: usize = 24;
/// Bytes of a record header.
pub const RECORD_HEADER_LEN: usize = 16;
/// Magic number of a file with microseconds.
pub(crate) const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
/// Magic number of a file with nanoseconds.
pub(crate) const MAGIC_NANOS: u32 = 0xa1b2_3c4d;

/// The unit of a time stamp's fraction of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fraction {
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    #[default]
    Nanos,
}

impl Fraction {
    /// Units in a second.
    #[must_use]
    pub const fn per_second(self) -> u32 {
        match self {
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }

    /// Nanoseconds in a unit.
    #[must_use]
    pub const fn nanos(self) -> u32 {
        match self {
            Self::Micros => 1_000,
            Self::Nanos => 1,
        }
    }

    pub(crate) const fn magic(self) -> u32 {
        match self {
            Self::Micros => MAGIC_MICROS,
            Self::Nanos => MAGIC_NANOS,
        }
    }
}
