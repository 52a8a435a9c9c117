//! The one-line slot ring: each slot is one cache line with its message and its own sequence number, so that a hop
//! moves one line from core to core instead of an index line and a data line.
//!
//! **Slot** (64 bytes): bytes 0–7 the sequence number, bytes 8–63 the message.
//!
//! **Ownership protocol** (there is never a racing read of a message, so no torn reads and nothing to retry):
//! message *n* (from 0) lives in slot *n* mod capacity.
//! - The producer owns that slot from the moment it knows that message *n* − capacity was consumed. It writes the
//!   message and then stores *n* + 1 into the slot's sequence number with *release*: that hands the slot over.
//! - The consumer owns the slot from the moment it has loaded *n* + 1 there with *acquire*, until it stores its count
//!   of consumed messages with *release* into a line of its own: that hands the slot back.
//!
//! The consumer announces what it consumed in batches of up to [`RELEASE_BATCH_MAX`] and whenever it finds the ring
//! empty; the producer keeps a copy of that count and reads the line only when the copy says that the ring is full.
//! Each side keeps its own position in a plain field and never loads an atomic that it stores.

use core::mem::MaybeUninit;

use crossbeam_utils::CachePadded;
use peregrine_types::{Full, Sink};

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};
use super::{RingConsumer, RingError, RingProducer, check_capacity};

/// The largest message of a slot, in bytes: one cache line less its sequence number.
pub const SLOT_PAYLOAD_LEN_MAX: usize = 56;

/// The most consumed messages that the consumer keeps to itself before it announces them to the producer.
///
/// While it does, [`Sink::push`] may report a ring as full although up to this many (less one) slots are free again;
/// never for longer than until the consumer next finds the ring empty. Rings below 8 × this announce earlier
/// (capacity / 8), rings of up to 8 slots at once.
pub const RELEASE_BATCH_MAX: usize = 16;

/// One cache line: a message and the number that says which one it is.
#[repr(C, align(64))]
struct Slot<T> {
    /// *n* + 1 once message *n* is readable; 0 before the first.
    sequence: AtomicUsize,
    payload: UnsafeCell<MaybeUninit<T>>,
}

/// What both ends share.
struct Shared<T> {
    slots: Box<[Slot<T>]>,
    /// How many messages the consumer has handed back; written by the consumer only.
    consumed: CachePadded<AtomicUsize>,
    is_producer_gone: CachePadded<AtomicBool>,
    is_consumer_gone: CachePadded<AtomicBool>,
}

#[expect(unsafe_code, reason = "the slots are handed from one thread to the other by the ownership protocol")]
// SAFETY: a slot's payload is only touched by the end that owns it (see the module's protocol), and `T: Send` lets the
// message itself cross threads.
unsafe impl<T: Copy + Send> Sync for Shared<T> {}

#[expect(unsafe_code, reason = "the slots are handed from one thread to the other by the ownership protocol")]
// SAFETY: as for `Sync`; the slots are plain memory without ties to a thread.
unsafe impl<T: Copy + Send> Send for Shared<T> {}

const _: () = assert!(usize::BITS == 64, "positions count messages since the start and must never wrap");

impl<T> Shared<T> {
    #[inline(always)]
    #[expect(unsafe_code, reason = "a bounds check would stand on every hop")]
    fn slot(&self, position: usize) -> &Slot<T> {
        let index = position & self.slots.len().wrapping_sub(1);
        // SAFETY: the slot count is a power of two (checked in `slot_ring`), so the masked index is below it.
        unsafe { self.slots.get_unchecked(index) }
    }
}

/// The producer's end of a [`slot_ring`].
pub struct SlotProducer<T: Copy + Send> {
    shared: Arc<Shared<T>>,
    /// The position of the message that is pushed next.
    next: usize,
    /// What the consumer had announced when we last looked.
    consumed: usize,
    #[cfg(loom)]
    weakened: Weakened,
}

/// The consumer's end of a [`slot_ring`].
pub struct SlotConsumer<T: Copy + Send> {
    shared: Arc<Shared<T>>,
    /// The position of the message that is taken next.
    next: usize,
    /// What we have announced.
    announced: usize,
    /// How many messages may be taken before they are announced.
    release_batch: usize,
    #[cfg(loom)]
    weakened: Weakened,
}

