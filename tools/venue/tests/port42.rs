//! A port that speaks OUCH 4.2: every message is mapped, tokens are used once, and the stream is the same again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an answer of another kind fails the test")]

mod common;

use common::config;
use peregrine_gateway::ouch42::*;
use peregrine_gateway::soup::*;
use peregrine_types::{EpochNanos, Nanos, Symbol, SymbolId};
use peregrine_venue::*;
use zerocopy::IntoBytes;

fn port(user: &str, account: u32) -> PortConfig {
    PortConfig {
        session: ServerConfig {
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
        },
        account: AccountId(account),
        self_trade: SelfTrade::Allow,
        is_cancel_on_disconnect: false,
        order_count_max: 50,
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

/// An exchange with two ports of 4.2 (accounts 0 and 1 of one firm) and their clients.
struct Floor {
    exchange: Exchange,
    clients: [ClientSession; 2],
    heard: [Vec<Vec<u8>>; 2],
    now: EpochNanos,
}

impl Floor {
    fn new() -> Self {
        Self::open(config(), 5_001)
    }

    fn open(config: VenueConfig, now: i64) -> Self {
        let ports = [port("alpha", 0), port("beta", 1)];
        let mut exchange = Exchange::new(config, &ports, VenueClock::from_midnight(EpochNanos(0))).unwrap();
        (0..2).for_each(|index| exchange.port(index).unwrap().speak(Protocol::Ouch42));
        let clients = [client("alpha"), client("beta")];
        let mut floor = Self { exchange, clients, heard: [vec![], vec![]], now: EpochNanos(0) };
        floor.now = EpochNanos(now);
        for index in 0..2 {
            floor.exchange.connect(index, floor.now);
            floor.clients[index].connect(floor.now);
        }
        floor.poll_at(now);
        floor
    }

    fn poll_at(&mut self, now: i64) {
        self.now = EpochNanos(now);
        self.exchange.poll(self.now, &mut |_: TimeOfDay, _: &[u8]| {});
        self.flow();
    }

    fn flow(&mut self) {
        for index in [0, 1, 0, 1] {
            let bytes = self.clients[index].pending().to_vec();
            self.clients[index].sent(bytes.len());
            self.exchange.receive(index, &bytes, self.now, &mut |_: TimeOfDay, _: &[u8]| {});
        }
        for index in 0..2 {
            let session = self.exchange.port(index).unwrap().session();
            let bytes = session.pending().to_vec();
            session.sent(bytes.len(), self.now);
            let heard = &mut self.heard[index];
            self.clients[index].receive(&bytes, self.now, &mut |event| {
                if let ClientEvent::Sequenced { payload, .. } = event {
                    heard.push(payload.to_vec());
                }
            });
        }
    }

    /// Sends a message and gives the types of what both heard since.
    fn send(&mut self, index: usize, message: &(impl IntoBytes + zerocopy::Immutable)) -> [String; 2] {
        let before = [self.heard[0].len(), self.heard[1].len()];
        self.clients[index].send(message.as_bytes(), self.now).unwrap();
        self.flow();
        [0, 1].map(|index| {
            let heard = &self.heard[index][before[index]..];
            heard.iter().for_each(|bytes| assert_eq!(Outbound::parse(bytes).unwrap().check(), Ok(())));
            heard.iter().map(|bytes| char::from(bytes[0])).collect()
        })
    }

    fn last(&self, index: usize) -> Outbound<'_> {
        Outbound::parse(self.heard[index].last().unwrap()).unwrap()
    }
}

fn token(name: &str) -> Token {
    Token::new(name).unwrap()
}

fn order(name: &str, side: u8, shares: u32, cents: u32) -> EnterOrder {
    EnterOrder {
        token: token(name),
        side,
        shares: shares.into(),
        stock: Symbol::new("ALFA").unwrap(),
        price: OuchPrice::new(cents * 100),
        tif: 99_998.into(),
        firm: Text::new("FIRM").unwrap(),
        display: b'Y',
        capacity: b'P',
        iso: b'N',
        cross_type: b'N',
        customer_type: b' ',
        ..EnterOrder::blank()
    }
}

fn words(left: &str, right: &str) -> [String; 2] {
    [left.to_owned(), right.to_owned()]
}

#[test]
fn orders_live_and_end_by_their_tokens() {
    let mut floor = Floor::new();
    assert_eq!(floor.heard[0].len(), 1, "the day began");
    assert_eq!(floor.send(0, &order("one", b'B', 500, 999)), words("A", ""));
    let Outbound::Accepted(accepted) = floor.last(0) else { panic!("{:?}", floor.last(0)) };
    assert_eq!((accepted.token, accepted.shares.get(), accepted.tif.get()), (token("one"), 500, 99_998));
    assert_eq!((accepted.firm, accepted.display, accepted.order_state), (Text::new("FIRM").unwrap(), b'Y', b'L'));
    assert_eq!(floor.send(0, &order("one", b'B', 500, 999)), words("", ""), "a token is used once");
    // Somebody takes 200 of it, the rest is replaced: 500 in all, 300 left.
    assert_eq!(floor.send(1, &EnterOrder { tif: 0.into(), ..order("sell", b'S', 200, 999) }), words("E", "AE"));
    let Outbound::Executed(executed) = floor.last(0) else { panic!("{:?}", floor.last(0)) };
    assert_eq!((executed.token, executed.executed_shares.get()), (token("one"), 200));
    assert_eq!((executed.execution_price.get(), executed.liquidity_flag), (99_900, b'A'));
    let match_number = executed.match_number.get();
    let replace = ReplaceOrder {
        existing_token: token("one"),
        replacement_token: token("two"),
        shares: 500.into(),
        price: OuchPrice::new(99_800),
        tif: 99_999.into(),
        display: b'N',
        iso: b'N',
        ..ReplaceOrder::blank()
    };
    assert_eq!(floor.send(0, &replace), words("U", ""));
    let Outbound::Replaced(replaced) = floor.last(0) else { panic!("{:?}", floor.last(0)) };
    assert_eq!((replaced.token, replaced.previous_token, replaced.shares.get()), (token("two"), token("one"), 300));
    assert_eq!((replaced.display, replaced.tif.get(), replaced.price.get()), (b'N', 99_999, 99_800));
    assert_eq!(floor.exchange.venue().displayed(SymbolId(0), peregrine_types::Side::Buy).count(), 0, "hidden now");
    assert_eq!(floor.send(0, &replace), words("", ""), "the old one is gone");
    // Down to 400 of the chain, then to nothing.
    let cancel = CancelOrder { token: token("two"), shares: 400.into(), ..CancelOrder::blank() };
    assert_eq!(floor.send(0, &cancel), words("C", ""));
    let Outbound::Canceled(canceled) = floor.last(0) else { panic!("{:?}", floor.last(0)) };
    assert_eq!((canceled.token, canceled.decrement_shares.get(), canceled.reason), (token("two"), 100, b'U'));
    assert_eq!(floor.send(0, &CancelOrder { shares: 0.into(), ..cancel }), words("C", ""));
    assert_eq!(floor.send(0, &CancelOrder { shares: 0.into(), ..cancel }), words("", ""), "superfluous");
    // The trade is broken: both sides hear it.
    let symbol = SymbolId(0);
    floor.exchange.apply(&Command::Break { symbol, match_number }, floor.now, &mut |_: TimeOfDay, _: &[u8]| {});
    floor.flow();
    let Outbound::BrokenTrade(broken) = floor.last(1) else { panic!("{:?}", floor.last(1)) };
    assert_eq!((broken.token, broken.match_number.get(), broken.reason), (token("sell"), match_number, b'S'));
    let counters = floor.exchange.port(0).unwrap().counters();
    assert_eq!((counters.malformed_count, counters.ignored_count, counters.lost_count), (0, 3, 0));
}

#[test]
fn modify_prevention_and_refusals_have_their_messages() {
    let mut floor = Floor::new();
    assert_eq!(floor.send(0, &order("short", b'T', 300, 1_005)), words("A", ""));
    let modify = ModifyOrder { token: token("short"), side: b'E', shares: 200.into(), ..ModifyOrder::blank() };
    assert_eq!(floor.send(0, &modify), words("M", ""));
    let Outbound::Modified(modified) = floor.last(0) else { panic!("{:?}", floor.last(0)) };
    assert_eq!((modified.side, modified.shares.get()), (b'E', 200));
    // Post-only that would trade, midpoint, minimum quantity, time to live, unknown symbol, beyond the tick, used up all.
    let verdicts: [(EnterOrder, &str, u8); 7] = [
        (EnterOrder { display: b'P', ..order("post", b'B', 100, 1_005) }, "AC", b'G'),
        (EnterOrder { display: b'M', ..order("middle", b'B', 100, 1_005) }, "A", b'M'),
        (EnterOrder { min_quantity: 50.into(), ..order("least", b'B', 100, 900) }, "J", b'N'),
        (EnterOrder { tif: 99_997.into(), ..order("days", b'B', 100, 900) }, "A", b'Y'),
        (EnterOrder { stock: Symbol::new("NONE").unwrap(), ..order("nobody", b'B', 100, 900) }, "J", b'S'),
        (EnterOrder { price: OuchPrice::new(90_001), ..order("off", b'B', 100, 900) }, "J", b'X'),
        (EnterOrder { display: b'Q', ..order("retail", b'B', 100, 900) }, "J", b'D'),
    ];
    for (entered, wanted, code) in verdicts {
        assert_eq!(floor.send(0, &entered), words(wanted, ""), "{entered:?}");
        let found = match floor.last(0) {
            Outbound::Rejected(m) => m.reason,
            Outbound::Canceled(m) => m.reason,
            Outbound::Accepted(m) => m.display,
            other => panic!("{other:?}"),
        };
        assert_eq!((found, floor.last(0).token()), (code, Some(entered.token)));
    }
    assert_eq!(floor.send(0, &order("least", b'B', 100, 900)), words("", ""), "a refused token is used up");
    floor.clients[0].send(b"O", floor.now).unwrap();
    floor.clients[0].send(b"?what", floor.now).unwrap();
    assert_eq!(floor.send(0, &TradeNow { token: token("middle"), ..TradeNow::blank() }), words("", ""));
    assert_eq!(floor.exchange.port(0).unwrap().counters().malformed_count, 2);
}

#[test]
fn a_time_to_live_is_counted_in_seconds() {
    const SECOND: i64 = 1_000_000_000;
    let noon = 12 * 3_600 * SECOND;
    let mut floor = Floor::open(VenueConfig { schedule: DaySchedule::full(), ..config() }, noon);
    assert_eq!(floor.send(0, &EnterOrder { tif: 5.into(), ..order("five", b'B', 100, 900) }), words("A", ""));
    let Outbound::Accepted(accepted) = floor.last(0) else { panic!("{:?}", floor.last(0)) };
    assert_eq!(accepted.tif.get(), 5);
    assert_eq!(floor.send(0, &EnterOrder { tif: 99_997.into(), ..order("days", b'B', 100, 900) }), words("A", ""));
    let replace = ReplaceOrder {
        existing_token: token("days"),
        replacement_token: token("six"),
        shares: 100.into(),
        price: OuchPrice::new(90_000),
        tif: 6.into(),
        display: b'Y',
        iso: b'N',
        ..ReplaceOrder::blank()
    };
    assert_eq!(floor.send(0, &replace), words("U", ""));
    for (name, seconds) in [("five", 5), ("six", 6)] {
        let heard = floor.heard[0].len();
        floor.poll_at(noon + seconds * SECOND - 1);
        assert_eq!(floor.heard[0].len(), heard, "{name}");
        floor.poll_at(noon + seconds * SECOND);
        let Outbound::Canceled(canceled) = floor.last(0) else { panic!("{:?}", floor.last(0)) };
        assert_eq!((canceled.token, canceled.decrement_shares.get(), canceled.reason), (token(name), 100, b'T'));
    }
    assert_eq!(floor.exchange.venue().order_count(), 0);
}

#[test]
fn a_cross_order_is_late_and_the_stream_is_the_same_again() {
    let mut floor = Floor::new();
    let closing = EnterOrder { cross_type: b'C', ..order("close", b'B', 100, 1_000) };
    assert_eq!(floor.send(0, &closing), words("A", ""));
    floor.poll_at(29_900);
    let cancel = CancelOrder { token: token("close"), shares: 50.into(), ..CancelOrder::blank() };
    assert_eq!(floor.send(0, &cancel), words("I", ""));
    assert_eq!(floor.send(0, &CancelOrder { shares: 0.into(), ..cancel }), words("P", ""));
    floor.poll_at(30_001);
    let Outbound::Canceled(canceled) = floor.last(0) else { panic!("{:?}", floor.last(0)) };
    assert_eq!(canceled.token, token("close"));
    floor.poll_at(40_500);
    assert!(matches!(floor.last(0), Outbound::SystemEvent(event) if event.event_code == b'E'));
    let heard = std::mem::take(&mut floor.heard[0]);
    floor.clients[0].disconnect(&mut |_| {});
    floor.exchange.disconnect(0, floor.now, &mut |_: TimeOfDay, _: &[u8]| {});
    floor.clients[0] = client("alpha");
    floor.exchange.connect(0, floor.now);
    floor.clients[0].connect(floor.now);
    floor.flow();
    assert_eq!(floor.heard[0], heard);
}

#[test]
fn a_late_fill_holds_what_comes_behind_it_and_a_trade_is_broken_later() {
    let mut floor = Floor::new();
    let faults = PortFaults {
        late_fill_ppm: 1_000_000,
        late_fill_delay: Nanos(100),
        bust_ppm: 1_000_000,
        bust_delay: Nanos(200),
        ..PortFaults::default()
    };
    floor.exchange.port(0).unwrap().set_faults(faults, 1);
    assert_eq!(floor.send(0, &order("one", b'B', 500, 999)), words("A", ""));
    assert_eq!(floor.send(1, &EnterOrder { tif: 0.into(), ..order("sell", b'S', 200, 999) }), words("", "AE"));
    let cancel = CancelOrder { token: token("one"), ..CancelOrder::blank() };
    assert_eq!(floor.send(0, &cancel), words("", ""), "the answer waits behind the fill");
    assert_eq!(floor.exchange.next_deadline(0), Some(EpochNanos(floor.now.0 + 100)));
    let heard = floor.heard[0].len();
    floor.poll_at(floor.now.0 + 100);
    let types: String = floor.heard[0][heard..].iter().map(|bytes| char::from(bytes[0])).collect();
    assert_eq!(types, "EC");
    floor.poll_at(floor.now.0 + 100);
    let [Outbound::BrokenTrade(mine), Outbound::BrokenTrade(theirs)] = [floor.last(0), floor.last(1)] else {
        panic!("{:?} {:?}", floor.last(0), floor.last(1))
    };
    assert_eq!((mine.match_number, mine.token, theirs.token), (theirs.match_number, token("one"), token("sell")));
    let counters = floor.exchange.port(0).unwrap().fault_counters();
    assert_eq!((counters.late_fill_count, counters.bust_count), (1, 1));
}

#[test]
fn tokens_beyond_the_ports_room_have_no_effect() {
    let mut floor = Floor::new();
    for number in 0..300 {
        floor.send(
            0,
            &EnterOrder { stock: Symbol::new("NONE").unwrap(), ..order(&format!("T{number}"), b'B', 100, 900) },
        );
    }
    let refused = floor.heard[0].iter().filter(|bytes| bytes[0] == b'J').count();
    assert_eq!(refused, 200, "four times the port's orders");
}
