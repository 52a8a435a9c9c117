//! Frames, lines, merging, time ranges, detection by content, session dates, and the fuzz bodies on random bytes.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{io::Cursor, path::Path};

use jiff::civil::date;
use peregrine_source::{
    Carrier, Checks, HeaderCheck, Hint, Input, LineFilter, LineId, Merge, OpenOptions, SkipReason, Source, SourceError,
    TimeRange, UdpCheck, binaryfile,
    frame::{FrameBuilder, LinkType, dissect},
    fuzz, open, open_all, open_input, pcap,
    session::{date_in_name, session_midnight},
};
use peregrine_types::EpochNanos;
use proptest::prelude::*;

/// 2020-01-30 12:00 in New York.
const NOON: i64 = 1_580_403_600_000_000_000;

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let (from, to) = ("10.0.0.1:5000".parse().unwrap(), "233.54.12.111:26477".parse().unwrap());
    FrameBuilder::new(from, to).build(payload, &mut frame).unwrap();
    frame
}

fn strict() -> Checks {
    Checks { header: HeaderCheck::Strict, udp: UdpCheck::Strict }
}

fn skip(link: LinkType, frame: &[u8]) -> SkipReason {
    dissect(link, frame, false, strict()).unwrap_err()
}

/// The IPv4 packet of a frame, padding removed.
fn ip(payload: &[u8]) -> Vec<u8> {
    let frame = frame(payload);
    frame[14..14 + 28 + payload.len()].to_vec()
}

