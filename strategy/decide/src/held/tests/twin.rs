//! The stage against a slow, obvious twin over random streams of events and answers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A fill: its quantity is negative for a sale.
#[derive(Clone, Copy)]
struct Fill {
    order_id: u64,
    number: u64,
    qty: i64,
    price: i64,
}

/// Everything that happened, and every answer worked out anew from all of it.
#[derive(Default)]
struct Twin {
    /// Every fill that was not broken.
    fills: Vec<Fill>,
    last_number: u64,
    trades: Vec<i64>,
    has_fired: bool,
    is_armed: bool,
    exit: Option<u64>,
    not_before: i64,
    aside_until: i64,
}

impl Twin {
    fn position(&self) -> i64 {
        self.fills.iter().map(|fill| fill.qty).sum()
    }

    /// By the average cost method: what closes leaves the average as it was.
    fn average(&self) -> i64 {
        let (mut size, mut cost) = (0_i128, 0_i128);
        for Fill { qty, price, .. } in &self.fills {
            let (qty, price) = (i128::from(*qty), i128::from(*price));
            if size == 0 || size.signum() == qty.signum() {
                cost += qty.abs() * price;
            } else if qty.abs() > size.abs() {
                cost = (qty + size).abs() * price;
            } else {
                cost = cost * (size.abs() - qty.abs()) / size.abs();
            }
            size += qty;
        }
        if size == 0 { 0 } else { i64::try_from(cost / size.abs()).unwrap() }
    }

    fn levels(&self, config: &HeldConfig, ticks: &TickTable) -> (i64, i64) {
        let (average, is_long) = (Price(self.average()), self.position() > 0);
        let (stop, take) = (config.stop_loss_ticks, config.take_profit_ticks);
        let level = |count: u32, is_below: bool| {
            if is_below { ticks.down(average, count).unwrap().0 } else { ticks.up(average, count).unwrap().0 }
        };
        (level(stop, is_long), level(take, !is_long))
    }

    fn fill(&mut self, order_id: u64, (qty, price): (i64, i64), when: (i64, &HeldConfig)) -> Vec<HeldAction> {
        let before = self.position();
        self.last_number += 1;
        self.fills.push(Fill { order_id, number: self.last_number, qty, price });
        self.moved(before, when)
    }

    fn moved(&mut self, before: i64, (now, config): (i64, &HeldConfig)) -> Vec<HeldAction> {
        let after = self.position();
        let mut said = vec![];
        if before == after {
            return said;
        }
        if before.signum() != after.signum() {
            if self.has_fired {
                said.push(HeldAction::Done);
                self.aside_until = now + config.cooldown.0;
            } else if self.is_armed {
                said.push(HeldAction::Canceled);
            }
            (self.has_fired, self.is_armed) = (false, false);
        }
        if !self.has_fired && after != 0 {
            said.push(if self.is_armed { HeldAction::Changed } else { HeldAction::Armed });
            if !self.is_armed {
                self.trades.clear();
            }
            self.is_armed = true;
        }
        said
    }

    fn event(&mut self, config: &HeldConfig, desk: &Desk) -> (Vec<HeldAction>, Vec<OrderIntent>) {
        let (mut said, mut wanted) = (vec![], vec![]);
        let position = self.position();
        if !desk.state.is_good() || position == 0 {
            return (said, wanted);
        }
        let is_long = position > 0;
        let best = at(if is_long { desk.bid } else { desk.ask }).0;
        if !self.has_fired {
            let (stop, take) = self.levels(config, &desk.ticks);
            let through = |price: i64| if is_long { price <= stop } else { price >= stop };
            let is_stopped = through(best) || self.trades.last().is_some_and(|trade| through(*trade));
            let is_taken = if is_long { best >= take } else { best <= take };
            if is_stopped || is_taken {
                said.push(if is_stopped { HeldAction::StopFired } else { HeldAction::TakeFired });
                self.has_fired = true;
            }
        }
        if self.has_fired && self.exit.is_none() && !desk.has_others && desk.now + 1 >= self.not_before {
            let slip = i64::from(config.exit_slippage_ticks);
            // A sale may fetch the middle of the book; a purchase costs no more than its price.
            let worst = if is_long {
                (at(desk.bid - slip).0).max((at(desk.bid).0 + at(desk.ask).0) / 2)
            } else {
                at(desk.ask + slip).0
            };
            let fits = |qty: u64| i128::from(worst) * i128::from(qty) <= config.limits.order_notional_max.0;
            let qty =
                (1..=position.unsigned_abs().min(config.limits.order_qty_max.0)).rev().find(|qty| fits(*qty)).unwrap();
            wanted.push(if is_long {
                exit(Side::Sell, qty, desk.bid - slip)
            } else {
                exit(Side::Buy, qty, desk.ask + slip)
            });
            self.exit = Some(0);
        }
        (said, wanted)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Quote(i64, i64),
    State(u8),
    Trade(i64),
    Fill(bool, u64, i64),
    /// A trade of the last ones is broken.
    Bust(usize),
    Others(bool),
    Answer(u8, u64),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (9_980_i64..10_020, 1_i64..4).prop_map(|(bid, spread)| Step::Quote(bid, spread)),
        1 => prop_oneof![2 => Just(0_u8), 1 => 0_u8..32].prop_map(Step::State),
        1 => (9_985_i64..10_015).prop_map(Step::Trade),
        2 => (any::<bool>(), 1_u64..150, 9_990_i64..10_010).prop_map(|(is_buy, qty, price)| Step::Fill(is_buy, qty, price)),
        1 => (0_usize..40).prop_map(Step::Bust),
        1 => any::<bool>().prop_map(Step::Others),
        5 => (0_u8..8, 1_u64..120).prop_map(|(what, qty)| Step::Answer(what, qty)),
        1 => (0_i64..30).prop_map(Step::Wait),
    ]
}

