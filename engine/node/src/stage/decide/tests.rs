//! What the stage tells the risk gate about the market.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use peregrine_book::Books;
use peregrine_eventlog::{EventLog, LogConfig, RunFacts};
use peregrine_risk::ApprovedOrder;
use peregrine_runtime::{NullStopwatch, StopFlag, TscClock};
use peregrine_types::{
    EventKind, ExecutionKind, Full, Liquidity, MatchNumber, NewOrder, Notional, OrderCommand, Price, Qty, Side,
    SymbolId, TimeInForce,
};

use super::*;
use crate::config::Loaded;
use crate::run::{MachineParts, ReplayMachine, latency_guard, machine};
use crate::stage::machine::Machine;
use crate::stage::path::{Permit, Rehearsal};
use crate::stage::schedule::Pace;

const CENT: i64 = 10_000_000;

fn replay_machine(dir: &Path, more: &[&str]) -> ReplayMachine<NullStopwatch> {
    timed_machine(dir, more, NullStopwatch)
}

fn timed_machine<W: Stopwatch>(dir: &Path, more: &[&str], stopwatch: W) -> ReplayMachine<W> {
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/demo.toml");
    let set = [
        "book.order_count_max=1024",
        "book.level_count_max=1024",
        "book.is_unknown_state_tradable=true",
        "feed.symbol_count_max=4",
        "risk.data_age_ns_max=1000",
    ];
    let words: Vec<String> = set.iter().chain(more).map(|word| (*word).to_owned()).collect();
    let loaded = Loaded::read(&profile, &words).unwrap();
    let log = LogConfig {
        dir: dir.join("log"),
        staging_dir: Some(dir.to_owned()),
        staging_record_counts: [1 << 10; 4],
        segment_len_max: 1 << 20,
        stream_len_max: 1 << 24,
        sync_interval: Nanos::from_millis(100),
        is_memory_locked: false,
    };
    let log = EventLog::create(&log, &RunFacts::default()).unwrap();
    let parts = MachineParts {
        decide_log: LosslessLog::new(log.decide, StopFlag::new()),
        send_log: LosslessLog::new(log.send, StopFlag::new()),
        guard: Guard::Measured(latency_guard(&loaded.config).unwrap()),
        schedule: Schedule::new(Pace::Max, TscClock::calibrated().rate()),
        stopwatch,
    };
    machine(&loaded, EpochNanos(0), parts).unwrap().0
}

/// A stopwatch that a test moves on, in nanoseconds.
struct Hand(Rc<Cell<u64>>);

impl Stopwatch for Hand {
    const IS_REAL: bool = true;

    fn start(&self) -> u64 {
        self.0.get()
    }

    fn elapsed(&self, start: u64) -> Nanos {
        self.between(start, self.0.get())
    }

    fn between(&self, start: u64, end: u64) -> Nanos {
        Nanos(i64::try_from(end - start).unwrap())
    }
}

fn add(id: u64, symbol: u32, side: Side, price: i64, time: i64) -> MarketEvent {
    let (time, id_a) = (EpochNanos(time), id);
    let event = MarketEvent::new(EventKind::AddOrder, SymbolId(symbol), time, time);
    MarketEvent { id_a, side, price: Price(price * CENT), qty: Qty(10), ..event }
}

fn buy(symbol: u32, price: i64) -> OrderIntent {
    OrderIntent::New(NewOrder {
        symbol: SymbolId(symbol),
        side: Side::Buy,
        price: Price(price * CENT),
        qty: Qty(1),
        time_in_force: TimeInForce::Day,
        is_post_only: true,
    })
}

/// A fill: 10 shares bought.
fn bought(number: u64, price: i64) -> Execution {
    Execution {
        order_id: OrderId(number),
        symbol: SymbolId(0),
        side: Side::Buy,
        kind: ExecutionKind::Filled,
        liquidity: Liquidity::Added,
        reason: ReasonCode::None,
        price: Price(price * CENT),
        qty: Qty(10),
        leaves_qty: Qty(0),
        match_number: MatchNumber(number),
        venue_time: EpochNanos(5_000),
        visible_time: EpochNanos(5_000),
        fee: Notional::ZERO,
    }
}

