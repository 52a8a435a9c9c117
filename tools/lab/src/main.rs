//! The research program over datasets, training and diagnosis.

mod cli;
mod commands;
mod fold;
mod progress;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use peregrine_node::exit::Exit;
use peregrine_node::signals::stop_on_signals;
use peregrine_runtime::StopFlag;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
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
