//! Ports over sessions: every OUCH message is mapped, nothing is lost or doubled by a lost connection.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{config, order};
use peregrine_gateway::ouch50::*;
use peregrine_gateway::soup::*;
use peregrine_types::{EpochNanos, Nanos, Symbol, SymbolId};
use peregrine_venue::*;
use std::collections::BTreeSet;

fn session(user: &str) -> ServerConfig {
    ServerConfig {
        username: Username::new(user).unwrap(),
        password: Password::new("pass").unwrap(),
        session: SessionId::new("day").unwrap(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: CLIENT_SILENCE_MAX,
        login_time_max: LOGIN_TIME_MAX,
        packet_len_max: 300,
        outbox_len_max: 1 << 16,
        message_count_max: 1_000,
        byte_count_max: 100_000,
    }
}

fn port(user: &str, account: u32) -> PortConfig {
    PortConfig {
        session: session(user),
        account: AccountId(account),
        self_trade: SelfTrade::Allow,
        is_cancel_on_disconnect: account == 2,
        order_count_max: 100,
        execution_count_max: 100,
    }
}

fn client(user: &str) -> ClientSession {
    let config = ClientConfig {
        username: Username::new(user).unwrap(),
        password: Password::new("pass").unwrap(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(5),
        login_time_max: Nanos::from_secs(5),
        heartbeat_timeout_ms: None,
        packet_len_max: 300,
        outbox_len_max: 1 << 16,
    };
    ClientSession::new(config, Position::START)
}

/// Messages by number.
type Heard = Vec<(u64, Vec<u8>)>;

/// An exchange, the clients of its two ports (accounts 0 and 2, of two firms), what they heard, and the feed.
struct Floor {
    exchange: Exchange,
    clients: [ClientSession; 2],
    heard: [Heard; 2],
    closed: [Vec<CloseReason>; 2],
    feed: Vec<u8>,
    now: EpochNanos,
}

impl Floor {
    fn new() -> Self {
        Self::open(config(), 5_001)
    }

    fn open(config: VenueConfig, now: i64) -> Self {
        let ports = [port("alpha", 0), port("beta", 2)];
        let exchange = Exchange::new(config, &ports, VenueClock::from_midnight(EpochNanos(0))).unwrap();
        let clients = [client("alpha"), client("beta")];
        let (heard, closed) = ([vec![], vec![]], [vec![], vec![]]);
        let mut floor = Self { exchange, clients, heard, closed, feed: vec![], now: EpochNanos(0) };
        floor.poll_at(now);
        floor.connect(0);
        floor.connect(1);
        floor
    }

    fn poll_at(&mut self, now: i64) {
        self.now = EpochNanos(now);
        let feed = &mut self.feed;
        self.exchange.poll(self.now, &mut |_: TimeOfDay, message: &[u8]| feed.extend_from_slice(message));
        self.flow();
    }

    fn connect(&mut self, index: usize) {
        self.exchange.connect(index, self.now);
        self.clients[index].connect(self.now);
        self.flow();
    }

    /// Moves up to `budget` bytes of one client to the exchange.
    fn up(&mut self, index: usize, budget: usize) -> usize {
        let pending = self.clients[index].pending();
        let bytes = pending[..pending.len().min(budget)].to_vec();
        self.clients[index].sent(bytes.len());
        let feed = &mut self.feed;
        self.exchange
            .receive(index, &bytes, self.now, &mut |_: TimeOfDay, message: &[u8]| feed.extend_from_slice(message));
        bytes.len()
    }

    fn down(&mut self, index: usize, budget: usize) -> usize {
        let session = self.exchange.port(index).unwrap().session();
        let bytes = session.pending()[..session.pending().len().min(budget)].to_vec();
        session.sent(bytes.len(), self.now);
        let (heard, closed) = (&mut self.heard[index], &mut self.closed[index]);
        self.clients[index].receive(&bytes, self.now, &mut |event| match event {
            ClientEvent::Sequenced { sequence_number, payload } => heard.push((sequence_number, payload.to_vec())),
            ClientEvent::Closed(reason) => closed.push(reason),
            ClientEvent::LoggedIn { .. } | ClientEvent::Unsequenced(_) | ClientEvent::Debug(_) => {}
        });
        bytes.len()
    }

    fn flow(&mut self) {
        for _ in 0..4 {
            for index in 0..2 {
                self.up(index, usize::MAX);
                self.down(index, usize::MAX);
            }
        }
    }

    /// Sends a message and returns the types of what the client hears in answer.
    fn say<B: Body>(&mut self, index: usize, body: &B, options: &[OptionValue]) -> String {
        let bytes = message(body, options);
        self.clients[index].send(&bytes, self.now).unwrap();
        let before = self.heard[index].len();
        self.flow();
        self.types(index, before)
    }

    /// Rolls the session of a port; the types of what its client heard meanwhile.
    fn roll(&mut self, index: usize) -> String {
        let (before, feed) = (self.heard[index].len(), &mut self.feed);
        let time = TimeOfDay(u64::try_from(self.now.0).unwrap());
        let mut feed = |_: TimeOfDay, message: &[u8]| feed.extend_from_slice(message);
        self.exchange.roll_session(index, (time, self.now), &mut feed);
        self.flow();
        self.types(index, before)
    }

    fn types(&self, index: usize, from: usize) -> String {
        self.heard[index][from..].iter().map(|(_, message)| char::from(message[0])).collect()
    }

    fn last(&self, index: usize) -> Outbound<'_> {
        Outbound::parse(&self.heard[index].last().unwrap().1).unwrap()
    }
}

fn message<B: Body>(body: &B, options: &[OptionValue]) -> Vec<u8> {
    let mut buffer = [0; MESSAGE_LEN_MAX];
    let builder = MessageBuilder::new(&mut buffer, body).unwrap();
    options.iter().fold(builder, |builder, option| builder.option(*option).unwrap()).finish().to_vec()
}

fn replace(old: u32, new: u32, quantity: u32, price: u64) -> ReplaceOrder {
    ReplaceOrder {
        orig_user_ref_num: old.into(),
        user_ref_num: new.into(),
        quantity: quantity.into(),
        price: OuchPrice::new(price),
        time_in_force: b'0',
        display: b'Y',
        iso_eligibility: b'N',
        ..ReplaceOrder::blank()
    }
}

fn cancel(user_ref_num: u32, quantity: u32) -> CancelOrder {
    CancelOrder { user_ref_num: user_ref_num.into(), quantity: quantity.into(), ..CancelOrder::blank() }
}

#[test]
fn every_message_is_answered_as_written() {
    let mut floor = Floor::new();
    assert_eq!(floor.heard[0].len(), 1, "the start of the day came first");
    assert_eq!(floor.say(0, &order(1, b'B', 500, 100_000), &[]), "A");
    let Outbound::OrderAccepted(accepted, _) = floor.last(0) else { unreachable!("it is an A") };
    assert_eq!(
        (accepted.order_ref.get(), accepted.clordid, accepted.order_state),
        (1, Text::new("order1").unwrap(), b'L')
    );
    // The example of the protocol's sheet: 500 entered, 100 done, replaced with 600 leaves 500.
    assert_eq!(floor.say(1, &order(1, b'T', 100, 100_000), &[]), "AE");
    let Outbound::OrderExecuted(executed, _) = floor.last(0) else { unreachable!("it is an E") };
    assert_eq!((executed.quantity.get(), executed.price.get(), executed.liquidity_flag), (100, 100_000, b'A'));
    let match_number = executed.match_number.get();
    assert_eq!(floor.say(0, &replace(1, 2, 600, 100_000), &[]), "U");
    let Outbound::OrderReplaced(replaced, _) = floor.last(0) else { unreachable!("it is a U") };
    assert_eq!((replaced.quantity.get(), replaced.orig_user_ref_num.get(), replaced.side), (500, 1, b'B'));
    assert_eq!(floor.say(0, &cancel(2, 300), &[]), "C", "300 in all, 100 done: 200 are left");
    let Outbound::OrderCanceled(canceled, _) = floor.last(0) else { unreachable!("it is a C") };
    assert_eq!((canceled.quantity.get(), canceled.reason), (300, b'U'));
    assert_eq!(floor.say(0, &cancel(1, 0), &[]), "", "the replaced order is dead");
    // Modify: from short to short exempt, and smaller.
    assert_eq!(floor.say(1, &order(2, b'T', 50, 101_000), &[]), "A");
    let modify = ModifyOrder { user_ref_num: 2.into(), side: b'E', quantity: 40.into(), ..ModifyOrder::blank() };
    assert_eq!(floor.say(1, &modify, &[]), "M");
    let Outbound::OrderModified(modified, _) = floor.last(1) else { unreachable!("it is an M") };
    assert_eq!((modified.quantity.get(), modified.side), (40, b'E'));
    assert_eq!(floor.say(1, &ModifyOrder { side: b'B', ..modify }, &[]), "", "a sale stays a sale");
    // A reserve order shows its next part.
    assert_eq!(floor.say(1, &order(3, b'S', 300, 102_000), &[OptionValue::MaxFloor(100)]), "A");
    assert_eq!(floor.say(0, &order(3, b'B', 140, 102_000), &[]), "AEE");
    let Outbound::OrderRestated(_, options) = floor.last(1) else { unreachable!("it is an R") };
    assert_eq!((options.display_quantity(), options.secondary_order_ref()), (Some(100), Some(7)));
    // A firm that does not trade with itself.
    assert_eq!(floor.say(0, &order(4, b'S', 10, 100_000), &[OptionValue::AiqStrategy(b'W')]), "AD");
    // Enable, disable, query.
    let disable = DisableOrderEntry { user_ref_num: 5.into(), firm: Text(*b"ALFA"), ..DisableOrderEntry::blank() };
    assert_eq!(floor.say(0, &disable, &[]), "G");
    assert_eq!(floor.say(0, &order(6, b'B', 1, 100_000), &[]), "J");
    let enable = EnableOrderEntry { user_ref_num: 7.into(), firm: Text(*b"ALFA"), ..EnableOrderEntry::blank() };
    assert_eq!(floor.say(0, &enable, &[]), "K");
    assert_eq!(floor.say(0, &AccountQuery::blank(), &[]), "Q");
    let Outbound::AccountQueryResponse(answer, _) = floor.last(0) else { unreachable!("it is a Q") };
    assert_eq!(answer.next_user_ref_num.get(), 8);
    // A mass cancel by side: the response, then each order.
    let mass = MassCancel { user_ref_num: 9.into(), firm: Text(*b"ALFA"), ..MassCancel::blank() };
    assert_eq!(floor.say(0, &mass, &[OptionValue::Side(b'S')]), "X");
    assert_eq!(floor.say(0, &MassCancel { user_ref_num: 10.into(), ..mass }, &[]), "XC");
    // An execution is broken: both sides hear of it.
    let feed = &mut floor.feed;
    let command = Command::Break { symbol: SymbolId(0), match_number };
    floor.exchange.apply(&command, floor.now, &mut |_: TimeOfDay, message: &[u8]| feed.extend_from_slice(message));
    floor.flow();
    assert!(matches!(floor.last(0), Outbound::BrokenTrade(..)) && matches!(floor.last(1), Outbound::BrokenTrade(..)));
    // Late orders of the closing cross, and the end of the day.
    let closing = EnterOrder { cross_type: b'C', ..order(11, b'B', 10, 100_000) };
    assert_eq!(floor.say(0, &closing, &[]), "A");
    floor.poll_at(29_800);
    assert_eq!((floor.say(0, &cancel(11, 5), &[]).as_str(), floor.say(0, &cancel(11, 0), &[]).as_str()), ("I", "P"));
    floor.poll_at(50_000);
    let heard: BTreeSet<u8> = floor.heard.iter().flatten().map(|(_, message)| message[0]).collect();
    let wanted: BTreeSet<u8> = Outbound::TYPES.iter().copied().filter(|code| *code != b'T').collect();
    assert_eq!(heard, wanted, "every message of the venue but the one that it never sends");
    for (_, message) in floor.heard.iter().flatten() {
        assert_eq!(Outbound::parse(message).unwrap().check(), Ok(()));
    }
    assert_eq!(
        floor.exchange.port(0).unwrap().counters(),
        PortCounters { ignored_count: 1, ..PortCounters::default() }
    );
}

#[test]
fn what_a_port_refuses_has_its_reason() {
    let mut floor = Floor::new();
    let good = order(1, b'B', 10, 100_000);
    let cases: [(EnterOrder, &[OptionValue], RejectReason); 12] = [
        (EnterOrder { side: b'X', ..good }, &[], RejectReason::SIDE),
        (EnterOrder { quantity: 0.into(), ..good }, &[], RejectReason::QUANTITY),
        (EnterOrder { price: OuchPrice::new(100_001), ..good }, &[], RejectReason::PRICE),
        (EnterOrder { symbol: Symbol(*b"NONE    "), ..good }, &[], RejectReason::SYMBOL),
        (EnterOrder { display: b'?', ..good }, &[], RejectReason::DISPLAY),
        (EnterOrder { cross_type: b'H', ..good }, &[], RejectReason::CROSS_ORDER),
        (EnterOrder { cross_type: b'O', ..good }, &[], RejectReason::CROSS_ORDER),
        (good, &[OptionValue::MinQty(1)], RejectReason::MIN_QUANTITY),
        (EnterOrder { time_in_force: b'3', ..good }, &[OptionValue::MaxFloor(1)], RejectReason::MAX_FLOOR),
        (good, &[OptionValue::PriceType(b'R')], RejectReason::PEGGING_NOT_ALLOWED),
        (good, &[OptionValue::PriceType(b'M')], RejectReason::DISPLAY),
        (good, &[OptionValue::UserRefIdx(1)], RejectReason::OTHER),
    ];
    for (urn, (order, options, reason)) in (1_u32..).zip(cases) {
        let order = EnterOrder { user_ref_num: urn.into(), ..order };
        assert_eq!(floor.say(0, &order, options), "J", "{reason}");
        let Outbound::Rejected(rejected, _) = floor.last(0) else { unreachable!("it is a J") };
        assert_eq!((rejected.reason.get(), rejected.user_ref_num.get()), (reason.0, urn), "{reason}");
    }
    assert_eq!(floor.say(0, &EnterOrder { user_ref_num: 12.into(), ..good }, &[]), "", "a used number is ignored");
    assert_eq!(floor.say(0, &EnterOrder { user_ref_num: 13.into(), ..good }, &[]), "A");
    assert_eq!(
        floor.say(0, &replace(13, 14, 1_000_000, 100_000), &[]),
        "C",
        "a replace that cannot be removes the order"
    );
    assert_eq!(floor.say(0, &EnterOrder { user_ref_num: 14.into(), ..good }, &[]), "A", "and its number is free");
    assert_eq!(floor.say(0, &replace(14, 15, 20, 100_000), &[OptionValue::PostOnly(b'P')]), "U");
    let Outbound::OrderReplaced(_, options) = floor.last(0) else { unreachable!("it is a U") };
    assert_eq!(options.post_only(), Some(b'P'));
    floor.clients[0].send(b"zebra", floor.now).unwrap();
    floor.clients[0].send(b"O", floor.now).unwrap();
    floor.flow();
    assert_eq!(floor.exchange.port(0).unwrap().counters().malformed_count, 2);
}

#[test]
fn a_lost_connection_cancels_where_the_port_says_so() {
    let mut floor = Floor::new();
    floor.say(0, &order(1, b'B', 10, 99_000), &[]);
    floor.say(1, &order(1, b'B', 10, 99_000), &[]);
    for index in 0..2 {
        floor.clients[index].disconnect(&mut |_| {});
        let feed = &mut floor.feed;
        floor
            .exchange
            .disconnect(index, floor.now, &mut |_: TimeOfDay, message: &[u8]| feed.extend_from_slice(message));
    }
    assert_eq!(floor.exchange.venue().order_count(), 1, "port 1 has cancel-on-disconnect");
    floor.connect(1);
    let Outbound::OrderCanceled(canceled, _) = floor.last(1) else { unreachable!("it is a C") };
    assert_eq!((canceled.user_ref_num.get(), canceled.quantity.get()), (1, 10));
    assert!(floor.exchange.is_active(1) && !floor.exchange.is_active(0));
}

#[test]
fn a_session_that_rolls_ends_and_the_orders_go_by_the_ports_rule() {
    let mut floor = Floor::new();
    for index in 0..2 {
        assert_eq!(floor.say(index, &order(1, b'B', 10, 99_000), &[]), "A");
    }
    let old = floor.clients[0].position();
    assert_eq!([floor.roll(0), floor.roll(1)], ["", "C"], "port 1 cancels, and says so before its end");
    assert_eq!(floor.closed, [[CloseReason::EndOfSession], [CloseReason::EndOfSession]]);
    assert_eq!(floor.exchange.venue().order_count(), 1);
    // Nobody gets back to the session that is over.
    floor.clients[0] = client("alpha");
    floor.clients[0].set_position(old);
    floor.connect(0);
    let refused = CloseReason::Rejected(LoginRejectReason::SessionNotAvailable);
    assert_eq!(floor.closed[0], [CloseReason::EndOfSession, refused]);
    floor.heard = [vec![], vec![]];
    floor.clients[0] = client("alpha");
    floor.connect(0);
    floor.connect(1);
    let next = SessionId::new("da1").unwrap();
    for index in 0..2 {
        assert_eq!(floor.clients[index].position(), Position { session: next, next_sequence_number: 2 });
        assert_eq!((floor.types(index, 0).as_str(), floor.heard[index][0].0), ("S", 1));
    }
    // Numbers are the day's; an order that lives on is told of under its own.
    assert_eq!(floor.say(0, &order(1, b'B', 5, 98_000), &[]), "", "a used number is ignored");
    assert_eq!(floor.say(1, &order(2, b'S', 4, 99_000), &[]), "AE");
    let Outbound::OrderExecuted(executed, _) = floor.last(0) else { unreachable!("it is an E") };
    assert_eq!((executed.user_ref_num.get(), executed.quantity.get()), (1, 4));
    assert_eq!((floor.say(0, &cancel(1, 0), &[]).as_str(), floor.say(1, &cancel(1, 0), &[]).as_str()), ("C", ""));
    // Once more while nobody is connected: the name counts on.
    floor.clients[0].disconnect(&mut |_| {});
    let feed = &mut floor.feed;
    floor.exchange.disconnect(0, floor.now, &mut |_: TimeOfDay, message: &[u8]| feed.extend_from_slice(message));
    floor.roll(0);
    assert_eq!(floor.exchange.port(0).unwrap().session().session(), SessionId::new("da2").unwrap());
    floor.poll_at(50_000);
    floor.roll(0);
    assert_eq!(floor.exchange.port(0).unwrap().session().store().last_sequence_number(), 0, "the day is over");
}

#[test]
fn what_is_late_is_said_before_the_session_ends() {
    let mut floor = Floor::new();
    let faults = PortFaults { late_fill_ppm: 1_000_000, late_fill_delay: Nanos::from_secs(1), ..PortFaults::default() };
    floor.exchange.port(0).unwrap().set_faults(faults, 1);
    assert_eq!(floor.say(0, &order(1, b'B', 10, 99_000), &[]), "A");
    assert_eq!(floor.say(1, &order(1, b'S', 10, 99_000), &[]), "AE");
    assert_eq!((floor.roll(0).as_str(), &floor.closed[0][..]), ("E", &[CloseReason::EndOfSession][..]));
}

/// What the last message to a client says that was cancelled: number, shares, reason, and when.
fn ended(floor: &Floor, index: usize) -> (u32, u32, char, u64) {
    let Outbound::OrderCanceled(m, _) = floor.last(index) else { panic!("{:?}", floor.last(index)) };
    (m.user_ref_num.get(), m.quantity.get(), char::from(m.reason), m.timestamp.get())
}

#[test]
fn an_order_with_a_time_to_live_ends_when_it_is_over() {
    const SECOND: i64 = 1_000_000_000;
    let noon = 12 * 3_600 * SECOND;
    let mut floor = Floor::open(VenueConfig { schedule: DaySchedule::full(), ..config() }, noon);
    let until = |number, quantity| EnterOrder { time_in_force: b'6', ..order(number, b'B', quantity, 99_000) };
    let lives = |seconds| [OptionValue::ExpireTime(seconds)];
    for (number, options) in [(1, &[][..]), (2, &lives(0)), (3, &lives(86_400))] {
        assert_eq!(floor.say(0, &until(number, 10), options), "J", "{options:?}");
        let Outbound::Rejected(rejected, _) = floor.last(0) else { unreachable!("it is a J") };
        assert_eq!((rejected.user_ref_num.get(), rejected.reason.get()), (number, RejectReason::OTHER.0));
    }
    assert_eq!(floor.say(0, &until(4, 100), &lives(5)), "A");
    let Outbound::OrderAccepted(accepted, options) = floor.last(0) else { unreachable!("it is an A") };
    assert_eq!((accepted.time_in_force, options.expire_time()), (b'6', Some(5)));
    assert_eq!(floor.say(0, &until(5, 100), &lives(86_399)), "A");
    assert_eq!(floor.say(1, &order(1, b'S', 30, 99_000), &[]), "AE");
    let heard = floor.heard[0].len();
    floor.poll_at(noon + 5 * SECOND - 1);
    assert_eq!(floor.types(0, heard), "");
    // Whoever looks late finds it ended in time.
    floor.poll_at(noon + 6 * SECOND);
    assert_eq!(floor.types(0, heard), "C");
    let at = |seconds: i64| u64::try_from(noon + seconds * SECOND).unwrap();
    assert_eq!(ended(&floor, 0), (4, 70, 'T', at(5)));
    // A replacement's time begins anew, or is the day.
    let replaced = |old, new, time_in_force| ReplaceOrder { time_in_force, ..replace(old, new, 100, 99_000) };
    assert_eq!(floor.say(0, &replaced(5, 6, b'6'), &lives(4)), "U");
    let Outbound::OrderReplaced(_, options) = floor.last(0) else { unreachable!("it is a U") };
    assert_eq!(options.expire_time(), Some(4));
    assert_eq!(floor.say(0, &until(7, 100), &lives(3)), "A");
    assert_eq!(floor.say(0, &replaced(7, 8, b'6'), &[]), "U", "what is not said stays");
    let Outbound::OrderReplaced(_, options) = floor.last(0) else { unreachable!("it is a U") };
    assert_eq!(options.expire_time(), Some(3));
    assert_eq!(floor.say(0, &replaced(8, 9, b'0'), &[]), "U");
    let Outbound::OrderReplaced(_, options) = floor.last(0) else { unreachable!("it is a U") };
    assert_eq!(options.expire_time(), None);
    let heard = floor.heard[0].len();
    floor.poll_at(noon + 10 * SECOND);
    assert_eq!((floor.types(0, heard).as_str(), ended(&floor, 0)), ("C", (6, 100, 'T', at(10))));
    assert_eq!(floor.say(0, &replaced(9, 10, b'6'), &lives(0)), "C", "a replace that cannot be removes the order");
    assert_eq!(ended(&floor, 0).2, 'U');
    assert_eq!(floor.exchange.venue().order_count(), 0);
}

/// What the client of port 0 sends, in order.
fn script() -> Vec<Vec<u8>> {
    let none: &[OptionValue] = &[];
    vec![
        message(&order(1, b'B', 100, 100_000), none),
        message(&order(2, b'S', 50, 101_000), &[OptionValue::PostOnly(b'P')]),
        message(&replace(1, 3, 100, 100_100), none),
        message(&cancel(2, 20), none),
        message(&EnterOrder { time_in_force: b'6', ..order(4, b'S', 30, 100_100) }, &[OptionValue::ExpireTime(9)]),
        message(&cancel(3, 0), none),
    ]
}

/// Runs the script with the connection cut once after `cut` bytes in one direction. What was not answered is sent again
/// with its own numbers. Returns the feed, the sum of the answers' bytes, and how many bytes flowed.
fn run_script(cut: usize, is_down: bool) -> (Vec<u8>, Heard, usize) {
    let mut floor = Floor::new();
    let script = script();
    let (mut at, mut flowed, mut is_cut) = (0, 0, false);
    for _ in 0..400 {
        if at < script.len() && floor.clients[0].state() == ClientState::Active && floor.clients[0].pending().is_empty()
        {
            floor.clients[0].send(&script[at], floor.now).unwrap();
            at += 1;
        }
        let room = if is_cut { usize::MAX } else { cut - flowed };
        let (up, down) = if is_down { (usize::MAX, room) } else { (room, usize::MAX) };
        let (up, down) = (floor.up(0, up), floor.down(0, down));
        flowed += if is_down { down } else { up };
        if !is_cut && flowed == cut {
            is_cut = true;
            floor.clients[0].disconnect(&mut |_| {});
            let feed = &mut floor.feed;
            floor
                .exchange
                .disconnect(0, floor.now, &mut |_: TimeOfDay, message: &[u8]| feed.extend_from_slice(message));
            floor.connect(0);
            // Everything again: what the venue has seen already is harmless.
            at = 0;
        }
    }
    (floor.feed, floor.heard[0].clone(), flowed)
}

#[test]
fn a_session_cut_at_every_byte_ends_as_one_that_was_not() {
    for is_down in [false, true] {
        let (feed, heard, all) = run_script(usize::MAX, is_down);
        assert!(all > 150 && heard.len() == 9);
        assert!(heard.iter().zip(1..).all(|((number, _), wanted)| *number == wanted));
        for cut in 0..=all {
            let (cut_feed, cut_heard, _) = run_script(cut, is_down);
            assert_eq!((cut_feed == feed, cut_heard == heard), (true, true), "cut after {cut} bytes, down: {is_down}");
        }
    }
}
