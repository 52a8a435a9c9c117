//! A session as an incremental MDP 3.0 feed on two lines: every event of the session as the messages that an exchange of
//! that protocol sends for it, in packets with the same faults as those of MoldUDP64.
//!
//! | ITCH 5.0 | templates, one event each |
//! |---|---|
//! | `R` | 54: `SecurityID` is the locate, the display factor is one |
//! | `H` | 30 |
//! | `A`, `F`, `X`, `D`, `U` | 46 with the changed levels (ten deep) and the orders behind them, 47 for orders deeper in the book |
//! | `E`, `C` | 48 with the aggressor's order and the resting one, then as `X` |
//! | `P`, `Q` | 48 without orders |
//! | `B` | 48, deleted |
//!
//! Everything else has no counterpart and is left out. The last message of an event says so.

use std::collections::{BTreeMap, HashMap};

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Side, SymbolId};
use peregrine_wire::itch50::Decoder;
use peregrine_wire::mdp3::{
    BookEntry, BookOrder, DefinitionRoot, END_OF_EVENT, GroupSize, GroupSize8Byte, LAST_TRADE, MESSAGE_HEADER_LEN,
    NULL_I32, NULL_PRICE, OrderEntry, PACKET_HEADER_LEN, PacketBuilder, RefreshRoot, SecurityStatusRoot, TradeEntry,
    TradeOrder, template,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::config::ConfigError;
use crate::lines::Lines;
use crate::packets::{PacketConfig, PacketReport};
use crate::session::Session;

/// Schema version of the messages.
const VERSION: u16 = 13;
/// Levels of a book that are told.
const DEPTH: usize = 10;
/// Symbols that a session can have.
const SYMBOL_COUNT_MAX: u32 = 1 << 16;
/// The exchange's number of the first aggressor's order: far above those of the session.
const AGGRESSOR_FIRST: u64 = 1 << 48;
const NEW: u8 = 0;
const CHANGE: u8 = 1;
const DELETE: u8 = 2;

/// A message: template, root block, groups.
type Message = (u16, Vec<u8>, Vec<u8>);

#[derive(Clone, Copy, Debug)]
struct Resting {
    symbol: SymbolId,
    side: Side,
    price: i64,
    qty: u64,
    priority: u64,
}

/// Quantity and orders of a price.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    qty: u64,
    count: u32,
}

/// What becomes of one order.
#[derive(Clone, Copy, Debug)]
struct Change {
    order: u64,
    action: u8,
    resting: Resting,
}

/// From messages of a session to those of an MDP 3.0 feed.
#[derive(Debug)]
struct Encoder {
    decoder: Decoder,
    locates: HashMap<SymbolId, i32>,
    orders: HashMap<u64, Resting>,
    /// By symbol and side; bids with their prices negated, so that the first one is the best.
    levels: HashMap<(SymbolId, Side), BTreeMap<i64, Level>>,
    rpt_seq: HashMap<SymbolId, u32>,
    priority: u64,
    aggressor: u64,
}

/// A group of entries with its size in front.
fn group<E: IntoBytes + zerocopy::Immutable>(entries: &[E]) -> Vec<u8> {
    let block_length = u16::try_from(size_of::<E>()).unwrap_or(u16::MAX).into();
    let num_in_group = u8::try_from(entries.len()).unwrap_or(u8::MAX);
    let mut bytes = GroupSize { block_length, num_in_group }.as_bytes().to_vec();
    entries.iter().for_each(|entry| bytes.extend_from_slice(entry.as_bytes()));
    bytes
}

/// A group of orders with its size in front.
fn group_8byte<E: IntoBytes + zerocopy::Immutable>(entries: &[E]) -> Vec<u8> {
    let block_length = u16::try_from(size_of::<E>()).unwrap_or(u16::MAX).into();
    let num_in_group = u8::try_from(entries.len()).unwrap_or(u8::MAX);
    let mut bytes = GroupSize8Byte { block_length, pad: [0; 5], num_in_group }.as_bytes().to_vec();
    entries.iter().for_each(|entry| bytes.extend_from_slice(entry.as_bytes()));
    bytes
}

