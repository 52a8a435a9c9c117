//! `peregrine capture` as a user meets it: what is sent to it is in the file, packet for packet, and the file is read by
//! `inspect` and by tshark.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking; a skipped test says so"
)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::peregrine;
use peregrine_source::{LineId, OpenOptions, Source, open};

/// The payloads of a capture file with their lines.
fn payloads(file: &Path) -> Vec<(LineId, Vec<u8>)> {
    let mut source = open(file, &OpenOptions::default()).unwrap();
    let mut all = Vec::new();
    while let Some(packet) = source.poll().unwrap() {
        all.push((packet.line, packet.bytes.to_vec()));
    }
    all
}

/// The packets of a generated session that carry messages, and its end.
fn session(dir: &Path) -> Vec<Vec<u8>> {
    let file = dir.join("session.pcap");
    let name = file.to_str().unwrap();
    let words = ["generate", "--format", "pcap", "--lines", "1", "--messages", "6000", "--symbol-count", "10"];
    assert_eq!(peregrine(dir, words.into_iter().chain(["--out", name])).code, Some(0));
    // Without the heartbeats, which are most of a small day.
    let all = payloads(&file).into_iter().map(|(_, payload)| payload);
    all.filter(|payload| payload[18..20] != [0, 0]).collect()
}

/// A capture under way on two lines of loopback, and where they are.
fn begin(dir: &Path, words: &[&str]) -> (Child, Vec<String>, BufReader<std::process::ChildStderr>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_peregrine"))
        .current_dir(dir)
        .args(["capture", "--line", "127.0.0.1:0", "--line", "127.0.0.1:0", "--out", "day.pcapng"])
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut addresses = Vec::new();
    for letter in ['A', 'B'] {
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let rest = line.strip_prefix(&format!("line {letter}: ")).unwrap_or_else(|| panic!("{line}"));
        addresses.push(rest.split(',').next().unwrap().to_owned());
    }
    (child, addresses, said)
}

fn end(mut child: Child, mut said: BufReader<std::process::ChildStderr>) -> (Option<i32>, String, String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the capture does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    said.read_to_string(&mut err).unwrap();
    (child.wait().unwrap().code(), out, err)
}

#[test]
fn what_arrives_is_in_the_file_until_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let packets = session(dir);
    let limit = (2 * packets.len()).to_string();
    let (child, addresses, said) = begin(dir, &["--packets", &limit, "--json"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (index, payload) in packets.iter().enumerate() {
        for address in &addresses {
            socket.send_to(payload, address).unwrap();
        }
        if index % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let (code, out, err) = end(child, said);
    assert_eq!(code, Some(0), "{out}{err}");
    let result: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((result["packets"].as_u64(), result["ring_drops"].as_u64()), (Some(limit.parse().unwrap()), Some(0)));
    assert!(result["backward_steps"].is_u64(), "{out}");
    let file = dir.join("day.pcapng");
    assert_eq!(result["len"].as_u64().unwrap(), std::fs::metadata(&file).unwrap().len());
    let captured = payloads(&file);
    for line in [LineId::A, LineId::B] {
        let of_line: Vec<&Vec<u8>> =
            captured.iter().filter(|packet| packet.0 == line).map(|packet| &packet.1).collect();
        assert_eq!(of_line, packets.iter().collect::<Vec<_>>());
    }
    let inspected = peregrine(dir, ["inspect", "day.pcapng", "--date", common::DATE]);
    assert!(inspected.out.contains("sound") && !inspected.out.contains("NOT"), "{inspected:?}");
    let ports = addresses.iter().map(|address| address.rsplit(':').next().unwrap().to_owned());
    dissect(&file, &ports.collect::<Vec<_>>(), captured.len());
}

/// tshark sees MoldUDP64 in every packet, on two interfaces, and complains about nothing.
fn dissect(file: &Path, ports: &[String], count: usize) {
    let mut tshark = Command::new("tshark");
    for port in ports {
        tshark.args(["-d", &format!("udp.port=={port},moldudp64")]);
    }
    let checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];
    let fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "moldudp64.count", "-e", "_ws.malformed"];
    let Ok(output) = tshark.arg("-r").arg(file).args(checks).args(fields).output() else {
        println!("skipped: no tshark on this host");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), count, "{}", String::from_utf8_lossy(&output.stderr));
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert!(fields[0] == "line A" || fields[0] == "line B", "{line}");
        assert!(!fields[1].is_empty() && fields.get(2).is_none_or(|field| field.is_empty()), "{line}");
    }
}

/// What both lines lost is named by its numbers, with the status of a capture that is not whole; what one of them lost is not.
#[test]
fn what_no_line_had_is_named_by_session_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let packets = session(dir);
    let number = |packet: &Vec<u8>| u64::from_be_bytes(*packet[10..].first_chunk().unwrap());
    // Two packets in a row, and one; each line alone loses others too.
    let both = [10, 11, 30];
    for words in [&["--json"][..], &[]] {
        let (child, addresses, said) = begin(dir, words);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (index, payload) in packets.iter().enumerate() {
            for (line, address) in addresses.iter().enumerate() {
                if !both.contains(&index) && index % 7 != line {
                    socket.send_to(payload, address).unwrap();
                }
            }
            std::thread::sleep(Duration::from_micros(if index % 64 == 0 { 1_000 } else { 0 }));
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let (code, out, err) = end(child, said);
        assert_eq!(code, Some(1), "{out}{err}");
        let [first, behind, alone, last] = [10, 12, 30, 31].map(|index| number(&packets[index]));
        if words.is_empty() {
            let lost = behind - first + last - alone;
            assert!(out.contains("nothing was dropped"), "{out}");
            assert!(out.contains(&format!("no line had {lost} messages, in 2 runs")), "{out}");
            let name = std::str::from_utf8(&packets[0][..10]).unwrap().trim();
            assert!(out.contains(&format!("session {name}: {first} to {} ({})", behind - 1, behind - first)), "{out}");
            continue;
        }
        let missing = &serde_json::from_str::<serde_json::Value>(&out).unwrap()["missing"];
        assert_eq!((missing["runs"].as_u64(), missing["named"].as_array().unwrap().len()), (Some(2), 2), "{out}");
        for (index, (first, behind)) in [(first, behind), (alone, last)].into_iter().enumerate() {
            let run = &missing["named"][index];
            assert_eq!((run["first"].as_u64(), run["last"].as_u64()), (Some(first), Some(behind - 1)), "{out}");
        }
    }
}

#[test]
fn a_signal_ends_it_with_everything_written() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let packets = session(dir);
    let (child, addresses, said) = begin(dir, &["--file-mib", "1"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for payload in &packets {
        socket.send_to(payload, &addresses[1]).unwrap();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let (code, out, err) = end(child, said);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("nothing was dropped"), "{out}");
    assert_eq!(payloads(&dir.join("day.pcapng")).len(), packets.len(), "{out}");
}

#[test]
fn what_cannot_be_listened_to_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let ended = peregrine(dir.path(), ["capture", "--line", "nowhere", "--out", "day.pcapng"]);
    assert!(ended.code == Some(2) && ended.err.contains("\"nowhere\" is no line"), "{ended:?}");
    let ended = peregrine(dir.path(), ["capture", "--line", "192.0.2.1:5", "--out", "day.pcapng"]);
    assert!(ended.code == Some(3) && ended.err.contains("line A (192.0.2.1:5"), "{ended:?}");
}
