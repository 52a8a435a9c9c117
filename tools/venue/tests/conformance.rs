//! The conformance list: what a trading venue tests in a member's system, as scripted scenarios. Delegated Regulation (EU)
//! 2017/584 (RTS 7), Article 9(3), and what certification of order entry asks beside it. The engine's stages, over sockets
//! and with their log, trade against the program; each scenario asserts what the venue saw and what the log says, and at
//! its end both are held against each other.
//!
//! `scripts/conformance.tsv` names the item that each scenario stands for, `scripts/conformance.sh` runs them and writes the
//! report.

#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most messages are not what is looked for")]

#[path = "common/ports.rs"]
mod ports;
#[path = "common/rig.rs"]
mod rig;

use std::io::Write;
use std::time::Duration;

use peregrine_book::MarketBooks;
use peregrine_eventlog::records::{GapPhase, OrderTransition};
use peregrine_gateway::ouch50::*;
use peregrine_types::*;
use rig::*;

/// Bid 9.90, ask 10.10, 500 shares each.
fn quote_both(peer: &mut Peer, symbol: SymbolId) {
    peer.quote(symbol, Side::Buy, 500, cents(990));
    peer.quote(symbol, Side::Sell, 500, cents(1_010));
}

/// A running venue, somebody who quotes both symbols, and an engine that sees it.
fn market(plan: Plan) -> (Stage, Peer, Engine) {
    let stage = Stage::running(plan);
    let mut other = stage.peer(1);
    for symbol in [ALFA, BETA] {
        quote_both(&mut other, symbol);
    }
    let mut engine = stage.engine("run-1");
    for symbol in [ALFA, BETA] {
        engine.wait("the quotes", |engine| engine.top(symbol).ask.is_some_and(|ask| ask.price == cents(1_010)));
    }
    (stage, other, engine)
}

/// Asks until the gate and the order session let it pass.
fn accepted(engine: &mut Engine, intent: &OrderIntent) -> OrderId {
    let order_id = engine.ask(intent).unwrap_or_else(|reason| panic!("{intent:?}: {reason:?}"));
    engine.expect(order_id, ExecutionKind::Accepted);
    order_id
}

// ---- connection ------------------------------------------------------------------------------------------------------

/// Logs in, hears the session's name, trades nothing, and logs out: the venue has nothing, nor has the log.
#[test]
fn connection_login_and_logout() {
    let (stage, _, mut engine) = market(Plan::default());
    engine.pass(Duration::from_millis(100));
    engine.finish();
    let ended = stage.end();
    // Two mass cancels that mean nobody: behind the first one the stream is complete, the second is the stop's.
    assert!(ended.steps.iter().all(|step| step.transition == OrderTransition::CancelRequested), "{:?}", ended.steps);
    assert!(!ended.stream.iter().any(|message| b"AEJ".contains(&message[0])));
    assert!(ended.summary.ports[0].endpoint.connection_count >= 2, "asked for the session's name, then traded in it");
}

// ---- matching logic ---------------------------------------------------------------------------------------------------

/// Price before time, the oldest first at one price, trades at the resting order's price, in parts.
#[test]
fn matching_price_time_priority_and_partial_fills() {
    let (stage, mut other, mut engine) = market(Plan::default());
    let first = other.quote(ALFA, Side::Buy, 300, cents(1_000));
    let second = accepted(&mut engine, &limit(ALFA, Side::Buy, 200, cents(1_000)));
    let better = accepted(&mut engine, &limit(ALFA, Side::Buy, 100, cents(1_001)));
    let mut third = stage.peer(2);
    // 100 at 10.01, then 300 of who was first at 10.00, then half of ours.
    assert_eq!(third.take(ALFA, Side::Sell, 500, cents(1_000)), [100, 300, 100]);
    let fill = engine.expect(better, ExecutionKind::Filled);
    assert_eq!((fill.price, fill.qty, fill.liquidity), (cents(1_001), Qty(100), Liquidity::Added));
    let fill = engine.expect(second, ExecutionKind::Filled);
    assert_eq!((fill.price, fill.qty, fill.leaves_qty), (cents(1_000), Qty(100), Qty(100)));
    assert_eq!(other.fills(first), [300]);
    // Ours takes at the better price of who rests.
    let taker = accepted(&mut engine, &limit(ALFA, Side::Buy, 50, cents(1_020)));
    let fill = engine.expect(taker, ExecutionKind::Filled);
    assert_eq!((fill.price, fill.liquidity), (cents(1_010), Liquidity::Removed));
    assert_eq!(engine.gate.position(ALFA), Position(250));
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.story(better), "Submitted Accepted Filled");
    assert_eq!(ended.story(second), "Submitted Accepted PartiallyFilled CancelRequested Canceled");
    assert_eq!((ended.said(better), ended.said(second), ended.said(taker)), ("AE".into(), "AEC".into(), "AE".into()));
    assert_eq!(ended.steps.iter().filter(|step| step.order_id == taker).map(|step| step.position.0).max(), Some(250));
}

