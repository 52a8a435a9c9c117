//! A process that writes a log is killed at random moments (SIGKILL), and so is one that recovers it: everything that
//! was published is there afterwards, whatever it was doing. `PEREGRINE_KILL_CYCLES` says how often (30 if not set).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{checkpoint, decision, facts, histogram, order};
use peregrine_eventlog::{
    EventLog, LogConfig, LogError, LogReader, Recorder, Recovery, Stream,
    records::{DecisionRecord, HistogramRecord, InputCheckpoint, OrderRecord},
    recover, verify,
};
use peregrine_types::{EpochNanos, Nanos};

const JOB: &str = "PEREGRINE_KILL_JOB";
const FOLDER: &str = "PEREGRINE_KILL_FOLDER";
const SEED: &str = "PEREGRINE_KILL_SEED";

/// A generator for choices that need no quality (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.below(2);
        random
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What the writing process tells the one that kills it: for each stream how many appends began, and how many ended.
/// A write of 8 bytes to a file is in the page cache when it returns, so a kill cannot take it back.
struct Tally(File);

impl Tally {
    fn write(&self, stream: Stream, is_done: bool, count: u64) {
        let place = stream.index() as u64 * 2 + u64::from(is_done);
        self.0.write_all_at(&count.to_le_bytes(), place * 8).unwrap();
    }

    /// Appends that began, and appends that ended; nothing when the process died before it had a log.
    fn read(path: &Path, stream: Stream) -> (u64, u64) {
        let bytes = std::fs::read(path).unwrap_or_default();
        let word = |place: usize| {
            let bytes = bytes.get(place * 8..place * 8 + 8);
            bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
        };
        (word(stream.index() * 2), word(stream.index() * 2 + 1))
    }
}

fn folders(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("log"), folder.join("tally"))
}

fn settings(folder: &Path, staging: PathBuf, random: &mut Random) -> LogConfig {
    LogConfig {
        dir: folders(folder).0,
        staging_dir: Some(staging),
        staging_record_counts: [64 << random.below(6), 64 << random.below(6), 256, 256],
        segment_len_max: 20_672 << random.below(4),
        stream_len_max: 1 << 30,
        sync_interval: Nanos::from_millis([0, 1, 20][usize::try_from(random.below(3)).unwrap()]),
        is_memory_locked: false,
    }
}

fn record(mut recorder: Recorder, stop: &AtomicBool) -> Recorder {
    while !stop.load(Ordering::Acquire) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        if recorder.poll(EpochNanos(i64::try_from(now).unwrap())).unwrap() == 0 {
            std::thread::yield_now();
        }
    }
    recorder
}

