//! Own messages on their way to the venue: first in, first out, as on one session.

use peregrine_types::{EpochNanos, Full, OrderCommand};

/// One message and when it reaches the matching engine.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When it is there; never before the message sent before it.
    pub at: EpochNanos,
    /// What it says.
    pub command: OrderCommand,
}

/// A ring of fixed capacity.
#[derive(Debug)]
pub(super) struct Arrivals {
    slots: Box<[Option<Arrival>]>,
    first: usize,
    len: usize,
    last_time: EpochNanos,
}

impl Arrivals {
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: vec![None; capacity].into_boxed_slice(), first: 0, len: 0, last_time: EpochNanos::MIN }
    }

    /// Appends a message; one that would overtake an earlier one arrives together with it.
    pub(super) fn push(&mut self, arrival: Arrival) -> Result<(), Full<OrderCommand>> {
        if self.len == self.slots.len() {
            return Err(Full(arrival.command));
        }
        let at = arrival.at.max(self.last_time);
        let index = self.wrap(self.first.saturating_add(self.len));
        let Some(slot) = self.slots.get_mut(index) else { return Err(Full(arrival.command)) };
        *slot = Some(Arrival { at, ..arrival });
        self.last_time = at;
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    /// The next message, if it is there by `now`.
    pub(super) fn pop_up_to(&mut self, now: EpochNanos) -> Option<Arrival> {
        if self.next_time()? > now {
            return None;
        }
        let arrival = self.slots.get_mut(self.first)?.take()?;
        self.first = self.wrap(self.first.saturating_add(1));
        self.len = self.len.saturating_sub(1);
        Some(arrival)
    }

    /// When the next message arrives.
    pub(super) fn next_time(&self) -> Option<EpochNanos> {
        if self.len == 0 {
            return None;
        }
        self.slots.get(self.first)?.as_ref().map(|arrival| arrival.at)
    }

    fn wrap(&self, index: usize) -> usize {
        if index >= self.slots.len() { index.saturating_sub(self.slots.len()) } else { index }
    }
}
