//! The engine's own way from packets to books, and what must be equal.

use std::collections::{BTreeMap, HashMap};

use peregrine_book::{BookConfig, Books, MarketBooks, RestingOrder};
use peregrine_types::{
    EpochNanos, EventKind, Level, MarketEvent, OrderRef, Price, Qty, Side, Symbol, SymbolId, TradingState,
};
use peregrine_wire::mdp3::{Depth, Mdp3Config, Mdp3Decoder};
use peregrine_wire::{ArbiterConfig, LineId, Mdp3Feed};

use super::exchange::{Book, INSTRUMENTS, Order, START};
use super::twin::Twin;

pub(crate) struct Engine {
    depth: Depth,
    pub(crate) feed: Mdp3Feed,
    books: Books,
    /// The exchange's number of the order that a reference stands for.
    ids: HashMap<u64, u64>,
    /// Price and quantity of what was printed, by symbol and number of the trade.
    prints: BTreeMap<(SymbolId, u64), (i64, u64)>,
    pub(crate) kinds: HashMap<EventKind, u64>,
    time: i64,
}

pub(crate) fn decoder(depth: Depth) -> Mdp3Decoder {
    Mdp3Decoder::new(Mdp3Config { instrument_count_max: 16, order_count_max: 1 << 12, depth })
}

pub(crate) fn feed(depth: Depth, line_count: u8) -> Mdp3Feed {
    let config = ArbiterConfig { line_count, history_message_count: 1 << 12, ..ArbiterConfig::default() };
    Mdp3Feed::new(config, decoder(depth)).unwrap()
}

fn displayed(instrument: usize, price: i64) -> i64 {
    price / 1_000_000_000 * INSTRUMENTS[instrument].2
        + price % 1_000_000_000 * INSTRUMENTS[instrument].2 / 1_000_000_000
}

impl Engine {
    pub(crate) fn new(depth: Depth) -> Self {
        Self {
            depth,
            feed: feed(depth, 1),
            books: Books::new(BookConfig::new(16, 1 << 12, 1 << 12)).unwrap(),
            ids: HashMap::new(),
            prints: BTreeMap::new(),
            kinds: HashMap::new(),
            time: START.cast_signed(),
        }
    }

    pub(crate) fn packet(&mut self, payload: &[u8]) {
        let mut events: Vec<MarketEvent> = Vec::new();
        self.time += 1_000;
        let mut sink = |event| {
            events.push(event);
            Ok(())
        };
        self.feed.on_packet(LineId::A, payload, EpochNanos(self.time), &mut sink).unwrap();
        events.iter().for_each(|event| self.apply(event));
    }

    pub(crate) fn apply(&mut self, event: &MarketEvent) {
        *self.kinds.entry(event.kind).or_default() += 1;
        if event.kind == EventKind::AddOrder {
            self.ids.insert(event.id_a, event.id_a);
        }
        if event.kind == EventKind::ReplaceOrder {
            let id = self.ids[&event.id_a];
            assert_eq!(self.ids.insert(event.id_b, id), None, "a new reference is new");
        }
        let update = self.books.apply(event);
        assert_eq!(update.anomaly, None, "{event:?}");
        let key = (event.symbol, event.id_b);
        if event.kind == EventKind::BrokenTrade {
            assert!(self.prints.remove(&key).is_some_and(|print| print.1 > 0), "what is broken was printed");
        }
        if let Some(trade) = update.trade.filter(|trade| trade.is_printable) {
            let print = self.prints.entry(key).or_insert((trade.price.0, 0));
            assert_eq!(print.0, trade.price.0, "one trade has one price");
            print.1 += trade.qty.0;
        }
    }

    fn symbol(&self, instrument: usize) -> Option<SymbolId> {
        let (id, name, _) = INSTRUMENTS[instrument];
        let name = Symbol::new(name.unwrap_or(&id.to_string())).unwrap();
        self.feed.decoder().symbols().id(name)
    }

