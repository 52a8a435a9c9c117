//! What a session shall be like: typed, with every violation reported at once.

use peregrine_types::{EpochNanos, Nanos};

/// Nanoseconds of a second, as times of day count them.
pub(crate) const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// The steps of the session as nanoseconds since midnight of the exchange's zone (ITCH 5.0, System Event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHours {
    /// `O`: the first message; the directory spin follows.
    pub start_of_messages: u64,
    /// `S`: orders are accepted from here.
    pub start_of_system: u64,
    /// `Q`: market hours begin with the opening crosses.
    pub open: u64,
    /// `M`: market hours end with the closing crosses.
    pub close: u64,
    /// `E`: no order is accepted any more; what is left is deleted.
    pub end_of_system: u64,
    /// `C`: the last message.
    pub end_of_messages: u64,
}

/// A profile forced on the busiest symbol, so that it can be held against a real one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeaderProfile {
    /// Fair value at the start, in ticks of 0.01 (range 200 to 1,000,000).
    pub price_ticks: u32,
    /// Scale of the spread in ticks (range 1 to 1,000): near its median.
    pub spread_ticks: f64,
}

/// Everything that decides the bytes of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// Seed of every stream of chance.
    pub seed: u64,
    /// Midnight of the session's date in the exchange's zone. Bytes of ITCH do not depend on it, receive times do.
    pub midnight: EpochNanos,
    /// Steps of the session.
    pub hours: SessionHours,
    /// How many symbols (1 to 60,000).
    pub symbol_count: u32,
    /// How many messages to aim at (at least 30 per symbol, at most 2 × 10⁹); the result is near it, not equal.
    pub message_count: u64,
    /// Orders that rest far behind the touch from before the open to the end (0 to 20,000,000), spread evenly over the
    /// symbols: what makes a real market's order table large. Each is an add and a delete besides `message_count`.
    pub standing_order_count: u32,
    /// Exponent s of the activity, rank⁻ˢ (0 to 3).
    pub zipf_exponent: f64,
    /// Expected number of further order actions that one triggers, its order's cancel included (0 to 0.9).
    pub branching_ratio: f64,
    /// How strongly order flow leans towards the latent fair value (0 to 1). At 0 flow is blind to it and order-flow
    /// imbalance says next to nothing about the next move.
    pub informed_fraction: f64,
    /// Standard deviation of a day's return of a symbol (0.001 to 0.2).
    pub volatility_per_day: f64,
    /// How many volatility pauses with a reopening auction (0 to 1,000), each of another symbol: a session with fewer
    /// symbols has fewer.
    pub halt_count: u32,
    /// How many operational halts of the venue alone (0 to 1,000), each of another symbol that is not paused.
    pub operational_halt_count: u32,
    /// Executions broken later, in millionths (0 to 100,000).
    pub broken_trade_ppm: u32,
    /// Whether the rare messages appear too: an IPO with `K` and a direct listing with `O`, retail interest `N`.
    pub has_rare_messages: bool,
    /// Whether the market-wide circuit breaker halts everything once, for fifteen minutes (`W`).
    pub has_market_wide_halt: bool,
    /// Profile of the busiest symbol; `None` draws it like the others.
    pub leader: Option<LeaderProfile>,
    /// Whether the latent process is recorded for a [`crate::TruthSink`]; the messages are the same either way.
    pub is_truth_recorded: bool,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key} is {value}: must be {bound}")]
pub struct ConfigViolation {
    /// The field.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub bound: String,
}

