//! What the exchange seldom says of MDP 3.0: summaries that name fewer orders than they say, books of less depth, definitions
//! that come late or go.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use peregrine_types::*;
use peregrine_wire::mdp3::*;
use zerocopy::{FromZeros, IntoBytes};

fn decoder(depth: Depth) -> Mdp3Decoder {
    Mdp3Decoder::new(Mdp3Config { instrument_count_max: 4, order_count_max: 64, depth })
}

fn root(match_event_indicator: u8) -> Vec<u8> {
    RefreshRoot { transact_time: 1.into(), match_event_indicator, pad: [0; 2] }.as_bytes().to_vec()
}

fn group<E: IntoBytes + zerocopy::Immutable>(entries: &[E]) -> Vec<u8> {
    let len = u16::try_from(size_of::<E>()).unwrap().into();
    let size = GroupSize { block_length: len, num_in_group: u8::try_from(entries.len()).unwrap() };
    [size.as_bytes(), entries.as_bytes()].concat()
}

fn group_8byte<E: IntoBytes + zerocopy::Immutable>(entries: &[E]) -> Vec<u8> {
    let len = u16::try_from(size_of::<E>()).unwrap().into();
    let size = GroupSize8Byte { block_length: len, pad: [0; 5], num_in_group: u8::try_from(entries.len()).unwrap() };
    [size.as_bytes(), entries.as_bytes()].concat()
}

/// The events of one message.
fn told(decoder: &mut Mdp3Decoder, template_id: u16, root: &[u8], groups: &[u8]) -> Vec<MarketEvent> {
    let mut buffer = [0; 1_400];
    let mut packet = PacketBuilder::new(&mut buffer, 1, 1).unwrap();
    packet.push(template_id, 13, root, groups).unwrap();
    let bytes = packet.finish().to_vec();
    parse(&bytes).unwrap();
    let mut events = Vec::new();
    let mut sink = |event| -> Result<(), Full<MarketEvent>> {
        events.push(event);
        Ok(())
    };
    decoder.decode(&bytes[PACKET_HEADER_LEN..], EpochNanos(2), EventFlags::NONE, &mut sink).unwrap();
    events
}

fn order(order_id: u64, price: i64, qty: i32) -> OrderEntry {
    OrderEntry {
        order_id: order_id.into(),
        md_order_priority: order_id.into(),
        md_entry_px: price.into(),
        md_display_qty: qty.into(),
        security_id: 7.into(),
        md_update_action: 0,
        md_entry_type: b'1',
        pad: [0; 6],
    }
}

fn trade(id: u32, price: i64, qty: i32, order_count: i32) -> TradeEntry {
    TradeEntry {
        md_entry_px: price.into(),
        md_entry_size: qty.into(),
        security_id: 7.into(),
        rpt_seq: 1.into(),
        number_of_orders: order_count.into(),
        aggressor_side: 1,
        md_update_action: 0,
        md_trade_entry_id: id.into(),
        pad: [0; 2],
    }
}

fn filled(order_id: u64, qty: i32) -> TradeOrder {
    TradeOrder { order_id: order_id.into(), last_qty: qty.into(), pad: [0; 4] }
}

/// Trade, order and quantity of what a summary is told as.
fn prints(events: &[MarketEvent]) -> Vec<(u64, u64, u64)> {
    events.iter().map(|event| (event.id_b, event.id_a, event.qty.0)).collect()
}

