//! OUCH 4.2 held against the protocol sheet's machine-readable tables, vectors worked out by hand from it, and itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use peregrine_gateway::ouch42::*;
use peregrine_types::Symbol;
use proptest::prelude::*;
use zerocopy::IntoBytes;

type Row = (u8, usize, &'static [(&'static str, usize, usize)]);

macro_rules! rows {
    ($($name:ident),* $(,)?) => { vec![$(($name::TYPE, $name::LEN, $name::FIELDS)),*] };
}

fn inbound() -> Vec<Row> {
    rows![EnterOrder, ReplaceOrder, CancelOrder, ModifyOrder, TradeNow]
}

fn outbound() -> Vec<Row> {
    rows![
        SystemEvent,
        Accepted,
        Replaced,
        Canceled,
        AiqCanceledLater,
        AiqCanceled,
        Executed,
        BrokenTrade,
        ExecutedWithReference,
        TradeCorrection,
        Rejected,
        CancelPending,
        CancelReject,
        PriorityUpdate,
        Modified,
        TradeNowAnswer,
    ]
}

fn sheet() -> Option<serde_json::Value> {
    let root = std::env::var("PEREGRINE_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let path = PathBuf::from(root).join("../protocols/tools/layouts.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) => {
            eprintln!("skipped: no real data at {}", path.display());
            None
        }
    }
}

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
        for (code, len, fields) in rows {
            if len == 38 {
                continue; // The sheet tells the byte of the later revision in words.
            }
            // The sheet has one table for Cancel Pending and Cancel Reject.
            let name = char::from(if code == b'I' { b'P' } else { code });
            let layout = &sheet[format!("ouch42.{direction}.{name}")];
            let mut fields = fields.to_vec();
            assert_eq!(difference(layout, &fields, len), None, "{direction} {name}");
            if let Some(last) = fields.last_mut() {
                last.1 += 1;
            }
            assert!(difference(layout, &fields, len).is_some(), "a field moved by one byte is seen");
        }
    }
    let count = sheet.as_object().unwrap().keys().filter(|key| key.starts_with("ouch42.")).count();
    assert_eq!(count, 19, "another table appeared in the sheet");
}