/// What of an immediate-or-cancel order finds nobody is cancelled; a post-only order that would trade is, too.
#[test]
fn matching_immediate_or_cancel_and_post_only() {
    let (stage, _other, mut engine) = market(Plan::default());
    let order = |side, qty, price, time_in_force, is_post_only| {
        OrderIntent::New(NewOrder { symbol: ALFA, side, price, qty: Qty(qty), time_in_force, is_post_only })
    };
    let (day, ioc) = (TimeInForce::Day, TimeInForce::ImmediateOrCancel);
    let taker = accepted(&mut engine, &order(Side::Buy, 700, cents(1_010), ioc, false));
    assert_eq!(engine.expect(taker, ExecutionKind::Filled).qty, Qty(500));
    let rest = engine.expect(taker, ExecutionKind::Canceled);
    assert_eq!((rest.qty, rest.leaves_qty, rest.reason), (Qty(200), Qty(0), ReasonCode::VenueIocRemainder));
    engine.wait("the far side is gone", |engine| engine.top(ALFA).ask.is_none());
    let post = engine.ask(&order(Side::Sell, 100, cents(990), day, true));
    assert_eq!(post, Err(ReasonCode::ReferencePriceMissing), "nothing to hold a price against until somebody quotes");
    stage.peer(2).quote(ALFA, Side::Sell, 500, cents(1_010));
    engine.wait("the quote", |engine| engine.top(ALFA).ask.is_some());
    let post = accepted(&mut engine, &order(Side::Sell, 100, cents(990), day, true));
    engine.expect(post, ExecutionKind::Canceled);
    let resting = accepted(&mut engine, &order(Side::Sell, 100, cents(1_005), day, true));
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.story(taker), "Submitted Accepted PartiallyFilled Canceled");
    assert_eq!(ended.story(post), "Submitted Accepted Canceled");
    assert_eq!(ended.story(resting), "Submitted Accepted CancelRequested Canceled");
    assert_eq!(ended.fill_count(), 1, "the post-only orders did not trade");
}

// ---- data flows both ways ---------------------------------------------------------------------------------------------

/// An own order comes back by the feed as what it is, and its execution is told twice, by order entry and by the feed.
#[test]
fn data_flows_both_ways() {
    let (stage, _other, mut engine) = market(Plan::default());
    let order_id = accepted(&mut engine, &limit(BETA, Side::Buy, 300, cents(995)));
    engine.wait("the own order in the feed", |engine| engine.displayed(BETA, Side::Buy, cents(995)) == 300);
    assert_eq!(stage.peer(2).take(BETA, Side::Sell, 120, cents(995)), [120]);
    assert_eq!(engine.expect(order_id, ExecutionKind::Filled).qty, Qty(120));
    engine.wait("the execution in the feed", |engine| engine.displayed(BETA, Side::Buy, cents(995)) == 180);
    engine.cancel(order_id, BETA);
    engine.expect(order_id, ExecutionKind::Canceled);
    engine.wait("the cancel in the feed", |engine| engine.displayed(BETA, Side::Buy, cents(995)) == 0);
    assert_eq!(engine.top(BETA).bid.map(|bid| bid.price), Some(cents(990)));
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.story(order_id), "Submitted Accepted PartiallyFilled CancelRequested Canceled");
    assert_eq!(ended.said(order_id), "AEC");
}

// ---- submit, modify, cancel -------------------------------------------------------------------------------------------

/// Entered, accepted, cancelled; an order that the venue cannot take is refused with its reason, and the gate knows it.
#[test]
fn submission_and_cancellation() {
    let (stage, _other, mut engine) = market(Plan::default());
    let orders = [Side::Buy, Side::Sell].map(|side| {
        let price = if side == Side::Buy { cents(980) } else { cents(1_020) };
        accepted(&mut engine, &limit(ALFA, side, 100, price))
    });
    assert_eq!(engine.gate.open_order_count(), 2);
    for order_id in orders {
        engine.cancel(order_id, ALFA);
        let gone = engine.expect(order_id, ExecutionKind::Canceled);
        assert_eq!((gone.qty, gone.reason), (Qty(100), ReasonCode::VenueUserCancel));
    }
    assert_eq!(engine.gate.open_order_count(), 0);
    engine.finish();
    let ended = stage.end();
    for order_id in orders {
        assert_eq!(ended.story(order_id), "Submitted Accepted CancelRequested Canceled");
        assert_eq!(ended.said(order_id), "AC");
    }
}

