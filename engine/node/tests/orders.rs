//! Orders between the stages: what the order table and the log know of each, what happens when there is no room for more,
//! and that none is left behind in a book that orders are to leave.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{generator, shipped};
use peregrine_book::{BookUpdate, MarketBooks};
use peregrine_eventlog::records::{OrderRecord, OrderTransition};
use peregrine_eventlog::{EventLog, LogConfig, LogReader, Recorder, RunFacts, Stream};
use peregrine_generate::Session;
use peregrine_node::config::Loaded;
use peregrine_node::run::{MachineParts, ReplayMachine, latency_guard, machine};
use peregrine_node::stage::decide::Guard;
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::machine::{Inbox, Machine};
use peregrine_node::stage::path::{Permit, SendPath};
use peregrine_node::stage::schedule::{Pace, Schedule};
use peregrine_risk::{ApprovedOrder, InstrumentRules, LimitsConfig, Refused, RiskContext, RiskGate};
use peregrine_runtime::{NullStopwatch, StopFlag, TscClock};
use peregrine_types::{
    BookState, EpochNanos, EventKind, EventSeq, Execution, ExecutionKind, Full, Liquidity, MarketEvent, MatchNumber,
    Nanos, NewOrder, Notional, OrderCommand, OrderId, OrderIntent, Price, Qty, ReasonCode, Side, Sink, SymbolId,
    TimeInForce, TopOfBook,
};
use peregrine_wire::FileFeed;
use peregrine_wire::itch50::Decoder;

const ONE: i64 = 1_000_000_000;

/// A replay's machine with its log in memory.
struct Rig {
    machine: ReplayMachine<NullStopwatch>,
    recorder: Recorder,
    log: LogConfig,
}

fn rig(dir: &Path, set: &[&str], change: impl FnOnce(&mut Loaded)) -> Rig {
    let small = [
        "runtime.pin_threads=false",
        "runtime.lock_memory=false",
        "book.order_count_max=65536",
        "book.level_count_max=65536",
        "feed.symbol_count_max=64",
    ];
    let words: Vec<String> = small.iter().chain(set).map(|word| (*word).to_owned()).collect();
    let mut loaded = Loaded::read(&shipped("demo.toml"), &words).unwrap();
    change(&mut loaded);
    let log = LogConfig {
        dir: dir.join("log"),
        staging_dir: Some(dir.to_owned()),
        staging_record_counts: [1 << 15; 4],
        segment_len_max: 1 << 26,
        stream_len_max: 1 << 32,
        sync_interval: Nanos::from_millis(100),
        is_memory_locked: false,
    };
    let EventLog { decide, send, recorder, .. } = EventLog::create(&log, &RunFacts::default()).unwrap();
    let parts = MachineParts {
        decide_log: LosslessLog::new(decide, StopFlag::new()),
        send_log: LosslessLog::new(send, StopFlag::new()),
        guard: Guard::Measured(latency_guard(&loaded.config).unwrap()),
        schedule: Schedule::new(Pace::Max, TscClock::calibrated().rate()),
        stopwatch: NullStopwatch,
    };
    let (machine, _readers) = machine(&loaded, generator(3, 40_000).midnight, parts).unwrap();
    Rig { machine, recorder, log }
}

impl Rig {
    /// Ends the run and reads what the send stream says.
    fn orders(self) -> Vec<OrderRecord> {
        let Self { machine, mut recorder, log } = self;
        drop(machine);
        while recorder.poll(EpochNanos(0)).unwrap() > 0 {}
        recorder.close().unwrap();
        let reader = LogReader::open(&log.dir, Stream::Send).unwrap();
        reader.payloads::<OrderRecord>().map(|record| *record.unwrap().1).collect()
    }
}

/// Approves orders one after the other; each answers an event of its own.
struct Street {
    risk: RiskGate,
    last_seq: u64,
}

