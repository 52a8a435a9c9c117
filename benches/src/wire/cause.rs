//! Which packet an order answers, however late it comes. Matched by time an answer that comes after the next packet would be
//! taken for a quick one of that packet's, and the tail of the distribution would be cut off where the waiting ends.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use peregrine_eventlog::records::{DecisionRecord, IntentKind, SessionRecord};
use peregrine_eventlog::{LogReader, Stream};
use peregrine_types::{EpochNanos, Full, MarketEvent, ReasonCode};
use peregrine_wire::FileFeed;
use peregrine_wire::itch50::Decoder;

use super::capture::{Captured, Order};
use crate::BenchError;

/// Room for symbols: more than any session of these measurements has.
const SYMBOL_COUNT_MAX: u32 = 1_024;

/// Tells of an order which message of the feed it answers, by the message's number (MoldUDP64 counts from 1).
#[derive(Clone, Debug)]
pub enum Causes {
    /// The order says it itself: the bare echo's do.
    Identifier,
    /// The engine's log says it.
    Logged(HashMap<(bool, u64), u64>),
}

impl Causes {
    /// The causes that the log in `dir` gives for the orders of a run on a feed of `messages`.
    ///
    /// # Errors
    /// A log that cannot be read, or that does not fit the messages.
    pub fn of_run<'m>(dir: &Path, messages: impl Iterator<Item = &'m [u8]>) -> Result<Self, BenchError> {
        // By the venue's time of the day and the event's identifier: numbers of events shift where packets were lost.
        let mut events = HashMap::new();
        let mut feed = FileFeed::new(Decoder::new(EpochNanos(0), SYMBOL_COUNT_MAX));
        for (number, message) in (1_u64..).zip(messages) {
            let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
                events.entry((event.exch_time.0, event.id_a)).or_insert(number);
                Ok(())
            };
            if feed.on_message(message, None, &mut sink).is_err() {
                return Err("an event was refused".into());
            }
        }
        let sessions = LogReader::open(dir, Stream::Feed)?;
        let midnight = sessions.payloads::<SessionRecord>().next().ok_or("the log has no session")??.1.midnight;
        let mut causes = HashMap::new();
        for item in LogReader::open(dir, Stream::Decide)?.payloads::<DecisionRecord>() {
            let (_, record) = item?;
            let is_cancel = match record.intent_kind {
                IntentKind::New | IntentKind::HeldNew | IntentKind::Replace | IntentKind::HeldReplace => false,
                IntentKind::Cancel | IntentKind::HeldCancel => true,
                IntentKind::None => continue,
            };
            if record.verdict == ReasonCode::None {
                let key = (record.exch_time.since(midnight).0, record.cause_id);
                // What is withdrawn at the session's end answers no message.
                if let Some(number) = events.get(&key) {
                    causes.entry((is_cancel, record.order_id.0)).or_insert(*number);
                }
            }
        }
        if causes.is_empty() {
            Err("the log does not fit the session that was sent".into())
        } else {
            Ok(Self::Logged(causes))
        }
    }

    fn message(&self, order: &Order) -> Option<u64> {
        match self {
            Self::Identifier => (!order.is_cancel).then_some(order.identifier),
            Self::Logged(causes) => causes.get(&(order.is_cancel, u64::from(order.number))).copied(),
        }
    }

    /// Nanoseconds from each packet that was answered to the first order that answers it. Packets of one message each.
    #[must_use]
    pub fn spans(&self, captured: &Captured) -> Vec<f64> {
        let sent: HashMap<u64, EpochNanos> = captured.packets.iter().copied().collect();
        let mut answered = HashSet::new();
        let first = |(order, arrived): &(Order, EpochNanos)| {
            let number = self.message(order)?;
            let span = arrived.since(*sent.get(&number)?).0 as f64;
            answered.insert(number).then_some(span)
        };
        captured.orders.iter().filter_map(first).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets 1 µs apart; the answer to the first comes after the second's.
    #[test]
    fn a_late_answer_is_a_long_span_and_not_a_short_one() {
        let order = |number, identifier| Order { is_cancel: false, number, identifier };
        let captured = Captured {
            packets: vec![(21, EpochNanos(1_000)), (22, EpochNanos(2_000))],
            orders: vec![
                (order(2, 22), EpochNanos(2_100)),
                (order(1, 21), EpochNanos(2_300)),
                (order(3, 21), EpochNanos(2_400)),
                (order(4, 7), EpochNanos(2_500)),
            ],
            dropped_count: 0,
        };
        assert_eq!(Causes::Identifier.spans(&captured), [100.0, 1_300.0]);
        let logged = Causes::Logged([((false, 2), 21), ((true, 2), 22), ((false, 1), 22)].into());
        assert_eq!(logged.spans(&captured), [1_100.0, 300.0]);
    }
}
