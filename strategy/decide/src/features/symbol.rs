//! The features of one symbol: state that each event moves on in constant time, and the vector made from it on demand.

use peregrine_book::{BookAction, BookUpdate, MarketBooks, TradePrint};
use peregrine_types::{EpochNanos, EventKind, Level, MarketEvent, MidX2, Price, Side};

use super::FEATURE_COUNT;
use super::decay::{DecayedSums, decay_factors};
use super::ladder::{LADDER_LEVELS, Ladder, LadderHead, QTY_MAX};
use super::window::{BucketMemory, EventSums, EventSumsHead, LaggedMids, MidRuns, TimeBuckets};
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
#[repr(C, align(64))]
pub struct SymbolFeatures {
    hot: Hot,
    ladders: [Ladder; 2],
    buckets: [BucketMemory; 3],
    mids: MidRuns,
    flows: EventSums,
}

/// What every event of the symbol needs, in neighbouring lines; behind the rest stands memory that some events need.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Hot {
    time: i64,
    /// Twice the mid, 0 while none is known.
    mid_x2: i64,
    ladders: [LadderHead; 2],
    is_started: bool,
    is_two_sided: bool,
    /// Whether each ladder has been read from the book, and so follows it change by change.
    is_read: [bool; 2],
    last_trade_time: i64,
    fast: DecayedSums<{ fast::COUNT }>,
    slow: DecayedSums<{ slow::COUNT }>,
    over_100ms: TimeBuckets<6_250_000>,
    over_1s: TimeBuckets<62_500_000>,
    over_10s: TimeBuckets<625_000_000>,
    flows: EventSumsHead,
    mids: LaggedMids,
    last_mid_change_time: i64,
}

impl Default for SymbolFeatures {
    fn default() -> Self {
        Self::new()
    }
}

impl Hot {
    const NEW: Self = Self {
        time: 0,
        mid_x2: 0,
        ladders: [LadderHead::EMPTY; 2],
        is_started: false,
        is_two_sided: false,
        is_read: [false; 2],
        last_trade_time: 0,
        fast: DecayedSums::new(),
        slow: DecayedSums::new(),
        over_100ms: TimeBuckets::new(),
        over_1s: TimeBuckets::new(),
        over_10s: TimeBuckets::new(),
        flows: EventSumsHead::new(),
        mids: LaggedMids::new(),
        last_mid_change_time: 0,
    };
}

