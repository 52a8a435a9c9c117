//! The stationary bootstrap, its block length, and intervals from it.

use crate::descriptive::{mean, standard_deviation};
use crate::error::{StatsError, check_count, check_finite, check_len, check_range};
use crate::quantile::{floor_index, quantiles};
use crate::random::Generator;

/// An interval and how it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end, ≥ lower.
    pub upper: f64,
    /// Share of the distribution inside, 0..1.
    pub level: f64,
}

impl Interval {
    /// Whether a value is inside, ends included.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.lower..=self.upper).contains(&value)
    }
}

/// Index row of one resample from given draws (Politis & Romano 1994): `i_0 = s_0`, then `i_t = (i_{t−1} + 1) mod T` when
/// `u_t > 1/block_size`, else `s_t`; `u_0` is not used.
///
/// # Errors
/// [`StatsError::Length`] when starts and uniforms differ, [`StatsError::OutOfRange`] for a block size below 1, a start beyond
/// T − 1 or a uniform outside of 0..=1.
pub fn stationary_indices(starts: &[usize], uniforms: &[f64], block_size: f64) -> Result<Vec<usize>, StatsError> {
    let count = starts.len();
    check_len("uniforms", uniforms.len(), count)?;
    check_block(block_size)?;
    if let Some(index) = starts.iter().position(|start| *start >= count) {
        let value = starts[index] as f64;
        return Err(StatsError::OutOfRange { what: "starts", index, value, range: "0 to T − 1" });
    }
    if let Some(index) = uniforms.iter().position(|uniform| !(0.0..=1.0).contains(uniform)) {
        return Err(StatsError::OutOfRange { what: "uniforms", index, value: uniforms[index], range: "0 to 1" });
    }
    let mut out = Vec::with_capacity(count);
    let mut previous = None;
    for (start, uniform) in starts.iter().zip(uniforms) {
        let next = match previous {
            Some(index) if *uniform > 1.0 / block_size => (index + 1) % count,
            Some(_) | None => *start,
        };
        out.push(next);
        previous = Some(next);
    }
    Ok(out)
}

fn check_block(block_size: f64) -> Result<(), StatsError> {
    check_range("block_size", block_size, |size| size >= 1.0 && size.is_finite(), "1 or more")
}

/// Resamples of a series of `count` values, drawn from a seed: an endless iterator of index rows.
#[derive(Clone, Debug)]
pub struct StationaryBootstrap {
    generator: Generator,
    count: usize,
    restart: f64,
}

impl StationaryBootstrap {
    /// Resamples of `count` values in blocks of the mean length `block_size` (1: independent draws).
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without a value, [`StatsError::OutOfRange`] for a block size below 1.
    pub fn new(count: usize, block_size: f64, seed: u64) -> Result<Self, StatsError> {
        check_count("the series", count, 1)?;
        check_block(block_size)?;
        Ok(Self { generator: Generator::new(seed, "stationary bootstrap"), count, restart: 1.0 / block_size })
    }
}

impl Iterator for StationaryBootstrap {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        let mut index = self.generator.index(self.count);
        let mut row = Vec::with_capacity(self.count);
        row.push(index);
        for _ in 1..self.count {
            let is_continued = self.generator.uniform() > self.restart;
            index = if is_continued { (index + 1) % self.count } else { self.generator.index(self.count) };
            row.push(index);
        }
        Some(row)
    }
}

/// Mean block lengths that minimise the error of the variance of the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockLength {
    /// For the stationary bootstrap. May be below 1: use 1 then.
    pub stationary: f64,
    /// For the circular bootstrap.
    pub circular: f64,
}

