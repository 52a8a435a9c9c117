//! Nothing happens: the way from an event to an order is rehearsed, so that the next one finds it warm.

use std::hint::black_box;

use peregrine_book::{BookAction, BookUpdate, MarketBooks};
use peregrine_decide::{Decision, Input};
use peregrine_risk::RiskContext;
use peregrine_runtime::Stopwatch;
use peregrine_types::{
    EpochNanos, EventKind, EventSeq, MarketEvent, Nanos, NewOrder, Price, Qty, Side, SymbolId, TimeInForce,
};

use super::DecideStage;
use super::record::record_of;
use crate::stage::path::Rehearsal;

/// Intervals between two rehearsals once every watched symbol was rehearsed since the last event, and between two of the
/// kernel's part.
const WARM_INTERVALS: i64 = 10;

impl<B: MarketBooks, W: Stopwatch> DecideStage<B, W> {
    /// Nothing is to be done: rehearses, if that is wanted and due, and says what the rest of the way is to do. Each watched
    /// symbol is rehearsed in its turn, and when all were since the last event, a tenth as often: an event that comes in the
    /// middle of a rehearsal waits for its end. The kernel's part comes with the first behind an event, and then a tenth as often,
    /// however many symbols there are. No decision depends on it.
    #[inline]
    pub fn idle(&mut self, books: &B) -> Option<Rehearsal> {
        let interval = self.keep_warm?;
        let Some(since) = self.idle_since else {
            self.idle_since = Some(self.stopwatch.start());
            return None;
        };
        let seldom = Nanos(interval.0.saturating_mul(WARM_INTERVALS));
        if self.stopwatch.elapsed(since) < if self.is_warm() { seldom } else { interval } {
            return None;
        }
        let is_whole = self.whole_since.is_none_or(|since| self.stopwatch.elapsed(since) >= seldom);
        self.rehearse(books);
        self.warm_step_count = self.warm_step_count.saturating_add(1);
        self.idle_since = Some(self.stopwatch.start());
        if is_whole {
            self.whole_since = self.idle_since;
        }
        Some(if is_whole { Rehearsal::Whole } else { Rehearsal::Own })
    }

    /// Whether every watched symbol's way to an order was rehearsed since the last event: nothing has to be asked for.
    #[inline]
    pub const fn is_warm(&self) -> bool {
        self.warm_step_count >= self.all_warm_at
    }

    /// Features, network and controller on copies, then the checks and the record of an order at the best bid.
    fn rehearse(&mut self, books: &B) {
        let Some(symbol) = self.strategy.keep_warm(books) else { return };
        let decision = self.strategy.decision();
        let context = self.context(symbol, Some(decision), books);
        let order = NewOrder {
            symbol,
            side: Side::Buy,
            price: context.top.bid.map_or(Price(0), |level| level.price),
            qty: Qty(1),
            time_in_force: TimeInForce::Day,
            is_post_only: true,
        };
        self.risk.rehearse(&order, &context, context.data_time);
        let event = MarketEvent::new(EventKind::AddOrder, symbol, self.last_time, self.last_time);
        let update = BookUpdate::new(symbol, BookAction::Added);
        let input = Input { seq: EventSeq(self.next_seq), event: &event, update: &update };
        self.log.rehearse(black_box(&record_of(&input, Some(decision), &context.top)));
    }

    /// What the risk gate is told of the moment.
    #[inline]
    pub(super) fn context(&self, symbol: SymbolId, decision: Option<&Decision>, books: &B) -> RiskContext {
        let top = books.top(symbol);
        RiskContext {
            book_state: books.state(symbol),
            reference_price: top.reference_price(),
            top,
            data_time: self.strategy.data_time(symbol).unwrap_or(EpochNanos::MIN),
            is_input_finite: decision.is_none_or(|decision| decision.non_finite.is_none()),
        }
    }
}
