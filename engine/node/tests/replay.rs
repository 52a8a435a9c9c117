//! `peregrine replay` as a user meets it: two faulty lines, gaps, parts of a session, paces, Ctrl-C, and input or words
//! that cannot be used.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::{Ended, flip, itch_file, json, peregrine, program, replay, set_words, shipped, verify};
use peregrine_eventlog::records::{DecideCheckpoint, DecisionRecord, GapPhase, GapRecord, IntentKind};
use peregrine_eventlog::{LogReader, Stream};
use peregrine_types::{BookState, ReasonCode};

/// A generated capture `name` in `dir`; with two lines the second lies beside it.
fn capture(dir: &Path, name: &str, words: &[&str]) -> [PathBuf; 2] {
    let path = dir.join(name);
    let fixed = ["generate", "--format", "pcap", "--messages", "30000", "--symbol-count", "20", "--seed", "3", "--out"];
    let all = fixed.into_iter().chain([path.to_str().unwrap()]).chain(words.iter().copied());
    let ended = peregrine(dir, all);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    [path.clone(), path.with_extension("b.pcap")]
}

fn decisions(run: &Path) -> Vec<DecisionRecord> {
    let reader = LogReader::open(run, Stream::Decide).unwrap();
    reader.payloads::<DecisionRecord>().map(|record| *record.unwrap().1).collect()
}

/// The last checkpoint of the decide stream: the books' hash and what was counted.
fn last_checkpoint(run: &Path) -> DecideCheckpoint {
    let reader = LogReader::open(run, Stream::Decide).unwrap();
    reader.payloads::<DecideCheckpoint>().map(|record| *record.unwrap().1).last().unwrap()
}

fn hashes(run: &Path) -> [String; 2] {
    let manifest = json(&run.join("run.json"));
    ["state_hash", "decision_hash"].map(|key| manifest[key].as_str().unwrap().to_owned())
}

