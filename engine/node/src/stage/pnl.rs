//! Profit and loss of a run, in exact integers: cash, holdings and their value at the middle of bid and ask.

use peregrine_book::MarketBooks;
use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, Liquidity, MidX2, Nanos, Notional, Position, Side, SymbolId,
};

/// Points that the equity curve holds at most; when it is full every second one goes and the step doubles.
const CURVE_POINTS_MAX: usize = 4_096;

/// One symbol's trading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolPnl {
    /// The instrument.
    pub symbol: SymbolId,
    /// What is held.
    pub position: Position,
    /// Money received less money paid, fees left out.
    pub cash: Notional,
    /// Fees paid; negative when rebates were larger.
    pub fees: Notional,
    /// Value traded, both sides.
    pub turnover: Notional,
    /// Shares bought.
    pub bought_qty: u64,
    /// Shares sold.
    pub sold_qty: u64,
    /// Orders that were accepted.
    pub order_count: u64,
    /// Fills that added liquidity.
    pub fills_added: u64,
    /// Fills that removed liquidity.
    pub fills_removed: u64,
    /// Last middle at which the symbol was valued.
    pub mid_x2: Option<MidX2>,
}

/// A moment and the value of everything then: cash less fees plus holdings at the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EquityPoint {
    /// When, in the time of the input.
    pub time: EpochNanos,
    /// Worth.
    pub equity: Notional,
    /// Value of all holdings without their signs.
    pub gross: Notional,
}

/// The books of money of one run. All memory is taken at construction.
#[derive(Debug)]
pub struct Pnl {
    slots: Box<[Option<u32>]>,
    rows: Vec<SymbolPnl>,
    curve: Vec<EquityPoint>,
    step: Nanos,
    next_point: EpochNanos,
    gross_max: Notional,
}

impl Pnl {
    /// For symbols below `symbol_count_max`, of which at most `traded_count_max` are traded; a point every `step`.
    #[must_use]
    pub fn new(symbol_count_max: usize, traded_count_max: usize, step: Nanos) -> Self {
        Self {
            slots: vec![None; symbol_count_max].into_boxed_slice(),
            rows: Vec::with_capacity(traded_count_max),
            curve: Vec::with_capacity(CURVE_POINTS_MAX),
            step,
            next_point: EpochNanos::MIN,
            gross_max: Notional::ZERO,
        }
    }

    /// The curve begins at `from`.
    pub const fn begin(&mut self, from: EpochNanos) {
        self.next_point = from;
    }

    /// Books a fill and counts an accepted order; other reports leave no trace.
    pub fn on_execution(&mut self, execution: &Execution) {
        match execution.kind {
            ExecutionKind::Filled => self.on_fill(execution),
            ExecutionKind::Busted => self.on_bust(execution),
            ExecutionKind::Accepted => {
                if let Some(row) = self.row(execution.symbol) {
                    row.order_count = row.order_count.saturating_add(1);
                }
            }
            ExecutionKind::Canceled
            | ExecutionKind::Reduced
            | ExecutionKind::Rejected
            | ExecutionKind::Replaced
            | ExecutionKind::CancelRejected => {}
        }
    }

    fn on_fill(&mut self, execution: &Execution) {
        let Some(row) = self.row(execution.symbol) else { return };
        let value = execution.price.times(execution.qty);
        row.position = row.position.after(execution.side, execution.qty).unwrap_or(row.position);
        match execution.side {
            Side::Buy => {
                row.cash = row.cash.saturating_sub(value);
                row.bought_qty = row.bought_qty.saturating_add(execution.qty.0);
            }
            Side::Sell => {
                row.cash = row.cash.saturating_add(value);
                row.sold_qty = row.sold_qty.saturating_add(execution.qty.0);
            }
        }
        row.fees = row.fees.saturating_add(execution.fee);
        row.turnover = row.turnover.saturating_add(value);
        match execution.liquidity {
            Liquidity::Added => row.fills_added = row.fills_added.saturating_add(1),
            Liquidity::Removed => row.fills_removed = row.fills_removed.saturating_add(1),
        }
    }

    /// A fill that does not count any more: its money and its shares go back.
    fn on_bust(&mut self, execution: &Execution) {
        let Some(row) = self.row(execution.symbol) else { return };
        let value = execution.price.times(execution.qty);
        row.position = row.position.after(execution.side.opposite(), execution.qty).unwrap_or(row.position);
        match execution.side {
            Side::Buy => {
                row.cash = row.cash.saturating_add(value);
                row.bought_qty = row.bought_qty.saturating_sub(execution.qty.0);
            }
            Side::Sell => {
                row.cash = row.cash.saturating_sub(value);
                row.sold_qty = row.sold_qty.saturating_sub(execution.qty.0);
            }
        }
        row.fees = row.fees.saturating_sub(execution.fee);
        row.turnover = row.turnover.saturating_sub(value);
    }

