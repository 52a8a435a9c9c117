//! Every limit at limit − 1, limit and limit + 1; every reason; every overflow.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use peregrine_risk::{
    ApprovedOrder, ExecutionEffect, InstrumentRules, LimitsConfig, MATCHES_REMEMBERED, RiskContext, RiskGate,
    TradingMode,
};
use peregrine_types::{
    BookState, EpochNanos, EventSeq, Execution, ExecutionKind, Level, Liquidity, MatchNumber, Nanos, NewOrder,
    Notional, OrderCommand, OrderId, OrderIntent, Position, Price, Qty, ReasonCode, Side, SymbolId, TimeInForce,
    TopOfBook,
};

const ONE: i64 = 1_000_000_000;
const CENT: i64 = ONE / 100;
const A: SymbolId = SymbolId(0);
const B: SymbolId = SymbolId(1);

fn limits() -> LimitsConfig {
    LimitsConfig {
        order_qty_max: Some(Qty(100)),
        order_notional_max: Some(Notional(20_000 * i128::from(ONE))),
        price_collar_bps: Some(500),
        position_qty_max: Some(Qty(300)),
        gross_notional_max: Some(Notional(1_000_000 * i128::from(ONE))),
        open_orders_max: Some(4),
        order_rate_max: Some(100),
        order_rate_window: Some(Nanos(1_000)),
        duplicate_window: Some(Nanos(10)),
        data_age_max: Some(Nanos(50)),
    }
}

fn gate(config: &LimitsConfig) -> RiskGate {
    let mut gate = RiskGate::new(&config.validate().unwrap(), 3);
    assert!(gate.permit(A, Some(InstrumentRules::US_EQUITY)));
    assert!(gate.permit(B, Some(InstrumentRules::US_EQUITY)));
    gate
}

fn level(price: i64) -> Option<Level> {
    Some(Level { price: Price(price), qty: Qty(1), order_count: 1 })
}

fn good() -> RiskContext {
    RiskContext {
        book_state: BookState::GOOD,
        reference_price: Some(Price(100 * ONE)),
        top: TopOfBook { bid: level(99 * ONE), ask: level(101 * ONE) },
        data_time: EpochNanos(0),
        is_input_finite: true,
    }
}

fn order(side: Side, price: i64, qty: u64) -> NewOrder {
    NewOrder {
        symbol: A,
        side,
        price: Price(price),
        qty: Qty(qty),
        time_in_force: TimeInForce::Day,
        is_post_only: false,
    }
}

fn send(gate: &mut RiskGate, order: NewOrder, now: i64) -> Result<OrderId, ReasonCode> {
    let context = RiskContext { data_time: EpochNanos(now), ..good() };
    let approved = gate.check(&OrderIntent::New(order), &context, EventSeq(1), EpochNanos(now))?;
    Ok(approved.command().order_id())
}

fn buy(gate: &mut RiskGate, price: i64, qty: u64) -> Result<OrderId, ReasonCode> {
    send(gate, order(Side::Buy, price, qty), 0)
}

fn report(kind: ExecutionKind, id: OrderId, side: Side, qty: u64, match_number: u64) -> Execution {
    Execution {
        order_id: id,
        symbol: A,
        side,
        kind,
        liquidity: Liquidity::Added,
        reason: ReasonCode::None,
        price: Price(100 * ONE),
        qty: Qty(qty),
        leaves_qty: Qty(0),
        match_number: MatchNumber(match_number),
        venue_time: EpochNanos(0),
        visible_time: EpochNanos(0),
        fee: Notional(0),
    }
}

#[test]
fn quantity() {
    let mut gate = gate(&limits());
    assert_eq!(buy(&mut gate, 100 * ONE, 0), Err(ReasonCode::QtyZero));
    assert_eq!(buy(&mut gate, 100 * ONE, 99), Ok(OrderId(1)));
    assert_eq!(buy(&mut gate, 100 * ONE, 100), Ok(OrderId(2)));
    assert_eq!(buy(&mut gate, 100 * ONE, 101), Err(ReasonCode::OrderQtyLimit));
    assert_eq!(buy(&mut gate, 100 * ONE, u64::MAX), Err(ReasonCode::OrderQtyLimit));
    assert_eq!(gate.denied_count(ReasonCode::OrderQtyLimit), 2);
    assert_eq!((gate.approved_count(), gate.open_qty(A, Side::Buy)), (2, Qty(199)));
}

