//! Engine-held orders against scripted moments, and over restarts at every record; against a slow twin in `twin`.

mod busts;
mod gate;
mod refusals;
mod restart;
mod twin;

use peregrine_types::{Level, Liquidity, MatchNumber, NewOrder, TimeInForce};

use super::*;

const TICK: i64 = 10_000_000;
const SYMBOL: SymbolId = SymbolId(0);
/// 100 shares, and as many of $100.05: above that price one order is of less.
const LIMITS: HeldLimits =
    HeldLimits { order_qty_max: Qty(100), order_notional_max: Notional(10_005 * 1_000_000_000), price_collar_bps: 500 };

fn config() -> HeldConfig {
    HeldConfig {
        stop_loss_ticks: 5,
        take_profit_ticks: 8,
        is_stop_on_trade: true,
        exit_slippage_ticks: 2,
        limits: LIMITS,
        cooldown: Nanos(50),
        retry_pause: Nanos(10),
        is_for_controllers: true,
    }
}

fn at(ticks: i64) -> Price {
    Price(ticks * TICK)
}

fn execution(id: u64, side: Side, (kind, qty, leaves): (ExecutionKind, u64, u64), price: i64, now: i64) -> Execution {
    Execution {
        order_id: OrderId(id),
        symbol: SYMBOL,
        side,
        kind,
        liquidity: Liquidity::Added,
        reason: ReasonCode::None,
        price: at(price),
        qty: Qty(qty),
        leaves_qty: Qty(leaves),
        match_number: MatchNumber(0),
        venue_time: EpochNanos(now),
        visible_time: EpochNanos(now),
        fee: Notional::ZERO,
    }
}

/// One symbol, its book, and everything that the stage said.
struct Desk {
    held: HeldOrders,
    ticks: TickTable,
    bid: i64,
    ask: i64,
    state: BookState,
    has_others: bool,
    may_send: bool,
    may_rest: bool,
    now: i64,
    out: IntentBatch,
    next_id: u64,
    /// Number of the next fill.
    next_match: u64,
    changes: Vec<HeldChange>,
}

impl Desk {
    fn new(config: HeldConfig) -> Self {
        Self {
            held: HeldOrders::new(config, 1),
            ticks: TickTable::US_EQUITY,
            bid: 10_000,
            ask: 10_002,
            state: BookState::GOOD,
            has_others: false,
            may_send: true,
            may_rest: true,
            now: 1_000,
            out: IntentBatch::with_held(1),
            next_id: 100,
            next_match: 1,
            changes: vec![],
        }
    }

    fn drain(&mut self) {
        while let Some(change) = self.held.take_change() {
            self.changes.push(change);
        }
    }

    fn actions(&mut self) -> Vec<HeldAction> {
        self.changes.drain(..).map(|change| change.action).collect()
    }

    fn event(&mut self) -> Vec<OrderIntent> {
        self.now += 1;
        self.out.clear();
        let level = |ticks| Some(Level { price: at(ticks), qty: Qty(500), order_count: 1 });
        let view = HeldView {
            now: EpochNanos(self.now),
            top: TopOfBook { bid: level(self.bid), ask: level(self.ask) },
            state: self.state,
            ticks: &self.ticks,
            has_others: self.has_others,
            may_send: self.may_send,
            may_rest: self.may_rest,
        };
        self.held.on_event((0, SYMBOL), &view, &mut self.out);
        self.drain();
        self.out.as_slice().to_vec()
    }

    fn quote(&mut self, bid: i64, ask: i64) -> Vec<OrderIntent> {
        (self.bid, self.ask) = (bid, ask);
        self.event()
    }

    fn report(&mut self, id: u64, side: Side, what: (ExecutionKind, u64, u64), price: i64) {
        let match_number = MatchNumber(self.next_match);
        self.next_match += 1;
        let report = Execution { match_number, ..execution(id, side, what, price, self.now) };
        self.held.on_execution((0, SYMBOL), &report, &self.ticks);
        self.drain();
    }

    /// The venue breaks a trade of an order; `price` is in price units.
    fn bust(&mut self, (id, number): (u64, u64), side: Side, qty: u64, price: i64) {
        let report = execution(id, side, (ExecutionKind::Busted, qty, 0), 0, self.now);
        let report = Execution { match_number: MatchNumber(number), price: Price(price), ..report };
        self.held.on_execution((0, SYMBOL), &report, &self.ticks);
        self.drain();
    }

