//! Where a role writes: a prefaulted ring of records in shared memory. One writer, one recorder.
//!
//! The file begins with one page of counters; the slots follow. Record `i` lies in slot `i mod capacity`. Publishing is
//! one release store of the committed count; the recorder releases slots by storing how many records it has copied.
//! The file outlives the process, so that a crash between publishing and copying loses nothing.
#![deny(clippy::arithmetic_side_effects)]

use core::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
};
use std::{
    fs::{File, OpenOptions},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::Path,
    sync::Arc,
};

use memmap2::{MmapOptions, MmapRaw};
use zerocopy::IntoBytes;

use crate::{
    FileHeader, LogError, RecordHeader, Stream, StreamTag,
    format::{RECORD_HEADER_LEN, to_u64, to_usize},
    records::Payload,
};

const PAGE_LEN: usize = 4096;
/// Bytes of a cache line.
const LINE_LEN: usize = 64;
const CAPACITY_OFFSET: usize = 64;
const COMMITTED_OFFSET: usize = 128;
const COPIED_OFFSET: usize = 256;

/// The index of a record in its stream, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordIndex(pub u64);

/// The staging memory is full: the record role is behind. Nothing was written. A replay waits and tries again; a live
/// role stops trading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFull;

impl core::fmt::Display for LogFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the staging memory of the log is full")
    }
}

impl core::error::Error for LogFull {}

/// The mapped ring, shared by its writer and its recorder.
#[derive(Debug)]
pub(crate) struct Staging {
    map: MmapRaw,
    record_len: usize,
    mask: u64,
    is_locked: bool,
}

impl Staging {
    /// Creates the file, reserves its memory, maps it and touches every page.
    pub(crate) fn create(path: &Path, header: &FileHeader, record_count: u64, lock: bool) -> Result<Self, LogError> {
        let record_len = usize::from(header.record_len);
        let len = to_usize(record_count).saturating_mul(record_len).saturating_add(PAGE_LEN);
        let io = |action| move |source| LogError::io(action, path, source);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(io("create the staging memory"))?;
        reserve(&file, to_u64(len)).map_err(io("reserve the staging memory"))?;
        let mut first = header.as_bytes().to_vec();
        first.extend_from_slice(&record_count.to_le_bytes());
        file.write_all_at(&first, 0).map_err(io("write the staging memory"))?;
        let map = MmapOptions::new().populate().map_raw(&file).map_err(io("map the staging memory"))?;
        let is_locked = lock && map.lock().is_ok();
        let mask = record_count.saturating_sub(1);
        let staging = Self { map, record_len, mask, is_locked };
        staging.touch();
        Ok(staging)
    }

    /// Writes to every page of slots, so that no append faults.
    fn touch(&self) {
        for offset in (PAGE_LEN..self.map.len()).step_by(PAGE_LEN) {
            let byte = self.map.as_mut_ptr().wrapping_add(offset);
            // SAFETY: `offset` is below the length of the mapping, which lives as long as `self`, and nobody else knows
            // of the mapping yet.
            #[expect(unsafe_code, reason = "pre-faulting writes through the mapping")]
            unsafe {
                byte.write_volatile(0);
            }
        }
    }

    /// Whether the memory cannot be swapped out.
    pub(crate) fn is_locked(&self) -> bool {
        self.is_locked
    }

    fn counter(&self, offset: usize) -> &AtomicU64 {
        let word = self.map.as_mut_ptr().wrapping_add(offset).cast();
        // SAFETY: the two offsets are constants within the first page, aligned to 64 bytes; the mapping lives as long
        // as `self`; both words are only ever used as atomics after the mapping is made.
        #[expect(unsafe_code, reason = "counters in shared memory")]
        unsafe {
            AtomicU64::from_ptr(word)
        }
    }

    /// How many records were published.
    pub(crate) fn committed(&self) -> u64 {
        self.counter(COMMITTED_OFFSET).load(Ordering::Acquire)
    }

    /// Gives the slots of all records below `copied` back to the writer.
    pub(crate) fn release(&self, copied: u64) {
        self.counter(COPIED_OFFSET).store(copied, Ordering::Release);
    }

