//! What can go wrong with a log, on the cold side.

use std::{io, path::PathBuf};

use crate::Stream;

/// What is wrong at one place of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file does not begin with the magic bytes of a log segment.
    Magic,
    /// The file was written on a machine of the other byte order.
    Endianness,
    /// The file's format version is newer than this program's, or zero.
    Version {
        /// The version that the file states.
        found: u16,
    },
    /// The checksum of the file header does not match.
    HeaderChecksum,
    /// A field of the file header does not fit its file's name or the segments before it.
    HeaderField {
        /// The field's name.
        field: &'static str,
    },
    /// The file ends inside its header.
    HeaderShort,
    /// The file ends inside a record or a block end.
    Short,
    /// There is no record: the preallocated rest of the file.
    Blank,
    /// The checksum of a record or of a block end does not match.
    Checksum,
    /// A record of another stream.
    StreamNumber {
        /// The number that the record states.
        found: u8,
    },
    /// A record, or block, that belongs to another place.
    Index {
        /// The index that it states.
        found: u64,
    },
    /// A block whose hash does not follow from the block before it and its own bytes.
    Chain,
    /// A block end that states an impossible record count or unknown flags.
    BlockEnd,
    /// The facts in the segment headers are not those that the block end was written with.
    FactsTag,
    /// Bytes behind the sealed end.
    Trailing,
    /// A block end where a record should be, or a record where a block end should be.
    Misplaced,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic => f.write_str("no log segment: the magic bytes are missing"),
            Self::Endianness => f.write_str("written on a machine of the other byte order"),
            Self::Version { found } => {
                write!(f, "format version {found}; this program reads 1 to {}", crate::FORMAT_VERSION)
            }
            Self::HeaderChecksum => f.write_str("the checksum of the file header does not match"),
            Self::HeaderField { field } => write!(f, "the file header's {field} does not fit the file's place"),
            Self::HeaderShort => f.write_str("the file ends inside its header"),
            Self::Short => f.write_str("the file ends inside a record"),
            Self::Blank => f.write_str("no record was written here"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::StreamNumber { found } => write!(f, "a record of stream {found}"),
            Self::Index { found } => write!(f, "a record that belongs at index {found}"),
            Self::Chain => f.write_str("the block's hash does not follow from its bytes and the block before it"),
            Self::BlockEnd => f.write_str("the block end states an impossible record count or unknown flags"),
            Self::FactsTag => {
                f.write_str("the facts in the file headers are not those that the block was written with")
            }
            Self::Trailing => f.write_str("bytes behind the sealed end"),
            Self::Misplaced => f.write_str("a block end and a record changed places"),
        }
    }
}

/// Why a log could not be written, read, verified or recovered.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file operation failed. While writing this is fatal: the log stays refused until it is recovered.
    #[error("cannot {action} ({}): {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk, or the staging memory, is full.
    #[error("no space left to {action} ({}): free space, then recover the log", path.display())]
    NoSpace {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
    },
    /// A sync failed. What the disk holds is unknown now, and a later sync that succeeds would prove nothing.
    #[error("sync failed ({}): {source}: stop, then recover the log on a sound disk", path.display())]
    SyncFailed {
        /// The segment file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier write or sync failed; nothing is written any more.
    #[error("the log failed earlier and takes nothing more (stream {stream})")]
    Poisoned {
        /// The stream whose file failed.
        stream: Stream,
    },
    /// Another process, or another part of this one, writes or recovers the log.
    #[error("the log is in use by another writer ({})", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The folder is a copy of a run's, whose newest records are still in memory and not its own.
    #[error(
        "the folder is a copy of a run's whose memory is still there ({}, noted in {}): close the log of the run itself; to close \
         the copy with what its files hold, remove that note",
        staging.display(),
        path.display()
    )]
    Copied {
        /// The note.
        path: PathBuf,
        /// A file of the run's staging memory.
        staging: PathBuf,
    },
    /// The folder already holds a log.
    #[error("the folder already holds a log ({}): choose another one", path.display())]
    AlreadyExists {
        /// A file of that log.
        path: PathBuf,
    },
    /// A value of [`crate::LogConfig`] is impossible.
    #[error("log setting {key} is impossible: {reason}")]
    Config {
        /// The setting.
        key: &'static str,
        /// Its bound.
        reason: &'static str,
    },
    /// The stream reached its bound.
    #[error("stream {stream} reached its bound of {len_max} bytes")]
    LimitReached {
        /// The stream.
        stream: Stream,
        /// The bound, in bytes.
        len_max: u64,
    },
    /// The log cannot be closed while a writer may still append to it.
    #[error("stream {stream} still has its writer: drop it before closing the log")]
    WriterOpen {
        /// The stream.
        stream: Stream,
    },
    /// The files of a stream are missing: no log, or one whose creation was interrupted before anything was recorded.
    #[error("no segment of stream {stream} ({}): no log, or one that was never completely created", path.display())]
    StreamMissing {
        /// The stream.
        stream: Stream,
        /// The folder.
        path: PathBuf,
    },
    /// A file of the log is damaged.
    #[error("log damaged ({} offset {offset}, record {index}): {fault}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// The index of the record that should be there, or of the first one of the block.
        index: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// The record's bytes are sound, but they are no payload of the type that was asked for.
    #[error("record {index} of stream {stream} is of kind {kind}, or a field of it holds no valid value")]
    Payload {
        /// The stream.
        stream: Stream,
        /// The record.
        index: u64,
        /// The kind that the record states.
        kind: u16,
    },
    /// There is no record of that index.
    #[error("stream {stream} has no record {index}: it holds {count}")]
    OutOfRange {
        /// The stream.
        stream: Stream,
        /// The index asked for.
        index: u64,
        /// How many records there are.
        count: u64,
    },
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::NoSpace { action, path };
        }
        Self::Io { action, path, source }
    }
}