impl Street {
    fn new() -> Self {
        let wide = i64::MAX.unsigned_abs();
        let limits = LimitsConfig {
            order_qty_max: Some(Qty(wide)),
            order_notional_max: Some(Notional(i128::MAX)),
            price_collar_bps: Some(10_000),
            position_qty_max: Some(Qty(wide)),
            gross_notional_max: Some(Notional(i128::MAX)),
            open_orders_max: Some(100),
            order_rate_max: Some(1_000),
            order_rate_window: Some(Nanos(1_000)),
            duplicate_window: Some(Nanos(1)),
            data_age_max: Some(Nanos(1)),
        };
        let mut risk = RiskGate::new(&limits.validate().unwrap(), 4);
        assert!(risk.permit(SymbolId(0), Some(InstrumentRules::US_EQUITY)));
        Self { risk, last_seq: 10 }
    }

    fn approve(&mut self, intent: &OrderIntent) -> ApprovedOrder {
        self.last_seq += 1;
        let now = EpochNanos(i64::try_from(self.last_seq).unwrap() * ONE);
        let context = RiskContext {
            book_state: BookState::GOOD,
            reference_price: Some(Price(50 * ONE)),
            top: TopOfBook::default(),
            data_time: now,
            is_input_finite: true,
        };
        self.risk.check(intent, &context, EventSeq(self.last_seq), now).unwrap()
    }

    fn buy(&mut self, qty: u64, time_in_force: TimeInForce) -> ApprovedOrder {
        let order = NewOrder {
            symbol: SymbolId(0),
            side: Side::Buy,
            price: Price(50 * ONE),
            qty: Qty(qty),
            time_in_force,
            is_post_only: false,
        };
        self.approve(&OrderIntent::New(order))
    }
}

/// A table of two: an order that rests keeps nobody from coming who has room, and one that is refused leaves no trace in
/// what is known of the others.
#[test]
fn an_old_order_and_a_refused_one_leave_the_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig =
        rig(dir.path(), &["book.is_unknown_state_tradable=true"], |loaded| loaded.config.runtime.order_slots = 2);
    let mut street = Street::new();
    let mut said: Vec<Execution> = Vec::new();
    let mut send = |order: ApprovedOrder| {
        rig.machine.send.accept(order).unwrap();
        let mut out = |execution| {
            said.push(execution);
            Ok(())
        };
        rig.machine.send.before_event(EpochNanos::MAX, &rig.machine.books, &mut out);
    };
    send(street.buy(10, TimeInForce::Day)); // 1 rests
    send(street.buy(1, TimeInForce::ImmediateOrCancel)); // 2 comes and goes
    send(street.buy(20, TimeInForce::Day)); // 3 rests
    send(street.buy(30, TimeInForce::Day)); // 4 has no room
    send(street.approve(&OrderIntent::Cancel { order_id: OrderId(1), symbol: SymbolId(0) }));
    let rejected: Vec<_> = said.iter().filter(|report| report.kind == ExecutionKind::Rejected).collect();
    assert_eq!(rejected.len(), 1, "{said:?}");
    assert_eq!((rejected[0].order_id, rejected[0].reason), (OrderId(4), ReasonCode::VenueCapacity));
    let records = rig.orders();
    for record in &records {
        let event_seq = EventSeq(record.order_id.0 + 10);
        let decision_time = EpochNanos(i64::try_from(event_seq.0).unwrap() * ONE);
        assert_eq!((record.event_seq, record.decision_time), (event_seq, decision_time), "{record:?}");
    }
    let steps = |id: u64| -> Vec<_> {
        let of = records.iter().filter(|record| record.order_id == OrderId(id));
        of.map(|record| (record.transition, record.qty.0, record.leaves_qty.0)).collect()
    };
    use OrderTransition::{Accepted, CancelRequested, Canceled, Rejected, Submitted};
    assert_eq!(steps(1), [(Submitted, 10, 10), (Accepted, 10, 10), (CancelRequested, 0, 10), (Canceled, 10, 0)]);
    assert_eq!(steps(2), [(Submitted, 1, 1), (Accepted, 1, 1), (Canceled, 1, 0)]);
    assert_eq!(steps(3), [(Submitted, 20, 20), (Accepted, 20, 20)]);
    assert_eq!(steps(4), [(Rejected, 30, 0)]);
}

