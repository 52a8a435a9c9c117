//! A real day of CME futures as packets of MDP 3.0: behind each event the engine's book is a naive one by Databento's rules.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::real_data;
use dbn::decode::{DecodeRecord, DynDecoder};
use dbn::{MboMsg, VersionUpgradePolicy};
use peregrine_book::{BookConfig, Books, MarketBooks, RestingOrder};
use peregrine_types::{EpochNanos, EventKind, Level, MarketEvent, OrderRef, Price, Qty, Side, SymbolId};
use peregrine_wire::mdp3::{
    Depth, END_OF_EVENT, LAST_TRADE, Mdp3Config, Mdp3Decoder, OrderEntry, PacketBuilder, RefreshRoot, TradeEntry,
    TradeOrder, template,
};
use peregrine_wire::{ArbiterConfig, LineId, Mdp3Feed};
use zerocopy::{Immutable, IntoBytes};

const SYMBOL: SymbolId = SymbolId(0);
const FILES: [&str; 2] = ["cme/esh4-glbx-mdp3-20231224.mbo.dbn.zst", "cme/esh4-glbx-mdp3-20231225.mbo.dbn.zst"];
/// Entries of one message.
const ENTRY_COUNT: usize = 24;

fn records(path: &Path) -> Vec<MboMsg> {
    let mut decoder = DynDecoder::from_file(path, VersionUpgradePolicy::AsIs).unwrap();
    let mut records = Vec::new();
    while let Some(record) = decoder.decode_record::<MboMsg>().unwrap() {
        records.push(record.clone());
    }
    records
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    side: u8,
    price: i64,
    qty: u32,
    rank: u64,
}

/// A adds, C reduces, M sets, R clears, T and F change nothing. Where an order is more than its fills left of it, it has
/// lost its place.
#[derive(Default)]
struct Naive {
    orders: BTreeMap<u64, Order>,
    rank: u64,
    traded: u64,
    /// What the event has filled so far.
    filled: BTreeMap<u64, u32>,
}

impl Naive {
    fn apply(&mut self, record: &MboMsg) {
        self.rank += 1;
        let fresh = Order { side: record.side.cast_unsigned(), price: record.price, qty: record.size, rank: self.rank };
        match record.action.cast_unsigned() {
            b'A' => drop(self.orders.insert(record.order_id, fresh)),
            b'C' => {
                let order = self.orders.get_mut(&record.order_id).unwrap();
                order.qty -= record.size;
                if order.qty == 0 {
                    self.orders.remove(&record.order_id);
                }
            }
            b'M' => {
                let filled = self.filled.get(&record.order_id).copied().unwrap_or(0);
                let order = self.orders.get_mut(&record.order_id).unwrap();
                let is_behind = order.price != record.price || order.qty.saturating_sub(filled) < record.size;
                *order = Order { side: order.side, rank: if is_behind { self.rank } else { order.rank }, ..fresh };
            }
            b'R' => self.orders.clear(),
            b'T' => self.traded += u64::from(record.size),
            b'F' => *self.filled.entry(record.order_id).or_default() += record.size,
            b'N' => {}
            other => unreachable!("action {other}"),
        }
    }

    fn queue(&self, side: Side) -> Vec<(u64, Order)> {
        let code = if side == Side::Buy { b'B' } else { b'A' };
        let mut queue: Vec<_> = self.orders.iter().filter(|order| order.1.side == code).collect();
        queue.sort_by_key(|(_, order)| (if side == Side::Buy { -order.price } else { order.price }, order.rank));
        queue.into_iter().map(|(id, order)| (*id, *order)).collect()
    }

    fn levels(&self, side: Side) -> Vec<(i64, u64)> {
        let mut levels = Vec::<(i64, u64)>::new();
        for (_, order) in self.queue(side) {
            match levels.last_mut().filter(|level| level.0 == order.price) {
                Some(level) => level.1 += u64::from(order.qty),
                None => levels.push((order.price, u64::from(order.qty))),
            }
        }
        levels
    }
}

fn group<T: IntoBytes + Immutable>(entries: &[T], pad_len: usize) -> Vec<u8> {
    let mut bytes = u16::try_from(size_of::<T>()).unwrap().to_le_bytes().to_vec();
    bytes.resize(2 + pad_len, 0);
    bytes.push(u8::try_from(entries.len()).unwrap());
    entries.iter().for_each(|entry| bytes.extend_from_slice(entry.as_bytes()));
    bytes
}

