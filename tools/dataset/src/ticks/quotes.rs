//! Files of quotes and trades in Lean's tick layout: the national best bid and offer, and the tape.
//!
//! Quotes: `ms,bid,bid_size,ask,ask_size,exchange,condition,suspicious`, ms since local midnight, prices × 10⁴, one side a
//! line (the other side 0: unchanged); a bid line and the ask line of the same millisecond after it are one quote. The
//! exchange is the one that stands at the best price; what stands behind it is not told. Trades:
//! `ms,price,size,exchange,condition,suspicious`. Where quotes and trades have the same millisecond their order is not
//! known: trades come first, so that their sign rests on quotes that stood before.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use peregrine_source::session::date_in_name;

use super::config::Hours;
use super::quote_features::{Best, QuoteFamily, QuoteState};
use super::sequences::{Assembler, Row};
use super::{TicksConfig, horizons};
use crate::DatasetError;
use crate::integrity::{Action, Breach, GateReport, Place, Reason, TickGate, TickRow, TickVerdict};
use crate::scale::narrow;
use crate::sink::SequenceSink;
use crate::text::{stem, with_text};

/// Prices of the files count 1/10,000 of the currency.
const PRICE_UNIT: f64 = 1e-4;
const QUOTE_HELP: &str = "name quote files SYMBOL_YYYYMMDD_quote.zip and trade files SYMBOL_YYYYMMDD_trade.zip";

/// One symbol's files of one day.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Day {
    symbol: String,
    date: Date,
    quotes: PathBuf,
    trades: Option<PathBuf>,
}

/// The days of quotes among `files`, by symbol and date; `None` when there is no quote or trade file at all.
pub(super) fn days_of(files: &[PathBuf], date: Option<Date>) -> Result<Option<(QuoteFamily, Vec<Day>)>, DatasetError> {
    let kind = |file: &PathBuf| stem(file).rsplit('_').next().map(str::to_ascii_lowercase);
    let is_of = |file: &&PathBuf, wanted: &str| kind(file).as_deref() == Some(wanted);
    let quotes: Vec<&PathBuf> = files.iter().filter(|file| is_of(file, "quote")).collect();
    let trades: Vec<&PathBuf> = files.iter().filter(|file| is_of(file, "trade")).collect();
    if quotes.is_empty() && trades.is_empty() {
        return Ok(None);
    }
    if let Some(other) = files.iter().find(|file| !is_of(file, "quote") && !is_of(file, "trade")) {
        return Err(DatasetError::input(other, None, "a capture among quote files", QUOTE_HELP));
    }
    let key = |file: &PathBuf| -> Result<(String, Date), DatasetError> {
        let symbol = stem(file).split('_').next().unwrap_or_default().to_ascii_uppercase();
        let date = date_in_name(file).or(date);
        let date = date.ok_or_else(|| DatasetError::input(file, None, "the date is not known", QUOTE_HELP))?;
        Ok((symbol, date))
    };
    let mut days: BTreeMap<(String, Date), Day> = BTreeMap::new();
    for file in quotes {
        let (symbol, date) = key(file)?;
        let day = Day { symbol: symbol.clone(), date, quotes: file.clone(), trades: None };
        if days.insert((symbol, date), day).is_some() {
            return Err(DatasetError::input(file, None, "two quote files of one symbol and day", QUOTE_HELP));
        }
    }
    let has_trades = !trades.is_empty();
    for file in trades {
        let day = days.get_mut(&key(file)?);
        let day =
            day.ok_or_else(|| DatasetError::input(file, None, "trades without the quotes of that day", QUOTE_HELP))?;
        day.trades = Some(file.clone());
    }
    let days: Vec<Day> = days.into_values().collect();
    if let Some(day) = days.iter().find(|day| has_trades && day.trades.is_none()) {
        let reason = "quotes without the trades of that day, while other days have theirs";
        return Err(DatasetError::input(&day.quotes, None, reason, QUOTE_HELP));
    }
    Ok(Some((if has_trades { QuoteFamily::QuotesAndTrades } else { QuoteFamily::Quotes }, days)))
}

