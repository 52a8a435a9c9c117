//! The client's side of a session: log in, take the numbered stream, send, stay alive, and know where to go on after a
//! lost connection.

use peregrine_types::{EpochNanos, Nanos};
use zerocopy::IntoBytes;

use super::outbox::Outbox;
use super::packet::{
    AsciiNumber, HEADER_LEN, LoginAccepted, LoginRejectReason, LoginRequest, LoginRequest410, Packet, PacketType,
    Password, SessionId, Username,
};
use super::{CloseReason, FrameDecoder, SendError};

/// What a client session needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// User.
    pub username: Username,
    /// Password.
    pub password: Password,
    /// Silence of ours after which a heartbeat goes out; [`super::HEARTBEAT_INTERVAL`].
    pub heartbeat_interval: Nanos,
    /// Silence of the server's after which the connection counts as lost: 2–5 s for trading.
    pub silence_max: Nanos,
    /// How long the server may take to answer the login.
    pub login_time_max: Nanos,
    /// The silence of ours that the server shall allow, in ms: with it the login is that of version 4.10.
    pub heartbeat_timeout_ms: Option<u16>,
    /// The longest packet that is accepted, in bytes with its length field.
    pub packet_len_max: usize,
    /// How many outgoing bytes can wait.
    pub outbox_len_max: usize,
}

/// Where in which session a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The session; [`SessionId::CURRENT`] for whichever runs.
    pub session: SessionId,
    /// The number of the message that comes next, from 1.
    pub next_sequence_number: u64,
}

impl Position {
    /// The begin of whichever session runs.
    pub const START: Self = Self { session: SessionId::CURRENT, next_sequence_number: 1 };
}

/// How the stream goes on after a login, against what was asked for. The server's word decides in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// Exactly where it was asked for.
    Continued,
    /// Later in the same session: messages are missing and cannot be had.
    Gap {
        /// How many are missing.
        missing_count: u64,
    },
    /// Earlier than what was asked for, in the same session: what we hold is not what the server sent.
    Behind,
    /// Another session: what we know of orders and numbers belongs to a finished one.
    OtherSession,
}

/// Where the state machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// No connection.
    Disconnected,
    /// Connected, the login is under way.
    AwaitingLogin,
    /// Logged in.
    Active,
}

