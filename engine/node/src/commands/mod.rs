//! What the commands do. Each returns how the process is to end.

mod capture;
mod config;
mod demo;
mod doctor;
mod generate;
mod inspect;
mod latencies;
mod log;
mod replay;
mod run;
mod verify;

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use peregrine_eventlog::LogError;
use peregrine_runtime::StopFlag;

use crate::cli::{Cli, Command};
use crate::config::Loaded;
use crate::exit::{Exit, Failure};

/// Runs one command. `interrupted` is raised by Ctrl-C.
///
/// # Errors
/// [`Failure`] with the message and the exit status.
pub fn run(cli: Cli, interrupted: &StopFlag) -> Result<Exit, Failure> {
    match cli.command {
        Command::Demo(args) => demo::run(&args, interrupted),
        Command::Replay(args) => match &args.verify {
            Some(dir) => verify::run(dir, &args, interrupted),
            None => replay::run(&args, interrupted),
        },
        Command::Run(args) => run::run(&args, interrupted),
        Command::Generate(args) => generate::run(&args),
        Command::Capture(args) => capture::run(&args, interrupted),
        Command::Doctor(args) => doctor::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Inspect(args) => inspect::run(&args),
        Command::Log(command) => log::run(&command),
    }
}

/// Reads a profile and says so when the copy within the program was taken.
///
/// # Errors
/// [`Failure`] with every violation of the profile.
fn load_profile(file: &Path, overrides: &[String]) -> Result<Loaded, Failure> {
    let loaded = Loaded::read(file, overrides)?;
    if loaded.is_bundled {
        note(format_args!("{} is not here: the copy within the program is taken", file.display()));
    }
    Ok(loaded)
}

/// Prints a result to standard output; a reader that went away is no error.
///
/// # Errors
/// [`Failure`] when the output cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::io(format_args!("cannot write to standard output: {error}"))),
    }
}

/// Prints JSON to standard output.
///
/// # Errors
/// [`Failure`] when the output cannot be written.
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::io)?;
    print(&(text + "\n"))
}

/// A line on standard error that is no error: where things are, what was assumed.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// A log that is not there, or cannot be read, is an input error; one that is damaged answers no.
fn log_failure(error: LogError) -> Failure {
    if matches!(error, LogError::Damaged { .. }) { Failure::no(error) } else { Failure::io(error) }
}

/// Whether people read standard output.
#[must_use]
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