/// Politis & White 2004 with the correction of Patton, Politis & White 2009: lag m by the first run of
/// `max(5, ⌊log₁₀ n⌋)` insignificant autocorrelations, flat-top weights, both capped at `⌈min(3√n, n/3)⌉`. The
/// conventions are those of the `arch` library.
///
/// # Errors
/// [`StatsError::TooFew`] below 8 values, [`StatsError::NonFinite`], [`StatsError::Degenerate`] for a constant or when the
/// estimated long-run variance is 0.
pub fn optimal_block_length(x: &[f64]) -> Result<BlockLength, StatsError> {
    check_count("x", x.len(), 8)?;
    let (mean, n) = (mean(x)?, x.len() as f64);
    if crate::correlation::is_constant(x) {
        return Err(StatsError::Degenerate { what: "x", why: "a constant has no block length" });
    }
    let centred: Vec<f64> = x.iter().map(|x| x - mean).collect();
    let run = floor_index(n.log10()).max(5);
    let lag_max = floor_index(n.sqrt().ceil()) + run;
    let (covariances, correlations) = autocovariances(&centred, lag_max);
    let band = 2.0 * (n.log10() / n).sqrt();
    let is_quiet = |start: &usize| correlations[*start..*start + run].iter().all(|value| *value < band);
    let quiet = (0..=lag_max - run).find(is_quiet);
    let lag = quiet.map_or(lag_max, |start| 2 * start.max(1)).min(lag_max);
    let (mut spread, mut long_run) = (0.0, covariances[0]);
    for (k, covariance) in covariances.iter().enumerate().take(lag + 1).skip(1) {
        let share = k as f64 / lag as f64;
        let weight = if share <= 0.5 { 1.0 } else { 2.0 * (1.0 - share) };
        spread += 2.0 * weight * k as f64 * covariance;
        long_run += 2.0 * weight * covariance;
    }
    if long_run == 0.0 {
        return Err(StatsError::Degenerate { what: "x", why: "its long-run variance is 0" });
    }
    let most = (3.0 * n.sqrt()).min(n / 3.0).ceil();
    let length = |scale: f64| ((2.0 * spread * spread / (scale * long_run * long_run)).cbrt() * n.cbrt()).min(most);
    Ok(BlockLength { stationary: length(2.0), circular: length(4.0 / 3.0) })
}

/// Autocovariances (divisor n) and absolute autocorrelations of lags 0..=lag_max, as `arch` scales them: by the sums of
/// squares without the first and without the last i + 1 values. NaN where nothing is left.
fn autocovariances(centred: &[f64], lag_max: usize) -> (Vec<f64>, Vec<f64>) {
    let n = centred.len();
    let squares = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    let of_lag = |i: usize| {
        let product: f64 = centred.iter().zip(centred.get(i..).unwrap_or_default()).map(|(a, b)| a * b).sum();
        let late = squares(centred.get(i + 1..).unwrap_or_default());
        let early = squares(centred.get(..n.saturating_sub(i + 1)).unwrap_or_default());
        (product / n as f64, product.abs() / (late * early).sqrt())
    };
    (0..=lag_max).map(of_lag).unzip()
}

/// The equal-tailed interval between the `(1 ∓ level)/2` [`quantile`](crate::quantile)s (linear) of a bootstrap
/// distribution.
///
/// # Errors
/// [`StatsError::TooFew`] without a value, [`StatsError::NonFinite`] (a resample on which the statistic has no value),
/// [`StatsError::OutOfRange`] unless 0 < level < 1.
pub fn percentile_interval(distribution: &[f64], level: f64) -> Result<Interval, StatsError> {
    check_range("level", level, |level| level > 0.0 && level < 1.0, "between 0 and 1")?;
    let tail = (1.0 - level) / 2.0;
    let ends = quantiles(distribution, &[tail, 1.0 - tail])?;
    Ok(Interval { lower: ends[0], upper: ends[1], level })
}

/// How to make a bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// Number of resamples, ≥ 1; 1,000 and more for the ends of a 95 % interval.
    pub resamples: usize,
    /// Mean block length, ≥ 1; 1 for independent values. See [`optimal_block_length`].
    pub block_size: f64,
    /// Share of the distribution inside, 0..1.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Resampling {
    /// 2,000 resamples of independent values, 95 %.
    fn default() -> Self {
        Self { resamples: 2_000, block_size: 1.0, level: 0.95, seed: 1 }
    }
}

