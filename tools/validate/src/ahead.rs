//! A2.5, A2.6: prediction several steps ahead. The prior is rolled forward by the kernel without observations, decoded, and
//! held against what came, beside a random walk, an AR(1) per feature and the training mean.

use peregrine_dataset::{Dataset, Sequence};
use peregrine_model::{HorizonUnit, ModelMeta};
use peregrine_stats::baselines::Ar1;
use peregrine_stats::{mean, pearson, standard_deviation};
use serde::Serialize;

use crate::collect::{Ahead, features, row_of, scaled, scaled_one};
use crate::error::ValidateError;
use crate::forecast::overlap;
use crate::resample::{self, ROWS_MIN, Resample};
use crate::settings::{HorizonSettings, SampleSettings};
use crate::verdict::{Check, Estimate, Outcome, Question, above, figure};

/// Errors of one predictor by horizon, from one step on. Features: mean over the varying features of the squared error
/// over the feature's variance in training (1 = as good as the training mean). Returns: in units of the training variance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorCurve {
    /// `model`, `random walk`, `AR(1)` or `training mean`.
    pub predictor: &'static str,
    /// One entry per horizon, 1 to K.
    pub errors: Vec<Estimate>,
    /// `1 − error of the model / error of this predictor`, over all horizons; 0 for the model itself.
    pub model_skill: Estimate,
    /// The same horizon by horizon.
    pub model_skill_by_horizon: Vec<Estimate>,
    /// Exponent `a` of `error ∝ horizon^a` (slope of the logarithms), with its interval; 1 for a random walk.
    pub growth_exponent: Estimate,
}

/// Prediction ahead on one dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AheadFacts {
    /// How many origins the prior was rolled forward from.
    pub origins: usize,
    /// Mean block length of the bootstrap, in distinct times of origins.
    pub block_len: f64,
    /// Distinct times of origins over the block length: about how many are independent.
    pub effective_origins: f64,
    /// The model, then each baseline.
    pub features: Vec<ErrorCurve>,
    /// Of the return over the first horizon that starts k steps ahead; empty when too few returns are known.
    pub returns: Vec<ErrorCurve>,
}

/// Baselines fitted on the training data.
#[derive(Clone, Debug)]
pub(crate) struct Baselines {
    /// Variance of each scaled feature; 0 for a constant one.
    variance: Vec<f64>,
    ar: Vec<Option<Ar1>>,
    mean: Vec<f64>,
    returns: ReturnBaseline,
}

/// Each return from the last one known: a line per lead.
#[derive(Clone, Debug, Default)]
struct ReturnBaseline {
    horizon: Option<peregrine_model::Horizon>,
    mean: f64,
    variance: f64,
    /// Slope on the last known return less the mean, per lead.
    slopes: Vec<f64>,
}

impl Baselines {
    pub(crate) fn fit(
        meta: &ModelMeta,
        training: &Dataset,
        column: usize,
        steps: usize,
    ) -> Result<Self, ValidateError> {
        let mut baselines =
            Self { variance: Vec::new(), ar: Vec::new(), mean: Vec::new(), returns: ReturnBaseline::default() };
        for feature in 0..meta.d {
            let pairs: Vec<(f64, f64)> =
                training.sequences.iter().flat_map(|sequence| pairs(meta, sequence, feature)).collect();
            let values: Vec<f64> = pairs.iter().map(|(x, _)| *x).collect();
            let deviation = standard_deviation(&values, 1)?;
            baselines.variance.push(deviation * deviation);
            baselines.mean.push(mean(&values)?);
            baselines.ar.push(if deviation > 0.0 { Some(Ar1::fit_pairs(&pairs)?) } else { None });
        }
        baselines.returns = ReturnBaseline::fit(meta, training, column, steps)?;
        Ok(baselines)
    }
}

/// Each scaled value of a feature with the next one.
fn pairs(meta: &ModelMeta, sequence: &Sequence, feature: usize) -> Vec<(f64, f64)> {
    let series = (0..sequence.rows()).filter_map(|row| scaled_one(meta, features(sequence, row, meta.d), feature));
    let series: Vec<f64> = series.collect();
    let pairs = series.iter().copied().zip(series.iter().skip(1).copied());
    pairs.filter(|(x, next)| x.is_finite() && next.is_finite()).collect()
}

