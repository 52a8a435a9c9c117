//! The payloads of all records, stream by stream: what the report, the node and `peregrine inspect` read.
//!
//! Every payload fills its stream's record exactly (record length less the header of 16 bytes), has no implicit
//! padding and is read in place by a checked cast. Bytes named `reserved` are zero. Prices are 10⁻⁹ of the currency,
//! times UTC nanoseconds, quantities the instrument's unit, as everywhere.

use peregrine_types::{
    BookState, EpochNanos, EventKind, EventSeq, Liquidity, MatchNumber, Nanos, OrderId, Position, Price, Qty,
    ReasonCode, Side, Symbol, SymbolId, TimeInForce,
};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

use crate::{Decide, Feed, Measure, Send, Stream, StreamTag, format::RECORD_HEADER_LEN};

/// How many features a decision record holds.
pub const FEATURE_COUNT: usize = 32;
/// How many prediction horizons a decision record has room for.
pub const HORIZON_COUNT_MAX: usize = 4;
/// How many events one input checkpoint covers.
pub const EVENTS_PER_CHECKPOINT: u64 = 256;

/// A payload: plain bytes that belong to one stream and have one kind.
pub trait Payload: TryFromBytes + IntoBytes + Immutable + KnownLayout + Copy + 'static {
    /// The stream that takes it.
    type Stream: StreamTag;
    /// The kind that its records state.
    const KIND: RecordKind;
}

macro_rules! records {
    ($($(#[$doc:meta])* $payload:ident = $code:literal, $stream:ident;)*) => {
        /// What a record's payload is. The number is part of the log format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum RecordKind {
            $($(#[$doc])* $payload = $code,)*
        }

        impl RecordKind {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$payload,)*];

            /// The number that files hold.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The kind of a number from a file, `None` where no kind has it.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($code => Some(Self::$payload),)*
                    _ => None,
                }
            }

            /// The name, for people.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$payload => stringify!($payload),)* }
            }

            /// The stream that records of this kind stand in.
            #[must_use]
            pub const fn stream(self) -> Stream {
                match self { $(Self::$payload => Stream::$stream,)* }
            }
        }

        /// A payload of any kind, borrowed from the log: for programs that show whatever is there.
        #[derive(Clone, Copy, Debug)]
        pub enum AnyPayload<'a> {
            $($(#[$doc])* $payload(&'a $payload),)*
        }

        impl<'a> AnyPayload<'a> {
            /// The payload of a record of `kind`, or `None` when a field of it holds no valid value.
            pub(crate) fn parse(kind: RecordKind, bytes: &'a [u8]) -> Option<Self> {
                match kind {
                    $(RecordKind::$payload => $payload::try_ref_from_bytes(bytes).ok().map(Self::$payload),)*
                }
            }
        }

        $(
            impl Payload for $payload {
                type Stream = $stream;
                const KIND: RecordKind = RecordKind::$payload;
            }
            const _: () = assert!(size_of::<$payload>() + RECORD_HEADER_LEN == Stream::$stream.record_len());
        )*
    };
}

records! {
    /// Where the input stands, every [`EVENTS_PER_CHECKPOINT`] events and at its end.
    InputCheckpoint = 1, Feed;
    /// A symbol got its dense id.
    SymbolListed = 2, Feed;
    /// Messages are missing, or the missing ones came.
    GapRecord = 3, Feed;
    /// A transport session began, rolled or ended.
    SessionRecord = 4, Feed;
    /// The venue stopped or resumed trading a symbol.
    TradingStateRecord = 5, Feed;
    /// A policy for a full ring or a stale book acted: an input, because a replay must repeat it.
    PolicyRecord = 6, Feed;
    /// A decision on a market event, and all that it was made from.
    DecisionRecord = 32, Decide;
    /// A hash over everything decided so far and over the state behind it.
    DecideCheckpoint = 33, Decide;
    /// The latency guard warned or halted: an input, because a replay must repeat it.
    GuardHalt = 34, Decide;
    /// A step in the life of one of our orders.
    OrderRecord = 64, Send;
    /// One measured duration.
    DurationRecord = 96, Measure;
    /// A distribution of durations.
    HistogramRecord = 97, Measure;
    /// A fact about the run: host, backend, wiring, versions.
    RunFact = 98, Measure;
}

