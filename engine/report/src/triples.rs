//! How long orders took to the venue and its answers back, from the log of a live run: `peregrine log latencies`.
//!
//! | kind | request | venue | response |
//! |---|---|---|---|
//! | submit | the order was handed to the session | the venue's stamp of its Accepted or Rejected | that was read |
//! | replace | the replacement was handed to the session | of its Replaced or Rejected | that was read |
//! | cancel | the cancel was handed to the session | of the Canceled that it asked for, or of the Cancel Reject | that was read |
//! | fill | none | of the Executed | that was read |
//!
//! Request and response are by our clock, the venue's time by its own. Left out is whatever may have been sent more than
//! once, because nothing says which of the messages was answered; what was never answered; and what we concluded
//! without an answer. What the venue said while the connection was down was read late, and counts as late.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use peregrine_eventlog::{
    LogError, LogReader, Stream,
    records::{OrderRecord, OrderTransition},
};
use peregrine_types::{EpochNanos, Nanos, OrderId, RECORDING_HEADER, ReasonCode, ReportKind, SymbolId};
use serde::Serialize;

use crate::{
    format::{count, signed, signed_nanos},
    story::{damage, log_dir},
    table::Table,
};

/// One message and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyTriple {
    /// What it is about.
    pub kind: ReportKind,
    /// When it was handed to the session, by our clock; `None` for a fill.
    pub request: Option<EpochNanos>,
    /// The venue's stamp of its answer.
    pub venue: EpochNanos,
    /// When the answer was read, by our clock.
    pub response: EpochNanos,
}

impl LatencyTriple {
    /// The time by which triples are in order.
    #[must_use]
    pub const fn time(&self) -> EpochNanos {
        match self.request {
            Some(request) => request,
            None => self.venue,
        }
    }

    /// Whether request, venue and response follow each other, 1 ns apart or more.
    fn is_possible(&self) -> bool {
        self.request.is_none_or(|request| request < self.venue) && self.venue < self.response
    }
}

/// What is not among the triples, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Orders and replacements that were sent again under their number.
    pub resent_count: u64,
    /// Cancels that may have been said again, or were part of a mass cancel.
    pub repeated_cancel_count: u64,
    /// Orders and replacements whose fate we concluded without an answer to them.
    pub concluded_count: u64,
    /// Messages without an answer in the log. A cancel that found its order gone has none (OUCH 5.0).
    pub unanswered_count: u64,
    /// Fills of orders that an earlier run sent.
    pub foreign_fill_count: u64,
    /// Fills, where the venue's times were put in the middle of round trips: they have none.
    pub halved_fill_count: u64,
}

/// How the two clocks can stand to each other, by all triples together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClockCheck {
    /// Triples whose venue time is not after the request, or not before the response.
    pub impossible_count: u64,
    /// The least that can be added to the venue's times so that every one is after its request; `None` without requests.
    pub offset_min_ns: Option<i64>,
    /// The most that can be added so that every one is before its response; `None` without triples.
    pub offset_max_ns: Option<i64>,
}

impl ClockCheck {
    /// What can be added to the venue's times so that all of them are possible, and the fastest message took as long there
    /// as the fastest answer back; `None` when there is no such offset.
    #[must_use]
    pub fn middle(&self) -> Option<i64> {
        let (low, high) = (self.offset_min_ns?, self.offset_max_ns?);
        (low <= high).then(|| low.saturating_add(high.saturating_sub(low) / 2))
    }
}

/// How long one kind of message took one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WayFigures {
    /// Of which messages.
    pub kind: &'static str,
    /// Which way: `there`, `back` or `round trip`.
    pub way: &'static str,
    /// Of how many.
    pub count: u64,
    /// The shortest.
    pub min_ns: i64,
    /// Half are not above.
    pub p50_ns: i64,
    /// Nine of ten are not above.
    pub p90_ns: i64,
    /// 99 of 100 are not above.
    pub p99_ns: i64,
    /// The longest.
    pub max_ns: i64,
}

