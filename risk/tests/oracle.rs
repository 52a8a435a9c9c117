//! The gate against a slow, obvious, independent judge over random sequences of intents and reports.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use peregrine_risk::{InstrumentRules, LimitsConfig, RiskContext, RiskGate};
use peregrine_types::{
    BookState, EpochNanos, EventSeq, Execution, ExecutionKind, Liquidity, MatchNumber, Nanos, NewOrder, Notional,
    OrderCommand, OrderId, OrderIntent, Price, Qty, ReasonCode, Side, SymbolId, TickTable, TimeInForce, TopOfBook,
};
use proptest::prelude::*;

const CENT: i64 = 10_000_000;

#[derive(Clone, Debug)]
enum Step {
    New { symbol: u32, is_sell: bool, cents: i64, qty: u64, reference: i64 },
    Cancel { nth: usize },
    Fill { nth: usize, qty: u64, is_repeated: bool },
    Canceled { nth: usize },
    Rejected { nth: usize },
    Replace { nth: usize, cents: i64, qty: u64, reference: i64 },
    Replaced { nth: usize, less: u64 },
    ReplaceRejected { nth: usize },
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let new = (
        0_u32..9,
        any::<bool>(),
        prop_oneof![3 => 98_i64..103, 1 => 95_i64..106],
        prop_oneof![3 => 5_u64..8, 1 => 0_u64..12],
        98_i64..103,
    )
        .prop_map(|(symbol, is_sell, cents, qty, reference)| Step::New {
            symbol: symbol / 4,
            is_sell,
            cents,
            qty,
            reference,
        });
    prop_oneof![
        8 => new,
        2 => (0_usize..8).prop_map(|nth| Step::Cancel { nth }),
        5 => (0_usize..8, 1_u64..12, any::<bool>()).prop_map(|(nth, qty, is_repeated)| Step::Fill { nth, qty, is_repeated }),
        2 => (0_usize..8).prop_map(|nth| Step::Canceled { nth }),
        1 => (0_usize..8).prop_map(|nth| Step::Rejected { nth }),
        4 => (0_usize..8, 95_i64..106, 0_u64..12, 98_i64..103)
            .prop_map(|(nth, cents, qty, reference)| Step::Replace { nth, cents, qty, reference }),
        2 => (0_usize..8, 0_u64..2).prop_map(|(nth, less)| Step::Replaced { nth, less }),
        1 => (0_usize..8).prop_map(|nth| Step::ReplaceRejected { nth }),
        6 => (0_i64..30).prop_map(Step::Wait),
    ]
}

struct Open {
    id: u64,
    order: NewOrder,
    worst: i128,
    leaves: i128,
    executed: i128,
    is_filled: bool,
    is_cancel_pending: bool,
    next: Option<Next>,
}

/// A replacement on its way.
struct Next {
    id: u64,
    order: NewOrder,
    worst: i128,
    is_cancel_pending: bool,
}

impl Open {
    /// The most that both orders together can still execute, and the worst that it can cost.
    fn worst_case(&self) -> (i128, i128) {
        let Some(next) = &self.next else { return (self.leaves, self.leaves * self.worst) };
        let of_next = (i128::from(next.order.qty.0) - self.executed).max(0);
        if self.leaves == 0 {
            return (of_next, of_next * next.worst);
        }
        let qty = self.leaves.max(of_next);
        (qty, qty * self.worst.max(next.worst))
    }

    fn places(&self) -> usize {
        usize::from(self.leaves > 0) + usize::from(self.next.is_some())
    }
}

/// Everything that ever happened, and every sum taken anew from it.
struct Oracle {
    config: LimitsConfig,
    open: Vec<Open>,
    fills: Vec<(SymbolId, Side, i128)>,
    marks: [i128; 3],
    sent: Vec<(NewOrder, i64)>,
    messages: Vec<i64>,
    last_id: u64,
}

impl Oracle {
    fn position(&self, symbol: SymbolId) -> i128 {
        let signed = |(_, side, qty): &(SymbolId, Side, i128)| if *side == Side::Buy { *qty } else { -qty };
        self.fills.iter().filter(|fill| fill.0 == symbol).map(signed).sum()
    }

    fn open_qty(&self, symbol: SymbolId, side: Side) -> i128 {
        let of = |open: &&Open| open.order.symbol == symbol && open.order.side == side;
        self.open.iter().filter(of).map(|open| open.worst_case().0).sum()
    }

