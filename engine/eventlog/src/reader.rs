//! Reads a log: by index, in order, typed.

use std::path::Path;

use crate::{
    Fault, FileHeader, LogError, RecordHeader, Stream,
    format::{BLOCK_END_LEN, FILE_HEADER_LEN, RECORD_HEADER_LEN, RECORDS_PER_BLOCK, check_record, to_u64, to_usize},
    records::{AnyPayload, Payload, RecordKind},
    verify::{Segments, settled},
    walk::{Ending, walk},
};

/// One record, borrowed from the log; its checksum was checked.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Its header.
    pub header: RecordHeader,
    stream: Stream,
    bytes: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// The kind, `None` for one that this program does not know.
    #[must_use]
    pub const fn kind(&self) -> Option<RecordKind> {
        RecordKind::from_number(self.header.kind)
    }

    /// The whole record, header included.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn payload_bytes(&self) -> &'a [u8] {
        self.bytes.get(RECORD_HEADER_LEN..).unwrap_or_default()
    }

    fn payload_error(&self) -> LogError {
        LogError::Payload { stream: self.stream, index: self.header.index, kind: self.header.kind }
    }

    /// The payload as a `P`, in place.
    ///
    /// # Errors
    /// [`LogError::Payload`] when the record is of another kind or a field holds no valid value.
    pub fn payload<P: Payload>(&self) -> Result<&'a P, LogError> {
        if self.header.kind != P::KIND.number() {
            return Err(self.payload_error());
        }
        P::try_ref_from_bytes(self.payload_bytes()).map_err(|_| self.payload_error())
    }

    /// The payload, whatever its kind.
    ///
    /// # Errors
    /// [`LogError::Payload`] when the kind is unknown or a field holds no valid value.
    pub fn any(&self) -> Result<AnyPayload<'a>, LogError> {
        let kind = self.kind().filter(|kind| kind.stream() == self.stream).ok_or_else(|| self.payload_error())?;
        AnyPayload::parse(kind, self.payload_bytes()).ok_or_else(|| self.payload_error())
    }
}

/// A stream of a log, open for reading; it holds the records that were in the files when it was opened.
pub struct LogReader {
    stream: Stream,
    segments: Segments,
    header: FileHeader,
    /// Records in every segment but the last one.
    segment_record_count: u64,
    record_count: u64,
    is_sealed: bool,
}

impl core::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("LogReader");
        out.field("stream", &self.stream).field("record_count", &self.record_count).finish_non_exhaustive()
    }
}

/// Whether a crash while a segment was begun explains its header: it is not there, or not whole, and nothing follows.
fn is_torn(fault: Fault, segment: &[u8]) -> bool {
    let is_alone = || segment.iter().skip(FILE_HEADER_LEN).all(|byte| *byte == 0);
    matches!(fault, Fault::Blank | Fault::HeaderShort)
        || (matches!(fault, Fault::Magic | Fault::HeaderChecksum) && is_alone())
}

impl LogReader {
    /// Opens `stream` of the log in `dir`. Only the headers and the last segment are checked here, each record when it
    /// is read; [`crate::verify`] checks everything.
    ///
    /// # Errors
    /// [`LogError::StreamMissing`], [`LogError::Io`], and [`LogError::Damaged`] for a damaged header.
    pub fn open(dir: &Path, stream: Stream) -> Result<Self, LogError> {
        settled(|| Self::look(dir, stream))
    }

    fn look(dir: &Path, stream: Stream) -> Result<Self, LogError> {
        let segments = Segments::open(dir, stream)?;
        let bytes = segments.bytes();
        let damaged = |number: usize, offset, index, fault| LogError::Damaged {
            path: segments.paths.get(number).cloned().unwrap_or_default(),
            offset,
            index,
            fault,
        };
        let mut headers = Vec::with_capacity(bytes.len());
        for (number, segment) in bytes.iter().enumerate() {
            match FileHeader::parse(segment) {
                Ok(header) if header.stream == stream.number() => headers.push(header),
                Ok(_) => return Err(damaged(number, 0, 0, Fault::HeaderField { field: "stream number" })),
                Err(fault) if number > 0 && number.saturating_add(1) == bytes.len() && is_torn(fault, segment) => {}
                Err(fault) => return Err(damaged(number, 0, 0, fault)),
            }
        }
        let (Some(first), Some(last)) = (headers.first().copied(), headers.last().copied()) else {
            return Err(LogError::StreamMissing { stream, path: dir.to_path_buf() });
        };
        let tail = bytes.get(headers.len().saturating_sub(1)).copied().unwrap_or_default();
        let (in_last, is_sealed) = count_records(stream, tail, last.first_index);
        let segment_record_count = headers.get(1).map_or(u64::MAX, |second| second.first_index);
        for (number, header) in headers.iter().enumerate() {
            if number > 0 && header.first_index != segment_record_count.saturating_mul(to_u64(number)) {
                return Err(damaged(number, 24, 0, Fault::HeaderField { field: "first index" }));
            }
        }
        let record_count = last.first_index.saturating_add(in_last);
        drop(bytes);
        Ok(Self { stream, segments, header: first, segment_record_count, record_count, is_sealed })
    }