/// A configuration with at least one violation, and all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigError {
    /// Every violation, in the order of the fields.
    pub violations: Vec<ConfigViolation>,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the session cannot be generated")?;
        for violation in &self.violations {
            write!(f, "; {violation}")?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigError {}

impl SessionHours {
    /// A regular day: messages from 03:50, orders from 04:00, market hours 09:30 to 16:00, orders until 20:00.
    pub const REGULAR: Self = Self {
        start_of_messages: 3 * HOUR + 3_000 * SECOND,
        start_of_system: 4 * HOUR,
        open: 9 * HOUR + 1_800 * SECOND,
        close: 16 * HOUR,
        end_of_system: 20 * HOUR,
        end_of_messages: 20 * HOUR + 300 * SECOND,
    };

    /// Market hours from 09:30 for `minutes` (1 to 390), with five minutes before and two minutes after.
    #[must_use]
    pub const fn short(minutes: u64) -> Self {
        let open = Self::REGULAR.open;
        let close = open.saturating_add(minutes.saturating_mul(60 * SECOND));
        Self {
            start_of_messages: open - 360 * SECOND,
            start_of_system: open - 300 * SECOND,
            open,
            close,
            end_of_system: close.saturating_add(120 * SECOND),
            end_of_messages: close.saturating_add(180 * SECOND),
        }
    }

    fn ascending(&self) -> bool {
        let steps = [
            self.start_of_messages,
            self.start_of_system,
            self.open,
            self.close,
            self.end_of_system,
            self.end_of_messages,
        ];
        steps.windows(2).all(|pair| pair[1].saturating_sub(pair[0]) >= SECOND) && self.end_of_messages < DAY
    }
}

impl GeneratorConfig {
    /// The session of the demo: 200 symbols, about 1.8 million messages over a regular day.
    #[must_use]
    pub const fn demo(seed: u64) -> Self {
        Self {
            seed,
            midnight: EpochNanos(1_718_164_800_000_000_000), // 2024-06-12 in New York
            hours: SessionHours::REGULAR,
            symbol_count: 200,
            message_count: 1_800_000,
            standing_order_count: 0,
            zipf_exponent: 0.9,
            branching_ratio: 0.8,
            informed_fraction: 0.5,
            volatility_per_day: 0.02,
            halt_count: 3,
            operational_halt_count: 1,
            broken_trade_ppm: 200,
            has_rare_messages: true,
            has_market_wide_halt: false,
            leader: None,
            is_truth_recorded: false,
        }
    }

    /// A whole market: 8,000 symbols, about 44 million messages over a regular day, two million orders live at once.
    #[must_use]
    pub const fn market(seed: u64) -> Self {
        let demo = Self::demo(seed);
        Self {
            symbol_count: 8_000,
            message_count: 40_000_000,
            standing_order_count: 2_000_000,
            halt_count: 20,
            operational_halt_count: 4,
            ..demo
        }
    }

    /// A small session with every one of the 23 message types: `symbol_count` symbols, an hour of market hours.
    #[must_use]
    pub const fn every_type(seed: u64, symbol_count: u32, message_count: u64) -> Self {
        Self {
            hours: SessionHours::short(60),
            symbol_count,
            message_count,
            halt_count: 1,
            operational_halt_count: 1,
            broken_trade_ppm: 10_000,
            has_rare_messages: true,
            has_market_wide_halt: true,
            ..Self::demo(seed)
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`] with every violation.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut found = Violations(Vec::new());
        found.check(
            self.hours.ascending(),
            "hours",
            || format!("{:?}", self.hours),
            "steps at least 1 s apart, in a day",
        );
        found.range("symbol_count", f64::from(self.symbol_count), (1.0, 60_000.0));
        let least = f64::from(self.symbol_count) * 30.0;
        found.range("message_count", crate::math::float(self.message_count), (least, 2e9));
        found.range("standing_order_count", f64::from(self.standing_order_count), (0.0, 2e7));
        found.range("zipf_exponent", self.zipf_exponent, (0.0, 3.0));
        found.range("branching_ratio", self.branching_ratio, (0.0, 0.9));
        found.range("informed_fraction", self.informed_fraction, (0.0, 1.0));
        found.range("volatility_per_day", self.volatility_per_day, (0.001, 0.2));
        found.range("halt_count", f64::from(self.halt_count), (0.0, 1_000.0));
        found.range("operational_halt_count", f64::from(self.operational_halt_count), (0.0, 1_000.0));
        found.range("broken_trade_ppm", f64::from(self.broken_trade_ppm), (0.0, 100_000.0));
        if let Some(leader) = self.leader {
            found.range("leader.price_ticks", f64::from(leader.price_ticks), (200.0, 1_000_000.0));
            found.range("leader.spread_ticks", leader.spread_ticks, (1.0, 1_000.0));
        }
        let midnight = self.midnight;
        let is_dated = midnight.plus(Nanos::from_secs(86_400)) != EpochNanos::MAX && midnight > EpochNanos::MIN;
        found.check(is_dated, "midnight", || format!("{}", midnight.0), "a moment a day before the end of time");
        if found.0.is_empty() { Ok(()) } else { Err(ConfigError { violations: found.0 }) }
    }
}

struct Violations(Vec<ConfigViolation>);

impl Violations {
    fn check(&mut self, is_fine: bool, key: &'static str, value: impl FnOnce() -> String, bound: &str) {
        if !is_fine {
            self.0.push(ConfigViolation { key, value: value(), bound: bound.to_owned() });
        }
    }

    fn range(&mut self, key: &'static str, value: f64, (low, high): (f64, f64)) {
        self.check(value >= low && value <= high, key, || value.to_string(), &format!("{low} to {high}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_sound() {
        for config in [GeneratorConfig::demo(1), GeneratorConfig::market(1), GeneratorConfig::every_type(1, 5, 5_000)] {
            config.validate().unwrap();
        }
    }

    #[test]
    fn every_violation_is_named_at_once() {
        let mut config = GeneratorConfig::demo(1);
        config.symbol_count = 0;
        config.branching_ratio = f64::NAN;
        config.hours.close = config.hours.open;
        config.leader = Some(LeaderProfile { price_ticks: 1, spread_ticks: 5.0 });
        let error = config.validate().unwrap_err();
        let keys: Vec<_> = error.violations.iter().map(|violation| violation.key).collect();
        assert_eq!(keys, ["hours", "symbol_count", "branching_ratio", "leader.price_ticks"]);
        assert!(error.to_string().contains("branching_ratio is NaN: must be 0 to 0.9"), "{error}");
    }
}
