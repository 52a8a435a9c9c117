//! Pre-trade checks in one pass: the only place where an order becomes an approved order.
//!
//! The decide role hands every [`OrderIntent`](peregrine_types::OrderIntent) to [`RiskGate::check`] and gets an
//! [`ApprovedOrder`] or a reason code. An approved order is counted as open at once, in full and at its worst price;
//! what the venue reports goes through [`RiskGate::on_execution`]. The gateway takes nothing but an `ApprovedOrder`,
//! which nobody else can make:
//!
//! ```compile_fail,E0451
//! use peregrine_risk::ApprovedOrder;
//! use peregrine_types::{EpochNanos, EventSeq, OrderCommand, OrderId, SymbolId};
//!
//! let command =
//!     OrderCommand::Cancel { order_id: OrderId(1), replacement: OrderId(0), symbol: SymbolId(0), cause: EventSeq(0), decision_time: EpochNanos(0) };
//! let forged = ApprovedOrder { command };
//! ```
//!
//! nor copy:
//!
//! ```compile_fail,E0382
//! fn twice(order: peregrine_risk::ApprovedOrder) {
//!     drop(order);
//!     drop(order);
//! }
//! ```
//!
//! All arithmetic is on integers and checked; a check that would overflow denies. Nothing here allocates after
//! [`RiskGate::new`], reads a clock or knows a default limit.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic)]

mod exposure;
mod gate;
mod limits;
mod number_map;
mod orders;
mod refused;
mod window;

pub use exposure::InstrumentRules;
pub use gate::{ApprovedOrder, ExecutionEffect, MATCHES_REMEMBERED, RiskContext, RiskGate, TradingMode};
pub use limits::{LimitProblem, LimitViolation, Limits, LimitsConfig};
pub use number_map::NumberMap;
pub use refused::Refused;