impl ReturnBaseline {
    fn fit(meta: &ModelMeta, training: &Dataset, column: usize, steps: usize) -> Result<Self, ValidateError> {
        let mut baseline =
            Self { horizon: meta.horizons.first().copied(), slopes: vec![0.0; steps], ..Self::default() };
        let column = ReturnColumn { column, columns: training.meta.horizons.len() };
        let realised = |sequence: &Sequence| -> Vec<Option<f64>> {
            (0..sequence.rows()).map(|row| column.realised(sequence, row)).collect()
        };
        let known = |sequence: &Sequence| baseline.last_known(sequence, column);
        let series: Vec<Known> =
            training.sequences.iter().map(|sequence| (known(sequence), realised(sequence))).collect();
        let all: Vec<f64> = series.iter().flat_map(|(_, realised)| realised.iter().copied().flatten()).collect();
        if all.len() < 2 {
            return Ok(baseline);
        }
        // One lead at a time: all at once would take K times the memory of the returns.
        let slopes: Result<Vec<f64>, ValidateError> = (1..=steps).map(|lead| slope_at(&series, lead)).collect();
        baseline.slopes = slopes?;
        baseline.mean = mean(&all)?;
        baseline.variance = standard_deviation(&all, 1)?.powi(2);
        Ok(baseline)
    }

    /// Per row, the return over the first horizon that has just ended: the latest that is known by then.
    fn last_known(&self, sequence: &Sequence, column: ReturnColumn) -> Vec<Option<f64>> {
        let time_ns = &sequence.time_ns;
        let Some(horizon) = self.horizon else { return vec![None; time_ns.len()] };
        let span = i64::from(horizon.count);
        let mut start = 0_usize;
        let known = time_ns.iter().enumerate().map(|(row, now)| match horizon.unit {
            HorizonUnit::Events | HorizonUnit::Bars => row.checked_sub(usize::try_from(span).unwrap_or(usize::MAX)),
            HorizonUnit::Milliseconds => {
                let by = now.saturating_sub(span.saturating_mul(1_000_000));
                while time_ns.get(start).is_some_and(|time| *time <= by) {
                    start += 1;
                }
                start.checked_sub(1)
            }
        });
        known.map(|row| row.and_then(|row| column.realised(sequence, row))).collect()
    }
}

/// Where a dataset keeps the returns over the model's first horizon: not every dataset has the same order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReturnColumn {
    pub(crate) column: usize,
    pub(crate) columns: usize,
}

impl ReturnColumn {
    fn realised(self, sequence: &Sequence, row: usize) -> Option<f64> {
        let value = row_of(&sequence.returns, row, self.columns).get(self.column).copied().map(f64::from)?;
        value.is_finite().then_some(value)
    }
}

/// Per row of a sequence: the last return that is known, and the one that starts there.
type Known = (Vec<Option<f64>>, Vec<Option<f64>>);

/// Slope of the return that starts `lead` rows on, on the last one that is known, over all sequences.
fn slope_at(series: &[Known], lead: usize) -> Result<f64, ValidateError> {
    let pairs = series.iter().flat_map(|(known, realised)| known.iter().zip(realised.iter().skip(lead)));
    let (from, to): (Vec<f64>, Vec<f64>) = pairs.filter_map(|(known, realised)| known.zip(*realised)).unzip();
    line(&from, &to)
}

/// Slope of a least-squares line; 0 for too few or constant values.
fn line(from: &[f64], to: &[f64]) -> Result<f64, ValidateError> {
    if from.len() < 3 {
        return Ok(0.0);
    }
    let slope = pearson(from, to)? * standard_deviation(to, 1)? / standard_deviation(from, 1)?;
    Ok(if slope.is_finite() { slope } else { 0.0 })
}

/// Squared errors of one predictor, origins × K.
struct Losses {
    predictor: &'static str,
    /// Time of each origin that counts, nanoseconds.
    time_ns: Vec<i64>,
    by_step: Vec<Vec<f64>>,
}

impl Losses {
    fn new(predictor: &'static str, steps: usize) -> Self {
        Self { predictor, time_ns: Vec::new(), by_step: vec![Vec::new(); steps] }
    }

