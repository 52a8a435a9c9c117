//! The newer capture file: blocks, sections, interfaces with their own link type and time resolution.
//!
//! Every block is type u32, total length u32, body, total length u32 again, padded to four bytes. A section header
//! sets the byte order and forgets all interfaces. Blocks of unknown type are passed over by their length.
//!
//! | block | type | body fields (offset in the block) |
//! |---|---|---|
//! | section header | 0x0a0d0d0a | byte-order magic (8), major (12), minor (14), section length (16), options (24) |
//! | interface description | 1 | link type (8), snap length (12), options (16) |
//! | packet (obsolete) | 2 | interface u16 (8), time high (12), low (16), captured (20), original (24), data (28) |
//! | simple packet | 3 | original length (8), data (12) |
//! | enhanced packet | 6 | interface u32 (8), time high (12), low (16), captured (20), original (24), data (28) |

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub use writer::{Layout, Writer};

/// The type of a section header block, the same in both byte orders.
pub(crate) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// What a section header holds to show its byte order.
pub(crate) const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
pub(crate) const INTERFACE_DESCRIPTION: u32 = 1;
pub(crate) const OBSOLETE_PACKET: u32 = 2;
pub(crate) const SIMPLE_PACKET: u32 = 3;
pub(crate) const ENHANCED_PACKET: u32 = 6;
/// A comment, of any block.
pub(crate) const OPTION_COMMENT: u16 = 1;
/// The name of an interface.
pub(crate) const OPTION_NAME: u16 = 2;
pub(crate) const OPTION_TIME_RESOLUTION: u16 = 9;
pub(crate) const OPTION_TIME_OFFSET: u16 = 14;

/// The unit of an interface's time stamps (`if_tsresol`): with the top bit clear 10⁻ᵛ seconds, with it set 2⁻ᵛ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution(pub u8);

impl Resolution {
    /// Microseconds: what an interface has that does not say otherwise.
    pub const MICROS: Self = Self(6);
    /// Nanoseconds.
    pub const NANOS: Self = Self(9);

    /// `ticks` units in nanoseconds, cut off below one.
    pub(crate) fn nanos(self, ticks: u64) -> u128 {
        let (ticks, exponent) = (u128::from(ticks), self.exponent());
        if self.is_binary() {
            return ticks.saturating_mul(1_000_000_000) >> exponent;
        }
        let (up, down) = decimal_factors(exponent);
        ticks.saturating_mul(up).checked_div(down).unwrap_or(0)
    }

    /// `nanos` nanoseconds in units: binary ones rounded up, so that a reader, who cuts off, gets the nanosecond back
    /// where the unit is fine enough; decimal ones cut off. `None` when 64 bits cannot hold them.
    pub(crate) fn ticks(self, nanos: u64) -> Option<u64> {
        let (nanos, exponent) = (u128::from(nanos), self.exponent());
        let units = if self.is_binary() {
            let scaled = nanos.checked_mul(1_u128.checked_shl(exponent)?)?;
            scaled.div_ceil(1_000_000_000)
        } else {
            let (up, down) = decimal_factors(exponent);
            nanos.checked_mul(down)?.checked_div(up)?
        };
        u64::try_from(units).ok()
    }

    const fn is_binary(self) -> bool {
        self.0 & 0x80 != 0
    }

    fn exponent(self) -> u32 {
        u32::from(self.0 & 0x7f)
    }
}

/// By what to multiply and to divide units of 10^-exponent seconds to get nanoseconds; units below 10⁻⁴⁷ seconds
/// count as 10⁻⁴⁷, in which 64 bits hold no nanosecond either.
fn decimal_factors(exponent: u32) -> (u128, u128) {
    let power = |exponent: u32| 10_u128.saturating_pow(exponent.min(38));
    (power(9_u32.saturating_sub(exponent)), power(exponent.saturating_sub(9)))
}
