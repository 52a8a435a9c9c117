//! Processor and clock: SIMD, TSC, clock source, isolation, frequency, SMT, virtualisation.

use super::{Files, HostFact};
use crate::thread::available_cores;

pub(super) fn facts(files: &Files) -> Vec<HostFact> {
    vec![
        model(files),
        cores(files),
        simd(),
        isolated(files),
        tick_free(files),
        governor(files),
        smt(files),
        clock_source(files),
        tsc(files),
        virtual_machine(files),
    ]
}

fn model(files: &Files) -> HostFact {
    match files.field("proc/cpuinfo", "model name") {
        Some(name) => HostFact::good("cpu.model", name),
        None => HostFact::unknown("cpu.model", "not stated"),
    }
}

/// The four roles want a core each, and the system one for itself.
const CORE_COUNT_GOOD: usize = 5;

fn cores(files: &Files) -> HostFact {
    let ours = available_cores();
    let online = files.text("sys/devices/system/cpu/online").unwrap_or_else(|| "unknown".to_owned());
    let value = format!("{} available to this process {ours:?}, online {online}", ours.len());
    let remedy = "fuse roles (`[runtime]` in the config) or use a host with 5 or more cores";
    HostFact::judged("cpu.cores", value, ours.len() >= CORE_COUNT_GOOD, remedy)
}

#[cfg(target_arch = "x86_64")]
fn simd() -> HostFact {
    let features = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
        ("avx512dq", std::is_x86_feature_detected!("avx512dq")),
        ("avx512vl", std::is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
    ];
    let present: Vec<_> = features.iter().filter(|feature| feature.1).map(|feature| feature.0).collect();
    let value = if present.is_empty() { "none".to_owned() } else { present.join(" ") };
    let has_avx2 = present.contains(&"avx2") && present.contains(&"fma");
    HostFact::judged("cpu.simd", value, has_avx2, "use a processor with AVX2 and FMA: the kernel runs scalar here")
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> HostFact {
    HostFact::limits("cpu.simd", "not x86-64", "use an x86-64 processor with AVX2: the kernel runs scalar here")
}

fn isolated(files: &Files) -> HostFact {
    let Some(list) = files.text("sys/devices/system/cpu/isolated") else {
        return HostFact::unknown("cpu.isolated", "not stated");
    };
    let remedy = "kernel command line: `isolcpus=managed_irq,domain,LIST nohz_full=LIST rcu_nocbs=LIST`, then reboot";
    let value = if list.is_empty() { "none".to_owned() } else { list.clone() };
    HostFact::judged("cpu.isolated", value, !list.is_empty(), remedy)
}

fn tick_free(files: &Files) -> HostFact {
    let Some(line) = files.text("proc/cmdline") else {
        return HostFact::unknown("cpu.nohz_full", "not stated");
    };
    let list = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("nohz_full="));
    let remedy = "kernel command line: `nohz_full=LIST rcu_nocbs=LIST` for the pinned cores, then reboot";
    HostFact::judged("cpu.nohz_full", list.unwrap_or("none"), list.is_some(), remedy)
}

fn governor(files: &Files) -> HostFact {
    let path = |core| format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
    let mut governors: Vec<_> = available_cores().into_iter().filter_map(|core| files.text(&path(core))).collect();
    governors.sort_unstable();
    governors.dedup();
    if governors.is_empty() {
        return HostFact::unknown("cpu.governor", "not ours to see (usual in a virtual machine)");
    }
    let is_good = governors.iter().all(|governor| governor == "performance");
    HostFact::judged("cpu.governor", governors.join(" "), is_good, "`sudo cpupower frequency-set -g performance`")
}

fn smt(files: &Files) -> HostFact {
    match files.text("sys/devices/system/cpu/smt/active").as_deref() {
        Some("0") => HostFact::good("cpu.smt", "off"),
        Some("1") => {
            let remedy = "`echo off | sudo tee /sys/devices/system/cpu/smt/control`, or leave the siblings of pinned \
                          cores idle";
            HostFact::limits("cpu.smt", "on: two hardware threads share each core's units and caches", remedy)
        }
        Some(other) => HostFact::unknown("cpu.smt", other),
        None => HostFact::unknown("cpu.smt", "not stated"),
    }
}

fn clock_source(files: &Files) -> HostFact {
    let Some(source) = files.text("sys/devices/system/clocksource/clocksource0/current_clocksource") else {
        return HostFact::unknown("clock.source", "not stated");
    };
    let remedy = "`echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource`";
    HostFact::judged("clock.source", source.clone(), source == "tsc", remedy)
}

/// `constant_tsc` and `nonstop_tsc` together are what the processor calls an invariant TSC (CPUID 8000_0007h, EDX bit
/// 8): one rate in all power states.
fn tsc(files: &Files) -> HostFact {
    let Some(flags) = files.field("proc/cpuinfo", "flags") else {
        return HostFact::unknown("clock.tsc", "not stated");
    };
    let has = |name: &str| flags.split_ascii_whitespace().any(|flag| flag == name);
    let is_invariant = has("constant_tsc") && has("nonstop_tsc");
    let known = if has("tsc_known_freq") { ", frequency stated by the processor or hypervisor" } else { "" };
    let value = if is_invariant { format!("invariant{known}") } else { "not invariant".to_owned() };
    let remedy = "use a host with an invariant TSC: the clock falls back to system time, about 25 ns a reading";
    HostFact::judged("clock.tsc", value, is_invariant, remedy)
}

fn virtual_machine(files: &Files) -> HostFact {
    let Some(flags) = files.field("proc/cpuinfo", "flags") else {
        return HostFact::unknown("host.machine", "not stated");
    };
    let is_guest = flags.contains("hypervisor");
    let vendor = files.text("sys/class/dmi/id/sys_vendor").or_else(|| files.text("sys/hypervisor/type"));
    let remedy = "run on bare metal: a hypervisor takes the cores away for milliseconds now and then";
    let value = match (is_guest, vendor) {
        (true, Some(vendor)) => format!("virtual machine ({vendor})"),
        (true, None) => "virtual machine".to_owned(),
        (false, _) => "bare metal".to_owned(),
    };
    HostFact::judged("host.machine", value, !is_guest, remedy)
}
