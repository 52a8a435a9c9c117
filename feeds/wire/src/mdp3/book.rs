//! Changes of books: orders (templates 46, 47 and 64) and price levels (46 and 64).

use peregrine_types::{EventKind, Full, MarketEvent, Price, Qty, Side, Sink, SymbolId};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::decoder::{Depth, Mdp3Decoder, Walk, count, root};
use super::instruments::{Index, Instrument};
use super::levels::{BookSide, Level};
use super::messages::{BookEntry, BookEntryLong, BookOrder, NULL_I32, NULL_PRICE, OrderEntry, RefreshRoot};
use super::orders::{Order, Orders};
use super::packet::{Entries, Message};

/// `MDEntryType`: the instrument's book is empty.
const BOOK_RESET: u8 = b'J';
const NEW: u8 = 0;
const CHANGE: u8 = 1;
const DELETE: u8 = 2;
const DELETE_ALL: u8 = 3;
const DELETE_FROM_BEST: u8 = 4;
const OVERLAY: u8 = 5;

/// An entry of either template of levels.
#[derive(Clone, Copy)]
struct LevelChange {
    security_id: i32,
    mantissa: i64,
    /// `None` where there is none.
    qty: Option<u64>,
    rank: usize,
    action: u8,
    entry_type: u8,
}

/// An entry about an order.
#[derive(Clone, Copy)]
struct OrderChange {
    order_id: u64,
    priority: u64,
    mantissa: i64,
    qty: i32,
    side: Side,
    action: u8,
}

trait LevelEntry: FromBytes + KnownLayout + Immutable + Unaligned {
    fn change(&self) -> LevelChange;
}

impl LevelEntry for BookEntry {
    #[inline]
    fn change(&self) -> LevelChange {
        let qty = self.md_entry_size.get();
        LevelChange {
            security_id: self.security_id.get(),
            mantissa: self.md_entry_px.get(),
            qty: u64::try_from(qty).ok().filter(|_| qty != NULL_I32),
            rank: usize::from(self.md_price_level),
            action: self.md_update_action,
            entry_type: self.md_entry_type,
        }
    }
}

impl LevelEntry for BookEntryLong {
    #[inline]
    fn change(&self) -> LevelChange {
        LevelChange {
            security_id: self.security_id.get(),
            mantissa: self.md_entry_px.get(),
            qty: Some(self.md_entry_size.get()).filter(|qty| *qty != u64::MAX),
            rank: usize::from(self.md_price_level),
            action: self.md_update_action,
            entry_type: self.md_entry_type,
        }
    }
}

/// The side of a real order.
#[inline]
const fn side_of(entry_type: u8) -> Option<Side> {
    match entry_type {
        b'0' => Some(Side::Buy),
        b'1' => Some(Side::Sell),
        _ => None,
    }
}

impl Mdp3Decoder {
    /// Template 46.
    pub(super) fn on_book(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        self.on_levels::<BookEntry>(message, walk)
    }

    /// Template 64.
    pub(super) fn on_book_long(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        self.on_levels::<BookEntryLong>(message, walk)
    }

    fn on_levels<E: LevelEntry>(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        let mut groups = message.groups;
        let Some(root) = root::<RefreshRoot>(message) else { return Ok(None) };
        let (Some(levels), Some(orders)) = (groups.group(), groups.group_8byte()) else { return Ok(None) };
        if !levels.fits::<E>() || !orders.fits::<BookOrder>() {
            return Ok(None);
        }
        walk.set_time(root.transact_time.get());
        for entry in (0..levels.count()).map_while(|index| levels.get::<E>(index)) {
            if self.is_due(walk) {
                self.on_level(entry.change(), walk)?;
                self.done(walk)?;
            }
        }
        for order in (0..orders.count()).map_while(|index| orders.get::<BookOrder>(index)) {
            if self.is_due(walk) {
                self.on_book_order(order, &levels_of::<E>(&levels, order.reference_id), walk);
                self.done(walk)?;
            }
        }
        Ok(Some(()))
    }

    /// Template 47.
    pub(super) fn on_order_book(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        let mut groups = message.groups;
        let (Some(root), Some(orders)) = (root::<RefreshRoot>(message), groups.group()) else { return Ok(None) };
        if !orders.fits::<OrderEntry>() {
            return Ok(None);
        }
        walk.set_time(root.transact_time.get());
        for entry in (0..orders.count()).map_while(|index| orders.get::<OrderEntry>(index)) {
            if !self.is_due(walk) {
                continue;
            }
            if let Some((index, instrument)) = self.resolve(entry.security_id.get()) {
                match (entry.md_entry_type, side_of(entry.md_entry_type)) {
                    (BOOK_RESET, _) => self.empty(index, walk)?,
                    (_, None) => count(&mut self.counters.refused_entry_count),
                    (_, Some(side)) => {
                        let change = OrderChange {
                            order_id: entry.order_id.get(),
                            priority: entry.md_order_priority.get(),
                            mantissa: entry.md_entry_px.get(),
                            qty: entry.md_display_qty.get(),
                            side,
                            action: entry.md_update_action,
                        };
                        self.on_order((index, instrument), change, walk);
                    }
                }
            }
            self.done(walk)?;
        }
        Ok(Some(()))
    }

