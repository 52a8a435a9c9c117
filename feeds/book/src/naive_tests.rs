//! The naive books against cases whose answer a person can see.

use super::*;
use peregrine_types::EpochNanos;

const S: SymbolId = SymbolId(0);

fn event(kind: EventKind, order_ref: u64) -> MarketEvent {
    MarketEvent { id_a: order_ref, ..MarketEvent::new(kind, S, EpochNanos(1), EpochNanos(1)) }
}

fn add(order_ref: u64, side: Side, price: i64, qty: u64) -> MarketEvent {
    MarketEvent { side, price: Price(price), qty: Qty(qty), ..event(EventKind::AddOrder, order_ref) }
}

fn reduce(kind: EventKind, order_ref: u64, qty: u64) -> MarketEvent {
    MarketEvent { qty: Qty(qty), ..event(kind, order_ref) }
}

fn books() -> NaiveBooks {
    let mut books = NaiveBooks::new(BookConfig::new(4, 100, 100)).unwrap();
    books.apply(&MarketEvent { detail: b'T', ..event(EventKind::TradingAction, 0) });
    books
}

fn level(price: i64, qty: u64, order_count: u32) -> Level {
    Level { price: Price(price), qty: Qty(qty), order_count }
}

#[test]
fn orders_join_lose_quantity_and_leave() {
    let mut books = books();
    assert!(books.apply(&add(1, Side::Buy, 100, 10)).is_top_changed);
    assert!(!books.apply(&add(2, Side::Buy, 99, 5)).is_top_changed);
    books.apply(&add(3, Side::Buy, 100, 7));
    books.apply(&add(4, Side::Sell, 101, 9));
    assert_eq!(books.top(S), TopOfBook { bid: Some(level(100, 17, 2)), ask: Some(level(101, 9, 1)) });
    assert_eq!(books.queue_ahead(OrderRef(3)), Some(Qty(10)));
    assert!(books.state(S).is_good());

    let update = books.apply(&reduce(EventKind::ExecuteOrder, 1, 4));
    let print = TradePrint { price: Price(100), qty: Qty(4), aggressor: Some(Side::Sell), is_printable: true };
    assert_eq!((update.action, update.trade, update.is_order_gone), (BookAction::Executed, Some(print), false));
    let update = books.apply(&reduce(EventKind::CancelOrder, 1, 6));
    assert_eq!((update.action, update.is_order_gone, update.qty), (BookAction::Canceled, true, Qty(6)));
    assert_eq!(books.queue_ahead(OrderRef(3)), Some(Qty(0)));
    let update = books.apply(&event(EventKind::DeleteOrder, 3));
    assert_eq!((update.action, update.is_top_changed), (BookAction::Deleted, true));
    assert_eq!(books.top(S).bid, Some(level(99, 5, 1)));
    assert_eq!(books.anomalies().total(), 0);
}

#[test]
fn a_replace_goes_to_the_back_even_at_its_own_price() {
    let mut books = books();
    books.apply(&add(1, Side::Sell, 100, 10));
    books.apply(&add(2, Side::Sell, 100, 5));
    let replace = MarketEvent { id_b: 9, price: Price(100), qty: Qty(10), ..event(EventKind::ReplaceOrder, 1) };
    let update = books.apply(&replace);
    assert_eq!(update.replacement, Some(Placed { price: Price(100), qty: Qty(10), priority: Priority(3) }));
    assert!(!update.is_top_changed && update.is_order_gone);
    assert_eq!(books.queue_ahead(OrderRef(9)), Some(Qty(5)));
    assert_eq!(books.order(OrderRef(1)), None);
}

#[test]
fn impossible_events_are_named_counted_and_quarantine() {
    let other = |event: MarketEvent| MarketEvent { symbol: SymbolId(1), ..event };
    let cases = [
        (event(EventKind::DeleteOrder, 7), BookAnomaly::UnknownOrder, 2),
        (add(1, Side::Buy, 99, 1), BookAnomaly::DuplicateAdd, 2),
        (reduce(EventKind::ExecuteOrder, 1, 11), BookAnomaly::OverExecution, 1),
        (reduce(EventKind::CancelOrder, 1, 11), BookAnomaly::OverCancel, 1),
        (add(3, Side::Buy, 99, 0), BookAnomaly::ZeroQty, 2),
        (reduce(EventKind::ExecuteOrder, 1, 0), BookAnomaly::ZeroQty, 2),
        (add(3, Side::Buy, 99, 1 << 32), BookAnomaly::QtyTooLarge, 2),
        (add(3, Side::Buy, 0, 1), BookAnomaly::InvalidPrice, 2),
        (other(event(EventKind::DeleteOrder, 1)), BookAnomaly::SymbolMismatch, 2),
        (MarketEvent { id_b: 2, ..add(1, Side::Buy, 1, 1) }, BookAnomaly::DuplicateAdd, 2),
        (reduce(EventKind::ReplaceOrder, 1, 1), BookAnomaly::InvalidPrice, 1),
        (MarketEvent { id_b: 2, ..reduce(EventKind::ReplaceOrder, 1, 1) }, BookAnomaly::DuplicateAdd, 1),
        (MarketEvent { detail: b'?', ..event(EventKind::TradingAction, 1) }, BookAnomaly::UnknownStateCode, 2),
    ];
    for (event, anomaly, order_count) in cases {
        let mut books = books();
        books.apply(&add(1, Side::Buy, 100, 10));
        books.apply(&add(2, Side::Sell, 101, 10));
        assert_eq!(books.apply(&event).anomaly, Some(anomaly), "{event:?}");
        assert_eq!(books.order_count(), order_count, "{event:?}");
        assert!(books.state(S).contains(BookState::QUARANTINED));
        assert!(books.state(event.symbol).contains(BookState::QUARANTINED));
        assert_eq!(books.symbol_anomalies(event.symbol).of(anomaly), 1);
        assert_eq!(books.anomalies().total(), 1);
        assert!(books.clear_quarantine(S) && !books.state(S).contains(BookState::QUARANTINED));
    }
}

