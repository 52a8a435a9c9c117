//! Somebody at a port of the exchange, over TCP, and everything that the exchange ever said there.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use peregrine_gateway::soup::{
    ClientConfig, ClientEvent, ClientSession, ClientState, HEARTBEAT_INTERVAL, Password, Position, Username,
};
use peregrine_runtime::system_now;
use peregrine_types::Nanos;

/// A session of `user`, whose password is "secret".
pub(crate) fn client_config(user: &str) -> ClientConfig {
    ClientConfig {
        username: Username::new(user).unwrap(),
        password: Password::new("secret").unwrap(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(5),
        login_time_max: Nanos::from_secs(5),
        heartbeat_timeout_ms: None,
        packet_len_max: 512,
        outbox_len_max: 1 << 18,
    }
}

/// See the module.
pub(crate) struct Caller {
    pub(crate) session: ClientSession,
    stream: TcpStream,
    pub(crate) heard: Vec<Vec<u8>>,
}

impl Caller {
    pub(crate) fn connect(user: &str, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut session = ClientSession::new(client_config(user), Position::START);
        session.connect(system_now());
        Self { session, stream, heard: vec![] }
    }

    /// Moves bytes both ways once; an error when the connection is gone.
    pub(crate) fn try_flow(&mut self) -> std::io::Result<()> {
        let sent = self.stream.write(self.session.pending())?;
        self.session.sent(sent);
        let (heard, mut buffer) = (&mut self.heard, [0; 1 << 16]);
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => self.session.receive(&buffer[..len], system_now(), &mut |event| {
                if let ClientEvent::Sequenced { payload, .. } = event {
                    heard.push(payload.to_vec());
                }
            }),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        self.session.poll(system_now(), &mut |_| {});
        Ok(())
    }
}

/// Everything that the venue ever said on a port, whose faults may cut the connection and swallow the query.
pub(crate) fn stream_of(port: SocketAddr, user: &str) -> Vec<Vec<u8>> {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        let mut desk = Caller::connect(user, port);
        let (mut asked, mut quiet) = (None::<Instant>, Instant::now());
        // The replay is complete when nothing has come for long behind the answer to a query.
        while desk.try_flow().is_ok() {
            let is_answered = desk.heard.last().is_some_and(|message| message[0] == b'Q');
            if is_answered && quiet.elapsed() > Duration::from_millis(1_000) {
                return desk.heard;
            }
            if desk.session.state() != ClientState::Active || asked.is_some_and(|at| at.elapsed().as_secs() < 1) {
                let before = desk.heard.len();
                desk.try_flow().unwrap_or(());
                quiet = if desk.heard.len() == before { quiet } else { Instant::now() };
            } else if !is_answered {
                asked = Some(Instant::now());
                desk.session.send(b"Q", system_now()).unwrap();
            }
        }
    }
    panic!("the venue's stream cannot be read");
}
