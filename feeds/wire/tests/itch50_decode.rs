//! The decoder held against the table of [`MarketEvent`], against real files, and against a sink that is full.

mod common;

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Price, Qty, Side, Symbol, SymbolId};
use peregrine_wire::itch50::*;
use zerocopy::IntoBytes;

const MIDNIGHT: EpochNanos = EpochNanos(1_580_360_400_000_000_000);
const T: u64 = 34_200_000_000_001;
const NOW: EpochNanos = EpochNanos(1_580_394_600_000_000_500);

fn xyz() -> Symbol {
    Symbol::new("XYZ").expect("a symbol")
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::new(MIDNIGHT, 100);
    let directory = StockDirectory { stock: xyz(), ..StockDirectory::new(7, T) };
    let verdict = decoder.decode(directory.as_bytes(), NOW, EventFlags::NONE, &mut |_| Ok(()));
    assert_eq!(verdict, Ok(Decoded::Emitted));
    decoder
}

fn decode(decoder: &mut Decoder, bytes: &[u8]) -> (Decoded, Vec<MarketEvent>) {
    let mut events = Vec::new();
    let mut sink = |event| {
        events.push(event);
        Ok(())
    };
    let verdict = decoder.decode(bytes, NOW, EventFlags::NONE, &mut sink).expect("the sink has room");
    (verdict, events)
}

fn event(kind: EventKind, symbol: SymbolId) -> MarketEvent {
    MarketEvent::new(kind, symbol, EpochNanos(MIDNIGHT.0 + 34_200_000_000_001), NOW)
}

fn price(raw: u32) -> Price {
    Price(i64::from(raw) * 100_000)
}

/// One message of every type that changes or prints against the book, and the event it must become.
fn order_cases() -> Vec<(Vec<u8>, MarketEvent)> {
    let of = |kind| event(kind, SymbolId(0));
    let printable = |kind| MarketEvent { flags: EventFlags::PRINTABLE, ..of(kind) };
    let add = AddOrder {
        order_ref: 5.into(),
        side: b'S',
        shares: 300.into(),
        stock: xyz(),
        price: Price4::new(3_224_000),
        ..AddOrder::new(7, T)
    };
    let mut mpid = AddOrderMpid { side: b'B', stock: xyz(), attribution: *b"NITE", ..AddOrderMpid::new(7, T) };
    (mpid.order_ref, mpid.shares, mpid.price) = (6.into(), 100.into(), Price4::new(1));
    let executed = OrderExecuted {
        order_ref: 5.into(),
        executed_shares: 30.into(),
        match_number: 9.into(),
        ..OrderExecuted::new(7, T)
    };
    let mut at_price = OrderExecutedWithPrice { printable: b'N', ..OrderExecutedWithPrice::new(7, T) };
    (at_price.order_ref, at_price.executed_shares) = (5.into(), 40.into());
    (at_price.match_number, at_price.execution_price) = (10.into(), Price4::new(22));
    let at_price_printed = OrderExecutedWithPrice { printable: b'Y', ..at_price };
    let cancel = OrderCancel { order_ref: 5.into(), cancelled_shares: 50.into(), ..OrderCancel::new(7, T) };
    let delete = OrderDelete { order_ref: 5.into(), ..OrderDelete::new(7, T) };
    let mut replace = OrderReplace { shares: 70.into(), price: Price4::new(33), ..OrderReplace::new(7, T) };
    (replace.original_order_ref, replace.new_order_ref) = (5.into(), 11.into());
    let mut trade = TradeNonCross { side: b'B', stock: xyz(), shares: 12.into(), ..TradeNonCross::new(7, T) };
    (trade.price, trade.match_number) = (Price4::new(44), 13.into());
    let at_price_event =
        MarketEvent { id_a: 5, id_b: 10, price: price(22), qty: Qty(40), ..of(EventKind::ExecuteOrderAtPrice) };
    let added = MarketEvent { id_a: 5, price: price(3_224_000), qty: Qty(300), ..of(EventKind::AddOrder) };
    vec![
        (add.as_bytes().to_vec(), MarketEvent { side: Side::Sell, ..added }),
        (
            mpid.as_bytes().to_vec(),
            MarketEvent { id_a: 6, id_b: 0x4E49_5445, price: price(1), qty: Qty(100), ..of(EventKind::AddOrder) },
        ),
        (
            executed.as_bytes().to_vec(),
            MarketEvent { id_a: 5, id_b: 9, qty: Qty(30), ..printable(EventKind::ExecuteOrder) },
        ),
        (at_price.as_bytes().to_vec(), at_price_event),
        (at_price_printed.as_bytes().to_vec(), MarketEvent { flags: EventFlags::PRINTABLE, ..at_price_event }),
        (cancel.as_bytes().to_vec(), MarketEvent { id_a: 5, qty: Qty(50), ..of(EventKind::CancelOrder) }),
        (delete.as_bytes().to_vec(), MarketEvent { id_a: 5, ..of(EventKind::DeleteOrder) }),
        (
            replace.as_bytes().to_vec(),
            MarketEvent { id_a: 5, id_b: 11, price: price(33), qty: Qty(70), ..of(EventKind::ReplaceOrder) },
        ),
        (
            trade.as_bytes().to_vec(),
            MarketEvent { id_b: 13, price: price(44), qty: Qty(12), ..printable(EventKind::Trade) },
        ),
    ]
}

