//! The order client against a server that says what no venue should: every word that does not fit halts, and is named.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use peregrine_gateway::Fees;
use peregrine_gateway::live::{
    Difference, Journal, LoggedAccount, LoggedOrder, Notice, OrderClient, OrderClientConfig, Outlet, Phase, Step,
};
use peregrine_gateway::ouch50::{
    AccountQueryResponse, Body, Inbound, MassCancelResponse, MessageBuilder, OrderAccepted, OrderCanceled,
    OrderExecuted, OrderReplaced, OuchPrice, Rejected, Text,
};
use peregrine_gateway::soup::*;
use peregrine_risk::{InstrumentRules, LimitsConfig, RiskContext, RiskGate};
use peregrine_types::{Position, *};

const CENT: i64 = 10_000_000;
const PRICE: Price = Price(1_000 * CENT);

struct Nothing;

impl Journal for Nothing {
    fn record(&mut self, _: &Step<'_>) {}
}

/// Executions, as many as fit.
struct Reports(Vec<Execution>, usize);

impl Sink<Execution> for Reports {
    fn push(&mut self, execution: Execution) -> Result<(), Full<Execution>> {
        if self.0.len() == self.1 {
            return Err(Full(execution));
        }
        self.0.push(execution);
        Ok(())
    }
}

struct Desk {
    client: OrderClient,
    server: ServerSession,
    gate: RiskGate,
    reports: Reports,
    now: EpochNanos,
    /// The next number that the server would take.
    next: u32,
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

fn config(order_number_end: u32) -> OrderClientConfig {
    OrderClientConfig {
        session: ClientConfig {
            username: Username::new("desk").unwrap(),
            password: Password::new("pass").unwrap(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: CLIENT_SILENCE_MAX,
            login_time_max: LOGIN_TIME_MAX,
            heartbeat_timeout_ms: None,
            packet_len_max: 300,
            outbox_len_max: 1 << 14,
        },
        symbols: ["ALFA", "BETA"].map(|name| Symbol::new(name).unwrap()).to_vec(),
        order_count_max: 16,
        order_number_end,
        fill_count_max: 16,
        fees: Fees { added: Default::default(), removed: Default::default() },
        midnight: EpochNanos(0),
        capacity: b'P',
        firm: Text(*b"DESK"),
        answer_time_max: Nanos::from_millis(50),
        resend_age_max: Nanos::from_millis(50),
        reject_count_max: 5,
        probe_count: 1,
        backlog_len_max: 4_096,
    }
}

fn gate() -> RiskGate {
    let limits = LimitsConfig {
        order_qty_max: Some(Qty(10_000)),
        order_notional_max: Some(Notional(i128::MAX)),
        price_collar_bps: Some(5_000),
        position_qty_max: Some(Qty(1_000_000)),
        gross_notional_max: Some(Notional(i128::MAX)),
        open_orders_max: Some(64),
        order_rate_max: Some(10_000),
        order_rate_window: Some(Nanos::from_secs(1)),
        duplicate_window: Some(Nanos(1)),
        data_age_max: Some(Nanos::from_secs(1)),
    };
    let mut gate = RiskGate::new(&limits.validate().unwrap(), 2);
    for symbol in [0, 1].map(SymbolId) {
        gate.permit(symbol, Some(InstrumentRules::US_EQUITY));
    }
    gate
}

impl Desk {
    fn new(account: LoggedAccount, order_number_end: u32, room: usize) -> Self {
        let server = ServerSession::new(ServerConfig {
            username: Username::new("desk").unwrap(),
            password: Password::new("pass").unwrap(),
            session: session("day"),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: CLIENT_SILENCE_MAX,
            login_time_max: LOGIN_TIME_MAX,
            packet_len_max: 300,
            outbox_len_max: 1 << 14,
            message_count_max: 1_000,
            byte_count_max: 1 << 16,
        });
        Self {
            client: OrderClient::new(config(order_number_end), account),
            server,
            gate: gate(),
            reports: Reports(vec![], room),
            now: EpochNanos(1_000_000_000),
            next: 1,
        }
    }

    fn connect(&mut self) {
        self.server.connect(self.now);
        self.client.connected(self.now);
    }

    /// Bytes both ways; queries and mass cancels are answered, all else is only heard.
    fn flow(&mut self) {
        for _ in 0..8 {
            let said = self.client.pending().to_vec();
            self.client.sent(said.len());
            let mut heard = vec![];
            self.server.receive(&said, self.now, &mut |event: ServerEvent<'_>| {
                if let ServerEvent::Unsequenced(payload) = event {
                    heard.push(payload.to_vec());
                }
            });
            for payload in heard {
                match Inbound::parse(&payload).unwrap() {
                    Inbound::AccountQuery(..) => {
                        let next_user_ref_num = self.next.into();
                        self.say(&AccountQueryResponse { next_user_ref_num, ..AccountQueryResponse::blank() });
                    }
                    Inbound::MassCancel(m, _) => {
                        self.next = m.user_ref_num.get() + 1;
                        let user_ref_num = m.user_ref_num;
                        self.say(&MassCancelResponse { user_ref_num, ..MassCancelResponse::blank() });
                    }
                    Inbound::EnterOrder(..)
                    | Inbound::ReplaceOrder(..)
                    | Inbound::CancelOrder(..)
                    | Inbound::ModifyOrder(..)
                    | Inbound::DisableOrderEntry(..)
                    | Inbound::EnableOrderEntry(..)
                    | Inbound::Unknown(_) => {}
                }
            }
            let answer = self.server.pending().to_vec();
            self.server.sent(answer.len(), self.now);
            let mut io = Outlet { journal: &mut Nothing, executions: &mut self.reports };
            self.client.receive(&answer, self.now, &mut io);
            self.client.poll(self.now, &mut io);
        }
    }

    fn say<M: Body>(&mut self, message: &M) {
        let mut buffer = [0; 256];
        let bytes = MessageBuilder::new(&mut buffer, message).unwrap().finish();
        self.server.sequence(bytes, self.now).unwrap();
    }

    /// Sends an order to buy 100 ALFA.
    fn order(&mut self) -> OrderId {
        self.send(&buy(0))
    }

    /// Has an intent approved and sends it.
    fn send(&mut self, intent: &OrderIntent) -> OrderId {
        let order_id = self.client.last_number();
        self.ask(intent).unwrap();
        let sent = self.client.last_number();
        assert!(sent > order_id);
        self.flow();
        self.next = u32::try_from(sent.0).unwrap() + 1;
        sent
    }

    /// Has an intent approved and hands it to the client; no byte moves. Time passes, a little.
    fn ask(&mut self, intent: &OrderIntent) -> Result<(), ReasonCode> {
        self.now = self.now.plus(Nanos(10));
        let context = RiskContext {
            book_state: BookState::default(),
            reference_price: Some(PRICE),
            top: TopOfBook::default(),
            data_time: self.now,
            is_input_finite: true,
        };
        self.gate.begin_after(self.client.last_number());
        let approved = self.gate.check(intent, &context, EventSeq(1), self.now).unwrap();
        let mut io = Outlet { journal: &mut Nothing, executions: &mut self.reports };
        self.client.accept(approved, self.now, &mut io).map_err(|refused| {
            self.gate.revoke(refused.order);
            refused.reason
        })
    }

    /// So much later.
    fn wait(&mut self, span: Nanos) {
        self.now = self.now.plus(span);
        let mut io = Outlet { journal: &mut Nothing, executions: &mut self.reports };
        self.client.poll(self.now, &mut io);
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.client.take_notice()).collect()
    }

