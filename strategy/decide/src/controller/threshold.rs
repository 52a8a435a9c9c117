//! The house's controller: thresholds on the heads, one quote per side, takes that pay for themselves.
//!
//! The target is −1, 0 or +1 times `target_position_qty`, from the controller head with hysteresis. What is missing to
//! the target is quoted post-only at or behind the best price, or taken at the opposite best price when the predicted
//! move exceeds half-spread, fee and margin. Answers are awaited before the next order of the same side; a denial or
//! rejection pauses the symbol. Nothing rests while the model is surprised or unsure. A quote that is not where it should
//! be is cancelled and placed anew, or with `use_replace` replaced in one message.

use peregrine_types::{
    EpochNanos, Execution, NewOrder, OrderId, OrderIntent, Position, Price, Qty, ReasonCode, Side, SymbolId, TickTable,
    TimeInForce,
};

use super::orders::{Stage, SymbolOrders, Working};
use super::{Controller, DecisionView, Outcome};
use crate::tick::{behind, round_to_tick};
use crate::{ConfigViolation, DecideConfig, IntentBatch};

/// What is known of one watched symbol.
#[derive(Clone, Debug)]
struct SymbolControl {
    symbol: SymbolId,
    /// −1, 0 or 1.
    direction: i8,
    orders: SymbolOrders,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct ThresholdController {
    config: DecideConfig,
    symbols: Box<[SymbolControl]>,
}

/// What should be out there.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    side: Side,
    price: Price,
    qty: Qty,
    is_take: bool,
}

impl ThresholdController {
    /// A controller for `watched_count_max` symbols; the only allocation.
    ///
    /// # Errors
    /// Every [`ConfigViolation`] of `config`.
    pub fn new(config: DecideConfig, watched_count_max: u32) -> Result<Self, Vec<ConfigViolation>> {
        config.validate()?;
        let empty = SymbolControl { symbol: SymbolId::MARKET, direction: 0, orders: SymbolOrders::NONE };
        Ok(Self { config, symbols: vec![empty; SymbolId(watched_count_max).index()].into_boxed_slice() })
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &DecideConfig {
        &self.config
    }
}

impl Controller for ThresholdController {
    fn decide(&mut self, view: &DecisionView<'_>, out: &mut IntentBatch) -> Outcome {
        self.symbols.get_mut(view.slot).map_or(Outcome::Held, |control| control.decide(&self.config, view, out))
    }

    fn rehearse(&self, view: &DecisionView<'_>, out: &mut IntentBatch) {
        if let Some(mut control) = self.symbols.get(view.slot).cloned() {
            core::hint::black_box(control.decide(&self.config, view, out));
        }
    }

    fn withdraw(&mut self, slot: usize, now: EpochNanos, out: &mut IntentBatch) {
        if let Some(control) = self.symbols.get_mut(slot) {
            control.orders.cancel_unless((control.symbol, now), |_| false, out);
        }
    }

    fn on_approved(&mut self, slot: usize, intent: &OrderIntent, order_id: OrderId) {
        if let Some(control) = self.symbols.get_mut(slot) {
            control.orders.on_approved(intent, order_id);
        }
    }

    fn on_denied(&mut self, slot: usize, intent: &OrderIntent, reason: ReasonCode, now: EpochNanos) {
        if let Some(control) = self.symbols.get_mut(slot) {
            control.orders.on_denied(intent, reason, now.plus(self.config.denied_backoff));
        }
    }

    fn on_execution(&mut self, slot: usize, execution: &Execution) {
        if let Some(control) = self.symbols.get_mut(slot) {
            control.orders.on_execution(execution, self.config.denied_backoff);
        }
    }

    fn has_orders(&self, slot: usize) -> bool {
        self.symbols.get(slot).is_some_and(|control| !control.orders.is_empty())
    }

    fn position(&self, slot: usize) -> Position {
        self.symbols.get(slot).map_or(Position::FLAT, |control| control.orders.position)
    }

    fn target(&self, slot: usize) -> Position {
        let direction = self.symbols.get(slot).map_or(0, |control| control.direction);
        Position(self.config.target(direction))
    }

