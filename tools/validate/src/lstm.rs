//! The LSTM baseline that the world model must beat: its probability of an up-move on the same rows.

use peregrine_dataset::{Dataset, Sequence};
use peregrine_model::{Kernel, Model};
use peregrine_stats::calibration::{BinEdges, brier, log_loss, reliability};
use peregrine_train::LstmBaseline;
use serde::Serialize;

use crate::collect::Trace;
use crate::error::ValidateError;
use crate::forecast::overlap;
use crate::reconstruction::cell;
use crate::resample::{Losses, ROWS_MIN, Resample};
use crate::settings::{CalibrationSettings, SampleSettings};
use crate::verdict::{Check, Estimate, Outcome, Question, above, figure};

/// The LSTM baseline on one dataset, beside the model on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LstmFacts {
    /// Rows with a known outcome and a whole window before them.
    pub rows: usize,
    /// Brier score of the LSTM.
    pub brier: f64,
    /// Brier score of the model on these rows.
    pub model_brier: f64,
    /// Mean logarithmic loss of the LSTM, nats.
    pub log_loss: f64,
    /// Expected calibration error of the LSTM.
    pub ece: f64,
    /// `1 − Brier of the model / Brier of the LSTM`: above 0 the model is better.
    pub model_skill: Estimate,
}

/// Reads the baseline and checks that it speaks of the same features and the same move.
pub(crate) fn load(bytes: &[u8], model: &Model) -> Result<LstmBaseline, ValidateError> {
    let refused = |what: String| ValidateError::Lstm { what };
    let lstm = LstmBaseline::load(bytes).map_err(|error| refused(error.to_string()))?;
    let (own, meta) = (lstm.meta(), model.meta());
    if own.features.names != meta.features.names || own.features.hash != meta.features.hash {
        return Err(refused("its features are not the model's; train both on one dataset".to_owned()));
    }
    if meta.horizons.first() != Some(&own.horizon) {
        return Err(refused(format!(
            "it predicts {:?}, the model's first horizon is {:?}",
            own.horizon,
            meta.horizons.first()
        )));
    }
    Ok(lstm)
}

/// Outcome, what the model said, what the LSTM said.
struct Said {
    time_ns: i64,
    up: bool,
    model: f64,
    lstm: f64,
}

fn window(sequence: &Sequence, row: usize, rows: usize, d: usize) -> Option<&[f32]> {
    let end = row.checked_add(1)?;
    sequence.features.get(end.checked_sub(rows)? * d..end * d)
}

/// What both said of every `step`th row.
fn said(lstm: &LstmBaseline, kernel: &Kernel, (data, trace): (&Dataset, &Trace), step: usize) -> Vec<Said> {
    let (rows, d) = (lstm.meta().window_rows, lstm.meta().features.names.len());
    let of = |index: usize| {
        let came = cell(&trace.returns, index, 0);
        let sequence = data.sequences.get(*trace.sequence.get(index)?)?;
        let window = window(sequence, *trace.row.get(index)?, rows, d)?;
        let probability = lstm.probability(kernel, window).filter(|_| came.is_finite())?;
        let time_ns = *trace.time_ns.get(index)?;
        Some(Said { time_ns, up: came > 0.0, model: *trace.up.get(index)?, lstm: f64::from(probability) })
    };
    (0..trace.rows()).step_by(step).filter_map(of).collect()
}

/// `None` when too few rows have a window and a known outcome.
pub(crate) fn measure(
    lstm: &LstmBaseline,
    kernel: &Kernel,
    (data, trace): (&Dataset, &Trace),
    sample: &SampleSettings,
    settings: &CalibrationSettings,
) -> Result<Option<LstmFacts>, ValidateError> {
    let step = trace.rows().div_ceil(sample.sample_rows_max).max(1);
    let said = said(lstm, kernel, (data, trace), step);
    if said.len() < ROWS_MIN {
        return Ok(None);
    }
    let up: Vec<bool> = said.iter().map(|said| said.up).collect();
    let (of_model, of_lstm): (Vec<f64>, Vec<f64>) = said.iter().map(|said| (said.model, said.lstm)).unzip();
    let losses =
        |p: &[f64]| p.iter().zip(&up).map(|(p, up)| (p - f64::from(u8::from(*up))).powi(2)).collect::<Vec<f64>>();
    let (own, base) = (losses(&of_model), losses(&of_lstm));
    let differences: Vec<f64> = own.iter().zip(&base).map(|(own, base)| own - base).collect();
    let time_ns: Vec<i64> = said.iter().map(|said| said.time_ns).collect();
    let overlap = overlap(lstm.meta().horizon, trace.stride * step);
    let losses = Losses { values: &differences, time_ns: &time_ns, instruments: trace.instruments, overlap };
    let resample = Resample::of_losses(&losses, sample, "lstm")?;
    let (model_brier, lstm_brier) = (brier(&of_model, &up)?, brier(&of_lstm, &up)?);
    Ok(Some(LstmFacts {
        rows: up.len(),
        brier: lstm_brier,
        model_brier,
        log_loss: log_loss(&of_lstm, &up)?,
        ece: reliability(&of_lstm, &up, settings.bins, BinEdges::RightClosed)?.ece,
        model_skill: resample.one_minus_ratio(1.0 - model_brier / lstm_brier, &own, &base)?,
    }))
}

pub(crate) fn check(training: Option<&LstmFacts>, held_out: Option<&LstmFacts>) -> Check {
    let question =
        Question::latent("beats_lstm", "A2.5", "Does the model say more of the next move than the LSTM baseline?");
    let Some(held_out) = held_out else {
        let reason = "too few held-out rows have a whole window before them and a known outcome".to_owned();
        return question.answer(Outcome::Warn, f64::NAN, String::new(), reason);
    };
    let (outcome, limit) = above(&held_out.model_skill, 0.0);
    let reason = format!(
        "the model's Brier score is smaller by a share of {} held out ({} against the LSTM's {}, n = {}), {} in training",
        held_out.model_skill.text(),
        figure(held_out.model_brier),
        figure(held_out.brier),
        held_out.rows,
        training.map_or_else(|| "not known".to_owned(), |facts| facts.model_skill.text())
    );
    question.answer(outcome, held_out.model_skill.value, limit, reason)
}