/// A clean stop withdraws every open order by one decision: none is left at the venue.
#[test]
fn cancellation_of_all_orders_by_one_decision() {
    let (stage, _other, mut engine) = market(Plan::default());
    let orders: Vec<OrderId> = (0..20_i64)
        .map(|step| {
            let (symbol, side) = ([ALFA, BETA][usize::from(step % 2 == 1)], Side::BOTH[usize::from(step % 4 > 1)]);
            let price = if side == Side::Buy { cents(980 - step) } else { cents(1_020 + step) };
            accepted(&mut engine, &limit(symbol, side, 100, price))
        })
        .collect();
    engine.finish();
    // Nobody is there to trade with but who quotes.
    assert_eq!(stage.peer(2).take(ALFA, Side::Sell, 2_000, cents(900)), [500]);
    let ended = stage.end();
    for order_id in &orders {
        assert_eq!(ended.said(*order_id), "AC", "order {order_id}");
    }
    assert_eq!(ended.with(OrderTransition::Canceled).count(), orders.len());
}

/// The venue's side of a modification, by messages of order entry: a replacement has a new number, the quantity of the chain
/// and the back of the queue; a reduction keeps its place. The engine's book follows both, and so do its fills.
#[test]
fn modification_by_replace_and_by_reduction() {
    let (stage, mut other, mut engine) = market(Plan::default());
    let first = other.quote(ALFA, Side::Buy, 300, cents(1_000));
    let ours = accepted(&mut engine, &limit(ALFA, Side::Buy, 100, cents(1_000)));
    engine.wait("both in the feed", |engine| engine.displayed(ALFA, Side::Buy, cents(1_000)) == 400);
    // Smaller, at the front still.
    other.send(&ModifyOrder { user_ref_num: first.into(), side: b'B', quantity: 200.into(), ..ModifyOrder::blank() });
    other.expect(first, b'M');
    engine.wait("the reduction in the feed", |engine| engine.displayed(ALFA, Side::Buy, cents(1_000)) == 300);
    let mut third = stage.peer(2);
    assert_eq!(third.take(ALFA, Side::Sell, 50, cents(1_000)), [50]);
    assert_eq!((other.fills(first), engine.gate.position(ALFA)), (vec![50], Position(0)));
    // Replaced at the same price: behind ours now.
    let number = other.next_number();
    other.send(&ReplaceOrder {
        orig_user_ref_num: first.into(),
        user_ref_num: number.into(),
        quantity: 250.into(),
        price: OuchPrice::new(100_000),
        time_in_force: b'0',
        display: b'Y',
        iso_eligibility: b'N',
        clordid: Text::BLANK,
        ..ReplaceOrder::blank()
    });
    let replaced = other.expect(number, b'U');
    match Outbound::parse(&replaced) {
        Ok(Outbound::OrderReplaced(m, _)) => assert_eq!(m.quantity.get(), 200, "50 of the chain's 250 were executed"),
        other => panic!("{other:?}"),
    }
    engine.wait("the replacement in the feed", |engine| engine.displayed(ALFA, Side::Buy, cents(1_000)) == 300);
    assert_eq!(third.take(ALFA, Side::Sell, 150, cents(1_000)), [100, 50]);
    assert_eq!(engine.expect(ours, ExecutionKind::Filled).qty, Qty(100));
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.story(ours), "Submitted Accepted Filled");
}

