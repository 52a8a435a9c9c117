//! What the venue hears of a rehearsal.

use std::io::{ErrorKind, Read as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use peregrine_book::Books;
use peregrine_eventlog::{EventLog, LogConfig, RunFacts};
use peregrine_runtime::{StopFlag, index_ring};

use super::*;
use crate::live::testing::order_client;

/// The kernel's way is gone without a byte for the venue, and only where all of the way is rehearsed.
#[test]
fn the_venue_hears_nothing_of_a_rehearsal() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogConfig {
        dir: dir.path().join("log"),
        staging_dir: Some(dir.path().to_owned()),
        staging_record_counts: [1 << 10; 4],
        segment_len_max: 1 << 20,
        stream_len_max: 1 << 24,
        sync_interval: Nanos::from_millis(100),
        is_memory_locked: false,
    };
    let log = EventLog::create(&log, &RunFacts::default()).unwrap();
    let venue = TcpListener::bind("127.0.0.1:0").unwrap();
    let way = LiveSendConfig {
        address: venue.local_addr().unwrap(),
        reconnect: Nanos::from_millis(10),
        stop_time_max: Nanos::from_secs(1),
    };
    let (log, notices) = (LosslessLog::new(log.send, StopFlag::new()), index_ring(64).unwrap().0);
    let send = LiveSend::new(order_client(), &way, log, notices, TscClock::calibrated());
    let mut send = send.rehearsing(Some(KernelWay::open().unwrap()));
    let (mut inbox, begin) = (Inbox::new(64), Instant::now());
    let mut turn = |send: &mut LiveSend| {
        SendPath::<Books>::poll(send, &mut inbox);
        assert!(begin.elapsed() < Duration::from_secs(20), "no login");
    };
    venue.set_nonblocking(true).unwrap();
    let mut heard = loop {
        turn(&mut send);
        if let Ok((stream, _)) = venue.accept() {
            break stream;
        }
    };
    heard.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4_096];
    let login = loop {
        turn(&mut send);
        match heard.read(&mut buffer) {
            Ok(count) => break count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    };
    assert_eq!((login, buffer[2]), (49, b'L'), "a login request in its packet");
    for rehearsal in [Rehearsal::Own, Rehearsal::Whole] {
        for _ in 0..50 {
            SendPath::<Books>::keep_warm(&mut send, rehearsal);
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(heard.read(&mut buffer).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "{rehearsal:?}");
        let (count, is_up) = send.rehearsed().unwrap();
        assert!(is_up && (count > 0) == (rehearsal == Rehearsal::Whole), "{rehearsal:?}: {count}");
    }
}
