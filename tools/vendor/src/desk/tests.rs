use std::collections::VecDeque;

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_types::{EventFlags, EventKind, Full, MarketEvent, Price, SymbolId};
use peregrine_wire::itch50::Decoder;
use proptest::prelude::*;

use super::*;
use crate::update::TradingState;

/// What the engine makes of the messages.
struct Engine {
    decoder: Decoder,
    books: Books,
    events: VecDeque<MarketEvent>,
    midnight: EpochNanos,
    is_ever_crossed: bool,
}

impl Engine {
    fn new(midnight: EpochNanos) -> Self {
        let books = Books::new(BookConfig::new(8, 1_000, 1_000)).unwrap();
        Self { decoder: Decoder::new(midnight, 8), books, events: VecDeque::new(), midnight, is_ever_crossed: false }
    }
}

impl MessageSink for Engine {
    fn on_message(&mut self, message: &[u8]) -> std::io::Result<()> {
        let mut events = Vec::new();
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        self.decoder.decode(message, self.midnight, EventFlags::NONE, &mut sink).unwrap();
        for event in events {
            assert_eq!(self.books.apply(&event).anomaly, None, "{event:?}");
            let top = self.books.top(event.symbol);
            self.is_ever_crossed |= top.bid.zip(top.ask).is_some_and(|(bid, ask)| bid.price >= ask.price);
            self.events.push_back(event);
        }
        Ok(())
    }
}

const NOON: i64 = 12 * 3_600 * UNIT;

fn desk(quote_size_unit: SizeUnit) -> Desk<Engine> {
    let day = Day::new(jiff::civil::date(2026, 1, 5), "America/New_York").unwrap();
    let names = ["ALFA", "BETA"];
    let config = DeskConfig {
        instruments: names.map(|name| DeskInstrument { symbol: Symbol::new(name).unwrap(), round_lot: 100 }).to_vec(),
        quote_size_unit,
        trade_size_unit: SizeUnit::Shares,
        stale_after: Nanos::from_secs(5),
        is_trading_at_start: true,
    };
    let mut desk = Desk::new(config, day, Engine::new(day.midnight)).unwrap();
    desk.begin(at(&desk, 0)).unwrap();
    desk.out().events.clear();
    desk
}

/// So many nanoseconds behind noon.
fn at(desk: &Desk<Engine>, nanos: i64) -> EpochNanos {
    EpochNanos(desk.day().midnight.0 + NOON + nanos)
}

fn amount(price: &str, size: i64) -> Amount {
    Amount { price: peregrine_types::parse_decimal(price).unwrap(), size: size * UNIT }
}

fn tell(desk: &mut Desk<Engine>, instrument: usize, what: What) -> Vec<(EventKind, i64, u64)> {
    tell_at(desk, 0, Update { instrument, time: None, what })
}

fn tell_at(desk: &mut Desk<Engine>, nanos: i64, update: Update) -> Vec<(EventKind, i64, u64)> {
    let now = at(desk, nanos);
    desk.apply(now, update).unwrap();
    desk.out().events.drain(..).map(|event| (event.kind, event.price.0 / PRICE4_STEP, event.qty.0)).collect()
}

fn quote(bid: Amount, ask: Amount) -> What {
    What::Quote { bid, ask }
}

/// The best quote as the engine has it: price in 10⁻⁴ and shares.
fn top(desk: &mut Desk<Engine>, instrument: u32) -> [Option<(i64, u64)>; 2] {
    let top = desk.out().books.top(SymbolId(instrument));
    [top.bid, top.ask].map(|level| level.map(|level| (level.price.0 / PRICE4_STEP, level.qty.0)))
}

