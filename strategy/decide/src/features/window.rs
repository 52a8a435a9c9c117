//! Windows of fixed size: over the last events, and over time in buckets. Sums are integers, hence exact.
//!
//! What every event needs is kept apart from the memory behind it, which is reached when a bucket ends or a mid moves:
//! thousands of symbols are followed at once, and each line that an event touches may have to come from far away.

/// Book changes that the order-flow windows reach back.
const OFI_EVENTS: usize = 64;
/// Runs of equal mids that are remembered; above the longest lag in use by more than one.
const MID_RUNS: usize = 128;
/// Book changes that lagged mids look back.
pub(super) const MID_LAGS: [u64; 2] = [10, 100];
/// Buckets of a time window.
const BUCKETS: usize = 16;
/// [`BUCKETS`] less one: from the newest bucket to the oldest.
const BUCKETS_BACK: i64 = 15;
/// Never reached.
const NEVER: u64 = u64::MAX;

/// One entry of [`EventSums`]: three values of 32 bits, or a mark that they are kept elsewhere.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
struct Narrow {
    values: [i32; 3],
    is_wide: u32,
}

/// Running sums of the last [`OFI_EVENTS`] values in each of three series.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct EventSums {
    ring: [Narrow; OFI_EVENTS],
    /// The entries that 32 bits do not hold.
    wide: [[i64; 3]; OFI_EVENTS],
}

/// What every push changes.
#[derive(Clone, Debug)]
pub(super) struct EventSumsHead {
    sums: [i64; 3],
    next: usize,
}

impl Narrow {
    const ZERO: Self = Self { values: [0; 3], is_wide: 0 };

    /// The values, if they fit.
    #[inline]
    fn of([a, b, c]: [i64; 3]) -> Option<Self> {
        let values = [i32::try_from(a).ok()?, i32::try_from(b).ok()?, i32::try_from(c).ok()?];
        Some(Self { values, is_wide: 0 })
    }
}

impl EventSumsHead {
    pub(super) const fn new() -> Self {
        Self { sums: [0; 3], next: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, values: [i64; 3], memory: &mut EventSums) {
        let old = memory.exchange(self.next, values);
        for ((sum, old), new) in self.sums.iter_mut().zip(old).zip(values) {
            *sum = sum.wrapping_add(new).wrapping_sub(old);
        }
        self.next = self.next.wrapping_add(1) % OFI_EVENTS;
    }

    pub(super) const fn sums(&self) -> [i64; 3] {
        self.sums
    }

    /// Reads what the next push will read.
    #[inline]
    pub(super) fn touch(&self, memory: &EventSums) -> u64 {
        memory.ring.get(self.next).map_or(0, |entry| u64::from(entry.is_wide))
    }
}

impl EventSums {
    pub(super) const fn new() -> Self {
        Self { ring: [Narrow::ZERO; OFI_EVENTS], wide: [[0; 3]; OFI_EVENTS] }
    }

    /// Puts `values` in place of what stands at `index`, and gives that.
    #[inline]
    fn exchange(&mut self, index: usize, values: [i64; 3]) -> [i64; 3] {
        let Some(entry) = self.ring.get_mut(index) else { return [0; 3] };
        let old = *entry;
        if let (0, Some(narrow)) = (old.is_wide, Narrow::of(values)) {
            *entry = narrow;
            return old.values.map(i64::from);
        }
        self.exchange_wide(index, values)
    }

    #[cold]
    fn exchange_wide(&mut self, index: usize, values: [i64; 3]) -> [i64; 3] {
        let (Some(entry), Some(wide)) = (self.ring.get_mut(index), self.wide.get_mut(index)) else { return [0; 3] };
        let old = if entry.is_wide == 0 { entry.values.map(i64::from) } else { *wide };
        match Narrow::of(values) {
            Some(narrow) => *entry = narrow,
            None => {
                *entry = Narrow { values: [0; 3], is_wide: 1 };
                *wide = values;
            }
        }
        old
    }
}

/// A stretch of book changes, or of buckets, with one mid.
#[derive(Clone, Copy, Debug)]
struct Run<T> {
    first: T,
    mid_x2: i64,
}

/// The mids after the last book changes, as runs.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct MidRuns {
    runs: [Run<u64>; MID_RUNS],
}

