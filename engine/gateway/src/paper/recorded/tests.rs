//! Recorded latency against a twin that looks at every row, at its edges, and in the paper venue.

use proptest::prelude::*;

use super::*;
use crate::paper::ConstantLatency;

/// 2026-01-05, 09:30 in New York.
const BASE: i64 = 1_767_623_400_000_000_000;

/// A file of rows: kind, request (none for a fill), venue, response; times count from [`BASE`].
fn file(rows: &[(&str, Option<i64>, i64, i64)]) -> String {
    let at = |time: i64| (BASE + time).to_string();
    let lines = rows.iter().map(|(kind, request, venue, response)| {
        format!("{kind},{},{},{}\n", request.map(at).unwrap_or_default(), at(*venue), at(*response))
    });
    format!("{RECORDING_HEADER}\n{}", lines.collect::<String>())
}

fn latency(rows: &[(&str, Option<i64>, i64, i64)]) -> RecordedLatency {
    RecordedLatency::new(&Recording::parse(file(rows).as_bytes()).unwrap(), Nanos(0))
}

fn there(latency: &mut RecordedLatency, kind: RequestKind, time: i64) -> i64 {
    latency.way_there(kind, EpochNanos(BASE + time)).0
}

fn back(latency: &mut RecordedLatency, kind: ReportKind, time: i64) -> i64 {
    latency.way_back(kind, EpochNanos(BASE + time)).0
}

#[test]
fn between_two_requests_the_way_is_between_theirs_and_beyond_them_the_nearest() {
    let mut model = latency(&[("submit", Some(0), 100, 150), ("submit", Some(1_000), 1_300, 1_310)]);
    let asked = [-5, 0, 1, 250, 500, 999, 1_000, 1_001, 1 << 50];
    let ways = asked.map(|time| there(&mut model, RequestKind::Submit, time));
    assert_eq!(ways, [100, 100, 100, 150, 200, 299, 300, 300, 300]);
    // By the venue's times: 50 ns at 100, 10 ns at 1,300.
    let asked = [0, 100, 400, 700, 1_299, 1_300, 9_999];
    let ways = asked.map(|time| back(&mut model, ReportKind::Submit, time));
    assert_eq!(ways, [50, 50, 40, 30, 10, 10, 10]);
    assert_eq!((model.way_there_min(), model.way_back_min()), (Nanos(100), Nanos(10)));
}

#[test]
fn of_requests_at_one_moment_the_last_counts_from_there_on() {
    let rows = [
        ("submit", Some(0), 10, 20),
        ("submit", Some(100), 110, 120),
        ("submit", Some(100), 150, 160),
        ("submit", Some(200), 270, 280),
    ];
    let mut model = latency(&rows);
    let ways = [50, 99, 100, 150, 200].map(|time| there(&mut model, RequestKind::Submit, time));
    assert_eq!(ways, [10, 10, 50, 60, 70]);
}

#[test]
fn each_kind_has_its_own_ways_and_one_without_rows_takes_those_of_new_orders() {
    let rows = [
        ("submit", Some(0), 100, 150),
        ("cancel", Some(0), 30, 37),
        ("fill", None, 5, 14),
        ("cancel", Some(100), 150, 161),
    ];
    let mut model = latency(&rows);
    let ways = [RequestKind::Submit, RequestKind::Replace, RequestKind::Cancel].map(|kind| there(&mut model, kind, 50));
    assert_eq!(ways, [100, 100, 40]);
    let ways = ReportKind::ALL.map(|kind| back(&mut model, kind, 90));
    assert_eq!(ways, [50, 50, 9, 9]);
    assert_eq!((model.way_there_min(), model.way_back_min()), (Nanos(30), Nanos(7)));
    assert_eq!(Recording::parse(file(&rows).as_bytes()).unwrap().counts(), [1, 0, 2, 1]);
}

#[test]
fn a_recording_is_moved_to_another_day() {
    let day = Nanos::from_secs(86_400);
    let rows = [("submit", Some(0), 100, 150), ("submit", Some(1_000), 1_300, 1_310)];
    let recording = Recording::parse(file(&rows).as_bytes()).unwrap();
    assert_eq!(recording.span(), (EpochNanos(BASE), EpochNanos(BASE + 1_310)));
    let mut moved = RecordedLatency::new(&recording, day);
    assert_eq!(there(&mut moved, RequestKind::Submit, day.0 + 500), 200);
    assert_eq!(there(&mut moved, RequestKind::Submit, 500), 100, "the day before is before the first");
}