#[test]
fn notional() {
    let config = LimitsConfig { order_notional_max: Some(Notional(i128::from(9_900 * ONE))), ..limits() };
    assert!(buy(&mut gate(&config), 99 * ONE, 99).is_ok());
    assert!(buy(&mut gate(&config), 99 * ONE, 100).is_ok());
    assert_eq!(buy(&mut gate(&config), 99 * ONE + CENT, 100), Err(ReasonCode::OrderNotionalLimit));
    let sell = order(Side::Sell, 99 * ONE, 100);
    assert_eq!(
        send(&mut gate(&config), sell, 0),
        Err(ReasonCode::OrderNotionalLimit),
        "a sell may execute at the reference price"
    );
}

#[test]
fn price_and_tick() {
    let mut gate = gate(&limits());
    for price in [0, -CENT, i64::MIN, 100 * ONE + 1, 100 * ONE + CENT / 100] {
        assert_eq!(buy(&mut gate, price, 1), Err(ReasonCode::PriceInvalid), "{price}");
    }
}

#[test]
fn collar() {
    for (price, verdict) in [
        (105 * ONE - CENT, Ok(OrderId(1))),
        (105 * ONE, Ok(OrderId(1))),
        (105 * ONE + CENT, Err(ReasonCode::PriceCollar)),
        (95 * ONE + CENT, Ok(OrderId(1))),
        (95 * ONE, Ok(OrderId(1))),
        (95 * ONE - CENT, Err(ReasonCode::PriceCollar)),
        (i64::MAX - i64::MAX % CENT, Err(ReasonCode::PriceCollar)),
    ] {
        assert_eq!(buy(&mut gate(&limits()), price, 1), verdict, "{price}");
    }
    for reference in [None, Some(Price(0)), Some(Price(-1)), Some(Price(i64::MIN))] {
        let context = RiskContext { reference_price: reference, ..good() };
        let intent = OrderIntent::New(order(Side::Buy, 100 * ONE, 1));
        let verdict = gate(&limits()).check(&intent, &context, EventSeq(0), EpochNanos(0));
        assert_eq!(verdict, Err(ReasonCode::ReferencePriceMissing));
    }
}

#[test]
fn position_counts_every_open_order_as_filled() {
    let mut gate = gate(&limits());
    for id in 1..=2 {
        assert_eq!(buy(&mut gate, 100 * ONE + id * CENT, 100), Ok(OrderId(id.unsigned_abs())));
    }
    gate.on_execution(&report(ExecutionKind::Filled, OrderId(1), Side::Buy, 100, 1));
    assert_eq!(gate.position(A), Position(100));
    assert_eq!(buy(&mut gate, 100 * ONE, 99), Ok(OrderId(3)));
    assert_eq!(buy(&mut gate, 100 * ONE, 2), Err(ReasonCode::PositionLimit));
    assert_eq!(buy(&mut gate, 100 * ONE, 1), Ok(OrderId(4)));
    let mut short = self::gate(&LimitsConfig { position_qty_max: Some(Qty(100)), ..limits() });
    assert!(send(&mut short, order(Side::Sell, 100 * ONE, 99), 0).is_ok());
    assert_eq!(send(&mut short, order(Side::Sell, 100 * ONE, 2), 0), Err(ReasonCode::PositionLimit));
    assert!(send(&mut short, order(Side::Sell, 100 * ONE, 1), 0).is_ok());
}

#[test]
fn gross_exposure_over_symbols() {
    let config = LimitsConfig { gross_notional_max: Some(Notional(20_000 * i128::from(ONE))), ..limits() };
    let mut gate = gate(&config);
    assert!(buy(&mut gate, 100 * ONE, 100).is_ok());
    let other = |qty| NewOrder { symbol: B, ..order(Side::Buy, 100 * ONE, qty) };
    assert!(send(&mut gate, other(99), 0).is_ok());
    assert_eq!(send(&mut gate, other(2), 0), Err(ReasonCode::GrossExposureLimit));
    assert!(send(&mut gate, other(1), 0).is_ok());
    assert_eq!(gate.gross_exposure(), Notional(20_000 * i128::from(ONE)));
    gate.on_execution(&report(ExecutionKind::Filled, OrderId(1), Side::Buy, 100, 1));
    assert_eq!(gate.gross_exposure(), Notional(20_000 * i128::from(ONE)));
    let close = order(Side::Sell, 100 * ONE + CENT, 99);
    assert!(send(&mut gate, close, 0).is_ok(), "the way back is open at the limit");
}

