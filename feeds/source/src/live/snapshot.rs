//! The client of the snapshot service: SoupBinTCP over a socket that never waits, its messages packed as the recovery
//! stage takes them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddrV4;

use peregrine_soup::{ClientConfig, ClientEvent, ClientSession, HEARTBEAT_INTERVAL, Password, Position, Username};
use peregrine_types::{EpochNanos, Nanos};
use peregrine_wire::moldudp64::{BLOCK_HEADER_LEN, HEADER_LEN, Header, Session};
use peregrine_wire::recovery::SnapshotStep;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use zerocopy::IntoBytes;

/// Bytes of one read: what they complete fits one packet, so that a step takes one at most.
const READ_LEN: usize = 1_024;
/// The longest packet that the service may send: every ITCH message fits.
const SOUP_LEN_MAX: usize = 256;
/// Bytes of a packet into which its messages are packed.
const PACKET_LEN_MAX: usize = 1_400;

/// Where the snapshot service is, and how to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPlan {
    /// Its address.
    pub address: SocketAddrV4,
    /// User.
    pub username: Username,
    /// Password.
    pub password: Password,
    /// How long connection and login may take together.
    pub connect_time_max: Nanos,
    /// How long the service may be silent.
    pub silence_max: Nanos,
}

impl SnapshotPlan {
    /// A service with time-outs of two seconds.
    #[must_use]
    pub const fn new(address: SocketAddrV4, username: Username, password: Password) -> Self {
        Self { address, username, password, connect_time_max: Nanos::from_secs(2), silence_max: Nanos::from_secs(2) }
    }
}

/// What a step of the client came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientStep {
    /// Nothing came.
    Idle,
    /// Something came.
    Worked,
    /// The snapshot was taken in, and the connection is closed.
    Done,
    /// The connection is over before that.
    Failed,
}

/// Messages on their way into one packet.
struct Packer {
    bytes: Box<[u8]>,
    len: usize,
    count: u16,
    first: u64,
}

impl Packer {
    fn new() -> Self {
        Self { bytes: vec![0; PACKET_LEN_MAX].into_boxed_slice(), len: HEADER_LEN, count: 0, first: 0 }
    }

    const fn clear(&mut self) {
        (self.len, self.count) = (HEADER_LEN, 0);
    }

    /// Appends a message; `false` when it does not fit any more.
    fn push(&mut self, number: u64, message: &[u8]) -> bool {
        let end = self.len.saturating_add(BLOCK_HEADER_LEN).saturating_add(message.len());
        let Some(room) = self.bytes.get_mut(self.len..end) else { return false };
        let Some((len, body)) = room.split_first_chunk_mut::<BLOCK_HEADER_LEN>() else { return false };
        *len = u16::try_from(message.len()).unwrap_or(0).to_be_bytes();
        body.copy_from_slice(message);
        if self.count == 0 {
            self.first = number;
        }
        (self.len, self.count) = (end, self.count.saturating_add(1));
        true
    }

    /// The packet, if there is a message in it.
    fn packet(&mut self, session: Session) -> Option<&[u8]> {
        if self.count == 0 {
            return None;
        }
        let header = Header { session, sequence_number: self.first.into(), message_count: self.count.into() };
        self.bytes.first_chunk_mut::<HEADER_LEN>()?.copy_from_slice(header.as_bytes());
        self.bytes.get(..self.len)
    }
}

/// One connection at a time: see the module.
pub(super) struct SnapshotClient {
    plan: SnapshotPlan,
    session: ClientSession,
    /// The feed's session, whose snapshot it is to be.
    feed_session: Session,
    socket: Option<Socket>,
    is_connected: bool,
    begun: EpochNanos,
    buffer: Box<[u8]>,
    packer: Packer,
}

impl SnapshotClient {
    /// Takes all memory; connects to nothing.
    pub(super) fn new(plan: SnapshotPlan) -> Self {
        let config = ClientConfig {
            username: plan.username,
            password: plan.password,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: plan.silence_max,
            login_time_max: plan.connect_time_max,
            heartbeat_timeout_ms: None,
            packet_len_max: SOUP_LEN_MAX,
            outbox_len_max: 256,
        };
        Self {
            plan,
            session: ClientSession::new(config, Position::START),
            feed_session: Session([b' '; 10]),
            socket: None,
            is_connected: false,
            begun: EpochNanos::MIN,
            buffer: vec![0; READ_LEN].into_boxed_slice(),
            packer: Packer::new(),
        }
    }

    /// Whether a connection is under way.
    pub(super) const fn is_active(&self) -> bool {
        self.socket.is_some()
    }

