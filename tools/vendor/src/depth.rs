//! Rows of a vendor's depth, by position: the state that its inserts, updates and deletes are about.

use peregrine_types::Side;

use crate::update::Amount;

/// How a row changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// A row comes before the one at its position.
    Insert(Amount),
    /// The row has another price or size.
    Update(Amount),
    /// The row goes, those behind it move up.
    Delete,
}

/// Rows of a side that are kept; a vendor shows fewer.
pub const ROW_COUNT_MAX: usize = 256;

/// See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepthRows {
    bids: Vec<Amount>,
    asks: Vec<Amount>,
}

impl DepthRows {
    /// The rows of a side, the first one first.
    #[must_use]
    pub fn side(&self, side: Side) -> &[Amount] {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// Everything goes.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// One change. Returns whether there was a row, or room for one, at the position; otherwise nothing changed, and what
    /// the vendor shows is not known from here on.
    pub fn apply(&mut self, side: Side, position: usize, change: RowChange) -> bool {
        let rows = match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        match change {
            RowChange::Insert(amount) if position <= rows.len() && position < ROW_COUNT_MAX => {
                rows.insert(position, amount);
                rows.truncate(ROW_COUNT_MAX);
                true
            }
            RowChange::Insert(_) => false,
            RowChange::Update(amount) => match rows.get_mut(position) {
                Some(row) => {
                    *row = amount;
                    true
                }
                None => false,
            },
            RowChange::Delete if position < rows.len() => {
                rows.remove(position);
                true
            }
            RowChange::Delete => false,
        }
    }
}
