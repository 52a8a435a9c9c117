//! The engine's stages against the program, one step at a time: feed, books, risk gate and order session are the real ones
//! over real sockets, and the log is the real log; what is decided, the scenario says. Beside it other participants, and at
//! the end what the venue says of everything, held against what the logs say.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_eventlog::records::{
    GapPhase, GapRecord, OrderRecord, OrderTransition, SymbolListed, TradingStateRecord,
};
use peregrine_eventlog::{EventLog, LogConfig, LogReader, Recorder, RunFacts, Stream};
use peregrine_gateway::Fees;
use peregrine_gateway::live::{OrderClient, OrderClientConfig};
use peregrine_gateway::ouch50::*;
use peregrine_gateway::soup::{Position, *};
use peregrine_node::live::history::{self, SessionNote};
use peregrine_node::live::{FeedSilence, LiveSend, LiveSendConfig, SilenceWatch, session};
use peregrine_node::stage::feed::FeedLog;
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::machine::Inbox;
use peregrine_node::stage::path::SendPath;
use peregrine_risk::{InstrumentRules, LimitsConfig, Refused, RiskContext, RiskGate};
use peregrine_runtime::{StopFlag, TscClock, index_ring, system_now};
use peregrine_source::live::{LineAddress, LiveInput, LivePlan, RecoveryPlan, SnapshotPlan};
use peregrine_types::*;
use peregrine_venue::{Addresses, Server, ServerError, Settings, Summary};
use peregrine_wire::RecoveryConfig;

pub(crate) const ONE: i64 = 1_000_000_000;
pub(crate) const SYMBOLS: [&str; 2] = ["ALFA", "BETA"];
pub(crate) const ALFA: SymbolId = SymbolId(0);
pub(crate) const BETA: SymbolId = SymbolId(1);
pub(crate) const SESSION: &str = "CONFORM001";
/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Cents as a price.
pub(crate) const fn cents(cents: i64) -> Price {
    Price(cents * ONE / 100)
}

/// What differs between the scenarios, of the venue and of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The part of the configuration that says where orders come from.
    pub(crate) flow: String,
    /// Faults of lines and servers.
    pub(crate) faults: &'static str,
    /// Faults of the engine's port.
    pub(crate) port_faults: &'static str,
    pub(crate) is_cancel_on_disconnect: bool,
    /// Messages of the engine in a minute.
    pub(crate) order_rate_max: u32,
    pub(crate) data_age_max: Nanos,
    /// Silence of every line after which the engine withdraws.
    pub(crate) silence_max: Nanos,
    pub(crate) reject_count_max: u32,
    /// Whether the engine may ask for messages again, and for snapshots.
    pub(crate) has_retransmission: bool,
    pub(crate) has_snapshot: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            flow: "kind = \"none\"\n[[symbol]]\nname = \"ALFA\"\nreference_price = \"10.00\"\nround_lot = 100\n\
                   [[symbol]]\nname = \"BETA\"\nreference_price = \"10.00\"\nround_lot = 10\n"
                .to_owned(),
            faults: "",
            port_faults: "",
            is_cancel_on_disconnect: false,
            order_rate_max: 10_000,
            data_age_max: Nanos::from_secs(600),
            silence_max: Nanos::from_secs(600),
            reject_count_max: 20,
            has_retransmission: true,
            has_snapshot: true,
        }
    }
}

