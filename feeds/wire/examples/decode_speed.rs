//! Nanoseconds per message: `cargo run --release -p peregrine-wire --example decode_speed -- FILE`, where FILE holds
//! length-prefixed ITCH 5.0 (also gzip). The file is looped in memory, which flatters the caches.

use std::hint::black_box;
use std::io::{Read, Write};
use std::time::Instant;

use peregrine_types::{EpochNanos, EventFlags, MarketEvent};
use peregrine_wire::itch50::Decoder;

/// One cache line of a consumer: the event is written, as into a ring.
struct Slots {
    ring: Box<[MarketEvent; 1024]>,
    next: usize,
}

impl peregrine_types::Sink<MarketEvent> for Slots {
    #[inline]
    fn push(&mut self, event: MarketEvent) -> Result<(), peregrine_types::Full<MarketEvent>> {
        self.ring[self.next % 1024] = event;
        self.next = self.next.wrapping_add(1);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: decode_speed FILE")?;
    let raw = std::fs::read(&path)?;
    let mut bytes = Vec::new();
    if path.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(&raw[..]).read_to_end(&mut bytes)?;
    } else {
        bytes = raw;
    }
    let event = MarketEvent::new(
        peregrine_types::EventKind::AddOrder,
        peregrine_types::SymbolId(0),
        EpochNanos(0),
        EpochNanos(0),
    );
    let mut slots = Slots { ring: Box::new([event; 1024]), next: 0 };
    let mut decoder = Decoder::new(EpochNanos(0), 10_000);
    let mut best = f64::INFINITY;
    for _round in 0..3 {
        let mut turns: Vec<f64> = (0..200).map(|_| turn(&mut decoder, &bytes, &mut slots)).collect();
        turns.sort_by(f64::total_cmp);
        best = best.min(turns[100]);
    }
    black_box(&slots.ring);
    let mut out = std::io::stdout().lock();
    writeln!(out, "decode {best:.2} ns per message (minimum of three medians of 200 turns)")?;
    writeln!(
        out,
        "messages {}, malformed {}",
        decoder.counters().message_count(),
        decoder.counters().malformed_count()
    )?;
    Ok(())
}

fn turn(decoder: &mut Decoder, bytes: &[u8], slots: &mut Slots) -> f64 {
    let mut rest = bytes;
    let mut count = 0_u32;
    let start = Instant::now();
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let Some((message, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        rest = tail;
        let verdict = decoder.decode(message, EpochNanos(0), EventFlags::NONE, slots);
        black_box(verdict.is_ok());
        count = count.wrapping_add(1);
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count.max(1))
}
