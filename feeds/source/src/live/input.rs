//! The input of a live session: lines, the feed stage that reads them, and market events out.

use std::fmt;

use jiff::civil::Date;
use peregrine_types::{EpochNanos, MarketEvent, Nanos, Sink, Symbol};
use peregrine_wire::arbiter::LINE_COUNT_MAX;
use peregrine_wire::itch50::Decoder;
use peregrine_wire::{ArbiterConfig, ArbiterConfigError, JoinPolicy, MoldFeed};

use super::socket::{LineAddress, SocketFacts, SocketOptions};
use super::udp::{LineCounters, UdpSource, wall};
use crate::session::{NASDAQ_ZONE, date_of, session_of};
use crate::{Session, Source, SourceError};

/// Packets that one step takes, at most.
const PACKETS_PER_STEP_MAX: usize = 64;

/// What is to be received, and how.
#[derive(Clone, Debug)]
pub struct LivePlan {
    /// Where the lines arrive: A, B, …, 1 to [`LINE_COUNT_MAX`].
    pub lines: Vec<LineAddress>,
    /// How their sockets are opened.
    pub socket: SocketOptions,
    /// Time zone of the venue.
    pub zone: String,
    /// The session's date; without one, today's in the venue's zone.
    pub date: Option<Date>,
    /// Symbols that the session can announce.
    pub symbol_count_max: u32,
    /// How long a packet past a gap waits for the missing ones.
    pub reorder_window: Nanos,
    /// How many packets past a gap can wait.
    pub held_packet_count_max: u16,
}

impl LivePlan {
    /// Lines with the settings that suit most: Nasdaq's zone, today, 2 ms and 4,096 packets to wait.
    #[must_use]
    pub fn new(lines: Vec<LineAddress>, symbol_count_max: u32) -> Self {
        Self {
            lines,
            socket: SocketOptions::default(),
            zone: NASDAQ_ZONE.to_owned(),
            date: None,
            symbol_count_max,
            reorder_window: Nanos::from_millis(2),
            held_packet_count_max: 4_096,
        }
    }
}

/// Why a live input cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LiveInputError {
    /// A socket could not be opened, or the day is unknown.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The arbiter refused its configuration.
    #[error("the feed cannot be built: {0}")]
    Arbiter(#[from] ArbiterConfigError),
    /// A symbol of the configuration has no room.
    #[error("the symbol directory has room for {0} symbols only: raise feed.symbol_count_max")]
    Directory(u32),
    /// No line, or more than a feed can have.
    #[error("{0} lines are given, one feed has 1 to {LINE_COUNT_MAX}")]
    Lines(usize),
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveStep {
    /// Something came.
    Worked,
    /// Nothing waits now.
    Idle,
    /// The input was closed.
    Ended,
}

/// What a live input counted, beside the statistics of its feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveCounters {
    /// Packets taken.
    pub packet_count: u64,
    /// Datagrams that the kernel dropped on all lines because nobody read them in time.
    pub kernel_drop_count: u64,
    /// Datagrams dropped because they are longer than the slots.
    pub oversize_count: u64,
    /// Packets whose time stamp lay before one given out earlier; it was raised to that one.
    pub backward_step_count: u64,
}

/// Lines and the feed stage behind them: see the module. One thread calls [`LiveInput::step`] over and over.
pub struct LiveInput {
    source: UdpSource,
    feed: MoldFeed,
    session: Session,
    last_time: EpochNanos,
    last_offset: u64,
}

impl fmt::Debug for LiveInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveInput").field("session", &self.session).finish_non_exhaustive()
    }
}

impl LiveInput {
    /// Opens the sockets of `plan`; `symbols` get the first identifiers, in order. Takes all memory.
    ///
    /// # Errors
    /// [`LiveInputError`], naming what cannot be had and what to do.
    pub fn open(plan: &LivePlan, symbols: &[Symbol]) -> Result<Self, LiveInputError> {
        let line_count = plan.lines.len();
        let lines = u8::try_from(line_count).ok().filter(|count| (1..=LINE_COUNT_MAX).contains(&usize::from(*count)));
        let line_count = lines.ok_or(LiveInputError::Lines(line_count))?;
        let today = || date_of(wall(), &plan.zone).unwrap_or_default();
        let session = session_of(plan.date.unwrap_or_else(today), &plan.zone)?;
        let mut decoder = Decoder::new(session.midnight, plan.symbol_count_max);
        for symbol in symbols {
            decoder.register(*symbol).map_err(|_| LiveInputError::Directory(plan.symbol_count_max))?;
        }
        let config = ArbiterConfig {
            line_count,
            reorder_window_ns: plan.reorder_window,
            held_packet_count_max: plan.held_packet_count_max,
            packet_len_max: u16::try_from(plan.socket.payload_len_max).unwrap_or(u16::MAX),
            join: JoinPolicy::FromStart,
            ..ArbiterConfig::default()
        };
        let feed = MoldFeed::new(config, decoder)?;
        let source = UdpSource::open(&plan.lines, &plan.socket, Some(session))?;
        Ok(Self { source, feed, session, last_time: EpochNanos::MIN, last_offset: 0 })
    }

    /// Receives what waits, at most a fixed number of packets, and hands the events out. What becomes of a packet depends
    /// on packets and their receive times alone; `now`, a moment of the receive clock, is for time-outs of requests.
    ///
    /// The sink should take every event. One that refuses is asked again until it takes: the kernel's buffer keeps what
    /// comes meanwhile, and what does not fit there is a gap, counted and recovered like any other.
    ///
    /// # Errors
    /// [`SourceError::Receive`] when a socket broke.
    pub fn step(&mut self, now: EpochNanos, out: &mut impl Sink<MarketEvent>) -> Result<LiveStep, SourceError> {
        let _: EpochNanos = now;
        let mut step = LiveStep::Idle;
        for _ in 0..PACKETS_PER_STEP_MAX {
            let Some(packet) = self.source.poll()? else { break };
            (self.last_offset, self.last_time) = (packet.offset, packet.recv_time);
            while self.feed.on_packet(packet.line, packet.bytes, packet.recv_time, out).is_err() {}
            step = LiveStep::Worked;
        }
        Ok(if self.source.has_ended() { LiveStep::Ended } else { step })
    }

    /// Closes the input: what still waits for missing messages is given up, as at the end of a file.
    pub fn close(&mut self, out: &mut impl Sink<MarketEvent>) {
        if !self.source.has_ended() {
            self.source.close();
            let late = self.last_time.plus(Nanos::from_secs(1));
            while self.feed.on_time(late, out).is_err() {}
        }
    }

    /// The feed stage.
    #[must_use]
    pub const fn feed(&self) -> &MoldFeed {
        &self.feed
    }

    /// The session's day.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.session
    }

    /// How many payload bytes had come before the last packet: what stands for an offset in the input.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.last_offset
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> LiveCounters {
        let statistics = self.source.statistics();
        let start = LiveCounters {
            packet_count: statistics.packet_count,
            backward_step_count: statistics.backward_step_count,
            ..LiveCounters::default()
        };
        self.source.line_counters().fold(start, |sum, line| LiveCounters {
            kernel_drop_count: sum.kernel_drop_count.saturating_add(line.kernel_drop_count),
            oversize_count: sum.oversize_count.saturating_add(line.oversize_count),
            ..sum
        })
    }

    /// What each line's socket did.
    pub fn line_counters(&self) -> impl Iterator<Item = &LineCounters> {
        self.source.line_counters()
    }

    /// What the system granted to each line's socket.
    pub fn facts(&self) -> impl Iterator<Item = &SocketFacts> {
        self.source.facts()
    }
}
