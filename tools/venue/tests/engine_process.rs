//! The engine's send stage in a process of its own, over TCP, with its real log: killed at random moments while it trades
//! against this exchange, and started again. No order lives twice, no fill is lost, every order on the wire is in the log,
//! and the positions are the venue's. `PEREGRINE_LIVE_KILL_CYCLES` sets how often (16), `PEREGRINE_LIVE_KILL_LIFE_MS` how long
//! a process lives at most (300). The whole program is killed in `whole_program.rs`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was tried")]

#[path = "common/desk.rs"]
mod desk;
#[path = "common/gate.rs"]
mod gate;
#[path = "common/truth.rs"]
mod truth;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use desk::{Caller, client_config};
use gate::gate;
use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_eventlog::records::{DecisionRecord, HeldAction, HeldKind, HeldRecord, IntentKind};
use peregrine_eventlog::{EventLog, LogConfig, RunFacts};
use peregrine_gateway::Fees;
use peregrine_gateway::live::{OrderClient, OrderClientConfig};
use peregrine_gateway::ouch50::*;
use peregrine_gateway::soup::*;
use peregrine_node::live::history::{self, SessionNote};
use peregrine_node::live::{LiveSend, LiveSendConfig, session};
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::machine::Inbox;
use peregrine_node::stage::path::SendPath;
use peregrine_risk::{RiskContext, RiskGate};
use peregrine_runtime::{StopFlag, TscClock, index_ring, system_now};
use peregrine_types::*;
use peregrine_venue::{Server, Settings};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use truth::{SYMBOLS, Truth, hold_equal, said_by, setting, venue_text};

const ONE: i64 = 1_000_000_000;
const CENT: i64 = ONE / 100;

// ---- the engine's process -------------------------------------------------------------------------------------------

/// One process of the engine: reconciles, trades until it is killed, or cancels everything and ends.
struct Trader {
    send: LiveSend,
    books: Books,
    inbox: Inbox,
    gate: RiskGate,
    chance: ChaCha8Rng,
}

impl Trader {
    fn begin(out_dir: &Path, run: &str, address: SocketAddr) -> (Self, peregrine_eventlog::Recorder) {
        let symbols = SYMBOLS.map(|name| Symbol::new(name).unwrap());
        let named = session::ask(address, client_config("desk"), Duration::from_millis(20), &mut || false).unwrap();
        let note = SessionNote {
            version: 1,
            session: String::from_utf8_lossy(&named.0).trim().to_owned(),
            address: address.to_string(),
            username: "desk".to_owned(),
            symbols: history::names(&symbols),
            earlier: Vec::new(),
        };
        let past = history::read(out_dir, &note).unwrap();
        let dir = out_dir.join(run);
        let config = LogConfig {
            dir: dir.clone(),
            staging_dir: None,
            staging_record_counts: [1024, 1024, 16_384, 1024],
            segment_len_max: 1 << 22,
            stream_len_max: 1 << 34,
            sync_interval: Nanos::from_millis(10),
            is_memory_locked: false,
        };
        let log = EventLog::create(&config, &RunFacts::default()).unwrap();
        note.write(&dir).unwrap();
        let order_client = OrderClientConfig {
            session: client_config("desk"),
            symbols: symbols.to_vec(),
            order_count_max: 256,
            order_number_end: 1 << 17,
            fill_count_max: 1 << 16,
            fees: Fees { added: Price(0), removed: Price(0) },
            midnight: EpochNanos(0),
            capacity: b'P',
            firm: Text(*b"FIRM"),
            answer_time_max: Nanos::from_millis(500),
            resend_age_max: Nanos::from_millis(200),
            reject_count_max: 20,
            probe_count: 1,
            backlog_len_max: 4_096,
        };
        let client = OrderClient::new(order_client, past.account);
        let way = LiveSendConfig { address, reconnect: Nanos::from_millis(20), stop_time_max: Nanos::from_secs(10) };
        let (notices, _) = index_ring(1_024).unwrap();
        let mut send =
            LiveSend::new(client, &way, LosslessLog::new(log.send, StopFlag::new()), notices, TscClock::calibrated());
        SendPath::<Books>::limit_decision_age(&mut send, Nanos::from_secs(1));
        let books = BookConfig {
            symbol_count_max: 2,
            order_count_max: 16,
            level_count_max: 16,
            is_unknown_state_tradable: true,
        };
        let books = Books::new(books).unwrap();
        let chance = ChaCha8Rng::seed_from_u64(u64::from(std::process::id()));
        (
            Self {
                send,
                books,
                inbox: Inbox::new(1 << 16),
                gate: gate(100_000_000, 1_000_000_000_000, 100_000),
                chance,
            },
            log.recorder,
        )
    }

