//! However packets come and whenever the sink refuses: the events are those of one perfect line into a sink with room.

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Nanos, Qty};
use peregrine_wire::mdp3::{Depth, PACKET_HEADER_LEN, PacketBuilder, session_at, template};
use peregrine_wire::{ArbiterConfig, LineId, Mdp3Feed};
use proptest::prelude::*;

use super::engine::{decoder, feed};
use super::exchange::{Exchange, START, chance};
use super::{Command, commands};

/// Line, receive time in ns after the start, payload.
type Arrival<'a> = (LineId, i64, &'a [u8]);

/// The events of packets into a sink that refuses when it is told to.
fn events(feed: &mut Mdp3Feed, arrivals: &[Arrival<'_>], mut refuses: impl FnMut() -> bool) -> Vec<MarketEvent> {
    let mut events = Vec::new();
    for (line, time, payload) in arrivals {
        let mut sink = |event: MarketEvent| {
            if refuses() {
                return Err(Full(event));
            }
            events.push(event);
            Ok(())
        };
        let time = EpochNanos(START.cast_signed() + time);
        let mut retry_count = 0;
        while feed.on_packet(*line, payload, time, &mut sink).is_err() {
            retry_count += 1;
            assert!(retry_count < 100_000, "a packet is retried without end");
        }
    }
    events
}

fn in_order(exchange: &Exchange) -> Vec<Arrival<'_>> {
    (0..).zip(&exchange.packets).map(|(at, (payload, _))| (LineId::A, at * 1_000, &payload[..])).collect()
}

/// What an event says about the market, without how and when it came.
fn content(events: &[MarketEvent]) -> Vec<MarketEvent> {
    let is_content = |event: &&MarketEvent| !matches!(event.kind, EventKind::GapStart | EventKind::GapEnd);
    let strip = |event: &MarketEvent| MarketEvent {
        flags: EventFlags(event.flags.0 & !EventFlags::FROM_LINE_B.0),
        recv_time: EpochNanos(0),
        exch_time: if event.kind == EventKind::SessionStart { EpochNanos(0) } else { event.exch_time },
        ..*event
    };
    events.iter().filter(is_content).map(strip).collect()
}

fn depths() -> impl Strategy<Value = Depth> {
    prop::sample::select(vec![Depth::Orders, Depth::Levels])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sink_that_refuses_gets_the_same_events(commands in commands(120), depth in depths(), seed in any::<u64>()) {
        let exchange = Exchange::of(&commands);
        let mut one = feed(depth, 1);
        let wanted = events(&mut one, &in_order(&exchange), || false);
        let (mut is_second, mut seed) = (false, seed);
        let mut every_second = feed(depth, 1);
        let second = events(&mut every_second, &in_order(&exchange), || {
            is_second = !is_second;
            is_second
        });
        prop_assert_eq!(&second, &wanted);
        let mut random = feed(depth, 1);
        prop_assert_eq!(&events(&mut random, &in_order(&exchange), || !chance(&mut seed).is_multiple_of(4)), &wanted);
        prop_assert_eq!(one.decoder().counters(), every_second.decoder().counters());
        prop_assert_eq!(one.decoder().counters(), random.decoder().counters());
    }

    #[test]
    fn two_lines_that_lose_repeat_and_reorder_give_what_one_perfect_line_gives(
        commands in commands(120), depth in depths(), seed in any::<u64>(),
    ) {
        let exchange = Exchange::of(&commands);
        let wanted = content(&events(&mut feed(depth, 1), &in_order(&exchange), || false));
        let mut seed = seed;
        // Each line stamps its packets itself.
        let later = |(payload, _): &(Vec<u8>, _)| [&payload[..4], &(START + 777).to_le_bytes(), &payload[12..]].concat();
        let line_b: Vec<Vec<u8>> = exchange.packets.iter().map(later).collect();
        let mut arrivals = Vec::new();
        for (at, (copy, (payload, _))) in (0_i64..).zip(line_b.iter().zip(&exchange.packets)) {
            let lost = chance(&mut seed) % 4;
            for (line, payload) in [(0_u8, payload), (1, copy)] {
                let copies = if u64::from(line) == lost { 0 } else { 1 + chance(&mut seed) % 2 };
                for _ in 0..copies {
                    let late = i64::try_from(chance(&mut seed) % 9_000).unwrap();
                    arrivals.push((LineId(line), at * 1_000 + late, &payload[..]));
                }
            }
        }
        arrivals.sort_by_key(|arrival| arrival.1);
        let mut two = feed(depth, 2);
        prop_assert_eq!(content(&events(&mut two, &arrivals, || chance(&mut seed).is_multiple_of(8))), wanted);
        let counters = two.arbiter().counters();
        prop_assert_eq!(usize::try_from(counters.delivered_count).unwrap(), exchange.packets.len());
        prop_assert_eq!((counters.lost_message_count, counters.mismatch_first), (0, None));
    }
}

fn some_day() -> Exchange {
    let mut seed = 3;
    let commands: Vec<Command> = (0..200)
        .map(|_| {
            let [a, b, c, d, e, f, ..] = chance(&mut seed).to_le_bytes();
            (a, b, u16::from_le_bytes([c, d]), e, f, chance(&mut seed))
        })
        .collect();
    Exchange::of(&commands)
}

