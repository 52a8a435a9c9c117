//! The gate: intents in, approved orders or reason codes out.

mod alone;
mod replace;

use peregrine_types::{
    BookState, EpochNanos, EventSeq, Execution, ExecutionKind, NewOrder, OrderCommand, OrderId, OrderIntent, Position,
    Price, Qty, ReasonCode, Side, SymbolId, TopOfBook,
};

use crate::{
    InstrumentRules, Limits,
    exposure::{SymbolRisk, of, with},
    orders::{OpenOrder, OpenOrders, SeenMatches},
    window::{RateWindow, SentOrders},
};
use alone::{check_market, check_order};

/// How many fills are remembered, by their match numbers, to recognise a repeated one: the last 65,536, in 2.5 MiB taken
/// at start. A repeat that comes later than that is counted again, as [`ExecutionEffect::Unexpected`] when its order is
/// gone. A fill without a number (0) cannot be recognised.
pub const MATCHES_REMEMBERED: usize = 1 << 16;
/// First number of the reason codes that the gate gives.
const DENIED_BASE: u16 = 1000;
const DENIED_COUNT: usize = 32;

/// An order, or a cancel, that passed every check. The gateway takes nothing else; only [`RiskGate::check`] makes one,
/// and it cannot be copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an approved order is counted as open: send it or revoke it"]
pub struct ApprovedOrder {
    command: OrderCommand,
}

impl ApprovedOrder {
    /// What is to go to the venue.
    #[must_use]
    pub const fn command(&self) -> &OrderCommand {
        &self.command
    }
}

/// What the gate is told about the market at the moment of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskContext {
    /// What stands against the book.
    pub book_state: BookState,
    /// What prices are held against: the last trade or the middle of the book.
    pub reference_price: Option<Price>,
    /// Best bid and ask.
    pub top: TopOfBook,
    /// `recv_time` of the newest event of the symbol.
    pub data_time: EpochNanos,
    /// Whether every feature and every output of the model was a finite number.
    pub is_input_finite: bool,
}

/// What may be sent now. Breakers and the kill switch set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TradingMode {
    /// Everything that passes the checks.
    #[default]
    Active,
    /// Cancels, and orders that can only make a position smaller.
    Reducing,
    /// Cancels alone.
    Halted,
}

/// What a report of the venue did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionEffect {
    /// It was counted.
    Applied,
    /// It was counted before, or it is about an order that is gone: nothing changed.
    Repeated,
    /// It was counted although it does not fit the order (a fill of an order that is gone, of more than was open, or of
    /// another symbol or side, which leaves the order as it was): somebody must look at it.
    Unexpected,
}

/// The pre-trade checks of one account: limits, positions, open orders.
///
/// Checks come in this order, and the first one that fails gives the reason: trading halted, symbol permitted, inputs
/// finite, book (quarantined, stale, halted, crossed or locked), age of the data, quantity, price and tick, reference
/// price and collar, value, self-trade, duplicate, count of open orders, reducing mode, position, gross exposure,
/// message rate. A denied order counts nowhere. Cancels are held against the open orders alone and never denied for
/// their rate, but they count in it.
///
/// A replacement passes the same checks with its price and its total quantity. While nobody knows which of the two lives
/// they count as one order of the larger rest at the worse price: quantities are totals of the chain, so that what one
/// executes the other cannot (OUCH 5.0, Replace Order). One that adds nothing to the position's worst case passes above
/// that limit too. Both take a place among the open orders until the venue has spoken, and a cancel of either is a cancel
/// of both.
#[derive(Debug)]
pub struct RiskGate {
    limits: Limits,
    mode: TradingMode,
    symbols: Box<[SymbolRisk]>,
    /// What may be traded and by which price steps; apart from the figures above, which every order copies.
    rules: Box<[Option<InstrumentRules>]>,
    orders: OpenOrders,
    seen: SeenMatches,
    rate: RateWindow,
    sent: SentOrders,
    gross: i128,
    last_id: u64,
    approved_count: u64,
    denied: [u64; DENIED_COUNT],
}