impl SymbolFeatures {
    /// A symbol of which nothing was seen.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            hot: Hot::NEW,
            ladders: [Ladder::EMPTY; 2],
            buckets: [const { BucketMemory::new() }; 3],
            mids: MidRuns::new(),
            flows: EventSums::new(),
        }
    }

    /// Takes in one event of this symbol, after the book did. Never a part of its caller: what is rehearsed while nothing
    /// happens is to be the very code that an event runs.
    #[inline(never)]
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
        let Hot { slow, ladders: [bids, asks], is_two_sided, .. } = &mut self.hot;
        if *is_two_sided {
            slow.add(slow::QUEUE_BID, bids.best_qty() as f64);
            slow.add(slow::QUEUE_ASK, asks.best_qty() as f64);
            slow.add(slow::QUEUE_COUNT, 1.0);
        }
    }

    /// `recv_time` of the newest event, `None` before the first.
    #[must_use]
    #[inline]
    pub const fn last_time(&self) -> Option<EpochNanos> {
        if self.hot.is_started { Some(EpochNanos(self.hot.time)) } else { None }
    }

    /// Reads what the next event will need, so that it is on its way; the sum means nothing.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        let [bids, asks] = &self.ladders;
        let Hot { time, fast, slow, over_100ms, over_1s, over_10s, flows, mids, last_mid_change_time, .. } = &self.hot;
        let ([first, ..], [.., last]) = (fast.sums(), slow.sums());
        let lines = [*time, over_100ms.sum(), over_1s.sum(), over_10s.lagged_mid(), *last_mid_change_time];
        let lines = lines.map(i64::cast_unsigned);
        let memory = [flows.touch(&self.flows), mids.touch(&self.mids), bids.touch(), asks.touch()];
        lines.iter().chain(&memory).fold(first.to_bits() ^ last.to_bits(), |sum, line| sum ^ line)
    }

    #[inline]
    fn pass_time(&mut self, recv_time: i64) {
        let Self { hot, buckets: [of_100ms, of_1s, of_10s], .. } = self;
        if !hot.is_started {
            hot.is_started = true;
            hot.time = recv_time;
            hot.last_trade_time = recv_time;
            hot.last_mid_change_time = recv_time;
        }
        let elapsed_ns = recv_time.saturating_sub(hot.time);
        hot.time = hot.time.max(recv_time);
        if elapsed_ns > 0 {
            let [fast, slow] = decay_factors(elapsed_ns, [SECOND_NS, 10 * SECOND_NS]);
            hot.fast.decay(fast);
            hot.slow.decay(slow);
        }
        hot.over_100ms.roll(hot.time, hot.mid_x2, of_100ms);
        hot.over_1s.roll(hot.time, hot.mid_x2, of_1s);
        hot.over_10s.roll(hot.time, hot.mid_x2, of_10s);
    }

    /// Counts what happened to the displayed orders; whether that was a book change.
    #[inline]
    fn count_action(&mut self, update: &BookUpdate) -> bool {
        let side = update.side.index();
        let mut count = |slots: [usize; 2]| self.hot.fast.add(slots.get(side).copied().unwrap_or(0), 1.0);
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

    /// Takes over what changed, if the change is among the levels kept, and books the order flow.
    #[inline]
    fn take_book<B: MarketBooks>(&mut self, update: &BookUpdate, books: &B) {
        let (side, [bids, asks]) = (update.side, &self.hot.ladders);
        let head = match side {
            Side::Buy => bids,
            Side::Sell => asks,
        };
        let is_new_shown = update.replacement.is_some_and(|new| head.shows(new.price.0, side));
        let mut flows = [0; 3];
        if is_new_shown || head.shows(update.price.0, side) {
            flows = self.take_side(update, books);
            if side == Side::Sell {
                flows = flows.map(i64::wrapping_neg);
            }
            if update.is_top_changed || self.hot.mid_x2 == 0 {
                self.take_mid();
            }
        }
        let Self { hot, mids, flows: memory, .. } = self;
        let [best, ..] = flows;
        hot.flows.push(flows, memory);
        hot.over_1s.add(best);
        hot.over_10s.add(best);
        if hot.mid_x2 != 0 {
            hot.mids.push(hot.mid_x2, mids);
        }
    }

    /// Brings the ladder of the side that changed up to date: by the one level that changed, or by all ten where that is
    /// not enough (a replacement changes two, and a ladder is read whole at first).
    #[inline]
    fn take_side<B: MarketBooks>(&mut self, update: &BookUpdate, books: &B) -> [i64; 3] {
        let side = update.side;
        let ([bids, asks], [bids_head, asks_head]) = (&mut self.ladders, &mut self.hot.ladders);
        let [is_bids_read, is_asks_read] = &mut self.hot.is_read;
        let (ladder, head, is_read) = match side {
            Side::Buy => (bids, bids_head, is_bids_read),
            Side::Sell => (asks, asks_head, is_asks_read),
        };
        let flows = if *is_read && update.action != BookAction::Replaced {
            let level = books.level(update.symbol, side, update.price);
            ladder.change(update.price.0, level.as_ref(), side)
        } else {
            None
        };
        let flows = flows.unwrap_or_else(|| {
            *is_read = true;
            let mut levels = [Level::default(); LADDER_LEVELS];
            let count = books.depth(update.symbol, side, &mut levels);
            ladder.replace(levels.get(..count).unwrap_or(&levels), side)
        });
        *head = ladder.head();
        flows
    }

    #[inline]
    fn take_mid(&mut self) {
        let Self { hot, ladders: [bids, asks], .. } = self;
        let (Some(bid), Some(ask)) = (bids.best(Side::Buy), asks.best(Side::Sell)) else {
            hot.is_two_sided = false;
            return;
        };
        hot.is_two_sided = true;
        let mid_x2 = MidX2::of(Price(bid), Price(ask)).0;
        if mid_x2 == hot.mid_x2 || mid_x2 <= 0 {
            return;
        }
        if hot.mid_x2 == 0 {
            hot.mids.fill(mid_x2);
            hot.over_100ms.fill_mids(mid_x2);
            hot.over_1s.fill_mids(mid_x2);
            hot.over_10s.fill_mids(mid_x2);
        } else {
            let change = return_bps(mid_x2, hot.mid_x2);
            hot.slow.add(slow::RETURN_SQUARED, change * change);
        }
        hot.mid_x2 = mid_x2;
        hot.last_mid_change_time = hot.time;
    }

    #[inline]
    fn take_trade(&mut self, trade: &TradePrint) {
        let hot = &mut self.hot;
        hot.last_trade_time = hot.time;
        let qty = i64::try_from(trade.qty.0).unwrap_or(QTY_MAX).min(QTY_MAX) as f64;
        let signed = qty * trade_sign(trade, hot.mid_x2);
        hot.fast.add(fast::TRADE_SIGNED, signed);
        hot.fast.add(fast::TRADE_QTY, qty);
        hot.fast.add(fast::TRADE_COUNT, 1.0);
        hot.slow.add(slow::TRADE_SIGNED, signed);
        hot.slow.add(slow::TRADE_QTY, qty);
        hot.slow.add(slow::TRADE_COUNT, 1.0);
    }

    /// The vector as of this symbol's last event; all values finite. Never a part of its caller, as [`Self::on_event`].
    #[must_use]
    #[inline(never)]
    pub fn vector(&self, config: &FeatureConfig) -> FeatureVector {
        let Self { hot, ladders: [bids, asks], .. } = self;
        let [add_bid, add_ask, cancel_bid, cancel_ask, execute_bid, execute_ask, _, _, count_1] = *hot.fast.sums();
        let [_, _, count_10, return_squared, ..] = *hot.slow.sums();
        let [spread_ticks, spread_share, imbalance_1, imbalance_5, imbalance_10, mean_bid, mean_ask, shares @ ..] =
            self.shares(config);
        let [trades_1, trades_10, return_10, return_100, return_100ms, return_1s, return_10s, ages @ ..] = shares;
        let [trade_age, mid_age, session_passed] = ages;
        let depth = (0.5 * (mean_bid + mean_ask)).max(1.0);
        let ([ofi_1, ofi_2_5, ofi_6_10], of_depth) = (hot.flows.sums(), |flow: i64| [flow as f64, depth]);
        let [bids_head, asks_head] = &hot.ladders;
        let [bid_qty, ask_qty] = [bids_head, asks_head].map(|ladder| ladder.best_qty() as f64);
        let [ofi_1, ofi_1s, ofi_10s, ofi_2_5, ofi_6_10, queue_ratio_bid, queue_ratio_ask] = ratios([
            of_depth(ofi_1),
            of_depth(hot.over_1s.sum()),
            of_depth(hot.over_10s.sum()),
            of_depth(ofi_2_5),
            of_depth(ofi_6_10),
            [bid_qty, mean_bid],
            [ask_qty, mean_ask],
        ]);
        // (B a + A b)/(a + b) − (A + B)/2 = (A − B)/2 × (b − a)/(b + a), without the cancellation of the first form.
        let is_two_sided = bids.best(Side::Buy).is_some() && asks.best(Side::Sell).is_some();
        let weighted_mid_offset = if is_two_sided { 0.5 * spread_ticks * imbalance_1 } else { 0.0 };
        #[rustfmt::skip]
        let values = [
            spread_ticks, 2e4 * spread_share, imbalance_1, imbalance_5, imbalance_10, weighted_mid_offset,
            ofi_1, ofi_1s, ofi_10s, ofi_2_5, ofi_6_10,
            trades_1, trades_10, count_1, count_10 * 0.1,
            add_bid, add_ask, cancel_bid, cancel_ask, execute_bid, execute_ask, queue_ratio_bid, queue_ratio_ask,
            1e4 * return_10, 1e4 * return_100, 1e4 * return_100ms, 1e4 * return_1s, 1e4 * return_10s,
            return_squared.sqrt(), log2(1.0 + trade_age), log2(1.0 + mid_age), session_passed.clamp(0.0, 1.0),
        ];
        values.map(narrow)
    }

    /// Every quotient that needs no other one: spread in ticks and by the sum of the prices, imbalances, mean queues, trade
    /// imbalances, returns, ages in microseconds, and what has passed of the session.
    #[inline]
    fn shares(&self, config: &FeatureConfig) -> [f64; 17] {
        let Self { hot, ladders: [bids, asks], .. } = self;
        let [.., signed_1, qty_1, _] = *hot.fast.sums();
        let [signed_10, qty_10, _, _, queue_bid, queue_ask, queue_count] = *hot.slow.sums();
        let best = bids.best(Side::Buy).zip(asks.best(Side::Sell));
        let [spread, price_sum] =
            best.map_or([0; 2], |(bid, ask)| [ask.saturating_sub(bid), bid.saturating_add(ask)]).map(|sum| sum as f64);
        let ([bid_1, bid_5, bid_10], [ask_1, ask_5, ask_10]) = (bids.depths(), asks.depths());
        let imbalance = |bid: i64, ask: i64| [bid.wrapping_sub(ask) as f64, bid.wrapping_add(ask) as f64];
        let (change, [lagged_10, lagged_100]) = (|old| change(hot.mid_x2, old), hot.mids.lagged());
        let micros = |then: i64| [hot.time.saturating_sub(then) as f64, 1e3];
        ratios([
            [spread, config.tick.0 as f64],
            [spread, price_sum],
            imbalance(bid_1, ask_1),
            imbalance(bid_5, ask_5),
            imbalance(bid_10, ask_10),
            [queue_bid, queue_count],
            [queue_ask, queue_count],
            [signed_1, qty_1 + 1.0],
            [signed_10, qty_10 + 1.0],
            change(lagged_10),
            change(lagged_100),
            change(hot.over_100ms.lagged_mid()),
            change(hot.over_1s.lagged_mid()),
            change(hot.over_10s.lagged_mid()),
            micros(hot.last_trade_time),
            micros(hot.last_mid_change_time),
            session_clock(hot.time, config),
        ])
    }

    /// Twice the mid of the last two-sided book in [`Price`] units, `None` before there was one.
    #[must_use]
    pub fn mid(&self) -> Option<MidX2> {
        (self.hot.mid_x2 != 0).then_some(MidX2(self.hot.mid_x2))
    }

    /// `recv_time` of this symbol's last event.
    #[must_use]
    pub const fn time(&self) -> EpochNanos {
        EpochNanos(self.hot.time)
    }
}

