//! Which prices the venue can take and its feed can express.

use peregrine_types::{Price, TickTable};

/// The finest step that the feed can express: 0.0001.
pub const STEP_MIN: i64 = 100_000;
/// The highest limit price (OUCH 5.0): 199,999.99.
pub const PRICE_MAX: Price = Price(199_999_990_000_000);

/// Whether an order may have this price: above 0, at most [`PRICE_MAX`], on the tick.
#[must_use]
pub fn is_allowed(ticks: &TickTable, price: Price) -> bool {
    price <= PRICE_MAX && ticks.is_valid(price)
}

/// Whether the feed can express every price of a table.
pub(crate) fn is_expressible(ticks: &TickTable) -> bool {
    ticks.bands().iter().all(|band| band.tick.0 % STEP_MIN == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_on_the_tick_and_within_what_the_protocols_hold() {
        let allows = |raw: i64| is_allowed(&TickTable::US_EQUITY, Price(raw * STEP_MIN));
        assert!(allows(9_999) && allows(1) && allows(10_000) && allows(10_100) && allows(1_999_999_900));
        assert!(!allows(10_001) && !allows(0) && !allows(-100) && !allows(2_000_000_000));
    }

    #[test]
    fn steps_finer_than_the_feeds_are_none() {
        assert!(is_expressible(&TickTable::US_EQUITY));
        assert!(!is_expressible(&TickTable::uniform_or_cent(Price(STEP_MIN / 2))));
    }
}