/// The messages of an event: template and groups. Applies its records to `naive`.
fn messages(event: &[MboMsg], naive: &mut Naive) -> Vec<(u16, Vec<u8>)> {
    let (mut trades, mut fills, mut orders) = (Vec::<TradeEntry>::new(), Vec::new(), Vec::new());
    let fill = |record: &MboMsg| TradeOrder {
        order_id: record.order_id.into(),
        last_qty: i32::try_from(record.size).unwrap().into(),
        pad: [0; 4],
    };
    let mut taker = b'N';
    for record in event {
        naive.apply(record);
        let (action, side) = (record.action.cast_unsigned(), record.side.cast_unsigned());
        let update = match action {
            b'T' => {
                taker = side;
                trades.push(trade_entry(record));
                // The aggressor's order comes first, whether or not it stood in the book.
                fills.extend((taker != b'N').then(|| fill(record)));
                continue;
            }
            b'F' if side != taker || taker == b'N' => {
                fills.push(fill(record));
                let trade = trades.last_mut().unwrap();
                trade.number_of_orders = (trade.number_of_orders.get() + 1).into();
                continue;
            }
            b'F' | b'N' => continue,
            b'A' | b'R' => 0,
            _ if naive.orders.contains_key(&record.order_id) => 1,
            _ => 2,
        };
        let order = naive.orders.get(&record.order_id);
        orders.push(OrderEntry {
            order_id: record.order_id.into(),
            md_order_priority: order.map_or(u64::MAX, |order| order.rank).into(),
            md_entry_px: record.price.into(),
            md_display_qty: order.map_or(i32::MAX, |order| i32::try_from(order.qty).unwrap()).into(),
            security_id: record.hd.instrument_id.cast_signed().into(),
            md_update_action: update,
            md_entry_type: match (action, side) {
                (b'R', _) => b'J',
                (_, b'B') => b'0',
                _ => b'1',
            },
            pad: [0; 6],
        });
    }
    naive.filled.clear();
    let none: [TradeEntry; 0] = [];
    let mut list: Vec<(u16, Vec<u8>)> = Vec::new();
    for chunk in trades.chunks(ENTRY_COUNT) {
        list.push((template::TRADE_SUMMARY, [group(chunk, 0), group::<TradeOrder>(&[], 5)].concat()));
    }
    for chunk in fills.chunks(ENTRY_COUNT) {
        list.push((template::TRADE_SUMMARY, [group(&none, 0), group(chunk, 5)].concat()));
    }
    list.extend(orders.chunks(ENTRY_COUNT).map(|chunk| (template::ORDER_BOOK, group(chunk, 0))));
    list
}

fn trade_entry(record: &MboMsg) -> TradeEntry {
    let aggressor_side = match record.side.cast_unsigned() {
        b'B' => 1,
        b'A' => 2,
        _ => 0,
    };
    TradeEntry {
        md_entry_px: record.price.into(),
        md_entry_size: i32::try_from(record.size).unwrap().into(),
        security_id: record.hd.instrument_id.cast_signed().into(),
        rpt_seq: 1.into(),
        number_of_orders: i32::from(aggressor_side != 0).into(),
        aggressor_side,
        md_update_action: 0,
        md_trade_entry_id: record.sequence.into(),
        pad: [0; 2],
    }
}

/// The packets of an event, one message each.
fn packets(event: &[MboMsg], naive: &mut Naive, number: &mut u32) -> Vec<Vec<u8>> {
    let messages = messages(event, naive);
    let last_trade = messages.iter().rposition(|message| message.0 == template::TRADE_SUMMARY);
    let end = messages.len().wrapping_sub(1);
    let mut all = Vec::new();
    for (at, (template, groups)) in messages.iter().enumerate() {
        let bits = [(Some(at) == last_trade, LAST_TRADE), (at == end, END_OF_EVENT)];
        let root = RefreshRoot {
            transact_time: event[0].hd.ts_event.into(),
            match_event_indicator: bits.iter().filter(|bit| bit.0).map(|bit| bit.1).sum(),
            pad: [0; 2],
        };
        *number += 1;
        let mut buffer = [0; 1_500];
        let mut packet = PacketBuilder::new(&mut buffer, *number, event[0].ts_recv).unwrap();
        packet.push(*template, 9, root.as_bytes(), groups).unwrap();
        all.push(packet.finish().to_vec());
    }
    all
}

struct Engine {
    feed: Mdp3Feed,
    books: Books,
    /// The reference under which each order stands now.
    refs: BTreeMap<u64, u64>,
    ids: BTreeMap<u64, u64>,
    printed: u64,
    execution_count: u64,
}