impl MidRuns {
    pub(super) const fn new() -> Self {
        Self { runs: [Run { first: 0, mid_x2: 0 }; MID_RUNS] }
    }

    #[inline]
    fn get(&self, index: u8) -> Run<u64> {
        self.runs.get(usize::from(index) % MID_RUNS).copied().unwrap_or(Run { first: NEVER, mid_x2: 0 })
    }

    #[inline]
    fn set(&mut self, index: u8, run: Run<u64>) {
        if let Some(place) = self.runs.get_mut(usize::from(index) % MID_RUNS) {
            *place = run;
        }
    }
}

/// The mids some book changes ago: [`MID_LAGS`].
#[derive(Clone, Debug)]
pub(super) struct LaggedMids {
    /// Book changes with a known mid.
    count: u64,
    newest_mid: i64,
    /// The count at which each lag reaches its next run.
    due: [u64; 2],
    lagged: [i64; 2],
    /// The run that each lag is in.
    cursors: [u8; 2],
    newest: u8,
}

impl LaggedMids {
    pub(super) const fn new() -> Self {
        Self { count: 0, newest_mid: 0, due: [NEVER; 2], lagged: [0; 2], cursors: [0; 2], newest: 0 }
    }

    /// No earlier mid is known: all that came before was this one.
    pub(super) const fn fill(&mut self, mid_x2: i64) {
        *self = Self { newest_mid: mid_x2, lagged: [mid_x2; 2], ..Self::new() };
    }

    /// Another book change, after which the mid is `mid_x2`.
    #[inline]
    pub(super) fn push(&mut self, mid_x2: i64, memory: &mut MidRuns) {
        self.count = self.count.wrapping_add(1);
        if mid_x2 != self.newest_mid {
            self.begin_run(mid_x2, memory);
        }
        let [first, second] = self.due;
        if self.count >= first.min(second) {
            self.move_on(memory);
        }
    }

    fn begin_run(&mut self, mid_x2: i64, memory: &mut MidRuns) {
        let before = self.newest;
        self.newest_mid = mid_x2;
        self.newest = self.newest.wrapping_add(1);
        memory.set(self.newest, Run { first: self.count, mid_x2 });
        for ((due, cursor), lag) in self.due.iter_mut().zip(self.cursors).zip(MID_LAGS) {
            if cursor == before {
                *due = self.count.wrapping_add(lag);
            }
        }
    }

    /// A run lasts one change at least, so no lag passes more than one run at a change.
    fn move_on(&mut self, memory: &MidRuns) {
        let places = self.due.iter_mut().zip(&mut self.lagged).zip(&mut self.cursors).zip(MID_LAGS);
        for (((due, lagged), cursor), lag) in places {
            if self.count < *due {
                continue;
            }
            *cursor = cursor.wrapping_add(1);
            *lagged = memory.get(*cursor).mid_x2;
            *due = match *cursor {
                newest if newest == self.newest => NEVER,
                cursor => memory.get(cursor.wrapping_add(1)).first.wrapping_add(lag),
            };
        }
    }

    /// Reads what the next few pushes will read of `memory`, if they will.
    #[inline]
    pub(super) fn touch(&self, memory: &MidRuns) -> u64 {
        let [first, second] = self.due;
        if self.count.wrapping_add(2) < first.min(second) {
            return 0;
        }
        let [first, second] = self.cursors.map(|cursor| memory.get(cursor.wrapping_add(2)).first);
        first ^ second
    }

    /// The mid as many changes ago as each of [`MID_LAGS`] says.
    #[inline]
    pub(super) const fn lagged(&self) -> [i64; 2] {
        self.lagged
    }
}

/// Where a short queue stands in the memory behind it.
#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u8,
    len: u8,
}

impl Queue {
    const EMPTY: Self = Self { first: 0, len: 0 };

    /// The oldest item.
    #[inline]
    fn front<T: Copy>(self, items: &[T; BUCKETS]) -> Option<T> {
        if self.len == 0 { None } else { items.get(usize::from(self.first) % BUCKETS).copied() }
    }

    /// Adds an item; the caller knows that there is room.
    #[inline]
    fn push<T>(&mut self, item: T, items: &mut [T; BUCKETS]) {
        if let Some(place) = items.get_mut(usize::from(self.first.wrapping_add(self.len)) % BUCKETS) {
            *place = item;
            self.len = self.len.wrapping_add(1);
        }
    }

