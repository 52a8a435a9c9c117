//! Regime shift: volatility, spread and activity over the run, whether one of them changed, and what of the result falls
//! to which.

use std::collections::BTreeMap;

use peregrine_eventlog::records::{DecisionRecord, InputCheckpoint};
use peregrine_types::{EpochNanos, Notional, SymbolId};
use serde::Serialize;

use super::tests_of_change::{len, mean_change};
use super::{PaperFacts, PartText, book_of, figure, part_of, probability, seconds};
use crate::{
    EquityPoint,
    format::{count, money, nanos, utc},
    latency::precise,
    run::ser,
};

/// Equal parts of the run's time.
const PART_COUNT: usize = 60;
/// Parts with a figure below which nothing is tested.
const PARTS_MIN: usize = 24;
/// A change counts below this, over the three tests together.
const P_MAX: f64 = 0.01 / 3.0;
const METHOD: &str = "The time from the first to the last logged decision in 60 equal parts. Volatility: root of the summed \
    squared returns of the middle between logged books of a symbol, per root second; spread: mean over logged books; \
    activity: market events, from the log's checkpoints; a part without one (256 events) has none. Change: cumulated sums with a Newey-West variance, of the \
    logarithms (Inclan and Tiao 1994; Sanso, Arago and Carrion 2004), p below 0.01 over the three tests together. Calm, usual \
    and wild are thirds of the parts by volatility: they exist in any run, a change is shown by the test alone. Result: \
    difference of the marked result at the ends of the parts.";

/// One series of the parts, and whether its mean changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RegimeChange {
    /// What changed, with its unit.
    pub name: &'static str,
    /// Parts that have a figure.
    pub part_count: u64,
    /// Where the greatest change is; `None` where nothing can be tested.
    #[serde(serialize_with = "ser::time_option")]
    pub time: Option<EpochNanos>,
    /// Geometric mean before it.
    pub before: f64,
    /// Geometric mean after it.
    pub after: f64,
    /// How likely such a change is without any; 1 where nothing can be tested.
    pub p_value: f64,
    /// Whether it counts as one by the rule of the part.
    pub is_change: bool,
    /// Result up to then.
    #[serde(serialize_with = "ser::notional")]
    pub net_before: Notional,
    /// Result from then on.
    #[serde(serialize_with = "ser::notional")]
    pub net_after: Notional,
}

/// The parts of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RegimeRow {
    /// `calm`, `usual`, `wild` or `unknown`.
    pub name: &'static str,
    /// How many.
    pub part_count: u64,
    /// Mean volatility, basis points per root second; 0 of the unknown.
    pub volatility_bps: f64,
    /// Mean spread, basis points; 0 where the log has no book.
    pub spread_bps: f64,
    /// Market events a second.
    pub events_per_second: f64,
    /// What of the result falls to them.
    #[serde(serialize_with = "ser::notional")]
    pub net: Notional,
}

/// Regime shift.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RegimePart {
    /// The currency.
    pub currency: String,
    /// How long a part is, ns.
    pub part_ns: u64,
    /// Volatility, spread and activity; empty when there are too few parts.
    pub changes: Vec<RegimeChange>,
    /// Thirds by volatility, and the parts of which it cannot be said; empty when there are too few parts.
    pub rows: Vec<RegimeRow>,
    /// The whole result.
    #[serde(serialize_with = "ser::notional")]
    pub net: Notional,
    /// Parts whose volatility can be said.
    pub known_count: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    square_sum: f64,
    seconds: f64,
    spread_sum: f64,
    spread_count: u64,
    event_count: u64,
}

impl Part {
    /// Basis points per root second.
    fn volatility(&self) -> Option<f64> {
        (self.seconds > 0.0 && self.square_sum > 0.0).then(|| (self.square_sum / self.seconds).sqrt() * 1e4)
    }

    fn spread(&self) -> Option<f64> {
        (self.spread_count > 0).then(|| self.spread_sum / precise(self.spread_count) * 1e4)
    }
}

#[derive(Debug)]
pub(super) struct Reading {
    span: (EpochNanos, EpochNanos),
    parts: Vec<Part>,
    /// Last middle, twice, and its time.
    last: BTreeMap<SymbolId, (i64, EpochNanos)>,
    event_count: u64,
}

impl Reading {
    pub(super) fn new(span: (EpochNanos, EpochNanos)) -> Self {
        Self { span, parts: vec![Part::default(); PART_COUNT], last: BTreeMap::new(), event_count: 0 }
    }

    fn part_at(&mut self, time: EpochNanos) -> Option<&mut Part> {
        self.parts.get_mut(part_of(time, self.span, PART_COUNT)?)
    }

