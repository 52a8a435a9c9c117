//! One input, one outcome: wiring, kernel backend and speed of the host change nothing, and `replay --verify` proves it
//! for a run by running it again. Whatever was touched in the input or in the log is found and named.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{
    copy_dir, flip, itch_file, json, peregrine, program, replay, run_plan, set_words, shipped, verify, with_held,
};
use peregrine_eventlog::records::{HeldAction, HeldRecord, InputCheckpoint, OrderRecord, OrderTransition};
use peregrine_eventlog::{LogReader, Stream};
use peregrine_model::Backend;
use peregrine_node::config::{BackendChoice, PrecisionChoice, Wiring};
use peregrine_node::run::{Run, RunPlan};
use peregrine_node::stage::schedule::Pace;
use peregrine_runtime::StopFlag;

const BACKENDS: [(Backend, BackendChoice); 3] = [
    (Backend::Scalar, BackendChoice::Scalar),
    (Backend::Avx2, BackendChoice::Avx2),
    (Backend::Avx512, BackendChoice::Avx512),
];

fn plan(dir: &Path, file: &Path, wiring: Wiring, backend: BackendChoice) -> RunPlan {
    let mut plan = run_plan(dir, &format!("{wiring:?}-{backend:?}"), file, wiring);
    plan.loaded.config.model.backend = backend;
    plan
}

fn outcome(run: &Run) -> [String; 6] {
    let manifest = &run.manifest;
    [
        manifest.log_hash.clone(),
        manifest.state_hash.clone(),
        manifest.decision_hash.clone(),
        format!("{:?}", run.event_hash),
        format!("{:?}", manifest.record_counts),
        format!("{:?}", run.decide.pnl.rows()),
    ]
}

#[test]
fn wirings_and_backends_give_the_same_log_state_and_decisions() {
    let dir = tempfile::tempdir().unwrap();
    let file = itch_file(dir.path(), 3, 80_000);
    let required = std::env::var("REQUIRE_BACKENDS").unwrap_or_default();
    let mut first: Option<[String; 6]> = None;
    for wiring in [Wiring::Fused, Wiring::FeedApart, Wiring::FourThreads] {
        for (backend, choice) in BACKENDS {
            if peregrine_model::Kernel::new(backend).is_none() {
                assert!(!required.contains(&format!("{backend:?}")), "{backend:?} is required but not to be had");
                eprintln!("skipped: this processor has no {backend:?}");
                continue;
            }
            let run = plan(dir.path(), &file, wiring, choice).run(&StopFlag::new(), &mut |_| {});
            let run = run.unwrap_or_else(|failure| panic!("{wiring:?} {backend:?}: {failure}"));
            assert!(run.decide.counters.orders_approved >= 1_000, "{:?}", run.decide.counters);
            assert_eq!((run.decide.counters.guard_halts, run.log.is_sealed()), (0, true));
            let outcome = outcome(&run);
            match &first {
                Some(first) => assert_eq!(first, &outcome, "{wiring:?} {backend:?}"),
                None => first = Some(outcome),
            }
        }
    }
}

