//! Features over real sessions, fast books and incremental features against the naive twins.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_decide::{DEFINITIONS, FeatureConfig, FeatureEngine, FeatureVector, NaiveFeatures};
use peregrine_types::{EpochNanos, EventFlags, Full, MarketEvent, Price, SymbolId};
use peregrine_wire::itch50::Decoder;

/// The events of a length-prefixed file; `None` (and one line that says so) where the data is not installed.
fn events(name: &str) -> Option<Vec<MarketEvent>> {
    let root = std::env::var_os("PEREGRINE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(name);
    let Ok(mut file) = File::open(&path) else {
        eprintln!("skipped: no real data at {}", path.display());
        return None;
    };
    let mut bytes = Vec::new();
    let read =
        if name.ends_with(".gz") { GzDecoder::new(file).read_to_end(&mut bytes) } else { file.read_to_end(&mut bytes) };
    read.expect("the file can be read");
    let mut decoder = Decoder::new(EpochNanos(0), 100);
    let mut events = Vec::new();
    let mut rest = bytes.as_slice();
    while let [high, low, tail @ ..] = rest {
        let (message, next) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        decoder.decode(message, EpochNanos(0), EventFlags::RECV_TIME_SYNTHETIC, &mut sink).expect("the sink has room");
        rest = next;
    }
    Some(events)
}

fn config(open_ns: i64, close_ns: i64) -> FeatureConfig {
    FeatureConfig { tick: Price(10_000_000), session_open: EpochNanos(open_ns), session_close: EpochNanos(close_ns) }
}

/// Plays a file; every `stride`-th vector is held against the twin, all are finite. How many were held, and the last.
fn hold(name: &str, config: FeatureConfig, stride: usize, event_count_max: usize) -> Option<(usize, FeatureVector)> {
    let events = events(name)?;
    let books_config = BookConfig { is_unknown_state_tradable: true, ..BookConfig::new(100, 200_000, 100_000) };
    let mut books = Books::new(books_config).expect("the capacities are legal");
    let symbol = events.iter().map(|e| e.symbol).find(|s| *s != SymbolId::MARKET).expect("the file has a symbol");
    let mut engine = FeatureEngine::new(config, 100, 1);
    let slot = engine.watch(symbol).expect("there is room");
    let mut naive = NaiveFeatures::new();
    let (mut held, mut last) = (0, [0.0; 32]);
    for event in events.iter().take(event_count_max) {
        let update = books.apply(event);
        if engine.on_event(event, &update, &books).is_none() {
            continue;
        }
        naive.on_event(event, &update, &books);
        last = engine.vector(slot).expect("the slot was given");
        assert!(last.iter().all(|value| value.is_finite()));
        let count = naive.event_count();
        if count.is_multiple_of(stride) {
            let want = naive.vector_at(count - 1, &config);
            for ((got, want), definition) in last.iter().zip(&want).zip(&DEFINITIONS) {
                let allowed = 1e-6 * want.abs().max(1e-3);
                let difference = (f64::from(*got) - want).abs();
                assert!(difference <= allowed, "{name}, event {count}, {}: {got} against {want}", definition.name);
            }
            held += 1;
        }
    }
    Some((held, last))
}

const HOUR_NS: i64 = 3_600_000_000_000;

#[test]
fn genuine_itch_session() {
    let config = config(4 * HOUR_NS, 20 * HOUR_NS);
    if let Some((held, last)) = hold("itch/aapl_20200130_premarket_5000.itch50", config, 97, usize::MAX) {
        assert!(held >= 50, "{held} vectors were held against the twin");
        assert!(last[0] > 0.0, "the session ends two-sided");
    }
}

#[test]
fn reencoded_lobster_hour() {
    let config = config(9 * HOUR_NS + HOUR_NS / 2, 16 * HOUR_NS);
    if let Some((held, _)) = hold("itch/aapl_20120621_0930_1030_reencoded.itch50.gz", config, 1_009, 12_000) {
        assert!(held >= 10, "{held} vectors were held against the twin");
    }
}
