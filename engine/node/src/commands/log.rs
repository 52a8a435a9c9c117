//! `peregrine log why`, `peregrine log check`, `peregrine log close` and `peregrine log latencies`.

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
use crate::live::history::{self, CloseError};
use crate::run::{MANIFEST_NAME, START_NAME, hex};

/// Folder in which the shipped profiles put their runs.
const OUT_DIR: &str = "peregrine-out";

pub(super) fn run(command: &LogCommand) -> Result<Exit, Failure> {
    match command {
        LogCommand::Why(args) => why(args),
        LogCommand::Check(args) => check(args),
        LogCommand::Close(args) => close(args),
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
    // A run that was killed is what is asked about most of all.
    let is_run = |dir: PathBuf| [START_NAME, MANIFEST_NAME].iter().any(|name| dir.join(name).is_file());
    let runs = read.filter_map(Result::ok).filter(|entry| is_run(entry.path()));
    let newest = runs.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    newest.map(|entry| entry.path()).ok_or_else(|| {
        Failure::usage(format_args!("there is no run ({}): give its folder with --run", out_dir.display()))
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

fn close(args: &LogCheckArgs) -> Result<Exit, Failure> {
    let recovery = history::close(&args.run).map_err(|error| match error {
        CloseError::Log(error) => super::log_failure(error),
        CloseError::Note(failure) => failure,
    })?;
    let (report, lost) = (recovery.report(), history::lost(&args.run)?);
    if args.json {
        let streams: Vec<_> = (recovery.streams.iter())
            .map(|stream| {
                json!({
                    "stream": stream.report.stream.name(),
                    "was_open": stream.was_open,
                    "durable_count": stream.durable_count,
                    "staged_count": stream.staged_count,
                    "lost_count": stream.lost_count,
                    "cut_count": stream.cut_count,
                    "is_staging_found": stream.is_staging_found,
                })
            })
            .collect();
        print_json(&json!({"log": to_json(&report), "recovered": streams, "lost": lost}))?;
    } else {
        let mut text = to_text(&report);
        for stream in recovery.streams.iter().filter(|stream| stream.was_open) {
            let figures = [
                (stream.durable_count, "in its files"),
                (stream.staged_count, "published and not yet in a file"),
                (stream.lost_count, "LOST: the memory that held them is damaged"),
                (stream.cut_count, "given up: something before them is missing"),
            ];
            let figures: Vec<String> = (figures.iter())
                .filter(|(figure, _)| *figure > 0)
                .map(|(figure, what)| format!("{} {what}", count(*figure)))
                .collect();
            let figures = if figures.is_empty() { "nothing was written".to_owned() } else { figures.join(", ") };
            text.push_str(&format!("{:8} closed now: {figures}\n", stream.report.stream.name()));
            if !stream.is_staging_found {
                text.push_str(
                    "         the memory of its newest records is gone: what its files had not yet is lost\n",
                );
            }
        }
        print(&text)?;
    }
    Ok(if lost.is_none() { Exit::Done } else { Exit::No })
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
