//! What a training run yields: the artefact's bytes and its manifest. Never a live model: promotion is another's business.

use std::collections::BTreeMap;
use std::path::Path;

use peregrine_dataset::{hex, write_atomically};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::observe::EpochReport;

/// What was trained.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A world model that `peregrine_model::Model::load` reads.
    WorldModel,
    /// An LSTM baseline that [`LstmBaseline::load`](crate::LstmBaseline::load) reads.
    Lstm,
}

/// The manifest that stands beside an artefact. The artefact itself holds no time, so that one seed gives one file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What was trained.
    pub kind: Kind,
    /// SHA-256 of the artefact.
    pub sha256: String,
    /// Its length in bytes.
    pub len: usize,
    /// The configuration.
    pub config: TrainConfig,
    /// SHA-256 of the configuration.
    pub config_sha256: String,
    /// SHA-256 of the training rows.
    pub train_sha256: String,
    /// SHA-256 of the validation rows.
    pub validation_sha256: String,
    /// Commit of the code, when the build was told (`PEREGRINE_COMMIT`).
    pub code_commit: Option<String>,
    /// SHA-256 of the model that this one was tuned from.
    pub parent: Option<String>,
    /// Figures by name.
    pub metrics: BTreeMap<String, f64>,
    /// Every epoch.
    pub epochs: Vec<EpochReport>,
    /// When the run ended, RFC 3339, UTC.
    pub finished_at: String,
    /// How long it took, seconds, pauses between resumes not counted.
    pub seconds: f64,
}

/// A trained artefact.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The artefact: a safetensors file.
    pub bytes: Vec<u8>,
    /// Its manifest.
    pub manifest: Manifest,
}

/// What a candidate is made of beside its bytes.
pub(crate) struct Origin<'a> {
    pub(crate) kind: Kind,
    pub(crate) config: &'a TrainConfig,
    pub(crate) train_sha256: &'a str,
    pub(crate) validation_sha256: &'a str,
    pub(crate) parent: Option<String>,
    pub(crate) seconds: f64,
}

impl Candidate {
    pub(crate) fn new(
        bytes: Vec<u8>,
        origin: Origin<'_>,
        metrics: BTreeMap<String, f64>,
        epochs: Vec<EpochReport>,
    ) -> Self {
        let manifest = Manifest {
            kind: origin.kind,
            sha256: hex(&Sha256::digest(&bytes)),
            len: bytes.len(),
            config: origin.config.clone(),
            config_sha256: origin.config.sha256(),
            train_sha256: origin.train_sha256.to_owned(),
            validation_sha256: origin.validation_sha256.to_owned(),
            code_commit: option_env!("PEREGRINE_COMMIT").map(str::to_owned),
            parent: origin.parent,
            metrics,
            epochs,
            finished_at: jiff::Timestamp::now().to_string(),
            seconds: origin.seconds,
        };
        Self { bytes, manifest }
    }

    /// SHA-256 of the artefact, 64 lower-case hex digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.manifest.sha256
    }

    /// Writes the artefact to `path` (`NAME.safetensors`) and its manifest beside it (`NAME.manifest.json`), each atomically.
    ///
    /// # Errors
    /// [`TrainError::Io`], naming the file.
    pub fn write(&self, path: &Path) -> Result<(), TrainError> {
        let json = serde_json::to_string_pretty(&self.manifest);
        let json = json.map_err(|error| TrainError::Io { path: path.to_owned(), source: error.into() })?;
        let manifest = path.with_extension("manifest.json");
        write_atomically(path, &self.bytes).map_err(TrainError::io(path))?;
        write_atomically(&manifest, format!("{json}\n").as_bytes()).map_err(TrainError::io(&manifest))
    }
}
