//! A2.3, A2.4, A2.7, A2.8: the shape of the latent space: collapse, divergence from the unit Gaussian, smoothness,
//! disentanglement.

use peregrine_stats::latent::{
    active_units, kl_to_standard_normal, moment_kl_to_standard_normal, mutual_information_gap, smoothness, spectrum,
    total_correlation,
};
use peregrine_stats::{Matrix, MatrixView};
use serde::Serialize;

use crate::collect::Trace;
use crate::error::ValidateError;
use crate::settings::{HorizonSettings, LatentSettings};
use crate::verdict::{Check, Outcome, Question, at_least, figure, percent};

/// Bins of equal count for mutual information.
const INFORMATION_BINS: usize = 10;

/// A covariance in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankFacts {
    /// Width of the space.
    pub width: usize,
    /// Effective rank of the covariance (Roy & Vetterli 2007); not defined when nothing moves.
    pub effective_rank: f64,
    /// Participation ratio `(Σλ)²/Σλ²`.
    pub participation_ratio: f64,
    /// Eigenvalues, descending.
    pub eigenvalues: Vec<f64>,
}

/// The shape of the latent space on one dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatentFacts {
    /// Of z, the posterior means.
    pub stochastic: RankFacts,
    /// Of h.
    pub deterministic: RankFacts,
    /// Mean KL(q‖N(0, 1)) of each dimension of z, nats.
    pub kl_per_dimension: Vec<f64>,
    /// Their sum.
    pub kl: f64,
    /// KL from N(0, I) of the Gaussian with the mean and variances of z, nats; not defined (null) when infinite.
    pub kl_of_moments: f64,
    /// Dimensions of z whose posterior mean varies.
    pub active_units: usize,
    /// Mean share of the nearest observations that are nearest in z too.
    pub neighbours_kept: f64,
    /// What chance gives.
    pub neighbours_by_chance: f64,
    /// Trustworthiness (Venna & Kaski 2001), 0..1.
    pub trustworthiness: f64,
    /// Median distance in z to the nearest observation over the median distance in z: near 1 for a torn map.
    pub nearest_ratio: f64,
    /// Gaussian total correlation of z's moving dimensions, nats per dimension; not defined (null) when infinite.
    pub total_correlation: f64,
    /// Mutual-information gap per context column (Chen et al. 2018), 0..1; empty without context.
    pub information_gap: Vec<f64>,
    /// Their mean; not defined without context.
    pub information_gap_mean: f64,
    /// Mean KL(q‖p), nats: how much each observation surprised.
    pub surprise: f64,
}

/// The chosen rows of a table.
pub(crate) fn pick(matrix: &Matrix, rows: &[usize]) -> Matrix {
    let data = rows.iter().flat_map(|row| matrix.row(*row).iter().copied()).collect();
    Matrix { data, rows: rows.len(), cols: matrix.cols }
}

fn rank(matrix: &Matrix) -> Result<RankFacts, ValidateError> {
    let found = spectrum(matrix.view("latent states")?)?;
    Ok(RankFacts {
        width: matrix.cols,
        effective_rank: found.effective_rank,
        participation_ratio: found.participation_ratio,
        eigenvalues: found.eigenvalues.iter().map(|value| value.max(0.0)).collect(),
    })
}

