//! Files of every schema but `mbo`, written by the `dbn` crate's own encoder in every version and read here; and what a session
//! says of its instruments, written here and read by the crate's decoder.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod common;

use common::sessions::{self, Messages};
use common::{Written, plan};
use dbn::decode::{DbnDecoder, DecodeRecord as _};
use dbn::encode::{DbnEncodable, DbnEncoder, DbnMetadataEncoder, DbnRecordEncoder, EncodeRecord as _};
use dbn::{
    BidAskPair, FlagSet, HasRType, ImbalanceMsg, InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, Metadata, OhlcvMsg,
    RecordHeader, SType, Schema, StatMsg, StatusMsg, TradeMsg, UNDEF_PRICE, VersionUpgradePolicy, WithTsOut, rtype, v1,
    v2,
};
use peregrine_book::MarketBooks as _;
use peregrine_convert::{ConvertError, DbnSchema, Format};
use peregrine_types::{EventKind, MarketEvent, Side, SymbolId, TradingState};

const LAST: u8 = 0x80;
const START: u64 = 1_703_520_000_000_000_000;
const WHOLE: i64 = 1_000_000_000;

fn time(at: u64) -> u64 {
    START + at * 1_000_000
}

/// The header of a record of instrument 7, `at` milliseconds after 11:00 in New York.
fn header<R: HasRType>(rtype: u8, at: u64) -> RecordHeader {
    RecordHeader::new::<R>(rtype, 1, 7, time(at) - 1_000)
}

/// Levels of bids and asks, price in whole units and quantity, best first.
fn pairs<const N: usize>(bids: &[(i64, u32)], asks: &[(i64, u32)]) -> [BidAskPair; N] {
    let mut pairs: [BidAskPair; N] = core::array::from_fn(|_| BidAskPair::default());
    for (pair, (price, size)) in pairs.iter_mut().zip(bids) {
        (pair.bid_px, pair.bid_sz, pair.bid_ct) = (price * WHOLE, *size, 1);
    }
    for (pair, (price, size)) in pairs.iter_mut().zip(asks) {
        (pair.ask_px, pair.ask_sz, pair.ask_ct) = (price * WHOLE, *size, 1);
    }
    pairs
}

type Side2<'a> = (&'a [(i64, u32)], &'a [(i64, u32)]);

fn mbp10(at: u64, flags: u8, (action, side): (u8, u8), (price, size): (i64, u32), (bids, asks): Side2<'_>) -> Mbp10Msg {
    Mbp10Msg {
        hd: header::<Mbp10Msg>(rtype::MBP_10, at),
        price: price.saturating_mul(WHOLE),
        size,
        action: action.cast_signed(),
        side: side.cast_signed(),
        flags: FlagSet::new(flags),
        ts_recv: time(at),
        levels: pairs(bids, asks),
        ..Mbp10Msg::default()
    }
}

fn mbp1(ten: &Mbp10Msg) -> Mbp1Msg {
    Mbp1Msg {
        hd: RecordHeader::new::<Mbp1Msg>(rtype::MBP_1, 1, ten.hd.instrument_id, ten.hd.ts_event),
        price: ten.price,
        size: ten.size,
        action: ten.action,
        side: ten.side,
        flags: ten.flags,
        ts_recv: ten.ts_recv,
        levels: [ten.levels[0].clone()],
        ..Mbp1Msg::default()
    }
}

fn trade(at: u64, (action, side): (u8, u8), (price, size): (i64, u32)) -> TradeMsg {
    TradeMsg {
        hd: header::<TradeMsg>(rtype::MBP_0, at),
        price: price.saturating_mul(WHOLE),
        size,
        action: action.cast_signed(),
        side: side.cast_signed(),
        flags: FlagSet::new(LAST),
        ts_recv: time(at),
        ..TradeMsg::default()
    }
}

fn status(at: u64, action: u16, reason: u16, claims: [u8; 3]) -> StatusMsg {
    let [is_trading, is_quoting, is_short_sell_restricted] = claims.map(u8::cast_signed);
    let hd = header::<StatusMsg>(rtype::STATUS, at);
    let ts_recv = time(at);
    StatusMsg { hd, ts_recv, action, reason, is_trading, is_quoting, is_short_sell_restricted, ..StatusMsg::default() }
}

