//! Messages that wait for an answer, and what becomes of those that get none: the second table of the module's text.

use peregrine_types::{EpochNanos, Execution, ExecutionKind, Nanos, OrderId, ReasonCode, Sink, SymbolId};

use super::desk::{Beginning, Desk, Said};
use super::reconcile::{Difference, LoggedOrder, compare};
use super::{Journal, Notice, Outlet, Phase, StepKind, wire};
use crate::order_table::{Cause, OrderState, OrderTable, Outcome};
use crate::soup::ClientSession;

use super::ledger::Ledger;

/// Answered messages that one turn forgets, at most: more than come in a turn of 2 us, and few enough to keep no packet
/// waiting.
const FORGOTTEN_PER_TURN_MAX: usize = 8;

/// A message that may still be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) order_id: OrderId,
    pub(super) is_cancel: bool,
    /// When it was handed to the session first.
    pub(super) since: EpochNanos,
    /// When it was handed to the session last.
    pub(super) sent: EpochNanos,
    /// Its place among everything that was handed over.
    pub(super) serial: u64,
    /// Cancels of an order that nobody answered.
    pub(super) probes: u8,
    /// The symbol in which it is named as overdue.
    pub(super) overdue: Option<SymbolId>,
}

impl Pending {
    /// Whether the venue has spoken. An acceptance may be missing: whatever it says of an order answers for it.
    fn is_answered(&self, table: &OrderTable, ledger: &Ledger) -> bool {
        let Some(entry) = table.get(self.order_id) else { return true };
        if self.is_cancel {
            entry.state != OrderState::PendingCancel
        } else {
            !entry.state.is_open() || ledger.order(self.order_id).is_some()
        }
    }
}

/// A marker that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marker {
    number: OrderId,
    sent: EpochNanos,
    serial: u64,
}

/// How many messages are overdue, by symbol: while one is, its symbol gets nothing new.
#[derive(Debug)]
pub(super) struct Overdue {
    count: u32,
    by_symbol: Box<[u32]>,
}

impl Overdue {
    pub(super) fn new(symbol_count: usize) -> Self {
        Self { count: 0, by_symbol: vec![0; symbol_count].into_boxed_slice() }
    }

    /// Whether a symbol has one: a compare, as long as there is none at all.
    #[inline]
    pub(super) fn has(&self, symbol: SymbolId) -> bool {
        self.count > 0 && self.by_symbol.get(symbol.index()).is_some_and(|count| *count > 0)
    }

    pub(super) const fn is_none(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, symbol: SymbolId) {
        self.count = self.count.saturating_add(1);
        if let Some(count) = self.by_symbol.get_mut(symbol.index()) {
            *count = count.saturating_add(1);
        }
    }

    /// A message was answered.
    fn forget(&mut self, pending: &mut Pending) {
        let Some(symbol) = pending.overdue.take() else { return };
        self.count = self.count.saturating_sub(1);
        if let Some(count) = self.by_symbol.get_mut(symbol.index()) {
            *count = count.saturating_sub(1);
        }
    }
}

/// How long an order may wait for the socket at least, however young orders must be that are sent again.
const UNSENT_TIME_MIN: Nanos = Nanos::from_millis(1);

/// What was sent when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    /// Messages handed to the session so far.
    pub(super) serial: u64,
    /// When the query went out that is not answered yet.
    pub(super) query: Option<EpochNanos>,
    /// The marker that is not answered yet.
    pub(super) marker: Option<Marker>,
    /// Bytes that wait for the socket, up to the end of the last order among them; 0: no order waits.
    unsent_len: usize,
    /// When the first of these orders will have waited for too long.
    unsent_until: EpochNanos,
    unsent_max: Nanos,
}

impl Sending {
    /// Orders may wait for the socket for `unsent_max`.
    pub(super) const fn new(unsent_max: Nanos) -> Self {
        let unsent_max = if unsent_max.0 < UNSENT_TIME_MIN.0 { UNSENT_TIME_MIN } else { unsent_max };
        Self { serial: 0, query: None, marker: None, unsent_len: 0, unsent_until: EpochNanos::MAX, unsent_max }
    }

    /// Hands an order, or a replacement, that was ready at `since` to the session.
    pub(super) fn send_order(
        &mut self,
        session: &mut ClientSession,
        bytes: &[u8],
        (since, now): (EpochNanos, EpochNanos),
    ) -> bool {
        let is_sent = self.send(session, bytes, now);
        if is_sent {
            self.unsent_len = session.pending().len();
            self.unsent_until = self.unsent_until.min(since.plus(self.unsent_max));
        }
        is_sent
    }

