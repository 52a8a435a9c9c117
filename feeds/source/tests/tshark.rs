//! A second opinion on what is written here: tshark reads it without complaint and sees the same packets.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests; a skipped test says so")]

use std::{path::Path, process::Command};

use peregrine_source::{frame::FrameBuilder, pcap, pcapng};
use peregrine_types::EpochNanos;

/// Frames of every parity and of the smallest and largest length, with a VLAN tag on every third.
fn frames() -> Vec<(EpochNanos, Vec<u8>)> {
    let (from, to) = ("10.1.2.3:5000".parse().unwrap(), "233.54.12.111:26477".parse().unwrap());
    let (mut plain, mut tagged) = (FrameBuilder::new(from, to), FrameBuilder::new(from, to).with_vlan(141));
    let build = |index: usize| {
        let payload: Vec<u8> =
            (0..index * 29 % 1_460).map(|at| u8::try_from((at * 7 + index) % 256).unwrap()).collect();
        let mut frame = Vec::new();
        let builder = if index.is_multiple_of(3) { &mut tagged } else { &mut plain };
        builder.build(&payload, &mut frame).unwrap();
        (EpochNanos(1_580_403_600_123_456_789 + i64::try_from(index).unwrap()), frame)
    };
    (0..500).map(build).collect()
}

fn tshark(path: &Path, arguments: &[&str]) -> Option<String> {
    let checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];
    let output = Command::new("tshark").arg("-r").arg(path).args(checks).args(arguments).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn tshark_reads_what_is_written_without_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let (classic, newer) = (folder.path().join("a.pcap"), folder.path().join("b.pcapng"));
    let mut pcap = pcap::Writer::new(std::fs::File::create(&classic).unwrap()).unwrap();
    let mut pcapng = pcapng::Writer::new(std::fs::File::create(&newer).unwrap()).unwrap();
    for (time, frame) in frames() {
        pcap.write_packet(time, &frame).unwrap();
        pcapng.write_packet(time, &frame).unwrap();
    }
    pcap.finish().unwrap();
    pcapng.finish().unwrap();
    for path in [classic, newer] {
        let complaints =
            ["-Y", "_ws.expert.severity >= \"Warning\" || _ws.malformed || !udp", "-T", "fields", "-e", "_ws.expert"];
        let Some(complaints) = tshark(&path, &complaints) else {
            println!("skipped: no tshark on this host");
            return;
        };
        assert_eq!(complaints, "", "{}", path.display());
        let good =
            ["-Y", "ip.checksum.status == 1 && udp.checksum.status == 1", "-T", "fields", "-e", "frame.time_epoch"];
        let times = tshark(&path, &good).unwrap();
        let expected: Vec<_> = (0..500).map(|index| format!("1580403600.{}", 123_456_789 + index)).collect();
        assert_eq!(times.lines().collect::<Vec<_>>(), expected);
    }
}
