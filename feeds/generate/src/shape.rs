//! The course of a day: how intense arrivals are when. Arrivals are drawn in operational time, in which their rate
//! is constant, and carried to the clock by the inverse of the cumulative intensity (time change of a Poisson
//! process).

use crate::config::{SECOND, SessionHours};
use crate::math::{exp, float, to_u64};

const BIN_COUNT: u64 = 4096;
const BIN_COUNT_PER_INDEX: usize = 4096;

/// Cumulative intensity from the start to the end of system hours, normalised to 1.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    start: u64,
    bin_len: f64,
    /// Share of the day before the start of each bin.
    cumulative: Vec<f64>,
    /// Bin in which each of equally spaced shares falls: where the search begins.
    index: Vec<u32>,
}

impl Shape {
    /// The course of a day with `hours`: quiet before and after market hours, a burst at the open, a U over the day
    /// and a rise into the close.
    pub(crate) fn new(hours: &SessionHours) -> Self {
        let bin_len = float(hours.end_of_system - hours.start_of_system) / float(BIN_COUNT);
        let (mut cumulative, mut sum) = (vec![0.0], 0.0);
        for bin in 0..BIN_COUNT {
            sum += intensity(hours, float(hours.start_of_system) + (float(bin) + 0.5) * bin_len);
            cumulative.push(sum);
        }
        for share in &mut cumulative {
            *share /= sum;
        }
        let mut index = Vec::with_capacity(BIN_COUNT_PER_INDEX);
        let mut bin = 0_u32;
        for step in 0..BIN_COUNT {
            let share = float(step) / float(BIN_COUNT);
            while cumulative[bin as usize + 1] < share {
                bin += 1;
            }
            index.push(bin);
        }
        Self { start: hours.start_of_system, bin_len, cumulative, index }
    }

    /// The time at which the share `share` of the day's arrivals has come, `None` from 1 on.
    pub(crate) fn time_at(&self, share: f64) -> Option<u64> {
        if share >= 1.0 {
            return None;
        }
        let step = usize::try_from(to_u64(share * float(BIN_COUNT))).ok()?;
        let mut bin = *self.index.get(step)? as usize;
        while *self.cumulative.get(bin + 1)? < share {
            bin += 1;
        }
        let (low, high) = (self.cumulative[bin], self.cumulative[bin + 1]);
        let offset = (float(bin as u64) + (share - low) / (high - low)) * self.bin_len;
        Some(self.start + to_u64(offset))
    }

    /// The share of the day's arrivals between two times of day.
    pub(crate) fn share_between(&self, from: u64, to: u64) -> f64 {
        let at = |time: u64| {
            let position = float(time.saturating_sub(self.start)) / self.bin_len;
            let bin = usize::try_from(to_u64(position)).unwrap_or(usize::MAX).min(self.cumulative.len() - 1);
            self.cumulative[bin]
        };
        at(to) - at(from)
    }
}

/// Relative intensity at `time` nanoseconds since midnight.
fn intensity(hours: &SessionHours, time: f64) -> f64 {
    let (open, close) = (float(hours.open), float(hours.close));
    if time < open {
        let share = (time - float(hours.start_of_system)) / (open - float(hours.start_of_system));
        return 0.01 + 0.1 * share * share * share;
    }
    if time >= close {
        return 0.02;
    }
    let len = close - open;
    let x = 2.0 * (time - open) / len - 1.0;
    let burst_len = (len / 60.0).min(300.0 * float(SECOND));
    let opening = 2.5 * exp(-(time - open) / burst_len);
    let closing = 1.5 * exp(-(close - time) / burst_len);
    0.7 + 0.8 * x * x + opening + closing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ascends_with_the_share_and_ends_with_the_day() {
        let hours = SessionHours::REGULAR;
        let shape = Shape::new(&hours);
        let mut last = 0;
        for step in 0..10_000_u64 {
            let time = shape.time_at(float(step) / 10_000.0).unwrap();
            assert!(time >= last && time >= hours.start_of_system && time < hours.end_of_system);
            last = time;
        }
        assert_eq!(shape.time_at(1.0), None);
    }

    #[test]
    fn the_day_is_a_u_with_an_opening_burst() {
        let hours = SessionHours::REGULAR;
        let shape = Shape::new(&hours);
        let minutes = |from: u64, count: u64| {
            let from = hours.open + from * 60 * SECOND;
            shape.share_between(from, from + count * 60 * SECOND)
        };
        let (opening, noon, closing) = (minutes(0, 15), minutes(187, 15), minutes(375, 15));
        assert!(opening > 2.0 * noon && closing > 1.5 * noon, "{opening} {noon} {closing}");
        assert!(shape.share_between(hours.open, hours.close) > 0.85);
    }
}
