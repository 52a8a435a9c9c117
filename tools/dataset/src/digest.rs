//! SHA-256 of input files and of rows, the latter independent of how the rows were cut into chunks.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{DatasetError, DatasetMeta, Sequence, SourceDigest};

/// Lower-case hex digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// Name, SHA-256 and length of the file at `path`, read in pieces.
///
/// # Errors
/// [`DatasetError::Io`] when it cannot be read.
pub fn digest_file(path: &Path) -> Result<SourceDigest, DatasetError> {
    let mut file = File::open(path).map_err(DatasetError::io(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0_u64;
    loop {
        let len = file.read(&mut buffer).map_err(DatasetError::io(path))?;
        if len == 0 {
            break;
        }
        hasher.update(buffer.get(..len).unwrap_or_default());
        bytes = bytes.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(SourceDigest { name, sha256: hex(&hasher.finalize()), bytes })
}

/// The digest of one sequence, fed by chunks in time order. Canonical bytes of a row: time as little-endian i64, then
/// features, returns, half-spread and context as little-endian binary32, every NaN as `7fc00000`.
#[derive(Clone, Debug)]
pub(crate) struct SequenceDigest {
    instrument: String,
    first_time: i64,
    rows: u64,
    hasher: Sha256,
    bytes: Vec<u8>,
}

/// A finished sequence's part of the dataset's digest; 32 bytes and a name are all that is kept of its rows.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct SequenceSeal {
    instrument: String,
    first_time: i64,
    rows: u64,
    digest: [u8; 32],
}

impl SequenceDigest {
    pub(crate) fn new(instrument: &str) -> Self {
        let instrument = instrument.to_owned();
        Self { instrument, first_time: 0, rows: 0, hasher: Sha256::new(), bytes: Vec::new() }
    }

    pub(crate) fn update(&mut self, chunk: &Sequence, widths: Widths) {
        if self.rows == 0 {
            self.first_time = chunk.time_ns.first().copied().unwrap_or(0);
        }
        self.rows = self.rows.saturating_add(u64::try_from(chunk.rows()).unwrap_or(u64::MAX));
        for row in 0..chunk.rows() {
            self.bytes.clear();
            self.bytes.extend(chunk.time_ns.get(row).copied().unwrap_or(0).to_le_bytes());
            let parts = [
                (&chunk.features, widths.features),
                (&chunk.returns, widths.returns),
                (&chunk.half_spread, 1),
                (&chunk.context, widths.context),
            ];
            for (values, width) in parts {
                let start = row.saturating_mul(width);
                let values = values.get(start..start.saturating_add(width)).unwrap_or_default();
                self.bytes.extend(values.iter().flat_map(|value| canonical_bits(*value).to_le_bytes()));
            }
            self.hasher.update(&self.bytes);
        }
    }

    pub(crate) fn seal(self) -> SequenceSeal {
        let digest = self.hasher.finalize().into();
        SequenceSeal { instrument: self.instrument, first_time: self.first_time, rows: self.rows, digest }
    }
}

/// How many values a row has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Widths {
    pub(crate) features: usize,
    pub(crate) returns: usize,
    pub(crate) context: usize,
}

impl Widths {
    pub(crate) fn of(meta: &DatasetMeta) -> Self {
        Self { features: meta.features.len(), returns: meta.horizons.len(), context: meta.context.len() }
    }
}

const fn canonical_bits(value: f32) -> u32 {
    if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }
}

/// SHA-256 of the whole: what the columns are, then every sequence by instrument and time. 64 hex digits.
///
/// # Errors
/// [`DatasetError::Shape`] when the metadata cannot be written as JSON.
pub(crate) fn digest_dataset(meta: &DatasetMeta, mut seals: Vec<SequenceSeal>) -> Result<String, DatasetError> {
    seals.sort_unstable();
    let columns = (&meta.observations, &meta.features, &meta.feature_hash, &meta.context, &meta.horizons);
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_vec(&columns).map_err(DatasetError::shape)?);
    for seal in &seals {
        hasher.update(u64::try_from(seal.instrument.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(seal.instrument.as_bytes());
        hasher.update(seal.rows.to_le_bytes());
        hasher.update(seal.digest);
    }
    Ok(hex(&hasher.finalize()))
}
