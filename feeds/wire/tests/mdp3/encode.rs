//! From what happened in a book to the messages that tell it, by the rules of the sheet.

use peregrine_types::Side;
use peregrine_wire::mdp3::{
    BookEntry, BookEntryLong, BookOrder, ChannelResetRoot, DefinitionRoot, END_OF_EVENT, LAST_TRADE,
    MESSAGE_HEADER_LEN, NULL_I32, OrderEntry, RefreshRoot, SecurityStatusRoot, TradeEntry, TradeEntryLong, TradeOrder,
    template,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::exchange::{Book, INSTRUMENTS, chance};

/// Price, quantity, and count of orders, best first.
pub(crate) type Levels = Vec<(i64, u64, u32)>;
const NEW: u8 = 0;
const CHANGE: u8 = 1;
const DELETE: u8 = 2;
const DELETE_THRU: u8 = 3;
const DELETE_FROM: u8 = 4;
const OVERLAY: u8 = 5;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) template: u16,
    pub(crate) version: u16,
    pub(crate) root: Vec<u8>,
    pub(crate) groups: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Trade {
    pub(crate) instrument: usize,
    pub(crate) id: u32,
    pub(crate) price: i64,
    pub(crate) qty: u64,
    pub(crate) aggressor: Option<Side>,
    pub(crate) action: u8,
    /// The aggressor's first.
    pub(crate) orders: Vec<(u64, u32)>,
}

/// What became of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    instrument: usize,
    entry_type: u8,
    id: u64,
    priority: u64,
    price: i64,
    qty: u32,
    action: u8,
}

/// What became of a level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelChange {
    instrument: usize,
    entry_type: u8,
    price: i64,
    qty: u64,
    count: Option<u32>,
    rank: usize,
    action: u8,
}

fn group<T: IntoBytes + Immutable>(entries: &[T]) -> Vec<u8> {
    let mut bytes = u16::try_from(size_of::<T>()).unwrap().to_le_bytes().to_vec();
    bytes.push(u8::try_from(entries.len()).unwrap());
    entries.iter().for_each(|entry| bytes.extend_from_slice(entry.as_bytes()));
    bytes
}

fn group_8byte<T: IntoBytes + Immutable>(entries: &[T]) -> Vec<u8> {
    let mut bytes = group(entries);
    bytes.splice(2..2, [0xAA; 5]);
    bytes
}

fn root(time: u64) -> Vec<u8> {
    RefreshRoot { transact_time: time.into(), match_event_indicator: 0, pad: [0; 2] }.as_bytes().to_vec()
}

impl Message {
    fn new(template: u16, root: &[u8], groups: &[u8]) -> Self {
        let version = if template >= 64 { 12 } else { 9 };
        Self { template, version, root: root.to_vec(), groups: groups.to_vec() }
    }

    pub(crate) fn len(&self) -> usize {
        MESSAGE_HEADER_LEN + self.root.len() + self.groups.len()
    }

    pub(crate) fn set_time(&mut self, time: u64) {
        self.root[..8].copy_from_slice(&time.to_le_bytes());
    }

    /// Sets the bit in the place where this template has it.
    pub(crate) fn end_event(&mut self) {
        self.flag(END_OF_EVENT);
    }

    fn flag(&mut self, bit: u8) {
        let at = match self.template {
            template::SECURITY_STATUS => 26,
            template::FUTURE => 0,
            _ => 8,
        };
        self.root[at] |= bit;
    }

    /// Template 46, or 64.
    pub(crate) fn book(levels: &[LevelChange], orders: &[(Change, usize)], is_long: bool) -> Self {
        let orders: Vec<BookOrder> = orders.iter().map(|(change, level)| change.of_level(*level)).collect();
        let levels = if is_long {
            group(&levels.iter().map(LevelChange::long).collect::<Vec<_>>())
        } else {
            group(&levels.iter().map(LevelChange::short).collect::<Vec<_>>())
        };
        let template = if is_long { template::BOOK_LONG } else { template::BOOK };
        Self::new(template, &root(0), &[levels, group_8byte(&orders)].concat())
    }

    /// Template 47.
    pub(crate) fn order_book(changes: &[Change], time: u64) -> Self {
        let entries: Vec<OrderEntry> = changes.iter().map(Change::alone).collect();
        Self::new(template::ORDER_BOOK, &root(time), &group(&entries))
    }
}