/// Every triple of a live run's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyTriples {
    /// In the order of their [`LatencyTriple::time`]s.
    pub triples: Vec<LatencyTriple>,
    /// What is not among them.
    pub left_out: LeftOut,
    /// What is wrong with the log, for people.
    pub damage: Option<String>,
}

/// Reads the triples of the live run in `dir` (the log's folder, or that of its run).
///
/// # Errors
/// [`LogError`] when the stream of orders cannot be read.
pub fn latency_triples(dir: &Path) -> Result<LatencyTriples, LogError> {
    let log = LogReader::open(&log_dir(dir), Stream::Send)?;
    let mut reading = Reading::default();
    for item in log.payloads::<OrderRecord>() {
        reading.take(item?.1);
    }
    let mut found = reading.end();
    found.damage = damage(&log);
    Ok(found)
}

/// A message that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Request {
    kind: ReportKind,
    time: EpochNanos,
    is_ambiguous: bool,
}

/// The log, as far as it was read.
#[derive(Debug, Default)]
struct Reading {
    orders: BTreeMap<OrderId, Request>,
    cancels: BTreeMap<OrderId, Request>,
    sent: BTreeSet<OrderId>,
    found: LatencyTriples,
}

impl Reading {
    fn take(&mut self, record: &OrderRecord) {
        let id = record.order_id;
        match record.transition {
            OrderTransition::Submitted => self.send(record, ReportKind::Submit),
            OrderTransition::ReplaceRequested => self.send(record, ReportKind::Replace),
            OrderTransition::Resent => {
                self.orders.entry(id).and_modify(|request| request.is_ambiguous = true);
            }
            // A marker or a mass cancel: a cancel that waits was part of it, or is said again when it is answered.
            OrderTransition::CancelRequested if record.symbol == SymbolId::MARKET => {
                self.cancels.values_mut().for_each(|request| request.is_ambiguous = true);
            }
            OrderTransition::CancelRequested => {
                let (kind, time) = (ReportKind::Cancel, record.venue_time);
                self.cancels.insert(id, Request { kind, time, is_ambiguous: false });
            }
            OrderTransition::Overdue => {
                self.cancels.entry(id).and_modify(|request| request.is_ambiguous = true);
            }
            OrderTransition::Accepted
            | OrderTransition::Replaced
            | OrderTransition::Rejected
            | OrderTransition::ReplaceRejected => self.answer_order(record),
            OrderTransition::Canceled if record.reason == ReasonCode::VenueUserCancel => self.answer_cancel(record),
            OrderTransition::CancelRejected => self.answer_cancel(record),
            OrderTransition::PartiallyFilled | OrderTransition::Filled => self.fill(record),
            OrderTransition::Canceled
            | OrderTransition::Repeated
            | OrderTransition::Illegal
            | OrderTransition::Reduced
            | OrderTransition::Busted => {}
        }
    }

    fn send(&mut self, record: &OrderRecord, kind: ReportKind) {
        self.sent.insert(record.order_id);
        self.orders.insert(record.order_id, Request { kind, time: record.venue_time, is_ambiguous: false });
    }

    fn answer_order(&mut self, record: &OrderRecord) {
        let Some(request) = self.orders.remove(&record.order_id) else { return };
        let left_out = &mut self.found.left_out;
        // What the live client concludes by itself: never arrived, ended with the order before it, took its place unsaid.
        let is_ours = matches!(
            record.reason,
            ReasonCode::NeverArrived | ReasonCode::VenueReplaceTooLate | ReasonCode::Unanswered
        );
        if is_ours {
            left_out.concluded_count = left_out.concluded_count.saturating_add(1);
        } else if request.is_ambiguous {
            left_out.resent_count = left_out.resent_count.saturating_add(1);
        } else {
            self.push(request.kind, Some(request.time), record);
        }
    }

