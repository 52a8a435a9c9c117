//! Orders that the engine holds and a venue never sees before their moment: stop-loss and take-profit that protect a
//! position, and resting orders that follow the middle or the best price of their side.
//!
//! A stage like the others: events, reports and time in, intents out; fixed capacity (for each watched symbol one
//! protection and one resting order per side), no clock, no allocation. Every arming, change, trigger and end is a
//! [`HeldChange`], which the caller writes to the log before the intents that follow from it are sent.
//!
//! # Protection
//!
//! Stop-loss and take-profit of a symbol's position, one cancels the other. By the configuration they stand so many ticks
//! from the average price of the position, in which a broken trade is as if it had never been (`fills`); a controller can ask for prices of its own ([`HeldIntent::Protect`]). Both are
//! bound to the position: they have its size, shrink and grow with it, and lapse when it is gone or turns around.
//!
//! | | a long position | a short one |
//! |---|---|---|
//! | the stop fires when | the best bid is at or below it | the best ask is at or above it |
//! | … with `is_stop_on_trade` also when | the last trade since it was armed was at or below it | … at or above it |
//! | the take fires when | the best bid is at or above it | the best ask is at or below it |
//! | what is sent | sell, immediate or cancel, `exit_slippage_ticks` below the best bid | buy, … above the best ask |
//!
//! It never fires on a book that is not good (stale, halted, quarantined, crossed, locked, one-sided): it waits, and is
//! held against the first good one. When it fires, the controller stands aside: its orders of the symbol are withdrawn, so
//! that the exit cannot meet them, and the exit goes out as soon as they are gone. One exit is under way at a time and none
//! is larger than the position, so that nothing is sold twice; what an exit leaves goes out again until the position is
//! flat. A denied or rejected exit waits for `retry_pause`. Afterwards the controller stays aside for `cooldown`, and so do
//! resting orders.
//!
//! An exit fits the limits of one order that the risk gate has ([`HeldLimits`]): its price goes no further than the collar
//! around the reference price of the book, and it is of no more than quantity and value allow, so that a large position
//! leaves in several. Where no order fits (one share is worth more than an order may be, or the opposite best price lies
//! beyond the collar) that is told once, as [`HeldAction::BeyondLimits`], and the exit waits until one does.
//!
//! # Resting orders
//!
//! Limit near mid, and pegs: a post-only order that stands `offset_ticks` behind the middle of the book, or behind the best
//! price of its own side, and is replaced when the price wanted is `reprice_ticks` or more away from its own. It is
//! cancelled while the book is not good, and stands again on the first good one. Where it is alone at the best price it
//! follows itself: by the primary price it then stays where it is.
//!
//! It is of no more than one order may be; what is left follows when that is done. Where its price lies beyond the collar
//! nothing stands until it does not, which is told once. A refused one waits for `retry_pause`, and twice as long with each
//! refusal that follows, up to 64 times: what stands against it may stand for hours, and every try is a record. What is let
//! go leaves, and what is held after it does not begin before it is gone.
//!
//! While nothing new may be sent at all (trading is halted, the venue takes nothing) no exit and no resting order is asked
//! for: what fires is noted, and goes out on the first good book after that.

mod fills;
mod limits;
mod protect;
mod rest;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows panics, as it should")]
mod tests;

use std::collections::VecDeque;

use peregrine_types::{
    BookState, EpochNanos, Execution, ExecutionKind, Nanos, Notional, OrderId, OrderIntent, Position, Price, Qty,
    ReasonCode, Side, SymbolId, TickTable, TickTables, TopOfBook,
};

use crate::IntentBatch;
pub use limits::HeldLimits;
use protect::Protection;
use rest::Resting;

/// Changes that can wait to be written: more than one event, one report or one step of a beginning can cause. An event has
/// a trigger, three waits for limits, and three asks of a controller; a report the end and the begin of a protection, and a
/// fill of each resting order.
const CHANGE_COUNT_MAX: usize = 16;

