//! Recovery of what every line lost: retransmission requests, and a snapshot where those do not help.
//!
//! A stage beside [`MoldFeed`], without sockets. The feed takes the lines' packets as ever; what comes from a
//! retransmission server goes through [`Recovery::on_reply`], what comes from the snapshot service through
//! [`Recovery::on_snapshot`]; [`Recovery::poll`] says what to ask, [`Recovery::wants_snapshot`] when to connect.
//!
//! - **What is delivered depends on packets and their receive times alone**, never on when somebody looked at a clock:
//!   the clock decides only what is asked, and when. A recording of everything that came gives the same events again.
//! - A run of missing messages is asked for once the other line had its time to bring it ([`RecoveryConfig::request_delay`]),
//!   from one server after the other, a bounded number of times. A request begins one message early, where that one is
//!   known, or reaches one further: a reply is believed only if a known message in it is the same. Replies of another
//!   session, with numbers that no line has spoken of, or without such a proof are counted and dropped.
//! - Where no proof can be had because nothing beside the run is known, the reply is believed if there is no snapshot
//!   service to ask instead.
//! - A snapshot (the venue's state as ITCH messages in numbered packets, and at the end the number of the feed's message to
//!   go on from: GLIMPSE 5.0) is taken in when a gap is open. `SnapshotStart` empties the books, the snapshot's messages
//!   follow, marked as recovered, then what waited from that number on. Whatever is missing there is a gap like any other.
//!   Books are stale from the gap's start to its end. Messages whose copies differ are recovered like missing ones.
//! - A new session ends every recovery.
//!
//! Sources: MoldUDP64 1.00 (request packet), GLIMPSE 5.0 (End of Snapshot), and practice for all times and counts.

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Nanos, Qty, Sink, SymbolId};

use crate::arbiter::{Arbiter, ArbiterConfig, LineId, LossPolicy, ResumeError, Vouch};
use crate::feed::MoldFeed;
use crate::gap::Gap;
use crate::itch50::Decoded;
use crate::moldudp64::{Packet, PacketKind, Request, Session};

/// Runs of missing messages that are asked for at the same time.
pub const RUN_COUNT_MAX: usize = 16;
/// Type of the message that ends a snapshot (GLIMPSE 5.0, End of Snapshot).
pub const END_OF_SNAPSHOT: u8 = b'G';
/// Length of that message: its type, and the number as twenty digits, padded with spaces on the left.
pub const END_OF_SNAPSHOT_LEN: usize = 21;

/// What a recovery is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryConfig {
    /// Retransmission servers, asked in turn; 0: none.
    pub server_count: u8,
    /// Messages of one request, at most; at least 1.
    pub request_message_count_max: u16,
    /// How long the lines have to bring what is missing before it is asked for.
    pub request_delay: Nanos,
    /// How long an answer may take before the next server is asked.
    pub request_timeout: Nanos,
    /// Requests without any progress before a run counts as not to be had.
    pub request_count_max: u8,
    /// A run longer than this is not asked for where there is a snapshot service.
    pub run_message_count_max: u64,
    /// Whether there is a snapshot service.
    pub has_snapshot: bool,
    /// How long after a snapshot that failed, or left a gap open, the next one is asked for.
    pub snapshot_delay: Nanos,
    /// Snapshots for one gap, at most; then the books stay stale until the session ends.
    pub snapshot_count_max: u32,
}

impl Default for RecoveryConfig {
    /// One server and a snapshot service: 1,024 messages a request, asked for after 2 ms, again after 50 ms, 4 times, runs
    /// of up to 65,536 messages; 16 snapshots half a second apart.
    fn default() -> Self {
        Self {
            server_count: 1,
            request_message_count_max: 1_024,
            request_delay: Nanos::from_millis(2),
            request_timeout: Nanos::from_millis(50),
            request_count_max: 4,
            run_message_count_max: 65_536,
            has_snapshot: true,
            snapshot_delay: Nanos::from_millis(500),
            snapshot_count_max: 16,
        }
    }
}