    /// The instrument of an entry, `None` (counted) where there is no room for it.
    #[inline]
    pub(super) fn resolve(&mut self, security_id: i32) -> Option<(Index, Instrument)> {
        let found = self.instruments.resolve(security_id).ok();
        if found.is_none() {
            count(&mut self.counters.directory_full_count);
        }
        found
    }

    /// An order of template 46 or 64, whose level says price, side and instrument.
    #[inline]
    fn on_book_order<S>(&mut self, order: &BookOrder, level: &Option<LevelChange>, walk: &Walk<'_, S>) {
        let side = level.and_then(|level| side_of(level.entry_type));
        let (Some(level), Some(side)) = (*level, side) else {
            count(&mut self.counters.refused_entry_count);
            return;
        };
        let Some(found) = self.resolve(level.security_id) else { return };
        let change = OrderChange {
            order_id: order.order_id.get(),
            priority: order.md_order_priority.get(),
            mantissa: level.mantissa,
            qty: order.md_display_qty.get(),
            side,
            action: order.order_update_action,
        };
        self.on_order(found, change, walk);
    }

    /// What became of an order.
    #[inline]
    fn on_order<S>(&mut self, (index, instrument): (Index, Instrument), change: OrderChange, walk: &Walk<'_, S>) {
        if self.depth == Depth::Levels {
            return;
        }
        let standing = self.orders.get(change.order_id);
        if change.action == DELETE {
            match standing {
                Some(order) => {
                    self.orders.remove(change.order_id);
                    self.delete(order, walk);
                }
                None => count(&mut self.counters.unknown_order_count),
            }
            return;
        }
        let qty = u32::try_from(change.qty).ok().filter(|qty| *qty != 0 && change.qty != NULL_I32);
        let price = instrument.price(change.mantissa).filter(|_| change.mantissa != NULL_PRICE);
        let is_known = matches!(change.action, NEW | CHANGE) && Orders::is_possible(change.order_id);
        let (Some(qty), Some(price), true) = (qty, price, is_known) else {
            count(&mut self.counters.refused_entry_count);
            return;
        };
        let OrderChange { order_id, priority, mantissa, side, .. } = change;
        let moved = Order { order_id, order_ref: order_id, mantissa, priority, qty, instrument: index, side };
        match standing {
            Some(order) if (order.instrument, order.side) == (index, change.side) => {
                self.on_order_changed(order, (moved, price), instrument.symbol, walk);
            }
            standing => {
                if let Some(order) = standing {
                    self.orders.remove(order.order_id);
                    self.delete(order, walk);
                } else if change.action == CHANGE {
                    count(&mut self.counters.revived_order_count);
                }
                if !self.orders.put(moved) {
                    return count(&mut self.counters.order_full_count);
                }
                let added = walk.event(EventKind::AddOrder, instrument.symbol);
                let qty = Qty(u64::from(qty));
                self.pending.push(MarketEvent { id_a: moved.order_ref, price, qty, side: change.side, ..added });
            }
        }
    }

    /// An order of the same book is another one now: it keeps its place where it only shrank.
    #[inline]
    fn on_order_changed<S>(
        &mut self,
        order: Order,
        (moved, price): (Order, Price),
        symbol: SymbolId,
        walk: &Walk<'_, S>,
    ) {
        let (qty, has_place) = (moved.qty, (order.mantissa, order.priority) == (moved.mantissa, moved.priority));
        if has_place && qty <= order.qty {
            self.orders.put(Order { order_ref: order.order_ref, ..moved });
            let removed = Qty(u64::from(order.qty.saturating_sub(qty)));
            if removed.0 > 0 {
                let canceled = walk.event(EventKind::CancelOrder, symbol);
                self.pending.push(MarketEvent { id_a: order.order_ref, qty: removed, ..canceled });
            }
            return;
        }
        let order_ref = self.orders.own_ref();
        self.orders.put(Order { order_ref, ..moved });
        let replaced = walk.event(EventKind::ReplaceOrder, symbol);
        self.pending.push(MarketEvent {
            id_a: order.order_ref,
            id_b: order_ref,
            price,
            qty: Qty(u64::from(qty)),
            side: moved.side,
            ..replaced
        });
    }

    /// An order leaves the engine's book.
    #[inline]
    fn delete<S>(&mut self, order: Order, walk: &Walk<'_, S>) {
        if let Some(instrument) = self.instruments.get(order.instrument) {
            let event = walk.event(EventKind::DeleteOrder, instrument.symbol);
            self.pending.push(MarketEvent { id_a: order.order_ref, ..event });
        }
    }

