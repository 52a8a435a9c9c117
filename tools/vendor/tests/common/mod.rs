//! A vendor under way on the loopback interface, the program that reads it, and the engine's input that reads the program.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_gateway::soup::{
    ClientConfig, ClientEvent, ClientSession, HEARTBEAT_INTERVAL, Password, Position, Username,
};
use peregrine_runtime::StopFlag;
use peregrine_source::live::{LineAddress, LiveInput, LivePlan, LiveStep};
use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Nanos, SymbolId};
use peregrine_vendor::{Addresses, Service, ServiceError, Settings, Summary};
use peregrine_venue::end_of_snapshot;
use peregrine_wire::itch50::Decoder;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::{Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(20);
/// 10⁻⁹ in a step of 10⁻⁴.
const STEP: i64 = 100_000;

/// The best levels of a symbol: price in 10⁻⁴ and shares.
pub(crate) type Top = [Option<(i64, u64)>; 2];

/// Waits for what `poll` gives, with patience.
pub(crate) fn await_some<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn now() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap())
}

/// A vendor that waits for connections.
pub(crate) struct Vendor(TcpListener);

impl Vendor {
    pub(crate) fn new() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// Listens no more, and says where it listened.
    pub(crate) fn close(self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn take(&self) -> TcpStream {
        let stream = await_some("a connection", || match self.0.accept() {
            Ok((stream, _)) => Some(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Takes a websocket.
    pub(crate) fn accept(&self) -> Client {
        self.try_accept(None).unwrap()
    }

    /// Takes a websocket, under TLS where there is a configuration for it; the error says why there is none.
    pub(crate) fn try_accept(&self, tls: Option<&Arc<ServerConfig>>) -> Result<Client, String> {
        let stream = self.take();
        let wire: Box<dyn Wire> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                Box::new(StreamOwned::new(connection, stream))
            }
        };
        tungstenite::accept(wire).map(Client).map_err(|error| error.to_string())
    }

    /// Takes a connection of the TWS API.
    pub(crate) fn accept_gateway(&self) -> Gateway {
        Gateway(self.take())
    }
}

/// What a websocket runs over.
pub(crate) trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// The vendor's end of a websocket.
pub(crate) struct Client(WebSocket<Box<dyn Wire>>);

impl Client {
    pub(crate) fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// The next text of the program.
    pub(crate) fn hear(&mut self) -> String {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => panic!("{other:?}"),
            }
        }
    }
}

/// The server's end of the TWS API; `|` stands for NUL.
pub(crate) struct Gateway(TcpStream);

impl Gateway {
    /// Goes through the steps until the session is under way.
    pub(crate) fn greet(&mut self, version: &str) {
        let mut hello = [0; 4];
        self.0.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"API\0");
        assert_eq!(self.payload(), b"v137..151");
        self.say(&format!("{version}|20260105 09:00:00 EST"));
        assert_eq!(self.hear(), "71|2|7||");
        self.say("15|1|DU1");
        self.say("9|1|1");
    }

    pub(crate) fn say(&mut self, fields: &str) {
        let payload = format!("{fields}|").replace('|', "\0");
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(payload.as_bytes());
        self.0.write_all(&bytes).unwrap();
    }

    fn payload(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).unwrap();
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes(len)).unwrap()];
        self.0.read_exact(&mut payload).unwrap();
        payload
    }

    pub(crate) fn hear(&mut self) -> String {
        String::from_utf8(self.payload()).unwrap().replace('\0', "|")
    }
}

/// The engine's own input, its books, and every event.
pub(crate) struct Reader {
    input: LiveInput,
    books: Books,
    events: Vec<MarketEvent>,
    pub(crate) anomaly_count: usize,
}

pub(crate) fn top(books: &Books, symbol: u32) -> Top {
    let top = books.top(SymbolId(symbol));
    [top.bid, top.ask].map(|level| level.map(|level| (level.price.0 / STEP, level.qty.0)))
}

fn books() -> Books {
    Books::new(BookConfig::new(8, 1_000, 1_000)).unwrap()
}

impl Reader {
    pub(crate) fn new() -> Self {
        let line =
            LineAddress { destination: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), interface: Ipv4Addr::LOCALHOST };
        let input = LiveInput::open(&LivePlan::new(vec![line, line], 8), &[]).unwrap();
        Self { input, books: books(), events: Vec::new(), anomaly_count: 0 }
    }

    fn lines(&self) -> Vec<SocketAddrV4> {
        self.input.facts().iter().map(|facts| facts.local).collect()
    }

    fn step(&mut self) {
        let Self { input, books, events, anomaly_count } = self;
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            *anomaly_count += usize::from(books.apply(&event).anomaly.is_some());
            events.push(event);
            Ok(())
        };
        while input.step(now(), &mut sink).unwrap() == LiveStep::Worked {}
    }

    pub(crate) fn top(&self, symbol: u32) -> Top {
        top(&self.books, symbol)
    }

    pub(crate) fn order_count(&self) -> usize {
        self.books.order_count()
    }

    pub(crate) fn await_top(&mut self, symbol: u32, wanted: Top) {
        let begin = Instant::now();
        while self.top(symbol) != wanted {
            self.step();
            assert!(begin.elapsed() < PATIENCE, "{symbol}: {:?}, not {wanted:?}", self.top(symbol));
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Waits until there are so many events of a kind, and gives them.
    pub(crate) fn await_events(&mut self, kind: EventKind, count: usize) -> Vec<MarketEvent> {
        await_some(&format!("{kind:?}"), || {
            self.step();
            let events: Vec<MarketEvent> = self.events.iter().filter(|event| event.kind == kind).copied().collect();
            (events.len() >= count).then_some(events)
        })
    }
}

/// What differs between the tests.
pub(crate) struct Plan {
    pub(crate) kind: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) lines: Vec<SocketAddrV4>,
    pub(crate) silence_ms: u32,
    pub(crate) stale_after_ms: u32,
    pub(crate) message_count_max: u32,
    /// Under TLS: the file of authorities, empty for the usual ones.
    pub(crate) authorities: Option<&'static str>,
}

