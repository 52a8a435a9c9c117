//! An exchange under way on the loopback interface, and who trades and listens there.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peregrine_gateway::ouch50::*;
use peregrine_gateway::soup::*;
use peregrine_runtime::StopFlag;
use peregrine_types::{EpochNanos, Nanos};
use peregrine_venue::*;
use peregrine_wire::moldudp64::{Packet, PacketKind, Request, Session};
use zerocopy::IntoBytes;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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

pub(crate) fn now() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap())
}

/// A receiver of a line: a group of its own on the loopback interface.
pub(crate) struct Receiver {
    pub(crate) socket: UdpSocket,
    pub(crate) address: SocketAddr,
}

impl Receiver {
    pub(crate) fn join(group: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((group, 0)).unwrap();
        socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    pub(crate) fn packet(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_048];
        match self.socket.recv(&mut buffer) {
            Ok(len) => Some(buffer[..len].to_vec()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A program under way.
pub(crate) struct Venue {
    pub(crate) addresses: Addresses,
    pub(crate) stop: StopFlag,
    pub(crate) thread: JoinHandle<Result<Summary, ServerError>>,
}

/// What differs between the tests.
pub(crate) struct Plan<'a> {
    pub(crate) lines: [SocketAddr; 2],
    pub(crate) flow: &'a str,
    pub(crate) faults: &'a str,
    pub(crate) port_faults: &'a str,
    pub(crate) cancels_on_disconnect: bool,
    pub(crate) start: &'a str,
    pub(crate) speed: u32,
    pub(crate) end_ms: u32,
}

impl Plan<'_> {
    pub(crate) fn quiet() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        Self {
            lines: [nowhere; 2],
            flow: "kind = \"none\"\n[[symbol]]\nname = \"ALFA\"\nreference_price = \"10.00\"\nround_lot = 100",
            faults: "",
            port_faults: "",
            cancels_on_disconnect: false,
            start: "10:00:00",
            speed: 1,
            end_ms: 200,
        }
    }

    pub(crate) fn text(&self) -> String {
        let Self { lines: [a, b], flow, faults, port_faults, cancels_on_disconnect, start, speed, end_ms } = self;
        let port = |user: &str, firm: u32, cancels: bool, faults: &str| {
            format!(
                "[[port]]\naddress = \"127.0.0.1:0\"\nusername = \"{user}\"\npassword = \"secret\"\nfirm = {firm}\n\
                 self_trade = \"allow\"\nis_cancel_on_disconnect = {cancels}\norder_count_max = 10_000\n\
                 message_count_max = 50_000\n{faults}\n"
            )
        };
        format!(
            "[venue]\nsession = \"TESTDAY001\"\nstart = \"{start}\"\nspeed = {speed}\nis_spinning = false\n\
             [hours]\nstart_messages = \"09:24:00\"\nstart_system = \"09:25:00\"\nopen = \"09:30:00\"\n\
             close = \"10:30:00\"\nend_system = \"10:31:00\"\nend_messages = \"10:32:00\"\nlate_s = 10\n\
             [capacity]\norder_count_max = 50_000\nreference_count_max = 500_000\nlevel_count_max = 50_000\n\
             side_level_count_max = 2_000\nfeed_message_count_max = 500_000\n\
             [feed]\nline_a = \"{a}\"\nline_b = \"{b}\"\ninterface = \"127.0.0.1\"\nttl = 0\n\
             payload_len_max = 1_400\nheartbeat_ms = 50\nend_of_session_ms = {end_ms}\n\
             [retransmission]\naddress = \"127.0.0.1:0\"\n\
             [snapshot]\naddress = \"127.0.0.1:0\"\nusername = \"glimps\"\npassword = \"glimpse\"\n\
             [faults]\nseed = 7\n{faults}\n{}{}[flow]\n{flow}\n",
            port("alpha", 1, *cancels_on_disconnect, port_faults),
            port("beta", 2, false, ""),
        )
    }

    pub(crate) fn start(&self) -> Venue {
        start(&self.text())
    }
}

/// Lets an exchange of this configuration run.
pub(crate) fn start(text: &str) -> Venue {
    let settings = Settings::parse(text, Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}"));
    let server = Server::bind(&settings).unwrap();
    let (addresses, stop) = (server.addresses().clone(), StopFlag::new());
    let flag = stop.clone();
    Venue { addresses, stop, thread: std::thread::spawn(move || server.run(&flag)) }
}

impl Venue {
    pub(crate) fn stop(self) -> Summary {
        self.stop.request();
        self.thread.join().unwrap().unwrap()
    }
}

/// A client of an order port, or of the snapshot service.
pub(crate) struct Client {
    pub(crate) session: ClientSession,
    pub(crate) stream: Option<TcpStream>,
    pub(crate) heard: Vec<(u64, Vec<u8>)>,
    pub(crate) continuities: Vec<Continuity>,
    pub(crate) closed: Vec<CloseReason>,
}

impl Client {
    pub(crate) fn new(user: &str, password: &str) -> Self {
        let config = ClientConfig {
            username: Username::new(user).unwrap(),
            password: Password::new(password).unwrap(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: Nanos::from_secs(5),
            login_time_max: Nanos::from_secs(5),
            heartbeat_timeout_ms: None,
            packet_len_max: 512,
            outbox_len_max: 1 << 16,
        };
        let session = ClientSession::new(config, Position::START);
        Self { session, stream: None, heard: vec![], continuities: vec![], closed: vec![] }
    }

    pub(crate) fn connect(&mut self, address: SocketAddr) {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        self.session.connect(now());
        self.stream = Some(stream);
        self.flow();
    }

    /// Moves bytes both ways once.
    pub(crate) fn flow(&mut self) {
        let Self { session, stream, heard, continuities, closed } = self;
        let mut on_event = |event: ClientEvent<'_>| match event {
            ClientEvent::Sequenced { sequence_number, payload } => heard.push((sequence_number, payload.to_vec())),
            ClientEvent::LoggedIn { continuity, .. } => continuities.push(continuity),
            ClientEvent::Closed(reason) => closed.push(reason),
            ClientEvent::Unsequenced(_) | ClientEvent::Debug(_) => {}
        };
        let Some(socket) = stream else { return };
        let mut buffer = [0; 4_096];
        let sent = socket.write(session.pending()).unwrap_or(0);
        session.sent(sent);
        match socket.read(&mut buffer) {
            Ok(len @ 1..) => session.receive(&buffer[..len], now(), &mut on_event),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(_) | Err(_) => {
                session.disconnect(&mut on_event);
                *stream = None;
            }
        }
        session.poll(now(), &mut on_event);
    }

