//! Memory shared with the kernel: rings of sockets, mapped into the process (`mmap(2)`).

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a cache line.
pub(super) const LINE_LEN: usize = 64;
/// Bytes of a frame that are asked for at once: its headers and its first messages.
pub(super) const PREFETCHED_LEN: usize = 5 * LINE_LEN;

/// A mapping of memory that the kernel writes too. Every access is checked against its length.
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

#[expect(unsafe_code, reason = "a raw pointer makes the struct lose Send")]
// SAFETY: the mapping belongs to the struct alone and stays where it is whichever thread uses it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes of a socket's ring from `offset` on.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn of_socket(socket: BorrowedFd<'_>, len: usize, offset: libc::off_t) -> io::Result<Self> {
        Self::map(socket.as_raw_fd(), len, offset, libc::MAP_SHARED | libc::MAP_POPULATE)
    }

    /// Fresh memory of `len` bytes, all of it there at once.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn anonymous(len: usize) -> io::Result<Self> {
        Self::map(-1, len, 0, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE)
    }

    #[expect(unsafe_code, reason = "a system call that no safe interface has")]
    fn map(descriptor: libc::c_int, len: usize, offset: libc::off_t, flags: libc::c_int) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: without an address the kernel chooses one that nothing else uses; nothing is overwritten.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, descriptor, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("a mapping at address 0"))?;
        Ok(Self { start, len })
    }

    /// Where it begins, for the kernel.
    pub(super) fn address(&self) -> u64 {
        u64::try_from(self.start.as_ptr().expose_provenance()).unwrap_or(0)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The place of `size` bytes at `at`, if they lie within and are aligned.
    #[expect(unsafe_code, reason = "pointer arithmetic within the mapping")]
    fn place(&self, at: usize, size: usize) -> Option<*mut u8> {
        let end = at.checked_add(size)?;
        if end > self.len || !at.is_multiple_of(size.max(1)) {
            return None;
        }
        // SAFETY: `at` lies within the mapping, as was just checked.
        Some(unsafe { self.start.as_ptr().add(at) })
    }

    /// The word at `at`, 0 outside the mapping.
    #[expect(unsafe_code, reason = "words that the kernel writes at the same time")]
    #[inline]
    pub(super) fn u32_at(&self, at: usize, order: Ordering) -> u32 {
        let Some(place) = self.place(at, size_of::<u32>()) else { return 0 };
        // SAFETY: the place lies within a mapping that lives as long as `self`, is aligned (mappings begin at a page), and
        // is only ever touched atomically or while the kernel has given it away.
        let word = unsafe { AtomicU32::from_ptr(place.cast()) };
        word.load(order)
    }

    /// Sets the word at `at`, if it lies within the mapping.
    #[expect(unsafe_code, reason = "words that the kernel reads at the same time")]
    #[inline]
    pub(super) fn set_u32_at(&self, at: usize, value: u32, order: Ordering) {
        let Some(place) = self.place(at, size_of::<u32>()) else { return };
        // SAFETY: as in `u32_at`.
        let word = unsafe { AtomicU32::from_ptr(place.cast()) };
        word.store(value, order);
    }

    /// The long word at `at`, 0 outside the mapping.
    #[expect(unsafe_code, reason = "words that the kernel writes")]
    #[inline]
    pub(super) fn u64_at(&self, at: usize) -> u64 {
        let Some(place) = self.place(at, size_of::<u64>()) else { return 0 };
        // SAFETY: as in `u32_at`.
        let word = unsafe { AtomicU64::from_ptr(place.cast()) };
        word.load(Ordering::Relaxed)
    }

    /// Sets the long word at `at`, if it lies within the mapping.
    #[expect(unsafe_code, reason = "words that the kernel reads")]
    #[inline]
    pub(super) fn set_u64_at(&self, at: usize, value: u64) {
        let Some(place) = self.place(at, size_of::<u64>()) else { return };
        // SAFETY: as in `u32_at`.
        let word = unsafe { AtomicU64::from_ptr(place.cast()) };
        word.store(value, Ordering::Relaxed);
    }

    /// Asks for the lines of `range`, as far as they lie within: the kernel has written them on another core, and one after
    /// the other they would be waited for in turn.
    #[expect(unsafe_code, reason = "the standard library has no portable hint")]
    #[inline]
    pub(super) fn prefetch(&self, range: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        for at in range.step_by(LINE_LEN) {
            let Some(place) = self.place(at, 1) else { return };
            // SAFETY: a hint reads nothing and never faults; every x86-64 processor has it (SSE).
            unsafe {
                core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(place.cast_const().cast())
            };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _: Range<usize> = range;
    }

    /// Bytes that the kernel has handed over and does not write until they are given back; empty outside the mapping.
    #[expect(unsafe_code, reason = "a view of bytes that the kernel wrote")]
    #[inline]
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        let len = range.end.saturating_sub(range.start);
        let Some(place) = self.place(range.start, 1).filter(|_| range.end <= self.len) else { return &[] };
        // SAFETY: the range lies within the mapping; the caller holds it from the kernel, which does not write it until it
        // is given back, and gives it back only with `&mut self` on the struct that owns the mapping.
        unsafe { std::slice::from_raw_parts(place, len) }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "a system call that no safe interface has")]
    fn drop(&mut self) {
        // SAFETY: address and length are those that mmap gave, and nothing borrows from the mapping any more.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(result, 0, "a mapping that was there cannot be taken away");
    }
}
