//! Cut, flipped, swapped and interrupted logs: found out, or recovered to the exact prefix.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use std::path::{Path, PathBuf};

use common::{checkpoint, closed, config, copy, facts, fill, segment};
use peregrine_eventlog::{
    EventLog, LogConfig, LogError, LogReader, LogReport, Stream, records::InputCheckpoint, recover, verify,
};
use peregrine_types::EpochNanos;

/// The feed stream's records, which must be a prefix of what was written.
fn feed_prefix(dir: &Path) -> u64 {
    let reader = LogReader::open(dir, Stream::Feed).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        assert_eq!(*record.payload::<InputCheckpoint>().unwrap(), checkpoint(record.header.index));
    }
    reader.record_count()
}

#[test]
fn what_was_published_survives_a_writer_that_vanishes() {
    for polled in [0, 100, 150] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let mut log = EventLog::create(&config, &facts()).unwrap();
        fill(&mut log, 0, polled);
        log.recorder.poll(EpochNanos(0)).unwrap();
        fill(&mut log, polled, 200);
        drop(log);
        let recovery = recover(&config.dir).unwrap();
        for stream in &recovery.streams {
            assert_eq!((stream.durable_count, stream.staged_count, stream.lost_count), (polled, 200 - polled, 0));
            assert!(stream.is_staging_found && stream.report.is_recovered);
        }
        assert_eq!(verify(&config.dir).unwrap(), recovery.report());
        assert_eq!(feed_prefix(&config.dir), 200);
        assert_eq!(recover(&config.dir).unwrap().report(), recovery.report(), "a second recovery changes nothing");
    }
}

/// What is known of the bytes of one closed stream.
struct Known {
    dir: PathBuf,
    stream: Stream,
    path: PathBuf,
    bytes: Vec<u8>,
    count: u64,
}

impl Known {
    fn all(dir: &Path, count: u64) -> Vec<Self> {
        let one = |stream| {
            let path = segment(dir, stream, 1);
            let bytes = std::fs::read(&path).unwrap();
            Self { dir: dir.to_path_buf(), stream, path, bytes, count }
        };
        Stream::ALL.map(one).into()
    }

    /// The stream as it is now holds the first `count` records, unchanged, and is closed by recovery.
    fn is_recovered_with(&self, count: u64) -> bool {
        let report = *verify(&self.dir).unwrap().stream(self.stream);
        let reader = LogReader::open(&self.dir, self.stream).unwrap();
        let record_len = self.stream.record_len();
        // Whole blocks have their end of 64 bytes behind 64 records.
        let was = |index: usize| &self.bytes[64 + index * record_len + index / 64 * 64..][..record_len];
        let is_same = reader.records().enumerate().all(|(index, record)| record.unwrap().bytes() == was(index));
        is_same
            && report.is_sealed
            && report.is_recovered
            && (reader.record_count(), report.record_count) == (count, count)
    }

    /// One bit is wrong: `verify` notices, and so does `recover`, unless the bit stands in the sealed end: then every
    /// record is kept and the stream is sealed anew.
    fn flip(&self, bit: usize) {
        let place = format!("{} bit {bit}", self.stream);
        let mut bytes = self.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&self.path, &bytes).unwrap();
        let is_end = bit / 8 >= bytes.len() - 64;
        match verify(&self.dir) {
            Ok(report) => assert!(is_end && !report.is_sealed(), "{place}"),
            Err(error) => assert!(!is_end && self.is_at(&error, bit / 8), "{place}: {error}"),
        }
        match recover(&self.dir) {
            Ok(_) => assert!(is_end && self.is_recovered_with(self.count), "{place}"),
            Err(error) => {
                assert!(!is_end && self.is_at(&error, bit / 8), "{place}: {error}");
                assert!(std::fs::read(&self.path).unwrap() == bytes, "{place}: a refused log is left as it is");
            }
        }
        std::fs::write(&self.path, &self.bytes).unwrap();
    }

    fn is_at(&self, error: &LogError, byte: usize) -> bool {
        let LogError::Damaged { path, offset, .. } = error else {
            return false;
        };
        let offset = usize::try_from(*offset).unwrap();
        *path == self.path && (offset..offset + self.stream.record_len()).contains(&byte)
    }

    /// The file ends early: the whole records before the cut are kept.
    fn cut(&self, len: usize) {
        std::fs::write(&self.path, &self.bytes[..len]).unwrap();
        let stream = self.stream;
        let (first_block, record_len) = (64 + 64 * stream.record_len(), stream.record_len());
        let in_first = (len.clamp(64, first_block) - 64) / record_len;
        let behind = len.saturating_sub(first_block + 64) / record_len;
        let expected = self.count.min((in_first + behind) as u64);
        match verify(&self.dir) {
            Ok(report) => {
                let found = report.stream(stream);
                assert!(len >= 64 && !found.is_sealed && found.record_count == expected, "{stream} cut at {len}");
            }
            Err(error) => assert!(len < 64 && self.is_at(&error, 0), "{stream} cut at {len}: {error}"),
        }
        match recover(&self.dir) {
            Ok(_) => assert!(len >= 64 && self.is_recovered_with(expected), "{stream} cut at {len}"),
            Err(error) => assert!(len < 64 && self.is_at(&error, 0), "{stream} cut at {len}: {error}"),
        }
        std::fs::write(&self.path, &self.bytes).unwrap();
    }
}

