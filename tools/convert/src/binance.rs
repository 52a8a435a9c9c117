//! Binance websocket messages as collectors keep them: local receive time, a space, one JSON message. Order-book updates
//! (`depthUpdate`), best bid and ask (`bookTicker`), trades, and the REST snapshot of the book between them.
//!
//! The book is the exchange's rule: nothing before a snapshot; updates that it holds already are passed over; then each
//! update must follow on the one before (`pu` of futures names it, `U` of spot is one more), else the book is cleared and
//! the next snapshot awaited. The exchange's own best bid and ask is not written but held against the book at the same
//! update number.

mod line;
mod market;

use std::collections::BTreeMap;
use std::io::Write;

use peregrine_source::session::date_of;
use peregrine_types::EpochNanos;

use crate::desk::Desk;
use crate::directory::{Directory, Name};
use crate::findings::Findings;
use crate::levels::References;
use crate::scale::FinestStep;
use crate::session::{Day, Print};
use crate::text::Lines;
use crate::time::{TimeColumn, Times, moment};
use crate::{ConvertError, Finding, Place, Plan, SymbolEntry, TickerCheck};
use line::{Event, Trade};
use market::Market;

/// What is known of a file before it is converted.
#[derive(Debug, Default)]
struct Scan {
    /// Symbols by first appearance.
    symbols: Vec<String>,
    first: Option<EpochNanos>,
    finest: FinestStep,
    /// Whether single trades are told, so that aggregate ones would tell them twice.
    has_trades: bool,
}

impl Scan {
    fn of(plan: &Plan) -> Result<Self, ConvertError> {
        let mut scan = Self::default();
        let mut lines = Lines::open(&plan.input)?;
        while let Some((_, text)) = lines.next()? {
            let Ok((time, event)) = line::parse(text) else { continue };
            scan.first = scan.first.or_else(|| moment(time).map(|(_, time)| time));
            match &event {
                Event::Depth(depth) => depth.levels.iter().for_each(|level| scan.finest.see(level.qty)),
                Event::Snapshot(snapshot) => snapshot.levels.iter().for_each(|level| scan.finest.see(level.qty)),
                Event::Trade(trade) => {
                    scan.finest.see(trade.qty);
                    scan.has_trades |= !trade.is_aggregate;
                }
                Event::Ticker(_) | Event::Other(_) => {}
            }
            if let Some(symbol) = event.symbol()
                && !scan.symbols.iter().any(|known| known == symbol)
            {
                scan.symbols.push(symbol.to_owned());
            }
        }
        Ok(scan)
    }
}

/// What a conversion gives.
pub(crate) type Converted<W> = (Desk<W>, Vec<SymbolEntry>, TickerCheck);

/// Writes a file of Binance messages as a session.
pub(crate) fn convert<W: Write>(plan: &Plan, out: W) -> Result<Converted<W>, ConvertError> {
    let scan = Scan::of(plan)?;
    let told = || scan.first.and_then(|first| date_of(first, &plan.zone));
    let date = plan.date.or_else(told).ok_or_else(|| ConvertError::NoDate(plan.input.clone()))?;
    let mut findings = Findings::new(plan.is_strict);
    let name = |symbol: &String| Name { source: symbol.clone(), other: symbol.chars().take(8).collect(), round_lot: 1 };
    let names: Vec<Name> = scan.symbols.iter().map(name).collect();
    let directory = Directory::new(plan, &names, &mut findings)?;
    let lot = plan.lot.unwrap_or_else(|| scan.finest.lot());
    let day = Day::new(date, &plan.zone)?;
    let desk = Desk::new(plan, day, (directory.instruments, lot), findings, out)?;
    let markets = scan.symbols.iter().zip(directory.locates);
    let mut converter = Converter {
        desk,
        markets: markets.filter_map(|(symbol, locate)| Some((symbol.clone(), Market::new(locate?)))).collect(),
        references: References::default(),
        column: TimeColumn::needed("receive time"),
        is_alone: scan.symbols.len() == 1,
        has_trades: scan.has_trades,
    };
    let mut lines = Lines::open(&plan.input)?;
    while let Some((place, text)) = lines.next()? {
        converter.on_line(text, place)?;
    }
    if lines.is_cut() {
        converter.desk.find(Finding::Truncated, lines.place(), || "the gzip stream is cut".to_owned())?;
    }
    let Converter { mut desk, mut markets, .. } = converter;
    let mut check = TickerCheck::default();
    for (symbol, market) in &mut markets {
        market.finish(&mut desk, symbol, lines.place())?;
        let part = market.check();
        check.compared = check.compared.saturating_add(part.compared);
        check.equal = check.equal.saturating_add(part.equal);
    }
    Ok((desk, directory.entries, check))
}

