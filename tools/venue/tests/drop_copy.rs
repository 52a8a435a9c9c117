//! The drop copy of a port against the reader that the engine has: what the port's client hears and what the copy tells is
//! the same; a copy that lies is found out.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{cents, config};
use peregrine_fix::copy_check::{CopiedFill, Discrepancy, Found, OwnEvent};
use peregrine_fix::{CopyClient, CopyNotice, Role, SessionConfig, State};
use peregrine_types::{EpochNanos, MatchNumber, Nanos, OrderId, Side, Symbol, SymbolId};
use peregrine_venue::*;

const DEADLINE: Nanos = Nanos::from_secs(1);

fn port(account: u32) -> PortConfig {
    use peregrine_gateway::soup::{
        CLIENT_SILENCE_MAX, HEARTBEAT_INTERVAL, LOGIN_TIME_MAX, Password, ServerConfig, SessionId, Username,
    };
    PortConfig {
        session: ServerConfig {
            username: Username::new("user").unwrap(),
            password: Password::new("pass").unwrap(),
            session: SessionId::new("day").unwrap(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: CLIENT_SILENCE_MAX,
            login_time_max: LOGIN_TIME_MAX,
            packet_len_max: 300,
            outbox_len_max: 1 << 16,
            message_count_max: 1_000,
            byte_count_max: 100_000,
        },
        account: AccountId(account),
        self_trade: SelfTrade::Allow,
        is_cancel_on_disconnect: false,
        order_count_max: 100,
        execution_count_max: 100,
    }
}

/// An exchange whose first port has a copy, and the copy's reader. The reader's clock is the venue's, in nanoseconds.
struct Floor {
    exchange: Exchange,
    client: CopyClient,
    port: peregrine_gateway::soup::ClientSession,
    now: EpochNanos,
    order_number: u32,
    found: Vec<Found>,
}

impl Floor {
    fn new(faults: CopyFaults, is_every_event: bool) -> Self {
        use peregrine_gateway::soup::{ClientConfig, ClientSession, HEARTBEAT_INTERVAL, Password, Position, Username};
        let mut exchange =
            Exchange::new(config(), &[port(0), port(2)], VenueClock::from_midnight(EpochNanos(0))).unwrap();
        let session = SessionConfig::new(Role::Acceptor, "VENUE", "DESK");
        exchange.set_drop_copy(DropCopy::new(DropCopyConfig {
            session,
            port: 0,
            is_every_event,
            report_count_max: 1_000,
            faults,
            seed: 7,
        }));
        let client = CopyClient::new(SessionConfig::new(Role::Initiator, "DESK", "VENUE"), DEADLINE, 1_000);
        let config = ClientConfig {
            username: Username::new("user").unwrap(),
            password: Password::new("pass").unwrap(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: Nanos::from_secs(5),
            login_time_max: Nanos::from_secs(5),
            heartbeat_timeout_ms: None,
            packet_len_max: 300,
            outbox_len_max: 1 << 16,
        };
        let port = ClientSession::new(config, Position::START);
        let mut floor = Self { exchange, client, port, now: EpochNanos(5_001), order_number: 0, found: vec![] };
        floor.exchange.poll(floor.now, &mut |_: TimeOfDay, _: &[u8]| {});
        floor.exchange.connect(0, floor.now);
        floor.port.connect(floor.now);
        floor.flow();
        floor.client.on_own(OwnEvent::Live(true), floor.now);
        floor
    }

    fn connect(&mut self) {
        self.client.disconnect(self.now);
        let copy = self.exchange.drop_copy().unwrap();
        copy.disconnect();
        copy.connect(self.now);
        self.client.connect(self.now);
        self.flow();
        assert_eq!(self.client.session().state(), State::Active);
    }

    /// Moves bytes both ways; what the port says of fills and broken trades is booked.
    fn flow(&mut self) {
        for _ in 0..4 {
            let bytes = self.port.pending().to_vec();
            self.port.sent(bytes.len());
            self.exchange.receive(0, &bytes, self.now, &mut |_: TimeOfDay, _: &[u8]| {});
            let session = self.exchange.port(0).unwrap().session();
            let bytes = session.pending().to_vec();
            session.sent(bytes.len(), self.now);
            let mut own = Vec::new();
            self.port.receive(&bytes, self.now, &mut |event| {
                if let peregrine_gateway::soup::ClientEvent::Sequenced { payload, .. } = event {
                    own.extend(own_event(payload));
                }
            });
            own.into_iter().for_each(|event| self.client.on_own(event, self.now));
            let copy = self.exchange.drop_copy().unwrap();
            let bytes = self.client.pending().to_vec();
            self.client.sent(bytes.len(), self.now);
            copy.receive(&bytes, self.now);
            let bytes = copy.session().pending().to_vec();
            copy.session().sent(bytes.len(), self.now);
            self.client.receive(&bytes, self.now);
        }
        while let Some(notice) = self.client.take_notice() {
            if let CopyNotice::Found(found) = notice {
                self.found.push(found);
            }
        }
    }

    /// A trade of the port's account, buying, against another one. Its match number.
    fn trade(&mut self, qty: u32) -> u64 {
        let order = |account: u32, token: u64, side| NewOrder {
            account: AccountId(account),
            token,
            symbol: SymbolId(0),
            side,
            qty,
            terms: Terms::limit(cents(1_000)),
        };
        self.order_number += 1;
        let mut buffer = [0; peregrine_gateway::ouch50::MESSAGE_LEN_MAX];
        let entered = common::order(self.order_number, b'B', qty, 100_000);
        let message = peregrine_gateway::ouch50::MessageBuilder::new(&mut buffer, &entered).unwrap().finish().to_vec();
        self.port.send(&message, self.now).unwrap();
        self.flow();
        let sale = Command::Enter(order(2, u64::from(self.order_number), Side::Sell));
        self.exchange.apply(&sale, self.now, &mut |_: TimeOfDay, _: &[u8]| {});
        self.flow();
        self.exchange.venue().match_count()
    }

    fn discrepancies(mut self) -> Vec<Discrepancy> {
        self.client.poll(self.now.plus(Nanos::from_millis(999)));
        self.flow();
        assert!(self.found.iter().all(|found| found.after < DEADLINE));
        self.found.iter().map(|found| found.discrepancy).collect()
    }
}

fn own_event(payload: &[u8]) -> Option<OwnEvent> {
    use peregrine_gateway::ouch50::Outbound;
    let message = Outbound::parse(payload).ok()?;
    if let Outbound::OrderExecuted(executed, _) = message {
        return Some(OwnEvent::Fill(CopiedFill {
            order_id: OrderId(u64::from(executed.user_ref_num.get())),
            match_number: MatchNumber(executed.match_number.get()),
            symbol: Symbol::new("ALFA")?,
            side: Side::Buy,
            qty: peregrine_types::Qty(u64::from(executed.quantity.get())),
            price: executed.price.price()?,
        }));
    }
    let Outbound::BrokenTrade(broken, _) = message else { return None };
    let order_id = OrderId(u64::from(broken.user_ref_num.get()));
    Some(OwnEvent::Bust(order_id, MatchNumber(broken.match_number.get())))
}

#[test]
fn the_copy_tells_what_the_port_tells_over_broken_connections() {
    for is_every_event in [false, true] {
        let mut floor = Floor::new(CopyFaults::default(), is_every_event);
        // Before anybody reads, while somebody does, while nobody does, and after a return.
        floor.trade(100);
        floor.connect();
        assert_eq!(floor.client.check().counters().equal_count, 1, "the day is told to who comes late");
        let broken = floor.trade(200);
        floor.exchange.drop_copy().unwrap().disconnect();
        floor.client.disconnect(floor.now);
        floor.trade(300);
        let command = Command::Break { symbol: SymbolId(0), match_number: broken };
        floor.exchange.apply(&command, floor.now, &mut |_: TimeOfDay, _: &[u8]| {});
        floor.flow();
        floor.connect();
        floor.trade(400);
        let counters = floor.client.check().counters();
        assert_eq!((counters.own_count, counters.copied_count), (4, 4));
        assert_eq!((counters.equal_count, counters.bust_count), (4, 1));
        assert_eq!(counters.other_count > 0, is_every_event);
        let (copy, session) = floor.exchange.drop_copy().unwrap().counters();
        assert_eq!((copy.lost_count, copy.fault_count), (0, 0));
        assert!(session.resent_count >= 2, "what was missed was sent again: {session:?}");
        assert_eq!(floor.discrepancies(), []);
    }
}

/// Whether a difference is the one that was planted.
type IsWanted = fn(&Discrepancy) -> bool;

#[test]
fn each_lie_is_found() {
    let all = 1_000_000;
    let none = CopyFaults::default();
    let cases: [(CopyFaults, IsWanted); 7] = [
        (CopyFaults { lost_ppm: all, ..none }, |d| matches!(d, Discrepancy::MissingThere(_))),
        (CopyFaults { twice_ppm: all, ..none }, |d| matches!(d, Discrepancy::ToldTwice(_))),
        (CopyFaults { wrong_qty_ppm: all, ..none }, |d| matches!(d, Discrepancy::Differs { .. })),
        (CopyFaults { wrong_price_ppm: all, ..none }, |d| matches!(d, Discrepancy::Differs { .. })),
        (CopyFaults { wrong_side_ppm: all, ..none }, |d| matches!(d, Discrepancy::Differs { .. })),
        (CopyFaults { phantom_fill_ppm: all, ..none }, |d| matches!(d, Discrepancy::MissingHere(_))),
        (CopyFaults { phantom_bust_ppm: all, ..none }, |d| matches!(d, Discrepancy::UnknownBust(..))),
    ];
    for (faults, is_wanted) in cases {
        let mut floor = Floor::new(faults, false);
        floor.connect();
        floor.trade(100);
        let found = floor.discrepancies();
        assert!(matches!(&found[..], [one] if is_wanted(one)), "{faults:?}: {found:?}");
    }
}