#[test]
fn two_faulty_lines_give_what_one_clean_line_gives() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let [clean, _] = capture(dir, "clean.pcap", &["--lines", "1"]);
    let (clean, ended) = replay(dir, "clean", &[&clean], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let before = last_checkpoint(&clean);
    assert!(before.order_count > 500, "{before:?}");
    // Repeated packets change nothing at all: the first copy always comes from line A, at the same time.
    let [a, b] = capture(dir, "twice.pcap", &["--duplication", "20"]);
    let (twice, ended) = replay(dir, "twice", &[&a, &b], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(hashes(&twice), hashes(&clean));
    // Loss and reordering that the other line covers: every event comes, in order, some of them a little later.
    let [a, b] = capture(dir, "faulty.pcap", &["--loss", "5", "--duplication", "5", "--reordering", "5"]);
    let (faulty, ended) = replay(dir, "faulty", &[&a, &b], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let after = last_checkpoint(&faulty);
    assert_eq!(after.books_hash, before.books_hash);
    let gaps = json(&faulty.join("report.json"))["feed"]["gaps"].clone();
    let gap = |key: &str| gaps[key].as_u64().unwrap();
    assert!(gap("declared_count") > 50 && gap("recovered_count") == gap("declared_count"), "{gaps}");
    assert_eq!(gap("lost_count"), 0, "{gaps}");
    // A gap and its end are two events of their own.
    assert_eq!(after.event_count, before.event_count + 2 * gap("declared_count"));
    assert_eq!(verify(dir, &faulty).code, Some(0));
    // In the other order of files it is the same feed.
    let (swapped, ended) = replay(dir, "swapped", &[&b, &a], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(hashes(&swapped), hashes(&faulty));
}

#[test]
fn what_is_lost_on_every_line_makes_the_books_stale_and_stops_orders() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let [line, _] = capture(dir, "lossy.pcap", &["--lines", "1", "--loss", "0.01"]);
    let (run, ended) = replay(dir, "lossy", &[&line], &[]);
    assert_eq!(ended.code, Some(1), "messages are missing: {ended:?}");
    assert!(ended.out.contains("messages are missing"), "{}", ended.out);
    let mut sent = 0;
    for record in decisions(&run) {
        let is_stale = record.book().contains(BookState::STALE);
        if record.intent_kind == IntentKind::New && record.verdict == ReasonCode::None {
            assert!(!is_stale, "an order from a stale book: {record:?}");
            sent += 1;
        }
    }
    let reader = LogReader::open(&run, Stream::Feed).unwrap();
    let phases: Vec<_> = reader.payloads::<GapRecord>().map(|record| record.unwrap().1.phase).collect();
    let count = |phase: GapPhase| phases.iter().filter(|found| **found == phase).count();
    assert!(count(GapPhase::Start) > 0 && count(GapPhase::Lost) > 0, "{phases:?}");
    assert_eq!(count(GapPhase::Recovered), 0, "{phases:?}");
    let report = json(&run.join("report.json"));
    assert!(report["strategy"].to_string().contains("bad_book_count") || sent < 10_000, "{}", report["strategy"]);
    let [clean, _] = capture(dir, "clean.pcap", &["--lines", "1"]);
    let (clean, _) = replay(dir, "clean", &[&clean], &[]);
    assert!(
        sent < last_checkpoint(&clean).order_count,
        "{sent} orders although the books were stale from some time on"
    );
    assert_eq!(verify(dir, &run).code, Some(0));
}

/// Gives the packet behind the middle of a classic capture another last byte: a copy that says something else.
fn contradict(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let len_at = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    let (mut at, middle) = (24, bytes.len() / 2);
    while at < middle {
        at += 16 + len_at(&bytes, at);
    }
    let last = at + 16 + len_at(&bytes, at) - 1;
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn lines_that_contradict_each_other_make_the_books_stale_and_stop_orders() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let [a, b] = capture(dir, "both.pcap", &[]);
    let (whole, ended) = replay(dir, "whole", &[&a, &b], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    contradict(&b);
    let (run, ended) = replay(dir, "contradicted", &[&a, &b], &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("1 copies of messages differ from the ones taken"), "{}", ended.out);
    let reader = LogReader::open(&run, Stream::Feed).unwrap();
    let gaps: Vec<GapRecord> = reader.payloads::<GapRecord>().map(|record| *record.unwrap().1).collect();
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((gap.phase, gap.message_count), (GapPhase::Differs, 1));
    let orders = |run: &Path| -> Vec<DecisionRecord> {
        let is_order =
            |record: &DecisionRecord| record.intent_kind == IntentKind::New && record.verdict == ReasonCode::None;
        decisions(run).into_iter().filter(is_order).collect()
    };
    let (before, after) = (orders(&whole), orders(&run));
    assert!(after.iter().all(|order| order.recv_time <= gap.recv_time && !order.book().contains(BookState::STALE)));
    assert!(!after.is_empty() && after.len() < before.len(), "{} of {}", after.len(), before.len());
    assert_eq!(verify(dir, &run).code, Some(0), "a replay gives the same log");
}

#[test]
fn parts_of_a_session_and_paces() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = itch_file(dir, 3, 30_000);
    let run = |name: &str, words: &[&str]| {
        let (run, ended) = replay(dir, name, &[&file], words);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        run
    };
    let whole = run("whole", &[]);
    let count = |run: &Path| last_checkpoint(run).event_count;
    let (early, late) = (run("early", &["--to", "12:00"]), run("late", &["--from", "12:00"]));
    assert!(count(&early) > 0 && count(&early) < count(&whole));
    assert_eq!(verify(dir, &late).code, Some(0));
    // A later start reads everything, so that its books are whole, and decides from then on.
    assert_eq!(last_checkpoint(&late).books_hash, last_checkpoint(&whole).books_hash);
    assert_eq!(count(&late), count(&whole));
    let until = decisions(&early).iter().map(|record| record.recv_time).max().unwrap();
    let since = decisions(&late).iter().map(|record| record.recv_time).min().unwrap();
    assert!(until < since, "{until:?} {since:?}");
    let [all, before, after] = [&whole, &early, &late].map(|run| last_checkpoint(run).decision_count);
    assert_eq!(before + after, all);
    // Neither pace changes an order.
    for (name, words) in [("fast", ["--pace", "x200000"]), ("open-loop", ["--rate", "100000"])] {
        assert_eq!(hashes(&run(name, &words)), hashes(&whole), "{words:?}");
    }
    let report = json(&dir.join("open-loop/report.json"));
    assert!(report["latencies"].to_string().contains("queue_wait"), "{}", report["latencies"]);
    let series = report["throughput"]["series"].as_array().unwrap();
    let counted = series.iter().map(|point| point["event_count"].as_u64().unwrap()).sum::<u64>();
    assert!(series.iter().all(|point| point["interval_ns"].as_u64() > Some(1_000_000)), "{series:?}");
    assert!(counted <= count(&whole) && counted > count(&whole) / 2, "{counted} events in the series");
    // A part without events, and a symbol that never comes, are said to be that.
    let (_, nothing) = replay(dir, "nothing", &[&file], &["--from", "23:30", "--to", "23:31"]);
    assert!(nothing.code == Some(1) && nothing.out.contains("Nothing was replayed"), "{nothing:?}");
    let (_, nobody) = replay(dir, "nobody", &[&file], &["--symbols", "HAGX,NOPE"]);
    assert!(nobody.code == Some(0) && nobody.out.contains("Never seen in the input: NOPE."), "{nobody:?}");
    let symbols: BTreeSet<_> = decisions(&whole).iter().map(|record| record.symbol).collect();
    assert!(symbols.len() > 5, "{symbols:?}");
    let one = run("one", &["--symbols", "HAGX"]);
    let symbols: BTreeSet<_> = decisions(&one).iter().map(|record| record.symbol).collect();
    assert_eq!(symbols.len(), 1, "{symbols:?}");
    assert_eq!(verify(dir, &one).code, Some(0));
    // A capture that begins after the directory: the symbol is known by its name all the same.
    let late = dir.join("late-2026-01-05.itch50");
    fs::write(&late, without_directory(&fs::read(&file).unwrap())).unwrap();
    let (unannounced, ended) = replay(dir, "unannounced", &[&late], &["--symbols", "HAGX"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(decisions(&unannounced).len(), decisions(&one).len());
    // One that the input does not hold: nothing is decided, and that is said.
    let (_, ended) = replay(dir, "none", &[&file], &["--symbols", "ZZZZ"]);
    assert!(ended.out.contains("Nothing was decided"), "{ended:?}");
}

/// A file's messages but those that announce symbols.
fn without_directory(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut kept) = (bytes, Vec::new());
    while let Some(len) = rest.first_chunk::<2>() {
        let (message, after) = rest.split_at(2 + usize::from(u16::from_be_bytes(*len)));
        if message.get(2) != Some(&b'R') {
            kept.extend_from_slice(message);
        }
        rest = after;
    }
    kept
}

#[test]
fn an_interrupt_stops_cleanly_with_a_report_and_a_log_that_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = itch_file(dir, 3, 30_000);
    let run = dir.join("stopped");
    let mut command = program(dir);
    command.args(["replay", "--rate", "2000", "--out", run.to_str().unwrap(), file.to_str().unwrap()]);
    command.arg("--config").arg(shipped("demo.toml")).args(set_words(dir, &[]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while fs::metadata(run.join("feed-000001.plog")).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(700));
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: plain numbers; the process is our own child, which was not waited for yet.
    #[expect(unsafe_code, reason = "the standard library cannot interrupt a child")]
    let code = unsafe { libc::kill(pid, libc::SIGINT) };
    assert_eq!(code, 0);
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(run.join("report.html").is_file() && run.join("report.json").is_file(), "{ended:?}");
    assert!(ended.out.contains("stopped before the end") && !ended.out.contains("The input was read"), "{}", ended.out);
    let manifest = json(&run.join("run.json"));
    let events = manifest["event_count"].as_u64().unwrap();
    assert!(manifest["is_interrupted"] == true && (1..30_000).contains(&events), "{manifest}");
    let again = verify(dir, &run);
    assert_eq!(again.code, Some(0), "{again:?}");
}

#[test]
fn what_cannot_be_used_is_refused_with_what_where_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = itch_file(dir, 3, 2_000);
    let plain = dir.join("nodate.itch50");
    fs::copy(&file, &plain).unwrap();
    fs::write(dir.join("empty.itch50"), "").unwrap();
    fs::write(dir.join("notes.txt"), "these are words and no market data at all\n").unwrap();
    let no_limits = fs::read_to_string(shipped("demo.toml")).unwrap();
    let replay_text = fs::read_to_string(shipped("replay.toml")).unwrap().replace("include = [\"limits.toml\"]", "");
    fs::write(dir.join("replay.toml"), replay_text).unwrap();
    fs::write(dir.join("nolimits.toml"), no_limits).unwrap();
    let demo = shipped("demo.toml").display().to_string();
    let file = file.display().to_string();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["empty.itch50"], 3, &["empty.itch50", "empty"]),
        (&["notes.txt"], 3, &["notes.txt", "check what the file is"]),
        (&["."], 3, &["(.", "directory"]),
        (&["missing.pcap"], 3, &["missing.pcap", "check that the file exists"]),
        (&["nodate.itch50"], 2, &["nodate.itch50", "--date YYYY-MM-DD"]),
        (&[&file, "--date", "2026-13-45"], 2, &["2026-13-45", "write it as"]),
        (&[&file, "--config", "nolimits.toml"], 2, &["risk.order_qty_max", "is missing", "risk.position_qty_max"]),
        (&[&file, "--config", "nowhere.toml"], 2, &["nowhere.toml"]),
        (&[&file, "--set", "risk.colour=1"], 2, &["risk.colour", "command line"]),
        (&[&file, "--set", "risk.order_qty_max=0"], 2, &["risk.order_qty_max", "1 to 10000000"]),
        (&[&file, "--pace", "warp"], 2, &["warp", "max, recorded, or xN"]),
        (&[&file, "--pace", "x0"], 2, &["x0"]),
        (&[&file, "--rate", "0"], 2, &["--rate 0", "at least 1"]),
        (&[&file, "--rate", "10", "--pace", "max"], 2, &["--pace"]),
        (&[&file, "--from", "12:00", "--to", "11:00"], 2, &["--from", "--to"]),
        (&[&file, "--from", "noon"], 2, &["noon", "09:30:00.5"]),
        (&[&file, "--symbols", "FARTOOLONG"], 2, &["FARTOOLONG", "1 to 8 characters"]),
        (&[&file, "--warp"], 2, &["--warp"]),
        (&[], 2, &["FILE"]),
    ];
    for (words, code, said) in cases {
        let mut all = vec!["replay"];
        if !words.contains(&"--config") {
            all.extend(["--config", demo.as_str()]);
        }
        all.extend(*words);
        let ended = peregrine(dir, &all);
        assert_eq!(ended.code, Some(*code), "{words:?}: {ended:?}");
        assert!(ended.err.contains("error: ") && ended.out.is_empty(), "{words:?}: {ended:?}");
        for word in *said {
            assert!(ended.err.contains(word), "{words:?} does not say {word}: {}", ended.err);
        }
    }
}

