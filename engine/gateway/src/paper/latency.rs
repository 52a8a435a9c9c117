//! How long an order takes to the venue and a report back.

use peregrine_types::{EpochNanos, Nanos, ReportKind};

use super::modeled::ModeledLatency;
use super::recorded::RecordedLatency;

/// What a message of ours asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A new order.
    Submit,
    /// A replacement.
    Replace,
    /// A cancel.
    Cancel,
}

/// A latency model; firms plug in their own (row B4). Calls of either way come in the order of their times, so that a
/// model may keep state, and must be deterministic: same calls, same answers. Messages of one direction never overtake
/// each other, whatever a model answers: one that would is there together with the one before it.
pub trait LatencyModel {
    /// From the decision at `sent` to the matching engine.
    fn way_there(&mut self, kind: RequestKind, sent: EpochNanos) -> Nanos;
    /// From the matching engine at `venue_time` back to the decision.
    fn way_back(&mut self, kind: ReportKind, venue_time: EpochNanos) -> Nanos;
    /// A market event of `time` is about to reach the venue. When a way is asked for, every event before the message's
    /// time has been told, and perhaps some up to [`LatencyModel::way_there_min`] behind it: those must not count, or the
    /// threads' pace would.
    #[inline]
    fn on_event(&mut self, _time: EpochNanos) {}
    /// At least 1 ns and at most the least that [`LatencyModel::way_there`] answers for any kind: how far the venue stage
    /// may run ahead.
    fn way_there_min(&self) -> Nanos;
    /// The least that [`LatencyModel::way_back`] can answer for any kind, at least 1 ns: how far the decide role may run
    /// ahead.
    fn way_back_min(&self) -> Nanos;
}

/// The same latency for every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConstantLatency {
    /// Decision to matching engine, at least 1 ns.
    pub to_venue: Nanos,
    /// Matching engine to decision, at least 1 ns.
    pub from_venue: Nanos,
}

impl LatencyModel for ConstantLatency {
    fn way_there(&mut self, _kind: RequestKind, _sent: EpochNanos) -> Nanos {
        self.to_venue
    }

    fn way_back(&mut self, _kind: ReportKind, _venue_time: EpochNanos) -> Nanos {
        self.from_venue
    }

    fn way_there_min(&self) -> Nanos {
        self.to_venue
    }

    fn way_back_min(&self) -> Nanos {
        self.from_venue
    }
}

/// One of the models that this crate has.
#[expect(clippy::large_enum_variant, reason = "a run has one, and it is in no ring")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VenueLatency {
    /// The same for every message.
    Constant(ConstantLatency),
    /// As it was recorded.
    Recorded(RecordedLatency),
    /// By kind, with a spread and with bursts.
    Modeled(ModeledLatency),
}

impl LatencyModel for VenueLatency {
    fn way_there(&mut self, kind: RequestKind, sent: EpochNanos) -> Nanos {
        match self {
            Self::Constant(latency) => latency.way_there(kind, sent),
            Self::Recorded(latency) => latency.way_there(kind, sent),
            Self::Modeled(latency) => latency.way_there(kind, sent),
        }
    }

    fn way_back(&mut self, kind: ReportKind, venue_time: EpochNanos) -> Nanos {
        match self {
            Self::Constant(latency) => latency.way_back(kind, venue_time),
            Self::Recorded(latency) => latency.way_back(kind, venue_time),
            Self::Modeled(latency) => latency.way_back(kind, venue_time),
        }
    }

    #[inline]
    fn on_event(&mut self, time: EpochNanos) {
        match self {
            Self::Constant(_) | Self::Recorded(_) => {}
            Self::Modeled(latency) => latency.on_event(time),
        }
    }

    fn way_there_min(&self) -> Nanos {
        match self {
            Self::Constant(latency) => latency.way_there_min(),
            Self::Recorded(latency) => latency.way_there_min(),
            Self::Modeled(latency) => latency.way_there_min(),
        }
    }

    fn way_back_min(&self) -> Nanos {
        match self {
            Self::Constant(latency) => latency.way_back_min(),
            Self::Recorded(latency) => latency.way_back_min(),
            Self::Modeled(latency) => latency.way_back_min(),
        }
    }
}
