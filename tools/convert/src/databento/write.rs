//! Sessions as DBN, schema `mbo`, version 3.
//!
//! | ITCH 5.0 | DBN |
//! |---|---|
//! | `A`, `F` | A |
//! | `E` | T of the aggressor's side, F and C of the resting order, in one event |
//! | `C` | as `E`, T and F at the price of the execution; without T where it is not printable |
//! | `X`, `D` | C; of all that is left for `D` |
//! | `U` | C of the old order and A of the new one, in one event |
//! | `P`, `Q` | T without a side |
//! | a snapshot or another session | R of each instrument that has orders |
//! | messages missing | the flag `MAYBE_BAD_BOOK`, from the gap to its end |
//! | everything else | counted, not written |
//!
//! An instrument's number is its place in the session's directory, from 1; the metadata maps the symbols to them. The
//! sequence is the number of the event, from 1: of all that the session's reader hands on, written or not.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::num::NonZeroU64;

use dbn::encode::{DbnEncoder, EncodeRecord};
use dbn::{
    Action, FlagSet, MappingInterval, MboMsg, Metadata, Publisher, RecordHeader, SType, Schema, SymbolMapping,
    UNDEF_ORDER_SIZE, UNDEF_PRICE, rtype,
};
use peregrine_source::End;
use peregrine_source::market::{Input, InputPlan};
use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Price, Side, Sink, SymbolId};
use serde::Serialize;

