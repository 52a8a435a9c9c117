//! Own fills held against the venue's drop copy, fill by fill.
//!
//! | difference | named |
//! |---|---|
//! | the copy has a fill that we do not have | when we had 4/5 of the deadline to hear of it |
//! | we have a fill that the copy does not have | when the copy had 4/5 of the deadline to tell it |
//! | quantity, price, side or symbol differ | at once |
//! | the copy tells the same fill twice, and not as a repetition | at once |
//! | the copy breaks a trade that it never told | at once |
//! | only one side has broken a trade | as a missing fill |
//! | a report cannot be read, or was malformed | at once |
//! | the copy was never there, or was not read to its end | at the end |
//! | more fills than there is room for | at once: from then on nothing is known |
//!
//! A fill is known by our order's number (ClOrdID) and the venue's match number. Waiting counts only while the side that
//! should speak can: from the moment at which its session stands and has nothing left to repeat.

use std::collections::{BTreeMap, VecDeque};

use peregrine_types::{Decimal, EpochNanos, MatchNumber, Nanos, OrderId, Price, Qty, Side, Symbol};

use super::message::FieldError;
use super::orders::{ExecType, ExecutionReport};
use super::value::parse_number;

/// One fill, as either side has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedFill {
    /// Our order.
    pub order_id: OrderId,
    /// The venue's number of the fill.
    pub match_number: MatchNumber,
    /// Instrument.
    pub symbol: Symbol,
    /// Side of our order.
    pub side: Side,
    /// Shares.
    pub qty: Qty,
    /// Price.
    pub price: Price,
}

/// What our order session tells the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnEvent {
    /// A fill was booked.
    Fill(CopiedFill),
    /// A broken trade was booked.
    Bust(OrderId, MatchNumber),
    /// Whether everything that the venue has said to us so far is booked: the order session stands and repeats nothing.
    Live(bool),
}

/// What differs between two fills with the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillField {
    /// Shares.
    Qty,
    /// Price.
    Price,
    /// Side.
    Side,
    /// Instrument.
    Symbol,
}

/// A difference between our fills and the venue's copy of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// The copy has a fill that we do not have.
    MissingHere(CopiedFill),
    /// We have a fill that the copy does not have.
    MissingThere(CopiedFill),
    /// The two have other terms.
    Differs {
        /// The first field that does.
        field: FillField,
        /// What we have.
        here: CopiedFill,
        /// What the copy has.
        there: CopiedFill,
    },
    /// The copy told the fill twice.
    ToldTwice(CopiedFill),
    /// The copy breaks a trade that it never told.
    UnknownBust(OrderId, MatchNumber),
    /// The copy broke the trade, and we did not hear of it.
    BustMissingHere(CopiedFill),
    /// We broke the trade, and the copy did not.
    BustMissingThere(CopiedFill),
    /// A report that cannot be read as a fill.
    Unreadable(FieldError),
    /// There is no room for more fills.
    Full,
    /// The copy never stood: nothing was held against anything.
    NeverRead,
    /// The copy was gone before the end: what it told after that, if anything, was not held against anything.
    EndMissing,
}

impl core::fmt::Display for CopiedFill {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let symbol = core::str::from_utf8(&self.symbol.0).unwrap_or("?").trim_end();
        let price = Decimal::new(i128::from(self.price.0));
        let Self { order_id, match_number, side, qty, .. } = self;
        write!(f, "order {} match {}: {} {} {symbol} at {price:.2}", order_id.0, match_number.0, side.letter(), qty.0)
    }
}

