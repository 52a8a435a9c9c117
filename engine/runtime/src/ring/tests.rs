//! Both rings by one set of tests: against a queue of the standard library, and streamed between two threads.

use std::collections::VecDeque;
use std::thread;

use peregrine_types::Full;
use proptest::prelude::*;

use super::slot::slot_ring_with_batch;
use super::*;

/// What crosses the ring in these tests: a number and its echo, so that a torn message shows.
type Message = [u64; 7];

const fn message(number: u64) -> Message {
    [number, !number, number, !number, number, !number, number]
}

fn streams_in_order(
    mut producer: impl RingProducer<Message> + 'static,
    mut consumer: impl RingConsumer<Message>,
    count: u64,
) {
    let pushing = thread::spawn(move || {
        for number in 0..count {
            let mut waiting = message(number);
            while let Err(Full(back)) = producer.push(waiting) {
                waiting = back;
                thread::yield_now();
            }
        }
    });
    let mut next = 0;
    while next < count {
        match consumer.pop() {
            Some(got) => {
                assert_eq!(got, message(next));
                next += 1;
            }
            None => thread::yield_now(),
        }
    }
    pushing.join().unwrap();
    assert_eq!(consumer.pop(), None);
    assert!(consumer.is_abandoned());
}

/// Millions of messages in release, fewer under Miri and in debug.
const STREAM_COUNT: u64 = if cfg!(miri) {
    500
} else if cfg!(debug_assertions) {
    2_000_000
} else {
    20_000_000
};

#[test]
fn slot_ring_streams_millions_without_loss_or_disorder() {
    let (producer, consumer) = slot_ring(1024).unwrap();
    streams_in_order(producer, consumer, STREAM_COUNT);
}

#[test]
fn slot_ring_of_one_slot_streams() {
    let (producer, consumer) = slot_ring(1).unwrap();
    streams_in_order(producer, consumer, STREAM_COUNT / 100);
}

#[test]
fn slot_ring_with_a_whole_ring_as_batch_streams() {
    let (producer, consumer) = slot_ring_with_batch(8, 8).unwrap();
    streams_in_order(producer, consumer, STREAM_COUNT / 100);
}

#[test]
fn index_ring_streams_millions_without_loss_or_disorder() {
    let (producer, consumer) = index_ring(1024).unwrap();
    streams_in_order(producer, consumer, STREAM_COUNT);
}

#[test]
fn capacities_that_are_no_power_of_two_are_refused_with_the_next_one() {
    for (capacity, better) in [(0, 1), (3, 4), (1000, 1024)] {
        let error = slot_ring::<u64>(capacity).err().unwrap();
        assert_eq!(error, RingError::CapacityNotPowerOfTwo(capacity));
        assert!(error.to_string().ends_with(&format!("use {better} instead")), "{error}");
        assert_eq!(index_ring::<u64>(capacity).err(), Some(error));
    }
    let huge = RING_CAPACITY_MAX * 2;
    assert_eq!(slot_ring::<u64>(huge).err(), Some(RingError::CapacityTooLarge(huge)));
}

#[test]
fn each_end_learns_that_the_other_is_gone_and_nothing_pushed_is_lost() {
    let (mut producer, mut consumer) = slot_ring::<u64>(4).unwrap();
    assert!(!producer.is_abandoned() && !consumer.is_abandoned());
    producer.push(1).unwrap();
    drop(producer);
    assert!(consumer.is_abandoned());
    assert_eq!((consumer.pop(), consumer.pop()), (Some(1), None));

    let (producer, consumer) = slot_ring::<u64>(4).unwrap();
    drop(consumer);
    assert!(producer.is_abandoned());
}

#[test]
fn a_batched_release_is_announced_when_the_ring_runs_empty() {
    let (mut producer, mut consumer) = slot_ring_with_batch::<u64>(4, 4).unwrap();
    for value in 0..4 {
        producer.push(value).unwrap();
    }
    for value in 0..3 {
        assert_eq!(consumer.pop(), Some(value));
    }
    assert_eq!(producer.push(4), Err(Full(4)), "three slots are free but not announced");
    assert_eq!(consumer.pop(), Some(3));
    assert_eq!(consumer.pop(), None);
    assert_eq!(producer.push(4), Ok(()));
    assert_eq!(producer.len(), 1);
    assert_eq!(consumer.pop(), Some(4));
    assert_eq!(producer.len(), 1, "not announced yet");
    assert_eq!(consumer.peek(), None);
    assert_eq!(producer.len(), 0);
}

/// One step of a single-threaded script.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    Pop,
    Peek,
}

fn behaves_like_a_queue(
    steps: &[Step],
    (mut producer, mut consumer): (impl RingProducer<u64>, impl RingConsumer<u64>),
) -> Result<(), TestCaseError> {
    let capacity = producer.capacity();
    let mut queue = VecDeque::new();
    for (number, step) in steps.iter().enumerate() {
        let number = number as u64;
        match step {
            Step::Push if queue.len() < capacity => {
                prop_assert_eq!(producer.push(number), Ok(()));
                queue.push_back(number);
            }
            Step::Push => prop_assert_eq!(producer.push(number), Err(Full(number))),
            Step::Pop => prop_assert_eq!(consumer.pop(), queue.pop_front()),
            Step::Peek => prop_assert_eq!(consumer.peek(), queue.front()),
        }
        prop_assert_eq!(consumer.len(), queue.len());
        prop_assert_eq!(consumer.is_empty(), queue.is_empty());
        prop_assert_eq!(producer.len(), queue.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 128 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_rings_behave_like_a_queue(
        steps in proptest::collection::vec(prop_oneof![3 => Just(Step::Push), 2 => Just(Step::Pop), 1 => Just(Step::Peek)], 0..200),
        exponent in 0_u32..4,
    ) {
        behaves_like_a_queue(&steps, slot_ring(1 << exponent).unwrap())?;
        behaves_like_a_queue(&steps, index_ring(1 << exponent).unwrap())?;
    }
}
