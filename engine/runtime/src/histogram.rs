//! Latency histograms: recorded on the hot path without allocation or waiting, read in intervals off it.
//!
//! A [`LatencyRecorder`] writes into an HDR histogram of its own with fixed bounds (values outside are clamped and
//! counted, the histogram never grows). There are exactly two histograms for each recorder. To read, the
//! [`IntervalReader`] sends the empty one through a ring; the recorder finds it at its next record, swaps the two boxes
//! and sends the full one back through another ring. Both rings hold two boxes and there are only two, so no push can
//! fail: **recording is wait-free**, and whatever the reader does or fails to do costs it at most one swap per request.
//! Adding up, resetting and quantiles happen on the reader's side.

use hdrhistogram::{CreationError, Histogram};
use peregrine_types::{Nanos, Sink};

use crate::ring::{IndexConsumer, IndexProducer, RingConsumer, RingError, RingProducer, index_ring};

/// The bounds of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyBounds {
    /// The largest latency that is told apart, in nanoseconds; at least 2. Larger ones are recorded as this one.
    pub latency_max: Nanos,
    /// Significant decimal digits, 1 to 5: quantiles are off by at most one part in 10 to their power.
    pub significant_digits: u8,
}

impl LatencyBounds {
    /// Up to ten seconds with three digits: about 190 KiB for each of the two histograms, of which a quiet system
    /// touches a few lines.
    pub const STANDARD: Self = Self { latency_max: Nanos(10_000_000_000), significant_digits: 3 };
}

/// Why a recorder could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LatencyBoundsError {
    /// The bounds are not ones that an HDR histogram can have.
    #[error("latency bounds: {0}: use latency_max of at least 2 ns and 1 to 5 significant digits")]
    Bounds(#[from] CreationError),
    /// The largest latency is below zero.
    #[error("latency bounds: latency_max is below zero")]
    Negative,
    /// The rings between the two ends could not be made.
    #[error("latency recorder: {0}")]
    Ring(#[from] RingError),
}

/// A histogram with the count of values that did not fit its bounds.
#[derive(Debug)]
struct Recording {
    histogram: Histogram<u64>,
    clamped_count: u64,
}

impl Recording {
    fn new(bounds: LatencyBounds) -> Result<Self, LatencyBoundsError> {
        let high = u64::try_from(bounds.latency_max.0).map_err(|_| LatencyBoundsError::Negative)?;
        let histogram = Histogram::new_with_bounds(1, high, bounds.significant_digits)?;
        Ok(Self { histogram, clamped_count: 0 })
    }
}

/// The recording end; lives in the role whose latency it records.
#[derive(Debug)]
pub struct LatencyRecorder {
    /// Taken out only by `Drop`.
    active: Option<Box<Recording>>,
    empties: IndexConsumer<Box<Recording>>,
    fulls: IndexProducer<Box<Recording>>,
    latency_max: u64,
}

/// The reading end; lives in the record role or the wiring.
#[derive(Debug)]
pub struct IntervalReader {
    name: String,
    /// The empty histogram while it is not with the recorder.
    spare: Option<Box<Recording>>,
    empties: IndexProducer<Box<Recording>>,
    fulls: IndexConsumer<Box<Recording>>,
    total: Histogram<u64>,
    clamped_count: u64,
}

/// What an interval (or the whole run) says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyFigures {
    /// How many latencies were recorded.
    pub count: u64,
    /// How many of them were below zero or above the bounds, and were clamped.
    pub clamped_count: u64,
    /// The least.
    pub min: Nanos,
    /// The median.
    pub p50: Nanos,
    /// The 90th percentile.
    pub p90: Nanos,
    /// The 99th percentile.
    pub p99: Nanos,
    /// The 99.9th percentile.
    pub p999: Nanos,
    /// The greatest.
    pub max: Nanos,
}