impl RiskGate {
    /// A gate for symbols below `symbol_count_max`, none of which is permitted yet. All memory is taken here.
    #[must_use]
    pub fn new(limits: &Limits, symbol_count_max: u32) -> Self {
        Self {
            limits: *limits,
            mode: TradingMode::Active,
            symbols: vec![SymbolRisk::default(); symbol_count_max as usize].into_boxed_slice(),
            rules: vec![None; symbol_count_max as usize].into_boxed_slice(),
            orders: OpenOrders::new(symbol_count_max, limits.open_orders_max),
            seen: SeenMatches::new(MATCHES_REMEMBERED),
            rate: RateWindow::new(limits.order_rate_max, limits.order_rate_window),
            sent: SentOrders::new(limits.order_rate_max, limits.duplicate_window),
            gross: 0,
            last_id: 0,
            approved_count: 0,
            denied: [0; DENIED_COUNT],
        }
    }

    /// Permits orders in `symbol` under `rules`, or with `None` no more. False when the symbol is out of range.
    pub fn permit(&mut self, symbol: SymbolId, rules: Option<InstrumentRules>) -> bool {
        match self.rules.get_mut(symbol.index()) {
            Some(known) => {
                *known = rules;
                true
            }
            None => false,
        }
    }

    /// Sets what may be sent from now on.
    pub fn set_mode(&mut self, mode: TradingMode) {
        self.mode = mode;
    }

    /// What may be sent now.
    #[must_use]
    pub const fn mode(&self) -> TradingMode {
        self.mode
    }

    /// Reads what [`check`](Self::check) will need for a new order of `symbol`, so that it is on its way while the decision
    /// is still being made: between two orders all of it may have left the nearer caches. Changes nothing.
    #[inline]
    pub fn prefetch_hint(&self, symbol: SymbolId) {
        let state = self.symbols.get(symbol.index()).map_or(0, |state| {
            let [opening, closing] = state.open_notional;
            let sums = opening ^ closing ^ state.counted ^ i128::from(state.position ^ state.mark);
            u64::try_from(sums & i128::from(u32::MAX)).unwrap_or(0)
        });
        let is_permitted = self.rules.get(symbol.index()).is_some_and(Option::is_some);
        let orders = self.orders.touch(OrderId(self.last_id.wrapping_add(1)), symbol) ^ u64::from(is_permitted);
        let own = self.limits.order_qty_max ^ self.approved_count ^ u64::from(self.limits.open_orders_max);
        core::hint::black_box(state ^ orders ^ own ^ self.rate.touch() ^ self.sent.touch());
    }

    /// The next order gets a number above `order_id`: what earlier runs of the venue's session used is never used again.
    pub const fn begin_after(&mut self, order_id: OrderId) {
        if order_id.0 > self.last_id {
            self.last_id = order_id.0;
        }
    }

    /// The number of the order approved last, or the one above which the next lies; 0 before the first.
    #[must_use]
    #[inline]
    pub const fn last_number(&self) -> OrderId {
        OrderId(self.last_id)
    }

