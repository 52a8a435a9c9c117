//! What the tests of this crate share: an ITCH 5.0 reader written by hand (so that the real files do not depend on the
//! decoder that the engine uses), the comparison of the twins, and where the real data is.
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part of this module")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use peregrine_book::{BookUpdate, Books, MarketBooks, NaiveBooks};
use peregrine_types::{EpochNanos, EventFlags, EventKind, Level, MarketEvent, OrderRef, Price, Qty, Side, SymbolId};

/// The real file `name` as bytes, unpacked; `None` (and one line that says so) where the data is not installed.
pub(crate) fn real_data(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("PEREGRINE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(name);
    let Ok(mut file) = File::open(&path) else {
        eprintln!("skipped: no real data at {}", path.display());
        return None;
    };
    let mut bytes = Vec::new();
    if name.ends_with(".gz") {
        GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    } else {
        file.read_to_end(&mut bytes).unwrap();
    }
    Some(bytes)
}

/// The messages of a length-prefixed file.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let [high, low, rest @ ..] = bytes {
        let (message, tail) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        all.push(message);
        bytes = tail;
    }
    all
}

fn number(message: &[u8], offset: usize, len: usize) -> u64 {
    message[offset..offset + len].iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// One ITCH 5.0 message as an event; symbols are the stock locates as they are.
pub(crate) fn event_of(message: &[u8]) -> MarketEvent {
    let at = |offset, len| number(message, offset, len);
    let price = |offset| Price::from_price4(u32::try_from(at(offset, 4)).unwrap());
    let symbol = SymbolId(u32::try_from(at(1, 2)).unwrap());
    let symbol = if symbol.0 == 0 { SymbolId::MARKET } else { symbol };
    let time = EpochNanos(i64::try_from(at(5, 6)).unwrap());
    let event = |kind| MarketEvent { flags: EventFlags::PRINTABLE, ..MarketEvent::new(kind, symbol, time, time) };
    let order = |kind| MarketEvent { id_a: at(11, 8), ..event(kind) };
    let side = || if message[19] == b'B' { Side::Buy } else { Side::Sell };
    match message[0] {
        b'S' => MarketEvent { detail: message[11], ..event(EventKind::SystemEvent) },
        b'R' => MarketEvent { qty: Qty(at(21, 4)), ..event(EventKind::StockDirectory) },
        b'H' => MarketEvent { detail: message[19], ..event(EventKind::TradingAction) },
        b'Y' => event(EventKind::RegSho),
        b'L' => event(EventKind::ParticipantPosition),
        b'A' | b'F' => {
            MarketEvent { side: side(), qty: Qty(at(20, 4)), price: price(32), ..order(EventKind::AddOrder) }
        }
        b'E' => MarketEvent { qty: Qty(at(19, 4)), ..order(EventKind::ExecuteOrder) },
        b'X' => MarketEvent { qty: Qty(at(19, 4)), ..order(EventKind::CancelOrder) },
        b'D' => order(EventKind::DeleteOrder),
        b'P' => MarketEvent { qty: Qty(at(20, 4)), price: price(32), ..order(EventKind::Trade) },
        other => panic!("the real files hold no message of type {}", char::from(other)),
    }
}

/// Both books, to be fed the same events.
pub(crate) struct Twins {
    pub(crate) naive: NaiveBooks,
    pub(crate) fast: Books,
}

impl Twins {
    pub(crate) fn new(config: peregrine_book::BookConfig) -> Self {
        Self { naive: NaiveBooks::new(config).unwrap(), fast: Books::new(config).unwrap() }
    }

    /// Applies one event to both and compares what they say about it and about its symbol; the update on agreement.
    pub(crate) fn apply(&mut self, event: &MarketEvent) -> Result<BookUpdate, String> {
        let same = |what: &str, naive: &dyn std::fmt::Debug, fast: &dyn std::fmt::Debug| {
            let (naive, fast) = (format!("{naive:?}"), format!("{fast:?}"));
            if naive == fast { Ok(()) } else { Err(format!("{what} after {event:?}:\nnaive {naive}\nfast  {fast}")) }
        };
        let update = self.naive.apply(event);
        let fast = self.fast.apply(event);
        if update != fast {
            return same("update", &update, &fast).map(|()| update);
        }
        let symbol = event.symbol;
        let (naive, fast) = (Facts::of(&self.naive, event), Facts::of(&self.fast, event));
        if naive != fast {
            return same("book", &naive, &fast).map(|()| update);
        }
        for (side, price) in [(event.side, event.price), (update.side, update.price)] {
            let (naive, fast) = (self.naive.level(symbol, side, price), self.fast.level(symbol, side, price));
            if naive != fast {
                return same("level", &naive, &fast).map(|()| update);
            }
        }
        Ok(update)
    }

    /// Compares what costs a visit of everything: hash, queues of the event's order.
    pub(crate) fn compare_all(&self, event: &MarketEvent) -> Result<(), String> {
        let (naive, fast) = (self.naive.state_hash(), self.fast.state_hash());
        if naive != fast {
            return Err(format!("state hash after {event:?}: naive {naive:x} fast {fast:x}"));
        }
        for order_ref in [event.order_ref(), event.new_order_ref()] {
            let (naive, fast) = (self.naive.queue_ahead(order_ref), self.fast.queue_ahead(order_ref));
            if naive != fast {
                return Err(format!("queue ahead of {order_ref} after {event:?}: naive {naive:?} fast {fast:?}"));
            }
            let Some(order) = self.naive.order(order_ref) else { continue };
            let mut queues = [[(OrderRef(0), order); 6]; 2];
            let [first, second] = &mut queues;
            let naive = self.naive.queue(order.symbol, order.side, order.price, first);
            let fast = self.fast.queue(order.symbol, order.side, order.price, second);
            if naive != fast || first != second {
                return Err(format!("queue after {event:?}: naive {naive} {first:?} fast {fast} {second:?}"));
            }
        }
        Ok(())
    }
}

/// What can be read of one symbol at little cost.
#[derive(Debug, PartialEq)]
struct Facts {
    top: peregrine_types::TopOfBook,
    state: peregrine_types::BookState,
    trading_state: peregrine_types::TradingState,
    round_lot: Option<Qty>,
    bids: Vec<Level>,
    asks: Vec<Level>,
    level_counts: [usize; 2],
    orders: [Option<peregrine_book::RestingOrder>; 2],
    order_count: usize,
    next_priority: peregrine_book::Priority,
    anomalies: [peregrine_book::AnomalyCounts; 2],
}

impl Facts {
    fn of(books: &impl MarketBooks, event: &MarketEvent) -> Self {
        let symbol = event.symbol;
        Self {
            top: books.top(symbol),
            state: books.state(symbol),
            trading_state: books.trading_state(symbol),
            round_lot: books.round_lot(symbol),
            bids: depth(books, symbol, Side::Buy),
            asks: depth(books, symbol, Side::Sell),
            level_counts: Side::BOTH.map(|side| books.level_count(symbol, side)),
            orders: [books.order(event.order_ref()), books.order(event.new_order_ref())],
            order_count: books.order_count(),
            next_priority: books.next_priority(),
            anomalies: [books.anomalies(), books.symbol_anomalies(symbol)],
        }
    }
}

/// The ten best levels.
pub(crate) fn depth(books: &impl MarketBooks, symbol: SymbolId, side: Side) -> Vec<Level> {
    let mut levels = [Level::default(); 10];
    let count = books.depth(symbol, side, &mut levels);
    levels[..count].to_vec()
}
