//! The send role of a live session: the order client over a TCP connection. Every step of every order is in the log before
//! its bytes are written to the socket; what the venue says is read after each event and in each idle turn.

use std::net::SocketAddr;

use peregrine_book::{BookUpdate, MarketBooks};
use peregrine_eventlog::Send;
use peregrine_eventlog::records::{OrderRecord, OrderTransition};
use peregrine_gateway::Cause;
use peregrine_gateway::live::{Journal, Notice, OrderClient, Outlet, Phase, Step, StepKind};
use peregrine_gateway::soup::ClientState;
use peregrine_risk::{ApprovedOrder, Refused};
use peregrine_runtime::{IndexProducer, TscClock};
use peregrine_types::{EpochNanos, Execution, Full, MarketEvent, Nanos, Qty, ReasonCode, Sink};

use super::age::DecisionAge;
use super::copy::{CopyEnd, CopyTap};
use super::kernel_way::KernelWay;
use super::link::{Link, Turn};
use super::silence::FeedSilence;
use crate::stage::log::LosslessLog;
use crate::stage::machine::Inbox;
use crate::stage::path::{Permit, Rehearsal, SendPath};
use crate::stage::send::{cancel_transition, report_transition};

/// How often the connection is read at most: a receive call takes as long as the engine needs for two events, and market
/// data that arrives meanwhile, or waits in the same packet, waits for it. Shorter than any venue's answer.
pub const READ_INTERVAL: Nanos = Nanos::from_micros(2);

/// How the connection is kept.
#[derive(Clone, Copy, Debug)]
pub struct LiveSendConfig {
    /// The order port.
    pub address: SocketAddr,
    /// Time between two tries to connect.
    pub reconnect: Nanos,
    /// How long a stop may wait for the last confirmations.
    pub stop_time_max: Nanos,
}

/// The send stage: see the module.
#[derive(Debug)]
pub struct LiveSend {
    client: OrderClient,
    link: Link,
    journal: StepLog,
    notices: IndexProducer<Notice>,
    /// A clock that no step of the system's clock moves: time-outs are spans.
    clock: TscClock,
    age: DecisionAge,
    /// When the connection was read last.
    read_at: EpochNanos,
    stop_time_max: Nanos,
    silence: FeedSilence,
    is_feed_silent: bool,
    stopping: Option<EpochNanos>,
    is_logged_out: bool,
    copy: Option<CopyTap>,
    kernel_way: Option<KernelWay>,
}

/// What is left of a live send stage when its run is over.
#[derive(Debug)]
pub struct LiveEnd {
    /// The client: counters, ledger, differences.
    pub client: OrderClient,
    /// Whether every order was known to be gone before the connection was closed.
    pub is_clean: bool,
    /// What the drop copy came to, where there is one.
    pub copy: Option<CopyEnd>,
    /// How often the kernel's way of an order was rehearsed, and whether it was to the end; where that was wanted.
    pub rehearsed: Option<(usize, bool)>,
}

/// Steps of orders as records of the log.
#[derive(Debug)]
struct StepLog {
    log: LosslessLog<Send>,
}

impl Journal for StepLog {
    #[inline]
    fn record(&mut self, step: &Step<'_>) {
        self.log.append(&record_of(step));
    }
}

impl LiveSend {
    /// A stage that is not connected yet, and that sends nothing new before [`SendPath::limit_decision_age`].
    #[must_use]
    pub fn new(
        client: OrderClient,
        config: &LiveSendConfig,
        log: LosslessLog<Send>,
        notices: IndexProducer<Notice>,
        clock: TscClock,
    ) -> Self {
        let link = Link::new(config.address, config.reconnect, Nanos::from_secs(2));
        let link = link.acknowledged_within(client.order_age_max());
        let (journal, stop_time_max) = (StepLog { log }, config.stop_time_max);
        let silence = FeedSilence::default();
        let (is_feed_silent, stopping, is_logged_out) = (false, None, false);
        let (read_at, copy, age) = (EpochNanos::MIN, None, DecisionAge::new(&clock));
        Self {
            client,
            link,
            journal,
            notices,
            clock,
            age,
            read_at,
            stop_time_max,
            silence,
            is_feed_silent,
            stopping,
            is_logged_out,
            copy,
            kernel_way: None,
        }
    }

    /// Rehearses the kernel's way of an order, too, while nothing happens.
    #[must_use]
    pub fn rehearsing(self, kernel_way: Option<KernelWay>) -> Self {
        Self { kernel_way, ..self }
    }

    /// Heeds the feed's silence: while it lasts nothing new is sent, and what rests at the venue is withdrawn.
    #[must_use]
    pub fn heeding(self, silence: FeedSilence) -> Self {
        Self { silence, ..self }
    }

    fn heed_silence(&mut self) {
        let is_silent = self.silence.is_silent();
        if is_silent != self.is_feed_silent {
            self.is_feed_silent = is_silent;
            self.client.on_feed_silence(is_silent);
        }
    }

