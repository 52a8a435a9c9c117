//! The features of one symbol: state that each event moves on in constant time, and the vector made from it on demand.

use peregrine_book::{BookAction, BookUpdate, MarketBooks, TradePrint};
use peregrine_types::{EpochNanos, EventKind, Level, MarketEvent, MidX2, Price, Side};

use super::FEATURE_COUNT;
use super::decay::DecayedSums;
use super::ladder::{LADDER_LEVELS, Ladder, QTY_MAX};
use super::window::{EventSums, MidRing, TimeBuckets};
use crate::math::log2;

/// A vector of features, in the order of [`super::DEFINITIONS`].
pub type FeatureVector = [f32; FEATURE_COUNT];

/// Values are cut to ± this before they are narrowed, so that each is finite.
const VALUE_MAX: f64 = 1e12;
const SECOND_NS: i64 = 1_000_000_000;

/// Slots of the one-second sums.
mod fast {
    pub(super) const ADD: [usize; 2] = [0, 1];
    pub(super) const CANCEL: [usize; 2] = [2, 3];
    pub(super) const EXECUTE: [usize; 2] = [4, 5];
    pub(super) const TRADE_SIGNED: usize = 6;
    pub(super) const TRADE_QTY: usize = 7;
    pub(super) const TRADE_COUNT: usize = 8;
    pub(super) const COUNT: usize = 9;
}

/// Slots of the ten-second sums.
mod slow {
    pub(super) const TRADE_SIGNED: usize = 0;
    pub(super) const TRADE_QTY: usize = 1;
    pub(super) const TRADE_COUNT: usize = 2;
    pub(super) const RETURN_SQUARED: usize = 3;
    pub(super) const QUEUE_BID: usize = 4;
    pub(super) const QUEUE_ASK: usize = 5;
    pub(super) const QUEUE_COUNT: usize = 6;
    pub(super) const COUNT: usize = 7;
}

/// What the features of a symbol need to know from outside the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureConfig {
    /// Price step of the instruments, above 0.
    pub tick: Price,
    /// Start of the continuous session.
    pub session_open: EpochNanos,
    /// End of the continuous session, after its start.
    pub session_close: EpochNanos,
}

/// Everything that the features of one symbol remember: about 4 KiB, no pointer, no allocation.
#[derive(Clone, Debug)]
pub struct SymbolFeatures {
    is_started: bool,
    time: i64,
    last_trade_time: i64,
    last_mid_change_time: i64,
    /// Twice the mid, 0 while none is known.
    mid_x2: i64,
    is_two_sided: bool,
    bids: Ladder,
    asks: Ladder,
    fast: DecayedSums<{ fast::COUNT }, SECOND_NS>,
    slow: DecayedSums<{ slow::COUNT }, { 10 * SECOND_NS }>,
    over_100ms: TimeBuckets<6_250_000>,
    over_1s: TimeBuckets<62_500_000>,
    over_10s: TimeBuckets<625_000_000>,
    flows: EventSums,
    mids: MidRing,
}

impl Default for SymbolFeatures {
    fn default() -> Self {
        Self::new()
    }
}

