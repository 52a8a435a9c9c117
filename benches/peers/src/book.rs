//! Order-by-order books: the same order events, decoded beforehand, and the top of book read after each. Every pass
//! begins with new books, made outside the timing; peers, which know one symbol, get one book for each. What a peer needs to be told in its own words is
//! translated beforehand too.
//!
//! - Peregrine keeps every order with its place in the queue, levels with quantity and order count, trading states and
//!   anomalies for any number of symbols, and reports what each event did. Its memory is taken at start.
//! - `lobster` is a matching engine of one symbol: it has no message for a part of an order, so a partial cancel is a
//!   cancel and a new order, and an execution is a market order that it matches itself. Best prices, no quantities.
//! - `hftbacktest` keeps a map of orders and a quantity per price of one symbol, in floating point; no queue.
//!   `ROIVectorMarketDepth` is its fast one: an array over a range of prices given at start.
//! - `nautilus-model` keeps orders per level of one symbol in insertion order.
//!
//! Peers find their symbol's book in a list, by its number, and count no anomalies; that is in their favour.

use std::hint::black_box;

use hftbacktest::depth::{HashMapMarketDepth, L3MarketDepth, ROIVectorMarketDepth};
use lobster::{OrderBook as LobsterBook, OrderType};
use nautilus_model::data::BookOrder;
use nautilus_model::enums::{BookType, OrderSide};
use nautilus_model::identifiers::InstrumentId;
use nautilus_model::orderbook::OrderBook as NautilusBook;
use nautilus_model::types::{Price as NautilusPrice, Quantity};
use peregrine_benches::BenchError;
use peregrine_benches::percentiles::Timer;
use peregrine_benches::session::LoadedSession;
use peregrine_book::{Books, MarketBooks};
use peregrine_types::{EventKind, MarketEvent, Price, Side, SymbolId};

use crate::{Contender, compare};

/// Nanos of the currency in a tick of 0.01.
const TICK: i64 = 10_000_000;

/// One event as the peers understand it.
#[derive(Clone, Copy)]
struct Op {
    symbol: SymbolId,
    what: What,
    id: u64,
    side: Side,
    price: Price,
    /// Quantity of a new order, or what is left of an old one.
    qty: u64,
    /// Quantity executed or taken off.
    gone: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Add,
    /// A part was executed or cancelled.
    Reduce,
    Remove,
}

/// Whether the op is an execution, for peers that match by themselves.
type Ops = Vec<(Op, bool)>;

/// The order events of `session`, and the same as ops.
fn translate(session: &LoadedSession) -> Result<(Vec<MarketEvent>, Ops), BenchError> {
    let (mut books, mut events, mut ops) = (session.books()?, Vec::new(), Vec::new());
    for event in session.events() {
        let before = books.order(event.order_ref());
        let is_execution = matches!(event.kind, EventKind::ExecuteOrder | EventKind::ExecuteOrderAtPrice);
        let (id, symbol) = (event.order_ref().0, event.symbol);
        let op = match (event.kind, before) {
            (EventKind::AddOrder, _) => Some(Op {
                symbol,
                what: What::Add,
                id,
                side: event.side,
                price: event.price,
                qty: event.qty.0,
                gone: 0,
            }),
            (EventKind::CancelOrder | EventKind::ExecuteOrder | EventKind::ExecuteOrderAtPrice, Some(order)) => {
                let left = order.qty.0 - event.qty.0;
                let what = if left == 0 { What::Remove } else { What::Reduce };
                Some(Op { symbol, what, id, side: order.side, price: order.price, qty: left, gone: event.qty.0 })
            }
            (EventKind::DeleteOrder | EventKind::ReplaceOrder, Some(order)) => {
                let (side, price) = (order.side, order.price);
                Some(Op { symbol, what: What::Remove, id, side, price, qty: 0, gone: order.qty.0 })
            }
            _ => None,
        };
        books.apply(&event);
        let Some(op) = op else { continue };
        events.push(event);
        ops.push((op, is_execution));
        if event.kind == EventKind::ReplaceOrder {
            let add = Op {
                symbol,
                what: What::Add,
                id: event.id_b,
                side: op.side,
                price: event.price,
                qty: event.qty.0,
                gone: 0,
            };
            ops.push((add, false));
        }
    }
    Ok((events, ops))
}

/// Best bid and ask in ticks, 0 where there is none.
type Best = (i64, i64);

fn ours(books: &Books, symbol: SymbolId) -> Best {
    let top = books.top(symbol);
    (top.bid.map_or(0, |level| level.price.0 / TICK), top.ask.map_or(0, |level| level.price.0 / TICK))
}

