//! pcap and pcapng: what is written is read in every byte order and unit, every cut is a prefix, every lie is named.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use peregrine_source::{
    ByteOrder, Capture, CaptureOptions, Damage, End, Hint, Input, LineFilter, LineId, Source, SourceError, StampKind,
    frame::FrameBuilder,
    pcap::{self, Fraction},
    pcapng::{self, Resolution},
};
use peregrine_types::EpochNanos;
use proptest::prelude::*;

const NOON: i64 = 1_580_403_600_000_000_000;
const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

fn open(bytes: &[u8]) -> Result<Capture, SourceError> {
    let all = LineFilter { line: LineId::B, address: None, port: None };
    let input = Input::from_reader(Cursor::new(bytes.to_vec()), "memory", bytes.len() as u64)?;
    Capture::new(input, CaptureOptions { filters: vec![all], ..CaptureOptions::default() })
}

type Read = (Vec<(i64, Vec<u8>)>, Result<End, SourceError>);

fn read(bytes: &[u8]) -> Read {
    let mut packets = Vec::new();
    let mut source = match open(bytes) {
        Ok(source) => source,
        Err(error) => return (packets, Err(error)),
    };
    loop {
        match source.poll() {
            Ok(Some(packet)) => {
                let at = usize::try_from(packet.offset).unwrap();
                assert_eq!(bytes.get(at..at + packet.bytes.len()), Some(packet.bytes), "the offset names the payload");
                assert_eq!(packet.line, LineId::B);
                packets.push((packet.recv_time.0, packet.bytes.to_vec()));
            }
            Ok(None) => return (packets, Ok(source.statistics().end)),
            Err(error) => {
                assert!(source.poll().unwrap().is_none(), "an error is told once");
                return (packets, Err(error));
            }
        }
    }
}

fn frames(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut builder = FrameBuilder::new("10.0.0.1:5000".parse().unwrap(), "233.54.12.111:26477".parse().unwrap());
    let build = |payload: &Vec<u8>| {
        let mut frame = Vec::new();
        builder.build(payload, &mut frame).unwrap();
        frame
    };
    payloads.iter().map(build).collect()
}

fn payloads(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|i| vec![i; usize::from(i) * 7 + 1]).collect()
}

fn pcap_file(layout: pcap::Layout, times: &[i64], payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = pcap::Writer::with_layout(Vec::new(), layout).unwrap();
    for (time, frame) in times.iter().zip(frames(payloads)) {
        writer.write_packet(EpochNanos(*time), &frame).unwrap();
    }
    writer.finish().unwrap()
}

fn pcapng_file(layout: pcapng::Layout, times: &[i64], payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = pcapng::Writer::with_layout(Vec::new(), layout).unwrap();
    for (time, frame) in times.iter().zip(frames(payloads)) {
        writer.write_packet(EpochNanos(*time), &frame).unwrap();
    }
    writer.finish().unwrap()
}

fn damage(bytes: &[u8]) -> (u64, Damage) {
    match read(bytes).1 {
        Err(SourceError::Damaged { offset, damage, .. }) => (offset, damage),
        other => panic!("{other:?}"),
    }
}

fn small_files() -> Vec<Vec<u8>> {
    let (times, payloads) = ([NOON, NOON + 1_000, NOON + 5_000], payloads(3));
    let mut files = Vec::new();
    for order in ORDERS {
        files.push(pcap_file(pcap::Layout { order, ..pcap::Layout::default() }, &times, &payloads));
        files.push(pcapng_file(pcapng::Layout { order, ..pcapng::Layout::default() }, &times, &payloads));
    }
    files
}

