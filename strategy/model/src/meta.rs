//! The model file's metadata: what the model is, what it was made from, how its inputs are defined.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::size::Size;

/// Version of the file layout that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// The one key of the file's `__metadata__`; its value is the JSON of [`ModelMeta`].
pub const METADATA_KEY: &str = "peregrine";

/// Where the observations come from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Observations {
    /// Order-book features at decision events.
    Ticks,
    /// Daily or minute bars.
    Bars,
}

/// Whether the weights have seen data. Only demo, replay and bench accept an untrained model.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Training {
    /// A seeded initialisation.
    Untrained,
    /// Trained on the data whose SHA-256 the metadata holds.
    Trained,
}

/// What a horizon counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HorizonUnit {
    /// Decision events.
    Events,
    /// Milliseconds of exchange time.
    Milliseconds,
    /// Bars.
    Bars,
}

/// One horizon of the return heads.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Horizon {
    /// How many, ≥ 1.
    pub count: u32,
    /// Of what.
    pub unit: HorizonUnit,
}

/// The features in order, their definition, and their robust scaler: `x = clip((raw − median) / iqr, ±8)`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSet {
    /// Names in the order of the input vector; all different.
    pub names: Vec<String>,
    /// Hash of the features' definition, as the feature engine gives it: 1 to 128 printable ASCII characters.
    pub hash: String,
    /// Median of each feature on the training fold, in the feature's unit.
    pub median: Vec<f32>,
    /// Interquartile range of each feature on the training fold, > 0.
    pub iqr: Vec<f32>,
}

impl FeatureSet {
    /// Features whose scaler does nothing: median 0, interquartile range 1.
    #[must_use]
    pub fn unscaled(names: Vec<String>, hash: &str) -> Self {
        let (median, iqr) = (vec![0.0; names.len()], vec![1.0; names.len()]);
        Self { names, hash: hash.to_owned(), median, iqr }
    }
}

/// The metadata, written as canonical JSON: the fields in this order, no white space, no time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelMeta {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The named size.
    pub size: Size,
    /// Width of the observation; must be the named size's, as must the next three.
    pub d: usize,
    /// Width of the encoding.
    pub e: usize,
    /// Width of the deterministic state.
    pub h: usize,
    /// Width of the stochastic state.
    pub z: usize,
    /// What is observed.
    pub observations: Observations,
    /// Horizons of the return heads, 1 to 4, ascending.
    pub horizons: Vec<Horizon>,
    /// Features, their definition hash and scaler.
    pub features: FeatureSet,
    /// Names of the regimes, 1 to 7, all different.
    pub regimes: Vec<String>,
    /// Whether the weights were trained.
    pub training: Training,
    /// SHA-256 of the training data, 64 lower-case hex digits; required when trained, absent when not.
    pub training_data_sha256: Option<String>,
    /// Hyper-parameters by name, as text.
    pub hyper_parameters: BTreeMap<String, String>,
    /// Seed of the initialisation.
    pub seed: u64,
    /// SHA-256 of the model that this one was tuned from.
    pub parent: Option<String>,
}

impl ModelMeta {
    /// Metadata of a seeded initialisation: tick observations, horizons of 10, 50, 200 and 1,000 events, four unnamed regimes.
    #[must_use]
    pub fn untrained(size: Size, seed: u64, features: FeatureSet) -> Self {
        let horizon = |count| Horizon { count, unit: HorizonUnit::Events };
        Self {
            format_version: FORMAT_VERSION,
            size,
            d: size.d(),
            e: size.e(),
            h: size.h(),
            z: size.z(),
            observations: Observations::Ticks,
            horizons: [10, 50, 200, 1_000].map(horizon).to_vec(),
            features,
            regimes: (0..4).map(|index| format!("regime_{index}")).collect(),
            training: Training::Untrained,
            training_data_sha256: None,
            hyper_parameters: BTreeMap::new(),
            seed,
            parent: None,
        }
    }

    /// The first thing wrong with the metadata, if anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        let size = self.size;
        let widths = [self.d, self.e, self.h, self.z];
        if self.format_version != FORMAT_VERSION {
            return Some(format!("format_version is {}, this build reads {FORMAT_VERSION}", self.format_version));
        }
        if widths != [size.d(), size.e(), size.h(), size.z()] {
            return Some(format!("d, e, h, z are {widths:?}, which is not size {}", size.name()));
        }
        self.horizon_fault().or_else(|| self.feature_fault()).or_else(|| self.origin_fault())
    }

    fn horizon_fault(&self) -> Option<String> {
        let count = self.horizons.len();
        if !(1..=crate::HORIZON_COUNT_MAX).contains(&count) {
            return Some(format!("horizons has {count} entries, allowed are 1 to {}", crate::HORIZON_COUNT_MAX));
        }
        if self.horizons.iter().any(|horizon| horizon.count == 0) {
            return Some("horizons: a count is 0, the least is 1".to_owned());
        }
        let is_ascending = self.horizons.iter().zip(self.horizons.iter().skip(1));
        let is_ascending = is_ascending.clone().all(|(a, b)| a.unit == b.unit && a.count < b.count);
        (!is_ascending).then(|| "horizons must have one unit and ascend".to_owned())
    }

    fn feature_fault(&self) -> Option<String> {
        let features = &self.features;
        let counts = [features.names.len(), features.median.len(), features.iqr.len()];
        if counts != [self.d; 3] {
            return Some(format!("features: names, median, iqr have {counts:?} entries, the size takes {}", self.d));
        }
        if let Some(name) = duplicate_or_empty(&features.names) {
            return Some(format!("features: the name `{name}` is empty or stands twice"));
        }
        let is_printable = features.hash.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_printable || !(1..=128).contains(&features.hash.len()) {
            return Some("features: hash must be 1 to 128 printable ASCII characters".to_owned());
        }
        let scaler = features.names.iter().zip(&features.median).zip(&features.iqr);
        for ((name, median), iqr) in scaler {
            if !median.is_finite() {
                return Some(format!("features: median of `{name}` is {median}, it must be finite"));
            }
            if !(iqr.is_finite() && *iqr > 0.0 && iqr.recip().is_finite()) {
                return Some(format!("features: iqr of `{name}` is {iqr}, it must be above 0 with a finite inverse"));
            }
        }
        None
    }

    fn origin_fault(&self) -> Option<String> {
        let count = self.regimes.len();
        if !(1..=crate::REGIME_COUNT_MAX).contains(&count) {
            return Some(format!("regimes has {count} entries, allowed are 1 to {}", crate::REGIME_COUNT_MAX));
        }
        if let Some(name) = duplicate_or_empty(&self.regimes) {
            return Some(format!("regimes: the name `{name}` is empty or stands twice"));
        }
        let is_trained = match self.training {
            Training::Trained => true,
            Training::Untrained => false,
        };
        if is_trained != self.training_data_sha256.is_some() {
            return Some(
                "training_data_sha256 must be there for a trained model and absent for an untrained".to_owned(),
            );
        }
        let mut hashes = self.training_data_sha256.iter().chain(&self.parent);
        let wrong = hashes.find(|hash| !is_sha256(hash));
        wrong.map(|hash| format!("`{hash}` is not a SHA-256 of 64 lower-case hex digits"))
    }
}

fn duplicate_or_empty(names: &[String]) -> Option<&String> {
    let mut seen = std::collections::BTreeSet::new();
    names.iter().find(|name| name.is_empty() || !seen.insert(name.as_str()))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