/// A recorder named `name` (such as `decide.event_to_order`) and its reader.
///
/// # Errors
/// [`LatencyBoundsError`] when no histogram can have the bounds.
pub fn latency_recorder(
    name: &str,
    bounds: LatencyBounds,
) -> Result<(LatencyRecorder, IntervalReader), LatencyBoundsError> {
    let (empties_in, empties_out) = index_ring(2)?;
    let (fulls_in, fulls_out) = index_ring(2)?;
    let active = Some(Box::new(Recording::new(bounds)?));
    let spare = Some(Box::new(Recording::new(bounds)?));
    let total = Recording::new(bounds)?.histogram;
    let latency_max = total.high();
    let recorder = LatencyRecorder { active, empties: empties_out, fulls: fulls_in, latency_max };
    let reader =
        IntervalReader { name: name.to_owned(), spare, empties: empties_in, fulls: fulls_out, total, clamped_count: 0 };
    Ok((recorder, reader))
}

impl LatencyRecorder {
    /// Records one latency; never allocates, never waits.
    #[inline]
    pub fn record(&mut self, latency: Nanos) {
        self.answer_request();
        let Some(active) = self.active.as_mut() else { return };
        let value = u64::try_from(latency.0).unwrap_or(0);
        active.clamped_count = active.clamped_count.wrapping_add(u64::from(latency.0 < 0 || value > self.latency_max));
        active.histogram.saturating_record(value.min(self.latency_max));
    }

    /// Gives the reader what it asked for, if it did. [`LatencyRecorder::record`] does so by itself; a role that may
    /// have nothing to record for a while calls this in its idle turns.
    #[inline]
    pub fn answer_request(&mut self) {
        if let Some(empty) = self.empties.pop()
            && let Some(full) = self.active.replace(empty)
        {
            self.send(full);
        }
    }

    /// There are two histograms and the ring holds two, so there is room; without it the box would be freed here.
    #[inline]
    fn send(&mut self, full: Box<Recording>) {
        let result = self.fulls.push(full);
        debug_assert!(result.is_ok(), "two histograms in a ring of two");
    }
}

impl Drop for LatencyRecorder {
    /// The last interval goes to the reader too.
    fn drop(&mut self) {
        if let Some(last) = self.active.take() {
            self.send(last);
        }
    }
}

impl IntervalReader {
    /// The name given at start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the recorder to end its interval; it does so at its next record or idle turn. Does nothing while an
    /// earlier request is not answered.
    pub fn request(&mut self) {
        if let Some(empty) = self.spare.take()
            && let Err(back) = self.empties.push(empty)
        {
            self.spare = Some(back.0);
        }
    }

    /// The figures of an interval that the recorder has ended since the last call; `None` when there is none. The
    /// last one comes after the recorder is dropped.
    pub fn take_interval(&mut self) -> Option<LatencyFigures> {
        let mut full = self.fulls.pop()?;
        let figures = figures_of(&full.histogram, full.clamped_count);
        // Same bounds, so that nothing can be out of range.
        self.total.add(&full.histogram).ok();
        self.clamped_count = self.clamped_count.saturating_add(full.clamped_count);
        full.histogram.reset();
        full.clamped_count = 0;
        self.spare = Some(full);
        Some(figures)
    }

    /// The figures of all intervals taken so far.
    #[must_use]
    pub fn total(&self) -> LatencyFigures {
        figures_of(&self.total, self.clamped_count)
    }

    /// The histogram of all intervals taken so far, for plots; values in nanoseconds.
    #[must_use]
    pub const fn total_histogram(&self) -> &Histogram<u64> {
        &self.total
    }

    /// Whether the recorder is gone: take intervals until `None`, and the total is complete.
    #[must_use]
    pub fn is_recorder_gone(&self) -> bool {
        self.fulls.is_abandoned() && self.empties.is_abandoned()
    }
}

