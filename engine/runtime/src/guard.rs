//! The latency guard: watches the 99th percentile of a latency over a rolling window and says when it passes the
//! warning or the halt threshold.
//!
//! It keeps no histogram. By the nearest-rank definition the 99th percentile of *n* samples is the ⌈0.99 *n*⌉-th
//! smallest, so it lies above a threshold exactly when more than ⌊*n*/100⌋ samples do, that is when
//! 100 × (samples above) > *n*. Counting the samples above each threshold as they enter and leave the window is
//! therefore **exact**, and costs a few instructions per sample whatever the window's size.
//!
//! A warning ends only when at most half as many samples as permitted are above its threshold (the 99.5th percentile
//! is back under it), so that a latency at the threshold does not flicker. A halt does not end by itself: trading
//! again is somebody's decision, [`LatencyGuard::resume`].

use peregrine_types::{EpochNanos, Nanos};

/// The guard's thresholds and window; none has a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyGuardConfig {
    /// The window's length in samples; 100 to 2²⁴.
    pub window_sample_count: usize,
    /// The window's length in time, if it is bounded in time too: older samples leave it. Above zero.
    pub window_time: Option<Nanos>,
    /// How many samples the window must hold before the guard speaks; 1 to `window_sample_count`.
    pub sample_count_min: usize,
    /// A 99th percentile above this warns.
    pub warn_above: Nanos,
    /// A 99th percentile above this halts; at least `warn_above`.
    pub halt_above: Nanos,
}

/// What is wrong with a [`LatencyGuardConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardConfigError {
    /// The window is too short for a 99th percentile, or too long for its memory.
    #[error("latency guard: window_sample_count {0} is not in 100..=16777216")]
    WindowSampleCount(usize),
    /// The window's time is zero or below.
    #[error("latency guard: window_time of {0} is not above zero")]
    WindowTime(Nanos),
    /// The guard would never or always speak.
    #[error("latency guard: sample_count_min {0} is not in 1..=window_sample_count")]
    SampleCountMin(usize),
    /// The thresholds are not in order.
    #[error("latency guard: need 0 < warn_above ({warn}) <= halt_above ({halt})")]
    Thresholds {
        /// The warning threshold.
        warn: Nanos,
        /// The halt threshold.
        halt: Nanos,
    },
}

/// What the guard thinks of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuardVerdict {
    /// The 99th percentile is under the warning threshold, or there are too few samples to say.
    #[default]
    Normal,
    /// The 99th percentile is, or was until shortly, above the warning threshold.
    Warning,
    /// The 99th percentile was above the halt threshold: cancel and stop, until resumed.
    Halted,
}

/// A change of the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardTransition {
    /// The verdict before.
    pub from: GuardVerdict,
    /// The verdict now.
    pub to: GuardVerdict,
    /// When: the time given with the sample.
    pub at: EpochNanos,
    /// The sample that made the difference.
    pub latency: Nanos,
    /// Samples in the window.
    pub sample_count: usize,
    /// Samples in the window above the warning threshold.
    pub above_warn_count: usize,
    /// Samples in the window above the halt threshold.
    pub above_halt_count: usize,
}

/// One sample of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: EpochNanos,
    is_above_warn: bool,
    is_above_halt: bool,
}

/// The guard. All memory is taken at start.
#[derive(Clone, Debug)]
pub struct LatencyGuard {
    config: LatencyGuardConfig,
    window: Box<[Sample]>,
    /// Where the next sample goes; the oldest is `sample_count` before it.
    next: usize,
    sample_count: usize,
    above_warn_count: usize,
    above_halt_count: usize,
    verdict: GuardVerdict,
}

/// The longest window, in samples.
const WINDOW_SAMPLE_COUNT_MAX: usize = 1 << 24;

/// One sample in this many may lie above a percentile's threshold.
const PERMITTED_ONE_IN: usize = 100;

