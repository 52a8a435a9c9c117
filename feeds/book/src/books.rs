//! The books that trade: one table of orders, one pool of levels, one row per symbol; memory fixed at start.
//!
//! There are no linked queues. An order's priority says where it stands among the orders of its level, every update
//! carries the priority of the order concerned, and that is all that a follower of a queue needs; walking a queue
//! itself ([`MarketBooks::queue`]) is a slow path that visits the order table. So an add or a delete touches one order
//! slot, one symbol row and the level cells near the touch, and nothing else.
//!
//! `inline(always)` stands where a call would copy a [`BookUpdate`] of more than a hundred bytes through memory.

use peregrine_types::{
    BookState, EventFlags, EventKind, Level, MarketEvent, OrderRef, Price, Qty, Side, SymbolId, TopOfBook, TradingState,
};

use crate::hash::{hash_order, hash_words};
use crate::ladder::{Cut, Ladders, SideLevels, key_of};
use crate::order_table::{Entry, OrderSlot, OrderTable};
use crate::status::MarketStatus;
use crate::{
    AnomalyCounts, BookAction, BookAnomaly, BookConfig, BookConfigError, BookUpdate, MarketBooks, ORDER_QTY_MAX,
    Placed, Priority, RestingOrder, TradePrint,
};

/// Both sides of one symbol: a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct SymbolLevels {
    bids: SideLevels,
    asks: SideLevels,
}

const _: () = assert!(size_of::<SymbolLevels>() == 64);

/// With fewer live orders (32 bytes each) and fewer windows (of which some lines are in use) than these, all that events
/// need is in the second cache anyway, and looking ahead would cost more than it saves.
const FEW_ORDERS: usize = 1 << 12;
const FEW_WINDOWS: u32 = 64;

/// The fast books. See [`MarketBooks`] for what they do and [`crate::NaiveBooks`] for the same thing spelled out.
#[derive(Debug)]
pub struct Books {
    orders: OrderTable,
    levels: Ladders,
    symbols: Box<[SymbolLevels]>,
    status: MarketStatus,
    priority_last: u64,
    order_count_max: usize,
}

/// What an event asks to take from an order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    /// A quantity, traded at the order's own price.
    Execute,
    /// A quantity, traded at the event's price.
    ExecuteAtPrice,
    /// A quantity.
    Cancel,
    /// Everything.
    Delete,
}

/// An order that was found, and where.
#[derive(Clone, Copy)]
struct Named {
    index: usize,
    slot: OrderSlot,
}

const fn nothing(event: &MarketEvent, anomaly: BookAnomaly) -> BookUpdate {
    let mut update = BookUpdate::new(event.symbol, BookAction::NoChange);
    update.anomaly = Some(anomaly);
    update
}

#[inline]
fn check_order(price: Price, qty: Qty) -> Result<(), BookAnomaly> {
    if qty.0 == 0 {
        return Err(BookAnomaly::ZeroQty);
    }
    if qty.0 > ORDER_QTY_MAX {
        return Err(BookAnomaly::QtyTooLarge);
    }
    if price.0 <= 0 { Err(BookAnomaly::InvalidPrice) } else { Ok(()) }
}

#[inline]
const fn side_levels(symbol: &SymbolLevels, side: Side) -> &SideLevels {
    match side {
        Side::Buy => &symbol.bids,
        Side::Sell => &symbol.asks,
    }
}

#[inline]
const fn side_levels_mut(symbol: &mut SymbolLevels, side: Side) -> &mut SideLevels {
    match side {
        Side::Buy => &mut symbol.bids,
        Side::Sell => &mut symbol.asks,
    }
}

impl Books {
    #[inline]
    fn side(&self, symbol: SymbolId, side: Side) -> Option<&SideLevels> {
        self.symbols.get(symbol.index()).map(|levels| side_levels(levels, side))
    }

    /// Lets an order join at the back of its level. Returns its priority and whether its level is the best one.
    #[inline(always)]
    fn join(&mut self, order_ref: OrderRef, mut order: RestingOrder) -> Result<(Priority, bool), BookAnomaly> {
        let Some(symbol) = self.symbols.get_mut(order.symbol.index()) else {
            return Err(BookAnomaly::SymbolOutOfRange);
        };
        let index = match self.orders.entry(order_ref) {
            Entry::Free(index) => Ok(index),
            Entry::Live => return Err(BookAnomaly::DuplicateAdd),
            Entry::NoRoom => Err(BookAnomaly::OrderCapacity),
        };
        check_order(order.price, order.qty)?;
        let index = index?;
        if self.orders.live_count() >= self.order_count_max {
            return Err(BookAnomaly::OrderCapacity);
        }
        let key = key_of(order.side, order.price.0);
        let joined = self.levels.add(side_levels_mut(symbol, order.side), key, order.qty.0)?;
        self.priority_last = self.priority_last.wrapping_add(1);
        order.priority = Priority(self.priority_last);
        self.orders.insert(index, OrderSlot::new(order_ref, &order, joined.index));
        Ok((order.priority, joined.is_best))
    }

