//! Is the artefact sound: what it is, where it was trained, finite everywhere, the same everywhere?

use std::collections::BTreeMap;

use peregrine_dataset::Dataset;
use peregrine_model::reference::{Reference, ReferenceHeads};
use peregrine_model::{Backend, Heads, INPUT_CLIP, Kernel, LatentStore, Model, NonFinite, PositionInput, Training};
use peregrine_train::{LAST_TIME_NS_KEY, VALIDATION_SHA256_KEY};

use crate::component::Subject;
use crate::error::ValidateError;
use crate::verdict::{Check, Outcome, Question, at_most, figure};

/// Steps for which an extreme input is held.
const EXTREME_STEPS: usize = 200;

pub(crate) fn loads(subject: &Subject<'_>) -> Check {
    let (meta, model) = (subject.model.meta(), subject.model);
    let reason = format!(
        "{} bytes, size {} (D{} E{} H{} Z{}), {} horizons, {} regimes; every tensor is there, of its shape, F32 and finite; \
         features and their definition hash are those of both datasets",
        subject.bytes.len(),
        model.size().name(),
        meta.d,
        meta.e,
        meta.h,
        meta.z,
        meta.horizons.len(),
        meta.regimes.len()
    );
    let question = Question::component("loads", "Does the file load, with every tensor of the right shape and finite?");
    question.answer(Outcome::Pass, f64::NAN, "must load".to_owned(), reason)
}

pub(crate) fn trained(subject: &Subject<'_>) -> Check {
    let question = Question::component("trained", "Have the weights seen data?");
    let (outcome, reason) = match subject.model.meta().training {
        Training::Trained => (Outcome::Pass, "the file says that it was trained".to_owned()),
        Training::Untrained => {
            let seed = subject.model.meta().seed;
            (
                Outcome::Fail,
                format!("this is the seeded initialisation of seed {seed}: nothing below says anything of a market"),
            )
        }
    };
    question.answer(outcome, f64::NAN, "must be trained".to_owned(), reason)
}

pub(crate) fn training_data(subject: &Subject<'_>) -> Check {
    let question = Question::component("training_data", "Are the training data given here those that the file names?");
    let [training, _] = subject.folds;
    let (outcome, reason) = match &subject.model.meta().training_data_sha256 {
        Some(sha256) if *sha256 == training.data.meta.sha256 => {
            (Outcome::Pass, "the SHA-256 in the file is that of the training data".to_owned())
        }
        Some(sha256) => {
            let given = &training.data.meta.sha256;
            (
                Outcome::Warn,
                format!("the file was trained on {sha256}, given is {given}: the training column is not its own"),
            )
        }
        None => (Outcome::Warn, "the file names no training data".to_owned()),
    };
    question.answer(outcome, f64::NAN, "same SHA-256".to_owned(), reason)
}

pub(crate) fn held_out_apart(subject: &Subject<'_>) -> Check {
    let question =
        Question::component("held_out_apart", "Are the held-out data apart from the training data, and later?");
    let [training, held_out] = subject.folds.map(|fold| fold.data);
    let (outcome, reason) = if training.meta.sha256 == held_out.meta.sha256 {
        (Outcome::Fail, "both are the same dataset: nothing was held out".to_owned())
    } else if hyper_parameter(subject, VALIDATION_SHA256_KEY) == Some(held_out.meta.sha256.as_str()) {
        (Outcome::Fail, "these are the validation rows, which stopped the training and calibrated it".to_owned())
    } else if let Some(instrument) = overlap(training, held_out) {
        (Outcome::Fail, format!("rows of {instrument} lie in the time of its training rows"))
    } else if let Some(instrument) = seen_instrument(subject) {
        (Outcome::Fail, format!("rows of {instrument} lie before the end of the model's training and validation rows"))
    } else if last_time(training) > first_time(held_out) {
        (Outcome::Warn, "held-out rows lie before training rows: this is no test of the future".to_owned())
    } else {
        (Outcome::Pass, "every held-out row is later than every training row".to_owned())
    };
    question.answer(outcome, f64::NAN, "no overlap in time".to_owned(), reason)
}

fn hyper_parameter<'a>(subject: &Subject<'a>, key: &str) -> Option<&'a str> {
    subject.model.meta().hyper_parameters.get(key).map(String::as_str)
}

/// An instrument of the training data with held-out rows no later than the last row that the model's training or validation
/// had, as its file says.
fn seen_instrument<'a>(subject: &Subject<'a>) -> Option<&'a str> {
    let seen_until: i64 = hyper_parameter(subject, LAST_TIME_NS_KEY)?.parse().ok()?;
    let [training, held_out] = subject.folds.map(|fold| fold.data);
    let known = spans(training);
    let early = |(name, (first, _)): &(&str, (i64, i64))| known.contains_key(name) && *first <= seen_until;
    spans(held_out).into_iter().find(early).map(|(name, _)| name)
}