    fn exposure(&self, symbol: SymbolId, mark: i128, extra: Option<(Side, i128)>) -> i128 {
        let worth = |side: Side| -> i128 {
            let of = |open: &&Open| open.order.symbol == symbol && open.order.side == side;
            let open: i128 = self.open.iter().filter(of).map(|open| open.worst_case().1).sum();
            open + extra.filter(|extra| extra.0 == side).map_or(0, |extra| extra.1)
        };
        let held = self.position(symbol) * mark;
        (held + worth(Side::Buy)).max(worth(Side::Sell) - held)
    }

    fn gross(&self) -> i128 {
        (0..3_u32).map(|symbol| self.exposure(SymbolId(symbol), self.marks[symbol as usize], None)).sum()
    }

    fn count(&self) -> usize {
        self.open.iter().map(Open::places).sum()
    }

    /// Position and gross exposure with the order open, or with the worse of it and the one that it is to replace.
    fn judge_exposure(
        &self,
        order: &NewOrder,
        of: Option<usize>,
        (worst, reference): (i128, i128),
    ) -> Result<(), ReasonCode> {
        let qty = i128::from(order.qty.0);
        let signed = if order.side == Side::Buy { self.position(order.symbol) } else { -self.position(order.symbol) };
        let (more_qty, more_value) = match of {
            None => (qty, worst * qty),
            Some(at) => {
                let open = &self.open[at];
                let both = open.leaves.max(qty - open.executed);
                (both - open.leaves, both * open.worst.max(worst) - open.leaves * open.worst)
            }
        };
        let worst_position = signed + self.open_qty(order.symbol, order.side) + more_qty;
        if more_qty > 0 && worst_position > i128::from(self.config.position_qty_max.unwrap().0) {
            return Err(ReasonCode::PositionLimit);
        }
        let before = self.exposure(order.symbol, reference, None);
        let after = self.exposure(order.symbol, reference, Some((order.side, more_value)));
        let symbols = (0..3_u32).filter(|symbol| *symbol != order.symbol.0);
        let others: i128 =
            symbols.map(|symbol| self.exposure(SymbolId(symbol), self.marks[symbol as usize], None)).sum();
        if others + after > self.config.gross_notional_max.unwrap().0 && after > before {
            return Err(ReasonCode::GrossExposureLimit);
        }
        Ok(())
    }

    /// `of`: the order that it is to replace.
    fn judge(&self, order: &NewOrder, of: Option<usize>, reference: i128, now: i64) -> Result<(), ReasonCode> {
        let (price, qty) = (i128::from(order.price.0), i128::from(order.qty.0));
        if let Some(at) = of {
            let open = &self.open[at];
            if open.is_cancel_pending || open.next.is_some() {
                return Err(ReasonCode::DuplicateOrder);
            }
        }
        if order.symbol.0 > 1 {
            return Err(ReasonCode::SymbolNotPermitted);
        }
        if qty == 0 {
            return Err(ReasonCode::QtyZero);
        }
        if qty > i128::from(self.config.order_qty_max.unwrap().0) {
            return Err(ReasonCode::OrderQtyLimit);
        }
        if (price - reference).abs() * 10_000 > i128::from(self.config.price_collar_bps.unwrap()) * reference {
            return Err(ReasonCode::PriceCollar);
        }
        let worst = if order.side == Side::Sell && reference > price { reference } else { price };
        if worst * qty > self.config.order_notional_max.unwrap().0 {
            return Err(ReasonCode::OrderNotionalLimit);
        }
        if let Some(at) = of
            && qty <= self.open[at].executed
        {
            return Err(ReasonCode::QtyZero);
        }
        let meets_price = |side: Side, theirs: Price| match order.side {
            Side::Buy => side == Side::Sell && theirs <= order.price,
            Side::Sell => side == Side::Buy && theirs >= order.price,
        };
        let meets = |open: &Open| {
            let own = open.leaves > 0 && meets_price(open.order.side, open.order.price);
            let can_trade = |next: &&Next| i128::from(next.order.qty.0) > open.executed;
            let next = open.next.as_ref().filter(can_trade);
            let next = next.is_some_and(|next| meets_price(open.order.side, next.order.price));
            open.order.symbol == order.symbol && (own || next)
        };
        if self.open.iter().any(meets) {
            return Err(ReasonCode::SelfTrade);
        }
        let duplicate_window = self.config.duplicate_window.unwrap().0;
        if self.sent.iter().any(|(sent, time)| sent == order && now - time < duplicate_window) {
            return Err(ReasonCode::DuplicateOrder);
        }
        if self.count() >= self.config.open_orders_max.unwrap() as usize {
            return Err(ReasonCode::OpenOrdersLimit);
        }
        self.judge_exposure(order, of, (worst, reference))?;
        let rate_window = self.config.order_rate_window.unwrap().0;
        let in_window = self.messages.iter().filter(|time| now - **time < rate_window).count();
        if in_window >= self.config.order_rate_max.unwrap() as usize {
            return Err(ReasonCode::OrderRateLimit);
        }
        Ok(())
    }
}

