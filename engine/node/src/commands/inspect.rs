//! `peregrine inspect FILE…`: what is in a capture, an ITCH file or an event log, and whether it is sound.

mod bbo;
mod market;

use std::path::Path;

use crate::cli::InspectArgs;
use crate::commands::{log_failure, print};
use crate::exit::{Exit, Failure};

pub(super) fn run(args: &InspectArgs) -> Result<Exit, Failure> {
    match args.files.as_slice() {
        [dir] if dir.is_dir() => log(dir, args.json),
        files if files.iter().any(|file| file.is_dir()) => {
            Err(Failure::usage("an event log's folder is inspected alone; give it without other files"))
        }
        _ => market::run(args),
    }
}

/// Our own event log.
fn log(dir: &Path, is_json: bool) -> Result<Exit, Failure> {
    let summary = peregrine_report::log_summary(dir).map_err(log_failure)?;
    print(&if is_json { summary.to_json() } else { summary.to_text(140) })?;
    let is_sound = summary.verified.as_ref().is_ok_and(peregrine_eventlog::LogReport::is_sealed);
    Ok(if is_sound { Exit::Done } else { Exit::No })
}