    /// Forgets the oldest item of a queue that has one.
    const fn pop(&mut self) {
        self.first = self.first.wrapping_add(1);
        self.len = self.len.wrapping_sub(1);
    }
}

/// What sixteen buckets of `WIDTH_NS` know, the current one included: a window of 15 to 16 widths. A leap past the whole
/// window touches nothing else.
#[derive(Clone, Debug)]
pub(super) struct TimeBuckets<const WIDTH_NS: i64> {
    /// First nanosecond behind the current bucket.
    end: i64,
    sum: i64,
    /// Of `sum`, what belongs to the current bucket.
    current: i64,
    /// Number of the current bucket since 1970.
    index: i64,
    /// The mid with which the oldest bucket opened.
    lagged_mid: i64,
    /// The mid with which the newest bucket opened.
    newest_mid: i64,
    sums: Queue,
    mids: Queue,
}

/// What buckets before the current one leave behind.
#[derive(Clone, Debug)]
pub(super) struct BucketMemory {
    /// Those whose sum is not 0: number and sum.
    sums: [(i64, i64); BUCKETS],
    /// Where they begin to open with another mid than the one before.
    mids: [Run<i64>; BUCKETS],
}

impl BucketMemory {
    pub(super) const fn new() -> Self {
        Self { sums: [(0, 0); BUCKETS], mids: [Run { first: 0, mid_x2: 0 }; BUCKETS] }
    }
}

impl<const WIDTH_NS: i64> TimeBuckets<WIDTH_NS> {
    pub(super) const fn new() -> Self {
        Self {
            end: i64::MIN,
            sum: 0,
            current: 0,
            index: 0,
            lagged_mid: 0,
            newest_mid: 0,
            sums: Queue::EMPTY,
            mids: Queue::EMPTY,
        }
    }

    /// Moves on to `time`; buckets that begin on the way open with `mid_x2`.
    #[inline]
    pub(super) fn roll(&mut self, time: i64, mid_x2: i64, memory: &mut BucketMemory) {
        if time >= self.end {
            self.roll_to(time.div_euclid(WIDTH_NS), mid_x2, memory);
        }
    }

    #[inline]
    pub(super) const fn add(&mut self, value: i64) {
        self.sum = self.sum.wrapping_add(value);
        self.current = self.current.wrapping_add(value);
    }

    pub(super) const fn sum(&self) -> i64 {
        self.sum
    }

    /// Every bucket opens with `mid_x2`: no earlier mid is known.
    #[inline]
    pub(super) const fn fill_mids(&mut self, mid_x2: i64) {
        self.mids = Queue::EMPTY;
        (self.lagged_mid, self.newest_mid) = (mid_x2, mid_x2);
    }

    /// The mid with which the oldest bucket opened.
    #[inline]
    pub(super) const fn lagged_mid(&self) -> i64 {
        self.lagged_mid
    }

    #[inline]
    fn roll_to(&mut self, index: i64, mid_x2: i64, memory: &mut BucketMemory) {
        let begun = index.saturating_sub(self.index);
        if begun > BUCKETS_BACK {
            // A leap past the whole window: all buckets are alike.
            self.sums = Queue::EMPTY;
            self.fill_mids(mid_x2);
            (self.sum, self.current) = (0, 0);
        } else if begun > 0 {
            self.leave(index.wrapping_sub(BUCKETS_BACK), mid_x2, memory);
        }
        self.index = index;
        self.end = index.saturating_add(1).saturating_mul(WIDTH_NS);
    }

