//! From the order records of DBN to those of ITCH.
//!
//! DBN's book follows A, C, M and R alone; T and F tell who traded. ITCH takes an execution from the order itself. So a fill
//! is written as an execution where a cancel or a modification of the same order follows in the event (up to the flag
//! `LAST`, or to a record of any instrument with another `ts_event`), and that record then only writes what the execution
//! has not done yet. Behind each event both books are equal.
//!
//! | DBN | ITCH 5.0 |
//! |---|---|
//! | A | `A` |
//! | C | `X`, `D` when nothing is left; nothing where an execution has taken it already |
//! | M: price changed, or size grown | `U`: a new reference, behind all others of its price |
//! | M: size shrunk | `X`: keeps its place |
//! | R | `D` for each order of the instrument |
//! | F of the resting side, at its price | `E` |
//! | F at another price, of the aggressor's own order, or of an auction | `C`; printed only for a resting order of a trade with a side |
//! | T beyond its fills | `P`; `Q` where the trade has no side and its fills were not printed |

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;

use peregrine_types::Side;

use super::record::{Head, Mbo};
use crate::desk::Desk;
use crate::session::{NewOrder, Print};
use crate::{ConvertError, Finding, Place};

/// References that the source has no part in begin here.
const OWN_REF_FIRST: u64 = 1 << 63;
/// An event of more records than this is taken apart.
const EVENT_LEN_MAX: usize = 1 << 16;

/// A record of an instrument of the session, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) locate: u16,
    pub(super) mbo: Mbo,
    pub(super) place: Place,
}

/// An order as the source has it.
#[derive(Clone, Copy, Debug)]
struct Order {
    /// Its reference in the session.
    order_ref: u64,
    side: Side,
    size: u32,
    price: i64,
}

/// A trade whose fills are being told.
#[derive(Clone, Copy, Debug)]
struct Trade {
    locate: u16,
    side: Option<Side>,
    price: i64,
    size: u32,
    /// What no printed fill told yet.
    left: u32,
    is_filled: bool,
    place: Place,
}

/// The orders of all instruments.
pub(super) struct Orders {
    /// By locate, and by the source's number: a clear looks at no other instrument's.
    orders: HashMap<u16, HashMap<u64, Order>>,
    /// Records of events that are not complete, by locate: from the first trade or fill on. All have one time.
    events: BTreeMap<u16, Vec<Told>>,
    /// That time.
    event_time: Option<u64>,
    own_ref_next: u64,
}

impl Orders {
    pub(super) fn new() -> Self {
        Self { orders: HashMap::new(), events: BTreeMap::new(), event_time: None, own_ref_next: OWN_REF_FIRST }
    }

    /// Writes the events that end with the record `next`, which is of another time. To be called while the session's time is
    /// still theirs.
    pub(super) fn end_events<W: Write>(&mut self, desk: &mut Desk<W>, next: &Head) -> Result<(), ConvertError> {
        // An event has one time: where the source does not flag its end, the next time is it.
        let time = next.ts_event.or(next.ts_recv);
        if core::mem::replace(&mut self.event_time, time) == time {
            return Ok(());
        }
        self.finish(desk)
    }

    /// Takes one record, behind [`Self::end_events`].
    pub(super) fn on_record<W: Write>(&mut self, desk: &mut Desk<W>, told: Told) -> Result<(), ConvertError> {
        let Told { locate, mbo, .. } = told;
        if !self.events.contains_key(&locate) && !matches!(mbo.action, b'T' | b'F') {
            return self.on_change(desk, told);
        }
        let event = self.events.entry(locate).or_default();
        event.push(told);
        if mbo.head.flags.is_last() || event.len() >= EVENT_LEN_MAX {
            let event = self.events.remove(&locate).unwrap_or_default();
            self.on_event(desk, &event)?;
        }
        Ok(())
    }

    /// Nothing more comes of the events: what is not complete is taken as it is.
    pub(super) fn finish<W: Write>(&mut self, desk: &mut Desk<W>) -> Result<(), ConvertError> {
        for event in core::mem::take(&mut self.events).into_values() {
            self.on_event(desk, &event)?;
        }
        Ok(())
    }

    /// An event in which something traded.
    fn on_event<W: Write>(&mut self, desk: &mut Desk<W>, event: &[Told]) -> Result<(), ConvertError> {
        let changes = event.iter().filter(|told| matches!(told.mbo.action, b'C' | b'M'));
        let followed: HashSet<u64> = changes.map(|told| told.mbo.order).collect();
        let mut trade: Option<Trade> = None;
        for told in event {
            match told.mbo.action {
                b'T' => {
                    end_trade(desk, trade.take())?;
                    trade = begin_trade(desk, told)?;
                }
                b'F' => self.on_fill(desk, (&followed, trade.as_mut()), told)?,
                _ => {
                    end_trade(desk, trade.take())?;
                    self.on_change(desk, *told)?;
                }
            }
        }
        end_trade(desk, trade)
    }

