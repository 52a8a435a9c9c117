//! The bytes of a segment file: file header, record header, block end, checksums. `docs/formats.md` is the text.
#![deny(clippy::arithmetic_side_effects)]

use peregrine_types::EpochNanos;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Fault, Stream, checksum::record_crc};

/// The version of the format that this program writes; it reads this one and older ones.
pub const FORMAT_VERSION: u16 = 1;
/// How many records share one hash of the chain.
pub const RECORDS_PER_BLOCK: u64 = 1 << BLOCK_LOG2;

const BLOCK_LOG2: u8 = 6;

pub(crate) const MAGIC: [u8; 8] = *b"PGRNLOG\n";
pub(crate) const ENDIAN_MARK: u16 = 0xFEFF;
pub(crate) const FILE_HEADER_LEN: usize = 64;
pub(crate) const RECORD_HEADER_LEN: usize = 16;
pub(crate) const BLOCK_END_LEN: usize = 64;
/// [`RECORDS_PER_BLOCK`] as a length.
pub(crate) const BLOCK_RECORDS: usize = 1 << BLOCK_LOG2;
pub(crate) const RECORD_VERSION: u8 = 1;
/// Kind of a block end; no payload has it.
pub(crate) const KIND_BLOCK_END: u16 = 0xFFFF;
/// The block is the last one of its stream.
pub(crate) const FLAG_SEALED: u32 = 1;
/// The block was sealed by recovery, not by its writer.
pub(crate) const FLAG_RECOVERED: u32 = 2;

/// Facts about a run that stand in the header of every segment of its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunFacts {
    /// When the run started, by the system clock.
    pub start_time: EpochNanos,
    /// Free for marks of the host; the engine writes 0 and puts what the host gave and what was applied into the log as
    /// [`RunFact`](crate::records::RunFact) records.
    pub host_flags: u32,
    /// Hash of the effective configuration; the header keeps the first 8 bytes.
    pub config_hash: [u8; 32],
    /// Hash of the model file; the header keeps the first 6 bytes.
    pub model_hash: [u8; 32],
    /// Hash of the program; the header keeps the first 6 bytes.
    pub binary_hash: [u8; 32],
}

/// The first 64 bytes of a segment file.
///
/// | offset | length | field |
/// |---|---|---|
/// | 0 | 8 | magic `PGRNLOG\n` |
/// | 8 | 2 | format version |
/// | 10 | 2 | byte-order mark 0xFEFF |
/// | 12 | 1 | stream number |
/// | 13 | 1 | records per block, as a power of two (6) |
/// | 14 | 2 | bytes per record |
/// | 16 | 4 | host flags |
/// | 20 | 4 | segment number, from 1 |
/// | 24 | 8 | index of the first record |
/// | 32 | 8 | start of the run, UTC nanoseconds |
/// | 40 | 8 | hash of the effective configuration, first bytes |
/// | 48 | 6 | hash of the model, first bytes |
/// | 54 | 6 | hash of the program, first bytes |
/// | 60 | 4 | CRC32C of bytes 0–59 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FileHeader {
    /// `PGRNLOG\n`.
    pub magic: [u8; 8],
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u16,
    /// 0xFEFF, read in the writer's byte order.
    pub endian_mark: u16,
    /// [`Stream::number`].
    pub stream: u8,
    /// log2 of [`RECORDS_PER_BLOCK`].
    pub block_log2: u8,
    /// [`Stream::record_len`].
    pub record_len: u16,
    /// [`RunFacts::host_flags`].
    pub host_flags: u32,
    /// The segment's number, from 1.
    pub segment: u32,
    /// Index of the segment's first record.
    pub first_index: u64,
    /// [`RunFacts::start_time`].
    pub start_time: EpochNanos,
    /// First bytes of [`RunFacts::config_hash`].
    pub config_hash: [u8; 8],
    /// First bytes of [`RunFacts::model_hash`].
    pub model_hash: [u8; 6],
    /// First bytes of [`RunFacts::binary_hash`].
    pub binary_hash: [u8; 6],
    /// CRC32C of the bytes before it.
    pub crc: u32,
}

const _: () = assert!(size_of::<FileHeader>() == FILE_HEADER_LEN, "the file header is one cache line");

fn head<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(hash) {
        *to = *from;
    }
    out
}

