//! What is known of a DBN file before it is converted: its instruments and their names, its first time, and which records
//! tell the book of each instrument.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use dbn::Schema;
use jiff::civil::Date;
use peregrine_source::session::date_of;
use peregrine_types::EpochNanos;

use super::read::Records;
use super::record::{Definition, Depth, Entry, Head};
use crate::directory::Name;
use crate::{ConvertError, Place, Plan};

/// What tells an instrument's book and trades, the poorer before the richer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Trades,
    Best,
    TenLevels,
    Orders,
}

impl Source {
    pub(super) const fn of(depth: Depth) -> Self {
        match depth {
            Depth::None => Self::Trades,
            Depth::One => Self::Best,
            Depth::Ten => Self::TenLevels,
        }
    }
}

/// An instrument's last definition.
#[derive(Clone, Debug)]
pub(super) struct Defined {
    pub(super) price_step: Option<i64>,
    /// The number of its record.
    pub(super) number: u64,
    symbol: Option<String>,
    round_lot: Option<u32>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Instruments by first appearance in what becomes messages.
    pub(super) instruments: Vec<u32>,
    /// What tells the book of each instrument that has one.
    pub(super) sources: BTreeMap<u32, Source>,
    pub(super) definitions: BTreeMap<u32, Defined>,
    /// Records that no session has a message for, by what they are.
    others: BTreeMap<String, u64>,
    seen: std::collections::HashSet<u32>,
    /// Time of the first record that is of no snapshot, else of the first one.
    first: Option<EpochNanos>,
}

impl Scan {
    pub(super) fn of(records: &mut Records, is_received: bool) -> Result<Self, ConvertError> {
        let (mut scan, mut snapshot) = (Self::default(), None);
        while let Some((place, entry)) = records.next()? {
            let Some(head) = scan.take(entry, place) else { continue };
            if scan.seen.insert(head.instrument) {
                scan.instruments.push(head.instrument);
            }
            let time = head.time(is_received);
            if head.flags.is_snapshot() {
                snapshot = snapshot.or(time);
            } else {
                scan.first = scan.first.or(time);
            }
        }
        scan.first = scan.first.or(snapshot);
        Ok(scan)
    }

    /// Takes one record; its head where it becomes a message.
    fn take(&mut self, entry: Entry, place: Place) -> Option<Head> {
        let (head, source) = match entry {
            Entry::Mbo(mbo) => (mbo.head, Some(Source::Orders)),
            Entry::Market(market) => (market.head, Some(Source::of(market.depth))),
            Entry::Status(status) => (status.head, None),
            Entry::Imbalance(imbalance) => (imbalance.head, None),
            Entry::Definition(definition) => {
                self.define(definition, place);
                self.other("definitions");
                return None;
            }
            Entry::Statistic(_) => {
                self.other("statistics");
                return None;
            }
            Entry::Other(rtype) => {
                self.other(&format!("records of rtype 0x{rtype:02x}"));
                return None;
            }
            Entry::Short(_) => return None,
        };
        if let Some(source) = source {
            match self.sources.entry(head.instrument) {
                Slot::Vacant(slot) => drop(slot.insert(source)),
                Slot::Occupied(mut slot) => {
                    let best = source.max(*slot.get());
                    slot.insert(best);
                }
            }
        }
        Some(head)
    }

    fn define(&mut self, definition: Definition, place: Place) {
        let number = match place {
            Place::Record(number) => number,
            Place::Line(_) | Place::Byte(_) => 0,
        };
        let Definition { instrument, symbol, round_lot, price_step } = definition;
        self.definitions.insert(instrument, Defined { price_step, number, symbol, round_lot });
    }

    fn other(&mut self, what: &str) {
        let count = self.others.entry(what.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Refuses a file that holds nothing of a session, by its records or, without any, by its schema.
    ///
    /// # Errors
    /// [`ConvertError::NoSession`].
    pub(super) fn check(&self, plan: &Plan, schema: Option<Schema>) -> Result<(), ConvertError> {
        if !self.instruments.is_empty() {
            return Ok(());
        }
        let mut holds: Vec<String> = self.others.iter().map(|(what, count)| format!("{count} {what}")).collect();
        if holds.is_empty() {
            let is_told = |schema: &Schema| !is_session(*schema);
            holds.extend(schema.filter(is_told).map(|schema| format!("schema {}", schema.as_str())));
        }
        if holds.is_empty() {
            return Ok(());
        }
        Err(ConvertError::NoSession { path: plan.input.clone(), holds: holds.join(", ") })
    }

    /// The session's date: what the plan says, else that of the first record.
    ///
    /// # Errors
    /// [`ConvertError::NoDate`].
    pub(super) fn date(&self, plan: &Plan) -> Result<Date, ConvertError> {
        let told = || self.first.and_then(|first| date_of(first, &plan.zone));
        plan.date.or_else(told).ok_or_else(|| ConvertError::NoDate(plan.input.clone()))
    }

    /// What an instrument is called: by the metadata, else by its definition, else by its number.
    pub(super) fn name(&self, instrument: u32, told: &BTreeMap<u32, String>) -> Name {
        let (defined, number) = (self.definitions.get(&instrument), instrument.to_string());
        let source = told.get(&instrument).or_else(|| defined.and_then(|defined| defined.symbol.as_ref()));
        let round_lot = defined.and_then(|defined| defined.round_lot).unwrap_or(1);
        Name { source: source.unwrap_or(&number).clone(), other: number, round_lot }
    }
}

/// Whether a schema's records become messages.
const fn is_session(schema: Schema) -> bool {
    matches!(
        schema,
        Schema::Mbo | Schema::Mbp1 | Schema::Mbp10 | Schema::Tbbo | Schema::Trades | Schema::Status | Schema::Imbalance
    )
}