/// Where the input stands, every [`EVENTS_PER_CHECKPOINT`] events and at its end. Two runs over one input write the same
/// checkpoints, so the first that differs says between which events to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InputCheckpoint {
    /// Market events so far.
    pub event_count: u64,
    /// Messages of the venue so far; one message may be two events.
    pub message_count: u64,
    /// Bytes of input so far.
    pub input_offset: u64,
    /// Running hash of all events so far.
    pub event_hash: [u64; 2],
    /// `recv_time` of the last event.
    pub recv_time: EpochNanos,
}

/// A symbol got its dense id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SymbolListed {
    /// The name.
    pub name: Symbol,
    /// The first event about it.
    pub event_seq: EventSeq,
    /// `recv_time` of that event.
    pub recv_time: EpochNanos,
    /// The id.
    pub symbol: SymbolId,
    /// Units in a round lot, 0 if not said.
    pub round_lot: u32,
    /// The venue's own number of it (ITCH `Stock Locate`).
    pub locate: u16,
    /// Zero.
    pub reserved: [u8; 14],
}

/// A gap's beginning or end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum GapPhase {
    /// The first packet beyond the gap came.
    #[default]
    Start = 0,
    /// The missing messages came.
    Recovered = 1,
    /// The missing messages were given up.
    Lost = 2,
}

/// Messages are missing, or the missing ones came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GapRecord {
    /// Sequence number of the first missing message.
    pub first_missing: u64,
    /// Sequence number of the first message received beyond the gap.
    pub next_received: u64,
    /// How many messages are missing, or came after all.
    pub message_count: u64,
    /// The event that tells the books.
    pub event_seq: EventSeq,
    /// `recv_time` of that event.
    pub recv_time: EpochNanos,
    /// What happened to the gap.
    pub phase: GapPhase,
    /// Zero.
    pub reserved: [u8; 7],
}

/// A step of a transport session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum SessionPhase {
    /// It began; books start empty.
    #[default]
    Start = 0,
    /// Another session took its place.
    Roll = 1,
    /// It ended.
    End = 2,
}

/// A transport session began, rolled or ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SessionRecord {
    /// The session's name as on the wire (MoldUDP64, `Session`), zero for a raw file.
    pub session: [u8; 10],
    /// What happened.
    pub phase: SessionPhase,
    /// Zero.
    pub reserved: [u8; 5],
    /// The next sequence number.
    pub next_sequence: u64,
    /// Midnight of the session's day in the venue's zone.
    pub midnight: EpochNanos,
    /// The event that tells the books.
    pub event_seq: EventSeq,
    /// `recv_time` of that event.
    pub recv_time: EpochNanos,
}

/// The venue stopped or resumed trading a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TradingStateRecord {
    /// The event.
    pub event_seq: EventSeq,
    /// Its `recv_time`.
    pub recv_time: EpochNanos,
    /// Its `exch_time`.
    pub exch_time: EpochNanos,
    /// The reason as the venue writes it, big-endian ASCII, 0 if none.
    pub reason: u64,
    /// The symbol, [`SymbolId::MARKET`] for the whole market.
    pub symbol: SymbolId,
    /// The kind of the event.
    pub kind: EventKind,
    /// The venue's code of the state.
    pub detail: u8,
    /// Zero.
    pub reserved: [u8; 10],
}

/// What a policy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum PolicyAction {
    /// Market events were dropped because the ring to `decide` was full.
    #[default]
    EventsDropped = 0,
    /// Books were marked stale and wait for a resynchronisation.
    BookStale = 1,
    /// An approved order was denied because the ring to `send` was full.
    OrderDenied = 2,
    /// Trading stopped because the log was full.
    TradingStopped = 3,
}

/// A policy acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyRecord {
    /// The last event before it acted.
    pub event_seq: EventSeq,
    /// `recv_time` of that event.
    pub recv_time: EpochNanos,
    /// How many events or orders it concerned.
    pub count: u64,
    /// The symbol, [`SymbolId::MARKET`] for all.
    pub symbol: SymbolId,
    /// What it did.
    pub action: PolicyAction,
    /// Zero.
    pub reserved: [u8; 19],
}

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
    /// A report that the order's state does not allow; nothing changed, and it was counted.
    Illegal = 9,
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
    /// Zero.
    pub reserved: [u8; 5],
}

