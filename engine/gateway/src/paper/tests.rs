//! The paper venue against books that the tests move by hand, and its conservation laws over random markets.

use peregrine_book::{BookConfig, MarketBooks, NaiveBooks};
use peregrine_types::{EventSeq, TickTable};
use proptest::prelude::*;

use super::*;

const LATENCY: ConstantLatency = ConstantLatency { to_venue: Nanos(10), from_venue: Nanos(5) };
/// Own messages that can be on their way at once, and own orders that can rest.
const ROOM: usize = 8;
const FEES: Fees = Fees { added: Price(-2_000_000), removed: Price(3_000_000) };

/// The books of these tests count in 10⁻⁹; symbol 3 has a step of 5.
fn ticks() -> TickTables {
    let mut ticks = TickTables::new(TickTable::uniform_or_cent(Price(1)));
    assert!(ticks.assign(SymbolId(3), TickTable::uniform_or_cent(Price(5))));
    ticks
}

struct Floor<L = ConstantLatency> {
    books: NaiveBooks,
    venue: PaperVenue<FifoQueue, L>,
    out: Vec<Execution>,
    next_order: u64,
}

impl Floor {
    fn new() -> Self {
        Self::with(LATENCY)
    }

    fn event(kind: EventKind, at: i64) -> MarketEvent {
        MarketEvent::new(kind, SymbolId(0), EpochNanos(at), EpochNanos(at))
    }
}

impl<L: LatencyModel> Floor<L> {
    fn with(latency: L) -> Self {
        let config = BookConfig {
            symbol_count_max: 4,
            order_count_max: 1024,
            level_count_max: 1024,
            is_unknown_state_tradable: true,
        };
        let paper = PaperConfig { symbol_count_max: 4, order_count_max: ROOM, fees: FEES, ticks: ticks() };
        let venue = PaperVenue::new(paper, FifoQueue, latency).unwrap();
        Self { books: NaiveBooks::new(config).unwrap(), venue, out: Vec::new(), next_order: 1 }
    }

    /// One market event, as the wiring drives it; returns what the venue said.
    fn market(&mut self, event: MarketEvent) -> Vec<Execution> {
        let out = &mut self.out;
        let mut sink = |execution| {
            out.push(execution);
            Ok(())
        };
        while let Some(arrival) = self.venue.next_arrived(event.recv_time) {
            self.venue.process(&arrival, &self.books, &mut sink);
        }
        let update = self.books.apply(&event);
        self.venue.on_market(&event, &update, &self.books, &mut sink);
        std::mem::take(&mut self.out)
    }

    #[expect(clippy::too_many_arguments, reason = "a test spells an event out")]
    fn add(&mut self, at: i64, order: u64, side: Side, price: i64, qty: u64) -> Vec<Execution> {
        let mut event = Floor::event(EventKind::AddOrder, at);
        (event.id_a, event.side, event.price, event.qty) = (order, side, Price(price), Qty(qty));
        self.market(event)
    }

    fn reduce(&mut self, kind: EventKind, at: i64, order: u64, qty: u64) -> Vec<Execution> {
        let mut event = Floor::event(kind, at);
        (event.id_a, event.qty) = (order, Qty(qty));
        event.flags = peregrine_types::EventFlags::PRINTABLE;
        self.market(event)
    }

    fn order(&mut self, at: i64, side: Side, price: i64, qty: u64) -> OrderId {
        self.send(at, side, Price(price), Qty(qty), TimeInForce::Day, false)
    }

    #[expect(clippy::too_many_arguments, reason = "a test spells an order out")]
    fn send(
        &mut self,
        at: i64,
        side: Side,
        price: Price,
        qty: Qty,
        time_in_force: TimeInForce,
        is_post_only: bool,
    ) -> OrderId {
        let order_id = OrderId(self.next_order);
        self.next_order += 1;
        let order = NewOrder { symbol: SymbolId(0), side, price, qty, time_in_force, is_post_only };
        let (cause, decision_time) = (EventSeq(0), EpochNanos(at));
        self.venue.send(OrderCommand::New { order_id, order, cause, decision_time }).unwrap();
        order_id
    }

    fn cancel(&mut self, at: i64, order_id: OrderId) {
        let (symbol, cause, decision_time) = (SymbolId(0), EventSeq(0), EpochNanos(at));
        self.venue
            .send(OrderCommand::Cancel { order_id, replacement: OrderId(0), symbol, cause, decision_time })
            .unwrap();
    }
}

