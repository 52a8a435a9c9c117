//! Kernel and scheduler: version, real-time permission and throttling, control groups, containers.

use super::memory::{has_capability, soft_limit};
use super::{Files, HostFact};
use crate::settings::{Outcome, set_fifo};

pub(super) fn facts(files: &Files) -> Vec<HostFact> {
    vec![kernel(files), realtime(files), throttle(files), container(files), cpu_quota(files)]
}

fn kernel(files: &Files) -> HostFact {
    let Some(release) = files.text("proc/sys/kernel/osrelease") else {
        return HostFact::unknown("kernel.version", "not stated");
    };
    let is_realtime = files.text("sys/kernel/realtime").as_deref() == Some("1");
    HostFact::good("kernel.version", if is_realtime { format!("{release} (PREEMPT_RT)") } else { release })
}

/// The capability to raise priorities (`capabilities(7)`).
const CAP_SYS_NICE: u32 = 23;

/// Tried for real, in a thread that ends at once: limits and capabilities alone do not tell (control groups).
fn realtime(files: &Files) -> HostFact {
    let tried = std::thread::Builder::new().name("try_fifo".to_owned()).spawn(|| set_fifo(1));
    let Some(report) = tried.ok().and_then(|thread| thread.join().ok()) else {
        return HostFact::unknown("schedule.realtime", "could not be tried");
    };
    let limit = soft_limit(libc::RLIMIT_RTPRIO).map_or_else(|| "unknown".to_owned(), |limit| limit.to_string());
    let capable = if has_capability(files, CAP_SYS_NICE) { "with" } else { "without" };
    let basis = format!("rtprio limit {limit}, {capable} CAP_SYS_NICE");
    match report.outcome {
        Outcome::Applied => HostFact::good("schedule.realtime", format!("SCHED_FIFO permitted ({basis})")),
        Outcome::Refused { reason, remedy } => {
            HostFact::limits("schedule.realtime", format!("SCHED_FIFO refused: {reason} ({basis})"), &remedy)
        }
    }
}

fn throttle(files: &Files) -> HostFact {
    let read = |name: &str| files.text(&format!("proc/sys/kernel/{name}"))?.parse::<i64>().ok();
    let (Some(runtime), Some(period)) = (read("sched_rt_runtime_us"), read("sched_rt_period_us")) else {
        return HostFact::unknown("schedule.rt_throttle", "not stated");
    };
    if runtime < 0 {
        return HostFact::good("schedule.rt_throttle", "off");
    }
    let value = format!("a spinning SCHED_FIFO role loses its core after {runtime} of {period} us");
    let remedy = "`sudo sysctl kernel.sched_rt_runtime_us=-1`, with a core left for the system";
    HostFact::judged("schedule.rt_throttle", value, runtime >= period, remedy)
}

fn container(files: &Files) -> HostFact {
    let marks =
        [(".dockerenv", "Docker"), ("run/.containerenv", "Podman"), ("run/systemd/container", "systemd-nspawn")];
    match marks.iter().find(|mark| files.exists(mark.0)) {
        Some((_, name)) => HostFact::good("host.container", format!("yes ({name}): settings are the outer host's")),
        None => HostFact::good("host.container", "none seen"),
    }
}

/// A quota stops every thread of the group for the rest of a period: up to 100 ms at a time.
fn cpu_quota(files: &Files) -> HostFact {
    let second = files.text("sys/fs/cgroup/cpu.max").map(|text| text.replace("max", "-1"));
    let first = || files.text("sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    let Some(quota) = second.or_else(first) else {
        return HostFact::unknown("schedule.cpu_quota", "not stated");
    };
    let micros = quota.split_ascii_whitespace().next().and_then(|word| word.parse::<i64>().ok());
    match micros {
        Some(micros) if micros > 0 => {
            let remedy = "start the container without a CPU quota (`docker run` without `--cpus`); use `--cpuset-cpus`";
            HostFact::limits("schedule.cpu_quota", format!("{micros} us per period"), remedy)
        }
        Some(_) => HostFact::good("schedule.cpu_quota", "none"),
        None => HostFact::unknown("schedule.cpu_quota", quota),
    }
}