struct Converter<W: Write> {
    desk: Desk<W>,
    markets: BTreeMap<String, Market>,
    references: References,
    column: TimeColumn,
    /// Whether the file is of one symbol, which a snapshot then need not name.
    is_alone: bool,
    has_trades: bool,
}

impl<W: Write> Converter<W> {
    fn on_line(&mut self, text: &[u8], place: Place) -> Result<(), ConvertError> {
        let (time, event) = match line::parse(text) {
            Ok(parts) => parts,
            Err(reason) => return self.desk.find(Finding::Malformed, place, || reason),
        };
        self.desk.count(event.name());
        let recv = self.column.read(time, place, &mut self.desk.findings)?;
        let Some(recv) = recv else { return Ok(()) };
        let exch = event.time().and_then(|time| moment(time).map(|(_, time)| time));
        if event.time().is_some() && exch.is_none() {
            self.desk.find(Finding::ClockImplausible, place, || format!("exchange time {:?}", event.time()))?;
        }
        // What is told about before the session's day still makes the book.
        let Some(_) = self.desk.at(Times { recv: Some(recv), exch }, place)? else { return Ok(()) };
        let market = match event.symbol() {
            Some(symbol) => self.markets.get_mut(symbol),
            None if self.is_alone => self.markets.values_mut().next(),
            None => None,
        };
        match (event, market) {
            (Event::Other(kind), _) => self.desk.find(Finding::OtherRecord, place, || kind),
            (Event::Snapshot(_), None) => self.desk.find(Finding::SnapshotUnassigned, place, || "no symbol".to_owned()),
            (event, None) => {
                self.desk.find(Finding::SymbolFiltered, place, || event.symbol().unwrap_or("?").to_owned())
            }
            (Event::Depth(depth), Some(market)) => {
                market.on_depth(&mut self.desk, &mut self.references, (depth, place))
            }
            (Event::Snapshot(snapshot), Some(market)) => {
                market.on_snapshot(&mut self.desk, &mut self.references, (snapshot, place))
            }
            (Event::Ticker(ticker), Some(market)) => market.on_ticker(&mut self.desk, (ticker, place)),
            (Event::Trade(trade), Some(market)) => {
                let locate = market.locate();
                self.on_trade(&trade, locate, place)
            }
        }
    }

    fn on_trade(&mut self, trade: &Trade, locate: u16, place: Place) -> Result<(), ConvertError> {
        if trade.is_aggregate && self.has_trades {
            return self.desk.find(Finding::OtherRecord, place, || "an aggregate of trades that are told".to_owned());
        }
        if !trade.is_of_market {
            return self.desk.find(Finding::OffMarketTrade, place, || format!("quantity {}", trade.qty));
        }
        let price = self.desk.scale.price4(trade.price, place)?;
        let qty = self.desk.lot.lots(trade.qty, place, &mut self.desk.findings)?;
        if qty == 0 {
            return self.desk.find(Finding::NoQuantity, place, || "a trade".to_owned());
        }
        self.desk.session.trade(Print { locate, side: trade.resting, qty, price }).map(|_| ())
    }
}
