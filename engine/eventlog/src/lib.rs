//! The append-only, memory-mapped event log: fixed records, CRC32C, hash chain, rotation, recovery and reader.
//!
//! Every role owns one stream ([`Stream`]) and appends to it with a [`StreamWriter`]: into prefaulted memory, without
//! an allocation, a system call or a lock. The record role copies what was published to the durable segment files
//! with a [`Recorder`], which also keeps the hash chain, syncs and rotates. [`recover`] closes a log that a crash left
//! open, [`verify`] proves that a log is whole, [`LogReader`] reads it. The bytes are described in `docs/formats.md`;
//! the payloads of all records are in [`records`].
//!
//! ```
//! use peregrine_eventlog::{EventLog, LogConfig, LogReader, RunFacts, Stream, records::RunFact, verify};
//! use peregrine_types::{EpochNanos, Nanos};
//!
//! let folder = tempfile::tempdir()?;
//! let config = LogConfig {
//!     dir: folder.path().join("log"),
//!     staging_dir: None,
//!     staging_record_counts: [1024; 4],
//!     segment_len_max: 1 << 20,
//!     stream_len_max: 1 << 30,
//!     sync_interval: Nanos::from_millis(10),
//!     is_memory_locked: false,
//! };
//! let mut log = EventLog::create(&config, &RunFacts::default())?;
//! log.measure.append(&RunFact::new("backend", "avx512")).expect("there is room");
//! log.recorder.poll(EpochNanos(0))?;
//! drop((log.feed, log.decide, log.send, log.measure));
//! log.recorder.close()?;
//!
//! assert_eq!(verify(&config.dir)?.stream(Stream::Measure).record_count, 1);
//! let reader = LogReader::open(&config.dir, Stream::Measure)?;
//! assert_eq!(reader.get(0)?.payload::<RunFact>()?.value(), "avx512");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(clippy::indexing_slicing)]

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the log is written by little-endian 64-bit machines only");

mod checksum;
mod durable;
mod error;
#[cfg(test)]
mod faults;
mod format;
#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
mod power_cut;
mod reader;
mod recorder;
pub mod records;
mod recover;
mod segment;
mod staging;
mod stream;
mod verify;
mod walk;

pub use error::{Fault, LogError};
pub use format::{FORMAT_VERSION, FileHeader, RECORDS_PER_BLOCK, RecordHeader, RunFacts};
pub use reader::{LogReader, RecordRef, Records};
pub use recorder::{EventLog, LogConfig, Recorder, SyncStats};
pub use recover::{Recovery, StreamRecovery, recover};
pub use staging::{LogFull, RecordIndex, StreamWriter};
pub use stream::{Decide, Feed, Measure, Send, Stream, StreamTag};
pub use verify::{LogReport, StreamReport, verify};