/// What a duration or a histogram measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u16)]
pub enum Measured {
    /// One message from bytes to event.
    #[default]
    Decode = 0,
    /// One event applied to the book.
    Book = 1,
    /// The features of one event.
    Features = 2,
    /// From event to heads.
    Observe = 3,
    /// The step of the latent state after a decision.
    Advance = 4,
    /// Controller and risk gate.
    Decide = 5,
    /// From the event being available to its approved order being recorded.
    EventToOrder = 6,
    /// One turn of the feed role.
    FeedTurn = 7,
    /// One turn of the decide role.
    DecideTurn = 8,
    /// One turn of the send role.
    SendTurn = 9,
    /// One turn of the record role.
    RecordTurn = 10,
    /// One group sync of the log.
    LogSync = 11,
    /// From an event's due time to its being taken (open loop).
    QueueWait = 12,
}

/// One measured duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DurationRecord {
    /// The event that it belongs to.
    pub event_seq: EventSeq,
    /// When it began, by the system clock.
    pub start_time: EpochNanos,
    /// How long it took.
    pub duration: Nanos,
    /// The order that it belongs to, 0 if none.
    pub order_id: OrderId,
    /// What was measured.
    pub measured: Measured,
    /// Zero.
    pub reserved: [u8; 14],
}

/// A distribution of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HistogramRecord {
    /// How many durations.
    pub count: u64,
    /// Median.
    pub p50: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
    /// 99.9th percentile.
    pub p999: Nanos,
    /// The longest one.
    pub max: Nanos,
    /// What was measured.
    pub measured: Measured,
    /// Zero.
    pub reserved: [u8; 6],
}

/// A fact about the run, as a name and a short text; longer texts are cut at a character boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RunFact {
    /// The name, UTF-8, filled up with zeros.
    pub name_bytes: [u8; 16],
    /// The text, UTF-8, filled up with zeros.
    pub value_bytes: [u8; 32],
}

impl RunFact {
    /// The fact `name`: `value`.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        Self { name_bytes: padded(name), value_bytes: padded(value) }
    }

    /// The name; empty if it is not UTF-8.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.name_bytes)
    }

    /// The text; empty if it is not UTF-8.
    #[must_use]
    pub fn value(&self) -> &str {
        text(&self.value_bytes)
    }
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let fitting = text.char_indices().map(|(start, c)| start.saturating_add(c.len_utf8())).take_while(|end| *end <= N);
    let len = fitting.last().unwrap_or(0);
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(text.bytes().take(len)) {
        *to = from;
    }
    bytes
}

fn text(bytes: &[u8]) -> &str {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(bytes.get(..len).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_unique_and_ascending() {
        for pair in RecordKind::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        for kind in RecordKind::ALL {
            assert_eq!(RecordKind::from_number(kind.number()), Some(*kind));
        }
        assert_eq!(RecordKind::from_number(0), None);
        assert_eq!(RecordKind::from_number(crate::format::KIND_BLOCK_END), None);
    }

    #[test]
    fn facts_are_cut_between_characters() {
        let fact = RunFact::new("exactly-16-bytes", "äääääääääääääääää");
        assert_eq!(fact.name(), "exactly-16-bytes");
        assert_eq!(fact.value(), "ä".repeat(16));
        assert_eq!(RunFact::new("ä".repeat(9).as_str(), "").name(), "ä".repeat(8));
    }

    #[test]
    fn counts_share_a_byte() {
        let record = DecisionRecord { horizons_and_intent: DecisionRecord::pack_counts(4, 2), ..Default::default() };
        assert_eq!((record.horizon_count(), record.intent_number()), (4, 2));
    }

    #[test]
    fn an_invalid_enum_is_no_payload() {
        let mut bytes = OrderRecord::default().as_bytes().to_vec();
        assert!(AnyPayload::parse(RecordKind::OrderRecord, &bytes).is_some());
        bytes[102] = 200;
        assert!(AnyPayload::parse(RecordKind::OrderRecord, &bytes).is_none());
    }
}
