//! The four parts of what paper trading showed, from logs whose answer is known: each finds what was put there, says when
//! there is too little, and does not move when another part's cause is put there.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

use std::path::Path;

use peregrine_eventlog::{
    EventLog, LogConfig, RunFacts,
    records::{DecisionRecord, InputCheckpoint, IntentKind, OrderRecord, OrderTransition},
};
use peregrine_report::{EquityPoint, PaperFacts, PaperReport, paper_report};
use peregrine_types::{
    EpochNanos, Liquidity, MidX2, Nanos, Notional, OrderId, Position, Price, Qty, ReasonCode, Side, SymbolId,
};

const START: i64 = 1_769_783_400_000_000_000;
const SECOND: i64 = 1_000_000_000;
const CENT: i64 = 10_000_000;
const SYMBOL: SymbolId = SymbolId(1);
const COUNT: u64 = 1_200;
const NAMES: [&str; 4] = ["session_fraction", "one", "two", "three"];

/// What a log is made of, so that a test can change one thing.
#[derive(Clone)]
struct Made {
    decisions: Vec<DecisionRecord>,
    orders: Vec<OrderRecord>,
    checkpoints: Vec<InputCheckpoint>,
    curve: Vec<EquityPoint>,
    net: Notional,
}

/// A number from 0 to 1 that looks random, from a counter (SplitMix64).
fn number(counter: u64) -> f32 {
    let word = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((word ^ (word >> 31)) >> 40) as f32 / (1 << 24) as f32
}

/// A number from 0 to `bound` less 1.
fn small(counter: u64, bound: i64) -> i64 {
    (number(counter) * bound as f32) as i64
}

/// A decision a second; each an order, in turn one that rests and one that takes. Each is filled: what rests half a second
/// later at its price while that still shows, what takes on arrival.
fn made() -> Made {
    let (mut decisions, mut orders, mut checkpoints) = (Vec::new(), Vec::new(), Vec::new());
    let (mut mid_cents, mut event_count) = (10_000, 0);
    for index in 0..COUNT {
        let time = START + index as i64 * SECOND;
        let (size, half) = (1 + small(5_000_000 + index, 4), 1 + small(6_000_000 + index, 3));
        mid_cents += if number(index) < 0.5 { -size } else { size };
        let (bid, ask) = (Price((mid_cents - half) * CENT), Price((mid_cents + half) * CENT));
        let (is_take, side) = (index % 2 == 1, if index % 4 < 2 { Side::Buy } else { Side::Sell });
        let (own, other) = if side == Side::Buy { (bid, ask) } else { (ask, bid) };
        let price = if is_take { other } else { own };
        let order_id = OrderId(index + 1);
        let mut decision = DecisionRecord {
            recv_time: EpochNanos(time),
            bid_price: bid,
            bid_qty: Qty(500),
            ask_price: ask,
            ask_qty: Qty(500),
            intent_kind: IntentKind::New,
            intent_side: side,
            intent_price: price,
            intent_qty: Qty(100),
            order_id,
            symbol: SYMBOL,
            horizons_and_intent: DecisionRecord::pack_counts(1, 0),
            ..DecisionRecord::default()
        };
        for (feature, to) in decision.features.iter_mut().zip(0_u64..) {
            *feature = 0.001 + number(1_000_000 * (to + 1) + index);
        }
        decision.return_mean[0] = number(77_000_000 + index) - 0.5;
        decisions.push(decision);
        let arrival = time + 20_000;
        let step = OrderRecord {
            order_id,
            decision_time: EpochNanos(time),
            venue_time: EpochNanos(arrival),
            visible_time: EpochNanos(arrival),
            price,
            qty: Qty(100),
            symbol: SYMBOL,
            side,
            ..OrderRecord::default()
        };
        orders.push(step);
        let answer = EpochNanos(arrival + 30_000);
        orders.push(OrderRecord { transition: OrderTransition::Accepted, visible_time: answer, ..step });
        let filled = if is_take { arrival } else { time + SECOND / 2 };
        orders.push(OrderRecord {
            transition: OrderTransition::Filled,
            liquidity: if is_take { Liquidity::Removed } else { Liquidity::Added },
            venue_time: EpochNanos(filled),
            visible_time: EpochNanos(filled + 40_000),
            position: Position(0),
            fee: if is_take { 300_000_000 } else { -200_000_000 },
            ..step
        });
        event_count += 100 + small(8_000_000 + index, 300).unsigned_abs();
        checkpoints.push(InputCheckpoint { event_count, recv_time: EpochNanos(time), ..InputCheckpoint::default() });
    }
    let curve = (0..COUNT as i64).map(|index| EquityPoint {
        time: EpochNanos(START + index * SECOND),
        equity: Notional(i128::from(index) * 1_000_000_000),
        gross_exposure: Notional::ZERO,
    });
    Made { decisions, orders, checkpoints, curve: curve.collect(), net: Notional(1_200_000_000_000) }
}

