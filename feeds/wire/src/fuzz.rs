//! Bodies for fuzzers: any bytes go in, and what must hold for any bytes is asserted.

use std::collections::BTreeMap;

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Nanos, SymbolId};
use zerocopy::IntoBytes;

use crate::arbiter::{ArbiterConfig, Framing, JoinPolicy, LineId, LossPolicy};
use crate::feed::{GAP_DETECTED, GAP_DIFFERS, MoldFeed};
use crate::itch50::{DAY_NS, Decoded, Decoder, Message, check, parse};
use crate::mdp3::{self, Depth, Mdp3Config, Mdp3Decoder};
use crate::moldudp64::{BLOCK_HEADER_LEN, HEADER_LEN, Header, Packet, PacketBuilder, PacketKind, Session};

/// How often one message or packet can meet a sink that refuses every other event: what one packet here can set free
/// is some hundred events.
const RETRY_COUNT_MAX: usize = 10_000;

/// Messages, each behind one byte of length: the decoder emits exactly what is legal, with times in order, and a sink
/// that refuses changes nothing.
pub fn itch(data: &[u8]) {
    let mut decoder = Decoder::new(EpochNanos(0), 8);
    let mut rest = data;
    let mut recv_time = EpochNanos::MIN;
    let mut count = 0_u64;
    while let Some((len, tail)) = rest.split_first() {
        let (message, tail) = tail.split_at_checked(usize::from(*len)).unwrap_or((tail, &[]));
        rest = tail;
        let mut events: Vec<MarketEvent> = Vec::new();
        let mut has_room = false;
        let verdict = until_room(|| {
            let mut sink = |event| {
                has_room = !has_room;
                if !has_room {
                    return Err(Full(event));
                }
                events.push(event);
                Ok(())
            };
            decoder.decode(message, EpochNanos(0), EventFlags::RECV_TIME_SYNTHETIC, &mut sink)
        });
        check_verdict(message, verdict, events.len());
        for event in &events {
            assert!(event.recv_time >= recv_time && event.recv_time >= event.exch_time);
            assert!((0..DAY_NS).contains(&event.exch_time.0.cast_unsigned()));
            recv_time = event.recv_time;
        }
        count = count.saturating_add(1);
        assert!(decoder.symbols().count() <= 8);
    }
    let counters = decoder.counters();
    let sum = [counters.message_count(), counters.malformed_count(), counters.unknown_count()].iter().sum::<u64>();
    assert_eq!(sum.saturating_add(counters.directory_full_count), count);
}

/// Calls `step` again while the sink is full. A step that neither ends nor gets on would send its events for ever.
fn until_room<T>(mut step: impl FnMut() -> Result<T, Full<()>>) -> T {
    for _ in 0..RETRY_COUNT_MAX {
        if let Ok(done) = step() {
            return done;
        }
    }
    panic_with("a message or packet is retried without end")
}

fn check_verdict(message: &[u8], verdict: Decoded, event_count: usize) {
    let parsed = parse(message);
    match verdict {
        Decoded::Emitted | Decoded::DirectoryFull => {
            let Ok(parsed) = parsed else { panic_with("a message that does not parse was accepted") };
            assert_eq!(check(&parsed), Ok(()));
            assert_eq!(parsed.as_bytes(), message);
            let is_double = matches!(parsed, Message::NetOrderImbalance(_) | Message::DirectListingWithCapitalRaise(_));
            let wanted = if verdict == Decoded::DirectoryFull { 0 } else { 1 + usize::from(is_double) };
            assert_eq!(event_count, wanted);
        }
        Decoded::UnknownType(code) => {
            assert_eq!((parsed, message.first(), event_count), (Ok(Message::Unknown(message)), Some(&code), 0));
        }
        Decoded::Malformed(error) => {
            assert!(error.offset <= message.len() && event_count == 0);
            // A symbol that is not its locate's is something that only the decoder, which keeps the directory, can see.
            if !matches!(error.kind, crate::itch50::ParseErrorKind::SymbolMismatch(_)) {
                assert_eq!(parsed.and_then(|parsed| check(&parsed)), Err(error));
            }
        }
    }
}

/// One packet: refused with an offset inside it, or rebuilt to the same bytes.
pub fn moldudp64(data: &[u8]) {
    let packet = match Packet::parse(data) {
        Ok(packet) => packet,
        Err(error) => {
            assert!(error.offset <= data.len());
            return;
        }
    };
    assert_eq!(packet.blocks().count(), usize::from(packet.message_count()));
    let (session, sequence) = (packet.session(), packet.sequence_number());
    let mut buffer = vec![0; data.len()];
    let rebuilt = match packet.kind() {
        PacketKind::EndOfSession => {
            buffer.copy_from_slice(Header::end_of_session(session, sequence).as_bytes());
            &buffer
        }
        PacketKind::Data | PacketKind::Heartbeat => rebuild(&mut buffer, &packet),
    };
    assert_eq!(rebuilt, data);
}

