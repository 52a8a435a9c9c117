//! The client: session and desk together.

use peregrine_risk::{ApprovedOrder, Refused};
use peregrine_types::{
    EpochNanos, Execution, Nanos, NewOrder, OrderCommand, OrderId, Price, Qty, ReasonCode, Side, Sink, SymbolId,
    TimeInForce,
};

use super::desk::Desk;
use super::ledger::Ledger;
use super::reconcile::{Difference, LoggedAccount};
use super::resolve::{Sending, Way};
use super::{Journal, Notice, OrderClientConfig, OrderClientCounters, Outlet, Phase, Step, StepKind, wire};
use crate::order_table::{Cause, OrderTable, Outcome};
use crate::soup::{ClientSession, ClientState, CloseReason, Continuity, Position, SessionId};

/// Executions of earlier runs that are passed on at once, at most.
const PASSED_PER_TURN_MAX: usize = 256;

/// The stage: see the module.
#[derive(Debug)]
pub struct OrderClient {
    session: ClientSession,
    sending: Sending,
    desk: Desk,
}

impl OrderClient {
    /// A client that is not connected. `account` is what the logs of earlier runs of the venue's session say: nothing is
    /// sent before the venue's stream, read from its first message on, says the same.
    #[must_use]
    pub fn new(config: OrderClientConfig, account: LoggedAccount) -> Self {
        let session = ClientSession::new(config.session, Position::START);
        let sending = Sending::new(config.resend_age_max);
        Self { session, sending, desk: Desk::new(config, account) }
    }

    /// Only this session of the venue is joined: the one whose logs `account` came from. Any other halts.
    #[must_use]
    pub fn of_session(mut self, name: SessionId) -> Self {
        let position = Position { session: name, next_sequence_number: 1 };
        self.session = ClientSession::new(self.desk.config.session, position);
        self
    }

    /// The connection stands: the login goes out, unless there is no way back ([`OrderClient::is_session_lost`]).
    pub fn connected(&mut self, now: EpochNanos) {
        if self.desk.is_session_lost {
            return;
        }
        self.desk.phase = Phase::LoggingIn;
        (self.sending.query, self.sending.marker) = (None, None);
        self.sending.forget_unsent();
        (self.desk.is_query_wanted, self.desk.is_marker_wanted) = (false, false);
        self.session.connect(now);
    }

    /// The connection is gone.
    pub fn disconnected<J: Journal, S: Sink<Execution>>(&mut self, now: EpochNanos, io: &mut Outlet<'_, J, S>) {
        let desk = &mut self.desk;
        self.sending.forget_unsent();
        self.session.disconnect(&mut |event| desk.on_session(event, now, io));
    }

    /// Takes bytes that arrived.
    pub fn receive<J: Journal, S: Sink<Execution>>(
        &mut self,
        bytes: &[u8],
        now: EpochNanos,
        io: &mut Outlet<'_, J, S>,
    ) {
        let desk = &mut self.desk;
        self.session.receive(bytes, now, &mut |event| desk.on_session(event, now, io));
        self.act(now, io);
    }

    /// Lets time pass. When an order waits for the socket for too long the session is left, and the connection is to be
    /// closed without anything more of it being delivered.
    #[inline]
    pub fn poll<J: Journal, S: Sink<Execution>>(&mut self, now: EpochNanos, io: &mut Outlet<'_, J, S>) {
        let desk = &mut self.desk;
        if self.sending.is_unread(now) {
            self.sending.forget_unsent();
            desk.counters.unread_count = desk.counters.unread_count.saturating_add(1);
            self.session.give_up(CloseReason::Unread, &mut |event| desk.on_session(event, now, io));
        }
        self.session.poll(now, &mut |event| desk.on_session(event, now, io));
        self.act(now, io);
    }