    fn below(&mut self, end: u64) -> u64 {
        self.chance.next_u64() % end
    }

    fn hear(&mut self) {
        while let Some(execution) = self.inbox.pop_visible(EpochNanos::MAX) {
            self.gate.on_execution(&execution);
        }
    }

    fn turn(&mut self) {
        SendPath::<Books>::poll(&mut self.send, &mut self.inbox);
        self.hear();
        let permit = SendPath::<Books>::permit(&self.send);
        self.gate.begin_after(permit.last_number);
        if permit.block.is_none() && self.below(4) == 0 {
            self.decide();
        }
    }

    fn decide(&mut self) {
        let symbol = SymbolId(u32::try_from(self.below(2)).unwrap());
        let open: Vec<OrderId> = Side::BOTH.iter().flat_map(|side| self.gate.open_orders(symbol, *side)).collect();
        let price = Price(10 * ONE + (i64::try_from(self.below(5)).unwrap() - 2) * CENT);
        let intent = if !open.is_empty() && self.below(3) == 0 {
            OrderIntent::Cancel { order_id: open[usize::try_from(self.below(open.len() as u64)).unwrap()], symbol }
        } else if !open.is_empty() && self.below(3) == 0 {
            let order_id = open[usize::try_from(self.below(open.len() as u64)).unwrap()];
            OrderIntent::Replace { order_id, symbol, price, qty: Qty(100 * (1 + self.below(4))) }
        } else {
            OrderIntent::New(NewOrder {
                symbol,
                side: Side::BOTH[usize::try_from(self.below(2)).unwrap()],
                price,
                qty: Qty(100 * (1 + self.below(3))),
                time_in_force: if self.below(4) == 0 { TimeInForce::ImmediateOrCancel } else { TimeInForce::Day },
                is_post_only: false,
            })
        };
        let now = system_now();
        let context = RiskContext {
            book_state: BookState::default(),
            reference_price: Some(price),
            top: TopOfBook::default(),
            data_time: now,
            is_input_finite: true,
        };
        if let Ok(approved) = self.gate.check(&intent, &context, EventSeq(1), now)
            && let Err(refused) = SendPath::<Books>::accept(&mut self.send, approved)
        {
            self.gate.revoke(refused.order);
        }
    }
}

