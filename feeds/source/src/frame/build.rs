//! Builds Ethernet frames around UDP payloads, with correct checksums, as a capture on a trading network shows them.

use std::net::SocketAddrV4;

use super::{ETHERTYPE_IPV4, ETHERTYPE_VLAN, PROTOCOL_UDP, checksum_of, ones_sum};

const IPV4_HEADER_LEN: u16 = 20;
const UDP_HEADER_LEN: u16 = 8;
/// Longest UDP payload that an IPv4 datagram can carry, in bytes.
pub const PAYLOAD_LEN_MAX: usize = 65_535 - 28;
/// An Ethernet frame is padded with zeros to this length (without its check sequence).
const FRAME_LEN_MIN: usize = 60;

/// The payload does not fit an IPv4 datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UDP payload of {len} bytes does not fit an IPv4 datagram: at most {PAYLOAD_LEN_MAX}")]
pub struct PayloadTooLong {
    /// Its length in bytes.
    pub len: usize,
}

/// Makes frames of one UDP flow.
#[derive(Clone, Debug)]
pub struct FrameBuilder {
    source: SocketAddrV4,
    destination: SocketAddrV4,
    vlan: Option<u16>,
    source_mac: [u8; 6],
    identification: u16,
}

impl FrameBuilder {
    /// Frames from `source` to `destination`, untagged.
    #[must_use]
    pub const fn new(source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        // A locally administered address, which belongs to no maker.
        Self { source, destination, vlan: None, source_mac: [2, 0, 0, 0, 0, 1], identification: 0 }
    }

    /// The same with an 802.1Q tag; `id` is taken modulo 4,096.
    #[must_use]
    pub const fn with_vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id & 0x0fff);
        self
    }

    /// Replaces the content of `frame` by the frame that carries `payload`.
    ///
    /// # Errors
    /// [`PayloadTooLong`] above [`PAYLOAD_LEN_MAX`] bytes; `frame` is then empty.
    pub fn build(&mut self, payload: &[u8], frame: &mut Vec<u8>) -> Result<(), PayloadTooLong> {
        frame.clear();
        let too_long = PayloadTooLong { len: payload.len() };
        let len = u16::try_from(payload.len()).map_err(|_| too_long)?;
        let udp_len = len.checked_add(UDP_HEADER_LEN).ok_or(too_long)?;
        let total_len = udp_len.checked_add(IPV4_HEADER_LEN).ok_or(too_long)?;
        self.push_ethernet(frame);
        frame.extend_from_slice(&self.ipv4_header(total_len));
        frame.extend_from_slice(&self.udp_header(udp_len, payload));
        frame.extend_from_slice(payload);
        if frame.len() < FRAME_LEN_MIN {
            frame.resize(FRAME_LEN_MIN, 0);
        }
        self.identification = self.identification.wrapping_add(1);
        Ok(())
    }

    fn push_ethernet(&self, frame: &mut Vec<u8>) {
        let [a, b, c, d] = self.destination.ip().octets();
        // RFC 1112: a multicast group maps to 01:00:5e and its low 23 bits.
        let to = if self.destination.ip().is_multicast() { [1, 0, 0x5e, b & 0x7f, c, d] } else { [2, 0, a, b, c, d] };
        frame.extend_from_slice(&to);
        frame.extend_from_slice(&self.source_mac);
        if let Some(id) = self.vlan {
            frame.extend_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
            frame.extend_from_slice(&id.to_be_bytes());
        }
        frame.extend_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
    }

    fn ipv4_header(&self, total_len: u16) -> [u8; 20] {
        let [l0, l1] = total_len.to_be_bytes();
        let [i0, i1] = self.identification.to_be_bytes();
        let [s0, s1, s2, s3] = self.source.ip().octets();
        let [d0, d1, d2, d3] = self.destination.ip().octets();
        let with =
            |c0, c1| [0x45, 0, l0, l1, i0, i1, 0x40, 0, 64, PROTOCOL_UDP, c0, c1, s0, s1, s2, s3, d0, d1, d2, d3];
        let [c0, c1] = checksum_of(ones_sum(0, &with(0, 0))).to_be_bytes();
        with(c0, c1)
    }

    fn udp_header(&self, udp_len: u16, payload: &[u8]) -> [u8; 8] {
        let [s0, s1] = self.source.port().to_be_bytes();
        let [d0, d1] = self.destination.port().to_be_bytes();
        let [l0, l1] = udp_len.to_be_bytes();
        let addresses = ones_sum(ones_sum(0, &self.source.ip().octets()), &self.destination.ip().octets());
        let pseudo = ones_sum(addresses, &[0, PROTOCOL_UDP, l0, l1]);
        let header = ones_sum(pseudo, &[s0, s1, d0, d1, l0, l1]);
        // RFC 768: a checksum of zero means that there is none, so zero is sent as all ones.
        let checksum = match checksum_of(ones_sum(header, payload)) {
            0 => u16::MAX,
            other => other,
        };
        let [c0, c1] = checksum.to_be_bytes();
        [s0, s1, d0, d1, l0, l1, c0, c1]
    }
}