impl Change {
    /// A new offer.
    pub(crate) const fn offer(instrument: usize, id: u64, price: i64, qty: u32) -> Self {
        Self { instrument, entry_type: b'1', id, priority: id, price, qty, action: NEW }
    }

    /// The instrument's book is empty.
    pub(crate) fn reset(instrument: usize) -> Self {
        Self { instrument, entry_type: b'J', id: u64::MAX, priority: u64::MAX, price: i64::MAX, qty: 0, action: 0 }
    }

    pub(crate) fn reset_levels(&self, time: u64) -> Message {
        let Self { instrument, entry_type, price, action, .. } = *self;
        let level = LevelChange { instrument, entry_type, price, qty: 0, count: None, rank: 0, action };
        let mut message = Message::book(&[level], &[], false);
        message.set_time(time);
        message
    }

    fn alone(&self) -> OrderEntry {
        OrderEntry {
            order_id: self.id.into(),
            md_order_priority: self.priority.into(),
            md_entry_px: self.price.into(),
            md_display_qty: i32::try_from(self.qty).unwrap().into(),
            security_id: INSTRUMENTS[self.instrument].0.into(),
            md_update_action: self.action,
            md_entry_type: self.entry_type,
            pad: [0; 6],
        }
    }

    fn of_level(&self, level: usize) -> BookOrder {
        BookOrder {
            order_id: self.id.into(),
            md_order_priority: self.priority.into(),
            md_display_qty: i32::try_from(self.qty).unwrap().into(),
            reference_id: u8::try_from(level).unwrap(),
            order_update_action: self.action,
            pad: [0; 2],
        }
    }
}

impl LevelChange {
    fn short(&self) -> BookEntry {
        BookEntry {
            md_entry_px: self.price.into(),
            md_entry_size: i32::try_from(self.qty).unwrap().into(),
            security_id: INSTRUMENTS[self.instrument].0.into(),
            rpt_seq: 1.into(),
            number_of_orders: self.count.map_or(NULL_I32, |count| i32::try_from(count).unwrap()).into(),
            md_price_level: u8::try_from(self.rank).unwrap(),
            md_update_action: self.action,
            md_entry_type: self.entry_type,
            tradeable_size: 0.into(),
            pad: 0,
        }
    }

    fn long(&self) -> BookEntryLong {
        BookEntryLong {
            md_entry_px: self.price.into(),
            md_entry_size: self.qty.into(),
            security_id: INSTRUMENTS[self.instrument].0.into(),
            rpt_seq: 1.into(),
            number_of_orders: self.count.map_or(NULL_I32, |count| i32::try_from(count).unwrap()).into(),
            md_price_level: u8::try_from(self.rank).unwrap(),
            md_update_action: self.action,
            md_entry_type: self.entry_type,
            pad: 0,
        }
    }
}

/// How `before` becomes `after`, a book of `depth` levels of which the exchange knows more: instrument and kind are set by
/// the caller.
fn level_changes(before: &Levels, after: &Levels, depth: usize, style: &mut u64) -> Vec<LevelChange> {
    let level = |rank: usize, action: u8, (price, qty, count): (i64, u64, u32)| LevelChange {
        instrument: 0,
        entry_type: 0,
        price,
        qty,
        count: Some(count),
        rank,
        action,
    };
    let (shown, all) = (&after[..after.len().min(depth)], after);
    let mut book: Levels = before.iter().take(depth).copied().collect();
    let mut changes = Vec::new();
    let is_gone = |level: &(i64, u64, u32)| all.iter().all(|other| other.0 != level.0);
    let style = chance(style);
    let differing: Vec<usize> = (0..book.len().min(shown.len())).filter(|at| book[*at].0 != shown[*at].0).collect();
    if let [at] = differing[..]
        && book.len() == shown.len()
        && style & 1 == 0
    {
        changes.push(level(at + 1, OVERLAY, shown[at]));
        book[at] = shown[at];
    } else if !book.is_empty() && book.iter().all(is_gone) && style & 2 == 0 {
        changes.push(level(1, DELETE_THRU, book[0]));
        book.clear();
    } else {
        let count = book.iter().take_while(|level| is_gone(level)).count();
        if count > 0 && style & 4 == 0 {
            changes.push(level(count, DELETE_FROM, book[count - 1]));
            book.drain(..count);
        }
    }
    // The best first, or the last first.
    while let Some(at) = if style & 8 == 0 { book.iter().position(is_gone) } else { book.iter().rposition(is_gone) } {
        changes.push(level(at + 1, DELETE, book.remove(at)));
    }
    for (at, wanted) in shown.iter().enumerate() {
        match book.get_mut(at).filter(|level| level.0 == wanted.0) {
            Some(known) if known == wanted => {}
            Some(known) => {
                changes.push(level(at + 1, if style & 16 == 0 { CHANGE } else { OVERLAY }, *wanted));
                *known = *wanted;
            }
            None => {
                changes.push(level(at + 1, NEW, *wanted));
                book.insert(at, *wanted);
                book.truncate(depth);
            }
        }
    }
    assert_eq!(book, shown, "the exchange tells its own book");
    changes
}

