//! Rings: bounded queues from one producer to one consumer, behind one pair of traits.
//!
//! | ring | what a hop moves | messages | use |
//! |---|---|---|---|
//! | [`slot_ring`] | one cache line: the message and its sequence number | `Copy`, at most 56 bytes | hot flows |
//! | [`index_ring`] | an index line and a data line | anything that is `Send` | everything else |
//!
//! Values are never lost, duplicated or reordered. A full ring hands the value back ([`peregrine_types::Full`]); what
//! then happens is the written policy of whoever pushes.

mod index;
#[cfg(test)]
#[cfg(loom)]
mod loom_tests;
mod slot;
mod sync;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use index::{IndexConsumer, IndexProducer, index_ring};
use peregrine_types::Sink;
pub use slot::{RELEASE_BATCH_MAX, SLOT_PAYLOAD_LEN_MAX, SlotConsumer, SlotProducer, slot_ring};

/// The most slots that a ring may have: 2³², which is 256 GiB of one-line slots.
pub const RING_CAPACITY_MAX: usize = 1 << 32;

/// The end of a ring that messages are pushed into, with [`Sink::push`].
pub trait RingProducer<T>: Sink<T> + Send {
    /// How many messages the ring can hold; fixed at start.
    fn capacity(&self) -> usize;

    /// How many messages are known to wait in the ring, for gauges: never less than the consumer has yet to take.
    ///
    /// Reads the consumer's cache line: not for every message.
    fn len(&self) -> usize;

    /// Whether no message waits, by the measure of [`RingProducer::len`].
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the consumer is gone, so that nothing pushed from now on will be read.
    fn is_abandoned(&self) -> bool;
}

/// The end of a ring that messages are taken from, in the order in which they were pushed.
pub trait RingConsumer<T>: Send {
    /// The oldest message, left in the ring; `None` when no message waits.
    fn peek(&mut self) -> Option<&T>;

    /// Takes the oldest message; `None` when no message waits.
    fn pop(&mut self) -> Option<T>;

    /// How many messages the ring can hold; fixed at start.
    fn capacity(&self) -> usize;

    /// How many messages wait in the ring now, for gauges: the producer may add more at any moment.
    ///
    /// Touches the producer's cache lines: not for every message.
    fn len(&self) -> usize;

    /// Whether no message waits now.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the producer is gone. Every message it ever pushed is then visible: pop until `None` and all is read.
    fn is_abandoned(&self) -> bool;
}

/// Why a ring could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The capacity is zero or not a power of two.
    #[error("ring capacity {0} is not a power of two: use {next} instead", next = .0.max(&1).next_power_of_two())]
    CapacityNotPowerOfTwo(usize),
    /// The capacity is above [`RING_CAPACITY_MAX`].
    #[error("ring capacity {0} is above the bound of {RING_CAPACITY_MAX} slots")]
    CapacityTooLarge(usize),
}

/// Checks a ring's capacity.
fn check_capacity(capacity: usize) -> Result<(), RingError> {
    if capacity > RING_CAPACITY_MAX {
        return Err(RingError::CapacityTooLarge(capacity));
    }
    if !capacity.is_power_of_two() {
        return Err(RingError::CapacityNotPowerOfTwo(capacity));
    }
    Ok(())
}