    /// The socket took so many bytes.
    #[inline]
    pub(super) const fn took(&mut self, count: usize) {
        self.unsent_len = self.unsent_len.saturating_sub(count);
        if self.unsent_len == 0 {
            self.unsent_until = EpochNanos::MAX;
        }
    }

    /// What waited is forgotten.
    pub(super) const fn forget_unsent(&mut self) {
        self.took(usize::MAX);
    }

    /// Whether an order waits for the socket for too long: counted from the first since no order waited at all.
    #[inline]
    pub(super) fn is_unread(&self, now: EpochNanos) -> bool {
        now > self.unsent_until
    }

    /// Hands a message to the session; false when it has no room, or is gone.
    pub(super) fn send(&mut self, session: &mut ClientSession, bytes: &[u8], now: EpochNanos) -> bool {
        self.serial = self.serial.saturating_add(1);
        session.send(bytes, now).is_ok()
    }
}

/// Where messages go.
pub(super) struct Way<'a> {
    pub(super) session: &'a mut ClientSession,
    pub(super) sending: &'a mut Sending,
    pub(super) now: EpochNanos,
}

impl Way<'_> {
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.sending.send(self.session, bytes, self.now)
    }

    fn cancel(&mut self, order_id: OrderId) -> bool {
        wire::cancel(order_id).is_ok_and(|message| self.send(message.bytes()))
    }
}

impl Desk {
    /// Notes that a message was handed over. When there is no room, answered ones are forgotten first; the list has room
    /// for every open order and its cancel. It never grows: a full one notes nothing more.
    pub(super) fn await_answer(&mut self, order_id: OrderId, is_cancel: bool, (sent, serial): (EpochNanos, u64)) {
        if self.pending.len() == self.pending.capacity() {
            self.forget_answered();
        }
        if self.pending.len() < self.pending.capacity() {
            self.pending.push_back(Pending {
                order_id,
                is_cancel,
                since: sent,
                sent,
                serial,
                probes: 0,
                overdue: None,
            });
        }
        self.due = self.due.min(sent.plus(self.config.answer_time_max));
    }

    pub(super) fn forget_answered(&mut self) {
        let Self { table, ledger, pending, overdue, .. } = self;
        pending.retain_mut(|pending| {
            let is_answered = pending.is_answered(table, ledger);
            if is_answered {
                overdue.forget(pending);
            }
            !is_answered
        });
    }

    /// Forgets the oldest messages that were answered, a few in each turn: the list stays as short as what really waits, and
    /// a look through it costs nothing.
    #[inline]
    pub(super) fn forget_oldest_answered(&mut self) {
        for _ in 0..FORGOTTEN_PER_TURN_MAX {
            match self.pending.front_mut() {
                Some(oldest) if oldest.is_answered(&self.table, &self.ledger) => self.overdue.forget(oldest),
                Some(_) | None => break,
            }
            self.pending.pop_front();
        }
        if self.pending.is_empty() {
            // Begins again with the places that are in the cache, instead of going through all of its memory.
            self.pending.clear();
        }
        if !self.overdue.is_none() {
            self.free_answered();
        }
    }

    /// Looks at a few of the messages in turn: those that were overdue and are answered hold their symbols no longer.
    #[cold]
    fn free_answered(&mut self) {
        let Self { table, ledger, pending, overdue, freed_at, .. } = self;
        for _ in 0..FORGOTTEN_PER_TURN_MAX {
            let next = freed_at.saturating_add(1);
            *freed_at = if next < pending.len() { next } else { 0 };
            let Some(pending) = pending.get_mut(*freed_at) else { return };
            if pending.overdue.is_some() && pending.is_answered(table, ledger) {
                overdue.forget(pending);
            }
        }
    }

