//! `peregrine replay --verify LOG`: runs the same input again and proves that orders, log and state are byte-identical.

use std::path::{Path, PathBuf};

use peregrine_eventlog::records::{AnyPayload, HeardKind, HeardRecord, Payload};
use peregrine_eventlog::{LogReader, Stream, StreamTag};
use peregrine_runtime::StopFlag;
use peregrine_types::EpochNanos;
use serde_json::json;

use crate::cli::ReplayArgs;
use crate::commands::replay::{execute, input_plan};
use crate::commands::{note, print, print_json};
use crate::config::Loaded;
use crate::exit::{Exit, Failure};
use crate::live::history::{self, NOTE_NAME};
use crate::run::{CONFIG_NAME, HeardScript, InputFile, Manifest, RECORDING_NAME, Run, RunPlan, hex};
use crate::stage::schedule::Pace;

/// One difference between the two runs.
struct Difference {
    what: String,
    expected: String,
    found: String,
}

pub(super) fn run(dir: &Path, args: &ReplayArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let manifest = Manifest::read(dir)?;
    let files = input_files(dir, &manifest, &args.files)?;
    let mut differences = check_log(dir, &manifest)?;
    differences.extend(check_config(dir, &manifest)?);
    if differences.is_empty() {
        let mut inputs = check_inputs(&manifest, &files)?;
        inputs.extend(check_latency(&manifest));
        let scratch = Scratch::new()?;
        match (repeat(dir, &manifest, (args, &files), &scratch.0, interrupted), inputs.is_empty()) {
            (Ok(again), _) if again.is_interrupted => {
                return Err(Failure::interrupted("the verification was stopped: no verdict; run it again"));
            }
            (Ok(again), _) => {
                differences.extend(inputs);
                differences.extend(compare(dir, &manifest, &again)?);
            }
            (Err(failure), true) => return Err(failure),
            // What was changed may have become unreadable: the place is what was asked for.
            (Err(failure), false) => {
                differences.extend(inputs);
                let (what, expected) = ("the changed input".to_owned(), "a session to run again".to_owned());
                differences.push(Difference { what, expected, found: failure.to_string() });
            }
        }
    }
    conclude((dir, &manifest), &differences, args.run.json)
}

/// The log itself: every record, the chain, and the hash that the manifest states.
fn check_log(dir: &Path, manifest: &Manifest) -> Result<Vec<Difference>, Failure> {
    let report = match peregrine_eventlog::verify(dir) {
        Ok(report) => report,
        Err(error) => {
            let (what, expected) = ("the log is damaged".to_owned(), "every record as it was written".to_owned());
            return Ok(vec![Difference { what, expected, found: error.to_string() }]);
        }
    };
    let mut differences = Vec::new();
    for stream in report.streams.iter().filter(|stream| !stream.is_sealed) {
        let name = stream.stream.name();
        let tail = stream.tail.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        differences.push(Difference {
            what: format!("the log was cut: stream {name} ({name}-{:06}.plog)", stream.segment_count),
            expected: "a sealed end".to_owned(),
            found: format!("{} whole records, then: {tail}", stream.record_count),
        });
    }
    let found = hex(&report.log_hash());
    if found != manifest.log_hash {
        differences.push(Difference { what: "log hash".to_owned(), expected: manifest.log_hash.clone(), found });
    }
    Ok(differences)
}

/// The configuration that the run was made with, as it lies beside the log.
fn check_config(dir: &Path, manifest: &Manifest) -> Result<Option<Difference>, Failure> {
    let path = dir.join(CONFIG_NAME);
    let found = hex(&Loaded::read(&path, &[])?.config.sha256());
    Ok((found != manifest.config_sha256).then(|| Difference {
        what: format!("config {}", path.display()),
        expected: format!("sha256 {}", manifest.config_sha256),
        found: format!("sha256 {found}"),
    }))
}

/// The files: those of the manifest, or others given in their place. A live run on paper had none: its own recording, or
/// another of the same session.
fn input_files(dir: &Path, manifest: &Manifest, given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let (count, before) = (given.len(), manifest.inputs.len());
    if before > 0 {
        if count != 0 && count != before {
            let what =
                format!("{count} files are given, the run had {before}: give all of them in their order, or none");
            return Err(Failure::usage(what));
        }
        let inputs = manifest.inputs.iter().map(|input| input.path.clone());
        return Ok(if count == 0 { inputs.collect() } else { given.to_vec() });
    }
    let recording = dir.join(RECORDING_NAME);
    if count > 0 {
        Ok(given.to_vec())
    } else if recording.exists() {
        Ok(vec![recording])
    } else {
        Err(Failure::usage(format_args!(
            "the run was live and recorded nothing ({}): give a recording of its session, by `capture --config`",
            dir.display()
        )))
    }
}