fn config() -> LimitsConfig {
    LimitsConfig {
        order_qty_max: Some(Qty(10)),
        order_notional_max: Some(Notional(i128::from(CENT) * 950)),
        price_collar_bps: Some(400),
        position_qty_max: Some(Qty(25)),
        gross_notional_max: Some(Notional(i128::from(CENT) * 3_200)),
        open_orders_max: Some(4),
        order_rate_max: Some(6),
        order_rate_window: Some(Nanos(60)),
        duplicate_window: Some(Nanos(40)),
        data_age_max: Some(Nanos(1)),
    }
}

fn execution(kind: ExecutionKind, open: &Open, qty: u64, match_number: u64) -> Execution {
    Execution {
        order_id: OrderId(open.id),
        symbol: open.order.symbol,
        side: open.order.side,
        kind,
        liquidity: Liquidity::Added,
        reason: ReasonCode::None,
        price: open.order.price,
        qty: Qty(qty),
        leaves_qty: Qty(0),
        match_number: MatchNumber(match_number),
        venue_time: EpochNanos(0),
        visible_time: EpochNanos(0),
        fee: Notional(0),
    }
}

struct Duel {
    gate: RiskGate,
    oracle: Oracle,
    now: i64,
    match_number: u64,
    last_fill: Option<Execution>,
    verdicts: std::collections::BTreeMap<u16, u64>,
    replace_verdicts: std::collections::BTreeMap<u16, u64>,
}

/// Whether the venue may still refuse it: nothing was said of it.
fn is_fresh(open: &Open) -> bool {
    !open.is_filled && open.next.is_none()
}

impl Duel {
    fn new() -> Self {
        let mut gate = RiskGate::new(&config().validate().unwrap(), 3);
        let cent = InstrumentRules { ticks: TickTable::uniform_or_cent(Price(CENT)) };
        gate.permit(SymbolId(0), Some(cent));
        gate.permit(SymbolId(1), Some(cent));
        let oracle = Oracle {
            config: config(),
            open: Vec::new(),
            fills: Vec::new(),
            marks: [0; 3],
            sent: Vec::new(),
            messages: Vec::new(),
            last_id: 0,
        };
        Self {
            gate,
            oracle,
            now: 0,
            match_number: 0,
            last_fill: None,
            verdicts: Default::default(),
            replace_verdicts: Default::default(),
        }
    }

    fn context(&self, reference: i64) -> RiskContext {
        RiskContext {
            book_state: BookState::GOOD,
            reference_price: Some(Price(reference)),
            top: TopOfBook::default(),
            data_time: EpochNanos(self.now),
            is_input_finite: true,
        }
    }

    fn new_order(&mut self, order: NewOrder, reference: i64) {
        let expected = self.oracle.judge(&order, None, i128::from(reference), self.now);
        let context = self.context(reference);
        let found = self.gate.check(&OrderIntent::New(order), &context, EventSeq(0), EpochNanos(self.now));
        let verdict = found.as_ref().map(|_| ()).map_err(|reason| *reason);
        assert_eq!(verdict, expected, "{order:?} at {}", self.now);
        *self.verdicts.entry(expected.err().map_or(0, ReasonCode::number)).or_default() += 1;
        if let Ok(approved) = found {
            self.oracle.last_id += 1;
            assert_eq!(approved.command().order_id(), OrderId(self.oracle.last_id), "ids are dense from 1");
            let worst = if order.side == Side::Sell { order.price.0.max(reference) } else { order.price.0 };
            self.oracle.open.push(Open {
                id: self.oracle.last_id,
                order,
                worst: i128::from(worst),
                leaves: i128::from(order.qty.0),
                executed: 0,
                is_filled: false,
                is_cancel_pending: false,
                next: None,
            });
            self.oracle.marks[order.symbol.index()] = i128::from(reference);
            self.oracle.sent.push((order, self.now));
            self.oracle.messages.push(self.now);
        }
    }

