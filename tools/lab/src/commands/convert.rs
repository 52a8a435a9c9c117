//! `peregrine-lab convert`: captures of other formats as sessions, and sessions as DBN.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use jiff::civil::Date;
use peregrine_convert::{
    Action, ConvertError, DbnSchema, DbnSummary, Format, Lot, Plan, PriceScale, StampClock, Summary,
};
use peregrine_dataset::{Partial, SourceDigest, digest_file};
use peregrine_node::commands::{note, print, print_json};
use peregrine_node::exit::{Exit, Failure};
use peregrine_source::market::InputPlan;
use peregrine_source::session::date_in_name;
use peregrine_types::Nanos;
use serde_json::{Value, json};

use crate::cli::{CLOCK_BOUND_MS, ConvertArgs, SourceFormat, Stamp, TargetFormat, TargetSchema};
use crate::commands::dataset::folder;
use crate::commands::write;
use crate::fold::{refused, time};

/// Version of the manifest's layout.
const LAYOUT_VERSION: u32 = 1;
/// Symbols that a session written as DBN can have.
const SYMBOL_COUNT_MAX: u32 = 65_536;
/// How long a packet past a gap waits for what is missing.
const REORDER_WINDOW_MS: i64 = 2;

pub(super) fn run(args: &ConvertArgs) -> Result<Exit, Failure> {
    let date = args.date.as_deref().map(str::parse::<Date>).transpose();
    let date = date.map_err(|error| Failure::usage(format_args!("--date: {error}; write it as 2026-01-05")))?;
    if args.to == TargetFormat::Itch50 && args.schema.is_some() {
        return Err(Failure::usage("--schema says which records a DBN file has; leave it out without --to dbn"));
    }
    match (args.to, args.files.as_slice()) {
        (TargetFormat::Itch50, [input]) => to_session(args, input, date),
        (TargetFormat::Itch50, _) => Err(Failure::usage("a session is made of one file: convert one at a time")),
        (TargetFormat::Dbn, _) => to_dbn(args, date),
    }
}

fn to_session(args: &ConvertArgs, input: &Path, date: Option<Date>) -> Result<Exit, Failure> {
    let format = match args.from {
        Some(SourceFormat::Dbn) => Format::Dbn,
        Some(SourceFormat::Lobster) => Format::Lobster,
        Some(SourceFormat::Binance) => Format::Binance,
        Some(SourceFormat::Tardis) => Format::Tardis,
        None => Format::recognise(input).map_err(not_converted)?,
    };
    let lot = args.lot.as_deref().map(Lot::parse).transpose().map_err(not_converted)?;
    if lot.is_some() && matches!(format, Format::Dbn | Format::Lobster) {
        return Err(Failure::usage("--lot: DBN and LOBSTER count whole units; leave it out"));
    }
    let plan = Plan {
        format,
        input: input.to_path_buf(),
        date,
        zone: args.zone.clone(),
        symbols: args.symbols.clone(),
        price_scale: PriceScale::parse(&args.price_scale).map_err(not_converted)?,
        lot,
        stamp: match args.stamp {
            Stamp::Receive => StampClock::Receive,
            Stamp::Exchange => StampClock::Exchange,
        },
        clock_bound: Nanos::from_millis(i64::from(args.clock_bound_ms)),
        is_strict: args.strict,
    };
    let summary = written(&args.out, |file| {
        let (summary, buffer) = peregrine_convert::convert(&plan, BufWriter::new(file))?;
        Ok((summary, buffer))
    })?;
    let sources = [digest_file(input).map_err(refused)?];
    let output = digest_file(&args.out).map_err(refused)?;
    let value = serde_json::to_value(&summary).map_err(Failure::io)?;
    keep_manifest(&args.out, (&sources, &output), &value, args.json)?;
    if !args.json {
        print(&text_of(&summary, &args.out))?;
    }
    say_date(&args.out, &summary.date);
    Ok(if summary.is_sound { Exit::Done } else { Exit::No })
}