    /// The books are those of the exchange.
    pub(crate) fn equal(&self, books: &[Book]) {
        for (instrument, book) in books.iter().enumerate() {
            let Some(symbol) = self.symbol(instrument) else {
                assert!(book.orders.is_empty() && book.prints.is_empty());
                assert!(self.depth == Depth::Orders || book.implied.iter().all(Vec::is_empty));
                continue;
            };
            let prints = self.prints.range((symbol, 0)..=(symbol, u64::MAX));
            let prints: BTreeMap<u32, (i64, u64)> =
                prints.map(|((_, id), print)| (u32::try_from(*id).unwrap(), *print)).collect();
            let theirs = book.prints.iter().map(|(id, (price, qty))| (*id, (displayed(instrument, *price), *qty)));
            assert_eq!(prints, theirs.collect(), "prints of {instrument}");
            assert_eq!(self.books.trading_state(symbol), state_of(book.status), "state of {instrument}");
            for side in Side::BOTH {
                match self.depth {
                    Depth::Orders => assert_eq!(
                        self.queue(symbol, side),
                        book.queue(side).iter().map(|order| shown(instrument, order)).collect::<Vec<_>>(),
                        "{side:?} of {instrument}"
                    ),
                    Depth::Levels => {
                        assert_eq!(self.levels(symbol, side), told(instrument, book, side), "{side:?} of {instrument}");
                    }
                }
            }
        }
        if self.depth == Depth::Orders {
            let count = books.iter().map(|book| book.orders.len()).sum::<usize>();
            assert_eq!((self.feed.decoder().order_count(), self.books.order_count()), (count, count));
        }
    }

    pub(crate) fn is_sound(&self) {
        assert_eq!(self.books.anomalies(), Default::default());
    }

    /// Number, price and quantity of each order, first in the queue first.
    fn queue(&self, symbol: SymbolId, side: Side) -> Vec<(u64, i64, u64)> {
        let nobody = RestingOrder { symbol, side, price: Price(0), qty: Qty(0), priority: Default::default() };
        let mut orders = Vec::new();
        for (price, _) in self.levels(symbol, side) {
            let mut queue = vec![(OrderRef(0), nobody); 1 << 10];
            let count = self.books.queue(symbol, side, Price(price), &mut queue);
            let named = queue[..count].iter().map(|(order_ref, order)| (self.ids[&order_ref.0], price, order.qty.0));
            orders.extend(named);
        }
        orders
    }

    fn levels(&self, symbol: SymbolId, side: Side) -> Vec<(i64, u64)> {
        let mut levels = vec![Level::default(); 1 << 10];
        let count = self.books.depth(symbol, side, &mut levels);
        levels[..count].iter().map(|level| (level.price.0, level.qty.0)).collect()
    }
}

fn shown(instrument: usize, order: &Order) -> (u64, i64, u64) {
    (order.id, displayed(instrument, order.price), u64::from(order.qty))
}

/// Ten real levels and two implied ones, added up where they are of one price.
fn told(instrument: usize, book: &Book, side: Side) -> Vec<(i64, u64)> {
    let real = book.levels(side).into_iter().take(10).map(|level| (level.0, level.1));
    let implied = book.implied[usize::from(side == Side::Sell)].iter().take(2).copied();
    let mut sum = BTreeMap::new();
    for (price, qty) in real.chain(implied) {
        *sum.entry(displayed(instrument, price)).or_default() += qty;
    }
    let levels = sum.into_iter();
    if side == Side::Buy { levels.rev().collect() } else { levels.collect() }
}

fn state_of(status: Option<u8>) -> TradingState {
    match status {
        None => TradingState::Unknown,
        Some(17) => TradingState::Trading,
        Some(15 | 21 | 24 | 25) => TradingState::QuotationOnly,
        Some(_) => TradingState::Halted,
    }
}

/// What the packets say by the sheet's rules is what the exchange means: a check of the exchange.
pub(crate) fn equal_twin(books: &[Book], twin: &Twin) {
    for (instrument, book) in books.iter().enumerate() {
        let id = INSTRUMENTS[instrument].0.cast_unsigned();
        for (side, index) in [(Side::Buy, 0), (Side::Sell, 1)] {
            let entry_type = [b'0', b'1'][index];
            let orders = twin.orders.get(&(id, entry_type)).into_iter().flatten();
            let mut orders: Vec<_> =
                orders.map(|((price, priority), (id, qty))| (*id, price.cast_signed(), *priority, *qty)).collect();
            orders.sort_by_key(|order| (if side == Side::Buy { -order.1 } else { order.1 }, order.2));
            let theirs = book.queue(side).into_iter().map(|order| (order.id, order.price, order.priority, order.qty));
            assert_eq!(orders, theirs.collect::<Vec<_>>());
            let levels = |entry_type: u8| -> Vec<(i64, u64)> {
                let levels = twin.levels.get(&(id, entry_type)).into_iter().flatten();
                levels.map(|(price, qty)| (price.cast_signed(), *qty)).collect()
            };
            let real = book.levels(side).into_iter().take(10).map(|level| (level.0, level.1));
            assert_eq!(levels(entry_type), real.collect::<Vec<_>>());
            let implied = book.implied[index].iter().take(2).copied();
            assert_eq!(levels([b'E', b'F'][index]), implied.collect::<Vec<_>>());
        }
    }
}
