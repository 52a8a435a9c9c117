//! Layouts of MDP 3.0 held against the protocol sheet's machine-readable tables, and real packets against what their bytes say.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::mem::offset_of;

use peregrine_types::{EpochNanos, EventFlags, EventKind, MarketEvent, Price, Qty, Side, Symbol};
use peregrine_wire::mdp3::*;

/// The sheet's layouts, or `None` after one line that says that they are missing.
fn layouts() -> Option<serde_json::Value> {
    let path = common::data("../protocols/tools/layouts.json")?;
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

fn equal(layouts: &serde_json::Value, name: &str, len: usize, fields: &[(&str, usize, usize)]) {
    let layout = &layouts[name];
    assert_eq!(layout["size"], len, "{name}");
    let wanted = layout["fields"].as_array().unwrap();
    assert_eq!(wanted.len(), fields.len(), "{name}");
    for ((field, offset, field_len), want) in fields.iter().zip(wanted) {
        assert_eq!(
            (&want[0], &want[1], &want[2]),
            (&(*offset).into(), &(*field_len).into(), &(*field).into()),
            "{name}"
        );
    }
}

#[test]
fn blocks_equal_the_protocol_sheet() {
    let Some(layouts) = layouts() else { return };
    for (name, len, fields) in BLOCKS {
        equal(&layouts, name, *len, fields);
    }
    // One struct reads these blocks of several templates.
    let same = [
        ("cme.46.root", ["cme.47.root", "cme.48.root", "cme.64.root", "cme.65.root"].as_slice()),
        ("cme.46.NoOrderIDEntries", &["cme.64.NoOrderIDEntries"]),
        ("cme.48.NoOrderIDEntries", &["cme.65.NoOrderIDEntries"]),
        ("cme.52.root", &["cme.69.root"]),
    ];
    for (one, others) in same {
        for other in others {
            assert_eq!(
                (&layouts[one]["size"], &layouts[one]["fields"]),
                (&layouts[*other]["size"], &layouts[*other]["fields"])
            );
        }
    }
    let known: Vec<&str> = BLOCKS.iter().map(|block| block.0).collect();
    let needed = ["cme.4.root", "cme.30.root", "cme.46.NoMDEntries", "cme.47.NoMDEntries", "cme.48.NoMDEntries"];
    for name in needed.iter().chain(&["cme.52.NoMDEntries", "cme.53.NoMDEntries", "cme.54.root", "cme.64.NoMDEntries"])
    {
        assert!(known.contains(name), "{name}");
    }
}

#[test]
fn headers_equal_the_protocol_sheet() {
    let Some(layouts) = layouts() else { return };
    macro_rules! header {
        ($name:literal, $type:ident { $($field:ident: $len:literal),* }) => {
            equal(&layouts, $name, size_of::<$type>(), &[$((stringify!($field), offset_of!($type, $field), $len)),*]);
        };
    }
    header!("cme.packet_header", PacketHeader { msg_seq_num: 4, sending_time: 8 });
    header!(
        "cme.message_header",
        MessageHeader { msg_size: 2, block_length: 2, template_id: 2, schema_id: 2, version: 2 }
    );
    header!("cme.group_size", GroupSize { block_length: 2, num_in_group: 1 });
    header!("cme.group_size_8byte", GroupSize8Byte { block_length: 2, pad: 5, num_in_group: 1 });
}

/// The payload behind the IP and UDP (or TCP) headers of a capture's only packet.
fn payload(name: &str) -> Option<Vec<u8>> {
    let bytes = common::read(&common::data(&format!("pcap/cme/{name}.pcap"))?);
    let frame_len = usize::try_from(u32::from_le_bytes(bytes[32..36].try_into().unwrap())).unwrap();
    assert_eq!((&bytes[..4], bytes.len()), (&[0xD4, 0xC3, 0xB2, 0xA1][..], 40 + frame_len), "{name}");
    let packet = &bytes[40 + 14..];
    let ip_len = usize::from(packet[0] & 15) * 4;
    let is_udp = packet[9] == 17;
    assert_eq!(is_udp, name.contains(".v1.9_"), "{name}");
    let transport = &packet[ip_len..usize::from(u16::from_be_bytes([packet[2], packet[3]]))];
    let header_len = if is_udp { 8 } else { usize::from(transport[12] >> 4) * 4 };
    Some(transport[header_len..].to_vec())
}

fn decode(payload: &[u8], depth: Depth) -> (Vec<MarketEvent>, Mdp3Decoder) {
    let mut decoder = Mdp3Decoder::new(Mdp3Config { instrument_count_max: 64, order_count_max: 1_024, depth });
    let mut events = Vec::new();
    let body = &payload[PACKET_HEADER_LEN..];
    let mut sink = |event| {
        events.push(event);
        Ok(())
    };
    decoder.decode(body, EpochNanos(i64::MAX), EventFlags::NONE, &mut sink).unwrap();
    (events, decoder)
}

/// What a packet's header and its messages say of themselves: number, time; template and root length.
fn outline(payload: &[u8]) -> (u64, Vec<(u16, usize)>) {
    let packet = parse(payload).unwrap();
    let messages = Messages(&payload[PACKET_HEADER_LEN..]);
    (packet.sequence_number(), messages.map(|message| (message.header.template_id.get(), message.root.len())).collect())
}

#[test]
fn the_trade_of_the_sheet_is_read_as_the_sheet_says() {
    let Some(payload) = payload("Mdp3.Sbe.v1.9_MdIncrementalRefreshTradeSummary") else { return };
    let templates = vec![(48, 11), (37, 11), (47, 11), (46, 11), (46, 11)];
    assert_eq!(outline(&payload), (884_140, templates));
    // 2018-09-12, a Wednesday: the week from Saturday, 2018-09-08, noon is the 2,540th after the first one.
    assert_eq!(parse(&payload).unwrap().session().0, *b"MDP3002540");
    let (events, decoder) = decode(&payload, Depth::Orders);
    let found: Vec<_> =
        events.iter().map(|event| (event.kind, event.id_a, event.id_b, event.price.0, event.qty.0)).collect();
    let price = 12_952_000_000_000;
    assert_eq!(
        found,
        [
            (EventKind::Trade, 0, 341_412, price, 2),
            // The delete of 88463939692 finds nothing here; what the other order is now, is its add.
            (EventKind::AddOrder, 88_463_940_665, 0, price, 2),
        ]
    );
    assert_eq!(decoder.symbols().name(events[0].symbol), Symbol::new("170506"));
    assert!(
        events.iter().all(|event| event.symbol == events[0].symbol && event.exch_time.0 == 1_536_760_535_670_166_278)
    );
    let counters = decoder.counters();
    assert_eq!(
        (counters.unknown_order_count, counters.revived_order_count, counters.unmatched_trade_order_count),
        (1, 1, 0)
    );
    assert_eq!((counters.left_alone_count, counters.message_count_of(37), counters.message_count_of(46)), (1, 1, 2));
    assert_eq!((counters.malformed_count, counters.refused_entry_count, counters.old_schema_count), (0, 0, 0));
    // Its levels: real and implied, both changed without having been told before.
    let (events, decoder) = decode(&payload, Depth::Levels);
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::Trade]);
    assert_eq!(decoder.counters().unknown_rank_count, 2);
}

