//! Which session the venue runs: asked once, before the run begins, on a connection of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use peregrine_gateway::soup::{ClientConfig, ClientEvent, ClientSession, CloseReason, Position, SessionId};
use peregrine_runtime::system_now;

use crate::exit::Failure;

/// How long the venue may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs in, hears the session's name, and logs out.
///
/// # Errors
/// [`Failure`] when the venue cannot be reached, refuses the login, or does not answer.
pub fn ask(address: SocketAddr, config: ClientConfig) -> Result<SessionId, Failure> {
    let failed = |what: String| Failure::io(format_args!("the order port {address}: {what}"));
    let broken = |error: std::io::Error| failed(format!("{error}; is the venue running?"));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(broken)?;
    stream.set_read_timeout(Some(Duration::from_millis(20))).map_err(broken)?;
    let mut session = ClientSession::new(config, Position::START);
    session.connect(system_now());
    let (begin, mut buffer) = (Instant::now(), [0; 4_096]);
    let (mut found, mut closed) = (None, None::<CloseReason>);
    while found.is_none() && closed.is_none() && begin.elapsed() < PATIENCE {
        let sent = stream.write(session.pending()).map_err(broken)?;
        session.sent(sent);
        let mut on_event = |event: ClientEvent<'_>| match event {
            ClientEvent::LoggedIn { position, .. } => found = Some(position.session),
            ClientEvent::Closed(reason) => closed = Some(reason),
            ClientEvent::Sequenced { .. } | ClientEvent::Unsequenced(_) | ClientEvent::Debug(_) => {}
        };
        match stream.read(&mut buffer) {
            Ok(0) => session.disconnect(&mut on_event),
            Ok(count) => session.receive(buffer.get(..count).unwrap_or_default(), system_now(), &mut on_event),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => return Err(broken(error)),
        }
        session.poll(system_now(), &mut on_event);
    }
    let name = match (found, closed) {
        (Some(name), _) => name,
        (None, Some(reason)) => return Err(failed(format!("{reason}; check [ouch] username and password"))),
        (None, None) => return Err(failed("no answer to the login".to_owned())),
    };
    session.logout(&mut |_| {});
    // A farewell that does not get through is said by closing.
    drop(stream.write(session.pending()));
    Ok(name)
}
