//! An exchange: books of orders, a matching engine, and the packets of MDP 3.0 that tell what happened.

use std::collections::BTreeMap;

use peregrine_types::Side;
use peregrine_wire::mdp3::{PacketBuilder, template};

use super::encode::{Change, Levels, Message, Trade, definition, diff, heartbeat, reset, status};

/// Number, name, and display factor in 10⁻⁹. Without a name: no definition ever comes.
pub(crate) const INSTRUMENTS: [(i32, Option<&str>, i64); 6] = [
    (170_506, Some("ESU8"), 1_000_000_000),
    (5_893, Some("6EU8"), 10_000_000),
    (77, None, 1_000_000_000),
    (4_000_000, None, 1_000_000_000),
    (901, Some("CLZ8"), 1_000_000_000),
    (902, Some("CLF9"), 10_000_000),
];
/// Product groups, by instrument.
pub(crate) const GROUPS: [&[u8; 6]; 6] =
    [b"ES\0\0\0\0", b"6E\0\0\0\0", b"??\0\0\0\0", b"??\0\0\0\0", b"CL\0\0\0\0", b"CL\0\0\0\0"];
/// 2018-09-12, 12:00 UTC.
pub(crate) const START: u64 = 1_536_753_600_000_000_000;
const TICK: i64 = 250_000_000;

/// A number that looks random, from a counter (splitmix64).
pub(crate) fn chance(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 31)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) side: Side,
    pub(crate) price: i64,
    pub(crate) qty: u32,
    pub(crate) priority: u64,
    /// What an iceberg shows at a time, and what it hides.
    peak: u32,
    hidden: u32,
}

/// What is true of one instrument.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) orders: BTreeMap<u64, Order>,
    /// Price and quantity, best first: bids, offers. The exchange tells two of them.
    pub(crate) implied: [Vec<(i64, u64)>; 2],
    /// Price and quantity of each trade that stands.
    pub(crate) prints: BTreeMap<u32, (i64, u64)>,
    /// The code of the last status.
    pub(crate) status: Option<u8>,
    pub(crate) is_defined: bool,
}

impl Book {
    /// First in the queue first, from the best price on.
    pub(crate) fn queue(&self, side: Side) -> Vec<Order> {
        let mut queue: Vec<Order> = self.orders.values().filter(|order| order.side == side).copied().collect();
        queue.sort_by_key(|order| (if side == Side::Buy { -order.price } else { order.price }, order.priority));
        queue
    }

    /// All levels of real orders, best first: price, quantity, count of orders.
    pub(crate) fn levels(&self, side: Side) -> Levels {
        let mut levels = Levels::new();
        for order in self.queue(side) {
            match levels.last_mut().filter(|level| level.0 == order.price) {
                Some(level) => (level.1, level.2) = (level.1 + u64::from(order.qty), level.2 + 1),
                None => levels.push((order.price, u64::from(order.qty), 1)),
            }
        }
        levels
    }
}

/// What happens: the numbers mean what [`Exchange::apply`] makes of them.
pub(crate) type Command = (u8, u8, u16, u8, u8, u64);

pub(crate) struct Exchange {
    pub(crate) books: Vec<Book>,
    next_order: u64,
    next_priority: u64,
    next_trade: u32,
    time: u64,
    pending: Vec<Message>,
    /// Of the event.
    trades: Vec<Trade>,
    /// Each packet, and behind the last of an event the books as they are then.
    pub(crate) packets: Vec<(Vec<u8>, Option<Vec<Book>>)>,
}

impl Exchange {
    /// An exchange that has defined the first two instruments.
    pub(crate) fn new() -> Self {
        let mut exchange = Self {
            books: vec![Book::default(); INSTRUMENTS.len()],
            next_order: 88_463_939_692,
            next_priority: 1_000,
            next_trade: 341_412,
            time: START,
            pending: Vec::new(),
            trades: Vec::new(),
            packets: Vec::new(),
        };
        exchange.define(0);
        exchange.define(1);
        exchange.flush();
        exchange
    }