#[test]
fn every_cut_of_a_capture_gives_whole_packets_and_says_that_it_was_cut() {
    for file in small_files() {
        let (whole, end) = read(&file);
        assert_eq!((whole.len(), end.unwrap()), (3, End::Complete));
        let mut clean_count = 0;
        for cut in 0..file.len() {
            let (packets, end) = read(&file[..cut]);
            assert_eq!(packets, whole[..packets.len()], "cut at {cut}");
            match end {
                Ok(End::Complete) => clean_count += 1,
                Ok(End::Truncated { offset, missing_len }) => {
                    assert!(offset < cut as u64 && missing_len > 0 && offset + missing_len <= file.len() as u64 + 16);
                }
                Ok(other) => panic!("cut at {cut}: {other:?}"),
                Err(SourceError::Unrecognised { .. }) => assert!(cut < 8),
                Err(SourceError::Damaged { damage: Damage::ShortHeader { .. }, .. }) => assert!(cut < 24),
                Err(error) => panic!("cut at {cut}: {error}"),
            }
        }
        // Only the record boundaries are clean: after the headers and after each packet but the last.
        assert!((3..=4).contains(&clean_count), "{clean_count}");
    }
}

#[test]
fn captures_may_be_packed() {
    for file in small_files() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&file).unwrap();
        let mut source = open(&encoder.finish().unwrap()).unwrap();
        let mut count = 0;
        while let Some(packet) = source.poll().unwrap() {
            assert_eq!(packet.stamp, StampKind::Capture);
            count += 1;
        }
        assert_eq!((count, source.statistics().end), (3, End::Complete));
    }
}

#[test]
fn magic_numbers_that_are_not_ours_are_refused_with_the_reason() {
    for magic in [0xa1b2_cd34_u32.to_le_bytes(), 0xa1b2_cd34_u32.to_be_bytes()] {
        let file = [&magic[..], &[0; 40]].concat();
        assert!(matches!(read(&file).1, Err(SourceError::Unrecognised { hint: Hint::ModifiedPcap, .. })));
    }
    assert!(matches!(read(b"GIF89a..............").1, Err(SourceError::Unrecognised { hint: Hint::NotACapture, .. })));
    assert!(matches!(read(b"").1, Err(SourceError::Unrecognised { hint: Hint::NotACapture, .. })));
}

