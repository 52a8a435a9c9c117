//! The clock: processor ticks (TSC) scaled to nanoseconds and anchored to the system clock, and the stopwatches that
//! wiring hands to stages.

use std::time::{Duration, SystemTime};

use peregrine_types::{EpochNanos, Nanos};

/// How long one tick is, as a fixed-point number: nanoseconds × 2³².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickRate {
    nanos_per_tick_x2_32: u64,
}

impl TickRate {
    /// The rate at which `ticks` last `span`; `None` unless both are above zero and a tick lasts under 2³² ns.
    #[must_use]
    pub fn measured(ticks: u64, span: Nanos) -> Option<Self> {
        let nanos = u128::try_from(span.0).ok()?.checked_mul(1 << 32)?;
        let rate = u64::try_from(nanos.checked_div(u128::from(ticks))?).ok()?;
        (rate > 0).then_some(Self { nanos_per_tick_x2_32: rate })
    }

    /// How long `ticks` last, rounded down, saturating.
    #[inline]
    #[must_use]
    pub fn nanos(self, ticks: u64) -> Nanos {
        let product = u128::from(ticks).wrapping_mul(u128::from(self.nanos_per_tick_x2_32));
        Nanos(i64::try_from(product >> 32).unwrap_or(i64::MAX))
    }

    /// How many ticks `span` lasts, rounded up, saturating; 0 for spans below zero.
    #[must_use]
    pub fn ticks(self, span: Nanos) -> u64 {
        let Ok(nanos) = u128::try_from(span.0) else { return 0 };
        u64::try_from((nanos << 32).div_ceil(u128::from(self.nanos_per_tick_x2_32))).unwrap_or(u64::MAX)
    }

    /// Ticks per second, rounded up.
    #[must_use]
    pub fn hertz(self) -> u64 {
        self.ticks(Nanos(1_000_000_000))
    }
}

/// A reading of the system clock between two readings of the ticks.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    ticks: u64,
    time: EpochNanos,
    /// How far apart the two readings of the ticks were: the reading's uncertainty.
    width_ticks: u64,
}

/// How often an anchor is tried: the narrowest reading wins, so that a preemption in one does no harm.
const ANCHOR_TRIES: u32 = 32;

impl Anchor {
    fn take(source: &quanta::Clock) -> Self {
        let mut best = Self::take_once(source);
        for _ in 1..ANCHOR_TRIES {
            let next = Self::take_once(source);
            if next.width_ticks < best.width_ticks {
                best = next;
            }
        }
        best
    }

    fn take_once(source: &quanta::Clock) -> Self {
        let before = source.raw();
        let time = system_now();
        let width_ticks = source.raw().wrapping_sub(before);
        Self { ticks: before.wrapping_add(width_ticks / 2), time, width_ticks }
    }
}

/// The system clock, read by a system call or its virtual replacement: not for the hot path.
#[must_use]
pub fn system_now() -> EpochNanos {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        Err(before) => EpochNanos(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, i64::wrapping_neg)),
    }
}

/// A clock that costs a tick reading and a multiplication: no system call, never backwards by itself.
///
/// On processors without an invariant TSC `quanta` falls back to the system's monotonic clock; the host report says
/// so. Reading costs are in [`timer_overhead_ns`].
#[derive(Clone, Debug)]
pub struct TscClock {
    source: quanta::Clock,
    rate: TickRate,
    first: Anchor,
    anchor: Anchor,
}

/// The ticks over which `quanta`'s calibration is read out.
const QUANTA_READOUT_TICKS: u64 = 1 << 40;

impl TscClock {
    /// A clock calibrated by `quanta` against the system clock; takes up to 200 ms the first time in a process.
    #[must_use]
    pub fn calibrated() -> Self {
        let source = quanta::Clock::new();
        let nanos = source.delta_as_nanos(0, QUANTA_READOUT_TICKS);
        let span = Nanos(i64::try_from(nanos).unwrap_or(i64::MAX));
        let one_to_one = TickRate { nanos_per_tick_x2_32: 1 << 32 };
        let rate = TickRate::measured(QUANTA_READOUT_TICKS, span).unwrap_or(one_to_one);
        let anchor = Anchor::take(&source);
        Self { source, rate, first: anchor, anchor }
    }

