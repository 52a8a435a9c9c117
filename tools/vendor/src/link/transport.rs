//! What carries a session: a websocket, under TLS or not, or a plain stream of bytes. Reads wait for a moment at most, so
//! that a stop is seen.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peregrine_runtime::StopFlag;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::http::Uri;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::LinkPlan;

/// How long a read waits.
const READ_WAIT: Duration = Duration::from_millis(20);
/// Bytes of one read of a plain stream.
const READ_LEN: usize = 1 << 16;

/// Where a vendor is.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A websocket.
    WebSocket {
        /// Its whole address, `wss://…` or `ws://…`.
        uri: Uri,
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
        /// Whether TLS protects it.
        is_tls: bool,
    },
    /// A plain stream of bytes.
    Stream {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// Why an address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no address of a websocket.
    #[error("a websocket's address, wss://HOST/PATH: the one that the vendor's documentation names for the feed")]
    NoWebSocket,
    /// Keys would cross a network unprotected.
    #[error("wss:// (TLS), as keys are sent; ws:// is for a loopback address like ws://127.0.0.1:8080/ alone")]
    Unprotected,
    /// It is no host and port.
    #[error("a host and a port, like 127.0.0.1:4002")]
    NoStream,
    /// The other side of an unprotected stream is not on this host.
    #[error(
        "a loopback address, like 127.0.0.1:4002: TWS and Gateway speak without protection; reach another host by a tunnel"
    )]
    Remote,
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Address {
    /// Reads the address of a websocket.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn web_socket(text: &str) -> Result<Self, AddressError> {
        let uri: Uri = text.parse().map_err(|_| AddressError::NoWebSocket)?;
        let is_tls = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            Some(_) | None => return Err(AddressError::NoWebSocket),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(AddressError::NoWebSocket)?.to_owned();
        if !is_tls && !is_loopback(&host) {
            return Err(AddressError::Unprotected);
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self::WebSocket { uri, host, port, is_tls })
    }

    /// Reads the address of a plain stream: on this host alone.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn stream(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoStream)?;
        let port = port.parse().map_err(|_| AddressError::NoStream)?;
        if host.is_empty() {
            return Err(AddressError::NoStream);
        }
        if !is_loopback(host) {
            return Err(AddressError::Remote);
        }
        Ok(Self::Stream { host: host.to_owned(), port })
    }

    fn place(&self) -> (&str, u16) {
        match self {
            Self::WebSocket { host, port, .. } | Self::Stream { host, port } => (bare(host), *port),
        }
    }
}

/// As it is shown: host and port, because a path can hold a key.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    /// Without path and query, which may hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = self.place();
        write!(f, "{host}:{port}")
    }
}

/// Whom TLS trusts.
#[derive(Clone, Debug)]
pub struct TlsRoots(Arc<ClientConfig>);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities cannot be read.
    #[error("cannot read the authorities ({path}): {source}; name a file of certificates in PEM form, or none")]
    Authorities {
        /// The file.
        path: String,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// An authority is none, or TLS itself refuses.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl TlsRoots {
    /// The authorities of a file in PEM form; without one Mozilla's list, as it was when this was built.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(authorities: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let refuse = |source| TlsError::Authorities { path: path.display().to_string(), source };
                for certificate in CertificateDer::pem_file_iter(path).map_err(refuse)? {
                    roots.add(certificate.map_err(refuse)?)?;
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }
}

/// A stream under TLS or not.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// What a read brought.
pub(super) enum Received {
    /// A message, or a part of the stream.
    Bytes(Vec<u8>),
    /// A sign of life.
    Sign,
    /// Nothing for now.
    Nothing,
}

