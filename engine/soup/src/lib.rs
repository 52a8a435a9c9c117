//! SoupBinTCP 3.00, 4.00 and 4.10: the session layer that carries OUCH and GLIMPSE over TCP.
//!
//! No sockets here: [`ClientSession`] and [`ServerSession`] are plain structs, bytes and time go in, bytes and events
//! come out. [`FrameDecoder`] cuts a byte stream into packets wherever TCP cut it; [`Packet`] views one packet in place.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic))]

mod client;
mod frames;
mod outbox;
mod packet;
mod server;
mod store;

pub use client::{ClientConfig, ClientEvent, ClientSession, ClientState, Continuity, Position};
pub use frames::{FrameDecoder, FrameError, FrameErrorKind};
pub use outbox::{Outbox, OutboxFull};
pub use packet::*;
pub use server::{ServerConfig, ServerEvent, ServerSession, ServerState};
pub use store::{MessageStore, StoreFull};

use peregrine_types::Nanos;

/// A side that sent nothing for this long sends a heartbeat (SoupBinTCP 3.00 and 4.00: one second).
pub const HEARTBEAT_INTERVAL: Nanos = Nanos::from_secs(1);
/// The server drops a client that was silent for this long (SoupBinTCP: typically 15 seconds).
pub const CLIENT_SILENCE_MAX: Nanos = Nanos::from_secs(15);
/// The server drops a connection that did not log in within this time (SoupBinTCP: typically 30 seconds).
pub const LOGIN_TIME_MAX: Nanos = Nanos::from_secs(30);

/// Why a session wants its connection closed, or lost it. Each names what the other side of the story is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The other side sent nothing for longer than the configured silence.
    #[error("the other side is silent")]
    Silent,
    /// No login, or no answer to it, within the configured time.
    #[error("no login in time")]
    LoginTimeout,
    /// The byte stream is no SoupBinTCP.
    #[error(transparent)]
    Frame(FrameError),
    /// A packet is malformed.
    #[error(transparent)]
    Packet(PacketError),
    /// A packet of a type that has no place here: wrong direction, or before or after the login.
    #[error("a packet of type `{}` has no place here", char::from(*.0))]
    Unexpected(u8),
    /// The server refused the login: not to be tried again in a loop.
    #[error("the server refused the login: {0}")]
    Rejected(LoginRejectReason),
    /// The client logged out.
    #[error("the client logged out")]
    LoggedOut,
    /// The server said that the session is over: this session is never joined again.
    #[error("the session is over")]
    EndOfSession,
    /// The connection was lost without a word: to be made again, with the same session and the next number.
    #[error("the connection was lost")]
    Lost,
    /// What is to be sent does not fit the outgoing buffer: the other side does not read.
    #[error("the outgoing buffer is full: the other side does not read")]
    OutboxFull,
    /// What was to be sent waited for too long: the other side does not read, and none of it is to arrive any more.
    #[error("what was to be sent waited for too long: the other side does not read")]
    Unread,
}

/// Why a payload was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody is logged in.
    #[error("nobody is logged in")]
    NotLoggedIn,
    /// The payload is longer than the packets that the session was made for.
    #[error("a payload of {len} bytes, more than {len_max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The longest payload.
        len_max: usize,
    },
    /// The other side does not read fast enough.
    #[error(transparent)]
    OutboxFull(#[from] OutboxFull),
    /// The session has more messages than it was made for.
    #[error(transparent)]
    StoreFull(#[from] StoreFull),
    /// The session is over.
    #[error("the session is over")]
    EndOfSession,
}