    pub(super) fn take_decision(&mut self, record: &DecisionRecord) {
        let Some((bid, ask)) = book_of(record) else { return };
        let (now, mid_x2) = (record.recv_time, bid.0.saturating_add(ask.0));
        let before = self.last.insert(record.symbol, (mid_x2, now));
        let Some(part) = self.part_at(now) else { return };
        let (mid, spread) = (wide(mid_x2), wide(ask.0.saturating_sub(bid.0)) * 2.0);
        part.spread_sum += spread / mid;
        part.spread_count = part.spread_count.saturating_add(1);
        // A return counts for the part in which it ends.
        if let Some((mid_before, then)) = before.filter(|(_, then)| *then < now) {
            part.square_sum += (mid / wide(mid_before)).ln().powi(2);
            part.seconds += seconds(now.since(then));
        }
    }

    pub(super) fn take_checkpoint(&mut self, checkpoint: &InputCheckpoint) {
        let more = checkpoint.event_count.saturating_sub(self.event_count);
        self.event_count = checkpoint.event_count;
        if let Some(part) = self.part_at(checkpoint.recv_time) {
            part.event_count = part.event_count.saturating_add(more);
        }
    }

    pub(super) fn end(self, facts: &PaperFacts<'_>) -> RegimePart {
        let (first, last) = self.span;
        let whole = last.since(first).0.unsigned_abs();
        let part_ns = whole / len(PART_COUNT);
        let volatilities: Vec<_> = self.parts.iter().map(Part::volatility).collect();
        let known_count = len(volatilities.iter().flatten().count());
        let empty = RegimePart {
            currency: facts.currency.clone(),
            part_ns,
            net: facts.net,
            known_count,
            ..RegimePart::default()
        };
        if known_count < len(PARTS_MIN) {
            return empty;
        }
        let ends = Ends { span: self.span, curve: facts.curve, net: facts.net };
        let activity = self.parts.iter().map(|part| (part.event_count > 0).then(|| precise(part.event_count)));
        let per_second = precise(part_ns) / 1e9;
        let activity = activity.map(|events| events.map(|events| events / per_second)).collect::<Vec<_>>();
        let spreads: Vec<_> = self.parts.iter().map(Part::spread).collect();
        let changes = vec![
            change("volatility, bps per root second", &volatilities, &ends),
            change("spread, bps", &spreads, &ends),
            change("activity, events a second", &activity, &ends),
        ];
        RegimePart { changes, rows: rows(&self.parts, &volatilities, &ends, per_second), ..empty }
    }
}

/// What the result was at the ends of the parts.
struct Ends<'a> {
    span: (EpochNanos, EpochNanos),
    curve: &'a [EquityPoint],
    net: Notional,
}

impl Ends<'_> {
    /// When part `index` begins.
    fn begin_of(&self, index: usize) -> EpochNanos {
        let whole = i128::from(self.span.1.since(self.span.0).0);
        let passed = whole.saturating_mul(i128::from(len(index))).checked_div(i128::from(len(PART_COUNT)));
        let passed = passed.and_then(|passed| i64::try_from(passed).ok()).unwrap_or(0);
        self.span.0.plus(peregrine_types::Nanos(passed))
    }

    /// The result before part `index`: nothing before the first, all of it after the last.
    fn at(&self, index: usize) -> Notional {
        if index >= PART_COUNT {
            return self.net;
        }
        if index == 0 {
            return Notional::ZERO;
        }
        let begin = self.begin_of(index);
        let passed = self.curve.partition_point(|point| point.time <= begin);
        let last = passed.checked_sub(1).and_then(|last| self.curve.get(last));
        last.map_or(Notional::ZERO, |point| point.equity)
    }

    fn of(&self, index: usize) -> Notional {
        self.at(index.saturating_add(1)).saturating_sub(self.at(index))
    }
}

fn change(name: &'static str, series: &[Option<f64>], ends: &Ends<'_>) -> RegimeChange {
    let known: Vec<(usize, f64)> =
        series.iter().enumerate().filter_map(|(index, value)| value.map(|value| (index, value.ln()))).collect();
    let values: Vec<f64> = known.iter().map(|(_, value)| *value).collect();
    let part_count = len(values.len());
    let untested = RegimeChange { name, part_count, p_value: 1.0, ..RegimeChange::default() };
    if values.len() < PARTS_MIN {
        return untested;
    }
    let Some((found, part)) = mean_change(&values).and_then(|found| Some((found, known.get(found.at)?.0))) else {
        return untested;
    };
    let net_before = ends.at(part);
    RegimeChange {
        time: Some(ends.begin_of(part)),
        before: found.means.0.exp(),
        after: found.means.1.exp(),
        p_value: found.p_value,
        is_change: found.p_value < P_MAX,
        net_before,
        net_after: ends.net.saturating_sub(net_before),
        ..untested
    }
}

