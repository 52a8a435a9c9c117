//! Trade summaries (templates 48 and 65): the trades first, then the orders that took part, in the order of the trades and
//! as many as each says; of a trade with an aggressor the aggressor's comes first. A summary that is too long goes on in
//! further messages, all trades before all orders.

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Price, Qty, Side, Sink, SymbolId};

use super::decoder::{Depth, Mdp3Decoder, Walk, count, root};
use super::instruments::Index;
use super::messages::{END_OF_EVENT, LAST_TRADE, NULL_I32, RefreshRoot, TradeEntry, TradeEntryLong, TradeOrder};
use super::packet::{Entries, Message};

/// Trades that can wait for their orders; more than a packet can carry.
const OPEN_COUNT_MAX: usize = 1 << 11;
const CHANGE: u8 = 1;
const DELETE: u8 = 2;

/// An entry of either template.
#[derive(Clone, Copy)]
struct TradeChange {
    security_id: i32,
    mantissa: i64,
    /// `None` where it cannot be.
    qty: Option<u64>,
    order_count: u32,
    aggressor: u8,
    action: u8,
    trade_id: u32,
}

impl TradeChange {
    fn of(entry: &TradeEntry) -> Self {
        Self {
            security_id: entry.security_id.get(),
            mantissa: entry.md_entry_px.get(),
            qty: u64::try_from(entry.md_entry_size.get()).ok(),
            order_count: u32::try_from(entry.number_of_orders.get()).unwrap_or(0),
            aggressor: entry.aggressor_side,
            action: entry.md_update_action,
            trade_id: entry.md_trade_entry_id.get(),
        }
    }

    fn of_long(entry: &TradeEntryLong) -> Self {
        Self {
            security_id: entry.security_id.get(),
            mantissa: entry.md_entry_px.get(),
            qty: Some(entry.md_entry_size.get()),
            order_count: u32::try_from(entry.number_of_orders.get()).unwrap_or(0),
            aggressor: entry.aggressor_side,
            action: entry.md_update_action,
            trade_id: entry.md_trade_entry_id.get(),
        }
    }
}

/// A trade whose orders are being told.
#[derive(Clone, Copy, Debug)]
struct OpenTrade {
    instrument: Index,
    symbol: SymbolId,
    mantissa: i64,
    price: Price,
    /// What no execution printed yet.
    left: u64,
    /// Orders still to come.
    order_count: u32,
    aggressor: Option<Side>,
    /// Whether the aggressor's order is still to come.
    is_aggressor_next: bool,
    /// Whether its orders are left alone: executed when the trade was told first, or not to be told from others'.
    is_corrected: bool,
    trade_id: u32,
    exch_time: EpochNanos,
}

const EMPTY: OpenTrade = OpenTrade {
    instrument: Index(0),
    symbol: SymbolId::MARKET,
    mantissa: 0,
    price: Price(0),
    left: 0,
    order_count: 0,
    aggressor: None,
    is_aggressor_next: false,
    is_corrected: false,
    trade_id: 0,
    exch_time: EpochNanos(0),
};

/// The trades whose orders are being told, in order.
#[derive(Clone, Debug)]
pub(super) struct Trades {
    list: Box<[OpenTrade]>,
    first: usize,
    end: usize,
}

impl Trades {
    pub(super) fn new() -> Self {
        Self { list: vec![EMPTY; OPEN_COUNT_MAX].into_boxed_slice(), first: 0, end: 0 }
    }

    pub(super) const fn clear(&mut self) {
        (self.first, self.end) = (0, 0);
    }

    fn first(&mut self) -> Option<&mut OpenTrade> {
        self.list.get_mut(self.first..self.end)?.first_mut()
    }

    fn pop(&mut self) -> Option<OpenTrade> {
        let trade = *self.first()?;
        self.first = self.first.saturating_add(1);
        if self.first == self.end {
            self.clear();
        }
        Some(trade)
    }

