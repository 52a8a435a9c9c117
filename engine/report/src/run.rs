//! What a run was and what came of it: plain structs that the wiring fills.
//!
//! Every struct has a `Default`, so that a caller may fill what it has and leave the rest. Lists keep the order in
//! which they are given.

mod market;
pub(crate) mod ser;
mod trading;

use peregrine_eventlog::{LogReport, StreamReport};
use peregrine_types::EpochNanos;
use serde::Serialize;

use crate::{LatencyRow, PaperReport, format::hex};

pub use market::{
    AnomalyRow, BookReport, FeedReport, GapTotals, InputReport, LineReport, MessageRow, Pacing, ThroughputPoint,
    ThroughputReport,
};
pub use trading::{DenialRow, EquityPoint, OrdersReport, PnlReport, RiskReport, StrategyReport, SymbolRow};

/// Everything that is shown after a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunReport {
    /// The headline, such as `Peregrine demo`.
    pub title: String,
    /// The command line that made the run.
    pub command: String,
    /// The folder with everything that the run wrote.
    pub run_dir: String,
    /// When it started, by the system clock.
    #[serde(serialize_with = "ser::time")]
    pub started_utc: EpochNanos,
    /// How long it took, from the first byte read to the last record synced, in nanoseconds.
    pub elapsed_ns: u64,
    /// Whether it was stopped before its input ended.
    pub is_interrupted: bool,
    /// What a reader must know before believing a figure, one sentence each.
    pub warnings: Vec<String>,
    /// The answer in short: what was checked and how it came out.
    pub verdicts: Vec<Verdict>,
    /// Host, applied settings, wiring, backend, cores, clock, hashes of program and configuration.
    pub facts: Vec<Fact>,
    /// The model.
    pub model: ModelReport,
    /// The files that were read.
    pub inputs: Vec<InputReport>,
    /// What the feed made of them.
    pub feed: FeedReport,
    /// The books.
    pub book: BookReport,
    /// What the strategy did.
    pub strategy: StrategyReport,
    /// What the risk gate said.
    pub risk: RiskReport,
    /// What became of the orders.
    pub orders: OrdersReport,
    /// Where orders went and how they were filled, one sentence or two; empty where nobody says.
    pub filled_by: String,
    /// What it earned or cost.
    pub pnl: PnlReport,
    /// What paper trading showed, in four parts; `None` where orders went to a real venue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paper: Option<PaperReport>,
    /// Measured durations, one row per stage.
    pub latencies: Vec<LatencyRow>,
    /// Speed.
    pub throughput: ThroughputReport,
    /// The event log and how to prove the run.
    pub log: LogSection,
}

/// One fact about the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it belongs to, such as `host`, `wiring` or `applied`; facts of a group stand together.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Fact {
    /// The fact `name`: `value` in `group`.
    #[must_use]
    pub fn new(group: &str, name: &str, value: impl Into<String>) -> Self {
        Self { group: group.to_owned(), name: name.to_owned(), value: value.into() }
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictOutcome {
    /// As it should be.
    #[default]
    Pass,
    /// Worth a look; the run stands.
    Warn,
    /// Not as it should be.
    Fail,
}

impl VerdictOutcome {
    /// The outcome as one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How it came out.
    pub outcome: VerdictOutcome,
    /// What was checked and what was found, one sentence.
    pub text: String,
}

impl Verdict {
    /// A verdict line.
    #[must_use]
    pub fn new(outcome: VerdictOutcome, text: impl Into<String>) -> Self {
        Self { outcome, text: text.into() }
    }
}

/// The model that the run used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelReport {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file, hexadecimal.
    pub sha256: String,
    /// Its size class and parameters, for people.
    pub size: String,
    /// What its metadata says of its training, such as `untrained`.
    pub training: String,
    /// Whether it was trained. An untrained model's orders test the machinery and say nothing about any market.
    pub is_trained: bool,
}

/// The event log and how to prove the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogSection {
    /// The folder.
    pub dir: String,
    /// Its streams.
    pub streams: Vec<StreamRow>,
    /// The log hash that two runs over one input must share, hexadecimal.
    pub log_hash: String,
    /// Hash of books, latent states, positions and open orders at the end, hexadecimal.
    pub state_hash: String,
    /// The command that runs the same input again and compares.
    pub verify_command: String,
}

impl LogSection {
    /// The section of a log that was closed or verified.
    #[must_use]
    pub fn new(dir: impl Into<String>, log: &LogReport, state_hash: &[u8], verify_command: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            streams: log.streams.iter().map(StreamRow::from).collect(),
            log_hash: hex(&log.log_hash()),
            state_hash: hex(state_hash),
            verify_command: verify_command.into(),
        }
    }
}

/// One stream of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamRow {
    /// Its name.
    pub name: String,
    /// How many records.
    pub record_count: u64,
    /// Bytes of all its files.
    pub len: u64,
    /// How many files.
    pub segment_count: u32,
    /// Hash of the last block, which stands for every record before it, hexadecimal.
    pub chain_head: String,
    /// Whether it counts for the log hash.
    pub is_hashed: bool,
    /// Whether it was closed.
    pub is_sealed: bool,
}

impl From<&StreamReport> for StreamRow {
    fn from(report: &StreamReport) -> Self {
        Self {
            name: report.stream.name().to_owned(),
            record_count: report.record_count,
            len: report.len,
            segment_count: report.segment_count,
            chain_head: hex(&report.chain_head),
            is_hashed: report.stream.is_hashed(),
            is_sealed: report.is_sealed,
        }
    }
}