impl LatencyGuard {
    /// A guard with an empty window.
    ///
    /// # Errors
    /// [`GuardConfigError`] with the first impossible value.
    pub fn new(config: LatencyGuardConfig) -> Result<Self, GuardConfigError> {
        if !(PERMITTED_ONE_IN..=WINDOW_SAMPLE_COUNT_MAX).contains(&config.window_sample_count) {
            return Err(GuardConfigError::WindowSampleCount(config.window_sample_count));
        }
        if let Some(time) = config.window_time.filter(|&time| time <= Nanos::ZERO) {
            return Err(GuardConfigError::WindowTime(time));
        }
        if !(1..=config.window_sample_count).contains(&config.sample_count_min) {
            return Err(GuardConfigError::SampleCountMin(config.sample_count_min));
        }
        if config.warn_above <= Nanos::ZERO || config.halt_above < config.warn_above {
            return Err(GuardConfigError::Thresholds { warn: config.warn_above, halt: config.halt_above });
        }
        let window = vec![Sample::default(); config.window_sample_count].into_boxed_slice();
        let (next, sample_count, above_warn_count, above_halt_count) = (0, 0, 0, 0);
        let verdict = GuardVerdict::Normal;
        Ok(Self { config, window, next, sample_count, above_warn_count, above_halt_count, verdict })
    }

    /// Takes one latency at `now` (which must not decrease) and says whether the verdict changed.
    ///
    /// With a `window_time`, samples that have become too old leave first: one per sample on average, the whole
    /// window at most.
    #[inline]
    pub fn observe(&mut self, now: EpochNanos, latency: Nanos) -> Option<GuardTransition> {
        self.forget_old(now);
        if self.sample_count == self.window.len() {
            self.forget_oldest();
        }
        self.add(now, latency);
        let to = self.judge();
        if to == self.verdict {
            return None;
        }
        let from = core::mem::replace(&mut self.verdict, to);
        Some(GuardTransition {
            from,
            to,
            at: now,
            latency,
            sample_count: self.sample_count,
            above_warn_count: self.above_warn_count,
            above_halt_count: self.above_halt_count,
        })
    }

    /// Thresholds and window.
    #[must_use]
    pub const fn config(&self) -> &LatencyGuardConfig {
        &self.config
    }

    /// The verdict now.
    #[inline]
    #[must_use]
    pub const fn verdict(&self) -> GuardVerdict {
        self.verdict
    }

    /// Ends a halt by somebody's decision: the verdict is normal again and the window empty.
    pub fn resume(&mut self) {
        self.next = 0;
        self.sample_count = 0;
        self.above_warn_count = 0;
        self.above_halt_count = 0;
        self.verdict = GuardVerdict::Normal;
    }

    fn judge(&self) -> GuardVerdict {
        if self.verdict == GuardVerdict::Halted || self.sample_count < self.config.sample_count_min {
            return self.verdict;
        }
        if self.is_above_share(self.above_halt_count, PERMITTED_ONE_IN) {
            return GuardVerdict::Halted;
        }
        let permitted_one_in = match self.verdict {
            GuardVerdict::Normal | GuardVerdict::Halted => PERMITTED_ONE_IN,
            GuardVerdict::Warning => PERMITTED_ONE_IN * 2,
        };
        if self.is_above_share(self.above_warn_count, permitted_one_in) {
            GuardVerdict::Warning
        } else {
            GuardVerdict::Normal
        }
    }

    /// Whether more than one sample in `permitted_one_in` is above; the product is below 2³² by the window's bound.
    fn is_above_share(&self, above_count: usize, permitted_one_in: usize) -> bool {
        above_count.wrapping_mul(permitted_one_in) > self.sample_count
    }

