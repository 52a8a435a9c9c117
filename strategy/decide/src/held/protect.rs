//! Stop-loss and take-profit of one position.

use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, NewOrder, OrderId, OrderIntent, Position, Price, Qty, Side, Sink, SymbolId,
    TickTable, TimeInForce,
};

use super::fills::Fills;
use super::{HeldAction, HeldChange, HeldConfig, HeldKind, HeldView, RestOrder, Told};
use crate::IntentBatch;

/// Which of the two has fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fired {
    Stop,
    Take,
}

/// An exit under way.
#[derive(Clone, Copy, Debug)]
struct Exit {
    order: NewOrder,
    /// 0 until the risk gate has approved it.
    order_id: OrderId,
}

#[derive(Clone, Debug)]
pub(super) struct Protection {
    /// The position by the fills reported, and what it cost.
    fills: Fills,
    stop: Price,
    take: Price,
    is_asked: bool,
    is_armed: bool,
    fired: Option<Fired>,
    exit: Option<Exit>,
    exit_not_before: EpochNanos,
    /// Whether it was said that no exit within the limits can be sent.
    is_beyond_limits: bool,
    /// The controller stands aside until then, once nothing has fired any more.
    aside_until: EpochNanos,
    /// The last trade since it was armed; 0: none.
    last_trade: Price,
}

impl Protection {
    pub(super) const NONE: Self = Self {
        fills: Fills::NONE,
        stop: Price(0),
        take: Price(0),
        is_asked: false,
        is_armed: false,
        fired: None,
        exit: None,
        exit_not_before: EpochNanos::MIN,
        is_beyond_limits: false,
        aside_until: EpochNanos::MIN,
        last_trade: Price(0),
    };

    pub(super) fn is_blocking(&self, now: EpochNanos) -> bool {
        self.fired.is_some() || now < self.aside_until
    }

    pub(super) const fn has_exit(&self) -> bool {
        self.exit.is_some()
    }

    pub(super) fn owns(&self, intent: &OrderIntent) -> bool {
        match intent {
            OrderIntent::New(order) => self.exit.is_some_and(|exit| exit.order_id.0 == 0 && exit.order == *order),
            OrderIntent::Cancel { .. } | OrderIntent::Replace { .. } => false,
        }
    }

    pub(super) fn is_exit(&self, order_id: OrderId) -> bool {
        self.exit.is_some_and(|exit| exit.order_id == order_id)
    }

    pub(super) const fn on_trade(&mut self, price: Price) {
        self.last_trade = price;
    }

    const fn position(&self) -> Position {
        self.fills.position()
    }

    /// The side that brings the position back to nothing.
    const fn exit_side(&self) -> Side {
        if self.position().0 > 0 { Side::Sell } else { Side::Buy }
    }

    fn change(&self, action: HeldAction) -> HeldChange {
        HeldChange {
            kind: HeldKind::Protection,
            action,
            is_asked: self.is_asked,
            position: self.position(),
            average_price: self.fills.average_price(),
            stop: self.stop,
            take: self.take,
            rest: RestOrder { side: self.exit_side(), qty: self.position().abs(), ..RestOrder::default() },
            ..HeldChange::default()
        }
    }

    /// The controller's own prices.
    pub(super) fn ask(&mut self, config: &HeldConfig, prices: (Price, Price), ticks: &TickTable, told: &mut Told<'_>) {
        if self.position() == Position::FLAT || self.fired.is_some() {
            return;
        }
        (self.stop, self.take) = prices;
        self.is_asked = true;
        self.settle(config, ticks, told);
    }

    /// Arms, changes or lets go by what the position is now.
    fn settle(&mut self, config: &HeldConfig, ticks: &TickTable, told: &mut Told<'_>) {
        if !self.is_asked {
            (self.stop, self.take) = self.configured(config, ticks);
        }
        let is_wanted = self.position() != Position::FLAT && (self.stop.0 > 0 || self.take.0 > 0);
        let action = match (self.is_armed, is_wanted) {
            (false, false) => return,
            (false, true) => HeldAction::Armed,
            (true, true) => HeldAction::Changed,
            (true, false) => HeldAction::Canceled,
        };
        if !self.is_armed {
            self.last_trade = Price(0);
        }
        self.is_armed = is_wanted;
        told.tell(self.change(action));
    }