impl RecoveryConfig {
    /// The arbiter for `lines` with this recovery: one line more for what is retransmitted, and nothing given up where a
    /// snapshot can take its place.
    #[must_use]
    pub const fn arbiter(&self, lines: ArbiterConfig) -> ArbiterConfig {
        let line_count = if self.server_count > 0 { lines.line_count.saturating_add(1) } else { lines.line_count };
        ArbiterConfig {
            line_count,
            loss: if self.has_snapshot { LossPolicy::Keep } else { LossPolicy::GiveUp },
            ..lines
        }
    }

    /// Whether a run is left to the snapshot service from the begin.
    const fn is_beyond_requests(&self, gap: Gap) -> bool {
        self.server_count == 0 || (self.has_snapshot && gap.message_count() > self.run_message_count_max)
    }
}

/// What a recovery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryCounters {
    /// Requests sent.
    pub request_count: u64,
    /// Requests that brought nothing in time.
    pub timeout_count: u64,
    /// Runs given up after the last try.
    pub unanswered_count: u64,
    /// Replies believed.
    pub reply_count: u64,
    /// Replies whose bytes are no packet, or carry no message.
    pub reply_malformed_count: u64,
    /// Replies of another session.
    pub reply_session_count: u64,
    /// Replies with numbers that no line has spoken of.
    pub reply_number_count: u64,
    /// Replies with a message that differs from the one known under its number.
    pub reply_mismatch_count: u64,
    /// Replies without a message to prove them by, though one could be in them.
    pub reply_unproven_count: u64,
    /// Snapshots that were begun.
    pub snapshot_count: u64,
    /// Snapshots that took the place of what was missing.
    pub snapshot_done_count: u64,
    /// Messages in all of them.
    pub snapshot_message_count: u64,
    /// Snapshots older than what was delivered.
    pub snapshot_stale_count: u64,
    /// Snapshot packets dropped: of another session, out of their order, with a malformed message or an impossible end, or
    /// not needed.
    pub snapshot_refused_count: u64,
    /// Connections that failed before the end of a snapshot.
    pub snapshot_failed_count: u64,
    /// Connections closed because the lines brought what was missing before the snapshot began.
    pub snapshot_needless_count: u64,
}

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Given to the feed.
    Believed,
    /// No packet with messages.
    Malformed,
    /// Of another session.
    OtherSession,
    /// Of numbers that no line has spoken of.
    OtherNumbers,
    /// A message differs from the one known.
    Mismatch,
    /// Nothing in it is known.
    Unproven,
}

/// What became of a snapshot's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStep {
    /// Taken; more is to come.
    Taken,
    /// It was the last one: the feed goes on.
    Done,
    /// Dropped: the connection is to be closed.
    Refused,
}

/// A run that is asked for.
#[derive(Clone, Copy, Debug)]
struct Run {
    gap: Gap,
    seen: EpochNanos,
    sent: Option<EpochNanos>,
    request_count: u8,
    is_given_up: bool,
}

/// Where the snapshot stands that is being taken in.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Number of its next message, 0 while there is none.
    next: u64,
    /// Whether the last packet met a full sink.
    is_retry: bool,
    /// Messages taken from it.
    passed_count: usize,
    /// Whether what waits behind it is being delivered.
    is_settling: bool,
}

/// Asks for what is missing, and judges what comes: see the module.
#[derive(Clone, Debug)]
pub struct Recovery {
    config: RecoveryConfig,
    line: LineId,
    runs: [Option<Run>; RUN_COUNT_MAX],
    server: u8,
    session_count: u64,
    /// Whether anything was missing when it was last looked.
    is_active: bool,
    /// Whether requests will not close the gap that is open.
    is_hopeless: bool,
    evicted_count: u64,
    /// Messages that servers had brought first when it was last looked.
    answered_count: u64,
    progress: Progress,
    snapshot_due: Option<EpochNanos>,
    snapshot_tries: u32,
    counters: RecoveryCounters,
}

