//! Datasets of bars: files, integrity gate, corporate actions, features, targets.

mod config;
mod context;
mod factors;
mod features;
mod read;
mod time;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use peregrine_model::{Horizon, HorizonUnit, Observations};

pub use config::{BarsConfig, BarsSection, FactorSource};
pub use context::{ContextRules, Known, MarketContext};
pub use factors::Factors;
pub use features::{BAR_DEFINITION_VERSION, BarFeature, SEED_004, bar_definition_hash, bar_definition_text};

use crate::integrity::{Action, BarGate, GateReport, GatedBar, JudgedBar, Place, Reason};
use crate::scale::narrow;
use crate::sink::{Memory, SequenceSink};
use crate::text::stem;
use crate::{Dataset, DatasetError, DatasetMeta, DatasetWriter, Manifest, Provenance, Sequence, SourceDigest};
use read::{RawRow, read_bars};
use time::Stamp;
pub(crate) use time::local_nanos;

/// Context columns of datasets of bars, in order: VIX close, yield spread in percentage points, momentum 12−1.
pub const BAR_CONTEXT: [&str; 3] = ["vix", "yield_spread", "momentum"];

/// One bar. Prices in currency, volume in shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// When it is known: the end of its span, nanoseconds UTC.
    pub time_ns: i64,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Shares traded.
    pub volume: f64,
}

impl Bar {
    pub(crate) const fn prices(&self) -> [f64; 4] {
        [self.open, self.high, self.low, self.close]
    }

    /// Prices times `price_factor`, volume through `split_factor`.
    #[must_use]
    pub fn adjusted(&self, price_factor: f64, split_factor: f64) -> Self {
        Self {
            time_ns: self.time_ns,
            open: self.open * price_factor,
            high: self.high * price_factor,
            low: self.low * price_factor,
            close: self.close * price_factor,
            volume: self.volume / split_factor,
        }
    }
}

/// The files of a dataset of bars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarInputs {
    /// Bars; the factor file of `NAME.zip` or `NAME.csv` is `NAME.factor.csv` beside it.
    pub files: Vec<PathBuf>,
    /// Daily VIX.
    pub vix: Option<PathBuf>,
    /// Daily Treasury yields.
    pub yields: Option<PathBuf>,
}

/// A row with its place in its file.
#[derive(Clone, Debug)]
struct Located {
    row: Result<RawRow, String>,
    place: Place,
}

/// The rows of one instrument on their way through the gate.
struct Judging<'a> {
    prepared: &'a Prepared<'a>,
    gate: BarGate<'a>,
    factors: Option<Factors>,
    /// Price and split factor of the first row whose factors are known.
    first: Option<(f64, f64)>,
}

/// Builds a dataset into a Parquet file (`NAME.parquet`) with its manifest.
///
/// # Errors
/// [`DatasetError`]: what is wrong, where, and what to do; [`DatasetError::Halted`] when the integrity gate stops it.
pub fn build_file(inputs: &BarInputs, config: &BarsConfig, path: &Path) -> Result<Manifest, DatasetError> {
    let prepared = Prepared::new(inputs, config)?;
    let mut writer = DatasetWriter::create(path, prepared.meta.clone())?;
    let provenance = prepared.run(&mut writer)?;
    writer.finish(prepared.sources, provenance)
}

/// Builds a dataset in memory, with what the integrity gate found.
///
/// # Errors
/// As [`build_file`].
pub fn build_dataset(inputs: &BarInputs, config: &BarsConfig) -> Result<(Dataset, Provenance), DatasetError> {
    let prepared = Prepared::new(inputs, config)?;
    let mut memory = Memory::default();
    let provenance = prepared.run(&mut memory)?;
    let meta = DatasetMeta { sources: prepared.sources, ..prepared.meta };
    Ok((Dataset::new(meta, memory.sequences())?, provenance))
}

/// Everything that is read once, before the first row.
struct Prepared<'a> {
    inputs: &'a BarInputs,
    config: &'a BarsConfig,
    zone: TimeZone,
    context: MarketContext,
    meta: DatasetMeta,
    sources: Vec<SourceDigest>,
}

impl<'a> Prepared<'a> {
    fn new(inputs: &'a BarInputs, config: &'a BarsConfig) -> Result<Self, DatasetError> {
        let features = config.validate(inputs)?;
        let zone = config.zone()?;
        let context = MarketContext::read(inputs.vix.as_deref(), inputs.yields.as_deref(), &config.context, &zone)?;
        let mut sources = Vec::new();
        for file in &inputs.files {
            sources.push(crate::digest_file(file)?);
            let factors = factor_path(file);
            if config.bars.factors == FactorSource::Beside && factors.exists() {
                sources.push(crate::digest_file(&factors)?);
            }
        }
        for file in inputs.vix.iter().chain(&inputs.yields) {
            sources.push(crate::digest_file(file)?);
        }
        let horizon = |count: &u32| Horizon { count: *count, unit: HorizonUnit::Bars };
        let meta = DatasetMeta {
            observations: Observations::Bars,
            features: features.iter().map(|feature| feature.name().to_owned()).collect(),
            feature_hash: bar_definition_hash(&features),
            context: BAR_CONTEXT.map(ToOwned::to_owned).to_vec(),
            horizons: config.bars.horizons.iter().map(horizon).collect(),
            sources: Vec::new(),
            sha256: String::new(),
        };
        Ok(Self { inputs, config, zone, context, meta, sources })
    }

