//! What a check says: a value, the threshold it is held against, an outcome, and the reason in words.

use serde::Serialize;

/// How a check ended. Ordered: the overall verdict is the worst.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Not proven, or not as good as it should be; a person should look.
    Warn,
    /// Not fit for use.
    Fail,
}

impl Outcome {
    /// `pass`, `warn` or `fail`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// Pass when it holds, else what is given.
    pub(crate) fn unless(holds: bool, otherwise: Self) -> Self {
        if holds { Self::Pass } else { otherwise }
    }
}

/// A figure with its confidence interval; NaN (null in JSON) where it is not defined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Point estimate on all rows that were kept.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { value: f64::NAN, low: f64::NAN, high: f64::NAN };

    /// `0.123 [0.100, 0.150]`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} [{}, {}]", figure(self.value), figure(self.low), figure(self.high))
    }
}

/// A number as people read it: whole, or about four significant digits; `–` when it is not defined.
#[must_use]
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let size = value.abs();
    if size.fract() == 0.0 && size < 1e7 {
        // Negative zero loses its sign.
        format!("{:.0}", value + 0.0)
    } else if size < 1e-3 {
        format!("{value:.2e}")
    } else if size < 10.0 {
        format!("{value:.3}")
    } else if size < 1e3 {
        format!("{value:.1}")
    } else if size < 1e7 {
        format!("{value:.0}")
    } else {
        format!("{value:.3e}")
    }
}

/// A share as percent.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "–".to_owned() }
}

/// The part of the model or the row of the requirements that a check belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Level 0: the artefact's parts.
    Component,
    /// Level 1: what the latent space knows of the data.
    Latent,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Stable name, such as `reconstruction_r2`.
    pub id: &'static str,
    /// Level 0 or 1.
    pub level: Level,
    /// Row of the requirements, such as `A2.1`; empty for Level 0.
    pub row: &'static str,
    /// The question in words.
    pub question: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// The figure that decided, on held-out data where there is one; NaN (null) for a check without a figure.
    pub value: f64,
    /// The threshold as text, such as `≥ 0.5 passes, < 0.2 fails`.
    pub threshold: String,
    /// Why, in words a person understands, with the figures.
    pub reason: String,
}

/// A check's fixed part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) id: &'static str,
    pub(crate) level: Level,
    pub(crate) row: &'static str,
    pub(crate) text: &'static str,
}

impl Question {
    pub(crate) const fn component(id: &'static str, text: &'static str) -> Self {
        Self { id, level: Level::Component, row: "", text }
    }

    pub(crate) const fn latent(id: &'static str, row: &'static str, text: &'static str) -> Self {
        Self { id, level: Level::Latent, row, text }
    }

    pub(crate) fn answer(self, outcome: Outcome, value: f64, threshold: String, reason: String) -> Check {
        Check { id: self.id, level: self.level, row: self.row, question: self.text, outcome, value, threshold, reason }
    }
}

/// Pass at or above `pass`, fail below `fail`, warn between; fail when the value is not defined.
pub(crate) fn at_least(value: f64, pass: f64, fail: f64) -> (Outcome, String) {
    let outcome = if value >= pass {
        Outcome::Pass
    } else if value >= fail {
        Outcome::Warn
    } else {
        Outcome::Fail
    };
    (outcome, format!("≥ {pass} passes, < {fail} fails"))
}

/// Pass at or below `pass`, fail above `fail`, warn between; fail when the value is not defined.
pub(crate) fn at_most(value: f64, pass: f64, fail: f64) -> (Outcome, String) {
    let outcome = if value <= pass {
        Outcome::Pass
    } else if value <= fail {
        Outcome::Warn
    } else {
        Outcome::Fail
    };
    (outcome, format!("≤ {pass} passes, > {fail} fails"))
}

/// Pass when the whole interval lies above `bound`, fail when the whole lies below, warn when it holds the bound or is not
/// defined.
pub(crate) fn above(estimate: &Estimate, bound: f64) -> (Outcome, String) {
    let outcome = if estimate.low > bound {
        Outcome::Pass
    } else if estimate.high < bound {
        Outcome::Fail
    } else {
        Outcome::Warn
    };
    (outcome, format!("whole interval above {bound} passes, below fails"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_defined_never_passes() {
        assert_eq!(at_least(f64::NAN, 0.5, 0.2).0, Outcome::Fail);
        assert_eq!(at_most(f64::NAN, 0.5, 0.8).0, Outcome::Fail);
        assert_eq!(above(&Estimate::UNKNOWN, 0.0).0, Outcome::Warn);
    }

    #[test]
    fn marks_hold_at_their_values() {
        let cases = [(0.5, Outcome::Pass), (0.499, Outcome::Warn), (0.2, Outcome::Warn), (0.199, Outcome::Fail)];
        for (value, outcome) in cases {
            assert_eq!(at_least(value, 0.5, 0.2).0, outcome);
        }
        let cases = [(0.05, Outcome::Pass), (0.051, Outcome::Warn), (0.1, Outcome::Warn), (0.101, Outcome::Fail)];
        for (value, outcome) in cases {
            assert_eq!(at_most(value, 0.05, 0.1).0, outcome);
        }
        let between = |low, high| above(&Estimate { value: 0.0, low, high }, 0.0).0;
        assert_eq!(
            [between(0.1, 0.2), between(-0.1, 0.2), between(-0.2, -0.1)],
            [Outcome::Pass, Outcome::Warn, Outcome::Fail]
        );
    }

    #[test]
    fn figures_read_well() {
        let cases = [
            (0.0, "0"),
            (-12.0, "-12"),
            (1.23e-5, "1.23e-5"),
            (0.123_456, "0.123"),
            (12.34, "12.3"),
            (12_345.6, "12346"),
            (f64::NAN, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(figure(value), text);
        }
    }
}
