//! A TCP connection that never waits.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// What came of a try to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now: the poll tells when there is more to do.
    Nothing,
    /// The other side is gone.
    Gone,
}

/// See the module. Readiness is told by edges, so that it is remembered here until a try says that nothing is left.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
}

impl Connection {
    /// Takes over a stream that was just accepted.
    pub(super) fn new(mut stream: TcpStream, registry: &Registry, token: Token) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, is_readable: true, is_writable: true })
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Moved {
        if !self.is_readable {
            return Moved::Nothing;
        }
        let moved = moved(self.stream.read(buffer));
        self.is_readable = matches!(moved, Moved::Bytes(_));
        moved
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Moved {
        if !self.is_writable {
            return Moved::Nothing;
        }
        let moved = moved(self.stream.write(bytes));
        self.is_writable = matches!(moved, Moved::Bytes(_));
        moved
    }
}

fn moved(result: std::io::Result<usize>) -> Moved {
    match result {
        Ok(0) => Moved::Gone,
        Ok(count) => Moved::Bytes(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Moved::Nothing,
        // An interrupted call is tried again with the next turn: the edge stays remembered.
        Err(error) if error.kind() == ErrorKind::Interrupted => Moved::Bytes(0),
        Err(_) => Moved::Gone,
    }
}
