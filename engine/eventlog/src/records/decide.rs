//! What the decide role writes: decisions with all that they were made from, checkpoints, the latency guard.

use peregrine_types::{
    BookState, EpochNanos, EventKind, EventSeq, ExecutionKind, Liquidity, MatchNumber, Nanos, OrderId, Position, Price,
    Qty, ReasonCode, Side, SymbolId, TimeInForce,
};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

use super::{FEATURE_COUNT, HORIZON_COUNT_MAX};

/// The kind of intent in a decision record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum IntentKind {
    /// Nothing is to be done.
    #[default]
    None = 0,
    /// A new order.
    New = 1,
    /// The cancel of an order.
    Cancel = 2,
    /// A replacement of an order: `order_id` is the replacement's where it was approved, else the order's that was to be
    /// replaced; `intent_qty` is the total of the chain.
    Replace = 3,
    /// A new order of an engine-held order.
    HeldNew = 4,
    /// The cancel of an engine-held order's order.
    HeldCancel = 5,
    /// A replacement of an engine-held order's order; fields as for `Replace`.
    HeldReplace = 6,
}

/// What the engine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum HeldKind {
    /// Stop-loss and take-profit of a position.
    #[default]
    Protection = 0,
    /// A resting order that follows a price.
    Rest = 1,
}

/// What happened to an engine-held order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum HeldAction {
    /// It is held from now on.
    #[default]
    Armed = 0,
    /// Its prices or its quantity changed.
    Changed = 1,
    /// The stop-loss fired: the take-profit is cancelled with it.
    StopFired = 2,
    /// The take-profit fired: the stop-loss is cancelled with it.
    TakeFired = 3,
    /// It has done what it was for.
    Done = 4,
    /// It was let go, or lapsed with its position.
    Canceled = 5,
    /// It waits: no order within the risk limits could bring it about now.
    BeyondLimits = 6,
}

/// What a resting order follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum PegReference {
    /// The middle of best bid and ask.
    #[default]
    Mid = 0,
    /// The best price of its own side.
    Primary = 1,
}

/// A change of an engine-held order; written before any order that follows from it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HeldRecord {
    /// The event that it belongs to, or the next one.
    pub event_seq: EventSeq,
    /// `recv_time` of the last event.
    pub recv_time: EpochNanos,
    /// Our position then.
    pub position: Position,
    /// Average price of the position, 0 when flat.
    pub average_price: Price,
    /// Price of the stop-loss, 0 if none.
    pub stop_price: Price,
    /// Price of the take-profit, 0 if none.
    pub take_price: Price,
    /// Price that a resting order never passes, 0 if none.
    pub limit_price: Price,
    /// Size of the position that is protected; what a resting order has still to execute.
    pub qty: Qty,
    /// Ticks of a resting order behind what it follows.
    pub offset_ticks: u32,
    /// Ticks from which a resting order is replaced.
    pub reprice_ticks: u32,
    /// The instrument.
    pub symbol: SymbolId,
    /// What is held.
    pub kind: HeldKind,
    /// What happened.
    pub action: HeldAction,
    /// Side of the resting order; of the exits of a protection.
    pub side: Side,
    /// What the resting order follows.
    pub reference: PegReference,
    /// 1 if the controller asked for its prices, 0 if they are the configuration's.
    pub is_asked: bool,
    /// Zero.
    pub reserved: [u8; 7],
    /// Zero.
    pub reserved_words: [u64; 27],
}

/// What reached the decide stage beside the market's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum HeardKind {
    /// The run began: `qty` engine-held orders of earlier runs were remembered.
    #[default]
    Began = 0,
    /// The venue reported on one of our orders.
    Report = 1,
    /// What the way to the venue permits changed: `reason` stands against new orders (none: nothing does), and the next
    /// order's number lies above `order_id`.
    Permit = 2,
    /// Orders were withdrawn at `visible_time`, though no event had come.
    Withdrawal = 3,
    /// The way to the venue refused the approved order `order_id`, for `reason`: it never left. It was the one of number `qty`
    /// that was given on its way, counted from 1, cancels included.
    Refused = 4,
}

