//! Nasdaq TotalView-ITCH 5.0 (revision of 2026-02-19): the 23 messages as views over bytes, and their decoder.

mod fields;
mod messages;

pub use fields::{Price4, Price8, U48};
pub use messages::*;
