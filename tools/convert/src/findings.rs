//! What a conversion has to say about its input: everything dropped, mended or suspicious, by kind, with the first few
//! places.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{ConvertError, Place};

/// How many places of a kind are named.
pub const PLACE_COUNT_MAX: usize = 5;

/// What was done about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing had to be done: it is said because it is good to know.
    Noted,
    /// Written all the same, otherwise than the input has it.
    Mended,
    /// Not written.
    Dropped,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $action:ident, $sound:literal, $text:literal;)*) => {
        /// Kinds of findings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Finding {
            $($(#[$doc])* #[doc = concat!($text, ".")] $name,)*
        }

        impl Finding {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The key in the manifest.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What was done about it.
            #[must_use]
            pub const fn action(self) -> Action {
                match self { $(Self::$name => Action::$action,)* }
            }

            /// Whether a sound file can have it. What is not sound ends a strict conversion, and makes the answer of
            /// another one no.
            #[must_use]
            pub const fn is_sound(self) -> bool {
                match self { $(Self::$name => $sound,)* }
            }
        }
    };
}

kinds! {
    TimeImplausible = "time_implausible", Dropped, false, "a time that is no moment of 2001 to 2262 in seconds, ms, us or ns, or is in another unit than the rows before";
    ClockImplausible = "clock_implausible", Mended, false, "one of a row's two times is no such moment, or in another unit: the other one stands alone";
    TimeFiner = "time_finer", Mended, true, "a time finer than a nanosecond: the rest is cut off";
    ReceiveBackward = "receive_time_backward", Mended, false, "a time (of receipt, where the source has one) before the row before: stamped with the latest one";
    ExchangeBackward = "exchange_time_backward", Mended, true, "an exchange time before the row before: stamped with the latest one";
    ExchangeAhead = "exchange_time_ahead", Noted, false, "an exchange time later than the receive time by more than the bound: one of the two clocks is wrong";
    ReceiveUnreliable = "receive_time_unreliable", Noted, true, "the source says that its receive time is unreliable";
    BeforeSession = "before_session", Mended, true, "a row before the session's midnight: its orders are written as they stand at midnight, its trades are not";
    AfterSession = "after_session", Dropped, false, "a row past the session's day: choose --date or --zone so that the day holds it, or convert it as another session";
    Malformed = "malformed_row", Dropped, false, "a row that is not what the format says";
    Truncated = "truncated", Dropped, false, "the file stops in the middle of a row";
    OtherRecord = "other_record", Dropped, true, "a record that the session has no message for, or that other records tell already";
    SymbolFiltered = "symbol_filtered", Dropped, true, "a row of an instrument that --symbols does not name";
    SymbolRenamed = "symbol_renamed", Mended, true, "a name that is no ITCH symbol (one to eight printable characters): another stands for it";
    UnknownOrder = "unknown_order", Dropped, false, "a change of an order that is not in the book";
    UnknownModified = "unknown_modified", Mended, false, "a modification of an order that is not in the book: added";
    DuplicateOrder = "duplicate_order", Mended, false, "an add of an order that is in the book: the old one is deleted";
    Excess = "excess", Mended, false, "more cancelled or executed than the order had: only what it had";
    SizeDiffers = "size_differs", Mended, false, "a deletion of another quantity than the order had: the order is deleted";
    NotAnOrder = "not_an_order", Dropped, false, "a record of a level or of the best prices, not of an order";
    NoPrice = "no_price", Dropped, false, "an order or trade without a price";
    NoSide = "no_side", Dropped, false, "an order without a side";
    NoQuantity = "no_quantity", Dropped, false, "an order, change or trade of no quantity, or of an undefined one";
    GapFlagged = "gap_flagged", Noted, false, "the source says that messages were lost before this one";
    StandingOrder = "standing_order", Mended, true, "an order that stood before the file begins: added";
    LateOrder = "late_order", Mended, true, "an order whose entry the file does not hold, younger than its beginning: added where its number belongs";
    FillOfHidden = "fill_of_hidden", Mended, true, "a fill of an order that was not displayed: a trade only";
    FillAlone = "fill_alone", Mended, true, "a fill that the source's book does not follow: a trade only";
    FillBeyondDisplay = "fill_beyond_display", Mended, true, "a fill of more than was displayed: the rest is a trade";
    QuantityRounded = "quantity_rounded", Mended, false, "a quantity that is no whole number of lots: rounded down";
    SequenceGap = "sequence_gap", Noted, false, "update numbers with a hole: the book is cleared until the next snapshot";
    BeforeSnapshot = "before_snapshot", Dropped, false, "an update while no snapshot tells the book";
    OlderThanSnapshot = "older_than_snapshot", Dropped, true, "an update that the snapshot already holds";
    SnapshotTooOld = "snapshot_too_old", Dropped, false, "a snapshot from before the updates at hand: another one is awaited";
    SnapshotUnneeded = "snapshot_unneeded", Dropped, true, "a snapshot while the book is in step";
    SnapshotUnassigned = "snapshot_unassigned", Dropped, false, "a snapshot that names no symbol in a file of several";
    SnapshotMissing = "snapshot_missing", Noted, false, "no snapshot ever told the book of a symbol";
    UnknownLevel = "unknown_level", Dropped, true, "the removal of a price level that is not in the book";
    Crossed = "crossed", Noted, false, "bid at or above ask behind a whole update";
    CrossedShown = "crossed_shown", Noted, true, "bid at or above ask in the source's own levels behind an event: an auction's book is";
    BookAtTrades = "book_at_trades", Noted, true, "the source tells its best levels at trades alone: between them the book stands still";
    StateUnchanged = "state_unchanged", Dropped, true, "a status that says nothing about trading, quoting or short selling";
    ReasonUnknown = "reason_unknown", Mended, true, "a reason of a trading state that ITCH has no code for: left out";
    PriceStepFiner = "price_step_finer", Noted, true, "an instrument whose least price step cannot be written: prices on it end the conversion, see --price-scale";
    TickerDiffers = "ticker_differs", Noted, false, "the book differs from the exchange's own best bid and ask at the same update number";
    OffMarketTrade = "off_market_trade", Dropped, true, "a trade outside of the book (insurance fund, deleveraging)";
}