#[test]
fn full_books_refuse_and_say_so() {
    let mut books = NaiveBooks::new(BookConfig::new(1, 2, 1)).unwrap();
    assert_eq!(books.apply(&add(1, Side::Buy, 100, 1)).anomaly, None);
    assert_eq!(books.apply(&add(2, Side::Buy, 99, 1)).anomaly, Some(BookAnomaly::LevelCapacity));
    assert_eq!(books.apply(&add(3, Side::Buy, 100, 1)).anomaly, None);
    assert_eq!(books.apply(&add(4, Side::Buy, 100, 1)).anomaly, Some(BookAnomaly::OrderCapacity));
    let elsewhere = MarketEvent { symbol: SymbolId(1), ..add(5, Side::Buy, 100, 1) };
    assert_eq!(books.apply(&elsewhere).anomaly, Some(BookAnomaly::SymbolOutOfRange));
    assert!(books.state(SymbolId(1)).contains(BookState::QUARANTINED));
    assert_eq!(books.order_count(), 2);
}

#[test]
fn states_follow_the_venue_the_session_and_the_feed() {
    let mut books = NaiveBooks::new(BookConfig::new(2, 10, 10)).unwrap();
    let mut tell = |kind, detail| {
        let update = books.apply(&MarketEvent { detail, ..event(kind, 0) });
        assert_eq!((update.action, update.anomaly), (BookAction::StateChanged, None));
        (books.state(S).without(BookState::ONE_SIDED), books.trading_state(S))
    };
    let (good, halted) = (BookState::GOOD, BookState::HALTED);
    assert_eq!(tell(EventKind::StockDirectory, b'Q'), (halted, TradingState::Unknown));
    assert_eq!(tell(EventKind::TradingAction, b'T'), (good, TradingState::Trading));
    assert_eq!(tell(EventKind::TradingAction, b'P'), (halted, TradingState::Paused));
    assert_eq!(tell(EventKind::TradingAction, b'Q'), (halted, TradingState::QuotationOnly));
    assert_eq!(tell(EventKind::TradingAction, b'H'), (halted, TradingState::Halted));
    assert_eq!(tell(EventKind::TradingAction, b'T').0, good);
    assert_eq!(tell(EventKind::OperationalHalt, b'H').0, halted);
    assert_eq!(tell(EventKind::OperationalHalt, b'T').0, good);
    assert_eq!(tell(EventKind::SystemEvent, b'O').0, halted);
    assert_eq!(tell(EventKind::SystemEvent, b'S').0, good);
    assert_eq!(tell(EventKind::SystemEvent, b'E').0, halted);
    assert_eq!(tell(EventKind::SystemEvent, b'Q').0, good);
    assert_eq!(tell(EventKind::GapStart, 0).0, BookState::STALE);
    assert_eq!(tell(EventKind::GapStart, 0).0, BookState::STALE);
    assert_eq!(tell(EventKind::GapEnd, 0).0, BookState::STALE);
    assert_eq!(tell(EventKind::GapEnd, 0).0, good);
    assert_eq!(tell(EventKind::GapStart, 0).0, BookState::STALE);
    assert_eq!(tell(EventKind::SessionStart, 0), (halted, TradingState::Unknown));
    let config = BookConfig { is_unknown_state_tradable: true, ..BookConfig::new(1, 1, 1) };
    assert_eq!(NaiveBooks::new(config).unwrap().state(S), BookState::ONE_SIDED);
}

#[test]
fn a_snapshot_empties_the_books_and_leaves_gaps_and_operational_halts() {
    let mut books = books();
    let tell = |books: &mut NaiveBooks, kind, detail| {
        books.apply(&MarketEvent { detail, ..event(kind, 0) });
        books.state(S)
    };
    tell(&mut books, EventKind::TradingAction, b'T');
    books.apply(&add(1, Side::Buy, 100, 10));
    books.apply(&add(1, Side::Buy, 100, 10));
    assert!(tell(&mut books, EventKind::GapStart, 0).contains(BookState::QUARANTINED));
    tell(&mut books, EventKind::OperationalHalt, b'H');
    let state = tell(&mut books, EventKind::SnapshotStart, 0);
    assert_eq!(state, BookState::STALE.with(BookState::HALTED).with(BookState::ONE_SIDED));
    assert_eq!((books.order_count(), books.top(S)), (0, TopOfBook::default()));
    assert!(
        tell(&mut books, EventKind::TradingAction, b'T').contains(BookState::HALTED),
        "the operational halt stands"
    );
    tell(&mut books, EventKind::OperationalHalt, b'T');
    books.apply(&add(1, Side::Buy, 100, 10));
    assert_eq!(tell(&mut books, EventKind::GapEnd, 0), BookState::ONE_SIDED);
}

#[test]
fn a_session_start_empties_the_books() {
    let mut books = books();
    books.apply(&add(1, Side::Buy, 100, 10));
    books.apply(&add(1, Side::Buy, 100, 10));
    assert!(books.apply(&event(EventKind::SessionStart, 0)).is_top_changed);
    assert!(!books.apply(&event(EventKind::SessionStart, 0)).is_top_changed);
    assert_eq!((books.order_count(), books.top(S)), (0, TopOfBook::default()));
    assert_eq!(books.state(S), BookState::HALTED.with(BookState::ONE_SIDED));
    assert_eq!(books.apply(&add(1, Side::Buy, 100, 10)).priority, Priority(2));
}
