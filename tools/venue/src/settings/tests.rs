//! What a profile of the exchange may say, and how it is refused.

use super::*;
use crate::bands::{BandTier, BandWidth};
use crate::supervisor::BandReference;

const GOOD: &str = include_str!("../../../../configs/venue.toml");

fn parse(text: &str) -> Result<Settings, SettingsError> {
    Settings::parse(text, Path::new("configs/venue.toml"))
}

#[test]
fn the_example_is_understood() {
    let settings = parse(GOOD).expect("the example is sound");
    assert_eq!((settings.ports.len(), settings.firms.len()), (2, 3));
    assert!(matches!(settings.flow, FlowSettings::Generator { .. }));
    assert_eq!(settings.lines[0].faults, LineFaults::default());
}

#[test]
fn agents_are_understood_each_with_an_account_and_held_to_their_ranges() {
    let text = include_str!("../../../../configs/venue_agents.toml");
    let settings = parse(text).expect("the example is sound");
    let FlowSettings::Agents(config) = &settings.flow else { panic!("{:?}", settings.flow) };
    assert_eq!(settings.firms.len(), settings.ports.len() + config.agent_count() as usize);
    let text = text.replace("learning_ppm = ", "learning_ppm = 9_").replace("edge_bps = ", "edge_bps = 99_99");
    let error = parse(&text).expect_err("two violations").to_string();
    assert!(error.contains("flow.makers.learning_ppm") && error.contains("flow.informed.edge_bps"), "{error}");
    let error = parse(&text.replace("looks_per_hour", "looks")).expect_err("no such key").to_string();
    assert!(error.contains("looks"), "{error}");
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = parse(&GOOD.replace("speed =", "sped =")).expect_err("no such key").to_string();
    assert!(error.contains("sped") && error.contains("line"), "{error}");
    let error = parse(&GOOD.replace("seed = 7", "seed = 7\nloss = 3")).expect_err("no such key").to_string();
    assert!(error.contains("loss"), "{error}");
}

#[test]
fn every_violation_is_named_at_once() {
    let text = GOOD
        .replace("speed = 1", "speed = 0")
        .replace("\"09:30:00\"", "\"9:30\"")
        .replace("line_a = \"", "line_a = \"nowhere")
        .replace("payload_len_max = 1_400", "payload_len_max = 70");
    let error = parse(&text).expect_err("four violations").to_string();
    for key in ["venue.speed", "hours.open", "feed.line_a", "feed.payload_len_max"] {
        assert!(error.contains(key), "{key}: {error}");
    }
}

