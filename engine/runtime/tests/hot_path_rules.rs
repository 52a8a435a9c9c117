//! What runs per message allocates nothing: a counting allocator watches each thread while rings, counters, recorders,
//! guards and clocks do millions of steps. It is shown to count by a step that allocates.
#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use peregrine_runtime::{
    CounterRegistry, CounterUnit, LatencyBounds, LatencyGuard, LatencyGuardConfig, RingConsumer, RingProducer,
    Stopwatch, TscClock, TscStopwatch, index_ring, latency_recorder, slot_ring,
};
use peregrine_types::{EpochNanos, Nanos};

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one counts and passes on")]
// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `body` called the allocator on this thread, freeing included.
fn allocator_calls(body: impl FnOnce()) -> u64 {
    let before = CALLS.with(Cell::get);
    body();
    CALLS.with(Cell::get) - before
}

const STEP_COUNT: u64 = 300_000;

#[test]
fn the_allocator_counts() {
    assert_eq!(allocator_calls(|| drop(std::hint::black_box(vec![1_u8]))), 2);
}

fn cycle(producer: &mut impl RingProducer<[u64; 7]>, consumer: &mut impl RingConsumer<[u64; 7]>) {
    for number in 0..STEP_COUNT {
        assert!(producer.push([number; 7]).is_ok());
        assert!(consumer.peek().is_some());
        assert_eq!(consumer.pop(), Some([number; 7]));
        assert!(consumer.pop().is_none());
    }
    while producer.push([0; 7]).is_ok() {}
}

#[test]
fn rings_do_not_allocate() {
    let (mut producer, mut consumer) = slot_ring(64).unwrap();
    assert_eq!(allocator_calls(|| cycle(&mut producer, &mut consumer)), 0);
    let (mut producer, mut consumer) = index_ring(64).unwrap();
    assert_eq!(allocator_calls(|| cycle(&mut producer, &mut consumer)), 0);
}

#[test]
fn recording_does_not_allocate_even_while_intervals_are_taken() {
    let (mut recorder, mut reader) = latency_recorder("x", LatencyBounds::STANDARD).unwrap();
    let calls = allocator_calls(|| {
        for number in 0..STEP_COUNT {
            recorder.record(Nanos((number as i64) * 7919));
            if number % 1_000 == 0 {
                reader.request();
                reader.take_interval();
            }
        }
        recorder.record(Nanos(i64::MAX));
    });
    assert_eq!(calls, 0);
    assert!(reader.total().count > STEP_COUNT / 2);
}

#[test]
fn counters_guards_and_clocks_do_not_allocate() {
    let mut registry = CounterRegistry::new("x");
    let id = registry.register("y", CounterUnit::Count);
    let (mut writer, _reader) = registry.build();
    let config = LatencyGuardConfig {
        window_sample_count: 1_000,
        window_time: Some(Nanos(5_000)),
        sample_count_min: 100,
        warn_above: Nanos(50),
        halt_above: Nanos(90),
    };
    let mut guard = LatencyGuard::new(config).unwrap();
    let clock = TscClock::calibrated();
    let stopwatch = TscStopwatch::new(&clock);
    let calls = allocator_calls(|| {
        let mut last = EpochNanos::MIN;
        for number in 0..STEP_COUNT as i64 {
            writer.increment(id);
            guard.observe(EpochNanos(number), Nanos(number % 100));
            let start = stopwatch.start();
            last = last.max(clock.now());
            assert!(stopwatch.elapsed(start) >= Nanos::ZERO);
        }
    });
    assert_eq!(calls, 0);
    assert_eq!(writer.get(id), STEP_COUNT);
}
