//! `peregrine log latencies`: how long messages of a live run took to the venue and back, and the file of triples that the
//! paper venue takes.
//!
//! One-way times compare two clocks. Where a venue's time lies before its request, or behind its answer, the clocks are
//! known to differ: nothing is written then, unless the user says what is to be done about it.

use std::path::Path;

use peregrine_gateway::Recording;
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

/// Writes the triples, if they are what the paper venue takes.
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
    Recording::parse(text.as_bytes()).map_err(|error| refused(&error))?;
    write_file(out, text.as_bytes())?;
    note(format_args!("written  {}, for `[paper] latency_file` of a profile", out.display()));
    Ok(())
}
