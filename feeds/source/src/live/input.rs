//! The input of a live session: lines, recovery, the feed stage that reads them, and market events out.

use std::fmt;
use std::io;

use jiff::civil::Date;
use peregrine_types::{EpochNanos, MarketEvent, Nanos, Sink, Symbol};
use peregrine_wire::arbiter::LINE_COUNT_MAX;
use peregrine_wire::itch50::Decoder;
use peregrine_wire::{ArbiterConfig, ArbiterConfigError, MoldFeed, Recovery, RecoveryCounters};

use super::lanes::wall;
use super::packet_ring::{PacketRingSource, RingOptions};
use super::recorder::{Places, Recorded, Recorder, RecorderPlan, RecorderReport};
use super::recovery::{Helpers, RecoveryPlan};
use super::socket::{LineAddress, SocketFacts, SocketOptions};
use super::udp::UdpSource;
use super::xdp::{XdpOptions, XdpSource};
use super::{LineCounters, LiveSource};
use crate::session::{NASDAQ_ZONE, date_of, session_of};
use crate::{RecordedFeed, RecordedRecovery, Session, SourceError};

/// By what the lines are received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceKind {
    /// UDP sockets.
    #[default]
    Udp,
    /// AF_PACKET rings; `LivePlan::lines` must name the address of an interface.
    PacketRing(RingOptions),
    /// AF_XDP sockets; `LivePlan::lines` must name the address of an interface.
    Xdp(XdpOptions),
}

/// What is to be received, and how.
#[derive(Clone, Debug)]
pub struct LivePlan {
    /// Where the lines arrive: A, B, …, 1 to [`LINE_COUNT_MAX`], one less with retransmission.
    pub lines: Vec<LineAddress>,
    /// By what they are received.
    pub source: SourceKind,
    /// Whether they are received by UDP sockets when rings, or AF_XDP sockets, cannot be opened; else that is an error.
    pub has_fallback: bool,
    /// How their sockets are opened.
    pub socket: SocketOptions,
    /// Time zone of the venue.
    pub zone: String,
    /// The session's date; without one, today's in the venue's zone.
    pub date: Option<Date>,
    /// Symbols that the session can announce.
    pub symbol_count_max: u32,
    /// How long a packet past a gap waits for the missing ones, where no snapshot can take their place. With
    /// retransmission at least as long as all requests take.
    pub reorder_window: Nanos,
    /// How many packets past a gap can wait.
    pub held_packet_count_max: u16,
    /// Who helps when every line has lost something.
    pub recovery: Option<RecoveryPlan>,
    /// Where everything that arrives is recorded.
    pub recorder: Option<RecorderPlan>,
}

impl LivePlan {
    /// Lines with the settings that suit most: UDP sockets, Nasdaq's zone, today, 2 ms and 4,096 packets to wait, no fallback,
    /// no recovery, no recording.
    #[must_use]
    pub fn new(lines: Vec<LineAddress>, symbol_count_max: u32) -> Self {
        Self {
            lines,
            source: SourceKind::Udp,
            has_fallback: false,
            socket: SocketOptions::default(),
            zone: NASDAQ_ZONE.to_owned(),
            date: None,
            symbol_count_max,
            reorder_window: Nanos::from_millis(2),
            held_packet_count_max: 4_096,
            recovery: None,
            recorder: None,
        }
    }

    /// Opens what the lines are received by; if that is not what was wished for, with the words of who refused it.
    fn open_source(&self, session: Session) -> Result<(Box<dyn LiveSource>, Option<String>), SourceError> {
        let (lines, session) = (&self.lines, Some(session));
        let udp = || boxed(UdpSource::open(lines, &self.socket, session));
        let opened = match &self.source {
            SourceKind::Udp => return Ok((udp()?, None)),
            SourceKind::PacketRing(options) => boxed(PacketRingSource::open(lines, options, session)),
            SourceKind::Xdp(options) => boxed(XdpSource::open(lines, options, session)),
        };
        match opened {
            Err(error) if self.has_fallback => Ok((udp()?, Some(error.to_string()))),
            opened => Ok((opened?, None)),
        }
    }