use crate::ConvertError;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DbnSummary {
    /// First and last moment, nanoseconds UTC; `None` without any record.
    pub time_span_ns: Option<(i64, i64)>,
    /// The instruments: symbol by number.
    pub instruments: BTreeMap<u32, String>,
    /// Records by action.
    pub records: BTreeMap<char, u64>,
    /// Events that an order book has no use for, by kind.
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

/// A resting order.
#[derive(Clone, Copy, Debug)]
struct Resting {
    symbol: SymbolId,
    side: Side,
    price: Price,
    qty: u32,
}

/// What the session's reader says before anything is written.
struct Scan {
    first: EpochNanos,
    last: EpochNanos,
    instruments: BTreeMap<u32, String>,
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

impl Scan {
    fn of(plan: &InputPlan) -> Result<Self, ConvertError> {
        let mut input = Input::open(plan, &[])?;
        let mut span: Option<(EpochNanos, EpochNanos)> = None;
        for_each(&mut input, |event| {
            let (first, last) = span.unwrap_or((event.recv_time, event.recv_time));
            span = Some((first.min(event.recv_time), last.max(event.recv_time)));
            Ok(())
        })?;
        let midnight = input.session().midnight;
        let (first, last) = span.unwrap_or((midnight, midnight));
        let symbols = input.feed().symbols().iter();
        let instruments = symbols.map(|(id, symbol)| (number(id), symbol.to_string())).collect();
        Ok(Self { first, last, instruments })
    }

    fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::builder()
            .dataset("XNAS.ITCH".to_owned())
            .schema(Some(Schema::Mbo))
            .start(nanos(self.first))
            .end(NonZeroU64::new(nanos(self.last).saturating_add(1)))
            .stype_in(Some(SType::RawSymbol))
            .stype_out(SType::InstrumentId)
            .symbols(self.instruments.values().cloned().collect())
            .build();
        let start_date = metadata.start().date();
        let last_date = metadata.end().map_or(start_date, |end| end.date());
        let end_date = last_date.next_day().unwrap_or(last_date);
        let mapping = |(number, symbol): (&u32, &String)| SymbolMapping {
            raw_symbol: symbol.clone(),
            intervals: vec![MappingInterval { start_date, end_date, symbol: number.to_string() }],
        };
        metadata.mappings = self.instruments.iter().map(mapping).collect();
        metadata
    }
}

/// Writes a session (length-prefixed ITCH 5.0, or packets) as uncompressed DBN to `out`; give it a buffered writer.
///
/// # Errors
/// [`ConvertError::Session`] when the session cannot be opened or read, [`ConvertError::Dbn`] when `out` cannot be written.
pub fn write_dbn<W: Write>(plan: &InputPlan, out: &mut W) -> Result<DbnSummary, ConvertError> {
    let scan = Scan::of(plan)?;
    let encoder = DbnEncoder::new(out, &scan.metadata()).map_err(|error| ConvertError::Dbn(error.to_string()))?;
    let mut input = Input::open(plan, &[])?;
    let mut writer =
        Writer { encoder, orders: HashMap::new(), is_gap_open: false, event_number: 0, summary: DbnSummary::default() };
    for_each(&mut input, |event| writer.on_event(event))?;
    writer.encoder.flush().map_err(|error| ConvertError::Dbn(error.to_string()))?;
    let counts = input.feed().counts();
    let mut summary = writer.summary;
    summary.malformed = counts.malformed_count.saturating_add(counts.directory_full_count);
    summary.is_truncated = matches!(input.source().statistics().end, End::Truncated { .. });
    summary.instruments = scan.instruments;
    if !summary.records.is_empty() {
        summary.time_span_ns = Some((scan.first.0, scan.last.0));
    }
    let faults = summary.impossible.saturating_add(summary.malformed).saturating_add(summary.gaps);
    summary.is_sound = faults == 0 && !summary.is_truncated;
    Ok(summary)
}

struct Writer<W: Write> {
    encoder: DbnEncoder<W>,
    orders: HashMap<u64, Resting>,
    is_gap_open: bool,
    event_number: u64,
    summary: DbnSummary,
}

/// A record's own part, beside what the event gives.
#[derive(Clone, Copy, Debug)]
struct Part {
    action: Action,
    side: Option<Side>,
    order: u64,
    price: i64,
    size: u32,
    is_last: bool,
}

impl<W: Write> Writer<W> {
    fn on_event(&mut self, event: &MarketEvent) -> Result<(), ConvertError> {
        self.event_number = self.event_number.wrapping_add(1);
        match event.kind {
            EventKind::AddOrder => self.on_add(event, event.id_a, event.side),
            EventKind::ExecuteOrder => self.on_execution(event, None),
            EventKind::ExecuteOrderAtPrice => self.on_execution(event, Some(event.price)),
            EventKind::CancelOrder => self.on_reduction(event, Some(event.qty.0)),
            EventKind::DeleteOrder => self.on_reduction(event, None),
            EventKind::ReplaceOrder => self.on_replacement(event),
            EventKind::Trade | EventKind::CrossTrade => self.on_trade(event),
            EventKind::SessionStart | EventKind::SnapshotStart => self.on_empty_start(event),
            EventKind::GapStart => {
                self.is_gap_open = true;
                self.summary.gaps = self.summary.gaps.saturating_add(1);
                Ok(())
            }
            EventKind::GapEnd => {
                self.is_gap_open = false;
                Ok(())
            }
            EventKind::BrokenTrade
            | EventKind::SystemEvent
            | EventKind::StockDirectory
            | EventKind::TradingAction
            | EventKind::RegSho
            | EventKind::ParticipantPosition
            | EventKind::MwcbLevels
            | EventKind::MwcbStatus
            | EventKind::IpoQuotingPeriod
            | EventKind::LuldCollar
            | EventKind::OperationalHalt
            | EventKind::ImbalanceShares
            | EventKind::ImbalancePrices
            | EventKind::RetailInterest
            | EventKind::DirectListingPrices
            | EventKind::DirectListingCollars
            | EventKind::SessionEnd => {
                let count = self.summary.left_out.entry(format!("{:?}", event.kind)).or_insert(0);
                *count = count.saturating_add(1);
                Ok(())
            }
        }
    }

    fn on_add(&mut self, event: &MarketEvent, order: u64, side: Side) -> Result<(), ConvertError> {
        let Some(qty) = size_of(event.qty.0).filter(|qty| *qty > 0 && event.price.0 > 0) else {
            return self.impossible();
        };
        if self.orders.contains_key(&order) {
            return self.impossible();
        }
        self.orders.insert(order, Resting { symbol: event.symbol, side, price: event.price, qty });
        let (action, price) = (Action::Add, event.price.0);
        self.write(event, Part { action, side: Some(side), order, price, size: qty, is_last: true })
    }

    /// The order that an event names, and what of it is taken; `None` (counted) if there is none or nothing.
    fn take(&mut self, event: &MarketEvent, qty: Option<u64>) -> Option<(Resting, u32)> {
        let resting = self.orders.get(&event.id_a).copied().filter(|resting| resting.symbol == event.symbol);
        let asked = qty.or_else(|| resting.map(|resting| u64::from(resting.qty))).unwrap_or(0);
        let taken = resting.and_then(|resting| {
            let taken = u32::try_from(asked).unwrap_or(u32::MAX).min(resting.qty);
            (taken > 0).then_some((resting, taken))
        });
        let is_possible = taken.is_some_and(|(_, taken)| u64::from(taken) == asked);
        self.summary.impossible = self.summary.impossible.saturating_add(u64::from(!is_possible));
        let (resting, taken) = taken?;
        if taken == resting.qty {
            self.orders.remove(&event.id_a);
        } else if let Some(order) = self.orders.get_mut(&event.id_a) {
            order.qty = resting.qty.saturating_sub(taken);
        }
        Some((resting, taken))
    }

    fn on_execution(&mut self, event: &MarketEvent, price: Option<Price>) -> Result<(), ConvertError> {
        let Some((resting, size)) = self.take(event, Some(event.qty.0)) else { return Ok(()) };
        let (side, order) = (Some(resting.side), event.id_a);
        let traded = price.unwrap_or(resting.price).0;
        let part = Part { action: Action::Fill, side, order, price: traded, size, is_last: false };
        if price.is_none() || event.flags.contains(EventFlags::PRINTABLE) {
            let side = Some(resting.side.opposite());
            self.write(event, Part { action: Action::Trade, side, order: 0, ..part })?;
        }
        self.write(event, part)?;
        self.write(event, Part { action: Action::Cancel, price: resting.price.0, is_last: true, ..part })
    }

    fn on_reduction(&mut self, event: &MarketEvent, qty: Option<u64>) -> Result<(), ConvertError> {
        let Some((resting, size)) = self.take(event, qty) else { return Ok(()) };
        let (action, side, price) = (Action::Cancel, Some(resting.side), resting.price.0);
        self.write(event, Part { action, side, order: event.id_a, price, size, is_last: true })
    }

    fn on_replacement(&mut self, event: &MarketEvent) -> Result<(), ConvertError> {
        let Some((resting, size)) = self.take(event, None) else { return Ok(()) };
        let (action, side, price) = (Action::Cancel, Some(resting.side), resting.price.0);
        self.write(event, Part { action, side, order: event.id_a, price, size, is_last: false })?;
        self.on_add(event, event.id_b, resting.side)
    }

    fn on_trade(&mut self, event: &MarketEvent) -> Result<(), ConvertError> {
        if event.qty.0 == 0 {
            // A cross in which nothing traded.
            let count = self.summary.left_out.entry("CrossTrade of nothing".to_owned()).or_insert(0);
            *count = count.saturating_add(1);
            return Ok(());
        }
        let Some(size) = size_of(event.qty.0) else { return self.impossible() };
        let (action, price) = (Action::Trade, event.price.0);
        self.write(event, Part { action, side: None, order: 0, price, size, is_last: true })
    }

    fn on_empty_start(&mut self, event: &MarketEvent) -> Result<(), ConvertError> {
        let mut symbols: Vec<SymbolId> = self.orders.values().map(|order| order.symbol).collect();
        symbols.sort_unstable();
        symbols.dedup();
        self.orders.clear();
        for symbol in symbols {
            let event = MarketEvent { symbol, ..*event };
            let (action, price) = (Action::Clear, UNDEF_PRICE);
            self.write(&event, Part { action, side: None, order: 0, price, size: 0, is_last: true })?;
        }
        Ok(())
    }

    fn impossible(&mut self) -> Result<(), ConvertError> {
        self.summary.impossible = self.summary.impossible.saturating_add(1);
        Ok(())
    }

    fn write(&mut self, event: &MarketEvent, part: Part) -> Result<(), ConvertError> {
        let Part { action, side, order, price, size, is_last } = part;
        let mut flags = FlagSet::empty();
        if is_last {
            flags.set_last();
        }
        if self.is_gap_open {
            flags.set_maybe_bad_book();
        }
        let side = match side {
            Some(Side::Buy) => b'B',
            Some(Side::Sell) => b'A',
            None => b'N',
        };
        let publisher = u16::from(Publisher::XnasItchXnas);
        let instrument = number(event.symbol);
        let record = MboMsg {
            hd: RecordHeader::new::<MboMsg>(rtype::MBO, publisher, instrument, nanos(event.exch_time)),
            order_id: order,
            price,
            size,
            flags,
            channel_id: 0,
            action: letter(action.into()),
            side: letter(side),
            ts_recv: nanos(event.recv_time),
            ts_in_delta: 0,
            sequence: u32::try_from(self.event_number & u64::from(u32::MAX)).unwrap_or(u32::MAX),
        };
        let count = self.summary.records.entry(char::from(u8::from(action))).or_insert(0);
        *count = count.saturating_add(1);
        self.encoder.encode_record(&record).map_err(|error| ConvertError::Dbn(error.to_string()))
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

/// A symbol's number in the file.
const fn number(symbol: SymbolId) -> u32 {
    symbol.0.wrapping_add(1)
}

/// Nanoseconds since 1970; 0 for what is before.
fn nanos(time: EpochNanos) -> u64 {
    u64::try_from(time.0).unwrap_or(0)
}