    pub(crate) fn log_in(&mut self, address: SocketAddr) {
        let before = self.continuities.len();
        self.connect(address);
        await_some("the login", || {
            self.flow();
            (self.continuities.len() > before).then_some(())
        });
    }

    pub(crate) fn send<B: Body>(&mut self, body: &B) {
        let mut buffer = [0; MESSAGE_LEN_MAX];
        let bytes = MessageBuilder::new(&mut buffer, body).unwrap().finish().to_vec();
        self.session.send(&bytes, now()).unwrap();
        self.flow();
    }

    /// Waits until the messages' types, from `from` on, are `types`.
    pub(crate) fn expect(&mut self, from: usize, types: &str) {
        await_some(types, || {
            self.flow();
            (self.heard.len() >= from + types.len()).then_some(())
        });
        assert_eq!(self.types(from), types);
    }

    pub(crate) fn types(&self, from: usize) -> String {
        self.heard[from..].iter().map(|(_, message)| char::from(message[0])).collect()
    }
}

/// The messages of a session, put together from packets; what is missing is asked for.
pub(crate) struct Joined {
    pub(crate) messages: BTreeMap<u64, Vec<u8>>,
    /// The number behind the last message that anybody said.
    pub(crate) next: u64,
    pub(crate) is_over: bool,
}

impl Joined {
    pub(crate) const fn new() -> Self {
        Self { messages: BTreeMap::new(), next: 1, is_over: false }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let packet = Packet::parse(bytes).unwrap();
        assert_eq!(packet.session(), Session(*b"TESTDAY001"));
        self.is_over |= packet.kind() == PacketKind::EndOfSession;
        self.next = self.next.max(packet.next_sequence_number());
        for (number, block) in (packet.sequence_number()..).zip(packet.blocks()) {
            let known = self.messages.entry(number).or_insert_with(|| block.to_vec());
            assert_eq!(known, block, "message {number} differs between packets");
        }
    }

    pub(crate) fn first_gap(&self) -> Option<(u64, u16)> {
        let first = (1..self.next).find(|number| !self.messages.contains_key(number))?;
        let end = (first..self.next).find(|number| self.messages.contains_key(number)).unwrap_or(self.next);
        Some((first, u16::try_from(end - first).unwrap_or(1_000)))
    }

    /// Asks for what is missing until nothing is. Returns how many messages came that way.
    pub(crate) fn fill(&mut self, server: SocketAddr) -> u64 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let (begin, before) = (Instant::now(), self.messages.len());
        while let Some((first, count)) = self.first_gap() {
            assert!(begin.elapsed() < PATIENCE, "message {first} never came");
            let session = Session(*b"TESTDAY001");
            let request = Request { session, sequence_number: first.into(), requested_count: count.into() };
            socket.send_to(request.as_bytes(), server).unwrap();
            let mut buffer = [0; 2_048];
            if let Ok(len) = socket.recv(&mut buffer) {
                self.take(&buffer[..len]);
            }
        }
        (self.messages.len() - before) as u64
    }

    /// The feed's hash, as the summary has it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for message in self.messages.values() {
            hasher.update(&u16::try_from(message.len()).unwrap().to_be_bytes());
            hasher.update(message);
        }
        *hasher.finalize().as_bytes()
    }
}