#[test]
fn best_quotes_are_one_order_for_each_side() {
    let mut desk = desk(SizeUnit::Shares);
    let events = tell(&mut desk, 1, quote(amount("10.00", 300), amount("10.02", 200)));
    assert_eq!(events, [(EventKind::AddOrder, 100_000, 300), (EventKind::AddOrder, 100_200, 200)]);
    let events = tell(&mut desk, 1, quote(amount("10.00", 100), amount("10.02", 500)));
    assert_eq!(events[0], (EventKind::CancelOrder, 0, 200));
    assert_eq!(events[1], (EventKind::ReplaceOrder, 100_200, 500));
    assert_eq!(tell(&mut desk, 1, quote(amount("10.00", 100), amount("10.02", 500))), []);
    let events = tell(&mut desk, 1, quote(amount("10.05", 100), amount("10.07", 500)));
    assert_eq!(events[0].1, 100_700, "the ask makes room first: {events:?}");
    assert_eq!(tell(&mut desk, 1, quote(amount("10.05", 0), amount("10.07", 500)))[0].0, EventKind::DeleteOrder);
    assert_eq!(top(&mut desk, 1), [None, Some((100_700, 500))]);
    assert!(!desk.out().is_ever_crossed);
}

#[test]
fn crossed_and_locked_quotes_are_no_quotes() {
    let mut desk = desk(SizeUnit::Shares);
    for (bid, counts) in [("10.03", (1, 0)), ("10.02", (1, 1))] {
        tell(&mut desk, 0, quote(amount("10.00", 1), amount("10.02", 1)));
        assert!(top(&mut desk, 0).iter().all(Option::is_some));
        tell(&mut desk, 0, quote(amount(bid, 1), amount("10.02", 1)));
        assert_eq!(top(&mut desk, 0), [None, None], "{bid}");
        let counters = desk.counters();
        assert_eq!((counters.crossed_count, counters.locked_count), counts);
    }
}

#[test]
fn what_does_not_fit_is_bent_by_the_written_rule_and_counted() {
    let mut desk = desk(SizeUnit::RoundLots);
    let half = Amount { price: 10_000_050_000, size: UNIT / 2 };
    tell(&mut desk, 0, quote(half, Amount { price: 10_020_001_000, ..half }));
    assert_eq!(top(&mut desk, 0), [Some((100_000, 50)), Some((100_201, 50))], "half a round lot; outwards");
    let large = Amount { price: 430_000 * UNIT, size: UNIT };
    tell(&mut desk, 0, quote(amount("10", 1), large));
    assert_eq!(top(&mut desk, 0), [Some((100_000, 100)), None]);
    tell(&mut desk, 0, quote(Amount { price: 50_000, size: UNIT }, amount("10", 1 << 32)));
    assert_eq!(top(&mut desk, 0), [None, Some((100_000, u64::from(u32::MAX)))], "down to nothing; as much as fits");
    let trade = |price: i64, size: i64| What::Trade { id: None, amount: Amount { price, size } };
    assert_eq!(
        tell(&mut desk, 0, trade(10_000_050_000, UNIT * 5 / 2)),
        [(EventKind::Trade, 100_001, 2)],
        "to the nearest"
    );
    assert_eq!(tell(&mut desk, 0, trade(10 * UNIT, UNIT - 1)), [], "less than a share");
    let counters = desk.counters();
    assert_eq!((counters.fine_price_count, counters.unwritable_price_count), (4, 2));
    assert_eq!((counters.fractional_count, counters.large_size_count, counters.dropped_trade_count), (2, 1, 1));
}

#[test]
fn trades_are_taken_back_by_their_names() {
    let mut desk = desk(SizeUnit::Shares);
    let trade = |id: &str| What::Trade { id: Some(id.into()), amount: amount("10", 5) };
    tell(&mut desk, 0, trade("a"));
    tell(&mut desk, 1, trade("a"));
    let told = tell_at(&mut desk, 0, Update { instrument: 1, time: None, what: What::Broken { id: "a".into() } });
    assert_eq!(told[0].0, EventKind::BrokenTrade);
    assert_eq!(tell(&mut desk, 1, What::Broken { id: "a".into() }), [], "once");
    assert_eq!(tell(&mut desk, 0, What::Broken { id: "b".into() }), []);
    let counters = desk.counters();
    assert_eq!((counters.trade_count, counters.broken_count, counters.unknown_broken_count), (2, 1, 2));
}