impl Plan {
    fn text(&self, lines: [SocketAddrV4; 2]) -> String {
        let port = |user: &str, firm: u32, cancels: bool, faults: &str| {
            format!(
                "[[port]]\naddress = \"127.0.0.1:0\"\nusername = \"{user}\"\npassword = \"secret\"\nfirm = {firm}\n\
                 self_trade = \"decrement_both\"\nis_cancel_on_disconnect = {cancels}\norder_count_max = 10_000\n\
                 message_count_max = 50_000\n{faults}\n"
            )
        };
        format!(
            "[venue]\nsession = \"{SESSION}\"\nstart = \"10:00:00\"\nspeed = 1\nis_spinning = false\n\
             [hours]\nstart_messages = \"09:24:00\"\nstart_system = \"09:25:00\"\nopen = \"09:30:00\"\n\
             close = \"16:30:00\"\nend_system = \"16:31:00\"\nend_messages = \"16:32:00\"\nlate_s = 10\n\
             [capacity]\norder_count_max = 50_000\nreference_count_max = 500_000\nlevel_count_max = 50_000\n\
             side_level_count_max = 2_000\nfeed_message_count_max = 500_000\n\
             [feed]\nline_a = \"{}\"\nline_b = \"{}\"\ninterface = \"127.0.0.1\"\nttl = 0\n\
             payload_len_max = 1_400\nheartbeat_ms = 50\nend_of_session_ms = 100\n\
             [retransmission]\naddress = \"127.0.0.1:0\"\n\
             [snapshot]\naddress = \"127.0.0.1:0\"\nusername = \"glimps\"\npassword = \"glimpse\"\n\
             [faults]\nseed = 7\n{}\n{}{}{}[flow]\n{}\n",
            lines[0],
            lines[1],
            self.faults,
            port("desk", 1, self.is_cancel_on_disconnect, self.port_faults),
            port("other", 2, false, ""),
            port("third", 3, false, ""),
            self.flow,
        )
    }
}

/// A port of loopback that nobody listens on now.
fn free_address() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, super::ports::free_udp_port())
}

/// A venue that has its sockets and does not run yet, or runs.
pub(crate) struct Stage {
    plan: Plan,
    folder: tempfile::TempDir,
    lines: [SocketAddrV4; 2],
    pub(crate) addresses: Addresses,
    server: Option<Server>,
    stop: StopFlag,
    thread: Option<JoinHandle<Result<Summary, ServerError>>>,
}

/// What everybody says when it is over.
pub(crate) struct Ended {
    pub(crate) summary: Summary,
    /// The numbered stream of the engine's port.
    pub(crate) stream: Vec<Vec<u8>>,
    /// The send streams of all runs, one after the other.
    pub(crate) steps: Vec<OrderRecord>,
    pub(crate) gaps: Vec<GapPhase>,
    pub(crate) listed: BTreeSet<String>,
    /// Symbol, kind and code of everything that the feed said about trading.
    pub(crate) states: Vec<(SymbolId, EventKind, u8)>,
}

impl Stage {
    pub(crate) fn bound(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lines = [free_address(), free_address()];
        let text = plan.text(lines);
        let settings = Settings::parse(&text, &folder.path().join("venue.toml"));
        let settings = settings.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let server = Server::bind(&settings).expect("loopback has room");
        let addresses = server.addresses().clone();
        Self { plan, folder, lines, addresses, server: Some(server), stop: StopFlag::new(), thread: None }
    }

    pub(crate) fn running(plan: Plan) -> Self {
        let mut stage = Self::bound(plan);
        stage.run();
        stage
    }

    pub(crate) fn run(&mut self) {
        let server = self.server.take().expect("it does not run yet");
        let flag = self.stop.clone();
        self.thread = Some(std::thread::spawn(move || server.run(&flag)));
    }

    /// The engine's lines, from now on.
    pub(crate) fn listen(&self) -> LiveInput {
        let lines = self.lines.map(|destination| LineAddress { destination, interface: Ipv4Addr::LOCALHOST });
        let mut plan = LivePlan::new(lines.to_vec(), 16);
        let v4 = |address: SocketAddr| match address {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(_) => unreachable!("the venue has IPv4 addresses"),
        };
        let (username, password) = (Username::new("glimps").expect("short"), Password::new("glimpse").expect("short"));
        plan.recovery = Some(RecoveryPlan {
            servers: if self.plan.has_retransmission { vec![v4(self.addresses.retransmission)] } else { vec![] },
            interface: Ipv4Addr::LOCALHOST,
            snapshot: (self.plan.has_snapshot)
                .then(|| SnapshotPlan::new(v4(self.addresses.snapshot), username, password)),
            config: RecoveryConfig { request_timeout: Nanos::from_secs(1), ..RecoveryConfig::default() },
        });
        LiveInput::open(&plan, &names()).expect("loopback can be received")
    }

    pub(crate) fn engine(&self, run: &str) -> Engine {
        self.engine_with(run, self.listen())
    }

