//! Rules for bars, judged row by row with nothing but the past.

use std::collections::VecDeque;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Action, Breach, GateReport, Halted, Place, Reason, check_actions};
use crate::Violation;
use crate::bars::Bar;

/// Splits whose ratio the factor file may lack: n for 1 and 1 for n up to this. A split of 3 for 2 is no larger than a
/// crash (AIG fell by as much in a day of 2008): not looked for.
const SPLIT_RATIO_MAX: u32 = 20;
/// Makes the median absolute deviation a standard deviation under normality: 1/Φ⁻¹(3/4).
const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// Rules for bars: the section `[integrity]` of a profile. Every key is mandatory.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BarRules {
    /// A line that cannot be read: `halt`, `drop`.
    pub unreadable_line: Action,
    /// First date allowed.
    #[serde(with = "crate::settings::text")]
    pub first_date: Date,
    /// Last date allowed.
    #[serde(with = "crate::settings::text")]
    pub last_date: Date,
    /// Outside these dates: `halt`, `drop`.
    pub timestamp_out_of_range: Action,
    /// Earlier than the bar before: `halt`, `drop`.
    pub timestamp_backwards: Action,
    /// Same time as the bar before: `halt`, `drop` (the first one stays).
    pub timestamp_duplicate: Action,
    /// At a weekend, or intraday outside the session: `halt`, `drop`, `keep`.
    pub outside_session: Action,
    /// A price that is missing or not finite, the adjusted close of a file that has them included: `halt`, `drop`,
    /// `impute` (the close before, in the units of its day; for a missing adjusted close the factor before).
    pub price_not_finite: Action,
    /// Least price allowed, > 0, in currency before corporate actions.
    pub price_min: f64,
    /// Greatest price allowed.
    pub price_max: f64,
    /// Outside these prices: `halt`, `drop`.
    pub price_out_of_range: Action,
    /// A volume that is missing or not finite: `halt`, `drop`, `impute` (the volume before, in the
    /// shares of its day).
    pub volume_not_finite: Action,
    /// A volume below 0: `halt`, `drop`.
    pub volume_negative: Action,
    /// A volume of 0: `halt`, `drop`, `keep`.
    pub volume_zero: Action,
    /// By which fraction of the price high and low may miss the others (rounding), 0 to 0.01.
    pub ohlc_tolerance: f64,
    /// High below or low above one of the others: `halt`, `drop`, `keep`.
    pub ohlc_inconsistent: Action,
    /// How many bars in a row may repeat the close before, from 1.
    pub stale_bars_max: u32,
    /// More than that: `halt`, `drop`, `keep`, `cut`.
    pub stale: Action,
    /// Hours between two bars, above 0: more is a gap. 170 passes a week that the market was closed.
    pub gap_hours_max: f64,
    /// A gap: `halt`, `cut`, `keep`, `impute` (bars of the close before, weekends left out).
    pub gap: Action,
    /// Bars that are imputed into one gap at most, from 1; a longer gap is cut.
    pub impute_bars_max: u32,
    /// How near ln of a small whole ratio (n:1, 1:n for n to 20) a return must be to look like a split, 0 to 0.1.
    pub split_tolerance: f64,
    /// Such a return, with no corporate action at that bar: `halt`, `cut`, `keep`.
    pub unexplained_split: Action,
    /// Greatest |log return| of the adjusted close, above 0.
    pub return_abs_max: f64,
    /// Beyond it: `halt`, `cut`, `drop`, `keep`.
    pub return_bound: Action,
    /// Returns that the robust z-score looks back on, 10 to 1,000.
    pub outlier_window: u32,
    /// Greatest |return − median| in robust standard deviations (1.4826 × median absolute deviation), above 0.
    pub outlier_z_max: f64,
    /// Beyond it: `halt`, `cut`, `drop`, `keep`.
    pub outlier: Action,
}