#[test]
fn the_rules_of_the_day_are_understood_as_the_example_has_them_in_comments() {
    let rules = GOOD.split("# [bands]").nth(1).and_then(|text| text.split("\n[faults]").next());
    let rules = format!("[bands]{}", rules.expect("the example has them").replace("\n# ", "\n"));
    let text = |rules: &str| format!("{GOOD}{rules}").replace("# date = ", "date = ");
    let settings = parse(&text(&rules)).expect("sound");
    let DayRules { bands: Some(bands), ref tiers, imbalance: Some(imbalance) } = settings.rules else {
        panic!("{:?}", settings.rules)
    };
    assert_eq!((bands.reference, bands.pause_ns), (BandReference::LastTrade, 300_000_000_000));
    assert_eq!(tiers, &[BandTier::plain(500)]);
    let defaults = parse(&format!("{GOOD}[imbalance]\n")).expect("sound").rules.imbalance;
    assert_eq!(defaults, Some(imbalance), "Nasdaq's where they are left out");
    assert_eq!((settings.date, settings.ticks), (Some(Date { year: 2026, month: 11, day: 25 }), TickRules::default()));
    assert_eq!(parse(GOOD).expect("sound").rules, DayRules::default());
    parse(&text(&rules.replace("update_s = 30", "update_s = 45")))
        .expect("there is no mean that it would have to divide");
    for (from, to, said) in [
        ("width_bps = 500", "width_bps = 0", "bands.width_bps is 0: must be 1 to 9999"),
        ("width_bps = 500", "width_bps = 10_000", "bands.width_bps is 10000"),
        ("width_bps = 500", "# none = 500", "bands.width_bps is missing: must be there, where there are no"),
        ("pause_s = 300", "pause_s = 300\ndoubled_close_s = 90_000", "bands.doubled_close_s is 90000"),
        ("update_s = 30", "update_s = 0", "bands.update_s is 0"),
        ("pause_s = 300", "pause_s = 90_000", "bands.pause_s is 90000"),
        ("\"last_trade\"", "\"mean_trade\"\nmean_s = 299", "bands.mean_s is 299: must be a multiple of bands.update_s"),
        ("pause_s = 300", "pause_s = 300\nchange_bps = 10_000", "bands.change_bps is 10000"),
        ("pause_s = 300", "pause_s = 0\nlimit_state_s = 15", "bands.limit_state_s is 15: must be 0 where"),
        ("\"last_trade\"", "\"last\"", "line"),
        ("pause_s = 300", "pause = 300", "line"),
        ("interval_ms = 1_000", "interval_ms = 1", "imbalance.interval_ms is 1"),
        ("[\"*\"]", "[\"*\", \"*\"]", "instruments.tick_tables[0].symbols is `*`"),
        ("[\"*\"]", "[\"ASGV\"]", "instruments.tick_tables is without `*`"),
        ("\"0.0001\"]", "\"0.00005\"]", "instruments.tick_tables[0].bands is finer than the feed"),
        ("[\"1\", \"0.01\"]", "[\"1\", \"0.03\"]", "instruments.tick_tables[0].bands is the band from 1"),
        ("2026-11-27", "2026-11-31", "calendar.early_closes is `2026-11-31`"),
        ("2026-11-26", "2026-11-25", "venue.date is 2026-11-25: must be a day with a session"),
    ] {
        assert_eq!(rules.matches(from).count(), 1, "{from}");
        let error = parse(&text(&rules.replace(from, to))).expect_err(to).to_string();
        assert!(error.contains(said), "{to}: {error}");
    }
    let early = text(&rules.replace("close = \"10:00:00\"", "close = \"10:30:00\""));
    let error = parse(&early).expect_err("not early").to_string();
    assert!(error.contains("calendar.early_hours"), "{error}");
}

#[test]
fn tiers_of_bands_are_understood_as_the_documentation_has_them() {
    let documented = include_str!("../../../../docs/venue.md");
    let tiers =
        documented.split("```toml\n").skip(1).find(|text| text.contains("[[bands.tiers]]")).expect("an example");
    let tiers = tiers.split("```").next().expect("its end");
    let text = |tiers: &str| format!("{GOOD}{tiers}");
    let rules = parse(&text(tiers)).expect("sound").rules;
    let bands = rules.bands.expect("they are there");
    assert_eq!((bands.doubled_open_ns, bands.doubled_close_ns), (900_000_000_000, 1_500_000_000_000));
    assert_eq!((bands.reference, bands.update_ns), (BandReference::MeanTrade, 30_000_000_000));
    assert_eq!((bands.mean_ns, bands.change_bps, bands.limit_state_ns), (300_000_000_000, 100, 15_000_000_000));
    let [first, others] = &rules.tiers[..] else { panic!("{:?}", rules.tiers) };
    assert_eq!((first.symbols.as_ref().map(Vec::len), &others.symbols), (Some(2), &None));
    let width = |from, width_bps| BandWidth { from: Price(from), ..BandWidth::plain(width_bps) };
    let late = |width| BandWidth { is_doubled_at_close: true, ..width };
    let [low, middle] =
        [late(BandWidth { width_max: Some(Price(150_000_000)), ..width(0, 7_500) }), late(width(750_000_000, 2_000))];
    assert_eq!(first.widths, [low, middle, late(width(3_000_100_000, 500))]);
    assert_eq!(others.widths, [low, middle, width(3_000_100_000, 1_000)]);
    let early = tiers.replacen("doubled = [\"close\"]", "doubled = [\"open\", \"close\"]", 1);
    assert!(parse(&text(&early)).expect("sound").rules.tiers[0].widths[0].is_doubled_at_open);
    for (from, to, said) in [
        ("reference = ", "width_bps = 500\nreference = ", "bands.tiers is given: must be absent"),
        ("[\"*\"]", "[]", "bands.tiers[1].symbols is empty, or `*` again"),
        ("[\"*\"]", "[\"*\", \"ABCD\"]", "bands.tiers[1].symbols is `*`"),
        ("[\"*\"]", "[\"ASGV\"]", "bands.tiers[1].symbols is `ASGV`"),
        ("[\"ASGV\", \"BDZK\"]", "[\"*\"]", "bands.tiers[1].symbols is empty, or `*` again"),
        ("bps = 1_000", "bps = 10_000", "bands.tiers[1].widths.bps is 10000"),
        ("from = \"3.0001\", bps = 500", "from = \"0.75\", bps = 500", "bands.tiers[0].widths is from `0.75`"),
        ("from = \"3.0001\", bps = 500", "from = \"three\", bps = 500", "bands.tiers[0].widths is from `three`"),
    ] {
        assert_eq!(tiers.matches(from).count(), 1, "{from}");
        let error = parse(&text(&tiers.replace(from, to))).expect_err(to).to_string();
        assert!(error.contains(said), "{to}: {error}");
    }
    for (from, to, said) in [
        ("at_most = \"0.15\"", "at_most = \"0\"", "bands.tiers[0].widths.at_most is `0`"),
        ("from = \"0\", ", "from = \"0.01\", ", "bands.tiers[0].widths is from `0.01`"),
        ("doubled = [\"close\"]", "doubled = [\"noon\"]", "noon"),
    ] {
        let error = parse(&text(&tiers.replace(from, to))).expect_err(to).to_string();
        assert!(error.contains(said), "{to}: {error}");
    }
    let empty = tiers.split("widths = [").next().map(|head| format!("{head}widths = []\n")).expect("widths");
    let error = parse(&text(&empty)).expect_err("no width").to_string();
    assert!(error.contains("bands.tiers[0].widths is empty"), "{error}");
}