    fn replace(&mut self, at: usize, price: Price, qty: Qty, reference: i64) {
        let open = &self.oracle.open[at];
        let order = NewOrder { price, qty, ..open.order };
        let intent = OrderIntent::Replace { order_id: OrderId(open.id), symbol: order.symbol, price, qty };
        let expected = self.oracle.judge(&order, Some(at), i128::from(reference), self.now);
        let context = self.context(reference);
        let found = self.gate.check(&intent, &context, EventSeq(0), EpochNanos(self.now));
        let verdict = found.as_ref().map(|_| ()).map_err(|reason| *reason);
        assert_eq!(verdict, expected, "{order:?} in place of {} at {}", self.oracle.open[at].id, self.now);
        *self.replace_verdicts.entry(expected.err().map_or(0, ReasonCode::number)).or_default() += 1;
        let Ok(approved) = found else { return };
        self.oracle.last_id += 1;
        let id = self.oracle.last_id;
        let OrderCommand::Replace { order_id, replaces, order: sent, .. } = *approved.command() else {
            unreachable!("a replace was asked for")
        };
        assert_eq!((order_id, replaces, sent), (OrderId(id), OrderId(self.oracle.open[at].id), order));
        let worst = if order.side == Side::Sell { order.price.0.max(reference) } else { order.price.0 };
        self.oracle.open[at].next = Some(Next { id, order, worst: i128::from(worst), is_cancel_pending: false });
        self.oracle.marks[order.symbol.index()] = i128::from(reference);
        self.oracle.sent.push((order, self.now));
        self.oracle.messages.push(self.now);
    }

    fn replaced(&mut self, at: usize, less: u64) {
        let open = &mut self.oracle.open[at];
        let Some(next) = open.next.take() else { return };
        if open.leaves == 0 {
            open.next = Some(next);
            return;
        }
        let left = u64::try_from((i128::from(next.order.qty.0) - open.executed).max(0)).unwrap().saturating_sub(less);
        let report = Execution {
            order_id: OrderId(next.id),
            leaves_qty: Qty(left),
            ..execution(ExecutionKind::Replaced, open, left, 0)
        };
        let is_cancel_pending = open.is_cancel_pending || next.is_cancel_pending;
        *open = Open {
            id: next.id,
            order: next.order,
            worst: next.worst,
            leaves: i128::from(left),
            executed: open.executed,
            is_filled: false,
            is_cancel_pending,
            next: None,
        };
        self.gate.on_execution(&report);
        self.gate.on_execution(&report);
        self.oracle.open.retain(|open| open.places() > 0);
    }

    fn replace_rejected(&mut self, at: usize) {
        let open = &mut self.oracle.open[at];
        if let Some(next) = open.next.take() {
            let id = OrderId(next.id);
            let report = Execution { order_id: id, ..execution(ExecutionKind::Rejected, open, 0, 0) };
            self.gate.on_execution(&report);
            self.gate.on_execution(&report);
        }
        self.oracle.open.retain(|open| open.places() > 0);
    }

