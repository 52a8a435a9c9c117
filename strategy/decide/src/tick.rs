//! Prices on the tick: the one door by which floats come back into orders.

use peregrine_types::{Price, Side};

/// A price this close to a tick, in ticks, is on it: what division in binary64 may miss by.
const SNAP_TICKS: f64 = 1e-6;
/// Largest number of ticks that a price may be: below it every integer is a binary64 number.
const TICKS_MAX: f64 = 9_007_199_254_740_992.0;

/// The price on the tick at or behind `price` (in [`Price`] units, 10⁻⁹ of the currency) for an order of `side`: buys
/// are rounded down, sells up, so that no order pays more or asks less than was meant. `None` when `price` is not
/// finite, rounds to zero or below, or does not fit.
#[must_use]
#[inline]
pub fn round_to_tick(price: f64, tick: Price, side: Side) -> Option<Price> {
    let ticks = price / tick.0 as f64;
    if tick.0 <= 0 || !(0.0..TICKS_MAX).contains(&ticks) {
        return None;
    }
    let whole = truncated(ticks);
    let rest = ticks - whole as f64;
    let is_up = match side {
        Side::Buy => rest > 1.0 - SNAP_TICKS,
        Side::Sell => rest > SNAP_TICKS,
    };
    let rounded = whole.checked_add(i64::from(is_up))?.checked_mul(tick.0)?;
    (rounded > 0).then_some(Price(rounded))
}

/// The best price moved `ticks` behind itself on `side`, and back onto the tick if the venue's price is finer.
#[must_use]
#[inline]
pub(crate) fn behind(best: Price, ticks: u32, tick: Price, side: Side) -> Option<Price> {
    let distance = i64::from(ticks).checked_mul(tick.0)?;
    let moved = match side {
        Side::Buy => best.0.checked_sub(distance)?,
        Side::Sell => best.0.checked_add(distance)?,
    };
    round_to_tick(moved as f64, tick, side)
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

    #[test]
    fn buys_round_down_and_sells_up() {
        assert_eq!(round_to_tick(100.019e9, TICK, Side::Buy), Some(Price(100_010_000_000)));
        assert_eq!(round_to_tick(100.011e9, TICK, Side::Sell), Some(Price(100_020_000_000)));
        assert_eq!(round_to_tick(100.01e9 - 1.0, TICK, Side::Buy), Some(Price(100_010_000_000)), "within the snap");
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for price in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e9, 1e300, 0.0, 1.0] {
            assert_eq!(round_to_tick(price, TICK, Side::Buy), None, "{price}");
        }
        assert_eq!(round_to_tick(1e9, Price(0), Side::Buy), None);
        assert_eq!(behind(Price(i64::MIN), u32::MAX, Price(i64::MAX), Side::Buy), None);
    }

    proptest! {
        #[test]
        fn every_price_on_the_tick_is_its_own_rounding(ticks in 1_i64..900_000_000, wide: bool) {
            let tick = if wide { TICK } else { Price(100_000) };
            let price = Price(ticks * tick.0);
            for side in Side::BOTH {
                prop_assert_eq!(round_to_tick(price.0 as f64, tick, side), Some(price));
            }
        }

        #[test]
        fn rounding_never_improves_on_the_price_by_more_than_the_snap(price in 1e7_f64..1e15) {
            let buy = round_to_tick(price, TICK, Side::Buy).unwrap();
            let sell = round_to_tick(price, TICK, Side::Sell).unwrap();
            prop_assert!(buy.0 as f64 <= price + 10.0 && buy.0 as f64 > price - 1e7 && buy.0 % TICK.0 == 0);
            prop_assert!(sell.0 as f64 >= price - 10.0 && (sell.0 as f64) < price + 1e7 && sell.0 % TICK.0 == 0);
        }
    }
}