    /// Names what was not answered in time, says a cancel again, and asks for a marker.
    pub(super) fn look_for_overdue<J: Journal, S: Sink<Execution>>(
        &mut self,
        way: &mut Way<'_>,
        io: &mut Outlet<'_, J, S>,
    ) {
        self.forget_answered();
        for index in 0..self.pending.len() {
            let Some(mut pending) = self.pending.get(index).copied() else { break };
            if way.now.since(pending.sent) < self.config.answer_time_max {
                continue;
            }
            if pending.overdue.is_none() {
                let symbol = self.table.get(pending.order_id).map_or(SymbolId::MARKET, |entry| entry.order.symbol);
                pending.overdue = Some(symbol);
                self.overdue.add(symbol);
                self.counters.overdue_count = self.counters.overdue_count.saturating_add(1);
                self.notice(Notice::Overdue(pending.order_id));
                self.record_of(pending.order_id, StepKind::Overdue, way.now, io);
            }
            self.is_marker_wanted = true;
            if pending.is_cancel && way.cancel(pending.order_id) {
                self.counters.cancel_count = self.counters.cancel_count.saturating_add(1);
                pending.serial = way.sending.serial;
            }
            pending.sent = way.now;
            if let Some(place) = self.pending.get_mut(index) {
                *place = pending;
            }
        }
        let first = self.pending.iter().map(|pending| pending.sent).min();
        self.due = first.map_or(EpochNanos::MAX, |sent| sent.plus(self.config.answer_time_max));
    }

    fn record_of<J: Journal, S>(
        &mut self,
        order_id: OrderId,
        kind: StepKind,
        now: EpochNanos,
        io: &mut Outlet<'_, J, S>,
    ) {
        let symbol = self.table.get(order_id).map_or_else(Default::default, |entry| entry.order.symbol);
        self.record((order_id, symbol), now, kind, io);
    }

    /// The venue expects the number `next`, or expected it once: it never saw one that we did not use.
    pub(super) fn hold_number(&mut self, next: OrderId) {
        let seen = OrderId(next.0.saturating_sub(1));
        if seen > self.last_number {
            self.differ(Difference::NumberNotInLog(seen));
            self.last_number = seen;
        }
    }

    /// The venue answered a query while what was missed comes in: it expects the number `next`, or expected it once. What
    /// did not arrive and is still wanted is sent once more, in order; then comes the marker.
    pub(super) fn on_answer<J: Journal, S: Sink<Execution>>(
        &mut self,
        next: OrderId,
        way: &mut Way<'_>,
        io: &mut Outlet<'_, J, S>,
    ) {
        self.forget_answered();
        for index in 0..self.pending.len() {
            let Some(pending) = self.pending.get(index).copied() else { break };
            let Some(entry) = self.table.get(pending.order_id).copied() else { continue };
            let age = way.now.since(pending.since);
            let is_wanted = !pending.is_cancel && pending.order_id >= next && entry.state == OrderState::PendingNew;
            let may_go = self.halt.is_none() && !self.is_day_over && age <= self.config.resend_age_max;
            if is_wanted
                && may_go
                && self.resend((pending.order_id, pending.since), way, io)
                && let Some(place) = self.pending.get_mut(index)
            {
                (place.sent, place.serial) = (way.now, way.sending.serial);
            }
        }
        self.is_marker_wanted = true;
    }

    /// The venue answered a mass cancel: if it is the marker, everything that it had to say of what was sent before is
    /// read.
    pub(super) fn on_marked<J: Journal, S: Sink<Execution>>(
        &mut self,
        number: OrderId,
        way: &mut Way<'_>,
        io: &mut Outlet<'_, J, S>,
    ) {
        let Some(marker) = way.sending.marker.filter(|marker| marker.number == number) else { return };
        way.sending.marker = None;
        if let Some(beginning) = self.beginning.take() {
            self.begin(*beginning, way, &mut *io);
        }
        self.forget_answered();
        for index in 0..self.pending.len() {
            let Some(pending) = self.pending.get(index).copied() else { break };
            if pending.serial < marker.serial {
                let resolved = self.resolve(pending, way, io);
                if let Some(place) = self.pending.get_mut(index) {
                    *place = resolved;
                }
            }
        }
        self.forget_answered();
        self.is_marker_wanted |= self.has_unknown();
        if self.phase == Phase::CatchingUp {
            self.phase = Phase::Settling;
        }
    }

