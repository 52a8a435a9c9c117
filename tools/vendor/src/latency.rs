//! How old a vendor's word is when it arrives: receive time less the vendor's time stamp, by kind.
//!
//! Two clocks measure it: it is true as far as they agree, and a stamp ahead of our clock is counted and left out. A
//! stamp in milliseconds or seconds is cut, so that up to one unit is its own.

use std::fmt;

use hdrhistogram::Histogram;
use peregrine_types::{EpochNanos, Nanos};

use crate::update::What;

/// Longest latency that is told from a longer one: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
const KIND_COUNT: usize = 5;
const NAMES: [&str; KIND_COUNT] = ["quote", "trade", "cancel", "state", "depth"];

/// Latencies of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyReport {
    /// Messages with a time stamp that is not ahead of our clock.
    pub count: u64,
    /// Median.
    pub p50: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
    /// Longest.
    pub max: Nanos,
    /// Stamps ahead of our clock.
    pub ahead_count: u64,
    /// Messages beyond the bound.
    pub over_bound_count: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct LatencyMonitor {
    bound: Nanos,
    kinds: [Option<Histogram<u64>>; KIND_COUNT],
    ahead: [u64; KIND_COUNT],
    over_bound: [u64; KIND_COUNT],
}

const fn kind_of(what: &What) -> usize {
    match what {
        What::Quote { .. } => 0,
        What::Trade { .. } => 1,
        What::Broken { .. } => 2,
        What::State { .. } | What::UnmappedState => 3,
        What::Depth { .. } => 4,
    }
}

impl LatencyMonitor {
    /// Nothing measured; beyond `bound` a message counts as late.
    #[must_use]
    pub fn new(bound: Nanos) -> Self {
        Self { bound, kinds: Default::default(), ahead: [0; KIND_COUNT], over_bound: [0; KIND_COUNT] }
    }

    /// One message: `time` is the vendor's.
    pub fn record(&mut self, what: &What, time: EpochNanos, received: EpochNanos) {
        let kind = kind_of(what);
        let Some(((slot, ahead), over)) =
            self.kinds.get_mut(kind).zip(self.ahead.get_mut(kind)).zip(self.over_bound.get_mut(kind))
        else {
            return;
        };
        let latency = received.since(time);
        let Ok(nanos) = u64::try_from(latency.0) else {
            *ahead = ahead.saturating_add(1);
            return;
        };
        *over = over.saturating_add(u64::from(latency > self.bound));
        // Two significant digits: within a hundredth of the value.
        if slot.is_none() {
            *slot = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 2).ok();
        }
        if let Some(histogram) = slot {
            histogram.saturating_record(nanos);
        }
    }

    /// What was measured, by kind; kinds that never came are left out.
    #[must_use]
    pub fn reports(&self) -> Vec<(&'static str, LatencyReport)> {
        let all = NAMES.iter().zip(&self.kinds).zip(&self.ahead).zip(&self.over_bound);
        all.filter(|(((_, slot), ahead), _)| slot.is_some() || **ahead > 0)
            .map(|(((name, slot), ahead), over)| (*name, report(slot.as_ref(), *ahead, *over)))
            .collect()
    }

    /// Whether a kind's 99th percentile is beyond the bound.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.reports().iter().any(|(_, report)| report.p99 > self.bound)
    }

    /// Forgets what was measured: the next interval begins.
    pub fn reset(&mut self) {
        *self = Self::new(self.bound);
    }
}

fn report(histogram: Option<&Histogram<u64>>, ahead_count: u64, over_bound_count: u64) -> LatencyReport {
    let Some(histogram) = histogram else {
        return LatencyReport { ahead_count, over_bound_count, ..LatencyReport::default() };
    };
    let nanos = |value: u64| Nanos(i64::try_from(value).unwrap_or(i64::MAX));
    LatencyReport {
        count: histogram.len(),
        p50: nanos(histogram.value_at_quantile(0.5)),
        p99: nanos(histogram.value_at_quantile(0.99)),
        max: nanos(histogram.max()),
        ahead_count,
        over_bound_count,
    }
}

impl fmt::Display for LatencyMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reports = self.reports();
        if reports.is_empty() {
            return write!(f, "latency: no message with a time stamp");
        }
        write!(f, "latency")?;
        for (name, report) in reports {
            let LatencyReport { count, p50, p99, max, ahead_count, over_bound_count } = report;
            write!(f, "; {name}: {count}, p50 {} us, p99 {} us", p50.0 / 1_000, p99.0 / 1_000)?;
            write!(f, ", max {} us, {over_bound_count} beyond the bound", max.0 / 1_000)?;
            if ahead_count > 0 {
                write!(f, ", {ahead_count} ahead of this clock")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::Amount;

    const QUOTE: What = What::Quote { bid: Amount { price: 0, size: 0 }, ask: Amount { price: 0, size: 0 } };

    #[test]
    fn percentiles_stamps_ahead_and_messages_beyond_the_bound() {
        let mut monitor = LatencyMonitor::new(Nanos::from_millis(90));
        assert_eq!(monitor.to_string(), "latency: no message with a time stamp");
        for millis in 1..=100 {
            monitor.record(&QUOTE, EpochNanos(0), EpochNanos(millis * 1_000_000));
        }
        monitor.record(&QUOTE, EpochNanos(1), EpochNanos(0));
        monitor.record(&What::UnmappedState, EpochNanos(5), EpochNanos(4));
        let reports = monitor.reports();
        assert_eq!(reports.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["quote", "state"]);
        let (quote, state) = (reports[0].1, reports[1].1);
        assert_eq!((quote.count, quote.ahead_count, quote.over_bound_count), (100, 1, 10));
        let within = |value: Nanos, millis: i64| (value.0 - millis * 1_000_000).abs() <= millis * 10_000;
        assert!(within(quote.p50, 50) && within(quote.p99, 99) && within(quote.max, 100), "{quote:?}");
        assert_eq!((state.count, state.ahead_count), (0, 1));
        assert!(monitor.is_late());
        monitor.reset();
        assert!(monitor.reports().is_empty() && !monitor.is_late());
    }
}