/// A quantity as the protocol has it.
fn size(qty: u64) -> i32 {
    i32::try_from(qty).unwrap_or(i32::MAX - 1)
}

const fn entry_type(side: Side) -> u8 {
    match side {
        Side::Buy => b'0',
        Side::Sell => b'1',
    }
}

/// A price as the key of its side's levels.
const fn key(side: Side, price: i64) -> i64 {
    match side {
        Side::Buy => -price,
        Side::Sell => price,
    }
}

impl Encoder {
    fn new(midnight: EpochNanos) -> Self {
        Self {
            decoder: Decoder::new(midnight, SYMBOL_COUNT_MAX),
            locates: HashMap::new(),
            orders: HashMap::new(),
            levels: HashMap::new(),
            rpt_seq: HashMap::new(),
            priority: 0,
            aggressor: AGGRESSOR_FIRST,
        }
    }

    /// The messages of what one message of the session says.
    fn encode(&mut self, message: &[u8]) -> Vec<Message> {
        let (mut first, time) = (None, EpochNanos(0));
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            first = first.or(Some(event));
            Ok(())
        };
        let taken = self.decoder.decode(message, time, EventFlags::RECV_TIME_SYNTHETIC, &mut sink);
        debug_assert!(taken.is_ok(), "the sink takes everything");
        let Some(event) = first else { return Vec::new() };
        let mut messages = self.of_event(&event);
        if let Some((template_id, root, _)) = messages.last_mut() {
            // The byte behind the time in all roots but two, which are events of their own anyway.
            if !matches!(*template_id, template::FUTURE | template::SECURITY_STATUS)
                && let Some(indicator) = root.get_mut(8)
            {
                *indicator |= END_OF_EVENT;
            }
        }
        messages
    }

    fn of_event(&mut self, event: &MarketEvent) -> Vec<Message> {
        match event.kind {
            EventKind::StockDirectory => vec![self.definition(event)],
            EventKind::TradingAction => vec![self.status(event)],
            EventKind::AddOrder => {
                let resting = self.resting(event, event.side);
                self.changes(event, &[Change { order: event.id_a, action: NEW, resting }])
            }
            EventKind::ExecuteOrder | EventKind::ExecuteOrderAtPrice => {
                let trade = self.trade(event, true);
                let reduced = self.reduced(event.id_a, Some(event.qty.0));
                trade.into_iter().chain(self.changes(event, &reduced)).collect()
            }
            EventKind::CancelOrder => {
                let reduced = self.reduced(event.id_a, Some(event.qty.0));
                self.changes(event, &reduced)
            }
            EventKind::DeleteOrder => {
                let reduced = self.reduced(event.id_a, None);
                self.changes(event, &reduced)
            }
            EventKind::ReplaceOrder => {
                let mut changes = self.reduced(event.id_a, None);
                if let Some(side) = changes.first().map(|change| change.resting.side) {
                    changes.push(Change { order: event.id_b, action: NEW, resting: self.resting(event, side) });
                }
                self.changes(event, &changes)
            }
            EventKind::Trade | EventKind::CrossTrade | EventKind::BrokenTrade => {
                self.trade(event, false).into_iter().collect()
            }
            EventKind::SystemEvent
            | EventKind::RegSho
            | EventKind::ParticipantPosition
            | EventKind::MwcbLevels
            | EventKind::MwcbStatus
            | EventKind::IpoQuotingPeriod
            | EventKind::LuldCollar
            | EventKind::OperationalHalt
            | EventKind::ImbalanceShares
            | EventKind::ImbalancePrices
            | EventKind::RetailInterest
            | EventKind::DirectListingPrices
            | EventKind::DirectListingCollars
            | EventKind::GapStart
            | EventKind::GapEnd
            | EventKind::SessionStart
            | EventKind::SessionEnd
            | EventKind::SnapshotStart => Vec::new(),
        }
    }

    fn root(event: &MarketEvent, match_event_indicator: u8) -> Vec<u8> {
        let transact_time = event.exch_time.0.unsigned_abs().into();
        RefreshRoot { transact_time, match_event_indicator, pad: [0; 2] }.as_bytes().to_vec()
    }

    fn security(&self, symbol: SymbolId) -> i32 {
        self.locates.get(&symbol).copied().unwrap_or(0)
    }

    fn rpt_seq(&mut self, symbol: SymbolId) -> u32 {
        let last = self.rpt_seq.entry(symbol).or_insert(0);
        *last = last.wrapping_add(1);
        *last
    }

    fn definition(&mut self, event: &MarketEvent) -> Message {
        let security_id = i32::try_from(event.id_b).unwrap_or(0);
        self.locates.insert(event.symbol, security_id);
        let mut root = DefinitionRoot::new_zeroed();
        let name = event.symbol_name().to_string();
        root.symbol.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
        root.match_event_indicator = END_OF_EVENT;
        root.tot_num_reports = u32::MAX.into();
        root.security_update_action = b'A';
        root.last_update_time = event.exch_time.0.unsigned_abs().into();
        root.md_security_trading_status = u8::MAX;
        root.security_id = security_id.into();
        root.min_price_increment = 100_000.into();
        root.display_factor = 1_000_000_000.into();
        (template::FUTURE, root.as_bytes().to_vec(), Vec::new())
    }

    fn status(&self, event: &MarketEvent) -> Message {
        let mut root = SecurityStatusRoot::new_zeroed();
        root.transact_time = event.exch_time.0.unsigned_abs().into();
        root.security_id = self.security(event.symbol).into();
        root.match_event_indicator = END_OF_EVENT;
        root.security_trading_status = match event.detail {
            b'T' => 17,
            b'Q' => 21,
            _ => 2,
        };
        (template::SECURITY_STATUS, root.as_bytes().to_vec(), Vec::new())
    }

    fn resting(&mut self, event: &MarketEvent, side: Side) -> Resting {
        self.priority += 1;
        Resting { symbol: event.symbol, side, price: event.price.0, qty: event.qty.0, priority: self.priority }
    }

    /// The change of an order that loses `qty`, all of it where that is not said.
    fn reduced(&self, order: u64, qty: Option<u64>) -> Vec<Change> {
        let Some(resting) = self.orders.get(&order).copied() else { return Vec::new() };
        let left = resting.qty.saturating_sub(qty.unwrap_or(resting.qty));
        let action = if left == 0 { DELETE } else { CHANGE };
        vec![Change { order, action, resting: Resting { qty: left, ..resting } }]
    }

    fn trade(&mut self, event: &MarketEvent, is_against_order: bool) -> Option<Message> {
        let is_broken = event.kind == EventKind::BrokenTrade;
        let resting = self.orders.get(&event.id_a).copied().filter(|_| is_against_order);
        if (is_against_order && resting.is_none()) || (event.qty.0 == 0 && !is_broken) {
            return None;
        }
        let price =
            if event.kind == EventKind::ExecuteOrder { resting.map_or(0, |order| order.price) } else { event.price.0 };
        let entry = TradeEntry {
            md_entry_px: price.into(),
            md_entry_size: size(event.qty.0).into(),
            security_id: self.security(event.symbol).into(),
            rpt_seq: self.rpt_seq(event.symbol).into(),
            number_of_orders: if resting.is_some() { 2 } else { 0 }.into(),
            aggressor_side: resting.map_or(0, |order| match order.side {
                Side::Buy => 2,
                Side::Sell => 1,
            }),
            md_update_action: if is_broken { DELETE } else { NEW },
            md_trade_entry_id: u32::try_from(event.id_b & u64::from(u32::MAX)).unwrap_or(0).into(),
            pad: [0; 2],
        };
        let last_qty = size(event.qty.0).into();
        self.aggressor += u64::from(resting.is_some());
        let orders =
            [self.aggressor, event.id_a].map(|order| TradeOrder { order_id: order.into(), last_qty, pad: [0; 4] });
        let orders = if resting.is_some() { &orders[..] } else { &[] };
        let groups = [group(&[entry]), group_8byte(orders)].concat();
        Some((template::TRADE_SUMMARY, Self::root(event, LAST_TRADE), groups))
    }

    /// Applies the changes of one event and tells them: levels with the orders behind them, then the orders deeper in the
    /// book.
    fn changes(&mut self, event: &MarketEvent, changes: &[Change]) -> Vec<Message> {
        let (mut levels, mut orders, mut deep) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            let told = self.apply(change, &mut levels);
            let Resting { symbol, side, price, qty, priority } = change.resting;
            let (order_id, md_order_priority) = (change.order.into(), priority.into());
            let md_display_qty = if qty == 0 { NULL_I32 } else { size(qty) }.into();
            match told {
                Some(reference_id) => orders.push(BookOrder {
                    order_id,
                    md_order_priority,
                    md_display_qty,
                    reference_id,
                    order_update_action: change.action,
                    pad: [0; 2],
                }),
                None => deep.push(OrderEntry {
                    order_id,
                    md_order_priority,
                    md_entry_px: price.into(),
                    md_display_qty,
                    security_id: self.security(symbol).into(),
                    md_update_action: change.action,
                    md_entry_type: entry_type(side),
                    pad: [0; 6],
                }),
            }
        }
        let mut messages = Vec::new();
        if !deep.is_empty() {
            messages.push((template::ORDER_BOOK, Self::root(event, 0), group(&deep)));
        }
        if !levels.is_empty() {
            let groups = [group(&levels), group_8byte(&orders)].concat();
            messages.push((template::BOOK, Self::root(event, 0), groups));
        }
        messages
    }

    /// Applies one change to orders and levels, adds what becomes of the ten best levels, and gives the number of the entry
    /// of the order's own level, from 1.
    fn apply(&mut self, change: &Change, entries: &mut Vec<BookEntry>) -> Option<u8> {
        let Resting { symbol, side, price, qty, .. } = change.resting;
        let before = self.orders.get(&change.order).map_or(0, |resting| resting.qty);
        if qty == 0 {
            self.orders.remove(&change.order)
        } else {
            self.orders.insert(change.order, change.resting)
        };
        let levels = self.levels.entry((symbol, side)).or_default();
        let rank = levels.range(..key(side, price)).count() + 1;
        let level = levels.entry(key(side, price)).or_default();
        let is_new = level.count == 0;
        level.qty = (level.qty + qty).saturating_sub(before);
        level.count = (level.count + u32::from(before == 0)).saturating_sub(u32::from(qty == 0));
        let told = *level;
        if told.count == 0 {
            levels.remove(&key(side, price));
        }
        let moved_up = levels.iter().nth(DEPTH - 1).map(|(price, level)| (key(side, *price), *level));
        if rank > DEPTH {
            return None;
        }
        let security_id = self.security(symbol);
        let mut entry = |price: i64, level: Level, rank: usize, action: u8| {
            let is_gone = level.count == 0;
            let rpt_seq = self.rpt_seq(symbol);
            entries.push(BookEntry {
                md_entry_px: if is_gone && price == NULL_PRICE { NULL_PRICE } else { price }.into(),
                md_entry_size: if is_gone { NULL_I32 } else { size(level.qty) }.into(),
                security_id: security_id.into(),
                rpt_seq: rpt_seq.into(),
                number_of_orders: i32::try_from(level.count).unwrap_or(i32::MAX - 1).into(),
                md_price_level: u8::try_from(rank).unwrap_or(u8::MAX),
                md_update_action: action,
                md_entry_type: entry_type(side),
                tradeable_size: NULL_I32.into(),
                pad: 0,
            });
            u8::try_from(entries.len()).unwrap_or(u8::MAX)
        };
        let action = if told.count == 0 {
            DELETE
        } else if is_new {
            NEW
        } else {
            CHANGE
        };
        let own = entry(price, told, rank, action);
        if let Some((price, level)) = moved_up.filter(|_| action == DELETE) {
            entry(price, level, DEPTH, NEW);
        }
        Some(own)
    }
}

