//! Sessions in memory: seeded ones from the generator, and real files when they are there.

use std::io::Read;
use std::path::{Path, PathBuf};

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_generate::{GeneratorConfig, Session, write_binary_file};
use peregrine_types::{EpochNanos, Full, MarketEvent};
use peregrine_wire::FileFeed;
use peregrine_wire::itch50::Decoder;

use crate::BenchError;

/// Seed of every generated session here.
pub const SEED: u64 = 2_026;

/// Length-prefixed ITCH 5.0 messages in memory.
#[derive(Clone, Debug)]
pub struct LoadedSession {
    /// What it is, for tables.
    pub name: String,
    bytes: Vec<u8>,
    message_count: usize,
    symbol_count: u32,
    live_orders_max: u32,
    midnight: EpochNanos,
}

impl LoadedSession {
    /// A generated regular day of `symbol_count` symbols and about `message_count` messages (at least 30 per symbol).
    ///
    /// # Errors
    /// What the generator says of an impossible count.
    pub fn generated(symbol_count: u32, message_count: u64) -> Result<Self, BenchError> {
        let config =
            GeneratorConfig { symbol_count, message_count, has_rare_messages: false, ..GeneratorConfig::demo(SEED) };
        let midnight = config.midnight;
        let mut bytes = Vec::new();
        let report = write_binary_file(&mut Session::new(config)?, &mut bytes)?;
        Ok(Self {
            name: if symbol_count == 1 {
                "generated, 1 symbol".to_owned()
            } else {
                format!("generated, {symbol_count} symbols")
            },
            bytes,
            message_count: usize::try_from(report.message_count())?,
            symbol_count,
            live_orders_max: report.live_orders_max,
            midnight,
        })
    }

    /// The real hour of one share, re-encoded as ITCH 5.0, from `$PEREGRINE_DATA` or `../shared/data`; `None` after one
    /// line that says it is missing. It is never needed, and its times count from an unknown midnight.
    ///
    /// # Errors
    /// What reading or unpacking it says.
    pub fn real() -> Result<Option<Self>, BenchError> {
        let root = std::env::var_os("PEREGRINE_DATA")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
        let path = root.join("itch/aapl_20120621_0930_1030_reencoded.itch50.gz");
        if !path.exists() {
            eprintln!("skipped: no real data at {}", path.display());
            return Ok(None);
        }
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(path)?).read_to_end(&mut bytes)?;
        let message_count = messages(&bytes).count();
        let name = "AAPL 2012-06-21 09:30-10:30, re-encoded".to_owned();
        let midnight = EpochNanos(0);
        let mut session = Self { name, bytes, message_count, symbol_count: 1, live_orders_max: 1 << 17, midnight };
        session.live_orders_max = session.count_live_orders()?;
        Ok(Some(session))
    }

    /// Orders alive at once, at most, by books that are large enough for any answer.
    fn count_live_orders(&self) -> Result<u32, BenchError> {
        let mut books = self.books()?;
        let counts = self.events().into_iter().map(|event| {
            books.apply(&event);
            books.order_count()
        });
        Ok(u32::try_from(counts.max().unwrap_or(0))?)
    }

    /// Every message, without its length.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        messages(&self.bytes)
    }

    /// The file's bytes: length and message, over and over.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many messages there are.
    #[must_use]
    pub const fn message_count(&self) -> usize {
        self.message_count
    }

    /// How many symbols.
    #[must_use]
    pub const fn symbol_count(&self) -> u32 {
        self.symbol_count
    }

    /// Orders alive at once, at most.
    #[must_use]
    pub const fn live_orders_max(&self) -> u32 {
        self.live_orders_max
    }

    /// Midnight of the session's date: times count from it.
    #[must_use]
    pub const fn midnight(&self) -> EpochNanos {
        self.midnight
    }

    /// A feed that has read nothing yet.
    #[must_use]
    pub fn feed(&self) -> FileFeed {
        FileFeed::new(Decoder::new(self.midnight, self.symbol_count.saturating_add(1)))
    }

    /// Empty books that are large enough.
    ///
    /// # Errors
    /// What the books say of impossible capacities.
    pub fn books(&self) -> Result<Books, BenchError> {
        Ok(Books::new(self.book_config())?)
    }

    /// Capacities that are large enough: room for twice the orders, and a level for each.
    #[must_use]
    pub fn book_config(&self) -> BookConfig {
        let orders = self.live_orders_max.saturating_mul(2).clamp(1 << 14, BookConfig::ORDER_COUNT_LIMIT);
        let levels = orders.saturating_add(self.symbol_count.saturating_mul(128)).min(BookConfig::LEVEL_COUNT_LIMIT);
        BookConfig {
            is_unknown_state_tradable: true,
            ..BookConfig::new(self.symbol_count.saturating_add(1), orders, levels)
        }
    }

    /// Every market event.
    #[must_use]
    pub fn events(&self) -> Vec<MarketEvent> {
        let (mut feed, mut events) = (self.feed(), Vec::with_capacity(self.message_count));
        for message in self.messages() {
            let mut keep = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
                events.push(event);
                Ok(())
            };
            assert!(feed.on_message(message, None, &mut keep).is_ok(), "the list always has room");
        }
        events
    }
}

/// The messages of length-prefixed bytes, up to the end-of-session record.
#[inline]
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        let (message, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = tail;
        (!message.is_empty()).then_some(message)
    })
}
