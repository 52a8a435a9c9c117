//! What the venue does by itself over its day: price bands, the pauses that they bring, and imbalances before crosses.
//!
//! Everything happens at a time of its own, which [`crate::Exchange`] carries out before the first command behind it, so
//! that what a session says does not hang on how often somebody looks. The matching holds the bands; when it says that
//! they alone kept an order from a trade, or when a best price has stood at one of them for as long as a limit state may
//! last, the symbol pauses for as long as the rules say, with the collars of its reopening on the feed. Whoever else halts or
//! reopens a symbol in between is the one who does.

use std::collections::{BTreeSet, VecDeque};

use peregrine_types::{Price, Side, SymbolId, TickTable};

use crate::bands::{BandTier, BandWidth, bands_around, share, width_of};
use crate::config::SymbolConfig;
use crate::orders::{Bands, Command, TimeOfDay};
use crate::rules::SymbolState;
use crate::schedule::{DaySchedule, Phase, Step};
use crate::ticks::PRICE_MAX;
use crate::venue::{TradeSum, Venue};

/// How far a reopening may be from the band that was struck (Nasdaq Equity 4, Rule 4120(c)(10)): 5 %, and 0.15 for
/// prices up to 3.00.
const COLLAR_BPS: u32 = 500;
const COLLAR_CHEAP: i64 = 150_000_000;
const CHEAP_MAX: Price = Price(3_000_000_000);
/// Reason of the pause on the feed (ITCH 5.0, Stock Trading Action).
const PAUSE_REASON: [u8; 4] = *b"LUDP";

/// What bands are set around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandReference {
    /// The price of the opening cross; the previous close where nothing paired in it.
    OpeningCross,
    /// The latest trade, looked at every so often.
    LastTrade,
    /// The price of the opening cross, and then the mean of trades, looked at every so often: what the Limit Up-Limit Down
    /// plan calls the pro-forma reference price (section V.A).
    MeanTrade,
    /// The previous close.
    PreviousClose,
}

/// Price bands from the open to the close, as wide as the tiers say. The price of a reopening is the reference from then
/// on, or the middle of the displayed best prices where nothing paired in it; a latest trade that is looked at takes its
/// place again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandRules {
    /// The reference.
    pub reference: BandReference,
    /// How often the latest trade, or the mean of trades, becomes the reference, where it is one, in nanoseconds of the day,
    /// above 0.
    pub update_ns: u64,
    /// How long a trade counts for the mean, in nanoseconds of the day: a multiple of `update_ns`.
    pub mean_ns: u64,
    /// How far the mean must be from the reference to take its place, in basis points of the reference.
    pub change_bps: u32,
    /// How long a symbol pauses when the bands alone kept an order from a trade, in nanoseconds of the day; 0 for no
    /// pause. One that would last over the close ends directly before it.
    pub pause_ns: u64,
    /// How long a best displayed price may stand at a band, a bid at the upper or an offer at the lower one, before the symbol
    /// pauses, in nanoseconds of the day: the plan's limit state (section VI). The reference stays while it lasts, and an
    /// order that the bands kept from a trade pauses nothing. 0 for no limit states.
    pub limit_state_ns: u64,
    /// How long from the open on widths are doubled that are then, in nanoseconds of the day.
    pub doubled_open_ns: u64,
    /// How long before the close widths are doubled that are then, in nanoseconds of the day.
    pub doubled_close_ns: u64,
}

/// Imbalances before the crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImbalanceRules {
    /// How long before the opening cross they begin, in nanoseconds of the day; 0 for none. Never before orders are taken.
    pub opening_ns: u64,
    /// How long before the closing cross they begin, in nanoseconds of the day; 0 for none.
    pub closing_ns: u64,
    /// Time between two, in nanoseconds of the day, above 0.
    pub interval_ns: u64,
}

/// What a venue does by itself: nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayRules {
    /// Price bands.
    pub bands: Option<BandRules>,
    /// How wide they are; a symbol in none has no bands.
    pub tiers: Vec<BandTier>,
    /// Imbalances.
    pub imbalance: Option<ImbalanceRules>,
}

/// What is due at a time; at the same time in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    BandsBegin,
    BandsUpdate,
    BandsWidth,
    LimitState(SymbolId),
    BandsEnd,
    Reopening(SymbolId),
    Imbalance,
}

