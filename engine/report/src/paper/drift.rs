//! Non-stationarity: whether what the model saw and said in the second half of the run is distributed as in the first.

use std::collections::BTreeMap;

use peregrine_eventlog::records::{DecisionRecord, FEATURE_COUNT};
use peregrine_types::{EpochNanos, SymbolId};
use serde::Serialize;

use super::tests_of_change::{len, two_samples};
use super::{PaperFacts, PartText, book_of, figure, probability};
use crate::{
    format::{count, percent, utc},
    latency::precise,
    run::ser,
};

/// Samples of a half below which nothing is said.
const SAMPLES_MIN: usize = 100;
/// Samples of a half that are kept: evenly from all of it.
const SAMPLES_MAX: u64 = 2_000;
/// Share of false alarms over all tests together (Bonferroni).
const ALPHA: f64 = 0.01;
/// Distances below this are too small to matter, however certain.
const DISTANCE_MIN: f64 = 0.2;
/// Features that tell the time of day: between halves of a day they differ by what they are.
const CLOCK: [&str; 1] = ["session_fraction"];
/// Rows that the text shows.
const ROWS_SHOWN: usize = 5;
const METHOD: &str = "Two-sample Kolmogorov-Smirnov test (Numerical Recipes 14.3.3) of the decisions of the first half against \
    those of the second; drifted: distance at least 0.2 and p below 0.01 over all tests together (Bonferroni). Decisions in \
    a row resemble each other, so that p is too small rather than too large: the distance is what to read. Directions: \
    pooled two-proportion z-test. The log has the decisions that wanted something, no others.";

/// One value that was compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DriftRow {
    /// What it is.
    pub name: String,
    /// Greatest distance of the two distributions, 0 to 1.
    pub distance: f64,
    /// How likely such a distance is without any drift.
    pub p_value: f64,
    /// Mean in the first half.
    pub first_mean: f64,
    /// Mean in the second half.
    pub second_mean: f64,
    /// Whether it drifted by the rule of the part.
    pub is_drifted: bool,
}

/// How often a direction was foretold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HitRate {
    /// Right ones.
    pub hit_count: u64,
    /// All.
    pub count: u64,
}

/// Non-stationarity.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DriftPart {
    /// Samples of the first and of the second half.
    pub sample_counts: [u64; 2],
    /// Where the second half begins.
    #[serde(serialize_with = "ser::time_option")]
    pub split_time: Option<EpochNanos>,
    /// Inputs and answers of the model, the greatest distance first; empty when there are too few samples.
    pub rows: Vec<DriftRow>,
    /// Directions foretold right in each half: the sign of the first horizon's predicted return, against the next move of
    /// the symbol's middle that the log shows.
    pub hits: [HitRate; 2],
    /// The z-statistic of their difference; `None` with too few.
    pub hit_z: Option<f64>,
}

/// Whether a record is the first of a decision, with all that the model saw.
pub(super) fn is_sample(record: &DecisionRecord) -> bool {
    let has_features = record.features.iter().any(|value| *value != 0.0);
    record.intent_number() == 0 && record.horizon_count() > 0 && has_features
}

/// What a half holds of one value.
type Halves = [Vec<f64>; 2];

#[derive(Debug)]
pub(super) struct Reading {
    half_count: u64,
    step: u64,
    seen: u64,
    values: Vec<Halves>,
    split_time: Option<EpochNanos>,
    /// Last middle, twice, and what was foretold since it moved: half and whether up.
    open: BTreeMap<SymbolId, (i64, Option<(usize, bool)>)>,
    hits: [HitRate; 2],
}

/// Answers of the model that are compared beside its features.
const ANSWERS: [&str; 5] =
    ["predicted return", "predicted log variance", "probability of an up-move", "action", "surprise"];

impl Reading {
    /// For a log with `count` samples.
    pub(super) fn new(count: u64) -> Self {
        let half_count = count / 2;
        Self {
            half_count,
            step: (half_count / SAMPLES_MAX).saturating_add(1),
            seen: 0,
            values: vec![Halves::default(); FEATURE_COUNT.saturating_add(ANSWERS.len())],
            split_time: None,
            open: BTreeMap::new(),
            hits: [HitRate::default(); 2],
        }
    }

    pub(super) fn take(&mut self, record: &DecisionRecord) {
        if !is_sample(record) {
            return;
        }
        let half = usize::from(self.seen >= self.half_count);
        if self.seen == self.half_count {
            self.split_time = Some(record.recv_time);
        }
        let is_kept = self.seen.is_multiple_of(self.step);
        self.seen = self.seen.saturating_add(1);
        let ([mean, ..], [log_var, ..]) = (record.return_mean, record.return_log_var);
        let answers = [mean, log_var, record.up_probability, record.action, record.surprise];
        if is_kept {
            for (value, halves) in record.features.iter().chain(&answers).zip(&mut self.values) {
                if let Some(kept) = halves.get_mut(half).filter(|_| value.is_finite()) {
                    kept.push(f64::from(*value));
                }
            }
        }
        self.foretell(record, half, mean);
    }