    /// A message is silent although the venue has seen everything that was sent up to the marker behind it.
    fn resolve<J: Journal, S: Sink<Execution>>(
        &mut self,
        pending: Pending,
        way: &mut Way<'_>,
        io: &mut Outlet<'_, J, S>,
    ) -> Pending {
        let order_id = pending.order_id;
        let Some(entry) = self.table.get(order_id).copied() else { return pending };
        if !pending.is_cancel && pending.probes >= self.config.probe_count {
            self.close(order_id, way.now, io);
            return pending;
        }
        if !pending.is_cancel && entry.state != OrderState::PendingCancel {
            let outcome = self.table.cancel_sent(order_id);
            self.record_of(order_id, StepKind::CancelRequested(outcome), way.now, io);
        }
        if !way.cancel(order_id) {
            return pending;
        }
        self.counters.cancel_count = self.counters.cancel_count.saturating_add(1);
        let probes = pending.probes.saturating_add(u8::from(!pending.is_cancel));
        Pending { sent: way.now, serial: way.sending.serial, probes, ..pending }
    }

    /// Sends a marker.
    pub(super) fn mark<J: Journal, S>(&mut self, way: &mut Way<'_>, io: &mut Outlet<'_, J, S>) {
        let number = OrderId(self.last_number.0.saturating_add(1));
        let Ok(message) = wire::marker(number, self.config.firm) else { return };
        self.last_number = number;
        self.record((number, peregrine_types::SymbolId::MARKET), way.now, StepKind::MassCancel, io);
        way.send(message.bytes());
        way.sending.marker = Some(Marker { number, sent: way.now, serial: way.sending.serial });
    }

    /// What was asked and not answered for too long is asked again.
    pub(super) fn look_for_silence(&mut self, way: &mut Way<'_>) {
        let limit = self.config.answer_time_max;
        if way.sending.query.is_some_and(|sent| way.now.since(sent) >= limit) {
            way.sending.query = None;
            self.is_query_wanted = true;
        }
        if way.sending.marker.is_some_and(|marker| way.now.since(marker.sent) >= limit) {
            way.sending.marker = None;
            // A number that the venue has passed already is void: the query says which is not.
            self.is_query_wanted |= self.phase == Phase::CatchingUp;
            self.is_marker_wanted |= self.phase != Phase::CatchingUp;
        }
    }

    /// Sends an order once more, with the same number; `since` is when it was handed over first.
    fn resend<J: Journal, S>(
        &mut self,
        (order_id, since): (OrderId, EpochNanos),
        way: &mut Way<'_>,
        io: &mut Outlet<'_, J, S>,
    ) -> bool {
        let Some((order, replaces)) = self.table.get(order_id).map(|entry| (entry.order, entry.replaces)) else {
            return false;
        };
        let symbol = self.config.symbols.get(order.symbol.index()).copied();
        let Some(Ok(message)) = symbol.map(|symbol| match replaces {
            OrderId(0) => wire::enter(order_id, &order, symbol, self.config.capacity),
            OrderId(_) => wire::replace(order_id, replaces, &order),
        }) else {
            return false;
        };
        self.record((order_id, order.symbol), way.now, StepKind::Resent, io);
        self.counters.resent_count = self.counters.resent_count.saturating_add(1);
        self.notice(Notice::Resent(order_id));
        let now = way.now;
        way.sending.send_order(way.session, message.bytes(), (since, now))
    }

    /// An order has ended for which a replacement is on its way: the venue ignores that one.
    pub(super) fn close_replacement<J: Journal, S: Sink<Execution>>(&mut self, said: Said, io: &mut Outlet<'_, J, S>) {
        let is_ended = self.table.get(said.order_id).is_some_and(|entry| !entry.state.is_open());
        let Some(replacement) = self.table.replacement_of(said.order_id).filter(|_| is_ended) else { return };
        let said = Said { order_id: replacement, ..said };
        let execution = self.execution(said, ExecutionKind::Rejected, ReasonCode::VenueReplaceTooLate);
        self.apply(execution, io);
    }

    /// The venue's stream says that an order does not live: as if it had been refused.
    fn close<J: Journal, S: Sink<Execution>>(&mut self, order_id: OrderId, now: EpochNanos, io: &mut Outlet<'_, J, S>) {
        let reason = ReasonCode::NeverArrived;
        self.counters.closed_count = self.counters.closed_count.saturating_add(1);
        self.notice(Notice::Closed(order_id, reason));
        let said = Said { order_id, venue_time: now, now };
        let execution = self.execution(said, ExecutionKind::Rejected, reason);
        self.apply(execution, io);
    }

