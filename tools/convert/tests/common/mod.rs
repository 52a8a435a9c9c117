//! What the tests share: where the real data is, conversions into a folder of their own, and replays of what was written.
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part of this module")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

pub(crate) mod sessions;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use peregrine_book::{BookConfig, BookUpdate, Books, MarketBooks};
use peregrine_convert::{ConvertError, Format, Lot, Plan, PriceScale, StampClock, Summary};
use peregrine_source::market::{Feed, Input, InputPlan};
use peregrine_types::{Full, Level, MarketEvent, Nanos, Side, Sink, SymbolId};
use tempfile::TempDir;

/// The real file `name`; `None` (and one line that says so) where the data is not installed.
pub(crate) fn real_data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PEREGRINE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: no real data at {}", path.display());
    None
}

/// The text of a file, unpacked.
pub(crate) fn text(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::new();
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    text
}

/// A conversion with nothing asked for.
pub(crate) fn plan(format: Format, input: &Path) -> Plan {
    Plan {
        format,
        input: input.to_path_buf(),
        date: None,
        zone: "America/New_York".to_owned(),
        symbols: Vec::new(),
        price_scale: PriceScale::default(),
        lot: None::<Lot>,
        stamp: StampClock::Receive,
        clock_bound: Nanos::from_secs(1),
        is_strict: false,
    }
}

/// A session that was written.
pub(crate) struct Written {
    pub(crate) summary: Summary,
    pub(crate) folder: TempDir,
}

impl Written {
    pub(crate) fn of(plan: &Plan) -> Result<Self, ConvertError> {
        let (summary, bytes) = peregrine_convert::convert(plan, Vec::new())?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("day.itch50"), bytes).unwrap();
        Ok(Self { summary, folder })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("day.itch50")
    }

    /// How often something was found.
    pub(crate) fn found(&self, code: &str) -> u64 {
        self.summary.findings.get(code).map_or(0, |entry| entry.count)
    }

    /// The messages between the opening and the closing ones of a session of one symbol, by type code.
    pub(crate) fn flow(&self) -> String {
        let bytes = std::fs::read(self.path()).unwrap();
        let mut rest = bytes.as_slice();
        let mut codes = String::new();
        while let [high, low, tail @ ..] = rest {
            let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            codes.extend(message.first().map(|code| char::from(*code)));
            rest = tail;
        }
        codes.strip_prefix("SRHSS").unwrap().strip_suffix("SSS").unwrap().to_owned()
    }

    pub(crate) fn replay(&self) -> Replay {
        let input = InputPlan {
            files: vec![self.path()],
            date: Some(self.summary.date.parse().unwrap()),
            zone: self.summary.zone.clone(),
            symbol_count_max: 8,
            reorder_window: Nanos(1),
            is_sequence_checked: true,
            mdp3: peregrine_source::market::Mdp3Plan::default(),
        };
        let replay = Replay::of(&input);
        assert_eq!(replay.end, peregrine_source::End::Complete);
        replay
    }
}

/// Collects events.
#[derive(Default)]
pub(crate) struct Collected(pub(crate) Vec<MarketEvent>);

impl Sink<MarketEvent> for Collected {
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.0.push(event);
        Ok(())
    }
}

/// A session through the engine's own reader and books.
pub(crate) struct Replay {
    events: Vec<MarketEvent>,
    next: usize,
    end: peregrine_source::End,
    pub(crate) books: Books,
}

impl Replay {
    pub(crate) fn of(plan: &InputPlan) -> Self {
        let mut input = Input::open(plan, &[]).unwrap();
        let mut events = Collected::default();
        while input.step(&mut events).unwrap() {}
        let decoder = match input.feed() {
            Feed::File(feed) => feed.decoder(),
            Feed::Mold(feed) => feed.decoder(),
            Feed::Mdp3(_) => unreachable!("sessions are ITCH"),
        };
        let counters = decoder.counters();
        assert_eq!((counters.malformed_count(), counters.unknown_count()), (0, 0), "{:?}", counters.malformed_last);
        assert_eq!(counters.unannounced_locate_count, 0, "every symbol is announced first");
        assert_eq!(counters.recv_time_backward_count, 0, "time never goes back");
        let end = input.source().statistics().end;
        let books = Books::new(BookConfig::new(8, 1 << 16, 1 << 16)).unwrap();
        Self { events: events.0, next: 0, end, books }
    }

    /// The next event, which is not applied yet.
    pub(crate) fn peek(&self) -> Option<&MarketEvent> {
        self.events.get(self.next)
    }

    /// Applies the next event, in which nothing may be impossible.
    pub(crate) fn step(&mut self) -> Option<(MarketEvent, BookUpdate)> {
        let event = *self.events.get(self.next)?;
        self.next += 1;
        let update = self.books.apply(&event);
        assert_eq!(update.anomaly, None, "event {}: {event:?}", self.next);
        Some((event, update))
    }

    /// Applies every event up to `time`.
    pub(crate) fn step_to(&mut self, time: i64, mut each: impl FnMut(&MarketEvent, &BookUpdate)) {
        while self.peek().is_some_and(|event| event.exch_time.0 <= time) {
            let (event, update) = self.step().unwrap();
            each(&event, &update);
        }
    }

    /// The best levels of a side.
    pub(crate) fn depth(&self, symbol: SymbolId, side: Side, count: usize) -> Vec<Level> {
        let mut levels = vec![Level::default(); count];
        let found = self.books.depth(symbol, side, &mut levels);
        levels.truncate(found);
        levels
    }
}
