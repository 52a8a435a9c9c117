//! What only a capture of packets has, from events made by hand: gaps, and sessions that begin anew.

use dbn::decode::{DbnDecoder, DecodeRecord as _};
use dbn::{MboMsg, Mbp1Msg, StatMsg, VersionUpgradePolicy};
use peregrine_types::{Price, Qty};

use super::*;

const DAY: i64 = 1_767_600_000_000_000_000;

fn event(at: i64, kind: EventKind) -> MarketEvent {
    MarketEvent::new(kind, SymbolId(0), EpochNanos(DAY + at), EpochNanos(DAY + at))
}

fn add(at: i64, side: Side, price: i64) -> MarketEvent {
    MarketEvent {
        id_a: at.cast_unsigned(),
        side,
        price: Price(price * 1_000_000_000),
        qty: Qty(10),
        ..event(at, EventKind::AddOrder)
    }
}

/// Writes events as a file of a schema.
fn written(events: &[MarketEvent], schema: DbnSchema) -> (Vec<u8>, DbnSummary) {
    let mut scan = Scan::default();
    scan.instruments.insert(1, "ACME".to_owned());
    events.iter().for_each(|event| scan.take(event, schema));
    let mut bytes = Vec::new();
    let encoder = DbnEncoder::new(&mut bytes, &scan.metadata(schema)).unwrap();
    let mut out = Out { encoder, open_gap_count: 0, event_number: 0, summary: DbnSummary::default() };
    let mut writer = Writer::new(schema, &scan).unwrap();
    for event in events {
        out.begin(event);
        writer.on_event(&mut out, event).unwrap();
    }
    writer.finish(&mut out, scan.span().1).unwrap();
    let summary = out.summary;
    (bytes, summary)
}

/// Two gaps of which one ends, a session that begins anew, and orders between.
fn events() -> Vec<MarketEvent> {
    vec![
        add(1, Side::Buy, 10),
        event(2, EventKind::GapStart),
        add(3, Side::Sell, 20),
        MarketEvent { detail: 1, ..event(4, EventKind::GapStart) },
        event(5, EventKind::GapEnd),
        add(6, Side::Buy, 11),
        MarketEvent { symbol: SymbolId::MARKET, ..event(7, EventKind::SessionStart) },
        add(8, Side::Buy, 9),
    ]
}

#[test]
fn books_may_be_bad_from_a_gap_to_its_end_and_forever_where_it_is_given_up() {
    // Action and flags: the last record of its event 0x80, a book that may be bad 0x04.
    let expected = [(b'A', 0x80), (b'A', 0x84), (b'A', 0x84), (b'R', 0x80), (b'A', 0x80)];
    let (bytes, summary) = written(&events(), DbnSchema::Mbo);
    let mut decoder = DbnDecoder::with_upgrade_policy(bytes.as_slice(), VersionUpgradePolicy::AsIs).unwrap();
    let mut rows = Vec::new();
    while let Some(record) = decoder.decode_record::<MboMsg>().unwrap() {
        rows.push((record.action.cast_unsigned(), record.flags.raw()));
    }
    assert_eq!((rows.as_slice(), summary.gaps, summary.impossible), (expected.as_slice(), 2, 0));
    let (bytes, summary) = written(&events(), DbnSchema::Mbp1);
    let mut decoder = DbnDecoder::with_upgrade_policy(bytes.as_slice(), VersionUpgradePolicy::AsIs).unwrap();
    let (mut rows, mut last) = (Vec::new(), None);
    while let Some(record) = decoder.decode_record::<Mbp1Msg>().unwrap() {
        rows.push((record.action.cast_unsigned(), record.flags.raw()));
        if record.action.cast_unsigned() == b'R' {
            assert_eq!(record.levels[0], dbn::BidAskPair::default(), "nothing is left");
        }
        last = Some((record.levels[0].bid_px, record.levels[0].ask_sz));
    }
    assert_eq!((rows.as_slice(), summary.gaps, summary.impossible), (expected.as_slice(), 2, 0));
    assert_eq!(last, Some((9_000_000_000, 0)), "the other session's orders are gone");
}

#[test]
fn what_trades_come_to_is_not_said_with_messages_missing() {
    let trade = |at| MarketEvent { price: Price(10), qty: Qty(5), ..event(at, EventKind::Trade) };
    let count = |events: &[MarketEvent]| {
        let (bytes, summary) = written(events, DbnSchema::Statistics);
        let mut decoder = DbnDecoder::with_upgrade_policy(bytes.as_slice(), VersionUpgradePolicy::AsIs).unwrap();
        let mut count = 0;
        while decoder.decode_record::<StatMsg>().unwrap().is_some() {
            count += 1;
        }
        (count, summary.left_out.get("statistics of trades with a gap").copied())
    };
    assert_eq!(count(&[trade(1), trade(2)]), (3, None));
    let gap = [event(2, EventKind::GapStart), event(3, EventKind::GapEnd)];
    assert_eq!(count(&[trade(1), gap[0], gap[1], trade(4)]), (0, Some(1)));
}
