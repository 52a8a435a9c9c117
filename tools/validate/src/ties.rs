//! A2.9, A2.10: what the latent dimensions go with (market context) and whether the regimes are apart in the latent space.

use std::collections::BTreeMap;

use peregrine_stats::cluster::silhouette;
use peregrine_stats::random::Generator;
use peregrine_stats::{Matrix, cross_correlation, quantile};
use serde::Serialize;

use crate::collect::Trace;
use crate::error::ValidateError;
use crate::latent_space::pick;
use crate::settings::{LatentSettings, RegimeSettings, SampleSettings};
use crate::verdict::{Check, Outcome, Question, at_least, figure, percent};

/// Shifts of the null distribution.
const SHIFTS: usize = 200;
/// Fewest rows for a correlation.
const ROWS_MIN: usize = 50;

/// Pearson's correlation of each latent dimension with each context column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorrelationFacts {
    /// Names of the context columns.
    pub context: Vec<String>,
    /// One row per latent dimension, one value per context column; not defined (null) for a constant side.
    pub pearson: Vec<Vec<f64>>,
    /// Rows that were used: those whose context is known in every column.
    pub rows: usize,
    /// |correlation| above which a pair is marked: so large is the largest of all pairs by chance only in the share of cases
    /// that the settings allow. From latents shifted in time against the context, which keeps the memory of both and breaks
    /// what ties them (the maximum over all pairs as Westfall & Young 1993).
    pub mark: f64,
}

/// Regimes on one dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegimeFacts {
    /// Names and shares of rows in which each is the most probable.
    pub shares: BTreeMap<String, f64>,
    /// How many hold at least the share that counts.
    pub in_use: usize,
    /// Mean silhouette of the regimes in z (Euclidean), −1..1; not defined with fewer than two regimes.
    pub silhouette: f64,
}

/// `None` without a context column or with too few rows.
pub(crate) fn correlations(
    trace: &Trace,
    names: &[String],
    settings: &LatentSettings,
    sample: &SampleSettings,
) -> Result<Option<CorrelationFacts>, ValidateError> {
    let known = (0..trace.rows()).filter(|row| trace.context.row(*row).iter().all(|value| value.is_finite()));
    let known: Vec<usize> = known.collect();
    if names.is_empty() || known.len() < ROWS_MIN {
        return Ok(None);
    }
    let (z, context) = (pick(&trace.z, &known), pick(&trace.context, &known));
    let found = cross_correlation(z.view("z")?, context.view("context")?)?;
    let step = known.len().div_ceil(sample.sample_rows_max).max(1);
    let few: Vec<usize> = known.iter().step_by(step).copied().collect();
    let mark = mark(&pick(&trace.z, &few), &pick(&trace.context, &few), settings, sample.seed)?;
    Ok(Some(CorrelationFacts {
        context: names.to_vec(),
        pearson: (0..found.rows).map(|row| found.row(row).to_vec()).collect(),
        rows: known.len(),
        mark,
    }))
}

/// The quantile of the largest |correlation| over shifts of at least a tenth of the rows.
fn mark(z: &Matrix, context: &Matrix, settings: &LatentSettings, seed: u64) -> Result<f64, ValidateError> {
    let mut generator = Generator::new(seed, "shifts");
    let (rows, margin) = (z.rows, z.rows / 10);
    let mut largest = Vec::with_capacity(SHIFTS);
    for _ in 0..SHIFTS {
        let shift = margin + generator.index(rows - 2 * margin);
        let mut shifted = z.clone();
        shifted.data.rotate_left(shift * z.cols);
        let found = cross_correlation(shifted.view("z")?, context.view("context")?)?;
        let most =
            found.data.iter().filter(|value| value.is_finite()).fold(0.0, |most: f64, value| most.max(value.abs()));
        largest.push(most);
    }
    Ok(quantile(&largest, 1.0 - settings.correlation_error)?)
}

