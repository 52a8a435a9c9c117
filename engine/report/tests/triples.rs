//! Triples of request, venue and response from a log as a live run writes one.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::path::Path;

use peregrine_eventlog::{
    EventLog, LogConfig, RunFacts,
    records::{OrderRecord, OrderTransition},
};
use peregrine_report::{LatencyTriples, LeftOut, latency_triples};
use peregrine_types::{EpochNanos, Nanos, OrderId, ReasonCode, ReportKind, SymbolId};

const START: i64 = 1_769_783_400_000_000_000;

/// A step of an order: what happened, the venue's time (or ours, of a request) and when it was read.
type Step = (u64, OrderTransition, ReasonCode, i64, i64);

fn at(time: i64) -> EpochNanos {
    EpochNanos(START + time)
}

/// The log of a live run with these steps; number 0 is a marker or a mass cancel.
fn write(dir: &Path, steps: &[Step]) {
    let config = LogConfig {
        dir: dir.to_path_buf(),
        staging_dir: Some(dir.to_path_buf()),
        staging_record_counts: [1024; 4],
        segment_len_max: 20_672,
        stream_len_max: 1 << 20,
        sync_interval: Nanos(0),
        is_memory_locked: false,
    };
    let mut log = EventLog::create(&config, &RunFacts::default()).unwrap();
    for (id, transition, reason, venue, response) in steps {
        let record = OrderRecord {
            order_id: OrderId(*id),
            symbol: if *id == 0 { SymbolId::MARKET } else { SymbolId(1) },
            transition: *transition,
            reason: *reason,
            venue_time: at(*venue),
            visible_time: at(*response),
            ..OrderRecord::default()
        };
        log.send.append(&record).unwrap();
    }
    drop((log.feed, log.decide, log.send, log.measure));
    while log.recorder.poll(at(0)).unwrap() > 0 {}
    log.recorder.close().unwrap();
}

fn read(steps: &[Step]) -> LatencyTriples {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), steps);
    let found = latency_triples(dir.path()).unwrap();
    assert_eq!(found.damage, None);
    found
}

/// Kind, request, venue, response, from [`START`] on.
fn short(found: &LatencyTriples) -> Vec<(ReportKind, Option<i64>, i64, i64)> {
    let of = |time: EpochNanos| time.since(EpochNanos(START)).0;
    found.triples.iter().map(|t| (t.kind, t.request.map(of), of(t.venue), of(t.response))).collect()
}

use OrderTransition as T;
use ReasonCode as R;
use ReportKind::{Cancel, Fill, Replace, Submit};

#[test]
fn every_answered_message_is_a_triple_and_fills_have_no_request() {
    let found = read(&[
        (1, T::Submitted, R::None, 100, 100),
        (2, T::Submitted, R::None, 110, 110),
        (1, T::Accepted, R::None, 130, 170),
        (2, T::Rejected, R::VenueHalted, 140, 171),
        (1, T::PartiallyFilled, R::None, 200, 250),
        (3, T::ReplaceRequested, R::None, 300, 300),
        (3, T::Replaced, R::None, 340, 360),
        (4, T::ReplaceRequested, R::None, 400, 400),
        (4, T::ReplaceRejected, R::VenueRejected, 410, 430),
        (3, T::CancelRequested, R::None, 500, 500),
        (3, T::Canceled, R::VenueUserCancel, 520, 550),
        (5, T::Submitted, R::None, 600, 600),
        (5, T::Accepted, R::None, 610, 620),
        (5, T::CancelRequested, R::None, 630, 630),
        (5, T::CancelRejected, R::VenueRejected, 640, 660),
        (5, T::Filled, R::None, 650, 661),
    ]);
    assert_eq!(
        short(&found),
        [
            (Submit, Some(100), 130, 170),
            (Submit, Some(110), 140, 171),
            (Fill, None, 200, 250),
            (Replace, Some(300), 340, 360),
            (Replace, Some(400), 410, 430),
            (Cancel, Some(500), 520, 550),
            (Submit, Some(600), 610, 620),
            (Cancel, Some(630), 640, 660),
            (Fill, None, 650, 661),
        ]
    );
    assert_eq!(found.left_out, LeftOut::default());
    let csv = found.to_csv();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "kind,request_ns,venue_ns,response_ns");
    assert_eq!(lines[1], "submit,1769783400000000100,1769783400000000130,1769783400000000170");
    assert_eq!(lines[3], "fill,,1769783400000000200,1769783400000000250");
    assert_eq!(lines.len(), 10);
}

