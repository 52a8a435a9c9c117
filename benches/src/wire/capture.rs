//! The clock outside: a tap on the venue's side of the wire sees each packet of the feed leave and each order arrive, and
//! the kernel's stamps of both make the span. Whoever answers has no part in it, and neither has the program that sends.

use std::net::Ipv4Addr;

use peregrine_gateway::ouch50::Inbound;
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
    /// A packet of the feed, with messages, that leaves: the number of its first message.
    Feed(u64),
    /// Orders or cancels that arrive: the first of them.
    Order(Order),
    Other,
}

/// An order or a cancel on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// Whether it asks for a cancel.
    pub is_cancel: bool,
    /// `UserRefNum` of the order or of the replacement, for a cancel of the one to be cancelled.
    pub number: u32,
    /// The order's identifier as a number: the bare echo puts the number of the packet's first message there. 0 for a cancel
    /// and a replacement.
    pub identifier: u64,
}

/// What was captured.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// Packets of the feed: the number of the first message (MoldUDP64 counts from 1), and the stamp.
    pub packets: Vec<(u64, EpochNanos)>,
    /// What came back, in order.
    pub orders: Vec<(Order, EpochNanos)>,
    /// Frames that found no room: packets and orders may lack then.
    pub dropped_count: u64,
}

/// Watches packets leave and orders arrive.
pub struct Capture {
    tap: Tap,
    feed_port: u16,
    desk_port: u16,
    is_counting: bool,
    captured: Captured,
}

impl Capture {
    /// A capture on the interface that has `address`, of the feed to `feed_port` and the orders to `desk_port`.
    ///
    /// # Errors
    /// What the system says: it needs CAP_NET_RAW.
    pub fn open(address: Ipv4Addr, feed_port: u16, desk_port: u16) -> Result<Self, BenchError> {
        let tap = Tap::open(address, TAP_MIB)?;
        Ok(Self { tap, feed_port, desk_port, is_counting: false, captured: Captured::default() })
    }

    /// What passed so far is forgotten: from here on it counts.
    pub fn begin(&mut self) {
        self.drain();
        self.is_counting = true;
        self.captured = Captured::default();
    }

    /// Reads what has passed; takes no system call.
    pub fn drain(&mut self) {
        let Self { tap, feed_port, desk_port, is_counting, captured } = self;
        while let Some(frame) = tap.advance() {
            match kind_of(frame.bytes, frame.is_outgoing, (*feed_port, *desk_port)) {
                Kind::Feed(number) if *is_counting => captured.packets.push((number, frame.time)),
                Kind::Order(order) if *is_counting => captured.orders.push((order, frame.time)),
                Kind::Feed(_) | Kind::Order(_) | Kind::Other => {}
            }
        }
    }

    /// Everything since [`Capture::begin`].
    #[must_use]
    pub fn end(mut self) -> Captured {
        self.drain();
        self.captured.dropped_count = self.tap.dropped_count();
        self.captured
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
                (packet.message_count() > 0).then_some(Kind::Feed(packet.sequence_number()))
            }
            (TCP, false) if port == desk_port => {
                let payload = transport.get(usize::from(transport.get(12)? >> 4) * 4..)?;
                // SoupBinTCP: length, type, payload; an unsequenced one with a message of OUCH 5.0.
                let end = 2 + usize::from(be_u16(payload, 0)?);
                let message = payload.get(3..end).filter(|_| payload.get(2) == Some(&b'U'))?;
                order_of(message).map(Kind::Order)
            }
            _ => None,
        }
    };
    found().unwrap_or(Kind::Other)
}

/// What a message of OUCH 5.0 asks for, if it is Enter Order, Replace Order or Cancel Order.
fn order_of(message: &[u8]) -> Option<Order> {
    match Inbound::parse(message).ok()? {
        Inbound::EnterOrder(order, _) => {
            let identifier = std::str::from_utf8(&order.clordid.0).ok().and_then(|text| text.trim_end().parse().ok());
            Some(Order { is_cancel: false, number: order.user_ref_num.get(), identifier: identifier.unwrap_or(0) })
        }
        Inbound::CancelOrder(cancel, _) => {
            Some(Order { is_cancel: true, number: cancel.user_ref_num.get(), identifier: 0 })
        }
        Inbound::ReplaceOrder(replace, _) => {
            Some(Order { is_cancel: false, number: replace.user_ref_num.get(), identifier: 0 })
        }
        Inbound::ModifyOrder(..)
        | Inbound::MassCancel(..)
        | Inbound::DisableOrderEntry(..)
        | Inbound::EnableOrderEntry(..)
        | Inbound::AccountQuery(..)
        | Inbound::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_gateway::ouch50::{
        Body, CancelOrder, EnterOrder, MESSAGE_LEN_MAX, MessageBuilder, ReplaceOrder, Text,
    };

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

    fn soup(body: &impl Body) -> Vec<u8> {
        let mut buffer = [0; MESSAGE_LEN_MAX];
        let message = MessageBuilder::new(&mut buffer, body).expect("fits").finish();
        let mut packet = u16::try_from(message.len() + 1).expect("short").to_be_bytes().to_vec();
        packet.push(b'U');
        packet.extend_from_slice(message);
        packet
    }

    #[test]
    fn packets_and_orders_are_told_from_everything_else() {
        let mut feed = b"SESSION   \0\0\0\0\0\0\0\x07\0\x01\0\x01S".to_vec();
        let of = |payload: &[u8], is_outgoing| kind_of(&frame(UDP, 30, &[0; 4], payload), is_outgoing, (30, 40));
        assert_eq!((of(&feed, true), of(&feed, false)), (Kind::Feed(7), Kind::Other));
        feed.truncate(20);
        (feed[18], feed[19]) = (0, 0);
        assert_eq!(of(&feed, true), Kind::Other, "a heartbeat");
        let tcp = [0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0];
        let of = |payload: &[u8], port| kind_of(&frame(TCP, port, &tcp, payload), false, (30, 40));
        let clordid = Text::new("1234").expect("short");
        let enter = soup(&EnterOrder { user_ref_num: 5.into(), clordid, ..EnterOrder::blank() });
        let cancel = soup(&CancelOrder { user_ref_num: 6.into(), ..CancelOrder::blank() });
        let entered = Kind::Order(Order { is_cancel: false, number: 5, identifier: 1_234 });
        let canceled = Kind::Order(Order { is_cancel: true, number: 6, identifier: 0 });
        assert_eq!((of(&enter, 40), of(&cancel, 40)), (entered, canceled));
        let replace =
            soup(&ReplaceOrder { orig_user_ref_num: 5.into(), user_ref_num: 7.into(), ..ReplaceOrder::blank() });
        assert_eq!(of(&replace, 40), Kind::Order(Order { is_cancel: false, number: 7, identifier: 0 }));
        assert_eq!((of(b"\0\x01R", 40), of(&enter, 41), of(b"", 40)), (Kind::Other, Kind::Other, Kind::Other));
        // What lies behind the datagram in a padded frame is none of it.
        let mut padded = frame(TCP, 40, &tcp, b"");
        padded.extend(&enter);
        assert_eq!(kind_of(&padded, false, (30, 40)), Kind::Other);
    }
}
