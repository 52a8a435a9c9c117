//! The ten best levels of one side as the last event left them, and what the next event changes: the order-flow terms
//! e of Cont, Kukanov & Stoikov (2014), level by level as in Xu, Gould & Howison (2018).

use peregrine_types::{Level, Side};

/// Levels that features look at.
pub(super) const LADDER_LEVELS: usize = 10;
/// Quantities above this count as this, so that every sum of a window stays exact in i64 and in f64.
pub(super) const QTY_MAX: i64 = 1 << 40;

/// One level: price, turned so that better is always larger (asks are negated), and quantity. An absent level has the
/// worst price of all and no quantity, so that both sides share one rule.
#[derive(Clone, Copy, Debug)]
struct Rung {
    price: i64,
    qty: i64,
}

/// Ten levels of one side, best first.
#[derive(Clone, Debug)]
#[repr(C, align(32))]
pub(super) struct Ladder {
    rungs: [Rung; LADDER_LEVELS],
}

/// What every event needs of a ladder.
#[derive(Clone, Debug)]
pub(super) struct LadderHead {
    /// Quantity of the best level.
    best_qty: i64,
    /// Turned price of the last level.
    last_price: i64,
}

const ABSENT: Rung = Rung { price: i64::MIN, qty: 0 };

impl LadderHead {
    pub(super) const EMPTY: Self = Self { best_qty: 0, last_price: ABSENT.price };

    /// Whether a change at `price` is within what the ladder shows.
    #[inline]
    pub(super) const fn shows(&self, price: i64, side: Side) -> bool {
        turned(price, side) >= self.last_price
    }

    #[inline]
    pub(super) const fn best_qty(&self) -> i64 {
        self.best_qty
    }
}

impl Ladder {
    pub(super) const EMPTY: Self = Self { rungs: [ABSENT; LADDER_LEVELS] };

    #[inline]
    pub(super) const fn head(&self) -> LadderHead {
        let [best, .., last] = self.rungs;
        LadderHead { best_qty: best.qty, last_price: last.price }
    }

    /// The best price turned back, if there is one.
    #[inline]
    pub(super) const fn best(&self, side: Side) -> Option<i64> {
        let [best, ..] = self.rungs;
        if best.price == ABSENT.price { None } else { Some(turned(best.price, side)) }
    }

    /// The quantity of the best level, of the best five and of all ten.
    #[inline]
    pub(super) fn depths(&self) -> [i64; 3] {
        let sum = |sum: i64, rung: &Rung| sum.wrapping_add(rung.qty);
        let [best, near @ .., _, _, _, _, _] = &self.rungs;
        let [.., six, seven, eight, nine, ten] = &self.rungs;
        let near = near.iter().fold(best.qty, sum);
        [best.qty, near, [six, seven, eight, nine, ten].into_iter().fold(near, sum)]
    }

    /// Reads every line.
    #[inline]
    pub(super) const fn touch(&self) -> u64 {
        let [best, _, _, _, fifth, _, _, _, ninth, _] = &self.rungs;
        (best.qty ^ fifth.qty ^ ninth.qty).cast_unsigned()
    }

    /// Takes over `levels` (best first) and gives what flowed towards this side: of level 1, of levels 2–5, of 6–10.
    #[inline(never)]
    pub(super) fn replace(&mut self, levels: &[Level], side: Side) -> [i64; 3] {
        let mut flows = Flows::default();
        let mut new_levels = levels.iter();
        for (index, rung) in self.rungs.iter_mut().enumerate() {
            let new = new_levels
                .next()
                .map_or(ABSENT, |level| Rung { price: turned(level.price.0, side), qty: capped(level) });
            let arrived = if new.price >= rung.price { new.qty } else { 0 };
            let left = if new.price <= rung.price { rung.qty } else { 0 };
            flows.add(index, arrived.wrapping_sub(left));
            *rung = new;
        }
        flows.0
    }