    /// Reads what [`OrderClient::accept`] of the next order will need, so that it is on its way while the decision is still
    /// being made: between two orders all of it may have left the nearer caches. Changes nothing.
    #[inline]
    pub fn prefetch_hint(&self) {
        let desk = &self.desk;
        let next = OrderId(desk.last_number.0.saturating_add(1));
        let known = u64::from(desk.ledger.has_room(next)) ^ u64::from(desk.ledger.order(next).is_some());
        let pending = u64::try_from(desk.pending.len()).unwrap_or(0) ^ u64::from(desk.block().is_some());
        let session = u64::from(self.session.state() == ClientState::Active) ^ self.sending.serial;
        let waiting = u64::try_from(self.session.pending().len()).unwrap_or(0);
        core::hint::black_box(desk.table.touch(next) ^ known ^ pending ^ session ^ waiting);
    }

    /// Nothing happens: reads what the next order will need and makes messages that nobody gets, so that the next one finds
    /// code and memory warm. Changes nothing.
    pub fn keep_warm(&self) {
        self.prefetch_hint();
        let (config, next) = (&self.desk.config, OrderId(self.desk.last_number.0.saturating_add(1)));
        let Some(symbol) = config.symbols.first().copied() else { return };
        let order = NewOrder {
            symbol: SymbolId(0),
            side: Side::Buy,
            price: Price(0),
            qty: Qty(1),
            time_in_force: TimeInForce::Day,
            is_post_only: true,
        };
        core::hint::black_box(wire::enter(next, &order, symbol, config.capacity).is_ok());
        core::hint::black_box(wire::replace(next, self.desk.last_number, &order).is_ok());
    }

    /// Takes an approved order or cancel: it is written down, and its bytes wait in [`OrderClient::pending`]. A cancel
    /// without a session goes out with the next one.
    ///
    /// # Errors
    /// [`Refused`] with the order when nothing new may be sent ([`OrderClient::block`], or `VenueDisconnected`), when its
    /// symbol has a message that is overdue (`Unanswered`), when no number of the day is left (`GatewayFull`), or when
    /// there is no room on the way, the order that it is to replace is on its way out, or the protocol has no words for
    /// it (`RingFull`). It was not written down, and nothing is sent.
    #[inline]
    pub fn accept<J: Journal, S>(
        &mut self,
        approved: ApprovedOrder,
        now: EpochNanos,
        io: &mut Outlet<'_, J, S>,
    ) -> Result<(), Refused> {
        let taken = match *approved.command() {
            OrderCommand::New { order_id, order, cause, decision_time } => {
                self.enter(order_id, &order, (Cause { event_seq: cause, decision_time }, now), io)
            }
            OrderCommand::Cancel { order_id, replacement, .. } => {
                self.cancel(order_id, now, io);
                if replacement.0 != 0 {
                    self.cancel(replacement, now, io);
                }
                return Ok(());
            }
            OrderCommand::Replace { order_id, replaces, order, cause, decision_time } => {
                let cause = Cause { event_seq: cause, decision_time };
                self.replace((order_id, replaces), &order, (cause, now), io)
            }
        };
        match taken {
            Ok(()) => {
                self.desk.refusal = None;
                Ok(())
            }
            Err(reason) => Err(self.refuse(approved, reason)),
        }
    }

    /// Refuses an order: counts it, tells of it when the one before was not refused for the same reason, and hands it back.
    #[cold]
    pub fn refuse(&mut self, order: ApprovedOrder, reason: ReasonCode) -> Refused {
        let (desk, order_id) = (&mut self.desk, order.command().order_id());
        let counters = &mut desk.counters;
        counters.refused_count = counters.refused_count.saturating_add(1);
        let is_stale = reason == ReasonCode::DataStale;
        counters.stale_count = counters.stale_count.saturating_add(u64::from(is_stale));
        let is_unanswered = reason == ReasonCode::Unanswered;
        counters.unanswered_count = counters.unanswered_count.saturating_add(u64::from(is_unanswered));
        // What blocks everything is told by itself.
        if (is_stale || is_unanswered) && desk.refusal != Some(reason) {
            desk.notice(Notice::Closed(order_id, reason));
        }
        desk.refusal = Some(reason);
        Refused { order, reason }
    }

