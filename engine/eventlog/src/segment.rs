//! The durable side of one stream: blocks, hash chain, segment files.

use std::path::{Path, PathBuf};

use zerocopy::IntoBytes;

use crate::{
    FileHeader, LogError, Stream, StreamReport,
    durable::{Durable, Storage},
    format::{
        BLOCK_END_LEN, BlockEnd, FILE_HEADER_LEN, FLAG_RECOVERED, FLAG_SEALED, RECORDS_PER_BLOCK, RecordHeader,
        chained, facts_tag, finish, genesis, to_u64, to_usize,
    },
    walk::Walk,
};

/// How many bytes are gathered before they are written with one call.
const WRITE_LEN: usize = 1 << 18;

/// The name of a segment file.
pub(crate) fn segment_path(dir: &Path, stream: Stream, segment: u32) -> PathBuf {
    dir.join(format!("{stream}-{segment:06}.plog"))
}

/// How large the files of a stream may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentBounds {
    /// Full blocks in one segment.
    pub(crate) block_count_max: u64,
    /// Bytes in all segments together.
    pub(crate) stream_len_max: u64,
}

impl SegmentBounds {
    /// The bounds for segments of at most `segment_len_max` bytes; `None` when not one block fits.
    pub(crate) fn new(stream: Stream, segment_len_max: u64, stream_len_max: u64) -> Option<Self> {
        let room = segment_len_max.checked_sub(to_u64(FILE_HEADER_LEN + BLOCK_END_LEN))?;
        let block_count_max = room / to_u64(stream.block_len());
        (block_count_max > 0).then_some(Self { block_count_max, stream_len_max })
    }

    /// Bytes of a full segment, with room for the sealed end.
    fn segment_len(&self, stream: Stream) -> u64 {
        let blocks = self.block_count_max.saturating_mul(to_u64(stream.block_len()));
        blocks.saturating_add(to_u64(FILE_HEADER_LEN + BLOCK_END_LEN))
    }
}

/// Writes the segment files of one stream.
pub(crate) struct SegmentWriter {
    stream: Stream,
    dir: PathBuf,
    storage: Box<dyn Storage>,
    bounds: SegmentBounds,
    /// The header of segment 1.
    header: FileHeader,
    headers: blake3::Hasher,
    file: Box<dyn Durable>,
    path: PathBuf,
    segment: u32,
    /// Bytes of the segments before this one.
    earlier_len: u64,
    /// Where `out` goes.
    offset: u64,
    out: Vec<u8>,
    blocks_in_segment: u64,
    block: u64,
    fill: u64,
    chain: [u8; 32],
    hasher: blake3::Hasher,
    is_dirty: bool,
    is_poisoned: bool,
    is_recovered: bool,
}

impl SegmentWriter {
    /// Creates the first segment of a stream.
    pub(crate) fn create(
        dir: &Path,
        header: FileHeader,
        bounds: SegmentBounds,
        storage: Box<dyn Storage>,
    ) -> Result<Self, LogError> {
        let stream = Stream::from_number(header.stream).unwrap_or(Stream::Measure);
        let path = segment_path(dir, stream, 1);
        let file = create_file(&*storage, &path, bounds.segment_len(stream))?;
        let chain = genesis(stream);
        let mut writer = Self {
            stream,
            dir: dir.to_path_buf(),
            storage,
            bounds,
            header,
            headers: blake3::Hasher::new(),
            file,
            path,
            segment: 1,
            earlier_len: 0,
            offset: 0,
            out: Vec::with_capacity(WRITE_LEN + stream.block_len()),
            blocks_in_segment: 0,
            block: 0,
            fill: 0,
            chain,
            hasher: chained(&chain),
            is_dirty: false,
            is_poisoned: false,
            is_recovered: false,
        };
        writer.put_header(header);
        writer.flush()?;
        writer.sync()?;
        Ok(writer)
    }

    /// Goes on where a walk over the files of a crashed run ended; never begins another segment.
    pub(crate) fn resume(dir: &Path, walk: Walk, storage: Box<dyn Storage>) -> Result<Self, LogError> {
        let stream = walk.stream;
        let path = segment_path(dir, stream, walk.segment);
        let mut file = storage.open(&path).map_err(|source| LogError::io("open the segment", &path, source))?;
        file.set_len(walk.offset).map_err(|source| LogError::io("cut the torn tail of the segment", &path, source))?;
        let mut writer = Self {
            stream,
            dir: dir.to_path_buf(),
            storage,
            bounds: SegmentBounds { block_count_max: u64::MAX, stream_len_max: u64::MAX },
            header: walk.header,
            headers: walk.headers,
            file,
            path,
            segment: walk.segment,
            earlier_len: walk.earlier_len,
            offset: walk.offset,
            out: Vec::with_capacity(WRITE_LEN + stream.block_len()),
            blocks_in_segment: 0,
            block: walk.block,
            fill: walk.fill,
            chain: walk.chain,
            hasher: walk.hasher,
            is_dirty: true,
            is_poisoned: false,
            is_recovered: true,
        };
        if writer.fill >= RECORDS_PER_BLOCK {
            writer.end_block(0);
        }
        Ok(writer)
    }

    /// How many records were taken.
    pub(crate) fn record_count(&self) -> u64 {
        self.block.saturating_mul(RECORDS_PER_BLOCK).saturating_add(self.fill)
    }

