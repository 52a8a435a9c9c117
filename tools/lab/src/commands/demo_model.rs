//! `peregrine-lab demo-model`: the default model of the demonstration, from nothing but a seed: generated session, dataset,
//! training, diagnosis.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use jiff::civil::{Date, date};
use peregrine_dataset::Dataset;
use peregrine_dataset::ticks::{TickInputs, TicksConfig, build_dataset};
use peregrine_generate::{GeneratorConfig, Session, write_binary_file};
use peregrine_node::commands::note;
use peregrine_node::exit::{Exit, Failure};
use peregrine_runtime::StopFlag;
use peregrine_source::session;
use peregrine_validate::{Candidate, diagnose_candidate};

use crate::cli::DemoModelArgs;
use crate::commands::diagnose::{conclude, not_judged, settings};
use crate::commands::train::{Run, profile};
use crate::fold::{Folds, purge_rows, refused};

/// Date of the generated session, a regular Monday.
const DATE: Date = date(2026, 1, 5);

pub(super) fn run(args: &DemoModelArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let configs = profile(&args.config)?;
    let [config] = configs.as_slice() else {
        return Err(Failure::usage(format_args!("{}: one configuration, not a search", args.config.display())));
    };
    let ticks = TicksConfig::load(&args.dataset_config).map_err(refused)?;
    let session = args.run.out.join(format!("session-seed{}.itch50", args.seed));
    super::dataset::folder(&session)?;
    note(format_args!("generating a session: seed {}, about {} messages …", args.seed, args.messages));
    generate(args, &session)?;
    let inputs = TickInputs { files: vec![session.clone()], date: Some(DATE) };
    let (data, _) = build_dataset(&inputs, &ticks).map_err(refused)?;
    std::fs::remove_file(&session)
        .map_err(|error| Failure::file("remove the session", &session, &error, "remove it by hand"))?;

    // Three fifths train, one fifth validates, the last fifth is held out.
    let purge = purge_rows(&data);
    let (seen, held_out) = data.split_at(time_of_share(&data, 4)?, purge).map_err(refused)?;
    let (train, validation) = seen.split_at(time_of_share(&data, 3)?, purge).map_err(refused)?;
    note(format_args!("{} rows train, {} validate, {} held out", train.rows(), validation.rows(), held_out.rows()));

    let run = Run::named(&args.run, "demo-micro", config);
    let candidate = run.train(&Folds { train: train.clone(), validation }, interrupted)?;
    run.conclude(&candidate)?;
    let settings = settings(&args.diagnose_config)?;
    let judged = Candidate { name: "demo-micro", model: &candidate.bytes, lstm: None };
    let diagnosis = diagnose_candidate(&judged, &train, &held_out, &settings).map_err(not_judged)?;
    conclude(&diagnosis, &args.diagnosis, args.run.json)?;
    Ok(Exit::Done)
}

/// The moment before which `fifths` fifths of the rows lie.
fn time_of_share(data: &Dataset, fifths: usize) -> Result<i64, Failure> {
    let mut times: Vec<i64> = data.sequences.iter().flat_map(|sequence| sequence.time_ns.iter().copied()).collect();
    times.sort_unstable();
    let time = times.get(times.len() * fifths / 5).copied();
    time.ok_or_else(|| Failure::usage("the session has no decision event"))
}

/// Writes the session as a length-prefixed file.
fn generate(args: &DemoModelArgs, path: &Path) -> Result<(), Failure> {
    let midnight = session::session_midnight(DATE, session::NASDAQ_ZONE).map_err(Failure::usage)?;
    let config = GeneratorConfig { midnight, message_count: args.messages, ..GeneratorConfig::demo(args.seed) };
    config.validate().map_err(Failure::usage)?;
    let mut session = Session::new(config).map_err(Failure::usage)?;
    let written = File::create(path).map(BufWriter::new).and_then(|mut writer| {
        write_binary_file(&mut session, &mut writer)?;
        writer.flush()
    });
    written.map_err(|error| Failure::file("write", path, &error, "set --out to a place that can be written"))
}