#[test]
fn answers_of_requests_that_overtook_each_other_are_in_the_order_of_the_venue() {
    let mut model = latency(&[("submit", Some(0), 1_000, 1_010), ("submit", Some(10), 500, 520)]);
    let ways = [500, 750, 1_000].map(|time| back(&mut model, ReportKind::Submit, time));
    assert_eq!(ways, [20, 15, 10]);
}

fn refused(text: &str) -> String {
    Recording::parse(text.as_bytes()).unwrap_err().to_string()
}

/// Every refusal says what, on which line, and what to do.
#[test]
fn a_bad_file_is_refused_with_what_and_where() {
    let row = |line: &str| refused(&format!("{RECORDING_HEADER}\nsubmit,{BASE},{},{}\n{line}", BASE + 1, BASE + 2));
    let (later, much_later) = (BASE + 5, BASE + 3_600_000_000_006);
    let cases = [
        (refused(""), "line 1 is ``"),
        (refused("request,venue,response\n"), "line 1 is `request,venue,response`"),
        (refused(RECORDING_HEADER), "no row of the kind submit"),
        (refused(&format!("{RECORDING_HEADER}\nfill,,{BASE},{later}\n")), "no row of the kind submit"),
        (row("\n"), "line 3 has 1 fields"),
        (row(&format!("submit,{later},{later}")), "line 3 has 3 fields"),
        (row(&format!("submit,{later},{later},{later},")), "line 3 has 5 fields"),
        (row(&format!("order,{later},{later},{later}")), "line 3: `order` is no kind"),
        (
            row(&format!("submit,,{later},{later}")),
            "line 3: request_ns is ``, not a whole number of nanoseconds; only fills",
        ),
        (row(&format!("submit,1e18,{later},{later}")), "line 3: request_ns is `1e18`"),
        (row(&format!("submit,{BASE},+{later},{later}")), "line 3: venue_ns is `+"),
        (row(&format!("submit,{BASE},{later},99999999999999999999")), "line 3: response_ns is `9999"),
        (row(&format!("fill,{BASE},{later},{later}")), "line 3: a fill has no request"),
        (
            row("submit,34200000000000,34200000000001,34200000000002"),
            "line 3: request_ns = 34200000000000 lies outside",
        ),
        (row(&format!("submit,{},{later},{later}", BASE - 1)), "line 3: request_ns = 1767623399999999999 lies before"),
        (row(&format!("submit,{later},{later},{much_later}")), "is not after request_ns"),
        (row(&format!("submit,{BASE},{later},{later}")), "is not after venue_ns"),
        (row(&format!("submit,{BASE},{much_later},{}", much_later + 1)), "the way there takes"),
        (row(&format!("submit,{BASE},{later},{much_later}")), "the way back takes 3600000000001 ns"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said}\nbut expected: {expected}");
    }
    let wrong = Recording::parse(&[RECORDING_HEADER.as_bytes(), b"\nsubmit,\xff"].concat());
    assert_eq!(wrong, Err(RecordingError::Encoding { offset: RECORDING_HEADER.len() + 8 }));
    let fill_back = format!("{RECORDING_HEADER}\nfill,,{later},{}\nfill,,{BASE},{later}\n", later + 1);
    assert!(refused(&fill_back).contains("line 3: venue_ns = "), "fills are in order of the venue's times");
}

#[test]
fn a_file_may_have_so_many_rows_and_not_one_more() {
    let rows = |count: usize| {
        let row = format!("submit,{BASE},{},{}\n", BASE + 1, BASE + 2);
        format!("{RECORDING_HEADER}\n{}", row.repeat(count))
    };
    assert_eq!(Recording::parse(rows(ROW_COUNT_MAX).as_bytes()).unwrap().counts()[0], ROW_COUNT_MAX);
    let too_many = Recording::parse(rows(ROW_COUNT_MAX + 1).as_bytes());
    assert_eq!(too_many, Err(RecordingError::TooMany { line: ROW_COUNT_MAX + 2 }));
}

