//! A live run hears the venue in every turn of the feed role, also in one that took packets and no event; what it rehearses
//! while nothing happens the venue does not hear.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{ErrorKind, Read as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{shipped, small};
use peregrine_book::{BookUpdate, Books};
use peregrine_eventlog::{EventLog, RunFacts};
use peregrine_gateway::Fees;
use peregrine_gateway::live::{LoggedAccount, OrderClient, OrderClientConfig};
use peregrine_gateway::ouch50::Text;
use peregrine_gateway::soup::{ClientConfig, HEARTBEAT_INTERVAL, Password, Username};
use peregrine_node::config::Loaded;
use peregrine_node::input::{EventInput, Taken};
use peregrine_node::live::{KernelWay, LiveSend, LiveSendConfig};
use peregrine_node::run::{MachineParts, latency_guard, log_config, machine};
use peregrine_node::stage::batch::Batch;
use peregrine_node::stage::decide::Guard;
use peregrine_node::stage::feed::FeedLog;
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::machine::{Inbox, Machine};
use peregrine_node::stage::path::{Permit, Rehearsal, SendPath};
use peregrine_node::stage::schedule::{Pace, Schedule};
use peregrine_node::wiring::{FeedProgress, FeedRole};
use peregrine_risk::{ApprovedOrder, Refused};
use peregrine_runtime::{NullStopwatch, Role, StopFlag, TscClock, index_ring};
use peregrine_source::SourceError;
use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, Liquidity, MarketEvent, MatchNumber, Nanos, Notional, OrderId, Price, Qty,
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

fn order_client() -> OrderClient {
    let config = OrderClientConfig {
        session: ClientConfig {
            username: Username::new("desk").unwrap(),
            password: Password::new("secret").unwrap(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: Nanos::from_secs(60),
            login_time_max: Nanos::from_secs(60),
            heartbeat_timeout_ms: None,
            packet_len_max: 512,
            outbox_len_max: 1 << 12,
        },
        symbols: vec![],
        order_count_max: 1,
        order_number_end: 2,
        fill_count_max: 1,
        fees: Fees { added: Price(0), removed: Price(0) },
        midnight: EpochNanos(0),
        capacity: b'P',
        firm: Text(*b"FIRM"),
        answer_time_max: Nanos::from_secs(60),
        resend_age_max: Nanos::from_secs(1),
        reject_count_max: 1,
        probe_count: 1,
        backlog_len_max: 1,
    };
    OrderClient::new(config, LoggedAccount::default())
}

/// The kernel's way is gone without a byte for the venue, and only where all of the way is rehearsed.
#[test]
fn the_venue_hears_nothing_of_a_rehearsal() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = Loaded::read(&shipped("demo.toml"), &small(dir.path())).unwrap();
    let log = EventLog::create(&log_config(&loaded.config, &dir.path().join("log")), &RunFacts::default()).unwrap();
    let venue = TcpListener::bind("127.0.0.1:0").unwrap();
    let way = LiveSendConfig {
        address: venue.local_addr().unwrap(),
        reconnect: Nanos::from_millis(10),
        stop_time_max: Nanos::from_secs(1),
    };
    let (log, notices) = (LosslessLog::new(log.send, StopFlag::new()), index_ring(64).unwrap().0);
    let send = LiveSend::new(order_client(), &way, log, notices, TscClock::calibrated());
    let mut send = send.rehearsing(Some(KernelWay::open().unwrap()));
    let (mut inbox, begin) = (Inbox::new(64), Instant::now());
    let mut turn = |send: &mut LiveSend| {
        SendPath::<Books>::poll(send, &mut inbox);
        assert!(begin.elapsed() < Duration::from_secs(20), "no login");
    };
    venue.set_nonblocking(true).unwrap();
    let mut heard = loop {
        turn(&mut send);
        if let Ok((stream, _)) = venue.accept() {
            break stream;
        }
    };
    heard.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4_096];
    let login = loop {
        turn(&mut send);
        match heard.read(&mut buffer) {
            Ok(count) => break count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    };
    assert_eq!((login, buffer[2]), (49, b'L'), "a login request in its packet");
    for rehearsal in [Rehearsal::Own, Rehearsal::Whole] {
        for _ in 0..50 {
            SendPath::<Books>::keep_warm(&mut send, rehearsal);
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(heard.read(&mut buffer).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "{rehearsal:?}");
    }
    assert_eq!(send.end().rehearsed, Some((50, true)));
}
