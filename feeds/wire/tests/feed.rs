//! The stages on real data: packets on two lossy lines give the events that the file gives.

mod common;

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Qty};
use peregrine_wire::itch50::{Decoded, Decoder};
use peregrine_wire::moldudp64::{Header, Packet, PacketBuilder, Session};
use peregrine_wire::{ArbiterConfig, FileFeed, LineId, MoldFeed};
use zerocopy::IntoBytes;

const SESSION: Session = Session(*b"000010059B");

fn decoder() -> Decoder {
    Decoder::new(EpochNanos(0), 100)
}

/// A number that looks random, from a counter (splitmix64).
fn chance(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 31)
}

/// The events of a file, straight.
fn file_events(messages: &[&[u8]]) -> Vec<MarketEvent> {
    let mut feed = FileFeed::new(decoder());
    let mut events = Vec::new();
    for message in messages {
        let verdict = feed.on_message(message, None, &mut |event| {
            events.push(event);
            Ok(())
        });
        assert_eq!(verdict, Ok(Decoded::Emitted));
    }
    assert!(events.iter().all(|event| event.flags.contains(EventFlags::RECV_TIME_SYNTHETIC)));
    events
}

/// What an event says about the market, without how it came.
fn content(event: &MarketEvent) -> MarketEvent {
    let flags = EventFlags(event.flags.0 & EventFlags::PRINTABLE.0);
    MarketEvent { recv_time: EpochNanos(0), flags, ..*event }
}

#[test]
fn two_lossy_lines_give_what_the_file_gives() {
    let Some(path) = common::data("itch/aapl_20200130_premarket_5000.itch50") else { return };
    let bytes = common::read(&path);
    let messages = common::messages(&bytes);
    let wanted: Vec<MarketEvent> = file_events(&messages).iter().map(content).collect();
    let mut feed = MoldFeed::new(ArbiterConfig::default(), decoder()).unwrap();
    let mut events = Vec::new();
    let (mut seed, mut now, mut at) = (7, 0, 0);
    while at < messages.len() {
        let count = usize::try_from(chance(&mut seed) % 20 + 1).unwrap().min(messages.len() - at);
        let mut buffer = [0; 1500];
        let mut builder = PacketBuilder::new(&mut buffer, SESSION, at as u64 + 1).unwrap();
        messages[at..at + count].iter().for_each(|message| builder.push(message).expect("room"));
        let payload = builder.finish();
        at += count;
        // One line of the two may lose the packet, and a sink without room comes back to it.
        let fate = chance(&mut seed) % 10;
        for line in [0, 1].into_iter().filter(|line| fate != *line) {
            now += 1000;
            let line = LineId(u8::try_from(line).unwrap());
            let mut sink = |event| {
                if chance(&mut seed).is_multiple_of(5) {
                    return Err(Full(event));
                }
                events.push(event);
                Ok(())
            };
            while feed.on_packet(line, payload, EpochNanos(now), &mut sink).is_err() {}
        }
    }
    let end = Header::end_of_session(SESSION, at as u64 + 1);
    let mut sink = |event| {
        events.push(event);
        Ok(())
    };
    assert_eq!(feed.on_packet(LineId::A, end.as_bytes(), EpochNanos(now), &mut sink), Ok(()));
    let (first, last) = (events[0], events[events.len() - 1]);
    assert_eq!((first.kind, first.id_a.to_be_bytes(), first.id_b), (EventKind::SessionStart, *b"00001005", 1));
    assert_eq!((first.qty, last.qty), (Qty(u64::from(u16::from_be_bytes(*b"9B"))), first.qty));
    assert_eq!((last.kind, last.id_b), (EventKind::SessionEnd, at as u64 + 1));
    let got: Vec<MarketEvent> = events[1..events.len() - 1].iter().map(content).collect();
    assert_eq!(got, wanted);
    assert!(events.windows(2).all(|pair| pair[0].recv_time <= pair[1].recv_time));
    let [a, b] = feed.arbiter().lines() else { panic!("two lines") };
    assert!(a.gap_count > 10 && b.gap_count > 10 && b.first_count > 100);
    assert_eq!((a.mismatch_count, b.mismatch_count), (0, 0));
    assert!(events.iter().any(|event| event.flags.contains(EventFlags::FROM_LINE_B)));
}

