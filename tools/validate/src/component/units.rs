//! Does every part take part: inputs, units, the prior, and the prior alone for a long time?

use peregrine_model::reference::Reference;
use peregrine_model::{Heads, LatentStore, PositionInput};
use peregrine_stats::{Matrix, standard_deviation};
use serde::Serialize;

use crate::collect::{Trace, scaled};
use crate::component::Subject;
use crate::error::ValidateError;
use crate::verdict::{Check, Outcome, Question, figure, percent};

/// States from which the prior runs free.
const FREE_RUNS: usize = 8;

/// What a step of one interquartile range in one input moves, on average over states of the training data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputEffect {
    /// The feature.
    pub name: String,
    /// Largest move of a latent mean, in standard deviations of that latent over the training data.
    pub latent: f64,
    /// Largest move of a head (returns, logit of the up-move), in its standard deviations.
    pub heads: f64,
    /// The feature never changes in the training data, so that it cannot matter.
    pub is_constant: bool,
    /// Neither move reaches the threshold.
    pub is_dead: bool,
}

/// Units of one layer over the training data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerUnits {
    /// `encoding`, `deterministic state` or `stochastic state`.
    pub layer: &'static str,
    /// How many units it has.
    pub units: usize,
    /// Indices of the units that hardly move.
    pub dead: Vec<usize>,
}

/// Standard deviation of each column.
pub(crate) fn deviations(matrix: &Matrix) -> Vec<f64> {
    let column = |col: usize| matrix.data.iter().skip(col).step_by(matrix.cols.max(1)).copied().collect::<Vec<f64>>();
    (0..matrix.cols).map(|col| standard_deviation(&column(col), 1).unwrap_or(0.0)).collect()
}

/// The share of a deviation; no move of what never moves.
fn in_deviations(moved: f64, deviation: f64) -> f64 {
    if deviation > 0.0 { moved.abs() / deviation } else { 0.0 }
}

fn logit(probability: f64) -> f64 {
    let clipped = probability.clamp(1e-7, 1.0 - 1e-7);
    (clipped / (1.0 - clipped)).ln()
}

/// Return means and the logit of the up-move.
fn head_values(heads: &Heads, horizons: usize) -> Vec<f64> {
    let returns = heads.return_mean.iter().take(horizons).copied().map(f64::from);
    returns.chain([logit(f64::from(heads.up_probability))]).collect()
}

/// Deviations of what [`head_values`] gives.
fn head_deviations(trace: &Trace) -> Vec<f64> {
    let logits: Vec<f64> = trace.up.iter().copied().map(logit).collect();
    let mut all = deviations(&trace.return_mean);
    all.push(standard_deviation(&logits, 1).unwrap_or(0.0));
    all
}

fn largest_move(moved: &[f64], base: &[f64], deviations: &[f64]) -> f64 {
    let moves = moved.iter().zip(base).zip(deviations);
    moves.map(|((moved, base), deviation)| in_deviations(moved - base, *deviation)).fold(0.0, f64::max)
}

pub(crate) fn inputs_used(subject: &Subject<'_>) -> Result<(Check, Vec<InputEffect>), ValidateError> {
    let [training, _] = subject.traces;
    let (meta, settings) = (subject.model.meta(), subject.settings);
    let spread = (deviations(&training.z), head_deviations(training));
    let mut sums = vec![(0.0, 0.0); meta.d];
    let mut states = 0_usize;
    subject.probe(|latents, raw| {
        let Some(base) = response(subject, latents, raw) else { return Ok(()) };
        states += 1;
        let steps = scaled(meta, raw).map(|x| if x > 0.0 { -1.0_f32 } else { 1.0 }).collect::<Vec<_>>();
        for (index, (sum, step)) in sums.iter_mut().zip(steps).enumerate() {
            let mut moved = raw.to_vec();
            if let (Some(x), Some(iqr)) = (moved.get_mut(index), meta.features.iqr.get(index)) {
                *x += step * iqr;
            }
            if let Some((z, heads)) = response(subject, latents, &moved) {
                sum.0 += largest_move(&z, &base.0, &spread.0);
                sum.1 += largest_move(&heads, &base.1, &spread.1);
            }
        }
        Ok(())
    })?;
    let varying = deviations(&training.x);
    let count = states.max(1) as f64;
    let effects = meta.features.names.iter().zip(sums).zip(varying).map(|((name, sum), deviation)| {
        let (latent, heads, is_constant) = (sum.0 / count, sum.1 / count, deviation <= 0.0);
        let is_dead = latent.max(heads) < settings.input_effect_min;
        InputEffect { name: name.clone(), latent, heads, is_constant, is_dead }
    });
    let effects: Vec<InputEffect> = effects.collect();
    Ok((judge_inputs(subject, &effects, states), effects))
}

/// Posterior means and heads that a row gives from a state, which stays as it was.
fn response(subject: &Subject<'_>, latents: &LatentStore, raw: &[f32]) -> Option<(Vec<f64>, Vec<f64>)> {
    let mut latents = latents.clone();
    let mut latent = latents.latent_mut(0)?;
    let heads = subject.kernel.observe(subject.model, &mut latent, raw, PositionInput::default()).ok()?;
    Some((latent.z().map(f64::from).collect(), head_values(&heads, subject.model.meta().horizons.len())))
}

