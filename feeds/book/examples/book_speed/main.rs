//! Nanoseconds per ITCH message for decoding, for decoding + book + top of book, and for the same with the next
//! messages of the packet announced (`prefetch_hint`). Three loads:
//!
//! ```text
//! book_speed FILE.itch50 [ORDERS LEVELS]   a length-prefixed file, unpacked (one symbol, or interleaved copies)
//! book_speed market [MESSAGES [LIVE]]      8,000 generated symbols, LIVE (3,000,000) live orders before the clock starts
//! ```
//!
//! The generated market has the message mix of a real day (adds 48 %, deletes 42 %, executions 5 %, trades 2.4 %,
//! replaces 2 %, partial cancels 0.5 %), activity by rank as 1/rank, prices near a wandering touch, and lives that are
//! short for most orders and long for some. Pin the process; three rounds are run, and the least of their medians (over
//! parts of 10,000 messages) is shown, with the books in ordinary pages and in huge ones: what was asked for, and what the
//! host gave.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench on the command line")]

use std::hint::black_box;
use std::time::Instant;

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_runtime::{HugePageAllocator, HugePageScope, HugePageUsage, HugePages};
use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, SymbolId};
use peregrine_wire::itch50::Decoder;

#[global_allocator]
static ALLOCATOR: HugePageAllocator = HugePageAllocator;

/// Messages per packet: what a full MoldUDP64 packet of adds and deletes holds.
const BATCH_LEN: usize = 32;
/// Messages per timed part: the median of the parts is shown, so that what else the machine did is left out.
const PART_LEN: usize = 10_000;
const ROUND_COUNT: usize = 3;

struct Load {
    bytes: Vec<u8>,
    /// Length of the part that is applied before the clock starts.
    warm_len: usize,
    config: BookConfig,
}

/// The length-prefixed messages of `bytes`.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (prefix, rest) = bytes.split_first_chunk::<2>()?;
        let (message, tail) = rest.split_at_checked(usize::from(u16::from_be_bytes(*prefix)))?;
        bytes = tail;
        Some(message)
    })
}

/// `bytes` cut into parts of [`PART_LEN`] messages.
fn parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len: usize = messages(bytes).take(PART_LEN).map(|message| message.len() + 2).sum();
        let (part, rest) = bytes.split_at(len);
        bytes = rest;
        (len > 0).then_some(part)
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Decode,
    Book,
    Batch,
    Hinted,
}

struct Bench {
    decoder: Decoder,
    books: Books,
    checksum: u64,
}

impl Bench {
    #[inline]
    fn apply(&mut self, event: &MarketEvent) {
        let update = self.books.apply(event);
        self.checksum = self.checksum.wrapping_add(update.qty.0);
        if update.is_top_changed {
            let top = self.books.top(update.symbol);
            let price = top.bid.map_or(0, |level| level.price.0) ^ top.ask.map_or(0, |level| level.price.0);
            self.checksum = self.checksum.wrapping_mul(31) ^ price.cast_unsigned();
        }
    }

    #[inline]
    fn decode(&mut self, message: &[u8]) -> Option<MarketEvent> {
        let mut decoded = None;
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            decoded = Some(event);
            Ok(())
        };
        let flags = EventFlags::RECV_TIME_SYNTHETIC;
        self.decoder.decode(message, EpochNanos(0), flags, &mut sink).unwrap();
        decoded
    }

    /// Runs all of `bytes`; returns how many messages that were.
    #[inline(never)]
    fn run(&mut self, bytes: &[u8], mode: Mode) -> usize {
        let blank = MarketEvent::new(EventKind::RegSho, SymbolId(0), EpochNanos(0), EpochNanos(0));
        let mut batch = [blank; BATCH_LEN];
        let mut all = messages(bytes).peekable();
        let mut count = 0;
        while all.peek().is_some() {
            if mode == Mode::Book {
                for message in all.by_ref() {
                    count += 1;
                    if let Some(event) = self.decode(message) {
                        self.apply(&event);
                    }
                }
                break;
            }
            let mut len = 0;
            for message in all.by_ref().take(BATCH_LEN) {
                count += 1;
                if let Some(event) = self.decode(message) {
                    batch[len] = event;
                    len += 1;
                }
            }
            let events = black_box(&batch[..len]);
            if mode == Mode::Hinted {
                self.books.prefetch_hint(events);
            }
            if mode != Mode::Decode {
                events.iter().for_each(|event| self.apply(event));
            }
        }
        count
    }
}

/// Nanoseconds per message, and what the books' memory lies in.
fn measure(load: &Load, mode: Mode, pages: HugePages) -> (f64, HugePageUsage) {
    let midnight = EpochNanos(0);
    let decoder = Decoder::new(midnight, load.config.symbol_count_max);
    let scope = HugePageScope::new(pages);
    let books = Books::new(load.config).unwrap();
    let usage = scope.usage();
    drop(scope);
    let mut bench = Bench { decoder, books, checksum: 0 };
    let (warm, timed) = load.bytes.split_at(load.warm_len);
    bench.run(warm, Mode::Batch);
    let session_start = MarketEvent::new(EventKind::SessionStart, SymbolId::MARKET, midnight, midnight);
    let mut nanos = Vec::new();
    // A stream that can begin again does, with empty books; the generated market goes on from where it is.
    for _ in 0..if load.warm_len == 0 && timed.len() < 10_000_000 { 12 } else { 1 } {
        if load.warm_len == 0 {
            bench.books.apply(&session_start);
        }
        for part in parts(timed) {
            let start = Instant::now();
            let count = bench.run(part, mode);
            nanos.push(start.elapsed().as_nanos() as f64 / count as f64);
        }
    }
    nanos.sort_by(f64::total_cmp);
    let best = nanos[nanos.len() / 2];
    assert_eq!(bench.books.anomalies().total(), 0);
    assert_eq!(bench.decoder.counters().malformed_count(), 0);
    black_box(bench.checksum);
    (best, usage)
}

mod market;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u32| arguments.get(index).map_or(default, |text| text.parse().unwrap());
    let load = match arguments.first().map(String::as_str) {
        None => {
            println!("usage: book_speed FILE.itch50 [ORDERS LEVELS] | book_speed market [MESSAGES [LIVE]]");
            return;
        }
        Some("market") => market::load(number(1, 6_000_000), number(2, 3_000_000)),
        Some(path) => Load {
            bytes: std::fs::read(path).unwrap(),
            warm_len: 0,
            config: BookConfig::new(8192, number(1, 4096), number(2, 65_536)),
        },
    };
    let kinds = [HugePages::Off, HugePages::Transparent, HugePages::Reserved];
    for (name, mode) in [
        ("decode", Mode::Decode),
        ("decode + book + top, one by one", Mode::Book),
        ("decode + book + top, packets of 32", Mode::Batch),
        ("decode + book + top, packets of 32, hinted", Mode::Hinted),
    ] {
        // Round by round, so that what else the machine does meets every kind of page alike.
        let mut best = kinds.map(|_| (f64::MAX, HugePageUsage::default()));
        for _ in 0..ROUND_COUNT {
            for (best, pages) in best.iter_mut().zip(kinds) {
                let (nanos, usage) = measure(&load, mode, pages);
                *best = (nanos.min(best.0), usage);
            }
        }
        for ((nanos, usage), pages) in best.into_iter().zip(kinds) {
            let HugePageUsage { reserved_len, advised_len, .. } = usage;
            let given = format!("{} MiB reserved, {} MiB transparent", reserved_len >> 20, advised_len >> 20);
            println!("{nanos:7.1} ns  {name}; huge pages {pages:?}: {given}");
        }
    }
}
