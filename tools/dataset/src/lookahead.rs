//! The look-ahead harness: features made of a truncated input must equal, bit for bit, those made of the whole.
//!
//! [`check`] takes any maker of rows: the house's, or a user's own features. A row is compared by its instrument and
//! time; targets (returns) are not part of it, since they are the future by intent.

use std::collections::BTreeMap;

use crate::Dataset;

/// One row as the harness compares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its instrument.
    pub instrument: String,
    /// Its time, nanoseconds UTC.
    pub time_ns: i64,
    /// Everything that a model or a diagnosis may see at that time.
    pub values: Vec<f32>,
}

/// What the future changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LookaheadFault {
    /// A value of a past row differs.
    #[error(
        "look-ahead: {instrument} at {time_ns} ns: value {column} is {with_future} with the whole input and \
         {without} with its first {cut} items: it knows the future"
    )]
    Value {
        /// Items of the truncated input.
        cut: usize,
        /// The row's instrument.
        instrument: String,
        /// The row's time.
        time_ns: i64,
        /// Index of the value.
        column: usize,
        /// Its value when the future is there.
        with_future: f32,
        /// Its value when it is not.
        without: f32,
    },
    /// A past row is there only with, or only without, the future.
    #[error(
        "look-ahead: {instrument} at {time_ns} ns: {cut} items give {without} rows of this time, the whole input {with_future}"
    )]
    Rows {
        /// Items of the truncated input.
        cut: usize,
        /// The row's instrument.
        instrument: String,
        /// The row's time.
        time_ns: i64,
        /// Rows of that time when the future is there.
        with_future: usize,
        /// Rows of that time when it is not.
        without: usize,
    },
}

/// Compares the rows of truncated inputs with those of the whole.
///
/// `make(n)` makes the rows of the first `n` items (bars, lines, messages) of the input, in the order of each
/// instrument's time; `known_until(n)` says up to which time these items tell everything: rows at or before it must be
/// the same with and without the rest. `cuts` are the lengths to try; the whole is `len`.
///
/// # Errors
/// [`LookaheadFault`]: the first row that the future changed.
pub fn check(
    len: usize,
    cuts: impl IntoIterator<Item = usize>,
    mut make: impl FnMut(usize) -> Vec<Row>,
    known_until: impl Fn(usize) -> i64,
) -> Result<(), LookaheadFault> {
    let whole = by_time(make(len));
    for cut in cuts {
        let part = by_time(make(cut));
        let until = known_until(cut);
        let times = whole.keys().chain(part.keys()).filter(|(_, time)| *time <= until);
        for key in times {
            let rows = |rows: &BTreeMap<(String, i64), Vec<Vec<f32>>>| rows.get(key).cloned().unwrap_or_default();
            compare(cut, key, &rows(&whole), &rows(&part))?;
        }
    }
    Ok(())
}

/// The rows of a dataset: features, half-spread and context.
#[must_use]
pub fn rows_of(dataset: &Dataset) -> Vec<Row> {
    let (width, context) = (dataset.meta.features.len(), dataset.meta.context.len());
    let mut rows = Vec::with_capacity(dataset.rows());
    for sequence in &dataset.sequences {
        for (row, time_ns) in sequence.time_ns.iter().enumerate() {
            let part = |values: &[f32], width: usize| {
                values.iter().skip(row.saturating_mul(width)).take(width).copied().collect::<Vec<_>>()
            };
            let mut values = part(&sequence.features, width);
            values.extend(part(&sequence.half_spread, 1));
            values.extend(part(&sequence.context, context));
            rows.push(Row { instrument: sequence.instrument.clone(), time_ns: *time_ns, values });
        }
    }
    rows
}

fn by_time(rows: Vec<Row>) -> BTreeMap<(String, i64), Vec<Vec<f32>>> {
    let mut by_time: BTreeMap<_, Vec<Vec<f32>>> = BTreeMap::new();
    for row in rows {
        by_time.entry((row.instrument, row.time_ns)).or_default().push(row.values);
    }
    by_time
}

fn compare(
    cut: usize,
    (instrument, time_ns): &(String, i64),
    whole: &[Vec<f32>],
    part: &[Vec<f32>],
) -> Result<(), LookaheadFault> {
    let (instrument, time_ns) = (instrument.clone(), *time_ns);
    if whole.len() != part.len() {
        let (with_future, without) = (whole.len(), part.len());
        return Err(LookaheadFault::Rows { cut, instrument, time_ns, with_future, without });
    }
    for (whole, part) in whole.iter().zip(part) {
        let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
        let at = whole.iter().zip(part).position(differs);
        let at = at.or_else(|| (whole.len() != part.len()).then_some(whole.len().min(part.len())));
        if let Some(column) = at {
            let value = |values: &[f32]| values.get(column).copied().unwrap_or(f32::NAN);
            let (with_future, without) = (value(whole), value(part));
            return Err(LookaheadFault::Value { cut, instrument, time_ns, column, with_future, without });
        }
    }
    Ok(())
}
