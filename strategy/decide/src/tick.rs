//! Prices on the tick: the one door by which floats come back into orders.

use peregrine_types::{Price, Side, TickTable};

/// A price this close to a tick, in ticks, is on it: what division in binary64 may miss by.
const SNAP_TICKS: f64 = 1e-6;
/// Prices are below this, in [`Price`] units: up to here every integer is a binary64 number.
const PRICE_MAX: f64 = 9_007_199_254_740_992.0;

/// The price on the tick of `ticks` at or behind `price` (in [`Price`] units, 10⁻⁹ of the currency) for an order of
/// `side`: buys are rounded down, sells up, so that no order pays more or asks less than was meant. `None` when `price`
/// is not finite, rounds to zero or below, or does not fit.
#[must_use]
#[inline]
pub fn round_to_tick(price: f64, ticks: &TickTable, side: Side) -> Option<Price> {
    if !(0.0..PRICE_MAX).contains(&price) {
        return None;
    }
    let tick = ticks.tick(Price(truncated(price)));
    let steps = price / tick.0 as f64;
    let whole = truncated(steps);
    let rest = steps - whole as f64;
    let is_up = match side {
        Side::Buy => rest > 1.0 - SNAP_TICKS,
        Side::Sell => rest > SNAP_TICKS,
    };
    let rounded = whole.checked_add(i64::from(is_up))?.checked_mul(tick.0)?;
    (rounded > 0).then_some(Price(rounded))
}

/// The best price moved `steps` ticks behind itself on `side`, and back onto the tick if the venue's price is finer.
#[must_use]
#[inline]
pub(crate) fn behind(best: Price, steps: u32, ticks: &TickTable, side: Side) -> Option<Price> {
    match side {
        Side::Buy => ticks.down(best, steps),
        Side::Sell => ticks.up(best, steps),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "dropping the fraction is meant; the caller checked the range")]
#[inline]
const fn truncated(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows panics, as it should")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICK: Price = Price(10_000_000);
    const US: TickTable = TickTable::US_EQUITY;

    #[test]
    fn buys_round_down_and_sells_up() {
        assert_eq!(round_to_tick(100.019e9, &US, Side::Buy), Some(Price(100_010_000_000)));
        assert_eq!(round_to_tick(100.011e9, &US, Side::Sell), Some(Price(100_020_000_000)));
        assert_eq!(round_to_tick(100.01e9 - 1.0, &US, Side::Buy), Some(Price(100_010_000_000)), "within the snap");
    }

    #[test]
    fn below_one_dollar_the_tick_is_finer() {
        assert_eq!(round_to_tick(0.123_45e9, &US, Side::Buy), Some(Price(123_400_000)));
        assert_eq!(round_to_tick(0.123_45e9, &US, Side::Sell), Some(Price(123_500_000)));
        assert_eq!(round_to_tick(0.999_95e9, &US, Side::Sell), Some(Price(1_000_000_000)), "up into the next band");
        assert_eq!(behind(Price(1_000_000_000), 1, &US, Side::Buy), Some(Price(999_900_000)));
        assert_eq!(behind(Price(999_900_000), 2, &US, Side::Sell), Some(Price(1_010_000_000)));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for price in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e9, 1e300, 0.0, 1.0] {
            assert_eq!(round_to_tick(price, &US, Side::Buy), None, "{price}");
        }
        assert_eq!(behind(Price(i64::MIN), u32::MAX, &US, Side::Buy), None);
        assert_eq!(behind(Price(i64::MAX), u32::MAX, &US, Side::Sell), None);
    }

    proptest! {
        #[test]
        fn every_price_on_the_tick_is_its_own_rounding(ticks in 1_i64..900_000_000, wide: bool) {
            let tick = if wide { TICK } else { Price(100_000) };
            let price = Price(ticks * tick.0);
            for side in Side::BOTH {
                prop_assert_eq!(round_to_tick(price.0 as f64, &TickTable::uniform_or_cent(tick), side), Some(price));
            }
        }

        #[test]
        fn rounding_never_improves_on_the_price_by_more_than_the_snap(price in 1e7_f64..9e15) {
            let buy = round_to_tick(price, &US, Side::Buy).unwrap();
            let sell = round_to_tick(price, &US, Side::Sell).unwrap();
            prop_assert!(buy.0 as f64 <= price + 10.0 && buy.0 as f64 > price - 1e7 && US.is_valid(buy));
            prop_assert!(sell.0 as f64 >= price - 10.0 && (sell.0 as f64) < price + 1e7 && US.is_valid(sell));
        }
    }
}