    pub(crate) fn of(commands: &[Command]) -> Self {
        let mut exchange = Self::new();
        commands.iter().for_each(|command| exchange.apply(command));
        exchange.flush();
        exchange
    }

    fn define(&mut self, instrument: usize) {
        if let (id, Some(name), factor) = INSTRUMENTS[instrument] {
            self.pending.push(definition(id, name, factor, GROUPS[instrument]));
            (self.books[instrument].is_defined, self.books[instrument].status) = (true, Some(17));
        }
    }

    fn priority(&mut self) -> u64 {
        self.next_priority += 1;
        self.next_priority
    }

    /// One event.
    pub(crate) fn apply(&mut self, &(kind, instrument, which, price, qty, mut style): &Command) {
        self.time += 1_000 + u64::from(which);
        let instrument = usize::from(instrument) % INSTRUMENTS.len();
        if INSTRUMENTS[instrument].1.is_some() && !self.books[instrument].is_defined {
            self.define(instrument);
        }
        let before = self.books.clone();
        let side = if which.is_multiple_of(2) { Side::Buy } else { Side::Sell };
        let own = if side == Side::Buy { 0 } else { 20 };
        let price = (1_000 + own + i64::from(price % 22)) * TICK;
        let qty = u32::from(qty % 20) + 1;
        let ids: Vec<u64> = self.books[instrument].orders.keys().copied().collect();
        let standing =
            (!ids.is_empty()).then(|| self.books[instrument].orders[&ids[usize::from(which / 2) % ids.len()]]);
        match (kind % 32, standing) {
            (0..=12, _) | (13..=22, None) => {
                let peak = if style.is_multiple_of(5) { qty } else { 0 };
                let hidden = if peak > 0 { u32::from(which % 60) } else { 0 };
                self.next_order += 1 + style % 3;
                let order = Order { id: self.next_order, side, price, qty, priority: 0, peak, hidden };
                self.take(instrument, order, &mut style);
            }
            (13 | 14, Some(order)) => drop(self.books[instrument].orders.remove(&order.id)),
            // Less of it keeps its place, more of it does not.
            (15 | 16, Some(order)) => {
                let priority = if qty > order.qty { self.priority() } else { order.priority };
                self.books[instrument].orders.insert(order.id, Order { qty, priority, ..order });
            }
            (17..=19, Some(order)) => {
                self.books[instrument].orders.remove(&order.id);
                let own = if order.side == Side::Buy { 0 } else { 20 };
                let price = (1_000 + own + (price / TICK) % 22) * TICK;
                self.take(instrument, Order { price, qty, ..order }, &mut style);
            }
            (20, Some(order)) => {
                // Many at once, from the best on.
                let queue = self.books[instrument].queue(order.side);
                for order in queue.iter().take(usize::from(which) % 40) {
                    self.books[instrument].orders.remove(&order.id);
                }
            }
            (21, Some(_)) => self.cross(instrument, price),
            (22, Some(order)) => self.leg(instrument, order),
            (23, _) => {
                let aggressor = [None, Some(Side::Buy), Some(Side::Sell)][usize::from(which) % 3];
                let orders = aggressor.map(|_| (self.next_order + 1, qty));
                self.next_order += 1;
                self.print(instrument, (price, u64::from(qty)), aggressor, orders.into_iter().collect());
            }
            (24 | 25, _) => self.correct(instrument, (price, u64::from(qty)), standing, kind.is_multiple_of(2)),
            (26, _) if style.is_multiple_of(4) => return self.reset_all(&mut style),
            (26, _) if style % 4 == 1 => return self.reset_one(instrument, &mut style),
            (27 | 28, _) => self.imply(instrument, side, (price, u64::from(qty)), style),
            (29, _) => return self.tell_status(instrument, which, &mut style),
            (30, _) => return self.end_event(vec![heartbeat()], &mut style),
            _ => return self.end_event(vec![Message::book(&[], &[], false)], &mut style),
        }
        let mut messages = diff(&before, &self.books, &std::mem::take(&mut self.trades), self.time, &mut style);
        if messages.is_empty() {
            messages.push(Message::book(&[], &[], false));
        }
        self.end_event(messages, &mut style);
    }

