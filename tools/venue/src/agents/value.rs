//! The value that nobody sees but the informed: see [`ValueConfig`].

use peregrine_generate::{Random, exp, to_i64};
use peregrine_types::Price;

use super::config::ValueConfig;
use crate::orders::TimeOfDay;

/// Seconds of an hour.
pub(super) const HOUR: f64 = 3_600.0;
const BASIS_POINT: f64 = 1e-4;
const MILLI: f64 = 1e-3;
/// How far the value goes from its start, at most: a share of it.
const DISTANCE_MAX: f64 = 0.5;

/// The value of one symbol.
#[derive(Clone, Debug)]
pub(super) struct Value {
    base: f64,
    distance: f64,
    time: TimeOfDay,
    next_jump: f64,
    random: Random,
}

/// Seconds from one time of day to a later one.
#[expect(clippy::cast_precision_loss, reason = "spans of a day, far below 2^53 ns")]
pub(super) fn seconds(from: TimeOfDay, to: TimeOfDay) -> f64 {
    to.0.saturating_sub(from.0) as f64 * 1e-9
}

/// A price as a number of its own unit.
#[expect(clippy::cast_precision_loss, reason = "prices are below 200,000 with four decimals: below 2^53 units")]
pub(super) const fn float(price: Price) -> f64 {
    price.0 as f64
}

impl Value {
    pub(super) fn new(base: Price, start: TimeOfDay, mut random: Random) -> Self {
        let next_jump = random.exponential();
        Self { base: float(base), distance: 0.0, time: start, next_jump, random }
    }

    /// The value now, as a number of price units.
    pub(super) fn now(&self) -> f64 {
        self.base * (1.0 + self.distance)
    }

    /// The value now, to the nearest unit below.
    pub(super) fn price(&self) -> Price {
        Price(to_i64(self.now()))
    }

    /// Lets time pass. Jumps come behind the walk of the span in which they fall.
    pub(super) fn pass(&mut self, time: TimeOfDay, config: &ValueConfig) {
        let passed = seconds(self.time, time) / HOUR;
        if passed <= 0.0 {
            return;
        }
        self.time = time;
        let sigma = f64::from(config.volatility_bps) * BASIS_POINT;
        let kappa = f64::from(config.reversion_milli) * MILLI;
        if kappa > 0.0 {
            let kept = exp(-kappa * passed);
            let spread = sigma * ((1.0 - kept * kept) / (2.0 * kappa)).sqrt();
            self.distance = self.distance * kept + spread * self.random.normal();
        } else {
            self.distance += sigma * passed.sqrt() * self.random.normal();
        }
        self.next_jump -= passed * f64::from(config.jumps_milli) * MILLI;
        while self.next_jump <= 0.0 {
            self.distance += f64::from(config.jump_bps) * BASIS_POINT * self.random.normal();
            self.next_jump += self.random.exponential().max(1e-6);
        }
        self.distance = self.distance.clamp(-DISTANCE_MAX, DISTANCE_MAX);
    }
}