/// Builds the rows of every day.
pub(super) fn build(
    (family, days): (QuoteFamily, &[Day]),
    config: &TicksConfig,
    sink: &mut dyn SequenceSink,
) -> Result<GateReport, DatasetError> {
    let mut report = GateReport::default();
    for day in days {
        let (midnight, hours) =
            config.hours(day.date).ok_or_else(|| DatasetError::shape("the date is out of range"))?;
        let trades = match &day.trades {
            Some(path) => read_trades(path, config, &mut report)?,
            None => Vec::new(),
        };
        let mut builder = DayBuilder {
            config,
            horizons: horizons(config),
            hours,
            best: Best::default(),
            pending: None,
            family,
            state: new_state(family, config, &hours),
            gate: TickGate::default(),
            rows: Assembler::new(&day.symbol),
            report: &mut report,
            quote_file: day.quotes.as_path().into(),
            trade_file: day.trades.as_deref().unwrap_or(Path::new("")).into(),
            midnight,
            last_ms: 0,
        };
        builder.run(&trades, sink)?;
    }
    Ok(report)
}

/// A trade.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Trade {
    ms: i64,
    price: i64,
    qty: f64,
    /// Line of its file.
    line: u64,
}

/// A line of a quote file.
#[derive(Clone, Copy, Debug, PartialEq)]
struct QuoteLine {
    ms: i64,
    bid: (i64, f64),
    ask: (i64, f64),
    is_suspicious: bool,
}

/// A quote whose other side may still come.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pending {
    /// The quotes before it.
    before: Best,
    ms: i64,
    /// Its last line.
    line: u64,
}

struct DayBuilder<'a> {
    config: &'a TicksConfig,
    horizons: Vec<usize>,
    hours: Hours,
    best: Best,
    /// A bid line whose ask line may still come.
    pending: Option<Pending>,
    family: QuoteFamily,
    state: QuoteState,
    gate: TickGate,
    rows: Assembler,
    report: &'a mut GateReport,
    quote_file: Arc<Path>,
    trade_file: Arc<Path>,
    midnight: i64,
    last_ms: i64,
}

