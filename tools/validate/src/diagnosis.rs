//! The diagnosis: what was measured on both datasets, and the verdicts.

use std::collections::BTreeSet;

use peregrine_dataset::{Dataset, SourceDigest};
use peregrine_model::{Horizon, Kernel, Model, Observations, Training};
use serde::Serialize;

use crate::ahead::AheadFacts;
use crate::collect::Trace;
use crate::component::ComponentFacts;
use crate::forecast::{CalibrationFacts, ReturnFacts};
use crate::latent_space::LatentFacts;
use crate::lstm::LstmFacts;
use crate::reconstruction::ReconstructionFacts;
use crate::resample::Resample;
use crate::settings::DiagnoseSettings;
use crate::ties::{CorrelationFacts, RegimeFacts};
use crate::verdict::{Check, Outcome};

/// The version of the JSON's layout; it grows when a field changes its meaning or goes away.
pub const DIAGNOSIS_FORMAT_VERSION: u32 = 1;

/// The model that was judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelFacts {
    /// Name as given, such as the file's.
    pub name: String,
    /// SHA-256 of the file, 64 lower-case hex digits.
    pub sha256: String,
    /// Length of the file in bytes.
    pub bytes: usize,
    /// Named size.
    pub size: &'static str,
    /// Ticks or bars.
    pub observations: Observations,
    /// Whether the weights have seen data.
    pub training: Training,
    /// Horizons of the return heads.
    pub horizons: Vec<Horizon>,
    /// Names of the regimes.
    pub regimes: Vec<String>,
    /// Hash of the features' definition.
    pub feature_hash: String,
    /// SHA-256 of the data that the file says it was trained on.
    pub training_data_sha256: Option<String>,
    /// SHA-256 of the model that it was tuned from.
    pub parent: Option<String>,
    /// Seed of its initialisation.
    pub seed: u64,
    /// Backend that the diagnosis ran on; all give the same bits.
    pub backend: String,
}

impl ModelFacts {
    pub(crate) fn of(model: &Model, name: &str, bytes: usize, kernel: &Kernel) -> Self {
        let meta = model.meta();
        Self {
            name: name.to_owned(),
            sha256: model.sha256_hex(),
            bytes,
            size: model.size().name(),
            observations: meta.observations,
            training: meta.training,
            horizons: meta.horizons.clone(),
            regimes: meta.regimes.clone(),
            feature_hash: meta.features.hash.clone(),
            training_data_sha256: meta.training_data_sha256.clone(),
            parent: meta.parent.clone(),
            seed: meta.seed,
            backend: format!("{:?}", kernel.backend()).to_lowercase(),
        }
    }
}

/// One dataset and how much of it was used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataFacts {
    /// SHA-256 of the rows.
    pub sha256: String,
    /// Input files.
    pub sources: Vec<SourceDigest>,
    /// Instruments.
    pub instruments: usize,
    /// Sequences.
    pub sequences: usize,
    /// Rows that the model saw.
    pub rows_observed: usize,
    /// Rows that were judged, after warming up and thinning.
    pub rows_kept: usize,
    /// Every how many judged rows one was kept.
    pub stride: usize,
    /// Rows that intervals are drawn from.
    pub rows_sampled: usize,
    /// Mean block length of those draws, in distinct times of the sampled rows.
    pub block_len: f64,
    /// Distinct times of the sampled rows over the block length: about how many are independent.
    pub effective_rows: f64,
    /// Time of the first row, nanoseconds UTC.
    pub first_time_ns: i64,
    /// Time of the last row, nanoseconds UTC.
    pub last_time_ns: i64,
}

impl DataFacts {
    pub(crate) fn of(data: &Dataset, trace: &Trace, resample: &Resample) -> Self {
        let instruments: BTreeSet<&str> = data.sequences.iter().map(|sequence| sequence.instrument.as_str()).collect();
        let first = data.sequences.iter().filter_map(|sequence| sequence.time_ns.first().copied()).min();
        let last = data.sequences.iter().filter_map(|sequence| sequence.time_ns.last().copied()).max();
        Self {
            sha256: data.meta.sha256.clone(),
            sources: data.meta.sources.clone(),
            instruments: instruments.len(),
            sequences: data.sequences.len(),
            rows_observed: trace.observed_rows,
            rows_kept: trace.rows(),
            stride: trace.stride,
            rows_sampled: resample.rows().len(),
            block_len: resample.block_len(),
            effective_rows: resample.effective_rows(),
            first_time_ns: first.unwrap_or(0),
            last_time_ns: last.unwrap_or(0),
        }
    }
}

/// One point of the latent trajectory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrajectoryPoint {
    /// Along the first principal component of the training data's z.
    pub first: f64,
    /// Along the second.
    pub second: f64,
    /// Index of the regime.
    pub regime: usize,
}

/// Everything that was measured on one dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldFacts {
    /// The data.
    pub data: DataFacts,
    /// A2.1, A2.2.
    pub reconstruction: ReconstructionFacts,
    /// A2.3, A2.4, A2.7, A2.8.
    pub latent: LatentFacts,
    /// A2.5, A2.6.
    pub ahead: AheadFacts,
    /// A2.9; null without context.
    pub correlations: Option<CorrelationFacts>,
    /// A2.10.
    pub regimes: RegimeFacts,
    /// The probability of an up-move; null when too few outcomes are known.
    pub calibration: Option<CalibrationFacts>,
    /// Expected returns, one entry per horizon with enough known returns.
    pub returns: Vec<ReturnFacts>,
    /// The LSTM baseline on the same rows; null when none was given or too few rows have a window and an outcome.
    pub lstm: Option<LstmFacts>,
    /// Latent trajectory, thinned: the sampled rows in time order.
    pub trajectory: Vec<TrajectoryPoint>,
}

/// What was found of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// `peregrine-diagnosis`.
    pub format: &'static str,
    /// [`DIAGNOSIS_FORMAT_VERSION`].
    pub version: u32,
    /// The worst outcome of all checks.
    pub verdict: Outcome,
    /// The model.
    pub model: ModelFacts,
    /// Every threshold and sample size, and the seed.
    pub settings: DiagnoseSettings,
    /// Every check: Level 0, then Level 1.
    pub checks: Vec<Check>,
    /// Level 0 beside its verdicts.
    pub component: ComponentFacts,
    /// Level 1 on the training data.
    pub training: FoldFacts,
    /// Level 1 on held-out data.
    pub held_out: FoldFacts,
}

impl Diagnosis {
    /// Exit status of a command that shows it: 1 when a check failed, else 0.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        u8::from(self.verdict == Outcome::Fail)
    }

    /// How many checks ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome).count()
    }

    /// The diagnosis as indented JSON, ending with a line feed. The layout is in `docs/diagnosis.md`; what is not defined is
    /// null.
    #[must_use]
    pub fn to_json(&self) -> String {
        peregrine_report::pretty(self)
    }

    /// A table for the terminal: one line per check.
    #[must_use]
    pub fn to_terminal(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            text +=
                &format!("{:4}  {:22} {}\n      {}\n", check.outcome.name(), check.id, check.question, check.reason);
        }
        let [passed, warned, failed] = [Outcome::Pass, Outcome::Warn, Outcome::Fail].map(|outcome| self.count(outcome));
        text += &format!("{}: {passed} passed, {warned} to look at, {failed} failed\n", self.verdict.name());
        text
    }
}
