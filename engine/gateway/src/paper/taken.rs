//! Shares of the real book that own orders took: liquidity is taken once.
//!
//! The real market does not know that an own order took shares; it shows them until it takes or withdraws them itself.
//! Until then they are noted here, by level, and nobody of ours can take them again. Own orders take the front of the
//! queue, so that later real executions on the level eat noted shares first; and a level that shrinks below what is
//! noted lowers the note to its own size.

use peregrine_types::{Price, Qty, Side, SymbolId};

#[derive(Clone, Copy, Debug)]
struct Note {
    symbol: SymbolId,
    side: Side,
    price: Price,
    qty: Qty,
}

/// The notes, at most one per level; all memory is taken at construction.
#[derive(Debug)]
pub(super) struct Taken {
    notes: Vec<Note>,
    capacity: usize,
}

impl Taken {
    pub(super) fn new(capacity: usize) -> Self {
        Self { notes: Vec::with_capacity(capacity), capacity }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Shares of a level that own orders took.
    pub(super) fn at(&self, symbol: SymbolId, side: Side, price: Price) -> Qty {
        let note = self.notes.iter().find(|note| note.price == price && note.symbol == symbol && note.side == side);
        note.map_or(Qty::ZERO, |note| note.qty)
    }

    /// Notes that `qty` more were taken. When every note is in use the oldest is given up.
    pub(super) fn add(&mut self, symbol: SymbolId, side: Side, price: Price, qty: Qty) {
        if let Some(index) = self.find(symbol, side, price) {
            if let Some(note) = self.notes.get_mut(index) {
                note.qty = note.qty.saturating_add(qty);
            }
            return;
        }
        if self.notes.len() == self.capacity {
            self.notes.remove(0);
        }
        self.notes.push(Note { symbol, side, price, qty });
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
        self.notes.iter().position(|note| note.price == price && note.symbol == symbol && note.side == side)
    }

    fn drop_if_empty(&mut self, index: usize) {
        if self.notes.get(index).is_some_and(|note| note.qty == Qty::ZERO) {
            self.notes.swap_remove(index);
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
}
