//! The server's side of a session: one account, its numbered stream kept from the first message, one connection at a
//! time.

use peregrine_types::{EpochNanos, Nanos};
use zerocopy::IntoBytes;

use super::client::Position;
use super::outbox::Outbox;
use super::packet::{
    AsciiNumber, HEADER_LEN, LoginAccepted, LoginRejectReason, LoginRejected, Packet, PacketType, Password, SessionId,
    Username,
};
use super::store::MessageStore;
use super::{CloseReason, FrameDecoder, SendError};

/// What a server session needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// User that may log in.
    pub username: Username,
    /// Password.
    pub password: Password,
    /// Name of the session.
    pub session: SessionId,
    /// Silence of ours after which a heartbeat goes out; [`super::HEARTBEAT_INTERVAL`].
    pub heartbeat_interval: Nanos,
    /// Silence of the client's after which it is dropped, [`super::CLIENT_SILENCE_MAX`]; a client of version 4.10 says
    /// its own.
    pub silence_max: Nanos,
    /// How long a connection may take to log in; [`super::LOGIN_TIME_MAX`].
    pub login_time_max: Nanos,
    /// The longest packet, in bytes with its length field.
    pub packet_len_max: usize,
    /// How many outgoing bytes can wait; at least one packet's.
    pub outbox_len_max: usize,
    /// How many sequenced messages the session can have.
    pub message_count_max: usize,
    /// How many bytes they can have together.
    pub byte_count_max: usize,
}

/// Where the state machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// No connection.
    Disconnected,
    /// Connected, nobody is logged in.
    AwaitingLogin,
    /// The client is logged in.
    Active,
}

