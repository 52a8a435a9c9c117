//! DBN files against a naive book that follows Databento's own rules.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Replay, Written, plan, real_data};
use dbn::decode::{DecodeRecord, DynDecoder};
use dbn::encode::{DbnEncoder, EncodeRecord as _};
use dbn::{FlagSet, MboMsg, Metadata, RecordHeader, SType, Schema, UNDEF_PRICE, VersionUpgradePolicy, rtype};
use peregrine_book::MarketBooks as _;
use peregrine_convert::{ConvertError, Format};
use peregrine_types::{EventKind, Level, Side, SymbolId};
use proptest::prelude::*;

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

const LAST: u8 = 0x80;
const START: u64 = 1_703_520_000_000_000_000;

/// A record of instrument 7, `at` milliseconds after 11:00 in New York, price in whole units.
fn record(at: u64, flags: u8, (action, side, order): (u8, u8, u64), (price, size): (i64, u32)) -> MboMsg {
    let time = START + at * 1_000_000;
    MboMsg {
        hd: RecordHeader::new::<MboMsg>(rtype::MBO, 1, 7, time - 1_000),
        order_id: order,
        price: if price == i64::MAX { UNDEF_PRICE } else { price * 1_000_000_000 },
        size,
        flags: FlagSet::new(flags),
        channel_id: 0,
        action: action.cast_signed(),
        side: side.cast_signed(),
        ts_recv: time,
        ts_in_delta: 0,
        sequence: 0,
    }
}

fn encode(records: &[MboMsg], version: u8, is_zstd: bool) -> Vec<u8> {
    let metadata = Metadata::builder()
        .version(version)
        .dataset("TEST".to_owned())
        .schema(Some(Schema::Mbo))
        .start(START)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .symbols(vec!["A".to_owned(); usize::from(version)])
        .build();
    let mut bytes = Vec::new();
    if is_zstd {
        DbnEncoder::with_zstd(&mut bytes, &metadata).unwrap().encode_records(records).unwrap();
    } else {
        DbnEncoder::new(&mut bytes, &metadata).unwrap().encode_records(records).unwrap();
    }
    bytes
}

fn convert(bytes: &[u8]) -> Result<Written, ConvertError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.dbn");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(Format::recognise(&path).unwrap(), Format::Dbn);
    Written::of(&plan(Format::Dbn, &path))
}

fn of(records: &[MboMsg]) -> Written {
    convert(&encode(records, 3, false)).unwrap()
}

#[test]
fn every_version_is_read_plain_and_compressed_and_a_cut_of_either_is_seen() {
    let records: Vec<MboMsg> = (1..40).map(|id| record(id, LAST, (b'A', b'B', id), (5, 1))).collect();
    for version in 1..=3 {
        for is_zstd in [false, true] {
            let bytes = encode(&records, version, is_zstd);
            let written = convert(&bytes).unwrap();
            assert_eq!((written.flow(), written.summary.is_sound), ("A".repeat(39), true), "version {version}");
            assert_eq!(written.summary.symbols[0].symbol, "7", "no mapping names it");
            for missing in 1..20 {
                let cut = convert(&bytes[..bytes.len() - missing]);
                assert!(cut.is_err() || cut.unwrap().found("truncated") == 1, "version {version}, {missing} bytes");
            }
        }
    }
}

