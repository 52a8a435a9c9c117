//! The integrity gate: nothing else sees data that it has not judged.
//!
//! Each rule has a threshold and an [`Action`] in the configuration; there are no defaults in code. What a rule finds is
//! counted by [`Reason`] in a [`GateReport`], with the first place where it was found; a rule that says `halt` stops the
//! pipeline with [`Halted`]. Rules of bars: [`BarRules`]; of ticks and quotes: [`TickRules`].

mod bars;
mod ticks;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use bars::{BarGate, BarRules, GatedBar, JudgedBar, Segment};
pub use ticks::{TickGate, TickRow, TickRules, TickVerdict};

/// Why a row was refused, repaired or noticed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A line or row that is not of its layout.
    UnreadableLine,
    /// Earlier than the row before it.
    TimestampBackwards,
    /// As late as the row before it, of the same instrument (bars).
    TimestampDuplicate,
    /// Outside the dates that the configuration allows.
    TimestampOutOfRange,
    /// Outside the trading session, or at a weekend.
    OutsideSession,
    /// A price that is missing, NaN or infinite.
    PriceNotFinite,
    /// A price outside the bounds of the configuration; zero and below always are.
    PriceOutOfRange,
    /// A volume that is missing, NaN or infinite.
    VolumeNotFinite,
    /// A volume below 0.
    VolumeNegative,
    /// A bar without trades.
    VolumeZero,
    /// High below, or low above, one of the others.
    OhlcInconsistent,
    /// Unchanged prices for too long, or silence.
    Stale,
    /// Missing rows before this one.
    Gap,
    /// A bar whose close the gate made up: no return that begins or ends at it is known.
    ImputedBar,
    /// A return that a split by a small whole ratio would make, of which the factor file knows nothing.
    UnexplainedSplit,
    /// A return beyond the bound.
    ReturnBound,
    /// A return that is far from the recent ones, by its robust z-score.
    Outlier,
    /// A quote or trade that its source marks as suspicious.
    Suspicious,
    /// One side of the book is empty.
    OneSided,
    /// The best bid is at or above the best ask.
    CrossedOrLocked,
    /// The book was stale, halted or quarantined.
    BookNotGood,
    /// A spread beyond the bound.
    SpreadBound,
    /// A row whose features look back beyond the begin of its sequence.
    WarmUp,
    /// A feature that is not defined here (0/0 in a constant window).
    FeatureUndefined,
    /// Market context that is not known, or too old.
    ContextMissing,
}

impl Reason {
    /// The code, as manifests and messages write it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnreadableLine => "unreadable_line",
            Self::TimestampBackwards => "timestamp_backwards",
            Self::TimestampDuplicate => "timestamp_duplicate",
            Self::TimestampOutOfRange => "timestamp_out_of_range",
            Self::OutsideSession => "outside_session",
            Self::PriceNotFinite => "price_not_finite",
            Self::PriceOutOfRange => "price_out_of_range",
            Self::VolumeNotFinite => "volume_not_finite",
            Self::VolumeNegative => "volume_negative",
            Self::VolumeZero => "volume_zero",
            Self::OhlcInconsistent => "ohlc_inconsistent",
            Self::Stale => "stale",
            Self::Gap => "gap",
            Self::ImputedBar => "imputed_bar",
            Self::UnexplainedSplit => "unexplained_split",
            Self::ReturnBound => "return_bound",
            Self::Outlier => "outlier",
            Self::Suspicious => "suspicious",
            Self::OneSided => "one_sided",
            Self::CrossedOrLocked => "crossed_or_locked",
            Self::BookNotGood => "book_not_good",
            Self::SpreadBound => "spread_bound",
            Self::WarmUp => "warm_up",
            Self::FeatureUndefined => "feature_undefined",
            Self::ContextMissing => "context_missing",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::UnreadableLine => "correct the line or take the file in its documented layout",
            Self::TimestampBackwards => "sort the file by time or find out why it runs backwards",
            Self::TimestampDuplicate => "remove one of the rows of the same time",
            Self::TimestampOutOfRange => "correct the date, or widen first_date and last_date",
            Self::OutsideSession => "correct zone, session_open and session_close, or drop such rows by rule",
            Self::PriceNotFinite | Self::VolumeNotFinite => "supply the value, or drop or impute it by rule",
            Self::PriceOutOfRange => "check the price's unit, or widen price_min and price_max",
            Self::VolumeNegative | Self::VolumeZero => "correct the volume, or drop such rows by rule",
            Self::OhlcInconsistent => "correct the bar, or raise ohlc_tolerance if it is rounding",
            Self::Stale => "check whether the source stood still, or raise the limit for quiet instruments",
            Self::Gap | Self::ImputedBar => "supply the missing rows, or cut, keep or impute gaps by rule",
            Self::UnexplainedSplit => "supply the factor file with this split, or cut the sequence here by rule",
            Self::ReturnBound => "check price and factor file at this row; raise return_abs_max if the move is real",
            Self::Outlier => "check the row; raise outlier_z_max if the move is real",
            Self::Suspicious => "drop suspicious rows by rule",
            Self::OneSided | Self::CrossedOrLocked | Self::BookNotGood => {
                "drop or cut by rule: nothing trades on such a book"
            }
            Self::SpreadBound => "check the quotes; raise spread_bps_max if the instrument is that wide",
            Self::WarmUp | Self::FeatureUndefined => "supply earlier rows",
            Self::ContextMissing => "supply the context for these dates, or raise age_days_max",
        }
    }
}

