//! The ten best levels of one side as the last event left them, and what the next event changes: the order-flow terms
//! e of Cont, Kukanov & Stoikov (2014), level by level as in Xu, Gould & Howison (2018).

use peregrine_types::{Level, Side};

/// Levels that features look at.
pub(super) const LADDER_LEVELS: usize = 10;
/// Quantities above this count as this, so that every sum of a window stays exact in i64 and in f64.
pub(super) const QTY_MAX: i64 = 1 << 40;

/// Ten levels of one side, best first. Prices are turned so that better is always larger (asks are negated) and absent
/// levels have the worst price of all and no quantity; both sides then share one rule.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    prices: [i64; LADDER_LEVELS],
    qtys: [i64; LADDER_LEVELS],
}

impl Ladder {
    pub(super) const EMPTY: Self = Self { prices: [i64::MIN; LADDER_LEVELS], qtys: [0; LADDER_LEVELS] };

    /// Whether a change at `price` is within what the ladder shows.
    #[inline]
    pub(super) const fn shows(&self, price: i64, side: Side) -> bool {
        let [.., last] = self.prices;
        turned(price, side) >= last
    }

    /// The best price turned back, if there is one.
    #[inline]
    pub(super) const fn best(&self, side: Side) -> Option<i64> {
        let [best, ..] = self.prices;
        if best == i64::MIN { None } else { Some(turned(best, side)) }
    }

    #[inline]
    pub(super) const fn best_qty(&self) -> i64 {
        let [best, ..] = self.qtys;
        best
    }

    /// The quantity of the best `count` levels.
    #[inline]
    pub(super) fn depth(&self, count: usize) -> i64 {
        self.qtys.iter().take(count).fold(0, |sum, qty| sum.wrapping_add(*qty))
    }

    /// Takes over `levels` (best first) and gives what flowed towards this side: of level 1, of levels 2–5, of 6–10.
    #[inline]
    pub(super) fn replace(&mut self, levels: &[Level], side: Side) -> [i64; 3] {
        let mut flows = [0_i64; 3];
        let mut new_levels = levels.iter();
        for (index, (price, qty)) in self.prices.iter_mut().zip(&mut self.qtys).enumerate() {
            let (new_price, new_qty) = new_levels.next().map_or((i64::MIN, 0), |level| {
                (turned(level.price.0, side), i64::try_from(level.qty.0).unwrap_or(QTY_MAX).min(QTY_MAX))
            });
            let arrived = if new_price >= *price { new_qty } else { 0 };
            let left = if new_price <= *price { *qty } else { 0 };
            let [first, near, far] = &mut flows;
            let flow = match index {
                0 => first,
                1..=4 => near,
                _ => far,
            };
            *flow = flow.wrapping_add(arrived).wrapping_sub(left);
            (*price, *qty) = (new_price, new_qty);
        }
        flows
    }
}

/// The price with better made larger: bids as they are, asks negated.
#[inline]
const fn turned(price: i64, side: Side) -> i64 {
    match side {
        Side::Buy => price,
        Side::Sell => price.saturating_neg(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_types::{Price, Qty};

    fn levels(pairs: &[(i64, u64)]) -> Vec<Level> {
        pairs.iter().map(|&(price, qty)| Level { price: Price(price), qty: Qty(qty), order_count: 1 }).collect()
    }

    /// The three cases of Cont, Kukanov & Stoikov (2014), section 2.1, on both sides.
    #[test]
    fn flow_follows_the_three_cases_of_the_paper() {
        for side in Side::BOTH {
            let at = |price: i64| if side == Side::Buy { price } else { -price };
            let mut ladder = Ladder::EMPTY;
            assert_eq!(ladder.replace(&levels(&[(at(100), 5)]), side), [5, 0, 0], "a side appears");
            assert_eq!(ladder.replace(&levels(&[(at(100), 9)]), side), [4, 0, 0], "the queue grows");
            assert_eq!(ladder.replace(&levels(&[(at(101), 3), (at(100), 9)]), side), [3, 9, 0], "the price improves");
            assert_eq!(ladder.replace(&levels(&[(at(100), 9)]), side), [-3, -9, 0], "the price falls back");
            assert_eq!(ladder.replace(&[], side), [-9, 0, 0], "the side empties");
            assert_eq!(ladder.best(side), None);
        }
    }

    #[test]
    fn a_short_ladder_shows_every_price_and_a_full_one_only_the_better_ones() {
        let mut ladder = Ladder::EMPTY;
        assert!(ladder.shows(-1, Side::Buy));
        let full: Vec<_> = (0..10).map(|n| (100 + n, 1)).collect();
        assert_eq!(ladder.replace(&levels(&full), Side::Sell), [1, 4, 5]);
        assert!(ladder.shows(109, Side::Sell) && !ladder.shows(110, Side::Sell));
        assert_eq!((ladder.depth(5), ladder.depth(10), ladder.best(Side::Sell)), (5, 10, Some(100)));
    }
}