#[test]
fn each_action_has_its_message() {
    let records = [
        // Three orders; two are filled by one trade, the first of them whole.
        record(1, LAST, (b'A', b'A', 1), (10, 5)),
        record(2, LAST, (b'A', b'A', 2), (10, 5)),
        record(3, LAST, (b'A', b'B', 3), (9, 5)),
        record(4, 0, (b'T', b'B', 0), (10, 8)),
        record(4, 0, (b'F', b'A', 1), (10, 5)),
        record(4, 0, (b'F', b'A', 2), (10, 2)),
        record(4, 0, (b'C', b'A', 1), (10, 5)),
        record(4, LAST, (b'M', b'A', 2), (10, 3)),
        // Smaller, larger, elsewhere.
        record(5, LAST, (b'M', b'B', 3), (9, 4)),
        record(6, LAST, (b'M', b'B', 3), (9, 6)),
        record(7, LAST, (b'M', b'B', 3), (8, 6)),
        // A reserve order: all that is displayed trades and more, and it is displayed again.
        record(8, 0, (b'T', b'B', 0), (10, 4)),
        record(8, 0, (b'F', b'A', 2), (10, 4)),
        record(8, LAST, (b'M', b'A', 2), (10, 3)),
        // An auction: both sides are filled, no side took.
        record(9, 0, (b'T', b'N', 0), (9, 1)),
        record(9, 0, (b'F', b'N', 2), (9, 1)),
        record(9, 0, (b'F', b'N', 3), (9, 1)),
        record(9, 0, (b'C', b'A', 2), (10, 1)),
        record(9, LAST, (b'C', b'B', 3), (8, 1)),
        // A trade with no displayed order, and one whose fill the book does not follow.
        record(10, LAST, (b'T', b'A', 0), (9, 7)),
        record(11, 0, (b'T', b'A', 0), (8, 1)),
        record(11, LAST, (b'F', b'B', 3), (8, 1)),
        record(12, LAST, (b'N', b'N', 0), (i64::MAX, 0)),
        record(13, LAST, (b'R', b'N', 0), (i64::MAX, 0)),
    ];
    let written = of(&records);
    //                           1   4    5 6 7 8    9    10 11 13
    assert_eq!(written.flow(), "AAAEEPXUUEPACCQPPDD");
    assert!(written.summary.is_sound, "{:?}", written.summary.findings);
    assert_eq!((written.found("fill_beyond_display"), written.found("fill_alone")), (1, 1));
    let mut replay = written.replay();
    let mut volume = 0;
    while let Some((_, update)) = replay.step() {
        volume += update.trade.filter(|trade| trade.is_printable).map_or(0, |trade| trade.qty.0);
    }
    assert_eq!((volume, replay.books.order_count()), (8 + 4 + 1 + 7 + 1, 0));
}

#[test]
fn an_aggressors_own_fill_is_not_printed_again() {
    // A buy order is moved to the price of a sell order, and trades with it.
    let written = of(&[
        record(1, LAST, (b'A', b'A', 1), (10, 5)),
        record(2, LAST, (b'A', b'B', 2), (9, 5)),
        record(3, 0, (b'T', b'B', 2), (10, 2)),
        record(3, 0, (b'F', b'B', 2), (10, 2)),
        record(3, 0, (b'F', b'A', 1), (10, 2)),
        record(3, 0, (b'C', b'A', 1), (10, 2)),
        record(3, LAST, (b'M', b'B', 2), (9, 3)),
    ]);
    assert_eq!(written.flow(), "AACE");
    assert_eq!(printed(&mut written.replay(), i64::MAX), 2);
}

#[test]
fn an_event_whose_end_is_not_flagged_ends_at_the_next_time() {
    let records = [
        record(1, 0, (b'A', b'A', 1), (10, 5)),
        record(2, 0, (b'T', b'B', 0), (10, 2)),
        record(2, 0, (b'F', b'A', 1), (10, 2)),
        record(2, 0, (b'C', b'A', 1), (10, 2)),
        record(3, 0, (b'A', b'A', 2), (11, 5)),
        record(4, 0, (b'T', b'B', 0), (10, 3)),
        record(4, 0, (b'F', b'A', 1), (10, 3)),
        record(5, 0, (b'C', b'A', 1), (10, 3)),
    ];
    let written = of(&records);
    assert_eq!(written.flow(), "AEAPD", "the last fill's cancel is of another event");
    let mut replay = written.replay();
    let start = i64::try_from(START).unwrap();
    replay.step_to(start + 3_000_000, |event, _| assert!(event.exch_time.0 <= start + 3_000_000));
    assert_eq!(replay.books.order_count(), 2);
    assert_eq!(replay.peek().unwrap().kind, EventKind::Trade);
}

/// The same record `later` milliseconds later, of another instrument.
fn of_instrument(instrument: u32, later: u64, record: &MboMsg) -> MboMsg {
    let mut record = record.clone();
    record.hd.instrument_id = instrument;
    record.hd.ts_event += later * 1_000_000;
    record.ts_recv += later * 1_000_000;
    record
}

