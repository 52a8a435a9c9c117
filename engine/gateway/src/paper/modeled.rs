//! Latency made of three parts that add up: what a message of its kind takes at least, a draw from a distribution, and what
//! a burst of the feed adds. Whole numbers only: every machine comes to the same nanosecond.
//!
//! - The **kinds** ([`KindWays`]) are constant.
//! - The **spread** ([`Spread`]) is drawn for each message by SplitMix64 (Steele, Lea, Flood 2014), each way by a stream of
//!   its own: the n-th message of a way has the same draw whatever happens the other way.
//! - The **burst** ([`Burst`]) grows with the market events of the window before the message: the gateway and the feed share
//!   the machine that is behind. It goes by event time alone.

use peregrine_types::{EpochNanos, Nanos, ReportKind};

use super::latency::{LatencyModel, RequestKind};

/// The least way of every kind of message, each at least 1 ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindWays {
    /// A new order, to the matching engine.
    pub submit: Nanos,
    /// A replacement, to the matching engine.
    pub replace: Nanos,
    /// A cancel, to the matching engine.
    pub cancel: Nanos,
    /// An answer to any of them, back to the decision.
    pub response: Nanos,
    /// A fill, back to the decision.
    pub fill: Nanos,
}

impl KindWays {
    fn there(&self, kind: RequestKind) -> Nanos {
        match kind {
            RequestKind::Submit => self.submit,
            RequestKind::Replace => self.replace,
            RequestKind::Cancel => self.cancel,
        }
    }

    fn back(&self, kind: ReportKind) -> Nanos {
        match kind {
            ReportKind::Submit | ReportKind::Replace | ReportKind::Cancel => self.response,
            ReportKind::Fill => self.fill,
        }
    }
}

/// Shares of draws, of 2³², that lie at or below the quantiles of [`Quantiles`].
const LEVELS: [u64; 5] = [1 << 31, 3_865_470_566, 4_252_017_623, 4_290_672_329, 1 << 32];

/// A distribution from zero on by its quantiles; between two of them every value is as likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles([Nanos; 5]);

impl Quantiles {
    /// The median, the quantiles 0.9, 0.99 and 0.999, and the most; `None` unless they rise from zero on, two may be equal.
    #[must_use]
    pub fn new(values: [Nanos; 5]) -> Option<Self> {
        let [median, ..] = values;
        (median >= Nanos::ZERO && values.is_sorted()).then_some(Self(values))
    }

    /// The value below which `draw` of 2³² draws lie.
    fn at(&self, draw: u32) -> Nanos {
        let (draw, mut below) = (u64::from(draw), (0_u64, Nanos::ZERO));
        for above in LEVELS.into_iter().zip(self.0) {
            if draw < above.0 {
                return between(below, above, draw);
            }
            below = above;
        }
        below.1
    }
}

/// The value at `draw` on the line from one quantile to the next, rounded down.
fn between(below: (u64, Nanos), above: (u64, Nanos), draw: u64) -> Nanos {
    let rise = u128::try_from(above.1.0.saturating_sub(below.1.0)).unwrap_or(0);
    let (passed, whole) = (draw.saturating_sub(below.0), above.0.saturating_sub(below.0));
    let risen = rise.saturating_mul(u128::from(passed)).checked_div(u128::from(whole)).unwrap_or(0);
    Nanos(below.1.0.saturating_add(i64::try_from(risen).unwrap_or(0)))
}

/// What is drawn for each message on top of its kind's least way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Where the draws start.
    pub seed: u64,
    /// On the way to the venue.
    pub there: Quantiles,
    /// On the way back.
    pub back: Quantiles,
}

/// SplitMix64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Draws(u64);

impl Draws {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The stream `number` of a seed.
    fn new(seed: u64, number: u64) -> Self {
        let mut streams = Self(seed.wrapping_add(number.wrapping_mul(Self::STEP)));
        Self(streams.next_word())
    }

    fn next_word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn draw(&mut self, quantiles: &Quantiles) -> Nanos {
        quantiles.at(u32::try_from(self.next_word() >> 32).unwrap_or(u32::MAX))
    }
}

/// What a burst of the feed adds: for each market event of the window above `events_free`, `per_event`, at most `extra_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// How long the window is; rounded down to eighths, and it ends with the last whole eighth before the message.
    pub window: Nanos,
    /// Events in it that cost nothing.
    pub events_free: u64,
    /// What every further one adds to the way to the venue.
    pub there_per_event: Nanos,
    /// What every further one adds to the way back.
    pub back_per_event: Nanos,
    /// The most that a burst adds to a way.
    pub extra_max: Nanos,
}

impl Burst {
    /// The shortest window that has eighths.
    pub const WINDOW_MIN: Nanos = Nanos(8);

