//! Binance and Tardis files against naive books of levels, and against the exchange's own best bid and ask.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Written, plan, real_data, text};
use peregrine_book::MarketBooks as _;
use peregrine_convert::{ConvertError, Format, Plan, PriceScale};
use peregrine_types::{EpochNanos, EventKind, Level, Side, SymbolId, parse_decimal};
use proptest::prelude::*;
use serde_json::Value;

const SYMBOL: SymbolId = SymbolId(0);

/// Levels of both sides, price to quantity, as decimals in 10⁻⁹.
#[derive(Clone, Debug, Default, PartialEq)]
struct Naive {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
}

impl Naive {
    fn set(levels: &mut BTreeMap<i64, i64>, price: i64, qty: i64) {
        if qty == 0 {
            levels.remove(&price)
        } else {
            levels.insert(price, qty)
        };
    }

    fn apply(&mut self, bids: &Value, asks: &Value) {
        for (levels, changes) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for change in changes.as_array().unwrap() {
                let number = |at: usize| parse_decimal(change[at].as_str().unwrap()).unwrap();
                Self::set(levels, number(0), number(1));
            }
        }
    }

    fn best(&self) -> [Option<(i64, i64)>; 2] {
        let level = |(price, qty): (&i64, &i64)| (*price, *qty);
        [self.bids.last_key_value().map(level), self.asks.first_key_value().map(level)]
    }
}

/// What the session's units are in the source's.
#[derive(Clone, Copy)]
struct Units {
    /// By how much prices of the source are divided.
    price: i64,
    /// 10⁻⁹ in a lot.
    lot: i64,
}

impl Units {
    fn of(written: &Written) -> Self {
        let one = 1_000_000_000;
        let number = |text: &str| parse_decimal(text).unwrap();
        Self { price: one / number(&written.summary.price_scale), lot: number(&written.summary.lot) }
    }

    fn level(self, level: Level) -> (i64, i64) {
        (level.price.0 * self.price, i64::try_from(level.qty.0).unwrap() * self.lot)
    }
}

/// Levels as they are in the books, in 10⁻⁹ of the source's units.
fn book(replay: &common::Replay, units: Units) -> Naive {
    let side = |side| replay.depth(SYMBOL, side, 100_000).into_iter().map(|level| units.level(level)).collect();
    Naive { bids: side(Side::Buy), asks: side(Side::Sell) }
}

/// The real file, with the bound that its receiver's clock (more than a second slow) needs, and the unit that its prices
/// (an offer of bitcoin at 618,113.3) need.
fn real_plan(name: &str) -> Option<Plan> {
    let mut plan = plan(Format::Binance, &real_data(name)?);
    plan.clock_bound = peregrine_types::Nanos::from_secs(2);
    if name.contains("btc") {
        plan.price_scale = PriceScale::parse("0.1").unwrap();
    }
    Some(plan)
}

const FILES: [(&str, u64); 3] = [
    ("crypto/hft_spot_ethusdt_20240808.gz", 33_618),
    ("crypto/hft_usdm_btcusdt_20240808.gz", 93_954),
    ("crypto/hft_usdm_ethusdt_20240808.gz", 74_655),
];

#[test]
fn the_real_books_agree_with_the_exchanges_own_best_bid_and_ask() {
    for (name, line_count) in FILES {
        let Some(plan) = real_plan(name) else { return };
        assert_eq!(Format::recognise(&plan.input).unwrap(), Format::Binance);
        let written = Written::of(&plan).unwrap();
        let summary = &written.summary;
        assert!(summary.is_sound, "{:?}", summary.findings);
        assert_eq!(summary.rows.values().sum::<u64>(), line_count);
        let check = summary.ticker.unwrap();
        assert!(check.compared > 500 && check.equal == check.compared, "{check:?}");
    }
}

