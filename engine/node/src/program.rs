//! What every program of the house does around its commands: reads the command line, listens for Ctrl-C, says what went
//! wrong, and ends with the status that the outcome has.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use peregrine_runtime::StopFlag;

use crate::exit::{Exit, Failure};
use crate::signals::stop_on_signals;

/// Runs a program: `commands` gets the command line and a flag that Ctrl-C raises.
pub fn run<C: Parser>(commands: impl FnOnce(C, &StopFlag) -> Result<Exit, Failure>) -> ExitCode {
    let cli = match C::try_parse() {
        Ok(cli) => cli,
        Err(error) => return status(usage(&error)),
    };
    let interrupted = Arc::new(StopFlag::new());
    let outcome = match stop_on_signals(&interrupted) {
        Ok(()) => commands(cli, &interrupted),
        Err(error) => {
            Err(Failure::io(format_args!("cannot listen for Ctrl-C: {error}; run it where signals are allowed")))
        }
    };
    status(outcome.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        failure.exit
    }))
}

/// Help and version are results, everything else is a usage error; clap prints each where it belongs.
fn usage(error: &clap::Error) -> Exit {
    match error.print() {
        Ok(()) if error.use_stderr() => Exit::Usage,
        Ok(()) => Exit::Done,
        Err(_) => Exit::Io,
    }
}

fn status(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}