fn write(dir: &Path, made: &Made) {
    let config = LogConfig {
        dir: dir.to_path_buf(),
        staging_dir: Some(dir.to_path_buf()),
        staging_record_counts: [8_192; 4],
        segment_len_max: 1 << 22,
        stream_len_max: 1 << 24,
        sync_interval: Nanos(0),
        is_memory_locked: false,
    };
    let mut log = EventLog::create(&config, &RunFacts::default()).unwrap();
    made.decisions.iter().for_each(|record| log.decide.append(record).map(drop).unwrap());
    made.orders.iter().for_each(|record| log.send.append(record).map(drop).unwrap());
    made.checkpoints.iter().for_each(|record| log.feed.append(record).map(drop).unwrap());
    drop((log.feed, log.decide, log.send, log.measure));
    while log.recorder.poll(EpochNanos(START)).unwrap() > 0 {}
    log.recorder.close().unwrap();
}

fn read(made: &Made) -> PaperReport {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), made);
    let facts = PaperFacts {
        latency_model: "constant".to_owned(),
        currency: "USD".to_owned(),
        marks: [(SYMBOL, MidX2(2 * 10_000 * CENT))].into(),
        curve: &made.curve,
        net: made.net,
        feature_names: &NAMES,
    };
    paper_report(dir.path(), &facts).unwrap()
}

fn second_half(made: &mut Made) -> &mut [DecisionRecord] {
    made.decisions.split_at_mut(COUNT as usize / 2).1
}

#[test]
fn a_run_like_itself_shows_no_drift_and_no_change() {
    let report = read(&made());
    assert_eq!(report.drift.sample_counts, [600, 600]);
    assert_eq!(report.drift.split_time, Some(EpochNanos(START + 600 * SECOND)));
    assert!(report.drift.rows.len() > 32 && report.drift.rows.iter().all(|row| !row.is_drifted), "{:?}", report.drift);
    assert!(report.drift.hit_z.unwrap().abs() < 2.58 && report.drift.hits.iter().all(|half| half.count > 500));
    assert!(report.regimes.changes.iter().all(|change| !change.is_change), "{:?}", report.regimes.changes);
    let [drift, _, _, regimes] = report.parts();
    assert!(drift.reading.contains("No drift shown") && regimes.reading.contains("No change of regime shown"));
}

#[test]
fn a_feature_that_moves_is_named_and_no_other() {
    let mut moved = made();
    second_half(&mut moved).iter_mut().for_each(|record| record.features[3] += 0.5);
    // The time of day moves in any run.
    second_half(&mut moved).iter_mut().for_each(|record| record.features[0] += 5.0);
    let drift = read(&moved).drift;
    let drifted: Vec<_> = drift.rows.iter().filter(|row| row.is_drifted).map(|row| row.name.as_str()).collect();
    assert_eq!(drifted, ["three"]);
    let row = &drift.rows[0];
    assert!(row.distance > 0.45 && (row.second_mean - row.first_mean - 0.5).abs() < 0.05, "{row:?}");
    // Directions: foretold by what came in the first half, against it in the second.
    let mut told = made();
    let moves: Vec<f32> = (0..COUNT).map(|index| if number(index + 1) < 0.5 { -1.0 } else { 1.0 }).collect();
    for ((record, next), index) in told.decisions.iter_mut().zip(moves).zip(0_u64..) {
        record.return_mean[0] = if index < COUNT / 2 { next } else { -next };
    }
    let drift = read(&told).drift;
    let [first, second] = drift.hits;
    assert_eq!((first.hit_count, first.count, second.hit_count, second.count), (600, 600, 0, 599));
    assert!(drift.hit_z.unwrap() < -30.0);
}

