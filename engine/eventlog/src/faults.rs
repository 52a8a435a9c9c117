//! Disks that fail: at every single write, sync, cut and creation in turn, the log says what happened, takes nothing
//! more, and is recovered whole.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use peregrine_types::{EpochNanos, EventSeq, Nanos, OrderId};

use crate::{
    EventLog, LogConfig, LogError, LogReader, RunFacts, Stream,
    durable::{Durable, FileSystem, Storage},
    records::{DecisionRecord, HistogramRecord, InputCheckpoint, OrderRecord},
    recover, verify,
};

const RECORD_COUNT: u64 = 320;
const RECORDS_PER_TURN: u64 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Write,
    Sync,
    SetLen,
}

/// Lets operation number `at` of one sort fail, once; everything after it works again.
#[derive(Clone, Copy, Debug)]
struct Fault {
    operation: Operation,
    at: u64,
    /// The system's error number.
    code: i32,
    /// Bytes of a write that reach the file before it fails.
    torn: usize,
}

#[derive(Debug, Default)]
struct Plan {
    fault: Option<Fault>,
    counts: [u64; 4],
}

impl Plan {
    /// Counts an operation; the fault that meets it.
    fn meet(&mut self, operation: Operation) -> Option<Fault> {
        let count = &mut self.counts[operation as usize];
        *count += 1;
        self.fault.filter(|fault| fault.operation == operation && fault.at == *count)
    }
}

#[derive(Clone, Debug, Default)]
struct Faulty(Arc<Mutex<Plan>>);

impl Faulty {
    fn new(fault: Option<Fault>) -> Self {
        Self(Arc::new(Mutex::new(Plan { fault, ..Plan::default() })))
    }

    fn meet(&self, operation: Operation) -> Option<Fault> {
        self.0.lock().unwrap().meet(operation)
    }

    fn pass(&self, operation: Operation) -> io::Result<()> {
        self.meet(operation).map_or(Ok(()), |fault| Err(io::Error::from_raw_os_error(fault.code)))
    }
}

struct FaultyFile {
    plan: Faulty,
    inner: Box<dyn Durable>,
}