#[test]
fn open_orders() {
    let mut gate = gate(&limits());
    for id in 1..=4 {
        assert!(buy(&mut gate, 100 * ONE, id).is_ok());
    }
    assert_eq!(buy(&mut gate, 100 * ONE, 9), Err(ReasonCode::OpenOrdersLimit));
    gate.on_execution(&report(ExecutionKind::Canceled, OrderId(2), Side::Buy, 2, 0));
    assert_eq!(buy(&mut gate, 100 * ONE, 9), Ok(OrderId(5)));
    assert_eq!(gate.open_order_count(), 4);
    assert_eq!(gate.open_orders(A, Side::Buy).map(|id| id.0).collect::<Vec<_>>(), [5, 4, 3, 1]);
}

#[test]
fn message_rate_counts_cancels_but_never_stops_them() {
    let mut gate = gate(&LimitsConfig { order_rate_max: Some(3), ..limits() });
    assert!(send(&mut gate, order(Side::Buy, 100 * ONE, 1), 0).is_ok());
    assert!(send(&mut gate, order(Side::Buy, 100 * ONE, 2), 500).is_ok());
    let cancel = OrderIntent::Cancel { order_id: OrderId(1), symbol: A };
    assert!(gate.check(&cancel, &good(), EventSeq(0), EpochNanos(600)).is_ok());
    assert_eq!(send(&mut gate, order(Side::Buy, 100 * ONE, 3), 999), Err(ReasonCode::OrderRateLimit));
    let second = OrderIntent::Cancel { order_id: OrderId(2), symbol: A };
    assert!(gate.check(&second, &good(), EventSeq(0), EpochNanos(999)).is_ok());
    assert_eq!(send(&mut gate, order(Side::Buy, 100 * ONE, 3), 1_499), Err(ReasonCode::OrderRateLimit));
    assert!(send(&mut gate, order(Side::Buy, 100 * ONE, 3), 1_500).is_ok());
}

#[test]
fn duplicates_within_the_window() {
    let mut gate = gate(&limits());
    let same = order(Side::Buy, 100 * ONE, 5);
    assert!(send(&mut gate, same, 0).is_ok());
    assert!(send(&mut gate, order(Side::Buy, 100 * ONE, 6), 3).is_ok());
    assert_eq!(send(&mut gate, same, 9), Err(ReasonCode::DuplicateOrder));
    assert!(send(&mut gate, NewOrder { symbol: B, ..same }, 9).is_ok());
    assert!(send(&mut gate, same, 10).is_ok());
}

#[test]
fn permission() {
    let mut gate = gate(&limits());
    assert!(!gate.permit(SymbolId(3), Some(InstrumentRules::US_EQUITY)));
    for symbol in [SymbolId(2), SymbolId(3), SymbolId::MARKET] {
        let order = NewOrder { symbol, ..order(Side::Buy, 100 * ONE, 1) };
        assert_eq!(send(&mut gate, order, 0), Err(ReasonCode::SymbolNotPermitted));
    }
    gate.permit(A, None);
    assert_eq!(buy(&mut gate, 100 * ONE, 1), Err(ReasonCode::SymbolNotPermitted));
}

