//! Closes a log that a crash left open.

use std::path::Path;

use crate::{
    LogError, LogReport, Stream, StreamReport,
    durable::{FileSystem, sync_folder},
    format::check_record,
    recorder::{forget_staging, lock, noted_staging},
    segment::{SegmentWriter, segment_path},
    staging::Leftover,
    verify::Segments,
    walk::{Ending, Walk, WalkEnd},
};

/// What recovery did to one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRecovery {
    /// The stream as it is now.
    pub report: StreamReport,
    /// Whether it was open before.
    pub was_open: bool,
    /// Whole records that the segment files held.
    pub durable_count: u64,
    /// Published records that came from the staging memory.
    pub staged_count: u64,
    /// Published records that neither holds. Not zero only when the staging memory itself is damaged.
    pub lost_count: u64,
    /// Whole records and block ends that were given up because something before them is missing: after a power cut, what
    /// was not synced may be there in any part.
    pub cut_count: u64,
    /// Whether the staging memory was there. After a power cut it is not, and what was not synced is gone with it.
    pub is_staging_found: bool,
}

/// What recovery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Stream by stream, in the order of [`Stream::ALL`].
    pub streams: [StreamRecovery; 4],
}

impl Recovery {
    /// The log as it is now.
    #[must_use]
    pub fn report(&self) -> LogReport {
        LogReport { streams: self.streams.map(|stream| stream.report) }
    }
}

/// Closes the log in `dir`: keeps every whole record, adds what was published but not yet copied, cuts what is torn,
/// seals. A closed log is left as it is. Interrupted at any point, it can be run again with the same result.
///
/// # Errors
/// [`LogError::Locked`] while somebody writes the log; [`LogError::Copied`] for a copy of its folder while the run's own memory
/// is there; [`LogError::Damaged`] when whole records follow a damaged one, which no crash of the program causes: nothing is
/// changed then (after a power cut, which takes the staging memory away, such records at the end of a stream were never
/// synced: they are given up and counted); [`LogError::StreamMissing`], [`LogError::NoSpace`], [`LogError::Io`],
/// [`LogError::SyncFailed`].
pub fn recover(dir: &Path) -> Result<Recovery, LogError> {
    if !dir.is_dir() {
        return Err(LogError::StreamMissing { stream: Stream::Feed, path: dir.to_path_buf() });
    }
    // Nothing is left behind in a folder that has no log.
    drop(Segments::open(dir, Stream::Feed)?);
    let _lock = lock(dir)?;
    // Everything is walked before anything is changed.
    let found = |stream| {
        // A run that did not close left a note of its staging memory; only a power cut takes the memory itself away.
        let ending = match noted_staging(dir, stream)? {
            Some(path) if !path.exists() => Ending::PowerCut,
            Some(_) | None => Ending::Crash,
        };
        Segments::open(dir, stream)?.walk(stream, ending)
    };
    let [feed, decide, send, measure] =
        [found(Stream::Feed)?, found(Stream::Decide)?, found(Stream::Send)?, found(Stream::Measure)?];
    let streams = [close(dir, feed)?, close(dir, decide)?, close(dir, send)?, close(dir, measure)?];
    forget_staging(dir)?;
    Ok(Recovery { streams })
}

fn close(dir: &Path, walk: Walk) -> Result<StreamRecovery, LogError> {
    let durable_count = walk.record_count();
    let mut recovery = StreamRecovery {
        report: walk.report(),
        was_open: !matches!(walk.end, WalkEnd::Sealed { .. }),
        durable_count,
        staged_count: 0,
        lost_count: 0,
        cut_count: walk.cut_count,
        is_staging_found: false,
    };
    if !recovery.was_open {
        return Ok(recovery);
    }
    let (stream, header) = (walk.stream, walk.header);
    if walk.has_blank_segment {
        let path = segment_path(dir, stream, walk.segment.saturating_add(1));
        std::fs::remove_file(&path).map_err(|source| LogError::io("remove the blank segment", &path, source))?;
        sync_folder(dir).map_err(|source| LogError::io("sync the folder", dir, source))?;
    }
    let leftover = match noted_staging(dir, stream)? {
        Some(path) => Leftover::read(&path, &header)?,
        None => None,
    };
    let mut writer = SegmentWriter::resume(dir, walk, Box::new(FileSystem))?;
    if let Some(leftover) = leftover {
        recovery.is_staging_found = true;
        for index in durable_count..leftover.committed() {
            let slot = leftover.slot(index);
            if check_record(slot, stream, index).is_err() {
                recovery.lost_count = leftover.committed().saturating_sub(index);
                break;
            }
            writer.take(slot)?;
            recovery.staged_count = recovery.staged_count.saturating_add(1);
        }
    }
    recovery.report = writer.seal()?;
    Ok(recovery)
}