trait Peer {
    fn apply(&mut self, op: &Op, is_execution: bool);
    /// Reads the best prices, with their quantities where the peer has them.
    fn best(&self) -> Best;
}

impl Peer for LobsterBook {
    fn apply(&mut self, op: &Op, is_execution: bool) {
        let side = |side| match side {
            Side::Buy => lobster::Side::Bid,
            Side::Sell => lobster::Side::Ask,
        };
        let id = u128::from(op.id);
        let limit = |qty| OrderType::Limit { id, side: side(op.side), qty, price: (op.price.0 / TICK).unsigned_abs() };
        if is_execution {
            let taker = OrderType::Market { id: u128::MAX, side: side(op.side.opposite()), qty: op.gone };
            black_box(self.execute(taker));
            return;
        }
        match op.what {
            What::Add => black_box(self.execute(limit(op.qty))),
            What::Reduce => {
                black_box(self.execute(OrderType::Cancel { id }));
                black_box(self.execute(limit(op.qty)))
            }
            What::Remove => black_box(self.execute(OrderType::Cancel { id })),
        };
    }

    fn best(&self) -> Best {
        let ticks = |price: Option<u64>| price.and_then(|price| i64::try_from(price).ok()).unwrap_or(0);
        (ticks(self.max_bid()), ticks(self.min_ask()))
    }
}

/// An `hftbacktest` book; its prices are floating point, made beforehand in real use, so that the conversion is one
/// multiplication here.
struct Depth<D>(D);

impl<D: L3MarketDepth> Peer for Depth<D> {
    fn apply(&mut self, op: &Op, _is_execution: bool) {
        let (price, qty) = ((op.price.0 / TICK) as f64 * 0.01, op.qty as f64);
        let is_done = match (op.what, op.side) {
            (What::Add, Side::Buy) => self.0.add_buy_order(op.id, price, qty, 0).is_ok(),
            (What::Add, Side::Sell) => self.0.add_sell_order(op.id, price, qty, 0).is_ok(),
            (What::Reduce, _) => self.0.modify_order(op.id, price, qty, 0).is_ok(),
            (What::Remove, _) => self.0.delete_order(op.id, 0).is_ok(),
        };
        black_box(is_done);
    }

    fn best(&self) -> Best {
        black_box((self.0.best_bid_qty(), self.0.best_ask_qty()));
        let ticks = |tick: i64| if (0..i64::from(u32::MAX)).contains(&tick) { tick } else { 0 };
        (ticks(self.0.best_bid_tick()), ticks(self.0.best_ask_tick()))
    }
}

impl Peer for NautilusBook {
    fn apply(&mut self, op: &Op, _is_execution: bool) {
        let side = match op.side {
            Side::Buy => OrderSide::Buy,
            Side::Sell => OrderSide::Sell,
        };
        let price = NautilusPrice { raw: op.price.0, precision: 2 };
        let order = BookOrder::new(side, price, Quantity { raw: op.qty * 1_000_000_000, precision: 0 }, op.id);
        match op.what {
            What::Add => self.add(order, 0, 0, 0.into()),
            What::Reduce => self.update(order, 0, 0, 0.into()),
            What::Remove => self.delete(order, 0, 0, 0.into()),
        }
    }

    fn best(&self) -> Best {
        black_box((self.best_bid_size(), self.best_ask_size()));
        let ticks = |price: Option<NautilusPrice>| price.map_or(0, |price| price.raw / TICK);
        (ticks(self.best_bid_price()), ticks(self.best_ask_price()))
    }
}

/// A timed pass over new books, one for each symbol.
fn timed<P: Peer>(timer: &Timer, ops: &Ops, event_count: usize, make: impl Fn() -> Vec<P>) -> f64 {
    let mut peers = make();
    let start = timer.ticks();
    for (op, is_execution) in ops {
        let Some(peer) = peers.get_mut(op.symbol.index()) else { continue };
        peer.apply(op, *is_execution);
        black_box(peer.best());
    }
    let nanos = timer.nanos_since(start);
    nanos / event_count as f64
}

