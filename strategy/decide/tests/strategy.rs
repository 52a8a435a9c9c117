//! The strategy as the wiring drives it: real model, real books, a gate and a venue that answer as a script says.

mod common;

use std::collections::BTreeMap;

use common::{Player, Step, TICK, books, steps};
use peregrine_book::{BookUpdate, MarketBooks, NaiveBooks};
use peregrine_decide::{
    Controller, DEFINITIONS, DecideConfig, DecisionView, Input, IntentBatch, NoStopwatch, Outcome, Stage, Strategy,
    StrategyConfig, StrategyError, Watch, definition_hash_hex,
};
use peregrine_model::{Backend, FeatureSet, Kernel, Model, ModelMeta, Size};
use peregrine_types::{
    BookState, EpochNanos, EventKind, EventSeq, Execution, ExecutionKind, Liquidity, MarketEvent, MatchNumber, Nanos,
    NewOrder, Notional, OrderId, OrderIntent, Position, Price, Qty, ReasonCode, Side, Symbol, SymbolId, TickTable,
    TickTables, TimeInForce,
};
use proptest::prelude::*;

const START: i64 = 1_700_000_000_000_000_000;
const ORDER_QTY: u64 = 100;

fn features(hash: &str) -> FeatureSet {
    let mut set = FeatureSet::unscaled(DEFINITIONS.iter().map(|d| d.name.to_owned()).collect(), hash);
    set.iqr.fill(10.0);
    set
}

fn model() -> Model {
    Model::seeded(&ModelMeta::untrained(Size::Micro, 7, features(&definition_hash_hex()))).expect("the size fits")
}

fn config(watch: Watch) -> StrategyConfig {
    let decide = DecideConfig {
        order_qty: Qty(ORDER_QTY),
        target_position_qty: Qty(ORDER_QTY),
        // An untrained model seldom says more; so low that every path is taken.
        action_threshold: 0.02,
        action_hysteresis: 0.01,
        quote_offset_ticks: 0,
        quote_edge_ticks: None,
        requote_tolerance_ticks: 1,
        take_horizon_index: 0,
        take_margin_ticks: 0.0,
        fee_removed: Price(3_000_000),
        surprise_max: 1e6,
        regime_confidence_min: 0.0,
        withdraw_on: BookState::from_bits(0xff),
        min_decision_interval: Nanos::ZERO,
        use_replace: false,
        denied_backoff: Nanos::from_micros(5),
        feature_tick: Price(TICK),
    };
    StrategyConfig {
        decide,
        session_open: EpochNanos(START),
        session_close: EpochNanos(START + 60_000_000_000),
        symbol_count_max: 16,
        watched_count_max: 4,
        watch,
        ticks: TickTables::new(TickTable::US_EQUITY),
        held: peregrine_decide::HeldConfig::OFF,
    }
}

fn kernel() -> Kernel {
    Kernel::new(Backend::Scalar).expect("every machine has it")
}

fn strategy(watch: Watch) -> Strategy {
    Strategy::new(config(watch), model(), kernel()).expect("the configuration is sound")
}

/// Gate and venue in one: approves, accepts, fills, cancels as the numbers of a script say; knows what is open.
#[derive(Default)]
struct Street {
    open: BTreeMap<OrderId, (NewOrder, u64, bool)>,
    next_id: u64,
    positions: BTreeMap<SymbolId, i64>,
    intents: Vec<OrderIntent>,
}

impl Street {
    fn take_in<C: Controller>(&mut self, strategy: &mut Strategy<C>, out: &IntentBatch, now: EpochNanos, dice: u8) {
        for (index, intent) in out.as_slice().iter().enumerate() {
            self.intents.push(*intent);
            if (dice >> index).is_multiple_of(7) {
                strategy.on_denied(intent, ReasonCode::OrderRateLimit, now);
                continue;
            }
            match intent {
                OrderIntent::New(order) => {
                    self.next_id += 1;
                    let id = OrderId(self.next_id);
                    strategy.on_approved(intent, id);
                    self.open.insert(id, (*order, order.qty.0, false));
                }
                OrderIntent::Cancel { order_id, .. } => {
                    strategy.on_approved(intent, *order_id);
                    let entry = self.open.get_mut(order_id).expect("only open orders are cancelled");
                    assert!(!entry.2, "{order_id} is cancelled twice");
                    entry.2 = true;
                }
                OrderIntent::Replace { .. } => unreachable!("use_replace is off"),
            }
        }
    }

