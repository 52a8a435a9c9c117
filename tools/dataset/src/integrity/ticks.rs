//! Rules for rows of ticks and quotes, judged one by one with nothing but the past.

use serde::{Deserialize, Serialize};

use super::{Action, Breach, GateReport, Halted, Place, Reason, check_actions};
use crate::Violation;

/// Rules for ticks: the section `[integrity]` of a profile. Every key is mandatory.
///
/// `drop` leaves the row out and the sequence goes on; `cut` ends the sequence: the row begins the next one where it can
/// be kept, and is left out where it cannot (no good book, no two sides).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TickRules {
    /// A line that cannot be read (quote files): `halt`, `drop`.
    pub unreadable_line: Action,
    /// A line that its source marks as suspicious (quote files): `halt`, `drop`, `keep`.
    pub suspicious: Action,
    /// Earlier than the row before: `halt`, `drop`, `cut`.
    pub timestamp_backwards: Action,
    /// Outside the session: `halt`, `drop`, `cut`, `keep`.
    pub outside_session: Action,
    /// A decision event on a stale, halted or quarantined book (captures): `halt`, `drop`, `cut`.
    pub book_not_good: Action,
    /// One side is empty: `halt`, `drop`, `cut`.
    pub one_sided: Action,
    /// Best bid at or above best ask: `halt`, `drop`, `cut`.
    pub crossed_or_locked: Action,
    /// Least price allowed, > 0, in currency.
    pub price_min: f64,
    /// Greatest price allowed.
    pub price_max: f64,
    /// Outside these prices: `halt`, `drop`, `cut`.
    pub price_out_of_range: Action,
    /// Widest spread allowed in basis points of the mid, above 0.
    pub spread_bps_max: f64,
    /// A wider one: `halt`, `drop`, `cut`, `keep`.
    pub spread_bound: Action,
    /// Milliseconds between two rows of a sequence, above 0: more is silence.
    pub stale_ms_max: u32,
    /// Silence: `halt`, `cut`, `keep`.
    pub stale: Action,
    /// Greatest |log return| of the mid between two rows, above 0.
    pub return_abs_max: f64,
    /// Beyond it: `halt`, `drop`, `cut`, `keep`.
    pub return_bound: Action,
    /// Greatest jump of the mid between two rows, in spreads (the wider of both rows), above 0.
    pub outlier_spreads_max: f64,
    /// Beyond it: `halt`, `drop`, `cut`, `keep`.
    pub outlier: Action,
}

impl TickRules {
    pub(crate) fn violations(&self, out: &mut Vec<Violation>) {
        use Action::{Cut, Drop, Halt, Keep};
        let rules: [(&'static str, Action, &[Action]); 12] = [
            ("unreadable_line", self.unreadable_line, &[Halt, Drop]),
            ("suspicious", self.suspicious, &[Halt, Drop, Keep]),
            ("timestamp_backwards", self.timestamp_backwards, &[Halt, Drop, Cut]),
            ("outside_session", self.outside_session, &[Halt, Drop, Cut, Keep]),
            ("book_not_good", self.book_not_good, &[Halt, Drop, Cut]),
            ("one_sided", self.one_sided, &[Halt, Drop, Cut]),
            ("crossed_or_locked", self.crossed_or_locked, &[Halt, Drop, Cut]),
            ("price_out_of_range", self.price_out_of_range, &[Halt, Drop, Cut]),
            ("spread_bound", self.spread_bound, &[Halt, Drop, Cut, Keep]),
            ("stale", self.stale, &[Halt, Cut, Keep]),
            ("return_bound", self.return_bound, &[Halt, Drop, Cut, Keep]),
            ("outlier", self.outlier, &[Halt, Drop, Cut, Keep]),
        ];
        check_actions("integrity", &rules, out);
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let bounds = [
            ("price_min", self.price_min, positive(self.price_min), "above 0"),
            (
                "price_max",
                self.price_max,
                self.price_max.is_finite() && self.price_max > self.price_min,
                "above price_min",
            ),
            ("spread_bps_max", self.spread_bps_max, positive(self.spread_bps_max), "above 0"),
            ("stale_ms_max", f64::from(self.stale_ms_max), self.stale_ms_max > 0, "1 or more"),
            ("return_abs_max", self.return_abs_max, positive(self.return_abs_max), "above 0"),
            ("outlier_spreads_max", self.outlier_spreads_max, positive(self.outlier_spreads_max), "above 0"),
        ];
        for (key, value, _, bound) in bounds.into_iter().filter(|(_, _, holds, _)| !holds) {
            out.push(Violation::new(&format!("integrity.{key}"), value, bound));
        }
    }
}

/// A row as the gate sees it. Prices in currency; 0 is an empty side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TickRow {
    /// When it was known, nanoseconds UTC.
    pub time_ns: i64,
    /// Best bid.
    pub bid: f64,
    /// Best ask.
    pub ask: f64,
    /// Whether the session is open.
    pub is_in_session: bool,
    /// Whether the venue stands behind the book (not stale, halted or quarantined).
    pub is_book_good: bool,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TickVerdict {
    /// It goes on with its sequence.
    Keep,
    /// It is left out; the sequence goes on.
    Drop,
    /// The sequence ends before it; it begins the next one.
    CutBefore,
    /// The sequence ends before it; it is left out.
    CutAndDrop,
}

/// Judges the rows of one instrument.
#[derive(Clone, Copy, Debug, Default)]
pub struct TickGate {
    /// Time, mid and spread of the last row that passed.
    last: Option<(i64, f64, f64)>,
}

impl TickGate {
    /// Forgets the last row: the sequence was cut for another reason.
    pub const fn reset(&mut self) {
        self.last = None;
    }