    fn enter<J: Journal, S>(
        &mut self,
        order_id: OrderId,
        order: &NewOrder,
        (cause, now): (Cause, EpochNanos),
        io: &mut Outlet<'_, J, S>,
    ) -> Result<(), ReasonCode> {
        self.may_send(order_id, order.symbol, now)?;
        let desk = &mut self.desk;
        let full = ReasonCode::RingFull;
        let symbol = desk.config.symbols.get(order.symbol.index()).copied().ok_or(full)?;
        let message = wire::enter(order_id, order, symbol, desk.config.capacity).map_err(|_| full)?;
        if !matches!(desk.table.submit(order_id, *order, cause), Ok(Outcome::Applied { .. })) {
            return Err(full);
        }
        desk.last_number = order_id;
        desk.record((order_id, order.symbol), now, StepKind::Submitted, io);
        desk.counters.order_count = desk.counters.order_count.saturating_add(1);
        // Without room it is as if the bytes were lost on the way: the query after the time-out says so.
        self.sending.send_order(&mut self.session, message.bytes(), (now, now));
        desk.await_answer(order_id, false, (now, self.sending.serial));
        Ok(())
    }

    /// Whether something new may go out for this symbol, under this number.
    fn may_send(&self, order_id: OrderId, symbol: SymbolId, now: EpochNanos) -> Result<(), ReasonCode> {
        let desk = &self.desk;
        if let Some(reason) = desk.block() {
            return Err(reason);
        }
        if self.session.state() != ClientState::Active || self.sending.is_unread(now) {
            return Err(ReasonCode::VenueDisconnected);
        }
        if desk.overdue.has(symbol) {
            return Err(ReasonCode::Unanswered);
        }
        if order_id <= desk.last_number || !desk.ledger.has_room(order_id) {
            return Err(ReasonCode::GatewayFull);
        }
        if self.session.pending().len() > desk.config.backlog_len_max { Err(ReasonCode::RingFull) } else { Ok(()) }
    }

    /// Sends a replacement, if the order that it is to replace is neither gone nor on its way out.
    fn replace<J: Journal, S>(
        &mut self,
        (order_id, replaces): (OrderId, OrderId),
        order: &NewOrder,
        (cause, now): (Cause, EpochNanos),
        io: &mut Outlet<'_, J, S>,
    ) -> Result<(), ReasonCode> {
        self.may_send(order_id, order.symbol, now)?;
        let desk = &mut self.desk;
        let message = wire::replace(order_id, replaces, order).map_err(|_| ReasonCode::RingFull)?;
        let outcome = desk.table.replace_sent((order_id, replaces), *order, cause);
        if !matches!(outcome, Ok(Outcome::Applied { .. })) {
            return Err(ReasonCode::RingFull);
        }
        desk.last_number = order_id;
        desk.record((order_id, order.symbol), now, StepKind::ReplaceSubmitted, io);
        desk.counters.replace_count = desk.counters.replace_count.saturating_add(1);
        self.sending.send_order(&mut self.session, message.bytes(), (now, now));
        desk.await_answer(order_id, false, (now, self.sending.serial));
        Ok(())
    }

    fn cancel<J: Journal, S>(&mut self, order_id: OrderId, now: EpochNanos, io: &mut Outlet<'_, J, S>) {
        let desk = &mut self.desk;
        let symbol = desk.table.get(order_id).map_or_else(Default::default, |entry| entry.order.symbol);
        let outcome = desk.table.cancel_sent(order_id);
        desk.record((order_id, symbol), now, StepKind::CancelRequested(outcome), io);
        let Outcome::Applied { to, .. } = outcome else { return };
        if !to.is_open() {
            return;
        }
        if let Ok(message) = wire::cancel(order_id)
            && self.sending.send(&mut self.session, message.bytes(), now)
        {
            desk.counters.cancel_count = desk.counters.cancel_count.saturating_add(1);
        }
        desk.await_answer(order_id, true, (now, self.sending.serial));
    }