    /// Has fills held against the venue's drop copy: a difference halts.
    #[must_use]
    pub fn with_copy(self, copy: Option<CopyTap>) -> Self {
        Self { copy, ..self }
    }

    /// The order client, to look at.
    #[must_use]
    pub const fn client(&self) -> &OrderClient {
        &self.client
    }

    /// How often the kernel's way of an order was rehearsed, and whether it still can be; where that is wanted.
    #[must_use]
    pub fn rehearsed(&self) -> Option<(usize, bool)> {
        self.kernel_way.as_ref().map(KernelWay::rehearsed)
    }

    /// The run is over: gives the log back and keeps the client.
    #[must_use]
    pub fn end(self) -> LiveEnd {
        let is_clean = self.client.is_flat();
        let rehearsed = self.rehearsed();
        LiveEnd { client: self.client, is_clean, copy: None, rehearsed }
    }

    /// Connects, reads, lets time pass and writes, as far as nothing waits.
    fn turn(&mut self, now: EpochNanos, out: &mut Inbox) {
        self.age.look_if_due(now, &self.clock);
        self.read_at = now;
        self.heed_silence();
        let Self { client, link, journal, .. } = self;
        let mut io = Outlet { journal, executions: out };
        // A login that was refused, or a session that is not the one that was left, is not tried again.
        let is_lost = client.is_session_lost() && !link.is_up();
        link.begin_turn();
        if !link.is_up() && client.session().state() != ClientState::Disconnected {
            client.disconnected(now, &mut io);
        }
        // What was said is heard before more is read: every report finds room.
        while io.executions.is_half_free() {
            match if is_lost { Turn::Nothing } else { link.turn(now) } {
                Turn::Nothing => break,
                Turn::Connected => client.connected(now),
                Turn::Bytes(bytes) => client.receive(bytes, now, &mut io),
                Turn::Gone => client.disconnected(now, &mut io),
            }
        }
        client.poll(now, &mut io);
        self.flush(now, out);
        let is_closed = self.client.session().state() == ClientState::Disconnected && self.link.is_up();
        if is_closed {
            // The session was left: what was said last shall arrive. A session that broke leaves nothing behind.
            if self.client.is_session_lost() || self.is_logged_out {
                self.link.let_linger();
            }
            if self.client.pending().is_empty() || !self.is_logged_out {
                self.link.close(now);
            }
        }
        self.tell();
        self.copy();
    }

    /// Hands fills to the check of the drop copy, and halts when it found a difference.
    fn copy(&mut self) {
        let Some(copy) = &mut self.copy else { return };
        copy.tell(&self.client);
        if copy.differs() && self.client.halted().is_none() {
            self.client.halt(ReasonCode::ReconcileFailed);
        }
    }

    /// Writes what waits; never what the log may not have.
    #[inline]
    fn flush(&mut self, now: EpochNanos, out: &mut Inbox) {
        while !self.client.sendable(now).is_empty() && !self.journal.log.has_failed() {
            match self.link.write(self.client.sendable(now), now) {
                Some(0) => return,
                Some(count) => self.client.sent(count),
                None => {
                    let mut io = Outlet { journal: &mut self.journal, executions: out };
                    return self.client.disconnected(now, &mut io);
                }
            }
        }
    }

    fn tell(&mut self) {
        while let Some(notice) = self.client.take_notice() {
            if let (Notice::Busted(order_id, match_number), Some(copy)) = (notice, &mut self.copy) {
                copy.on_bust(order_id, match_number);
            }
            if self.notices.push(notice).is_err() {
                return;
            }
        }
    }

    /// Whether nothing of ours is left at the venue, as far as it can be known.
    fn is_settled(&self) -> bool {
        let is_offline = self.client.phase() == Phase::Offline;
        let is_lost = self.client.is_session_lost();
        self.client.is_flat() && (is_offline || self.client.phase() == Phase::Trading) || (is_offline && is_lost)
    }
}

impl<B: MarketBooks> SendPath<B> for LiveSend {
    const IS_LIVE: bool = true;

    #[inline]
    fn before_event(&mut self, _: EpochNanos, _: &B, _: &mut Inbox) {}

    #[inline]
    fn after_event(&mut self, _: &MarketEvent, _: &BookUpdate, _: &B, _: &mut Inbox) {}

    #[inline]
    fn prefetch_hint(&self) {
        self.client.prefetch_hint();
    }

    #[inline]
    fn keep_warm(&mut self, rehearsal: Rehearsal) {
        if rehearsal == Rehearsal::Whole
            && let Some(kernel_way) = &mut self.kernel_way
        {
            self.link.touch();
            kernel_way.rehearse();
        }
        self.client.keep_warm();
        let step = self.client.last_step(self.read_at);
        self.journal.log.rehearse(std::hint::black_box(&record_of(std::hint::black_box(&step))));
    }

