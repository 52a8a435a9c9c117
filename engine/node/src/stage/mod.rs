//! The stages as the node composes them: plain structs with step functions, no thread, no file, no clock of their own.

pub mod batch;
pub mod decide;
pub mod feed;
pub mod hash;
mod laps;
pub mod log;
pub mod machine;
pub mod path;
pub mod pnl;
pub mod repeat;
pub mod schedule;
pub mod send;
