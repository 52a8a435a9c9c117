//! The machine that figures were measured on, as lines for the top of a record.

use std::fs;

use peregrine_model::Backend;

/// Everything that a figure needs beside it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's own name, with family and model where the name says little.
    pub cpu: String,
    /// Cores that this process may use.
    pub core_count: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Widest backend of this processor.
    pub backend: Backend,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let part = |name| field(name).unwrap_or_else(|| "unknown".to_owned());
        let cpu = format!("{} (family {}, model {})", part("model name"), part("cpu family"), part("model"));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let core_count = peregrine_runtime::available_cores().len();
        Self { cpu, core_count, kernel, backend: Backend::best() }
    }

    /// The processor as part of a file's name.
    #[must_use]
    pub fn slug(&self) -> String {
        let words = self.cpu.split(|letter: char| !letter.is_ascii_alphanumeric());
        words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
    }

    /// One line each of machine, load and scheduler.
    #[must_use]
    pub fn describe(&self, core: usize) -> String {
        let Self { cpu, core_count, kernel, backend } = self;
        format!(
            "- machine: {cpu}, {core_count} cores, Linux {kernel}\n- load average when the run began: {}\n- pinned to \
             core {core}, scheduler {}, kernel backend {backend:?}\n",
            load_average(),
            scheduler()
        )
    }
}

/// The load averages of 1, 5 and 15 minutes.
#[must_use]
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Scheduling policy and nice value of this process (proc(5), fields 41 and 19 of `stat`).
fn scheduler() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |number: usize| after_name.split_whitespace().nth(number - 3).unwrap_or("unknown");
    match field(41) {
        "0" => format!("ordinary with nice {}", field(19)),
        "1" => "SCHED_FIFO".to_owned(),
        "2" => "SCHED_RR".to_owned(),
        other => format!("policy {other}"),
    }
}
