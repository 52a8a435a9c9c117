//! Features of consolidated quotes: what the national best bid and offer in milliseconds permits, and no more. There is no
//! order flow below the best prices here, so this is a family of its own, with its own definition hash: a model made of
//! it cannot be mistaken for one of order books.

use std::fmt::Write as _;

use peregrine_decide::{exp_neg, log2};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::scale::narrow;

/// Version of the family; part of the definition hash.
pub const QUOTE_DEFINITION_VERSION: u32 = 1;
/// How many features there are: the observation size of the `nano` model.
pub const QUOTE_FEATURES: usize = 16;

const SECOND_NS: f64 = 1e9;

/// Which features a dataset of quotes has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QuoteFamily {
    /// Quotes alone.
    Quotes,
    /// Quotes with the trades of the same days.
    QuotesAndTrades,
}

/// Name and formula of the features that both families share.
const COMMON: [(&str, &str); 14] = [
    ("spread_ticks", "(A - B)/tick"),
    ("spread_bps", "1e4*(A - B)/M"),
    ("imbalance", "(b - a)/(b + a)"),
    ("imbalance_mean_10s", "mean(10 s)[(b - a)/(b + a)]"),
    ("weighted_mid_offset", "(A - B)/(2 tick)*(b - a)/(b + a)"),
    ("log_bid_age", "log2(1 + time since the best bid's price changed/1 us)"),
    ("log_ask_age", "log2(1 + time since the best ask's price changed/1 us)"),
    ("ofi_1s", "D(1 s)[e]/depth, e: order-flow imbalance of the best quotes (Cont, Kukanov, Stoikov 2014)"),
    ("ofi_10s", "D(10 s)[e]/depth"),
    ("return_10_changes", "1e4*(M/M 10 changes of the mid before - 1)"),
    ("displacement_1s", "1e4*(M/mean(1 s)[M] - 1)"),
    ("displacement_10s", "1e4*(M/mean(10 s)[M] - 1)"),
    ("realised_volatility_10s", "sqrt(D(10 s)[r^2]), r = 1e4*(M'/M - 1) at each change of the mid"),
    ("quote_rate_1s", "D(1 s)[1 per change of the best quotes]"),
];

const QUOTES_ONLY: [(&str, &str); 2] = [
    ("log_time_since_mid_change", "log2(1 + time since the mid changed/1 us)"),
    ("session_fraction", "(t - open)/(close - open), clamped to 0 to 1"),
];

const WITH_TRADES: [(&str, &str); 2] = [
    (
        "trade_imbalance_10s",
        "D(10 s)[signed shares]/(D(10 s)[shares] + 1), sign by the quote rule against the mid before",
    ),
    ("trade_rate_10s", "D(10 s)[1 per trade]/10 s"),
];

impl QuoteFamily {
    const fn own(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Quotes => QUOTES_ONLY,
            Self::QuotesAndTrades => WITH_TRADES,
        }
    }

    /// Names of the features in order.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        COMMON.iter().chain(&self.own()).map(|(name, _)| *name).collect()
    }

    /// SHA-256 of [`quote_definition_text`], 64 hexadecimal digits.
    #[must_use]
    pub fn definition_hash(self) -> String {
        hex(&Sha256::digest(quote_definition_text(self).as_bytes()))
    }
}

/// The canonical text of a family: version, notation and every definition, one per line.
///
/// A, B: best ask and bid; a, b: their shares; M: the mid; `D(τ)[x]`: Σ x·e^(−age/τ); mean(τ): the same, weighted by time;
/// depth: mean(10 s) of (a + b)/2, at least 1.
#[must_use]
pub fn quote_definition_text(family: QuoteFamily) -> String {
    let mut text = format!("peregrine-quote-features {QUOTE_DEFINITION_VERSION}\n");
    for (name, formula) in COMMON.iter().chain(&family.own()) {
        // Writing to a String cannot fail.
        let _written = writeln!(text, "{name}|{formula}");
    }
    text
}

