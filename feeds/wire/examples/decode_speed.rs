//! Nanoseconds per message: `cargo run --release -p peregrine-wire --example decode_speed -- FILE [TURNS]`, where FILE
//! holds length-prefixed ITCH 5.0 (also gzip). The file is looped in memory, which flatters the caches.

use std::hint::black_box;
use std::io::{Read, Write};
use std::time::Instant;

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Sink, SymbolId};
use peregrine_wire::itch50::Decoder;
use peregrine_wire::moldudp64::{PacketBuilder, Session};
use peregrine_wire::{ArbiterConfig, LineId, MoldFeed};

/// The events are written somewhere, as into a ring.
struct Slots {
    ring: Box<[MarketEvent; 1024]>,
    next: usize,
}

impl Sink<MarketEvent> for Slots {
    #[inline]
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.ring[self.next % 1024] = event;
        self.next = self.next.wrapping_add(1);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: decode_speed FILE [TURNS]")?;
    let turn_count: usize = std::env::args().nth(2).map_or(Ok(100), |turns| turns.parse())?;
    let raw = std::fs::read(&path)?;
    let mut bytes = Vec::new();
    if path.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(&raw[..]).read_to_end(&mut bytes)?;
    } else {
        bytes = raw;
    }
    let messages = split(&bytes);
    let packets = pack(&messages)?;
    let event = MarketEvent::new(EventKind::AddOrder, SymbolId(0), EpochNanos(0), EpochNanos(0));
    let mut slots = Slots { ring: Box::new([event; 1024]), next: 0 };
    let mut decoder = Decoder::new(EpochNanos(0), 10_000);
    let count = messages.len();
    let decode = measure(turn_count, count, || decode_all(&mut decoder, &bytes, &mut slots));
    let mut feed_of = |line_count: u8, copies: u8| -> Result<f64, Box<dyn std::error::Error>> {
        let config = ArbiterConfig { line_count, ..ArbiterConfig::default() };
        let mut feed = MoldFeed::new(config, Decoder::new(EpochNanos(0), 10_000))?;
        let mut session = 0_u32;
        Ok(measure(turn_count, count, || {
            session = session.wrapping_add(1);
            feed_all(&mut feed, &packets, (session, copies), &mut slots);
        }))
    };
    let (one, two) = (feed_of(1, 1)?, feed_of(2, 2)?);
    black_box(&slots.ring);
    let mut out = std::io::stdout().lock();
    writeln!(out, "decode {decode:.2}, feed of one line {one:.2}, of two lines {two:.2} ns per message")?;
    writeln!(out, "(minimum of three medians of {turn_count} turns over {count} messages, {} packets)", packets.len())?;
    Ok(())
}

/// Minimum of three medians, in nanoseconds per message.
fn measure(turn_count: usize, message_count: usize, mut turn: impl FnMut()) -> f64 {
    let mut median = || {
        let mut turns: Vec<u128> = (0..turn_count.max(1))
            .map(|_| {
                let start = Instant::now();
                turn();
                start.elapsed().as_nanos()
            })
            .collect();
        turns.sort_unstable();
        turns[turns.len() / 2] as f64 / message_count as f64
    };
    median().min(median()).min(median())
}

fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut messages = Vec::new();
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let Some((message, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        rest = tail;
        if !message.is_empty() {
            messages.push(message);
        }
    }
    messages
}

fn pack(messages: &[&[u8]]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let mut packets = Vec::new();
    let mut sequence = 1_u64;
    for chunk in messages.chunks(20) {
        let mut buffer = [0; 1500];
        let mut builder = PacketBuilder::new(&mut buffer, Session([0; 10]), sequence)?;
        for message in chunk {
            builder.push(message)?;
        }
        packets.push(builder.finish().to_vec());
        sequence = sequence.saturating_add(chunk.len() as u64);
    }
    Ok(packets)
}

fn decode_all(decoder: &mut Decoder, bytes: &[u8], slots: &mut Slots) {
    let mut rest = bytes;
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let Some((message, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        rest = tail;
        black_box(decoder.decode(message, EpochNanos(0), EventFlags::NONE, slots).is_ok());
    }
}

/// Every packet once per copy, in a session of its own (the name is written over each packet).
fn feed_all(feed: &mut MoldFeed, packets: &[Vec<u8>], (session, copies): (u32, u8), slots: &mut Slots) {
    let mut buffer = [0; 1500];
    for packet in packets {
        let payload = &mut buffer[..packet.len()];
        payload.copy_from_slice(packet);
        payload[..4].copy_from_slice(&session.to_be_bytes());
        for line in 0..copies {
            black_box(feed.on_packet(LineId(line), payload, EpochNanos(0), slots).is_ok());
        }
    }
}
