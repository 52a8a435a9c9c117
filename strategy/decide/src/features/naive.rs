//! The slow, obvious features: the whole history is kept and every feature is made anew from its formula. They define
//! what the incremental ones must say.
#![expect(clippy::arithmetic_side_effects, reason = "a twin that is never traded on: formulas as they are written")]

use peregrine_book::{BookAction, BookUpdate, MarketBooks, TradePrint};
use peregrine_types::{EventKind, Level, MarketEvent, Side};

use super::FeatureConfig;

/// One level as price and quantity.
type Pair = (i64, i64);

/// One event of the symbol and the book that it left.
#[derive(Clone, Debug)]
struct Moment {
    time: i64,
    action: BookAction,
    side: Side,
    is_replaced: bool,
    trade: Option<TradePrint>,
    bids: Vec<Pair>,
    asks: Vec<Pair>,
}

/// The twin of [`super::SymbolFeatures`] for one symbol: same values up to the rounding of decayed sums, no speed.
#[derive(Clone, Debug, Default)]
pub struct NaiveFeatures {
    history: Vec<Moment>,
}

impl Moment {
    fn is_book_change(&self) -> bool {
        [BookAction::Added, BookAction::Canceled, BookAction::Deleted, BookAction::Executed, BookAction::Replaced]
            .contains(&self.action)
    }

    /// Twice the mid, if there are two sides.
    fn mid_x2(&self) -> Option<i64> {
        Some(self.bids.first()?.0 + self.asks.first()?.0)
    }

    fn depth(levels: &[Pair], count: usize) -> i64 {
        levels.iter().take(count).map(|level| level.1).sum()
    }

    /// Order-flow terms of each of the ten levels, against the moment before.
    fn flow(&self, before: Option<&Self>, level: usize) -> i64 {
        let at = |levels: Option<&Vec<Pair>>, absent: i64| {
            levels.and_then(|levels| levels.get(level)).copied().unwrap_or((absent, 0))
        };
        let (bid_before, bid) = (at(before.map(|b| &b.bids), i64::MIN), at(Some(&self.bids), i64::MIN));
        let (ask_before, ask) = (at(before.map(|b| &b.asks), i64::MAX), at(Some(&self.asks), i64::MAX));
        let mut flow = 0;
        if bid.0 >= bid_before.0 {
            flow += bid.1;
        }
        if bid.0 <= bid_before.0 {
            flow -= bid_before.1;
        }
        if ask.0 <= ask_before.0 {
            flow -= ask.1;
        }
        if ask.0 >= ask_before.0 {
            flow += ask_before.1;
        }
        flow
    }
}

impl NaiveFeatures {
    /// A symbol of which nothing was seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { history: Vec::new() }
    }

    /// Takes in one event of the symbol, after the book did.
    pub fn on_event<B: MarketBooks>(&mut self, event: &MarketEvent, update: &BookUpdate, books: &B) {
        let levels = |side| {
            let mut levels = [Level::default(); 10];
            let count = books.depth(update.symbol, side, &mut levels);
            levels.iter().take(count).map(|l| (l.price.0, l.qty.0.cast_signed())).collect()
        };
        let time = self.history.last().map_or(event.recv_time.0, |last| last.time.max(event.recv_time.0));
        let trade = update.trade.filter(|t| t.is_printable && event.kind != EventKind::CrossTrade);
        self.history.push(Moment {
            time,
            action: update.action,
            side: update.side,
            is_replaced: update.replacement.is_some(),
            trade,
            bids: levels(Side::Buy),
            asks: levels(Side::Sell),
        });
    }

    /// How many events were taken in.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.history.len()
    }

    /// The vector as of event `index` (from 0), from that event and the ones before it only; zeros where there is none.
    #[must_use]
    pub fn vector_at(&self, index: usize, config: &FeatureConfig) -> [f64; 32] {
        match self.history.get(..=index) {
            Some(history) => Past { history }.vector(config),
            None => [0.0; 32],
        }
    }
}

/// What was known at one moment.
struct Past<'a> {
    history: &'a [Moment],
}

