//! A live run hears the venue in every turn of the feed role, also in one that took packets and no event.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{shipped, small};
use peregrine_book::{BookUpdate, Books};
use peregrine_eventlog::{EventLog, RunFacts};
use peregrine_node::config::Loaded;
use peregrine_node::input::{EventInput, Taken};
use peregrine_node::run::{MachineParts, latency_guard, log_config, machine};
use peregrine_node::stage::batch::Batch;
use peregrine_node::stage::decide::Guard;
use peregrine_node::stage::feed::FeedLog;
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::machine::{Inbox, Machine};
use peregrine_node::stage::path::{Permit, SendPath};
use peregrine_node::stage::schedule::{Pace, Schedule};
use peregrine_node::wiring::{FeedProgress, FeedRole};
use peregrine_risk::{ApprovedOrder, Refused};
use peregrine_runtime::{NullStopwatch, Role, StopFlag, TscClock};
use peregrine_source::SourceError;
use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, Liquidity, MarketEvent, MatchNumber, Notional, OrderId, Price, Qty,
    ReasonCode, Side, Sink, SymbolId,
};

/// A feed of packets that make no events, without an end: duplicates, or packets that wait for what a gap lacks.
struct Duplicates;

impl EventInput for Duplicates {
    const IS_LIVE: bool = true;

    fn step(&mut self, _: &mut impl Sink<MarketEvent>) -> Result<Taken, SourceError> {
        Ok(Taken::Some)
    }

    fn finish(&mut self, _: &mut impl Sink<MarketEvent>) {}

    fn offset(&self) -> u64 {
        0
    }

    fn message_count(&self) -> u64 {
        0
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// A venue that has one report to give, whenever it is asked.
struct Reporting(Option<Execution>);

impl SendPath<Books> for Reporting {
    const IS_LIVE: bool = true;

    fn before_event(&mut self, _: EpochNanos, _: &Books, _: &mut Inbox) {}

    fn after_event(&mut self, _: &MarketEvent, _: &BookUpdate, _: &Books, _: &mut Inbox) {}

    fn accept(&mut self, approved: ApprovedOrder) -> Result<(), Refused> {
        Err(Refused { order: approved, reason: ReasonCode::RingFull })
    }

    fn poll(&mut self, out: &mut Inbox) {
        if let Some(report) = self.0.take() {
            out.push(report).unwrap();
        }
    }

    fn permit(&self) -> Permit {
        Permit::default()
    }

    fn visible_by(&self, _: EpochNanos) -> EpochNanos {
        EpochNanos::MAX
    }

    fn finish(&mut self, _: &Books, _: &mut Inbox) -> bool {
        true
    }
}

fn fill() -> Execution {
    Execution {
        order_id: OrderId(1),
        symbol: SymbolId(0),
        side: Side::Buy,
        kind: ExecutionKind::Filled,
        liquidity: Liquidity::Added,
        reason: ReasonCode::None,
        price: Price(90_000_000_000),
        qty: Qty(10),
        leaves_qty: Qty(0),
        match_number: MatchNumber(1),
        venue_time: EpochNanos(5_000),
        visible_time: EpochNanos(5_000),
        fee: Notional::ZERO,
    }
}

#[test]
fn the_venue_is_heard_while_packets_come_that_make_no_events() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = Loaded::read(&shipped("demo.toml"), &small(dir.path())).unwrap();
    let log = EventLog::create(&log_config(&loaded.config, &dir.path().join("log")), &RunFacts::default()).unwrap();
    let schedule = Schedule::new(Pace::Max, TscClock::calibrated().rate());
    let parts = MachineParts {
        decide_log: LosslessLog::new(log.decide, StopFlag::new()),
        send_log: LosslessLog::new(log.send, StopFlag::new()),
        guard: Guard::Measured(latency_guard(&loaded.config).unwrap()),
        schedule: schedule.clone(),
        stopwatch: NullStopwatch,
    };
    let Machine { books, decide, inbox, .. } = machine(&loaded, EpochNanos(0), parts).unwrap().0;
    let mut role = FeedRole {
        input: Duplicates,
        log: FeedLog::new(LosslessLog::new(log.feed, StopFlag::new()), EpochNanos(0)),
        sink: Machine { books, decide, send: Reporting(Some(fill())), inbox },
        schedule,
        stopwatch: NullStopwatch,
        packet_count_max: u64::MAX,
        is_cut: false,
        packet_count: 0,
        stop_input: StopFlag::new(),
        progress: Arc::new(FeedProgress::default()),
        error: None,
        is_done: false,
        batch: Batch::default(),
    };
    assert!(role.duty_cycle() > 0, "no idle turn");
    let pnl = role.sink.decide.end().pnl;
    assert_eq!(pnl.rows()[0].bought_qty, 10, "the fill reached the decide stage");
}