/// Something that reached the decide stage of a live run and was no event of the market: an input, because a replay must
/// repeat it. Stands where it was heard, before every record that follows from it; what a refusal answers stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HeardRecord {
    /// How many events were handled before: the number of the next one.
    pub event_seq: EventSeq,
    /// Our order; of a permit see [`HeardKind::Permit`].
    pub order_id: OrderId,
    /// As in `Execution`, like every further field: of reports alone, unless the kind says otherwise.
    pub match_number: MatchNumber,
    /// Fill price, or the order's limit.
    pub price: Price,
    /// What the report is about.
    pub qty: Qty,
    /// What is still open.
    pub leaves_qty: Qty,
    /// When it happened at the venue.
    pub venue_time: EpochNanos,
    /// When we knew it.
    pub visible_time: EpochNanos,
    /// Cost of a fill in 10⁻⁹ of the currency.
    pub fee: i64,
    /// The instrument.
    pub symbol: SymbolId,
    /// Why.
    pub reason: ReasonCode,
    /// What was heard.
    pub kind: HeardKind,
    /// What the venue reported.
    pub report: ExecutionKind,
    /// Side of our order.
    pub side: Side,
    /// Whether a fill gave or took liquidity.
    pub liquidity: Liquidity,
    /// Zero.
    pub reserved: [u8; 6],
    /// Zero.
    pub reserved_words: [u64; 27],
}

impl Default for HeardRecord {
    fn default() -> Self {
        Self {
            event_seq: EventSeq(0),
            order_id: OrderId(0),
            match_number: MatchNumber(0),
            price: Price(0),
            qty: Qty(0),
            leaves_qty: Qty(0),
            venue_time: EpochNanos(0),
            visible_time: EpochNanos(0),
            fee: 0,
            symbol: SymbolId(0),
            reason: ReasonCode::None,
            kind: HeardKind::Began,
            report: ExecutionKind::Accepted,
            side: Side::Buy,
            liquidity: Liquidity::Added,
            reserved: [0; 6],
            reserved_words: [0; 27],
        }
    }
}

/// A decision on one market event, and all that it was made from. A decision with several intents writes one record
/// for each, `intent_number` counting from 0.
#[derive(Clone, Copy, Debug, PartialEq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DecisionRecord {
    /// The event that caused it.
    pub event_seq: EventSeq,
    /// `recv_time` of the event: the moment of the decision in the time of the input.
    pub recv_time: EpochNanos,
    /// `exch_time` of the event.
    pub exch_time: EpochNanos,
    /// The event's first identifier (see `MarketEvent`).
    pub cause_id: u64,
    /// The event's price.
    pub cause_price: Price,
    /// The event's quantity.
    pub cause_qty: Qty,
    /// Our position before the decision.
    pub position: Position,
    /// Best bid, 0 if none.
    pub bid_price: Price,
    /// Quantity at the best bid, 0 if none.
    pub bid_qty: Qty,
    /// Best ask, 0 if none.
    pub ask_price: Price,
    /// Quantity at the best ask, 0 if none.
    pub ask_qty: Qty,
    /// Limit price of the intent, 0 if none.
    pub intent_price: Price,
    /// Quantity of the intent, 0 if none.
    pub intent_qty: Qty,
    /// The order that was approved or is to be cancelled, 0 if none.
    pub order_id: OrderId,
    /// The features that the model saw, before scaling.
    pub features: [f32; FEATURE_COUNT],
    /// Predicted return per horizon; 0 from `horizon_count` on.
    pub return_mean: [f32; HORIZON_COUNT_MAX],
    /// Natural logarithm of its variance per horizon.
    pub return_log_var: [f32; HORIZON_COUNT_MAX],
    /// Probability of an up-move, 0 to 1.
    pub up_probability: f32,
    /// Confidence in the regime, 0 to 1.
    pub regime_confidence: f32,
    /// Position target, −1 to 1.
    pub action: f32,
    /// How unlike its expectation the event was (divergence of posterior from prior, nats).
    pub surprise: f32,
    /// The instrument.
    pub symbol: SymbolId,
    /// Kind of the event.
    pub cause_kind: EventKind,
    /// Side of the event.
    pub cause_side: Side,
    /// What is to be done.
    pub intent_kind: IntentKind,
    /// Side of the intent.
    pub intent_side: Side,
    /// How long the intended order may live.
    pub time_in_force: TimeInForce,
    /// 1 if the intended order must not take liquidity.
    pub is_post_only: bool,
    /// What the risk gate said of the intent; [`ReasonCode::None`]: approved, or there was no intent.
    pub verdict: ReasonCode,
    /// What stood against the book ([`BookState::bits`]).
    pub book_state: u8,
    /// The regime's number.
    pub regime: u8,
    /// How many horizons the model has (low nibble), and which intent of the decision this is (high nibble).
    pub horizons_and_intent: u8,
    /// The event's detail code.
    pub cause_detail: u8,
}