impl FileHeader {
    pub(crate) fn new(stream: Stream, facts: &RunFacts) -> Self {
        let mut header = Self {
            magic: MAGIC,
            version: FORMAT_VERSION,
            endian_mark: ENDIAN_MARK,
            stream: stream.number(),
            block_log2: BLOCK_LOG2,
            record_len: u16::try_from(stream.record_len()).unwrap_or(0),
            host_flags: facts.host_flags,
            segment: 1,
            first_index: 0,
            start_time: facts.start_time,
            config_hash: head(&facts.config_hash),
            model_hash: head(&facts.model_hash),
            binary_hash: head(&facts.binary_hash),
            crc: 0,
        };
        header.crc = header.computed_crc();
        header
    }

    /// The header of another segment of the same run.
    pub(crate) fn of_segment(&self, segment: u32, first_index: u64) -> Self {
        let mut header = Self { segment, first_index, ..*self };
        header.crc = header.computed_crc();
        header
    }

    fn computed_crc(&self) -> u32 {
        crc32c::crc32c(self.as_bytes().get(..60).unwrap_or_default())
    }

    /// The header at the start of `bytes`, with everything checked that does not depend on the file's place.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let bytes = bytes.get(..FILE_HEADER_LEN).ok_or(Fault::HeaderShort)?;
        let header = Self::read_from_bytes(bytes).map_err(|_| Fault::HeaderShort)?;
        if header.magic != MAGIC {
            return Err(if bytes.iter().all(|byte| *byte == 0) { Fault::Blank } else { Fault::Magic });
        }
        if header.endian_mark == ENDIAN_MARK.swap_bytes() {
            return Err(Fault::Endianness);
        }
        if header.crc != header.computed_crc() {
            return Err(Fault::HeaderChecksum);
        }
        if header.version == 0 || header.version > FORMAT_VERSION {
            return Err(Fault::Version { found: header.version });
        }
        let field = |field| Err(Fault::HeaderField { field });
        let Some(stream) = Stream::from_number(header.stream) else {
            return field("stream number");
        };
        if header.endian_mark != ENDIAN_MARK {
            return field("byte-order mark");
        }
        if usize::from(header.record_len) != stream.record_len() {
            return field("record length");
        }
        if header.block_log2 != BLOCK_LOG2 {
            return field("block length");
        }
        Ok(header)
    }
}

/// The first 16 bytes of every record.
///
/// | offset | length | field |
/// |---|---|---|
/// | 0 | 4 | CRC32C of the whole record, these four bytes counted as zero |
/// | 4 | 2 | kind ([`crate::records::RecordKind`]; 0xFFFF: block end) |
/// | 6 | 1 | stream number |
/// | 7 | 1 | version of the payload's layout |
/// | 8 | 8 | index of the record in its stream, from 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecordHeader {
    /// CRC32C of the whole record, these four bytes counted as zero.
    pub crc: u32,
    /// What the payload is.
    pub kind: u16,
    /// [`Stream::number`].
    pub stream: u8,
    /// Version of the payload's layout.
    pub version: u8,
    /// Index in the stream, from 0.
    pub index: u64,
}

const _: () = assert!(size_of::<RecordHeader>() == RECORD_HEADER_LEN, "the record header is 16 bytes");

impl RecordHeader {
    /// The header of a record with `payload`, checksum included.
    #[inline]
    pub(crate) fn seal(stream: Stream, kind: u16, index: u64, payload: &[u8]) -> Self {
        let mut header = Self { crc: 0, kind, stream: stream.number(), version: RECORD_VERSION, index };
        header.crc = header.computed_crc(payload);
        header
    }

    #[inline]
    fn computed_crc(&self, payload: &[u8]) -> u32 {
        // The checksum counts as zero in itself: whole words are faster than a range that starts at byte 4.
        let zeroed = Self { crc: 0, ..*self };
        zeroed.as_bytes().first_chunk().map_or(0, |header| record_crc(header, payload))
    }
}

/// The header of the record in `bytes`, one whole record, once checksum, stream and index are what they must be.
pub(crate) fn check_record(bytes: &[u8], stream: Stream, index: u64) -> Result<RecordHeader, Fault> {
    let header = check_bytes(bytes, stream, index)?;
    if header.kind == KIND_BLOCK_END { Err(Fault::Misplaced) } else { Ok(header) }
}

