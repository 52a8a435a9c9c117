//! Our own side of the report: strategy, risk, orders, profit and loss.

use peregrine_types::{EpochNanos, Notional, Price, ReasonCode};
use serde::Serialize;

use super::ser;

/// What the strategy did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StrategyReport {
    /// The watched symbols, by name.
    pub watched_symbols: Vec<String>,
    /// Events about them.
    pub watched_event_count: u64,
    /// Decisions taken.
    pub decision_count: u64,
    /// Decisions left out because the last one was too recent.
    pub throttled_count: u64,
    /// Decisions that wanted nothing because the book was not one to trade on.
    pub book_not_good_count: u64,
    /// Decisions refused because a feature or a model output was not a finite number.
    pub non_finite_count: u64,
    /// Intents for new orders.
    pub new_intent_count: u64,
    /// Intents to cancel.
    pub cancel_intent_count: u64,
}

/// Orders denied, or rejected, for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DenialRow {
    /// The reason's number.
    pub code: u16,
    /// Its name.
    pub name: String,
    /// What it means.
    pub text: String,
    /// How many.
    pub count: u64,
}

impl DenialRow {
    /// The row of `reason`, with its number, name and text.
    #[must_use]
    pub fn new(reason: ReasonCode, count: u64) -> Self {
        Self { code: reason.number(), name: reason.name().to_owned(), text: reason.text().to_owned(), count }
    }
}

/// What the risk gate said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RiskReport {
    /// New orders approved.
    pub approved_count: u64,
    /// Cancels approved.
    pub cancel_count: u64,
    /// Intents denied, by reason.
    pub denied: Vec<DenialRow>,
}

impl RiskReport {
    /// Intents denied, for whatever reason.
    #[must_use]
    pub fn denied_count(&self) -> u64 {
        self.denied.iter().map(|row| row.count).fold(0, u64::saturating_add)
    }
}

/// What became of the orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrdersReport {
    /// Orders handed to the venue.
    pub submitted_count: u64,
    /// Orders that the venue took.
    pub accepted_count: u64,
    /// Orders that it refused.
    pub rejected_count: u64,
    /// The same by reason.
    pub rejected: Vec<DenialRow>,
    /// Orders filled completely.
    pub filled_count: u64,
    /// Orders filled in part, whatever became of the rest.
    pub partially_filled_count: u64,
    /// Orders cancelled, by us or by the venue.
    pub canceled_count: u64,
    /// Cancels that the venue refused.
    pub cancel_rejected_count: u64,
    /// Orders open at the end.
    pub open_count: u64,
    /// Fills that gave liquidity.
    pub fill_added_count: u64,
    /// Fills that took liquidity.
    pub fill_removed_count: u64,
    /// Quantity handed to the venue.
    pub submitted_qty: u64,
    /// Quantity filled.
    pub filled_qty: u64,
    /// Reports of the venue that an order's state did not allow.
    pub illegal_transition_count: u64,
}

impl OrdersReport {
    /// Filled quantity over submitted quantity, 0 when nothing was submitted.
    #[must_use]
    pub fn fill_ratio(&self) -> f64 {
        crate::format::ratio(self.filled_qty, self.submitted_qty)
    }
}

/// One symbol's trading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SymbolRow {
    /// Its name.
    pub symbol: String,
    /// Orders that the venue accepted.
    pub order_count: u64,
    /// Fills.
    pub fill_count: u64,
    /// Quantity bought.
    pub bought_qty: u64,
    /// Quantity sold.
    pub sold_qty: u64,
    /// Holding at the end, negative when short.
    pub position: i64,
    /// What the holding was valued at, if it could be valued.
    #[serde(serialize_with = "ser::price_option")]
    pub mark_price: Option<Price>,
    /// Value of everything bought and sold.
    #[serde(serialize_with = "ser::notional")]
    pub turnover: Notional,
    /// Profit before fees, the holding valued at the mark price.
    #[serde(serialize_with = "ser::notional")]
    pub gross: Notional,
    /// Fees less rebates.
    #[serde(serialize_with = "ser::notional")]
    pub fees: Notional,
    /// Profit after fees.
    #[serde(serialize_with = "ser::notional")]
    pub net: Notional,
}

/// Profit and exposure at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EquityPoint {
    /// The moment, in the time of the input.
    #[serde(serialize_with = "ser::time")]
    pub time: EpochNanos,
    /// Profit after fees up to then, holdings valued at their mark prices.
    #[serde(serialize_with = "ser::notional")]
    pub equity: Notional,
    /// Value of all holdings, long and short ones added.
    #[serde(serialize_with = "ser::notional")]
    pub gross_exposure: Notional,
}

/// What the trading earned or cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PnlReport {
    /// The currency, such as `USD`.
    pub currency: String,
    /// How holdings are valued, such as `mid price of the last good book`.
    pub mark: String,
    /// Profit before fees.
    #[serde(serialize_with = "ser::notional")]
    pub gross: Notional,
    /// Fees less rebates.
    #[serde(serialize_with = "ser::notional")]
    pub fees: Notional,
    /// Profit after fees.
    #[serde(serialize_with = "ser::notional")]
    pub net: Notional,
    /// Value of everything bought and sold.
    #[serde(serialize_with = "ser::notional")]
    pub turnover: Notional,
    /// Highest gross exposure.
    #[serde(serialize_with = "ser::notional")]
    pub gross_exposure_max: Notional,
    /// Symbols by turnover, the largest first; may be cut.
    pub symbols: Vec<SymbolRow>,
    /// How many symbols were traded, the cut ones included.
    pub traded_symbol_count: u64,
    /// Profit and exposure over time.
    pub curve: Vec<EquityPoint>,
}