impl DayBuilder<'_> {
    fn run(&mut self, trades: &[Trade], sink: &mut dyn SequenceSink) -> Result<(), DatasetError> {
        let path = Arc::clone(&self.quote_file);
        let mut trades = trades.iter().copied().peekable();
        with_text(&path, |text| {
            for_each_line(&path, text, |number, line| {
                let place = self.quote_place(number);
                let Some(quote) = parse_quote(line) else {
                    return unreadable(self.report, self.config, &place, line);
                };
                if quote.is_suspicious && !self.keeps_suspicious(&place)? {
                    return Ok(());
                }
                while let Some(trade) = trades.next_if(|trade| trade.ms <= quote.ms) {
                    self.on_trade(&trade, sink)?;
                }
                self.on_quote(&quote, &place, sink)
            })
        })?;
        for trade in trades {
            self.on_trade(&trade, sink)?;
        }
        self.flush(sink)?;
        self.rows.cut(&self.horizons, sink)
    }

    fn quote_place(&self, line: u64) -> Place {
        Place { file: Arc::clone(&self.quote_file), line }
    }

    fn keeps_suspicious(&mut self, place: &Place) -> Result<bool, DatasetError> {
        let action = self.config.integrity.suspicious;
        let breach = Breach::new(Reason::Suspicious, action, "a suspicious quote", "quotes that are not");
        Ok(self.report.judge(breach, place)? == Action::Keep)
    }

    fn on_quote(&mut self, quote: &QuoteLine, place: &Place, sink: &mut dyn SequenceSink) -> Result<(), DatasetError> {
        if !self.is_in_order(quote.ms, place, sink)? {
            return Ok(());
        }
        let has_bid = quote.bid.0 > 0;
        let is_second = !has_bid && self.pending.is_some_and(|pending| pending.ms == quote.ms);
        if !is_second {
            self.flush(sink)?;
        }
        let before = self.pending.map_or(self.best, |pending| pending.before);
        if has_bid {
            (self.best.bid, self.best.bid_qty) = quote.bid;
        }
        if quote.ask.0 > 0 {
            (self.best.ask, self.best.ask_qty) = quote.ask;
        }
        self.pending = Some(Pending { before, ms: quote.ms, line: place.line });
        if has_bid && quote.ask.0 == 0 { Ok(()) } else { self.flush(sink) }
    }

    /// The quote is whole: a row, where it differs from the one before.
    fn flush(&mut self, sink: &mut dyn SequenceSink) -> Result<(), DatasetError> {
        let Some(Pending { before, ms, line }) = self.pending.take() else { return Ok(()) };
        self.state.pass_time(self.time(ms));
        if !self.best.differs(&before) {
            return Ok(());
        }
        if self.best.is_two_sided() && self.best.bid < self.best.ask {
            self.state.on_quotes(&self.best);
        }
        let place = self.quote_place(line);
        self.on_row((ms, false), &place, sink)
    }

    fn on_trade(&mut self, trade: &Trade, sink: &mut dyn SequenceSink) -> Result<(), DatasetError> {
        let place = Place { file: Arc::clone(&self.trade_file), line: trade.line };
        if !self.is_in_order(trade.ms, &place, sink)? {
            return Ok(());
        }
        self.flush(sink)?;
        self.state.pass_time(self.time(trade.ms));
        self.state.on_trade(trade.price, trade.qty);
        self.on_row((trade.ms, true), &place, sink)
    }

    /// Whether the line is taken; where a step back in time cuts, the next sequence begins with it.
    fn is_in_order(&mut self, ms: i64, place: &Place, sink: &mut dyn SequenceSink) -> Result<bool, DatasetError> {
        if ms < self.last_ms {
            let (action, bound) = (self.config.integrity.timestamp_backwards, format!("{} ms or later", self.last_ms));
            let breach = Breach::new(Reason::TimestampBackwards, action, format!("{ms} ms"), bound);
            if self.report.judge(breach, place)? != Action::Cut {
                return Ok(false);
            }
            self.begin_anew(ms, sink)?;
        }
        self.last_ms = ms;
        Ok(true)
    }

    /// Ends the sequence and forgets everything but the quotes that stand: nothing is carried across.
    fn begin_anew(&mut self, ms: i64, sink: &mut dyn SequenceSink) -> Result<(), DatasetError> {
        self.flush(sink)?;
        self.rows.cut(&self.horizons, sink)?;
        self.gate.reset();
        self.state = new_state(self.family, self.config, &self.hours);
        self.state.pass_time(self.time(ms));
        if self.best.is_two_sided() && self.best.bid < self.best.ask {
            self.state.on_quotes(&self.best);
        }
        Ok(())
    }

    fn time(&self, ms: i64) -> i64 {
        self.midnight.saturating_add(ms.saturating_mul(1_000_000))
    }

    fn on_row(
        &mut self,
        (ms, is_trade): (i64, bool),
        place: &Place,
        sink: &mut dyn SequenceSink,
    ) -> Result<(), DatasetError> {
        let (best, time_ns) = (self.best, self.time(ms));
        let (bid, ask) = (best.bid as f64 * PRICE_UNIT, best.ask as f64 * PRICE_UNIT);
        let gated = TickRow { time_ns, bid, ask, is_in_session: self.hours.contains(time_ns), is_book_good: true };
        match self.gate.judge(&gated, &self.config.integrity, self.report, place)? {
            TickVerdict::Drop => return Ok(()),
            TickVerdict::CutAndDrop => return self.rows.cut(&self.horizons, sink),
            TickVerdict::CutBefore => self.rows.cut(&self.horizons, sink)?,
            TickVerdict::Keep => {}
        }
        let mid_x2 = best.mid_x2();
        let mid = narrow(0.5 * mid_x2 * PRICE_UNIT);
        let row = Row {
            time_ns,
            features: &self.state.vector(),
            mid_x2,
            half_spread: narrow((best.ask - best.bid) as f64 / mid_x2),
            context: &[mid, narrow(best.bid_qty), narrow(best.ask_qty), if is_trade { 1.0 } else { 0.0 }],
        };
        self.rows.push(&row, &self.horizons, sink)
    }
}

fn new_state(family: QuoteFamily, config: &TicksConfig, hours: &Hours) -> QuoteState {
    QuoteState::new(family, config.tick().0 as f64 * 1e-5, (hours.open.0, hours.close.0))
}

