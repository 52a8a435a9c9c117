//! Sessions as DBN, version 3: one file of one schema.
//!
//! | schema | written by | from |
//! |---|---|---|
//! | `mbo` | [`orders`] | every order and trade |
//! | `mbp-1`, `mbp-10`, `tbbo`, `trades` | [`levels`] | the engine's own books |
//! | `definition`, `status`, `imbalance` | [`states`] | directory, trading states, price tests, halts, auctions |
//! | `statistics` | [`statistics`] | crosses, and what the printed trades come to |
//!
//! An instrument's number is its place in the session's directory, from 1; the metadata maps the symbols to them. The
//! sequence is the number of the event, from 1: of all that the session's reader hands on, written or not. What a schema has
//! no record for is counted and left out.

mod levels;
mod orders;
mod scan;
mod states;
mod statistics;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;

use dbn::encode::{DbnEncodable, DbnEncoder, EncodeRecord};
use dbn::{Action, FlagSet, HasRType, Publisher, RecordHeader, Schema, UNDEF_ORDER_SIZE};
use peregrine_source::End;
use peregrine_source::market::{Input, InputPlan};
use peregrine_types::{EpochNanos, EventKind, Full, MarketEvent, Side, Sink, SymbolId};
use serde::Serialize;

use crate::ConvertError;
use levels::{Levels, Shape};
use orders::Orders;
use scan::Scan;
use states::{Definitions, Imbalances, States};
use statistics::Statistics;

/// What a DBN file holds that a session is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum DbnSchema {
    /// Every order.
    #[default]
    #[serde(rename = "mbo")]
    Mbo,
    /// Changes of the best level, and trades.
    #[serde(rename = "mbp-1")]
    Mbp1,
    /// Changes of the ten best levels, and trades.
    #[serde(rename = "mbp-10")]
    Mbp10,
    /// Trades, with the best level that each of them met.
    #[serde(rename = "tbbo")]
    Tbbo,
    /// Trades.
    #[serde(rename = "trades")]
    Trades,
    /// Instruments.
    #[serde(rename = "definition")]
    Definition,
    /// Trading states, price tests and halts.
    #[serde(rename = "status")]
    Status,
    /// Auction prices, and what the session's trades come to.
    #[serde(rename = "statistics")]
    Statistics,
    /// Imbalances of auctions.
    #[serde(rename = "imbalance")]
    Imbalance,
}

impl DbnSchema {
    /// Every schema that is written.
    pub const ALL: [Self; 9] = [
        Self::Mbo,
        Self::Mbp1,
        Self::Mbp10,
        Self::Tbbo,
        Self::Trades,
        Self::Definition,
        Self::Status,
        Self::Statistics,
        Self::Imbalance,
    ];

