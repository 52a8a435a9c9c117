//! The kernel's way of an order, rehearsed while nothing happens: a message that this process sends to itself.
//!
//! On sockets of the kernel the greater part of the way from a decision to the wire is the kernel's. Some microseconds after
//! the last message its code is no longer near the core, and the memory for the next one was given back by another core. A
//! message over a connection of the process with itself (loopback interface) takes the same way through TCP, IP and the
//! queueing of a device, and never leaves the machine. Stacks beside the kernel have a call for it: `ONLOAD_MSG_WARM` (Onload
//! User Guide). What it wins stands in `docs/live.md`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// As long as an Enter Order message in its packet.
const MESSAGE: [u8; 52] = [0; 52];

/// A connection of this process with itself, and what was sent over it.
#[derive(Debug)]
pub struct KernelWay {
    near: TcpStream,
    far: TcpStream,
    count: u64,
    is_broken: bool,
}

impl KernelWay {
    /// Makes the connection.
    ///
    /// # Errors
    /// What the sockets say: the loopback interface of this network namespace must be up.
    pub fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let own = near.local_addr()?;
        // Whoever else came to this port first is not talked to.
        let far = loop {
            let (far, peer) = listener.accept()?;
            if peer == own {
                break far;
            }
        };
        near.set_nodelay(true)?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self { near, far, count: 0, is_broken: false })
    }

    /// Sends a message and takes it out again; never waits. A connection that broke is left alone from then on.
    pub fn rehearse(&mut self) {
        if self.is_broken {
            return;
        }
        // Room for more than one: what the kernel put off comes with the next.
        let mut buffer = [0; 4 * MESSAGE.len()];
        let is_up = is_well(self.near.write(&MESSAGE)) && is_well(self.far.read(&mut buffer));
        self.is_broken = !is_up;
        self.count = self.count.saturating_add(u64::from(is_up));
    }

    /// How often the way was rehearsed; and whether it still is.
    #[must_use]
    pub const fn rehearsed(&self) -> (u64, bool) {
        (self.count, !self.is_broken)
    }
}

fn is_well(done: io::Result<usize>) -> bool {
    match done {
        Ok(count) => count > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use super::*;

    #[test]
    fn a_rehearsal_sends_a_message_and_leaves_nothing() {
        let mut way = KernelWay::open().unwrap();
        let all = 10_000;
        for _ in 0..all {
            way.rehearse();
        }
        assert_eq!(way.rehearsed(), (all, true));
        // What a busy machine put off is less than a message in a hundred.
        let mut rest = vec![0; MESSAGE.len() * 10_000];
        let left = way.far.read(&mut rest).unwrap_or(0);
        assert!(left < MESSAGE.len() * 100, "{left} bytes were not taken out");
        // The control: a message that nobody takes out is seen.
        assert_eq!(way.near.write(&MESSAGE).unwrap(), MESSAGE.len());
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(way.far.read(&mut rest).unwrap(), MESSAGE.len());
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
