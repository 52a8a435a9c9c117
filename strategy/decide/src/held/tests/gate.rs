//! What the stage asks for is what the risk gate lets pass.

use peregrine_risk::{InstrumentRules, LimitsConfig, RiskContext, RiskGate};
use peregrine_types::EventSeq;

use super::*;

const DOLLAR: i128 = 1_000_000_000;

/// The limits of the shipped profiles, but for the value of one order.
fn gate(order_notional_max: i128) -> (RiskGate, HeldConfig) {
    let limits = LimitsConfig {
        order_qty_max: Some(Qty(1_000)),
        order_notional_max: Some(Notional(order_notional_max)),
        price_collar_bps: Some(500),
        position_qty_max: Some(Qty(2_000)),
        gross_notional_max: Some(Notional(50_000_000 * DOLLAR)),
        open_orders_max: Some(4_096),
        order_rate_max: Some(2_000),
        order_rate_window: Some(Nanos(1_000_000_000)),
        duplicate_window: Some(Nanos(1)),
        data_age_max: Some(Nanos(1_000_000_000)),
    };
    let mut gate = RiskGate::new(&limits.validate().unwrap(), 1);
    assert!(gate.permit(SYMBOL, Some(InstrumentRules::US_EQUITY)));
    let (order_qty_max, order_notional_max) = (Qty(1_000), Notional(order_notional_max));
    let limits = HeldLimits { order_qty_max, order_notional_max, price_collar_bps: 500 };
    (gate, HeldConfig { limits, ..config() })
}

/// Held orders whose every intent goes through the gate and is executed in full at its price.
struct Street {
    gate: RiskGate,
    desk: Desk,
    denied: Vec<ReasonCode>,
    approved: Vec<NewOrder>,
}

impl Street {
    fn new((gate, config): (RiskGate, HeldConfig)) -> Self {
        Self { gate, desk: Desk::new(config), denied: vec![], approved: vec![] }
    }

    fn hear(&mut self, id: u64, side: Side, what: (ExecutionKind, u64, u64), price: Price) {
        let report = Execution { price, ..execution(id, side, what, 0, self.desk.now) };
        self.gate.on_execution(&report);
        self.desk.held.on_execution((0, SYMBOL), &report, &self.desk.ticks);
        self.desk.drain();
    }

    fn quote(&mut self, bid: i64, ask: i64) {
        let intents = self.desk.quote(bid, ask);
        let level = |ticks| Some(Level { price: at(ticks), qty: Qty(500), order_count: 1 });
        let (top, now) = (TopOfBook { bid: level(bid), ask: level(ask) }, EpochNanos(self.desk.now));
        let context = RiskContext {
            book_state: BookState::GOOD,
            reference_price: top.reference_price(),
            top,
            data_time: now,
            is_input_finite: true,
        };
        for intent in intents {
            match self.gate.check(&intent, &context, EventSeq(1), now) {
                Ok(order) => {
                    let id = order.command().order_id();
                    self.desk.held.on_approved(0, &intent, id);
                    let OrderIntent::New(order) = intent else { continue };
                    self.approved.push(order);
                    self.hear(id.0, order.side, (ExecutionKind::Filled, order.qty.0, 0), order.price);
                }
                Err(reason) => {
                    self.denied.push(reason);
                    self.desk.held.on_denied(0, &intent, reason, now);
                }
            }
        }
    }

    fn sizes(&self) -> Vec<u64> {
        self.approved.iter().map(|order| order.qty.0).collect()
    }
}

/// 1,000 shares of $600: no order may be of more than $500,000, so that they leave in two.
#[test]
fn an_exit_of_more_than_an_order_may_be_worth_goes_out_in_parts_until_it_is_flat() {
    for (bought, exits, (bid, ask)) in
        [(Side::Buy, Side::Sell, (59_900, 59_902)), (Side::Sell, Side::Buy, (60_100, 60_102))]
    {
        let mut street = Street::new(gate(500_000 * DOLLAR));
        street.hear(1, bought, (ExecutionKind::Filled, 1_000, 0), at(60_000));
        for _ in 0..4 {
            street.quote(bid, ask);
        }
        assert_eq!((&street.denied, street.gate.position(SYMBOL)), (&vec![], Position::FLAT), "{:?}", street.approved);
        assert!(street.approved.iter().all(|order| order.side == exits), "{:?}", street.approved);
        assert_eq!(street.sizes(), if bought == Side::Buy { [834, 166] } else { [831, 169] });
        assert_eq!(street.desk.actions(), [HeldAction::Armed, HeldAction::StopFired, HeldAction::Done]);
    }
}

/// $20 and 150 ticks of slippage: 7.5 %, where the collar allows 5 % from the middle.
#[test]
fn an_exit_goes_no_further_than_the_collar() {
    for (bought, wanted, (bid, ask)) in [(Side::Buy, 1_891, (1_990, 1_991)), (Side::Sell, 2_109, (2_009, 2_010))] {
        let (gate, config) = gate(500_000 * DOLLAR);
        let mut street = Street::new((gate, HeldConfig { exit_slippage_ticks: 150, ..config }));
        street.hear(1, bought, (ExecutionKind::Filled, 300, 0), at(2_000));
        street.quote(bid, ask);
        assert_eq!((&street.denied, street.sizes()), (&vec![], vec![300]));
        assert_eq!((street.approved[0].price, street.gate.position(SYMBOL)), (at(wanted), Position::FLAT));
    }
    // More slippage than there is price.
    let (gate, config) = gate(500_000 * DOLLAR);
    let mut street = Street::new((gate, HeldConfig { exit_slippage_ticks: 10_000, ..config }));
    street.hear(1, Side::Buy, (ExecutionKind::Filled, 300, 0), at(2_000));
    street.quote(1_990, 1_991);
    assert_eq!((&street.denied, street.approved[0].price), (&vec![], at(1_891)));
}