#[test]
fn engine_held_orders_and_replacements_have_one_outcome_and_are_verified() {
    let dir = tempfile::tempdir().unwrap();
    let file = itch_file(dir.path(), 3, 80_000);
    let mut first: Option<[String; 6]> = None;
    for wiring in [Wiring::Fused, Wiring::FeedApart, Wiring::FourThreads] {
        let mut plan = plan(dir.path(), &file, wiring, BackendChoice::Auto);
        with_held(&mut plan);
        let run_dir = plan.dir.clone();
        let run = plan.run(&StopFlag::new(), &mut |_| {}).unwrap_or_else(|failure| panic!("{wiring:?}: {failure}"));
        let log = LogReader::open(&run_dir, Stream::Decide).unwrap();
        let held: Vec<HeldRecord> = log.payloads::<HeldRecord>().map(|item| *item.unwrap().1).collect();
        let count = |action: HeldAction| held.iter().filter(|record| record.action == action).count();
        let fired = count(HeldAction::StopFired) + count(HeldAction::TakeFired);
        let counters = &run.decide.counters;
        assert!(fired >= 5 && count(HeldAction::Done) >= 5, "{fired} fired, {counters:?}");
        assert!(counters.replaces_approved >= 100, "{counters:?}");
        let log = LogReader::open(&run_dir, Stream::Send).unwrap();
        let orders = log.payloads::<OrderRecord>().map(|item| *item.unwrap().1);
        let illegal: Vec<_> = orders.filter(|record| record.transition == OrderTransition::Illegal).collect();
        assert_eq!(illegal, [], "orders that cross their replacements are ordinary");
        let outcome = outcome(&run);
        assert_eq!(first.get_or_insert_with(|| outcome.clone()), &outcome, "{wiring:?}");
        let verified = verify(dir.path(), &run_dir);
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
}

/// Orders, or reports, that find no room between decide and send: every wiring ends with an error that says so, and none
/// waits for ever or calls the part of the input that it saw the whole.
#[test]
fn a_run_without_room_for_orders_or_reports_fails_in_every_wiring() {
    let dir = tempfile::tempdir().unwrap();
    let file = itch_file(dir.path(), 3, 60_000);
    for wiring in [Wiring::Fused, Wiring::FeedApart, Wiring::FourThreads] {
        for (name, way) in [("there", [10_000_000_000, 20_000]), ("back", [20_000, 10_000_000_000])] {
            let mut plan = plan(dir.path(), &file, wiring, BackendChoice::Auto);
            plan.dir = dir.path().join(format!("{wiring:?}-{name}"));
            plan.loaded.config.runtime.order_slots = 4;
            // As many orders as it can be brought to.
            let decide = &mut plan.loaded.config.decide;
            (decide.action_threshold, decide.action_hysteresis) = (0.01, 0.0);
            [plan.loaded.config.gateway.to_venue_ns, plan.loaded.config.gateway.from_venue_ns] = way;
            let failure = plan.run(&StopFlag::new(), &mut |_| {}).map(drop).unwrap_err().to_string();
            assert!(failure.contains("raise runtime.order_slots"), "{wiring:?}, the way {name}: {failure}");
        }
    }
}

/// Narrow weights give other decisions than f32, and the same ones on every backend.
#[test]
fn every_precision_has_one_outcome_on_all_backends() {
    let dir = tempfile::tempdir().unwrap();
    let file = itch_file(dir.path(), 3, 20_000);
    let mut outcomes: Vec<[String; 6]> = Vec::new();
    for precision in [PrecisionChoice::F32, PrecisionChoice::Int16, PrecisionChoice::Int8] {
        let mut first: Option<[String; 6]> = None;
        for (backend, choice) in BACKENDS {
            if peregrine_model::Kernel::new(backend).is_none() {
                eprintln!("skipped: this processor has no {backend:?}");
                continue;
            }
            let mut plan = plan(dir.path(), &file, Wiring::Fused, choice);
            plan.loaded.config.model.precision = precision;
            plan.dir = dir.path().join(format!("{precision:?}-{backend:?}"));
            let outcome = outcome(&plan.run(&StopFlag::new(), &mut |_| {}).unwrap());
            match &first {
                // The configuration, and with it the backend's name, is part of the log's hash: not compared here.
                Some(first) => assert_eq!(first[1..], outcome[1..], "{precision:?} {backend:?}"),
                None => first = Some(outcome),
            }
        }
        outcomes.extend(first);
    }
    for (index, one) in outcomes.iter().enumerate() {
        for other in &outcomes[..index] {
            assert_ne!((&one[1], &one[2]), (&other[1], &other[2]), "a precision that changes nothing is not in use");
        }
    }
}

/// Steps on scratch state while nothing is due are made, and change neither state nor decisions in any wiring.
#[test]
fn keeping_the_network_warm_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = itch_file(dir.path(), 3, 4_000);
    for wiring in [Wiring::Fused, Wiring::FeedApart, Wiring::FourThreads] {
        let mut outcomes = Vec::new();
        for keep_warm_us in [0, 50] {
            let mut plan = plan(dir.path(), &file, wiring, BackendChoice::Auto);
            plan.loaded.config.model.keep_warm_us = keep_warm_us;
            plan.dir = dir.path().join(format!("{wiring:?}-warm-{keep_warm_us}"));
            plan.pace = Pace::Rate { events_per_second: 4_000 };
            let run = plan.run(&StopFlag::new(), &mut |_| {}).unwrap();
            // On a busy machine a role that yields its core has few idle turns: only the fused one is sure to have some.
            let warm_steps = run.decide.warm_step_count;
            assert!(keep_warm_us > 0 || warm_steps == 0, "{wiring:?}: {warm_steps}");
            assert!(keep_warm_us == 0 || warm_steps > 0 || wiring != Wiring::Fused, "no step was made");
            assert!(run.decide.strategy.counters().decision_count > 100);
            outcomes.push(outcome(&run));
        }
        assert_eq!(outcomes[0][1..], outcomes[1][1..], "{wiring:?}");
    }
}