/// The engine's own modification, in one message: another number, another price, the chain's quantity; a fill on the way makes
/// the replacement smaller, and a replacement at the same price stands behind who was there.
#[test]
fn modification_by_the_engine() {
    let (stage, mut other, mut engine) = market(Plan::default());
    let first = accepted(&mut engine, &limit(ALFA, Side::Buy, 300, cents(1_000)));
    let theirs = other.quote(ALFA, Side::Buy, 100, cents(1_000));
    let mut third = stage.peer(2);
    assert_eq!(third.take(ALFA, Side::Sell, 50, cents(1_000)), [50]);
    assert_eq!(engine.expect(first, ExecutionKind::Filled).leaves_qty, Qty(250));
    let replace = |order_id, qty, price| OrderIntent::Replace { order_id, symbol: ALFA, price, qty: Qty(qty) };
    let second = engine.ask(&replace(first, 400, cents(1_000))).unwrap_or_else(|reason| panic!("{reason:?}"));
    let replaced = engine.expect(second, ExecutionKind::Replaced);
    assert_eq!((replaced.qty, second > first), (Qty(350), true), "50 of the chain's 400 were executed");
    // Behind the other one's 100 now.
    assert_eq!(third.take(ALFA, Side::Sell, 150, cents(1_000)), [100, 50]);
    assert_eq!(engine.expect(second, ExecutionKind::Filled).leaves_qty, Qty(300));
    assert_eq!(other.fills(theirs), [100]);
    let last = engine.ask(&replace(second, 200, cents(999))).unwrap_or_else(|reason| panic!("{reason:?}"));
    assert_eq!(engine.expect(last, ExecutionKind::Replaced).qty, Qty(100));
    engine.wait("the new price in the feed", |engine| engine.displayed(ALFA, Side::Buy, cents(999)) == 100);
    assert_eq!((engine.displayed(ALFA, Side::Buy, cents(1_000)), engine.gate.open_order_count()), (0, 1));
    assert_eq!(engine.gate.position(ALFA), Position(100));
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.said(last), "C", "the acceptance of a replacement names the order that it replaces");
    assert_eq!((ended.said(first), ended.said(second)), ("AEU".into(), "EU".into()));
    assert_eq!(ended.story(last), "ReplaceRequested Replaced CancelRequested Canceled");
}

// ---- static and market data -------------------------------------------------------------------------------------------

/// The directory at the begin of the day, and again for who comes late: names, lots, trading states, from the snapshot.
#[test]
fn static_data_download() {
    let mut stage = Stage::bound(Plan { has_retransmission: false, ..Plan::default() });
    let input = stage.listen();
    stage.run();
    let mut early = stage.engine_with("run-1", input);
    let is_listed = |engine: &Engine| {
        [ALFA, BETA].map(|symbol| engine.books.round_lot(symbol)) == [Some(Qty(100)), Some(Qty(10))]
            && [ALFA, BETA].map(|symbol| engine.books.trading_state(symbol)) == [TradingState::Trading; 2]
    };
    early.wait("the directory", is_listed);
    assert_eq!(early.input.counters().recovery.snapshot_done_count, 0, "it was there from the first message on");
    early.finish();
    let mut late = stage.engine("run-2");
    late.wait("the directory", is_listed);
    assert_eq!(late.input.counters().recovery.snapshot_done_count, 1);
    late.finish();
    let ended = stage.end();
    assert_eq!(ended.listed.iter().map(String::as_str).collect::<Vec<_>>(), SYMBOLS);
    assert!(
        ended
            .states
            .iter()
            .any(|(symbol, kind, code)| (*symbol, *kind, *code) == (BETA, EventKind::TradingAction, b'T'))
    );
    assert_eq!(ended.summary.snapshot_count, 1);
}

/// Every displayed order, for who comes late, by a snapshot and by requests alone: level by level what was entered.
#[test]
fn market_data_download() {
    for has_snapshot in [true, false] {
        let stage = Stage::running(Plan { has_snapshot, has_retransmission: !has_snapshot, ..Plan::default() });
        let mut other = stage.peer(1);
        for step in 0..40_i64 {
            let qty = u32::try_from(100 + step).unwrap_or(0);
            other.quote(ALFA, Side::Buy, qty, cents(990 - step % 10));
            other.quote(ALFA, Side::Sell, qty, cents(1_010 + step % 10));
        }
        let mut engine = stage.engine("run-1");
        engine.wait("a book without a gap", |engine| engine.state(ALFA).is_good() && engine.top(ALFA).bid.is_some());
        let mut levels = [Level::default(); 64];
        for (side, sign) in [(Side::Buy, -1), (Side::Sell, 1)] {
            let count = engine.books.depth(ALFA, side, &mut levels);
            assert_eq!(count, 10);
            for (place, level) in (0..10_i64).zip(&levels) {
                // Four orders at each price, ten steps apart.
                let expected = (cents(1_000 + sign * (10 + place)), Qty(4 * (100 + place.unsigned_abs()) + 60));
                assert_eq!((level.price, level.qty), expected);
            }
        }
        // What is known now is enough to trade on.
        let order_id = accepted(&mut engine, &limit(ALFA, Side::Buy, 100, cents(1_010)));
        engine.expect(order_id, ExecutionKind::Filled);
        engine.finish();
        let ended = stage.end();
        assert_eq!(ended.gaps, [GapPhase::Start, GapPhase::Recovered]);
        assert_eq!(ended.summary.snapshot_count > 0, has_snapshot);
        assert_eq!(ended.story(order_id), "Submitted Accepted Filled");
    }
}

