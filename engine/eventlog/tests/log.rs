//! Writing, closing, reading and verifying a log.

#[expect(dead_code, reason = "the tests of damage use the rest")]
mod common;

use common::{checkpoint, closed, config, decision, facts, fill, order};
use peregrine_eventlog::{
    EventLog, LogError, LogFull, LogReader, RecordIndex, Stream,
    records::{DecisionRecord, HistogramRecord, InputCheckpoint, OrderRecord, RecordKind},
    verify,
};
use peregrine_types::{EpochNanos, Nanos};

#[test]
fn what_was_appended_is_read_back_across_rotated_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (config, written) = closed(folder.path(), 1000);
    let report = verify(&config.dir).unwrap();
    assert_eq!(report, written);
    assert!(report.is_sealed());
    for stream in Stream::ALL {
        assert_eq!(report.stream(stream).record_count, 1000);
        assert!(report.stream(stream).segment_count > 3, "{stream}");
        assert!(!report.stream(stream).is_recovered);
    }
    let feed = LogReader::open(&config.dir, Stream::Feed).unwrap();
    let orders = LogReader::open(&config.dir, Stream::Send).unwrap();
    let decisions = LogReader::open(&config.dir, Stream::Decide).unwrap();
    assert!(feed.is_sealed() && feed.record_count() == 1000);
    for index in (0..1000).rev() {
        assert_eq!(*feed.get(index).unwrap().payload::<InputCheckpoint>().unwrap(), checkpoint(index));
        assert_eq!(*orders.get(index).unwrap().payload::<OrderRecord>().unwrap(), order(index));
    }
    let all: Vec<_> = decisions.payloads::<DecisionRecord>().map(Result::unwrap).collect();
    assert!(all.iter().enumerate().all(|(index, (at, record))| *at == index as u64 && **record == decision(*at)));
    assert_eq!(all.len(), 1000);
    assert!(matches!(feed.get(1000), Err(LogError::OutOfRange { index: 1000, count: 1000, .. })));
    assert!(matches!(feed.get(3).unwrap().payload::<HistogramRecord>(), Err(LogError::Payload { kind: 1, .. })));
    assert_eq!(feed.get(3).unwrap().kind(), Some(RecordKind::InputCheckpoint));
    assert_eq!(feed.records_from(990).count(), 10);
    assert!(!folder.path().join("log/staging").exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the staging memory is gone");
}

#[test]
fn every_small_count_closes_and_verifies() {
    for count in [0, 1, 63, 64, 65, 127, 128, 129, 318, 319, 320, 321, 640] {
        let folder = tempfile::tempdir().unwrap();
        let (config, written) = closed(folder.path(), count);
        assert_eq!(verify(&config.dir).unwrap(), written, "{count}");
        for stream in Stream::ALL {
            let reader = LogReader::open(&config.dir, stream).unwrap();
            assert_eq!((reader.record_count(), reader.is_sealed()), (count, true), "{stream} {count}");
        }
    }
}

#[test]
fn the_log_hash_depends_on_records_alone() {
    let one = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let hash = closed(one.path(), 200).1.log_hash();
    let mut settings = config(other.path());
    settings.segment_len_max = 1 << 20;
    settings.staging_record_counts = [64, 128, 512, 1024];
    let mut log = EventLog::create(&settings, &Default::default()).unwrap();
    fill(&mut log, 0, 200);
    log.measure.append(&HistogramRecord::default()).unwrap();
    drop((log.feed, log.decide, log.send, log.measure));
    assert_eq!(log.recorder.close().unwrap().log_hash(), hash);
    let third = tempfile::tempdir().unwrap();
    assert_ne!(closed(third.path(), 201).1.log_hash(), hash);
}

#[test]
fn a_full_ring_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let mut log = EventLog::create(&config, &facts()).unwrap();
    for index in 0..256 {
        assert_eq!(log.feed.append(&checkpoint(index)), Ok(RecordIndex(index)));
    }
    assert_eq!(log.feed.append(&checkpoint(256)), Err(LogFull));
    assert_eq!(log.feed.room(), 0);
    assert_eq!(log.recorder.backlog(), 256);
    assert_eq!(log.recorder.poll(EpochNanos(0)).unwrap(), 256);
    assert_eq!(log.feed.append(&checkpoint(256)), Ok(RecordIndex(256)));
    drop((log.feed, log.decide, log.send));
    assert!(matches!(log.recorder.close(), Err(LogError::WriterOpen { stream: Stream::Measure })));
}