    /// Holds an intent against every limit. An approved order is open, and its message counted, when this returns.
    ///
    /// `cause` is the market event that it answers and `now` that event's `recv_time`.
    ///
    /// # Errors
    /// The reason code of the first check that failed; it was counted.
    #[inline]
    pub fn check(
        &mut self,
        intent: &OrderIntent,
        context: &RiskContext,
        cause: EventSeq,
        now: EpochNanos,
    ) -> Result<ApprovedOrder, ReasonCode> {
        let checked = match intent {
            OrderIntent::New(order) => self.check_new(order, context, now).map(|order_id| OrderCommand::New {
                order_id,
                order: *order,
                cause,
                decision_time: now,
            }),
            OrderIntent::Cancel { order_id, symbol } => {
                self.check_cancel(*order_id, *symbol).map(|(order_id, replacement)| OrderCommand::Cancel {
                    order_id,
                    replacement,
                    symbol: *symbol,
                    cause,
                    decision_time: now,
                })
            }
            OrderIntent::Replace { order_id, symbol, price, qty } => {
                let wanted = (*order_id, *symbol, *price, *qty);
                self.check_replace(wanted, context, now).map(|(replacement, order)| OrderCommand::Replace {
                    order_id: replacement,
                    replaces: *order_id,
                    order,
                    cause,
                    decision_time: now,
                })
            }
        };
        match checked {
            Ok(command) => {
                self.rate.count(now);
                self.approved_count = self.approved_count.saturating_add(1);
                Ok(ApprovedOrder { command })
            }
            Err(reason) => {
                let number = usize::from(reason.number().saturating_sub(DENIED_BASE));
                if let Some(count) = self.denied.get_mut(number) {
                    *count = count.saturating_add(1);
                }
                Err(reason)
            }
        }
    }

    fn check_new(&mut self, order: &NewOrder, context: &RiskContext, now: EpochNanos) -> Result<OrderId, ReasonCode> {
        let opening = self.examine_new(order, context, now)?;
        Ok(self.open(order, &opening, now))
    }

    /// Goes through the checks of a new order and counts nothing: called while nothing happens, so that their code and memory
    /// are warm when an order comes.
    pub fn rehearse(&self, order: &NewOrder, context: &RiskContext, now: EpochNanos) {
        self.prefetch_hint(order.symbol);
        core::hint::black_box(self.examine_new(order, context, now).is_ok());
    }

    /// What opening the order would make of the exposure, if it passes every check. Never a part of its caller: what is
    /// rehearsed is to be the very code that an order runs.
    #[inline(never)]
    fn examine_new(&self, order: &NewOrder, context: &RiskContext, now: EpochNanos) -> Result<Opening, ReasonCode> {
        if self.mode == TradingMode::Halted {
            return Err(ReasonCode::TradingHalted);
        }
        let symbol = self.symbols.get(order.symbol.index()).ok_or(ReasonCode::SymbolNotPermitted)?;
        let rules = self.rules.get(order.symbol.index()).and_then(Option::as_ref);
        let rules = rules.ok_or(ReasonCode::SymbolNotPermitted)?;
        check_market(&self.limits, context, now)?;
        let reference = check_order(&self.limits, rules, order, context)?;
        let worst_price = match order.side {
            Side::Buy => order.price,
            Side::Sell => order.price.max(reference),
        };
        let notional = value(worst_price, order.qty.0).ok_or(ReasonCode::Overflow)?;
        if notional > self.limits.order_notional_max {
            return Err(ReasonCode::OrderNotionalLimit);
        }
        self.check_others(order, symbol, now)?;
        self.check_position(order, symbol)?;
        let opened = self.check_gross(symbol, reference, (order.side, order.qty.0, notional))?;
        if !self.rate.has_room(now) {
            return Err(ReasonCode::OrderRateLimit);
        }
        Ok(Opening { worst_price, opened })
    }

    /// Checks against our own other orders.
    fn check_others(&self, order: &NewOrder, symbol: &SymbolRisk, now: EpochNanos) -> Result<(), ReasonCode> {
        let opposite = order.side.opposite();
        let is_self_trade = of(&symbol.open_qty, opposite) > 0
            && self
                .orders
                .of(order.symbol, opposite)
                .any(|own| own.leaves > 0 && !own.price.is_better_than(order.price, order.side));
        if is_self_trade {
            return Err(ReasonCode::SelfTrade);
        }
        if self.sent.contains(order, now) {
            return Err(ReasonCode::DuplicateOrder);
        }
        if self.orders.count() >= self.limits.open_orders_max {
            return Err(ReasonCode::OpenOrdersLimit);
        }
        Ok(())
    }