    /// The ticks now: for spans, with [`TscClock::rate`]. Not serialising: the processor may read them a little early
    /// or late against the instructions around it; see [`serialised_ticks`].
    #[inline]
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.source.raw()
    }

    /// The moment now.
    #[inline]
    #[must_use]
    pub fn now(&self) -> EpochNanos {
        self.at(self.ticks())
    }

    /// The moment of a tick reading (also one before the anchor).
    #[inline]
    #[must_use]
    pub fn at(&self, ticks: u64) -> EpochNanos {
        if ticks >= self.anchor.ticks {
            self.anchor.time.plus(self.rate.nanos(ticks.wrapping_sub(self.anchor.ticks)))
        } else {
            self.anchor.time.minus(self.rate.nanos(self.anchor.ticks.wrapping_sub(ticks)))
        }
    }

    /// How long `ticks` last.
    #[inline]
    #[must_use]
    pub fn ticks_to_nanos(&self, ticks: u64) -> Nanos {
        self.rate.nanos(ticks)
    }

    /// The calibrated length of a tick.
    #[must_use]
    pub const fn rate(&self) -> TickRate {
        self.rate
    }

    /// How far this clock is ahead of the system clock now: a system clock that is slewed, stepped, or ticks at
    /// another rate than calibrated. Not for the hot path.
    #[must_use]
    pub fn ahead_of_system(&self) -> Nanos {
        let now = Anchor::take(&self.source);
        self.at(now.ticks).since(now.time)
    }

    /// Anchors the clock to the system clock again and measures the rate over the whole time since the clock was made,
    /// if that is at least a second; returns the step that [`TscClock::now`] makes (above zero: forwards).
    ///
    /// Not for the hot path, and for the wiring to decide: a step is a logged event, never a surprise.
    pub fn re_anchor(&mut self) -> Nanos {
        let now = Anchor::take(&self.source);
        let step = now.time.since(self.at(now.ticks));
        let (ticks, span) = (now.ticks.wrapping_sub(self.first.ticks), now.time.since(self.first.time));
        if span >= Nanos::from_secs(1)
            && let Some(rate) = TickRate::measured(ticks, span)
        {
            self.rate = rate;
        }
        self.anchor = now;
        step
    }

    /// The uncertainty of the last anchor: the system clock was read within this span.
    #[must_use]
    pub fn anchor_uncertainty(&self) -> Nanos {
        self.rate.nanos(self.anchor.width_ticks)
    }
}

/// Measures spans for a stage without letting it read a clock of its own: wiring hands in a real one for live trading
/// and a null one in replay, where measured time must not matter.
pub trait Stopwatch {
    /// Whether spans are real; `false` promises that every span is zero.
    const IS_REAL: bool;

    /// Begins a span.
    fn start(&self) -> u64;

    /// The span since `start`, [`Nanos::ZERO`] of a null stopwatch.
    fn elapsed(&self, start: u64) -> Nanos;

    /// The span between two readings of [`start`](Self::start), [`Nanos::ZERO`] of a null stopwatch: for spans that are
    /// worked out later than they end.
    fn between(&self, start: u64, end: u64) -> Nanos;
}

/// A stopwatch that always says zero, at no cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullStopwatch;

impl Stopwatch for NullStopwatch {
    const IS_REAL: bool = false;

    #[inline(always)]
    fn start(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn elapsed(&self, _start: u64) -> Nanos {
        Nanos::ZERO
    }

    #[inline(always)]
    fn between(&self, _start: u64, _end: u64) -> Nanos {
        Nanos::ZERO
    }
}

/// A stopwatch over the ticks. Its own cost is in every span; [`timer_overhead_ns`] says how much.
#[derive(Clone, Debug)]
pub struct TscStopwatch {
    source: quanta::Clock,
    rate: TickRate,
}

impl TscStopwatch {
    /// A stopwatch with the calibration of `clock`.
    #[must_use]
    pub fn new(clock: &TscClock) -> Self {
        Self { source: clock.source.clone(), rate: clock.rate }
    }

    /// The length of a tick.
    #[must_use]
    pub const fn rate(&self) -> TickRate {
        self.rate
    }
}

impl Stopwatch for TscStopwatch {
    const IS_REAL: bool = true;

    #[inline(always)]
    fn start(&self) -> u64 {
        self.source.raw()
    }

    #[inline(always)]
    fn elapsed(&self, start: u64) -> Nanos {
        self.between(start, self.source.raw())
    }

    #[inline(always)]
    fn between(&self, start: u64, end: u64) -> Nanos {
        self.rate.nanos(end.saturating_sub(start))
    }
}

/// The ticks, read after every earlier instruction has finished and before any later one begins: `lfence; rdtsc;
/// lfence` (Intel SDM volume 2, RDTSC). Costs some tens of nanoseconds of lost overlap: for measuring short pieces of
/// code, not for the hot path. `None` on processors other than x86-64.
#[inline]
#[must_use]
pub fn serialised_ticks() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        Some(x86_serialised_ticks())
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        None
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "the tick counter and its fences are intrinsics")]
fn x86_serialised_ticks() -> u64 {
    use core::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: SSE2 is part of x86-64; the fence touches no memory.
    unsafe { _mm_lfence() };
    // SAFETY: every x86-64 processor has the time stamp counter; user mode may read it unless the system forbids it,
    // and then the clock would have failed before.
    let ticks = unsafe { _rdtsc() };
    // SAFETY: as the first fence.
    unsafe { _mm_lfence() };
    ticks
}

