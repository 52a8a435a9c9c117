//! `peregrine log why`, `peregrine log check` and `peregrine log latencies`.

use std::path::{Path, PathBuf};

use peregrine_decide::DEFINITIONS;
use peregrine_eventlog::{LogReport, Stream};
use peregrine_report::StoryError;
use peregrine_report::format::{bytes, count};
use peregrine_types::OrderId;
use serde_json::json;

use crate::cli::{LogCheckArgs, LogCommand, WhyArgs};
use crate::commands::{print, print_json};
use crate::exit::{Exit, Failure};
use crate::run::hex;

/// Folder in which the shipped profiles put their runs.
const OUT_DIR: &str = "peregrine-out";

pub(super) fn run(command: &LogCommand) -> Result<Exit, Failure> {
    match command {
        LogCommand::Why(args) => why(args),
        LogCommand::Check(args) => check(args),
        LogCommand::Latencies(args) => super::latencies::run(args),
    }
}

fn why(args: &WhyArgs) -> Result<Exit, Failure> {
    let dir = match &args.run {
        Some(dir) => dir.clone(),
        None => newest_run(Path::new(OUT_DIR))?,
    };
    let names: Vec<&str> = DEFINITIONS.iter().map(|definition| definition.name).collect();
    let story = peregrine_report::order_story(&dir, OrderId(args.order), &names).map_err(|error| match error {
        StoryError::Log(error) => super::log_failure(error),
        missing @ StoryError::OrderMissing { .. } => Failure::usage(missing),
    })?;
    print(&if args.json { story.to_json() } else { story.to_text() })?;
    Ok(if story.damages.is_empty() { Exit::Done } else { Exit::No })
}

fn newest_run(out_dir: &Path) -> Result<PathBuf, Failure> {
    let read = std::fs::read_dir(out_dir)
        .map_err(|error| Failure::file("list runs", out_dir, &error, "give the run's folder with --run"))?;
    let runs = read.filter_map(Result::ok).filter(|entry| entry.path().join("run.json").is_file());
    let newest = runs.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    newest.map(|entry| entry.path()).ok_or_else(|| {
        Failure::usage(format_args!("there is no finished run ({}): give its folder with --run", out_dir.display()))
    })
}

fn check(args: &LogCheckArgs) -> Result<Exit, Failure> {
    let report = match peregrine_eventlog::verify(&args.run) {
        Ok(report) => report,
        Err(error) => return Err(super::log_failure(error)),
    };
    if args.json {
        print_json(&to_json(&report))?
    } else {
        print(&to_text(&report))?
    }
    Ok(if report.is_sealed() { Exit::Done } else { Exit::No })
}

/// What a log holds, as JSON.
pub(super) fn to_json(report: &LogReport) -> serde_json::Value {
    let streams: Vec<_> = report
        .streams
        .iter()
        .map(|stream| {
            json!({
                "stream": stream.stream.name(),
                "record_count": stream.record_count,
                "segment_count": stream.segment_count,
                "len": stream.len,
                "chain_head": hex(&stream.chain_head),
                "is_sealed": stream.is_sealed,
            })
        })
        .collect();
    json!({"is_sealed": report.is_sealed(), "log_hash": hex(&report.log_hash()), "streams": streams})
}

/// What a log holds, for people.
pub(super) fn to_text(report: &LogReport) -> String {
    let mut text = String::new();
    for stream in Stream::ALL {
        let stream = report.stream(stream);
        let end = if stream.is_sealed { "sealed" } else { "OPEN: not closed, or cut" };
        text.push_str(&format!(
            "{:8} {:>14} records  {:>10}  {end}\n",
            stream.stream.name(),
            count(stream.record_count),
            bytes(stream.len)
        ));
    }
    text + &format!("log hash {}\n", hex(&report.log_hash()))
}
