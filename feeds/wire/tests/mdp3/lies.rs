//! Bytes that lie: cut, with other lengths, at random. Nothing panics, and what does not fit is refused or counted.

use peregrine_types::{EpochNanos, EventFlags, MarketEvent, Side};
use peregrine_wire::fuzz;
use peregrine_wire::mdp3::{
    Depth, MESSAGE_HEADER_LEN, Mdp3Counters, Messages, PACKET_HEADER_LEN, PacketBuilder, parse, template,
};
use peregrine_wire::moldudp64::PacketErrorKind;
use proptest::prelude::*;

use super::commands;
use super::encode::{Change, Message, Trade, summary};
use super::engine::decoder;
use super::exchange::{Exchange, START};

fn packet(number: u32, messages: &[Message]) -> Vec<u8> {
    let mut buffer = [0; 1_500];
    let mut packet = PacketBuilder::new(&mut buffer, number, START).unwrap();
    for message in messages {
        packet.push(message.template, message.version, &message.root, &message.groups).unwrap();
    }
    packet.finish().to_vec()
}

fn trade(id: u32, qty: u32, resting: u64) -> Trade {
    let (instrument, price, aggressor) = (0, 1_000_000_000, Some(Side::Buy));
    Trade { instrument, id, price, qty: u64::from(qty), aggressor, action: 0, orders: vec![(1, qty), (resting, qty)] }
}

/// When and what: an offer; a trade of 5 whose orders are in packet 3, which is lost; a trade of 3 with its orders, of which
/// 900 is the offer.
pub(crate) fn two_summaries() -> Vec<(i64, Vec<u8>)> {
    let mut cut = summary(&[trade(1, 5, 899)], 8, false, START).remove(0);
    // Without its orders, and without saying that it is the last.
    cut.groups.truncate(cut.groups.len() - 2 * 16);
    *cut.groups.last_mut().unwrap() = 0;
    cut.root[8] = 0;
    let offer = Message::order_book(&[Change::offer(0, 900, 1_000_000_000, 10)], START);
    vec![
        (1_000, packet(1, &[offer])),
        (2_000, packet(2, &[cut])),
        (4_000, packet(4, &summary(&[trade(2, 3, 900)], 8, false, START + 5))),
    ]
}

/// An offer, a trade with it, and levels.
fn three_messages() -> Vec<Message> {
    let mut messages = vec![Message::order_book(&[Change::offer(0, 900, 1_000_000_000, 10)], START)];
    messages.extend(summary(&[trade(2, 3, 900)], 8, false, START));
    messages.push(Change::reset(0).reset_levels(START));
    messages
}

fn decode(payload: &[u8]) -> (Vec<MarketEvent>, Mdp3Counters) {
    let mut decoder = decoder(Depth::Orders);
    let mut events = Vec::new();
    let mut sink = |event| {
        events.push(event);
        Ok(())
    };
    decoder.decode(&payload[PACKET_HEADER_LEN..], EpochNanos(0), EventFlags::NONE, &mut sink).unwrap();
    (events, decoder.counters().clone())
}

#[test]
fn a_packet_that_is_cut_anywhere_is_refused() {
    let messages = three_messages();
    let payload = packet(1, &messages);
    let mut end = PACKET_HEADER_LEN;
    let ends: Vec<usize> = messages
        .iter()
        .map(|message| {
            end += message.len();
            end
        })
        .collect();
    for len in 0..payload.len() {
        match parse(&payload[..len]) {
            Ok(_) => assert!(ends.contains(&len), "{len}"),
            Err(error) => {
                assert!(!ends.contains(&len) && error.offset <= len, "{len}");
                let before = u16::try_from(ends.iter().filter(|end| **end <= len).count()).unwrap();
                let kind = if len < PACKET_HEADER_LEN {
                    PacketErrorKind::HeaderTruncated
                } else {
                    PacketErrorKind::BlockTruncated(before)
                };
                assert_eq!(error.kind, kind, "{len}");
            }
        }
    }
    assert!(parse(&payload).is_ok());
    let foreign = PACKET_HEADER_LEN + messages[0].len();
    let mut other = payload.clone();
    other[foreign + 6] = 2;
    let error = parse(&other).unwrap_err();
    assert_eq!((error.offset, error.kind), (foreign, PacketErrorKind::ForeignSchema(1)));
}