#[test]
fn another_input_or_another_parameter_gives_another_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let run = |file: &Path, name: &str, more: &[&str]| {
        let (run, ended) = replay(dir.path(), name, &[file], more);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let manifest = json(&run.join("run.json"));
        ["log_hash", "state_hash", "decision_hash"].map(|key| manifest[key].as_str().unwrap().to_owned())
    };
    let file = itch_file(dir.path(), 3, 30_000);
    let base = run(&file, "base", &[]);
    assert_eq!(base, run(&file, "again", &[]));
    let other = run(&itch_file(dir.path(), 4, 30_000), "seed", &[]);
    let quantity = run(&file, "quantity", &["--set", "decide.order_qty=200"]);
    for index in 0..3 {
        assert_ne!(base[index], other[index]);
        assert_ne!(base[index], quantity[index]);
    }
}

/// A run in a folder of its own, and what it takes to damage a copy of it.
struct Scene {
    dir: tempfile::TempDir,
    file: PathBuf,
    run: PathBuf,
}

impl Scene {
    fn new(messages: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = itch_file(dir.path(), 3, messages);
        let (run, ended) = replay(dir.path(), "run", &[&file], &[]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        Self { dir, file, run }
    }

    /// The verification of a copy that `damage` was done to: exit status and everything it said.
    fn after(&self, name: &str, damage: impl FnOnce(&Path)) -> (Option<i32>, String) {
        let copy = self.dir.path().join(name);
        copy_dir(&self.run, &copy);
        damage(&copy);
        let ended = verify(self.dir.path(), &copy);
        (ended.code, ended.all())
    }
}

#[test]
fn verify_says_identical_and_finds_a_flipped_byte_of_the_input() {
    let scene = Scene::new(30_000);
    let sound = verify(scene.dir.path(), &scene.run);
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.out.contains("identical") && !sound.out.contains("NOT"), "{sound:?}");
    // The input may lie somewhere else.
    let moved = scene.dir.path().join("moved-2026-01-05.itch50");
    fs::rename(&scene.file, &moved).unwrap();
    let missing = verify(scene.dir.path(), &scene.run);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    assert!(missing.err.contains("session-3-2026-01-05.itch50"), "{missing:?}");
    let words = ["replay", "--verify", scene.run.to_str().unwrap(), moved.to_str().unwrap(), "--json"];
    let elsewhere = peregrine(scene.dir.path(), words);
    assert_eq!(elsewhere.code, Some(0), "{elsewhere:?}");
    assert!(elsewhere.out.contains("\"is_identical\": true"), "{elsewhere:?}");
    for offset in [2, 500_000, fs::read(&moved).unwrap().len() - 3] {
        flip(&moved, offset);
        let flipped = peregrine(scene.dir.path(), words);
        assert_eq!(flipped.code, Some(1), "byte {offset}: {flipped:?}");
        assert!(flipped.out.contains("input ") && flipped.out.contains("moved-2026-01-05.itch50"), "{flipped:?}");
        flip(&moved, offset);
    }
}

