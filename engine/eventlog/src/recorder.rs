//! The record role's side: from staging memory to durable files.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use peregrine_types::{EpochNanos, Nanos};

use crate::{
    Decide, Feed, FileHeader, LogError, LogReport, Measure, RunFacts, Send, Stream, StreamWriter,
    durable::{FileSystem, Storage, sync_folder},
    format::{RECORDS_PER_BLOCK, to_u64},
    segment::{SegmentBounds, SegmentWriter, segment_path},
    staging::Staging,
};

/// How many records of one stream one poll copies at most.
const RECORDS_PER_POLL_MAX: u64 = 8192;
const LOCK_NAME: &str = "lock";
const STAGING_NAME: &str = "staging";

/// Where a log lies and how large it may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The folder of the log; created if missing, and it must not hold a log.
    pub dir: PathBuf,
    /// Where the staging memory lies. `None`: `/dev/shm` if the host has it, else the log's folder. On a file system
    /// with write-back (anything but tmpfs) an append can meet a page fault.
    pub staging_dir: Option<PathBuf>,
    /// Slots per stream, in the order of [`Stream::ALL`]: powers of two, at least 64.
    pub staging_record_counts: [u64; 4],
    /// Bytes of one segment file at most; at least one block of the widest stream (20,672).
    pub segment_len_max: u64,
    /// Bytes of all segments of one stream at most; then the log refuses more.
    pub stream_len_max: u64,
    /// How long a copied record may wait for its sync.
    pub sync_interval: Nanos,
    /// Whether to lock the staging memory; [`EventLog::is_memory_locked`] says whether that was permitted.
    pub is_memory_locked: bool,
}

impl LogConfig {
    fn bounds(&self, stream: Stream) -> Result<SegmentBounds, LogError> {
        let refuse = |key, reason| Err(LogError::Config { key, reason });
        let [feed, decide, send, measure] = self.staging_record_counts;
        for count in [feed, decide, send, measure] {
            if !count.is_power_of_two() || !(RECORDS_PER_BLOCK..=1 << 24).contains(&count) {
                return refuse("staging_record_counts", "a power of two from 64 to 16777216");
            }
        }
        let Some(bounds) = SegmentBounds::new(stream, self.segment_len_max, self.stream_len_max) else {
            return refuse("segment_len_max", "at least 20672 bytes, one block of the widest stream");
        };
        if self.stream_len_max < self.segment_len_max {
            return refuse("stream_len_max", "at least segment_len_max");
        }
        if self.sync_interval < Nanos::ZERO {
            return refuse("sync_interval", "not negative");
        }
        Ok(bounds)
    }
}

/// A new log: one writer for each stream, and the recorder.
pub struct EventLog {
    /// The feed role's writer.
    pub feed: StreamWriter<Feed>,
    /// The decide role's writer.
    pub decide: StreamWriter<Decide>,
    /// The send role's writer.
    pub send: StreamWriter<Send>,
    /// The writer of measurements and run facts.
    pub measure: StreamWriter<Measure>,
    /// The record role's side.
    pub recorder: Recorder,
    /// Whether the staging memory of every stream is locked.
    pub is_memory_locked: bool,
}

impl EventLog {
    /// Creates a log in an empty folder.
    ///
    /// # Errors
    /// [`LogError::Config`] for an impossible setting, [`LogError::AlreadyExists`] when the folder holds a log,
    /// [`LogError::Locked`] when another process writes there, [`LogError::NoSpace`] and [`LogError::Io`] when the
    /// files or the staging memory cannot be had.
    pub fn create(config: &LogConfig, facts: &RunFacts) -> Result<Self, LogError> {
        Self::create_on(config, facts, || Box::new(FileSystem))
    }

    pub(crate) fn create_on(
        config: &LogConfig,
        facts: &RunFacts,
        storage: impl Fn() -> Box<dyn Storage>,
    ) -> Result<Self, LogError> {
        for stream in Stream::ALL {
            config.bounds(stream)?;
        }
        std::fs::create_dir_all(&config.dir)
            .map_err(|source| LogError::io("create the folder", &config.dir, source))?;
        let lock = lock(&config.dir)?;
        for stream in Stream::ALL {
            let path = segment_path(&config.dir, stream, 1);
            if path.exists() {
                return Err(LogError::AlreadyExists { path });
            }
        }
        // What a creation left behind that was killed before its first segment: nobody ever had a writer of it.
        forget_staging(&config.dir)?;
        let created = Self::create_files(config, facts, storage, lock);
        if created.is_err() {
            // The first error is the one to tell; what could not be removed either is only memory of a folder's name.
            forget_staging(&config.dir).ok();
        }
        created
    }

