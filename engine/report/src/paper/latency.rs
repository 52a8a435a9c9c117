//! Latency: how long messages took to the paper venue and back, and what the market did while orders were on their way.

use std::collections::BTreeMap;

use peregrine_eventlog::records::{DecisionRecord, IntentKind, OrderRecord, OrderTransition};
use peregrine_types::{EpochNanos, Liquidity, Notional, OrderId, Price, Qty, ReasonCode, Side};
use serde::Serialize;

use super::{PaperFacts, PartText, book_of, sign};
use crate::{
    WayFigures,
    format::{count, money, percent, signed_nanos},
    run::ser,
};

/// Shares of takes below which their cost is no figure to read.
const TAKES_MIN: u64 = 30;
const METHOD: &str = "Way to the venue: from the decision to the arrival that the log has; way back: from the venue's time to \
    when we may know it. Cost: of orders that would have taken at the decision and asked for no more than the best price \
    showed, each fill's price against that best price (arrival price, Perold 1988). The log has the book at decisions, not \
    at arrivals: how the middle moved under resting orders is not in it.";

/// Latency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LatencyPart {
    /// The model, for people.
    pub model: String,
    /// The currency.
    pub currency: String,
    /// Ways by kind of message; kinds that did not occur are left out.
    pub ways: Vec<WayFigures>,
    /// Orders that would have taken at the decision, and asked for no more than the best price showed.
    pub take_count: u64,
    /// Shares that they asked for.
    pub take_qty: u64,
    /// Shares that they were filled with at the best price of the decision.
    pub same_qty: u64,
    /// At a better one.
    pub better_qty: u64,
    /// At a worse one.
    pub worse_qty: u64,
    /// What their fills cost more than the best price of the decision; negative: less.
    #[serde(serialize_with = "ser::notional")]
    pub cost: Notional,
    /// Orders that would have taken but asked for more than the best price showed: their cost is depth too, left out.
    pub deep_take_count: u64,
    /// Orders that would have rested at the decision.
    pub rest_count: u64,
    /// Of them, orders that took on arrival because the price had come to them.
    pub rest_took_count: u64,
    /// Of them, post-only orders that the venue refused for that.
    pub post_only_refused_count: u64,
}

/// What the log has of the book at a decision.
#[derive(Clone, Copy, Debug)]
struct Book {
    bid: (Price, Qty),
    ask: (Price, Qty),
}

/// What an order was meant to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its side.
    pub side: Side,
    /// Best price of the other side at the decision.
    pub touch: Price,
    /// Whether it would have taken then.
    pub is_take: bool,
    /// Whether the best price showed as much as it asked for.
    is_within_touch: bool,
    has_taken: bool,
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    books: BTreeMap<OrderId, Book>,
    wanted: BTreeMap<OrderId, Wanted>,
    cancels: BTreeMap<OrderId, EpochNanos>,
    ways: [Vec<i64>; 6],
    part: LatencyPart,
}

/// Kind and way of each of [`Reading::ways`].
const WAYS: [(&str, &str); 6] = [
    ("submit", "there"),
    ("replace", "there"),
    ("cancel", "there"),
    ("answer", "back"),
    ("fill", "back"),
    ("submit", "round trip"),
];

impl Reading {
    /// What the order was meant to meet; `None` where the log has no two-sided book of its decision.
    pub(super) fn wanted(&self, order_id: OrderId) -> Option<Wanted> {
        self.wanted.get(&order_id).copied()
    }

    pub(super) fn take_decision(&mut self, record: &DecisionRecord) {
        if record.verdict != ReasonCode::None {
            return;
        }
        match record.intent_kind {
            IntentKind::New | IntentKind::HeldNew | IntentKind::Replace | IntentKind::HeldReplace => {
                let Some((bid, ask)) = book_of(record) else { return };
                self.books.insert(record.order_id, Book { bid: (bid, record.bid_qty), ask: (ask, record.ask_qty) });
            }
            IntentKind::Cancel | IntentKind::HeldCancel => {
                self.cancels.entry(record.order_id).or_insert(record.recv_time);
            }
            IntentKind::None => {}
        }
    }

