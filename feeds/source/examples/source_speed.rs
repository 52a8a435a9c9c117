//! Every live source under the same load, in one run: packets per second without loss, and how long after its stamp a
//! packet is handed over. Two namespaces and a veth pair of the program's own; needs root.
//!
//! `cargo run --release -p peregrine-source --example source_speed [PACKETS_PER_SECOND] [SECONDS]`
#![expect(clippy::print_stdout, reason = "a program whose output is its result")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Far, HERE, veth};
use peregrine_source::SourceError;
use peregrine_source::live::{
    LineAddress, LiveSource, PacketRingSource, RingKind, RingOptions, SocketOptions, UdpSource, XdpOptions, XdpSource,
};

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 20, 1), 30_001);
/// A packet of a busy feed: some eight messages.
const PAYLOAD_LEN: usize = 300;
/// Runs of each source and load.
const ROUNDS: usize = 3;

/// What a run came to.
struct Figures {
    sent: u64,
    received: u64,
    seconds: f64,
    /// From the sender's clock to the hand-over, in nanoseconds, sorted.
    way: Vec<u64>,
    /// From the packet's stamp to the hand-over.
    hand_over: Vec<u64>,
}

impl Figures {
    /// The median of the whole way; a run that received nothing is the worst.
    fn median(&self) -> u64 {
        self.way.get(self.way.len() / 2).copied().unwrap_or(u64::MAX)
    }
}

fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(0)
}

/// Sends `count` packets at `rate` a second (0: as fast as it goes), each with the time at which it left.
fn send(far: &Far, count: u64, rate: u64) {
    far.run(move |socket| {
        let begin = Instant::now();
        let mut payload = [0; PAYLOAD_LEN];
        for number in 0..count {
            if let Some(due) = (number * 1_000_000_000).checked_div(rate) {
                while begin.elapsed() < Duration::from_nanos(due) {
                    std::hint::spin_loop();
                }
            }
            payload[..8].copy_from_slice(&wall().to_be_bytes());
            if socket.send_to(&payload, GROUP).is_err() {
                return;
            }
        }
        // The last one, repeated, ends the run.
        payload[..8].fill(0);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(20));
            if socket.send_to(&payload, GROUP).is_err() {
                return;
            }
        }
    });
}

fn receive(source: &mut dyn LiveSource, count: u64) -> Result<Figures, SourceError> {
    let room = usize::try_from(count).unwrap_or(0);
    let (mut way, mut hand_over) = (Vec::with_capacity(room), Vec::with_capacity(room));
    let (mut begin, mut last, deadline) = (None, Instant::now(), Instant::now() + Duration::from_secs(60));
    while Instant::now() < deadline {
        if !source.advance()? {
            std::hint::spin_loop();
            continue;
        }
        let Some(packet) = source.current() else { continue };
        let now = wall();
        let left = packet.bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if left == 0 {
            break;
        }
        begin.get_or_insert_with(Instant::now);
        last = Instant::now();
        way.push(now.saturating_sub(left));
        hand_over.push(now.saturating_sub(packet.recv_time.0.cast_unsigned()));
    }
    way.sort_unstable();
    hand_over.sort_unstable();
    let seconds = begin.map_or(0.0, |begin| last.duration_since(begin).as_secs_f64());
    Ok(Figures { sent: count, received: u64::try_from(way.len()).unwrap_or(0), seconds, way, hand_over })
}

fn at(sorted: &[u64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a list that is shorter")]
    let index = (last as f64 * share) as usize;
    sorted.get(index).map_or(0.0, |nanos| *nanos as f64 / 1_000.0)
}

fn print(name: &str, load: &str, figures: &Figures) {
    let Figures { sent, received, seconds, way, hand_over } = figures;
    let rate = *received as f64 / seconds.max(1e-9);
    println!(
        "{name:<14} {load:<6} {received:>9} of {sent:>9}  {rate:>10.0}/s   way p50 {:>8.1} p99 {:>8.1} p99.9 {:>9.1} us   \
         hand-over p50 {:>8.1} p99 {:>8.1} p99.9 {:>9.1} us",
        at(way, 0.5),
        at(way, 0.99),
        at(way, 0.999),
        at(hand_over, 0.5),
        at(hand_over, 0.99),
        at(hand_over, 0.999),
    );
}

/// Every source, made when its turn comes.
fn open(name: &str) -> Result<Box<dyn LiveSource>, SourceError> {
    let line = [LineAddress { destination: GROUP, interface: HERE }];
    let ring = |kind| RingOptions { kind, ..RingOptions::default() };
    let udp = |busy_poll_us| SocketOptions { busy_poll_us, receive_buffer_len: 32 << 20, ..SocketOptions::default() };
    Ok(match name {
        "udp" => Box::new(UdpSource::open(&line, &udp(0), None)?),
        "udp busy" => Box::new(UdpSource::open(&line, &udp(50), None)?),
        "ring frames" => Box::new(PacketRingSource::open(&line, &ring(RingKind::Frames), None)?),
        "ring blocks" => Box::new(PacketRingSource::open(&line, &ring(RingKind::Blocks), None)?),
        _ => Box::new(XdpSource::open(&line, &XdpOptions::default(), None)?),
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let (rate, seconds) = (arguments.next().unwrap_or(50_000), arguments.next().unwrap_or(5));
    let far = match veth() {
        Ok(far) => far,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    println!(
        "payloads of {PAYLOAD_LEN} bytes over a veth pair; paced: {rate}/s for {seconds} s; flood: as fast as one sender goes; \
         of {ROUNDS} rounds the one with the lowest median"
    );
    for name in ["udp", "udp busy", "ring frames", "ring blocks", "af_xdp copy"] {
        for (load, count, rate) in [("paced", rate * seconds, rate), ("flood", 300_000, 0)] {
            let rounds: Result<Vec<Figures>, SourceError> =
                (0..ROUNDS).map(|_| round(&far, name, count, rate)).collect();
            match rounds {
                Ok(rounds) => {
                    if let Some(best) = rounds.iter().min_by_key(|figures| figures.median()) {
                        print(name, load, best);
                    }
                }
                Err(error) => println!("{name:<14} {load:<6} skipped: {error}"),
            }
        }
    }
}

/// One run of one source.
fn round(far: &Far, name: &str, count: u64, rate: u64) -> Result<Figures, SourceError> {
    let mut source = open(name)?;
    send(far, count, rate);
    let figures = receive(&mut *source, count);
    // The next source is not to hear the end of this run.
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    far.run(move |_| drop(done));
    assert!(is_done.recv().is_err(), "the job only hangs up");
    figures
}
