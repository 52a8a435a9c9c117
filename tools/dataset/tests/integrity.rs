//! Every rule of the gate with its fault just within and just beyond its threshold.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test's helpers fail as it does")]

mod common;

use jiff::civil::date;
use peregrine_dataset::bars::Bar;
use peregrine_dataset::integrity::{
    Action, BarGate, BarRules, GateReport, JudgedBar, Place, Reason, Segment, TickGate, TickRow, TickRules, TickVerdict,
};
use peregrine_dataset::ticks::TicksConfig;

const DAY: i64 = 86_400_000_000_000;

fn place(line: usize) -> Place {
    Place { file: std::path::Path::new("acme.csv").into(), line: u64::try_from(line).unwrap() }
}

/// Eighty daily bars from Monday 2001-01-01 on, weekends included as days without a bar.
fn table() -> Vec<JudgedBar> {
    let mut bars = Vec::new();
    let mut day = date(2001, 1, 1);
    while bars.len() < 80 {
        if !matches!(day.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday) {
            let number = i64::from((day - date(1970, 1, 1)).get_days());
            let close = if bars.len() % 2 == 0 { 100.0 } else { 101.0 };
            let bar = Bar { time_ns: number * DAY, open: close, high: 102.0, low: 99.0, close, volume: 1_000.0 };
            bars.push(JudgedBar { bar, date: day, is_in_session: true, price_factor: 1.0, split_factor: 1.0 });
        }
        day = day.tomorrow().unwrap();
    }
    bars
}

fn judge(rules: &BarRules, bars: &[JudgedBar]) -> Result<(Vec<Segment>, GateReport), String> {
    let mut gate = BarGate::new(rules, DAY);
    for (index, bar) in bars.iter().enumerate() {
        gate.judge(bar.clone(), &place(index + 2)).map_err(|halted| halted.to_string())?;
    }
    Ok(gate.finish())
}

/// Where the fault of each case goes: the seventieth bar.
const AT: usize = 70;
type Change = fn(&mut Vec<JudgedBar>);
type Set = fn(&mut BarRules, Action);

/// A rule, how to set it, what just passes and what just does not, and the actions that mean something.
struct Case {
    reason: Reason,
    set: Set,
    within: Change,
    beyond: Change,
    actions: &'static [Action],
}