impl Resampling {
    /// The same with the block length that [`optimal_block_length`] finds for `x` (1 at least, and 1 where it finds none).
    #[must_use]
    pub fn with_blocks_for(self, x: &[f64]) -> Self {
        let found = optimal_block_length(x).map_or(1.0, |found| found.stationary);
        Self { block_size: if found >= 1.0 { found } else { 1.0 }, ..self }
    }
}

/// Percentile interval of a statistic of `count` values in time order, which it gets as the indices of a resample.
///
/// # Errors
/// As [`StationaryBootstrap::new`] and [`percentile_interval`].
pub fn bootstrap_interval(
    count: usize,
    resampling: &Resampling,
    statistic: impl FnMut(&[usize]) -> f64,
) -> Result<Interval, StatsError> {
    percentile_interval(&bootstrap_distribution(count, resampling, statistic)?, resampling.level)
}

/// The statistic on each resample; what [`bootstrap_interval`] takes its quantiles of.
///
/// # Errors
/// As [`StationaryBootstrap::new`].
pub fn bootstrap_distribution(
    count: usize,
    resampling: &Resampling,
    mut statistic: impl FnMut(&[usize]) -> f64,
) -> Result<Vec<f64>, StatsError> {
    let rows = StationaryBootstrap::new(count, resampling.block_size, resampling.seed)?;
    Ok(rows.take(resampling.resamples.max(1)).map(|row| statistic(&row)).collect())
}

/// Mean of a series and its percentile interval.
///
/// # Errors
/// [`StatsError::NonFinite`], and as [`bootstrap_interval`].
pub fn mean_interval(x: &[f64], resampling: &Resampling) -> Result<(f64, Interval), StatsError> {
    let mean = mean(x)?;
    let of = |row: &[usize]| row.iter().map(|index| x[*index]).sum::<f64>() / row.len() as f64;
    Ok((mean, bootstrap_interval(x.len(), resampling, of)?))
}

/// Difference of two Sharpe ratios on the same periods, by bootstrap.
#[derive(Clone, Debug, PartialEq)]
pub struct SharpeDifference {
    /// Annualised Sharpe ratio of the challenger less that of the champion.
    pub delta: f64,
    /// Percentile interval of 95 %.
    pub interval: Interval,
    /// One-sided p-value of "not better" (centred): `(1 + #{δ*_b − δ ≥ δ})/(B + 1)`.
    pub p_value: f64,
    /// The difference on each resample.
    pub distribution: Vec<f64>,
}

/// Compares the Sharpe ratios (mean / standard deviation with divisor n − 1, times `√periods_per_year`) of two series of
/// returns per period, both resampled by the same rows of `indices`.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 periods or without a row, [`StatsError::Length`], [`StatsError::NonFinite`],
/// [`StatsError::OutOfRange`] for an index beyond the series, [`StatsError::Degenerate`] when a series, or a resample of it, is constant.
pub fn sharpe_difference(
    champion: &[f64],
    challenger: &[f64],
    indices: &[Vec<usize>],
    periods_per_year: f64,
) -> Result<SharpeDifference, StatsError> {
    let n = champion.len();
    check_count("champion", n, 2)?;
    check_len("challenger", challenger.len(), n)?;
    check_finite("champion", champion)?;
    check_finite("challenger", challenger)?;
    check_count("indices", indices.len(), 1)?;
    let year = periods_per_year.sqrt();
    let difference = |a: &[f64], b: &[f64]| Ok((sharpe(b)? - sharpe(a)?) * year);
    let delta = difference(champion, challenger)?;
    let resampled = |row: &Vec<usize>| {
        check_len("a row of indices", row.len(), n)?;
        if let Some(index) = row.iter().position(|index| *index >= n) {
            let value = row[index] as f64;
            return Err(StatsError::OutOfRange { what: "indices", index, value, range: "below the number of periods" });
        }
        let pick = |x: &[f64]| row.iter().map(|index| x[*index]).collect::<Vec<f64>>();
        difference(&pick(champion), &pick(challenger))
    };
    let distribution: Vec<f64> = indices.iter().map(resampled).collect::<Result<_, _>>()?;
    let beyond = distribution.iter().filter(|star| **star - delta >= delta).count();
    let p_value = (1 + beyond) as f64 / (distribution.len() + 1) as f64;
    Ok(SharpeDifference { delta, interval: percentile_interval(&distribution, 0.95)?, p_value, distribution })
}