fn imbalance(at: u64, side: u8) -> ImbalanceMsg {
    ImbalanceMsg {
        hd: header::<ImbalanceMsg>(rtype::IMBALANCE, at),
        ts_recv: time(at),
        ref_price: 10 * WHOLE,
        cont_book_clr_price: 11 * WHOLE,
        paired_qty: 400,
        total_imbalance_qty: 30,
        auction_type: b'C'.cast_signed(),
        side: side.cast_signed(),
        significant_imbalance: b'L'.cast_signed(),
        ..ImbalanceMsg::default()
    }
}

fn definition() -> InstrumentDefMsg {
    let mut record = InstrumentDefMsg {
        hd: header::<InstrumentDefMsg>(rtype::INSTRUMENT_DEF, 0),
        ts_recv: time(0),
        min_price_increment: 1_000,
        min_lot_size_round_lot: 100,
        ..InstrumentDefMsg::default()
    };
    for (place, letter) in record.raw_symbol.iter_mut().zip(b"ACME") {
        *place = letter.cast_signed();
    }
    record
}

fn statistic() -> StatMsg {
    StatMsg { hd: header::<StatMsg>(rtype::STATISTICS, 1), ts_recv: time(1), stat_type: 1, ..StatMsg::default() }
}

/// A file under way: metadata, then records of any kind.
struct File(Vec<u8>);

impl File {
    fn new(schema: Option<Schema>, version: u8) -> Self {
        Self::with_ts_out(schema, version, false)
    }

    fn with_ts_out(schema: Option<Schema>, version: u8, ts_out: bool) -> Self {
        let metadata = Metadata::builder()
            .version(version)
            .dataset("TEST".to_owned())
            .schema(schema)
            .start(START)
            .stype_in(Some(SType::RawSymbol))
            .stype_out(SType::InstrumentId)
            .ts_out(ts_out)
            .symbols(vec!["A".to_owned(); usize::from(version)])
            .build();
        let mut bytes = Vec::new();
        DbnMetadataEncoder::new(&mut bytes).encode(&metadata).unwrap();
        Self(bytes)
    }

    fn record<R: DbnEncodable>(mut self, record: &R) -> Self {
        DbnRecordEncoder::new(&mut self.0).encode_record(record).unwrap();
        self
    }

    fn records<R: DbnEncodable>(self, records: &[R]) -> Self {
        records.iter().fold(self, Self::record)
    }

    fn convert(&self) -> Result<Written, ConvertError> {
        convert(&self.0)
    }

    fn written(&self) -> Written {
        self.convert().unwrap()
    }
}

fn convert(bytes: &[u8]) -> Result<Written, ConvertError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.dbn");
    std::fs::write(&path, bytes).unwrap();
    Written::of(&plan(Format::Dbn, &path))
}

/// Best price and quantity of both sides, in whole units.
fn best(written: &Written) -> [Option<(i64, u64)>; 2] {
    let mut replay = written.replay();
    while replay.step().is_some() {}
    let top = replay.books.top(SymbolId(0));
    [top.bid, top.ask].map(|level| level.map(|level| (level.price.0 / WHOLE, level.qty.0)))
}

fn events(written: &Written, kind: EventKind) -> Vec<MarketEvent> {
    let (mut replay, mut events) = (written.replay(), Vec::new());
    while let Some((event, _)) = replay.step() {
        events.extend((event.kind == kind).then_some(event));
    }
    events
}

/// A flow of levels: every change and what follows from it.
fn flow() -> Vec<Mbp10Msg> {
    vec![
        mbp10(1, LAST, (b'A', b'B'), (10, 5), (&[(10, 5)], &[])),
        mbp10(2, LAST, (b'A', b'A'), (12, 7), (&[(10, 5)], &[(12, 7)])),
        mbp10(3, LAST, (b'A', b'B'), (9, 4), (&[(10, 5), (9, 4)], &[(12, 7)])),
        // A sale takes the best bid; its level shrinks.
        mbp10(4, 0, (b'T', b'A'), (10, 2), (&[(10, 5), (9, 4)], &[(12, 7)])),
        mbp10(4, LAST, (b'C', b'B'), (10, 2), (&[(10, 3), (9, 4)], &[(12, 7)])),
        // It grows; the other one goes; a trade that nobody says the side of.
        mbp10(5, LAST, (b'M', b'B'), (10, 8), (&[(10, 8), (9, 4)], &[(12, 7)])),
        mbp10(6, LAST, (b'C', b'B'), (9, 4), (&[(10, 8)], &[(12, 7)])),
        mbp10(7, LAST, (b'T', b'N'), (11, 3), (&[(10, 8)], &[(12, 7)])),
    ]
}

