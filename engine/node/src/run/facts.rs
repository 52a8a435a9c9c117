//! What a run leaves for the next one: the manifest that a verification repeats, and the hashes in it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use peregrine_eventlog::records::{HistogramRecord, Measured, RunFact};
use peregrine_eventlog::{LogReport, Measure, Stream, StreamWriter};
use peregrine_runtime::{IntervalReader, SettingReport, host_report};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::start::{self, RunStart};
use crate::config::Wiring;
use crate::exit::Failure;
use crate::input::FEED_TIMES;
use crate::stage::decide::DecideEnd;

/// Name of the manifest in a run's folder.
pub const MANIFEST_NAME: &str = "run.json";
/// Name of the effective configuration in a run's folder.
pub const CONFIG_NAME: &str = "config.toml";

/// One file of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Absolute path at the time of the run.
    pub path: PathBuf,
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// Everything that another run needs to repeat this one, and what it must find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this file's format.
    pub version: u32,
    /// The command.
    pub command: String,
    /// The input.
    pub inputs: Vec<InputFile>,
    /// The session's date, where it was given.
    pub date: Option<String>,
    /// First moment of the input, UTC nanoseconds.
    pub from: Option<i64>,
    /// Last moment of the input, UTC nanoseconds, excluded.
    pub to: Option<i64>,
    /// Market events of the run.
    pub event_count: u64,
    /// Packets, or messages of a raw file, that the run took.
    pub packet_count: u64,
    /// Whether it was stopped before the end of the input.
    pub is_interrupted: bool,
    /// SHA-256 of the effective configuration (`config.toml` beside this file).
    pub config_sha256: String,
    /// Absolute folder that relative paths of the configuration start at; a run of an earlier program does not tell it.
    #[serde(default)]
    pub config_dir: Option<PathBuf>,
    /// SHA-256 of the model.
    pub model_sha256: String,
    /// The file of the paper venue's latencies; left out where they were constant, or orders went to a real venue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<InputFile>,
    /// SHA-256 of the program.
    pub binary_sha256: String,
    /// Hash over the hashed streams of the log.
    pub log_hash: String,
    /// Hash over features, latent states, orders and positions after the last event.
    pub state_hash: String,
    /// Running hash of everything decided.
    pub decision_hash: String,
    /// Records per stream.
    pub record_counts: Vec<(String, u64)>,
}

impl Manifest {
    /// The manifest of a run that has ended.
    pub(super) fn of(
        start: RunStart,
        log: &LogReport,
        (event_count, packet_count): (u64, u64),
        decide: &DecideEnd,
        is_interrupted: bool,
    ) -> Result<Self, Failure> {
        let inputs = start.files.iter().map(|path| InputFile::of(path)).collect::<Result<_, _>>()?;
        let [first, second] = decide.decision_hash;
        let count = |stream: Stream| (stream.name().to_owned(), log.stream(stream).record_count);
        Ok(Self {
            version: 1,
            command: start.command,
            inputs,
            date: start.date,
            from: start.from,
            to: start.to,
            event_count,
            packet_count,
            is_interrupted,
            config_sha256: start.config_sha256,
            config_dir: start.config_dir,
            model_sha256: start.model_sha256,
            latency: start.latency,
            binary_sha256: start.binary_sha256,
            log_hash: hex(&log.log_hash()),
            state_hash: hex(&state_hash(decide)),
            decision_hash: format!("{first:016x}{second:016x}"),
            record_counts: Stream::ALL.map(count).to_vec(),
        })
    }

    /// Writes the manifest into a run's folder.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Failure> {
        start::write(self, dir, MANIFEST_NAME)
    }

    /// Reads the manifest of a run.
    ///
    /// # Errors
    /// [`Failure`] when there is none, or none that this program can read.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        start::read(&dir.join(MANIFEST_NAME), "give the folder of a finished run")
    }

    /// What the run was about to do when it began.
    #[must_use]
    pub fn start(&self) -> RunStart {
        RunStart {
            version: self.version,
            command: self.command.clone(),
            files: self.inputs.iter().map(|input| input.path.clone()).collect(),
            date: self.date.clone(),
            from: self.from,
            to: self.to,
            config_sha256: self.config_sha256.clone(),
            config_dir: self.config_dir.clone(),
            model_sha256: self.model_sha256.clone(),
            latency: self.latency.clone(),
            binary_sha256: self.binary_sha256.clone(),
        }
    }
}