    #[inline(always)]
    fn on_add(&mut self, event: &MarketEvent) -> BookUpdate {
        let MarketEvent { symbol, side, price, qty, .. } = *event;
        let order = RestingOrder { symbol, side, price, qty, priority: Priority(0) };
        match self.join(event.order_ref(), order) {
            Ok((priority, is_top_changed)) => {
                let update = BookUpdate::new(symbol, BookAction::Added);
                BookUpdate { side, price, qty, priority, is_top_changed, ..update }
            }
            Err(anomaly) => nothing(event, anomaly),
        }
    }

    /// The live order that an event names.
    #[inline(always)]
    fn named(&mut self, event: &MarketEvent) -> Result<Named, BookAnomaly> {
        if event.symbol.index() >= self.symbols.len() {
            return Err(BookAnomaly::SymbolOutOfRange);
        }
        let index = self.orders.find(event.order_ref()).ok_or(BookAnomaly::UnknownOrder)?;
        let slot = *self.orders.slot(index).ok_or(BookAnomaly::UnknownOrder)?;
        if slot.symbol() != event.symbol {
            self.status.quarantine(slot.symbol());
            return Err(BookAnomaly::SymbolMismatch);
        }
        Ok(Named { index, slot })
    }

    /// Takes `qty` from an order. Returns whether its level was the best one, `None` when it had no level.
    #[inline(always)]
    fn take(&mut self, named: &Named, qty: u32) -> Option<bool> {
        let slot = &named.slot;
        let is_gone = qty >= slot.qty;
        if is_gone {
            self.orders.remove(named.index);
        } else {
            self.orders.set_qty(named.index, slot.qty.wrapping_sub(qty));
        }
        let symbol = self.symbols.get_mut(slot.symbol().index())?;
        let key = key_of(slot.side(), slot.price);
        let cut = Cut { key, hint: slot.level_hint(), qty: u64::from(qty), is_order_gone: is_gone };
        self.levels.reduce(side_levels_mut(symbol, slot.side()), cut)
    }

    #[inline(always)]
    fn on_reduce(&mut self, event: &MarketEvent, take: Take) -> BookUpdate {
        let named = match self.named(event) {
            Ok(named) => named,
            Err(anomaly) => return nothing(event, anomaly),
        };
        let slot = &named.slot;
        let left = u64::from(slot.qty);
        let (action, asked, excess) = match take {
            Take::Execute | Take::ExecuteAtPrice => (BookAction::Executed, event.qty.0, BookAnomaly::OverExecution),
            Take::Cancel => (BookAction::Canceled, event.qty.0, BookAnomaly::OverCancel),
            Take::Delete => (BookAction::Deleted, left, BookAnomaly::OverCancel),
        };
        if asked == 0 {
            return nothing(event, BookAnomaly::ZeroQty);
        }
        let removed = asked.min(left);
        let mut update = BookUpdate::new(event.symbol, action);
        update.side = slot.side();
        update.price = Price(slot.price);
        update.qty = Qty(removed);
        update.priority = Priority(slot.priority);
        update.is_order_gone = removed == left;
        update.anomaly = if asked > left { Some(excess) } else { None };
        match take {
            Take::Execute => {
                update.trade = Some(print_of(slot, removed, Price(slot.price), true));
            }
            Take::ExecuteAtPrice if event.price.0 > 0 => {
                let is_printable = event.flags.contains(EventFlags::PRINTABLE);
                update.trade = Some(print_of(slot, removed, event.price, is_printable));
            }
            Take::ExecuteAtPrice => update.anomaly = update.anomaly.or(Some(BookAnomaly::InvalidPrice)),
            Take::Cancel | Take::Delete => {}
        }
        match self.take(&named, u32::try_from(removed).unwrap_or(u32::MAX)) {
            Some(is_best) => update.is_top_changed = is_best,
            None => update.anomaly = update.anomaly.or(Some(BookAnomaly::LevelMissing)),
        }
        update
    }

