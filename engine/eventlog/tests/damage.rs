//! Cut, flipped, swapped and interrupted logs: found out, or recovered to the exact prefix.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use common::{checkpoint, closed, config, copy, facts, fill, segment};
use peregrine_eventlog::{EventLog, LogReader, Stream, records::InputCheckpoint, recover, verify};
use peregrine_types::EpochNanos;

/// The feed stream's records, which must be a prefix of what was written.
fn feed_prefix(dir: &std::path::Path) -> u64 {
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

#[test]
fn every_cut_of_a_closed_stream_is_noticed_and_leaves_the_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let (config, _) = closed(folder.path(), 70);
    let path = segment(&config.dir, Stream::Feed, 1);
    let whole = std::fs::read(&path).unwrap();
    for len in (0..whole.len()).rev() {
        std::fs::write(&path, &whole[..len]).unwrap();
        match verify(&config.dir) {
            Ok(report) => {
                assert!(!report.is_sealed(), "cut at {len}");
                let block_ends = u64::from(len >= 64 + 64 * 64 + 64) * 64;
                let records = ((len as u64 - 64 - block_ends) / 64).min(70);
                assert!(report.stream(Stream::Feed).record_count.abs_diff(records) <= 1, "cut at {len}");
                assert_eq!(feed_prefix(&config.dir), report.stream(Stream::Feed).record_count);
            }
            Err(_) => assert!(len < 64, "cut at {len}"),
        }
    }
}

#[test]
fn every_flipped_bit_of_a_closed_stream_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (config, good) = closed(folder.path(), 70);
    let path = segment(&config.dir, Stream::Feed, 1);
    let mut bytes = std::fs::read(&path).unwrap();
    for bit in (0..bytes.len() * 8).step_by(7) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(report) = verify(&config.dir) {
            assert!(!report.is_sealed(), "bit {bit}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(verify(&config.dir).unwrap(), good);
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
