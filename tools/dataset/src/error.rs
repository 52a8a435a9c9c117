//! What can go wrong between files and datasets, and what to do about it.

use std::path::{Path, PathBuf};

use crate::integrity::Halted;

/// Why a dataset could not be built, written or read.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file could not be opened, read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its layout says.
    #[error("{path}{}: {reason}: {help}", .line.map_or_else(String::new, |line| format!(", line {line}")))]
    Input {
        /// The file.
        path: PathBuf,
        /// Line (or row of a Parquet file), counted from 1, where one is to blame.
        line: Option<u64>,
        /// What is wrong.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The capture is damaged.
    #[error(transparent)]
    Source(#[from] peregrine_source::SourceError),
    /// The capture cannot be opened or turned into market events.
    #[error(transparent)]
    Market(#[from] peregrine_source::market::InputError),
    /// Parquet or Arrow refused.
    #[error("{path}: {reason}: the file is damaged or was not written by this program; build it again")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// Manifest and data do not belong together, or one of them is damaged.
    #[error("{path}: {reason}: build the dataset again, or restore both files of it")]
    Manifest {
        /// The manifest or the data file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The dataset's own parts do not fit together.
    #[error("the dataset cannot be: {reason}")]
    Shape {
        /// What does not fit.
        reason: String,
    },
    /// Settings that cannot be, all of them.
    #[error("settings: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<Violation>),
    /// The integrity gate stopped the pipeline.
    #[error(transparent)]
    Halted(#[from] Box<Halted>),
}

/// One setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}: must be {bound}")]
pub struct Violation {
    /// The key, with its section.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub bound: String,
}

impl Violation {
    /// A violation of `bound` by `value` under `key`.
    pub fn new(key: &str, value: impl ToString, bound: impl ToString) -> Self {
        Self { key: key.to_owned(), value: value.to_string(), bound: bound.to_string() }
    }
}

impl DatasetError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn parquet<E: ToString>(path: &Path) -> impl Fn(E) -> Self + '_ {
        move |error| Self::Parquet { path: path.to_path_buf(), reason: error.to_string() }
    }

    pub(crate) fn manifest(path: &Path, reason: impl ToString) -> Self {
        Self::Manifest { path: path.to_path_buf(), reason: reason.to_string() }
    }

    pub(crate) fn shape(reason: impl ToString) -> Self {
        Self::Shape { reason: reason.to_string() }
    }

    pub(crate) fn input(path: &Path, line: Option<u64>, reason: impl ToString, help: &str) -> Self {
        Self::Input { path: path.to_path_buf(), line, reason: reason.to_string(), help: help.to_owned() }
    }
}
