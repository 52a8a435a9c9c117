//! Intervals: one set of stationary-bootstrap draws per sample, shared by every figure on that sample.

use peregrine_stats::baselines::growth_exponent_bootstrap;
use peregrine_stats::{Matrix, Resampling, StationaryBootstrap, percentile_interval, random::Generator};

use crate::collect::Trace;
use crate::error::ValidateError;
use crate::settings::SampleSettings;
use crate::verdict::Estimate;

/// Fewest rows for an interval.
pub(crate) const ROWS_MIN: usize = 50;

/// Draws of row numbers from a sample, in blocks as long as the rows depend on each other.
#[derive(Clone, Debug)]
pub(crate) struct Resample {
    rows: Vec<usize>,
    draws: Vec<Vec<usize>>,
    resampling: Resampling,
}

impl Resample {
    /// For losses in time order. Blocks are at least `overlap` long: neighbouring losses share that many steps.
    pub(crate) fn of_losses(
        losses: &[f64],
        overlap: usize,
        sample: &SampleSettings,
        stream: &str,
    ) -> Result<Self, ValidateError> {
        Self::new((0..losses.len()).collect(), losses, overlap, sample, stream)
    }

    /// For evenly chosen rows of a trace, with the block length of their reconstruction error.
    pub(crate) fn of_trace(trace: &Trace, sample: &SampleSettings) -> Result<Self, ValidateError> {
        let step = trace.rows().div_ceil(sample.sample_rows_max).max(1);
        let rows: Vec<usize> = (0..trace.rows()).step_by(step).collect();
        let error = |row: &usize| {
            let pairs = trace.x.row(*row).iter().zip(trace.x_hat.row(*row));
            pairs.map(|(x, x_hat)| (x - x_hat).powi(2)).sum::<f64>()
        };
        let losses: Vec<f64> = rows.iter().map(error).collect();
        Self::new(rows, &losses, 1, sample, "rows")
    }

    fn new(
        rows: Vec<usize>,
        losses: &[f64],
        overlap: usize,
        sample: &SampleSettings,
        stream: &str,
    ) -> Result<Self, ValidateError> {
        let mut generator = Generator::new(sample.seed, stream);
        let seed = u64::try_from(generator.index(usize::MAX)).unwrap_or(sample.seed);
        let base = Resampling { resamples: sample.bootstrap_draws, block_size: 1.0, level: sample.confidence, seed };
        let automatic = base.with_blocks_for(losses);
        // A block longer than a tenth of the sample would leave nothing to draw from.
        let most = (losses.len() as f64 / 10.0).max(1.0);
        let block_size = automatic.block_size.max(overlap as f64).min(most);
        let resampling = Resampling { block_size, ..automatic };
        let draws =
            StationaryBootstrap::new(losses.len().max(1), block_size, seed)?.take(sample.bootstrap_draws).collect();
        Ok(Self { rows, draws, resampling })
    }

    /// The chosen rows; draws index into them.
    pub(crate) fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Mean block length.
    pub(crate) fn block_len(&self) -> f64 {
        self.resampling.block_size
    }

    /// Rows over the block length: about how many are independent.
    pub(crate) fn effective_rows(&self) -> f64 {
        self.rows.len() as f64 / self.block_len()
    }

    /// The interval of a statistic of drawn rows around its value. Without ends where the statistic is not defined on most
    /// draws or there are too few rows.
    pub(crate) fn interval(&self, value: f64, statistic: impl Fn(&[usize]) -> f64) -> Result<Estimate, ValidateError> {
        if self.rows.len() < ROWS_MIN {
            return Ok(Estimate { value, ..Estimate::UNKNOWN });
        }
        let drawn: Vec<f64> = self.draws.iter().map(|draw| statistic(draw)).filter(|drawn| drawn.is_finite()).collect();
        if drawn.len() * 10 < self.draws.len() * 9 {
            return Ok(Estimate { value, ..Estimate::UNKNOWN });
        }
        let found = percentile_interval(&drawn, self.resampling.level)?;
        Ok(Estimate { value, low: found.lower, high: found.upper })
    }

    /// `1 − Σ losses / Σ base`, such as an R² or a skill; `value` is the same on all rows.
    pub(crate) fn one_minus_ratio(&self, value: f64, losses: &[f64], base: &[f64]) -> Result<Estimate, ValidateError> {
        self.interval(value, |draw| 1.0 - total(losses, draw) / total(base, draw))
    }

    /// A mean.
    pub(crate) fn mean(&self, losses: &[f64]) -> Result<Estimate, ValidateError> {
        let value = losses.iter().sum::<f64>() / losses.len() as f64;
        self.interval(value, |draw| total(losses, draw) / draw.len() as f64)
    }

    /// The growth exponent of mean losses per step with its interval, each of `by_step` one loss per row.
    pub(crate) fn growth(&self, by_step: &[Vec<f64>]) -> Result<Estimate, ValidateError> {
        let (rows, cols) = (by_step.first().map_or(0, Vec::len), by_step.len());
        let data = (0..rows).flat_map(|row| by_step.iter().filter_map(move |step| step.get(row).copied())).collect();
        let losses = Matrix { data, rows, cols };
        // An error of exactly 0 has no logarithm: a perfect predictor has no exponent.
        Ok(growth_exponent_bootstrap(losses.view("losses")?, &self.resampling).map_or(Estimate::UNKNOWN, |found| {
            Estimate { value: found.exponent, low: found.interval.lower, high: found.interval.upper }
        }))
    }
}

/// Sum of the drawn values.
pub(crate) fn total(values: &[f64], draw: &[usize]) -> f64 {
    draw.iter().map(|index| values.get(*index).copied().unwrap_or(f64::NAN)).sum()
}
