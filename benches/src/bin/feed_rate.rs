//! Sustained feed: `cargo run --release -p peregrine-benches --bin feed_rate -- --engine target/release/peregrine` (as root).
//!
//! Two namespaces and a veth pair of the program's own. A sender on one core paces a generated session as MoldUDP64 packets; a
//! receiver on another core turns them into books: source, arbiter, decoder, book, by every source in turn. Searched is the
//! highest rate at which every message arrives in the books; then a base rate with bursts of ten times it, and
//! `peregrine capture` at the highest rate of the UDP source. Beside the public peaks of the exchanges.
//!
//! `--source` names the ways, with commas; `--seconds` a run's length (2); `--hold` how long the rate that was found is then
//! kept up in one piece, a twentieth less after each such run that lost anything (0: not at all); `--payload` bytes of a
//! packet at most (1,400); `--record FILE` appends what is printed.
#![expect(clippy::print_stdout, reason = "a table is what the program is for")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use peregrine_benches::BenchError;
use peregrine_benches::hops::pin;
use peregrine_benches::host::Machine;
use peregrine_benches::session::LoadedSession;
use peregrine_benches::wire::echo::Received;
use peregrine_benches::wire::veth::{ENGINE, VENUE, Veth};
use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_runtime::system_now;
use peregrine_source::live::{
    LineAddress, LiveInput, LivePlan, LiveStep, RingOptions, SocketOptions, SourceKind, XdpOptions,
};
use peregrine_types::{EpochNanos, Full, MarketEvent};
use peregrine_wire::moldudp64::{PacketBuilder, Session};

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 10, 10), 30_902);
const SYMBOLS: u32 = 100;
const MESSAGES: u64 = 2_000_000;
/// How long a receiver hears nothing before its run is over.
const SILENCE: Duration = Duration::from_millis(700);
/// The busiest second of the UTP quote feed in 2024, and a line's share of the busiest ten milliseconds of OPRA in 2015.
const UTP_PEAK: f64 = 403_572.0;
const OPRA_LINE_PEAK: f64 = 234_000.0;
/// Runs at falling rates until one is kept up.
const HOLD_TRIES: i32 = 4;
const USAGE: &str = "usage: feed_rate [--engine PATH-OF-PEREGRINE] [--source udp,packet_ring,xdp] [--seconds N] [--hold N] \
                     [--payload N] [--record FILE]";

fn main() -> Result<(), BenchError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["send", payload] => send_all(payload.parse()?),
        ["receive", way, orders] => receive(Received::from_name(way).ok_or(USAGE)?, orders.parse()?),
        _ => measure(&words),
    }
}

// ---- the sender ---------------------------------------------------------------------------------------------------------

/// The session as packets, one behind the other.
struct Packets {
    bytes: Vec<u8>,
    /// Where each packet ends, and how many messages it has.
    ends: Vec<(usize, u64)>,
}

fn packets(session: &LoadedSession, payload: usize) -> Result<Packets, BenchError> {
    let (mut bytes, mut ends, mut number) = (Vec::new(), Vec::new(), 1);
    let mut buffer = vec![0; payload];
    let mut messages = session.messages().peekable();
    while messages.peek().is_some() {
        let mut builder = PacketBuilder::new(&mut buffer, Session(*b"FEEDRATE00"), number)?;
        let mut count = 0;
        while let Some(message) = messages.peek() {
            if builder.push(message).is_err() {
                break;
            }
            messages.next();
            count += 1;
        }
        if count == 0 {
            return Err("a packet is too short for a message".into());
        }
        bytes.extend_from_slice(builder.finish());
        ends.push((bytes.len(), count));
        number += count;
    }
    Ok(Packets { bytes, ends })
}

