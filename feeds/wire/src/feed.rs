//! The stages that turn received bytes into market events: [`MoldFeed`] for packets of ITCH 5.0, [`Mdp3Feed`] for those of
//! MDP 3.0, [`FileFeed`] for raw messages.
//!
//! **A sink that is full** (replay waits for room, see the written policy of the ring): every stage returns [`Full`]
//! without losing or repeating anything. The caller makes room and calls again with the same bytes.

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Qty, Sink, SymbolId};

use crate::arbiter::{Arbiter, ArbiterConfig, ArbiterConfigError, Deliver, Framing, LineId};
use crate::gap::Notice;
use crate::itch50::{Decoded, Decoder};
use crate::mdp3::Mdp3Decoder;

/// `detail` of a `GapStart` event that only announces: the messages may still come.
pub const GAP_DETECTED: u8 = 0;
/// `detail` of a `GapStart` event whose messages were given up: no `GapEnd` follows in this session.
pub const GAP_LOST: u8 = 1;
/// `detail` of a `GapStart` event whose messages came, in copies that differ, and of the `GapEnd` event that follows once
/// that is settled.
pub const GAP_DIFFERS: u8 = 2;

/// What every decoder counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounts {
    /// Messages taken.
    pub message_count: u64,
    /// Messages refused as malformed.
    pub malformed_count: u64,
    /// Messages of types that the protocol does not know, or that are not read.
    pub unknown_count: u64,
    /// Messages dropped because the symbol directory was full.
    pub directory_full_count: u64,
    /// Receive times that lay before an earlier one and were raised to it.
    pub recv_time_backward_count: u64,
}

/// From MoldUDP64 packets on several lines to market events.
#[derive(Clone, Debug)]
pub struct MoldFeed {
    pub(crate) arbiter: Arbiter,
    pub(crate) decoder: Decoder,
    /// The line of retransmitted packets.
    recovery_line: Option<LineId>,
}

/// From MDP 3.0 packets on several lines to market events.
#[derive(Clone, Debug)]
pub struct Mdp3Feed {
    arbiter: Arbiter,
    decoder: Mdp3Decoder,
}

/// From raw messages to market events.
#[derive(Clone, Debug)]
pub struct FileFeed {
    decoder: Decoder,
}

impl MoldFeed {
    /// A feed that has heard nothing yet.
    ///
    /// # Errors
    /// [`ArbiterConfigError`] naming the impossible value.
    pub fn new(config: ArbiterConfig, decoder: Decoder) -> Result<Self, ArbiterConfigError> {
        Ok(Self { arbiter: Arbiter::new(config)?, decoder, recovery_line: None })
    }

    /// Marks the events of what comes on `line` as recovered. While it brings what is missing next, within the window,
    /// nothing is given up.
    #[must_use]
    pub const fn with_recovery_line(mut self, line: LineId) -> Self {
        self.recovery_line = Some(line);
        self.arbiter.set_recovery_line(line);
        self
    }

    /// Takes the UDP payload of one packet received on `line` at `recv_time`. Everything that this packet makes
    /// deliverable carries its receive time, packets that waited included: that is when it could first be known.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: call again with the same packet before any other.
    pub fn on_packet(
        &mut self,
        line: LineId,
        payload: &[u8],
        recv_time: EpochNanos,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<(), Full<()>> {
        let now =
            if self.arbiter.is_retry_due() { self.decoder.latest(recv_time) } else { self.decoder.stamp(recv_time) };
        let Self { arbiter, decoder, recovery_line } = self;
        arbiter.on_packet(line, payload, now, &mut Wire { decoder, recovery_line: *recovery_line, now, out })
    }

    /// Lets time pass while no packet comes, so that what is missing for too long is given up.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: call again.
    pub fn on_time(&mut self, now: EpochNanos, out: &mut impl Sink<MarketEvent>) -> Result<(), Full<()>> {
        let now = self.decoder.latest(now);
        let Self { arbiter, decoder, recovery_line } = self;
        arbiter.on_time(now, &mut Wire { decoder, recovery_line: *recovery_line, now, out })
    }

    /// Delivers what waits behind a snapshot, as of `now`.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: call again.
    pub(crate) fn settle(&mut self, now: EpochNanos, out: &mut impl Sink<MarketEvent>) -> Result<(), Full<()>> {
        let now = self.decoder.latest(now);
        let Self { arbiter, decoder, recovery_line } = self;
        arbiter.settle(&mut Wire { decoder, recovery_line: *recovery_line, now, out })
    }

    /// Line statistics, gaps and losses.
    #[must_use]
    pub const fn arbiter(&self) -> &Arbiter {
        &self.arbiter
    }

    /// Symbols and message counters.
    #[must_use]
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The decoder, to register symbols or begin a day.
    pub const fn decoder_mut(&mut self) -> &mut Decoder {
        &mut self.decoder
    }
}

impl Mdp3Feed {
    /// A feed that has heard nothing yet; its framing is [`Framing::Mdp3`] whatever `config` says.
    ///
    /// # Errors
    /// [`ArbiterConfigError`] naming the impossible value.
    pub fn new(config: ArbiterConfig, decoder: Mdp3Decoder) -> Result<Self, ArbiterConfigError> {
        let config = ArbiterConfig { framing: Framing::Mdp3, ..config };
        Ok(Self { arbiter: Arbiter::new(config)?, decoder })
    }

