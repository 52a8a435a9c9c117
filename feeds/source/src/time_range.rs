//! A span of time cut out of a source.

use peregrine_types::EpochNanos;

use crate::{Carrier, Packet, Progress, RecordedFeed, Session, Source, SourceError, Statistics};

/// Passes on the packets received at `from` or later and before `to`. A book built from the middle of a day lacks the
/// orders that were entered before; whoever needs them reads from the start and ignores what comes early. For files: a
/// source that has nothing now counts as ended.
pub struct TimeRange<S> {
    source: S,
    from: Option<EpochNanos>,
    to: Option<EpochNanos>,
    is_done: bool,
    early_count: u64,
}

impl<S: Source> TimeRange<S> {
    /// The part of `source` from `from` (its start when not given) to before `to` (its end when not given).
    #[must_use]
    pub const fn new(source: S, from: Option<EpochNanos>, to: Option<EpochNanos>) -> Self {
        Self { source, from, to, is_done: false, early_count: 0 }
    }

    /// Packets left out because they came before the span. They are in the source's own counts.
    #[must_use]
    pub const fn early_count(&self) -> u64 {
        self.early_count
    }

    /// The source behind.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.source
    }
}

impl<S: Source> Source for TimeRange<S> {
    fn advance(&mut self) -> Result<bool, SourceError> {
        while !self.is_done {
            if !self.source.advance()? {
                break;
            }
            let Some(time) = self.source.current().map(|packet| packet.recv_time) else { break };
            if self.to.is_some_and(|to| time >= to) {
                break;
            }
            if self.from.is_none_or(|from| time >= from) {
                return Ok(true);
            }
            self.early_count = self.early_count.saturating_add(1);
        }
        self.is_done = true;
        Ok(false)
    }

    fn current(&self) -> Option<Packet<'_>> {
        if self.is_done { None } else { self.source.current() }
    }

    fn has_ended(&self) -> bool {
        self.is_done
    }

    fn format(&self) -> Carrier {
        self.source.format()
    }

    fn session(&self) -> Option<Session> {
        self.source.session()
    }

    fn recorded(&self) -> Option<RecordedFeed> {
        self.source.recorded()
    }

    fn statistics(&self) -> Statistics {
        self.source.statistics()
    }

    fn file_statistics(&self, file: usize) -> Statistics {
        self.source.file_statistics(file)
    }

    fn progress(&self) -> Progress {
        self.source.progress()
    }
}
