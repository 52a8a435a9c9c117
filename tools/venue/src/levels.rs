//! Price levels: per side of a symbol, a short sorted row of level numbers with the best price last.

use peregrine_types::{Price, Side, SymbolId};

use crate::pool::{List, NONE};

/// The orders of one price.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    pub(crate) price: Price,
    pub(crate) displayed: List,
    pub(crate) hidden: List,
}

/// All levels of all symbols.
#[derive(Debug)]
pub(crate) struct Levels {
    levels: Box<[Level]>,
    free: Vec<u32>,
    rows: Box<[u32]>,
    counts: Box<[u32]>,
    row_len: usize,
}

const fn side_index(symbol: SymbolId, side: Side) -> usize {
    symbol.index() * 2 + side.index()
}

/// Larger is better.
const fn key(side: Side, price: Price) -> i64 {
    match side {
        Side::Buy => price.0,
        Side::Sell => -price.0,
    }
}

impl Levels {
    pub(crate) fn new(symbol_count: usize, level_count_max: u32, side_level_count_max: u32) -> Self {
        let empty = Level { price: Price(0), displayed: List::EMPTY, hidden: List::EMPTY };
        let row_len = side_level_count_max as usize;
        Self {
            levels: vec![empty; level_count_max as usize].into_boxed_slice(),
            free: (0..level_count_max).rev().collect(),
            rows: vec![NONE; symbol_count * 2 * row_len].into_boxed_slice(),
            counts: vec![0; symbol_count * 2].into_boxed_slice(),
            row_len,
        }
    }

    pub(crate) fn get(&self, level: u32) -> &Level {
        &self.levels[level as usize]
    }

    pub(crate) fn get_mut(&mut self, level: u32) -> &mut Level {
        &mut self.levels[level as usize]
    }

    /// The levels of one side, worst first.
    pub(crate) fn row(&self, symbol: SymbolId, side: Side) -> &[u32] {
        let at = side_index(symbol, side);
        let start = at * self.row_len;
        &self.rows[start..start + self.counts[at] as usize]
    }

    /// The levels of one side, best first.
    pub(crate) fn best_first(&self, symbol: SymbolId, side: Side) -> impl Iterator<Item = &Level> {
        self.row(symbol, side).iter().rev().map(|level| self.get(*level))
    }

    /// The level of a price, made when there is none; `None` when there is no room for it.
    pub(crate) fn insert(&mut self, symbol: SymbolId, side: Side, price: Price) -> Option<u32> {
        let row = self.row(symbol, side);
        let at = row.partition_point(|level| key(side, self.get(*level).price) < key(side, price));
        if let Some(level) = row.get(at).copied().filter(|level| self.get(*level).price == price) {
            return Some(level);
        }
        let side_index = side_index(symbol, side);
        let count = self.counts[side_index] as usize;
        if count >= self.row_len {
            return None;
        }
        let level = self.free.pop()?;
        *self.get_mut(level) = Level { price, displayed: List::EMPTY, hidden: List::EMPTY };
        let start = side_index * self.row_len;
        self.rows.copy_within(start + at..start + count, start + at + 1);
        self.rows[start + at] = level;
        self.counts[side_index] += 1;
        Some(level)
    }

    /// Removes a level that has no orders any more.
    pub(crate) fn remove_if_empty(&mut self, symbol: SymbolId, side: Side, level: u32) {
        let Level { price, displayed, hidden } = *self.get(level);
        if !displayed.is_empty() || !hidden.is_empty() {
            return;
        }
        let row = self.row(symbol, side);
        let at = row.partition_point(|other| key(side, self.get(*other).price) < key(side, price));
        debug_assert_eq!(row.get(at), Some(&level), "a level with orders is in its row");
        let side_index = side_index(symbol, side);
        let start = side_index * self.row_len;
        let count = self.counts[side_index] as usize;
        self.rows.copy_within(start + at + 1..start + count, start + at);
        self.counts[side_index] -= 1;
        self.free.push(level);
    }

    /// The best price that the feed shows on one side.
    pub(crate) fn best_displayed(&self, symbol: SymbolId, side: Side) -> Option<Price> {
        self.best_first(symbol, side).find(|level| !level.displayed.is_empty()).map(|level| level.price)
    }
}
