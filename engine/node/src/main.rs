//! The `peregrine` binary: reads the command line, runs the command, says what went wrong.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use peregrine_node::cli::Cli;
use peregrine_node::commands;
use peregrine_node::exit::Exit;
use peregrine_node::signals::stop_on_signals;
use peregrine_runtime::{HugePageAllocator, StopFlag};

/// So that `runtime.huge_pages` can be kept: the system's allocator but for the tables of a run.
#[global_allocator]
static ALLOCATOR: HugePageAllocator = HugePageAllocator;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results, everything else is a usage error; clap prints each where it belongs.
            let status = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return match error.print() {
                Ok(()) => ExitCode::from(status as u8),
                Err(_) => ExitCode::from(Exit::Io as u8),
            };
        }
    };
    let interrupted = Arc::new(StopFlag::new());
    if let Err(error) = stop_on_signals(&interrupted) {
        eprintln!("error: cannot listen for Ctrl-C: {error}; run it where signals are allowed");
        return ExitCode::from(Exit::Io as u8);
    }
    match commands::run(cli, &interrupted) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}
