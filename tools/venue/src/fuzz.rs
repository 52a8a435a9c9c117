//! Body for fuzzers: any messages of a client go in, and what must hold for any of them is asserted.

use peregrine_gateway::ouch50::Outbound;
use peregrine_gateway::soup::{FrameDecoder, Packet, PacketType, Password, ServerConfig, SessionId, Username, header};
use peregrine_types::{EpochNanos, Nanos, Price, Symbol, TickTable};

use crate::clock::VenueClock;
use crate::config::{SymbolConfig, VenueConfig};
use crate::exchange::Exchange;
use crate::orders::{AccountId, FirmId, SelfTrade, TimeOfDay};
use crate::port::{PortConfig, Protocol};
use crate::schedule::DaySchedule;

fn config() -> VenueConfig {
    VenueConfig {
        symbols: vec![SymbolConfig {
            name: Symbol(*b"11111111"),
            ticks: TickTable::US_EQUITY,
            round_lot: 100,
            reference_price: Price(1_000_000_000),
        }],
        firms: vec![FirmId(0)],
        schedule: DaySchedule { times: [0, 1, 2_000, 6_000, 8_000, 9_000].map(TimeOfDay), late_ns: 500 },
        order_count_max: 16,
        reference_count_max: 256,
        level_count_max: 16,
        side_level_count_max: 8,
    }
}

fn port() -> PortConfig {
    PortConfig {
        session: ServerConfig {
            username: Username([b' '; 6]),
            password: Password([b' '; 10]),
            session: SessionId(*b"         1"),
            heartbeat_interval: Nanos(1_000_000),
            silence_max: Nanos(1_000_000),
            login_time_max: Nanos(1_000_000),
            packet_len_max: 300,
            outbox_len_max: 1 << 16,
            message_count_max: 20_000,
            byte_count_max: 2_000_000,
        },
        account: AccountId(0),
        self_trade: SelfTrade::CancelOldest,
        is_cancel_on_disconnect: true,
        order_count_max: 128,
        execution_count_max: 1_000,
    }
}

/// Messages of one client, each behind one byte of length: whatever they are, every answer is a legal message of OUCH
/// 5.0, no answer is lost, capacities hold, and a lost connection leaves no order.
pub fn port_messages(data: &[u8]) {
    session(data, Protocol::Ouch50, |bytes| Outbound::parse(bytes).is_ok_and(|answer| answer.check().is_ok()));
}

/// As [`port_messages`], in OUCH 4.2.
pub fn port42_messages(data: &[u8]) {
    use peregrine_gateway::ouch42::Outbound;
    session(data, Protocol::Ouch42, |bytes| Outbound::parse(bytes).is_ok_and(|answer| answer.check().is_ok()));
}

fn session(data: &[u8], protocol: Protocol, is_legal: fn(&[u8]) -> bool) {
    let Ok(mut exchange) = Exchange::new(config(), &[port()], VenueClock::from_midnight(EpochNanos(0))) else { return };
    if let Some(port) = exchange.port(0) {
        port.speak(protocol);
    }
    let mut feed = |_: TimeOfDay, message: &[u8]| {
        assert!(peregrine_wire::itch50::parse(message).is_ok_and(|m| peregrine_wire::itch50::check(&m).is_ok()));
    };
    let mut decoder = FrameDecoder::new(400);
    let mut now = 1;
    exchange.connect(0, EpochNanos(now));
    let login = [&b"\0\x2fL"[..], &[b' '; 45], b"1"].concat();
    exchange.receive(0, &login, EpochNanos(now), &mut feed);
    assert!(exchange.is_active(0));
    let mut rest = data;
    while let Some((len, tail)) = rest.split_first() {
        let (message, tail) = tail.split_at_checked(usize::from(*len)).unwrap_or((tail, &[]));
        rest = tail;
        now += i64::from(*len);
        let Some(head) = header(PacketType::UnsequencedData, message.len()) else { return };
        exchange.receive(0, &[&head, message].concat(), EpochNanos(now), &mut feed);
        assert!(exchange.venue().order_count() <= 16);
        read_answers(&mut exchange, &mut decoder, now, is_legal);
    }
    exchange.disconnect(0, EpochNanos(now), &mut feed);
    let is_late = exchange.venue().order_count() > 0;
    exchange.poll(EpochNanos(8_001.max(now)), &mut feed);
    assert_eq!(exchange.venue().order_count(), 0, "left before the end of the day: {is_late}");
}

fn read_answers(exchange: &mut Exchange, decoder: &mut FrameDecoder, now: i64, is_legal: fn(&[u8]) -> bool) {
    let Some(port) = exchange.port(0) else { return };
    assert_eq!(port.counters().lost_count, 0);
    let sent = port.session().pending().to_vec();
    port.session().sent(sent.len(), EpochNanos(now));
    let mut input = &sent[..];
    while let Ok(Some(packet)) = decoder.next(&mut input) {
        match Packet::parse(packet) {
            Ok(Packet::Sequenced(bytes)) => {
                assert!(is_legal(bytes), "{bytes:?}");
            }
            other => assert!(other.is_ok()),
        }
    }
    assert!(input.is_empty());
}