fn ipv6(payload: &[u8], extensions: &[u8], first: u8) -> Vec<u8> {
    let udp_len = u16::try_from(payload.len() + 8).unwrap();
    let len = udp_len + u16::try_from(extensions.len()).unwrap();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([first, 64]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(extensions);
    packet.extend([0, 7, 0, 9]);
    packet.extend(udp_len.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

#[test]
fn every_link_type_leads_to_the_payload() {
    let ip = ip(b"payload");
    let cases = [
        (LinkType::RawIp, vec![]),
        (LinkType::RawIpv4, vec![]),
        (LinkType::Loopback, vec![2, 0, 0, 0]),
        (LinkType::Loopback, vec![0, 0, 0, 2]),
        (LinkType::Ethernet, [&[0; 12][..], &[8, 0]].concat()),
        (LinkType::Ethernet, [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0]].concat()),
        (LinkType::Ethernet, [&[0; 12][..], &[0x88, 0xa8, 0, 5, 0x91, 0, 0, 1, 0x81, 0, 0, 1, 8, 0]].concat()),
        (LinkType::LinuxCooked, [&[0; 14][..], &[8, 0]].concat()),
        (LinkType::LinuxCooked2, [&[8, 0][..], &[0; 18]].concat()),
    ];
    for (link, head) in cases {
        let whole = [&head[..], &ip, b"trailer"].concat();
        let found = dissect(link, &whole, false, strict()).unwrap();
        assert_eq!(found.payload, b"payload", "{link:?}");
        assert_eq!(found.destination, "233.54.12.111:26477".parse().unwrap());
        assert_eq!(found.payload_start, head.len() + 28);
        for cut in 0..head.len() + ip.len() {
            assert_eq!(dissect(link, &whole[..cut], true, strict()), Err(SkipReason::CutBySnaplen), "{link:?} {cut}");
        }
    }
}

#[test]
fn ipv6_is_read_through_its_extension_headers() {
    let lenient = Checks::default();
    let plain = ipv6(b"six", &[], 17);
    let found = dissect(LinkType::RawIp, &plain, false, lenient).unwrap();
    assert_eq!((found.payload, found.destination), (&b"six"[..], "[ff02::2]:9".parse().unwrap()));
    let hops = ipv6(b"six", &[44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 1], 0);
    assert_eq!(dissect(LinkType::RawIpv6, &hops, false, lenient).unwrap().payload, b"six");
    let fragment = ipv6(b"six", &[17, 0, 0, 1, 0, 0, 0, 1], 44);
    assert_eq!(dissect(LinkType::RawIpv6, &fragment, false, lenient), Err(SkipReason::Fragment));
    // IPv6 has no datagram without a checksum.
    assert_eq!(skip(LinkType::RawIpv6, &plain), SkipReason::BadUdpChecksum);
    assert_eq!(skip(LinkType::RawIpv6, &ipv6(b"six", &[], 58)), SkipReason::NotUdp);
    let endless = ipv6(b"", &[0; 80], 0);
    assert_eq!(skip(LinkType::RawIpv6, &endless), SkipReason::NotUdp);
}

#[test]
fn what_is_not_for_us_is_told_apart() {
    let good = frame(b"payload");
    let with = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame
    };
    let off = Checks { header: HeaderCheck::Off, udp: UdpCheck::Off };
    let reason = |frame: &[u8]| dissect(LinkType::Ethernet, frame, false, off).unwrap_err();
    assert_eq!(reason(&with(13, 6)), SkipReason::NotIp);
    assert_eq!(reason(&with(23, 6)), SkipReason::NotUdp);
    assert_eq!(reason(&with(20, 0x20)), SkipReason::Fragment);
    assert_eq!(reason(&with(21, 1)), SkipReason::Fragment);
    assert_eq!(reason(&with(14, 0x44)), SkipReason::BadLength);
    assert_eq!(reason(&with(17, 10)), SkipReason::BadLength);
    assert_eq!(reason(&with(16, 0xff)), SkipReason::BadLength);
    assert_eq!(reason(&with(39, 7)), SkipReason::BadLength);
    assert_eq!(reason(&with(38, 0xff)), SkipReason::BadLength);
    assert_eq!(skip(LinkType::Ethernet, &with(24, 0x55)), SkipReason::BadIpChecksum);
    assert_eq!(skip(LinkType::Ethernet, &with(45, 0x55)), SkipReason::BadUdpChecksum);
    let tags = [&good[..12], &[0x81, 0, 0, 1].repeat(4), &good[12..]].concat();
    assert_eq!(reason(&tags), SkipReason::TooManyVlanTags);
    // A checksum of zero is what anonymisers leave; anything else that is wrong is damage.
    let wiped = {
        let mut frame = with(24, 0);
        frame[25] = 0;
        frame
    };
    assert!(dissect(LinkType::Ethernet, &wiped, false, Checks::default()).unwrap().is_checksum_zeroed);
    assert_eq!(skip(LinkType::Ethernet, &wiped), SkipReason::BadIpChecksum);
}

#[test]
fn a_udp_checksum_that_the_sender_left_to_its_card_is_told_from_a_wrong_one() {
    let lenient = Checks { udp: UdpCheck::Lenient, ..Checks::default() };
    let with = |checksum: u32| {
        let mut packet = ip(b"payload");
        packet[26..28].copy_from_slice(&u16::try_from(checksum).unwrap().to_be_bytes());
        packet
    };
    let is_taken = |packet: &[u8], checks| match dissect(LinkType::RawIp, packet, false, checks) {
        Ok(datagram) => datagram.payload == b"payload",
        Err(reason) => {
            assert_eq!(reason, SkipReason::BadUdpChecksum);
            false
        }
    };
    // Addresses, protocol and length, added up: what the sender's stack writes for its card to complete.
    let packet = ip(b"payload");
    let words = packet[12..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>() + 17 + 8 + 7;
    let unfilled = (sum & 0xffff) + (sum >> 16);
    for (packet, by_lenient, by_strict) in [
        (packet.clone(), true, true),
        (with(0), true, true),
        (with(unfilled), true, false),
        (with(unfilled + 1), false, false),
        (with(unfilled - 1), false, false),
    ] {
        assert!(is_taken(&packet, Checks::default()));
        assert_eq!(is_taken(&packet, lenient), by_lenient);
        assert_eq!(is_taken(&packet, Checks { udp: UdpCheck::Strict, ..lenient }), by_strict);
    }
    let mut damaged = packet;
    damaged[30] ^= 1;
    assert_eq!(dissect(LinkType::RawIp, &damaged, false, lenient).unwrap_err(), SkipReason::BadUdpChecksum);
}

#[test]
fn ipv4_options_are_passed_over() {
    let mut packet = ip(b"payload");
    packet.splice(20..20, [1; 8]);
    packet[0] = 0x47;
    packet[3] += 8;
    let off = Checks { header: HeaderCheck::Off, udp: UdpCheck::Strict };
    assert_eq!(dissect(LinkType::RawIp, &packet, false, off).unwrap().payload, b"payload");
}

fn mold(sequence: u8, messages: &[&[u8]]) -> Vec<u8> {
    let mut packet = b"000010059B".to_vec();
    packet.extend([0, 0, 0, 0, 0, 0, 0, sequence, 0, u8::try_from(messages.len()).unwrap()]);
    for message in messages {
        packet.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        packet.extend(*message);
    }
    packet
}

fn capture(packets: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut writer = pcap::Writer::new(Vec::new()).unwrap();
    for (time, payload) in packets {
        writer.write_packet(EpochNanos(*time), &frame(payload)).unwrap();
    }
    writer.finish().unwrap()
}

fn opened(bytes: Vec<u8>, name: &str, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    open_input(Input::from_reader(Cursor::new(bytes), name, 0)?, options)
}

fn on_line(line: u8, times: &[i64]) -> Box<dyn Source> {
    let packets: Vec<_> = times.iter().map(|time| (NOON + time, mold(1, &[]))).collect();
    let options = OpenOptions { line: LineId(line), ..OpenOptions::default() };
    opened(capture(&packets), "x", &options).unwrap()
}

fn drain(source: &mut impl Source) -> Vec<(i64, u8)> {
    let mut all = Vec::new();
    while let Some(packet) = source.poll().unwrap() {
        all.push((packet.recv_time.0 - NOON, packet.line.0));
    }
    all
}

#[test]
fn lines_merge_by_time_then_by_line() {
    let mut merge = Merge::new(vec![on_line(1, &[1, 5, 5, 9]), on_line(0, &[2, 5, 4, 10])]).unwrap();
    assert!(merge.current().is_none());
    let seen = drain(&mut merge);
    assert_eq!(seen, [(1, 1), (2, 0), (5, 0), (5, 0), (5, 1), (5, 1), (9, 1), (10, 0)]);
    let statistics = merge.statistics();
    assert_eq!((statistics.packet_count, statistics.backward_step_count), (8, 1));
    assert!(statistics.end.is_clean() && merge.poll().unwrap().is_none());
    assert_eq!(merge.session().unwrap().date, date(2020, 1, 30));
}

#[test]
fn lines_of_different_days_or_forms_do_not_merge() {
    let day = 86_400_000_000_000;
    let error = Merge::new(vec![on_line(0, &[0]), on_line(1, &[day])]).err().unwrap();
    assert!(matches!(error, SourceError::SessionMismatch { index: 1, .. }), "{error}");
    let raw = opened(b"\0\x0cS\0\0\0\0\0\0\0\0\0\0O".to_vec(), "20200130", &OpenOptions::default()).unwrap();
    let error = Merge::new(vec![on_line(0, &[0]), raw]).err().unwrap();
    assert!(matches!(error, SourceError::FormatMismatch { index: 1 }));
    assert!(matches!(Merge::new(vec![]).err().unwrap(), SourceError::LineCount { count: 0 }));
}

#[test]
fn a_time_range_takes_its_start_and_leaves_its_end() {
    let at = |offset: i64| Some(EpochNanos(NOON + offset));
    let mut range = TimeRange::new(on_line(0, &[1, 2, 3, 4, 5]), at(2), at(4));
    assert_eq!(drain(&mut range), [(2, 0), (3, 0)]);
    assert_eq!(range.early_count(), 1);
    assert!(range.current().is_none());
    assert_eq!(drain(&mut TimeRange::new(on_line(0, &[1, 2]), None, None)).len(), 2);
}

#[test]
fn without_filters_moldudp64_is_recognised_and_then_followed() {
    let torn = mold(3, &[b"message"])[..25].to_vec();
    let packets = [(NOON, b"hello".to_vec()), (NOON, mold(1, &[b"a", b"bc"])), (NOON, torn.clone())];
    let mut source = opened(capture(&packets), "x", &OpenOptions::default()).unwrap();
    assert_eq!(source.format(), Carrier::MoldUdp64);
    assert_eq!(source.poll().unwrap().unwrap().bytes, packets[1].1);
    assert_eq!(source.poll().unwrap().unwrap().bytes, torn);
    assert!(source.poll().unwrap().is_none());
    assert_eq!(source.statistics().skipped.get(SkipReason::NotMoldUdp64), 1);
    assert_eq!(source.statistics().destination_count, 1);
}

#[test]
fn filters_choose_the_line() {
    let group = Some("233.54.12.111".parse().unwrap());
    let filter = |line, address, port| LineFilter { line, address, port };
    let other = Some("233.54.12.112".parse().unwrap());
    let filters = vec![filter(LineId::A, other, None), filter(LineId::B, group, Some(26477))];
    let bytes = capture(&[(NOON, b"x".to_vec())]);
    let options = OpenOptions { filters, ..OpenOptions::default() };
    let mut source = opened(bytes.clone(), "x", &options).unwrap();
    assert_eq!(source.poll().unwrap().unwrap().line, LineId::B);
    let options = OpenOptions { filters: vec![filter(LineId::A, group, Some(1))], ..OpenOptions::default() };
    let mut source = opened(bytes, "x", &options).unwrap();
    assert!(source.poll().unwrap().is_none());
    assert_eq!(source.statistics().skipped.get(SkipReason::OtherDestination), 1);
}

#[test]
fn files_are_known_by_content_and_refused_with_a_reason() {
    let hint = |bytes: &[u8]| match opened(bytes.to_vec(), "20200130.itch", &OpenOptions::default()) {
        Err(SourceError::Unrecognised { hint, .. }) => hint,
        other => panic!("{:?}", other.err()),
    };
    assert_eq!(hint(b""), Hint::Empty);
    assert_eq!(hint(b"\0\x0dSS"), Hint::SoupBinTcp);
    assert_eq!(hint(b"\0\x06S\0"), Hint::OlderItch);
    assert_eq!(hint(&0xa1b2_cd34_u32.to_be_bytes()), Hint::ModifiedPcap);
    assert!(matches!(hint(b"plain text"), Hint::NotItch { .. }));
    let missing = open("no/such/file", &OpenOptions::default()).err().unwrap();
    assert!(matches!(missing, SourceError::Io { .. }) && missing.to_string().contains("no/such/file"));
}

#[test]
fn the_day_comes_from_the_user_the_capture_or_the_name() {
    let raw = b"\0\x0cS\0\0\0\0\0\0\0\0\0\x01O".to_vec();
    let day = |name: &str, given| {
        let options = OpenOptions { date: given, ..OpenOptions::default() };
        opened(raw.clone(), name, &options).map(|source| source.session().unwrap().date)
    };
    assert_eq!(day("x/S081321-v50.txt.gz", None).unwrap(), date(2021, 8, 13));
    assert_eq!(day("x/S081321-v50.txt.gz", Some(date(2020, 1, 30))).unwrap(), date(2020, 1, 30));
    assert!(matches!(day("x/today.itch", None), Err(SourceError::NoSessionDate { .. })));
    // Midnight in London is still the day before in New York; the capture's own time beats the name.
    let late = capture(&[(1_580_428_800_000_000_000, mold(1, &[]))]);
    let source = opened(late, "20110101.pcap", &OpenOptions::default()).unwrap();
    assert_eq!(source.session().unwrap().date, date(2020, 1, 30));
    let zone = OpenOptions { zone: "Mars/Olympus".into(), date: Some(date(2020, 1, 30)), ..OpenOptions::default() };
    assert!(matches!(opened(raw, "x", &zone), Err(SourceError::Zone { .. })));
}

#[test]
fn names_tell_dates() {
    let found = |name: &str| date_in_name(Path::new(name));
    assert_eq!(found("aapl_20120621_0930.itch50.gz"), Some(date(2012, 6, 21)));
    assert_eq!(found("AAPL_2012-06-21_34200000.csv"), Some(date(2012, 6, 21)));
    assert_eq!(found("01302020.NASDAQ_ITCH50.gz"), Some(date(2020, 1, 30)));
    assert_eq!(found("S081321-v50.txt.gz"), Some(date(2021, 8, 13)));
    assert_eq!(found("20121399_20120229"), Some(date(2012, 2, 29)));
    assert_eq!(found("20190229"), None);
    assert_eq!(found("081321-v50"), None);
    assert_eq!(found("120120130"), None);
    assert_eq!(found("2012-06"), None);
    assert_eq!(found("S9"), None);
}

#[test]
fn midnight_follows_the_daylight_rules() {
    let midnight = |day| session_midnight(day, "America/New_York").unwrap().0;
    assert_eq!(midnight(date(2020, 1, 30)), 1_580_360_400_000_000_000);
    assert_eq!(midnight(date(2012, 6, 21)), 1_340_251_200_000_000_000);
    // The day on which the clocks go forward has 23 hours.
    assert_eq!(midnight(date(2020, 3, 9)) - midnight(date(2020, 3, 8)), 23 * 3_600_000_000_000);
}

#[test]
fn several_files_become_lines_in_the_order_given() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = ["a", "b"].map(|name| folder.path().join(name)).into();
    for (index, path) in paths.iter().enumerate() {
        let time = NOON + 10 - i64::try_from(index).unwrap();
        let mut bytes = capture(&[(time, mold(1, &[])), (time + 10, mold(2, &[]))]);
        bytes.truncate(bytes.len() - index);
        std::fs::write(path, bytes).unwrap();
    }
    let mut merge = TimeRange::new(open_all(&paths, &OpenOptions::default()).unwrap(), None, None);
    assert_eq!(drain(&mut merge), [(9, 1), (10, 0), (20, 0)]);
    let progress = merge.progress();
    assert_eq!(progress.read_len, progress.total_len);
    let files = [0, 1].map(|file| merge.file_statistics(file));
    assert_eq!(files.map(|file| file.packet_count), [2, 1]);
    assert!(files[0].end.is_clean() && !files[1].end.is_clean() && !merge.statistics().end.is_clean());
}

#[test]
fn messages_are_written_as_the_format_says() {
    let mut writer = binaryfile::Writer::new(Vec::new());
    writer.write_message(b"foo").unwrap();
    assert_eq!(writer.finish().unwrap(), b"\0\x03foo\0\0");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_break_a_parser(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::pcap(&data);
        fuzz::pcapng(&data);
        fuzz::binaryfile(&data);
        fuzz::gzip(&data);
    }

    #[test]
    fn no_flip_breaks_a_capture(at in 0_usize..400, byte: u8) {
        let mut file = capture(&[(NOON, mold(1, &[b"abc"])), (NOON + 7, mold(2, &[b"de", b"f"]))]);
        let len = file.len();
        file[at % len] = byte;
        fuzz::gzip(&file);
        fuzz::pcap(&file[4..]);
    }

    #[test]
    fn every_payload_is_framed_with_right_checksums(payload in prop::collection::vec(any::<u8>(), 0..1500)) {
        let frame = frame(&payload);
        let found = dissect(LinkType::Ethernet, &frame, false, strict()).unwrap();
        prop_assert_eq!(found.payload, payload);
        prop_assert!(frame.len() >= 60);
    }
}