fn read_trades(path: &Path, config: &TicksConfig, report: &mut GateReport) -> Result<Vec<Trade>, DatasetError> {
    let mut trades = Vec::new();
    let mut place = Place { file: path.into(), line: 0 };
    with_text(path, |text| {
        for_each_line(path, text, |number, line| {
            place.line = number;
            let Some((trade, is_suspicious)) = parse_trade(line) else {
                return unreadable(report, config, &place, line);
            };
            let action = config.integrity.suspicious;
            let breach = || Breach::new(Reason::Suspicious, action, "a suspicious trade", "trades that are not");
            if !is_suspicious || report.judge(breach(), &place)? == Action::Keep {
                trades.push(Trade { line: number, ..trade });
            }
            Ok(())
        })
    })?;
    Ok(trades)
}

fn unreadable(report: &mut GateReport, config: &TicksConfig, place: &Place, line: &[u8]) -> Result<(), DatasetError> {
    let text = String::from_utf8_lossy(line.get(..line.len().min(60)).unwrap_or_default()).into_owned();
    let bound = "a line of Lean's tick layout";
    let breach = Breach::new(Reason::UnreadableLine, config.integrity.unreadable_line, text, bound);
    report.judge(breach, place)?;
    Ok(())
}

/// Hands on every line that is not empty, with its number from 1.
fn for_each_line(
    path: &Path,
    text: &mut dyn BufRead,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        if text.read_until(b'\n', &mut line).map_err(DatasetError::io(path))? == 0 {
            return Ok(());
        }
        number = number.saturating_add(1);
        let line = line.trim_ascii_end();
        if !line.is_empty() {
            take(number, line)?;
        }
    }
}

/// A number without sign; `None` for anything else, an empty field included.
fn whole(field: &[u8]) -> Option<i64> {
    if field.is_empty() || field.len() > 18 {
        return None;
    }
    field.iter().try_fold(0_i64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(i64::from(byte - b'0')))
    })
}

fn parse_quote(line: &[u8]) -> Option<QuoteLine> {
    let mut fields = line.split(|byte| *byte == b',');
    let mut number = || whole(fields.next()?);
    let (ms, bid, bid_qty, ask, ask_qty) = (number()?, number()?, number()?, number()?, number()?);
    let is_exchange = fields.next()?.first()?.is_ascii_uppercase();
    let is_suspicious = fields.nth(1)? == b"1";
    let is_whole = is_exchange && (bid > 0 || ask > 0) && fields.next().is_none();
    let quote = QuoteLine { ms, bid: (bid, bid_qty as f64), ask: (ask, ask_qty as f64), is_suspicious };
    is_whole.then_some(quote)
}

fn parse_trade(line: &[u8]) -> Option<(Trade, bool)> {
    let mut fields = line.split(|byte| *byte == b',');
    let mut number = || whole(fields.next()?);
    let (ms, price, qty) = (number()?, number()?, number()?);
    let is_suspicious = fields.nth(2)? == b"1";
    let is_whole = price > 0 && fields.next().is_none();
    is_whole.then_some((Trade { ms, price, qty: qty as f64, line: 0 }, is_suspicious))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_layout_are_read_and_others_are_not() {
        let quote = parse_quote(b"14400521,475000,200,0,0,P,1,0").unwrap();
        assert_eq!((quote.ms, quote.bid, quote.ask), (14_400_521, (475_000, 200.0), (0, 0.0)));
        assert!(!quote.is_suspicious && parse_quote(b"1,2,3,4,5,P,1,1").unwrap().is_suspicious);
        for line in
            ["", "1,2,3,4,5,P,1", "1,2,3,4,5,P,1,0,9", "1,2,3,4,5,,1,0", "1,2,-3,4,5,P,1,0", "1,2,3,4,5,p,1,0", "x"]
        {
            assert_eq!(parse_quote(line.as_bytes()), None, "{line}");
        }
        let (trade, is_suspicious) = parse_trade(b"26759879,479900,100,P,2000,0").unwrap();
        assert_eq!((trade, is_suspicious), (Trade { ms: 26_759_879, price: 479_900, qty: 100.0, line: 0 }, false));
        for line in ["1,2,3,P,2000", "1,0,3,P,2000,0", "1,2,3,P,2000,0,0"] {
            assert_eq!(parse_trade(line.as_bytes()), None, "{line}");
        }
    }
}