    fn fill(&mut self, side: Side, qty: u64, price: i64) {
        self.report(1, side, (ExecutionKind::Filled, qty, 0), price);
    }

    fn approve(&mut self, intent: &OrderIntent) -> u64 {
        self.next_id += 1;
        assert!(self.held.owns(0, intent));
        self.held.on_approved(0, intent, OrderId(self.next_id));
        self.next_id
    }

    fn begin(&mut self) {
        while self.held.begin(|symbol| Some(symbol.index()), &TickTables::new(self.ticks)) {
            self.drain();
        }
        self.drain();
    }

    fn ask(&mut self, intent: HeldIntent) {
        self.held.ask((0, SYMBOL), &intent, &self.ticks);
        self.drain();
    }
}

fn exit(side: Side, qty: u64, ticks: i64) -> OrderIntent {
    let time_in_force = TimeInForce::ImmediateOrCancel;
    OrderIntent::New(NewOrder {
        symbol: SYMBOL,
        side,
        price: at(ticks),
        qty: Qty(qty),
        time_in_force,
        is_post_only: false,
    })
}

fn resting(side: Side, qty: u64, ticks: i64) -> OrderIntent {
    let time_in_force = TimeInForce::Day;
    OrderIntent::New(NewOrder {
        symbol: SYMBOL,
        side,
        price: at(ticks),
        qty: Qty(qty),
        time_in_force,
        is_post_only: true,
    })
}

#[test]
fn a_stop_fires_once_sells_no_more_than_is_held_and_goes_on_until_it_is_flat() {
    use HeldAction as A;
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 150, 10_001);
    let armed = desk.changes[0];
    assert_eq!(
        (armed.stop, armed.take, armed.rest.qty, armed.rest.side),
        (at(9_996), at(10_009), Qty(150), Side::Sell)
    );
    assert_eq!(desk.quote(9_997, 9_999), []);
    assert_eq!(desk.quote(9_996, 9_998), [exit(Side::Sell, 100, 9_994)]);
    assert_eq!(desk.actions(), [A::Armed, A::StopFired]);
    assert!(desk.held.is_blocking(0, EpochNanos(desk.now)));
    let id = desk.approve(&exit(Side::Sell, 100, 9_994));
    assert_eq!(desk.quote(9_990, 9_992), [], "one at a time");
    desk.report(id, Side::Sell, (ExecutionKind::Filled, 60, 40), 9_994);
    assert_eq!(desk.event(), []);
    desk.report(id, Side::Sell, (ExecutionKind::Canceled, 40, 0), 9_994);
    let [second] = desk.event()[..] else { panic!("what is left goes out again") };
    assert_eq!(second, exit(Side::Sell, 90, 9_988), "never more than is held");
    let id = desk.approve(&second);
    desk.report(id, Side::Sell, (ExecutionKind::Filled, 90, 0), 9_988);
    assert_eq!(desk.actions(), [A::Done]);
    assert!(desk.event().is_empty() && desk.held.is_blocking(0, EpochNanos(desk.now)), "the cooldown");
    desk.now += 60;
    assert!(!desk.held.is_blocking(0, EpochNanos(desk.now)));
}

#[test]
fn a_short_position_is_bought_back_and_a_take_cancels_the_stop() {
    use HeldAction as A;
    let mut desk = Desk::new(config());
    desk.fill(Side::Sell, 50, 10_000);
    assert_eq!((desk.changes[0].stop, desk.changes[0].take), (at(10_005), at(9_992)));
    desk.fill(Side::Sell, 50, 10_010);
    assert_eq!((desk.changes[1].stop, desk.changes[1].average_price), (at(10_010), at(10_005)), "by the average price");
    desk.fill(Side::Buy, 40, 10_000);
    assert_eq!(
        (desk.changes[2].rest.qty, desk.changes[2].average_price),
        (Qty(60), at(10_005)),
        "it shrinks with fills"
    );
    assert_eq!(desk.quote(9_990, 9_997), [exit(Side::Buy, 60, 9_999)]);
    assert_eq!(desk.actions(), [A::Armed, A::Changed, A::Changed, A::TakeFired]);
    assert_eq!(desk.quote(10_020, 10_022), [], "the stop went with it");
}

