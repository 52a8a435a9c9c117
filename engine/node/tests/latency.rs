//! Recorded latencies in a run: constant triples are the constant model, any triples have one outcome in every wiring, and
//! the file is part of what a verification holds a run against.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::{itch_file, json, peregrine, replay, run_plan, shipped, verify, with_held};
use peregrine_eventlog::records::{OrderRecord, OrderTransition};
use peregrine_eventlog::{LogReader, Stream};
use peregrine_node::config::{Config, PaperBurstSection, PaperKindsSection, PaperSection, PaperSpreadSection, Wiring};
use peregrine_node::run::{Run, RunPlan};
use peregrine_runtime::StopFlag;

/// Midnight of 2026-03-10 in New York: another day than the session's, in summer time.
const MIDNIGHT: i64 = 1_773_115_200_000_000_000;
/// Midnight of the session's day, 2026-01-05.
const SESSION_MIDNIGHT: i64 = 1_767_589_200_000_000_000;
const MINUTE: i64 = 60_000_000_000;

/// A file of triples, one each minute from 4:00 to 20:00 for every kind but replacements, with the ways that `ways` gives.
fn write(path: &Path, ways: impl Fn(i64, &str) -> (i64, i64)) {
    let mut text = "kind,request_ns,venue_ns,response_ns\n".to_owned();
    for minute in 4 * 60..20 * 60 {
        for kind in ["submit", "cancel", "fill"] {
            let ((there, back), time) = (ways(minute, kind), MIDNIGHT + minute * MINUTE);
            let (request, venue) =
                if kind == "fill" { (String::new(), time) } else { (time.to_string(), time + there) };
            writeln!(text, "{kind},{request},{venue},{}", venue + back).unwrap();
        }
    }
    fs::write(path, text).unwrap();
}

/// Ways that differ by kind and minute, up and down.
fn uneven(minute: i64, kind: &str) -> (i64, i64) {
    let step = match kind {
        "submit" => 7_919,
        "cancel" => 6_007,
        _ => 4_001,
    };
    (1_000 + minute * step % 90_000, 500 + minute * (step - 2) % 70_000)
}

fn plan(dir: &Path, name: &str, input: &Path, wiring: Wiring, latencies: Option<&Path>) -> RunPlan {
    let mut plan = run_plan(dir, name, input, wiring);
    with_held(&mut plan);
    plan.loaded.config.paper =
        latencies.map(|file| PaperSection { latency_file: file.display().to_string(), latency_sha256: String::new() });
    plan
}

fn run(plan: RunPlan) -> Run {
    plan.run(&StopFlag::new(), &mut |_| {}).unwrap_or_else(|failure| panic!("{failure}"))
}

fn outcome(run: &Run) -> [String; 4] {
    let manifest = &run.manifest;
    assert!(run.decide.counters.orders_approved >= 1_000, "{:?}", run.decide.counters);
    let hashes = [&manifest.log_hash, &manifest.state_hash, &manifest.decision_hash].map(Clone::clone);
    let [log, state, decisions] = hashes;
    [log, state, decisions, format!("{:?}", manifest.record_counts)]
}

#[test]
fn constant_triples_are_the_constant_model_to_the_hash_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (input, file) = (itch_file(dir.path(), 3, 80_000), dir.path().join("constant.csv"));
    let constant = plan(dir.path(), "constant", &input, Wiring::Fused, None);
    let gateway = constant.loaded.config.gateway.clone();
    write(&file, |_, _| (gateway.to_venue_ns, gateway.from_venue_ns));
    let expected = outcome(&run(constant));
    for wiring in [Wiring::Fused, Wiring::FeedApart, Wiring::FourThreads] {
        let recorded = run(plan(dir.path(), &format!("{wiring:?}"), &input, wiring, Some(&file)));
        assert_eq!(outcome(&recorded), expected, "{wiring:?}");
    }
    // The control: a nanosecond more is another log.
    write(&file, |_, _| (gateway.to_venue_ns + 1, gateway.from_venue_ns));
    let other = run(plan(dir.path(), "other", &input, Wiring::Fused, Some(&file)));
    assert_ne!(outcome(&other)[0], expected[0]);
}