/// An order for a symbol whose last event is longer ago than `risk.data_age_ns_max` does not leave, however new the event
/// is that it answers.
#[test]
fn the_age_of_data_is_that_of_the_orders_own_symbol() {
    let dir = tempfile::tempdir().unwrap();
    let Machine { mut books, mut decide, .. } = replay_machine(dir.path(), &[]);
    let mut is_sent = |event: MarketEvent, price: i64, symbol: Option<u32>| {
        let update = books.apply(&event);
        decide.on_event(&Applied { started: Started(None), event: &event, update: &update }, &books, &mut |_| Ok(()));
        let symbol = symbol?;
        let input = Input { seq: EventSeq(99), event: &event, update: &update };
        let mut is_sent = false;
        let mut out = |_: ApprovedOrder| {
            is_sent = true;
            Ok(())
        };
        decide.submit((&input, false), (0, buy(symbol, price)), &books, &mut out);
        let stale = decide.counters().denied.iter().find(|(reason, _)| *reason == ReasonCode::DataStale);
        Some((is_sent, stale.map_or(0, |(_, count)| *count)))
    };
    for (symbol, id) in [(0, 1), (1, 3)] {
        is_sent(add(id, symbol, Side::Buy, 9_000, 5_000), 0, None);
        is_sent(add(id + 1, symbol, Side::Sell, 9_002, 5_000), 0, None);
    }
    assert_eq!(is_sent(add(5, 1, Side::Buy, 8_000, 6_000), 8_990, Some(0)), Some((true, 0)), "1,000 ns are allowed");
    assert_eq!(is_sent(add(6, 1, Side::Buy, 8_001, 6_001), 8_991, Some(0)), Some((false, 1)));
    assert_eq!(is_sent(add(7, 1, Side::Buy, 8_002, 6_002), 8_992, Some(1)), Some((true, 1)), "its own event is new");
}

/// Behind an event each watched symbol has its turn, then a tenth as often; the kernel's part comes with the first and then with
/// one in ten intervals. Another event begins it anew.
#[test]
fn what_is_warm_is_rehearsed_a_tenth_as_often() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Rc::new(Cell::new(0)));
    let mut machine =
        timed_machine(dir.path(), &["model.keep_warm_us=10", "feed.symbol_count_max=16"], Hand(now.clone()));
    let happens = |machine: &mut ReplayMachine<Hand>, id: u64, symbol: u32| {
        let event = add(id, symbol, Side::Buy, 9_000, 5_000);
        let (started, update) = (machine.decide.begin(&event), machine.books.apply(&event));
        let applied = Applied { started, event: &event, update: &update };
        machine.decide.on_event(&applied, &machine.books, &mut |_| Ok(()));
    };
    let rehearsed = |machine: &mut ReplayMachine<Hand>, us: u64| -> Vec<(u64, Rehearsal)> {
        let begin = now.get();
        let wait = (0..us).filter_map(|us| {
            now.set(begin + us * 1_000);
            Some((us, machine.decide.idle(&machine.books)?))
        });
        wait.collect()
    };
    // The event by which a symbol is watched counts those before it alone.
    for (id, symbol) in [(1, 0), (2, 1), (3, 2), (4, 0)] {
        happens(&mut machine, id, symbol);
    }
    let (whole, own) = (Rehearsal::Whole, Rehearsal::Own);
    assert_eq!(rehearsed(&mut machine, 240), [(10, whole), (20, own), (30, own), (130, whole), (230, whole)]);
    happens(&mut machine, 9, 0);
    assert_eq!(rehearsed(&mut machine, 25), [(10, whole), (20, own)]);
    // With many symbols the kernel's part does not wait until all had their turn.
    for symbol in 3..16 {
        happens(&mut machine, 20 + u64::from(symbol), symbol);
    }
    happens(&mut machine, 50, 0);
    let of_many = rehearsed(&mut machine, 230);
    let wholes: Vec<u64> = of_many.iter().filter(|(_, part)| *part == whole).map(|(us, _)| *us).collect();
    assert_eq!((of_many.len(), wholes), (16, vec![10, 110]));
}

#[test]
fn an_order_that_cannot_be_handed_over_is_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let Machine { mut books, mut decide, .. } = replay_machine(dir.path(), &[]);
    for (id, side, price) in [(1, Side::Buy, 9_000), (2, Side::Sell, 9_002), (3, Side::Buy, 8_000)] {
        let event = add(id, 0, side, price, 5_000);
        let update = books.apply(&event);
        let applied = Applied { started: Started(None), event: &event, update: &update };
        decide.on_event(&applied, &books, &mut |_| Ok(()));
        let (open, undelivered) = (decide.risk.open_order_count(), decide.counters().undelivered);
        let input = Input { seq: EventSeq(id), event: &event, update: &update };
        decide.submit((&input, false), (0, buy(0, 8_990 + i64::try_from(id).unwrap())), &books, &mut |order| {
            Err(Full(order).into())
        });
        assert_eq!(decide.risk.open_order_count(), open);
        assert_eq!(decide.counters().undelivered, undelivered + 1);
    }
}