fn rows(parts: &[Part], volatilities: &[Option<f64>], ends: &Ends<'_>, part_seconds: f64) -> Vec<RegimeRow> {
    let mut sorted: Vec<(usize, f64)> =
        volatilities.iter().enumerate().filter_map(|(index, value)| value.map(|value| (index, value))).collect();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let third = sorted.len() / 3;
    let indices = |from: usize, to: usize| -> Vec<usize> {
        sorted.get(from..to).unwrap_or_default().iter().map(|(index, _)| *index).collect()
    };
    let unknown: Vec<usize> =
        volatilities.iter().enumerate().filter(|(_, value)| value.is_none()).map(|(index, _)| index).collect();
    let wild_from = sorted.len().saturating_sub(third);
    let kinds = [
        ("calm", indices(0, third)),
        ("usual", indices(third, wild_from)),
        ("wild", indices(wild_from, sorted.len())),
        ("unknown", unknown),
    ];
    let row = |(name, indices): (&'static str, Vec<usize>)| {
        let own: Vec<&Part> = indices.iter().filter_map(|index| parts.get(*index)).collect();
        let events = own.iter().map(|part| part.event_count).fold(0, u64::saturating_add);
        let volatilities: Vec<f64> = own.iter().filter_map(|part| part.volatility()).collect();
        let spreads: Vec<f64> = own.iter().filter_map(|part| part.spread()).collect();
        RegimeRow {
            name,
            part_count: len(own.len()),
            volatility_bps: mean(&volatilities),
            spread_bps: mean(&spreads),
            events_per_second: precise(events) / (precise(len(own.len())) * part_seconds),
            net: indices.iter().map(|index| ends.of(*index)).fold(Notional::ZERO, Notional::saturating_add),
        }
    };
    kinds.into_iter().filter(|(_, indices)| !indices.is_empty()).map(row).collect()
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / precise(len(values.len())) }
}

/// A price as a float: prices are below 2⁵³ of their units up to nine million of the currency.
#[expect(clippy::cast_precision_loss, reason = "a return needs no more than 53 bits")]
const fn wide(price: i64) -> f64 {
    price as f64
}

impl RegimePart {
    fn reading(&self) -> String {
        if self.rows.is_empty() {
            return format!(
                "Cannot be said: {} of {PART_COUNT} parts of the run have a volatility in the log, at least {PARTS_MIN} are \
                 needed.",
                self.known_count
            );
        }
        let names = self.changes.iter().filter(|change| change.is_change);
        let changed: Vec<&str> = names.map(|change| change.name.split(',').next().unwrap_or_default()).collect();
        let net_of = |name: &str| self.rows.iter().find(|row| row.name == name).map_or(Notional::ZERO, |row| row.net);
        let result = format!(
            "of the result of {} {}, {} falls to the calm third of the time and {} to the wild one",
            money(self.net),
            self.currency,
            money(net_of("calm")),
            money(net_of("wild"))
        );
        match changed.as_slice() {
            [] => format!("No change of regime shown; {result}."),
            changed => format!("The regime changed ({}); {result}.", changed.join(", ")),
        }
    }

    pub(super) fn text(&self) -> PartText {
        let mut rows = vec![(
            "parts".to_owned(),
            format!("{} of {PART_COUNT} with a volatility, {} each", count(self.known_count), nanos(self.part_ns)),
        )];
        rows.extend(self.changes.iter().map(|change| {
            let value = match change.time {
                None => format!("not tested: {} parts have a figure, or it does not vary", count(change.part_count)),
                Some(time) => format!(
                    "{}{} to {} from {} on, {}; result {} before, {} after",
                    if change.is_change { "changed: " } else { "no change shown; greatest step " },
                    figure(change.before),
                    figure(change.after),
                    utc(time),
                    probability(change.p_value),
                    money(change.net_before),
                    money(change.net_after)
                ),
            };
            (change.name.to_owned(), value)
        }));
        rows.extend(self.rows.iter().map(|row| {
            let value = format!(
                "{} parts: volatility {} bps per root second, spread {} bps, {} events a second, result {} {}",
                count(row.part_count),
                figure(row.volatility_bps),
                figure(row.spread_bps),
                figure(row.events_per_second),
                money(row.net),
                self.currency
            );
            (row.name.to_owned(), value)
        }));
        PartText { name: "Regime shift", reading: self.reading(), rows, method: METHOD }
    }
}