    #[inline(never)]
    fn on_replace(&mut self, event: &MarketEvent) -> BookUpdate {
        let named = match self.named(event) {
            Ok(named) => named,
            Err(anomaly) => return nothing(event, anomaly),
        };
        let old = named.slot.order();
        let is_duplicate = self.orders.find(event.new_order_ref()).is_some();
        let before = self.side(old.symbol, old.side).map(|side| self.levels.best_cell(side));
        let removed = self.take(&named, named.slot.qty);
        let joined = if is_duplicate {
            Err(BookAnomaly::DuplicateAdd)
        } else {
            self.join(event.new_order_ref(), RestingOrder { price: event.price, qty: event.qty, ..old })
        };
        let after = self.side(old.symbol, old.side).map(|side| self.levels.best_cell(side));
        let mut update = BookUpdate::new(event.symbol, BookAction::Replaced);
        update.side = old.side;
        update.price = old.price;
        update.qty = old.qty;
        update.priority = old.priority;
        update.is_order_gone = true;
        update.is_top_changed = before != after;
        update.anomaly = if removed.is_none() { Some(BookAnomaly::LevelMissing) } else { None };
        match joined {
            Ok((priority, _)) => update.replacement = Some(Placed { price: event.price, qty: event.qty, priority }),
            Err(anomaly) => update.anomaly = Some(anomaly),
        }
        update
    }

    #[inline]
    fn on_trade(&self, event: &MarketEvent) -> BookUpdate {
        if event.symbol.index() >= self.symbols.len() {
            return nothing(event, BookAnomaly::SymbolOutOfRange);
        }
        if event.qty.0 == 0 {
            return BookUpdate::new(event.symbol, BookAction::NoChange);
        }
        let mut update = BookUpdate::new(event.symbol, BookAction::Traded);
        update.price = event.price;
        update.trade = Some(TradePrint { price: event.price, qty: event.qty, aggressor: None, is_printable: true });
        update
    }

    #[cold]
    #[inline(never)]
    fn on_empty_start(&mut self, event: &MarketEvent) -> BookUpdate {
        let mut update = self.status.apply(event);
        update.is_top_changed = self.orders.live_count() > 0;
        self.orders.clear();
        self.levels.clear();
        self.symbols.fill(SymbolLevels::default());
        update
    }
}

#[inline]
const fn print_of(slot: &OrderSlot, qty: u64, price: Price, is_printable: bool) -> TradePrint {
    TradePrint { price, qty: Qty(qty), aggressor: Some(slot.side().opposite()), is_printable }
}

impl MarketBooks for Books {
    fn new(config: BookConfig) -> Result<Self, BookConfigError> {
        config.validate()?;
        let symbol_count = SymbolId(config.symbol_count_max).index();
        let order_count_max = SymbolId(config.order_count_max).index();
        let mut symbols = vec![SymbolLevels::default(); symbol_count].into_boxed_slice();
        core::hint::black_box(&mut symbols).fill(SymbolLevels::default());
        Ok(Self {
            orders: OrderTable::new(order_count_max),
            levels: Ladders::new(config.symbol_count_max, config.level_count_max),
            symbols,
            status: MarketStatus::new(&config),
            priority_last: 0,
            order_count_max,
        })
    }

    #[inline]
    fn apply(&mut self, event: &MarketEvent) -> BookUpdate {
        let update = match event.kind {
            EventKind::AddOrder => self.on_add(event),
            // One copy of the code for each: what differs is decided by the compiler.
            EventKind::DeleteOrder => self.on_reduce(event, Take::Delete),
            EventKind::ExecuteOrder => self.on_reduce(event, Take::Execute),
            EventKind::CancelOrder => self.on_reduce(event, Take::Cancel),
            EventKind::ExecuteOrderAtPrice => self.on_reduce(event, Take::ExecuteAtPrice),
            EventKind::ReplaceOrder => self.on_replace(event),
            EventKind::Trade | EventKind::CrossTrade => self.on_trade(event),
            EventKind::SessionStart | EventKind::SnapshotStart => return self.on_empty_start(event),
            EventKind::BrokenTrade
            | EventKind::SystemEvent
            | EventKind::StockDirectory
            | EventKind::TradingAction
            | EventKind::RegSho
            | EventKind::ParticipantPosition
            | EventKind::MwcbLevels
            | EventKind::MwcbStatus
            | EventKind::IpoQuotingPeriod
            | EventKind::LuldCollar
            | EventKind::OperationalHalt
            | EventKind::ImbalanceShares
            | EventKind::ImbalancePrices
            | EventKind::RetailInterest
            | EventKind::DirectListingPrices
            | EventKind::DirectListingCollars
            | EventKind::GapStart
            | EventKind::GapEnd
            | EventKind::SessionEnd => return self.status.apply(event),
        };
        if let Some(anomaly) = update.anomaly {
            self.status.note(event.symbol, anomaly);
        }
        update
    }

