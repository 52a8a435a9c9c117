//! Tardis' incremental_book_L2: one row per level, `exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount`,
//! times in microseconds, amounts absolute, 0 for a level that is gone. Rows of one message follow each other with the same
//! times. Where `is_snapshot` turns true, the book begins anew; rows before the first snapshot of a symbol are not
//! applied.

use std::collections::BTreeMap;
use std::io::Write;

use peregrine_source::session::date_of;
use peregrine_types::{EpochNanos, Side};

use crate::decimal::decimal;
use crate::desk::Desk;
use crate::directory::{Directory, Name};
use crate::findings::Findings;
use crate::levels::{LevelBook, LevelChange, References};
use crate::scale::FinestStep;
use crate::session::Day;
use crate::text::Lines;
use crate::time::{TimeColumn, Times, moment};
use crate::{ConvertError, Finding, Place, Plan, SymbolEntry};

/// How a file begins.
pub(crate) const HEADER: &str = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount";

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row<'a> {
    exchange: &'a str,
    symbol: &'a str,
    exch: u64,
    recv: u64,
    is_snapshot: bool,
    level: LevelChange,
}

impl<'a> Row<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, String> {
        let text = core::str::from_utf8(line).map_err(|error| error.to_string())?;
        let mut fields = text.split(',');
        let mut field = || fields.next().ok_or_else(|| "fewer than eight columns".to_owned());
        let (exchange, symbol) = (field()?, field()?);
        let mut time = || field()?.parse().map_err(|_| "a time is not a number".to_owned());
        let (exch, recv) = (time()?, time()?);
        let is_snapshot = match field()? {
            "true" => true,
            "false" => false,
            other => return Err(format!("is_snapshot is {other:?}")),
        };
        let side = match field()? {
            "bid" => Side::Buy,
            "ask" => Side::Sell,
            other => return Err(format!("the side is {other:?}")),
        };
        let level = LevelChange { side, price: decimal(field()?)?, qty: decimal(field()?)? };
        if fields.next().is_some() {
            return Err("more than eight columns".to_owned());
        }
        Ok(Self { exchange, symbol, exch, recv, is_snapshot, level })
    }

    /// What it is called: symbols of several exchanges may be in one file.
    fn name(&self, is_one_exchange: bool) -> String {
        if is_one_exchange { self.symbol.to_owned() } else { format!("{}:{}", self.exchange, self.symbol) }
    }
}

/// What is known of a file before it is converted.
#[derive(Debug, Default)]
struct Scan {
    /// Exchange and symbol by first appearance.
    symbols: Vec<(String, String)>,
    first: Option<EpochNanos>,
    finest: FinestStep,
}

impl Scan {
    fn of(plan: &Plan) -> Result<Self, ConvertError> {
        let mut scan = Self::default();
        let mut lines = Lines::open(&plan.input)?;
        while let Some((_, line)) = lines.next()? {
            let Ok(row) = Row::parse(line) else { continue };
            scan.first = scan.first.or_else(|| moment(row.recv).map(|(_, time)| time));
            scan.finest.see(row.level.qty);
            if !scan.symbols.iter().any(|(exchange, symbol)| exchange == row.exchange && symbol == row.symbol) {
                scan.symbols.push((row.exchange.to_owned(), row.symbol.to_owned()));
            }
        }
        Ok(scan)
    }

    fn is_one_exchange(&self) -> bool {
        self.symbols.iter().all(|(exchange, _)| self.symbols.first().is_some_and(|(first, _)| first == exchange))
    }
}

/// Writes a file of Tardis rows as a session.
pub(crate) fn convert<W: Write>(plan: &Plan, out: W) -> Result<(Desk<W>, Vec<SymbolEntry>), ConvertError> {
    let scan = Scan::of(plan)?;
    let told = || scan.first.and_then(|first| date_of(first, &plan.zone));
    let date = plan.date.or_else(told).ok_or_else(|| ConvertError::NoDate(plan.input.clone()))?;
    let is_one_exchange = scan.is_one_exchange();
    let name = |(exchange, symbol): &(String, String)| Name {
        source: if is_one_exchange { symbol.clone() } else { format!("{exchange}:{symbol}") },
        other: symbol.chars().take(8).collect(),
        round_lot: 1,
    };
    let names: Vec<Name> = scan.symbols.iter().map(name).collect();
    let mut findings = Findings::new(plan.is_strict);
    let directory = Directory::new(plan, &names, &mut findings)?;
    let lot = plan.lot.unwrap_or_else(|| scan.finest.lot());
    let day = Day::new(date, &plan.zone)?;
    let desk = Desk::new(plan, day, (directory.instruments, lot), findings, out)?;
    let markets = names.iter().zip(directory.locates);
    let mut converter = Converter {
        desk,
        markets: markets.filter_map(|(name, locate)| Some((name.source.clone(), Market::new(locate?)))).collect(),
        references: References::default(),
        columns: [TimeColumn::other("timestamp"), TimeColumn::needed("local_timestamp")],
        group: Group::default(),
    };
    let mut lines = Lines::open(&plan.input)?;
    while let Some((place, line)) = lines.next()? {
        if place == Place::Line(1) && line.starts_with(HEADER.as_bytes()) {
            continue;
        }
        match Row::parse(line) {
            Ok(row) => converter.on_row(&row, is_one_exchange, place)?,
            Err(reason) => converter.desk.find(Finding::Malformed, place, || reason)?,
        }
    }
    converter.end_group()?;
    if lines.is_cut() {
        converter.desk.find(Finding::Truncated, lines.place(), || "the gzip stream is cut".to_owned())?;
    }
    let Converter { mut desk, markets, .. } = converter;
    for (name, _) in markets.iter().filter(|(_, market)| !market.is_told) {
        desk.find(Finding::SnapshotMissing, lines.place(), || name.clone())?;
    }
    Ok((desk, directory.entries))
}