#[test]
fn nothing_fires_on_a_book_that_is_not_good_and_the_first_good_one_counts() {
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 10, 10_001);
    for flag in [BookState::STALE, BookState::HALTED, BookState::QUARANTINED, BookState::CROSSED, BookState::LOCKED] {
        desk.state = flag;
        assert_eq!(desk.quote(9_000, 9_002), [], "{flag:?}");
    }
    assert_eq!(desk.actions(), [HeldAction::Armed]);
    desk.state = BookState::GOOD;
    assert_eq!(desk.quote(9_100, 9_102), [exit(Side::Sell, 10, 9_098)]);
}

#[test]
fn an_exit_waits_until_the_controllers_orders_are_gone_and_tries_again_after_a_denial() {
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 10, 10_001);
    desk.has_others = true;
    assert_eq!(desk.quote(9_990, 9_992), []);
    assert_eq!(desk.actions(), [HeldAction::Armed, HeldAction::StopFired]);
    desk.has_others = false;
    let [intent] = desk.quote(10_050, 10_052)[..] else { panic!("it has fired, wherever the price is now") };
    desk.held.on_denied(0, &intent, ReasonCode::OrderRateLimit, EpochNanos(desk.now));
    assert_eq!(desk.event(), [], "the pause");
    desk.now += 10;
    assert_eq!(desk.event(), [exit(Side::Sell, 10, 10_048)]);
}

#[test]
fn a_trade_fires_the_stop_only_if_it_came_after_it_was_armed() {
    let mut desk = Desk::new(config());
    desk.held.on_trade(0, at(9_000));
    desk.fill(Side::Buy, 10, 10_001);
    assert_eq!(desk.event(), []);
    desk.held.on_trade(0, at(9_996));
    assert_eq!(desk.event().len(), 1);
    let mut desk = Desk::new(HeldConfig { is_stop_on_trade: false, ..config() });
    desk.fill(Side::Buy, 10, 10_001);
    desk.held.on_trade(0, at(9_000));
    assert_eq!(desk.event(), []);
}

#[test]
fn a_controllers_own_prices_stand_until_the_position_is_gone() {
    let mut desk = Desk::new(HeldConfig { stop_loss_ticks: 0, take_profit_ticks: 0, ..config() });
    desk.ask(HeldIntent::Protect { stop: at(9_990), take: at(0) });
    desk.fill(Side::Buy, 10, 10_000);
    assert!(desk.changes.is_empty(), "without a position there is nothing to protect");
    desk.ask(HeldIntent::Protect { stop: at(9_990), take: at(0) });
    desk.fill(Side::Buy, 10, 10_100);
    assert_eq!((desk.changes[1].stop, desk.changes[1].rest.qty), (at(9_990), Qty(20)));
    desk.fill(Side::Sell, 20, 10_100);
    desk.fill(Side::Buy, 10, 10_000);
    assert_eq!(desk.actions(), [HeldAction::Armed, HeldAction::Changed, HeldAction::Canceled]);
    assert_eq!(desk.quote(9_000, 9_002), []);
}

#[test]
fn a_resting_order_follows_the_middle_by_replacements_and_never_takes() {
    let rest = RestOrder { qty: Qty(30), offset_ticks: 1, reprice_ticks: 2, ..RestOrder::default() };
    let mut desk = Desk::new(config());
    desk.ask(HeldIntent::Rest(rest));
    let [first] = desk.quote(10_000, 10_010)[..] else { panic!("one order") };
    assert_eq!(first, resting(Side::Buy, 30, 10_004));
    let id = desk.approve(&first);
    assert_eq!(desk.quote(10_000, 10_020), [], "the answer comes first");
    desk.report(id, Side::Buy, (ExecutionKind::Accepted, 30, 30), 10_004);
    assert_eq!(desk.quote(10_000, 10_012), [], "a tick is too little");
    desk.report(id, Side::Buy, (ExecutionKind::Filled, 10, 20), 10_004);
    let [moved] = desk.quote(10_000, 10_016)[..] else { panic!("a replacement") };
    let wanted = OrderIntent::Replace { order_id: OrderId(id), symbol: SYMBOL, price: at(10_007), qty: Qty(30) };
    assert_eq!(moved, wanted, "what was executed counts in the total");
    let next = desk.approve(&moved);
    desk.report(next, Side::Buy, (ExecutionKind::Replaced, 20, 20), 10_007);
    desk.state = BookState::STALE;
    let cancel = OrderIntent::Cancel { order_id: OrderId(next), symbol: SYMBOL };
    assert_eq!(desk.event(), [cancel]);
    desk.report(next, Side::Buy, (ExecutionKind::Canceled, 20, 0), 10_007);
    assert_eq!(desk.event(), []);
    desk.state = BookState::GOOD;
    let [again] = desk.quote(10_000, 10_010)[..] else { panic!("on the first good book") };
    assert_eq!(again, resting(Side::Buy, 20, 10_004));
    let id = desk.approve(&again);
    desk.report(id, Side::Buy, (ExecutionKind::Filled, 20, 0), 10_004);
    assert_eq!(desk.changes.iter().filter(|c| c.kind == HeldKind::Rest && c.action == HeldAction::Done).count(), 1);
    assert!(!desk.held.has_rest(0));
}