    /// How many records there are.
    #[must_use]
    pub const fn record_count(&self) -> u64 {
        self.record_count
    }

    /// Whether the stream was closed.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// The header of the first segment: the facts of the run.
    #[must_use]
    pub const fn file_header(&self) -> &FileHeader {
        &self.header
    }

    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> Stream {
        self.stream
    }

    /// The record at `index`, found without a search.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`], [`LogError::Damaged`].
    pub fn get(&self, index: u64) -> Result<RecordRef<'_>, LogError> {
        if index >= self.record_count {
            return Err(LogError::OutOfRange { stream: self.stream, index, count: self.record_count });
        }
        let last = to_u64(self.segments.paths.len().saturating_sub(1));
        let segment = index.checked_div(self.segment_record_count).unwrap_or(0).min(last);
        let in_segment = index.saturating_sub(segment.saturating_mul(self.segment_record_count));
        let offset = record_offset(self.stream, in_segment);
        let segment = to_usize(segment);
        let end = offset.saturating_add(self.stream.record_len());
        let bytes = self.segments.segment(segment).get(offset..end).unwrap_or_default();
        let header = check_record(bytes, self.stream, index).map_err(|fault| {
            let path = self.segments.paths.get(segment).cloned().unwrap_or_default();
            LogError::Damaged { path, offset: to_u64(offset), index, fault }
        })?;
        Ok(RecordRef { header, stream: self.stream, bytes })
    }

    /// All records, in order.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        self.records_from(0)
    }

    /// The records from `index` on, in order.
    #[must_use]
    pub fn records_from(&self, index: u64) -> Records<'_> {
        Records { reader: self, next: index.min(self.record_count) }
    }

    /// The payloads of type `P`, in order, each with its record's index; records of other kinds are passed over.
    pub fn payloads<P: Payload>(&self) -> impl Iterator<Item = Result<(u64, &P), LogError>> {
        self.records().filter_map(|record| match record {
            Ok(record) if record.header.kind != P::KIND.number() => None,
            Ok(record) => Some(record.payload().map(|payload| (record.header.index, payload))),
            Err(error) => Some(Err(error)),
        })
    }
}

/// Where a record lies in its segment.
fn record_offset(stream: Stream, in_segment: u64) -> usize {
    let block_ends = to_usize(in_segment / RECORDS_PER_BLOCK).saturating_mul(BLOCK_END_LEN);
    let records = to_usize(in_segment).saturating_mul(stream.record_len());
    records.saturating_add(block_ends).saturating_add(FILE_HEADER_LEN)
}

/// How many whole records the last segment holds before the first thing that is none, and whether that is a sealed end.
fn count_records(stream: Stream, bytes: &[u8], first_index: u64) -> (u64, bool) {
    let mut count = 0_u64;
    loop {
        let offset = record_offset(stream, count);
        let record = bytes.get(offset..offset.saturating_add(stream.record_len())).unwrap_or_default();
        let index = first_index.saturating_add(count);
        match check_record(record, stream, index) {
            Ok(_) => count = count.saturating_add(1),
            Err(_) => break,
        }
    }
    let end = bytes.get(record_offset(stream, count)..).unwrap_or_default();
    let block = first_index.saturating_add(count) / RECORDS_PER_BLOCK;
    let is_sealed = end.len() == BLOCK_END_LEN && crate::format::BlockEnd::parse(end, stream, block).is_ok();
    (count, is_sealed)
}

/// The records of a stream, in order; ends after the first damaged one.
#[derive(Debug)]
pub struct Records<'a> {
    reader: &'a LogReader,
    next: u64,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.reader.record_count {
            return None;
        }
        let record = self.reader.get(self.next);
        self.next = if record.is_ok() { self.next.saturating_add(1) } else { self.reader.record_count };
        Some(record)
    }
}

/// Whether `bytes` hold a whole stream; for the fuzzer.
pub(crate) fn walk_bytes(stream: Stream, bytes: &[u8]) -> Option<u64> {
    walk(stream, &[bytes], Ending::Crash).ok().map(|walk| walk.record_count())
}