#[test]
fn orders_are_not_given_to_another_trade_where_a_summary_names_fewer_than_it_says() {
    let summary = |decoder: &mut Mdp3Decoder, counts: [i32; 2]| {
        told(decoder, template::ORDER_BOOK, &root(0), &group(&[order(1, 100, 3), order(2, 101, 4)]));
        let trades = [trade(11, 100, 5, counts[0]), trade(12, 101, 4, counts[1])];
        let orders = [filled(9, 5), filled(1, 3), filled(9, 4), filled(2, 4)];
        let groups = [group(&trades), group_8byte(&orders)].concat();
        prints(&told(decoder, template::TRADE_SUMMARY, &root(LAST_TRADE), &groups))
    };
    let whole = summary(&mut decoder(Depth::Orders), [2, 2]);
    assert_eq!(whole, [(11, 1, 3), (11, 0, 2), (12, 2, 4)], "each order is its trade's, the rest is printed");
    let mut fewer = decoder(Depth::Orders);
    let told = summary(&mut fewer, [4, 2]);
    assert_eq!(told, [(11, 0, 5), (12, 0, 4)], "nobody knows whose the orders are");
    assert_eq!(fewer.order_count(), 2, "the changes of the book say what is left of them");
}

fn definition(name: &str, action: u8, status: u8) -> Vec<u8> {
    let mut root = DefinitionRoot::new_zeroed();
    root.symbol[..name.len()].copy_from_slice(name.as_bytes());
    (root.security_id, root.display_factor) = (7.into(), 1_000_000_000.into());
    (root.security_update_action, root.md_security_trading_status) = (action, status);
    root.security_group = *b"ES\0\0\0\0";
    root.as_bytes().to_vec()
}

fn feed_types(depth: i8) -> Vec<u8> {
    let types = [(*b"GBX", depth), (*b"GBI", 2)];
    let entries = types.map(|(md_feed_type, market_depth)| FeedTypeEntry { md_feed_type, market_depth });
    [group::<[u8; 9]>(&[]), group(&entries)].concat()
}

#[test]
fn a_level_that_falls_out_of_a_book_of_three_goes() {
    let mut decoder = decoder(Depth::Levels);
    told(&mut decoder, template::FUTURE, &definition("ESU8", b'A', 17), &feed_types(3));
    let level = |price: i64, rank: u8| BookEntry {
        md_entry_px: price.into(),
        md_entry_size: 1.into(),
        security_id: 7.into(),
        rpt_seq: 1.into(),
        number_of_orders: 1.into(),
        md_price_level: rank,
        md_update_action: 0,
        md_entry_type: b'0',
        tradeable_size: NULL_I32.into(),
        pad: 0,
    };
    let first = [level(100, 1), level(99, 2), level(98, 3)];
    let groups = |entries: &[BookEntry]| [group(entries), group_8byte::<BookOrder>(&[])].concat();
    let before = told(&mut decoder, template::BOOK, &root(END_OF_EVENT), &groups(&first));
    let after = told(&mut decoder, template::BOOK, &root(END_OF_EVENT), &groups(&[level(101, 1)]));
    assert_eq!(after.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::DeleteOrder, EventKind::AddOrder]);
    assert_eq!(after[0].id_a, before[2].id_a, "the fourth one is not told any more");
}

#[test]
fn a_late_definition_tells_state_and_group_and_a_deleted_one_halts() {
    let mut decoder = decoder(Depth::Orders);
    told(&mut decoder, template::ORDER_BOOK, &root(0), &group(&[order(1, 100, 3)]));
    let late = told(&mut decoder, template::FUTURE, &definition("ESU8", b'A', 17), &[]);
    assert_eq!(
        late.iter().map(|event| (event.kind, event.detail)).collect::<Vec<_>>(),
        [(EventKind::TradingAction, b'T')]
    );
    assert_eq!(decoder.counters().late_definition_count, 1);
    let mut halt = SecurityStatusRoot::new_zeroed();
    (halt.security_id, halt.security_trading_status) = (NULL_I32.into(), 2);
    halt.security_group = *b"ES\0\0\0\0";
    let halted = told(&mut decoder, template::SECURITY_STATUS, halt.as_bytes(), &[]);
    assert_eq!(halted.iter().map(|event| event.detail).collect::<Vec<_>>(), [b'H'], "its group is known");
    let gone = told(&mut decoder, template::FUTURE, &definition("7", b'D', 17), &[]);
    assert_eq!(gone.last().map(|event| (event.kind, event.detail)), Some((EventKind::TradingAction, b'H')));
}
