//! The limits: all of them set by somebody, or none of them usable.

use core::fmt;

use peregrine_types::{Nanos, Notional, Qty};

/// Limits as a configuration file gives them. There is no default: what is `None` is refused by
/// [`LimitsConfig::validate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Largest quantity of one order, 1 to 2⁶³ − 1.
    pub order_qty_max: Option<Qty>,
    /// Largest value of one order, above 0.
    pub order_notional_max: Option<Notional>,
    /// Largest distance of an order's price from the reference price, in 1/10,000 of the reference price, 1 to 10,000.
    pub price_collar_bps: Option<u32>,
    /// Largest position in one symbol, long or short, all open orders of a side counted as filled, 1 to 2⁶³ − 1.
    pub position_qty_max: Option<Qty>,
    /// Largest sum of the worst-case exposures of all symbols, above 0.
    pub gross_notional_max: Option<Notional>,
    /// Most orders open at once, 1 to 1,048,576.
    pub open_orders_max: Option<u32>,
    /// Most messages (orders and cancels) within `order_rate_window`, 1 to 1,048,576.
    pub order_rate_max: Option<u32>,
    /// Length of the sliding window of `order_rate_max`, above 0.
    pub order_rate_window: Option<Nanos>,
    /// For how long the same order may not be sent again, 1 ns to `order_rate_window`.
    pub duplicate_window: Option<Nanos>,
    /// Largest age of the market data that an order answers, above 0.
    pub data_age_max: Option<Nanos>,
}

/// What is wrong with one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitProblem {
    /// It is not set.
    Missing,
    /// Its value is impossible; the text is the bound.
    OutOfRange(&'static str),
}

/// One limit that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct LimitViolation {
    /// The field of [`LimitsConfig`].
    pub key: &'static str,
    /// What is wrong.
    pub problem: LimitProblem,
}

impl fmt::Display for LimitViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            LimitProblem::Missing => write!(f, "limit {} is missing: set it, there is no default", self.key),
            LimitProblem::OutOfRange(bound) => write!(f, "limit {} must be {bound}", self.key),
        }
    }
}

/// Limits that are complete and possible. Only [`LimitsConfig::validate`] makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) order_qty_max: u64,
    pub(crate) order_notional_max: i128,
    pub(crate) price_collar_bps: u32,
    pub(crate) position_qty_max: u64,
    pub(crate) gross_notional_max: i128,
    pub(crate) open_orders_max: u32,
    pub(crate) order_rate_max: u32,
    pub(crate) order_rate_window: i64,
    pub(crate) duplicate_window: i64,
    pub(crate) data_age_max: i64,
}

const QTY_MAX: u64 = i64::MAX.unsigned_abs();
const COUNT_MAX: u32 = 1 << 20;

/// Takes the value of a limit, noting what is wrong with it.
struct Audit(Vec<LimitViolation>);

impl Audit {
    fn take<T: Copy + Default>(
        &mut self,
        key: &'static str,
        value: Option<T>,
        bound: &'static str,
        is_possible: impl Fn(T) -> bool,
    ) -> T {
        let problem = match value {
            None => LimitProblem::Missing,
            Some(value) if is_possible(value) => return value,
            Some(_) => LimitProblem::OutOfRange(bound),
        };
        self.0.push(LimitViolation { key, problem });
        T::default()
    }
}

impl LimitsConfig {
    /// The limits, if every one is set and possible.
    ///
    /// # Errors
    /// Every [`LimitViolation`] there is, in the order of the fields.
    pub fn validate(&self) -> Result<Limits, Vec<LimitViolation>> {
        const QTY: &str = "from 1 to 9223372036854775807";
        const COUNT: &str = "from 1 to 1048576";
        let is_qty = |qty: Qty| (1..=QTY_MAX).contains(&qty.0);
        let is_money = |money: Notional| money > Notional::ZERO;
        let is_count = |count: u32| (1..=COUNT_MAX).contains(&count);
        let is_span = |span: Nanos| span > Nanos::ZERO;
        let rate_window = self.order_rate_window.unwrap_or(Nanos(i64::MAX));
        let mut audit = Audit(Vec::new());
        let limits = Limits {
            order_qty_max: audit.take("order_qty_max", self.order_qty_max, QTY, is_qty).0,
            order_notional_max: audit.take("order_notional_max", self.order_notional_max, "above 0", is_money).0,
            price_collar_bps: audit
                .take("price_collar_bps", self.price_collar_bps, "from 1 to 10000", |bps| (1..=10_000).contains(&bps)),
            position_qty_max: audit.take("position_qty_max", self.position_qty_max, QTY, is_qty).0,
            gross_notional_max: audit.take("gross_notional_max", self.gross_notional_max, "above 0", is_money).0,
            open_orders_max: audit.take("open_orders_max", self.open_orders_max, COUNT, is_count),
            order_rate_max: audit.take("order_rate_max", self.order_rate_max, COUNT, is_count),
            order_rate_window: audit.take("order_rate_window", self.order_rate_window, "above 0 ns", is_span).0,
            duplicate_window: audit
                .take("duplicate_window", self.duplicate_window, "from 1 ns to order_rate_window", |span| {
                    is_span(span) && span <= rate_window
                })
                .0,
            data_age_max: audit.take("data_age_max", self.data_age_max, "above 0 ns", is_span).0,
        };
        if audit.0.is_empty() { Ok(limits) } else { Err(audit.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_and_every_impossible_limit_is_named_at_once() {
        let missing = LimitsConfig::default().validate().unwrap_err();
        assert_eq!(missing.len(), 10);
        assert!(missing.iter().all(|violation| violation.problem == LimitProblem::Missing));
        let impossible = LimitsConfig {
            order_qty_max: Some(Qty(0)),
            order_notional_max: Some(Notional(0)),
            price_collar_bps: Some(10_001),
            position_qty_max: Some(Qty(1 << 63)),
            gross_notional_max: Some(Notional(-1)),
            open_orders_max: Some(0),
            order_rate_max: Some((1 << 20) + 1),
            order_rate_window: Some(Nanos(5)),
            duplicate_window: Some(Nanos(6)),
            data_age_max: Some(Nanos(0)),
        };
        let keys: Vec<_> = impossible.validate().unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(keys.len(), 9);
        assert_eq!(keys[7], "limit duplicate_window must be from 1 ns to order_rate_window");
    }
}
