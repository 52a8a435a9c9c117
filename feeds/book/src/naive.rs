//! The slow, obvious books: ordered maps, every level a queue of references, every total counted anew. They define what
//! the fast ones must say.

use std::collections::BTreeMap;

use peregrine_types::{
    BookState, EventFlags, EventKind, Level, MarketEvent, OrderRef, Price, Qty, Side, SymbolId, TopOfBook, TradingState,
};

use crate::hash::{hash_order, hash_words};
use crate::status::MarketStatus;
use crate::{
    AnomalyCounts, BookAction, BookAnomaly, BookConfig, BookConfigError, BookUpdate, LEVEL_QTY_MAX, MarketBooks,
    ORDER_QTY_MAX, Placed, Priority, RestingOrder, SIDE_LEVEL_COUNT_MAX, TradePrint,
};

/// One side of one symbol: at each price the references in the order in which they joined.
#[derive(Debug, Default)]
struct NaiveSide {
    queues: BTreeMap<Price, Vec<OrderRef>>,
    /// Most levels at once since the session began.
    level_count_peak: usize,
}

/// The twin that the fast books are held against. Same interface, same answers, no speed, and it allocates.
#[derive(Debug)]
pub struct NaiveBooks {
    config: BookConfig,
    status: MarketStatus,
    orders: BTreeMap<OrderRef, RestingOrder>,
    sides: BTreeMap<(SymbolId, Side), NaiveSide>,
    priority_last: u64,
}

/// Best price and quantity of both sides: what `is_top_changed` is about.
type Best = [Option<(Price, Qty)>; 2];

impl NaiveBooks {
    fn best(&self, symbol: SymbolId) -> Best {
        let top = self.top(symbol);
        Side::BOTH.map(|side| top.side(side).map(|level| (level.price, level.qty)))
    }

    fn has_book(&self, symbol: SymbolId) -> bool {
        symbol.0 < self.config.symbol_count_max
    }

    fn level_of(&self, price: Price, queue: &[OrderRef]) -> Level {
        let orders = queue.iter().filter_map(|order_ref| self.orders.get(order_ref));
        let qty = orders.fold(Qty::ZERO, |sum, order| sum.saturating_add(order.qty));
        Level { price, qty, order_count: u32::try_from(queue.len()).unwrap_or(u32::MAX) }
    }