/// Whoever looks at a log while it is written sees a part of it, and never damage.
#[test]
fn a_log_verifies_at_any_moment_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(folder.path());
    settings.segment_len_max = 1 << 20;
    let mut log = EventLog::create(&settings, &facts()).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                fill(&mut log, count, count + 3);
                log.recorder.poll(EpochNanos(0)).unwrap();
                count += 3;
            }
        });
        let mut counts = Vec::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..900 {
                counts.push(verify(&settings.dir).unwrap().stream(Stream::Decide).record_count);
            }
        }));
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Err(panic) = seen {
            std::panic::resume_unwind(panic);
        }
        assert!(counts.is_sorted() && counts.first() < counts.last(), "{counts:?}");
    });
}

#[test]
fn a_rehearsal_leaves_no_trace() {
    let [rehearsed, plain] = [true, false].map(|is_rehearsed| {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EventLog::create(&config(folder.path()), &facts()).unwrap();
        for round in 0..3 {
            for index in 0..256 {
                if is_rehearsed {
                    log.feed.rehearse(&checkpoint(9_999));
                }
                log.feed.append(&checkpoint(round * 256 + index)).unwrap();
            }
            // The ring is full: its oldest record, which nobody has copied yet, lies where the next one will.
            if is_rehearsed {
                log.feed.rehearse(&checkpoint(9_999));
            }
            assert_eq!((log.feed.room(), log.recorder.backlog()), (0, 256));
            assert_eq!(log.recorder.poll(EpochNanos(0)).unwrap(), 256);
        }
        drop((log.feed, log.decide, log.send, log.measure));
        log.recorder.close().unwrap().log_hash()
    });
    assert_eq!(rehearsed, plain);
}

#[test]
fn syncs_are_grouped_and_their_window_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.sync_interval = Nanos(100);
    let mut log = EventLog::create(&config, &facts()).unwrap();
    log.send.append(&order(0)).unwrap();
    log.recorder.poll(EpochNanos(1_000)).unwrap();
    log.send.append(&order(1)).unwrap();
    log.recorder.poll(EpochNanos(1_099)).unwrap();
    assert_eq!(log.recorder.sync_stats().sync_count, 0);
    log.recorder.poll(EpochNanos(1_130)).unwrap();
    let stats = log.recorder.sync_stats();
    assert_eq!((stats.sync_count, stats.window_max, stats.window_record_count_max), (1, Nanos(130), 2));
    assert_eq!(log.recorder.record_count(Stream::Send), 2);
}

#[test]
fn a_second_writer_and_a_second_log_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let log = EventLog::create(&config, &facts()).unwrap();
    assert!(matches!(EventLog::create(&config, &facts()), Err(LogError::Locked { .. })));
    assert!(matches!(peregrine_eventlog::recover(&config.dir), Err(LogError::Locked { .. })));
    drop(log);
    assert!(matches!(EventLog::create(&config, &facts()), Err(LogError::AlreadyExists { .. })));
}

#[test]
fn impossible_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path());
    let refused = |change: fn(&mut peregrine_eventlog::LogConfig)| {
        let mut config = good.clone();
        change(&mut config);
        matches!(EventLog::create(&config, &facts()), Err(LogError::Config { .. }))
    };
    assert!(refused(|config| config.staging_record_counts[2] = 100));
    assert!(refused(|config| config.staging_record_counts[0] = 32));
    assert!(refused(|config| config.segment_len_max = 20_671));
    assert!(refused(|config| config.stream_len_max = 20_671));
    assert!(refused(|config| config.sync_interval = Nanos(-1)));
    assert!(!good.dir.exists());
}

#[test]
fn a_bound_on_the_stream_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.stream_len_max = 2 * 20_672;
    let mut log = EventLog::create(&config, &facts()).unwrap();
    for index in 0..256 {
        log.decide.append(&decision(index)).unwrap();
    }
    let refused = log.recorder.poll(EpochNanos(0));
    assert!(matches!(refused, Err(LogError::LimitReached { stream: Stream::Decide, .. })), "{refused:?}");
    assert!(matches!(log.recorder.poll(EpochNanos(0)), Err(LogError::Poisoned { stream: Stream::Decide })));
}

#[test]
fn a_live_log_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let mut log = EventLog::create(&config, &facts()).unwrap();
    fill(&mut log, 0, 100);
    log.recorder.poll(EpochNanos(0)).unwrap();
    let report = verify(&config.dir).unwrap();
    assert!(!report.is_sealed());
    assert_eq!(report.stream(Stream::Send).record_count, 100);
    let reader = LogReader::open(&config.dir, Stream::Decide).unwrap();
    assert_eq!((reader.record_count(), reader.is_sealed()), (100, false));
    assert_eq!(reader.file_header().host_flags, 5);
}