/// What changes the books, with the milliseconds after 11:00 at which it is written.
fn stamped(written: &Written) -> Vec<(i64, EventKind)> {
    let mut replay = written.replay();
    let mut events = Vec::new();
    while let Some((event, _)) = replay.step() {
        if matches!(event.kind, EventKind::AddOrder | EventKind::ExecuteOrder) {
            events.push(((event.exch_time.0 - START.cast_signed()) / 1_000_000, event.kind));
        }
    }
    events
}

#[test]
fn an_event_whose_end_is_not_flagged_is_written_at_its_own_time() {
    let mut records = [
        record(1, LAST, (b'A', b'A', 1), (10, 5)),
        record(2, 0, (b'T', b'B', 0), (10, 2)),
        record(2, 0, (b'F', b'A', 1), (10, 2)),
        record(2, 0, (b'C', b'A', 1), (10, 2)),
        of_instrument(8, 0, &record(3, LAST, (b'A', b'A', 2), (11, 5))),
        record(9, LAST, (b'A', b'A', 3), (11, 5)),
    ];
    let expected =
        [(1, EventKind::AddOrder), (2, EventKind::ExecuteOrder), (3, EventKind::AddOrder), (9, EventKind::AddOrder)];
    assert_eq!(stamped(&of(&records)), expected);
    // A record that is of no order ends it too.
    records[4].flags = FlagSet::new(LAST | 0x40);
    assert_eq!(stamped(&of(&records)), [expected[0], expected[1], expected[3]]);
    // Without times of the exchange the times of receipt tell the events apart.
    records[4].flags = FlagSet::new(LAST);
    records.iter_mut().for_each(|record| record.hd.ts_event = u64::MAX);
    assert_eq!(stamped(&of(&records)), expected);
}

