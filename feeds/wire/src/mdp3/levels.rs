//! Books of price levels by their rank, as orders: one order stands for each level.
//!
//! The exchange tells what happened to the level of a rank (1 is the best): a new one moves those behind it away from the
//! best, a deleted one lets them move up, and what is moved beyond the depth of the book is no longer known. The engine's
//! books know nothing of ranks, so each change becomes the add, the reduction, the replacement or the deletion of the order
//! that stands for a level. Who stands where in a level's queue is not known.

use super::instruments::{Depths, Index};

/// Levels of a real book, at most.
const DEPTH_MAX: usize = 10;
/// Levels of an implied book, at most.
const IMPLIED_DEPTH_MAX: usize = 2;
/// Real bids, real offers, implied bids, implied offers.
const SIDE_COUNT: usize = 4;

/// A level and the order that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) order_ref: u64,
    /// As sent, before the display factor.
    pub(super) mantissa: i64,
    pub(super) qty: u64,
}

/// Which of an instrument's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BookSide {
    Bid = 0,
    Offer = 1,
    ImpliedBid = 2,
    ImpliedOffer = 3,
}

impl BookSide {
    /// How many levels the exchange tells: one that is moved beyond goes without a word.
    fn depth(self, told: Depths) -> usize {
        let (max, told) = match self {
            Self::Bid | Self::Offer => (DEPTH_MAX, told.real),
            Self::ImpliedBid | Self::ImpliedOffer => (IMPLIED_DEPTH_MAX, told.implied),
        };
        max.min(usize::from(told))
    }
}

#[derive(Clone, Copy, Debug)]
struct Ranks {
    levels: [Level; DEPTH_MAX],
    count: usize,
}

const EMPTY: Ranks = Ranks { levels: [Level { order_ref: 0, mantissa: 0, qty: 0 }; DEPTH_MAX], count: 0 };

/// The levels of all instruments.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    books: Box<[[Ranks; SIDE_COUNT]]>,
}

impl Levels {
    pub(super) fn new(instrument_count: usize) -> Self {
        Self { books: vec![[EMPTY; SIDE_COUNT]; instrument_count].into_boxed_slice() }
    }

    fn ranks(&self, instrument: Index, side: BookSide) -> Option<&Ranks> {
        self.books.get(usize::try_from(instrument.0).ok()?)?.get(side as usize)
    }

    fn ranks_mut(&mut self, instrument: Index, side: BookSide) -> Option<&mut Ranks> {
        self.books.get_mut(usize::try_from(instrument.0).ok()?)?.get_mut(side as usize)
    }

    /// The level of a rank, from 1.
    pub(super) fn get(&self, instrument: Index, side: BookSide, rank: usize) -> Option<Level> {
        let ranks = self.ranks(instrument, side)?;
        ranks.levels.get(..ranks.count)?.get(rank.checked_sub(1)?).copied()
    }

    /// Whether the instrument has any level.
    pub(super) fn has_any(&self, instrument: Index) -> bool {
        let sides = usize::try_from(instrument.0).ok().and_then(|index| self.books.get(index));
        sides.is_some_and(|sides| sides.iter().any(|ranks| ranks.count > 0))
    }

    /// A level joins at this rank, at most one behind the last. Gives the level that falls out of the book.
    ///
    /// # Errors
    /// The rank, where none can join.
    pub(super) fn insert(
        &mut self,
        instrument: Index,
        side: BookSide,
        rank: usize,
        (level, depths): (Level, Depths),
    ) -> Result<Option<Level>, usize> {
        let depth = side.depth(depths);
        let ranks = self.ranks_mut(instrument, side).ok_or(rank)?;
        let at = rank.checked_sub(1).filter(|at| *at <= ranks.count && *at < depth).ok_or(rank)?;
        let last = depth.saturating_sub(1);
        let fallen = if ranks.count > last { ranks.levels.get(last).copied() } else { None };
        ranks.count = ranks.count.saturating_add(1).min(depth);
        if let Some(moved) = ranks.levels.get_mut(at..ranks.count).filter(|moved| !moved.is_empty()) {
            moved.rotate_right(1);
        }
        if let Some(place) = ranks.levels.get_mut(at) {
            *place = level;
        }
        Ok(fallen)
    }

    /// The level of a rank becomes another one.
    pub(super) fn set(&mut self, instrument: Index, side: BookSide, rank: usize, level: Level) {
        let ranks = self.ranks_mut(instrument, side);
        let at = rank.checked_sub(1);
        if let Some(place) = ranks.zip(at).and_then(|(ranks, at)| ranks.levels.get_mut(at)) {
            *place = level;
        }
    }

    /// Takes the level of a rank out; those behind it move up.
    pub(super) fn remove(&mut self, instrument: Index, side: BookSide, rank: usize) -> Option<Level> {
        let ranks = self.ranks_mut(instrument, side)?;
        let at = rank.checked_sub(1).filter(|at| *at < ranks.count)?;
        let level = ranks.levels.get(at).copied();
        if let Some(moved) = ranks.levels.get_mut(at..ranks.count).filter(|moved| !moved.is_empty()) {
            moved.rotate_left(1);
        }
        ranks.count = ranks.count.saturating_sub(1);
        level
    }

    /// Takes any level of the instrument out, the last ones of its books first.
    pub(super) fn pop(&mut self, instrument: Index) -> Option<(BookSide, Level)> {
        for side in [BookSide::Bid, BookSide::Offer, BookSide::ImpliedBid, BookSide::ImpliedOffer] {
            let count = self.ranks(instrument, side).map_or(0, |ranks| ranks.count);
            if let Some(level) = self.remove(instrument, side, count) {
                return Some((side, level));
            }
        }
        None
    }

    /// No level stands any more.
    pub(super) fn clear(&mut self) {
        self.books.fill([EMPTY; SIDE_COUNT]);
    }
}