    fn check_position(&self, order: &NewOrder, symbol: &SymbolRisk) -> Result<(), ReasonCode> {
        let worst = symbol.worst_position(order.side, order.qty.0);
        if self.mode == TradingMode::Reducing && worst > 0 {
            return Err(ReasonCode::TradingHalted);
        }
        if worst > i128::from(self.limits.position_qty_max) {
            return Err(ReasonCode::PositionLimit);
        }
        Ok(())
    }

    /// What the symbol's sums and the gross exposure become with `qty` more open. An order that adds nothing to the
    /// symbol's worst case passes above the limit too: it is the way back.
    fn check_gross(
        &self,
        symbol: &SymbolRisk,
        Price(mark): Price,
        (side, qty, notional): (Side, u64, i128),
    ) -> Result<Opened, ReasonCode> {
        let open = symbol.with_more(side, qty, notional).ok_or(ReasonCode::Overflow)?;
        let was = symbol.exposure_at(mark, symbol.open_notional).ok_or(ReasonCode::Overflow)?;
        let is = symbol.exposure_at(mark, with(symbol.open_notional, side, open.1)).ok_or(ReasonCode::Overflow)?;
        let others = self.gross.checked_sub(symbol.counted).ok_or(ReasonCode::Overflow)?;
        let gross = others.checked_add(is).ok_or(ReasonCode::Overflow)?;
        if gross > self.limits.gross_notional_max && is > was {
            return Err(ReasonCode::GrossExposureLimit);
        }
        Ok(Opened { open, mark, counted: is, gross })
    }

    /// Counts an order that passed every check.
    fn open(&mut self, order: &NewOrder, Opening { worst_price, opened }: &Opening, now: EpochNanos) -> OrderId {
        self.last_id = self.last_id.saturating_add(1);
        let id = OrderId(self.last_id);
        let mut open = OpenOrder::new(id, order.symbol, order.side, order.price);
        open.leaves = order.qty.0;
        open.worst_price = *worst_price;
        (open.time_in_force, open.is_post_only) = (order.time_in_force, order.is_post_only);
        let is_in = self.orders.insert(open);
        debug_assert!(is_in, "the count of open orders was checked");
        self.sent.push(*order, now);
        self.count_opened((order.symbol, order.side), opened);
        id
    }

    /// Puts the sums of a symbol, and the gross exposure, in the place of those before an order was opened.
    fn count_opened(&mut self, (symbol, side): (SymbolId, Side), &Opened { open, mark, counted, gross }: &Opened) {
        self.gross = gross;
        if let Some(symbol) = self.symbols.get_mut(symbol.index()) {
            symbol.set_open(side, open);
            (symbol.mark, symbol.counted) = (mark, counted);
        }
    }
}

/// What an order that passed every check makes of the exposure.
struct Opening {
    worst_price: Price,
    opened: Opened,
}

/// What becomes of a symbol's sums, and of the gross exposure, with an order more open.
struct Opened {
    /// Open quantity of the order's side, and its value.
    open: (u64, i128),
    mark: i64,
    counted: i128,
    gross: i128,
}

/// The exact value of `qty` at `price`.
fn value(price: Price, qty: u64) -> Option<i128> {
    i128::from(price.0).checked_mul(i128::from(qty))
}

impl RiskGate {
    /// Takes back an approved order that could not be handed to the gateway: it is not open any more.
    pub fn revoke(&mut self, order: ApprovedOrder) {
        match order.command {
            OrderCommand::New { order_id, .. } | OrderCommand::Replace { order_id, .. } => {
                self.release(order_id, u64::MAX);
            }
            OrderCommand::Cancel { order_id, replacement, .. } => {
                for id in [order_id, replacement] {
                    if let Some(order) = self.orders.get_mut(id) {
                        order.is_cancel_pending = false;
                    }
                }
            }
        }
    }