    pub(crate) fn engine_with(&self, run: &str, input: LiveInput) -> Engine {
        Engine::begin(self, run, input)
    }

    /// Somebody else, logged in: "other" is port 1, "third" port 2.
    pub(crate) fn peer(&self, port: usize) -> Peer {
        let mut peer = Peer::new(["desk", "other", "third"][port], self.addresses.ports[port]);
        peer.await_some("the login", |peer| peer.is_active().then_some(()));
        peer
    }

    /// Where the runs' folders are.
    pub(crate) fn out_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Reads what the venue said to the engine, ends the venue, reads the logs, and holds both against each other: every
    /// order at the venue is in a log and lives once, every fill is in the logs, and no other.
    pub(crate) fn end(mut self) -> Ended {
        let stream = self.peer(0).whole_stream();
        self.stop.request();
        let summary = self.thread.take().expect("it runs").join().expect("no panic").expect("no error");
        let mut runs: Vec<_> = std::fs::read_dir(self.folder.path())
            .expect("a folder")
            .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.join(history::NOTE_NAME).exists()))
            .collect();
        runs.sort();
        let (mut steps, mut gaps, mut listed, mut states) = (vec![], vec![], BTreeSet::new(), vec![]);
        for run in &runs {
            peregrine_eventlog::recover(run).expect("the log can be closed");
            let log = LogReader::open(run, Stream::Send).expect("the send stream");
            steps.extend(log.payloads::<OrderRecord>().map(|item| *item.expect("a sound record").1));
            let log = LogReader::open(run, Stream::Feed).expect("the feed stream");
            gaps.extend(log.payloads::<GapRecord>().map(|item| item.expect("a sound record").1.phase));
            listed.extend(log.payloads::<SymbolListed>().map(|item| item.expect("a sound record").1.name.to_string()));
            states.extend(log.payloads::<TradingStateRecord>().map(|item| {
                let state = item.expect("a sound record").1;
                (state.symbol, state.kind, state.detail)
            }));
        }
        let ended = Ended { summary, stream, steps, gaps, listed, states };
        ended.hold_equal();
        ended
    }
}

impl Ended {
    fn hold_equal(&self) {
        let submitted: Vec<u64> = self.with(OrderTransition::Submitted).map(|step| step.order_id.0).collect();
        let known: BTreeSet<u64> = submitted.iter().copied().collect();
        assert_eq!(known.len(), submitted.len(), "an order is sent as new twice: {submitted:?}");
        let (mut accepted, mut fills) = (BTreeSet::new(), BTreeMap::new());
        for message in &self.stream {
            match Outbound::parse(message).expect("the venue writes what the specification says") {
                Outbound::OrderAccepted(m, _) => {
                    assert!(accepted.insert(u64::from(m.user_ref_num.get())), "order {} lives twice", m.user_ref_num);
                }
                Outbound::OrderExecuted(m, _) => {
                    fills.insert((u64::from(m.user_ref_num.get()), m.match_number.get()), u64::from(m.quantity.get()));
                }
                _ => {}
            }
        }
        assert!(accepted.is_subset(&known), "at the venue and in no log: {accepted:?} {known:?}");
        let logged: BTreeMap<(u64, u64), u64> = (self.steps.iter())
            .filter(|step| matches!(step.transition, OrderTransition::PartiallyFilled | OrderTransition::Filled))
            .map(|step| ((step.order_id.0, step.match_number.0), step.qty.0))
            .collect();
        assert_eq!(logged, fills, "fills in the logs, fills at the venue");
    }

    pub(crate) fn with(&self, transition: OrderTransition) -> impl Iterator<Item = &OrderRecord> {
        self.steps.iter().filter(move |step| step.transition == transition)
    }

    /// The life of an order in the logs: `Submitted Accepted Filled`.
    pub(crate) fn story(&self, order_id: OrderId) -> String {
        let steps = self.steps.iter().filter(|step| step.order_id == order_id);
        steps.map(|step| format!("{:?}", step.transition)).collect::<Vec<_>>().join(" ")
    }

    /// How many executions the venue told the engine.
    pub(crate) fn fill_count(&self) -> usize {
        self.stream.iter().filter(|message| message[0] == b'E').count()
    }