/// A pause after a denied replacement is none for the cancel: not in a book that went bad, not for a stop that fired.
#[test]
fn a_resting_order_is_cancelled_whatever_was_denied_before() {
    let rest = RestOrder { qty: Qty(30), offset_ticks: 1, reprice_ticks: 2, ..RestOrder::default() };
    for is_stop in [false, true] {
        let mut desk = Desk::new(config());
        desk.ask(HeldIntent::Rest(rest));
        desk.fill(Side::Buy, 10, 10_000);
        let [first] = desk.quote(10_000, 10_004)[..] else { panic!("one order") };
        let id = desk.approve(&first);
        desk.report(id, Side::Buy, (ExecutionKind::Accepted, 30, 30), 10_001);
        let [moved] = desk.quote(9_996, 10_000)[..] else { panic!("a replacement") };
        desk.held.on_denied(0, &moved, ReasonCode::OrderRateLimit, EpochNanos(desk.now));
        assert_eq!(desk.event(), [], "the pause");
        let cancel = OrderIntent::Cancel { order_id: OrderId(id), symbol: SYMBOL };
        if is_stop {
            assert_eq!(desk.quote(9_995, 9_999), [cancel]);
            assert!(desk.held.is_blocking(0, EpochNanos(desk.now)));
        } else {
            desk.state = BookState::STALE;
            assert_eq!(desk.event(), [cancel]);
        }
        // What was refused is asked again after the pause, and no sooner.
        desk.report(id, Side::Buy, (ExecutionKind::CancelRejected, 0, 30), 10_001);
        assert_eq!(desk.event(), []);
        desk.now += 10;
        assert_eq!(desk.event(), [cancel]);
    }
}

#[test]
fn nothing_rests_while_the_symbol_cools_down_after_an_exit() {
    let rest = RestOrder { qty: Qty(30), reprice_ticks: 2, ..RestOrder::default() };
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 10, 10_000);
    let [intent] = desk.quote(9_990, 9_992)[..] else { panic!("the stop") };
    let id = desk.approve(&intent);
    desk.report(id, Side::Sell, (ExecutionKind::Filled, 10, 0), 9_990);
    desk.ask(HeldIntent::Rest(rest));
    let end = desk.now + config().cooldown.0;
    while desk.now + 1 < end {
        assert_eq!(desk.event(), [], "{} of {end}", desk.now);
    }
    assert_eq!(desk.event(), [resting(Side::Buy, 30, 9_991)]);
}

#[test]
fn a_primary_peg_stands_behind_its_own_side_within_its_limit() {
    let (side, reference) = (Side::Sell, PegReference::Primary);
    let rest = RestOrder { side, qty: Qty(5), reference, offset_ticks: 0, reprice_ticks: 1, limit: at(10_005) };
    let mut desk = Desk::new(config());
    desk.ask(HeldIntent::Rest(rest));
    assert_eq!(desk.quote(9_990, 10_002), [resting(Side::Sell, 5, 10_005)], "never below its limit");
    let intent = resting(Side::Sell, 5, 10_005);
    let id = desk.approve(&intent);
    desk.report(id, Side::Sell, (ExecutionKind::Accepted, 5, 5), 10_005);
    desk.ask(HeldIntent::LetGo(Side::Sell));
    assert_eq!(desk.event(), [OrderIntent::Cancel { order_id: OrderId(id), symbol: SYMBOL }]);
    assert_eq!(desk.actions(), [HeldAction::Armed, HeldAction::Canceled]);
}