#[test]
fn an_event_before_midnight_whose_end_is_not_flagged_is_no_trade_of_the_day() {
    let mut records = [
        record(1, LAST, (b'A', b'A', 1), (10, 5)),
        record(2, 0, (b'T', b'B', 0), (10, 2)),
        record(2, 0, (b'F', b'A', 1), (10, 2)),
        record(2, 0, (b'C', b'A', 1), (10, 2)),
        record(9, LAST, (b'A', b'A', 3), (11, 5)),
    ];
    let to_midnight = 11 * 3_600 * 1_000_000_000 + 5_000_000;
    for record in &mut records {
        record.hd.ts_event -= to_midnight;
        record.ts_recv -= to_midnight;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.dbn");
    std::fs::write(&path, encode(&records, 3, false)).unwrap();
    let mut plan = plan(Format::Dbn, &path);
    plan.date = Some("2023-12-25".parse().unwrap());
    let written = Written::of(&plan).unwrap();
    assert_eq!((written.flow().as_str(), written.found("before_session")), ("AA", 4));
    let mut replay = written.replay();
    assert_eq!(printed(&mut replay, i64::MAX), 0);
    assert_eq!(replay.depth(SYMBOL, Side::Sell, 1)[0].qty.0, 3, "what the trade left");
}

#[test]
fn an_undefined_size_is_no_quantity() {
    let written = of(&[
        record(1, LAST, (b'A', b'A', 1), (10, 5)),
        record(2, LAST, (b'A', b'A', 2), (10, u32::MAX)),
        record(3, LAST, (b'M', b'A', 1), (11, u32::MAX)),
        record(4, LAST, (b'C', b'A', 1), (10, u32::MAX)),
        record(5, LAST, (b'T', b'B', 0), (10, u32::MAX)),
        record(6, 0, (b'T', b'B', 0), (10, 2)),
        record(6, 0, (b'F', b'A', 1), (10, u32::MAX)),
        record(6, LAST, (b'C', b'A', 1), (10, 2)),
        record(7, LAST, (b'R', b'N', 0), (i64::MAX, u32::MAX)),
    ]);
    assert_eq!(written.flow(), "APXD");
    assert_eq!(written.found("no_quantity"), 5, "{:?}", written.summary.findings);
    assert!(!written.summary.is_sound && written.summary.findings.len() == 1, "{:?}", written.summary.findings);
}

#[test]
fn a_clear_takes_its_own_instruments_orders_alone() {
    const COUNT: u64 = 200;
    let standing = (1..=COUNT).map(|id| of_instrument(8, 0, &record(1, LAST, (b'A', b'B', id), (5, 1))));
    let mut records: Vec<MboMsg> = standing.collect();
    // Instrument 7 has one order, and is then cleared: of it, and of nothing.
    for id in COUNT + 1..=2 * COUNT {
        records.push(record(2, LAST, (b'A', b'B', id), (5, 1)));
        records.push(record(2, LAST, (b'R', b'B', id), (i64::MAX, 1)));
        records.push(record(2, LAST, (b'R', b'B', id), (i64::MAX, 1)));
    }
    let messages = convert(&encode(&records, 3, false)).unwrap().summary.messages;
    assert_eq!((messages[&'A'], messages[&'D']), (2 * COUNT, COUNT));
}

#[test]
fn what_is_wrong_is_counted_and_survived() {
    let mut bad_time = record(9, LAST, (b'A', b'B', 9), (9, 1));
    bad_time.ts_recv = 5;
    let mut no_time = record(9, LAST, (b'A', b'B', 10), (9, 1));
    (no_time.ts_recv, no_time.hd.ts_event) = (7, 1_703_520_000_000);
    let records = [
        record(1, LAST, (b'A', b'A', 1), (10, 5)),
        record(2, LAST, (b'A', b'A', 1), (11, 5)),
        record(2, LAST, (b'A', b'N', 2), (11, 5)),
        record(2, LAST, (b'A', b'A', 2), (i64::MAX, 5)),
        record(2, LAST, (b'A', b'A', 2), (11, 0)),
        record(2, LAST, (b'C', b'A', 2), (11, 1)),
        record(2, LAST, (b'M', b'A', 3), (12, 1)),
        record(1, LAST, (b'C', b'A', 1), (11, 9)),
        record(3, LAST | 0x40, (b'A', b'A', 4), (12, 1)),
        record(3, LAST | 0x10, (b'A', b'A', 4), (12, 1)),
        record(3, LAST | 0x04, (b'A', b'A', 4), (12, 1)),
        record(3, LAST, (b'?', b'A', 4), (12, 1)),
        bad_time,
        no_time,
        record(60 * 60 * 24 * 1_000, LAST, (b'A', b'A', 5), (12, 1)),
        record(10, LAST, (b'A', b'B', 6), (8, 1)),
    ];
    let written = of(&records);
    let counts: Vec<(&str, u64)> = written.summary.findings.iter().map(|(code, entry)| (*code, entry.count)).collect();
    let expected = [
        ("after_session", 1),
        ("clock_implausible", 1),
        ("duplicate_order", 1),
        ("excess", 1),
        ("gap_flagged", 1),
        ("malformed_row", 1),
        ("no_price", 1),
        ("no_quantity", 1),
        ("no_side", 1),
        ("not_an_order", 2),
        ("receive_time_backward", 1),
        ("time_implausible", 1),
        ("unknown_modified", 1),
        ("unknown_order", 1),
    ];
    assert_eq!(counts, expected, "{:?}", written.summary.findings);
    let mut replay = written.replay();
    while replay.step().is_some() {}
    assert_eq!(replay.books.order_count(), 4, "a time past the day holds up nothing");
    let negative = encode(&[record(1, LAST, (b'A', b'A', 1), (-10, 5))], 3, false);
    let error = convert(&negative).err().unwrap().to_string();
    assert!(error.contains("price -10 (record 1)"), "{error}");
}

/// Records of any flow that can be: `steps` choose what happens to which order.
fn flow(steps: &[(u8, u8, u8, u8)]) -> Vec<MboMsg> {
    let mut live: Vec<(u64, u8, i64, u32)> = Vec::new();
    let (mut records, mut next) = (Vec::new(), 1);
    for (at, (what, which, price, size)) in (1_u64..).zip(steps) {
        let (price, size) = (i64::from(price % 9) + 1, u32::from(size % 9) + 1);
        let at = at * 10;
        let index = if live.is_empty() { 0 } else { usize::from(*which) % live.len() };
        match (what % 8, live.get(index).copied()) {
            (0..=2, _) | (_, None) => {
                let side = if which % 2 == 0 { b'A' } else { b'B' };
                live.push((next, side, price, size));
                records.push(record(at, LAST, (b'A', side, next), (price, size)));
                next += 1;
            }
            (3, Some((order, side, old, _))) => {
                let price = if which % 3 == 0 { price } else { old };
                live[index] = (order, side, price, size);
                records.push(record(at, LAST, (b'M', side, order), (price, size)));
            }
            (4, Some((order, side, price, left))) => {
                let size = size.min(left);
                live[index].3 -= size;
                records.push(record(at, LAST, (b'C', side, order), (price, size)));
            }
            (5, Some(_)) if which % 5 == 0 => {
                live.clear();
                records.push(record(at, LAST, (b'R', b'N', 0), (i64::MAX, 0)));
            }
            (5 | 6, Some((order, side, price, left))) => {
                // A trade: filled by any quantity, and what is displayed behind it is any quantity too.
                let taker = if side == b'A' { b'B' } else { b'A' };
                records.push(record(at, 0, (b'T', taker, 0), (price, size)));
                records.push(record(at, 0, (b'F', side, order), (price, size)));
                if which % 2 == 0 {
                    let size = size.min(left);
                    live[index].3 -= size;
                    records.push(record(at, LAST, (b'C', side, order), (price, size)));
                } else {
                    let size = u32::from(*which % 7) + 1;
                    live[index].3 = size;
                    records.push(record(at, LAST, (b'M', side, order), (price, size)));
                }
            }
            (_, Some((order, side, price, _))) => {
                records.push(record(at, 0, (b'T', b'N', 0), (price, size)));
                records.push(record(at, LAST, (b'F', side, order), (price, size)));
            }
        }
        live.retain(|order| order.3 > 0);
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flow_gives_the_naive_book_and_its_volume(steps in proptest::collection::vec(any::<(u8, u8, u8, u8)>(), 1..60)) {
        let records = flow(&steps);
        let written = of(&records);
        prop_assert!(written.summary.is_sound, "{:?}", written.summary.findings);
        let (mut replay, mut naive, mut volume) = (written.replay(), Naive::default(), 0);
        for record in &records {
            naive.apply(record);
            if record.flags.is_last() {
                volume += printed(&mut replay, record.ts_recv.cast_signed());
                prop_assert_eq!(volume, naive.traded);
                for side in Side::BOTH {
                    prop_assert_eq!(pairs(&replay.depth(SYMBOL, side, 100)), naive.levels(side, 100));
                }
            }
        }
    }
    #[test]
    fn any_flow_without_flags_gives_the_naive_books_at_its_own_times(
        steps in proptest::collection::vec(any::<(u8, u8, u8, u8)>(), 1..40),
        others in proptest::collection::vec(any::<(u8, u8, u8, u8)>(), 1..40),
    ) {
        let mut records = flow(&steps);
        records.extend(flow(&others).iter().map(|record| of_instrument(8, 5, record)));
        records.sort_by_key(|record| record.ts_recv);
        records.iter_mut().for_each(|record| record.flags = FlagSet::empty());
        let written = of(&records);
        prop_assert!(written.summary.is_sound, "{:?}", written.summary.findings);
        let (mut replay, mut naive, mut volume) = (written.replay(), [Naive::default(), Naive::default()], 0);
        for (at, record) in records.iter().enumerate() {
            naive[usize::from(record.hd.instrument_id == 8)].apply(record);
            if records.get(at + 1).is_some_and(|next| next.ts_recv == record.ts_recv) {
                continue;
            }
            volume += printed(&mut replay, record.ts_recv.cast_signed());
            prop_assert_eq!(volume, naive.iter().map(|naive| naive.traded).sum::<u64>());
            for (symbol, naive) in (0..).map(SymbolId).zip(&naive) {
                for side in Side::BOTH {
                    prop_assert_eq!(pairs(&replay.depth(symbol, side, 100)), naive.levels(side, 100));
                }
            }
        }
    }
}