    /// Whatever is due: a query and its answer, what is overdue, a mass cancel, the next phase.
    fn act<J: Journal, S: Sink<Execution>>(&mut self, now: EpochNanos, io: &mut Outlet<'_, J, S>) {
        if self.session.state() != ClientState::Active {
            return;
        }
        let desk = &mut self.desk;
        let mut way = Way { session: &mut self.session, sending: &mut self.sending, now };
        if let Some(continuity) = desk.estranged {
            // Cancels reach orders of this session alone; what became of ours in another one is not known here.
            if continuity != Continuity::OtherSession {
                desk.mass_cancel(&mut way, io);
            }
            return self.session.logout(&mut |event| desk.on_session(event, now, io));
        }
        if let Some(next) = desk.answer.take() {
            way.sending.query = None;
            desk.hold_number(next);
            if desk.phase == Phase::CatchingUp && way.sending.marker.is_none() {
                desk.on_answer(next, &mut way, io);
            }
        }
        if let Some(number) = desk.marked.take() {
            desk.on_marked(number, &mut way, io);
        }
        let is_read = matches!(desk.phase, Phase::Settling | Phase::Trading);
        if desk.is_mass_cancel_wanted && is_read {
            desk.is_mass_cancel_wanted = false;
            desk.mass_cancel(&mut way, io);
        }
        if is_read {
            desk.forget_oldest_answered();
            if desk.due <= now {
                desk.look_for_overdue(&mut way, io);
            }
        }
        desk.look_for_silence(&mut way);
        if desk.is_query_wanted && way.sending.query.is_none() {
            desk.is_query_wanted = false;
            way.send(wire::query().bytes());
            way.sending.query = Some(now);
        }
        if desk.is_marker_wanted && way.sending.marker.is_none() {
            desk.is_marker_wanted = false;
            desk.mark(&mut way, io);
        }
        desk.pass_on(io);
        if desk.phase == Phase::Settling
            && desk.carried.is_empty()
            && !desk.has_unknown()
            && (!desk.must_be_flat || desk.table.open_count() == 0)
        {
            desk.must_be_flat = false;
            desk.phase = Phase::Trading;
            let order_count = u64::try_from(desk.ledger.orders().count()).unwrap_or(u64::MAX);
            let fill_count = u64::try_from(desk.ledger.fills().len()).unwrap_or(u64::MAX);
            if desk.halt.is_none() {
                desk.notice(Notice::Equal { order_count, fill_count });
            }
        }
    }

    /// Halts: nothing new is sent any more, everything open is cancelled. The first reason stays.
    pub fn halt(&mut self, reason: ReasonCode) {
        self.desk.halt(reason);
    }

    /// Every line of the feed fell silent: what is open is cancelled as soon as that can be said. Or they speak again. New
    /// orders stay permitted: whoever drives the client sends none meanwhile.
    pub fn on_feed_silence(&mut self, is_silent: bool) {
        self.desk.is_mass_cancel_wanted |= is_silent && self.desk.table.open_count() > 0;
        self.desk.notice(Notice::Feed { is_silent });
    }

    /// Why nothing new may be sent now; `None` when orders may go out.
    #[must_use]
    #[inline]
    pub const fn block(&self) -> Option<ReasonCode> {
        self.desk.block()
    }

    /// Why nothing new is ever sent again by this client.
    #[must_use]
    pub const fn halted(&self) -> Option<ReasonCode> {
        self.desk.halt
    }

    /// Whether there is no way back to the venue: the session that was left is gone, or the login was refused.
    #[must_use]
    pub const fn is_session_lost(&self) -> bool {
        self.desk.is_session_lost
    }

    /// Whether the venue ended the session by its own word: there is no way back, and nothing was missed.
    #[must_use]
    pub const fn is_session_over(&self) -> bool {
        self.desk.is_session_over
    }

