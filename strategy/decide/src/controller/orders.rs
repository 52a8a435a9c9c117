//! Our own orders of one symbol as the strategy knows them: what was asked for, what rests, what is being cancelled.

use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, Nanos, NewOrder, OrderId, OrderIntent, Position, Price, Qty, ReasonCode,
    Side, Sink, SymbolId, TimeInForce,
};

use crate::IntentBatch;

/// How far an order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Asked of the risk gate.
    Asked = 1,
    /// Approved and sent; the venue has not answered.
    Sent = 2,
    /// Live at the venue.
    Live = 3,
    /// A cancel was asked for or sent.
    Canceling = 4,
    /// A replacement was asked for or sent.
    Replacing = 5,
}

/// What is to take an order's place.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// 0 until the risk gate has approved it.
    order_id: OrderId,
    price: Price,
    /// What the whole chain may execute.
    total_qty: Qty,
}

/// One order on its way, resting or on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Working {
    pub(super) order_id: OrderId,
    pub(super) side: Side,
    pub(super) price: Price,
    pub(super) leaves_qty: Qty,
    pub(super) stage: Stage,
    /// What it and all that it replaced may execute.
    total_qty: Qty,
    next: Option<Next>,
}

/// Place of a take among the orders; the quotes have the places of their sides.
pub(super) const TAKE: usize = 2;
const PLACES: usize = 3;

/// Orders and position of one symbol.
#[derive(Clone, Debug)]
pub(super) struct SymbolOrders {
    pub(super) position: Position,
    places: [Option<Working>; PLACES],
    new_not_before: EpochNanos,
    cancel_not_before: EpochNanos,
}

impl SymbolOrders {
    pub(super) const NONE: Self = Self {
        position: Position::FLAT,
        places: [None; PLACES],
        new_not_before: EpochNanos::MIN,
        cancel_not_before: EpochNanos::MIN,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.places.iter().all(Option::is_none)
    }

    pub(super) fn quote(&self, side: Side) -> Option<&Working> {
        self.places.get(side.index())?.as_ref()
    }

    pub(super) fn has_take(&self) -> bool {
        matches!(self.places.get(TAKE), Some(Some(_)))
    }

    pub(super) fn is_backing_off(&self, now: EpochNanos) -> bool {
        now < self.new_not_before
    }

    /// Asks for a new order, if the batch has room.
    pub(super) fn ask(&mut self, order: NewOrder, out: &mut IntentBatch) -> bool {
        let working = Working {
            order_id: OrderId(0),
            side: order.side,
            price: order.price,
            leaves_qty: order.qty,
            stage: Stage::Asked,
            total_qty: order.qty,
            next: None,
        };
        match self.places.get_mut(place_of(&order)) {
            Some(place @ None) if out.push(OrderIntent::New(order)).is_ok() => *place = Some(working),
            Some(_) | None => return false,
        }
        true
    }

    /// Asks for the cancellation of every live quote that is not `wanted`; how many that were. A take ends by itself.
    pub(super) fn cancel_unless(
        &mut self,
        (symbol, now): (SymbolId, EpochNanos),
        wanted: impl Fn(&Working) -> bool,
        out: &mut IntentBatch,
    ) -> usize {
        if now < self.cancel_not_before {
            return 0;
        }
        let mut count = 0_usize;
        for working in self.places.iter_mut().take(TAKE).flatten() {
            if matches!(working.stage, Stage::Live | Stage::Replacing)
                && !wanted(working)
                && out.push(OrderIntent::Cancel { order_id: working.order_id, symbol }).is_ok()
            {
                working.stage = Stage::Canceling;
                count = count.saturating_add(1);
            }
        }
        count
    }

    /// Asks for another price, and at most `qty` open, in the place of the live quote of `side`; whether it did.
    pub(super) fn ask_replace(
        &mut self,
        symbol: SymbolId,
        (side, price, qty): (Side, Price, Qty),
        out: &mut IntentBatch,
    ) -> bool {
        let Some(Some(working)) = self.places.get_mut(side.index()) else { return false };
        if working.stage != Stage::Live {
            return false;
        }
        let done = working.total_qty.saturating_sub(working.leaves_qty);
        let total_qty = done.saturating_add(working.leaves_qty.min(qty));
        let intent = OrderIntent::Replace { order_id: working.order_id, symbol, price, qty: total_qty };
        if out.push(intent).is_err() {
            return false;
        }
        working.stage = Stage::Replacing;
        working.next = Some(Next { order_id: OrderId(0), price, total_qty });
        true
    }

    pub(super) fn on_approved(&mut self, intent: &OrderIntent, order_id: OrderId) {
        match intent {
            OrderIntent::New(order) => {
                if let Some(Some(working)) = self.places.get_mut(place_of(order))
                    && working.stage == Stage::Asked
                {
                    working.order_id = order_id;
                    working.stage = Stage::Sent;
                }
            }
            OrderIntent::Replace { order_id: replaced, .. } => self.settle(*replaced, |w| {
                let next = w.next.map(|next| Next { order_id, ..next });
                Some(Working { next, ..w })
            }),
            OrderIntent::Cancel { .. } => {}
        }
    }