    /// Stop and take by the configuration: so many ticks from the average price; 0 where none is wanted or no price is.
    fn configured(&self, config: &HeldConfig, ticks: &TickTable) -> (Price, Price) {
        let average = self.fills.average_price();
        let at = |count: u32, is_below: bool| {
            let price = if is_below { ticks.down(average, count) } else { ticks.up(average, count) };
            price.filter(|price| count > 0 && price.0 > 0 && average.0 > 0).unwrap_or(Price(0))
        };
        let is_long = self.position().0 > 0;
        (at(config.stop_loss_ticks, is_long), at(config.take_profit_ticks, !is_long))
    }

    /// Fires if its moment has come.
    pub(super) fn on_event(&mut self, config: &HeldConfig, view: &HeldView<'_>, told: &mut Told<'_>) -> bool {
        if !self.is_armed || self.fired.is_some() || !view.state.is_good() {
            return false;
        }
        let Some(best) = view.top.side(self.exit_side().opposite()) else { return false };
        let is_long = self.position().0 > 0;
        let is_at = |price: Price, level: Price, is_below: bool| {
            level.0 > 0 && price.0 > 0 && if is_below { price <= level } else { price >= level }
        };
        let by_trade = config.is_stop_on_trade && is_at(self.last_trade, self.stop, is_long);
        let fired = if by_trade || is_at(best.price, self.stop, is_long) {
            (Fired::Stop, HeldAction::StopFired)
        } else if is_at(best.price, self.take, !is_long) {
            (Fired::Take, HeldAction::TakeFired)
        } else {
            return false;
        };
        told.tell(self.change(fired.1));
        self.fired = Some(fired.0);
        true
    }