    /// Notes a point of the curve when one is due.
    #[inline]
    pub fn on_time(&mut self, now: EpochNanos, books: &impl MarketBooks) {
        if now >= self.next_point {
            self.note(now, books);
        }
    }

    /// Values everything at `now` and notes it.
    pub fn note(&mut self, now: EpochNanos, books: &impl MarketBooks) {
        let (mut equity, mut gross) = (Notional::ZERO, Notional::ZERO);
        for row in &mut self.rows {
            let top = books.top(row.symbol);
            if let (Some(bid), Some(ask)) = (top.bid, top.ask) {
                row.mid_x2 = Some(MidX2::of(bid.price, ask.price));
            }
            let held = row.value();
            equity = equity.saturating_add(row.cash).saturating_sub(row.fees).saturating_add(held);
            gross = gross.saturating_add(Notional(held.0.saturating_abs()));
        }
        self.gross_max = self.gross_max.max(gross);
        if self.curve.len() == CURVE_POINTS_MAX {
            let mut index = 0_usize;
            self.curve.retain(|_| {
                index = index.wrapping_add(1);
                index % 2 == 1
            });
            self.step = Nanos(self.step.0.saturating_mul(2));
        }
        self.curve.push(EquityPoint { time: now, equity, gross });
        self.next_point = now.plus(self.step);
    }

    /// Every symbol with an accepted order or a fill, in order of the first one.
    #[must_use]
    pub fn rows(&self) -> &[SymbolPnl] {
        &self.rows
    }

    /// The equity curve.
    #[must_use]
    pub fn curve(&self) -> &[EquityPoint] {
        &self.curve
    }

    /// Largest value of all holdings without their signs at any point noted, those that the curve has given up included.
    #[must_use]
    pub const fn gross_max(&self) -> Notional {
        self.gross_max
    }

    fn row(&mut self, symbol: SymbolId) -> Option<&mut SymbolPnl> {
        let slot = self.slots.get_mut(symbol.index())?;
        let index = match *slot {
            Some(index) => index,
            None if self.rows.len() < self.rows.capacity() => {
                let index = u32::try_from(self.rows.len()).ok()?;
                *slot = Some(index);
                self.rows.push(SymbolPnl { symbol, ..SymbolPnl::default() });
                index
            }
            None => return None,
        };
        self.rows.get_mut(usize::try_from(index).ok()?)
    }
}

impl SymbolPnl {
    /// Fills of either kind.
    #[must_use]
    pub const fn fill_count(&self) -> u64 {
        self.fills_added.saturating_add(self.fills_removed)
    }

    /// The holding's worth at the last middle; zero when it was never valued.
    #[must_use]
    pub fn value(&self) -> Notional {
        let mid_x2 = self.mid_x2.map_or(0, |mid| mid.0);
        Notional(i128::from(self.position.0).saturating_mul(i128::from(mid_x2)) / 2)
    }

    /// Everything that trading the symbol brought: cash less fees plus what the holding is worth.
    #[must_use]
    pub fn net(&self) -> Notional {
        self.cash.saturating_sub(self.fees).saturating_add(self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_types::{MatchNumber, OrderId, Price, Qty, ReasonCode};

    fn report(symbol: u32, kind: ExecutionKind) -> Execution {
        Execution {
            order_id: OrderId(1),
            symbol: SymbolId(symbol),
            side: Side::Buy,
            kind,
            liquidity: Liquidity::Added,
            reason: ReasonCode::None,
            price: Price(5),
            qty: Qty(10),
            leaves_qty: Qty(0),
            match_number: MatchNumber(1),
            venue_time: EpochNanos(0),
            visible_time: EpochNanos(0),
            fee: Notional(3),
        }
    }

    #[test]
    fn what_was_only_refused_has_no_row_and_takes_no_place() {
        let mut pnl = Pnl::new(4, 1, Nanos::from_secs(1));
        for kind in [ExecutionKind::Rejected, ExecutionKind::CancelRejected, ExecutionKind::Canceled] {
            pnl.on_execution(&report(0, kind));
        }
        assert!(pnl.rows().is_empty());
        pnl.on_execution(&report(1, ExecutionKind::Accepted));
        pnl.on_execution(&report(1, ExecutionKind::Filled));
        let row = pnl.rows()[0];
        assert_eq!((row.symbol, row.order_count, row.fills_added), (SymbolId(1), 1, 1));
        assert_eq!((row.cash, row.fees, row.position), (Notional(-50), Notional(3), Position(10)));
    }
}
