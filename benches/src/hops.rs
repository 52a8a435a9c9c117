//! Messages from core to core: the rings beside a bare cache line, in one run.
//!
//! A hop is half a round trip of one 56-byte message over two rings. Both sides spin on cores of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use core_affinity::CoreId;
use crossbeam_utils::CachePadded;
use peregrine_runtime::{RingConsumer, RingProducer, available_cores};
use peregrine_types::Full;

use crate::percentiles::Timer;

/// 56 bytes, as a market event.
pub type Message = [u64; 7];

/// Slots of each ring.
pub const CAPACITY: usize = 1_024;

/// The first two cores that this process may use, or `None` after one line that says there is only one.
#[must_use]
pub fn two_cores() -> Option<(usize, usize)> {
    match available_cores().as_slice() {
        [first, second, ..] => Some((*first, *second)),
        [] | [_] => {
            eprintln!("skipped: a hop needs two cores and this process may use one");
            None
        }
    }
}

/// Pins this thread; says so where that is refused.
pub fn pin(core: usize) {
    if !core_affinity::set_for_current(CoreId { id: core }) {
        eprintln!("could not pin to core {core}: figures are worth little");
    }
}

/// Runs `body` on a thread pinned to `core`, and returns once it is there: a spinning caller could keep it from ever
/// leaving the caller's core under `SCHED_FIFO`.
pub fn spawn_on(core: usize, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let (ready_in, ready_out) = mpsc::sync_channel(1);
    let thread = thread::spawn(move || {
        pin(core);
        if ready_in.send(()).is_ok() {
            body();
        }
    });
    assert!(ready_out.recv().is_ok(), "the thread reports as soon as it is pinned");
    thread
}

/// Nanoseconds of `count` hops of a bare cache line there and one back: the floor of the memory system.
#[must_use]
pub fn bare_line(core: usize, count: u64, timer: &Timer) -> Vec<f64> {
    let lines: Arc<[CachePadded<AtomicU64>; 2]> = Arc::default();
    let echo_lines = Arc::clone(&lines);
    let echo = spawn_on(core, move || {
        let [there, back] = &*echo_lines;
        for number in 1..=count {
            while there.load(Ordering::Acquire) != number {}
            back.store(number, Ordering::Release);
        }
    });
    let [there, back] = &*lines;
    let hops = round_trips(count, timer, |number| {
        there.store(number, Ordering::Release);
        while back.load(Ordering::Acquire) != number {}
    });
    assert!(echo.join().is_ok(), "the other side saw every number");
    hops
}

fn round_trips(count: u64, timer: &Timer, mut trip: impl FnMut(u64)) -> Vec<f64> {
    let mut hops = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    for number in 1..=count {
        let start = timer.ticks();
        trip(number);
        hops.push(timer.nanos_since(start) / 2.0);
    }
    hops.drain(..hops.len() / 10);
    hops
}

fn push_spinning(producer: &mut impl RingProducer<Message>, mut message: Message) {
    while let Err(Full(back)) = producer.push(message) {
        message = back;
    }
}

fn pop_spinning(consumer: &mut impl RingConsumer<Message>) -> Message {
    loop {
        if let Some(message) = consumer.pop() {
            return message;
        }
    }
}

/// Nanoseconds of `count` hops over two rings, the first tenth left out; each message is checked.
pub fn ring_hops<P: RingProducer<Message> + 'static, C: RingConsumer<Message> + 'static>(
    (mut there_in, mut there_out): (P, C),
    (mut back_in, mut back_out): (P, C),
    core: usize,
    count: u64,
    timer: &Timer,
) -> Vec<f64> {
    let echo = spawn_on(core, move || {
        for _ in 0..count {
            let message = pop_spinning(&mut there_out);
            push_spinning(&mut back_in, message);
        }
    });
    let hops = round_trips(count, timer, |number| {
        push_spinning(&mut there_in, [number; 7]);
        assert_eq!(pop_spinning(&mut back_out), [number; 7]);
    });
    assert!(echo.join().is_ok(), "the other side saw every message");
    hops
}

/// Nanoseconds per message of `count` messages streamed to this thread, all of them checked.
pub fn stream<P: RingProducer<Message> + 'static, C: RingConsumer<Message>>(
    (mut producer, mut consumer): (P, C),
    core: usize,
    count: u64,
    timer: &Timer,
) -> f64 {
    let pushing = spawn_on(core, move || {
        for number in 0..count {
            push_spinning(&mut producer, [number; 7]);
        }
    });
    assert_eq!(pop_spinning(&mut consumer), [0; 7]);
    let start = timer.ticks();
    for number in 1..count {
        let [head, .., tail] = pop_spinning(&mut consumer);
        assert_eq!((head, tail), (number, number));
    }
    let nanos = timer.nanos_since(start);
    assert!(pushing.join().is_ok(), "every message was pushed");
    nanos / count.saturating_sub(1).max(1) as f64
}