/// How engine-held orders behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldConfig {
    /// Ticks from the average price of a position to its stop-loss; 0: none.
    pub stop_loss_ticks: u32,
    /// Ticks from the average price of a position to its take-profit; 0: none.
    pub take_profit_ticks: u32,
    /// Whether trades fire a stop-loss as well as quotes.
    pub is_stop_on_trade: bool,
    /// Ticks through the opposite best price that an exit may go.
    pub exit_slippage_ticks: u32,
    /// The risk gate's limits of one order: exits and resting orders are made to fit them.
    pub limits: HeldLimits,
    /// How long the controller stands aside after an exit; from 0.
    pub cooldown: Nanos,
    /// Pause after a denied or rejected message; from 0. Of a resting order it doubles with each refusal in a row, up to 64
    /// times, until the venue took one.
    pub retry_pause: Nanos,
    /// Whether controllers ask for held orders.
    pub is_for_controllers: bool,
}

impl HeldConfig {
    /// Nothing is held.
    pub const OFF: Self = Self {
        stop_loss_ticks: 0,
        take_profit_ticks: 0,
        is_stop_on_trade: false,
        exit_slippage_ticks: 0,
        limits: HeldLimits { order_qty_max: Qty(1), order_notional_max: Notional(1), price_collar_bps: 1 },
        cooldown: Nanos::ZERO,
        retry_pause: Nanos::ZERO,
        is_for_controllers: false,
    };

    /// Whether anything can be held.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.stop_loss_ticks > 0 || self.take_profit_ticks > 0 || self.is_for_controllers
    }
}

/// What a resting order follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PegReference {
    /// The middle of best bid and ask, rounded away from the other side onto the tick.
    #[default]
    Mid = 0,
    /// The best price of its own side.
    Primary = 1,
}

/// A resting order that the engine keeps in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestOrder {
    /// Buy or sell.
    pub side: Side,
    /// What is still to be executed; above zero.
    pub qty: Qty,
    /// What it follows.
    pub reference: PegReference,
    /// Ticks behind the reference, from 0.
    pub offset_ticks: u32,
    /// Ticks between its price and the price wanted from which it is replaced, at least 1.
    pub reprice_ticks: u32,
    /// Price that it never passes (a highest one for a buy); 0: none.
    pub limit: Price,
}

/// What a controller asks of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldIntent {
    /// Protects the position of the symbol at these prices in the place of the configured ones, until it is flat; 0 for
    /// none. Without a position nothing happens.
    Protect {
        /// Price of the stop-loss.
        stop: Price,
        /// Price of the take-profit.
        take: Price,
    },
    /// Holds a resting order, in the place of what was held on its side.
    Rest(RestOrder),
    /// Lets go of the resting order of a side; what rests is cancelled.
    LetGo(Side),
}

/// What is held. The number is part of the log format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum HeldKind {
    /// Stop-loss and take-profit of a position.
    #[default]
    Protection = 0,
    /// A resting order.
    Rest = 1,
}

/// What happened to it. The number is part of the log format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum HeldAction {
    /// It is held from now on.
    #[default]
    Armed = 0,
    /// Its prices or its quantity changed.
    Changed = 1,
    /// The stop-loss fired: the take-profit is cancelled with it.
    StopFired = 2,
    /// The take-profit fired: the stop-loss is cancelled with it.
    TakeFired = 3,
    /// It has done what it was for.
    Done = 4,
    /// It was let go, or lapsed with its position.
    Canceled = 5,
    /// It waits: no order within the risk limits could bring it about now. Said once, until an order fits again.
    BeyondLimits = 6,
}

/// A change of what is held, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldChange {
    /// The instrument.
    pub symbol: SymbolId,
    /// What is held.
    pub kind: HeldKind,
    /// What happened.
    pub action: HeldAction,
    /// Whether the controller asked for it; false: prices of the configuration, a change by a fill.
    pub is_asked: bool,
    /// The position then.
    pub position: Position,
    /// Average price of the position, 0 when flat.
    pub average_price: Price,
    /// Price of the stop-loss, 0 if none.
    pub stop: Price,
    /// Price of the take-profit, 0 if none.
    pub take: Price,
    /// The resting order; the side of a protection's exits, and the position's size.
    pub rest: RestOrder,
}

/// What earlier runs of the same session left held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldMemory {
    /// The last change of it, or the trigger where it has fired.
    pub change: HeldChange,
    /// Orders that a resting order sent since it was armed.
    pub orders: Vec<OrderId>,
    /// What they executed by the log; what the venue says beyond that is done too.
    pub executed: Qty,
}

