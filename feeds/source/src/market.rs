//! The input of a replay or a dataset: files, recognised by their content, merged by time, and turned into market events.

use std::path::PathBuf;

use jiff::civil::Date;
use peregrine_types::{EpochNanos, MarketEvent, Nanos, Sink, Symbol};
use peregrine_wire::arbiter::LINE_COUNT_MAX;
use peregrine_wire::feed::FeedCounts;
use peregrine_wire::itch50::{Decoder, DirectoryFull, MessageType, SymbolDirectory};
pub use peregrine_wire::mdp3::{Depth, KnownInstrument};
use peregrine_wire::mdp3::{Mdp3Config, Mdp3Decoder, template};
use peregrine_wire::{
    Arbiter, ArbiterConfig, ArbiterConfigError, FileFeed, JoinPolicy, LineId, Mdp3Feed, MoldFeed, Recovery,
};

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
    /// How an MDP 3.0 feed is read.
    pub mdp3: Mdp3Plan,
}

/// How an MDP 3.0 feed is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mdp3Plan {
    /// From which part of the feed books are made.
    pub depth: Depth,
    /// Instruments of which no definition comes.
    pub instruments: Vec<KnownInstrument>,
}

impl Default for Mdp3Plan {
    /// Books of orders, no instrument known.
    fn default() -> Self {
        Self { depth: Depth::Orders, instruments: Vec::new() }
    }
}

/// Orders that can stand in the books of an MDP 3.0 channel at the same time.
const MDP3_ORDER_COUNT_MAX: u32 = 1 << 20;

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
    /// MDP 3.0 packets.
    Mdp3(Box<Mdp3Feed>),
    /// Raw messages.
    File(Box<FileFeed>),
}

impl Feed {
    /// Names and identifiers of symbols.
    #[must_use]
    pub fn symbols(&self) -> &SymbolDirectory {
        match self {
            Self::Mold(feed) => feed.decoder().symbols(),
            Self::Mdp3(feed) => feed.decoder().symbols(),
            Self::File(feed) => feed.decoder().symbols(),
        }
    }

    /// What every decoder counts.
    #[must_use]
    pub fn counts(&self) -> FeedCounts {
        match self {
            Self::Mold(feed) => feed.decoder().counters().counts(),
            Self::Mdp3(feed) => feed.decoder().counters().counts(),
            Self::File(feed) => feed.decoder().counters().counts(),
        }
    }

    /// Code, title and count of each kind of message that the feed's protocol has.
    #[must_use]
    pub fn messages(&self) -> Vec<(String, &'static str, u64)> {
        match self {
            Self::Mold(feed) => itch_messages(feed.decoder()),
            Self::Mdp3(feed) => mdp3_messages(feed.decoder()),
            Self::File(feed) => itch_messages(feed.decoder()),
        }
    }

    /// The message refused last, in words.
    #[must_use]
    pub fn malformed_last(&self) -> Option<String> {
        let itch = |decoder: &Decoder| decoder.counters().malformed_last.as_ref().map(ToString::to_string);
        match self {
            Self::Mold(feed) => itch(feed.decoder()),
            Self::Mdp3(feed) => feed.decoder().counters().malformed_last.map(|template| {
                format!("message of template {template} is malformed: a block or a group does not fit")
            }),
            Self::File(feed) => itch(feed.decoder()),
        }
    }

    /// Line statistics, gaps and losses, where there are packets.
    #[must_use]
    pub fn arbiter(&self) -> Option<&Arbiter> {
        match self {
            Self::Mold(feed) => Some(feed.arbiter()),
            Self::Mdp3(feed) => Some(feed.arbiter()),
            Self::File(_) => None,
        }
    }
}

/// Code, title and count of each kind of message of ITCH 5.0.
#[must_use]
pub fn itch_messages(decoder: &Decoder) -> Vec<(String, &'static str, u64)> {
    let row = |kind: &MessageType| {
        (char::from(kind.code()).to_string(), kind.title(), decoder.counters().message_count_of(*kind))
    };
    MessageType::ALL.iter().map(row).collect()
}

