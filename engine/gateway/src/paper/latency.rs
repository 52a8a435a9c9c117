//! How long an order takes to the venue and a report back.

use peregrine_types::{EpochNanos, Nanos};

/// A latency model; firms plug in their own (row B4). Calls come in the order of time, so that a model may keep state,
/// and must be deterministic: same calls, same answers.
pub trait LatencyModel {
    /// From the decision at `sent` to the matching engine.
    fn way_there(&mut self, sent: EpochNanos) -> Nanos;
    /// From the matching engine at `venue_time` back to the decision.
    fn way_back(&mut self, venue_time: EpochNanos) -> Nanos;
    /// The least that [`LatencyModel::way_there`] can answer, at least 1 ns: how far the venue stage may run ahead.
    fn way_there_min(&self) -> Nanos;
    /// The least that [`LatencyModel::way_back`] can answer, at least 1 ns: how far the decide role may run ahead.
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
    fn way_there(&mut self, _sent: EpochNanos) -> Nanos {
        self.to_venue
    }

    fn way_back(&mut self, _venue_time: EpochNanos) -> Nanos {
        self.from_venue
    }

    fn way_there_min(&self) -> Nanos {
        self.to_venue
    }

    fn way_back_min(&self) -> Nanos {
        self.from_venue
    }
}
