//! What the heads say of the future: the probability of an up-move (calibration, sharpness) and expected returns.

use peregrine_model::{Horizon, HorizonUnit};
use peregrine_stats::calibration::{BinEdges, brier, log_loss, reliability};
use serde::Serialize;

use crate::collect::Trace;
use crate::error::ValidateError;
use crate::reconstruction::cell;
use crate::resample::{Losses, ROWS_MIN, Resample};
use crate::settings::{CalibrationSettings, ReturnSettings, SampleSettings};
use crate::verdict::{Check, Estimate, Outcome, Question, above, at_most, figure};

/// One bin of the reliability curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Rows whose probability lies in the bin.
    pub count: usize,
    /// Their mean probability.
    pub probability: f64,
    /// Share of them that went up.
    pub frequency: f64,
    /// Interval of that share, as if rows were independent (Wilson 1927).
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The probability of an up-move (return over the first horizon above 0) on one dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibrationFacts {
    /// Rows with a known outcome.
    pub rows: usize,
    /// Distinct times of the rows drawn from over the bootstrap's block length: about how many are independent.
    pub effective_rows: f64,
    /// Share of up-moves.
    pub base_rate: f64,
    /// Expected calibration error with right-closed bins of equal width, binary form.
    pub ece: Estimate,
    /// Brier score.
    pub brier: f64,
    /// `1 − Brier / Brier of always saying the training share`.
    pub brier_skill: Estimate,
    /// Mean logarithmic loss, nats.
    pub log_loss: f64,
    /// Bins that hold rows.
    pub bins: Vec<ReliabilityBin>,
}

/// The expected return over one horizon on one dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReturnFacts {
    /// The horizon.
    pub horizon: Horizon,
    /// Rows with a known return.
    pub rows: usize,
    /// Distinct times of the rows drawn from over the bootstrap's block length, which is at least the horizon: about how
    /// many are independent.
    pub effective_rows: f64,
    /// `1 − squared error / squared deviation from the training mean`. With n horizons its interval is of the level
    /// `1 − (1 − confidence) / n` (Bonferroni), so that the best horizon may be chosen by it.
    pub r2: Estimate,
    /// Mean squared error over the mean predicted variance, as a natural logarithm: 0 when errors are as large as predicted.
    pub variance_log_ratio: f64,
}

/// `10 events`, `1 bar`.
#[must_use]
pub fn horizon_text(horizon: Horizon) -> String {
    let unit = match horizon.unit {
        HorizonUnit::Events => "event",
        HorizonUnit::Milliseconds => return format!("{} ms", horizon.count),
        HorizonUnit::Bars => "bar",
    };
    format!("{} {unit}{}", horizon.count, if horizon.count == 1 { "" } else { "s" })
}

/// A known outcome of the first horizon.
#[derive(Clone, Copy, Debug)]
struct Known {
    time_ns: i64,
    probability: f64,
    is_up: bool,
}

impl Known {
    /// Its part of the Brier score.
    fn loss(&self, probability: f64) -> f64 {
        (probability - number(self.is_up)).powi(2)
    }
}

fn outcomes(trace: &Trace) -> Vec<Known> {
    let rows = trace.time_ns.iter().zip(&trace.up).enumerate();
    let known = rows.filter_map(|(row, (time_ns, up))| {
        let came = cell(&trace.returns, row, 0);
        came.is_finite().then_some(Known { time_ns: *time_ns, probability: *up, is_up: came > 0.0 })
    });
    known.collect()
}

fn pairs(known: &[Known]) -> (Vec<f64>, Vec<bool>) {
    known.iter().map(|known| (known.probability, known.is_up)).unzip()
}

/// Share of up-moves; 0.5 when nothing is known.
pub(crate) fn base_rate(trace: &Trace) -> f64 {
    let known = outcomes(trace);
    if known.is_empty() { 0.5 } else { share(known.iter().map(|known| known.is_up)) }
}

/// Share of what is true.
fn share(outcomes: impl ExactSizeIterator<Item = bool>) -> f64 {
    let count = outcomes.len() as f64;
    outcomes.map(number).sum::<f64>() / count
}