    fn push(&mut self, step: usize, loss: f64) {
        if let Some(losses) = self.by_step.get_mut(step) {
            losses.push(loss);
        }
    }
}

const PREDICTORS: [&str; 4] = ["model", "random walk", "AR(1)", "training mean"];

/// What was predicted and what came, on one fold.
pub(crate) struct Rolled<'a> {
    pub(crate) meta: &'a ModelMeta,
    pub(crate) data: &'a Dataset,
    pub(crate) ahead: &'a Ahead,
    pub(crate) instruments: usize,
    pub(crate) column: ReturnColumn,
    pub(crate) baselines: &'a Baselines,
}

impl Rolled<'_> {
    fn feature_losses(&self) -> [Losses; 4] {
        let (d, steps) = (self.meta.d, self.ahead.steps);
        let mut losses = PREDICTORS.map(|name| Losses::new(name, steps));
        for (origin, (sequence, row)) in self.ahead.origins.iter().enumerate() {
            let Some(sequence) = self.data.sequences.get(*sequence) else { continue };
            let window = (*row..=row + steps).map(|row| features(sequence, row, d));
            if !window.flatten().all(|x| x.is_finite()) {
                continue;
            }
            losses.iter_mut().for_each(|losses| losses.time_ns.extend(sequence.time_ns.get(*row)));
            let now: Vec<f64> = scaled(self.meta, features(sequence, *row, d)).collect();
            for (step, x_hat) in self.ahead.x_hat.row(origin).chunks_exact(d).enumerate() {
                let came: Vec<f64> = scaled(self.meta, features(sequence, row + step + 1, d)).collect();
                for (losses, loss) in losses.iter_mut().zip(self.step_losses(step, &now, x_hat, &came)) {
                    losses.push(step, loss);
                }
            }
        }
        losses
    }

    /// Errors of the four predictors of one step, mean over the varying features.
    fn step_losses(&self, step: usize, now: &[f64], x_hat: &[f64], came: &[f64]) -> [f64; 4] {
        let (mut sums, mut count) = ([0.0; 4], 0.0);
        let fitted = self.baselines.variance.iter().zip(&self.baselines.ar).zip(&self.baselines.mean);
        for ((((variance, ar), mean), (now, came)), x_hat) in fitted.zip(now.iter().zip(came)).zip(x_hat) {
            let Some(ar) = ar else { continue };
            count += 1.0;
            let predictions = [*x_hat, *now, ar.forecast(*now, step + 1), *mean];
            for (sum, prediction) in sums.iter_mut().zip(predictions) {
                *sum += (prediction - came).powi(2) / variance;
            }
        }
        sums.map(|sum| sum / count)
    }

    /// Errors of returns; an origin with an unknown return is left out whole, so that every step has the same origins.
    fn return_losses(&self) -> [Losses; 4] {
        let (steps, baseline) = (self.ahead.steps, &self.baselines.returns);
        let mut losses = PREDICTORS.map(|name| Losses::new(name, steps));
        let known: Vec<Vec<Option<f64>>> =
            self.data.sequences.iter().map(|sequence| baseline.last_known(sequence, self.column)).collect();
        for (origin, (index, row)) in self.ahead.origins.iter().enumerate() {
            let Some(sequence) = self.data.sequences.get(*index) else { continue };
            let came: Option<Vec<f64>> = (1..=steps).map(|step| self.column.realised(sequence, row + step)).collect();
            let known = known.get(*index).and_then(|known| known.get(*row).copied().flatten());
            let (Some(came), Some(known)) = (came, known) else { continue };
            losses.iter_mut().for_each(|losses| losses.time_ns.extend(sequence.time_ns.get(*row)));
            let hats = self.ahead.return_hat.row(origin).iter().zip(&baseline.slopes);
            for (step, (came, (hat, slope))) in came.into_iter().zip(hats).enumerate() {
                let line = baseline.mean + slope * (known - baseline.mean);
                // A random walk of the price: every return to come is 0.
                for (losses, prediction) in losses.iter_mut().zip([*hat, 0.0, line, baseline.mean]) {
                    losses.push(step, (prediction - came).powi(2) / baseline.variance);
                }
            }
        }
        losses
    }

    fn resample(
        &self,
        model: &Losses,
        overlap: usize,
        sample: &SampleSettings,
        stream: &str,
    ) -> Result<Resample, ValidateError> {
        let (values, instruments) = (mean_over_steps(model), self.instruments);
        let losses = resample::Losses { values: &values, time_ns: &model.time_ns, instruments, overlap };
        Resample::of_losses(&losses, sample, stream)
    }

    pub(crate) fn measure(&self, sample: &SampleSettings) -> Result<AheadFacts, ValidateError> {
        let losses = self.feature_losses();
        let (steps, stride) = (self.ahead.steps, self.ahead.origin_stride);
        let resample = self.resample(&losses[0], steps.div_ceil(stride.max(1)), sample, "ahead")?;
        let returns = self.return_losses();
        let is_enough = mean_over_steps(&returns[0]).len() >= ROWS_MIN && self.baselines.returns.variance > 0.0;
        let returns = if is_enough {
            // The last of the returns begins `steps` rows on and lasts a horizon.
            let horizon = self.meta.horizons.first().map_or(0, |horizon| overlap(*horizon, 1));
            let resample =
                self.resample(&returns[0], (steps + horizon).div_ceil(stride.max(1)), sample, "returns ahead")?;
            curves(&returns, &resample)?
        } else {
            Vec::new()
        };
        Ok(AheadFacts {
            origins: self.ahead.origins.len(),
            block_len: resample.block_len(),
            effective_origins: resample.effective_rows(),
            features: curves(&losses, &resample)?,
            returns,
        })
    }
}

