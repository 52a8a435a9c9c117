//! The kernel's way of an order, rehearsed while nothing happens: a message that this process sends to itself.
//!
//! On sockets of the kernel the greater part of the way from a decision to the wire is the kernel's, and it takes longer some
//! microseconds after the last message than right behind one. A message over a connection of the process with itself (loopback
//! interface) goes through the kernel's TCP and IP to a device and never leaves the machine; a card's own queue and driver are
//! not on it. Stacks beside the kernel have a call for it: `ONLOAD_MSG_WARM` (Onload User Guide). What it wins stands in
//! `docs/live.md`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// As long as an Enter Order message in its packet.
const MESSAGE: [u8; 52] = [0; 52];

/// How long the connection may take; a start of a run waits for it.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// A connection of this process with itself, and what was sent over it.
#[derive(Debug)]
pub struct KernelWay {
    near: TcpStream,
    far: TcpStream,
    taken_len: usize,
    is_broken: bool,
}

impl KernelWay {
    /// Makes the connection.
    ///
    /// # Errors
    /// What the sockets say: the loopback interface of this network namespace must be up.
    pub fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        // Where packets to oneself are dropped without a word, nobody waits for long.
        let near = TcpStream::connect_timeout(&listener.local_addr()?, CONNECT_TIME_MAX)?;
        let (own, begin) = (near.local_addr()?, Instant::now());
        // Whoever else came to this port first is not talked to.
        let far = loop {
            match listener.accept() {
                Ok((far, peer)) if peer == own => break far,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && begin.elapsed() < CONNECT_TIME_MAX => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        };
        near.set_nodelay(true)?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self { near, far, taken_len: 0, is_broken: false })
    }

    /// Sends a message and takes it out again; never waits. A connection that broke is left alone from then on.
    pub fn rehearse(&mut self) {
        if self.is_broken {
            return;
        }
        // Room for more than one: what the kernel put off comes with the next.
        let mut buffer = [0; 4 * MESSAGE.len()];
        let (sent, taken) = (self.near.write(&MESSAGE), self.far.read(&mut buffer));
        self.is_broken = !is_well(&sent) || !is_well(&taken);
        self.taken_len = self.taken_len.saturating_add(taken.unwrap_or(0));
    }

    /// How many messages went all the way; and whether they still can.
    #[must_use]
    pub const fn rehearsed(&self) -> (usize, bool) {
        (self.taken_len / MESSAGE.len(), !self.is_broken)
    }
}

fn is_well(done: &io::Result<usize>) -> bool {
    match done {
        Ok(count) => *count > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use super::*;

    #[test]
    fn what_is_sent_is_taken_out_whole() {
        let mut way = KernelWay::open().unwrap();
        for _ in 0..10_000 {
            way.rehearse();
        }
        assert!(way.rehearsed().1);
        // What a busy machine put off comes in its own time.
        let (begin, len) = (Instant::now(), 10_000 * MESSAGE.len());
        let mut buffer = [0; 4_096];
        while way.taken_len < len {
            way.taken_len += way.far.read(&mut buffer).unwrap_or(0);
            assert!(begin.elapsed() < Duration::from_secs(20), "{way:?}");
        }
        assert_eq!(way.rehearsed(), (10_000, true));
        assert!(way.far.read(&mut buffer).is_err(), "nothing is left");
    }

    #[test]
    fn a_broken_connection_is_left_alone() {
        for is_near in [true, false] {
            let mut way = KernelWay::open().unwrap();
            way.rehearse();
            let side = if is_near { &way.near } else { &way.far };
            side.shutdown(Shutdown::Both).unwrap();
            // The first message behind it may still be taken.
            (0..10).for_each(|_| way.rehearse());
            let (count, is_up) = way.rehearsed();
            assert!(!is_up && count < 5, "{count}");
            way.rehearse();
            assert_eq!(way.rehearsed(), (count, false));
        }
    }
}
