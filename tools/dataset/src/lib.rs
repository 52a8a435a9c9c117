//! Datasets for training and diagnosis: what the model sees, row by row, with where it came from.
//!
//! [`bars`] and [`ticks`] build datasets from files; [`integrity`] stands before them and says what is wrong with the
//! data; [`DatasetWriter`] and [`DatasetReader`] stream them through Parquet in bounded memory, [`Dataset`] holds one
//! whole; [`lookahead`] proves that no row knows the future. Layouts and rules: `docs/dataset.md`.

pub mod bars;
mod dataset;
mod digest;
mod error;
mod files;
pub mod integrity;
pub mod lookahead;
mod manifest;
mod reader;
mod scale;
mod settings;
mod sink;
mod text;
pub mod ticks;
mod writer;

pub use dataset::fit_scaler;
pub use digest::{digest_file, hex};
pub use error::{DatasetError, Violation};
pub use files::{Partial, write_atomically};
pub use manifest::{LAYOUT_VERSION, Manifest, Provenance};
pub use reader::{CHUNK_ROWS, Chunk, DatasetReader};
pub use writer::{DatasetWriter, ROW_GROUP_ROWS, write_parquet};

use peregrine_model::{Horizon, Observations};
use serde::{Deserialize, Serialize};

/// What a dataset holds and where it came from. Written beside the Parquet file as its manifest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetMeta {
    /// Ticks or bars.
    pub observations: Observations,
    /// Names of the D features in order.
    pub features: Vec<String>,
    /// Hash of the features' definition, as the models made from this dataset carry it.
    pub feature_hash: String,
    /// Names of the context columns: known at the row's time, not seen by the model, for diagnostics (mid price, VIX, …).
    pub context: Vec<String>,
    /// Horizons of the N return targets.
    pub horizons: Vec<Horizon>,
    /// Every input file.
    pub sources: Vec<SourceDigest>,
    /// SHA-256 of the rows' canonical bytes: 64 lower-case hex digits. Models carry it as their training data.
    pub sha256: String,
}

/// An input file and its digest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDigest {
    /// File name without its folder.
    pub name: String,
    /// SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// Rows of one instrument in time order without a hole: what a recurrent model may carry its state through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// The instrument's symbol.
    pub instrument: String,
    /// Time of each row, nanoseconds UTC.
    pub time_ns: Vec<i64>,
    /// Raw (unscaled) features, row-major rows × D, all finite.
    pub features: Vec<f32>,
    /// Log returns (fractions) from the row over each horizon, row-major rows × N; NaN where the future is not in the data.
    /// Ticks: of the mid price. Bars: of the adjusted close.
    pub returns: Vec<f32>,
    /// Half of the quoted spread as a fraction of the mid price; 0 for bars.
    pub half_spread: Vec<f32>,
    /// Context columns, row-major rows × C; NaN where unknown.
    pub context: Vec<f32>,
}

impl Sequence {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.time_ns.len()
    }
}

/// A whole dataset in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What it holds.
    pub meta: DatasetMeta,
    /// Its sequences, ordered by instrument and time.
    pub sequences: Vec<Sequence>,
}
