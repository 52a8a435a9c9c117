//! The vocabulary: what goes into the venue and what comes out of it.

use peregrine_gateway::ouch50::{CancelReason, RejectReason};
use peregrine_types::{OrderRef, Price, Side, SymbolId};

/// A moment of the session: nanoseconds since midnight of the venue's zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(pub u64);

/// A participant's account, as an index into [`crate::VenueConfig::firms`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u32);

/// A firm: self-trade prevention works between orders of the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FirmId(pub u32);

/// How long an order may live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// Until the market closes.
    #[default]
    Day,
    /// Until the end of the system's hours, extended trading included.
    Extended,
    /// As [`Lifetime::Extended`], and no longer than until this time of the day: what is left then is cancelled before
    /// anything else of that time. One that is not ahead is refused.
    Until(TimeOfDay),
    /// Fills what it can at once; the rest is cancelled.
    ImmediateOrCancel,
    /// Fills whole at once, or is cancelled whole.
    FillOrKill,
}

/// How much of an order the market sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Display {
    /// All of it.
    #[default]
    Displayed,
    /// Nothing; ranks behind displayed orders of its price.
    Hidden,
    /// At most `floor` shares at a time; when they are gone, the next ones show at the back of the queue.
    Iceberg {
        /// Displayed shares, above 0.
        floor: u32,
    },
}

/// Whether an order belongs to a cross.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Auction {
    /// Continuous trading.
    #[default]
    None,
    /// The opening cross alone.
    Opening,
    /// The closing cross alone.
    Closing,
}

/// What happens when an arriving order would trade with a resting one of its own firm. The arriving order's choice
/// holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SelfTrade {
    /// They trade.
    #[default]
    Allow,
    /// Both lose the quantity that would have traded.
    DecrementBoth,
    /// The resting order is cancelled.
    CancelOldest,
    /// What is left of the arriving order is cancelled.
    CancelNewest,
}

/// Everything about an order but whose it is, what it is in, its side and its quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    /// Limit, on the tick; `None` for a market order. For a pegged order the worst price it accepts.
    pub price: Option<Price>,
    /// How long it may live.
    pub lifetime: Lifetime,
    /// How much of it is seen.
    pub display: Display,
    /// Never takes liquidity when it arrives: it is cancelled instead.
    pub is_post_only: bool,
    /// Follows the middle of the venue's displayed best bid and ask, rounded down to 0.0001; never displayed. While
    /// there is no middle strictly between the two it waits.
    pub is_midpoint_peg: bool,
    /// Sleeps until a trade at or beyond this price (at or above for buys, at or below for sells).
    pub stop_price: Option<Price>,
    /// Whether it belongs to a cross.
    pub auction: Auction,
    /// What it does about orders of its own firm.
    pub self_trade: SelfTrade,
}

impl Terms {
    /// A displayed day order with a limit, and nothing else.
    #[must_use]
    pub fn limit(price: Price) -> Self {
        Self { price: Some(price), ..Self::default() }
    }

    /// Whether it fills at once or not at all: it can never rest.
    #[must_use]
    pub const fn is_immediate(&self) -> bool {
        match self.lifetime {
            Lifetime::ImmediateOrCancel | Lifetime::FillOrKill => true,
            Lifetime::Day | Lifetime::Extended | Lifetime::Until(_) => self.price.is_none() && !self.is_midpoint_peg,
        }
    }
}

/// An order on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Whose.
    pub account: AccountId,
    /// The account's own name for it, echoed.
    pub token: u64,
    /// The instrument.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
    /// Shares, 1 to 999,999.
    pub qty: u32,
    /// Everything else.
    pub terms: Terms,
}

/// No trade takes place outside of these prices, both allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bands {
    /// Lowest price.
    pub lower: Price,
    /// Highest price.
    pub upper: Price,
}