/// What is known of a symbol.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// How wide its bands are; `None` for a symbol without.
    width: Option<BandWidth>,
    reference: Price,
    /// Whether it was halted, paused or quoted, and not resumed since.
    is_stopped: bool,
    /// When the pause of its bands ends.
    reopening: Option<TimeOfDay>,
    /// Whose best price stands at a band, and since when.
    limit_state: Option<(Side, TimeOfDay)>,
    /// Whether bands were to be set anew in its limit state.
    is_overdue: bool,
}

/// Carries out the rules of the day: see the module.
#[derive(Debug)]
pub(crate) struct Supervisor {
    bands: Option<BandRules>,
    imbalance: Option<ImbalanceRules>,
    schedule: DaySchedule,
    timers: BTreeSet<(TimeOfDay, Timer)>,
    watched: Vec<Watched>,
    /// By symbol: its trades at every look at the mean since it opened, as far back as they count.
    marks: Vec<VecDeque<TradeSum>>,
    waiting: VecDeque<Command>,
}

impl Supervisor {
    pub(crate) fn new(rules: &DayRules, schedule: DaySchedule, symbols: &[SymbolConfig]) -> Self {
        let watched = |symbol: &SymbolConfig| {
            let reference = symbol.reference_price;
            let width = width_of(&rules.tiers, symbol.name, reference);
            Watched { width, reference, is_stopped: false, reopening: None, limit_state: None, is_overdue: false }
        };
        let watched = symbols.iter().map(watched).collect();
        let mut made = Self {
            bands: rules.bands,
            imbalance: rules.imbalance,
            schedule,
            timers: BTreeSet::new(),
            watched,
            marks: vec![VecDeque::new(); symbols.len()],
            waiting: VecDeque::new(),
        };
        if let Some(bands) = rules.bands {
            let (open, close) = (schedule.time_of(Step::OpenMarket), schedule.time_of(Step::CloseMarket));
            made.timers.insert((open, Timer::BandsBegin));
            made.timers.insert((close, Timer::BandsEnd));
            // In between widths change twice at most.
            let changes = [open.0.saturating_add(bands.doubled_open_ns), doubled_from(&bands, close).0];
            let between = changes.map(TimeOfDay).into_iter().filter(|time| open < *time && *time < close);
            made.timers.extend(between.map(|time| (time, Timer::BandsWidth)));
        }
        made.await_imbalance(schedule.time_of(Step::StartSystem));
        made
    }

    /// When something is due.
    pub(crate) fn next_time(&self) -> Option<TimeOfDay> {
        self.timers.first().map(|(time, _)| *time)
    }

    /// The next command, in the order in which they are to be carried out.
    pub(crate) fn next_command(&mut self) -> Option<Command> {
        self.waiting.pop_front()
    }

    /// Takes the first of what is due at `time`, when the venue stands there.
    pub(crate) fn pass(&mut self, time: TimeOfDay, venue: &Venue) {
        let Some((at, timer)) = self.timers.pop_first() else { return };
        if at > time {
            self.timers.insert((at, timer));
            return;
        }
        match timer {
            Timer::BandsBegin => self.begin(at, venue),
            Timer::BandsUpdate => self.update(at, venue),
            Timer::BandsWidth => self.widen(venue),
            Timer::LimitState(symbol) => self.end_limit_state(symbol, venue),
            Timer::BandsEnd => {
                let lifted = venue.symbol_ids().map(|symbol| Command::SetBands { symbol, bands: None });
                self.waiting.extend(lifted);
            }
            Timer::Reopening(symbol) => {
                if self.watched.get(symbol.index()).is_some_and(|watched| watched.reopening == Some(at)) {
                    self.waiting.push_back(Command::Resume { symbol });
                }
            }
            Timer::Imbalance => {
                self.waiting.extend(venue.symbol_ids().map(|symbol| Command::Imbalance { symbol }));
                self.await_imbalance(TimeOfDay(at.0.saturating_add(1)));
            }
        }
    }

