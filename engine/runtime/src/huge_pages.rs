//! Huge pages for the tables of a run: books, order tables and rings of many megabytes, whose lookups would otherwise
//! wait for address translation.
//!
//! A program that wants them makes [`HugePageAllocator`] its global allocator and opens a [`HugePageScope`] while it
//! builds: every block of at least [`HUGE_PAGE_LEN`] that its thread allocates until the scope ends lies in a mapping of
//! its own, aligned to huge pages. Code that allocates through `Vec` and `Box` needs to know nothing of it. Where the
//! host does not give what was asked, the next best is taken: reserved huge pages, then transparent ones, then ordinary
//! pages; [`HugePageScope::finish`] tells what it came to.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::System;
use std::io;

use crate::settings::{SettingReport, check_return};

/// Length of a huge page and the least length of a block that is put into them, in bytes: 2 MiB, the x86-64 size.
pub const HUGE_PAGE_LEN: usize = 2 << 20;

/// Blocks in mappings of their own at once, at most; further ones are ordinary.
const MAPPING_COUNT_MAX: usize = 256;

/// What is asked of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// Nothing: ordinary blocks.
    #[default]
    Off,
    /// Transparent huge pages, by advice (`madvise`).
    Transparent,
    /// Reserved huge pages (`MAP_HUGETLB`, `vm.nr_hugepages`), and transparent ones where they run out.
    Reserved,
}

/// What the blocks of a scope lie in, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugePageUsage {
    /// In reserved huge pages.
    pub reserved_len: usize,
    /// Advised: the system backs it by huge pages where it finds room.
    pub advised_len: usize,
    /// Wanted, but in ordinary pages: the host has no transparent huge pages either, or too many blocks are mapped.
    pub ordinary_len: usize,
}

thread_local! {
    /// What this thread's large blocks ask for. No destructor, so it may be used while a thread starts and ends.
    static WANTED: Cell<HugePages> = const { Cell::new(HugePages::Off) };
    static USAGE: Cell<HugePageUsage> =
        const { Cell::new(HugePageUsage { reserved_len: 0, advised_len: 0, ordinary_len: 0 }) };
}

/// Addresses of the blocks that were mapped; 0 where there is none.
static MAPPINGS: [AtomicUsize; MAPPING_COUNT_MAX] = [const { AtomicUsize::new(0) }; MAPPING_COUNT_MAX];

/// The system's allocator, except that large blocks go into huge pages while their thread has a [`HugePageScope`].
///
/// ```
/// use peregrine_runtime::{HugePageAllocator, HugePageScope, HugePages};
///
/// #[global_allocator]
/// static ALLOCATOR: HugePageAllocator = HugePageAllocator;
///
/// let scope = HugePageScope::new(HugePages::Transparent);
/// let table = vec![1_u64; 1 << 20];
/// for report in scope.finish() {
///     assert!(report.setting.contains("huge pages"));
/// }
/// assert_eq!(table.iter().sum::<u64>(), 1 << 20);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HugePageAllocator;

/// While it lives, its thread's blocks of at least [`HUGE_PAGE_LEN`] go into huge pages.
#[derive(Debug)]
pub struct HugePageScope {
    wanted: HugePages,
    before: (HugePages, HugePageUsage),
}

impl HugePageScope {
    /// Opens a scope. Without [`HugePageAllocator`] as the program's allocator it changes nothing, and says so at its end.
    #[must_use]
    pub fn new(wanted: HugePages) -> Self {
        Self { wanted, before: (WANTED.replace(wanted), USAGE.take()) }
    }

    /// What was allocated since the scope was opened.
    #[must_use]
    pub fn usage(&self) -> HugePageUsage {
        USAGE.get()
    }

    /// Ends the scope: one report for each kind of page that was asked for; none for [`HugePages::Off`].
    #[must_use]
    pub fn finish(self) -> Vec<SettingReport> {
        reports(self.wanted, self.usage())
    }
}

