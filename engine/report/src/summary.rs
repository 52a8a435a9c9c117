//! What a log holds, in short: `peregrine inspect` on our own event log.

use std::path::Path;

use peregrine_eventlog::{
    LogError, LogReader, LogReport, Stream,
    records::{AnyPayload, RecordKind},
    verify,
};
use peregrine_types::{EpochNanos, OrderId};
use serde::Serialize;

use crate::{
    format::{bytes, count, hex, utc},
    run::ser,
    story::log_dir,
    table::Table,
};

/// Records of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// The stream.
    pub stream: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
}

/// What a log holds.
#[derive(Debug, Serialize)]
pub struct LogSummary {
    /// The folder.
    pub dir: String,
    /// When the run started.
    #[serde(serialize_with = "ser::time")]
    pub started_utc: EpochNanos,
    /// Receive time of the first event that a record speaks of.
    #[serde(serialize_with = "ser::time_option")]
    pub first_recv_time: Option<EpochNanos>,
    /// Receive time of the last event that a record speaks of.
    #[serde(serialize_with = "ser::time_option")]
    pub last_recv_time: Option<EpochNanos>,
    /// Records by kind.
    pub kinds: Vec<KindCount>,
    /// Records that this program cannot read: of an unknown kind, or with an impossible value.
    pub unreadable_count: u64,
    /// The symbols, in the order of their ids.
    pub symbols: Vec<String>,
    /// The highest order id, 0 if there was no order.
    pub order_id_max: u64,
    /// The log hash, hexadecimal; `None` when the log is damaged.
    pub log_hash: Option<String>,
    /// Whether every stream was closed.
    pub is_sealed: bool,
    /// What is damaged and where, for people; `None` when the log is whole.
    pub damage: Option<String>,
    /// The same, typed.
    #[serde(skip)]
    pub verified: Result<LogReport, LogError>,
}

/// Looks through the log in `dir` (the log's folder, or that of its run) and verifies it. A damaged log is summarised as
/// far as it can be read; [`LogSummary::verified`] says what is wrong.
///
/// # Errors
/// [`LogError`] when a stream cannot be opened at all: missing, unreadable, or with a damaged header.
pub fn log_summary(dir: &Path) -> Result<LogSummary, LogError> {
    let dir = log_dir(dir);
    let mut found = Found::default();
    let mut kinds = Vec::new();
    let mut started_utc = EpochNanos(0);
    for stream in Stream::ALL {
        let reader = LogReader::open(&dir, stream)?;
        started_utc = reader.file_header().start_time;
        let mut counts = vec![0_u64; RecordKind::ALL.len()];
        for record in reader.records() {
            // What stops the reading is named by `verify` below.
            let Ok(record) = record else { break };
            let Ok(payload) = record.any() else {
                found.unreadable_count = found.unreadable_count.saturating_add(1);
                continue;
            };
            let place = RecordKind::ALL.iter().position(|kind| Some(*kind) == record.kind());
            if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
                *count = count.saturating_add(1);
            }
            found.take(payload);
        }
        let rows = RecordKind::ALL.iter().zip(counts).filter(|(_, count)| *count > 0);
        kinds.extend(rows.map(|(kind, count)| KindCount { stream: stream.name(), kind: kind.name(), count }));
    }
    let verified = verify(&dir);
    Ok(LogSummary {
        dir: dir.display().to_string(),
        started_utc,
        first_recv_time: found.first,
        last_recv_time: found.last,
        kinds,
        unreadable_count: found.unreadable_count,
        symbols: found.symbols,
        order_id_max: found.order_id_max.0,
        log_hash: verified.as_ref().ok().map(|report| hex(&report.log_hash())),
        is_sealed: verified.as_ref().is_ok_and(LogReport::is_sealed),
        damage: verified.as_ref().err().map(ToString::to_string),
        verified,
    })
}

#[derive(Default)]
struct Found {
    first: Option<EpochNanos>,
    last: Option<EpochNanos>,
    symbols: Vec<String>,
    order_id_max: OrderId,
    unreadable_count: u64,
}

impl Found {
    fn take(&mut self, payload: AnyPayload<'_>) {
        match payload {
            AnyPayload::InputCheckpoint(record) => self.see(record.recv_time),
            AnyPayload::SymbolListed(record) => {
                self.symbols.push(record.name.to_string());
                self.see(record.recv_time);
            }
            AnyPayload::GapRecord(record) => self.see(record.recv_time),
            AnyPayload::SessionRecord(record) => self.see(record.recv_time),
            AnyPayload::TradingStateRecord(record) => self.see(record.recv_time),
            AnyPayload::PolicyRecord(record) => self.see(record.recv_time),
            AnyPayload::DecisionRecord(record) => self.see(record.recv_time),
            AnyPayload::DecideCheckpoint(record) => self.see(record.recv_time),
            AnyPayload::GuardHalt(record) => self.see(record.recv_time),
            AnyPayload::HeldRecord(record) => self.see(record.recv_time),
            AnyPayload::HeardRecord(record) => self.see(record.visible_time),
            AnyPayload::OrderRecord(record) => {
                self.order_id_max = self.order_id_max.max(record.order_id);
                self.see(record.decision_time);
            }
            AnyPayload::DurationRecord(_) | AnyPayload::HistogramRecord(_) | AnyPayload::RunFact(_) => {}
        }
    }

    /// Zero is a record about no event.
    fn see(&mut self, moment: EpochNanos) {
        if moment != EpochNanos(0) {
            self.first = Some(self.first.map_or(moment, |first| first.min(moment)));
            self.last = Some(self.last.map_or(moment, |last| last.max(moment)));
        }
    }
}

impl LogSummary {
    /// The summary as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::json::pretty(self)
    }

    /// The summary as text of at most about `width` characters a line.
    #[must_use]
    pub fn to_text(&self, width: usize) -> String {
        let moment = |moment: Option<EpochNanos>| moment.map_or_else(|| "–".to_owned(), utc);
        let state = match (&self.damage, self.is_sealed) {
            (Some(damage), _) => damage.clone(),
            (None, true) => "whole and closed".to_owned(),
            (None, false) => "whole, but not closed: the run goes on, or was cut off".to_owned(),
        };
        let len = |report: &LogReport| bytes(report.streams.iter().map(|stream| stream.len).sum());
        let len = self.verified.as_ref().map_or_else(|_| "–".to_owned(), len);
        let mut facts = Table::new().left("").left("");
        facts
            .row(["log", &self.dir])
            .row(["started", &utc(self.started_utc)])
            .row(["input", &format!("{} to {}", moment(self.first_recv_time), moment(self.last_recv_time))])
            .row(["symbols", &count(u64::try_from(self.symbols.len()).unwrap_or(u64::MAX))])
            .row(["orders", &count(self.order_id_max)])
            .row(["size", &len])
            .row(["unreadable", &count(self.unreadable_count)])
            .row(["log hash", self.log_hash.as_deref().unwrap_or("–")]);
        let mut kinds = Table::new().left("stream").left("record").right("count");
        for row in &self.kinds {
            kinds.row([row.stream, row.kind, &count(row.count)]);
        }
        // The state stands outside of the table, so that the place of a damage is never cut.
        format!("{}state       {state}\n\n{}", facts.to_text(width), kinds.to_text(width))
    }
}