    /// Waits for the first imbalance at or behind `from`.
    fn await_imbalance(&mut self, from: TimeOfDay) {
        let Some(ImbalanceRules { opening_ns, closing_ns, interval_ns }) = self.imbalance else { return };
        let earliest = self.schedule.time_of(Step::StartSystem).0;
        for (step, lead) in [(Step::OpenMarket, opening_ns), (Step::CloseMarket, closing_ns)] {
            let cross = self.schedule.time_of(step).0;
            let begin = cross.saturating_sub(lead).max(earliest);
            let passed = from.0.saturating_sub(begin).div_ceil(interval_ns.max(1));
            let due = begin.saturating_add(passed.saturating_mul(interval_ns.max(1)));
            if due < cross {
                self.timers.insert((TimeOfDay(due), Timer::Imbalance));
                return;
            }
        }
    }

    fn begin(&mut self, at: TimeOfDay, venue: &Venue) {
        let Some(rules) = self.bands else { return };
        for symbol in venue.symbol_ids() {
            let book = &venue.books[symbol.index()];
            let price = match rules.reference {
                BandReference::OpeningCross | BandReference::MeanTrade => book.last_cross,
                BandReference::LastTrade => book.last_trade,
                BandReference::PreviousClose => None,
            };
            self.set_reference(symbol, price, venue);
            self.begin_mean(symbol, venue);
        }
        if matches!(rules.reference, BandReference::LastTrade | BandReference::MeanTrade) {
            self.await_update(at, rules.update_ns);
        }
    }

    /// Trades count for the mean from here on.
    fn begin_mean(&mut self, symbol: SymbolId, venue: &Venue) {
        if let Some(marks) = self.marks.get_mut(symbol.index()) {
            marks.clear();
            marks.push_back(venue.books[symbol.index()].trades);
        }
    }

    /// The mean of the trades that count, where it is far enough from the reference.
    fn mean(&mut self, symbol: SymbolId, rules: &BandRules, venue: &Venue) -> Option<Price> {
        let (marks, trades) = (self.marks.get_mut(symbol.index())?, venue.books[symbol.index()].trades);
        let oldest = *marks.front()?;
        marks.push_back(trades);
        let mark_count_max = usize::try_from(rules.mean_ns / rules.update_ns.max(1)).unwrap_or(usize::MAX);
        while marks.len() > mark_count_max.max(1) {
            marks.pop_front();
        }
        let count = i128::from(trades.count - oldest.count);
        let mean = (trades.price - oldest.price).checked_div_euclid(count)?;
        let reference = i128::from(self.watched.get(symbol.index())?.reference.0);
        let is_far = (mean - reference).abs() * 10_000 >= reference * i128::from(rules.change_bps);
        i64::try_from(mean).ok().map(Price).filter(|_| is_far)
    }

    fn update(&mut self, at: TimeOfDay, venue: &Venue) {
        let Some(rules) = self.bands else { return };
        for symbol in venue.symbol_ids() {
            let book = &venue.books[symbol.index()];
            let price = match rules.reference {
                BandReference::MeanTrade => self.mean(symbol, &rules, venue),
                BandReference::LastTrade | BandReference::OpeningCross | BandReference::PreviousClose => {
                    book.last_trade
                }
            };
            let watched = self.watched[symbol.index()];
            let is_new = price.is_some_and(|price| price != watched.reference);
            if is_new && book.state == SymbolState::Trading && watched.limit_state.is_none() {
                self.set_reference(symbol, price, venue);
            }
        }
        self.await_update(at, rules.update_ns);
    }

    fn await_update(&mut self, at: TimeOfDay, update_ns: u64) {
        let next = TimeOfDay(at.0.saturating_add(update_ns.max(1)));
        if next < self.schedule.time_of(Step::CloseMarket) {
            self.timers.insert((next, Timer::BandsUpdate));
        }
    }

    /// Sets the bands anew that are doubled for a while, around the references that there are: it begins, or ends. A symbol
    /// that does not trade gets its bands when it does.
    fn widen(&mut self, venue: &Venue) {
        for symbol in venue.symbol_ids() {
            let width = self.watched[symbol.index()].width;
            let changes = width.is_some_and(|width| width.is_doubled_at_open || width.is_doubled_at_close);
            if changes && self.watched[symbol.index()].limit_state.is_some() {
                self.watched[symbol.index()].is_overdue = true;
            } else if changes && venue.books[symbol.index()].state == SymbolState::Trading {
                self.set_reference(symbol, None, venue);
            }
        }
    }