fn to_dbn(args: &ConvertArgs, date: Option<Date>) -> Result<Exit, Failure> {
    let source = [
        (args.from.is_some(), "--from"),
        (!args.symbols.is_empty(), "--symbols"),
        (args.price_scale != "1", "--price-scale"),
        (args.lot.is_some(), "--lot"),
        (args.stamp != Stamp::Receive, "--stamp"),
        (args.clock_bound_ms != CLOCK_BOUND_MS, "--clock-bound-ms"),
        (args.strict, "--strict"),
    ];
    if let Some((_, word)) = source.iter().find(|(is_given, _)| *is_given) {
        return Err(Failure::usage(format_args!("{word} says how a session is made; leave it out with --to dbn")));
    }
    if args.out.extension().is_some_and(|extension| extension == "zst") {
        return Err(Failure::usage("DBN is written uncompressed: name it .dbn, and compress it with zstd afterwards"));
    }
    let plan = InputPlan {
        files: args.files.clone(),
        date,
        zone: args.zone.clone(),
        symbol_count_max: SYMBOL_COUNT_MAX,
        reorder_window: Nanos::from_millis(REORDER_WINDOW_MS),
        is_sequence_checked: true,
        mdp3: peregrine_source::market::Mdp3Plan::default(),
    };
    let schema = args.schema.map_or(DbnSchema::Mbo, schema_of);
    let summary = written(&args.out, |file| {
        let mut buffer = BufWriter::new(file);
        Ok((peregrine_convert::write_dbn(&plan, schema, &mut buffer)?, buffer))
    })?;
    let mut sources = Vec::new();
    for file in &args.files {
        sources.push(digest_file(file).map_err(refused)?);
    }
    let output = digest_file(&args.out).map_err(refused)?;
    let value = serde_json::to_value(&summary).map_err(Failure::io)?;
    keep_manifest(&args.out, (&sources, &output), &value, args.json)?;
    if !args.json {
        print(&text_of_dbn(&summary, &args.out))?;
    }
    Ok(if summary.is_sound { Exit::Done } else { Exit::No })
}

const fn schema_of(schema: TargetSchema) -> DbnSchema {
    match schema {
        TargetSchema::Mbo => DbnSchema::Mbo,
        TargetSchema::Mbp1 => DbnSchema::Mbp1,
        TargetSchema::Mbp10 => DbnSchema::Mbp10,
        TargetSchema::Tbbo => DbnSchema::Tbbo,
        TargetSchema::Trades => DbnSchema::Trades,
        TargetSchema::Definition => DbnSchema::Definition,
        TargetSchema::Status => DbnSchema::Status,
        TargetSchema::Statistics => DbnSchema::Statistics,
        TargetSchema::Imbalance => DbnSchema::Imbalance,
    }
}

fn text_of_dbn(summary: &DbnSummary, out: &Path) -> String {
    let span = summary
        .time_span_ns
        .map_or_else(|| "no record".to_owned(), |(first, last)| format!("{} … {}", time(first), time(last)));
    let list = |counts: Vec<String>| if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    let records = summary.records.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let left_out = summary.left_out.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut text = format!(
        "{}\n  DBN, schema {}, {span}\n  {} instruments\n  records   {}\n  left out  {}\n",
        out.display(),
        summary.schema.name(),
        summary.instruments.len(),
        list(records),
        list(left_out),
    );
    let faults = [
        (summary.impossible, "impossible events (no such order, more than it has, or more than DBN can say)"),
        (summary.malformed, "malformed messages"),
        (summary.gaps, "gaps"),
        (u64::from(summary.is_truncated), "message cut off at the end"),
    ];
    for (count, what) in faults.iter().filter(|(count, _)| *count > 0) {
        text += &format!("! {count} {what}\n");
    }
    text += if summary.is_sound { "  sound\n" } else { "! not sound\n" };
    text
}

/// Lets `convert` write a file, which is put into its place when it is whole.
fn written<T>(
    path: &Path,
    convert: impl FnOnce(File) -> Result<(T, BufWriter<File>), ConvertError>,
) -> Result<T, Failure> {
    let remedy = "name a place that can be written";
    folder(path)?;
    let (partial, file) = Partial::create(path).map_err(|error| Failure::file("write", path, &error, remedy))?;
    let (result, buffer) = convert(file).map_err(not_converted)?;
    let kept = buffer.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file| partial.keep(&file));
    kept.map_err(|error| Failure::file("write", path, &error, remedy))?;
    Ok(result)
}

