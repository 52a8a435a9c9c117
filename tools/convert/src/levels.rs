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
use crate::session::NewOrder;
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

/// A level in the session's units: price in 10⁻⁴, lots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BestLevel {
    pub(crate) price: u32,
    pub(crate) qty: u32,
}

#[derive(Clone, Copy, Debug)]
struct LevelOrder {
    order_ref: u64,
    qty: u32,
}

/// Lots by whether the level is an ask, and its price in 10⁻⁴.
type Levels = BTreeMap<(bool, u32), u32>;

/// References of orders that stand for levels, for all books of a session.
#[derive(Debug, Default)]
pub(crate) struct References(u64);

impl References {
    /// References from `first` on.
    pub(crate) const fn starting(first: u64) -> Self {
        Self(first.saturating_sub(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }
}

/// The levels of one instrument.
#[derive(Debug)]
pub(crate) struct LevelBook {
    locate: u16,
    bids: BTreeMap<u32, LevelOrder>,
    asks: BTreeMap<u32, LevelOrder>,
}

impl LevelBook {
    pub(crate) const fn new(locate: u16) -> Self {
        Self { locate, bids: BTreeMap::new(), asks: BTreeMap::new() }
    }

    pub(crate) const fn locate(&self) -> u16 {
        self.locate
    }

    /// Best bid and ask.
    pub(crate) fn best(&self) -> [Option<BestLevel>; 2] {
        let level = |(price, order): (&u32, &LevelOrder)| BestLevel { price: *price, qty: order.qty };
        [self.bids.last_key_value().map(level), self.asks.first_key_value().map(level)]
    }

    /// Everything goes.
    pub(crate) fn clear<W: Write>(&mut self, desk: &mut Desk<W>) -> Result<(), ConvertError> {
        self.bids.clear();
        self.asks.clear();
        desk.session.clear(self.locate).map(|_| ())
    }

    /// One update. Of several changes of one level the last one counts.
    pub(crate) fn apply<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        references: &mut References,
        changes: &[LevelChange],
        place: Place,
    ) -> Result<(), ConvertError> {
        let mut last = Levels::new();
        for change in changes {
            let price = desk.scale.price4(change.price, place)?;
            let qty = desk.lot.lots(change.qty, place, &mut desk.findings)?;
            last.insert((change.side == Side::Sell, price), qty);
        }
        self.settle(desk, references, &last, place)?;
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
        let gone = |is_sell| move |price: &u32| ((is_sell, *price), 0);
        let mut all: Levels = self.bids.keys().map(gone(false)).chain(self.asks.keys().map(gone(true))).collect();
        for level in levels {
            let price = desk.scale.price4(level.price, place)?;
            let qty = desk.lot.lots(level.qty, place, &mut desk.findings)?;
            all.insert((level.side == Side::Sell, price), qty);
        }
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

    /// Writes the changes: what shrinks or goes first.
    fn settle<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        references: &mut References,
        changes: &Levels,
        place: Place,
    ) -> Result<(), ConvertError> {
        for is_growing in [false, true] {
            for ((is_sell, price), qty) in changes {
                let side = if *is_sell { Side::Sell } else { Side::Buy };
                let known = self.side(side).get(price).copied();
                if (known.map_or(0, |order| order.qty) < *qty) == is_growing {
                    self.set(desk, references, (side, *price, *qty), place)?;
                }
            }
        }
        Ok(())
    }

    fn set<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        references: &mut References,
        (side, price, qty): (Side, u32, u32),
        place: Place,
    ) -> Result<(), ConvertError> {
        let locate = self.locate;
        let levels = self.side(side);
        match levels.get_mut(&price) {
            None if qty == 0 => desk.find(Finding::UnknownLevel, place, || format!("{price} (10^-4)")),
            None => {
                let order_ref = references.next();
                levels.insert(price, LevelOrder { order_ref, qty });
                desk.session.add(order_ref, NewOrder { locate, side, qty, price })
            }
            Some(order) if qty == 0 => {
                let order_ref = order.order_ref;
                levels.remove(&price);
                desk.session.delete(order_ref)
            }
            Some(order) if qty < order.qty => {
                let removed = order.qty.saturating_sub(qty);
                order.qty = qty;
                desk.session.cancel(order.order_ref, removed)
            }
            Some(order) if qty > order.qty => {
                let old_ref = core::mem::replace(&mut order.order_ref, references.next());
                order.qty = qty;
                desk.session.replace(old_ref, order.order_ref, (qty, price))
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