/// How many readings the overhead is measured over.
const OVERHEAD_ROUNDS: u32 = 2_000;

/// What a span measured by `stopwatch` contains of the stopwatch itself: the median of 2,000 empty spans.
#[must_use]
pub fn timer_overhead_ns(stopwatch: &impl Stopwatch) -> Nanos {
    let mut spans: Vec<Nanos> = (0..OVERHEAD_ROUNDS).map(|_| stopwatch.elapsed(stopwatch.start())).collect();
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or(Nanos::ZERO)
}

/// A check of the calibration: the clock's own idea of how long `wait` of system time lasts, less the truth, in parts
/// per million. Sleeps for `wait`.
#[must_use]
pub fn rate_error_ppm(clock: &TscClock, wait: Duration) -> i64 {
    let before = Anchor::take(&clock.source);
    std::thread::sleep(wait);
    let after = Anchor::take(&clock.source);
    let truth = after.time.since(before.time).0.max(1);
    let ours = clock.rate.nanos(after.ticks.wrapping_sub(before.ticks)).0;
    ours.saturating_sub(truth).saturating_mul(1_000_000).checked_div(truth).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_rates_convert_both_ways_and_saturate() {
        let rate = TickRate::measured(2_500_000_000, Nanos::from_secs(1)).unwrap();
        assert!((rate.nanos(2_500_000).0 - 1_000_000).abs() <= 1);
        assert!(rate.ticks(Nanos(1_000)).abs_diff(2_500) <= 1);
        assert_eq!(rate.ticks(Nanos(-1)), 0);
        assert!(rate.hertz().abs_diff(2_500_000_000) < 10);
        assert_eq!(TickRate::measured(0, Nanos(1)), None);
        assert_eq!(TickRate::measured(1, Nanos(-1)), None);
        assert_eq!(TickRate::measured(1, Nanos(1)).unwrap().nanos(u64::MAX), Nanos(i64::MAX));
    }

    #[test]
    fn the_clock_agrees_with_the_system_and_does_not_run_backwards() {
        let mut clock = TscClock::calibrated();
        assert!(clock.ahead_of_system().0.abs() < 1_000_000, "{}", clock.ahead_of_system());
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        let ticks = clock.ticks();
        assert_eq!(
            clock.at(ticks).plus(clock.ticks_to_nanos(1 << 20)).since(clock.at(ticks + (1 << 20))).0.abs() / 2,
            0
        );
        let step = clock.re_anchor();
        assert!(step.0.abs() < 1_000_000, "{step}");
    }

    #[test]
    fn moments_before_the_anchor_lie_before_it() {
        let clock = TscClock::calibrated();
        let early = clock.at(clock.anchor.ticks - 1_000_000);
        assert_eq!(clock.anchor.time.since(early), clock.ticks_to_nanos(1_000_000));
    }

    #[test]
    fn the_rate_is_right_within_a_tenth_of_a_percent() {
        let clock = TscClock::calibrated();
        let error = rate_error_ppm(&clock, Duration::from_millis(50));
        assert!(error.abs() < 1_000, "{error} ppm");
        let wrong = TscClock { rate: TickRate { nanos_per_tick_x2_32: clock.rate.nanos_per_tick_x2_32 / 2 }, ..clock };
        assert!(rate_error_ppm(&wrong, Duration::from_millis(5)) < -400_000, "negative control");
    }

    #[test]
    fn a_null_stopwatch_says_zero_and_a_real_one_measures() {
        let clock = TscClock::calibrated();
        let real = TscStopwatch::new(&clock);
        let start = real.start();
        std::thread::sleep(Duration::from_millis(2));
        assert!(real.elapsed(start) >= Nanos(1_900_000));
        assert_eq!(NullStopwatch.elapsed(NullStopwatch.start()), Nanos::ZERO);
        assert_eq!(timer_overhead_ns(&NullStopwatch), Nanos::ZERO);
        assert!(timer_overhead_ns(&real) < Nanos(10_000));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn serialised_ticks_advance() {
        let first = serialised_ticks().unwrap();
        assert!(serialised_ticks().unwrap() >= first);
    }
}
