//! The payloads of all records, stream by stream: what the report, the node and `peregrine inspect` read.
//!
//! Every payload fills its stream's record exactly (record length less the header of 16 bytes), has no implicit
//! padding and is read in place by a checked cast. Bytes named `reserved` are zero. Prices are 10⁻⁹ of the currency,
//! times UTC nanoseconds, quantities the instrument's unit, as everywhere.

mod decide;
mod feed;
mod measure;
mod send;

use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

pub use decide::{
    DecideCheckpoint, DecisionRecord, GuardAction, GuardHalt, HeardKind, HeardRecord, HeldAction, HeldKind, HeldRecord,
    IntentKind, PegReference,
};
pub use feed::{
    GapPhase, GapRecord, InputCheckpoint, PolicyAction, PolicyRecord, SessionPhase, SessionRecord, SymbolListed,
    TradingStateRecord,
};
pub use measure::{DurationRecord, HistogramRecord, Measured, RunFact};
pub use send::{OrderRecord, OrderTransition};

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
    /// A change of an engine-held order.
    HeldRecord = 35, Decide;
    /// Something that a live run's decide stage heard beside the market's events: an input, because a replay must repeat it.
    HeardRecord = 36, Decide;
    /// A step in the life of one of our orders.
    OrderRecord = 64, Send;
    /// One measured duration.
    DurationRecord = 96, Measure;
    /// A distribution of durations.
    HistogramRecord = 97, Measure;
    /// A fact about the run: host, backend, wiring, versions.
    RunFact = 98, Measure;
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