    fn take(&mut self, step: &Step) {
        let count = self.oracle.open.len();
        match *step {
            Step::Wait(span) => self.now += span,
            Step::New { symbol, is_sell, cents, qty, reference } => {
                let side = if is_sell { Side::Sell } else { Side::Buy };
                let (symbol, price, qty) = (SymbolId(symbol), Price(cents * CENT), Qty(qty));
                let time_in_force = TimeInForce::Day;
                let order = NewOrder { symbol, side, price, qty, time_in_force, is_post_only: false };
                self.new_order(order, reference * CENT);
            }
            Step::Replace { nth, cents, qty, reference } if count > 0 && self.oracle.open[nth % count].leaves > 0 => {
                self.replace(nth % count, Price(cents * CENT), Qty(qty), reference * CENT);
            }
            Step::Replaced { nth, less } if count > 0 => self.replaced(nth % count, less),
            Step::ReplaceRejected { nth } if count > 0 => self.replace_rejected(nth % count),
            Step::Cancel { nth } if count > 0 && self.oracle.open[nth % count].leaves > 0 => {
                let (now, context) = (self.now, self.context(CENT));
                let open = &mut self.oracle.open[nth % count];
                let intent = OrderIntent::Cancel { order_id: OrderId(open.id), symbol: open.order.symbol };
                let found = self.gate.check(&intent, &context, EventSeq(0), EpochNanos(now)).map(|_| ());
                let expected = if open.is_cancel_pending { Err(ReasonCode::DuplicateOrder) } else { Ok(()) };
                assert_eq!(found, expected);
                open.is_cancel_pending = true;
                if let Some(next) = &mut open.next {
                    next.is_cancel_pending = true;
                }
                if expected.is_ok() {
                    self.oracle.messages.push(now);
                }
            }
            Step::Fill { nth, qty, is_repeated } if count > 0 && self.oracle.open[nth % count].leaves > 0 => {
                if let Some(fill) = self.last_fill.filter(|_| is_repeated) {
                    self.gate.on_execution(&fill);
                }
                self.match_number += 1;
                let open = &mut self.oracle.open[nth % count];
                let qty = qty.min(u64::try_from(open.leaves).unwrap());
                let fill = execution(ExecutionKind::Filled, open, qty, self.match_number);
                self.gate.on_execution(&fill);
                self.last_fill = Some(fill);
                open.leaves -= i128::from(qty);
                open.executed += i128::from(qty);
                open.is_filled = true;
                self.oracle.fills.push((fill.symbol, fill.side, i128::from(qty)));
                self.oracle.open.retain(|open| open.places() > 0);
            }
            Step::Canceled { nth } if count > 0 => {
                let at = nth % count;
                let open = &mut self.oracle.open[at];
                let left = u64::try_from(open.leaves).unwrap();
                self.gate.on_execution(&execution(ExecutionKind::Canceled, open, left, 0));
                self.gate.on_execution(&execution(ExecutionKind::Canceled, open, left, 0));
                open.leaves = 0;
                self.oracle.open.retain(|open| open.places() > 0);
            }
            Step::Rejected { nth } if count > 0 && is_fresh(&self.oracle.open[nth % count]) => {
                let open = self.oracle.open.remove(nth % count);
                self.gate.on_execution(&execution(ExecutionKind::Rejected, &open, open.order.qty.0, 0));
            }
            Step::Cancel { .. }
            | Step::Fill { .. }
            | Step::Canceled { .. }
            | Step::Rejected { .. }
            | Step::Replace { .. }
            | Step::Replaced { .. }
            | Step::ReplaceRejected { .. } => {}
        }
        self.compare();
    }

    fn compare(&self) {
        for symbol in [SymbolId(0), SymbolId(1)] {
            assert_eq!(i128::from(self.gate.position(symbol).0), self.oracle.position(symbol));
            for side in Side::BOTH {
                assert_eq!(i128::from(self.gate.open_qty(symbol, side).0), self.oracle.open_qty(symbol, side));
            }
        }
        assert_eq!(self.gate.open_order_count() as usize, self.oracle.count());
        assert_eq!(self.gate.gross_exposure().0, self.oracle.gross());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn gate_and_oracle_agree_on_every_verdict(steps in prop::collection::vec(step(), 1..150)) {
        let mut duel = Duel::new();
        for step in &steps {
            duel.take(step);
        }
    }
}

#[test]
fn the_random_sequences_reach_every_verdict() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let sequences = prop::collection::vec(step(), 150..151);
    let mut verdicts = std::collections::BTreeMap::<u16, u64>::new();
    let mut of_replaces = std::collections::BTreeMap::<u16, u64>::new();
    for _ in 0..200 {
        let mut duel = Duel::new();
        for step in &sequences.new_tree(&mut runner).unwrap().current() {
            duel.take(step);
        }
        for (verdict, count) in duel.verdicts {
            *verdicts.entry(verdict).or_default() += count;
        }
        for (verdict, count) in duel.replace_verdicts {
            *of_replaces.entry(verdict).or_default() += count;
        }
    }
    let reached: Vec<_> = verdicts.iter().filter(|(_, count)| **count >= 20).map(|(verdict, _)| *verdict).collect();
    assert_eq!(reached, [0, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1019], "{verdicts:?}");
    let reached: Vec<_> = of_replaces.iter().filter(|(_, count)| **count >= 3).map(|(verdict, _)| *verdict).collect();
    assert_eq!(reached, [0, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1019], "{of_replaces:?}");
}
