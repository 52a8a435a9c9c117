//! `peregrine replay FILE…`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use peregrine_report::VerdictOutcome;
use peregrine_runtime::StopFlag;
use peregrine_types::{EpochNanos, Nanos};

use crate::cli::{ReplayArgs, RunArgs};
use crate::commands::{load_profile, note, print};
use crate::config::{FeedSection, Loaded, Mdp3Depth};
use crate::exit::{Exit, Failure};
use crate::input::{Depth, InputPlan, Mdp3Plan};
use crate::run::{Progress, Run, RunPlan, new_run_dir, write_file};
use crate::stage::schedule::Pace;
use crate::summary;

/// Captures that one feed joins at most: the arbiter's lines.
const LINE_COUNT_MAX: usize = 4;

pub(super) fn run(args: &ReplayArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let mut set = args.run.set.clone();
    if !args.symbols.is_empty() {
        let names: Vec<String> = args.symbols.iter().map(|name| format!("\"{name}\"")).collect();
        set.push(format!("decide.symbols=[{}]", names.join(",")));
    }
    let loaded = load_profile(&args.config, &set)?;
    let pace = match args.rate {
        Some(0) => return Err(Failure::usage("--rate 0 would never end; give events per second, at least 1")),
        Some(events_per_second) => Pace::Rate { events_per_second },
        None => args.pace.parse().map_err(Failure::usage)?,
    };
    let input = input_plan(&loaded, &args.files, args.date.as_deref())?;
    let (from, to) = time_range(args, &input)?;
    let dir = run_dir(&args.run, &loaded, "replay");
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let plan = RunPlan {
        loaded,
        command,
        input,
        pace,
        from,
        to,
        packet_count_max: None,
        guard_script: None,
        heard: None,
        is_cut: false,
        live: None,
        dir,
    };
    let run = execute(plan, interrupted)?;
    conclude(&run, &args.run, "Replay")
}

/// What is to be read, as the profile and the command line say.
pub(super) fn input_plan(loaded: &Loaded, files: &[PathBuf], date: Option<&str>) -> Result<InputPlan, Failure> {
    if files.len() > LINE_COUNT_MAX {
        return Err(Failure::usage(format_args!(
            "{} files are given; one feed has at most {LINE_COUNT_MAX} lines",
            files.len()
        )));
    }
    let feed = &loaded.config.feed;
    Ok(InputPlan {
        files: files.to_vec(),
        date: date.map(parse_date).transpose()?,
        zone: feed.venue_zone.clone(),
        symbol_count_max: feed.symbol_count_max,
        reorder_window: Nanos(feed.reorder_window_ns),
        is_sequence_checked: feed.is_sequence_checked,
        mdp3: mdp3_plan(feed),
    })
}

/// How the configuration has an MDP 3.0 feed read.
pub(super) fn mdp3_plan(feed: &FeedSection) -> Mdp3Plan {
    let depth = match feed.mdp3_depth {
        Mdp3Depth::Orders => Depth::Orders,
        Mdp3Depth::Levels => Depth::Levels,
    };
    // Each was checked when the configuration was read.
    let instruments = feed.mdp3_instruments.iter().filter_map(|known| known.parse().ok()).collect();
    Mdp3Plan { depth, instruments }
}

/// A date of the command line.
pub(super) fn parse_date(text: &str) -> Result<Date, Failure> {
    text.parse().map_err(|_| Failure::usage(format_args!("\"{text}\" is no date; write it as 2026-01-05")))
}

fn time_range(args: &ReplayArgs, input: &InputPlan) -> Result<(Option<EpochNanos>, Option<EpochNanos>), Failure> {
    if args.from.is_none() && args.to.is_none() {
        return Ok((None, None));
    }
    let midnight = {
        use peregrine_source::Source;
        crate::input::open_merged(input)?.session().map(|session| session.midnight)
    };
    let moment = |text: &Option<String>| text.as_deref().map(|text| parse_moment(text, midnight)).transpose();
    let (from, to) = (moment(&args.from)?, moment(&args.to)?);
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(Failure::usage("--from is not before --to: nothing would be left")),
        range => Ok(range),
    }
}

/// `HH:MM[:SS[.fraction]]` of the venue's day, or nanoseconds since 1970.
fn parse_moment(text: &str, midnight: Option<EpochNanos>) -> Result<EpochNanos, Failure> {
    if let Ok(nanos) = text.parse::<i64>() {
        return Ok(EpochNanos(nanos));
    }
    let time: jiff::civil::Time = text.parse().map_err(|_| {
        Failure::usage(format_args!("\"{text}\" is no time; write 09:30:00.5, or nanoseconds since 1970"))
    })?;
    let midnight = midnight
        .ok_or_else(|| Failure::usage("a time of day needs the session's date: give it with --date YYYY-MM-DD"))?;
    let seconds = i64::from(time.hour()) * 3_600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Ok(midnight.plus(Nanos::from_secs(seconds)).plus(Nanos(i64::from(time.subsec_nanosecond()))))
}

/// The folder of a run: the one that was asked for, or a new one.
pub(super) fn run_dir(args: &RunArgs, loaded: &Loaded, command: &str) -> PathBuf {
    args.out.clone().unwrap_or_else(|| new_run_dir(Path::new(&loaded.config.log.out_dir), command))
}

/// Runs with a progress bar on a terminal.
pub(super) fn execute(plan: RunPlan, interrupted: &StopFlag) -> Result<Run, Failure> {
    let bar = ProgressBar::no_length();
    let style = "{bar:40} {percent:>3} %  {msg}  {elapsed_precise}, left {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut on_progress = |progress: Progress| {
        bar.set_length(progress.total_len.max(progress.read_len));
        bar.set_position(progress.read_len);
        bar.set_message(format!("{} events", peregrine_report::format::count(progress.event_count)));
    };
    let run = plan.run(interrupted, &mut on_progress);
    bar.finish_and_clear();
    run
}

/// Writes the reports, prints the tables, and says where everything is.
pub(super) fn conclude(run: &Run, args: &RunArgs, title: &str) -> Result<Exit, Failure> {
    let report = summary::report(run, title)?;
    let (html, json) = (run.dir.join("report.html"), run.dir.join("report.json"));
    let text = peregrine_report::to_json(&report);
    write_file(&json, text.as_bytes())?;
    write_file(&html, peregrine_report::to_html(&report).as_bytes())?;
    if args.json {
        print(&(text + "\n"))?;
    } else {
        print(&peregrine_report::to_terminal(&report, 110, super::is_terminal()))?;
        note(format_args!(
            "report  {}\njson    {}\nlog     {}\nverify  {}",
            html.display(),
            json.display(),
            run.dir.display(),
            run.input.proof(&run.dir.display().to_string())
        ));
    }
    let has_failed = report.verdicts.iter().any(|verdict| verdict.outcome == VerdictOutcome::Fail);
    Ok(match (run.is_interrupted, has_failed) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::No,
        (false, false) => Exit::Done,
    })
}