/// The way there that `uneven` has between two minutes of the day, without a search: the file has every minute.
fn way_there(sent: i64, kind: &str) -> i64 {
    let since = sent - SESSION_MIDNIGHT;
    let (minute, passed) = (since / MINUTE, since % MINUTE);
    let (before, next) = (uneven(minute, kind).0, uneven(minute + 1, kind).0);
    let weighted = i128::from(before) * i128::from(MINUTE - passed) + i128::from(next) * i128::from(passed);
    i64::try_from(weighted / i128::from(MINUTE)).unwrap()
}

#[test]
fn uneven_latencies_have_one_outcome_in_every_wiring_and_are_those_of_the_time_of_day() {
    let dir = tempfile::tempdir().unwrap();
    let (input, file) = (itch_file(dir.path(), 3, 80_000), dir.path().join("uneven.csv"));
    write(&file, uneven);
    let mut first: Option<[String; 4]> = None;
    for wiring in [Wiring::Fused, Wiring::FeedApart, Wiring::FourThreads] {
        let done = run(plan(dir.path(), &format!("{wiring:?}"), &input, wiring, Some(&file)));
        let outcome = outcome(&done);
        assert_eq!(first.get_or_insert_with(|| outcome.clone()), &outcome, "{wiring:?}");
    }
    let log = LogReader::open(&dir.path().join("Fused"), Stream::Send).unwrap();
    let (mut last, mut exact, mut count, mut kinds) = (i64::MIN, 0, 0, [0; 2]);
    for item in log.payloads::<OrderRecord>() {
        let record = item.unwrap().1;
        let sent = record.decision_time.0;
        let kind = usize::from(record.transition == OrderTransition::ReplaceRequested);
        if kind == 0 && record.transition != OrderTransition::Submitted {
            assert!(record.visible_time >= record.venue_time, "{record:?}");
            continue;
        }
        // A message never arrives before the one in front of it. A replacement takes the way of a new order: the file has none.
        let expected = (sent + way_there(sent, "submit")).max(last);
        assert!(record.venue_time.0 >= expected, "{record:?}");
        exact += usize::from(record.venue_time.0 == sent + way_there(sent, "submit"));
        (last, count, kinds[kind]) = (record.venue_time.0, count + 1, kinds[kind] + 1);
    }
    assert!(exact * 2 >= count && kinds[0] > 500 && kinds[1] > 50, "{exact} of {count}, {kinds:?}");
}

struct Bench {
    dir: tempfile::TempDir,
    file: PathBuf,
    run: PathBuf,
}

/// A run of the program with recorded latencies, `more` words of its profile added.
fn bench(more: &[&str]) -> (Bench, common::Ended) {
    let dir = tempfile::tempdir().unwrap();
    let (input, file) = (itch_file(dir.path(), 7, 20_000), dir.path().join("ways.csv"));
    write(&file, uneven);
    let set = format!("paper.latency_file=\"{}\"", file.display());
    let mut words = vec!["--set", &set];
    words.extend(more.iter().flat_map(|word| ["--set", word]));
    let (run, ended) = replay(dir.path(), "run", &[&input], &words);
    (Bench { dir, file, run }, ended)
}

#[test]
fn verify_holds_a_run_against_the_file_of_its_latencies() {
    let (Bench { dir, file, run }, ended) = bench(&["paper.latency_sha256=\"\""]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.err.contains("960 submit, no replace (those of submit are taken), 960 cancel, 960 fill"),
        "{ended:?}"
    );
    let manifest = json(&run.join("run.json"));
    assert_eq!(manifest["latency"]["len"].as_u64().unwrap(), fs::metadata(&file).unwrap().len(), "{manifest}");
    let verified = verify(dir.path(), &run);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let whole = fs::read_to_string(&file).unwrap();
    // A nanosecond in one row of the night, which changes no order: the file is another one all the same.
    let changed = whole.replacen("000001", "000002", 1);
    assert_ne!(whole, changed);
    fs::write(&file, changed).unwrap();
    let verified = verify(dir.path(), &run);
    let is_named = verified.out.contains(&format!("latencies {}", fs::canonicalize(&file).unwrap().display()));
    assert!(verified.code == Some(1) && is_named, "{verified:?}");
    fs::write(&file, "kind\n").unwrap();
    let verified = verify(dir.path(), &run);
    assert!(
        verified.code == Some(1) && verified.out.contains("latencies ") && verified.out.contains("line 1 is `kind`")
    );
    fs::remove_file(&file).unwrap();
    let verified = verify(dir.path(), &run);
    assert!(verified.code == Some(1) && verified.out.contains("latencies "), "{verified:?}");
    fs::write(&file, whole).unwrap();
    assert_eq!(verify(dir.path(), &run).code, Some(0));
}

