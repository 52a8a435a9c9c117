//! The generator's own books: one slab of orders for the whole market and, per symbol and side, a short sorted array
//! of price levels with the best one last, each level a first-in-first-out list. Kept by the generator itself so that
//! it can never write what a book would refuse; a test holds it against `peregrine-book`.

use peregrine_types::Side;

/// No order.
pub(crate) const NONE: u32 = u32::MAX;

/// A resting order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// The venue's reference; 0 marks a free slot.
    pub(crate) reference: u64,
    /// Price in ticks.
    pub(crate) price: u32,
    /// Displayed shares left.
    pub(crate) qty: u32,
    /// Index of the symbol.
    pub(crate) symbol: u32,
    /// Side of the book.
    pub(crate) side: Side,
    ahead: u32,
    behind: u32,
}

/// Every resting order of the market, by slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    slots: Vec<Order>,
    free: Vec<u32>,
}

/// The orders of one price.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rung {
    /// Rank of the price: higher is better on either side.
    rank: u32,
    /// Displayed shares of all its orders.
    pub(crate) qty: u32,
    /// The order first in the queue.
    pub(crate) first: u32,
    last: u32,
}

/// One side of one symbol's book, best price last.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    side: Side,
    rungs: Vec<Rung>,
}

impl Orders {
    /// The order in `slot`.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Order {
        &self.slots[slot as usize]
    }

    /// How many slots were ever used at once.
    pub(crate) fn slot_count(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NONE)
    }

    /// Whether the order `generation` (low bits of its reference) still rests in `slot`.
    #[inline]
    pub(crate) fn is_live(&self, slot: u32, generation: u32) -> bool {
        let reference = self.get(slot).reference;
        reference != 0 && generation_of(reference) == generation
    }

    fn insert(&mut self, order: Order) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = order;
            return slot;
        }
        self.slots.push(order);
        self.slot_count() - 1
    }
}

/// The bits of a reference by which a slot's successive orders are told apart.
#[expect(clippy::cast_possible_truncation, reason = "takes the low bits")]
pub(crate) const fn generation_of(reference: u64) -> u32 {
    (reference as u32) & 0x0fff_ffff
}

/// What a new order rests as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting {
    pub(crate) reference: u64,
    pub(crate) symbol: u32,
    pub(crate) price: u32,
    pub(crate) qty: u32,
}

impl Ladder {
    pub(crate) const fn new(side: Side) -> Self {
        Self { side, rungs: Vec::new() }
    }

    const fn rank(&self, price: u32) -> u32 {
        match self.side {
            Side::Buy => price,
            Side::Sell => !price,
        }
    }

    /// The best price in ticks.
    #[inline]
    pub(crate) fn best_price(&self) -> Option<u32> {
        self.rungs.last().map(|rung| self.rank(rung.rank))
    }

    /// The rung `depth` steps behind the best.
    #[inline]
    pub(crate) fn rung(&self, depth: usize) -> Option<&Rung> {
        self.rungs.len().checked_sub(depth + 1).map(|index| &self.rungs[index])
    }

    /// How many prices have orders.
    pub(crate) fn len(&self) -> usize {
        self.rungs.len()
    }

    /// Displayed shares at the best price.
    #[inline]
    pub(crate) fn best_qty(&self) -> u32 {
        self.rungs.last().map_or(0, |rung| rung.qty)
    }

    /// Where the rung of `rank` is, or where it belongs; near the best most often, so searched from there.
    #[inline]
    fn find(&self, rank: u32) -> Result<usize, usize> {
        for (steps, rung) in self.rungs.iter().rev().enumerate().take(8) {
            if rung.rank <= rank {
                let index = self.rungs.len() - 1 - steps;
                return if rung.rank == rank { Ok(index) } else { Err(index + 1) };
            }
        }
        self.rungs.binary_search_by_key(&rank, |rung| rung.rank)
    }

    /// Puts an order at the back of its price's queue and gives its slot.
    pub(crate) fn add(&mut self, orders: &mut Orders, resting: Resting) -> u32 {
        let Resting { reference, symbol, price, qty } = resting;
        let rank = self.rank(price);
        let order = Order { reference, price, qty, symbol, side: self.side, ahead: NONE, behind: NONE };
        let slot = orders.insert(order);
        match self.find(rank) {
            Ok(index) => {
                let rung = &mut self.rungs[index];
                rung.qty += qty;
                orders.slots[slot as usize].ahead = rung.last;
                orders.slots[rung.last as usize].behind = slot;
                rung.last = slot;
            }
            Err(index) => self.rungs.insert(index, Rung { rank, qty, first: slot, last: slot }),
        }
        slot
    }

    /// Takes `qty` off the order in `slot`, at most what is left; the order goes when nothing is left. Gives what was
    /// taken.
    pub(crate) fn reduce(&mut self, orders: &mut Orders, slot: u32, qty: u32) -> u32 {
        let order = orders.slots[slot as usize];
        let taken = qty.min(order.qty);
        let Ok(index) = self.find(self.rank(order.price)) else { return 0 };
        self.rungs[index].qty -= taken;
        orders.slots[slot as usize].qty -= taken;
        if taken == order.qty {
            self.unlink(orders, slot, index);
        }
        taken
    }

    fn unlink(&mut self, orders: &mut Orders, slot: u32, index: usize) {
        let Order { ahead, behind, .. } = orders.slots[slot as usize];
        if ahead == NONE && behind == NONE {
            self.rungs.remove(index);
        } else {
            match ahead {
                NONE => self.rungs[index].first = behind,
                _ => orders.slots[ahead as usize].behind = behind,
            }
            match behind {
                NONE => self.rungs[index].last = ahead,
                _ => orders.slots[behind as usize].ahead = ahead,
            }
        }
        orders.slots[slot as usize].reference = 0;
        orders.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resting(reference: u64, price: u32) -> Resting {
        Resting { reference, symbol: 0, price, qty: 10 }
    }

    #[test]
    fn the_best_price_and_the_queue_are_kept_on_both_sides() {
        for (side, prices) in [(Side::Buy, [100, 102, 101]), (Side::Sell, [102, 100, 101])] {
            let (mut orders, mut ladder) = (Orders::default(), Ladder::new(side));
            let slots: Vec<_> = (1..).zip(prices).map(|(id, p)| ladder.add(&mut orders, resting(id, p))).collect();
            let second = ladder.add(&mut orders, resting(9, prices[1]));
            assert_eq!(ladder.best_price(), Some(prices[1]));
            assert_eq!(ladder.best_qty(), 20);
            assert_eq!(ladder.rung(0).unwrap().first, slots[1]);
            assert_eq!(ladder.reduce(&mut orders, slots[1], 4), 4);
            assert_eq!(ladder.best_qty(), 16);
            assert_eq!(ladder.reduce(&mut orders, slots[1], 99), 6);
            assert!(!orders.is_live(slots[1], 2));
            assert_eq!(ladder.rung(0).unwrap().first, second);
            assert_eq!(ladder.reduce(&mut orders, second, 10), 10);
            assert_eq!(ladder.best_price(), Some(101));
            assert_eq!(ladder.len(), 2);
            assert_eq!(ladder.add(&mut orders, resting(10, prices[0])), second, "the slot is used again");
            assert!(orders.is_live(second, 10) && !orders.is_live(second, 9));
        }
    }
}