/// The consolidated best quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Best {
    /// Best bid and ask, currency × 10⁴; 0: none.
    pub(crate) bid: i64,
    pub(crate) ask: i64,
    /// Shares at the best prices.
    pub(crate) bid_qty: f64,
    pub(crate) ask_qty: f64,
}

impl Best {
    pub(crate) const fn is_two_sided(&self) -> bool {
        self.bid > 0 && self.ask > 0
    }

    pub(crate) const fn mid_x2(&self) -> f64 {
        (self.bid + self.ask) as f64
    }

    fn imbalance(&self) -> f64 {
        ratio(self.bid_qty - self.ask_qty, self.bid_qty + self.ask_qty)
    }

    /// Whether best prices or their shares differ.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        (self.bid, self.ask) != (other.bid, other.ask)
            || self.bid_qty.to_bits() != other.bid_qty.to_bits()
            || self.ask_qty.to_bits() != other.ask_qty.to_bits()
    }
}

/// Exponentially decayed sums with one time constant.
#[derive(Clone, Copy, Debug)]
struct Decayed<const N: usize> {
    sums: [f64; N],
}

impl<const N: usize> Decayed<N> {
    const ZERO: Self = Self { sums: [0.0; N] };

    /// Lets time pass and gives the factor by which the sums shrank.
    fn pass(&mut self, elapsed_ns: f64, tau_ns: f64) -> f64 {
        let factor = exp_neg(elapsed_ns / tau_ns);
        self.sums.iter_mut().for_each(|sum| *sum *= factor);
        factor
    }
}

/// What the features of one symbol remember.
#[derive(Clone, Debug)]
pub(crate) struct QuoteState {
    family: QuoteFamily,
    /// Price step in currency × 10⁴.
    tick: f64,
    open: i64,
    close: i64,
    time: i64,
    mid_change_time: i64,
    bid_change_time: i64,
    ask_change_time: i64,
    best: Best,
    /// Order flow, changes.
    fast: Decayed<2>,
    /// Order flow, squared returns, signed shares, shares, trades.
    slow: Decayed<5>,
    /// Means weighted by time: mid over 1 s; mid, depth and imbalance over 10 s.
    mean_mid_1s: f64,
    mean_mid_10s: f64,
    mean_depth: f64,
    mean_imbalance: f64,
    /// The last mids that differ, newest last.
    mids: [f64; 11],
    is_started: bool,
}

impl QuoteState {
    pub(crate) fn new(family: QuoteFamily, tick: f64, (open, close): (i64, i64)) -> Self {
        Self {
            family,
            tick,
            open,
            close,
            time: 0,
            mid_change_time: 0,
            bid_change_time: 0,
            ask_change_time: 0,
            best: Best::default(),
            fast: Decayed::ZERO,
            slow: Decayed::ZERO,
            mean_mid_1s: 0.0,
            mean_mid_10s: 0.0,
            mean_depth: 0.0,
            mean_imbalance: 0.0,
            mids: [0.0; 11],
            is_started: false,
        }
    }

    /// Time passes under the quotes that stood.
    pub(crate) fn pass_time(&mut self, time: i64) {
        let elapsed = time.saturating_sub(self.time).max(0) as f64;
        self.time = time;
        if !self.is_started || elapsed == 0.0 {
            return;
        }
        let fast = self.fast.pass(elapsed, SECOND_NS);
        let slow = self.slow.pass(elapsed, 10.0 * SECOND_NS);
        let (mid, depth) = (self.best.mid_x2(), 0.5 * (self.best.bid_qty + self.best.ask_qty));
        self.mean_mid_1s = mid + (self.mean_mid_1s - mid) * fast;
        self.mean_mid_10s = mid + (self.mean_mid_10s - mid) * slow;
        self.mean_depth = depth + (self.mean_depth - depth) * slow;
        let imbalance = self.best.imbalance();
        self.mean_imbalance = imbalance + (self.mean_imbalance - imbalance) * slow;
    }