fn fills(executions: &[Execution]) -> Vec<(u64, i64, u64)> {
    let fills = executions.iter().filter(|execution| execution.kind == ExecutionKind::Filled);
    fills.map(|fill| (fill.order_id.0, fill.price.0, fill.qty.0)).collect()
}

#[test]
fn an_order_arrives_after_its_latency_and_its_report_after_the_way_back() {
    let mut floor = Floor::new();
    floor.add(100, 1, Side::Buy, 50, 10);
    floor.order(100, Side::Buy, 50, 5);
    assert_eq!(floor.add(109, 2, Side::Sell, 60, 10), []);
    let said = floor.add(110, 3, Side::Sell, 60, 10);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].kind, ExecutionKind::Accepted);
    assert_eq!((said[0].venue_time, said[0].visible_time), (EpochNanos(110), EpochNanos(115)));
}

#[test]
fn a_resting_order_waits_for_the_queue_that_it_met() {
    let mut floor = Floor::new();
    floor.add(100, 1, Side::Buy, 50, 10);
    let own = floor.order(100, Side::Buy, 50, 5);
    floor.add(120, 2, Side::Buy, 50, 20); // behind us
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 130, 1, 4)), []);
    assert_eq!(fills(&floor.reduce(EventKind::CancelOrder, 140, 2, 5)), []);
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 150, 1, 6)), []);
    let said = floor.reduce(EventKind::ExecuteOrder, 160, 2, 3);
    assert_eq!(fills(&said), [(own.0, 50, 3)]);
    assert_eq!((said[0].leaves_qty, said[0].liquidity), (Qty(2), Liquidity::Added));
    assert_eq!(said[0].fee, Notional(-6_000_000));
}

#[test]
fn own_orders_share_one_queue_and_one_liquidity() {
    let mut floor = Floor::new();
    let first = floor.order(100, Side::Buy, 50, 5);
    let second = floor.order(101, Side::Buy, 50, 5);
    floor.add(120, 1, Side::Buy, 50, 30);
    let said = floor.reduce(EventKind::ExecuteOrder, 130, 1, 7);
    assert_eq!(fills(&said), [(first.0, 50, 5), (second.0, 50, 2)]);
}

#[test]
fn liquidity_is_taken_once() {
    let mut floor = Floor::new();
    floor.add(100, 1, Side::Sell, 60, 10);
    floor.add(101, 2, Side::Sell, 61, 10);
    let first = floor.send(102, Side::Buy, Price(60), Qty(8), TimeInForce::ImmediateOrCancel, false);
    let second = floor.send(103, Side::Buy, Price(61), Qty(8), TimeInForce::ImmediateOrCancel, false);
    let said = floor.add(120, 3, Side::Buy, 40, 1);
    assert_eq!(fills(&said), [(first.0, 60, 8), (second.0, 60, 2), (second.0, 61, 6)]);
    // The real market executes the same ten shares: none of them is left for anybody of ours.
    floor.order(121, Side::Sell, 60, 5);
    floor.add(140, 4, Side::Buy, 40, 1);
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 150, 1, 10)), []);
}

/// A level of 100, 60 of which an own order took: an own order that joins has 40 ahead of it, and executions of the 60 do
/// not move it forward.
#[test]
fn taken_shares_stand_ahead_of_nobody() {
    let mut floor = Floor::new();
    floor.add(100, 1, Side::Buy, 50, 100);
    floor.send(100, Side::Sell, Price(50), Qty(60), TimeInForce::ImmediateOrCancel, false);
    let own = floor.order(101, Side::Buy, 50, 100);
    assert_eq!(fills(&floor.add(120, 2, Side::Sell, 70, 1)), [(1, 50, 60)]);
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 130, 1, 50)), []);
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 140, 1, 50)), []);
    // All that stood ahead is gone now; whoever joined behind is behind.
    floor.add(150, 3, Side::Buy, 50, 10);
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 160, 3, 10)), [(own.0, 50, 10)]);
}

#[test]
fn post_only_is_refused_where_it_would_take_and_ioc_leaves_nothing() {
    let mut floor = Floor::new();
    floor.add(100, 1, Side::Sell, 60, 10);
    floor.send(100, Side::Buy, Price(60), Qty(1), TimeInForce::Day, true);
    floor.send(100, Side::Buy, Price(59), Qty(1), TimeInForce::ImmediateOrCancel, false);
    let said = floor.add(120, 2, Side::Sell, 70, 1);
    let reasons: Vec<_> = said.iter().map(|execution| (execution.kind, execution.reason)).collect();
    assert_eq!(
        reasons,
        [
            (ExecutionKind::Rejected, ReasonCode::VenuePostOnly),
            (ExecutionKind::Accepted, ReasonCode::None),
            (ExecutionKind::Canceled, ReasonCode::VenueIocRemainder),
        ]
    );
}