#[expect(clippy::too_many_lines, reason = "a table of faults")]
fn cases() -> Vec<Case> {
    use Action::{Cut, Drop, Halt, Impute, Keep};
    fn case(reason: Reason, set: Set, within: Change, beyond: Change, actions: &'static [Action]) -> Case {
        Case { reason, set, within, beyond, actions }
    }
    vec![
        case(
            Reason::TimestampOutOfRange,
            |rules, action| (rules.last_date, rules.timestamp_out_of_range) = (date(2001, 4, 20), action),
            |_| {},
            |bars| bars[79].date = date(2001, 4, 21),
            &[Halt, Drop],
        ),
        case(
            Reason::TimestampBackwards,
            |rules, action| rules.timestamp_backwards = action,
            |bars| bars[AT].bar.time_ns = bars[AT - 1].bar.time_ns + 1,
            |bars| bars[AT].bar.time_ns = bars[AT - 1].bar.time_ns - 1,
            &[Halt, Drop],
        ),
        case(
            Reason::TimestampDuplicate,
            |rules, action| rules.timestamp_duplicate = action,
            |bars| bars[AT].bar.time_ns = bars[AT - 1].bar.time_ns + 1,
            |bars| bars[AT].bar.time_ns = bars[AT - 1].bar.time_ns,
            &[Halt, Drop],
        ),
        case(
            Reason::OutsideSession,
            |rules, action| rules.outside_session = action,
            |_| {},
            |bars| bars[AT].is_in_session = false,
            &[Halt, Drop, Keep],
        ),
        case(
            Reason::PriceNotFinite,
            |rules, action| rules.price_not_finite = action,
            |_| {},
            |bars| bars[AT].bar.open = f64::NAN,
            &[Halt, Drop, Impute],
        ),
        case(
            Reason::PriceOutOfRange,
            |rules, action| (rules.price_max, rules.price_out_of_range) = (103.0, action),
            |bars| bars[AT].bar.high = 103.0,
            |bars| bars[AT].bar.high = 103.001,
            &[Halt, Drop],
        ),
        case(
            Reason::PriceOutOfRange,
            |rules, action| (rules.price_min, rules.price_out_of_range) = (0.01, action),
            |bars| bars[AT].bar.low = 0.01,
            |bars| bars[AT].bar.low = 0.0,
            &[Halt, Drop],
        ),
        case(
            Reason::VolumeNotFinite,
            |rules, action| rules.volume_not_finite = action,
            |_| {},
            |bars| bars[AT].bar.volume = f64::INFINITY,
            &[Halt, Drop, Impute],
        ),
        case(
            Reason::VolumeNegative,
            |rules, action| rules.volume_negative = action,
            |bars| bars[AT].bar.volume = 1.0,
            |bars| bars[AT].bar.volume = -1.0,
            &[Halt, Drop],
        ),
        case(
            Reason::VolumeZero,
            |rules, action| rules.volume_zero = action,
            |bars| bars[AT].bar.volume = 1.0,
            |bars| bars[AT].bar.volume = 0.0,
            &[Halt, Drop, Keep],
        ),
        case(
            Reason::OhlcInconsistent,
            |rules, action| (rules.ohlc_tolerance, rules.ohlc_inconsistent) = (0.01, action),
            |bars| (bars[AT].bar.high, bars[AT].bar.low) = (99.01, 99.0),
            |bars| (bars[AT].bar.high, bars[AT].bar.low) = (98.99, 98.0),
            &[Halt, Drop, Keep],
        ),
        case(
            Reason::Stale,
            |rules, action| (rules.stale_bars_max, rules.stale) = (3, action),
            |bars| bars[AT..AT + 4].iter_mut().for_each(|bar| bar.bar.close = 100.5),
            |bars| bars[AT..AT + 5].iter_mut().for_each(|bar| bar.bar.close = 100.5),
            &[Halt, Drop, Keep, Cut],
        ),
        case(
            Reason::Gap,
            |rules, action| (rules.gap_hours_max, rules.gap) = (96.0, action),
            |bars| drop(bars.drain(AT..=AT)),
            |bars| drop(bars.drain(AT - 1..=AT)),
            &[Halt, Cut, Keep],
        ),
        case(
            Reason::UnexplainedSplit,
            |rules, action| (rules.return_bound, rules.unexplained_split) = (Keep, action),
            |bars| scale_from(bars, 0.5 * 1.031),
            |bars| scale_from(bars, 0.5),
            &[Halt, Cut, Keep],
        ),
        case(
            Reason::ReturnBound,
            |rules, action| (rules.return_abs_max, rules.return_bound) = (0.3, action),
            |bars| scale_from(bars, 1.33),
            |bars| scale_from(bars, 1.37),
            &[Halt, Cut, Keep],
        ),
        case(
            Reason::Outlier,
            |rules, action| (rules.outlier_z_max, rules.outlier) = (5.0, action),
            // Returns alternate between ±ln 1.01; their median absolute deviation is that, 5 × 1.4826 × ln 1.01 = 0.0738.
            |bars| scale_from(bars, 1.083),
            |bars| scale_from(bars, 1.095),
            &[Halt, Cut, Keep],
        ),
    ]
}

/// All prices from the seventieth bar on.
fn scale_from(bars: &mut [JudgedBar], factor: f64) {
    for bar in &mut bars[AT..] {
        bar.bar = bar.bar.adjusted(factor, 1.0);
    }
}

/// The shipped rules, with every other rule out of the way of the one that is tested.
fn rules() -> BarRules {
    let mut rules = common::bars_profile().integrity;
    (rules.outlier_z_max, rules.split_tolerance, rules.return_abs_max) = (1e9, 0.02, 10.0);
    rules
}

#[test]
fn every_rule_of_bars_bites_just_beyond_its_threshold_and_not_within() {
    for case in cases() {
        for action in case.actions {
            let mut rules = rules();
            (case.set)(&mut rules, *action);
            let what = format!("{:?}, {action:?}", case.reason);
            let mut within = table();
            (case.within)(&mut within);
            let (segments, report) = judge(&rules, &within).unwrap_or_else(|halted| panic!("{what}: {halted}"));
            assert_eq!(report.count(case.reason), 0, "{what}: within");
            assert_eq!((segments.len(), segments[0].len()), (1, within.len()), "{what}: within");
            let mut beyond = table();
            (case.beyond)(&mut beyond);
            check_beyond(&what, &case, (*action, &beyond), judge(&rules, &beyond));
        }
    }
}