/// A folder in memory where the host has one: these tests write the same small files very often.
fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Writes and closes a log with `count` records in every stream, one segment each.
fn closed_whole(dir: &Path, count: u64) -> (PathBuf, LogReport) {
    let config = LogConfig { segment_len_max: 1 << 16, ..config(dir) };
    let mut log = EventLog::create(&config, &facts()).unwrap();
    fill(&mut log, 0, count);
    drop((log.feed, log.decide, log.send, log.measure));
    (config.dir, log.recorder.close().unwrap())
}

#[test]
fn every_flipped_bit_of_a_small_closed_log_is_noticed() {
    let folder = folder();
    let (dir, good) = closed_whole(folder.path(), 2);
    for known in Known::all(&dir, 2) {
        (0..known.bytes.len() * 8).for_each(|bit| known.flip(bit));
    }
    assert_eq!(verify(&dir).unwrap(), good);
}

#[test]
fn every_flipped_bit_around_the_end_of_a_block_is_noticed() {
    let folder = folder();
    let (dir, good) = closed_whole(folder.path(), 65);
    for known in Known::all(&dir, 65) {
        let block_end = 64 + 64 * known.stream.record_len();
        (block_end * 8..known.bytes.len() * 8).for_each(|bit| known.flip(bit));
    }
    assert_eq!(verify(&dir).unwrap(), good);
}

#[test]
fn every_cut_of_a_closed_log_is_noticed_and_leaves_the_prefix() {
    for count in [2, 66] {
        let folder = folder();
        let (dir, good) = closed_whole(folder.path(), count);
        for known in Known::all(&dir, count) {
            let long = known.bytes.len();
            // Of the long streams the records before the last two of the first block are like those of the short ones.
            let first = if count > 2 { 62 * known.stream.record_len() } else { 0 };
            (first..long).for_each(|len| known.cut(len));
        }
        assert_eq!(verify(&dir).unwrap(), good);
    }
}

#[test]
fn swapped_blocks_records_and_segments_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (config, _) = closed(folder.path(), 1000);
    let (first, second) = (segment(&config.dir, Stream::Feed, 1), segment(&config.dir, Stream::Feed, 2));
    let good = std::fs::read(&first).unwrap();
    let block = 64 * 64 + 64;
    let mut blocks = good.clone();
    blocks[64..].rotate_left(block);
    let mut records = good.clone();
    records[64..192].rotate_left(64);
    for bad in [blocks, records, std::fs::read(&second).unwrap()] {
        std::fs::write(&first, bad).unwrap();
        assert!(verify(&config.dir).is_err());
    }
    std::fs::write(&first, &good).unwrap();
    assert!(verify(&config.dir).unwrap().is_sealed());
    let other = tempfile::tempdir().unwrap();
    copy(&config.dir, other.path());
    std::fs::remove_file(segment(other.path(), Stream::Feed, 2)).unwrap();
    assert!(verify(other.path()).is_err(), "a missing segment");
}

#[test]
fn a_torn_header_of_a_segment_just_begun_hides_nothing_of_the_ones_before() {
    let folder = tempfile::tempdir().unwrap();
    let (config, report) = closed(folder.path(), 1_000);
    let count = (1..).take_while(|number| segment(&config.dir, Stream::Feed, *number).exists()).count();
    assert!(count > 1, "{count} segments");
    let begun = segment(&config.dir, Stream::Feed, u32::try_from(count).unwrap() + 1);
    let whole = std::fs::read(segment(&config.dir, Stream::Feed, 1)).unwrap();
    for torn_len in [0, 1, 8, 20, 40] {
        let mut bytes = vec![0; whole.len()];
        bytes[..torn_len].copy_from_slice(&whole[..torn_len]);
        std::fs::write(&begun, &bytes).unwrap();
        assert_eq!(
            feed_prefix(&config.dir),
            report.stream(Stream::Feed).record_count,
            "{torn_len} bytes of the header"
        );
        // What has records behind a broken header was no segment just begun.
        *bytes.last_mut().unwrap() = 1;
        std::fs::write(&begun, &bytes).unwrap();
        let opened = LogReader::open(&config.dir, Stream::Feed);
        assert!(torn_len == 0 || matches!(opened, Err(LogError::Damaged { .. })), "{torn_len}: {opened:?}");
    }
}

#[test]
fn what_a_creation_left_that_was_killed_goes_with_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let staging = || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.is_file()).count()
    };
    drop(EventLog::create(&config, &facts()).unwrap());
    let one_log = staging();
    for stream in Stream::ALL {
        std::fs::remove_file(segment(&config.dir, stream, 1)).unwrap();
    }
    let later = peregrine_eventlog::RunFacts { start_time: EpochNanos(7), ..facts() };
    drop(EventLog::create(&config, &later).unwrap());
    assert_eq!((one_log > 0, staging()), (true, one_log), "the first attempt's staging files are gone");
}