#[test]
fn verify_finds_a_flipped_byte_a_cut_and_a_missing_file_of_every_stream() {
    let scene = Scene::new(30_000);
    for stream in Stream::ALL.into_iter().filter(|stream| stream.is_hashed()) {
        let name = format!("{}-000001.plog", stream.name());
        let len = fs::read(scene.run.join(&name)).unwrap().len();
        for offset in [70, 128 + 40, len / 2, len - 5] {
            let (code, said) = scene.after(&format!("{name}-flip-{offset}"), |dir| flip(&dir.join(&name), offset));
            assert_eq!(code, Some(1), "{name} byte {offset}: {said}");
            assert!(said.contains("NOT identical") && said.contains(&name), "{name} byte {offset}: {said}");
        }
        for cut in [1, 40, stream.record_len(), len / 2, len - 1] {
            let (code, said) = scene.after(&format!("{name}-cut-{cut}"), |dir| {
                fs::File::options().write(true).open(dir.join(&name)).unwrap().set_len((len - cut) as u64).unwrap();
            });
            assert_eq!(code, Some(1), "{name} cut by {cut}: {said}");
            assert!(said.contains("damaged") || said.contains("the log was cut"), "{name} cut by {cut}: {said}");
        }
        let (code, said) = scene.after(&format!("{name}-gone"), |dir| fs::remove_file(dir.join(&name)).unwrap());
        assert_eq!(code, Some(1), "{name} gone: {said}");
        assert!(said.contains(stream.name()), "{name} gone: {said}");
    }
}

/// A model beside its profile, named by a relative path: the verification finds it from anywhere.
#[test]
fn verify_finds_a_model_that_the_profile_names_by_a_relative_path() {
    let dir = tempfile::tempdir().unwrap();
    let (file, profiles) = (itch_file(dir.path(), 3, 4_000), dir.path().join("profiles"));
    fs::create_dir_all(profiles.join("models")).unwrap();
    fs::write(profiles.join("models/copy.safetensors"), peregrine_node::run::bundled_model()).unwrap();
    let include = shipped("demo.toml").canonicalize().unwrap();
    let profile = format!("include = [\"{}\"]\n[model]\nfile = \"models/copy.safetensors\"\n", include.display());
    fs::write(profiles.join("own.toml"), profile).unwrap();
    let mut words = ["replay", "--config", "profiles/own.toml", "--out", "run"].map(str::to_owned).to_vec();
    words.push(file.display().to_string());
    words.extend(common::set_words(dir.path(), &[]));
    let ended = peregrine(dir.path(), words);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir_all(&elsewhere).unwrap();
    let again = verify(&elsewhere, &dir.path().join("run"));
    assert_eq!(again.code, Some(0), "{again:?}");
    fs::remove_file(profiles.join("models/copy.safetensors")).unwrap();
    let missing = verify(&elsewhere, &dir.path().join("run"));
    assert!(missing.code != Some(0) && missing.err.contains("copy.safetensors"), "{missing:?}");
}

#[test]
fn verify_refuses_words_that_it_would_ignore_and_files_that_are_not_all() {
    let scene = Scene::new(4_000);
    let run = scene.run.to_str().unwrap();
    for words in [["--pace", "x2"], ["--config", "other.toml"], ["--out", "there"]] {
        let ended = peregrine(scene.dir.path(), ["replay", "--verify", run].iter().chain(&words));
        assert_eq!(ended.code, Some(2), "{words:?}: {ended:?}");
        assert!(ended.err.contains(words[0]), "{words:?}: {ended:?}");
    }
    let file = scene.file.to_str().unwrap();
    let ended = peregrine(scene.dir.path(), ["replay", "--verify", run, file, file]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("2 files are given, the run had 1"), "{ended:?}");
}

