//! Orders that are to leave: after a halt, or from a book that is not good.

use peregrine_book::{BookAction, BookUpdate, MarketBooks};
use peregrine_decide::Input;
use peregrine_risk::TradingMode;
use peregrine_runtime::Stopwatch;
use peregrine_types::{EpochNanos, MarketEvent};

use super::DecideStage;
use crate::stage::path::{OrderSink, Permit};

impl<B: MarketBooks, W: Stopwatch> DecideStage<B, W> {
    /// What a live venue permits. While it permits nothing new the risk gate lets cancels through alone, and what rests is
    /// withdrawn; a halt of the latency guard stays. Engine-held orders are not even asked for: each would be denied.
    #[inline]
    pub fn on_permit(&mut self, permit: &Permit) {
        self.hear_permit(permit);
        self.risk.begin_after(permit.last_number);
        self.begin_held_if_due(permit.block);
        if permit.block != self.block {
            self.block = permit.block;
            let may_trade = permit.block.is_none() && self.counters.guard_halts == 0;
            self.strategy.set_sending(may_trade);
            self.risk.set_mode(if may_trade { TradingMode::Active } else { TradingMode::Halted });
        }
    }

    /// After a halt, or in a book that orders are to leave: an order that was on its way then, or whose cancel was
    /// refused, is cancelled as soon as it can be, however silent its symbol is.
    #[cold]
    pub(super) fn keep_withdrawing(&mut self, input: &Input<'_>, books: &B, out: &mut impl OrderSink) {
        self.want_withdrawn(input, books);
        self.act(input, false, books, out);
    }

    /// Notes what is to be withdrawn now.
    fn want_withdrawn(&mut self, input: &Input<'_>, books: &B) {
        let now = input.event.recv_time;
        self.withdrawn_on = Some((input.seq, *input.event));
        if self.risk.mode() == TradingMode::Halted {
            self.intents.clear();
            self.strategy.withdraw_all(now, &mut self.intents);
        } else {
            self.strategy.keep_withdrawing(now, books, &mut self.intents);
        }
    }

    /// Nothing came of the market, but the venue may have spoken by `now`: what is to be withdrawn and could not be yet, is.
    /// Without it an order whose acceptance was awaited when a gap opened would rest blind until the gap is closed.
    #[inline]
    pub fn withdraw_without_event(&mut self, now: EpochNanos, books: &B, out: &mut impl OrderSink) {
        if let Some((seq, event)) = self.withdrawn_on
            && (self.risk.mode() == TradingMode::Halted || self.strategy.is_withdrawal_due())
        {
            let event = MarketEvent { recv_time: event.recv_time.max(now), ..event };
            let update = BookUpdate::new(event.symbol, BookAction::NoChange);
            let (input, was_due) = (Input { seq, event: &event, update: &update }, self.strategy.is_withdrawal_due());
            self.want_withdrawn(&input, books);
            // A look that changes nothing is none: there may be millions in a second.
            if !self.intents.is_empty() || self.strategy.is_withdrawal_due() != was_due {
                self.hear_withdrawal(event.recv_time);
                self.act(&input, false, books, out);
            }
        }
    }
}
