//! Proves that a log is whole.

use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::{
    Fault, LogError, Stream,
    segment::segment_path,
    walk::{Damage, Ending, Walk, walk},
};

/// What a whole stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// The stream.
    pub stream: Stream,
    /// How many records.
    pub record_count: u64,
    /// How many blocks, the sealed end included.
    pub block_count: u64,
    /// How many segment files.
    pub segment_count: u32,
    /// Bytes of all segments.
    pub len: u64,
    /// Hash of the last block: it stands for every record of the stream, in order.
    pub chain_head: [u8; 32],
    /// Whether the stream was closed. A log that was closed once and is open now was cut.
    pub is_sealed: bool,
    /// Whether recovery closed it.
    pub is_recovered: bool,
    /// What stands behind the last whole record of a stream that is not closed; [`Fault::Blank`] is what a log that is
    /// still being written shows.
    pub tail: Option<Fault>,
}

/// What a whole log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// One report for each stream, in the order of [`Stream::ALL`].
    pub streams: [StreamReport; 4],
}

impl LogReport {
    /// The report of one stream.
    #[must_use]
    pub const fn stream(&self, stream: Stream) -> &StreamReport {
        let [feed, decide, send, measure] = &self.streams;
        match stream {
            Stream::Feed => feed,
            Stream::Decide => decide,
            Stream::Send => send,
            Stream::Measure => measure,
        }
    }

    /// Whether every stream was closed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.streams.iter().all(|stream| stream.is_sealed)
    }

    /// The log hash: BLAKE3 over the record counts and chain heads of the hashed streams. Two runs over one input with
    /// one configuration and one model share it, whatever the host, the backend and the wiring.
    #[must_use]
    pub fn log_hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("peregrine event log 2026 log hash v1");
        for report in self.streams.iter().filter(|report| report.stream.is_hashed()) {
            hasher.update(&[report.stream.number()]);
            hasher.update(&report.record_count.to_le_bytes());
            hasher.update(&report.chain_head);
        }
        *hasher.finalize().as_bytes()
    }
}

/// The segment files of one stream, mapped for reading.
pub(crate) struct Segments {
    pub(crate) paths: Vec<PathBuf>,
    maps: Vec<Mmap>,
}

impl Segments {
    /// Maps every segment of `stream` in `dir`.
    pub(crate) fn open(dir: &Path, stream: Stream) -> Result<Self, LogError> {
        let (mut paths, mut maps) = (Vec::new(), Vec::new());
        for number in 1_u32.. {
            let path = segment_path(dir, stream, number);
            if !path.exists() {
                break;
            }
            maps.push(map(&path)?);
            paths.push(path);
        }
        if paths.is_empty() {
            return Err(LogError::StreamMissing { stream, path: dir.to_path_buf() });
        }
        refuse_strays(dir, stream, paths.len())?;
        Ok(Self { paths, maps })
    }

    pub(crate) fn bytes(&self) -> Vec<&[u8]> {
        self.maps.iter().map(|map| &map[..]).collect()
    }

    /// The bytes of one segment, from 0; empty where there is none.
    pub(crate) fn segment(&self, number: usize) -> &[u8] {
        self.maps.get(number).map(|map| &map[..]).unwrap_or_default()
    }

    pub(crate) fn walk(&self, stream: Stream, ending: Ending) -> Result<Walk, LogError> {
        walk(stream, &self.bytes(), ending).map_err(|damage| self.damaged(damage))
    }

    fn damaged(&self, damage: Damage) -> LogError {
        let number = usize::try_from(damage.segment).unwrap_or(usize::MAX).saturating_sub(1);
        let path = self.paths.get(number).cloned().unwrap_or_default();
        LogError::Damaged { path, offset: damage.offset, index: damage.index, fault: damage.fault }
    }
}

fn map(path: &Path) -> Result<Mmap, LogError> {
    let file = std::fs::File::open(path).map_err(|source| LogError::io("open the segment", path, source))?;
    // SAFETY: the log's lock keeps writers other than the engine away, segments only grow or lose what was never
    // written, and every byte is checked before it is believed.
    #[expect(unsafe_code, reason = "a log is read in place")]
    let map = unsafe { Mmap::map(&file) };
    map.map_err(|source| LogError::io("map the segment", path, source))
}

/// Segments behind a missing one mean that a file was taken away.
fn refuse_strays(dir: &Path, stream: Stream, count: usize) -> Result<(), LogError> {
    let io = |source| LogError::io("list the folder", dir, source);
    let mut found = 0_usize;
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.strip_prefix(stream.name()).is_some_and(|rest| rest.starts_with('-'));
        found = found.saturating_add(usize::from(is_ours && name.ends_with(".plog")));
    }
    if found == count {
        return Ok(());
    }
    let missing = u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
    let fault = Fault::HeaderField { field: "segment number" };
    Err(LogError::Damaged { path: segment_path(dir, stream, missing), offset: 0, index: 0, fault })
}

/// How often a log is looked at anew, whose errors are elsewhere every time.
const LOOKS_MAX: u32 = 1_000;

/// What `look` finds in a log that may be written meanwhile: a record that was not there when it was looked at, with others
/// behind it by the time those were, is no damage. An error counts once the next look finds the very same.
pub(crate) fn settled<T>(look: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
    let mut last = String::new();
    for _ in 0..LOOKS_MAX {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) => {
                let text = error.to_string();
                if text == last {
                    return Err(error);
                }
                last = text;
            }
        }
    }
    look()
}

/// Checks every checksum, index and hash of the log in `dir`, and what its ends say.
///
/// Each stream is checked on a thread of its own.
///
/// A log that is being written verifies as far as it is written: ask [`LogReport::is_sealed`] of one that should be
/// closed.
///
/// # Errors
/// [`LogError::Damaged`] naming the first damaged place, [`LogError::StreamMissing`], [`LogError::Io`].
pub fn verify(dir: &Path) -> Result<LogReport, LogError> {
    let look = |stream| Ok(Segments::open(dir, stream)?.walk(stream, Ending::Crash)?.report());
    let check = |stream| settled(|| look(stream));
    let [feed, decide, send, measure] = std::thread::scope(|scope| {
        let streams = [Stream::Feed, Stream::Decide, Stream::Send, Stream::Measure];
        streams.map(|stream| scope.spawn(move || check(stream))).map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    // In this order, so that of several damages the same one is named every time.
    let streams = [feed?, decide?, send?, measure?];
    Ok(LogReport { streams })
}
