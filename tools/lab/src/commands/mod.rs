//! What the commands do. Each returns how the process is to end.

mod convert;
mod dataset;
mod demo_model;
mod diagnose;
mod interchange;
mod train;
mod trials;
mod truth;

use std::path::Path;

use peregrine_dataset::write_atomically;
use peregrine_node::exit::{Exit, Failure};
use peregrine_runtime::StopFlag;
use peregrine_train::TrainError;

use crate::cli::{Cli, Command};
use crate::interrupt::Interrupt;

/// Runs one command. `interrupted` is raised by Ctrl-C.
pub(crate) fn run(cli: Cli, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let interrupt = &Interrupt::new(interrupted)?;
    match cli.command {
        Command::Dataset(command) => dataset::run(&command),
        Command::Convert(args) => convert::run(&args),
        Command::Train(args) => train::run(&args, interrupt),
        Command::Diagnose(args) => diagnose::run(&args),
        Command::Finetune(args) => train::tune(&args, train::Tuning::Finetune, interrupt),
        Command::Retrain(args) => train::tune(&args, train::Tuning::Retrain, interrupt),
        Command::Import(args) => interchange::import(&args),
        Command::Export(args) => interchange::export(&args),
        Command::Trials(args) => trials::run(&args),
        Command::DemoModel(args) => demo_model::run(&args, interrupt),
        Command::Truth(args) => truth::run(&args, interrupt),
    }
}

/// A training run that gave no candidate.
fn not_trained(error: TrainError) -> Failure {
    match &error {
        TrainError::Interrupted { .. } => Failure::interrupted(error),
        TrainError::Io { .. } | TrainError::Ledger { .. } => Failure::io(error),
        TrainError::Diverged { .. } => Failure::no(error),
        TrainError::Config { .. }
        | TrainError::Bound { .. }
        | TrainError::Dataset { .. }
        | TrainError::Checkpoint { .. }
        | TrainError::Model(_)
        | TrainError::Statistics { .. } => Failure::usage(error),
    }
}

/// Reads a file.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file("read", path, &error, "name a file that can be read"))
}

/// Writes a file, whole or not at all, and the folders that it lies in.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes)
        .map_err(|error| Failure::file("write", path, &error, "name a place that can be written"))
}
