//! The TCP connection of an order session, which never waits: one thread asks it over and over.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use peregrine_types::{EpochNanos, Nanos};
use socket2::SockRef;

/// Bytes of one read.
const READ_LEN: usize = 1 << 14;
/// Reads of one turn, at most: what is left comes with the next turn.
const READS_PER_TURN_MAX: usize = 16;

/// What was written may be unacknowledged for so long at least: a system may hold an acknowledgement back, Linux for up to
/// 200 ms (TCP_DELACK_MAX).
const UNACKNOWLEDGED_MIN: Nanos = Nanos::from_millis(250);

/// What a turn of the connection brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn<'a> {
    /// Nothing.
    Nothing,
    /// The connection stands.
    Connected,
    /// Bytes.
    Bytes(&'a [u8]),
    /// It is gone, or could not be made.
    Gone,
}

#[derive(Debug)]
enum State {
    Down { retry_at: EpochNanos },
    Connecting { stream: TcpStream, since: EpochNanos },
    Up { stream: TcpStream },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    retry: Nanos,
    connect_time_max: Nanos,
    unacknowledged_max: Option<Duration>,
    state: State,
    buffer: Box<[u8]>,
    reads: usize,
}

impl Link {
    /// A link that is down; it tries again `retry` after each failure.
    pub(super) fn new(address: SocketAddr, retry: Nanos, connect_time_max: Nanos) -> Self {
        let buffer = vec![0; READ_LEN].into_boxed_slice();
        let state = State::Down { retry_at: EpochNanos::MIN };
        Self { address, retry, connect_time_max, unacknowledged_max: None, state, buffer, reads: 0 }
    }

