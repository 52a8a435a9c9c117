//! What one event did to the book.

use peregrine_types::{Price, Qty, Side, SymbolId};

use crate::BookAnomaly;

/// An order's place in time: among the orders of one price level the lower number is ahead in the queue (FIFO).
/// Increases with every order that joins, over the whole market and over sessions; 1 is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u64);

/// What happened to the displayed book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BookAction {
    /// Nothing.
    #[default]
    NoChange = 0,
    /// An order joined.
    Added = 1,
    /// An order lost quantity by a cancel (ITCH X); gone when nothing was left.
    Canceled = 2,
    /// An order was deleted (ITCH D).
    Deleted = 3,
    /// A displayed order was executed (ITCH E, C); gone when nothing was left.
    Executed = 4,
    /// An order was replaced (ITCH U): the old one is gone, the new one is at the back of its level.
    Replaced = 5,
    /// A trade that leaves the displayed book alone (ITCH P, Q).
    Traded = 6,
    /// No level moved; the trading state, the session or the trust in the feed may have. A session start also empties
    /// every book.
    StateChanged = 7,
}

/// The order that a replace brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its price; side and symbol are the old order's.
    pub price: Price,
    /// Its displayed quantity.
    pub qty: Qty,
    /// Its place in the queue: the back.
    pub priority: Priority,
}

/// A trade as the tape shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradePrint {
    /// Price of the trade: the resting order's, or the one that ITCH C, P and Q give.
    pub price: Price,
    /// Quantity that was traded; for an over-execution what the resting order still had.
    pub qty: Qty,
    /// Side that took liquidity: opposite to the resting order's. `None` where the venue does not say (P, Q).
    pub aggressor: Option<Side>,
    /// Whether it counts in the volume statistics (false for ITCH C with `Printable` = N).
    pub is_printable: bool,
}

/// What [`MarketBooks::apply`](crate::MarketBooks::apply) did with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookUpdate {
    /// The event's symbol.
    pub symbol: SymbolId,
    /// What happened.
    pub action: BookAction,
    /// Side of the level concerned; `Buy` where none is.
    pub side: Side,
    /// The level concerned (for `Replaced` the old order's, for `Traded` the price of the trade); 0 where none is.
    pub price: Price,
    /// Quantity added to or removed from that level; 0 where none was.
    pub qty: Qty,
    /// Priority of the order concerned (for `Replaced` the old one's); 0 where none is.
    pub priority: Priority,
    /// Whether the order concerned is no longer in the book.
    pub is_order_gone: bool,
    /// The new order of a `Replaced`; `None` when it was refused (see `anomaly`).
    pub replacement: Option<Placed>,
    /// The trade, if the event was one.
    pub trade: Option<TradePrint>,
    /// Whether the best price or the best quantity of either side differs from before the event.
    pub is_top_changed: bool,
    /// What was impossible about the event. The symbol is quarantined.
    pub anomaly: Option<BookAnomaly>,
}

impl BookUpdate {
    /// An update of `symbol` that says `action` and nothing else.
    #[inline]
    #[must_use]
    pub const fn new(symbol: SymbolId, action: BookAction) -> Self {
        Self {
            symbol,
            action,
            side: Side::Buy,
            price: Price(0),
            qty: Qty(0),
            priority: Priority(0),
            is_order_gone: false,
            replacement: None,
            trade: None,
            is_top_changed: false,
            anomaly: None,
        }
    }
}