    /// The messages that the venue sent about an order, by type.
    pub(crate) fn said(&self, order_id: OrderId) -> String {
        let is_about = |message: &&Vec<u8>| message.get(9..13).is_some_and(|id| number(id) == order_id.0);
        self.stream.iter().filter(is_about).filter(|m| m[0] != b'Q').map(|m| char::from(m[0])).collect()
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn names() -> Vec<Symbol> {
    SYMBOLS.map(|name| Symbol::new(name).expect("short")).to_vec()
}

fn client_config(user: &str) -> ClientConfig {
    ClientConfig {
        username: Username::new(user).expect("short"),
        password: Password::new("secret").expect("short"),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(15),
        login_time_max: Nanos::from_secs(15),
        heartbeat_timeout_ms: None,
        packet_len_max: 512,
        outbox_len_max: 1 << 18,
    }
}

fn gate(plan: &Plan) -> RiskGate {
    let limits = LimitsConfig {
        order_qty_max: Some(Qty(10_000)),
        order_notional_max: Some(Notional(1_000_000 * i128::from(ONE))),
        price_collar_bps: Some(5_000),
        position_qty_max: Some(Qty(100_000)),
        gross_notional_max: Some(Notional(1_000_000_000 * i128::from(ONE))),
        open_orders_max: Some(64),
        order_rate_max: Some(plan.order_rate_max),
        order_rate_window: Some(Nanos::from_secs(60)),
        duplicate_window: Some(Nanos(1)),
        data_age_max: Some(plan.data_age_max),
    };
    let mut gate = RiskGate::new(&limits.validate().expect("all limits are given"), 2);
    for symbol in [ALFA, BETA] {
        gate.permit(symbol, Some(InstrumentRules::US_EQUITY));
    }
    gate
}

/// The engine's stages, and their log.
pub(crate) struct Engine {
    pub(crate) input: LiveInput,
    pub(crate) books: Books,
    feed_log: FeedLog,
    pub(crate) gate: RiskGate,
    pub(crate) send: LiveSend,
    watch: SilenceWatch,
    inbox: Inbox,
    recorder: Recorder,
    data_times: [EpochNanos; 2],
    events: u64,
    turns: u64,
    pub(crate) heard: Vec<Execution>,
}

impl Engine {
    fn begin(stage: &Stage, run: &str, input: LiveInput) -> Self {
        let (out_dir, address) = (stage.out_dir(), stage.addresses.ports[0]);
        let named = session::ask(address, client_config("desk"), Duration::from_millis(20), &mut || false)
            .expect("the venue lets us in");
        let note = SessionNote {
            version: 1,
            session: String::from_utf8_lossy(&named.0).trim().to_owned(),
            address: address.to_string(),
            username: "desk".to_owned(),
            symbols: history::names(&names()),
            earlier: Vec::new(),
        };
        let past = history::read(out_dir, &note).expect("earlier logs are readable");
        let dir = out_dir.join(run);
        let config = LogConfig {
            dir: dir.clone(),
            staging_dir: None,
            staging_record_counts: [1 << 14, 1 << 10, 1 << 14, 1 << 10],
            segment_len_max: 1 << 22,
            stream_len_max: 1 << 34,
            sync_interval: Nanos::from_millis(10),
            is_memory_locked: false,
        };
        let log = EventLog::create(&config, &RunFacts::default()).expect("the folder takes a log");
        note.write(&dir).expect("the folder takes a note");
        let order_client = OrderClientConfig {
            session: client_config("desk"),
            symbols: names(),
            order_count_max: 256,
            order_number_end: 1 << 16,
            fill_count_max: 1 << 16,
            fees: Fees { added: Price(0), removed: Price(0) },
            midnight: EpochNanos(0),
            capacity: b'P',
            firm: Text(*b"FIRM"),
            answer_time_max: Nanos::from_secs(10),
            resend_age_max: Nanos::from_millis(200),
            reject_count_max: stage.plan.reject_count_max,
            probe_count: 1,
            backlog_len_max: 4_096,
        };
        let client = OrderClient::new(order_client, past.account);
        let way = LiveSendConfig { address, reconnect: Nanos::from_millis(20), stop_time_max: Nanos::from_secs(20) };
        let (notices, _) = index_ring(1_024).expect("a ring");
        let failed = StopFlag::new();
        let send_log = LosslessLog::new(log.send, failed.clone());
        let midnight = input.session().midnight;
        let books = BookConfig {
            symbol_count_max: 16,
            order_count_max: 4_096,
            level_count_max: 4_096,
            is_unknown_state_tradable: false,
        };
        let silence = FeedSilence::default();
        let mut engine = Self {
            input,
            books: Books::new(books).expect("possible"),
            feed_log: FeedLog::new(LosslessLog::new(log.feed, failed), midnight),
            gate: gate(&stage.plan),
            send: LiveSend::new(client, &way, send_log, notices, TscClock::calibrated()).heeding(silence.clone()),
            watch: SilenceWatch::new(stage.plan.silence_max, silence),
            inbox: Inbox::new(1 << 14),
            recorder: log.recorder,
            data_times: [EpochNanos::MIN; 2],
            events: 0,
            turns: 0,
            heard: vec![],
        };
        SendPath::<Books>::limit_decision_age(&mut engine.send, stage.plan.data_age_max);
        engine.wait("the account equals the venue's", |engine| engine.block().is_none());
        engine
    }

    /// Why nothing new may be sent.
    pub(crate) fn block(&self) -> Option<ReasonCode> {
        SendPath::<Books>::permit(&self.send).block
    }

    /// One turn of every role.
    pub(crate) fn turn(&mut self) {
        let Self { input, books, feed_log, data_times, events, .. } = self;
        input
            .step(system_now(), &mut |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
                feed_log.on_event(&event);
                books.apply(&event);
                if let Some(time) = data_times.get_mut(event.symbol.index()) {
                    *time = event.recv_time;
                }
                *events += 1;
                Ok(())
            })
            .expect("the lines can be read");
        self.watch.on_silence(self.input.silent_for(system_now()));
        SendPath::<Books>::poll(&mut self.send, &mut self.inbox);
        self.hear();
        let permit = SendPath::<Books>::permit(&self.send);
        self.gate.begin_after(permit.last_number);
        self.recorder.poll(system_now()).expect("the log takes it");
        // Other tests run beside this one.
        self.turns += 1;
        if self.turns.is_multiple_of(16) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn hear(&mut self) {
        while let Some(execution) = self.inbox.pop_visible(EpochNanos::MAX) {
            self.gate.on_execution(&execution);
            self.heard.push(execution);
        }
    }

    /// Turns until something is so.
    pub(crate) fn wait(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            let block = self.block();
            let (state, counters) = (self.state(ALFA), self.input.counters());
            assert!(begin.elapsed() < PATIENCE, "{what}: {block:?} {state:?} {counters:?} {:?}", self.heard);
            self.turn();
        }
    }

    /// Turns for so long.
    pub(crate) fn pass(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.turn();
        }
    }

