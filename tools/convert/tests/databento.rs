//! DBN files against a naive book that follows Databento's own rules.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Replay, Written, plan, real_data};
use dbn::decode::{DecodeRecord, DynDecoder};
use dbn::{MboMsg, VersionUpgradePolicy};
use peregrine_book::MarketBooks as _;
use peregrine_convert::Format;
use peregrine_types::{EventKind, Level, Side, SymbolId};

const SYMBOL: SymbolId = SymbolId(0);
const FILES: [&str; 2] = ["cme/esh4-glbx-mdp3-20231224.mbo.dbn.zst", "cme/esh4-glbx-mdp3-20231225.mbo.dbn.zst"];

fn records(path: &Path) -> Vec<MboMsg> {
    let mut decoder = DynDecoder::from_file(path, VersionUpgradePolicy::AsIs).unwrap();
    let mut records = Vec::new();
    while let Some(record) = decoder.decode_record::<MboMsg>().unwrap() {
        records.push(record.clone());
    }
    records
}

/// The book as the sheet has it: A adds, C reduces, M sets, R clears, T and F change nothing.
#[derive(Default)]
struct Naive {
    /// Side, price, size, and place in the queue, by order.
    orders: BTreeMap<u64, (u8, i64, u32, u64)>,
    rank: u64,
    traded: u64,
}

impl Naive {
    fn apply(&mut self, record: &MboMsg) {
        let (action, side) = (record.action.cast_unsigned(), record.side.cast_unsigned());
        self.rank += 1;
        let fresh = (side, record.price, record.size, self.rank);
        match action {
            b'A' => drop(self.orders.insert(record.order_id, fresh)),
            b'C' => {
                let order = self.orders.get_mut(&record.order_id).unwrap();
                order.2 -= record.size;
                if order.2 == 0 {
                    self.orders.remove(&record.order_id);
                }
            }
            b'M' => {
                let order = self.orders.get_mut(&record.order_id).unwrap();
                let is_behind = order.1 != record.price || order.2 < record.size;
                *order = (order.0, record.price, record.size, if is_behind { self.rank } else { order.3 });
            }
            b'R' => self.orders.clear(),
            b'T' => self.traded += u64::from(record.size),
            b'F' | b'N' => {}
            other => unreachable!("action {other}"),
        }
    }

    fn levels(&self, side: Side, count: usize) -> Vec<(i64, u64)> {
        let code = if side == Side::Buy { b'B' } else { b'A' };
        let mut levels = BTreeMap::new();
        for (_, price, size, _) in self.orders.values().filter(|order| order.0 == code) {
            *levels.entry(*price).or_insert(0) += u64::from(*size);
        }
        let levels = levels.into_iter();
        if side == Side::Buy { levels.rev().take(count).collect() } else { levels.take(count).collect() }
    }
}

fn pairs(levels: &[Level]) -> Vec<(i64, u64)> {
    levels.iter().map(|level| (level.price.0, level.qty.0)).collect()
}

fn printed(replay: &mut Replay, time: i64) -> u64 {
    let mut volume = 0;
    replay.step_to(time, |_, update| {
        volume += update.trade.filter(|trade| trade.is_printable).map_or(0, |trade| trade.qty.0);
    });
    volume
}