    pub(super) fn take_order(&mut self, record: &OrderRecord) {
        use OrderTransition as T;
        let there = record.venue_time.since(record.decision_time).0;
        let back = record.visible_time.since(record.venue_time).0;
        match record.transition {
            T::Submitted | T::ReplaceRequested => {
                let way = usize::from(record.transition == T::ReplaceRequested);
                self.add(way, there);
                self.set_out(record);
            }
            T::CancelRequested => {
                if let Some(decided) = self.cancels.remove(&record.order_id) {
                    self.add(2, record.venue_time.since(decided).0);
                }
            }
            T::Accepted | T::Rejected => {
                self.add(3, back);
                if back > 0 && record.decision_time > EpochNanos(0) {
                    self.add(5, record.visible_time.since(record.decision_time).0);
                }
                self.take_refusal(record);
            }
            T::ReplaceRejected => {
                self.add(3, back);
                self.take_refusal(record);
            }
            T::Canceled | T::CancelRejected | T::Replaced | T::Reduced => self.add(3, back),
            T::PartiallyFilled | T::Filled => {
                self.add(4, back);
                self.take_fill(record);
            }
            T::Repeated | T::Illegal | T::Busted | T::Overdue | T::Resent => {}
        }
    }

    /// Ways that do not take any time were refused before they set out.
    fn add(&mut self, way: usize, ns: i64) {
        if let Some(ways) = self.ways.get_mut(way).filter(|_| ns > 0) {
            ways.push(ns);
        }
    }

    /// An order, or a replacement, set out: its side and what is left of it are the log of orders' to say.
    fn set_out(&mut self, record: &OrderRecord) {
        let Some(Book { bid, ask }) = self.books.remove(&record.order_id) else { return };
        let side = record.side;
        let (touch, touch_qty) = match side {
            Side::Buy => ask,
            Side::Sell => bid,
        };
        let qty = record.qty.0.saturating_sub(record.filled_qty.0);
        let (is_take, is_within_touch) = (!touch.is_better_than(record.price, side), qty <= touch_qty.0);
        let wanted = Wanted { side, touch, is_take, is_within_touch, has_taken: false };
        self.wanted.insert(record.order_id, wanted);
        self.count_order(wanted, qty);
    }

    fn take_refusal(&mut self, record: &OrderRecord) {
        let is_meant_to_rest = self.wanted(record.order_id).is_some_and(|wanted| !wanted.is_take);
        if record.reason == ReasonCode::VenuePostOnly && is_meant_to_rest {
            self.part.post_only_refused_count = self.part.post_only_refused_count.saturating_add(1);
        }
    }

    fn count_order(&mut self, wanted: Wanted, qty: u64) {
        let part = &mut self.part;
        let counter = match (wanted.is_take, wanted.is_within_touch) {
            (false, _) => &mut part.rest_count,
            (true, false) => &mut part.deep_take_count,
            (true, true) => {
                part.take_qty = part.take_qty.saturating_add(qty);
                &mut part.take_count
            }
        };
        *counter = counter.saturating_add(1);
    }

    fn take_fill(&mut self, record: &OrderRecord) {
        if record.liquidity != Liquidity::Removed {
            return;
        }
        let Some(wanted) = self.wanted.get_mut(&record.order_id) else { return };
        let part = &mut self.part;
        if !wanted.is_take {
            part.rest_took_count = part.rest_took_count.saturating_add(u64::from(!wanted.has_taken));
            wanted.has_taken = true;
            return;
        }
        if !wanted.is_within_touch {
            return;
        }
        let paid =
            i128::from(record.price.0).saturating_sub(i128::from(wanted.touch.0)).saturating_mul(sign(wanted.side));
        let qty = match paid.signum() {
            0 => &mut part.same_qty,
            1 => &mut part.worse_qty,
            _ => &mut part.better_qty,
        };
        *qty = qty.saturating_add(record.qty.0);
        part.cost = part.cost.saturating_add(Notional(paid.saturating_mul(i128::from(record.qty.0))));
    }