    /// One report about one open order, by the dice.
    fn report<C: Controller>(&mut self, strategy: &mut Strategy<C>, now: EpochNanos, dice: u8) {
        let Some((&id, &(order, leaves, is_canceling))) = self.open.iter().nth(usize::from(dice >> 4) % 4) else {
            return;
        };
        let (kind, qty) = match (dice % 8, is_canceling) {
            (0..=2, _) => (ExecutionKind::Accepted, 0),
            (3, _) => (ExecutionKind::Filled, leaves.min(1 + u64::from(dice))),
            (4, false) => (ExecutionKind::Rejected, 0),
            (4..=6, true) => (ExecutionKind::Canceled, leaves),
            (7, true) => (ExecutionKind::CancelRejected, 0),
            (_, false) if order.time_in_force == TimeInForce::ImmediateOrCancel => (ExecutionKind::Canceled, leaves),
            (_, _) => (ExecutionKind::Accepted, 0),
        };
        let is_over = matches!(kind, ExecutionKind::Rejected | ExecutionKind::Canceled);
        let leaves = if is_over {
            0
        } else if kind == ExecutionKind::Filled {
            leaves - qty
        } else {
            leaves
        };
        if kind == ExecutionKind::Filled {
            let signed = i64::try_from(qty).unwrap_or(0) * if order.side == Side::Buy { 1 } else { -1 };
            *self.positions.entry(order.symbol).or_default() += signed;
        }
        if leaves == 0 {
            self.open.remove(&id);
        } else {
            self.open.insert(id, (order, leaves, is_canceling && kind != ExecutionKind::CancelRejected));
        }
        strategy.on_execution(&execution(&order, (id, kind), (qty, leaves), now));
    }

    /// What the street sees must keep the rules, whatever the model says.
    fn check(&self, intents: &[OrderIntent], update: &BookUpdate, books: &NaiveBooks) {
        for intent in intents {
            let OrderIntent::New(order) = intent else { continue };
            assert!(books.state(order.symbol).is_good(), "an order into a bad book");
            assert_eq!(order.symbol, update.symbol);
            assert!(order.qty.0 >= 1 && order.qty.0 <= ORDER_QTY && order.price.0 % TICK == 0);
            let top = books.top(order.symbol);
            let own = top.side(order.side).expect("the book is good").price;
            let other = top.side(order.side.opposite()).expect("the book is good").price;
            match order.time_in_force {
                TimeInForce::Day => assert!(order.is_post_only && !order.price.is_better_than(own, order.side)),
                TimeInForce::ImmediateOrCancel => assert_eq!((order.is_post_only, order.price), (false, other)),
            }
            let same_side = self.open.values().filter(|(o, ..)| o.symbol == order.symbol && o.side == order.side);
            assert_eq!(same_side.count(), 0, "one order per side");
        }
    }

    /// Even if everything open on one side were filled, the position stays within the target of that side.
    fn check_positions(&self) {
        for symbol in (0..16).map(SymbolId) {
            for side in Side::BOTH {
                let open = self.open.values().filter(|(o, ..)| o.symbol == symbol && o.side == side).map(|o| o.1);
                let position = Position(self.positions.get(&symbol).copied().unwrap_or(0));
                let worst = position.after(side, Qty(open.sum())).expect("small numbers");
                // An opposite order may fill after this one was sized: at most one more order.
                assert!(worst.abs().0 <= 2 * ORDER_QTY, "{symbol}: {worst:?}");
            }
        }
    }
}

fn execution(
    order: &NewOrder,
    (order_id, kind): (OrderId, ExecutionKind),
    (qty, leaves): (u64, u64),
    now: EpochNanos,
) -> Execution {
    Execution {
        order_id,
        symbol: order.symbol,
        side: order.side,
        kind,
        liquidity: Liquidity::Added,
        reason: ReasonCode::None,
        price: order.price,
        qty: Qty(qty),
        leaves_qty: Qty(leaves),
        match_number: MatchNumber(0),
        venue_time: now,
        visible_time: now,
        fee: Notional::ZERO,
    }
}

