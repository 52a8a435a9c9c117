//! Sessions as `mbp-1`, `mbp-10`, `tbbo` and `trades`, against a naive book of ordered maps that is stepped message by
//! message; and the way back.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::sessions::{self, Messages};
use common::{Collected, Replay, Written, plan, real_data};
use dbn::decode::{DbnDecoder, DbnMetadata as _, DecodeRecord as _, DynDecoder};
use dbn::{BidAskPair, MboMsg, Mbp1Msg, Mbp10Msg, TradeMsg, UNDEF_PRICE, VersionUpgradePolicy};
use jiff::civil::{Date, date};
use peregrine_convert::{DbnSchema, Format};
use peregrine_generate::{GeneratorConfig, Session, write_binary_file};
use peregrine_source::market::{Input, InputPlan};
use peregrine_types::{EventFlags, EventKind, MarketEvent, Nanos, Side, SymbolId};

const LEVEL_SCHEMAS: [DbnSchema; 4] = [DbnSchema::Mbp1, DbnSchema::Mbp10, DbnSchema::Tbbo, DbnSchema::Trades];
const LAST: u8 = 0x80;
const MAYBE_BAD_BOOK: u8 = 0x04;

/// A level of both sides: price, quantity and number of orders of bid and ask.
type Pair = [(i64, u64, u32); 2];

/// One record of any of the four schemas.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    instrument: u32,
    times: (u64, u64),
    action: char,
    side: char,
    price: i64,
    size: u32,
    depth: u8,
    flags: u8,
    sequence: u32,
    levels: Vec<Pair>,
}

macro_rules! row {
    ($record:expr, $levels:expr) => {
        Row {
            instrument: $record.hd.instrument_id,
            times: ($record.hd.ts_event, $record.ts_recv),
            action: char::from($record.action.cast_unsigned()),
            side: char::from($record.side.cast_unsigned()),
            price: $record.price,
            size: $record.size,
            depth: $record.depth,
            flags: $record.flags.raw(),
            sequence: $record.sequence,
            levels: $levels,
        }
    };
}

fn pair(pair: &BidAskPair) -> Pair {
    [(pair.bid_px, u64::from(pair.bid_sz), pair.bid_ct), (pair.ask_px, u64::from(pair.ask_sz), pair.ask_ct)]
}

/// The records of a file by the `dbn` crate's own decoder.
fn decoded(bytes: &[u8], schema: DbnSchema) -> Vec<Row> {
    let mut decoder = DbnDecoder::with_upgrade_policy(bytes, VersionUpgradePolicy::AsIs).unwrap();
    assert_eq!(decoder.metadata().schema.unwrap().as_str(), schema.name());
    let mut rows = Vec::new();
    match schema.name() {
        "mbp-10" => {
            while let Some(record) = decoder.decode_record::<Mbp10Msg>().unwrap() {
                rows.push(row!(record, record.levels.iter().map(pair).collect()));
            }
        }
        "mbp-1" | "tbbo" => {
            while let Some(record) = decoder.decode_record::<Mbp1Msg>().unwrap() {
                rows.push(row!(record, record.levels.iter().map(pair).collect()));
            }
        }
        _ => {
            while let Some(record) = decoder.decode_record::<TradeMsg>().unwrap() {
                rows.push(row!(record, Vec::new()));
            }
        }
    }
    rows
}

/// Orders by reference, levels by side and price: nothing else.
#[derive(Default)]
struct Naive {
    orders: BTreeMap<u64, (u32, Side, i64, u64)>,
    levels: BTreeMap<(u32, bool), BTreeMap<i64, (u64, u32)>>,
}

impl Naive {
    fn change(&mut self, (symbol, side, price): (u32, Side, i64), qty: i128, count: i64) {
        let levels = self.levels.entry((symbol, side == Side::Sell)).or_default();
        let level = levels.entry(price).or_default();
        level.0 = u64::try_from(i128::from(level.0) + qty).unwrap();
        level.1 = u32::try_from(i64::from(level.1) + count).unwrap();
        if level.1 == 0 {
            assert_eq!(level.0, 0);
            levels.remove(&price);
        }
    }

    fn add(&mut self, order: u64, (symbol, side, price, qty): (u32, Side, i64, u64)) {
        assert_eq!(self.orders.insert(order, (symbol, side, price, qty)), None);
        self.change((symbol, side, price), i128::from(qty), 1);
    }

