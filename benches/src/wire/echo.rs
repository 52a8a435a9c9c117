//! The bare echo: the engine's receive and send, and nothing between them. It answers every packet, or one in so many, about
//! as seldom as the engine finds a reason for an order: then both come out of the same idleness.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use peregrine_gateway::ouch50::{EnterOrder, MESSAGE_LEN_MAX, MessageBuilder, Text};
use peregrine_gateway::soup::{
    ClientConfig, ClientEvent, ClientSession, ClientState, HEARTBEAT_INTERVAL, Password, Position, Username,
};
use peregrine_node::live::{KernelWay, READ_INTERVAL};
use peregrine_runtime::TscClock;
use peregrine_source::live::{
    LineAddress, LiveSource, PacketRingSource, RingOptions, SocketOptions, UdpSource, XdpOptions, XdpSource,
};
use peregrine_types::{EpochNanos, Nanos};
use peregrine_wire::moldudp64::Packet;

use super::desk::{PASSWORD, USERNAME};
use crate::BenchError;

/// A warm echo rehearses after so much silence of the feed, and then as often as this, as the engine does with a
/// `model.keep_warm_us` of 10.
const IDLE: Nanos = Nanos::from_micros(10);
const REHEARSAL_INTERVAL: Nanos = Nanos::from_micros(100);

/// By what a line is received, as `[live] source` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// UDP sockets.
    Udp,
    /// AF_PACKET rings.
    PacketRing,
    /// AF_XDP sockets.
    Xdp,
}

impl Received {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Udp, Self::PacketRing, Self::Xdp];

    /// Its name in a profile.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::PacketRing => "packet_ring",
            Self::Xdp => "xdp",
        }
    }

    /// The way with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }

    /// The source that the engine would open for `line`, with the same options.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(self, line: LineAddress) -> Result<Box<dyn LiveSource>, BenchError> {
        Ok(match self {
            Self::Udp => Box::new(UdpSource::open(&[line], &SocketOptions::default(), None)?),
            Self::PacketRing => Box::new(PacketRingSource::open(&[line], &RingOptions::default(), None)?),
            Self::Xdp => Box::new(XdpSource::open(&[line], &XdpOptions::default(), None)?),
        })
    }
}

/// Answers one packet in `every` of those that reach `line` by `way` with an order to `venue`, until the venue hangs up. Its
/// words are read as often as the engine reads them. Kept warm, it rehearses the kernel's way of an order while it waits, as
/// often as the engine does.
///
/// # Errors
/// What the sockets say.
pub fn run(
    way: Received,
    line: (SocketAddrV4, Ipv4Addr),
    venue: SocketAddrV4,
    (every, is_warm): (u64, bool),
) -> Result<(), BenchError> {
    let (destination, interface) = line;
    let mut source = way.open(LineAddress { destination, interface })?;
    let mut stream = TcpStream::connect_timeout(&venue.into(), Duration::from_secs(10))?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let (clock, mut session) = (TscClock::calibrated(), ClientSession::new(client()?, Position::START));
    session.connect(clock.now());
    let (mut number, mut is_over) = (0_u32, false);
    let (mut buffer, mut packet_count) = (vec![0; 1 << 16], 0_u64);
    let mut read_at = EpochNanos::MIN;
    let mut kernel_way = is_warm.then(KernelWay::open).transpose()?;
    let mut rehearse_at = EpochNanos::MAX;
    while !is_over {
        let is_new = source.advance()?;
        let current = source.current().filter(|_| is_new).and_then(|packet| Packet::parse(packet.bytes).ok());
        let first = current.filter(|packet| packet.message_count() > 0).map(|packet| packet.sequence_number());
        packet_count += u64::from(first.is_some());
        if let Some(first) = first
            && packet_count.is_multiple_of(every)
            && session.state() == ClientState::Active
        {
            number += 1;
            let clordid = decimal(first);
            let order = EnterOrder { user_ref_num: number.into(), side: b'B', clordid, ..EnterOrder::blank() };
            let mut message = [0; MESSAGE_LEN_MAX];
            session.send(MessageBuilder::new(&mut message, &order)?.finish(), clock.now())?;
        } else if clock.now().since(read_at) >= READ_INTERVAL {
            read_at = clock.now();
            match stream.read(&mut buffer) {
                Ok(0) => is_over = true,
                Ok(len) => {
                    let bytes = buffer.get(..len).unwrap_or_default();
                    session
                        .receive(bytes, clock.now(), &mut |event| is_over |= matches!(event, ClientEvent::Closed(_)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The venue hung up with something of ours unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => is_over = true,
                Err(error) => return Err(error.into()),
            }
            session.poll(clock.now(), &mut |_| {});
        }
        while !session.pending().is_empty() {
            match stream.write(session.pending()) {
                Ok(sent) => session.sent(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(kernel_way) = &mut kernel_way {
            let now = clock.now();
            if first.is_some() {
                rehearse_at = now.plus(IDLE);
            } else if now >= rehearse_at {
                rehearse_at = now.plus(REHEARSAL_INTERVAL);
                // The end of the connection is told by the next read.
                drop(stream.write(&[]));
                kernel_way.rehearse();
            }
        }
    }
    Ok(())
}

/// A number as text, its last 14 digits.
fn decimal(number: u64) -> Text<14> {
    let (mut text, mut rest) = (Text([b'0'; 14]), number);
    for digit in text.0.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    text
}

fn client() -> Result<ClientConfig, BenchError> {
    Ok(ClientConfig {
        username: Username::new(USERNAME).ok_or("no user name")?,
        password: Password::new(PASSWORD).ok_or("no password")?,
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(15),
        login_time_max: Nanos::from_secs(10),
        heartbeat_timeout_ms: None,
        packet_len_max: 1_024,
        outbox_len_max: 1 << 20,
    })
}