    fn write_state(&self, write: &mut dyn FnMut(&[u8])) {
        for control in &self.symbols {
            write(&control.symbol.0.to_le_bytes());
            write(&control.direction.to_le_bytes());
            control.orders.write_state(write);
        }
    }
}

impl SymbolControl {
    /// Never a part of its caller: what is rehearsed is to be the very code that an event runs.
    #[inline(never)]
    fn decide(&mut self, config: &DecideConfig, view: &DecisionView<'_>, out: &mut IntentBatch) -> Outcome {
        self.symbol = view.symbol;
        if let Some(outcome) = config.stands_aside(view) {
            if outcome != Outcome::BookNotGood || config.withdraws_on(view) {
                self.orders.cancel_unless((view.symbol, view.now), |_| false, out);
            }
            return outcome;
        }
        self.direction = config.direction(self.direction, f64::from(view.heads.action));
        let wanted = config.wanted(self, view);
        self.approach(config, wanted, view, out)
    }

    /// Moves what is out there towards what is wanted, one step.
    fn approach(
        &mut self,
        config: &DecideConfig,
        wanted: Option<Wanted>,
        view: &DecisionView<'_>,
        out: &mut IntentBatch,
    ) -> Outcome {
        let fits = |working: &Working| wanted.is_some_and(|wanted| config.fits(working, &wanted, view.ticks));
        if let Some(wanted) = wanted.filter(|wanted| config.use_replace && !wanted.is_take)
            && let Some(outcome) = self.move_quote(&wanted, &fits, view, out)
        {
            return outcome;
        }
        let canceled = self.orders.cancel_unless((view.symbol, view.now), fits, out);
        let stands = |working: &Working| fits(working) && working.stage != Stage::Canceling;
        let Some(wanted) = wanted.filter(|wanted| !self.orders.quote(wanted.side).is_some_and(stands)) else {
            return if canceled > 0 { Outcome::Withdrew } else { Outcome::Held };
        };
        if self.must_wait_for(&wanted) {
            return if canceled > 0 { Outcome::Withdrew } else { Outcome::Waited };
        }
        if self.orders.is_backing_off(view.now) {
            return Outcome::BackedOff;
        }
        match (self.orders.ask(wanted.order(view.symbol), out), wanted.is_take) {
            (false, _) => Outcome::Waited,
            (true, true) => Outcome::Took,
            (true, false) => Outcome::Quoted,
        }
    }

    /// With `use_replace`, the quote of the wanted side moves in one message; `None` when there is none that could.
    fn move_quote(
        &mut self,
        wanted: &Wanted,
        fits: &impl Fn(&Working) -> bool,
        view: &DecisionView<'_>,
        out: &mut IntentBatch,
    ) -> Option<Outcome> {
        let quote = self.orders.quote(wanted.side)?;
        match quote.stage {
            Stage::Live if fits(quote) => return None,
            // The answer comes first: what is wanted by then is another question.
            Stage::Replacing => return Some(Outcome::Waited),
            Stage::Live => {}
            Stage::Asked | Stage::Sent | Stage::Canceling => return None,
        }
        let opposite = self.orders.quote(wanted.side.opposite());
        let could_meet = opposite.is_some_and(|theirs| !theirs.price.is_better_than(wanted.price, wanted.side));
        if could_meet || self.orders.has_take() {
            return None;
        }
        if self.orders.is_backing_off(view.now) {
            return Some(Outcome::BackedOff);
        }
        let asked = self.orders.ask_replace(view.symbol, (wanted.side, wanted.price, wanted.qty), out);
        Some(if asked { Outcome::Quoted } else { Outcome::Waited })
    }

    /// Whether an order of ours stands in the way: a take waits for everything, a quote for its own side, for takes and
    /// for an opposite quote that it could meet.
    fn must_wait_for(&self, wanted: &Wanted) -> bool {
        if wanted.is_take {
            return !self.orders.is_empty();
        }
        let opposite = self.orders.quote(wanted.side.opposite());
        let could_meet = opposite.is_some_and(|theirs| !theirs.price.is_better_than(wanted.price, wanted.side));
        self.orders.has_take() || self.orders.quote(wanted.side).is_some() || could_meet
    }
}

impl Wanted {
    const fn order(&self, symbol: SymbolId) -> NewOrder {
        let time_in_force = if self.is_take { TimeInForce::ImmediateOrCancel } else { TimeInForce::Day };
        let is_post_only = !self.is_take;
        NewOrder { symbol, side: self.side, price: self.price, qty: self.qty, time_in_force, is_post_only }
    }
}

impl DecideConfig {
    /// Why nothing may rest at this moment, if so. The comparisons fail closed on an undefined number.
    fn stands_aside(&self, view: &DecisionView<'_>) -> Option<Outcome> {
        let is_expected = f64::from(view.heads.surprise) <= self.surprise_max;
        let is_sure = f64::from(view.heads.regime.confidence) >= self.regime_confidence_min;
        match (view.state.is_good(), is_expected, is_sure) {
            (false, _, _) => Some(Outcome::BookNotGood),
            (true, false, _) => Some(Outcome::Surprised),
            (true, true, false) => Some(Outcome::RegimeUnsure),
            (true, true, true) => None,
        }
    }