/// Plays steps over three symbols; what was intended and the hash of what is remembered.
fn play(steps: &[Step], is_advanced_at_once: bool) -> (Vec<OrderIntent>, [u8; 32], u64) {
    let mut players: Vec<_> = (0..3).map(|_| Player::new(START)).collect();
    let (mut books, mut strategy, mut street) = (books(), strategy(Watch::All), Street::default());
    let mut out = strategy.intent_batch();
    for (step, seq) in steps.iter().zip(0..) {
        let symbol = SymbolId(u32::from(step.pick) % 3);
        let mut event = players[symbol.index()].event(symbol, *step);
        // References are the players' own: keep the symbols' apart.
        event.id_a += u64::from(symbol.0) << 32;
        event.id_b += u64::from(symbol.0) << 32;
        let update = books.apply(&event);
        street.report(&mut strategy, event.recv_time, step.price);
        let input = Input { seq: EventSeq(seq), event: &event, update: &update };
        strategy.on_event(&input, &books, &mut NoStopwatch, &mut out);
        street.check(out.as_slice(), &update, &books);
        street.take_in(&mut strategy, &out, event.recv_time, step.qty);
        street.check_positions();
        if is_advanced_at_once {
            strategy.after_decision(&mut NoStopwatch);
        }
    }
    for (symbol, position) in &street.positions {
        assert_eq!(strategy.position(*symbol), Position(*position));
    }
    strategy.after_decision(&mut NoStopwatch);
    (street.intents, strategy.state_hash(), strategy.counters().decision_count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_the_rules_hold_and_one_input_gives_one_answer(steps in steps(250)) {
        let first = play(&steps, true);
        prop_assert_eq!(&first, &play(&steps, true));
        prop_assert_eq!(&first, &play(&steps, false), "a late advance changes nothing");
    }
}

/// A book with two sides on the symbol, one event after the other.
struct Scene {
    books: NaiveBooks,
    strategy: Strategy,
    out: IntentBatch,
    time: i64,
    seq: u64,
}

impl Scene {
    fn new(strategy: Strategy) -> Self {
        let out = strategy.intent_batch();
        Self { books: books(), strategy, out, time: START, seq: 0 }
    }

    fn feed(&mut self, kind: EventKind, symbol: SymbolId, change: impl Fn(&mut MarketEvent)) -> bool {
        self.time += 1_000;
        self.seq += 1;
        let mut event = MarketEvent::new(kind, symbol, EpochNanos(self.time), EpochNanos(self.time));
        event.id_a = self.seq;
        change(&mut event);
        let update = self.books.apply(&event);
        let input = Input { seq: EventSeq(self.seq), event: &event, update: &update };
        self.strategy.on_event(&input, &self.books, &mut NoStopwatch, &mut self.out)
    }

    fn add(&mut self, symbol: SymbolId, side: Side, ticks: i64) -> bool {
        self.feed(EventKind::AddOrder, symbol, |event| {
            (event.side, event.price, event.qty) = (side, Price(ticks * TICK), Qty(10));
        })
    }

    /// The venue answers an order of ours.
    fn report(&mut self, order: &NewOrder, (id, kind): (u64, ExecutionKind), leaves: u64) {
        let report = execution(order, (OrderId(id), kind), (0, leaves), EpochNanos(self.time));
        self.strategy.on_execution(&report);
    }

    /// Feeds improving prices until the strategy quotes, and accepts the quote under `id`.
    fn until_quoted(&mut self, symbol: SymbolId, id: u64) -> NewOrder {
        let order = self.until_sent(symbol, id);
        self.report(&order, (id, ExecutionKind::Accepted), order.qty.0);
        order
    }

    /// Feeds improving prices until the strategy quotes, and approves the quote under `id`.
    fn until_sent(&mut self, symbol: SymbolId, id: u64) -> NewOrder {
        for step in 0..200 {
            self.add(symbol, Side::Sell, 10_500 - step);
            self.add(symbol, Side::Buy, 9_500 + step);
            if let Some(intent @ OrderIntent::New(order)) = self.out.get(0) {
                if order.time_in_force == TimeInForce::ImmediateOrCancel {
                    self.strategy.on_denied(&intent, ReasonCode::OrderQtyLimit, EpochNanos(self.time));
                    continue;
                }
                self.strategy.on_approved(&intent, OrderId(id));
                return order;
            }
        }
        unreachable!("the strategy never quoted");
    }
}

#[test]
fn a_gap_withdraws_every_symbols_quotes_at_once_and_nothing_is_decided_until_it_ends() {
    let mut scene = Scene::new(strategy(Watch::All));
    scene.until_quoted(SymbolId(0), 1);
    scene.until_quoted(SymbolId(5), 2);
    assert!(!scene.feed(EventKind::GapStart, SymbolId::MARKET, |_| {}));
    let cancels =
        [(1, 0), (2, 5)].map(|(id, symbol)| OrderIntent::Cancel { order_id: OrderId(id), symbol: SymbolId(symbol) });
    assert_eq!(scene.out.as_slice(), cancels);
    let count = scene.strategy.counters().decision_count;
    assert!(!scene.add(SymbolId(0), Side::Buy, 9_800));
    assert!(scene.out.is_empty());
    scene.feed(EventKind::GapEnd, SymbolId::MARKET, |_| {});
    assert!(scene.add(SymbolId(0), Side::Buy, 9_850));
    assert_eq!(scene.strategy.counters().decision_count, count + 1);
}

/// The order was not live yet when its book went bad, and its symbol is silent from then on.
#[test]
fn a_quote_on_its_way_into_a_gap_is_withdrawn_once_it_is_live_and_until_it_is_gone() {
    let mut scene = Scene::new(strategy(Watch::All));
    let order = scene.until_sent(SymbolId(0), 1);
    scene.feed(EventKind::GapStart, SymbolId::MARKET, |_| {});
    assert!(scene.out.is_empty() && scene.strategy.is_withdrawal_due());
    let cancel = [OrderIntent::Cancel { order_id: OrderId(1), symbol: SymbolId(0) }];
    let keep = |scene: &mut Scene, after: i64| {
        scene.strategy.keep_withdrawing(EpochNanos(scene.time + after), &scene.books, &mut scene.out);
        (scene.out.as_slice().to_vec(), scene.strategy.is_withdrawal_due())
    };
    assert_eq!(keep(&mut scene, 0), (vec![], true), "nothing can be cancelled yet");
    scene.report(&order, (1, ExecutionKind::Accepted), order.qty.0);
    assert_eq!(keep(&mut scene, 0), (cancel.to_vec(), true));
    assert_eq!(keep(&mut scene, 0), (vec![], true), "asked once");
    scene.report(&order, (1, ExecutionKind::CancelRejected), order.qty.0);
    assert_eq!(keep(&mut scene, 4_999), (vec![], true), "cancels back off for 5 us");
    assert_eq!(keep(&mut scene, 5_000), (cancel.to_vec(), true));
    scene.report(&order, (1, ExecutionKind::Canceled), 0);
    assert_eq!(keep(&mut scene, 5_000), (vec![], false));
}

#[test]
fn a_quote_that_comes_to_life_in_a_book_that_is_good_again_stays() {
    let mut scene = Scene::new(strategy(Watch::All));
    let order = scene.until_sent(SymbolId(0), 1);
    scene.feed(EventKind::GapStart, SymbolId::MARKET, |_| {});
    scene.feed(EventKind::GapEnd, SymbolId::MARKET, |_| {});
    scene.report(&order, (1, ExecutionKind::Accepted), order.qty.0);
    scene.strategy.keep_withdrawing(EpochNanos(scene.time), &scene.books, &mut scene.out);
    assert!(scene.out.is_empty() && !scene.strategy.is_withdrawal_due());
}

#[test]
fn nothing_is_decided_before_its_time_and_features_are_ready_then() {
    let mut early = strategy(Watch::All);
    early.decide_from(EpochNanos(START + 3_000));
    let (mut early, mut whole) = (Scene::new(early), Scene::new(strategy(Watch::All)));
    let decided = |scene: &mut Scene| {
        [(Side::Sell, 10_100), (Side::Buy, 9_900), (Side::Buy, 9_901)]
            .map(|(side, ticks)| scene.add(SymbolId(0), side, ticks))
    };
    assert_eq!((decided(&mut whole), decided(&mut early)), ([false, true, true], [false, false, true]));
    assert_eq!(early.strategy.decision().features, whole.strategy.decision().features);
    assert_eq!(early.strategy.data_time(SymbolId(0)), Some(EpochNanos(START + 3_000)));
    assert_eq!(early.strategy.data_time(SymbolId(1)), None);
}

#[test]
fn every_instrument_is_quoted_on_its_own_price_steps() {
    let mut config = config(Watch::All);
    let coarse = TickTable::uniform_or_cent(Price(7 * TICK));
    for symbol in [5, 6, 7] {
        assert!(config.ticks.assign(SymbolId(symbol), coarse));
    }
    let mut scene = Scene::new(Strategy::new(config, model(), kernel()).unwrap());
    for symbol in [5, 6, 7] {
        let order = scene.until_quoted(SymbolId(symbol), u64::from(symbol));
        assert!(coarse.is_valid(order.price), "{}", order.price);
    }
}

#[test]
fn a_trading_halt_of_one_symbol_withdraws_its_quotes_only() {
    let mut scene = Scene::new(strategy(Watch::All));
    scene.until_quoted(SymbolId(0), 1);
    scene.until_quoted(SymbolId(5), 2);
    scene.feed(EventKind::TradingAction, SymbolId(5), |event| event.detail = b'H');
    assert_eq!(scene.out.as_slice(), [OrderIntent::Cancel { order_id: OrderId(2), symbol: SymbolId(5) }]);
}

#[test]
fn an_engine_halt_withdraws_everything_and_resume_goes_on() {
    let mut scene = Scene::new(strategy(Watch::All));
    scene.until_quoted(SymbolId(0), 1);
    let mut out = scene.strategy.intent_batch();
    scene.strategy.halt(EpochNanos(scene.time), &mut out);
    assert_eq!(out.len(), 1);
    assert!(!scene.add(SymbolId(0), Side::Buy, 9_950), "halted");
    scene.strategy.resume();
    assert!(scene.add(SymbolId(0), Side::Buy, 9_960));
}

#[test]
fn named_symbols_are_watched_from_their_announcement_on() {
    let mut scene = Scene::new(strategy(Watch::Named(vec![Symbol::new("AAPL").unwrap()])));
    let announce = |scene: &mut Scene, id, name: &str| {
        let key = Symbol::new(name).unwrap().key();
        scene.feed(EventKind::StockDirectory, SymbolId(id), |event| event.id_a = key);
    };
    announce(&mut scene, 1, "MSFT");
    announce(&mut scene, 2, "AAPL");
    assert!(!scene.strategy.is_watched(SymbolId(1)) && scene.strategy.is_watched(SymbolId(2)));
    for symbol in [1, 2] {
        scene.add(SymbolId(symbol), Side::Sell, 10_001);
        assert_eq!(scene.add(SymbolId(symbol), Side::Buy, 9_999), symbol == 2);
    }
    let decision = scene.strategy.decision();
    assert_eq!((decision.symbol, decision.seq, decision.time), (SymbolId(2), EventSeq(6), EpochNanos(scene.time)));
    assert_eq!(decision.features[0], 2.0, "spread in ticks");
    assert!(decision.heads.horizon_count == 4 && decision.non_finite.is_none());
}

#[test]
fn watching_all_stops_at_its_room() {
    let mut scene = Scene::new(strategy(Watch::All));
    for symbol in 0..6 {
        scene.add(SymbolId(symbol), Side::Buy, 10_000);
    }
    assert!(scene.strategy.is_watched(SymbolId(3)) && !scene.strategy.is_watched(SymbolId(4)));
}

#[test]
fn the_throttle_spaces_decisions_of_one_symbol() {
    let mut config = config(Watch::All);
    config.decide.min_decision_interval = Nanos(2_500);
    let mut scene = Scene::new(Strategy::new(config, model(), kernel()).unwrap());
    scene.add(SymbolId(0), Side::Sell, 10_100);
    let decided: Vec<_> = (0..7).map(|step| scene.add(SymbolId(0), Side::Buy, 9_900 + step)).collect();
    assert_eq!(decided, [true, false, false, true, false, false, true], "one event per microsecond");
    assert_eq!(scene.strategy.counters().throttled_count, 4);
}

#[test]
fn the_stopwatch_sees_the_stages_in_order() {
    let mut scene = Scene::new(strategy(Watch::All));
    scene.add(SymbolId(0), Side::Sell, 10_100);
    let mut laps = Vec::new();
    let mut event =
        MarketEvent::new(EventKind::AddOrder, SymbolId(0), EpochNanos(START + 5_000), EpochNanos(START + 5_000));
    (event.id_a, event.price, event.qty) = (77, Price(9_900 * TICK), Qty(5));
    let update = scene.books.apply(&event);
    let input = Input { seq: EventSeq(2), event: &event, update: &update };
    let mut stopwatch = |stage: Stage| laps.push(stage);
    assert!(scene.strategy.on_event(&input, &scene.books, &mut stopwatch, &mut scene.out));
    scene.strategy.after_decision(&mut stopwatch);
    scene.strategy.after_decision(&mut stopwatch);
    assert_eq!(laps, [Stage::Features, Stage::Observe, Stage::Controller, Stage::Advance]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refuse = |config: StrategyConfig, model: Model| {
        Strategy::new(config, model, kernel()).expect_err("it does not fit").to_string()
    };
    let foreign = Model::seeded(&ModelMeta::untrained(Size::Micro, 7, features("0123"))).unwrap();
    assert!(refuse(config(Watch::All), foreign).contains("0123"));
    let mut wrong = config(Watch::All);
    wrong.decide.order_qty = Qty(0);
    wrong.decide.feature_tick = Price(0);
    assert_eq!(refuse(wrong, model()), "order_qty = 0: must be 1 to 2^61; feature_tick = 0: must be above 0");
    let backwards = StrategyConfig { session_close: EpochNanos(START), ..config(Watch::All) };
    assert!(matches!(Strategy::new(backwards, model(), kernel()), Err(StrategyError::Session)));
    let nothing = StrategyConfig { watched_count_max: 0, ..config(Watch::All) };
    assert!(matches!(Strategy::new(nothing, model(), kernel()), Err(StrategyError::NothingWatched)));
}

/// A firm's own controller: always one more share at the bid.
#[derive(Default)]
struct Eager(u64);

impl Controller for Eager {
    fn decide(&mut self, view: &DecisionView<'_>, out: &mut IntentBatch) -> Outcome {
        use peregrine_types::Sink as _;
        let price = view.top.bid.map_or(Price(0), |level| level.price);
        let (side, time_in_force) = (Side::Buy, TimeInForce::Day);
        let order = NewOrder { symbol: view.symbol, side, price, qty: Qty(1), time_in_force, is_post_only: true };
        if out.push(OrderIntent::New(order)).is_ok() { Outcome::Quoted } else { Outcome::Held }
    }
    fn withdraw(&mut self, _: usize, _: EpochNanos, _: &mut IntentBatch) {}
    fn on_approved(&mut self, _: usize, _: &OrderIntent, _: OrderId) {
        self.0 += 1;
    }
    fn on_denied(&mut self, _: usize, _: &OrderIntent, _: ReasonCode, _: EpochNanos) {}
    fn on_execution(&mut self, _: usize, _: &Execution) {}
    fn has_orders(&self, _: usize) -> bool {
        self.0 > 0
    }
    fn position(&self, _: usize) -> Position {
        Position::FLAT
    }
    fn target(&self, _: usize) -> Position {
        Position(1)
    }
    fn write_state(&self, write: &mut dyn FnMut(&[u8])) {
        write(&self.0.to_le_bytes());
    }
}

#[test]
fn a_controller_of_the_firms_own_takes_the_same_seat() {
    let mut strategy = Strategy::with_controller(config(Watch::All), model(), kernel(), Eager::default()).unwrap();
    let (mut books, mut out) = (books(), strategy.intent_batch());
    let before = strategy.state_hash();
    for (seq, side, ticks) in [(1, Side::Buy, 9_999), (2, Side::Sell, 10_001)] {
        let mut event = MarketEvent::new(EventKind::AddOrder, SymbolId(0), EpochNanos(START), EpochNanos(START));
        (event.id_a, event.side, event.price, event.qty) = (seq, side, Price(ticks * TICK), Qty(5));
        let update = books.apply(&event);
        let input = Input { seq: EventSeq(seq), event: &event, update: &update };
        strategy.on_event(&input, &books, &mut NoStopwatch, &mut out);
    }
    assert_eq!((out.len(), strategy.decision().outcome), (1, Outcome::Quoted));
    strategy.on_approved(&out.get(0).unwrap(), OrderId(1));
    assert_ne!(strategy.state_hash(), before);
}
