//! Judges a model artefact: Level 0, component checks of the file on the user's own data, and Level 1, what its latent
//! space knows of the market, on training and held-out data side by side, each check with threshold and reason.
//!
//! Everything runs through the trading kernel: what is judged is what trades. Estimators come from `peregrine-stats`;
//! intervals are of the stationary bootstrap, whose blocks are as long as rows depend on each other.
//!
//! ```no_run
//! use peregrine_dataset::Dataset;
//! use peregrine_validate::{DiagnoseSettings, diagnose};
//!
//! fn judge(model: &[u8], training: &Dataset, held_out: &Dataset) -> Result<u8, Box<dyn std::error::Error>> {
//!     let settings = DiagnoseSettings::from_toml(&std::fs::read_to_string("configs/train/diagnose.toml")?)?;
//!     let diagnosis = diagnose(model, training, held_out, &settings)?;
//!     std::fs::write("diagnosis.html", diagnosis.to_html()?)?;
//!     std::fs::write("diagnosis.json", diagnosis.to_json())?;
//!     Ok(diagnosis.exit_status())
//! }
//! ```

mod ahead;
mod collect;
pub mod component;
mod diagnosis;
mod error;
mod forecast;
mod latent_space;
mod lstm;
mod page;
mod reconstruction;
mod resample;
mod settings;
mod ties;
pub mod truth;
mod verdict;

use peregrine_dataset::Dataset;
use peregrine_model::{Backend, Kernel, Model};
use peregrine_stats::latent::{PrincipalAxes, principal_axes};
use peregrine_train::LstmBaseline;

pub use ahead::{AheadFacts, ErrorCurve};
pub use diagnosis::{DIAGNOSIS_FORMAT_VERSION, DataFacts, Diagnosis, FoldFacts, ModelFacts, TrajectoryPoint};
pub use error::ValidateError;
pub use forecast::{CalibrationFacts, ReliabilityBin, ReturnFacts, horizon_text};
pub use latent_space::{LatentFacts, RankFacts};
pub use lstm::LstmFacts;
pub use reconstruction::{FeatureFit, ReconstructionFacts};
pub use settings::{
    CalibrationSettings, ComponentSettings, DiagnoseSettings, HorizonSettings, LatentSettings, PrecisionSettings,
    ReconstructionSettings, RegimeSettings, ReturnSettings, SampleSettings, SettingsError, Violation,
};
pub use ties::{CorrelationFacts, RegimeFacts};
pub use verdict::{Check, Estimate, Level, Outcome, figure};

use ahead::{Baselines, Rolled};
use collect::{Fold, Trace, collect};
use component::Subject;
use resample::Resample;

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Name for the report, such as the file's.
    pub name: &'a str,
    /// The model file's bytes.
    pub model: &'a [u8],
    /// The LSTM baseline's file, if there is one to beat.
    pub lstm: Option<&'a [u8]>,
}

/// Judges a model file on the data that it was trained on and on data that it has not seen.
///
/// # Errors
/// [`ValidateError`] when model and data do not belong together or there are too few rows. What is merely bad is a failed
/// check of the [`Diagnosis`].
pub fn diagnose(
    model: &[u8],
    training: &Dataset,
    held_out: &Dataset,
    settings: &DiagnoseSettings,
) -> Result<Diagnosis, ValidateError> {
    diagnose_candidate(&Candidate { name: "model", model, lstm: None }, training, held_out, settings)
}

/// [`diagnose`] with a name for the report and, if there is one, the LSTM baseline.
///
/// # Errors
/// As [`diagnose`].
pub fn diagnose_candidate(
    candidate: &Candidate<'_>,
    training: &Dataset,
    held_out: &Dataset,
    settings: &DiagnoseSettings,
) -> Result<Diagnosis, ValidateError> {
    let model = Model::load(candidate.model)?;
    let kernel = Kernel::new(Backend::best()).ok_or(ValidateError::NoBackend)?;
    let folds = [Fold { name: "training", data: training }, Fold { name: "held-out", data: held_out }];
    let run = |fold: &Fold<'_>| collect(&model, &kernel, fold, &settings.sample, &settings.horizon);
    let [before, after] = &folds;
    let traces = [run(before)?, run(after)?];
    let [seen, unseen] = &traces;
    let subject = Subject {
        bytes: candidate.model,
        model: &model,
        kernel,
        folds,
        traces: [seen, unseen],
        settings: &settings.component,
    };
    let (mut checks, component) = component::check(&subject, &settings.precision)?;
    let lstm = candidate.lstm.map(|bytes| lstm::load(bytes, &model)).transpose()?;
    let common = Common { kernel, lstm, ..Common::fit(&model, kernel, (before, seen), settings)? };
    let training = measure(&model, before, seen, &common, settings)?;
    let held_out = measure(&model, after, unseen, &common, settings)?;
    checks.extend(judge(&training, &held_out, common.lstm.is_some(), settings));
    let verdict = checks.iter().map(|check| check.outcome).max().unwrap_or(Outcome::Fail);
    let facts = ModelFacts::of(&model, candidate.name, candidate.model.len(), &subject.kernel);
    Ok(Diagnosis {
        format: "peregrine-diagnosis",
        version: DIAGNOSIS_FORMAT_VERSION,
        verdict,
        model: facts,
        settings: *settings,
        checks,
        component,
        training,
        held_out,
    })
}

