//! Several sources as one, ordered by receive time.

use crate::{Carrier, End, Packet, Progress, RecordedFeed, Session, SkipReason, Source, SourceError, Statistics};

/// Gives the packets of several sources in the order of their receive times; at equal times the lower line comes
/// first, then the source given first. Holds no packet itself: each waits in its own source. For files: a source that has
/// nothing now counts as ended.
pub struct Merge {
    sources: Vec<Box<dyn Source>>,
    /// The source whose packet is shown.
    selected: Option<usize>,
    is_started: bool,
    is_done: bool,
}

impl Merge {
    /// Merges `sources`, which must be of one form and, as far as they know it, of one trading day.
    ///
    /// # Errors
    /// [`SourceError::LineCount`], [`SourceError::FormatMismatch`], [`SourceError::SessionMismatch`].
    pub fn new(sources: Vec<Box<dyn Source>>) -> Result<Self, SourceError> {
        let count = sources.len();
        let Some(first) = sources.first().filter(|_| count <= usize::from(u8::MAX)) else {
            return Err(SourceError::LineCount { count });
        };
        let format = first.format();
        if let Some(index) = sources.iter().position(|source| source.format() != format) {
            return Err(SourceError::FormatMismatch { index });
        }
        let dates = || sources.iter().map(|source| source.session().map(|session| session.date));
        let expected = dates().flatten().next();
        let other = |date: &Option<_>| date.is_some() && *date != expected;
        if let Some((index, found)) = dates().enumerate().find(|(_, date)| other(date)) {
            return Err(SourceError::SessionMismatch { index, expected, found });
        }
        Ok(Self { sources, selected: None, is_started: false, is_done: false })
    }

    fn step(&mut self) -> Result<(), SourceError> {
        if !self.is_started {
            self.is_started = true;
            for source in &mut self.sources {
                source.advance()?;
            }
        } else if let Some(source) = self.selected.and_then(|index| self.sources.get_mut(index)) {
            source.advance()?;
        }
        let heads = self.sources.iter().enumerate();
        let heads = heads.filter_map(|(index, source)| source.current().map(|head| (head.recv_time, head.line, index)));
        self.selected = heads.min().map(|(_, _, index)| index);
        Ok(())
    }
}

impl Source for Merge {
    fn advance(&mut self) -> Result<bool, SourceError> {
        if !self.is_done {
            let stepped = self.step();
            if stepped.is_err() {
                self.selected = None;
            }
            self.is_done = self.selected.is_none();
            stepped?;
        }
        Ok(!self.is_done)
    }

    fn current(&self) -> Option<Packet<'_>> {
        self.sources.get(self.selected?)?.current()
    }

    fn has_ended(&self) -> bool {
        self.is_done
    }

    fn format(&self) -> Carrier {
        self.sources.first().map_or(Carrier::MoldUdp64, |source| source.format())
    }

    fn session(&self) -> Option<Session> {
        self.sources.iter().find_map(|source| source.session())
    }

    /// That of the first, if all are recordings of one session.
    fn recorded(&self) -> Option<RecordedFeed> {
        let first = self.sources.first()?.recorded()?;
        self.sources.iter().all(|source| source.recorded() == Some(first)).then_some(first)
    }

    /// The sum over all sources. The end is `Open` while one is, else the first that is not clean.
    fn statistics(&self) -> Statistics {
        let mut all = self.sources.iter().map(|source| source.statistics());
        let first = all.next().unwrap_or_default();
        all.fold(first, |sum, next| sum.plus(&next))
    }

    fn file_statistics(&self, file: usize) -> Statistics {
        self.sources.get(file).map(|source| source.statistics()).unwrap_or_default()
    }

    fn progress(&self) -> Progress {
        self.sources.iter().map(|source| source.progress()).fold(Progress::default(), |sum, next| Progress {
            read_len: sum.read_len.saturating_add(next.read_len),
            total_len: sum.total_len.saturating_add(next.total_len),
        })
    }
}

impl Statistics {
    /// The sum of both; of two ends the one that matters more.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut skipped = self.skipped;
        for reason in SkipReason::ALL {
            skipped.add(reason, other.skipped.get(reason));
        }
        Self {
            record_count: self.record_count.saturating_add(other.record_count),
            packet_count: self.packet_count.saturating_add(other.packet_count),
            payload_len: self.payload_len.saturating_add(other.payload_len),
            skipped,
            backward_step_count: self.backward_step_count.saturating_add(other.backward_step_count),
            backward_step_ns_max: self.backward_step_ns_max.max(other.backward_step_ns_max),
            zeroed_checksum_count: self.zeroed_checksum_count.saturating_add(other.zeroed_checksum_count),
            unstamped_count: self.unstamped_count.saturating_add(other.unstamped_count),
            destination_count: self.destination_count.saturating_add(other.destination_count),
            end: worse_end(self.end, other.end),
        }
    }
}

fn worse_end(first: End, second: End) -> End {
    if second == End::Open || (first == End::Complete) { second } else { first }
}