fn number(outcome: bool) -> f64 {
    f64::from(u8::from(outcome))
}

/// Kept rows that a horizon covers: at least so long must a bootstrap block be.
pub(crate) fn overlap(horizon: Horizon, stride: usize) -> usize {
    match horizon.unit {
        HorizonUnit::Events | HorizonUnit::Bars => {
            usize::try_from(horizon.count).unwrap_or(usize::MAX).div_ceil(stride.max(1))
        }
        // How many rows lie in a span of time is left to the data: see the automatic block length.
        HorizonUnit::Milliseconds => 1,
    }
}

/// Evenly thinned to at most `most`, with every how many one was kept.
fn thin<T: Copy>(values: &[T], most: usize) -> (Vec<T>, usize) {
    let step = values.len().div_ceil(most).max(1);
    (values.iter().step_by(step).copied().collect(), step)
}

/// Calibration; `None` when fewer than [`ROWS_MIN`] outcomes are known.
pub(crate) fn calibration(
    trace: &Trace,
    training_rate: f64,
    horizon: Horizon,
    settings: &CalibrationSettings,
    sample: &SampleSettings,
) -> Result<Option<CalibrationFacts>, ValidateError> {
    let known = outcomes(trace);
    if known.len() < ROWS_MIN {
        return Ok(None);
    }
    let (p, y) = pairs(&known);
    let (thinned, step) = thin(&known, sample.sample_rows_max);
    let own: Vec<f64> = thinned.iter().map(|known| known.loss(known.probability)).collect();
    let base: Vec<f64> = thinned.iter().map(|known| known.loss(training_rate)).collect();
    let time_ns: Vec<i64> = thinned.iter().map(|known| known.time_ns).collect();
    let overlap = overlap(horizon, trace.stride * step);
    let losses = Losses { values: &own, time_ns: &time_ns, instruments: trace.instruments, overlap };
    let resample = Resample::of_losses(&losses, sample, "calibration")?;
    let score = brier(&p, &y)?;
    let base_score = known.iter().map(|known| known.loss(training_rate)).sum::<f64>() / y.len() as f64;
    let curve = reliability(&p, &y, settings.bins, BinEdges::RightClosed)?;
    let ece = resample.interval(curve.ece, |draw| {
        let (p, y) = pairs(&draw.iter().filter_map(|index| thinned.get(*index).copied()).collect::<Vec<Known>>());
        reliability(&p, &y, settings.bins, BinEdges::RightClosed).map_or(f64::NAN, |curve| curve.ece)
    })?;
    let bins = curve.count.iter().zip(curve.mean_predicted.iter().zip(&curve.share_positive));
    let bins = bins.filter(|(count, _)| **count > 0).map(|(count, (probability, frequency))| ReliabilityBin {
        count: *count,
        probability: *probability,
        frequency: *frequency,
        low: wilson(*frequency, *count, -1.0),
        high: wilson(*frequency, *count, 1.0),
    });
    Ok(Some(CalibrationFacts {
        rows: y.len(),
        effective_rows: resample.effective_rows(),
        base_rate: share(y.iter().copied()),
        ece,
        brier: score,
        brier_skill: resample.one_minus_ratio(1.0 - score / base_score, &own, &base)?,
        log_loss: log_loss(&p, &y)?,
        bins: bins.collect(),
    }))
}

/// One end of Wilson's interval at 95 %.
fn wilson(share: f64, count: usize, side: f64) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    let n = count as f64;
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    (centre + side * half) / (1.0 + Z * Z / n)
}

/// Mean of each return column over the rows where it is known; 0 when none is.
pub(crate) fn return_means(trace: &Trace) -> Vec<f64> {
    (0..trace.returns.cols)
        .map(|column| {
            let known = (0..trace.rows()).map(|row| cell(&trace.returns, row, column)).filter(|came| came.is_finite());
            let (sum, count) = known.fold((0.0, 0.0), |(sum, count), came| (sum + came, count + 1.0));
            if count > 0.0 { sum / count } else { 0.0 }
        })
        .collect()
}

