//! `peregrine config check` and `peregrine config print`.

use crate::cli::{ConfigArgs, ConfigCommand};
use crate::commands::print;
use crate::config::{Loaded, schema_text};
use crate::exit::{Exit, Failure};
use crate::run::hex;

pub(super) fn run(command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check(args) | ConfigCommand::Print(args) if args.schema => print(&schema_text())?,
        ConfigCommand::Check(args) => check(args)?,
        ConfigCommand::Print(args) => print(&Loaded::read(&args.config, &args.set)?.print())?,
    }
    Ok(Exit::Done)
}

fn check(args: &ConfigArgs) -> Result<(), Failure> {
    let loaded = Loaded::read(&args.config, &args.set)?;
    print(&format!("{}: sound, effective SHA-256 {}\n", args.config.display(), hex(&loaded.config.sha256())))
}
