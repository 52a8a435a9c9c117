//! One symbol's book, update by update.

use std::collections::VecDeque;
use std::io::Write;

use super::line::{Depth, Snapshot, Ticker};
use crate::desk::Desk;
use crate::levels::{BestLevel, LevelBook, LevelChange, References};
use crate::{ConvertError, Finding, Place, TickerCheck};

/// Updates that are kept while a snapshot is awaited; older ones are dropped.
const PENDING_COUNT_MAX: usize = 1 << 16;
/// Best bids and asks that are kept until the book has come to their number.
const TICKER_COUNT_MAX: usize = 1 << 16;

/// How far a book is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No snapshot tells it.
    Waiting,
    /// A snapshot told it up to this number; no update followed yet.
    Told(u64),
    /// Updates told it up to this number.
    InStep(u64),
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Market {
    book: LevelBook,
    state: State,
    pending: VecDeque<(Depth, Place)>,
    tickers: VecDeque<(Ticker, Place)>,
    check: TickerCheck,
    has_updates: bool,
    was_told: bool,
}

/// What is to be done with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Apply,
    /// The book holds it already.
    Old,
    /// Updates are missing before it.
    Gap,
}

/// Whether an update follows on a book. The rules are the exchange's: futures name the update before (`pu`), spot counts on.
/// An update that holds a snapshot's number is the first one to apply, and futures count it in.
const fn verdict(state: State, depth: &Depth) -> Verdict {
    match (state, depth.before) {
        (State::Waiting, _) => Verdict::Gap,
        (State::Told(last), Some(before)) => {
            if depth.last < last {
                Verdict::Old
            } else if before <= last {
                Verdict::Apply
            } else {
                Verdict::Gap
            }
        }
        (State::InStep(last), Some(before)) => {
            if depth.last <= last {
                Verdict::Old
            } else if before == last {
                Verdict::Apply
            } else {
                Verdict::Gap
            }
        }
        (State::Told(last), None) => {
            if depth.last <= last {
                Verdict::Old
            } else if depth.first <= last.saturating_add(1) {
                Verdict::Apply
            } else {
                Verdict::Gap
            }
        }
        (State::InStep(last), None) => {
            if depth.last <= last {
                Verdict::Old
            } else if depth.first == last.saturating_add(1) {
                Verdict::Apply
            } else {
                Verdict::Gap
            }
        }
    }
}

impl Market {
    pub(super) const fn new(locate: u16) -> Self {
        Self {
            book: LevelBook::new(locate),
            state: State::Waiting,
            pending: VecDeque::new(),
            tickers: VecDeque::new(),
            check: TickerCheck { compared: 0, equal: 0 },
            has_updates: false,
            was_told: false,
        }
    }

    pub(super) const fn locate(&self) -> u16 {
        self.book.locate()
    }

    pub(super) const fn check(&self) -> TickerCheck {
        self.check
    }

