//! The controller against scripted moments.

use peregrine_model::{Heads, Regime};
use peregrine_types::{
    BookState, EpochNanos, Execution, ExecutionKind, Level, Liquidity, MatchNumber, NewOrder, Notional, OrderId,
    OrderIntent, Position, Price, Qty, ReasonCode, Side, SymbolId, TickTable, TimeInForce, TopOfBook,
};

use super::*;
use crate::config::for_tests;
use crate::{DecideConfig, IntentBatch};

const TICK: i64 = 10_000_000;
const SYMBOL: SymbolId = SymbolId(7);

/// A controller with one symbol, a book of 100.00 to 100.02, and whatever the test says.
struct Desk {
    controller: ThresholdController,
    heads: Heads,
    bid: i64,
    ask: i64,
    state: BookState,
    ticks: TickTable,
    now: i64,
    next_id: u64,
    out: IntentBatch,
}

impl Desk {
    fn new(config: DecideConfig) -> Self {
        let regime = Regime { index: 0, confidence: 0.9 };
        Self {
            controller: ThresholdController::new(config, 1).unwrap(),
            heads: Heads { horizon_count: 4, regime, ..Heads::default() },
            bid: 10_000,
            ask: 10_002,
            state: BookState::GOOD,
            ticks: TickTable::US_EQUITY,
            now: 1_000,
            next_id: 0,
            out: IntentBatch::for_symbols(1),
        }
    }

    fn decide(&mut self) -> (Outcome, Vec<OrderIntent>) {
        let level = |ticks: i64| Some(Level { price: Price(ticks * TICK), qty: Qty(5), order_count: 1 });
        let view = DecisionView {
            symbol: SYMBOL,
            slot: 0,
            now: EpochNanos(self.now),
            top: TopOfBook { bid: level(self.bid), ask: level(self.ask) },
            state: self.state,
            ticks: &self.ticks,
            heads: &self.heads,
        };
        self.now += 1;
        self.out.clear();
        (self.controller.decide(&view, &mut self.out), self.out.as_slice().to_vec())
    }

    fn act(&mut self, action: f32) -> (Outcome, Vec<OrderIntent>) {
        self.heads.action = action;
        self.decide()
    }

    /// Approves the last batch's new orders and lets the venue accept them; the last id.
    fn accept(&mut self) -> OrderId {
        for intent in self.out.as_slice().to_vec() {
            if let OrderIntent::New(order) = intent {
                self.next_id += 1;
                self.controller.on_approved(0, &intent, OrderId(self.next_id));
                self.report(ExecutionKind::Accepted, self.next_id, order.side, (0, order.qty.0));
            }
        }
        OrderId(self.next_id)
    }

    fn report(&mut self, kind: ExecutionKind, id: u64, side: Side, (qty, leaves): (u64, u64)) {
        let execution = Execution {
            order_id: OrderId(id),
            symbol: SYMBOL,
            side,
            kind,
            liquidity: Liquidity::Added,
            reason: ReasonCode::None,
            price: Price(0),
            qty: Qty(qty),
            leaves_qty: Qty(leaves),
            match_number: MatchNumber(0),
            venue_time: EpochNanos(self.now),
            visible_time: EpochNanos(self.now),
            fee: Notional::ZERO,
        };
        self.controller.on_execution(0, &execution);
    }
}

fn quote(side: Side, ticks: i64, qty: u64) -> OrderIntent {
    OrderIntent::New(NewOrder {
        symbol: SYMBOL,
        side,
        price: Price(ticks * TICK),
        qty: Qty(qty),
        time_in_force: TimeInForce::Day,
        is_post_only: true,
    })
}

fn take(side: Side, ticks: i64, qty: u64) -> OrderIntent {
    let OrderIntent::New(order) = quote(side, ticks, qty) else { unreachable!() };
    OrderIntent::New(NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, is_post_only: false, ..order })
}

fn cancel(id: u64) -> OrderIntent {
    OrderIntent::Cancel { order_id: OrderId(id), symbol: SYMBOL }
}

#[test]
fn a_target_is_taken_up_at_the_threshold_and_given_up_below_the_hysteresis() {
    let mut desk = Desk::new(for_tests());
    assert_eq!(desk.act(0.49), (Outcome::Held, vec![]));
    assert_eq!(desk.act(0.5), (Outcome::Quoted, vec![quote(Side::Buy, 10_000, 100)]));
    desk.accept();
    assert_eq!(desk.act(0.31), (Outcome::Held, vec![]), "held above 0.5 - 0.2");
    assert_eq!(desk.act(0.29), (Outcome::Withdrew, vec![cancel(1)]));
    assert_eq!(desk.act(0.31), (Outcome::Held, vec![]), "not taken up again below the threshold");
}

