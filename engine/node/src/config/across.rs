//! What joins keys of several sections: rules, and the values that the stages are made with.

use std::collections::BTreeSet;

use peregrine_decide::{DecideConfig, HeldConfig, HeldLimits, INTENTS_PER_SYMBOL_MAX};
use peregrine_gateway::REPORTS_PER_ORDER_MAX;
use peregrine_risk::LimitsConfig;
use peregrine_types::{BookState, Nanos, Notional, Qty};

use super::schema::{Reader, Violation};
use super::{Config, PaperBurstSection, PaperKindsSection, PaperSpreadSection};

/// Quotes of the house's controller in a symbol, which may be replaced: one for each side.
const QUOTES_PER_SYMBOL: usize = 2;
/// Resting orders that the engine holds in a symbol: one for each side.
const RESTING_PER_SYMBOL: usize = 2;

impl Config {
    /// Rules that join keys of several sections.
    pub(super) fn check_across(&self, reader: &mut Reader) {
        let file = reader.file.clone();
        let mut refuse = |key: &str, what: String| {
            reader.violations.push(Violation { file: file.clone(), line: None, key: key.to_owned(), what });
        };
        if self.guard.inference_p99_halt_ns <= self.guard.inference_p99_warn_ns {
            let (halt, warn) = (self.guard.inference_p99_halt_ns, self.guard.inference_p99_warn_ns);
            refuse("guard.inference_p99_halt_ns", format!("{halt} must be above inference_p99_warn_ns = {warn}"));
        }
        if self.guard.samples_min > self.guard.window_samples {
            let (least, window) = (self.guard.samples_min, self.guard.window_samples);
            refuse("guard.samples_min", format!("{least} must not be above window_samples = {window}"));
        }
        if self.feed.session_close_s <= self.feed.session_open_s {
            let (close, open) = (self.feed.session_close_s, self.feed.session_open_s);
            refuse("feed.session_close_s", format!("{close} must be above session_open_s = {open}"));
        }
        self.check_rooms(&mut refuse);
        self.check_latencies(&mut refuse);
        if self.decide.order_qty > self.risk.order_qty_max {
            let (qty, limit) = (self.decide.order_qty, self.risk.order_qty_max);
            refuse("decide.order_qty", format!("{qty} is above risk.order_qty_max = {limit}: no order would pass"));
        }
        if self.decide.target_position_qty > self.risk.position_qty_max {
            let (qty, limit) = (self.decide.target_position_qty, self.risk.position_qty_max);
            refuse("decide.target_position_qty", format!("{qty} is above risk.position_qty_max = {limit}"));
        }
        for violation in self.decide_config().validate().err().unwrap_or_default() {
            refuse(&format!("decide.{}", violation.key), format!("{} must be {}", violation.value, violation.bound));
        }
        for violation in self.limits().validate().err().unwrap_or_default() {
            refuse(&format!("risk.{}", key_of_limit(violation.key)), violation.to_string());
        }
    }

    /// Rings and tables have room for whatever the limits allow.
    fn check_rooms(&self, refuse: &mut impl FnMut(&str, String)) {
        let (slots, messages) = (self.runtime.order_slots, self.risk.open_orders_max.saturating_mul(2) as usize);
        if slots < messages {
            let what = format!("{slots} is below twice risk.open_orders_max = {messages}: a ring could fill up");
            refuse("runtime.order_slots", what);
        }
        let reports = self.open_order_count_max().saturating_mul(REPORTS_PER_ORDER_MAX);
        if slots < reports {
            let what = format!(
                "{slots} is below {reports}: {REPORTS_PER_ORDER_MAX} reports on each order that decide.watched_count_max, \
                 decide.use_replace and protect.is_for_controllers bring about at once, or risk.open_orders_max allows"
            );
            refuse("runtime.order_slots", what);
        }
        let named = self.named_symbols().len();
        if named > self.feed.symbol_count_max as usize {
            let room = self.feed.symbol_count_max;
            refuse("feed.symbol_count_max", format!("{room} leaves no room for the {named} symbols that are named"));
        }
        let watched: BTreeSet<&String> = self.decide.symbols.iter().filter(|name| name.as_str() != "*").collect();
        if watched.len() > self.decide.watched_count_max as usize {
            let room = self.decide.watched_count_max;
            refuse("decide.watched_count_max", format!("{room} leaves no room for {} symbols", watched.len()));
        }
    }