#[test]
fn latency_is_that_of_the_log_and_its_cost_is_exact() {
    let mut late = made();
    // Every tenth take pays a cent more than it saw, for 100 shares.
    let takes = late.orders.iter_mut().filter(|step| step.liquidity == Liquidity::Removed);
    for step in takes.step_by(10) {
        step.price.0 += if step.side == Side::Buy { CENT } else { -CENT };
    }
    let part = read(&late).latency;
    let ways: Vec<_> =
        part.ways.iter().map(|way| (way.kind, way.way, way.count, way.min_ns, way.p50_ns, way.max_ns)).collect();
    assert_eq!(
        ways,
        [
            ("submit", "there", 1_200, 20_000, 20_000, 20_000),
            ("answer", "back", 1_200, 30_000, 30_000, 30_000),
            ("fill", "back", 1_200, 40_000, 40_000, 40_000),
            ("submit", "round trip", 1_200, 50_000, 50_000, 50_000),
        ]
    );
    assert_eq!((part.take_count, part.take_qty, part.rest_count, part.deep_take_count), (600, 60_000, 600, 0));
    assert_eq!((part.same_qty, part.better_qty, part.worse_qty), (54_000, 0, 6_000));
    assert_eq!(part.cost, Notional(60 * 100 * i128::from(CENT)));
    // What asks for more than the best price showed pays for depth: left out.
    let mut deep = late.clone();
    deep.decisions.iter_mut().for_each(|record| (record.ask_qty, record.bid_qty) = (Qty(99), Qty(99)));
    let part = read(&deep).latency;
    assert_eq!((part.take_count, part.deep_take_count, part.cost), (0, 600, Notional::ZERO));
}

#[test]
fn orders_that_find_the_price_on_the_other_side_are_counted_once() {
    let mut come = made();
    let rests: Vec<usize> =
        (0..come.orders.len()).filter(|at| come.orders[*at].liquidity == Liquidity::Added).collect();
    let fills: Vec<usize> =
        rests.into_iter().filter(|at| come.orders[*at].transition == OrderTransition::Filled).collect();
    // One takes in two fills; one is refused as post-only.
    let (twice, refused) = (fills[3], fills[5]);
    come.orders[twice].liquidity = Liquidity::Removed;
    come.orders[twice - 1] = OrderRecord { transition: OrderTransition::PartiallyFilled, ..come.orders[twice] };
    come.orders[refused].transition = OrderTransition::Rejected;
    come.orders[refused].reason = ReasonCode::VenuePostOnly;
    let part = read(&come).latency;
    assert_eq!((part.rest_took_count, part.post_only_refused_count), (1, 1));
}