/// One kind's entry in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingEntry {
    /// How often it was found.
    pub count: u64,
    /// What was done about it.
    pub action: Action,
    /// Whether a sound file can have it.
    pub is_sound: bool,
    /// What it means.
    pub meaning: &'static str,
    /// The first few: place and what was found.
    pub first: Vec<String>,
}

/// What was found so far.
#[derive(Debug)]
pub(crate) struct Findings {
    is_strict: bool,
    entries: BTreeMap<Finding, FindingEntry>,
}

impl Findings {
    pub(crate) const fn new(is_strict: bool) -> Self {
        Self { is_strict, entries: BTreeMap::new() }
    }

    /// Takes one in; `detail` is asked for only where it will be read.
    ///
    /// # Errors
    /// [`ConvertError::Strict`] for what is not sound, where the conversion is strict.
    pub(crate) fn add(
        &mut self,
        finding: Finding,
        place: Place,
        detail: impl FnOnce() -> String,
    ) -> Result<(), ConvertError> {
        if self.is_strict && !finding.is_sound() {
            return Err(ConvertError::Strict { what: finding.text(), place, detail: detail() });
        }
        let entry = self.entries.entry(finding).or_insert_with(|| FindingEntry {
            count: 0,
            action: finding.action(),
            is_sound: finding.is_sound(),
            meaning: finding.text(),
            first: Vec::new(),
        });
        entry.count = entry.count.saturating_add(1);
        if entry.first.len() < PLACE_COUNT_MAX {
            entry.first.push(format!("{place}: {}", detail()));
        }
        Ok(())
    }

    pub(crate) fn into_entries(self) -> BTreeMap<&'static str, FindingEntry> {
        self.entries.into_iter().map(|(finding, entry)| (finding.code(), entry)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_the_first_are_named_and_strict_stops_at_what_is_unsound() {
        let mut findings = Findings::new(false);
        for line in 1..=9 {
            findings.add(Finding::Malformed, Place::Line(line), || "no comma".to_owned()).unwrap();
        }
        let entries = findings.into_entries();
        let entry = &entries["malformed_row"];
        assert_eq!((entry.count, entry.first.len(), entry.is_sound), (9, PLACE_COUNT_MAX, false));
        assert_eq!(entry.first[0], "line 1: no comma");
        let mut strict = Findings::new(true);
        strict.add(Finding::StandingOrder, Place::Line(1), String::new).unwrap();
        let error = strict.add(Finding::Malformed, Place::Line(2), || "no comma".to_owned()).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = Finding::ALL.iter().map(|finding| finding.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Finding::ALL.len());
    }
}
