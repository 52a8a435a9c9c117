//! When a resting order of ours is filled: an open trait, and two models.

use peregrine_book::Priority;
use peregrine_types::{Price, Qty, Side};

/// One of our orders that rests at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnOrder {
    /// Its side.
    pub side: Side,
    /// Its limit price.
    pub price: Price,
    /// What is left of it.
    pub leaves_qty: Qty,
    /// Displayed quantity of others that still stands ahead of it on its level.
    pub ahead_qty: Qty,
    /// Orders of this priority and above joined behind it.
    pub joined_at: Priority,
}

/// What the market did, as far as it can concern a resting order of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// A displayed order of `side` at `price` was executed.
    Executed {
        /// Side of the order that rested.
        side: Side,
        /// Its level.
        price: Price,
        /// Its place in the queue.
        priority: Priority,
        /// Executed quantity.
        qty: Qty,
    },
    /// A displayed order of `side` at `price` lost quantity by a cancel, delete or replace.
    Withdrawn {
        /// Side of the order.
        side: Side,
        /// Its level.
        price: Price,
        /// Its place in the queue.
        priority: Priority,
        /// Quantity that left.
        qty: Qty,
    },
    /// A displayed order of `side` joined at `price`: if that crosses our order, it would have hit us.
    Joined {
        /// Side of the order that joined.
        side: Side,
        /// Its limit price.
        price: Price,
        /// Its quantity.
        qty: Qty,
    },
    /// A trade against a hidden order; the side is not known.
    HiddenTrade {
        /// Price of the trade.
        price: Price,
        /// Its quantity.
        qty: Qty,
    },
}

/// A fill model; firms plug in their own (row B3).
///
/// The venue calls it once per resting order and market event, first in the queue first, and never hands out more than
/// the event brought: what one own order took is gone for the next (rows B2 and B6).
pub trait FillModel {
    /// Updates `own.ahead_qty` and returns how much of `own` is filled, at most `available`.
    fn on_market(&mut self, own: &mut OwnOrder, market: &Market, available: Qty) -> Qty;
}

/// First in, first out with the order-by-order feed: our order stands behind the displayed quantity that it met.
/// Executions and withdrawals of orders ahead move it forward; it is filled
/// - when an order behind it, or at a worse price, is executed (the aggressor would have met ours first),
/// - when what is executed ahead of it exceeds what stood ahead,
/// - when an order joins on the other side at a price that crosses it,
/// - when a hidden trade prints at a strictly worse price (a displayed order at a better price goes first).
///
/// Hidden orders ahead at our own price are invisible and not counted; hidden trades at exactly our price do not fill.
#[derive(Clone, Copy, Debug, Default)]
pub struct FifoQueue;

/// The most careful model: filled only when the market trades or quotes strictly through the order's price.
#[derive(Clone, Copy, Debug, Default)]
pub struct TradeThrough;

impl FillModel for FifoQueue {
    fn on_market(&mut self, own: &mut OwnOrder, market: &Market, available: Qty) -> Qty {
        let takes = own.leaves_qty.min(available);
        match *market {
            Market::Executed { side, price, priority, qty } if side == own.side && price == own.price => {
                if priority >= own.joined_at {
                    return takes;
                }
                let past = qty.saturating_sub(own.ahead_qty);
                own.ahead_qty = own.ahead_qty.saturating_sub(qty);
                takes.min(past)
            }
            Market::Withdrawn { side, price, priority, qty } => {
                if side == own.side && price == own.price && priority < own.joined_at {
                    own.ahead_qty = own.ahead_qty.saturating_sub(qty);
                }
                Qty::ZERO
            }
            Market::Executed { .. } | Market::Joined { .. } | Market::HiddenTrade { .. } => {
                if trades_through(own, market) || crosses(own, market) { takes } else { Qty::ZERO }
            }
        }
    }
}

