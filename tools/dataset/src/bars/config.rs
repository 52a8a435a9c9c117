//! Settings of a dataset of bars: one TOML file, every key mandatory.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{BarFeature, BarInputs, ContextRules};
use crate::integrity::BarRules;
use crate::settings::{flatten, read_toml};
use crate::{DatasetError, Violation};

/// Seconds of a daily bar.
const DAY_SECONDS: u32 = 86_400;

/// Where corporate actions come from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorSource {
    /// `NAME.factor.csv` beside each file, where there is one; else a column of adjusted closes, where there is one.
    Beside,
    /// Prices are adjusted already, or no corporate action is to be applied (a column of adjusted closes still is).
    None,
}

/// The section `[bars]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BarsSection {
    /// Time zone of the venue, a name of the IANA table.
    pub zone: String,
    /// Begin of the session, local time.
    #[serde(with = "crate::settings::text")]
    pub session_open: Time,
    /// End of the session: when a daily bar is known.
    #[serde(with = "crate::settings::text")]
    pub session_close: Time,
    /// Span of a bar, 1 to 86,400 s; 86,400 is a daily bar.
    pub bar_seconds: u32,
    /// Where corporate actions come from.
    pub factors: FactorSource,
    /// Names of the features, in the order of the model's input; 1 to 64 different ones of the catalogue.
    pub features: Vec<BarFeature>,
    /// Horizons of the return targets in bars, 1 to 4, ascending.
    pub horizons: Vec<u32>,
}

/// Everything that decides a dataset of bars.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BarsConfig {
    /// Bars, features and targets.
    pub bars: BarsSection,
    /// Market context.
    pub context: ContextRules,
    /// The integrity gate.
    pub integrity: BarRules,
}

impl BarsConfig {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`DatasetError::Io`], [`DatasetError::Input`] when it is no TOML, lacks a key or has one too many.
    pub fn load(path: &Path) -> Result<Self, DatasetError> {
        read_toml(path)
    }

    /// The effective settings, key by key.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        flatten(self)
    }

    /// Every value that cannot be, all at once; the features where all can.
    ///
    /// # Errors
    /// [`DatasetError::Config`].
    pub(crate) fn validate(&self, inputs: &BarInputs) -> Result<Vec<BarFeature>, DatasetError> {
        let mut found = Vec::new();
        self.integrity.violations(&mut found);
        self.context.violations(&mut found);
        let bars = &self.bars;
        let mut bound = |key: &str, value: String, holds: bool, bound: &str| {
            if !holds {
                found.push(Violation::new(key, value, bound));
            }
        };
        let zone = bars.zone.clone();
        bound("bars.zone", zone, TimeZone::get(&bars.zone).is_ok(), "a name of the IANA time zone table");
        let is_ordered = bars.session_open < bars.session_close;
        bound("bars.session_close", bars.session_close.to_string(), is_ordered, "after session_open");
        let is_span = (1..=DAY_SECONDS).contains(&bars.bar_seconds);
        bound("bars.bar_seconds", bars.bar_seconds.to_string(), is_span, "1 to 86400");
        let horizons = &bars.horizons;
        let ascends = horizons.iter().zip(horizons.iter().skip(1)).all(|(a, b)| a < b);
        let is_fine = (1..=4).contains(&horizons.len()) && ascends && horizons.first().is_some_and(|first| *first > 0);
        bound("bars.horizons", format!("{horizons:?}"), is_fine, "1 to 4 ascending numbers of bars, from 1");
        let names: std::collections::BTreeSet<_> = bars.features.iter().collect();
        let is_set = names.len() == bars.features.len() && (1..=64).contains(&names.len());
        bound("bars.features", format!("{} names", bars.features.len()), is_set, "1 to 64 different features");
        let needs = |needs: fn(BarFeature) -> bool| bars.features.iter().copied().find(|feature| needs(*feature));
        let missing = [
            (needs(BarFeature::needs_vix), inputs.vix.is_none(), "left out, or a VIX file given"),
            (needs(BarFeature::needs_yields), inputs.yields.is_none(), "left out, or a file of yields given"),
        ];
        for (feature, is_missing, what) in missing {
            if let Some(feature) = feature {
                bound("bars.features", feature.name().to_owned(), !is_missing, what);
            }
        }
        if inputs.files.is_empty() {
            found.push(Violation::new("files", "empty", "one file of bars or more"));
        }
        if found.is_empty() { Ok(self.bars.features.clone()) } else { Err(DatasetError::Config(found)) }
    }

    pub(crate) fn features(&self) -> &[BarFeature] {
        &self.bars.features
    }

    pub(crate) fn zone(&self) -> Result<TimeZone, DatasetError> {
        let zone = &self.bars.zone;
        let unknown = |_| DatasetError::Config(vec![Violation::new("bars.zone", zone, "a name of the IANA table")]);
        TimeZone::get(zone).map_err(unknown)
    }

    pub(crate) const fn is_daily(&self) -> bool {
        self.bars.bar_seconds == DAY_SECONDS
    }

    pub(crate) fn step_ns(&self) -> i64 {
        i64::from(self.bars.bar_seconds).saturating_mul(1_000_000_000)
    }
}

impl Serialize for BarFeature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for BarFeature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::of_name(&name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|feature| feature.name()).collect();
            serde::de::Error::custom(format!("no feature is named \"{name}\": choose among {}", names.join(", ")))
        })
    }
}
