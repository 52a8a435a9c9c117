//! The send role of a replay: approved orders go to the paper venue, its executions come back, and every step of every
//! order is in the log before it has an effect.

use peregrine_book::{BookUpdate, MarketBooks};
use peregrine_eventlog::Send;
use peregrine_eventlog::records::{OrderRecord, OrderTransition};
use peregrine_gateway::{Arrival, Cause, FillModel, LatencyModel, OrderState, OrderTable, Outcome, PaperVenue};
use peregrine_risk::{ApprovedOrder, Refused};
use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, Full, MarketEvent, NewOrder, OrderCommand, OrderId, Position, Qty,
    ReasonCode, Sink, SymbolId,
};

use super::log::LosslessLog;
use super::machine::Inbox;
use super::path::{Permit, SendPath};

/// The stage; see the module's text.
#[derive(Debug)]
pub struct SendStage<F, L> {
    venue: PaperVenue<F, L>,
    book_keeper: BookKeeper,
}

/// The order table, the positions and the log: what a report of the venue changes.
#[derive(Debug)]
struct BookKeeper {
    table: OrderTable,
    positions: Box<[Position]>,
    log: LosslessLog<Send>,
}

impl<F: FillModel, L: LatencyModel> SendStage<F, L> {
    /// A stage for `symbol_count_max` symbols, `order_count_max` orders alive at once and `fill_count_max` fills.
    #[must_use]
    pub fn new(
        venue: PaperVenue<F, L>,
        log: LosslessLog<Send>,
        symbol_count_max: usize,
        order_count_max: usize,
        fill_count_max: usize,
    ) -> Self {
        let book_keeper = BookKeeper {
            table: OrderTable::new(order_count_max, fill_count_max),
            positions: vec![Position::FLAT; symbol_count_max].into_boxed_slice(),
            log,
        };
        Self { venue, book_keeper }
    }

    /// Takes an approved order on its way.
    ///
    /// # Errors
    /// [`Full`] with the order when the venue has no room for one more message on its way.
    pub fn accept(&mut self, approved: ApprovedOrder) -> Result<(), Full<ApprovedOrder>> {
        self.venue.accept(approved)
    }

    /// Lets own messages that have arrived by `now` meet the books, before the event of `now` is applied to them.
    pub fn before_event(&mut self, now: EpochNanos, books: &impl MarketBooks, out: &mut impl Sink<Execution>) {
        while let Some(arrival) = self.venue.next_arrived(now) {
            match self.book_keeper.on_arrival(&arrival) {
                Ok(()) => {
                    let keeper = &mut self.book_keeper;
                    self.venue.process(&arrival, books, &mut |execution| keeper.on_execution(execution, out));
                }
                // The table does not know the order, so that the report passes it by; the refusal is in the log.
                Err(reason) => self.venue.refuse(&arrival, reason, out),
            }
        }
    }

    /// Lets an event that was just applied to the books act on resting orders.
    pub fn after_event(
        &mut self,
        event: &MarketEvent,
        update: &BookUpdate,
        books: &impl MarketBooks,
        out: &mut impl Sink<Execution>,
    ) {
        let keeper = &mut self.book_keeper;
        self.venue.on_market(event, update, books, &mut |execution| keeper.on_execution(execution, out));
    }

    /// The run is over: gives the log back and keeps venue and order table.
    #[must_use]
    pub fn end(self) -> (PaperVenue<F, L>, OrderTable) {
        (self.venue, self.book_keeper.table)
    }

    /// Gives the log to another send stage, before anything was written.
    #[must_use]
    pub fn into_log(self) -> LosslessLog<Send> {
        self.book_keeper.log
    }

    /// The paper venue.
    pub const fn venue(&self) -> &PaperVenue<F, L> {
        &self.venue
    }
}