impl Recovery {
    /// A recovery for a feed of `line_count` lines, made with [`RecoveryConfig::arbiter`]: what is retransmitted is its
    /// line behind those.
    #[must_use]
    pub const fn new(config: RecoveryConfig, line_count: u8) -> Self {
        let progress = Progress { next: 0, is_retry: false, passed_count: 0, is_settling: false };
        Self {
            config,
            line: LineId(line_count),
            runs: [None; RUN_COUNT_MAX],
            server: 0,
            session_count: 0,
            is_active: false,
            is_hopeless: false,
            evicted_count: 0,
            answered_count: 0,
            progress,
            snapshot_due: None,
            snapshot_tries: 0,
            counters: RecoveryCounters {
                request_count: 0,
                timeout_count: 0,
                unanswered_count: 0,
                reply_count: 0,
                reply_malformed_count: 0,
                reply_session_count: 0,
                reply_number_count: 0,
                reply_mismatch_count: 0,
                reply_unproven_count: 0,
                snapshot_count: 0,
                snapshot_done_count: 0,
                snapshot_message_count: 0,
                snapshot_stale_count: 0,
                snapshot_refused_count: 0,
                snapshot_failed_count: 0,
                snapshot_needless_count: 0,
            },
        }
    }

    /// What was done.
    #[must_use]
    pub const fn counters(&self) -> &RecoveryCounters {
        &self.counters
    }

    /// The line of retransmitted packets.
    #[must_use]
    pub const fn line(&self) -> LineId {
        self.line
    }