    /// An order meets the other side, and rests with what is left of it.
    fn take(&mut self, instrument: usize, mut taker: Order, style: &mut u64) {
        let is_merged = chance(style).is_multiple_of(2);
        while taker.qty > 0 {
            let queue = self.books[instrument].queue(taker.side.opposite());
            let Some(first) = queue.first().filter(|first| match taker.side {
                Side::Buy => first.price <= taker.price,
                Side::Sell => first.price >= taker.price,
            }) else {
                break;
            };
            let (price, mut fills, mut total) = (first.price, Vec::<(u64, u32)>::new(), 0);
            while taker.qty > 0
                && let Some(mut order) = self.books[instrument].queue(taker.side.opposite()).first().copied()
                && order.price == price
            {
                let qty = taker.qty.min(order.qty);
                (taker.qty, order.qty, total) = (taker.qty - qty, order.qty - qty, total + qty);
                match fills.iter_mut().find(|fill| is_merged && fill.0 == order.id) {
                    Some(fill) => fill.1 += qty,
                    None => fills.push((order.id, qty)),
                }
                if order.qty == 0 && order.hidden > 0 {
                    order.qty = order.hidden.min(order.peak);
                    (order.hidden, order.priority) = (order.hidden - order.qty, self.priority());
                }
                if order.qty == 0 {
                    self.books[instrument].orders.remove(&order.id);
                } else {
                    self.books[instrument].orders.insert(order.id, order);
                }
            }
            fills.insert(0, (taker.id, total));
            self.print(instrument, (price, u64::from(total)), Some(taker.side), fills);
        }
        if taker.qty > 0 {
            taker.priority = self.priority();
            self.books[instrument].orders.insert(taker.id, taker);
        }
    }

    fn print(&mut self, instrument: usize, (price, qty): (i64, u64), aggressor: Option<Side>, orders: Vec<(u64, u32)>) {
        self.next_trade += 1;
        self.books[instrument].prints.insert(self.next_trade, (price, qty));
        self.trades.push(Trade { instrument, id: self.next_trade, price, qty, aggressor, action: 0, orders });
    }

    fn fill(&mut self, instrument: usize, order: Order, qty: u32) {
        if qty == order.qty {
            self.books[instrument].orders.remove(&order.id);
        } else {
            self.books[instrument].orders.insert(order.id, Order { qty: order.qty - qty, ..order });
        }
    }

    /// An auction: the best of both sides trade at any price, and no side took.
    fn cross(&mut self, instrument: usize, price: i64) {
        let [bid, ask] = Side::BOTH.map(|side| self.books[instrument].queue(side).first().copied());
        let (Some(bid), Some(ask)) = (bid, ask) else { return };
        let qty = bid.qty.min(ask.qty);
        self.fill(instrument, bid, qty);
        self.fill(instrument, ask, qty);
        self.print(instrument, (price, u64::from(qty)), None, vec![(bid.id, qty), (ask.id, qty)]);
    }

    /// A leg of a spread: one real order trades with an implied one.
    fn leg(&mut self, instrument: usize, order: Order) {
        let qty = order.qty.div_ceil(2);
        self.fill(instrument, order, qty);
        self.print(instrument, (order.price + TICK, u64::from(qty)), None, vec![(order.id, qty)]);
    }