    /// Whether what stands against the book withdraws resting orders.
    const fn withdraws_on(&self, view: &DecisionView<'_>) -> bool {
        view.state.bits() & self.withdraw_on.bits() != 0
    }

    /// The next direction: taken up at the threshold, given up below threshold minus hysteresis.
    fn direction(&self, held: i8, action: f64) -> i8 {
        let keep = self.action_threshold - self.action_hysteresis;
        match held {
            _ if action >= self.action_threshold => 1,
            _ if action <= -self.action_threshold => -1,
            1 if action >= keep => 1,
            -1 if action <= -keep => -1,
            _ => 0,
        }
    }

    fn target(&self, direction: i8) -> i64 {
        i64::try_from(self.target_position_qty.0).unwrap_or(i64::MAX).saturating_mul(i64::from(direction))
    }

    /// What is missing to the target and how to get it.
    fn wanted(&self, control: &SymbolControl, view: &DecisionView<'_>) -> Option<Wanted> {
        let missing = self.target(control.direction).saturating_sub(control.orders.position.0);
        let side = match missing.signum() {
            1 => Side::Buy,
            -1 => Side::Sell,
            _ => return None,
        };
        let qty = Qty(missing.unsigned_abs()).min(self.order_qty);
        let is_take = self.pays(side, view);
        let price = if is_take { self.take_price(side, view) } else { self.quote_price(side, view) };
        price.map(|price| Wanted { side, price, qty, is_take })
    }

    /// Whether the predicted move towards `side` exceeds half-spread, fee and margin.
    fn pays(&self, side: Side, view: &DecisionView<'_>) -> bool {
        let (Some(bid), Some(ask)) = (view.top.bid, view.top.ask) else {
            return false;
        };
        let half_spread = 0.5 * ask.price.0.saturating_sub(bid.price.0) as f64;
        let cost =
            half_spread + self.fee_removed.0 as f64 + self.take_margin_ticks * view.ticks.tick(ask.price).0 as f64;
        match side {
            Side::Buy => self.predicted_move(view) > cost,
            Side::Sell => -self.predicted_move(view) > cost,
        }
    }

    /// The predicted change of the mid in price units: the mean log return times the mid, to first order.
    fn predicted_move(&self, view: &DecisionView<'_>) -> f64 {
        let mean = view.heads.return_mean.get(self.take_horizon_index).copied().unwrap_or(0.0);
        view.mid_x2().map_or(0.0, |mid_x2| 0.5 * mid_x2.0 as f64 * f64::from(mean))
    }

    /// The opposite best price, on the tick from its far side so that it reaches the level.
    fn take_price(&self, side: Side, view: &DecisionView<'_>) -> Option<Price> {
        let best = view.top.side(side.opposite())?.price;
        round_to_tick(best.0 as f64, view.ticks, side.opposite())
    }

    /// At or behind the best price of its own side, and behind the predicted price where an edge is asked for.
    fn quote_price(&self, side: Side, view: &DecisionView<'_>) -> Option<Price> {
        let best = view.top.side(side)?.price;
        let joined = behind(best, self.quote_offset_ticks, view.ticks, side)?;
        let Some(edge_ticks) = self.quote_edge_ticks else {
            return Some(joined);
        };
        let (mid, edge) = (0.5 * view.mid_x2()?.0 as f64, edge_ticks * view.ticks.tick(best).0 as f64);
        let fair = mid + self.predicted_move(view);
        let limit = match side {
            Side::Buy => round_to_tick(fair - edge, view.ticks, side)?,
            Side::Sell => round_to_tick(fair + edge, view.ticks, side)?,
        };
        Some(if joined.is_better_than(limit, side) { limit } else { joined })
    }

    /// Whether a working order may stay for what is wanted: its side, near enough its price, no more than its quantity.
    fn fits(&self, working: &Working, wanted: &Wanted, ticks: &TickTable) -> bool {
        let tolerance =
            ticks.tick(wanted.price).0.saturating_mul(i64::from(self.requote_tolerance_ticks)).unsigned_abs();
        !wanted.is_take
            && working.side == wanted.side
            && working.leaves_qty <= wanted.qty
            && working.price.0.abs_diff(wanted.price.0) <= tolerance
    }
}
