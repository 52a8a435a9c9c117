//! Windows of fixed size: over the last events, and over time in buckets. Sums are integers, hence exact.

/// Book changes that the order-flow windows reach back.
const OFI_EVENTS: usize = 64;
/// Book changes that the mid ring reaches back; above the longest lag in use.
const MIDS: usize = 128;
/// Buckets of a time window.
const BUCKETS: usize = 16;

/// Running sums of the last [`OFI_EVENTS`] values in each of three series.
#[derive(Clone, Debug)]
pub(super) struct EventSums {
    ring: [[i64; 3]; OFI_EVENTS],
    sums: [i64; 3],
    next: usize,
}

impl EventSums {
    pub(super) const fn new() -> Self {
        Self { ring: [[0; 3]; OFI_EVENTS], sums: [0; 3], next: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, values: [i64; 3]) {
        if let Some(slot) = self.ring.get_mut(self.next) {
            for ((sum, old), new) in self.sums.iter_mut().zip(slot.iter_mut()).zip(values) {
                *sum = sum.wrapping_add(new).wrapping_sub(*old);
                *old = new;
            }
        }
        self.next = self.next.wrapping_add(1) % OFI_EVENTS;
    }

    pub(super) const fn sums(&self) -> [i64; 3] {
        self.sums
    }
}

/// The mid after each of the last book changes.
#[derive(Clone, Debug)]
pub(super) struct MidRing {
    ring: [i64; MIDS],
    newest: usize,
}

impl MidRing {
    pub(super) const fn new() -> Self {
        Self { ring: [0; MIDS], newest: 0 }
    }

    pub(super) const fn fill(&mut self, mid_x2: i64) {
        self.ring = [mid_x2; MIDS];
    }

    #[inline]
    pub(super) fn push(&mut self, mid_x2: i64) {
        self.newest = self.newest.wrapping_add(1) % MIDS;
        if let Some(slot) = self.ring.get_mut(self.newest) {
            *slot = mid_x2;
        }
    }

    /// The mid `lag` changes ago, `lag` below the ring's size.
    #[inline]
    pub(super) fn lagged(&self, lag: usize) -> i64 {
        let index = self.newest.wrapping_add(MIDS).wrapping_sub(lag) % MIDS;
        self.ring.get(index).copied().unwrap_or(0)
    }
}

/// Sixteen buckets of `WIDTH_NS`, the current one included: a window of 15 to 16 widths that moves in O(1).
#[derive(Clone, Debug)]
pub(super) struct TimeBuckets<const WIDTH_NS: i64> {
    sums: [i64; BUCKETS],
    opening_mids: [i64; BUCKETS],
    sum: i64,
    /// Number of the current bucket since 1970.
    index: i64,
    /// First nanosecond behind the current bucket.
    end: i64,
}

impl<const WIDTH_NS: i64> TimeBuckets<WIDTH_NS> {
    pub(super) const fn new() -> Self {
        Self { sums: [0; BUCKETS], opening_mids: [0; BUCKETS], sum: 0, index: 0, end: i64::MIN }
    }

    /// Moves on to `time`; buckets that begin on the way open with `mid_x2`.
    #[inline]
    pub(super) fn roll(&mut self, time: i64, mid_x2: i64) {
        if time >= self.end {
            self.roll_to(time.div_euclid(WIDTH_NS), mid_x2);
        }
    }

    #[inline]
    pub(super) fn add(&mut self, value: i64) {
        self.sum = self.sum.wrapping_add(value);
        if let Some(bucket) = self.sums.get_mut(Self::slot(self.index)) {
            *bucket = bucket.wrapping_add(value);
        }
    }

    /// Every bucket opens with `mid_x2`: no earlier mid is known.
    pub(super) const fn fill_mids(&mut self, mid_x2: i64) {
        self.opening_mids = [mid_x2; BUCKETS];
    }

    pub(super) const fn sum(&self) -> i64 {
        self.sum
    }

    /// The mid with which the oldest bucket opened.
    #[inline]
    pub(super) fn lagged_mid(&self) -> i64 {
        self.opening_mids.get(Self::slot(self.index.wrapping_add(1))).copied().unwrap_or(0)
    }

    fn roll_to(&mut self, index: i64, mid_x2: i64) {
        let steps = index.saturating_sub(self.index).clamp(0, BUCKETS as i64);
        for _ in 0..steps {
            self.index = self.index.wrapping_add(1);
            self.open(Self::slot(self.index), mid_x2);
        }
        // After a leap past the whole window all buckets are alike, so that only the number matters.
        self.index = index;
        self.end = index.saturating_add(1).saturating_mul(WIDTH_NS);
    }

    fn open(&mut self, slot: usize, mid_x2: i64) {
        if let Some(bucket) = self.sums.get_mut(slot) {
            self.sum = self.sum.wrapping_sub(*bucket);
            *bucket = 0;
        }
        if let Some(opening) = self.opening_mids.get_mut(slot) {
            *opening = mid_x2;
        }
    }

    const fn slot(index: i64) -> usize {
        (index.cast_unsigned() & 15) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_sums_forget_what_left_the_window() {
        let mut sums = EventSums::new();
        for value in 0..200_i64 {
            sums.push([value, -value, 1]);
        }
        let want: i64 = (136..200).sum();
        assert_eq!(sums.sums(), [want, -want, 64]);
    }

    #[test]
    fn the_mid_ring_looks_back_by_changes() {
        let mut ring = MidRing::new();
        ring.fill(7);
        for mid in 100..105 {
            ring.push(mid);
        }
        assert_eq!((ring.lagged(0), ring.lagged(4), ring.lagged(5), ring.lagged(100)), (104, 100, 7, 7));
    }

    #[test]
    fn buckets_hold_sixteen_widths_and_survive_leaps() {
        let mut buckets = TimeBuckets::<10>::new();
        buckets.roll(1_000, 5);
        buckets.add(1);
        buckets.roll(1_159, 6);
        buckets.add(2);
        assert_eq!((buckets.sum(), buckets.lagged_mid()), (3, 5));
        buckets.roll(1_160, 8);
        assert_eq!((buckets.sum(), buckets.lagged_mid()), (2, 6));
        buckets.roll(1_000_003, 9);
        assert_eq!((buckets.sum(), buckets.lagged_mid()), (0, 9));
    }
}