    /// A fill of one order.
    fn on_fill<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        (followed, trade): (&HashSet<u64>, Option<&mut Trade>),
        told: &Told,
    ) -> Result<(), ConvertError> {
        let Told { locate, ref mbo, place } = *told;
        let Some(size) = mbo.size else { return undefined_size(desk, mbo, place) };
        let detail = || format!("order {}, {size}", mbo.order);
        let Some(price) = mbo.price else { return desk.find(Finding::NoPrice, place, detail) };
        let known = self.order(locate, mbo.order);
        let live = known.and_then(|order| desk.session.live(order.order_ref));
        let (Some(order), Some(live)) = (known, live) else {
            desk.find(Finding::FillOfHidden, place, detail)?;
            return match (trade, mbo.side) {
                (None, side) => print(desk, locate, (side, price, size), place),
                (Some(_), _) => Ok(()),
            };
        };
        if !followed.contains(&mbo.order) {
            desk.find(Finding::FillAlone, place, detail)?;
            return if trade.is_none() { print(desk, locate, (mbo.side, price, size), place) } else { Ok(()) };
        }
        let qty = size.min(live.qty);
        if qty < size {
            desk.find(Finding::FillBeyondDisplay, place, || format!("order {}: {size} of {qty}", mbo.order))?;
        }
        if qty == 0 {
            return Ok(());
        }
        let is_resting = trade.as_ref().is_some_and(|trade| trade.side == Some(order.side.opposite()));
        if let Some(trade) = trade {
            trade.is_filled = true;
            if is_resting {
                trade.left = trade.left.saturating_sub(qty);
            }
        }
        let price4 = desk.scale.price4(price, place)?;
        if is_resting && price4 == live.price {
            return desk.session.execute(order.order_ref, qty);
        }
        desk.session.execute_at(order.order_ref, qty, (price4, is_resting))
    }

    /// A record that changes the source's book.
    fn on_change<W: Write>(&mut self, desk: &mut Desk<W>, told: Told) -> Result<(), ConvertError> {
        let Told { locate, mbo, place } = told;
        match mbo.action {
            b'A' => self.on_add(desk, told),
            b'C' => self.on_cancel(desk, told),
            b'M' => self.on_modify(desk, told),
            b'R' => {
                self.orders.remove(&locate);
                desk.session.clear(locate).map(|_| ())
            }
            b'N' => Ok(()),
            other => desk.find(Finding::Malformed, place, || format!("action 0x{other:02x}")),
        }
    }

    fn on_add<W: Write>(&mut self, desk: &mut Desk<W>, told: Told) -> Result<(), ConvertError> {
        let Told { locate, mbo, place } = told;
        let detail = || format!("order {}", mbo.order);
        let Some(side) = mbo.side else { return desk.find(Finding::NoSide, place, detail) };
        let Some(price) = mbo.price else { return desk.find(Finding::NoPrice, place, detail) };
        let Some(size) = mbo.size else { return undefined_size(desk, &mbo, place) };
        if size == 0 {
            return desk.find(Finding::NoQuantity, place, detail);
        }
        if let Some(old) = self.remove(locate, mbo.order) {
            desk.find(Finding::DuplicateOrder, place, detail)?;
            self.end(desk, old)?;
        }
        let order_ref = self.reference(desk, mbo.order);
        self.insert((locate, mbo.order), Order { order_ref, side, size, price });
        let price = desk.scale.price4(price, place)?;
        desk.session.add(order_ref, NewOrder { locate, side, qty: size, price })
    }

    fn on_cancel<W: Write>(&mut self, desk: &mut Desk<W>, told: Told) -> Result<(), ConvertError> {
        let Told { locate, mbo, place } = told;
        let Some(order) = self.order(locate, mbo.order) else {
            return desk.find(Finding::UnknownOrder, place, || format!("order {}", mbo.order));
        };
        let Some(cancelled) = mbo.size else { return undefined_size(desk, &mbo, place) };
        if cancelled > order.size {
            desk.find(Finding::Excess, place, || format!("order {}: {cancelled} of {}", mbo.order, order.size))?;
        }
        let size = order.size.saturating_sub(cancelled);
        self.settle(desk, (locate, mbo.order), Order { size, ..order }, place)
    }

    fn on_modify<W: Write>(&mut self, desk: &mut Desk<W>, told: Told) -> Result<(), ConvertError> {
        let Told { locate, mbo, place } = told;
        let detail = || format!("order {}", mbo.order);
        let Some(size) = mbo.size else { return undefined_size(desk, &mbo, place) };
        let Some(order) = self.order(locate, mbo.order) else {
            desk.find(Finding::UnknownModified, place, detail)?;
            return self.on_add(desk, told);
        };
        let Some(price) = mbo.price else { return desk.find(Finding::NoPrice, place, detail) };
        if mbo.side.is_some_and(|side| side != order.side) {
            self.remove(locate, mbo.order);
            self.end(desk, order)?;
            return self.on_add(desk, told);
        }
        self.settle(desk, (locate, mbo.order), Order { size, price, ..order }, place)
    }

    /// Writes what makes the session's order the source's.
    fn settle<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        key: (u16, u64),
        order: Order,
        place: Place,
    ) -> Result<(), ConvertError> {
        if order.size == 0 {
            self.remove(key.0, key.1);
            return self.end(desk, order);
        }
        let price = desk.scale.price4(order.price, place)?;
        let mut order = order;
        match desk.session.live(order.order_ref) {
            None => {
                order.order_ref = self.own_reference();
                let new = NewOrder { locate: key.0, side: order.side, qty: order.size, price };
                desk.session.add(order.order_ref, new)?;
            }
            Some(live) if live.price != price || live.qty < order.size => {
                let old_ref = core::mem::replace(&mut order.order_ref, self.own_reference());
                desk.session.replace(old_ref, order.order_ref, (order.size, price))?;
            }
            Some(live) if live.qty > order.size => {
                desk.session.cancel(order.order_ref, live.qty.saturating_sub(order.size))?;
            }
            Some(_) => {}
        }
        self.insert(key, order);
        Ok(())
    }

    /// The order that an instrument has under the source's number.
    fn order(&self, locate: u16, number: u64) -> Option<Order> {
        self.orders.get(&locate).and_then(|orders| orders.get(&number)).copied()
    }

    fn insert(&mut self, (locate, number): (u16, u64), order: Order) {
        self.orders.entry(locate).or_default().insert(number, order);
    }

    fn remove(&mut self, locate: u16, number: u64) -> Option<Order> {
        self.orders.get_mut(&locate).and_then(|orders| orders.remove(&number))
    }

    /// Deletes an order that an execution has not ended yet.
    fn end<W: Write>(&self, desk: &mut Desk<W>, order: Order) -> Result<(), ConvertError> {
        if desk.session.live(order.order_ref).is_some() { desk.session.delete(order.order_ref) } else { Ok(()) }
    }

    /// The reference of a new order: its own number, where no order has it and it is not from our range.
    fn reference<W: Write>(&mut self, desk: &Desk<W>, order: u64) -> u64 {
        let is_free = order != 0 && order < OWN_REF_FIRST && desk.session.live(order).is_none();
        if is_free { order } else { self.own_reference() }
    }

    fn own_reference(&mut self) -> u64 {
        let order_ref = self.own_ref_next;
        self.own_ref_next = self.own_ref_next.saturating_add(1);
        order_ref
    }
}

