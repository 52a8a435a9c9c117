//! The research program over datasets, training and diagnosis.

mod cli;
mod commands;
mod fold;
mod interrupt;
mod progress;

use std::process::ExitCode;

fn main() -> ExitCode {
    peregrine_node::program::run(commands::run)
}