    /// Sets bands around a price, or around the reference that there is.
    fn set_reference(&mut self, symbol: SymbolId, price: Option<Price>, venue: &Venue) {
        let Some(rules) = self.bands else { return };
        let watched = &mut self.watched[symbol.index()];
        watched.reference = price.unwrap_or(watched.reference);
        let Some(width) = watched.width else { return };
        let open = self.schedule.time_of(Step::OpenMarket);
        let is_at_open = venue.now.0 < open.0.saturating_add(rules.doubled_open_ns);
        let is_at_close = venue.now >= doubled_from(&rules, self.schedule.time_of(Step::CloseMarket));
        let is_doubled = width.is_doubled_at_open && is_at_open || width.is_doubled_at_close && is_at_close;
        let distance = width.distance(watched.reference, is_doubled);
        let bands = Some(bands_around(watched.reference, distance, &venue.symbols[symbol.index()].ticks));
        self.waiting.push_back(Command::SetBands { symbol, bands });
    }

    /// Looks at what a command did, one of its own or of somebody else's.
    pub(crate) fn on_command(&mut self, command: &Command, is_own: bool, venue: &mut Venue) {
        let Some(rules) = self.bands else { return };
        match *command {
            Command::Halt { symbol, .. } | Command::Pause { symbol, .. } | Command::Quote { symbol } => {
                if let Some(watched) = self.watched.get_mut(symbol.index()) {
                    watched.is_stopped = true;
                    // Its bands are set anew when it opens again.
                    (watched.limit_state, watched.is_overdue) = (None, false);
                    if !is_own {
                        watched.reopening = None;
                    }
                }
            }
            Command::Resume { symbol } => self.on_resume(symbol, venue),
            Command::Clock
            | Command::Enter(_)
            | Command::Replace { .. }
            | Command::Cancel { .. }
            | Command::SetBands { .. }
            | Command::Imbalance { .. }
            | Command::Collars { .. }
            | Command::Break { .. } => {}
        }
        let struck = venue.struck.take().filter(|_| rules.pause_ns > 0 && venue.phase() == Phase::Market);
        if let Some((symbol, side)) = struck.filter(|_| rules.limit_state_ns == 0) {
            self.pause(symbol, side, rules.pause_ns, venue);
        }
        while let Some(symbol) = venue.touched.as_mut().and_then(Vec::pop) {
            self.look_at_limit(symbol, rules.limit_state_ns, venue);
        }
    }

    /// Whether a limit state of a symbol begins, goes on, or ends.
    fn look_at_limit(&mut self, symbol: SymbolId, limit_state_ns: u64, venue: &Venue) {
        let side = self.side_at_limit(symbol, venue);
        let Some(watched) = self.watched.get_mut(symbol.index()) else { return };
        if side == watched.limit_state.map(|(side, _)| side) {
            return;
        }
        watched.limit_state = side.map(|side| (side, venue.now));
        if side.is_some() {
            let end = TimeOfDay(venue.now.0.saturating_add(limit_state_ns));
            self.timers.insert((end, Timer::LimitState(symbol)));
        } else if core::mem::replace(&mut watched.is_overdue, false) && !watched.is_stopped {
            self.set_reference(symbol, None, venue);
        }
    }

    /// Whose best displayed price stands at a band.
    fn side_at_limit(&self, symbol: SymbolId, venue: &Venue) -> Option<Side> {
        let (watched, book) = (self.watched.get(symbol.index())?, &venue.books[symbol.index()]);
        let bands = book.bands.filter(|_| !watched.is_stopped && venue.phase() == Phase::Market)?;
        let best = |side| venue.displayed(symbol, side).next().map(|order| order.price);
        if best(Side::Buy) == Some(bands.upper) {
            Some(Side::Buy)
        } else {
            (best(Side::Sell) == Some(bands.lower)).then_some(Side::Sell)
        }
    }

    /// The time of a limit state is over: whoever is still in it pauses.
    fn end_limit_state(&mut self, symbol: SymbolId, venue: &Venue) {
        let Some(rules) = self.bands else { return };
        let state = self.watched.get(symbol.index()).and_then(|watched| watched.limit_state);
        let is_over = |since: TimeOfDay| venue.now.0 >= since.0.saturating_add(rules.limit_state_ns);
        if let Some((side, _)) = state.filter(|(_, since)| is_over(*since) && venue.phase() == Phase::Market) {
            self.pause(symbol, side, rules.pause_ns, venue);
        }
    }

