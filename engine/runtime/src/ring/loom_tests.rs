//! Every interleaving of the slot ring's two ends over a few messages, by loom:
//! `RUSTFLAGS="--cfg loom" cargo test -p peregrine-runtime --release loom`.
//!
//! Loom can explore a single interleaving and pass, so each model states the least number it must explore, and two
//! negative controls break one hand-over each and expect loom to object.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as PlainCount, Ordering as PlainOrdering};

use peregrine_types::Sink;

use super::slot::{Weakened, slot_ring_with_batch};
use super::{RingConsumer, RingProducer, SlotConsumer, SlotProducer};

/// Explores `body` in full and returns how many interleavings that took.
fn explore(body: impl Fn() + Send + Sync + 'static) -> usize {
    let count = Arc::new(PlainCount::new(0));
    let seen = Arc::clone(&count);
    let builder = loom::model::Builder::new();
    builder.check(move || {
        seen.fetch_add(1, PlainOrdering::Relaxed);
        body();
    });
    let explored = count.load(PlainOrdering::Relaxed);
    eprintln!("{explored} interleavings");
    explored
}

fn push_all(producer: &mut SlotProducer<u64>, count: u64) {
    for value in 0..count {
        while producer.push(value).is_err() {
            loom::thread::yield_now();
        }
    }
}

fn take_all(consumer: &mut SlotConsumer<u64>, count: u64) {
    for expected in 0..count {
        loop {
            if let Some(value) = consumer.pop() {
                assert_eq!(value, expected);
                break;
            }
            loom::thread::yield_now();
        }
    }
}

fn stream(capacity: usize, release_batch: usize, count: u64, weakened: Weakened) {
    let (mut producer, mut consumer) = slot_ring_with_batch::<u64>(capacity, release_batch).unwrap();
    producer.weaken(weakened);
    consumer.weaken(weakened);
    let pushing = loom::thread::spawn(move || push_all(&mut producer, count));
    take_all(&mut consumer, count);
    pushing.join().unwrap();
    assert_eq!(consumer.pop(), None);
}

#[test]
fn loom_stream_through_two_slots_keeps_order() {
    let explored = explore(|| stream(2, 1, 4, Weakened::Nothing));
    assert!(explored >= 150_000, "only {explored} interleavings explored");
}

#[test]
fn loom_stream_with_batched_release_never_stalls() {
    let explored = explore(|| stream(2, 2, 4, Weakened::Nothing));
    assert!(explored >= 50_000, "only {explored} interleavings explored");
}

#[test]
fn loom_single_slot_ring_alternates() {
    let explored = explore(|| stream(1, 1, 3, Weakened::Nothing));
    assert!(explored >= 15_000, "only {explored} interleavings explored");
}

#[test]
fn loom_abandoned_ring_still_gives_all_that_was_pushed() {
    let explored = explore(|| {
        let (mut producer, mut consumer) = slot_ring_with_batch::<u64>(4, 1).unwrap();
        let pushing = loom::thread::spawn(move || {
            for value in 0..2 {
                producer.push(value).unwrap();
            }
        });
        let mut taken = 0;
        while !consumer.is_abandoned() {
            if let Some(value) = consumer.peek().copied() {
                assert_eq!(value, taken);
                assert_eq!(consumer.pop(), Some(taken));
                taken += 1;
            }
            loom::thread::yield_now();
        }
        while let Some(value) = consumer.pop() {
            assert_eq!(value, taken);
            taken += 1;
        }
        assert_eq!(taken, 2);
        pushing.join().unwrap();
    });
    assert!(explored >= 50, "only {explored} interleavings explored");
}

#[test]
fn loom_gauges_stay_within_bounds_while_the_ring_moves() {
    let explored = explore(|| {
        let (mut producer, mut consumer) = slot_ring_with_batch::<u64>(2, 1).unwrap();
        let pushing = loom::thread::spawn(move || {
            push_all(&mut producer, 3);
            assert!(producer.len() <= 2);
        });
        let waiting = consumer.len();
        assert!(waiting <= 2);
        for expected in 0..waiting as u64 {
            assert_eq!(consumer.pop(), Some(expected));
        }
        for expected in waiting as u64..3 {
            while consumer.peek() != Some(&expected) {
                loom::thread::yield_now();
            }
            assert_eq!(consumer.pop(), Some(expected));
        }
        pushing.join().unwrap();
    });
    assert!(explored >= 40_000, "only {explored} interleavings explored");
}

#[test]
#[should_panic(expected = "Causality violation")]
fn loom_negative_control_relaxed_publish_is_caught() {
    explore(|| stream(2, 1, 4, Weakened::Publish));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn loom_negative_control_relaxed_release_is_caught() {
    explore(|| stream(2, 1, 4, Weakened::Announce));
}