#[test]
fn a_flip_quotes_the_other_side_while_the_old_quote_leaves_and_never_meets_itself() {
    let mut desk = Desk::new(for_tests());
    desk.act(0.9);
    desk.accept();
    assert_eq!(desk.act(-0.9), (Outcome::Quoted, vec![cancel(1), quote(Side::Sell, 10_002, 100)]));
    // The market falls through our bid that is still on its way out: an offer there would meet it.
    let mut desk = Desk::new(for_tests());
    desk.act(0.9);
    desk.accept();
    (desk.bid, desk.ask) = (9_998, 10_000);
    assert_eq!(desk.act(-0.9), (Outcome::Withdrew, vec![cancel(1)]));
    assert_eq!(desk.act(-0.9), (Outcome::Waited, vec![]));
    desk.report(ExecutionKind::Canceled, 1, Side::Buy, (100, 0));
    assert_eq!(desk.act(-0.9), (Outcome::Quoted, vec![quote(Side::Sell, 10_000, 100)]));
}

/// The quote follows the best bid in one message each time; one answer is awaited before the next.
#[test]
fn with_use_replace_a_quote_moves_in_one_message() {
    let mut desk = Desk::new(DecideConfig { use_replace: true, ..for_tests() });
    assert_eq!(desk.act(0.9), (Outcome::Quoted, vec![quote(Side::Buy, 10_000, 100)]));
    desk.accept();
    desk.report(ExecutionKind::Filled, 1, Side::Buy, (30, 70));
    assert_eq!(desk.act(0.9), (Outcome::Held, vec![]));
    desk.bid -= 1;
    let replace = |id: u64, ticks: i64| {
        let (order_id, price) = (OrderId(id), Price(ticks * TICK));
        OrderIntent::Replace { order_id, symbol: SYMBOL, price, qty: Qty(100) }
    };
    let wanted = replace(1, 9_999);
    assert_eq!(desk.act(0.9), (Outcome::Quoted, vec![wanted]), "what was executed counts in the total");
    desk.controller.on_approved(0, &wanted, OrderId(2));
    desk.bid -= 1;
    assert_eq!(desk.act(0.9), (Outcome::Waited, vec![]), "the answer comes first");
    desk.report(ExecutionKind::Filled, 1, Side::Buy, (20, 50));
    desk.report(ExecutionKind::Replaced, 2, Side::Buy, (50, 50));
    let wanted = replace(2, 9_998);
    assert_eq!(desk.act(0.9), (Outcome::Quoted, vec![wanted]));
    desk.controller.on_approved(0, &wanted, OrderId(3));
    desk.report(ExecutionKind::Rejected, 3, Side::Buy, (0, 0));
    assert_eq!(desk.act(-0.1).1, [cancel(2)], "refused: the order before it is as it was, and can be cancelled");
}

/// A cancel during a replace names the order; whichever lives ends it.
#[test]
fn a_quote_that_is_being_replaced_can_be_withdrawn() {
    let mut desk = Desk::new(DecideConfig { use_replace: true, ..for_tests() });
    desk.act(0.9);
    desk.accept();
    desk.bid -= 1;
    let (_, intents) = desk.act(0.9);
    desk.controller.on_approved(0, &intents[0], OrderId(2));
    assert_eq!(desk.act(-0.1).1, [cancel(1)]);
    assert_eq!(desk.act(-0.1).1, []);
    desk.report(ExecutionKind::Replaced, 2, Side::Buy, (100, 100));
    assert!(desk.controller.has_orders(0));
    desk.report(ExecutionKind::Canceled, 2, Side::Buy, (100, 0));
    assert!(!desk.controller.has_orders(0));
}

#[test]
fn one_order_per_side_waits_for_its_answers() {
    let mut desk = Desk::new(for_tests());
    assert_eq!(desk.act(0.9).0, Outcome::Quoted);
    desk.bid += 1;
    assert_eq!(desk.act(0.9), (Outcome::Waited, vec![]), "no verdict yet");
    desk.controller.on_approved(0, &quote(Side::Buy, 10_000, 100), OrderId(1));
    assert_eq!(desk.act(0.9), (Outcome::Waited, vec![]), "not accepted yet");
    desk.report(ExecutionKind::Accepted, 1, Side::Buy, (100, 100));
    assert_eq!(desk.act(0.9), (Outcome::Withdrew, vec![cancel(1)]), "its price is old");
    assert_eq!(desk.act(0.9), (Outcome::Waited, vec![]), "cancelled once only");
    desk.report(ExecutionKind::Canceled, 1, Side::Buy, (100, 0));
    assert_eq!(desk.act(0.9), (Outcome::Quoted, vec![quote(Side::Buy, 10_001, 100)]));
}

