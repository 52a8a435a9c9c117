//! Own messages on their way to the venue: first in, first out, as on one session.

use peregrine_types::{EpochNanos, Full, Nanos, OrderCommand};

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
    /// How many of them, from the first on, have their time of arrival.
    timed_len: usize,
    last_time: EpochNanos,
}

impl Arrivals {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: vec![None; capacity].into_boxed_slice(),
            first: 0,
            len: 0,
            timed_len: 0,
            last_time: EpochNanos::MIN,
        }
    }

    /// Appends a message.
    pub(super) fn push(&mut self, command: OrderCommand) -> Result<(), Full<OrderCommand>> {
        if self.len == self.slots.len() {
            return Err(Full(command));
        }
        let index = self.wrap(self.first.saturating_add(self.len));
        let Some(slot) = self.slots.get_mut(index) else { return Err(Full(command)) };
        *slot = Some(Arrival { at: command.decision_time(), command });
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    /// Gives every message sent before `now` its time of arrival; one that would overtake an earlier one arrives together
    /// with it. Not sooner, because what a model goes by, the market up to the sending, is known only then.
    pub(super) fn set_out(&mut self, now: EpochNanos, mut way_there: impl FnMut(&OrderCommand) -> Nanos) {
        while self.timed_len < self.len {
            let index = self.wrap(self.first.saturating_add(self.timed_len));
            let Some(Some(arrival)) = self.slots.get_mut(index) else { break };
            let sent = arrival.command.decision_time();
            if sent >= now {
                break;
            }
            arrival.at = sent.plus(way_there(&arrival.command)).max(self.last_time);
            self.last_time = arrival.at;
            self.timed_len = self.timed_len.saturating_add(1);
        }
    }

    /// The next message, if it has set out and is there by `now`.
    pub(super) fn pop_up_to(&mut self, now: EpochNanos) -> Option<Arrival> {
        if self.next_time()? > now {
            return None;
        }
        let arrival = self.slots.get_mut(self.first)?.take()?;
        self.first = self.wrap(self.first.saturating_add(1));
        self.len = self.len.saturating_sub(1);
        self.timed_len = self.timed_len.saturating_sub(1);
        Some(arrival)
    }

    /// When the next message arrives.
    fn next_time(&self) -> Option<EpochNanos> {
        if self.timed_len == 0 {
            return None;
        }
        self.slots.get(self.first)?.as_ref().map(|arrival| arrival.at)
    }

    fn wrap(&self, index: usize) -> usize {
        if index >= self.slots.len() { index.saturating_sub(self.slots.len()) } else { index }
    }
}
