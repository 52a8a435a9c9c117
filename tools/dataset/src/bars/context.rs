//! Market context by time: the VIX and the yield curve, as they were known at a row's time and not a moment earlier.

use std::io::BufRead;
use std::path::Path;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::time::{local_nanos, parse_date};
use crate::text::with_text;
use crate::{DatasetError, Violation};

/// When context is known and how old it may be: the section `[context]` of a profile. Every key is mandatory.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ContextRules {
    /// Column of the VIX file that holds the level.
    pub vix_column: String,
    /// Time of day, in the venue's zone, from which a date's VIX close is known.
    #[serde(with = "crate::settings::text")]
    pub vix_known_at: Time,
    /// Column of the long yield, percent per year.
    pub yield_long_column: String,
    /// Column of the short yield.
    pub yield_short_column: String,
    /// Time of day from which a date's yields are known.
    #[serde(with = "crate::settings::text")]
    pub yields_known_at: Time,
    /// Age in days from which a value counts as missing, 1 to 366.
    pub age_days_max: u32,
}

impl ContextRules {
    pub(crate) fn violations(&self, out: &mut Vec<Violation>) {
        if !(1..=366).contains(&self.age_days_max) {
            out.push(Violation::new("context.age_days_max", self.age_days_max, "1 to 366"));
        }
        let columns = [
            ("vix_column", &self.vix_column),
            ("yield_long_column", &self.yield_long_column),
            ("yield_short_column", &self.yield_short_column),
        ];
        for (key, _) in columns.into_iter().filter(|(_, column)| column.is_empty()) {
            out.push(Violation::new(&format!("context.{key}"), "empty", "a column's name"));
        }
    }
}

/// What is known at one time; NaN where nothing is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// VIX close, index points.
    pub vix: f64,
    /// VIX close five observations earlier.
    pub vix_5_before: f64,
    /// Long less short yield, percentage points.
    pub yield_spread: f64,
    /// The same twenty observations earlier.
    pub yield_spread_20_before: f64,
}

impl Known {
    /// Nothing known.
    pub const NOTHING: Self =
        Self { vix: f64::NAN, vix_5_before: f64::NAN, yield_spread: f64::NAN, yield_spread_20_before: f64::NAN };
}

/// Values by the time from which they are known, ascending.
#[derive(Clone, Debug, Default, PartialEq)]
struct Series {
    known_from: Vec<i64>,
    values: Vec<f64>,
}

impl Series {
    /// The last value known at `time`, if it is not older than `age_max`, and the one `lag` observations before.
    fn at(&self, time: i64, age_max: i64, lag: usize) -> (f64, f64) {
        let count = self.known_from.partition_point(|known| *known <= time);
        let value = |back: usize| {
            let at = count.checked_sub(back.saturating_add(1));
            at.and_then(|at| self.values.get(at)).copied().unwrap_or(f64::NAN)
        };
        let known = count.checked_sub(1).and_then(|at| self.known_from.get(at));
        let is_fresh = known.is_some_and(|known| time.saturating_sub(*known) <= age_max);
        if is_fresh { (value(0), value(lag)) } else { (f64::NAN, f64::NAN) }
    }
}

/// The market context of a dataset; empty where no file was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MarketContext {
    vix: Series,
    yield_spread: Series,
    age_max_ns: i64,
}

impl MarketContext {
    /// Reads the files that are given. A level or yield of 0 or below, or an empty one, means missing: the value before
    /// it stands.
    ///
    /// # Errors
    /// [`DatasetError::Io`] or [`DatasetError::Input`] naming file, line and what is wrong: a missing column, a date that
    /// is none or runs backwards, a value that is no number.
    pub fn read(
        vix: Option<&Path>,
        yields: Option<&Path>,
        rules: &ContextRules,
        zone: &TimeZone,
    ) -> Result<Self, DatasetError> {
        let age_max_ns = i64::from(rules.age_days_max).saturating_mul(86_400_000_000_000);
        let mut context = Self { age_max_ns, ..Self::default() };
        if let Some(path) = vix {
            let columns = [rules.vix_column.as_str()];
            context.vix = read_series(path, &columns, (rules.vix_known_at, zone), |values| values.first().copied())?;
        }
        if let Some(path) = yields {
            let columns = [rules.yield_long_column.as_str(), rules.yield_short_column.as_str()];
            let spread = |values: &[f64]| Some(values.first()? - values.get(1)?);
            context.yield_spread = read_series(path, &columns, (rules.yields_known_at, zone), spread)?;
        }
        Ok(context)
    }

    /// What is known at `time_ns`.
    #[must_use]
    pub fn at(&self, time_ns: i64) -> Known {
        let (vix, vix_5_before) = self.vix.at(time_ns, self.age_max_ns, 5);
        let (yield_spread, yield_spread_20_before) = self.yield_spread.at(time_ns, self.age_max_ns, 20);
        Known { vix, vix_5_before, yield_spread, yield_spread_20_before }
    }
}

const CONTEXT_HELP: &str = "give a CSV file with a header, a date column first, in the order of dates";

fn read_series(
    path: &Path,
    columns: &[&str],
    (known_at, zone): (Time, &TimeZone),
    value: impl Fn(&[f64]) -> Option<f64>,
) -> Result<Series, DatasetError> {
    with_text(path, |text| read_text(path, text, columns, (known_at, zone), &value))
}

fn read_text(
    path: &Path,
    text: &mut dyn BufRead,
    columns: &[&str],
    (known_at, zone): (Time, &TimeZone),
    value: &dyn Fn(&[f64]) -> Option<f64>,
) -> Result<Series, DatasetError> {
    let fault = |line: u64, reason: String| DatasetError::input(path, Some(line), reason, CONTEXT_HELP);
    let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
    let header = csv.headers().map_err(|error| fault(1, error.to_string()))?.clone();
    let find = |name: &str| {
        let at = header.iter().position(|column| column.eq_ignore_ascii_case(name));
        at.ok_or_else(|| fault(1, format!("no column {name} among {}", header.iter().collect::<Vec<_>>().join(", "))))
    };
    let columns = columns.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut series = Series::default();
    let mut before: Option<Date> = None;
    for (index, record) in csv.records().enumerate() {
        let line = u64::try_from(index).unwrap_or(u64::MAX).saturating_add(2);
        let record = record.map_err(|error| fault(line, error.to_string()))?;
        let date = record.get(0).unwrap_or_default();
        let date = parse_date(date).ok_or_else(|| fault(line, format!("\"{date}\" is no date")))?;
        if before.is_some_and(|before| date <= before) {
            return Err(fault(line, format!("date {date} is not after the one before it")));
        }
        before = Some(date);
        let parse = |at: &usize| {
            let text = record.get(*at).unwrap_or_default();
            if text.is_empty() {
                return Ok(0.0);
            }
            text.parse::<f64>().map_err(|_| fault(line, format!("\"{text}\" is no number")))
        };
        let values = columns.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if values.iter().all(|value| value.is_finite() && *value > 0.0)
            && let Some(value) = value(&values)
        {
            let known = local_nanos(date, known_at, zone);
            series.known_from.push(known.ok_or_else(|| fault(line, format!("{date} is out of range")))?);
            series.values.push(value);
        }
    }
    Ok(series)
}
