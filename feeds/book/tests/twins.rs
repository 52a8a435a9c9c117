//! The fast books are the naive books: after every event of generated streams (valid and hostile) and of the real
//! files they give the same update, the same book and the same hash.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{Twins, event_of, messages, real_data};
use peregrine_book::{BookConfig, MarketBooks as _};
use peregrine_types::{BookState, EpochNanos, EventFlags, EventKind, Level, MarketEvent, Price, Qty, Side, SymbolId};
use proptest::prelude::*;

/// A step of a generated stream; references, prices and symbols are drawn from small sets so that they meet.
#[derive(Clone, Debug)]
struct Step {
    kind: EventKind,
    order_ref: u64,
    new_ref: u64,
    symbol: u32,
    side: Side,
    price: i64,
    qty: u64,
    detail: u8,
}

fn kinds() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        24 => Just(EventKind::AddOrder),
        8 => Just(EventKind::DeleteOrder),
        5 => Just(EventKind::ExecuteOrder),
        2 => Just(EventKind::ExecuteOrderAtPrice),
        4 => Just(EventKind::CancelOrder),
        6 => Just(EventKind::ReplaceOrder),
        1 => Just(EventKind::Trade),
        1 => Just(EventKind::CrossTrade),
        1 => Just(EventKind::BrokenTrade),
        1 => Just(EventKind::SystemEvent),
        1 => Just(EventKind::TradingAction),
        1 => Just(EventKind::OperationalHalt),
        1 => Just(EventKind::StockDirectory),
        1 => Just(EventKind::GapStart),
        1 => Just(EventKind::SnapshotStart),
        1 => Just(EventKind::GapEnd),
        1 => Just(EventKind::ImbalanceShares),
    ]
}

/// References that crowd one another's sets: few low bits, many high ones.
fn references() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 1..40_u64, 4 => (0..30_u64).prop_map(|high| high << 32), 1 => Just(u64::MAX), 1 => Just(0)]
}

const CENT: i64 = 10_000_000;

/// Prices around a touch (two sides overlap, so books lock and cross), some far away, some between the cents, some
/// impossible.
fn prices() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => (995..1005_i64).prop_map(|cents| cents * CENT),
        6 => (1..3000_i64).prop_map(|cents| cents * CENT),
        3 => (9_900..10_100_i64).prop_map(|tenths| tenths * CENT / 10),
        3 => 1..400_i64,
        1 => prop_oneof![Just(0), Just(-5), Just(i64::MIN), Just(i64::MAX)],
    ]
}

fn quantities() -> impl Strategy<Value = u64> {
    let extreme = prop_oneof![Just(0), Just(u64::from(u32::MAX)), Just(1 << 32), Just(u64::MAX)];
    prop_oneof![30 => 1..20_u64, 1 => extreme]
}

fn steps() -> impl Strategy<Value = Step> {
    let symbols = prop_oneof![20 => 0..3_u32, 1 => prop_oneof![Just(4_u32), Just(u32::MAX)]];
    let details = prop_oneof![6 => Just(b'T'), 1 => prop::sample::select(b"HPQSEOMC?".to_vec())];
    let sides = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    (kinds(), references(), references(), symbols, sides, prices(), quantities(), details).prop_map(
        |(kind, order_ref, new_ref, symbol, side, price, qty, detail)| Step {
            kind,
            order_ref,
            new_ref,
            symbol,
            side,
            price,
            qty,
            detail,
        },
    )
}

fn event(step: &Step) -> MarketEvent {
    MarketEvent {
        id_a: step.order_ref,
        id_b: step.new_ref,
        price: Price(step.price),
        qty: Qty(step.qty),
        side: step.side,
        detail: step.detail,
        flags: if step.qty.is_multiple_of(2) { EventFlags::PRINTABLE } else { EventFlags::NONE },
        ..MarketEvent::new(step.kind, SymbolId(step.symbol), EpochNanos(0), EpochNanos(0))
    }
}

