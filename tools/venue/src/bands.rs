//! How wide price bands are: by symbol, by the previous close, and by the time of day.

use peregrine_types::{Price, Symbol, TickTable};

use crate::orders::Bands;
use crate::ticks::PRICE_MAX;

const BASIS_POINTS: i128 = 10_000;

/// How far from the reference a trade may be, for previous closes from one price on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandWidth {
    /// The lowest previous close that it is for.
    pub from: Price,
    /// In basis points of the reference: 1 to 9,999.
    pub width_bps: u32,
    /// And never more than that, above 0; `None` for no such bound.
    pub width_max: Option<Price>,
    /// Whether both are doubled for a while from the open on.
    pub is_doubled_at_open: bool,
    /// Whether both are doubled for a while before the close.
    pub is_doubled_at_close: bool,
}

/// The widths of a group of symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandTier {
    /// The symbols; `None` for all that no other tier names.
    pub symbols: Option<Vec<Symbol>>,
    /// Their widths, from the lowest previous close up, the first one from 0.
    pub widths: Vec<BandWidth>,
}

impl BandWidth {
    /// One width for every price and time.
    #[must_use]
    pub const fn plain(width_bps: u32) -> Self {
        let (is_doubled_at_open, is_doubled_at_close) = (false, false);
        Self { from: Price(0), width_bps, width_max: None, is_doubled_at_open, is_doubled_at_close }
    }

    /// The distance to both bands of a reference, rounded down to the finest price.
    pub(crate) fn distance(&self, reference: Price, is_doubled: bool) -> i64 {
        let factor = if is_doubled { 2 } else { 1 };
        let width = share(reference, self.width_bps * factor);
        self.width_max.map_or(width, |most| width.min(most.0.saturating_mul(i64::from(factor))))
    }
}

impl BandTier {
    /// One width for every symbol, price and time.
    #[must_use]
    pub fn plain(width_bps: u32) -> Self {
        Self { symbols: None, widths: vec![BandWidth::plain(width_bps)] }
    }

    /// The width of a previous close.
    fn width(&self, close: Price) -> Option<BandWidth> {
        self.widths.iter().rfind(|width| width.from <= close).copied()
    }
}

/// The width of a symbol with this previous close: that of the tier that names it, else that of the tier for all others.
/// `None` where there is neither: such a symbol has no bands.
pub(crate) fn width_of(tiers: &[BandTier], name: Symbol, close: Price) -> Option<BandWidth> {
    let named = tiers.iter().find(|tier| tier.symbols.as_ref().is_some_and(|symbols| symbols.contains(&name)));
    named.or_else(|| tiers.iter().find(|tier| tier.symbols.is_none()))?.width(close)
}

/// The share of a price, rounded down.
pub(crate) fn share(price: Price, bps: u32) -> i64 {
    i64::try_from(i128::from(price.0) * i128::from(bps) / BASIS_POINTS).unwrap_or(i64::MAX)
}

