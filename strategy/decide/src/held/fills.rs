//! The position of one symbol, what it cost, and the fills that it came of.
//!
//! What is added counts at its price, what is closed leaves the average as it was. A broken trade is as if it had never
//! been: position and cost are worked out anew without it, from the fills that are remembered. One that is older than those
//! is taken off the position that came before them: at its own price where it had opened that position, at the average
//! where it had closed a part of it.

use peregrine_types::{Execution, MatchNumber, OrderId, Position, Price, Qty, Side};

/// Fills of each symbol that are remembered; a power of two. Venues break trades within minutes, and one order's fills are
/// seldom more than a tenth of this; each takes 40 bytes.
pub(super) const FILLS_REMEMBERED: usize = 128;

/// A position and what was paid for it: its size at its average price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    position: Position,
    cost: i128,
}

impl Holding {
    /// After a fill. A position that would not fit its type stays as it is.
    fn after(self, side: Side, qty: Qty, price: Price) -> Self {
        let Some(position) = self.position.after(side, qty) else { return self };
        let (size, left) = (i128::from(self.position.abs().0), i128::from(position.abs().0));
        let is_same_side = position.0.signum() == self.position.0.signum();
        let at_price = |count: i128| i128::from(price.0).saturating_mul(count);
        let cost = if position == Position::FLAT {
            0
        } else if size == 0 || !is_same_side {
            at_price(left)
        } else if left > size {
            self.cost.saturating_add(at_price(left.saturating_sub(size)))
        } else {
            self.cost.saturating_mul(left).checked_div(size).unwrap_or(0)
        };
        Self { position, cost }
    }

    /// Without a fill that it came of, nobody knows when.
    fn without(self, side: Side, qty: Qty, price: Price) -> Self {
        let is_of_this_side = match side {
            Side::Buy => self.position.0 > 0,
            Side::Sell => self.position.0 < 0,
        };
        let undone = self.after(side.opposite(), qty, price);
        let size = i128::from(self.position.abs().0);
        let left = i128::from(undone.position.abs().0);
        if is_of_this_side && left > 0 && left < size {
            // It opened a part: what stays is what was paid for the others.
            let paid = i128::from(price.0).saturating_mul(size.saturating_sub(left));
            let cost = self.cost.saturating_sub(paid);
            return Self { cost: if cost > 0 { cost } else { undone.cost }, ..undone };
        }
        if size > 0 && left > size {
            // It closed a part, which left the average as it was.
            let cost = self.cost.saturating_mul(left).checked_div(size).unwrap_or(0);
            return Self { cost, ..undone };
        }
        undone
    }

    /// The average price, rounded towards zero; 0 when flat.
    fn average_price(self) -> Price {
        let size = i128::from(self.position.abs().0);
        Price(self.cost.checked_div(size).and_then(|price| i64::try_from(price).ok()).unwrap_or(0))
    }
}

/// A fill; one of no quantity was broken.
#[derive(Clone, Copy, Debug)]
struct Fill {
    order_id: OrderId,
    match_number: MatchNumber,
    side: Side,
    qty: Qty,
    price: Price,
}

impl Fill {
    const NONE: Self =
        Self { order_id: OrderId(0), match_number: MatchNumber(0), side: Side::Buy, qty: Qty(0), price: Price(0) };

    fn of(execution: &Execution) -> Self {
        let Execution { order_id, match_number, side, qty, price, .. } = *execution;
        Self { order_id, match_number, side, qty, price }
    }

    /// Whether a report of a broken trade is about this fill: by the venue's number, or by everything else where it has none.
    fn is_meant_by(&self, bust: &Self) -> bool {
        let is_same_order = self.order_id == bust.order_id && self.qty > Qty::ZERO;
        if bust.match_number.0 != 0 {
            return is_same_order && self.match_number == bust.match_number;
        }
        is_same_order && (self.side, self.qty, self.price) == (bust.side, bust.qty, bust.price)
    }
}

/// The last fills of a symbol in their order, and the position before and after them.
#[derive(Clone, Debug)]
pub(super) struct Fills {
    before: Holding,
    now: Holding,
    ring: [Fill; FILLS_REMEMBERED],
    first: usize,
    count: usize,
}

impl Fills {
    pub(super) const NONE: Self = {
        let flat = Holding { position: Position::FLAT, cost: 0 };
        Self { before: flat, now: flat, ring: [Fill::NONE; FILLS_REMEMBERED], first: 0, count: 0 }
    };

    pub(super) const fn position(&self) -> Position {
        self.now.position
    }

    pub(super) fn average_price(&self) -> Price {
        self.now.average_price()
    }

    /// Place of the `nth` oldest fill.
    const fn place(&self, nth: usize) -> usize {
        self.first.wrapping_add(nth) & (FILLS_REMEMBERED - 1)
    }

    pub(super) fn add(&mut self, execution: &Execution) {
        let fill = Fill::of(execution);
        if self.count == FILLS_REMEMBERED {
            if let Some(oldest) = self.ring.get(self.first) {
                self.before = self.before.after(oldest.side, oldest.qty, oldest.price);
            }
            self.first = self.place(1);
            self.count = self.count.saturating_sub(1);
        }
        let next = self.place(self.count);
        if let Some(place) = self.ring.get_mut(next) {
            *place = fill;
            self.count = self.count.saturating_add(1);
        }
        self.now = self.now.after(fill.side, fill.qty, fill.price);
    }

    /// A trade was broken: everything is as if it had never been.
    #[cold]
    pub(super) fn remove(&mut self, execution: &Execution) {
        let bust = Fill::of(execution);
        let is_it = |place: &usize| self.ring.get(*place).is_some_and(|fill| fill.is_meant_by(&bust));
        let found = (0..self.count).rev().map(|nth| self.place(nth)).find(is_it);
        match found.and_then(|place| self.ring.get_mut(place)) {
            Some(fill) => fill.qty = Qty::ZERO,
            None => self.before = self.before.without(bust.side, bust.qty, bust.price),
        }
        self.now = (0..self.count)
            .filter_map(|nth| self.ring.get(self.place(nth)))
            .filter(|fill| fill.qty > Qty::ZERO)
            .fold(self.before, |holding, fill| holding.after(fill.side, fill.qty, fill.price));
    }

    pub(super) fn write_state(&self, write: &mut dyn FnMut(&[u8])) {
        for holding in [self.now, self.before] {
            write(&holding.position.0.to_le_bytes());
            write(&holding.cost.to_le_bytes());
        }
        for fill in (0..self.count).filter_map(|nth| self.ring.get(self.place(nth))) {
            write(&fill.order_id.0.to_le_bytes());
            write(&fill.match_number.0.to_le_bytes());
            write(&[fill.side as u8]);
            write(&fill.qty.0.to_le_bytes());
            write(&fill.price.0.to_le_bytes());
        }
    }
}
