//! The order table and the venue sessions; in this step the paper venue.
//!
//! Floor 3: the gateway accepts `risk::ApprovedOrder` and nothing else. [`OrderTable`] is the total state machine of our
//! own orders: every message in every state has a written effect. [`PaperVenue`] fills own orders against the market
//! that the feed shows, as a stage: market events, approved orders and time come in, executions go out.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic))]

mod order_table;
mod paper;

pub use order_table::{OrderEntry, OrderEvent, OrderState, OrderTable, OrderTableFull, Outcome};
pub use paper::{
    Arrival, ConstantLatency, Fees, FifoQueue, FillModel, LatencyModel, Market, OwnOrder, PaperConfig,
    PaperConfigError, PaperCounters, PaperVenue, TradeThrough,
};