#[test]
fn a_price_off_the_instruments_tick_is_rejected() {
    let mut floor = Floor::new();
    for (order_id, price) in [(1, 52), (2, 55)] {
        let (side, qty, time_in_force) = (Side::Buy, Qty(1), TimeInForce::Day);
        let order = NewOrder { symbol: SymbolId(3), side, price: Price(price), qty, time_in_force, is_post_only: true };
        let (order_id, cause, decision_time) = (OrderId(order_id), EventSeq(0), EpochNanos(100));
        floor.venue.send(OrderCommand::New { order_id, order, cause, decision_time }).unwrap();
    }
    let said = floor.add(120, 1, Side::Sell, 70, 1);
    let verdicts: Vec<_> = said.iter().map(|execution| (execution.kind, execution.reason)).collect();
    let rejected = (ExecutionKind::Rejected, ReasonCode::VenuePriceInvalid);
    assert_eq!(verdicts, [rejected, (ExecutionKind::Accepted, ReasonCode::None)]);
}

#[test]
fn a_cancel_races_the_fill_and_a_late_one_is_refused() {
    let mut floor = Floor::new();
    let own = floor.order(100, Side::Buy, 50, 5);
    floor.add(120, 1, Side::Buy, 50, 9);
    floor.cancel(121, own);
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 125, 1, 9)), [(own.0, 50, 5)]);
    let said = floor.add(140, 2, Side::Buy, 40, 1);
    assert_eq!((said[0].kind, said[0].reason), (ExecutionKind::CancelRejected, ReasonCode::VenueUnknownOrder));
}

#[test]
fn halts_reject_new_orders_and_the_close_cancels_the_rest() {
    let mut floor = Floor::new();
    let own = floor.order(100, Side::Buy, 50, 5);
    let mut halt = Floor::event(EventKind::TradingAction, 120);
    halt.detail = b'H';
    floor.market(halt);
    floor.order(121, Side::Buy, 50, 5);
    let said = floor.add(140, 1, Side::Sell, 70, 1);
    assert_eq!((said[0].kind, said[0].reason), (ExecutionKind::Rejected, ReasonCode::VenueHalted));
    let mut close = Floor::event(EventKind::SystemEvent, 150);
    close.detail = b'M';
    let said = floor.market(close);
    assert_eq!(
        (said[0].order_id, said[0].kind, said[0].reason),
        (own, ExecutionKind::Canceled, ReasonCode::VenueClosed)
    );
    assert_eq!(floor.venue.resting_count(), 0);
}

#[test]
fn nobody_is_filled_in_a_halt_and_queues_still_move() {
    let mut floor = Floor::new();
    floor.add(100, 1, Side::Buy, 50, 10);
    let own = floor.order(100, Side::Buy, 50, 5);
    floor.add(120, 2, Side::Buy, 50, 10); // behind us
    let action = |at, state| {
        let mut action = Floor::event(EventKind::TradingAction, at);
        action.detail = state;
        action
    };
    floor.market(action(130, b'H'));
    assert_eq!(fills(&floor.add(140, 3, Side::Sell, 40, 30)), [], "it crosses us and waits for the auction");
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 150, 2, 5)), []);
    let mut hidden = Floor::event(EventKind::Trade, 160);
    (hidden.price, hidden.qty) = (Price(45), Qty(9));
    assert_eq!(fills(&floor.market(hidden)), []);
    floor.reduce(EventKind::DeleteOrder, 170, 1, 0); // what stood ahead leaves
    floor.reduce(EventKind::DeleteOrder, 171, 3, 0);
    floor.market(action(180, b'T'));
    assert_eq!(fills(&floor.reduce(EventKind::ExecuteOrder, 190, 2, 3)), [(own.0, 50, 3)]);
}

