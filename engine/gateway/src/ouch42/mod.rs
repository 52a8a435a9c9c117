//! Nasdaq OUCH 4.2 (text of December 2018): every inbound and outbound message as a view over bytes, usable both ways.
//!
//! Messages have one length each (AIQ Canceled has two: a later revision appends a byte), tokens of 14 characters instead
//! of numbers, prices of four bytes, and times in force in seconds. What can be wrong is said as for OUCH 5.0
//! ([`ParseError`]). A message is written by filling in its struct and taking its bytes.

mod fields;
mod messages;

pub use fields::{OuchPrice, PRICE_RAW_MAX, TimeInForce, Token};
pub use messages::*;

pub use crate::ouch50::{ORDER_QTY_MAX, ParseError, ParseErrorKind, Text};

/// Bytes that hold any message of this protocol.
pub const MESSAGE_LEN_MAX: usize = 80;
