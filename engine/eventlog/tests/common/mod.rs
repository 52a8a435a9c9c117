//! What the tests of the log share: small logs with known content.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::path::{Path, PathBuf};

use peregrine_eventlog::{
    EventLog, LogConfig, LogReport, RunFacts, Stream,
    records::{DecisionRecord, HistogramRecord, InputCheckpoint, OrderRecord},
};
use peregrine_types::{EpochNanos, EventSeq, Nanos, OrderId, Price};

pub(crate) fn config(dir: &Path) -> LogConfig {
    LogConfig {
        dir: dir.join("log"),
        staging_dir: Some(dir.to_path_buf()),
        staging_record_counts: [256; 4],
        segment_len_max: 20_672,
        stream_len_max: 1 << 30,
        sync_interval: Nanos(0),
        is_memory_locked: false,
    }
}

pub(crate) fn facts() -> RunFacts {
    RunFacts {
        start_time: EpochNanos(1_700_000_000_000_000_000),
        host_flags: 5,
        config_hash: [1; 32],
        model_hash: [2; 32],
        binary_hash: [3; 32],
    }
}

pub(crate) fn checkpoint(index: u64) -> InputCheckpoint {
    InputCheckpoint {
        event_count: index * 256,
        message_count: index * 255,
        input_offset: index * 7_777,
        event_hash: [index.wrapping_mul(0x9E37_79B9_7F4A_7C15), !index],
        recv_time: EpochNanos(index as i64 * 1_000),
    }
}

pub(crate) fn decision(index: u64) -> DecisionRecord {
    let mut record =
        DecisionRecord { event_seq: EventSeq(index), cause_price: Price(index as i64), ..Default::default() };
    record.features = core::array::from_fn(|feature| index as f32 + feature as f32 / 64.0);
    record
}

pub(crate) fn order(index: u64) -> OrderRecord {
    OrderRecord { order_id: OrderId(index + 1), event_seq: EventSeq(index), ..Default::default() }
}

pub(crate) fn histogram(index: u64) -> HistogramRecord {
    HistogramRecord { count: index, ..Default::default() }
}

/// Appends records `from..to` to every stream, polling whenever a stream is full.
pub(crate) fn fill(log: &mut EventLog, from: u64, to: u64) {
    for index in from..to {
        while log.feed.room() == 0 || log.decide.room() == 0 {
            assert!(log.recorder.poll(EpochNanos(0)).unwrap() > 0);
        }
        log.feed.append(&checkpoint(index)).unwrap();
        log.decide.append(&decision(index)).unwrap();
        log.send.append(&order(index)).unwrap();
        log.measure.append(&histogram(index)).unwrap();
    }
}

/// Writes and closes a log with `count` records in every stream.
pub(crate) fn closed(dir: &Path, count: u64) -> (LogConfig, LogReport) {
    let config = config(dir);
    let mut log = EventLog::create(&config, &facts()).unwrap();
    fill(&mut log, 0, count);
    drop((log.feed, log.decide, log.send, log.measure));
    (config, log.recorder.close().unwrap())
}

pub(crate) fn segment(dir: &Path, stream: Stream, number: u32) -> PathBuf {
    dir.join(format!("{stream}-{number:06}.plog"))
}

/// Copies every file of a log's folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