/// Whether the files are those of the run, as far as it knew any.
fn check_inputs(manifest: &Manifest, files: &[PathBuf]) -> Result<Vec<Difference>, Failure> {
    let mut differences = Vec::new();
    for (expected, file) in manifest.inputs.iter().zip(files) {
        let found = InputFile::of(file)?;
        if found.sha256 != expected.sha256 {
            differences.push(Difference {
                what: format!("input {} ({} bytes, {} before)", found.path.display(), found.len, expected.len),
                expected: format!("sha256 {}", expected.sha256),
                found: format!("sha256 {}", found.sha256),
            });
        }
    }
    Ok(differences)
}

/// The file of the paper venue's latencies: it is configuration, and nobody may give another one.
fn check_latency(manifest: &Manifest) -> Option<Difference> {
    let expected = manifest.latency.as_ref()?;
    let what = format!("latencies {} ({} bytes before)", expected.path.display(), expected.len);
    let found = match InputFile::of(&expected.path) {
        Ok(found) if found.sha256 == expected.sha256 => return None,
        Ok(found) => format!("sha256 {} ({} bytes)", found.sha256, found.len),
        Err(failure) => failure.to_string(),
    };
    Some(Difference { what, expected: format!("sha256 {}", expected.sha256), found })
}

fn repeat(
    dir: &Path,
    manifest: &Manifest,
    (args, files): (&ReplayArgs, &[PathBuf]),
    scratch: &Path,
    interrupted: &StopFlag,
) -> Result<Run, Failure> {
    let mut loaded = Loaded::read(&dir.join(CONFIG_NAME), &args.run.set)?;
    if let Some(folder) = &manifest.config_dir {
        loaded.file = folder.join(CONFIG_NAME);
    }
    let input = input_plan(&loaded, files, manifest.date.as_deref())?;
    let plan = RunPlan {
        loaded,
        command: manifest.command.clone(),
        input,
        pace: Pace::Max,
        from: manifest.from.map(EpochNanos),
        to: manifest.to.map(EpochNanos),
        // A live run counts its steps: what it took is what its recording has.
        packet_count_max: (!manifest.inputs.is_empty()).then_some(manifest.packet_count),
        guard_script: Some(script(dir)?),
        heard: if went_to_a_venue(dir) { Some(heard(dir)?) } else { None },
        live: None,
        dir: scratch.join("again"),
    };
    note(format_args!("running {} events again …", peregrine_report::format::count(manifest.event_count)));
    execute(plan, interrupted)
}

/// What the latency guard did, or another of the records that are inputs of the run: those that come from a clock, or from
/// somebody else.
fn script<P: Payload>(dir: &Path) -> Result<Vec<P>, Failure> {
    let reader = LogReader::open(dir, P::Stream::STREAM).map_err(Failure::io)?;
    let records: Result<Vec<P>, _> = reader.payloads::<P>().map(|record| record.map(|(_, record)| *record)).collect();
    records.map_err(Failure::io)
}

/// Whether the run's orders went to a venue, whose words are no part of any recording.
fn went_to_a_venue(dir: &Path) -> bool {
    dir.join(NOTE_NAME).exists()
}

/// What the decide stage heard beside the market's events, by the log.
fn heard(dir: &Path) -> Result<HeardScript, Failure> {
    let records: Vec<HeardRecord> = script(dir)?;
    let Some(began) = records.first().filter(|record| record.kind == HeardKind::Began) else {
        return Err(Failure::usage(format_args!(
            "the log does not say what the run heard of its venue ({}): an earlier version wrote it; `log check` proves that \
             it is whole",
            dir.display()
        )));
    };
    let memories = history::held_before(dir)?;
    if u64::try_from(memories.len()).ok() != Some(began.qty.0) {
        return Err(Failure::usage(format_args!(
            "the run began with {} engine-held orders of earlier runs of its session, in the logs that its note names ({}) are \
             {}: they are not as they were",
            began.qty,
            dir.display(),
            memories.len()
        )));
    }
    Ok(HeardScript { records, memories })
}

