//! Field types of OUCH 4.2.

use peregrine_types::Price;
use zerocopy::byteorder::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ouch50::{Blank, Text};

/// The client's name of an order: unique for the day, letters, digits and spaces, case and padding count.
pub type Token = Text<14>;

/// The highest limit price, in 10⁻⁴: 199,999.9900.
pub const PRICE_RAW_MAX: u32 = 0x7735_939C;

/// A price as an unsigned 32-bit integer in 10⁻⁴ (OUCH 4.2, `Price`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct OuchPrice(U32);

impl OuchPrice {
    /// No limit, for crosses alone (OUCH 4.2, market price): 214,748.3647.
    pub const MARKET: Self = Self::new(0x7FFF_FFFF);

    /// The field holding `raw` × 10⁻⁴.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(U32::new(raw))
    }

    /// The raw integer, in 10⁻⁴.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// Whether it says "no limit".
    #[must_use]
    pub const fn is_market(self) -> bool {
        self.get() == Self::MARKET.get()
    }

    /// The price in the engine's unit.
    #[must_use]
    pub fn price(self) -> Price {
        Price(i64::from(self.get()).saturating_mul(100_000))
    }

    /// The field holding `price`, or `None` when it is negative, finer than 10⁻⁴ or too large.
    #[must_use]
    pub fn from_price(price: Price) -> Option<Self> {
        if price.0 % 100_000 != 0 {
            return None;
        }
        u32::try_from(price.0 / 100_000).ok().map(Self::new)
    }
}

impl Blank for OuchPrice {
    const BLANK: Self = Self::new(0);
}

/// How long an order lives (OUCH 4.2, `Time in Force`): seconds, of which some numbers mean something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeInForce {
    /// 0: fills at once or is cancelled.
    Immediate,
    /// 99998: until the market closes.
    MarketHours,
    /// 99999, and everything above, which is invalid and means the same: until the system closes.
    SystemHours,
    /// That many seconds, 1 to 99,997.
    Seconds(u32),
}

impl TimeInForce {
    /// What a field says.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Self::Immediate,
            99_998 => Self::MarketHours,
            99_999.. => Self::SystemHours,
            1..=99_997 => Self::Seconds(raw),
        }
    }

    /// The field that says it.
    #[must_use]
    pub const fn raw(self) -> u32 {
        match self {
            Self::Immediate => 0,
            Self::MarketHours => 99_998,
            Self::SystemHours => 99_999,
            Self::Seconds(seconds) => seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prices_and_times_round_trip(raw in any::<u32>()) {
            prop_assert_eq!(OuchPrice::from_price(OuchPrice::new(raw).price()), Some(OuchPrice::new(raw)));
            prop_assert_eq!(TimeInForce::from_raw(raw).raw(), raw.min(99_999));
        }
    }

    #[test]
    fn prices_have_bounds() {
        assert_eq!((OuchPrice::from_price(Price(-100_000)), OuchPrice::from_price(Price(1))), (None, None));
        assert_eq!(OuchPrice::from_price(Price((i64::from(u32::MAX) + 1) * 100_000)), None);
        assert_eq!(OuchPrice::new(PRICE_RAW_MAX).price().to_string(), "199999.99");
        assert!(OuchPrice::MARKET.is_market() && !OuchPrice::new(PRICE_RAW_MAX).is_market());
        assert_eq!(TimeInForce::from_raw(123_456), TimeInForce::SystemHours);
    }
}
