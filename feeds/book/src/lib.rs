//! Full-depth order-by-order books for every symbol of a market, and their slow obvious twin.
//!
//! Floor 1: a book is a plain struct with a step function. [`MarketBooks::apply`] takes one [`MarketEvent`] and says in
//! a [`BookUpdate`] what it did to the book; [`MarketBooks`] also has every read (top of book, depth, single levels and
//! orders, state, canonical hash). [`NaiveBooks`] is the definition, written for the eye; [`Books`] is what trades, and
//! the tests hold it against the definition after every message.
//!
//! What the books do with events that cannot be true is written at [`BookAnomaly`]; they never panic and never wrap.
//!
//! [`MarketEvent`]: peregrine_types::MarketEvent
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic)]

mod anomaly;
mod books;
mod config;
mod hash;
mod ladder;
mod level_pool;
mod market;
mod naive;
mod order_table;
mod status;
mod update;

pub use anomaly::{AnomalyCounts, BookAnomaly};
pub use books::Books;
pub use config::{BookConfig, BookConfigError};
pub use market::{MarketBooks, RestingOrder};
pub use naive::NaiveBooks;
pub use update::{BookAction, BookUpdate, Placed, Priority, TradePrint};

/// Largest quantity of one order: ITCH 5.0 sends 32 bits; a larger one is [`BookAnomaly::QtyTooLarge`].
pub const ORDER_QTY_MAX: u64 = u32::MAX as u64;
/// Largest quantity of one price level (2⁴⁰ − 1, a million orders of a million shares); an order that would exceed it
/// is [`BookAnomaly::QtyTooLarge`].
pub const LEVEL_QTY_MAX: u64 = (1 << 40) - 1;
/// Most price levels on one side of one symbol; one more is [`BookAnomaly::LevelCapacity`].
pub const SIDE_LEVEL_COUNT_MAX: u32 = 1 << 16;