#[test]
fn what_was_taken_is_forgotten_with_the_session() {
    let mut floor = Floor::new();
    floor.add(100, 1, Side::Sell, 60, 10);
    floor.send(100, Side::Buy, Price(60), Qty(10), TimeInForce::ImmediateOrCancel, false);
    assert_eq!(fills(&floor.add(120, 2, Side::Buy, 40, 1)), [(1, 60, 10)]);
    for (at, kind) in [(130, EventKind::SessionEnd), (140, EventKind::SessionStart)] {
        floor.market(Floor::event(kind, at));
    }
    floor.add(150, 1, Side::Sell, 60, 10);
    let own = floor.send(150, Side::Buy, Price(60), Qty(10), TimeInForce::ImmediateOrCancel, false);
    assert_eq!(fills(&floor.add(170, 2, Side::Buy, 40, 1)), [(own.0, 60, 10)]);
}

#[test]
fn an_order_that_would_have_met_ours_fills_it_once() {
    let mut floor = Floor::new();
    let own = floor.order(100, Side::Buy, 50, 5);
    let said = floor.add(120, 1, Side::Sell, 50, 3);
    assert_eq!(fills(&said), [(own.0, 50, 3)]);
    // The three shares are gone in our world: an own order cannot take them again.
    floor.send(121, Side::Buy, Price(50), Qty(4), TimeInForce::ImmediateOrCancel, false);
    let said = floor.add(140, 2, Side::Buy, 40, 1);
    assert_eq!(fills(&said), []);
}

#[test]
fn a_refused_order_is_reported_after_the_way_back() {
    let mut floor = Floor::new();
    let own = floor.order(100, Side::Buy, 50, 5);
    let arrival = floor.venue.next_arrived(EpochNanos(110)).unwrap();
    let mut said = Vec::new();
    floor.venue.refuse(&arrival, ReasonCode::VenueCapacity, &mut |execution| {
        said.push(execution);
        Ok(())
    });
    let report = said[0];
    assert_eq!((report.order_id, report.kind, report.qty), (own, ExecutionKind::Rejected, Qty(5)));
    assert_eq!((report.venue_time, report.visible_time), (EpochNanos(110), EpochNanos(115)));
    assert_eq!((said.len(), floor.venue.counters().rejected, floor.venue.resting_count()), (1, 1, 0));
}

#[test]
fn impossible_capacities_and_latencies_are_refused() {
    let paper = |orders| PaperConfig { symbol_count_max: 1, order_count_max: orders, fees: FEES, ticks: ticks() };
    assert!(PaperVenue::new(paper(0), FifoQueue, LATENCY).is_err());
    let instant = ConstantLatency { to_venue: Nanos(1), from_venue: Nanos(0) };
    let error = PaperVenue::new(paper(1), FifoQueue, instant).unwrap_err();
    assert!(error.to_string().contains("from_venue"));
}

/// Another way for every kind.
struct ByKind;

impl LatencyModel for ByKind {
    fn way_there(&mut self, kind: RequestKind, _: EpochNanos) -> Nanos {
        match kind {
            RequestKind::Submit => Nanos(100),
            RequestKind::Replace => Nanos(20),
            RequestKind::Cancel => Nanos(1),
        }
    }

    fn way_back(&mut self, kind: ReportKind, _: EpochNanos) -> Nanos {
        match kind {
            ReportKind::Submit => Nanos(50),
            ReportKind::Replace => Nanos(70),
            ReportKind::Cancel => Nanos(30),
            ReportKind::Fill => Nanos(2),
        }
    }

    fn way_there_min(&self) -> Nanos {
        Nanos(1)
    }

    fn way_back_min(&self) -> Nanos {
        Nanos(2)
    }
}

