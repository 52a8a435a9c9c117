//! What can go wrong with a conversion: what, where, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use jiff::civil::Date;

/// Where in the input something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file, counted from 1.
    Line(u64),
    /// A record of a binary file, counted from 1.
    Record(u64),
    /// A message of a session, by the byte of the file at which it begins.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Record(number) => write!(f, "record {number}"),
            Self::Byte(offset) => write!(f, "byte {offset}"),
        }
    }
}

/// Why a file could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The input could not be opened or read.
    #[error("cannot read ({}): {source}: name a file that can be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the session: {0}: name a place that can be written and has room")]
    Write(io::Error),
    /// The file is of no format that is understood.
    #[error("not a file that can be converted ({}): {reason}: {help}", path.display())]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        reason: String,
        /// What to do.
        help: &'static str,
    },
    /// The file breaks the rules of its format so that nothing behind can be believed.
    #[error("damaged file ({}, {place}): {reason}: fetch the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// Nothing says which day the file belongs to.
    #[error("the session's date is unknown ({}): neither its rows nor its name tell it: give it with --date YYYY-MM-DD", .0.display())]
    NoDate(PathBuf),
    /// Nothing in the file can be told as a session.
    #[error(
        "no session can be made of this file ({}): it holds {holds} alone: convert the file of the same day whose schema is mbo, mbp-10, \
         mbp-1, tbbo, trades, status or imbalance", path.display()
    )]
    NoSession {
        /// The file.
        path: PathBuf,
        /// What it holds.
        holds: String,
    },
    /// A setting that cannot be.
    #[error("{setting}: {reason}")]
    Setting {
        /// The word of the command line.
        setting: &'static str,
        /// What is wrong, and what it must be.
        reason: String,
    },
    /// A price that ITCH 5.0 has no room for.
    #[error(
        "price {price} ({place}) cannot be written: {reason}: choose another unit with --price-scale (100 keeps two more decimals, 0.01 makes \
         room for prices a hundred times as large)"
    )]
    Price {
        /// Where.
        place: Place,
        /// The price in the source's unit.
        price: String,
        /// Why not.
        reason: &'static str,
    },
    /// A quantity that ITCH 5.0 has no room for.
    #[error(
        "quantity {quantity} ({place}) is more than 4,294,967,295 lots of {lot}: choose a larger lot with --lot, such as \
         ten times this one"
    )]
    Quantity {
        /// Where.
        place: Place,
        /// The quantity in the source's unit.
        quantity: String,
        /// The lot.
        lot: String,
    },
    /// More instruments than a session has locate codes.
    #[error("{0} instruments: a session has 65,535 locate codes; choose some with --symbols")]
    Instruments(usize),
    /// `--strict`, and something is not as it should be.
    #[error("{what} ({place}): {detail}: correct the file, or convert without --strict and read the manifest")]
    Strict {
        /// The finding.
        what: &'static str,
        /// Where.
        place: Place,
        /// What exactly.
        detail: String,
    },
    /// The day has no beginning in the zone.
    #[error(
        "no midnight of {date} in time zone {zone:?}: name a zone of the IANA table, such as America/New_York or UTC"
    )]
    Zone {
        /// The zone's name as given.
        zone: String,
        /// The day.
        date: Date,
    },
    /// The session cannot be read.
    #[error(transparent)]
    Session(#[from] peregrine_source::market::InputError),
    /// The `dbn` crate refused to write.
    #[error("cannot write DBN: {0}")]
    Dbn(String),
    /// The converter was about to write a message that no sound session has.
    #[error("fault of the converter ({0}): please report it with the file")]
    Fault(&'static str),
}

impl From<peregrine_source::SourceError> for ConvertError {
    fn from(error: peregrine_source::SourceError) -> Self {
        Self::Session(error.into())
    }
}