#[test]
fn ten_levels_of_every_version_become_orders_that_stand_for_them() {
    for version in 1..=3 {
        let file = File::new(Some(Schema::Mbp10), version).records(&flow());
        assert!(version == 3 || !(file.0.len() - 8 * 368).is_multiple_of(8), "versions 1 and 2 are not aligned");
        let written = file.written();
        assert!(written.summary.is_sound, "{:?}", written.summary.findings);
        assert_eq!(written.flow(), "AAAPXUDP", "version {version}");
        assert_eq!(best(&written), [Some((10, 8)), Some((12, 7))]);
        let trades = events(&written, EventKind::Trade);
        let trades: Vec<_> = trades.iter().map(|trade| (trade.side, trade.price.0 / WHOLE, trade.qty.0)).collect();
        assert_eq!(trades, [(Side::Buy, 10, 2), (Side::Buy, 11, 3)], "the resting side of a sale is buy");
        assert_eq!((written.summary.rows["mbp-10 trade"], written.summary.rows["mbp-10 change"]), (2, 6));
    }
}

#[test]
fn send_times_at_the_end_of_records_are_passed_over() {
    let records: Vec<WithTsOut<Mbp10Msg>> =
        flow().into_iter().map(|record| WithTsOut { rec: record, ts_out: 5 }).collect();
    let records = records.into_iter().map(|mut record| {
        record.rec.hd = RecordHeader::new::<WithTsOut<Mbp10Msg>>(rtype::MBP_10, 1, 7, record.rec.hd.ts_event);
        record
    });
    let file = File::with_ts_out(Some(Schema::Mbp10), 2, true).records(&records.collect::<Vec<_>>());
    assert_eq!(file.written().flow(), "AAAPXUDP");
}

#[test]
fn a_best_level_is_all_that_its_book_has() {
    for version in 1..=3 {
        let records: Vec<Mbp1Msg> = flow().iter().map(mbp1).collect();
        let written = File::new(Some(Schema::Mbp1), version).records(&records).written();
        assert_eq!(written.flow(), "AAPXUP", "version {version}");
        assert_eq!(best(&written), [Some((10, 8)), Some((12, 7))]);
        assert_eq!(written.found("book_at_trades"), 0);
    }
    // The best bid goes and the next one is shown in its place: one level, never two.
    let second = mbp10(8, LAST, (b'C', b'B'), (10, 8), (&[(9, 4)], &[(12, 7)]));
    let records: Vec<Mbp1Msg> = flow().iter().chain([&second]).map(mbp1).collect();
    let written = File::new(Some(Schema::Mbp1), 3).records(&records).written();
    assert_eq!(written.flow(), "AAPXUPDA");
    assert_eq!(best(&written)[0], Some((9, 4)));
}

#[test]
fn quotes_at_trades_give_the_book_that_each_trade_met_and_say_that_it_stands_still() {
    let records: Vec<Mbp1Msg> = flow().iter().map(mbp1).filter(|record| record.action == b'T'.cast_signed()).collect();
    let written = File::new(Some(Schema::Tbbo), 3).records(&records).written();
    assert!(written.summary.is_sound, "{:?}", written.summary.findings);
    assert_eq!((written.flow().as_str(), written.found("book_at_trades")), ("AAPUP", 1));
}