// ---- restarts --------------------------------------------------------------------------------------------------------

/// A record of the log, as far as it matters here.
#[derive(Clone, Copy, Debug)]
enum Logged {
    Change(HeldChange),
    /// The decision for an order was written; it is handed over afterwards.
    Approved,
    /// The send stream has it: its bytes may have left.
    Submitted(u64),
    Filled(u64, u64),
}

/// Buys 100, lets the stop fire on a falling book, and has the exit filled in two parts; every record in its order.
fn session() -> Vec<Logged> {
    let mut desk = Desk::new(config());
    let mut log = vec![Logged::Submitted(1), Logged::Filled(1, 100)];
    desk.fill(Side::Buy, 100, 10_001);
    log.extend(desk.changes.drain(..).map(Logged::Change));
    let intents = desk.quote(9_990, 9_992);
    log.extend(desk.changes.drain(..).map(Logged::Change));
    let id = desk.approve(&intents[0]);
    log.extend([Logged::Approved, Logged::Submitted(id)]);
    for (qty, leaves) in [(60, 40), (40, 0)] {
        desk.report(id, Side::Sell, (ExecutionKind::Filled, qty, leaves), 9_988);
        log.push(Logged::Filled(id, qty));
        log.extend(desk.changes.drain(..).map(Logged::Change));
    }
    log
}

/// What the exit executed at the venue although the log does not have it: nothing, a part or all, if it left at all.
fn restart(log: &[Logged], unlogged: u64) -> (i64, u64) {
    let mut memories = vec![];
    let (mut fills, mut sent) = (vec![], false);
    for record in log {
        match *record {
            Logged::Change(change) => HeldMemory::fold(&mut memories, change),
            Logged::Approved => {}
            Logged::Submitted(id) => sent |= id != 1,
            Logged::Filled(id, qty) => fills.push((id, qty)),
        }
    }
    let known: u64 = fills.iter().filter(|fill| fill.0 != 1).map(|fill| fill.1).sum();
    let late = if sent { unlogged.min(100 - known) } else { 0 };
    if late > 0 {
        fills.push((101, late));
    }
    let mut desk = Desk::new(config());
    (desk.bid, desk.ask) = (9_990, 9_992);
    desk.held.remember(memories);
    let mut position = 0;
    for (id, qty) in fills {
        let (side, sign) = if id == 1 { (Side::Buy, 1) } else { (Side::Sell, -1) };
        position += sign * i64::try_from(qty).unwrap();
        desk.report(id, side, (ExecutionKind::Filled, qty, 0), 10_001);
    }
    desk.begin();
    // The price has come back: only what has fired before goes on.
    let has_fired = log.iter().any(|r| matches!(r, Logged::Change(c) if c.action == HeldAction::StopFired));
    if has_fired {
        (desk.bid, desk.ask) = (10_000, 10_002);
    }
    let mut exits = 0;
    for _ in 0..5 {
        for intent in desk.event() {
            let OrderIntent::New(order) = intent else { panic!("an exit") };
            assert_eq!(order.side, Side::Sell);
            exits += 1;
            let id = desk.approve(&intent);
            position -= i64::try_from(order.qty.0).unwrap();
            desk.report(id, Side::Sell, (ExecutionKind::Filled, order.qty.0, 0), order.price.0 / TICK);
        }
    }
    (position, exits)
}

#[test]
fn a_log_cut_off_at_every_record_around_a_trigger_ends_flat_by_at_most_one_more_exit() {
    let log = session();
    assert!(log.len() >= 7, "{log:?}");
    for cut in 2..=log.len() {
        for unlogged in [0, 30, 60, 100] {
            let (position, exits) = restart(&log[..cut], unlogged);
            let context = format!("{cut} of {} records, {unlogged} not in the log: {log:?}", log.len());
            assert_eq!(position, 0, "{context}");
            assert!(exits <= 1, "{context}");
        }
    }
    assert_eq!(restart(&log[..4], 0).1, 1, "between trigger and order");
    assert_eq!(restart(&log, 0).1, 0, "done");
}