impl core::fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::MissingHere(fill) => write!(f, "fill missing here, the venue has {fill}"),
            Self::MissingThere(fill) => write!(f, "fill missing at the venue, we have {fill}"),
            Self::Differs { field, here, there } => {
                write!(f, "{field:?} differs: we have {here}; the venue has {there}")
            }
            Self::ToldTwice(fill) => write!(f, "fill told twice by the venue: {fill}"),
            Self::UnknownBust(order_id, match_number) => {
                write!(f, "bust unknown: order {} match {} was never told", order_id.0, match_number.0)
            }
            Self::BustMissingHere(fill) => write!(f, "bust missing here, the venue broke {fill}"),
            Self::BustMissingThere(fill) => write!(f, "bust missing at the venue, we broke {fill}"),
            Self::Unreadable(error) => write!(f, "report unreadable: {error}"),
            Self::Full => write!(f, "no room for more fills: nothing is checked any more"),
            Self::NeverRead => write!(f, "the drop copy was never read: nothing is checked"),
            Self::EndMissing => {
                write!(f, "the drop copy was not read to its end: what the venue told after it was lost is not checked")
            }
        }
    }
}

/// A difference, and how long it took to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What.
    pub discrepancy: Discrepancy,
    /// From the first sign of it, or from when the other side could speak, to now.
    pub after: Nanos,
}

impl core::fmt::Display for Found {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (found after {} ms)", self.discrepancy, self.after.0.checked_div(1_000_000).unwrap_or(0))
    }
}

/// What the check counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyCounters {
    /// Fills of ours.
    pub own_count: u64,
    /// Fills of the copy, repetitions left out.
    pub copied_count: u64,
    /// Fills that both have, with the same terms.
    pub equal_count: u64,
    /// Broken trades that both have.
    pub bust_count: u64,
    /// Repetitions of the copy.
    pub repeated_count: u64,
    /// Reports that are no fills.
    pub other_count: u64,
    /// Differences.
    pub found_count: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Half {
    fill: Option<CopiedFill>,
    is_busted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    here: Half,
    there: Half,
    since: EpochNanos,
    is_pending: bool,
}

type Key = (OrderId, MatchNumber);

/// The check: see the module. Not for the hot path: it allocates up to its capacity.
#[derive(Debug)]
pub struct CopyCheck {
    patience: Nanos,
    fill_count_max: usize,
    entries: BTreeMap<Key, Entry>,
    pending: VecDeque<Key>,
    here_since: Option<EpochNanos>,
    here_gone: Option<EpochNanos>,
    there_since: Option<EpochNanos>,
    counters: CopyCounters,
    is_full: bool,
    /// Whether the copy stood at some time.
    was_read: bool,
}