#[test]
fn trades_alone_are_prints() {
    for version in 1..=3 {
        let records =
            [trade(1, (b'T', b'B'), (10, 5)), trade(2, (b'T', b'N'), (11, 6)), trade(3, (b'A', b'B'), (1, 1))];
        let written = File::new(Some(Schema::Trades), version).records(&records).written();
        assert_eq!((written.flow().as_str(), written.found("malformed_row")), ("PP", 1));
        let sides: Vec<Side> = events(&written, EventKind::Trade).iter().map(|trade| trade.side).collect();
        assert_eq!(sides, [Side::Sell, Side::Buy], "a purchase meets a resting sale");
    }
    let records =
        [trade(1, (b'T', b'B'), (i64::MAX, 5)), trade(2, (b'T', b'B'), (5, 0)), trade(3, (b'T', b'B'), (5, u32::MAX))];
    let written = File::new(Some(Schema::Trades), 3).records(&records).written();
    assert_eq!((written.found("no_price"), written.found("no_quantity"), written.flow().as_str()), (1, 2, ""));
}

#[test]
fn clears_flags_and_odd_levels_are_told() {
    let undefined = u32::MAX;
    let records = [
        mbp10(1, LAST | 0x20, (b'A', b'B'), (10, 5), (&[(10, 5), (9, 5)], &[(12, 7)])),
        mbp10(2, LAST | 0x04, (b'A', b'B'), (9, 6), (&[(10, 5), (9, 6)], &[(12, 7)])),
        mbp10(3, LAST | 0x08, (b'A', b'B'), (9, 7), (&[(10, 5), (9, 7)], &[(12, 7)])),
        // An auction: the book is crossed. A level of no quantity and one of an undefined one are none.
        mbp10(4, LAST, (b'A', b'A'), (9, 1), (&[(10, 5), (9, 7)], &[(9, 1), (12, 7)])),
        mbp10(5, LAST, (b'C', b'A'), (9, 1), (&[(10, 5), (9, 0)], &[(12, undefined)])),
        mbp10(6, LAST, (b'?', b'A'), (9, 1), (&[], &[])),
        mbp10(7, LAST, (b'R', b'N'), (i64::MAX, 0), (&[], &[])),
        mbp10(8, LAST, (b'A', b'B'), (3, 1), (&[(3, 1)], &[])),
    ];
    let written = File::new(Some(Schema::Mbp10), 3).records(&records).written();
    let found =
        ["standing_order", "gap_flagged", "receive_time_unreliable", "crossed_shown", "no_quantity", "malformed_row"];
    assert_eq!(found.map(|code| written.found(code)), [1, 1, 1, 1, 2, 1]);
    assert_eq!(written.flow(), "AAAUUADDDDA");
    assert_eq!(best(&written), [Some((3, 1)), None]);
}

#[test]
fn states_and_imbalances_are_told_in_every_version() {
    for version in 1..=3 {
        let file = File::new(Some(Schema::Status), version).records(&[
            status(1, 3, 0, *b"NY~"),
            status(2, 7, 0, *b"YY~"),
            status(3, 14, 0, *b"YYY"),
            status(4, 8, 30, *b"NNY"),
            status(5, 9, 50, *b"NNY"),
            status(6, 1, 77, *b"NYY"),
            status(7, 0, 0, *b"~~~"),
            status(8, 0, 0, *b"YYN"),
            status(9, 7, 60, *b"NN~"),
            status(10, 99, 0, *b"YY~"),
        ]);
        let written = file.written();
        let states: Vec<(char, u64)> = events(&written, EventKind::TradingAction)
            .iter()
            .map(|event| (char::from(event.detail), event.id_a))
            .collect();
        let code = |text: &[u8; 4]| u64::from(u32::from_be_bytes(*text));
        let (none, news, limit, own) = (code(b"    "), code(b"T1  "), code(b"LUDP"), code(b"O1  "));
        let expected =
            [('T', none), ('Q', none), ('T', none), ('H', news), ('P', limit), ('Q', none), ('T', none), ('H', own)];
        assert_eq!(states, expected, "version {version}");
        let tests: Vec<u8> = events(&written, EventKind::RegSho).iter().map(|event| event.detail).collect();
        assert_eq!(tests, b"1");
        let found = ["state_unchanged", "reason_unknown", "malformed_row"].map(|code| written.found(code));
        assert_eq!(found, [1, 1, 1]);
        let file = File::new(Some(Schema::Imbalance), version).records(&[imbalance(1, b'B'), imbalance(2, b'N')]);
        let written = file.written();
        assert_eq!(written.flow(), "II");
        let shares: Vec<(char, u64, u64)> = events(&written, EventKind::ImbalanceShares)
            .iter()
            .map(|event| (char::from(event.detail), event.id_a, event.qty.0))
            .collect();
        assert_eq!(shares, [('B', 400, 30), ('N', 400, 30)]);
        let prices = events(&written, EventKind::ImbalancePrices)[0];
        assert_eq!(
            (prices.price.0, prices.id_b, prices.id_a),
            (10 * WHOLE, 11_000_000_000, 0),
            "reference, near, no far"
        );
        assert_eq!((prices.detail, prices.qty.0), (b'C', u64::from(b'L')));
    }
    let mut undefined = imbalance(1, b'B');
    undefined.paired_qty = u32::MAX;
    let written = File::new(Some(Schema::Imbalance), 3).record(&undefined).written();
    assert_eq!((written.flow().as_str(), written.found("no_quantity")), ("", 1));
}

