//! One hash over everything that came out of a venue: two runs with the same hash said the same.

use peregrine_types::{OrderRef, Price};

use crate::orders::{AccountId, OrderEvent, TimeOfDay, VenueSink};

/// A sink that keeps a hash (BLAKE3) and counts.
#[derive(Debug, Default)]
pub struct EventHash {
    hasher: blake3::Hasher,
    order_count: u64,
    market_count: u64,
}

impl EventHash {
    /// The hash of everything so far.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// Events about orders so far.
    #[must_use]
    pub const fn order_count(&self) -> u64 {
        self.order_count
    }

    /// Messages of the feed so far.
    #[must_use]
    pub const fn market_count(&self) -> u64 {
        self.market_count
    }
}

impl VenueSink for EventHash {
    fn on_order(&mut self, time: TimeOfDay, account: AccountId, event: OrderEvent) {
        self.order_count += 1;
        for word in [time.0, u64::from(account.0)].into_iter().chain(words(&event)) {
            self.hasher.update(&word.to_be_bytes());
        }
    }

    fn on_market(&mut self, time: TimeOfDay, message: &[u8]) {
        self.market_count += 1;
        self.hasher.update(&time.0.to_be_bytes());
        self.hasher.update(message);
    }
}

/// An event as words: its kind, then its fields in order.
fn words(event: &OrderEvent) -> [u64; 6] {
    let order = |order_ref: OrderRef| order_ref.0;
    let money = |price: Price| price.0.cast_unsigned();
    match *event {
        OrderEvent::Accepted { token, order_ref } => [1, token, order(order_ref), 0, 0, 0],
        OrderEvent::Rejected { token, reason } => [2, token, u64::from(reason.0), 0, 0, 0],
        OrderEvent::Replaced { old_ref, token, order_ref, open } => {
            [3, order(old_ref), token, order(order_ref), u64::from(open), 0]
        }
        OrderEvent::Executed { order_ref, qty, price, liquidity, match_number } => {
            let flag = u64::from(liquidity) << 32 | u64::from(qty);
            [4, order(order_ref), flag, money(price), match_number, 0]
        }
        OrderEvent::Canceled { order_ref, qty, reason } => {
            [5, order(order_ref), u64::from(qty), u64::from(reason.0), 0, 0]
        }
        OrderEvent::Prevented { order_ref, qty, prevented_qty, price, is_remover } => {
            [6, order(order_ref), u64::from(qty), u64::from(prevented_qty), money(price), u64::from(is_remover)]
        }
        OrderEvent::Restated { order_ref, display_ref, displayed } => {
            [7, order(order_ref), order(display_ref), u64::from(displayed), 0, 0]
        }
        OrderEvent::Triggered { order_ref } => [8, order(order_ref), 0, 0, 0, 0],
        OrderEvent::CancelPending { order_ref } => [9, order(order_ref), 0, 0, 0, 0],
        OrderEvent::CancelRejected { order_ref } => [10, order(order_ref), 0, 0, 0, 0],
    }
}