fn sharpe(x: &[f64]) -> Result<f64, StatsError> {
    let deviation = standard_deviation(x, 1)?;
    if deviation == 0.0 {
        return Err(StatsError::Degenerate { what: "returns", why: "a constant has no Sharpe ratio" });
    }
    Ok(mean(x)? / deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_blocks_of_the_length_asked_and_one_seed_one_row() {
        let mut rows = StationaryBootstrap::new(10_000, 20.0, 3).unwrap();
        let row = rows.next().unwrap();
        let breaks = row.windows(2).filter(|pair| pair[1] != (pair[0] + 1) % 10_000).count();
        assert!((400..600).contains(&breaks), "{breaks}");
        assert_eq!(StationaryBootstrap::new(10_000, 20.0, 3).unwrap().next().unwrap(), row);
        assert_ne!(rows.next().unwrap(), row);
    }

    /// AR(1) with φ = 0.6: the blocks are what makes the interval of the mean as wide as it must be.
    #[test]
    fn the_interval_of_a_dependent_mean_needs_blocks() {
        let mut generator = Generator::new(6, "ar");
        let (runs, mut covered, mut covered_without) = (150, 0, 0);
        for seed in 0..runs {
            let mut level = 0.0;
            let mut step = || {
                level = 0.6 * level + generator.normal();
                level
            };
            let x: Vec<f64> = (0..500).map(|_| step()).skip(100).collect();
            let plain = Resampling { resamples: 300, seed, ..Resampling::default() };
            let blocks = plain.with_blocks_for(&x);
            covered += usize::from(mean_interval(&x, &blocks).unwrap().1.contains(0.0));
            covered_without += usize::from(mean_interval(&x, &plain).unwrap().1.contains(0.0));
        }
        assert!(covered >= 130, "{covered} of {runs}");
        assert!(covered_without < 120, "the control: {covered_without} of {runs}");
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(
            stationary_indices(&[0, 2], &[0.5; 2], 2.0),
            Err(StatsError::OutOfRange { what: "starts", .. })
        ));
        assert!(matches!(
            stationary_indices(&[0], &[f64::NAN], 2.0),
            Err(StatsError::OutOfRange { what: "uniforms", .. })
        ));
        assert!(matches!(stationary_indices(&[0], &[], 2.0), Err(StatsError::Length { .. })));
        assert!(matches!(
            stationary_indices(&[0], &[0.5], 0.5),
            Err(StatsError::OutOfRange { what: "block_size", .. })
        ));
        assert!(matches!(optimal_block_length(&[1.0; 20]), Err(StatsError::Degenerate { .. })));
        assert!(matches!(optimal_block_length(&[1.0; 2]), Err(StatsError::TooFew { .. })));
        assert!(matches!(percentile_interval(&[1.0, f64::NAN], 0.95), Err(StatsError::NonFinite { .. })));
        assert!(matches!(percentile_interval(&[1.0], 1.0), Err(StatsError::OutOfRange { .. })));
        let (flat, x) = ([0.0; 3], [0.1, 0.2, 0.4]);
        assert!(matches!(sharpe_difference(&flat, &x, &[vec![0, 1, 2]], 252.0), Err(StatsError::Degenerate { .. })));
        assert!(matches!(sharpe_difference(&x, &x, &[vec![0, 1, 3]], 252.0), Err(StatsError::OutOfRange { .. })));
    }
}
