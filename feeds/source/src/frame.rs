//! What lies between a capture and a payload: Ethernet, VLAN tags, Linux cooked, loopback, IPv4, IPv6, UDP.
//!
//! The lengths in the IP and UDP headers decide where a payload ends, so Ethernet padding, a stored frame check
//! sequence and the time stamps that switches append are left out by themselves.

mod build;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    SkipReason,
    bytes::{array, be_u16},
};

pub use build::{FrameBuilder, PAYLOAD_LEN_MAX, PayloadTooLong};

/// VLAN tags (802.1Q, 802.1ad) that are passed over before an IP header.
pub const VLAN_TAG_COUNT_MAX: usize = 3;
/// IPv6 extension headers that are passed over before UDP.
pub const EXTENSION_COUNT_MAX: usize = 8;

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_VLAN: u16 = 0x8100;
pub(crate) const PROTOCOL_UDP: u8 = 17;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const UDP_HEADER_LEN: usize = 8;

/// What a captured frame begins with (the numbers of the tcpdump registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// BSD loopback (0, 108): an address family in either byte order.
    Loopback,
    /// Ethernet (1).
    Ethernet,
    /// An IP packet of either version (101; 12 and 14 on some systems).
    RawIp,
    /// An IPv4 packet (228).
    RawIpv4,
    /// An IPv6 packet (229).
    RawIpv6,
    /// Linux cooked capture v1 (113).
    LinuxCooked,
    /// Linux cooked capture v2 (276).
    LinuxCooked2,
}

impl LinkType {
    /// The link type of a registry number, `None` for one that is not understood here.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 | 108 => Self::Loopback,
            1 => Self::Ethernet,
            12 | 14 | 101 => Self::RawIp,
            113 => Self::LinuxCooked,
            228 => Self::RawIpv4,
            229 => Self::RawIpv6,
            276 => Self::LinuxCooked2,
            _ => return None,
        })
    }
}

/// What to make of the IPv4 header checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeaderCheck {
    /// A wrong checksum drops the frame, except zero: that is what anonymisers leave behind, and what a sending host's
    /// own capture shows. Such frames are delivered and counted.
    #[default]
    Lenient,
    /// Every wrong checksum drops the frame.
    Strict,
    /// The checksum is not looked at.
    Off,
}

/// What to make of the UDP checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UdpCheck {
    /// It is not looked at: in a capture made on the sending host the network card fills it in after the capture.
    #[default]
    Off,
    /// A wrong checksum drops the frame, except one that is the sum of the pseudo-header alone: that is what a sending host
    /// leaves behind for its card to complete, and what comes over interfaces without a card (`CHECKSUM_PARTIAL`,
    /// `include/linux/skbuff.h`). For frames that were taken below the IP stack: a card drops none for its checksum, it
    /// only marks them, and the stack would drop them.
    Lenient,
    /// Every wrong checksum drops the frame.
    Strict,
}

/// What is checked beyond lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checks {
    /// The IPv4 header checksum.
    pub header: HeaderCheck,
    /// The UDP checksum.
    pub udp: UdpCheck,
}

/// A UDP payload and where it was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver, or multicast group.
    pub destination: SocketAddr,
    /// The payload.
    pub payload: &'a [u8],
    /// Where the payload starts in the frame.
    pub payload_start: usize,
    /// Whether the IPv4 header checksum is zero though it should not be.
    pub is_checksum_zeroed: bool,
}

/// The part of a frame from the IP header on, with what the outer headers said.
#[derive(Clone, Copy)]
struct Network {
    is_ipv6: bool,
    start: usize,
}

/// The part of a packet from the UDP header on.
#[derive(Clone, Copy)]
struct Transport {
    source: IpAddr,
    destination: IpAddr,
    start: usize,
    len: usize,
    is_checksum_zeroed: bool,
}

/// Finds the UDP payload of a captured frame. `is_cut` says that the capture stored less than was on the wire.
///
/// # Errors
/// The [`SkipReason`] for which the frame carries no payload for us.
pub fn dissect(link: LinkType, frame: &[u8], is_cut: bool, checks: Checks) -> Result<Datagram<'_>, SkipReason> {
    let short = if is_cut { SkipReason::CutBySnaplen } else { SkipReason::BadLength };
    let network = network(link, frame, short)?;
    let packet = frame.get(network.start..).ok_or(short)?;
    let transport = if network.is_ipv6 { ipv6(packet, short)? } else { ipv4(packet, checks.header, short)? };
    let start = network.start.saturating_add(transport.start);
    let segment = frame.get(start..start.saturating_add(transport.len)).ok_or(short)?;
    let udp_len = usize::from(be_u16(segment, 4).ok_or(SkipReason::BadLength)?);
    let payload = segment.get(UDP_HEADER_LEN..udp_len).ok_or(SkipReason::BadLength)?;
    if !is_udp_checksum_accepted(segment.get(..udp_len).unwrap_or_default(), &transport, checks.udp) {
        return Err(SkipReason::BadUdpChecksum);
    }
    let port = |at| be_u16(segment, at).unwrap_or(0);
    Ok(Datagram {
        source: SocketAddr::new(transport.source, port(0)),
        destination: SocketAddr::new(transport.destination, port(2)),
        payload,
        payload_start: start.saturating_add(UDP_HEADER_LEN),
        is_checksum_zeroed: transport.is_checksum_zeroed,
    })
}

