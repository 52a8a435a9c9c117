//! The verdict.

use peregrine_dataset::{Dataset, Sequence};
use peregrine_model::{Backend, Heads, Kernel, LatentStore, Model, PositionInput};
use peregrine_stats::calibration::{BinEdges, brier_skill, reliability};
use peregrine_stats::cluster::adjusted_rand_index;
use peregrine_stats::{
    Interval, Resampling, StatsError, bootstrap_interval, newey_west_lags, out_of_sample_r2, standard_normal_quantile,
};
use serde::Serialize;

use super::{TruthData, TruthError, TruthTable};

/// R² that the rounding of a forecast to 32 bits can make: a model that says the training mean and nothing else has not
/// exactly 0.
const R2_ROUNDING: f64 = 1e-6;

/// What a model must reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TruthBars {
    /// Least ratio of the model's adjusted Rand index to the filter's.
    pub regime_ratio_min: f64,
    /// Least ratio of the model's R² at horizon 1 to the filter's.
    pub explained_share_min: f64,
    /// Greatest binary ECE of the probability of an up-move.
    pub ece_max: f64,
    /// Bins of the ECE.
    pub ece_bins: usize,
    /// Level of the intervals of Brier skill and of R² (two-sided).
    pub level: f64,
}

impl Default for TruthBars {
    /// The project's bars: 0.8, 0.9, 0.05 with 10 bins, 95 %.
    fn default() -> Self {
        Self { regime_ratio_min: 0.8, explained_share_min: 0.9, ece_max: 0.05, ece_bins: 10, level: 0.95 }
    }
}

/// What a model says of the held-out rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TruthPredictions {
    /// Most probable regime of each row, by any numbering.
    pub regimes: Vec<usize>,
    /// Expected return over one bar.
    pub return_mean: Vec<f64>,
    /// Probability that it is above 0.
    pub up_probability: Vec<f64>,
}

/// A figure held against a bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was found.
    pub value: f64,
    /// Ends of its interval, where it has one.
    pub interval: Option<(f64, f64)>,
    /// Whether it is within the bar.
    pub holds: bool,
}

/// The regimes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RegimeVerdict {
    /// Adjusted Rand index of the model's regimes with the true ones.
    pub model: f64,
    /// The filter's.
    pub filter: f64,
    /// Number of regimes that the model named.
    pub regimes_found: usize,
    /// Model over filter, against [`TruthBars::regime_ratio_min`].
    pub ratio: Finding,
}

/// The returns over one bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReturnVerdict {
    /// R² of the model against the training rows' mean (Campbell & Thompson 2008), with its interval. In the market without
    /// signal it holds when the interval, or what rounding can make of it, has 0 inside.
    pub model: Finding,
    /// The filter's.
    pub filter: f64,
    /// Model over filter with the interval of a paired bootstrap, against [`TruthBars::explained_share_min`]; `None` in the market without signal.
    pub share: Option<Finding>,
}

/// The probability of an up-move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProbabilityVerdict {
    /// Number of outcomes.
    pub n: usize,
    /// Binary expected calibration error, against [`TruthBars::ece_max`].
    pub ece: Finding,
    /// Brier skill against the training rows' base rate, with its interval: above 0 with a signal; with 0 or less inside without.
    pub skill: Finding,
    /// The filter's skill.
    pub filter_skill: f64,
}

/// Everything together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TruthVerdict {
    /// The bars.
    pub bars: TruthBars,
    /// Whether the market has a signal.
    pub has_signal: bool,
    /// Held-out rows.
    pub rows: usize,
    /// The regimes.
    pub regimes: RegimeVerdict,
    /// The returns.
    pub returns: ReturnVerdict,
    /// The probabilities.
    pub up: ProbabilityVerdict,
}

impl TruthVerdict {
    /// Whether every bar is met.
    #[must_use]
    pub fn holds(&self) -> bool {
        let returns = self.returns.share.map_or(self.returns.model.holds, |share| share.holds);
        self.regimes.ratio.holds && returns && self.up.ece.holds && self.up.skill.holds
    }
}

/// Runs a model over the held-out rows by the trading kernel and judges what it says.
///
/// # Errors
/// [`TruthError::Model`], [`TruthError::Mismatch`], [`TruthError::Row`], and as [`judge_predictions`].
pub fn judge_truth(model: &[u8], data: &TruthData, bars: &TruthBars, seed: u64) -> Result<TruthVerdict, TruthError> {
    judge_predictions(&predict(model, &data.held_out)?, &data.truth, bars, seed)
}

/// What a model says of every row of a dataset, by the trading kernel from the model's start.
///
/// # Errors
/// [`TruthError::Model`], [`TruthError::Mismatch`], [`TruthError::Row`].
pub fn predict(model: &[u8], data: &Dataset) -> Result<TruthPredictions, TruthError> {
    let model = Model::load(model)?;
    let names = data.meta.features.iter().map(String::as_str);
    let mismatch = |what: String| TruthError::Mismatch { what };
    model.check_features(names, &data.meta.feature_hash).map_err(|error| mismatch(error.to_string()))?;
    if model.meta().horizons.first() != data.meta.horizons.first() {
        return Err(mismatch("the first horizon is another one".to_owned()));
    }
    let kernel = Kernel::new(Backend::best()).ok_or_else(|| mismatch("this machine has no kernel".to_owned()))?;
    let mut out = TruthPredictions::default();
    for sequence in &data.sequences {
        for heads in run(&model, &kernel, sequence)? {
            out.regimes.push(usize::try_from(heads.regime.index).unwrap_or(usize::MAX));
            out.return_mean.push(f64::from(heads.return_mean[0]));
            out.up_probability.push(f64::from(heads.up_probability));
        }
    }
    Ok(out)
}

