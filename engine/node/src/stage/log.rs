//! Appending to the log in a replay, which is lossless: it waits for the record role instead of dropping.

use peregrine_eventlog::records::Payload;
use peregrine_eventlog::{StreamTag, StreamWriter};
use peregrine_runtime::StopFlag;

/// Turns that a full log is asked again before the core is yielded.
const SPINS_BEFORE_YIELD: u32 = 64;

/// A stream of the log whose writer waits for room, and gives up only when the record role has failed.
#[derive(Debug)]
pub struct LosslessLog<S> {
    writer: StreamWriter<S>,
    record_failed: StopFlag,
}

impl<S: StreamTag> LosslessLog<S> {
    /// Wraps a stream; `record_failed` is raised when nobody will ever make room again.
    pub const fn new(writer: StreamWriter<S>, record_failed: StopFlag) -> Self {
        Self { writer, record_failed }
    }

    /// Appends a record. While the log is full, waits for the record role, which runs on a thread of its own. Once that
    /// role has failed the record is dropped: the run ends with that error, and its roles stop at the next turn.
    #[inline]
    pub fn append<P: Payload<Stream = S>>(&mut self, record: &P) {
        let mut turns = 0;
        while self.writer.append(record).is_err() && !self.record_failed.is_requested() {
            wait_turn(&mut turns);
        }
    }

    /// Goes through what an append does without appending: see [`StreamWriter::rehearse`].
    #[inline]
    pub fn rehearse<P: Payload<Stream = S>>(&self, record: &P) {
        self.writer.rehearse(record);
    }

    /// Records appended so far.
    #[must_use]
    pub const fn record_count(&self) -> u64 {
        self.writer.record_count()
    }

    /// Whether the record role has failed: the run is over.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.record_failed.is_requested()
    }
}

/// One turn of a wait: first spins, then yields the core to whoever is waited for.
#[cold]
pub fn wait_turn(turns: &mut u32) {
    *turns = turns.saturating_add(1);
    if *turns < SPINS_BEFORE_YIELD {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}