/// What a session tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent<'a> {
    /// The server accepted the login.
    LoggedIn {
        /// Where the stream goes on.
        position: Position,
        /// Whether that is where it was left.
        continuity: Continuity,
    },
    /// One message of the numbered stream, in order and once.
    Sequenced {
        /// Its number.
        sequence_number: u64,
        /// The message.
        payload: &'a [u8],
    },
    /// One message without a number.
    Unsequenced(&'a [u8]),
    /// Free text of the server.
    Debug(&'a [u8]),
    /// The connection is to be closed, after sending what is pending; nothing more comes from it.
    Closed(CloseReason),
}

/// A client session: see the module.
#[derive(Debug)]
pub struct ClientSession {
    decoder: FrameDecoder,
    core: Core,
}

#[derive(Debug)]
struct Core {
    config: ClientConfig,
    state: ClientState,
    position: Position,
    is_over: bool,
    outbox: Outbox,
    connect_time: EpochNanos,
    received_last: EpochNanos,
    sent_last: EpochNanos,
}

impl ClientSession {
    /// A session that joins at `position`: [`Position::START`], or where an earlier run of the program stopped.
    #[must_use]
    pub fn new(config: ClientConfig, position: Position) -> Self {
        let core = Core {
            state: ClientState::Disconnected,
            position,
            is_over: false,
            outbox: Outbox::new(config.outbox_len_max.max(LoginRequest410::LEN)),
            connect_time: EpochNanos::MIN,
            received_last: EpochNanos::MIN,
            sent_last: EpochNanos::MIN,
            config,
        };
        Self { decoder: FrameDecoder::new(config.packet_len_max), core }
    }

    /// Where the state machine is.
    #[must_use]
    pub const fn state(&self) -> ClientState {
        self.core.state
    }

    /// Where in which session the client stands: what the next login asks for.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.core.position
    }

    /// Forgets where it stood: the next login asks for `position`.
    pub const fn set_position(&mut self, position: Position) {
        self.core.position = position;
    }

    /// The connection stands: the login goes out. After the end of a session it asks for a new one.
    pub fn connect(&mut self, now: EpochNanos) {
        self.decoder.reset();
        let core = &mut self.core;
        core.outbox.clear();
        if core.is_over {
            core.position = Position::START;
            core.is_over = false;
        }
        core.state = ClientState::AwaitingLogin;
        (core.connect_time, core.received_last, core.sent_last) = (now, now, now);
        core.push_login();
    }

    /// The connection is gone. Tells it, unless the session closed it itself.
    pub fn disconnect(&mut self, on_event: &mut impl FnMut(ClientEvent<'_>)) {
        self.core.close(CloseReason::Lost, on_event);
    }

    /// Takes bytes that arrived. Bytes behind the one that closed the connection are not looked at.
    pub fn receive(&mut self, bytes: &[u8], now: EpochNanos, on_event: &mut impl FnMut(ClientEvent<'_>)) {
        let mut input = bytes;
        while self.core.state != ClientState::Disconnected {
            match self.decoder.next(&mut input) {
                Ok(Some(packet)) => self.core.on_packet(packet, now, on_event),
                Ok(None) => return,
                Err(error) => self.core.close(CloseReason::Frame(error), on_event),
            }
        }
    }

    /// Lets time pass: heartbeats go out, silence and a missing answer are noticed.
    pub fn poll(&mut self, now: EpochNanos, on_event: &mut impl FnMut(ClientEvent<'_>)) {
        let core = &mut self.core;
        match core.state {
            ClientState::Disconnected => {}
            ClientState::AwaitingLogin if now.since(core.connect_time) >= core.config.login_time_max => {
                core.close(CloseReason::LoginTimeout, on_event);
            }
            ClientState::AwaitingLogin => {}
            ClientState::Active if now.since(core.received_last) >= core.config.silence_max => {
                core.close(CloseReason::Silent, on_event);
            }
            ClientState::Active => core.heartbeat(now),
        }
    }

    /// The moment at which [`ClientSession::poll`] has something to do, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<EpochNanos> {
        let core = &self.core;
        match core.state {
            ClientState::Disconnected => None,
            ClientState::AwaitingLogin => Some(core.connect_time.plus(core.config.login_time_max)),
            ClientState::Active => {
                let silence = core.received_last.plus(core.config.silence_max);
                Some(silence.min(core.sent_last.plus(core.config.heartbeat_interval)))
            }
        }
    }

    /// Sends one message without a number (an order): it may be lost with the connection.
    ///
    /// # Errors
    /// [`SendError::NotLoggedIn`], [`SendError::TooLong`] or [`SendError::OutboxFull`]; nothing is sent then.
    pub fn send(&mut self, payload: &[u8], now: EpochNanos) -> Result<(), SendError> {
        let core = &mut self.core;
        let len_max = core.config.packet_len_max.saturating_sub(HEADER_LEN);
        if core.state != ClientState::Active {
            return Err(SendError::NotLoggedIn);
        }
        if payload.len() > len_max {
            return Err(SendError::TooLong { len: payload.len(), len_max });
        }
        core.outbox.push_packet(PacketType::UnsequencedData, payload)?;
        core.sent_last = now;
        Ok(())
    }

    /// Logs out: the request goes out, and the connection is to be closed after it.
    pub fn logout(&mut self, on_event: &mut impl FnMut(ClientEvent<'_>)) {
        if self.core.state == ClientState::Active
            && self.core.outbox.push_packet(PacketType::LogoutRequest, &[]).is_err()
        {
            self.core.close(CloseReason::OutboxFull, on_event);
        }
        self.core.close(CloseReason::LoggedOut, on_event);
    }

    /// Gives the connection up: what waits for the socket is forgotten, and the connection is to be closed at once.
    pub fn give_up(&mut self, reason: CloseReason, on_event: &mut impl FnMut(ClientEvent<'_>)) {
        self.core.outbox.clear();
        self.core.close(reason, on_event);
    }

    /// The bytes that wait for the socket.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.core.outbox.pending()
    }

    /// The socket took the first `count` of them.
    pub fn sent(&mut self, count: usize) {
        self.core.outbox.advance(count);
    }
}

impl Core {
    fn push_login(&mut self) {
        let ClientConfig { username, password, heartbeat_timeout_ms, .. } = self.config;
        let session = self.position.session;
        let number = self.position.next_sequence_number.max(1);
        let sequence = AsciiNumber::new(number).unwrap_or(AsciiNumber([b'9'; 20]));
        let timeout = heartbeat_timeout_ms.and_then(|timeout| AsciiNumber::new(u64::from(timeout)));
        // The outbox is empty and was made for at least a login.
        let pushed = match timeout {
            None => self.outbox.push(LoginRequest::new(username, password, session, sequence).as_bytes()),
            Some(timeout) => {
                self.outbox.push(LoginRequest410::new(username, password, session, sequence, timeout).as_bytes())
            }
        };
        debug_assert!(pushed.is_ok(), "an empty outbox holds a login");
    }

    /// A heartbeat, when nothing went out for long. When bytes still wait for the socket they are the sign of life.
    fn heartbeat(&mut self, now: EpochNanos) {
        if now.since(self.sent_last) >= self.config.heartbeat_interval && self.outbox.is_empty() {
            let pushed = self.outbox.push_packet(PacketType::ClientHeartbeat, &[]);
            debug_assert!(pushed.is_ok(), "an empty outbox holds a heartbeat");
            self.sent_last = now;
        }
    }

    fn close(&mut self, reason: CloseReason, on_event: &mut impl FnMut(ClientEvent<'_>)) {
        if self.state != ClientState::Disconnected {
            self.state = ClientState::Disconnected;
            on_event(ClientEvent::Closed(reason));
        }
    }

    fn on_packet(&mut self, bytes: &[u8], now: EpochNanos, on_event: &mut impl FnMut(ClientEvent<'_>)) {
        self.received_last = now;
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => return self.close(CloseReason::Packet(error), on_event),
        };
        let is_active = self.state == ClientState::Active;
        match packet {
            Packet::Debug(text) => on_event(ClientEvent::Debug(text)),
            Packet::LoginAccepted(accepted) if !is_active => self.on_login(accepted, on_event),
            Packet::LoginRejected(rejected) if !is_active => {
                let reason = LoginRejectReason::from_code(rejected.reason).unwrap_or(LoginRejectReason::NotAuthorized);
                self.close(CloseReason::Rejected(reason), on_event);
            }
            Packet::Sequenced(payload) if is_active => {
                let sequence_number = self.position.next_sequence_number;
                self.position.next_sequence_number = sequence_number.saturating_add(1);
                on_event(ClientEvent::Sequenced { sequence_number, payload });
            }
            Packet::Unsequenced(payload) if is_active => on_event(ClientEvent::Unsequenced(payload)),
            Packet::ServerHeartbeat if is_active => {}
            Packet::EndOfSession if is_active => {
                self.is_over = true;
                self.close(CloseReason::EndOfSession, on_event);
            }
            Packet::LoginAccepted(_)
            | Packet::LoginRejected(_)
            | Packet::Sequenced(_)
            | Packet::Unsequenced(_)
            | Packet::ServerHeartbeat
            | Packet::EndOfSession
            | Packet::LoginRequest(_)
            | Packet::LoginRequest410(_)
            | Packet::ClientHeartbeat
            | Packet::LogoutRequest => {
                self.close(CloseReason::Unexpected(packet.packet_type().code()), on_event);
            }
        }
    }

    fn on_login(&mut self, accepted: &LoginAccepted, on_event: &mut impl FnMut(ClientEvent<'_>)) {
        let asked = self.position;
        let next = accepted.sequence_number.get().unwrap_or(1);
        let asked_next = asked.next_sequence_number.max(1);
        let continuity = if !asked.session.is_current() && !asked.session.is_same(accepted.session) {
            Continuity::OtherSession
        } else {
            match next.cmp(&asked_next) {
                core::cmp::Ordering::Equal => Continuity::Continued,
                core::cmp::Ordering::Less => Continuity::Behind,
                core::cmp::Ordering::Greater => Continuity::Gap { missing_count: next.saturating_sub(asked_next) },
            }
        };
        self.position = Position { session: accepted.session, next_sequence_number: next };
        self.state = ClientState::Active;
        on_event(ClientEvent::LoggedIn { position: self.position, continuity });
    }
}