/// Expected returns, one entry per horizon with at least [`ROWS_MIN`] known returns.
pub(crate) fn returns(
    trace: &Trace,
    horizons: &[Horizon],
    training_means: &[f64],
    sample: &SampleSettings,
) -> Result<Vec<ReturnFacts>, ValidateError> {
    let confidence = 1.0 - (1.0 - sample.confidence) / horizons.len().max(1) as f64;
    let sample = &SampleSettings { confidence, ..*sample };
    let mut facts = Vec::new();
    for (column, (horizon, mean)) in horizons.iter().zip(training_means).enumerate() {
        let known = trace.time_ns.iter().enumerate().filter_map(|(row, time_ns)| {
            let came = cell(&trace.returns, row, column);
            let (hat, log_var) = (cell(&trace.return_mean, row, column), cell(&trace.return_log_var, row, column));
            came.is_finite().then(|| ((came - hat).powi(2), (came - mean).powi(2), log_var.exp(), *time_ns))
        });
        let known: Vec<(f64, f64, f64, i64)> = known.collect();
        if known.len() < ROWS_MIN {
            continue;
        }
        let total = known.iter().fold((0.0, 0.0, 0.0), |sum, row| (sum.0 + row.0, sum.1 + row.1, sum.2 + row.2));
        let (thinned, step) = thin(&known, sample.sample_rows_max);
        let own: Vec<f64> = thinned.iter().map(|row| row.0).collect();
        let base: Vec<f64> = thinned.iter().map(|row| row.1).collect();
        let time_ns: Vec<i64> = thinned.iter().map(|row| row.3).collect();
        let overlap = overlap(*horizon, trace.stride * step);
        let losses = Losses { values: &own, time_ns: &time_ns, instruments: trace.instruments, overlap };
        let resample = Resample::of_losses(&losses, sample, "returns")?;
        facts.push(ReturnFacts {
            horizon: *horizon,
            rows: known.len(),
            effective_rows: resample.effective_rows(),
            r2: resample.one_minus_ratio(1.0 - total.0 / total.1, &own, &base)?,
            variance_log_ratio: (total.0 / total.2).ln(),
        });
    }
    Ok(facts)
}

pub(crate) fn check_calibration(
    training: Option<&CalibrationFacts>,
    held_out: Option<&CalibrationFacts>,
    settings: &CalibrationSettings,
) -> Vec<Check> {
    let ece = Question::latent("calibration", "A1.0", "Do moves happen as often as the model says?");
    let skill =
        Question::latent("brier_skill", "A1.0", "Does the probability of an up-move say more than the base rate?");
    let Some(facts) = held_out else {
        let reason = "too few outcomes are known in the held-out data".to_owned();
        return vec![
            ece.answer(Outcome::Warn, f64::NAN, String::new(), reason.clone()),
            skill.answer(Outcome::Warn, f64::NAN, String::new(), reason),
        ];
    };
    let (outcome, limit) = at_most(facts.ece.value, settings.ece_pass, settings.ece_fail);
    let is_few = facts.rows < settings.rows_min;
    let outcome = if is_few { outcome.max(Outcome::Warn) } else { outcome };
    let mut reason = format!(
        "expected calibration error is {} at n = {} (about {} independent), {} in training, {} of {} bins hold rows",
        facts.ece.text(),
        facts.rows,
        figure(facts.effective_rows),
        training.map_or_else(|| "not known".to_owned(), |facts| facts.ece.text()),
        facts.bins.len(),
        settings.bins
    );
    if is_few {
        reason += &format!("; at least {} rows are wanted", settings.rows_min);
    }
    let first = ece.answer(outcome, facts.ece.value, limit, reason);
    let (outcome, limit) = above(&facts.brier_skill, 0.0);
    let reason = format!(
        "Brier skill over always saying the training share is {} held out, {} in training; without it the calibration above \
         is no merit",
        facts.brier_skill.text(),
        training.map_or_else(|| "not known".to_owned(), |facts| facts.brier_skill.text())
    );
    vec![first, skill.answer(outcome, facts.brier_skill.value, limit, reason)]
}

pub(crate) fn check_returns(
    training: &[ReturnFacts],
    held_out: &[ReturnFacts],
    settings: &ReturnSettings,
) -> Vec<Check> {
    vec![
        skill(training, held_out),
        honest(training, held_out, settings),
        decay(training, held_out, settings),
        spread(held_out, settings),
    ]
}

