//! What was measured, and with what: the stream that no hash covers.

use peregrine_types::{EpochNanos, EventSeq, Nanos, OrderId};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// What a duration or a histogram measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u16)]
pub enum Measured {
    /// One message from bytes to event.
    #[default]
    Decode = 0,
    /// One event applied to the book.
    Book = 1,
    /// The features of one event.
    Features = 2,
    /// From event to heads.
    Observe = 3,
    /// The step of the latent state after a decision.
    Advance = 4,
    /// Controller and risk gate.
    Decide = 5,
    /// From the event being available to its approved order being recorded.
    EventToOrder = 6,
    /// One turn of the feed role.
    FeedTurn = 7,
    /// One turn of the decide role.
    DecideTurn = 8,
    /// One turn of the send role.
    SendTurn = 9,
    /// One turn of the record role.
    RecordTurn = 10,
    /// One group sync of the log.
    LogSync = 11,
    /// From an event's due time to its being taken (open loop).
    QueueWait = 12,
    /// From the venue's time stamp to the receipt of the packet, by two clocks.
    Feed = 13,
}

/// One measured duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DurationRecord {
    /// The event that it belongs to.
    pub event_seq: EventSeq,
    /// When it began, by the system clock.
    pub start_time: EpochNanos,
    /// How long it took.
    pub duration: Nanos,
    /// The order that it belongs to, 0 if none.
    pub order_id: OrderId,
    /// What was measured.
    pub measured: Measured,
    /// Zero.
    pub reserved: [u8; 14],
}

/// A distribution of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HistogramRecord {
    /// How many durations.
    pub count: u64,
    /// Median.
    pub p50: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
    /// 99.9th percentile.
    pub p999: Nanos,
    /// The longest one.
    pub max: Nanos,
    /// What was measured.
    pub measured: Measured,
    /// Zero.
    pub reserved: [u8; 6],
}

/// A fact about the run, as a name and a short text; longer texts are cut at a character boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RunFact {
    /// The name, UTF-8, filled up with zeros.
    pub name_bytes: [u8; 16],
    /// The text, UTF-8, filled up with zeros.
    pub value_bytes: [u8; 32],
}

impl RunFact {
    /// The fact `name`: `value`.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        Self { name_bytes: padded(name), value_bytes: padded(value) }
    }

    /// The name; empty if it is not UTF-8.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.name_bytes)
    }

    /// The text; empty if it is not UTF-8.
    #[must_use]
    pub fn value(&self) -> &str {
        text(&self.value_bytes)
    }
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let fitting = text.char_indices().map(|(start, c)| start.saturating_add(c.len_utf8())).take_while(|end| *end <= N);
    let len = fitting.last().unwrap_or(0);
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(text.bytes().take(len)) {
        *to = from;
    }
    bytes
}

fn text(bytes: &[u8]) -> &str {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(bytes.get(..len).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_cut_between_characters() {
        let fact = RunFact::new("exactly-16-bytes", "äääääääääääääääää");
        assert_eq!(fact.name(), "exactly-16-bytes");
        assert_eq!(fact.value(), "ä".repeat(16));
        assert_eq!(RunFact::new("ä".repeat(9).as_str(), "").name(), "ä".repeat(8));
    }
}
