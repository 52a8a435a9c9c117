//! What every converter has at hand: the session that is written, the clock, the units, the counts and the findings.

use std::collections::BTreeMap;
use std::io::Write;

use peregrine_source::binaryfile::Writer;

use crate::findings::Findings;
use crate::scale::{Lot, PriceScale};
use crate::session::{Day, Instrument, Phase, Session};
use crate::time::{Clock, Times};
use crate::{ConvertError, Finding, Place, Plan};

/// See the file's head.
pub(crate) struct Desk<W: Write> {
    pub(crate) session: Session<Writer<W>>,
    pub(crate) clock: Clock,
    pub(crate) scale: PriceScale,
    pub(crate) lot: Lot,
    pub(crate) findings: Findings,
    pub(crate) rows: BTreeMap<String, u64>,
}

impl<W: Write> Desk<W> {
    pub(crate) fn new(
        plan: &Plan,
        day: Day,
        (instruments, lot): (Vec<Instrument>, Lot),
        findings: Findings,
        out: W,
    ) -> Result<Self, ConvertError> {
        Ok(Self {
            session: Session::new(Writer::new(out), day, instruments)?,
            clock: Clock::new(plan.stamp, plan.clock_bound),
            scale: plan.price_scale,
            lot,
            findings,
            rows: BTreeMap::new(),
        })
    }

    /// Counts one row of a kind.
    pub(crate) fn count(&mut self, kind: &str) {
        match self.rows.get_mut(kind) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.rows.insert(kind.to_owned(), 1);
            }
        }
    }

    /// Says that something was found.
    pub(crate) fn find(
        &mut self,
        finding: Finding,
        place: Place,
        detail: impl FnOnce() -> String,
    ) -> Result<(), ConvertError> {
        self.findings.add(finding, place, detail)
    }

    /// Lets the session's time come to a row's. Whether the row counts: `None` means that it lies past the day or has no
    /// time, which is said.
    pub(crate) fn at(&mut self, times: Times, place: Place) -> Result<Option<Phase>, ConvertError> {
        let day = self.session.day();
        let Some(time) = self.clock.stamp((times, day.end), place, &mut self.findings)? else { return Ok(None) };
        let phase = self.session.at(time)?;
        let distance = || format!("{} ns from the midnight of {}", time.since(day.midnight).0, day.date);
        match phase {
            Phase::Within => {}
            Phase::Before => self.findings.add(Finding::BeforeSession, place, distance)?,
            Phase::After => {
                self.findings.add(Finding::AfterSession, place, distance)?;
                return Ok(None);
            }
        }
        Ok(Some(phase))
    }
}