fn network(link: LinkType, frame: &[u8], short: SkipReason) -> Result<Network, SkipReason> {
    match link {
        LinkType::Ethernet => tagged(frame, 12, 14, short),
        LinkType::LinuxCooked => tagged(frame, 14, 16, short),
        LinkType::LinuxCooked2 => tagged(frame, 0, 20, short),
        LinkType::RawIpv4 => Ok(Network { is_ipv6: false, start: 0 }),
        LinkType::RawIpv6 => Ok(Network { is_ipv6: true, start: 0 }),
        LinkType::RawIp => match frame.first().ok_or(short)? >> 4 {
            4 => Ok(Network { is_ipv6: false, start: 0 }),
            6 => Ok(Network { is_ipv6: true, start: 0 }),
            _ => Err(SkipReason::NotIp),
        },
        LinkType::Loopback => {
            let family: [u8; 4] = array(frame, 0).ok_or(short)?;
            // AF_INET is 2 everywhere; AF_INET6 is 10, 24, 26, 28 or 30. The order is that of the capturing host.
            match u32::from_le_bytes(family).min(u32::from_be_bytes(family)) {
                2 => Ok(Network { is_ipv6: false, start: 4 }),
                10 | 24 | 26 | 28 | 30 => Ok(Network { is_ipv6: true, start: 4 }),
                _ => Err(SkipReason::NotIp),
            }
        }
    }
}

/// Passes over VLAN tags from the EtherType at `type_at`, behind which the content starts at `start`.
fn tagged(frame: &[u8], type_at: usize, start: usize, short: SkipReason) -> Result<Network, SkipReason> {
    let (mut type_at, mut start) = (type_at, start);
    for _ in 0..=VLAN_TAG_COUNT_MAX {
        match be_u16(frame, type_at).ok_or(short)? {
            ETHERTYPE_IPV4 => return Ok(Network { is_ipv6: false, start }),
            ETHERTYPE_IPV6 => return Ok(Network { is_ipv6: true, start }),
            ETHERTYPE_VLAN | 0x88a8 | 0x9100 => {
                type_at = start.saturating_add(2);
                start = start.saturating_add(4);
            }
            _ => return Err(SkipReason::NotIp),
        }
    }
    Err(SkipReason::TooManyVlanTags)
}

fn ipv4(packet: &[u8], check: HeaderCheck, short: SkipReason) -> Result<Transport, SkipReason> {
    let fixed: [u8; 20] = array(packet, 0).ok_or(short)?;
    let [version_ihl, _, l0, l1, _, _, f0, f1, _, protocol, c0, c1, s0, s1, s2, s3, d0, d1, d2, d3] = fixed;
    let header_len = usize::from(version_ihl & 0x0f).saturating_mul(4);
    let total_len = usize::from(u16::from_be_bytes([l0, l1]));
    if version_ihl >> 4 != 4 || header_len < 20 || total_len < header_len {
        return Err(SkipReason::BadLength);
    }
    let header = packet.get(..header_len).ok_or(short)?;
    let is_right = ones_sum(0, header) == 0xffff;
    let is_zero = [c0, c1] == [0, 0];
    let is_accepted = match check {
        HeaderCheck::Lenient => is_right || is_zero,
        HeaderCheck::Strict => is_right,
        HeaderCheck::Off => true,
    };
    if !is_accepted {
        return Err(SkipReason::BadIpChecksum);
    }
    // More fragments follow, or this is not the first: flag bit 13 and the 13 bits of the offset.
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
        return Err(SkipReason::Fragment);
    }
    if protocol != PROTOCOL_UDP {
        return Err(SkipReason::NotUdp);
    }
    Ok(Transport {
        source: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
        destination: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
        start: header_len,
        len: total_len.saturating_sub(header_len),
        is_checksum_zeroed: is_zero && !is_right,
    })
}