#[test]
fn fills_move_the_position_and_the_rest_stays_in_the_queue() {
    let mut desk = Desk::new(for_tests());
    desk.act(0.9);
    desk.accept();
    desk.report(ExecutionKind::Filled, 1, Side::Buy, (40, 60));
    assert_eq!(desk.controller.position(0), Position(40));
    assert_eq!(desk.act(0.9), (Outcome::Held, vec![]));
    desk.report(ExecutionKind::Filled, 1, Side::Buy, (60, 0));
    assert_eq!(desk.act(0.9), (Outcome::Held, vec![]), "at the target");
    assert!(!desk.controller.has_orders(0));
    assert_eq!(desk.act(0.0), (Outcome::Quoted, vec![quote(Side::Sell, 10_002, 100)]), "back to flat");
    assert_eq!(desk.controller.target(0), Position(0));
}

#[test]
fn a_partial_fill_elsewhere_never_lets_an_order_overshoot_the_target() {
    let mut desk = Desk::new(for_tests());
    desk.act(0.9);
    desk.accept();
    // A fill of an order that the strategy had given up still counts.
    desk.report(ExecutionKind::Filled, 99, Side::Buy, (30, 0));
    assert_eq!(desk.act(0.9), (Outcome::Withdrew, vec![cancel(1)]), "100 more would be 130");
    desk.report(ExecutionKind::Canceled, 1, Side::Buy, (100, 0));
    assert_eq!(desk.act(0.9), (Outcome::Quoted, vec![quote(Side::Buy, 10_000, 70)]));
}

#[test]
fn orders_are_no_larger_than_order_qty() {
    let mut desk = Desk::new(DecideConfig { target_position_qty: Qty(250), ..for_tests() });
    desk.act(-0.9);
    let id = desk.accept();
    desk.report(ExecutionKind::Filled, id.0, Side::Sell, (100, 0));
    assert_eq!(desk.act(-0.9).1, [quote(Side::Sell, 10_002, 100)]);
    let id = desk.accept();
    desk.report(ExecutionKind::Filled, id.0, Side::Sell, (100, 0));
    assert_eq!(desk.act(-0.9).1, [quote(Side::Sell, 10_002, 50)]);
}

#[test]
fn it_takes_only_when_the_move_pays_for_half_spread_and_fee() {
    // Half-spread 0.01 plus fee 0.003 on a mid of 100.01: 1.29987e-4 of it.
    let mut desk = Desk::new(for_tests());
    desk.heads.return_mean[0] = 1.29e-4;
    assert_eq!(desk.act(0.9).1, [quote(Side::Buy, 10_000, 100)]);
    let mut desk = Desk::new(for_tests());
    desk.heads.return_mean[0] = 1.31e-4;
    assert_eq!(desk.act(0.9), (Outcome::Took, vec![take(Side::Buy, 10_002, 100)]));
    let mut desk = Desk::new(for_tests());
    desk.heads.return_mean[0] = -1.31e-4;
    assert_eq!(desk.act(-0.9), (Outcome::Took, vec![take(Side::Sell, 10_000, 100)]));
    assert_eq!(desk.act(0.9).1, [], "a take on its way is waited for");
    let mut desk = Desk::new(DecideConfig { take_margin_ticks: 1.0, ..for_tests() });
    desk.heads.return_mean[0] = 2.2e-4;
    assert_eq!(desk.act(0.9).0, Outcome::Quoted);
}

#[test]
fn a_take_waits_until_own_quotes_are_gone_and_is_never_cancelled() {
    let mut desk = Desk::new(for_tests());
    desk.act(0.9);
    desk.accept();
    desk.heads.return_mean[0] = 1e-3;
    assert_eq!(desk.act(0.9), (Outcome::Withdrew, vec![cancel(1)]));
    desk.report(ExecutionKind::Canceled, 1, Side::Buy, (100, 0));
    assert_eq!(desk.act(0.9), (Outcome::Took, vec![take(Side::Buy, 10_002, 100)]));
    desk.accept();
    desk.heads.surprise = 99.0;
    assert_eq!(desk.act(0.9), (Outcome::Surprised, vec![]));
    desk.report(ExecutionKind::Canceled, 2, Side::Buy, (100, 0));
    assert!(!desk.controller.has_orders(0));
}