#[test]
fn verify_finds_a_changed_or_missing_manifest() {
    let scene = Scene::new(20_000);
    for key in ["log_hash", "state_hash", "decision_hash", "config_sha256", "model_sha256"] {
        let (code, said) = scene.after(key, |dir| {
            let path = dir.join("run.json");
            let mut manifest = json(&path);
            let hash = manifest[key].as_str().unwrap().to_owned();
            let digit = if hash.starts_with('0') { "1" } else { "0" };
            manifest[key] = serde_json::Value::String(format!("{digit}{}", &hash[1..]));
            fs::write(&path, manifest.to_string()).unwrap();
        });
        assert_eq!(code, Some(1), "{key}: {said}");
        let word = key.split('_').next().unwrap();
        assert!(said.contains("NOT identical") && said.contains(word), "{key}: {said}");
    }
    let (code, said) = scene.after("config", |dir| {
        let path = dir.join("config.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("segment_mib = 64", "segment_mib = 65")).unwrap();
    });
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("config"), "{said}");
    let (code, said) = scene.after("no-manifest", |dir| fs::remove_file(dir.join("run.json")).unwrap());
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("run.json"), "{said}");
    let (code, said) = scene.after("no-config", |dir| fs::remove_file(dir.join("config.toml")).unwrap());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("config.toml") && said.contains("put it back"), "{said}");
    let (code, said) = scene.after("torn-manifest", |dir| {
        let path = dir.join("run.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
    });
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("run.json"), "{said}");
}

