//! The manifest beside a Parquet file: where the rows came from and what was done to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::write_atomically;
use crate::integrity::GateReport;
use crate::{DatasetError, DatasetMeta};

/// Version of the layout of data file and manifest.
pub const LAYOUT_VERSION: u32 = 1;

/// What stands in `NAME.manifest.json`. It holds no time, so that the same input gives the same bytes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`LAYOUT_VERSION`].
    pub layout_version: u32,
    /// What the dataset holds, sources and digest of its rows included.
    pub meta: DatasetMeta,
    /// Rows of all sequences.
    pub rows: u64,
    /// Sequences.
    pub sequences: u64,
    /// First and last row's time, nanoseconds UTC; absent when there is no row.
    pub time_range_ns: Option<(i64, i64)>,
    /// What the integrity gate found, by reason.
    pub integrity: GateReport,
    /// The effective settings, as the TOML that they were read from, key by key.
    pub settings: BTreeMap<String, String>,
}

/// What the builder knows beside the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// What the integrity gate found.
    pub integrity: GateReport,
    /// The effective settings, key by key.
    pub settings: BTreeMap<String, String>,
}

impl Manifest {
    /// Where the manifest of the data file `path` lies: `NAME.parquet` has `NAME.manifest.json`.
    #[must_use]
    pub fn path_of(path: &Path) -> PathBuf {
        path.with_extension("manifest.json")
    }

    /// Reads the manifest of the data file at `path`.
    ///
    /// # Errors
    /// [`DatasetError::Io`] when there is none, [`DatasetError::Manifest`] when it is not one of ours.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let path = Self::path_of(path);
        let text = std::fs::read_to_string(&path).map_err(DatasetError::io(&path))?;
        let manifest: Self =
            serde_json::from_str(&text).map_err(|error| DatasetError::manifest(&path, error.to_string()))?;
        if manifest.layout_version != LAYOUT_VERSION {
            let found = manifest.layout_version;
            let reason = format!("layout_version is {found}, this build reads {LAYOUT_VERSION}");
            return Err(DatasetError::manifest(&path, reason));
        }
        Ok(manifest)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), DatasetError> {
        let path = Self::path_of(path);
        let mut text = serde_json::to_string_pretty(self).map_err(DatasetError::shape)?;
        text.push('\n');
        write_atomically(&path, text.as_bytes()).map_err(DatasetError::io(&path))
    }
}