fn check_bytes(bytes: &[u8], stream: Stream, index: u64) -> Result<RecordHeader, Fault> {
    let (header, payload) = RecordHeader::read_from_prefix(bytes).map_err(|_| Fault::Short)?;
    if header.crc != header.computed_crc(payload) {
        return Err(if bytes.iter().all(|byte| *byte == 0) { Fault::Blank } else { Fault::Checksum });
    }
    if header.stream != stream.number() {
        return Err(Fault::StreamNumber { found: header.stream });
    }
    if header.index != index {
        return Err(Fault::Index { found: header.index });
    }
    Ok(header)
}

/// What closes a block: the hash that ties its records to everything before them.
///
/// | offset | length | field |
/// |---|---|---|
/// | 0 | 16 | record header: kind 0xFFFF, index = number of the block, from 0 |
/// | 16 | 4 | records in the block |
/// | 20 | 4 | flags: 1 sealed end of the stream, 2 sealed by recovery |
/// | 24 | 8 | first bytes of BLAKE3 over all segment headers up to here |
/// | 32 | 32 | BLAKE3(hash of the block before ‖ records ‖ block number u64 ‖ record count u32 ‖ flags u32) |
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct BlockEnd {
    pub(crate) header: RecordHeader,
    pub(crate) record_count: u32,
    pub(crate) flags: u32,
    pub(crate) facts_tag: [u8; 8],
    pub(crate) hash: [u8; 32],
}

const _: () = assert!(size_of::<BlockEnd>() == BLOCK_END_LEN, "a block end is one cache line");

impl BlockEnd {
    pub(crate) fn sealed(mut self, stream: Stream, block: u64) -> Self {
        let bytes = self.as_bytes();
        let payload = bytes.get(RECORD_HEADER_LEN..).unwrap_or_default();
        self.header = RecordHeader::seal(stream, KIND_BLOCK_END, block, payload);
        self
    }

    /// The block end in `bytes` (64 of them), once checksum, stream and number are what they must be.
    pub(crate) fn parse(bytes: &[u8], stream: Stream, block: u64) -> Result<Self, Fault> {
        let bytes = bytes.get(..BLOCK_END_LEN).ok_or(Fault::Short)?;
        let header = check_bytes(bytes, stream, block)?;
        if header.kind != KIND_BLOCK_END {
            return Err(Fault::Misplaced);
        }
        Self::read_from_bytes(bytes).map_err(|_| Fault::Short)
    }
}

/// The hash before the first block: it names the format and the stream, and nothing that differs between two runs
/// over one input.
pub(crate) fn genesis(stream: Stream) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("peregrine event log 2026 hash chain v1");
    hasher.update(&[stream.number()]);
    *hasher.finalize().as_bytes()
}

/// A hasher that has seen the hash of the block before.
pub(crate) fn chained(previous: &[u8; 32]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous);
    hasher
}

/// Ends the hash of a block.
pub(crate) fn finish(hasher: &mut blake3::Hasher, block: u64, record_count: u32, flags: u32) -> [u8; 32] {
    hasher.update(&block.to_le_bytes());
    hasher.update(&record_count.to_le_bytes());
    hasher.update(&flags.to_le_bytes());
    *hasher.finalize().as_bytes()
}

/// The first bytes of the hash over all segment headers so far.
pub(crate) fn facts_tag(headers: &blake3::Hasher) -> [u8; 8] {
    head(headers.finalize().as_bytes())
}

/// `value` as an index; this crate builds for 64-bit machines only, so nothing is lost.
pub(crate) fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// `value` as a count in a file.
pub(crate) fn to_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_one_wrong_bit_is_refused() {
        let header = FileHeader::new(Stream::Send, &RunFacts::default());
        assert_eq!(FileHeader::parse(header.as_bytes()), Ok(header));
        for bit in 0..FILE_HEADER_LEN * 8 {
            let mut bytes = header.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::parse(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn newer_versions_and_foreign_byte_orders_are_named() {
        let mut header = FileHeader::new(Stream::Feed, &RunFacts::default());
        header.version = FORMAT_VERSION + 1;
        header.crc = header.computed_crc();
        assert_eq!(FileHeader::parse(header.as_bytes()), Err(Fault::Version { found: 2 }));
        header.endian_mark = header.endian_mark.swap_bytes();
        assert_eq!(FileHeader::parse(header.as_bytes()), Err(Fault::Endianness));
        assert_eq!(FileHeader::parse(&[0; 63]), Err(Fault::HeaderShort));
        assert_eq!(FileHeader::parse(&[1; 64]), Err(Fault::Magic));
    }
}
