//! Writes a sound ITCH 5.0 session: directory and session events around the flow, stamps that never go back, and no message
//! about an order that is not there. Every order is followed, so that what would be unsound is refused here.

mod states;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};

use jiff::civil::Date;
use peregrine_source::{binaryfile, session_midnight};
use peregrine_types::{EpochNanos, Side, Symbol};
use peregrine_wire::itch50::{
    AddOrder, BrokenTrade, CrossTrade, DAY_NS, OrderCancel, OrderDelete, OrderExecuted, OrderExecutedWithPrice,
    OrderReplace, Price4, StockDirectory, SystemEvent, TradeNonCross,
};
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::ConvertError;
use states::Standing;
pub(crate) use states::{NO_REASON, NewImbalance};

/// Where the messages of a session go: a file, or a feed under way.
pub trait MessageSink {
    /// Takes the next message of the session.
    ///
    /// # Errors
    /// What the place says; the session is not whole from then on.
    fn on_message(&mut self, message: &[u8]) -> io::Result<()>;
}

impl<W: Write> MessageSink for binaryfile::Writer<W> {
    fn on_message(&mut self, message: &[u8]) -> io::Result<()> {
        self.write_message(message)
    }
}

/// The trading day and where it begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct Day {
    /// Its date.
    pub date: Date,
    /// Its first moment.
    pub midnight: EpochNanos,
    /// The first moment that is not of the day.
    pub end: EpochNanos,
}

impl Day {
    /// `date` in `zone`, from its midnight to the next one, at most the 24 hours that ITCH can stamp.
    ///
    /// # Errors
    /// [`ConvertError::Zone`] for a zone that is not known, and a day that it does not have.
    pub fn new(date: Date, zone: &str) -> Result<Self, ConvertError> {
        let refuse = || ConvertError::Zone { zone: zone.to_owned(), date };
        let next = date.tomorrow().map_err(|_| refuse())?;
        let midnight = session_midnight(date, zone).map_err(|_| refuse())?;
        let next = session_midnight(next, zone).map_err(|_| refuse())?;
        let last = EpochNanos(midnight.0.saturating_add_unsigned(DAY_NS));
        Ok(Self { date, midnight, end: next.min(last) })
    }
}

/// Where a moment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the day's midnight.
    Before,
    /// In the day.
    Within,
    /// Behind its end.
    After,
}

/// An instrument of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name.
    pub symbol: Symbol,
    /// Shares in a round lot.
    pub round_lot: u32,
    /// The trading state that it begins the session with (ITCH 5.0, Stock Trading Action).
    pub state: u8,
}

/// A displayed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The locate of its instrument.
    pub locate: u16,
    /// Its side.
    pub side: Side,
    /// Shares that are left.
    pub qty: u32,
    /// Price in 10⁻⁴.
    pub price: u32,
    /// Orders of a smaller number joined the book earlier.
    pub rank: u64,
}

/// An order to add.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder {
    /// The locate of its instrument.
    pub locate: u16,
    /// Its side.
    pub side: Side,
    /// Shares, above 0.
    pub qty: u32,
    /// Price in 10⁻⁴, above 0.
    pub price: u32,
}

/// A print that leaves the displayed book alone.
#[derive(Clone, Copy, Debug)]
pub struct Print {
    /// The locate of its instrument.
    pub locate: u16,
    /// Side of the resting order.
    pub side: Side,
    /// Shares.
    pub qty: u32,
    /// Price in 10⁻⁴.
    pub price: u32,
}

/// A session on its way into a file, or onto the lines of a feed.
pub struct Session<S: MessageSink> {
    out: S,
    day: Day,
    instruments: Vec<Instrument>,
    /// What holds for each instrument.
    standings: Vec<Standing>,
    live: HashMap<u64, Live>,
    /// The references of each instrument's orders, by locate.
    refs: HashMap<u16, HashSet<u64>>,
    counts: BTreeMap<char, u64>,
    rank_last: u64,
    match_last: u64,
    /// Nanoseconds since midnight of the messages to come.
    stamp: u64,
    span: Option<(EpochNanos, EpochNanos)>,
    is_open: bool,
}

