//! MDP 3.0 captures as a user meets them: generated, looked at, replayed, verified, and real ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{DATE, Ended, json, peregrine, real_data, replay, verify};

/// A generated session of 20 symbols as `format`; two lines where it is a capture.
fn generate(dir: &Path, name: &str, words: &[&str]) -> PathBuf {
    let path = dir.join(name);
    let fixed = ["generate", "--messages", "30000", "--symbol-count", "20", "--seed", "3", "--out"];
    let ended = peregrine(dir, fixed.into_iter().chain([path.to_str().unwrap()]).chain(words.iter().copied()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    path
}

fn inspect(dir: &Path, words: &[&str]) -> serde_json::Value {
    let ended = peregrine(dir, ["inspect", "--json"].into_iter().chain(words.iter().copied()));
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic_with(&ended))
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn panic_with(ended: &Ended) -> ! {
    panic!("{ended:?}")
}

#[test]
fn a_generated_session_is_the_same_market_by_either_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let itch = generate(dir, &format!("day-{DATE}.itch50"), &[]);
    let a = generate(dir, "day.pcap", &["--format", "mdp3", "--loss", "5", "--duplication", "5", "--reordering", "5"]);
    let b = dir.join("day.b.pcap");
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    for depth in [&[][..], &["--mdp3-levels"]] {
        let found = inspect(dir, &[&[a, b], depth].concat());
        assert_eq!((&found["is_sound"], &found["warnings"]), (&true.into(), &serde_json::json!([])), "{found}");
        assert!(
            found["messages"]["46"].as_u64() > Some(10_000) && found["messages"]["48"].as_u64() > Some(500),
            "{found}"
        );
        assert!(found["gaps"]["recovered_count"].as_u64() > Some(50), "{found}");
        assert_eq!(found["gaps"]["lost_count"], 0);
        assert_eq!(found["symbol_count"], 20);
    }
    let (by_itch, ended) = replay(dir, "itch", &[&itch], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (by_mdp3, ended) = replay(dir, "mdp3", &[Path::new(a), Path::new(b)], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let [itch, mdp3] = [&by_itch, &by_mdp3].map(|run| json(&run.join("report.json")));
    assert_eq!(mdp3["book"]["live_order_count"], itch["book"]["live_order_count"]);
    assert_eq!(mdp3["book"]["anomalies"], serde_json::json!([]));
    assert_eq!(mdp3["strategy"]["watched_symbols"], itch["strategy"]["watched_symbols"]);
    assert!(mdp3["strategy"]["decision_count"].as_u64() > Some(100), "{}", mdp3["strategy"]);
    assert_eq!(verify(dir, &by_mdp3).code, Some(0));
    // A byte of line A in the middle: the packet is refused whole, line B has it.
    let mut bytes = fs::read(a).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 400].fill(0xA5);
    fs::write(dir.join("damaged.pcap"), bytes).unwrap();
    let ended = peregrine(dir, ["inspect", "damaged.pcap", b]);
    assert!(ended.code == Some(1) && ended.out.contains("NOT sound"), "{ended:?}");
}

#[test]
fn a_configuration_says_from_what_books_are_made_and_a_wrong_word_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let a = generate(dir, "day.pcap", &["--format", "mdp3", "--lines", "1"]);
    let levels = ["--set", "feed.mdp3_depth=\"levels\""];
    let (run, ended) = replay(dir, "levels", &[&a], &levels);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Ten levels on each side of 20 symbols at most.
    let live = json(&run.join("report.json"))["book"]["live_order_count_max"].as_u64().unwrap();
    assert!((100..=400).contains(&live), "{live}");
    assert_eq!(verify(dir, &run).code, Some(0));
    let (_, ended) = replay(dir, "wrong", &[&a], &["--set", "feed.mdp3_depth=\"both\""]);
    assert!(ended.code == Some(2) && ended.err.contains("not one of \"orders\" \"levels\""), "{ended:?}");
    let (_, ended) = replay(dir, "wrong", &[&a], &["--set", "feed.mdp3_instruments=[\"5\"]"]);
    assert!(ended.code == Some(2) && ended.err.contains("ID=NAME"), "{ended:?}");
    let ended = peregrine(dir, ["inspect", a.to_str().unwrap(), "--mdp3-instrument", "5=TOOLONGNAME"]);
    assert!(ended.code == Some(2) && ended.err.contains("170506=ESU8*0.01"), "{ended:?}");
}

#[test]
fn real_packets_are_read_and_those_of_tcp_are_none() {
    let Some(data) = real_data("pcap/cme") else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut count = 0;
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let found = inspect(dir, &[path.to_str().unwrap(), "--zone", "America/Chicago"]);
        // Those of schema 12 are all of TCP, whatever they are called.
        if name.contains("v1.12") {
            assert_eq!(found["packet_count"], 0, "{name}: {found}");
            continue;
        }
        count += 1;
        assert!(found["packet_count"].as_u64() > Some(0), "{name}: {found}");
        assert_eq!(found["malformed_count"], 0, "{name}: {found}");
        assert!(found["message_count"].as_u64() >= found["packet_count"].as_u64(), "{name}");
    }
    assert!(count >= 4, "{count}");
}