    /// The levels of one side, best first.
    fn levels(&self, symbol: SymbolId, side: Side) -> impl Iterator<Item = Level> + '_ {
        let queues = self.sides.get(&(symbol, side)).map(|side| &side.queues);
        let ascending = queues.into_iter().flatten().filter(move |_| side == Side::Sell);
        let descending = queues.into_iter().flat_map(|queues| queues.iter().rev()).filter(move |_| side == Side::Buy);
        ascending.chain(descending).map(|(price, queue)| self.level_of(*price, queue))
    }

    /// Whether an order may join, as the anomaly that refuses it.
    fn check_join(&self, symbol: SymbolId, side: Side, price: Price, qty: Qty) -> Result<(), BookAnomaly> {
        if qty == Qty::ZERO {
            return Err(BookAnomaly::ZeroQty);
        }
        if qty.0 > ORDER_QTY_MAX {
            return Err(BookAnomaly::QtyTooLarge);
        }
        if price <= Price(0) {
            return Err(BookAnomaly::InvalidPrice);
        }
        if self.orders.len() >= SymbolId(self.config.order_count_max).index() {
            return Err(BookAnomaly::OrderCapacity);
        }
        if let Some(level) = self.level(symbol, side, price) {
            let is_room = level.qty.0.saturating_add(qty.0) <= LEVEL_QTY_MAX;
            return if is_room { Ok(()) } else { Err(BookAnomaly::QtyTooLarge) };
        }
        let (level_count, peak) =
            self.sides.get(&(symbol, side)).map_or((0, 0), |side| (side.queues.len(), side.level_count_peak));
        let peak_sum = self.sides.values().fold(0_usize, |sum, side| sum.saturating_add(side.level_count_peak));
        let is_market_full = level_count == peak && peak_sum >= SymbolId(self.config.level_count_max).index();
        let is_side_full = level_count >= SymbolId(SIDE_LEVEL_COUNT_MAX).index();
        if is_market_full || is_side_full { Err(BookAnomaly::LevelCapacity) } else { Ok(()) }
    }

    fn join(&mut self, order_ref: OrderRef, order: RestingOrder) -> Priority {
        self.priority_last = self.priority_last.wrapping_add(1);
        let priority = Priority(self.priority_last);
        self.orders.insert(order_ref, RestingOrder { priority, ..order });
        let side = self.sides.entry((order.symbol, order.side)).or_default();
        side.queues.entry(order.price).or_default().push(order_ref);
        side.level_count_peak = side.level_count_peak.max(side.queues.len());
        priority
    }

    fn remove(&mut self, order_ref: OrderRef) {
        let Some(order) = self.orders.remove(&order_ref) else { return };
        let Some(side) = self.sides.get_mut(&(order.symbol, order.side)) else { return };
        let Some(queue) = side.queues.get_mut(&order.price) else { return };
        queue.retain(|other| *other != order_ref);
        if queue.is_empty() {
            side.queues.remove(&order.price);
        }
    }

    fn on_add(&mut self, event: &MarketEvent) -> BookUpdate {
        let mut update = BookUpdate::new(event.symbol, BookAction::NoChange);
        let verdict = if self.orders.contains_key(&event.order_ref()) {
            Err(BookAnomaly::DuplicateAdd)
        } else {
            self.check_join(event.symbol, event.side, event.price, event.qty)
        };
        match verdict {
            Ok(()) => {
                let (side, price, qty) = (event.side, event.price, event.qty);
                let order = RestingOrder { symbol: event.symbol, side, price, qty, priority: Priority(0) };
                let priority = self.join(event.order_ref(), order);
                update = BookUpdate { action: BookAction::Added, side, price, qty, priority, ..update };
            }
            Err(anomaly) => update.anomaly = Some(anomaly),
        }
        update
    }

    /// The live order that an event names, or what is wrong about it.
    fn named(&mut self, event: &MarketEvent) -> Result<RestingOrder, BookAnomaly> {
        let Some(order) = self.orders.get(&event.order_ref()) else { return Err(BookAnomaly::UnknownOrder) };
        if order.symbol == event.symbol {
            return Ok(*order);
        }
        self.status.quarantine(order.symbol);
        Err(BookAnomaly::SymbolMismatch)
    }

    /// Executions, cancels and deletes.
    fn on_reduce(&mut self, event: &MarketEvent) -> BookUpdate {
        let mut update = BookUpdate::new(event.symbol, BookAction::NoChange);
        let order = match self.named(event) {
            Ok(order) => order,
            Err(anomaly) => return BookUpdate { anomaly: Some(anomaly), ..update },
        };
        let is_delete = event.kind == EventKind::DeleteOrder;
        let is_cancel = event.kind == EventKind::CancelOrder;
        if event.qty == Qty::ZERO && !is_delete {
            return BookUpdate { anomaly: Some(BookAnomaly::ZeroQty), ..update };
        }
        let removed = if is_delete { order.qty } else { event.qty.min(order.qty) };
        if !is_delete && event.qty > order.qty {
            update.anomaly = Some(if is_cancel { BookAnomaly::OverCancel } else { BookAnomaly::OverExecution });
        }
        update.is_order_gone = removed == order.qty;
        if update.is_order_gone {
            self.remove(event.order_ref());
        } else if let Some(live) = self.orders.get_mut(&event.order_ref()) {
            live.qty = live.qty.saturating_sub(removed);
        }
        update.action = match (is_delete, is_cancel) {
            (true, _) => BookAction::Deleted,
            (false, true) => BookAction::Canceled,
            (false, false) => BookAction::Executed,
        };
        if update.action == BookAction::Executed {
            let is_at_price = event.kind == EventKind::ExecuteOrderAtPrice;
            let price = if is_at_price { event.price } else { order.price };
            let is_printable = !is_at_price || event.flags.contains(EventFlags::PRINTABLE);
            let aggressor = Some(order.side.opposite());
            update.trade = Some(TradePrint { price, qty: removed, aggressor, is_printable });
            if price <= Price(0) {
                update.trade = None;
                update.anomaly = update.anomaly.or(Some(BookAnomaly::InvalidPrice));
            }
        }
        BookUpdate { side: order.side, price: order.price, qty: removed, priority: order.priority, ..update }
    }

    fn on_replace(&mut self, event: &MarketEvent) -> BookUpdate {
        let mut update = BookUpdate::new(event.symbol, BookAction::NoChange);
        let old = match self.named(event) {
            Ok(order) => order,
            Err(anomaly) => return BookUpdate { anomaly: Some(anomaly), ..update },
        };
        let is_duplicate = self.orders.contains_key(&event.new_order_ref());
        self.remove(event.order_ref());
        update.action = BookAction::Replaced;
        update.is_order_gone = true;
        let verdict = if is_duplicate {
            Err(BookAnomaly::DuplicateAdd)
        } else {
            self.check_join(old.symbol, old.side, event.price, event.qty)
        };
        match verdict {
            Ok(()) => {
                let order = RestingOrder { price: event.price, qty: event.qty, ..old };
                let priority = self.join(event.new_order_ref(), order);
                update.replacement = Some(Placed { price: event.price, qty: event.qty, priority });
            }
            Err(anomaly) => update.anomaly = Some(anomaly),
        }
        BookUpdate { side: old.side, price: old.price, qty: old.qty, priority: old.priority, ..update }
    }

    fn on_empty_start(&mut self, event: &MarketEvent) -> BookUpdate {
        let is_top_changed = !self.orders.is_empty();
        self.orders.clear();
        self.sides.clear();
        BookUpdate { is_top_changed, ..self.status.apply(event) }
    }

    fn on_order_event(&mut self, event: &MarketEvent, apply: fn(&mut Self, &MarketEvent) -> BookUpdate) -> BookUpdate {
        if !self.has_book(event.symbol) {
            let update = BookUpdate::new(event.symbol, BookAction::NoChange);
            return BookUpdate { anomaly: Some(BookAnomaly::SymbolOutOfRange), ..update };
        }
        let before = self.best(event.symbol);
        let update = apply(self, event);
        BookUpdate { is_top_changed: before != self.best(event.symbol), ..update }
    }

    /// ITCH 5.0, Trade and Cross Trade: prints that leave the displayed book alone; a cross may match nothing.
    fn on_trade(&self, event: &MarketEvent) -> BookUpdate {
        if !self.has_book(event.symbol) {
            let update = BookUpdate::new(event.symbol, BookAction::NoChange);
            return BookUpdate { anomaly: Some(BookAnomaly::SymbolOutOfRange), ..update };
        }
        if event.qty == Qty::ZERO {
            return BookUpdate::new(event.symbol, BookAction::NoChange);
        }
        let trade = TradePrint { price: event.price, qty: event.qty, aggressor: None, is_printable: true };
        let update = BookUpdate::new(event.symbol, BookAction::Traded);
        BookUpdate { price: event.price, trade: Some(trade), ..update }
    }
}

