//! Field types of OUCH 5.0 that zerocopy's big-endian integers do not cover.

use peregrine_types::{Price, Symbol};
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The highest limit price, in 10⁻⁴: 199,999.9900.
pub const PRICE_RAW_MAX: u64 = 0x7735_939C;

/// A price as an unsigned 64-bit integer in 10⁻⁴ (OUCH 5.0, `Price`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct OuchPrice(U64);

impl OuchPrice {
    /// No limit (OUCH 5.0, market orders of crosses): 214,748.3647.
    pub const MARKET: Self = Self::new(0x7FFF_FFFF);
    /// The other way to write a market order: 200,000.0000.
    pub const MARKET_OTHER: Self = Self::new(2_000_000_000);

    /// The field holding `raw` × 10⁻⁴.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(U64::new(raw))
    }

    /// The raw integer, in 10⁻⁴.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Whether it says "no limit".
    #[must_use]
    pub const fn is_market(self) -> bool {
        let raw = self.get();
        raw == Self::MARKET.get() || raw == Self::MARKET_OTHER.get()
    }

    /// The price in the engine's unit, or `None` when it does not fit.
    #[must_use]
    pub fn price(self) -> Option<Price> {
        i64::try_from(self.get()).ok()?.checked_mul(100_000).map(Price)
    }

    /// The field holding `price`, or `None` when it is negative or finer than 10⁻⁴.
    #[must_use]
    pub fn from_price(price: Price) -> Option<Self> {
        if price.0 % 100_000 != 0 {
            return None;
        }
        u64::try_from(price.0 / 100_000).ok().map(Self::new)
    }
}

/// Text of `N` ASCII characters, on the left, padded with spaces.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> Text<N> {
    /// All spaces.
    pub const BLANK: Self = Self([b' '; N]);

    /// The field holding `text`, or `None` when it is longer than `N` or not printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut field = Self::BLANK;
        field.0.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ').then_some(field)
    }

    /// Whether it is all spaces.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.iter().all(|byte| *byte == b' ')
    }
}

/// What a field holds before it is filled in: 0 in numbers, spaces in text.
pub trait Blank {
    /// That value.
    const BLANK: Self;
}

impl Blank for u8 {
    const BLANK: Self = b' ';
}
impl Blank for U16 {
    const BLANK: Self = Self::ZERO;
}
impl Blank for U32 {
    const BLANK: Self = Self::ZERO;
}
impl Blank for U64 {
    const BLANK: Self = Self::ZERO;
}
impl Blank for OuchPrice {
    const BLANK: Self = Self::new(0);
}
impl Blank for Symbol {
    const BLANK: Self = Self([b' '; 8]);
}
impl<const N: usize> Blank for Text<N> {
    const BLANK: Self = Self([b' '; N]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prices_round_trip_through_the_engine_unit(raw in 0_u64..92_233_720_368_547) {
            prop_assert_eq!(OuchPrice::from_price(OuchPrice::new(raw).price().unwrap()), Some(OuchPrice::new(raw)));
        }
    }

    #[test]
    fn prices_and_text_have_bounds() {
        assert_eq!(OuchPrice::new(u64::MAX).price(), None);
        assert_eq!(OuchPrice::new(92_233_720_368_548).price(), None, "one step above the engine's range");
        assert_eq!((OuchPrice::from_price(Price(-100_000)), OuchPrice::from_price(Price(1))), (None, None));
        assert_eq!(OuchPrice::new(PRICE_RAW_MAX).price().unwrap().to_string(), "199999.99");
        assert!(OuchPrice::MARKET.is_market() && OuchPrice::MARKET_OTHER.is_market());
        assert!(!OuchPrice::new(PRICE_RAW_MAX).is_market());
        assert_eq!(Text::<4>::new("LIME"), Some(Text(*b"LIME")));
        assert_eq!(Text::<4>::new("A"), Some(Text(*b"A   ")));
        assert_eq!((Text::<4>::new("FIRMS"), Text::<4>::new("é")), (None, None));
        assert!(Text::<2>::new("").unwrap().is_blank());
    }
}