/// What the venue is told. Orders are named by the venue's reference; an account must name its own only, which the
/// port sees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Time passes: what is due happens.
    Clock,
    /// Enter an order.
    Enter(NewOrder),
    /// Replace an order: the new one has another reference and goes to the back of its queue.
    Replace {
        /// The order to be replaced.
        order_ref: OrderRef,
        /// The account's own name for the replacement.
        token: u64,
        /// Total shares of the chain, executed ones included.
        qty: u32,
        /// The terms of the replacement.
        terms: Terms,
    },
    /// Reduce an order, which keeps its priority.
    Cancel {
        /// The order.
        order_ref: OrderRef,
        /// New intended total size, executed shares included; 0 cancels everything left.
        qty: u32,
    },
    /// Set or lift the price bands of a symbol. Orders beyond them are cancelled.
    SetBands {
        /// The instrument.
        symbol: SymbolId,
        /// The bands, `None` for none.
        bands: Option<Bands>,
    },
    /// Stop trading: no new orders, cancels only.
    Halt {
        /// The instrument.
        symbol: SymbolId,
        /// Reason code of the feed, padded with spaces (ITCH 5.0, Stock Trading Action).
        reason: [u8; 4],
    },
    /// Pause for volatility: orders are taken and not matched (Nasdaq Equity Trader Alert 2016-1: during a halt of its own
    /// listings orders are accepted at once and displayed).
    Pause {
        /// The instrument.
        symbol: SymbolId,
        /// Reason code of the feed, padded with spaces (ITCH 5.0, Stock Trading Action).
        reason: [u8; 4],
    },
    /// Take orders for the reopening without matching them.
    Quote {
        /// The instrument.
        symbol: SymbolId,
    },
    /// Reopen: a cross of everything that rests, then continuous trading.
    Resume {
        /// The instrument.
        symbol: SymbolId,
    },
    /// Publish the imbalance of the next cross.
    Imbalance {
        /// The instrument.
        symbol: SymbolId,
    },
    /// Publish where the reopening of a paused symbol may be (ITCH 5.0, LULD Auction Collar).
    Collars {
        /// The instrument.
        symbol: SymbolId,
        /// The price that the collars were set from.
        reference: Price,
        /// Lowest and highest price of the reopening.
        collars: Bands,
    },
    /// Break an earlier execution, which is published; no order comes back.
    Break {
        /// The instrument.
        symbol: SymbolId,
        /// The execution.
        match_number: u64,
    },
}

/// What became of an order: for its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEvent {
    /// It was accepted.
    Accepted {
        /// The account's own name for it.
        token: u64,
        /// Its reference from now on.
        order_ref: OrderRef,
    },
    /// It, or a replace, was refused.
    Rejected {
        /// The account's own name for it.
        token: u64,
        /// Why.
        reason: RejectReason,
    },
    /// It took the place of another one.
    Replaced {
        /// The order that is gone.
        old_ref: OrderRef,
        /// The account's own name for the new one.
        token: u64,
        /// The new one.
        order_ref: OrderRef,
        /// Shares outstanding.
        open: u32,
    },
    /// Shares traded.
    Executed {
        /// The order.
        order_ref: OrderRef,
        /// How many.
        qty: u32,
        /// At which price.
        price: Price,
        /// Liquidity flag of OUCH 5.0.
        liquidity: u8,
        /// Number of the execution, the same on both sides.
        match_number: u64,
    },
    /// Shares left the order.
    Canceled {
        /// The order.
        order_ref: OrderRef,
        /// How many.
        qty: u32,
        /// Why.
        reason: CancelReason,
    },
    /// Shares left the order so that a firm did not trade with itself.
    Prevented {
        /// The order.
        order_ref: OrderRef,
        /// How many left.
        qty: u32,
        /// How many would have traded.
        prevented_qty: u32,
        /// At which price.
        price: Price,
        /// Whether this order was the arriving one.
        is_remover: bool,
    },
    /// Another part of a reserve order shows, under another reference on the feed, at the back of the queue.
    Restated {
        /// The order.
        order_ref: OrderRef,
        /// Its reference on the feed from now on.
        display_ref: OrderRef,
        /// Displayed shares.
        displayed: u32,
    },
    /// A stop order woke up.
    Triggered {
        /// The order.
        order_ref: OrderRef,
    },
    /// The cancel of a cross order came too late: it is cancelled after the cross.
    CancelPending {
        /// The order.
        order_ref: OrderRef,
    },
    /// A partial cancel of a cross order came too late.
    CancelRejected {
        /// The order.
        order_ref: OrderRef,
    },
}

/// Where the venue's output goes.
pub trait VenueSink {
    /// What became of an order of `account`.
    fn on_order(&mut self, time: TimeOfDay, account: AccountId, event: OrderEvent);
    /// One message of the feed: ITCH 5.0, stamped `time`.
    fn on_market(&mut self, time: TimeOfDay, message: &[u8]);
}
