//! One body per parser, to be driven with bytes from a fuzzer: none may panic, run on, or grow with what a header
//! claims. Each gives the number of packets that the bytes held.

use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use jiff::civil::date;
use peregrine_types::EpochNanos;

use crate::{
    Capture, CaptureOptions, Input, LineFilter, LineId, OpenOptions, Session, Source, SourceError,
    binaryfile::BinaryFile, open_input,
};

/// A pcap capture; the bytes stand behind a right magic number.
pub fn pcap(data: &[u8]) -> usize {
    let patched = [&0xa1b2_3c4d_u32.to_le_bytes(), data].concat();
    capture(data.to_vec()).saturating_add(capture(patched))
}

/// A pcapng capture; tried as it is, and behind a right section header.
pub fn pcapng(data: &[u8]) -> usize {
    let section = [0x0a0d_0d0a_u32, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28, 1, 20, 1, 0, 20];
    let mut patched: Vec<u8> = section.into_iter().flat_map(u32::to_le_bytes).collect();
    patched.extend_from_slice(data);
    capture(data.to_vec()).saturating_add(capture(patched))
}

/// A length-prefixed file.
pub fn binaryfile(data: &[u8]) -> usize {
    let session = Session { date: date(2020, 1, 30), midnight: EpochNanos(0) };
    input(data.to_vec()).map_or(0, |input| drain(BinaryFile::new(input, LineId::A, session)))
}

/// Anything, opened by its first bytes: the bytes as they are, packed, and behind a gzip header.
pub fn gzip(data: &[u8]) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(data).and_then(|()| encoder.finish()).unwrap_or_default();
    let torn = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], data].concat();
    let options = OpenOptions { date: Some(date(2020, 1, 30)), ..OpenOptions::default() };
    let open = |bytes: Vec<u8>| input(bytes).and_then(|input| open_input(input, &options)).map_or(0, drain);
    [data.to_vec(), packed, torn].into_iter().map(open).fold(0, usize::saturating_add)
}

fn input(bytes: Vec<u8>) -> Result<Input, SourceError> {
    Input::from_reader(Cursor::new(bytes), "fuzz", 0)
}

fn capture(bytes: Vec<u8>) -> usize {
    let all = LineFilter { line: LineId::A, address: None, port: None };
    let options = CaptureOptions { filters: vec![all], ..CaptureOptions::default() };
    input(bytes).and_then(|input| Capture::new(input, options)).map_or(0, drain)
}

fn drain(mut source: impl Source) -> usize {
    let mut count = 0_usize;
    let mut last = EpochNanos::MIN;
    while let Ok(Some(packet)) = source.poll() {
        assert!(packet.recv_time >= last, "time ran back at byte {}", packet.offset);
        last = packet.recv_time;
        count = count.saturating_add(1);
    }
    assert_eq!(source.poll().ok().flatten(), None, "a source that ended gave another packet");
    assert_eq!(source.statistics().packet_count, u64::try_from(count).unwrap_or(u64::MAX));
    count
}
