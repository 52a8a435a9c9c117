//! The order table, the paper venue, and order entry: SoupBinTCP sessions and OUCH 5.0 messages.
//!
//! Floor 3: the gateway accepts `risk::ApprovedOrder` and nothing else. [`OrderTable`] is the total state machine of our
//! own orders: every message in every state has a written effect. [`PaperVenue`] fills own orders against the market
//! that the feed shows, as a stage: market events, approved orders and time come in, executions go out. [`soup`] and
//! [`ouch50`] (and [`ouch42`], which the exchange speaks) are the wire to a venue: sessions as plain structs over bytes and time, messages as views over bytes.
//! [`live`] is the order session over both: what is sent, what was answered, and what is certain after a break.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic))]

#[doc(hidden)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow in a fuzz body is a finding")]
pub mod fuzz;
pub mod live;
mod order_table;
pub mod ouch42;
pub mod ouch50;
mod paper;

pub use peregrine_soup as soup;

pub use order_table::{Cause, OrderEntry, OrderEvent, OrderState, OrderTable, OrderTableFull, Outcome};
pub use paper::{
    Arrival, Burst, ConstantLatency, Fees, FifoQueue, FillModel, KindWays, LatencyModel, Market, ModeledLatency,
    OwnOrder, PaperConfig, PaperConfigError, PaperCounters, PaperVenue, Quantiles, REPORTS_PER_ORDER_MAX,
    RecordedLatency, Recording, RecordingError, RequestKind, Spread, TradeThrough, VenueLatency,
};
