//! The general ring: `rtrb` behind the ring traits, for messages that are larger than a slot, own memory, or are rare.

use peregrine_types::{Full, Sink};

use super::{RingConsumer, RingError, RingProducer, check_capacity};

/// The producer's end of an [`index_ring`].
#[derive(Debug)]
pub struct IndexProducer<T>(rtrb::Producer<T>);

/// The consumer's end of an [`index_ring`].
#[derive(Debug)]
pub struct IndexConsumer<T>(rtrb::Consumer<T>);

/// A ring of `capacity` places for messages of any kind.
///
/// # Errors
/// [`RingError::CapacityNotPowerOfTwo`] for zero too (so that the two rings can be exchanged for each other), and
/// [`RingError::CapacityTooLarge`].
pub fn index_ring<T: Send>(capacity: usize) -> Result<(IndexProducer<T>, IndexConsumer<T>), RingError> {
    check_capacity(capacity)?;
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    Ok((IndexProducer(producer), IndexConsumer(consumer)))
}

impl<T: Send> Sink<T> for IndexProducer<T> {
    #[inline]
    fn push(&mut self, value: T) -> Result<(), Full<T>> {
        self.0.push(value).map_err(|rtrb::PushError::Full(value)| Full(value))
    }
}

impl<T: Send> RingProducer<T> for IndexProducer<T> {
    fn capacity(&self) -> usize {
        self.0.buffer().capacity()
    }

    fn len(&self) -> usize {
        self.capacity().saturating_sub(self.0.slots())
    }

    fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

impl<T: Send> RingConsumer<T> for IndexConsumer<T> {
    #[inline]
    fn peek(&mut self) -> Option<&T> {
        self.0.peek().ok()
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop().ok()
    }

    fn capacity(&self) -> usize {
        self.0.buffer().capacity()
    }

    fn len(&self) -> usize {
        self.0.slots()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}