#[test]
fn the_real_books_are_the_naive_ones_behind_each_update() {
    for (name, _) in FILES {
        let Some(plan) = real_plan(name) else { return };
        let written = Written::of(&plan).unwrap();
        let units = Units::of(&written);
        let mut replay = written.replay();
        let (mut naive, mut last, mut pending) = (Naive::default(), None::<u64>, Vec::new());
        let mut compared = 0_u32;
        for line in text(&plan.input).lines() {
            let (time, json) = line.split_once(' ').unwrap();
            let json: Value = serde_json::from_str(json).unwrap();
            let number = |value: &Value, key: &str| value[key].as_u64();
            if let Some(at) = number(&json, "lastUpdateId") {
                naive.apply(&json["bids"], &json["asks"]);
                last = Some(at);
            } else if json["data"]["e"] == "depthUpdate" {
                pending.push(json["data"].clone());
            } else {
                continue;
            }
            let Some(mut at) = last else { continue };
            for update in pending.drain(..) {
                // Levels are absolute: what the snapshot holds already changes nothing where it is applied in order.
                let (from, to) = (number(&update, "U").unwrap(), number(&update, "u").unwrap());
                let is_futures = number(&update, "pu").is_some();
                if to < at || (to == at && !is_futures) || from > to {
                    continue;
                }
                naive.apply(&update["b"], &update["a"]);
                at = to;
            }
            last = Some(at);
            replay.step_to(time.parse().unwrap(), |_, _| {});
            let top = replay.books.top(SYMBOL);
            let best = [top.bid, top.ask].map(|level| level.map(|level| units.level(level)));
            assert_eq!(best, naive.best(), "{name} update {at}");
            if compared.is_multiple_of(100) {
                assert_eq!(book(&replay, units), naive, "{name} update {at}");
            }
            compared += 1;
        }
        while replay.step().is_some() {}
        assert_eq!(book(&replay, units), naive, "{name}");
        assert!(compared > 3_000);
    }
}

#[test]
fn no_update_of_the_real_files_crosses_the_book_on_its_way() {
    let Some(plan) = real_plan(FILES[1].0) else { return };
    let mut replay = Written::of(&plan).unwrap().replay();
    let mut trades = 0;
    while let Some((event, _)) = replay.step() {
        assert!(!replay.books.top(SYMBOL).is_crossed(), "{event:?}");
        trades += u32::from(event.kind == EventKind::Trade);
    }
    assert_eq!(trades, 21_313);
}

#[test]
fn a_price_that_does_not_fit_is_an_error_that_names_the_line() {
    let Some(mut plan) = real_plan(FILES[1].0) else { return };
    plan.price_scale = PriceScale::default();
    let error = Written::of(&plan).err().unwrap().to_string();
    assert!(error.contains("618113.3 (line 376)") && error.contains("--price-scale"), "{error}");
}

#[test]
fn a_slow_receivers_clock_is_said() {
    let Some(mut plan) = real_plan(FILES[0].0) else { return };
    plan.clock_bound = peregrine_types::Nanos::from_secs(1);
    let written = Written::of(&plan).unwrap();
    assert!(!written.summary.is_sound && written.found("exchange_time_ahead") > 1_000);
    let (least, _) = written.summary.receive_less_exchange_ns.unwrap();
    assert!(least < -1_000_000_000);
    plan.is_strict = true;
    assert!(matches!(Written::of(&plan), Err(ConvertError::Strict { .. })));
}

/// A file of these lines.
fn file(lines: &str, name: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, lines).unwrap();
    (folder, path)
}

fn of(format: Format, lines: &str) -> Result<Written, ConvertError> {
    let (_folder, path) = file(lines, "day.txt");
    Written::of(&plan(format, &path))
}

const TIME: u64 = 1_723_161_255_000_000_000;

/// An update of futures.
fn depth(second: u64, (first, last, before): (u64, u64, u64), levels: &str) -> String {
    let time = TIME + second * 1_000_000_000;
    let millis = time / 1_000_000;
    format!(
        "{time} {{\"stream\":\"x@depth\",\"data\":{{\"e\":\"depthUpdate\",\"E\":{millis},\"T\":{millis},\"s\":\"ACME\",\
         \"U\":{first},\"u\":{last},\"pu\":{before},{levels}}}}}\n"
    )
}

fn snapshot(second: u64, last: u64, levels: &str) -> String {
    format!("{} {{\"lastUpdateId\":{last},{levels}}}\n", TIME + second * 1_000_000_000)
}

