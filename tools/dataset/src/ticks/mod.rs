//! Datasets of ticks: from captures, by the same feature code and the same rule of decision as trading; and from files of
//! quotes and trades, with features of their own under a definition hash of their own.

mod capture;
mod config;
mod quote_features;
mod quotes;
mod sequences;

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use peregrine_decide::{DEFINITIONS, FeatureSink, FeatureVector, definition_hash_hex};
use peregrine_model::{Horizon, HorizonUnit, Observations};
use peregrine_types::{EpochNanos, EventSeq, SymbolId};

pub use config::{CaptureSection, TicksConfig, TicksSection};
pub use quote_features::{QUOTE_DEFINITION_VERSION, QUOTE_FEATURES, QuoteFamily, quote_definition_text};

use crate::sink::{Memory, SequenceSink};
use crate::{Dataset, DatasetError, DatasetMeta, DatasetWriter, Manifest, Provenance, SourceDigest, Violation};

/// Context columns of datasets of ticks, in order: mid price in currency, shares at the best bid and ask, and 1 where the
/// event was a trade.
pub const TICK_CONTEXT: [&str; 4] = ["mid", "bid_qty", "ask_qty", "is_trade"];

/// The files of a dataset of ticks: captures of one session (lines A, B, …), or files `SYMBOL_YYYYMMDD_quote.*` and
/// `SYMBOL_YYYYMMDD_trade.*` of any number of days and symbols.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TickInputs {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The session's date, where a raw capture does not tell it.
    pub date: Option<Date>,
}

/// Nobody looks.
struct NoObserver;

impl FeatureSink for NoObserver {
    fn on_vector(&mut self, _seq: EventSeq, _time: EpochNanos, _symbol: SymbolId, _vector: &FeatureVector) {}
}

/// Builds a dataset into a Parquet file (`NAME.parquet`) with its manifest, in bounded memory.
///
/// # Errors
/// [`DatasetError`]: what is wrong, where, and what to do; [`DatasetError::Halted`] when the integrity gate stops it.
pub fn build_file(inputs: &TickInputs, config: &TicksConfig, path: &Path) -> Result<Manifest, DatasetError> {
    let plan = Plan::new(inputs, config)?;
    let mut writer = DatasetWriter::create(path, plan.meta.clone())?;
    let provenance = plan.run(&mut writer, &mut NoObserver)?;
    writer.finish(plan.sources, provenance)
}

/// Builds a dataset in memory, with what the integrity gate found.
///
/// # Errors
/// As [`build_file`].
pub fn build_dataset(inputs: &TickInputs, config: &TicksConfig) -> Result<(Dataset, Provenance), DatasetError> {
    build_observed(inputs, config, &mut NoObserver)
}

/// As [`build_dataset`]; `observer` sees the vector of every row of a capture with the event that it belongs to, in the
/// order of events.
///
/// # Errors
/// As [`build_file`].
pub fn build_observed(
    inputs: &TickInputs,
    config: &TicksConfig,
    observer: &mut dyn FeatureSink,
) -> Result<(Dataset, Provenance), DatasetError> {
    let plan = Plan::new(inputs, config)?;
    let mut memory = Memory::default();
    let provenance = plan.run(&mut memory, observer)?;
    let meta = DatasetMeta { sources: plan.sources, ..plan.meta };
    Ok((Dataset::new(meta, memory.sequences())?, provenance))
}

/// What is to be done, once settings and files are known to be sound.
struct Plan<'a> {
    inputs: &'a TickInputs,
    config: &'a TicksConfig,
    /// Days of quotes; `None` for captures.
    quotes: Option<(QuoteFamily, Vec<quotes::Day>)>,
    meta: DatasetMeta,
    sources: Vec<SourceDigest>,
}

impl<'a> Plan<'a> {
    fn new(inputs: &'a TickInputs, config: &'a TicksConfig) -> Result<Self, DatasetError> {
        config.validate()?;
        if inputs.files.is_empty() {
            return Err(DatasetError::Config(vec![Violation::new(
                "files",
                "empty",
                "one capture or quote file or more",
            )]));
        }
        let quotes = quotes::days_of(&inputs.files, inputs.date)?;
        let (features, feature_hash) = match &quotes {
            Some((family, _)) => (family.names(), family.definition_hash()),
            None => (DEFINITIONS.iter().map(|definition| definition.name).collect(), definition_hash_hex()),
        };
        let horizon = |count: &u32| Horizon { count: *count, unit: HorizonUnit::Events };
        let meta = DatasetMeta {
            observations: Observations::Ticks,
            features: features.into_iter().map(ToOwned::to_owned).collect(),
            feature_hash,
            context: TICK_CONTEXT.map(ToOwned::to_owned).to_vec(),
            horizons: config.ticks.horizons.iter().map(horizon).collect(),
            sources: Vec::new(),
            sha256: String::new(),
        };
        let sources = inputs.files.iter().map(|file| crate::digest_file(file)).collect::<Result<_, _>>()?;
        Ok(Self { inputs, config, quotes, meta, sources })
    }

    fn run(&self, sink: &mut dyn SequenceSink, observer: &mut dyn FeatureSink) -> Result<Provenance, DatasetError> {
        let integrity = match &self.quotes {
            Some((family, days)) => quotes::build((*family, days), self.config, sink)?,
            None => capture::build(self.inputs, self.config, sink, observer)?,
        };
        Ok(Provenance { integrity, settings: self.config.settings() })
    }
}

/// The horizons in rows.
fn horizons(config: &TicksConfig) -> Vec<usize> {
    config.ticks.horizons.iter().map(|count| usize::try_from(*count).unwrap_or(usize::MAX)).collect()
}