impl BarRules {
    pub(crate) fn violations(&self, out: &mut Vec<Violation>) {
        use Action::{Cut, Drop, Halt, Impute, Keep};
        let rules: [(&'static str, Action, &[Action]); 15] = [
            ("unreadable_line", self.unreadable_line, &[Halt, Drop]),
            ("timestamp_out_of_range", self.timestamp_out_of_range, &[Halt, Drop]),
            ("timestamp_backwards", self.timestamp_backwards, &[Halt, Drop]),
            ("timestamp_duplicate", self.timestamp_duplicate, &[Halt, Drop]),
            ("outside_session", self.outside_session, &[Halt, Drop, Keep]),
            ("price_not_finite", self.price_not_finite, &[Halt, Drop, Impute]),
            ("price_out_of_range", self.price_out_of_range, &[Halt, Drop]),
            ("volume_not_finite", self.volume_not_finite, &[Halt, Drop, Impute]),
            ("volume_negative", self.volume_negative, &[Halt, Drop]),
            ("volume_zero", self.volume_zero, &[Halt, Drop, Keep]),
            ("ohlc_inconsistent", self.ohlc_inconsistent, &[Halt, Drop, Keep]),
            ("stale", self.stale, &[Halt, Drop, Keep, Cut]),
            ("gap", self.gap, &[Halt, Cut, Keep, Impute]),
            ("unexplained_split", self.unexplained_split, &[Halt, Cut, Keep]),
            ("return_bound", self.return_bound, &[Halt, Cut, Drop, Keep]),
        ];
        check_actions("integrity", &rules, out);
        check_actions("integrity", &[("outlier", self.outlier, &[Halt, Cut, Drop, Keep])], out);
        let mut bound = |key: &str, value: f64, holds: bool, bound: &str| {
            if !holds {
                out.push(Violation::new(&format!("integrity.{key}"), value, bound));
            }
        };
        let positive = |value: f64| value > 0.0 && value.is_finite();
        bound("price_min", self.price_min, positive(self.price_min), "above 0");
        bound(
            "price_max",
            self.price_max,
            positive(self.price_max) && self.price_max > self.price_min,
            "above price_min",
        );
        bound("ohlc_tolerance", self.ohlc_tolerance, (0.0..=0.01).contains(&self.ohlc_tolerance), "0 to 0.01");
        bound("stale_bars_max", f64::from(self.stale_bars_max), self.stale_bars_max >= 1, "1 or more");
        bound("gap_hours_max", self.gap_hours_max, positive(self.gap_hours_max), "above 0");
        bound("impute_bars_max", f64::from(self.impute_bars_max), self.impute_bars_max >= 1, "1 or more");
        bound("split_tolerance", self.split_tolerance, (0.0..=0.1).contains(&self.split_tolerance), "0 to 0.1");
        bound("return_abs_max", self.return_abs_max, positive(self.return_abs_max), "above 0");
        let window = self.outlier_window;
        bound("outlier_window", f64::from(window), (10..=1_000).contains(&window), "10 to 1000");
        bound("outlier_z_max", self.outlier_z_max, positive(self.outlier_z_max), "above 0");
        if self.last_date < self.first_date {
            out.push(Violation::new("integrity.last_date", self.last_date, "at or after first_date"));
        }
    }
}

/// A bar as its file has it, with what the gate must know beside it. Missing values are NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedBar {
    /// The bar, unadjusted.
    pub bar: Bar,
    /// Its date in the venue's zone.
    pub date: Date,
    /// Whether it is inside the session; bars of weekends never are.
    pub is_in_session: bool,
    /// By which its prices are to be multiplied, relative to the first bar, above 0; NaN where it is not known.
    pub price_factor: f64,
    /// By which its volume is to be divided, relative to the first bar.
    pub split_factor: f64,
}

/// A bar that passed: adjusted for corporate actions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatedBar {
    /// The bar, adjusted to the first one.
    pub bar: Bar,
    /// Whether its close was made up by the gate: no return that begins or ends at it is known.
    pub is_imputed: bool,
}

/// Bars that follow each other without a cut.
pub type Segment = Vec<GatedBar>;