    fn create_files(
        config: &LogConfig,
        facts: &RunFacts,
        storage: impl Fn() -> Box<dyn Storage>,
        lock: File,
    ) -> Result<Self, LogError> {
        let prefix = staging_prefix(config, facts)?;
        let lane = |stream: Stream, record_count| {
            let header = FileHeader::new(stream, facts);
            let path = staging_path(&prefix, stream);
            let staging = Staging::create(&path, &header, record_count, config.is_memory_locked)?;
            let writer = SegmentWriter::create(&config.dir, header, config.bounds(stream)?, storage())?;
            Ok::<_, LogError>(Lane { stream, staging: Arc::new(staging), writer, copied: 0, unsynced: None })
        };
        let [feed, decide, send, measure] = config.staging_record_counts;
        let lanes = [
            lane(Stream::Feed, feed)?,
            lane(Stream::Decide, decide)?,
            lane(Stream::Send, send)?,
            lane(Stream::Measure, measure)?,
        ];
        let [feed, decide, send, measure] = lanes.each_ref().map(|lane| Arc::clone(&lane.staging));
        let is_memory_locked = lanes.iter().all(|lane| lane.staging.is_locked());
        let sync_interval = config.sync_interval;
        let dir = config.dir.clone();
        Ok(Self {
            feed: StreamWriter::new(feed),
            decide: StreamWriter::new(decide),
            send: StreamWriter::new(send),
            measure: StreamWriter::new(measure),
            recorder: Recorder { lanes, dir, _lock: lock, sync_interval, stats: SyncStats::default() },
            is_memory_locked,
        })
    }
}

/// Takes the lock of a log's folder; it is released when the file is dropped, also by the death of the process.
pub(crate) fn lock(dir: &Path) -> Result<File, LogError> {
    let path = dir.join(LOCK_NAME);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| LogError::io("open the lock file", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(LogError::io("lock the log", &path, source)),
    }
}

/// Chooses the names of the staging files and notes them in the log's folder.
fn staging_prefix(config: &LogConfig, facts: &RunFacts) -> Result<PathBuf, LogError> {
    let dir = config.dir.canonicalize().map_err(|source| LogError::io("find the folder", &config.dir, source))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(dir.as_os_str().as_encoded_bytes());
    hasher.update(&facts.start_time.0.to_le_bytes());
    hasher.update(&std::process::id().to_le_bytes());
    let shared = Path::new("/dev/shm");
    let folder = match &config.staging_dir {
        Some(folder) => folder.clone(),
        None if shared.is_dir() => shared.to_path_buf(),
        None => dir.clone(),
    };
    let name: String = hasher.finalize().to_hex().chars().take(16).collect();
    let prefix = folder.join(format!("peregrine-{name}"));
    let note = dir.join(STAGING_NAME);
    let text = [prefix.as_os_str().as_encoded_bytes(), b"\n", owner_of(&dir)?.as_bytes()].concat();
    std::fs::write(&note, text)
        .and_then(|()| File::open(&note)?.sync_all())
        .map_err(|source| LogError::io("note the staging memory", &note, source))?;
    Ok(prefix)
}

fn staging_path(prefix: &Path, stream: Stream) -> PathBuf {
    let mut name = prefix.as_os_str().to_os_string();
    name.push(format!("-{stream}.stage"));
    PathBuf::from(name)
}

/// What tells a log's folder from its copies: its lock file, which is there as long as it is.
fn owner_of(dir: &Path) -> Result<String, LogError> {
    let path = dir.join(LOCK_NAME);
    let data = path.metadata().map_err(|source| LogError::io("look at the lock file", &path, source))?;
    Ok(format!("{}:{}", data.dev(), data.ino()))
}

/// The note of a run's staging memory: the prefix of its files, and whose they are. `None` when nothing is noted; an earlier
/// program did not note whose.
fn staging_note(dir: &Path) -> Result<Option<(String, Option<String>)>, LogError> {
    let note = dir.join(STAGING_NAME);
    match std::fs::read_to_string(&note) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(match text.rsplit_once('\n') {
            Some((prefix, owner)) => (prefix.to_owned(), Some(owner.to_owned())),
            None => (text, None),
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LogError::io("read the note of the staging memory", &note, source)),
    }
}

/// The staging file of `stream` that a run noted in the log's folder; `None` when nothing is noted.
///
/// # Errors
/// [`LogError::Copied`] when the folder is a copy of the run's, and the run's memory is still there: it is not this folder's
/// to take.
pub(crate) fn noted_staging(dir: &Path, stream: Stream) -> Result<Option<PathBuf>, LogError> {
    let Some((prefix, owner)) = staging_note(dir)? else { return Ok(None) };
    let path = staging_path(Path::new(&prefix), stream);
    let is_ours = match owner {
        Some(owner) => owner_of(dir)? == owner,
        None => true,
    };
    if is_ours || !path.exists() {
        return Ok(Some(path));
    }
    Err(LogError::Copied { path: dir.join(STAGING_NAME), staging: path })
}

/// Removes the staging files and their note; nothing in them is needed any more.
pub(crate) fn forget_staging(dir: &Path) -> Result<(), LogError> {
    for stream in Stream::ALL {
        if let Some(path) = noted_staging(dir, stream)? {
            remove(&path)?;
        }
    }
    remove(&dir.join(STAGING_NAME))?;
    sync_folder(dir).map_err(|source| LogError::io("sync the folder", dir, source))
}

