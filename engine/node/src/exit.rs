//! How a command ends, and what it says when it cannot go on.

use std::fmt;
use std::path::Path;

use peregrine_source::SourceError;

use crate::input::InputError;

/// The exit status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Sound and done.
    Done = 0,
    /// Done, but the answer is no: data unsound, verdict failed, verify differs.
    No = 1,
    /// Usage or configuration error.
    Usage = 2,
    /// Input or output error.
    Io = 3,
    /// Interrupted, after a clean stop.
    Interrupted = 130,
}

/// Why a command could not go on: `error: what (where): what to do`.
#[derive(Debug)]
pub struct Failure {
    /// The status that the process ends with.
    pub exit: Exit,
    what: String,
}

impl Failure {
    /// A usage or configuration error.
    pub fn usage(what: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, what: what.to_string() }
    }

    /// An input or output error.
    pub fn io(what: impl fmt::Display) -> Self {
        Self { exit: Exit::Io, what: what.to_string() }
    }

    /// An input or output error of a file.
    pub fn file(action: &str, path: &Path, error: &std::io::Error, remedy: &str) -> Self {
        Self::io(format_args!("cannot {action} ({}): {error}; {remedy}", path.display()))
    }

    /// Somebody stopped the command before it had an answer.
    pub fn interrupted(what: impl fmt::Display) -> Self {
        Self { exit: Exit::Interrupted, what: what.to_string() }
    }

    /// The answer is no.
    pub fn no(what: impl fmt::Display) -> Self {
        Self { exit: Exit::No, what: what.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)
    }
}

impl std::error::Error for Failure {}

impl From<SourceError> for Failure {
    /// A day that nobody told, or files that do not belong together, are errors of usage; the rest is input.
    fn from(error: SourceError) -> Self {
        let is_of_usage = matches!(
            error,
            SourceError::NoSessionDate { .. }
                | SourceError::SessionMismatch { .. }
                | SourceError::FormatMismatch { .. }
                | SourceError::LineCount { .. }
                | SourceError::Zone { .. }
        );
        if is_of_usage { Self::usage(error) } else { Self::io(error) }
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Source(error) => error.into(),
            error @ (InputError::Arbiter(_)
            | InputError::Date(_)
            | InputError::Directory(_)
            | InputError::Lines(_)
            | InputError::RawFiles(_)) => Self::usage(error),
        }
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::usage(error)
    }
}