fn judge_inputs(subject: &Subject<'_>, effects: &[InputEffect], states: usize) -> Check {
    let question = Question::component("inputs_used", "Does every input that varies move the latent or the heads?");
    let settings = subject.settings;
    let varying: Vec<_> = effects.iter().filter(|effect| !effect.is_constant).collect();
    let dead: Vec<&str> = varying.iter().filter(|effect| effect.is_dead).map(|effect| effect.name.as_str()).collect();
    let share = if varying.is_empty() { f64::NAN } else { dead.len() as f64 / varying.len() as f64 };
    let outcome = match dead.is_empty() && !varying.is_empty() {
        true => Outcome::Pass,
        false if share <= settings.dead_input_share_max => Outcome::Warn,
        false => Outcome::Fail,
    };
    let mut reason = format!("{} inputs were moved by one interquartile range at {states} states; ", varying.len());
    if dead.is_empty() {
        let weakest = varying.iter().map(|effect| effect.latent.max(effect.heads)).fold(f64::INFINITY, f64::min);
        reason += &format!("the weakest moves something by {} of its deviation", figure(weakest));
    } else {
        reason += &format!("dead: {}", dead.join(", "));
    }
    let constant: Vec<&str> =
        effects.iter().filter(|effect| effect.is_constant).map(|effect| effect.name.as_str()).collect();
    if !constant.is_empty() {
        reason += &format!("; constant in the training data and not judged: {}", constant.join(", "));
    }
    let limit = format!("none dead; more than {} dead fails", percent(settings.dead_input_share_max));
    question.answer(outcome, dead.len() as f64, limit, reason)
}

pub(crate) fn units_alive(subject: &Subject<'_>) -> Result<(Check, Vec<LayerUnits>), ValidateError> {
    let question = Question::component("units_alive", "Do the units of each layer move over the data?");
    let [training, _] = subject.traces;
    let settings = subject.settings;
    let reference = Reference::load(subject.bytes)?;
    let mut encodings = Matrix { cols: subject.model.meta().e, ..Matrix::default() };
    subject.probe(|_, raw| {
        encodings.data.extend(reference.encode(raw));
        encodings.rows += 1;
        Ok(())
    })?;
    let layers = [("encoding", &encodings), ("deterministic state", &training.h), ("stochastic state", &training.z)];
    let layers: Vec<LayerUnits> = layers
        .into_iter()
        .map(|(layer, values)| {
            let deviations = deviations(values).into_iter().enumerate();
            let dead =
                deviations.filter(|(_, deviation)| *deviation < settings.unit_deviation_min).map(|(index, _)| index);
            LayerUnits { layer, units: values.cols, dead: dead.collect() }
        })
        .collect();
    let share = |layer: &LayerUnits| layer.dead.len() as f64 / layer.units.max(1) as f64;
    let worst = layers.iter().map(share).fold(0.0, f64::max);
    let outcome = match worst {
        0.0 => Outcome::Pass,
        worst if worst <= settings.dead_unit_share_max => Outcome::Warn,
        _ => Outcome::Fail,
    };
    let parts = layers
        .iter()
        .map(|layer| format!("{} of {} units of the {} are dead", layer.dead.len(), layer.units, layer.layer));
    let reason = parts.collect::<Vec<_>>().join("; ");
    let limit = format!("none dead; more than {} of a layer fails", percent(settings.dead_unit_share_max));
    Ok((question.answer(outcome, worst, limit, reason), layers))
}

pub(crate) fn prior_moves(subject: &Subject<'_>) -> Check {
    let question = Question::component("prior_moves", "Does what the model expects depend on what it has seen?");
    let [training, _] = subject.traces;
    let total = |matrix| deviations(matrix).iter().map(|deviation| deviation * deviation).sum::<f64>().sqrt();
    let (prior, posterior) = (total(&training.prior_mean), total(&training.z));
    let share = in_deviations(prior, posterior);
    let least = subject.settings.prior_movement_min;
    let reason = format!(
        "the prior's mean moves {} of what the posterior's does (root of summed variances over the training data)",
        percent(share)
    );
    question.answer(Outcome::unless(share >= least, Outcome::Fail), share, format!("≥ {least}"), reason)
}

pub(crate) fn free_run(subject: &Subject<'_>) -> Result<Check, ValidateError> {
    let question = Question::component("free_run", "Do the dynamics stay bounded when nothing is observed?");
    let settings = subject.settings;
    let (mut largest, mut is_finite, mut count) = (0.0_f64, true, 0_usize);
    let mut decoded = vec![0.0_f32; subject.model.meta().d];
    let mut probed = 0_usize;
    subject.probe(|latents, raw| {
        probed += 1;
        if count >= FREE_RUNS || !probed.is_multiple_of(10) {
            return Ok(());
        }
        count += 1;
        let Some(mut latent) = latents.latent_mut(0) else { return Ok(()) };
        if subject.kernel.observe(subject.model, &mut latent, raw, PositionInput::default()).is_err() {
            return Ok(());
        }
        for _ in 0..settings.free_run_steps {
            subject.kernel.imagine(subject.model, &mut latent);
            is_finite &= subject.kernel.reconstruct(subject.model, &mut latent, &mut decoded)
                && decoded.iter().all(|x| x.is_finite());
            largest = decoded.iter().map(|x| f64::from(x.abs())).fold(largest, f64::max);
        }
        Ok(())
    })?;
    let is_bounded = is_finite && count > 0 && largest <= settings.free_run_abs_max;
    let reason = format!(
        "{count} free runs of {} steps decoded to at most {} interquartile ranges from the median{}",
        settings.free_run_steps,
        figure(largest),
        if is_finite { "" } else { ", some of it not finite" }
    );
    let limit = format!("≤ {}", settings.free_run_abs_max);
    Ok(question.answer(Outcome::unless(is_bounded, Outcome::Fail), largest, limit, reason))
}