fn remove(path: &Path) -> Result<(), LogError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LogError::io("remove a file", path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

struct Lane {
    stream: Stream,
    staging: Arc<Staging>,
    writer: SegmentWriter,
    copied: u64,
    /// When the oldest record that is not synced was copied, and its index.
    unsynced: Option<(EpochNanos, u64)>,
}

impl Lane {
    fn copy(&mut self, now: EpochNanos) -> Result<u64, LogError> {
        let start = self.copied;
        let end = self.staging.committed().min(start.saturating_add(RECORDS_PER_POLL_MAX));
        if start >= end {
            return Ok(0);
        }
        let mut from = start;
        while from < end {
            let records = self.staging.published(from, end);
            self.writer.take(records)?;
            from = from.saturating_add(to_u64(records.len() / self.stream.record_len()));
        }
        self.writer.flush()?;
        self.copied = end;
        self.staging.release(end);
        self.unsynced.get_or_insert((now, start));
        Ok(end.saturating_sub(start))
    }
}

/// How the group syncs went: what a power cut could have cost (durability class D2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStats {
    /// How many syncs there were, streams counted apart.
    pub sync_count: u64,
    /// The longest time that a copied record waited for its sync to begin.
    pub window_max: Nanos,
    /// The most records that waited together.
    pub window_record_count_max: u64,
}

/// The record role's side of a log: copies, chains, syncs, rotates. One per log, on one thread.
///
/// An error of any method but [`Recorder::close`]'s [`LogError::WriterOpen`] is final: the log takes nothing more, and
/// trading must stop. What was published until then is recovered by [`crate::recover`].
pub struct Recorder {
    lanes: [Lane; 4],
    dir: PathBuf,
    _lock: File,
    sync_interval: Nanos,
    stats: SyncStats,
}

impl core::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Recorder").field("dir", &self.dir).field("stats", &self.stats).finish_non_exhaustive()
    }
}

impl Recorder {
    /// One turn of the record role: copies what was published (at most 8,192 records of each stream), and syncs the
    /// streams whose oldest unsynced record has waited for `sync_interval`. Returns how many records were copied.
    ///
    /// `now` is the system clock's; it only decides when to sync.
    ///
    /// # Errors
    /// [`LogError::NoSpace`], [`LogError::Io`], [`LogError::SyncFailed`], [`LogError::LimitReached`], and
    /// [`LogError::Poisoned`] ever after.
    pub fn poll(&mut self, now: EpochNanos) -> Result<u64, LogError> {
        let mut copied = 0_u64;
        for lane in &mut self.lanes {
            copied = copied.saturating_add(lane.copy(now)?);
        }
        self.sync_waiting(now, self.sync_interval)?;
        Ok(copied)
    }

    /// Syncs every stream now.
    ///
    /// # Errors
    /// [`LogError::SyncFailed`], and [`LogError::Poisoned`] ever after.
    pub fn sync(&mut self, now: EpochNanos) -> Result<(), LogError> {
        self.sync_waiting(now, Nanos(i64::MIN))
    }

    fn sync_waiting(&mut self, now: EpochNanos, interval: Nanos) -> Result<(), LogError> {
        for lane in &mut self.lanes {
            let Some((since, first)) = lane.unsynced else {
                continue;
            };
            let window = now.since(since);
            if window < interval {
                continue;
            }
            lane.writer.sync()?;
            lane.unsynced = None;
            let record_count = lane.copied.saturating_sub(first);
            self.stats.sync_count = self.stats.sync_count.saturating_add(1);
            self.stats.window_max = self.stats.window_max.max(window);
            self.stats.window_record_count_max = self.stats.window_record_count_max.max(record_count);
        }
        Ok(())
    }

    /// How the syncs went so far.
    #[must_use]
    pub const fn sync_stats(&self) -> SyncStats {
        self.stats
    }

    /// How many records of `stream` were copied so far.
    #[must_use]
    pub fn record_count(&self, stream: Stream) -> u64 {
        self.lanes.iter().filter(|lane| lane.stream == stream).map(|lane| lane.copied).sum()
    }

    /// How many records were published but not copied yet, all streams together.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.staging.committed().saturating_sub(lane.copied)).sum()
    }

    /// Copies the rest, seals every stream, syncs, and removes the staging memory. The writers must be gone.
    ///
    /// # Errors
    /// [`LogError::WriterOpen`] while a writer exists, which leaves the log to be recovered, and the errors of
    /// [`Recorder::poll`].
    pub fn close(mut self) -> Result<LogReport, LogError> {
        for lane in &self.lanes {
            if Arc::strong_count(&lane.staging) > 1 {
                return Err(LogError::WriterOpen { stream: lane.stream });
            }
        }
        while self.backlog() > 0 {
            for lane in &mut self.lanes {
                lane.copy(EpochNanos(0))?;
            }
        }
        let [feed, decide, send, measure] = &mut self.lanes;
        let streams = [feed.writer.seal()?, decide.writer.seal()?, send.writer.seal()?, measure.writer.seal()?];
        forget_staging(&self.dir)?;
        Ok(LogReport { streams })
    }
}
