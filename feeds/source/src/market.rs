//! The input of a replay or a dataset: files, recognised by their content, merged by time, and turned into market events.

use std::path::PathBuf;

use jiff::civil::Date;
use peregrine_types::{EpochNanos, MarketEvent, Nanos, Sink, Symbol};
use peregrine_wire::arbiter::LINE_COUNT_MAX;
use peregrine_wire::itch50::Decoder;
use peregrine_wire::{ArbiterConfig, ArbiterConfigError, FileFeed, JoinPolicy, LineId, MoldFeed, Recovery};

use crate::{Carrier, Merge, OpenOptions, RecordedFeed, Session, Source, SourceError, TimeRange, open_all};

/// What is to be read, and how.
#[derive(Clone, Debug)]
pub struct InputPlan {
    /// The files; captures are lines A, B, … of one feed.
    pub files: Vec<PathBuf>,
    /// The session's date, where it is given.
    pub date: Option<Date>,
    /// Time zone of the venue.
    pub zone: String,
    /// Symbols that the session can announce.
    pub symbol_count_max: u32,
    /// How long a packet past a gap waits.
    pub reorder_window: Nanos,
    /// Whether sequence numbers mean anything.
    pub is_sequence_checked: bool,
}

/// Why an input cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file could not be opened or recognised.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The arbiter refused its configuration.
    #[error("the feed cannot be built: {0}")]
    Arbiter(#[from] ArbiterConfigError),
    /// Nobody knows the day.
    #[error("the session's date is not known ({}): give it with --date YYYY-MM-DD", .0.display())]
    Date(PathBuf),
    /// A symbol of the configuration has no room.
    #[error("the symbol directory has room for {0} symbols only: raise feed.symbol_count_max")]
    Directory(u32),
    /// More captures than a feed can have lines.
    #[error("{0} captures are given, one feed has at most {LINE_COUNT_MAX} lines: give those of one feed")]
    Lines(usize),
    /// Raw files have no sequence numbers: nothing would tell copies of a message apart.
    #[error("{0} files of messages are given, which cannot be told apart as lines of one feed: give one at a time")]
    RawFiles(usize),
}

/// Turns packets or messages into events.
#[derive(Debug)]
pub enum Feed {
    /// MoldUDP64 packets.
    Mold(Box<MoldFeed>),
    /// Raw messages.
    File(Box<FileFeed>),
}

impl Feed {
    /// Symbols and message counters.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        match self {
            Self::Mold(feed) => feed.decoder(),
            Self::File(feed) => feed.decoder(),
        }
    }
}