// ---- cancel on disconnect ---------------------------------------------------------------------------------------------

/// The connection dies with orders open: the venue withdraws them, and the next run hears of it before it trades.
#[test]
fn cancel_on_disconnect() {
    let (stage, mut other, mut engine) = market(Plan { is_cancel_on_disconnect: true, ..Plan::default() });
    let orders = [cents(1_000), cents(1_001)].map(|price| accepted(&mut engine, &limit(ALFA, Side::Buy, 100, price)));
    drop(engine);
    let mut watching = stage.peer(2);
    // Until the venue has seen the connection go they may still trade.
    while watching.take(ALFA, Side::Sell, 1, cents(1_000)).iter().sum::<u32>() > 0 {}
    assert!(other.take(ALFA, Side::Sell, 300, cents(1_000)).is_empty());
    let mut again = stage.engine("run-2");
    assert_eq!((again.gate.open_order_count(), again.block()), (0, None));
    again.pass(Duration::from_millis(50));
    again.finish();
    let ended = stage.end();
    for order_id in orders {
        let said = ended.said(order_id);
        assert!(said.starts_with('A') && said.ends_with('C'), "{said}");
    }
}

// ---- loss of market data ----------------------------------------------------------------------------------------------

/// Both lines fall silent together, again and again, while the market moves: from the gap's discovery on no order is made
/// from the book, what was missed is recovered, and the book is the venue's again.
#[test]
fn market_data_feed_loss() {
    let faults = "[faults.line_a]\noutage_us = 400_000\noutage_every_us = 1_500_000\noutage_after_us = 900_000\n\
                  [faults.line_b]\noutage_us = 400_000\noutage_every_us = 1_500_000\noutage_after_us = 900_000\n\
                  [faults.retransmission]\ndelay_us = 150_000\n";
    let (stage, mut other, mut engine) = market(Plan { faults, ..Plan::default() });
    let is_stale = |engine: &Engine| engine.state(ALFA).contains(BookState::STALE);
    let mut shown = 0;
    for _ in 0..3 {
        // The market moves until a gap shows, and once more behind it.
        let begin = std::time::Instant::now();
        while !is_stale(&engine) {
            assert!(begin.elapsed() < Duration::from_secs(30), "no outage in half a minute");
            let price = cents(1_011 + shown % 50);
            other.quote(ALFA, Side::Sell, 10, price);
            shown += 1;
            engine.pass(Duration::from_millis(2));
        }
        assert_eq!(engine.ask(&limit(ALFA, Side::Buy, 100, cents(980))), Err(ReasonCode::BookStale));
        assert_eq!(engine.ask(&limit(BETA, Side::Buy, 100, cents(980))), Err(ReasonCode::BookStale));
        engine.wait("the gap is filled", |engine| !is_stale(engine));
    }
    let total = 500 + 10 * u64::try_from(shown).unwrap_or(0);
    let displayed = |engine: &Engine| {
        let mut levels = [Level::default(); 128];
        let count = engine.books.depth(ALFA, Side::Sell, &mut levels);
        levels[..count].iter().map(|level| level.qty.0).sum::<u64>()
    };
    engine.wait("every quote is in the book", |engine| displayed(engine) == total && !is_stale(engine));
    let order_id = accepted(&mut engine, &limit(ALFA, Side::Buy, 100, cents(980)));
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.with(OrderTransition::Submitted).count(), 1, "nothing from a stale book");
    assert_eq!(ended.said(order_id), "AC");
    let starts = ended.gaps.iter().filter(|phase| **phase == GapPhase::Start).count();
    let recovered = ended.gaps.iter().filter(|phase| **phase == GapPhase::Recovered).count();
    assert!(starts >= 3 && starts == recovered && starts + recovered == ended.gaps.len(), "{:?}", ended.gaps);
}

/// One line alone, the other one dead from the begin: nothing is missing.
#[test]
fn market_data_single_line_loss() {
    let faults = "[faults.line_a]\nloss_ppm = 1_000_000\n";
    let (stage, mut other, mut engine) = market(Plan { faults, ..Plan::default() });
    let before = engine.input.counters().recovery.request_count;
    for step in 0..50 {
        other.quote(ALFA, Side::Sell, 10, cents(1_011 + step));
    }
    engine.wait("the quotes", |engine| engine.displayed(ALFA, Side::Sell, cents(1_060)) == 10);
    assert_eq!(engine.input.counters().recovery.request_count, before);
    let order_id = accepted(&mut engine, &limit(ALFA, Side::Buy, 100, cents(980)));
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.said(order_id), "AC");
    assert!(ended.summary.lines[0].faults.delivered_count == 0 && ended.summary.lines[0].faults.lost_count > 50);
}