/// A process: says how large the books must be, and then for every line `RATE SECONDS BURST` sends so many messages a second,
/// in every second a tenth of it at BURST times the rate, and says what it sent. Every lap of the session has another name.
fn send_all(payload: usize) -> Result<(), BenchError> {
    let session = LoadedSession::generated(SYMBOLS, MESSAGES)?;
    let mut packets = packets(&session, payload)?;
    let cores = peregrine_runtime::available_cores();
    pin(cores.get(1).copied().unwrap_or(0));
    let socket = UdpSocket::bind(SocketAddrV4::new(VENUE, 0))?;
    println!("orders {}", session.live_orders_max().saturating_mul(2).max(1 << 14));
    let mut lap = 0_u32;
    for line in std::io::stdin().lines() {
        let line = line?;
        let [rate, seconds, burst] = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?[..] else {
            return Err(USAGE.into());
        };
        let (packet_count, message_count, elapsed) = send(&socket, &mut packets, (rate, seconds, burst), &mut lap)?;
        println!("{packet_count} {message_count} {elapsed:.3}");
    }
    Ok(())
}

/// Seconds into a run when so many messages are due: in every second nine tenths at `rate`, then a tenth at `burst` times it.
fn due(messages: f64, rate: f64, burst: f64) -> f64 {
    let (calm, whole) = (0.9 * rate, rate * (0.9 + 0.1 * burst));
    let second = (messages / whole).floor();
    let rest = messages - second * whole;
    second + if rest <= calm { rest / rate } else { 0.9 + (rest - calm) / (rate * burst) }
}

fn send(
    socket: &UdpSocket,
    packets: &mut Packets,
    (rate, seconds, burst): (f64, f64, f64),
    lap: &mut u32,
) -> Result<(u64, u64, f64), BenchError> {
    let begin = Instant::now();
    let (mut packet_count, mut message_count) = (0_u64, 0_u64);
    loop {
        *lap += 1;
        let mut start = 0;
        for (end, count) in &packets.ends {
            let at = due(message_count as f64, rate, burst);
            if at >= seconds {
                // What was sent last is said again by heartbeats, so that a loss at the end shows.
                let mut beat = packets.bytes.get(start..start + 18).ok_or("no packet")?.to_vec();
                beat.extend([0, 0]);
                let elapsed = begin.elapsed().as_secs_f64();
                for _ in 0..3 {
                    std::thread::sleep(Duration::from_millis(20));
                    socket.send_to(&beat, GROUP)?;
                }
                return Ok((packet_count, message_count, elapsed));
            }
            let packet = packets.bytes.get_mut(start..*end).ok_or("no packet")?;
            let name = format!("{:08}", *lap);
            packet.get_mut(..8).ok_or("no packet")?.copy_from_slice(name.as_bytes());
            while begin.elapsed().as_secs_f64() < at {
                std::hint::spin_loop();
            }
            socket.send_to(packet, GROUP)?;
            (packet_count, message_count, start) = (packet_count + 1, message_count + count, *end);
        }
    }
}

// ---- the receiver -------------------------------------------------------------------------------------------------------

/// A process: says when it listens, and when nothing has come for a while what it got.
fn receive(way: Received, orders: u32) -> Result<(), BenchError> {
    let cores = peregrine_runtime::available_cores();
    let mut plan = LivePlan::new(vec![LineAddress { destination: GROUP, interface: ENGINE }], SYMBOLS + 1);
    plan.socket = SocketOptions { receive_buffer_len: 32 << 20, batch_len: 256, ..SocketOptions::default() };
    plan.source = match way {
        Received::Udp => SourceKind::Udp,
        Received::PacketRing => SourceKind::PacketRing(RingOptions::default()),
        Received::Xdp => SourceKind::Xdp(XdpOptions::default()),
    };
    let mut input = LiveInput::open(&plan, &[])?;
    let config = BookConfig {
        is_unknown_state_tradable: true,
        ..BookConfig::new(SYMBOLS + 1, orders, orders.saturating_add(SYMBOLS * 128))
    };
    let mut books = Books::new(config)?;
    pin(cores.first().copied().unwrap_or(0));
    println!("ready");
    let (mut last, mut begin, mut end) = (Instant::now(), None::<Instant>, Instant::now());
    let (mut anomalies, mut lag_max, mut newest) = (0_u64, 0_i64, None::<EpochNanos>);
    let patience = Duration::from_secs(20);
    while last.elapsed() < if begin.is_some() { SILENCE } else { patience } {
        let now = system_now();
        // How far behind the last packet's stamp its last message was in the book.
        if let Some(stamp) = newest.take() {
            lag_max = lag_max.max(now.since(stamp).0);
        }
        let step = input.step(now, &mut |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            anomalies += u64::from(books.apply(&event).anomaly.is_some());
            newest = Some(event.recv_time);
            Ok(())
        })?;
        match step {
            LiveStep::Worked => {
                last = Instant::now();
                if newest.is_some() {
                    begin.get_or_insert(last);
                    end = last;
                }
            }
            LiveStep::Idle => std::hint::spin_loop(),
            LiveStep::Ended => break,
        }
    }
    let counters = input.counters();
    let feed = input.feed();
    let messages = feed.decoder().counters().message_count();
    let elapsed = begin.map_or(0.0, |begin| end.duration_since(begin).as_secs_f64());
    let lost = feed.arbiter().lost().message_count();
    println!(
        "{messages} {lost} {} {anomalies} {lag_max} {elapsed:.3}",
        counters.kernel_drop_count + counters.oversize_count
    );
    Ok(())
}