fn patched(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn lies_in_a_pcap_are_named_with_their_place() {
    let file = pcap_file(pcap::Layout::default(), &[NOON, NOON], &payloads(2));
    let second = 24 + 16 + 60;
    assert_eq!(damage(&patched(&file, 4, &[3, 0])), (4, Damage::PcapVersion { major: 3, minor: 4 }));
    assert_eq!(damage(&patched(&file, 20, &[147, 0])), (20, Damage::LinkType(147)));
    let long = damage(&patched(&file, second + 8, &u32::MAX.to_le_bytes()));
    assert_eq!(long, (second as u64, Damage::RecordTooLong { len: u32::MAX, max: 262_144 }));
    let late = damage(&patched(&file, second + 4, &1_000_000_000_u32.to_le_bytes()));
    assert_eq!(late, (second as u64, Damage::Fraction { fraction: 1_000_000_000, limit: 1_000_000_000 }));
    // A snap length of 4 GiB does not make a record of 4 GiB believable.
    let lying = patched(&patched(&file, 16, &[0xff; 4]), second + 8, &0xf000_0000_u32.to_le_bytes());
    assert!(matches!(damage(&lying), (at, Damage::RecordTooLong { .. }) if at == second as u64));
    // The bits above the link type tell the length of the frame check sequence.
    let with_fcs = patched(&file, 20, &0x2400_0001_u32.to_le_bytes());
    assert_eq!(read(&with_fcs).0.len(), 2);
    // Zero bytes stored: a frame too short for anything, skipped and counted.
    let empty = patched(&file[..24 + 16], 24 + 8, &[0; 4]);
    let mut source = open(&empty).unwrap();
    assert!(source.poll().unwrap().is_none());
    assert_eq!((source.statistics().record_count, source.statistics().skipped.total()), (1, 1));
}

#[test]
fn lies_in_a_pcapng_are_named_with_their_place() {
    let file = pcapng_file(pcapng::Layout::default(), &[NOON, NOON], &payloads(2));
    let (interface, first) = (28, 28 + 32);
    assert_eq!(u32::from_le_bytes(file[first..first + 4].try_into().unwrap()), 6);
    let at = |offset: usize, damage| (offset as u64, damage);
    assert_eq!(damage(&patched(&file, 8, b"oops")), at(0, Damage::ByteOrderMagic(u32::from_le_bytes(*b"oops"))));
    assert_eq!(damage(&patched(&file, 12, &[2, 0])), at(0, Damage::PcapngVersion(2)));
    for len in [0, 7, 11, 31, u32::MAX, 0xffff_fffc] {
        let found = damage(&patched(&file, first + 4, &len.to_le_bytes()));
        assert_eq!(found, at(first, Damage::BlockLength { block_type: 6, len }));
    }
    let tail = damage(&patched(&file, interface + 28, &[33, 0]));
    assert_eq!(tail, at(interface, Damage::BlockTrailer { head: 32, tail: 33 }));
    assert_eq!(damage(&patched(&file, first + 8, &[1])), at(first, Damage::UnknownInterface(1)));
    let lying = damage(&patched(&file, first + 20, &[0xff; 4]));
    assert_eq!(lying, at(first, Damage::PacketLength { captured: u32::MAX, room: 60 }));
    let late = damage(&patched(&file, first + 12, &[0xff; 8]));
    assert_eq!(late, at(first, Damage::TimeOutOfRange));
    let option = damage(&patched(&file, interface + 18, &[200]));
    assert_eq!(option, at(interface, Damage::OptionLength { code: 9, len: 200 }));
}

fn block(order: ByteOrder, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |value: u32| match order {
        ByteOrder::Little => value.to_le_bytes(),
        ByteOrder::Big => value.to_be_bytes(),
    };
    let len = word(u32::try_from(body.len()).unwrap() + 12);
    [&word(kind)[..], &len, body, &len].concat()
}

#[test]
fn sections_change_the_byte_order_and_unknown_blocks_are_passed_over() {
    let (little, big) =
        (pcapng::Layout::default(), pcapng::Layout { order: ByteOrder::Big, ..pcapng::Layout::default() });
    let unknown = block(ByteOrder::Little, 0x0bad, &vec![9; 3 << 20]);
    let file = [
        pcapng_file(little, &[NOON], &payloads(1)),
        unknown,
        pcapng_file(big, &[NOON + 5, NOON + 3], &payloads(2)),
        block(ByteOrder::Big, 5, &[0; 8]),
    ]
    .concat();
    let mut source = open(&file).unwrap();
    let mut times = Vec::new();
    while let Some(packet) = source.poll().unwrap() {
        times.push(packet.recv_time.0);
    }
    assert_eq!(times, [NOON, NOON + 5, NOON + 5]);
    let statistics = source.statistics();
    assert_eq!((statistics.backward_step_count, statistics.backward_step_ns_max), (1, 2));
    assert_eq!(statistics.end, End::Complete);
}

#[test]
fn simple_and_obsolete_packets_are_read() {
    for order in ORDERS {
        let mut file = pcapng_file(pcapng::Layout { order, ..pcapng::Layout::default() }, &[NOON], &payloads(1));
        let word = |value: u32| match order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        };
        let frame = frames(&payloads(1)).remove(0);
        file.extend(block(order, 3, &[&word(60)[..], &frame].concat()));
        let nanos = u64::try_from(NOON + 9).unwrap();
        let (high, low) = ((nanos >> 32) as u32, u32::try_from(nanos & 0xffff_ffff).unwrap());
        // Interface 0 and the count of drops, each 16 bits, then as in an enhanced packet.
        let head: Vec<u8> = [0, high, low, 60, 60].into_iter().flat_map(word).collect();
        file.extend(block(order, 2, &[&head[..], &frame].concat()));
        let mut source = open(&file).unwrap();
        let mut seen = Vec::new();
        while let Some(packet) = source.poll().unwrap() {
            seen.push((packet.recv_time.0, packet.stamp));
        }
        let expected = [(NOON, StampKind::Capture), (NOON, StampKind::Synthetic), (NOON + 9, StampKind::Capture)];
        assert_eq!(seen, expected);
        assert_eq!(source.statistics().unstamped_count, 1);
    }
}