    /// The feed as a recording describes it.
    fn recorded(&self, line_count: u8) -> RecordedFeed {
        let has = |is: fn(&RecoveryPlan) -> bool| self.recovery.as_ref().is_some_and(is);
        let recovery = RecordedRecovery {
            has_retransmission: has(|plan| !plan.servers.is_empty()),
            has_snapshot: has(|plan| plan.snapshot.is_some()),
        };
        let asking = self.recovery.as_ref().map_or(Nanos::ZERO, |plan| {
            let tries = i64::from(plan.config.request_count_max);
            let requests = plan.config.request_timeout.0.saturating_mul(tries);
            Nanos(plan.config.request_delay.0.saturating_add(requests))
        });
        RecordedFeed {
            line_count,
            reorder_window: self.reorder_window.max(asking),
            held_packet_count_max: self.held_packet_count_max,
            packet_len_max: u16::try_from(self.socket.payload_len_max).unwrap_or(u16::MAX),
            is_from_start: true,
            recovery,
        }
    }
}

fn boxed<S: LiveSource + 'static>(opened: Result<S, SourceError>) -> Result<Box<dyn LiveSource>, SourceError> {
    Ok(Box::new(opened?))
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
    #[error("{0} lines are given, one feed has 1 to {LINE_COUNT_MAX}, one less with retransmission")]
    Lines(usize),
    /// The recording cannot be begun.
    #[error("cannot record ({}): {source}: check that the folder exists and can be written", path.display())]
    Recorder {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
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
    /// Packets of the lines.
    pub packet_count: u64,
    /// Datagrams that the kernel dropped because nobody read them in time, on all lines and of the servers' answers.
    pub kernel_drop_count: u64,
    /// Datagrams dropped because they are longer than the slots, on all lines and of the servers' answers.
    pub oversize_count: u64,
    /// Frames dropped because a length or a checksum in their headers is wrong.
    pub damaged_count: u64,
    /// Packets whose time stamp lay before one given out earlier; it was raised to that one.
    pub backward_step_count: u64,
    /// What recovery did.
    pub recovery: RecoveryCounters,
    /// Datagrams at the retransmission socket from somebody who is no server.
    pub stranger_count: u64,
    /// Packets that the recording lacks because its ring was full.
    pub unrecorded_count: u64,
}

/// What every packet passes on its way to a stage: its time is raised to the last one's, and it is recorded.
pub(super) struct Gate {
    pub(super) recorder: Option<Recorder>,
    pub(super) places: Places,
    pub(super) last_time: EpochNanos,
    pub(super) last_offset: u64,
    pub(super) backward_step_count: u64,
}

impl Gate {
    /// The receive time under which the packet is to be taken.
    pub(super) fn pass(&mut self, packet: &Recorded<'_>) -> EpochNanos {
        self.backward_step_count =
            self.backward_step_count.saturating_add(u64::from(packet.recv_time < self.last_time));
        self.last_time = self.last_time.max(packet.recv_time);
        self.last_offset = self.places.place(packet.payload.len());
        if let Some(recorder) = &mut self.recorder {
            // A full ring is counted there.
            let _: bool = recorder.record(&Recorded { recv_time: self.last_time, ..*packet });
        }
        self.last_time
    }
}

