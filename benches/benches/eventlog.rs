//! Appending to the event log: a decision (320 bytes) and an order's step (128 bytes), checksum included. What the record
//! role does with them is not timed.

use std::time::{Duration, Instant};

use criterion::Criterion;
use peregrine_benches::BenchError;
use peregrine_benches::parts::{LOG_RECORD_COUNT, decision_record, event_log, order_record};
use peregrine_eventlog::{EventLog, LogFull, RecordIndex};
use peregrine_types::EpochNanos;

/// Times `count` appends in stretches that fit, with the recorder catching up in between.
fn timed(
    log: &mut EventLog,
    count: u64,
    mut append: impl FnMut(&mut EventLog, u64) -> Result<RecordIndex, LogFull>,
) -> Duration {
    let (mut total, mut done) = (Duration::ZERO, 0);
    while done < count {
        let stretch = (count - done).min(LOG_RECORD_COUNT / 2);
        let start = Instant::now();
        for number in done..done + stretch {
            assert!(append(log, number).is_ok());
        }
        total += start.elapsed();
        done += stretch;
        while log.recorder.backlog() > 0 {
            assert!(log.recorder.poll(EpochNanos(0)).is_ok());
        }
    }
    total
}

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let folder = tempfile::tempdir()?;
    let mut log = event_log(folder.path())?;
    let mut group = criterion.benchmark_group("event log append");
    group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300)).sample_size(20);
    group.bench_function("decision", |bencher| {
        bencher.iter_custom(|count| timed(&mut log, count, |log, number| log.decide.append(&decision_record(number))));
    });
    group.bench_function("order", |bencher| {
        bencher.iter_custom(|count| timed(&mut log, count, |log, number| log.send.append(&order_record(number))));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
