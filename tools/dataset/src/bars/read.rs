//! Bars from files: Lean's daily layout, CSV with a header, Parquet; CSV plain, gzip or zip.

use std::fs::File;
use std::io::BufRead;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampNanosecondType};
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::time::{Stamp, parse_stamp};
use crate::DatasetError;
use crate::text::with_text;

/// Lean writes prices of equities in units of 1/10,000.
const LEAN_PRICE_UNIT: f64 = 1e-4;
const PARQUET_MAGIC: &[u8] = b"PAR1";
const HELP: &str = "give Lean's daily layout (YYYYMMDD HH:MM,open,high,low,close,volume), a CSV file whose header names \
                    date, open, high, low, close and volume, or Parquet with such columns";

/// A row as its file has it; missing values are NaN.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawRow {
    /// In files with a column of instruments; else the file's name tells it.
    pub(crate) instrument: Option<String>,
    pub(crate) stamp: Stamp,
    pub(crate) ohlc: [f64; 4],
    pub(crate) volume: f64,
    /// Close adjusted for splits and dividends, where the file has one.
    pub(crate) adjusted_close: Option<f64>,
}

/// Reads every row of `path` and hands it on with its line; what cannot be read is handed on as text.
pub(crate) fn read_bars(
    path: &Path,
    mut take: impl FnMut(Result<RawRow, String>, u64) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    if is_parquet(path)? {
        return read_parquet(path, &mut take);
    }
    with_text(path, |text| read_csv(path, text, &mut take))
}

/// Whether `path` has a column of instruments, so that its rows may be of several.
pub(crate) fn names_instruments(path: &Path) -> Result<bool, DatasetError> {
    if is_parquet(path)? {
        let file = File::open(path).map_err(DatasetError::io(path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(DatasetError::parquet(path))?;
        return Ok(columns_of_parquet(path, &builder)?.instrument.is_some());
    }
    with_text(path, |text| {
        let mut record = csv::StringRecord::new();
        // What cannot be read here is said where the file is read.
        let is_read = reader(text).read_record(&mut record).is_ok_and(|is_read| is_read);
        let names: Vec<String> = record.iter().map(ToOwned::to_owned).collect();
        let columns = Columns::of_header(&names).ok().filter(|_| is_read && !is_lean(&record));
        Ok(columns.is_some_and(|columns| columns.instrument.is_some()))
    })
}

fn is_parquet(path: &Path) -> Result<bool, DatasetError> {
    let mut head = [0; 4];
    let mut file = File::open(path).map_err(DatasetError::io(path))?;
    Ok(std::io::Read::read_exact(&mut file, &mut head).is_ok() && head == PARQUET_MAGIC)
}

type Take<'a> = &'a mut dyn FnMut(Result<RawRow, String>, u64) -> Result<(), DatasetError>;

/// Where the columns are.
#[derive(Clone, Debug)]
struct Columns {
    time: usize,
    ohlc: [usize; 4],
    volume: usize,
    adjusted_close: Option<usize>,
    instrument: Option<usize>,
    price_unit: f64,
}

const LEAN: Columns = Columns {
    time: 0,
    ohlc: [1, 2, 3, 4],
    volume: 5,
    adjusted_close: None,
    instrument: None,
    price_unit: LEAN_PRICE_UNIT,
};

impl Columns {
    /// By the names of a header, in any case and order.
    fn of_header(names: &[String]) -> Result<Self, String> {
        let tidy = |name: &String| name.trim().to_ascii_lowercase().replace([' ', '_', '.'], "");
        let names: Vec<String> = names.iter().map(tidy).collect();
        let optional = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let find = |wanted: &[&str]| {
            optional(wanted).ok_or_else(|| format!("no column {} among {}", wanted.join(" or "), names.join(", ")))
        };
        Ok(Self {
            time: find(&["date", "time", "timestamp", "datetime", "day"])?,
            ohlc: [find(&["open", "o"])?, find(&["high", "h"])?, find(&["low", "l"])?, find(&["close", "c"])?],
            volume: find(&["volume", "vol", "v"])?,
            adjusted_close: optional(&["adjclose", "adjustedclose"]),
            instrument: optional(&["symbol", "ticker", "instrument"]),
            price_unit: 1.0,
        })
    }

    fn row(&self, record: &csv::StringRecord) -> Result<RawRow, String> {
        let field = |at: usize| record.get(at).ok_or_else(|| format!("{} fields", record.len()));
        let number = |at: usize| parse_number(field(at)?);
        let time = field(self.time)?;
        let stamp = parse_stamp(time).ok_or_else(|| format!("time \"{time}\""))?;
        let mut ohlc = [0.0; 4];
        for (value, at) in ohlc.iter_mut().zip(self.ohlc) {
            *value = number(at)? * self.price_unit;
        }
        let adjusted_close = self.adjusted_close.map(number).transpose()?;
        let instrument = self.instrument.map(field).transpose()?.map(ToOwned::to_owned);
        Ok(RawRow { instrument, stamp, ohlc, volume: number(self.volume)?, adjusted_close })
    }
}

/// A number; an empty field and the usual words for a missing one are NaN.
fn parse_number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let is_missing = ["", "na", "n/a", "nan", "null", "none", "-", "."].contains(&text.to_ascii_lowercase().as_str());
    if is_missing { Ok(f64::NAN) } else { text.parse().map_err(|_| format!("\"{text}\" where a number stands")) }
}

fn reader<R: std::io::Read>(text: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text)
}