    /// An update.
    pub(super) fn on_depth<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        references: &mut References,
        (depth, place): (Depth, Place),
    ) -> Result<(), ConvertError> {
        self.has_updates = true;
        if self.state == State::Waiting {
            return self.keep(desk, depth, place);
        }
        let numbers = || format!("updates {} to {}, before it {:?}", depth.first, depth.last, depth.before);
        match verdict(self.state, &depth) {
            Verdict::Old => desk.find(Finding::OlderThanSnapshot, place, numbers),
            Verdict::Apply => {
                self.book.apply(desk, references, &depth.levels, place)?;
                self.state = State::InStep(depth.last);
                self.hold_against_tickers(desk, depth.last)
            }
            Verdict::Gap => {
                let (finding, last) = match self.state {
                    State::InStep(last) => (Finding::SequenceGap, last),
                    State::Told(last) => (Finding::SnapshotTooOld, last),
                    State::Waiting => (Finding::BeforeSnapshot, 0),
                };
                desk.find(finding, place, || format!("{}; the book is at {last}", numbers()))?;
                self.book.clear(&mut desk.session)?;
                self.state = State::Waiting;
                self.keep(desk, depth, place)
            }
        }
    }

    /// Keeps an update until a snapshot comes.
    fn keep<W: Write>(&mut self, desk: &mut Desk<W>, depth: Depth, place: Place) -> Result<(), ConvertError> {
        self.pending.push_back((depth, place));
        if self.pending.len() <= PENDING_COUNT_MAX {
            return Ok(());
        }
        let Some((oldest, place)) = self.pending.pop_front() else { return Ok(()) };
        desk.find(Finding::BeforeSnapshot, place, || format!("update {}", oldest.last))
    }

    /// The whole book.
    pub(super) fn on_snapshot<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        references: &mut References,
        (snapshot, place): (Snapshot, Place),
    ) -> Result<(), ConvertError> {
        if self.state != State::Waiting {
            return desk.find(Finding::SnapshotUnneeded, place, || format!("of update {}", snapshot.last));
        }
        self.was_told = true;
        self.book.apply(desk, references, &snapshot.levels, place)?;
        self.state = State::Told(snapshot.last);
        self.hold_against_tickers(desk, snapshot.last)?;
        for update in core::mem::take(&mut self.pending) {
            self.on_depth(desk, references, update)?;
        }
        Ok(())
    }

    /// The exchange's own best bid and ask.
    pub(super) fn on_ticker<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        (ticker, place): (Ticker, Place),
    ) -> Result<(), ConvertError> {
        match self.state {
            State::Told(last) | State::InStep(last) if ticker.update == last => self.compare(desk, &ticker, place),
            State::Told(last) | State::InStep(last) if ticker.update < last => Ok(()),
            State::Waiting | State::Told(_) | State::InStep(_) => {
                self.tickers.push_back((ticker, place));
                if self.tickers.len() > TICKER_COUNT_MAX {
                    self.tickers.pop_front();
                }
                Ok(())
            }
        }
    }

    /// Holds the book, which has come to `last`, against what was said of it.
    fn hold_against_tickers<W: Write>(&mut self, desk: &mut Desk<W>, last: u64) -> Result<(), ConvertError> {
        while self.tickers.front().is_some_and(|(ticker, _)| ticker.update <= last) {
            let Some((ticker, place)) = self.tickers.pop_front() else { break };
            if ticker.update == last {
                self.compare(desk, &ticker, place)?;
            }
        }
        Ok(())
    }

    fn compare<W: Write>(&mut self, desk: &mut Desk<W>, ticker: &Ticker, place: Place) -> Result<(), ConvertError> {
        let mut theirs = [None, None];
        for (level, place_of) in [&ticker.bid, &ticker.ask].into_iter().zip(&mut theirs) {
            *place_of = best_level(desk, level, place)?;
        }
        self.check.compared = self.check.compared.saturating_add(1);
        let ours = self.book.best();
        if ours == theirs {
            self.check.equal = self.check.equal.saturating_add(1);
            return Ok(());
        }
        desk.find(Finding::TickerDiffers, place, || {
            format!("update {}: ours {ours:?}, theirs {theirs:?}", ticker.update)
        })
    }

    /// The file has ended.
    pub(super) fn finish<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        symbol: &str,
        end: Place,
    ) -> Result<(), ConvertError> {
        if self.has_updates && !self.was_told {
            desk.find(Finding::SnapshotMissing, end, || symbol.to_owned())?;
        }
        for (depth, place) in core::mem::take(&mut self.pending) {
            desk.find(Finding::BeforeSnapshot, place, || format!("update {}", depth.last))?;
        }
        Ok(())
    }
}

/// A level of a ticker in the session's units; none where it has no quantity.
fn best_level<W: Write>(
    desk: &mut Desk<W>,
    level: &LevelChange,
    place: Place,
) -> Result<Option<BestLevel>, ConvertError> {
    if level.qty == 0 {
        return Ok(None);
    }
    let price = desk.scale.price4(level.price, place)?;
    let qty = desk.lot.lots(level.qty, place, &mut desk.findings)?;
    Ok(Some(BestLevel { price, qty }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::line::{Event, parse};

    fn depth(first: u64, last: u64, before: Option<u64>) -> Depth {
        let before = before.map_or_else(String::new, |before| format!(r#","pu":{before}"#));
        let line =
            format!(r#"1 {{"data":{{"e":"depthUpdate","s":"X","U":{first},"u":{last}{before},"b":[],"a":[]}}}}"#);
        let Event::Depth(depth) = parse(line.as_bytes()).unwrap().1 else { panic!("{line}") };
        depth
    }

    #[test]
    fn updates_follow_by_the_rules_of_futures_and_of_spot() {
        use Verdict::{Apply, Gap, Old};
        // The snapshot holds everything up to 100.
        let told = State::Told(100);
        for (first, last, before, expected) in [
            (90, 99, Some(89), Old),
            (90, 100, Some(89), Apply),
            (95, 105, Some(94), Apply),
            (103, 105, Some(100), Apply),
            (103, 105, Some(101), Gap),
            (90, 100, None, Old),
            (95, 105, None, Apply),
            (101, 105, None, Apply),
            (102, 105, None, Gap),
        ] {
            assert_eq!(verdict(told, &depth(first, last, before)), expected, "{first} {last} {before:?}");
        }
        let state = State::InStep(100);
        for (first, last, before, expected) in [
            (107, 109, Some(100), Apply),
            (101, 109, Some(99), Gap),
            (107, 109, Some(106), Gap),
            (90, 100, Some(89), Old),
            (101, 109, None, Apply),
            (102, 109, None, Gap),
            (99, 109, None, Gap),
            (99, 100, None, Old),
        ] {
            assert_eq!(verdict(state, &depth(first, last, before)), expected, "{first} {last} {before:?}");
        }
    }
}