/// See the file's head.
pub(super) enum Transport {
    WebSocket(Box<WebSocket<Stream>>),
    Stream(TcpStream, Box<[u8]>),
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Transport {
    /// Connects within the plan's time. The error says what is wrong.
    pub(super) fn connect(plan: &LinkPlan, stop: &StopFlag) -> Result<Self, String> {
        let begin = Instant::now();
        let tcp = dial(plan).map_err(|error| format!("cannot connect ({}): {error}", plan.address))?;
        match &plan.address {
            Address::Stream { .. } => Ok(Self::Stream(tcp, vec![0; READ_LEN].into_boxed_slice())),
            Address::WebSocket { uri, host, is_tls, .. } => {
                let stream = if *is_tls { under_tls(tcp, host, &plan.roots)? } else { Stream::Plain(tcp) };
                let limit = Some(plan.message_len_max);
                let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
                let mut result = tungstenite::client::client_with_config(uri.clone(), stream, Some(config));
                loop {
                    match result {
                        Ok((socket, _)) => return Ok(Self::WebSocket(Box::new(socket))),
                        Err(HandshakeError::Interrupted(middle))
                            if begin.elapsed() < plan.connect && !stop.is_requested() =>
                        {
                            result = middle.handshake();
                        }
                        Err(HandshakeError::Interrupted(_)) => {
                            return Err(format!("no answer to the handshake ({})", plan.address));
                        }
                        Err(HandshakeError::Failure(error)) => {
                            return Err(format!("the handshake failed ({}): {error}", plan.address));
                        }
                    }
                }
            }
        }
    }

    /// Sends a message.
    pub(super) fn send(&mut self, frame: &[u8]) -> Result<(), String> {
        match self {
            Self::WebSocket(socket) => {
                let text = String::from_utf8_lossy(frame).into_owned();
                socket.send(Message::text(text)).map_err(|error| format!("cannot send: {error}"))
            }
            Self::Stream(stream, _) => stream.write_all(frame).map_err(|error| format!("cannot send: {error}")),
        }
    }

    /// Waits for a moment for what comes.
    pub(super) fn receive(&mut self) -> Result<Received, String> {
        match self {
            Self::WebSocket(socket) => match socket.read() {
                Ok(Message::Text(text)) => Ok(Received::Bytes(text.as_bytes().to_vec())),
                // Some vendors put their text into binary frames.
                Ok(Message::Binary(bytes)) => Ok(Received::Bytes(bytes.to_vec())),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Received::Sign),
                Ok(Message::Close(frame)) => {
                    let said = frame.map(|frame| format!("{}: {}", frame.code, crate::update::excerpt(&frame.reason)));
                    Err(format!("closed by the vendor ({})", said.unwrap_or_else(|| "no reason".to_owned())))
                }
                Err(Error::Io(error)) if is_nothing(&error) => Ok(Received::Nothing),
                Err(error) => Err(format!("the connection broke: {error}")),
            },
            Self::Stream(stream, buffer) => match stream.read(buffer) {
                Ok(0) => Err("closed by the other side".to_owned()),
                Ok(len) => Ok(Received::Bytes(buffer.get(..len).unwrap_or_default().to_vec())),
                Err(error) if is_nothing(&error) => Ok(Received::Nothing),
                Err(error) => Err(format!("the connection broke: {error}")),
            },
        }
    }

    /// Asks whether the other side lives: by a ping, or the session's message where the transport has none.
    pub(super) fn probe(&mut self, message: Option<Vec<u8>>) -> Result<(), String> {
        match self {
            Self::WebSocket(socket) => {
                socket.send(Message::Ping(Vec::new().into())).map_err(|error| format!("cannot send: {error}"))
            }
            Self::Stream(..) => message.map_or(Ok(()), |message| self.send(&message)),
        }
    }

    /// Says that this is the end, as far as that is possible; nobody waits for an answer.
    pub(super) fn close(&mut self) {
        if let Self::WebSocket(socket) = self {
            drop(socket.close(None));
            drop(socket.flush());
        }
    }
}

/// A connection to the first address of the host that takes one.
fn dial(plan: &LinkPlan) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in plan.address.place().to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, plan.connect) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(READ_WAIT))?;
                stream.set_write_timeout(Some(plan.connect))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn under_tls(tcp: TcpStream, host: &str, roots: &TlsRoots) -> Result<Stream, String> {
    let name = ServerName::try_from(bare(host).to_owned()).map_err(|error| format!("{host}: {error}"))?;
    let connection = ClientConnection::new(Arc::clone(&roots.0), name).map_err(|error| format!("TLS: {error}"))?;
    Ok(Stream::Tls(Box::new(StreamOwned::new(connection, tcp))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_unprotected_ones_stay_here() {
        let address = Address::web_socket("wss://vendor.invalid/v2/quotes?key=K").unwrap();
        assert_eq!(address.to_string(), "vendor.invalid:443", "what may hold a key is not shown");
        let Address::WebSocket { is_tls, port, .. } = Address::web_socket("ws://127.0.0.1:8080/x").unwrap() else {
            unreachable!()
        };
        assert_eq!((is_tls, port), (false, 8_080));
        for (text, error) in [
            ("ws://vendor.invalid/", AddressError::Unprotected),
            ("https://vendor.invalid/", AddressError::NoWebSocket),
            ("vendor.invalid", AddressError::NoWebSocket),
            ("", AddressError::NoWebSocket),
        ] {
            assert_eq!(Address::web_socket(text), Err(error), "{text}");
        }
        assert_eq!(Address::stream("127.0.0.1:4002").unwrap().to_string(), "127.0.0.1:4002");
        for (text, error) in [
            ("127.0.0.1", AddressError::NoStream),
            (":4002", AddressError::NoStream),
            ("10.0.0.5:4002", AddressError::Remote),
        ] {
            assert_eq!(Address::stream(text), Err(error), "{text}");
        }
    }
}