fn read_csv(path: &Path, text: &mut dyn BufRead, take: Take<'_>) -> Result<(), DatasetError> {
    let mut csv = reader(text);
    let mut record = csv::StringRecord::new();
    let mut columns: Option<Columns> = None;
    loop {
        let line = csv.position().line();
        match csv.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) if error.is_io_error() => {
                return Err(DatasetError::input(path, Some(line), error, "check the file and the disk"));
            }
            Err(error) => {
                take(Err(error.to_string()), line)?;
                continue;
            }
        }
        let line = record.position().map_or(line, csv::Position::line);
        match &columns {
            Some(columns) => take(columns.row(&record), line)?,
            None if is_lean(&record) => {
                take(LEAN.row(&record), line)?;
                columns = Some(LEAN);
            }
            None => {
                let names: Vec<String> = record.iter().map(ToOwned::to_owned).collect();
                let found = Columns::of_header(&names);
                columns = Some(found.map_err(|reason| DatasetError::input(path, Some(line), reason, HELP))?);
            }
        }
    }
    if columns.is_some() { Ok(()) } else { Err(DatasetError::input(path, None, "the file is empty", HELP)) }
}

/// A first line without header: a time and whole numbers.
fn is_lean(record: &csv::StringRecord) -> bool {
    let is_whole = |text: &str| text.parse::<u64>().is_ok();
    record.len() == 6
        && record.get(0).is_some_and(|time| parse_stamp(time).is_some())
        && record.iter().skip(1).take(4).all(is_whole)
}

fn read_parquet(path: &Path, take: Take<'_>) -> Result<(), DatasetError> {
    let file = File::open(path).map_err(DatasetError::io(path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(DatasetError::parquet(path))?;
    let columns = columns_of_parquet(path, &builder)?;
    let mut line = 0_u64;
    for batch in builder.build().map_err(DatasetError::parquet(path))? {
        let batch = batch.map_err(DatasetError::parquet(path))?;
        let rows = ParquetRows::new(&batch, &columns).map_err(DatasetError::parquet(path))?;
        for at in 0..batch.num_rows() {
            line = line.saturating_add(1);
            take(rows.row(at), line)?;
        }
    }
    Ok(())
}

fn columns_of_parquet(path: &Path, builder: &ParquetRecordBatchReaderBuilder<File>) -> Result<Columns, DatasetError> {
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    Columns::of_header(&names).map_err(|reason| DatasetError::input(path, None, reason, HELP))
}

/// The columns of a batch in the types that are wanted.
struct ParquetRows {
    /// Times as moments, where the column has them.
    moments: Option<arrow::array::PrimitiveArray<TimestampNanosecondType>>,
    /// Else as text.
    times: Option<arrow::array::StringArray>,
    ohlc: [Vec<f64>; 4],
    volume: Vec<f64>,
    adjusted_close: Option<Vec<f64>>,
    instrument: Option<arrow::array::StringArray>,
}

impl ParquetRows {
    fn new(batch: &RecordBatch, columns: &Columns) -> Result<Self, arrow::error::ArrowError> {
        let floats = |at: usize| -> Result<Vec<f64>, arrow::error::ArrowError> {
            let values = cast(batch.column(at), &DataType::Float64)?;
            Ok(values.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)).collect())
        };
        let text = |at: usize| -> Result<arrow::array::StringArray, arrow::error::ArrowError> {
            Ok(cast(batch.column(at), &DataType::Utf8)?.as_string::<i32>().clone())
        };
        let time = batch.column(columns.time);
        let is_moment = matches!(time.data_type(), DataType::Timestamp(_, _));
        let moments = if is_moment {
            let utc = DataType::Timestamp(TimeUnit::Nanosecond, None);
            Some(cast(time, &utc)?.as_primitive::<TimestampNanosecondType>().clone())
        } else {
            None
        };
        let [open, high, low, close] = columns.ohlc;
        Ok(Self {
            times: if is_moment { None } else { Some(text(columns.time)?) },
            moments,
            ohlc: [floats(open)?, floats(high)?, floats(low)?, floats(close)?],
            volume: floats(columns.volume)?,
            adjusted_close: columns.adjusted_close.map(floats).transpose()?,
            instrument: columns.instrument.map(text).transpose()?,
        })
    }

    fn row(&self, at: usize) -> Result<RawRow, String> {
        let value = |values: &[f64]| values.get(at).copied().unwrap_or(f64::NAN);
        let instrument = self.instrument.as_ref().filter(|names| names.is_valid(at));
        let [open, high, low, close] = &self.ohlc;
        Ok(RawRow {
            instrument: instrument.map(|names| names.value(at).to_owned()),
            stamp: self.stamp(at)?,
            ohlc: [open, high, low, close].map(|values| value(values)),
            volume: value(&self.volume),
            adjusted_close: self.adjusted_close.as_deref().map(value),
        })
    }

    /// A moment at midnight UTC is a day: that is how dates are commonly stored.
    fn stamp(&self, at: usize) -> Result<Stamp, String> {
        const DAY_NS: i64 = 86_400_000_000_000;
        if let Some(moments) = self.moments.as_ref().filter(|moments| moments.is_valid(at)) {
            let nanos = moments.value(at);
            let moment = Timestamp::from_nanosecond(i128::from(nanos)).map_err(|error| error.to_string())?;
            let day = || Stamp::Day(moment.to_zoned(jiff::tz::TimeZone::UTC).date());
            return Ok(if nanos.rem_euclid(DAY_NS) == 0 { day() } else { Stamp::Moment(moment) });
        }
        let text = self.times.as_ref().filter(|times| times.is_valid(at)).map(|times| times.value(at));
        text.and_then(parse_stamp).ok_or_else(|| format!("time \"{}\"", text.unwrap_or_default()))
    }
}