#[test]
fn order_messages_become_the_events_of_the_table() {
    let mut decoder = decoder();
    for (bytes, wanted) in order_cases() {
        assert_eq!(decode(&mut decoder, &bytes), (Decoded::Emitted, vec![wanted]));
    }
    assert_eq!(decoder.counters().message_count(), 10);
    assert_eq!(decoder.counters().malformed_count(), 0);
}

#[test]
fn state_messages_become_the_events_of_the_table() {
    let mut decoder = decoder();
    let of = |kind, detail| MarketEvent { detail, ..event(kind, SymbolId(0)) };
    let mut check = |bytes: &[u8], wanted: MarketEvent| {
        assert_eq!(decode(&mut decoder, bytes), (Decoded::Emitted, vec![wanted]), "{}", char::from(bytes[0]));
    };
    let market = |kind, detail| MarketEvent { detail, ..event(kind, SymbolId::MARKET) };
    let m = SystemEvent { event_code: b'Q', ..SystemEvent::new(0, T) };
    check(m.as_bytes(), market(EventKind::SystemEvent, b'Q'));
    let m = MwcbStatus { breached_level: b'2', ..MwcbStatus::new(0, T) };
    check(m.as_bytes(), market(EventKind::MwcbStatus, b'2'));
    let mut m = MwcbDeclineLevels::new(0, T);
    (m.level1, m.level2, m.level3) = (Price8::new(100), Price8::new(200), Price8::new(300));
    check(m.as_bytes(), MarketEvent { price: Price(1000), id_a: 2000, id_b: 3000, ..market(EventKind::MwcbLevels, 0) });
    let mut m = StockDirectory { stock: xyz(), market_category: b'G', ..StockDirectory::new(7, T) };
    m.round_lot_size = 40.into();
    check(
        m.as_bytes(),
        MarketEvent { id_a: xyz().key(), id_b: 7, qty: Qty(40), ..of(EventKind::StockDirectory, b'G') },
    );
    let m = StockTradingAction { trading_state: b'H', reason: *b"LUDP", ..StockTradingAction::new(7, T) };
    check(m.as_bytes(), MarketEvent { id_a: 0x4C55_4450, ..of(EventKind::TradingAction, b'H') });
    let m = RegShoRestriction { reg_sho_action: b'1', ..RegShoRestriction::new(7, T) };
    check(m.as_bytes(), of(EventKind::RegSho, b'1'));
    let mut m = MarketParticipantPosition { mpid: *b"GSCO", ..MarketParticipantPosition::new(7, T) };
    (m.primary_market_maker, m.market_maker_mode, m.participant_state) = (b'Y', b'N', b'A');
    let position = of(EventKind::ParticipantPosition, b'A');
    check(m.as_bytes(), MarketEvent { id_a: 0x4753_434F, id_b: 1 | 0x4E00, ..position });
    m.primary_market_maker = b'N';
    check(m.as_bytes(), MarketEvent { id_a: 0x4753_434F, id_b: 0x4E00, ..position });
    let mut m = LuldAuctionCollar { reference_price: Price4::new(10), ..LuldAuctionCollar::new(7, T) };
    (m.upper_collar, m.lower_collar, m.extension) = (Price4::new(11), Price4::new(9), 2.into());
    let collar = of(EventKind::LuldCollar, 0);
    check(m.as_bytes(), MarketEvent { price: price(10), id_a: 1_100_000, id_b: 900_000, qty: Qty(2), ..collar });
    let m = OperationalHalt { market_code: b'X', action: b'H', ..OperationalHalt::new(7, T) };
    check(m.as_bytes(), MarketEvent { id_b: u64::from(b'X'), ..of(EventKind::OperationalHalt, b'H') });
    let m = RetailPriceImprovement { interest_flag: b'A', ..RetailPriceImprovement::new(7, T) };
    check(m.as_bytes(), of(EventKind::RetailInterest, b'A'));
    let m = BrokenTrade { match_number: 3.into(), ..BrokenTrade::new(7, T) };
    check(m.as_bytes(), MarketEvent { id_b: 3, ..of(EventKind::BrokenTrade, 0) });
    let mut m = CrossTrade { shares: u64::from(u32::MAX).wrapping_add(5).into(), ..CrossTrade::new(7, T) };
    (m.cross_price, m.match_number, m.cross_type) = (Price4::new(6), 8.into(), b'O');
    let cross = MarketEvent { flags: EventFlags::PRINTABLE, ..of(EventKind::CrossTrade, b'O') };
    check(m.as_bytes(), MarketEvent { id_b: 8, price: price(6), qty: Qty(4_294_967_300), ..cross });
}