impl CopyCheck {
    /// A check that names what is missing before `deadline` is over, for `fill_count_max` fills of a day.
    #[must_use]
    pub const fn new(deadline: Nanos, fill_count_max: usize) -> Self {
        Self {
            patience: Nanos(deadline.0.saturating_mul(4).saturating_div(5)),
            fill_count_max,
            entries: BTreeMap::new(),
            pending: VecDeque::new(),
            here_since: None,
            here_gone: None,
            there_since: None,
            counters: CopyCounters {
                own_count: 0,
                copied_count: 0,
                equal_count: 0,
                bust_count: 0,
                repeated_count: 0,
                other_count: 0,
                found_count: 0,
            },
            is_full: false,
            was_read: false,
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> CopyCounters {
        self.counters
    }

    /// Fills and busts that one side has and the other has not, and that are not named yet.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Our order session spoke.
    pub fn on_own(&mut self, event: OwnEvent, now: EpochNanos, on_found: &mut impl FnMut(Found)) {
        match event {
            OwnEvent::Live(false) => (self.here_since, self.here_gone) = (None, self.here_gone.or(Some(now))),
            OwnEvent::Live(true) => (self.here_since, self.here_gone) = (self.here_since.or(Some(now)), None),
            OwnEvent::Fill(fill) => {
                self.counters.own_count = self.counters.own_count.saturating_add(1);
                let Some(entry) = self.entry((fill.order_id, fill.match_number), now, on_found) else { return };
                entry.here.fill = Some(fill);
                self.compare((fill.order_id, fill.match_number), now, on_found);
            }
            OwnEvent::Bust(order_id, match_number) => {
                let Some(entry) = self.entry((order_id, match_number), now, on_found) else { return };
                entry.here.is_busted = true;
                entry.since = now;
                self.compare((order_id, match_number), now, on_found);
            }
        }
    }

    /// When our order session said that it does not stand any more; `None` while it stands, or said nothing.
    #[must_use]
    pub const fn own_gone_at(&self) -> Option<EpochNanos> {
        self.here_gone
    }

    /// Whether a fill that the copy does not tell counts as missing after a while.
    #[must_use]
    pub const fn is_copy_live(&self) -> bool {
        self.there_since.is_some()
    }

    /// The copy's session stands and has nothing left to repeat, or not. Called for each repetition, it starts the waiting
    /// anew.
    pub const fn set_copy_live(&mut self, is_live: bool, now: EpochNanos) {
        self.there_since = if is_live { Some(now) } else { None };
        self.was_read |= is_live;
    }

    /// The copy told of an order. `is_repeated`: by its flags (PossDup, PossResend) it may have been told before.
    pub fn on_report(
        &mut self,
        report: &ExecutionReport<'_>,
        is_repeated: bool,
        now: EpochNanos,
        on_found: &mut impl FnMut(Found),
    ) -> bool {
        let is_fill = matches!(report.exec_type, ExecType::Trade | ExecType::PartialFill | ExecType::Fill);
        let is_change = matches!(report.exec_type, ExecType::TradeCancel | ExecType::TradeCorrect);
        if !is_fill && !is_change {
            self.counters.other_count = self.counters.other_count.saturating_add(1);
            return true;
        }
        let Some(fill) = fill_of(report) else { return false };
        let key = (fill.order_id, fill.match_number);
        let known = self.entries.get(&key).and_then(|entry| entry.there.fill);
        match (report.exec_type, known) {
            (ExecType::TradeCancel, None) => {
                self.found(Discrepancy::UnknownBust(key.0, key.1), Nanos::ZERO, on_found);
                return true;
            }
            (ExecType::TradeCancel, Some(known))
                if self.entries.get(&key).is_some_and(|entry| entry.there.is_busted) =>
            {
                if is_repeated {
                    self.counters.repeated_count = self.counters.repeated_count.saturating_add(1);
                } else {
                    self.found(Discrepancy::ToldTwice(known), Nanos::ZERO, on_found);
                }
                return true;
            }
            (ExecType::TradeCancel, Some(_)) => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.there.is_busted = true;
                    entry.since = now;
                }
            }
            (ExecType::TradeCorrect, _) | (_, None) => {
                if known.is_none() {
                    self.counters.copied_count = self.counters.copied_count.saturating_add(1);
                }
                let Some(entry) = self.entry(key, now, on_found) else { return true };
                entry.there.fill = Some(fill);
            }
            (_, Some(known)) if known == fill && is_repeated => {
                self.counters.repeated_count = self.counters.repeated_count.saturating_add(1);
                return true;
            }
            (_, Some(known)) if known == fill => {
                self.found(Discrepancy::ToldTwice(fill), Nanos::ZERO, on_found);
                return true;
            }
            (_, Some(known)) => {
                let field = difference(&known, &fill).unwrap_or(FillField::Qty);
                self.found(Discrepancy::Differs { field, here: known, there: fill }, Nanos::ZERO, on_found);
                return true;
            }
        }
        self.compare(key, now, on_found);
        true
    }

    /// A report could not be read.
    pub fn on_unreadable(&mut self, error: FieldError, on_found: &mut impl FnMut(Found)) {
        self.found(Discrepancy::Unreadable(error), Nanos::ZERO, on_found);
    }

    /// Lets time pass: who had time to speak and did not is named.
    pub fn poll(&mut self, now: EpochNanos, on_found: &mut impl FnMut(Found)) {
        self.judge(now, self.patience, on_found);
    }

    /// The day is over and both sides had their time: whatever is pending is named, and a copy that never stood or was not
    /// read to its end.
    pub fn finish(&mut self, now: EpochNanos, is_read_to_end: bool, on_found: &mut impl FnMut(Found)) {
        if !self.was_read {
            self.found(Discrepancy::NeverRead, Nanos::ZERO, on_found);
        } else if !is_read_to_end {
            self.found(Discrepancy::EndMissing, Nanos::ZERO, on_found);
        }
        let start = EpochNanos::MIN;
        (self.here_since, self.there_since) = (self.here_since.or(Some(start)), self.there_since.or(Some(start)));
        self.judge(now, Nanos(i64::MIN), on_found);
    }