#[test]
fn a_gap_clears_the_book_until_the_next_snapshot() {
    let book = r#""bids":[["10.0","1"]],"asks":[["11.0","2"]]"#;
    let change = r#""b":[["10.0","3"]],"a":[]"#;
    let lines = [
        depth(0, (1, 5, 0), change),
        snapshot(1, 7, book),
        depth(2, (6, 8, 5), change),
        depth(3, (9, 9, 8), change),
        depth(4, (20, 21, 15), change),
        depth(5, (22, 23, 21), change),
        snapshot(6, 21, book),
        depth(7, (24, 24, 23), r#""b":[],"a":[["11.0","0"],["12.5","4"]]"#),
        snapshot(8, 24, book),
    ];
    let written = of(Format::Binance, &lines.concat()).unwrap();
    let counts: Vec<(&str, u64)> = written.summary.findings.iter().map(|(code, entry)| (*code, entry.count)).collect();
    let expected = [("older_than_snapshot", 1), ("sequence_gap", 1), ("snapshot_unneeded", 1)];
    assert_eq!(counts, expected);
    assert!(written.summary.findings["sequence_gap"].first[0].starts_with("line 5: updates 20 to 21"));
    assert!(!written.summary.is_sound);
    let mut replay = written.replay();
    let at = |second: i64| i64::try_from(TIME).unwrap() + second * 1_000_000_000;
    replay.step_to(at(3), |_, _| {});
    assert_eq!(replay.books.order_count(), 2);
    replay.step_to(at(5), |_, _| {});
    assert_eq!(replay.books.order_count(), 0);
    replay.step_to(at(7), |event, _| assert!(event.exch_time >= EpochNanos(at(6))));
    let top = replay.books.top(SYMBOL);
    assert_eq!((top.bid.unwrap().qty.0, top.ask.unwrap().price.to_string()), (3, "12.5".to_owned()));
}

#[test]
fn no_update_crosses_the_book_on_its_way() {
    let book = r#""bids":[["10","1"],["9","1"]],"asks":[["11","2"],["12","2"]]"#;
    let up = r#""b":[["11","3"],["12","3"]],"a":[["11","0"],["12","0"],["13","1"]]"#;
    let down = r#""b":[["11","0"],["12","0"],["10","0"],["9","2"]],"a":[["10","1"],["13","0"]]"#;
    let lines = [snapshot(0, 7, book), depth(1, (8, 8, 7), up), depth(2, (9, 9, 8), down)];
    let written = of(Format::Binance, &lines.concat()).unwrap();
    assert!(written.summary.is_sound, "{:?}", written.summary.findings);
    let mut replay = written.replay();
    while let Some((event, _)) = replay.step() {
        let top = replay.books.top(SYMBOL);
        assert!(!top.is_crossed() && !top.is_locked(), "{event:?}");
    }
    assert_eq!(replay.books.order_count(), 2);
}

#[test]
fn a_snapshot_from_before_the_updates_is_refused() {
    let book = r#""bids":[["10.0","1"]],"asks":[]"#;
    let lines = [depth(0, (10, 12, 9), r#""b":[],"a":[]"#), snapshot(1, 5, book)];
    let written = of(Format::Binance, &lines.concat()).unwrap();
    assert_eq!((written.found("snapshot_too_old"), written.found("before_snapshot")), (1, 1));
    let mut replay = written.replay();
    while replay.step().is_some() {}
    assert_eq!(replay.books.order_count(), 0);
}

#[test]
fn lines_with_something_wrong_are_counted_and_survived() {
    let book = r#""bids":[["10.0","1.5"]],"asks":[["11.0","2"]]"#;
    let mut lines = snapshot(0, 7, book);
    lines += "1723161256000 {\"lastUpdateId\":8,\"bids\":[],\"asks\":[]}\n";
    lines += "no line at all\n";
    lines += &depth(2, (8, 8, 7), r#""b":[["-1","3"]],"a":[]"#);
    lines += &depth(2, (8, 8, 7), r#""b":[["10.0","3"]]"#);
    lines += &depth(3, (8, 8, 7), r#""b":[["11.5","3"]],"a":[]"#);
    lines += "1723161259000000000 {\"stream\":\"a@markPrice\",\"data\":{\"e\":\"markPriceUpdate\",\"p\":\"1\"}}\n";
    lines += "1723161259000000000 {\"stream\":\"a@k\",\"data\":{\"e\":\"kline\",\"E\":1,\"s\":\"ACME\",\"T\":\"x\"}}\n";
    lines += "1723161258000000000 {\"data\":{\"e\":\"trade\",\"T\":1723161259000,\"s\":\"ACME\",\"p\":\"10\",\"q\":\"1\",\"m\":true}}\n";
    lines += "1723161260000000000 {\"data\":{\"e\":\"trade\",\"T\":5,\"s\":\"ACME\",\"p\":\"0\",\"q\":\"0\",\"X\":\"NA\",\"m\":true}}\n";
    lines += "1723161260000000000 {\"u\":8,\"s\":\"ACME\",\"b\":\"11.5\",\"B\":\"3\",\"a\":\"11\",\"A\":\"2.5\"}\n";
    let written = of(Format::Binance, &lines).unwrap();
    let counts: Vec<(&str, u64)> = written.summary.findings.iter().map(|(code, entry)| (*code, entry.count)).collect();
    let expected = [
        ("clock_implausible", 1),
        ("crossed", 1),
        ("malformed_row", 3),
        ("off_market_trade", 1),
        ("other_record", 2),
        ("receive_time_backward", 1),
        ("ticker_differs", 1),
        ("time_implausible", 1),
    ];
    assert_eq!(counts, expected, "{:?}", written.summary.findings);
    assert_eq!(written.summary.lot, "0.1");
    assert_eq!(written.summary.ticker.map(|check| (check.compared, check.equal)), Some((1, 0)));
    let mut replay = written.replay();
    while replay.step().is_some() {}
}

#[test]
fn files_of_several_symbols_keep_them_apart() {
    let line = |symbol: &str, last: u64| {
        format!(
            "{TIME} {{\"data\":{{\"e\":\"depthUpdate\",\"s\":\"{symbol}\",\"U\":{last},\"u\":{last},\"b\":[],\"a\":[]}}}}\n"
        )
    };
    let lines = line("ACME", 1) + &line("1000SHIBUSDT", 1) + &snapshot(1, 1, r#""bids":[],"asks":[]"#);
    let written = of(Format::Binance, &lines).unwrap();
    let names: Vec<&str> = written.summary.symbols.iter().map(|entry| entry.symbol.as_str()).collect();
    assert_eq!(names, ["ACME", "1000SHIB"]);
    assert_eq!((written.found("snapshot_unassigned"), written.found("snapshot_missing")), (1, 2));
    let (_folder, path) = file(&lines, "day.txt");
    let mut plan = plan(Format::Binance, &path);
    plan.symbols = vec!["NONE".to_owned()];
    assert!(matches!(Written::of(&plan), Err(ConvertError::Setting { setting: "--symbols", .. })));
}

const HEADER: &str = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n";

#[test]
fn decimals_with_an_exponent_are_read_exactly() {
    let start = 1_585_699_200_000_000_u64;
    let row = |rest: &str| format!("x,ACME,{start},{start},true,{rest}\n");
    let sound = ["bid,6.411e3,4.7e-7", "bid,6410,1.5E-6", "ask,64115e-1,0.02e+2", "ask,.6412e+04,0e-30"].map(row);
    let not_sound = ["6e-10", "4.7e", "e-7", "4.7e-", "4.7e-7e", "4.7e-7.5", "9e99999999999", "-1e-7"];
    let rows = not_sound.map(|qty| row(&format!("ask,6412,{qty}")));
    let (_folder, path) = file(&[HEADER, &sound.concat(), &rows.concat()].concat(), "day.csv");
    let written = Written::of(&plan(Format::Tardis, &path)).unwrap();
    assert_eq!(written.found("malformed_row"), 8, "{:?}", written.summary.findings);
    assert_eq!(written.summary.lot, "0.00000001");
    let mut replay = written.replay();
    while replay.step().is_some() {}
    let units = Units::of(&written);
    let one = 1_000_000_000;
    let expected = Naive {
        bids: [(6_411 * one, 470), (6_410 * one, 1_500)].into(),
        asks: [(6_411 * one + one / 2, 2 * one)].into(),
    };
    assert_eq!(book(&replay, units), expected);
}

#[test]
fn tardis_rows_become_the_same_book() {
    let row = |time: u64, is_snapshot: bool, rest: &str| {
        format!("deribit,BTC-PERPETUAL,{time},{},{is_snapshot},{rest}\n", time + 1_000)
    };
    let start = 1_585_699_200_000_000;
    let rows = [
        HEADER.to_owned(),
        row(start, false, "bid,6400,5"),
        row(start + 1, true, "bid,6411,10"),
        row(start + 1, true, "ask,6411.5,20"),
        row(start + 2, false, "bid,6411,0"),
        row(start + 2, false, "bid,6410.5,7"),
        row(start + 3, false, "ask,6411.5,25"),
        row(start + 4, false, "ask,6411.5,15"),
        row(start + 9, true, "bid,6409,1"),
        row(start + 9, true, "ask,6409.5,2"),
    ];
    let (_folder, path) = file(&rows.concat(), "x.csv");
    assert_eq!(Format::recognise(&path).unwrap(), Format::Tardis);
    let written = Written::of(&plan(Format::Tardis, &path)).unwrap();
    assert_eq!(written.found("before_snapshot"), 1);
    assert_eq!(written.found("symbol_renamed"), 1, "{:?}", written.summary.symbols);
    assert_eq!(written.summary.symbols[0].symbol, "BTC-PERP");
    assert_eq!(written.summary.receive_less_exchange_ns, Some((1_000_000, 1_000_000)));
    let mut replay = written.replay();
    let at = |time: u64| i64::try_from(time + 1_000).unwrap() * 1_000;
    let mut best = |time: u64| {
        replay.step_to(at(time), |_, _| {});
        let top = replay.books.top(SYMBOL);
        [top.bid, top.ask].map(|level| level.map(|level| (level.price.to_string(), level.qty.0)))
    };
    let level = |price: &str, qty| Some((price.to_owned(), qty));
    assert_eq!(best(start), [None, None]);
    assert_eq!(best(start + 1), [level("6411", 10), level("6411.5", 20)]);
    assert_eq!(best(start + 2), [level("6410.5", 7), level("6411.5", 20)]);
    assert_eq!(best(start + 3), [level("6410.5", 7), level("6411.5", 25)]);
    assert_eq!(best(start + 4), [level("6410.5", 7), level("6411.5", 15)]);
    assert_eq!(best(start + 9), [level("6409", 1), level("6409.5", 2)]);
}

/// Updates of a few levels, uncrossed: bids at 1 to 5, asks at 6 to 10.
fn updates() -> impl Strategy<Value = Vec<Vec<(bool, u8, u8)>>> {
    let change = (any::<bool>(), 0_u8..5, 0_u8..4);
    proptest::collection::vec(proptest::collection::vec(change, 0..6), 1..30)
}

fn naive_after(updates: &[Vec<(bool, u8, u8)>]) -> Naive {
    let mut naive = Naive::default();
    for (is_ask, step, qty) in updates.iter().flatten() {
        let (price, qty) = (i64::from(*step) * 1_000_000_000, i64::from(*qty) * 1_000_000_000);
        if *is_ask {
            Naive::set(&mut naive.asks, price + 6_000_000_000, qty);
        } else {
            Naive::set(&mut naive.bids, price + 1_000_000_000, qty);
        }
    }
    naive
}

fn check(path: &Path, format: Format, updates: &[Vec<(bool, u8, u8)>]) -> Result<(), TestCaseError> {
    let written = Written::of(&plan(format, path)).unwrap();
    prop_assert!(written.summary.is_sound, "{:?}", written.summary.findings);
    let (units, mut replay) = (Units::of(&written), written.replay());
    for count in 1..=updates.len() {
        replay.step_to(i64::try_from(TIME).unwrap() + i64::try_from(count).unwrap() * 1_000_000_000, |_, _| {});
        prop_assert_eq!(book(&replay, units), naive_after(&updates[..count]));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_updates_give_the_naive_book(updates in updates()) {
        let mut lines = snapshot(0, 0, r#""bids":[],"asks":[]"#);
        let mut rows = HEADER.to_owned();
        rows += &format!("x,ACME,{0},{0},true,bid,1,0\n", TIME / 1_000);
        for (index, update) in updates.iter().enumerate() {
            let number = u64::try_from(index).unwrap() + 1;
            let mut sides = [Vec::new(), Vec::new()];
            for (is_ask, step, qty) in update {
                let price = if *is_ask { step + 6 } else { step + 1 };
                sides[usize::from(*is_ask)].push(format!("[\"{price}\",\"{qty}\"]"));
                let (side, time) = (if *is_ask { "ask" } else { "bid" }, TIME / 1_000 + number * 1_000_000);
                rows += &format!("x,ACME,{time},{time},false,{side},{price},{qty}\n");
            }
            let levels = format!("\"b\":[{}],\"a\":[{}]", sides[0].join(","), sides[1].join(","));
            lines += &depth(number, (number, number, number - 1), &levels);
        }
        let (_folder, path) = file(&lines, "day.txt");
        check(&path, Format::Binance, &updates)?;
        let (_folder, path) = file(&rows, "day.csv");
        check(&path, Format::Tardis, &updates)?;
    }
}
