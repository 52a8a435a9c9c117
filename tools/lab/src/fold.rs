//! Where training ends and what comes later begins.

use std::path::Path;

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use peregrine_dataset::Dataset;
use peregrine_node::commands::note;
use peregrine_node::exit::Failure;

use crate::cli::FoldArgs;

const DAY_NS: i64 = 86_400_000_000_000;

/// A training fold and the later validation fold.
pub(crate) struct Folds {
    pub(crate) train: Dataset,
    pub(crate) validation: Dataset,
}

impl Folds {
    /// As the training takes them.
    pub(crate) fn as_train(&self) -> peregrine_train::Folds<'_> {
        peregrine_train::Folds { train: &self.train, validation: &self.validation }
    }
}

/// A dataset that could not be read or cut.
pub(crate) fn refused(error: peregrine_dataset::DatasetError) -> Failure {
    use peregrine_dataset::DatasetError;
    match &error {
        DatasetError::Io { .. } => Failure::io(error),
        DatasetError::Halted(_) => Failure::no(error),
        DatasetError::Source(_)
        | DatasetError::Market(_)
        | DatasetError::Input { .. }
        | DatasetError::Parquet { .. }
        | DatasetError::Manifest { .. }
        | DatasetError::Shape { .. }
        | DatasetError::Config(_) => Failure::usage(error),
    }
}

/// Reads a dataset.
pub(crate) fn open(path: &Path) -> Result<Dataset, Failure> {
    Dataset::open(path).map_err(refused)
}

/// Nanoseconds UTC of a date (its midnight, UTC) or of a time with its offset.
pub(crate) fn moment(key: &str, text: &str) -> Result<i64, Failure> {
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let date: Date = text.parse().ok()?;
        date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    });
    at.and_then(|at| i64::try_from(at.as_nanosecond()).ok()).ok_or_else(|| {
        Failure::usage(format_args!(
            "{key} {text}: no date such as 2012-12-31 and no time such as 2026-01-05T15:00:00Z"
        ))
    })
}

/// First and last time of a dataset.
fn span(data: &Dataset) -> Option<(i64, i64)> {
    let times = || data.sequences.iter().flat_map(|sequence| sequence.time_ns.iter().copied());
    Some((times().min()?, times().max()?))
}

/// Rows whose targets reach over a boundary are taken out of the fold before it: as many as the longest horizon.
pub(crate) fn purge_rows(data: &Dataset) -> usize {
    let longest = data.meta.horizons.iter().map(|horizon| horizon.count).max().unwrap_or(0);
    usize::try_from(longest).unwrap_or(usize::MAX)
}

/// Cuts the dataset as the command line says.
pub(crate) fn folds(args: &FoldArgs) -> Result<Folds, Failure> {
    let mut data = open(&args.data)?;
    let purge = purge_rows(&data);
    let (first, last) =
        span(&data).ok_or_else(|| Failure::usage(format_args!("{} has no row", args.data.display())))?;
    let until = args.until.as_deref().map(|text| moment("--until", text)).transpose()?;
    let until = until.unwrap_or(last.saturating_add(1));
    let window = args.window_days.map(|days| until.saturating_sub(i64::from(days).saturating_mul(DAY_NS)));
    let from = args.from.as_deref().map(|text| moment("--from", text)).transpose()?.or(window).unwrap_or(first);
    if from > first || until <= last {
        data = data.window(from, until, purge).map_err(refused)?;
    }
    let train_until = match &args.train_until {
        Some(text) => moment("--train-until", text)?,
        None => default_cut((first, last), (from, until)),
    };
    if train_until <= from || train_until >= until {
        return Err(Failure::usage(format_args!(
            "--train-until must lie between {} and {}: no row would train or none would validate",
            time(from),
            time(until)
        )));
    }
    let (train, validation) = data.split_at(train_until, purge).map_err(refused)?;
    note(format_args!(
        "{} rows train ({} … {}), {} validate (… {}), {purge} rows purged at the end of each sequence before the cut",
        train.rows(),
        time(from),
        time(train_until),
        validation.rows(),
        time(until)
    ));
    Ok(Folds { train, validation })
}

/// Four fifths of the time that is both in the data and in the window.
fn default_cut((first, last): (i64, i64), (from, until): (i64, i64)) -> i64 {
    let (from, until) = (from.max(first), until.min(last.saturating_add(1)));
    from.saturating_add(until.saturating_sub(from) / 5 * 4)
}

/// A moment as people read it.
pub(crate) fn time(nanos: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(|_| nanos.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::{default_cut, moment};

    #[test]
    fn dates_and_times_are_read_and_nothing_else() {
        assert_eq!(moment("--from", "1970-01-02").ok(), Some(86_400_000_000_000));
        assert_eq!(moment("--from", "1970-01-01T01:00:00+01:00").ok(), Some(0));
        assert!(moment("--from", "yesterday").is_err());
    }

    #[test]
    fn the_default_cut_lies_inside_the_data_whatever_the_window() {
        let data = (1_000, 1_999);
        assert_eq!(default_cut(data, (1_000, 2_000)), 1_800);
        assert_eq!(default_cut(data, (0, 1_000_000)), 1_800, "a window wider than the data");
        assert_eq!(default_cut(data, (1_500, 1_000_000)), 1_900);
        assert_eq!(default_cut(data, (0, 1_500)), 1_400);
    }
}
