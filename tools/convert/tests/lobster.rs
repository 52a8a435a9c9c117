//! LOBSTER files against the books that LOBSTER publishes, and files with something wrong in them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod common;

use common::{Replay, Written, plan, real_data, text};
use peregrine_book::{BookAction, MarketBooks as _};
use peregrine_convert::{ConvertError, Format};
use peregrine_types::{EventKind, Level, MarketEvent, Side, SymbolId};

const FOLDER: &str = "lobster/AAPL_2012-06-21_34200000_";
const SYMBOL: SymbolId = SymbolId(0);

/// Ask price, ask quantity, bid price, bid quantity of each level, best first, as LOBSTER writes them.
fn row(replay: &Replay, level_count: usize) -> Vec<i64> {
    let (asks, bids) = (replay.depth(SYMBOL, Side::Sell, level_count), replay.depth(SYMBOL, Side::Buy, level_count));
    let pair = |level: Option<&Level>, empty: i64| {
        level.map_or([empty, 0], |level| [level.price.0 / 100_000, i64::try_from(level.qty.0).unwrap()])
    };
    (0..level_count)
        .flat_map(|at| {
            let [ask, ask_qty] = pair(asks.get(at), 9_999_999_999);
            let [bid, bid_qty] = pair(bids.get(at), -9_999_999_999);
            [ask, ask_qty, bid, bid_qty]
        })
        .collect()
}

fn published(name: &str) -> Option<Vec<Vec<i64>>> {
    let text = text(&real_data(name)?);
    Some(text.lines().map(|line| line.split(',').map(|field| field.parse().unwrap()).collect()).collect())
}

#[test]
fn the_real_hour_has_every_published_best_bid_and_ask() {
    let (Some(path), Some(mut theirs)) = (
        real_data(&format!("{FOLDER}37800000_message_50.csv.gz")),
        published(&format!("{FOLDER}57600000_orderbook_1.head12000.csv.gz")),
    ) else {
        return;
    };
    assert_eq!(Format::recognise(&path).unwrap(), Format::Lobster);
    let written = Written::of(&plan(Format::Lobster, &path)).unwrap();
    let summary = &written.summary;
    assert!(summary.is_sound, "{:?}", summary.findings);
    assert_eq!((summary.date.as_str(), summary.symbols[0].symbol.as_str()), ("2012-06-21", "AAPL"));
    assert_eq!(summary.rows.values().sum::<u64>(), 91_997);
    assert_eq!(written.found("standing_order") + written.found("late_order"), 80);
    theirs.dedup();
    let mut replay = written.replay();
    let mut ours = Vec::new();
    while replay.step().is_some() {
        ours.push(row(&replay, 1));
    }
    ours.dedup();
    let first = ours.iter().position(|row| *row == theirs[0]).unwrap();
    assert!(first < 40, "only the orders that were resting already may come before the first state");
    for (at, (our, their)) in ours[first..].iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "distinct state {at}");
    }
    assert!(ours.len() - first >= theirs.len());
}

/// Whether an event is what a row tells.
fn is_row(event: &MarketEvent, update: BookAction, fields: &[&str], midnight: i64) -> bool {
    let (seconds, fraction) = fields[0].split_once('.').unwrap();
    let nanos: i64 = format!("{seconds}{fraction:0<9}").parse().unwrap();
    let kind = match fields[1] {
        "1" => EventKind::AddOrder,
        "2" => EventKind::CancelOrder,
        "3" => EventKind::DeleteOrder,
        "4" => EventKind::ExecuteOrder,
        "5" => EventKind::Trade,
        other => panic!("the excerpt holds no message of type {other}"),
    };
    let is_hidden = update == BookAction::Traded;
    midnight + nanos == event.exch_time.0
        && kind == event.kind
        && (is_hidden || fields[2] == event.id_a.to_string())
        && (kind == EventKind::DeleteOrder || fields[3] == event.qty.to_string())
}

#[test]
fn the_real_excerpt_has_ten_levels_row_by_row() {
    let name = |part| format!("{FOLDER}57600000_{part}_10.head1000.csv.gz");
    let (Some(path), Some(told), Some(rows)) = (
        real_data(&format!("{FOLDER}37800000_message_50.csv.gz")),
        real_data(&name("message")),
        published(&name("orderbook")),
    ) else {
        return;
    };
    let told = text(&told);
    assert_eq!((told.lines().count(), rows.len()), (999, 999));
    let written = Written::of(&plan(Format::Lobster, &path)).unwrap();
    let midnight = written.summary.time_span_ns.unwrap().0 - 34_200_004_241_176;
    let mut replay = written.replay();
    for (at, (line, theirs)) in told.lines().zip(rows).enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        loop {
            let (event, update) = replay.step().unwrap_or_else(|| panic!("row {at} is not in the session: {line}"));
            if is_row(&event, update.action, &fields, midnight) {
                break;
            }
        }
        assert_eq!(row(&replay, 10), theirs, "row {at}: {line}");
    }
}

#[test]
fn the_real_excerpt_alone_becomes_a_sound_session() {
    let Some(path) = real_data(&format!("{FOLDER}57600000_message_10.head1000.csv.gz")) else { return };
    let written = Written::of(&plan(Format::Lobster, &path)).unwrap();
    assert!(written.summary.is_sound);
    assert!(written.found("standing_order") > 0);
    let mut replay = written.replay();
    while replay.step().is_some() {}
}