#[test]
fn what_a_resting_order_executed_unseen_is_done_after_a_restart() {
    let rest = RestOrder { qty: Qty(30), reprice_ticks: 1, ..RestOrder::default() };
    let change = |action, qty, is_asked| HeldChange {
        symbol: SYMBOL,
        kind: HeldKind::Rest,
        action,
        is_asked,
        rest: RestOrder { qty: Qty(qty), ..rest },
        ..HeldChange::default()
    };
    let mut memories = vec![];
    HeldMemory::fold(&mut memories, change(HeldAction::Armed, 30, true));
    HeldMemory::sent(&mut memories, SYMBOL, OrderId(7));
    HeldMemory::fold(&mut memories, change(HeldAction::Changed, 25, false));
    let mut desk = Desk::new(config());
    desk.held.remember(memories);
    for (id, qty) in [(7, 5), (8, 3), (7, 10)] {
        desk.report(id, Side::Buy, (ExecutionKind::Filled, qty, 20), 10_001);
    }
    assert!(desk.event().is_empty() && desk.held.is_waiting());
    desk.begin();
    let intents = desk.event();
    assert!(intents.contains(&resting(Side::Buy, 15, 10_001)), "30 less 5 known and 10 learnt: {intents:?}");
}

/// A live run that finds no memory of earlier ones still gets their fills, a part each turn: a price between two parts
/// touches no stop of the whole position.
#[test]
fn nothing_fires_on_a_position_that_is_not_whole_yet() {
    let mut desk = Desk::new(config());
    desk.held.remember(vec![]);
    desk.fill(Side::Buy, 100, 10_000);
    assert!(desk.held.is_waiting());
    desk.held.on_trade(0, at(9_990));
    assert_eq!((desk.quote(9_990, 9_992), desk.actions()), (vec![], vec![]), "the stop of what is known lies at 9,995");
    assert!(!desk.held.is_blocking(0, EpochNanos(desk.now)));
    desk.fill(Side::Buy, 100, 9_986);
    desk.begin();
    assert!(!desk.held.is_waiting());
    assert_eq!((desk.changes[0].stop, desk.changes[0].rest.qty, desk.changes.len()), (at(9_988), Qty(200), 1));
    assert_eq!(desk.event(), []);
    assert_eq!(desk.quote(9_988, 9_990), [exit(Side::Sell, 100, 9_986)]);
    assert_eq!(desk.actions(), [HeldAction::Armed, HeldAction::StopFired]);
}

#[test]
fn nothing_rests_before_the_account_is_whole() {
    let mut desk = Desk::new(config());
    desk.held.remember(vec![]);
    desk.ask(HeldIntent::Rest(RestOrder { qty: Qty(30), reprice_ticks: 1, ..RestOrder::default() }));
    assert_eq!(desk.event(), []);
    desk.begin();
    assert_eq!(desk.event(), [resting(Side::Buy, 30, 10_001)]);
}

/// More positions, and more that earlier runs left, than changes can wait: each step of the beginning is written.
#[test]
fn the_beginning_of_a_run_tells_every_change() {
    let (count, config) = (20, config());
    let mut held = HeldOrders::new(config, count);
    let symbols = || (0..count).map(SymbolId);
    let rest = RestOrder { qty: Qty(30), reprice_ticks: 1, ..RestOrder::default() };
    let change = HeldChange { symbol: SymbolId(7), kind: HeldKind::Rest, rest, ..HeldChange::default() };
    let mut memories = vec![];
    HeldMemory::fold(&mut memories, change);
    held.remember(memories);
    for symbol in symbols() {
        let report = Execution { symbol, ..execution(1, Side::Buy, (ExecutionKind::Filled, 10, 0), 10_000, 5) };
        held.on_execution((symbol.index(), symbol), &report, &TickTable::US_EQUITY);
    }
    assert_eq!(held.take_change(), None);
    let mut told = vec![];
    while held.begin(|symbol| Some(symbol.index()), &TickTables::new(TickTable::US_EQUITY)) {
        told.extend(std::iter::from_fn(|| held.take_change()));
    }
    assert_eq!(held.take_change(), None);
    assert!(told.iter().all(|change| change.action == HeldAction::Armed));
    let of = |kind| told.iter().filter(|change| change.kind == kind).map(|change| change.symbol).collect::<Vec<_>>();
    assert_eq!((of(HeldKind::Protection), of(HeldKind::Rest)), (symbols().collect(), vec![SymbolId(7)]));
}