#[test]
fn surprise_doubt_and_bad_books_leave_nothing_resting() {
    type Change = fn(&mut Desk);
    let cases: [(Change, Outcome); 5] = [
        (|desk| desk.heads.surprise = 10.1, Outcome::Surprised),
        (|desk| desk.heads.surprise = f32::NAN, Outcome::Surprised),
        (|desk| desk.heads.regime.confidence = 0.1, Outcome::RegimeUnsure),
        (|desk| desk.state = BookState::STALE, Outcome::BookNotGood),
        (|desk| desk.state = BookState::HALTED.with(BookState::ONE_SIDED), Outcome::BookNotGood),
    ];
    for (change, outcome) in cases {
        let mut desk = Desk::new(for_tests());
        desk.act(0.9);
        desk.accept();
        change(&mut desk);
        assert_eq!(desk.act(0.9), (outcome, vec![cancel(1)]));
        assert_eq!(desk.act(0.9), (outcome, vec![]), "once");
    }
    let mut desk = Desk::new(for_tests());
    desk.act(0.9);
    desk.accept();
    desk.state = BookState::LOCKED;
    assert_eq!(desk.act(-0.9), (Outcome::BookNotGood, vec![]), "the policy lets quotes rest in a locked book");
}

#[test]
fn denials_and_rejections_pause_the_symbol() {
    let mut desk = Desk::new(for_tests());
    let (_, intents) = desk.act(0.9);
    desk.controller.on_denied(0, &intents[0], ReasonCode::PositionLimit, EpochNanos(desk.now));
    assert_eq!(desk.act(0.9), (Outcome::BackedOff, vec![]));
    desk.now += 1_000_000;
    assert_eq!(desk.act(0.9).0, Outcome::Quoted);
    desk.controller.on_approved(0, &intents[0], OrderId(1));
    desk.report(ExecutionKind::Rejected, 1, Side::Buy, (0, 0));
    assert_eq!(desk.act(0.9), (Outcome::BackedOff, vec![]));
}

#[test]
fn a_refused_cancel_is_tried_again_after_the_pause() {
    let mut desk = Desk::new(for_tests());
    desk.act(0.9);
    desk.accept();
    assert_eq!(desk.act(0.0).1, [cancel(1)]);
    desk.report(ExecutionKind::CancelRejected, 1, Side::Buy, (0, 100));
    assert_eq!(desk.act(0.0).1, []);
    desk.now += 1_000_000;
    assert_eq!(desk.act(0.0).1, [cancel(1)]);
    desk.controller.on_denied(0, &cancel(1), ReasonCode::OrderRateLimit, EpochNanos(desk.now));
    assert!(desk.controller.has_orders(0));
    desk.now += 1_000_000;
    assert_eq!(desk.act(0.0).1, [cancel(1)]);
    desk.controller.on_denied(0, &cancel(1), ReasonCode::UnknownOrder, EpochNanos(desk.now));
    assert!(!desk.controller.has_orders(0), "the gate knows that it is gone");
}

#[test]
fn quotes_keep_offset_tolerance_and_edge() {
    let mut desk = Desk::new(DecideConfig { quote_offset_ticks: 2, requote_tolerance_ticks: 1, ..for_tests() });
    assert_eq!(desk.act(0.9).1, [quote(Side::Buy, 9_998, 100)]);
    desk.accept();
    desk.bid += 1;
    assert_eq!(desk.act(0.9).0, Outcome::Held, "one tick away is near enough");
    desk.bid += 1;
    assert_eq!(desk.act(0.9).1, [cancel(1)]);
    // Mid 100.01, predicted to stay: three ticks of edge are 99.98 for a bid and 100.04 for an offer.
    let config = DecideConfig { quote_edge_ticks: Some(3.0), ..for_tests() };
    assert_eq!(Desk::new(config).act(0.9).1, [quote(Side::Buy, 9_998, 100)]);
    assert_eq!(Desk::new(config).act(-0.9).1, [quote(Side::Sell, 10_004, 100)]);
}

#[test]
fn prices_are_on_the_instruments_own_steps() {
    let us = (TickTable::US_EQUITY, 100, Price(999_900_000));
    let coarse = (TickTable::uniform_or_cent(Price(5 * TICK)), 10_000, Price(9_995 * TICK));
    for (ticks, bid, expected) in [us, coarse] {
        let mut desk = Desk::new(DecideConfig { quote_offset_ticks: 1, ..for_tests() });
        (desk.ticks, desk.bid, desk.ask) = (ticks, bid, bid + 20);
        let OrderIntent::New(order) = quote(Side::Buy, 0, 100) else { unreachable!() };
        let wanted = OrderIntent::New(NewOrder { price: expected, ..order });
        assert_eq!(desk.act(0.9), (Outcome::Quoted, vec![wanted]), "one step behind the best bid");
    }
}