    fn extra(&self, per_event: Nanos, event_count: u64) -> Nanos {
        let above = i64::try_from(event_count.saturating_sub(self.events_free)).unwrap_or(i64::MAX);
        Nanos(per_event.0.saturating_mul(above).min(self.extra_max.0))
    }
}

/// Eighths that a window has.
const WINDOW_EIGHTHS: i64 = 8;
/// Eighths that are remembered: a window, the one under way, and as many as the venue may be ahead of a message, which
/// [`ModeledLatency::way_there_min`] keeps within a window.
const SLOT_COUNT: usize = 32;

/// How many market events there were, by eighths of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Activity {
    eighth: i64,
    /// Number of the eighth since 1970, and events in it.
    slots: [(i64, u64); SLOT_COUNT],
}

impl Activity {
    fn new(window: Nanos) -> Self {
        let eighth = window.0.checked_div(WINDOW_EIGHTHS).unwrap_or(1).max(1);
        Self { eighth, slots: [(i64::MIN, 0); SLOT_COUNT] }
    }

    fn number_of(&self, time: EpochNanos) -> i64 {
        time.0.checked_div_euclid(self.eighth).unwrap_or(0)
    }

    fn place_of(number: i64) -> usize {
        usize::try_from(number.cast_unsigned() & (SLOT_COUNT as u64).saturating_sub(1)).unwrap_or(0)
    }

    fn on_event(&mut self, time: EpochNanos) {
        let number = self.number_of(time);
        if let Some(slot) = self.slots.get_mut(Self::place_of(number)) {
            let count = if slot.0 == number { slot.1 } else { 0 };
            *slot = (number, count.saturating_add(1));
        }
    }

    /// Events in the window before `time`: in the eight eighths before the one of `time`, all of which are over by then.
    fn count_before(&self, time: EpochNanos) -> u64 {
        let end = self.number_of(time);
        let count_of = |number: i64| {
            let slot = self.slots.get(Self::place_of(number)).filter(|slot| slot.0 == number);
            slot.map_or(0, |slot| slot.1)
        };
        let numbers = end.saturating_sub(WINDOW_EIGHTHS)..end;
        numbers.map(count_of).fold(0, u64::saturating_add)
    }
}

/// Latency by kind, with a spread and with bursts; see the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeledLatency {
    kinds: KindWays,
    spread: Option<(Spread, Draws, Draws)>,
    burst: Option<(Burst, Activity)>,
}

impl ModeledLatency {
    /// A model before its first message.
    #[must_use]
    pub fn new(kinds: KindWays, spread: Option<Spread>, burst: Option<Burst>) -> Self {
        let spread = spread.map(|spread| (spread, Draws::new(spread.seed, 0), Draws::new(spread.seed, 1)));
        Self { kinds, spread, burst: burst.map(|burst| (burst, Activity::new(burst.window))) }
    }
}

impl LatencyModel for ModeledLatency {
    fn way_there(&mut self, kind: RequestKind, sent: EpochNanos) -> Nanos {
        let drawn = self.spread.as_mut().map_or(Nanos::ZERO, |(spread, there, _)| there.draw(&spread.there));
        let burst = self
            .burst
            .as_ref()
            .map_or(Nanos::ZERO, |(burst, activity)| burst.extra(burst.there_per_event, activity.count_before(sent)));
        sum([self.kinds.there(kind), drawn, burst])
    }

    fn way_back(&mut self, kind: ReportKind, venue_time: EpochNanos) -> Nanos {
        let drawn = self.spread.as_mut().map_or(Nanos::ZERO, |(spread, _, back)| back.draw(&spread.back));
        let burst = self.burst.as_ref().map_or(Nanos::ZERO, |(burst, activity)| {
            burst.extra(burst.back_per_event, activity.count_before(venue_time))
        });
        sum([self.kinds.back(kind), drawn, burst])
    }

    fn on_event(&mut self, time: EpochNanos) {
        if let Some((_, activity)) = &mut self.burst {
            activity.on_event(time);
        }
    }

    /// With bursts at most their window, so that the events of a message's window are still known when it sets out.
    fn way_there_min(&self) -> Nanos {
        let KindWays { submit, replace, cancel, .. } = self.kinds;
        let least = submit.min(replace).min(cancel);
        self.burst.as_ref().map_or(least, |(burst, _)| least.min(burst.window))
    }

    fn way_back_min(&self) -> Nanos {
        self.kinds.response.min(self.kinds.fill)
    }
}

fn sum(parts: [Nanos; 3]) -> Nanos {
    Nanos(parts.iter().fold(0, |sum: i64, part| sum.saturating_add(part.0)))
}

#[cfg(test)]
mod tests;
