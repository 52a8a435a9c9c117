//! The seam between what the model says and what is asked of the risk gate: firms plug in their own [`Controller`].
//!
//! The house's own is [`ThresholdController`]: a position target from the controller head, a quote at or behind the best
//! price, a take when the predicted move pays for it.

mod orders;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows panics, as it should")]
mod tests;
mod threshold;

use peregrine_model::Heads;
use peregrine_types::{
    BookState, EpochNanos, Execution, MidX2, OrderId, OrderIntent, Position, ReasonCode, SymbolId, TickTable, TopOfBook,
};

use crate::IntentBatch;

pub use threshold::ThresholdController;

/// What a controller sees of the moment it decides on.
#[derive(Clone, Copy, Debug)]
pub struct DecisionView<'a> {
    /// The instrument.
    pub symbol: SymbolId,
    /// Its slot among the watched symbols.
    pub slot: usize,
    /// `recv_time` of the event decided on.
    pub now: EpochNanos,
    /// Best bid and ask after the event.
    pub top: TopOfBook,
    /// What stands against the book.
    pub state: BookState,
    /// The instrument's price steps: every price of an order must be on them.
    pub ticks: &'a TickTable,
    /// What the model says.
    pub heads: &'a Heads,
}

impl DecisionView<'_> {
    /// Twice the mid, `None` unless both sides are there.
    #[must_use]
    pub fn mid_x2(&self) -> Option<MidX2> {
        Some(MidX2::of(self.top.bid?.price, self.top.ask?.price))
    }
}

/// What came of a decision. The number is part of the log format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Everything is as wanted.
    #[default]
    Held = 0,
    /// A quote was asked for.
    Quoted = 1,
    /// A take was asked for.
    Took = 2,
    /// A resting order that is not wanted any more is to be cancelled.
    Withdrew = 3,
    /// An order is wanted but answers from gate or venue are awaited first.
    Waited = 4,
    /// An order is wanted but the pause after a denial or rejection is not over.
    BackedOff = 5,
    /// Something stands against the book: nothing rests.
    BookNotGood = 6,
    /// The event is too unlike what the model expected: nothing rests.
    Surprised = 7,
    /// The model is not sure of the regime: nothing rests.
    RegimeUnsure = 8,
    /// Features or model were not finite: nothing rests, and the symbol is blocked until it is released.
    NonFinite = 9,
}

/// From heads to intents, for every watched symbol. Symbols are named by slot, dense from 0, below the count given at
/// the start; an unknown slot does nothing. Implementations keep the hot path's rules: no allocation, no clock, no panic.
pub trait Controller {
    /// Decides on one moment and writes what it wants into `out`.
    fn decide(&mut self, view: &DecisionView<'_>, out: &mut IntentBatch) -> Outcome;

    /// Goes through [`Controller::decide`] on the present moment and remembers nothing of it: called while nothing happens, so
    /// that its code and memory are warm when something does. What it writes into `out` is thrown away. Does nothing unless
    /// it is implemented.
    fn rehearse(&self, view: &DecisionView<'_>, out: &mut IntentBatch) {
        let _unused = (view, out);
    }

    /// Asks for the cancellation of whatever rests for a slot, whether or not the book is good. Called again while
    /// orders are left; must not ask twice for the same one.
    fn withdraw(&mut self, slot: usize, now: EpochNanos, out: &mut IntentBatch);

    /// The risk gate approved an intent under `order_id`.
    fn on_approved(&mut self, slot: usize, intent: &OrderIntent, order_id: OrderId);

    /// The risk gate denied an intent.
    fn on_denied(&mut self, slot: usize, intent: &OrderIntent, reason: ReasonCode, now: EpochNanos);

    /// The venue reported on one of our orders; `execution.visible_time` is now.
    fn on_execution(&mut self, slot: usize, execution: &Execution);

    /// Whether an order of a slot rests or is on its way.
    fn has_orders(&self, slot: usize) -> bool;

    /// What is held of a slot's symbol, by the fills reported.
    fn position(&self, slot: usize) -> Position;

    /// The position aimed at, as the log shows it.
    fn target(&self, slot: usize) -> Position;

    /// Feeds everything remembered to `write`, in a fixed order and byte order, for the state hash.
    fn write_state(&self, write: &mut dyn FnMut(&[u8]));
}
