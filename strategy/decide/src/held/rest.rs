//! A resting order that follows a price.

use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, MidX2, Nanos, NewOrder, OrderId, OrderIntent, Price, Qty, ReasonCode, Side,
    Sink, SymbolId, TimeInForce, TopOfBook,
};

use super::{HeldAction, HeldChange, HeldKind, HeldLimits, HeldView, PegReference, RestOrder, Told};
use crate::IntentBatch;

/// So many times as long as the configured pause is the longest one: with the 10 ms of the documentation an order that is
/// refused for good is two records a second.
const PAUSE_GROWTH_MAX: i64 = 64;

/// How far its order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// Asked of the risk gate.
    Asked = 1,
    /// Approved and sent.
    Sent = 2,
    /// Live at the venue.
    Live = 3,
    /// A replacement was asked for or sent.
    Replacing = 4,
    /// A cancel was asked for or sent.
    Canceling = 5,
}

/// Its order at the venue.
#[derive(Clone, Copy, Debug)]
struct Working {
    order_id: OrderId,
    order: NewOrder,
    leaves_qty: Qty,
    /// What is still to be executed beyond it, because one order may not be of so much.
    short: Qty,
    stage: Stage,
    /// The replacement on its way.
    next: Option<Next>,
    /// Whether what it was sent for is not held any more: it is to leave, and what it still executes is not taken off what
    /// is held after it.
    is_let_go: bool,
}

/// What is to take the order's place.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// 0 until it is approved.
    order_id: OrderId,
    price: Price,
    /// What it and all that it replaces may execute.
    total: Qty,
    short: Qty,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Resting {
    /// What is held; its quantity is what is still to be executed.
    held: Option<RestOrder>,
    working: Option<Working>,
    /// Of new orders and replacements.
    new_not_before: EpochNanos,
    cancel_not_before: EpochNanos,
    /// The last pause after a refusal; 0 since the venue took an order.
    pause: Nanos,
    /// Whether it was said that no order within the limits can stand where it belongs.
    is_beyond_limits: bool,
}

impl Resting {
    pub(super) const NONE: Self = Self {
        held: None,
        working: None,
        new_not_before: EpochNanos::MIN,
        cancel_not_before: EpochNanos::MIN,
        pause: Nanos::ZERO,
        is_beyond_limits: false,
    };

    pub(super) const fn has_order(&self) -> bool {
        self.working.is_some()
    }

    pub(super) fn owns(&self, intent: &OrderIntent) -> bool {
        let Some(working) = &self.working else { return false };
        match intent {
            OrderIntent::New(order) => working.stage == Stage::Asked && working.order == *order,
            OrderIntent::Cancel { order_id, .. } | OrderIntent::Replace { order_id, .. } => {
                working.stage != Stage::Asked && working.order_id == *order_id
            }
        }
    }

    pub(super) fn is_order(&self, order_id: OrderId) -> bool {
        let is_it = |w: Working| w.order_id == order_id || w.next.is_some_and(|next| next.order_id == order_id);
        order_id.0 != 0 && self.working.is_some_and(is_it)
    }

    pub(super) fn arm(&mut self, order: RestOrder, told: &mut Told<'_>) {
        if order.qty == Qty::ZERO {
            return;
        }
        let action = if self.held.is_some() { HeldAction::Changed } else { HeldAction::Armed };
        if self.held.is_none()
            && let Some(working) = &mut self.working
        {
            working.is_let_go = true;
        }
        self.held = Some(RestOrder { reprice_ticks: order.reprice_ticks.max(1), ..order });
        self.is_beyond_limits = false;
        self.tell((action, true), told);
    }

    pub(super) fn let_go(&mut self, told: &mut Told<'_>) {
        if self.held.is_some() {
            self.tell((HeldAction::Canceled, true), told);
            self.held = None;
            self.is_beyond_limits = false;
        }
    }

