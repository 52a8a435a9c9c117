//! One file's bytes through one buffer: plain or gzip, with the offset of every byte, and memory that stays flat.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use core::ops::Range;

use flate2::bufread::MultiGzDecoder;

use crate::{Damage, Hint, Progress, SourceError};

/// How much is read ahead at once. It bounds memory, not the length of a record: see [`RECORD_LEN_MAX`].
const CHUNK_LEN: usize = 1 << 20;
/// The longest record that any reader here asks for at once; a file that claims a longer one is damaged.
pub(crate) const RECORD_LEN_MAX: usize = 16 << 20;
/// The first two bytes of every gzip member (RFC 1952).
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of one file, decompressed on the way where it is gzip (one member or many).
pub struct Input {
    reader: Box<dyn Read + Send>,
    path: PathBuf,
    buffer: Vec<u8>,
    /// What of `buffer` is filled and not yet consumed.
    start: usize,
    end: usize,
    /// Offset in the content of `buffer[0]`.
    base: u64,
    is_at_end: bool,
    is_gzip: bool,
    is_cut: bool,
    read_len: Arc<AtomicU64>,
    total_len: u64,
}

/// Counts the bytes that go through, at the granularity in which they are consumed.
struct Counted<R> {
    inner: R,
    read_len: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    fn count(&self, len: usize) {
        self.read_len.fetch_add(u64::try_from(len).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.count(len);
        Ok(len)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }
    fn consume(&mut self, len: usize) {
        self.inner.consume(len);
        self.count(len);
    }
}

impl Input {
    /// Opens the file at `path`; gzip is recognised by its magic number and decompressed while reading.
    ///
    /// # Errors
    /// [`SourceError::Io`] when the file cannot be opened or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = path.as_ref();
        let io = |source| SourceError::Io { path: path.to_path_buf(), offset: 0, source };
        let file = File::open(path).map_err(io)?;
        let total_len = file.metadata().map_err(io)?.len();
        Self::from_reader(file, path, total_len)
    }

    /// Takes the bytes of `reader` for those of a file; `name` stands for its path in messages, `total_len` (0: unknown)
    /// is its length for the progress display.
    ///
    /// # Errors
    /// [`SourceError::Io`] when the first bytes cannot be read.
    pub fn from_reader(
        reader: impl Read + Send + 'static,
        name: impl AsRef<Path>,
        total_len: u64,
    ) -> Result<Self, SourceError> {
        let path = name.as_ref().to_path_buf();
        let mut plain = BufReader::with_capacity(CHUNK_LEN, reader);
        let read_len = Arc::new(AtomicU64::new(0));
        let is_gzip = match plain.fill_buf() {
            Ok(bytes) => bytes.starts_with(&GZIP_MAGIC),
            Err(source) => return Err(SourceError::Io { path, offset: 0, source }),
        };
        let counted = Counted { inner: plain, read_len: Arc::clone(&read_len) };
        let reader: Box<dyn Read + Send> =
            if is_gzip { Box::new(MultiGzDecoder::new(counted)) } else { Box::new(counted) };
        Ok(Self {
            reader,
            path,
            buffer: vec![0; CHUNK_LEN],
            start: 0,
            end: 0,
            base: 0,
            is_at_end: false,
            is_gzip,
            is_cut: false,
            read_len,
            total_len,
        })
    }

    /// The file's path, or the name given for it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far the file was read.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { read_len: self.read_len.load(Ordering::Relaxed), total_len: self.total_len }
    }

    /// Whether a compressed stream stopped before its end.
    pub(crate) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The offset in the content of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.base.saturating_add(u64::try_from(self.start).unwrap_or(u64::MAX))
    }

    /// Tries to have `len` bytes (at most [`RECORD_LEN_MAX`]) ready and says how many are: fewer only at the end.
    #[inline]
    pub(crate) fn require(&mut self, len: usize) -> Result<usize, SourceError> {
        let ready = self.end.saturating_sub(self.start);
        if ready >= len || self.is_at_end { Ok(ready) } else { self.refill(len) }
    }

    /// What is ready.
    #[inline]
    pub(crate) fn ready(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Bytes of the buffer that were ready at some time since the last [`Input::require`] that had to read.
    #[inline]
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Passes over `len` bytes that are ready, and gives the range by which [`Input::slice`] finds them.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.start;
        self.start = start.saturating_add(len).min(self.end);
        start..self.start
    }

    /// Passes over `len` bytes, ready or not, and says how many there were.
    pub(crate) fn skip(&mut self, len: u64) -> Result<u64, SourceError> {
        let mut left = len;
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(CHUNK_LEN).min(CHUNK_LEN);
            let ready = self.require(step)?.min(step);
            if ready == 0 {
                break;
            }
            self.take(ready);
            left = left.saturating_sub(u64::try_from(ready).unwrap_or(u64::MAX));
        }
        Ok(len.saturating_sub(left))
    }

    /// The error for damage in the record at `offset`.
    pub(crate) fn damaged(&self, offset: u64, damage: Damage) -> SourceError {
        SourceError::Damaged { path: self.path.clone(), offset, damage }
    }

    /// The error for a file that is none of the formats understood.
    pub(crate) fn unrecognised(&self, hint: Hint) -> SourceError {
        SourceError::Unrecognised { path: self.path.clone(), hint }
    }

    #[cold]
    fn refill(&mut self, len: usize) -> Result<usize, SourceError> {
        let ready = self.end.saturating_sub(self.start);
        self.buffer.copy_within(self.start..self.end, 0);
        self.base = self.offset();
        (self.start, self.end) = (0, ready);
        if self.buffer.len() < len {
            self.buffer.resize(len.min(RECORD_LEN_MAX), 0);
        }
        while self.end < len && !self.is_at_end {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.reader.read(room) {
                Ok(0) => self.is_at_end = true,
                Ok(count) => self.end = self.end.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.is_gzip && error.kind() == io::ErrorKind::UnexpectedEof => {
                    (self.is_at_end, self.is_cut) = (true, true);
                }
                Err(error) => {
                    self.is_at_end = true;
                    return Err(self.read_error(error));
                }
            }
        }
        Ok(self.end)
    }

    fn read_error(&self, error: io::Error) -> SourceError {
        let path = self.path.clone();
        let is_content = matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
        let file_offset = self.read_len.load(Ordering::Relaxed);
        if self.is_gzip && is_content {
            let offset = self.base.saturating_add(u64::try_from(self.end).unwrap_or(u64::MAX));
            SourceError::Gzip { path, compressed_offset: file_offset, offset, reason: error.to_string() }
        } else {
            SourceError::Io { path, offset: file_offset, source: error }
        }
    }
}