/// Fills of earlier runs come a part each turn, market events between them: a stop of a part fires nothing, and with the
/// venue's leave the whole position is protected, be the leave the first that is given.
#[test]
fn a_position_is_protected_once_the_venue_permits_orders() {
    let protect = [
        "protect.stop_loss_ticks=10",
        "protect.take_profit_ticks=0",
        "protect.is_stop_on_trade=false",
        "protect.exit_slippage_ticks=1",
        "protect.cooldown_ns=0",
        "protect.retry_pause_ns=0",
        "protect.is_for_controllers=false",
        "decide.take_margin_ticks=1000.0",
    ];
    for blocks in [&[Some(ReasonCode::VenueDisconnected)][..], &[]] {
        let dir = tempfile::tempdir().unwrap();
        let Machine { mut books, mut decide, .. } = replay_machine(dir.path(), &protect);
        decide.begin_hearing(vec![]);
        for block in blocks {
            decide.on_permit(&Permit { block: *block, ..Permit::default() });
        }
        let mut orders = Vec::new();
        let mut see = |decide: &mut DecideStage<Books, NullStopwatch>, (id, side, price): (u64, Side, i64)| {
            let event = add(id, 0, side, price, 5_000);
            let update = books.apply(&event);
            let applied = Applied { started: Started(None), event: &event, update: &update };
            decide.on_event(&applied, &books, &mut |order: ApprovedOrder| {
                orders.push(*order.command());
                Ok(())
            });
            // An exit is immediate or cancel.
            let is_exit = |command: &OrderCommand| match command {
                OrderCommand::New { order, .. } => order.time_in_force == TimeInForce::ImmediateOrCancel,
                OrderCommand::Cancel { .. } | OrderCommand::Replace { .. } => false,
            };
            orders.drain(..).filter(is_exit).count()
        };
        see(&mut decide, (1, Side::Sell, 8_952));
        decide.on_execution(&bought(1, 9_000));
        assert_eq!(see(&mut decide, (2, Side::Buy, 8_950)), 0, "below the stop of what is known");
        decide.on_execution(&bought(2, 8_900));
        decide.on_permit(&Permit::default());
        assert!(!decide.strategy.is_held_waiting());
        assert_eq!(see(&mut decide, (3, Side::Buy, 8_951)), 0, "above that of the whole, 89.40");
    }
}

/// While the venue takes nothing no exit is asked of a gate that would deny it on every event; with its leave it goes out.
#[test]
fn an_exit_waits_unasked_while_the_venue_takes_nothing() {
    let protect = [
        "protect.stop_loss_ticks=0",
        "protect.take_profit_ticks=10",
        "protect.is_stop_on_trade=false",
        "protect.exit_slippage_ticks=1",
        "protect.cooldown_ns=0",
        "protect.retry_pause_ns=0",
        "protect.is_for_controllers=false",
        "decide.take_margin_ticks=1000.0",
    ];
    let dir = tempfile::tempdir().unwrap();
    let Machine { mut books, mut decide, .. } = replay_machine(dir.path(), &protect);
    let mut exits = Vec::new();
    let mut see = |decide: &mut DecideStage<Books, NullStopwatch>, id: u64, side: Side, price: i64| {
        let event = add(id, 0, side, price, 5_000);
        let update = books.apply(&event);
        let applied = Applied { started: Started(None), event: &event, update: &update };
        decide.on_event(&applied, &books, &mut |order: ApprovedOrder| {
            exits.push(*order.command());
            Ok(())
        });
        exits.drain(..).filter(|command| matches!(command, OrderCommand::New { .. })).count()
    };
    let denied = |decide: &DecideStage<Books, NullStopwatch>| {
        let denied = &decide.counters().denied;
        denied.iter().find(|(reason, _)| *reason == ReasonCode::TradingHalted).map_or(0, |(_, count)| *count)
    };
    see(&mut decide, 1, Side::Sell, 9_020);
    decide.on_execution(&bought(1, 9_000));
    decide.on_permit(&Permit { block: Some(ReasonCode::VenueDisconnected), ..Permit::default() });
    assert_eq!(see(&mut decide, 2, Side::Buy, 9_011), 0);
    let before = denied(&decide);
    assert!((3..100).all(|id| see(&mut decide, id, Side::Buy, 9_000) == 0));
    assert_eq!(denied(&decide), before, "asked for on every event");
    decide.on_permit(&Permit::default());
    assert_eq!(see(&mut decide, 100, Side::Buy, 9_000), 1, "the take fired, and goes out");
}
