//! Decide and send on one thread: both see the same book, and every event runs to completion before the next.
//!
//! The order of steps for an event of time T is the same in every wiring: own messages that have arrived at the venue by
//! T meet the book as it was; the event is applied to the book; it acts on resting orders; what the venue said and is
//! visible by T reaches the decide stage; the decide stage sees the event. A report of the event itself cannot be
//! visible at T, because the way back takes at least one nanosecond.

use std::collections::VecDeque;

use peregrine_book::MarketBooks;
use peregrine_eventlog::records::HeardKind;
use peregrine_runtime::Stopwatch;
use peregrine_types::{EpochNanos, EventSeq, Execution, Full, MarketEvent, Sink};

use super::decide::{Applied, DecideStage, execution_of, permit_of};
use super::log::wait_turn;
use super::path::SendPath;

/// Reports of the venue on their way to the decide stage, in the order in which they become visible.
#[derive(Debug)]
pub struct Inbox {
    waiting: VecDeque<Execution>,
    capacity: usize,
}

impl Inbox {
    /// Room for `capacity` reports; no more are ever allocated.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { waiting: VecDeque::with_capacity(capacity), capacity }
    }

    /// Room for `count` more; before the first report.
    #[must_use]
    pub fn with_more_room(self, count: usize) -> Self {
        Self::new(self.capacity.saturating_add(count))
    }

    /// The next report that is visible by `now`.
    #[inline]
    pub fn pop_visible(&mut self, now: EpochNanos) -> Option<Execution> {
        if self.waiting.front()?.visible_time > now { None } else { self.waiting.pop_front() }
    }

    /// Whether another report fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.capacity
    }

    /// Whether half of the room is left.
    #[must_use]
    pub fn is_half_free(&self) -> bool {
        self.waiting.len() <= self.capacity / 2
    }
}

impl Sink<Execution> for Inbox {
    #[inline]
    fn push(&mut self, execution: Execution) -> Result<(), Full<Execution>> {
        if !self.has_room() {
            return Err(Full(execution));
        }
        self.waiting.push_back(execution);
        Ok(())
    }
}

/// Book, decide stage and send stage, stepping together.
#[derive(Debug)]
pub struct Machine<B, W, S> {
    /// The books.
    pub books: B,
    /// The decide stage.
    pub decide: DecideStage<B, W>,
    /// The send stage.
    pub send: S,
    /// Reports on their way.
    pub inbox: Inbox,
}

impl<B: MarketBooks, W: Stopwatch, S: SendPath<B>> Machine<B, W, S> {
    /// Runs one event to completion.
    #[inline]
    pub fn on_event(&mut self, event: &MarketEvent) {
        if S::IS_REPEATED {
            self.hear_again(self.decide.next_seq());
        }
        let Self { books, decide, send, inbox } = self;
        let started = decide.begin(event);
        send.before_event(event.recv_time, books, inbox);
        let update = books.apply(event);
        let is_cold = S::IS_LIVE && started.is_watched() && !decide.is_warm();
        if is_cold && (update.is_top_changed || update.trade.is_some()) {
            send.prefetch_hint();
        }
        send.after_event(event, &update, books, inbox);
        while let Some(execution) = inbox.pop_visible(send.visible_by(event.recv_time)) {
            decide.on_execution(&execution);
        }
        let applied = Applied { started, event, update: &update };
        decide.on_event(&applied, books, &mut |order| send.accept(order));
        if S::IS_LIVE {
            self.poll();
        }
    }

    /// Hears what a live venue said, and what it permits. The orders of the last event are on their way. What was on its way
    /// when its book went bad is withdrawn as soon as the venue has it: in a gap no event will come.
    #[inline]
    pub fn poll(&mut self) {
        self.send.poll(&mut self.inbox);
        self.hear_all();
        let Self { books, decide, send, .. } = self;
        let permit = send.permit();
        decide.on_permit(&permit);
        decide.withdraw_without_event(permit.now, books, &mut |order| send.accept(order));
    }

    /// What the decide stage of the repeated run heard before the event of the number `before` was handled.
    fn hear_again(&mut self, before: EventSeq) {
        let Self { books, decide, send, .. } = self;
        while let Some(record) = send.next_heard(before) {
            match record.kind {
                HeardKind::Report => decide.on_execution(&execution_of(&record)),
                HeardKind::Permit => decide.on_permit(&permit_of(&record)),
                HeardKind::Withdrawal => {
                    decide.withdraw_without_event(record.visible_time, books, &mut |order| send.accept(order));
                }
                // Answers to what is given on its way, and the begin: nothing that comes by itself.
                HeardKind::Refused | HeardKind::Began => {}
            }
        }
    }

    fn hear_all(&mut self) {
        while let Some(execution) = self.inbox.pop_visible(EpochNanos::MAX) {
            self.decide.on_execution(&execution);
        }
    }

    /// The input is about to end: see [`SendPath::stop`].
    pub fn stop(&mut self) {
        self.send.stop();
        if S::IS_LIVE {
            self.poll();
        }
    }

    /// The input broke off, as a run did that was killed: what was heard before the next event is heard, and what is on its
    /// way stays there.
    pub fn cut(&mut self) {
        if S::IS_REPEATED {
            self.hear_again(self.decide.next_seq());
        }
        self.decide.finish(&self.books);
    }

    /// The input has ended: what is on its way arrives, and every report becomes visible. A live venue is waited for.
    pub fn finish(&mut self) {
        if S::IS_REPEATED {
            self.hear_again(EventSeq(u64::MAX));
        }
        let mut turns = 0;
        while !self.send.finish(&self.books, &mut self.inbox) {
            self.hear_all();
            wait_turn(&mut turns);
        }
        self.hear_all();
        self.decide.finish(&self.books);
    }
}

impl<B: MarketBooks, W: Stopwatch, S: SendPath<B>> Sink<MarketEvent> for Machine<B, W, S> {
    #[inline]
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.on_event(&event);
        Ok(())
    }
}