/// Which of the two hand-overs a negative control of the model check breaks.
#[cfg(loom)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Weakened {
    /// Neither: the ring as it is.
    #[default]
    Nothing,
    /// The producer's: message written, sequence number published relaxed.
    Publish,
    /// The consumer's: message read, slot handed back relaxed.
    Announce,
}

/// A ring of `capacity` one-line slots for messages of at most 56 bytes; the memory is written once, so that later no
/// page of it is touched for the first time.
///
/// A larger message does not compile.
///
/// # Errors
/// [`RingError::CapacityNotPowerOfTwo`] for zero too, [`RingError::CapacityTooLarge`].
pub fn slot_ring<T: Copy + Send>(capacity: usize) -> Result<(SlotProducer<T>, SlotConsumer<T>), RingError> {
    slot_ring_with_batch(capacity, (capacity / 8).clamp(1, RELEASE_BATCH_MAX))
}

/// [`slot_ring`] with a chosen release batch, which must be in 1..=capacity.
pub(super) fn slot_ring_with_batch<T: Copy + Send>(
    capacity: usize,
    release_batch: usize,
) -> Result<(SlotProducer<T>, SlotConsumer<T>), RingError> {
    const { assert!(size_of::<T>() <= SLOT_PAYLOAD_LEN_MAX, "a slot holds a message of at most 56 bytes") };
    #[cfg(not(loom))]
    const {
        assert!(size_of::<Slot<T>>() == 64, "a slot is one cache line: the message's alignment must allow it")
    };
    check_capacity(capacity)?;
    let empty = || Slot { sequence: AtomicUsize::new(0), payload: UnsafeCell::new(MaybeUninit::uninit()) };
    let shared = Arc::new(Shared {
        slots: core::iter::repeat_with(empty).take(capacity).collect(),
        consumed: CachePadded::new(AtomicUsize::new(0)),
        is_producer_gone: CachePadded::new(AtomicBool::new(false)),
        is_consumer_gone: CachePadded::new(AtomicBool::new(false)),
    });
    let producer = SlotProducer {
        shared: Arc::clone(&shared),
        next: 0,
        consumed: 0,
        #[cfg(loom)]
        weakened: Weakened::Nothing,
    };
    let consumer = SlotConsumer {
        shared,
        next: 0,
        announced: 0,
        release_batch,
        #[cfg(loom)]
        weakened: Weakened::Nothing,
    };
    Ok((producer, consumer))
}

impl<T: Copy + Send> SlotProducer<T> {
    #[cfg(not(loom))]
    #[inline(always)]
    #[expect(clippy::unused_self, reason = "the model-checked twin of this function needs it")]
    const fn publish_order(&self) -> Ordering {
        Ordering::Release
    }

    #[cfg(loom)]
    fn publish_order(&self) -> Ordering {
        if self.weakened == Weakened::Publish { Ordering::Relaxed } else { Ordering::Release }
    }

    #[cfg(loom)]
    pub(super) fn weaken(&mut self, weakened: Weakened) {
        self.weakened = weakened;
    }

    /// Whether the next slot is ours to write, looking at the consumer's line only if the copy of it does not say so.
    #[inline(always)]
    fn has_room(&mut self) -> bool {
        let capacity = self.shared.slots.len();
        if self.next.wrapping_sub(self.consumed) < capacity {
            return true;
        }
        self.consumed = self.shared.consumed.load(Ordering::Acquire);
        self.next.wrapping_sub(self.consumed) < capacity
    }
}

impl<T: Copy + Send> Sink<T> for SlotProducer<T> {
    #[inline]
    #[expect(unsafe_code, reason = "writes the message into a slot that the protocol gives to the producer")]
    fn push(&mut self, value: T) -> Result<(), Full<T>> {
        if !self.has_room() {
            return Err(Full(value));
        }
        let slot = self.shared.slot(self.next);
        let write = |payload: *mut MaybeUninit<T>| {
            // SAFETY: `has_room` says that the consumer is done with message `next - capacity` of this slot and has
            // released it, and it does not look at the payload again before the sequence number below: ours alone.
            unsafe { payload.write(MaybeUninit::new(value)) }
        };
        slot.payload.with_mut(write);
        self.next = self.next.wrapping_add(1);
        slot.sequence.store(self.next, self.publish_order());
        Ok(())
    }
}