impl SymbolFeatures {
    /// A symbol of which nothing was seen.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            is_started: false,
            time: 0,
            last_trade_time: 0,
            last_mid_change_time: 0,
            mid_x2: 0,
            is_two_sided: false,
            bids: Ladder::EMPTY,
            asks: Ladder::EMPTY,
            fast: DecayedSums::new(),
            slow: DecayedSums::new(),
            over_100ms: TimeBuckets::new(),
            over_1s: TimeBuckets::new(),
            over_10s: TimeBuckets::new(),
            flows: EventSums::new(),
            mids: MidRing::new(),
        }
    }

    /// Takes in one event of this symbol, after the book did.
    #[inline]
    pub fn on_event<B: MarketBooks>(&mut self, event: &MarketEvent, update: &BookUpdate, books: &B) {
        self.pass_time(event.recv_time.0);
        let is_book_change = self.count_action(update);
        if is_book_change {
            self.take_book(update, books);
        }
        if let Some(trade) = &update.trade
            && event.kind != EventKind::CrossTrade
            && trade.is_printable
        {
            self.take_trade(trade);
        }
        if self.is_two_sided {
            self.slow.add(slow::QUEUE_BID, self.bids.best_qty() as f64);
            self.slow.add(slow::QUEUE_ASK, self.asks.best_qty() as f64);
            self.slow.add(slow::QUEUE_COUNT, 1.0);
        }
    }

    /// `recv_time` of the newest event, `None` before the first.
    #[must_use]
    #[inline]
    pub const fn last_time(&self) -> Option<EpochNanos> {
        if self.is_started { Some(EpochNanos(self.time)) } else { None }
    }

    fn pass_time(&mut self, recv_time: i64) {
        if !self.is_started {
            self.is_started = true;
            self.time = recv_time;
            self.last_trade_time = recv_time;
            self.last_mid_change_time = recv_time;
        }
        let elapsed_ns = recv_time.saturating_sub(self.time);
        self.time = self.time.max(recv_time);
        self.fast.decay(elapsed_ns);
        self.slow.decay(elapsed_ns);
        self.over_100ms.roll(self.time, self.mid_x2);
        self.over_1s.roll(self.time, self.mid_x2);
        self.over_10s.roll(self.time, self.mid_x2);
    }

    /// Counts what happened to the displayed orders; whether that was a book change.
    #[inline]
    fn count_action(&mut self, update: &BookUpdate) -> bool {
        let side = update.side.index();
        let mut count = |slots: [usize; 2]| self.fast.add(slots.get(side).copied().unwrap_or(0), 1.0);
        match update.action {
            BookAction::Added => count(fast::ADD),
            BookAction::Canceled | BookAction::Deleted => count(fast::CANCEL),
            BookAction::Executed => count(fast::EXECUTE),
            BookAction::Replaced => {
                count(fast::CANCEL);
                if update.replacement.is_some() {
                    count(fast::ADD);
                }
            }
            BookAction::NoChange | BookAction::Traded | BookAction::StateChanged => return false,
        }
        true
    }

    /// Re-reads the side that changed, if the change is among the levels kept, and books the order flow.
    #[inline]
    fn take_book<B: MarketBooks>(&mut self, update: &BookUpdate, books: &B) {
        let side = update.side;
        let ladder = match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        let is_new_shown = update.replacement.is_some_and(|new| ladder.shows(new.price.0, side));
        let mut flows = [0; 3];
        if is_new_shown || ladder.shows(update.price.0, side) {
            let mut levels = [Level::default(); LADDER_LEVELS];
            let count = books.depth(update.symbol, side, &mut levels);
            flows = ladder.replace(levels.get(..count).unwrap_or(&levels), side);
            if side == Side::Sell {
                flows = flows.map(i64::wrapping_neg);
            }
            self.take_mid();
        }
        let [best, ..] = flows;
        self.flows.push(flows);
        self.over_1s.add(best);
        self.over_10s.add(best);
        if self.mid_x2 != 0 {
            self.mids.push(self.mid_x2);
        }
    }

    #[inline]
    fn take_mid(&mut self) {
        let (Some(bid), Some(ask)) = (self.bids.best(Side::Buy), self.asks.best(Side::Sell)) else {
            self.is_two_sided = false;
            return;
        };
        self.is_two_sided = true;
        let mid_x2 = MidX2::of(Price(bid), Price(ask)).0;
        if mid_x2 == self.mid_x2 || mid_x2 <= 0 {
            return;
        }
        if self.mid_x2 == 0 {
            self.mids.fill(mid_x2);
            self.over_100ms.fill_mids(mid_x2);
            self.over_1s.fill_mids(mid_x2);
            self.over_10s.fill_mids(mid_x2);
        } else {
            let change = return_bps(mid_x2, self.mid_x2);
            self.slow.add(slow::RETURN_SQUARED, change * change);
        }
        self.mid_x2 = mid_x2;
        self.last_mid_change_time = self.time;
    }

    #[inline]
    fn take_trade(&mut self, trade: &TradePrint) {
        self.last_trade_time = self.time;
        let qty = i64::try_from(trade.qty.0).unwrap_or(QTY_MAX).min(QTY_MAX) as f64;
        let signed = qty * trade_sign(trade, self.mid_x2);
        self.fast.add(fast::TRADE_SIGNED, signed);
        self.fast.add(fast::TRADE_QTY, qty);
        self.fast.add(fast::TRADE_COUNT, 1.0);
        self.slow.add(slow::TRADE_SIGNED, signed);
        self.slow.add(slow::TRADE_QTY, qty);
        self.slow.add(slow::TRADE_COUNT, 1.0);
    }

    /// The vector as of this symbol's last event; all values finite.
    #[must_use]
    pub fn vector(&self, config: &FeatureConfig) -> FeatureVector {
        let [spread_ticks, spread_bps, weighted_mid_offset] = self.spread(config.tick);
        let [imbalance_1, imbalance_5, imbalance_10] = [1, 5, 10].map(|count| self.imbalance(count));
        let [ofi_1, ofi_2_5, ofi_6_10] = self.flows.sums();
        let [add_bid, add_ask, cancel_bid, cancel_ask, execute_bid, execute_ask, signed_1, qty_1, count_1] =
            *self.fast.sums();
        let [signed_10, qty_10, count_10, return_squared, queue_bid, queue_ask, queue_count] = *self.slow.sums();
        let (mean_bid, mean_ask) = (ratio(queue_bid, queue_count), ratio(queue_ask, queue_count));
        let depth = (0.5 * (mean_bid + mean_ask)).max(1.0);
        let values = [
            spread_ticks,
            spread_bps,
            imbalance_1,
            imbalance_5,
            imbalance_10,
            weighted_mid_offset,
            ofi_1 as f64 / depth,
            self.over_1s.sum() as f64 / depth,
            self.over_10s.sum() as f64 / depth,
            ofi_2_5 as f64 / depth,
            ofi_6_10 as f64 / depth,
            signed_1 / (qty_1 + 1.0),
            signed_10 / (qty_10 + 1.0),
            count_1,
            count_10 * 0.1,
            add_bid,
            add_ask,
            cancel_bid,
            cancel_ask,
            execute_bid,
            execute_ask,
            ratio(self.bids.best_qty() as f64, mean_bid),
            ratio(self.asks.best_qty() as f64, mean_ask),
            return_bps(self.mid_x2, self.mids.lagged(10)),
            return_bps(self.mid_x2, self.mids.lagged(100)),
            return_bps(self.mid_x2, self.over_100ms.lagged_mid()),
            return_bps(self.mid_x2, self.over_1s.lagged_mid()),
            return_bps(self.mid_x2, self.over_10s.lagged_mid()),
            return_squared.sqrt(),
            log_micros(self.time.saturating_sub(self.last_trade_time)),
            log_micros(self.time.saturating_sub(self.last_mid_change_time)),
            session_fraction(self.time, config),
        ];
        values.map(narrow)
    }

    /// Twice the mid of the last two-sided book in [`Price`] units, `None` before there was one.
    #[must_use]
    pub fn mid(&self) -> Option<MidX2> {
        (self.mid_x2 != 0).then_some(MidX2(self.mid_x2))
    }

    /// `recv_time` of this symbol's last event.
    #[must_use]
    pub const fn time(&self) -> EpochNanos {
        EpochNanos(self.time)
    }

    /// Spread in ticks and basis points, weighted mid minus mid in ticks.
    #[inline]
    fn spread(&self, tick: Price) -> [f64; 3] {
        let (Some(bid), Some(ask)) = (self.bids.best(Side::Buy), self.asks.best(Side::Sell)) else {
            return [0.0; 3];
        };
        let spread = ask.saturating_sub(bid) as f64;
        let ticks = ratio(spread, tick.0 as f64);
        // (B a + A b)/(a + b) − (A + B)/2 = (A − B)/2 × (b − a)/(b + a), without the cancellation of the first form.
        [ticks, 2e4 * ratio(spread, bid.saturating_add(ask) as f64), 0.5 * ticks * self.imbalance(1)]
    }

    #[inline]
    fn imbalance(&self, count: usize) -> f64 {
        let (bid, ask) = (self.bids.depth(count), self.asks.depth(count));
        ratio(bid.wrapping_sub(ask) as f64, bid.wrapping_add(ask) as f64)
    }
}

