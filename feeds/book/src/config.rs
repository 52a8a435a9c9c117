//! Capacities, fixed at start.

use core::fmt;

/// How much the books hold. Everything is allocated once, from these numbers; nothing grows afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookConfig {
    /// Symbols with a book: ids below this. 1 to 1,048,576.
    pub symbol_count_max: u32,
    /// Orders alive at once in the whole market. 1 to 16,777,215 (a level counts its orders in 24 bits).
    pub order_count_max: u32,
    /// Price levels of the whole market: the sum, over both sides of every symbol, of the most levels that the side
    /// held at once in this session. 1 to 67,108,864.
    pub level_count_max: u32,
    /// Whether a symbol of which no trading state was ever heard counts as trading. False is what the venue says
    /// (ITCH 5.0, Stock Trading Action: a security without one is halted); true is for cut or re-encoded files that
    /// lack those messages.
    pub is_unknown_state_tradable: bool,
}

impl BookConfig {
    /// Most symbols that can be asked for.
    pub const SYMBOL_COUNT_LIMIT: u32 = 1 << 20;
    /// Most live orders that can be asked for.
    pub const ORDER_COUNT_LIMIT: u32 = (1 << 24) - 1;
    /// Most levels that can be asked for.
    pub const LEVEL_COUNT_LIMIT: u32 = 1 << 26;

    /// Books for at most these many symbols, live orders and levels; unknown trading states count as halted.
    #[must_use]
    pub const fn new(symbol_count_max: u32, order_count_max: u32, level_count_max: u32) -> Self {
        Self { symbol_count_max, order_count_max, level_count_max, is_unknown_state_tradable: false }
    }

    /// Checks every capacity against its range.
    ///
    /// # Errors
    /// [`BookConfigError`] naming the first capacity that is out of range, its value and its bound.
    pub const fn validate(&self) -> Result<(), BookConfigError> {
        let checks = [
            ("symbol_count_max", self.symbol_count_max, Self::SYMBOL_COUNT_LIMIT),
            ("order_count_max", self.order_count_max, Self::ORDER_COUNT_LIMIT),
            ("level_count_max", self.level_count_max, Self::LEVEL_COUNT_LIMIT),
        ];
        let mut rest: &[(&'static str, u32, u32)] = &checks;
        while let [(key, value, limit), tail @ ..] = rest {
            if *value == 0 || *value > *limit {
                return Err(BookConfigError { key, value: *value, limit: *limit });
            }
            rest = tail;
        }
        Ok(())
    }
}

/// A capacity that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookConfigError {
    /// Name of the field of [`BookConfig`].
    pub key: &'static str,
    /// What was asked for.
    pub value: u32,
    /// The most that can be asked for; the least is 1.
    pub limit: u32,
}

impl fmt::Display for BookConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: must be 1 to {}", self.key, self.value, self.limit)
    }
}

impl core::error::Error for BookConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_checked_by_name() {
        assert_eq!(BookConfig::new(1, 1, 1).validate(), Ok(()));
        let error = BookConfig::new(1, 0, 1).validate().unwrap_err();
        assert_eq!(error.to_string(), "order_count_max = 0: must be 1 to 16777215");
        assert_eq!(BookConfig::new(1 << 21, 0, 1).validate().unwrap_err().key, "symbol_count_max");
        assert_eq!(BookConfig::new(1, 1, u32::MAX).validate().unwrap_err().key, "level_count_max");
    }
}
