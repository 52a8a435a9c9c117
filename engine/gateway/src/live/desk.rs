//! What the venue's messages do: order table, ledger, positions, and what is told of it.

use std::collections::{BTreeSet, VecDeque};

use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, Liquidity, MatchNumber, Nanos, Notional, OrderId, Position, Price, Qty,
    ReasonCode, Side, Sink, SymbolId,
};

use super::adopt::is_what_was_asked;
use super::ledger::{BustError, Ledger, VenueFill};
use super::reconcile::{Difference, LoggedAccount};
use super::resolve::{Overdue, Pending};
use super::{Journal, Notice, OrderClientConfig, OrderClientCounters, Outlet, Phase, Step, StepKind, wire};
use crate::order_table::{OrderTable, Outcome, may_end};
use crate::ouch50::{CancelReason, OrderAccepted, OrderExecuted, Outbound, RejectReason};
use crate::soup::{ClientEvent, Continuity};

/// Notices that wait to be taken, at most.
const NOTICE_COUNT_MAX: usize = 1_024;

/// Differences that are kept, at most; all are counted and told.
const DIFFERENCE_COUNT_MAX: usize = 4_096;

/// The start of a run, until everything is equal: what the logs say, and what the replay has brought so far.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    pub(super) account: LoggedAccount,
    /// Orders that the replay says were refused.
    pub(super) rejected: BTreeSet<OrderId>,
    /// Fills and broken trades of the replay, in order: what positions and money begin with.
    pub(super) carried: VecDeque<Execution>,
}

/// Everything but the session.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) config: OrderClientConfig,
    pub(super) table: OrderTable,
    pub(super) ledger: Ledger,
    pub(super) positions: Box<[Position]>,
    pub(super) phase: Phase,
    pub(super) halt: Option<ReasonCode>,
    /// The session that was left is gone, or the login was refused: there is no way back. Beside the halt, whose first
    /// reason stays.
    pub(super) is_session_lost: bool,
    /// The venue ended the session: its stream is complete.
    pub(super) is_session_over: bool,
    pub(super) is_day_over: bool,
    /// Until the first replay was compared.
    pub(super) beginning: Option<Box<Beginning>>,
    /// Whether earlier orders must be gone before anything new is sent.
    pub(super) must_be_flat: bool,
    /// Messages that may still be answered, in the order in which they were handed to the session.
    pub(super) pending: VecDeque<Pending>,
    /// Those of them that are overdue.
    pub(super) overdue: Overdue,
    /// Which of the messages was looked at last for its answer.
    pub(super) freed_at: usize,
    /// Why the last order was refused here; `None` once one was taken.
    pub(super) refusal: Option<ReasonCode>,
    pub(super) last_number: OrderId,
    /// When the first of the messages that wait may be overdue.
    pub(super) due: EpochNanos,
    pub(super) is_query_wanted: bool,
    pub(super) is_marker_wanted: bool,
    pub(super) is_mass_cancel_wanted: bool,
    /// The session that was joined is not the one that was left: it is to be left at once.
    pub(super) estranged: Option<Continuity>,
    /// The venue's answer to a query, not looked at yet.
    pub(super) answer: Option<OrderId>,
    /// The number of the mass cancel that it answered last, not looked at yet.
    pub(super) marked: Option<OrderId>,
    /// Executions of earlier runs that are to be passed on.
    pub(super) carried: VecDeque<Execution>,
    pub(super) differences: Vec<Difference>,
    pub(super) counters: OrderClientCounters,
    notices: VecDeque<Notice>,
    pub(super) reject_run: u32,
}

/// One execution under way: what all of its kinds have in common.
#[derive(Clone, Copy)]
pub(super) struct Said {
    pub(super) order_id: OrderId,
    pub(super) venue_time: EpochNanos,
    pub(super) now: EpochNanos,
}

impl Desk {
    pub(super) fn new(config: OrderClientConfig, account: LoggedAccount) -> Self {
        let symbol_count = config.symbols.len();
        Self {
            table: OrderTable::new(config.order_count_max, config.fill_count_max),
            ledger: Ledger::new(config.order_number_end, config.fill_count_max, symbol_count),
            positions: vec![Position::FLAT; symbol_count].into_boxed_slice(),
            phase: Phase::Offline,
            halt: None,
            is_session_lost: false,
            is_session_over: false,
            is_day_over: false,
            last_number: account.last_number,
            beginning: Some(Box::new(Beginning { account, ..Beginning::default() })),
            must_be_flat: true,
            // An order and its cancel each.
            pending: VecDeque::with_capacity(config.order_count_max.saturating_mul(2)),
            overdue: Overdue::new(symbol_count),
            freed_at: 0,
            refusal: None,
            due: EpochNanos::MAX,
            is_query_wanted: false,
            is_marker_wanted: false,
            is_mass_cancel_wanted: false,
            estranged: None,
            answer: None,
            marked: None,
            carried: VecDeque::new(),
            differences: Vec::with_capacity(DIFFERENCE_COUNT_MAX),
            counters: OrderClientCounters::default(),
            notices: VecDeque::with_capacity(NOTICE_COUNT_MAX),
            reject_run: 0,
            config,
        }
    }

