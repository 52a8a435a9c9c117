//! One order's whole story, told from the log alone: `peregrine log why ORDER`.

mod text;

use std::path::{Path, PathBuf};

use peregrine_eventlog::{
    LogError, LogReader, Stream,
    records::{DecisionRecord, IntentKind, OrderRecord, OrderTransition, SymbolListed},
};
use peregrine_types::{
    BookState, EpochNanos, EventKind, Liquidity, Notional, OrderId, Price, ReasonCode, Side, SymbolId, TimeInForce,
};
use serde::Serialize;

use crate::run::ser;

/// Why an order's story cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log knows no such order.
    #[error("no order {order_id} (log {}): it holds orders up to {order_id_max}{cut}", dir.display())]
    OrderMissing {
        /// The order asked for.
        order_id: OrderId,
        /// The highest id that the log holds, 0 if it holds no order.
        order_id_max: OrderId,
        /// The folder of the log.
        dir: PathBuf,
        /// Where the log was cut, if it was.
        cut: String,
    },
}

/// A reason code, with its number, name and meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Its number.
    pub code: u16,
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub text: &'static str,
}

impl From<ReasonCode> for Reason {
    fn from(code: ReasonCode) -> Self {
        Self { code: code.number(), name: code.name(), text: code.text() }
    }
}

/// One feature as the model saw it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureValue {
    /// Its name.
    pub name: String,
    /// Its value before scaling; `null` in JSON where it was not finite.
    pub value: f32,
}

/// What the model said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelOutputs {
    /// Predicted return per horizon.
    pub return_mean: Vec<f32>,
    /// Natural logarithm of its variance per horizon.
    pub return_log_var: Vec<f32>,
    /// Probability of an up-move, 0 to 1.
    pub up_probability: f32,
    /// The regime's number.
    pub regime: u8,
    /// Confidence in the regime, 0 to 1.
    pub regime_confidence: f32,
    /// Position target, −1 to 1.
    pub action: f32,
    /// How unlike its expectation the event was, in nats.
    pub surprise: f32,
}

/// One side of the top of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BestLevel {
    /// The price.
    #[serde(serialize_with = "ser::price")]
    pub price: Price,
    /// The quantity displayed there.
    pub qty: u64,
}

/// The event behind a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Its place in the input, from 0.
    pub event_seq: u64,
    /// Its kind.
    pub kind: String,
    /// Its side, `B` or `S`, for the kinds that have one.
    pub side: Option<char>,
    /// Its price.
    #[serde(serialize_with = "ser::price")]
    pub price: Price,
    /// Its quantity.
    pub qty: u64,
    /// Its first identifier, for most kinds the venue's order reference.
    pub id: u64,
    /// When the venue says it happened.
    #[serde(serialize_with = "ser::time")]
    pub exch_time: EpochNanos,
    /// When it was received: the moment of the decision.
    #[serde(serialize_with = "ser::time")]
    pub recv_time: EpochNanos,
}

/// One decision, and all that it was made from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionStory {
    /// The record in the decide stream.
    pub record: u64,
    /// The event that caused it.
    pub cause: Cause,
    /// Our position before it.
    pub position: i64,
    /// Best bid.
    pub bid: Option<BestLevel>,
    /// Best ask.
    pub ask: Option<BestLevel>,
    /// What stood against the book; empty for a good one.
    pub book_state: Vec<&'static str>,
    /// The features.
    pub features: Vec<FeatureValue>,
    /// The model's outputs.
    pub model: ModelOutputs,
    /// What was wanted, for people.
    pub intent: String,
    /// What the risk gate said.
    pub verdict: Reason,
}

