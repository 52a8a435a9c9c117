//! The words in which latencies are recorded: what the venue's answers are about, and the file that holds them.

use crate::ExecutionKind;

/// First line of a file of latencies: `peregrine log latencies` writes such files, the paper venue reads them.
pub const RECORDING_HEADER: &str = "kind,request_ns,venue_ns,response_ns";

/// What a message of the venue answers, or tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportKind {
    /// A new order was taken or refused.
    Submit,
    /// A replacement took its place or was refused.
    Replace,
    /// What was left of an order is gone, asked for or not, or a cancel was refused.
    Cancel,
    /// A trade, or that one was broken: nobody asked.
    Fill,
}

impl ReportKind {
    /// Every kind, in the order of their indices.
    pub const ALL: [Self; 4] = [Self::Submit, Self::Replace, Self::Cancel, Self::Fill];

    /// What a report is about. A refusal is taken for that of a new order: of a replacement, say
    /// [`ReportKind::Replace`].
    #[must_use]
    pub const fn of(kind: ExecutionKind) -> Self {
        match kind {
            ExecutionKind::Accepted | ExecutionKind::Rejected => Self::Submit,
            ExecutionKind::Replaced => Self::Replace,
            ExecutionKind::Canceled | ExecutionKind::CancelRejected | ExecutionKind::Reduced => Self::Cancel,
            ExecutionKind::Filled | ExecutionKind::Busted => Self::Fill,
        }
    }

    /// The word of the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Replace => "replace",
            Self::Cancel => "cancel",
            Self::Fill => "fill",
        }
    }

    /// Its place in [`ReportKind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Submit => 0,
            Self::Replace => 1,
            Self::Cancel => 2,
            Self::Fill => 3,
        }
    }
}
