//! The books rebuilt from the re-encoded LOBSTER hour against the states that LOBSTER publishes.
//!
//! **How the two correspond.** LOBSTER gives, for each row of its message file, the book after that row. The ITCH file
//! holds the same flow, but not one to one: it begins with the orders that were resting already, and orders entered
//! outside the published depth are inserted when they come into sight.
//! - *Best levels*: neighbouring repeats are taken once on both sides (the distinct states). Ours must hold the 11,015
//!   published ones as one unbroken run: from the first published state on, nothing is passed over on either side.
//! - *Ten levels*: each of the 999 rows of the excerpt's message file is the next ITCH message of the same nanosecond,
//!   type, order (hidden trades have none) and quantity; the ten best levels after that message are that row of the
//!   excerpt's book file. ITCH messages in between are those that the excerpt leaves out because they are deeper.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{depth, event_of, messages, real_data};
use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_types::{EventKind, Level, MarketEvent, Side, SymbolId};

const AAPL: SymbolId = SymbolId(13);
const ITCH: &str = "itch/aapl_20120621_0930_1030_reencoded.itch50.gz";

/// Ask price, ask quantity, bid price, bid quantity of each level, best first, as LOBSTER writes them.
type Row = Vec<i64>;

fn published(name: &str) -> Option<Vec<Row>> {
    let text = String::from_utf8(real_data(name)?).unwrap();
    Some(text.lines().map(|line| line.split(',').map(|field| field.parse().unwrap()).collect()).collect())
}

fn field_pair(level: Option<&Level>, side: Side) -> [i64; 2] {
    let empty = if side == Side::Sell { 9_999_999_999 } else { -9_999_999_999 };
    level.map_or([empty, 0], |level| [level.price.to_price4().unwrap().into(), i64::try_from(level.qty.0).unwrap()])
}

fn row(books: &impl MarketBooks, level_count: usize) -> Row {
    let (asks, bids) = (depth(books, AAPL, Side::Sell), depth(books, AAPL, Side::Buy));
    (0..level_count)
        .flat_map(|index| {
            let [ask, ask_qty] = field_pair(asks.get(index), Side::Sell);
            let [bid, bid_qty] = field_pair(bids.get(index), Side::Buy);
            [ask, ask_qty, bid, bid_qty]
        })
        .collect()
}

fn books() -> Books {
    Books::new(BookConfig::new(14, 20_000, 20_000)).unwrap()
}

#[test]
fn lobster_best_levels_equal_all_11015_published_states() {
    let name = "lobster/AAPL_2012-06-21_34200000_57600000_orderbook_1.head12000.csv.gz";
    let (Some(mut theirs), Some(bytes)) = (published(name), real_data(ITCH)) else { return };
    assert_eq!(theirs.len(), 12_000);
    theirs.dedup();
    assert_eq!(theirs.len(), 11_015);
    let mut books = books();
    let mut ours = Vec::new();
    for message in messages(&bytes) {
        assert_eq!(books.apply(&event_of(message)).anomaly, None);
        ours.push(row(&books, 1));
    }
    ours.dedup();
    let first = ours.iter().position(|row| Some(row) == theirs.first()).unwrap();
    assert!(first < 40, "only the orders that were resting already may come before the first state");
    for (index, (our, their)) in ours[first..].iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "distinct state {index}");
    }
    assert!(ours.len() - first >= theirs.len());
}

/// One row of LOBSTER's message file: time in seconds since midnight, type, order, size, price in 10⁻⁴, direction.
fn is_row(event: &MarketEvent, fields: &[&str]) -> bool {
    let (seconds, fraction) = fields[0].split_once('.').unwrap();
    let nanos = format!("{seconds}{fraction:0<9}");
    let kind = match fields[1] {
        "1" => EventKind::AddOrder,
        "2" => EventKind::CancelOrder,
        "3" => EventKind::DeleteOrder,
        "4" => EventKind::ExecuteOrder,
        "5" => EventKind::Trade,
        other => panic!("the excerpt holds no message of type {other}"),
    };
    let is_hidden = kind == EventKind::Trade;
    let is_whole = kind == EventKind::DeleteOrder;
    nanos == event.exch_time.0.to_string()
        && kind == event.kind
        && (is_hidden || fields[2] == event.id_a.to_string())
        && (is_whole || fields[3] == event.qty.to_string())
}

#[test]
fn lobster_ten_levels_equal_the_excerpt_row_by_row() {
    let name = |part| format!("lobster/AAPL_2012-06-21_34200000_57600000_{part}_10.head1000.csv.gz");
    let (Some(rows), Some(told), Some(bytes)) =
        (published(&name("orderbook")), real_data(&name("message")), real_data(ITCH))
    else {
        return;
    };
    let told = String::from_utf8(told).unwrap();
    assert_eq!((rows.len(), told.lines().count()), (999, 999));
    let mut books = books();
    let mut events = messages(&bytes).into_iter().map(event_of);
    for (index, (line, theirs)) in told.lines().zip(rows).enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        loop {
            let event = events.next().unwrap_or_else(|| panic!("row {index} is not in the ITCH file: {line}"));
            assert_eq!(books.apply(&event).anomaly, None);
            if is_row(&event, &fields) {
                break;
            }
        }
        assert_eq!(row(&books, 10), theirs, "row {index}: {line}");
    }
}