impl HeldMemory {
    /// Takes a change of the log into `memories`: what is done or cancelled is forgotten.
    pub fn fold(memories: &mut Vec<Self>, change: HeldChange) {
        let is_it = |memory: &Self| {
            let (old, new) = (&memory.change, &change);
            let is_same_side = new.kind == HeldKind::Protection || old.rest.side == new.rest.side;
            (old.symbol, old.kind) == (new.symbol, new.kind) && is_same_side
        };
        let known = memories.iter_mut().find(|memory| is_it(memory));
        match (change.action, known) {
            (HeldAction::Done | HeldAction::Canceled, Some(_)) => memories.retain(|memory| !is_it(memory)),
            (HeldAction::Done | HeldAction::Canceled, None) | (HeldAction::BeyondLimits, _) => {}
            // What has fired goes on, whatever is left of the position.
            (HeldAction::Changed, Some(memory)) if memory.has_fired() => {}
            (HeldAction::Changed, Some(memory)) => {
                // Of a resting order: a fill, unless the controller asked for something else.
                if !change.is_asked {
                    let executed = memory.change.rest.qty.saturating_sub(change.rest.qty);
                    memory.executed = memory.executed.saturating_add(executed);
                }
                memory.change = change;
            }
            (_, Some(memory)) => *memory = Self { change, ..Self::default() },
            (_, None) => memories.push(Self { change, ..Self::default() }),
        }
    }

    /// Notes that an order of a symbol's resting orders was approved: with what it executes there is less to do.
    pub fn sent(memories: &mut [Self], symbol: SymbolId, order_id: OrderId) {
        let is_rest = |memory: &&mut Self| memory.change.symbol == symbol && memory.change.kind == HeldKind::Rest;
        for memory in memories.iter_mut().filter(is_rest) {
            memory.orders.push(order_id);
        }
    }

    /// The venue executed a part of an order, as the replay of its stream says.
    fn on_fill(&mut self, execution: &Execution) {
        if execution.side == self.change.rest.side && self.orders.contains(&execution.order_id) {
            let known = self.executed.min(execution.qty);
            self.executed = self.executed.saturating_sub(known);
            let new = execution.qty.saturating_sub(known);
            self.change.rest.qty = self.change.rest.qty.saturating_sub(new);
        }
    }

    const fn has_fired(&self) -> bool {
        matches!(self.change.action, HeldAction::StopFired | HeldAction::TakeFired)
    }
}

/// A moment of a watched symbol.
#[derive(Clone, Copy, Debug)]
pub struct HeldView<'a> {
    /// `recv_time` of the event.
    pub now: EpochNanos,
    /// Best bid and ask after it.
    pub top: TopOfBook,
    /// What stands against the book.
    pub state: BookState,
    /// The instrument's price steps.
    pub ticks: &'a TickTable,
    /// Whether the controller has orders of the symbol that an exit could meet.
    pub has_others: bool,
    /// Whether anything new may be sent at all: not while trading is halted or the venue takes nothing.
    pub may_send: bool,
    /// Whether the engine's own orders may rest: not in a symbol that a number that is none has blocked.
    pub may_rest: bool,
}

#[derive(Clone, Debug)]
struct Slot {
    symbol: SymbolId,
    protection: Protection,
    rests: [Resting; 2],
}

/// The stage: see the module's text. Symbols are named by slot.
#[derive(Clone, Debug)]
pub struct HeldOrders {
    config: HeldConfig,
    slots: Box<[Slot]>,
    changes: VecDeque<HeldChange>,
    /// What earlier runs left, until the run begins.
    memories: Vec<HeldMemory>,
    /// Whether positions are the venue's. Until then fills move them, and nothing is held against the market.
    is_begun: bool,
    /// The next slot that is looked at for a position without protection when the run begins.
    next_slot: usize,
}

impl HeldOrders {
    /// A stage for `watched_count_max` symbols; nothing is taken when nothing can be held.
    #[must_use]
    pub fn new(config: HeldConfig, watched_count_max: u32) -> Self {
        let count = if config.is_on() { SymbolId(watched_count_max).index() } else { 0 };
        let slot = Slot { symbol: SymbolId::MARKET, protection: Protection::NONE, rests: [Resting::NONE; 2] };
        let changes = VecDeque::with_capacity(if config.is_on() { CHANGE_COUNT_MAX } else { 0 });
        let (memories, is_begun, next_slot) = (Vec::new(), true, 0);
        Self { config, slots: vec![slot; count].into_boxed_slice(), changes, memories, is_begun, next_slot }
    }

    /// Whether anything can be held.
    #[must_use]
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.config.is_on()
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &HeldConfig {
        &self.config
    }