    pub(super) fn take_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        if self.notices.len() < NOTICE_COUNT_MAX {
            self.notices.push_back(notice);
        } else {
            self.counters.lost_notice_count = self.counters.lost_notice_count.saturating_add(1);
        }
    }

    /// Nothing new is sent any more; what is open is cancelled as soon as that can be said. The first reason stays.
    pub(super) fn halt(&mut self, reason: ReasonCode) {
        if self.halt.is_none() {
            self.halt = Some(reason);
            self.is_mass_cancel_wanted = true;
            self.notice(Notice::Halted(reason));
        }
    }

    /// What became of our orders cannot be learnt by going back: nobody may.
    fn lose_session(&mut self) {
        self.is_session_lost = true;
        self.halt(ReasonCode::SessionLost);
    }

    /// Names a difference; one that the venue's word does not settle halts.
    pub(super) fn differ(&mut self, difference: Difference) {
        self.counters.difference_count = self.counters.difference_count.saturating_add(1);
        if self.differences.len() < DIFFERENCE_COUNT_MAX {
            self.differences.push(difference);
        }
        self.notice(Notice::Differs(difference));
        if !difference.is_settled() {
            self.counters.unsettled_count = self.counters.unsettled_count.saturating_add(1);
            self.halt(ReasonCode::ReconcileFailed);
        }
    }

    pub(super) fn on_session<J: Journal, S: Sink<Execution>>(
        &mut self,
        event: ClientEvent<'_>,
        now: EpochNanos,
        io: &mut Outlet<'_, J, S>,
    ) {
        match event {
            ClientEvent::LoggedIn { position, continuity } => {
                self.counters.login_count = self.counters.login_count.saturating_add(1);
                let next_sequence_number = position.next_sequence_number;
                self.notice(Notice::LoggedIn { next_sequence_number, continuity });
                self.phase = Phase::CatchingUp;
                self.is_query_wanted = true;
                match continuity {
                    Continuity::Continued => {}
                    Continuity::Gap { .. } | Continuity::Behind | Continuity::OtherSession => {
                        self.estranged = Some(continuity);
                        self.lose_session();
                    }
                }
            }
            // What a strange session says is not about our orders.
            ClientEvent::Sequenced { payload, .. } if self.estranged.is_none() => self.on_message(payload, now, io),
            ClientEvent::Sequenced { .. } => {}
            // OUCH 5.0 sends every message numbered: one that is not is of no known meaning.
            ClientEvent::Unsequenced(payload) => {
                self.notice(Notice::UnknownMessage(payload.first().copied().unwrap_or(0)));
            }
            ClientEvent::Debug(_) => {}
            ClientEvent::Closed(reason) => {
                self.phase = Phase::Offline;
                (self.answer, self.marked, self.estranged) = (None, None, None);
                // The last probe of each unknown order has no answered marker behind it, and may be lost with the connection.
                for pending in &mut self.pending {
                    pending.probes = pending.probes.saturating_sub(1);
                }
                self.notice(Notice::Lost(reason));
                use crate::soup::CloseReason as Reason;
                match reason {
                    Reason::EndOfSession => {
                        self.is_session_over = true;
                        self.lose_session();
                    }
                    Reason::Rejected(_) => self.lose_session(),
                    Reason::Silent
                    | Reason::LoginTimeout
                    | Reason::Frame(_)
                    | Reason::Packet(_)
                    | Reason::Unexpected(_)
                    | Reason::LoggedOut
                    | Reason::Lost
                    | Reason::OutboxFull
                    | Reason::Unread => {}
                }
            }
        }
    }

    fn on_message<J: Journal, S: Sink<Execution>>(
        &mut self,
        payload: &[u8],
        now: EpochNanos,
        io: &mut Outlet<'_, J, S>,
    ) {
        let message = Outbound::parse(payload).ok().filter(|message| message.check().is_ok());
        let Some(message) = message else {
            return self.differ(Difference::Malformed(payload.first().copied().unwrap_or(0)));
        };
        let said = |number: u32, timestamp: u64| {
            let time = Nanos(i64::try_from(timestamp).unwrap_or(i64::MAX));
            Said { order_id: OrderId(u64::from(number)), venue_time: self.config.midnight.plus(time), now }
        };
        match message {
            Outbound::SystemEvent(m, _) => self.is_day_over |= m.event_code == b'E',
            Outbound::OrderAccepted(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                self.on_accepted(m, said, io);
            }
            Outbound::OrderCanceled(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                let reason = wire::cancel_reason(CancelReason(m.reason));
                self.take_off(said, (Qty(u64::from(m.quantity.get())), reason), io);
            }
            Outbound::AiqCanceled(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                self.take_off(said, (Qty(u64::from(m.decrement_shares.get())), ReasonCode::VenueSelfTrade), io);
            }
            Outbound::OrderExecuted(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                self.on_executed(m, said, io);
            }
            Outbound::BrokenTrade(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                self.on_broken(said, MatchNumber(m.match_number.get()), io);
            }
            Outbound::Rejected(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                self.on_rejected(said, wire::reject_reason(RejectReason(m.reason.get())), io);
            }
            Outbound::CancelReject(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                let execution = self.execution(said, ExecutionKind::CancelRejected, ReasonCode::VenueRejected);
                self.apply(execution, io);
            }
            Outbound::OrderModified(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                self.on_modified(said, Qty(u64::from(m.quantity.get())), io);
            }
            Outbound::OrderReplaced(m, _) => {
                let said = said(m.user_ref_num.get(), m.timestamp.get());
                self.on_replaced(m, said, io);
            }
            Outbound::AccountQueryResponse(m, _) => {
                self.answer = Some(OrderId(u64::from(m.next_user_ref_num.get())));
            }
            Outbound::MassCancelResponse(m, _) => self.marked = Some(OrderId(u64::from(m.user_ref_num.get()))),
            Outbound::CancelPending(..)
            | Outbound::OrderPriorityUpdate(..)
            | Outbound::OrderRestated(..)
            | Outbound::DisableResponse(..)
            | Outbound::EnableResponse(..) => {
                self.counters.informative_count = self.counters.informative_count.saturating_add(1);
            }
            Outbound::Unknown(bytes) => {
                self.notice(Notice::UnknownMessage(bytes.first().copied().unwrap_or(0)));
            }
        }
    }

    fn on_accepted<J: Journal, S: Sink<Execution>>(
        &mut self,
        m: &OrderAccepted,
        said: Said,
        io: &mut Outlet<'_, J, S>,
    ) {
        let qty = Qty(u64::from(m.quantity.get()));
        let is_ours = self.table.get(said.order_id).is_some();
        if !is_ours && self.ledger.order(said.order_id).is_none() {
            self.adopt_accepted(m, said.order_id);
        }
        let Some(entry) = self.table.get(said.order_id) else {
            // The order ended so long ago that the table gave its place away.
            return self.differ(Difference::Impossible(said.order_id));
        };
        let (order, leaves_qty) = (entry.order, entry.leaves_qty);
        if is_ours && !is_what_was_asked(m, said.order_id, &order, self.config.symbols.get(order.symbol.index())) {
            // Another sender under our number: everything that is said of it from now on is about an order unlike ours.
            return self.differ(Difference::OrderDiffers(said.order_id));
        }
        if !self.open_in_ledger(said.order_id, &order) {
            return;
        }
        let is_first = self.ledger.accept(said.order_id);
        self.reject_run = 0;
        self.counters.accepted_count = self.counters.accepted_count.saturating_add(u64::from(is_first));
        let accepted = self.execution(said, ExecutionKind::Accepted, ReasonCode::None);
        self.apply(Execution { qty, leaves_qty, price: m.price.price().unwrap_or(order.price), ..accepted }, io);
        if !is_first {
            return;
        }
        let not_taken = order.qty.saturating_sub(qty);
        let dead = if m.order_state == b'D' { qty } else { Qty::ZERO };
        let off = not_taken.saturating_add(dead);
        if off > Qty::ZERO {
            self.take_off(said, (off, ReasonCode::VenueCanceled), io);
        }
    }

    /// Shares leave an order without a trade.
    pub(super) fn take_off<J: Journal, S: Sink<Execution>>(
        &mut self,
        said: Said,
        (qty, reason): (Qty, ReasonCode),
        io: &mut Outlet<'_, J, S>,
    ) {
        if !self.is_known(said, io) {
            return;
        }
        let left = self.ledger.reduce(said.order_id, qty);
        let kind = if left == Qty::ZERO { ExecutionKind::Canceled } else { ExecutionKind::Reduced };
        let execution = self.execution(said, kind, reason);
        self.apply(Execution { qty, ..execution }, io);
    }

    fn on_modified<J: Journal, S: Sink<Execution>>(&mut self, said: Said, open: Qty, io: &mut Outlet<'_, J, S>) {
        if !self.is_known(said, io) {
            return;
        }
        let known = self.ledger.order(said.order_id).map_or(Qty::ZERO, |order| order.open_qty);
        match open.cmp(&known) {
            core::cmp::Ordering::Equal => {}
            core::cmp::Ordering::Less => {
                self.take_off(said, (known.saturating_sub(open), ReasonCode::VenueCanceled), io);
            }
            core::cmp::Ordering::Greater => self.differ(Difference::Impossible(said.order_id)),
        }
    }

    fn on_executed<J: Journal, S: Sink<Execution>>(
        &mut self,
        m: &OrderExecuted,
        said: Said,
        io: &mut Outlet<'_, J, S>,
    ) {
        if !self.is_known(said, io) {
            return;
        }
        let (qty, match_number) = (Qty(u64::from(m.quantity.get())), MatchNumber(m.match_number.get()));
        let liquidity = wire::liquidity(m.liquidity_flag).unwrap_or_else(|| {
            self.notice(Notice::UnknownFlag(m.liquidity_flag));
            Liquidity::Removed
        });
        let price = m.price.price().unwrap_or_default();
        let fee = match liquidity {
            Liquidity::Added => self.config.fees.added.times(qty),
            Liquidity::Removed => self.config.fees.removed.times(qty),
        };
        let fill = VenueFill { order_id: said.order_id, match_number, qty, price, fee, is_busted: false };
        if self.ledger.fill(&fill) {
            let count = match liquidity {
                Liquidity::Added => &mut self.counters.fills_added,
                Liquidity::Removed => &mut self.counters.fills_removed,
            };
            *count = count.saturating_add(1);
        }
        let execution = self.execution(said, ExecutionKind::Filled, ReasonCode::None);
        self.apply(Execution { qty, price, liquidity, match_number, fee, ..execution }, io);
    }

    fn on_broken<J: Journal, S: Sink<Execution>>(
        &mut self,
        said: Said,
        match_number: MatchNumber,
        io: &mut Outlet<'_, J, S>,
    ) {
        let fill = match self.ledger.bust(said.order_id, match_number) {
            Ok(fill) => fill,
            Err(BustError::Repeated) => {
                self.counters.duplicate_count = self.counters.duplicate_count.saturating_add(1);
                return;
            }
            Err(BustError::Unknown) => return self.differ(Difference::UnknownBust(said.order_id, match_number)),
        };
        self.counters.busted_count = self.counters.busted_count.saturating_add(1);
        self.notice(Notice::Busted(said.order_id, match_number));
        let execution = self.execution(said, ExecutionKind::Busted, ReasonCode::VenueBusted);
        let VenueFill { qty, price, fee, .. } = fill;
        self.apply(Execution { qty, price, match_number, fee, ..execution }, io);
    }

    fn on_rejected<J: Journal, S: Sink<Execution>>(
        &mut self,
        said: Said,
        reason: ReasonCode,
        io: &mut Outlet<'_, J, S>,
    ) {
        self.counters.rejected_count = self.counters.rejected_count.saturating_add(1);
        if self.table.get(said.order_id).is_none() {
            match &mut self.beginning {
                Some(beginning) => {
                    beginning.rejected.insert(said.order_id);
                }
                None => self.differ(Difference::OrderNotInLog(said.order_id)),
            }
            return;
        }
        self.reject_run = self.reject_run.saturating_add(1);
        let execution = self.execution(said, ExecutionKind::Rejected, reason);
        self.apply(execution, io);
        if self.reject_run >= self.config.reject_count_max {
            self.halt(ReasonCode::RejectStorm);
        }
    }

    /// An execution of an order as far as table and ledger know it.
    pub(super) fn execution(&self, said: Said, kind: ExecutionKind, reason: ReasonCode) -> Execution {
        let entry = self.table.get(said.order_id);
        let known = self.ledger.order(said.order_id).map(|order| (order.symbol, order.side, Price::default()));
        let of_entry = entry.map(|entry| (entry.order.symbol, entry.order.side, entry.order.price));
        let (symbol, side, price) = of_entry.or(known).unwrap_or((SymbolId::MARKET, Side::Buy, Price::default()));
        Execution {
            order_id: said.order_id,
            symbol,
            side,
            kind,
            liquidity: Liquidity::Added,
            reason,
            price,
            qty: Qty::ZERO,
            leaves_qty: Qty::ZERO,
            match_number: MatchNumber(0),
            venue_time: said.venue_time,
            visible_time: said.now,
            fee: Notional::ZERO,
        }
    }

    /// Applies an execution to table and position, writes it down, passes it on, and holds the account against the stream.
    pub(super) fn apply<J: Journal, S: Sink<Execution>>(&mut self, execution: Execution, io: &mut Outlet<'_, J, S>) {
        let order_id = execution.order_id;
        // The table gave the place of an order away that ended long ago: nothing of it is open, but money is money.
        let is_forgotten = self.table.get(order_id).is_none() && self.ledger.order(order_id).is_some();
        let outcome = self.table.on_execution(&execution);
        let is_money = matches!(execution.kind, ExecutionKind::Filled | ExecutionKind::Busted);
        let is_effective = match outcome {
            Outcome::Applied { .. } => true,
            Outcome::Unexpected { .. } => is_money,
            Outcome::Duplicate | Outcome::Impossible { .. } => false,
        };
        self.counters.duplicate_count =
            self.counters.duplicate_count.saturating_add(u64::from(outcome == Outcome::Duplicate));
        if is_effective && is_money {
            self.book(&execution);
        }
        let leaves_qty = self.table.get(order_id).map_or(Qty::ZERO, |entry| entry.leaves_qty);
        let execution = Execution { leaves_qty, ..execution };
        if let Some(beginning) = &mut self.beginning {
            if is_effective && is_money {
                beginning.carried.push_back(execution);
            }
        } else {
            self.record((order_id, execution.symbol), execution.visible_time, StepKind::Report(execution, outcome), io);
            if is_effective && io.executions.push(execution).is_err() {
                // The risk gate does not know what we hold any more.
                self.counters.undelivered_count = self.counters.undelivered_count.saturating_add(1);
                self.halt(ReasonCode::ReconcileFailed);
            }
        }
        match outcome {
            Outcome::Impossible { .. } | Outcome::Unexpected { .. } if !is_forgotten => {
                self.differ(Difference::Impossible(order_id));
            }
            Outcome::Applied { .. } | Outcome::Duplicate | Outcome::Impossible { .. } | Outcome::Unexpected { .. } => {
                self.hold_equal(order_id, execution.symbol);
            }
        }
        if may_end(execution.kind) {
            let said = Said { order_id, venue_time: execution.venue_time, now: execution.visible_time };
            self.close_replacement(said, io);
        }
    }

    fn book(&mut self, execution: &Execution) {
        let side = match execution.kind {
            ExecutionKind::Busted => execution.side.opposite(),
            ExecutionKind::Filled
            | ExecutionKind::Accepted
            | ExecutionKind::Rejected
            | ExecutionKind::Canceled
            | ExecutionKind::CancelRejected
            | ExecutionKind::Replaced
            | ExecutionKind::Reduced => execution.side,
        };
        if let Some(position) = self.positions.get_mut(execution.symbol.index()) {
            *position = position.after(side, execution.qty).unwrap_or(*position);
        }
    }

    /// Continuous reconciliation: the order and the position by our account and by the venue's stream.
    pub(super) fn hold_equal(&mut self, order_id: OrderId, symbol: SymbolId) {
        if self.halt == Some(ReasonCode::ReconcileFailed) {
            return;
        }
        if let Some(venue) = self.ledger.order(order_id) {
            let venue = (venue.open_qty, venue.filled_qty);
            let own = self.table.get(order_id).map(|entry| (entry.leaves_qty, entry.filled_qty));
            let own = own.unwrap_or((Qty::ZERO, venue.1));
            if own != venue {
                self.differ(Difference::Order { order_id, own, venue });
            }
        }
        if let Some(own) = self.positions.get(symbol.index()).copied() {
            let venue = self.ledger.position(symbol);
            let name = self.config.symbols.get(symbol.index()).copied().filter(|_| own != venue);
            if let Some(symbol) = name {
                self.differ(Difference::Position { symbol, own, venue });
            }
        }
    }

    /// Writes a step down.
    pub(super) fn record<J: Journal, S>(
        &mut self,
        (order_id, symbol): (OrderId, SymbolId),
        time: EpochNanos,
        kind: StepKind,
        io: &mut Outlet<'_, J, S>,
    ) {
        let entry = self.table.get(order_id);
        let position = self.positions.get(symbol.index()).copied().unwrap_or_default();
        io.journal.record(&Step { order_id, symbol, time, entry, position, kind });
    }
}