/// Judges the bars of one instrument in the order of its file.
#[derive(Debug)]
pub struct BarGate<'a> {
    rules: &'a BarRules,
    /// Time between two bars, for imputing.
    step_ns: i64,
    report: GateReport,
    segments: Vec<Segment>,
    last: Option<Last>,
    stale_count: u32,
    returns: VecDeque<f64>,
}

/// The last bar that passed.
#[derive(Clone, Copy, Debug)]
struct Last {
    raw: Bar,
    adjusted_close: f64,
    price_factor: f64,
    split_factor: f64,
}

impl Last {
    /// Fills missing prices of `row` with this close in the units of its day. Where its factor is not known, because its
    /// adjusted close is missing as well, no corporate action is assumed.
    fn fill_prices(&self, row: &mut JudgedBar) {
        if !row.price_factor.is_finite() {
            (row.price_factor, row.split_factor) = (self.price_factor, self.split_factor);
        }
        let close = self.raw.close * (self.price_factor / row.price_factor);
        let bar = &mut row.bar;
        for price in [&mut bar.open, &mut bar.high, &mut bar.low, &mut bar.close] {
            if !price.is_finite() {
                *price = close;
            }
        }
        (bar.high, bar.low) = (bar.high.max(bar.open).max(bar.close), bar.low.min(bar.open).min(bar.close));
    }
}

const HOUR_NS: f64 = 3.6e12;
const DAY_NS: i64 = 86_400_000_000_000;

impl<'a> BarGate<'a> {
    /// A gate that has seen nothing; bars are `step_ns` apart where nothing is missing.
    #[must_use]
    pub fn new(rules: &'a BarRules, step_ns: i64) -> Self {
        let report = GateReport::default();
        Self { rules, step_ns, report, segments: Vec::new(), last: None, stale_count: 0, returns: VecDeque::new() }
    }

    /// Judges a line that is not a bar.
    ///
    /// # Errors
    /// [`Halted`] when the rule says so.
    pub fn unreadable(&mut self, found: &str, place: &Place) -> Result<(), Box<Halted>> {
        self.report.checked = self.report.checked.saturating_add(1);
        let breach = Breach::new(Reason::UnreadableLine, self.rules.unreadable_line, found, "a bar of this layout");
        self.report.judge(breach, place).map(|_| ())
    }

    /// Judges the next bar.
    ///
    /// # Errors
    /// [`Halted`] at the first rule that says so.
    pub fn judge(&mut self, mut row: JudgedBar, place: &Place) -> Result<(), Box<Halted>> {
        self.report.checked = self.report.checked.saturating_add(1);
        if !self.judge_time(&row, place)? {
            return Ok(());
        }
        let Some(is_imputed) = self.judge_values(&mut row, place)? else { return Ok(()) };
        let Some(is_stale_cut) = self.judge_staleness(&row.bar, place)? else { return Ok(()) };
        let is_gap_cut = self.judge_gap(&row, place)?;
        let Some(is_return_cut) = self.judge_return(&row, place)? else { return Ok(()) };
        if is_stale_cut || is_gap_cut || is_return_cut || self.segments.is_empty() {
            self.segments.push(Segment::new());
        }
        if is_imputed {
            let found = || format!("{}: close {}", place.short(), row.bar.close);
            self.report.note(Reason::ImputedBar, Action::Impute, found);
        }
        self.pass(&row, is_imputed);
        Ok(())
    }

