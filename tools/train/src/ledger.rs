//! The trial ledger: one line per run in a SQLite file, failed and interrupted runs included. How often a dataset has been
//! tried decides how much its best result is worth (deflated Sharpe ratio, Bailey & López de Prado 2014).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peregrine_dataset::{DatasetMeta, hex};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::candidate::Candidate;
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::observe::Observer;
use crate::train::{Folds, Options, run};

/// How a run ended, or that it has not.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialStatus {
    /// Running, or its process died.
    Started,
    /// Gave a candidate.
    Finished,
    /// Stopped by its observer; may be resumed.
    Interrupted,
    /// Ended with an error on the way: it diverged, or what it made could not be finished.
    Failed,
    /// Never trained: configuration, data or checkpoint were refused. No trial.
    Refused,
}

impl TrialStatus {
    const ALL: [Self; 5] = [Self::Started, Self::Finished, Self::Interrupted, Self::Failed, Self::Refused];

    /// The word in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// 32 random lower-case hex digits.
    pub run_id: String,
    /// How it ended.
    pub status: TrialStatus,
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// SHA-256 of the configuration.
    pub config_sha256: String,
    /// The configuration as JSON.
    pub config: String,
    /// Digest of the files that the data were made of, whatever part of them was trained on; see [`DatasetTrials`].
    pub sources_sha256: String,
    /// SHA-256 of the training rows.
    pub train_sha256: String,
    /// SHA-256 of the validation rows.
    pub validation_sha256: String,
    /// Seed of the run.
    pub seed: u64,
    /// SHA-256 of the model that it was tuned from.
    pub parent: Option<String>,
    /// Figures by name; empty until it has finished.
    pub metrics: BTreeMap<String, f64>,
    /// SHA-256 of the artefact, once there is one.
    pub artefact_sha256: Option<String>,
    /// Why it failed or was interrupted.
    pub error: Option<String>,
}

/// Trials on the data of the same files. Another split or window of them is another try at the same past.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct DatasetTrials {
    /// SHA-256 over the sorted SHA-256 of the source files (of the training rows where the data name no file).
    pub sources_sha256: String,
    /// Runs that trained, however they ended: the number of trials for the deflated Sharpe ratio.
    pub trials: u64,
    /// Runs that gave a candidate.
    pub finished: u64,
}

/// The open ledger. Several processes may write at once: SQLite serialises them, and a writer waits up to a minute.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Connection,
}

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS trials (
    run_id TEXT PRIMARY KEY, status TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT,
    config_sha256 TEXT NOT NULL, config TEXT NOT NULL, train_sha256 TEXT NOT NULL, validation_sha256 TEXT NOT NULL,
    seed TEXT NOT NULL, parent TEXT, metrics TEXT NOT NULL, artefact_sha256 TEXT, error TEXT,
    sources_sha256 TEXT NOT NULL DEFAULT '') STRICT;";
const HAS_SOURCES: &str = "SELECT count(*) FROM pragma_table_info('trials') WHERE name = 'sources_sha256'";
/// A ledger of the time before: each training fold stands for its sources.
const ADD_SOURCES: &str = "ALTER TABLE trials ADD COLUMN sources_sha256 TEXT NOT NULL DEFAULT '';
    UPDATE trials SET sources_sha256 = train_sha256;";

/// What identifies the files that a dataset was made of.
fn sources_sha256(data: &DatasetMeta) -> String {
    if data.sources.is_empty() {
        return data.sha256.clone();
    }
    let mut sources: Vec<&str> = data.sources.iter().map(|source| source.sha256.as_str()).collect();
    sources.sort_unstable();
    hex(&Sha256::digest(sources.concat()))
}