/// Messages take the way of their kind, but none overtakes another of its direction: a quick cancel is there with the slow
/// order before it, a quick fill is heard with the slow acceptance before it.
#[test]
fn messages_take_the_way_of_their_kind_and_none_overtakes_another() {
    let mut floor = Floor::with(ByKind);
    let when = |said: &[Execution]| -> Vec<_> {
        said.iter().map(|said| (said.kind, said.venue_time.0, said.visible_time.0)).collect()
    };
    floor.add(100, 1, Side::Sell, 60, 10);
    let first = floor.order(100, Side::Buy, 60, 4);
    floor.cancel(101, first);
    use ExecutionKind::{Accepted, CancelRejected, Canceled, Filled, Rejected};
    assert_eq!(floor.add(199, 2, Side::Sell, 70, 1), []);
    let said = floor.add(200, 3, Side::Sell, 70, 1);
    assert_eq!(when(&said), [(Accepted, 200, 250), (Filled, 200, 250), (CancelRejected, 200, 250)]);
    // By itself a cancel is quick, and so is a fill.
    let resting = floor.order(300, Side::Buy, 50, 5);
    assert_eq!(when(&floor.add(400, 4, Side::Sell, 70, 1)), [(Accepted, 400, 450)]);
    floor.add(500, 5, Side::Sell, 70, 1);
    assert_eq!(when(&floor.add(510, 6, Side::Sell, 50, 2)), [(Filled, 510, 512)]);
    floor.cancel(520, resting);
    assert_eq!(when(&floor.add(521, 7, Side::Sell, 70, 1)), [(Canceled, 521, 551)]);
    // The refusal of a replacement comes as the answer to a replacement.
    let order = NewOrder {
        symbol: SymbolId(0),
        side: Side::Buy,
        price: Price(40),
        qty: Qty(1),
        time_in_force: TimeInForce::Day,
        is_post_only: false,
    };
    let (cause, decision_time) = (EventSeq(0), EpochNanos(600));
    let (order_id, replaces) = (OrderId(90), resting);
    floor.venue.send(OrderCommand::Replace { order_id, replaces, order, cause, decision_time }).unwrap();
    assert_eq!(when(&floor.add(620, 8, Side::Sell, 70, 1)), [(Rejected, 620, 690)]);
    let arrival = Arrival {
        at: EpochNanos(700),
        command: OrderCommand::Replace { order_id, replaces, order, cause, decision_time },
    };
    let mut said = Vec::new();
    floor.venue.refuse(&arrival, ReasonCode::VenueReplaceTooLate, &mut |execution| {
        said.push(execution);
        Ok(())
    });
    assert_eq!(when(&said), [(Rejected, 700, 770)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Over any market: every order is accounted for share by share, no event fills more than it brought, reports are
    /// visible in order and never before their cause.
    #[test]
    fn shares_are_conserved(steps in proptest::collection::vec((0_u8..10, 0_u64..12, 95_i64..105, 1_u64..20), 1..150)) {
        let mut floor = Floor::new();
        let mut said = Vec::new();
        let mut ordered = std::collections::BTreeMap::new();
        let mut on_their_way: Vec<i64> = Vec::new();
        let mut at = 0;
        let pass = |floor: &mut Floor, at: i64, detail: u8| floor.market(MarketEvent { detail, ..Floor::event(EventKind::SystemEvent, at) });
        for (what, id, price, qty) in steps {
            at += 3;
            if what >= 8 && on_their_way.len() == ROOM {
                // So many own messages in a row find no room: time passes, and those before have arrived.
                at += LATENCY.to_venue.0;
                said.extend(pass(&mut floor, at, b'Q'));
                on_their_way.clear();
            }
            if what >= 8 { on_their_way.push(at) } else { on_their_way.retain(|sent| sent + LATENCY.to_venue.0 > at) }
            let side = if id % 2 == 0 { Side::Buy } else { Side::Sell };
            let executions = match what {
                0..=3 => floor.add(at, at as u64, side, price, qty),
                4 | 5 => floor.reduce(EventKind::ExecuteOrder, at, 3 + 3 * id, qty),
                6 => floor.reduce(EventKind::CancelOrder, at, 3 + 3 * id, qty),
                7 => floor.reduce(EventKind::DeleteOrder, at, 3 + 3 * id, 0),
                8 => { floor.cancel(at, OrderId(1 + id)); Vec::new() }
                _ => {
                    let own = floor.order(at, side, price, qty);
                    ordered.insert(own, qty);
                    Vec::new()
                }
            };
            let added: u64 = executions.iter()
                .filter(|e| e.kind == ExecutionKind::Filled && e.liquidity == Liquidity::Added).map(|e| e.qty.0).sum();
            prop_assert!(added <= qty, "one event of {} filled {}", qty, added);
            said.extend(executions);
        }
        said.extend(pass(&mut floor, at + 100, b'M'));
        for pair in said.windows(2) {
            prop_assert!(pair[0].visible_time <= pair[1].visible_time);
        }
        for (own, qty) in ordered {
            let of = |kind| said.iter().filter(|e| e.order_id == own && e.kind == kind).map(|e| e.qty.0).sum::<u64>();
            let (filled, canceled, rejected) =
                (of(ExecutionKind::Filled), of(ExecutionKind::Canceled), of(ExecutionKind::Rejected));
            prop_assert_eq!(filled + canceled + rejected, qty, "order {}", own);
        }
        prop_assert_eq!(floor.venue.counters().undelivered, 0);
    }
}
