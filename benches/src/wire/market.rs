//! The feed's side: MoldUDP64 packets, one line.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use peregrine_wire::moldudp64::{PacketBuilder, Session};

use crate::BenchError;

const PACKET_LEN_MAX: usize = 1_400;

/// A feed that leaves by one socket.
#[derive(Debug)]
pub struct Market {
    socket: UdpSocket,
    to: SocketAddrV4,
    session: Session,
    next: u64,
    buffer: Vec<u8>,
}

impl Market {
    /// A feed to `to`, a group or an address, from the interface that has `interface`; multicast stays on this host.
    ///
    /// # Errors
    /// What the socket says.
    pub fn new(to: SocketAddrV4, interface: Ipv4Addr) -> Result<Self, BenchError> {
        let socket = UdpSocket::bind(SocketAddrV4::new(interface, 0))?;
        Ok(Self { socket, to, session: Session(*b"WIRETOWIRE"), next: 1, buffer: vec![0; PACKET_LEN_MAX] })
    }

    /// Sends the messages as one packet.
    ///
    /// # Errors
    /// What the socket says, or that they do not fit one packet.
    pub fn send(&mut self, messages: &[&[u8]]) -> Result<(), BenchError> {
        let mut builder = PacketBuilder::new(&mut self.buffer, self.session, self.next)?;
        for message in messages {
            builder.push(message)?;
        }
        self.socket.send_to(builder.finish(), self.to)?;
        self.next += u64::try_from(messages.len())?;
        Ok(())
    }

    /// Says that the feed lives.
    ///
    /// # Errors
    /// What the socket says.
    pub fn heartbeat(&mut self) -> Result<(), BenchError> {
        self.send(&[])
    }

    /// Says that the session is over.
    ///
    /// # Errors
    /// What the socket says.
    pub fn end(&mut self) -> Result<(), BenchError> {
        let mut packet = Vec::from(self.session.0);
        packet.extend_from_slice(&self.next.to_be_bytes());
        packet.extend_from_slice(&u16::MAX.to_be_bytes());
        for _ in 0..3 {
            self.socket.send_to(&packet, self.to)?;
        }
        Ok(())
    }
}