/// An order ends while its replacement, and a cancel of both, are on their way: an ordinary race. Nothing of it is illegal.
#[test]
fn a_cancel_of_a_replacement_that_came_too_late_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &["book.is_unknown_state_tradable=true"], |_| {});
    let (mut street, mut said) = (Street::new(), Vec::new());
    let mut out = |execution: Execution| -> Result<(), Full<Execution>> {
        said.push(execution);
        Ok(())
    };
    let ReplayMachine { send, books, .. } = &mut rig.machine;
    send.accept(street.buy(10, TimeInForce::Day)).unwrap();
    send.before_event(EpochNanos(20 * ONE), books, &mut out);
    let (order_id, symbol, price) = (OrderId(1), SymbolId(0), Price(51 * ONE));
    send.accept(street.approve(&OrderIntent::Replace { order_id, symbol, price, qty: Qty(10) })).unwrap();
    send.accept(street.approve(&OrderIntent::Cancel { order_id, symbol })).unwrap();
    // The end of market hours cancels what rests.
    let now = EpochNanos(11 * ONE + 1);
    let close = MarketEvent { detail: b'M', ..MarketEvent::new(EventKind::SystemEvent, SymbolId::MARKET, now, now) };
    let update = books.apply(&close);
    send.after_event(&close, &update, books, &mut out);
    send.before_event(EpochNanos::MAX, books, &mut out);
    let refused: Vec<_> = said.iter().filter(|report| report.kind == ExecutionKind::Rejected).collect();
    assert_eq!(refused.len(), 1, "{said:?}");
    assert_eq!((refused[0].order_id, refused[0].reason), (OrderId(2), ReasonCode::VenueReplaceTooLate));
    let steps: Vec<_> = rig.orders().iter().map(|record| (record.order_id.0, record.transition)).collect();
    use OrderTransition::{Accepted, CancelRejected, CancelRequested, Canceled, ReplaceRejected, Submitted};
    let expected =
        [(1, Submitted), (1, Accepted), (1, Canceled), (2, ReplaceRejected), (1, CancelRequested), (1, CancelRejected)];
    assert_eq!(steps, expected);
}

/// A replacement for which the order table has no room is refused for that, and not as too late.
#[test]
fn a_replacement_without_room_is_refused_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let set = ["book.is_unknown_state_tradable=true"];
    let mut rig = rig(dir.path(), &set, |loaded| loaded.config.runtime.order_slots = 2);
    let (mut street, mut said) = (Street::new(), Vec::new());
    let mut send = |order: ApprovedOrder| {
        rig.machine.send.accept(order).unwrap();
        let mut out = |execution| {
            said.push(execution);
            Ok(())
        };
        rig.machine.send.before_event(EpochNanos::MAX, &rig.machine.books, &mut out);
    };
    send(street.buy(10, TimeInForce::Day));
    send(street.buy(20, TimeInForce::Day));
    let (order_id, symbol, price) = (OrderId(1), SymbolId(0), Price(51 * ONE));
    send(street.approve(&OrderIntent::Replace { order_id, symbol, price, qty: Qty(10) }));
    let refused = said.last().unwrap();
    let expected = (OrderId(3), ExecutionKind::Rejected, ReasonCode::VenueCapacity);
    assert_eq!((refused.order_id, refused.kind, refused.reason), expected);
}

fn events() -> Vec<MarketEvent> {
    let config = generator(3, 40_000);
    let mut feed = FileFeed::new(Decoder::new(config.midnight, 64));
    let mut events = Vec::new();
    let mut sink = |event| -> Result<(), Full<MarketEvent>> {
        events.push(event);
        Ok(())
    };
    Session::new(config).unwrap().for_each_message(|_, message| {
        assert!(feed.on_message(message, None, &mut sink).is_ok());
    });
    events
}

/// A gap opens one nanosecond after a decision, while its order is on its way; its symbol is silent from then on. Once
/// the order is live it is cancelled all the same.
#[test]
fn an_order_on_its_way_into_a_gap_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &["decide.take_margin_ticks=1000.0"], |_| {});
    let events = events();
    let mut rest = events.iter();
    let decided = rest.by_ref().find(|event| {
        let before = rig.machine.decide.counters().orders_approved;
        rig.machine.on_event(event);
        rig.machine.decide.counters().orders_approved > before.max(50)
    });
    let decided = *decided.unwrap();
    let now = decided.recv_time.plus(Nanos(1));
    rig.machine.on_event(&MarketEvent::new(EventKind::GapStart, SymbolId::MARKET, now, now));
    for event in rest.filter(|event| event.symbol != decided.symbol && event.recv_time > now).take(5_000) {
        rig.machine.on_event(event);
    }
    let mut ends = BTreeMap::new();
    for record in rig.orders() {
        let has_ended = matches!(
            record.transition,
            OrderTransition::Filled | OrderTransition::Canceled | OrderTransition::Rejected
        );
        *ends.entry(record.order_id).or_insert(false) |= has_ended;
    }
    let open: Vec<_> = ends.iter().filter(|(_, has_ended)| !**has_ended).map(|(id, _)| id).collect();
    assert!(ends.len() > 50 && open.is_empty(), "{} orders, left in a stale book: {open:?}", ends.len());
}

