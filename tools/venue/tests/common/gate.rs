//! The risk gate of the engines that trade against the exchange in tests.

use peregrine_risk::{InstrumentRules, LimitsConfig, RiskGate};
use peregrine_types::{Nanos, Notional, Qty, SymbolId};

const ONE: i128 = 1_000_000_000;

/// A gate over two instruments that stops no order of these tests but by `position_max` shares, `gross_max` dollars and
/// `rate_max` orders a second.
pub(crate) fn gate(position_max: u64, gross_max: i128, rate_max: u32) -> RiskGate {
    let limits = LimitsConfig {
        order_qty_max: Some(Qty(10_000)),
        order_notional_max: Some(Notional(1_000_000 * ONE)),
        price_collar_bps: Some(5_000),
        position_qty_max: Some(Qty(position_max)),
        gross_notional_max: Some(Notional(gross_max * ONE)),
        open_orders_max: Some(64),
        order_rate_max: Some(rate_max),
        order_rate_window: Some(Nanos::from_secs(1)),
        duplicate_window: Some(Nanos(1)),
        data_age_max: Some(Nanos::from_secs(1)),
    };
    let mut gate = RiskGate::new(&limits.validate().unwrap(), 2);
    for symbol in 0..2 {
        gate.permit(SymbolId(symbol), Some(InstrumentRules::US_EQUITY));
    }
    gate
}