/// How often the peer's best prices are ours, in per cent: a slow pass that shows that it does the same work.
fn agreement<P: Peer>(
    session: &LoadedSession,
    events: &[MarketEvent],
    ops: &Ops,
    mut peers: Vec<P>,
) -> Result<f64, BenchError> {
    let (mut books, mut same, mut rest) = (session.books()?, 0_usize, ops.iter());
    for event in events {
        books.apply(event);
        let Some(peer) = peers.get_mut(event.symbol.index()) else { continue };
        let op_count = if event.kind == EventKind::ReplaceOrder { 2 } else { 1 };
        for (op, is_execution) in rest.by_ref().take(op_count) {
            peer.apply(op, *is_execution);
        }
        same += usize::from(peer.best() == ours(&books, event.symbol));
    }
    Ok(100.0 * same as f64 / events.len() as f64)
}

/// Least and greatest price in ticks of each symbol's orders.
fn price_ranges(ops: &Ops, symbol_count: usize) -> Vec<(i64, i64)> {
    let mut ranges = vec![(i64::MAX, 0); symbol_count];
    for (op, _) in ops {
        if let Some((low, high)) = ranges.get_mut(op.symbol.index()) {
            let tick = op.price.0 / TICK;
            (*low, *high) = (tick.min(*low), tick.max(*high));
        }
    }
    ranges.iter().map(|(low, high)| ((*low).min(*high), *high)).collect()
}

/// Most prices of all arrays together.
const ARRAY_LEN_MAX: i64 = 50_000_000;

/// Runs the comparison.
pub fn run(timer: &Timer, session: &LoadedSession) -> Result<(), BenchError> {
    let (events, ops) = translate(session)?;
    let symbol_count = usize::try_from(session.symbol_count())?;
    let ranges = price_ranges(&ops, symbol_count);
    let lobster = || (0..symbol_count).map(|_| LobsterBook::new((1 << 17) / symbol_count, 16, false)).collect();
    let map = || (0..symbol_count).map(|_| Depth(HashMapMarketDepth::new(0.01, 1.0))).collect();
    let array =
        |(low, high): &(i64, i64)| Depth(ROIVectorMarketDepth::new(0.01, 1.0, *low as f64 * 0.01, *high as f64 * 0.01));
    let arrays = || ranges.iter().map(array).collect();
    let is_array_possible = ranges.iter().map(|(low, high)| high - low + 1).sum::<i64>() <= ARRAY_LEN_MAX;
    let new_nautilus = || NautilusBook::new(InstrumentId::from("AAAA.XNAS"), BookType::L3_MBO);
    let nautilus = || (0..symbol_count).map(|_| new_nautilus()).collect();
    let mut shares = vec![
        ("lobster", agreement::<LobsterBook>(session, &events, &ops, lobster())?),
        ("hftbacktest's maps", agreement::<Depth<HashMapMarketDepth>>(session, &events, &ops, map())?),
        ("nautilus-model", agreement::<NautilusBook>(session, &events, &ops, nautilus())?),
    ];
    let mut contenders = vec![
        Contender::new("Peregrine", |timer| {
            let Ok(mut books) = session.books() else { return f64::NAN };
            let start = timer.ticks();
            for event in &events {
                black_box(books.apply(event));
                black_box(ours(&books, event.symbol));
            }
            let nanos = timer.nanos_since(start);
            assert_eq!(books.anomalies().total(), 0);
            nanos / events.len() as f64
        }),
        Contender::new("lobster 0.7", |timer| timed::<LobsterBook>(timer, &ops, events.len(), lobster)),
        Contender::new("hftbacktest 0.9, hash maps", |timer| {
            timed::<Depth<HashMapMarketDepth>>(timer, &ops, events.len(), map)
        }),
        Contender::new("nautilus-model 0.57", |timer| timed::<NautilusBook>(timer, &ops, events.len(), nautilus)),
    ];
    if is_array_possible {
        let share = agreement::<Depth<ROIVectorMarketDepth>>(session, &events, &ops, arrays())?;
        shares.push(("hftbacktest's arrays", share));
        contenders.push(Contender::new("hftbacktest 0.9, array over a price range", |timer| {
            timed::<Depth<ROIVectorMarketDepth>>(timer, &ops, events.len(), arrays)
        }));
    }
    let title = format!("Order-by-order books with the top read after each event, {}", session.name);
    compare(&title, "goal 3", timer, &mut contenders);
    if !is_array_possible {
        println!("\nhftbacktest's arrays are left out: the orders' prices span more than {ARRAY_LEN_MAX} ticks.");
    }
    let shares: Vec<String> = shares.iter().map(|(name, share)| format!("{name} {share:.2} %")).collect();
    println!(
        "\nBest prices equal to Peregrine's after each of {} order events: {}. (lobster matches by itself, also before \
         the open.)",
        events.len(),
        shares.join(", ")
    );
    Ok(())
}
