//! The engine's send stage over TCP against a venue that stops reading for a while: its system takes what it has room for,
//! and then its window is shut. What waited on our side of it until the venue reads again would be old; it never arrives.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was tried")]

#[path = "common/desk.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "the caller is for other tests")]
mod desk;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use desk::client_config;
use peregrine_book::Books;
use peregrine_eventlog::{EventLog, LogConfig, Recorder, RunFacts};
use peregrine_gateway::Fees;
use peregrine_gateway::live::{LoggedAccount, OrderClient, OrderClientConfig, Phase};
use peregrine_gateway::ouch50::*;
use peregrine_gateway::soup::*;
use peregrine_node::live::{LiveSend, LiveSendConfig};
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::machine::Inbox;
use peregrine_node::stage::path::SendPath;
use peregrine_risk::{InstrumentRules, LimitsConfig, RiskContext, RiskGate};
use peregrine_runtime::{StopFlag, TscClock, index_ring, system_now};
use peregrine_types::*;

/// How old an order may be that is sent again, and how long one may wait for the socket.
const ORDER_AGE_MAX: Nanos = Nanos::from_millis(200);
/// Longer than any order of the test takes to be refused for want of room.
const STALL: Duration = Duration::from_millis(1_500);
const PRICE: Price = Price(10_000_000_000);

// ---- the venue ------------------------------------------------------------------------------------------------------

/// What the test and the venue's thread share.
#[derive(Default)]
struct Shared {
    is_stalled: AtomicBool,
    is_over: AtomicBool,
    connection_count: AtomicUsize,
    /// Orders that arrived on the connection under way.
    order_count: AtomicUsize,
    /// And on the one before it.
    before_count: AtomicUsize,
}

/// A venue that answers queries and mass cancels, and takes orders without a word.
fn serve(listener: &TcpListener, shared: &Shared) {
    let mut session = ServerSession::new(ServerConfig {
        username: Username::new("desk").unwrap(),
        password: Password::new("secret").unwrap(),
        session: SessionId::new("day").unwrap(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(60),
        login_time_max: Nanos::from_secs(60),
        packet_len_max: 512,
        outbox_len_max: 1 << 20,
        message_count_max: 100_000,
        byte_count_max: 1 << 24,
    });
    let mut next = 1;
    while !shared.is_over.load(Ordering::Acquire) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        shared.before_count.store(shared.order_count.swap(0, Ordering::AcqRel), Ordering::Release);
        shared.connection_count.fetch_add(1, Ordering::AcqRel);
        session.connect(system_now());
        drop(talk(stream, &mut session, &mut next, shared));
        session.disconnect(&mut |_| {});
    }
}

/// Connections of this listener get little room for what is not read yet.
#[expect(unsafe_code, reason = "the standard library has no such option")]
fn narrow(listener: &TcpListener) {
    let (len, size) = (4_096 as libc::c_int, libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap());
    let (socket, value) = (listener.as_raw_fd(), (&raw const len).cast());
    // SAFETY: the socket lives, and the value lives through the call and is as long as is said.
    let code = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, value, size) };
    assert_eq!(code, 0);
}

