//! The host report: what this machine gives a low-latency process, what limits it, and the command that would mend it.
//!
//! Facts come from `/proc` and `/sys`, from the processor and from a few harmless questions to the kernel; nothing is
//! changed. What cannot be found out is [`HostVerdict::Unknown`], never an error.

mod cpu;
mod memory;
mod network;
mod schedule;

use std::fs;
use std::path::{Path, PathBuf};

/// What a fact means for latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostVerdict {
    /// As it should be.
    Good,
    /// Costs latency, or its steadiness.
    Limits,
    /// Could not be found out.
    Unknown,
}

impl HostVerdict {
    /// The verdict as one word for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Limits => "limits",
            Self::Unknown => "unknown",
        }
    }
}

/// One fact about the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFact {
    /// What it is about, such as `cpu.governor` or `nic.eth0`.
    pub key: String,
    /// What was found.
    pub value: String,
    /// What it means.
    pub verdict: HostVerdict,
    /// The command or setting that would mend it.
    pub remedy: Option<String>,
}

impl HostFact {
    fn good(key: &str, value: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), verdict: HostVerdict::Good, remedy: None }
    }

    fn limits(key: &str, value: impl Into<String>, remedy: &str) -> Self {
        let remedy = Some(remedy.to_owned()).filter(|remedy| !remedy.is_empty());
        Self { key: key.to_owned(), value: value.into(), verdict: HostVerdict::Limits, remedy }
    }

    fn unknown(key: &str, value: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), verdict: HostVerdict::Unknown, remedy: None }
    }

    /// Good or limiting, as `is_good` says; the remedy only in the second case.
    fn judged(key: &str, value: impl Into<String>, is_good: bool, remedy: &str) -> Self {
        if is_good { Self::good(key, value) } else { Self::limits(key, value, remedy) }
    }
}

/// Everything found out about the host, in a fixed order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// The facts.
    pub facts: Vec<HostFact>,
}

impl HostReport {
    /// The fact of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&HostFact> {
        self.facts.iter().find(|fact| fact.key == key)
    }

    /// The facts that cost latency.
    pub fn limits(&self) -> impl Iterator<Item = &HostFact> {
        self.facts.iter().filter(|fact| fact.verdict == HostVerdict::Limits)
    }
}

/// Where `/proc` and `/sys` are looked for: the real root, or a copy of another machine's.
struct Files {
    root: PathBuf,
}

impl Files {
    /// A file's text without the white space around it.
    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// The names in a folder, sorted.
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The value of `name` in a file of `name: value` lines, such as `/proc/meminfo`.
    fn field(&self, path: &str, name: &str) -> Option<String> {
        let text = self.text(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }
}

/// Looks at this host. Takes some milliseconds (the clock's first calibration up to 200 more); not for the hot path.
#[must_use]
pub fn host_report() -> HostReport {
    report_from(Path::new("/"))
}

/// The report with `/proc` and `/sys` under `root`; what the processor and the kernel say themselves is always this
/// machine's.
fn report_from(root: &Path) -> HostReport {
    let files = Files { root: root.to_owned() };
    let mut facts = Vec::new();
    facts.extend(cpu::facts(&files));
    facts.extend(memory::facts(&files));
    facts.extend(schedule::facts(&files));
    facts.extend(network::facts(&files));
    HostReport { facts }
}

#[cfg(test)]
mod tests;