impl Storage for Faulty {
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn Durable>> {
        self.pass(Operation::Create)?;
        Ok(Box::new(FaultyFile { plan: self.clone(), inner: FileSystem.create(path, len)? }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Durable>> {
        Ok(Box::new(FaultyFile { plan: self.clone(), inner: FileSystem.open(path)? }))
    }
}

impl Durable for FaultyFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.plan.meet(Operation::Write) {
            Some(fault) => {
                self.inner.write_all_at(&bytes[..fault.torn.min(bytes.len())], offset)?;
                Err(io::Error::from_raw_os_error(fault.code))
            }
            None => self.inner.write_all_at(bytes, offset),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.plan.pass(Operation::Sync)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.plan.pass(Operation::SetLen)?;
        self.inner.set_len(len)
    }
}

/// A folder in memory where the host has one: the failing disk is this file's, so no real one is needed.
pub(crate) fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(crate) fn config(folder: &Path) -> LogConfig {
    LogConfig {
        dir: folder.join("log"),
        staging_dir: Some(folder.to_path_buf()),
        staging_record_counts: [128; 4],
        segment_len_max: 20_672,
        stream_len_max: 1 << 30,
        sync_interval: Nanos(2_000),
        is_memory_locked: false,
    }
}

pub(crate) fn checkpoint(index: u64) -> InputCheckpoint {
    InputCheckpoint { event_count: index, input_offset: !index, ..Default::default() }
}

pub(crate) fn decision(index: u64) -> DecisionRecord {
    DecisionRecord { event_seq: EventSeq(index), cause_id: !index, ..Default::default() }
}

pub(crate) fn order(index: u64) -> OrderRecord {
    OrderRecord { order_id: OrderId(index), event_seq: EventSeq(!index), ..Default::default() }
}

pub(crate) fn histogram(index: u64) -> HistogramRecord {
    HistogramRecord { count: index, ..Default::default() }
}

/// Writes a log until the first error; says how many records of each stream were published, and the error.
fn run(folder: &Path, storage: &Faulty) -> (u64, Option<LogError>) {
    let created = EventLog::create_on(&config(folder), &RunFacts::default(), || Box::new(storage.clone()));
    let mut log = match created {
        Ok(log) => log,
        Err(error) => return (0, Some(error)),
    };
    let mut published = 0;
    while published < RECORD_COUNT {
        for index in published..published + RECORDS_PER_TURN {
            log.feed.append(&checkpoint(index)).unwrap();
            log.decide.append(&decision(index)).unwrap();
            log.send.append(&order(index)).unwrap();
            log.measure.append(&histogram(index)).unwrap();
        }
        published += RECORDS_PER_TURN;
        if let Err(error) = log.recorder.poll(EpochNanos(i64::try_from(published * 50).unwrap())) {
            for later in 1..4_000 {
                let again = log.recorder.poll(EpochNanos(later * 1_000_000));
                assert!(matches!(again, Err(LogError::Poisoned { .. })), "after {error}: {again:?}");
            }
            return (published, Some(error));
        }
    }
    drop((log.feed, log.decide, log.send, log.measure));
    (published, log.recorder.close().err())
}

/// Every record of every stream is the one that was appended there; returns the counts.
pub(crate) fn genuine_counts(dir: &Path) -> [u64; 4] {
    Stream::ALL.map(|stream| {
        let reader = LogReader::open(dir, stream).unwrap();
        for record in reader.records() {
            let record = record.unwrap();
            let index = record.header.index;
            let is_genuine = match stream {
                Stream::Feed => *record.payload::<InputCheckpoint>().unwrap() == checkpoint(index),
                Stream::Decide => *record.payload::<DecisionRecord>().unwrap() == decision(index),
                Stream::Send => *record.payload::<OrderRecord>().unwrap() == order(index),
                Stream::Measure => *record.payload::<HistogramRecord>().unwrap() == histogram(index),
            };
            assert!(is_genuine, "{stream} {index}");
        }
        reader.record_count()
    })
}

fn is_the_right_error(fault: &Fault, error: &LogError) -> bool {
    match error {
        LogError::SyncFailed { source, .. } => {
            fault.operation == Operation::Sync && source.raw_os_error() == Some(fault.code)
        }
        LogError::NoSpace { .. } => fault.operation != Operation::Sync && fault.code == libc::ENOSPC,
        LogError::Io { source, .. } => fault.operation != Operation::Sync && source.raw_os_error() == Some(fault.code),
        LogError::Poisoned { .. }
        | LogError::Locked { .. }
        | LogError::Copied { .. }
        | LogError::AlreadyExists { .. }
        | LogError::Config { .. }
        | LogError::LimitReached { .. }
        | LogError::WriterOpen { .. }
        | LogError::StreamMissing { .. }
        | LogError::Damaged { .. }
        | LogError::Payload { .. }
        | LogError::OutOfRange { .. } => false,
    }
}

/// One log whose disk fails once: typed error, then refusal, then recovery of everything that was published.
fn hold(fault: Fault) {
    let folder = folder();
    let dir = folder.path().join("log");
    let (published, error) = run(folder.path(), &Faulty::new(Some(fault)));
    let error = error.unwrap_or_else(|| panic!("{fault:?}: no error"));
    assert!(is_the_right_error(&fault, &error), "{fault:?}: {error:?}");
    if published == 0 {
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "{fault:?}: a log that was not created keeps no staging memory");
        return;
    }
    let recovery = recover(&dir).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    assert_eq!(verify(&dir).unwrap(), recovery.report(), "{fault:?}");
    assert_eq!(genuine_counts(&dir), [published; 4], "{fault:?}");
}

fn operation_counts() -> [u64; 4] {
    let folder = folder();
    let storage = Faulty::new(None);
    assert!(run(folder.path(), &storage).1.is_none());
    let counts = storage.0.lock().unwrap().counts;
    assert!(counts.iter().all(|count| *count > 8), "every sort of operation happens: {counts:?}");
    counts
}

#[test]
fn every_operation_that_fails_is_told_and_final_and_loses_nothing() {
    let counts = operation_counts();
    for operation in [Operation::Create, Operation::Write, Operation::Sync, Operation::SetLen] {
        for at in 1..=counts[operation as usize] {
            for code in [libc::ENOSPC, libc::EIO] {
                hold(Fault { operation, at, code, torn: 0 });
            }
        }
    }
}

#[test]
fn every_write_that_ends_early_is_told_and_loses_nothing() {
    let writes = operation_counts()[Operation::Write as usize];
    for at in 1..=writes {
        for torn in [1, 16, 63, 64, 65, 320, 1_000, 4_096 + 3, usize::MAX] {
            hold(Fault { operation: Operation::Write, at, code: libc::ENOSPC, torn });
        }
    }
}

/// A path is named in what people read.
#[test]
fn a_full_disk_is_named_with_the_file_and_what_to_do() {
    let folder = folder();
    let fault = Fault { operation: Operation::Write, at: 20, code: libc::ENOSPC, torn: 0 };
    let error = run(folder.path(), &Faulty::new(Some(fault))).1.unwrap().to_string();
    let name = |error: &str| error.contains(".plog") && error.contains("free space");
    assert!(name(&error), "{error}");
    let path: PathBuf = folder.path().join("log");
    assert!(error.contains(&path.display().to_string()), "{error}");
}