// ---- throttles --------------------------------------------------------------------------------------------------------

/// More messages than the limit are refused here, and the venue sees exactly as many as are allowed.
#[test]
fn throttle_of_outgoing_messages() {
    let (stage, _other, mut engine) = market(Plan { order_rate_max: 7, ..Plan::default() });
    let verdicts: Vec<_> = (0..30).map(|step| engine.ask(&limit(ALFA, Side::Buy, 100, cents(980 - step)))).collect();
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_ok()).count(), 7);
    assert!(verdicts[7..].iter().all(|verdict| *verdict == Err(ReasonCode::OrderRateLimit)), "{verdicts:?}");
    let last = *verdicts[6].as_ref().unwrap_or(&OrderId(0));
    engine.expect(last, ExecutionKind::Accepted);
    // A cancel is never held back.
    engine.cancel(last, ALFA);
    engine.expect(last, ExecutionKind::Canceled);
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.with(OrderTransition::Submitted).count(), 7);
    assert_eq!(ended.stream.iter().filter(|message| message[0] == b'A').count(), 7);
}

/// The venue refuses everything: after so many refusals in a row the engine stops by itself, and stays stopped.
#[test]
fn throttle_of_the_venue_rejections() {
    let port_faults = "[port.faults]\nreject_storms = [[\"09:30:00\", \"16:30:00\"]]\n";
    let (stage, _other, mut engine) = market(Plan { port_faults, reject_count_max: 5, ..Plan::default() });
    let mut refused = vec![];
    while engine.block().is_none() {
        let price = cents(980 - i64::try_from(refused.len()).unwrap_or(0));
        let order_id = engine.ask(&limit(ALFA, Side::Buy, 100, price)).unwrap_or_else(|reason| panic!("{reason:?}"));
        engine.expect(order_id, ExecutionKind::Rejected);
        refused.push(order_id);
        assert!(refused.len() <= 5, "it goes on and on");
    }
    assert_eq!((refused.len(), engine.block()), (5, Some(ReasonCode::RejectStorm)));
    engine.pass(Duration::from_millis(100));
    assert_eq!(engine.ask(&limit(ALFA, Side::Buy, 100, cents(900))), Err(ReasonCode::RejectStorm));
    engine.finish();
    let ended = stage.end();
    assert!(refused.iter().all(|order_id| ended.story(*order_id) == "Submitted Rejected"));
    assert_eq!(ended.stream.iter().filter(|message| message[0] == b'J').count(), 5);
}

// ---- intraday resumption ----------------------------------------------------------------------------------------------

/// The venue cuts the connection in the middle of messages, both ways: the session goes on where it was, nothing is doubled.
#[test]
fn intraday_resumption_of_the_session() {
    let port_faults = "[port.faults]\ncut_sent_bytes = [400, 900, 1_700]\ncut_received_bytes = [350, 800, 1_500]\n";
    let (stage, mut other, mut engine) = market(Plan { port_faults, ..Plan::default() });
    let mut orders = vec![];
    while orders.len() < 40 {
        engine.wait("the session stands", |engine| engine.block().is_none());
        let price = cents(1_000 - i64::try_from(orders.len() % 5).unwrap_or(0));
        let Ok(order_id) = engine.ask(&limit(ALFA, Side::Buy, 100, price)) else { continue };
        let is_over = |engine: &Engine| engine.heard.iter().any(|execution| execution.order_id == order_id);
        engine.wait("a word on the order", is_over);
        orders.push(order_id);
    }
    engine.wait("the session stands", |engine| engine.block().is_none());
    let open = engine.gate.open_order_count() * 100;
    assert_eq!(other.take(ALFA, Side::Sell, 10_000, cents(991)).iter().sum::<u32>(), open);
    engine.wait("every fill", |engine| engine.gate.position(ALFA) == Position(i64::from(open)));
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.summary.ports[0].endpoint.cut_count, 6);
    assert!(open >= 3_000, "{open} of 4,000 shares reached the market");
}

