//! The report of this machine holds together, and a made-up machine is read right.

use super::*;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A root folder of our own under the system's temporary one, removed at the end.
struct FakeRoot(PathBuf);

impl FakeRoot {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("peregrine_host_{name}_{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self(root)
    }
}

impl Drop for FakeRoot {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn verdict(report: &HostReport, key: &str) -> (String, HostVerdict, bool) {
    let fact = report.get(key).unwrap_or_else(|| panic!("no fact {key}"));
    (fact.value.clone(), fact.verdict, fact.remedy.is_some())
}

#[test]
fn this_hosts_report_is_whole() {
    let report = host_report();
    for (index, fact) in report.facts.iter().enumerate() {
        assert!(!fact.value.is_empty(), "{fact:?}");
        assert!(fact.remedy.is_none() || fact.verdict == HostVerdict::Limits, "{fact:?}");
        assert!(fact.remedy.is_some() || fact.verdict != HostVerdict::Limits, "{fact:?}");
        assert!(report.facts[..index].iter().all(|other| other.key != fact.key), "{} twice", fact.key);
    }
    for key in ["cpu.simd", "clock.tsc", "memory.lock_limit", "schedule.realtime", "kernel.version"] {
        assert!(report.get(key).is_some(), "{key}");
    }
}

#[test]
fn a_tuned_machine_is_good() {
    let root = FakeRoot::new("tuned");
    write(&root.0, "proc/cpuinfo", "model name\t: Fast CPU\nflags\t\t: fpu constant_tsc nonstop_tsc\n");
    write(&root.0, "proc/cmdline", "quiet nohz_full=2-5 isolcpus=2-5\n");
    write(&root.0, "sys/devices/system/cpu/isolated", "2-5\n");
    write(&root.0, "sys/devices/system/cpu/smt/active", "0\n");
    write(&root.0, "sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    for core in crate::thread::available_cores() {
        write(&root.0, &format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"), "performance\n");
    }
    let meminfo = "MemTotal: 1048576 kB\nMemAvailable: 524288 kB\nSwapTotal: 0 kB\nHugePages_Total: 8\n\
                   HugePages_Free: 7\nHugepagesize: 2048 kB\n";
    write(&root.0, "proc/meminfo", meminfo);
    write(&root.0, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    write(&root.0, "sys/devices/system/node/node0/cpulist", "0-5\n");
    write(&root.0, "proc/self/status", "Name:\tx\nCapEff:\t0000000000004000\n");
    write(&root.0, "proc/sys/kernel/sched_rt_runtime_us", "-1\n");
    write(&root.0, "proc/sys/kernel/sched_rt_period_us", "1000000\n");
    write(&root.0, "sys/fs/cgroup/cpu.max", "max 100000\n");
    let report = report_from(&root.0);
    let good = [
        ("cpu.model", "Fast CPU"),
        ("cpu.isolated", "2-5"),
        ("cpu.nohz_full", "2-5"),
        ("cpu.governor", "performance"),
        ("cpu.smt", "off"),
        ("clock.source", "tsc"),
        ("clock.tsc", "invariant"),
        ("host.machine", "bare metal"),
        ("memory.total", "1024 MiB, 512 MiB available"),
        ("memory.huge_pages", "7 of 8 free, 2048 KiB each"),
        ("memory.transparent_huge_pages", "madvise"),
        ("memory.lock_limit", "unlimited (CAP_IPC_LOCK)"),
        ("memory.swap", "none"),
        ("memory.numa", "node0: cores 0-5"),
        ("schedule.rt_throttle", "off"),
        ("schedule.cpu_quota", "none"),
    ];
    for (key, value) in good {
        assert_eq!(verdict(&report, key), (value.to_owned(), HostVerdict::Good, false), "{key}");
    }
}

#[test]
fn an_untuned_machine_gets_remedies() {
    let root = FakeRoot::new("untuned");
    write(&root.0, "proc/cpuinfo", "model name\t: Slow CPU\nflags\t\t: fpu constant_tsc hypervisor\n");
    write(&root.0, "proc/cmdline", "quiet\n");
    write(&root.0, "sys/devices/system/cpu/isolated", "\n");
    write(&root.0, "sys/devices/system/cpu/smt/active", "1\n");
    write(&root.0, "sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    write(
        &root.0,
        "proc/meminfo",
        "SwapTotal: 2048 kB\nHugePages_Total: 0\nHugePages_Free: 0\nHugepagesize: 2048 kB\n",
    );
    write(&root.0, "sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    write(&root.0, "sys/devices/system/node/node0/cpulist", "0-1\n");
    write(&root.0, "sys/devices/system/node/node1/cpulist", "2-3\n");
    write(&root.0, "proc/sys/kernel/sched_rt_runtime_us", "950000\n");
    write(&root.0, "proc/sys/kernel/sched_rt_period_us", "1000000\n");
    write(&root.0, "sys/fs/cgroup/cpu.max", "150000 100000\n");
    let report = report_from(&root.0);
    for key in [
        "cpu.isolated",
        "cpu.nohz_full",
        "cpu.smt",
        "clock.source",
        "clock.tsc",
        "host.machine",
        "memory.huge_pages",
        "memory.transparent_huge_pages",
        "memory.swap",
        "memory.numa",
        "schedule.rt_throttle",
        "schedule.cpu_quota",
    ] {
        let (_, found, has_remedy) = verdict(&report, key);
        assert_eq!((found, has_remedy), (HostVerdict::Limits, true), "{key}");
    }
    assert!(report.limits().count() >= 12);
}

#[test]
fn a_machine_that_says_nothing_is_unknown_not_an_error() {
    let root = FakeRoot::new("silent");
    let report = report_from(&root.0);
    for key in ["cpu.isolated", "host.machine", "clock.source", "memory.swap", "kernel.version", "nic"] {
        assert_eq!(verdict(&report, key).1, HostVerdict::Unknown, "{key}");
    }
}