    pub(super) fn end(self, facts: &PaperFacts<'_>) -> LatencyPart {
        let rows = WAYS.into_iter().zip(self.ways);
        let ways = rows.filter_map(|((kind, way), spans)| WayFigures::of(kind, way, spans)).collect();
        LatencyPart { model: facts.latency_model.clone(), currency: facts.currency.clone(), ways, ..self.part }
    }
}

impl LatencyPart {
    /// Shares of takes that were filled.
    #[must_use]
    pub const fn filled_qty(&self) -> u64 {
        self.same_qty.saturating_add(self.better_qty).saturating_add(self.worse_qty)
    }

    fn reading(&self) -> String {
        if self.ways.is_empty() {
            return "Cannot be said: no order reached the venue.".to_owned();
        }
        if self.take_count < TAKES_MIN {
            return format!(
                "What latency cost cannot be said: {} orders were to take what the book showed, at least {TAKES_MIN} are needed; \
                 {} of {} orders that were to rest found the price gone.",
                count(self.take_count),
                count(self.came_to()),
                count(self.rest_count)
            );
        }
        let direction = match self.cost.0.signum() {
            1 => format!("cost {} {}", money(self.cost), self.currency),
            -1 => format!("brought {} {}", money(Notional(self.cost.0.saturating_neg())), self.currency),
            _ => "cost nothing".to_owned(),
        };
        format!(
            "What changed while takes were on their way {direction}; {} of the shares that they asked for were gone.",
            percent(self.take_qty.saturating_sub(self.filled_qty()), self.take_qty)
        )
    }

    /// Orders that were to rest and found the price on the other side.
    const fn came_to(&self) -> u64 {
        self.rest_took_count.saturating_add(self.post_only_refused_count)
    }

    pub(super) fn text(&self) -> PartText {
        let mut rows = vec![("model".to_owned(), self.model.clone())];
        rows.extend(self.ways.iter().map(|way| {
            let spans = [way.min_ns, way.p50_ns, way.p90_ns, way.p99_ns, way.max_ns].map(signed_nanos);
            let [min, p50, p90, p99, max] = spans;
            let value = format!("{}: min {min}, p50 {p50}, p90 {p90}, p99 {p99}, max {max}", count(way.count));
            (format!("{}, {}", way.kind, way.way), value)
        }));
        let filled = self.filled_qty();
        let per_share = self.cost.0.checked_div(i128::from(filled)).and_then(|price| i64::try_from(price).ok());
        let cost = per_share.map_or_else(
            || "no such fill".to_owned(),
            |price| format!("{} {}, {} a share", money(self.cost), self.currency, Price(price)),
        );
        rows.extend([
            (
                "takes".to_owned(),
                format!(
                    "{} orders of {} shares; filled {} at the price of the decision, {} better, {} worse; {} more orders asked \
                     for more than the best price showed",
                    count(self.take_count),
                    count(self.take_qty),
                    count(self.same_qty),
                    count(self.better_qty),
                    count(self.worse_qty),
                    count(self.deep_take_count)
                ),
            ),
            ("cost of the way there".to_owned(), cost),
            (
                "orders to rest".to_owned(),
                format!(
                    "{}; {} took on arrival and {} were refused as post-only, the price had come to them",
                    count(self.rest_count),
                    count(self.rest_took_count),
                    count(self.post_only_refused_count)
                ),
            ),
        ]);
        PartText { name: "Latency", reading: self.reading(), rows, method: METHOD }
    }
}