/// A whole and sealed log of another run under this run's name: only running again can tell, and it names the first
/// record that differs.
#[test]
fn verify_truly_runs_again_and_names_the_first_record_that_differs() {
    let scene = Scene::new(20_000);
    let (other, ended) = replay(scene.dir.path(), "other", &[&scene.file], &["--set", "decide.order_qty=200"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (code, said) = scene.after("forged", |dir| {
        for stream in ["feed", "decide", "send", "measure"] {
            let name = format!("{stream}-000001.plog");
            fs::copy(other.join(&name), dir.join(&name)).unwrap();
        }
        let path = dir.join("run.json");
        let mut manifest = json(&path);
        manifest["log_hash"] = json(&other.join("run.json"))["log_hash"].clone();
        fs::write(&path, manifest.to_string()).unwrap();
    });
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("first record of stream decide that differs: "), "{said}");
    assert!(said.contains("DecisionRecord"), "{said}");
}

/// What is asked of a killed run's folder, or of a copy, before its log is closed.
fn hold_closing(dir: &Path, run: &Path, words: &[String]) {
    // A backup of its folder is no reason to take its memory away.
    let copy = dir.join("backup");
    copy_dir(run, &copy);
    let refused = peregrine(dir, ["log", "close", copy.to_str().unwrap()]);
    assert!(refused.code == Some(3) && refused.err.contains("close the log of the run itself"), "{refused:?}");
    // Without its note a copy is closed with what its files hold; that it has lost decisions on orders it has is found.
    fs::remove_file(copy.join("staging")).unwrap();
    let header = fs::File::options().write(true).open(copy.join("decide-000001.plog")).unwrap();
    header.set_len(64).unwrap();
    let closed = peregrine(dir, ["log", "close", copy.to_str().unwrap()]);
    assert!(closed.code == Some(0) && closed.out.contains("is gone: what its files had not yet is lost"), "{closed:?}");
    let lost = verify(dir, &copy);
    assert!(lost.code == Some(1) && lost.out.contains("has no decision in stream decide"), "{lost:?}");
    let nowhere = peregrine(dir, ["log", "close", dir.to_str().unwrap()]);
    assert!(nowhere.code == Some(3) && !dir.join("lock").exists(), "{nowhere:?}");
    let over = peregrine(dir, words);
    assert!(over.code == Some(2) && over.err.contains("already holds a run"), "{over:?}");
}

/// A replay that is killed in the middle says before its first event what it is, so that what it has done can be done again.
#[test]
fn a_run_that_was_killed_is_verified_as_far_as_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let (file, run) = (itch_file(dir.path(), 7, 60_000), dir.path().join("killed"));
    let mut words = vec!["replay".to_owned(), "--config".to_owned(), shipped("demo.toml").display().to_string()];
    words.extend([file.display().to_string(), "--out".to_owned(), run.display().to_string()]);
    // Slow enough to be still under way.
    words.extend(["--rate", "20000"].map(str::to_owned));
    words.extend(set_words(dir.path(), &[]));
    let mut child = program(dir.path()).args(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let decided = || LogReader::open(&run, Stream::Decide).map_or(0, |log| log.records().filter(Result::is_ok).count());
    let begin = Instant::now();
    while decided() < 50 {
        assert!(begin.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(), "it never decided");
        std::thread::sleep(Duration::from_millis(5));
    }
    let open = verify(dir.path(), &run);
    assert_eq!(open.code, Some(2), "{open:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let open = verify(dir.path(), &run);
    assert!(open.code == Some(2) && open.err.contains("peregrine log close"), "{open:?}");
    let close = || peregrine(dir.path(), ["log", "close", run.to_str().unwrap()]);
    hold_closing(dir.path(), &run, &words);
    let closed = close();
    assert!(closed.code == Some(0) && closed.out.contains("decide   closed now: "), "{closed:?}");
    let again = close();
    assert!(again.code == Some(0) && !again.out.contains("closed now"), "{again:?}");

    let as_json = |run: &Path, files: &[&Path]| {
        let words = [Path::new("replay"), Path::new("--verify"), run, Path::new("--json")];
        let ended = peregrine(dir.path(), words.iter().chain(files));
        let said: serde_json::Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
        (ended.code, said)
    };
    let (code, said) = as_json(&run, &[]);
    assert_eq!((code, &said["is_identical"], &said["is_cut_off"]), (Some(0), &true.into(), &true.into()), "{said}");
    let extent = |said: &serde_json::Value, name: &str| {
        let extents = said["extents"].as_array().unwrap();
        let found = extents.iter().find(|extent| extent["stream"] == name).unwrap();
        (found["repeated_count"].as_u64().unwrap(), found["behind_count"].as_u64().unwrap())
    };
    let counts = ["feed", "decide", "send"].map(|name| extent(&said, name));
    assert!(counts[0].0 > 0 && counts[1].0 >= 50 && counts.iter().all(|(_, behind)| *behind == 0), "{said}");

    // An input that ends before the log does was not the run's: what came before its end is the same, and the rest is missing.
    let (short, bytes) = (dir.path().join("short-2026-01-05.itch50"), fs::read(&file).unwrap());
    let log = LogReader::open(&run, Stream::Feed).unwrap();
    let offsets = log.payloads::<InputCheckpoint>().map(|record| record.unwrap().1.input_offset);
    let end = usize::try_from(offsets.last().unwrap()).unwrap();
    fs::write(&short, &bytes[..end * 9 / 10]).unwrap();
    let (code, said) = as_json(&run, &[&short]);
    assert_eq!((code, &said["is_identical"]), (Some(1), &false.into()), "{said}");
    assert!(said["differences"][0]["what"].as_str().unwrap().contains("the input ends before stream"), "{said}");
    let (repeated, behind) = extent(&said, "decide");
    assert!(repeated > 10 && behind > 10 && repeated + behind == counts[1].0, "{said}");

    // Another session in its place, and another configuration: both are found.
    let other = itch_file(dir.path(), 8, 60_000);
    let (code, said) = as_json(&run, &[&other]);
    assert_eq!((code, &said["is_identical"]), (Some(1), &false.into()), "{said}");
    // Nobody watched: records are missing where the input still has their events.
    let quiet =
        peregrine(dir.path(), ["replay", "--verify", run.to_str().unwrap(), "--set", "decide.symbols=[\"ZZZZ\"]"]);
    assert!(quiet.code == Some(1) && quiet.out.contains("stream decide that differs: 0"), "{quiet:?}");
    let (changed, path) = (dir.path().join("changed"), dir.path().join("changed/config.toml"));
    copy_dir(&run, &changed);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("segment_mib = 64", "segment_mib = 65")).unwrap();
    let (code, said) = as_json(&changed, &[]);
    assert!(code == Some(1) && said["differences"][0]["what"].as_str().unwrap().contains("config"), "{said}");
}