impl<S: MessageSink> Session<S> {
    /// A session of `instruments`, whose locate codes are 1, 2, … in their order.
    ///
    /// # Errors
    /// [`ConvertError::Instruments`] for more than there are locate codes.
    pub fn new(out: S, day: Day, instruments: Vec<Instrument>) -> Result<Self, ConvertError> {
        if instruments.len() > usize::from(u16::MAX) {
            return Err(ConvertError::Instruments(instruments.len()));
        }
        Ok(Self {
            out,
            day,
            standings: instruments.iter().map(|instrument| Standing::new(instrument.state)).collect(),
            instruments,
            live: HashMap::new(),
            refs: HashMap::new(),
            counts: BTreeMap::new(),
            rank_last: 0,
            match_last: 0,
            stamp: 0,
            span: None,
            is_open: false,
        })
    }

    /// Lets time come to `time`, which is never before an earlier one. The first moment within the day begins the
    /// session; until then orders are followed and nothing is written.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn at(&mut self, time: EpochNanos) -> Result<Phase, ConvertError> {
        if time >= self.day.end {
            return Ok(Phase::After);
        }
        let Ok(stamp) = u64::try_from(time.since(self.day.midnight).0) else { return Ok(Phase::Before) };
        self.stamp = self.stamp.max(stamp);
        let first = self.span.map_or(time, |(first, _)| first);
        self.span = Some((first, time.max(first)));
        if !self.is_open {
            self.open()?;
        }
        Ok(Phase::Within)
    }

    /// Where its messages go.
    pub const fn out(&mut self) -> &mut S {
        &mut self.out
    }

    /// The order of this reference.
    #[must_use]
    pub fn live(&self, order_ref: u64) -> Option<Live> {
        self.live.get(&order_ref).copied()
    }

    /// First and last moment of the flow.
    #[must_use]
    pub const fn span(&self) -> Option<(EpochNanos, EpochNanos)> {
        self.span
    }

    /// The day that it is of.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// An order joins the book.
    ///
    /// # Errors
    /// [`ConvertError::Fault`] for what no sound session has, [`ConvertError::Write`].
    pub fn add(&mut self, order_ref: u64, order: NewOrder) -> Result<(), ConvertError> {
        if self.live.contains_key(&order_ref) || order.qty == 0 || order.price == 0 {
            return Err(ConvertError::Fault("an order added twice, or of nothing"));
        }
        let NewOrder { locate, side, qty, price } = order;
        self.rank_last = self.rank_last.saturating_add(1);
        self.insert(order_ref, Live { locate, side, qty, price, rank: self.rank_last });
        let message = self.add_message(order_ref, order);
        self.write(&message)
    }

    /// An order is executed at its price.
    ///
    /// # Errors
    /// [`ConvertError::Fault`] for what no sound session has, [`ConvertError::Write`].
    pub fn execute(&mut self, order_ref: u64, qty: u32) -> Result<(), ConvertError> {
        let order = self.reduce(order_ref, qty)?;
        let match_number = self.next_match();
        let mut message = OrderExecuted::new(order.locate, self.stamp);
        message.order_ref = U64::new(order_ref);
        message.executed_shares = U32::new(qty);
        message.match_number = match_number;
        self.write(&message)
    }

    /// An order is executed at another price, or without a print.
    ///
    /// # Errors
    /// [`ConvertError::Fault`] for what no sound session has, [`ConvertError::Write`].
    pub fn execute_at(
        &mut self,
        order_ref: u64,
        qty: u32,
        (price, is_printable): (u32, bool),
    ) -> Result<(), ConvertError> {
        let order = self.reduce(order_ref, qty)?;
        let match_number = self.next_match();
        let mut message = OrderExecutedWithPrice::new(order.locate, self.stamp);
        message.order_ref = U64::new(order_ref);
        message.executed_shares = U32::new(qty);
        message.match_number = match_number;
        message.printable = if is_printable { b'Y' } else { b'N' };
        message.execution_price = Price4::new(price);
        self.write(&message)
    }

    /// An order shrinks by `qty`, which is less than it has, and keeps its place.
    ///
    /// # Errors
    /// [`ConvertError::Fault`] for what no sound session has, [`ConvertError::Write`].
    pub fn cancel(&mut self, order_ref: u64, qty: u32) -> Result<(), ConvertError> {
        if self.live(order_ref).is_some_and(|order| order.qty == qty) {
            return self.delete(order_ref);
        }
        let order = self.reduce(order_ref, qty)?;
        let mut message = OrderCancel::new(order.locate, self.stamp);
        message.order_ref = U64::new(order_ref);
        message.cancelled_shares = U32::new(qty);
        self.write(&message)
    }

    /// An order leaves the book.
    ///
    /// # Errors
    /// [`ConvertError::Fault`] for what no sound session has, [`ConvertError::Write`].
    pub fn delete(&mut self, order_ref: u64) -> Result<(), ConvertError> {
        let order = self.remove(order_ref).ok_or(ConvertError::Fault("a delete of no order"))?;
        let mut message = OrderDelete::new(order.locate, self.stamp);
        message.order_ref = U64::new(order_ref);
        self.write(&message)
    }

    /// An order takes the place of another, behind all others of its price.
    ///
    /// # Errors
    /// [`ConvertError::Fault`] for what no sound session has, [`ConvertError::Write`].
    pub fn replace(&mut self, order_ref: u64, new_ref: u64, (qty, price): (u32, u32)) -> Result<(), ConvertError> {
        let old = self.remove(order_ref).ok_or(ConvertError::Fault("a replacement of no order"))?;
        if self.live.contains_key(&new_ref) || qty == 0 || price == 0 {
            return Err(ConvertError::Fault("a replacement by an order that is there, or of nothing"));
        }
        self.rank_last = self.rank_last.saturating_add(1);
        self.insert(new_ref, Live { qty, price, rank: self.rank_last, ..old });
        let mut message = OrderReplace::new(old.locate, self.stamp);
        message.original_order_ref = U64::new(order_ref);
        message.new_order_ref = U64::new(new_ref);
        message.shares = U32::new(qty);
        message.price = Price4::new(price);
        self.write(&message)
    }

    /// Every order of an instrument leaves the book, the oldest first. Returns how many.
    ///
    /// # Errors
    /// [`ConvertError::Fault`] for what no sound session has, [`ConvertError::Write`].
    pub fn clear(&mut self, locate: u16) -> Result<usize, ConvertError> {
        let refs = self.refs.remove(&locate).unwrap_or_default();
        let orders = self.standing(refs.iter());
        for (order_ref, _) in &orders {
            self.delete(*order_ref)?;
        }
        Ok(orders.len())
    }

    /// A trade that no displayed order took part in: its match number, `None` for one of nothing.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn trade(&mut self, print: Print) -> Result<Option<u64>, ConvertError> {
        if print.qty == 0 {
            return Ok(None);
        }
        let match_number = self.next_match();
        let mut message = TradeNonCross::new(print.locate, self.stamp);
        message.side = side_code(print.side);
        message.shares = U32::new(print.qty);
        message.stock = self.symbol(print.locate);
        message.price = Price4::new(print.price);
        message.match_number = match_number;
        self.write(&message)?;
        Ok(Some(match_number.get()))
    }

    /// A print that was told is not to count.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn broken(&mut self, locate: u16, match_number: u64) -> Result<(), ConvertError> {
        let mut message = BrokenTrade::new(locate, self.stamp);
        message.match_number = U64::new(match_number);
        self.write(&message)
    }

    /// The print of an auction. `cross_type` is `O`, `C` or `H`.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn cross(&mut self, print: Print, cross_type: u8) -> Result<(), ConvertError> {
        let match_number = self.next_match();
        let mut message = CrossTrade::new(print.locate, self.stamp);
        message.shares = U64::new(u64::from(print.qty));
        message.stock = self.symbol(print.locate);
        message.cross_price = Price4::new(print.price);
        message.match_number = match_number;
        message.cross_type = cross_type;
        self.write(&message)
    }

    /// Ends the session and gives back how many messages of each type it has, and where they went.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn finish(mut self) -> Result<(BTreeMap<char, u64>, S), ConvertError> {
        self.end()?;
        Ok((self.counts, self.out))
    }

    /// Writes the last steps of the day.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn end(&mut self) -> Result<(), ConvertError> {
        if !self.is_open {
            self.open()?;
        }
        (*b"MEC").into_iter().try_for_each(|code| self.system_event(code))
    }

    /// The session as it stands, for whoever joins late: the latest step of the day, directory and trading state of every
    /// instrument, then the orders, the oldest first. Nothing before it began.
    pub fn snapshot(&self, on_message: &mut impl FnMut(&[u8])) {
        if !self.is_open {
            return;
        }
        let mut step = SystemEvent::new(0, self.stamp);
        step.event_code = b'Q';
        on_message(step.as_bytes());
        for (locate, instrument) in (1_u16..).zip(&self.instruments) {
            on_message(self.directory_message(locate, *instrument).as_bytes());
            self.state_snapshot(locate, on_message);
        }
        for (order_ref, Live { locate, side, qty, price, .. }) in self.standing(self.live.keys()) {
            on_message(self.add_message(order_ref, NewOrder { locate, side, qty, price }).as_bytes());
        }
    }

    /// System events O, directory, trading states, system events S and Q, and the orders that stand already.
    fn open(&mut self) -> Result<(), ConvertError> {
        self.is_open = true;
        self.system_event(b'O')?;
        for (locate, instrument) in (1_u16..).zip(self.instruments.clone()) {
            let message = self.directory_message(locate, instrument);
            self.write(&message)?;
            self.open_state(locate)?;
        }
        self.system_event(b'S')?;
        self.system_event(b'Q')?;
        for (order_ref, Live { locate, side, qty, price, .. }) in self.standing(self.live.keys()) {
            let message = self.add_message(order_ref, NewOrder { locate, side, qty, price });
            self.write(&message)?;
        }
        Ok(())
    }

    fn directory_message(&self, locate: u16, instrument: Instrument) -> StockDirectory {
        let mut message = StockDirectory::new(locate, self.stamp);
        message.stock = instrument.symbol;
        message.market_category = b' ';
        message.financial_status = b'N';
        message.round_lot_size = U32::new(instrument.round_lot);
        message.round_lots_only = b'N';
        message.issue_classification = b'C';
        message.issue_subtype = *b"Z ";
        message.authenticity = b'P';
        message.short_sale_threshold = b' ';
        message.ipo_flag = b' ';
        message.luld_tier = b' ';
        message.etp_flag = b' ';
        message.inverse_indicator = b'N';
        message
    }

    /// The orders of these references, the oldest first.
    fn standing<'a>(&'a self, refs: impl Iterator<Item = &'a u64>) -> Vec<(u64, Live)> {
        let mut orders: Vec<(u64, Live)> =
            refs.filter_map(|order_ref| Some((*order_ref, *self.live.get(order_ref)?))).collect();
        orders.sort_unstable_by_key(|(_, order)| order.rank);
        orders
    }

    fn insert(&mut self, order_ref: u64, order: Live) {
        self.live.insert(order_ref, order);
        self.refs.entry(order.locate).or_default().insert(order_ref);
    }

    fn remove(&mut self, order_ref: u64) -> Option<Live> {
        let order = self.live.remove(&order_ref)?;
        if let Some(refs) = self.refs.get_mut(&order.locate) {
            refs.remove(&order_ref);
        }
        Some(order)
    }

    fn reduce(&mut self, order_ref: u64, qty: u32) -> Result<Live, ConvertError> {
        const FAULT: ConvertError = ConvertError::Fault("a reduction by nothing, of no order, or by more than it has");
        let order = self.live.get_mut(&order_ref).ok_or(FAULT)?;
        let before = *order;
        match before.qty.checked_sub(qty) {
            None => return Err(FAULT),
            Some(_) if qty == 0 => return Err(FAULT),
            Some(0) => {
                self.remove(order_ref);
            }
            Some(left) => order.qty = left,
        }
        Ok(before)
    }

    fn add_message(&self, order_ref: u64, order: NewOrder) -> AddOrder {
        let mut message = AddOrder::new(order.locate, self.stamp);
        message.order_ref = U64::new(order_ref);
        message.side = side_code(order.side);
        message.shares = U32::new(order.qty);
        message.stock = self.symbol(order.locate);
        message.price = Price4::new(order.price);
        message
    }

    fn system_event(&mut self, code: u8) -> Result<(), ConvertError> {
        let mut message = SystemEvent::new(0, self.stamp);
        message.event_code = code;
        self.write(&message)
    }

    fn symbol(&self, locate: u16) -> Symbol {
        let index = usize::from(locate).checked_sub(1);
        index.and_then(|index| self.instruments.get(index)).map_or(Symbol([b' '; 8]), |instrument| instrument.symbol)
    }

    fn next_match(&mut self) -> U64 {
        self.match_last = self.match_last.saturating_add(1);
        U64::new(self.match_last)
    }

    fn write(&mut self, message: &(impl IntoBytes + Immutable)) -> Result<(), ConvertError> {
        if !self.is_open {
            return Ok(());
        }
        let bytes = message.as_bytes();
        let code = bytes.first().copied().map_or('?', char::from);
        let count = self.counts.entry(code).or_insert(0);
        *count = count.saturating_add(1);
        self.out.on_message(bytes).map_err(ConvertError::Write)
    }
}

