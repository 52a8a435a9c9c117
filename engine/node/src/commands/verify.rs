//! `peregrine replay --verify LOG`: runs the same input again and proves that orders, log and state are byte-identical; of a
//! run that was cut off, as far as both log and recording go.

mod cut;
mod say;

use std::path::{Path, PathBuf};

use cut::Extent;
use peregrine_eventlog::records::{HeardKind, HeardRecord, Payload};
use peregrine_eventlog::{LogError, LogReader, RecordRef, Stream, StreamTag};
use peregrine_runtime::StopFlag;
use peregrine_types::EpochNanos;

use crate::cli::ReplayArgs;
use crate::commands::note;
use crate::commands::replay::{execute, input_plan};
use crate::config::{Loaded, Wiring};
use crate::exit::{Exit, Failure};
use crate::live::history::{self, NOTE_NAME};
use crate::run::{
    CONFIG_NAME, HeardScript, InputFile, MANIFEST_NAME, Manifest, RECORDING_NAME, Run, RunPlan, RunStart, START_NAME,
    hex,
};
use crate::stage::schedule::Pace;

/// One difference between the two runs.
struct Difference {
    what: String,
    expected: String,
    found: String,
}

/// The run that is verified.
struct Subject {
    dir: PathBuf,
    start: RunStart,
    /// What it ended with; nothing if it was cut off.
    end: Option<Manifest>,
}

/// What a verification found.
struct Verdict {
    differences: Vec<Difference>,
    /// The run that was made again, if it came to that.
    again: Option<Run>,
    /// How far each stream of a run that was cut off was made again.
    extents: Vec<Extent>,
}

impl Subject {
    fn read(dir: &Path) -> Result<Self, Failure> {
        let dir = dir.to_path_buf();
        if !dir.join(MANIFEST_NAME).exists() && dir.join(START_NAME).exists() {
            return Ok(Self { start: RunStart::read(&dir)?, end: None, dir });
        }
        let end = Manifest::read(&dir)?;
        Ok(Self { start: end.start(), end: Some(end), dir })
    }
}

pub(super) fn run(dir: &Path, args: &ReplayArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let subject = Subject::read(dir)?;
    let files = input_files(&subject, &args.files)?;
    let mut differences = check_log(&subject)?;
    differences.extend(check_config(&subject)?);
    let mut verdict = Verdict { differences, again: None, extents: Vec::new() };
    if verdict.differences.is_empty() {
        let mut inputs = check_inputs(&subject, &files)?;
        inputs.extend(check_latency(&subject));
        let scratch = Scratch::new()?;
        match (repeat(&subject, (args, &files), &scratch.0, interrupted), inputs.is_empty()) {
            (Ok(again), _) if again.is_interrupted => {
                return Err(Failure::interrupted("the verification was stopped: no verdict; run it again"));
            }
            (Ok(again), _) => {
                verdict.differences.extend(inputs);
                compare(&subject, &again, &mut verdict)?;
                verdict.again = Some(again);
            }
            (Err(failure), true) => return Err(failure),
            // What was changed may have become unreadable: the place is what was asked for.
            (Err(failure), false) => {
                verdict.differences.extend(inputs);
                let (what, expected) = ("the changed input".to_owned(), "a session to run again".to_owned());
                verdict.differences.push(Difference { what, expected, found: failure.to_string() });
            }
        }
    }
    say::conclude(&subject, &verdict, args.run.json)
}

/// The log itself: every record, the chain, and the hash that the manifest states.
fn check_log(subject: &Subject) -> Result<Vec<Difference>, Failure> {
    let report = match peregrine_eventlog::verify(&subject.dir) {
        Ok(report) => report,
        Err(error) => {
            let what =
                if matches!(error, LogError::Damaged { .. }) { "the log is damaged" } else { "the log is not whole" };
            let expected = "every record as it was written".to_owned();
            return Ok(vec![Difference { what: what.to_owned(), expected, found: error.to_string() }]);
        }
    };
    let Some(end) = &subject.end else { return may_be_cut(subject, report.is_sealed()).map(|()| Vec::new()) };
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
    if found != end.log_hash {
        differences.push(Difference { what: "log hash".to_owned(), expected: end.log_hash.clone(), found });
    }
    Ok(differences)
}

