//! What we ask of the operating system, and whether it agreed: every request ends as [`Outcome::Applied`] or as
//! [`Outcome::Refused`] with the reason and the remedy, and the engine runs on either way.

use std::io;

use core_affinity::CoreId;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The system agreed.
    Applied,
    /// The system refused; the engine runs without it.
    Refused {
        /// What the system said.
        reason: String,
        /// The command or setting that would mend it.
        remedy: String,
    },
}

/// One request and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingReport {
    /// What was asked for, with its value, such as `core 1` or `SCHED_FIFO priority 50`.
    pub setting: String,
    /// How it ended.
    pub outcome: Outcome,
}

impl SettingReport {
    /// Whether the system agreed.
    #[must_use]
    pub const fn is_applied(&self) -> bool {
        matches!(self.outcome, Outcome::Applied)
    }

    pub(crate) fn new(setting: impl Into<String>, result: io::Result<()>, remedy: impl Into<String>) -> Self {
        let outcome = match result {
            Ok(()) => Outcome::Applied,
            Err(error) => Outcome::Refused { reason: error.to_string(), remedy: remedy.into() },
        };
        Self { setting: setting.into(), outcome }
    }
}

/// Turns a C return value into a result: zero is success, anything else reads `errno`.
pub(crate) fn check_return(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Pins the calling thread to one core.
pub(crate) fn pin_to(core: usize) -> SettingReport {
    let result =
        if core_affinity::set_for_current(CoreId { id: core }) { Ok(()) } else { Err(io::Error::last_os_error()) };
    let remedy = format!("give the process core {core}: `taskset -c {core},… peregrine …`, or widen its cpuset");
    SettingReport::new(format!("core {core}"), result, remedy)
}

/// Asks for `SCHED_FIFO` at `priority` (1 to 99) for the calling thread; threads that it starts do not inherit it.
#[expect(unsafe_code, reason = "the scheduler is set by a C call")]
pub(crate) fn set_fifo(priority: u8) -> SettingReport {
    let parameters = libc::sched_param { sched_priority: libc::c_int::from(priority) };
    // SAFETY: the pointer is to a live `sched_param`, which the call only reads; 0 means the calling thread.
    let code =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    let remedy = "`sudo setcap cap_sys_nice+ep peregrine`, or `ulimit -r 99` (limits.conf: rtprio 99)";
    SettingReport::new(format!("SCHED_FIFO priority {priority}"), check_return(code), remedy)
}

/// Locks all present and future memory of the process, so that nothing is paged out and new memory is there at once.
#[must_use]
#[expect(unsafe_code, reason = "memory is locked by a C call")]
pub fn lock_memory() -> SettingReport {
    // SAFETY: the call takes flags only and changes no memory of ours.
    let code = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
    let remedy = "`ulimit -l unlimited` (limits.conf: memlock unlimited), or `sudo setcap cap_ipc_lock+ep peregrine`";
    SettingReport::new("lock all memory", check_return(code), remedy)
}

/// Undoes [`lock_memory`].
#[must_use]
#[expect(unsafe_code, reason = "memory is unlocked by a C call")]
pub fn unlock_memory() -> SettingReport {
    // SAFETY: the call takes no arguments and changes no memory of ours.
    SettingReport::new("unlock all memory", check_return(unsafe { libc::munlockall() }), "")
}

/// The size of a page.
pub(crate) const PAGE_LEN: usize = 4096;

/// Advises the system to back `region` by huge pages: fewer address translations for large tables. Only whole pages
/// inside the region are advised; the system decides, and does it for aligned 2 MiB pieces.
#[must_use]
#[expect(unsafe_code, reason = "memory is advised on by a C call")]
pub fn advise_huge_pages(region: &mut [u8]) -> SettingReport {
    let setting = format!("huge pages for {} bytes", region.len());
    let remedy = "`echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled`";
    let skipped = region.as_ptr().align_offset(PAGE_LEN);
    let len = region.len().saturating_sub(skipped) & !PAGE_LEN.wrapping_sub(1);
    let Some(pages) = region.get_mut(skipped..).filter(|_| len > 0) else {
        return SettingReport::new(setting, Err(io::Error::other("the region holds no whole page")), remedy);
    };
    // SAFETY: start and length are whole pages within a region that we borrow mutably, and this advice changes no
    // content.
    let code = unsafe { libc::madvise(pages.as_mut_ptr().cast(), len, libc::MADV_HUGEPAGE) };
    SettingReport::new(setting, check_return(code), remedy)
}

/// Touches each page of `region` by rewriting its first byte, so that the hot path never meets a page for the first
/// time. Returns how many pages were touched.
pub fn prefault(region: &mut [u8]) -> usize {
    let mut page_count = 0_usize;
    for page in region.chunks_mut(PAGE_LEN) {
        if let Some(first) = page.first_mut() {
            *first = core::hint::black_box(*first);
            page_count = page_count.saturating_add(1);
        }
    }
    page_count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_reason_and_remedy() {
        let refused = SettingReport::new("x", Err(io::Error::from_raw_os_error(libc::EPERM)), "do y");
        assert!(!refused.is_applied());
        let Outcome::Refused { reason, remedy } = refused.outcome else { panic!("applied") };
        assert!(reason.contains("not permitted"), "{reason}");
        assert_eq!(remedy, "do y");
        assert!(SettingReport::new("x", Ok(()), "").is_applied());
    }

    #[test]
    fn pinning_to_a_core_that_does_not_exist_is_refused() {
        std::thread::spawn(|| assert!(!pin_to(1000).is_applied())).join().unwrap();
    }

    #[cfg(not(miri))]
    #[test]
    fn huge_page_advice_needs_a_whole_page() {
        assert!(!advise_huge_pages(&mut [0; 100]).is_applied());
        let report = advise_huge_pages(&mut vec![0; 8 << 20]);
        let known = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
        assert!(report.is_applied() || !known, "{report:?}");
    }

    #[test]
    fn prefault_touches_every_page_and_changes_nothing() {
        let mut region = vec![7; 3 * PAGE_LEN + 1];
        assert_eq!(prefault(&mut region), 4);
        assert!(region.iter().all(|&byte| byte == 7));
    }
}
