//! What paper trading showed, in four parts that are kept apart: whether the market and the model's answers drifted, what
//! latency did, what rests on the assumption of how passive orders are filled, and whether the regime changed.
//!
//! All of it comes from the run's log and from the marks and the curve of its result. The log has the book at the moments
//! at which something was wanted (decision records) and nothing in between: what would need more is said to be unknown.

mod drift;
mod fills;
mod latency;
mod regimes;
mod tests_of_change;

use std::collections::BTreeMap;
use std::path::Path;

use peregrine_eventlog::{
    LogError, LogReader, Stream,
    records::{DecisionRecord, InputCheckpoint, OrderRecord},
};
use peregrine_types::{EpochNanos, MidX2, Notional, Price, Side, SymbolId};
use serde::Serialize;

use crate::{EquityPoint, story::log_dir};

pub use drift::{DriftPart, DriftRow, HitRate};
pub use fills::{FillClass, FillPart};
pub use latency::LatencyPart;
pub use regimes::{RegimeChange, RegimePart, RegimeRow};

/// What the log does not say by itself.
#[derive(Clone, Debug, Default)]
pub struct PaperFacts<'a> {
    /// The latency model of the paper venue, for people.
    pub latency_model: String,
    /// The currency, such as `USD`.
    pub currency: String,
    /// At what holdings are valued at the end.
    pub marks: BTreeMap<SymbolId, MidX2>,
    /// The result over time.
    pub curve: &'a [EquityPoint],
    /// The result at the end.
    pub net: Notional,
    /// Names of the features in their order; those that are missing are numbered.
    pub feature_names: &'a [&'a str],
}

/// What paper trading showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PaperReport {
    /// Non-stationarity.
    pub drift: DriftPart,
    /// Latency.
    pub latency: LatencyPart,
    /// The fill assumption.
    pub fills: FillPart,
    /// Regime shift.
    pub regimes: RegimePart,
}

/// One part as people read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartText {
    /// Its name.
    pub name: &'static str,
    /// What it comes to, in a sentence or two.
    pub reading: String,
    /// Figures: name and value with its unit.
    pub rows: Vec<(String, String)>,
    /// How the figures were made, and by whose method.
    pub method: &'static str,
}

impl PaperReport {
    /// The four parts as people read them, always in this order.
    #[must_use]
    pub fn parts(&self) -> [PartText; 4] {
        [self.drift.text(), self.latency.text(), self.fills.text(), self.regimes.text()]
    }
}

/// Reads what the paper run in `dir` (the log's folder, or that of its run) showed.
///
/// # Errors
/// [`LogError`] when a stream cannot be read.
pub fn paper_report(dir: &Path, facts: &PaperFacts<'_>) -> Result<PaperReport, LogError> {
    let dir = log_dir(dir);
    let decide = LogReader::open(&dir, Stream::Decide)?;
    let send = LogReader::open(&dir, Stream::Send)?;
    let feed = LogReader::open(&dir, Stream::Feed)?;
    let (mut count, mut span) = (0_u64, None);
    for item in decide.payloads::<DecisionRecord>() {
        let record = item?.1;
        count = count.saturating_add(u64::from(drift::is_sample(record)));
        let (first, _) = span.unwrap_or((record.recv_time, record.recv_time));
        span = Some((first, record.recv_time));
    }
    let mut drift = drift::Reading::new(count);
    let mut latency = latency::Reading::default();
    let mut regimes = regimes::Reading::new(span.unwrap_or_default());
    for item in decide.payloads::<DecisionRecord>() {
        let record = item?.1;
        drift.take(record);
        latency.take_decision(record);
        regimes.take_decision(record);
    }
    let mut fills = fills::Reading::default();
    for item in send.payloads::<OrderRecord>() {
        let record = item?.1;
        latency.take_order(record);
        fills.take_order(record, latency.wanted(record.order_id));
    }
    for item in decide.payloads::<DecisionRecord>() {
        fills.take_decision(item?.1);
    }
    for item in feed.payloads::<InputCheckpoint>() {
        regimes.take_checkpoint(item?.1);
    }
    Ok(PaperReport {
        drift: drift.end(facts),
        latency: latency.end(facts),
        fills: fills.end(facts),
        regimes: regimes.end(facts),
    })
}

/// Best bid and ask of a record, where it has both, not crossed.
fn book_of(record: &DecisionRecord) -> Option<(Price, Price)> {
    let is_there = record.bid_qty.0 > 0 && record.ask_qty.0 > 0 && record.bid_price < record.ask_price;
    is_there.then_some((record.bid_price, record.ask_price))
}

/// +1 for a buy, −1 for a sell.
const fn sign(side: Side) -> i128 {
    match side {
        Side::Buy => 1,
        Side::Sell => -1,
    }
}

/// A value with so many significant digits as a reader needs.
fn figure(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

/// A probability; very small ones by a bound.
fn probability(p: f64) -> String {
    if p < 0.000_1 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

/// A moment, as nanoseconds since `from`, in floating point seconds.
fn seconds(span: peregrine_types::Nanos) -> f64 {
    crate::latency::precise(span.0.unsigned_abs()) / 1e9
}

/// Where `time` lies between `first` and `last`, as one of `count` equal parts; the last part has its end.
fn part_of(time: EpochNanos, (first, last): (EpochNanos, EpochNanos), count: usize) -> Option<usize> {
    if time < first || time > last {
        return None;
    }
    let (passed, whole) = (i128::from(time.since(first).0), i128::from(last.since(first).0));
    let parts = i128::try_from(count).ok()?;
    let part = passed.saturating_mul(parts).checked_div(whole).unwrap_or(0);
    usize::try_from(part).ok().map(|part| part.min(count.saturating_sub(1)))
}