impl<B, F, L> SendPath<B> for SendStage<F, L>
where
    B: MarketBooks,
    F: FillModel + core::marker::Send,
    L: LatencyModel + core::marker::Send,
{
    const IS_LIVE: bool = false;

    #[inline]
    fn before_event(&mut self, now: EpochNanos, books: &B, out: &mut Inbox) {
        Self::before_event(self, now, books, out);
    }

    #[inline]
    fn after_event(&mut self, event: &MarketEvent, update: &BookUpdate, books: &B, out: &mut Inbox) {
        Self::after_event(self, event, update, books, out);
    }

    #[inline]
    fn accept(&mut self, approved: ApprovedOrder) -> Result<(), Refused> {
        Ok(Self::accept(self, approved)?)
    }

    #[inline]
    fn poll(&mut self, _: &mut Inbox) {}

    #[inline]
    fn permit(&self) -> Permit {
        Permit::default()
    }

    #[inline]
    fn visible_by(&self, now: EpochNanos) -> EpochNanos {
        now
    }

    /// What is on its way arrives.
    fn finish(&mut self, books: &B, out: &mut Inbox) -> bool {
        Self::before_event(self, EpochNanos::MAX, books, out);
        true
    }
}

impl BookKeeper {
    /// Writes that a message reaches the venue, or why it does not meet the books: the order table has no room for an order,
    /// or a replacement comes too late.
    fn on_arrival(&mut self, arrival: &Arrival) -> Result<(), ReasonCode> {
        match arrival.command {
            OrderCommand::New { order_id, order, cause, decision_time } => {
                let cause = Cause { event_seq: cause, decision_time };
                let outcome = self.table.submit(order_id, order, cause);
                let is_taken = matches!(outcome, Ok(Outcome::Applied { .. }));
                let (transition, reason) = if is_taken {
                    (OrderTransition::Submitted, ReasonCode::None)
                } else {
                    (OrderTransition::Rejected, ReasonCode::VenueCapacity)
                };
                self.write_order((order_id, OrderId(0)), &order, (cause, transition, reason), arrival.at);
                taken(reason)
            }
            OrderCommand::Replace { order_id, replaces, order, cause, decision_time } => {
                let cause = Cause { event_seq: cause, decision_time };
                let outcome = self.table.replace_sent((order_id, replaces), order, cause);
                let (transition, reason) = match outcome {
                    Ok(Outcome::Applied { .. }) => (OrderTransition::ReplaceRequested, ReasonCode::None),
                    Ok(_) => (OrderTransition::ReplaceRejected, ReasonCode::VenueReplaceTooLate),
                    Err(_) => (OrderTransition::ReplaceRejected, ReasonCode::VenueCapacity),
                };
                self.write_order((order_id, replaces), &order, (cause, transition, reason), arrival.at);
                taken(reason)
            }
            OrderCommand::Cancel { order_id, replacement, symbol, .. } => {
                self.write_cancel(order_id, symbol, arrival.at);
                // A replacement that came too late was refused when it arrived: there is nothing of it to cancel.
                if self.table.get(replacement).is_some() {
                    self.write_cancel(replacement, symbol, arrival.at);
                }
                Ok(())
            }
        }
    }

    /// Writes that an order, or a replacement, reaches the venue, or why it does not.
    fn write_order(
        &mut self,
        (order_id, replaces): (OrderId, OrderId),
        order: &NewOrder,
        (cause, transition, reason): (Cause, OrderTransition, ReasonCode),
        at: EpochNanos,
    ) {
        let record = OrderRecord {
            event_seq: cause.event_seq,
            decision_time: cause.decision_time,
            qty: order.qty,
            price: order.price,
            side: order.side,
            time_in_force: order.time_in_force,
            is_post_only: order.is_post_only,
            leaves_qty: if reason == ReasonCode::None { order.qty } else { Qty::ZERO },
            replaces: OrderRecord::pack_replaced(replaces),
            transition,
            reason,
            ..self.record(order_id, order.symbol, at)
        };
        self.log.append(&record);
    }

    fn write_cancel(&mut self, order_id: OrderId, symbol: SymbolId, at: EpochNanos) {
        let transition = cancel_transition(self.table.cancel_sent(order_id));
        let record = OrderRecord { transition, ..self.record(order_id, symbol, at) };
        self.log.append(&record);
    }

