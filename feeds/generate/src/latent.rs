//! The latent process behind the flow: a mean-reverting fair value per symbol whose drift and volatility follow
//! regimes, anchored to the opening price times a common market factor. Order flow leans towards it, so what a model
//! can learn from the flow is known exactly; a [`TruthSink`] may watch it.

use peregrine_types::{EpochNanos, Price};

use crate::config::GeneratorConfig;
use crate::math::float;
use crate::random::Random;
use crate::symbols::SymbolProfile;

/// Rate of reversion to the anchor per second: half-life of twenty minutes.
const REVERSION_PER_SECOND: f64 = core::f64::consts::LN_2 / 1_200.0;
/// Seconds of market hours in a regular day, by which a day's volatility is spread out.
const DAY_SECONDS: f64 = 23_400.0;
/// Share of the day's variance that the market factor explains.
const MARKET_SHARE: f64 = 0.3;
/// Price in 10⁻⁹ of a tick of 0.01.
const TICK: f64 = 1e7;
/// Shortest span over which the latent state is advanced.
const STEP_MIN: u64 = 1_000_000;

/// What kind of market a symbol is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Regime {
    /// No drift, low volatility.
    Calm,
    /// Drift upwards.
    Rising,
    /// Drift downwards.
    Falling,
    /// No drift, high volatility, stronger self-excitation.
    Turbulent,
}

/// The latent state of one symbol at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TruthRecord {
    /// When.
    pub time: EpochNanos,
    /// Locate code of the symbol.
    pub locate: u16,
    /// Fair value.
    pub fair_value: Price,
    /// Current regime.
    pub regime: Regime,
    /// Pressure on the flow, fair value minus middle in units of the symbol's spread scale, within ±2; 0 where a side
    /// of the book is empty.
    pub pressure: f64,
}

/// Receives the latent process.
pub trait TruthSink {
    /// Takes the state of a symbol, in the order of time.
    fn truth(&mut self, record: &TruthRecord);
}

impl<F: FnMut(&TruthRecord)> TruthSink for F {
    fn truth(&mut self, record: &TruthRecord) {
        self(record);
    }
}

/// The common factor.
#[derive(Clone, Debug)]
pub(crate) struct MarketFactor {
    time: u64,
    log_return: f64,
    volatility: f64,
}

/// The latent state of a symbol.
#[derive(Clone, Debug)]
pub(crate) struct Latent {
    time: u64,
    /// Fair value in ticks.
    pub(crate) fair: f64,
    anchor: f64,
    beta: f64,
    volatility: f64,
    spread: f64,
    /// Current regime.
    pub(crate) regime: Regime,
    regime_end: u64,
}

impl MarketFactor {
    pub(crate) fn new(config: &GeneratorConfig) -> Self {
        let volatility = config.volatility_per_day * (MARKET_SHARE / DAY_SECONDS).sqrt();
        Self { time: config.hours.start_of_system, log_return: 0.0, volatility }
    }

    /// The factor at `time`, advanced in steps of at least a quarter of a second.
    pub(crate) fn at(&mut self, time: u64, random: &mut Random) -> f64 {
        let span = time.saturating_sub(self.time);
        if span >= 250_000_000 {
            let seconds = float(span) / 1e9;
            self.log_return *= 1.0 - (REVERSION_PER_SECOND * 0.2 * seconds).min(1.0);
            self.log_return += self.volatility * seconds.min(3_600.0).sqrt() * random.normal();
            self.time = time;
        }
        self.log_return
    }
}

impl Latent {
    pub(crate) fn new(profile: &SymbolProfile, config: &GeneratorConfig) -> Self {
        let price = f64::from(profile.price_ticks);
        Self {
            time: config.hours.start_of_system,
            fair: price,
            anchor: price,
            beta: profile.beta,
            volatility: price * config.volatility_per_day * ((1.0 - MARKET_SHARE) / DAY_SECONDS).sqrt(),
            spread: profile.spread_ticks,
            regime: Regime::Calm,
            regime_end: 0,
        }
    }

    /// Moves the state on to `time`; says whether it moved.
    pub(crate) fn advance(&mut self, time: u64, market: &mut MarketFactor, random: &mut Random) -> bool {
        let span = time.saturating_sub(self.time);
        if span < STEP_MIN {
            return false;
        }
        self.time = time;
        let seconds = (float(span) / 1e9).min(3_600.0);
        let (drift, scale) = match self.regime {
            Regime::Calm => (0.0, 0.6),
            Regime::Rising => (self.spread * 0.1, 0.8),
            Regime::Falling => (self.spread * -0.1, 0.8),
            Regime::Turbulent => (0.0, 1.8),
        };
        let anchor = self.anchor * (1.0 + self.beta * market.at(time, random));
        self.fair += (anchor - self.fair) * (REVERSION_PER_SECOND * seconds).min(1.0)
            + drift * seconds.min(60.0)
            + self.volatility * scale * seconds.sqrt() * random.normal();
        self.fair = self.fair.clamp(self.anchor * 0.2, self.anchor * 5.0);
        if time >= self.regime_end {
            self.enter_regime(time, random);
        }
        true
    }

    fn enter_regime(&mut self, time: u64, random: &mut Random) {
        let (regime, mean_seconds) = match random.below(16) {
            0..=6 => (Regime::Calm, 90.0),
            7..=9 => (Regime::Rising, 30.0),
            10..=12 => (Regime::Falling, 30.0),
            _ => (Regime::Turbulent, 40.0),
        };
        self.regime = regime;
        self.regime_end = time + crate::math::to_u64(mean_seconds * random.exponential() * 1e9);
    }

    /// The fair value as a price.
    pub(crate) fn fair_value(&self) -> Price {
        Price(crate::math::to_i64(self.fair * TICK))
    }
}
