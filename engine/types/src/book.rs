//! What everybody may know of a book: its best levels and whether it can be believed.

use crate::{Price, Qty, Side};

/// One price level of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Price of every order on the level.
    pub price: Price,
    /// Displayed quantity of all orders on the level.
    pub qty: Qty,
    /// How many displayed orders rest on the level.
    pub order_count: u32,
}

/// The best level of each side (one venue's best bid and offer), `None` where the side is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopOfBook {
    /// Highest bid.
    pub bid: Option<Level>,
    /// Lowest ask.
    pub ask: Option<Level>,
}

impl TopOfBook {
    /// The best level of `side`.
    #[must_use]
    pub const fn side(&self, side: Side) -> Option<Level> {
        match side {
            Side::Buy => self.bid,
            Side::Sell => self.ask,
        }
    }

    /// The price that orders are held against: the middle of the book, rounded towards zero to a price unit; with one side
    /// empty the other one's best, `None` with both.
    #[must_use]
    pub fn reference_price(&self) -> Option<Price> {
        match (self.bid, self.ask) {
            (Some(bid), Some(ask)) => {
                let sum = i128::from(bid.price.0).saturating_add(i128::from(ask.price.0));
                i64::try_from(sum / 2).ok().map(Price)
            }
            (Some(level), None) | (None, Some(level)) => Some(level.price),
            (None, None) => None,
        }
    }

    /// Whether the best bid is above the best ask.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        matches!((self.bid, self.ask), (Some(bid), Some(ask)) if bid.price > ask.price)
    }

    /// Whether the best bid equals the best ask.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!((self.bid, self.ask), (Some(bid), Some(ask)) if bid.price == ask.price)
    }
}

/// The venue's trading state of a symbol (ITCH 5.0, Stock Trading Action).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TradingState {
    /// Nothing was said yet. Before system hours that means halted.
    #[default]
    Unknown = 0,
    /// On auto-trade (`T`).
    Trading = 1,
    /// Halted across all US markets (`H`).
    Halted = 2,
    /// Paused across all US markets (`P`).
    Paused = 3,
    /// Quotation-only period before an unhalt (`Q`).
    QuotationOnly = 4,
}

/// Why a book may not be traded on, as a set; the empty set is a book to trade on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BookState(u8);

impl BookState {
    /// Nothing against it.
    pub const GOOD: Self = Self(0);
    /// A gap in the feed is known: the book may lack events.
    pub const STALE: Self = Self(1);
    /// The venue does not trade the symbol now (halt, pause, quotation only, operational halt, or never released).
    pub const HALTED: Self = Self(2);
    /// An impossible event was seen (unknown order, over-execution, duplicate add): the book cannot be believed.
    pub const QUARANTINED: Self = Self(4);
    /// Best bid above best ask.
    pub const CROSSED: Self = Self(8);
    /// Best bid equals best ask.
    pub const LOCKED: Self = Self(16);
    /// One side, or both, is empty.
    pub const ONE_SIDED: Self = Self(32);

    /// Whether nothing stands against the book.
    #[must_use]
    pub const fn is_good(self) -> bool {
        self.0 == 0
    }

    /// Whether every reason in `other` is in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The reasons of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The reasons of `self` that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The set as one byte, for the log.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of a byte from the log; unknown bits are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 63)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_combine_as_sets() {
        let both = BookState::STALE.with(BookState::HALTED);
        assert!(both.contains(BookState::STALE) && !both.contains(BookState::CROSSED));
        assert!(!both.is_good());
        assert_eq!(both.without(BookState::STALE), BookState::HALTED);
        assert_eq!(BookState::from_bits(both.bits()), both);
    }

    #[test]
    fn crossed_and_locked_need_both_sides() {
        let level = |price| Some(Level { price: Price(price), qty: Qty(1), order_count: 1 });
        assert!(TopOfBook { bid: level(2), ask: level(1) }.is_crossed());
        assert!(TopOfBook { bid: level(2), ask: level(2) }.is_locked());
        assert!(!TopOfBook { bid: level(2), ask: None }.is_crossed());
    }
}