/// Per origin, the mean loss over the horizons.
fn mean_over_steps(losses: &Losses) -> Vec<f64> {
    let origins = losses.by_step.first().map_or(0, Vec::len);
    let count = losses.by_step.len() as f64;
    let of = |origin: usize| losses.by_step.iter().filter_map(|step| step.get(origin)).sum::<f64>() / count;
    (0..origins).map(of).collect()
}

fn curves(losses: &[Losses; 4], resample: &Resample) -> Result<Vec<ErrorCurve>, ValidateError> {
    let [model, ..] = losses;
    let of_model = mean_over_steps(model);
    losses.iter().map(|losses| curve_of(losses, model, &of_model, resample)).collect()
}

fn curve_of(
    losses: &Losses,
    model: &Losses,
    of_model: &[f64],
    resample: &Resample,
) -> Result<ErrorCurve, ValidateError> {
    let skill = |of_model: &[f64], own: &[f64]| {
        let value = 1.0 - of_model.iter().sum::<f64>() / own.iter().sum::<f64>();
        resample.one_minus_ratio(value, of_model, own)
    };
    let errors: Result<Vec<Estimate>, ValidateError> =
        losses.by_step.iter().map(|losses| resample.mean(losses)).collect();
    let by_horizon: Result<Vec<Estimate>, ValidateError> =
        model.by_step.iter().zip(&losses.by_step).map(|(of_model, own)| skill(of_model, own)).collect();
    Ok(ErrorCurve {
        predictor: losses.predictor,
        errors: errors?,
        model_skill: skill(of_model, &mean_over_steps(losses))?,
        model_skill_by_horizon: by_horizon?,
        growth_exponent: resample.growth(&losses.by_step)?,
    })
}

/// The curve of a predictor.
pub(crate) fn curve<'a>(curves: &'a [ErrorCurve], predictor: &str) -> Option<&'a ErrorCurve> {
    curves.iter().find(|curve| curve.predictor == predictor)
}

pub(crate) fn check(training: &AheadFacts, held_out: &AheadFacts, settings: &HorizonSettings) -> Vec<Check> {
    let walk = Question::latent(
        "beats_random_walk",
        "A2.5",
        "Does the model predict features ahead better than a random walk?",
    );
    let ar = Question::latent(
        "beats_ar1",
        "A2.5",
        "Does the model predict features ahead better than an AR(1) per feature?",
    );
    let mut checks = vec![
        skill(walk, "random walk", &training.features, &held_out.features),
        skill(ar, "AR(1)", &training.features, &held_out.features),
        growth_check(held_out, settings),
        decay(training, held_out, settings),
    ];
    if !held_out.returns.is_empty() {
        let walk = Question::latent(
            "returns_ahead",
            "A2.5",
            "Does the model predict later returns better than a random walk of the price?",
        );
        checks.push(skill(walk, "random walk", &training.returns, &held_out.returns));
    }
    checks
}

