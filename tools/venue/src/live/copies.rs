//! The drop copy's socket: one listener, one connection at a time, the newest one has it.

use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use peregrine_fix::State;
use peregrine_types::EpochNanos;

use super::connection::{Connection, Moved};
use crate::drop_copy::DropCopy;

/// Reads of a turn, at most.
const READS_PER_TURN_MAX: usize = 16;

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
