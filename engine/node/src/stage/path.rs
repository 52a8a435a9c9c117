//! What the machine needs of a send stage, be it the paper venue or a live session.

use peregrine_book::{BookUpdate, MarketBooks};
use peregrine_eventlog::records::HeardRecord;
use peregrine_risk::{ApprovedOrder, Refused};
use peregrine_types::{EpochNanos, EventSeq, MarketEvent, Nanos, OrderId, ReasonCode};

use super::machine::Inbox;

/// What the way to the venue permits now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// Why nothing new may be sent; `None`: orders may go out.
    pub block: Option<ReasonCode>,
    /// The next order's number must lie above this one.
    pub last_number: OrderId,
    /// The moment, by the clock of the way: for what is to be done though no event comes.
    pub now: EpochNanos,
}

/// Where approved orders go: a ring, or a way to a venue that may refuse one.
pub trait OrderSink: FnMut(ApprovedOrder) -> Result<(), Refused> {}

impl<F: FnMut(ApprovedOrder) -> Result<(), Refused>> OrderSink for F {}

/// How much of the way is rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// What this program does.
    Own,
    /// What the kernel does for it, too.
    Whole,
}

/// A way for orders to a venue, and for its reports back. All of it runs on the thread of the decide stage.
pub trait SendPath<B: MarketBooks>: Send {
    /// Whether a venue outside of this program is at the other end: it must be polled, and may forbid orders.
    const IS_LIVE: bool;
    /// Whether the log of a live run stands for the venue: see [`SendPath::next_heard`].
    const IS_REPEATED: bool = false;

    /// Before the event of `now` is applied to the books.
    fn before_event(&mut self, now: EpochNanos, books: &B, out: &mut Inbox);

    /// An event was just applied to the books.
    fn after_event(&mut self, event: &MarketEvent, update: &BookUpdate, books: &B, out: &mut Inbox);

    /// An order is likely: reads what [`SendPath::accept`] will need, so that it is on its way meanwhile. Changes
    /// nothing.
    #[inline]
    fn prefetch_hint(&self) {}

    /// Nothing happens: goes through what [`SendPath::accept`] does with an order, as far as that changes nothing, so that the
    /// next one finds it warm.
    #[inline]
    fn keep_warm(&mut self, _: Rehearsal) {}

    /// Takes an approved order or cancel on its way.
    ///
    /// # Errors
    /// [`Refused`] with the order and why it cannot be taken: it was not sent and never will be.
    fn accept(&mut self, approved: ApprovedOrder) -> Result<(), Refused>;

    /// How old a decision may be, by the clock, when its order is to leave; before the first order. A way without a clock
    /// keeps to the time of its input, where no decision is ever old.
    fn limit_decision_age(&mut self, _: Nanos) {}

    /// Reads what the venue said and sends what waits; after each event and at the end of each turn.
    fn poll(&mut self, out: &mut Inbox);

    /// What is permitted now.
    fn permit(&self) -> Permit;

    /// Of a way that repeats a live run: the next thing that was heard when no more events were handled than come before
    /// the one of the number `before`; taken out.
    fn next_heard(&mut self, _before: EventSeq) -> Option<HeardRecord> {
        None
    }

    /// Up to which time reports are visible when an event of `now` is handled.
    fn visible_by(&self, now: EpochNanos) -> EpochNanos;

    /// The input is about to end: a live venue gets no new orders any more, and what is open there is cancelled.
    fn stop(&mut self) {}

    /// The input has ended; whether everything that was to be done is done. Called again until it is.
    fn finish(&mut self, books: &B, out: &mut Inbox) -> bool;
}
