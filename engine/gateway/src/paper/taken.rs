//! Shares of the real book that own orders took: liquidity is taken once.
//!
//! The real market does not know that an own order took shares; it shows them until it takes or withdraws them itself.
//! Until then they are noted here, by level, and nobody of ours can take them again. Own orders take the front of the
//! queue, so that later real executions on the level eat noted shares first; and a level that shrinks below what is
//! noted lowers the note to its own size.

use peregrine_types::{Price, Qty, Side, SymbolId};

#[derive(Clone, Copy, Debug, Default)]
struct Note {
    symbol: SymbolId,
    side: Side,
    price: Price,
    qty: Qty,
}

/// The notes, at most one per level, in the first `len` places; all memory is taken at construction.
#[derive(Debug)]
pub(super) struct Taken {
    notes: Box<[Note]>,
    len: usize,
    /// Which note goes when every one is in use: one after the other.
    next_given_up: usize,
}

impl Taken {
    pub(super) fn new(capacity: usize) -> Self {
        Self { notes: vec![Note::default(); capacity].into_boxed_slice(), len: 0, next_given_up: 0 }
    }

    /// Forgets every note.
    pub(super) const fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn notes(&self) -> &[Note] {
        self.notes.get(..self.len).unwrap_or_default()
    }

    /// Shares of a level that own orders took.
    pub(super) fn at(&self, symbol: SymbolId, side: Side, price: Price) -> Qty {
        let note = self.find(symbol, side, price).and_then(|index| self.notes.get(index));
        note.map_or(Qty::ZERO, |note| note.qty)
    }

    /// Notes that `qty` more were taken. When every note is in use one of them is given up, each in its turn.
    pub(super) fn add(&mut self, symbol: SymbolId, side: Side, price: Price, qty: Qty) {
        if let Some(index) = self.find(symbol, side, price) {
            if let Some(note) = self.notes.get_mut(index) {
                note.qty = note.qty.saturating_add(qty);
            }
            return;
        }
        let index = if self.len < self.notes.len() {
            self.len = self.len.saturating_add(1);
            self.len.saturating_sub(1)
        } else {
            let given_up = self.next_given_up;
            self.next_given_up = given_up.saturating_add(1).checked_rem(self.notes.len()).unwrap_or(0);
            given_up
        };
        if let Some(slot) = self.notes.get_mut(index) {
            *slot = Note { symbol, side, price, qty };
        }
    }

    /// The real market executed `qty` on a level: noted shares go first. Returns how many of `qty` were noted ones.
    pub(super) fn reduce(&mut self, symbol: SymbolId, side: Side, price: Price, qty: Qty) -> Qty {
        let Some(index) = self.find(symbol, side, price) else { return Qty::ZERO };
        let Some(note) = self.notes.get_mut(index) else { return Qty::ZERO };
        let noted = note.qty.min(qty);
        note.qty = note.qty.saturating_sub(noted);
        self.drop_if_empty(index);
        noted
    }

    /// A level now shows `left`: no more than that can still be noted.
    pub(super) fn on_level(&mut self, symbol: SymbolId, side: Side, price: Price, left: Qty) {
        let Some(index) = self.find(symbol, side, price) else { return };
        if let Some(note) = self.notes.get_mut(index) {
            note.qty = note.qty.min(left);
        }
        self.drop_if_empty(index);
    }

    fn find(&self, symbol: SymbolId, side: Side, price: Price) -> Option<usize> {
        self.notes().iter().position(|note| note.price == price && note.symbol == symbol && note.side == side)
    }

    fn drop_if_empty(&mut self, index: usize) {
        if self.notes.get(index).is_some_and(|note| note.qty == Qty::ZERO) {
            let last = self.len.saturating_sub(1);
            if let Some(moved) = self.notes.get(last).copied()
                && let Some(slot) = self.notes.get_mut(index)
            {
                *slot = moved;
                self.len = last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_stays_taken_until_the_market_takes_it() {
        let mut taken = Taken::new(2);
        let (symbol, side) = (SymbolId(1), Side::Sell);
        taken.add(symbol, side, Price(5), Qty(30));
        taken.add(symbol, side, Price(5), Qty(10));
        assert_eq!(taken.at(symbol, side, Price(5)), Qty(40));
        assert_eq!(taken.reduce(symbol, side, Price(5), Qty(15)), Qty(15));
        taken.on_level(symbol, side, Price(5), Qty(20));
        assert_eq!(taken.at(symbol, side, Price(5)), Qty(20));
        assert_eq!(taken.reduce(symbol, side, Price(5), Qty(50)), Qty(20));
        assert!(taken.is_empty());
    }

    #[test]
    fn when_every_note_is_in_use_one_after_the_other_is_given_up() {
        let mut taken = Taken::new(2);
        let (symbol, side) = (SymbolId(1), Side::Buy);
        let at = |taken: &Taken, prices: [i64; 4]| prices.map(|price| taken.at(symbol, side, Price(price)).0);
        for price in [5, 6, 7] {
            taken.add(symbol, side, Price(price), Qty(1));
        }
        assert_eq!(at(&taken, [5, 6, 7, 8]), [0, 1, 1, 0]);
        taken.add(symbol, side, Price(8), Qty(1));
        assert_eq!(at(&taken, [5, 6, 7, 8]), [0, 0, 1, 1]);
        taken.on_level(symbol, side, Price(7), Qty::ZERO);
        assert_eq!(at(&taken, [5, 6, 7, 8]), [0, 0, 0, 1]);
        taken.add(symbol, side, Price(9), Qty(2));
        assert_eq!(at(&taken, [7, 8, 9, 10]), [0, 1, 2, 0]);
    }
}