    /// What passed, cut into segments, and what was found.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Segment>, GateReport) {
        self.segments.retain(|segment| !segment.is_empty());
        (self.segments, self.report)
    }

    fn pass(&mut self, row: &JudgedBar, is_imputed: bool) {
        let adjusted = row.bar.adjusted(row.price_factor, row.split_factor);
        if let Some(segment) = self.segments.last_mut() {
            segment.push(GatedBar { bar: adjusted, is_imputed });
        }
        let (price_factor, split_factor) = (row.price_factor, row.split_factor);
        self.last = Some(Last { raw: row.bar, adjusted_close: adjusted.close, price_factor, split_factor });
    }

    /// Whether the breach leaves the row in.
    fn keeps(&mut self, breach: Breach, place: &Place) -> Result<bool, Box<Halted>> {
        Ok(self.report.judge(breach, place)? != Action::Drop)
    }

    fn judge_time(&mut self, row: &JudgedBar, place: &Place) -> Result<bool, Box<Halted>> {
        let rules = self.rules;
        if row.date < rules.first_date || row.date > rules.last_date {
            let bound = format!("{} to {}", rules.first_date, rules.last_date);
            let breach = Breach::new(Reason::TimestampOutOfRange, rules.timestamp_out_of_range, row.date, bound);
            return self.keeps(breach, place);
        }
        if let Some(last) = self.last {
            let (time, before) = (row.bar.time_ns, last.raw.time_ns);
            let found = || format!("{} ({time} ns)", row.date);
            if time < before {
                let bound = format!("after {before} ns");
                let breach = Breach::new(Reason::TimestampBackwards, rules.timestamp_backwards, found(), bound);
                return self.keeps(breach, place);
            }
            if time == before {
                let bound = "another time than the bar before";
                let breach = Breach::new(Reason::TimestampDuplicate, rules.timestamp_duplicate, found(), bound);
                return self.keeps(breach, place);
            }
        }
        if row.is_in_session {
            return Ok(true);
        }
        let breach = Breach::new(Reason::OutsideSession, rules.outside_session, row.date, "a time of the session");
        self.keeps(breach, place)
    }

    /// `None`: the row is left out; else whether its close was made up.
    fn judge_values(&mut self, row: &mut JudgedBar, place: &Place) -> Result<Option<bool>, Box<Halted>> {
        let Some(is_close_imputed) = self.judge_finite(row, place)? else { return Ok(None) };
        let (rules, bar) = (self.rules, row.bar);
        let allowed = rules.price_min..=rules.price_max;
        let is_kept = if let Some(price) = bar.prices().into_iter().find(|price| !allowed.contains(price)) {
            let bound = format!("{} to {}", rules.price_min, rules.price_max);
            self.keeps(Breach::new(Reason::PriceOutOfRange, rules.price_out_of_range, price, bound), place)?
        } else if bar.volume < 0.0 {
            let breach = Breach::new(Reason::VolumeNegative, rules.volume_negative, bar.volume, "0 or more");
            self.keeps(breach, place)?
        } else {
            let is_traded = bar.volume > 0.0;
            (is_traded || self.keeps(Breach::new(Reason::VolumeZero, rules.volume_zero, 0, "above 0"), place)?)
                && self.judge_shape(&bar, place)?
        };
        if !is_kept {
            return Ok(None);
        }
        let factor = row.price_factor;
        if factor.is_finite() && factor > 0.0 {
            return Ok(Some(is_close_imputed));
        }
        let found = format!("an adjusted close of {factor} closes, the first one at 1");
        let breach = Breach::new(Reason::PriceNotFinite, rules.price_not_finite, found, "a finite ratio above 0");
        let is_kept = self.keeps(breach, place)?;
        let Some(last) = self.last.filter(|_| is_kept) else { return Ok(None) };
        (row.price_factor, row.split_factor) = (last.price_factor, last.split_factor);
        Ok(Some(true))
    }

    /// Prices and volume that are missing or not finite. `None`: the row is left out; else whether its close was made up.
    fn judge_finite(&mut self, row: &mut JudgedBar, place: &Place) -> Result<Option<bool>, Box<Halted>> {
        let rules = self.rules;
        let mut is_close_imputed = false;
        if let Some(price) = row.bar.prices().into_iter().find(|price| !price.is_finite()) {
            let breach = Breach::new(Reason::PriceNotFinite, rules.price_not_finite, price, "a finite price");
            let is_kept = self.keeps(breach, place)?;
            let Some(last) = self.last.filter(|_| is_kept) else { return Ok(None) };
            is_close_imputed = !row.bar.close.is_finite();
            last.fill_prices(row);
        }
        if !row.bar.volume.is_finite() {
            let found = row.bar.volume;
            let breach = Breach::new(Reason::VolumeNotFinite, rules.volume_not_finite, found, "a finite volume");
            let is_kept = self.keeps(breach, place)?;
            let Some(last) = self.last.filter(|_| is_kept) else { return Ok(None) };
            row.bar.volume = last.raw.volume * (row.split_factor / last.split_factor);
        }
        Ok(Some(is_close_imputed))
    }

    fn judge_shape(&mut self, bar: &Bar, place: &Place) -> Result<bool, Box<Halted>> {
        let slack = self.rules.ohlc_tolerance * bar.close;
        let (upper, lower) = (bar.open.max(bar.close), bar.open.min(bar.close));
        if bar.high + slack >= upper && bar.low - slack <= lower && bar.high + slack >= bar.low {
            return Ok(true);
        }
        let found = format!("open {} high {} low {} close {}", bar.open, bar.high, bar.low, bar.close);
        let bound = format!("low ≤ open, close ≤ high within {slack}");
        self.keeps(Breach::new(Reason::OhlcInconsistent, self.rules.ohlc_inconsistent, found, bound), place)
    }

    /// `None`: the row is left out; else whether a new segment begins.
    fn judge_staleness(&mut self, bar: &Bar, place: &Place) -> Result<Option<bool>, Box<Halted>> {
        let repeats = self.last.is_some_and(|last| last.raw.close.to_bits() == bar.close.to_bits());
        self.stale_count = if repeats { self.stale_count.saturating_add(1) } else { 0 };
        let bound = self.rules.stale_bars_max;
        if self.stale_count <= bound {
            return Ok(Some(false));
        }
        let found = format!("{} bars at {}", self.stale_count, bar.close);
        let breach = Breach::new(Reason::Stale, self.rules.stale, found, format!("{bound} bars"));
        self.verdict(breach, place)
    }

    /// As a cut (`Some(true)`), a pass (`Some(false)`) or a refusal (`None`).
    fn verdict(&mut self, breach: Breach, place: &Place) -> Result<Option<bool>, Box<Halted>> {
        Ok(match self.report.judge(breach, place)? {
            Action::Drop => None,
            Action::Cut => Some(true),
            Action::Keep | Action::Impute | Action::Halt => Some(false),
        })
    }

    /// Whether a new segment begins because bars are missing; imputes them where the rule says so.
    fn judge_gap(&mut self, row: &JudgedBar, place: &Place) -> Result<bool, Box<Halted>> {
        let Some(last) = self.last else { return Ok(false) };
        let hours = row.bar.time_ns.saturating_sub(last.raw.time_ns) as f64 / HOUR_NS;
        if hours <= self.rules.gap_hours_max {
            return Ok(false);
        }
        let (found, bound) = (format!("{hours:.2} hours"), format!("{} hours", self.rules.gap_hours_max));
        let missing = self.missing_times(last.raw.time_ns, row.bar.time_ns);
        let is_too_long = missing.len() > usize::try_from(self.rules.impute_bars_max).unwrap_or(usize::MAX);
        let action = if self.rules.gap == Action::Impute && is_too_long { Action::Cut } else { self.rules.gap };
        match self.report.judge(Breach::new(Reason::Gap, action, found, bound), place)? {
            Action::Cut => Ok(true),
            Action::Impute => {
                for time_ns in missing {
                    self.impute_bar(time_ns, row.date, place);
                }
                Ok(false)
            }
            Action::Keep | Action::Drop | Action::Halt => Ok(false),
        }
    }

    /// Times at which a bar is missing between two: every step, for daily bars every day but Saturdays and Sundays.
    fn missing_times(&self, from: i64, to: i64) -> Vec<i64> {
        let step = self.step_ns.max(1);
        let is_daily = step >= DAY_NS;
        // 1970-01-01 was a Thursday: days 2 and 3 modulo 7 are Saturday and Sunday.
        let is_weekend = |time: i64| matches!(time.div_euclid(DAY_NS).rem_euclid(7), 2 | 3);
        let count = to.saturating_sub(from).div_euclid(step);
        let times = (1..=count).map(|number| from.saturating_add(number.saturating_mul(step)));
        // Half a step of slack: a day is an hour shorter or longer where the clocks change.
        let times = times.filter(|time| time.saturating_add(step / 2) < to);
        times.filter(|time| !(is_daily && is_weekend(*time))).collect()
    }

    /// A bar of the close before, before the row at `place`.
    fn impute_bar(&mut self, time_ns: i64, date: Date, place: &Place) {
        let Some(last) = self.last else { return };
        let close = last.raw.close;
        self.report.note(Reason::ImputedBar, Action::Impute, || format!("before {}: close {close}", place.short()));
        let bar = Bar { time_ns, open: close, high: close, low: close, close, volume: last.raw.volume };
        let (price_factor, split_factor) = (last.price_factor, last.split_factor);
        self.pass(&JudgedBar { bar, date, is_in_session: true, price_factor, split_factor }, true);
    }

    /// Splits that nobody told of, returns beyond the bound, outliers.
    fn judge_return(&mut self, row: &JudgedBar, place: &Place) -> Result<Option<bool>, Box<Halted>> {
        let Some(last) = self.last else { return Ok(Some(false)) };
        let rules = self.rules;
        let change = (row.bar.close * row.price_factor / last.adjusted_close).ln();
        let is_told = row.split_factor.to_bits() != last.split_factor.to_bits();
        let mut is_cut = false;
        if let Some(ratio) = split_like(change, rules.split_tolerance).filter(|_| !is_told) {
            let found = format!("log return {change:.4}, as of a split by {ratio}");
            let bound = format!("further than {} from it", rules.split_tolerance);
            let breach = Breach::new(Reason::UnexplainedSplit, rules.unexplained_split, found, bound);
            is_cut |= self.report.judge(breach, place)? == Action::Cut;
        }
        if !is_cut && change.abs() > rules.return_abs_max {
            let breach =
                Breach::new(Reason::ReturnBound, rules.return_bound, change, format!("±{}", rules.return_abs_max));
            let Some(cut) = self.verdict(breach, place)? else { return Ok(None) };
            is_cut |= cut;
        }
        let window = usize::try_from(rules.outlier_window).unwrap_or(usize::MAX);
        if !is_cut && self.returns.len() >= window {
            let z = robust_z(change, &self.returns);
            if z.abs() > rules.outlier_z_max {
                let found = format!("log return {change:.4}, {z:.1} robust deviations");
                let breach = Breach::new(Reason::Outlier, rules.outlier, found, format!("±{}", rules.outlier_z_max));
                let Some(cut) = self.verdict(breach, place)? else { return Ok(None) };
                is_cut |= cut;
            }
        }
        self.returns.push_back(change);
        if self.returns.len() > window {
            self.returns.pop_front();
        }
        Ok(Some(is_cut))
    }
}

/// The split ratio (n for n:1, 1/n for 1:n) that a log return looks like.
fn split_like(change: f64, tolerance: f64) -> Option<f64> {
    (2..=SPLIT_RATIO_MAX)
        .map(f64::from)
        .flat_map(|ratio| [ratio, ratio.recip()])
        .find(|ratio| (change + ratio.ln()).abs() < tolerance)
}

/// Distance from the median in robust standard deviations; infinite when all of `window` are equal and `value` is not.
fn robust_z(value: f64, window: &VecDeque<f64>) -> f64 {
    let median = |values: &mut Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        0.5 * (at(values.len() / 2) + at(values.len().saturating_sub(1) / 2))
    };
    let center = median(&mut window.iter().copied().collect());
    let deviation = median(&mut window.iter().map(|other| (other - center).abs()).collect());
    let distance = value - center;
    if distance == 0.0 { 0.0 } else { distance / (MAD_TO_SIGMA * deviation) }
}
