//! The rings: push and pop on one thread, and hops and streams between two cores, beside a bare cache line.

use std::time::Duration;

use criterion::Criterion;
use peregrine_benches::BenchError;
use peregrine_benches::hops::{CAPACITY, Message, bare_line, pin, ring_hops, stream, two_cores};
use peregrine_benches::percentiles::Timer;
use peregrine_runtime::{RingConsumer, RingProducer, index_ring, slot_ring};

fn one_thread(criterion: &mut Criterion) -> Result<(), BenchError> {
    let mut group = criterion.benchmark_group("ring on one thread");
    let (mut slot_in, mut slot_out) = slot_ring::<Message>(CAPACITY)?;
    group.bench_function("slot", |bencher| bencher.iter(|| pass(&mut slot_in, &mut slot_out)));
    let (mut index_in, mut index_out) = index_ring::<Message>(CAPACITY)?;
    group.bench_function("rtrb", |bencher| bencher.iter(|| pass(&mut index_in, &mut index_out)));
    group.finish();
    Ok(())
}

fn pass(producer: &mut impl RingProducer<Message>, consumer: &mut impl RingConsumer<Message>) {
    assert!(producer.push([7; 7]).is_ok());
    assert_eq!(consumer.pop(), Some([7; 7]));
}

/// What `count` hops take, by the mean of those that were kept.
fn total(hops: &[f64], count: u64) -> Duration {
    let mean = hops.iter().sum::<f64>() / hops.len().max(1) as f64;
    Duration::from_secs_f64(mean * count as f64 / 1e9)
}

fn two_threads(criterion: &mut Criterion, (first, second): (usize, usize)) {
    pin(first);
    let timer = Timer::calibrated();
    let mut group = criterion.benchmark_group("ring hop");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group.bench_function("bare cache line", |bencher| {
        bencher.iter_custom(|count| total(&bare_line(second, count, &timer), count));
    });
    group.bench_function("slot", |bencher| {
        bencher.iter_custom(|count| {
            let (Ok(there), Ok(back)) = (slot_ring(CAPACITY), slot_ring(CAPACITY)) else { return Duration::MAX };
            total(&ring_hops(there, back, second, count, &timer), count)
        });
    });
    group.bench_function("rtrb", |bencher| {
        bencher.iter_custom(|count| {
            let (Ok(there), Ok(back)) = (index_ring(CAPACITY), index_ring(CAPACITY)) else { return Duration::MAX };
            total(&ring_hops(there, back, second, count, &timer), count)
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("ring stream");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group.bench_function("slot", |bencher| {
        bencher.iter_custom(|count| {
            let Ok(ring) = slot_ring::<Message>(CAPACITY) else { return Duration::MAX };
            Duration::from_secs_f64(stream(ring, second, count.max(2), &timer) * count as f64 / 1e9)
        });
    });
    group.bench_function("rtrb", |bencher| {
        bencher.iter_custom(|count| {
            let Ok(ring) = index_ring::<Message>(CAPACITY) else { return Duration::MAX };
            Duration::from_secs_f64(stream(ring, second, count.max(2), &timer) * count as f64 / 1e9)
        });
    });
    group.finish();
}

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    one_thread(&mut criterion)?;
    if let Some(cores) = two_cores() {
        two_threads(&mut criterion, cores);
    }
    criterion.final_summary();
    Ok(())
}