impl DecisionRecord {
    /// What stood against the book.
    #[must_use]
    pub const fn book(&self) -> BookState {
        BookState::from_bits(self.book_state)
    }

    /// How many horizons the model has, 0 to 15.
    #[must_use]
    pub const fn horizon_count(&self) -> u8 {
        self.horizons_and_intent & 15
    }

    /// Which intent of the decision this is, from 0 to 15.
    #[must_use]
    pub const fn intent_number(&self) -> u8 {
        self.horizons_and_intent >> 4
    }

    /// The byte that holds both counts; each keeps its low four bits.
    #[must_use]
    pub const fn pack_counts(horizon_count: u8, intent_number: u8) -> u8 {
        (horizon_count & 15) | ((intent_number & 15) << 4)
    }
}

impl Default for DecisionRecord {
    fn default() -> Self {
        Self {
            event_seq: EventSeq(0),
            recv_time: EpochNanos(0),
            exch_time: EpochNanos(0),
            cause_id: 0,
            cause_price: Price(0),
            cause_qty: Qty(0),
            position: Position(0),
            bid_price: Price(0),
            bid_qty: Qty(0),
            ask_price: Price(0),
            ask_qty: Qty(0),
            intent_price: Price(0),
            intent_qty: Qty(0),
            order_id: OrderId(0),
            features: [0.0; FEATURE_COUNT],
            return_mean: [0.0; HORIZON_COUNT_MAX],
            return_log_var: [0.0; HORIZON_COUNT_MAX],
            up_probability: 0.0,
            regime_confidence: 0.0,
            action: 0.0,
            surprise: 0.0,
            symbol: SymbolId(0),
            cause_kind: EventKind::AddOrder,
            cause_side: Side::Buy,
            intent_kind: IntentKind::None,
            intent_side: Side::Buy,
            time_in_force: TimeInForce::Day,
            is_post_only: false,
            verdict: ReasonCode::None,
            book_state: 0,
            regime: 0,
            horizons_and_intent: 0,
            cause_detail: 0,
        }
    }
}

/// A hash over everything decided so far and over the state behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DecideCheckpoint {
    /// Decisions so far.
    pub decision_count: u64,
    /// Events so far.
    pub event_count: u64,
    /// `recv_time` of the last event.
    pub recv_time: EpochNanos,
    /// Orders approved so far.
    pub order_count: u64,
    /// Running hash of everything decided.
    pub decision_hash: [u64; 2],
    /// Hash of the books.
    pub books_hash: [u64; 2],
    /// Hash of the latent states.
    pub latent_hash: [u64; 2],
    /// Hash of positions and open orders.
    pub position_hash: [u64; 2],
    /// Zero.
    pub reserved: [u64; 26],
}

/// What the latency guard did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum GuardAction {
    /// The 99th percentile of inference times was above the warning threshold.
    #[default]
    Warn = 0,
    /// It was above the halt threshold: trading halted, orders cancelled.
    Halt = 1,
    /// The operator released the halt.
    Resume = 2,
}

/// The latency guard acted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GuardHalt {
    /// The last event before it acted.
    pub event_seq: EventSeq,
    /// `recv_time` of that event.
    pub recv_time: EpochNanos,
    /// The inference that put the window's 99th percentile above the threshold.
    pub tipping_latency: Nanos,
    /// The threshold that it passed.
    pub threshold: Nanos,
    /// How many inferences the window held.
    pub window_count: u64,
    /// How many orders were cancelled.
    pub canceled_count: u32,
    /// What it did.
    pub action: GuardAction,
    /// Zero.
    pub reserved: [u8; 3],
    /// Zero.
    pub reserved_words: [u64; 32],
}