/// First and last time of each instrument.
fn spans(data: &Dataset) -> BTreeMap<&str, (i64, i64)> {
    let mut spans = BTreeMap::new();
    for sequence in &data.sequences {
        if let (Some(first), Some(last)) = (sequence.time_ns.first(), sequence.time_ns.last()) {
            let span = spans.entry(sequence.instrument.as_str()).or_insert((*first, *last));
            *span = (span.0.min(*first), span.1.max(*last));
        }
    }
    spans
}

/// An instrument whose two spans overlap.
fn overlap<'a>(training: &Dataset, held_out: &'a Dataset) -> Option<&'a str> {
    let before = spans(training);
    let mut after = spans(held_out).into_iter();
    let overlaps = |(name, (first, last)): &(&str, (i64, i64))| {
        before.get(name).is_some_and(|(start, end)| first <= end && last >= start)
    };
    after.find(overlaps).map(|(name, _)| name)
}

fn first_time(data: &Dataset) -> Option<i64> {
    data.sequences.iter().filter_map(|sequence| sequence.time_ns.first().copied()).min()
}

fn last_time(data: &Dataset) -> Option<i64> {
    data.sequences.iter().filter_map(|sequence| sequence.time_ns.last().copied()).max()
}

pub(crate) fn finite_on_data(subject: &Subject<'_>) -> Check {
    let question = Question::component("finite_on_data", "Is every output finite on every row of both datasets?");
    let refused: usize = subject.traces.iter().map(|trace| trace.refused_rows).sum();
    let rows: usize = subject.traces.iter().map(|trace| trace.observed_rows).sum();
    let reason = if refused == 0 {
        format!("the kernel took all {rows} rows")
    } else {
        format!("the kernel refused {refused} of {rows} rows as not finite: each would trip the breaker in trading")
    };
    question.answer(Outcome::unless(refused == 0, Outcome::Fail), refused as f64, "0 refused rows".to_owned(), reason)
}

/// Inputs that no data hold, by name: all at a clip, alternating, constant, zero, the largest float; and each alone.
fn extremes(model: &Model) -> Vec<(String, Vec<f32>)> {
    let features = &model.meta().features;
    let d = features.names.len();
    let at = |index: usize, scaled: f32| match (features.median.get(index), features.iqr.get(index)) {
        (Some(median), Some(iqr)) => median + scaled * iqr,
        _ => 0.0,
    };
    // Beyond the clip, so that rounding cannot leave it inside.
    let far = INPUT_CLIP * 1.5;
    let all = |value: &dyn Fn(usize) -> f32| (0..d).map(value).collect::<Vec<f32>>();
    let mut cases = vec![
        ("every input at the upper clip".to_owned(), all(&|index| at(index, far))),
        ("every input at the lower clip".to_owned(), all(&|index| at(index, -far))),
        ("inputs at alternating clips".to_owned(), all(&|index| at(index, if index % 2 == 0 { far } else { -far }))),
        ("every input zero".to_owned(), vec![0.0; d]),
        ("every input constant at its median".to_owned(), all(&|index| at(index, 0.0))),
        ("every input the largest float".to_owned(), vec![f32::MAX; d]),
        ("every input the lowest float".to_owned(), vec![f32::MIN; d]),
    ];
    for (alone, name) in features.names.iter().enumerate() {
        for sign in [far, -far] {
            let values = all(&|index| at(index, if index == alone { sign } else { 0.0 }));
            cases.push((format!("`{name}` alone at the {} clip", if sign > 0.0 { "upper" } else { "lower" }), values));
        }
    }
    cases
}

/// What is out of range in the heads, if anything is.
fn head_fault(heads: &Heads) -> Option<&'static str> {
    let returns = heads.return_mean.iter().chain(&heads.return_log_var);
    if !returns.clone().all(|x| x.is_finite()) {
        return Some("a return head is not finite");
    }
    if !(0.0..=1.0).contains(&heads.up_probability) || !(0.0..=1.0 + 1e-5).contains(&heads.regime.confidence) {
        return Some("a probability is outside 0..1");
    }
    if !(-1.0..=1.0).contains(&heads.action) || !heads.surprise.is_finite() || heads.surprise < -1e-3 {
        return Some("the action is outside −1..1 or the surprise is negative or not finite");
    }
    None
}

