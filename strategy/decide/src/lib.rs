//! Order-book features, the controller and the glue of the decide role: book, events and fills in, order intents out.
//!
//! Floor 2. Floats begin here: [`FeatureEngine`] turns books into the thirty-two features of [`DEFINITIONS`]. Time is
//! the `recv_time` of events and nothing else; every exponential and logarithm is made of exactly rounded operations,
//! so that one input gives the same bits in every build and on every host.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod config;
mod controller;
mod decision;
mod features;
mod held;
mod intents;
mod math;
mod strategy;
mod tick;
mod trigger;

pub use config::{ConfigViolation, DecideConfig};
pub use controller::{Controller, DecisionView, Outcome, ThresholdController};
pub use decision::{Decision, Input, NoStopwatch, Stage, Stopwatch};
pub use features::naive::NaiveFeatures;
pub use features::{
    DEFINITION_VERSION, DEFINITIONS, FEATURE_COUNT, FeatureConfig, FeatureDefinition, FeatureEngine, FeatureSink,
    FeatureVector, SymbolFeatures, WatchRefused, definition_hash, definition_hash_hex, definition_text,
};
pub use held::{
    HeldAction, HeldChange, HeldConfig, HeldIntent, HeldKind, HeldLimits, HeldMemory, HeldOrders, HeldView,
    PegReference, RestOrder,
};
pub use intents::{INTENTS_PER_SYMBOL_MAX, IntentBatch};
pub use math::{exp_neg, log2};
pub use strategy::{Strategy, StrategyConfig, StrategyCounters, StrategyError, Watch};
pub use tick::round_to_tick;
pub use trigger::Trigger;