#[test]
fn a_calendar_knows_the_day_of_a_tape_by_its_name() {
    let tape = |name: &str| {
        let flow = format!("kind = \"file\"\npath = \"{name}\"\n\n[faults]");
        let (head, tail) = GOOD.split_once("[flow] ").expect("a flow");
        let tail = tail.split_once("[faults]").expect("faults").1;
        parse(&format!("{head}[flow]\n{flow}{tail}[calendar]\nholidays = [\"2019-12-25\"]\n"))
    };
    let date = tape("12302019.NASDAQ_ITCH50.gz").expect("a Monday").date;
    assert_eq!(date, Some(Date { year: 2019, month: 12, day: 30 }));
    for (name, said) in [("12252019.gz", "venue.date is 2019-12-25"), ("tape.gz", "venue.date is missing")] {
        let error = tape(name).expect_err("no session").to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn sessions_roll_at_times_of_the_day_the_feeds_and_each_ports() {
    let faults = "[port.faults]\nsession_rolls = [\"10:00:00\", \"10:10:00\"]\n\n[drop_copy]";
    let text = GOOD.replace("[drop_copy]", faults);
    let at = |minutes: u64| TimeOfDay((600 + minutes) * 60_000_000_000);
    let incidents = parse(&text).expect("sound").incidents;
    assert_eq!(incidents, [(at(0), Incident::PortSessionRoll(1)), (at(10), Incident::PortSessionRoll(1))]);
    let both = text.replace("seed = 7", "seed = 7\nsession_rolls = [\"10:00:00\"]");
    assert_eq!(parse(&both).expect("sound").incidents.len(), 3);
    let error = parse(&text.replace("10:10:00", "10:10")).expect_err("no time").to_string();
    assert!(error.contains("port[1].faults.session_rolls is `10:10`"), "{error}");
}

#[test]
fn times_are_two_digits_each() {
    assert_eq!(parse_time("09:30:01"), Some(TimeOfDay(34_201_000_000_000)));
    for text in ["9:30:00", "24:00:00", "10:60:00", "10:00", "10:00:00:00", "aa:00:00", "+1:00:00"] {
        assert_eq!(parse_time(text), None, "{text}");
    }
}
