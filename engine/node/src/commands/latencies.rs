//! `peregrine log latencies`: how long messages of a live run took to the venue and back, and the file of triples that the
//! paper venue takes.
//!
//! One-way times compare two clocks. Where a venue's time lies before its request, or behind its answer, the clocks are
//! known to differ: nothing is written then, unless the user says what is to be done about it.

use std::path::Path;

use peregrine_gateway::{Recording, RecordingError};
use peregrine_report::{ClockCheck, LatencyTriples, latency_triples};
use peregrine_types::Nanos;
use serde_json::json;

use crate::cli::LatenciesArgs;
use crate::commands::{log_failure, note, print, print_json};
use crate::exit::{Exit, Failure};
use crate::live::history::NOTE_NAME;
use crate::run::write_file;

/// Width of the table.
const WIDTH: usize = 110;

pub(super) fn run(args: &LatenciesArgs) -> Result<Exit, Failure> {
    if !args.run.join(NOTE_NAME).is_file() {
        return Err(Failure::usage(format_args!(
            "{} is not the folder of a live run (it has no {NOTE_NAME}): in any other the venue's times are the paper \
             venue's own",
            args.run.display()
        )));
    }
    let read = latency_triples(&args.run).map_err(log_failure)?;
    let triples = match (args.venue_offset, args.halve) {
        (Some(offset), _) => read.with_venue_offset(Nanos(offset)),
        (None, true) => read.halved(),
        (None, false) => read,
    };
    let clocks = triples.clocks();
    if args.json {
        print_json(&to_json(args, &triples, &clocks))?
    } else {
        print(&triples.to_text(WIDTH))?
    }
    if let Some(out) = &args.out {
        write(out, &triples, &clocks)?;
    }
    let is_sound = clocks.impossible_count == 0 && triples.damage.is_none() && !triples.triples.is_empty();
    Ok(if is_sound { Exit::Done } else { Exit::No })
}

fn to_json(args: &LatenciesArgs, triples: &LatencyTriples, clocks: &ClockCheck) -> serde_json::Value {
    json!({
        "ways": triples.figures(),
        "left_out": triples.left_out,
        "clocks": clocks,
        "venue_offset_middle_ns": clocks.middle(),
        "venue_offset_ns": args.venue_offset,
        "is_halved": args.halve,
        "damage": triples.damage,
    })
}

/// Writes the triples, if they are what the paper venue takes, or would be if they were fewer.
fn write(out: &Path, triples: &LatencyTriples, clocks: &ClockCheck) -> Result<(), Failure> {
    let refused = |why: &dyn std::fmt::Display| Failure::no(format_args!("{} is not written: {why}", out.display()));
    if clocks.impossible_count > 0 {
        let remedy = clocks.middle().map_or_else(
            || "no one offset mends all of them; --halve takes half of each round trip for either way".to_owned(),
            |middle| {
                format!(
                    "--venue-offset {middle} mends all of them, --halve takes half of each round trip for either way"
                )
            },
        );
        return Err(refused(&format_args!(
            "{} venue times cannot be, because the two clocks differ; {remedy}",
            clocks.impossible_count
        )));
    }
    let text = triples.to_csv();
    // Whoever is told to cut a file must have it.
    let too_long = match Recording::parse(text.as_bytes()) {
        Ok(_) => None,
        Err(error @ RecordingError::TooMany { .. }) => Some(error),
        Err(error) => return Err(refused(&error)),
    };
    write_file(out, text.as_bytes())?;
    if let Some(error) = too_long {
        return Err(Failure::no(format_args!(
            "{} is written, and too long for the paper venue: {error}",
            out.display()
        )));
    }
    note(format_args!("written  {}, for `[paper] latency_file` of a profile", out.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use peregrine_report::LatencyTriple;
    use peregrine_types::{EpochNanos, ReportKind};

    use super::*;

    /// A day of more messages than the paper venue takes is written all the same, so that it can be cut as the error says.
    #[test]
    fn a_file_of_too_many_rows_is_there_to_be_cut() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("ways.csv");
        let at = |ns: i64| EpochNanos(1_767_623_400_000_000_000 + ns);
        let triple = LatencyTriple { kind: ReportKind::Submit, request: Some(at(0)), venue: at(1), response: at(2) };
        let write_rows = |count: usize| {
            let triples = LatencyTriples { triples: vec![triple; count], ..LatencyTriples::default() };
            write(&out, &triples, &triples.clocks()).map_err(|failure| failure.to_string())
        };
        write_rows(3).unwrap();
        let said = write_rows((1 << 20) + 1).unwrap_err();
        assert!(said.contains("is written") && said.contains("cut the file"), "{said}");
        let text = std::fs::read_to_string(&out).unwrap();
        assert_eq!(text.lines().count(), (1 << 20) + 2);
        // A row less is what it takes.
        let cut = text.rsplit_once("submit").unwrap().0;
        assert_eq!(Recording::parse(cut.as_bytes()).unwrap().counts()[0], 1 << 20);
    }
}
