//! The risk gate and the event log, set up for measuring.

use std::path::Path;

use peregrine_eventlog::records::{DecisionRecord, OrderRecord};
use peregrine_eventlog::{EventLog, LogConfig, RunFacts};
use peregrine_risk::{InstrumentRules, Limits, LimitsConfig, RiskContext, RiskGate};
use peregrine_types::{
    BookState, EpochNanos, EventSeq, Level, Nanos, NewOrder, Notional, OrderId, OrderIntent, Price, Qty, Side,
    SymbolId, TimeInForce, TopOfBook,
};

use crate::BenchError;

/// Symbols that the gate permits.
pub const RISK_SYMBOL_COUNT: u32 = 64;
/// Time between two orders: slower than the rate limit, longer than the duplicate window.
pub const ORDER_INTERVAL: Nanos = Nanos::from_millis(2);

/// Limits that a cycle of [`intent`]s passes.
///
/// # Errors
/// Never, unless the limits here are wrong.
pub fn limits() -> Result<Limits, BenchError> {
    let config = LimitsConfig {
        order_qty_max: Some(Qty(1_000)),
        order_notional_max: Some(Notional(1_000_000_000_000_000)),
        price_collar_bps: Some(500),
        position_qty_max: Some(Qty(100_000)),
        gross_notional_max: Some(Notional(1_000_000_000_000_000_000)),
        open_orders_max: Some(4_096),
        order_rate_max: Some(2_000),
        order_rate_window: Some(Nanos::from_secs(1)),
        duplicate_window: Some(Nanos::from_millis(1)),
        data_age_max: Some(Nanos::from_secs(1)),
    };
    config.validate().map_err(|violations| format!("{violations:?}").into())
}

/// A gate with [`RISK_SYMBOL_COUNT`] permitted symbols.
///
/// # Errors
/// As [`limits`].
pub fn gate() -> Result<RiskGate, BenchError> {
    let mut gate = RiskGate::new(&limits()?, RISK_SYMBOL_COUNT);
    for symbol in 0..RISK_SYMBOL_COUNT {
        if !gate.permit(SymbolId(symbol), Some(InstrumentRules::US_EQUITY)) {
            return Err("a symbol below the gate's count was refused".into());
        }
    }
    Ok(gate)
}

/// The `number`th order: symbols in turn, buys below the market.
#[must_use]
pub fn intent(number: u64) -> OrderIntent {
    OrderIntent::New(NewOrder {
        symbol: SymbolId(u32::try_from(number % u64::from(RISK_SYMBOL_COUNT)).unwrap_or(0)),
        side: Side::Buy,
        price: Price(99_990_000_000),
        qty: Qty(100),
        time_in_force: TimeInForce::Day,
        is_post_only: true,
    })
}

/// A healthy market around 100 at `now`.
#[must_use]
pub fn context(now: EpochNanos) -> RiskContext {
    let level = |price| Some(Level { price: Price(price), qty: Qty(300), order_count: 3 });
    RiskContext {
        book_state: BookState::GOOD,
        reference_price: Some(Price(100_000_000_000)),
        top: TopOfBook { bid: level(99_990_000_000), ask: level(100_010_000_000) },
        data_time: now,
        is_input_finite: true,
    }
}

/// Room for 2¹⁶ records of each stream before the record role must have copied some.
pub const LOG_RECORD_COUNT: u64 = 1 << 16;

/// An event log under `dir`, staged in memory where the host has `/dev/shm`.
///
/// # Errors
/// What creating it says.
pub fn event_log(dir: &Path) -> Result<EventLog, BenchError> {
    let config = LogConfig {
        dir: dir.join("log"),
        staging_dir: None,
        staging_record_counts: [LOG_RECORD_COUNT; 4],
        segment_len_max: 1 << 26,
        stream_len_max: 1 << 34,
        sync_interval: Nanos::from_secs(3_600),
        is_memory_locked: false,
    };
    Ok(EventLog::create(&config, &RunFacts::default())?)
}

/// A decision as the log keeps it.
#[must_use]
pub fn decision_record(number: u64) -> DecisionRecord {
    DecisionRecord { event_seq: EventSeq(number), features: [0.5; 32], ..Default::default() }
}

/// An order's step as the log keeps it.
#[must_use]
pub fn order_record(number: u64) -> OrderRecord {
    OrderRecord { order_id: OrderId(number), event_seq: EventSeq(number), ..Default::default() }
}