    /// One instrument at a time, so that memory is bounded by the longest one; rows of files that name their instruments
    /// themselves are gathered before.
    fn run(&self, sink: &mut dyn SequenceSink) -> Result<Provenance, DatasetError> {
        let mut report = GateReport::default();
        let mut is_mixed = false;
        for file in &self.inputs.files {
            is_mixed |= read::names_instruments(file)?;
        }
        if is_mixed {
            for (instrument, rows) in self.gather()? {
                let Some(file) = rows.first().map(|first| Arc::clone(&first.place.file)) else { continue };
                let mut judging = Judging::new(self, &file)?;
                for Located { row, place } in rows {
                    judging.take(row, &place)?;
                }
                self.sequences_of(&instrument, judging, &mut report, sink)?;
            }
            return Ok(Provenance { integrity: report, settings: self.config.settings() });
        }
        let mut files: BTreeMap<String, Vec<Arc<Path>>> = BTreeMap::new();
        for file in &self.inputs.files {
            files.entry(stem(file).to_ascii_uppercase()).or_default().push(file.as_path().into());
        }
        for (instrument, files) in files {
            let Some(first) = files.first() else { continue };
            let mut judging = Judging::new(self, first)?;
            for file in &files {
                read_bars(file, |row, line| judging.take(row, &Place { file: Arc::clone(file), line }))?;
            }
            self.sequences_of(&instrument, judging, &mut report, sink)?;
        }
        Ok(Provenance { integrity: report, settings: self.config.settings() })
    }

    /// The rows of every instrument, in the order of files and lines.
    fn gather(&self) -> Result<BTreeMap<String, Vec<Located>>, DatasetError> {
        let mut instruments: BTreeMap<String, Vec<Located>> = BTreeMap::new();
        for file in &self.inputs.files {
            let unnamed = stem(file).to_ascii_uppercase();
            let file: Arc<Path> = file.as_path().into();
            read_bars(&file, |mut row, line| {
                let named = row.as_mut().ok().and_then(|row| row.instrument.take());
                let place = Place { file: Arc::clone(&file), line };
                instruments.entry(named.unwrap_or_else(|| unnamed.clone())).or_default().push(Located { row, place });
                Ok(())
            })?;
        }
        Ok(instruments)
    }

    fn factors_beside(&self, file: &Path) -> Result<Option<Factors>, DatasetError> {
        let path = factor_path(file);
        let is_wanted = self.config.bars.factors == FactorSource::Beside && path.exists();
        is_wanted.then(|| Factors::read(&path)).transpose()
    }

    fn sequences_of(
        &self,
        instrument: &str,
        judging: Judging<'_>,
        report: &mut GateReport,
        sink: &mut dyn SequenceSink,
    ) -> Result<(), DatasetError> {
        let (segments, found) = judging.gate.finish();
        report.merge(&found);
        segments.into_iter().try_for_each(|segment| self.rows_of(instrument, &segment, report, sink))
    }

    /// Date, time at which the bar is known, and whether it lies in the session.
    fn time_of(&self, stamp: Stamp) -> Option<(Date, i64, bool)> {
        let section = &self.config.bars;
        let is_weekday = |date: Date| !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
        let at_close =
            |date: Date| Some((date, local_nanos(date, section.session_close, &self.zone)?, is_weekday(date)));
        let local = match stamp {
            Stamp::Day(date) if self.config.is_daily() => return at_close(date),
            Stamp::Day(date) => date.at(0, 0, 0, 0),
            Stamp::Local(time) => time,
            Stamp::Moment(moment) => moment.to_zoned(self.zone.clone()).datetime(),
        };
        let date = local.date();
        if self.config.is_daily() {
            return at_close(date);
        }
        let begin = local_nanos(date, local.time(), &self.zone)?;
        let end = begin.saturating_add(self.config.step_ns());
        let open = local_nanos(date, section.session_open, &self.zone)?;
        let close = local_nanos(date, section.session_close, &self.zone)?;
        Some((date, end, is_weekday(date) && begin >= open && end <= close))
    }