fn mdp3_messages(decoder: &Mdp3Decoder) -> Vec<(String, &'static str, u64)> {
    let row = |(template, title): &(u16, &'static str)| {
        (template.to_string(), *title, decoder.counters().message_count_of(*template))
    };
    template::TITLES.iter().map(row).collect()
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
        let full = |DirectoryFull| InputError::Directory(plan.symbol_count_max);
        let itch = || -> Result<Decoder, InputError> {
            let mut decoder = Decoder::new(session.midnight, plan.symbol_count_max);
            symbols.iter().try_for_each(|symbol| decoder.register(*symbol).map(|_| ()).map_err(full))?;
            Ok(decoder)
        };
        let recorded = source.recorded().map(|feed| (feed, Recovery::new(feed.recovery_config(), feed.line_count)));
        let is_packets = source.format() != Carrier::Itch;
        if !is_packets && plan.files.len() > 1 {
            return Err(InputError::RawFiles(plan.files.len()));
        }
        if is_packets && recorded.is_none() && plan.files.len() > LINE_COUNT_MAX {
            return Err(InputError::Lines(plan.files.len()));
        }
        let config = ArbiterConfig {
            line_count: u8::try_from(plan.files.len().max(1)).unwrap_or(u8::MAX),
            reorder_window_ns: plan.reorder_window,
            is_sequence_checked: plan.is_sequence_checked,
            join: JoinPolicy::AtFirstPacket,
            ..ArbiterConfig::default()
        };
        let feed = match (source.format(), source.recorded()) {
            (Carrier::Itch, _) => Feed::File(Box::new(FileFeed::new(itch()?))),
            (Carrier::MoldUdp64, Some(recorded)) => {
                let feed = MoldFeed::new(recorded.arbiter_config(), itch()?)?;
                Feed::Mold(Box::new(feed.with_recovery_line(recorded.retransmission_line())))
            }
            (Carrier::MoldUdp64, None) => Feed::Mold(Box::new(MoldFeed::new(config, itch()?)?)),
            (Carrier::Mdp3, recorded) => {
                let config = recorded.map_or(config, |recorded| recorded.arbiter_config());
                let mut decoder = Mdp3Decoder::new(Mdp3Config {
                    instrument_count_max: plan.symbol_count_max,
                    order_count_max: MDP3_ORDER_COUNT_MAX,
                    depth: plan.mdp3.depth,
                });
                symbols.iter().try_for_each(|symbol| decoder.register(*symbol).map(|_| ()).map_err(full))?;
                plan.mdp3.instruments.iter().try_for_each(|known| decoder.know(known).map(|_| ()).map_err(full))?;
                Feed::Mdp3(Box::new(Mdp3Feed::new(config, decoder)?))
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
            Feed::Mdp3(feed) => {
                let line = LineId(packet.line.0);
                while feed.on_packet(line, packet.bytes, packet.recv_time, out).is_err() {}
            }
            Feed::File(feed) => while feed.on_message(packet.bytes, None, out).is_err() {},
        }
        Ok(true)
    }

    /// The input has ended: what still waits for missing messages is given up.
    pub fn finish(&mut self, out: &mut impl Sink<MarketEvent>) {
        let late = self.last_time.plus(Nanos::from_secs(1));
        match &mut self.feed {
            Feed::Mold(feed) => while feed.on_time(late, out).is_err() {},
            Feed::Mdp3(feed) => while feed.on_time(late, out).is_err() {},
            Feed::File(_) => {}
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

/// Opens files as one merged source, for commands that need no feed.
///
/// # Errors
/// [`SourceError`] with file and offset.
pub fn open_merged(plan: &InputPlan) -> Result<Merge, SourceError> {
    let options = OpenOptions { date: plan.date, zone: plan.zone.clone(), ..OpenOptions::default() };
    open_all(&plan.files, &options)
}
