//! Events that cannot be true, and how often each kind was seen.

/// What is impossible about an event. Every one is counted (market-wide and per symbol), named in
/// [`BookUpdate::anomaly`](crate::BookUpdate::anomaly) and quarantines the symbol until the quarantine is cleared or a
/// session starts. Each variant says what the book does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BookAnomaly {
    /// An execution, cancel, delete or replace of an order that is not in the book. Nothing changes; the new order of
    /// a replace is not added, its side being unknown.
    UnknownOrder = 0,
    /// An add whose reference is live: the old order stays, the new one is refused. A replace whose new reference is
    /// live (the original included): the original is removed, the new one is refused.
    DuplicateAdd = 1,
    /// More executed than the order had: the order is removed, the update and its trade show what it still had.
    OverExecution = 2,
    /// More cancelled than the order had: the order is removed.
    OverCancel = 3,
    /// A quantity of zero. Add: refused. Execution, cancel: nothing changes. Replace: the original is removed, the new
    /// order is refused.
    ZeroQty = 4,
    /// A quantity above [`ORDER_QTY_MAX`](crate::ORDER_QTY_MAX), or one that would lift its level above
    /// [`LEVEL_QTY_MAX`](crate::LEVEL_QTY_MAX): refused; of a replace the original is removed.
    QtyTooLarge = 5,
    /// A price of zero or below. Add: refused. Replace: the original is removed, the new order is refused. Execution at
    /// a price: the order is reduced, the trade is withheld.
    InvalidPrice = 6,
    /// An execution, cancel, delete or replace under another symbol than the order's: nothing changes, **both** symbols
    /// are quarantined (it is counted for the event's symbol).
    SymbolMismatch = 7,
    /// A symbol that has no book (at or above `symbol_count_max`, or the market's own id in an order event): nothing
    /// changes. Counted market-wide; there is no book to quarantine, and `state` reports it quarantined anyway.
    SymbolOutOfRange = 8,
    /// No room for one more order (`order_count_max`): refused; of a replace the original is removed first, so this
    /// cannot happen there.
    OrderCapacity = 9,
    /// No room for one more price level (`level_count_max`, or [`SIDE_LEVEL_COUNT_MAX`](crate::SIDE_LEVEL_COUNT_MAX)):
    /// refused; of a replace the original is removed.
    LevelCapacity = 10,
    /// A trading state or operational-halt action that the specification does not list: the symbol counts as halted.
    UnknownStateCode = 11,
    /// An order's price level was not found: a fault of the book itself, never seen. The order is removed.
    LevelMissing = 12,
}

impl BookAnomaly {
    /// How many kinds there are.
    pub const COUNT: usize = 13;

    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::UnknownOrder,
        Self::DuplicateAdd,
        Self::OverExecution,
        Self::OverCancel,
        Self::ZeroQty,
        Self::QtyTooLarge,
        Self::InvalidPrice,
        Self::SymbolMismatch,
        Self::SymbolOutOfRange,
        Self::OrderCapacity,
        Self::LevelCapacity,
        Self::UnknownStateCode,
        Self::LevelMissing,
    ];

    /// The name as reports show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownOrder => "unknown order",
            Self::DuplicateAdd => "duplicate add",
            Self::OverExecution => "over-execution",
            Self::OverCancel => "over-cancel",
            Self::ZeroQty => "zero quantity",
            Self::QtyTooLarge => "quantity too large",
            Self::InvalidPrice => "invalid price",
            Self::SymbolMismatch => "symbol mismatch",
            Self::SymbolOutOfRange => "symbol out of range",
            Self::OrderCapacity => "order capacity",
            Self::LevelCapacity => "level capacity",
            Self::UnknownStateCode => "unknown state code",
            Self::LevelMissing => "level missing",
        }
    }
}

/// How often each kind of anomaly was seen; counts saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnomalyCounts([u32; BookAnomaly::COUNT]);

impl AnomalyCounts {
    /// How often `anomaly` was seen.
    #[must_use]
    pub fn of(&self, anomaly: BookAnomaly) -> u32 {
        self.0.get(anomaly as usize).copied().unwrap_or(0)
    }

    /// How many were seen of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0_u64, |sum, count| sum.saturating_add(u64::from(*count)))
    }

    /// Every kind that was seen, with its count.
    pub fn seen(&self) -> impl Iterator<Item = (BookAnomaly, u32)> + '_ {
        BookAnomaly::ALL.into_iter().map(|kind| (kind, self.of(kind))).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn count(&mut self, anomaly: BookAnomaly) {
        if let Some(count) = self.0.get_mut(anomaly as usize) {
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_index_the_counts() {
        for (index, kind) in BookAnomaly::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        let mut counts = AnomalyCounts::default();
        counts.count(BookAnomaly::ZeroQty);
        counts.count(BookAnomaly::ZeroQty);
        assert_eq!(counts.seen().collect::<Vec<_>>(), [(BookAnomaly::ZeroQty, 2)]);
        assert_eq!(counts.total(), 2);
    }
}
