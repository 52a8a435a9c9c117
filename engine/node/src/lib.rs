//! The engine's wiring: configuration, threads, sockets and files meet the stages here. The binary `peregrine` is a
//! thin shell around this library, so that tests and benches drive the same machine.

pub mod cli;
pub mod commands;
pub mod config;
pub mod exit;
pub mod input;
pub mod live;
pub mod program;
pub mod run;
pub mod signals;
pub mod stage;
pub mod summary;
pub mod wiring;