/// A live venue that answers when it is told to.
#[derive(Debug, Default)]
struct SlowVenue {
    now: EpochNanos,
    sent: Vec<OrderCommand>,
    reports: Vec<Execution>,
}

impl<B: MarketBooks> SendPath<B> for SlowVenue {
    const IS_LIVE: bool = true;

    fn before_event(&mut self, _: EpochNanos, _: &B, _: &mut Inbox) {}

    fn after_event(&mut self, _: &MarketEvent, _: &BookUpdate, _: &B, _: &mut Inbox) {}

    fn accept(&mut self, approved: ApprovedOrder) -> Result<(), Refused> {
        self.sent.push(*approved.command());
        Ok(())
    }

    fn poll(&mut self, out: &mut Inbox) {
        for report in self.reports.drain(..) {
            out.push(report).unwrap();
        }
    }

    fn permit(&self) -> Permit {
        Permit { now: self.now, ..Permit::default() }
    }

    fn visible_by(&self, _: EpochNanos) -> EpochNanos {
        EpochNanos::MAX
    }

    fn finish(&mut self, _: &B, _: &mut Inbox) -> bool {
        true
    }
}

/// The gap opens before the venue has answered, and no event comes any more: once the order is accepted it is cancelled.
#[test]
fn an_order_accepted_within_a_gap_is_cancelled_though_no_event_comes() {
    let dir = tempfile::tempdir().unwrap();
    let Rig { machine, .. } = rig(dir.path(), &["decide.take_margin_ticks=1000.0"], |_| {});
    let Machine { books, decide, inbox, .. } = machine;
    let mut machine = Machine { books, decide, send: SlowVenue::default(), inbox };
    let mut is_decided = |event: &MarketEvent| {
        machine.on_event(event);
        !machine.send.sent.is_empty()
    };
    let mut now = events().iter().find(|event| is_decided(event)).unwrap().recv_time.plus(Nanos(1));
    machine.on_event(&MarketEvent::new(EventKind::GapStart, SymbolId::MARKET, now, now));
    let mut poll = |reports: Vec<Execution>, now| {
        (machine.send.reports, machine.send.now) = (reports, now);
        machine.poll();
        std::mem::take(&mut machine.send.sent)
    };
    let sent = poll(Vec::new(), now);
    assert!(sent.iter().all(|command| matches!(command, OrderCommand::New { .. })), "{sent:?}");
    now = now.plus(Nanos::from_millis(1));
    let of = |command: &OrderCommand, kind| {
        let OrderCommand::New { order_id, order, .. } = *command else { panic!("{command:?}") };
        let NewOrder { symbol, side, price, qty, .. } = order;
        let (reason, match_number) = (ReasonCode::None, MatchNumber(0));
        let (venue_time, visible_time, liquidity, fee) = (now, now, Liquidity::Added, Notional(0));
        let leaves_qty = qty;
        Execution {
            order_id,
            symbol,
            side,
            kind,
            liquidity,
            reason,
            price,
            qty,
            leaves_qty,
            match_number,
            venue_time,
            visible_time,
            fee,
        }
    };
    let withdrawn = poll(sent.iter().map(|command| of(command, ExecutionKind::Accepted)).collect(), now);
    let ids = |commands: &[OrderCommand]| commands.iter().map(OrderCommand::order_id).collect::<Vec<_>>();
    assert!(withdrawn.iter().all(|command| matches!(command, OrderCommand::Cancel { .. })), "{withdrawn:?}");
    assert_eq!(ids(&withdrawn), ids(&sent));
    assert_eq!(poll(Vec::new(), now.plus(Nanos::from_secs(5))), [], "each once");
}