    /// The next change that is not written yet.
    pub fn take_change(&mut self) -> Option<HeldChange> {
        self.changes.pop_front()
    }

    /// Whether the controller is to stand aside: an exit is under way, or was lately.
    #[must_use]
    #[inline]
    pub fn is_blocking(&self, slot: usize, now: EpochNanos) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.protection.is_blocking(now))
    }

    /// Whether orders of a slot are on their way or rest.
    #[must_use]
    pub fn has_orders(&self, slot: usize) -> bool {
        let has = |slot: &Slot| slot.protection.has_exit() || slot.rests.iter().any(Resting::has_order);
        self.slots.get(slot).is_some_and(has)
    }

    /// Whether a resting order of a slot is on its way or rests.
    #[must_use]
    pub fn has_rest(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.rests.iter().any(Resting::has_order))
    }

    /// Whether an intent is one of the stage's own.
    #[must_use]
    pub fn owns(&self, slot: usize, intent: &OrderIntent) -> bool {
        let owns = |slot: &Slot| slot.protection.owns(intent) || slot.rests.iter().any(|rest| rest.owns(intent));
        self.slots.get(slot).is_some_and(owns)
    }

    /// Whether an order is one of the stage's own.
    #[must_use]
    pub fn owns_order(&self, slot: usize, order_id: OrderId) -> bool {
        let owns =
            |slot: &Slot| slot.protection.is_exit(order_id) || slot.rests.iter().any(|rest| rest.is_order(order_id));
        self.slots.get(slot).is_some_and(owns)
    }

    /// Takes what the controller asked for.
    pub fn ask(&mut self, (slot, symbol): (usize, SymbolId), intent: &HeldIntent, ticks: &TickTable) {
        let Self { config, slots, changes, .. } = self;
        let Some(slot) = slots.get_mut(slot) else { return };
        slot.symbol = symbol;
        let mut told = Told { changes, symbol };
        match intent {
            HeldIntent::Protect { stop, take } => slot.protection.ask(config, (*stop, *take), ticks, &mut told),
            HeldIntent::Rest(order) => {
                if let Some(rest) = slot.rests.get_mut(order.side.index()) {
                    rest.arm(*order, &mut told);
                }
            }
            HeldIntent::LetGo(side) => {
                if let Some(rest) = slot.rests.get_mut(side.index()) {
                    rest.let_go(&mut told);
                }
            }
        }
    }

    /// A trade printed in the symbol of a slot.
    pub fn on_trade(&mut self, slot: usize, price: Price) {
        if let Some(slot) = self.slots.get_mut(slot).filter(|_| self.is_begun) {
            slot.protection.on_trade(price);
        }
    }

    /// Holds everything of a slot against a moment. True when something fired: the controller's orders are to be withdrawn.
    pub fn on_event(&mut self, (slot, symbol): (usize, SymbolId), view: &HeldView<'_>, out: &mut IntentBatch) -> bool {
        let Self { config, slots, changes, is_begun, .. } = self;
        let Some(slot) = slots.get_mut(slot).filter(|_| *is_begun) else { return false };
        slot.symbol = symbol;
        let mut told = Told { changes, symbol };
        let has_fired = slot.protection.on_event(config, view, &mut told);
        let is_exiting = slot.protection.is_blocking(view.now);
        for rest in &mut slot.rests {
            rest.on_event(&config.limits, (symbol, is_exiting), view, (out, &mut told));
        }
        let has_others = view.has_others || slot.rests.iter().any(Resting::has_order);
        slot.protection.exit(config, (symbol, has_others), view, (out, &mut told));
        has_fired
    }

    /// Asks for the cancellation of what rests for a slot.
    pub fn withdraw(&mut self, slot: usize, now: EpochNanos, out: &mut IntentBatch) {
        if let Some(slot) = self.slots.get_mut(slot) {
            for rest in &mut slot.rests {
                rest.cancel(slot.symbol, now, out);
            }
        }
    }

    /// The risk gate approved one of the stage's own intents.
    pub fn on_approved(&mut self, slot: usize, intent: &OrderIntent, order_id: OrderId) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.protection.on_approved(intent, order_id);
            slot.rests.iter_mut().for_each(|rest| rest.on_approved(intent, order_id));
        }
    }

    /// The risk gate denied one of the stage's own intents.
    pub fn on_denied(&mut self, slot: usize, intent: &OrderIntent, reason: ReasonCode, now: EpochNanos) {
        let pause = self.config.retry_pause;
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.protection.on_denied(intent, now.plus(pause));
            slot.rests.iter_mut().for_each(|rest| rest.on_denied(intent, reason, (now, pause)));
        }
    }

    /// The venue reported on an order of the symbol, whosever it is: fills move the position.
    pub fn on_execution(&mut self, (slot, symbol): (usize, SymbolId), execution: &Execution, ticks: &TickTable) {
        let Self { config, slots, changes, memories, is_begun, .. } = self;
        let Some(slot) = slots.get_mut(slot) else { return };
        slot.symbol = symbol;
        if execution.kind == ExecutionKind::Filled {
            memories.iter_mut().for_each(|memory| memory.on_fill(execution));
        }
        let mut told = Told { changes, symbol };
        slot.protection.on_execution(config, (execution, ticks, *is_begun), &mut told);
        slot.rests.iter_mut().for_each(|rest| rest.on_execution(execution, config.retry_pause, &mut told));
    }

    /// Keeps in mind what earlier runs left held, be it nothing, and holds nothing until [`HeldOrders::begin`]: the fills
    /// that come first are those of earlier runs, and a position is not known before the last of them.
    pub fn remember(&mut self, memories: Vec<HeldMemory>) {
        if self.is_on() {
            (self.memories, self.is_begun, self.next_slot) = (memories, false, 0);
        }
    }

    /// Whether the run has yet to begin: see [`HeldOrders::remember`].
    #[must_use]
    #[inline]
    pub const fn is_waiting(&self) -> bool {
        !self.is_begun
    }

    /// Positions are those of the venue: takes up the next thing that earlier runs left held, and after the last one gives
    /// the next position that they left without protection the configured one. `slot_of` names the slot of a symbol. One
    /// thing a call, whose changes are to be written before the next; false when there is nothing more and the run has begun.
    pub fn begin(&mut self, slot_of: impl Fn(SymbolId) -> Option<usize>, ticks: &TickTables) -> bool {
        let Self { config, slots, changes, .. } = self;
        if let Some(memory) = self.memories.pop() {
            let symbol = memory.change.symbol;
            if let Some(slot) = slot_of(symbol).and_then(|slot| slots.get_mut(slot)) {
                slot.symbol = symbol;
                slot.take_up((&memory, config), ticks.of(symbol), &mut Told { changes, symbol });
            }
            return true;
        }
        while let Some(slot) = slots.get_mut(self.next_slot) {
            self.next_slot = self.next_slot.saturating_add(1);
            let (symbol, ticks) = (slot.symbol, ticks.of(slot.symbol));
            if slot.protection.begin(config, ticks, &mut Told { changes, symbol }) {
                return true;
            }
        }
        self.is_begun = true;
        false
    }

    /// Feeds everything remembered to `write`, in a fixed order and byte order; nothing when nothing can be held.
    pub fn write_state(&self, write: &mut dyn FnMut(&[u8])) {
        for slot in &self.slots {
            write(&slot.symbol.0.to_le_bytes());
            slot.protection.write_state(write);
            slot.rests.iter().for_each(|rest| rest.write_state(write));
        }
    }
}

impl Slot {
    /// Takes up what an earlier run left.
    fn take_up(&mut self, (memory, config): (&HeldMemory, &HeldConfig), ticks: &TickTable, told: &mut Told<'_>) {
        match memory.change.kind {
            HeldKind::Protection => self.protection.restore((&memory.change, config), ticks, told),
            HeldKind::Rest => {
                if let Some(rest) = self.rests.get_mut(memory.change.rest.side.index())
                    && memory.change.rest.qty > Qty::ZERO
                {
                    rest.arm(memory.change.rest, told);
                }
            }
        }
    }
}

/// Where changes of one symbol are told.
struct Told<'a> {
    changes: &'a mut VecDeque<HeldChange>,
    symbol: SymbolId,
}

impl Told<'_> {
    /// Notes a change. The list is drained after every event, report and step of a beginning, each of which causes fewer
    /// than it has room for; said as a condition, so that the code for growing is not even there.
    fn tell(&mut self, change: HeldChange) {
        debug_assert!(self.changes.len() < self.changes.capacity(), "changes are to be taken after every call");
        if self.changes.len() < self.changes.capacity() {
            self.changes.push_back(HeldChange { symbol: self.symbol, ..change });
        }
    }
}