/// One step in the order's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepStory {
    /// The record in the send stream.
    pub record: u64,
    /// What happened.
    pub transition: String,
    /// When it happened at the venue; for a submission, when the venue will have it.
    #[serde(serialize_with = "ser::time")]
    pub venue_time: EpochNanos,
    /// When we could know it.
    #[serde(serialize_with = "ser::time")]
    pub visible_time: EpochNanos,
    /// From the decision for the order to `venue_time`, in nanoseconds.
    pub since_decision_ns: i64,
    /// Fill price for fills, limit price otherwise.
    #[serde(serialize_with = "ser::price")]
    pub price: Price,
    /// Quantity of the step.
    pub qty: u64,
    /// What was still open after it.
    pub leaves_qty: u64,
    /// Filled so far.
    pub filled_qty: u64,
    /// Our position after it.
    pub position: i64,
    /// The venue's number of a fill, 0 otherwise.
    pub match_number: u64,
    /// Whether a fill gave or took liquidity; `None` for other steps.
    pub liquidity: Option<&'static str>,
    /// Cost of a fill, negative for a rebate.
    #[serde(serialize_with = "ser::notional")]
    pub fee: Notional,
    /// Why, for refusals and cancels.
    pub reason: Option<Reason>,
}

/// One order's whole story.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrderStory {
    /// Our id of the order.
    pub order_id: u64,
    /// Its instrument, by name, or `#` and its number where the log does not name it.
    pub symbol: String,
    /// Its side, `B` or `S`.
    pub side: char,
    /// Its limit price.
    #[serde(serialize_with = "ser::price")]
    pub price: Price,
    /// Its quantity.
    pub qty: u64,
    /// `day` or `immediate or cancel`.
    pub time_in_force: &'static str,
    /// Whether it must not take liquidity.
    pub is_post_only: bool,
    /// The order that it was to replace; 0 if none.
    pub replaces: u64,
    /// The order that took its place; 0 if none.
    pub replaced_by: u64,
    /// The decision that made it; `None` when the log has lost it.
    pub decision: Option<DecisionStory>,
    /// The decisions to cancel it.
    pub cancels: Vec<DecisionStory>,
    /// Every step in its life.
    pub steps: Vec<StepStory>,
    /// What it ended as.
    pub final_state: String,
    /// Quantity filled.
    pub filled_qty: u64,
    /// Fees less rebates.
    #[serde(serialize_with = "ser::notional")]
    pub fees: Notional,
    /// Streams without their closing mark, for people: what they lost may be part of the story.
    pub damages: Vec<String>,
}

impl OrderStory {
    /// The story as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::json::pretty(self)
    }
}

/// The log's folder, given it or the folder of its run.
#[must_use]
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    let inner = dir.join("log");
    if inner.is_dir() { inner } else { dir.to_path_buf() }
}

/// Tells the story of `order_id` from the log in `dir` (the log's folder, or that of its run). `feature_names` are the
/// names of the features in their order; those that are missing are numbered.
///
/// # Errors
/// [`StoryError::Log`] when the log cannot be read, [`StoryError::OrderMissing`] when it has no such order.
pub fn order_story(dir: &Path, order_id: OrderId, feature_names: &[&str]) -> Result<OrderStory, StoryError> {
    let dir = log_dir(dir);
    let (mut decision, mut cancels) = (None, Vec::new());
    let decide = LogReader::open(&dir, Stream::Decide)?;
    for item in decide.payloads::<DecisionRecord>() {
        let (index, record) = item?;
        if record.order_id != order_id || order_id == OrderId(0) {
            continue;
        }
        match record.intent_kind {
            IntentKind::New | IntentKind::HeldNew => decision = Some((index, *record)),
            IntentKind::Cancel | IntentKind::HeldCancel => cancels.push((index, *record)),
            IntentKind::Replace | IntentKind::HeldReplace if record.verdict == ReasonCode::None => {
                decision = Some((index, *record));
            }
            IntentKind::Replace | IntentKind::HeldReplace => {}
            IntentKind::None => {}
        }
    }
    let send = LogReader::open(&dir, Stream::Send)?;
    let (mut steps, mut order_id_max, mut replaced_by) = (Vec::new(), OrderId(0), OrderId(0));
    for item in send.payloads::<OrderRecord>() {
        let (index, record) = item?;
        order_id_max = order_id_max.max(record.order_id);
        if record.order_id == order_id && order_id != OrderId(0) {
            steps.push((index, *record));
        }
        if record.transition == OrderTransition::Replaced && record.replaced_id() == order_id {
            replaced_by = record.order_id;
        }
    }
    if decision.is_none() && steps.is_empty() {
        let cut = damage(&send).map(|what| format!("; {what}")).unwrap_or_default();
        return Err(StoryError::OrderMissing { order_id, order_id_max, dir, cut });
    }
    let symbol = steps.first().map(|(_, step)| step.symbol).or(decision.map(|(_, made)| made.symbol));
    let symbol = symbol_name(&dir, symbol.unwrap_or_default())?;
    let damages = [&decide, &send].into_iter().filter_map(damage).collect();
    Ok(OrderStory {
        damages,
        ..assemble(order_id, symbol, &Records { decision, cancels, steps, replaced_by }, feature_names)
    })
}

