//! A generated session is one that no book can object to: no anomaly, never locked or crossed, nothing left at the
//! end, every number used once, every type in its place.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at the types it is about")]

use std::collections::BTreeSet;

use peregrine_book::{BookConfig, BookUpdate, MarketBooks, NaiveBooks};
use peregrine_generate::{GeneratorConfig, Session};
use peregrine_types::{EventFlags, EventKind, Full, MarketEvent, TopOfBook, TradingState};
use peregrine_wire::itch50::{Decoder, Message, MessageType, parse};
use proptest::prelude::*;

/// Decodes a session into books and hands every update with the book's state after it to `look`.
fn drive(
    config: GeneratorConfig,
    mut look: impl FnMut(&MarketEvent, &BookUpdate, TopOfBook, TradingState),
) -> NaiveBooks {
    let midnight = config.midnight;
    let mut books = NaiveBooks::new(BookConfig::new(config.symbol_count, 1 << 20, 1 << 20)).unwrap();
    let mut decoder = Decoder::new(midnight, config.symbol_count);
    let mut session = Session::new(config).unwrap();
    session.for_each_message(|time, message| {
        let mut events = Vec::new();
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        decoder.decode(message, time, EventFlags::default(), &mut sink).unwrap();
        assert!(!events.is_empty(), "a message without event");
        for event in &events {
            assert_eq!(event.exch_time, time);
            let update = books.apply(event);
            look(event, &update, books.top(event.symbol), books.trading_state(event.symbol));
        }
    });
    assert_eq!((decoder.counters().malformed_count(), decoder.counters().unknown_count()), (0, 0));
    books
}

fn check_session(config: GeneratorConfig) {
    let (mut updates, mut last_time) = (0_u64, i64::MIN);
    let books = drive(config.clone(), |event, update, top, state| {
        updates += 1;
        assert_eq!(update.anomaly, None, "{event:?}");
        assert!(!top.is_crossed() && !top.is_locked(), "{event:?} {top:?} in {state:?}");
        assert!(event.exch_time.0 >= last_time, "time goes backwards");
        last_time = event.exch_time.0;
    });
    assert_eq!(books.order_count(), 0, "orders outlive the session");
    // Events that bring events come in clusters: the deviation of their number is √n / (1 − branching ratio) (Hawkes 1971).
    let exact = |count: u64| f64::from(u32::try_from(count).unwrap());
    let deviation = exact(config.message_count).sqrt() / (1.0 - config.branching_ratio);
    let least = exact(config.message_count) / 2.0 - 6.0 * deviation;
    assert!(exact(updates) > least, "only {updates} of {} messages", config.message_count);
}

#[test]
fn a_small_session_of_every_type_fits_the_books() {
    check_session(GeneratorConfig::every_type(11, 20, 60_000));
}

#[test]
fn a_regular_day_fits_the_books() {
    let mut config = GeneratorConfig::demo(5);
    (config.symbol_count, config.message_count) = (30, 80_000);
    check_session(config);
}

#[test]
fn standing_orders_rest_all_day_and_leave_with_the_others() {
    let mut config = GeneratorConfig::demo(5);
    (config.symbol_count, config.message_count, config.standing_order_count) = (30, 20_000, 10_007);
    let (mut live, mut added, mut shares) = (0_i64, 0_u64, [0_u64; 2]);
    let close = config.midnight.0 + i64::try_from(config.hours.close).unwrap();
    let mut live_at_close = 0;
    check_session(config.clone());
    drive(config, |event, update, _, _| {
        match event.kind {
            EventKind::AddOrder => {
                (live, added) = (live + 1, added + 1);
                shares[usize::from(event.side == peregrine_types::Side::Sell)] += 1;
            }
            EventKind::DeleteOrder => live -= 1,
            _ => {}
        }
        assert_eq!(update.anomaly, None);
        if event.exch_time.0 < close {
            live_at_close = live;
        }
    });
    assert!(live_at_close >= 10_007 && added >= 10_007, "{live_at_close} of {added}");
    assert!(shares.iter().all(|&count| count > added / 3), "both sides: {shares:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn sessions_of_any_shape_fit_the_books(
        seed: u64, symbols in 1_u32..12, per_symbol in 40_u64..800, zipf in 0.0_f64..2.0, branching in 0.0_f64..0.9,
        informed in 0.0_f64..1.0, volatility in 0.001_f64..0.2, is_wild: bool,
    ) {
        let mut config = GeneratorConfig::every_type(seed, symbols, u64::from(symbols) * per_symbol);
        config.zipf_exponent = zipf;
        config.branching_ratio = branching;
        config.informed_fraction = informed;
        config.volatility_per_day = volatility;
        config.has_market_wide_halt = is_wild;
        config.has_rare_messages = is_wild;
        check_session(config);
    }
}

#[test]
fn every_type_appears_in_its_place_and_every_number_is_used_once() {
    let mut session = Session::new(GeneratorConfig::every_type(3, 20, 60_000)).unwrap();
    let (mut references, mut matches, mut printed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut events, mut last) = (Vec::new(), None);
    session.for_each_message(|_, bytes| {
        let mut fresh_match = |number: u64| assert!(matches.insert(number), "match {number} twice");
        match parse(bytes).unwrap() {
            Message::SystemEvent(message) => events.push(char::from(message.event_code)),
            Message::AddOrder(message) => assert!(references.insert(message.order_ref.get())),
            Message::AddOrderMpid(message) => assert!(references.insert(message.order_ref.get())),
            Message::OrderReplace(message) => assert!(references.insert(message.new_order_ref.get())),
            Message::OrderExecuted(message) => fresh_match(message.match_number.get()),
            Message::OrderExecutedWithPrice(message) => {
                fresh_match(message.match_number.get());
                printed.insert(message.printable);
            }
            Message::TradeNonCross(message) => fresh_match(message.match_number.get()),
            Message::CrossTrade(message) => {
                fresh_match(message.match_number.get());
                printed.insert(message.cross_type);
            }
            Message::BrokenTrade(message) => assert!(matches.contains(&message.match_number.get())),
            Message::Unknown(bytes) => panic!("unknown type {bytes:?}"),
            other => assert!(other.header().is_some()),
        }
        last = parse(bytes).unwrap().message_type();
    });
    assert_eq!(events, ['O', 'S', 'Q', 'M', 'E', 'C']);
    assert_eq!(last, Some(MessageType::SystemEvent));
    assert_eq!(printed.into_iter().collect::<Vec<_>>(), b"CHNOY", "both prints of C, all three crosses");
    let report = session.report();
    for &kind in MessageType::ALL {
        assert!(report.count_of(kind) > 0, "no {}", kind.title());
    }
}

#[test]
fn nothing_is_executed_while_a_symbol_does_not_trade() {
    let mut executions = [0_u64; 2];
    drive(GeneratorConfig::every_type(7, 20, 60_000), |event, update, _, state| {
        let is_continuous =
            |print: peregrine_book::TradePrint| print.is_printable && event.kind != EventKind::CrossTrade;
        if update.trade.is_some_and(is_continuous) {
            executions[usize::from(state == TradingState::Trading)] += 1;
        }
    });
    assert_eq!(executions[0], 0);
    assert!(executions[1] > 500);
}