    /// Takes some of an order, all where nothing is said; its symbol, side, price, and what was taken.
    fn take(&mut self, order: u64, qty: Option<u64>) -> (u32, Side, i64, u64) {
        let (symbol, side, price, left) = self.orders[&order];
        let taken = qty.unwrap_or(left);
        let is_gone = taken == left;
        self.change((symbol, side, price), -i128::from(taken), -i64::from(is_gone));
        if is_gone {
            self.orders.remove(&order);
        } else {
            self.orders.get_mut(&order).unwrap().3 -= taken;
        }
        (symbol, side, price, taken)
    }

    fn side(&self, symbol: u32, side: Side) -> Vec<(i64, u64, u32)> {
        let levels = self.levels.get(&(symbol, side == Side::Sell)).into_iter().flatten();
        let levels = levels.map(|(price, (qty, count))| (*price, *qty, *count));
        if side == Side::Sell { levels.collect() } else { levels.rev().collect() }
    }

    fn best(&self, symbol: u32, depth: usize) -> Vec<Pair> {
        let [bids, asks] = Side::BOTH.map(|side| self.side(symbol, side));
        let at = |levels: &[(i64, u64, u32)], at: usize| levels.get(at).copied().unwrap_or((UNDEF_PRICE, 0, 0));
        (0..depth).map(|index| [at(&bids, index), at(&asks, index)]).collect()
    }

    /// How many levels of a side are better than a price.
    fn better(&self, symbol: u32, side: Side, price: i64) -> u8 {
        let is_better = |other: i64| if side == Side::Buy { other > price } else { other < price };
        let count = self.side(symbol, side).iter().filter(|(other, ..)| is_better(*other)).count();
        u8::try_from(count.min(255)).unwrap()
    }
}

/// What the records of a schema must be.
struct Twin {
    schema: DbnSchema,
    depth: usize,
    naive: Naive,
    rows: Vec<Row>,
    sequence: u32,
    gaps: u32,
}

fn code(side: Option<Side>) -> char {
    match side {
        Some(Side::Buy) => 'B',
        Some(Side::Sell) => 'A',
        None => 'N',
    }
}

impl Twin {
    fn of(plan: &InputPlan, schema: DbnSchema) -> Vec<Row> {
        let mut input = Input::open(plan, &[]).unwrap();
        let mut events = Collected::default();
        while input.step(&mut events).unwrap() {}
        input.finish(&mut events);
        let depth = match schema.name() {
            "mbp-10" => 10,
            "trades" => 0,
            _ => 1,
        };
        let mut twin = Self { schema, depth, naive: Naive::default(), rows: Vec::new(), sequence: 0, gaps: 0 };
        events.0.iter().for_each(|event| twin.apply(event));
        twin.rows
    }