/// The horizon with the largest lower end: the one that a strategy would use.
fn best(facts: &[ReturnFacts]) -> Option<&ReturnFacts> {
    facts.iter().max_by(|a, b| a.r2.low.total_cmp(&b.r2.low))
}

fn each(facts: &[ReturnFacts]) -> String {
    let parts = facts.iter().map(|facts| format!("{}: {}", horizon_text(facts.horizon), facts.r2.text()));
    parts.collect::<Vec<_>>().join("; ")
}

fn skill(training: &[ReturnFacts], held_out: &[ReturnFacts]) -> Check {
    let question = Question::latent("return_r2", "A2.5", "Does the expected return say more than the training mean?");
    let Some(best) = best(held_out) else {
        return question.answer(
            Outcome::Warn,
            f64::NAN,
            String::new(),
            "too few returns are known in the held-out data".to_owned(),
        );
    };
    let (outcome, limit) = above(&best.r2, 0.0);
    let reason = format!(
        "R² by horizon held out: {}; in training: {}; the best held-out horizon decides, by intervals widened for the choice",
        each(held_out),
        each(training)
    );
    question.answer(outcome, best.r2.value, limit, reason)
}

fn honest(training: &[ReturnFacts], held_out: &[ReturnFacts], settings: &ReturnSettings) -> Check {
    let question = Question::latent("return_look_ahead", "A2.5", "Is the forecast of returns too good to be honest?");
    let known = training.iter().chain(held_out).map(|facts| facts.r2.value);
    let Some(most) = known.max_by(f64::total_cmp) else {
        let reason = "too few returns are known in both datasets".to_owned();
        return question.answer(Outcome::Warn, f64::NAN, String::new(), reason);
    };
    let is_honest = most <= settings.r2_suspicious;
    let reason = if is_honest {
        format!("the largest R² is {}", figure(most))
    } else {
        format!("an R² of {} is not to be had from a market: a feature very likely holds the future", figure(most))
    };
    question.answer(Outcome::unless(is_honest, Outcome::Fail), most, format!("≤ {}", settings.r2_suspicious), reason)
}

fn decay(training: &[ReturnFacts], held_out: &[ReturnFacts], settings: &ReturnSettings) -> Check {
    let question = Question::latent(
        "return_decay",
        "A2.5",
        "Does the forecast of returns hold on data that it was not trained on?",
    );
    let pairs = training.iter().filter_map(|before| {
        let after = held_out.iter().find(|after| after.horizon == before.horizon)?;
        Some((before.r2.value - after.r2.value, before))
    });
    let Some((lost, worst)) = pairs.max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return question.answer(
            Outcome::Warn,
            f64::NAN,
            String::new(),
            "no horizon is known in both datasets".to_owned(),
        );
    };
    let outcome = Outcome::unless(lost <= settings.r2_decay_max, Outcome::Fail);
    let reason = format!("R² loses most over {}: {}", horizon_text(worst.horizon), figure(lost));
    question.answer(outcome, lost, format!("loses ≤ {}", settings.r2_decay_max), reason)
}

fn spread(held_out: &[ReturnFacts], settings: &ReturnSettings) -> Check {
    let question = Question::latent("return_variance", "A2.5", "Are errors of returns as large as the model says?");
    let worst = held_out.iter().max_by(|a, b| a.variance_log_ratio.abs().total_cmp(&b.variance_log_ratio.abs()));
    let Some(worst) = worst else {
        return question.answer(
            Outcome::Warn,
            f64::NAN,
            String::new(),
            "too few returns are known in the held-out data".to_owned(),
        );
    };
    let value = worst.variance_log_ratio;
    let outcome = Outcome::unless(value.abs() <= settings.variance_log_ratio_max, Outcome::Warn);
    let reason = format!(
        "over {} the squared error is {} times the predicted variance held out, the farthest of the horizons",
        horizon_text(worst.horizon),
        figure(value.exp())
    );
    question.answer(outcome, value, format!("|ln ratio| ≤ {}", settings.variance_log_ratio_max), reason)
}
