//! OUCH 5.0 held against the protocol sheet's machine-readable tables, its real messages, and itself.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

use std::path::PathBuf;

use peregrine_gateway::ouch50::*;
use peregrine_gateway::soup::{FrameDecoder, Packet};
use peregrine_types::Symbol;
use proptest::prelude::*;

type Fields = &'static [(&'static str, usize, usize)];

/// Type, length, rule, fields and length of the fixed part of every message of a direction.
fn table<const N: usize>(
    rows: [(u8, usize, AppendageRule, Fields, usize); N],
) -> Vec<(u8, usize, AppendageRule, Fields, usize)> {
    rows.to_vec()
}

macro_rules! rows {
    ($($name:ident),* $(,)?) => {
        table([$(($name::TYPE, $name::LEN, $name::RULE, $name::FIELDS, size_of::<$name>())),*])
    };
}

fn inbound() -> Vec<(u8, usize, AppendageRule, Fields, usize)> {
    rows![
        EnterOrder,
        ReplaceOrder,
        CancelOrder,
        ModifyOrder,
        MassCancel,
        DisableOrderEntry,
        EnableOrderEntry,
        AccountQuery,
    ]
}

fn outbound() -> Vec<(u8, usize, AppendageRule, Fields, usize)> {
    rows![
        SystemEvent,
        OrderAccepted,
        OrderReplaced,
        OrderCanceled,
        AiqCanceled,
        OrderExecuted,
        BrokenTrade,
        Rejected,
        CancelPending,
        CancelReject,
        OrderPriorityUpdate,
        OrderModified,
        OrderRestated,
        MassCancelResponse,
        DisableResponse,
        EnableResponse,
        AccountQueryResponse,
    ]
}

fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var("PEREGRINE_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let path = PathBuf::from(root).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no real data at {}", path.display());
    None
}