/// What is to be said of a stream that was not closed.
pub(crate) fn damage(reader: &LogReader) -> Option<String> {
    let (stream, count) = (reader.stream(), crate::format::count(reader.record_count()));
    let text = format!(
        "stream {stream} ends after {count} records without its closing mark: the run goes on, was cut off, or a record \
         is damaged; `peregrine log check` says which"
    );
    (!reader.is_sealed()).then_some(text)
}

/// What the log holds about one order.
struct Records {
    decision: Option<(u64, DecisionRecord)>,
    cancels: Vec<(u64, DecisionRecord)>,
    steps: Vec<(u64, OrderRecord)>,
    replaced_by: OrderId,
}

fn symbol_name(dir: &Path, symbol: SymbolId) -> Result<String, LogError> {
    let feed = LogReader::open(dir, Stream::Feed)?;
    for item in feed.payloads::<SymbolListed>() {
        let (_, listed) = item?;
        if listed.symbol == symbol {
            return Ok(listed.name.to_string());
        }
    }
    Ok(format!("#{symbol}"))
}

fn assemble(order_id: OrderId, symbol: String, records: &Records, names: &[&str]) -> OrderStory {
    let made = records.decision.as_ref().map(|(_, record)| record);
    let first = records.steps.first().map(|(_, step)| step);
    let (side, price, qty, time_in_force, is_post_only) = match (first, made) {
        (Some(step), _) => (step.side, step.price, step.qty, step.time_in_force, step.is_post_only),
        (None, Some(made)) => {
            (made.intent_side, made.intent_price, made.intent_qty, made.time_in_force, made.is_post_only)
        }
        (None, None) => Default::default(),
    };
    let decided = made.map(|made| made.recv_time).or(first.map(|step| step.decision_time)).unwrap_or_default();
    let fees = records.steps.iter().map(|(_, step)| i128::from(step.fee)).sum();
    OrderStory {
        order_id: order_id.0,
        symbol,
        side: side.letter(),
        price,
        qty: qty.0,
        time_in_force: time_in_force_name(time_in_force),
        is_post_only,
        replaces: first.map_or(0, |step| step.replaced_id().0),
        replaced_by: records.replaced_by.0,
        decision: records.decision.as_ref().map(|(index, record)| decision_story(*index, record, names)),
        cancels: records.cancels.iter().map(|(index, record)| decision_story(*index, record, names)).collect(),
        steps: records.steps.iter().map(|(index, step)| step_story(*index, step, decided)).collect(),
        final_state: final_state(records),
        filled_qty: records.steps.iter().map(|(_, step)| step.filled_qty.0).max().unwrap_or(0),
        fees: Notional(fees),
        damages: Vec::new(),
    }
}

const fn time_in_force_name(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::Day => "day",
        TimeInForce::ImmediateOrCancel => "immediate or cancel",
    }
}

/// Where the steps left the order.
fn final_state(records: &Records) -> String {
    if records.replaced_by.0 != 0 {
        return format!("replaced by order {}", records.replaced_by);
    }
    let state = records.steps.iter().fold("approved, not submitted", |state, (_, step)| match step.transition {
        OrderTransition::Submitted | OrderTransition::ReplaceRequested => "submitted, not answered",
        OrderTransition::Accepted | OrderTransition::Replaced => "open",
        OrderTransition::ReplaceRejected => "rejected: it never took its place",
        OrderTransition::PartiallyFilled => "open, filled in part",
        OrderTransition::Filled => "filled",
        OrderTransition::Canceled => "canceled",
        OrderTransition::Rejected => "rejected",
        OrderTransition::Overdue => "unknown, not answered",
        OrderTransition::Resent
        | OrderTransition::Reduced
        | OrderTransition::Busted
        | OrderTransition::CancelRequested
        | OrderTransition::CancelRejected
        | OrderTransition::Repeated
        | OrderTransition::Illegal => state,
    });
    state.to_owned()
}