/// The prices on the tick within `distance` of a reference, which is one of them itself where it is on the tick.
pub(crate) fn bands_around(reference: Price, distance: i64, ticks: &TickTable) -> Bands {
    let reference = ticks.down(reference, 0).unwrap_or(reference);
    // A band that would lie at or below zero is the lowest price.
    let lower = Price(reference.0.saturating_sub(distance).max(1));
    let upper = Price(reference.0.saturating_add(distance)).min(PRICE_MAX);
    Bands {
        lower: ticks.up(lower, 0).unwrap_or(reference).min(reference),
        upper: ticks.down(upper, 0).unwrap_or(reference).max(reference),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ticks::STEP_MIN;

    /// Hundredths of a cent.
    const fn mils(mils: i64) -> Price {
        Price(mils * STEP_MIN)
    }

    /// The tiers of the Limit Up-Limit Down plan, as docs/venue.md has them.
    fn plan() -> [BandTier; 2] {
        let width = |from, width_bps, is_doubled_at_close| BandWidth {
            from: mils(from),
            is_doubled_at_close,
            ..BandWidth::plain(width_bps)
        };
        let tier = |symbols, bps, is_doubled| BandTier {
            symbols,
            widths: vec![
                BandWidth { width_max: Some(mils(1_500)), ..width(0, 7_500, true) },
                width(7_500, 2_000, true),
                width(30_001, bps, is_doubled),
            ],
        };
        [tier(Some(vec![Symbol(*b"FIRST   ")]), 500, true), tier(None, 1_000, false)]
    }

    #[test]
    fn bands_are_on_the_tick_and_never_wider_than_said() {
        let ticks = TickTable::US_EQUITY;
        let around = |reference: i64, bps| {
            let reference = mils(reference);
            let Bands { lower, upper } = bands_around(reference, share(reference, bps), &ticks);
            (lower.0 / STEP_MIN, upper.0 / STEP_MIN)
        };
        assert_eq!(around(100_000, 500), (95_000, 105_000));
        assert_eq!(around(100_100, 500), (95_100, 105_100), "rounded inwards");
        assert_eq!(around(100_000, 1), (100_000, 100_000));
        assert_eq!(around(100_050, 1).1, 100_000, "a middle is off the tick");
        assert_eq!(bands_around(PRICE_MAX, share(PRICE_MAX, 1_000), &ticks).upper, PRICE_MAX);
    }

    /// Each edge of the plan: the previous close, the reference, and where the bands are, plain and doubled before the close.
    #[test]
    fn the_plans_tiers_at_each_edge() {
        let plan = plan();
        let bands = |name: &[u8; 8], close, reference, is_late: bool| {
            let width = width_of(&plan, Symbol(*name), mils(close)).expect("a tier for all others");
            let distance = width.distance(mils(reference), is_late && width.is_doubled_at_close);
            let Bands { lower, upper } = bands_around(mils(reference), distance, &TickTable::US_EQUITY);
            (lower.0 / STEP_MIN, upper.0 / STEP_MIN)
        };
        let (first, other) = (b"FIRST   ", b"OTHER   ");
        for (name, close, reference, plain, doubled) in [
            // Above 3.00: 5 % and 10 %, of which the second is not doubled.
            (first, 30_100, 100_000, (95_000, 105_000), (90_000, 110_000)),
            (other, 30_100, 100_000, (90_000, 110_000), (90_000, 110_000)),
            (first, 30_001, 100_000, (95_000, 105_000), (90_000, 110_000)),
            // 0.75 to 3.00, both included: 20 %, whatever the reference is by now.
            (first, 30_000, 100_000, (80_000, 120_000), (60_000, 140_000)),
            (other, 30_000, 100_000, (80_000, 120_000), (60_000, 140_000)),
            (other, 7_500, 10_000, (8_000, 12_000), (6_000, 14_000)),
            // Below 0.75: 75 %, 0.15 at most; they meet at 0.20. Nothing lies below the lowest price.
            (first, 7_499, 10_000, (8_500, 11_500), (7_000, 13_000)),
            (other, 7_499, 2_000, (500, 3_500), (1, 5_000)),
            (other, 7_499, 1_999, (500, 3_498), (1, 4_997)),
            (other, 1, 2_001, (501, 3_501), (1, 5_001)),
            (other, 1, 1, (1, 1), (1, 2)),
        ] {
            let found = [false, true].map(|is_late| bands(name, close, reference, is_late));
            assert_eq!(found, [plain, doubled], "{close} {reference}");
        }
        assert_eq!(width_of(&plan[..1], Symbol(*other), mils(100_000)), None, "no tier, no bands");
    }

    proptest! {
        /// The naive twin: the prices on the tick that lie within the width are exactly those within the bands.
        #[test]
        fn bands_hold_what_lies_within_the_width_and_no_more(
            reference in 1_i64..60_000, bps in 1_u32..10_000, most in prop::option::of(1_i64..9_000), is_doubled: bool,
        ) {
            let ticks = TickTable::US_EQUITY;
            let reference = ticks.down(mils(reference), 0).unwrap_or(mils(1));
            let width = BandWidth { width_max: most.map(mils), ..BandWidth::plain(bps) };
            let bands = bands_around(reference, width.distance(reference, is_doubled), &ticks);
            let factor = if is_doubled { 2 } else { 1 };
            let is_within = |price: Price| {
                let distance = i128::from(price.0.abs_diff(reference.0));
                let is_near = distance * 10_000 <= i128::from(reference.0) * i128::from(bps) * factor;
                is_near && most.is_none_or(|most| distance <= i128::from(mils(most).0) * factor)
            };
            prop_assert!(is_within(bands.lower) && is_within(bands.upper), "{bands:?}");
            prop_assert!(ticks.is_valid(bands.lower) && ticks.is_valid(bands.upper), "{bands:?}");
            prop_assert!(ticks.down(bands.lower, 1).is_none_or(|price| !is_within(price)), "{bands:?}");
            prop_assert!(ticks.up(bands.upper, 1).is_none_or(|price| !is_within(price)), "{bands:?}");
        }
    }
}
