//! What one symbol could cost at worst.

use peregrine_types::{Price, Side, TickTable};

/// What the gate must know of an instrument before it lets an order through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstrumentRules {
    /// Its price steps.
    pub ticks: TickTable,
}

impl InstrumentRules {
    /// US-listed shares: a cent, and a hundredth of a cent below one dollar (Regulation NMS, rule 612).
    pub const US_EQUITY: Self = Self { ticks: TickTable::US_EQUITY };

    /// Whether `price` is above zero and on the tick.
    #[must_use]
    #[inline]
    pub fn is_valid(&self, price: Price) -> bool {
        self.ticks.is_valid(price)
    }
}

/// Position and open orders of one symbol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SymbolRisk {
    pub(crate) position: i64,
    /// Open quantity by side.
    pub(crate) open_qty: [u64; 2],
    /// Value of the open quantity by side, each order at its worst price.
    pub(crate) open_notional: [i128; 2],
    /// The last reference price, or fill price.
    pub(crate) mark: i64,
    /// The symbol's part of the gross exposure.
    pub(crate) counted: i128,
}

/// The entry of `side`.
pub(crate) const fn of<T: Copy>(pair: &[T; 2], side: Side) -> T {
    let [buy, sell] = *pair;
    match side {
        Side::Buy => buy,
        Side::Sell => sell,
    }
}

/// `pair` with another entry of `side`.
pub(crate) const fn with<T: Copy>(pair: [T; 2], side: Side, value: T) -> [T; 2] {
    let [buy, sell] = pair;
    match side {
        Side::Buy => [value, sell],
        Side::Sell => [buy, value],
    }
}

impl SymbolRisk {
    /// Worst-case exposure: the larger of what is held when every buy fills and no sell does, and the reverse, the
    /// position at the mark and each open order at its worst price. `None` on overflow.
    pub(crate) fn exposure(&self) -> Option<i128> {
        self.exposure_at(self.mark, self.open_notional)
    }

    /// [`exposure`](Self::exposure) with another mark and other values open.
    pub(crate) fn exposure_at(&self, mark: i64, open_notional: [i128; 2]) -> Option<i128> {
        let held = i128::from(self.position).checked_mul(i128::from(mark))?;
        let [buys, sells] = open_notional;
        let (long, short) = (held.checked_add(buys)?, sells.checked_sub(held)?);
        Some(long.max(short))
    }

    /// The position's size if everything open on `side`, and `qty` more, were filled: negative while the position stays
    /// on the other side.
    pub(crate) fn worst_position(&self, side: Side, qty: u64) -> i128 {
        let open = i128::from(of(&self.open_qty, side)).saturating_add(i128::from(qty));
        let held = i128::from(self.position);
        match side {
            Side::Buy => held.saturating_add(open),
            Side::Sell => open.saturating_sub(held),
        }
    }

    /// What is open on `side`, and its value, with `qty` more worth `notional`; `None` on overflow.
    pub(crate) fn with_more(&self, side: Side, qty: u64, notional: i128) -> Option<(u64, i128)> {
        let open_qty = of(&self.open_qty, side).checked_add(qty)?;
        Some((open_qty, of(&self.open_notional, side).checked_add(notional)?))
    }

    /// Puts what is open on `side`, and its value, in the place of what was.
    pub(crate) fn set_open(&mut self, side: Side, (open_qty, open_notional): (u64, i128)) {
        self.open_qty = with(self.open_qty, side, open_qty);
        self.open_notional = with(self.open_notional, side, open_notional);
    }

    /// With `qty` less open on `side`, worth `notional`.
    pub(crate) fn release(&mut self, side: Side, qty: u64, notional: i128) {
        self.open_qty = with(self.open_qty, side, of(&self.open_qty, side).saturating_sub(qty));
        self.open_notional = with(self.open_notional, side, of(&self.open_notional, side).saturating_sub(notional));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tick_depends_on_the_price() {
        const ONE: i64 = peregrine_types::PRICE_SCALE;
        let rules = InstrumentRules::US_EQUITY;
        assert!(rules.is_valid(Price(ONE)) && rules.is_valid(Price(ONE + 10_000_000)));
        assert!(!rules.is_valid(Price(ONE + 100_000)) && rules.is_valid(Price(ONE - 100_000)));
        assert!(!rules.is_valid(Price(0)) && !rules.is_valid(Price(-10_000_000)) && !rules.is_valid(Price(1)));
    }

    #[test]
    fn the_exposure_is_the_worse_of_both_ends() {
        let mut symbol = SymbolRisk { position: 100, mark: 10, ..Default::default() };
        assert_eq!(symbol.exposure(), Some(1000));
        let open = |symbol: &mut SymbolRisk, side: Side, qty: u64, notional: i128| {
            symbol.set_open(side, symbol.with_more(side, qty, notional).unwrap());
        };
        open(&mut symbol, Side::Sell, 100, 1000);
        assert_eq!(symbol.exposure(), Some(1000), "closing a position adds nothing");
        open(&mut symbol, Side::Sell, 150, 1500);
        assert_eq!(symbol.exposure(), Some(1500), "100 long and 250 to sell: at worst 150 short");
        open(&mut symbol, Side::Buy, 60, 600);
        assert_eq!(symbol.exposure(), Some(1600), "at worst 160 long");
        assert_eq!((symbol.worst_position(Side::Buy, 1), symbol.worst_position(Side::Sell, 1)), (161, 151));
        symbol.mark = i64::MAX;
        symbol.position = i64::MAX;
        symbol.open_notional = [i128::MAX, 0];
        assert_eq!(symbol.exposure(), None);
    }
}
