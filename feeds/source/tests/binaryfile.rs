//! BinaryFILE: the sheet's test file, every truncation point, gzip in one and many members, what other files look like.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use peregrine_source::{
    End, Hint, Input, LineId, Session, Source, SourceError, StampKind,
    binaryfile::{BinaryFile, Writer, probe},
};
use peregrine_types::EpochNanos;
use proptest::prelude::*;

const FOO: &[u8] = b"\0\x03foo\0\x03bar\0\x03baz\0\x04quux\0\0";

fn session() -> Session {
    Session { date: jiff::civil::date(2020, 1, 30), midnight: EpochNanos(1_000) }
}

fn reader(bytes: &[u8]) -> BinaryFile {
    let len = bytes.len() as u64;
    let input = Input::from_reader(Cursor::new(bytes.to_vec()), "memory", len).unwrap();
    BinaryFile::new(input, LineId::A, session())
}

fn drain(source: &mut BinaryFile) -> Result<Vec<(u64, Vec<u8>)>, SourceError> {
    let mut all = Vec::new();
    while let Some(packet) = source.poll()? {
        assert_eq!(packet.stamp, StampKind::Synthetic);
        all.push((packet.offset, packet.bytes.to_vec()));
    }
    Ok(all)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_test_file_of_the_sheet_reads_to_its_end_record() {
    let mut source = reader(FOO);
    let words: Vec<_> = drain(&mut source).unwrap();
    let expected = [(2, b"foo".to_vec()), (7, b"bar".to_vec()), (12, b"baz".to_vec()), (17, b"quux".to_vec())];
    assert_eq!(words, expected);
    assert_eq!(source.statistics().end, End::Complete);
    assert_eq!(source.statistics().payload_len, 13);
    assert_eq!(source.progress().read_len, FOO.len() as u64);
    assert!(source.poll().unwrap().is_none());
}

#[test]
fn every_cut_gives_a_clean_prefix_and_says_how_it_ended() {
    let starts = [0, 5, 10, 15, 21];
    for cut in 0..FOO.len() {
        let mut source = reader(&FOO[..cut]);
        let words = drain(&mut source).unwrap();
        let whole = starts.iter().filter(|start| **start <= cut && **start > 0).count();
        assert_eq!(words.len(), whole, "cut at {cut}");
        let end = source.statistics().end;
        if starts.contains(&cut) {
            assert_eq!(end, End::Incomplete { offset: cut as u64 });
        } else {
            let start = *starts.iter().rfind(|start| **start < cut).unwrap() as u64;
            assert!(matches!(end, End::Truncated { offset, missing_len: 1.. } if offset == start), "{cut}: {end:?}");
        }
        assert!(!end.is_clean());
    }
}

#[test]
fn bytes_after_the_end_record_are_named_not_read() {
    let mut source = reader(&[FOO, b"xx"].concat());
    assert_eq!(drain(&mut source).unwrap().len(), 4);
    assert_eq!(source.statistics().end, End::FollowedByData { offset: FOO.len() as u64 });
}

#[test]
fn gzip_of_many_members_reads_as_one_file_and_every_cut_is_a_prefix() {
    let packed = [gzip(&FOO[..7]), gzip(&FOO[7..])].concat();
    let mut source = reader(&packed);
    assert_eq!(drain(&mut source).unwrap().len(), 4);
    assert_eq!(source.statistics().end, End::Complete);
    assert_eq!(source.progress().read_len, packed.len() as u64);
    let first_member = gzip(&FOO[..7]).len();
    for cut in 2..packed.len() {
        let mut source = reader(&packed[..cut]);
        let words = drain(&mut source).unwrap();
        assert!(words.len() <= 4);
        let end = source.statistics().end;
        assert!(!end.is_clean(), "cut at {cut}: {end:?}");
        assert!(cut == first_member || matches!(end, End::Truncated { .. }), "cut at {cut}: {end:?}");
    }
}

#[test]
fn a_flipped_bit_in_gzip_is_a_typed_error_with_both_offsets() {
    let content: Vec<u8> = (0..2_000_u32).flat_map(|i| [0, 4].into_iter().chain(i.to_le_bytes())).collect();
    let mut packed = gzip(&content);
    let at = packed.len() - 6; // inside the checksum of the content
    packed[at] ^= 1;
    let mut source = reader(&packed);
    let error = drain(&mut source).unwrap_err();
    let SourceError::Gzip { compressed_offset, offset, .. } = error else { panic!("{error}") };
    assert_eq!(offset, content.len() as u64);
    assert!(compressed_offset >= at as u64 && compressed_offset <= packed.len() as u64, "{compressed_offset}");
    assert!(source.poll().unwrap().is_none(), "an error is told once");
}

#[test]
fn records_may_straddle_the_buffer_and_be_as_long_as_the_length_field_allows() {
    let long = vec![7_u8; 65_535];
    let mut writer = Writer::new(Vec::new());
    for _ in 0..100 {
        writer.write_message(&long).unwrap();
    }
    let file = writer.finish().unwrap();
    let mut source = reader(&file);
    let mut count = 0;
    while let Some(packet) = source.poll().unwrap() {
        assert_eq!(packet.bytes, long);
        count += 1;
    }
    assert_eq!((count, source.statistics().end), (100, End::Complete));
    assert!(Writer::new(Vec::new()).write_message(&vec![0; 65_536]).is_err());
    assert!(Writer::new(Vec::new()).write_message(&[]).is_err());
}

#[test]
fn the_exchange_time_stands_in_for_the_receive_time_and_never_runs_back() {
    let mut writer = Writer::new(Vec::new());
    for nanos in [5_u64, 9, 7, 12] {
        let mut message = vec![b'S', 0, 0, 0, 0];
        message.extend_from_slice(&nanos.to_be_bytes()[2..]);
        message.push(b'O');
        writer.write_message(&message).unwrap();
    }
    writer.write_message(b"tiny").unwrap();
    let mut source = reader(&writer.finish().unwrap());
    let mut times = Vec::new();
    while let Some(packet) = source.poll().unwrap() {
        times.push(packet.recv_time.0);
    }
    assert_eq!(times, [1_005, 1_009, 1_009, 1_012, 1_012]);
    let statistics = source.statistics();
    assert_eq!((statistics.backward_step_count, statistics.backward_step_ns_max), (1, 2));
}

#[test]
fn other_files_are_told_apart_by_their_first_record() {
    assert_eq!(probe(b""), Err(Hint::Empty));
    assert_eq!(probe(b"\0\x0cS\0\0"), Ok(()));
    assert_eq!(probe(b"\0\x27R\0\x0d"), Ok(()));
    assert_eq!(probe(b"\0\0"), Ok(()));
    assert_eq!(probe(b"\0\x06S\0\0"), Err(Hint::OlderItch));
    assert_eq!(probe(b"\0\x05T\0\0"), Err(Hint::OlderItch));
    assert_eq!(probe(b"\0\x0dSS\0"), Err(Hint::SoupBinTcp));
    assert_eq!(probe(b"\0\x1fA\x20\0"), Err(Hint::SoupBinTcp));
    assert_eq!(probe(b"\0\x03foo"), Err(Hint::NotItch { len: 3, kind: b'f' }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_plain_and_packed(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 0..40)) {
        let mut writer = Writer::new(Vec::new());
        for message in &messages {
            writer.write_message(message).unwrap();
        }
        let file = writer.finish().unwrap();
        for bytes in [file.clone(), gzip(&file)] {
            let mut source = reader(&bytes);
            let read: Vec<_> = drain(&mut source).unwrap().into_iter().map(|(_, message)| message).collect();
            prop_assert_eq!(&read, &messages);
            prop_assert_eq!(source.statistics().end, End::Complete);
        }
    }
}