impl<T: Copy + Send> RingProducer<T> for SlotProducer<T> {
    fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    fn len(&self) -> usize {
        self.next.wrapping_sub(self.shared.consumed.load(Ordering::Acquire))
    }

    fn is_abandoned(&self) -> bool {
        self.shared.is_consumer_gone.load(Ordering::Acquire)
    }
}

impl<T: Copy + Send> SlotConsumer<T> {
    #[cfg(not(loom))]
    #[inline(always)]
    #[expect(clippy::unused_self, reason = "the model-checked twin of this function needs it")]
    const fn announce_order(&self) -> Ordering {
        Ordering::Release
    }

    #[cfg(loom)]
    fn announce_order(&self) -> Ordering {
        if self.weakened == Weakened::Announce { Ordering::Relaxed } else { Ordering::Release }
    }

    #[cfg(loom)]
    pub(super) fn weaken(&mut self, weakened: Weakened) {
        self.weakened = weakened;
    }

    /// Whether the message at `position` (ours or later) has been pushed.
    #[inline(always)]
    fn is_pushed(&self, position: usize) -> bool {
        self.shared.slot(position).sequence.load(Ordering::Acquire) == position.wrapping_add(1)
    }

    /// Whether the next message is there; if not, hands back what was taken, so that a producer waiting for room
    /// never waits for a consumer that waits for messages.
    #[inline(always)]
    fn is_ready(&mut self) -> bool {
        if self.is_pushed(self.next) {
            return true;
        }
        if self.announced != self.next {
            self.announce();
        }
        false
    }

    /// Hands every slot taken so far back to the producer.
    #[inline(always)]
    fn announce(&mut self) {
        self.shared.consumed.store(self.next, self.announce_order());
        self.announced = self.next;
    }
}

impl<T: Copy + Send> RingConsumer<T> for SlotConsumer<T> {
    #[inline]
    #[expect(unsafe_code, reason = "looks at a message that the protocol gives to the consumer")]
    fn peek(&mut self) -> Option<&T> {
        if !self.is_ready() {
            return None;
        }
        let look = |payload: *const MaybeUninit<T>| {
            // SAFETY: the acquired sequence number says that this message is written and the slot ours until we hand
            // it back, which `&mut self` rules out while the reference lives.
            unsafe { &*payload }
        };
        let payload = self.shared.slot(self.next).payload.with(look);
        // SAFETY: written before its sequence number was published.
        Some(unsafe { payload.assume_init_ref() })
    }

    #[inline]
    #[expect(unsafe_code, reason = "copies a message that the protocol gives to the consumer")]
    fn pop(&mut self) -> Option<T> {
        if !self.is_ready() {
            return None;
        }
        let copy = |payload: *const MaybeUninit<T>| {
            // SAFETY: the acquired sequence number says that this slot is ours until we hand it back below.
            unsafe { payload.read() }
        };
        let payload = self.shared.slot(self.next).payload.with(copy);
        self.next = self.next.wrapping_add(1);
        if self.next.wrapping_sub(self.announced) >= self.release_batch {
            self.announce();
        }
        // SAFETY: written before its sequence number was published; `T: Copy`, so the copy left behind is inert.
        Some(unsafe { payload.assume_init() })
    }

    fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// A binary search for the first message that is not there yet: messages appear in order.
    fn len(&self) -> usize {
        let (mut known_in, mut known_out) = (0_usize, self.shared.slots.len().wrapping_add(1));
        while known_out.wrapping_sub(known_in) > 1 {
            let middle = known_in.midpoint(known_out);
            if self.is_pushed(self.next.wrapping_add(middle).wrapping_sub(1)) {
                known_in = middle;
            } else {
                known_out = middle;
            }
        }
        known_in
    }

    fn is_empty(&self) -> bool {
        !self.is_pushed(self.next)
    }

    fn is_abandoned(&self) -> bool {
        self.shared.is_producer_gone.load(Ordering::Acquire)
    }
}

impl<T: Copy + Send> Drop for SlotProducer<T> {
    fn drop(&mut self) {
        self.shared.is_producer_gone.store(true, Ordering::Release);
    }
}

impl<T: Copy + Send> Drop for SlotConsumer<T> {
    fn drop(&mut self) {
        self.shared.is_consumer_gone.store(true, Ordering::Release);
    }
}
