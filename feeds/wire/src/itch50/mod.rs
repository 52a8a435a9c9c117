//! Nasdaq TotalView-ITCH 5.0 (revision of 2026-02-19): the 23 messages as views over bytes, and their decoder.

mod decoder;
mod fields;
mod messages;
mod rules;
mod symbols;

pub use decoder::{DAY_NS, Decoded, Decoder, DecoderCounters};
pub use fields::{Price4, Price8, U48};
pub use messages::*;
pub use rules::{check, stock};
pub use symbols::{DirectoryFull, SYMBOL_COUNT_MAX, SymbolDirectory};

use rules::other_events;
