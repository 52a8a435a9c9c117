//! Order to answer through sockets, over loopback: one client, one order port, the program's own thread.
//!
//! `cargo run --release -p peregrine-venue --example venue_wire -- [ORDERS] [spin]`
//!
//! First one order at a time: from before the write of an order to after the read of its acceptance, both sides of TCP and
//! two thread wake-ups included (`spin`: neither side sleeps). Then the same number of orders as fast as they go, from the
//! first byte to the last answer. The feed is published to a group that nobody joined.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peregrine_gateway::ouch50::{EnterOrder, MESSAGE_LEN_MAX, MessageBuilder, OuchPrice};
use peregrine_gateway::soup::{
    ClientConfig, ClientEvent, ClientSession, HEARTBEAT_INTERVAL, Password, Position, Username,
};
use peregrine_runtime::StopFlag;
use peregrine_types::{EpochNanos, Nanos, Symbol};
use peregrine_venue::{Server, Settings};

const CONFIG: &str = r#"
[venue]
session = "SPEEDDAY01"
start = "10:00:00"
speed = 1
is_spinning = SPINNING
[hours]
start_messages = "09:00:00"
start_system = "09:01:00"
open = "09:30:00"
close = "16:00:00"
end_system = "20:00:00"
end_messages = "20:05:00"
late_s = 120
[capacity]
order_count_max = 4_000_000
reference_count_max = 8_000_000
level_count_max = 10_000
side_level_count_max = 5_000
feed_message_count_max = 8_000_000
[feed]
line_a = "239.192.99.1:30001"
line_b = "239.192.99.2:30002"
interface = "127.0.0.1"
ttl = 0
payload_len_max = 1_400
heartbeat_ms = 1_000
end_of_session_ms = 0
[retransmission]
address = "127.0.0.1:0"
[snapshot]
address = "127.0.0.1:0"
username = "glimps"
password = "glimpse"
[flow]
kind = "none"
[[port]]
address = "127.0.0.1:0"
username = "speed"
password = "password"
firm = 1
self_trade = "allow"
is_cancel_on_disconnect = false
order_count_max = 4_000_000
message_count_max = 16_000_000
[[symbol]]
name = "ALFA"
reference_price = "10.00"
round_lot = 100
"#;

type Failure = Box<dyn std::error::Error>;

fn now() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

struct Client {
    session: ClientSession,
    stream: TcpStream,
    accepted: u64,
    is_active: bool,
}

impl Client {
    fn connect(address: std::net::SocketAddr) -> Result<Self, Failure> {
        let config = ClientConfig {
            username: Username::new("speed").ok_or("a user")?,
            password: Password::new("password").ok_or("a password")?,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: Nanos::from_secs(30),
            login_time_max: Nanos::from_secs(5),
            heartbeat_timeout_ms: None,
            packet_len_max: 512,
            outbox_len_max: 1 << 16,
        };
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut session = ClientSession::new(config, Position::START);
        session.connect(now());
        let mut client = Self { session, stream, accepted: 0, is_active: false };
        while !client.is_active {
            client.flow()?;
        }
        Ok(client)
    }

    fn flow(&mut self) -> Result<(), Failure> {
        let Self { session, stream, accepted, is_active } = self;
        if !session.pending().is_empty() {
            match stream.write(session.pending()) {
                Ok(count) => session.sent(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut buffer = [0; 1 << 16];
        match stream.read(&mut buffer) {
            Ok(0) => return Err("the exchange hung up".into()),
            Ok(count) => session.receive(&buffer[..count], now(), &mut |event| match event {
                ClientEvent::Sequenced { payload, .. } => *accepted += u64::from(payload.first() == Some(&b'A')),
                ClientEvent::LoggedIn { .. } => *is_active = true,
                ClientEvent::Unsequenced(_) | ClientEvent::Debug(_) | ClientEvent::Closed(_) => {}
            }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Puts an order into the session; false when there is no room yet.
    fn order(&mut self, number: u32) -> Result<bool, Failure> {
        let body = EnterOrder {
            user_ref_num: number.into(),
            side: if number.is_multiple_of(2) { b'B' } else { b'S' },
            quantity: 100.into(),
            symbol: Symbol::new("ALFA").ok_or("a symbol")?,
            price: OuchPrice::new(100_000 + 100 * u64::from(number % 3)),
            time_in_force: b'0',
            display: b'Y',
            capacity: b'P',
            iso_eligibility: b'N',
            cross_type: b'N',
            ..EnterOrder::blank()
        };
        let mut buffer = [0; MESSAGE_LEN_MAX];
        let bytes = MessageBuilder::new(&mut buffer, &body)?.finish();
        Ok(self.session.send(bytes, now()).is_ok())
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let is_spinning = arguments.next().as_deref() == Some("spin");
    let text = CONFIG.replace("SPINNING", if is_spinning { "true" } else { "false" });
    let server = Server::bind(&Settings::parse(&text, Path::new("speed"))?)?;
    let address = *server.addresses().ports.first().ok_or("a port")?;
    let stop = StopFlag::new();
    let flag = stop.clone();
    let thread = std::thread::spawn(move || server.run(&flag));
    let mut client = Client::connect(address)?;
    let mut times: Vec<Duration> = Vec::with_capacity(count as usize);
    for number in 1..=count {
        let begin = Instant::now();
        client.order(number)?;
        while client.accepted < u64::from(number) {
            client.flow()?;
        }
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1_000].as_nanos() / 1_000;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{count} orders one at a time, order to acceptance, µs:")?;
    writeln!(out, "p50 {} p99 {} p99.9 {} max {}", at(500), at(990), at(999), at(1_000))?;
    let begin = Instant::now();
    let mut number = count;
    while client.accepted < 2 * u64::from(count) {
        while number < 2 * count && client.order(number + 1)? {
            number += 1;
        }
        client.flow()?;
    }
    let per_second = f64::from(count) / begin.elapsed().as_secs_f64();
    writeln!(out, "{count} orders as fast as they go: {per_second:.0} orders/s")?;
    stop.request();
    let summary = thread.join().map_err(|_| "the exchange failed")??;
    Ok(writeln!(out, "{summary}")?)
}