#[test]
fn an_exit_that_no_order_can_make_is_told_once_and_goes_out_when_one_can() {
    use HeldAction as A;
    // One share is worth more than an order may be, until it is not.
    let mut street = Street::new(gate(590 * DOLLAR));
    street.hear(1, Side::Buy, (ExecutionKind::Filled, 2, 0), at(60_000));
    for _ in 0..50 {
        street.quote(59_900, 59_902);
    }
    assert_eq!(street.desk.actions(), [A::Armed, A::StopFired, A::BeyondLimits]);
    assert!(street.desk.held.is_blocking(0, EpochNanos(street.desk.now)));
    assert!(street.denied.is_empty() && street.approved.is_empty(), "{:?}", street.denied);
    street.quote(58_900, 58_902);
    street.quote(58_900, 58_902);
    assert_eq!((&street.denied, street.sizes(), street.desk.actions()), (&vec![], vec![1, 1], vec![A::Done]));
    // A bid beyond the collar is met by no exit that passes.
    let mut street = Street::new(gate(500_000 * DOLLAR));
    street.hear(1, Side::Buy, (ExecutionKind::Filled, 10, 0), at(2_000));
    for _ in 0..50 {
        street.quote(1_000, 2_000);
    }
    assert_eq!(street.desk.actions(), [A::Armed, A::StopFired, A::BeyondLimits]);
    street.quote(1_000, 1_010);
    assert_eq!((&street.denied, street.sizes(), street.desk.actions()), (&vec![], vec![10], vec![A::Done]));
}

/// A resting order of more than one order may be stands in parts, each of which the gate takes.
#[test]
fn a_resting_order_is_of_no_more_than_one_order_may_be() {
    let rest =
        RestOrder { qty: Qty(2_000), reprice_ticks: 1, reference: PegReference::Primary, ..RestOrder::default() };
    let mut street = Street::new(gate(500_000 * DOLLAR));
    street.desk.ask(HeldIntent::Rest(rest));
    for _ in 0..2 {
        street.quote(60_000, 60_002);
        // What was bought is sold again, so that the position's limit is not met.
        let bought = street.gate.position(SYMBOL).abs().0;
        street.hear(1, Side::Sell, (ExecutionKind::Filled, bought, 0), at(60_001));
    }
    street.quote(60_000, 60_002);
    assert_eq!((&street.denied, street.sizes()), (&vec![], vec![833, 833, 334]));
    assert!(street.desk.actions().contains(&HeldAction::Done));
}

/// Of a chain of replacements the limits count everything: where it has used them up another one begins.
#[test]
fn a_chain_that_has_executed_all_that_an_order_may_is_followed_by_another() {
    let rest = RestOrder { qty: Qty(250), reprice_ticks: 1, reference: PegReference::Primary, ..RestOrder::default() };
    let mut desk = Desk::new(config());
    desk.ask(HeldIntent::Rest(rest));
    let [first] = desk.quote(9_000, 9_002)[..] else { panic!("one order") };
    assert_eq!(first, resting(Side::Buy, 100, 9_000));
    let id = desk.approve(&first);
    desk.report(id, Side::Buy, (ExecutionKind::Accepted, 100, 100), 9_000);
    desk.report(id, Side::Buy, (ExecutionKind::Filled, 40, 60), 9_000);
    desk.held.on_denied(
        0,
        &OrderIntent::Cancel { order_id: OrderId(0), symbol: SYMBOL },
        ReasonCode::None,
        EpochNanos(0),
    );
    let [moved] = desk.quote(9_001, 9_003)[..] else { panic!("a replacement") };
    let total = |id: u64, price, qty| OrderIntent::Replace {
        order_id: OrderId(id),
        symbol: SYMBOL,
        price: at(price),
        qty: Qty(qty),
    };
    assert_eq!(moved, total(id, 9_001, 100), "40 are done, 60 stay open");
    let id = desk.approve(&moved);
    desk.report(id, Side::Buy, (ExecutionKind::Replaced, 60, 60), 9_001);
    assert_eq!(desk.event(), [], "the rest waits for its turn");
    desk.ask(HeldIntent::Rest(RestOrder { qty: Qty(300), ..rest }));
    assert_eq!(desk.event(), [], "no more fits an order");
    desk.ask(HeldIntent::Rest(RestOrder { qty: Qty(20), ..rest }));
    let [smaller] = desk.event()[..] else { panic!("a replacement") };
    assert_eq!(smaller, total(id, 9_001, 60));
}

/// A place beyond the collar is none: nothing stands there, and it is said once.
#[test]
fn a_resting_order_beyond_the_collar_waits() {
    let rest = RestOrder { qty: Qty(10), offset_ticks: 200, reprice_ticks: 1, ..RestOrder::default() };
    let mut street = Street::new(gate(500_000 * DOLLAR));
    street.desk.ask(HeldIntent::Rest(rest));
    for _ in 0..50 {
        street.quote(2_000, 2_002);
    }
    assert_eq!(street.desk.actions(), [HeldAction::Armed, HeldAction::BeyondLimits]);
    assert!(street.denied.is_empty() && street.approved.is_empty(), "{:?}", street.denied);
    street.quote(20_000, 20_002);
    assert_eq!((&street.denied, street.approved[0].price), (&vec![], at(19_801)));
}
