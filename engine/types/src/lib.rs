//! The vocabulary of the engine: prices, quantities, moments, identifiers, market events, orders and reason codes.
//!
//! Floor 0: every other crate speaks these words. Nothing here does I/O, allocates after start, reads a clock or
//! uses floating point. Sizes that the hot path depends on are asserted where the type is defined.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic)]

mod book;
mod decimal;
mod event;
mod ids;
mod latency;
mod order;
mod price;
mod reason;
mod sink;
mod tick;
mod time;

pub use book::{BookState, Level, TopOfBook, TradingState};
pub use decimal::{Decimal, ParseDecimalError, parse_decimal};
pub use event::{EventFlags, EventKind, MarketEvent};
pub use ids::{EventSeq, MatchNumber, OrderId, OrderRef, Symbol, SymbolId};
pub use latency::{RECORDING_HEADER, ReportKind};
pub use order::{Execution, ExecutionKind, Liquidity, NewOrder, OrderCommand, OrderIntent, Side, TimeInForce};
pub use price::{MidX2, Notional, PRICE_SCALE, Position, Price, Qty};
pub use reason::{ReasonCode, ReasonFamily};
pub use sink::{Full, Sink};
pub use tick::{TICK_BAND_COUNT_MAX, TickBand, TickTable, TickTableError, TickTables};
pub use time::{EpochNanos, Nanos};