impl Drop for HugePageScope {
    fn drop(&mut self) {
        WANTED.set(self.before.0);
        USAGE.set(self.before.1);
    }
}

fn reports(wanted: HugePages, usage: HugePageUsage) -> Vec<SettingReport> {
    let HugePageUsage { reserved_len, advised_len, ordinary_len } = usage;
    let mut reports = Vec::new();
    let mut push = |name: &str, granted: usize, wanting: usize, remedy: &str| {
        let setting = format!("{name} huge pages for {} MiB of tables", wanting >> 20);
        let result = match (granted, wanting) {
            (_, 0) => Err(io::Error::other("no table was large enough, or the program has another allocator")),
            (granted, wanting) if granted < wanting => Err(io::Error::other(format!("{} MiB granted", granted >> 20))),
            (_, _) => Ok(()),
        };
        reports.push(SettingReport::new(setting, result, remedy));
    };
    let transparent = advised_len.saturating_add(ordinary_len);
    let remedy = "`echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled`";
    match wanted {
        HugePages::Off => {}
        HugePages::Transparent => push("transparent", advised_len, transparent, remedy),
        HugePages::Reserved => {
            let wanting = reserved_len.saturating_add(transparent);
            let page_count = wanting.div_ceil(HUGE_PAGE_LEN);
            push("reserved", reserved_len, wanting, &format!("`sudo sysctl vm.nr_hugepages={page_count}`"));
            if transparent > 0 {
                push("transparent", advised_len, transparent, remedy);
            }
        }
    }
    reports
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: a block is either the system allocator's, with the arguments it came with, or a fresh private mapping of at
// least its size, aligned to `HUGE_PAGE_LEN`, zeroed by the kernel and unmapped once, by its address in `MAPPINGS`.
unsafe impl GlobalAlloc for HugePageAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match mapped(layout) {
            Some(block) => block.as_ptr(),
            // SAFETY: the caller's promises are the system allocator's.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match mapped(layout) {
            Some(block) => block.as_ptr(),
            // SAFETY: the caller's promises are the system allocator's.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() >= HUGE_PAGE_LEN && forget(block) {
            unmap(block, round_up(layout.size()));
            return;
        }
        // SAFETY: it is no mapping of ours, so the system allocator gave it, with this layout.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let is_mapped = layout.size() >= HUGE_PAGE_LEN && is_known(block);
        if !is_mapped && (new_size < HUGE_PAGE_LEN || WANTED.get() == HugePages::Off) {
            // SAFETY: the block is the system allocator's, and the caller's promises are its own.
            return unsafe { System.realloc(block, layout, new_size) };
        }
        // SAFETY: the alignment is that of a valid layout and the caller promises that the rounded size fits.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the new layout has a size above zero, as the caller promises.
        let moved = unsafe { self.alloc(new_layout) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least this long, and they are different ones.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size)) };
            // SAFETY: the block and its layout are the caller's.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

const fn round_up(len: usize) -> usize {
    len.saturating_add(HUGE_PAGE_LEN.wrapping_sub(1)) & !HUGE_PAGE_LEN.wrapping_sub(1)
}

/// A mapping for `layout`, if its thread wants one and there is one to be had.
fn mapped(layout: Layout) -> Option<NonNull<u8>> {
    if layout.size() < HUGE_PAGE_LEN || layout.align() > HUGE_PAGE_LEN {
        return None;
    }
    let wanted = WANTED.get();
    let len = round_up(layout.size());
    let reserved = || map(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_HUGETLB).map(|block| (block, true));
    let found = match wanted {
        HugePages::Off => return None,
        HugePages::Transparent => advised(len).map(|block| (block, false)),
        HugePages::Reserved => reserved().or_else(|| advised(len).map(|block| (block, false))),
    };
    let kept = found.filter(|(block, _)| {
        let is_kept = remember(block.as_ptr());
        if !is_kept {
            unmap(block.as_ptr(), len);
        }
        is_kept
    });
    let mut usage = USAGE.get();
    let part = match kept {
        Some((_, true)) => &mut usage.reserved_len,
        Some((_, false)) => &mut usage.advised_len,
        None => &mut usage.ordinary_len,
    };
    *part = part.saturating_add(len);
    USAGE.set(usage);
    kept.map(|(block, _)| block)
}

