//! Field types of ITCH 5.0 that zerocopy's big-endian integers do not cover.

use peregrine_types::Price;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A six-byte unsigned big-endian integer (ITCH 5.0, `Timestamp`: nanoseconds since midnight US Eastern time).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct U48([u8; 6]);

/// A price as an unsigned integer in 10⁻⁴ (ITCH 5.0, `Price (4)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Price4(U32);

/// A price as an unsigned integer in 10⁻⁸ (ITCH 5.0, `Price (8)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Price8(U64);

impl U48 {
    /// The largest value that six bytes hold: 2⁴⁸ − 1.
    pub const MAX: u64 = 0xFFFF_FFFF_FFFF;

    /// The field holding `value`; a value above [`U48::MAX`] becomes [`U48::MAX`].
    #[must_use]
    pub const fn new(value: u64) -> Self {
        let capped = if value > Self::MAX { Self::MAX } else { value };
        let [_, _, a, b, c, d, e, f] = capped.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// The value.
    #[must_use]
    pub const fn get(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl Price4 {
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

    /// The price in the engine's unit; always fits.
    #[must_use]
    pub const fn price(self) -> Price {
        Price::from_price4(self.get())
    }

    /// The field holding `price`, or `None` when it is negative, too large, or finer than 10⁻⁴.
    #[must_use]
    pub fn from_price(price: Price) -> Option<Self> {
        price.to_price4().map(Self::new)
    }
}

impl Price8 {
    /// The field holding `raw` × 10⁻⁸.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(U64::new(raw))
    }

    /// The raw integer, in 10⁻⁸.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The price in the engine's unit, or `None` when it does not fit.
    #[must_use]
    pub const fn price(self) -> Option<Price> {
        Price::from_price8(self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn six_byte_integers_round_trip_and_cap(value: u64) {
            prop_assert_eq!(U48::new(value).get(), value.min(U48::MAX));
        }

        #[test]
        fn prices_round_trip_through_the_engine_unit(raw: u32) {
            prop_assert_eq!(Price4::from_price(Price4::new(raw).price()), Some(Price4::new(raw)));
        }
    }

    #[test]
    fn fields_are_big_endian_and_unaligned() {
        assert_eq!(U48::new(0x0A37_D4D0_D309).as_bytes(), [0x0A, 0x37, 0xD4, 0xD0, 0xD3, 0x09]);
        assert_eq!(Price4::new(3_224_000).price().to_string(), "322.4");
        assert_eq!(Price8::new(412_718_000_000).price().unwrap().to_string(), "4127.18");
        assert_eq!(Price8::new(u64::MAX).price(), None);
        assert_eq!(align_of::<Price8>(), 1);
    }
}
