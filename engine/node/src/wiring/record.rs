//! The role that waits for disks.

use peregrine_eventlog::{LogError, Recorder};
use peregrine_runtime::{IntervalReader, Role, StopFlag, TscClock};

/// The record role: copies the log to its files, keeps its hash chain, and reads the histograms in intervals.
#[derive(Debug)]
pub struct RecordRole {
    /// The log's files.
    pub recorder: Recorder,
    /// Histograms of the other roles.
    pub readers: Vec<IntervalReader>,
    /// The clock of syncs.
    pub clock: TscClock,
    /// Raised by this role when the log can take no more: everybody stops.
    pub failed: StopFlag,
    /// Raised when every other role has ended.
    pub others_done: StopFlag,
    /// Why the log failed.
    pub error: Option<LogError>,
    is_drained: bool,
}

impl RecordRole {
    /// A role that ends once `others_done` is raised and everything is copied.
    #[must_use]
    pub const fn new(
        recorder: Recorder,
        readers: Vec<IntervalReader>,
        clock: TscClock,
        failed: StopFlag,
        others_done: StopFlag,
    ) -> Self {
        Self { recorder, readers, clock, failed, others_done, error: None, is_drained: false }
    }
}

impl Role for RecordRole {
    fn name(&self) -> &str {
        "record"
    }

    fn duty_cycle(&mut self) -> usize {
        if self.error.is_some() {
            return 0;
        }
        let are_others_done = self.others_done.is_requested();
        let copied = match self.recorder.poll(self.clock.now()) {
            Ok(copied) => copied,
            Err(error) => {
                self.error = Some(error);
                self.failed.request();
                return 0;
            }
        };
        for reader in &mut self.readers {
            reader.request();
            while reader.take_interval().is_some() {}
        }
        self.is_drained = are_others_done && copied == 0;
        usize::try_from(copied).unwrap_or(usize::MAX)
    }

    fn is_finished(&self) -> bool {
        self.is_drained || (self.error.is_some() && self.others_done.is_requested())
    }
}