#[test]
fn market_state_and_age() {
    let verdict = |change: fn(&mut RiskContext), now: i64| {
        let mut context = good();
        change(&mut context);
        let intent = OrderIntent::New(order(Side::Buy, 100 * ONE, 1));
        gate(&limits()).check(&intent, &context, EventSeq(0), EpochNanos(now)).map(|_| ())
    };
    assert_eq!(verdict(|_| {}, 49), Ok(()));
    assert_eq!(verdict(|_| {}, 50), Ok(()));
    assert_eq!(verdict(|_| {}, 51), Err(ReasonCode::DataStale));
    assert_eq!(verdict(|_| {}, -1), Err(ReasonCode::DataStale), "data from the future");
    assert_eq!(verdict(|context| context.data_time = EpochNanos::MIN, 0), Err(ReasonCode::DataStale));
    assert_eq!(verdict(|context| context.is_input_finite = false, 0), Err(ReasonCode::NonFiniteInput));
    assert_eq!(verdict(|context| context.book_state = BookState::STALE, 0), Err(ReasonCode::BookStale));
    assert_eq!(verdict(|context| context.book_state = BookState::HALTED, 0), Err(ReasonCode::MarketHalted));
    assert_eq!(verdict(|context| context.book_state = BookState::QUARANTINED, 0), Err(ReasonCode::BookQuarantined));
    assert_eq!(verdict(|context| context.book_state = BookState::CROSSED, 0), Err(ReasonCode::BookCrossed));
    assert_eq!(verdict(|context| context.book_state = BookState::LOCKED, 0), Err(ReasonCode::BookCrossed));
    assert_eq!(verdict(|context| context.top.ask = level(99 * ONE), 0), Err(ReasonCode::BookCrossed));
    assert_eq!(verdict(|context| context.top.ask = level(98 * ONE), 0), Err(ReasonCode::BookCrossed));
    assert_eq!(verdict(|context| context.book_state = BookState::ONE_SIDED, 0), Ok(()));
}

#[test]
fn own_orders_do_not_meet() {
    let mut gate = gate(&limits());
    assert!(send(&mut gate, order(Side::Sell, 101 * ONE, 1), 0).is_ok());
    assert!(send(&mut gate, order(Side::Sell, 102 * ONE, 1), 0).is_ok());
    assert!(buy(&mut gate, 101 * ONE - CENT, 1).is_ok());
    assert_eq!(buy(&mut gate, 101 * ONE, 1), Err(ReasonCode::SelfTrade));
    assert_eq!(buy(&mut gate, 101 * ONE + CENT, 1), Err(ReasonCode::SelfTrade));
    let below = order(Side::Sell, 101 * ONE - CENT, 1);
    assert_eq!(send(&mut gate, below, 0), Err(ReasonCode::SelfTrade));
}

#[test]
fn modes() {
    let mut gate = gate(&limits());
    assert!(buy(&mut gate, 100 * ONE, 100).is_ok());
    gate.on_execution(&report(ExecutionKind::Filled, OrderId(1), Side::Buy, 100, 1));
    gate.set_mode(TradingMode::Reducing);
    assert_eq!(buy(&mut gate, 100 * ONE, 1), Err(ReasonCode::TradingHalted));
    assert!(send(&mut gate, order(Side::Sell, 100 * ONE, 99), 0).is_ok());
    assert_eq!(send(&mut gate, order(Side::Sell, 100 * ONE, 2), 0), Err(ReasonCode::TradingHalted));
    assert!(send(&mut gate, order(Side::Sell, 100 * ONE, 1), 0).is_ok());
    gate.set_mode(TradingMode::Halted);
    assert_eq!(send(&mut gate, order(Side::Sell, 100 * ONE, 1), 20), Err(ReasonCode::TradingHalted));
    let cancel = OrderIntent::Cancel { order_id: OrderId(2), symbol: A };
    assert!(gate.check(&cancel, &good(), EventSeq(0), EpochNanos(20)).is_ok(), "cancels always pass");
    assert_eq!(gate.mode(), TradingMode::Halted);
}

#[test]
fn cancels() {
    let mut gate = gate(&limits());
    assert!(buy(&mut gate, 100 * ONE, 10).is_ok());
    let cancel = |gate: &mut RiskGate, id, symbol| {
        let intent = OrderIntent::Cancel { order_id: OrderId(id), symbol };
        gate.check(&intent, &good(), EventSeq(7), EpochNanos(5))
    };
    assert_eq!(cancel(&mut gate, 0, A), Err(ReasonCode::UnknownOrder));
    assert_eq!(cancel(&mut gate, 2, A), Err(ReasonCode::UnknownOrder));
    assert_eq!(cancel(&mut gate, 1, B), Err(ReasonCode::UnknownOrder));
    let approved = cancel(&mut gate, 1, A).unwrap();
    let command = OrderCommand::Cancel {
        order_id: OrderId(1),
        replacement: OrderId(0),
        symbol: A,
        cause: EventSeq(7),
        decision_time: EpochNanos(5),
    };
    assert_eq!(*approved.command(), command);
    assert_eq!(cancel(&mut gate, 1, A), Err(ReasonCode::DuplicateOrder));
    assert_eq!(gate.open_qty(A, Side::Buy), Qty(10), "open until the venue says otherwise");
    gate.revoke(approved);
    let _second = cancel(&mut gate, 1, A).unwrap();
    gate.on_execution(&report(ExecutionKind::CancelRejected, OrderId(1), Side::Buy, 0, 0));
    assert!(cancel(&mut gate, 1, A).is_ok());
}