impl Past<'_> {
    fn vector(&self, config: &FeatureConfig) -> [f64; 32] {
        let Some(last) = self.history.last() else {
            return [0.0; 32];
        };
        let tick = config.tick.0 as f64;
        let (mut spread, mut weighted, mut mid_now) = (0.0, 0.0, 1.0);
        let (bid_qty, ask_qty) = (Moment::depth(&last.bids, 1) as f64, Moment::depth(&last.asks, 1) as f64);
        if let (Some(bid), Some(ask)) = (last.bids.first(), last.asks.first()) {
            spread = (ask.0 - bid.0) as f64;
            mid_now = (ask.0 + bid.0) as f64 / 2.0;
            weighted = (bid.0 as f64 * ask_qty + ask.0 as f64 * bid_qty) / (ask_qty + bid_qty) - mid_now;
        }
        let imbalance = |count| {
            let (bid, ask) = (Moment::depth(&last.bids, count), Moment::depth(&last.asks, count));
            if bid + ask == 0 { 0.0 } else { (bid - ask) as f64 / (bid + ask) as f64 }
        };
        let (q_bid, q_ask) = (self.mean_queue(|m| &m.bids), self.mean_queue(|m| &m.asks));
        let depth = f64::max((q_bid + q_ask) / 2.0, 1.0);
        let rate = |side, counts: fn(&Moment) -> bool| {
            self.decayed(1e9, |_, m| if m.side == side && counts(m) { 1.0 } else { 0.0 })
        };
        let added = |m: &Moment| m.action == BookAction::Added || m.is_replaced;
        let canceled =
            |m: &Moment| [BookAction::Canceled, BookAction::Deleted, BookAction::Replaced].contains(&m.action);
        let executed = |m: &Moment| m.action == BookAction::Executed;
        let since = |time: i64| (1.0 + (last.time - time) as f64 / 1e3).log2();
        let fraction =
            (last.time - config.session_open.0) as f64 / (config.session_close.0 - config.session_open.0) as f64;
        [
            spread / tick,
            1e4 * spread / mid_now,
            imbalance(1),
            imbalance(5),
            imbalance(10),
            weighted / tick,
            self.flow_of_changes(0..1) / depth,
            self.flow_of_time(62_500_000) / depth,
            self.flow_of_time(625_000_000) / depth,
            self.flow_of_changes(1..5) / depth,
            self.flow_of_changes(5..10) / depth,
            self.trade_imbalance(1e9),
            self.trade_imbalance(1e10),
            self.decayed(1e9, |_, m| f64::from(u8::from(m.trade.is_some()))),
            self.decayed(1e10, |_, m| f64::from(u8::from(m.trade.is_some()))) / 10.0,
            rate(Side::Buy, added),
            rate(Side::Sell, added),
            rate(Side::Buy, canceled),
            rate(Side::Sell, canceled),
            rate(Side::Buy, executed),
            rate(Side::Sell, executed),
            if q_bid > 0.0 { bid_qty / q_bid } else { 0.0 },
            if q_ask > 0.0 { ask_qty / q_ask } else { 0.0 },
            self.return_over_changes(10),
            self.return_over_changes(100),
            self.return_over_time(6_250_000),
            self.return_over_time(62_500_000),
            self.return_over_time(625_000_000),
            self.decayed(1e10, |index, _| self.mid_return(index).map_or(0.0, |r| r * r)).sqrt(),
            since(self.last_time(|_, m| m.trade.is_some())),
            since(self.last_time(|index, _| self.mid_at(index) != self.mid_before(index))),
            fraction.clamp(0.0, 1.0),
        ]
    }

    /// Twice the last mid known up to event `index`, looking no further back than to the last session.
    fn mid_at(&self, index: usize) -> Option<i64> {
        self.history.get(..=index)?.iter().rev().find_map(Moment::mid_x2)
    }

    fn mid_before(&self, index: usize) -> Option<i64> {
        self.mid_at(index.checked_sub(1)?)
    }

    fn mid_return(&self, index: usize) -> Option<f64> {
        let (now, before) = (self.mid_at(index)?, self.mid_before(index)?);
        Some(1e4 * (now as f64 / before as f64 - 1.0))
    }

    /// Σ w exp(−age/τ) over the whole past.
    fn decayed(&self, tau_ns: f64, weight: impl Fn(usize, &Moment) -> f64) -> f64 {
        let now = self.history.last().map_or(0, |last| last.time);
        let terms = self.history.iter().enumerate();
        terms.map(|(index, m)| weight(index, m) * (-((now - m.time) as f64) / tau_ns).exp()).sum()
    }

    fn mean_queue(&self, side: fn(&Moment) -> &Vec<Pair>) -> f64 {
        let both = |m: &Moment| !m.bids.is_empty() && !m.asks.is_empty();
        let best = |m: &Moment| if both(m) { Moment::depth(side(m), 1) as f64 } else { 0.0 };
        let count = self.decayed(1e10, |_, m| f64::from(u8::from(both(m))));
        if count > 0.0 { self.decayed(1e10, |_, m| best(m)) / count } else { 0.0 }
    }

    fn trade_imbalance(&self, tau_ns: f64) -> f64 {
        let qty = |m: &Moment| m.trade.map_or(0.0, |t| t.qty.0 as f64);
        let sign = |index: usize, trade: &TradePrint| match trade.aggressor {
            Some(Side::Buy) => 1.0,
            Some(Side::Sell) => -1.0,
            None => self.mid_at(index).map_or(0.0, |mid_x2| (2 * trade.price.0 - mid_x2).signum() as f64),
        };
        let signed = self.decayed(tau_ns, |i, m| m.trade.map_or(0.0, |t| sign(i, &t)) * qty(m));
        signed / (self.decayed(tau_ns, |_, m| qty(m)) + 1.0)
    }

    /// The flow of some levels at event `index`.
    fn flow(&self, index: usize, levels: core::ops::Range<usize>) -> i64 {
        let before = index.checked_sub(1).and_then(|before| self.history.get(before));
        let moment = self.history.get(index);
        moment.map_or(0, |moment| levels.map(|level| moment.flow(before, level)).sum())
    }

    fn flow_of_changes(&self, levels: core::ops::Range<usize>) -> f64 {
        let changes = (0..self.history.len()).rev().filter(|index| self.is_book_change(*index));
        changes.take(64).map(|index| self.flow(index, levels.clone())).sum::<i64>() as f64
    }

    fn flow_of_time(&self, width_ns: i64) -> f64 {
        let events = (0..self.history.len()).filter(|index| self.is_in_window(*index, width_ns));
        events.map(|index| self.flow(index, 0..1)).sum::<i64>() as f64
    }

    fn is_book_change(&self, index: usize) -> bool {
        self.history.get(index).is_some_and(Moment::is_book_change)
    }

    fn is_in_window(&self, index: usize, width_ns: i64) -> bool {
        let bucket = |moment: Option<&Moment>| moment.map_or(0, |m| m.time.div_euclid(width_ns));
        bucket(self.history.get(index)) > bucket(self.history.last()) - 16
    }

    /// From the mid after the `lag`-th last book change before the last one; changes without a known mid do not count.
    fn return_over_changes(&self, lag: usize) -> f64 {
        let changes: Vec<usize> =
            (0..self.history.len()).filter(|i| self.is_book_change(*i) && self.mid_at(*i).is_some()).collect();
        let then = changes.len().checked_sub(lag + 1).and_then(|at| changes.get(at)).or(changes.first());
        self.return_since(then.and_then(|index| self.mid_at(*index)))
    }

    fn return_over_time(&self, width_ns: i64) -> f64 {
        let before = (0..self.history.len()).rev().find(|index| !self.is_in_window(*index, width_ns));
        let first = || self.history.iter().find_map(Moment::mid_x2);
        self.return_since(before.and_then(|index| self.mid_at(index)).or_else(first))
    }

    fn return_since(&self, then: Option<i64>) -> f64 {
        let now = self.mid_at(self.history.len().saturating_sub(1));
        now.zip(then).map_or(0.0, |(now, then)| 1e4 * (now - then) as f64 / then as f64)
    }

    fn last_time(&self, is_it: impl Fn(usize, &Moment) -> bool) -> i64 {
        let found = self.history.iter().enumerate().rev().find(|(index, m)| is_it(*index, m));
        found.map(|(_, m)| m).or(self.history.first()).map_or(0, |m| m.time)
    }
}