    /// Features and targets of bars that follow each other. Rows without features end a sequence; a return that begins or
    /// ends at a close that was made up is not known.
    fn rows_of(
        &self,
        instrument: &str,
        segment: &[GatedBar],
        report: &mut GateReport,
        sink: &mut dyn SequenceSink,
    ) -> Result<(), DatasetError> {
        let bars: Vec<Bar> = segment.iter().map(|gated| gated.bar).collect();
        let mut open: Option<(Sequence, Vec<f64>)> = None;
        for (at, GatedBar { bar, is_imputed }) in segment.iter().enumerate() {
            let row = feature_row(bars.get(..=at).unwrap_or_default(), self.config.features(), &self.context);
            match row {
                Ok(row) => {
                    let (sequence, closes) = open.get_or_insert_with(|| {
                        (Sequence { instrument: instrument.to_owned(), ..Sequence::default() }, Vec::new())
                    });
                    sequence.time_ns.push(bar.time_ns);
                    sequence.features.extend(row.features);
                    sequence.context.extend(row.context);
                    sequence.half_spread.push(0.0);
                    closes.push(if *is_imputed { f64::NAN } else { bar.close });
                }
                Err(reason) => {
                    report.note(reason, Action::Drop, || format!("{instrument}, bar {} of its segment", at + 1));
                    self.close(open.take(), sink)?;
                }
            }
        }
        self.close(open, sink)
    }

    fn close(&self, open: Option<(Sequence, Vec<f64>)>, sink: &mut dyn SequenceSink) -> Result<(), DatasetError> {
        let Some((mut sequence, closes)) = open else { return Ok(()) };
        for (row, close) in closes.iter().enumerate() {
            for horizon in &self.config.bars.horizons {
                let later = usize::try_from(*horizon).ok().and_then(|count| closes.get(row.saturating_add(count)));
                sequence.returns.push(later.map_or(f32::NAN, |later| narrow((later / close).ln())));
            }
        }
        let number = sink.push(None, &sequence)?;
        sink.end(number);
        Ok(())
    }
}

impl<'a> Judging<'a> {
    /// The rows of one instrument, with the factors that lie beside its first file.
    fn new(prepared: &'a Prepared<'a>, first_file: &Path) -> Result<Self, DatasetError> {
        let gate = BarGate::new(&prepared.config.integrity, prepared.config.step_ns());
        Ok(Self { prepared, gate, factors: prepared.factors_beside(first_file)?, first: None })
    }

    /// Judges the next row, with its factors for corporate actions relative to the first row that has some.
    fn take(&mut self, row: Result<RawRow, String>, place: &Place) -> Result<(), DatasetError> {
        let timed = row.and_then(|row| {
            let (date, time_ns, is_in_session) = self.prepared.time_of(row.stamp).ok_or("a time out of range")?;
            Ok((row, date, time_ns, is_in_session))
        });
        let (row, date, time_ns, is_in_session) = match timed {
            Ok(timed) => timed,
            Err(found) => return Ok(self.gate.unreadable(&found, place)?),
        };
        let [open, high, low, close] = row.ohlc;
        let of_file = self.factors.as_ref().map(|factors| factors.at(date));
        let of_column = row.adjusted_close.map(|adjusted| (adjusted / close, 1.0));
        let (price, split) = of_file.or(of_column).unwrap_or((1.0, 1.0));
        if price.is_finite() && price > 0.0 {
            self.first.get_or_insert((price, split));
        }
        let (price_first, split_first) = self.first.unwrap_or((price, split));
        let bar = Bar { time_ns, open, high, low, close, volume: row.volume };
        let (price_factor, split_factor) = (price / price_first, split / split_first);
        Ok(self.gate.judge(JudgedBar { bar, date, is_in_session, price_factor, split_factor }, place)?)
    }
}

/// Features and context of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRow {
    /// Values in the order asked for, all finite.
    pub features: Vec<f32>,
    /// Values of [`BAR_CONTEXT`]; NaN where unknown.
    pub context: [f32; 3],
}

/// The features of the last of `bars` (adjusted, in time order), with what `context` knows at its time.
///
/// # Errors
/// Why there is no row: [`Reason::WarmUp`], [`Reason::ContextMissing`] or [`Reason::FeatureUndefined`].
pub fn feature_row(bars: &[Bar], features: &[BarFeature], context: &MarketContext) -> Result<FeatureRow, Reason> {
    let Some(bar) = bars.last() else { return Err(Reason::WarmUp) };
    let known = context.at(bar.time_ns);
    let mut values = Vec::with_capacity(features.len());
    for feature in features {
        if bars.len() <= feature.look_back() {
            return Err(Reason::WarmUp);
        }
        let value = narrow(feature.value(bars, &known));
        if !value.is_finite() {
            let is_context = feature.needs_vix() || feature.needs_yields();
            return Err(if is_context { Reason::ContextMissing } else { Reason::FeatureUndefined });
        }
        values.push(value);
    }
    let momentum = BarFeature::Momentum12Minus1.value(bars, &known);
    let context = [known.vix, known.yield_spread, momentum].map(narrow);
    Ok(FeatureRow { features: values, context })
}

fn factor_path(file: &Path) -> PathBuf {
    file.with_file_name(format!("{}.factor.csv", stem(file)))
}