    /// The first replay is complete: earlier runs' account against the venue's. What no log has is written down, what is
    /// open is cancelled.
    fn begin<J: Journal, S: Sink<Execution>>(
        &mut self,
        mut beginning: Beginning,
        way: &mut Way<'_>,
        io: &mut Outlet<'_, J, S>,
    ) {
        let account = &beginning.account;
        let found = compare(account, &self.ledger, &beginning.rejected, &self.config.symbols);
        for difference in &found {
            self.differ(*difference);
            match *difference {
                Difference::Silent(order_id) => {
                    self.take_up(account.orders.get(&order_id));
                    self.await_answer(order_id, false, (way.now, 0));
                }
                Difference::FillLearnt(..)
                | Difference::BustLearnt(..)
                | Difference::StillOpen(..)
                | Difference::OrderNotInLog(_)
                | Difference::FillNotAtVenue(..)
                | Difference::FillDiffers(..)
                | Difference::NumberNotInLog(_)
                | Difference::Position { .. }
                | Difference::Order { .. }
                | Difference::OrderDiffers(_)
                | Difference::NumberTooHigh(_)
                | Difference::Impossible(_)
                | Difference::UnknownBust(..)
                | Difference::Malformed(_) => {}
            }
        }
        for execution in &beginning.carried {
            let key = (execution.order_id, execution.match_number);
            let logged = beginning.account.fills.get(&key);
            let is_bust = execution.kind == ExecutionKind::Busted;
            if logged.is_none_or(|logged| is_bust && !logged.is_busted) {
                let outcome = Outcome::Applied {
                    from: OrderState::Live,
                    to: self.table.get(execution.order_id).map_or(OrderState::Filled, |entry| entry.state),
                    leaves_qty: execution.leaves_qty,
                };
                let place = (execution.order_id, execution.symbol);
                self.record(place, way.now, StepKind::Report(*execution, outcome), io);
            }
        }
        self.carried = core::mem::take(&mut beginning.carried);
        self.cancel_open(way, io);
    }

    /// Takes in an order of an earlier run of which the venue says nothing.
    fn take_up(&mut self, logged: Option<&LoggedOrder>) {
        if let Some(logged) = logged {
            let submitted = self.table.submit(logged.order_id, logged.order, Cause::default());
            if submitted.is_err() {
                self.differ(Difference::OrderNotInLog(logged.order_id));
            }
        }
    }

    /// Asks for the cancellation of every open order, one by one.
    fn cancel_open<J: Journal, S>(&mut self, way: &mut Way<'_>, io: &mut Outlet<'_, J, S>) {
        for index in 0..self.table.slot_count() {
            let Some(order_id) = self.table.open_at(index).filter(|id| self.ledger.order(*id).is_some()) else {
                continue;
            };
            let outcome = self.table.cancel_sent(order_id);
            self.record_of(order_id, StepKind::CancelRequested(outcome), way.now, io);
            let is_sent = way.cancel(order_id);
            self.counters.cancel_count = self.counters.cancel_count.saturating_add(u64::from(is_sent));
            self.await_answer(order_id, true, (way.now, way.sending.serial));
        }
    }

    /// Cancels everything in one message, and notes it for every open order: where the message is lost, each is asked for
    /// by itself. The hot thread does it: the orders are found slot by slot, and no list is made of them.
    pub(super) fn mass_cancel<J: Journal, S>(&mut self, way: &mut Way<'_>, io: &mut Outlet<'_, J, S>) {
        let number = OrderId(self.last_number.0.saturating_add(1));
        let Ok(message) = wire::mass_cancel(number, self.config.firm) else { return };
        for index in 0..self.table.slot_count() {
            let Some(order_id) = self.table.open_at(index) else { continue };
            let outcome = self.table.cancel_sent(order_id);
            self.record_of(order_id, StepKind::CancelRequested(outcome), way.now, io);
        }
        self.last_number = number;
        self.record((number, peregrine_types::SymbolId::MARKET), way.now, StepKind::MassCancel, io);
        if way.send(message.bytes()) {
            self.counters.cancel_count = self.counters.cancel_count.saturating_add(1);
        }
        // A cancel that is on its way leaves an order open: they are the same ones.
        for index in 0..self.table.slot_count() {
            let Some(order_id) = self.table.open_at(index) else { continue };
            let is_waiting = self.pending.iter().any(|pending| pending.is_cancel && pending.order_id == order_id);
            if !is_waiting {
                self.await_answer(order_id, true, (way.now, way.sending.serial));
            }
        }
    }

    /// Whether some order is unknown: neither alive nor gone by the venue's word.
    pub(super) fn has_unknown(&self) -> bool {
        self.pending.iter().any(|pending| !pending.is_cancel && pending.probes > 0)
    }
}