/// Fills packets and keeps the pulse.
#[derive(Debug)]
struct Sender {
    waiting: Vec<Message>,
    len: usize,
    /// Stamp of the first message that waits.
    since: EpochNanos,
    next: u32,
    last_sent: Option<EpochNanos>,
    packet_count: u64,
    message_count: u64,
}

impl Sender {
    fn flush(&mut self, time: EpochNanos, lines: &mut Lines) {
        if self.waiting.is_empty() {
            return;
        }
        let messages = core::mem::take(&mut self.waiting);
        self.send(time, &messages, messages.len() as u64, lines);
        self.packet_count += 1;
        self.message_count += messages.len() as u64;
        self.len = PACKET_HEADER_LEN;
    }

    /// Sends a packet; every packet has a number, heartbeats too.
    fn send(&mut self, time: EpochNanos, messages: &[Message], count: u64, lines: &mut Lines) {
        let mut buffer = [0; 65_507];
        let Ok(mut packet) = PacketBuilder::new(&mut buffer, self.next, time.0.unsigned_abs()) else { return };
        for (template_id, root, groups) in messages {
            let pushed = packet.push(*template_id, VERSION, root, groups);
            debug_assert!(pushed.is_ok(), "the length was counted");
        }
        lines.send(time, packet.finish(), count);
        self.next = self.next.wrapping_add(1);
        self.last_sent = Some(time);
    }