/// Nothing is taken for an answer of which it is not certain what it answers.
#[test]
fn what_may_have_been_sent_twice_or_was_concluded_is_left_out_and_counted() {
    let found = read(&[
        // Sent again under its number.
        (1, T::Submitted, R::None, 100, 100),
        (1, T::Resent, R::None, 200, 200),
        (1, T::Accepted, R::None, 210, 220),
        // Late, and sent once: its answer is its answer.
        (2, T::Submitted, R::None, 300, 300),
        (2, T::Overdue, R::Unanswered, 400, 400),
        (2, T::Accepted, R::None, 410, 420),
        // A cancel that is overdue is said again.
        (2, T::CancelRequested, R::None, 500, 500),
        (2, T::Overdue, R::Unanswered, 600, 600),
        (2, T::Canceled, R::VenueUserCancel, 610, 620),
        // A cancel in front of a marker may be.
        (3, T::Submitted, R::None, 700, 700),
        (3, T::Accepted, R::None, 710, 720),
        (3, T::CancelRequested, R::None, 730, 730),
        (0, T::CancelRequested, R::None, 740, 740),
        (3, T::Canceled, R::VenueUserCancel, 750, 760),
        // We say so ourselves.
        (4, T::Submitted, R::None, 800, 800),
        (4, T::Rejected, R::NeverArrived, 900, 900),
        (5, T::ReplaceRequested, R::None, 910, 910),
        (5, T::ReplaceRejected, R::VenueReplaceTooLate, 920, 930),
        (8, T::ReplaceRequested, R::None, 940, 940),
        (8, T::Replaced, R::Unanswered, 950, 960),
        (8, T::PartiallyFilled, R::None, 950, 961),
        // A cancel that finds nothing, an end that nobody asked for, what was said before, orders of another run.
        (6, T::Submitted, R::None, 1_000, 1_000),
        (6, T::Accepted, R::None, 1_010, 1_020),
        (6, T::CancelRequested, R::None, 1_030, 1_030),
        (6, T::Filled, R::None, 1_040, 1_050),
        (6, T::Repeated, R::None, 1_040, 1_060),
        (7, T::Submitted, R::None, 1_100, 1_100),
        (7, T::Accepted, R::None, 1_110, 1_120),
        (7, T::Canceled, R::VenueIocRemainder, 1_110, 1_121),
        (99, T::PartiallyFilled, R::None, 50, 1_200),
        (98, T::Accepted, R::None, 50, 1_201),
    ]);
    assert_eq!(
        short(&found),
        [
            (Submit, Some(300), 410, 420),
            (Submit, Some(700), 710, 720),
            (Fill, None, 950, 961),
            (Submit, Some(1_000), 1_010, 1_020),
            (Fill, None, 1_040, 1_050),
            (Submit, Some(1_100), 1_110, 1_120),
        ]
    );
    let left_out = LeftOut {
        resent_count: 1,
        repeated_cancel_count: 2,
        concluded_count: 3,
        unanswered_count: 1,
        foreign_fill_count: 1,
        halved_fill_count: 0,
    };
    assert_eq!(found.left_out, left_out);
    let text = found.to_text(100);
    for said in ["1 orders sent more than once", "2 cancels said more than once", "1 messages without an answer"] {
        assert!(text.contains(said), "{text}");
    }
}

/// Two orders and a fill whose venue times are late by `ahead`.
fn skewed(ahead: i64) -> LatencyTriples {
    read(&[
        (1, T::Submitted, R::None, 1_000, 1_000),
        (1, T::Accepted, R::None, 1_100 + ahead, 1_300),
        (2, T::Submitted, R::None, 2_000, 2_000),
        (2, T::Accepted, R::None, 2_400 + ahead, 2_450),
        (2, T::Filled, R::None, 3_000 + ahead, 3_020),
    ])
}

#[test]
fn clocks_that_differ_are_said_and_an_offset_or_half_of_each_round_trip_mends_them() {
    let honest = skewed(0);
    let check = honest.clocks();
    assert_eq!((check.impossible_count, check.offset_min_ns, check.offset_max_ns), (0, Some(-99), Some(19)));
    assert!(honest.to_text(100).contains("would with -99 to 19 ns added"), "{}", honest.to_text(100));
    let late = skewed(1_000_000);
    let check = late.clocks();
    assert_eq!((check.impossible_count, check.middle()), (3, Some(-1_000_040)));
    assert!(late.to_text(100).contains("CANNOT BE"), "{}", late.to_text(100));
    assert!(late.to_text(100).contains("--venue-offset -1000040"), "{}", late.to_text(100));
    let mended = late.clone().with_venue_offset(Nanos(-1_000_040));
    assert_eq!(mended.clocks().impossible_count, 0);
    let row = |found: &LatencyTriples, kind: &str, way: &str| {
        let figures = found.figures();
        *figures.iter().find(|row| row.kind == kind && row.way == way).unwrap()
    };
    // The fastest there and the fastest back take the same.
    assert_eq!((row(&mended, "submit", "there").min_ns, row(&mended, "fill", "back").min_ns), (60, 60));
    // Round trips do not know of it, and halves neither.
    assert_eq!(row(&honest, "submit", "round trip"), row(&late, "submit", "round trip"));
    let half = late.halved();
    assert_eq!((half.clocks().impossible_count, half.left_out.halved_fill_count), (0, 1));
    assert_eq!((row(&half, "submit", "there").max_ns, row(&half, "submit", "back").max_ns), (225, 225));
    // A clock of another speed: no one offset is right.
    let mut drifting = skewed(0);
    drifting.triples[0].venue = at(9_000);
    assert_eq!((drifting.clocks().impossible_count, drifting.clocks().middle()), (1, None));
    assert!(drifting.to_text(100).contains("--halve"), "{}", drifting.to_text(100));
    assert!(LatencyTriples::default().to_text(100).contains("nothing to compare"));
}

#[test]
fn percentiles_are_by_the_nearest_rank() {
    let steps: Vec<Step> = (1..=200)
        .flat_map(|id| {
            let sent = 10_000 * i64::try_from(id).unwrap();
            let way = i64::try_from(id).unwrap();
            [(id, T::Submitted, R::None, sent, sent), (id, T::Accepted, R::None, sent + way, sent + 3 * way)]
        })
        .collect();
    let figures = read(&steps).figures();
    let ways: Vec<_> =
        figures.iter().map(|f| (f.way, f.count, f.min_ns, f.p50_ns, f.p90_ns, f.p99_ns, f.max_ns)).collect();
    assert_eq!(
        ways,
        [
            ("there", 200, 1, 100, 180, 198, 200),
            ("back", 200, 2, 200, 360, 396, 400),
            ("round trip", 200, 3, 300, 540, 594, 600)
        ]
    );
}