/// Lines and the feed stage behind them: see the module. One thread calls [`LiveInput::step`] over and over.
pub struct LiveInput {
    source: Box<dyn LiveSource>,
    /// Why it is not what was wished for.
    refused: Option<String>,
    lines: Vec<LineAddress>,
    feed: MoldFeed,
    helpers: Option<Helpers>,
    is_helpers_turn: bool,
    session: Session,
    gate: Gate,
    /// The clock of the last step that took a packet of a line; of the first step while none did.
    heard: Option<EpochNanos>,
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
        let line_count = u8::try_from(plan.lines.len()).ok().filter(|count| *count > 0);
        let line_count = line_count.ok_or(LiveInputError::Lines(plan.lines.len()))?;
        let recorded = plan.recorded(line_count);
        let config = ArbiterConfig { ..recorded.arbiter_config() };
        if usize::from(config.line_count) > LINE_COUNT_MAX {
            return Err(LiveInputError::Lines(plan.lines.len()));
        }
        let today = || date_of(wall(), &plan.zone).unwrap_or_default();
        let session = session_of(plan.date.unwrap_or_else(today), &plan.zone)?;
        let mut decoder = Decoder::new(session.midnight, plan.symbol_count_max);
        for symbol in symbols {
            decoder.register(*symbol).map_err(|_| LiveInputError::Directory(plan.symbol_count_max))?;
        }
        let feed = MoldFeed::new(config, decoder)?.with_recovery_line(recorded.retransmission_line());
        let (source, refused) = plan.open_source(session)?;
        let helpers = plan.recovery.as_ref().map(|plan| Helpers::open(plan, &recorded)).transpose()?;
        let open = |to: &RecorderPlan| {
            Recorder::open(to, &recorded).map_err(|source| LiveInputError::Recorder { path: to.path.clone(), source })
        };
        let gate = Gate {
            recorder: plan.recorder.as_ref().map(open).transpose()?,
            places: Places::new(&recorded),
            last_time: EpochNanos::MIN,
            last_offset: 0,
            backward_step_count: 0,
        };
        let facts = source.facts();
        let local = |(facts, line): (&SocketFacts, &LineAddress)| LineAddress { destination: facts.local, ..*line };
        let lines = facts.iter().zip(&plan.lines).map(local).collect();
        Ok(Self { lines, source, refused, feed, helpers, is_helpers_turn: false, session, gate, heard: None })
    }

    /// Takes one packet of what waits, if anything does, recovers what every line lost, and hands the events out.
    /// What becomes of a packet depends on packets and their receive times alone; `now`, a moment of a clock that is never
    /// set (only spans of it matter), says only when something is asked for, or has taken too long.
    ///
    /// The sink should take every event. One that refuses is asked again until it takes: the kernel's buffer keeps what
    /// comes meanwhile, and what does not fit there is a gap, counted and recovered like any other.
    ///
    /// # Errors
    /// [`SourceError::Receive`] when a socket broke.
    pub fn step(&mut self, now: EpochNanos, out: &mut impl Sink<MarketEvent>) -> Result<LiveStep, SourceError> {
        if self.source.has_ended() {
            return Ok(LiveStep::Ended);
        }
        // In turns, so that answers are not kept waiting by lines that never pause.
        self.is_helpers_turn = !self.is_helpers_turn;
        let is_helpers_turn = self.is_helpers_turn;
        let has_line = !is_helpers_turn && self.take_line(now, out)?;
        let has_worked = has_line || self.take_help(now, out)? || (is_helpers_turn && self.take_line(now, out)?);
        self.heard.get_or_insert(now);
        Ok(if has_worked { LiveStep::Worked } else { LiveStep::Idle })
    }

    /// Takes the next packet of those who help, and asks them; `false` when none waits.
    fn take_help(&mut self, now: EpochNanos, out: &mut impl Sink<MarketEvent>) -> Result<bool, SourceError> {
        let Some(helpers) = &mut self.helpers else { return Ok(false) };
        helpers.step(&mut self.feed, &mut self.gate, now, out)
    }

    /// Takes the next packet of the lines; `false` when none waits.
    fn take_line(&mut self, now: EpochNanos, out: &mut impl Sink<MarketEvent>) -> Result<bool, SourceError> {
        if !self.source.advance()? {
            return Ok(false);
        }
        self.heard = Some(now);
        let Some(packet) = self.source.current() else { return Ok(false) };
        let line = self.lines.get(usize::from(packet.line.0));
        let to = line.map_or(super::NOWHERE, |line| line.destination);
        let from = self.source.sender().unwrap_or(super::NOWHERE);
        let (interface, recv_time, payload) = (packet.line.0, packet.recv_time, packet.bytes);
        let recv_time = self.gate.pass(&Recorded { interface, recv_time, from, to, payload });
        while self.feed.on_packet(packet.line, payload, recv_time, out).is_err() {}
        Ok(true)
    }

    /// Closes the input: what still waits for missing messages is given up, as at the end of a file. Gives what was
    /// recorded, if anything was to be.
    ///
    /// # Errors
    /// What the system said when the recording could not be written.
    pub fn close(&mut self, out: &mut impl Sink<MarketEvent>) -> io::Result<Option<RecorderReport>> {
        self.close_lines(out);
        self.finish_recording()
    }

    /// The part of [`LiveInput::close`] that waits for nothing: no packet is taken any more.
    pub fn close_lines(&mut self, out: &mut impl Sink<MarketEvent>) {
        if !self.source.has_ended() {
            self.source.close();
            let late = self.gate.last_time.plus(Nanos::from_secs(1));
            while self.feed.on_time(late, out).is_err() {}
        }
    }

    /// The part of [`LiveInput::close`] that waits for the disk.
    ///
    /// # Errors
    /// What the system said when the recording could not be written.
    pub fn finish_recording(&mut self) -> io::Result<Option<RecorderReport>> {
        self.gate.recorder.take().map(Recorder::finish).transpose()
    }

    /// Where what arrives is recorded, until the recording is finished.
    #[must_use]
    pub const fn recorder(&self) -> Option<&Recorder> {
        self.gate.recorder.as_ref()
    }

    /// The feed stage.
    #[must_use]
    pub const fn feed(&self) -> &MoldFeed {
        &self.feed
    }

    /// The recovery stage, if there is one.
    #[must_use]
    pub fn recovery(&self) -> Option<&Recovery> {
        self.helpers.as_ref().map(Helpers::stage)
    }

    /// The session's day.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.session
    }

    /// Where the last packet's payload stands in a recording that is one file, whether it is recorded or not: a replay of
    /// the recording says the same.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.gate.last_offset
    }

    /// The receive time under which the last packet was taken, [`EpochNanos::MIN`] before the first one. It never decreases:
    /// behind a step back of the clock that stamps it stays where it is.
    #[must_use]
    pub const fn last_time(&self) -> EpochNanos {
        self.gate.last_time
    }

    /// How long every line has been silent at `now`, by the clock that the steps were given: since the last step that took
    /// a packet of a line, heartbeats and packets that are no good included, or since the first step while none did. Zero
    /// before the first step, and for a `now` that lies before it.
    ///
    /// Lines send heartbeats every second when they have nothing else to say, so that two or three seconds without any
    /// packet mean that the feed is down: the books are as they were, no gap is open, and they must not be traded on. No
    /// event comes of the silence: it would depend on a clock, and a recording would not give it again.
    #[must_use]
    pub fn silent_for(&self, now: EpochNanos) -> Nanos {
        self.heard.map_or(Nanos::ZERO, |heard| now.since(heard).max(Nanos::ZERO))
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> LiveCounters {
        let start = LiveCounters {
            packet_count: self.source.statistics().packet_count,
            backward_step_count: self
                .gate
                .backward_step_count
                .saturating_add(self.source.statistics().backward_step_count),
            recovery: self.recovery().map(|recovery| *recovery.counters()).unwrap_or_default(),
            stranger_count: self.helpers.as_ref().map_or(0, Helpers::stranger_count),
            unrecorded_count: self.gate.recorder.as_ref().map_or(0, Recorder::dropped_count),
            ..LiveCounters::default()
        };
        let answers = self.helpers.as_ref().map(Helpers::line_counters).unwrap_or_default();
        self.source.line_counters().iter().chain(&answers).fold(start, |sum, line| LiveCounters {
            kernel_drop_count: sum.kernel_drop_count.saturating_add(line.kernel_drop_count),
            oversize_count: sum.oversize_count.saturating_add(line.oversize_count),
            damaged_count: sum.damaged_count.saturating_add(line.damaged_count),
            ..sum
        })
    }

    /// What each line's socket did. Allocates: for reports.
    #[must_use]
    pub fn line_counters(&self) -> Vec<LineCounters> {
        self.source.line_counters()
    }

    /// What the system granted to each line. Allocates: for reports.
    #[must_use]
    pub fn facts(&self) -> Vec<SocketFacts> {
        self.source.facts()
    }

    /// Why the lines are received by UDP sockets instead of what was wished for; `None` when they are not.
    #[must_use]
    pub fn fallback(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}
