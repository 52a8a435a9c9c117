//! Our own orders on their way out (intent, command) and what came of them (executions).

use crate::{EpochNanos, EventSeq, MatchNumber, Notional, OrderId, Price, Qty, ReasonCode, SymbolId};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Buy or sell; a bid is a resting buy, an ask a resting sell.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(u8)]
pub enum Side {
    /// Buys: rests as a bid.
    #[default]
    Buy = 0,
    /// Sells: rests as an ask.
    Sell = 1,
}

impl Side {
    /// Both, in the order in which tables list them.
    pub const BOTH: [Self; 2] = [Self::Buy, Self::Sell];

    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// 0 for buy, 1 for sell.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The letter of the wire protocols: `B` or `S`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Buy => 'B',
            Self::Sell => 'S',
        }
    }
}

/// How long an order may live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum TimeInForce {
    /// Until the market closes, or it is cancelled.
    #[default]
    Day = 0,
    /// Fills what it can at once; the rest is cancelled.
    ImmediateOrCancel = 1,
}

/// A limit order that somebody wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The instrument.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
    /// Limit price, on the instrument's tick.
    pub price: Price,
    /// Quantity in the instrument's unit, above zero.
    pub qty: Qty,
    /// How long it may live.
    pub time_in_force: TimeInForce,
    /// Refused by the venue rather than executed on arrival.
    pub is_post_only: bool,
}

/// What the strategy wants. Only the risk gate reads it; the gateway never sees one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderIntent {
    /// Send a new order.
    New(NewOrder),
    /// Cancel what is left of one of our orders.
    Cancel {
        /// The order to cancel.
        order_id: OrderId,
        /// Its instrument.
        symbol: SymbolId,
    },
    /// Put another order in the place of one of our resting ones, in one message: it gets a number of its own, stands at
    /// the back of its queue, and keeps side, time in force and post-only (OUCH 5.0, Replace Order).
    Replace {
        /// The order to replace.
        order_id: OrderId,
        /// Its instrument.
        symbol: SymbolId,
        /// Limit price of the replacement, on the instrument's tick.
        price: Price,
        /// What the order, all that it replaced and the replacement may execute *together*, above zero: what was executed
        /// so far counts, so that a fill on the way makes the replacement smaller.
        qty: Qty,
    },
}

impl OrderIntent {
    /// The instrument.
    #[must_use]
    #[inline]
    pub const fn symbol(&self) -> SymbolId {
        match self {
            Self::New(order) => order.symbol,
            Self::Cancel { symbol, .. } | Self::Replace { symbol, .. } => *symbol,
        }
    }
}

/// What is to go to the venue: the content of a `risk::ApprovedOrder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderCommand {
    /// Enter a new order under this id.
    New {
        /// Our id for it.
        order_id: OrderId,
        /// The order.
        order: NewOrder,
        /// The market event that it answers.
        cause: EventSeq,
        /// `recv_time` of that event: the moment of the decision in the time of the input.
        decision_time: EpochNanos,
    },
    /// Cancel what is left of an order.
    Cancel {
        /// The order to cancel.
        order_id: OrderId,
        /// Its replacement, where one is on its way: nobody knows yet which of them lives, so both are cancelled. 0 if
        /// none.
        replacement: OrderId,
        /// Its instrument.
        symbol: SymbolId,
        /// The market event that it answers.
        cause: EventSeq,
        /// `recv_time` of that event.
        decision_time: EpochNanos,
    },
    /// Put an order in the place of another.
    Replace {
        /// Our id for the replacement.
        order_id: OrderId,
        /// The order that it replaces.
        replaces: OrderId,
        /// The replacement; its quantity is the total of the chain, what was executed so far included.
        order: NewOrder,
        /// The market event that it answers.
        cause: EventSeq,
        /// `recv_time` of that event.
        decision_time: EpochNanos,
    },
}

impl OrderCommand {
    /// The order that the command is about; of a replace the replacement.
    #[must_use]
    pub const fn order_id(&self) -> OrderId {
        match self {
            Self::New { order_id, .. } | Self::Cancel { order_id, .. } | Self::Replace { order_id, .. } => *order_id,
        }
    }

    /// The instrument.
    #[must_use]
    pub const fn symbol(&self) -> SymbolId {
        match self {
            Self::New { order, .. } | Self::Replace { order, .. } => order.symbol,
            Self::Cancel { symbol, .. } => *symbol,
        }
    }

    /// The moment of the decision in the time of the input.
    #[must_use]
    pub const fn decision_time(&self) -> EpochNanos {
        match self {
            Self::New { decision_time, .. }
            | Self::Cancel { decision_time, .. }
            | Self::Replace { decision_time, .. } => *decision_time,
        }
    }
}

/// Whether a fill gave or took liquidity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Liquidity {
    /// Our order rested and was hit.
    #[default]
    Added = 0,
    /// Our order hit a resting one.
    Removed = 1,
}

/// What a venue says of one of our orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum ExecutionKind {
    /// The order is live.
    Accepted = 0,
    /// The venue refused the order: it never lived.
    Rejected = 1,
    /// A part of the order, or all, was executed.
    Filled = 2,
    /// What was left of the order is gone.
    Canceled = 3,
    /// The venue refused a cancel: the order is as it was, or already gone.
    CancelRejected = 4,
    /// A part of what was left is gone, the rest lives on (a self-match that was prevented, a cut by the venue).
    Reduced = 5,
    /// An earlier fill does not count any more: the position goes back, the order stays as it is.
    Busted = 6,
    /// The order, a replacement, has taken the place of the one that it replaces, which is gone. A replacement that is
    /// refused is `Rejected`, and the other order is as it was.
    Replaced = 7,
}

/// One report of the venue on one of our orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Our order.
    pub order_id: OrderId,
    /// The instrument.
    pub symbol: SymbolId,
    /// Side of our order.
    pub side: Side,
    /// What happened.
    pub kind: ExecutionKind,
    /// Whether a fill gave or took liquidity; `Added` for other kinds.
    pub liquidity: Liquidity,
    /// Why, for `Rejected`, `Canceled` and `CancelRejected`; [`ReasonCode::None`] otherwise.
    pub reason: ReasonCode,
    /// Fill price; the order's limit price for other kinds.
    pub price: Price,
    /// Filled quantity; for `Canceled` and `Reduced` the quantity taken off; for `Busted` the quantity of the broken fill;
    /// for `Accepted` the order's quantity; for `Replaced` what is open of the replacement.
    pub qty: Qty,
    /// What is still open after this report.
    pub leaves_qty: Qty,
    /// The venue's number of the fill, unique per session, for `Filled` and `Busted`; 0 for other kinds.
    pub match_number: MatchNumber,
    /// When it happened at the venue.
    pub venue_time: EpochNanos,
    /// When we may know it: `venue_time` plus the way back.
    pub visible_time: EpochNanos,
    /// Cost of a fill (negative: a rebate), of a broken fill the same; zero for other kinds.
    pub fee: Notional,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_its_order_symbol_and_time() {
        let cancel = OrderCommand::Cancel {
            order_id: OrderId(4),
            replacement: OrderId(0),
            symbol: SymbolId(2),
            cause: EventSeq(9),
            decision_time: EpochNanos(77),
        };
        assert_eq!(
            (cancel.order_id(), cancel.symbol(), cancel.decision_time()),
            (OrderId(4), SymbolId(2), EpochNanos(77))
        );
        assert_eq!(Side::Buy.opposite(), Side::Sell);
    }
}
