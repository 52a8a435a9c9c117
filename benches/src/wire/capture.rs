//! The clock outside: a tap on the venue's side of the wire sees each packet of the feed leave and each order arrive, and
//! the kernel's stamps of both make the span. Whoever answers has no part in it, and neither has the program that sends.

use std::net::Ipv4Addr;

use peregrine_source::live::Tap;
use peregrine_types::EpochNanos;
use peregrine_wire::moldudp64::Packet;

use crate::BenchError;

/// Room for frames: 64 MiB are some 130,000 of them.
const TAP_MIB: u32 = 64;
const ETHERNET_LEN: usize = 14;
const UDP_HEADER_LEN: usize = 8;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a frame is to this measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A packet of the feed, with messages, that leaves.
    Feed,
    /// An order or a cancel that arrives.
    Order,
    Other,
}

/// Spans between packets and the orders that answer them.
pub struct Capture {
    tap: Tap,
    feed_port: u16,
    desk_port: u16,
    last_feed: Option<EpochNanos>,
    is_counting: bool,
    /// Nanoseconds from a packet's stamp to the stamp of the first order behind it.
    pub spans: Vec<f64>,
}

impl Capture {
    /// A capture on the interface that has `address`, of the feed to `feed_port` and the orders to `desk_port`.
    ///
    /// # Errors
    /// What the system says: it needs CAP_NET_RAW.
    pub fn open(address: Ipv4Addr, feed_port: u16, desk_port: u16) -> Result<Self, BenchError> {
        let tap = Tap::open(address, TAP_MIB)?;
        Ok(Self { tap, feed_port, desk_port, last_feed: None, is_counting: false, spans: Vec::new() })
    }

    /// What passed so far is forgotten: from here on it counts.
    pub fn begin(&mut self) {
        self.drain();
        (self.last_feed, self.is_counting) = (None, true);
        self.spans.clear();
    }

    /// Reads what has passed; takes no system call.
    pub fn drain(&mut self) {
        let Self { tap, feed_port, desk_port, last_feed, is_counting, spans } = self;
        while let Some(frame) = tap.advance() {
            match kind_of(frame.bytes, frame.is_outgoing, (*feed_port, *desk_port)) {
                Kind::Feed => *last_feed = Some(frame.time),
                Kind::Order if *is_counting => {
                    if let Some(sent) = last_feed.take() {
                        spans.push(frame.time.since(sent).0 as f64);
                    }
                }
                Kind::Order | Kind::Other => {}
            }
        }
    }

    /// Frames that found no room: spans may lack then.
    pub fn dropped_count(&mut self) -> u64 {
        self.tap.dropped_count()
    }
}

fn be_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn kind_of(frame: &[u8], is_outgoing: bool, (feed_port, desk_port): (u16, u16)) -> Kind {
    let found = || -> Option<Kind> {
        let ip = frame.get(ETHERNET_LEN..).filter(|_| be_u16(frame, 12) == Some(0x0800))?;
        let header_len = usize::from(ip.first()? & 15) * 4;
        // The frame may be longer than the datagram.
        let ip = ip.get(..usize::from(be_u16(ip, 2)?).min(ip.len()))?;
        let (protocol, transport) = (*ip.get(9)?, ip.get(header_len..)?);
        let port = be_u16(transport, 2)?;
        match (protocol, is_outgoing) {
            (UDP, true) if port == feed_port => {
                let packet = Packet::parse(transport.get(UDP_HEADER_LEN..)?).ok()?;
                (packet.message_count() > 0).then_some(Kind::Feed)
            }
            (TCP, false) if port == desk_port => {
                let payload = transport.get(usize::from(transport.get(12)? >> 4) * 4..)?;
                // SoupBinTCP: length, type, payload; an unsequenced one with Enter Order or Cancel Order of OUCH 5.0.
                (payload.get(2) == Some(&b'U') && matches!(payload.get(3), Some(b'O' | b'X'))).then_some(Kind::Order)
            }
            _ => None,
        }
    };
    found().unwrap_or(Kind::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(protocol: u8, port: u16, header: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET_LEN + 20];
        frame[12..14].copy_from_slice(&0x0800_u16.to_be_bytes());
        let len = u16::try_from(20 + 4 + header.len() + payload.len()).expect("short");
        (frame[14], frame[23]) = (0x45, protocol);
        frame[16..18].copy_from_slice(&len.to_be_bytes());
        frame.extend(1_u16.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame.extend_from_slice(header);
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn packets_and_orders_are_told_from_everything_else() {
        let mut feed = b"SESSION   \0\0\0\0\0\0\0\x01\0\x01\0\x01S".to_vec();
        let of = |payload: &[u8], is_outgoing| kind_of(&frame(UDP, 30, &[0; 4], payload), is_outgoing, (30, 40));
        assert_eq!((of(&feed, true), of(&feed, false)), (Kind::Feed, Kind::Other));
        feed.truncate(20);
        (feed[18], feed[19]) = (0, 0);
        assert_eq!(of(&feed, true), Kind::Other, "a heartbeat");
        let tcp = [0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0];
        let of = |payload: &[u8], port| kind_of(&frame(TCP, port, &tcp, payload), false, (30, 40));
        assert_eq!((of(b"\0\x30UO", 40), of(b"\0\x09UX", 40)), (Kind::Order, Kind::Order));
        assert_eq!((of(b"\0\x01R", 40), of(b"\0\x30UO", 41), of(b"", 40)), (Kind::Other, Kind::Other, Kind::Other));
        // What lies behind the datagram in a padded frame is none of it.
        let mut padded = frame(TCP, 40, &tcp, b"");
        padded.extend(b"\0\x30UO");
        assert_eq!(kind_of(&padded, false, (30, 40)), Kind::Other);
    }
}