fn ipv6(packet: &[u8], short: SkipReason) -> Result<Transport, SkipReason> {
    const HEADER_LEN: usize = 40;
    let fixed: [u8; HEADER_LEN] = array(packet, 0).ok_or(short)?;
    let [version, _, _, _, l0, l1, mut next, ..] = fixed;
    let end = usize::from(u16::from_be_bytes([l0, l1])).saturating_add(HEADER_LEN);
    if version >> 4 != 6 {
        return Err(SkipReason::BadLength);
    }
    let mut start = HEADER_LEN;
    for _ in 0..EXTENSION_COUNT_MAX {
        let extension: Option<[u8; 4]> = array(packet, start);
        let units = |extension: Option<[u8; 4]>| extension.map(|[_, len, ..]| usize::from(len)).ok_or(short);
        let len = match next {
            PROTOCOL_UDP => break,
            // Hop-by-hop, routing, destination options; authentication; fragment (RFC 8200, RFC 4302).
            0 | 43 | 60 => units(extension)?.saturating_add(1).saturating_mul(8),
            51 => units(extension)?.saturating_add(2).saturating_mul(4),
            44 => match extension.ok_or(short)? {
                [_, _, high, low] if u16::from_be_bytes([high, low]) & 0xfff9 != 0 => return Err(SkipReason::Fragment),
                _ => 8,
            },
            _ => return Err(SkipReason::NotUdp),
        };
        next = extension.map_or(next, |[kind, ..]| kind);
        start = start.saturating_add(len);
    }
    if next != PROTOCOL_UDP {
        return Err(SkipReason::NotUdp);
    }
    let len = end.checked_sub(start).ok_or(SkipReason::BadLength)?;
    let address = |at| array::<16>(&fixed, at).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from);
    Ok(Transport {
        source: IpAddr::V6(address(8)),
        destination: IpAddr::V6(address(24)),
        start,
        len,
        is_checksum_zeroed: false,
    })
}

/// Whether the checksum over pseudo-header, header and payload is right, or will do; none (zero) counts as right for IPv4.
fn is_udp_checksum_accepted(datagram: &[u8], transport: &Transport, check: UdpCheck) -> bool {
    let is_lenient = match check {
        UdpCheck::Off => return true,
        UdpCheck::Lenient => true,
        UdpCheck::Strict => false,
    };
    let checksum = be_u16(datagram, 6).map_or(0, u32::from);
    let is_absent = checksum == 0;
    let add = |sum, address: IpAddr| match address {
        IpAddr::V4(address) => ones_sum(sum, &address.octets()),
        IpAddr::V6(address) => ones_sum(sum, &address.octets()),
    };
    let [l0, l1] = be_u16(datagram, 4).unwrap_or(0).to_be_bytes();
    let addresses = add(add(0, transport.source), transport.destination);
    let pseudo = ones_sum(addresses, &[0, PROTOCOL_UDP, l0, l1]);
    let is_right = (is_absent && transport.source.is_ipv4()) || ones_sum(pseudo, datagram) == 0xffff;
    is_right || (is_lenient && checksum == pseudo)
}

/// Sums 16-bit big-endian words in ones' complement arithmetic (RFC 1071); an odd last byte is padded with zero. Two words
/// at a time: a carry from the lower into the upper one is brought back at the end like every other (RFC 1071, section 2,
/// "parallel summation").
pub(crate) fn ones_sum(start: u32, bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks::<4>();
    let sum = pairs.iter().fold(u64::from(start), |sum, pair| sum.wrapping_add(u64::from(u32::from_be_bytes(*pair))));
    let (words, last) = rest.as_chunks::<2>();
    let sum = words.iter().fold(sum, |sum, word| sum.wrapping_add(u64::from(u16::from_be_bytes(*word))));
    let last = last.first().map_or(0, |byte| u64::from(*byte) << 8);
    fold(sum.wrapping_add(last))
}

/// Brings a sum of words back into 16 bits without losing its value in ones' complement.
fn fold(sum: u64) -> u32 {
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
    }
    u32::try_from(sum).unwrap_or(0)
}

/// The checksum to write for a sum of words: its complement.
pub(crate) fn checksum_of(sum: u32) -> u16 {
    !u16::try_from(sum & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{fold, ones_sum};

    /// RFC 1071 as it is written: word by word, each carry brought back at once.
    fn by_words(start: u32, bytes: &[u8]) -> u32 {
        bytes.chunks(2).fold(fold(u64::from(start)), |sum, word| {
            let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
            fold(u64::from(sum) + u64::from(word))
        })
    }

    proptest! {
        #[test]
        fn pairs_of_words_sum_up_to_what_words_do(start in 0_u32..=0xffff, bytes in vec(any::<u8>(), 0..1_500)) {
            prop_assert_eq!(ones_sum(start, &bytes), by_words(start, &bytes));
        }

        #[test]
        fn carries_are_brought_back(start in 0_u32..=0xffff, len in 0_usize..70_000) {
            let bytes = vec![0xff; len];
            prop_assert_eq!(ones_sum(start, &bytes), by_words(start, &bytes));
        }
    }
}