/// The files and the feed stage that reads them.
pub struct Input {
    source: Box<dyn Source>,
    feed: Feed,
    /// For a recording of a live session: how it was arbitrated, and its recovery.
    recorded: Option<(RecordedFeed, Recovery)>,
    session: Session,
    last_offset: u64,
    last_time: EpochNanos,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Input {
    /// Opens the files of `plan`; `symbols` get the first identifiers, in order.
    ///
    /// # Errors
    /// [`InputError`], naming the file and what to do.
    pub fn open(plan: &InputPlan, symbols: &[Symbol]) -> Result<Self, InputError> {
        let options = OpenOptions { date: plan.date, zone: plan.zone.clone(), ..OpenOptions::default() };
        let merge = open_all(&plan.files, &options)?;
        Self::from_source(Box::new(merge), plan, symbols)
    }

    /// Reads an opened source.
    ///
    /// # Errors
    /// As [`Input::open`].
    pub fn from_source(source: Box<dyn Source>, plan: &InputPlan, symbols: &[Symbol]) -> Result<Self, InputError> {
        let first = plan.files.first().cloned().unwrap_or_default();
        let session = source.session().ok_or(InputError::Date(first))?;
        let mut decoder = Decoder::new(session.midnight, plan.symbol_count_max);
        for symbol in symbols {
            decoder.register(*symbol).map_err(|_| InputError::Directory(plan.symbol_count_max))?;
        }
        let recorded = source.recorded().map(|feed| (feed, Recovery::new(feed.recovery_config(), feed.line_count)));
        let feed = match source.format() {
            Carrier::Itch if plan.files.len() > 1 => return Err(InputError::RawFiles(plan.files.len())),
            Carrier::MoldUdp64 if recorded.is_none() && plan.files.len() > LINE_COUNT_MAX => {
                return Err(InputError::Lines(plan.files.len()));
            }
            Carrier::Itch => Feed::File(Box::new(FileFeed::new(decoder))),
            Carrier::MoldUdp64 if recorded.is_some() => {
                Feed::Mold(Box::new(recorded_feed(source.recorded(), decoder)?))
            }
            Carrier::MoldUdp64 => {
                let line_count = u8::try_from(plan.files.len().max(1)).unwrap_or(u8::MAX);
                let config = ArbiterConfig {
                    line_count,
                    reorder_window_ns: plan.reorder_window,
                    is_sequence_checked: plan.is_sequence_checked,
                    join: JoinPolicy::AtFirstPacket,
                    ..ArbiterConfig::default()
                };
                Feed::Mold(Box::new(MoldFeed::new(config, decoder)?))
            }
        };
        Ok(Self { source, feed, recorded, session, last_offset: 0, last_time: EpochNanos::MIN })
    }

    /// Keeps only packets of `[from, to)`.
    #[must_use]
    pub fn within(self, from: Option<EpochNanos>, to: Option<EpochNanos>) -> Self {
        if from.is_none() && to.is_none() {
            return self;
        }
        let source = Box::new(TimeRange::new(self.source, from, to));
        Self { source, ..self }
    }

    /// Takes the next packet or message; `false` at the end. The sink must take every event.
    ///
    /// # Errors
    /// [`SourceError`] with file and offset.
    #[inline]
    pub fn step(&mut self, out: &mut impl Sink<MarketEvent>) -> Result<bool, SourceError> {
        let Some(packet) = self.source.poll()? else { return Ok(false) };
        self.last_offset = packet.offset;
        self.last_time = packet.recv_time;
        // A sink of a replay waits for room; the loop is for sinks that refuse and then take.
        match &mut self.feed {
            Feed::Mold(feed) => {
                let line = LineId(packet.line.0);
                if let Some((recorded, recovery)) = self.recorded.as_mut().filter(|(feed, _)| line.0 >= feed.line_count)
                {
                    if line == recorded.retransmission_line() {
                        while recovery.on_reply(feed, packet.bytes, packet.recv_time, out).is_err() {}
                    } else if line == recorded.snapshot_line() {
                        while recovery.on_snapshot(feed, packet.bytes, packet.recv_time, out).is_err() {}
                    }
                    return Ok(true);
                }
                while feed.on_packet(line, packet.bytes, packet.recv_time, out).is_err() {}
            }
            Feed::File(feed) => while feed.on_message(packet.bytes, None, out).is_err() {},
        }
        Ok(true)
    }

    /// The input has ended: what still waits for missing messages is given up.
    pub fn finish(&mut self, out: &mut impl Sink<MarketEvent>) {
        if let Feed::Mold(feed) = &mut self.feed {
            let late = self.last_time.plus(Nanos::from_secs(1));
            while feed.on_time(late, out).is_err() {}
        }
    }

    /// Where the last packet began in its file.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.last_offset
    }

    /// The session's day.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.session
    }

    /// The feed stage.
    #[must_use]
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }
}

/// The feed stage of a recording.
fn recorded_feed(recorded: Option<RecordedFeed>, decoder: Decoder) -> Result<MoldFeed, ArbiterConfigError> {
    let Some(recorded) = recorded else { return MoldFeed::new(ArbiterConfig::default(), decoder) };
    Ok(MoldFeed::new(recorded.arbiter_config(), decoder)?.with_recovery_line(recorded.retransmission_line()))
}

/// Opens files as one merged source, for commands that need no feed.
///
/// # Errors
/// [`SourceError`] with file and offset.
pub fn open_merged(plan: &InputPlan) -> Result<Merge, SourceError> {
    let options = OpenOptions { date: plan.date, zone: plan.zone.clone(), ..OpenOptions::default() };
    open_all(&plan.files, &options)
}