    /// Its name, as Databento writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.schema().as_str()
    }

    const fn schema(self) -> Schema {
        match self {
            Self::Mbo => Schema::Mbo,
            Self::Mbp1 => Schema::Mbp1,
            Self::Mbp10 => Schema::Mbp10,
            Self::Tbbo => Schema::Tbbo,
            Self::Trades => Schema::Trades,
            Self::Definition => Schema::Definition,
            Self::Status => Schema::Status,
            Self::Statistics => Schema::Statistics,
            Self::Imbalance => Schema::Imbalance,
        }
    }

    /// Whether its records say what the displayed book is, or what an execution was priced at.
    const fn needs_books(self) -> bool {
        match self {
            Self::Mbp1 | Self::Mbp10 | Self::Tbbo | Self::Trades | Self::Statistics => true,
            Self::Mbo | Self::Definition | Self::Status | Self::Imbalance => false,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DbnSummary {
    /// What the file holds.
    pub schema: DbnSchema,
    /// First and last moment, nanoseconds UTC; `None` without any record.
    pub time_span_ns: Option<(i64, i64)>,
    /// The instruments: symbol by number.
    pub instruments: BTreeMap<u32, String>,
    /// Records by what they say: orders, levels and trades by their action's letter, others by name.
    pub records: BTreeMap<String, u64>,
    /// Events that the schema has no record for, by kind.
    pub left_out: BTreeMap<String, u64>,
    /// Events that are impossible, about orders that are not there or more than they have, or of a quantity that DBN cannot
    /// say (4,294,967,295 is its undefined one): left out.
    pub impossible: u64,
    /// Messages that are malformed.
    pub malformed: u64,
    /// Gaps of the session.
    pub gaps: u64,
    /// Whether the session ends in the middle of a message.
    pub is_truncated: bool,
    /// Whether nothing was impossible, malformed, missing or cut off.
    pub is_sound: bool,
}

/// Holds the events of one packet.
#[derive(Default)]
struct Events(Vec<MarketEvent>);

impl Sink<MarketEvent> for Events {
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.0.push(event);
        Ok(())
    }
}

/// Hands every event of a session to `each`.
fn for_each(
    input: &mut Input,
    mut each: impl FnMut(&MarketEvent) -> Result<(), ConvertError>,
) -> Result<(), ConvertError> {
    let mut events = Events::default();
    loop {
        let is_more = input.step(&mut events)?;
        if !is_more {
            input.finish(&mut events);
        }
        for event in events.0.drain(..) {
            each(&event)?;
        }
        if !is_more {
            return Ok(());
        }
    }
}

/// Writes a session (length-prefixed ITCH 5.0, or packets) as uncompressed DBN of one schema to `out`; give it a buffered
/// writer.
///
/// # Errors
/// [`ConvertError::Session`] when the session cannot be opened or read, [`ConvertError::Dbn`] when `out` cannot be written.
pub fn write_dbn<W: Write>(plan: &InputPlan, schema: DbnSchema, out: &mut W) -> Result<DbnSummary, ConvertError> {
    let scan = Scan::of(plan, schema)?;
    let encoder = DbnEncoder::new(out, &scan.metadata(schema)).map_err(|error| ConvertError::Dbn(error.to_string()))?;
    let mut out = Out { encoder, open_gap_count: 0, event_number: 0, summary: DbnSummary::default() };
    let mut writer = Writer::new(schema, &scan)?;
    let mut input = Input::open(plan, &[])?;
    for_each(&mut input, |event| {
        out.begin(event);
        writer.on_event(&mut out, event)
    })?;
    let (first, last) = scan.span();
    writer.finish(&mut out, last)?;
    out.encoder.flush().map_err(|error| ConvertError::Dbn(error.to_string()))?;
    let counts = input.feed().counts();
    let mut summary = out.summary;
    summary.schema = schema;
    summary.malformed = counts.malformed_count.saturating_add(counts.directory_full_count);
    summary.is_truncated = matches!(input.source().statistics().end, End::Truncated { .. });
    summary.instruments = scan.instruments;
    if !summary.records.is_empty() {
        summary.time_span_ns = Some((first.0, last.0));
    }
    let faults = summary.impossible.saturating_add(summary.malformed).saturating_add(summary.gaps);
    summary.is_sound = faults == 0 && !summary.is_truncated;
    Ok(summary)
}

/// What makes the records of a schema.
enum Writer {
    Orders(Orders),
    Levels(Levels),
    Definitions(Definitions),
    States(States),
    Imbalances(Imbalances),
    Statistics(Statistics),
}

impl Writer {
    fn new(schema: DbnSchema, scan: &Scan) -> Result<Self, ConvertError> {
        Ok(match schema {
            DbnSchema::Mbo => Self::Orders(Orders::default()),
            DbnSchema::Mbp1 => Self::Levels(Levels::new(Shape::Mbp1, scan)?),
            DbnSchema::Mbp10 => Self::Levels(Levels::new(Shape::Mbp10, scan)?),
            DbnSchema::Tbbo => Self::Levels(Levels::new(Shape::Tbbo, scan)?),
            DbnSchema::Trades => Self::Levels(Levels::new(Shape::Trades, scan)?),
            DbnSchema::Definition => Self::Definitions(Definitions),
            DbnSchema::Status => Self::States(States::default()),
            DbnSchema::Imbalance => Self::Imbalances(Imbalances::default()),
            DbnSchema::Statistics => Self::Statistics(Statistics::new(scan)?),
        })
    }

    fn on_event<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        match self {
            Self::Orders(orders) => orders.on_event(out, event),
            Self::Levels(levels) => levels.on_event(out, event),
            Self::Definitions(definitions) => definitions.on_event(out, event),
            Self::States(states) => states.on_event(out, event),
            Self::Imbalances(imbalances) => imbalances.on_event(out, event),
            Self::Statistics(statistics) => statistics.on_event(out, event),
        }
    }

    /// The session has ended, at `time`.
    fn finish<W: Write>(&mut self, out: &mut Out<W>, time: EpochNanos) -> Result<(), ConvertError> {
        match self {
            Self::Statistics(statistics) => statistics.finish(out, time),
            Self::Orders(_) | Self::Levels(_) | Self::Definitions(_) | Self::States(_) | Self::Imbalances(_) => Ok(()),
        }
    }
}

