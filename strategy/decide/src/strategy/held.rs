//! The strategy's side of orders that the engine holds: who sees an event first, whose report it is, and what is written.

use peregrine_book::MarketBooks;
use peregrine_types::{BookState, Execution, ExecutionKind, OrderIntent, SymbolId};

use super::Strategy;
use crate::{Controller, HeldChange, HeldMemory, HeldView, Input, IntentBatch};

impl<C: Controller> Strategy<C> {
    /// Holds the engine's own orders of a symbol against an event; whether the controller is to stand aside.
    #[inline(never)]
    pub(super) fn hold<B: MarketBooks>(
        &mut self,
        (slot, input, state): (usize, &Input<'_>, BookState),
        books: &B,
        out: &mut IntentBatch,
    ) -> bool {
        let (symbol, now) = (input.update.symbol, input.event.recv_time);
        out.set_held_open(!self.held.is_waiting());
        if self.is_halted || now < self.decide_from {
            return false;
        }
        if let Some(trade) = input.update.trade.filter(|trade| trade.is_printable) {
            self.held.on_trade(slot, trade.price);
        }
        let (top, ticks, has_others) =
            (books.top(symbol), self.config.ticks.of(symbol), self.controller.has_orders(slot));
        let may_rest = !self.watched.get(slot).is_some_and(|watched| watched.is_blocked);
        let view = HeldView { now, top, state, ticks, has_others, may_send: self.may_send, may_rest };
        self.held.on_event((slot, symbol), &view, out);
        let is_aside = self.held.is_blocking(slot, now);
        if is_aside {
            self.controller.withdraw(slot, now, out);
        }
        is_aside
    }

    /// Takes over what the controller asked the engine to hold.
    #[inline(never)]
    pub(super) fn hear_controller(&mut self, slot: usize, symbol: SymbolId, out: &IntentBatch) {
        if self.config.held.is_for_controllers {
            for intent in out.held() {
                self.held.ask((slot, symbol), intent, self.config.ticks.of(symbol));
            }
        }
    }

    /// Whether the risk gate takes anything new from now on: while it does not, engine-held orders ask for nothing new and
    /// those that rest are withdrawn, so that nothing is denied on every event.
    pub const fn set_sending(&mut self, may_send: bool) {
        self.may_send = may_send;
    }

    /// The next change of an engine-held order, which is to be written before any intent of the same event is sent.
    #[inline]
    pub fn take_held_change(&mut self) -> Option<HeldChange> {
        self.held.take_change()
    }

    /// Whether an intent is that of an engine-held order.
    #[must_use]
    #[inline]
    pub fn holds(&self, intent: &OrderIntent) -> bool {
        self.held.is_on() && self.features.slot(intent.symbol()).is_some_and(|slot| self.held.owns(slot, intent))
    }

    /// Keeps in mind what earlier runs of the session left held, be it nothing: until [`Strategy::begin_held`] nothing is
    /// held, because fills of those runs may still come.
    pub fn remember_held(&mut self, memories: Vec<HeldMemory>) {
        self.held.remember(memories);
    }

    /// Whether engine-held orders wait for the run to begin.
    #[must_use]
    #[inline]
    pub const fn is_held_waiting(&self) -> bool {
        self.held.is_waiting()
    }

    /// Positions are the venue's: takes up the next thing that earlier runs left held, and after the last one protects the
    /// next position that has no protection. False when that is done; changes are to be written after each call.
    #[cold]
    pub fn begin_held(&mut self) -> bool {
        let features = &self.features;
        self.held.begin(|symbol| features.slot(symbol), &self.config.ticks)
    }

    /// A report on an order of the controller or of the engine's own: fills move both positions.
    #[inline(never)]
    pub(super) fn hear_held(&mut self, slot: usize, execution: &Execution) {
        let is_own = self.held.owns_order(slot, execution.order_id);
        let ticks = self.config.ticks.of(execution.symbol);
        self.held.on_execution((slot, execution.symbol), execution, ticks);
        let is_money = matches!(execution.kind, ExecutionKind::Filled | ExecutionKind::Busted);
        if !is_own || is_money {
            self.controller.on_execution(slot, execution);
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows panics, as it should")]
mod tests;