/// `a/b` of each pair, or 0 when `b` is not above 0: worked side by side, because one by one the divisions would take most
/// of a vector's time.
#[inline(always)]
fn ratios<const N: usize>(pairs: [[f64; 2]; N]) -> [f64; N] {
    let (mut quotients, below) = (pairs.map(|[a, _]| a), pairs.map(|[_, b]| b));
    for (quotient, below) in quotients.iter_mut().zip(below) {
        let whole = *quotient / below;
        *quotient = if below > 0.0 { whole } else { 0.0 };
    }
    quotients
}

/// What the return from `old` to `new` is the ratio of; `old` is 0 when it is unknown.
#[inline]
fn change(new: i64, old: i64) -> [f64; 2] {
    [new.saturating_sub(old) as f64, old as f64]
}

/// The return from `old` to `new` in basis points, 0 when `old` is unknown.
#[inline]
fn return_bps(new: i64, old: i64) -> f64 {
    let [share] = ratios([change(new, old)]);
    1e4 * share
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

/// What has passed of the session, and the whole.
#[inline]
fn session_clock(time: i64, config: &FeatureConfig) -> [f64; 2] {
    let whole = config.session_close.0.saturating_sub(config.session_open.0);
    [time.saturating_sub(config.session_open.0), whole].map(|nanos| nanos as f64)
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