    /// Applies a report of the venue, writes it, and passes it on, unless it was said before.
    fn on_execution(&mut self, execution: Execution, out: &mut impl Sink<Execution>) -> Result<(), Full<Execution>> {
        let outcome = self.table.on_execution(&execution);
        let is_fill = execution.kind == ExecutionKind::Filled;
        let transition = report_transition((execution.kind, self.is_replacement(execution.order_id)), outcome);
        if is_fill
            && outcome != Outcome::Duplicate
            && let Some(position) = self.positions.get_mut(execution.symbol.index())
        {
            *position = position.after(execution.side, execution.qty).unwrap_or(*position);
        }
        let record = OrderRecord {
            price: execution.price,
            qty: execution.qty,
            leaves_qty: execution.leaves_qty,
            match_number: execution.match_number,
            fee: i64::try_from(execution.fee.0).unwrap_or(i64::MAX),
            visible_time: execution.visible_time,
            side: execution.side,
            liquidity: execution.liquidity,
            reason: execution.reason,
            transition,
            ..self.record(execution.order_id, execution.symbol, execution.venue_time)
        };
        self.log.append(&record);
        if outcome == Outcome::Duplicate { Ok(()) } else { out.push(execution) }
    }

    fn is_replacement(&self, order_id: OrderId) -> bool {
        self.table.get(order_id).is_some_and(|entry| entry.replaces.0 != 0)
    }

    /// What every record about an order says.
    fn record(&self, order_id: OrderId, symbol: SymbolId, venue_time: EpochNanos) -> OrderRecord {
        let entry = self.table.get(order_id);
        let cause = entry.map_or(Cause::default(), |entry| entry.cause);
        OrderRecord {
            order_id,
            symbol,
            event_seq: cause.event_seq,
            decision_time: cause.decision_time,
            venue_time,
            visible_time: venue_time,
            filled_qty: entry.map_or(Qty::ZERO, |entry| entry.filled_qty),
            position: self.positions.get(symbol.index()).copied().unwrap_or_default(),
            time_in_force: entry.map_or(Default::default(), |entry| entry.order.time_in_force),
            is_post_only: entry.is_some_and(|entry| entry.order.is_post_only),
            side: entry.map_or(Default::default(), |entry| entry.order.side),
            price: entry.map_or(Default::default(), |entry| entry.order.price),
            leaves_qty: entry.map_or(Qty::ZERO, |entry| entry.leaves_qty),
            replaces: entry.map_or([0; 5], |entry| OrderRecord::pack_replaced(entry.replaces)),
            ..OrderRecord::default()
        }
    }
}

/// What a reason not to take a message means: none is none.
fn taken(reason: ReasonCode) -> Result<(), ReasonCode> {
    if reason == ReasonCode::None { Ok(()) } else { Err(reason) }
}

/// What the log calls a cancel, by what it did to the order.
pub(crate) const fn cancel_transition(outcome: Outcome) -> OrderTransition {
    match outcome {
        Outcome::Applied { .. } => OrderTransition::CancelRequested,
        Outcome::Duplicate => OrderTransition::Repeated,
        Outcome::Impossible { .. } | Outcome::Unexpected { .. } => OrderTransition::Illegal,
    }
}

/// What the log calls a report of the venue, by its kind, whether the order is a replacement, and what it did to the order.
pub(crate) const fn report_transition(
    (kind, is_replacement): (ExecutionKind, bool),
    outcome: Outcome,
) -> OrderTransition {
    let to = match outcome {
        Outcome::Duplicate => return OrderTransition::Repeated,
        Outcome::Impossible { .. } | Outcome::Unexpected { .. } => return OrderTransition::Illegal,
        Outcome::Applied { to, .. } => to,
    };
    match kind {
        ExecutionKind::Accepted => OrderTransition::Accepted,
        ExecutionKind::Replaced => OrderTransition::Replaced,
        ExecutionKind::Rejected if is_replacement => OrderTransition::ReplaceRejected,
        ExecutionKind::Rejected => OrderTransition::Rejected,
        ExecutionKind::Canceled => OrderTransition::Canceled,
        ExecutionKind::CancelRejected => OrderTransition::CancelRejected,
        ExecutionKind::Reduced => OrderTransition::Reduced,
        ExecutionKind::Busted => OrderTransition::Busted,
        ExecutionKind::Filled if matches!(to, OrderState::Filled) => OrderTransition::Filled,
        ExecutionKind::Filled => OrderTransition::PartiallyFilled,
    }
}