/// The engine's process is gone, the market trades on with its orders; the next one learns every fill, withdraws what is left,
/// and goes on with numbers that were never used.
#[test]
fn intraday_resumption_of_the_engine() {
    let (stage, mut other, mut engine) = market(Plan::default());
    let filled = accepted(&mut engine, &limit(ALFA, Side::Buy, 300, cents(1_000)));
    let resting = accepted(&mut engine, &limit(BETA, Side::Sell, 200, cents(1_005)));
    drop(engine);
    assert_eq!(other.take(ALFA, Side::Sell, 120, cents(1_000)), [120]);
    let mut again = stage.engine("run-2");
    assert_eq!(again.gate.position(ALFA), Position(120));
    assert!(other.take(ALFA, Side::Sell, 120, cents(1_000)).is_empty(), "what was left of the old run is withdrawn");
    again.wait("the quotes", |engine| engine.state(ALFA).is_good() && engine.top(ALFA).ask.is_some());
    let next = accepted(&mut again, &limit(ALFA, Side::Buy, 100, cents(1_000)));
    assert!(next > resting, "{next} is a new number");
    again.finish();
    let ended = stage.end();
    assert_eq!((ended.said(filled), ended.said(resting), ended.said(next)), ("AEC".into(), "AC".into(), "AC".into()));
    assert_eq!(ended.with(OrderTransition::Submitted).count(), 3);
}

// ---- suspended instruments --------------------------------------------------------------------------------------------

/// A tape that suspends ALFA for two of every four seconds, from the first second on.
fn halting_tape(path: &std::path::Path) {
    let second = |time: u64| 36_000_000_000_000 + time * 1_000_000_000;
    let header = |kind: u8, locate: u16, time: u64| {
        let mut bytes = vec![kind];
        bytes.extend(locate.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&time.to_be_bytes()[2..]);
        bytes
    };
    let name = |locate: u16| format!("{:<8}", SYMBOLS[usize::from(locate) - 1]).into_bytes();
    let mut messages = vec![];
    for locate in [1, 2] {
        let mut directory = header(b'R', locate, second(0) - 2_000_000_000_000);
        directory.extend(name(locate));
        directory.extend(b"QN");
        directory.extend(100_u32.to_be_bytes());
        directory.extend(b"NCZ PNN1N");
        directory.extend(0_u32.to_be_bytes());
        directory.extend(b"N");
        messages.push(directory);
    }
    let mut order_ref = 0_u64;
    let mut add = |locate: u16, side: u8, price: u32| {
        order_ref += 1;
        let mut add = header(b'A', locate, second(0) - 1_000_000_000);
        add.extend(order_ref.to_be_bytes());
        add.push(side);
        add.extend(500_u32.to_be_bytes());
        add.extend(name(locate));
        add.extend(price.to_be_bytes());
        messages.push(add);
    };
    for locate in [1, 2] {
        add(locate, b'B', 99_000);
        add(locate, b'S', 101_000);
    }
    for turn in 0..60_u64 {
        for (state, time) in [(b'H', 1 + 4 * turn), (b'T', 3 + 4 * turn)] {
            let mut action = header(b'H', 1, second(time));
            action.extend(name(1));
            action.extend([state, b' ']);
            action.extend(b"T1  ");
            messages.push(action);
        }
    }
    let mut file = std::fs::File::create(path).expect("the folder takes a file");
    for message in messages {
        let len = u16::try_from(message.len()).expect("short");
        file.write_all(&[&len.to_be_bytes()[..], &message].concat()).expect("the folder takes a file");
    }
}

