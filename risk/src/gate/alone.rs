//! The checks that need nothing but the limits, the moment and the order itself.

use peregrine_types::{BookState, EpochNanos, NewOrder, Price, Qty, ReasonCode};

use super::RiskContext;
use crate::{InstrumentRules, Limits};

/// Checks that need no order: inputs, book, age.
pub(super) fn check_market(limits: &Limits, context: &RiskContext, now: EpochNanos) -> Result<(), ReasonCode> {
    let state = context.book_state;
    if !context.is_input_finite {
        return Err(ReasonCode::NonFiniteInput);
    }
    if state.contains(BookState::QUARANTINED) {
        return Err(ReasonCode::BookQuarantined);
    }
    if state.contains(BookState::STALE) {
        return Err(ReasonCode::BookStale);
    }
    if state.contains(BookState::HALTED) {
        return Err(ReasonCode::MarketHalted);
    }
    let is_crossed = state.contains(BookState::CROSSED) || context.top.is_crossed();
    if is_crossed || state.contains(BookState::LOCKED) || context.top.is_locked() {
        return Err(ReasonCode::BookCrossed);
    }
    let age = now.since(context.data_time).0;
    if age < 0 || age > limits.data_age_max {
        return Err(ReasonCode::DataStale);
    }
    Ok(())
}

/// Checks of the order by itself; returns the reference price.
pub(super) fn check_order(
    limits: &Limits,
    rules: &InstrumentRules,
    order: &NewOrder,
    context: &RiskContext,
) -> Result<Price, ReasonCode> {
    if order.qty == Qty::ZERO {
        return Err(ReasonCode::QtyZero);
    }
    if order.qty.0 > limits.order_qty_max {
        return Err(ReasonCode::OrderQtyLimit);
    }
    if !rules.is_valid(order.price) {
        return Err(ReasonCode::PriceInvalid);
    }
    let reference = context.reference_price.filter(|price| price.0 > 0).ok_or(ReasonCode::ReferencePriceMissing)?;
    let distance = u128::from(order.price.0.abs_diff(reference.0)).checked_mul(10_000);
    let allowed = u128::from(reference.0.unsigned_abs()).checked_mul(u128::from(limits.price_collar_bps));
    match (distance, allowed) {
        (Some(distance), Some(allowed)) if distance <= allowed => Ok(reference),
        (Some(_), Some(_)) => Err(ReasonCode::PriceCollar),
        (None, _) | (_, None) => Err(ReasonCode::Overflow),
    }
}