    fn add(&mut self, at: EpochNanos, latency: Nanos) {
        let is_above_warn = latency > self.config.warn_above;
        let is_above_halt = latency > self.config.halt_above;
        if let Some(place) = self.window.get_mut(self.next) {
            *place = Sample { at, is_above_warn, is_above_halt };
        }
        self.next = self.next.wrapping_add(1);
        if self.next == self.window.len() {
            self.next = 0;
        }
        self.sample_count = self.sample_count.wrapping_add(1);
        self.above_warn_count = self.above_warn_count.wrapping_add(usize::from(is_above_warn));
        self.above_halt_count = self.above_halt_count.wrapping_add(usize::from(is_above_halt));
    }

    fn oldest(&self) -> Option<Sample> {
        let place = match self.next.checked_sub(self.sample_count) {
            Some(place) => place,
            None => self.next.wrapping_add(self.window.len()).wrapping_sub(self.sample_count),
        };
        self.window.get(place).copied().filter(|_| self.sample_count > 0)
    }

    fn forget_old(&mut self, now: EpochNanos) {
        let Some(window_time) = self.config.window_time else { return };
        while self.oldest().is_some_and(|oldest| now.since(oldest.at) > window_time) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.oldest() {
            self.sample_count = self.sample_count.wrapping_sub(1);
            self.above_warn_count = self.above_warn_count.wrapping_sub(usize::from(oldest.is_above_warn));
            self.above_halt_count = self.above_halt_count.wrapping_sub(usize::from(oldest.is_above_halt));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: LatencyGuardConfig = LatencyGuardConfig {
        window_sample_count: 200,
        window_time: None,
        sample_count_min: 100,
        warn_above: Nanos::from_millis(5),
        halt_above: Nanos::from_millis(20),
    };

    fn feed(guard: &mut LatencyGuard, count: usize, latency: Nanos) -> Vec<(GuardVerdict, GuardVerdict)> {
        let taken = (0..count).filter_map(|_| guard.observe(EpochNanos(0), latency));
        taken.map(|transition| (transition.from, transition.to)).collect()
    }

    #[test]
    fn exactly_one_percent_above_is_quiet_and_one_more_warns() {
        let mut guard = LatencyGuard::new(CONFIG).unwrap();
        assert_eq!(feed(&mut guard, 198, Nanos(1_000)), []);
        assert_eq!(feed(&mut guard, 2, Nanos(5_000_001)), [], "two of 200 are one percent");
        assert_eq!(feed(&mut guard, 1, Nanos(5_000_001)), [(GuardVerdict::Normal, GuardVerdict::Warning)]);
    }

    #[test]
    fn a_latency_at_the_threshold_is_not_above_it() {
        let mut guard = LatencyGuard::new(CONFIG).unwrap();
        assert_eq!(feed(&mut guard, 1_000, CONFIG.warn_above), []);
        assert_eq!(feed(&mut guard, 1_000, CONFIG.halt_above), [(GuardVerdict::Normal, GuardVerdict::Warning)]);
    }

    #[test]
    fn a_warning_ends_only_when_half_the_permitted_samples_are_left_above() {
        let mut guard = LatencyGuard::new(CONFIG).unwrap();
        feed(&mut guard, 197, Nanos(1));
        let warned = feed(&mut guard, 3, Nanos::from_millis(6));
        assert_eq!(warned, [(GuardVerdict::Normal, GuardVerdict::Warning)]);
        assert_eq!(feed(&mut guard, 198, Nanos(1)), [], "two are left in the window: one percent, still warning");
        assert_eq!(feed(&mut guard, 1, Nanos(1)), [(GuardVerdict::Warning, GuardVerdict::Normal)]);
    }

    #[test]
    fn a_halt_stays_until_resumed() {
        let mut guard = LatencyGuard::new(CONFIG).unwrap();
        feed(&mut guard, 100, Nanos(1));
        let slow = feed(&mut guard, 2, Nanos::from_millis(21));
        assert_eq!(slow, [(GuardVerdict::Normal, GuardVerdict::Halted)]);
        assert_eq!(feed(&mut guard, 10_000, Nanos(1)), []);
        assert_eq!(guard.verdict(), GuardVerdict::Halted);
        guard.resume();
        assert_eq!(guard.verdict(), GuardVerdict::Normal);
        assert_eq!(feed(&mut guard, 99, Nanos::from_secs(1)), [], "too few samples to say");
        assert_eq!(feed(&mut guard, 1, Nanos::from_secs(1)), [(GuardVerdict::Normal, GuardVerdict::Halted)]);
    }

    #[test]
    fn impossible_configs_are_refused() {
        let refused = |config| LatencyGuard::new(config).err().unwrap();
        assert_eq!(
            refused(LatencyGuardConfig { window_sample_count: 99, ..CONFIG }),
            GuardConfigError::WindowSampleCount(99)
        );
        assert_eq!(
            refused(LatencyGuardConfig { sample_count_min: 201, ..CONFIG }),
            GuardConfigError::SampleCountMin(201)
        );
        let window_time = Some(Nanos::ZERO);
        assert_eq!(refused(LatencyGuardConfig { window_time, ..CONFIG }), GuardConfigError::WindowTime(Nanos::ZERO));
        let warn_above = Nanos::from_millis(21);
        assert!(matches!(refused(LatencyGuardConfig { warn_above, ..CONFIG }), GuardConfigError::Thresholds { .. }));
    }

    /// The slow twin: keeps every sample of the window and sorts it for each verdict.
    struct NaiveGuard {
        config: LatencyGuardConfig,
        window: Vec<(i64, Nanos)>,
        verdict: GuardVerdict,
    }

    impl NaiveGuard {
        /// The `per_mille`-th of 1,000 by nearest rank.
        fn quantile(&self, per_mille: usize) -> Nanos {
            let mut sorted: Vec<_> = self.window.iter().map(|sample| sample.1).collect();
            sorted.sort_unstable();
            sorted[(sorted.len() * per_mille).div_ceil(1_000) - 1]
        }

        fn observe(&mut self, now: i64, latency: Nanos) -> GuardVerdict {
            let window_time = self.config.window_time.map_or(i64::MAX, |time| time.0);
            self.window.retain(|sample| now - sample.0 <= window_time);
            if self.window.len() == self.config.window_sample_count {
                self.window.remove(0);
            }
            self.window.push((now, latency));
            if self.verdict != GuardVerdict::Halted && self.window.len() >= self.config.sample_count_min {
                let per_mille = if self.verdict == GuardVerdict::Warning { 995 } else { 990 };
                self.verdict = if self.quantile(990) > self.config.halt_above {
                    GuardVerdict::Halted
                } else if self.quantile(per_mille) > self.config.warn_above {
                    GuardVerdict::Warning
                } else {
                    GuardVerdict::Normal
                };
            }
            self.verdict
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 60 }, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn counting_equals_sorting(
            steps in proptest::collection::vec((0_i64..3, prop_oneof![300 => 0_i64..5, 4 => 5_i64..20, 1 => 20_i64..25]), 0..1_500),
            window_time in proptest::option::of(50_i64..400),
            sample_count_min in 1_usize..150,
        ) {
            let window_time = window_time.map(Nanos);
            let config = LatencyGuardConfig {
                window_sample_count: 150, window_time, sample_count_min, warn_above: Nanos(5), halt_above: Nanos(20),
            };
            let mut guard = LatencyGuard::new(config).unwrap();
            let mut naive = NaiveGuard { config, window: Vec::new(), verdict: GuardVerdict::Normal };
            let mut now = 0;
            for (gap, latency) in steps {
                now += gap;
                let before = guard.verdict();
                let changed = guard.observe(EpochNanos(now), Nanos(latency));
                prop_assert_eq!(guard.verdict(), naive.observe(now, Nanos(latency)));
                prop_assert_eq!(changed.is_some(), before != guard.verdict());
            }
        }
    }
}