    /// Recorded latencies stand alone, and quantiles rise.
    fn check_latencies(&self, refuse: &mut impl FnMut(&str, String)) {
        let modeled = [
            (PaperKindsSection::SECTION, self.paper_kinds.is_some()),
            (PaperSpreadSection::SECTION, self.paper_spread.is_some()),
            (PaperBurstSection::SECTION, self.paper_burst.is_some()),
        ];
        if let Some((section, _)) = modeled.into_iter().find(|(_, is_there)| *is_there && self.paper.is_some()) {
            let what =
                format!("cannot stand beside [{section}]: recorded latencies are whole, leave one of the two out");
            refuse("paper.latency_file", what);
        }
        for way in self.paper_spread.iter().flat_map(PaperSpreadSection::ways) {
            for ((below, least), (above, value)) in way.into_iter().zip(way.into_iter().skip(1)) {
                if value < least {
                    refuse(&format!("paper_spread.{above}"), format!("{value} must not be below {below} = {least}"));
                }
            }
        }
    }

    /// Orders that can be open or on their way at once. A replacement is an order beside the one that it is to replace; an
    /// exit of the engine's own goes out when nothing else of its symbol is left, and so adds none.
    fn open_order_count_max(&self) -> usize {
        let replaced_quotes = if self.decide.use_replace { QUOTES_PER_SYMBOL } else { 0 };
        let is_resting = self.protect.as_ref().is_some_and(|protect| protect.is_for_controllers);
        let resting = if is_resting { 2 * RESTING_PER_SYMBOL } else { 0 };
        let of_symbol = INTENTS_PER_SYMBOL_MAX.saturating_add(replaced_quotes).saturating_add(resting);
        (self.decide.watched_count_max as usize).saturating_mul(of_symbol).min(self.risk.open_orders_max as usize)
    }

    /// Thresholds, sizes and policies of the controller.
    #[must_use]
    pub(crate) fn decide_config(&self) -> DecideConfig {
        let section = &self.decide;
        DecideConfig {
            order_qty: Qty(section.order_qty),
            target_position_qty: Qty(section.target_position_qty),
            action_threshold: section.action_threshold,
            action_hysteresis: section.action_hysteresis,
            quote_offset_ticks: section.quote_offset_ticks,
            quote_edge_ticks: section.is_quoting_by_prediction.then_some(section.quote_edge_ticks),
            requote_tolerance_ticks: section.requote_tolerance_ticks,
            use_replace: section.use_replace,
            take_horizon_index: section.take_horizon_index,
            take_margin_ticks: section.take_margin_ticks,
            fee_removed: self.gateway.fee_removed,
            surprise_max: section.surprise_max,
            regime_confidence_min: section.regime_confidence_min,
            withdraw_on: BookState::STALE.with(BookState::HALTED).with(BookState::QUARANTINED),
            min_decision_interval: Nanos(section.min_decision_interval_ns),
            denied_backoff: Nanos(section.denied_backoff_ns),
            feature_tick: section.feature_tick,
        }
    }

    /// How engine-held orders behave.
    #[must_use]
    pub(crate) fn held_config(&self) -> HeldConfig {
        self.protect.as_ref().map_or(HeldConfig::OFF, |section| HeldConfig {
            stop_loss_ticks: section.stop_loss_ticks,
            take_profit_ticks: section.take_profit_ticks,
            is_stop_on_trade: section.is_stop_on_trade,
            exit_slippage_ticks: section.exit_slippage_ticks,
            limits: HeldLimits {
                order_qty_max: Qty(self.risk.order_qty_max),
                order_notional_max: Notional(i128::from(self.risk.order_notional_max.0)),
                price_collar_bps: self.risk.price_collar_bps,
            },
            cooldown: Nanos(section.cooldown_ns),
            retry_pause: Nanos(section.retry_pause_ns),
            is_for_controllers: section.is_for_controllers,
        })
    }

    /// The limits of the risk gate.
    #[must_use]
    pub(crate) fn limits(&self) -> LimitsConfig {
        let section = &self.risk;
        LimitsConfig {
            order_qty_max: Some(Qty(section.order_qty_max)),
            order_notional_max: Some(Notional(i128::from(section.order_notional_max.0))),
            price_collar_bps: Some(section.price_collar_bps),
            position_qty_max: Some(Qty(section.position_qty_max)),
            gross_notional_max: Some(Notional(i128::from(section.gross_notional_max.0))),
            open_orders_max: Some(section.open_orders_max),
            order_rate_max: Some(section.order_rate_max),
            order_rate_window: Some(Nanos(section.order_rate_window_ns)),
            duplicate_window: Some(Nanos(section.duplicate_window_ns)),
            data_age_max: Some(Nanos(section.data_age_ns_max)),
        }
    }
}

/// The profile's key of a limit: times have their unit at the end.
fn key_of_limit(limit: &str) -> &str {
    match limit {
        "order_rate_window" => "order_rate_window_ns",
        "duplicate_window" => "duplicate_window_ns",
        "data_age_max" => "data_age_ns_max",
        other => other,
    }
}