/// An aligned mapping that the system is advised to back by huge pages, `None` where it knows none.
///
/// The mapping is made without access, advised, and opened only then: memory that is locked as it appears would
/// otherwise be filled with ordinary pages before the advice.
fn advised(len: usize) -> Option<NonNull<u8>> {
    let whole_len = len.checked_add(HUGE_PAGE_LEN)?;
    let whole = map(whole_len, libc::PROT_NONE, libc::MAP_NORESERVE)?;
    let skipped = whole.as_ptr().align_offset(HUGE_PAGE_LEN);
    let block = NonNull::new(whole.as_ptr().wrapping_add(skipped))?;
    unmap(whole.as_ptr(), skipped);
    unmap(block.as_ptr().wrapping_add(len), whole_len.saturating_sub(skipped).saturating_sub(len));
    if advise(block, len).and_then(|()| open(block, len)).is_err() {
        unmap(block.as_ptr(), len);
        return None;
    }
    Some(block)
}

#[expect(unsafe_code, reason = "memory is mapped by a C call")]
fn map(len: usize, protection: libc::c_int, flags: libc::c_int) -> Option<NonNull<u8>> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
    let block = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
    if block == libc::MAP_FAILED { None } else { NonNull::new(block.cast()) }
}

#[expect(unsafe_code, reason = "memory is advised on by a C call")]
fn advise(block: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: whole pages of a mapping of ours that nobody uses yet.
    check_return(unsafe { libc::madvise(block.as_ptr().cast(), len, libc::MADV_HUGEPAGE) })
}

#[expect(unsafe_code, reason = "access is given by a C call")]
fn open(block: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: whole pages of a mapping of ours that nobody uses yet.
    check_return(unsafe { libc::mprotect(block.as_ptr().cast(), len, libc::PROT_READ | libc::PROT_WRITE) })
}

/// Gives a mapping back, or a part of one that was never used.
#[expect(unsafe_code, reason = "memory is unmapped by a C call")]
fn unmap(block: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: whole pages of a mapping of ours that its owner has given up. Where the kernel refuses, for want of
        // room for its own tables, the pages stay mapped: a leak, and nothing worse.
        let _is_refused = unsafe { libc::munmap(block.cast(), len) };
    }
}