#[test]
fn no_more_trades_are_remembered_than_there_is_room_for() {
    let mut desk = desk(SizeUnit::Shares);
    for id in 0..=TRADES_REMEMBERED_MAX {
        let what = What::Trade { id: Some(id.to_string().into()), amount: amount("10", 5) };
        tell(&mut desk, 0, what);
    }
    assert_eq!((desk.prints.len(), desk.remembered.len()), (TRADES_REMEMBERED_MAX, TRADES_REMEMBERED_MAX));
    assert_eq!(tell(&mut desk, 0, What::Broken { id: "0".into() }), [], "the oldest is forgotten");
    assert_eq!(tell(&mut desk, 0, What::Broken { id: "1".into() }).len(), 1);
}

#[test]
fn silence_about_a_symbol_and_a_lost_connection_take_the_quotes() {
    let mut desk = desk(SizeUnit::Shares);
    let say = |instrument| Update { instrument, time: None, what: quote(amount("10.00", 1), amount("10.02", 1)) };
    tell_at(&mut desk, 0, say(0));
    tell_at(&mut desk, 3 * UNIT, say(1));
    let now = at(&desk, 5 * UNIT - 1);
    desk.poll(now).unwrap();
    assert!(top(&mut desk, 0)[0].is_some());
    let now = at(&desk, 5 * UNIT);
    desk.poll(now).unwrap();
    assert_eq!(top(&mut desk, 0), [None, None]);
    assert!(top(&mut desk, 1).iter().all(Option::is_some), "heard of later");
    tell_at(&mut desk, 6 * UNIT, say(0));
    let now = at(&desk, 6 * UNIT);
    desk.lose(now).unwrap();
    assert_eq!((top(&mut desk, 0), top(&mut desk, 1)), ([None, None], [None, None]));
    assert_eq!((desk.counters().stale_count, desk.counters().outage_count), (1, 1));
    tell_at(&mut desk, 7 * UNIT, say(1));
    assert!(top(&mut desk, 1).iter().all(Option::is_some), "the next quote stands again");
}

#[test]
fn stamps_are_the_vendors_unless_they_cannot_be() {
    let mut desk = desk(SizeUnit::Shares);
    let mut stamp = |time: i64, now: i64| {
        let what = What::Trade { id: None, amount: amount("10", 5) };
        let (time, now) = (at(&desk, time), at(&desk, now));
        desk.apply(now, Update { instrument: 0, time: Some(time), what }).unwrap();
        let midnight = desk.day().midnight.0;
        desk.out().events.pop_back().unwrap().exch_time.0 - midnight - NOON
    };
    assert_eq!([stamp(10, 20), stamp(40, 30), stamp(15, 40), stamp(35, 41)], [10, 30, 30, 35]);
    assert_eq!((desk.counters().ahead_count, desk.counters().late_count), (1, 1));
}

#[test]
fn states_are_told_with_their_reasons_and_a_snapshot_has_them() {
    let mut desk = desk(SizeUnit::Shares);
    let state = What::State { state: TradingState::Paused, reason: "LUDP\u{e4}".into() };
    assert_eq!(tell(&mut desk, 0, state)[0].0, EventKind::TradingAction);
    tell(&mut desk, 1, quote(amount("10.00", 300), amount("10.02", 200)));
    let mut late = Engine::new(desk.day().midnight);
    desk.snapshot(&mut |message| late.on_message(message).unwrap());
    for symbol in [0, 1].map(SymbolId) {
        let now = &desk.out().books;
        assert_eq!(
            (late.books.top(symbol), late.books.trading_state(symbol)),
            (now.top(symbol), now.trading_state(symbol))
        );
    }
    assert_eq!(late.books.order_count(), 2);
    assert_ne!(late.books.trading_state(SymbolId(0)), late.books.trading_state(SymbolId(1)));
}