impl Ledger {
    /// Opens the ledger, and makes it when there is none.
    ///
    /// # Errors
    /// [`TrainError::Ledger`] with what the database said.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let fault = |error: rusqlite::Error| TrainError::Ledger { path: path.to_owned(), what: error.to_string() };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
        }
        let connection = Connection::open(path).map_err(fault)?;
        connection.busy_timeout(Duration::from_secs(60)).map_err(fault)?;
        connection.execute_batch(SCHEMA).map_err(fault)?;
        let has_sources: i64 = connection.query_row(HAS_SOURCES, [], |row| row.get(0)).map_err(fault)?;
        if has_sources == 0 {
            connection.execute_batch(ADD_SOURCES).map_err(fault)?;
        }
        Ok(Self { path: path.to_owned(), connection })
    }

    fn fault(&self) -> impl Fn(rusqlite::Error) -> TrainError + use<> {
        let path = self.path.clone();
        move |error| TrainError::Ledger { path: path.clone(), what: error.to_string() }
    }

    /// Runs a training and records it: a line `started` before it, its end after it. A run whose checkpoint is there goes on
    /// with the line of its interruption, so that pausing a run does not make it two trials.
    ///
    /// # Errors
    /// Those of the training; [`TrainError::Ledger`] when the line cannot be written, before anything is trained.
    pub fn run(
        &mut self,
        config: &TrainConfig,
        folds: Folds<'_>,
        checkpoint: Option<&Path>,
        observer: &mut dyn Observer,
    ) -> Result<Candidate, TrainError> {
        self.record(config, folds, &Options { checkpoint, parent: None }, observer)
    }

    pub(crate) fn record(
        &mut self,
        config: &TrainConfig,
        folds: Folds<'_>,
        options: &Options<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Candidate, TrainError> {
        let run_id = self.begin(config, folds, options)?;
        let result = run(config, folds, options, observer);
        match &result {
            Ok(candidate) => {
                // JSON has no number that is not finite.
                let finite = candidate.manifest.metrics.iter().filter(|(_, value)| value.is_finite());
                let metrics = serde_json::to_string(&finite.collect::<BTreeMap<_, _>>()).unwrap_or_default();
                self.end(&run_id, TrialStatus::Finished, (&metrics, Some(candidate.sha256()), None))?;
            }
            Err(error) => {
                let status = match error {
                    TrainError::Interrupted { .. } => TrialStatus::Interrupted,
                    TrainError::Config { .. }
                    | TrainError::Bound { .. }
                    | TrainError::Dataset { .. }
                    | TrainError::Checkpoint { .. } => TrialStatus::Refused,
                    TrainError::Diverged { .. }
                    | TrainError::Io { .. }
                    | TrainError::Model(_)
                    | TrainError::Statistics { .. }
                    | TrainError::Ledger { .. } => TrialStatus::Failed,
                };
                self.end(&run_id, status, ("{}", None, Some(&error.to_string())))?;
            }
        }
        result
    }

    /// The line of a new run, or that of the interrupted one which the checkpoint belongs to.
    fn begin(&mut self, config: &TrainConfig, folds: Folds<'_>, options: &Options<'_>) -> Result<String, TrainError> {
        let fault = self.fault();
        let json = serde_json::to_string(config).unwrap_or_default();
        let (hash, seed) = (config.sha256(), config.seed.to_string());
        let (train, validation) = (&folds.train.meta.sha256, &folds.validation.meta.sha256);
        let parent = options.parent.as_ref().map(|parent| parent.sha256.clone());
        let is_resumed = options.checkpoint.is_some_and(Path::exists);
        let now = jiff::Timestamp::now().to_string();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fault)?;
        let paused: Option<String> = if is_resumed {
            let find = "SELECT run_id FROM trials WHERE status IN ('interrupted', 'started') AND config_sha256 = ?1
                AND train_sha256 = ?2 AND validation_sha256 = ?3 AND parent IS ?4 ORDER BY started_at DESC LIMIT 1";
            let found = transaction.query_row(find, params![hash, train, validation, parent], |row| row.get(0));
            found.optional().map_err(&fault)?
        } else {
            None
        };
        let run_id = match paused {
            Some(run_id) => {
                let resume = "UPDATE trials SET status = 'started', ended_at = NULL, error = NULL WHERE run_id = ?1";
                transaction.execute(resume, [&run_id]).map_err(&fault)?;
                run_id
            }
            None => {
                let insert = "INSERT INTO trials (run_id, status, started_at, config_sha256, config, train_sha256,
                    validation_sha256, seed, parent, metrics, sources_sha256) VALUES (lower(hex(randomblob(16))), 'started',
                    ?1, ?2, ?3, ?4, ?5, ?6, ?7, '{}', ?8) RETURNING run_id";
                let sources = sources_sha256(&folds.train.meta);
                let values = params![now, hash, json, train, validation, seed, parent, sources];
                transaction.query_row(insert, values, |row| row.get(0)).map_err(&fault)?
            }
        };
        transaction.commit().map_err(&fault)?;
        Ok(run_id)
    }

    fn end(
        &self,
        run_id: &str,
        status: TrialStatus,
        (metrics, artefact, error): (&str, Option<&str>, Option<&str>),
    ) -> Result<(), TrainError> {
        let update = "UPDATE trials SET status = ?2, ended_at = ?3, metrics = ?4, artefact_sha256 = ?5, error = ?6
            WHERE run_id = ?1";
        let now = jiff::Timestamp::now().to_string();
        let values = params![run_id, status.name(), now, metrics, artefact, error];
        self.connection.execute(update, values).map_err(self.fault())?;
        Ok(())
    }

    /// Every line, oldest first.
    ///
    /// # Errors
    /// [`TrainError::Ledger`].
    pub fn trials(&self) -> Result<Vec<Trial>, TrainError> {
        let fault = self.fault();
        let select = "SELECT run_id, status, started_at, ended_at, config_sha256, config, train_sha256,
            validation_sha256, seed, parent, metrics, artefact_sha256, error, sources_sha256 FROM trials ORDER BY started_at, run_id";
        let mut statement = self.connection.prepare(select).map_err(&fault)?;
        let rows = statement.query_map([], trial).map_err(&fault)?;
        rows.collect::<Result<Vec<_>, _>>().map_err(&fault)
    }

    /// Trials by dataset.
    ///
    /// # Errors
    /// [`TrainError::Ledger`].
    pub fn trials_by_dataset(&self) -> Result<Vec<DatasetTrials>, TrainError> {
        let fault = self.fault();
        let select = "SELECT sources_sha256, count(*), sum(status = 'finished') FROM trials WHERE status <> 'refused'
            GROUP BY sources_sha256 ORDER BY sources_sha256";
        let mut statement = self.connection.prepare(select).map_err(&fault)?;
        let read = |row: &Row<'_>| {
            let count = |index| row.get::<_, i64>(index).map(|count| u64::try_from(count).unwrap_or(0));
            Ok(DatasetTrials { sources_sha256: row.get(0)?, trials: count(1)?, finished: count(2)? })
        };
        let rows = statement.query_map([], read).map_err(&fault)?;
        rows.collect::<Result<Vec<_>, _>>().map_err(&fault)
    }
}

fn trial(row: &Row<'_>) -> rusqlite::Result<Trial> {
    let status: String = row.get(1)?;
    let seed: String = row.get(8)?;
    let metrics: String = row.get(10)?;
    let known = TrialStatus::ALL.into_iter().find(|known| known.name() == status);
    Ok(Trial {
        run_id: row.get(0)?,
        status: known.ok_or_else(|| wrong(1, format!("`{status}` is not a status")))?,
        started_at: row.get(2)?,
        ended_at: row.get(3)?,
        config_sha256: row.get(4)?,
        config: row.get(5)?,
        train_sha256: row.get(6)?,
        validation_sha256: row.get(7)?,
        seed: seed.parse().map_err(|_| wrong(8, format!("`{seed}` is not a seed")))?,
        parent: row.get(9)?,
        metrics: serde_json::from_str(&metrics).map_err(|error| wrong(10, error.to_string()))?,
        artefact_sha256: row.get(11)?,
        error: row.get(12)?,
        sources_sha256: row.get(13)?,
    })
}

fn wrong(column: usize, what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, what.into())
}
