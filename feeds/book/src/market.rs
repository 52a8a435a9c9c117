//! What every implementation of the books can do.

use peregrine_types::{BookState, Level, MarketEvent, OrderRef, Price, Qty, Side, SymbolId, TopOfBook, TradingState};

use crate::{AnomalyCounts, BookConfig, BookConfigError, BookUpdate, Priority};

/// One displayed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestingOrder {
    /// Its instrument.
    pub symbol: SymbolId,
    /// Its side.
    pub side: Side,
    /// Its display price.
    pub price: Price,
    /// What is left of its displayed quantity; never zero.
    pub qty: Qty,
    /// Its place in the queue of its level.
    pub priority: Priority,
}

/// The order-by-order books of one market.
pub trait MarketBooks: Sized {
    /// Empty books with room for what `config` says; the only allocation.
    ///
    /// # Errors
    /// [`BookConfigError`] when a capacity is zero or above its limit.
    fn new(config: BookConfig) -> Result<Self, BookConfigError>;

    /// Applies one event and says what it did. Never panics, whatever the event.
    fn apply(&mut self, event: &MarketEvent) -> BookUpdate;

    /// Reads what `events` will need, so that the memory is on its way when they are applied: call it with the next few
    /// events (a packet's) before applying the first. Changes nothing, and does nothing where it would not help.
    #[inline]
    fn prefetch_hint(&self, events: &[MarketEvent]) {
        let _: &[MarketEvent] = events;
    }

    /// Takes a symbol out of quarantine: the caller has other grounds to believe its book. Returns whether it was in.
    fn clear_quarantine(&mut self, symbol: SymbolId) -> bool;

    /// The best level of each side.
    fn top(&self, symbol: SymbolId) -> TopOfBook;

    /// Everything that stands against trading on this book. A symbol that has no book is quarantined, halted and
    /// one-sided.
    fn state(&self, symbol: SymbolId) -> BookState;

    /// The venue's trading state of the symbol (an operational halt and the session show in `state` only).
    fn trading_state(&self, symbol: SymbolId) -> TradingState;

    /// Shares per round lot, once the symbol's directory entry was seen (ITCH 5.0, Stock Directory).
    fn round_lot(&self, symbol: SymbolId) -> Option<Qty>;

    /// Writes the levels of one side into `out`, best first, and returns how many were written.
    fn depth(&self, symbol: SymbolId, side: Side, out: &mut [Level]) -> usize;

    /// How many levels one side has.
    fn level_count(&self, symbol: SymbolId, side: Side) -> usize;

    /// The level at exactly `price`.
    fn level(&self, symbol: SymbolId, side: Side, price: Price) -> Option<Level>;

    /// A live order.
    fn order(&self, order_ref: OrderRef) -> Option<RestingOrder>;

    /// Writes the orders of one level into `out`, first in the queue first, and returns how many were written (the
    /// first ones, when `out` is too short). Slow path: may visit every live order of the market.
    fn queue(&self, symbol: SymbolId, side: Side, price: Price, out: &mut [(OrderRef, RestingOrder)]) -> usize;

    /// Quantity that stands ahead of a live order on its level. Slow path: may visit every live order of the market;
    /// followers of a queue subtract the updates of lower priority instead.
    fn queue_ahead(&self, order_ref: OrderRef) -> Option<Qty>;

    /// Live orders of the whole market.
    fn order_count(&self) -> usize;

    /// The priority that the next order to join will get: an order of ours that joins now stands behind all lower ones.
    fn next_priority(&self) -> Priority;

    /// Anomalies seen in the whole market.
    fn anomalies(&self) -> AnomalyCounts;

    /// Anomalies seen under one symbol.
    fn symbol_anomalies(&self, symbol: SymbolId) -> AnomalyCounts;

    /// Hash of the canonical content: live orders with their priorities, trading states, quarantines, session and gap
    /// state, anomaly counts of the market. Two books that saw the same events agree, whatever their implementation,
    /// memory layout or capacities (as long as no capacity was exhausted). Slow path: visits every live order.
    fn state_hash(&self) -> u64;
}
