//! This project's SoupBinTCP sessions against others': so many messages each way, and what each side sent and received as
//! one hash. `scripts/venue_peer.sh` lets sessions that nobody here wrote be the other side.
//!
//! Usage: `soup_peer connect ADDRESS COUNT SESSIONS` logs in as a client, `soup_peer serve COUNT SESSIONS` is the server and
//! prints its address first. Messages have 1 to 120 bytes of chance; each session prints
//! `session I sent N SHA256 received N SHA256`, the hash over the messages, each behind its length.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peregrine_gateway::soup::{
    CLIENT_SILENCE_MAX, ClientConfig, ClientEvent, ClientSession, HEARTBEAT_INTERVAL, LOGIN_TIME_MAX, Password,
    Position, ServerConfig, ServerEvent, ServerSession, SessionId, Username,
};
use peregrine_types::{EpochNanos, Nanos};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const LEN_MAX: u32 = 120;
/// Bytes that may wait for the socket before no more messages are made.
const WAITING_MAX: usize = 1 << 15;

/// Messages of one way, as a hash.
#[derive(Default)]
struct Story {
    hasher: Sha256,
    count: u64,
}

impl Story {
    fn take(&mut self, message: &[u8]) {
        self.hasher.update(u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.hasher.update(message);
        self.count += 1;
    }

    fn tell(self) -> String {
        let hash: String = self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {hash}", self.count)
    }
}

/// Either side of a session.
enum Side {
    Client(Box<ClientSession>),
    Server(Box<ServerSession>),
}

impl Side {
    fn pending(&self) -> &[u8] {
        match self {
            Self::Client(session) => session.pending(),
            Self::Server(session) => session.pending(),
        }
    }

    fn sent(&mut self, count: usize, now: EpochNanos) {
        match self {
            Self::Client(session) => session.sent(count),
            Self::Server(session) => session.sent(count, now),
        }
    }

    fn say(&mut self, message: &[u8], now: EpochNanos) -> bool {
        match self {
            Self::Client(session) => session.send(message, now).is_ok(),
            Self::Server(session) => session.sequence(message, now).is_ok(),
        }
    }

    /// Reads bytes, or lets time pass; `false` when the session is over.
    fn hear(&mut self, bytes: &[u8], now: EpochNanos, (heard, is_in): (&mut Story, &mut bool)) -> bool {
        let mut is_open = true;
        match self {
            Self::Client(session) => {
                let mut take = |event: ClientEvent<'_>| match event {
                    ClientEvent::Sequenced { payload, .. } => heard.take(payload),
                    ClientEvent::LoggedIn { .. } => *is_in = true,
                    ClientEvent::Closed(_) => is_open = false,
                    ClientEvent::Unsequenced(_) | ClientEvent::Debug(_) => {}
                };
                session.receive(bytes, now, &mut take);
                session.poll(now, &mut take);
            }
            Self::Server(session) => {
                let mut take = |event: ServerEvent<'_>| match event {
                    ServerEvent::Unsequenced(payload) => heard.take(payload),
                    ServerEvent::LoggedIn { .. } => *is_in = true,
                    ServerEvent::Closed(_) => is_open = false,
                    ServerEvent::Debug(_) => {}
                };
                session.receive(bytes, now, &mut take);
                session.poll(now, &mut take);
            }
        }
        is_open
    }
}

fn now() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Exchanges `count` messages each way over a connection.
fn exchange(mut stream: TcpStream, mut side: Side, count: u64, seed: u64) -> Outcome<String> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let (mut sent, mut heard, mut is_in) = (Story::default(), Story::default(), false);
    let mut buffer = vec![0; 1 << 16];
    let mut message = [0; LEN_MAX as usize];
    loop {
        let time = now();
        while is_in && sent.count < count && side.pending().len() < WAITING_MAX {
            let len = (chance.next_u32() % LEN_MAX + 1) as usize;
            chance.fill_bytes(&mut message[..len]);
            if !side.say(&message[..len], time) {
                return Err("a message found no room".into());
            }
            sent.take(&message[..len]);
        }
        let mut is_idle = true;
        match stream.write(side.pending()) {
            Ok(count) => {
                is_idle &= count == 0;
                side.sent(count, time);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let len = match stream.read(&mut buffer) {
            Ok(0) => return Err("the other side hung up".into()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error.into()),
        };
        is_idle &= len == 0;
        if !side.hear(&buffer[..len], time, (&mut heard, &mut is_in)) {
            return Err("the session ended early".into());
        }
        if sent.count == count && heard.count == count && side.pending().is_empty() {
            // The other side reads what is on its way before the connection goes.
            std::thread::sleep(Duration::from_millis(200));
            return Ok(format!("sent {} received {}", sent.tell(), heard.tell()));
        }
        if is_idle {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

fn client() -> Option<Side> {
    let config = ClientConfig {
        username: Username::new("desk")?,
        password: Password::new("password")?,
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(60),
        login_time_max: LOGIN_TIME_MAX,
        heartbeat_timeout_ms: None,
        packet_len_max: 300,
        outbox_len_max: 1 << 18,
    };
    Some(Side::Client(Box::new(ClientSession::new(config, Position::START))))
}

fn server(count: u64) -> Option<Side> {
    let count = usize::try_from(count).ok()?;
    let mut session = ServerSession::new(ServerConfig {
        username: Username::new("desk")?,
        password: Password::new("password")?,
        session: SessionId::new("PEER")?,
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: CLIENT_SILENCE_MAX,
        login_time_max: LOGIN_TIME_MAX,
        packet_len_max: 300,
        outbox_len_max: 1 << 18,
        message_count_max: count,
        byte_count_max: count.saturating_mul(LEN_MAX as usize),
    });
    session.connect(now());
    Some(Side::Server(Box::new(session)))
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (listener, address, numbers) = match words.as_slice() {
        ["connect", address, numbers @ ..] => (None, (*address).to_owned(), numbers),
        ["serve", numbers @ ..] => (Some(TcpListener::bind("127.0.0.1:0")?), String::new(), numbers),
        _ => return Err("usage: soup_peer connect ADDRESS COUNT SESSIONS | soup_peer serve COUNT SESSIONS".into()),
    };
    let [count, sessions] = numbers else { return Err("COUNT and SESSIONS are missing".into()) };
    let (count, sessions): (u64, u64) = (count.parse()?, sessions.parse()?);
    let each = count / sessions.max(1);
    let mut out = std::io::stdout();
    if let Some(listener) = &listener {
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
    }
    let mut threads = Vec::new();
    for index in 0..sessions {
        let (stream, side) = match &listener {
            Some(listener) => (listener.accept()?.0, server(each)),
            None => (TcpStream::connect(&address)?, client()),
        };
        let mut side = side.ok_or("names that no session has")?;
        if let Side::Client(session) = &mut side {
            session.connect(now());
        }
        let run = move || exchange(stream, side, each, index + 1);
        threads.push(std::thread::Builder::new().name(format!("session {index}")).spawn(run)?);
    }
    for (index, thread) in threads.into_iter().enumerate() {
        let told = thread.join().map_err(|_| "a session broke off")??;
        writeln!(out, "session {index} {told}")?;
    }
    Ok(())
}