#[test]
fn a_run_with_constant_latencies_has_a_manifest_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let input = itch_file(dir.path(), 7, 5_000);
    let (run, ended) = replay(dir.path(), "run", &[&input], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(json(&run.join("run.json")).get("latency").is_none());
    assert!(!fs::read_to_string(run.join("config.toml")).unwrap().contains("[paper]"));
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_at_its_key() {
    let (Bench { dir, file, .. }, ended) = bench(&["paper.latency_sha256=\"0000\""]);
    assert!(ended.code == Some(2) && ended.err.contains("paper.latency_sha256 (command line)"), "{ended:?}");
    let profile = dir.path().join("profile.toml");
    let checked = |sha256: &str, text: Option<&str>| {
        let include = shipped("demo.toml");
        let section = format!("[paper]\nlatency_file = \"ways.csv\"\nlatency_sha256 = \"{sha256}\"\n");
        fs::write(&profile, format!("include = [\"{}\"]\n\n{section}", include.display())).unwrap();
        match text {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        peregrine(dir.path(), ["config", "check", "--config", "profile.toml"])
    };
    let head = "kind,request_ns,venue_ns,response_ns\n";
    let row = |at: i64| format!("submit,{at},{},{}\n", at + 1, at + 2);
    let good = format!("{head}{}", row(MIDNIGHT));
    assert_eq!(checked("", Some(&good)).code, Some(0));
    let is_refused = |ended: &common::Ended, line: usize, what: &str| {
        let is_at = ended.err.contains(&format!("profile.toml:{line}): "));
        assert!(ended.code == Some(2) && is_at && ended.err.contains(what), "{ended:?}");
    };
    is_refused(&checked("", Some(&format!("{good}{}", row(MIDNIGHT - 1)))), 4, "ways.csv: line 3: request_ns = ");
    let two_days = format!("{head}{}{}", row(MIDNIGHT - 10), row(MIDNIGHT));
    is_refused(&checked("", Some(&two_days)), 4, "times of 2026-03-09 and of 2026-03-10 (America/New_York)");
    is_refused(&checked(&"0".repeat(64), Some(&good)), 5, "another file, or a changed one");
    is_refused(&checked("", None), 4, "`peregrine log latencies RUN --out FILE` writes one");
    fs::write(&file, format!("{good}fill,,0,1\n")).unwrap();
    let said = peregrine(dir.path(), ["config", "check", "--config", "profile.toml", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let violation = &answer["violations"][0];
    assert_eq!(
        (said.code, violation["line"].as_u64(), violation["key"].as_str()),
        (Some(2), Some(4), Some("paper.latency_file"))
    );
}

#[test]
fn latencies_are_asked_of_live_runs_alone() {
    let (Bench { dir, run, .. }, ended) = bench(&["paper.latency_sha256=\"\""]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let said = peregrine(dir.path(), ["log", "latencies", run.to_str().unwrap()]);
    assert!(said.code == Some(2) && said.err.contains("is not the folder of a live run"), "{said:?}");
}

/// Every part of the model on, with bursts that happen.
fn model(config: &mut Config) {
    config.paper_kinds = Some(PaperKindsSection {
        submit_ns: 20_000,
        replace_ns: 30_000,
        cancel_ns: 10_000,
        response_ns: 15_000,
        fill_ns: 5_000,
    });
    config.paper_spread = Some(PaperSpreadSection {
        seed: 9,
        there_p50_ns: 4_000,
        there_p90_ns: 20_000,
        there_p99_ns: 300_000,
        there_p999_ns: 1_000_000,
        there_max_ns: 3_000_000,
        back_p50_ns: 1_000,
        back_p90_ns: 2_000,
        back_p99_ns: 90_000,
        back_p999_ns: 200_000,
        back_max_ns: 500_000,
    });
    config.paper_burst = Some(PaperBurstSection {
        window_ns: 50_000_000,
        events_free: 2,
        there_ns_per_event: 1_001,
        back_ns_per_event: 77,
        extra_max_ns: 900_000,
    });
}

/// What one run does otherwise.
type Change<'a> = &'a dyn Fn(&mut Config);

/// Threads of their own run ahead of each other by as much as the model permits, and come to the same.
#[test]
fn modeled_latencies_have_one_outcome_in_every_wiring_and_each_part_counts() {
    let dir = tempfile::tempdir().unwrap();
    let input = itch_file(dir.path(), 3, 80_000);
    let with = |name: &str, wiring: Wiring, change: Change<'_>| {
        let mut plan = plan(dir.path(), name, &input, wiring, None);
        model(&mut plan.loaded.config);
        change(&mut plan.loaded.config);
        outcome(&run(plan))
    };
    let expected = with("fused", Wiring::Fused, &|_| {});
    for wiring in [Wiring::FeedApart, Wiring::FourThreads] {
        assert_eq!(with(&format!("{wiring:?}"), wiring, &|_| {}), expected, "{wiring:?}");
    }
    let changes: [(&str, Change<'_>); 4] = [
        ("constant", &|config| config.paper_kinds = None),
        ("certain", &|config| config.paper_spread = None),
        ("quiet", &|config| config.paper_burst = None),
        ("seed", &|config| config.paper_spread.iter_mut().for_each(|spread| spread.seed += 1)),
    ];
    for (name, change) in changes {
        assert_ne!(with(name, Wiring::Fused, change)[0], expected[0], "{name}");
    }
}

#[test]
fn verify_repeats_a_run_with_modeled_latencies() {
    let dir = tempfile::tempdir().unwrap();
    let input = itch_file(dir.path(), 7, 20_000);
    let mut plan = plan(dir.path(), "run", &input, Wiring::FeedApart, None);
    model(&mut plan.loaded.config);
    run(plan);
    let folder = dir.path().join("run");
    let verified = verify(dir.path(), &folder);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    // The control: another seed is another run.
    let text = fs::read_to_string(folder.join("config.toml")).unwrap();
    fs::write(folder.join("config.toml"), text.replace("seed = 9", "seed = 10")).unwrap();
    assert_ne!(verify(dir.path(), &folder).code, Some(0));
}

#[test]
fn latency_sections_that_do_not_hold_are_refused_at_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = ["submit", "replace", "cancel", "response", "fill"].map(|kind| format!("paper_kinds.{kind}_ns=5"));
    let checked = |words: Vec<&str>| {
        let shipped = shipped("replay.toml");
        let set = words.into_iter().flat_map(|word| ["--set", word]);
        let all = ["config", "check", "--config", shipped.to_str().unwrap()].into_iter().chain(set);
        peregrine(dir.path(), all.collect::<Vec<_>>())
    };
    let is_refused = |ended: &common::Ended, what: &str| {
        assert!(ended.code == Some(2) && ended.err.contains(what), "{what}: {ended:?}");
    };
    let ways = ["there", "back"].into_iter().flat_map(|way| {
        let values = [("p50", 1), ("p90", 2), ("p99", 3), ("p999", 4), ("max", 5)];
        values.map(|(name, ns)| format!("paper_spread.{way}_{name}_ns={ns}"))
    });
    let ways: Vec<String> = std::iter::once("paper_spread.seed=1".to_owned()).chain(ways).collect();
    let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
    assert_eq!(checked(ways.clone()).code, Some(0));
    is_refused(&checked([ways, vec!["paper_spread.back_p99_ns=1"]].concat()), "paper_spread.back_p99_ns");
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    assert_eq!(checked(kinds.clone()).code, Some(0));
    is_refused(&checked(kinds[..4].to_vec()), "paper_kinds.fill_ns");
    is_refused(&checked([kinds.clone(), vec!["paper_kinds.fill_ns=0"]].concat()), "paper_kinds.fill_ns");
    let file = vec!["paper.latency_file=\"ways.csv\"", "paper.latency_sha256=\"\""];
    is_refused(&checked([kinds, file].concat()), "cannot stand beside [paper_kinds]");
}
