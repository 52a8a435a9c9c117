//! What lies between a capture and a payload: Ethernet, VLAN tags, Linux cooked, IPv4, IPv6, UDP.

mod build;

pub use build::{FrameBuilder, PAYLOAD_LEN_MAX, PayloadTooLong};

/// VLAN tags (802.1Q, 802.1ad) that are passed over before an IP header.
pub const VLAN_TAG_COUNT_MAX: usize = 3;

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_VLAN: u16 = 0x8100;
pub(crate) const PROTOCOL_UDP: u8 = 17;

/// Sums 16-bit big-endian words in ones' complement arithmetic (RFC 1071); an odd last byte is padded with zero.
pub(crate) fn ones_sum(start: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum = words.iter().fold(u64::from(start), |sum, word| sum.wrapping_add(u64::from(u16::from_be_bytes(*word))));
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    fold(sum.wrapping_add(last))
}

/// Brings a sum of words back into 17 bits or fewer without losing its value in ones' complement.
fn fold(sum: u64) -> u32 {
    let once =
        (sum & 0xffff).wrapping_add((sum >> 16) & 0xffff).wrapping_add((sum >> 32) & 0xffff).wrapping_add(sum >> 48);
    let twice = (once & 0xffff).wrapping_add(once >> 16);
    u32::try_from((twice & 0xffff).wrapping_add(twice >> 16)).unwrap_or(0)
}

/// The checksum to write for a sum of words: its complement.
pub(crate) fn checksum_of(sum: u32) -> u16 {
    !u16::try_from(sum & 0xffff).unwrap_or(0)
}