pub(crate) fn regimes(
    trace: &Trace,
    names: &[String],
    rows: &[usize],
    settings: &RegimeSettings,
) -> Result<RegimeFacts, ValidateError> {
    let count = trace.rows() as f64;
    let share = |index: usize| trace.regime.iter().filter(|regime| **regime == index).count() as f64 / count;
    let shares: BTreeMap<String, f64> =
        names.iter().enumerate().map(|(index, name)| (name.clone(), share(index))).collect();
    let in_use = shares.values().filter(|share| **share >= settings.share_min).count();
    let labels: Vec<usize> = rows.iter().filter_map(|row| trace.regime.get(*row).copied()).collect();
    let is_one = labels.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    let silhouette = if is_one { f64::NAN } else { silhouette(pick(&trace.z, rows).view("z")?, &labels)?.score };
    Ok(RegimeFacts { shares, in_use, silhouette })
}

pub(crate) fn check_correlations(
    training: Option<&CorrelationFacts>,
    held_out: Option<&CorrelationFacts>,
    settings: &LatentSettings,
) -> Check {
    let question =
        Question::latent("context_ties", "A2.9", "Do latent dimensions go with what people know of the market?");
    let limit = format!("at least one |r| ≥ {} beyond chance", settings.correlation_min);
    let Some(facts) = held_out else {
        return question.answer(
            Outcome::Warn,
            f64::NAN,
            limit,
            "the held-out data have no context columns that are known".to_owned(),
        );
    };
    let (count, strongest) = marked(facts, settings);
    let outcome = Outcome::unless(count > 0, Outcome::Warn);
    let mut reason = match strongest {
        Some((dimension, name, r)) => format!("strongest: z{dimension} with {name}, r = {}", figure(r)),
        None => "no correlation is defined".to_owned(),
    };
    reason += &format!(
        "; {count} of {} pairs are beyond |r| = {}, which the largest of all reaches by chance in {} of cases (n = {}); {} pairs \
         in training",
        facts.pearson.len() * facts.context.len(),
        figure(facts.mark),
        percent(settings.correlation_error),
        facts.rows,
        training.map_or(0, |facts| marked(facts, settings).0)
    );
    question.answer(outcome, strongest.map_or(f64::NAN, |(_, _, r)| r.abs()), limit, reason)
}

/// How many pairs are marked, and the strongest pair: dimension, context column, correlation.
fn marked<'a>(facts: &'a CorrelationFacts, settings: &LatentSettings) -> (usize, Option<(usize, &'a str, f64)>) {
    let pairs = facts.pearson.iter().enumerate().flat_map(|(dimension, row)| {
        row.iter().zip(&facts.context).map(move |(r, name)| (dimension, name.as_str(), *r))
    });
    let pairs: Vec<_> = pairs.filter(|(_, _, r)| r.is_finite()).collect();
    let beyond = facts.mark.max(settings.correlation_min);
    let count = pairs.iter().filter(|(_, _, r)| r.abs() >= beyond).count();
    (count, pairs.into_iter().max_by(|a, b| a.2.abs().total_cmp(&b.2.abs())))
}

pub(crate) fn check_regimes(training: &RegimeFacts, held_out: &RegimeFacts, settings: &RegimeSettings) -> Vec<Check> {
    let used = Question::latent("regimes_in_use", "A2.10", "Does the model tell regimes apart at all?");
    let outcome = match (training.in_use >= 2, held_out.in_use >= 2) {
        (true, true) => Outcome::Pass,
        (true, false) => Outcome::Warn,
        (false, true | false) => Outcome::Fail,
    };
    let shares = held_out.shares.iter().map(|(name, share)| format!("{name} {}", percent(*share)));
    let reason = format!(
        "{} regimes hold at least {} of the rows held out, {} in training: {}",
        held_out.in_use,
        percent(settings.share_min),
        training.in_use,
        shares.collect::<Vec<_>>().join(", ")
    );
    let first = used.answer(outcome, held_out.in_use as f64, "≥ 2 in both; < 2 in training fails".to_owned(), reason);
    let apart = Question::latent("regime_silhouette", "A2.10", "Are the regimes apart in the latent space?");
    let (outcome, limit) = at_least(held_out.silhouette, settings.silhouette_pass, settings.silhouette_fail);
    let reason = format!(
        "mean silhouette of the regimes in z is {} held out, {} in training (−1 wrong, 0 on the border, 1 apart)",
        figure(held_out.silhouette),
        figure(training.silhouette)
    );
    vec![first, apart.answer(outcome, held_out.silhouette, limit, reason)]
}