fn check_beyond(
    what: &str,
    case: &Case,
    (action, bars): (Action, &[JudgedBar]),
    judged: Result<(Vec<Segment>, GateReport), String>,
) {
    if action == Action::Halt {
        let halted = judged.unwrap_err();
        assert!(halted.contains(case.reason.code()) && halted.contains("acme.csv, line"), "{what}: {halted}");
        assert!(halted.contains("allowed"), "{what}: {halted}");
        return;
    }
    let (segments, report) = judged.unwrap_or_else(|halted| panic!("{what}: {halted}"));
    assert_eq!(report.count(case.reason), 1, "{what}");
    assert_eq!(report.findings[&case.reason].action, action, "{what}");
    let rows: usize = segments.iter().map(Vec::len).sum();
    let expected = match action {
        Action::Drop => (1, bars.len() - 1),
        Action::Cut => (2, bars.len()),
        Action::Keep | Action::Impute | Action::Halt => (1, bars.len()),
    };
    assert_eq!((segments.len(), rows), expected, "{what}");
    assert!(segments.iter().flatten().all(|bar| bar.bar.close.is_finite()), "{what}");
}

#[test]
fn a_gap_is_imputed_day_by_day_but_not_beyond_its_length() {
    let mut rules = rules();
    (rules.gap, rules.gap_hours_max, rules.impute_bars_max) = (Action::Impute, 80.0, 3);
    let mut bars = table();
    let missing: Vec<JudgedBar> = bars.drain(AT..AT + 3).collect();
    let (segments, report) = judge(&rules, &bars).unwrap();
    let imputed: Vec<_> = segments[0].iter().filter(|bar| bar.is_imputed).collect();
    assert_eq!((segments.len(), report.count(Reason::Gap), imputed.len()), (1, 1, 3));
    for (bar, missing) in imputed.iter().zip(&missing) {
        assert_eq!((bar.bar.time_ns, bar.bar.close), (missing.bar.time_ns, bars[AT - 1].bar.close));
    }
    assert_eq!(report.count(Reason::ImputedBar), 3);
    bars.drain(AT..=AT);
    let (segments, _) = judge(&rules, &bars).unwrap();
    assert_eq!(segments.len(), 2, "four missing bars are cut");
}

#[test]
fn a_split_that_the_factor_file_tells_of_is_none() {
    let mut bars = table();
    scale_from(&mut bars, 0.5);
    for bar in &mut bars[AT..] {
        (bar.price_factor, bar.split_factor) = (2.0, 2.0);
    }
    let (segments, report) = judge(&rules(), &bars).unwrap();
    assert_eq!((segments.len(), report.findings.len()), (1, 0));
    assert_eq!(segments[0][AT].bar.volume, 500.0, "volume in shares of the first bar");
}

#[test]
fn what_is_imputed_on_a_split_day_is_in_the_units_of_that_day() {
    let mut rules = rules();
    (rules.price_not_finite, rules.volume_not_finite) = (Action::Impute, Action::Impute);
    rules.return_abs_max = 0.1;
    (rules.unexplained_split, rules.return_bound) = (Action::Halt, Action::Halt);
    let mut bars = table();
    // Two for one: half the price, twice the shares.
    scale_from(&mut bars, 0.5);
    for bar in &mut bars[AT..] {
        (bar.price_factor, bar.split_factor, bar.bar.volume) = (2.0, 2.0, 2_000.0);
    }
    let expected = (bars[AT - 1].bar.close, 1_000.0);
    (bars[AT].bar.close, bars[AT].bar.volume) = (f64::NAN, f64::NAN);
    let (segments, report) = judge(&rules, &bars).unwrap();
    assert_eq!((segments.len(), segments[0].len()), (1, bars.len()));
    let made = segments[0][AT];
    assert_eq!((made.bar.close, made.bar.volume, made.is_imputed), (expected.0, expected.1, true));
    assert_eq!((made.bar.low, made.bar.high), (99.0, 102.0), "what is there stays");
    assert_eq!(report.count(Reason::ImputedBar), 1);
    // Only what lacks its close has unknown returns.
    let mut bars = table();
    (bars[AT].bar.open, bars[AT].bar.volume) = (f64::NAN, f64::NAN);
    let (segments, report) = judge(&rules, &bars).unwrap();
    assert_eq!((segments[0][AT].is_imputed, report.count(Reason::ImputedBar)), (false, 0));
}

#[test]
fn an_unreadable_line_halts_or_is_counted() {
    let mut rules = rules();
    let run = |rules: &BarRules| {
        let mut gate = BarGate::new(rules, DAY);
        gate.unreadable("x", &place(3)).map(|()| gate.finish().1.count(Reason::UnreadableLine))
    };
    assert!(run(&rules).unwrap_err().to_string().contains("line 3"));
    rules.unreadable_line = Action::Drop;
    assert_eq!(run(&rules).unwrap(), 1);
}

fn tick_rules() -> TickRules {
    TicksConfig::load(&common::root().join("configs/train/dataset-ticks.toml")).unwrap().integrity
}