/// Writes the manifest beside the file, under its whole name with `.manifest.json` behind: without the ending it is the
/// name of a dataset's manifest, or a model's. Shows it to machines.
fn keep_manifest(
    out: &Path,
    (sources, output): (&[SourceDigest], &SourceDigest),
    conversion: &Value,
    is_json: bool,
) -> Result<(), Failure> {
    let manifest =
        json!({ "layout_version": LAYOUT_VERSION, "sources": sources, "output": output, "conversion": conversion });
    let text = serde_json::to_string_pretty(&manifest).map_err(Failure::io)?;
    let mut name = out.as_os_str().to_owned();
    name.push(".manifest.json");
    write(Path::new(&name), format!("{text}\n").as_bytes())?;
    if is_json { print_json(&manifest) } else { Ok(()) }
}

/// A session's date is not in the file: its name must hold it, or every command be told.
fn say_date(out: &Path, date: &str) {
    match date_in_name(out) {
        Some(named) if named.to_string() == date => {}
        Some(named) => {
            note(format_args!("the name says {named}, the session is of {date}: replay it with --date {date}"))
        }
        None => note(format_args!("the name holds no date: replay it with --date {date}")),
    }
}

fn text_of(summary: &Summary, out: &Path) -> String {
    let span = summary
        .time_span_ns
        .map_or_else(|| "no flow".to_owned(), |(first, last)| format!("{} … {}", time(first), time(last)));
    let counts = |counts: Vec<String>| counts.join(", ");
    let names = summary.symbols.iter().take(20).map(|entry| entry.symbol.clone()).collect();
    let more = summary.symbols.len().saturating_sub(20);
    let mut text = format!(
        "{}\n  session of {} ({}), {span}\n  {} instruments: {}{}\n  prices × {}, lots of {}, stamped with the {} clock\n",
        out.display(),
        summary.date,
        summary.zone,
        summary.symbols.len(),
        counts(names),
        if more > 0 { format!(" and {more} more") } else { String::new() },
        summary.price_scale,
        summary.lot,
        match summary.stamp {
            StampClock::Receive => "receiver's",
            StampClock::Exchange => "exchange's",
        },
    );
    let rows = summary.rows.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let messages = summary.messages.iter().map(|(code, count)| format!("{count} {code}")).collect();
    text += &format!("  rows      {}\n  messages  {}\n", counts(rows), counts(messages));
    if let Some((least, most)) = summary.receive_less_exchange_ns {
        text += &format!("  clocks    received {} to {} µs after the exchange's time\n", least / 1_000, most / 1_000);
    }
    if let Some(check) = summary.ticker {
        text += &format!(
            "  check     {} of {} best bids and asks of the exchange equal the book\n",
            check.equal, check.compared
        );
    }
    for entry in summary.findings.values() {
        let action = match entry.action {
            Action::Noted => "noted",
            Action::Mended => "mended",
            Action::Dropped => "dropped",
        };
        let mark = if entry.is_sound { " " } else { "!" };
        let first = entry.first.first().map_or("", String::as_str);
        text += &format!("{mark} {action:<8}  {} × {}; first {first}\n", entry.count, entry.meaning);
    }
    text += if summary.is_sound { "  sound\n" } else { "! not sound: see the lines with an exclamation mark\n" };
    text
}

fn not_converted(error: ConvertError) -> Failure {
    match error {
        ConvertError::NoDate(_)
        | ConvertError::NoSession { .. }
        | ConvertError::Setting { .. }
        | ConvertError::Price { .. }
        | ConvertError::Quantity { .. }
        | ConvertError::Instruments(_)
        | ConvertError::Zone { .. } => Failure::usage(error),
        ConvertError::Strict { .. } => Failure::no(error),
        ConvertError::Session(error) => error.into(),
        ConvertError::Read { .. }
        | ConvertError::Write(_)
        | ConvertError::Unrecognised { .. }
        | ConvertError::Damaged { .. }
        | ConvertError::Dbn(_)
        | ConvertError::Fault(_) => Failure::io(error),
    }
}