/// The twin: looks at every row of a kind, and says between which two numbers the way lies, exactly.
fn is_right(points: &[(i64, i64)], time: i64, way: i64) -> bool {
    let before = points.iter().rev().find(|(at, _)| *at <= time);
    let next = points.iter().find(|(at, _)| *at > time);
    match (before, next) {
        (Some((t0, a)), Some((t1, b))) => {
            let [t0, t1, a, b, time, way] = [*t0, *t1, *a, *b, time, way].map(i128::from);
            // The exact way is this over the span, rounded down.
            let exact = a * (t1 - time) + b * (time - t0);
            way * (t1 - t0) <= exact && exact < (way + 1) * (t1 - t0)
        }
        (Some((_, nearest)), None) | (None, Some((_, nearest))) => way == *nearest,
        (None, None) => false,
    }
}

proptest! {
    /// Any recording, any questions, in order or not: the ways of the twin, and never below the least.
    #[test]
    fn every_way_is_the_one_of_the_twin(
        steps in prop::collection::vec((0_usize..4, 0_i64..2_000, 1_i64..1_000_000, 1_i64..1_000_000), 1..60),
        mut times in prop::collection::vec(-1_000_i64..140_000, 1..120),
        is_in_order: bool,
    ) {
        let (mut clock, mut rows) = (0, vec![("submit", Some(0), 7, 9)]);
        for (kind, step, way_there, way_back) in steps {
            clock += step;
            let kind = ReportKind::ALL[kind];
            let venue = if kind == ReportKind::Fill { clock } else { clock + way_there };
            rows.push((kind.name(), (kind != ReportKind::Fill).then_some(clock), venue, venue + way_back));
        }
        if is_in_order {
            times.sort_unstable();
        }
        let mut model = latency(&rows);
        let of = |kind: ReportKind| -> Vec<_> {
            let own: Vec<_> = rows.iter().filter(|row| row.0 == kind.name()).copied().collect();
            let submits = || rows.iter().filter(|row| row.0 == "submit").copied().collect();
            if own.is_empty() { submits() } else { own }
        };
        for time in times {
            for (request, kind) in [RequestKind::Submit, RequestKind::Replace, RequestKind::Cancel].into_iter().zip(ReportKind::ALL) {
                let points: Vec<_> = of(kind).iter().filter_map(|row| Some((row.1?, row.2 - row.1?))).collect();
                let way = there(&mut model, request, time);
                prop_assert!(is_right(&points, time, way), "{kind:?} there at {time}: {way} of {points:?}");
                prop_assert!(way >= model.way_there_min().0);
            }
            for kind in ReportKind::ALL {
                let mut points: Vec<_> = of(kind).iter().map(|row| (row.2, row.3 - row.2)).collect();
                points.sort_by_key(|point| point.0);
                let way = back(&mut model, kind, time);
                prop_assert!(is_right(&points, time, way), "{kind:?} back at {time}: {way} of {points:?}");
                prop_assert!(way >= model.way_back_min().0);
            }
        }
    }

    /// Triples that all take the same are the constant model.
    #[test]
    fn equal_triples_are_the_constant_model(
        to_venue in 1_i64..1_000_000_000,
        from_venue in 1_i64..1_000_000_000,
        times in prop::collection::vec(0_i64..40_000_000_000_000, 1..30),
    ) {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let rows: Vec<_> = sorted.iter().map(|t| ("submit", Some(*t), t + to_venue, t + to_venue + from_venue)).collect();
        let (mut model, mut constant) =
            (latency(&rows), ConstantLatency { to_venue: Nanos(to_venue), from_venue: Nanos(from_venue) });
        for time in times {
            for moment in [time - 1, time, time + 12_345_678_901] {
                let moment = EpochNanos(BASE + moment);
                prop_assert_eq!(
                    model.way_there(RequestKind::Cancel, moment),
                    constant.way_there(RequestKind::Cancel, moment)
                );
                prop_assert_eq!(model.way_back(ReportKind::Fill, moment), constant.way_back(ReportKind::Fill, moment));
            }
        }
        prop_assert_eq!(
            (model.way_there_min(), model.way_back_min()),
            (constant.way_there_min(), constant.way_back_min())
        );
    }
}