#[test]
fn every_message_is_refused_at_every_length_but_its_own() {
    type Parse = fn(&[u8]) -> Result<bool, ParseError>;
    let directions: [(Parse, Vec<Row>); 2] = [
        (|bytes| Inbound::parse(bytes).map(|_| true), inbound()),
        (|bytes| Outbound::parse(bytes).map(|_| true), outbound()),
    ];
    for (parse, rows) in directions {
        for (code, ..) in &rows {
            let lens: Vec<usize> = rows.iter().filter(|row| row.0 == *code).map(|row| row.1).collect();
            for len in 0..100 {
                let mut bytes = vec![b' '; len];
                if let Some(first) = bytes.first_mut() {
                    *first = *code;
                }
                let parsed = parse(&bytes);
                assert_eq!(parsed.is_ok(), lens.contains(&len), "`{}` of {len} bytes", char::from(*code));
            }
        }
    }
    assert_eq!(Inbound::parse(b"?").unwrap(), Inbound::Unknown(b"?"));
    assert_eq!((Outbound::title(b'D'), Inbound::title(b'?')), (Some("AIQ Canceled"), None));
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn order() -> EnterOrder {
    EnterOrder {
        token: Token::new("AB12").unwrap(),
        side: b'B',
        shares: 500.into(),
        stock: Symbol::new("AAPL").unwrap(),
        price: OuchPrice::new(1_812_500),
        tif: 99_998.into(),
        display: b'Y',
        capacity: b'P',
        iso: b'N',
        cross_type: b'N',
        customer_type: b'N',
        ..EnterOrder::blank()
    }
}

#[test]
fn vectors_by_hand_are_written_and_read_byte_for_byte() {
    // O, "AB12", B, 500, AAPL, 181.25, 99998, no firm, Y, P, N, 0, N, N.
    let entered =
        hex("4F 41423132 20202020202020202020 42 000001F4 4141504C20202020 001BA814 0001869E 20202020 59 50 4E \
                       00000000 4E 4E");
    assert_eq!(order().as_bytes(), entered);
    assert_eq!(Inbound::parse(&entered), Ok(Inbound::EnterOrder(&order())));
    // E at 10:00 of AB12: 200 at 181.25, taken, match 7.
    let executed = hex("45 000020BD E7364000 41423132 20202020202020202020 000000C8 001BA814 52 0000000000000007");
    let Outbound::Executed(m) = Outbound::parse(&executed).unwrap() else { panic!("it is an E") };
    assert_eq!((m.timestamp.get(), m.executed_shares.get(), m.match_number.get()), (36_000_000_000_000, 200, 7));
    assert_eq!((m.execution_price.price().to_string().as_str(), m.liquidity_flag), ("181.25", b'R'));
    // D in both lengths.
    let short = hex("44 0000000000000001 41423132 20202020202020202020 00000064 51 00000064 001BA814 41");
    let Outbound::AiqCanceled(m) = Outbound::parse(&short).unwrap() else { panic!("it is a D of 37 bytes") };
    assert_eq!((m.decrement_shares.get(), m.reason), (100, b'Q'));
    let long = [&short[..], b"N"].concat();
    let Outbound::AiqCanceledLater(m) = Outbound::parse(&long).unwrap() else { panic!("it is a D of 38 bytes") };
    assert_eq!((m.aiq_strategy, Outbound::parse(&long).unwrap().token()), (b'N', Token::new("AB12")));
}

#[test]
fn illegal_codes_and_values_say_where() {
    use ParseErrorKind as Kind;
    let verdict = |order: EnterOrder| Inbound::EnterOrder(&order).check().map_err(|error| (error.offset, error.kind));
    assert_eq!(verdict(order()), Ok(()));
    assert_eq!(verdict(EnterOrder { side: b'X', ..order() }), Err((15, Kind::IllegalCode(b'X'))));
    assert_eq!(verdict(EnterOrder { display: b'?', ..order() }), Err((40, Kind::IllegalCode(b'?'))));
    assert_eq!(verdict(EnterOrder { cross_type: 0, ..order() }), Err((47, Kind::IllegalCode(0))));
    assert_eq!(
        verdict(EnterOrder { token: Text(*b"AB-2          "), ..order() }),
        Err((3, Kind::IllegalCharacter(b'-')))
    );
    for (shares, is_legal) in [(0, false), (1, true), (999_999, true), (1_000_000, false)] {
        let wanted = if is_legal { Ok(()) } else { Err((16, Kind::Quantity(shares))) };
        assert_eq!(verdict(EnterOrder { shares: shares.into(), ..order() }), wanted);
    }
    for (price, is_legal) in [(PRICE_RAW_MAX, true), (PRICE_RAW_MAX + 1, false), (0x7FFF_FFFF, true), (u32::MAX, false)]
    {
        let wanted = if is_legal { Ok(()) } else { Err((28, Kind::Price(price.into()))) };
        assert_eq!(verdict(EnterOrder { price: OuchPrice::new(price), ..order() }), wanted);
    }
}

proptest! {
    #[test]
    fn what_is_read_is_written_back(code in prop::sample::select([Inbound::TYPES, Outbound::TYPES].concat()),
                                    fill in prop::collection::vec(any::<u8>(), 0..90)) {
        let bytes = [&[code], &fill[..]].concat();
        let mut buffer = [0; 128];
        if let Ok(message) = Inbound::parse(&bytes) {
            prop_assert_eq!(message.write(&mut buffer), Ok(&bytes[..]));
        }
        if let Ok(message) = Outbound::parse(&bytes) {
            prop_assert_eq!(message.write(&mut buffer), Ok(&bytes[..]));
        }
        for row in inbound().into_iter().chain(outbound()) {
            let mut exact = vec![b'1'; row.1];
            exact[0] = row.0;
            exact.iter_mut().skip(1).zip(&fill).for_each(|(to, from)| *to = *from);
            let is_in = Inbound::parse(&exact).is_ok_and(|m| m.as_bytes() == exact);
            prop_assert!(is_in || Outbound::parse(&exact).is_ok_and(|m| m.as_bytes() == exact));
        }
    }
}
