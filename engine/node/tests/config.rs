//! The shipped profiles load; a broken one is refused with every violation at once, each with its place.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use peregrine_node::config::{ConfigError, Loaded, schema_text};
use peregrine_types::{Price, SymbolId, TickTable};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name)
}

fn refused(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.toml");
    fs::write(&file, text).unwrap();
    match Loaded::read(&file, &[]) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the profile was accepted"),
    }
}

#[test]
fn every_shipped_profile_loads_and_prints_back_to_itself() {
    for name in ["replay.toml", "demo.toml"] {
        let loaded = Loaded::read(&shipped(name), &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy.toml");
        fs::write(&copy, loaded.config.canonical()).unwrap();
        let again = Loaded::read(&copy, &[]).unwrap();
        assert_eq!(again.config, loaded.config);
        assert_eq!(again.config.sha256(), loaded.config.sha256());
        assert!(loaded.print().contains("limits.toml:"), "the origin of included values is shown");
    }
}

#[test]
fn every_violation_is_reported_at_once_with_key_value_bound_and_line() {
    let text = fs::read_to_string(shipped("replay.toml")).unwrap();
    let limits = fs::read_to_string(shipped("limits.toml")).unwrap();
    let broken = text
        .replace("include = [\"limits.toml\"]\n", "")
        .replace("action_threshold = 0.3", "action_threshold = 1.5")
        .replace("order_qty = 100", "order_qty = \"many\"")
        .replace("feature_tick = \"0.01\"", "feature_tick = \"0.0x\"\nfancy = 1 #")
        .replace("wiring = \"fused\"", "wiring = \"woven\"")
        + &limits.replace("order_qty_max = 1_000 ", "# ");
    let message = refused(&broken);
    for expected in
        ["decide.action_threshold", "1.5", "0 to 1", "decide.order_qty", "decide.feature_tick", "decide.fancy", "woven"]
    {
        assert!(message.contains(expected), "{expected} is not named in:\n{message}");
    }
    assert!(message.contains("risk.order_qty_max") && message.contains("is missing"), "{message}");
    let line = broken.lines().position(|line| line.starts_with("fancy")).unwrap() + 1;
    assert!(message.contains(&format!("p.toml:{line}")), "the line of the unknown key is missing in:\n{message}");
}

#[test]
fn a_missing_limit_is_an_error_for_every_limit() {
    let profile = Loaded::read(&shipped("replay.toml"), &[]).unwrap().config.canonical();
    let mut section = String::new();
    let mut checked = 0;
    for line in profile.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            continue;
        }
        let Some((key, _)) = line.split_once(" = ") else { continue };
        let without: String = remove_key(&profile, &section, line);
        let message = refused(&without);
        assert!(message.contains(&format!("{section}.{key}")), "{section}.{key} missing was not named: {message}");
        checked += 1;
    }
    assert!(checked > 50, "only {checked} keys were tried");
}

fn remove_key(profile: &str, section: &str, line: &str) -> String {
    let mut inside = String::new();
    let keep = |candidate: &&str| {
        if candidate.starts_with('[') {
            inside = candidate.trim_matches(['[', ']']).to_owned();
        }
        !(inside == section && *candidate == line)
    };
    profile.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_command_line_overrides_and_is_checked_like_a_file() {
    let set = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Loaded::read(&shipped("replay.toml"), &words)
    };
    assert_eq!(set(&["risk.order_qty_max=200"]).unwrap().config.risk.order_qty_max, 200);
    let wrong = set(&["risk.order_qty_max=0", "nonsense", "risk.nothing=1"]).unwrap_err().to_string();
    for expected in ["risk.order_qty_max", "nonsense", "risk.nothing"] {
        assert!(wrong.contains(expected), "{expected} is not named in {wrong}");
    }
    let crossed = set(&["guard.inference_p99_halt_ns=1000", "guard.inference_p99_warn_ns=1000"]);
    assert!(crossed.unwrap_err().to_string().contains("must be above"));
}

/// What a replay would refuse when it builds its stages is said by the check already.
#[test]
fn values_that_do_not_hold_together_are_violations() {
    let set = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Loaded::read(&shipped("replay.toml"), &words).map(drop)
    };
    let cases: &[(&[&str], &str)] = &[
        (&["risk.duplicate_window_ns=1000000001"], "risk.duplicate_window_ns"),
        (&["decide.action_threshold=0.0", "decide.action_hysteresis=0.0"], "decide.action_threshold"),
        (&["decide.action_hysteresis=0.4"], "decide.action_hysteresis"),
        (&["decide.is_quoting_by_prediction=true", "decide.quote_edge_ticks=-1.0"], "decide.quote_edge_ticks"),
        (&["decide.symbols=[\"A\",\"B\",\"A\"]", "decide.watched_count_max=1"], "decide.watched_count_max"),
        (&["risk.permitted_symbols=[\"A\",\"B\"]", "feed.symbol_count_max=1"], "feed.symbol_count_max"),
        (&["decide.watched_count_max=128"], "runtime.order_slots"),
        (&["risk.open_orders_max=4097"], "runtime.order_slots"),
    ];
    for (words, key) in cases {
        let message = set(words).unwrap_err().to_string();
        assert!(message.contains("1 violation:") && message.contains(key), "{words:?}: {message}");
    }
    set(&["decide.symbols=[\"A\",\"*\",\"A\"]", "decide.watched_count_max=1"]).unwrap();
    set(&["decide.watched_count_max=128", "risk.open_orders_max=100"]).unwrap();
}