    /// The orders of a trade that is not read are not those of the next one.
    fn pass_over(&mut self, order_count: u32, exch_time: EpochNanos) {
        if order_count > 0 {
            // Without room for it nothing behind it has room either.
            let _is_noted = self.push(OpenTrade { order_count, is_corrected: true, exch_time, ..EMPTY });
        }
    }

    /// `false` when there is no room.
    fn push(&mut self, trade: OpenTrade) -> bool {
        let Some(place) = self.list.get_mut(self.end) else { return false };
        *place = trade;
        self.end = self.end.saturating_add(1);
        true
    }
}

impl OpenTrade {
    /// The print of what no execution printed.
    fn print<S>(&self, walk: &Walk<'_, S>) -> Option<MarketEvent> {
        let event = walk.event(EventKind::Trade, self.symbol);
        (self.left > 0).then(|| MarketEvent {
            exch_time: self.exch_time,
            id_b: u64::from(self.trade_id),
            price: self.price,
            qty: Qty(self.left),
            flags: event.flags | EventFlags::PRINTABLE,
            ..event
        })
    }
}

impl Mdp3Decoder {
    /// Template 48.
    pub(super) fn on_trades(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        let mut groups = message.groups;
        let (Some(trades), Some(orders)) = (groups.group(), groups.group_8byte()) else { return Ok(None) };
        if !trades.fits::<TradeEntry>() {
            return Ok(None);
        }
        let list = (0..trades.count()).map_while(|index| trades.get::<TradeEntry>(index)).map(TradeChange::of);
        self.on_summary(message, list, orders, walk)
    }

    /// Template 65.
    pub(super) fn on_trades_long(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        let mut groups = message.groups;
        let (Some(trades), Some(orders)) = (groups.group(), groups.group_8byte()) else { return Ok(None) };
        if !trades.fits::<TradeEntryLong>() {
            return Ok(None);
        }
        let list = (0..trades.count()).map_while(|index| trades.get::<TradeEntryLong>(index));
        self.on_summary(message, list.map(TradeChange::of_long), orders, walk)
    }

    fn on_summary(
        &mut self,
        message: &Message<'_>,
        trades: impl Iterator<Item = TradeChange> + Clone,
        orders: Entries<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        let Some(root) = root::<RefreshRoot>(message).filter(|_| orders.fits::<TradeOrder>()) else { return Ok(None) };
        walk.set_time(root.transact_time.get());
        if self.is_due(walk) {
            // Trades that wait are of an event whose end was lost.
            if self.trades.first().is_some_and(|trade| trade.exch_time != walk.exch_time) {
                self.close_trades(walk)?;
            }
            self.done(walk)?;
        }
        // Of a whole summary that names fewer orders than it says nobody knows whose they are.
        let is_last = root.match_event_indicator & (LAST_TRADE | END_OF_EVENT) != 0;
        let said = trades
            .clone()
            .fold(0_usize, |sum, trade| sum.saturating_add(usize::try_from(trade.order_count).unwrap_or(usize::MAX)));
        let is_told_apart = !is_last || said == orders.count() || trades.clone().count() < 2;
        for trade in trades {
            if self.is_due(walk) {
                self.on_trade(trade, is_told_apart, walk);
                self.done(walk)?;
            }
        }
        for order in (0..orders.count()).map_while(|index| orders.get::<TradeOrder>(index)) {
            if self.is_due(walk) {
                self.on_trade_order(order, walk);
                self.done(walk)?;
            }
        }
        if is_last && self.is_due(walk) {
            self.close_trades(walk)?;
            self.done(walk)?;
        }
        Ok(Some(()))
    }