    fn tell(&self, (action, is_asked): (HeldAction, bool), told: &mut Told<'_>) {
        let rest = self.held.unwrap_or_default();
        told.tell(HeldChange { kind: HeldKind::Rest, action, is_asked, rest, ..HeldChange::default() });
    }

    /// Brings the order to where it belongs, one step.
    pub(super) fn on_event(
        &mut self,
        limits: &HeldLimits,
        (symbol, is_exiting): (SymbolId, bool),
        view: &HeldView<'_>,
        (out, told): (&mut IntentBatch, &mut Told<'_>),
    ) {
        if self.held.is_none() && self.working.is_none() {
            return;
        }
        let is_let_go = self.working.is_some_and(|working| working.is_let_go);
        let may_stand = !is_exiting && !is_let_go && view.may_send && view.may_rest;
        let is_wanted = may_stand && view.state.is_good();
        let wanted = self.held.filter(|_| is_wanted).and_then(|held| Some((held, price_of(&held, view)?)));
        let Some((held, price)) = wanted else {
            return self.cancel(symbol, view.now, out);
        };
        let room = view.top.reference_price().map_or(Qty::ZERO, |at| limits.qty_max(held.side, price, at));
        if room == Qty::ZERO {
            if !self.is_beyond_limits {
                self.tell((HeldAction::BeyondLimits, false), told);
                self.is_beyond_limits = true;
            }
            return self.cancel(symbol, view.now, out);
        }
        self.is_beyond_limits = false;
        if view.now < self.new_not_before {
            return;
        }
        match self.working {
            None => self.enter(symbol, (&held, price, room), out),
            Some(working) => self.move_to(working, (&held, price, room), view, out),
        }
    }

    fn enter(&mut self, symbol: SymbolId, (held, price, room): (&RestOrder, Price, Qty), out: &mut IntentBatch) {
        let (side, qty) = (held.side, held.qty.min(room));
        let order = NewOrder { symbol, side, price, qty, time_in_force: TimeInForce::Day, is_post_only: true };
        if out.push(OrderIntent::New(order)).is_ok() {
            let (order_id, leaves_qty, stage) = (OrderId(0), qty, Stage::Asked);
            let short = held.qty.saturating_sub(qty);
            let (next, is_let_go) = (None, false);
            self.working = Some(Working { order_id, order, leaves_qty, short, stage, next, is_let_go });
        }
    }

    fn move_to(
        &mut self,
        working: Working,
        (held, price, room): (&RestOrder, Price, Qty),
        view: &HeldView<'_>,
        out: &mut IntentBatch,
    ) {
        let step = view.ticks.tick(price).0.unsigned_abs().saturating_mul(u64::from(held.reprice_ticks));
        let is_far = working.order.price.0.abs_diff(price.0) >= step;
        let is_resized = working.leaves_qty.saturating_add(working.short) != held.qty;
        if working.stage != Stage::Live || !(is_far || is_resized) {
            return;
        }
        let (order_id, symbol) = (working.order_id, working.order.symbol);
        // The limits count what the whole chain may execute: where that is used up another chain begins.
        let done = working.order.qty.saturating_sub(working.leaves_qty);
        let open = held.qty.min(room.saturating_sub(done));
        let short = held.qty.saturating_sub(open);
        if open == Qty::ZERO {
            return self.cancel(symbol, view.now, out);
        }
        if !is_far && open == working.leaves_qty {
            self.working = Some(Working { short, ..working });
            return;
        }
        let total = done.saturating_add(open);
        if out.push(OrderIntent::Replace { order_id, symbol, price, qty: total }).is_ok() {
            let next = Some(Next { order_id: OrderId(0), price, total, short });
            self.working = Some(Working { stage: Stage::Replacing, next, ..working });
        }
    }

    /// Asks for the cancellation of what rests.
    pub(super) fn cancel(&mut self, symbol: SymbolId, now: EpochNanos, out: &mut IntentBatch) {
        let Some(working) = &mut self.working else { return };
        let is_live = matches!(working.stage, Stage::Live | Stage::Replacing);
        if !is_live || now < self.cancel_not_before {
            return;
        }
        if out.push(OrderIntent::Cancel { order_id: working.order_id, symbol }).is_ok() {
            working.stage = Stage::Canceling;
        }
    }

    pub(super) fn on_approved(&mut self, intent: &OrderIntent, order_id: OrderId) {
        if !self.owns(intent) {
            return;
        }
        let Some(working) = &mut self.working else { return };
        match intent {
            OrderIntent::New(_) => (working.order_id, working.stage) = (order_id, Stage::Sent),
            OrderIntent::Replace { .. } => working.next = working.next.map(|next| Next { order_id, ..next }),
            OrderIntent::Cancel { .. } => {}
        }
    }

    /// Nothing new after a refusal at `now` until the pause is over, which is as long as `pause` and doubles with each refusal
    /// in a row: what stands against the order may stand for hours, and every try is a record.
    fn wait(&mut self, now: EpochNanos, pause: Nanos) {
        let longest = pause.0.saturating_mul(PAUSE_GROWTH_MAX);
        self.pause = Nanos(self.pause.0.saturating_mul(2).max(pause.0).min(longest));
        self.new_not_before = now.plus(self.pause);
    }

    pub(super) fn on_denied(&mut self, intent: &OrderIntent, reason: ReasonCode, (now, pause): (EpochNanos, Nanos)) {
        if !self.owns(intent) {
            return;
        }
        match intent {
            OrderIntent::New(_) | OrderIntent::Replace { .. } => self.wait(now, pause),
            OrderIntent::Cancel { .. } => self.cancel_not_before = now.plus(pause),
        }
        let Some(working) = self.working else { return };
        // The gate follows the same reports: what it does not know as open is gone.
        let is_gone = reason == ReasonCode::UnknownOrder || matches!(intent, OrderIntent::New(_));
        let next = working.next.filter(|_| !matches!(intent, OrderIntent::Replace { .. }));
        let stage = if next.is_some() { Stage::Replacing } else { Stage::Live };
        self.working = if is_gone { None } else { Some(Working { stage, next, ..working }) };
    }

    pub(super) fn on_execution(&mut self, execution: &Execution, pause: Nanos, told: &mut Told<'_>) {
        if !self.is_order(execution.order_id) {
            return;
        }
        let Some(working) = self.working else { return };
        let is_next = working.order_id != execution.order_id;
        if matches!(execution.kind, ExecutionKind::Accepted | ExecutionKind::Filled | ExecutionKind::Replaced) {
            self.pause = Nanos::ZERO;
        }
        self.working = match execution.kind {
            ExecutionKind::Accepted => Some(answered(working, execution.kind)),
            ExecutionKind::CancelRejected => {
                self.cancel_not_before = execution.visible_time.plus(pause);
                Some(answered(working, execution.kind))
            }
            ExecutionKind::Filled | ExecutionKind::Canceled | ExecutionKind::Reduced => {
                left(Working { leaves_qty: execution.leaves_qty, ..working })
            }
            ExecutionKind::Replaced => left(replaced(working, execution.leaves_qty)),
            ExecutionKind::Rejected => {
                if execution.reason != ReasonCode::VenueReplaceTooLate {
                    self.wait(execution.visible_time, pause);
                }
                is_next.then(|| kept(working))
            }
            ExecutionKind::Busted => Some(working),
        };
        if execution.kind == ExecutionKind::Filled && !working.is_let_go {
            self.on_fill(execution.qty, told);
        }
    }

    fn on_fill(&mut self, qty: Qty, told: &mut Told<'_>) {
        let Some(held) = &mut self.held else { return };
        held.qty = held.qty.saturating_sub(qty);
        let is_done = held.qty == Qty::ZERO;
        self.tell((if is_done { HeldAction::Done } else { HeldAction::Changed }, false), told);
        if is_done {
            self.held = None;
        }
    }

    pub(super) fn write_state(&self, write: &mut dyn FnMut(&[u8])) {
        let held = self.held.unwrap_or_default();
        write(&[u8::from(self.held.is_some()), held.side as u8, held.reference as u8]);
        write(&held.qty.0.to_le_bytes());
        write(&held.offset_ticks.to_le_bytes());
        write(&held.reprice_ticks.to_le_bytes());
        write(&held.limit.0.to_le_bytes());
        write(&self.new_not_before.0.to_le_bytes());
        write(&self.cancel_not_before.0.to_le_bytes());
        write(&self.pause.0.to_le_bytes());
        write(&[u8::from(self.is_beyond_limits)]);
        if let Some(working) = &self.working {
            write(&[working.stage as u8, u8::from(working.is_let_go)]);
            write(&working.order_id.0.to_le_bytes());
            write(&working.order.price.0.to_le_bytes());
            write(&working.leaves_qty.0.to_le_bytes());
            write(&working.short.0.to_le_bytes());
            write(&working.next.map_or(0, |next| next.order_id.0).to_le_bytes());
        }
    }
}

/// Where the order belongs now; `None` where there is no price for it.
fn price_of(held: &RestOrder, view: &HeldView<'_>) -> Option<Price> {
    let best = reference(held, &view.top)?;
    let price = match held.side {
        Side::Buy => view.ticks.down(best, held.offset_ticks)?,
        Side::Sell => view.ticks.up(best, held.offset_ticks)?,
    };
    let price = if held.limit.0 > 0 {
        let limit = match held.side {
            Side::Buy => view.ticks.down(held.limit, 0)?,
            Side::Sell => view.ticks.up(held.limit, 0)?,
        };
        if price.is_better_than(limit, held.side) { limit } else { price }
    } else {
        price
    };
    let opposite = view.top.side(held.side.opposite())?.price;
    // A post-only order never reaches the other side.
    Some(price).filter(|price| price.0 > 0 && is_away(held.side, *price, opposite))
}

fn is_away(side: Side, price: Price, opposite: Price) -> bool {
    match side {
        Side::Buy => price < opposite,
        Side::Sell => price > opposite,
    }
}

/// The price that the order follows: the middle is rounded down for a buy and up for a sale, in price units.
fn reference(held: &RestOrder, top: &TopOfBook) -> Option<Price> {
    let own = top.side(held.side)?.price;
    match held.reference {
        PegReference::Primary => Some(own),
        PegReference::Mid => {
            let mid_x2 = MidX2::of(top.bid?.price, top.ask?.price).0;
            let half = mid_x2.div_euclid(2);
            Some(Price(match held.side {
                Side::Buy => half,
                Side::Sell => half.saturating_add(mid_x2.rem_euclid(2)),
            }))
        }
    }
}

fn answered(working: Working, kind: ExecutionKind) -> Working {
    let stage = match (working.stage, kind) {
        (Stage::Sent, ExecutionKind::Accepted) => Stage::Live,
        (Stage::Canceling, ExecutionKind::CancelRejected) if working.next.is_some() => Stage::Replacing,
        (Stage::Canceling, ExecutionKind::CancelRejected) => Stage::Live,
        (stage, _) => stage,
    };
    Working { stage, ..working }
}

/// Without the replacement that was on its way.
fn kept(working: Working) -> Working {
    let stage = if working.stage == Stage::Replacing { Stage::Live } else { working.stage };
    Working { stage, next: None, ..working }
}

fn replaced(working: Working, leaves_qty: Qty) -> Working {
    let Some(Next { order_id, price, total, short }) = working.next else { return working };
    kept(Working { order_id, order: NewOrder { price, qty: total, ..working.order }, leaves_qty, short, ..working })
}

fn left(working: Working) -> Option<Working> {
    let stage = if working.stage == Stage::Sent { Stage::Live } else { working.stage };
    (working.leaves_qty > Qty::ZERO).then_some(Working { stage, ..working })
}