fn agree(config: BookConfig, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut twins = Twins::new(config);
    for step in steps {
        let event = event(step);
        twins.apply(&event).map_err(TestCaseError::fail)?;
        twins.compare_all(&event).map_err(TestCaseError::fail)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Hostile: whatever comes, in any order.
    #[test]
    fn twins_agree_on_hostile_streams(steps in prop::collection::vec(steps(), 1..300)) {
        agree(BookConfig::new(4, 1000, 1000), &steps)?;
    }

    /// Every capacity is exhausted again and again.
    #[test]
    fn twins_agree_when_they_are_full(steps in prop::collection::vec(steps(), 1..300), levels in 1..60_u32) {
        agree(BookConfig::new(4, 12, levels), &steps)?;
    }

    /// What venues really send: references are fresh, quantities fit, every named order is live and of its symbol.
    #[test]
    fn twins_agree_on_valid_streams_without_an_anomaly(steps in prop::collection::vec(steps(), 1..500), stride in 1..9_u64) {
        let mut twins = Twins::new(BookConfig::new(4, 1000, 1000));
        let mut live: Vec<u64> = Vec::new();
        let mut fresh = 0;
        for step in &steps {
            let Some(event) = made_valid(&twins, event(step), &live, fresh) else { continue };
            fresh += stride;
            let update = twins.apply(&event).map_err(TestCaseError::fail)?;
            twins.compare_all(&event).map_err(TestCaseError::fail)?;
            prop_assert_eq!(update.anomaly, None);
            live.extend([event.id_a, event.id_b]);
            live.retain(|order_ref| twins.naive.order(peregrine_types::OrderRef(*order_ref)).is_some());
            live.sort_unstable();
            live.dedup();
        }
        prop_assert_eq!(twins.fast.anomalies().total(), 0);
    }
}

/// `event` bent into one that may come now.
fn made_valid(twins: &Twins, event: MarketEvent, live: &[u64], fresh: u64) -> Option<MarketEvent> {
    let mut event = MarketEvent {
        symbol: SymbolId(event.symbol.0 % 3),
        price: event.price.clamp(Price(1), Price(1 << 40)),
        qty: event.qty.clamp(Qty(1), Qty(1_000_000)),
        detail: b'T',
        ..event
    };
    if event.kind == EventKind::AddOrder {
        event.id_a = fresh;
    } else if event.kind.changes_book() {
        let index = usize::try_from(event.id_a % 64).unwrap() * live.len() / 64;
        event.id_a = *live.get(index)?;
        event.id_b = fresh;
        let order = twins.naive.order(event.order_ref())?;
        event.symbol = order.symbol;
        if event.kind != EventKind::ReplaceOrder {
            event.qty = event.qty.min(order.qty);
        }
    }
    Some(event)
}

/// An order that is refused for want of a level takes nothing that another side is owed: a side may have its one level
/// again, in or between the price steps, whatever was refused since.
#[test]
fn twins_agree_after_a_refusal_when_levels_are_full() {
    let mut twins = Twins::new(BookConfig::new(4, 12, 1));
    let step = |kind, order_ref: u64, symbol: u32, price: i64| {
        event(&Step { kind, order_ref, new_ref: 0, symbol, side: Side::Buy, price, qty: 1, detail: 0 })
    };
    let steps = [
        step(EventKind::AddOrder, 1, 2, 995 * CENT),
        step(EventKind::AddOrder, 2, 1, 995 * CENT),
        step(EventKind::AddOrder, 3, 0, 995 * CENT),
        step(EventKind::DeleteOrder, 1, 2, 0),
        step(EventKind::AddOrder, 4, 2, 990 * CENT + CENT / 10),
    ];
    for step in &steps {
        twins.apply(step).unwrap();
        twins.compare_all(step).unwrap();
    }
    assert_eq!(twins.fast.level_count(SymbolId(2), Side::Buy), 1);
}

/// Deep books: a side grows through every block size, loses levels in the middle and grows again.
#[test]
fn twins_agree_on_a_side_of_many_levels() {
    let mut twins = Twins::new(BookConfig::new(2, 4000, 4000));
    let step = |kind, order_ref: u64, price: i64| {
        let side = if order_ref.is_multiple_of(2) { Side::Buy } else { Side::Sell };
        event(&Step { kind, order_ref, new_ref: 0, symbol: 1, side, price, qty: 5, detail: 0 })
    };
    for order_ref in 0..3000_u64 {
        let cents = i64::try_from(order_ref * 7919 % 3001).unwrap() + 1;
        let price = if order_ref % 16 < 3 { cents } else { cents * CENT };
        twins.apply(&step(EventKind::AddOrder, order_ref, price)).unwrap();
        if order_ref % 5 == 4 {
            twins.apply(&step(EventKind::DeleteOrder, order_ref * 3 / 5, price)).unwrap();
        }
    }
    let last = step(EventKind::DeleteOrder, 2999, 0);
    twins.apply(&last).unwrap();
    twins.compare_all(&last).unwrap();
    assert!(twins.fast.level_count(SymbolId(1), Side::Buy) > 1000);
}

/// The touch of both sides wanders over many windows' lengths, up and down, in steps short and long; levels stay behind
/// far from it, and some stand between the cents.
#[test]
fn twins_agree_while_the_touch_wanders() {
    let mut twins = Twins::new(BookConfig::new(2, 4000, 4000));
    let mut middle = 20_000_i64;
    for round in 0..6000_u64 {
        let draw = i64::try_from(round * 2_654_435_761 % 1009).unwrap();
        middle += if round / 1000 % 2 == 0 { draw % 5 } else { -(draw % 7) };
        middle += if round % 1500 == 1499 { 3000 - 6 * draw } else { 0 };
        let side = Side::BOTH[usize::from(round % 2 == 0)];
        let away = if draw % 11 == 0 { draw } else { draw % 9 + 1 };
        let cents = if side == Side::Buy { middle - away } else { middle + away };
        let price = cents * CENT + if draw % 13 == 0 { CENT / 10 } else { 0 };
        let add = Step {
            kind: EventKind::AddOrder,
            order_ref: round,
            new_ref: 0,
            symbol: 1,
            side,
            price,
            qty: round % 7 + 1,
            detail: 0,
        };
        assert_eq!(twins.apply(&event(&add)).unwrap().anomaly, None);
        let old = if draw % 10 == 0 { round / 2 } else { round.saturating_sub(30) };
        twins.apply(&event(&Step { kind: EventKind::DeleteOrder, order_ref: old, ..add })).unwrap();
    }
    let facts = [Side::Buy, Side::Sell].map(|side| {
        let mut levels = vec![Level::default(); 4000];
        let mut twin_levels = levels.clone();
        let count = twins.fast.depth(SymbolId(1), side, &mut levels);
        assert_eq!(count, twins.naive.depth(SymbolId(1), side, &mut twin_levels));
        assert_eq!(levels, twin_levels);
        count
    });
    assert!(facts.iter().all(|count| *count > 100), "{facts:?}");
}

/// Sessions follow one another; what one leaves behind must not reach the next.
#[test]
fn twins_agree_over_sessions() {
    let mut twins = Twins::new(BookConfig::new(2, 100, 20));
    for session in 0..3_u64 {
        for order_ref in 0..80_u64 {
            let price = i64::try_from(order_ref % 13).unwrap() + 1;
            let step = Step {
                kind: EventKind::AddOrder,
                order_ref: order_ref << (session * 8),
                new_ref: 0,
                symbol: 1,
                side: Side::BOTH[usize::from(order_ref % 2 == 0)],
                price,
                qty: order_ref + 1,
                detail: 0,
            };
            let event = event(&step);
            twins.apply(&event).unwrap();
            twins.compare_all(&event).unwrap();
        }
        assert!(twins.fast.order_count() > 0 && twins.fast.anomalies().total() > 0);
        let start = MarketEvent::new(EventKind::SessionStart, SymbolId::MARKET, EpochNanos(0), EpochNanos(0));
        assert!(twins.apply(&start).unwrap().is_top_changed);
        twins.compare_all(&start).unwrap();
        assert_eq!(twins.fast.order_count(), 0);
        assert!(!twins.fast.state(SymbolId(1)).contains(BookState::QUARANTINED));
    }
}

fn replay_real(name: &str, message_count: usize) {
    let Some(bytes) = real_data(name) else { return };
    let messages = messages(&bytes);
    assert_eq!(messages.len(), message_count);
    let mut twins = Twins::new(BookConfig::new(14, 20_000, 20_000));
    for (index, message) in messages.iter().enumerate() {
        let event = event_of(message);
        let update = twins.apply(&event).unwrap_or_else(|text| panic!("message {index}: {text}"));
        assert_eq!(update.anomaly, None, "message {index}");
        if index % 1000 == 0 {
            twins.compare_all(&event).unwrap_or_else(|text| panic!("message {index}: {text}"));
        }
    }
    let last = event_of(messages.last().unwrap());
    twins.compare_all(&last).unwrap();
    assert!(!twins.fast.state(SymbolId(13)).contains(BookState::HALTED));
}

#[test]
fn twins_agree_on_the_genuine_premarket_file() {
    replay_real("itch/aapl_20200130_premarket_5000.itch50", 5000);
}

#[test]
fn twins_agree_on_the_reencoded_lobster_hour() {
    replay_real("itch/aapl_20120621_0930_1030_reencoded.itch50.gz", 92_082);
}
