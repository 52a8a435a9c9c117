//! The order ports' sockets: one listener each, one connection at a time, cut where its faults say.

use std::collections::VecDeque;
use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use peregrine_gateway::soup::ServerState;
use peregrine_types::EpochNanos;

use super::connection::{Connection, Moved};
use crate::exchange::Exchange;
use crate::settings::PortSettings;
use crate::stream::FeedStream;

/// Reads of one connection in a turn, at most: what is left comes with the next turn.
const READS_PER_TURN_MAX: usize = 16;

/// What happened at a port's socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounters {
    /// Connections that were accepted.
    pub connection_count: u64,
    /// Connections that gave way to a newer one.
    pub displaced_count: u64,
    /// Connections that were cut on purpose.
    pub cut_count: u64,
    /// Bytes sent.
    pub sent_len: u64,
    /// Bytes received.
    pub received_len: u64,
}

/// The socket of one order port.
pub(super) struct Endpoint {
    index: usize,
    listener: TcpListener,
    pub(super) connection: Option<Connection>,
    cuts_sent: VecDeque<u64>,
    cuts_received: VecDeque<u64>,
    pub(super) counters: EndpointCounters,
}

impl Endpoint {
    pub(super) fn bind(
        index: usize,
        settings: &PortSettings,
        registry: &Registry,
        token: Token,
    ) -> std::io::Result<Self> {
        let mut listener = TcpListener::bind(settings.address)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        let (cuts_sent, cuts_received) = settings.cuts.clone();
        Ok(Self {
            index,
            listener,
            connection: None,
            cuts_sent: cuts_sent.into(),
            cuts_received: cuts_received.into(),
            counters: EndpointCounters::default(),
        })
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes every connection that waits: the newest one has the port, so that a client whose old connection hangs is
    /// not locked out.
    pub(super) fn accept(
        &mut self,
        (registry, token): (&Registry, Token),
        exchange: &mut Exchange,
        now: EpochNanos,
        feed: &mut FeedStream,
    ) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.connection.take().is_some() {
                self.counters.displaced_count += 1;
                exchange.disconnect(self.index, now, feed);
            }
            let Ok(connection) = Connection::new(stream, registry, token) else { continue };
            self.connection = Some(connection);
            self.counters.connection_count += 1;
            exchange.connect(self.index, now);
        }
    }

    /// Reads, lets the exchange act, and writes. Returns whether bytes are left to be read.
    pub(super) fn serve(
        &mut self,
        exchange: &mut Exchange,
        now: EpochNanos,
        feed: &mut FeedStream,
        buffer: &mut [u8],
    ) -> bool {
        for _ in 0..READS_PER_TURN_MAX {
            let limit = room(self.cuts_received.front(), self.counters.received_len, buffer.len());
            let Some(connection) = &mut self.connection else { return false };
            match connection.receive(&mut buffer[..limit]) {
                Moved::Nothing => break,
                Moved::Gone => {
                    self.hang_up(exchange, now, feed);
                    return false;
                }
                Moved::Bytes(count) => {
                    self.counters.received_len += count as u64;
                    exchange.receive(self.index, &buffer[..count], now, feed);
                    if is_reached(&mut self.cuts_received, self.counters.received_len) {
                        self.cut(exchange, now, feed);
                        return false;
                    }
                    self.write(exchange, now, feed);
                }
            }
        }
        self.write(exchange, now, feed);
        self.connection.as_ref().is_some_and(|connection| connection.is_readable)
    }

    /// Writes what waits; a session that is over loses its connection behind its last byte.
    pub(super) fn write(&mut self, exchange: &mut Exchange, now: EpochNanos, feed: &mut FeedStream) {
        loop {
            let limit = room(self.cuts_sent.front(), self.counters.sent_len, usize::MAX);
            let (Some(connection), Some(port)) = (&mut self.connection, exchange.port(self.index)) else { return };
            let session = port.session();
            let pending = session.pending();
            if pending.is_empty() {
                if session.state() == ServerState::Disconnected {
                    self.connection = None;
                }
                return;
            }
            match connection.send(&pending[..pending.len().min(limit)]) {
                Moved::Nothing => return,
                Moved::Gone => return self.hang_up(exchange, now, feed),
                Moved::Bytes(count) => {
                    session.sent(count, now);
                    self.counters.sent_len += count as u64;
                    if is_reached(&mut self.cuts_sent, self.counters.sent_len) {
                        return self.cut(exchange, now, feed);
                    }
                }
            }
        }
    }

    pub(super) fn cut(&mut self, exchange: &mut Exchange, now: EpochNanos, feed: &mut FeedStream) {
        self.counters.cut_count += 1;
        self.hang_up(exchange, now, feed);
    }

    fn hang_up(&mut self, exchange: &mut Exchange, now: EpochNanos, feed: &mut FeedStream) {
        self.connection = None;
        exchange.disconnect(self.index, now, feed);
    }
}

/// Bytes until the next cut, at most `len`.
fn room(cut: Option<&u64>, so_far: u64, len: usize) -> usize {
    let left = cut.map_or(u64::MAX, |cut| cut.saturating_sub(so_far).max(1));
    usize::try_from(left).unwrap_or(usize::MAX).min(len)
}

/// Whether a cut is due; it is taken off then.
fn is_reached(cuts: &mut VecDeque<u64>, so_far: u64) -> bool {
    let is_reached = cuts.front().is_some_and(|cut| *cut <= so_far);
    if is_reached {
        cuts.pop_front();
    }
    is_reached
}
