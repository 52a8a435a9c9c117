//! What the strategy is told at start. Nothing here has a default: every threshold is written by the profile.

use core::fmt;

use peregrine_types::{BookState, Nanos, Price, Qty};

/// Thresholds, sizes and policies of the controller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecideConfig {
    /// Quantity of one order, at least 1.
    pub order_qty: Qty,
    /// Size of the position aimed at: targets are −1, 0 or +1 times this, reached by orders of at most `order_qty`; at
    /// least 1.
    pub target_position_qty: Qty,
    /// The controller head's output that means a long (above) or short (below the negative) target; above 0, to 1.
    pub action_threshold: f64,
    /// How far the output must fall back before a target is given up; 0 to `action_threshold`.
    pub action_hysteresis: f64,
    /// Ticks behind the best price at which quotes are placed; 0 joins the best price.
    pub quote_offset_ticks: u32,
    /// Ticks by which quotes stay behind the predicted price (mid moved by the predicted return); `None` quotes by the
    /// best price alone.
    pub quote_edge_ticks: Option<f64>,
    /// Ticks by which a resting quote may differ from the price wanted now before it is cancelled and placed anew.
    pub requote_tolerance_ticks: u32,
    /// Index of the model's horizon whose predicted return decides about takes; below the model's horizon count.
    pub take_horizon_index: usize,
    /// Ticks by which the predicted move must exceed half-spread plus fee before a take; from 0.
    pub take_margin_ticks: f64,
    /// Fee for removing liquidity per share; negative for a rebate.
    pub fee_removed: Price,
    /// Surprise (KL of posterior from prior, nats) above which nothing rests and nothing is sent; above 0.
    pub surprise_max: f64,
    /// Confidence of the regime below which nothing rests and nothing is sent; 0 to 1.
    pub regime_confidence_min: f64,
    /// Whether a quote that is not where it should be is replaced in one message, in place of a cancel and a new order.
    pub use_replace: bool,
    /// Reasons against a book that withdraw resting orders. New orders need a good book in any case.
    pub withdraw_on: BookState,
    /// Least time between two decisions of one symbol; from 0.
    pub min_decision_interval: Nanos,
    /// Pause of a symbol's new orders after a denial or a rejection (and of its cancels after a refused cancel); from 0.
    pub denied_backoff: Nanos,
    /// What the features call a tick, above 0: the step that the model was trained with, whatever an instrument's own.
    pub feature_tick: Price,
}

/// One value that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigViolation {
    /// The field of [`DecideConfig`].
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub bound: &'static str,
}

impl fmt::Display for ConfigViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: must be {}", self.key, self.value, self.bound)
    }
}

impl core::error::Error for ConfigViolation {}

impl DecideConfig {
    /// Checks every value and collects all that cannot be.
    ///
    /// # Errors
    /// Every [`ConfigViolation`], in the order of the fields.
    pub fn validate(&self) -> Result<(), Vec<ConfigViolation>> {
        let qty_max = i64::MAX.unsigned_abs() / 4;
        let mut violations = Vec::new();
        let mut require = |is_met: bool, key: &'static str, value: &dyn fmt::Display, bound: &'static str| {
            if !is_met {
                violations.push(ConfigViolation { key, value: value.to_string(), bound });
            }
        };
        let unit = 0.0..=1.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        require((1..=qty_max).contains(&self.order_qty.0), "order_qty", &self.order_qty, "1 to 2^61");
        let is_target_met = (1..=qty_max).contains(&self.target_position_qty.0);
        require(is_target_met, "target_position_qty", &self.target_position_qty, "1 to 2^61");
        let threshold = self.action_threshold;
        require(unit.contains(&threshold) && threshold > 0.0, "action_threshold", &threshold, "above 0, to 1");
        let is_hysteresis_met = (0.0..=threshold).contains(&self.action_hysteresis);
        require(is_hysteresis_met, "action_hysteresis", &self.action_hysteresis, "0 to action_threshold");
        let edge = self.quote_edge_ticks.unwrap_or(0.0);
        require(not_negative(edge), "quote_edge_ticks", &edge, "0 or more, or absent");
        let horizon_max = peregrine_model::HORIZON_COUNT_MAX;
        require(self.take_horizon_index < horizon_max, "take_horizon_index", &self.take_horizon_index, "0 to 3");
        require(not_negative(self.take_margin_ticks), "take_margin_ticks", &self.take_margin_ticks, "0 or more");
        require(
            self.surprise_max > 0.0 && self.surprise_max.is_finite(),
            "surprise_max",
            &self.surprise_max,
            "above 0",
        );
        let confidence = self.regime_confidence_min;
        require(unit.contains(&confidence), "regime_confidence_min", &confidence, "0 to 1");
        let interval = self.min_decision_interval;
        require(interval >= Nanos::ZERO, "min_decision_interval_ns", &interval, "0 or more");
        require(self.denied_backoff >= Nanos::ZERO, "denied_backoff_ns", &self.denied_backoff, "0 or more");
        require(self.feature_tick > Price(0), "feature_tick", &self.feature_tick, "above 0");
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }
}

#[cfg(test)]
pub(crate) fn for_tests() -> DecideConfig {
    DecideConfig {
        order_qty: Qty(100),
        target_position_qty: Qty(100),
        action_threshold: 0.5,
        action_hysteresis: 0.2,
        quote_offset_ticks: 0,
        quote_edge_ticks: None,
        requote_tolerance_ticks: 0,
        take_horizon_index: 0,
        take_margin_ticks: 0.0,
        fee_removed: Price(3_000_000),
        surprise_max: 10.0,
        regime_confidence_min: 0.2,
        use_replace: false,
        withdraw_on: BookState::STALE.with(BookState::HALTED).with(BookState::QUARANTINED).with(BookState::CROSSED),
        min_decision_interval: Nanos::ZERO,
        denied_backoff: Nanos::from_millis(1),
        feature_tick: Price(10_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_named_at_once() {
        assert_eq!(for_tests().validate(), Ok(()));
        let wrong = DecideConfig {
            order_qty: Qty(0),
            target_position_qty: Qty(u64::MAX),
            action_threshold: f64::NAN,
            action_hysteresis: 0.1,
            quote_edge_ticks: Some(-1.0),
            take_horizon_index: 4,
            take_margin_ticks: f64::INFINITY,
            surprise_max: 0.0,
            regime_confidence_min: 1.5,
            min_decision_interval: Nanos(-1),
            denied_backoff: Nanos(-1),
            feature_tick: Price(0),
            ..for_tests()
        };
        let keys: Vec<_> = wrong.validate().unwrap_err().iter().map(|violation| violation.key).collect();
        assert_eq!(
            keys,
            [
                "order_qty",
                "target_position_qty",
                "action_threshold",
                "action_hysteresis",
                "quote_edge_ticks",
                "take_horizon_index",
                "take_margin_ticks",
                "surprise_max",
                "regime_confidence_min",
                "min_decision_interval_ns",
                "denied_backoff_ns",
                "feature_tick"
            ]
        );
        let small = DecideConfig { target_position_qty: Qty(0), ..for_tests() };
        let text = small.validate().unwrap_err()[0].to_string();
        assert_eq!(text, "target_position_qty = 0: must be 1 to 2^61");
    }
}