fn decision_story(record_index: u64, record: &DecisionRecord, names: &[&str]) -> DecisionStory {
    let level = |price: Price, qty: u64| (price, qty) != (Price(0), 0);
    let best = |price, qty| level(price, qty).then_some(BestLevel { price, qty });
    let feature = |(index, value): (usize, &f32)| FeatureValue {
        name: names.get(index).map_or_else(|| format!("feature {index}"), |name| (*name).to_owned()),
        value: *value,
    };
    let has_side = matches!(record.cause_kind, EventKind::AddOrder | EventKind::Trade);
    let horizons = usize::from(record.horizon_count());
    let per_horizon = |values: &[f32]| values.iter().take(horizons).copied().collect();
    DecisionStory {
        record: record_index,
        cause: Cause {
            event_seq: record.event_seq.0,
            kind: format!("{:?}", record.cause_kind),
            side: has_side.then(|| record.cause_side.letter()),
            price: record.cause_price,
            qty: record.cause_qty.0,
            id: record.cause_id,
            exch_time: record.exch_time,
            recv_time: record.recv_time,
        },
        position: record.position.0,
        bid: best(record.bid_price, record.bid_qty.0),
        ask: best(record.ask_price, record.ask_qty.0),
        book_state: state_names(record.book()),
        features: record.features.iter().enumerate().map(feature).collect(),
        model: ModelOutputs {
            return_mean: per_horizon(&record.return_mean),
            return_log_var: per_horizon(&record.return_log_var),
            up_probability: record.up_probability,
            regime: record.regime,
            regime_confidence: record.regime_confidence,
            action: record.action,
            surprise: record.surprise,
        },
        intent: intent_text(record),
        verdict: record.verdict.into(),
    }
}

fn intent_text(record: &DecisionRecord) -> String {
    match record.intent_kind {
        IntentKind::None => "nothing".to_owned(),
        IntentKind::Cancel | IntentKind::HeldCancel => format!("cancel order {}", record.order_id),
        IntentKind::Replace | IntentKind::HeldReplace => format!(
            "replace an order: {} together with what was executed of it, at {}",
            record.intent_qty, record.intent_price
        ),
        IntentKind::New | IntentKind::HeldNew => {
            let side = match record.intent_side {
                Side::Buy => "buy",
                Side::Sell => "sell",
            };
            let post_only = if record.is_post_only { ", post only" } else { "" };
            let life = time_in_force_name(record.time_in_force);
            let who = if record.intent_kind == IntentKind::HeldNew { ", for an engine-held order" } else { "" };
            format!("{side} {} at {}, {life}{post_only}{who}", record.intent_qty, record.intent_price)
        }
    }
}

fn state_names(state: BookState) -> Vec<&'static str> {
    let names = [
        (BookState::STALE, "stale"),
        (BookState::HALTED, "halted"),
        (BookState::QUARANTINED, "quarantined"),
        (BookState::CROSSED, "crossed"),
        (BookState::LOCKED, "locked"),
        (BookState::ONE_SIDED, "one-sided"),
    ];
    names.into_iter().filter(|(flag, _)| state.contains(*flag)).map(|(_, name)| name).collect()
}

fn step_story(record: u64, step: &OrderRecord, decided: EpochNanos) -> StepStory {
    let is_fill = matches!(step.transition, OrderTransition::PartiallyFilled | OrderTransition::Filled);
    let liquidity = match step.liquidity {
        Liquidity::Added => "added",
        Liquidity::Removed => "removed",
    };
    StepStory {
        record,
        transition: format!("{:?}", step.transition),
        venue_time: step.venue_time,
        visible_time: step.visible_time,
        since_decision_ns: step.venue_time.since(decided).0,
        price: step.price,
        qty: step.qty.0,
        leaves_qty: step.leaves_qty.0,
        filled_qty: step.filled_qty.0,
        position: step.position.0,
        match_number: step.match_number.0,
        liquidity: is_fill.then_some(liquidity),
        fee: Notional(i128::from(step.fee)),
        reason: (step.reason != ReasonCode::None).then(|| step.reason.into()),
    }
}