impl InputFile {
    /// Length and hash of a file as it is now.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be read.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let absolute = fs::canonicalize(path)
            .map_err(|error| Failure::file("find the input", path, &error, "give a file that exists"))?;
        let (len, sha256) = sha256_of_file(&absolute)?;
        Ok(Self { path: absolute, len, sha256: hex(&sha256) })
    }
}

/// Hash over features, latent states, the controller's memory, positions and open orders.
pub(super) fn state_hash(decide: &DecideEnd) -> [u8; 32] {
    let mut state = Sha256::new();
    state.update(decide.strategy.state_hash());
    state.update(decide.risk.state_hash().to_le_bytes());
    state.finalize().into()
}

/// Writes what the host gives and what it granted, before the first event: a run that dies has said where it ran.
pub(super) fn write_start(measure: &mut StreamWriter<Measure>, settings: &[SettingReport]) -> Result<(), Failure> {
    let host = host_report();
    let facts = host.facts.iter().map(|fact| (fact.key.as_str(), fact.value.clone()));
    let granted = settings.iter().map(|report| {
        let outcome = if report.is_applied() { "applied" } else { "refused" };
        (outcome, report.setting.clone())
    });
    for (name, value) in facts.chain(granted) {
        measure.append(&RunFact::new(name, &value)).map_err(full)?;
    }
    Ok(())
}

fn full<T>(_: T) -> Failure {
    Failure::io("the measure stream of the log is full: raise log.staging_records")
}

/// Writes what was measured, and with what, into the stream that no hash covers.
pub(super) fn write_measurements(
    mut measure: StreamWriter<Measure>,
    wiring: Wiring,
    decide: &DecideEnd,
    latencies: &[IntervalReader],
    of_input: &[(&str, String)],
) -> Result<(), Failure> {
    let facts = [
        ("wiring", format!("{wiring:?}")),
        ("backend", format!("{:?}", decide.strategy.kernel().backend())),
        ("weights", decide.strategy.model().precision().name().to_owned()),
        ("program", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    for (name, value) in facts.iter().chain(of_input) {
        measure.append(&RunFact::new(name, value)).map_err(full)?;
    }
    for reader in latencies {
        let figures = reader.total();
        let measured = match reader.name() {
            "features" => Measured::Features,
            "observe" => Measured::Observe,
            "advance" => Measured::Advance,
            "controller" => Measured::Decide,
            "event_to_order" => Measured::EventToOrder,
            "queue_wait" => Measured::QueueWait,
            FEED_TIMES => Measured::Feed,
            _ => continue,
        };
        let (count, max) = (figures.count, figures.max);
        let (p50, p99, p999) = (figures.p50, figures.p99, figures.p999);
        let record = HistogramRecord { count, p50, p99, p999, max, measured, ..HistogramRecord::default() };
        measure.append(&record).map_err(full)?;
    }
    Ok(())
}

/// Length and SHA-256 of a file, read in pieces.
///
/// # Errors
/// [`Failure`] when it cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<(u64, [u8; 32]), Failure> {
    let failed = |error: std::io::Error| Failure::file("read", path, &error, "check the file and the disk");
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut len = 0_u64;
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok((len, hasher.finalize().into()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        len += u64::try_from(count).unwrap_or(0);
    }
}

/// SHA-256 of the running program; zeros when it cannot be read.
pub(super) fn binary_sha256() -> [u8; 32] {
    let path = std::env::current_exe();
    path.ok().and_then(|path| sha256_of_file(&path).ok()).map_or([0; 32], |(_, hash)| hash)
}

/// Writes a whole file, naming it when that fails.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| Failure::file("write", path, &error, "check the folder and the disk"))
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