#[test]
fn executions_are_counted_once_whatever_their_order() {
    let mut gate = gate(&limits());
    let id = buy(&mut gate, 100 * ONE, 100).unwrap();
    let fill = report(ExecutionKind::Filled, id, Side::Buy, 30, 5);
    assert_eq!(gate.on_execution(&report(ExecutionKind::Accepted, id, Side::Buy, 100, 0)), ExecutionEffect::Applied);
    assert_eq!(gate.on_execution(&fill), ExecutionEffect::Applied);
    assert_eq!(gate.on_execution(&fill), ExecutionEffect::Repeated);
    assert_eq!((gate.position(A), gate.leaves_qty(id)), (Position(30), Some(Qty(70))));
    let canceled = report(ExecutionKind::Canceled, id, Side::Buy, 50, 0);
    assert_eq!(gate.on_execution(&canceled), ExecutionEffect::Applied);
    assert_eq!(gate.on_execution(&canceled), ExecutionEffect::Repeated);
    assert_eq!(gate.open_qty(A, Side::Buy), Qty(20), "a fill of 20 is still on its way");
    let late = report(ExecutionKind::Filled, id, Side::Buy, 20, 6);
    assert_eq!(gate.on_execution(&late), ExecutionEffect::Applied);
    assert_eq!((gate.leaves_qty(id), gate.open_qty(A, Side::Buy)), (None, Qty(0)));
    assert_eq!(gate.on_execution(&fill), ExecutionEffect::Repeated);
    let ghost = report(ExecutionKind::Filled, id, Side::Buy, 1, 7);
    assert_eq!(gate.on_execution(&ghost), ExecutionEffect::Unexpected);
    assert_eq!(gate.position(A), Position(51), "what was traded is held, expected or not");
    for kind in [ExecutionKind::Accepted, ExecutionKind::Rejected, ExecutionKind::CancelRejected] {
        assert_eq!(gate.on_execution(&report(kind, id, Side::Buy, 1, 0)), ExecutionEffect::Repeated);
    }
}

/// Money is counted where the venue says that it is; an order that it does not fit stays open in full.
#[test]
fn a_fill_of_another_symbol_or_side_is_counted_and_leaves_the_order_alone() {
    let mut gate = gate(&limits());
    let id = buy(&mut gate, 100 * ONE, 100).unwrap();
    let other_symbol = Execution { symbol: B, ..report(ExecutionKind::Filled, id, Side::Buy, 30, 5) };
    assert_eq!(gate.on_execution(&other_symbol), ExecutionEffect::Unexpected);
    assert_eq!((gate.position(A), gate.position(B)), (Position(0), Position(30)));
    assert_eq!(gate.on_execution(&report(ExecutionKind::Filled, id, Side::Sell, 30, 6)), ExecutionEffect::Unexpected);
    assert_eq!((gate.position(A), gate.leaves_qty(id)), (Position(-30), Some(Qty(100))));
    let rejected = report(ExecutionKind::Rejected, id, Side::Buy, 100, 0);
    assert_eq!(gate.on_execution(&rejected), ExecutionEffect::Applied, "the order itself was never filled");
    assert_eq!(gate.open_order_count(), 0);
}

