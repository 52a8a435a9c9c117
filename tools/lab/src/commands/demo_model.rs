//! `peregrine-lab demo-model`: the default model of the demonstration, from nothing but a seed: generated sessions, datasets,
//! training, diagnosis.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use jiff::civil::{Date, date};
use peregrine_dataset::Dataset;
use peregrine_dataset::ticks::{TickInputs, TicksConfig, build_dataset};
use peregrine_generate::{GeneratorConfig, Session, write_binary_file};
use peregrine_node::commands::{note, print};
use peregrine_node::exit::{Exit, Failure};
use peregrine_source::session;
use peregrine_train::Manifest;
use peregrine_validate::{Candidate, Diagnosis, diagnose_candidate};
use serde::Serialize;

use crate::cli::DemoModelArgs;
use crate::commands::diagnose::{exit_of, keep, not_judged, settings};
use crate::commands::train::{Files, Run, profile};
use crate::fold::{Folds, refused};
use crate::interrupt::Interrupt;

/// Dates of the generated sessions, a regular week: three days train, one validates, one is held out. Each has a seed of its own
/// and so its own symbols: what is learnt by heart from one does not help on the next.
const DATES: [Date; 5] = [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7), date(2026, 1, 8), date(2026, 1, 9)];

/// What it says, for machines.
#[derive(Serialize)]
struct Answer<'a> {
    artefact: &'a Path,
    manifest: &'a Manifest,
    diagnosis: &'a Diagnosis,
}

pub(super) fn run(args: &DemoModelArgs, interrupt: &Interrupt<'_>) -> Result<Exit, Failure> {
    let configs = profile(&args.config)?;
    let [config] = configs.as_slice() else {
        return Err(Failure::usage(format_args!("{}: one configuration, not a search", args.config.display())));
    };
    let files = Files::new(&args.run, "demo-micro".to_owned());
    files.refuse_forgotten()?;
    let ticks = TicksConfig::load(&args.dataset_config).map_err(refused)?;
    let settings = settings(&args.diagnose_config)?;
    super::dataset::folder(&args.run.out.join("session"))?;
    let mut days = Vec::with_capacity(DATES.len());
    for (seed, day) in (args.seed..).zip(DATES) {
        days.push(dataset(args, &ticks, (seed, day))?);
    }
    let Ok([first, second, third, validation, held_out]) = <[Dataset; DATES.len()]>::try_from(days) else {
        return Err(Failure::usage("a session per day is needed"));
    };
    let train = joined([first, second, third])?;
    note(format_args!("{} rows train, {} validate, {} held out", train.rows(), validation.rows(), held_out.rows()));

    let folds = Folds { train, validation };
    let run = Run { args: &args.run, config, folds: &folds, parent: None, files };
    let candidate = run.train(interrupt)?;
    interrupt.check()?;
    let train = &folds.train;
    let judged = Candidate { name: "demo-micro", model: &candidate.bytes, lstm: None };
    let diagnosis = diagnose_candidate(&judged, train, &held_out, &settings).map_err(not_judged)?;
    let said = keep(&diagnosis, &args.diagnosis)?;
    if args.run.json {
        let answer = Answer { artefact: &run.files.artefact, manifest: &candidate.manifest, diagnosis: &diagnosis };
        print(&(serde_json::to_string_pretty(&answer).map_err(Failure::io)? + "\n"))?;
    } else {
        print(&(run.files.text(&candidate) + "\n" + &said.table))?;
    }
    Ok(exit_of(&diagnosis))
}

/// Several datasets of the same columns as one.
fn joined(days: [Dataset; 3]) -> Result<Dataset, Failure> {
    let [first, second, third] = days;
    let mut meta = first.meta;
    meta.sources.extend(second.meta.sources.into_iter().chain(third.meta.sources));
    let sequences = first.sequences.into_iter().chain(second.sequences).chain(third.sequences);
    Dataset::new(meta, sequences.collect()).map_err(refused)
}

/// The decision events of one generated session.
fn dataset(args: &DemoModelArgs, config: &TicksConfig, (seed, day): (u64, Date)) -> Result<Dataset, Failure> {
    let session = args.run.out.join(format!("session-seed{seed}.itch50"));
    note(format_args!("generating a session: seed {seed}, {day}, about {} messages …", args.messages));
    generate(args, (seed, day), &session)?;
    let built = build_dataset(&TickInputs { files: vec![session.clone()], date: Some(day) }, config);
    std::fs::remove_file(&session)
        .map_err(|error| Failure::file("remove the session", &session, &error, "remove it by hand"))?;
    Ok(built.map_err(refused)?.0)
}

/// Writes the session as a length-prefixed file.
fn generate(args: &DemoModelArgs, (seed, day): (u64, Date), path: &Path) -> Result<(), Failure> {
    let midnight = session::session_midnight(day, session::NASDAQ_ZONE).map_err(Failure::usage)?;
    let config = GeneratorConfig { midnight, message_count: args.messages, ..GeneratorConfig::demo(seed) };
    config.validate().map_err(Failure::usage)?;
    let mut session = Session::new(config).map_err(Failure::usage)?;
    let written = File::create(path).map(BufWriter::new).and_then(|mut writer| {
        write_binary_file(&mut session, &mut writer)?;
        writer.flush()
    });
    written.map_err(|error| Failure::file("write", path, &error, "set --out to a place that can be written"))
}
