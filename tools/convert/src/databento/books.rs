//! From DBN's records of levels and trades to those of ITCH.
//!
//! | DBN | ITCH 5.0 |
//! |---|---|
//! | levels of a record | `A`, `U`, `X`, `D` of the orders that stand for them, so that the book shows these levels and no others |
//! | T | `P`, behind the levels of its record, which are those that it met |
//! | R | `D` of every level |
//!
//! A level that falls out of the depth goes, and comes back when it is shown again.

use std::collections::BTreeMap;
use std::io::Write;

use peregrine_types::Side;

use super::record::{Depth, Level, Market};
use crate::desk::Desk;
use crate::levels::{LevelBook, LevelChange, References};
use crate::session::Print;
use crate::{ConvertError, Finding, Place};

/// References of levels begin here, above all those of orders (a file may have both).
const LEVEL_REF_FIRST: u64 = 3 << 62;
/// One unit in which levels are counted.
const UNIT: i64 = 1_000_000_000;

/// The levels of all instruments.
pub(super) struct Books {
    books: BTreeMap<u16, LevelBook>,
    references: References,
}

impl Books {
    pub(super) const fn new() -> Self {
        Self { books: BTreeMap::new(), references: References::starting(LEVEL_REF_FIRST) }
    }

    /// Takes one record of an instrument of the session.
    pub(super) fn on_record<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        locate: u16,
        market: &Market,
        place: Place,
    ) -> Result<(), ConvertError> {
        let is_known = match (market.depth, market.action) {
            (_, b'T') => true,
            (Depth::One | Depth::Ten, b'A' | b'C' | b'M' | b'R' | b'F' | b'N') => true,
            (Depth::None | Depth::One | Depth::Ten, _) => false,
        };
        if !is_known {
            return desk.find(Finding::Malformed, place, || format!("action 0x{:02x}", market.action));
        }
        if market.depth != Depth::None {
            self.show(desk, locate, market, place)?;
        }
        if market.action == b'T' { print(desk, locate, market, place) } else { Ok(()) }
    }

    /// Lets the book show what the record shows.
    fn show<W: Write>(
        &mut self,
        desk: &mut Desk<W>,
        locate: u16,
        market: &Market,
        place: Place,
    ) -> Result<(), ConvertError> {
        let book = self.books.entry(locate).or_insert_with(|| LevelBook::new(locate));
        if market.action == b'R' {
            return book.clear(&mut desk.session);
        }
        let mut changes = Vec::with_capacity(market.levels.len());
        for Level { side, price, size } in &market.levels {
            match size {
                None | Some(0) => desk.find(Finding::NoQuantity, place, || format!("a level at {price} (10^-9)"))?,
                Some(size) => {
                    let qty = i64::from(*size).saturating_mul(UNIT);
                    changes.push(LevelChange { side: *side, price: *price, qty });
                }
            }
        }
        book.become_levels(desk, &mut self.references, &changes, place)?;
        if market.head.flags.is_last() { book.check_crossed(desk, Finding::CrossedShown, place) } else { Ok(()) }
    }
}

fn print<W: Write>(desk: &mut Desk<W>, locate: u16, market: &Market, place: Place) -> Result<(), ConvertError> {
    let detail = || "a trade".to_owned();
    let Some(price) = market.price else { return desk.find(Finding::NoPrice, place, detail) };
    let Some(qty) = market.size.filter(|size| *size > 0) else { return desk.find(Finding::NoQuantity, place, detail) };
    let price = desk.scale.price4(price, place)?;
    // The record has the aggressor's side, the message the resting one's: buy where nobody knows.
    let side = market.side.map_or(Side::Buy, Side::opposite);
    desk.session.trade(Print { locate, side, qty, price }).map(|_| ())
}