// ---- who measures -------------------------------------------------------------------------------------------------------

struct Wish {
    engine: Option<PathBuf>,
    sources: Vec<Received>,
    seconds: f64,
    hold: f64,
    payload: usize,
    record: Option<PathBuf>,
}

fn wish(words: &[String]) -> Result<Wish, BenchError> {
    let mut wish =
        Wish { engine: None, sources: Received::ALL.to_vec(), seconds: 2.0, hold: 0.0, payload: 1_400, record: None };
    let mut words = words.iter();
    while let Some(key) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match key.as_str() {
            "--engine" => wish.engine = Some(std::path::absolute(value)?),
            "--source" => {
                let ways: Option<Vec<Received>> = value.split(',').map(Received::from_name).collect();
                wish.sources = ways.ok_or(USAGE)?;
            }
            "--seconds" => wish.seconds = value.parse()?,
            "--hold" => wish.hold = value.parse()?,
            "--payload" => wish.payload = value.parse()?,
            "--record" => wish.record = Some(std::path::absolute(value)?),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(wish)
}

/// A process of this program in a namespace, and what it says.
struct Helper {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Helper {
    fn spawn(space: &str, words: &[&str]) -> Result<Self, BenchError> {
        let program = std::env::current_exe()?;
        let mut child =
            Veth::within(space, &program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let to = child.stdin.take();
        Ok(Self { child, to, from })
    }

    fn line(&mut self) -> Result<String, BenchError> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err("a process of this program broke off".into());
        }
        Ok(line.trim().to_owned())
    }

    fn tell(&mut self, line: &str) -> Result<(), BenchError> {
        let to = self.to.as_mut().ok_or("no pipe")?;
        writeln!(to, "{line}")?;
        Ok(to.flush()?)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.to.take());
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap_or_default();
            self.child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// What one run came to.
#[derive(Clone, Copy, Debug)]
struct Figures {
    sent: f64,
    packets: f64,
    seconds: f64,
    received: f64,
    dropped: f64,
    lag_max: f64,
    /// The sender could not do more.
    is_sender_spent: bool,
}

impl Figures {
    fn rate(&self) -> f64 {
        self.sent / self.seconds.max(1e-9)
    }

    fn is_whole(&self) -> bool {
        self.received.to_bits() == self.sent.to_bits()
    }
}

fn numbers(line: &str) -> Result<Vec<f64>, BenchError> {
    Ok(line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?)
}

struct Bench {
    veth: Veth,
    sender: Helper,
    orders: String,
}

impl Bench {
    fn run(&mut self, way: Received, (rate, seconds, burst): (f64, f64, f64)) -> Result<Figures, BenchError> {
        let mut receiver = Helper::spawn(&self.veth.engine, &["receive", way.name(), &self.orders])?;
        if receiver.line()? != "ready" {
            return Err("the receiver does not listen".into());
        }
        self.sender.tell(&format!("{rate} {seconds} {burst}"))?;
        let sent = numbers(&self.sender.line()?)?;
        let got = numbers(&receiver.line()?)?;
        let ([packets, sent, seconds], [received, _, dropped, _, lag_max, _]) = (&sent[..], &got[..]) else {
            return Err("a process of this program speaks otherwise".into());
        };
        Ok(Figures {
            sent: *sent,
            packets: *packets,
            seconds: *seconds,
            received: *received,
            dropped: *dropped,
            lag_max: *lag_max,
            is_sender_spent: sent / seconds.max(1e-9) < 0.95 * rate,
        })
    }

    /// The highest rate without loss, within a twentieth: three runs in a row lose nothing at it.
    fn search(&mut self, way: Received, seconds: f64) -> Result<Option<Figures>, BenchError> {
        let (mut low, mut high, mut best) = (0.0, None::<f64>, None);
        let mut rate = 1_000_000.0;
        for _ in 0..14 {
            let figures = self.run(way, (rate, seconds, 1.0))?;
            if figures.is_whole() {
                (low, best) = (figures.rate(), Some(figures));
                // A sender that does not keep up has said what it can.
                if figures.is_sender_spent {
                    break;
                }
            } else {
                high = Some(rate);
            }
            let next = high.map_or(low * 1.6, |high| f64::midpoint(low, high));
            if high.is_some_and(|high| high - low < 0.05 * high) {
                break;
            }
            rate = next.max(10_000.0);
        }
        let mut confirmed = best;
        for _ in 0..10 {
            let Some(figures) = confirmed else { break };
            let again: Result<Vec<Figures>, BenchError> =
                (0..3).map(|_| self.run(way, (figures.rate(), seconds, 1.0))).collect();
            let again = again?;
            if again.iter().all(Figures::is_whole) {
                let least = again.into_iter().min_by(|a, b| a.rate().total_cmp(&b.rate()));
                return Ok(least.map(|least| Figures { is_sender_spent: figures.is_sender_spent, ..least }));
            }
            confirmed = Some(Figures { seconds: figures.seconds * 1.1, ..figures });
        }
        Ok(None)
    }

    /// Keeps `rate` up for so many seconds in one piece, a twentieth less after each run that lost anything.
    fn hold(&mut self, way: Received, rate: f64, seconds: f64) -> Result<String, BenchError> {
        let mut lost = Vec::new();
        for step in 0..HOLD_TRIES {
            let figures = self.run(way, (rate * 0.95_f64.powi(step), seconds, 1.0))?;
            if figures.is_whole() {
                let (rate, lag) = (figures.rate(), figures.lag_max / 1e6);
                let before = if lost.is_empty() { String::new() } else { format!("; before: {}", lost.join(", ")) };
                return Ok(format!("{rate:.0} for {:.0} s, longest lag {lag:.2} ms{before}", figures.seconds));
            }
            lost.push(format!(
                "{:.0} of {:.0} lost at {:.0}",
                figures.sent - figures.received,
                figures.sent,
                figures.rate()
            ));
        }
        Ok(format!("none without loss: {}", lost.join(", ")))
    }

    /// `peregrine capture` while the sender goes at `rate`; packets sent, packets recorded.
    fn capture(&mut self, engine: &Path, rate: f64, seconds: f64) -> Result<(f64, f64), BenchError> {
        let folder = tempfile::tempdir()?;
        let span = format!("{:.0}", seconds.ceil() + 3.0);
        let child = Veth::within(&self.veth.engine, engine)
            .args(["capture", "--json", "--line", &GROUP.to_string(), "--interface", &ENGINE.to_string()])
            .args(["--socket-mib", "32", "--ring-mib", "512", "--seconds", &span, "--out"])
            .arg(folder.path().join("feed.pcapng"))
            .stdout(Stdio::piped())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(1_000));
        self.sender.tell(&format!("{rate} {seconds} 1"))?;
        let sent = numbers(&self.sender.line()?)?;
        let said = String::from_utf8(child.wait_with_output()?.stdout)?;
        // The first "packets" of the answer is the recording's; three heartbeats are in it.
        let found =
            said.lines().find_map(|line| line.trim().strip_prefix("\"packets\": ")?.trim_end_matches(',').parse().ok());
        let recorded: f64 = found.ok_or("peregrine capture says nothing of packets")?;
        Ok((sent.first().copied().unwrap_or(0.0), (recorded - 3.0).max(0.0)))
    }
}

/// Says every part as soon as it is known, to the record too.
struct Report(Option<PathBuf>);

impl Report {
    fn say(&self, part: &str) -> Result<(), BenchError> {
        println!("{part}");
        if let Some(path) = &self.0 {
            writeln!(OpenOptions::new().create(true).append(true).open(path)?, "{part}")?;
        }
        Ok(())
    }
}

/// The row of a source.
fn row(way: Received, found: Option<Figures>, burst: Figures, held: &str) -> String {
    let burst = if burst.is_whole() {
        format!("nothing lost, longest lag {:.2} ms", burst.lag_max / 1e6)
    } else {
        let (lost, sent, dropped) = (burst.sent - burst.received, burst.sent, burst.dropped);
        format!("{lost:.0} of {sent:.0} messages lost; {dropped:.0} packets dropped on the way to the source")
    };
    match found {
        Some(figures) => format!(
            "| {} | {}{:.0} | {:.0} | {:.1} × | {:.1} × | {:.2} | {burst} | {held} |",
            way.name(),
            if figures.is_sender_spent { "the sender can no more: at least " } else { "" },
            figures.rate(),
            figures.packets / figures.seconds.max(1e-9),
            figures.rate() / UTP_PEAK,
            figures.rate() / OPRA_LINE_PEAK,
            figures.lag_max / 1e6
        ),
        None => format!("| {} | none was found | | | | | {burst} | |", way.name()),
    }
}

fn measure(words: &[String]) -> Result<(), BenchError> {
    let wish = wish(words)?;
    let veth = Veth::new()?;
    let mut sender = Helper::spawn(&veth.venue, &["send", &wish.payload.to_string()])?;
    let orders = sender.line()?.strip_prefix("orders ").ok_or("the sender speaks otherwise")?.to_owned();
    let mut bench = Bench { veth, sender, orders };
    let report = Report(wish.record);
    report.say(&format!(
        "## Sustained feed over a veth pair\n\n{}- {SYMBOLS} symbols, packets of at most {} bytes, runs of {} s; the sender on one \
         core, source, arbiter, decoder and book on the other\n- public peaks: UTP quotes 403,572 messages/s (2024, one second), \
         ten times that 4.04 M; an OPRA line 0.234 M (2015, ten milliseconds), ten times that 2.34 M\n\n\
         | source | highest rate without loss, messages/s | packets/s | to the UTP peak | to the OPRA line | longest lag, ms | \
         base of 403,572/s, a tenth of each second at ten times it | kept up in one piece, messages/s |\n\
         |---|--:|--:|--:|--:|--:|---|---|",
        Machine::here().describe(0),
        wish.payload,
        wish.seconds
    ))?;
    let mut udp = None;
    for way in &wish.sources {
        let found = bench.search(*way, wish.seconds)?;
        let burst = bench.run(*way, (UTP_PEAK, wish.seconds.max(3.0), 10.0))?;
        let held = match found {
            Some(figures) if wish.hold > 0.0 => bench.hold(*way, figures.rate(), wish.hold)?,
            _ => "not asked for".to_owned(),
        };
        report.say(&row(*way, found, burst, &held))?;
        if *way == Received::Udp {
            udp = found;
        }
    }
    if let (Some(engine), Some(figures)) = (&wish.engine, udp) {
        let (sent, recorded) = bench.capture(engine, figures.rate(), wish.seconds)?;
        report.say(&format!(
            "\n`peregrine capture` at the UDP source's rate ({:.0} messages/s): {recorded:.0} of {sent:.0} packets recorded.",
            figures.rate()
        ))?;
    }
    report.say("")
}