    /// Judges the next row.
    ///
    /// # Errors
    /// [`Halted`] at the first rule that says so.
    pub fn judge(
        &mut self,
        row: &TickRow,
        rules: &TickRules,
        report: &mut GateReport,
        place: &Place,
    ) -> Result<TickVerdict, Box<Halted>> {
        report.checked = report.checked.saturating_add(1);
        if let Some(breach) = Self::of_the_row(row, rules) {
            match report.judge(breach, place)? {
                Action::Drop => return Ok(TickVerdict::Drop),
                Action::Cut => {
                    self.reset();
                    return Ok(TickVerdict::CutAndDrop);
                }
                Action::Keep | Action::Impute | Action::Halt => {}
            }
        }
        let (mid, spread) = (0.5 * (row.bid + row.ask), row.ask - row.bid);
        let mut verdict = TickVerdict::Keep;
        if let Some(last) = self.last {
            for breach in Self::of_the_step(row, last, rules).into_iter().flatten() {
                match report.judge(breach, place)? {
                    Action::Drop => return Ok(TickVerdict::Drop),
                    Action::Cut => verdict = TickVerdict::CutBefore,
                    Action::Keep | Action::Impute | Action::Halt => {}
                }
            }
        }
        self.last = Some((row.time_ns, mid, spread));
        Ok(verdict)
    }

    /// The first rule that the row breaks by itself.
    fn of_the_row(row: &TickRow, rules: &TickRules) -> Option<Breach> {
        let quote = || format!("bid {} ask {}", row.bid, row.ask);
        let spread_bps = 2e4 * (row.ask - row.bid) / (row.ask + row.bid);
        let is_priced = |price: f64| price.is_finite() && price >= rules.price_min && price <= rules.price_max;
        let breach = |reason, action, bound: &str| Some(Breach::new(reason, action, quote(), bound));
        if !row.is_book_good {
            return breach(Reason::BookNotGood, rules.book_not_good, "a book that is not stale, halted or quarantined");
        }
        if row.bid == 0.0 || row.ask == 0.0 {
            return breach(Reason::OneSided, rules.one_sided, "two sides");
        }
        if !is_priced(row.bid) || !is_priced(row.ask) {
            let bound = format!("{} to {}", rules.price_min, rules.price_max);
            return breach(Reason::PriceOutOfRange, rules.price_out_of_range, &bound);
        }
        if row.bid >= row.ask {
            return breach(Reason::CrossedOrLocked, rules.crossed_or_locked, "bid below ask");
        }
        if !row.is_in_session && rules.outside_session != Action::Keep {
            let found = format!("{} ns", row.time_ns);
            return Some(Breach::new(Reason::OutsideSession, rules.outside_session, found, "a time of the session"));
        }
        let bound = format!("{} basis points", rules.spread_bps_max);
        (spread_bps > rules.spread_bps_max).then(|| {
            Breach::new(Reason::SpreadBound, rules.spread_bound, format!("{spread_bps:.1} basis points"), bound)
        })
    }

    /// The rules that the row breaks against the one before it.
    fn of_the_step(row: &TickRow, last: (i64, f64, f64), rules: &TickRules) -> [Option<Breach>; 4] {
        let (time, mid, spread) = last;
        let now = 0.5 * (row.bid + row.ask);
        let backwards = (row.time_ns < time).then(|| {
            let found = format!("{} ns", row.time_ns);
            Breach::new(Reason::TimestampBackwards, rules.timestamp_backwards, found, format!("{time} ns or later"))
        });
        let silence_ms = row.time_ns.saturating_sub(time).div_euclid(1_000_000);
        let stale = (silence_ms > i64::from(rules.stale_ms_max)).then(|| {
            let bound = format!("{} ms", rules.stale_ms_max);
            Breach::new(Reason::Stale, rules.stale, format!("{silence_ms} ms of silence"), bound)
        });
        let change = if now == mid { 0.0 } else { (now / mid).ln() };
        let bound = (change.abs() > rules.return_abs_max).then(|| {
            Breach::new(Reason::ReturnBound, rules.return_bound, change, format!("±{}", rules.return_abs_max))
        });
        let spreads = (now - mid).abs() / spread.max(row.ask - row.bid);
        let outlier = (spreads > rules.outlier_spreads_max).then(|| {
            let bound = format!("{} spreads", rules.outlier_spreads_max);
            Breach::new(Reason::Outlier, rules.outlier, format!("a jump of {spreads:.1} spreads"), bound)
        });
        [backwards, stale, bound, outlier]
    }
}