    /// Takes over the one level that a change left, on a ladder that was up to date before, and gives what flowed as
    /// [`Self::replace`] would. `None`, and nothing done, when a level must be read that is not known here: another one
    /// moves up into the tenth place.
    #[inline]
    pub(super) fn change(&mut self, price: i64, level: Option<&Level>, side: Side) -> Option<[i64; 3]> {
        let price = turned(price, side);
        let index = self.rungs.iter().position(|rung| rung.price <= price)?;
        let rung = self.rungs.get_mut(index)?;
        let mut flows = Flows::default();
        match (rung.price == price, level) {
            (true, Some(level)) => {
                let qty = capped(level);
                flows.add(index, qty.wrapping_sub(rung.qty));
                rung.qty = qty;
            }
            (false, Some(level)) => self.insert(index, Rung { price, qty: capped(level) }, &mut flows),
            (true, None) => self.remove(index, &mut flows)?,
            (false, None) => {}
        }
        Some(flows.0)
    }

    /// Every level from `index` on makes room: at each place a better price arrives.
    #[inline]
    fn insert(&mut self, index: usize, rung: Rung, flows: &mut Flows) {
        let mut arriving = rung;
        for (place, rung) in self.rungs.iter_mut().enumerate().skip(index) {
            flows.add(place, arriving.qty);
            core::mem::swap(rung, &mut arriving);
        }
    }

    /// Every level behind `index` moves up: at each place a worse price is left behind. Only while the last is absent.
    #[inline]
    fn remove(&mut self, index: usize, flows: &mut Flows) -> Option<()> {
        let [.., last] = self.rungs;
        if last.price != ABSENT.price {
            return None;
        }
        let mut follower = last;
        for (place, rung) in self.rungs.iter_mut().enumerate().skip(index).rev() {
            flows.add(place, rung.qty.wrapping_neg());
            core::mem::swap(rung, &mut follower);
        }
        Some(())
    }
}

/// Sums of level 1, of levels 2–5 and of levels 6–10.
#[derive(Default)]
struct Flows([i64; 3]);

impl Flows {
    #[inline(always)]
    fn add(&mut self, index: usize, flow: i64) {
        let [first, near, far] = &mut self.0;
        let sum = match index {
            0 => first,
            1..=4 => near,
            _ => far,
        };
        *sum = sum.wrapping_add(flow);
    }
}

#[inline]
fn capped(level: &Level) -> i64 {
    i64::try_from(level.qty.0).unwrap_or(QTY_MAX).min(QTY_MAX)
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
        assert!(ladder.head().shows(-1, Side::Buy));
        let full: Vec<_> = (0..10).map(|n| (100 + n, 1)).collect();
        assert_eq!(ladder.replace(&levels(&full), Side::Sell), [1, 4, 5]);
        assert!(ladder.head().shows(109, Side::Sell) && !ladder.head().shows(110, Side::Sell));
        assert_eq!((ladder.depths(), ladder.best(Side::Sell)), ([1, 5, 10], Some(100)));
    }

    /// Random changes of single levels: the same flows and the same ladder as from reading all ten levels anew.
    #[test]
    fn one_changed_level_is_taken_over_as_if_all_were_read() {
        for side in Side::BOTH {
            let at = |price: i64| if side == Side::Buy { price } else { 1_000 - price };
            let (mut book, mut state) = (std::collections::BTreeMap::<i64, u64>::new(), 9_u64);
            let (mut fast, mut slow, mut kinds) = (Ladder::EMPTY, Ladder::EMPTY, [0; 2]);
            for turn in 0..20_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let price = 400 + i64::try_from((state >> 33) % 17).unwrap();
                let qty = if turn / 1_000 % 2 == 0 { (state >> 50) % 4 } else { (state >> 50) % 2 * (1 << 41) };
                let before = book.get(&price).copied();
                if qty == 0 {
                    book.remove(&price);
                } else {
                    book.insert(price, qty);
                }
                if before.is_none() && qty == 0 || !fast.head().shows(at(price), side) {
                    continue;
                }
                let best: Vec<(i64, u64)> = book.iter().rev().take(10).map(|(price, qty)| (at(*price), *qty)).collect();
                let read = levels(&best);
                let want = slow.replace(&read, side);
                let changed = book.get(&price).map(|qty| levels(&[(at(price), *qty)])[0]);
                let got = fast.change(at(price), changed.as_ref(), side);
                kinds[usize::from(got.is_some())] += 1;
                assert_eq!(got.unwrap_or_else(|| fast.replace(&read, side)), want, "turn {turn}");
                let rungs = |ladder: &Ladder| ladder.rungs.map(|rung| (rung.price, rung.qty));
                assert_eq!(rungs(&fast), rungs(&slow), "turn {turn}");
            }
            assert!(kinds.iter().all(|count| *count > 1_000), "{kinds:?}");
        }
    }
}