/// One symbol's book.
#[derive(Debug)]
struct Market {
    book: LevelBook,
    /// Whether a snapshot told it.
    is_told: bool,
    /// Whether the rows before were of a snapshot.
    is_in_snapshot: bool,
}

impl Market {
    const fn new(locate: u16) -> Self {
        Self { book: LevelBook::new(locate), is_told: false, is_in_snapshot: false }
    }
}

/// Rows of one message.
#[derive(Debug, Default)]
struct Group {
    name: String,
    times: (u64, u64),
    is_snapshot: bool,
    changes: Vec<LevelChange>,
    place: Option<Place>,
}

struct Converter<W: Write> {
    desk: Desk<W>,
    markets: BTreeMap<String, Market>,
    references: References,
    /// Of the exchange's times and of the local ones.
    columns: [TimeColumn; 2],
    group: Group,
}

impl<W: Write> Converter<W> {
    fn on_row(&mut self, row: &Row<'_>, is_one_exchange: bool, place: Place) -> Result<(), ConvertError> {
        self.desk.count(if row.is_snapshot { "snapshot level" } else { "level" });
        let name = row.name(is_one_exchange);
        let times = (row.exch, row.recv);
        let group = &self.group;
        if group.name != name || group.times != times || group.is_snapshot != row.is_snapshot {
            self.end_group()?;
            let (is_snapshot, changes) = (row.is_snapshot, Vec::new());
            self.group = Group { name, times, is_snapshot, changes, place: Some(place) };
        }
        self.group.changes.push(row.level);
        Ok(())
    }

    /// Applies the rows of a message.
    fn end_group(&mut self) -> Result<(), ConvertError> {
        let Group { name, times: (exch, recv), is_snapshot, changes, place } = core::mem::take(&mut self.group);
        let Some(place) = place else { return Ok(()) };
        let [exch_column, recv_column] = &mut self.columns;
        let exch = exch_column.read(exch, place, &mut self.desk.findings)?;
        let recv = recv_column.read(recv, place, &mut self.desk.findings)?;
        if recv.is_none() {
            return Ok(());
        }
        let Some(_) = self.desk.at(Times { recv, exch }, place)? else { return Ok(()) };
        let Some(market) = self.markets.get_mut(&name) else {
            return self.desk.find(Finding::SymbolFiltered, place, || name);
        };
        if is_snapshot && !market.is_in_snapshot {
            market.book.clear(&mut self.desk.session)?;
            market.is_told = true;
        }
        market.is_in_snapshot = is_snapshot;
        if !market.is_told {
            return self.desk.find(Finding::BeforeSnapshot, place, || format!("{} rows of {name}", changes.len()));
        }
        market.book.apply(&mut self.desk, &mut self.references, &changes, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_read_as_tardis_writes_them() {
        let row = Row::parse(b"deribit,BTC-PERPETUAL,1585699200245000,1585699200250000,true,bid,6411,10").unwrap();
        assert_eq!((row.exchange, row.symbol, row.is_snapshot), ("deribit", "BTC-PERPETUAL", true));
        assert_eq!(row.level, LevelChange { side: Side::Buy, price: 6_411_000_000_000, qty: 10_000_000_000 });
        for line in [
            "",
            HEADER,
            "a,b,1,2,true,bid,1",
            "a,b,1,2,maybe,bid,1,1",
            "a,b,1,2,true,buy,1,1",
            "a,b,x,2,true,bid,1,1",
            "a,b,1,2,true,bid,-1,1",
            "a,b,1,2,true,bid,1,1,1",
        ] {
            assert!(Row::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(line: Vec<u8>) {
            let _row: Result<Row<'_>, String> = Row::parse(&line);
        }
    }
}
