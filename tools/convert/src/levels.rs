//! Books of price levels as sessions of orders: one order stands for each level.
//!
//! | level | ITCH 5.0 |
//! |---|---|
//! | new | `A` |
//! | quantity grown | `U`: a new reference |
//! | quantity shrunk | `X` |
//! | gone | `D` |
//!
//! Of one update what shrinks and goes is written first, so that the book is not crossed on the way if it is not crossed
//! before and behind the update. Who stands where in the queue of a level is not known: queue positions mean nothing.

use std::collections::BTreeMap;
use std::io::Write;

use peregrine_types::Side;

use crate::desk::Desk;
use crate::session::{MessageSink, NewOrder, Session};
use crate::{ConvertError, Finding, Place};

/// A level as an update tells it: the quantity that it has now, 0 when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LevelChange {
    pub(crate) side: Side,
    /// In 10⁻⁹ of the source's unit.
    pub(crate) price: i64,
    /// In 10⁻⁹ of the source's unit.
    pub(crate) qty: i64,
}

/// A level in the session's units: the quantity that it has now, 0 when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Its side.
    pub side: Side,
    /// Price in 10⁻⁴.
    pub price: u32,
    /// Lots.
    pub qty: u32,
}

/// A best level in the session's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BestLevel {
    /// Price in 10⁻⁴.
    pub price: u32,
    /// Lots.
    pub qty: u32,
}

#[derive(Clone, Copy, Debug)]
struct LevelOrder {
    order_ref: u64,
    qty: u32,
}

/// References of orders that stand for levels, for all books of a session.
#[derive(Debug, Default)]
pub struct References(u64);

impl References {
    /// References from `first` on.
    pub(crate) const fn starting(first: u64) -> Self {
        Self(first.saturating_sub(1))
    }

    /// One that was never given out.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }
}

/// The levels of one instrument.
#[derive(Debug)]
pub struct LevelBook {
    locate: u16,
    bids: BTreeMap<u32, LevelOrder>,
    asks: BTreeMap<u32, LevelOrder>,
}

impl LevelBook {
    /// An empty book.
    #[must_use]
    pub const fn new(locate: u16) -> Self {
        Self { locate, bids: BTreeMap::new(), asks: BTreeMap::new() }
    }

    /// The locate of its instrument.
    #[must_use]
    pub const fn locate(&self) -> u16 {
        self.locate
    }

    /// Best bid and ask.
    #[must_use]
    pub fn best(&self) -> [Option<BestLevel>; 2] {
        let level = |(price, order): (&u32, &LevelOrder)| BestLevel { price: *price, qty: order.qty };
        [self.bids.last_key_value().map(level), self.asks.first_key_value().map(level)]
    }

    /// Every level: bids, then asks, each by price.
    pub fn levels(&self) -> impl Iterator<Item = Level> {
        let level =
            |side: Side| move |(price, order): (&u32, &LevelOrder)| Level { side, price: *price, qty: order.qty };
        self.bids.iter().map(level(Side::Buy)).chain(self.asks.iter().map(level(Side::Sell)))
    }

    /// Everything goes.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn clear<S: MessageSink>(&mut self, session: &mut Session<S>) -> Result<(), ConvertError> {
        self.bids.clear();
        self.asks.clear();
        session.clear(self.locate).map(|_| ())
    }

    /// One update of a source: see [`LevelBook::set`].
    pub(crate) fn apply<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        references: &mut References,
        changes: &[LevelChange],
        place: Place,
    ) -> Result<(), ConvertError> {
        let levels = Self::in_session_units(desk, changes, place)?;
        self.settle(desk, references, &levels, place)?;
        self.check_crossed(desk, Finding::Crossed, place)
    }

    /// The book becomes these levels and no others.
    pub(crate) fn become_levels<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        references: &mut References,
        levels: &[LevelChange],
        place: Place,
    ) -> Result<(), ConvertError> {
        let mut all: Vec<Level> = self.levels().map(|level| Level { qty: 0, ..level }).collect();
        all.extend(Self::in_session_units(desk, levels, place)?);
        self.settle(desk, references, &all, place)
    }

    /// Says so where bid and ask cross or touch.
    pub(crate) fn check_crossed<W: Write>(
        &self,
        desk: &mut Desk<W>,
        finding: Finding,
        place: Place,
    ) -> Result<(), ConvertError> {
        match self.best() {
            [Some(bid), Some(ask)] if bid.price >= ask.price => {
                desk.find(finding, place, || format!("bid {} ask {} (10^-4)", bid.price, ask.price))
            }
            [_, _] => Ok(()),
        }
    }

    fn in_session_units<W: Write>(
        desk: &mut Desk<W>,
        changes: &[LevelChange],
        place: Place,
    ) -> Result<Vec<Level>, ConvertError> {
        let level = |LevelChange { side, price, qty }: &LevelChange| -> Result<Level, ConvertError> {
            let price = desk.scale.price4(*price, place)?;
            Ok(Level { side: *side, price, qty: desk.lot.lots(*qty, place, &mut desk.findings)? })
        };
        changes.iter().map(level).collect()
    }

    fn settle<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        references: &mut References,
        levels: &[Level],
        place: Place,
    ) -> Result<(), ConvertError> {
        for unknown in self.set(&mut desk.session, references, levels)? {
            desk.find(Finding::UnknownLevel, place, || format!("{} (10^-4)", unknown.price))?;
        }
        Ok(())
    }

    /// One update. Of several changes of one level the last one counts. Returns levels that were said to be gone and are
    /// not known.
    ///
    /// # Errors
    /// [`ConvertError::Write`]; [`ConvertError::Fault`] for a price of 0.
    pub fn set<S: MessageSink>(
        &mut self,
        session: &mut Session<S>,
        references: &mut References,
        changes: &[Level],
    ) -> Result<Vec<Level>, ConvertError> {
        let last: BTreeMap<(bool, u32), Level> =
            changes.iter().map(|level| ((level.side == Side::Sell, level.price), *level)).collect();
        let mut unknown = Vec::new();
        for is_growing in [false, true] {
            for level in last.values() {
                let known = self.side(level.side).get(&level.price).copied();
                if (known.map_or(0, |order| order.qty) < level.qty) != is_growing {
                    continue;
                }
                if known.is_none() && level.qty == 0 {
                    unknown.push(*level);
                } else {
                    self.set_one(session, references, *level)?;
                }
            }
        }
        Ok(unknown)
    }

    fn set_one<S: MessageSink>(
        &mut self,
        session: &mut Session<S>,
        references: &mut References,
        Level { side, price, qty }: Level,
    ) -> Result<(), ConvertError> {
        let locate = self.locate;
        let levels = self.side(side);
        match levels.get_mut(&price) {
            None if qty == 0 => Ok(()),
            None => {
                let order_ref = references.next();
                levels.insert(price, LevelOrder { order_ref, qty });
                session.add(order_ref, NewOrder { locate, side, qty, price })
            }
            Some(order) if qty == 0 => {
                let order_ref = order.order_ref;
                levels.remove(&price);
                session.delete(order_ref)
            }
            Some(order) if qty < order.qty => {
                let removed = order.qty.saturating_sub(qty);
                order.qty = qty;
                session.cancel(order.order_ref, removed)
            }
            Some(order) if qty > order.qty => {
                let old_ref = core::mem::replace(&mut order.order_ref, references.next());
                order.qty = qty;
                session.replace(old_ref, order.order_ref, (qty, price))
            }
            Some(_) => Ok(()),
        }
    }

    fn side(&mut self, side: Side) -> &mut BTreeMap<u32, LevelOrder> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}
