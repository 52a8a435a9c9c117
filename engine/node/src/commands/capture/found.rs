//! What a capture came to, in words and for machines.

use peregrine_report::format::{bytes, count};
use peregrine_report::table::Table;
use peregrine_source::live::{LineCounters, RecorderReport};
use peregrine_wire::RecoveryCounters;
use serde_json::json;

use super::holes::Holes;
use super::letter;
use crate::cli::CaptureArgs;
use crate::commands::{print, print_json};
use crate::exit::{Exit, Failure};

/// What servers did for a capture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovered {
    pub(super) counters: RecoveryCounters,
    /// Messages whose place a snapshot took.
    pub(super) superseded_count: u64,
}

/// What was recorded, and what was not.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) report: RecorderReport,
    pub(super) lines: Vec<LineCounters>,
    pub(super) backward_step_count: u64,
    pub(super) holes: Holes,
    /// `None` where nobody was to be asked.
    pub(super) recovery: Option<Recovered>,
}

impl Found {
    /// Says it; [`Exit::No`] when packets were dropped here, or messages came from nobody.
    pub(super) fn conclude(&self, args: &CaptureArgs) -> Result<Exit, Failure> {
        if args.json {
            print_json(&self.to_json())?;
        } else {
            print(&self.to_text())?;
        }
        let is_whole = self.dropped_count() == 0 && self.holes.message_count() == 0;
        Ok(if is_whole { Exit::Done } else { Exit::No })
    }

    /// Packets that arrived and are not in the file.
    fn dropped_count(&self) -> u64 {
        let lost = |line: &LineCounters| line.kernel_drop_count.saturating_add(line.oversize_count);
        self.lines.iter().map(lost).fold(self.report.dropped_count, u64::saturating_add)
    }

    fn to_json(&self) -> serde_json::Value {
        let of_line = |line: &LineCounters| {
            json!({"packets": line.packet_count, "kernel_drops": line.kernel_drop_count,
                "oversize": line.oversize_count, "unstamped": line.unstamped_count})
        };
        let of_servers = |recovered: &Recovered| {
            json!({"requests": recovered.counters.request_count, "replies": recovered.counters.reply_count,
                "snapshots": recovered.counters.snapshot_done_count, "superseded": recovered.superseded_count})
        };
        let report = &self.report;
        let files: Vec<String> = report.files.iter().map(|file| file.display().to_string()).collect();
        json!({"files": files, "len": report.len, "packets": report.packet_count,
            "ring_drops": report.dropped_count, "backward_steps": self.backward_step_count,
            "lines": self.lines.iter().map(of_line).collect::<Vec<_>>(),
            "missing": self.holes.to_json(), "recovery": self.recovery.as_ref().map(of_servers)})
    }

    fn to_text(&self) -> String {
        let mut table = Table::new().left("line").right("packets").right("dropped by the kernel").right("too long");
        for (index, line) in self.lines.iter().enumerate() {
            let numbers = [line.packet_count, line.kernel_drop_count, line.oversize_count].map(count);
            table.row([letter(index).to_string(), numbers[0].clone(), numbers[1].clone(), numbers[2].clone()]);
        }
        let mut text = table.to_text(usize::MAX);
        for file in &self.report.files {
            text.push_str(&format!("{}\n", file.display()));
        }
        let whole = match self.dropped_count() {
            0 => "nothing was dropped".to_owned(),
            dropped => format!("{} packets are missing", count(dropped)),
        };
        let packets = count(self.report.packet_count);
        text.push_str(&format!("{packets} packets, {}, {whole}\n", bytes(self.report.len)));
        if let Some(Recovered { counters, superseded_count }) = &self.recovery {
            let [replies, snapshots] = [counters.reply_count, counters.snapshot_done_count].map(count);
            let superseded = count(*superseded_count);
            text.push_str(&format!(
                "recovery: {replies} answers, {snapshots} snapshots, in the place of {superseded} messages\n"
            ));
        }
        text.push_str(&self.holes.to_text(if self.recovery.is_some() {
            "neither lines nor servers"
        } else {
            "no line"
        }));
        text + &self.remedies()
    }

    /// What would mend what was found.
    fn remedies(&self) -> String {
        let mut text = String::new();
        if self.backward_step_count > 0 {
            text.push_str(&format!(
                "{} packets were read behind others that came later: they stand with the time of those\n",
                count(self.backward_step_count)
            ));
        }
        if self.report.dropped_count > 0 {
            text.push_str("the disk did not keep up: give a larger --ring-mib or a faster disk\n");
        }
        if self.lines.iter().any(|line| line.kernel_drop_count > 0) {
            text.push_str(
                "the receiver did not keep up: give a larger --socket-mib (and net.core.rmem_max), or a core of its own\n",
            );
        }
        if self.lines.iter().any(|line| line.oversize_count > 0) {
            text.push_str("some packets are longer than --payload-len-max\n");
        }
        text
    }
}
