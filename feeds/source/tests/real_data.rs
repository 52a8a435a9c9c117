//! Every real file in the shared data folder, held against the counts of its own description.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests; a skipped test says so")]

use std::path::{Path, PathBuf};

use jiff::civil::date;
use peregrine_source::{Carrier, End, LineFilter, LineId, OpenOptions, SkipReason, Source, Statistics, open};
use peregrine_types::EpochNanos;
use peregrine_wire::itch50::MessageType;

fn data(part: &str) -> Option<PathBuf> {
    let home = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("PEREGRINE_DATA").map_or_else(home, PathBuf::from);
    let path = root.join(part);
    if !path.exists() {
        println!("skipped: no real data at {}", root.display());
        return None;
    }
    Some(path)
}

fn everything(port: Option<u16>) -> OpenOptions {
    let filters = vec![LineFilter { line: LineId::A, address: None, port }];
    OpenOptions { filters, ..OpenOptions::default() }
}

/// Reads `path` to its end; every packet goes to `see`.
fn drain(path: &Path, options: &OpenOptions, mut see: impl FnMut(&[u8], EpochNanos)) -> Statistics {
    let mut source = open(path, options).unwrap();
    while let Some(packet) = source.poll().unwrap() {
        see(packet.bytes, packet.recv_time);
    }
    assert_eq!(source.progress().read_len, source.progress().total_len, "{}", path.display());
    source.statistics()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn both_itch_files_read_message_by_message() {
    let Some(folder) = data("itch") else { return };
    let cases = [
        ("aapl_20120621_0930_1030_reencoded.itch50.gz", 92_082, date(2012, 6, 21)),
        ("aapl_20200130_premarket_5000.itch50", 5_000, date(2020, 1, 30)),
    ];
    for (name, count, day) in cases {
        let path = folder.join(name);
        let source = open(&path, &OpenOptions::default()).unwrap();
        assert_eq!((source.format(), source.session().unwrap().date), (Carrier::Itch, day));
        let statistics = drain(&path, &OpenOptions::default(), |message, _| {
            assert_eq!(MessageType::from_code(message[0]).map(MessageType::message_len), Some(message.len()));
        });
        assert_eq!((statistics.packet_count, statistics.backward_step_count), (count, 0), "{name}");
        // Neither has the record that ends a session.
        assert!(matches!(statistics.end, End::Incomplete { .. }), "{name}: {:?}", statistics.end);
    }
}

#[test]
fn the_nasdaq_captures_carry_moldudp64_and_the_zeroed_ones_are_counted() {
    let Some(folder) = data("pcap/nasdaq_itch50") else { return };
    for path in files(&folder) {
        let mut message_count = 0;
        let statistics = drain(&path, &OpenOptions::default(), |packet, time| {
            assert_eq!(time.0 / 1_000_000_000 / 86_400, 19_591, "2023-08-22");
            let mut rest = &packet[20..];
            while let [high, low, behind @ ..] = rest {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                assert_eq!(MessageType::from_code(behind[0]).map(MessageType::message_len), Some(len));
                rest = &behind[len..];
                message_count += 1;
            }
        });
        let name = path.file_name().unwrap().to_str().unwrap();
        println!("{name}: {} packets, {message_count} messages", statistics.packet_count);
        assert!(statistics.packet_count > 0 && message_count >= statistics.packet_count, "{name}");
        assert_eq!((statistics.skipped.total(), statistics.end), (0, End::Complete), "{name}");
        let zeroed = if name.starts_with("zeroed_headers_") { statistics.packet_count } else { 0 };
        assert_eq!(statistics.zeroed_checksum_count, zeroed, "{name}");
    }
}

#[test]
fn the_deribit_capture_has_all_its_packets_in_order() {
    let Some(path) = data("pcap/deribit/deribit_sample_capture_v1_6.pcapng") else { return };
    let mut span = None;
    let statistics = drain(&path, &everything(None), |_, time| {
        let (first, _) = span.unwrap_or((time, time));
        span = Some((first, time));
    });
    assert_eq!((statistics.record_count, statistics.packet_count), (5_066, 5_066));
    assert_eq!((statistics.skipped.total(), statistics.end), (0, End::Complete));
    // As tshark shows them: 80.73 seconds.
    let expected = (EpochNanos(1_686_858_149_957_011_749), EpochNanos(1_686_858_230_688_954_258));
    assert_eq!(span.unwrap(), expected);
    // Two channels, as tshark counts them.
    for (port, count) in [(6_100, 4_854), (6_101, 212)] {
        let statistics = drain(&path, &everything(Some(port)), |_, _| {});
        assert_eq!(statistics.packet_count, count);
        assert_eq!(statistics.skipped.get(SkipReason::OtherDestination), 5_066 - count);
    }
    // It is no MoldUDP64: without a filter nothing is taken for it.
    let statistics = drain(&path, &OpenOptions::default(), |_, _| {});
    assert_eq!(statistics.skipped.get(SkipReason::NotMoldUdp64), 5_066);
}

#[test]
fn every_other_capture_is_udp_or_tcp_and_nothing_else() {
    for part in ["pcap/iex", "pcap/cme", "pcap/nasdaq_ouch50"] {
        let Some(folder) = data(part) else { return };
        for path in files(&folder) {
            let statistics = drain(&path, &everything(None), |_, _| {});
            let tcp = statistics.skipped.get(SkipReason::NotUdp);
            assert_eq!(statistics.packet_count + tcp, statistics.record_count, "{}", path.display());
            let is_tcp = part.ends_with("ouch50") || path.to_str().unwrap().contains("v1.12");
            assert_eq!((tcp > 0, statistics.end), (is_tcp, End::Complete), "{}", path.display());
        }
    }
}