/// ALFA is suspended and resumed, again and again: no order in it while it is, cancels and other instruments go on, and an
/// order of somebody who does not know is refused by the venue.
#[test]
fn suspended_instruments() {
    let tape = tempfile::NamedTempFile::with_suffix(".itch").expect("a temporary file");
    halting_tape(tape.path());
    let stage =
        Stage::running(Plan { flow: format!("kind = \"file\"\npath = {:?}\n", tape.path()), ..Plan::default() });
    let mut third = stage.peer(2);
    let mut engine = stage.engine("run-1");
    let is_halted = |engine: &Engine| engine.state(ALFA).contains(BookState::HALTED);
    let mut resting = vec![];
    while resting.len() < 2 {
        engine.wait("ALFA is traded", |engine| engine.state(ALFA).is_good() && engine.state(BETA).is_good());
        let Ok(order_id) = engine.ask(&limit(ALFA, Side::Buy, 100, cents(980))) else { continue };
        let is_over = |engine: &Engine| engine.heard.iter().any(|execution| execution.order_id == order_id);
        engine.wait("a word on the order", is_over);
        engine.wait("ALFA is suspended", is_halted);
        assert_eq!(engine.ask(&limit(ALFA, Side::Buy, 100, cents(981))), Err(ReasonCode::MarketHalted));
        let other = accepted(&mut engine, &limit(BETA, Side::Buy, 100, cents(980)));
        engine.cancel(other, BETA);
        engine.expect(other, ExecutionKind::Canceled);
        // It may rest in a suspended book, and be withdrawn from it.
        if engine.heard.iter().any(|e| e.order_id == order_id && e.kind == ExecutionKind::Accepted) {
            engine.cancel(order_id, ALFA);
            engine.expect(order_id, ExecutionKind::Canceled);
        }
        resting.push(order_id);
    }
    // Somebody who does not look finds it suspended sooner or later: refused, not traded.
    let begin = std::time::Instant::now();
    while third.enter(ALFA, Side::Buy, (10, b'3'), cents(980)).1 != b'J' {
        assert!(begin.elapsed() < Duration::from_secs(30), "the venue takes every order in a suspended instrument");
    }
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.fill_count(), 0);
    for order_id in resting {
        assert!(["AC", "J"].contains(&ended.said(order_id).as_str()), "{}", ended.said(order_id));
    }
    let alfa: Vec<u8> = ended
        .states
        .iter()
        .filter(|state| (state.0, state.1) == (ALFA, EventKind::TradingAction))
        .map(|state| state.2)
        .collect();
    assert!(alfa.windows(2).any(|pair| pair == *b"HT"), "suspended and resumed, in the log");
}

// ---- market data that is not updated ----------------------------------------------------------------------------------

/// The feed lives and says nothing of ALFA: nothing is decided on prices older than the limit, until they are new again.
#[test]
fn market_data_that_is_not_updated() {
    let (stage, mut other, mut engine) = market(Plan { data_age_max: Nanos::from_millis(1_500), ..Plan::default() });
    engine.pass(Duration::from_millis(1_600));
    assert_eq!(engine.ask(&limit(ALFA, Side::Buy, 100, cents(980))), Err(ReasonCode::DataStale));
    assert_eq!(engine.ask(&limit(BETA, Side::Buy, 100, cents(980))), Err(ReasonCode::DataStale));
    // Only what is new is traded on.
    let mut order_id = None;
    for step in 0..20 {
        let price = cents(991 + step % 3);
        let before = engine.displayed(ALFA, Side::Buy, price);
        other.quote(ALFA, Side::Buy, 100, price);
        engine.wait("the quote", |engine| engine.displayed(ALFA, Side::Buy, price) > before);
        assert_eq!(engine.ask(&limit(BETA, Side::Buy, 100, cents(980))), Err(ReasonCode::DataStale));
        // A machine that stands still for longer than the limit makes even this quote an old one.
        if let Ok(number) = engine.ask(&limit(ALFA, Side::Buy, 100, cents(980))) {
            order_id = Some(number);
            break;
        }
    }
    let order_id = order_id.unwrap_or_else(|| panic!("no quote was new"));
    engine.expect(order_id, ExecutionKind::Accepted);
    engine.finish();
    let ended = stage.end();
    assert_eq!(ended.with(OrderTransition::Submitted).count(), 1);
    assert_eq!(ended.said(order_id), "AC");
}

/// Every line falls silent, heartbeats too, while an order rests: it is withdrawn and nothing new is sent, until the lines
/// speak again.
#[test]
fn market_data_that_falls_silent() {
    let dark = "outage_us = 4_000_000\noutage_every_us = 60_000_000\noutage_after_us = 6_000_000\n";
    let faults = format!("[faults.line_a]\n{dark}[faults.line_b]\n{dark}").leak();
    let silence_max = Nanos::from_millis(2_500);
    let (stage, _other, mut engine) = market(Plan { faults, silence_max, ..Plan::default() });
    let order_id = accepted(&mut engine, &limit(ALFA, Side::Buy, 100, cents(980)));
    engine.expect(order_id, ExecutionKind::Canceled);
    assert!(!engine.state(ALFA).contains(BookState::STALE), "no packet says that anything is missing");
    assert_eq!(engine.ask(&limit(ALFA, Side::Buy, 100, cents(980))), Err(ReasonCode::DataStale));
    let is_good = |engine: &Engine| engine.block().is_none() && !engine.state(ALFA).contains(BookState::STALE);
    engine.wait("the lines speak again, and what they missed is there", is_good);
    let later = accepted(&mut engine, &limit(ALFA, Side::Buy, 100, cents(980)));
    engine.finish();
    let ended = stage.end();
    assert_eq!((ended.said(order_id), ended.said(later)), ("AC".to_owned(), "AC".to_owned()));
}