    /// A trade, whose orders follow; where they cannot be told from those of others they are left to the changes of books.
    fn on_trade<S>(&mut self, change: TradeChange, is_told_apart: bool, walk: &Walk<'_, S>) {
        let Some((instrument, known)) = self.resolve(change.security_id) else {
            return self.trades.pass_over(change.order_count, walk.exch_time);
        };
        let (Some(price), Some(qty)) = (known.price(change.mantissa), change.qty) else {
            self.trades.pass_over(change.order_count, walk.exch_time);
            return count(&mut self.counters.refused_entry_count);
        };
        if matches!(change.action, CHANGE | DELETE) {
            let event = walk.event(EventKind::BrokenTrade, known.symbol);
            self.pending.push(MarketEvent { id_b: u64::from(change.trade_id), ..event });
        }
        let aggressor = match change.aggressor {
            1 => Some(Side::Buy),
            2 => Some(Side::Sell),
            _ => None,
        };
        let trade = OpenTrade {
            instrument,
            symbol: known.symbol,
            mantissa: change.mantissa,
            price,
            left: if change.action == DELETE { 0 } else { qty },
            order_count: change.order_count,
            aggressor,
            is_aggressor_next: aggressor.is_some(),
            is_corrected: matches!(change.action, CHANGE | DELETE) || self.depth == Depth::Levels || !is_told_apart,
            trade_id: change.trade_id,
            exch_time: walk.exch_time,
        };
        // One without orders, or without room to wait for them, is printed at once.
        let waits = trade.order_count > 0 && self.trades.push(trade);
        if let Some(print) = trade.print(walk).filter(|_| !waits) {
            self.pending.push(print);
        }
    }

    /// An order of the first trade whose orders are not all told.
    fn on_trade_order<S>(&mut self, order: &TradeOrder, walk: &Walk<'_, S>) {
        let Some(trade) = self.trades.first() else {
            return count(&mut self.counters.unmatched_trade_order_count);
        };
        trade.order_count = trade.order_count.saturating_sub(1);
        let is_aggressor = core::mem::replace(&mut trade.is_aggressor_next, false);
        let told = *trade;
        let qty = u32::try_from(order.last_qty.get()).ok().filter(|_| order.last_qty.get() != NULL_I32);
        let standing = self.orders.get(order.order_id.get()).filter(|standing| {
            let rests = told.aggressor != Some(standing.side);
            !is_aggressor && !told.is_corrected && rests && standing.instrument == told.instrument
        });
        if let Some((mut standing, traded)) = standing.zip(qty) {
            let qty = traded.min(standing.qty);
            standing.qty = standing.qty.saturating_sub(qty);
            if standing.qty == 0 {
                self.orders.remove(standing.order_id);
            } else {
                self.orders.put(standing);
            }
            let is_printed = told.aggressor.is_some();
            let is_at_own_price = standing.mantissa == told.mantissa && is_printed;
            let kind = if is_at_own_price { EventKind::ExecuteOrder } else { EventKind::ExecuteOrderAtPrice };
            let event = walk.event(kind, told.symbol);
            if qty > 0 {
                self.pending.push(MarketEvent {
                    id_a: standing.order_ref,
                    id_b: u64::from(told.trade_id),
                    price: if is_at_own_price { Price(0) } else { told.price },
                    qty: Qty(u64::from(qty)),
                    flags: if is_printed { event.flags | EventFlags::PRINTABLE } else { event.flags },
                    ..event
                });
            }
            if let Some(trade) = self.trades.first().filter(|_| is_printed) {
                trade.left = trade.left.saturating_sub(u64::from(qty));
            }
        }
        if told.order_count == 0
            && let Some(print) = self.trades.pop().and_then(|trade| trade.print(walk))
        {
            self.pending.push(print);
        }
    }

    /// No order of the trades that were told comes any more: what they did not print is printed.
    #[inline]
    pub(super) fn close_trades(&mut self, walk: &mut Walk<'_, impl Sink<MarketEvent>>) -> Result<(), Full<()>> {
        while let Some(trade) = self.trades.pop() {
            if let Some(print) = trade.print(walk) {
                self.pending.push(print);
                self.flush(walk)?;
            }
        }
        Ok(())
    }
}