    /// Counts what the venue reports. A fill that was reported before (by its match number, among the last
    /// [`MATCHES_REMEMBERED`]) is
    /// not counted again. An order stays open until fills and cancels have accounted for all of its quantity, so that a
    /// fill that comes after the cancel's report is still covered.
    pub fn on_execution(&mut self, execution: &Execution) -> ExecutionEffect {
        match execution.kind {
            ExecutionKind::Accepted => match self.orders.get(execution.order_id) {
                Some(_) => ExecutionEffect::Applied,
                None => ExecutionEffect::Repeated,
            },
            ExecutionKind::Rejected => match self.orders.get(execution.order_id) {
                Some(order) if order.is_filled => ExecutionEffect::Unexpected,
                Some(_) => self.release(execution.order_id, u64::MAX),
                None => ExecutionEffect::Repeated,
            },
            ExecutionKind::Filled => self.on_fill(execution),
            ExecutionKind::Canceled => match self.orders.get_mut(execution.order_id) {
                Some(order) if !order.is_canceled => {
                    order.is_canceled = true;
                    self.release(execution.order_id, execution.qty.0)
                }
                Some(_) | None => ExecutionEffect::Repeated,
            },
            ExecutionKind::Reduced => match self.orders.get(execution.order_id) {
                Some(order) if !order.is_canceled => self.release(execution.order_id, execution.qty.0),
                Some(_) | None => ExecutionEffect::Repeated,
            },
            ExecutionKind::Busted => self.on_bust(execution),
            ExecutionKind::Replaced => self.on_replaced(execution),
            ExecutionKind::CancelRejected => match self.orders.get_mut(execution.order_id) {
                Some(order) => {
                    order.is_cancel_pending = false;
                    ExecutionEffect::Applied
                }
                None => ExecutionEffect::Repeated,
            },
        }
    }

    fn on_fill(&mut self, fill: &Execution) -> ExecutionEffect {
        if !self.seen.insert(fill.match_number) {
            return ExecutionEffect::Repeated;
        }
        let order =
            self.orders.get(fill.order_id).filter(|order| order.symbol == fill.symbol && order.side == fill.side);
        let is_of_order = order.is_some();
        let is_expected = order.is_some_and(|order| order.leaves >= fill.qty.0);
        let mut is_exact = true;
        if let Some(symbol) = self.symbols.get_mut(fill.symbol.index()) {
            match Position(symbol.position).after(fill.side, fill.qty) {
                Some(position) => symbol.position = position.0,
                None => is_exact = false,
            }
            if symbol.mark == 0 {
                symbol.mark = fill.price.0;
            }
        }
        if !is_exact {
            // No position that fits its type can be this large: nothing more may be sent on such books.
            self.mode = TradingMode::Halted;
        }
        if is_of_order && let Some(order) = self.orders.get_mut(fill.order_id) {
            order.is_filled = true;
            order.executed = order.executed.saturating_add(fill.qty.0);
            let partner = order.partner;
            self.release(fill.order_id, fill.qty.0);
            if partner.0 != 0 {
                self.on_fill_of_replaced(partner, fill.qty.0);
            }
        }
        self.recount(fill.symbol);
        if is_expected && is_exact { ExecutionEffect::Applied } else { ExecutionEffect::Unexpected }
    }

    /// A fill that does not count any more: the position goes back. The gateway tells each once.
    fn on_bust(&mut self, bust: &Execution) -> ExecutionEffect {
        let position = self.symbols.get_mut(bust.symbol.index());
        let is_exact = position.is_some_and(|symbol| {
            let after = Position(symbol.position).after(bust.side.opposite(), bust.qty);
            symbol.position = after.map_or(symbol.position, |position| position.0);
            after.is_some()
        });
        if !is_exact {
            self.mode = TradingMode::Halted;
        }
        self.recount(bust.symbol);
        if is_exact { ExecutionEffect::Applied } else { ExecutionEffect::Unexpected }
    }