const fn side_code(side: Side) -> u8 {
    match side {
        Side::Buy => b'B',
        Side::Sell => b'S',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session<binaryfile::Writer<Vec<u8>>> {
        let day = Day::new(jiff::civil::date(2024, 8, 8), "UTC").unwrap();
        let instrument = Instrument { symbol: Symbol::new("ACME").unwrap(), round_lot: 1, state: b'T' };
        Session::new(binaryfile::Writer::new(Vec::new()), day, vec![instrument]).unwrap()
    }

    const ORDER: NewOrder = NewOrder { locate: 1, side: Side::Buy, qty: 10, price: 5 };

    #[test]
    fn what_stands_before_midnight_is_written_at_the_first_moment_of_the_day_in_its_order() {
        let mut session = session();
        let midnight = session.day().midnight;
        assert_eq!(session.at(EpochNanos(midnight.0 - 1)).unwrap(), Phase::Before);
        session.add(9, ORDER).unwrap();
        session.add(3, ORDER).unwrap();
        session.add(5, ORDER).unwrap();
        session.execute(9, 4).unwrap();
        session.delete(3).unwrap();
        assert!(session.counts.is_empty());
        assert_eq!(session.at(midnight).unwrap(), Phase::Within);
        assert_eq!(session.at(EpochNanos(midnight.0 + 86_400_000_000_000)).unwrap(), Phase::After);
        assert_eq!(session.counts[&'A'], 2);
        let (_, out) = session.finish().unwrap();
        let bytes = out.finish().unwrap();
        let adds: Vec<&[u8]> = bytes.windows(38).filter(|bytes| bytes.starts_with(&[0, 36, b'A'])).collect();
        assert_eq!((adds[0][20], adds[0][25]), (9, 6), "the older order first, with what is left of it");
        assert_eq!((adds[1][20], adds[1][25]), (5, 10));
        assert!(bytes.ends_with(&[b'C', 0, 0]));
    }

    #[test]
    fn nothing_unsound_is_written() {
        let mut session = session();
        session.at(session.day().midnight).unwrap();
        session.add(1, ORDER).unwrap();
        assert!(session.add(1, ORDER).is_err());
        assert!(session.add(2, NewOrder { qty: 0, ..ORDER }).is_err());
        assert!(session.add(2, NewOrder { price: 0, ..ORDER }).is_err());
        assert!(session.execute(1, 11).is_err());
        assert!(session.execute(1, 0).is_err());
        assert!(session.execute(2, 1).is_err());
        assert!(session.delete(2).is_err());
        assert!(session.replace(2, 3, (1, 1)).is_err());
        session.cancel(1, 10).unwrap();
        assert_eq!(session.live(1), None, "a cancel of everything is a delete");
        assert_eq!(session.counts[&'D'], 1);
    }
}