/// Refuses a run without a manifest that was not cut off, or whose log is still open. A run of files that somebody stopped
/// ended within them, and where is not known once its manifest is not there.
fn may_be_cut(subject: &Subject, is_closed: bool) -> Result<(), Failure> {
    let (dir, shown) = (&subject.dir, subject.dir.display());
    if !is_closed {
        return Err(Failure::usage(format_args!(
            "the run goes on, or was cut off and its log is still open ({shown}): once it is over `peregrine log close {shown}` \
             closes it, as a live run does that goes on with its session"
        )));
    }
    if cut::has_end(dir)? || !subject.start.files.is_empty() && cut::has_input_end(dir)? {
        return Err(Failure::io(format_args!(
            "the log goes to the end of its run, and {MANIFEST_NAME} is not there ({shown}): wait where the run is still ending, put \
             it back where it was taken away; a run that was killed while it ended has none, and no verification: `log check` \
             proves that its log is whole"
        )));
    }
    Ok(())
}

/// The configuration that the run was made with, as it lies beside the log.
fn check_config(subject: &Subject) -> Result<Option<Difference>, Failure> {
    let path = subject.dir.join(CONFIG_NAME);
    if !path.exists() {
        return Err(Failure::usage(format_args!(
            "the configuration that the run was made with is not there ({}): put it back where it was taken away; without it the run \
             cannot be made again, and `log check` still proves its log",
            path.display()
        )));
    }
    let (found, expected) = (hex(&Loaded::read(&path, &[])?.config.sha256()), &subject.start.config_sha256);
    Ok((found != *expected).then(|| Difference {
        what: format!("config {}", path.display()),
        expected: format!("sha256 {expected}"),
        found: format!("sha256 {found}"),
    }))
}

