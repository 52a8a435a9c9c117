//! The input of a replay, and of a live session; datasets are built from the same one (`peregrine_source::market`).

use peregrine_source::SourceError;
use peregrine_source::live::{LiveInput, LiveStep};
use peregrine_types::{EpochNanos, MarketEvent, Sink};

pub use peregrine_source::market::{Feed, Input, InputError, InputPlan, open_merged};

/// What a step of an input brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A packet or message.
    Some,
    /// Nothing is there now.
    Nothing,
    /// Nothing will come any more.
    End,
}

/// Where the feed role's events come from.
pub trait EventInput: Send {
    /// Whether somebody waits for each event.
    const IS_LIVE: bool;

    /// Takes what comes next. The sink must take every event.
    ///
    /// # Errors
    /// [`SourceError`] with what broke.
    fn step(&mut self, out: &mut impl Sink<MarketEvent>) -> Result<Taken, SourceError>;

    /// The input has ended, or is ended: what still waits for missing messages is given up.
    fn finish(&mut self, out: &mut impl Sink<MarketEvent>);

    /// Where in the input the last packet began, in bytes.
    fn offset(&self) -> u64;

    /// Messages of the venue so far.
    fn message_count(&self) -> u64;

    /// Bytes read, and bytes that there are (0: nobody knows).
    fn progress(&self) -> (u64, u64);
}

impl EventInput for Input {
    const IS_LIVE: bool = false;

    #[inline]
    fn step(&mut self, out: &mut impl Sink<MarketEvent>) -> Result<Taken, SourceError> {
        Ok(if Self::step(self, out)? { Taken::Some } else { Taken::End })
    }

    fn finish(&mut self, out: &mut impl Sink<MarketEvent>) {
        Self::finish(self, out);
    }

    fn offset(&self) -> u64 {
        Self::offset(self)
    }

    fn message_count(&self) -> u64 {
        self.feed().decoder().counters().message_count()
    }

    fn progress(&self) -> (u64, u64) {
        let progress = self.source().progress();
        (progress.read_len, progress.total_len)
    }
}

/// A live input with the clock of its time-outs.
#[derive(Debug)]
pub struct ClockedInput<C> {
    /// The lines and what recovers them.
    pub input: LiveInput,
    /// The receive clock.
    pub clock: C,
}

impl<C: Fn() -> EpochNanos + Send> EventInput for ClockedInput<C> {
    const IS_LIVE: bool = true;

    #[inline]
    fn step(&mut self, out: &mut impl Sink<MarketEvent>) -> Result<Taken, SourceError> {
        Ok(match self.input.step((self.clock)(), out)? {
            LiveStep::Worked => Taken::Some,
            LiveStep::Idle => Taken::Nothing,
            LiveStep::Ended => Taken::End,
        })
    }

    fn finish(&mut self, out: &mut impl Sink<MarketEvent>) {
        self.input.close(out);
    }

    fn offset(&self) -> u64 {
        self.input.offset()
    }

    fn message_count(&self) -> u64 {
        self.input.feed().decoder().counters().message_count()
    }

    fn progress(&self) -> (u64, u64) {
        (self.input.offset(), 0)
    }
}