/// Not a test: the process that the test below kills.
#[test]
#[ignore = "started by another test as a process of its own"]
fn engine_process() {
    let Ok(out_dir) = std::env::var("PEREGRINE_CHILD_DIR") else { return };
    let address: SocketAddr = std::env::var("PEREGRINE_CHILD_PORT").unwrap().parse().unwrap();
    let run = std::env::var("PEREGRINE_CHILD_RUN").unwrap();
    let is_last = run == "last";
    let (mut trader, mut recorder) = Trader::begin(Path::new(&out_dir), &run, address);
    let (begin, mut turns) = (Instant::now(), 0_u64);
    loop {
        trader.turn();
        turns += 1;
        if turns.is_multiple_of(64) {
            recorder.poll(system_now()).unwrap();
        }
        let is_trading = SendPath::<Books>::permit(&trader.send).block.is_none();
        if is_last && is_trading {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", SendPath::<Books>::permit(&trader.send));
        std::thread::sleep(Duration::from_micros(50));
    }
    while !SendPath::<Books>::finish(&mut trader.send, &trader.books, &mut trader.inbox) {
        trader.hear();
        std::thread::sleep(Duration::from_micros(100));
    }
    trader.hear();
    let positions: Vec<i64> = (0..2).map(|id| trader.gate.position(SymbolId(id)).0).collect();
    assert_eq!(trader.gate.open_order_count(), 0);
    let end = trader.send.end();
    let unsettled: Vec<_> = end.client.differences().iter().filter(|difference| !difference.is_settled()).collect();
    assert!(end.is_clean && unsettled.is_empty(), "{unsettled:?}");
    drop((trader.books, trader.inbox));
    println!("positions {} {}", positions[0], positions[1]);
    while recorder.poll(system_now()).unwrap() > 0 {}
    recorder.close().unwrap();
}

// ---- the test -------------------------------------------------------------------------------------------------------

impl Caller {
    fn flow(&mut self) {
        self.try_flow().unwrap();
    }

    /// Orders on both sides of 10.00, so that the engine's are met.
    fn trade(&mut self, chance: &mut ChaCha8Rng, number: &mut u32) {
        if self.session.state() == ClientState::Active {
            *number += 1;
            let mut below = |end: u64| chance.next_u64() % end;
            let order = EnterOrder {
                user_ref_num: (*number).into(),
                side: if below(2) == 0 { b'B' } else { b'S' },
                quantity: u32::try_from(50 * (1 + below(6))).unwrap().into(),
                symbol: Symbol::new(SYMBOLS[usize::try_from(below(2)).unwrap()]).unwrap(),
                price: OuchPrice::new(99_800 + 100 * below(5)),
                time_in_force: if below(2) == 0 { b'3' } else { b'0' },
                display: b'Y',
                capacity: b'P',
                iso_eligibility: b'N',
                cross_type: b'N',
                clordid: Text::BLANK,
                ..EnterOrder::blank()
            };
            let mut buffer = [0; MESSAGE_LEN_MAX];
            let bytes = MessageBuilder::new(&mut buffer, &order).unwrap().finish().to_vec();
            self.session.send(&bytes, system_now()).unwrap();
        }
        self.flow();
    }
}

fn spawn(dir: &Path, run: &str, address: SocketAddr) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engine_process", "--ignored", "--nocapture"])
        .env("PEREGRINE_CHILD_DIR", dir)
        .env("PEREGRINE_CHILD_PORT", address.to_string())
        .env("PEREGRINE_CHILD_RUN", run)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Processes of one session of the venue: every start reads what the ones before it left.
const CYCLES_PER_SESSION: u32 = 250;

#[test]
fn the_engine_is_killed_at_random_moments_and_comes_back_equal() {
    let cycles = setting("PEREGRINE_LIVE_KILL_CYCLES", 16);
    let mut chance = ChaCha8Rng::seed_from_u64(11);
    let (mut done, mut orders, mut fills) = (0, 0, 0);
    while done < cycles {
        let count = (cycles - done).min(CYCLES_PER_SESSION);
        let truth = kill_session(count, &mut chance);
        (done, orders, fills) = (done + count, orders + truth.accepted.len(), fills + truth.fills.len());
        println!("{done} kills so far, {orders} orders, {fills} fills");
    }
    println!("{done} kills, {orders} orders, {fills} fills");
}

/// One session of the venue with so many kills, and a clean end.
fn kill_session(cycles: u32, chance: &mut ChaCha8Rng) -> Truth {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::parse(&venue_text(), Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}"));
    let server = Server::bind(&settings).unwrap();
    let (addresses, stop) = (server.addresses().clone(), StopFlag::new());
    let flag = stop.clone();
    let venue = std::thread::spawn(move || server.run(&flag));
    let (mut other, mut number) = (Caller::connect("other", addresses.ports[1]), 0);
    let life_max = u64::from(setting("PEREGRINE_LIVE_KILL_LIFE_MS", 300));
    for cycle in 0..cycles {
        let mut child = spawn(folder.path(), &format!("run-{cycle:06}"), addresses.ports[0]);
        // Every other one dies wherever it is, be it in the middle of its start; the rest once they are logged in.
        let note = folder.path().join(format!("run-{cycle:06}")).join(history::NOTE_NAME);
        let (mut begin, life) = (Instant::now(), Duration::from_millis(life_max / 15 + chance.next_u64() % life_max));
        while begin.elapsed() < life {
            other.trade(chance, &mut number);
            assert!(child.try_wait().unwrap().is_none(), "{}", said_by(child));
            if cycle.is_multiple_of(2) && !note.exists() {
                begin = Instant::now();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut last = spawn(folder.path(), "last", addresses.ports[0]);
    while last.try_wait().unwrap().is_none() {
        other.trade(chance, &mut number);
    }
    let is_clean = last.wait().unwrap().success();
    let said = said_by(last);
    assert!(is_clean, "{said}");
    let truth = compare(folder.path(), addresses.ports[0], &said, cycles);
    stop.request();
    venue.join().unwrap().unwrap();
    truth
}

/// Holds the logs of all processes together, and what the last one said, against the venue's stream.
fn compare(dir: &Path, port: SocketAddr, said: &str, cycles: u32) -> Truth {
    let (truth, run_count) = hold_equal(dir, port, ("KILLDAY001", "desk"), &SYMBOLS);
    let [first, second] = SYMBOLS.map(|name| truth.positions.get(name).copied().unwrap_or(0));
    let expected = format!("positions {first} {second}");
    assert!(said.contains(&expected), "{expected}, but the engine said: {said}");
    // A process that was killed before its first login left no note; on a busy machine even the others trade little.
    let (fills, cycles) = (truth.fills.len(), usize::try_from(cycles).unwrap());
    assert!(cycles < 16 || fills > cycles / 16 && run_count >= cycles / 2, "{run_count} runs, {fills} fills");
    truth
}

// ---- what the engine held --------------------------------------------------------------------------------------------

/// Writes the decide stream of a run; one that is cut off is not closed.
fn write_run(dir: &Path, note: &SessionNote, held: &[HeldRecord], decisions: &[DecisionRecord], is_closed: bool) {
    let config = LogConfig {
        dir: dir.to_owned(),
        staging_dir: None,
        staging_record_counts: [64; 4],
        segment_len_max: 1 << 22,
        stream_len_max: 1 << 34,
        sync_interval: Nanos::from_millis(10),
        is_memory_locked: false,
    };
    let mut log = EventLog::create(&config, &RunFacts::default()).unwrap();
    note.write(dir).unwrap();
    for record in held {
        log.decide.append(record).unwrap();
    }
    for record in decisions {
        log.decide.append(record).unwrap();
    }
    drop((log.feed, log.decide, log.send, log.measure));
    if is_closed {
        while log.recorder.poll(system_now()).unwrap() > 0 {}
        log.recorder.close().unwrap();
    }
}

/// Changes and orders of engine-held orders come back from the logs of a session, under this run's symbols.
#[test]
fn what_the_engine_held_is_read_back_from_the_logs_of_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let note = |symbols: [&str; 2]| SessionNote {
        version: 1,
        session: "DAY".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        username: "desk".to_owned(),
        symbols: symbols.map(str::to_owned).to_vec(),
        earlier: Vec::new(),
    };
    let (alfa, beta) = (SymbolId(0), SymbolId(1));
    let change = |symbol, kind, action, qty| HeldRecord {
        symbol,
        kind,
        action,
        qty: Qty(qty),
        position: peregrine_types::Position(100),
        stop_price: Price(7),
        ..HeldRecord::default()
    };
    let sent = |id, intent_kind, time_in_force| DecisionRecord {
        order_id: OrderId(id),
        symbol: alfa,
        intent_kind,
        time_in_force,
        ..DecisionRecord::default()
    };
    let armed = [
        change(beta, HeldKind::Protection, HeldAction::Armed, 100),
        HeldRecord { is_asked: true, ..change(alfa, HeldKind::Rest, HeldAction::Armed, 30) },
    ];
    let orders = [
        sent(7, IntentKind::HeldNew, TimeInForce::Day),
        sent(8, IntentKind::HeldNew, TimeInForce::ImmediateOrCancel),
        sent(9, IntentKind::New, TimeInForce::Day),
    ];
    write_run(&folder.path().join("run-1"), &note(["ALFA", "BETA"]), &armed, &orders, true);
    // The second run knows the symbols the other way round, and was cut off.
    let later = [
        change(alfa, HeldKind::Protection, HeldAction::StopFired, 100),
        change(beta, HeldKind::Rest, HeldAction::Changed, 25),
    ];
    write_run(&folder.path().join("run-2"), &note(["BETA", "ALFA"]), &later, &[], false);
    let past = history::read(folder.path(), &note(["ALFA", "BETA"])).unwrap();
    let [stop, rest] = &past.held[..] else { panic!("{:?}", past.held) };
    assert_eq!(
        (stop.change.symbol, stop.change.stop, format!("{:?}", stop.change.action)),
        (beta, Price(7), "StopFired".to_owned())
    );
    assert_eq!((rest.change.symbol, rest.change.rest.qty, rest.executed), (alfa, Qty(25), Qty(5)));
    assert_eq!((&rest.orders[..], past.recovered_count), (&[OrderId(7)][..], 1));
}