/// The files: those of the manifest, or others given in their place. A live run on paper had none: its own recording, or
/// another of the same session.
fn input_files(subject: &Subject, given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let (count, before) = (given.len(), subject.start.files.len());
    if before > 0 {
        if count != 0 && count != before {
            let what =
                format!("{count} files are given, the run had {before}: give all of them in their order, or none");
            return Err(Failure::usage(what));
        }
        return Ok(if count == 0 { subject.start.files.clone() } else { given.to_vec() });
    }
    let dir = &subject.dir;
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

/// Whether the files are those of the run, as far as it knew any at its end.
fn check_inputs(subject: &Subject, files: &[PathBuf]) -> Result<Vec<Difference>, Failure> {
    let mut differences = Vec::new();
    let inputs = subject.end.iter().flat_map(|end| &end.inputs);
    for (expected, file) in inputs.zip(files) {
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
fn check_latency(subject: &Subject) -> Option<Difference> {
    let expected = subject.start.latency.as_ref()?;
    let what = format!("latencies {} ({} bytes before)", expected.path.display(), expected.len);
    let found = match InputFile::of(&expected.path) {
        Ok(found) if found.sha256 == expected.sha256 => return None,
        Ok(found) => format!("sha256 {} ({} bytes)", found.sha256, found.len),
        Err(failure) => failure.to_string(),
    };
    Some(Difference { what, expected: format!("sha256 {}", expected.sha256), found })
}

fn repeat(
    subject: &Subject,
    (args, files): (&ReplayArgs, &[PathBuf]),
    scratch: &Path,
    interrupted: &StopFlag,
) -> Result<Run, Failure> {
    let Subject { dir, start, end } = subject;
    let mut loaded = Loaded::read(&dir.join(CONFIG_NAME), &args.run.set)?;
    if let Some(folder) = &start.config_dir {
        loaded.file = folder.join(CONFIG_NAME);
    }
    if end.is_none() {
        // Every wiring gives the same records; in this one nothing is between the threads when the input breaks off.
        loaded.config.runtime.wiring = Wiring::Fused;
    }
    let input = input_plan(&loaded, files, start.date.as_deref())?;
    // A live run counts its steps: what it took is what its recording has.
    let packet_count_max = end.as_ref().filter(|end| !end.inputs.is_empty()).map(|end| end.packet_count);
    let plan = RunPlan {
        loaded,
        command: start.command.clone(),
        input,
        pace: Pace::Max,
        from: start.from.map(EpochNanos),
        to: start.to.map(EpochNanos),
        packet_count_max,
        guard_script: Some(script(dir)?),
        heard: if went_to_a_venue(dir) { Some(heard(subject)?) } else { None },
        is_cut: end.is_none(),
        live: None,
        dir: scratch.join("again"),
    };
    match end {
        Some(end) => note(format_args!("running {} events again …", peregrine_report::format::count(end.event_count))),
        None => note("running again what came before the run was cut off …"),
    }
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
fn heard(subject: &Subject) -> Result<HeardScript, Failure> {
    let dir = &subject.dir;
    let records: Vec<HeardRecord> = script(dir)?;
    let Some(began) = records.first().filter(|record| record.kind == HeardKind::Began) else {
        if subject.end.is_none() && open(dir, Stream::Decide)?.records().next().is_none() {
            return Err(Failure::usage(format_args!(
                "the run was cut off before it began ({}): there is nothing to make again",
                dir.display()
            )));
        }
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

fn compare(subject: &Subject, again: &Run, verdict: &mut Verdict) -> Result<(), Failure> {
    let Subject { dir, start, end } = subject;
    let mut hold = |what: &str, expected: &str, found: &str| {
        if expected != found {
            let (expected, found) = (expected.to_owned(), found.to_owned());
            verdict.differences.push(Difference { what: what.to_owned(), expected, found });
        }
    };
    let repeated = &again.manifest;
    hold("model", &start.model_sha256, &repeated.model_sha256);
    // What became of orders is the venue's word, and was an input: the log's own check covers it.
    let is_live = went_to_a_venue(dir);
    if let Some(end) = end {
        hold("event count", &end.event_count.to_string(), &repeated.event_count.to_string());
        if !is_live {
            hold("log hash", &end.log_hash, &repeated.log_hash);
        }
        hold("state hash", &end.state_hash, &repeated.state_hash);
        hold("decision hash", &end.decision_hash, &repeated.decision_hash);
    }
    if end.is_none() {
        verdict.differences.extend(cut::order_without_decision(dir)?);
    }
    for stream in Stream::ALL.into_iter().filter(|stream| is_repeated(*stream, is_live)) {
        if end.is_some() {
            verdict.differences.extend(first_difference(dir, &again.dir, stream)?);
        } else {
            let (extent, difference) = cut::compare(dir, again, stream)?;
            // Files were whole when the run read them.
            if difference.is_none() && extent.behind_count > 0 && !start.files.is_empty() {
                let what = format!("the input ends before stream {stream} of the log does");
                let expected = format!("{} records", extent.repeated_count.saturating_add(extent.behind_count));
                let found = format!("{} records", extent.repeated_count);
                verdict.differences.push(Difference { what, expected, found });
            }
            verdict.extents.push(extent);
            verdict.differences.extend(difference);
        }
    }
    Ok(())
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
            (a, b) => return Ok(Some(differing((stream, index), a.as_ref(), b.as_ref()))),
        }
    }
    Ok(None)
}

/// Record `index` of a stream is one thing in the log, and another where it was made again.
fn differing(
    (stream, index): (Stream, u64),
    expected: Option<&RecordRef<'_>>,
    found: Option<&RecordRef<'_>>,
) -> Difference {
    let text = |record: Option<&RecordRef<'_>>| {
        record.map_or_else(
            || "no record".to_owned(),
            |record| record.any().map_or_else(|error| error.to_string(), |payload| format!("{payload:?}")),
        )
    };
    let what = format!("first record of stream {stream} that differs: {index}");
    Difference { what, expected: text(expected), found: text(found) }
}

fn open(dir: &Path, stream: Stream) -> Result<LogReader, Failure> {
    LogReader::open(dir, stream).map_err(Failure::io)
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