#[test]
fn a_length_that_is_changed_refuses_the_packet_or_counts_the_message() {
    for message in three_messages() {
        let payload = packet(1, std::slice::from_ref(&message));
        let (wanted, clean) = decode(&payload);
        assert_eq!(clean.malformed_count, 0);
        let at = |offset: usize| u16::from_le_bytes([payload[offset], payload[offset + 1]]);
        let with = |offset: usize, value: u16| {
            let mut changed = payload.clone();
            changed[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
            changed
        };
        let size = at(PACKET_HEADER_LEN);
        for value in (0..u16::try_from(MESSAGE_HEADER_LEN).unwrap()).chain([size - 1, size + 1, u16::MAX]) {
            assert!(parse(&with(PACKET_HEADER_LEN, value)).is_err(), "message of {value} bytes");
        }
        let block = at(PACKET_HEADER_LEN + 2);
        assert!(parse(&with(PACKET_HEADER_LEN + 2, size - 9)).is_err(), "a root behind the end");
        for value in 0..block {
            let changed = with(PACKET_HEADER_LEN + 2, value);
            assert!(parse(&changed).is_ok());
            let (events, counters) = decode(&changed);
            assert!(events.is_empty() && counters.malformed_count == 1, "root of {value} bytes");
        }
        let group = PACKET_HEADER_LEN + MESSAGE_HEADER_LEN + usize::from(block);
        let entry_len = at(group);
        for value in (1..entry_len).chain([entry_len + 1, u16::MAX]) {
            let (events, counters) = decode(&with(group, value));
            let is_shifted = message.template != template::ORDER_BOOK;
            assert!(events.is_empty(), "entries of {value} bytes");
            assert!(counters.malformed_count == 1 || is_shifted && value > entry_len, "entries of {value} bytes");
        }
        // As few as fit are taken out of the group behind, and no one can tell.
        let count_min = (payload.len() - group - 3) / usize::from(entry_len) + 1;
        for count in count_min..=255 {
            let mut changed = payload.clone();
            changed[group + 2] = u8::try_from(count).unwrap();
            let (events, counters) = decode(&changed);
            assert!(events.is_empty() && counters.malformed_count == 1, "{count} entries");
        }
        assert_eq!(decode(&payload).0, wanted);
    }
}

/// Longer blocks of a later schema: read as far as they are known.
#[test]
fn longer_blocks_are_read_as_far_as_they_are_known() {
    let mut message = Message::order_book(&[Change::offer(0, 900, 1_000_000_000, 10)], START);
    let (wanted, _) = decode(&packet(1, std::slice::from_ref(&message)));
    message.root.extend_from_slice(&[7; 5]);
    message.groups.extend_from_slice(&[7; 3]);
    message.groups[0] += 3;
    let (events, counters) = decode(&packet(1, &[message]));
    assert_eq!((events, counters.malformed_count), (wanted, 0));
}

#[test]
fn the_orders_of_a_trade_that_is_not_read_are_not_the_next_ones() {
    let offer = Message::order_book(&[Change::offer(1, 900, 1_000_000_000, 10)], START);
    let mut messages = vec![super::encode::definition(5_893, "6EU8", 10_000_000, b"6E\0\0\0\0"), offer];
    // The price of the first cannot be said in 10⁻⁹.
    let trades = [Trade { instrument: 1, price: 7, ..trade(1, 5, 899) }, Trade { instrument: 1, ..trade(2, 3, 900) }];
    messages.extend(summary(&trades, 8, false, START));
    let (events, counters) = decode(&packet(1, &messages));
    let last = events.last().unwrap();
    assert_eq!((last.kind, last.id_a, last.id_b, last.qty.0), (peregrine_types::EventKind::ExecuteOrder, 900, 2, 3));
    assert_eq!((counters.refused_entry_count, counters.unmatched_trade_order_count), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_that_changed_do_no_harm(
        commands in commands(60),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let exchange = Exchange::of(&commands);
        let mut all: Vec<u8> = START.to_le_bytes().iter().chain(&[1, 0, 0, 0]).copied().collect();
        exchange.packets.iter().for_each(|(payload, _)| all.extend_from_slice(&payload[PACKET_HEADER_LEN..]));
        for (at, value) in &changes {
            let at = at.index(all.len());
            all[at] = *value;
        }
        fuzz::mdp3(&all);
        prop_assert!(Messages(&all[PACKET_HEADER_LEN..]).count() > 0 || !changes.is_empty());
    }

    #[test]
    fn random_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::mdp3(&data);
    }
}
