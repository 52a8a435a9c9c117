//! A2.1, A2.2: how well the latent state holds the observation.

use peregrine_stats::{Matrix, r_squared, reconstruction};
use serde::Serialize;

use crate::collect::Trace;
use crate::error::ValidateError;
use crate::resample::{Resample, total};
use crate::settings::ReconstructionSettings;
use crate::verdict::{Check, Estimate, Outcome, Question, at_least, figure};

/// How well one feature is decoded from the posterior.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureFit {
    /// The feature.
    pub name: String,
    /// Mean squared error in scaled units (interquartile ranges squared).
    pub mse: f64,
    /// Coefficient of determination with its interval; not defined for a constant feature.
    pub r2: Estimate,
    /// It never changes in this dataset.
    pub is_constant: bool,
}

/// Reconstruction of one dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReconstructionFacts {
    /// One entry per feature, in the model's order.
    pub features: Vec<FeatureFit>,
    /// Mean R² over the features that vary.
    pub r2_mean: Estimate,
}

/// Squared errors and squared deviations from the mean of one column, on the sampled rows.
fn losses(trace: &Trace, rows: &[usize], column: usize, mean: f64) -> (Vec<f64>, Vec<f64>) {
    let pairs = rows.iter().map(|row| (cell(&trace.x, *row, column), cell(&trace.x_hat, *row, column)));
    pairs.map(|(x, x_hat)| ((x - x_hat).powi(2), (x - mean).powi(2))).unzip()
}

pub(crate) fn cell(matrix: &Matrix, row: usize, column: usize) -> f64 {
    matrix.row(row).get(column).copied().unwrap_or(f64::NAN)
}

pub(crate) fn measure(
    trace: &Trace,
    names: &[String],
    resample: &Resample,
) -> Result<ReconstructionFacts, ValidateError> {
    let x = trace.x.view("observations")?;
    let fit = reconstruction(x, trace.x_hat.view("decoded observations")?)?;
    let means = x.column_means();
    let mut features = Vec::with_capacity(names.len());
    let mut all = Vec::new();
    for (column, (name, mean)) in names.iter().zip(means).enumerate() {
        let (error, base) = losses(trace, resample.rows(), column, mean);
        let is_constant = base.iter().all(|base| *base <= f64::EPSILON);
        let mse = fit.mse.get(column).copied().unwrap_or(f64::NAN);
        let value = if is_constant {
            f64::NAN
        } else {
            r_squared(&x.column(column), &trace.x_hat.view("decoded")?.column(column))?
        };
        let r2 = if is_constant { Estimate::UNKNOWN } else { resample.one_minus_ratio(value, &error, &base)? };
        if !is_constant {
            all.push((error, base, value));
        }
        features.push(FeatureFit { name: name.clone(), mse, r2, is_constant });
    }
    let count = all.len() as f64;
    let value = all.iter().map(|(_, _, value)| value).sum::<f64>() / count;
    let r2_mean = resample.interval(value, |draw| {
        all.iter().map(|(error, base, _)| 1.0 - total(error, draw) / total(base, draw)).sum::<f64>() / count
    })?;
    Ok(ReconstructionFacts { features, r2_mean })
}

pub(crate) fn check(
    training: &ReconstructionFacts,
    held_out: &ReconstructionFacts,
    settings: &ReconstructionSettings,
) -> Vec<Check> {
    vec![fits(training, held_out, settings), keeps(training, held_out, settings)]
}

fn fits(training: &ReconstructionFacts, held_out: &ReconstructionFacts, settings: &ReconstructionSettings) -> Check {
    let question = Question::latent("reconstruction_r2", "A2.1, A2.2", "Does the latent state hold what was observed?");
    let value = held_out.r2_mean.value;
    let (outcome, limit) = at_least(value, settings.r2_pass, settings.r2_fail);
    let mut worst: Vec<_> = held_out.features.iter().filter(|feature| !feature.is_constant).collect();
    worst.sort_by(|a, b| a.r2.value.total_cmp(&b.r2.value));
    let named = worst.iter().take(3).map(|feature| format!("{} {}", feature.name, figure(feature.r2.value)));
    let reason = format!(
        "mean R² over {} varying features is {} held out, {} in training; weakest: {}",
        worst.len(),
        held_out.r2_mean.text(),
        training.r2_mean.text(),
        named.collect::<Vec<_>>().join(", ")
    );
    question.answer(outcome, value, limit, reason)
}

fn keeps(training: &ReconstructionFacts, held_out: &ReconstructionFacts, settings: &ReconstructionSettings) -> Check {
    let question = Question::latent(
        "reconstruction_decay",
        "A2.2",
        "Is reconstruction as good on data that it was not trained on?",
    );
    let lost = training.r2_mean.value - held_out.r2_mean.value;
    let outcome = Outcome::unless(lost <= settings.r2_decay_max, Outcome::Fail);
    let reason = format!(
        "mean R² goes from {} in training to {} held out",
        figure(training.r2_mean.value),
        figure(held_out.r2_mean.value)
    );
    question.answer(outcome, lost, format!("loses ≤ {}", settings.r2_decay_max), reason)
}
