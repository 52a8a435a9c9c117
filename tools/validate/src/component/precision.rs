//! The accuracy gate of narrower weights on held-out data (docs/model-file.md): may this model trade with them?

use peregrine_model::{AccuracyError, AccuracyReport, DecisionRule, FLIP_SHARE_MAX, Precision, accuracy_gate};
use serde::Serialize;

use crate::component::Subject;
use crate::error::ValidateError;
use crate::settings::PrecisionSettings;
use crate::verdict::{Check, Outcome, Question, percent};

/// What narrower weights change on the first held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PrecisionFacts {
    /// `int16` or `int8`.
    pub precision: &'static str,
    /// Decisions compared with those of 32-bit weights.
    pub decisions: u64,
    /// Decisions with another target.
    pub flips: u64,
    /// The same as a share, 0 to 1; at most [`FLIP_SHARE_MAX`] passes the gate.
    pub flip_share: f64,
    /// Largest difference of the controller's action, 0 to 2.
    pub action_difference_max: f32,
    /// Whether the gate lets this precision trade.
    pub is_allowed: bool,
}

fn facts(report: &AccuracyReport) -> PrecisionFacts {
    PrecisionFacts {
        precision: report.precision.name(),
        decisions: report.decision_count,
        flips: report.flip_count,
        flip_share: report.flip_share(),
        action_difference_max: report.action_difference_max,
        is_allowed: report.verdict().is_ok(),
    }
}

/// Held-out features, whole sequences but for the last, at most `rows` rows.
fn held_out<'a>(subject: &Subject<'a>, rows: usize) -> Vec<&'a [f32]> {
    let [_, fold] = subject.folds;
    let (d, mut left) = (subject.model.meta().d, rows);
    let mut sequences = Vec::new();
    for sequence in &fold.data.sequences {
        let taken = sequence.rows().min(left);
        sequences.extend(sequence.features.get(..taken * d));
        left -= taken;
    }
    sequences
}

pub(crate) fn check(
    subject: &Subject<'_>,
    settings: &PrecisionSettings,
) -> Result<(Check, Vec<PrecisionFacts>), ValidateError> {
    let question = Question::component("narrow_weights", "Does the model decide alike with 16-bit and 8-bit weights?");
    let rule = DecisionRule {
        action_threshold: single(settings.action_threshold),
        action_hysteresis: single(settings.action_hysteresis),
        half_spread_bps: single(settings.half_spread_bps),
        fee_bps: single(settings.fee_bps),
    };
    let sequences = held_out(subject, settings.rows);
    let mut all = Vec::new();
    for precision in [Precision::Int16, Precision::Int8] {
        let narrow = subject.model.quantise(precision)?;
        match accuracy_gate(&subject.kernel, (subject.model, &narrow), &sequences, &rule) {
            Ok(report) => all.push(facts(&report)),
            Err(AccuracyError::Observation { sequence, step, error }) => {
                let reason = format!("{} weights: held-out sequence {sequence}, row {step}: {error}", precision.name());
                return Ok((question.answer(Outcome::Warn, f64::NAN, limit(), reason), all));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let worst = all.iter().map(|facts| facts.flip_share).fold(0.0, f64::max);
    let each = all.iter().map(|facts| {
        let verdict = if facts.is_allowed { "allowed" } else { "refused" };
        let share = percent(facts.flip_share);
        format!("{}: {share} of {} decisions flip, {verdict}", facts.precision, facts.decisions)
    });
    let reason = each.collect::<Vec<_>>().join("; ");
    let is_allowed = all.iter().all(|facts| facts.is_allowed);
    Ok((question.answer(Outcome::unless(is_allowed, Outcome::Warn), worst, limit(), reason), all))
}

#[expect(clippy::cast_possible_truncation, reason = "bounded settings, rounded to the kernel's floats")]
fn single(value: f64) -> f32 {
    value as f32
}

fn limit() -> String {
    format!("≤ {} % of decisions flip", FLIP_SHARE_MAX * 100.0)
}