fn compare(dir: &Path, manifest: &Manifest, again: &Run) -> Result<Vec<Difference>, Failure> {
    let mut differences = Vec::new();
    let mut hold = |what: &str, expected: &str, found: &str| {
        if expected != found {
            let (expected, found) = (expected.to_owned(), found.to_owned());
            differences.push(Difference { what: what.to_owned(), expected, found });
        }
    };
    let repeated = &again.manifest;
    hold("event count", &manifest.event_count.to_string(), &repeated.event_count.to_string());
    hold("model", &manifest.model_sha256, &repeated.model_sha256);
    // What became of orders is the venue's word, and was an input: the log's own check covers it.
    let is_live = went_to_a_venue(dir);
    if !is_live {
        hold("log hash", &manifest.log_hash, &repeated.log_hash);
    }
    hold("state hash", &manifest.state_hash, &repeated.state_hash);
    hold("decision hash", &manifest.decision_hash, &repeated.decision_hash);
    for stream in Stream::ALL.into_iter().filter(|stream| is_repeated(*stream, is_live)) {
        differences.extend(first_difference(dir, &again.dir, stream)?);
    }
    Ok(differences)
}

/// Whether a verification makes the stream anew: of a run whose orders went to a venue not what became of them.
fn is_repeated(stream: Stream, is_live: bool) -> bool {
    stream.is_hashed() && !(is_live && stream == Stream::Send)
}

/// The first record of a stream that differs.
fn first_difference(before: &Path, after: &Path, stream: Stream) -> Result<Option<Difference>, Failure> {
    let (before, after) = (open(before, stream)?, open(after, stream)?);
    let mut left = before.records();
    let mut right = after.records();
    for index in 0_u64.. {
        match (left.next().transpose().map_err(Failure::io)?, right.next().transpose().map_err(Failure::io)?) {
            (None, None) => break,
            (Some(a), Some(b)) if a.bytes() == b.bytes() => {}
            (a, b) => {
                let text = |record: Option<peregrine_eventlog::RecordRef<'_>>| {
                    record.map_or_else(
                        || "no record".to_owned(),
                        |record| record.any().map_or_else(|error| error.to_string(), |payload| show(&payload)),
                    )
                };
                let what = format!("first record of stream {stream} that differs: {index}");
                return Ok(Some(Difference { what, expected: text(a), found: text(b) }));
            }
        }
    }
    Ok(None)
}

fn show(payload: &AnyPayload<'_>) -> String {
    format!("{payload:?}")
}

fn open(dir: &Path, stream: Stream) -> Result<LogReader, Failure> {
    LogReader::open(dir, stream).map_err(Failure::io)
}

fn conclude((dir, manifest): (&Path, &Manifest), differences: &[Difference], is_json: bool) -> Result<Exit, Failure> {
    let is_equal = differences.is_empty();
    let is_live = went_to_a_venue(dir);
    if is_json {
        let list: Vec<_> =
            differences.iter().map(|d| json!({"what": d.what, "expected": d.expected, "found": d.found})).collect();
        print_json(&json!({
            "is_identical": is_equal,
            "is_venue_from_log": is_live,
            "repeated_streams": Stream::ALL.into_iter().filter(|stream| is_repeated(*stream, is_live))
                .map(Stream::name).collect::<Vec<_>>(),
            "event_count": manifest.event_count,
            "log_hash": manifest.log_hash,
            "state_hash": manifest.state_hash,
            "differences": list,
        }))?;
    } else if is_equal {
        let (events, state) = (peregrine_report::format::count(manifest.event_count), &manifest.state_hash);
        print(&if is_live {
            format!(
                "identical: {events} events, decisions {}, state {state}\nwhat the venue said came from the log: streams feed \
                 and decide are repeated, send is whole\n",
                manifest.decision_hash
            )
        } else {
            format!("identical: {events} events, log {}, state {state}\n", manifest.log_hash)
        })?;
    } else {
        let plural = if differences.len() == 1 { "" } else { "s" };
        let mut text = format!("NOT identical: {} difference{plural}\n", differences.len());
        for difference in differences {
            let Difference { what, expected, found } = difference;
            text.push_str(&format!("{what}\n  expected  {expected}\n  found     {found}\n"));
        }
        print(&text)?;
    }
    Ok(if is_equal { Exit::Done } else { Exit::No })
}

/// A folder of its own that goes when the verification ends.
struct Scratch(PathBuf);

/// Names that are tried for it: whoever died in the middle left its folder.
const SCRATCH_NAME_COUNT: u32 = 10_000;

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let (folder, process) = (std::env::temp_dir(), std::process::id());
        let mut outcome = Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists));
        let mut dir = folder.clone();
        for number in 0..SCRATCH_NAME_COUNT {
            dir = folder.join(format!("peregrine-verify-{process}-{number}"));
            outcome = std::fs::create_dir(&dir);
            if !matches!(&outcome, Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists) {
                break;
            }
        }
        outcome.map_err(|error| Failure::file("create", &dir, &error, "set TMPDIR to a folder with room"))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            note(format_args!("could not remove {}: {error}", self.0.display()));
        }
    }
}