#[test]
fn a_cut_capture_is_replayed_up_to_the_cut_and_said_to_be_cut() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let [whole, _] = capture(dir, "whole.pcap", &["--lines", "1"]);
    let mut bytes = fs::read(&whole).unwrap();
    bytes.truncate(3_000_001);
    let cut = dir.join("cut.pcap");
    fs::write(&cut, bytes).unwrap();
    let (run, ended) = replay(dir, "cut", &[&cut], &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("cut") && ended.out.contains("byte 2"), "{}", ended.out);
    assert_eq!(verify(dir, &run).code, Some(0));
}

#[test]
fn a_changed_input_is_run_again_and_the_first_record_that_differs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = itch_file(dir, 3, 20_000);
    let (run, ended) = replay(dir, "run", &[&file], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // One bit of the quantity of an added order in the middle.
    let bytes = fs::read(&file).unwrap();
    let (mut offset, mut number) = (0, 0);
    while number < 10_000 || bytes[offset + 2] != b'A' {
        offset += 2 + usize::from(u16::from_be_bytes([bytes[offset], bytes[offset + 1]]));
        number += 1;
    }
    flip(&file, offset + 2 + 23);
    let again = verify(dir, &run);
    assert_eq!(again.code, Some(1), "{again:?}");
    for said in ["input ", "sha256", "first record of stream feed that differs: ", "InputCheckpoint"] {
        assert!(again.out.contains(said), "{said} is missing in:\n{}", again.out);
    }
}

#[test]
fn what_a_verification_needs_and_is_not_there_is_named_for_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (run, ended) = replay(dir, "run", &[&itch_file(dir, 4, 5_000)], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let away = dir.join("away");
    for (name, code, said) in [
        ("config.toml", 2, "the configuration that the run was made with is not there"),
        ("feed-000001.plog", 1, "the log is not whole"),
    ] {
        fs::rename(run.join(name), &away).unwrap();
        let again = verify(dir, &run);
        assert_eq!(again.code, Some(code), "{name}: {again:?}");
        let all = format!("{}{}", again.out, again.err);
        assert!(all.contains(said), "{name}: {all}");
        assert!(!all.contains("damaged"), "{name}: {all}");
        fs::rename(&away, run.join(name)).unwrap();
        assert_eq!(verify(dir, &run).code, Some(0), "{name} is there again");
    }
    flip(&run.join("feed-000001.plog"), 5_000);
    assert!(verify(dir, &run).out.contains("the log is damaged"));
}
