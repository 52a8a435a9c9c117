//! What a generated session is like beside the real hour (`real_flow.rs`): the message mix of a whole market, what order
//! flow says about the next move, and that recording the truth changes nothing.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at the types it is about")]

use peregrine_generate::{GeneratorConfig, LeaderProfile, Session, SessionHours, TruthRecord};
use peregrine_wire::itch50::{Message, MessageType as T, parse};

const SECOND: u64 = 1_000_000_000;
const OPEN: u64 = 34_200 * SECOND;

#[test]
fn a_market_has_the_message_mix_of_a_real_day() {
    let mut config = GeneratorConfig::demo(4);
    (config.symbol_count, config.message_count) = (100, 250_000);
    let mut session = Session::new(config).unwrap();
    session.for_each_message(|_, _| {});
    let report = session.report();
    let percent = |kinds: &[T]| {
        100.0 * kinds.iter().map(|&kind| report.count_of(kind)).sum::<u64>() as f64 / report.message_count() as f64
    };
    for (name, kinds, low, high) in [
        ("adds", &[T::AddOrder, T::AddOrderMpid][..], 44.0, 50.0),
        ("deletes", &[T::OrderDelete], 40.0, 46.0),
        ("executions", &[T::OrderExecuted, T::OrderExecutedWithPrice], 3.5, 9.0),
        ("trades", &[T::TradeNonCross], 1.7, 3.0),
        ("replaces", &[T::OrderReplace], 2.8, 4.4),
        ("partial cancels", &[T::OrderCancel], 0.3, 0.8),
    ] {
        let share = percent(kinds);
        assert!(share >= low && share <= high, "{name}: {share:.2} %, not {low} to {high}");
    }
}

/// Correlation of order-flow pressure (signed shares added, executed and deleted at the best prices would do; here the
/// signed executions and additions of a second) with the move of the middle over the next five seconds.
fn predictive_power(seed: u64, informed_fraction: f64) -> f64 {
    let mut config = GeneratorConfig::demo(seed);
    config.hours = SessionHours::short(60);
    (config.symbol_count, config.message_count) = (4, 210_000);
    (config.halt_count, config.operational_halt_count, config.has_rare_messages) = (0, 0, false);
    config.informed_fraction = informed_fraction;
    config.leader = Some(LeaderProfile { price_ticks: 58_500, spread_ticks: 20.0 });
    let mut session = Session::new(config).unwrap();
    let leader = session.symbols().iter().find(|profile| profile.rank == 0).unwrap().clone();
    let (mut signed, mut middles) = (vec![0.0; 3_600], vec![0.0; 3_600]);
    let mut book = Book::default();
    session.for_each_message(|_, bytes| {
        let message = parse(bytes).unwrap();
        let header = message.header().unwrap();
        if header.stock_locate.get() != leader.locate {
            return;
        }
        let pressure = book.apply(&message);
        if let Some(second) = header.timestamp.get().checked_sub(OPEN).map(|ns| (ns / SECOND) as usize)
            && second < 3_600
        {
            signed[second] += pressure;
            middles[second] = book.middle();
        }
    });
    for second in 1..middles.len() {
        if middles[second] == 0.0 {
            middles[second] = middles[second - 1];
        }
    }
    let pairs: Vec<_> = (5..3_590).map(|at| (signed[at].clamp(-5.0, 5.0), middles[at + 5] - middles[at])).collect();
    correlation(&pairs)
}

/// Signed executions (+1 when an offer is taken) and the middle.
#[derive(Default)]
struct Book {
    orders: std::collections::BTreeMap<u64, (bool, u32, u32)>,
    sides: [std::collections::BTreeMap<u32, u32>; 2],
}

