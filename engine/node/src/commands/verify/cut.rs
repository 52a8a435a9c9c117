//! A run that was cut off, by a kill or by the machine: log and recording end where they were at that moment, and not at the
//! same event. What both have must be the same.

use std::path::Path;

use peregrine_eventlog::records::{
    AnyPayload, DecideCheckpoint, DecisionRecord, EVENTS_PER_CHECKPOINT, InputCheckpoint, OrderRecord, OrderTransition,
};
use peregrine_eventlog::{RecordRef, Stream};
use peregrine_types::OrderId;

use super::{Difference, differing, open};
use crate::exit::Failure;
use crate::run::Run;

/// How far a stream was made again.
pub(super) struct Extent {
    pub(super) stream: Stream,
    /// Records that are the same in both.
    pub(super) repeated_count: u64,
    /// Records of the log that follow from what the recording does not have any more.
    pub(super) behind_count: u64,
}

/// Holds a stream of the log in `dir` against the one that was made again, as far as both go.
pub(super) fn compare(dir: &Path, again: &Run, stream: Stream) -> Result<(Extent, Option<Difference>), Failure> {
    // The checkpoint at the repetition's end is none of the run that was cut off.
    let end_count = u64::from(matches!(stream, Stream::Feed | Stream::Decide));
    let count = again.log.stream(stream).record_count.saturating_sub(end_count);
    let (before, after) = (open(dir, stream)?, open(&again.dir, stream)?);
    let (mut left, mut right) = (before.records(), after.records());
    let mut extent = Extent { stream, repeated_count: 0, behind_count: 0 };
    while let Some(expected) = left.next().transpose().map_err(Failure::io)? {
        let index = extent.repeated_count.saturating_add(extent.behind_count);
        let found = if index < count { right.next().transpose().map_err(Failure::io)? } else { None };
        let is_same = match &found {
            Some(found) => found.bytes() == expected.bytes(),
            // Behind a record that follows from a later event all are later, whatever event they name.
            None => extent.behind_count > 0 || event_of(&expected)?.is_none_or(|event| event >= again.event_count),
        };
        if !is_same {
            return Ok((extent, Some(differing((stream, index), Some(&expected), found.as_ref()))));
        }
        match found {
            Some(_) => extent.repeated_count = extent.repeated_count.saturating_add(1),
            None => extent.behind_count = extent.behind_count.saturating_add(1),
        }
    }
    Ok((extent, None))
}

/// Whether the log in `dir` goes to the end of its run: the last checkpoint of decisions, and no other, has a hash of the books.
pub(super) fn has_end(dir: &Path) -> Result<bool, Failure> {
    let log = open(dir, Stream::Decide)?;
    let checkpoints: Result<Vec<_>, _> = log.payloads::<DecideCheckpoint>().collect();
    Ok(checkpoints.map_err(Failure::io)?.last().is_some_and(|(_, last)| last.books_hash != [0; 2]))
}

/// Whether the log in `dir` goes to the end of its run's input: the last checkpoint of the input stands where none was due.
pub(super) fn has_input_end(dir: &Path) -> Result<bool, Failure> {
    let log = open(dir, Stream::Feed)?;
    let counts: Result<Vec<u64>, _> =
        log.payloads::<InputCheckpoint>().map(|record| record.map(|(_, record)| record.event_count)).collect();
    Ok(match counts.map_err(Failure::io)?[..] {
        [.., before, last] => last == before || !last.is_multiple_of(EVENTS_PER_CHECKPOINT),
        [last] => !last.is_multiple_of(EVENTS_PER_CHECKPOINT),
        [] => false,
    })
}

/// The first order in the log of `dir` whose decision it has lost: streams are written at the same time, and each decision
/// before its order.
pub(super) fn order_without_decision(dir: &Path) -> Result<Option<Difference>, Failure> {
    let (decisions, orders) = (open(dir, Stream::Decide)?, open(dir, Stream::Send)?);
    let mut last = OrderId(0);
    for record in decisions.payloads::<DecisionRecord>() {
        last = last.max(record.map_err(Failure::io)?.1.order_id);
    }
    for record in orders.payloads::<OrderRecord>() {
        let (_, record) = record.map_err(Failure::io)?;
        let is_new = matches!(record.transition, OrderTransition::Submitted | OrderTransition::ReplaceRequested);
        if is_new && record.order_id > last {
            return Ok(Some(Difference {
                what: format!("order {} of stream send has no decision in stream decide", record.order_id),
                expected: "every decision before its order".to_owned(),
                found: format!("decisions on orders up to {last}: the log has lost the end of stream decide"),
            }));
        }
    }
    Ok(None)
}

/// Number of the event that a record follows from; `None` where the record does not say.
fn event_of(record: &RecordRef<'_>) -> Result<Option<u64>, Failure> {
    Ok(match record.any().map_err(Failure::io)? {
        // The one that a run writes at its end stands behind the last event, wherever that is.
        AnyPayload::InputCheckpoint(record) => Some(record.event_count),
        AnyPayload::DecideCheckpoint(record) => Some(record.event_count),
        AnyPayload::SymbolListed(record) => Some(record.event_seq.0),
        AnyPayload::GapRecord(record) => Some(record.event_seq.0),
        AnyPayload::SessionRecord(record) => Some(record.event_seq.0),
        AnyPayload::TradingStateRecord(record) => Some(record.event_seq.0),
        AnyPayload::PolicyRecord(record) => Some(record.event_seq.0),
        AnyPayload::DecisionRecord(record) => Some(record.event_seq.0),
        AnyPayload::GuardHalt(record) => Some(record.event_seq.0),
        AnyPayload::HeldRecord(record) => Some(record.event_seq.0),
        AnyPayload::HeardRecord(record) => Some(record.event_seq.0),
        // A step of an order is later than the event that the order answers: it arrives at the paper venue, and is answered.
        AnyPayload::OrderRecord(_) => None,
        AnyPayload::DurationRecord(_) | AnyPayload::HistogramRecord(_) | AnyPayload::RunFact(_) => None,
    })
}