    fn row(&self, event: &MarketEvent, (action, side): (char, Option<Side>), (price, size): (i64, u64)) -> Row {
        Row {
            instrument: event.symbol.0 + 1,
            times: (event.exch_time.0.cast_unsigned(), event.recv_time.0.cast_unsigned()),
            action,
            side: code(side),
            price,
            size: u32::try_from(size).unwrap(),
            depth: 0,
            flags: if self.gaps > 0 { MAYBE_BAD_BOOK } else { 0 },
            sequence: self.sequence,
            levels: self.naive.best(event.symbol.0, self.depth),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds change no book")]
    fn apply(&mut self, event: &MarketEvent) {
        self.sequence += 1;
        let begin = self.rows.len();
        match event.kind {
            EventKind::AddOrder => {
                self.add(event, event.id_a, event.side);
            }
            EventKind::ExecuteOrder | EventKind::ExecuteOrderAtPrice => {
                let (_, side, price, _) = self.naive.orders[&event.id_a];
                let is_own = event.kind == EventKind::ExecuteOrder;
                if is_own || event.flags.contains(EventFlags::PRINTABLE) {
                    let traded = if is_own { price } else { event.price.0 };
                    let row = self.row(event, ('T', Some(side.opposite())), (traded, event.qty.0));
                    self.rows.push(row);
                }
                self.take(event, Some(event.qty.0));
            }
            EventKind::CancelOrder => self.take(event, Some(event.qty.0)),
            EventKind::DeleteOrder => self.take(event, None),
            EventKind::ReplaceOrder => {
                let side = self.naive.orders[&event.id_a].1;
                self.take(event, None);
                self.add(event, event.id_b, side);
            }
            EventKind::Trade | EventKind::CrossTrade if event.qty.0 > 0 => {
                let row = self.row(event, ('T', None), (event.price.0, event.qty.0));
                self.rows.push(row);
            }
            EventKind::GapStart => self.gaps += 1,
            EventKind::GapEnd => self.gaps -= 1,
            _ => {}
        }
        if let Some(last) = self.rows[begin..].last_mut() {
            last.flags |= LAST;
        }
    }

    fn add(&mut self, event: &MarketEvent, order: u64, side: Side) {
        let before = self.naive.best(event.symbol.0, self.depth);
        self.naive.add(order, (event.symbol.0, side, event.price.0, event.qty.0));
        self.changed(event, &before, ('A', side, event.price.0, event.qty.0));
    }

    fn take(&mut self, event: &MarketEvent, qty: Option<u64>) {
        let before = self.naive.best(event.symbol.0, self.depth);
        let (_, side, price, taken) = self.naive.take(event.id_a, qty);
        self.changed(event, &before, ('C', side, price, taken));
    }

    fn changed(&mut self, event: &MarketEvent, before: &[Pair], (action, side, price, qty): (char, Side, i64, u64)) {
        let is_told = matches!(self.schema.name(), "mbp-1" | "mbp-10");
        if is_told && self.naive.best(event.symbol.0, self.depth) != before {
            let mut row = self.row(event, (action, Some(side)), (price, qty));
            row.depth = self.naive.better(event.symbol.0, side, price);
            self.rows.push(row);
        }
    }
}

fn generated(folder: &Path, config: GeneratorConfig) -> InputPlan {
    let path = folder.join("day.itch50");
    let mut bytes = Vec::new();
    write_binary_file(&mut Session::new(config).unwrap(), &mut bytes).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    session(&path, Some(date(2026, 1, 5)), "America/New_York")
}

fn session(path: &Path, date: Option<Date>, zone: &str) -> InputPlan {
    InputPlan {
        files: vec![path.to_path_buf()],
        date,
        zone: zone.to_owned(),
        symbol_count_max: 100,
        reorder_window: Nanos(1),
        is_sequence_checked: true,
        mdp3: peregrine_source::market::Mdp3Plan::default(),
    }
}

/// Holds all four schemas of a session against the twin; how many records each has.
fn check(plan: &InputPlan) -> [usize; 4] {
    LEVEL_SCHEMAS.map(|schema| {
        let rows = decoded(&sessions::bytes(plan, schema), schema);
        let expected = Twin::of(plan, schema);
        for (at, (row, expected)) in rows.iter().zip(&expected).enumerate() {
            assert_eq!(row, expected, "record {at} of {}", schema.name());
        }
        assert_eq!(rows.len(), expected.len(), "{}", schema.name());
        rows.len()
    })
}

#[test]
fn generated_sessions_have_the_naive_levels_behind_every_record() {
    for seed in [3, 4] {
        let folder = tempfile::tempdir().unwrap();
        let counts = check(&generated(folder.path(), GeneratorConfig::every_type(seed, 5, 20_000)));
        assert!(counts[0] > 3_000 && counts[1] > counts[0] && counts[2] > 500 && counts[2] == counts[3], "{counts:?}");
    }
}

#[test]
fn the_real_hour_has_the_naive_levels_behind_every_record() {
    for name in ["itch/aapl_20120621_0930_1030_reencoded.itch50.gz", "itch/aapl_20200130_premarket_5000.itch50"] {
        let Some(path) = real_data(name) else { return };
        let counts = check(&session(&path, None, "America/New_York"));
        assert!(counts.iter().all(|count| *count > 0) && counts[1] >= counts[0], "{name} {counts:?}");
    }
}

#[test]
fn a_session_without_an_order_or_a_trade_becomes_a_file_without_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut messages = Messages::default();
    messages.event(b'O').directory(100).event(b'C');
    assert_eq!(check(&sessions::of(folder.path(), &messages)), [0; 4]);
}

#[test]
fn each_message_has_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut messages = Messages::default();
    messages.event(b'O').directory(100).state(b'T', *b"    ");
    messages.add(1, b'B', 200, 100).add(2, b'B', 100, 99).add(3, b'S', 100, 102).add(4, b'S', 10, 103);
    // The best level is replaced by one behind the best; a hidden trade; an execution at a better price, one unprinted.
    messages.replace(1, 5, 60, 98).trade(7, 101, 60).execute_at(3, 40, (101, b'Y')).execute_at(3, 60, (101, b'N'));
    messages.cross(b'H', 0, 100, 61).cross(b'H', 9, 100, 62);
    let plan = sessions::of(folder.path(), &messages);
    let text = |schema| -> Vec<String> {
        let rows = decoded(&sessions::bytes(&plan, schema), schema);
        let price = |price: i64| price / 100_000_000;
        rows.iter()
            .map(|row| {
                format!("{}{} {}@{} {} {:x}", row.action, row.side, row.size, price(row.price), row.depth, row.flags)
            })
            .collect()
    };
    let ten = [
        "AB 200@100 0 80",
        "AB 100@99 1 80",
        "AA 100@102 0 80",
        "AA 10@103 1 80",
        "CB 200@100 0 0",
        "AB 60@98 1 80",
        "TN 7@101 0 80",
        "TB 40@101 0 0",
        "CA 40@102 0 80",
        "CA 60@102 0 80",
        "TN 9@100 0 80",
    ];
    assert_eq!(text(DbnSchema::Mbp10), ten);
    let one = [
        "AB 200@100 0 80",
        "AA 100@102 0 80",
        "CB 200@100 0 80",
        "TN 7@101 0 80",
        "TB 40@101 0 0",
        "CA 40@102 0 80",
        "CA 60@102 0 80",
        "TN 9@100 0 80",
    ];
    assert_eq!(text(DbnSchema::Mbp1), one);
    let trades = ["TN 7@101 0 80", "TB 40@101 0 80", "TN 9@100 0 80"];
    assert_eq!(text(DbnSchema::Trades), trades);
    assert_eq!(text(DbnSchema::Tbbo), trades);
    check(&plan);
}