impl Engine {
    fn new() -> Self {
        let config = Mdp3Config { instrument_count_max: 2, order_count_max: 1 << 14, depth: Depth::Orders };
        let config = (ArbiterConfig { line_count: 1, ..ArbiterConfig::default() }, Mdp3Decoder::new(config));
        Self {
            feed: Mdp3Feed::new(config.0, config.1).unwrap(),
            books: Books::new(BookConfig::new(2, 1 << 14, 1 << 14)).unwrap(),
            refs: BTreeMap::new(),
            ids: BTreeMap::new(),
            printed: 0,
            execution_count: 0,
        }
    }

    fn packet(&mut self, payload: &[u8], time: u64) {
        let mut events: Vec<MarketEvent> = Vec::new();
        let mut sink = |event| {
            events.push(event);
            Ok(())
        };
        self.feed.on_packet(LineId::A, payload, EpochNanos(time.cast_signed()), &mut sink).unwrap();
        for event in &events {
            if event.kind == EventKind::AddOrder {
                self.refs.insert(event.id_a, event.id_a);
                self.ids.insert(event.id_a, event.id_a);
            }
            if event.kind == EventKind::ReplaceOrder {
                let id = self.ids[&event.id_a];
                self.refs.insert(id, event.id_b);
                self.ids.insert(event.id_b, id);
            }
            self.execution_count += u64::from(event.kind == EventKind::ExecuteOrder);
            let update = self.books.apply(event);
            assert_eq!(update.anomaly, None, "{event:?}");
            self.printed += update.trade.filter(|trade| trade.is_printable).map_or(0, |trade| trade.qty.0);
        }
    }

    fn order(&self, id: u64) -> Option<(u8, i64, u32)> {
        let order = self.books.order(OrderRef(*self.refs.get(&id)?))?;
        let side = if order.side == Side::Buy { b'B' } else { b'A' };
        Some((side, order.price.0, u32::try_from(order.qty.0).unwrap()))
    }

    fn levels(&self, side: Side) -> Vec<(i64, u64)> {
        let mut levels = vec![Level::default(); 1 << 14];
        let count = self.books.depth(SYMBOL, side, &mut levels);
        levels[..count].iter().map(|level| (level.price.0, level.qty.0)).collect()
    }

    fn queue(&self, side: Side) -> Vec<u64> {
        let nobody = RestingOrder { symbol: SYMBOL, side, price: Price(0), qty: Qty(0), priority: Default::default() };
        let mut ids = Vec::new();
        for (price, _) in self.levels(side) {
            let mut queue = vec![(OrderRef(0), nobody); 1 << 12];
            let count = self.books.queue(SYMBOL, side, Price(price), &mut queue);
            ids.extend(queue[..count].iter().map(|(order_ref, _)| self.ids[&order_ref.0]));
        }
        ids
    }
}

#[test]
fn a_real_day_as_mdp3_has_the_naive_book_behind_each_event() {
    let (mut event_counts, mut executions) = ([0; FILES.len()], 0);
    for (name, total) in FILES.into_iter().zip(&mut event_counts) {
        let Some(path) = real_data(name) else { return };
        let records = records(&path);
        let (mut engine, mut naive, mut number, mut event_count) = (Engine::new(), Naive::default(), 0, 0_u32);
        for event in records.chunk_by(|record, _| !record.flags.is_last()) {
            for payload in packets(event, &mut naive, &mut number) {
                engine.packet(&payload, event[0].ts_recv);
            }
            for id in event.iter().map(|record| record.order_id) {
                let wanted = naive.orders.get(&id).map(|order| (order.side, order.price, order.qty));
                assert_eq!(engine.order(id), wanted, "order {id} behind event {event_count}");
            }
            assert_eq!(engine.books.order_count(), naive.orders.len(), "event {event_count}");
            assert_eq!(engine.printed, naive.traded, "event {event_count}");
            for side in Side::BOTH.into_iter().filter(|_| event_count.is_multiple_of(64)) {
                assert_eq!(engine.levels(side), naive.levels(side), "event {event_count}");
            }
            event_count += 1;
        }
        for side in Side::BOTH {
            let wanted: Vec<u64> = naive.queue(side).into_iter().map(|order| order.0).collect();
            assert_eq!(engine.queue(side), wanted, "the queues of {side:?}");
        }
        let counters = engine.feed.decoder().counters();
        assert_eq!((counters.malformed_count, counters.refused_entry_count, counters.order_full_count), (0, 0, 0));
        assert_eq!(counters.unmatched_trade_order_count, 0);
        assert_eq!(engine.feed.arbiter().counters().delivered_count, u64::from(number));
        *total = event_count;
        executions += engine.execution_count;
    }
    // The first file is one snapshot.
    assert!(event_counts[0] == 1 && event_counts[1] > 10_000 && executions > 1_000, "{event_counts:?} {executions}");
}
