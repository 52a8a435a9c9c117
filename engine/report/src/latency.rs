//! One stage's latencies: percentiles, and what a plot needs.

use hdrhistogram::Histogram;
use peregrine_runtime::IntervalReader;
use serde::Serialize;

use crate::format::nanos;

/// Quantiles of the percentile plot, from the median to 99.99 %.
const PLOT_QUANTILES: [f64; 17] =
    [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.9997, 0.9999];
/// Bars per decade of the histogram plot.
const BARS_PER_DECADE: i32 = 10;

/// A point of the percentile plot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LatencyPoint {
    /// Share of all values, 0 to 1.
    pub quantile: f64,
    /// The value that this share does not exceed, in nanoseconds.
    pub value_ns: u64,
}

/// A bar of the histogram plot: the values from the bar before it up to `up_to_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LatencyBucket {
    /// Upper end of the bar in nanoseconds, included; ten bars to a decade.
    pub up_to_ns: u64,
    /// How many values.
    pub count: u64,
}

/// One stage's latencies, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatencyRow {
    /// The stage, such as `decide.observe`.
    pub name: String,
    /// What is measured, from where to where.
    pub measures: String,
    /// Within which limits the figures are true; empty where there are none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// How many values.
    pub count: u64,
    /// How many of them lay outside the histogram's bounds and were clamped to them.
    pub clamped_count: u64,
    /// The least.
    pub min_ns: u64,
    /// The median.
    pub p50_ns: u64,
    /// The 90th percentile.
    pub p90_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The 99.9th percentile.
    pub p999_ns: u64,
    /// The 99.99th percentile.
    pub p9999_ns: u64,
    /// The greatest.
    pub max_ns: u64,
    /// Points of the percentile plot, ascending; only those that the number of values can support.
    pub percentiles: Vec<LatencyPoint>,
    /// Bars of the histogram plot, ascending, without empty ones.
    pub buckets: Vec<LatencyBucket>,
}

impl LatencyRow {
    /// The row of everything that `reader` has taken so far: take its last interval first.
    #[must_use]
    pub fn from_reader(measures: &str, reader: &IntervalReader) -> Self {
        let clamped_count = reader.total().clamped_count;
        Self { clamped_count, ..Self::from_histogram(reader.name(), measures, reader.total_histogram()) }
    }

    /// The row with the limits within which its figures are true.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Least, percentiles 50, 90, 99, 99.9 and 99.99, and greatest, as a table shows them: dashes where no value lay within the
    /// histogram's bounds.
    pub(crate) fn spans(&self) -> [String; 7] {
        let is_known = self.clamped_count < self.count;
        [self.min_ns, self.p50_ns, self.p90_ns, self.p99_ns, self.p999_ns, self.p9999_ns, self.max_ns]
            .map(|span| if is_known { nanos(span) } else { "–".to_owned() })
    }

    /// The row of a histogram of nanoseconds.
    #[must_use]
    pub fn from_histogram(name: &str, measures: &str, histogram: &Histogram<u64>) -> Self {
        let empty = Self { name: name.to_owned(), measures: measures.to_owned(), ..Self::default() };
        if histogram.is_empty() {
            return empty;
        }
        let at = |quantile: f64| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            min_ns: histogram.min(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            p9999_ns: at(0.9999),
            max_ns: histogram.max(),
            percentiles: points(histogram),
            buckets: bars(histogram),
            ..empty
        }
    }
}

/// A quantile beyond the last value would only repeat the maximum.
fn points(histogram: &Histogram<u64>) -> Vec<LatencyPoint> {
    let beyond = |quantile: f64| (1.0 - quantile) * precise(histogram.len());
    let supported = PLOT_QUANTILES.into_iter().filter(|quantile| *quantile <= 0.5 || beyond(*quantile) >= 0.999);
    supported.map(|quantile| LatencyPoint { quantile, value_ns: histogram.value_at_quantile(quantile) }).collect()
}

fn bars(histogram: &Histogram<u64>) -> Vec<LatencyBucket> {
    let mut bars: Vec<LatencyBucket> = Vec::new();
    let (mut exponent, mut up_to_ns) = (0, 1);
    for value in histogram.iter_recorded() {
        while value.value_iterated_to() > up_to_ns {
            exponent += 1;
            up_to_ns = bar_end(exponent);
        }
        match bars.last_mut() {
            Some(bar) if bar.up_to_ns == up_to_ns => bar.count = bar.count.saturating_add(value.count_at_value()),
            Some(_) | None => bars.push(LatencyBucket { up_to_ns, count: value.count_at_value() }),
        }
    }
    bars
}

/// Upper end of bar `exponent`: 10^(exponent/10) nanoseconds, rounded.
pub(crate) fn bar_end(exponent: i32) -> u64 {
    let end = 10_f64.powf(f64::from(exponent) / f64::from(BARS_PER_DECADE)).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating, which is what is wanted")]
    let end = end as u64;
    end
}

/// A count as a float, for plots and shares; exact below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "a share or a pixel needs no more than 53 bits")]
pub(crate) const fn precise(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_runtime::{LatencyBounds, latency_recorder};
    use peregrine_types::Nanos;

    fn row(values: impl Iterator<Item = i64>) -> LatencyRow {
        let (mut recorder, mut reader) = latency_recorder("stage", LatencyBounds::STANDARD).unwrap();
        values.for_each(|nanos| recorder.record(Nanos(nanos)));
        drop(recorder);
        reader.take_interval().unwrap();
        LatencyRow::from_reader("from here to there", &reader)
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let row = row(1..=1_000_000);
        assert_eq!((row.count, row.min_ns, row.name.as_str()), (1_000_000, 1, "stage"));
        for (found, wanted) in
            [(row.p50_ns, 500_000), (row.p99_ns, 990_000), (row.p999_ns, 999_000), (row.p9999_ns, 999_900)]
        {
            assert!(found.abs_diff(wanted) <= wanted / 1_000, "{found} {wanted}");
        }
        assert_eq!(row.percentiles.len(), PLOT_QUANTILES.len());
        assert!(row.percentiles.is_sorted_by_key(|point| point.value_ns));
    }

    #[test]
    fn bars_hold_every_value_once_and_rise() {
        let row = row((0..5_000).map(|index| index * index));
        assert_eq!(row.buckets.iter().map(|bar| bar.count).sum::<u64>(), 5_000);
        assert!(row.buckets.is_sorted_by(|a, b| a.up_to_ns < b.up_to_ns));
        assert!(row.buckets.iter().all(|bar| bar.count > 0));
    }

    #[test]
    fn few_values_claim_no_far_percentile() {
        let row = row(1..=100);
        assert!(row.percentiles.iter().all(|point| point.quantile <= 0.99), "{:?}", row.percentiles);
    }

    #[test]
    fn values_that_all_lie_outside_say_nothing() {
        let outside = row([-5, -7].into_iter());
        assert_eq!((outside.count, outside.clamped_count), (2, 2));
        assert_eq!(outside.spans(), [const { "–" }; 7]);
        let one_within = row([-5, 1_000].into_iter());
        assert_eq!((one_within.clamped_count, one_within.spans()[6].as_str()), (1, "1.00 µs"));
    }

    #[test]
    fn no_value_gives_an_empty_row() {
        let (recorder, reader) = latency_recorder("stage", LatencyBounds::STANDARD).unwrap();
        drop(recorder);
        let row = LatencyRow::from_reader("nothing", &reader);
        assert_eq!((row.count, row.max_ns, row.buckets.len(), row.percentiles.len()), (0, 0, 0, 0));
    }
}