#[test]
fn the_real_day_has_the_same_book_after_each_event() {
    for name in FILES {
        let Some(path) = real_data(name) else { return };
        assert_eq!(Format::recognise(&path).unwrap(), Format::Dbn);
        let mut plan = plan(Format::Dbn, &path);
        plan.zone = "UTC".to_owned();
        let written = Written::of(&plan).unwrap();
        let summary = &written.summary;
        assert!(summary.is_sound, "{:?}", summary.findings);
        assert_eq!((summary.symbols[0].source.as_str(), summary.symbols[0].symbol.as_str()), ("ESH4", "ESH4"));
        let records = records(&path);
        assert_eq!(summary.rows.values().sum::<u64>(), u64::try_from(records.len()).unwrap());
        let mut replay = written.replay();
        let (mut naive, mut volume, mut compared) = (Naive::default(), 0, 0_u32);
        for (at, record) in records.iter().enumerate() {
            naive.apply(record);
            if !record.flags.is_last() || records.get(at + 1).is_some_and(|next| next.ts_recv == record.ts_recv) {
                continue;
            }
            volume += printed(&mut replay, record.ts_recv.cast_signed());
            assert_eq!(replay.books.order_count(), naive.orders.len(), "record {at}");
            for side in Side::BOTH.into_iter().filter(|_| compared.is_multiple_of(64)) {
                assert_eq!(pairs(&replay.depth(SYMBOL, side, 100_000)), naive.levels(side, 100_000), "record {at}");
            }
            compared += 1;
        }
        volume += printed(&mut replay, i64::MAX);
        assert!(compared > 0);
        assert_eq!(volume, naive.traded, "what was printed is what was traded");
    }
}

#[test]
fn best_levels_of_the_real_day_are_equal_after_each_event_and_crossed_before_the_open_only() {
    let Some(path) = real_data(FILES[1]) else { return };
    let mut plan = plan(Format::Dbn, &path);
    plan.zone = "UTC".to_owned();
    let written = Written::of(&plan).unwrap();
    let records = records(&path);
    let mut replay = written.replay();
    let mut best: [BTreeMap<i64, u64>; 2] = Default::default();
    let mut naive = Naive::default();
    let open = 1_703_545_200_000_000_000;
    for (at, record) in records.iter().enumerate() {
        let mut change = |order: Option<&(u8, i64, u32, u64)>, is_add: bool| {
            let Some((side, price, size, _)) = order else { return };
            let levels = &mut best[usize::from(*side == b'A')];
            let level = levels.entry(*price).or_insert(0);
            if is_add {
                *level += u64::from(*size)
            } else {
                *level -= u64::from(*size)
            }
            if *level == 0 {
                levels.remove(price);
            }
        };
        change(naive.orders.get(&record.order_id), false);
        naive.apply(record);
        change(naive.orders.get(&record.order_id), true);
        if !record.flags.is_last() || records.get(at + 1).is_some_and(|next| next.ts_recv == record.ts_recv) {
            continue;
        }
        replay.step_to(record.ts_recv.cast_signed(), |_, _| {});
        let theirs = [best[0].last_key_value(), best[1].first_key_value()];
        let theirs = theirs.map(|level| level.map(|(price, qty)| (*price, *qty)));
        let top = replay.books.top(SYMBOL);
        assert_eq!(
            [top.bid, top.ask].map(|level| level.map(|level| (level.price.0, level.qty.0))),
            theirs,
            "record {at}"
        );
        assert!(!top.is_crossed() || record.ts_recv < open + 1_000_000_000, "record {at}");
    }
}

#[test]
fn the_real_day_in_another_zone_begins_with_the_orders_that_stood_at_its_midnight() {
    let Some(path) = real_data(FILES[1]) else { return };
    let written = Written::of(&plan(Format::Dbn, &path)).unwrap();
    assert_eq!((written.summary.date.as_str(), written.summary.zone.as_str()), ("2023-12-25", "America/New_York"));
    assert!(written.summary.is_sound, "{:?}", written.summary.findings);
    assert_eq!(written.found("before_session"), 8_725);
    let mut naive = Naive::default();
    records(&path).iter().for_each(|record| naive.apply(record));
    let mut replay = written.replay();
    while let Some((event, _)) = replay.step() {
        assert!(event.kind != EventKind::AddOrder || event.exch_time.0 > 1_703_480_400_000_000_000);
    }
    for side in Side::BOTH {
        assert_eq!(pairs(&replay.depth(SYMBOL, side, 100_000)), naive.levels(side, 100_000));
    }
}
