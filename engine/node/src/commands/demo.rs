//! `peregrine demo`: a generated session through the pinned pipeline.

use std::fs;

use peregrine_runtime::StopFlag;

use crate::cli::DemoArgs;
use crate::commands::replay::{conclude, execute, input_plan, parse_date, run_dir};
use crate::commands::{generate, load_profile, note};
use crate::exit::{Exit, Failure};
use crate::run::RunPlan;
use crate::stage::schedule::Pace;

/// Date of the demonstration's session, a regular Monday.
const DATE: &str = "2026-01-05";

pub(super) fn run(args: &DemoArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let loaded = load_profile(&args.config, &args.run.set)?;
    let dir = run_dir(&args.run, &loaded, "demo");
    fs::create_dir_all(&dir)
        .map_err(|error| Failure::file("create the run's folder", &dir, &error, "set log.out_dir or --out"))?;
    let session = dir.join("session.itch50");
    note(format_args!("generating a session: seed {}, {} symbols …", args.seed, args.symbol_count));
    let date = parse_date(DATE)?;
    let report = generate::write_itch(generate::config(args.seed, args.messages, args.symbol_count, date)?, &session)?;
    note(format_args!("replaying {} messages …", peregrine_report::format::count(report.message_count())));
    let input = input_plan(&loaded, &[session], Some(DATE))?;
    let command = format!(
        "peregrine demo --seed {} --messages {} --symbol-count {}",
        args.seed, args.messages, args.symbol_count
    );
    let plan = RunPlan {
        loaded,
        command,
        input,
        pace: Pace::Max,
        from: None,
        to: None,
        packet_count_max: None,
        guard_script: None,
        heard: None,
        is_cut: false,
        live: None,
        dir,
    };
    let run = execute(plan, interrupted)?;
    conclude(&run, &args.run, "Demonstration on a generated session")
}