    fn take(&mut self, time: EpochNanos, message: Message, config: &PacketConfig, lines: &mut Lines) {
        let due = self.since.plus(config.coalesce);
        if !self.waiting.is_empty() && due <= time {
            self.flush(due, lines);
        }
        let len = MESSAGE_HEADER_LEN + message.1.len() + message.2.len();
        if self.len + len > config.payload_len_max {
            self.flush(time, lines);
        }
        if self.waiting.is_empty() {
            self.pulse(time, config, lines);
            self.since = time;
        }
        self.len += len;
        self.waiting.push(message);
    }

    /// Sends the heartbeats that fall due before `time`.
    fn pulse(&mut self, time: EpochNanos, config: &PacketConfig, lines: &mut Lines) {
        while let Some(next) = self.last_sent.map(|last| last.plus(config.heartbeat))
            && next < time
        {
            self.send(next, &[(template::HEARTBEAT, Vec::new(), Vec::new())], 0, lines);
        }
    }
}

/// Puts what is left of `session` into packets of MDP 3.0 and hands them to `on_packet` as
/// [`for_each_packet`](crate::for_each_packet) does. The session's name and its end have no counterpart; a message longer than
/// `payload_len_max` gets a packet of its own.
///
/// # Errors
/// [`ConfigError`] with every violation of `config`; nothing was sent then.
pub fn for_each_mdp3_packet(
    session: &mut Session,
    midnight: EpochNanos,
    config: &PacketConfig,
    mut on_packet: impl FnMut(u8, EpochNanos, &[u8]),
) -> Result<PacketReport, ConfigError> {
    config.validate()?;
    let (mut lines, mut encoder) = (Lines::new(config), Encoder::new(midnight));
    let mut sender = Sender {
        waiting: Vec::new(),
        len: PACKET_HEADER_LEN,
        since: EpochNanos::MIN,
        next: 1,
        last_sent: None,
        packet_count: 0,
        message_count: 0,
    };
    let mut last = EpochNanos::MIN;
    while let Some((time, message)) = session.next_message() {
        for message in encoder.encode(message) {
            sender.take(time, message, config, &mut lines);
        }
        lines.deliver(time, &mut on_packet);
        last = time;
    }
    if last > EpochNanos::MIN {
        sender.flush(last.plus(config.coalesce), &mut lines);
        sender.send(last.plus(config.heartbeat), &[(template::HEARTBEAT, Vec::new(), Vec::new())], 0, &mut lines);
    }
    lines.deliver(EpochNanos::MAX, &mut on_packet);
    Ok(lines.report(sender.packet_count, sender.message_count))
}