#[test]
fn imbalance_and_direct_listing_become_two_events() {
    let mut decoder = decoder();
    let of = |kind, detail| MarketEvent { detail, ..event(kind, SymbolId(0)) };
    let mut m = NetOrderImbalance { imbalance_direction: b'S', cross_type: b'C', ..NetOrderImbalance::new(7, T) };
    (m.paired_shares, m.imbalance_shares, m.price_variation) = (1000.into(), 20.into(), b'L');
    (m.far_price, m.near_price, m.current_reference_price) = (Price4::new(1), Price4::new(2), Price4::new(3));
    let shares = MarketEvent { id_a: 1000, qty: Qty(20), ..of(EventKind::ImbalanceShares, b'S') };
    let prices = MarketEvent {
        id_a: 100_000,
        id_b: 200_000,
        price: price(3),
        qty: Qty(u64::from(b'L')),
        ..of(EventKind::ImbalancePrices, b'C')
    };
    assert_eq!(decode(&mut decoder, m.as_bytes()), (Decoded::Emitted, vec![shares, prices]));
    let mut m = DirectListingWithCapitalRaise { open_eligibility: b'Y', ..DirectListingWithCapitalRaise::new(7, T) };
    (m.min_allowable_price, m.max_allowable_price) = (Price4::new(1), Price4::new(2));
    (m.near_execution_price, m.near_execution_time) = (Price4::new(3), 77.into());
    (m.lower_collar, m.upper_collar) = (Price4::new(4), Price4::new(5));
    let first = MarketEvent { id_a: 200_000, id_b: 77, price: price(1), ..of(EventKind::DirectListingPrices, b'Y') };
    let second =
        MarketEvent { id_a: 500_000, id_b: 400_000, price: price(3), ..of(EventKind::DirectListingCollars, 0) };
    assert_eq!(decode(&mut decoder, m.as_bytes()), (Decoded::Emitted, vec![first, second]));
}

#[test]
fn an_ipo_is_found_by_its_symbol() {
    let mut decoder = decoder();
    let mut m = IpoQuotingPeriodUpdate { stock: xyz(), ipo_qualifier: b'A', ..IpoQuotingPeriodUpdate::new(0, T) };
    (m.ipo_release_time, m.ipo_price) = (36_000.into(), Price4::new(5));
    let wanted =
        MarketEvent { id_a: 36_000, price: price(5), detail: b'A', ..event(EventKind::IpoQuotingPeriod, SymbolId(0)) };
    assert_eq!(decode(&mut decoder, m.as_bytes()).1, [wanted]);
    m.stock = Symbol::new("NEW").unwrap();
    assert_eq!(decode(&mut decoder, m.as_bytes()).1[0].symbol, SymbolId(1));
    let directory = StockDirectory { stock: m.stock, ..StockDirectory::new(8, T) };
    assert_eq!(decode(&mut decoder, directory.as_bytes()).1[0].symbol, SymbolId(1));
}