/// Plays a step on both; everything that they say must be the same.
fn play(desk: &mut Desk, twin: &mut Twin, step: &Step, intents: &mut Vec<OrderIntent>) {
    let config = config();
    let mut said = vec![];
    match *step {
        Step::Quote(bid, spread) => (desk.bid, desk.ask) = (bid, bid + spread),
        Step::State(bits) => desk.state = BookState::from_bits(bits),
        Step::Trade(price) => {
            desk.held.on_trade(0, at(price));
            twin.trades.push(at(price).0);
        }
        Step::Fill(is_buy, qty, price) => {
            let (side, signed) = if is_buy { (Side::Buy, 1) } else { (Side::Sell, -1) };
            desk.next_match = twin.last_number + 1;
            desk.fill(side, qty, price);
            said = twin.fill(1, (signed * i64::try_from(qty).unwrap(), at(price).0), (desk.now, &config));
        }
        Step::Bust(back) => {
            if let Some(index) = twin.fills.len().checked_sub(back + 1) {
                let before = twin.position();
                let Fill { order_id, number, qty, price } = twin.fills.remove(index);
                let side = if qty > 0 { Side::Buy } else { Side::Sell };
                desk.bust((order_id, number), side, qty.unsigned_abs(), price);
                said = twin.moved(before, (desk.now, &config));
            }
        }
        Step::Others(has) => desk.has_others = has,
        Step::Wait(span) => desk.now += span,
        Step::Answer(what, qty) => said = answer(desk, twin, (what, qty), intents),
    }
    assert_eq!(desk.actions(), said, "{step:?}");
    let (expected, wanted) = twin.event(&config, desk);
    let found = desk.event();
    assert_eq!((desk.actions(), &found), (expected, &wanted), "{step:?}");
    intents.extend(found);
}

/// The risk gate or the venue says something of the exit that is under way.
fn answer(desk: &mut Desk, twin: &mut Twin, (what, qty): (u8, u64), intents: &[OrderIntent]) -> Vec<HeldAction> {
    let (Some(id), Some(intent @ OrderIntent::New(order))) = (twin.exit, intents.last().copied()) else {
        return vec![];
    };
    if id == 0 {
        if what == 0 {
            desk.held.on_denied(0, &intent, ReasonCode::OrderRateLimit, EpochNanos(desk.now));
            (twin.exit, twin.not_before) = (None, desk.now + config().retry_pause.0);
        } else {
            twin.exit = Some(desk.approve(&intent));
        }
        return vec![];
    }
    let rejected = (ExecutionKind::Rejected, order.qty.0, 0);
    match what {
        0 => {
            desk.report(id, order.side, rejected, 0);
            (twin.exit, twin.not_before) = (None, desk.now + config().retry_pause.0);
            vec![]
        }
        1 => {
            desk.report(id, order.side, (ExecutionKind::Canceled, order.qty.0, 0), 0);
            twin.exit = None;
            vec![]
        }
        2 => {
            desk.report(id, order.side, (ExecutionKind::Accepted, order.qty.0, order.qty.0), 0);
            vec![]
        }
        _ => {
            let qty = qty.min(order.qty.0);
            let price = order.price.0 / TICK;
            desk.next_match = twin.last_number + 1;
            desk.report(id, order.side, (ExecutionKind::Filled, qty, order.qty.0 - qty), price);
            let signed = i64::try_from(qty).unwrap() * if order.side == Side::Buy { 1 } else { -1 };
            let said = twin.fill(id, (signed, order.price.0), (desk.now, &config()));
            if qty < order.qty.0 {
                desk.report(id, order.side, (ExecutionKind::Canceled, order.qty.0 - qty, 0), price);
            }
            twin.exit = None;
            said
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_stage_says_what_its_slow_twin_says(steps in prop::collection::vec(step(), 1..120)) {
        let (mut desk, mut twin, mut intents) = (Desk::new(config()), Twin::default(), vec![]);
        for step in &steps {
            play(&mut desk, &mut twin, step, &mut intents);
            prop_assert_eq!(desk.held.is_blocking(0, EpochNanos(desk.now)), twin.has_fired || desk.now < twin.aside_until);
        }
    }
}

#[test]
fn the_random_streams_fire_both_ways() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut exits, sequences) = (BTreeMap::<Side, usize>::new(), prop::collection::vec(step(), 120..121));
    for _ in 0..100 {
        let (mut desk, mut twin, mut intents) = (Desk::new(config()), Twin::default(), vec![]);
        for step in &sequences.new_tree(&mut runner).unwrap().current() {
            play(&mut desk, &mut twin, step, &mut intents);
        }
        for intent in intents {
            let OrderIntent::New(order) = intent else { unreachable!("exits alone") };
            *exits.entry(order.side).or_default() += 1;
        }
    }
    assert!(exits.values().all(|count| *count > 100) && exits.len() == 2, "{exits:?}");
}
