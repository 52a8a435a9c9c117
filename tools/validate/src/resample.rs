//! Intervals: one set of stationary-bootstrap draws per sample, shared by every figure on that sample.
//!
//! What is drawn are *times*: every row of a drawn time comes with it. Rows of many instruments at one time share the news
//! of that time; drawn one by one they would count as so many witnesses, and the intervals would be far too narrow.

use peregrine_stats::baselines::growth_exponent;
use peregrine_stats::{Resampling, StationaryBootstrap, percentile_interval, random::Generator};

use crate::collect::Trace;
use crate::error::ValidateError;
use crate::settings::SampleSettings;
use crate::verdict::Estimate;

/// Fewest rows for an interval.
pub(crate) const ROWS_MIN: usize = 50;

/// Losses in any order, with what is known of how they depend on each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses<'a> {
    pub(crate) values: &'a [f64],
    /// Time of each, nanoseconds.
    pub(crate) time_ns: &'a [i64],
    /// How many instruments they are of.
    pub(crate) instruments: usize,
    /// How many neighbouring losses of one instrument share something; 1 when none do.
    pub(crate) overlap: usize,
}

impl Losses<'_> {
    /// Positions by time, and the mean loss of each time.
    fn by_time(&self) -> (Vec<Vec<usize>>, Vec<f64>) {
        let mut order: Vec<(i64, usize)> = self.time_ns.iter().copied().zip(0..self.values.len()).collect();
        order.sort_unstable();
        let groups = order.chunk_by(|(a, _), (b, _)| a == b);
        let positions: Vec<Vec<usize>> = groups.map(|group| group.iter().map(|(_, index)| *index).collect()).collect();
        let means = positions.iter().map(|positions| total(self.values, positions) / positions.len() as f64).collect();
        (positions, means)
    }

    /// Times that [`Self::overlap`] spans: as many where all instruments share their times, more where each has its own.
    fn overlap_times(&self, times: usize) -> f64 {
        let per_row = times as f64 * self.instruments.max(1) as f64 / self.values.len().max(1) as f64;
        (self.overlap as f64 * per_row.max(1.0)).ceil()
    }
}

/// Draws of row numbers from a sample, in blocks of time as long as the rows depend on each other.
#[derive(Clone, Debug)]
pub(crate) struct Resample {
    rows: Vec<usize>,
    draws: Vec<Vec<usize>>,
    times: usize,
    resampling: Resampling,
}

impl Resample {
    /// For losses; draws index into them.
    pub(crate) fn of_losses(losses: &Losses<'_>, sample: &SampleSettings, stream: &str) -> Result<Self, ValidateError> {
        Self::new((0..losses.values.len()).collect(), losses, sample, stream)
    }

    /// For evenly chosen rows of a trace, with the block length of their reconstruction error.
    pub(crate) fn of_trace(trace: &Trace, sample: &SampleSettings) -> Result<Self, ValidateError> {
        let step = trace.rows().div_ceil(sample.sample_rows_max).max(1);
        let rows: Vec<usize> = (0..trace.rows()).step_by(step).collect();
        let error = |row: &usize| {
            let pairs = trace.x.row(*row).iter().zip(trace.x_hat.row(*row));
            pairs.map(|(x, x_hat)| (x - x_hat).powi(2)).sum::<f64>()
        };
        let values: Vec<f64> = rows.iter().map(error).collect();
        let time_ns: Vec<i64> = rows.iter().filter_map(|row| trace.time_ns.get(*row).copied()).collect();
        let losses = Losses { values: &values, time_ns: &time_ns, instruments: trace.instruments, overlap: 1 };
        Self::new(rows, &losses, sample, "rows")
    }

