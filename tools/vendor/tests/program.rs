//! The binary: its exit status, what it prints, and how a signal ends it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Plan, Reader, Vendor};
use peregrine_types::EventKind;

fn program(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peregrine-vendor"));
    command.arg("--config").arg(config).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("PEREGRINE_VENDOR_KEY").env_remove("PEREGRINE_VENDOR_SECRET");
    command
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_configuration_is_checked_without_keys_and_a_run_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vendor.toml");
    let shipped = include_str!("../../../configs/vendor.toml");
    std::fs::write(&path, shipped).unwrap();
    let (status, text) = said(&program(&path).arg("--check").output().unwrap());
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = said(&program(&path).output().unwrap());
    assert!(status == Some(2) && text.contains("PEREGRINE_VENDOR_KEY is not set"), "{text}");
    std::fs::write(&path, shipped.replace("ttl = 0", "ttl = 256")).unwrap();
    let (status, text) = said(&program(&path).arg("--check").output().unwrap());
    assert!(status == Some(2) && text.contains("feed.ttl is 256: must be 0 to 255"), "{text}");
    let (status, text) = said(&program(&folder.path().join("none.toml")).output().unwrap());
    assert!(status == Some(2) && text.contains("none.toml"), "{text}");
}

#[test]
fn a_signal_ends_the_feed_and_prints_the_summary() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vendor.toml");
    std::fs::write(&path, Plan { kind: "massive", ..Plan::alpaca(&vendor, &reader) }.text()).unwrap();
    std::fs::write(folder.path().join("keys"), "key = K-1\n").unwrap();
    let child = program(&path).spawn().unwrap();
    let mut client = vendor.accept();
    client.say(r#"[{"ev":"Q","sym":"ALFA","bp":4.05,"bs":100,"ap":4.07,"as":200}]"#);
    reader.await_top(0, [Some((40_500, 100)), Some((40_700, 200))]);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    reader.await_events(EventKind::SessionEnd, 1);
    let (status, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("messages: 1 used") && text.contains("line A:"), "{text}");
}

#[test]
fn a_refusal_of_the_vendor_is_the_users_to_mend() {
    let (vendor, reader) = (Vendor::new(), Reader::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vendor.toml");
    std::fs::write(&path, Plan { kind: "massive", ..Plan::alpaca(&vendor, &reader) }.text()).unwrap();
    std::fs::write(folder.path().join("keys"), "key = K-1\n").unwrap();
    let child = program(&path).spawn().unwrap();
    let mut client = vendor.accept();
    client.say(r#"[{"ev":"status","status":"auth_failed","message":"no such key"}]"#);
    let (status, text) = said(&child.wait_with_output().unwrap());
    assert!(status == Some(2) && text.contains("the vendor refused: auth_failed: no such key"), "{text}");
    assert!(!text.contains("K-1"), "{text}");
}
