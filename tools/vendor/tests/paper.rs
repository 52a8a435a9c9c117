//! `peregrine run --mode paper` reads a vendor's feed from the middle: it gets the state from the snapshot service, decides
//! on the vendor's quotes, and its recording is verified.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use clap::Parser;
use common::{Plan, Reader, Vendor, await_some};
use peregrine_node::cli::Cli;
use peregrine_node::exit::{Exit, Failure};
use peregrine_node::run::Manifest;
use peregrine_runtime::StopFlag;

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/live.toml");

fn peregrine(words: &[&str], set: &[String]) -> Result<Exit, Failure> {
    let words = words.iter().copied().chain(set.iter().flat_map(|word| ["--set", word]));
    let cli = Cli::try_parse_from(std::iter::once("peregrine").chain(words)).unwrap();
    peregrine_node::commands::run(cli, &StopFlag::new())
}

/// A port of loopback that nobody had a moment ago.
fn free_port() -> SocketAddrV4 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, socket.local_addr().unwrap().port())
}

/// Whether somebody listens to a port.
fn is_heard(line: SocketAddrV4) -> bool {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let suffix = format!(":{:04X}", line.port());
    table.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&suffix)))
}

#[test]
fn the_engine_joins_decides_and_is_verified() {
    let (vendor, reader) = (Vendor::new(), Reader::new());
    let lines = [free_port(), free_port()];
    let run = Plan { kind: "massive", lines: lines.to_vec(), ..Plan::alpaca(&vendor, &reader) }.start();
    let mut client = vendor.accept();
    let quote = |turn: u32| {
        let now = jiff::Timestamp::now().as_millisecond();
        let (bid, ask) = (1_000 + turn % 5, 1_003 + turn % 5);
        format!(
            r#"[{{"ev":"Q","sym":"ALFA","bp":{}.{:02},"bs":{turn},"ap":{}.{:02},"as":100,"t":{now}}},{{"ev":"T","sym":"ALFA","p":{}.{:02},"s":100,"t":{now}}}]"#,
            bid / 100,
            bid % 100,
            ask / 100,
            ask % 100,
            bid / 100,
            bid % 100
        )
    };
    (1..=50).for_each(|turn| client.say(&quote(turn)));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let set = vec![
        format!("live.lines=[\"{}\",\"{}\"]", lines[0], lines[1]),
        format!("live.retransmission=[\"{}\"]", run.addresses.retransmission),
        format!("live.snapshot=\"{}\"", run.addresses.snapshot),
        "live.is_recorded=true".to_owned(),
        "decide.symbols=[\"ALFA\",\"BETA\"]".to_owned(),
        "risk.permitted_symbols=[\"ALFA\",\"BETA\"]".to_owned(),
        "runtime.pin_threads=false".to_owned(),
        "runtime.lock_memory=false".to_owned(),
        "runtime.wait=\"park\"".to_owned(),
    ];
    let to = out.display().to_string();
    let engine = std::thread::spawn(move || {
        let words = ["run", "--config", PROFILE, "--mode", "paper", "--out", &to];
        peregrine(&words, &set).unwrap_or_else(|failure| panic!("{failure}"))
    });
    await_some("the engine", || lines.into_iter().all(is_heard).then_some(()));
    // More than a second of the feed, for heartbeats and the snapshot too.
    for turn in 51..=400 {
        client.say(&quote(turn));
        std::thread::sleep(std::time::Duration::from_millis(4));
    }
    let (summary, said) = run.stop();
    let summary = summary.unwrap();
    await_some("the end of the engine", || engine.is_finished().then_some(()));
    engine.join().unwrap();
    let manifest = Manifest::read(&out).unwrap();
    assert!(!manifest.is_interrupted && summary.snapshot_count >= 1, "{summary}\n{said}");
    assert!(manifest.event_count > 900, "two sides and a trade in each of 350 turns: {manifest:?}");
    let decided = manifest.record_counts.iter().find(|(stream, _)| stream == "decide").unwrap();
    assert!(decided.1 > 300, "{manifest:?}");
    let verified = peregrine(&["replay", "--verify", &out.display().to_string()], &[]);
    assert!(matches!(verified, Ok(Exit::Done)), "{verified:?}");
}