    pub(crate) fn state(&self, symbol: SymbolId) -> BookState {
        self.books.state(symbol)
    }

    pub(crate) fn top(&self, symbol: SymbolId) -> TopOfBook {
        self.books.top(symbol)
    }

    /// The displayed shares at a price.
    pub(crate) fn displayed(&self, symbol: SymbolId, side: Side, price: Price) -> u64 {
        self.books.level(symbol, side, price).map_or(0, |level| level.qty.0)
    }

    /// What the strategy wants passes the gate, by what the books say at this moment, and goes to the venue.
    pub(crate) fn ask(&mut self, intent: &OrderIntent) -> Result<OrderId, ReasonCode> {
        let symbol = intent.symbol();
        let is_cancel = matches!(intent, OrderIntent::Cancel { .. });
        if let Some(reason) = self.block().filter(|_| !is_cancel) {
            return Err(reason);
        }
        let top = self.books.top(symbol);
        let middle = top.bid.zip(top.ask).map(|(bid, ask)| Price(i64::midpoint(bid.price.0, ask.price.0)));
        let context = RiskContext {
            book_state: self.books.state(symbol),
            reference_price: middle,
            top,
            data_time: self.data_times[symbol.index()],
            is_input_finite: true,
        };
        let approved = self.gate.check(intent, &context, EventSeq(self.events), system_now())?;
        let order_id = approved.command().order_id();
        if let Err(Refused { order, reason }) = SendPath::<Books>::accept(&mut self.send, approved) {
            self.gate.revoke(order);
            return Err(reason);
        }
        Ok(order_id)
    }

