//! Captures of other formats as ITCH 5.0 sessions that the engine can replay, and sessions as DBN.
//!
//! [`convert`] reads DBN (orders, price levels, trades, trading states, imbalances), LOBSTER messages, Binance lines or Tardis
//! rows and writes a sound session: stock directory, session events, and the flow, as length-prefixed messages. [`write_dbn`]
//! writes a session as DBN of one [`DbnSchema`]. What was dropped, mended or is suspicious comes
//! back in a [`Summary`], by kind and with the first few places; times are checked for their unit, their order and the
//! distance of the two clocks. Mappings and what they lose: `docs/convert.md`.
//!
//! [`Session`] and [`LevelBook`], which write it, serve a feed under way too (`tools/vendor`).

mod binance;
mod databento;
mod decimal;
mod desk;
mod directory;
mod error;
mod findings;
mod levels;
mod lobster;
mod scale;
mod session;
mod tardis;
mod text;
mod time;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use peregrine_types::Nanos;
use serde::Serialize;

pub use databento::{DbnSchema, DbnSummary, write_dbn};
pub use decimal::decimal;
pub use error::{ConvertError, Place};
pub use findings::{Action, Finding, FindingEntry, PLACE_COUNT_MAX};
pub use levels::{BestLevel, Level, LevelBook, References};
pub use scale::{Lot, PriceScale};
pub use session::{Day, Instrument, Live, MessageSink, NewOrder, Phase, Print, Session};
pub use time::StampClock;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Databento's DBN.
    Dbn,
    /// LOBSTER's message file.
    Lobster,
    /// Binance websocket messages, a local receive time in front of each.
    Binance,
    /// Tardis' incremental_book_L2.
    Tardis,
}

impl Format {
    /// What a file is, by its first bytes.
    ///
    /// # Errors
    /// [`ConvertError::Read`]; [`ConvertError::Unrecognised`] with what it looks like.
    pub fn recognise(path: &Path) -> Result<Self, ConvertError> {
        text::recognise(path)
    }
}

/// What is to be converted, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the file is.
    pub format: Format,
    /// The file.
    pub input: PathBuf,
    /// The session's date, where it is not the file's own.
    pub date: Option<Date>,
    /// The time zone in whose midnight the session's times begin, a name of the IANA table.
    pub zone: String,
    /// Only these instruments, by the source's name; all where empty. LOBSTER: the file's symbol.
    pub symbols: Vec<String>,
    /// By which power of ten prices are multiplied.
    pub price_scale: PriceScale,
    /// What one share of the session stands for; found from the file where it is not given. DBN and LOBSTER have whole
    /// units and take none.
    pub lot: Option<Lot>,
    /// Which of a row's clocks stamps its messages.
    pub stamp: StampClock,
    /// By how much an exchange time may be later than the receive time.
    pub clock_bound: Nanos,
    /// Whether the first unsound finding ends the conversion.
    pub is_strict: bool,
}

/// An instrument of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SymbolEntry {
    /// Its stock locate.
    pub locate: u16,
    /// Its symbol in the session.
    pub symbol: String,
    /// Its name in the source.
    pub source: String,
}

/// The file's book held against the exchange's own best bid and ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TickerCheck {
    /// Best bids and asks at the update number of a book.
    pub compared: u64,
    /// Those that the book agrees with, prices and quantities.
    pub equal: u64,
}

/// What was converted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// What the file was read as.
    pub format: Format,
    /// The session's date.
    pub date: String,
    /// The zone in whose midnight its times begin.
    pub zone: String,
    /// First and last moment of the flow, nanoseconds UTC; `None` without any.
    pub time_span_ns: Option<(i64, i64)>,
    /// The instruments by locate.
    pub symbols: Vec<SymbolEntry>,
    /// What one price unit of the source is in the session: a power of ten.
    pub price_scale: String,
    /// What one share of the session is in the source's unit.
    pub lot: String,
    /// Which clock stamps the messages.
    pub stamp: StampClock,
    /// Least and largest receive time less exchange time, nanoseconds; `None` without both clocks.
    pub receive_less_exchange_ns: Option<(i64, i64)>,
    /// Rows of the input by kind.
    pub rows: BTreeMap<String, u64>,
    /// Messages of the session by type code.
    pub messages: BTreeMap<char, u64>,
    /// The check against the exchange's own best bid and ask, where the file has them.
    pub ticker: Option<TickerCheck>,
    /// What was found, by kind.
    pub findings: BTreeMap<&'static str, FindingEntry>,
    /// Whether every finding is one that a sound file can have.
    pub is_sound: bool,
}

/// Converts a file into a session, which is written to `out` (give it a buffered writer).
///
/// # Errors
/// [`ConvertError`]; what was written to `out` by then is no session.
pub fn convert<W: Write>(plan: &Plan, out: W) -> Result<(Summary, W), ConvertError> {
    let ((desk, symbols), ticker) = match plan.format {
        Format::Dbn => (databento::convert(plan, out)?, None),
        Format::Lobster => (lobster::convert(plan, out)?, None),
        Format::Tardis => (tardis::convert(plan, out)?, None),
        Format::Binance => {
            let (desk, symbols, ticker) = binance::convert(plan, out)?;
            ((desk, symbols), Some(ticker))
        }
    };
    let desk::Desk { session, clock, scale, lot, findings, rows } = desk;
    let findings = findings.into_entries();
    let (day, counts_before_end) = (session.day(), session.span());
    let (messages, out) = session.finish()?;
    let out = out.finish().map_err(ConvertError::Write)?;
    let summary = Summary {
        format: plan.format,
        date: day.date.to_string(),
        zone: plan.zone.clone(),
        time_span_ns: counts_before_end.map(|(first, last)| (first.0, last.0)),
        symbols,
        price_scale: scale.text(),
        lot: lot.text(),
        stamp: plan.stamp,
        receive_less_exchange_ns: clock.delay().map(|(least, most)| (least.0, most.0)),
        rows,
        messages,
        ticker,
        is_sound: findings.values().all(|entry| entry.is_sound),
        findings,
    };
    Ok((summary, out))
}
