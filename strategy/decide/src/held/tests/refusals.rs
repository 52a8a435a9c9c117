//! Resting orders that the gate or the venue does not take, that are let go, or whose limit lies off the tick.

use super::*;

/// A resting buy of `qty` shares at the best bid.
fn rest(qty: u64) -> RestOrder {
    RestOrder { qty: Qty(qty), reprice_ticks: 1, reference: PegReference::Primary, ..RestOrder::default() }
}

/// What is asked for in `span` nanoseconds with an event in each, every order denied: how long after each other.
fn gaps(desk: &mut Desk, span: i64) -> Vec<i64> {
    let (end, mut asked) = (desk.now + span, vec![]);
    while desk.now < end {
        for intent in desk.event() {
            desk.held.on_denied(0, &intent, ReasonCode::PositionLimit, EpochNanos(desk.now));
            asked.push(desk.now);
        }
    }
    asked.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// A denial that goes on is no flood of records: each one doubles the pause, up to 64 times, until the venue took one.
#[test]
fn what_is_denied_again_and_again_is_asked_ever_more_seldom() {
    let mut desk = Desk::new(config());
    desk.ask(HeldIntent::Rest(rest(30)));
    assert_eq!(gaps(&mut desk, 3_000), [10, 20, 40, 80, 160, 320, 640, 640, 640]);
    // Neither approval nor asking for something else is a reason to hurry.
    desk.ask(HeldIntent::Rest(rest(20)));
    assert_eq!(gaps(&mut desk, 1_281).first(), Some(&640));
    desk.now += 640;
    let [first] = desk.event()[..] else { panic!("one order") };
    let id = desk.approve(&first);
    desk.report(id, Side::Buy, (ExecutionKind::Rejected, 20, 0), 10_000);
    let refused = desk.now;
    let [again] = (0..).map(|_| desk.event()).find(|intents| !intents.is_empty()).unwrap()[..] else { panic!("one") };
    assert_eq!((again, desk.now - refused), (resting(Side::Buy, 20, 10_000), 640), "a rejection is one more");
    let id = desk.approve(&again);
    desk.report(id, Side::Buy, (ExecutionKind::Accepted, 20, 20), 10_000);
    let [moved] = desk.quote(10_001, 10_003)[..] else { panic!("a replacement") };
    desk.held.on_denied(0, &moved, ReasonCode::OrderRateLimit, EpochNanos(desk.now));
    assert_eq!(gaps(&mut desk, 200), [20, 40, 80], "it was accepted: the pauses begin anew");
}

/// Exits do not grow patient: what protects is asked for as often as before.
#[test]
fn the_pause_of_an_exit_does_not_grow() {
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 10, 10_001);
    desk.quote(9_990, 9_992);
    assert_eq!(desk.actions(), [HeldAction::Armed, HeldAction::StopFired]);
    desk.held.on_denied(0, &exit(Side::Sell, 10, 9_988), ReasonCode::OrderRateLimit, EpochNanos(desk.now));
    assert!(gaps(&mut desk, 300).iter().all(|gap| *gap == 10));
}

/// While nothing new may be sent nothing is asked for, however long that lasts, and at once when it may be.
#[test]
fn nothing_is_asked_for_while_trading_is_halted() {
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 10, 10_001);
    desk.ask(HeldIntent::Rest(rest(30)));
    let [first] = desk.event()[..] else { panic!("one order") };
    let id = desk.approve(&first);
    desk.report(id, Side::Buy, (ExecutionKind::Accepted, 30, 30), 10_000);
    desk.may_send = false;
    assert_eq!(desk.event(), [OrderIntent::Cancel { order_id: OrderId(id), symbol: SYMBOL }]);
    desk.report(id, Side::Buy, (ExecutionKind::Canceled, 30, 0), 10_000);
    desk.actions();
    for _ in 0..100 {
        assert_eq!(desk.quote(9_990, 9_992), []);
    }
    assert_eq!(desk.actions(), [HeldAction::StopFired], "its moment is not missed");
    desk.may_send = true;
    assert_eq!(desk.event(), [exit(Side::Sell, 10, 9_988)]);
    let mut desk = Desk::new(config());
    desk.ask(HeldIntent::Rest(rest(30)));
    desk.may_send = false;
    assert_eq!(desk.event(), []);
    desk.may_send = true;
    assert_eq!(desk.event(), [resting(Side::Buy, 30, 10_000)]);
}

/// An order that was let go leaves, and what it still executes is not taken off what is held after it: a restart, which
/// knows the orders since the last arming alone, agrees.
#[test]
fn an_order_that_was_let_go_is_not_that_of_the_next_one() {
    let mut desk = Desk::new(config());
    let mut memories = vec![];
    desk.ask(HeldIntent::Rest(rest(100)));
    let [first] = desk.event()[..] else { panic!("one order") };
    let id = desk.approve(&first);
    desk.report(id, Side::Buy, (ExecutionKind::Accepted, 100, 100), 10_000);
    desk.ask(HeldIntent::LetGo(Side::Buy));
    desk.ask(HeldIntent::Rest(rest(50)));
    desk.changes.drain(..).for_each(|change| HeldMemory::fold(&mut memories, change));
    assert_eq!(desk.quote(10_001, 10_003), [OrderIntent::Cancel { order_id: OrderId(id), symbol: SYMBOL }]);
    desk.report(id, Side::Buy, (ExecutionKind::Filled, 30, 70), 10_000);
    desk.report(id, Side::Buy, (ExecutionKind::Canceled, 70, 0), 10_000);
    assert!(desk.changes.iter().all(|change| change.kind == HeldKind::Protection), "{:?}", desk.changes);
    assert_eq!(desk.event(), [resting(Side::Buy, 50, 10_001)]);
    let mut later = Desk::new(config());
    later.held.remember(memories);
    later.report(id, Side::Buy, (ExecutionKind::Filled, 30, 0), 10_000);
    later.begin();
    assert_eq!(later.quote(10_001, 10_003), [resting(Side::Buy, 50, 10_001)]);
}

/// A limit between two ticks is one tick behind: the gate takes no price off the tick.
#[test]
fn a_limit_off_the_tick_is_the_tick_behind_it() {
    for (side, limit, wanted) in [(Side::Buy, 9_990, 9_990), (Side::Sell, 10_020, 10_021)] {
        let mut desk = Desk::new(config());
        desk.ask(HeldIntent::Rest(RestOrder { side, limit: Price(at(limit).0 + TICK / 2), ..rest(30) }));
        assert_eq!(desk.event(), [resting(side, 30, wanted)]);
    }
}
