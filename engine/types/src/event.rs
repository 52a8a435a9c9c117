//! The market event: what a feed says, in one shape for every venue, small enough to share a cache line with the
//! sequence number of its ring slot.

use core::ops::{BitOr, BitOrAssign};

use crate::{EpochNanos, MatchNumber, OrderRef, Price, Qty, Side, Symbol, SymbolId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// What happened. The table at [`MarketEvent`] says which field means what for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum EventKind {
    /// A displayed order joined the book (ITCH A, F).
    AddOrder = 0,
    /// A displayed order was executed at its own price (ITCH E).
    ExecuteOrder = 1,
    /// A displayed order was executed at another price than its own (ITCH C).
    ExecuteOrderAtPrice = 2,
    /// A displayed order lost part of its quantity (ITCH X).
    CancelOrder = 3,
    /// A displayed order left the book (ITCH D).
    DeleteOrder = 4,
    /// A displayed order was replaced by another one, which loses its priority (ITCH U).
    ReplaceOrder = 5,
    /// An execution against a hidden order (ITCH P): no effect on the displayed book.
    Trade = 6,
    /// The bulk print of a cross (ITCH Q): no effect on the displayed book.
    CrossTrade = 7,
    /// An earlier trade was broken (ITCH B).
    BrokenTrade = 8,
    /// A step of the session (ITCH S); `detail` is the event code.
    SystemEvent = 9,
    /// A symbol and its identifier were announced (ITCH R).
    StockDirectory = 10,
    /// The trading state of a symbol changed on all markets (ITCH H); `detail` is the state code.
    TradingAction = 11,
    /// The short-sale price test changed (ITCH Y); `detail` is the action code.
    RegSho = 12,
    /// A market maker's standing changed (ITCH L); `detail` is the participant's state.
    ParticipantPosition = 13,
    /// The three market-wide circuit-breaker levels (ITCH V).
    MwcbLevels = 14,
    /// A market-wide circuit-breaker level was breached (ITCH W); `detail` is the level.
    MwcbStatus = 15,
    /// The expected release of an IPO (ITCH K); `detail` is the qualifier.
    IpoQuotingPeriod = 16,
    /// The auction collar of a limit-up-limit-down pause (ITCH J).
    LuldCollar = 17,
    /// Trading of a symbol halted or resumed on one market only (ITCH h); `detail` is the action.
    OperationalHalt = 18,
    /// Paired and imbalance shares of an auction (ITCH I, first half); `detail` is the direction.
    ImbalanceShares = 19,
    /// Far, near and reference price of an auction (ITCH I, second half); `detail` is the cross type.
    ImbalancePrices = 20,
    /// Retail interest (ITCH N); `detail` is the interest flag.
    RetailInterest = 21,
    /// Allowable prices of a direct listing (ITCH O, first half); `detail` is the eligibility.
    DirectListingPrices = 22,
    /// Near execution and collars of a direct listing (ITCH O, second half).
    DirectListingCollars = 23,
    /// Messages are known to be missing, or their copies differ: every book is stale until [`EventKind::GapEnd`].
    GapStart = 24,
    /// The missing messages were recovered: books that saw every event since are whole again.
    GapEnd = 25,
    /// A transport session began; books start empty.
    SessionStart = 26,
    /// A transport session ended; nothing more comes.
    SessionEnd = 27,
    /// A snapshot of the whole market begins because messages were lost for good: books start empty, the orders that
    /// rest in it follow, and every book stays stale until [`EventKind::GapEnd`].
    SnapshotStart = 28,
}

impl EventKind {
    /// How many kinds there are.
    pub const COUNT: usize = 29;

    /// Whether events of this kind change the displayed book.
    #[must_use]
    pub const fn changes_book(self) -> bool {
        (self as u8) <= Self::ReplaceOrder as u8
    }
}

/// Claims about an event, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct EventFlags(pub u8);

impl EventFlags {
    /// No claim.
    pub const NONE: Self = Self(0);
    /// The execution counts in the volume statistics (ITCH C `Printable` = Y; E, P and Q always).
    pub const PRINTABLE: Self = Self(1);
    /// `recv_time` was not measured: it is a copy of `exch_time` (raw files have no receive time).
    pub const RECV_TIME_SYNTHETIC: Self = Self(2);
    /// The message came from line B (or any line but the first).
    pub const FROM_LINE_B: Self = Self(4);
    /// The message was recovered by retransmission or snapshot and is late.
    pub const RECOVERED: Self = Self(8);