    fn begun(room: usize) -> (Self, OrderId) {
        let mut desk = Self::new(LoggedAccount::default(), 1_000, room);
        desk.connect();
        desk.flow();
        assert_eq!((desk.client.phase(), desk.client.block()), (Phase::Trading, None));
        let order = desk.order();
        (desk, order)
    }
}

/// To buy 100 of a symbol.
const fn buy(symbol: u32) -> OrderIntent {
    let (symbol, side, time_in_force) = (SymbolId(symbol), Side::Buy, TimeInForce::Day);
    OrderIntent::New(NewOrder { symbol, side, price: PRICE, qty: Qty(100), time_in_force, is_post_only: false })
}

/// The acceptance of an order to buy 100 ALFA.
fn accepted(order_id: OrderId) -> OrderAccepted {
    OrderAccepted {
        user_ref_num: u32::try_from(order_id.0).unwrap().into(),
        side: b'B',
        quantity: 100.into(),
        symbol: Symbol::new("ALFA").unwrap(),
        price: OuchPrice::from_price(PRICE).unwrap(),
        time_in_force: b'0',
        order_state: b'L',
        clordid: clordid(order_id),
        ..OrderAccepted::blank()
    }
}

fn clordid(order_id: OrderId) -> Text<14> {
    Text::new(&order_id.to_string()).unwrap()
}

#[test]
fn an_acceptance_of_another_order_under_our_number_halts() {
    let other: [fn(&mut OrderAccepted); 4] = [
        |m| m.symbol = Symbol::new("BETA").unwrap(),
        |m| m.side = b'S',
        |m| m.quantity = 900.into(),
        |m| m.clordid = Text(*b"SOMEBODY ELSE "),
    ];
    for change in other {
        let (mut desk, order) = Desk::begun(100);
        let mut message = accepted(order);
        change(&mut message);
        desk.say(&message);
        desk.flow();
        assert_eq!(desk.client.halted(), Some(ReasonCode::ReconcileFailed), "{message:?}");
        assert!(desk.client.differences().contains(&Difference::OrderDiffers(order)), "{message:?}");
    }
    let (mut desk, order) = Desk::begun(100);
    desk.say(&accepted(order));
    desk.flow();
    assert_eq!((desk.client.halted(), desk.client.counters().accepted_count), (None, 1));
}

#[test]
fn an_acceptance_of_fewer_shares_counts_once_however_often_it_is_said() {
    let (mut desk, order) = Desk::begun(100);
    let message = OrderAccepted { quantity: 80.into(), ..accepted(order) };
    for _ in 0..3 {
        desk.say(&message);
        desk.flow();
        let entry = desk.client.table().get(order).unwrap();
        assert_eq!((entry.leaves_qty, desk.client.halted()), (Qty(80), None));
    }
    assert_eq!(desk.client.counters().accepted_count, 1);
    assert_eq!(desk.reports.0.iter().filter(|report| report.kind == ExecutionKind::Reduced).count(), 1);
}

/// Order and replacement leave together, and the venue refuses the order: it is silent about the other message, and both
/// are gone. Nothing of that is a difference.
#[test]
fn an_order_that_is_replaced_before_its_answer_and_refused_is_no_difference() {
    let (mut desk, order_id) = Desk::begun(16);
    let (symbol, price, qty) = (SymbolId(0), Price(PRICE.0 + CENT), Qty(100));
    let replacement = desk.send(&OrderIntent::Replace { order_id, symbol, price, qty });
    let user_ref_num = u32::try_from(order_id.0).unwrap().into();
    desk.say(&Rejected { user_ref_num, reason: 0x11.into(), clordid: clordid(order_id), ..Rejected::blank() });
    desk.flow();
    let said: Vec<_> = desk.reports.0.iter().map(|report| (report.order_id, report.kind, report.reason)).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!((said[0].0, said[0].1), (order_id, ExecutionKind::Rejected));
    assert_eq!(said[1], (replacement, ExecutionKind::Rejected, ReasonCode::VenueReplaceTooLate));
    assert_eq!((desk.client.halted(), desk.client.block(), desk.client.is_flat()), (None, None, true));
    for report in desk.reports.0.drain(..) {
        desk.gate.on_execution(&report);
    }
    assert_eq!(desk.gate.open_order_count(), 0);
    // The session goes on.
    desk.now = desk.now.plus(Nanos(1_000));
    let next = desk.order();
    desk.say(&accepted(next));
    desk.flow();
    assert_eq!((desk.client.halted(), desk.reports.0[0].kind), (None, ExecutionKind::Accepted));
}

/// A replacement of which the venue says nothing but that it traded: that it took its place is our own conclusion, and the
/// report says so, unlike one that the venue made.
#[test]
fn a_replacement_that_the_venue_never_said_to_live_is_marked_as_our_conclusion() {
    for is_said in [true, false] {
        let (mut desk, order) = Desk::begun(100);
        desk.say(&accepted(order));
        desk.flow();
        for report in desk.reports.0.clone() {
            desk.gate.on_execution(&report);
        }
        let (symbol, price, qty) = (SymbolId(0), Price(1_001 * CENT), Qty(100));
        let replacement = desk.send(&OrderIntent::Replace { order_id: order, symbol, price, qty });
        let number = |id: OrderId| u32::try_from(id.0).unwrap().into();
        if is_said {
            desk.say(&OrderReplaced {
                orig_user_ref_num: number(order),
                user_ref_num: number(replacement),
                side: b'B',
                quantity: 100.into(),
                symbol: Symbol::new("ALFA").unwrap(),
                price: OuchPrice::from_price(Price(1_001 * CENT)).unwrap(),
                time_in_force: b'0',
                order_state: b'L',
                clordid: clordid(replacement),
                ..OrderReplaced::blank()
            });
        }
        desk.say(&OrderExecuted {
            user_ref_num: number(replacement),
            quantity: 30.into(),
            price: OuchPrice::from_price(PRICE).unwrap(),
            liquidity_flag: b'A',
            match_number: 7.into(),
            ..OrderExecuted::blank()
        });
        desk.flow();
        assert_eq!(desk.client.halted(), None, "{:?}", desk.client.differences());
        let reports = desk.reports.0.iter().filter(|report| report.order_id == replacement);
        let said: Vec<_> = reports.map(|report| (report.kind, report.reason, report.leaves_qty)).collect();
        let reason = if is_said { ReasonCode::None } else { ReasonCode::Unanswered };
        let filled = (ExecutionKind::Filled, ReasonCode::None, Qty(70));
        assert_eq!(said, [(ExecutionKind::Replaced, reason, Qty(100)), filled]);
    }
}

#[test]
fn a_report_that_finds_no_room_halts() {
    let (mut desk, order) = Desk::begun(1);
    desk.say(&accepted(order));
    desk.flow();
    assert_eq!(desk.client.halted(), None);
    let user_ref_num = u32::try_from(order.0).unwrap().into();
    let price = OuchPrice::from_price(PRICE).unwrap();
    let fill =
        OrderExecuted { user_ref_num, quantity: 10.into(), price, match_number: 7.into(), ..OrderExecuted::blank() };
    desk.say(&fill);
    desk.flow();
    assert_eq!(desk.client.halted(), Some(ReasonCode::ReconcileFailed));
    assert_eq!((desk.client.counters().undelivered_count, desk.client.position(SymbolId(0))), (1, Position(10)));
}

#[test]
fn the_log_is_held_against_what_the_venue_accepted() {
    let time_in_force = TimeInForce::Day;
    let order = NewOrder {
        symbol: SymbolId(0),
        side: Side::Buy,
        price: PRICE,
        qty: Qty(100),
        time_in_force,
        is_post_only: false,
    };
    let logged = |number: u64, is_rejected| LoggedAccount {
        orders: [(
            OrderId(number),
            LoggedOrder { order_id: OrderId(number), replaces: OrderId(0), order, is_rejected },
        )]
        .into(),
        last_number: OrderId(number),
        ..LoggedAccount::default()
    };
    let begin = |account: LoggedAccount, message: &OrderAccepted| {
        let mut desk = Desk::new(account, 50, 100);
        desk.next = message.user_ref_num.get() + 1;
        desk.connect();
        desk.say(message);
        desk.flow();
        desk.client.differences().to_vec()
    };
    let id = OrderId(5);
    assert_eq!(begin(logged(5, false), &accepted(id)), [Difference::StillOpen(id, Qty(100))]);
    let other = OrderAccepted { side: b'S', ..accepted(id) };
    assert!(begin(logged(5, false), &other).contains(&Difference::OrderDiffers(id)), "another side");
    assert!(begin(logged(5, true), &accepted(id)).contains(&Difference::OrderDiffers(id)), "closed in the log");
    let high = OrderId(70);
    assert!(begin(logged(70, false), &accepted(high)).contains(&Difference::NumberTooHigh(high)));
}

#[test]
fn another_session_than_the_one_whose_logs_were_read_is_left() {
    for (name, is_lost) in [("day", false), ("night", true)] {
        let mut desk = Desk::new(LoggedAccount::default(), 1_000, 100);
        desk.client = desk.client.of_session(session(name));
        desk.connect();
        desk.flow();
        assert_eq!(desk.client.is_session_lost(), is_lost, "{name}");
        assert_eq!(desk.client.is_compared(), !is_lost, "{name}");
    }
}

/// The venue's own end of its session is no loss: nothing was missed, and nobody logs in again.
#[test]
fn a_session_that_the_venue_ends_is_over_and_not_broken() {
    let (mut desk, order) = Desk::begun(100);
    desk.say(&accepted(order));
    desk.server.end_session(desk.now);
    desk.flow();
    assert!(desk.client.is_session_over() && desk.client.is_session_lost() && desk.client.is_compared());
    assert_eq!((desk.client.halted(), desk.client.is_flat()), (Some(ReasonCode::SessionLost), false));
    desk.connect();
    desk.flow();
    assert_eq!(desk.client.phase(), Phase::Offline);
}

/// While it is not known what became of an order its symbol gets nothing new; cancels go out, and so does the other symbol.
#[test]
fn an_order_that_is_overdue_keeps_its_symbol_until_it_is_resolved() {
    for is_accepted in [false, true] {
        let (mut desk, first) = Desk::begun(16);
        desk.wait(Nanos::from_millis(49));
        assert_eq!(desk.ask(&buy(0)), Ok(()), "nothing is overdue yet");
        let second = desk.client.last_number();
        desk.wait(Nanos::from_millis(2));
        let replace = OrderIntent::Replace { order_id: second, symbol: SymbolId(0), price: PRICE, qty: Qty(50) };
        let cancel = OrderIntent::Cancel { order_id: second, symbol: SymbolId(0) };
        let refused = Err(ReasonCode::Unanswered);
        assert_eq!([&buy(0), &replace, &buy(0)].map(|intent| desk.ask(intent)), [refused; 3]);
        assert_eq!([&cancel, &buy(1)].map(|intent| desk.ask(intent)), [Ok(()); 2]);
        assert_eq!(desk.ask(&buy(0)), refused, "what another symbol may says nothing of this one");
        let counters = desk.client.counters();
        assert_eq!((counters.overdue_count, counters.unanswered_count, counters.refused_count), (1, 4, 4));
        let notices = desk.notices();
        let told = |is_it: fn(&Notice) -> bool| notices.iter().filter(|notice| is_it(notice)).count();
        assert!(notices.contains(&Notice::Overdue(first)));
        assert_eq!(told(|notice| matches!(notice, Notice::Closed(_, ReasonCode::Unanswered))), 2, "{notices:?}");
        if is_accepted {
            desk.say(&accepted(first));
        }
        desk.flow();
        assert_eq!(desk.client.table().get(first).is_some_and(|entry| entry.state.is_open()), is_accepted);
        assert_eq!(desk.ask(&buy(0)), Ok(()), "it is resolved");
        assert_eq!(desk.client.halted(), None);
    }
}

/// Orders wait for the socket as long as they may be on their way, and then none of them leaves; cancels may wait.
#[test]
fn an_order_that_waits_for_the_socket_too_long_never_leaves() {
    let (mut desk, first) = Desk::begun(16);
    desk.say(&accepted(first));
    desk.flow();
    let limit = Nanos::from_millis(50);
    assert_eq!(desk.ask(&OrderIntent::Cancel { order_id: first, symbol: SymbolId(0) }), Ok(()));
    for _ in 0..20 {
        desk.wait(limit);
    }
    assert!(!desk.client.sendable(desk.now).is_empty(), "cancels alone wait");
    desk.flow();
    let user_ref_num = u32::try_from(first.0).unwrap().into();
    desk.say(&OrderCanceled { user_ref_num, quantity: 100.into(), reason: b'U', ..OrderCanceled::blank() });
    desk.flow();
    assert_eq!((desk.ask(&buy(0)), desk.ask(&buy(1))), (Ok(()), Ok(())));
    let (since, second) = (desk.now.minus(Nanos(10)), desk.client.last_number());
    // A part of it left: the rest waits all the same.
    desk.client.sent(desk.client.pending().len() - 1);
    desk.wait(since.plus(limit).since(desk.now));
    assert_eq!((desk.client.session().state(), desk.client.counters().unread_count), (ClientState::Active, 0));
    assert!(!desk.client.sendable(desk.now).is_empty());
    desk.now = desk.now.plus(Nanos(1));
    assert!(desk.client.sendable(desk.now).is_empty() && !desk.client.pending().is_empty());
    assert_eq!(desk.ask(&buy(1)), Err(ReasonCode::VenueDisconnected));
    desk.wait(Nanos(0));
    assert_eq!((desk.client.session().state(), desk.client.phase()), (ClientState::Disconnected, Phase::Offline));
    assert!(desk.client.pending().is_empty());
    assert_eq!(desk.client.counters().unread_count, 1);
    assert!(desk.notices().contains(&Notice::Lost(CloseReason::Unread)));
    assert!(desk.client.table().get(second).is_some_and(|entry| entry.state.is_open()), "unknown stays unknown");
    // The way back is the same as after every lost connection.
    desk.server.disconnect(&mut |_| {});
    desk.connect();
    desk.flow();
    let counters = desk.client.counters();
    assert_eq!((desk.client.phase(), counters.resent_count, counters.closed_count), (Phase::Trading, 0, 2));
    assert!(desk.client.is_flat());
    // What the socket takes in time does not count.
    assert_eq!(desk.ask(&buy(1)), Ok(()));
    desk.client.sent(desk.client.pending().len());
    desk.wait(Nanos::from_millis(51));
    assert_eq!(desk.client.counters().unread_count, 1);
}

/// An order that is answered gives its symbol free, though an older one of another symbol is silent still.
#[test]
fn an_answer_frees_its_symbol_whatever_else_is_overdue() {
    let (mut desk, _) = Desk::begun(16);
    assert_eq!(desk.ask(&buy(1)), Ok(()));
    desk.client.sent(desk.client.pending().len());
    let second = desk.client.last_number();
    desk.wait(Nanos::from_millis(51));
    let refused = Err(ReasonCode::Unanswered);
    assert_eq!([0, 1].map(|symbol| desk.ask(&buy(symbol))), [refused; 2]);
    desk.say(&OrderAccepted { symbol: Symbol::new("BETA").unwrap(), ..accepted(second) });
    let answer = desk.server.pending().to_vec();
    let mut io = Outlet { journal: &mut Nothing, executions: &mut desk.reports };
    desk.client.receive(&answer, desk.now, &mut io);
    assert_eq!([0, 1].map(|symbol| desk.ask(&buy(symbol))), [refused, Ok(())]);
}