#[test]
fn unannounced_locates_are_counted_and_bounded() {
    let mut decoder = Decoder::new(MIDNIGHT, 2);
    let delete = OrderDelete::new(9, T);
    assert_eq!(decode(&mut decoder, delete.as_bytes()).1[0].symbol, SymbolId(0));
    assert_eq!(decode(&mut decoder, delete.as_bytes()).1[0].symbol, SymbolId(0));
    let add = AddOrder { side: b'B', stock: xyz(), ..AddOrder::new(10, T) };
    assert_eq!(decode(&mut decoder, add.as_bytes()).1[0].symbol, SymbolId(1));
    assert_eq!(decoder.counters().unannounced_locate_count, 2);
    assert_eq!(decoder.symbols().name(SymbolId(1)), Some(xyz()));
    assert_eq!(decode(&mut decoder, OrderDelete::new(11, T).as_bytes()), (Decoded::DirectoryFull, vec![]));
    assert_eq!(decoder.counters().directory_full_count, 1);
}

#[test]
fn malformed_messages_are_named_counted_and_not_emitted() {
    let mut decoder = decoder();
    let mut refuse = |bytes: &[u8], offset, kind| {
        let error = ParseError { message_type: bytes[0], offset, kind };
        assert_eq!(decode(&mut decoder, bytes), (Decoded::Malformed(error), vec![]));
        assert_eq!(decoder.counters().malformed_last, Some(error));
    };
    let add = AddOrder { side: b'x', ..AddOrder::new(7, T) };
    refuse(add.as_bytes(), 19, ParseErrorKind::IllegalCode(b'x'));
    let at_price = OrderExecutedWithPrice::new(7, T);
    refuse(at_price.as_bytes(), 31, ParseErrorKind::IllegalCode(0));
    refuse(OrderDelete::new(7, DAY_NS).as_bytes(), 5, ParseErrorKind::TimestampTooLarge(DAY_NS));
    refuse(OrderDelete::new(0, T).as_bytes(), 1, ParseErrorKind::LocateMissing);
    refuse(&OrderDelete::new(7, T).as_bytes()[..18], 18, ParseErrorKind::WrongLength { expected: 19, actual: 18 });
    refuse(b"D", 1, ParseErrorKind::WrongLength { expected: 19, actual: 1 });
    let levels = MwcbDeclineLevels { level2: Price8::new(u64::MAX), ..MwcbDeclineLevels::new(0, T) };
    refuse(levels.as_bytes(), 19, ParseErrorKind::PriceTooLarge);
    let halt = OperationalHalt { market_code: b'Q', action: b'?', ..OperationalHalt::new(7, T) };
    refuse(halt.as_bytes(), 20, ParseErrorKind::IllegalCode(b'?'));
    assert_eq!(decoder.counters().malformed_count(), 8);
    assert_eq!(decoder.counters().malformed_count_by_type[MessageType::OrderDelete.index()], 4);
    assert!(matches!(decode(&mut decoder, b"").0, Decoded::Malformed(_)));
    assert_eq!(decoder.counters().empty_count, 1);
    assert_eq!(decode(&mut decoder, b"zzz").0, Decoded::UnknownType(b'z'));
    let long = [[b'?'].as_slice(), &[0; 40]].concat();
    assert_eq!(decode(&mut decoder, &long).0, Decoded::UnknownType(b'?'));
    assert_eq!(decoder.counters().unknown_count(), 2);
}

#[test]
fn receive_time_never_decreases() {
    let mut decoder = decoder();
    let mut times = Vec::new();
    for recv in [100, 50, 200] {
        let recv_time = EpochNanos(NOW.0 + recv);
        let mut sink = |event: MarketEvent| {
            times.push(event.recv_time.0 - NOW.0);
            Ok(())
        };
        assert!(decoder.decode(OrderDelete::new(7, T).as_bytes(), recv_time, EventFlags::NONE, &mut sink).is_ok());
    }
    assert_eq!(times, [100, 100, 200]);
    assert_eq!(decoder.counters().recv_time_backward_count, 1);
}