    /// Begins a connection for a snapshot of `feed_session`; `false` when the system refuses at once.
    pub(super) fn begin(&mut self, feed_session: Session, now: EpochNanos) -> bool {
        self.feed_session = feed_session;
        self.socket = connect(self.plan.address).ok();
        (self.is_connected, self.begun) = (false, now);
        self.packer.clear();
        self.is_active()
    }

    /// Closes the connection without a word.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.session.disconnect(&mut |_| {});
    }

    /// Moves bytes, and hands out what came as packets of the feed's session, numbered from 1. A snapshot of another session
    /// is refused here.
    pub(super) fn step(&mut self, now: EpochNanos, on_packet: &mut impl FnMut(&[u8]) -> SnapshotStep) -> ClientStep {
        let step = self.advance(now, on_packet);
        if matches!(step, ClientStep::Done | ClientStep::Failed) {
            self.close();
        }
        step
    }

    fn advance(&mut self, now: EpochNanos, on_packet: &mut impl FnMut(&[u8]) -> SnapshotStep) -> ClientStep {
        if !self.is_connected {
            return self.finish_connection(now);
        }
        let mut step = ClientStep::Idle;
        let Some(socket) = &mut self.socket else { return ClientStep::Failed };
        match socket.read(&mut self.buffer) {
            Ok(0) => return ClientStep::Failed,
            Ok(len) => {
                step = self.take(len, now, on_packet);
                if step != ClientStep::Worked {
                    return step;
                }
            }
            Err(error) if is_nothing(&error) => {}
            Err(_) => return ClientStep::Failed,
        }
        let mut is_closed = false;
        self.session.poll(now, &mut |event| is_closed |= matches!(event, ClientEvent::Closed(_)));
        if is_closed || !self.send() { ClientStep::Failed } else { step }
    }

    /// Looks whether the connection stands by now, and logs in then.
    fn finish_connection(&mut self, now: EpochNanos) -> ClientStep {
        let Some(socket) = &self.socket else { return ClientStep::Failed };
        let is_refused = !matches!(socket.take_error(), Ok(None));
        if is_refused || now.since(self.begun) >= self.plan.connect_time_max {
            return ClientStep::Failed;
        }
        if socket.peer_addr().is_err() {
            return ClientStep::Idle;
        }
        self.is_connected = true;
        self.session.set_position(Position::START);
        self.session.connect(now);
        if self.send() { ClientStep::Worked } else { ClientStep::Failed }
    }

    /// Takes the first `len` bytes of the buffer.
    fn take(&mut self, len: usize, now: EpochNanos, on_packet: &mut impl FnMut(&[u8]) -> SnapshotStep) -> ClientStep {
        let Self { session, packer, buffer, feed_session, .. } = self;
        let feed_session = *feed_session;
        let bytes = buffer.get(..len).unwrap_or_default();
        let mut outcome = ClientStep::Worked;
        session.receive(bytes, now, &mut |event| match event {
            ClientEvent::Sequenced { sequence_number, payload } if outcome == ClientStep::Worked => {
                if !packer.push(sequence_number, payload) {
                    outcome = hand_over(packer, feed_session, on_packet);
                    // An empty packer takes every message of the length that the session lets through.
                    packer.push(sequence_number, payload);
                }
            }
            ClientEvent::LoggedIn { position, .. } => {
                let is_ours = position.session.0.trim_ascii() == feed_session.0.trim_ascii();
                if !is_ours || position.next_sequence_number != 1 {
                    outcome = ClientStep::Failed;
                }
            }
            ClientEvent::Closed(_) if outcome == ClientStep::Worked => {
                outcome = match hand_over(packer, feed_session, on_packet) {
                    ClientStep::Worked => ClientStep::Failed,
                    other @ (ClientStep::Idle | ClientStep::Done | ClientStep::Failed) => other,
                };
            }
            ClientEvent::Sequenced { .. }
            | ClientEvent::Unsequenced(_)
            | ClientEvent::Debug(_)
            | ClientEvent::Closed(_) => {}
        });
        if outcome == ClientStep::Worked { hand_over(packer, feed_session, on_packet) } else { outcome }
    }

    /// Sends what waits; `false` when the connection is gone.
    fn send(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        while !self.session.pending().is_empty() {
            match socket.write(self.session.pending()) {
                Ok(0) => return false,
                Ok(count) => self.session.sent(count),
                Err(error) => return is_nothing(&error),
            }
        }
        true
    }
}

/// Hands out what is packed.
fn hand_over(packer: &mut Packer, session: Session, on_packet: &mut impl FnMut(&[u8]) -> SnapshotStep) -> ClientStep {
    let step = packer.packet(session).map(on_packet);
    packer.clear();
    match step {
        None | Some(SnapshotStep::Taken) => ClientStep::Worked,
        Some(SnapshotStep::Done) => ClientStep::Done,
        Some(SnapshotStep::Refused) => ClientStep::Failed,
    }
}

fn connect(address: SocketAddrV4) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