impl MarketBooks for NaiveBooks {
    fn new(config: BookConfig) -> Result<Self, BookConfigError> {
        config.validate()?;
        let status = MarketStatus::new(&config);
        Ok(Self { config, status, orders: BTreeMap::new(), sides: BTreeMap::new(), priority_last: 0 })
    }

    fn apply(&mut self, event: &MarketEvent) -> BookUpdate {
        let update = match event.kind {
            EventKind::AddOrder => self.on_order_event(event, Self::on_add),
            EventKind::ExecuteOrder
            | EventKind::ExecuteOrderAtPrice
            | EventKind::CancelOrder
            | EventKind::DeleteOrder => self.on_order_event(event, Self::on_reduce),
            EventKind::ReplaceOrder => self.on_order_event(event, Self::on_replace),
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

    fn clear_quarantine(&mut self, symbol: SymbolId) -> bool {
        self.status.clear_quarantine(symbol)
    }

    fn top(&self, symbol: SymbolId) -> TopOfBook {
        TopOfBook { bid: self.levels(symbol, Side::Buy).next(), ask: self.levels(symbol, Side::Sell).next() }
    }

    fn state(&self, symbol: SymbolId) -> BookState {
        self.status.state(symbol, &self.top(symbol))
    }

    fn trading_state(&self, symbol: SymbolId) -> TradingState {
        self.status.trading_state(symbol)
    }

    fn round_lot(&self, symbol: SymbolId) -> Option<Qty> {
        self.status.round_lot(symbol)
    }

    fn depth(&self, symbol: SymbolId, side: Side, out: &mut [Level]) -> usize {
        out.iter_mut().zip(self.levels(symbol, side)).map(|(to, level)| *to = level).count()
    }

    fn level_count(&self, symbol: SymbolId, side: Side) -> usize {
        self.levels(symbol, side).count()
    }

    fn level(&self, symbol: SymbolId, side: Side, price: Price) -> Option<Level> {
        let queue = self.sides.get(&(symbol, side))?.queues.get(&price)?;
        Some(self.level_of(price, queue))
    }

    fn order(&self, order_ref: OrderRef) -> Option<RestingOrder> {
        self.orders.get(&order_ref).copied()
    }

    fn queue(&self, symbol: SymbolId, side: Side, price: Price, out: &mut [(OrderRef, RestingOrder)]) -> usize {
        let queue = self.sides.get(&(symbol, side)).and_then(|side| side.queues.get(&price));
        let orders =
            queue.into_iter().flatten().filter_map(|order_ref| self.order(*order_ref).map(|order| (*order_ref, order)));
        out.iter_mut().zip(orders).map(|(to, order)| *to = order).count()
    }

    fn queue_ahead(&self, order_ref: OrderRef) -> Option<Qty> {
        let order = self.orders.get(&order_ref)?;
        let queue = self.sides.get(&(order.symbol, order.side))?.queues.get(&order.price)?;
        let ahead = queue.iter().take_while(|other| **other != order_ref).filter_map(|other| self.orders.get(other));
        Some(ahead.fold(Qty::ZERO, |sum, order| sum.saturating_add(order.qty)))
    }

    fn order_count(&self) -> usize {
        self.orders.len()
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
        let orders = self.orders.iter().map(|(order_ref, order)| hash_order(*order_ref, order));
        let start = self.status.hash().wrapping_add(hash_words(5, &[self.priority_last]));
        orders.fold(start, u64::wrapping_add)
    }
}

#[cfg(test)]
#[path = "naive_tests.rs"]
mod tests;