    /// Breaks when the other side's system does not take what was written within `unacknowledged_max`, or
    /// [`UNACKNOWLEDGED_MIN`] where that is longer.
    #[must_use]
    pub(super) fn acknowledged_within(self, unacknowledged_max: Nanos) -> Self {
        let nanos = u64::try_from(unacknowledged_max.max(UNACKNOWLEDGED_MIN).0).unwrap_or(0);
        Self { unacknowledged_max: Some(Duration::from_nanos(nanos)), ..self }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// A turn begins: so many reads are allowed again.
    pub(super) const fn begin_turn(&mut self) {
        self.reads = 0;
    }

    /// Closes the connection, at once unless it may linger; it is tried again after a while.
    pub(super) fn close(&mut self, now: EpochNanos) {
        self.state = State::Down { retry_at: now.plus(self.retry) };
    }

    /// What was written is still to be delivered when the connection is closed.
    pub(super) fn let_linger(&self) {
        if let State::Up { stream } = &self.state {
            // A socket that does not take it is broken, and delivers nothing.
            drop(SockRef::from(stream).set_linger(None));
        }
    }

    /// Does the next thing that there is to do.
    pub(super) fn turn(&mut self, now: EpochNanos) -> Turn<'_> {
        match &mut self.state {
            State::Down { retry_at } if now < *retry_at => Turn::Nothing,
            State::Down { .. } => {
                match TcpStream::connect(self.address) {
                    Ok(stream) => self.state = State::Connecting { stream, since: now },
                    Err(_) => self.close(now),
                }
                Turn::Nothing
            }
            State::Connecting { .. } => self.finish_connecting(now),
            State::Up { stream } => {
                if self.reads >= READS_PER_TURN_MAX {
                    return Turn::Nothing;
                }
                self.reads += 1;
                match stream.read(&mut self.buffer) {
                    Ok(0) => {
                        self.close(now);
                        Turn::Gone
                    }
                    Ok(count) => Turn::Bytes(self.buffer.get(..count).unwrap_or_default()),
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                        Turn::Nothing
                    }
                    Err(_) => {
                        self.close(now);
                        Turn::Gone
                    }
                }
            }
        }
    }

    /// `connect(2)`: a socket that has a peer is connected, one with an error never will be.
    fn finish_connecting(&mut self, now: EpochNanos) -> Turn<'_> {
        let State::Connecting { stream, since } = &self.state else { return Turn::Nothing };
        let has_failed = matches!(stream.take_error(), Ok(Some(_)) | Err(_));
        let is_late = now.since(*since) >= self.connect_time_max;
        if has_failed || (is_late && stream.peer_addr().is_err()) {
            self.close(now);
            return Turn::Nothing;
        }
        if stream.peer_addr().is_err() {
            return Turn::Nothing;
        }
        let state = std::mem::replace(&mut self.state, State::Down { retry_at: now });
        let State::Connecting { stream, .. } = state else { return Turn::Nothing };
        // An order that was not delivered when the connection broke, or the process died, must not be delivered later by the
        // kernel: it would be older than we hold it fit to be.
        let socket = SockRef::from(&stream);
        let is_abrupt = socket.set_linger(Some(Duration::ZERO)).is_ok();
        // Nor while it stands: what the other side does not take, be its window shut, breaks the connection (tcp(7),
        // TCP_USER_TIMEOUT).
        let is_brief = socket.set_tcp_user_timeout(self.unacknowledged_max).is_ok();
        if !is_abrupt || !is_brief || stream.set_nodelay(true).is_err() {
            self.close(now);
            return Turn::Nothing;
        }
        self.state = State::Up { stream };
        Turn::Connected
    }

    /// A write of no bytes: the begin of the kernel's way of an order, of this very connection; nothing is sent. A connection that
    /// broke says so to the next read, behind what had arrived before.
    pub(super) fn touch(&mut self) {
        if let State::Up { stream } = &mut self.state {
            // An error that is taken here is not lost: what follows is read, and then the end.
            drop(stream.write(&[]));
        }
    }

    /// Writes as much as the socket takes; `None` when the connection broke.
    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8], now: EpochNanos) -> Option<usize> {
        let State::Up { stream } = &mut self.state else { return Some(0) };
        match stream.write(bytes) {
            Ok(count) => Some(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some(0),
            Err(_) => {
                self.close(now);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use peregrine_runtime::system_now;

    use super::*;

    fn connected(listener: &TcpListener) -> (Link, std::net::TcpStream) {
        let link = Link::new(listener.local_addr().unwrap(), Nanos::from_secs(60), Nanos::from_secs(2));
        let mut link = link.acknowledged_within(Nanos::from_millis(1));
        let begin = Instant::now();
        while !link.is_up() {
            link.turn(system_now());
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
        (link, listener.accept().unwrap().0)
    }

    /// What the peer said before it broke the connection is read, though a write of no bytes met the break first.
    #[test]
    fn a_touch_takes_nothing_of_what_was_said_before_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for is_touched in [false, true] {
            let (mut link, mut peer) = connected(&listener);
            // What it did not read makes its close a reset.
            assert_eq!(link.write(&[1; 100], system_now()), Some(100));
            peer.write_all(b"report").unwrap();
            std::thread::sleep(Duration::from_millis(20));
            drop(peer);
            std::thread::sleep(Duration::from_millis(20));
            if is_touched {
                link.touch();
            }
            link.begin_turn();
            assert_eq!(link.turn(system_now()), Turn::Bytes(b"report"), "{is_touched}");
            assert_eq!(link.turn(system_now()), Turn::Gone, "{is_touched}");
            assert!(!link.is_up());
        }
    }

    /// A peer that does not read shuts its window: what its system did not take within the time breaks the connection, and
    /// never arrives. What it took, however little is read of it, is no reason.
    #[test]
    fn what_the_peer_does_not_take_breaks_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut link, mut peer) = connected(&listener);
        assert_eq!(link.write(&[1; 100], system_now()), Some(100));
        let pass = |link: &mut Link, limit: Duration| {
            let begin = Instant::now();
            while begin.elapsed() < limit {
                link.begin_turn();
                if link.turn(system_now()) == Turn::Gone {
                    return Some(begin.elapsed());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            None
        };
        assert_eq!(pass(&mut link, Duration::from_millis(1_500)), None, "its system has acknowledged it");
        let (block, mut written) = ([2; 1 << 16], 100);
        while let Some(count) = link.write(&block, system_now()).filter(|count| *count > 0) {
            written += count;
        }
        let after = pass(&mut link, Duration::from_secs(10)).expect("the connection breaks");
        assert!(after < Duration::from_secs(3), "after {after:?}");
        assert!(!link.is_up());
        let (mut arrived, mut buffer) = (0, vec![0; 1 << 20]);
        peer.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        while let Some(count) = peer.read(&mut buffer).ok().filter(|count| *count > 0) {
            arrived += count;
        }
        assert!(arrived < written, "{arrived} of {written} bytes arrived");
    }
}