impl Plan {
    pub(crate) fn alpaca(vendor: &Vendor, reader: &Reader) -> Self {
        Self {
            kind: "alpaca",
            address: vendor.0.local_addr().unwrap(),
            lines: reader.lines(),
            silence_ms: 20_000,
            stale_after_ms: 60_000,
            message_count_max: 20_000,
            authorities: None,
        }
    }

    /// The shipped configuration with what differs; keys are in `keys`.
    pub(crate) fn text(&self) -> String {
        let Self { kind, address, lines, silence_ms, stale_after_ms, message_count_max, authorities } = self;
        let mut text = include_str!("../../../../configs/vendor.toml").to_owned();
        let mut set = |from: &str, to: &str| {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        };
        set("ws://127.0.0.1:30090/", &if *kind == "ib" { address.to_string() } else { format!("ws://{address}/") });
        if let Some(file) = authorities {
            set("ws://127", "wss://127");
            set("authority_file = \"\"", &format!("authority_file = \"{file}\""));
        }
        set("kind = \"alpaca\"", &format!("kind = \"{kind}\""));
        match *kind {
            "alpaca" => {}
            "massive" => set("[alpaca]                     # where kind is alpaca\nstatuses = true", "#"),
            _ => {
                set(
                    "[alpaca]                     # where kind is alpaca\nstatuses = true",
                    "[ib]\nclient_id = 7\nexchange = \"SMART\"\nprimary_exchange = \"\"\ncurrency = \"USD\"\ndepth_row_count = 5\n#",
                );
                set("quote_size_unit = \"shares\"", "quote_size_unit = \"round_lots\"");
            }
        }
        set("file = \"\"                    #", "file = \"keys\" #");
        set("239.192.10.1:30001", &lines[0].to_string());
        set("239.192.10.2:30002", &lines[1].to_string());
        set("127.0.0.1:30011", "127.0.0.1:0");
        set("127.0.0.1:30021", "127.0.0.1:0");
        set("silence_ms = 20_000", &format!("silence_ms = {silence_ms}"));
        set("stale_after_ms = 30_000", &format!("stale_after_ms = {stale_after_ms}"));
        set("message_count_max = 4_000_000", &format!("message_count_max = {message_count_max}"));
        set("backoff_first_ms = 500", "backoff_first_ms = 20");
        set("backoff_max_ms = 60_000", "backoff_max_ms = 100");
        set("heartbeat_ms = 1_000", "heartbeat_ms = 50");
        set("end_of_session_ms = 3_000", "end_of_session_ms = 50");
        set("name = \"ASGV\"", "name = \"ALFA\"");
        set("name = \"BDZK\"", "name = \"BETA\"");
        text
    }

    /// Lets the program run.
    pub(crate) fn start(&self) -> Run {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keys"), "key = K-1\nsecret = S-2\n").unwrap();
        let settings = Settings::parse(&self.text(), &folder.path().join("vendor.toml"));
        let service = Service::bind(&settings.unwrap_or_else(|error| panic!("{error}"))).unwrap();
        let (addresses, stop) = (service.addresses().unwrap(), StopFlag::new());
        let flag = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut out = Vec::new();
            let result = service.run(&flag, &mut out);
            (result, String::from_utf8(out).unwrap())
        });
        Run { addresses, stop, thread }
    }
}

/// The program under way.
pub(crate) struct Run {
    pub(crate) addresses: Addresses,
    stop: StopFlag,
    thread: JoinHandle<(Result<Summary, ServiceError>, String)>,
}

impl Run {
    pub(crate) fn stop(self) -> (Result<Summary, ServiceError>, String) {
        self.stop.request();
        self.join()
    }

    /// Waits for its end.
    pub(crate) fn join(self) -> (Result<Summary, ServiceError>, String) {
        await_some("the end of the program", || self.thread.is_finished().then_some(()));
        self.thread.join().unwrap()
    }
}

/// The books of a snapshot, if one could be had.
pub(crate) fn snapshot(address: SocketAddr) -> Option<Books> {
    let config = ClientConfig {
        username: Username::new("glimps").unwrap(),
        password: Password::new("glimpse").unwrap(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(5),
        login_time_max: Nanos::from_secs(5),
        heartbeat_timeout_ms: None,
        packet_len_max: 512,
        outbox_len_max: 1 << 16,
    };
    let mut session = ClientSession::new(config, Position::START);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    session.connect(now());
    let (mut books, mut decoder, mut is_whole) = (books(), Decoder::new(EpochNanos(0), 8), false);
    let mut buffer = [0; 4_096];
    while !is_whole {
        let sent = stream.write(session.pending()).unwrap();
        session.sent(sent);
        let len = stream.read(&mut buffer).ok().filter(|len| *len > 0)?;
        session.receive(&buffer[..len], now(), &mut |event| {
            let ClientEvent::Sequenced { payload, .. } = event else { return };
            if end_of_snapshot(payload).is_some() {
                is_whole = true;
                return;
            }
            let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
                assert_eq!(books.apply(&event).anomaly, None);
                Ok(())
            };
            decoder.decode(payload, EpochNanos(0), EventFlags::NONE, &mut sink).unwrap();
        });
    }
    Some(books)
}