    /// Closes the current bucket and forgets those before `oldest`.
    #[inline(never)]
    fn leave(&mut self, oldest: i64, mid_x2: i64, memory: &mut BucketMemory) {
        if self.current != 0 {
            self.sums.push((self.index, self.current), &mut memory.sums);
            self.current = 0;
        }
        while let Some((_, sum)) = self.sums.front(&memory.sums).filter(|(index, _)| *index < oldest) {
            self.sum = self.sum.wrapping_sub(sum);
            self.sums.pop();
        }
        if mid_x2 != self.newest_mid {
            self.newest_mid = mid_x2;
            self.mids.push(Run { first: self.index.wrapping_add(1), mid_x2 }, &mut memory.mids);
        }
        while let Some(run) = self.mids.front(&memory.mids).filter(|run| run.first <= oldest) {
            self.lagged_mid = run.mid_x2;
            self.mids.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_sums_forget_what_left_the_window() {
        let (mut sums, mut memory) = (EventSumsHead::new(), EventSums::new());
        for value in 0..200_i64 {
            sums.push([value, -value, 1], &mut memory);
        }
        let want: i64 = (136..200).sum();
        assert_eq!(sums.sums(), [want, -want, 64]);
    }

    #[test]
    fn event_sums_are_exact_beyond_32_bits() {
        let (mut sums, mut memory) = (EventSumsHead::new(), EventSums::new());
        let mut all = Vec::new();
        let mut state = 1_u64;
        for _ in 0..1_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let small = i64::from(u8::try_from(state >> 56).unwrap());
            let values = if state & (1 << 40) == 0 { [small, -small, small] } else { [small, -(small << 35), 1 << 31] };
            all.push(values);
            sums.push(values, &mut memory);
            let last = all.iter().rev().take(OFI_EVENTS);
            let want = last.fold([0; 3], |sum, values| [0, 1, 2].map(|at| sum[at] + values[at]));
            assert_eq!(sums.sums(), want);
        }
    }

    /// A ring of every mid is what the runs stand for.
    #[test]
    fn lagged_mids_look_back_by_changes() {
        let (mut mids, mut memory) = (LaggedMids::new(), MidRuns::new());
        assert_eq!(mids.lagged(), [0, 0]);
        mids.fill(7);
        let mut all = vec![7; 101];
        let mut state = 3_u64;
        for turn in 0..5_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Stretches of a mid at every change, of rare mids, and of one mid.
            let is_moved = match turn / 500 % 3 {
                0 => true,
                1 => (state >> 60) == 0,
                _ => false,
            };
            let last = *all.last().unwrap();
            let mid = if is_moved { last + i64::try_from(state >> 62).unwrap() - 1 } else { last };
            all.push(mid);
            mids.push(mid, &mut memory);
            let back = |lag: usize| all[all.len() - 1 - lag];
            assert_eq!(mids.lagged(), [back(10), back(100)], "turn {turn}");
        }
    }

    #[test]
    fn buckets_hold_sixteen_widths_and_survive_leaps() {
        let (mut buckets, mut memory) = (TimeBuckets::<10>::new(), BucketMemory::new());
        buckets.roll(1_000, 5, &mut memory);
        buckets.add(1);
        buckets.roll(1_159, 6, &mut memory);
        buckets.add(2);
        assert_eq!((buckets.sum(), buckets.lagged_mid()), (3, 5));
        buckets.roll(1_160, 8, &mut memory);
        assert_eq!((buckets.sum(), buckets.lagged_mid()), (2, 6));
        buckets.roll(1_000_003, 9, &mut memory);
        assert_eq!((buckets.sum(), buckets.lagged_mid()), (0, 9));
    }

    /// The buckets one by one, as plain arrays, are what the queues stand for.
    #[test]
    fn buckets_equal_plain_arrays() {
        let (mut buckets, mut memory) = (TimeBuckets::<10>::new(), BucketMemory::new());
        let (mut sums, mut mids, mut now) = ([0_i64; 16], [0_i64; 16], 0_i64);
        let (mut time, mut mid, mut state) = (5_i64, 0_i64, 11_u64);
        for turn in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            time += [0, 1, 7, 25, 70, 150, 159, 161, 1_000][usize::try_from(state >> 33).unwrap() % 9];
            let index = time.div_euclid(10);
            for opened in now + 1..=index {
                let slot = usize::try_from(opened).unwrap() % 16;
                (sums[slot], mids[slot]) = (0, mid);
            }
            now = index;
            buckets.roll(time, mid, &mut memory);
            if turn == 20 {
                mid = 100;
                mids = [mid; 16];
                buckets.fill_mids(mid);
            } else if turn > 20 {
                mid += i64::try_from(state >> 62).unwrap() - 1;
            }
            let value = i64::try_from((state >> 20) & 7).unwrap() - 3;
            sums[usize::try_from(now).unwrap() % 16] += value;
            buckets.add(value);
            let oldest = usize::try_from(now + 1).unwrap() % 16;
            assert_eq!((buckets.sum(), buckets.lagged_mid()), (sums.iter().sum(), mids[oldest]), "turn {turn}");
        }
    }
}