    /// Whether the last snapshot was tried: the books stay stale until the session ends.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        self.snapshot_tries >= self.config.snapshot_count_max
    }

    /// Takes a packet that came from a retransmission server, received at `recv_time`, and gives it to the feed if it is
    /// to be believed.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: call again with the same packet before any other.
    pub fn on_reply(
        &mut self,
        feed: &mut MoldFeed,
        payload: &[u8],
        recv_time: EpochNanos,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<Reply, Full<()>> {
        if !feed.arbiter.is_retry_due() {
            let verdict = self.judge(feed, payload);
            let counters = &mut self.counters;
            let counter = match verdict {
                Reply::Believed => &mut counters.reply_count,
                Reply::Malformed => &mut counters.reply_malformed_count,
                Reply::OtherSession => &mut counters.reply_session_count,
                Reply::OtherNumbers => &mut counters.reply_number_count,
                Reply::Mismatch => &mut counters.reply_mismatch_count,
                Reply::Unproven => &mut counters.reply_unproven_count,
            };
            *counter = counter.saturating_add(1);
            if verdict != Reply::Believed {
                self.server = self.server.wrapping_add(1);
                return Ok(verdict);
            }
        }
        feed.on_packet(self.line, payload, recv_time, out)?;
        Ok(Reply::Believed)
    }

    fn judge(&self, feed: &MoldFeed, payload: &[u8]) -> Reply {
        let arbiter = &feed.arbiter;
        let Some(packet) = Packet::parse(payload).ok().filter(|packet| packet.kind() == PacketKind::Data) else {
            return Reply::Malformed;
        };
        let sequence = packet.sequence_number();
        if arbiter.session() != Some(packet.session()) {
            return Reply::OtherSession;
        }
        if sequence == 0 || packet.next_sequence_number() > arbiter.known_end() {
            return Reply::OtherNumbers;
        }
        match arbiter.vouch(&packet) {
            Vouch::Agrees => Reply::Believed,
            Vouch::Differs => Reply::Mismatch,
            Vouch::Unknown if self.config.has_snapshot || is_provable(arbiter, sequence) => Reply::Unproven,
            Vouch::Unknown => Reply::Believed,
        }
    }

    /// Takes a packet of the snapshot service: its messages as a MoldUDP64 packet of the feed's session, numbered from 1
    /// with every connection.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: call again with the same packet before any other.
    pub fn on_snapshot(
        &mut self,
        feed: &mut MoldFeed,
        payload: &[u8],
        recv_time: EpochNanos,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<SnapshotStep, Full<()>> {
        if self.progress.is_settling {
            return self.settle(feed, recv_time, out);
        }
        let Some(packet) = Packet::parse(payload).ok().filter(|packet| packet.kind() == PacketKind::Data) else {
            return Ok(self.refuse());
        };
        if feed.arbiter.session() != Some(packet.session()) {
            return Ok(self.refuse());
        }
        let is_retry = self.progress.is_retry;
        let now = if is_retry { feed.decoder.latest(recv_time) } else { feed.decoder.stamp(recv_time) };
        if packet.sequence_number() == 1 && !is_retry {
            if feed.arbiter.is_whole() {
                return Ok(self.refuse());
            }
            out.push(start_event(feed, packet.session(), now)).map_err(|_| Full(()))?;
            feed.arbiter.suspend();
            self.progress = Progress { next: 1, ..Progress::default() };
            self.counters.snapshot_count = self.counters.snapshot_count.saturating_add(1);
        }
        let passed = u64::try_from(self.progress.passed_count).unwrap_or(u64::MAX);
        let is_next = self.progress.next == packet.sequence_number().saturating_add(passed);
        if !is_next || !feed.arbiter.is_suspended() {
            return Ok(self.refuse());
        }
        self.progress.is_retry = true;
        for message in packet.blocks().skip(self.progress.passed_count) {
            if let Some(sequence) = end_of_snapshot(message) {
                return self.finish(feed, sequence, now, out);
            }
            let decoded = feed.decoder.decode(message, now, EventFlags::RECOVERED, out)?;
            if matches!(decoded, Decoded::Malformed(_)) {
                return Ok(self.refuse()); // Books without what it says would not be whole.
            }
            self.progress.passed_count = self.progress.passed_count.saturating_add(1);
            self.progress.next = self.progress.next.saturating_add(1);
            self.counters.snapshot_message_count = self.counters.snapshot_message_count.saturating_add(1);
        }
        (self.progress.is_retry, self.progress.passed_count) = (false, 0);
        Ok(SnapshotStep::Taken)
    }

    /// The snapshot holds everything before `sequence`.
    fn finish(
        &mut self,
        feed: &mut MoldFeed,
        sequence: u64,
        now: EpochNanos,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<SnapshotStep, Full<()>> {
        match feed.arbiter.resume(sequence, now) {
            Ok(()) => {
                self.progress = Progress { is_settling: true, ..Progress::default() };
                // What is missing from here on is asked for anew. The tries count on until nothing is missing any more
                // (see `poll`): a snapshot that leaves a gap open has not helped.
                let pace = (self.snapshot_due, self.snapshot_tries);
                self.forget(feed);
                (self.snapshot_due, self.snapshot_tries) = pace;
                self.counters.snapshot_done_count = self.counters.snapshot_done_count.saturating_add(1);
                self.settle(feed, now, out)
            }
            Err(ResumeError::Stale) => {
                self.counters.snapshot_stale_count = self.counters.snapshot_stale_count.saturating_add(1);
                self.progress = Progress::default();
                Ok(SnapshotStep::Refused)
            }
            Err(ResumeError::NotSuspended | ResumeError::TooFar) => Ok(self.refuse()),
        }
    }

    fn settle(
        &mut self,
        feed: &mut MoldFeed,
        now: EpochNanos,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<SnapshotStep, Full<()>> {
        feed.settle(now, out)?;
        self.progress = Progress::default();
        Ok(SnapshotStep::Done)
    }

    fn refuse(&mut self) -> SnapshotStep {
        self.counters.snapshot_refused_count = self.counters.snapshot_refused_count.saturating_add(1);
        self.progress = Progress::default();
        SnapshotStep::Refused
    }

    /// Hands out the requests that are due at `now`, each with the server to ask, from 0. Costs nothing while nothing is
    /// missing.
    pub fn poll(&mut self, feed: &MoldFeed, now: EpochNanos, on_request: &mut impl FnMut(u8, &Request)) {
        let arbiter = &feed.arbiter;
        let is_new_session = arbiter.counters().session_count != self.session_count;
        let is_missing = !arbiter.is_whole();
        if is_new_session || (self.is_active && !is_missing) {
            self.forget(feed);
        }
        self.is_active = is_missing;
        let Some(session) = arbiter.session().filter(|_| is_missing) else { return };
        self.is_hopeless |= arbiter.counters().evicted_packet_count != self.evicted_count;
        if arbiter.is_suspended() {
            self.runs = [None; RUN_COUNT_MAX];
            return;
        }
        self.match_runs(feed, now);
        self.is_hopeless |= self.runs.iter().flatten().any(|run| {
            // The other line has its time first, also where nobody can be asked.
            self.config.is_beyond_requests(run.gap) && now.since(run.seen) >= self.config.request_delay
        });
        if self.config.server_count == 0 {
            return;
        }
        for slot in 0..RUN_COUNT_MAX {
            self.ask(slot, (feed, session), now, on_request);
        }
    }

    /// Nothing is missing, or what was belongs to a session that is over.
    const fn forget(&mut self, feed: &MoldFeed) {
        self.session_count = feed.arbiter.counters().session_count;
        self.evicted_count = feed.arbiter.counters().evicted_packet_count;
        self.runs = [None; RUN_COUNT_MAX];
        self.is_hopeless = false;
        (self.snapshot_due, self.snapshot_tries) = (None, 0);
    }

    /// Brings the runs that are asked for in line with those that are missing: the first ones, at most as many as slots.
    fn match_runs(&mut self, feed: &MoldFeed, now: EpochNanos) {
        let answered = feed.arbiter.lines().get(usize::from(self.line.0)).map_or(0, |stats| stats.first_count);
        let has_answer = core::mem::replace(&mut self.answered_count, answered) != answered;
        let mut kept = [None; RUN_COUNT_MAX];
        let wanted = feed.arbiter.disputed().into_iter().chain(feed.arbiter.missing_ranges());
        for (place, gap) in kept.iter_mut().zip(wanted) {
            let meets =
                |run: &Run| run.gap.first_missing < gap.next_received && gap.first_missing < run.gap.next_received;
            let known = self.runs.iter().flatten().find(|run| meets(run)).copied();
            let fresh = Run { gap, seen: now, sent: None, request_count: 0, is_given_up: false };
            *place = Some(match known {
                // A server brought something: the rest is asked for at once. What a line brings makes no request needed.
                Some(run) if run.gap.first_missing != gap.first_missing && run.sent.is_some() => {
                    Run { seen: run.seen, sent: run.sent.filter(|_| !has_answer), ..fresh }
                }
                Some(run) => Run { gap, ..run },
                None => fresh,
            });
        }
        self.runs = kept;
    }

    /// Asks for the run in `slot` if that is due.
    fn ask(
        &mut self,
        slot: usize,
        (feed, session): (&MoldFeed, Session),
        now: EpochNanos,
        on_request: &mut impl FnMut(u8, &Request),
    ) {
        let config = self.config;
        let Some(Some(run)) = self.runs.get_mut(slot) else { return };
        let is_waiting = match run.sent {
            None => now.since(run.seen) < config.request_delay,
            Some(sent) => now.since(sent) < config.request_timeout,
        };
        if run.is_given_up || config.is_beyond_requests(run.gap) || is_waiting {
            return;
        }
        if run.sent.is_some() {
            self.counters.timeout_count = self.counters.timeout_count.saturating_add(1);
        }
        if run.request_count >= config.request_count_max {
            run.is_given_up = true;
            self.is_hopeless = true;
            self.counters.unanswered_count = self.counters.unanswered_count.saturating_add(1);
            return;
        }
        let turn = self.server.wrapping_add(run.request_count);
        let server = turn.checked_rem(config.server_count).unwrap_or(0);
        run.request_count = run.request_count.saturating_add(1);
        run.sent = Some(now);
        self.counters.request_count = self.counters.request_count.saturating_add(1);
        on_request(server, &request(feed, session, run.gap, config.request_message_count_max));
    }

    /// Whether a connection to the snapshot service should be made now. Say how it went: [`Recovery::snapshot_begun`], then
    /// [`Recovery::snapshot_over`] after [`SnapshotStep::Done`], or [`Recovery::snapshot_failed`] when the connection ends
    /// without.
    #[must_use]
    pub fn wants_snapshot(&self, feed: &MoldFeed, now: EpochNanos) -> bool {
        let is_needed = !feed.arbiter.is_whole() && (feed.arbiter.is_suspended() || self.is_hopeless);
        let is_due = self.snapshot_due.is_none_or(|due| now >= due);
        self.config.has_snapshot && is_needed && is_due && !self.is_exhausted()
    }

    /// A connection to the snapshot service is being made.
    pub fn snapshot_begun(&mut self, now: EpochNanos) {
        self.snapshot_tries = self.snapshot_tries.saturating_add(1);
        self.snapshot_due = Some(now.plus(self.config.snapshot_delay));
    }

    /// The snapshot was taken in. If a gap is open even so, the next one is asked for after the pause, if at all.
    pub fn snapshot_over(&mut self, now: EpochNanos) {
        self.snapshot_due = Some(now.plus(self.config.snapshot_delay));
    }

    /// Whether the connection to the snapshot service is needed no more: the lines have brought what was missing before
    /// anything of the snapshot came.
    #[must_use]
    pub fn is_snapshot_needless(&self, feed: &MoldFeed) -> bool {
        feed.arbiter.is_whole() && !feed.arbiter.is_suspended()
    }

    /// The connection to the snapshot service was closed because it [is needed no more](Self::is_snapshot_needless).
    pub const fn snapshot_left(&mut self) {
        self.counters.snapshot_needless_count = self.counters.snapshot_needless_count.saturating_add(1);
    }

    /// The connection to the snapshot service is over before its end.
    pub fn snapshot_failed(&mut self, now: EpochNanos) {
        self.counters.snapshot_failed_count = self.counters.snapshot_failed_count.saturating_add(1);
        self.snapshot_due = Some(now.plus(self.config.snapshot_delay));
    }

    /// Whether answers may be on their way.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.runs.iter().flatten().any(|run| run.sent.is_some())
    }
}

/// Whether the request for the run that `sequence` belongs to began with a known message, which an answer must hold.
fn is_provable(arbiter: &Arbiter, sequence: u64) -> bool {
    let run = arbiter.missing_ranges().find(|run| sequence < run.next_received);
    run.is_some_and(|run| arbiter.knows(run.first_missing.saturating_sub(1)))
}

/// A request for `gap`, as much as one may ask for, with a message beside it that is known.
fn request(feed: &MoldFeed, session: Session, gap: Gap, count_max: u16) -> Request {
    let is_known = feed.arbiter.knows(gap.first_missing.saturating_sub(1));
    let first = gap.first_missing.saturating_sub(u64::from(is_known));
    // With nothing known before it, the message behind it is asked for too, if there is one.
    let behind = u64::from(!is_known && gap.next_received < feed.arbiter.known_end());
    let count = gap.next_received.saturating_add(behind).saturating_sub(first);
    let count = u16::try_from(count).unwrap_or(u16::MAX).min(count_max.max(2));
    Request { session, sequence_number: first.into(), requested_count: count.into() }
}

/// A snapshot begins at `now`.
fn start_event(feed: &MoldFeed, session: Session, now: EpochNanos) -> MarketEvent {
    MarketEvent {
        id_a: session.first_eight(),
        id_b: feed.arbiter.next_sequence_number(),
        qty: Qty(session.last_two().into()),
        flags: EventFlags::RECOVERED,
        ..MarketEvent::new(EventKind::SnapshotStart, SymbolId::MARKET, now, now)
    }
}

/// The number of the feed's message to go on from that the end of a snapshot gives, `None` for any other message.
#[must_use]
pub fn end_of_snapshot(message: &[u8]) -> Option<u64> {
    let (kind, number) = message.split_first()?;
    if *kind != END_OF_SNAPSHOT || message.len() != END_OF_SNAPSHOT_LEN {
        return None;
    }
    let digits = number.trim_ascii();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}
