//! Layouts and bytes of ITCH 5.0 held against the protocol sheet's machine-readable tables and its real messages.

use peregrine_types::Symbol;
use peregrine_wire::itch50::*;
use zerocopy::IntoBytes;

type Fields = &'static [(&'static str, usize, usize)];

fn tables() -> Vec<(u8, usize, Fields)> {
    macro_rules! table {
        ($($name:ident),*) => { vec![$(($name::TYPE, $name::LEN, $name::FIELDS)),*] };
    }
    table![
        SystemEvent,
        StockDirectory,
        StockTradingAction,
        RegShoRestriction,
        MarketParticipantPosition,
        MwcbDeclineLevels,
        MwcbStatus,
        IpoQuotingPeriodUpdate,
        LuldAuctionCollar,
        OperationalHalt,
        AddOrder,
        AddOrderMpid,
        OrderExecuted,
        OrderExecutedWithPrice,
        OrderCancel,
        OrderDelete,
        OrderReplace,
        TradeNonCross,
        CrossTrade,
        BrokenTrade,
        NetOrderImbalance,
        RetailPriceImprovement,
        DirectListingWithCapitalRaise
    ]
}

#[test]
fn layouts_equal_the_protocol_sheet() {
    let data = std::env::var("PEREGRINE_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let path = std::path::Path::new(&data).join("../protocols/tools/layouts.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no real data at {}", path.display());
        return;
    };
    let layouts: serde_json::Value = serde_json::from_str(&text).unwrap();
    let header = [("message_type", 0, 1), ("stock_locate", 1, 2), ("tracking_number", 3, 2), ("timestamp", 5, 6)];
    assert_eq!(size_of::<Header>(), HEADER_LEN);
    for (code, len, fields) in tables() {
        let layout = &layouts[format!("itch50.{}", char::from(code))];
        assert_eq!(layout["size"], len, "{}", char::from(code));
        let wanted = layout["fields"].as_array().unwrap();
        assert_eq!(wanted.len(), header.len() + fields.len(), "{}", char::from(code));
        for (field, want) in header.iter().chain(fields).zip(wanted) {
            let (offset, field_len, name) = (&want[0], &want[1], &want[2]);
            assert_eq!(*name, field.0);
            assert_eq!(*offset, field.1, "{} {name}", char::from(code));
            assert_eq!(*field_len, field.2, "{} {name}", char::from(code));
        }
    }
}