/// A replacement is an open order beside the one that it is to replace, and what the engine holds for controllers rests too.
#[test]
fn rings_have_room_for_replacements_and_for_what_the_engine_holds() {
    let set = |words: &[String]| Loaded::read(&shipped("replay.toml"), words).map(drop);
    let protect = |is_for_controllers: bool| {
        let keys =
            ["stop_loss_ticks=1", "take_profit_ticks=1", "exit_slippage_ticks=1", "cooldown_ns=0", "retry_pause_ns=0"];
        let mut words: Vec<String> = keys.iter().map(|key| format!("protect.{key}")).collect();
        words.push("protect.is_stop_on_trade=false".to_owned());
        words.push(format!("protect.is_for_controllers={is_for_controllers}"));
        words
    };
    for mut words in [vec!["decide.use_replace=true".to_owned()], protect(true)] {
        let message = set(&words).unwrap_err().to_string();
        assert!(message.contains("1 violation:") && message.contains("runtime.order_slots"), "{words:?}: {message}");
        words.push("runtime.order_slots=16384".to_owned());
        set(&words).unwrap();
    }
    // Exits go out alone.
    set(&protect(false)).unwrap();
}

#[test]
fn broken_files_name_the_place() {
    assert!(refused("[risk\n").contains("no TOML"));
    assert!(refused("x = 1\n").contains("outside of every section"));
    assert!(refused("include = [\"missing.toml\"]\n").contains("missing.toml"));
    assert!(refused("include = [\"p.toml\"]\n").contains("deep"));
    assert!(matches!(Loaded::read(Path::new("no-such.toml"), &[]), Err(ConfigError::Read { .. })));
}

#[test]
fn the_schema_names_every_key_of_the_shipped_profile() {
    let schema = schema_text();
    let profile = Loaded::read(&shipped("replay.toml"), &[]).unwrap().config.canonical();
    for line in profile.lines() {
        let name = line.split(" = ").next().unwrap_or_default();
        assert!(schema.lines().any(|known| known == name), "{name} is not documented");
    }
}

#[test]
fn tick_tables_are_by_symbol_and_price_and_refused_when_they_do_not_hold() {
    let set = |rules: &str| {
        let word = format!("instruments.tick_tables=[{rules}]");
        Loaded::read(&shipped("replay.toml"), &["decide.symbols=[\"AAPL\"]".to_owned(), word])
    };
    let us = r#"{ symbols = ["*"], bands = [["0", "0.0001"], ["1", "0.01"]] }"#;
    let coarse = r#"{ symbols = ["BRK.A"], bands = [["0", "0.05"]] }"#;
    let config = set(&format!("{us}, {coarse}")).unwrap().config;
    assert_eq!(config.named_symbols(), ["AAPL", "BRK.A"], "whoever has a table of its own has a known identifier");
    let tables = config.tick_tables().unwrap();
    assert_eq!(tables.of(SymbolId(0)), &TickTable::US_EQUITY);
    assert_eq!(tables.of(SymbolId(1)), &TickTable::uniform_or_cent(Price(50_000_000)));
    assert_eq!(tables.of(SymbolId(2)), &TickTable::US_EQUITY);
    for (rules, expected) in [
        (coarse, "one rule for"),
        (&format!("{us}, {us}"), "no symbol in two"),
        (r#"{ symbols = ["*"], bands = [["1", "0.01"]] }"#, "rule 1: the band from 1: bands begin at 0 and ascend"),
        (r#"{ symbols = ["*"], bands = [["0", "0.3"], ["1", "0.5"]] }"#, "does not begin on its own tick"),
        (r#"{ symbols = ["*"], bands = [["0"]] }"#, "[from, tick]"),
        (r#"{ symbols = ["*"], bands = [["0", 1]] }"#, "decimal in a string"),
        (r#"{ symbols = ["*"] }"#, "a rule has no bands"),
        (r#"{ symbols = ["*"], bands = [["0", "1"]], lot = 1 }"#, "\"lot\" is no key"),
        ("1", "table { symbols, bands }"),
    ] {
        let error = set(rules).unwrap_err().to_string();
        assert!(error.contains("instruments.tick_tables (command line)") && error.contains(expected), "{error}");
    }
}