#[test]
fn a_state_from_before_midnight_holds_when_the_session_begins() {
    let mut early = status(1, 8, 30, *b"NNY");
    early.ts_recv -= 12 * 3_600 * 1_000_000_000;
    early.hd.ts_event = early.ts_recv;
    let file = File::new(Some(Schema::Status), 3).record(&early).record(&status(2, 14, 0, *b"NNN"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.dbn");
    std::fs::write(&path, &file.0).unwrap();
    let mut plan = plan(Format::Dbn, &path);
    plan.date = Some("2023-12-25".parse().unwrap());
    let written = Written::of(&plan).unwrap();
    let mut replay = written.replay();
    while replay.step().is_some() {}
    assert_eq!(replay.books.trading_state(SymbolId(0)), TradingState::Halted);
    assert_eq!(written.found("before_session"), 1);
}

#[test]
fn definitions_of_every_version_name_the_instruments_of_other_records() {
    let latest = definition();
    for version in 1..=3 {
        let file = File::new(None, version);
        let file = match version {
            1 => {
                let mut old = v1::InstrumentDefMsg {
                    hd: header::<v1::InstrumentDefMsg>(rtype::INSTRUMENT_DEF, 0),
                    ts_recv: time(0),
                    min_price_increment: 1_000,
                    min_lot_size_round_lot: 100,
                    ..v1::InstrumentDefMsg::default()
                };
                old.raw_symbol[..4].copy_from_slice(&latest.raw_symbol[..4]);
                file.record(&old)
            }
            2 => {
                let mut old = v2::InstrumentDefMsg {
                    hd: header::<v2::InstrumentDefMsg>(rtype::INSTRUMENT_DEF, 0),
                    ts_recv: time(0),
                    min_price_increment: 1_000,
                    min_lot_size_round_lot: 100,
                    ..v2::InstrumentDefMsg::default()
                };
                old.raw_symbol[..4].copy_from_slice(&latest.raw_symbol[..4]);
                file.record(&old)
            }
            _ => file.record(&latest),
        };
        let file = match version {
            3 => file.record(&statistic()),
            _ => file.record(&v1::StatMsg {
                hd: header::<v1::StatMsg>(rtype::STATISTICS, 1),
                ts_recv: time(1),
                stat_type: 1,
                ..v1::StatMsg::default()
            }),
        };
        let written = file.record(&trade(2, (b'T', b'B'), (10, 5))).written();
        assert_eq!(written.summary.symbols[0].symbol, "ACME", "version {version}");
        assert!(written.summary.is_sound, "{:?}", written.summary.findings);
        assert_eq!(events(&written, EventKind::StockDirectory)[0].qty.0, 100, "the round lot");
        let found = [written.found("price_step_finer"), written.found("other_record"), written.found("malformed_row")];
        assert_eq!(found, [1, 1, 0]);
        let first = &written.summary.findings["other_record"].first[0];
        assert!(first.contains("statistic of type 1"), "{first}");
        // A definition without a message tells nothing, and is not named in the directory.
        assert_eq!(written.flow(), "P");
    }
}

#[test]
fn of_several_schemas_the_deepest_of_an_instrument_tells_its_book() {
    let mut other = trade(4, (b'T', b'B'), (10, 5));
    other.hd.instrument_id = 8;
    let order = MboMsg {
        hd: header::<MboMsg>(rtype::MBO, 1),
        order_id: 3,
        price: 10 * WHOLE,
        size: 5,
        flags: FlagSet::new(LAST),
        action: b'A'.cast_signed(),
        side: b'B'.cast_signed(),
        ts_recv: time(1),
        ..MboMsg::default()
    };
    let ten = mbp10(1, LAST, (b'A', b'B'), (10, 5), (&[(10, 5)], &[]));
    let file = File::new(None, 3)
        .record(&mbp1(&ten))
        .record(&order)
        .record(&ten)
        .record(&trade(2, (b'T', b'B'), (10, 5)))
        .record(&status(3, 8, 0, *b"NN~"))
        .record(&other);
    let written = file.written();
    assert_eq!(written.found("other_record"), 3, "both kinds of levels and the trade: {:?}", written.summary.findings);
    let messages = &written.summary.messages;
    assert_eq!((messages[&'A'], messages[&'P'], messages[&'H']), (1, 1, 3), "{messages:?}");
}

#[test]
fn what_makes_no_session_is_refused_with_what_it_holds() {
    let refused = |file: &File| match file.convert() {
        Err(error @ ConvertError::NoSession { .. }) => error.to_string(),
        Err(error) => unreachable!("{error}"),
        Ok(_) => unreachable!("converted"),
    };
    let said = refused(&File::new(Some(Schema::Definition), 3).record(&definition()));
    assert!(said.contains("1 definitions") && said.contains("mbp-10"), "{said}");
    let said = refused(&File::new(Some(Schema::Statistics), 3).record(&statistic()).record(&statistic()));
    assert!(said.contains("2 statistics"), "{said}");
    let bar = OhlcvMsg { hd: header::<OhlcvMsg>(0x21, 1), open: 1, high: 1, low: 1, close: 1, volume: 1 };
    let said = refused(&File::new(Some(Schema::Ohlcv1M), 3).record(&bar));
    assert!(said.contains("rtype 0x21"), "{said}");
    let said = refused(&File::new(Some(Schema::Definition), 3));
    assert!(said.contains("schema definition"), "{said}");
}

#[test]
fn unknown_records_are_passed_over_and_short_ones_are_counted() {
    let mut unknown = trade(2, (b'T', b'B'), (10, 5));
    unknown.hd.rtype = 0x77;
    let mut short = trade(3, (b'T', b'B'), (10, 5));
    short.hd.rtype = rtype::MBP_10;
    let records = [trade(1, (b'T', b'B'), (10, 5)), unknown, short, trade(4, (b'T', b'B'), (10, 5))];
    let written = File::new(Some(Schema::Trades), 3).records(&records).written();
    assert_eq!(written.flow(), "PP");
    assert_eq!((written.found("other_record"), written.found("malformed_row")), (1, 1));
    assert_eq!(written.summary.rows["rtype 0x77"], 1);
}

#[test]
fn a_record_of_an_impossible_length_is_an_error_with_its_byte() {
    let mut file = File::new(Some(Schema::Trades), 3);
    let begin = file.0.len();
    file = file.record(&trade(1, (b'T', b'B'), (10, 5))).record(&trade(2, (b'T', b'B'), (10, 5)));
    file.0[begin + 48] = 3;
    let said = file.convert().err().unwrap().to_string();
    assert!(said.contains("record 2") && said.contains(&format!("12 bytes at byte {}", begin + 48)), "{said}");
}

/// Decodes every record of a kind with the crate.
fn decoded<R: HasRType<Header = RecordHeader> + Clone>(bytes: &[u8]) -> Vec<R> {
    let mut decoder = DbnDecoder::with_upgrade_policy(bytes, VersionUpgradePolicy::AsIs).unwrap();
    let mut records = Vec::new();
    while let Some(record) = decoder.decode_record::<R>().unwrap() {
        records.push(record.clone());
    }
    records
}

#[test]
fn what_a_session_says_of_its_instruments_is_read_by_the_crates_own_decoder() {
    let folder = tempfile::tempdir().unwrap();
    let plan = sessions::of(folder.path(), &sessions::every_message());
    let definitions: Vec<InstrumentDefMsg> = decoded(&sessions::bytes(&plan, DbnSchema::Definition));
    assert_eq!(definitions.len(), 1);
    let definition = &definitions[0];
    assert_eq!((definition.raw_symbol().unwrap(), definition.exchange().unwrap()), ("ACME", "XNAS"));
    assert_eq!((definition.min_lot_size_round_lot, definition.min_price_increment), (100, UNDEF_PRICE));
    assert_eq!(definition.instrument_class().unwrap(), dbn::InstrumentClass::Stock);

    let statuses: Vec<StatusMsg> = decoded(&sessions::bytes(&plan, DbnSchema::Status));
    let text: Vec<String> = statuses
        .iter()
        .map(|status| {
            let letter = |letter: core::ffi::c_char| char::from(letter.cast_unsigned());
            let claims = [status.is_trading, status.is_quoting, status.is_short_sell_restricted].map(letter);
            format!("{} {} {}", status.action, status.reason, claims.iter().collect::<String>())
        })
        .collect();
    assert_eq!(
        text,
        ["7 0 YY~", "8 50 NN~", "14 0 NNY", "8 60 NNY", "8 60 NNY"],
        "the halt here ends in the halt of all"
    );

    let imbalances: Vec<ImbalanceMsg> = decoded(&sessions::bytes(&plan, DbnSchema::Imbalance));
    let imbalance = &imbalances[0];
    assert_eq!((imbalance.paired_qty, imbalance.total_imbalance_qty, imbalances.len()), (4_000, 600, 2));
    assert_eq!((imbalance.side.cast_unsigned(), imbalance.auction_type.cast_unsigned()), (b'A', b'O'));
    assert_eq!((imbalance.ref_price, imbalance.cont_book_clr_price), (10 * WHOLE, 10_200_000_000));
    assert_eq!(imbalance.auct_interest_clr_price, UNDEF_PRICE, "not computed");
    let (summary, _) = sessions::written(&plan, DbnSchema::Status);
    assert_eq!(summary.left_out["OperationalHalt of another market"], 1);
    assert_eq!((summary.left_out["AddOrder"], summary.records["halt"]), (4, 3));
}

/// Statistics as type, price in tenths, quantity and update.
fn statistics(messages: &Messages) -> Vec<(u16, i64, i64, u8)> {
    let folder = tempfile::tempdir().unwrap();
    let plan = sessions::of(folder.path(), messages);
    let records: Vec<StatMsg> = decoded(&sessions::bytes(&plan, DbnSchema::Statistics));
    records.iter().map(|stat| (stat.stat_type, stat.price / 100_000_000, stat.quantity, stat.update_action)).collect()
}

#[test]
fn statistics_are_what_the_printed_trades_come_to() {
    let mut messages = Messages::default();
    messages.event(b'O').directory(100).state(b'T', *b"    ");
    messages.add(1, b'B', 100, 100).add(2, b'S', 100, 110).cross(b'O', 10, 105, 50);
    // Printed: 10 at 10.5, 20 at 10.0, 30 at 10.8. Not printed: 15 at 12.0, and nothing at all. Broken: 5 at 9.0.
    messages.execute(1, 20, 51).execute_at(2, 30, (108, b'Y')).execute_at(2, 15, (120, b'N')).cross(b'C', 0, 0, 52);
    messages.trade(5, 90, 53).cross(b'H', 7, 107, 54).broken(53).broken(54).broken(999);
    let undefined = i64::MAX;
    let expected = [
        (1, 105, 10, 1),
        (16, 107, 7, 1),
        (16, 107, 7, 2),
        (4, 100, undefined, 1),
        (5, 108, undefined, 1),
        // (10 × 10.5 + 20 × 10.0 + 30 × 10.8) ÷ 60 = 10.48…
        (13, 104, 60, 1),
    ];
    assert_eq!(statistics(&messages), expected);
    assert_eq!(statistics(Messages::default().event(b'O').directory(100)), []);
}

#[test]
fn states_written_and_read_back_are_the_sessions_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut messages = Messages::default();
    messages.event(b'O').directory(100);
    messages.state(b'Q', *b"IPOQ").state(b'T', *b"    ").state(b'P', *b"LUDP").state(b'H', *b"T1  ");
    messages.price_test(b'1').price_test(b'0').imbalance((u64::from(u32::MAX), 5), b'B', (0, 0, 0));
    messages.imbalance((40, 5), b'B', (101, 0, 99)).event(b'C');
    let plan = sessions::of(folder.path(), &messages);
    let path = folder.path().join("status.dbn");
    let (summary, bytes) = sessions::written(&plan, DbnSchema::Status);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!((summary.left_out["reason IPOQ"], summary.is_sound), (1, true));
    let back = Written::of(&common::plan(Format::Dbn, &path)).unwrap();
    assert!(back.summary.is_sound, "{:?}", back.summary.findings);
    let of = |kind| {
        let events = events(&back, kind);
        events.iter().map(|event| (char::from(event.detail), event.id_a)).collect::<Vec<_>>()
    };
    let code = |text: &[u8; 4]| u64::from(u32::from_be_bytes(*text));
    let none = code(b"    ");
    let expected = [('T', none), ('Q', none), ('T', none), ('P', code(b"LUDP")), ('H', code(b"T1  "))];
    assert_eq!(of(EventKind::TradingAction), expected);
    assert_eq!(of(EventKind::RegSho), [('1', 0), ('0', 0)]);
    let (summary, bytes) = sessions::written(&plan, DbnSchema::Imbalance);
    assert_eq!((summary.impossible, summary.is_sound), (1, false), "more shares than can be said");
    std::fs::write(&path, bytes).unwrap();
    let back = Written::of(&common::plan(Format::Dbn, &path)).unwrap();
    let prices = events(&back, EventKind::ImbalancePrices);
    assert_eq!(
        (prices.len(), prices[0].price.0, prices[0].id_a, prices[0].id_b),
        (1, 9_900_000_000, 10_100_000_000, 0)
    );
}

/// A small file of each schema that makes a session.
fn small_files() -> Vec<(&'static str, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let plan = sessions::of(folder.path(), &sessions::every_message());
    let mut files: Vec<(&str, Vec<u8>)> =
        DbnSchema::ALL.iter().map(|schema| (schema.name(), sessions::bytes(&plan, *schema))).collect();
    let mixed = File::new(None, 1)
        .record(&trade(1, (b'T', b'B'), (10, 5)))
        .record(&status(2, 8, 30, *b"NNY"))
        .record(&imbalance(3, b'B'))
        .records(&flow()[..2]);
    files.push(("mixed, version 1", mixed.0));
    files
}

#[test]
fn cuts_at_every_byte_give_everything_before_or_an_error_and_never_a_panic() {
    for (name, bytes) in small_files() {
        let whole = convert(&bytes);
        let is_session = whole.is_ok();
        assert!(is_session || matches!(whole, Err(ConvertError::NoSession { .. })), "{name}");
        let rows = |written: &Written| written.summary.rows.values().sum::<u64>();
        let (mut last, mut is_cut) = (0, 0_u32);
        for len in 0..bytes.len() {
            let Ok(written) = convert(&bytes[..len]) else { continue };
            assert!(rows(&written) >= last, "{name} {len}");
            last = rows(&written);
            is_cut += u32::from(written.found("truncated") == 1);
        }
        if let Ok(whole) = whole {
            assert_eq!(last + 1, rows(&whole), "{name}: a byte less is a record less");
            assert!(is_cut > 30, "{name}: {is_cut}");
        }
    }
}

#[test]
fn lying_bytes_are_errors_or_findings_and_never_a_panic() {
    for (name, bytes) in small_files() {
        let (mut refused, step) = (0_u32, (bytes.len() / 250).max(1));
        for at in (0..bytes.len()).step_by(step) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                refused += u32::from(convert(&bytes).is_err());
            }
        }
        assert!(refused > 5, "{name}: {refused}");
    }
}

#[test]
fn encoded_files_of_the_crate_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.dbn.zst");
    let metadata = Metadata::builder()
        .dataset("TEST".to_owned())
        .schema(Some(Schema::Mbp10))
        .start(START)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .build();
    let mut bytes = Vec::new();
    DbnEncoder::with_zstd(&mut bytes, &metadata).unwrap().encode_records(&flow()).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(Format::recognise(&path).unwrap(), Format::Dbn);
    assert_eq!(Written::of(&plan(Format::Dbn, &path)).unwrap().flow(), "AAAPXUDP");
    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let cut = Written::of(&plan(Format::Dbn, &path));
    assert!(cut.is_err() || cut.unwrap().found("truncated") == 1);
}