    /// How many slots there are.
    pub(crate) fn capacity(&self) -> u64 {
        self.mask.saturating_add(1)
    }

    fn slot_offset(&self, index: u64) -> usize {
        to_usize(index & self.mask).saturating_mul(self.record_len).saturating_add(PAGE_LEN)
    }

    /// The published records from `from` to the lesser of `to` and the end of the ring.
    ///
    /// The caller is the recorder and knows `from ≤ to ≤ committed`, and that it has not released `from` yet.
    pub(crate) fn published(&self, from: u64, to: u64) -> &[u8] {
        let until_wrap = self.capacity().saturating_sub(from & self.mask);
        let count = to_usize(to.saturating_sub(from).min(until_wrap));
        let start = self.map.as_mut_ptr().wrapping_add(self.slot_offset(from)).cast_const();
        // SAFETY: the range ends at or before the end of the ring, which ends with the mapping; its slots were
        // published (acquired through `committed`) and the writer leaves them alone until they are released.
        #[expect(unsafe_code, reason = "records in shared memory")]
        unsafe {
            core::slice::from_raw_parts(start, count.saturating_mul(self.record_len))
        }
    }
}

/// Reserves `len` bytes for `file`, so that neither a write nor a page fault can find the disk or the memory full.
pub(crate) fn reserve(file: &File, len: u64) -> std::io::Result<()> {
    let too_large = || std::io::Error::from(std::io::ErrorKind::FileTooLarge);
    let len = libc::off_t::try_from(len).map_err(|_| too_large())?;
    // SAFETY: the descriptor belongs to `file`, which is open for writing and outlives the call.
    #[expect(unsafe_code, reason = "the standard library has no fallocate")]
    let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) };
    if code == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(code)) }
}

/// Asks the processor for a line; nothing where that cannot be said.
#[inline]
fn prefetch(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint reads nothing and never faults, whatever the address; every x86-64 processor has it (SSE).
        #[expect(unsafe_code, reason = "the standard library has no portable hint")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _: *const u8 = line;
}

/// What a crash left in a staging file: the records in it that were published.
pub(crate) struct Leftover {
    bytes: Vec<u8>,
    header: FileHeader,
    capacity: u64,
    committed: u64,
}

impl Leftover {
    /// Reads a staging file; `None` when it is not one of a stream like `header`'s.
    pub(crate) fn read(path: &Path, header: &FileHeader) -> Result<Option<Self>, LogError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io("read the staging memory", path, error)),
        };
        let word = |offset: usize| {
            let word = bytes.get(offset..offset.saturating_add(8))?;
            Some(u64::from_le_bytes(word.try_into().ok()?))
        };
        let (Some(capacity), Some(committed)) = (word(CAPACITY_OFFSET), word(COMMITTED_OFFSET)) else {
            return Ok(None);
        };
        let len = to_usize(capacity).saturating_mul(usize::from(header.record_len)).saturating_add(PAGE_LEN);
        let is_ours = FileHeader::parse(&bytes).as_ref() == Ok(header);
        if !is_ours || !capacity.is_power_of_two() || bytes.len() != len {
            return Ok(None);
        }
        Ok(Some(Self { bytes, header: *header, capacity, committed }))
    }

    /// How many records were published.
    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// The bytes of the slot of record `index`.
    pub(crate) fn slot(&self, index: u64) -> &[u8] {
        let record_len = usize::from(self.header.record_len);
        let slot = to_usize(index & self.capacity.saturating_sub(1));
        let start = slot.saturating_mul(record_len).saturating_add(PAGE_LEN);
        self.bytes.get(start..start.saturating_add(record_len)).unwrap_or_default()
    }
}

/// The writing end of a stream: one per stream, owned by its role.
///
/// Appending allocates nothing, makes no system call, takes no lock, does not block and cannot panic.
#[derive(Debug)]
pub struct StreamWriter<S> {
    staging: Arc<Staging>,
    next: u64,
    /// The first index that has no free slot, as far as the writer knows.
    limit: u64,
    tag: PhantomData<fn(S)>,
}

