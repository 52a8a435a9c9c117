//! From a vendor's updates to an ITCH 5.0 session: the rules, and the count of everything that they had to decide.
//!
//! | what the vendor says | what the feed says |
//! |---|---|
//! | best bid or ask | one order for each side: `A`; `U` for another price or more shares, `X` for fewer, `D` for none |
//! | rows of the depth | one order for each price: as above (`LevelBook`) |
//! | trade | `P`, side `B` |
//! | cancel or correction of a trade | `B` for the print, where it is remembered |
//! | trading state | `H` |
//! | nothing for `stale_after`, a lost connection | `D` for every order of the symbol, of all symbols |
//!
//! | what does not fit | rule |
//! |---|---|
//! | bid at or above the ask | both sides are empty until the next quote |
//! | price or size of zero | the side is empty; a trade is dropped |
//! | price finer than 0.0001 | bids down, asks up, so that no quote is better than it was; trades to the nearest |
//! | price above 429,496.7295 | the side is empty; a trade is dropped |
//! | part of a share | dropped; what is less than a share is zero |
//! | more than 4,294,967,295 shares | that many |
//! | time ahead of our clock, or behind an earlier message's | our clock's; the earlier one's: stamps never go back |

use std::collections::{HashMap, VecDeque};

use peregrine_convert::{
    ConvertError, Day, Instrument, Level, LevelBook, MessageSink, NewOrder, Phase, Print, References, Session,
};
use peregrine_types::{EpochNanos, Nanos, Side, Symbol};

use crate::update::{Amount, TradeId, Update, What};

/// 10⁻⁹ in one step of ITCH's `Price (4)`.
const PRICE4_STEP: i64 = 100_000;
/// 10⁻⁹ in one of the vendor's units.
const UNIT: i64 = 1_000_000_000;
/// Trades that can still be taken back.
pub const TRADES_REMEMBERED_MAX: usize = 1 << 16;

/// In which unit a vendor counts sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeUnit {
    /// Shares.
    Shares,
    /// Round lots of the symbol.
    RoundLots,
}

/// An instrument of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeskInstrument {
    /// Its name on the feed.
    pub symbol: Symbol,
    /// Shares in a round lot.
    pub round_lot: u32,
}

/// What the desk goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskConfig {
    /// The instruments, in the order of the vendor's session.
    pub instruments: Vec<DeskInstrument>,
    /// The unit of sizes of quotes and depth.
    pub quote_size_unit: SizeUnit,
    /// The unit of sizes of trades.
    pub trade_size_unit: SizeUnit,
    /// Silence about a symbol behind which its quotes go.
    pub stale_after: Nanos,
    /// Whether symbols are said to trade before the vendor says anything about it; else they are halted until then.
    pub is_trading_at_start: bool,
}

/// What the desk had to decide: the table in the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeskCounters {
    /// Quotes, depth rows, trades and states that were taken.
    pub update_count: u64,
    /// Quotes whose bid equals the ask.
    pub locked_count: u64,
    /// Quotes whose bid is above the ask.
    pub crossed_count: u64,
    /// Sides of quotes that are empty.
    pub empty_side_count: u64,
    /// Prices finer than 0.0001.
    pub fine_price_count: u64,
    /// Prices that ITCH has no room for.
    pub unwritable_price_count: u64,
    /// Sizes with a part of a share.
    pub fractional_count: u64,
    /// Sizes that ITCH has no room for.
    pub large_size_count: u64,
    /// Trades without a whole share or without a price.
    pub dropped_trade_count: u64,
    /// Trades that were told.
    pub trade_count: u64,
    /// Trades that were taken back.
    pub broken_count: u64,
    /// Trades that were to be taken back, and are not remembered.
    pub unknown_broken_count: u64,
    /// Trading states that were told.
    pub state_count: u64,
    /// States without a word for them.
    pub unmapped_state_count: u64,
    /// Times ahead of our clock.
    pub ahead_count: u64,
    /// Times behind an earlier message's.
    pub late_count: u64,
    /// How often a symbol's quotes went because nothing was heard of it.
    pub stale_count: u64,
    /// How often all quotes went with the connection.
    pub outage_count: u64,
    /// Updates behind the end of the day.
    pub after_day_count: u64,
}

/// A best quote that stands, as one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    order_ref: u64,
    price: u32,
    qty: u32,
}

/// What stands of a symbol.
#[derive(Debug)]
struct Book {
    bid: Option<Standing>,
    ask: Option<Standing>,
    levels: LevelBook,
    heard: Option<EpochNanos>,
}

/// See the module.
pub struct Desk<S: MessageSink> {
    config: DeskConfig,
    session: Session<S>,
    references: References,
    books: Vec<Book>,
    prints: HashMap<(usize, TradeId), u64>,
    /// The remembered trades, the oldest first.
    remembered: VecDeque<(usize, TradeId)>,
    counters: DeskCounters,
    stamp_last: EpochNanos,
}