/// The orders of an instrument that changed, in the order of their priorities.
fn order_changes(instrument: usize, before: &Book, after: &Book, style: &mut u64) -> Vec<Change> {
    let is_again = chance(style).is_multiple_of(2);
    let change = |order: &super::exchange::Order, action| Change {
        instrument,
        entry_type: if order.side == Side::Buy { b'0' } else { b'1' },
        id: order.id,
        priority: order.priority,
        price: order.price,
        qty: order.qty,
        action,
    };
    let mut changes = Vec::new();
    for order in before.orders.values().filter(|order| !after.orders.contains_key(&order.id)) {
        changes.push(change(order, DELETE));
    }
    for order in after.orders.values() {
        let shown = |order: &super::exchange::Order| (order.price, order.qty, order.priority);
        match before.orders.get(&order.id) {
            None => changes.push(change(order, NEW)),
            // What comes back with a new place can be told as a new one.
            Some(old) if old.price == order.price && old.priority != order.priority && is_again => {
                changes.push(change(order, NEW));
            }
            Some(old) if shown(old) != shown(order) => changes.push(change(order, CHANGE)),
            Some(_) => {}
        }
    }
    changes.sort_by_key(|change| change.priority);
    changes
}

/// The messages of an event: trades, orders, levels, implied levels.
pub(crate) fn diff(before: &[Book], after: &[Book], trades: &[Trade], time: u64, style: &mut u64) -> Vec<Message> {
    let (mut orders, mut levels, mut implied) = (Vec::new(), Vec::new(), Vec::new());
    for (instrument, (before, after)) in before.iter().zip(after).enumerate() {
        orders.extend(order_changes(instrument, before, after, style));
        for (side, index) in [(Side::Buy, 0), (Side::Sell, 1)] {
            let real = level_changes(&before.levels(side), &after.levels(side), 10, style);
            let entry_type = [b'0', b'1'][index];
            levels.extend(real.into_iter().map(|change| LevelChange { instrument, entry_type, ..change }));
            let of =
                |book: &Book| -> Levels { book.implied[index].iter().map(|level| (level.0, level.1, 0)).collect() };
            let entry_type = [b'E', b'F'][index];
            let told = level_changes(&of(before), &of(after), 2, style);
            implied.extend(told.into_iter().map(|change| LevelChange {
                instrument,
                entry_type,
                count: None,
                ..change
            }));
        }
    }
    let mut messages = trade_messages(trades, time, style);
    let is_long = chance(style).is_multiple_of(3);
    let at_levels = chance(style);
    let mut books = Vec::new();
    let len = usize::try_from(chance(style) % 6).unwrap() + 1;
    for chunk in levels.chunks(len) {
        let mut told = Vec::new();
        for (index, level) in chunk.iter().enumerate().filter(|(index, _)| at_levels >> index & 1 == 0) {
            let key = (level.instrument, level.entry_type, level.price);
            let of_level = |change: &Change| (change.instrument, change.entry_type, change.price) == key;
            told.extend(orders.iter().filter(|change| of_level(change)).map(|change| (*change, index + 1)));
            orders.retain(|change| !of_level(change));
        }
        books.push(Message::book(chunk, &told, is_long));
    }
    books.extend(implied.chunks(len).map(|chunk| Message::book(chunk, &[], is_long)));
    books.iter_mut().for_each(|message| message.set_time(time));
    messages.extend(orders.chunks(len).map(|chunk| Message::order_book(chunk, time)));
    messages.extend(books);
    messages
}

fn trade_messages(trades: &[Trade], time: u64, style: &mut u64) -> Vec<Message> {
    let is_long = chance(style).is_multiple_of(3);
    let len = usize::try_from(chance(style) % 4).unwrap() + 1;
    summary(trades, len, is_long, time)
}