pub(crate) fn finite_on_extremes(subject: &Subject<'_>) -> Check {
    let question = Question::component(
        "finite_on_extremes",
        "Is every output finite and in range on inputs at ±8, zero and constant?",
    );
    let cases = extremes(subject.model);
    let positions = [(0.0, 0.0), (1.0, 0.0), (-1.0, 1e6), (f32::MAX, f32::MAX)].map(|(position, cost)| PositionInput {
        position,
        half_spread_bps: cost,
        fee_bps: -cost,
    });
    let fault = cases.iter().find_map(|(name, raw)| {
        let fault = hold(subject, raw, &positions)?;
        Some(format!("{name}: {fault}"))
    });
    let outcome = Outcome::unless(fault.is_none(), Outcome::Fail);
    let held = format!("{} inputs, each held for {EXTREME_STEPS} steps, gave finite outputs in range", cases.len());
    question.answer(outcome, f64::NAN, "all finite, in range".to_owned(), fault.unwrap_or(held))
}

/// Holds an input for some steps; what goes wrong first.
fn hold(subject: &Subject<'_>, raw: &[f32], positions: &[PositionInput]) -> Option<String> {
    let mut latents = LatentStore::new(subject.model, 1);
    let mut decoded = vec![0.0; subject.model.meta().d];
    for step in 0..EXTREME_STEPS {
        let mut latent = latents.latent_mut(0)?;
        for position in positions {
            match subject.kernel.observe(subject.model, &mut latent, raw, *position) {
                Ok(heads) => {
                    if let Some(fault) = head_fault(&heads) {
                        return Some(format!("{fault}, step {step}"));
                    }
                }
                Err(error) => return Some(format!("{error}, step {step}")),
            }
        }
        let is_decoded = subject.kernel.reconstruct(subject.model, &mut latent, &mut decoded);
        if !is_decoded || !decoded.iter().all(|x| x.is_finite()) {
            return Some(format!("the decoded features are not finite, step {step}"));
        }
        subject.kernel.advance(subject.model, &mut latent);
    }
    None
}

pub(crate) fn refuses_non_finite(subject: &Subject<'_>) -> Check {
    let question = Question::component(
        "refuses_non_finite",
        "Is an input that is not finite refused, and the state left as it was?",
    );
    let names = &subject.model.meta().features.names;
    let fault = names.iter().enumerate().find_map(|(index, name)| {
        let mut bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter();
        bad.find(|value| !is_refused(subject, index, *value)).map(|value| format!("`{name}` = {value} was taken"))
    });
    let fault = fault.or_else(|| position_fault(subject));
    let outcome = Outcome::unless(fault.is_none(), Outcome::Fail);
    let held = format!(
        "not-a-number and ±∞ in each of {} inputs, position, spread and fee were refused without a trace",
        names.len()
    );
    question.answer(outcome, f64::NAN, "all refused".to_owned(), fault.unwrap_or(held))
}

/// A store whose latent has seen a few rows.
fn warmed(subject: &Subject<'_>) -> LatentStore {
    let mut latents = LatentStore::new(subject.model, 1);
    for raw in subject.rows().take(10) {
        if let Some(mut latent) = latents.latent_mut(0) {
            subject.kernel.observe(subject.model, &mut latent, raw, PositionInput::default()).ok();
            subject.kernel.advance(subject.model, &mut latent);
        }
    }
    latents
}

fn is_refused(subject: &Subject<'_>, index: usize, value: f32) -> bool {
    let mut latents = warmed(subject);
    let before: Vec<u8> = latents.bytes().collect();
    let mut raw = subject.model.meta().features.median.clone();
    if let Some(x) = raw.get_mut(index) {
        *x = value;
    }
    let result = latents
        .latent_mut(0)
        .map(|mut latent| subject.kernel.observe(subject.model, &mut latent, &raw, PositionInput::default()));
    let expected = u32::try_from(index).map(|index| Err(NonFinite::Feature { index }));
    result == expected.ok() && latents.bytes().eq(before)
}

fn position_fault(subject: &Subject<'_>) -> Option<String> {
    let good = PositionInput::default();
    let bad = [
        ("position", PositionInput { position: f32::NAN, ..good }),
        ("half-spread", PositionInput { half_spread_bps: f32::INFINITY, ..good }),
        ("fee", PositionInput { fee_bps: f32::NAN, ..good }),
    ];
    let raw = &subject.model.meta().features.median;
    let taken = bad.into_iter().find(|(_, position)| {
        let mut latents = warmed(subject);
        let result =
            latents.latent_mut(0).map(|mut latent| subject.kernel.observe(subject.model, &mut latent, raw, *position));
        result != Some(Err(NonFinite::Position))
    });
    taken.map(|(name, _)| format!("a {name} that is not finite was taken"))
}

/// Every bit that a run over the first rows gives: heads and states.
fn run_bits(subject: &Subject<'_>, kernel: &Kernel) -> Vec<u32> {
    let mut latents = LatentStore::new(subject.model, 1);
    let mut bits = Vec::new();
    for raw in subject.rows() {
        if let Some(mut latent) = latents.latent_mut(0) {
            match kernel.observe(subject.model, &mut latent, raw, PositionInput::default()) {
                Ok(heads) => bits.extend(head_bits(&heads)),
                Err(_) => bits.push(u32::MAX),
            }
            kernel.advance(subject.model, &mut latent);
            bits.extend(latent.h().chain(latent.prior_mean()).map(f32::to_bits));
        }
    }
    bits
}