/// A session of these rows, of 2024-08-08.
fn of(rows: &str) -> Result<Written, ConvertError> {
    with(rows, |_| {})
}

fn with(rows: &str, change: impl FnOnce(&mut peregrine_convert::Plan)) -> Result<Written, ConvertError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ACME_2024-08-08_message.csv");
    std::fs::write(&path, rows).unwrap();
    let mut plan = plan(Format::Lobster, &path);
    change(&mut plan);
    Written::of(&plan)
}

#[test]
fn each_type_has_its_message_and_earlier_orders_are_added_where_they_belong() {
    let rows = "34200.1,1,100,10,5000000,1\n\
                34200.2,2,100,4,5000000,1\n\
                34200.3,4,100,2,5000000,1\n\
                34200.4,4,50,7,5001000,-1\n\
                34200.5,3,50,3,5001000,-1\n\
                34200.6,5,0,9,5000500,1\n\
                34200.7,1,200,1,5000000,1\n\
                34200.75,3,150,5,5002000,-1\n\
                34200.8,7,0,0,-1,-1\n\
                34200.8,7,0,0,0,-1\n\
                34200.8,7,0,0,1,-1\n\
                34200.9,6,-1,500,5000700,-1\n\
                34201,3,100,4,5000000,1\n";
    let written = of(rows).unwrap();
    // 50 stood before the first new order; 150 was entered between 100 and 200.
    assert_eq!(written.flow(), "AAXEEDPAADHHHQD");
    assert!(written.summary.is_sound, "{:?}", written.summary.findings);
    assert_eq!((written.found("standing_order"), written.found("late_order")), (1, 1));
    let mut replay = written.replay();
    while replay.step().is_some() {}
    assert_eq!(replay.books.order_count(), 1);
}

#[test]
fn what_is_wrong_is_counted_named_and_survived() {
    let rows = "34200.1,1,100,10,5000000,1\n\
                not a row\n\
                34200.0,1,101,10,5000000,1\n\
                34200.2,4,100,25,5000000,1\n\
                34200.2,3,100,1,5000000,1\n\
                34200.3,1,101,5,5000000,1\n\
                34200.4,2,101,0,5000000,1\n\
                34200.5,3,101,2,5000000,1\n\
                34200.6,7,0,0,9,1\n";
    let written = of(rows).unwrap();
    let counts: Vec<(&str, u64)> = written.summary.findings.iter().map(|(code, entry)| (*code, entry.count)).collect();
    let expected = [
        ("duplicate_order", 1),
        ("excess", 1),
        ("malformed_row", 2),
        ("no_quantity", 1),
        ("receive_time_backward", 1),
        ("size_differs", 1),
        ("unknown_order", 1),
    ];
    assert_eq!(counts, expected);
    assert!(!written.summary.is_sound);
    assert_eq!(written.summary.findings["malformed_row"].first[0], "line 2: the time is not seconds since midnight");
    let mut replay = written.replay();
    while replay.step().is_some() {}
    assert_eq!(replay.books.order_count(), 0);
    let error = with(rows, |plan| plan.is_strict = true).err().unwrap();
    assert!(matches!(error, ConvertError::Strict { .. }) && error.to_string().contains("line 2"), "{error}");
}

#[test]
fn prices_that_do_not_fit_and_days_that_nobody_tells_are_errors() {
    let error = of("34200.1,1,100,10,4294967296,1\n").err().unwrap();
    assert!(error.to_string().contains("line 1") && error.to_string().contains("429496.7296"), "{error}");
    let written = with("34200.1,1,100,10,4294967290,1\n34200.1,1,101,10,5000000,1\n", |plan| {
        plan.price_scale = peregrine_convert::PriceScale::parse("0.1").unwrap();
    });
    assert_eq!(written.unwrap().summary.price_scale, "0.1");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ACME.csv");
    std::fs::write(&path, "34200.1,1,100,10,5000000,1\n").unwrap();
    assert!(matches!(Written::of(&plan(Format::Lobster, &path)), Err(ConvertError::NoDate(_))));
}

#[test]
fn a_cut_file_gives_what_is_whole_and_says_so() {
    use std::io::Write as _;
    let rows: String = (1..500).map(|id| format!("34200.{id:03},1,{id},10,{},1\n", 5_000_000 + id)).collect();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(rows.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ACME_2024-08-08.csv.gz");
    let mut last = 0;
    for len in (20..packed.len()).step_by(37) {
        std::fs::write(&path, &packed[..len]).unwrap();
        let written = Written::of(&plan(Format::Lobster, &path)).unwrap();
        assert_eq!(written.found("truncated"), 1, "{len} of {} bytes", packed.len());
        assert!(!written.summary.is_sound);
        let rows = written.summary.rows.values().sum::<u64>();
        assert!(rows >= last && rows <= 499);
        last = rows;
    }
    assert!(last > 300, "{last}");
    std::fs::write(&path, &packed).unwrap();
    assert!(Written::of(&plan(Format::Lobster, &path)).unwrap().summary.is_sound);
}