    /// A trade is another one now, or none; the orders that it names are not filled once more.
    fn correct(&mut self, instrument: usize, (price, qty): (i64, u64), standing: Option<Order>, is_broken: bool) {
        let Some((&id, &(old_price, old_qty))) = self.books[instrument].prints.last_key_value() else { return };
        let orders: Vec<(u64, u32)> = standing.map(|order| (order.id, 1)).into_iter().collect();
        let (action, (price, qty)) = if is_broken { (2, (old_price, old_qty)) } else { (1, (price, qty)) };
        if is_broken {
            self.books[instrument].prints.remove(&id);
        } else {
            self.books[instrument].prints.insert(id, (price, qty));
        }
        self.trades.push(Trade { instrument, id, price, qty, aggressor: None, action, orders });
    }

    /// The levels of an implied book.
    fn imply(&mut self, instrument: usize, side: Side, level: (i64, u64), style: u64) {
        let levels = &mut self.books[instrument].implied[usize::from(side == Side::Sell)];
        match style % 4 {
            0 => levels.clear(),
            1 if !levels.is_empty() => drop(levels.remove(usize::try_from(style / 4).unwrap() % levels.len())),
            _ => {
                levels.retain(|known| known.0 != level.0);
                levels.push(level);
                levels.sort_by_key(|level| if side == Side::Buy { -level.0 } else { level.0 });
                levels.truncate(5);
            }
        }
    }

    fn reset_one(&mut self, instrument: usize, style: &mut u64) {
        self.books[instrument].orders.clear();
        self.books[instrument].implied = Default::default();
        let change = Change::reset(instrument);
        let messages = vec![Message::order_book(&[change], self.time), change.reset_levels(self.time)];
        self.end_event(messages, style);
    }

    fn reset_all(&mut self, style: &mut u64) {
        for book in &mut self.books {
            book.orders.clear();
            book.implied = Default::default();
        }
        self.end_event(vec![reset(self.time)], style);
    }

    fn tell_status(&mut self, instrument: usize, which: u16, style: &mut u64) {
        let code = [2, 4, 15, 17, 18, 20, 21, 24, 25, 26, 103][usize::from(which) % 11];
        let is_group = chance(style).is_multiple_of(2);
        for (other, book) in self.books.iter_mut().enumerate() {
            let is_meant =
                if is_group { book.is_defined && GROUPS[other] == GROUPS[instrument] } else { other == instrument };
            if is_meant && code != 103 {
                book.status = Some(code);
            }
        }
        let id = if is_group { i32::MAX } else { INSTRUMENTS[instrument].0 };
        self.end_event(vec![status(id, GROUPS[instrument], code, self.time)], style);
    }

    /// The last message says so, or an empty one behind it. Messages go into packets as they come, so that an event takes
    /// several, or several events one.
    fn end_event(&mut self, mut messages: Vec<Message>, style: &mut u64) {
        if chance(style).is_multiple_of(3) || messages.last().is_some_and(|last| last.template == template::HEARTBEAT) {
            let mut end = Message::book(&[], &[], false);
            end.set_time(self.time);
            messages.push(end);
        }
        if let Some(last) = messages.last_mut() {
            last.end_event();
        }
        for message in messages {
            let is_full = self.pending.iter().map(Message::len).sum::<usize>() + message.len() > 1_300;
            if is_full || chance(style).is_multiple_of(4) {
                self.send(None);
            }
            self.pending.push(message);
        }
        if chance(style).is_multiple_of(2) {
            self.flush();
        }
    }

    /// The packet under construction, which ends an event, goes out.
    pub(crate) fn flush(&mut self) {
        let books = self.books.clone();
        self.send(Some(books));
    }

    fn send(&mut self, books: Option<Vec<Book>>) {
        if self.pending.is_empty() {
            return;
        }
        let mut buffer = [0; 1_500];
        let number = u32::try_from(self.packets.len()).unwrap() + 1;
        let mut packet = PacketBuilder::new(&mut buffer, number, self.time + 500).unwrap();
        for message in self.pending.drain(..) {
            packet.push(message.template, message.version, &message.root, &message.groups).unwrap();
        }
        self.packets.push((packet.finish().to_vec(), books));
    }
}