    #[inline]
    fn accept(&mut self, approved: ApprovedOrder) -> Result<(), Refused> {
        if self.journal.log.has_failed() {
            return Err(self.client.refuse(approved, ReasonCode::LogFull));
        }
        let now = self.clock.now();
        if self.age.is_too_old(approved.command(), now, &self.clock) {
            return Err(self.client.refuse(approved, ReasonCode::DataStale));
        }
        self.client.accept(approved, now, &mut Outlet { journal: &mut self.journal, executions: &mut Nobody })?;
        // Bytes that the log may not have stay here; a connection that broke is told of in the next turn.
        if !self.journal.log.has_failed()
            && let Some(count) = self.link.write(self.client.sendable(now), now)
        {
            self.client.sent(count);
        }
        Ok(())
    }

    fn limit_decision_age(&mut self, max: Nanos) {
        self.age.limit(max);
    }

    #[inline]
    fn poll(&mut self, out: &mut Inbox) {
        let now = self.clock.now();
        if now.since(self.read_at) >= READ_INTERVAL || !self.client.pending().is_empty() {
            self.turn(now, out);
        }
    }

    #[inline]
    fn permit(&self) -> Permit {
        let of_feed = self.is_feed_silent.then_some(ReasonCode::DataStale);
        let (block, last_number) = (self.client.block().or(of_feed), self.client.last_number());
        Permit { block, last_number, now: self.read_at }
    }

    #[inline]
    fn visible_by(&self, _: EpochNanos) -> EpochNanos {
        EpochNanos::MAX
    }

    fn stop(&mut self) {
        self.client.halt(ReasonCode::StopRequested);
        // What is open is cancelled in the very next turn.
        self.read_at = EpochNanos::MIN;
    }

    /// Cancels everything, waits for the venue's word on it, and logs out.
    fn finish(&mut self, _: &B, out: &mut Inbox) -> bool {
        let now = self.clock.now();
        let since = *self.stopping.get_or_insert(now);
        self.client.halt(ReasonCode::StopRequested);
        self.turn(now, out);
        let is_late = now.since(since) >= self.stop_time_max;
        if !self.is_logged_out && (self.is_settled() || is_late) {
            self.is_logged_out = true;
            self.client.logout(now, &mut Outlet { journal: &mut self.journal, executions: out });
            self.link.let_linger();
            self.flush(now, out);
            self.tell();
            self.copy();
        }
        self.is_logged_out && (self.client.pending().is_empty() || !self.link.is_up() || is_late)
    }
}

/// Takes executions where none can come.
struct Nobody;

impl Sink<Execution> for Nobody {
    fn push(&mut self, execution: Execution) -> Result<(), Full<Execution>> {
        Err(Full(execution))
    }
}

/// A step as the log holds it. Never a part of its caller: what is rehearsed is to be the very code that an order runs.
#[inline(never)]
fn record_of(step: &Step<'_>) -> OrderRecord {
    let entry = step.entry;
    let cause = entry.map_or(Cause::default(), |entry| entry.cause);
    let base = OrderRecord {
        order_id: step.order_id,
        symbol: step.symbol,
        event_seq: cause.event_seq,
        decision_time: cause.decision_time,
        venue_time: step.time,
        visible_time: step.time,
        filled_qty: entry.map_or(Qty::ZERO, |entry| entry.filled_qty),
        position: step.position,
        time_in_force: entry.map_or(Default::default(), |entry| entry.order.time_in_force),
        is_post_only: entry.is_some_and(|entry| entry.order.is_post_only),
        side: entry.map_or(Default::default(), |entry| entry.order.side),
        price: entry.map_or(Default::default(), |entry| entry.order.price),
        leaves_qty: entry.map_or(Qty::ZERO, |entry| entry.leaves_qty),
        replaces: entry.map_or([0; 5], |entry| OrderRecord::pack_replaced(entry.replaces)),
        ..OrderRecord::default()
    };
    let qty = entry.map_or(Qty::ZERO, |entry| entry.order.qty);
    match step.kind {
        StepKind::Submitted => OrderRecord { transition: OrderTransition::Submitted, qty, ..base },
        StepKind::ReplaceSubmitted => OrderRecord { transition: OrderTransition::ReplaceRequested, qty, ..base },
        StepKind::Resent => OrderRecord { transition: OrderTransition::Resent, qty, ..base },
        StepKind::Overdue => {
            OrderRecord { transition: OrderTransition::Overdue, reason: ReasonCode::Unanswered, ..base }
        }
        StepKind::MassCancel => OrderRecord { transition: OrderTransition::CancelRequested, ..base },
        StepKind::CancelRequested(outcome) => OrderRecord { transition: cancel_transition(outcome), ..base },
        StepKind::Report(execution, outcome) => OrderRecord {
            price: execution.price,
            qty: execution.qty,
            leaves_qty: execution.leaves_qty,
            match_number: execution.match_number,
            fee: i64::try_from(execution.fee.0).unwrap_or(i64::MAX),
            venue_time: execution.venue_time,
            visible_time: execution.visible_time,
            side: execution.side,
            liquidity: execution.liquidity,
            reason: execution.reason,
            transition: report_transition((execution.kind, base.replaced_id().0 != 0), outcome),
            ..base
        },
    }
}

#[cfg(test)]
mod tests;
