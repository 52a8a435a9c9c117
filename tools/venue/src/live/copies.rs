//! The drop copy's socket: one listener, one connection at a time. A reader that is logged on keeps its session: whoever
//! comes then is closed without a word (FIX 4.4, volume 2, test case 1S: a duplicate identity). Before that the newest one
//! has it, so that a caller that says nothing is in nobody's way. When the day is over nobody is let in any more.

use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use peregrine_fix::State;
use peregrine_types::EpochNanos;

use super::connection::{Connection, Moved};
use crate::drop_copy::DropCopy;

/// Reads of a turn, at most.
const READS_PER_TURN_MAX: usize = 16;
/// Bytes of a read before somebody new is let in.
const READ_LEN: usize = 4_096;

/// See the module.
pub(super) struct CopyEndpoint {
    listener: TcpListener,
    pub(super) connection: Option<Connection>,
}

impl CopyEndpoint {
    pub(super) fn bind(address: SocketAddr, registry: &Registry, token: Token) -> std::io::Result<Self> {
        let mut listener = TcpListener::bind(address)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self { listener, connection: None })
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn accept(&mut self, (registry, token): (&Registry, Token), copy: &mut DropCopy, now: EpochNanos) {
        while let Ok((stream, _)) = self.listener.accept() {
            // A connection that broke meanwhile is noticed first.
            if let Some(connection) = &mut self.connection {
                connection.is_readable = true;
                self.serve(copy, now, &mut [0; READ_LEN]);
            }
            if copy.session().state() == State::Active || copy.is_over() {
                continue;
            }
            if self.connection.take().is_some() {
                copy.disconnect();
            }
            let Ok(connection) = Connection::new(stream, registry, token) else { continue };
            self.connection = Some(connection);
            copy.connect(now);
        }
    }

    /// Reads, lets time pass and writes. Returns whether bytes are left to be read.
    pub(super) fn serve(&mut self, copy: &mut DropCopy, now: EpochNanos, buffer: &mut [u8]) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let mut is_gone = false;
        for _ in 0..READS_PER_TURN_MAX {
            match connection.receive(buffer) {
                Moved::Nothing => break,
                Moved::Gone => {
                    is_gone = true;
                    break;
                }
                Moved::Bytes(count) => copy.receive(&buffer[..count], now),
            }
        }
        copy.poll(now);
        while !is_gone && !copy.session().pending().is_empty() {
            match connection.send(copy.session().pending()) {
                Moved::Nothing => break,
                Moved::Gone => is_gone = true,
                Moved::Bytes(count) => copy.session().sent(count, now),
            }
        }
        let is_over = copy.session().state() == State::Disconnected && copy.session().pending().is_empty();
        let is_busy = connection.is_readable;
        if is_gone || is_over {
            self.connection = None;
            copy.disconnect();
            return false;
        }
        is_busy
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use mio::{Events, Poll};
    use peregrine_fix::{Numbers, Role, Session, SessionConfig};

    use super::*;
    use crate::drop_copy::{CopyFaults, DropCopyConfig};

    const NOW: EpochNanos = EpochNanos(1_767_623_400_000_000_000);
    const PATIENCE: Duration = Duration::from_secs(30);

    struct Port {
        poll: Poll,
        events: Events,
        endpoint: CopyEndpoint,
        copy: DropCopy,
    }

    impl Port {
        fn new() -> Self {
            let poll = Poll::new().unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let endpoint = CopyEndpoint::bind(address, poll.registry(), Token(0)).unwrap();
            let copy = DropCopy::new(DropCopyConfig {
                session: SessionConfig::new(Role::Acceptor, "VENUE", "DESK"),
                port: 0,
                is_every_event: false,
                report_count_max: 10,
                faults: CopyFaults::default(),
                seed: 1,
            });
            Self { poll, events: Events::with_capacity(16), endpoint, copy }
        }

        fn turn(&mut self) {
            self.poll.poll(&mut self.events, Some(Duration::from_millis(1))).unwrap();
            for event in &self.events {
                if event.token() == Token(0) {
                    self.endpoint.accept((self.poll.registry(), Token(1)), &mut self.copy, NOW);
                } else if let Some(connection) = &mut self.endpoint.connection {
                    connection.is_readable |= event.is_readable();
                    connection.is_writable |= event.is_writable();
                }
            }
            self.endpoint.serve(&mut self.copy, NOW, &mut [0; READ_LEN]);
        }
    }

    struct Reader {
        stream: TcpStream,
        session: Session,
        heard_count: usize,
        is_closed: bool,
    }

    impl Reader {
        fn connect(port: &Port) -> Self {
            let stream = TcpStream::connect(port.endpoint.address().unwrap()).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            let config =
                SessionConfig { is_reset_on_logon: true, ..SessionConfig::new(Role::Initiator, "DESK", "VENUE") };
            let mut session = Session::new(config, Numbers::START);
            session.connect(NOW);
            Self { stream, session, heard_count: 0, is_closed: false }
        }

        /// Talks with the port until something holds.
        fn talk(&mut self, port: &mut Port, what: &str, is_so: impl Fn(&Self) -> bool) {
            let (begin, mut buffer) = (Instant::now(), [0; READ_LEN]);
            while !is_so(self) {
                assert!(begin.elapsed() < PATIENCE, "{what} did not come");
                port.turn();
                let count = self.session.pending().len();
                if count > 0 && self.stream.write_all(self.session.pending()).is_ok() {
                    self.session.sent(count, NOW);
                }
                match self.stream.read(&mut buffer) {
                    Ok(0) => self.is_closed = true,
                    Ok(count) => {
                        self.heard_count += count;
                        self.session.receive(&buffer[..count], NOW, &mut |_| {});
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => self.is_closed = true,
                }
            }
        }
    }

    #[test]
    fn a_reader_that_is_logged_on_is_not_displaced() {
        let mut port = Port::new();
        // Somebody who says nothing is in nobody's way.
        let silent = TcpStream::connect(port.endpoint.address().unwrap()).unwrap();
        port.turn();
        let mut first = Reader::connect(&port);
        first.talk(&mut port, "the logon", |reader| reader.session.state() == State::Active);
        let mut second = Reader::connect(&port);
        second.talk(&mut port, "the end of the second connection", |reader| reader.is_closed);
        assert_eq!((second.heard_count, port.copy.session().state()), (0, State::Active));
        let heard_count = first.heard_count;
        let body = first.session.send("D", &peregrine_fix::Body::new(), NOW);
        assert!(body.is_ok());
        first.talk(&mut port, "an answer to the first", |reader| reader.heard_count > heard_count);
        // A connection that broke leaves the session to the next one at once.
        drop(first);
        let mut third = Reader::connect(&port);
        third.talk(&mut port, "the next logon", |reader| reader.session.state() == State::Active);
        drop(silent);
    }

    #[test]
    fn when_the_day_is_over_its_reader_is_told_so_and_nobody_is_let_in() {
        let mut port = Port::new();
        let mut first = Reader::connect(&port);
        first.talk(&mut port, "the logon", |reader| reader.session.state() == State::Active);
        port.copy.end(NOW);
        first.talk(&mut port, "the logout", |reader| reader.session.state() == State::Disconnected);
        assert!(first.heard_count > 0);
        let mut again = Reader::connect(&port);
        again.talk(&mut port, "the end of the second connection", |reader| reader.is_closed);
        assert_eq!((again.heard_count, again.session.state()), (0, State::AwaitingLogon));
    }
}