#[test]
fn a_rejected_and_a_revoked_order_are_not_open() {
    let mut gate = gate(&limits());
    let id = buy(&mut gate, 100 * ONE, 100).unwrap();
    assert_eq!(gate.on_execution(&report(ExecutionKind::Rejected, id, Side::Buy, 100, 0)), ExecutionEffect::Applied);
    assert_eq!((gate.open_order_count(), gate.gross_exposure()), (0, Notional(0)));
    let intent = OrderIntent::New(order(Side::Buy, 100 * ONE, 7));
    let approved: ApprovedOrder = gate.check(&intent, &good(), EventSeq(0), EpochNanos(20)).unwrap();
    assert_ne!(gate.gross_exposure(), Notional(0));
    gate.revoke(approved);
    assert_eq!((gate.open_order_count(), gate.gross_exposure()), (0, Notional(0)));
    let id = buy(&mut gate, 100 * ONE, 10).unwrap();
    gate.on_execution(&report(ExecutionKind::Filled, id, Side::Buy, 1, 1));
    let rejected = report(ExecutionKind::Rejected, id, Side::Buy, 9, 0);
    assert_eq!(gate.on_execution(&rejected), ExecutionEffect::Unexpected, "it lived: it stays counted");
    assert_eq!(gate.open_qty(A, Side::Buy), Qty(9));
}

#[test]
fn no_extreme_value_panics_or_passes() {
    let wide = LimitsConfig {
        order_qty_max: Some(Qty(i64::MAX.unsigned_abs())),
        order_notional_max: Some(Notional(i128::MAX)),
        price_collar_bps: Some(10_000),
        position_qty_max: Some(Qty(i64::MAX.unsigned_abs())),
        gross_notional_max: Some(Notional(i128::MAX)),
        order_rate_window: Some(Nanos(i64::MAX)),
        data_age_max: Some(Nanos(i64::MAX)),
        ..limits()
    };
    let extremes = [i64::MIN, i64::MIN + 1, -1, 0, 1, CENT, i64::MAX - i64::MAX % CENT, i64::MAX];
    let quantities = [0, 1, i64::MAX.unsigned_abs() - 1, i64::MAX.unsigned_abs(), 1 << 63, u64::MAX - 1, u64::MAX];
    for price in extremes {
        for reference in extremes {
            for qty in quantities {
                for side in Side::BOTH {
                    let mut gate = gate(&wide);
                    let context = RiskContext { reference_price: Some(Price(reference)), ..good() };
                    for now in [i64::MIN, 0, i64::MAX] {
                        let context = RiskContext { data_time: EpochNanos(now), ..context };
                        let intent = OrderIntent::New(order(side, price, qty));
                        let verdict = gate.check(&intent, &context, EventSeq(0), EpochNanos(now));
                        if let Ok(approved) = verdict {
                            assert!(price > 0 && reference > 0 && (1..=i64::MAX.unsigned_abs()).contains(&qty));
                            let id = approved.command().order_id();
                            for number in 1..4 {
                                gate.on_execution(&report(ExecutionKind::Filled, id, side, qty, number));
                            }
                        }
                    }
                }
            }
        }
    }
    let mut gate = gate(&wide);
    for number in 1..3 {
        gate.on_execution(&report(ExecutionKind::Filled, OrderId(9), Side::Buy, i64::MAX.unsigned_abs(), number));
    }
    assert_eq!(gate.mode(), TradingMode::Halted, "a position beyond its type stops everything");
}

#[test]
fn a_repeated_fill_is_recognised_among_the_last_65_536() {
    let mut gate = gate(&limits());
    let side = |number| if number % 3 == 0 { Side::Sell } else { Side::Buy };
    let mut fill = |number| gate.on_execution(&report(ExecutionKind::Filled, OrderId(9), side(number), 1, number));
    let count = MATCHES_REMEMBERED as u64;
    assert_eq!(count, 65_536);
    assert!((1..=count).all(|number| fill(number) == ExecutionEffect::Unexpected), "order 9 was never sent");
    assert!((1..=count).all(|number| fill(number) == ExecutionEffect::Repeated));
    assert_eq!(fill(count + 1), ExecutionEffect::Unexpected);
    assert!((2..=count + 1).all(|number| fill(number) == ExecutionEffect::Repeated));
    assert_eq!(fill(1), ExecutionEffect::Unexpected, "the bound: it was forgotten");
    assert_eq!(fill(2), ExecutionEffect::Unexpected, "number 1 took its place");
    let sells = (count + 1) / 3;
    let expected = count + 1 - 2 * sells + 2;
    assert_eq!(gate.position(A), Position(i64::try_from(expected).unwrap()), "no repeat within the bound was counted");
}