    pub(crate) fn cancel(&mut self, order_id: OrderId, symbol: SymbolId) {
        self.ask(&OrderIntent::Cancel { order_id, symbol }).expect("an open order can be cancelled");
    }

    /// Waits for a report of an order.
    pub(crate) fn expect(&mut self, order_id: OrderId, kind: ExecutionKind) -> Execution {
        let is_it = move |execution: &&Execution| execution.order_id == order_id && execution.kind == kind;
        self.wait(&format!("{kind:?} of order {order_id}"), |engine| engine.heard.iter().any(|e| is_it(&e)));
        *self.heard.iter().rfind(is_it).expect("it was waited for")
    }

    /// A clean stop: everything is cancelled and confirmed.
    pub(crate) fn finish(mut self) {
        let begin = Instant::now();
        while !SendPath::<Books>::finish(&mut self.send, &self.books, &mut self.inbox) {
            assert!(begin.elapsed() < PATIENCE, "the venue confirms");
            self.hear();
            self.recorder.poll(system_now()).expect("the log takes it");
        }
        self.hear();
        assert_eq!(self.gate.open_order_count(), 0, "a clean stop leaves nothing");
        let Self { send, feed_log, input, mut recorder, .. } = self;
        let end = send.end();
        assert!(end.is_clean, "{:?}", end.client.differences());
        drop((feed_log, input));
        while recorder.poll(system_now()).expect("the log takes it") > 0 {}
        recorder.close().expect("the log is closed");
    }
}

/// A day order to add at a price.
pub(crate) const fn limit(symbol: SymbolId, side: Side, qty: u64, price: Price) -> OrderIntent {
    OrderIntent::New(NewOrder {
        symbol,
        side,
        price,
        qty: Qty(qty),
        time_in_force: TimeInForce::Day,
        is_post_only: false,
    })
}

/// Somebody else at the venue: an OUCH session over TCP, message by message.
pub(crate) struct Peer {
    session: ClientSession,
    stream: TcpStream,
    pub(crate) heard: Vec<Vec<u8>>,
    last_number: u32,
}

impl Peer {
    fn new(user: &str, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the venue listens");
        stream.set_nodelay(true).expect("an option of the socket");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("an option of the socket");
        let mut session = ClientSession::new(client_config(user), Position::START);
        session.connect(system_now());
        Self { session, stream, heard: vec![], last_number: 0 }
    }

    fn is_active(&self) -> bool {
        self.session.state() == ClientState::Active
    }