/// What a rule does with what it finds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Count it and keep the row.
    Keep,
    /// Put a value made of the past in its place and keep the row.
    Impute,
    /// Leave the row out.
    Drop,
    /// Keep the row, and begin a new sequence with it: nothing is carried across.
    Cut,
    /// Stop the pipeline.
    Halt,
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Impute => "impute",
            Self::Drop => "drop",
            Self::Cut => "cut",
            Self::Halt => "halt",
        }
    }
}

/// What a rule found, all in all.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What was done.
    pub action: Action,
    /// To how many rows.
    pub rows: u64,
    /// The first of them: file, line, value and bound.
    pub first: String,
}

/// What the gate saw, by reason.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GateReport {
    /// Rows judged.
    pub checked: u64,
    /// Findings, by reason.
    pub findings: BTreeMap<Reason, Finding>,
}

/// Where a row stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Its file; shared by all of its rows.
    pub file: Arc<Path>,
    /// Its line, or its row in a Parquet file, or its event in a capture; from 1.
    pub line: u64,
}

impl Place {
    /// File name, without its folder, and line.
    pub(crate) fn short(&self) -> String {
        format!("{}, line {}", self.file.file_name().unwrap_or_default().to_string_lossy(), self.line)
    }
}

/// A rule that says `halt` met what it forbids.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("integrity: {} ({}, line {}): found {found}, allowed {bound}: {}", .reason.code(), .place.file.display(), .place.line, .reason.help())]
pub struct Halted {
    /// Which rule.
    pub reason: Reason,
    /// Where.
    pub place: Place,
    /// The offending value.
    pub found: String,
    /// What the rule allows.
    pub bound: String,
}

/// One breach of one rule.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) reason: Reason,
    pub(crate) action: Action,
    pub(crate) found: String,
    pub(crate) bound: String,
}

impl Breach {
    pub(crate) fn new(reason: Reason, action: Action, found: impl ToString, bound: impl ToString) -> Self {
        Self { reason, action, found: found.to_string(), bound: bound.to_string() }
    }
}

impl GateReport {
    /// Rows found for `reason`.
    #[must_use]
    pub fn count(&self, reason: Reason) -> u64 {
        self.findings.get(&reason).map_or(0, |finding| finding.rows)
    }

    /// Adds what another gate saw.
    pub fn merge(&mut self, other: &Self) {
        self.checked = self.checked.saturating_add(other.checked);
        for (reason, finding) in &other.findings {
            let own = self.findings.entry(*reason);
            let own = own.or_insert_with(|| Finding { rows: 0, ..finding.clone() });
            own.rows = own.rows.saturating_add(finding.rows);
        }
    }

    /// Counts a breach, or stops at it.
    pub(crate) fn judge(&mut self, breach: Breach, place: &Place) -> Result<Action, Box<Halted>> {
        let Breach { reason, action, found, bound } = breach;
        if action == Action::Halt {
            return Err(Box::new(Halted { reason, place: place.clone(), found, bound }));
        }
        self.note(reason, action, || format!("{}: found {found}, allowed {bound}", place.short()));
        Ok(action)
    }

    /// Counts one row.
    pub(crate) fn note(&mut self, reason: Reason, action: Action, first: impl FnOnce() -> String) {
        let finding = self.findings.entry(reason).or_insert_with(|| Finding { action, rows: 0, first: first() });
        finding.rows = finding.rows.saturating_add(1);
    }
}

/// Checks that each rule's action is one of those that mean something for it.
pub(crate) fn check_actions(
    section: &str,
    rules: &[(&'static str, Action, &[Action])],
    violations: &mut Vec<crate::Violation>,
) {
    for (key, action, allowed) in rules {
        if !allowed.contains(action) {
            let names: Vec<&str> = allowed.iter().map(|action| action.name()).collect();
            violations.push(crate::Violation::new(&format!("{section}.{key}"), action.name(), names.join(", ")));
        }
    }
}
