//! The catalogue of bar features: formulas, look-back, and the values, each made of a window that ends at its row.
//!
//! Every value is computed afresh from its window (two passes, no running sums), so that rows after it cannot change it
//! and a constant window has a standard deviation of exactly 0.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Bar;
use super::context::Known;
use crate::digest::hex;

/// Version of the catalogue; part of the definition hash.
pub const BAR_DEFINITION_VERSION: u32 = 1;
/// Bars of a year, by which volatilities are annualised.
const BARS_PER_YEAR: f64 = 252.0;

macro_rules! catalogue {
    ($($variant:ident, $name:literal, $look_back:literal, $formula:literal;)*) => {
        /// A feature of bars. `c`, `o`, `h`, `l`, `v`: adjusted close, open, high, low, volume; `c[k]` the close k bars
        /// before; `r` the simple return of one bar; `sd` the sample standard deviation (n − 1).
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum BarFeature {
            $(#[doc = concat!("`", $name, "`: `", $formula, "`")] $variant,)*
        }

        impl BarFeature {
            /// Every feature, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its formula.
            #[must_use]
            pub const fn formula(self) -> &'static str {
                match self { $(Self::$variant => $formula,)* }
            }

            /// How many bars before its own it needs.
            #[must_use]
            pub const fn look_back(self) -> usize {
                match self { $(Self::$variant => $look_back,)* }
            }
        }
    };
}

catalogue! {
    Ret1, "ret_1", 1, "c/c[1] - 1";
    Ret5, "ret_5", 5, "c/c[5] - 1";
    Ret20, "ret_20", 20, "c/c[20] - 1";
    VolRatio, "vol_ratio", 20, "sd_5(r)/sd_20(r)";
    MomentumNorm, "momentum_norm", 20, "r/sd_20(r)";
    VolumeZ, "volume_z", 19, "(v - mean_20(v))/sd_20(v)";
    RangeNorm, "range_norm", 0, "(h - l)/c";
    SmaSpread, "sma_spread", 19, "(mean_5(c) - mean_20(c))/c";
    Ret60, "ret_60", 60, "c/c[60] - 1";
    Volatility20, "volatility_20", 20, "sd_20(r)*sqrt(252)";
    Volatility60, "volatility_60", 60, "sd_60(r)*sqrt(252)";
    Momentum12Minus1, "momentum_12_1", 252, "c[21]/c[252] - 1";
    VixLevel, "vix_level", 0, "ln(VIX), last close known";
    VixChange5, "vix_change_5", 0, "ln(VIX/VIX 5 observations before)";
    YieldSpread, "yield_spread", 0, "long yield - short yield in percentage points, last known";
    YieldSpreadChange20, "yield_spread_change_20", 0, "yield spread - yield spread 20 observations before";
    Ret120, "ret_120", 120, "c/c[120] - 1";
    Drawdown60, "drawdown_60", 59, "c/max_60(c) - 1";
    Parkinson20, "parkinson_20", 19, "sqrt(mean_20(ln(h/l)^2)/(4 ln 2))*sqrt(252)";
    OpenGap, "open_gap", 1, "o/c[1] - 1";
    CloseLocation, "close_location", 0, "(2c - h - l)/(h - l), 0 where h = l";
    VolumeTrend, "volume_trend", 59, "ln(mean_5(v)/mean_60(v))";
    DownsideRatio20, "downside_ratio_20", 20, "sum_20(min(r, 0)^2)/sum_20(r^2)";
    Autocorrelation20, "autocorrelation_20", 21, "sum_20(r*r[1])/sum_20(r^2), both over the last 20 bars";
}

/// The eight features of source 004, in its order.
pub const SEED_004: [BarFeature; 8] = [
    BarFeature::Ret1,
    BarFeature::Ret5,
    BarFeature::Ret20,
    BarFeature::VolRatio,
    BarFeature::MomentumNorm,
    BarFeature::VolumeZ,
    BarFeature::RangeNorm,
    BarFeature::SmaSpread,
];