#[test]
fn quantities_that_a_record_cannot_say_are_left_out_and_not_sound() {
    let folder = tempfile::tempdir().unwrap();
    let mut messages = Messages::default();
    messages.event(b'O').directory(100).state(b'T', *b"    ");
    messages.add(1, b'B', u32::MAX, 100).add(2, b'B', 5, 101).add(3, b'B', u32::MAX - 1, 101).add(4, b'S', 7, 102);
    messages.execute(3, 10, 60);
    let plan = sessions::of(folder.path(), &messages);
    let (summary, bytes) = sessions::written(&plan, DbnSchema::Mbp10);
    assert_eq!((summary.impossible, summary.is_sound, decoded(&bytes, DbnSchema::Mbp10).len()), (6, false, 0));
    // Of the best level alone: the order is too large, then the level is fine, too large, and fine again with the execution.
    let (summary, bytes) = sessions::written(&plan, DbnSchema::Mbp1);
    let rows = decoded(&bytes, DbnSchema::Mbp1);
    assert_eq!(rows.iter().map(|row| row.action).collect::<String>(), "AC");
    assert_eq!((rows[1].levels[0][0].1, rows[1].flags), (4_294_967_289, LAST));
    assert_eq!((summary.impossible, summary.is_sound), (4, false));
    let (summary, bytes) = sessions::written(&plan, DbnSchema::Trades);
    assert_eq!((summary.impossible, decoded(&bytes, DbnSchema::Trades).len()), (0, 1));
}

#[test]
fn ten_levels_read_back_are_the_sessions_own_behind_each_event() {
    let folder = tempfile::tempdir().unwrap();
    let generated = generated(folder.path(), GeneratorConfig::every_type(5, 5, 20_000));
    let real = real_data("itch/aapl_20120621_0930_1030_reencoded.itch50.gz");
    let real = real.map(|path| session(&path, None, "America/New_York"));
    for (plan, schema, depth) in [
        (Some(&generated), DbnSchema::Mbp10, 10),
        (Some(&generated), DbnSchema::Mbp1, 1),
        (real.as_ref(), DbnSchema::Mbp10, 10),
    ] {
        let Some(plan) = plan else { continue };
        let (summary, bytes) = sessions::written(plan, schema);
        let path = folder.path().join("day.dbn");
        std::fs::write(&path, &bytes).unwrap();
        let back = Written::of(&common::plan(Format::Dbn, &path)).unwrap();
        assert!(back.summary.is_sound, "{:?}", back.summary.findings);
        let number = |name: &String| *summary.instruments.iter().find(|(_, known)| *known == name).unwrap().0;
        let symbols: Vec<u32> = back.summary.symbols.iter().map(|entry| number(&entry.symbol)).collect();
        let (mut ours, mut theirs) = (Replay::of(plan), back.replay());
        let (mut compared, mut volume) = (0_u32, [0_u64; 2]);
        let rows = decoded(&bytes, schema);
        for (at, row) in rows.iter().enumerate() {
            if rows.get(at + 1).is_some_and(|next| next.times.1 == row.times.1) {
                continue;
            }
            let count = |volume: &mut u64, update: &peregrine_book::BookUpdate| {
                *volume += update.trade.filter(|trade| trade.is_printable).map_or(0, |trade| trade.qty.0);
            };
            ours.step_to(row.times.1.cast_signed(), |_, update| count(&mut volume[0], update));
            theirs.step_to(row.times.1.cast_signed(), |_, update| count(&mut volume[1], update));
            let symbol = u32::try_from(symbols.iter().position(|known| *known == row.instrument).unwrap()).unwrap();
            for side in Side::BOTH {
                let levels = |replay: &Replay, symbol| {
                    let levels = replay.depth(SymbolId(symbol), side, 100);
                    levels.iter().map(|level| (level.price.0, level.qty.0)).collect::<Vec<_>>()
                };
                let mut expected = levels(&ours, row.instrument - 1);
                expected.truncate(depth);
                assert_eq!(levels(&theirs, symbol), expected, "record {at} of {}", schema.name());
            }
            compared += 1;
        }
        assert!(compared > 1_000 && volume[0] > 0, "{compared}");
        assert_eq!(volume[0], volume[1], "what was printed comes back");
    }
}