    /// Plain reads whose results are thrown away: several of them miss the cache at the same time, where the events
    /// applied one by one would miss one after the other.
    #[inline]
    fn prefetch_hint(&self, events: &[MarketEvent]) {
        if self.orders.live_count() < FEW_ORDERS && self.levels.windows_used() < FEW_WINDOWS {
            return;
        }
        let mut sum = 0_u64;
        for event in events {
            let symbol = self.symbols.get(event.symbol.index()).map_or(0, |levels| levels.bids.level_count());
            sum = sum.wrapping_add(self.orders.touch(event.order_ref())) ^ u64::try_from(symbol).unwrap_or(0);
        }
        for event in events {
            let Some(symbol) = self.symbols.get(event.symbol.index()) else { continue };
            let (side, price, hint) = if matches!(event.kind, EventKind::AddOrder) {
                (event.side, event.price.0, 0)
            } else if let Some(slot) = self.orders.at_home(event.order_ref()) {
                (slot.side(), slot.price, slot.level_hint())
            } else {
                continue;
            };
            let best = self.levels.touch_best(&symbol.bids).wrapping_add(self.levels.touch_best(&symbol.asks));
            let level = self.levels.touch(side_levels(symbol, side), key_of(side, price), hint);
            sum = sum.wrapping_add(best).wrapping_add(level);
        }
        core::hint::black_box(sum);
    }

    fn clear_quarantine(&mut self, symbol: SymbolId) -> bool {
        self.status.clear_quarantine(symbol)
    }

    #[inline]
    fn top(&self, symbol: SymbolId) -> TopOfBook {
        let Some(SymbolLevels { bids, asks }) = self.symbols.get(symbol.index()) else { return TopOfBook::default() };
        TopOfBook { bid: self.levels.best(bids, Side::Buy), ask: self.levels.best(asks, Side::Sell) }
    }

    #[inline]
    fn state(&self, symbol: SymbolId) -> BookState {
        self.status.state(symbol, &self.top(symbol))
    }

    fn trading_state(&self, symbol: SymbolId) -> TradingState {
        self.status.trading_state(symbol)
    }

    fn round_lot(&self, symbol: SymbolId) -> Option<Qty> {
        self.status.round_lot(symbol)
    }

    #[inline]
    fn depth(&self, symbol: SymbolId, side: Side, out: &mut [Level]) -> usize {
        self.side(symbol, side).map_or(0, |levels| self.levels.depth(levels, side, out))
    }

    fn level_count(&self, symbol: SymbolId, side: Side) -> usize {
        self.side(symbol, side).map_or(0, SideLevels::level_count)
    }

    #[inline]
    fn level(&self, symbol: SymbolId, side: Side, price: Price) -> Option<Level> {
        self.levels.level(self.side(symbol, side)?, side, price)
    }

    #[inline]
    fn order(&self, order_ref: OrderRef) -> Option<RestingOrder> {
        self.orders.slot(self.orders.find(order_ref)?).map(OrderSlot::order)
    }

    /// Selects the orders of the level one by one in the order of their priority: no memory is needed, and each visit
    /// of the table costs as much as the table is large.
    fn queue(&self, symbol: SymbolId, side: Side, price: Price, out: &mut [(OrderRef, RestingOrder)]) -> usize {
        let mut last = 0;
        let mut count = 0_usize;
        for place in out {
            let on_level = self.orders.iter().filter(|slot| {
                slot.price == price.0 && slot.symbol() == symbol && slot.side() == side && slot.priority > last
            });
            let Some(next) = on_level.min_by_key(|slot| slot.priority) else { break };
            *place = (OrderRef(next.order_ref), next.order());
            last = next.priority;
            count = count.wrapping_add(1);
        }
        count
    }

    fn queue_ahead(&self, order_ref: OrderRef) -> Option<Qty> {
        let own = self.order(order_ref)?;
        let is_ahead = |slot: &&OrderSlot| {
            slot.priority < own.priority.0
                && slot.price == own.price.0
                && slot.symbol() == own.symbol
                && slot.side() == own.side
        };
        let ahead = self.orders.iter().filter(is_ahead);
        Some(ahead.fold(Qty::ZERO, |sum, slot| sum.saturating_add(Qty(u64::from(slot.qty)))))
    }

    fn order_count(&self) -> usize {
        self.orders.live_count()
    }

    fn next_priority(&self) -> Priority {
        Priority(self.priority_last.wrapping_add(1))
    }

    fn anomalies(&self) -> AnomalyCounts {
        self.status.anomalies()
    }

    fn symbol_anomalies(&self, symbol: SymbolId) -> AnomalyCounts {
        self.status.symbol_anomalies(symbol)
    }

    fn state_hash(&self) -> u64 {
        let orders = self.orders.iter().map(|slot| hash_order(OrderRef(slot.order_ref), &slot.order()));
        let start = self.status.hash().wrapping_add(hash_words(5, &[self.priority_last]));
        orders.fold(start, u64::wrapping_add)
    }
}
