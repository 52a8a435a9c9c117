//! What the send role writes: every step in the life of every order.

use peregrine_types::{
    EpochNanos, EventSeq, Liquidity, MatchNumber, OrderId, Position, Price, Qty, ReasonCode, Side, SymbolId,
    TimeInForce,
};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// A step in the life of one of our orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum OrderTransition {
    /// The order was handed to the venue session; written before it leaves.
    #[default]
    Submitted = 0,
    /// A cancel was handed to the venue session; written before it leaves.
    CancelRequested = 1,
    /// The order is live.
    Accepted = 2,
    /// A part was executed.
    PartiallyFilled = 3,
    /// The rest was executed: the order is gone.
    Filled = 4,
    /// What was left is gone.
    Canceled = 5,
    /// The venue refused the order.
    Rejected = 6,
    /// The venue refused a cancel.
    CancelRejected = 7,
    /// A report that was known already; nothing changed.
    Repeated = 8,
    /// A report that the order's state does not allow: counted, and nothing changed, but a fill is money and was booked.
    Illegal = 9,
    /// A part of what was left is gone, the rest lives on.
    Reduced = 10,
    /// An earlier fill does not count any more: the position went back.
    Busted = 11,
    /// No answer within the configured time: what became of the message is unknown.
    Overdue = 12,
    /// The same message was handed to the venue session once more; written before it leaves.
    Resent = 13,
    /// A replacement was handed to the venue session, under the order's own number; written before it leaves. The order
    /// that it is to replace is in `replaces`.
    ReplaceRequested = 14,
    /// The replacement is live, and the order that it replaces is gone.
    Replaced = 15,
    /// The replacement never lived: the order that it was to replace is as it was, or has ended.
    ReplaceRejected = 16,
}

/// A step in the life of one of our orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OrderRecord {
    /// Our order.
    pub order_id: OrderId,
    /// The market event that the order, or the cancel, answers.
    pub event_seq: EventSeq,
    /// `recv_time` of that event.
    pub decision_time: EpochNanos,
    /// When it happened at the venue; for a submission, when the venue will have it.
    pub venue_time: EpochNanos,
    /// When we may know it.
    pub visible_time: EpochNanos,
    /// Fill price for fills, limit price otherwise.
    pub price: Price,
    /// Quantity of this step: ordered, filled or taken off.
    pub qty: Qty,
    /// What is still open after it.
    pub leaves_qty: Qty,
    /// Filled so far, this step included.
    pub filled_qty: Qty,
    /// Our position in the symbol after it.
    pub position: Position,
    /// The venue's number of a fill, 0 otherwise.
    pub match_number: MatchNumber,
    /// Cost of a fill in 10⁻⁹ of the currency (negative: a rebate), saturated at the range of an i64.
    pub fee: i64,
    /// The instrument.
    pub symbol: SymbolId,
    /// Why, for refusals and cancels.
    pub reason: ReasonCode,
    /// What happened.
    pub transition: OrderTransition,
    /// Side of the order.
    pub side: Side,
    /// Whether a fill gave or took liquidity.
    pub liquidity: Liquidity,
    /// How long the order may live.
    pub time_in_force: TimeInForce,
    /// 1 if the order must not take liquidity.
    pub is_post_only: bool,
    /// The order that this one is to replace or has replaced: 40 bits, little-endian; 0 for an order that replaces none.
    pub replaces: [u8; 5],
}

impl OrderRecord {
    /// The order that this one is to replace or has replaced; 0 if none.
    #[must_use]
    pub const fn replaced_id(&self) -> OrderId {
        let [a, b, c, d, e] = self.replaces;
        OrderId(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }

    /// An order's id as [`OrderRecord::replaces`] holds it: its low 40 bits, and ids are dense from 1.
    #[must_use]
    pub const fn pack_replaced(order_id: OrderId) -> [u8; 5] {
        let [a, b, c, d, e, ..] = order_id.0.to_le_bytes();
        [a, b, c, d, e]
    }
}