/// The log of decisions names no side of a replacement, and the whole chain's quantity: the log of orders does.
#[test]
fn replacements_are_read_as_the_orders_that_they_are() {
    let mut late = made();
    for step in late.orders.iter_mut().filter(|step| step.liquidity == Liquidity::Removed).step_by(10) {
        step.price.0 += if step.side == Side::Buy { CENT } else { -CENT };
    }
    let (expected, fills) = (read(&late).latency, read(&late).fills);
    for decision in &mut late.decisions {
        (decision.intent_kind, decision.intent_side, decision.intent_qty) =
            (IntentKind::Replace, Side::Buy, Qty(5_000));
    }
    for step in &mut late.orders {
        // 4,900 of the chain were executed before.
        if step.transition == OrderTransition::Submitted {
            (step.transition, step.qty, step.filled_qty) = (OrderTransition::ReplaceRequested, Qty(5_000), Qty(4_900));
        } else if step.transition == OrderTransition::Accepted {
            step.transition = OrderTransition::Replaced;
        }
    }
    let mut part = read(&late).latency;
    assert_eq!((part.ways[0].kind, part.ways[0].way, part.ways[0].count), ("replace", "there", 1_200));
    part.ways.clone_from(&expected.ways);
    assert_eq!(part, expected);
    assert_eq!(read(&late).fills, fills);
    let refused = late.orders.iter_mut().find(|step| step.transition == OrderTransition::Replaced).unwrap();
    (refused.transition, refused.reason) = (OrderTransition::ReplaceRejected, ReasonCode::VenuePostOnly);
    assert_eq!(read(&late).latency.post_only_refused_count, 1);
}

#[test]
fn fills_are_classed_and_their_results_add_up() {
    let mut made = made();
    // The next book after a fill at half a second is that of the next second.
    let mut expected = [0_u64; 3];
    for pair in made.decisions.chunks(2) {
        let (own, next) = (&pair[0], &pair[1]);
        let is_swept = match own.intent_side {
            Side::Buy => next.bid_price < own.intent_price,
            Side::Sell => next.ask_price > own.intent_price,
        };
        expected[usize::from(!is_swept)] += 1;
    }
    assert!(expected[0] > 100 && expected[1] > 100, "{expected:?}");
    let part = read(&made).fills;
    assert_eq!([part.swept.count, part.queue.count, part.unknown.count], expected);
    assert_eq!((part.at_touch.count, part.through.count, part.unseen.count), (600, 0, 0));
    let fills = made.orders.iter().filter(|step| step.transition == OrderTransition::Filled);
    let result: i128 = fills
        .map(|fill| {
            let sign = if fill.side == Side::Buy { 1 } else { -1 };
            sign * i128::from(10_000 * CENT - fill.price.0) * 100 - i128::from(fill.fee)
        })
        .sum();
    let sum: i128 = part.classes().iter().map(|(_, class)| class.net.0).sum();
    assert_eq!(sum, result);
    assert_eq!(part.certain_net().0, result - part.queue.net.0 - part.unknown.net.0);
    // A take a cent worse than it saw went through; a book two seconds later says nothing of a fill.
    let at = made.orders.iter().position(|step| step.liquidity == Liquidity::Removed).unwrap();
    made.orders[at].price.0 += if made.orders[at].side == Side::Buy { CENT } else { -CENT };
    made.decisions.retain(|record| (record.recv_time.0 - START) % (4 * SECOND) == 0);
    let part = read(&made).fills;
    // Of the four seconds of a book, the fill of 0.5 s lies 3.5 s before the next one, that of 2.5 s 1.5 s.
    assert_eq!((part.swept.count, part.queue.count, part.unknown.count), (0, 0, 600));
    assert_eq!(part.unseen.count, 600, "decisions that the log lost");
    let mut through = self::made();
    through.orders[at].price.0 += if through.orders[at].side == Side::Buy { CENT } else { -CENT };
    let part = read(&through).fills;
    assert_eq!((part.at_touch.count, part.through.count), (599, 1));
}