/// All trades, then all their orders, over as many messages as it takes.
pub(crate) fn summary(trades: &[Trade], len: usize, is_long: bool, time: u64) -> Vec<Message> {
    let order = |(id, qty): &(u64, u32)| TradeOrder {
        order_id: (*id).into(),
        last_qty: i32::try_from(*qty).unwrap().into(),
        pad: [0; 4],
    };
    let orders: Vec<TradeOrder> = trades.iter().flat_map(|trade| &trade.orders).map(order).collect();
    let mut parts: Vec<(&[Trade], &[TradeOrder])> = trades.chunks(len).map(|chunk| (chunk, &[][..])).collect();
    let mut orders = orders.chunks(len);
    if let Some(last) = parts.last_mut() {
        last.1 = orders.next().unwrap_or_default();
    }
    parts.extend(orders.map(|chunk| (&[][..], chunk)));
    let message = |(trades, orders): &(&[Trade], &[TradeOrder])| {
        let entries = if is_long { long_trades(trades) } else { short_trades(trades) };
        let template = if is_long { template::TRADE_SUMMARY_LONG } else { template::TRADE_SUMMARY };
        Message::new(template, &root(time), &[entries, group_8byte(orders)].concat())
    };
    let mut messages: Vec<Message> = parts.iter().map(message).collect();
    if let Some(last) = messages.last_mut() {
        last.flag(LAST_TRADE);
    }
    messages
}

fn aggressor(trade: &Trade) -> u8 {
    match trade.aggressor {
        None => 0,
        Some(Side::Buy) => 1,
        Some(Side::Sell) => 2,
    }
}

fn short_trades(trades: &[Trade]) -> Vec<u8> {
    let entry = |trade: &Trade| TradeEntry {
        md_entry_px: trade.price.into(),
        md_entry_size: i32::try_from(trade.qty).unwrap().into(),
        security_id: INSTRUMENTS[trade.instrument].0.into(),
        rpt_seq: 1.into(),
        number_of_orders: i32::try_from(trade.orders.len()).unwrap().into(),
        aggressor_side: aggressor(trade),
        md_update_action: trade.action,
        md_trade_entry_id: trade.id.into(),
        pad: [0; 2],
    };
    group(&trades.iter().map(entry).collect::<Vec<_>>())
}

fn long_trades(trades: &[Trade]) -> Vec<u8> {
    let entry = |trade: &Trade| TradeEntryLong {
        md_entry_px: trade.price.into(),
        md_entry_size: trade.qty.into(),
        security_id: INSTRUMENTS[trade.instrument].0.into(),
        rpt_seq: 1.into(),
        number_of_orders: i32::try_from(trade.orders.len()).unwrap().into(),
        md_trade_entry_id: trade.id.into(),
        aggressor_side: aggressor(trade),
        md_update_action: trade.action,
        pad: [0; 6],
    };
    group(&trades.iter().map(entry).collect::<Vec<_>>())
}

/// Template 54, ready to trade.
pub(crate) fn definition(id: i32, name: &str, factor: i64, security_group: &[u8; 6]) -> Message {
    let mut root = DefinitionRoot::new_zeroed();
    (root.security_id, root.display_factor) = (id.into(), factor.into());
    root.symbol[..name.len()].copy_from_slice(name.as_bytes());
    (root.security_group, root.md_security_trading_status) = (*security_group, 17);
    let feed_types: [[u8; 4]; 2] = [*b"GBX\x0A", *b"GBI\x02"];
    let groups = [group::<[u8; 9]>(&[]), group(&feed_types), group::<[u8; 4]>(&[]), group::<[u8; 5]>(&[])];
    Message::new(template::FUTURE, root.as_bytes(), &groups.concat())
}

/// Template 30; without a number for the whole group.
pub(crate) fn status(id: i32, security_group: &[u8; 6], code: u8, time: u64) -> Message {
    let mut root = SecurityStatusRoot::new_zeroed();
    (root.transact_time, root.security_group, root.security_id) = (time.into(), *security_group, id.into());
    root.security_trading_status = code;
    Message::new(template::SECURITY_STATUS, root.as_bytes(), &[])
}

/// Template 4.
pub(crate) fn reset(time: u64) -> Message {
    let root = ChannelResetRoot { transact_time: time.into(), match_event_indicator: 0 };
    Message::new(template::CHANNEL_RESET, root.as_bytes(), &group(&[310_i16.to_le_bytes()]))
}

/// Template 12.
pub(crate) fn heartbeat() -> Message {
    Message::new(template::HEARTBEAT, &[], &[])
}
