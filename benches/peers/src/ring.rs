//! 56-byte messages from core to core: a hop (half a round trip over two queues) and a stream, each message checked, both
//! sides spinning. Every queue has 1,024 slots. Channels of `crossbeam` and `ArrayQueue` allow many producers and
//! consumers, which the others do not: that is what they pay for.

use std::sync::Arc;

use crossbeam::channel;
use crossbeam::queue::ArrayQueue;
use peregrine_benches::BenchError;
use peregrine_benches::hops::{CAPACITY, Message, bare_line, ring_hops, stream};
use peregrine_benches::percentiles::{Percentiles, Timer};
use peregrine_runtime::{RingConsumer, RingProducer, index_ring, slot_ring};
use peregrine_types::{Full, Sink};
use ringbuf::HeapRb;
use ringbuf::traits::{Consumer, Producer, Split};

use crate::{Contender, compare};

const HOPS: u64 = 100_000;
const STREAMED: u64 = 2_000_000;

/// The sending end of a peer's queue, in the words that the measurement uses; what it never asks for is not answered.
struct Sender<Q>(Q);

/// The receiving end.
struct Receiver<Q>(Q);

macro_rules! queue {
    ($sender:ty, $receiver:ty, |$q_in:ident, $message:ident| $push:expr, |$q_out:ident| $pop:expr) => {
        impl Sink<Message> for Sender<$sender> {
            #[inline]
            fn push(&mut self, $message: Message) -> Result<(), Full<Message>> {
                let $q_in = &mut self.0;
                $push
            }
        }
        impl RingProducer<Message> for Sender<$sender> {
            fn capacity(&self) -> usize {
                CAPACITY
            }
            fn len(&self) -> usize {
                0
            }
            fn is_abandoned(&self) -> bool {
                false
            }
        }
        impl RingConsumer<Message> for Receiver<$receiver> {
            fn peek(&mut self) -> Option<&Message> {
                None
            }
            #[inline]
            fn pop(&mut self) -> Option<Message> {
                let $q_out = &mut self.0;
                $pop
            }
            fn capacity(&self) -> usize {
                CAPACITY
            }
            fn len(&self) -> usize {
                0
            }
            fn is_abandoned(&self) -> bool {
                false
            }
        }
    };
}

queue!(
    channel::Sender<Message>,
    channel::Receiver<Message>,
    |queue, message| queue.try_send(message).map_err(|refused| Full(refused.into_inner())),
    |queue| queue.try_recv().ok()
);
queue!(
    Arc<ArrayQueue<Message>>,
    Arc<ArrayQueue<Message>>,
    |queue, message| queue.push(message).map_err(Full),
    |queue| queue.pop()
);
queue!(
    ringbuf::HeapProd<Message>,
    ringbuf::HeapCons<Message>,
    |queue, message| queue.try_push(message).map_err(Full),
    |queue| queue.try_pop()
);

fn crossbeam_channel() -> (Sender<channel::Sender<Message>>, Receiver<channel::Receiver<Message>>) {
    let (sender, receiver) = channel::bounded(CAPACITY);
    (Sender(sender), Receiver(receiver))
}

fn array_queue() -> (Sender<Arc<ArrayQueue<Message>>>, Receiver<Arc<ArrayQueue<Message>>>) {
    let queue = Arc::new(ArrayQueue::new(CAPACITY));
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

fn heap_rb() -> (Sender<ringbuf::HeapProd<Message>>, Receiver<ringbuf::HeapCons<Message>>) {
    let (producer, consumer) = HeapRb::new(CAPACITY).split();
    (Sender(producer), Receiver(consumer))
}

/// Runs both comparisons.
pub fn run(timer: &Timer, core: usize, (first, second): (usize, usize)) -> Result<(), BenchError> {
    let other = if core == second { first } else { second };
    let slot = || slot_ring::<Message>(CAPACITY).ok();
    let index = || index_ring::<Message>(CAPACITY).ok();
    if slot().is_none() || index().is_none() {
        return Err("the rings refuse their capacity".into());
    }
    let mut hops = [
        Contender::new("Peregrine, slot ring", |timer| match (slot(), slot()) {
            (Some(there), Some(back)) => Percentiles::of(ring_hops(there, back, other, HOPS, timer)).p50,
            (None, _) | (_, None) => f64::NAN,
        }),
        Contender::new("bare cache line (the floor)", |timer| Percentiles::of(bare_line(other, HOPS, timer)).p50),
        Contender::new("rtrb 0.4", |timer| match (index(), index()) {
            (Some(there), Some(back)) => Percentiles::of(ring_hops(there, back, other, HOPS, timer)).p50,
            (None, _) | (_, None) => f64::NAN,
        }),
        Contender::new("ringbuf 0.6", |timer| Percentiles::of(ring_hops(heap_rb(), heap_rb(), other, HOPS, timer)).p50),
        Contender::new("crossbeam ArrayQueue 0.8", |timer| {
            Percentiles::of(ring_hops(array_queue(), array_queue(), other, HOPS, timer)).p50
        }),
        Contender::new("crossbeam channel 0.8", |timer| {
            Percentiles::of(ring_hops(crossbeam_channel(), crossbeam_channel(), other, HOPS, timer)).p50
        }),
    ];
    compare("Ring, one hop, median of each round", "more than 1", timer, &mut hops);
    let mut streams = [
        Contender::new("Peregrine, slot ring", |timer| {
            slot().map_or(f64::NAN, |ring| stream(ring, other, STREAMED, timer))
        }),
        Contender::new("rtrb 0.4", |timer| index().map_or(f64::NAN, |ring| stream(ring, other, STREAMED, timer))),
        Contender::new("ringbuf 0.6", |timer| stream(heap_rb(), other, STREAMED, timer)),
        Contender::new("crossbeam ArrayQueue 0.8", |timer| stream(array_queue(), other, STREAMED, timer)),
        Contender::new("crossbeam channel 0.8", |timer| stream(crossbeam_channel(), other, STREAMED, timer)),
    ];
    compare("Ring, streaming", "goal 1.4 for rtrb", timer, &mut streams);
    Ok(())
}
