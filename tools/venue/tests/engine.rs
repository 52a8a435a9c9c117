//! The engine's order client against this venue, without sockets: the connection is cut at every byte of a session, and by
//! chance while messages get lost behind it. No order is sent to the market twice, no fill is lost, and both accounts end
//! equal; the engine that dies and comes back from its log ends equal too.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was tried")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most messages say nothing of fills")]

#[path = "common/gate.rs"]
mod gate;

use std::collections::{BTreeMap, BTreeSet};

use gate::gate;
use peregrine_gateway::live::*;
use peregrine_gateway::ouch50::{EnterOrder, Inbound, Outbound, ReplaceOrder, Text};
use peregrine_gateway::soup::*;
use peregrine_gateway::{Fees, Outcome};
use peregrine_risk::{RiskContext, RiskGate};
use peregrine_types::{Position, *};
use peregrine_venue::{
    AccountId, Command, DaySchedule, Exchange, FirmId, NewOrder as VenueOrderIn, OuchPort, PortConfig, PortFaults,
    SelfTrade, SymbolConfig, Terms, TimeOfDay, VenueClock, VenueConfig,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const ONE: i64 = 1_000_000_000;
const CENT: i64 = ONE / 100;
/// 10:00 of the venue's day.
const MORNING: i64 = 36_000 * ONE;
const STEP: Nanos = Nanos::from_millis(5);

fn exchange(faults: &PortFaults, seed: u64) -> Exchange {
    let port = PortConfig {
        session: ServerConfig {
            username: Username::new("desk").unwrap(),
            password: Password::new("pass").unwrap(),
            session: SessionId::new("day").unwrap(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: CLIENT_SILENCE_MAX,
            login_time_max: LOGIN_TIME_MAX,
            packet_len_max: 300,
            outbox_len_max: 1 << 14,
            message_count_max: 20_000,
            byte_count_max: 1 << 20,
        },
        account: AccountId(0),
        self_trade: SelfTrade::DecrementBoth,
        is_cancel_on_disconnect: seed % 2 == 1,
        order_count_max: 4_000,
        execution_count_max: 8_000,
    };
    let config = VenueConfig {
        symbols: ["ALFA", "BETA"]
            .map(|name| SymbolConfig {
                name: Symbol::new(name).unwrap(),
                ticks: TickTable::US_EQUITY,
                round_lot: 100,
                reference_price: Price(10 * ONE),
            })
            .to_vec(),
        firms: vec![FirmId(0), FirmId(1)],
        schedule: DaySchedule::full(),
        order_count_max: 5_000,
        reference_count_max: 20_000,
        level_count_max: 2_000,
        side_level_count_max: 500,
    };
    let mut exchange = Exchange::new(config, &[port], VenueClock::from_midnight(EpochNanos(0))).unwrap();
    exchange.port(0).unwrap().set_faults(faults.clone(), seed);
    exchange.poll(EpochNanos(MORNING), &mut |_: TimeOfDay, _: &[u8]| {});
    exchange
}

/// What an engine's log keeps when its process dies.
#[derive(Debug, Default)]
struct Log {
    account: LoggedAccount,
    /// Fills and broken trades written, to see that none is written twice.
    fill_count: usize,
    resent: u64,
    replaces: u64,
}

impl Journal for Log {
    fn record(&mut self, step: &Step<'_>) {
        let id = step.order_id;
        let account = &mut self.account;
        account.last_number = account.last_number.max(id);
        match step.kind {
            StepKind::Submitted | StepKind::ReplaceSubmitted => {
                let (order, replaces) = (step.entry.unwrap().order, step.entry.unwrap().replaces);
                assert_eq!(step.kind == StepKind::ReplaceSubmitted, replaces.0 != 0);
                self.replaces += u64::from(replaces.0 != 0);
                let logged = LoggedOrder { order_id: id, order, is_rejected: false, replaces };
                let before = account.orders.insert(id, logged);
                assert!(before.is_none(), "order {id} is sent as new twice");
            }
            StepKind::Resent => self.resent += 1,
            StepKind::Report(execution, outcome) if outcome != Outcome::Duplicate => {
                let key = (id, execution.match_number);
                match execution.kind {
                    ExecutionKind::Filled => {
                        let (qty, price, match_number) = (execution.qty, execution.price, execution.match_number);
                        let fill = LoggedFill { order_id: id, match_number, qty, price, is_busted: false };
                        assert!(account.fills.insert(key, fill).is_none(), "fill {key:?} is booked twice");
                        self.fill_count += 1;
                    }
                    ExecutionKind::Busted => account.fills.get_mut(&key).unwrap().is_busted = true,
                    ExecutionKind::Rejected => {
                        if let Some(order) = account.orders.get_mut(&id) {
                            order.is_rejected = true;
                        }
                    }
                    ExecutionKind::Accepted
                    | ExecutionKind::Canceled
                    | ExecutionKind::CancelRejected
                    | ExecutionKind::Replaced
                    | ExecutionKind::Reduced => {}
                }
            }
            StepKind::Report(..) | StepKind::CancelRequested(_) | StepKind::MassCancel | StepKind::Overdue => {}
        }
    }
}

/// What the engine believes beside its client: the risk gate.
struct Engine {
    client: OrderClient,
    gate: RiskGate,
    inbox: Vec<Execution>,
}

impl Engine {
    fn new(log: &Log, probe_count: u8) -> Self {
        let session = ClientConfig {
            username: Username::new("desk").unwrap(),
            password: Password::new("pass").unwrap(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: Nanos::from_secs(5),
            login_time_max: Nanos::from_secs(5),
            heartbeat_timeout_ms: None,
            packet_len_max: 300,
            outbox_len_max: 1 << 14,
        };
        let config = OrderClientConfig {
            session,
            symbols: ["ALFA", "BETA"].map(|name| Symbol::new(name).unwrap()).to_vec(),
            order_count_max: 64,
            order_number_end: 4_000,
            fill_count_max: 8_000,
            fees: Fees { added: Price(-2_000_000), removed: Price(3_000_000) },
            midnight: EpochNanos(0),
            capacity: b'P',
            firm: Text(*b"FIRM"),
            answer_time_max: Nanos::from_millis(50),
            resend_age_max: Nanos::from_millis(200),
            reject_count_max: 8,
            probe_count,
            backlog_len_max: 1_000,
        };
        Self {
            client: OrderClient::new(config, log.account.clone()),
            gate: gate(1_000_000, 1_000_000_000, 10_000),
            inbox: vec![],
        }
    }
}

/// Engine, wire and venue.
struct World {
    exchange: Exchange,
    engine: Engine,
    log: Log,
    chance: ChaCha8Rng,
    now: EpochNanos,
    is_connected: bool,
    /// Bytes so far to the venue and to the engine, and where each connection is cut.
    moved: [usize; 2],
    cut: Option<(usize, usize)>,
    /// Order numbers that reached the wire.
    wire: BTreeSet<u64>,
    frames: FrameDecoder,
    others: u64,
    trades: Vec<(u64, u64)>,
    probe_count: u8,
}

impl World {
    fn new(seed: u64, faults: &PortFaults, probe_count: u8) -> Self {
        let log = Log::default();
        Self {
            exchange: exchange(faults, seed),
            engine: Engine::new(&log, probe_count),
            log,
            chance: ChaCha8Rng::seed_from_u64(seed),
            now: EpochNanos(MORNING),
            is_connected: false,
            moved: [0; 2],
            cut: None,
            wire: BTreeSet::new(),
            frames: FrameDecoder::new(300),
            others: 0,
            trades: vec![],
            probe_count,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.chance.next_u64() % end
    }

    fn port(&mut self) -> &mut OuchPort {
        self.exchange.port(0).unwrap()
    }

    fn with_client(&mut self, act: impl FnOnce(&mut OrderClient, EpochNanos, &mut Outlet<'_, Log, Inbox<'_>>)) {
        let Engine { client, inbox, .. } = &mut self.engine;
        let mut inbox = Inbox(inbox);
        act(client, self.now, &mut Outlet { journal: &mut self.log, executions: &mut inbox });
        for execution in std::mem::take(inbox.0) {
            self.engine.gate.on_execution(&execution);
        }
        self.engine.gate.begin_after(self.engine.client.last_number());
    }

    fn connect(&mut self) {
        self.exchange.connect(0, self.now);
        self.engine.client.connected(self.now);
        self.frames.reset();
        self.is_connected = true;
    }

    fn hang_up(&mut self) {
        self.exchange.disconnect(0, self.now, &mut |_: TimeOfDay, _: &[u8]| {});
        self.with_client(|client, now, io| client.disconnected(now, io));
        self.is_connected = false;
    }

    /// The first bytes of what waits, up to the cut; whether the connection is to be cut behind them.
    fn up_to_cut(&mut self, way: usize, waiting: usize) -> (usize, bool) {
        let limit = match self.cut {
            Some((cut_way, at)) if cut_way == way => at - self.moved[way],
            Some(_) | None => usize::MAX,
        };
        let len = waiting.min(limit);
        self.moved[way] += len;
        (len, limit != usize::MAX && len == limit)
    }

    /// Moves all bytes once each way.
    fn flow(&mut self) {
        for way in 0..2 {
            if !self.is_connected {
                return;
            }
            let waiting =
                if way == 0 { self.engine.client.pending().to_vec() } else { self.port().session().pending().to_vec() };
            let (len, is_cut) = self.up_to_cut(way, waiting.len());
            let bytes = &waiting[..len];
            if way == 0 {
                self.engine.client.sent(len);
                self.watch_wire(bytes);
                self.exchange.receive(0, bytes, self.now, &mut |_: TimeOfDay, _: &[u8]| {});
            } else {
                let now = self.now;
                self.port().session().sent(len, now);
                self.with_client(|client, now, io| client.receive(bytes, now, io));
            }
            if is_cut {
                self.cut = None;
                self.hang_up();
            }
        }
    }

    /// Every order on the wire is in the log already.
    fn watch_wire(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(frame) = self.frames.next(&mut rest).unwrap() {
            if let Ok(Packet::Unsequenced(payload)) = Packet::parse(frame)
                && let Ok(Inbound::EnterOrder(EnterOrder { user_ref_num, .. }, _))
                | Ok(Inbound::ReplaceOrder(ReplaceOrder { user_ref_num, .. }, _)) = Inbound::parse(payload)
            {
                let id = u64::from(user_ref_num.get());
                assert!(
                    self.log.account.orders.contains_key(&OrderId(id)),
                    "order {id} is on the wire and not in the log"
                );
                self.wire.insert(id);
            }
        }
    }

    /// The engine wants something: mostly an order, sometimes another one in its place, sometimes a cancel.
    fn decide(&mut self) {
        let symbol = SymbolId(u32::try_from(self.below(2)).unwrap());
        let side = Side::BOTH[usize::try_from(self.below(2)).unwrap()];
        let price = Price(10 * ONE + (i64::try_from(self.below(5)).unwrap() - 2) * CENT);
        let open: Vec<OrderId> = Side::BOTH.iter().flat_map(|s| self.engine.gate.open_orders(symbol, *s)).collect();
        let of = |chance: u64| open[usize::try_from(chance % open.len() as u64).unwrap()];
        let intent = if !open.is_empty() && self.below(3) == 0 {
            OrderIntent::Cancel { order_id: of(self.chance.next_u64()), symbol }
        } else if !open.is_empty() && self.below(2) == 0 {
            let qty = Qty(100 * (1 + self.below(5)));
            OrderIntent::Replace { order_id: of(self.chance.next_u64()), symbol, price, qty }
        } else {
            let qty = Qty(100 * (1 + self.below(4)));
            let time_in_force = if self.below(4) == 0 { TimeInForce::ImmediateOrCancel } else { TimeInForce::Day };
            let is_post_only = time_in_force == TimeInForce::Day && self.below(4) == 0;
            OrderIntent::New(NewOrder { symbol, side, price, qty, time_in_force, is_post_only })
        };
        let context = RiskContext {
            book_state: BookState::default(),
            reference_price: Some(price),
            top: TopOfBook::default(),
            data_time: self.now,
            is_input_finite: true,
        };
        if self.engine.client.block().is_some() && !matches!(intent, OrderIntent::Cancel { .. }) {
            return;
        }
        let Ok(approved) = self.engine.gate.check(&intent, &context, EventSeq(1), self.now) else { return };
        let mut refused = None;
        self.with_client(|client, now, io| refused = client.accept(approved, now, io).err());
        if let Some(refused) = refused {
            self.engine.gate.revoke(refused.order);
        }
    }

    /// Somebody else trades, or the venue breaks a trade of ours.
    fn market(&mut self) {
        self.others += 1;
        let command = if self.below(12) == 0 && !self.trades.is_empty() {
            let at = usize::try_from(self.below(self.trades.len() as u64)).unwrap();
            let (order, match_number) = self.trades[at];
            Command::Break { symbol: self.log.account.orders[&OrderId(order)].order.symbol, match_number }
        } else {
            let price = Price(10 * ONE + (i64::try_from(self.below(5)).unwrap() - 2) * CENT);
            Command::Enter(VenueOrderIn {
                account: AccountId(1),
                token: self.others,
                symbol: SymbolId(u32::try_from(self.below(2)).unwrap()),
                side: Side::BOTH[usize::try_from(self.below(2)).unwrap()],
                qty: u32::try_from(50 * (1 + self.below(6))).unwrap(),
                terms: Terms::limit(price),
            })
        };
        self.exchange.apply(&command, self.now, &mut |_: TimeOfDay, _: &[u8]| {});
        self.trades = fills_of(self.port()).into_keys().collect();
    }

    fn step(&mut self) {
        self.now = self.now.plus(STEP);
        if !self.is_connected && self.below(4) == 0 && self.engine.client.halted() != Some(ReasonCode::SessionLost) {
            self.connect();
        }
        match self.below(3) {
            0 => self.market(),
            _ => self.decide(),
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.flow();
        self.with_client(|client, now, io| client.poll(now, io));
        self.exchange.poll(self.now, &mut |_: TimeOfDay, _: &[u8]| {});
        self.flow();
    }

    /// Lets time pass until `is_done`.
    fn wait(&mut self, what: &str, mut is_done: impl FnMut(&OrderClient) -> bool) {
        for _ in 0..4_000 {
            if is_done(&self.engine.client) {
                return;
            }
            self.now = self.now.plus(STEP);
            if !self.is_connected {
                self.connect();
            }
            self.settle();
        }
        let client = &self.engine.client;
        let open: Vec<_> = client.table().open_orders().collect();
        panic!("{what}: {:?} {:?} {:?} {open:?}", client.phase(), client.block(), client.differences());
    }

    /// The engine's process dies; what lies in the kernel's buffers may still arrive. A new one begins from the log.
    fn kill(&mut self) {
        if self.is_connected && self.below(2) == 0 {
            let waiting = self.engine.client.pending().to_vec();
            self.watch_wire(&waiting);
            self.exchange.receive(0, &waiting, self.now, &mut |_: TimeOfDay, _: &[u8]| {});
        }
        self.exchange.disconnect(0, self.now, &mut |_: TimeOfDay, _: &[u8]| {});
        self.is_connected = false;
        self.engine = Engine::new(&self.log, self.probe_count);
    }

    /// Cancels everything, and holds every account against the venue's own store.
    fn end(&mut self, expected: Option<ReasonCode>) {
        self.wait("the stream is read", |client| client.phase() == Phase::Trading);
        self.engine.client.halt(ReasonCode::StopRequested);
        self.wait("no order is open", OrderClient::is_flat);
        self.wait("the stream is read", |client| client.phase() == Phase::Trading);
        let halted = self.engine.client.halted();
        let differences = self.engine.client.differences().to_vec();
        assert_eq!(halted, Some(expected.unwrap_or(ReasonCode::StopRequested)), "{differences:?}");
        let fills = fills_of(self.port());
        let logged: BTreeMap<(u64, u64), (u64, bool)> = (self.log.account.fills.values())
            .map(|fill| ((fill.order_id.0, fill.match_number.0), (fill.qty.0, fill.is_busted)))
            .collect();
        assert_eq!(logged, fills, "fills in the log, fills at the venue");
        assert_eq!(self.log.fill_count, fills.len());
        let mut positions = [0_i64; 2];
        for ((order, _), (qty, is_busted)) in &fills {
            let order = self.log.account.orders[&OrderId(*order)].order;
            let qty = if *is_busted { 0 } else { i64::try_from(*qty).unwrap() };
            positions[order.symbol.index()] += if order.side == Side::Buy { qty } else { -qty };
        }
        for (symbol, position) in (0..).map(SymbolId).zip(positions) {
            assert_eq!(self.engine.client.position(symbol), Position(position), "our own account");
            assert_eq!(self.engine.client.ledger().position(symbol), Position(position), "the ledger");
            assert_eq!(self.engine.gate.position(symbol), Position(position), "the risk gate");
        }
        assert_eq!(self.engine.gate.open_order_count(), 0, "nothing is held open without reason");
        assert_eq!(self.engine.client.counters().undelivered_count, 0);
        let accepted = accepted_of(self.port());
        assert!(accepted.iter().all(|(id, count)| *count == 1 && self.wire.contains(id)), "no order lives twice");
    }
}

struct Inbox<'a>(&'a mut Vec<Execution>);

impl Sink<Execution> for Inbox<'_> {
    fn push(&mut self, execution: Execution) -> Result<(), Full<Execution>> {
        self.0.push(execution);
        Ok(())
    }
}

fn messages(port: &mut OuchPort) -> Vec<Vec<u8>> {
    let store = port.session().store();
    (1..store.next_sequence_number()).map(|number| store.get(number).unwrap().to_vec()).collect()
}

/// Every fill of the venue's stream, by order and match number: quantity, and whether it was broken.
fn fills_of(port: &mut OuchPort) -> BTreeMap<(u64, u64), (u64, bool)> {
    let mut fills = BTreeMap::new();
    for message in messages(port) {
        match Outbound::parse(&message).unwrap() {
            Outbound::OrderExecuted(m, _) => {
                let key = (u64::from(m.user_ref_num.get()), m.match_number.get());
                fills.insert(key, (u64::from(m.quantity.get()), false));
            }
            Outbound::BrokenTrade(m, _) => {
                fills.get_mut(&(u64::from(m.user_ref_num.get()), m.match_number.get())).unwrap().1 = true;
            }
            _ => {}
        }
    }
    fills
}

fn accepted_of(port: &mut OuchPort) -> BTreeMap<u64, usize> {
    let mut accepted = BTreeMap::new();
    for message in messages(port) {
        match Outbound::parse(&message).unwrap() {
            Outbound::OrderAccepted(m, _) => *accepted.entry(u64::from(m.user_ref_num.get())).or_default() += 1,
            Outbound::OrderReplaced(m, _) => *accepted.entry(u64::from(m.user_ref_num.get())).or_default() += 1,
            _ => {}
        }
    }
    accepted
}

/// A short session, cut after so many bytes of one way; the bytes of both ways.
fn session(seed: u64, cut: Option<(usize, usize)>) -> ([usize; 2], u64, u64) {
    let mut world = World::new(seed, &PortFaults::default(), 1);
    world.cut = cut;
    for _ in 0..40 {
        world.step();
    }
    world.end(None);
    (world.moved, world.log.resent, world.engine.client.counters().replaced_count)
}

#[test]
fn the_connection_is_cut_at_every_byte_both_ways() {
    let (mut cut_count, mut resent, mut replaced) = (0, 0, 0);
    for seed in [2, 3] {
        let (whole, _, of_whole) = session(seed, None);
        assert!(of_whole > 0, "replacements are in the flow: {of_whole}");
        for (way, len) in whole.into_iter().enumerate() {
            for at in 1..len {
                let (_, again, moved) = session(seed, Some((way, at)));
                (resent, replaced) = (resent + again, replaced + moved);
                cut_count += 1;
            }
        }
    }
    println!("{cut_count} sessions, {resent} orders sent again, {replaced} replaced");
    assert!(cut_count > 4_000 && resent > 20, "{cut_count} sessions, {resent} orders sent again");
}

#[test]
fn connections_break_and_processes_die_by_chance() {
    let (mut fills, mut resent) = (0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed, &PortFaults::default(), 1);
        for _ in 0..400 {
            world.step();
            match world.below(40) {
                0 if world.is_connected => {
                    let (way, ahead) = (usize::try_from(world.below(2)).unwrap(), world.below(200));
                    world.cut = Some((way, world.moved[way] + usize::try_from(ahead).unwrap() + 1));
                }
                1 => world.kill(),
                _ => {}
            }
        }
        world.end(None);
        fills += world.log.fill_count;
        resent += world.log.resent;
    }
    println!("{fills} fills, {resent} orders sent again");
    assert!(fills > 1_000 && resent > 5, "{fills} fills, {resent} orders sent again");
}

/// Messages of the client that have no effect, acceptances that are never said, fills that are said twice.
#[test]
fn what_the_venue_loses_stays_unknown_until_its_stream_says_so() {
    let faults = PortFaults {
        lost_order_ppm: 50_000,
        lost_answer_ppm: 50_000,
        duplicate_fill_ppm: 200_000,
        ..PortFaults::default()
    };
    let (mut closed, mut overdue, mut duplicates) = (0, 0, 0);
    for seed in 100..140 {
        let mut world = World::new(seed, &faults, 6);
        for _ in 0..300 {
            world.step();
        }
        world.end(None);
        let counters = world.engine.client.counters();
        closed += counters.closed_count;
        overdue += counters.overdue_count;
        duplicates += counters.duplicate_count;
    }
    println!("{overdue} overdue, {closed} closed, {duplicates} said twice");
    assert!(closed > 20 && overdue > 50 && duplicates > 20, "{overdue} {closed} {duplicates}");
}

/// Acceptances that are never said, and connections that break before a probe has left: an order that lives is never
/// closed.
#[test]
fn a_probe_that_died_with_its_connection_proves_nothing() {
    let faults = PortFaults { lost_answer_ppm: 150_000, ..PortFaults::default() };
    let mut overdue = 0;
    for seed in 200..260 {
        let mut world = World::new(seed, &faults, 1);
        for _ in 0..400 {
            world.step();
            // What the client wants to say now does not leave.
            let is_waiting = !world.engine.client.pending().is_empty();
            if world.is_connected && is_waiting && world.below(3) == 0 {
                world.hang_up();
            }
        }
        world.end(None);
        overdue += world.engine.client.counters().overdue_count;
    }
    assert!(overdue > 10, "{overdue}");
}

/// Fills that are said late, with everything behind them, and trades that are broken afterwards.
#[test]
fn late_fills_and_broken_trades_leave_both_accounts_equal() {
    let faults = PortFaults {
        late_fill_ppm: 200_000,
        late_fill_delay: Nanos::from_millis(30),
        bust_ppm: 100_000,
        bust_delay: Nanos::from_millis(50),
        ..PortFaults::default()
    };
    let (mut late, mut busts, mut fills) = (0, 0, 0);
    for seed in 200..230 {
        let mut world = World::new(seed, &faults, 1);
        for _ in 0..300 {
            world.step();
            if world.below(60) == 0 {
                world.kill();
            }
        }
        world.end(None);
        let counters = world.port().fault_counters();
        late += counters.late_fill_count;
        busts += counters.bust_count;
        fills += world.log.fill_count;
    }
    println!("{fills} fills, {late} late, {busts} broken");
    assert!(late > 50 && busts > 20 && fills > 300, "{fills} fills, {late} late, {busts} broken");
}

#[test]
fn a_storm_of_refusals_halts() {
    let storm = (TimeOfDay(36_001 * 1_000_000_000), TimeOfDay(40_000 * 1_000_000_000));
    let faults = PortFaults { reject_storms: vec![storm], ..PortFaults::default() };
    let mut world = World::new(4, &faults, 1);
    for _ in 0..600 {
        world.step();
    }
    let before = world.engine.client.counters();
    assert_eq!(world.engine.client.halted(), Some(ReasonCode::RejectStorm));
    for _ in 0..100 {
        world.step();
    }
    assert_eq!(world.engine.client.counters().order_count, before.order_count, "nothing more is sent");
    assert!(before.rejected_count < 24, "{before:?}");
    world.end(Some(ReasonCode::RejectStorm));
}

/// What is wrong, the account with it, and the difference that is to be named.
type Case = (&'static str, LoggedAccount, fn(&Difference) -> bool);

/// The log has a fill that the venue never had, or an order at the venue is in no log: nobody knows who is right.
#[test]
fn what_no_word_settles_keeps_the_engine_from_trading() {
    let mut world = World::new(6, &PortFaults::default(), 1);
    for _ in 0..200 {
        world.step();
    }
    world.kill();
    let good = world.log.account.clone();
    let first = *good.orders.keys().next().unwrap();
    let known = *good.fills.keys().next().unwrap();
    let mut cases: Vec<Case> = vec![];
    let mut account = good.clone();
    account.orders.remove(&first);
    cases.push(("an order in no log", account, |d| matches!(d, Difference::OrderNotInLog(_))));
    let mut account = good.clone();
    let invented = LoggedFill {
        order_id: first,
        match_number: MatchNumber(99_999),
        qty: Qty(10),
        price: Price(10 * ONE),
        is_busted: false,
    };
    account.fills.insert((first, MatchNumber(99_999)), invented);
    cases.push(("a fill that the venue never had", account, |d| matches!(d, Difference::FillNotAtVenue(..))));
    let mut account = good.clone();
    account.fills.get_mut(&known).unwrap().qty = Qty(1);
    cases.push(("a fill of another size", account, |d| matches!(d, Difference::FillDiffers(..))));
    let mut account = good;
    account.last_number = OrderId(1);
    cases.push(("numbers in no log", account, |d| matches!(d, Difference::NumberNotInLog(_))));
    for (what, account, is_it) in cases {
        world.log.account = account;
        world.kill();
        world.wait(what, |client| client.phase() == Phase::Trading);
        let client = &world.engine.client;
        assert_eq!(client.block(), Some(ReasonCode::ReconcileFailed), "{what}");
        assert!(client.differences().iter().any(is_it), "{what}: {:?}", client.differences());
        assert!(client.differences().iter().all(|difference| !difference.to_string().is_empty()));
    }
}

/// The venue came back without its stream, with another session, or ahead of us.
#[test]
fn a_session_that_is_not_the_one_that_was_left_is_left_at_once() {
    let storm = Some(ReasonCode::RejectStorm);
    for (name, halted) in [("day", None), ("other", None), ("day", storm), ("other", Some(ReasonCode::StopRequested))] {
        let mut world = World::new(8, &PortFaults::default(), 1);
        for _ in 0..100 {
            world.step();
        }
        if world.is_connected {
            world.hang_up();
        }
        if let Some(reason) = halted {
            world.engine.client.halt(reason);
        }
        assert!(world.engine.client.session().position().next_sequence_number > 1);
        world.exchange = exchange(&PortFaults::default(), 8);
        world.port().session().begin_session(SessionId::new(name).unwrap(), &mut |_| {});
        let logged = world.log.account.orders.len();
        for _ in 0..2 {
            // Once more: there is no way back, whatever the first reason to halt was.
            world.connect();
            for _ in 0..10 {
                world.settle();
            }
            let client = &world.engine.client;
            assert_eq!(client.halted(), Some(halted.unwrap_or(ReasonCode::SessionLost)), "{name}");
            assert_eq!(client.session().state(), ClientState::Disconnected, "{name}");
            assert!(client.is_session_lost(), "{name}");
            assert_eq!(client.counters().closed_count, 0, "{name}: nothing is guessed");
            world.hang_up();
        }
        assert_eq!(world.log.account.orders.len(), logged, "{name}");
        let client = &world.engine.client;
        // Whatever was open stays open in the books: nobody said that it is gone.
        let open = client.table().open_count();
        assert!(u64::from(world.engine.gate.open_order_count()) >= u64::from(open > 0), "{name}");
    }
}
