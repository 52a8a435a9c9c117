//! ITCH sessions as DBN, schema `mbo`.
//!
//! | ITCH 5.0 | DBN |
//! |---|---|
//! | `A`, `F` | A |
//! | `E` | T of the aggressor's side, F and C of the resting order |
//! | `C` | as `E` at its own price; without T where it is not printable |
//! | `X`, `D` | C, of what is left for `D` |
//! | `U` | C of the old order and A of the new one, in one event |
//! | `P`, `Q` | T without a side |
//! | gaps | the flag `MAYBE_BAD_BOOK` on the next record |
//! | everything else | counted, not written |
//!
//! Instrument numbers are those of the session's directory by first appearance, from 1.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::num::NonZeroU64;

use dbn::encode::{DbnEncoder, EncodeRecord};
use dbn::{FlagSet, MappingInterval, MboMsg, Metadata, RecordHeader, SType, Schema, SymbolMapping, UNDEF_PRICE};
use peregrine_source::market::{Input, InputPlan};
use peregrine_types::{EventFlags, EventKind, MarketEvent, OrderRef, Price, Qty, Side, Sink, SymbolId};
use serde::Serialize;

use crate::ConvertError;

/// The feed whose format the session has.
const DATASET: &str = "XNAS.ITCH";
/// The publisher of [`DATASET`] (Databento's list of publishers).
const PUBLISHER: u16 = 2;

/// What is to be written as DBN.
#[derive(Clone, Debug)]
pub struct DbnPlan {
    /// The session: files, date, zone.
    pub input: InputPlan,
    /// Whether the file is compressed with zstd.
    pub is_zstd: bool,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DbnSummary {
    /// Records by action.
    pub records: BTreeMap<char, u64>,
    /// Events that an order book has no use for, by kind.
    pub left_out: BTreeMap<String, u64>,
    /// Changes of orders that are not in the session, which were left out, and gaps.
    pub unknown_orders: u64,
    /// Gaps of the session.
    pub gaps: u64,
    /// Whether nothing was unknown and no message was missing or malformed.
    pub is_sound: bool,
}