impl BarFeature {
    /// The feature of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|feature| feature.name() == name)
    }

    /// Whether it needs the VIX.
    #[must_use]
    pub const fn needs_vix(self) -> bool {
        matches!(self, Self::VixLevel | Self::VixChange5)
    }

    /// Whether it needs the yields.
    #[must_use]
    pub const fn needs_yields(self) -> bool {
        matches!(self, Self::YieldSpread | Self::YieldSpreadChange20)
    }

    /// The value at the last bar of `bars`, which hold at least [`Self::look_back`] bars before it. NaN where it is not
    /// defined (0/0) or its context is not known.
    #[must_use]
    pub fn value(self, bars: &[Bar], known: &Known) -> f64 {
        let Some((bar, before)) = bars.split_last() else { return f64::NAN };
        match self {
            Self::Ret1 => ret(bars, 1),
            Self::Ret5 => ret(bars, 5),
            Self::Ret20 => ret(bars, 20),
            Self::VolRatio => volatility(bars, 5) / volatility(bars, 20),
            Self::MomentumNorm => ret(bars, 1) / volatility(bars, 20),
            Self::VolumeZ => {
                let volumes = last(bars, 20).map(|bar| bar.volume);
                (bar.volume - mean(volumes.clone())) / deviation(volumes)
            }
            Self::RangeNorm => (bar.high - bar.low) / bar.close,
            Self::SmaSpread => (mean(closes(bars, 5)) - mean(closes(bars, 20))) / bar.close,
            Self::Ret60 => ret(bars, 60),
            Self::Ret120 => ret(bars, 120),
            Self::Volatility20 => volatility(bars, 20) * BARS_PER_YEAR.sqrt(),
            Self::Volatility60 => volatility(bars, 60) * BARS_PER_YEAR.sqrt(),
            Self::Momentum12Minus1 => close_before(bars, 21) / close_before(bars, 252) - 1.0,
            Self::VixLevel => known.vix.ln(),
            Self::VixChange5 => (known.vix / known.vix_5_before).ln(),
            Self::YieldSpread => known.yield_spread,
            Self::YieldSpreadChange20 => known.yield_spread - known.yield_spread_20_before,
            Self::Drawdown60 => bar.close / closes(bars, 60).fold(f64::MIN, f64::max) - 1.0,
            Self::Parkinson20 => {
                let ranges = last(bars, 20).map(|bar| (bar.high / bar.low).ln().powi(2));
                (mean(ranges) / (4.0 * std::f64::consts::LN_2)).sqrt() * BARS_PER_YEAR.sqrt()
            }
            Self::OpenGap => before.last().map_or(f64::NAN, |before| bar.open / before.close - 1.0),
            Self::CloseLocation if bar.high > bar.low => (2.0 * bar.close - bar.high - bar.low) / (bar.high - bar.low),
            Self::CloseLocation => 0.0,
            Self::VolumeTrend => {
                let volume = |count| mean(last(bars, count).map(|bar| bar.volume));
                (volume(5) / volume(60)).ln()
            }
            Self::DownsideRatio20 => {
                let down = returns(bars, 20).map(|r| r.min(0.0).powi(2)).sum::<f64>();
                down / returns(bars, 20).map(|r| r * r).sum::<f64>()
            }
            Self::Autocorrelation20 => {
                let pairs = returns(bars, 20).zip(returns(before, 20)).map(|(r, before)| r * before);
                pairs.sum::<f64>() / returns(bars, 20).map(|r| r * r).sum::<f64>()
            }
        }
    }
}

/// The canonical text of a choice of features: version, notation, every name and formula, one per line.
#[must_use]
pub fn bar_definition_text(features: &[BarFeature]) -> String {
    let mut text = format!("peregrine-bar-features {BAR_DEFINITION_VERSION}\n");
    for feature in features {
        // Writing to a String cannot fail.
        let _written = writeln!(text, "{}|{}|{}", feature.name(), feature.formula(), feature.look_back());
    }
    text
}

/// SHA-256 of [`bar_definition_text`], 64 hexadecimal digits: the name under which a model says what it was trained on.
#[must_use]
pub fn bar_definition_hash(features: &[BarFeature]) -> String {
    hex(&Sha256::digest(bar_definition_text(features).as_bytes()))
}

/// The last `count` bars; fewer where there are no more.
fn last(bars: &[Bar], count: usize) -> impl Iterator<Item = &Bar> + Clone {
    bars.get(bars.len().saturating_sub(count)..).unwrap_or_default().iter()
}

fn closes(bars: &[Bar], count: usize) -> impl Iterator<Item = f64> + Clone {
    last(bars, count).map(|bar| bar.close)
}

fn close_before(bars: &[Bar], count: usize) -> f64 {
    let at = bars.len().checked_sub(count.saturating_add(1));
    at.and_then(|at| bars.get(at)).map_or(f64::NAN, |bar| bar.close)
}

/// The simple return over `count` bars.
fn ret(bars: &[Bar], count: usize) -> f64 {
    bars.last().map_or(f64::NAN, |bar| bar.close) / close_before(bars, count) - 1.0
}

/// The last `count` returns of one bar.
fn returns(bars: &[Bar], count: usize) -> impl Iterator<Item = f64> + Clone {
    let closes = closes(bars, count.saturating_add(1));
    closes.clone().zip(closes.skip(1)).map(|(before, after)| after / before - 1.0)
}

fn volatility(bars: &[Bar], count: usize) -> f64 {
    deviation(returns(bars, count))
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    values.sum::<f64>() / count
}

/// Sample standard deviation (n − 1), in two passes; exactly 0 when all values are equal.
fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let mut pairs = values.clone().zip(values.clone().skip(1));
    if pairs.all(|(a, b)| a.to_bits() == b.to_bits()) {
        return 0.0;
    }
    let center = mean(values.clone());
    let count = values.clone().count() as f64;
    (values.map(|value| (value - center).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
}