    /// What became of a level.
    #[inline]
    fn on_level(&mut self, change: LevelChange, walk: &mut Walk<'_, impl Sink<MarketEvent>>) -> Result<(), Full<()>> {
        let side = match change.entry_type {
            b'0' => BookSide::Bid,
            b'1' => BookSide::Offer,
            b'E' => BookSide::ImpliedBid,
            b'F' => BookSide::ImpliedOffer,
            BOOK_RESET => {
                let Some((index, _)) = self.resolve(change.security_id) else { return Ok(()) };
                return self.empty(index, walk);
            }
            _ => {
                count(&mut self.counters.refused_entry_count);
                return Ok(());
            }
        };
        if self.depth == Depth::Orders {
            return Ok(());
        }
        let Some(found) = self.resolve(change.security_id) else { return Ok(()) };
        match change.action {
            NEW | CHANGE | OVERLAY => self.set_level(found, side, change, walk),
            DELETE => self.remove_level(found, side, change.rank, walk),
            DELETE_ALL => {
                while self.levels.get(found.0, side, 1).is_some() {
                    self.remove_level(found, side, 1, walk);
                    self.flush(walk)?;
                }
            }
            DELETE_FROM_BEST => {
                while let Some(rank) = Some(self.rank_left.unwrap_or(change.rank)).filter(|rank| *rank > 0) {
                    self.rank_left = rank.checked_sub(1);
                    self.remove_level(found, side, rank, walk);
                    self.flush(walk)?;
                }
                self.rank_left = None;
            }
            _ => count(&mut self.counters.refused_entry_count),
        }
        Ok(())
    }

    fn remove_level<S>(
        &mut self,
        (index, instrument): (Index, Instrument),
        side: BookSide,
        rank: usize,
        walk: &Walk<'_, S>,
    ) {
        match self.levels.remove(index, side, rank) {
            Some(level) => {
                let event = walk.event(EventKind::DeleteOrder, instrument.symbol);
                self.pending.push(MarketEvent { id_a: level.order_ref, ..event });
            }
            None => count(&mut self.counters.unknown_rank_count),
        }
    }

    /// A level of a rank is new, or is another one now.
    fn set_level<S>(
        &mut self,
        (index, instrument): (Index, Instrument),
        side: BookSide,
        change: LevelChange,
        walk: &Walk<'_, S>,
    ) {
        let price = instrument.price(change.mantissa).filter(|_| change.mantissa != NULL_PRICE);
        let (Some(price), Some(qty)) = (price, change.qty.filter(|qty| *qty > 0)) else {
            count(&mut self.counters.refused_entry_count);
            return;
        };
        let own = match side {
            BookSide::Bid | BookSide::ImpliedBid => Side::Buy,
            BookSide::Offer | BookSide::ImpliedOffer => Side::Sell,
        };
        let event = |kind| MarketEvent { price, qty: Qty(qty), side: own, ..walk.event(kind, instrument.symbol) };
        if change.action == NEW {
            let order_ref = self.orders.own_ref();
            let level = Level { order_ref, mantissa: change.mantissa, qty };
            let Ok(fallen) = self.levels.insert(index, side, change.rank, (level, instrument.depths)) else {
                return count(&mut self.counters.unknown_rank_count);
            };
            if let Some(fallen) = fallen {
                let deleted = walk.event(EventKind::DeleteOrder, instrument.symbol);
                self.pending.push(MarketEvent { id_a: fallen.order_ref, ..deleted });
            }
            return self.pending.push(MarketEvent { id_a: order_ref, ..event(EventKind::AddOrder) });
        }
        let Some(level) = self.levels.get(index, side, change.rank) else {
            return count(&mut self.counters.unknown_rank_count);
        };
        if level.mantissa == change.mantissa && qty <= level.qty {
            self.levels.set(index, side, change.rank, Level { qty, ..level });
            let removed = Qty(level.qty.saturating_sub(qty));
            if removed.0 > 0 {
                let canceled = walk.event(EventKind::CancelOrder, instrument.symbol);
                self.pending.push(MarketEvent { id_a: level.order_ref, qty: removed, ..canceled });
            }
            return;
        }
        let order_ref = self.orders.own_ref();
        self.levels.set(index, side, change.rank, Level { order_ref, mantissa: change.mantissa, qty });
        let replaced = event(EventKind::ReplaceOrder);
        self.pending.push(MarketEvent { id_a: level.order_ref, id_b: order_ref, ..replaced });
    }
}

/// The level that an order refers to, counted from 1.
#[inline]
fn levels_of<E: LevelEntry>(levels: &Entries<'_>, reference_id: u8) -> Option<LevelChange> {
    levels.get::<E>(usize::from(reference_id).checked_sub(1)?).map(LevelEntry::change)
}