/// The locate of an instrument: its place and 1.
fn locate_of(instrument: usize) -> u16 {
    u16::try_from(instrument.saturating_add(1)).unwrap_or(u16::MAX)
}

impl<S: MessageSink> Desk<S> {
    /// A day's session; its head is written with the first call of [`Desk::begin`].
    ///
    /// # Errors
    /// [`ConvertError::Instruments`].
    pub fn new(config: DeskConfig, day: Day, out: S) -> Result<Self, ConvertError> {
        let state = if config.is_trading_at_start { b'T' } else { b'H' };
        let listed = config.instruments.iter();
        let listed: Vec<_> =
            listed.map(|&DeskInstrument { symbol, round_lot }| Instrument { symbol, round_lot, state }).collect();
        let books = (0..listed.len()).map(|instrument| Book {
            bid: None,
            ask: None,
            levels: LevelBook::new(locate_of(instrument)),
            heard: None,
        });
        Ok(Self {
            books: books.collect(),
            session: Session::new(out, day, listed)?,
            config,
            references: References::default(),
            prints: HashMap::new(),
            remembered: VecDeque::new(),
            counters: DeskCounters::default(),
            stamp_last: day.midnight,
        })
    }

    /// Writes the head of the session: steps of the day, directory, trading states.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn begin(&mut self, now: EpochNanos) -> Result<(), ConvertError> {
        self.stamp(None, now).map(|_| ())
    }

    /// Where the messages go.
    pub const fn out(&mut self) -> &mut S {
        self.session.out()
    }

    /// The session as it stands, for whoever joins late.
    pub fn snapshot(&self, on_message: &mut impl FnMut(&[u8])) {
        self.session.snapshot(on_message);
    }

    /// What it had to decide.
    #[must_use]
    pub const fn counters(&self) -> DeskCounters {
        self.counters
    }

    /// The day that the session is of.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.session.day()
    }

    /// Tells one update that was received at `now`.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn apply(&mut self, now: EpochNanos, update: Update) -> Result<(), ConvertError> {
        let Update { instrument, time, what } = update;
        if self.books.get(instrument).is_none() {
            return Ok(());
        }
        if self.stamp(time, now)? == Phase::After {
            self.counters.after_day_count = self.counters.after_day_count.saturating_add(1);
            return Ok(());
        }
        self.counters.update_count = self.counters.update_count.saturating_add(1);
        if let Some(book) = self.books.get_mut(instrument) {
            book.heard = Some(now);
        }
        match what {
            What::Quote { bid, ask } => self.quote(instrument, bid, ask),
            What::Trade { id, amount } => self.trade(instrument, id, amount),
            What::Broken { id } => self.broken(instrument, id),
            What::State { state, reason } => {
                self.counters.state_count = self.counters.state_count.saturating_add(1);
                self.session.trading_state(locate_of(instrument), state.code(), four_letters(&reason))
            }
            What::UnmappedState => {
                self.counters.unmapped_state_count = self.counters.unmapped_state_count.saturating_add(1);
                Ok(())
            }
            What::Depth { bids, asks } => self.depth(instrument, [(Side::Buy, bids), (Side::Sell, asks)]),
        }
    }

    /// The connection is lost: what it told is not known to be true any more, so that every quote goes.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn lose(&mut self, now: EpochNanos) -> Result<(), ConvertError> {
        self.counters.outage_count = self.counters.outage_count.saturating_add(1);
        self.stamp(None, now)?;
        (0..self.books.len()).try_for_each(|instrument| self.clear(instrument))
    }

    /// Symbols of which nothing was heard for too long lose their quotes.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn poll(&mut self, now: EpochNanos) -> Result<(), ConvertError> {
        for instrument in 0..self.books.len() {
            let Some(book) = self.books.get(instrument) else { continue };
            let is_silent = book.heard.is_none_or(|heard| now.since(heard) >= self.config.stale_after);
            if is_silent && book.stands() {
                self.counters.stale_count = self.counters.stale_count.saturating_add(1);
                self.stamp(None, now)?;
                self.clear(instrument)?;
            }
        }
        Ok(())
    }

    /// Ends the session: the last steps of the day.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn end(&mut self, now: EpochNanos) -> Result<(), ConvertError> {
        self.stamp(None, now)?;
        (0..self.books.len()).try_for_each(|instrument| self.clear(instrument))?;
        self.session.end()
    }

    /// Lets the session's time come to a message's: the vendor's time, not ahead of `now` and not behind an earlier one.
    fn stamp(&mut self, time: Option<EpochNanos>, now: EpochNanos) -> Result<Phase, ConvertError> {
        let told = time.unwrap_or(now);
        self.counters.ahead_count = self.counters.ahead_count.saturating_add(u64::from(told > now));
        self.counters.late_count =
            self.counters.late_count.saturating_add(u64::from(time.is_some() && told < self.stamp_last));
        self.stamp_last = told.min(now).max(self.stamp_last);
        self.session.at(self.stamp_last)
    }

    fn clear(&mut self, instrument: usize) -> Result<(), ConvertError> {
        let Some(book) = self.books.get_mut(instrument) else { return Ok(()) };
        (book.bid, book.ask) = (None, None);
        // Takes every order of the symbol off the feed, best quotes too.
        book.levels.clear(&mut self.session)
    }

    fn quote(&mut self, instrument: usize, bid: Amount, ask: Amount) -> Result<(), ConvertError> {
        let (mut bid, mut ask) = (self.side(instrument, Side::Buy, bid), self.side(instrument, Side::Sell, ask));
        if let (Some((low, _)), Some((high, _))) = (bid, ask)
            && low >= high
        {
            let count = if low == high { &mut self.counters.locked_count } else { &mut self.counters.crossed_count };
            *count = count.saturating_add(1);
            (bid, ask) = (None, None);
        }
        // The side that makes room goes first, so that the book is never crossed in between.
        let standing_ask = self.books.get(instrument).and_then(|book| book.ask);
        let meets = bid.zip(standing_ask).is_some_and(|((price, _), standing)| price >= standing.price);
        if meets {
            self.set(instrument, Side::Sell, ask)?;
            self.set(instrument, Side::Buy, bid)
        } else {
            self.set(instrument, Side::Buy, bid)?;
            self.set(instrument, Side::Sell, ask)
        }
    }

    /// Lets the best quote of a side be so: price in 10⁻⁴ and shares, both above 0.
    fn set(&mut self, instrument: usize, side: Side, quote: Option<(u32, u32)>) -> Result<(), ConvertError> {
        let locate = locate_of(instrument);
        let Some(book) = self.books.get_mut(instrument) else { return Ok(()) };
        let standing = match side {
            Side::Buy => &mut book.bid,
            Side::Sell => &mut book.ask,
        };
        let (before, session) = (*standing, &mut self.session);
        match (before, quote) {
            (None, None) => Ok(()),
            (Some(old), None) => {
                *standing = None;
                session.delete(old.order_ref)
            }
            (None, Some((price, qty))) => {
                let order_ref = self.references.next();
                *standing = Some(Standing { order_ref, price, qty });
                session.add(order_ref, NewOrder { locate, side, qty, price })
            }
            (Some(old), Some((price, qty))) if (old.price, old.qty) == (price, qty) => Ok(()),
            (Some(old), Some((price, qty))) if old.price == price && qty < old.qty => {
                *standing = Some(Standing { qty, ..old });
                session.cancel(old.order_ref, old.qty.saturating_sub(qty))
            }
            (Some(old), Some((price, qty))) => {
                let order_ref = self.references.next();
                *standing = Some(Standing { order_ref, price, qty });
                session.replace(old.order_ref, order_ref, (qty, price))
            }
        }
    }

    /// Lets the levels be what the rows say.
    fn depth(&mut self, instrument: usize, sides: [(Side, Vec<Amount>); 2]) -> Result<(), ConvertError> {
        let mut wanted: Vec<Level> = Vec::new();
        for (side, rows) in sides {
            let mut levels: Vec<Level> = Vec::with_capacity(rows.len());
            for row in rows {
                let Some((price, qty)) = self.side(instrument, side, row) else { continue };
                match levels.iter_mut().find(|level| level.price == price) {
                    Some(level) => level.qty = level.qty.saturating_add(qty),
                    None => levels.push(Level { side, price, qty }),
                }
            }
            wanted.append(&mut levels);
        }
        let best = |side: Side| wanted.iter().filter(move |level| level.side == side).map(|level| level.price);
        if let (Some(bid), Some(ask)) = (best(Side::Buy).max(), best(Side::Sell).min())
            && bid >= ask
        {
            let count = if bid == ask { &mut self.counters.locked_count } else { &mut self.counters.crossed_count };
            *count = count.saturating_add(1);
            wanted.clear();
        }
        let Some(book) = self.books.get_mut(instrument) else { return Ok(()) };
        let gone = book
            .levels
            .levels()
            .filter(|level| !wanted.iter().any(|other| (other.side, other.price) == (level.side, level.price)));
        let mut changes: Vec<Level> = gone.map(|level| Level { qty: 0, ..level }).collect();
        changes.append(&mut wanted);
        book.levels.set(&mut self.session, &mut self.references, &changes).map(|_| ())
    }

    fn trade(&mut self, instrument: usize, id: Option<TradeId>, amount: Amount) -> Result<(), ConvertError> {
        let price = self.price(amount.price, Rounding::Nearest);
        let qty = self.shares(amount.size, self.lot(instrument, self.config.trade_size_unit));
        let (Some(price), true) = (price, qty > 0) else {
            self.counters.dropped_trade_count = self.counters.dropped_trade_count.saturating_add(1);
            return Ok(());
        };
        let print = Print { locate: locate_of(instrument), side: Side::Buy, qty, price };
        let told = self.session.trade(print)?;
        self.counters.trade_count = self.counters.trade_count.saturating_add(1);
        if let (Some(match_number), Some(id)) = (told, id) {
            self.remember((instrument, id), match_number);
        }
        Ok(())
    }

    fn remember(&mut self, name: (usize, TradeId), match_number: u64) {
        if self.remembered.len() >= TRADES_REMEMBERED_MAX
            && let Some(oldest) = self.remembered.pop_front()
        {
            self.prints.remove(&oldest);
        }
        if self.prints.insert(name.clone(), match_number).is_none() {
            self.remembered.push_back(name);
        }
    }

    fn broken(&mut self, instrument: usize, id: TradeId) -> Result<(), ConvertError> {
        let name = (instrument, id);
        let Some(match_number) = self.prints.remove(&name) else {
            self.counters.unknown_broken_count = self.counters.unknown_broken_count.saturating_add(1);
            return Ok(());
        };
        self.remembered.retain(|other| *other != name);
        self.counters.broken_count = self.counters.broken_count.saturating_add(1);
        self.session.broken(locate_of(instrument), match_number)
    }

    /// Price in 10⁻⁴ and shares of a side, `None` where it is empty.
    fn side(&mut self, instrument: usize, side: Side, amount: Amount) -> Option<(u32, u32)> {
        let rounding = match side {
            Side::Buy => Rounding::Down,
            Side::Sell => Rounding::Up,
        };
        let lot = self.lot(instrument, self.config.quote_size_unit);
        if amount.price == 0 || amount.size == 0 {
            self.counters.empty_side_count = self.counters.empty_side_count.saturating_add(1);
            return None;
        }
        let (price, qty) = (self.price(amount.price, rounding)?, self.shares(amount.size, lot));
        (qty > 0).then_some((price, qty))
    }

    /// Shares in one unit of a size.
    fn lot(&self, instrument: usize, unit: SizeUnit) -> u32 {
        match unit {
            SizeUnit::Shares => 1,
            SizeUnit::RoundLots => self.config.instruments.get(instrument).map_or(1, |listed| listed.round_lot),
        }
    }

    /// A price in 10⁻⁹ as `Price (4)`; `None` where it has no room.
    fn price(&mut self, nanos: i64, rounding: Rounding) -> Option<u32> {
        let rest = nanos.rem_euclid(PRICE4_STEP);
        self.counters.fine_price_count = self.counters.fine_price_count.saturating_add(u64::from(rest != 0));
        let down = nanos.div_euclid(PRICE4_STEP);
        let is_up = match rounding {
            Rounding::Down => false,
            Rounding::Up => rest > 0,
            Rounding::Nearest => rest >= PRICE4_STEP / 2,
        };
        let steps = u32::try_from(down.saturating_add(i64::from(is_up))).ok().filter(|steps| *steps > 0);
        if steps.is_none() {
            self.counters.unwritable_price_count = self.counters.unwritable_price_count.saturating_add(1);
        }
        steps
    }

    /// A size in 10⁻⁹ of `lot` shares each as whole shares.
    fn shares(&mut self, nanos: i64, lot: u32) -> u32 {
        let nanos = i128::from(nanos) * i128::from(lot);
        let (whole, part) = (nanos / i128::from(UNIT), nanos % i128::from(UNIT));
        self.counters.fractional_count = self.counters.fractional_count.saturating_add(u64::from(part != 0));
        u32::try_from(whole).unwrap_or_else(|_| {
            self.counters.large_size_count = self.counters.large_size_count.saturating_add(1);
            u32::MAX
        })
    }
}

impl Book {
    fn stands(&self) -> bool {
        self.bid.is_some() || self.ask.is_some() || self.levels.best().iter().any(Option::is_some)
    }
}

/// Where a price goes that is finer than a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    Down,
    Up,
    Nearest,
}

/// The first four characters of a reason, as ITCH has them: ASCII, padded with spaces.
fn four_letters(reason: &str) -> [u8; 4] {
    let mut letters = *b"    ";
    let known = reason.bytes().filter(|byte| (b' '..=b'~').contains(byte));
    letters.iter_mut().zip(known).for_each(|(letter, byte)| *letter = byte);
    letters
}

#[cfg(test)]
mod tests;