#[test]
fn depth_is_one_order_for_each_price() {
    let mut desk = desk(SizeUnit::Shares);
    let depth = |bids: &[(&str, i64)], asks: &[(&str, i64)]| {
        let rows = |rows: &[(&str, i64)]| rows.iter().map(|(price, size)| amount(price, *size)).collect();
        What::Depth { bids: rows(bids), asks: rows(asks) }
    };
    tell(&mut desk, 0, depth(&[("10", 3), ("10", 4), ("9.99", 5)], &[("10.01", 1)]));
    assert_eq!(top(&mut desk, 0), [Some((100_000, 7)), Some((100_100, 1))]);
    assert_eq!(desk.out().books.level_count(SymbolId(0), Side::Buy), 2);
    let events = tell(&mut desk, 0, depth(&[("9.99", 9)], &[("10.01", 1)]));
    assert_eq!(
        events.iter().map(|event| event.0).collect::<Vec<_>>(),
        [EventKind::DeleteOrder, EventKind::ReplaceOrder]
    );
    tell(&mut desk, 0, depth(&[("10.01", 9)], &[("10.01", 1)]));
    assert_eq!((top(&mut desk, 0), desk.counters().locked_count), ([None, None], 1));
}

/// A quote of prices around 10.00 and sizes of 0 to 5.
fn any_quote() -> impl Strategy<Value = (usize, (i64, i64), (i64, i64))> {
    let side = || (0_i64..40, 0_i64..5);
    (0_usize..2, side(), side())
}

proptest! {
    /// Whatever quotes came: the engine's books have each symbol's last one, as the rules bend it, and never crossed.
    #[test]
    fn the_engine_has_the_last_quote(quotes in proptest::collection::vec(any_quote(), 1..60)) {
        let mut desk = desk(SizeUnit::Shares);
        let mut last = [[None, None]; 2];
        for (instrument, (bid, bid_size), (ask, ask_size)) in quotes {
            let price = |steps: i64| 10 * UNIT + steps * PRICE4_STEP;
            let side = |steps, size: i64| Amount { price: price(steps), size: size * UNIT };
            tell(&mut desk, instrument, quote(side(bid, bid_size), side(ask, ask_size)));
            let shown = |steps: i64, size: i64| {
                u64::try_from(size).ok().filter(|size| *size > 0).map(|size| (100_000 + steps, size))
            };
            let told = [shown(bid, bid_size), shown(ask, ask_size)];
            last[instrument] = if told.iter().all(Option::is_some) && bid >= ask { [None, None] } else { told };
            prop_assert_eq!(top(&mut desk, u32::try_from(instrument).unwrap()), last[instrument]);
        }
        prop_assert!(!desk.out().is_ever_crossed);
        for (instrument, wanted) in (0_u32..).zip(last) {
            prop_assert_eq!(top(&mut desk, instrument), wanted);
        }
        let now = at(&desk, UNIT);
        desk.end(now).unwrap();
        prop_assert_eq!(desk.out().books.order_count(), 0);
    }

    /// Whatever rows came: the engine's levels are the rows, added up.
    #[test]
    fn the_engine_has_the_last_depth(depths in proptest::collection::vec(proptest::collection::vec((0_i64..30, 1_i64..5), 0..8), 1..20)) {
        let mut desk = desk(SizeUnit::Shares);
        for rows in depths {
            let bids = rows.iter().map(|(steps, size)| Amount { price: 10 * UNIT + steps * PRICE4_STEP, size: size * UNIT });
            tell(&mut desk, 0, What::Depth { bids: bids.collect(), asks: Vec::new() });
            let mut wanted = std::collections::BTreeMap::new();
            for (steps, size) in &rows {
                *wanted.entry(100_000 + steps).or_insert(0) += u64::try_from(*size).unwrap();
            }
            let books = &desk.out().books;
            prop_assert_eq!(books.level_count(SymbolId(0), Side::Buy), wanted.len());
            for (price, qty) in wanted {
                let level = books.level(SymbolId(0), Side::Buy, Price(price * PRICE4_STEP)).unwrap();
                prop_assert_eq!((level.qty.0, level.order_count), (qty, 1));
            }
        }
    }

    #[test]
    fn no_bytes_break_a_session_or_the_desk(bytes: Vec<u8>, text in "\\PC*") {
        for data in [&bytes[..], text.as_bytes()] {
            crate::fuzz::alpaca(data);
            crate::fuzz::massive(data);
            crate::fuzz::ib(data);
        }
    }
}