/// Notes a mapping; `false` when there is no room for another one.
fn remember(block: *mut u8) -> bool {
    let take = |slot: &AtomicUsize| slot.compare_exchange(0, block.addr(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
    MAPPINGS.iter().any(take)
}

fn is_known(block: *mut u8) -> bool {
    MAPPINGS.iter().any(|slot| slot.load(Ordering::Acquire) == block.addr())
}

/// Strikes a mapping out; `false` when the block is none.
fn forget(block: *mut u8) -> bool {
    let strike =
        |slot: &AtomicUsize| slot.compare_exchange(block.addr(), 0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    MAPPINGS.iter().any(strike)
}

#[cfg(all(test, not(miri), not(loom)))]
#[expect(unsafe_code, reason = "an allocator is used through unsafe calls")]
mod tests {
    use super::*;
    use crate::Outcome;

    const LAYOUT: Layout = Layout::new::<[u64; 1 << 19]>();

    fn knows_transparent() -> bool {
        std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").is_ok()
    }

    #[test]
    fn blocks_of_a_scope_are_aligned_zeroed_grow_and_are_given_back() {
        let scope = HugePageScope::new(HugePages::Transparent);
        // SAFETY: the layout has a size.
        let block = unsafe { HugePageAllocator.alloc_zeroed(LAYOUT) };
        assert!(!block.is_null());
        assert_eq!(
            (block.align_offset(HUGE_PAGE_LEN) == 0, is_known(block)),
            (knows_transparent(), knows_transparent())
        );
        for at in (0..LAYOUT.size()).step_by(4096) {
            // SAFETY: within the block, which is zeroed.
            assert_eq!(unsafe { block.wrapping_add(at).read() }, 0);
        }
        // SAFETY: within the block.
        unsafe { block.wrapping_add(LAYOUT.size() - 1).write(7) };
        // SAFETY: the block has this layout.
        let grown = unsafe { HugePageAllocator.realloc(block, LAYOUT, 2 * LAYOUT.size()) };
        // SAFETY: within the block, whose content moved with it.
        assert_eq!(unsafe { grown.wrapping_add(LAYOUT.size() - 1).read() }, 7);
        assert!(!is_known(block) || block == grown);
        let usage = scope.usage();
        assert_eq!(usage.reserved_len + usage.advised_len + usage.ordinary_len, 3 * LAYOUT.size());
        drop(scope);
        let layout = Layout::from_size_align(2 * LAYOUT.size(), LAYOUT.align()).unwrap();
        // SAFETY: the block has this layout; the scope need not live.
        unsafe { HugePageAllocator.dealloc(grown, layout) };
        assert!(!is_known(grown));
    }

    #[test]
    fn without_a_scope_and_below_the_threshold_blocks_are_ordinary() {
        // SAFETY: the layout has a size.
        let block = unsafe { HugePageAllocator.alloc(LAYOUT) };
        assert!(!is_known(block));
        // SAFETY: the block has this layout.
        unsafe { HugePageAllocator.dealloc(block, LAYOUT) };
        let _scope = HugePageScope::new(HugePages::Reserved);
        let small = Layout::new::<[u8; 4096]>();
        // SAFETY: the layout has a size.
        let block = unsafe { HugePageAllocator.alloc(small) };
        assert!(!is_known(block));
        // SAFETY: the block has this layout.
        unsafe { HugePageAllocator.dealloc(block, small) };
        let wide = Layout::from_size_align(HUGE_PAGE_LEN, 2 * HUGE_PAGE_LEN).unwrap();
        assert_eq!(mapped(wide), None);
    }

    #[test]
    fn where_none_are_reserved_transparent_ones_are_taken_and_the_report_says_so() {
        let reserved = std::fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
        if reserved.trim() != "0" || !knows_transparent() {
            eprintln!("skipped: this host reserves huge pages, or knows no transparent ones");
            return;
        }
        let scope = HugePageScope::new(HugePages::Reserved);
        // SAFETY: the layout has a size.
        let block = unsafe { HugePageAllocator.alloc(LAYOUT) };
        let reports = scope.finish();
        let outcomes: Vec<_> = reports.iter().map(SettingReport::is_applied).collect();
        assert_eq!(outcomes, [false, true], "{reports:?}");
        let Outcome::Refused { remedy, .. } = &reports[0].outcome else { panic!("applied") };
        assert!(remedy.contains("nr_hugepages=2"), "{remedy}");
        // SAFETY: the block has this layout.
        unsafe { HugePageAllocator.dealloc(block, LAYOUT) };
    }

    #[test]
    fn a_program_with_another_allocator_is_told() {
        let scope = HugePageScope::new(HugePages::Transparent);
        let table = vec![1_u8; 3 * HUGE_PAGE_LEN];
        let reports = scope.finish();
        assert!(!reports[0].is_applied() && table.len() == 3 * HUGE_PAGE_LEN, "{reports:?}");
        assert!(HugePageScope::new(HugePages::Off).finish().is_empty());
    }

    #[test]
    fn a_scope_within_a_scope_restores_the_outer_one() {
        let outer = HugePageScope::new(HugePages::Transparent);
        drop(HugePageScope::new(HugePages::Off));
        assert_eq!(WANTED.get(), HugePages::Transparent);
        drop(outer);
        assert_eq!(WANTED.get(), HugePages::Off);
    }
}