impl<S: StreamTag> StreamWriter<S> {
    pub(crate) fn new(staging: Arc<Staging>) -> Self {
        let limit = staging.capacity();
        // The checksum's choice of instructions is made on first use: make it here.
        let _warm = crate::checksum::record_crc(&[0; RECORD_HEADER_LEN], &[0; 8]);
        Self { staging, next: 0, limit, tag: PhantomData }
    }

    /// Writes a record and publishes it: when this returns, the record survives the death of the process.
    ///
    /// # Errors
    /// [`LogFull`] when the record role is a whole ring behind; nothing was written.
    #[inline]
    pub fn append<P: Payload<Stream = S>>(&mut self, payload: &P) -> Result<RecordIndex, LogFull> {
        const { assert!(size_of::<P>().saturating_add(RECORD_HEADER_LEN) == S::STREAM.record_len()) };
        let index = self.next;
        if index >= self.limit {
            let copied = self.staging.counter(COPIED_OFFSET).load(Ordering::Acquire);
            self.limit = copied.saturating_add(self.staging.capacity());
            if index >= self.limit {
                return Err(LogFull);
            }
        }
        let payload = payload.as_bytes();
        let header = RecordHeader::seal(S::STREAM, P::KIND.number(), index, payload);
        self.write_slot(index, &header, payload);
        self.next = index.saturating_add(1);
        self.staging.counter(COMMITTED_OFFSET).store(self.next, Ordering::Release);
        self.prefetch_slot(self.next);
        Ok(RecordIndex(index))
    }

    /// Goes through [`append`](Self::append) without publishing: writes into the next slot, which nobody reads before it is
    /// published, and the count of records as it is. The code is near when a record comes, and the lines are this core's own:
    /// the recorder's core has read them since they were written last, and taking them back is the better part of an append.
    /// Changes nothing that can be seen.
    #[inline]
    pub fn rehearse<P: Payload<Stream = S>>(&self, payload: &P) {
        let index = self.next;
        if index >= self.limit {
            return;
        }
        let payload = payload.as_bytes();
        let header = RecordHeader::seal(S::STREAM, P::KIND.number(), index, payload);
        self.write_slot(index, &header, payload);
        self.staging.counter(COMMITTED_OFFSET).store(index, Ordering::Release);
    }

    /// Asks for the lines of a slot, which nobody has touched for a whole ring: the next record finds them near instead of
    /// keeping the processor's store buffer full in front of whatever has to wait for it, a system call for one.
    #[inline]
    fn prefetch_slot(&self, index: u64) {
        let slot = self.staging.map.as_mut_ptr().wrapping_add(self.staging.slot_offset(index)).cast_const();
        for line in (0..self.staging.record_len).step_by(LINE_LEN) {
            prefetch(slot.wrapping_add(line));
        }
    }

    #[inline]
    fn write_slot(&self, index: u64, header: &RecordHeader, payload: &[u8]) {
        let slot = self.staging.map.as_mut_ptr().wrapping_add(self.staging.slot_offset(index));
        // SAFETY: the slot lies within the mapping; this is the only writer, and the recorder does not read the slot
        // before it is published.
        #[expect(unsafe_code, reason = "records in shared memory")]
        unsafe {
            core::ptr::copy_nonoverlapping(header.as_bytes().as_ptr(), slot, RECORD_HEADER_LEN);
        }
        let body = slot.wrapping_add(RECORD_HEADER_LEN);
        // SAFETY: as above; header and payload together are exactly one slot, as `append` asserts.
        #[expect(unsafe_code, reason = "records in shared memory")]
        unsafe {
            core::ptr::copy_nonoverlapping(payload.as_ptr(), body, payload.len());
        }
    }

    /// How many records were appended.
    #[must_use]
    pub const fn record_count(&self) -> u64 {
        self.next
    }

    /// How many records fit before the record role must have copied some, as far as the writer knows now.
    #[must_use]
    pub fn room(&self) -> u64 {
        let copied = self.staging.counter(COPIED_OFFSET).load(Ordering::Acquire);
        copied.saturating_add(self.staging.capacity()).saturating_sub(self.next)
    }

    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> Stream {
        S::STREAM
    }
}
