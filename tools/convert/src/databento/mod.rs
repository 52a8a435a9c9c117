//! Databento's DBN. Reading ([`convert`]): orders (`mbo`), price levels (`mbp-1`, `mbp-10`, `tbbo`), trades, trading states
//! and imbalances become a session; definitions name its instruments. Writing: [`write_dbn`].
//!
//! Records are told apart by their type, so that a file may hold several schemas. Of an instrument's orders, ten levels, best
//! level and trades the first that the file has is taken, because each of them tells what the next ones tell.

mod books;
mod orders;
mod read;
mod reasons;
mod record;
mod scan;
mod states;
mod write;

use std::collections::BTreeMap;
use std::io::Write;

use dbn::Schema;

pub use write::{DbnSchema, DbnSummary, write_dbn};

use crate::desk::Desk;
use crate::directory::{Directory, Name};
use crate::findings::Findings;
use crate::scale::Lot;
use crate::session::{Day, Phase};
use crate::time::StampClock;
use crate::{ConvertError, Finding, Place, Plan, SymbolEntry};
use books::Books;
use orders::{Orders, Told};
use read::Records;
use record::{Depth, Entry, Head, Market};
use scan::{Scan, Source};

/// Writes the records of a DBN file as a session.
pub(crate) fn convert<W: Write>(plan: &Plan, out: W) -> Result<(Desk<W>, Vec<SymbolEntry>), ConvertError> {
    let mut records = Records::open(&plan.input)?;
    let scan = Scan::of(&mut records, plan.stamp == StampClock::Receive)?;
    scan.check(plan, records.metadata().schema)?;
    let day = Day::new(scan.date(plan)?, &plan.zone)?;
    let mut findings = Findings::new(plan.is_strict);
    let told = read::names(records.metadata(), day.date);
    let names: Vec<Name> = scan.instruments.iter().map(|id| scan.name(*id, &told)).collect();
    let directory = Directory::new(plan, &names, &mut findings)?;
    let locates: BTreeMap<u32, u16> =
        scan.instruments.iter().zip(directory.locates).filter_map(|(id, locate)| Some((*id, locate?))).collect();
    let desk = Desk::new(plan, day, (directory.instruments, Lot::ONE), findings, out)?;
    let is_tbbo = records.metadata().schema == Some(Schema::Tbbo);
    let mut records = Records::open(&plan.input)?;
    let mut reader = Reader { desk, orders: Orders::new(), books: Books::new(), scan, locates };
    reader.check_steps()?;
    if is_tbbo {
        reader.desk.find(Finding::BookAtTrades, Place::Record(1), || "schema tbbo".to_owned())?;
    }
    while let Some((place, entry)) = records.next()? {
        reader.on_entry(entry, place)?;
    }
    reader.orders.finish(&mut reader.desk)?;
    let mut desk = reader.desk;
    if let Some(left) = records.cut() {
        desk.find(Finding::Truncated, records.place(), || format!("{left} bytes of an unfinished record"))?;
    }
    Ok((desk, directory.entries))
}

/// One file on its way into a session.
struct Reader<W: Write> {
    desk: Desk<W>,
    orders: Orders,
    books: Books,
    scan: Scan,
    /// By the source's number, of the instruments that are converted.
    locates: BTreeMap<u32, u16>,
}

impl<W: Write> Reader<W> {
    /// Says which instruments' prices may be finer than the session's.
    fn check_steps(&mut self) -> Result<(), ConvertError> {
        for (instrument, definition) in &self.scan.definitions {
            let Some(step) = definition.price_step.filter(|_| self.locates.contains_key(instrument)) else { continue };
            let place = Place::Record(definition.number);
            if let Err(ConvertError::Price { price, .. }) = self.desk.scale.price4(step, place) {
                self.desk.find(Finding::PriceStepFiner, place, || format!("instrument {instrument}, step {price}"))?;
            }
        }
        Ok(())
    }