    /// Moves bytes both ways once; false when the connection is gone.
    pub(crate) fn flow(&mut self) -> bool {
        let Self { session, stream, heard, .. } = self;
        let sent = match stream.write(session.pending()) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return false,
        };
        session.sent(sent);
        let mut buffer = [0; 1 << 16];
        let mut on_event = |event: ClientEvent<'_>| {
            if let ClientEvent::Sequenced { payload, .. } = event {
                heard.push(payload.to_vec());
            }
        };
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(len) => session.receive(&buffer[..len], system_now(), &mut on_event),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
        session.poll(system_now(), &mut on_event);
        true
    }

    fn await_some<T>(&mut self, what: &str, mut poll: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            assert!(self.flow(), "{what}: the connection is gone");
            if let Some(value) = poll(self) {
                return value;
            }
            assert!(begin.elapsed() < PATIENCE, "{what} did not come: {}", self.types());
        }
    }

    fn types(&self) -> String {
        self.heard.iter().map(|message| char::from(message[0])).collect()
    }

    /// The next number of an order.
    pub(crate) const fn next_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn send<B: Body>(&mut self, body: &B) {
        let mut buffer = [0; MESSAGE_LEN_MAX];
        let bytes = MessageBuilder::new(&mut buffer, body).expect("it fits").finish().to_vec();
        self.session.send(&bytes, system_now()).expect("logged in");
        self.flow();
    }

    /// Enters an order and waits until it is accepted, or refused; gives its number and the answer.
    pub(crate) fn enter(
        &mut self,
        symbol: SymbolId,
        side: Side,
        (qty, lifetime): (u32, u8),
        price: Price,
    ) -> (u32, u8) {
        let number = self.next_number();
        let order = EnterOrder {
            user_ref_num: number.into(),
            side: if side == Side::Buy { b'B' } else { b'S' },
            quantity: qty.into(),
            symbol: names()[symbol.index()],
            price: OuchPrice::new(u64::try_from(price.0 / 100_000).expect("a price")),
            time_in_force: lifetime,
            display: b'Y',
            capacity: b'P',
            iso_eligibility: b'N',
            cross_type: b'N',
            clordid: Text::BLANK,
            ..EnterOrder::blank()
        };
        self.send(&order);
        let answer = self.await_some("an answer", |peer| {
            let answers = |message: &&Vec<u8>| b"AJ".contains(&message[0]) && about(message) == Some(number);
            peer.heard.iter().find(answers).map(|message| message[0])
        });
        (number, answer)
    }

    /// A day order that is accepted.
    pub(crate) fn quote(&mut self, symbol: SymbolId, side: Side, qty: u32, price: Price) -> u32 {
        let (number, answer) = self.enter(symbol, side, (qty, b'0'), price);
        assert_eq!(char::from(answer), 'A', "a quote is accepted");
        number
    }

    /// An immediate-or-cancel order; what it traded, as quantities.
    pub(crate) fn take(&mut self, symbol: SymbolId, side: Side, qty: u32, price: Price) -> Vec<u32> {
        let (number, answer) = self.enter(symbol, side, (qty, b'3'), price);
        assert_eq!(char::from(answer), 'A', "an order is accepted");
        self.await_some("the end of the order", |peer| {
            let (filled, gone) = peer.fills_and_rest(number);
            (filled.iter().sum::<u32>() + gone == qty).then_some(filled)
        })
    }

    fn fills_and_rest(&self, number: u32) -> (Vec<u32>, u32) {
        let (mut filled, mut gone) = (vec![], 0);
        for message in self.heard.iter().filter(|message| about(message) == Some(number)) {
            match Outbound::parse(message).expect("the venue writes what the specification says") {
                Outbound::OrderExecuted(m, _) => filled.push(m.quantity.get()),
                Outbound::OrderCanceled(m, _) => gone += m.quantity.get(),
                _ => {}
            }
        }
        (filled, gone)
    }

    /// Quantities of the fills of an order, as far as they were told.
    pub(crate) fn fills(&mut self, number: u32) -> Vec<u32> {
        self.flow();
        self.fills_and_rest(number).0
    }

    /// Waits for a message of a type about an order.
    pub(crate) fn expect(&mut self, number: u32, kind: u8) -> Vec<u8> {
        self.await_some(&format!("`{}` about {number}", char::from(kind)), |peer| {
            let is_it = |m: &&Vec<u8>| {
                m[0] == kind
                    && (about(m) == Some(number) || kind == b'U' && m.get(13..17).map(number_of) == Some(number))
            };
            peer.heard.iter().find(is_it).cloned()
        })
    }

    /// Everything that the venue ever said on the port, behind which its answer to a query stands.
    pub(crate) fn whole_stream(mut self) -> Vec<Vec<u8>> {
        let before = self.heard.iter().filter(|message| message[0] == b'Q').count();
        self.session.send(b"Q", system_now()).expect("logged in");
        // Earlier queries of the engine are in the stream too: the replay is over when nothing more comes behind ours.
        let (mut quiet, mut last) = (Instant::now(), 0);
        self.await_some("the end of the stream", |peer| {
            if peer.heard.len() > last {
                (quiet, last) = (Instant::now(), peer.heard.len());
            }
            let asked = peer.heard.iter().filter(|message| message[0] == b'Q').count();
            let is_answered = asked > before && peer.heard.last().is_some_and(|message| message[0] == b'Q');
            (is_answered && quiet.elapsed() > Duration::from_millis(300)).then_some(())
        });
        std::mem::take(&mut self.heard)
    }
}

fn number_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The order that a message of the venue is about.
fn about(message: &[u8]) -> Option<u32> {
    message.get(9..13).map(number_of)
}