    /// Sends an exit, if one is due and none is under way.
    pub(super) fn exit(
        &mut self,
        config: &HeldConfig,
        (symbol, has_others): (SymbolId, bool),
        view: &HeldView<'_>,
        (out, told): (&mut IntentBatch, &mut Told<'_>),
    ) {
        let is_due = self.fired.is_some() && self.exit.is_none() && view.may_send && view.now >= self.exit_not_before;
        if !is_due || has_others || !view.state.is_good() || self.position() == Position::FLAT {
            return;
        }
        let Some((price, qty)) = self.fitting_exit(config, view) else {
            if !self.is_beyond_limits {
                told.tell(self.change(HeldAction::BeyondLimits));
                self.is_beyond_limits = true;
            }
            return;
        };
        self.is_beyond_limits = false;
        let (side, time_in_force) = (self.exit_side(), TimeInForce::ImmediateOrCancel);
        let order = NewOrder { symbol, side, price, qty, time_in_force, is_post_only: false };
        if out.push(OrderIntent::New(order)).is_ok() {
            self.exit = Some(Exit { order, order_id: OrderId(0) });
        }
    }

    /// Price and quantity of the next exit within the limits of the risk gate; `None` where there is none now.
    fn fitting_exit(&self, config: &HeldConfig, view: &HeldView<'_>) -> Option<(Price, Qty)> {
        let side = self.exit_side();
        let (best, reference) = (view.top.side(side.opposite())?.price, view.top.reference_price()?);
        let price = match side {
            Side::Sell => view.ticks.down(best, config.exit_slippage_ticks),
            Side::Buy => view.ticks.up(best, config.exit_slippage_ticks),
        };
        let price = config.limits.exit_price((side, price), (best, reference), view.ticks)?;
        let qty = self.position().abs().min(config.limits.qty_max(side, price, reference));
        (qty > Qty::ZERO).then_some((price, qty))
    }

    pub(super) fn on_approved(&mut self, intent: &OrderIntent, order_id: OrderId) {
        if self.owns(intent)
            && let Some(exit) = &mut self.exit
        {
            exit.order_id = order_id;
        }
    }

    pub(super) fn on_denied(&mut self, intent: &OrderIntent, resume: EpochNanos) {
        if self.owns(intent) {
            self.exit = None;
            self.exit_not_before = resume;
        }
    }

    /// A report on any order of the symbol. Until the run has begun positions alone are followed.
    pub(super) fn on_execution(
        &mut self,
        config: &HeldConfig,
        (execution, ticks, is_begun): (&Execution, &TickTable, bool),
        told: &mut Told<'_>,
    ) {
        if self.is_exit(execution.order_id) && is_over(execution) {
            self.exit = None;
            if execution.kind == ExecutionKind::Rejected {
                self.exit_not_before = execution.visible_time.plus(config.retry_pause);
            }
        }
        let before = self.position();
        match execution.kind {
            ExecutionKind::Filled => self.fills.add(execution),
            ExecutionKind::Busted => self.fills.remove(execution),
            ExecutionKind::Accepted
            | ExecutionKind::Rejected
            | ExecutionKind::Canceled
            | ExecutionKind::CancelRejected
            | ExecutionKind::Reduced
            | ExecutionKind::Replaced => {}
        }
        if self.position() == before || !is_begun {
            return;
        }
        let is_turned = self.position().0.signum() != before.0.signum();
        if is_turned {
            self.end(execution.visible_time.plus(config.cooldown), told);
        }
        if self.fired.is_none() {
            self.settle(config, ticks, told);
        }
    }

    /// The position that was protected is gone.
    fn end(&mut self, aside_until: EpochNanos, told: &mut Told<'_>) {
        if self.fired.take().is_some() {
            told.tell(self.change(HeldAction::Done));
            self.aside_until = aside_until;
        } else if self.is_armed {
            told.tell(self.change(HeldAction::Canceled));
        }
        (self.stop, self.take, self.is_asked, self.is_armed) = (Price(0), Price(0), false, false);
        self.is_beyond_limits = false;
    }

    /// Takes up what an earlier run left: the position is what the venue says. Prices of the configuration are worked out
    /// anew: what the log does not have has moved the average price. What is not held any more is said, so that no later run
    /// takes it up.
    pub(super) fn restore(
        &mut self,
        (change, config): (&HeldChange, &HeldConfig),
        ticks: &TickTable,
        told: &mut Told<'_>,
    ) {
        let is_same = self.position().0.signum() == change.position.0.signum() && self.position() != Position::FLAT;
        let (fired, action) = match change.action {
            HeldAction::StopFired => (Some(Fired::Stop), HeldAction::StopFired),
            HeldAction::TakeFired => (Some(Fired::Take), HeldAction::TakeFired),
            HeldAction::Armed
            | HeldAction::Changed
            | HeldAction::Done
            | HeldAction::Canceled
            | HeldAction::BeyondLimits => (None, HeldAction::Armed),
        };
        if is_same && (change.is_asked || fired.is_some()) {
            (self.stop, self.take, self.is_asked, self.is_armed) = (change.stop, change.take, change.is_asked, true);
            // One record: what has fired is never merely armed in the log.
            told.tell(self.change(action));
            self.fired = fired;
        } else if is_same {
            self.settle(config, ticks, told);
        }
        if !self.is_armed {
            told.tell(self.change(HeldAction::Canceled));
        }
    }

    /// At the begin of a run: a position that earlier runs left without protection gets the configuration's.
    /// Whether it did.
    pub(super) fn begin(&mut self, config: &HeldConfig, ticks: &TickTable, told: &mut Told<'_>) -> bool {
        if !self.is_armed {
            self.settle(config, ticks, told);
            return self.is_armed;
        }
        false
    }

    pub(super) fn write_state(&self, write: &mut dyn FnMut(&[u8])) {
        let fired = match self.fired {
            None => 0,
            Some(Fired::Stop) => 1,
            Some(Fired::Take) => 2,
        };
        write(&[u8::from(self.is_asked), u8::from(self.is_armed), fired, u8::from(self.is_beyond_limits)]);
        self.fills.write_state(write);
        for price in [self.stop, self.take, self.last_trade] {
            write(&price.0.to_le_bytes());
        }
        write(&self.exit_not_before.0.to_le_bytes());
        write(&self.aside_until.0.to_le_bytes());
        write(&self.exit.map_or(u64::MAX, |exit| exit.order_id.0).to_le_bytes());
    }
}

/// Whether a report ends its order.
fn is_over(execution: &Execution) -> bool {
    match execution.kind {
        ExecutionKind::Rejected => true,
        ExecutionKind::Filled | ExecutionKind::Canceled | ExecutionKind::Reduced => execution.leaves_qty == Qty::ZERO,
        ExecutionKind::Accepted | ExecutionKind::CancelRejected | ExecutionKind::Busted | ExecutionKind::Replaced => {
            false
        }
    }
}