#[test]
fn the_type_table_is_whole_and_consistent() {
    assert_eq!(MessageType::COUNT, 23);
    for ((code, len, _), message_type) in tables().into_iter().zip(MessageType::ALL) {
        assert_eq!((message_type.code(), message_type.message_len()), (code, len));
        assert_eq!(MessageType::from_code(code), Some(*message_type));
        assert_eq!(MessageType::ALL[message_type.index()], *message_type);
        let mut bytes = vec![0; len];
        bytes[0] = code;
        let message = parse(&bytes).unwrap();
        assert_eq!((message.message_type(), message.as_bytes()), (Some(*message_type), &bytes[..]));
        assert_eq!(message.header().unwrap().message_type, code);
    }
    assert_eq!((0..=255).filter_map(MessageType::from_code).count(), 23);
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// Real messages of AAPL, 2020-01-30, locate 13.
const VECTORS: [&str; 11] = [
    "52000d00000a37d4d0d3094141504c20202020514e000000644e435a20504e4e314e000000004e",
    "48000d00000a37eaed11924141504c20202020542020202020",
    "59000d00000a37eaed14b44141504c2020202030",
    "4c000d00000a3a6780f14f4753434f4141504c20202020594e41",
    "41000d00000d18eaab3613000000000000dbf1530000012c4141504c20202020003131c0",
    "46000d00001948f95c8dc6000000000037bde942000000644141504c20202020000000644e495445",
    "45000d00020d1f03f1cb0a000000000001a4c10000001e00000000000045fc",
    "58000d00000fa122ca150900000000000baa8900000032",
    "44000d00000d1c13b3a003000000000001a34d",
    "55000d00001a1cb763e0a100000000003e0ca100000000003e0ca9000000640030daa4",
    "50000d00020d1b863d6d45000000000000000042000000644141504c20202020003102e000000000000045cf",
];

#[test]
#[expect(clippy::wildcard_enum_match_arm, reason = "a type without a vector is a mistake in the list above")]
fn real_messages_read_as_their_sheet_says() {
    let aapl = Symbol::new("AAPL").unwrap();
    for hex in VECTORS {
        let raw = bytes(hex);
        let message = parse(&raw).unwrap();
        assert_eq!(message.as_bytes(), raw);
        assert_eq!(message.header().unwrap().stock_locate.get(), 13);
        match message {
            Message::StockDirectory(m) => {
                assert_eq!((m.stock, m.round_lot_size.get(), m.timestamp.get()), (aapl, 100, 0x0A37_D4D0_D309));
                assert_eq!((m.market_category, m.luld_tier, m.issue_subtype), (b'Q', b'1', *b"Z "));
            }
            Message::StockTradingAction(m) => assert_eq!((m.stock, m.trading_state, m.reason), (aapl, b'T', *b"    ")),
            Message::RegShoRestriction(m) => assert_eq!((m.stock, m.reg_sho_action), (aapl, b'0')),
            Message::MarketParticipantPosition(m) => {
                assert_eq!((m.stock, m.mpid, m.participant_state), (aapl, *b"GSCO", b'A'));
            }
            Message::AddOrder(m) => {
                assert_eq!((m.order_ref.get(), m.side, m.shares.get()), (56_305, b'S', 300));
                assert_eq!((m.stock, m.price.get()), (aapl, 3_224_000));
            }
            Message::AddOrderMpid(m) => {
                assert_eq!((m.side, m.shares.get(), m.price.get(), m.attribution), (b'B', 100, 100, *b"NITE"));
            }
            Message::OrderExecuted(m) => assert_eq!((m.executed_shares.get(), m.match_number.get()), (30, 17_916)),
            Message::OrderCancel(m) => assert_eq!(m.cancelled_shares.get(), 50),
            Message::OrderDelete(m) => assert_eq!(m.order_ref.get(), 0x1_A34D),
            Message::OrderReplace(m) => assert_eq!((m.shares.get(), m.price.get()), (100, 3_201_700)),
            Message::TradeNonCross(m) => {
                assert_eq!((m.side, m.shares.get(), m.price.get()), (b'B', 100, 3_212_000));
            }
            other => panic!("{other:?} is not among the vectors"),
        }
    }
}

#[test]
fn what_is_built_reads_back() {
    let built = AddOrder {
        order_ref: 56_305.into(),
        side: b'S',
        shares: 300.into(),
        stock: Symbol::new("AAPL").unwrap(),
        price: Price4::new(3_224_000),
        ..AddOrder::new(13, 0x0D18_EAAB_3613)
    };
    assert_eq!(built.as_bytes(), bytes(VECTORS[4]));
    assert_eq!(parse(built.as_bytes()), Ok(Message::AddOrder(&built)));
}

#[test]
fn wrong_lengths_and_unknown_types_are_told_apart() {
    let raw = bytes(VECTORS[4]);
    let short = parse(&raw[..35]).unwrap_err();
    assert_eq!((short.message_type, short.offset), (b'A', 35));
    assert_eq!(short.kind, ParseErrorKind::WrongLength { expected: 36, actual: 35 });
    assert_eq!(short.to_string(), "message `A` is malformed at byte 35: 35 bytes long instead of 36");
    let long = parse(&[&raw[..], b"x"].concat()).unwrap_err();
    assert_eq!((long.offset, long.kind), (36, ParseErrorKind::WrongLength { expected: 36, actual: 37 }));
    assert_eq!(parse(&[]).unwrap_err().kind, ParseErrorKind::Empty);
    let unknown = parse(b"zebra").unwrap();
    assert_eq!((unknown, unknown.header()), (Message::Unknown(b"zebra"), None));
}