    fn new(
        rows: Vec<usize>,
        losses: &Losses<'_>,
        sample: &SampleSettings,
        stream: &str,
    ) -> Result<Self, ValidateError> {
        let mut generator = Generator::new(sample.seed, stream);
        let seed = u64::try_from(generator.index(usize::MAX)).unwrap_or(sample.seed);
        let base = Resampling { resamples: sample.bootstrap_draws, block_size: 1.0, level: sample.confidence, seed };
        let (positions, means) = losses.by_time();
        let times = positions.len();
        let automatic = base.with_blocks_for(&means);
        // A block longer than a tenth of the sample would leave nothing to draw from.
        let most = (times as f64 / 10.0).max(1.0);
        let block_size = automatic.block_size.max(losses.overlap_times(times)).min(most);
        let resampling = Resampling { block_size, ..automatic };
        let drawn = StationaryBootstrap::new(times.max(1), block_size, seed)?.take(sample.bootstrap_draws);
        let draws = drawn.map(|draw| draw.iter().filter_map(|time| positions.get(*time)).flatten().copied().collect());
        Ok(Self { rows, draws: draws.collect(), times, resampling })
    }

    /// The chosen rows; draws index into them.
    pub(crate) fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Mean block length, in distinct times of the sample.
    pub(crate) fn block_len(&self) -> f64 {
        self.resampling.block_size
    }

    /// Distinct times over the block length: about how many are independent.
    pub(crate) fn effective_rows(&self) -> f64 {
        self.times as f64 / self.block_len()
    }

    /// The interval of a statistic of drawn rows around its value. Without ends where the statistic is not defined on most
    /// draws or there are too few times.
    pub(crate) fn interval(&self, value: f64, statistic: impl Fn(&[usize]) -> f64) -> Result<Estimate, ValidateError> {
        if self.times < ROWS_MIN {
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
        // An error of exactly 0 has no logarithm: a perfect predictor has no exponent.
        let exponent =
            |errors: &[f64]| growth_exponent(errors, self.resampling.level).map_or(f64::NAN, |found| found.exponent);
        let all: Vec<f64> = by_step.iter().map(|losses| losses.iter().sum()).collect();
        self.interval(exponent(&all), |draw| {
            exponent(&by_step.iter().map(|losses| total(losses, draw)).collect::<Vec<f64>>())
        })
    }
}

/// Sum of the drawn values.
pub(crate) fn total(values: &[f64], draw: &[usize]) -> f64 {
    draw.iter().map(|index| values.get(*index).copied().unwrap_or(f64::NAN)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: SampleSettings = SampleSettings {
        seed: 3,
        warm_up_rows: 0,
        rows_max: 100_000,
        sample_rows_max: 100_000,
        origins_max: 100_000,
        bootstrap_draws: 300,
        confidence: 0.95,
    };

    fn width(values: &[f64], time_ns: &[i64], instruments: usize) -> f64 {
        let losses = Losses { values, time_ns, instruments, overlap: 1 };
        let found = Resample::of_losses(&losses, &SAMPLE, "test").unwrap().mean(values).unwrap();
        found.high - found.low
    }

    /// Ten copies of one series under ten names are one witness, not ten.
    #[test]
    fn copies_of_an_instrument_do_not_narrow_an_interval() {
        let mut generator = Generator::new(5, "copies");
        let series: Vec<f64> = (0..400).map(|_| generator.normal()).collect();
        let times: Vec<i64> = (0..400).collect();
        let alone = width(&series, &times, 1);
        let repeated = |count| std::iter::repeat_n(&series, count).flatten().copied().collect::<Vec<f64>>();
        let at_once: Vec<i64> = std::iter::repeat_n(&times, 10).flatten().copied().collect();
        let copied = width(&repeated(10), &at_once, 10);
        assert!((copied / alone - 1.0).abs() < 0.1, "{copied} against {alone}");
        // The control: at times of their own they would be taken for ten times as much.
        let apart: Vec<i64> = (0..4_000).collect();
        assert!(width(&repeated(10), &apart, 1) < 0.5 * alone);
    }

    #[test]
    fn overlap_is_in_rows_of_one_instrument() {
        let values = vec![0.0; 1_000];
        let together: Vec<i64> = (0..1_000).map(|row| row % 100).collect();
        let apart: Vec<i64> = (0..1_000).collect();
        let of = |time_ns| Losses { values: &values, time_ns, instruments: 10, overlap: 5 };
        assert!((of(&together).overlap_times(100) - 5.0).abs() < 1e-9);
        assert!((of(&apart).overlap_times(1_000) - 50.0).abs() < 1e-9);
    }
}