/// The sheet's table of a message, as (name, offset, length); the size; `None` where the tables are missing.
fn sheet() -> Option<serde_json::Value> {
    let path = data("../protocols/tools/layouts.json")?;
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

/// Compares fields with a table of the sheet; the first difference, if any.
fn difference(layout: &serde_json::Value, fields: &[(&str, usize, usize)], len: usize) -> Option<String> {
    if layout["size"] != len {
        return Some(format!("size {} is not {len}", layout["size"]));
    }
    let wanted = layout["fields"].as_array()?;
    if wanted.len() != fields.len() {
        return Some(format!("{} fields instead of {}", fields.len(), wanted.len()));
    }
    wanted.iter().zip(fields).find_map(|(want, have)| {
        let is_equal = want[0] == have.1 && want[1] == have.2 && want[2] == have.0;
        (!is_equal).then(|| format!("{have:?} is not {want}"))
    })
}

#[test]
fn layouts_equal_the_protocol_sheet() {
    let Some(sheet) = sheet() else { return };
    for (direction, rows) in [("in", inbound()), ("out", outbound())] {
        for (code, len, rule, fields, fixed_len) in rows {
            // The sheet has one table for Cancel Pending and Cancel Reject.
            let code = if direction == "out" && code == b'I' {
                b'P'
            } else if direction == "out" && code == b'K' {
                b'G'
            } else {
                code
            };
            let code = if direction == "in" && code == b'E' { b'D' } else { code };
            let layout = &sheet[format!("ouch50.{direction}.{}", char::from(code))];
            let mut fields = fields.to_vec();
            if rule != AppendageRule::Never {
                fields.push(("appendage_length", fixed_len, 2));
            }
            assert_eq!(difference(layout, &fields, len), None, "{direction} {}", char::from(code));
            // Negative control: a field moved by one byte is seen.
            if let Some(last) = fields.last_mut() {
                last.1 += 1;
            }
            assert!(difference(layout, &fields, len).is_some());
        }
    }
    let count = sheet.as_object().unwrap().keys().filter(|key| key.starts_with("ouch50.")).count();
    assert_eq!(count, 23, "another table appeared in the sheet");
}

#[test]
fn the_type_tables_are_whole() {
    let types: Vec<u8> = inbound().iter().map(|row| row.0).collect();
    assert_eq!((types.as_slice(), types.len()), (Inbound::TYPES, 8));
    let types: Vec<u8> = outbound().iter().map(|row| row.0).collect();
    assert_eq!((types.as_slice(), types.len()), (Outbound::TYPES, 17));
    assert_eq!((Inbound::title(b'C'), Outbound::title(b'C')), (Some("Mass Cancel"), Some("Order Canceled")));
    assert_eq!(Outbound::title(b'?'), None);
}

/// What the rule of a message says about each length, in full.
fn check_lengths(parse: fn(&[u8]) -> Result<bool, ParseError>, row: (u8, usize, AppendageRule, Fields, usize)) {
    let (code, len, rule, _, fixed_len) = row;
    let mut bytes = vec![b' '; fixed_len + 40];
    bytes[0] = code;
    bytes[fixed_len..].fill(0);
    for end in 0..bytes.len() {
        let parsed = parse(&bytes[..end]);
        let is_legal = match rule {
            AppendageRule::Never => end == fixed_len,
            AppendageRule::Required => end == fixed_len + 2,
            AppendageRule::Optional | AppendageRule::Conditional | AppendageRule::Lenient => {
                end == fixed_len || end == fixed_len + 2
            }
        };
        assert_eq!(parsed.is_ok(), is_legal, "`{}` of {end} bytes", char::from(code));
        if let Err(error) = parsed {
            assert!(error.offset <= end && error.message_type == if end == 0 { 0 } else { code }, "{error}");
        }
    }
    assert_eq!(len, if rule == AppendageRule::Never { fixed_len } else { fixed_len + 2 });
}

#[test]
fn every_message_is_refused_at_every_byte_but_its_lengths() {
    for row in inbound() {
        check_lengths(|bytes| Inbound::parse(bytes).map(|_| true), row);
    }
    for row in outbound() {
        check_lengths(|bytes| Outbound::parse(bytes).map(|_| true), row);
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The TCP payload of a capture with one packet: Ethernet, perhaps with a VLAN tag, IPv4, TCP.
fn tcp_payload(file: &[u8]) -> &[u8] {
    let frame = &file[24 + 16..];
    let ip = if frame[12..14] == [0x81, 0x00] { &frame[18..] } else { &frame[14..] };
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let tcp = &ip[usize::from(ip[0] & 15) * 4..total_len];
    &tcp[usize::from(tcp[12] >> 4) * 4..]
}

#[test]
fn real_packets_read_as_their_sheet_says_and_write_back() {
    let Some(folder) = data("pcap/nasdaq_ouch50") else { return };
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let payload = tcp_payload(&file);
        let mut decoder = FrameDecoder::new(1_000);
        let mut input = payload;
        let packet = Packet::parse(decoder.next(&mut input).unwrap().unwrap()).unwrap();
        assert!(input.is_empty(), "{}", path.display());
        let mut buffer = [0; MESSAGE_LEN_MAX];
        match packet {
            Packet::Unsequenced(bytes) => {
                let message = Inbound::parse(bytes).unwrap();
                assert_eq!((message.check(), message.write(&mut buffer)), (Ok(()), Ok(bytes)));
            }
            Packet::Sequenced(bytes) => {
                let message = Outbound::parse(bytes).unwrap();
                assert_eq!((message.check(), message.write(&mut buffer)), (Ok(()), Ok(bytes)));
            }
            other => assert!(matches!(other, Packet::ClientHeartbeat | Packet::ServerHeartbeat), "{other:?}"),
        }
        seen.push((packet.packet_type().code(), packet.payload().first().copied()));
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        [(b'H', None), (b'R', None), (b'S', Some(b'A')), (b'S', Some(b'C')), (b'U', Some(b'O')), (b'U', Some(b'X'))]
    );
}

#[test]
fn the_real_enter_order_is_built_byte_for_byte() {
    let real =
        hex("4F 00000071 54 000000E1 43564C5420202020 0000000000099DB8 30 59 41 4E 4E 4838465542384956202020202020 \
         0006 05 02 4C494D45");
    let order = EnterOrder {
        user_ref_num: 0x71.into(),
        side: b'T',
        quantity: 225.into(),
        symbol: Symbol::new("CVLT").unwrap(),
        price: OuchPrice::new(630_200),
        time_in_force: b'0',
        display: b'Y',
        capacity: b'A',
        iso_eligibility: b'N',
        cross_type: b'N',
        clordid: Text::new("H8FUB8IV").unwrap(),
        ..EnterOrder::blank()
    };
    let mut buffer = [0; MESSAGE_LEN_MAX];
    let firm = OptionValue::Firm(Text::new("LIME").unwrap());
    let built = MessageBuilder::new(&mut buffer, &order).unwrap().option(firm).unwrap().finish();
    assert_eq!(built, real);
    let Inbound::EnterOrder(view, options) = Inbound::parse(&real).unwrap() else { unreachable!("it is an O") };
    assert_eq!(
        (*view, options.firm(), view.price.price().unwrap().to_string()),
        (order, Text::new("LIME"), "63.02".to_owned())
    );
}

#[test]
fn the_real_accepted_and_canceled_read() {
    let real = hex(
        "41 0000289B4D64AF87 00753A8D 42 00000028 4144424520202020 000000000048E748 35 59 000000000F56B4F5 41 4E 4E 4C \
         3736383237303120202020202020 0009 05 02 4D4C524F 02 12 30",
    );
    let Outbound::OrderAccepted(accepted, options) = Outbound::parse(&real).unwrap() else {
        unreachable!("it is an A")
    };
    assert_eq!((accepted.quantity.get(), accepted.price.get(), accepted.order_state), (40, 4_777_800, b'L'));
    assert_eq!((options.firm(), options.bbo_weight(), options.min_qty()), (Text::new("MLRO"), Some(b'0'), None));
    let real = hex("43 0000289B4D681317 00753A8D 00000028 55");
    let Outbound::OrderCanceled(canceled, options) = Outbound::parse(&real).unwrap() else { unreachable!("it is a C") };
    assert_eq!((canceled.quantity.get(), CancelReason(canceled.reason)), (40, CancelReason::USER));
    assert!(!options.is_present());
}

fn legal_order() -> EnterOrder {
    EnterOrder {
        user_ref_num: 1.into(),
        side: b'B',
        quantity: 100.into(),
        symbol: Symbol::new("AAPL").unwrap(),
        price: OuchPrice::new(1_000_000),
        time_in_force: b'0',
        display: b'Y',
        capacity: b'P',
        iso_eligibility: b'N',
        cross_type: b'N',
        ..EnterOrder::blank()
    }
}

/// What the check says about an order with options.
fn verdict(order: &EnterOrder, options: &[OptionValue]) -> Result<(), (usize, ParseErrorKind)> {
    let mut buffer = [0; MESSAGE_LEN_MAX];
    let builder = MessageBuilder::new(&mut buffer, order).unwrap();
    let built = options.iter().fold(builder, |builder, option| builder.option(*option).unwrap()).finish();
    Inbound::parse(built).unwrap().check().map_err(|error| (error.offset, error.kind))
}

#[test]
fn illegal_codes_values_and_options_say_where() {
    use ParseErrorKind as Kind;
    let legal = legal_order();
    assert_eq!(verdict(&legal, &[OptionValue::PostOnly(b'P'), OptionValue::MaxFloor(100)]), Ok(()));
    assert_eq!(verdict(&EnterOrder { side: b'X', ..legal }, &[]), Err((5, Kind::IllegalCode(b'X'))));
    assert_eq!(verdict(&EnterOrder { cross_type: 0, ..legal }, &[]), Err((30, Kind::IllegalCode(0))));
    for (quantity, is_legal) in [(0, false), (1, true), (999_999, true), (1_000_000, false)] {
        let order = EnterOrder { quantity: quantity.into(), ..legal };
        assert_eq!(verdict(&order, &[]), if is_legal { Ok(()) } else { Err((6, Kind::Quantity(quantity))) });
    }
    for (price, is_legal) in [(PRICE_RAW_MAX, true), (PRICE_RAW_MAX + 1, false), (0x7FFF_FFFF, true), (u64::MAX, false)]
    {
        let order = EnterOrder { price: OuchPrice::new(price), ..legal };
        assert_eq!(verdict(&order, &[]), if is_legal { Ok(()) } else { Err((18, Kind::Price(price))) });
    }
    let order = EnterOrder { clordid: Text(*b"ab-           "), ..legal };
    assert_eq!(verdict(&order, &[]), Err((33, Kind::IllegalCharacter(b'-'))));
    let until = EnterOrder { time_in_force: b'6', ..legal };
    assert_eq!(verdict(&until, &[]), Err((45, Kind::OptionMissing(15))));
    assert_eq!(verdict(&until, &[OptionValue::ExpireTime(86_399)]), Ok(()));
    assert_eq!(verdict(&until, &[OptionValue::ExpireTime(86_400)]), Err((47, Kind::Value(86_400))));
    let twice = [OptionValue::PostOnly(b'P'), OptionValue::PostOnly(b'N')];
    assert_eq!(verdict(&legal, &twice), Err((50, Kind::OptionDuplicate(12))));
    assert_eq!(verdict(&legal, &[OptionValue::Side(b'B')]), Err((47, Kind::OptionNotAllowed(27))));
}

#[test]
fn an_option_of_another_length_is_named_and_read_as_absent() {
    let mut bytes = zerocopy::IntoBytes::as_bytes(&legal_order()).to_vec();
    bytes.extend_from_slice(&[0, 4, 3, 12, b'P', b'P']);
    let message = Inbound::parse(&bytes).unwrap();
    let error = message.check().unwrap_err();
    assert_eq!((error.offset, error.kind), (47, ParseErrorKind::OptionLength { tag: 12, expected: 1, actual: 2 }));
    assert_eq!(message.parts().1.post_only(), None);
    assert_eq!(error.to_string(), "OUCH message `O` is malformed at byte 47: option 12 has 2 bytes instead of 1");
}

#[test]
fn the_builder_knows_which_messages_have_an_appendage() {
    let mut buffer = [0; MESSAGE_LEN_MAX];
    let channel = OptionValue::UserRefIdx(5);
    let event = SystemEvent { event_code: b'S', ..SystemEvent::blank() };
    let builder = MessageBuilder::new(&mut buffer, &event).unwrap();
    assert_eq!(builder.option(channel).unwrap_err(), BuildError::NoAppendage(b'S'));
    let len = |buffer: &mut [u8], options: &[OptionValue]| {
        let builder = MessageBuilder::new(buffer, &OrderCanceled::blank()).unwrap();
        options.iter().fold(builder, |builder, option| builder.option(*option).unwrap()).finish().len()
    };
    assert_eq!((len(&mut buffer, &[]), len(&mut buffer, &[channel])), (18, 23));
    assert_eq!(MessageBuilder::new(&mut buffer, &OrderExecuted::blank()).unwrap().finish().len(), 36);
    assert!(MessageBuilder::new(&mut [0; 46], &legal_order()).is_err(), "no room for the length of the appendage");
    let all = OptionTag::ALL.iter().map(|tag| OptionValue::read(*tag, &vec![0; tag.value_len()]).unwrap());
    let builder = MessageBuilder::new(&mut buffer, &OrderReplaced::blank()).unwrap();
    let message = all.fold(builder, |builder, option| builder.option(option).unwrap()).finish();
    assert!(Outbound::parse(message).is_ok(), "every option once fits {MESSAGE_LEN_MAX} bytes");
}

fn option_value() -> impl Strategy<Value = OptionValue> {
    (prop::sample::select(OptionTag::ALL.to_vec()), any::<[u8; 8]>())
        .prop_map(|(tag, bytes)| OptionValue::read(tag, &bytes[..tag.value_len()]).unwrap())
}

proptest! {
    #[test]
    fn options_round_trip_in_order(order in any::<[u8; 45]>(), options in prop::collection::vec(option_value(), 0..12)) {
        let mut fixed = order;
        fixed[0] = b'O';
        let order: EnterOrder = zerocopy::transmute!(fixed);
        let mut buffer = [0; MESSAGE_LEN_MAX];
        let builder = MessageBuilder::new(&mut buffer, &order).unwrap();
        let built = options.iter().fold(builder, |builder, option| builder.option(*option).unwrap()).finish().to_vec();
        let message = Inbound::parse(&built).unwrap();
        let Inbound::EnterOrder(view, appendage) = message else { unreachable!("it is an O") };
        prop_assert_eq!(*view, order);
        let read: Vec<OptionValue> = appendage
            .elements()
            .map(|element| OptionValue::read(OptionTag::from_code(element.tag).unwrap(), element.value).unwrap())
            .collect();
        prop_assert_eq!(read, options);
        let mut again = [0; MESSAGE_LEN_MAX];
        prop_assert_eq!(message.write(&mut again), Ok(&built[..]));
        for end in 0..built.len() {
            prop_assert!(Inbound::parse(&built[..end]).is_err(), "cut at {}", end);
        }
    }
}
