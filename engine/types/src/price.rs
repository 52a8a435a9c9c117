//! Prices, quantities and money as scaled integers. Floats begin in `strategy` and never come back here.

use core::fmt;

use crate::{Decimal, Side};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Units of [`Price`] in one unit of the currency: a price is an integer multiple of 10⁻⁹ (the scale of Databento's DBN).
pub const PRICE_SCALE: i64 = 1_000_000_000;

/// A price in 10⁻⁹ of the currency per share. Zero and negative prices can be written; where they are illegal, the
/// check that refuses them says so.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Price(pub i64);

/// A quantity in the instrument's unit (shares, for ITCH), never negative.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Qty(pub u64);

/// A signed holding in the instrument's unit: positive is long, negative is short.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Position(pub i64);

/// Money in 10⁻⁹ of the currency, wide enough for any price times any quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notional(pub i128);

/// Twice the middle of bid and ask in [`Price`] units, so that the half unit is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MidX2(pub i64);

impl Price {
    /// The price of an ITCH `Price(4)` field: an unsigned integer in 10⁻⁴ (ITCH 5.0, Data Types).
    #[must_use]
    pub const fn from_price4(raw: u32) -> Self {
        Self((raw as i64).saturating_mul(100_000))
    }

    /// The price of an ITCH `Price(8)` field: an unsigned integer in 10⁻⁸, or `None` when it does not fit.
    #[must_use]
    pub const fn from_price8(raw: u64) -> Option<Self> {
        if raw > (i64::MAX / 10) as u64 { None } else { Some(Self((raw as i64).saturating_mul(10))) }
    }

    /// This price as an ITCH `Price(4)` field, or `None` when it is negative, too fine or too large for one.
    #[must_use]
    pub fn to_price4(self) -> Option<u32> {
        if self.0 % 100_000 != 0 {
            return None;
        }
        u32::try_from(self.0 / 100_000).ok()
    }

    /// The exact money value of `qty` at this price.
    #[must_use]
    pub fn times(self, qty: Qty) -> Notional {
        Notional(i128::from(self.0).saturating_mul(i128::from(qty.0)))
    }

    /// `self` moved by `delta` price units, or `None` on overflow.
    #[must_use]
    pub const fn checked_add(self, delta: i64) -> Option<Self> {
        match self.0.checked_add(delta) {
            Some(price) => Some(Self(price)),
            None => None,
        }
    }

    /// Whether `self` is a better resting price than `other` on `side`: higher for buys, lower for sells.
    #[must_use]
    pub const fn is_better_than(self, other: Self, side: Side) -> bool {
        match side {
            Side::Buy => self.0 > other.0,
            Side::Sell => self.0 < other.0,
        }
    }
}

impl Qty {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `self − other`, or `None` when `other` is larger.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(left) => Some(Self(left)),
            None => None,
        }
    }

    /// `self − other`, or zero when `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self + other`, saturating at the largest quantity.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The smaller of the two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }
}

impl Position {
    /// No holding.
    pub const FLAT: Self = Self(0);

    /// The holding after trading `qty` on `side`, or `None` on overflow.
    #[must_use]
    pub fn after(self, side: Side, qty: Qty) -> Option<Self> {
        let qty = i64::try_from(qty.0).ok()?;
        match side {
            Side::Buy => self.0.checked_add(qty).map(Self),
            Side::Sell => self.0.checked_sub(qty).map(Self),
        }
    }

    /// The size of the holding without its sign.
    #[must_use]
    pub const fn abs(self) -> Qty {
        Qty(self.0.unsigned_abs())
    }
}

impl Notional {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// `self + other`, saturating.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self − other`, saturating.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl MidX2 {
    /// Twice the middle of `bid` and `ask`, saturating.
    #[must_use]
    pub const fn of(bid: Price, ask: Price) -> Self {
        Self(bid.0.saturating_add(ask.0))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Decimal::new(i128::from(self.0)), f)
    }
}

impl fmt::Display for Notional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Decimal::new(self.0), f)
    }
}

impl fmt::Display for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn price4_and_price8_scale_to_nanos_of_the_currency() {
        assert_eq!(Price::from_price4(3_224_000).to_string(), "322.4");
        assert_eq!(Price::from_price4(2_000_000_000), Price(200_000 * PRICE_SCALE));
        assert_eq!(Price::from_price8(123_456_789), Some(Price(1_234_567_890)));
        assert_eq!(Price::from_price8(u64::MAX), None);
        assert_eq!(Price(-100_000).to_price4(), None);
        assert_eq!(Price(1).to_price4(), None);
    }

    #[test]
    fn positions_move_by_side_and_refuse_to_overflow() {
        assert_eq!(Position(5).after(Side::Sell, Qty(7)), Some(Position(-2)));
        assert_eq!(Position(i64::MAX).after(Side::Buy, Qty(1)), None);
        assert_eq!(Position(0).after(Side::Buy, Qty(u64::MAX)), None);
        assert_eq!(Position(i64::MIN).abs(), Qty(1 << 63));
    }

    proptest! {
        #[test]
        fn price4_round_trips(raw: u32) {
            prop_assert_eq!(Price::from_price4(raw).to_price4(), Some(raw));
        }

        #[test]
        fn better_is_strict_and_mirrored(a: i64, b: i64) {
            let (a, b) = (Price(a), Price(b));
            prop_assert_eq!(a.is_better_than(b, Side::Buy), b.is_better_than(a, Side::Sell) && a != b);
            prop_assert!(!a.is_better_than(a, Side::Buy));
        }
    }
}
