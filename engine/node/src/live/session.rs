//! Which session the venue runs: asked once, before the run begins, on a connection of its own. A connection that breaks
//! is made again, a bounded number of times.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use peregrine_gateway::soup::{ClientConfig, ClientEvent, ClientSession, CloseReason, Position, SessionId};
use peregrine_types::EpochNanos;

use crate::commands::note;
use crate::exit::Failure;

/// How long the venue may take to answer one connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are made at most.
pub const TRY_COUNT_MAX: u32 = 10;
/// How long a look at the socket, or a part of a pause, takes: so often is asked whether to stop.
const TURN: Duration = Duration::from_millis(20);

/// Why the venue's session is not known.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The venue answered, and there is no use in asking again.
    #[error("the order port {address}: {reason}; {}", remedy(*.reason))]
    Refused {
        /// The order port.
        address: SocketAddr,
        /// What it said.
        reason: CloseReason,
    },
    /// No connection brought an answer.
    #[error(
        "the order port {address}: no answer to the login in {try_count} tries, {} ms apart; the last one: {last}; is the \
         venue running?",
        .pause.as_millis()
    )]
    Unreachable {
        /// The order port.
        address: SocketAddr,
        /// How often it was tried.
        try_count: u32,
        /// The time between two tries.
        pause: Duration,
        /// What became of the last one.
        last: Broken,
    },
    /// Somebody wanted to stop first.
    #[error("the order port {address}: stopped in try {try_count}, before it answered the login")]
    Stopped {
        /// The order port.
        address: SocketAddr,
        /// The try under way.
        try_count: u32,
    },
}

/// What became of one connection.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The system's word.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The session's.
    #[error(transparent)]
    Closed(CloseReason),
    /// Nothing came.
    #[error("the venue is silent")]
    Silent,
}

const fn remedy(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::EndOfSession => "the venue's day is over",
        CloseReason::Silent
        | CloseReason::LoginTimeout
        | CloseReason::Frame(_)
        | CloseReason::Packet(_)
        | CloseReason::Unexpected(_)
        | CloseReason::Rejected(_)
        | CloseReason::LoggedOut
        | CloseReason::Lost
        | CloseReason::OutboxFull
        | CloseReason::Unread => "check [ouch] username and password",
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused { .. } | AskError::Unreachable { .. } => Self::io(error),
            AskError::Stopped { .. } => Self::interrupted(error),
        }
    }
}

/// How one connection ended.
enum Ended {
    Named(SessionId),
    Refused(CloseReason),
    Broken(Broken),
    Stopped,
}

/// Logs in, hears the session's name, and logs out. A connection that breaks, or that cannot be made, is tried again after
/// `pause`, [`TRY_COUNT_MAX`] times in all, each said in one line; a refused login is not. `is_stopped` is asked all the
/// time but while a connection is being made, which takes at most the same 10 s as an answer.
///
/// # Errors
/// [`AskError`] when the venue refuses the login, does not answer in any try, or somebody wants to stop.
pub fn ask(
    address: SocketAddr,
    config: ClientConfig,
    pause: Duration,
    is_stopped: &mut dyn FnMut() -> bool,
) -> Result<SessionId, AskError> {
    let mut try_count = 1;
    loop {
        let last = match try_once(address, config, is_stopped) {
            Ended::Named(name) => return Ok(name),
            Ended::Refused(reason) => return Err(AskError::Refused { address, reason }),
            Ended::Stopped => return Err(AskError::Stopped { address, try_count }),
            Ended::Broken(last) => last,
        };
        if try_count >= TRY_COUNT_MAX {
            return Err(AskError::Unreachable { address, try_count, pause, last });
        }
        let ms = pause.as_millis();
        note(format_args!("orders  {address}, try {try_count} of {TRY_COUNT_MAX}: {last}; again in {ms} ms"));
        try_count += 1;
        let begin = Instant::now();
        while begin.elapsed() < pause {
            if is_stopped() {
                return Err(AskError::Stopped { address, try_count });
            }
            std::thread::sleep(TURN.min(pause.saturating_sub(begin.elapsed())));
        }
    }
}

fn try_once(address: SocketAddr, config: ClientConfig, is_stopped: &mut dyn FnMut() -> bool) -> Ended {
    match exchange(address, config, is_stopped) {
        Ok(ended) => ended,
        Err(error) => Ended::Broken(Broken::Io(error)),
    }
}

fn exchange(address: SocketAddr, config: ClientConfig, is_stopped: &mut dyn FnMut() -> bool) -> std::io::Result<Ended> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(TURN))?;
    let mut session = ClientSession::new(config, Position::START);
    let (begin, mut buffer) = (Instant::now(), [0; 4_096]);
    // Its time-outs are spans: no step of the system's clock moves them.
    let now = || EpochNanos(i64::try_from(begin.elapsed().as_nanos()).unwrap_or(i64::MAX));
    session.connect(now());
    let (mut found, mut closed) = (None, None::<CloseReason>);
    while found.is_none() && closed.is_none() {
        if is_stopped() {
            return Ok(Ended::Stopped);
        }
        if begin.elapsed() >= PATIENCE {
            return Ok(Ended::Broken(Broken::Silent));
        }
        let sent = stream.write(session.pending())?;
        session.sent(sent);
        let mut on_event = |event: ClientEvent<'_>| match event {
            ClientEvent::LoggedIn { position, .. } => found = Some(position.session),
            ClientEvent::Closed(reason) => closed = Some(reason),
            ClientEvent::Sequenced { .. } | ClientEvent::Unsequenced(_) | ClientEvent::Debug(_) => {}
        };
        match stream.read(&mut buffer) {
            Ok(0) => session.disconnect(&mut on_event),
            Ok(count) => session.receive(buffer.get(..count).unwrap_or_default(), now(), &mut on_event),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        session.poll(now(), &mut on_event);
    }
    if let Some(name) = found {
        session.logout(&mut |_| {});
        // A farewell that does not get through is said by closing.
        drop(stream.write(session.pending()));
        return Ok(Ended::Named(name));
    }
    Ok(match closed.unwrap_or(CloseReason::Lost) {
        reason @ (CloseReason::Rejected(_) | CloseReason::EndOfSession) => Ended::Refused(reason),
        reason @ (CloseReason::Silent
        | CloseReason::LoginTimeout
        | CloseReason::Frame(_)
        | CloseReason::Packet(_)
        | CloseReason::Unexpected(_)
        | CloseReason::LoggedOut
        | CloseReason::Lost
        | CloseReason::OutboxFull
        | CloseReason::Unread) => Ended::Broken(Broken::Closed(reason)),
    })
}

#[cfg(test)]
mod tests;