impl Book {
    fn apply(&mut self, message: &Message<'_>) -> f64 {
        match message {
            Message::AddOrder(add) => {
                self.add(add.order_ref.get(), (add.side == b'B', add.price.get(), add.shares.get()));
                0.0
            }
            Message::AddOrderMpid(add) => {
                self.add(add.order_ref.get(), (add.side == b'B', add.price.get(), add.shares.get()));
                0.0
            }
            Message::OrderExecuted(fill) => {
                let (is_buy, ..) = self.orders[&fill.order_ref.get()];
                self.reduce(fill.order_ref.get(), fill.executed_shares.get());
                if is_buy { -1.0 } else { 1.0 }
            }
            Message::OrderExecutedWithPrice(fill) => self.reduce(fill.order_ref.get(), fill.executed_shares.get()),
            Message::OrderCancel(cancel) => self.reduce(cancel.order_ref.get(), cancel.cancelled_shares.get()),
            Message::OrderDelete(delete) => self.reduce(delete.order_ref.get(), u32::MAX),
            Message::OrderReplace(replace) => {
                let (is_buy, ..) = self.orders[&replace.original_order_ref.get()];
                self.reduce(replace.original_order_ref.get(), u32::MAX);
                self.add(replace.new_order_ref.get(), (is_buy, replace.price.get(), replace.shares.get()));
                0.0
            }
            other => f64::from(u8::from(other.header().is_none())),
        }
    }

    fn add(&mut self, reference: u64, order: (bool, u32, u32)) {
        *self.sides[usize::from(order.0)].entry(order.1).or_default() += order.2;
        self.orders.insert(reference, order);
    }

    fn reduce(&mut self, reference: u64, qty: u32) -> f64 {
        let (is_buy, price, left) = self.orders.get_mut(&reference).unwrap();
        let taken = qty.min(*left);
        *left -= taken;
        let side = &mut self.sides[usize::from(*is_buy)];
        let level = side.get_mut(price).unwrap();
        *level -= taken;
        if *level == 0 {
            side.remove(price);
        }
        if *left == 0 {
            self.orders.remove(&reference);
        }
        0.0
    }

    fn middle(&self) -> f64 {
        let bid = self.sides[1].last_key_value().map_or(0, |(&price, _)| price);
        let ask = self.sides[0].first_key_value().map_or(bid, |(&price, _)| price);
        (f64::from(bid) + f64::from(ask)) / 2.0
    }
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    let (mean_x, mean_y) =
        (pairs.iter().map(|p| p.0).sum::<f64>() / count, pairs.iter().map(|p| p.1).sum::<f64>() / count);
    let sum = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|&(x, y)| f(x - mean_x, y - mean_y)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[test]
fn order_flow_predicts_the_next_move_only_as_far_as_it_is_informed() {
    let mean = |informed: f64| (6..12).map(|seed| predictive_power(seed, informed)).sum::<f64>() / 6.0;
    let (informed, blind) = (mean(0.5), mean(0.0));
    eprintln!(
        "correlation of signed executions with the next five seconds' move: informed {informed:.3}, blind {blind:.3}"
    );
    assert!(informed > 0.05, "informed flow predicts too little: {informed}");
    assert!(informed < 0.5, "informed flow predicts too much to be true: {informed}");
    assert!(blind < informed / 2.0, "blind flow predicts as well: {blind}");
}

#[test]
fn the_truth_is_recorded_without_changing_a_byte() {
    let mut config = GeneratorConfig::every_type(8, 6, 6_000);
    let mut plain = Vec::new();
    Session::new(config.clone()).unwrap().for_each_message(|_, message| plain.extend_from_slice(message));
    config.is_truth_recorded = true;
    let mut session = Session::new(config).unwrap();
    let (mut watched, mut records) = (Vec::new(), Vec::<TruthRecord>::new());
    while let Some((_, message)) = session.next_message() {
        watched.extend_from_slice(message);
        session.drain_truth(&mut |record: &TruthRecord| records.push(*record));
    }
    assert!(plain == watched);
    assert!(records.len() > 1_000 && records.windows(2).all(|pair| pair[0].time <= pair[1].time));
    assert!(records.iter().all(|record| record.pressure.abs() <= 2.0 && record.fair_value.0 > 0));
}