#[test]
fn a_change_of_volatility_is_found_with_its_time_and_its_result() {
    let mut wild = made();
    // From two thirds on the middle moves ten times as far; all of the money is made there.
    let from = COUNT as usize * 2 / 3;
    let base = wild.decisions[from].bid_price.0;
    for record in &mut wild.decisions[from..] {
        let shift = 9 * (record.bid_price.0 - base);
        (record.bid_price.0, record.ask_price.0) = (record.bid_price.0 + shift, record.ask_price.0 + shift);
    }
    let change_time = START + from as i64 * SECOND;
    for point in &mut wild.curve {
        let passed = (point.time.0 - change_time).max(0);
        point.equity = Notional(i128::from(passed));
    }
    wild.net = Notional(400_000_000_000);
    let part = read(&wild).regimes;
    let [volatility, _, activity] = part.changes.as_slice() else { panic!("{:?}", part.changes) };
    assert!(volatility.is_change && volatility.after > 5.0 * volatility.before, "{volatility:?}");
    let found = volatility.time.unwrap().0;
    assert!((found - change_time).abs() <= 20 * SECOND, "{}", found - change_time);
    assert!(volatility.net_before.0 <= 20 * i128::from(SECOND), "{volatility:?}");
    assert!(!activity.is_change, "{activity:?}");
    assert_eq!(volatility.net_before.0 + volatility.net_after.0, wild.net.0);
    assert_eq!(part.rows.iter().map(|row| row.net.0).sum::<i128>(), wild.net.0, "{:?}", part.rows);
    let wild_row = part.rows.iter().find(|row| row.name == "wild").unwrap();
    assert!(wild_row.net.0 > wild.net.0 * 9 / 10, "{wild_row:?}");
}

/// Each cause moves its own part and no other.
#[test]
fn the_parts_are_not_mixed_up() {
    let base = read(&made());
    let changed = |change: &dyn Fn(&mut Made)| {
        let mut other = made();
        change(&mut other);
        let report = read(&other);
        [
            report.drift != base.drift,
            report.latency != base.latency,
            report.fills != base.fills,
            report.regimes != base.regimes,
        ]
    };
    assert_eq!(changed(&|_| {}), [false; 4]);
    let drift: &dyn Fn(&mut Made) = &|made| second_half(made).iter_mut().for_each(|record| record.surprise += 1.0);
    assert_eq!(changed(drift), [true, false, false, false]);
    let latency: &dyn Fn(&mut Made) =
        &|made| made.orders.iter_mut().for_each(|step| step.visible_time = step.visible_time.plus(Nanos(5_000)));
    assert_eq!(changed(latency), [false, true, false, false]);
    // A cent inside of the spread nobody stands before us.
    let fills: &dyn Fn(&mut Made) = &|made| {
        for step in made.orders.iter_mut().filter(|step| step.liquidity == Liquidity::Added) {
            step.price.0 += if step.side == Side::Buy { CENT } else { -CENT };
        }
    };
    assert_eq!(changed(fills), [false, false, true, false]);
    let regimes: &dyn Fn(&mut Made) =
        &|made| made.curve.iter_mut().for_each(|point| point.equity = Notional(point.equity.0 / 2));
    assert_eq!(changed(regimes), [false, false, false, true]);
}

#[test]
fn what_cannot_be_said_is_said_to_be_so() {
    let mut short = made();
    short.decisions.truncate(150);
    short.orders.truncate(3 * 20);
    short.checkpoints.truncate(20);
    let mut still = short.clone();
    for record in &mut still.decisions {
        (record.bid_price, record.ask_price) = (Price(99 * CENT), Price(101 * CENT));
    }
    let [drift, latency, fills, _] = read(&short).parts();
    for (part, wanted) in [
        (&drift, "Cannot be said: 75 and 75 logged decisions"),
        (&latency, "What latency cost cannot be said: 10 orders"),
        (&fills, "Too few to say: 10 fills gave liquidity"),
    ] {
        assert!(part.reading.contains(wanted), "{part:?}");
    }
    let [_, _, _, regimes] = read(&still).parts();
    assert!(regimes.reading.contains("Cannot be said: 0 of 60 parts"), "{regimes:?}");
    let nothing = Made { decisions: vec![], orders: vec![], checkpoints: vec![], curve: vec![], net: Notional::ZERO };
    let parts = read(&nothing).parts();
    for part in &parts {
        assert!(part.reading.contains("Cannot be said"), "{part:?}");
        assert!(!format!("{part:?}").contains("NaN"), "{part:?}");
    }
    let names = parts.each_ref().map(|part| part.name);
    assert_eq!(names, ["Non-stationarity", "Latency", "Fill assumption", "Regime shift"]);
}
