//! Statistics of the order flow of one symbol, of a real session or a generated one: what the generator is held
//! against. Keeps every sample in memory: a tool for tests and reports, not for the hot path.

use std::collections::BTreeMap;

use peregrine_types::Symbol;
use peregrine_wire::itch50::{Message, MessageType, parse};

use crate::math::float;

/// Price levels of each side that count as the book's depth.
const DEPTH_LEVELS: usize = 5;

/// Samples of one quantity.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    values: Vec<f64>,
    is_sorted: bool,
}

impl Samples {
    fn push(&mut self, value: f64) {
        self.values.push(value);
        self.is_sorted = false;
    }

    /// How many samples there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Arithmetic mean; 0 without samples.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / float(self.values.len() as u64).max(1.0)
    }

    /// The value that the share `p` (0 to 1) of the samples does not exceed (lower nearest rank); 0 without samples.
    pub fn quantile(&mut self, p: f64) -> f64 {
        if !self.is_sorted {
            self.values.sort_by(f64::total_cmp);
            self.is_sorted = true;
        }
        let last = float(self.values.len().saturating_sub(1) as u64);
        let index = usize::try_from(crate::math::to_u64(p.clamp(0.0, 1.0) * last)).unwrap_or(0);
        self.values.get(index).copied().unwrap_or(0.0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Live {
    is_buy: bool,
    price: u32,
    qty: u32,
    since: u64,
}

/// Collects the statistics of one symbol between two times of day.
#[derive(Clone, Debug)]
pub struct FlowStatistics {
    symbol: Symbol,
    locate: Option<u16>,
    from: u64,
    to: u64,
    orders: BTreeMap<u64, Live>,
    sides: [BTreeMap<u32, u64>; 2],
    last_time: Option<u64>,
    times: Vec<u64>,
    counts: [u64; MessageType::COUNT],
    /// Nanoseconds between messages about orders and trades.
    pub inter_arrival: Samples,
    /// Nanoseconds from an order to its deletion (executed orders aside).
    pub cancel_lifetime: Samples,
    /// Nanoseconds from an order to the execution of its last share.
    pub fill_lifetime: Samples,
    /// Best ask minus best bid in ticks of 0.01, before each message.
    pub spread: Samples,
    /// Shares displayed at the best bid, before each message.
    pub best_qty: Samples,
    /// Shares displayed at the five best prices of both sides together, before each message.
    pub five_level_qty: Samples,
    /// Shares of new orders.
    pub order_qty: Samples,
    /// Ticks of a new order behind the best price of its side; negative where it improves.
    pub placement: Samples,
    mid_changes: u64,
    last_mid: Option<u64>,
}

impl FlowStatistics {
    /// Statistics of `symbol` from `from` to `to`, in nanoseconds since midnight; the book is kept from the start.
    #[must_use]
    pub fn new(symbol: Symbol, from: u64, to: u64) -> Self {
        Self {
            symbol,
            locate: None,
            from,
            to,
            orders: BTreeMap::new(),
            sides: [BTreeMap::new(), BTreeMap::new()],
            last_time: None,
            times: Vec::new(),
            counts: [0; MessageType::COUNT],
            inter_arrival: Samples::default(),
            cancel_lifetime: Samples::default(),
            fill_lifetime: Samples::default(),
            spread: Samples::default(),
            best_qty: Samples::default(),
            five_level_qty: Samples::default(),
            order_qty: Samples::default(),
            placement: Samples::default(),
            mid_changes: 0,
            last_mid: None,
        }
    }

    /// Takes one message of a session; what is malformed, about another symbol or no order or trade is ignored.
    pub fn on_message(&mut self, bytes: &[u8]) {
        let Ok(message) = parse(bytes) else { return };
        let Some(header) = message.header() else { return };
        if let Message::StockDirectory(directory) = message
            && directory.stock == self.symbol
        {
            self.locate = Some(directory.stock_locate.get());
        }
        if self.locate != Some(header.stock_locate.get()) {
            return;
        }
        let time = header.timestamp.get();
        let is_counted = time >= self.from && time < self.to;
        if let Some(kind) = message.message_type()
            && is_counted
            && is_flow(kind)
        {
            self.counts[kind.index()] += 1;
            self.before(time);
        }
        self.apply(&message, time, is_counted);
    }

    /// Samples what is so before a message takes effect.
    fn before(&mut self, time: u64) {
        if let Some(last) = self.last_time.replace(time) {
            self.inter_arrival.push(float(time.saturating_sub(last)));
        }
        self.times.push(time);
        if let (Some((&bid, &qty)), Some((&ask, _))) = (self.sides[0].last_key_value(), self.sides[1].first_key_value())
        {
            self.spread.push((f64::from(ask) - f64::from(bid)) / 100.0);
            self.best_qty.push(float(qty));
            let bids = self.sides[0].values().rev().take(DEPTH_LEVELS);
            self.five_level_qty.push(float(bids.chain(self.sides[1].values().take(DEPTH_LEVELS)).sum()));
            let mid = u64::from(bid) + u64::from(ask);
            self.mid_changes += u64::from(self.last_mid.replace(mid) != Some(mid));
        }
    }

    fn apply(&mut self, message: &Message<'_>, time: u64, is_counted: bool) {
        match message {
            Message::AddOrder(add) => {
                let live = live(add.side == b'B', add.price.get(), add.shares.get(), time);
                self.insert(add.order_ref.get(), live, is_counted);
            }
            Message::AddOrderMpid(add) => {
                let live = live(add.side == b'B', add.price.get(), add.shares.get(), time);
                self.insert(add.order_ref.get(), live, is_counted);
            }
            Message::OrderExecuted(fill) => {
                self.fill(fill.order_ref.get(), fill.executed_shares.get(), time, is_counted);
            }
            Message::OrderExecutedWithPrice(fill) => {
                self.fill(fill.order_ref.get(), fill.executed_shares.get(), time, is_counted);
            }
            Message::OrderCancel(cancel) => {
                self.reduce(cancel.order_ref.get(), cancel.cancelled_shares.get());
            }
            Message::OrderDelete(delete) => {
                if let (Some(since), true) = (self.reduce(delete.order_ref.get(), u32::MAX), is_counted) {
                    self.cancel_lifetime.push(float(time.saturating_sub(since)));
                }
            }
            Message::OrderReplace(replace) => {
                let old = self.orders.get(&replace.original_order_ref.get()).copied();
                self.reduce(replace.original_order_ref.get(), u32::MAX);
                if let Some(old) = old {
                    let live = live(old.is_buy, replace.price.get(), replace.shares.get(), time);
                    self.insert(replace.new_order_ref.get(), live, is_counted);
                }
            }
            Message::SystemEvent(_)
            | Message::StockDirectory(_)
            | Message::StockTradingAction(_)
            | Message::RegShoRestriction(_)
            | Message::MarketParticipantPosition(_)
            | Message::MwcbDeclineLevels(_)
            | Message::MwcbStatus(_)
            | Message::IpoQuotingPeriodUpdate(_)
            | Message::LuldAuctionCollar(_)
            | Message::OperationalHalt(_)
            | Message::TradeNonCross(_)
            | Message::CrossTrade(_)
            | Message::BrokenTrade(_)
            | Message::NetOrderImbalance(_)
            | Message::RetailPriceImprovement(_)
            | Message::DirectListingWithCapitalRaise(_)
            | Message::Unknown(_) => {}
        }
    }

    fn insert(&mut self, reference: u64, order: Live, is_counted: bool) {
        if is_counted {
            self.order_qty.push(f64::from(order.qty));
            let side = &self.sides[usize::from(!order.is_buy)];
            let best = if order.is_buy { side.last_key_value() } else { side.first_key_value() };
            if let Some((&best, _)) = best {
                let ahead = (f64::from(best) - f64::from(order.price)) / 100.0;
                self.placement.push(if order.is_buy { ahead } else { -ahead });
            }
        }
        *self.sides[usize::from(!order.is_buy)].entry(order.price).or_default() += u64::from(order.qty);
        self.orders.insert(reference, order);
    }

    /// Executes shares of an order.
    fn fill(&mut self, reference: u64, qty: u32, time: u64, is_counted: bool) {
        if let (Some(since), true) = (self.reduce(reference, qty), is_counted) {
            self.fill_lifetime.push(float(time.saturating_sub(since)));
        }
    }

    /// Takes shares off an order; gives its time of entry when nothing is left.
    fn reduce(&mut self, reference: u64, qty: u32) -> Option<u64> {
        let order = self.orders.get_mut(&reference)?;
        let taken = qty.min(order.qty);
        order.qty -= taken;
        let Live { is_buy, price, qty: left, since } = *order;
        let side = &mut self.sides[usize::from(!is_buy)];
        if let Some(level) = side.get_mut(&price) {
            *level = level.saturating_sub(u64::from(taken));
            if *level == 0 {
                side.remove(&price);
            }
        }
        if left > 0 {
            return None;
        }
        self.orders.remove(&reference);
        Some(since)
    }

    /// Messages about orders and trades.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Messages of one type between the two times.
    #[must_use]
    pub const fn count_of(&self, kind: MessageType) -> u64 {
        self.counts[kind.index()]
    }

    /// The share of the messages that are of one of `kinds`.
    #[must_use]
    pub fn share(&self, kinds: &[MessageType]) -> f64 {
        let count: u64 = kinds.iter().map(|kind| self.counts[kind.index()]).sum();
        float(count) / float(self.message_count()).max(1.0)
    }

    /// The share of the messages that follow a change of the middle.
    #[must_use]
    pub fn mid_change_share(&self) -> f64 {
        float(self.mid_changes) / float(self.message_count()).max(1.0)
    }

    /// Index of dispersion: variance over mean of the messages per window of `window` nanoseconds, over the whole
    /// windows of the span. 1 for a Poisson process, more for a clustered one.
    #[must_use]
    pub fn dispersion(&self, window: u64) -> f64 {
        let window_count = ((self.to - self.from) / window).max(1);
        let (mut square_sum, mut sum, mut run, mut current) = (0.0, 0.0, 0_u64, u64::MAX);
        let windows = self.times.iter().map(|time| (time - self.from) / window).filter(|&index| index < window_count);
        for index in windows.chain([u64::MAX]) {
            if index != current {
                square_sum += float(run * run);
                sum += float(run);
                (run, current) = (0, index);
            }
            run += 1;
        }
        let mean = sum / float(window_count);
        (square_sum / float(window_count) - mean * mean) / mean.max(f64::MIN_POSITIVE)
    }
}

const fn live(is_buy: bool, price: u32, qty: u32, since: u64) -> Live {
    Live { is_buy, price, qty, since }
}

/// Whether messages of `kind` are about orders or trades of continuous trading.
fn is_flow(kind: MessageType) -> bool {
    b"AFECXDUP".contains(&kind.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_dispersion_are_what_they_say() {
        let mut samples = Samples::default();
        for value in [5.0, 1.0, 3.0, 2.0, 4.0] {
            samples.push(value);
        }
        assert!((samples.quantile(0.5) - 3.0).abs() < 1e-12 && (samples.mean() - 3.0).abs() < 1e-12);
        let mut even = FlowStatistics::new(Symbol(*b"A       "), 0, 1_000);
        even.times = (0..1_000).collect();
        assert!(even.dispersion(10).abs() < 1e-9);
        even.times = vec![5; 1_000];
        assert!((even.dispersion(10) - 990.0).abs() < 1e-6);
    }
}