fn rebuild<'b>(buffer: &'b mut [u8], packet: &Packet<'_>) -> &'b [u8] {
    let Ok(mut builder) = PacketBuilder::new(buffer, packet.session(), packet.sequence_number()) else {
        panic_with("a packet is shorter than its header")
    };
    for message in packet.blocks() {
        assert!(builder.push(message).is_ok());
    }
    builder.finish()
}

/// One packet of MDP 3.0: refused with an offset inside it, or rebuilt to the same bytes. What stands behind its header is
/// decoded in any case, twice in a row and from orders and levels: what the events say of orders is true, and a sink that
/// refuses changes nothing.
pub fn mdp3(data: &[u8]) {
    match mdp3::parse(data) {
        Ok(packet) => rebuild_mdp3(data, packet.sequence_number()),
        Err(error) => assert!(error.offset <= data.len()),
    }
    let body = data.get(mdp3::PACKET_HEADER_LEN..).unwrap_or_default();
    for depth in [Depth::Orders, Depth::Levels] {
        let config = Mdp3Config { instrument_count_max: 8, order_count_max: 32, depth };
        let (mut decoder, mut retried) = (Mdp3Decoder::new(config), Mdp3Decoder::new(config));
        let (mut events, mut again, mut has_room) = (Vec::new(), Vec::new(), false);
        for _ in 0..2 {
            let mut sink = |event: MarketEvent| {
                events.push(event);
                Ok(())
            };
            assert!(decoder.decode(body, EpochNanos(0), EventFlags::NONE, &mut sink).is_ok());
            let mut refusing = |event: MarketEvent| {
                has_room = !has_room;
                if !has_room {
                    return Err(Full(event));
                }
                again.push(event);
                Ok(())
            };
            until_room(|| retried.decode(body, EpochNanos(0), EventFlags::NONE, &mut refusing));
        }
        assert!(events == again && decoder.counters() == retried.counters());
        let mut live = BTreeMap::new();
        events.iter().for_each(|event| follow(&mut live, event));
        assert!(depth == Depth::Levels || decoder.order_count() == live.len());
        assert!(decoder.order_count() <= 32 && decoder.symbols().count() <= 8);
    }
}

fn rebuild_mdp3(data: &[u8], sequence_number: u64) {
    let Some((header, mut body)) = data.split_first_chunk::<{ mdp3::PACKET_HEADER_LEN }>() else {
        panic_with("a packet is shorter than its header")
    };
    let [.., a, b, c, d, e, f, g, h] = *header;
    let sending_time = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let mut buffer = vec![0; data.len()];
    let number = u32::try_from(sequence_number).unwrap_or(0);
    let Ok(mut builder) = mdp3::PacketBuilder::new(&mut buffer, number, sending_time) else {
        panic_with("the buffer holds a header")
    };
    for message in mdp3::Messages(body) {
        let header = message.header;
        let (bytes, rest) = body.split_at_checked(usize::from(header.msg_size.get())).unwrap_or_default();
        let groups = bytes.get(mdp3::MESSAGE_HEADER_LEN + message.root.len()..).unwrap_or_default();
        let (template, version) = (header.template_id.get(), header.version.get());
        assert!(builder.push(template, version, message.root, groups).is_ok());
        body = rest;
    }
    assert_eq!(builder.finish(), data);
}

/// Symbol and quantity of each order that stands, by its reference: events take from orders that stand, no more than they
/// have, and add what does not stand yet.
fn follow(live: &mut BTreeMap<u64, (SymbolId, u64)>, event: &MarketEvent) {
    let (id, fresh) = (event.id_a, (event.symbol, event.qty.0));
    let is_placed = matches!(event.kind, EventKind::AddOrder | EventKind::ReplaceOrder);
    let is_taken =
        matches!(event.kind, EventKind::ExecuteOrder | EventKind::ExecuteOrderAtPrice | EventKind::CancelOrder);
    if matches!(event.kind, EventKind::DeleteOrder | EventKind::ReplaceOrder) {
        assert!(live.remove(&id).is_some_and(|order| order.0 == event.symbol));
    }
    if is_placed {
        let id = if event.kind == EventKind::AddOrder { id } else { event.id_b };
        assert!(event.qty.0 > 0 && live.insert(id, fresh).is_none());
    }
    if is_taken {
        let Some(order) = live.get_mut(&id) else { panic_with("an order is taken from that does not stand") };
        assert!(event.qty.0 > 0 && event.qty.0 <= order.1 && order.0 == event.symbol);
        order.1 -= event.qty.0;
        if order.1 == 0 {
            live.remove(&id);
        }
    }
}

