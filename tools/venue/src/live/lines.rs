//! The feed's sockets: two lines of multicast, and the server that sends messages again.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use mio::{Interest, Registry, Token};
use peregrine_types::EpochNanos;
use peregrine_wire::moldudp64::Request;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zerocopy::{FromBytes, IntoBytes};

use crate::control::LineChange;
use crate::faults::{FaultyLine, LineCounters, LineFaults};
use crate::settings::{LineSettings, RetransmissionSettings};
use crate::stream::FeedStream;

/// Requests that are answered in a turn, at most.
const REQUESTS_PER_TURN_MAX: usize = 64;
/// Bytes of a receiver's address in front of an answer that is on its way.
const ADDRESS_LEN: usize = 6;

/// What a line sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineReport {
    /// What its faults did.
    pub faults: LineCounters,
    /// Packets handed to the system.
    pub sent_count: u64,
    /// Packets that the system refused: its buffer was full, or there is no way to the group.
    pub refused_count: u64,
}

/// One line of the feed.
pub struct Line {
    socket: UdpSocket,
    destination: SocketAddr,
    is_clean: bool,
    faulty: FaultyLine,
    report: LineReport,
}

impl Line {
    /// A socket on the interface: what it sends to a group leaves by that interface.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(settings: &LineSettings, (interface, ttl): (Ipv4Addr, u32), seed: u64) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((interface, 0))?;
        socket.set_multicast_ttl_v4(ttl)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            destination: settings.destination,
            is_clean: settings.faults == LineFaults::default(),
            faulty: FaultyLine::new(settings.faults, seed),
            report: LineReport::default(),
        })
    }

    /// Sends a packet, or leaves it to the line's faults.
    pub fn send(&mut self, packet: &[u8], now: EpochNanos) {
        if self.is_clean {
            transmit(&self.socket, packet, self.destination, &mut self.report);
        } else {
            self.faulty.send(packet, now);
        }
    }

    /// Has other faults from `now` on.
    pub(super) fn switch(&mut self, change: LineChange, now: EpochNanos) {
        // Behind packets that are on their way nothing goes out directly any more.
        self.is_clean = false;
        self.faulty.switch(change, now);
    }

    /// Its faults.
    pub(super) const fn faults(&self) -> LineFaults {
        self.faulty.faults()
    }

    /// Sends what is due of the packets that were held back.
    pub fn poll(&mut self, now: EpochNanos) {
        let (socket, destination, report) = (&self.socket, self.destination, &mut self.report);
        self.faulty.poll(now, &mut |packet| transmit(socket, packet, destination, report));
    }

    /// When something that was held back is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<EpochNanos> {
        self.faulty.next_deadline()
    }

    /// What it sent.
    #[must_use]
    pub const fn report(&self) -> LineReport {
        LineReport { faults: self.faulty.counters(), ..self.report }
    }
}

fn transmit(socket: &UdpSocket, packet: &[u8], destination: SocketAddr, report: &mut LineReport) {
    match socket.send_to(packet, destination) {
        Ok(_) => report.sent_count += 1,
        Err(_) => report.refused_count += 1,
    }
}

/// The server that sends messages again.
pub struct RequestServer {
    socket: mio::net::UdpSocket,
    faulty: FaultyLine,
    lie_ppm: u32,
    chance: ChaCha8Rng,
    is_readable: bool,
    report: LineReport,
    pub(super) lie_count: u64,
}

impl RequestServer {
    /// Listens; `token` is its socket's.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(
        settings: &RetransmissionSettings,
        (registry, token): (&Registry, Token),
        seed: u64,
    ) -> std::io::Result<Self> {
        let mut socket = mio::net::UdpSocket::bind(settings.address)?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self {
            socket,
            faulty: FaultyLine::new(settings.faults, seed),
            lie_ppm: settings.lie_ppm,
            chance: ChaCha8Rng::seed_from_u64(seed ^ 1),
            is_readable: true,
            report: LineReport::default(),
            lie_count: 0,
        })
    }

    /// What it sent.
    #[must_use]
    pub const fn report(&self) -> LineReport {
        self.report
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Requests wait.
    pub const fn set_readable(&mut self) {
        self.is_readable = true;
    }

    /// Answers the requests that wait, and sends what is due. Returns whether requests are left.
    pub fn serve(&mut self, stream: &mut FeedStream, now: EpochNanos) -> bool {
        let mut buffer = [0; 64];
        for _ in 0..REQUESTS_PER_TURN_MAX {
            if !self.is_readable {
                break;
            }
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => self.answer(&buffer[..len], from, stream, now),
                Err(error) => self.is_readable = error.kind() != ErrorKind::WouldBlock,
            }
        }
        let (socket, report) = (&self.socket, &mut self.report);
        self.faulty.poll(now, &mut |held| {
            let Some((address, packet)) = unpack(held) else { return };
            match socket.send_to(packet, address) {
                Ok(_) => report.sent_count += 1,
                Err(_) => report.refused_count += 1,
            }
        });
        self.is_readable
    }

    fn answer(&mut self, request: &[u8], from: SocketAddr, stream: &mut FeedStream, now: EpochNanos) {
        let lies = self.lie_ppm > 0 && self.chance.next_u32() % 1_000_000 < self.lie_ppm;
        let shifted = if lies { shift(request) } else { None };
        self.lie_count += u64::from(shifted.is_some());
        let Some(packet) = stream.answer(shifted.as_ref().map_or(request, |request| request.as_bytes())) else {
            return;
        };
        if let Some(held) = pack(from, packet) {
            self.faulty.send(&held, now);
        }
    }

    /// When something that was held back is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<EpochNanos> {
        self.faulty.next_deadline()
    }

    pub(super) const fn faults(&self) -> LineCounters {
        self.faulty.counters()
    }

    /// Has other faults of its answers from `now` on.
    pub(super) fn switch(&mut self, change: LineChange, now: EpochNanos) {
        self.faulty.switch(change, now);
    }

    /// Lies that often from now on.
    pub(super) const fn lie(&mut self, ppm: u32) {
        self.lie_ppm = ppm;
    }
}

/// A request for one message behind the first one that was asked for.
fn shift(request: &[u8]) -> Option<Request> {
    let mut request = Request::read_from_bytes(request).ok()?;
    request.sequence_number = request.sequence_number.get().checked_add(1)?.into();
    Some(request)
}

fn pack(to: SocketAddr, packet: &[u8]) -> Option<Vec<u8>> {
    let IpAddr::V4(address) = to.ip() else { return None };
    Some([&address.octets()[..], &to.port().to_be_bytes(), packet].concat())
}

fn unpack(held: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let ([a, b, c, d, high, low], packet) = held.split_first_chunk::<ADDRESS_LEN>()?;
    let address = SocketAddrV4::new(Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low]));
    Some((SocketAddr::V4(address), packet))
}