    /// Takes whole records; they are in the file after [`SegmentWriter::flush`].
    pub(crate) fn take(&mut self, mut records: &[u8]) -> Result<(), LogError> {
        self.refuse_poisoned()?;
        let record_len = self.stream.record_len();
        while !records.is_empty() {
            if self.fill == 0 && self.blocks_in_segment >= self.bounds.block_count_max {
                self.rotate()?;
            }
            let room = to_usize(RECORDS_PER_BLOCK.saturating_sub(self.fill)).saturating_mul(record_len);
            let (now, later) = records.split_at(room.min(records.len()));
            records = later;
            self.hasher.update(now);
            self.out.extend_from_slice(now);
            self.fill = self.fill.saturating_add(to_u64(now.len() / record_len));
            if self.fill >= RECORDS_PER_BLOCK {
                self.end_block(0);
            }
            if self.out.len() >= WRITE_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self, flags: u32) {
        let record_count = u32::try_from(self.fill).unwrap_or(u32::MAX);
        self.chain = finish(&mut self.hasher, self.block, record_count, flags);
        let header = RecordHeader { crc: 0, kind: 0, stream: 0, version: 0, index: 0 };
        let facts_tag = facts_tag(&self.headers);
        let end = BlockEnd { header, record_count, flags, facts_tag, hash: self.chain }.sealed(self.stream, self.block);
        self.out.extend_from_slice(end.as_bytes());
        self.hasher = chained(&self.chain);
        if flags & FLAG_SEALED == 0 {
            self.block = self.block.saturating_add(1);
            self.blocks_in_segment = self.blocks_in_segment.saturating_add(1);
            self.fill = 0;
        }
    }

    fn put_header(&mut self, header: FileHeader) {
        self.headers.update(header.as_bytes());
        self.out.extend_from_slice(header.as_bytes());
    }

    /// Writes what was taken to the file.
    pub(crate) fn flush(&mut self) -> Result<(), LogError> {
        self.refuse_poisoned()?;
        if self.out.is_empty() {
            return Ok(());
        }
        let result = self.file.write_all_at(&self.out, self.offset);
        self.settle(result).map_err(|source| LogError::io("write the segment", &self.path, source))?;
        self.offset = self.offset.saturating_add(to_u64(self.out.len()));
        self.out.clear();
        self.is_dirty = true;
        Ok(())
    }

    /// Makes what was flushed survive a power cut. A failure is final: the state of the disk is unknown then.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        self.refuse_poisoned()?;
        if self.is_dirty {
            let result = self.file.sync();
            self.settle(result).map_err(|source| LogError::SyncFailed { path: self.path.clone(), source })?;
            self.is_dirty = false;
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), LogError> {
        self.flush()?;
        let segment_len = self.bounds.segment_len(self.stream);
        self.earlier_len = self.earlier_len.saturating_add(self.offset);
        if self.earlier_len.saturating_add(segment_len) > self.bounds.stream_len_max {
            self.is_poisoned = true;
            return Err(LogError::LimitReached { stream: self.stream, len_max: self.bounds.stream_len_max });
        }
        let result = self.file.set_len(self.offset);
        self.settle(result).map_err(|source| LogError::io("end the segment", &self.path, source))?;
        self.is_dirty = true;
        self.sync()?;
        let segment = self.segment.saturating_add(1);
        let path = segment_path(&self.dir, self.stream, segment);
        let file = create_file(&*self.storage, &path, segment_len);
        self.is_poisoned = file.is_err();
        self.file = file?;
        self.path = path;
        self.segment = segment;
        self.offset = 0;
        self.blocks_in_segment = 0;
        self.put_header(self.header.of_segment(segment, self.record_count()));
        Ok(())
    }

    /// Ends the stream: the sealed end is the last thing in its last file.
    pub(crate) fn seal(&mut self) -> Result<StreamReport, LogError> {
        self.refuse_poisoned()?;
        let record_count = self.record_count();
        self.flush()?;
        // The reserved rest goes first, so that no crash can leave anything behind a sealed end.
        let result = self.file.set_len(self.offset.saturating_add(to_u64(BLOCK_END_LEN)));
        self.settle(result).map_err(|source| LogError::io("end the segment", &self.path, source))?;
        self.is_dirty = true;
        self.sync()?;
        self.end_block(if self.is_recovered { FLAG_SEALED | FLAG_RECOVERED } else { FLAG_SEALED });
        self.flush()?;
        self.sync()?;
        Ok(StreamReport {
            stream: self.stream,
            record_count,
            block_count: self.block.saturating_add(1),
            segment_count: self.segment,
            len: self.earlier_len.saturating_add(self.offset),
            chain_head: self.chain,
            is_sealed: true,
            is_recovered: self.is_recovered,
            tail: None,
        })
    }

    fn settle(&mut self, result: std::io::Result<()>) -> std::io::Result<()> {
        self.is_poisoned |= result.is_err();
        result
    }

    fn refuse_poisoned(&self) -> Result<(), LogError> {
        if self.is_poisoned { Err(LogError::Poisoned { stream: self.stream }) } else { Ok(()) }
    }
}

fn create_file(storage: &dyn Storage, path: &Path, len: u64) -> Result<Box<dyn Durable>, LogError> {
    storage.create(path, len).map_err(|source| {
        if source.kind() == std::io::ErrorKind::AlreadyExists {
            LogError::AlreadyExists { path: path.to_path_buf() }
        } else {
            LogError::io("create the segment", path, source)
        }
    })
}