    pub(super) fn on_denied(&mut self, intent: &OrderIntent, reason: ReasonCode, resume: EpochNanos) {
        match intent {
            OrderIntent::New(order) => {
                self.new_not_before = resume;
                if let Some(place) = self.places.get_mut(place_of(order))
                    && place.is_some_and(|working| working.stage == Stage::Asked)
                {
                    *place = None;
                }
            }
            OrderIntent::Cancel { order_id, .. } => {
                self.cancel_not_before = resume;
                // The gate follows the same reports: what it does not know as open is gone.
                let is_gone = reason == ReasonCode::UnknownOrder;
                self.settle(*order_id, |working| if is_gone { None } else { Some(uncanceled(working)) });
            }
            OrderIntent::Replace { order_id, .. } => {
                self.new_not_before = resume;
                let is_gone = reason == ReasonCode::UnknownOrder;
                self.settle(*order_id, |working| if is_gone { None } else { Some(kept(working)) });
            }
        }
    }

    /// Takes in a report. Fills count whether or not the order is known.
    pub(super) fn on_execution(&mut self, execution: &Execution, backoff: Nanos) {
        let resume = execution.visible_time.plus(backoff);
        let leaves_qty = execution.leaves_qty;
        match execution.kind {
            ExecutionKind::Accepted => self.settle(execution.order_id, |w| Some(accepted(Working { leaves_qty, ..w }))),
            ExecutionKind::Filled => {
                self.position = self.position.after(execution.side, execution.qty).unwrap_or(self.position);
                self.settle(execution.order_id, |w| left(accepted(Working { leaves_qty, ..w })));
            }
            ExecutionKind::Busted => {
                self.position = self.position.after(execution.side.opposite(), execution.qty).unwrap_or(self.position);
            }
            ExecutionKind::Reduced => self.settle(execution.order_id, |w| left(accepted(Working { leaves_qty, ..w }))),
            ExecutionKind::Canceled => self.settle(execution.order_id, |w| left(Working { leaves_qty, ..w })),
            ExecutionKind::Rejected => {
                if execution.reason != ReasonCode::VenueReplaceTooLate {
                    self.new_not_before = resume;
                }
                self.settle(execution.order_id, |_| None);
                self.settle_next(execution.order_id, |working, _| Some(kept(working)));
            }
            ExecutionKind::Replaced => self.settle_next(execution.order_id, |working, next| {
                let Next { order_id, price, total_qty } = next;
                left(kept(Working { order_id, price, total_qty, leaves_qty, ..working }))
            }),
            ExecutionKind::CancelRejected => {
                self.cancel_not_before = resume;
                self.settle(execution.order_id, |w| left(uncanceled(Working { leaves_qty, ..w })));
            }
        }
    }

    pub(super) fn write_state(&self, write: &mut dyn FnMut(&[u8])) {
        write(&self.position.0.to_le_bytes());
        write(&self.new_not_before.0.to_le_bytes());
        write(&self.cancel_not_before.0.to_le_bytes());
        for place in &self.places {
            let Some(working) = place else {
                write(&[0]);
                continue;
            };
            write(&[working.stage as u8, working.side as u8]);
            write(&working.order_id.0.to_le_bytes());
            write(&working.price.0.to_le_bytes());
            write(&working.leaves_qty.0.to_le_bytes());
            if let Some(next) = &working.next {
                write(&next.order_id.0.to_le_bytes());
                write(&next.price.0.to_le_bytes());
                write(&next.total_qty.0.to_le_bytes());
            }
        }
    }

    /// Replaces the order by what `change` makes of it.
    fn settle(&mut self, order_id: OrderId, change: impl Fn(Working) -> Option<Working>) {
        for place in &mut self.places {
            if let Some(working) = *place
                && working.order_id == order_id
                && working.stage != Stage::Asked
            {
                *place = change(working);
            }
        }
    }
}

impl SymbolOrders {
    /// Replaces the order whose replacement is `order_id` by what `change` makes of both.
    fn settle_next(&mut self, order_id: OrderId, change: impl Fn(Working, Next) -> Option<Working>) {
        for place in &mut self.places {
            if let Some(working) = *place
                && let Some(next) = working.next
                && next.order_id == order_id
                && order_id.0 != 0
            {
                *place = change(working, next);
            }
        }
    }
}

/// Without a replacement on its way.
fn kept(working: Working) -> Working {
    let stage = if working.stage == Stage::Replacing { Stage::Live } else { working.stage };
    Working { stage, next: None, ..working }
}

const fn place_of(order: &NewOrder) -> usize {
    match order.time_in_force {
        TimeInForce::Day => order.side.index(),
        TimeInForce::ImmediateOrCancel => TAKE,
    }
}

fn accepted(working: Working) -> Working {
    if working.stage == Stage::Sent { Working { stage: Stage::Live, ..working } } else { working }
}

fn uncanceled(working: Working) -> Working {
    let stage = if working.next.is_some() { Stage::Replacing } else { Stage::Live };
    if working.stage == Stage::Canceling { Working { stage, ..working } } else { working }
}

fn left(working: Working) -> Option<Working> {
    (working.leaves_qty > Qty::ZERO).then_some(working)
}
