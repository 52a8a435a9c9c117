//! What a run is about to do, written into its folder before its first event: a run that dies has said how to repeat it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use peregrine_eventlog::RunFacts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::facts::{InputFile, hex};
use super::{CONFIG_NAME, MANIFEST_NAME, RECORDING_NAME, RunPlan};
use crate::exit::Failure;
use crate::live::history::NOTE_NAME;

/// Name of this note in a run's folder.
pub const START_NAME: &str = "start.json";

/// Version of this file's format, and of the manifest's.
const VERSION: u32 = 1;

/// Everything that another run needs to repeat this one, as far as it is known before the first event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStart {
    /// Version of this file's format.
    pub version: u32,
    /// The command.
    pub command: String,
    /// Absolute paths of the input's files; a live run has none.
    pub files: Vec<PathBuf>,
    /// The session's date, where it was given.
    pub date: Option<String>,
    /// First moment of the input, UTC nanoseconds.
    pub from: Option<i64>,
    /// Last moment of the input, UTC nanoseconds, excluded.
    pub to: Option<i64>,
    /// SHA-256 of the effective configuration (`config.toml` beside this file).
    pub config_sha256: String,
    /// Absolute folder that relative paths of the configuration start at.
    pub config_dir: Option<PathBuf>,
    /// SHA-256 of the model.
    pub model_sha256: String,
    /// The file of the paper venue's latencies; left out where they are constant, or orders go to a real venue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<InputFile>,
    /// SHA-256 of the program.
    pub binary_sha256: String,
}

impl RunStart {
    /// What `plan` is about to do, with what the log's header says of configuration, model and program, and with a file of
    /// latencies.
    pub(super) fn of(plan: &RunPlan, facts: &RunFacts, latency: Option<InputFile>) -> Result<Self, Failure> {
        let absolute = |path: &PathBuf| {
            fs::canonicalize(path)
                .map_err(|error| Failure::file("find the input", path, &error, "give a file that exists"))
        };
        Ok(Self {
            version: VERSION,
            command: plan.command.clone(),
            files: plan.input.files.iter().map(absolute).collect::<Result<_, _>>()?,
            date: plan.input.date.map(|date| date.to_string()),
            from: plan.from.map(|time| time.0),
            to: plan.to.map(|time| time.0),
            config_sha256: hex(&facts.config_hash),
            config_dir: fs::canonicalize(plan.loaded.folder()).ok(),
            model_sha256: hex(&facts.model_hash),
            latency,
            binary_sha256: hex(&facts.binary_hash),
        })
    }

    /// Writes the note and the effective configuration into the run's folder.
    pub(super) fn write(&self, plan: &RunPlan) -> Result<(), Failure> {
        write_whole(&plan.dir, CONFIG_NAME, plan.loaded.config.canonical().as_bytes())?;
        write(self, &plan.dir, START_NAME)
    }

    /// Reads the note of a run.
    ///
    /// # Errors
    /// [`Failure`] when there is none, or none that this program can read.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        read(&dir.join(START_NAME), "give the folder of a run")
    }
}

/// Refuses a folder that another run left something in: its recording, and what it was, are all that is known of it.
pub(super) fn must_be_new(dir: &Path) -> Result<(), Failure> {
    let names = [START_NAME, MANIFEST_NAME, NOTE_NAME, RECORDING_NAME];
    match names.iter().map(|name| dir.join(name)).find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Failure::usage(format_args!(
            "the folder already holds a run ({}): choose another one, by --out",
            path.display()
        ))),
    }
}

/// Writes a note into a run's folder, as JSON.
pub(super) fn write<T: Serialize>(note: &T, dir: &Path, name: &str) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(note).map_err(Failure::io)?;
    write_whole(dir, name, (text + "\n").as_bytes())
}

/// Writes a file into a folder: in whole or not at all, whatever dies before this returns.
///
/// # Errors
/// [`Failure`] when the folder does not take it.
pub(crate) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let path = dir.join(name);
    let failed = |error: io::Error| Failure::file("write", &path, &error, "check the folder and the disk");
    let part = dir.join(format!(".{name}.part"));
    let mut file = File::create(&part).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&part, &path).map_err(failed)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// What every note says of itself.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads a note of a run; `advice` is for whoever gave a folder that has none.
pub(super) fn read<T: DeserializeOwned>(path: &Path, advice: &str) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file("read the run", path, &error, advice))?;
    let refused = |error: serde_json::Error| {
        Failure::usage(format_args!("the run is not readable ({}): {error}", path.display()))
    };
    let Versioned { version } = serde_json::from_str(&text).map_err(refused)?;
    if version != VERSION {
        return Err(Failure::usage(format_args!(
            "the run has format {version}, this program reads {VERSION} ({}): use the program that made it",
            path.display()
        )));
    }
    serde_json::from_str(&text).map_err(refused)
}