/// One connection, to its end.
fn talk(mut stream: TcpStream, session: &mut ServerSession, next: &mut u32, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    while !shared.is_over.load(Ordering::Acquire) {
        if shared.is_stalled.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let mut heard = vec![];
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => session.receive(&buffer[..len], system_now(), &mut |event: ServerEvent<'_>| {
                if let ServerEvent::Unsequenced(payload) = event {
                    heard.push(payload.to_vec());
                }
            }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_micros(50)),
            Err(error) => return Err(error),
        }
        for payload in heard {
            on_message(&payload, session, next, shared);
        }
        session.poll(system_now(), &mut |_| {});
        match stream.write(session.pending()) {
            Ok(len) => session.sent(len, system_now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn on_message(payload: &[u8], session: &mut ServerSession, next: &mut u32, shared: &Shared) {
    let mut say = |bytes: &[u8]| session.sequence(bytes, system_now()).map(drop).unwrap();
    let mut buffer = [0; MESSAGE_LEN_MAX];
    match Inbound::parse(payload).unwrap() {
        Inbound::AccountQuery(..) => {
            let answer = AccountQueryResponse { next_user_ref_num: (*next).into(), ..AccountQueryResponse::blank() };
            say(MessageBuilder::new(&mut buffer, &answer).unwrap().finish());
        }
        Inbound::MassCancel(m, _) => {
            *next = m.user_ref_num.get() + 1;
            let answer = MassCancelResponse { user_ref_num: m.user_ref_num, ..MassCancelResponse::blank() };
            say(MessageBuilder::new(&mut buffer, &answer).unwrap().finish());
        }
        Inbound::EnterOrder(m, _) => {
            *next = m.user_ref_num.get() + 1;
            shared.order_count.fetch_add(1, Ordering::AcqRel);
        }
        Inbound::ReplaceOrder(..)
        | Inbound::CancelOrder(..)
        | Inbound::ModifyOrder(..)
        | Inbound::DisableOrderEntry(..)
        | Inbound::EnableOrderEntry(..)
        | Inbound::Unknown(_) => {}
    }
}

// ---- the engine -----------------------------------------------------------------------------------------------------

struct Engine {
    send: LiveSend,
    gate: RiskGate,
    inbox: Inbox,
    recorder: Recorder,
}

impl Engine {
    fn begin(dir: &std::path::Path, address: SocketAddr) -> Self {
        let log = LogConfig {
            dir: dir.join("run"),
            staging_dir: None,
            staging_record_counts: [1 << 10, 1 << 10, 1 << 17, 1 << 10],
            segment_len_max: 1 << 24,
            stream_len_max: 1 << 34,
            sync_interval: Nanos::from_millis(10),
            is_memory_locked: false,
        };
        let log = EventLog::create(&log, &RunFacts::default()).unwrap();
        let client = OrderClientConfig {
            // Room for a cancel of every order that is unknown.
            session: ClientConfig { outbox_len_max: 1 << 23, ..client_config("desk") },
            symbols: vec![Symbol::new("ALFA").unwrap()],
            order_count_max: 1 << 16,
            order_number_end: 1 << 18,
            fill_count_max: 1 << 10,
            fees: Fees { added: Price(0), removed: Price(0) },
            midnight: EpochNanos(0),
            capacity: b'P',
            firm: Text(*b"FIRM"),
            answer_time_max: Nanos::from_secs(60),
            resend_age_max: ORDER_AGE_MAX,
            reject_count_max: 20,
            probe_count: 1,
            backlog_len_max: 4_096,
        };
        let client = OrderClient::new(client, LoggedAccount::default());
        let way = LiveSendConfig { address, reconnect: Nanos::from_millis(20), stop_time_max: Nanos::from_secs(10) };
        let (notices, _) = index_ring(1_024).unwrap();
        let send_log = LosslessLog::new(log.send, StopFlag::new());
        let mut send = LiveSend::new(client, &way, send_log, notices, TscClock::calibrated());
        SendPath::<Books>::limit_decision_age(&mut send, Nanos::from_secs(1));
        Self { send, gate: gate(), inbox: Inbox::new(1 << 17), recorder: log.recorder }
    }

    fn turn(&mut self) {
        SendPath::<Books>::poll(&mut self.send, &mut self.inbox);
        while let Some(execution) = self.inbox.pop_visible(EpochNanos::MAX) {
            self.gate.on_execution(&execution);
        }
        let permit = SendPath::<Books>::permit(&self.send);
        self.gate.begin_after(permit.last_number);
        self.recorder.poll(system_now()).unwrap();
    }

    fn wait(&mut self, what: &str, is_so: impl Fn(&OrderClient) -> bool) {
        let begin = Instant::now();
        while !is_so(self.send.client()) {
            self.turn();
            assert!(begin.elapsed() < Duration::from_secs(40), "{what}: {:?}", self.send.client().counters());
        }
    }

    fn order(&mut self) -> Result<(), ReasonCode> {
        let now = system_now();
        let (symbol, side, time_in_force) = (SymbolId(0), Side::Buy, TimeInForce::Day);
        let order = NewOrder { symbol, side, price: PRICE, qty: Qty(100), time_in_force, is_post_only: false };
        let context = RiskContext {
            book_state: BookState::default(),
            reference_price: Some(PRICE),
            top: TopOfBook::default(),
            data_time: now,
            is_input_finite: true,
        };
        let approved = self.gate.check(&OrderIntent::New(order), &context, EventSeq(1), now)?;
        SendPath::<Books>::accept(&mut self.send, approved).map_err(|refused| {
            self.gate.revoke(refused.order);
            refused.reason
        })
    }
}

fn gate() -> RiskGate {
    let limits = LimitsConfig {
        order_qty_max: Some(Qty(10_000)),
        order_notional_max: Some(Notional(i128::MAX)),
        price_collar_bps: Some(5_000),
        position_qty_max: Some(Qty(1 << 40)),
        gross_notional_max: Some(Notional(i128::MAX)),
        open_orders_max: Some(1 << 16),
        order_rate_max: Some(1 << 20),
        order_rate_window: Some(Nanos::from_secs(1)),
        duplicate_window: Some(Nanos(1)),
        data_age_max: Some(Nanos::from_secs(1)),
    };
    let mut gate = RiskGate::new(&limits.validate().unwrap(), 1);
    gate.permit(SymbolId(0), Some(InstrumentRules::US_EQUITY));
    gate
}

#[test]
fn what_waits_for_a_venue_that_does_not_read_never_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    narrow(&listener);
    let (address, shared) = (listener.local_addr().unwrap(), Arc::new(Shared::default()));
    let venue = std::thread::spawn({
        let shared = Arc::clone(&shared);
        move || serve(&listener, &shared)
    });
    let mut engine = Engine::begin(folder.path(), address);
    engine.wait("the login", |client| client.block().is_none());
    shared.is_stalled.store(true, Ordering::Release);
    let (stalled, mut sent) = (Instant::now(), 0_usize);
    // Until no more than the backlog is taken.
    let reason = loop {
        match engine.order() {
            Ok(()) => sent += 1,
            Err(reason) => break reason,
        }
        engine.recorder.poll(system_now()).unwrap();
    };
    println!("{sent} orders in {:?}, then {reason:?}", stalled.elapsed());
    assert!(matches!(reason, ReasonCode::RingFull | ReasonCode::VenueDisconnected), "{reason:?}");
    engine.wait("the connection is left", |client| client.phase() != Phase::Trading);
    let after = stalled.elapsed();
    assert!(engine.order().is_err());
    while stalled.elapsed() < STALL {
        engine.turn();
    }
    shared.is_stalled.store(false, Ordering::Release);
    // What the venue's system had taken is read: nobody can call it back. The rest was ours.
    let begin = Instant::now();
    while shared.connection_count.load(Ordering::Acquire) < 2 {
        engine.turn();
        assert!(begin.elapsed() < Duration::from_secs(40), "the connection is made again");
    }
    engine.wait("everything is known again", |client| client.block().is_none() && client.is_flat());
    let [arrived, again] = [&shared.before_count, &shared.order_count].map(|count| count.load(Ordering::Acquire));
    let counters = engine.send.client().counters();
    println!("left after {after:?}; {arrived} orders arrived, {again} behind the new login; {counters:?}");
    assert!(after < STALL, "after {after:?}");
    assert!(arrived < sent, "{arrived} of {sent} orders arrived");
    assert_eq!((again, counters.resent_count), (0, 0), "too old to be sent again");
    assert_eq!(engine.gate.open_order_count(), 0);
    assert_eq!(engine.order(), Ok(()), "orders go out again");
    shared.is_over.store(true, Ordering::Release);
    venue.join().unwrap();
}