#[test]
fn what_the_snap_length_cut_is_counted_not_delivered() {
    let layout = pcap::Layout { snap_len: 62, ..pcap::Layout::default() };
    let mut source = open(&pcap_file(layout, &[NOON; 2], &[vec![1; 10], vec![1; 30]])).unwrap();
    assert_eq!(source.poll().unwrap().unwrap().bytes.len(), 10);
    assert!(source.poll().unwrap().is_none());
    assert_eq!(source.statistics().skipped.get(peregrine_source::SkipReason::CutBySnaplen), 1);
}

#[test]
fn packets_as_large_as_udp_allows_straddle_the_buffer() {
    let large = vec![vec![3; 65_507]; 60];
    for file in [
        pcap_file(pcap::Layout::default(), &[NOON; 60], &large),
        pcapng_file(pcapng::Layout::default(), &[NOON; 60], &large),
    ] {
        let (packets, end) = read(&file);
        assert_eq!((packets.len(), end.unwrap()), (60, End::Complete));
        assert!(packets.iter().all(|(_, payload)| payload.len() == 65_507));
    }
}

/// Nanoseconds per unit, rounded up, of an `if_tsresol`.
fn unit(resolution: u8) -> u128 {
    let exponent = u32::from(resolution & 0x7f);
    let per_second = if resolution & 0x80 == 0 { 10_u128.pow(exponent) } else { 1 << exponent };
    1_000_000_000_u128.div_ceil(per_second).max(1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pcap_round_trips_in_every_order_and_unit(
        steps in prop::collection::vec(0_i64..2_000_000_000, 0..20), is_big: bool, is_micros: bool,
    ) {
        let times: Vec<i64> = steps.iter().scan(NOON, |time, step| { *time += step; Some(*time) }).collect();
        let order = ORDERS[usize::from(is_big)];
        let fraction = if is_micros { Fraction::Micros } else { Fraction::Nanos };
        let payloads = payloads(u8::try_from(times.len()).unwrap());
        let (packets, end) = read(&pcap_file(pcap::Layout { order, fraction, ..pcap::Layout::default() }, &times, &payloads));
        prop_assert_eq!(end.expect("sound"), End::Complete);
        let grain = i64::from(fraction.nanos());
        let expected: Vec<_> = times.iter().map(|time| time / grain * grain).zip(payloads).collect();
        prop_assert_eq!(packets, expected);
    }

    #[test]
    fn pcapng_round_trips_in_every_order_and_unit(
        steps in prop::collection::vec(0_i64..2_000_000_000, 0..20), is_big: bool,
        resolution in prop_oneof![0_u8..=9, 0x80_u8..=0xa1], offset_secs in -1_000_i64..1_000,
    ) {
        let times: Vec<i64> = steps.iter().scan(NOON, |time, step| { *time += step; Some(*time) }).collect();
        let layout = pcapng::Layout {
            order: ORDERS[usize::from(is_big)], resolution: Resolution(resolution), offset_secs, ..pcapng::Layout::default()
        };
        let payloads = payloads(u8::try_from(times.len()).unwrap());
        let (packets, end) = read(&pcapng_file(layout, &times, &payloads));
        prop_assert_eq!(end.expect("sound"), End::Complete);
        prop_assert_eq!(packets.len(), times.len());
        for ((time, payload), (wanted, sent)) in packets.iter().zip(times.iter().zip(&payloads)) {
            prop_assert_eq!(payload, sent);
            prop_assert!(u128::from(time.abs_diff(*wanted)) < unit(resolution).max(1), "{} {}", time, wanted);
        }
    }
}

#[test]
fn a_section_forgets_the_interfaces_of_the_one_before() {
    let file = pcapng_file(pcapng::Layout::default(), &[NOON], &payloads(1));
    // A second section header without an interface, then the packet of the first section again.
    let again = [&file[..], &file[..28], &file[60..]].concat();
    assert_eq!(damage(&again), (file.len() as u64 + 28, Damage::UnknownInterface(0)));
}
