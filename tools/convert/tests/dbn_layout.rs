//! Every record that is read or written, held against the protocol sheet's machine-readable tables: the offset and the length
//! of each field that is used, and the bytes that a session becomes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod common;

use core::mem::{offset_of, size_of};

use common::sessions;
use dbn::{
    BidAskPair, ImbalanceMsg, InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, StatMsg, StatusMsg, TradeMsg,
    v1, v2,
};
use peregrine_convert::DbnSchema;
use serde_json::Value;

/// The sheet's tables; `None` (and one line that says so) where they are not installed.
fn sheet() -> Option<Value> {
    let root = std::env::var("PEREGRINE_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let path = std::path::Path::new(&root).join("../protocols/tools/layouts.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no layouts at {}", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// Offset and length of a field.
fn place(sheet: &Value, layout: &str, field: &str) -> (usize, usize) {
    let fields = sheet[layout]["fields"].as_array().unwrap();
    let row = fields.iter().find(|row| row[2] == *field).unwrap_or_else(|| unreachable!("{layout} has no {field}"));
    let number = |at: usize| usize::try_from(row[at].as_u64().unwrap()).unwrap();
    (number(0), number(1))
}

fn len_of<R, F>(_: fn(&R) -> &F) -> usize {
    size_of::<F>()
}

/// One record: its layout in the sheet, its size, and name, offset and length of each field that is used.
type Table = (&'static str, usize, Vec<(&'static str, usize, usize)>);

macro_rules! table {
    ($layout:literal, $record:ty: $($field:ident)+) => {
        ($layout, size_of::<$record>(), vec![
            $((stringify!($field), offset_of!($record, $field), len_of(|record: &$record| &record.$field)),)+
        ])
    };
}

fn tables() -> Vec<Table> {
    vec![
        table!("dbn.header", RecordHeader: rtype publisher_id instrument_id ts_event),
        table!("dbn.mbo", MboMsg: hd order_id price size flags channel_id action side ts_recv ts_in_delta sequence),
        table!("dbn.level", BidAskPair: bid_px ask_px bid_sz ask_sz bid_ct ask_ct),
        table!("dbn.trade", TradeMsg: hd price size action side flags depth ts_recv ts_in_delta sequence),
        table!("dbn.mbp1", Mbp1Msg: hd price size action side flags depth ts_recv ts_in_delta sequence levels),
        table!("dbn.mbp10", Mbp10Msg: hd price size action side flags depth ts_recv ts_in_delta sequence levels),
        table!("dbn.status", StatusMsg: hd ts_recv action reason trading_event is_trading is_quoting
            is_short_sell_restricted),
        table!("dbn.imbalance", ImbalanceMsg: hd ts_recv ref_price auction_time cont_book_clr_price
            auct_interest_clr_price ssr_filling_price ind_match_price upper_collar lower_collar paired_qty
            total_imbalance_qty market_imbalance_qty unpaired_qty auction_type side significant_imbalance),
        table!("dbn.stat_v3", StatMsg: hd ts_recv ts_ref price quantity sequence ts_in_delta stat_type channel_id
            update_action stat_flags),
        table!("dbn.stat_v1", v1::StatMsg: hd stat_type),
        table!("dbn.stat_v1", v2::StatMsg: hd stat_type),
        table!("dbn.def_v3", InstrumentDefMsg: hd ts_recv min_price_increment raw_instrument_id min_lot_size_round_lot
            raw_symbol exchange instrument_class security_update_action),
        table!("dbn.def_v1", v1::InstrumentDefMsg: hd ts_recv min_price_increment min_lot_size_round_lot raw_symbol),
    ]
}

#[test]
fn layouts_equal_the_protocol_sheet() {
    let Some(sheet) = sheet() else { return };
    for (layout, size, fields) in tables() {
        assert_eq!(sheet[layout]["size"], size, "{layout}");
        for (field, offset, len) in fields {
            assert_eq!(place(&sheet, layout, field), (offset, len), "{layout} {field}");
        }
    }
    // The second version's definition has a layout of its own, of which the sheet has the size alone.
    assert_eq!(size_of::<v2::InstrumentDefMsg>(), 400);
}

/// The records of a file, by the sheet: metadata and lengths, and no decoder.
fn records(sheet: &Value, bytes: &[u8]) -> Vec<Vec<u8>> {
    let number = |layout, field, bytes: &[u8]| {
        let (offset, len) = place(sheet, layout, field);
        bytes[offset..offset + len].iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    assert_eq!(bytes[..4], *b"DBN\x03");
    let mut at = 8 + usize::try_from(number("dbn.prelude", "metadata_length", bytes)).unwrap();
    assert!(at.is_multiple_of(8), "records are aligned in version 3");
    let mut records = Vec::new();
    while at < bytes.len() {
        let len = usize::try_from(number("dbn.header", "length", &bytes[at..])).unwrap() * 4;
        records.push(bytes[at..at + len].to_vec());
        at += len;
    }
    records
}

#[test]
fn a_sessions_records_have_their_values_where_the_sheet_says() {
    let Some(sheet) = sheet() else { return };
    let folder = tempfile::tempdir().unwrap();
    let plan = sessions::of(folder.path(), &sessions::every_message());
    let number = |layout: &str, field: &str, record: &[u8]| {
        let (offset, len) = place(&sheet, layout, field);
        record[offset..offset + len].iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let price = |tenths: u64| tenths * 100_000_000;
    let of = |schema| records(&sheet, &sessions::bytes(&plan, schema));
    let trade = &of(DbnSchema::Trades)[1];
    let fields = ["price", "size", "action", "side", "flags", "depth"].map(|field| number("dbn.trade", field, trade));
    assert_eq!(fields, [price(101), 30, u64::from(b'T'), u64::from(b'B'), 0x80, 0]);
    let best = of(DbnSchema::Tbbo);
    let (at, _) = place(&sheet, "dbn.mbp1", "levels");
    let level = |record: &[u8], from: usize| {
        ["bid_px", "bid_sz", "bid_ct", "ask_px", "ask_sz", "ask_ct"]
            .map(|field| number("dbn.level", field, &record[from..]))
    };
    assert_eq!(level(&best[1], at), [price(100), 300, 2, price(101), 100, 1], "the book that the trade met");
    let ten = of(DbnSchema::Mbp10);
    let (at, _) = place(&sheet, "dbn.mbp10", "levels");
    let last = ten.last().unwrap();
    assert_eq!(level(last, at), [price(100), 300, 2, price(101), 70, 1]);
    let undefined = u64::from_le_bytes(i64::MAX.to_le_bytes());
    assert_eq!(level(last, at + 32), [price(99), 50, 1, undefined, 0, 0]);
    let status = of(DbnSchema::Status);
    let field = |field, at: usize| number("dbn.status", field, &status[at]);
    assert_eq!([field("action", 1), field("reason", 1)], [8, 50], "a limit-up-limit-down pause, as a halt");
    assert_eq!([field("is_trading", 1), field("is_quoting", 1)], [u64::from(b'N'); 2]);
    let imbalance = &of(DbnSchema::Imbalance)[0];
    let prices = ["ref_price", "cont_book_clr_price", "auct_interest_clr_price", "upper_collar"];
    let prices = prices.map(|field| number("dbn.imbalance", field, imbalance));
    assert_eq!(prices, [price(100), price(102), undefined, undefined]);
    let definition = &of(DbnSchema::Definition)[0];
    let (at, len) = place(&sheet, "dbn.def_v3", "raw_symbol");
    assert!(definition[at..at + len].starts_with(b"ACME\0"));
    assert_eq!(number("dbn.def_v3", "min_lot_size_round_lot", definition), 100);
    assert_eq!(number("dbn.def_v3", "raw_instrument_id", definition), 7, "the locate");
    let opening = &of(DbnSchema::Statistics)[0];
    let fields = ["stat_type", "price", "quantity", "update_action"].map(|field| number("dbn.stat_v3", field, opening));
    assert_eq!(fields, [1, price(100), 500, 1]);
}