fn skill(question: Question, baseline: &'static str, training: &[ErrorCurve], held_out: &[ErrorCurve]) -> Check {
    let of = |curves: &[ErrorCurve]| curve(curves, baseline).map_or(Estimate::UNKNOWN, |curve| curve.model_skill);
    let found = of(held_out);
    let (outcome, _) = above(&found, 0.0);
    let worse = worse_horizons(held_out, baseline);
    let outcome = if worse.is_empty() { outcome } else { outcome.max(Outcome::Warn) };
    let limit =
        "whole interval above 0 over all horizons and at none below 0 passes; below 0 over all fails".to_owned();
    let steps = held_out.first().map_or(0, |curve| curve.errors.len());
    let ends = |curves: &[ErrorCurve], name| {
        let errors = curve(curves, name).map(|curve| (curve.errors.first().copied(), curve.errors.last().copied()));
        match errors {
            Some((Some(first), Some(last))) => format!("{} → {}", figure(first.value), figure(last.value)),
            _ => "–".to_owned(),
        }
    };
    let mut reason = format!(
        "over horizons 1 to {steps} the model's error is smaller by a share of {} held out, {} in training; error at the first \
         and last horizon: model {}, {baseline} {}",
        found.text(),
        of(training).text(),
        ends(held_out, "model"),
        ends(held_out, baseline)
    );
    if !worse.is_empty() {
        let worse: Vec<String> = worse.iter().map(ToString::to_string).collect();
        reason += &format!("; worse beyond doubt at {}", worse.join(", "));
    }
    question.answer(outcome, found.value, limit, reason)
}

/// Horizons at which the model is worse with its whole interval.
fn worse_horizons(curves: &[ErrorCurve], baseline: &str) -> Vec<usize> {
    let skills = curve(curves, baseline).map(|curve| curve.model_skill_by_horizon.as_slice()).unwrap_or_default();
    skills.iter().enumerate().filter(|(_, skill)| skill.high < 0.0).map(|(index, _)| index + 1).collect()
}

fn growth_check(held_out: &AheadFacts, settings: &HorizonSettings) -> Check {
    let question =
        Question::latent("growth_exponent", "A2.6", "Does the error grow less than linearly with the horizon?");
    let of = |name| curve(&held_out.features, name).map_or(Estimate::UNKNOWN, |curve| curve.growth_exponent);
    let (model, walk) = (of("model"), of("random walk"));
    let most = settings.growth_exponent_max;
    let outcome = if model.high < most {
        Outcome::Pass
    } else if model.low > most {
        Outcome::Fail
    } else {
        Outcome::Warn
    };
    let reason = format!(
        "mean squared error grows as horizon^{}, the random walk's as horizon^{} (a pure random walk: 1, which in root mean \
         square is √horizon; a slow growth from a high start is no merit: see the baselines)",
        model.text(),
        walk.text()
    );
    question.answer(outcome, model.value, format!("whole interval below {most} passes, above fails"), reason)
}

fn decay(training: &AheadFacts, held_out: &AheadFacts, settings: &HorizonSettings) -> Check {
    let question =
        Question::latent("horizon_decay", "A2.5", "Is prediction ahead as good on data that it was not trained on?");
    let mean = |facts: &AheadFacts| {
        let errors = curve(&facts.features, "model").map(|curve| &curve.errors);
        errors.map_or(f64::NAN, |errors| errors.iter().map(|error| error.value).sum::<f64>() / errors.len() as f64)
    };
    let (before, after) = (mean(training), mean(held_out));
    let ratio = after / before;
    let outcome = Outcome::unless(ratio <= settings.decay_ratio_max, Outcome::Fail);
    let reason = format!(
        "mean error over all horizons is {} held out, {} in training (in variances of the training data)",
        figure(after),
        figure(before)
    );
    question.answer(outcome, ratio, format!("ratio ≤ {}", settings.decay_ratio_max), reason)
}
