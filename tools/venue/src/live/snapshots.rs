//! The snapshot service's sockets: every connection gets the book as it stands when it is made.

use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use peregrine_gateway::soup::{
    CLIENT_SILENCE_MAX, HEARTBEAT_INTERVAL, LOGIN_TIME_MAX, ServerConfig, ServerSession, ServerState, SessionId,
};
use peregrine_types::EpochNanos;

use super::connection::{Connection, Moved};
use crate::settings::SnapshotSettings;

/// Hands out the messages of a snapshot, its end among them.
pub type Tell<'a> = &'a dyn Fn(&mut dyn FnMut(&[u8]));

/// Connections at once; more are not accepted.
pub const VISITOR_COUNT_MAX: usize = 64;
const PACKET_LEN_MAX: usize = 256;
const OUTBOX_LEN_MAX: usize = 1 << 18;

struct Visitor {
    connection: Connection,
    session: ServerSession,
}

/// See the module.
pub struct SnapshotServer {
    listener: TcpListener,
    settings: SnapshotSettings,
    session: SessionId,
    visitors: Vec<Option<Visitor>>,
    served_count: u64,
}

impl SnapshotServer {
    /// Listens; `token` is its listener's.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(
        settings: SnapshotSettings,
        session: SessionId,
        (registry, token): (&Registry, Token),
    ) -> std::io::Result<Self> {
        let mut listener = TcpListener::bind(settings.address)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        let visitors = (0..VISITOR_COUNT_MAX).map(|_| None).collect();
        Ok(Self { listener, settings, session, visitors, served_count: 0 })
    }

    /// Snapshots are of that session of the feed from now on.
    pub const fn set_session(&mut self, session: SessionId) {
        self.session = session;
    }

    /// Snapshots that were handed out.
    #[must_use]
    pub const fn served_count(&self) -> u64 {
        self.served_count
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes every connection that waits, each gets what `tell` has: token `first` and those behind it, up to
    /// [`VISITOR_COUNT_MAX`], are the connections'.
    pub fn accept(&mut self, (registry, first): (&Registry, usize), tell: Tell<'_>, now: EpochNanos) {
        while let Ok((stream, _)) = self.listener.accept() {
            let free = self.visitors.iter_mut().enumerate().find(|(_, visitor)| visitor.is_none());
            let Some((slot, visitor)) = free else { continue };
            let Ok(connection) = Connection::new(stream, registry, Token(first + slot)) else { continue };
            let mut session = session_of(&self.settings, self.session, tell, now);
            session.connect(now);
            *visitor = Some(Visitor { connection, session });
            self.served_count += 1;
        }
    }

    /// Bytes can be read from, or written to, the connection with this place behind the first token.
    pub fn set_ready(&mut self, slot: usize, (is_readable, is_writable): (bool, bool)) {
        if let Some(Some(visitor)) = self.visitors.get_mut(slot) {
            visitor.connection.is_readable |= is_readable;
            visitor.connection.is_writable |= is_writable;
        }
    }

    /// Moves the bytes of every connection. Returns whether bytes are left to be read.
    pub fn serve(&mut self, now: EpochNanos, buffer: &mut [u8]) -> bool {
        let mut is_busy = false;
        for slot in &mut self.visitors {
            let Some(visitor) = slot else { continue };
            if visitor.serve(now, buffer) {
                is_busy |= visitor.connection.is_readable;
            } else {
                *slot = None;
            }
        }
        is_busy
    }

    /// When a session has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<EpochNanos> {
        self.visitors.iter().flatten().filter_map(|visitor| visitor.session.next_deadline()).min()
    }
}

impl Visitor {
    /// Returns whether the connection goes on.
    fn serve(&mut self, now: EpochNanos, buffer: &mut [u8]) -> bool {
        let Self { connection, session } = self;
        match connection.receive(buffer) {
            Moved::Nothing => {}
            Moved::Gone => return false,
            Moved::Bytes(count) => session.receive(&buffer[..count], now, &mut |_| {}),
        }
        session.poll(now, &mut |_| {});
        while !session.pending().is_empty() {
            match connection.send(session.pending()) {
                Moved::Nothing => return true,
                Moved::Gone => return false,
                Moved::Bytes(count) => session.sent(count, now),
            }
        }
        session.state() != ServerState::Disconnected
    }
}

/// A session that holds the snapshot.
fn session_of(settings: &SnapshotSettings, session: SessionId, tell: Tell<'_>, now: EpochNanos) -> ServerSession {
    let (mut message_count_max, mut byte_count_max) = (0, 0);
    tell(&mut |message| {
        message_count_max += 1;
        byte_count_max += message.len();
    });
    let mut session = ServerSession::new(ServerConfig {
        username: settings.username,
        password: settings.password,
        session,
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: CLIENT_SILENCE_MAX,
        login_time_max: LOGIN_TIME_MAX,
        packet_len_max: PACKET_LEN_MAX,
        outbox_len_max: OUTBOX_LEN_MAX,
        message_count_max,
        byte_count_max,
    });
    tell(&mut |message| {
        // The store was made for exactly these.
        let pushed = session.sequence(message, now);
        debug_assert!(pushed.is_ok(), "{pushed:?}");
    });
    session
}