    fn answer_cancel(&mut self, record: &OrderRecord) {
        let Some(request) = self.cancels.remove(&record.order_id) else { return };
        let left_out = &mut self.found.left_out;
        if request.is_ambiguous {
            left_out.repeated_cancel_count = left_out.repeated_cancel_count.saturating_add(1);
        } else {
            self.push(request.kind, Some(request.time), record);
        }
    }

    fn fill(&mut self, record: &OrderRecord) {
        if self.sent.contains(&record.order_id) {
            self.push(ReportKind::Fill, None, record);
        } else {
            let left_out = &mut self.found.left_out;
            left_out.foreign_fill_count = left_out.foreign_fill_count.saturating_add(1);
        }
    }

    fn push(&mut self, kind: ReportKind, request: Option<EpochNanos>, record: &OrderRecord) {
        let (venue, response) = (record.venue_time, record.visible_time);
        self.found.triples.push(LatencyTriple { kind, request, venue, response });
    }

    fn end(mut self) -> LatencyTriples {
        let unanswered = self.orders.len().saturating_add(self.cancels.len());
        self.found.left_out.unanswered_count = u64::try_from(unanswered).unwrap_or(u64::MAX);
        self.found.triples.sort_by_key(|triple| (triple.time(), triple.kind));
        self.found
    }
}

impl LatencyTriples {
    /// How the clocks can stand to each other.
    #[must_use]
    pub fn clocks(&self) -> ClockCheck {
        let mut check = ClockCheck::default();
        for triple in &self.triples {
            check.impossible_count = check.impossible_count.saturating_add(u64::from(!triple.is_possible()));
            let most = triple.response.since(triple.venue).0.saturating_sub(1);
            check.offset_max_ns = Some(check.offset_max_ns.map_or(most, |known| known.min(most)));
            if let Some(request) = triple.request {
                let least = request.since(triple.venue).0.saturating_add(1);
                check.offset_min_ns = Some(check.offset_min_ns.map_or(least, |known| known.max(least)));
            }
        }
        check
    }

    /// The same with `offset` added to every time of the venue.
    #[must_use]
    pub fn with_venue_offset(mut self, offset: Nanos) -> Self {
        self.triples.iter_mut().for_each(|triple| triple.venue = triple.venue.plus(offset));
        self.triples.sort_by_key(|triple| (triple.time(), triple.kind));
        self
    }

    /// The same with every time of the venue in the middle between request and response, without fills.
    #[must_use]
    pub fn halved(mut self) -> Self {
        let before = self.triples.len();
        self.triples.retain(|triple| triple.request.is_some());
        let gone = u64::try_from(before.saturating_sub(self.triples.len())).unwrap_or(u64::MAX);
        self.left_out.halved_fill_count = self.left_out.halved_fill_count.saturating_add(gone);
        for triple in &mut self.triples {
            let request = triple.request.unwrap_or(triple.venue);
            triple.venue = request.plus(Nanos(triple.response.since(request).0 / 2));
        }
        self
    }

    /// Distributions by kind and way.
    #[must_use]
    pub fn figures(&self) -> Vec<WayFigures> {
        let mut rows = Vec::new();
        for kind in ReportKind::ALL {
            let of_kind = || self.triples.iter().filter(|triple| triple.kind == kind);
            let there = of_kind().filter_map(|t| Some(t.venue.since(t.request?).0)).collect();
            let back = of_kind().map(|t| t.response.since(t.venue).0).collect();
            let round = of_kind().filter_map(|t| Some(t.response.since(t.request?).0)).collect();
            let ways: [(&str, Vec<i64>); 3] = [("there", there), ("back", back), ("round trip", round)];
            rows.extend(ways.into_iter().filter_map(|(way, spans)| WayFigures::of(kind.name(), way, spans)));
        }
        rows
    }