/// The file that is written, and what every record needs to know of the session.
struct Out<W: Write> {
    encoder: DbnEncoder<W>,
    /// Gaps that were declared and have not ended; those that are given up never do.
    open_gap_count: u32,
    event_number: u64,
    summary: DbnSummary,
}

impl<W: Write> Out<W> {
    /// The next event.
    fn begin(&mut self, event: &MarketEvent) {
        self.event_number = self.event_number.wrapping_add(1);
        if event.kind == EventKind::GapStart {
            self.open_gap_count = self.open_gap_count.saturating_add(1);
            self.summary.gaps = self.summary.gaps.saturating_add(1);
        } else if event.kind == EventKind::GapEnd {
            self.open_gap_count = self.open_gap_count.saturating_sub(1);
        } else if event.kind == EventKind::SessionStart {
            self.open_gap_count = 0;
        }
    }

    fn header<R: HasRType>(&self, rtype: u8, event: &MarketEvent) -> RecordHeader {
        let publisher = u16::from(Publisher::XnasItchXnas);
        RecordHeader::new::<R>(rtype, publisher, number(event.symbol), nanos(event.exch_time))
    }

    /// The flags of a record: the last one of its event, and whether messages are missing before it.
    fn flags(&self, is_last: bool) -> FlagSet {
        let mut flags = FlagSet::empty();
        if is_last {
            flags.set_last();
        }
        if self.open_gap_count > 0 {
            flags.set_maybe_bad_book();
        }
        flags
    }

    /// The event's number as a record has it: its last 32 bits.
    fn sequence(&self) -> u32 {
        u32::try_from(self.event_number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    /// Writes a record, counted under `name`.
    fn write<R: DbnEncodable>(&mut self, name: &str, record: &R) -> Result<(), ConvertError> {
        add_one(&mut self.summary.records, name);
        self.encoder.encode_record(record).map_err(|error| ConvertError::Dbn(error.to_string()))
    }

    /// Writes a record of orders, levels or trades, counted under its action's letter.
    fn write_action<R: DbnEncodable>(&mut self, action: Action, record: &R) -> Result<(), ConvertError> {
        self.write(char::from(u8::from(action)).encode_utf8(&mut [0; 4]), record)
    }

    /// Counts an event that the schema has no record for. Gaps are counted already, and sessions begin with nothing to say.
    fn leave_out(&mut self, event: &MarketEvent) {
        let is_told = matches!(
            event.kind,
            EventKind::GapStart | EventKind::GapEnd | EventKind::SessionStart | EventKind::SnapshotStart
        );
        if !is_told {
            self.leave_out_as(&format!("{:?}", event.kind));
        }
    }

    fn leave_out_as(&mut self, what: &str) {
        add_one(&mut self.summary.left_out, what);
    }

    /// Counts an event that cannot be, or cannot be said.
    const fn impossible(&mut self) {
        self.summary.impossible = self.summary.impossible.saturating_add(1);
    }

    /// The same, where nothing else is to be done.
    const fn refuse(&mut self) -> Result<(), ConvertError> {
        self.impossible();
        Ok(())
    }
}

fn add_one(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count = count.saturating_add(1),
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// A quantity as DBN has it, whose largest number means that it is undefined.
fn size_of(qty: u64) -> Option<u32> {
    u32::try_from(qty).ok().filter(|size| *size != UNDEF_ORDER_SIZE)
}

/// An ASCII letter as C has it: signed on some machines.
fn letter(letter: u8) -> core::ffi::c_char {
    core::ffi::c_char::try_from(letter).unwrap_or_default()
}

/// A side's letter: bid, ask or none.
fn side_letter(side: Option<Side>) -> core::ffi::c_char {
    letter(match side {
        Some(Side::Buy) => b'B',
        Some(Side::Sell) => b'A',
        None => b'N',
    })
}

/// A symbol's number in the file.
const fn number(symbol: SymbolId) -> u32 {
    symbol.0.wrapping_add(1)
}

/// Nanoseconds since 1970; 0 for what is before.
fn nanos(time: EpochNanos) -> u64 {
    u64::try_from(time.0).unwrap_or(0)
}
