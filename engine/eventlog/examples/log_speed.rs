//! What the log costs: an append of each record length, the record role's copying, and `verify`.
//!
//! `cargo run --release -p peregrine-eventlog --example log_speed`
#![expect(clippy::print_stdout, clippy::expect_used, reason = "an example for people at a terminal")]

use std::{hint::black_box, path::Path, time::Instant};

use peregrine_eventlog::{
    EventLog, LogConfig, RunFacts, StreamTag, StreamWriter,
    records::{DecisionRecord, InputCheckpoint, OrderRecord, Payload},
    verify,
};
use peregrine_types::{EpochNanos, Nanos};

const RECORDS_PER_BATCH: u32 = 1 << 12;
const BATCH_COUNT: u32 = 128;
const VERIFY_COUNT: usize = 5;

fn config(folder: &Path) -> LogConfig {
    LogConfig {
        dir: folder.join("log"),
        staging_dir: None,
        staging_record_counts: [u64::from(RECORDS_PER_BATCH); 4],
        segment_len_max: 64 << 20,
        stream_len_max: 4 << 30,
        sync_interval: Nanos::from_millis(1_000),
        is_memory_locked: true,
    }
}

/// The median and the least of `values`.
fn median_and_min(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0])
}

/// Appends full rings of one payload and lets the record role empty them: nanoseconds per append, and per copied record.
fn measure<P: Payload>(
    writer: &mut StreamWriter<P::Stream>,
    poll: &mut impl FnMut() -> u64,
    payload: &P,
) -> (Vec<f64>, Vec<f64>) {
    let (mut appends, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..BATCH_COUNT {
        let start = Instant::now();
        for _ in 0..RECORDS_PER_BATCH {
            writer.append(black_box(payload)).expect("the ring was emptied");
        }
        appends.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(RECORDS_PER_BATCH));
        let start = Instant::now();
        assert_eq!(poll(), u64::from(RECORDS_PER_BATCH));
        copies.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(RECORDS_PER_BATCH));
    }
    (appends, copies)
}

fn report<S: StreamTag>((appends, copies): (Vec<f64>, Vec<f64>)) {
    let (append, append_min) = median_and_min(appends);
    let (copy, copy_min) = median_and_min(copies);
    let len = S::STREAM.record_len();
    println!(
        "{len:>4} bytes: append {append:6.1} ns (least {append_min:.1}), record role {copy:6.1} ns (least {copy_min:.1})"
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let config = config(folder.path());
    let EventLog { mut feed, mut decide, mut send, measure: facts, mut recorder, is_memory_locked } =
        EventLog::create(&config, &RunFacts::default())?;
    println!("{BATCH_COUNT} batches of {RECORDS_PER_BATCH} records, staging memory locked: {is_memory_locked}");
    let mut poll = || recorder.poll(EpochNanos(0)).expect("the disk takes it");
    report::<peregrine_eventlog::Feed>(measure(&mut feed, &mut poll, &InputCheckpoint::default()));
    report::<peregrine_eventlog::Send>(measure(&mut send, &mut poll, &OrderRecord::default()));
    report::<peregrine_eventlog::Decide>(measure(&mut decide, &mut poll, &DecisionRecord::default()));
    drop((feed, decide, send, facts));
    let closed = recorder.close()?;
    let len: u64 = closed.streams.iter().map(|stream| stream.len).sum();
    let mut rates = Vec::new();
    for _ in 0..VERIFY_COUNT {
        let start = Instant::now();
        assert_eq!(verify(&config.dir)?, closed);
        rates.push(start.elapsed().as_secs_f64() * 1e9 / len as f64);
    }
    let (median, least) = median_and_min(rates);
    println!("verify of {:.0} MB: {:.2} GB/s (best {:.2})", len as f64 / 1e6, 1.0 / median, 1.0 / least);
    Ok(())
}
