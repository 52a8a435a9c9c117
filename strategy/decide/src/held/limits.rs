//! The limits of one order, as the risk gate has them: what it would deny whatever the moment is never asked of it.

use peregrine_types::{Notional, Price, Qty, Side, TickTable};

/// Limits of the risk gate that every order of the engine's own is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLimits {
    /// Largest quantity of one order, at least 1.
    pub order_qty_max: Qty,
    /// Largest value of one order, above 0.
    pub order_notional_max: Notional,
    /// Largest distance of a price from the reference price, in 1/10,000 of the reference price, 1 to 10,000.
    pub price_collar_bps: u32,
}

impl HeldLimits {
    /// How far a price may be from the reference price, rounded down to a price unit.
    fn collar(&self, reference: Price) -> Option<i64> {
        let product = i128::from(reference.0).checked_mul(i128::from(self.price_collar_bps))?;
        i64::try_from(product / 10_000).ok()
    }

    /// The price of an exit at `side`, moved towards the reference price as far as the collar demands: from `price`, or from
    /// beyond every price where that is `None`. `None` where the collar leaves no price that is on the tick and reaches
    /// `best`, the opposite best price.
    pub(super) fn exit_price(
        &self,
        (side, price): (Side, Option<Price>),
        (best, reference): (Price, Price),
        ticks: &TickTable,
    ) -> Option<Price> {
        let room = self.collar(reference)?;
        let price = match side {
            Side::Sell => {
                let lowest = ticks.up(Price(reference.0.checked_sub(room)?.max(1)), 0)?;
                price.map_or(lowest, |price| price.max(lowest))
            }
            Side::Buy => {
                let highest = ticks.down(Price(reference.0.checked_add(room)?), 0)?;
                price.map_or(highest, |price| price.min(highest))
            }
        };
        let is_reaching = match side {
            Side::Sell => price <= best,
            Side::Buy => price >= best,
        };
        (is_reaching && price.0 > 0).then_some(price)
    }

    /// Whether a price is within the collar.
    fn is_within(&self, price: Price, reference: Price) -> bool {
        self.collar(reference).is_some_and(|room| price.0.abs_diff(reference.0) <= room.unsigned_abs())
    }

    /// The most that one order may be of, a sale valued at what it may fetch: 0 where the price is beyond the collar, or one
    /// share is worth more than an order may be.
    pub(super) fn qty_max(&self, side: Side, price: Price, reference: Price) -> Qty {
        if !self.is_within(price, reference) {
            return Qty::ZERO;
        }
        let worst = match side {
            Side::Buy => price,
            Side::Sell => price.max(reference),
        };
        let count = self.order_notional_max.0.checked_div(i128::from(worst.0)).unwrap_or(0);
        // More than fits a quantity is more than any limit.
        self.order_qty_max.min(Qty(u64::try_from(count.max(0)).unwrap_or(u64::MAX)))
    }
}