/// Not a number instead of infinity, which JSON does not know.
fn defined(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// Rows whose context is known in every column; `None` without a column or with too few of them.
fn with_context(trace: &Trace, rows: &[usize]) -> Option<(Matrix, Matrix)> {
    let known = rows.iter().copied().filter(|row| trace.context.row(*row).iter().all(|value| value.is_finite()));
    let known: Vec<usize> = known.collect();
    let is_enough = trace.context.cols > 0 && trace.z.cols > 1 && known.len() >= INFORMATION_BINS * INFORMATION_BINS;
    is_enough.then(|| (pick(&trace.z, &known), pick(&trace.context, &known)))
}

pub(crate) fn measure(trace: &Trace, rows: &[usize], settings: &LatentSettings) -> Result<LatentFacts, ValidateError> {
    let z = trace.z.view("z")?;
    let kl = kl_to_standard_normal(z, trace.z_log_var.view("log-variances of z")?)?;
    let (near_x, near_z) = (pick(&trace.x, rows), pick(&trace.z, rows));
    let neighbours = settings.neighbours.min((rows.len().saturating_sub(2)) / 2).max(1);
    let smooth = smoothness(near_x.view("observations")?, near_z.view("z")?, neighbours)?;
    let gap = match with_context(trace, rows) {
        Some((z, context)) => {
            let found = mutual_information_gap(z.view("z")?, context.view("context")?, INFORMATION_BINS)?;
            (found.gap, found.score)
        }
        None => (Vec::new(), f64::NAN),
    };
    Ok(LatentFacts {
        stochastic: rank(&trace.z)?,
        deterministic: rank(&trace.h)?,
        kl: kl.mean,
        kl_per_dimension: kl.per_dimension,
        kl_of_moments: defined(moment_kl_to_standard_normal(z)?.diagonal),
        active_units: active_units(z, settings.active_variance_min)?,
        neighbours_kept: smooth.preserved,
        neighbours_by_chance: smooth.by_chance,
        trustworthiness: smooth.trustworthiness,
        nearest_ratio: smooth.nearest_ratio,
        total_correlation: correlation_per_dimension(z),
        information_gap: gap.0,
        information_gap_mean: gap.1,
        surprise: trace.surprise.iter().sum::<f64>() / trace.rows() as f64,
    })
}

/// Not defined when nothing moves or a dimension is a function of others.
fn correlation_per_dimension(z: MatrixView<'_>) -> f64 {
    total_correlation(z).map_or(f64::NAN, |found| defined(found.nats / found.dimensions as f64))
}

pub(crate) fn check(training: &LatentFacts, held_out: &LatentFacts, settings: &LatentSettings) -> Vec<Check> {
    vec![
        collapse(training, held_out, settings),
        active(training, held_out, settings),
        divergence(training, held_out, settings),
        smooth(training, held_out, settings),
        entangled(training, held_out, settings),
    ]
}

fn collapse(training: &LatentFacts, held_out: &LatentFacts, settings: &LatentSettings) -> Check {
    let question =
        Question::latent("latent_rank", "A2.3", "Does the latent space use its dimensions, or has it collapsed?");
    let (z, h) = (&held_out.stochastic, &held_out.deterministic);
    // 0 for a single direction, 1 for all of them alike.
    let share = (z.effective_rank - 1.0) / (z.width as f64 - 1.0).max(1.0);
    let (outcome, limit) = at_least(share, settings.rank_share_pass, settings.rank_share_fail);
    let reason = format!(
        "effective rank of z is {} of {} held out ({} in training), participation ratio {}; of h {} of {}",
        figure(z.effective_rank),
        z.width,
        figure(training.stochastic.effective_rank),
        figure(z.participation_ratio),
        figure(h.effective_rank),
        h.width
    );
    question.answer(outcome, share, format!("(rank − 1)/(Z − 1): {limit}"), reason)
}

fn active(training: &LatentFacts, held_out: &LatentFacts, settings: &LatentSettings) -> Check {
    let question = Question::latent("active_units", "A2.4", "How many latent dimensions carry anything?");
    let share = held_out.active_units as f64 / held_out.stochastic.width as f64;
    let outcome = match held_out.active_units {
        0 => Outcome::Fail,
        _ => Outcome::unless(share >= settings.active_share_min, Outcome::Warn),
    };
    let reason = format!(
        "{} of {} posterior means vary by more than {} held out, {} in training",
        held_out.active_units, held_out.stochastic.width, settings.active_variance_min, training.active_units
    );
    question.answer(outcome, share, format!("≥ {} of Z, none fails", percent(settings.active_share_min)), reason)
}

fn divergence(training: &LatentFacts, held_out: &LatentFacts, settings: &LatentSettings) -> Check {
    let question = Question::latent("latent_kl", "A2.4", "Does the latent stay near the unit Gaussian?");
    let value = held_out.kl / held_out.stochastic.width as f64;
    let outcome = Outcome::unless(value <= settings.kl_per_dimension_max, Outcome::Warn);
    let reason = format!(
        "KL(q‖N(0, I)) is {} nats per dimension held out, {} in training; of the moments {} nats in all",
        figure(value),
        figure(training.kl / training.stochastic.width as f64),
        figure(held_out.kl_of_moments)
    );
    question.answer(outcome, value, format!("≤ {} nats per dimension", settings.kl_per_dimension_max), reason)
}

fn smooth(training: &LatentFacts, held_out: &LatentFacts, settings: &LatentSettings) -> Check {
    let question =
        Question::latent("smoothness", "A2.7", "Do observations that are near each other lie near each other in z?");
    let lift = held_out.neighbours_kept / held_out.neighbours_by_chance;
    let outcome = Outcome::unless(lift >= settings.neighbour_lift_min, Outcome::Warn);
    let outcome = if lift > 1.5 { outcome } else { Outcome::Fail };
    let reason = format!(
        "{} of the {} nearest observations are nearest in z too, {} times what chance gives ({} in training); \
         trustworthiness {}, nearest distance {} of the median one",
        percent(held_out.neighbours_kept),
        settings.neighbours,
        figure(lift),
        percent(training.neighbours_kept),
        figure(held_out.trustworthiness),
        figure(held_out.nearest_ratio)
    );
    let limit = format!("≥ {} × chance passes, ≤ 1.5 × fails", settings.neighbour_lift_min);
    question.answer(outcome, lift, limit, reason)
}

fn entangled(training: &LatentFacts, held_out: &LatentFacts, settings: &LatentSettings) -> Check {
    let question = Question::latent("disentanglement", "A2.8", "Do latent dimensions say different things?");
    let value = held_out.total_correlation;
    let outcome = Outcome::unless(value <= settings.total_correlation_max, Outcome::Warn);
    let gap = if held_out.information_gap_mean.is_finite() {
        format!("mutual-information gap over the context columns {}", figure(held_out.information_gap_mean))
    } else {
        "no context to measure the mutual-information gap with".to_owned()
    };
    let reason = format!(
        "total correlation (Gaussian) is {} nats per dimension held out, {} in training; {gap}",
        figure(value),
        figure(training.total_correlation)
    );
    question.answer(outcome, value, format!("≤ {} nats per dimension", settings.total_correlation_max), reason)
}

pub(crate) fn check_surprise(training: &LatentFacts, held_out: &LatentFacts, settings: &HorizonSettings) -> Check {
    let question =
        Question::latent("surprise", "A2.5", "Do unseen data surprise the model more than those it was trained on?");
    let ratio = held_out.surprise / training.surprise;
    let outcome = Outcome::unless(ratio <= settings.surprise_ratio_max, Outcome::Fail);
    let reason = format!(
        "mean surprise KL(q‖p) is {} nats held out, {} in training: {} times",
        figure(held_out.surprise),
        figure(training.surprise),
        figure(ratio)
    );
    question.answer(outcome, ratio, format!("≤ {} times", settings.surprise_ratio_max), reason)
}