/// What is fitted on the training data and used on both.
struct Common {
    kernel: Kernel,
    lstm: Option<LstmBaseline>,
    baselines: Baselines,
    base_rate: f64,
    return_means: Vec<f64>,
    axes: Option<PrincipalAxes>,
}

impl Common {
    fn fit(
        model: &Model,
        kernel: Kernel,
        (fold, trace): (&Fold<'_>, &Trace),
        settings: &DiagnoseSettings,
    ) -> Result<Self, ValidateError> {
        let (meta, data) = (model.meta(), fold.data);
        Ok(Self {
            kernel,
            lstm: None,
            baselines: Baselines::fit(meta, data, fold.return_column(meta).column, settings.horizon.steps_max)?,
            base_rate: forecast::base_rate(trace),
            return_means: forecast::return_means(trace),
            axes: principal_axes(trace.z.view("z")?, 2).ok(),
        })
    }
}

fn measure(
    model: &Model,
    fold: &Fold<'_>,
    trace: &Trace,
    common: &Common,
    settings: &DiagnoseSettings,
) -> Result<FoldFacts, ValidateError> {
    let meta = model.meta();
    let resample = Resample::of_trace(trace, &settings.sample)?;
    let column = fold.return_column(meta);
    let (instruments, baselines) = (trace.instruments, &common.baselines);
    let rolled = Rolled { meta, data: fold.data, ahead: &trace.ahead, instruments, column, baselines };
    let calibration = match meta.horizons.first() {
        Some(horizon) => {
            forecast::calibration(trace, common.base_rate, *horizon, &settings.calibration, &settings.sample)?
        }
        None => None,
    };
    let (sample, context) = (&settings.sample, &fold.data.meta.context);
    let lstm = match &common.lstm {
        Some(lstm) => lstm::measure(lstm, &common.kernel, (fold.data, trace), sample, &settings.calibration)?,
        None => None,
    };
    Ok(FoldFacts {
        data: DataFacts::of(fold.data, trace, &resample),
        reconstruction: reconstruction::measure(trace, &meta.features.names, &resample)?,
        latent: latent_space::measure(trace, resample.rows(), &settings.latent)?,
        ahead: rolled.measure(sample)?,
        correlations: ties::correlations(trace, context, &settings.latent, sample)?,
        regimes: ties::regimes(trace, &meta.regimes, resample.rows(), &settings.regime)?,
        calibration,
        returns: forecast::returns(trace, &meta.horizons, &common.return_means, sample)?,
        lstm,
        trajectory: trajectory(trace, common.axes.as_ref(), resample.rows()),
    })
}

fn trajectory(trace: &Trace, axes: Option<&PrincipalAxes>, rows: &[usize]) -> Vec<TrajectoryPoint> {
    let Some(axes) = axes else { return Vec::new() };
    let points = rows.iter().filter_map(|row| {
        let regime = trace.regime.get(*row).copied()?;
        match axes.project(trace.z.row(*row)).as_slice() {
            [first, second] => Some(TrajectoryPoint { first: *first, second: *second, regime }),
            _ => None,
        }
    });
    points.collect()
}

/// Every check of Level 1.
fn judge(training: &FoldFacts, held_out: &FoldFacts, has_lstm: bool, settings: &DiagnoseSettings) -> Vec<Check> {
    let mut checks =
        reconstruction::check(&training.reconstruction, &held_out.reconstruction, &settings.reconstruction);
    checks.extend(latent_space::check(&training.latent, &held_out.latent, &settings.latent));
    checks.extend(ahead::check(&training.ahead, &held_out.ahead, &settings.horizon));
    checks.push(latent_space::check_surprise(&training.latent, &held_out.latent, &settings.horizon));
    let ties = (training.correlations.as_ref(), held_out.correlations.as_ref());
    checks.push(ties::check_correlations(ties.0, ties.1, &settings.latent));
    checks.extend(ties::check_regimes(&training.regimes, &held_out.regimes, &settings.regime));
    let calibration = (training.calibration.as_ref(), held_out.calibration.as_ref());
    checks.extend(forecast::check_calibration(calibration.0, calibration.1, &settings.calibration));
    if has_lstm {
        checks.push(lstm::check(training.lstm.as_ref(), held_out.lstm.as_ref()));
    }
    checks.extend(forecast::check_returns(&training.returns, &held_out.returns, &settings.returns));
    checks
}