#[test]
fn the_trade_of_the_sheet_executes_the_orders_that_it_names() {
    let Some(payload) = payload("Mdp3.Sbe.v1.9_MdIncrementalRefreshTradeSummary") else { return };
    let mut decoder =
        Mdp3Decoder::new(Mdp3Config { instrument_count_max: 64, order_count_max: 64, depth: Depth::Orders });
    // Before it: an order of 1 and one of 3, of which the trade takes 1 each.
    let price = 12_952_000_000_000_i64;
    let mut groups = vec![40, 0, 2];
    for (order_id, priority, qty) in
        [(88_463_939_692_u64, 1_423_903_009_u64, 1_i32), (88_463_940_665, 1_423_903_131, 3)]
    {
        let entry = OrderEntry {
            order_id: order_id.into(),
            md_order_priority: priority.into(),
            md_entry_px: price.into(),
            md_display_qty: qty.into(),
            security_id: 170_506.into(),
            md_update_action: 0,
            md_entry_type: b'0',
            pad: [0; 6],
        };
        groups.extend_from_slice(zerocopy::IntoBytes::as_bytes(&entry));
    }
    let mut buffer = [0; 200];
    let mut packet = PacketBuilder::new(&mut buffer, 1, 1).unwrap();
    packet.push(template::ORDER_BOOK, 9, &[0; 11], &groups).unwrap();
    let mut events: Vec<MarketEvent> = Vec::new();
    for body in [&packet.finish()[PACKET_HEADER_LEN..], &payload[PACKET_HEADER_LEN..]] {
        let mut sink = |event| {
            events.push(event);
            Ok(())
        };
        decoder.decode(body, EpochNanos(i64::MAX), EventFlags::NONE, &mut sink).unwrap();
    }
    let found: Vec<_> =
        events.iter().map(|event| (event.kind, event.id_a, event.id_b, event.price, event.qty)).collect();
    let added = |order_id, qty| (EventKind::AddOrder, order_id, 0, Price(price), Qty(qty));
    let filled = |order_id| (EventKind::ExecuteOrder, order_id, 341_412, Price(0), Qty(1));
    assert_eq!(
        found,
        [added(88_463_939_692, 1), added(88_463_940_665, 3), filled(88_463_939_692), filled(88_463_940_665)],
        "what the order changes behind the trade say has happened already"
    );
    assert!(events[..2].iter().all(|event| event.side == Side::Buy));
    assert_eq!((decoder.order_count(), decoder.counters().revived_order_count), (1, 0));
}