/// The orders of a `mbo` file by Databento's own rules.
#[derive(Default)]
struct NaiveMbo(BTreeMap<u64, (Side, i64, u64)>);

impl NaiveMbo {
    fn apply(&mut self, record: &MboMsg) {
        let side = if record.side.cast_unsigned() == b'B' { Side::Buy } else { Side::Sell };
        let size = u64::from(record.size);
        match record.action.cast_unsigned() {
            b'A' => drop(self.0.insert(record.order_id, (side, record.price, size))),
            b'C' => {
                let order = self.0.get_mut(&record.order_id).unwrap();
                order.2 -= size;
                if order.2 == 0 {
                    self.0.remove(&record.order_id);
                }
            }
            b'M' => {
                let order = self.0.get_mut(&record.order_id).unwrap();
                (order.1, order.2) = (record.price, size);
            }
            b'R' => self.0.clear(),
            _ => {}
        }
    }

    fn best(&self, depth: usize) -> Vec<Pair> {
        let [bids, asks] = Side::BOTH.map(|side| {
            let mut levels: BTreeMap<i64, (u64, u32)> = BTreeMap::new();
            for (_, price, qty) in self.0.values().filter(|order| order.0 == side) {
                let level = levels.entry(*price).or_default();
                *level = (level.0 + qty, level.1 + 1);
            }
            let levels = levels.into_iter().map(|(price, (qty, count))| (price, qty, count));
            if side == Side::Buy { levels.rev().collect::<Vec<_>>() } else { levels.collect() }
        });
        let at = |levels: &[(i64, u64, u32)], at: usize| levels.get(at).copied().unwrap_or((UNDEF_PRICE, 0, 0));
        (0..depth).map(|index| [at(&bids, index), at(&asks, index)]).collect()
    }
}

#[test]
fn the_real_day_of_orders_has_the_levels_of_its_own_naive_book_behind_each_event() {
    for name in ["cme/esh4-glbx-mdp3-20231224.mbo.dbn.zst", "cme/esh4-glbx-mdp3-20231225.mbo.dbn.zst"] {
        let Some(path) = real_data(name) else { return };
        let mut plan = plan(Format::Dbn, &path);
        plan.zone = "UTC".to_owned();
        let written = Written::of(&plan).unwrap();
        let day = Some(written.summary.date.parse().unwrap());
        let input = session(&written.path(), day, "UTC");
        for (schema, depth) in [(DbnSchema::Mbp10, 10), (DbnSchema::Mbp1, 1)] {
            let rows = decoded(&sessions::bytes(&input, schema), schema);
            let mut decoder = DynDecoder::from_file(&path, VersionUpgradePolicy::AsIs).unwrap();
            let mut records = Vec::new();
            while let Some(record) = decoder.decode_record::<MboMsg>().unwrap() {
                records.push(record.clone());
            }
            let (mut naive, mut next, mut compared) = (NaiveMbo::default(), 0, 0_u32);
            let mut shown = naive.best(depth);
            for (at, record) in records.iter().enumerate() {
                naive.apply(record);
                if !record.flags.is_last() || records.get(at + 1).is_some_and(|next| next.ts_recv == record.ts_recv) {
                    continue;
                }
                while let Some(row) = rows.get(next).filter(|row| row.times.1 <= record.ts_recv) {
                    shown.clone_from(&row.levels);
                    next += 1;
                }
                compared += 1;
                // Every event where the book is small, every sixteenth where it has thousands of orders.
                if compared.is_multiple_of(16) || naive.0.len() < 500 {
                    assert_eq!(shown, naive.best(depth), "{name} record {at} {}", schema.name());
                }
            }
            assert_eq!((next, compared > 0), (rows.len(), true), "{name}: every record is of an event");
        }
    }
}