/// `a/b`, or 0 when `b` is not above 0.
#[inline]
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// The return from `old` to `new` in basis points, 0 when `old` is unknown.
#[inline]
fn return_bps(new: i64, old: i64) -> f64 {
    1e4 * ratio(new.saturating_sub(old) as f64, old as f64)
}

#[inline]
fn log_micros(elapsed_ns: i64) -> f64 {
    log2(1.0 + elapsed_ns as f64 / 1e3)
}

/// +1 for a buy, −1 for a sell: the side that took, else the quote rule against the mid, else 0.
#[inline]
fn trade_sign(trade: &TradePrint, mid_x2: i64) -> f64 {
    match trade.aggressor {
        Some(Side::Buy) => 1.0,
        Some(Side::Sell) => -1.0,
        None if mid_x2 == 0 => 0.0,
        None => trade.price.0.saturating_mul(2).saturating_sub(mid_x2).signum() as f64,
    }
}

#[inline]
fn session_fraction(time: i64, config: &FeatureConfig) -> f64 {
    let passed = time.saturating_sub(config.session_open.0) as f64;
    let whole = config.session_close.0.saturating_sub(config.session_open.0) as f64;
    ratio(passed, whole).clamp(0.0, 1.0)
}

/// To binary32, the one place where precision is given up.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to binary32 is meant; the value is cut to a finite range"
)]
#[inline]
pub(crate) fn narrow(value: f64) -> f32 {
    value.clamp(-VALUE_MAX, VALUE_MAX) as f32
}
