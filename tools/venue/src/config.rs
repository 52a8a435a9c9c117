//! What a venue is made of, fixed at start.

use peregrine_types::{Price, Symbol, TickTable};

use crate::orders::FirmId;
use crate::schedule::DaySchedule;
use crate::ticks::{is_allowed, is_expressible};

/// One instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolConfig {
    /// Its name.
    pub name: Symbol,
    /// Its price steps, multiples of 0.0001.
    pub ticks: TickTable,
    /// Shares in a round lot, for the directory.
    pub round_lot: u32,
    /// The price to start from: the previous close.
    pub reference_price: Price,
}

/// A venue: instruments, participants, hours, and how much it holds. Nothing grows after construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueConfig {
    /// Instruments; the first has locate 1. At most 65,535.
    pub symbols: Vec<SymbolConfig>,
    /// The firm of each account.
    pub firms: Vec<FirmId>,
    /// The hours.
    pub schedule: DaySchedule,
    /// Orders alive at once.
    pub order_count_max: u32,
    /// References of a day: one for each order, replacement, and refresh of a reserve order.
    pub reference_count_max: u32,
    /// Price levels alive at once, over all symbols and sides.
    pub level_count_max: u32,
    /// Price levels on one side of one symbol.
    pub side_level_count_max: u32,
}

/// A value that no venue can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}: {bound}")]
pub struct VenueConfigError {
    /// Name of the field.
    pub key: &'static str,
    /// Its value.
    pub value: u64,
    /// What it must be.
    pub bound: &'static str,
}

impl VenueConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`VenueConfigError`] for the first that is out of range.
    pub fn validate(&self) -> Result<(), VenueConfigError> {
        let error = |key, value, bound| Err(VenueConfigError { key, value, bound });
        let symbol_count = u64::try_from(self.symbols.len()).unwrap_or(u64::MAX);
        if !(1..=65_535).contains(&symbol_count) {
            return error("symbols", symbol_count, "1 to 65,535");
        }
        if self.firms.is_empty() {
            return error("firms", 0, "at least one account");
        }
        for (key, value) in [
            ("order_count_max", self.order_count_max),
            ("reference_count_max", self.reference_count_max),
            ("level_count_max", self.level_count_max),
            ("side_level_count_max", self.side_level_count_max),
        ] {
            if value == 0 || value > 1 << 30 {
                return error(key, u64::from(value), "1 to 1,073,741,824");
            }
        }
        if !self.schedule.times.is_sorted() {
            return error("schedule", 0, "times that never fall");
        }
        for (symbol, index) in self.symbols.iter().zip(0_u64..) {
            if !is_expressible(&symbol.ticks) {
                return error("symbols.ticks", index, "steps that are multiples of 0.0001, for every symbol");
            }
            if !is_allowed(&symbol.ticks, symbol.reference_price) {
                return error("symbols.reference_price", index, "above 0 and on the tick, for every symbol");
            }
        }
        Ok(())
    }
}