    /// Holds what was foretold against the next move of the middle that the log shows.
    fn foretell(&mut self, record: &DecisionRecord, half: usize, mean: f32) {
        let Some((bid, ask)) = book_of(record) else { return };
        let mid_x2 = bid.0.saturating_add(ask.0);
        let (known, foretold) = self.open.entry(record.symbol).or_insert((mid_x2, None));
        if mid_x2 != *known {
            if let Some((of, is_up)) = foretold.take()
                && let Some(hits) = self.hits.get_mut(of)
            {
                hits.count = hits.count.saturating_add(1);
                hits.hit_count = hits.hit_count.saturating_add(u64::from(is_up == (mid_x2 > *known)));
            }
            *known = mid_x2;
        }
        if foretold.is_none() && mean != 0.0 && mean.is_finite() {
            *foretold = Some((half, mean > 0.0));
        }
    }

    pub(super) fn end(mut self, facts: &PaperFacts<'_>) -> DriftPart {
        let kept =
            |half: usize| self.values.iter().filter_map(|halves| halves.get(half)).map(Vec::len).max().unwrap_or(0);
        let counts = [kept(0), kept(1)];
        let test_count = precise(len(self.values.len()));
        let mut rows = Vec::new();
        for (index, halves) in self.values.iter_mut().enumerate() {
            if facts.feature_names.get(index).is_some_and(|name| CLOCK.contains(name)) {
                continue;
            }
            let [first, second] = halves;
            if first.len() < SAMPLES_MIN || second.len() < SAMPLES_MIN {
                continue;
            }
            let mean = |part: &[f64]| part.iter().sum::<f64>() / precise(len(part.len()));
            let (first_mean, second_mean) = (mean(first), mean(second));
            let Some(found) = two_samples(first, second) else { continue };
            let answer = index.checked_sub(FEATURE_COUNT).and_then(|answer| ANSWERS.get(answer));
            let feature =
                || facts.feature_names.get(index).map_or_else(|| format!("feature {index}"), |name| (*name).to_owned());
            rows.push(DriftRow {
                name: answer.map_or_else(feature, |name| (*name).to_owned()),
                distance: found.distance,
                p_value: found.p_value,
                first_mean,
                second_mean,
                is_drifted: found.distance >= DISTANCE_MIN && found.p_value < ALPHA / test_count,
            });
        }
        rows.sort_by(|a, b| b.distance.total_cmp(&a.distance));
        let hit_z = difference(self.hits);
        let sample_counts = counts.map(len);
        DriftPart { sample_counts, split_time: self.split_time, rows, hits: self.hits, hit_z }
    }
}

/// The pooled z-statistic of two shares.
fn difference([first, second]: [HitRate; 2]) -> Option<f64> {
    let enough = len(SAMPLES_MIN);
    if first.count < enough || second.count < enough {
        return None;
    }
    let share = |rate: HitRate| crate::format::ratio(rate.hit_count, rate.count);
    let both = HitRate {
        hit_count: first.hit_count.saturating_add(second.hit_count),
        count: first.count.saturating_add(second.count),
    };
    let pooled = share(both);
    let error = (pooled * (1.0 - pooled) * (1.0 / precise(first.count) + 1.0 / precise(second.count))).sqrt();
    (error > 0.0).then(|| (share(second) - share(first)) / error)
}

impl DriftPart {
    fn reading(&self) -> String {
        if self.rows.is_empty() {
            let [first, second] = self.sample_counts;
            return format!(
                "Cannot be said: {} and {} logged decisions in the halves of the run, at least {SAMPLES_MIN} are needed in each.",
                count(first),
                count(second)
            );
        }
        let drifted = self.rows.iter().filter(|row| row.is_drifted).count();
        let inputs = match drifted {
            0 => "No drift shown: what the model saw and said is distributed alike in both halves".to_owned(),
            1 => format!("1 of {} inputs and answers of the model drifted between the halves", self.rows.len()),
            _ => format!("{drifted} of {} inputs and answers of the model drifted between the halves", self.rows.len()),
        };
        let directions = match self.hit_z {
            None => "too few moves to compare how well directions were foretold",
            Some(z) if z <= -2.58 => "directions were foretold worse in the second",
            Some(z) if z >= 2.58 => "directions were foretold better in the second",
            Some(_) => "no difference in how well directions were foretold",
        };
        format!("{inputs}; {directions}.")
    }

    pub(super) fn text(&self) -> PartText {
        let [first, second] = self.sample_counts;
        let split = self.split_time.map_or_else(|| "–".to_owned(), utc);
        let mut rows = vec![(
            "samples".to_owned(),
            format!("{} and {}, the second half from {split} on", count(first), count(second)),
        )];
        let row = |row: &DriftRow| {
            let mark = if row.is_drifted { "drifted: " } else { "" };
            let value = format!(
                "{mark}distance {:.2}, {}, mean {} then {}",
                row.distance,
                probability(row.p_value),
                figure(row.first_mean),
                figure(row.second_mean)
            );
            (row.name.clone(), value)
        };
        rows.extend(self.rows.iter().take(ROWS_SHOWN).map(row));
        let [before, after] = self.hits;
        let z = self.hit_z.map_or_else(|| "too few to test".to_owned(), |z| format!("z = {z:.2}"));
        rows.push((
            "directions foretold".to_owned(),
            format!(
                "{} of {} right, then {} of {}; {z}",
                percent(before.hit_count, before.count),
                count(before.count),
                percent(after.hit_count, after.count),
                count(after.count)
            ),
        ));
        PartText { name: "Non-stationarity", reading: self.reading(), rows, method: METHOD }
    }
}