/// What a session tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// The client logged in.
    LoggedIn {
        /// What it asked for.
        requested: Position,
        /// The number of the message that it gets next.
        next_sequence_number: u64,
    },
    /// One message of the client.
    Unsequenced(&'a [u8]),
    /// Free text of the client.
    Debug(&'a [u8]),
    /// The connection is to be closed, after sending what is pending; nothing more comes from it.
    Closed(CloseReason),
}

/// A server session: see the module.
#[derive(Debug)]
pub struct ServerSession {
    decoder: FrameDecoder,
    core: Core,
}

#[derive(Debug)]
struct Core {
    config: ServerConfig,
    state: ServerState,
    store: MessageStore,
    outbox: Outbox,
    /// Number of the message that the connection gets next.
    cursor: u64,
    is_over: bool,
    is_end_sent: bool,
    silence_max: Nanos,
    connect_time: EpochNanos,
    received_last: EpochNanos,
    sent_last: EpochNanos,
}

impl ServerSession {
    /// A session without messages and without a connection.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let core = Core {
            state: ServerState::Disconnected,
            store: MessageStore::new(config.message_count_max, config.byte_count_max),
            outbox: Outbox::new(config.outbox_len_max.max(config.packet_len_max).max(LoginAccepted::LEN)),
            cursor: 1,
            is_over: false,
            is_end_sent: false,
            silence_max: config.silence_max,
            connect_time: EpochNanos::MIN,
            received_last: EpochNanos::MIN,
            sent_last: EpochNanos::MIN,
            config,
        };
        Self { decoder: FrameDecoder::new(config.packet_len_max), core }
    }

    /// Where the state machine is.
    #[must_use]
    pub const fn state(&self) -> ServerState {
        self.core.state
    }

    /// Name of the session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.core.config.session
    }

    /// The numbered messages so far.
    #[must_use]
    pub const fn store(&self) -> &MessageStore {
        &self.core.store
    }

    /// Begins another session: its stream is empty. A connection must log in again.
    pub fn begin_session(&mut self, session: SessionId, on_event: &mut impl FnMut(ServerEvent<'_>)) {
        let core = &mut self.core;
        core.close(CloseReason::EndOfSession, on_event);
        core.config.session = session;
        core.store.clear();
        core.is_over = false;
    }

    /// A connection stands. It must log in before anything else.
    pub fn connect(&mut self, now: EpochNanos) {
        self.decoder.reset();
        let core = &mut self.core;
        core.outbox.clear();
        core.state = ServerState::AwaitingLogin;
        core.is_end_sent = false;
        core.silence_max = core.config.silence_max;
        (core.connect_time, core.received_last, core.sent_last) = (now, now, now);
    }

    /// The connection is gone. Tells it, unless the session closed it itself.
    pub fn disconnect(&mut self, on_event: &mut impl FnMut(ServerEvent<'_>)) {
        self.core.close(CloseReason::Lost, on_event);
    }

    /// Takes bytes that arrived. Bytes behind the one that closed the connection are not looked at.
    pub fn receive(&mut self, bytes: &[u8], now: EpochNanos, on_event: &mut impl FnMut(ServerEvent<'_>)) {
        let mut input = bytes;
        while self.core.state != ServerState::Disconnected {
            match self.decoder.next(&mut input) {
                Ok(Some(packet)) => self.core.on_packet(packet, now, on_event),
                Ok(None) => return,
                Err(error) => self.core.close(CloseReason::Frame(error), on_event),
            }
        }
    }

    /// Lets time pass: the stream and heartbeats go out, silence and a missing login are noticed.
    pub fn poll(&mut self, now: EpochNanos, on_event: &mut impl FnMut(ServerEvent<'_>)) {
        let core = &mut self.core;
        match core.state {
            ServerState::Disconnected => {}
            ServerState::AwaitingLogin if now.since(core.connect_time) >= core.config.login_time_max => {
                core.close(CloseReason::LoginTimeout, on_event);
            }
            ServerState::AwaitingLogin => {}
            ServerState::Active if now.since(core.received_last) >= core.silence_max => {
                core.close(CloseReason::Silent, on_event);
            }
            ServerState::Active => {
                core.pump(now);
                core.heartbeat(now);
            }
        }
    }

    /// The moment at which [`ServerSession::poll`] has something to do, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<EpochNanos> {
        let core = &self.core;
        match core.state {
            ServerState::Disconnected => None,
            ServerState::AwaitingLogin => Some(core.connect_time.plus(core.config.login_time_max)),
            ServerState::Active => {
                let silence = core.received_last.plus(core.silence_max);
                Some(silence.min(core.sent_last.plus(core.config.heartbeat_interval)))
            }
        }
    }

    /// Appends one message to the numbered stream, whether anybody is connected or not, and returns its number.
    ///
    /// # Errors
    /// [`SendError::TooLong`], [`SendError::StoreFull`], or [`SendError::EndOfSession`] after
    /// [`ServerSession::end_session`]; nothing changed then.
    pub fn sequence(&mut self, payload: &[u8], now: EpochNanos) -> Result<u64, SendError> {
        let core = &mut self.core;
        core.check_len(payload)?;
        if core.is_over {
            return Err(SendError::EndOfSession);
        }
        let number = core.store.push(payload)?;
        core.pump(now);
        Ok(number)
    }

    /// Sends one message without a number (SoupBinTCP 4.00).
    ///
    /// # Errors
    /// [`SendError::NotLoggedIn`], [`SendError::TooLong`] or [`SendError::OutboxFull`]; nothing is sent then.
    pub fn send_unsequenced(&mut self, payload: &[u8], now: EpochNanos) -> Result<(), SendError> {
        let core = &mut self.core;
        core.check_len(payload)?;
        if core.state != ServerState::Active {
            return Err(SendError::NotLoggedIn);
        }
        core.outbox.push_packet(PacketType::UnsequencedData, payload)?;
        core.sent_last = now;
        Ok(())
    }

    /// Ends the session: behind its last message the client is told so. Later logins are served the stream and told
    /// again.
    pub fn end_session(&mut self, now: EpochNanos) {
        self.core.is_over = true;
        self.core.pump(now);
    }

    /// The bytes that wait for the socket.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.core.outbox.pending()
    }

    /// The socket took the first `count` of them; what the stream still owes moves up.
    pub fn sent(&mut self, count: usize, now: EpochNanos) {
        self.core.outbox.advance(count);
        self.core.pump(now);
    }
}

impl Core {
    const fn check_len(&self, payload: &[u8]) -> Result<(), SendError> {
        let len_max = self.config.packet_len_max.saturating_sub(HEADER_LEN);
        if payload.len() > len_max { Err(SendError::TooLong { len: payload.len(), len_max }) } else { Ok(()) }
    }

    /// Moves the stream to the outbox as far as there is room.
    fn pump(&mut self, now: EpochNanos) {
        if self.state != ServerState::Active {
            return;
        }
        while let Some(message) = self.store.get(self.cursor) {
            if self.outbox.push_packet(PacketType::SequencedData, message).is_err() {
                return;
            }
            self.cursor = self.cursor.saturating_add(1);
            self.sent_last = now;
        }
        if self.is_over && !self.is_end_sent && self.outbox.push_packet(PacketType::EndOfSession, &[]).is_ok() {
            self.is_end_sent = true;
            self.sent_last = now;
        }
    }

    /// A heartbeat, when nothing went out for long. When bytes still wait for the socket they are the sign of life.
    fn heartbeat(&mut self, now: EpochNanos) {
        if now.since(self.sent_last) >= self.config.heartbeat_interval && self.outbox.is_empty() {
            let pushed = self.outbox.push_packet(PacketType::ServerHeartbeat, &[]);
            debug_assert!(pushed.is_ok(), "an empty outbox holds a heartbeat");
            self.sent_last = now;
        }
    }

    fn close(&mut self, reason: CloseReason, on_event: &mut impl FnMut(ServerEvent<'_>)) {
        if self.state != ServerState::Disconnected {
            self.state = ServerState::Disconnected;
            on_event(ServerEvent::Closed(reason));
        }
    }

    fn on_packet(&mut self, bytes: &[u8], now: EpochNanos, on_event: &mut impl FnMut(ServerEvent<'_>)) {
        self.received_last = now;
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => return self.close(CloseReason::Packet(error), on_event),
        };
        let is_active = self.state == ServerState::Active;
        match packet {
            Packet::Debug(text) => on_event(ServerEvent::Debug(text)),
            Packet::LoginRequest(login) if !is_active => {
                let requested = position(login.requested_session, login.requested_sequence);
                self.on_login((login.username, login.password), requested, now, on_event);
            }
            Packet::LoginRequest410(login) if !is_active => {
                let requested = position(login.requested_session, login.requested_sequence);
                if let Some(timeout @ 1..) = login.heartbeat_timeout_ms.get() {
                    self.silence_max = Nanos::from_millis(i64::try_from(timeout).unwrap_or(i64::MAX));
                }
                self.on_login((login.username, login.password), requested, now, on_event);
            }
            Packet::Unsequenced(payload) if is_active => on_event(ServerEvent::Unsequenced(payload)),
            Packet::ClientHeartbeat if is_active => {}
            Packet::LogoutRequest => self.close(CloseReason::LoggedOut, on_event),
            Packet::LoginRequest(_)
            | Packet::LoginRequest410(_)
            | Packet::Unsequenced(_)
            | Packet::ClientHeartbeat
            | Packet::LoginAccepted(_)
            | Packet::LoginRejected(_)
            | Packet::Sequenced(_)
            | Packet::ServerHeartbeat
            | Packet::EndOfSession => {
                self.close(CloseReason::Unexpected(packet.packet_type().code()), on_event);
            }
        }
    }

    fn on_login(
        &mut self,
        (username, password): (Username, Password),
        requested: Position,
        now: EpochNanos,
        on_event: &mut impl FnMut(ServerEvent<'_>),
    ) {
        let config = &self.config;
        if !username.is_same(config.username) || !password.is_same(config.password) {
            return self.refuse(LoginRejectReason::NotAuthorized, on_event);
        }
        if !requested.session.is_current() && !requested.session.is_same(config.session) {
            return self.refuse(LoginRejectReason::SessionNotAvailable, on_event);
        }
        let last = self.store.last_sequence_number();
        self.cursor = match requested.next_sequence_number {
            0 => last.max(1),
            number => number.min(self.store.next_sequence_number()),
        };
        let number = AsciiNumber::new(self.cursor).unwrap_or(AsciiNumber([b'9'; 20]));
        let pushed = self.outbox.push(LoginAccepted::new(config.session, number).as_bytes());
        debug_assert!(pushed.is_ok(), "the outbox of a fresh connection holds the answer to its login");
        self.state = ServerState::Active;
        self.sent_last = now;
        on_event(ServerEvent::LoggedIn { requested, next_sequence_number: self.cursor });
        self.pump(now);
    }

    fn refuse(&mut self, reason: LoginRejectReason, on_event: &mut impl FnMut(ServerEvent<'_>)) {
        let pushed = self.outbox.push(LoginRejected::new(reason.code()).as_bytes());
        debug_assert!(pushed.is_ok(), "the outbox of a fresh connection holds the answer to its login");
        self.close(CloseReason::Rejected(reason), on_event);
    }
}

fn position(session: SessionId, sequence: AsciiNumber<20>) -> Position {
    // A login whose number cannot be read was refused when it was parsed.
    Position { session, next_sequence_number: sequence.get().unwrap_or(1) }
}
