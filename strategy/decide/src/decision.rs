//! One decision and what surrounds it: the event that it answers, the stages that it passes, the record that is kept of it.

use peregrine_book::BookUpdate;
use peregrine_model::{HORIZON_COUNT_MAX, Heads, NonFinite, Regime};
use peregrine_types::{EpochNanos, EventSeq, MarketEvent, Position, SymbolId};

use crate::{FEATURE_COUNT, FeatureVector, Outcome};

/// A part of the work on one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Features were brought up to date (and the vector made, on a decision event).
    Features,
    /// The kernel observed the vector.
    Observe,
    /// The controller decided.
    Controller,
    /// The kernel made its next step, off the critical path.
    Advance,
}

/// Measures the stages; handed in by the wiring, which owns the clock.
pub trait Stopwatch {
    /// `stage` is over.
    fn lap(&mut self, stage: Stage);
}

impl<F: FnMut(Stage)> Stopwatch for F {
    #[inline]
    fn lap(&mut self, stage: Stage) {
        self(stage);
    }
}

/// Measures nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStopwatch;

impl Stopwatch for NoStopwatch {
    #[inline]
    fn lap(&mut self, _stage: Stage) {}
}

/// One event with what it did to the book.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its position in the input.
    pub seq: EventSeq,
    /// The event.
    pub event: &'a MarketEvent,
    /// What the book made of it.
    pub update: &'a BookUpdate,
}

/// What was decided on, with what, for the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The event decided on.
    pub seq: EventSeq,
    /// Its `recv_time`.
    pub time: EpochNanos,
    /// The instrument.
    pub symbol: SymbolId,
    /// What came of it.
    pub outcome: Outcome,
    /// What was held before.
    pub position: Position,
    /// What is aimed at.
    pub target: Position,
    /// What the model was shown.
    pub features: FeatureVector,
    /// What the model said; zeros after [`Outcome::NonFinite`].
    pub heads: Heads,
    /// Why there are no heads.
    pub non_finite: Option<NonFinite>,
}

impl Decision {
    /// None yet.
    pub(crate) const NONE: Self = Self {
        seq: EventSeq(0),
        time: EpochNanos(0),
        symbol: SymbolId::MARKET,
        outcome: Outcome::Held,
        position: Position::FLAT,
        target: Position::FLAT,
        features: [0.0; FEATURE_COUNT],
        heads: Heads {
            return_mean: [0.0; HORIZON_COUNT_MAX],
            return_log_var: [0.0; HORIZON_COUNT_MAX],
            horizon_count: 0,
            up_probability: 0.0,
            regime: Regime { index: 0, confidence: 0.0 },
            action: 0.0,
            surprise: 0.0,
        },
        non_finite: None,
    };
}