    /// Whether every claim of `other` is made.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for EventFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for EventFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// One event of a market, 56 bytes, no padding.
///
/// | kind | `id_a` | `id_b` | `price` | `qty` | `side` | `detail` |
/// |---|---|---|---|---|---|---|
/// | `AddOrder` | order ref | MPID, big-endian ASCII, 0 if none | display price | displayed | yes | – |
/// | `ExecuteOrder` | order ref | match number | 0 | executed | – | – |
/// | `ExecuteOrderAtPrice` | order ref | match number | execution price | executed | – | – |
/// | `CancelOrder` | order ref | – | – | **removed** | – | – |
/// | `DeleteOrder` | order ref | – | – | – | – | – |
/// | `ReplaceOrder` | original ref | new ref | new price | new total | – | – |
/// | `Trade` | order ref (0) | match number | match price | traded | as sent (no aggressor) | – |
/// | `CrossTrade` | – | match number | cross price | matched, may be 0 | – | cross type |
/// | `BrokenTrade` | – | match number | – | – | – | – |
/// | `SystemEvent` | – | – | – | – | – | event code |
/// | `StockDirectory` | symbol key | locate | – | round lot | – | market category |
/// | `TradingAction` | reason, big-endian ASCII | – | – | – | – | state code |
/// | `RegSho` | – | – | – | – | – | action code |
/// | `ParticipantPosition` | MPID | primary (bit 0), mode in bits 8–15 | – | – | – | state |
/// | `MwcbLevels` | level 2 price | level 3 price | level 1 price | – | – | – |
/// | `MwcbStatus` | – | – | – | – | – | level |
/// | `IpoQuotingPeriod` | release time, s since midnight | – | IPO price | – | – | qualifier |
/// | `LuldCollar` | upper price | lower price | reference price | extension number | – | – |
/// | `OperationalHalt` | – | – | – | – | – | action; market code in `id_b` |
/// | `ImbalanceShares` | paired shares | – | – | imbalance shares | – | direction |
/// | `ImbalancePrices` | far price | near price | reference price | variation code | – | cross type |
/// | `RetailInterest` | – | – | – | – | – | interest flag |
/// | `DirectListingPrices` | maximum price | near execution time | minimum price | – | – | eligibility |
/// | `DirectListingCollars` | upper collar | lower collar | near price | – | – | – |
/// | `GapStart` | first missing sequence number | next received one | – | missing count | – | 1 when they are given up: no `GapEnd` follows; 2 when copies differ |
/// | `GapEnd` | first missing sequence number | next received one | – | recovered count | – | 2 when copies differed |
/// | `SessionStart`, `SessionEnd` | first eight bytes of the session | next sequence number | – | its last two bytes | – | – |
/// | `SnapshotStart` | first eight bytes of the session | first missing sequence number | – | its last two bytes | – | – |
///
/// A dash means: zero, and nobody reads it. Prices kept in `id_a` or `id_b` are [`Price`] units as `u64`.
/// `exch_time` is the venue's stamp, `recv_time` ours; both are UTC nanoseconds. `symbol` is
/// [`SymbolId::MARKET`] for events about no single symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MarketEvent {
    /// When the venue says it happened.
    pub exch_time: EpochNanos,
    /// When we received it; never decreases within one input.
    pub recv_time: EpochNanos,
    /// First identifier; see the table.
    pub id_a: u64,
    /// Second identifier; see the table.
    pub id_b: u64,
    /// Price; see the table.
    pub price: Price,
    /// Quantity; see the table.
    pub qty: Qty,
    /// The instrument.
    pub symbol: SymbolId,
    /// What happened.
    pub kind: EventKind,
    /// Side of the order, where the table says so; `Buy` otherwise.
    pub side: Side,
    /// Claims about the event.
    pub flags: EventFlags,
    /// One-byte code of the venue; see the table.
    pub detail: u8,
}

const _: () = assert!(size_of::<MarketEvent>() == 56, "an event and its ring sequence share one cache line");

impl MarketEvent {
    /// An event of `kind` about `symbol` at `exch_time`, received at `recv_time`, every other field zero.
    #[must_use]
    pub const fn new(kind: EventKind, symbol: SymbolId, exch_time: EpochNanos, recv_time: EpochNanos) -> Self {
        Self {
            exch_time,
            recv_time,
            id_a: 0,
            id_b: 0,
            price: Price(0),
            qty: Qty(0),
            symbol,
            kind,
            side: Side::Buy,
            flags: EventFlags::NONE,
            detail: 0,
        }
    }

    /// The order that the event is about (for a replace: the one that disappears).
    #[must_use]
    pub const fn order_ref(&self) -> OrderRef {
        OrderRef(self.id_a)
    }

    /// The order that a replace brings.
    #[must_use]
    pub const fn new_order_ref(&self) -> OrderRef {
        OrderRef(self.id_b)
    }

    /// The match number of an execution, trade or broken trade.
    #[must_use]
    pub const fn match_number(&self) -> MatchNumber {
        MatchNumber(self.id_b)
    }

    /// The symbol's name, for a `StockDirectory` event.
    #[must_use]
    pub const fn symbol_name(&self) -> Symbol {
        Symbol::from_key(self.id_a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_an_unknown_kind_is_refused() {
        let mut event = MarketEvent::new(EventKind::AddOrder, SymbolId(3), EpochNanos(1), EpochNanos(2));
        event.id_a = 9;
        event.price = Price(-5);
        event.side = Side::Sell;
        event.flags = EventFlags::PRINTABLE | EventFlags::FROM_LINE_B;
        let mut bytes = [0_u8; 56];
        bytes.copy_from_slice(event.as_bytes());
        assert_eq!(MarketEvent::try_read_from_bytes(&bytes).unwrap(), event);
        bytes[52] = 29;
        assert!(MarketEvent::try_read_from_bytes(&bytes).is_err());
        assert!(event.flags.contains(EventFlags::FROM_LINE_B) && !event.flags.contains(EventFlags::RECOVERED));
    }

    #[test]
    fn the_last_kind_is_count_minus_one() {
        assert_eq!(EventKind::SnapshotStart as usize, EventKind::COUNT - 1);
        assert!(EventKind::ReplaceOrder.changes_book() && !EventKind::Trade.changes_book());
    }
}
