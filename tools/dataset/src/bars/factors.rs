//! Corporate actions from Lean factor files: `date,price_factor,split_factor[,reference_price]`, ascending; a row's
//! factors hold for dates up to and including its own.
//!
//! Factors are made relative to the first bar's, never to the last one's: a dividend or split of the future must not
//! touch a row of the past. Returns are the same either way; prices grow from the first bar's as a total-return index.

use std::path::Path;

use jiff::civil::Date;

use super::time::parse_date;
use crate::DatasetError;

const HELP: &str =
    "give lines of date,price_factor,split_factor[,reference_price] in the order of dates, factors above 0";

/// The factor rows of one instrument.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Factors {
    rows: Vec<(Date, f64, f64)>,
}

impl Factors {
    /// Reads a factor file.
    ///
    /// # Errors
    /// [`DatasetError::Io`], or [`DatasetError::Input`] naming the line that is not of the layout.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let text = std::fs::read_to_string(path).map_err(DatasetError::io(path))?;
        let mut rows: Vec<(Date, f64, f64)> = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let number = u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1);
            let fault = |reason: &str| DatasetError::input(path, Some(number), reason, HELP);
            let mut fields = line.split(',');
            let date = fields.next().and_then(parse_date).ok_or_else(|| fault("the date cannot be read"))?;
            let mut factor = || fields.next().and_then(|text| text.trim().parse::<f64>().ok());
            let (price, split) = (factor(), factor());
            let (Some(price), Some(split)) = (price, split) else { return Err(fault("a factor cannot be read")) };
            if !(price > 0.0 && price.is_finite() && split > 0.0 && split.is_finite()) {
                return Err(fault("a factor is not above 0"));
            }
            if rows.last().is_some_and(|(before, _, _)| date <= *before) {
                return Err(fault("the date is not after the one before it"));
            }
            rows.push((date, price, split));
        }
        Ok(Self { rows })
    }

    /// Price factor (splits and dividends) and split factor of `date`, of today's; (1, 1) past the last row.
    #[must_use]
    pub fn at(&self, date: Date) -> (f64, f64) {
        let row = self.rows.get(self.rows.partition_point(|(until, _, _)| *until < date));
        row.map_or((1.0, 1.0), |(_, price, split)| (price * split, *split))
    }

    /// The splits that the file tells of: the first date traded at the new price comes after the date given; n for n:1.
    #[must_use]
    pub fn splits(&self) -> Vec<(Date, f64)> {
        let pairs = self.rows.iter().zip(self.rows.iter().skip(1));
        let splits = pairs.map(|((date, _, split), (_, _, next))| (*date, next / split));
        splits.filter(|(_, ratio)| (ratio - 1.0).abs() > 1e-9).collect()
    }
}