#[test]
fn what_nobody_brings_is_announced_by_its_packet_numbers() {
    let exchange = some_day();
    let mut feed = feed(Depth::Orders, 2);
    let mut arrivals = in_order(&exchange);
    assert!(arrivals.len() > 40);
    arrivals.drain(9..12);
    let gaps: Vec<_> = events(&mut feed, &arrivals, || false)
        .into_iter()
        .filter(|event| matches!(event.kind, EventKind::GapStart | EventKind::GapEnd))
        .map(|event| (event.kind, event.detail, event.id_a, event.id_b, event.qty))
        .collect();
    assert_eq!(gaps, [(EventKind::GapStart, 0, 10, 13, Qty(3))], "the window is 2 ms: they may still come");
    let mut late = Vec::new();
    let time = EpochNanos(START.cast_signed() + 1_000_000_000);
    let mut sink = |event: MarketEvent| {
        late.push((event.kind, event.detail, event.id_a, event.id_b, event.qty));
        Ok(())
    };
    feed.on_time(time, &mut sink).unwrap();
    assert_eq!(late[0], (EventKind::GapStart, 1, 10, 13, Qty(3)), "they are given up");
    assert!(late.len() > 100, "what waited follows");
    assert_eq!(feed.arbiter().counters().lost_message_count, 3);
}

/// A packet of heartbeats alone.
fn heartbeat(number: u32, time: u64) -> Vec<u8> {
    let mut buffer = [0; 64];
    let mut packet = PacketBuilder::new(&mut buffer, number, time).unwrap();
    packet.push(template::HEARTBEAT, 9, &[], &[]).unwrap();
    packet.finish().to_vec()
}

#[test]
fn heartbeats_count_as_packets() {
    let mut feed = feed(Depth::Orders, 1);
    let beats = [1, 2, 4].map(|number| heartbeat(number, START));
    assert!(beats.iter().all(|beat| beat.len() == PACKET_HEADER_LEN + 10));
    let arrivals: Vec<Arrival<'_>> = beats.iter().map(|beat| (LineId::A, 0, &beat[..])).collect();
    let events = events(&mut feed, &arrivals, || false);
    let kinds: Vec<_> = events.iter().map(|event| (event.kind, event.id_a, event.id_b)).collect();
    assert_eq!(kinds[1..], [(EventKind::GapStart, 3, 4)]);
    assert_eq!((feed.decoder().counters().packet_count, feed.decoder().counters().message_count_of(12)), (2, 2));
}

#[test]
fn a_week_is_a_session_and_begins_with_empty_books() {
    const DAY: u64 = 86_400_000_000_000;
    // From Saturday noon to Saturday noon, UTC.
    assert_eq!(session_at(START - 4 * DAY), session_at(START + 3 * DAY - 1));
    assert_ne!(session_at(START - 4 * DAY - 1), session_at(START - 4 * DAY));
    assert_ne!(session_at(START + 3 * DAY), session_at(START + 3 * DAY - 1));
    let exchange = some_day();
    let mut feed = feed(Depth::Orders, 2);
    events(&mut feed, &in_order(&exchange), || false);
    assert!(feed.decoder().order_count() > 0);
    let last = exchange.packets.last().unwrap().0.clone();
    let next_week = heartbeat(1, START + 4 * DAY);
    let arrivals: [Arrival<'_>; 3] = [
        (LineId::A, 1_000_000_000, &next_week),
        (LineId::B, 1_000_000_000, &last),
        (LineId::B, 1_000_000_001, &next_week),
    ];
    let events = events(&mut feed, &arrivals, || false);
    let found: Vec<_> = events.iter().map(|event| (event.kind, event.id_a, event.id_b, event.qty)).collect();
    let name = |session: peregrine_wire::moldudp64::Session| (session.first_eight(), Qty(session.last_two().into()));
    let ((old, old_tail), (new, new_tail)) = (name(session_at(START)), name(session_at(START + 4 * DAY)));
    let next = u64::try_from(exchange.packets.len()).unwrap() + 1;
    assert_eq!(found, [(EventKind::SessionEnd, old, next, old_tail), (EventKind::SessionStart, new, 1, new_tail)]);
    assert_eq!((feed.decoder().order_count(), feed.arbiter().lines()[1].old_session_count), (0, 1));
}

#[test]
fn an_event_whose_end_is_lost_gives_its_orders_to_no_other_trade() {
    // A summary that goes on in a packet that is lost, and the next event's, whose orders are of the new trade.
    let day = super::lies::two_summaries();
    let config = ArbiterConfig { line_count: 1, reorder_window_ns: Nanos(0), ..ArbiterConfig::default() };
    let mut feed = Mdp3Feed::new(config, decoder(Depth::Orders)).unwrap();
    let arrivals: Vec<Arrival<'_>> = day.iter().map(|(at, payload)| (LineId::A, *at, &payload[..])).collect();
    let found: Vec<_> = events(&mut feed, &arrivals, || false)
        .iter()
        .filter(|event| matches!(event.kind, EventKind::Trade | EventKind::ExecuteOrder))
        .map(|event| (event.kind, event.id_a, event.id_b, event.qty.0))
        .collect();
    assert_eq!(found, [(EventKind::Trade, 0, 1, 5), (EventKind::ExecuteOrder, 900, 2, 3)]);
    assert_eq!(feed.decoder().counters().unmatched_trade_order_count, 0);
}