    /// Takes at most `qty` off an order, and the order off the list when nothing is left.
    fn release(&mut self, id: OrderId, qty: u64) -> ExecutionEffect {
        let Some(order) = self.orders.get_mut(id) else {
            return ExecutionEffect::Repeated;
        };
        if order.partner.0 != 0 || order.is_waiting {
            return self.release_of_pair(id, qty);
        }
        let qty = qty.min(order.leaves);
        order.leaves = order.leaves.saturating_sub(qty);
        let order = *order;
        if let Some(symbol) = self.symbols.get_mut(order.symbol.index()) {
            symbol.release(order.side, qty, value(order.worst_price, qty).unwrap_or(0));
        }
        if order.leaves == 0 {
            self.orders.remove(id);
        }
        self.recount(order.symbol);
        ExecutionEffect::Applied
    }

    /// Brings the gross exposure up to date with one symbol.
    fn recount(&mut self, symbol: SymbolId) {
        if let Some(symbol) = self.symbols.get_mut(symbol.index()) {
            let gross = symbol.exposure().and_then(|exposure| {
                let gross = self.gross.checked_sub(symbol.counted)?.checked_add(exposure)?;
                symbol.counted = exposure;
                Some(gross)
            });
            match gross {
                Some(gross) => self.gross = gross,
                // An exposure that no i128 holds cannot be limited: nothing more may be sent.
                None => self.mode = TradingMode::Halted,
            }
        }
    }

    /// Our position; flat for a symbol out of range.
    #[must_use]
    pub fn position(&self, symbol: SymbolId) -> Position {
        Position(self.symbols.get(symbol.index()).map_or(0, |state| state.position))
    }

    /// What is open on `side`, cancels that are under way included.
    #[must_use]
    pub fn open_qty(&self, symbol: SymbolId, side: Side) -> Qty {
        Qty(self.symbols.get(symbol.index()).map_or(0, |state| of(&state.open_qty, side)))
    }

    /// What is still open of one order, `None` when it is gone.
    #[must_use]
    pub fn leaves_qty(&self, id: OrderId) -> Option<Qty> {
        self.orders.get(id).map(|order| Qty(order.leaves))
    }

    /// The open orders of a symbol on one side, the youngest first.
    pub fn open_orders(&self, symbol: SymbolId, side: Side) -> impl Iterator<Item = OrderId> {
        self.orders.of(symbol, side).map(|order| order.id)
    }

    /// How many orders are open.
    #[must_use]
    pub fn open_order_count(&self) -> u32 {
        self.orders.count()
    }

    /// The sum of the worst-case exposures of all symbols, in 10⁻⁹ of the currency.
    #[must_use]
    pub const fn gross_exposure(&self) -> peregrine_types::Notional {
        peregrine_types::Notional(self.gross)
    }

    /// How many orders and cancels were approved.
    #[must_use]
    pub const fn approved_count(&self) -> u64 {
        self.approved_count
    }

    /// How many were denied for `reason`.
    #[must_use]
    pub fn denied_count(&self, reason: ReasonCode) -> u64 {
        let number = reason.number().checked_sub(DENIED_BASE).map(usize::from);
        number.and_then(|number| self.denied.get(number)).copied().unwrap_or(0)
    }

    /// A hash of positions and open quantities, for checkpoints.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut hash = self.last_id;
        let mut mix = |word: u64| {
            hash = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            hash ^= hash >> 29;
        };
        for (index, symbol) in self.symbols.iter().enumerate() {
            let [buys, sells] = symbol.open_qty;
            if symbol.position != 0 || buys != 0 || sells != 0 {
                mix(u64::try_from(index).unwrap_or(u64::MAX));
                mix(symbol.position.cast_unsigned());
                mix(buys);
                mix(sells);
            }
        }
        hash
    }
}