fn figures_of(histogram: &Histogram<u64>, clamped_count: u64) -> LatencyFigures {
    if histogram.is_empty() {
        return LatencyFigures { clamped_count, ..LatencyFigures::default() };
    }
    let nanos = |value: u64| Nanos(i64::try_from(value).unwrap_or(i64::MAX));
    let at = |quantile: f64| nanos(histogram.value_at_quantile(quantile));
    LatencyFigures {
        count: histogram.len(),
        clamped_count,
        min: nanos(histogram.min()),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: nanos(histogram.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> (LatencyRecorder, IntervalReader) {
        latency_recorder("test", LatencyBounds::STANDARD).unwrap()
    }

    #[test]
    fn an_interval_holds_what_was_recorded_since_the_last_one() {
        let (mut recorder, mut reader) = recorder();
        (1..=1_000).for_each(|nanos| recorder.record(Nanos(nanos)));
        assert_eq!(reader.take_interval(), None, "nobody asked");
        reader.request();
        reader.request();
        assert_eq!(reader.take_interval(), None, "not answered yet");
        recorder.answer_request();
        let figures = reader.take_interval().unwrap();
        assert_eq!((figures.count, figures.min, figures.p50), (1_000, Nanos(1), Nanos(500)));
        assert_eq!(
            (figures.p90, figures.p99, figures.p999, figures.max),
            (Nanos(900), Nanos(990), Nanos(999), Nanos(1_000))
        );
        recorder.record(Nanos(5));
        reader.request();
        recorder.record(Nanos(7));
        assert_eq!(reader.take_interval().unwrap().max, Nanos(5), "the record that answers is in the next interval");
        drop(recorder);
        assert_eq!(reader.take_interval().unwrap().count, 1);
        assert!(reader.is_recorder_gone());
        assert_eq!((reader.take_interval(), reader.total().count), (None, 1_002));
    }

    #[test]
    fn values_outside_the_bounds_are_clamped_and_counted_not_lost() {
        let bounds = LatencyBounds { latency_max: Nanos(1_000), significant_digits: 2 };
        let (mut recorder, mut reader) = latency_recorder("test", bounds).unwrap();
        for nanos in [-5, 0, 1_000, 1_000_000, i64::MAX] {
            recorder.record(Nanos(nanos));
        }
        drop(recorder);
        let figures = reader.take_interval().unwrap();
        assert_eq!((figures.count, figures.clamped_count), (5, 3));
        assert!(figures.max.0 >= 1_000 && figures.max.0 < 1_050, "{figures:?}");
    }

    #[test]
    fn impossible_bounds_are_refused() {
        let bounds = |max, digits| LatencyBounds { latency_max: Nanos(max), significant_digits: digits };
        assert_eq!(latency_recorder("x", bounds(-1, 2)).err(), Some(LatencyBoundsError::Negative));
        assert!(matches!(latency_recorder("x", bounds(1, 2)).err(), Some(LatencyBoundsError::Bounds(_))));
        assert!(matches!(latency_recorder("x", bounds(100, 9)).err(), Some(LatencyBoundsError::Bounds(_))));
    }

    #[test]
    fn a_reader_that_asks_all_the_time_loses_and_doubles_nothing() {
        let (mut recorder, mut reader) = recorder();
        let count = if cfg!(miri) { 50 } else { 50_000 };
        let recording = std::thread::spawn(move || (0..count).for_each(|nanos| recorder.record(Nanos(nanos))));
        let mut counted = 0;
        loop {
            let is_last = reader.is_recorder_gone();
            reader.request();
            counted += reader.take_interval().map_or(0, |figures| figures.count);
            if is_last {
                while let Some(figures) = reader.take_interval() {
                    counted += figures.count;
                }
                break;
            }
        }
        recording.join().unwrap();
        assert_eq!((counted, reader.total().count), (count as u64, count as u64));
    }

    #[test]
    fn a_reader_that_is_gone_does_not_stop_the_recorder() {
        let (mut recorder, mut reader) = recorder();
        reader.request();
        drop(reader);
        (0..100).for_each(|nanos| recorder.record(Nanos(nanos)));
        assert_eq!(recorder.active.as_ref().unwrap().histogram.len(), 100);
    }
}
