//! Databento's DBN, schema `mbo`: every order of a venue, as records. Reading: [`convert`]; writing: [`write_dbn`].

mod orders;
mod read;
mod write;

use std::collections::BTreeMap;
use std::io::Write;

use jiff::civil::Date;
use peregrine_source::session::date_of;
use peregrine_types::EpochNanos;

pub use write::{DbnSummary, write_dbn};

use crate::desk::Desk;
use crate::directory::{Directory, Name};
use crate::findings::Findings;
use crate::scale::Lot;
use crate::session::{Day, Phase};
use crate::time::{StampClock, Times, moment_ns};
use crate::{ConvertError, Finding, Place, Plan, SymbolEntry};
use orders::{Orders, Told};
use read::{Entry, Mbo, Records};

/// What is known of a file before it is converted.
#[derive(Debug, Default)]
struct Scan {
    /// Instruments by first appearance.
    instruments: Vec<u32>,
    /// Time of the first record that is of no snapshot, else of the first one.
    first: Option<EpochNanos>,
}

impl Scan {
    fn of(records: &mut Records, stamp: StampClock) -> Result<Self, ConvertError> {
        let (mut scan, mut snapshot) = (Self::default(), None);
        let mut seen = std::collections::HashSet::new();
        while let Some((_, entry)) = records.next()? {
            let Entry::Mbo(mbo) = entry else { continue };
            if seen.insert(mbo.instrument) {
                scan.instruments.push(mbo.instrument);
            }
            let times = times_of(&mbo);
            let time = match stamp {
                StampClock::Receive => times.recv.or(times.exch),
                StampClock::Exchange => times.exch.or(times.recv),
            };
            if mbo.flags.is_snapshot() {
                snapshot = snapshot.or(time);
            } else {
                scan.first = scan.first.or(time);
            }
        }
        scan.first = scan.first.or(snapshot);
        Ok(scan)
    }
}

/// The plausible ones of a record's times.
fn times_of(mbo: &Mbo) -> Times {
    Times { recv: mbo.ts_recv.and_then(moment_ns), exch: mbo.ts_event.and_then(moment_ns) }
}

fn date_of_file(plan: &Plan, scan: &Scan) -> Result<Date, ConvertError> {
    let told = || scan.first.and_then(|first| date_of(first, &plan.zone));
    plan.date.or_else(told).ok_or_else(|| ConvertError::NoDate(plan.input.clone()))
}

/// Writes the `mbo` records of a DBN file as a session.
pub(crate) fn convert<W: Write>(plan: &Plan, out: W) -> Result<(Desk<W>, Vec<SymbolEntry>), ConvertError> {
    let mut records = Records::open(&plan.input)?;
    let scan = Scan::of(&mut records, plan.stamp)?;
    let day = Day::new(date_of_file(plan, &scan)?, &plan.zone)?;
    let mut findings = Findings::new(plan.is_strict);
    let told = read::names(records.metadata(), day.date);
    let name = |id: &u32| Name { source: told.get(id).unwrap_or(&id.to_string()).clone(), other: id.to_string() };
    let names: Vec<Name> = scan.instruments.iter().map(name).collect();
    let directory = Directory::new(plan, &names, &mut findings)?;
    let locates: BTreeMap<u32, u16> =
        scan.instruments.iter().zip(directory.locates).filter_map(|(id, locate)| Some((*id, locate?))).collect();
    let mut desk = Desk::new(plan, day, (directory.instruments, Lot::ONE), findings, out)?;
    let mut orders = Orders::new();
    let mut records = Records::open(&plan.input)?;
    while let Some((place, entry)) = records.next()? {
        match entry {
            Entry::Mbo(mbo) => on_record(&mut desk, &mut orders, (&locates, mbo), place)?,
            Entry::Other(rtype) => {
                desk.count(&format!("rtype 0x{rtype:02x}"));
                desk.find(Finding::OtherRecord, place, || format!("rtype 0x{rtype:02x}"))?;
            }
            Entry::Short => desk.find(Finding::Malformed, place, || "an MBO record of too few bytes".to_owned())?,
        }
    }
    orders.finish(&mut desk)?;
    if let Some(left) = records.cut() {
        desk.find(Finding::Truncated, records.place(), || format!("{left} bytes of an unfinished record"))?;
    }
    Ok((desk, directory.entries))
}

/// Checks a record and hands it on.
fn on_record<W: Write>(
    desk: &mut Desk<W>,
    orders: &mut Orders,
    (locates, mbo): (&BTreeMap<u32, u16>, Mbo),
    place: Place,
) -> Result<(), ConvertError> {
    desk.count(kind_of(mbo.action));
    let Some(locate) = locates.get(&mbo.instrument).copied() else {
        return desk.find(Finding::SymbolFiltered, place, || format!("instrument {}", mbo.instrument));
    };
    let mut times = times_of(&mbo);
    let is_told = |told: Option<u64>, time: Option<EpochNanos>| told.is_some() == time.is_some();
    let shown = || format!("ts_recv {:?}, ts_event {:?}", mbo.ts_recv, mbo.ts_event);
    if times.recv.or(times.exch).is_none() {
        return desk.find(Finding::TimeImplausible, place, shown);
    }
    if !is_told(mbo.ts_recv, times.recv) || !is_told(mbo.ts_event, times.exch) {
        desk.find(Finding::ClockImplausible, place, shown)?;
    }
    if mbo.flags.is_snapshot() {
        // Its orders were entered long before: the moment of entry says nothing about the receiver's clock.
        times.exch = times.exch.filter(|_| times.recv.is_none());
    } else if mbo.flags.is_bad_ts_recv() {
        desk.find(Finding::ReceiveUnreliable, place, || format!("ts_recv {:?}", mbo.ts_recv))?;
    }
    if mbo.flags.is_maybe_bad_book() {
        desk.find(Finding::GapFlagged, place, || format!("instrument {}", mbo.instrument))?;
    }
    orders.end_events(desk, &mbo)?;
    let Some(phase) = desk.at(times, place)? else { return Ok(()) };
    if mbo.flags.is_tob() || mbo.flags.is_mbp() {
        return desk.find(Finding::NotAnOrder, place, || format!("flags 0x{:02x}", mbo.flags.raw()));
    }
    if mbo.flags.is_snapshot() && phase == Phase::Within && mbo.action == b'A' {
        desk.find(Finding::StandingOrder, place, || format!("order {}", mbo.order))?;
    }
    orders.on_record(desk, Told { locate, mbo, place })
}

const fn kind_of(action: u8) -> &'static str {
    match action {
        b'A' => "mbo add",
        b'C' => "mbo cancel",
        b'M' => "mbo modify",
        b'R' => "mbo clear",
        b'T' => "mbo trade",
        b'F' => "mbo fill",
        b'N' => "mbo none",
        _ => "mbo other",
    }
}
