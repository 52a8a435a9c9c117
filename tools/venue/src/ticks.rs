//! The tick-size table: the least price step by price.

use peregrine_types::Price;

/// The finest step that the feed can express: 0.0001.
pub const STEP_MIN: i64 = 100_000;
/// The highest limit price (OUCH 5.0): 199,999.99.
pub const PRICE_MAX: Price = Price(199_999_990_000_000);

/// A row of the table: prices from `from` on are multiples of `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickRow {
    /// Lowest price of the row.
    pub from: Price,
    /// Least price step, in [`Price`] units; a multiple of [`STEP_MIN`].
    pub step: i64,
}

/// Rows in rising order; the first begins at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickTable(Vec<TickRow>);

/// Why rows are no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of the tick table: begin at price 0, rise, and step by multiples of 0.0001")]
pub struct TickTableError {
    /// The row, from 0.
    pub row: usize,
}

impl TickTable {
    /// The table of US equities (Regulation NMS, Rule 612): 0.0001 below one dollar, 0.01 from there on.
    #[must_use]
    pub fn us_equities() -> Self {
        let (below, above) = (TickRow { from: Price(0), step: STEP_MIN }, 10_000_000);
        Self(vec![below, TickRow { from: Price(1_000_000_000), step: above }])
    }

    /// A table of these rows.
    ///
    /// # Errors
    /// [`TickTableError`] with the first row that is wrong.
    pub fn new(rows: Vec<TickRow>) -> Result<Self, TickTableError> {
        let mut last = None;
        for (row, TickRow { from, step }) in rows.iter().enumerate() {
            let is_rising = last.map_or(from.0 == 0, |last| *from > last);
            if !is_rising || *step < STEP_MIN || step % STEP_MIN != 0 || from.0 % STEP_MIN != 0 {
                return Err(TickTableError { row });
            }
            last = Some(*from);
        }
        if rows.is_empty() { Err(TickTableError { row: 0 }) } else { Ok(Self(rows)) }
    }

    /// The least price step at `price`.
    #[must_use]
    pub fn step(&self, price: Price) -> i64 {
        self.0.iter().rev().find(|row| row.from <= price).map_or(STEP_MIN, |row| row.step)
    }

    /// Whether an order may have this price: above 0, at most [`PRICE_MAX`], on the tick.
    #[must_use]
    pub fn allows(&self, price: Price) -> bool {
        price.0 > 0 && price <= PRICE_MAX && price.0 % self.step(price) == 0
    }

    /// The highest price on the tick that is not above `price`.
    #[must_use]
    pub fn floor(&self, price: Price) -> Price {
        Price(price.0 - price.0.rem_euclid(self.step(price)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_us_equities_has_two_steps() {
        let table = TickTable::us_equities();
        let allows = |raw: i64| table.allows(Price(raw * 100_000));
        assert!(allows(9_999) && allows(1) && allows(10_000) && allows(10_100) && allows(1_999_999_900));
        assert!(!allows(10_001) && !allows(0) && !allows(-100) && !allows(2_000_000_000));
        assert_eq!(table.floor(Price(1_005_000_000)), Price(1_000_000_000));
        assert_eq!(table.floor(Price(999_900_000)), Price(999_900_000));
    }

    #[test]
    fn wrong_rows_are_named() {
        let row = |from, step| TickRow { from: Price(from), step };
        assert!(TickTable::new(vec![row(0, STEP_MIN), row(STEP_MIN, STEP_MIN * 5)]).is_ok());
        assert_eq!(TickTable::new(vec![row(1, STEP_MIN)]), Err(TickTableError { row: 0 }));
        assert_eq!(TickTable::new(vec![row(0, STEP_MIN), row(0, STEP_MIN)]), Err(TickTableError { row: 1 }));
        assert_eq!(TickTable::new(vec![row(0, 50_000)]), Err(TickTableError { row: 0 }));
        assert_eq!(TickTable::new(Vec::new()), Err(TickTableError { row: 0 }));
    }
}
