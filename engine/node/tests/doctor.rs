//! `doctor` on the profile of a live run: its lines are opened for a moment, and what each was granted is said, with the
//! reason where that is not what the profile wishes for.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking; a skipped test says so")]

mod common;

use std::net::UdpSocket;
use std::process::Command;

use common::shipped;
use serde_json::Value;

/// What doctor says of the lines of the shipped live profile, changed by `set`, in the words of a `doctor` started by
/// `program`.
fn applied_by(mut program: Command, set: &[&str]) -> (Vec<Value>, String) {
    let profile = shipped("live.toml");
    program.args(["doctor", "--config", profile.to_str().unwrap(), "--json"]);
    for word in ["runtime.lock_memory=false", "runtime.pin_threads=false"].iter().chain(set) {
        program.args(["--set", word]);
    }
    let output = program.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_str(&said).unwrap();
    let facts = answer["applied"].as_array().unwrap().iter();
    (facts.filter(|fact| fact["key"].as_str().unwrap().starts_with("line")).cloned().collect(), said)
}

fn applied(set: &[&str]) -> Vec<Value> {
    applied_by(Command::new(env!("CARGO_BIN_EXE_peregrine")), set).0
}

/// Key, value, verdict and remedy of a fact.
fn words(fact: &Value) -> [&str; 4] {
    ["key", "value", "verdict", "remedy"].map(|key| fact[key].as_str().unwrap_or_default())
}

const HERE: [&str; 2] = ["live.lines=[\"127.0.0.1:0\",\"127.0.0.1:0\"]", "live.interface=\"127.0.0.1\""];
/// Rings need the address of an interface.
const NOWHERE: [&str; 2] = ["live.lines=[\"239.192.99.1:0\",\"239.192.99.2:0\"]", "live.interface=\"0.0.0.0\""];

#[test]
fn each_line_says_by_what_it_is_received_and_whose_stamps_count() {
    let small = "live.receive_buffer_len=65536";
    for (stamps, said) in [("kernel", "UDP socket, Kernel stamps"), ("hardware", "UDP socket, Hardware stamps")] {
        let facts = applied(&[HERE[0], HERE[1], small, &format!("live.stamps=\"{stamps}\"")]);
        let [a, b] = [words(&facts[0]), words(&facts[1])];
        assert_eq!((facts.len(), a[0], b[0]), (2, "line A", "line B"), "{facts:?}");
        for [_, value, verdict, remedy] in [a, b] {
            assert!(value.starts_with("127.0.0.1:") && value.contains(said), "{facts:?}");
            assert!(value.ends_with("receive buffer granted"), "{facts:?}");
            assert_eq!((verdict, remedy), ("good", ""), "{facts:?}");
        }
    }
}

#[test]
fn a_profile_without_lines_has_nothing_to_try() {
    let profile = shipped("replay.toml");
    let words = ["doctor", "--json", "--config", profile.to_str().unwrap(), "--set", "runtime.lock_memory=false"];
    let output = Command::new(env!("CARGO_BIN_EXE_peregrine")).args(words).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !said.contains("\"line A\""), "{said}");
}

#[test]
fn a_fallback_is_said_with_its_reason_and_without_one_the_lines_cannot_be_opened() {
    for source in ["packet_ring", "xdp"] {
        let wish = format!("live.source=\"{source}\"");
        let facts = applied(&[NOWHERE[0], NOWHERE[1], &wish, "live.fallback=true"]);
        assert_eq!(facts.len(), 2, "{facts:?}");
        for fact in &facts {
            let [_, value, verdict, remedy] = words(fact);
            assert!(value.contains("UDP socket, Kernel stamps"), "{facts:?}");
            assert!(verdict == "limits" && remedy.contains("239.192.99.1"), "{facts:?}");
        }
        let facts = applied(&[NOWHERE[0], NOWHERE[1], &wish]);
        let [key, value, verdict, remedy] = words(&facts[0]);
        assert_eq!((facts.len(), key, value, verdict), (1, "lines", "cannot be opened", "limits"), "{facts:?}");
        assert!(remedy.contains("239.192.99.1"), "{facts:?}");
    }
    // A port that somebody has to himself.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let lines = format!("live.lines=[\"{}\"]", taken.local_addr().unwrap());
    let facts = applied(&[&lines, HERE[1]]);
    assert_eq!((words(&facts[0])[0], words(&facts[0])[1]), ("lines", "cannot be opened"), "{facts:?}");
}

/// A veth pair in a namespace of its own, where the kernel lets us.
#[test]
fn rings_and_xdp_are_named_as_they_were_granted() {
    let program = env!("CARGO_BIN_EXE_peregrine");
    let script = "ip link add doctor0 type veth peer name doctor1 && ip addr add 198.51.100.1/24 dev doctor0 && \
                  ip link set doctor0 up && ip link set doctor1 up && ip link set lo up && exec \"$0\" \"$@\"";
    let inside = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script, program]);
        command
    };
    let is_possible = inside().args(["config", "print", "--schema"]).output().is_ok_and(|out| out.status.success());
    if !is_possible {
        println!("skipped: no namespace with a veth pair may be made here (CAP_SYS_ADMIN, CAP_NET_ADMIN)");
        return;
    }
    let lines = ["live.lines=[\"239.192.99.1:30001\",\"239.192.99.2:30002\"]", "live.interface=\"198.51.100.1\""];
    for (wishes, said) in [
        (&["live.source=\"packet_ring\""][..], "packet ring, Kernel stamps"),
        (&["live.source=\"xdp\"", "live.xdp_mode=\"generic\""][..], "AF_XDP through the general path"),
        (&["live.source=\"xdp\"", "live.xdp_mode=\"driver_copy\""][..], "AF_XDP in the driver, by a copy"),
        (&["live.source=\"xdp\"", "live.xdp_mode=\"auto\""][..], "AF_XDP "),
    ] {
        let set: Vec<&str> = lines.iter().chain(wishes).copied().collect();
        let (facts, all) = applied_by(inside(), &set);
        let [key, value, verdict, remedy] = words(&facts[0]);
        println!("{wishes:?}: {value} {remedy}");
        if key == "lines" {
            // Kernels and drivers differ in what they grant: then the reason is there.
            assert!(wishes[0].contains("xdp") && verdict == "limits" && !remedy.is_empty(), "{all}");
            continue;
        }
        assert_eq!((facts.len(), key, verdict), (2, "line A", "good"), "{all}");
        assert!(value.starts_with("239.192.99.1:30001, ") && value.contains(said), "{all}");
    }
}
