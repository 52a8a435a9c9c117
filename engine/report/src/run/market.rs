//! The market's side of the report: inputs, feed, books, speed.

use peregrine_types::EpochNanos;
use serde::Serialize;

use super::ser;

/// One file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InputReport {
    /// Its path, as given.
    pub path: String,
    /// Its format, such as `ITCH 5.0, length-prefixed` or `pcap, nanoseconds`.
    pub format: String,
    /// The line that it was read as, such as `A`; empty where lines do not apply.
    pub line: String,
    /// Its length in bytes, as it lies on the disk.
    pub len: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Packets in it, 0 for a file without packets.
    pub packet_count: u64,
    /// Messages in it.
    pub message_count: u64,
    /// How it ended, for people, such as `complete` or `truncated at offset 1,234`.
    pub end: String,
}

/// Messages of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MessageRow {
    /// The type as the protocol writes it, such as `A`.
    pub code: String,
    /// Its name in the specification.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// What one line of the feed brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineReport {
    /// Its name, such as `A`.
    pub name: String,
    /// Packets received.
    pub packet_count: u64,
    /// Messages in them.
    pub message_count: u64,
    /// Messages that this line brought first.
    pub first_count: u64,
    /// Messages that had come already.
    pub duplicate_count: u64,
    /// Messages that came after they were given up.
    pub late_count: u64,
    /// How often the line jumped forward.
    pub gap_count: u64,
    /// Messages that it jumped over.
    pub gap_message_count: u64,
    /// Packets refused because their bytes are no packet.
    pub malformed_count: u64,
}

/// Gaps of the whole feed, after arbitration of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GapTotals {
    /// Gaps declared.
    pub declared_count: u64,
    /// Gaps of which every message came after all.
    pub recovered_count: u64,
    /// Ranges of messages that were given up; one gap may lose several.
    pub lost_count: u64,
    /// Messages in the ranges that were given up.
    pub lost_message_count: u64,
}

/// What the feed made of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FeedReport {
    /// Messages of the venue.
    pub message_count: u64,
    /// Market events made of them; one message may be two events.
    pub event_count: u64,
    /// Messages by type.
    pub messages: Vec<MessageRow>,
    /// The venue's stamp of the first event.
    #[serde(serialize_with = "ser::time_option")]
    pub first_exch_time: Option<EpochNanos>,
    /// The venue's stamp of the last event.
    #[serde(serialize_with = "ser::time_option")]
    pub last_exch_time: Option<EpochNanos>,
    /// Whether receive times were not measured but copied from the venue's stamps.
    pub is_recv_time_synthetic: bool,
    /// Messages refused because their bytes are not what their type says.
    pub malformed_count: u64,
    /// Messages of a type that the protocol does not have.
    pub unknown_type_count: u64,
    /// How often a receive time lay before the one before it; it was lifted to that.
    pub recv_time_backward_count: u64,
    /// The feed's lines; empty for files without packets.
    pub lines: Vec<LineReport>,
    /// Gaps of the whole feed.
    pub gaps: GapTotals,
}

/// Impossible events of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AnomalyRow {
    /// The kind, such as `UnknownOrder`.
    pub kind: String,
    /// How many.
    pub count: u64,
}

/// The books at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BookReport {
    /// Symbols that were listed.
    pub symbol_count: u64,
    /// Orders resting at the end.
    pub live_order_count: u64,
    /// Most orders resting at once.
    pub live_order_count_max: u64,
    /// Impossible events by kind.
    pub anomalies: Vec<AnomalyRow>,
    /// Symbols whose book cannot be believed any more.
    pub quarantined_symbols: Vec<String>,
}

/// How fast the input was played. The latency figures mean different things for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Pacing {
    /// As fast as the engine takes it (closed loop): queueing is not in the figures.
    #[default]
    Max,
    /// At the recorded times.
    Recorded,
    /// At the recorded times, `factor` times as fast.
    Scaled {
        /// How many times as fast.
        factor: f64,
    },
    /// At a constant rate, whatever the engine does (open loop): no coordinated omission.
    OpenLoop {
        /// Events per second.
        events_per_second: u64,
    },
}

impl Pacing {
    /// How the input was played and what the latency figures therefore hold, for people.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Max => {
                "as fast as the engine takes it (closed loop): waiting before the engine is not in the latencies"
                    .to_owned()
            }
            Self::Recorded => "at the recorded times".to_owned(),
            Self::Scaled { factor } => format!("at {factor} times the recorded pace"),
            Self::OpenLoop { events_per_second } => {
                let rate = crate::format::count(*events_per_second);
                format!("{rate} events/s whatever the engine does (open loop): waiting is in the latencies")
            }
        }
    }
}

/// Speed in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ThroughputPoint {
    /// End of the interval, in nanoseconds since the run started.
    pub at_ns: u64,
    /// Its length in nanoseconds.
    pub interval_ns: u64,
    /// Events processed in it.
    pub event_count: u64,
}

impl ThroughputPoint {
    /// Events per second in the interval, 0 for an empty one.
    #[must_use]
    pub fn events_per_second(&self) -> u64 {
        rate(self.event_count, self.interval_ns)
    }
}

/// Speed of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ThroughputReport {
    /// How the input was played.
    pub pacing: Pacing,
    /// Events processed.
    pub event_count: u64,
    /// From the first event to the last, in nanoseconds of the system clock.
    pub span_ns: u64,
    /// Events per second over that span.
    pub events_per_second: u64,
    /// The same per interval.
    pub series: Vec<ThroughputPoint>,
}

impl ThroughputReport {
    /// The report of `event_count` events in `span_ns` nanoseconds; the rate follows.
    #[must_use]
    pub fn new(pacing: Pacing, event_count: u64, span_ns: u64, series: Vec<ThroughputPoint>) -> Self {
        Self { pacing, event_count, span_ns, events_per_second: rate(event_count, span_ns), series }
    }
}

/// `count` per second over `span_ns`, rounded down; 0 for no span.
fn rate(count: u64, span_ns: u64) -> u64 {
    let scaled = u128::from(count).saturating_mul(1_000_000_000);
    let rate = scaled.checked_div(u128::from(span_ns)).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_events_per_second_and_never_a_division_by_zero() {
        assert_eq!(
            ThroughputReport::new(Pacing::Max, 3_000_000, 1_500_000_000, Vec::new()).events_per_second,
            2_000_000
        );
        assert_eq!(rate(5, 0), 0);
        assert_eq!(rate(u64::MAX, 1), u64::MAX);
    }
}