    /// The triples as CSV: `kind,request_ns,venue_ns,response_ns`, times in nanoseconds since 1970 UTC, the request of a fill
    /// empty.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = format!("{RECORDING_HEADER}\n");
        for LatencyTriple { kind, request, venue, response } in &self.triples {
            let request = request.map(|request| request.0.to_string()).unwrap_or_default();
            text.push_str(&format!("{},{request},{},{}\n", kind.name(), venue.0, response.0));
        }
        text
    }

    /// Table, what was left out, and what the clocks allow to be said, as text of at most about `width` characters a line.
    #[must_use]
    pub fn to_text(&self, width: usize) -> String {
        let mut table = Table::new().left("kind").left("way").right("count");
        for head in ["min", "p50", "p90", "p99", "max"] {
            table = table.right(head);
        }
        for row in self.figures() {
            let spans = [row.min_ns, row.p50_ns, row.p90_ns, row.p99_ns, row.max_ns].map(signed_nanos);
            let names = [row.kind.to_owned(), row.way.to_owned(), count(row.count)];
            table.row(names.into_iter().chain(spans));
        }
        let damage = self.damage.as_ref().map_or_else(String::new, |what| format!("log         {what}\n"));
        format!(
            "{}\nleft out    {}\n{damage}clocks      {}\n",
            table.to_text(width),
            self.left_out.text(),
            self.clock_text()
        )
    }

    fn clock_text(&self) -> String {
        let check = self.clocks();
        let caveat = "Way there and way back compare our clock with the venue's: what the one is behind the other is in both, \
                      with opposite signs. Round trips are by our clock alone.";
        let total = u64::try_from(self.triples.len()).unwrap_or(u64::MAX);
        let verdict = match (check.impossible_count, check.middle(), check.offset_min_ns, check.offset_max_ns) {
            (_, _, _, None) => "There is nothing to compare.".to_owned(),
            (0, _, Some(low), Some(high)) => format!(
                "Every venue time lies between request and response, and would with {} to {} ns added: so far each way may \
                 be wrong.",
                signed(low),
                signed(high)
            ),
            (0, _, None, Some(_)) => "Every venue time lies before its response.".to_owned(),
            (bad, Some(middle), low, high) => format!(
                "{} of {} venue times CANNOT BE: not after the request, or not before the response. With {} to {} ns added \
                 all can; --venue-offset {middle} is the middle, where the fastest message took as long there as the fastest \
                 answer back.",
                count(bad),
                count(total),
                signed(low.unwrap_or_default()),
                signed(high.unwrap_or_default())
            ),
            (bad, None, _, Some(_)) => format!(
                "{} of {} venue times CANNOT BE: not after the request, or not before the response, and no one offset mends \
                 all: the clocks drift, or the venue's runs at another speed. Round trips hold; --halve takes half of each \
                 for either way.",
                count(bad),
                count(total)
            ),
        };
        format!("{verdict}\n            {caveat}")
    }
}

impl LeftOut {
    /// In one line, what is zero left out.
    fn text(&self) -> String {
        let parts = [
            (self.resent_count, "orders sent more than once"),
            (self.repeated_cancel_count, "cancels said more than once, or for all at once"),
            (self.concluded_count, "orders that the venue did not answer, but for what came of them"),
            (self.unanswered_count, "messages without an answer"),
            (self.foreign_fill_count, "fills of an earlier run's orders"),
            (self.halved_fill_count, "fills, which have no round trip"),
        ];
        let said: Vec<String> = (parts.into_iter().filter(|(number, _)| *number > 0))
            .map(|(number, what)| format!("{} {what}", count(number)))
            .collect();
        if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
    }
}

impl WayFigures {
    /// Percentiles by the nearest rank; `None` of nothing.
    pub(crate) fn of(kind: &'static str, way: &'static str, mut spans: Vec<i64>) -> Option<Self> {
        spans.sort_unstable();
        let rank = |percent: usize| {
            let rank = spans.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
            spans.get(rank).copied()
        };
        Some(Self {
            kind,
            way,
            count: u64::try_from(spans.len()).ok()?,
            min_ns: *spans.first()?,
            p50_ns: rank(50)?,
            p90_ns: rank(90)?,
            p99_ns: rank(99)?,
            max_ns: *spans.last()?,
        })
    }
}