    /// Takes the UDP payload of one packet received on `line` at `recv_time`, as [`MoldFeed::on_packet`] does.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: call again with the same packet before any other.
    pub fn on_packet(
        &mut self,
        line: LineId,
        payload: &[u8],
        recv_time: EpochNanos,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<(), Full<()>> {
        let now =
            if self.arbiter.is_retry_due() { self.decoder.latest(recv_time) } else { self.decoder.stamp(recv_time) };
        let Self { arbiter, decoder } = self;
        arbiter.on_packet(line, payload, now, &mut Mdp3Wire { decoder, now, out })
    }

    /// Lets time pass while no packet comes, so that what is missing for too long is given up.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: call again.
    pub fn on_time(&mut self, now: EpochNanos, out: &mut impl Sink<MarketEvent>) -> Result<(), Full<()>> {
        let now = self.decoder.latest(now);
        let Self { arbiter, decoder } = self;
        arbiter.on_time(now, &mut Mdp3Wire { decoder, now, out })
    }

    /// Line statistics, gaps and losses.
    #[must_use]
    pub const fn arbiter(&self) -> &Arbiter {
        &self.arbiter
    }

    /// Symbols and counters.
    #[must_use]
    pub const fn decoder(&self) -> &Mdp3Decoder {
        &self.decoder
    }
}

impl FileFeed {
    /// A feed that has read nothing yet.
    #[must_use]
    pub const fn new(decoder: Decoder) -> Self {
        Self { decoder }
    }

    /// Takes one message received at `recv_time`, or without a receive time (raw files have none): then its own time
    /// stands for it and the event says so.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: call again with the same message.
    #[inline]
    pub fn on_message(
        &mut self,
        message: &[u8],
        recv_time: Option<EpochNanos>,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<Decoded, Full<()>> {
        match recv_time {
            Some(recv_time) => self.decoder.decode(message, recv_time, EventFlags::NONE, out),
            None => self.decoder.decode(message, EpochNanos::MIN, EventFlags::RECV_TIME_SYNTHETIC, out),
        }
    }

    /// Symbols and message counters.
    #[must_use]
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The decoder, to register symbols or begin a day.
    pub const fn decoder_mut(&mut self) -> &mut Decoder {
        &mut self.decoder
    }
}

/// Joins arbiter, decoder and sink for the length of one call.
struct Wire<'a, S> {
    decoder: &'a mut Decoder,
    recovery_line: Option<LineId>,
    now: EpochNanos,
    out: &'a mut S,
}

impl<S: Sink<MarketEvent>> Deliver for Wire<'_, S> {
    #[inline]
    fn message(&mut self, message: &[u8], line: LineId) -> Result<(), Full<()>> {
        let flags = if self.recovery_line == Some(line) { EventFlags::RECOVERED } else { flags_of(line) };
        self.decoder.decode(message, self.now, flags, self.out).map(|_| ())
    }

    fn notice(&mut self, notice: Notice) -> Result<(), Full<()>> {
        self.out.push(notice_event(&notice, self.now)).map_err(|_| Full(()))?;
        if matches!(notice, Notice::SessionStarted { .. }) {
            self.decoder.begin_session();
        }
        Ok(())
    }
}

/// Joins arbiter, decoder of MDP 3.0 and sink for the length of one call.
struct Mdp3Wire<'a, S> {
    decoder: &'a mut Mdp3Decoder,
    now: EpochNanos,
    out: &'a mut S,
}

impl<S: Sink<MarketEvent>> Deliver for Mdp3Wire<'_, S> {
    #[inline]
    fn message(&mut self, message: &[u8], line: LineId) -> Result<(), Full<()>> {
        self.decoder.decode(message, self.now, flags_of(line), self.out)
    }

    fn notice(&mut self, notice: Notice) -> Result<(), Full<()>> {
        self.out.push(notice_event(&notice, self.now)).map_err(|_| Full(()))?;
        if matches!(notice, Notice::SessionStarted { .. }) {
            self.decoder.begin_session();
        }
        Ok(())
    }
}

/// What an event says about the line that brought it.
#[inline]
fn flags_of(line: LineId) -> EventFlags {
    if line == LineId::A { EventFlags::NONE } else { EventFlags::FROM_LINE_B }
}

/// The event of a notice, at `now` by our clock: the venue stamps none of them.
fn notice_event(notice: &Notice, now: EpochNanos) -> MarketEvent {
    let of = |kind, id_a, id_b| MarketEvent { id_a, id_b, ..MarketEvent::new(kind, SymbolId::MARKET, now, now) };
    match *notice {
        Notice::SessionStarted { session, next_sequence_number } => MarketEvent {
            qty: Qty(session.last_two().into()),
            ..of(EventKind::SessionStart, session.first_eight(), next_sequence_number)
        },
        Notice::SessionEnded { session, next_sequence_number } => MarketEvent {
            qty: Qty(session.last_two().into()),
            ..of(EventKind::SessionEnd, session.first_eight(), next_sequence_number)
        },
        Notice::GapDetected(gap) => MarketEvent {
            qty: Qty(gap.message_count()),
            detail: GAP_DETECTED,
            ..of(EventKind::GapStart, gap.first_missing, gap.next_received)
        },
        Notice::GapLost(gap) => MarketEvent {
            qty: Qty(gap.message_count()),
            detail: GAP_LOST,
            ..of(EventKind::GapStart, gap.first_missing, gap.next_received)
        },
        Notice::CopiesDiffer(gap) => MarketEvent {
            qty: Qty(gap.message_count()),
            detail: GAP_DIFFERS,
            ..of(EventKind::GapStart, gap.first_missing, gap.next_received)
        },
        Notice::CopiesSettled(gap) => {
            MarketEvent { detail: GAP_DIFFERS, ..of(EventKind::GapEnd, gap.first_missing, gap.next_received) }
        }
        Notice::GapRecovered { gap, recovered_count } => {
            MarketEvent { qty: Qty(recovered_count), ..of(EventKind::GapEnd, gap.first_missing, gap.next_received) }
        }
    }
}