impl FillModel for TradeThrough {
    fn on_market(&mut self, own: &mut OwnOrder, market: &Market, available: Qty) -> Qty {
        if trades_through(own, market) { own.leaves_qty.min(available) } else { Qty::ZERO }
    }
}

/// Whether the market traded, or somebody offered, at a price strictly worse for the other side than our order's.
fn trades_through(own: &OwnOrder, market: &Market) -> bool {
    match *market {
        Market::Executed { side, price, .. } => side == own.side && own.price.is_better_than(price, own.side),
        Market::Joined { side, price, .. } => side != own.side && own.price.is_better_than(price, own.side),
        Market::HiddenTrade { price, .. } => own.price.is_better_than(price, own.side),
        Market::Withdrawn { .. } => false,
    }
}

/// Whether an order that joined would have met ours.
fn crosses(own: &OwnOrder, market: &Market) -> bool {
    matches!(*market, Market::Joined { side, price, .. } if side != own.side && !price.is_better_than(own.price, own.side))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bid(ahead: u64) -> OwnOrder {
        OwnOrder {
            side: Side::Buy,
            price: Price(100),
            leaves_qty: Qty(10),
            ahead_qty: Qty(ahead),
            joined_at: Priority(50),
        }
    }

    fn executed(price: i64, priority: u64, qty: u64) -> Market {
        Market::Executed { side: Side::Buy, price: Price(price), priority: Priority(priority), qty: Qty(qty) }
    }

    #[test]
    fn the_queue_ahead_is_eaten_before_we_are() {
        let mut own = bid(30);
        assert_eq!(FifoQueue.on_market(&mut own, &executed(100, 3, 20), Qty(20)), Qty(0));
        assert_eq!(own.ahead_qty, Qty(10));
        let cancel = Market::Withdrawn { side: Side::Buy, price: Price(100), priority: Priority(4), qty: Qty(6) };
        assert_eq!(FifoQueue.on_market(&mut own, &cancel, Qty(6)), Qty(0));
        assert_eq!(own.ahead_qty, Qty(4));
        assert_eq!(FifoQueue.on_market(&mut own, &executed(100, 5, 7), Qty(7)), Qty(3));
    }

    #[test]
    fn cancels_behind_do_not_help_and_executions_behind_fill() {
        let mut own = bid(30);
        let cancel = Market::Withdrawn { side: Side::Buy, price: Price(100), priority: Priority(50), qty: Qty(6) };
        FifoQueue.on_market(&mut own, &cancel, Qty(6));
        assert_eq!(own.ahead_qty, Qty(30));
        assert_eq!(FifoQueue.on_market(&mut own, &executed(100, 60, 4), Qty(4)), Qty(4));
    }

    #[test]
    fn worse_prices_fill_and_better_ones_do_not() {
        assert_eq!(FifoQueue.on_market(&mut bid(0), &executed(99, 1, 5), Qty(5)), Qty(5));
        assert_eq!(FifoQueue.on_market(&mut bid(0), &executed(101, 1, 5), Qty(5)), Qty(0));
        let hidden = |price| Market::HiddenTrade { price: Price(price), qty: Qty(9) };
        assert_eq!(FifoQueue.on_market(&mut bid(0), &hidden(100), Qty(9)), Qty(0));
        assert_eq!(FifoQueue.on_market(&mut bid(0), &hidden(99), Qty(9)), Qty(9));
        let joined = |price| Market::Joined { side: Side::Sell, price: Price(price), qty: Qty(50) };
        assert_eq!(FifoQueue.on_market(&mut bid(0), &joined(100), Qty(50)), Qty(10));
        assert_eq!(FifoQueue.on_market(&mut bid(0), &joined(101), Qty(50)), Qty(0));
        assert_eq!(TradeThrough.on_market(&mut bid(0), &joined(100), Qty(50)), Qty(0));
        assert_eq!(TradeThrough.on_market(&mut bid(0), &joined(99), Qty(50)), Qty(10));
    }
}