    fn on_entry(&mut self, entry: Entry, place: Place) -> Result<(), ConvertError> {
        match entry {
            Entry::Mbo(mbo) => {
                self.desk.count(kind_of_order(mbo.action));
                let Some((locate, phase)) = self.begin(&mbo.head, place)? else { return Ok(()) };
                if mbo.head.flags.is_tob() || mbo.head.flags.is_mbp() {
                    let raw = mbo.head.flags.raw();
                    return self.desk.find(Finding::NotAnOrder, place, || format!("flags 0x{raw:02x}"));
                }
                if mbo.head.flags.is_snapshot() && phase == Phase::Within && mbo.action == b'A' {
                    self.desk.find(Finding::StandingOrder, place, || format!("order {}", mbo.order))?;
                }
                self.orders.on_record(&mut self.desk, Told { locate, mbo, place })
            }
            Entry::Market(market) => self.on_market(&market, place),
            Entry::Status(status) => {
                self.desk.count("status");
                let Some((locate, _)) = self.begin(&status.head, place)? else { return Ok(()) };
                states::on_status(&mut self.desk, locate, &status, place)
            }
            Entry::Imbalance(imbalance) => {
                self.desk.count("imbalance");
                let Some((locate, _)) = self.begin(&imbalance.head, place)? else { return Ok(()) };
                states::on_imbalance(&mut self.desk, locate, &imbalance, place)
            }
            Entry::Definition(_) => {
                self.desk.count("definition");
                Ok(())
            }
            Entry::Statistic(stat_type) => {
                self.desk.count("statistics");
                self.desk.find(Finding::OtherRecord, place, || format!("a statistic of type {stat_type}"))
            }
            Entry::Other(rtype) => {
                self.desk.count(&format!("rtype 0x{rtype:02x}"));
                self.desk.find(Finding::OtherRecord, place, || format!("rtype 0x{rtype:02x}"))
            }
            Entry::Short(rtype) => {
                let detail = || format!("a record of rtype 0x{rtype:02x} with too few bytes");
                self.desk.find(Finding::Malformed, place, detail)
            }
        }
    }

    fn on_market(&mut self, market: &Market, place: Place) -> Result<(), ConvertError> {
        self.desk.count(kind_of_market(market.depth, market.action));
        let source = self.scan.sources.get(&market.head.instrument).copied();
        if source != Some(Source::of(market.depth)) && self.locates.contains_key(&market.head.instrument) {
            let detail = || format!("instrument {}: its book is told by deeper records", market.head.instrument);
            return self.desk.find(Finding::OtherRecord, place, detail);
        }
        let Some((locate, phase)) = self.begin(&market.head, place)? else { return Ok(()) };
        if market.head.flags.is_snapshot() && phase == Phase::Within && !market.levels.is_empty() {
            self.desk.find(Finding::StandingOrder, place, || "levels of a snapshot".to_owned())?;
        }
        self.books.on_record(&mut self.desk, locate, market, place)
    }

    /// Checks what every record has, and lets the session's time come to it: its locate and where it lies; `None` where it
    /// is not written, which is said.
    fn begin(&mut self, head: &Head, place: Place) -> Result<Option<(u16, Phase)>, ConvertError> {
        let desk = &mut self.desk;
        let Some(locate) = self.locates.get(&head.instrument).copied() else {
            desk.find(Finding::SymbolFiltered, place, || format!("instrument {}", head.instrument))?;
            return Ok(None);
        };
        let mut times = head.times();
        let shown = || format!("ts_recv {:?}, ts_event {:?}", head.ts_recv, head.ts_event);
        if times.recv.or(times.exch).is_none() {
            desk.find(Finding::TimeImplausible, place, shown)?;
            return Ok(None);
        }
        if head.ts_recv.is_some() != times.recv.is_some() || head.ts_event.is_some() != times.exch.is_some() {
            desk.find(Finding::ClockImplausible, place, shown)?;
        }
        if head.flags.is_snapshot() {
            // Its orders were entered long before: the moment of entry says nothing about the receiver's clock.
            times.exch = times.exch.filter(|_| times.recv.is_none());
        } else if head.flags.is_bad_ts_recv() {
            desk.find(Finding::ReceiveUnreliable, place, || format!("ts_recv {:?}", head.ts_recv))?;
        }
        if head.flags.is_maybe_bad_book() {
            desk.find(Finding::GapFlagged, place, || format!("instrument {}", head.instrument))?;
        }
        self.orders.end_events(desk, head)?;
        Ok(desk.at(times, place)?.map(|phase| (locate, phase)))
    }
}

const fn kind_of_order(action: u8) -> &'static str {
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

const fn kind_of_market(depth: Depth, action: u8) -> &'static str {
    match (depth, action) {
        (Depth::None, b'T') => "trade",
        (Depth::None, _) => "trade other",
        (Depth::One, b'T') => "mbp-1 trade",
        (Depth::One, b'R') => "mbp-1 clear",
        (Depth::One, _) => "mbp-1 change",
        (Depth::Ten, b'T') => "mbp-10 trade",
        (Depth::Ten, b'R') => "mbp-10 clear",
        (Depth::Ten, _) => "mbp-10 change",
    }
}