    fn judge(&mut self, now: EpochNanos, patience: Nanos, on_found: &mut impl FnMut(Found)) {
        for _ in 0..self.pending.len() {
            let Some(key) = self.pending.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let Some((discrepancy, is_here)) = missing_of(entry) else {
                entry.is_pending = false;
                continue;
            };
            let live_since = if is_here { self.here_since } else { self.there_since };
            let waited = live_since.map(|since| now.since(since.max(entry.since)));
            match waited {
                Some(waited) if waited >= patience => {
                    entry.is_pending = false;
                    self.found(discrepancy, waited, on_found);
                }
                Some(_) | None => self.pending.push_back(key),
            }
        }
    }

    /// The entry of a fill, made if there is room.
    fn entry(&mut self, key: Key, now: EpochNanos, on_found: &mut impl FnMut(Found)) -> Option<&mut Entry> {
        if self.entries.len() >= self.fill_count_max && !self.entries.contains_key(&key) {
            if !core::mem::replace(&mut self.is_full, true) {
                self.found(Discrepancy::Full, Nanos::ZERO, on_found);
            }
            return None;
        }
        let fresh = Entry { here: Half::default(), there: Half::default(), since: now, is_pending: false };
        Some(self.entries.entry(key).or_insert(fresh))
    }

    fn compare(&mut self, key: Key, now: EpochNanos, on_found: &mut impl FnMut(Found)) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let (since, is_busted) = (entry.since, entry.here.is_busted || entry.there.is_busted);
        if missing_of(entry).is_some() {
            if !core::mem::replace(&mut entry.is_pending, true) {
                self.pending.push_back(key);
            }
            return;
        }
        let (Some(here), Some(there)) = (entry.here.fill, entry.there.fill) else { return };
        match difference(&here, &there) {
            Some(field) => self.found(Discrepancy::Differs { field, here, there }, now.since(since), on_found),
            None if is_busted => self.counters.bust_count = self.counters.bust_count.saturating_add(1),
            None => self.counters.equal_count = self.counters.equal_count.saturating_add(1),
        }
    }

    fn found(&mut self, discrepancy: Discrepancy, after: Nanos, on_found: &mut impl FnMut(Found)) {
        self.counters.found_count = self.counters.found_count.saturating_add(1);
        on_found(Found { discrepancy, after });
    }
}

/// What one side has and the other has not, and whether it is we who have not.
fn missing_of(entry: &Entry) -> Option<(Discrepancy, bool)> {
    match (entry.here.fill, entry.there.fill) {
        (None, Some(there)) => Some((Discrepancy::MissingHere(there), true)),
        (Some(here), None) => Some((Discrepancy::MissingThere(here), false)),
        (Some(here), Some(there)) => match (entry.here.is_busted, entry.there.is_busted) {
            (false, true) => Some((Discrepancy::BustMissingHere(there), true)),
            (true, false) => Some((Discrepancy::BustMissingThere(here), false)),
            (true, true) | (false, false) => None,
        },
        (None, None) => None,
    }
}

fn difference(here: &CopiedFill, there: &CopiedFill) -> Option<FillField> {
    [
        (here.qty != there.qty, FillField::Qty),
        (here.price != there.price, FillField::Price),
        (here.side != there.side, FillField::Side),
        (here.symbol != there.symbol, FillField::Symbol),
    ]
    .into_iter()
    .find_map(|(is_other, field)| is_other.then_some(field))
}

/// The fill that a report is about; `None` when it names none of ours.
fn fill_of(report: &ExecutionReport<'_>) -> Option<CopiedFill> {
    Some(CopiedFill {
        order_id: report.cl_ord_id.and_then(|name| parse_number(name.as_bytes())).map(OrderId)?,
        match_number: report.match_number()?,
        symbol: Symbol::new(report.symbol)?,
        side: report.side.side(),
        qty: report.last_qty?,
        price: report.last_price?,
    })
}