fn begin_trade<W: Write>(desk: &mut Desk<W>, told: &Told) -> Result<Option<Trade>, ConvertError> {
    let Told { locate, ref mbo, place } = *told;
    let Some(price) = mbo.price else {
        desk.find(Finding::NoPrice, place, || "a trade".to_owned())?;
        return Ok(None);
    };
    match mbo.size {
        None => undefined_size(desk, mbo, place).map(|()| None),
        Some(0) => desk.find(Finding::NoQuantity, place, || "a trade".to_owned()).map(|()| None),
        Some(size) => Ok(Some(Trade { locate, side: mbo.side, price, size, left: size, is_filled: false, place })),
    }
}

/// Says that a record is dropped because its size is undefined.
fn undefined_size<W: Write>(desk: &mut Desk<W>, mbo: &Mbo, place: Place) -> Result<(), ConvertError> {
    desk.find(Finding::NoQuantity, place, || format!("order {}: the size is undefined", mbo.order))
}

/// Prints what of a trade no execution printed.
fn end_trade<W: Write>(desk: &mut Desk<W>, trade: Option<Trade>) -> Result<(), ConvertError> {
    let Some(Trade { locate, side, price, size, left, is_filled, place }) = trade.filter(|trade| trade.left > 0) else {
        return Ok(());
    };
    if side.is_some() || !is_filled {
        return print(desk, locate, (side.map(Side::opposite), price, left), place);
    }
    let price = desk.scale.price4(price, place)?;
    desk.session.cross(Print { locate, side: Side::Buy, qty: size, price }, b'H')
}

/// A trade of the resting side (buy where it is not known) with no displayed order.
fn print<W: Write>(
    desk: &mut Desk<W>,
    locate: u16,
    (side, price, qty): (Option<Side>, i64, u32),
    place: Place,
) -> Result<(), ConvertError> {
    let price = desk.scale.price4(price, place)?;
    desk.session.trade(Print { locate, side: side.unwrap_or(Side::Buy), qty, price }).map(|_| ())
}