#[test]
fn real_packets_are_whole_and_their_levels_and_orders_are_read() {
    let Some(book) = payload("Mdp3.Sbe.v1.9_MdIncrementalRefreshBook") else { return };
    let (number, messages) = outline(&book);
    assert_eq!((number, messages[0]), (1_028_095, (46, 11)));
    let first = Messages(&book[PACKET_HEADER_LEN..]).next().unwrap();
    let mut groups = first.groups;
    let (levels, orders) = (groups.group().unwrap(), groups.group_8byte().unwrap());
    assert_eq!((levels.count(), orders.count()), (23, 16));
    let level = levels.get::<BookEntry>(1).unwrap();
    assert_eq!((level.security_id.get(), level.rpt_seq.get(), level.md_entry_size.get()), (157_660, 412, 1));
    assert_eq!((level.md_entry_px.get(), level.md_price_level), (15_250_000_000_000, 1));
    assert_eq!((level.md_update_action, level.md_entry_type, level.number_of_orders.get()), (0, b'1', 1));
    let (events, decoder) = decode(&book, Depth::Orders);
    let counters = decoder.counters();
    assert_eq!((counters.malformed_count, counters.refused_entry_count), (0, 0));
    assert!(events.iter().any(|event| event.kind == EventKind::AddOrder));

    let Some(one) = payload("Mdp3.Sbe.v1.9_MdIncrementalRefreshOrderBook") else { return };
    let (events, decoder) = decode(&one, Depth::Orders);
    assert_eq!(outline(&one), (911_525, vec![(47, 11)]));
    let [added] = events[..] else { panic!("{events:?}") };
    assert_eq!((added.kind, added.id_a, added.side), (EventKind::AddOrder, 76_662_054_355, Side::Sell));
    assert_eq!((added.price, added.qty), (Price(12_068_000_000_000), Qty(4)));
    assert_eq!(decoder.symbols().name(added.symbol), Symbol::new("532259"));

    let Some(volume) = payload("Mdp3.Sbe.v1.9_MdIncrementalRefreshVolume") else { return };
    // Two events: an order that was not told before is 9 now, and is traded.
    let (events, decoder) = decode(&volume, Depth::Orders);
    let found: Vec<_> = events.iter().map(|event| (event.kind, event.id_a, event.id_b, event.qty.0)).collect();
    let order = 88_463_941_759;
    assert_eq!(found, [(EventKind::AddOrder, order, 0, 9), (EventKind::ExecuteOrder, order, 341_415, 9)]);
    assert_eq!((decoder.order_count(), decoder.counters().unknown_order_count), (0, 1));
    let (events, decoder) = decode(&volume, Depth::Levels);
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!((kinds, decoder.counters().unknown_rank_count), (vec![EventKind::Trade], 2));
}

/// Every capture of the TCP form: two bytes more in front.
const TCP: [&str; 7] = [
    "RequestAck.Tcp",
    "SecurityListRequest.Tcp",
    "SecurityStatusRequest.Tcp",
    "SnapshotFullRefreshTcpLongQty.Tcp",
    "SubscriberHeartbeat.Tcp",
    "MdIncrementalRefreshBookLongQty",
    "MdIncrementalRefreshTradeSummaryLongQty",
];

#[test]
fn packets_of_the_tcp_form_are_refused() {
    for name in TCP {
        let Some(bytes) = payload(&format!("Mdp3.Sbe.v1.12_{name}")) else { return };
        assert_eq!(bytes[..2], [0xFE, 0xCA], "{name}");
        assert!(parse(&bytes).is_err(), "{name}");
    }
}

#[test]
fn real_messages_with_long_quantities_are_read() {
    let [.., book, trade] = TCP.map(|name| payload(&format!("Mdp3.Sbe.v1.12_{name}")));
    let (Some(book), Some(trade)) = (book, trade) else { return };
    // Behind the two bytes that only TCP has, and a packet's header, stand the same messages.
    let (book, trade) = (&book[2..], &trade[2..]);
    let (book_outline, trade_outline) = (outline(book).1, outline(trade).1);
    assert_eq!((book_outline, trade_outline), (vec![(64, 11)], vec![(65, 11)]));
    let mut groups = Messages(&book[PACKET_HEADER_LEN..]).next().unwrap().groups;
    let level = *groups.group().unwrap().get::<BookEntryLong>(0).unwrap();
    assert_eq!(
        (level.md_entry_px.get(), level.md_entry_size.get(), level.security_id.get()),
        (1_208_150_000, 6_000_000, 11_827_320)
    );
    assert_eq!((level.number_of_orders.get(), level.md_price_level), (NULL_I32, 4));
    assert_eq!((level.md_update_action, level.md_entry_type), (1, b'1'));
    assert_eq!(groups.group_8byte().unwrap().count(), 0);
    let mut groups = Messages(&trade[PACKET_HEADER_LEN..]).next().unwrap().groups;
    let entry = *groups.group().unwrap().get::<TradeEntryLong>(0).unwrap();
    assert_eq!((entry.md_entry_px.get(), entry.md_entry_size.get()), (1_207_100_000, 0));
    assert_eq!((entry.md_trade_entry_id.get(), entry.aggressor_side, entry.md_update_action), (14_515_834, 2, 0));
    let (events, decoder) = decode(book, Depth::Levels);
    assert_eq!((events.len(), decoder.counters().unknown_rank_count), (0, 1), "a change of the fourth level alone");
    assert!(decode(trade, Depth::Levels).0.is_empty(), "a trade of nothing is no print");
}