    /// The best quotes changed to `best`, which has two sides.
    pub(crate) fn on_quotes(&mut self, best: &Best) {
        let mid = best.mid_x2();
        if !self.is_started {
            self.is_started = true;
            (self.mid_change_time, self.bid_change_time, self.ask_change_time) = (self.time, self.time, self.time);
            self.mean_imbalance = best.imbalance();
            (self.mean_mid_1s, self.mean_mid_10s) = (mid, mid);
            self.mean_depth = 0.5 * (best.bid_qty + best.ask_qty);
            self.mids = [mid; 11];
            self.best = *best;
            return;
        }
        let flow = side_flow(best.bid - self.best.bid, best.bid_qty, self.best.bid_qty)
            - side_flow(self.best.ask - best.ask, best.ask_qty, self.best.ask_qty);
        let ([flow_1, changes], [flow_10, squares, ..]) = (&mut self.fast.sums, &mut self.slow.sums);
        *flow_1 += flow;
        *flow_10 += flow;
        *changes += 1.0;
        if best.bid != self.best.bid {
            self.bid_change_time = self.time;
        }
        if best.ask != self.best.ask {
            self.ask_change_time = self.time;
        }
        let before = self.best.mid_x2();
        if mid != before {
            *squares += (1e4 * (mid / before - 1.0)).powi(2);
            self.mids.rotate_left(1);
            if let Some(newest) = self.mids.last_mut() {
                *newest = mid;
            }
            self.mid_change_time = self.time;
        }
        self.best = *best;
    }

    /// A trade at `price` (currency × 10⁴), signed against the quotes that stood before it.
    pub(crate) fn on_trade(&mut self, price: i64, qty: f64) {
        let sign = if self.is_started { (2.0 * price as f64 - self.best.mid_x2()).partial_cmp(&0.0) } else { None };
        let sign = sign.map_or(0.0, |order| f64::from(order as i8));
        let [_, _, signed, shares, trades] = &mut self.slow.sums;
        *signed += sign * qty;
        *shares += qty;
        *trades += 1.0;
    }

    /// The features as of now.
    pub(crate) fn vector(&self) -> [f32; QUOTE_FEATURES] {
        let best = &self.best;
        let (mid, spread) = (best.mid_x2(), (best.ask - best.bid) as f64);
        let imbalance = best.imbalance();
        let log_age = |since: i64| log2(1.0 + self.time.saturating_sub(since) as f64 / 1e3);
        let depth = self.mean_depth.max(1.0);
        let [flow_1, changes] = self.fast.sums;
        let [flow_10, squares, signed, shares, trades] = self.slow.sums;
        let [oldest, ..] = self.mids;
        let own = match self.family {
            QuoteFamily::Quotes => {
                let passed = self.time.saturating_sub(self.open) as f64;
                let whole = self.close.saturating_sub(self.open) as f64;
                [log_age(self.mid_change_time), ratio(passed, whole).clamp(0.0, 1.0)]
            }
            QuoteFamily::QuotesAndTrades => [signed / (shares + 1.0), trades * 0.1],
        };
        let [first, second] = own;
        [
            spread / self.tick,
            2e4 * ratio(spread, mid),
            imbalance,
            self.mean_imbalance,
            0.5 * spread / self.tick * imbalance,
            log_age(self.bid_change_time),
            log_age(self.ask_change_time),
            flow_1 / depth,
            flow_10 / depth,
            1e4 * (ratio(mid, oldest) - 1.0),
            1e4 * (ratio(mid, self.mean_mid_1s) - 1.0),
            1e4 * (ratio(mid, self.mean_mid_10s) - 1.0),
            squares.sqrt(),
            changes,
            first,
            second,
        ]
        .map(narrow)
    }
}

/// Order flow of one side (Cont, Kukanov and Stoikov 2014, eq. 2): `improvement` is above 0 where the price got better.
const fn side_flow(improvement: i64, qty: f64, qty_before: f64) -> f64 {
    if improvement > 0 {
        qty
    } else if improvement < 0 {
        -qty_before
    } else {
        qty - qty_before
    }
}

/// `a/b`, or 0 when `b` is not above 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}