fn head_bits(heads: &Heads) -> impl Iterator<Item = u32> {
    let rest = [heads.up_probability, heads.regime.confidence, heads.action, heads.surprise];
    let index = heads.regime.index;
    heads.return_mean.into_iter().chain(heads.return_log_var).chain(rest).map(f32::to_bits).chain([index])
}

pub(crate) fn deterministic(subject: &Subject<'_>) -> Check {
    let question = Question::component("deterministic", "Does the same input give the same bits twice?");
    let is_same = run_bits(subject, &subject.kernel) == run_bits(subject, &subject.kernel);
    let rows = subject.rows().count();
    let said = if is_same { "gave the same bits" } else { "gave different bits" };
    let reason = format!("two runs over {rows} rows {said} in heads and states");
    question.answer(Outcome::unless(is_same, Outcome::Fail), f64::NAN, "same bits".to_owned(), reason)
}

pub(crate) fn backends_agree(subject: &Subject<'_>) -> (Check, Vec<String>) {
    let question =
        Question::component("backends_agree", "Do all vector instruction sets of this machine give the same bits?");
    let expected = run_bits(subject, &subject.kernel);
    let name = |backend: Backend| format!("{backend:?}").to_lowercase();
    let (mut run, mut absent, mut different) = (Vec::new(), Vec::new(), Vec::new());
    for backend in Backend::ALL {
        match Kernel::new(backend) {
            Some(kernel) if run_bits(subject, &kernel) == expected => run.push(name(backend)),
            Some(_) => different.push(name(backend)),
            None => absent.push(name(backend)),
        }
    }
    let mut reason = format!("same bits over {} rows: {}", subject.rows().count(), run.join(", "));
    if !different.is_empty() {
        reason = format!("{} differ from {:?}; {reason}", different.join(", "), subject.kernel.backend());
    }
    if !absent.is_empty() {
        reason = format!("{reason}; not on this machine and not tried: {}", absent.join(", "));
    }
    let outcome = Outcome::unless(different.is_empty(), Outcome::Fail);
    (question.answer(outcome, different.len() as f64, "0 that differ".to_owned(), reason), run)
}

pub(crate) fn equals_reference(subject: &Subject<'_>) -> Result<(Check, f64), ValidateError> {
    let question =
        Question::component("equals_reference", "Does the fast kernel equal the plain f64 computation, step by step?");
    let mut reference = Reference::load(subject.bytes)?;
    let (mut worst, mut rows) = (0.0_f64, 0_usize);
    subject.probe(|latents, raw| {
        if let Some(mut latent) = latents.latent_mut(0) {
            reference.h = latent.h().map(f64::from).collect();
            let Ok(heads) = subject.kernel.observe(subject.model, &mut latent, raw, PositionInput::default()) else {
                return Ok(());
            };
            let expected = reference.observe(raw, [0.0; 3]);
            subject.kernel.advance(subject.model, &mut latent);
            reference.advance();
            let heads = head_difference(&heads, &expected);
            let states = latent.h().map(f64::from).zip(reference.h.iter().copied());
            worst = states.map(|(got, expected)| relative(got, expected)).fold(worst.max(heads), f64::max);
            rows += 1;
        }
        Ok(())
    })?;
    if rows == 0 {
        worst = f64::INFINITY;
    }
    let (outcome, threshold) =
        at_most(worst, subject.settings.reference_difference_max, subject.settings.reference_difference_max);
    let reason = format!("largest difference {} of 1 + |value| over heads and states of {rows} steps", figure(worst));
    Ok((question.answer(outcome, worst, threshold, reason), worst))
}

/// Infinite where there is no difference, such as between a number and none: a maximum would lose it.
fn relative(got: f64, expected: f64) -> f64 {
    let difference = (got - expected).abs() / (1.0 + expected.abs());
    if difference.is_nan() { f64::INFINITY } else { difference }
}

fn head_difference(got: &Heads, expected: &ReferenceHeads) -> f64 {
    let means = got.return_mean.iter().zip(&expected.return_mean);
    let returns = means.chain(got.return_log_var.iter().zip(&expected.return_log_var));
    let rest = [
        (got.up_probability, expected.up_probability),
        (got.action, expected.action),
        (got.surprise, expected.surprise),
        (got.regime.confidence, expected.regimes.iter().copied().fold(0.0, f64::max)),
    ];
    let returns = returns.map(|(got, expected)| relative(f64::from(*got), *expected));
    returns.chain(rest.map(|(got, expected)| relative(f64::from(got), expected))).fold(0.0, f64::max)
}