#[test]
fn a_gap_and_its_end_reach_the_consumer_as_events() {
    let delete = peregrine_wire::itch50::OrderDelete::new(1, 5);
    let packet = |first: u64| {
        let mut buffer = [0; 100];
        let mut builder = PacketBuilder::new(&mut buffer, SESSION, first).expect("room");
        builder.push(delete.as_bytes()).expect("room");
        builder.finish().to_vec()
    };
    let mut feed = MoldFeed::new(ArbiterConfig::default(), decoder()).unwrap();
    let mut events: Vec<MarketEvent> = Vec::new();
    for (line, first, now) in [(0, 1, 10), (0, 4, 20), (1, 2, 30), (1, 3, 40), (0, 6, 50), (0, 7, 3_000_000)] {
        let mut sink = |event| {
            events.push(event);
            Ok(())
        };
        assert_eq!(feed.on_packet(LineId(line), &packet(first), EpochNanos(now), &mut sink), Ok(()));
    }
    let summary: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.id_a, event.id_b, event.qty.0, event.detail, event.recv_time.0))
        .filter(|(kind, ..)| *kind != EventKind::DeleteOrder && *kind != EventKind::SessionStart)
        .collect();
    let wanted = [
        (EventKind::GapStart, 2, 4, 2, 0, 20),
        (EventKind::GapEnd, 2, 4, 2, 0, 40),
        (EventKind::GapStart, 5, 6, 1, 0, 50),
        (EventKind::GapStart, 5, 6, 1, 1, 3_000_000),
    ];
    assert_eq!(summary, wanted);
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::DeleteOrder).count(), 6);
}

/// UDP payloads of a little-endian Ethernet pcap, headers stripped by hand.
fn payloads(pcap: &[u8]) -> Vec<&[u8]> {
    let number = |bytes: &[u8], at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let mut rest = &pcap[24..];
    let mut payloads = Vec::new();
    while rest.len() >= 16 {
        let len = u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        let frame = &rest[16..16 + len];
        let ip = if number(frame, 12) == 0x8100 { &frame[18..] } else { &frame[14..] };
        let udp = &ip[usize::from(ip[0] & 15) * 4..];
        payloads.push(&udp[8..number(udp, 4)]);
        rest = &rest[16 + len..];
    }
    payloads
}

#[test]
fn genuine_packets_decode_without_anomaly() {
    let Some(folder) = common::data("pcap/nasdaq_itch50") else { return };
    let (mut files, mut messages) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        assert!(matches!(bytes[..4], [0xD4, 0xC3, 0xB2, 0xA1] | [0x4D, 0x3C, 0xB2, 0xA1]), "{}", path.display());
        let config = ArbiterConfig { is_sequence_checked: false, line_count: 1, ..ArbiterConfig::default() };
        let mut feed = MoldFeed::new(config, decoder()).unwrap();
        for payload in payloads(&bytes) {
            let packet = Packet::parse(payload).unwrap();
            messages += u64::from(packet.message_count());
            let mut buffer = vec![0; payload.len()];
            let mut builder = PacketBuilder::new(&mut buffer, packet.session(), packet.sequence_number()).unwrap();
            packet.blocks().for_each(|message| builder.push(message).expect("room"));
            assert_eq!(builder.finish(), payload);
            assert!(feed.on_packet(LineId::A, payload, EpochNanos(0), &mut |_| Ok(())).is_ok());
        }
        let counters = feed.decoder().counters();
        assert_eq!((counters.malformed_count(), counters.unknown_count()), (0, 0), "{}", path.display());
        assert_eq!(counters.message_count(), feed.arbiter().counters().delivered_count);
        assert_eq!(feed.arbiter().lines()[0].malformed_count, 0);
        files += 1;
    }
    assert!(files >= 20 && messages >= 50, "{files} files, {messages} messages");
}
