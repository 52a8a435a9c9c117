//! What the gate costs: a check that approves, a check that denies, and a report of the venue.
//!
//! `cargo run --release -p peregrine-risk --example risk_speed`
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "an example for people at a terminal"
)]

use std::{hint::black_box, time::Instant};

use peregrine_risk::{ApprovedOrder, InstrumentRules, LimitsConfig, RiskContext, RiskGate};
use peregrine_types::{
    BookState, EpochNanos, EventSeq, Execution, ExecutionKind, Level, Liquidity, MatchNumber, Nanos, NewOrder,
    Notional, OrderIntent, Price, Qty, ReasonCode, Side, SymbolId, TimeInForce, TopOfBook,
};

const ONE: i64 = 1_000_000_000;
const BATCH_COUNT: u32 = 2_000;
const ORDERS_PER_BATCH: u32 = 256;
const SYMBOL_COUNT: u32 = 64;

fn gate() -> RiskGate {
    let limits = LimitsConfig {
        order_qty_max: Some(Qty(1_000)),
        order_notional_max: Some(Notional(1_000_000 * i128::from(ONE))),
        price_collar_bps: Some(500),
        position_qty_max: Some(Qty(1 << 40)),
        gross_notional_max: Some(Notional(i128::from(ONE) << 60)),
        open_orders_max: Some(ORDERS_PER_BATCH),
        order_rate_max: Some(1_000),
        order_rate_window: Some(Nanos(ONE)),
        duplicate_window: Some(Nanos(1_000_000)),
        data_age_max: Some(Nanos(ONE)),
    };
    let mut gate = RiskGate::new(&limits.validate().expect("complete"), SYMBOL_COUNT);
    for symbol in 0..SYMBOL_COUNT {
        assert!(gate.permit(SymbolId(symbol), Some(InstrumentRules::US_EQUITY)));
    }
    gate
}

fn context(now: EpochNanos) -> RiskContext {
    let level = |price| Some(Level { price: Price(price), qty: Qty(100), order_count: 1 });
    RiskContext {
        book_state: BookState::GOOD,
        reference_price: Some(Price(100 * ONE)),
        top: TopOfBook { bid: level(99 * ONE), ask: level(101 * ONE) },
        data_time: now,
        is_input_finite: true,
    }
}

fn intent(number: u32) -> OrderIntent {
    OrderIntent::New(NewOrder {
        symbol: SymbolId(number % SYMBOL_COUNT),
        side: Side::Buy,
        price: Price(99 * ONE + i64::from(number % 50) * ONE / 100),
        qty: Qty(10),
        time_in_force: TimeInForce::Day,
        is_post_only: false,
    })
}

fn fill(order: &ApprovedOrder, match_number: u64, symbol: SymbolId) -> Execution {
    Execution {
        order_id: order.command().order_id(),
        symbol,
        side: Side::Buy,
        kind: ExecutionKind::Filled,
        price: Price(99 * ONE),
        qty: Qty(10),
        leaves_qty: Qty(0),
        match_number: MatchNumber(match_number),
        liquidity: Liquidity::Added,
        reason: ReasonCode::None,
        venue_time: EpochNanos(0),
        visible_time: EpochNanos(0),
        fee: Notional(0),
    }
}

fn show(name: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    println!("{name:<34} {:6.1} ns (least {:.1})", values[values.len() / 2], values[0]);
}

fn per_order(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / f64::from(ORDERS_PER_BATCH)
}

fn main() {
    let mut gate = gate();
    let (mut approvals, mut denials, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    let mut approved = Vec::with_capacity(ORDERS_PER_BATCH as usize);
    let (mut now, mut match_number) = (0, 0);
    for _ in 0..BATCH_COUNT {
        let intents: Vec<_> = (0..ORDERS_PER_BATCH).map(intent).collect();
        let start = Instant::now();
        for intent in &intents {
            now += 2_000_000;
            let time = EpochNanos(now);
            approved.push(gate.check(black_box(intent), &context(time), EventSeq(1), time).expect("within all limits"));
        }
        approvals.push(per_order(start));
        let start = Instant::now();
        for intent in &intents {
            let denied =
                gate.check(black_box(intent), &context(EpochNanos(now)), EventSeq(1), EpochNanos(now + 1_000_000));
            assert_eq!(denied.unwrap_err(), ReasonCode::OpenOrdersLimit);
        }
        denials.push(per_order(start));
        let start = Instant::now();
        for order in approved.drain(..) {
            match_number += 1;
            let symbol = order.command().symbol();
            black_box(gate.on_execution(&fill(&order, match_number, symbol)));
        }
        reports.push(per_order(start));
        assert_eq!(gate.open_order_count(), 0);
    }
    println!("{BATCH_COUNT} batches of {ORDERS_PER_BATCH} orders, {SYMBOL_COUNT} symbols");
    show("check of a new order, approved", approvals);
    show("check of a new order, denied", denials);
    show("report of a fill", reports);
}