const GOOD: TickRow =
    TickRow { time_ns: 1_000_000_000, bid: 10.0, ask: 10.02, is_in_session: true, is_book_good: true };

type TickCase = (Reason, fn(&mut TickRules, Action), TickRow, TickRow, &'static [Action], bool);

/// Rule, setter, a row that just passes, one that just does not, actions, and whether a cut row begins the next sequence.
#[expect(clippy::too_many_lines, reason = "a table of faults")]
fn tick_cases() -> Vec<TickCase> {
    use Action::{Cut, Drop, Halt, Keep};
    let next = TickRow { time_ns: GOOD.time_ns + 1, ..GOOD };
    let moved = |by: f64| TickRow { bid: 10.0 + by, ask: 10.02 + by, ..next };
    vec![
        (
            Reason::TimestampBackwards,
            |rules, action| rules.timestamp_backwards = action,
            GOOD,
            TickRow { time_ns: GOOD.time_ns - 1, ..GOOD },
            &[Halt, Drop, Cut],
            true,
        ),
        (
            Reason::OutsideSession,
            |rules, action| rules.outside_session = action,
            next,
            TickRow { is_in_session: false, ..next },
            &[Halt, Drop, Cut],
            false,
        ),
        (
            Reason::BookNotGood,
            |rules, action| rules.book_not_good = action,
            next,
            TickRow { is_book_good: false, ..next },
            &[Halt, Drop, Cut],
            false,
        ),
        (
            Reason::OneSided,
            |rules, action| rules.one_sided = action,
            next,
            TickRow { bid: 0.0, ..next },
            &[Halt, Drop, Cut],
            false,
        ),
        (
            Reason::CrossedOrLocked,
            |rules, action| rules.crossed_or_locked = action,
            TickRow { bid: 10.019, ..next },
            TickRow { bid: 10.02, ..next },
            &[Halt, Drop, Cut],
            false,
        ),
        (
            Reason::PriceOutOfRange,
            |rules, action| (rules.price_max, rules.price_out_of_range) = (10.03, action),
            TickRow { ask: 10.03, ..next },
            TickRow { ask: 10.031, ..next },
            &[Halt, Drop, Cut],
            false,
        ),
        (
            Reason::SpreadBound,
            |rules, action| (rules.spread_bps_max, rules.spread_bound) = (30.0, action),
            TickRow { ask: 10.030, ..next },
            TickRow { ask: 10.031, ..next },
            &[Halt, Drop, Cut, Keep],
            false,
        ),
        (
            Reason::Stale,
            |rules, action| (rules.stale_ms_max, rules.stale) = (500, action),
            TickRow { time_ns: GOOD.time_ns + 500_999_999, ..GOOD },
            TickRow { time_ns: GOOD.time_ns + 501_000_000, ..GOOD },
            &[Halt, Cut, Keep],
            true,
        ),
        (
            Reason::ReturnBound,
            |rules, action| (rules.return_abs_max, rules.return_bound) = (0.01, action),
            moved(0.1),
            moved(0.101),
            &[Halt, Drop, Cut, Keep],
            true,
        ),
        (
            Reason::Outlier,
            |rules, action| (rules.outlier_spreads_max, rules.outlier) = (4.0, action),
            moved(0.079),
            moved(0.081),
            &[Halt, Drop, Cut, Keep],
            true,
        ),
    ]
}

#[test]
fn every_rule_of_ticks_bites_just_beyond_its_threshold_and_not_within() {
    for (reason, set, within, beyond, actions, begins) in tick_cases() {
        for action in actions {
            let what = format!("{reason:?}, {action:?}");
            let mut rules = tick_rules();
            set(&mut rules, *action);
            let judge = |row: &TickRow| {
                let (mut gate, mut report) = (TickGate::default(), GateReport::default());
                gate.judge(&GOOD, &rules, &mut report, &place(1)).unwrap();
                let verdict = gate.judge(row, &rules, &mut report, &place(2));
                verdict.map(|verdict| (verdict, report.count(reason)))
            };
            assert_eq!(judge(&within).unwrap(), (TickVerdict::Keep, 0), "{what}: within");
            let judged = judge(&beyond);
            let expected = match action {
                Action::Halt => {
                    let halted = judged.unwrap_err().to_string();
                    assert!(halted.contains(reason.code()) && halted.contains("line 2"), "{what}: {halted}");
                    continue;
                }
                Action::Drop => TickVerdict::Drop,
                Action::Cut if begins => TickVerdict::CutBefore,
                Action::Cut => TickVerdict::CutAndDrop,
                Action::Keep | Action::Impute => TickVerdict::Keep,
            };
            assert_eq!(judged.unwrap(), (expected, 1), "{what}");
        }
    }
}