#[test]
fn a_full_sink_loses_and_repeats_nothing() {
    let mut wanted = Vec::new();
    let mut got = Vec::new();
    let mut stream: Vec<Vec<u8>> = order_cases().into_iter().map(|(bytes, _)| bytes).collect();
    stream.push(NetOrderImbalance::new(7, T).as_bytes().to_vec());
    stream.push(
        DirectListingWithCapitalRaise { open_eligibility: b'N', ..DirectListingWithCapitalRaise::new(7, T) }
            .as_bytes()
            .to_vec(),
    );
    stream.push(OrderDelete::new(8, T).as_bytes().to_vec());
    let (mut free, mut slow) = (decoder(), decoder());
    let mut is_odd_turn = false;
    for bytes in &stream {
        wanted.extend(decode(&mut free, bytes).1);
        loop {
            let mut has_room = is_odd_turn;
            is_odd_turn = !is_odd_turn;
            let mut sink = |event| {
                if !std::mem::take(&mut has_room) {
                    return Err(Full(event));
                }
                got.push(event);
                Ok(())
            };
            if slow.decode(bytes, NOW, EventFlags::NONE, &mut sink).is_ok() {
                break;
            }
        }
    }
    assert_eq!(got, wanted);
    assert_eq!(slow.counters(), free.counters());
}

#[test]
fn real_files_decode_without_anomaly() {
    for (name, count) in [
        ("itch/aapl_20120621_0930_1030_reencoded.itch50.gz", 92_082),
        ("itch/aapl_20200130_premarket_5000.itch50", 5_000),
    ] {
        let Some(path) = common::data(name) else { continue };
        let bytes = common::read(&path);
        let messages = common::messages(&bytes);
        let mut decoder = Decoder::new(MIDNIGHT, 10);
        let mut by_kind = [0_u64; EventKind::COUNT];
        for message in &messages {
            let viewed = parse(message).unwrap();
            assert_eq!(viewed.as_bytes(), *message);
            let mut sink = |event: MarketEvent| {
                by_kind[event.kind as usize] += 1;
                assert!(event.recv_time >= event.exch_time);
                Ok(())
            };
            let flags = EventFlags::RECV_TIME_SYNTHETIC;
            assert_eq!(decoder.decode(message, EpochNanos(0), flags, &mut sink), Ok(Decoded::Emitted));
        }
        let counters = decoder.counters();
        assert_eq!(messages.len(), count, "{name}");
        assert_eq!(counters.message_count(), by_kind.iter().sum::<u64>());
        assert_eq!((counters.malformed_count(), counters.unknown_count()), (0, 0));
        assert_eq!((counters.unannounced_locate_count, counters.recv_time_backward_count), (0, 0));
        for message_type in MessageType::ALL {
            let code = message_type.code();
            let count = messages.iter().filter(|message| message[0] == code).count() as u64;
            assert_eq!(counters.message_count_of(*message_type), count);
        }
        let names: Vec<String> = decoder.symbols().iter().map(|(_, symbol)| symbol.to_string()).collect();
        assert_eq!(names, ["AAPL"]);
    }
}

#[test]
fn an_order_or_trade_that_names_another_symbol_than_its_locate_is_malformed() {
    let mut decoder = decoder();
    let (own, other) = (Symbol::new("OWN").unwrap(), Symbol::new("OTHER").unwrap());
    let directory = StockDirectory { stock: own, ..StockDirectory::new(9, T) };
    assert_eq!(decode(&mut decoder, directory.as_bytes()).0, Decoded::Emitted);
    let add = |stock| AddOrder { side: b'B', stock, ..AddOrder::new(9, T) };
    let mpid = AddOrderMpid { side: b'S', stock: other, ..AddOrderMpid::new(9, T) };
    let trade = TradeNonCross { side: b'B', stock: other, ..TradeNonCross::new(9, T) };
    assert_eq!(decode(&mut decoder, add(own).as_bytes()).0, Decoded::Emitted);
    for bytes in [add(other).as_bytes(), mpid.as_bytes(), trade.as_bytes()] {
        let kind = ParseErrorKind::SymbolMismatch(9);
        let error = ParseError { message_type: bytes[0], offset: 24, kind };
        assert_eq!(decode(&mut decoder, bytes), (Decoded::Malformed(error), vec![]));
    }
    assert_eq!(decoder.counters().malformed_count(), 3);
    // A locate that stands for no name yet takes the first one that an order gives it.
    assert_eq!(decode(&mut decoder, OrderDelete::new(10, T).as_bytes()).0, Decoded::Emitted);
    let before = decoder.symbols().by_locate(10);
    let named = AddOrder { side: b'B', stock: other, ..AddOrder::new(10, T) };
    assert_eq!(decode(&mut decoder, named.as_bytes()).0, Decoded::Emitted);
    assert_eq!((decoder.symbols().by_locate(10), decoder.symbols().name(before)), (before, Some(other)));
}
