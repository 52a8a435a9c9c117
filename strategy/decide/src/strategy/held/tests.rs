//! What the strategy lets engine-held orders do, and when.

use peregrine_book::{BookConfig, NaiveBooks};
use peregrine_model::{Backend, FeatureSet, Kernel, Model, ModelMeta, Size};
use peregrine_types::{
    EpochNanos, EventKind, EventSeq, Liquidity, MarketEvent, MatchNumber, Nanos, Notional, OrderId, Price, Qty,
    ReasonCode, Side, TickTable, TickTables,
};

use super::*;
use crate::{
    DEFINITIONS, DecideConfig, HeldConfig, HeldIntent, HeldLimits, NoStopwatch, RestOrder, StrategyConfig, Watch,
    definition_hash_hex,
};

const TICK: i64 = 10_000_000;
const SYMBOL: SymbolId = SymbolId(0);

/// A controller that never asks for anything, and orders that the engine holds.
fn strategy() -> Strategy {
    let decide = DecideConfig {
        order_qty: Qty(100),
        target_position_qty: Qty(100),
        action_threshold: 1.0,
        action_hysteresis: 0.1,
        quote_offset_ticks: 0,
        quote_edge_ticks: None,
        requote_tolerance_ticks: 1,
        take_horizon_index: 0,
        take_margin_ticks: 1e6,
        fee_removed: Price(0),
        surprise_max: 1e6,
        regime_confidence_min: 0.0,
        withdraw_on: BookState::from_bits(0xff),
        min_decision_interval: Nanos::ZERO,
        use_replace: false,
        denied_backoff: Nanos::from_micros(5),
        feature_tick: Price(TICK),
    };
    let limits = HeldLimits {
        order_qty_max: Qty(100),
        order_notional_max: Notional(1_000_000_000_000_000),
        price_collar_bps: 500,
    };
    let config = StrategyConfig {
        decide,
        session_open: EpochNanos(0),
        session_close: EpochNanos(60_000_000_000),
        symbol_count_max: 4,
        watched_count_max: 1,
        watch: Watch::All,
        ticks: TickTables::new(TickTable::US_EQUITY),
        held: HeldConfig { is_for_controllers: true, limits, ..HeldConfig::OFF },
    };
    let names = DEFINITIONS.iter().map(|definition| definition.name.to_owned()).collect();
    let features = FeatureSet::unscaled(names, &definition_hash_hex());
    let model = Model::seeded(&ModelMeta::untrained(Size::Micro, 7, features)).unwrap();
    Strategy::new(config, model, Kernel::new(Backend::Scalar).unwrap()).unwrap()
}

struct Scene {
    strategy: Strategy,
    books: NaiveBooks,
    out: IntentBatch,
    now: i64,
}

impl Scene {
    fn new() -> Self {
        let strategy = strategy();
        let books = BookConfig {
            symbol_count_max: 4,
            order_count_max: 1_024,
            level_count_max: 1_024,
            is_unknown_state_tradable: true,
        };
        let out = strategy.intent_batch();
        Self { strategy, books: NaiveBooks::new(books).unwrap(), out, now: 0 }
    }

    fn add(&mut self, side: Side, ticks: i64) -> Vec<OrderIntent> {
        self.now += 1_000;
        let now = EpochNanos(self.now);
        let mut event = MarketEvent::new(EventKind::AddOrder, SYMBOL, now, now);
        (event.id_a, event.side) = (self.now.unsigned_abs(), side);
        (event.price, event.qty) = (Price(ticks * TICK), Qty(10));
        let update = self.books.apply(&event);
        let input = Input { seq: EventSeq(event.id_a), event: &event, update: &update };
        self.strategy.on_event(&input, &self.books, &mut NoStopwatch, &mut self.out);
        while self.strategy.take_held_change().is_some() {}
        self.out.as_slice().to_vec()
    }

    fn report(&mut self, id: u64, kind: ExecutionKind, leaves: u64) {
        let time = EpochNanos(self.now);
        self.strategy.on_execution(&Execution {
            order_id: OrderId(id),
            symbol: SYMBOL,
            side: Side::Buy,
            kind,
            liquidity: Liquidity::Added,
            reason: ReasonCode::None,
            price: Price(0),
            qty: Qty(0),
            leaves_qty: Qty(leaves),
            match_number: MatchNumber(0),
            venue_time: time,
            visible_time: time,
            fee: Notional::ZERO,
        });
    }
}

/// A number that is none blocks a symbol: what rests is withdrawn once, and does not come back with the next event.
#[test]
fn nothing_rests_in_a_symbol_that_is_blocked() {
    let mut scene = Scene::new();
    scene.add(Side::Sell, 10_010);
    scene.add(Side::Buy, 9_990);
    let rest = RestOrder { qty: Qty(30), reprice_ticks: 1, offset_ticks: 1, ..RestOrder::default() };
    scene.strategy.held.ask((0, SYMBOL), &HeldIntent::Rest(rest), &TickTable::US_EQUITY);
    let [first] = scene.add(Side::Buy, 9_980)[..] else { panic!("one order") };
    scene.strategy.on_approved(&first, OrderId(1));
    scene.report(1, ExecutionKind::Accepted, 30);
    let mut out = scene.strategy.intent_batch();
    scene.strategy.block(0, EpochNanos(scene.now), &mut out);
    let cancel = OrderIntent::Cancel { order_id: OrderId(1), symbol: SYMBOL };
    assert_eq!(scene.add(Side::Buy, 9_981), [cancel]);
    scene.report(1, ExecutionKind::Canceled, 0);
    for step in 0..20 {
        assert_eq!(scene.add(Side::Buy, 9_900 + step), []);
    }
    scene.strategy.resume();
    assert_eq!(scene.add(Side::Buy, 9_982), [first]);
}