    /// A symbol trades again: its cross is the reference, or the middle of what is displayed where nothing paired.
    fn on_resume(&mut self, symbol: SymbolId, venue: &Venue) {
        let Some(watched) = self.watched.get_mut(symbol.index()) else { return };
        watched.reopening = None;
        if core::mem::replace(&mut watched.is_stopped, false) && venue.phase() == Phase::Market {
            let price = venue.books[symbol.index()].last_cross.or_else(|| middle(symbol, venue));
            self.set_reference(symbol, price, venue);
            self.begin_mean(symbol, venue);
        }
    }

    /// Pauses a symbol whose upper (for a buy) or lower band was struck.
    fn pause(&mut self, symbol: SymbolId, side: Side, pause_ns: u64, venue: &Venue) {
        let (Some(watched), Some(bands)) = (self.watched.get_mut(symbol.index()), venue.books[symbol.index()].bands)
        else {
            return;
        };
        if watched.is_stopped {
            return;
        }
        let last = self.schedule.time_of(Step::CloseMarket).0.saturating_sub(1);
        let reopening = TimeOfDay(venue.now.0.saturating_add(pause_ns).min(last));
        watched.reopening = Some(reopening);
        self.timers.insert((reopening, Timer::Reopening(symbol)));
        let (reference, collars) = collars_of(side, bands, &venue.symbols[symbol.index()].ticks);
        self.waiting.push_back(Command::Pause { symbol, reason: PAUSE_REASON });
        self.waiting.push_back(Command::Collars { symbol, reference, collars });
        self.waiting.push_back(Command::SetBands { symbol, bands: Some(collars) });
    }
}

/// The middle of the displayed best prices.
fn middle(symbol: SymbolId, venue: &Venue) -> Option<Price> {
    let best = |side| venue.displayed(symbol, side).next().map(|order| order.price.0);
    best(Side::Buy).zip(best(Side::Sell)).map(|(bid, ask)| Price(bid + (ask - bid).div_euclid(2)))
}

/// When widths are doubled from that are before the close.
const fn doubled_from(rules: &BandRules, close: TimeOfDay) -> TimeOfDay {
    TimeOfDay(close.0.saturating_sub(rules.doubled_close_ns))
}

/// The band that was struck, and the collars of the reopening: away from it on its own side, the other band on the other.
fn collars_of(side: Side, bands: Bands, ticks: &TickTable) -> (Price, Bands) {
    let reference = match side {
        Side::Buy => bands.upper,
        Side::Sell => bands.lower,
    };
    let width = if reference <= CHEAP_MAX { COLLAR_CHEAP } else { share(reference, COLLAR_BPS) };
    let collars = match side {
        Side::Buy => {
            let upper = Price(reference.0.saturating_add(width)).min(PRICE_MAX);
            Bands { upper: ticks.down(upper, 0).unwrap_or(reference).max(reference), ..bands }
        }
        Side::Sell => {
            let lower = Price(reference.0.saturating_sub(width));
            Bands { lower: ticks.up(lower, 0).filter(|price| price.0 > 0).unwrap_or(reference).min(reference), ..bands }
        }
    };
    (reference, collars)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn cents(cents: i64) -> Price {
        Price(cents * 10_000_000)
    }

    #[test]
    fn collars_open_to_the_side_that_was_struck() {
        let bands = Bands { lower: cents(950), upper: cents(1_050) };
        let of = |side, bands| collars_of(side, bands, &TickTable::US_EQUITY);
        assert_eq!(of(Side::Buy, bands), (cents(1_050), Bands { lower: cents(950), upper: cents(1_102) }));
        assert_eq!(of(Side::Sell, bands), (cents(950), Bands { lower: cents(903), upper: cents(1_050) }));
        let cheap = Bands { lower: cents(10), upper: cents(300) };
        assert_eq!(of(Side::Buy, cheap).1.upper, cents(315));
        assert_eq!(of(Side::Sell, cheap), (cents(10), cheap), "no price is left below");
    }
}