    /// Whether the logs were held against the venue's whole stream.
    #[must_use]
    pub const fn is_compared(&self) -> bool {
        self.desk.beginning.is_none()
    }

    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.desk.phase
    }

    /// Whether no order is open or unknown.
    #[must_use]
    pub const fn is_flat(&self) -> bool {
        self.desk.table.open_count() == 0
    }

    /// The next order's number lies above this.
    #[must_use]
    pub const fn last_number(&self) -> OrderId {
        self.desk.last_number
    }

    /// The step of the last order once more, as a rehearsal of what the next one will have written down.
    #[must_use]
    pub fn last_step(&self, time: EpochNanos) -> Step<'_> {
        let (desk, order_id) = (&self.desk, self.desk.last_number);
        let entry = desk.table.get(order_id);
        let symbol = entry.map_or(SymbolId(0), |entry| entry.order.symbol);
        let position = desk.positions.get(symbol.index()).copied().unwrap_or_default();
        let is_replacement = entry.is_some_and(|entry| entry.replaces != OrderId(0));
        let kind = if is_replacement { StepKind::ReplaceSubmitted } else { StepKind::Submitted };
        Step { order_id, symbol, time, entry, position, kind }
    }

    /// Logs out; the connection is to be closed once [`OrderClient::pending`] is sent.
    pub fn logout<J: Journal, S: Sink<Execution>>(&mut self, now: EpochNanos, io: &mut Outlet<'_, J, S>) {
        let desk = &mut self.desk;
        self.session.logout(&mut |event| desk.on_session(event, now, io));
    }

    /// The session: its state and where in the stream it stands.
    #[must_use]
    pub const fn session(&self) -> &ClientSession {
        &self.session
    }

    /// The bytes that wait for the socket.
    #[must_use]
    #[inline]
    pub fn pending(&self) -> &[u8] {
        self.session.pending()
    }

    /// The bytes that may be written now: those that wait, and none once an order among them has waited for too long.
    #[must_use]
    #[inline]
    pub fn sendable(&self, now: EpochNanos) -> &[u8] {
        if self.sending.is_unread(now) { &[] } else { self.session.pending() }
    }

    /// How long an order may be on its way to the venue's system: the age from which none is sent again.
    #[must_use]
    pub const fn order_age_max(&self) -> Nanos {
        self.desk.config.resend_age_max
    }

    /// The socket took the first `count` of them.
    #[inline]
    pub fn sent(&mut self, count: usize) {
        self.session.sent(count);
        self.sending.took(count);
    }

    /// Our orders.
    #[must_use]
    pub const fn table(&self) -> &OrderTable {
        &self.desk.table
    }

    /// The venue's account of the day.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.desk.ledger
    }

    /// What is held of a symbol by our own account.
    #[must_use]
    pub fn position(&self, symbol: peregrine_types::SymbolId) -> peregrine_types::Position {
        self.desk.positions.get(symbol.index()).copied().unwrap_or_default()
    }

    /// Every difference so far, the first ones when there are many.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.desk.differences
    }

    /// What it counted.
    #[must_use]
    pub const fn counters(&self) -> OrderClientCounters {
        self.desk.counters
    }

    /// The next thing that people should hear of.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.desk.take_notice()
    }
}

impl Desk {
    /// Passes on what earlier runs of the session executed, a part each time: what the venue says now needs room too.
    fn pass_on<J, S: Sink<Execution>>(&mut self, io: &mut Outlet<'_, J, S>) {
        for _ in 0..PASSED_PER_TURN_MAX {
            let Some(execution) = self.carried.front() else { return };
            if io.executions.push(*execution).is_err() {
                return;
            }
            self.carried.pop_front();
        }
    }

    pub(super) const fn block(&self) -> Option<ReasonCode> {
        match (self.halt, self.is_day_over, self.phase) {
            (Some(reason), _, _) => Some(reason),
            (None, true, _) => Some(ReasonCode::VenueClosed),
            (None, false, Phase::Trading) => None,
            (None, false, Phase::Offline | Phase::LoggingIn | Phase::CatchingUp | Phase::Settling) => {
                Some(ReasonCode::VenueDisconnected)
            }
        }
    }
}