/// A conversation: each step takes four bytes (line and kind, time, number, length) and what they ask for. Events come
/// out in order, gaps and sessions open before they close, and nothing is sent twice.
pub fn feed(data: &[u8]) {
    let config = ArbiterConfig {
        line_count: 3,
        reorder_window_ns: Nanos(40),
        held_packet_count_max: 3,
        packet_len_max: 100,
        history_message_count: 16,
        is_sequence_checked: true,
        loss: LossPolicy::GiveUp,
        framing: Framing::MoldUdp64,
        join: if data.len().is_multiple_of(2) { JoinPolicy::FromStart } else { JoinPolicy::AtFirstPacket },
    };
    let Ok(mut feed) = MoldFeed::new(config, Decoder::new(EpochNanos(0), 4)) else {
        panic_with("the configuration is possible")
    };
    let mut watch = Watch::default();
    let (mut rest, mut now) = (data, 0_i64);
    while let Some(([kind, time, number, len], tail)) = rest.split_first_chunk::<4>() {
        let (body, tail) = tail.split_at_checked(usize::from(*len)).unwrap_or((tail, &[]));
        rest = tail;
        now = now.saturating_add(i64::from(*time)).saturating_sub(10);
        let session = Session([b'0' + (kind >> 6); 10]);
        let mut payload = vec![0; body.len() + HEADER_LEN + 16 * BLOCK_HEADER_LEN];
        let payload = match (kind >> 2) & 7 {
            0 => Header::heartbeat(session, u64::from(*number)).as_bytes().to_vec(),
            1 => Header::end_of_session(session, u64::from(*number)).as_bytes().to_vec(),
            2 => body.to_vec(),
            block_count => build(&mut payload, session, *number, body, block_count),
        };
        until_room(|| feed.on_packet(LineId(kind & 3), &payload, EpochNanos(now), &mut |event| watch.take(event)));
        until_room(|| feed.on_time(EpochNanos(now), &mut |event| watch.take(event)));
    }
    let counters = feed.decoder().counters();
    assert_eq!(
        [counters.message_count(), counters.malformed_count(), counters.unknown_count(), counters.directory_full_count]
            .iter()
            .sum::<u64>(),
        feed.arbiter().counters().delivered_count
    );
    for line in feed.arbiter().lines() {
        assert!(line.first_count + line.duplicate_count + line.late_count <= line.message_count);
    }
}

fn build(buffer: &mut [u8], session: Session, number: u8, body: &[u8], block_count: u8) -> Vec<u8> {
    let Ok(mut builder) = PacketBuilder::new(buffer, session, number.into()) else {
        panic_with("the buffer holds a header")
    };
    for message in body.chunks((body.len() / usize::from(block_count)).max(1)).take(16) {
        assert!(builder.push(message).is_ok());
    }
    builder.finish().to_vec()
}

/// A sink that takes every other time, and looks at what it takes.
#[derive(Default)]
struct Watch {
    has_room: bool,
    recv_time: Option<EpochNanos>,
    is_in_session: bool,
    is_gap_open: bool,
    is_disputed: bool,
    has_lost: bool,
}

impl Watch {
    fn take(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.has_room = !self.has_room;
        if !self.has_room {
            return Err(Full(event));
        }
        assert!(self.recv_time.is_none_or(|before| before <= event.recv_time));
        self.recv_time = Some(event.recv_time);
        if event.kind == EventKind::SessionStart {
            assert!(!self.is_in_session);
            (self.is_in_session, self.is_gap_open, self.has_lost) = (true, false, false);
            self.is_disputed = false;
            return Ok(());
        }
        assert!(self.is_in_session, "nothing comes outside a session");
        if event.kind == EventKind::SessionEnd {
            self.is_in_session = false;
        }
        if matches!(event.kind, EventKind::GapStart | EventKind::GapEnd) && event.detail == GAP_DIFFERS {
            assert!(event.id_a < event.id_b && self.is_disputed == (event.kind == EventKind::GapEnd));
            self.is_disputed = !self.is_disputed;
            return Ok(());
        }
        if event.kind == EventKind::GapStart {
            assert!(event.id_a < event.id_b && event.qty.0 == event.id_b - event.id_a);
            assert!(self.is_gap_open || event.detail == GAP_DETECTED, "a loss is announced as a gap first");
            assert!(!self.is_gap_open || self.has_lost || event.detail != GAP_DETECTED, "one gap at a time");
            self.is_gap_open = true;
            self.has_lost |= event.detail != GAP_DETECTED;
        }
        if event.kind == EventKind::GapEnd {
            assert!(self.is_gap_open && !self.has_lost);
            self.is_gap_open = false;
        }
        Ok(())
    }
}

#[expect(clippy::panic, reason = "a fuzz body reports by panicking")]
fn panic_with(what: &str) -> ! {
    panic!("{what}")
}
