//! What the feed role writes: where the input stands, symbols, gaps, sessions, halts, policies.

use peregrine_types::{EpochNanos, EventKind, EventSeq, Symbol, SymbolId};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Where the input stands, every `EVENTS_PER_CHECKPOINT` events and at its end. Two runs over one input write the same
/// checkpoints, so the first that differs says between which events to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InputCheckpoint {
    /// Market events so far.
    pub event_count: u64,
    /// Messages of the venue before the packet of the last event (at most 64 events earlier); one message may be two events.
    pub message_count: u64,
    /// Where in its file the packet before that one began.
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
    /// Copies of the messages differ: books are not to be trusted.
    Differs = 3,
    /// The copies taken proved right, or a snapshot took their place.
    Settled = 4,
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