fn run(model: &Model, kernel: &Kernel, sequence: &Sequence) -> Result<Vec<Heads>, TruthError> {
    let mut store = LatentStore::new(model, 1);
    let Some(mut latent) = store.latent_mut(0) else { return Ok(Vec::new()) };
    let mut out = Vec::with_capacity(sequence.rows());
    for (row, x) in sequence.features.chunks_exact(model.meta().d).enumerate() {
        let heads = kernel.observe(model, &mut latent, x, PositionInput::default());
        out.push(heads.map_err(|source| TruthError::Row { row, source })?);
        kernel.advance(model, &mut latent);
    }
    Ok(out)
}

/// Judges predictions, a model's or others. `seed` is that of the bootstrap.
///
/// # Errors
/// [`TruthError::Stats`] when there is not one prediction per row, or one is not finite.
pub fn judge_predictions(
    predictions: &TruthPredictions,
    truth: &TruthTable,
    bars: &TruthBars,
    seed: u64,
) -> Result<TruthVerdict, TruthError> {
    let resampling = Resampling { level: bars.level, seed, ..Resampling::default() };
    Ok(TruthVerdict {
        bars: *bars,
        has_signal: has_signal(truth),
        rows: truth.regimes.len(),
        regimes: regimes(predictions, truth, bars)?,
        returns: returns(predictions, truth, bars, &resampling)?,
        up: probabilities(predictions, truth, bars, &resampling)?,
    })
}

fn has_signal(truth: &TruthTable) -> bool {
    truth.process.return_variance().0 > 0.0
}

fn regimes(predictions: &TruthPredictions, truth: &TruthTable, bars: &TruthBars) -> Result<RegimeVerdict, StatsError> {
    let of_filter: Vec<usize> = truth.filtered.iter().map(|step| step.regime()).collect();
    let model = adjusted_rand_index(&predictions.regimes, &truth.regimes)?;
    let filter = adjusted_rand_index(&of_filter, &truth.regimes)?;
    let found: std::collections::BTreeSet<usize> = predictions.regimes.iter().copied().collect();
    let ratio = model / filter;
    let ratio = Finding { value: ratio, interval: None, holds: ratio >= bars.regime_ratio_min };
    Ok(RegimeVerdict { model, filter, regimes_found: found.len(), ratio })
}

fn returns(
    predictions: &TruthPredictions,
    truth: &TruthTable,
    bars: &TruthBars,
    resampling: &Resampling,
) -> Result<ReturnVerdict, StatsError> {
    let y = &truth.returns;
    let known = vec![truth.mean_return; y.len()];
    let of_filter: Vec<f64> = truth.filtered.iter().map(|step| step.return_mean).collect();
    let lags = newey_west_lags(y.len());
    let model = out_of_sample_r2(y, &predictions.return_mean, &known, lags)?;
    let filter = out_of_sample_r2(y, &of_filter, &known, lags)?;
    let half = standard_normal_quantile(0.5 + bars.level / 2.0)? * model.standard_error;
    let interval = (model.r2 - half, model.r2 + half);
    let holds = interval.0 <= R2_ROUNDING && -R2_ROUNDING <= interval.1;
    let share = if has_signal(truth) {
        let gain = |y: &f64, hat: &f64| (y - truth.mean_return).powi(2) - (y - hat).powi(2);
        let explained = |hat: &[f64]| -> Vec<f64> { y.iter().zip(hat).map(|(y, hat)| gain(y, hat)).collect() };
        let (by_model, by_filter) = (explained(&predictions.return_mean), explained(&of_filter));
        let interval = bootstrap_interval(y.len(), &resampling.with_blocks_for(&by_filter), |rows| {
            let sum = |of: &[f64]| rows.iter().map(|row| of[*row]).sum::<f64>();
            sum(&by_model) / sum(&by_filter)
        })?;
        let value = model.r2 / filter.r2;
        Some(Finding { value, interval: Some(ends(&interval)), holds: value >= bars.explained_share_min })
    } else {
        None
    };
    let model = Finding { value: model.r2, interval: Some(interval), holds: share.is_some() || holds };
    Ok(ReturnVerdict { model, filter: filter.r2, share })
}

fn probabilities(
    predictions: &TruthPredictions,
    truth: &TruthTable,
    bars: &TruthBars,
    resampling: &Resampling,
) -> Result<ProbabilityVerdict, StatsError> {
    let rose: Vec<bool> = truth.returns.iter().map(|value| *value > 0.0).collect();
    let p = &predictions.up_probability;
    let ece = reliability(p, &rose, bars.ece_bins, BinEdges::RightClosed)?.ece;
    let gains: Vec<f64> = p
        .iter()
        .zip(&rose)
        .map(|(p, rose)| {
            let outcome = f64::from(u8::from(*rose));
            (truth.base_rate - outcome).powi(2) - (p - outcome).powi(2)
        })
        .collect();
    let skill = brier_skill(p, &rose, truth.base_rate, &resampling.with_blocks_for(&gains))?;
    let of_filter: Vec<f64> = truth.filtered.iter().map(|step| step.up_probability).collect();
    let filter = brier_skill(&of_filter, &rose, truth.base_rate, &Resampling { resamples: 1, ..*resampling })?;
    let is_sharp = skill.interval.lower > 0.0;
    Ok(ProbabilityVerdict {
        n: skill.n,
        ece: Finding { value: ece, interval: None, holds: ece <= bars.ece_max },
        skill: Finding {
            value: skill.skill,
            interval: Some(ends(&skill.interval)),
            holds: is_sharp == has_signal(truth),
        },
        filter_skill: filter.skill,
    })
}

fn ends(interval: &Interval) -> (f64, f64) {
    (interval.lower, interval.upper)
}