/// Appends to all streams until it is killed; every third run closes its log after a while.
fn write_until_killed(folder: &Path, random: &mut Random) {
    let staging = PathBuf::from(std::env::var_os("PEREGRINE_KILL_STAGING").unwrap());
    let count = if random.below(3) == 0 { random.below(4_000) } else { u64::MAX };
    let config = settings(folder, staging, random);
    let EventLog { mut feed, mut decide, mut send, mut measure, recorder, .. } =
        EventLog::create(&config, &facts()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let is_stopped = Arc::clone(&stop);
    let role = std::thread::spawn(move || record(recorder, &is_stopped));
    let tally = Tally(File::create(folders(folder).1).unwrap());
    let mut next = [0_u64; 4];
    for _ in 0..count {
        let stream = Stream::ALL[usize::try_from(random.below(4)).unwrap()];
        let index = next[stream.index()];
        tally.write(stream, false, index + 1);
        let mut append = || match stream {
            Stream::Feed => feed.append(&checkpoint(index)),
            Stream::Decide => decide.append(&decision(index)),
            Stream::Send => send.append(&order(index)),
            Stream::Measure => measure.append(&histogram(index)),
        };
        while append().is_err() {
            std::thread::yield_now();
        }
        tally.write(stream, true, index + 1);
        next[stream.index()] = index + 1;
    }
    stop.store(true, Ordering::Release);
    drop((feed, decide, send, measure));
    role.join().unwrap().close().unwrap();
}

/// Not a test by itself: the part of the processes that get killed.
#[test]
fn the_process_that_is_killed() {
    let Some(job) = std::env::var_os(JOB) else {
        return;
    };
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    if job == "write" {
        write_until_killed(&folder, &mut Random::new(seed));
    } else {
        recover(&folders(&folder).0).unwrap();
    }
}

fn spawn(job: &str, folder: &Path, staging: &Path, seed: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_process_that_is_killed", "--nocapture"]);
    command.env(JOB, job).env(FOLDER, folder).env("PEREGRINE_KILL_STAGING", staging).env(SEED, seed.to_string());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill_after(mut child: Child, delay: Duration) {
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The record at `index` of `stream` is the one that was appended there.
fn is_genuine(reader: &LogReader, index: u64) -> bool {
    let record = reader.get(index).unwrap();
    match reader.stream() {
        Stream::Feed => *record.payload::<InputCheckpoint>().unwrap() == checkpoint(index),
        Stream::Decide => *record.payload::<DecisionRecord>().unwrap() == decision(index),
        Stream::Send => *record.payload::<OrderRecord>().unwrap() == order(index),
        Stream::Measure => *record.payload::<HistogramRecord>().unwrap() == histogram(index),
    }
}

/// Recovers what a killed process left and holds it against what is known of it. `None`: it died before it had a log.
fn check(folder: &Path, seed: u64) -> Option<Recovery> {
    let (dir, tally) = folders(folder);
    let recovery = match recover(&dir) {
        Ok(recovery) => recovery,
        Err(LogError::StreamMissing { .. } | LogError::Damaged { offset: 0, index: 0, .. }) if !tally.exists() => {
            return None;
        }
        Err(error) => panic!("seed {seed}: {error}"),
    };
    assert_eq!(verify(&dir).unwrap(), recovery.report(), "seed {seed}");
    assert!(recovery.report().is_sealed() && !dir.join("staging").exists(), "seed {seed}");
    for found in &recovery.streams {
        let stream = found.report.stream;
        let (begun, done) = Tally::read(&tally, stream);
        let count = found.report.record_count;
        assert!((done..=begun).contains(&count), "seed {seed} {stream}: {count} of {done} to {begun}: {found:?}");
        assert_eq!(found.lost_count, 0, "seed {seed} {stream}");
        let reader = LogReader::open(&dir, stream).unwrap();
        assert_eq!(reader.record_count(), count, "seed {seed} {stream}");
        assert!((0..count).all(|index| is_genuine(&reader, index)), "seed {seed} {stream}");
    }
    assert_eq!(recover(&dir).unwrap().report(), recovery.report(), "seed {seed}: a second recovery changes nothing");
    Some(recovery)
}

#[test]
fn nothing_published_is_lost_by_a_kill() {
    let cycles: u64 = std::env::var("PEREGRINE_KILL_CYCLES").map_or(30, |count| count.parse().unwrap());
    let (mut durable, mut staged, mut open, mut unborn) = (0, 0, 0, 0);
    for seed in 0..cycles {
        let mut random = Random::new(seed);
        let shared = Path::new("/dev/shm");
        let folder = tempfile::tempdir().unwrap();
        let staging =
            if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() };
        let child = spawn("write", folder.path(), staging.path(), seed);
        // Every eighth process is killed while it starts; the others some time after they have a log.
        if random.below(8) > 0 {
            let start = Instant::now();
            while !folders(folder.path()).1.exists() && start.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        kill_after(child, Duration::from_micros(random.below(60_000)));
        // Half of the recoveries are killed, too, before one is let through.
        for _ in 0..random.below(3) {
            let child = spawn("recover", folder.path(), staging.path(), seed);
            kill_after(child, Duration::from_micros(random.below(20_000)));
        }
        match check(folder.path(), seed) {
            Some(recovery) => {
                durable += recovery.streams.iter().map(|stream| stream.durable_count).sum::<u64>();
                staged += recovery.streams.iter().map(|stream| stream.staged_count).sum::<u64>();
                open += u64::from(recovery.streams.iter().any(|stream| stream.report.is_recovered));
                assert_eq!(
                    std::fs::read_dir(staging.path()).unwrap().count(),
                    0,
                    "seed {seed}: staging memory remains"
                );
            }
            None => unborn += 1,
        }
    }
    let story =
        format!("{cycles} kills: {open} open logs, {unborn} unborn, {durable} durable and {staged} staged records");
    assert!(durable > 0 && staged > 0 && open * 4 > cycles, "the kills came at the wrong moments: {story}");
    eprintln!("{story}");
}
