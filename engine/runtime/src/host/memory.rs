//! Memory: size, huge pages, locking, swap, NUMA.

use super::{Files, HostFact};

pub(super) fn facts(files: &Files) -> Vec<HostFact> {
    vec![total(files), huge_pages(files), transparent_huge_pages(files), lock_limit(files), swap(files), numa(files)]
}

/// A field of `/proc/meminfo` as its first number: kilobytes, or pages.
fn number(files: &Files, name: &str) -> Option<u64> {
    files.field("proc/meminfo", name)?.split_ascii_whitespace().next()?.parse().ok()
}

fn total(files: &Files) -> HostFact {
    match (number(files, "MemTotal"), number(files, "MemAvailable")) {
        (Some(all), Some(free)) => {
            HostFact::good("memory.total", format!("{} MiB, {} MiB available", all / 1024, free / 1024))
        }
        (Some(_) | None, _) => HostFact::unknown("memory.total", "not stated"),
    }
}

fn huge_pages(files: &Files) -> HostFact {
    let (Some(count), Some(free), Some(size)) =
        (number(files, "HugePages_Total"), number(files, "HugePages_Free"), number(files, "Hugepagesize"))
    else {
        return HostFact::unknown("memory.huge_pages", "not stated");
    };
    let remedy = "`sudo sysctl vm.nr_hugepages=512` (1 GiB of 2 MiB pages), or rely on transparent ones";
    HostFact::judged("memory.huge_pages", format!("{free} of {count} free, {size} KiB each"), free > 0, remedy)
}

fn transparent_huge_pages(files: &Files) -> HostFact {
    let key = "memory.transparent_huge_pages";
    let Some(modes) = files.text("sys/kernel/mm/transparent_hugepage/enabled") else {
        return HostFact::unknown(key, "not stated");
    };
    let chosen = modes.split(['[', ']']).nth(1).unwrap_or(&modes).to_owned();
    let remedy =
        "`echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled`: the engine asks for its tables";
    HostFact::judged(key, chosen.clone(), chosen == "madvise", remedy)
}

/// The capability that lifts the limit (`capabilities(7)`).
const CAP_IPC_LOCK: u32 = 14;

/// What the engine's books, log segments and model take with room to spare, in bytes.
const LOCKED_LEN_GOOD: u64 = 4 << 30;

fn lock_limit(files: &Files) -> HostFact {
    let remedy = "`ulimit -l unlimited` (limits.conf: memlock unlimited), or `sudo setcap cap_ipc_lock+ep peregrine`";
    if has_capability(files, CAP_IPC_LOCK) {
        return HostFact::good("memory.lock_limit", "unlimited (CAP_IPC_LOCK)");
    }
    match soft_limit(libc::RLIMIT_MEMLOCK) {
        Some(libc::RLIM_INFINITY) => HostFact::good("memory.lock_limit", "unlimited"),
        Some(bytes) => {
            HostFact::judged("memory.lock_limit", format!("{} KiB", bytes / 1024), bytes >= LOCKED_LEN_GOOD, remedy)
        }
        None => HostFact::unknown("memory.lock_limit", "not stated"),
    }
}

/// Whether the process has capability number `bit` in effect.
pub(super) fn has_capability(files: &Files, bit: u32) -> bool {
    let mask = files.field("proc/self/status", "CapEff").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    mask.and_then(|mask| mask.checked_shr(bit)).is_some_and(|mask| mask & 1 == 1)
}

/// A resource limit in force.
#[expect(unsafe_code, reason = "limits are read by a C call")]
pub(super) fn soft_limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live `rlimit`, which the call fills.
    let code = unsafe { libc::getrlimit(resource, &raw mut limit) };
    (code == 0).then_some(limit.rlim_cur)
}

fn swap(files: &Files) -> HostFact {
    match number(files, "SwapTotal") {
        Some(0) => HostFact::good("memory.swap", "none"),
        Some(size) => HostFact::limits("memory.swap", format!("{} MiB", size / 1024), "`sudo swapoff -a`"),
        None => HostFact::unknown("memory.swap", "not stated"),
    }
}

fn numa(files: &Files) -> HostFact {
    let is_node = |name: &&String| name.strip_prefix("node").is_some_and(|number| number.parse::<u32>().is_ok());
    let names = files.names("sys/devices/system/node");
    let nodes: Vec<_> = names.iter().filter(is_node).collect();
    let cores_of = |node: &&String| {
        let list = files.text(&format!("sys/devices/system/node/{node}/cpulist")).unwrap_or_default();
        format!("{node}: cores {list}")
    };
    let value = nodes.iter().map(cores_of).collect::<Vec<_>>().join("; ");
    match nodes.len() {
        0 => HostFact::unknown("memory.numa", "not stated"),
        1 => HostFact::good("memory.numa", value),
        _ => HostFact::limits(
            "memory.numa",
            value,
            "`numactl --cpunodebind=N --membind=N peregrine …` with the NIC's node",
        ),
    }
}
