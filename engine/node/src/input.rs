//! The input of a replay, and of a live session; datasets are built from the same one (`peregrine_source::market`).

use peregrine_runtime::TscClock;
use peregrine_source::SourceError;
use peregrine_source::live::{LiveInput, LiveStep, RecorderReport};
use peregrine_types::{EventKind, MarketEvent, Sink};

use crate::live::{ClockFigures, ClockWatch, SilenceWatch};

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

    /// Everything was handed over and handled: closes what may take its time.
    fn conclude(&mut self) {}

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

/// A live input with the clock of its time-outs. It ends with the session: what comes after it is no part of it.
#[derive(Debug)]
pub struct ClockedInput {
    /// The lines and what recovers them.
    pub input: LiveInput,
    /// What was recorded, and what the system said when it could not be.
    pub recorded: Option<std::io::Result<Option<RecorderReport>>>,
    /// What the watch of the clocks found, once the run is over.
    pub clocks: Option<ClockFigures>,
    clock: TscClock,
    clock_watch: Option<ClockWatch>,
    silence: Option<SilenceWatch>,
    is_over: bool,
}

impl ClockedInput {
    /// An input whose time-outs go by `clock`, which no step of the system's clock moves.
    #[must_use]
    pub const fn new(input: LiveInput, clock: TscClock) -> Self {
        Self { input, recorded: None, clocks: None, clock, clock_watch: None, silence: None, is_over: false }
    }

    /// Keeps the watch of the clocks until the end.
    #[must_use]
    pub fn with_clock_watch(self, watch: ClockWatch) -> Self {
        Self { clock_watch: Some(watch), ..self }
    }

    /// Tells `watch` how long the lines have been silent.
    #[must_use]
    pub fn watched_by(self, watch: SilenceWatch) -> Self {
        Self { silence: Some(watch), ..self }
    }
}

impl EventInput for ClockedInput {
    const IS_LIVE: bool = true;

    #[inline]
    fn step(&mut self, out: &mut impl Sink<MarketEvent>) -> Result<Taken, SourceError> {
        if self.is_over {
            return Ok(Taken::End);
        }
        let (is_over, now) = (&mut self.is_over, self.clock.now());
        let step = self.input.step(now, &mut |event: MarketEvent| {
            *is_over |= event.kind == EventKind::SessionEnd;
            out.push(event)
        })?;
        if let Some(watch) = &mut self.silence {
            watch.on_silence(self.input.silent_for(now));
            watch.on_stamp(self.input.last_time(), now);
            let counters = self.input.feed().arbiter().counters();
            watch.on_disputes((counters.dispute_count, counters.settled_dispute_count));
        }
        Ok(match step {
            LiveStep::Worked => Taken::Some,
            LiveStep::Idle => Taken::Nothing,
            LiveStep::Ended => Taken::End,
        })
    }

    fn finish(&mut self, out: &mut impl Sink<MarketEvent>) {
        self.input.close_lines(out);
    }

    fn conclude(&mut self) {
        self.recorded = Some(self.input.finish_recording());
        self.clocks = self.clock_watch.take().and_then(ClockWatch::end);
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
